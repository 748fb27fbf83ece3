//! Reads `auto [ZONES...] { directory DIR [REGEXP TEMPLATE] ... }`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chain::Fallthrough;
use chain::authority::{Authoritative, Unloaded};
use chain::inspect::Inspect;
use chain::master;
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Directive, Line, Report, Severity, Span, Token};
use host::source::Files;
use zone::{DigestPolicy, Loader};

use super::Auto;
use super::directory::{Directory, Listing, Pattern};

const OPTIONS: &[&str] = &["directory", "reload", "zonemd", "upstream"];

/// `auto` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "auto",
    parse,
    handler: true,
};

/// One directive.
struct Config {
    span: Span,
    zones: Vec<String>,
    directory: Option<Token>,
    pattern: Pattern,
    reload: Duration,
    digest: DigestPolicy,
}

/// The directives of a block, each with a handler of its own.
struct AutoSetup(Vec<Config>);

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let directives = parse.directives;
    let configs = directives.iter().map(|directive| config(parse, directive));
    Some(Box::new(AutoSetup(configs.collect())))
}

fn config(parse: &mut Parse<'_>, directive: &Directive) -> Config {
    let mut config = Config {
        span: directive.name.span,
        zones: parse.read_zones(&directive.args, OPTIONS),
        directory: None,
        pattern: Pattern::default(),
        reload: Duration::from_secs(60),
        digest: DigestPolicy::default(),
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        let Some(word) = line.words.first() else {
            continue;
        };
        match word.text.as_str() {
            "directory" if parse.arguments(line, 1..=3, SHAPE) => {
                directory(parse, line, &mut config);
            }
            "reload" if parse.arguments(line, 1..=1, "reload DURATION") => {
                match corefile::value::duration(&line.words[1]) {
                    Ok(reload) => config.reload = reload,
                    Err(diagnostic) => parse.report.push(diagnostic),
                }
            }
            "zonemd" => config.digest = parse.read_digest_policy(line).unwrap_or_default(),
            // CoreDNS reads it and does nothing with it; so do we.
            "upstream" | "reload" | "directory" => {}
            _ => parse.unknown_option(directive, line, OPTIONS),
        }
    }
    config
}

const SHAPE: &str = "directory DIR [REGEXP TEMPLATE]";

/// Reads `directory DIR [REGEXP TEMPLATE]`.
fn directory(parse: &mut Parse<'_>, line: &Line, config: &mut Config) {
    config.directory = line.words.get(1).cloned();
    let Some(expression) = line.words.get(2) else {
        return;
    };
    let name = match chain::pattern::Pattern::read(expression) {
        Ok(name) if name.names().len() > 1 => name,
        Ok(_) => {
            let message = "Need at least one sub expression";
            let label = "no group such as `(.*)` gives the origin";
            let diagnostic = Diagnostic::error("CF0201", message).at(expression.span, label);
            return parse.report.push(diagnostic);
        }
        Err(diagnostic) => return parse.report.push(diagnostic),
    };
    let Some(template) = line.words.get(3) else {
        parse.arguments(line, 3..=3, SHAPE);
        return;
    };
    // Groups are known by their numbers.
    let mut origin = template.text.clone();
    for (number, group) in name.names().iter().enumerate() {
        if !group.is_empty() {
            origin = origin.replace(&format!("{{{group}}}"), &format!("{{{number}}}"));
        }
    }
    config.pattern = Pattern {
        name,
        template: origin.replace('{', "${"),
    };
}

impl Setup for AutoSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        for config in self.0.iter().filter(|config| config.directory.is_none()) {
            if !scene.is_broken(config.span, report) {
                report.push(
                    Diagnostic::warning("CF0319", "`auto` has no directory, so it serves nothing")
                        .at(config.span, "expected `directory DIR` in its block"),
                );
            }
        }
    }

    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        let one = |config: &Config| (Answers::SomeZones, config.zones.clone());
        self.0.iter().map(one).collect()
    }

    fn handlers(&self) -> usize {
        self.0.len()
    }

    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for config in &self.0 {
            let Some(word) = &config.directory else {
                continue;
            };
            let path = inspect.path(&word.text);
            if let Err(error) = std::fs::read_dir(&path) {
                let message = format!(
                    "open {}: {error}; no zone is served until it exists",
                    path.display()
                );
                inspect.tell(gravity(&error), message, word.span);
                continue;
            }
            let listing = Listing::read(&path, &config.pattern, &mut Files::default());
            for what in &listing.oddities {
                inspect.tell(Severity::Warning, what.clone(), word.span);
            }
            for (apex, path) in listing.zones.values() {
                let loader = Loader::new(apex.as_name())
                    .any_soa(true)
                    .digest(config.digest);
                let place = (path.as_path(), &loader);
                // The name of the file says the zone.
                let named = |_: &str| None;
                let gravity = (Severity::Warning, true);
                master::inspect(inspect, place, gravity, word.span, Some(&named));
            }
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        for config in self.0 {
            let origins = build.origins(&config.zones)?;
            let Some(word) = config.directory else {
                continue;
            };
            let path = build.path(&word.text);
            if let Err(error) = std::fs::metadata(&path) {
                let shown = path.display();
                if gravity(&error) == Severity::Error {
                    let message = format!("Unable to access root path '{shown}': {error}");
                    return Err(BuildError::new(message).at(word.span));
                }
                tracing::warn!(target: "plugin/auto", "Directory does not exist: {shown}");
            }
            let opened = Directory::open(path, config.pattern, (config.reload, config.digest));
            if let Some(work) = opened.work {
                build.spawn(work);
            }
            build
                .capabilities()
                .provide_zones("auto", opened.set.clone());
            build.push(Arc::new(Auto {
                origins,
                authoritative: Arc::new(Authoritative {
                    zones: opened.set,
                    fall: Fallthrough::No,
                    unloaded: Unloaded::IsPassedOver,
                }),
                kept: opened.kept,
            }));
        }
        Ok(())
    }
}

/// A directory may come later; one that cannot be looked at is a mistake.
fn gravity(error: &io::Error) -> Severity {
    match error.kind() {
        io::ErrorKind::NotFound => Severity::Warning,
        _ => Severity::Error,
    }
}
