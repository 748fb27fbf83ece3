//! Reads `file DBFILE [ZONES...] { ... }`.

use std::sync::Arc;
use std::time::Duration;

use chain::Fallthrough;
use chain::authority::{Authoritative, Unloaded};
use chain::inspect::Inspect;
use chain::master::{self, MasterFile, follow, missing};
use chain::served::ZoneSet;
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Directive, Report, Severity, Span, Token};
use host::source::Source;
use wire::NameBuf;
use zone::{DigestPolicy, Loader};

use super::Zones;

/// Who serves these files.
pub(super) const FILE: master::Directive = chain::directive!("file");

/// `file` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "file",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &[
    "reload",
    "reload_by_mtime",
    "strict",
    "zonemd",
    "fallthrough",
    "upstream",
];

/// One line.
struct Config {
    span: Span,
    file: Token,
    zones: Vec<String>,
    reload: Duration,
    by_time: bool,
    strict: bool,
    digest: DigestPolicy,
}

/// All lines of a block; `fallthrough` is theirs together, as in CoreDNS.
struct FileSetup {
    configs: Vec<Config>,
    fall: Fallthrough,
    /// The zones of the block's keys.
    block: Vec<String>,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut setup = FileSetup {
        configs: Vec::new(),
        fall: Fallthrough::No,
        block: parse.zones.to_vec(),
    };
    for directive in parse.directives {
        if let Some(config) = config(parse, directive, &mut setup.fall) {
            setup.configs.push(config);
        }
    }
    Some(Box::new(setup))
}

fn config(parse: &mut Parse<'_>, directive: &Directive, fall: &mut Fallthrough) -> Option<Config> {
    let Some((file, zones)) = directive.args.split_first() else {
        parse.report.push(
            Diagnostic::error(
                "CF0107",
                "Wrong argument count or unexpected line ending after 'file'",
            )
            .at(directive.name.span, "expected `file DBFILE [ZONES...]`"),
        );
        return None;
    };
    let zones = parse.read_zones(zones, OPTIONS);
    let mut config = Config {
        span: directive.name.span,
        file: file.clone(),
        zones,
        reload: Duration::from_secs(60),
        by_time: false,
        strict: false,
        digest: DigestPolicy::default(),
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        let Some(word) = line.words.first() else {
            continue;
        };
        match word.text.as_str() {
            "fallthrough" => *fall = parse.read_fallthrough(line, &config.zones),
            "reload" if parse.arguments(line, 1..=1, "reload DURATION") => {
                match corefile::value::duration(&line.words[1]) {
                    Ok(reload) => config.reload = reload,
                    Err(diagnostic) => parse.report.push(diagnostic),
                }
            }
            "reload_by_mtime" => {
                parse.arguments(line, 0..=0, "reload_by_mtime");
                config.by_time = true;
            }
            "zonemd" => config.digest = parse.read_digest_policy(line).unwrap_or_default(),
            "strict" => config.strict = parse.arguments(line, 0..=0, "strict"),
            // CoreDNS reads it and does nothing with it; so do we.
            "upstream" | "reload" => {}
            _ => parse.unknown_option(directive, line, OPTIONS),
        }
    }
    Some(config)
}

impl Setup for FileSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        for (at, config) in self.configs.iter().enumerate() {
            let zones = scene.zones_of(&config.zones);
            let later = self.configs[at + 1..].iter().find(|later| {
                let others = scene.zones_of(&later.zones);
                zones.iter().all(|zone| others.contains(zone))
            });
            if let Some(later) = later {
                report.push(
                    Diagnostic::warning(
                        "CF0301",
                        "this file is never asked: a later line serves its zones",
                    )
                    .at(
                        config.span,
                        "if two lines have the same zone, the later one counts",
                    )
                    .beside(later.span, "serves the same zones"),
                );
            }
        }
    }

    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        let reach = self.fall.reach();
        self.configs
            .iter()
            .map(|config| (reach, config.zones.clone()))
            .collect()
    }

    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for config in &self.configs {
            let (path, word) = (inspect.path(&config.file.text), config.file.span);
            if let Err(error) = inspect.look(&path) {
                let (severity, then) = match !config.reload.is_zero() {
                    true => (
                        Severity::Warning,
                        "; every name of the zone gets SERVFAIL until it is there",
                    ),
                    false => (Severity::Error, ""),
                };
                let message = format!("open {}: {error}{then}", path.display());
                inspect.tell(severity, message, word);
                continue;
            }
            let zones = match config.zones.is_empty() {
                true => &self.block,
                false => &config.zones,
            };
            let gravity = (Severity::Error, !config.strict);
            for apex in zones.iter().filter_map(|zone| zone.parse::<NameBuf>().ok()) {
                let apex = apex.to_lower();
                let loader = Loader::new(apex.as_name())
                    .any_soa(true)
                    .digest(config.digest);
                let named = |zone: &str| Some(format!("file {} {zone}", config.file.text));
                master::inspect(inspect, (&path, &loader), gravity, word, Some(&named));
            }
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let mut served = Vec::new();
        let mut files = Vec::new();
        for config in self.configs {
            let origins = build.origins(&config.zones)?;
            let path = build.path(&config.file.text);
            let file = MasterFile::new(FILE, path, &origins)
                .by_time(config.by_time)
                .digest(config.digest);
            let source = match file.resume() {
                Ok(source) => source,
                Err(file) => first(file, &config)
                    .map_err(|message| BuildError::new(message).at(config.span))?,
            };
            served.extend(source.content().zones());
            files.push(source.content().kept());
            if !config.reload.is_zero() {
                build.spawn(follow(source, config.reload));
            }
        }
        // Of two lines for one zone, the later counts.
        let zones = Arc::new(ZoneSet::fixed(served.into_iter().rev()));
        build.capabilities().provide_zones("file", zones.clone());
        build.push(Arc::new(Zones {
            authoritative: Arc::new(Authoritative {
                zones,
                fall: self.fall,
                unloaded: Unloaded::Fails,
            }),
            files,
        }));
        Ok(())
    }
}

/// Loads a file for the first time. A zone whose records contradict each other is not served, and the others are, unless it is `strict`:
/// CoreDNS starts with such a file.
///
/// # Errors
/// Every mistake of the file; or why it cannot be opened, where nobody would look again.
fn first(file: MasterFile, config: &Config) -> Result<Source<MasterFile>, String> {
    let shown = file.path().display().to_string();
    if let Some(error) = missing(file.path()) {
        if config.reload.is_zero() {
            return Err(format!("open {shown}: {error}"));
        }
        tracing::warn!(
            target: "plugin/file",
            "Failed to open \"open {shown}: {error}\": trying again in {:?}",
            config.reload
        );
        return Ok(file.wait_for(&error));
    }
    let (source, mistakes) = file.load();
    let fatal = mistakes.iter().any(|mistake| !mistake.conflict);
    let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    if fatal || config.strict && !mistakes.is_empty() {
        return Err(mistakes.join("\n"));
    }
    for why in &mistakes {
        tracing::error!(target: "plugin/file", "The zone is not served, its names get SERVFAIL: {why}");
    }
    if !mistakes.is_empty() {
        source.content().kept().refuse(mistakes.join("; "));
    }
    Ok(source)
}
