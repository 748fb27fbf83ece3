//! Reads `hosts [FILE [ZONES...]] { ... }`.

use std::sync::Arc;
use std::time::Duration;

use chain::Fallthrough;
use chain::inspect::{Inspect, Place};
use chain::scope;
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Directive, Line, Report, Severity, Span, Token};

use super::Hosts;
use super::lines;
use super::source::{self, HostsFiles, follow, is_pattern};

/// `hosts` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "hosts",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &[
    "ttl",
    "no_reverse",
    "reload",
    "fallthrough",
    "fallthrough_unsupported",
];

/// One directive.
struct Config {
    span: Span,
    /// Where the file is named; at the directive where it is not.
    named: Span,
    file: String,
    zones: Vec<String>,
    inline: String,
    /// The names of the inline lines, normalised.
    names: Vec<String>,
    ttl: u32,
    reverse: bool,
    reload: Duration,
    fall: Fallthrough,
    pass_unsupported: bool,
}

/// All directives of a block, in file order.
struct HostsSetup(Vec<Config>);

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let directives = parse.directives;
    let configs = directives
        .iter()
        .map(|directive| config(parse, directive))
        .collect();
    Some(Box::new(HostsSetup(configs)))
}

fn config(parse: &mut Parse<'_>, directive: &Directive) -> Config {
    let zones = parse.read_zones(directive.args.get(1..).unwrap_or_default(), OPTIONS);
    let mut config = Config {
        span: directive.name.span,
        named: directive.args.first().unwrap_or(&directive.name).span,
        file: directive
            .args
            .first()
            .map_or_else(|| "/etc/hosts".to_owned(), |file| file.text.clone()),
        zones,
        inline: String::new(),
        names: Vec::new(),
        ttl: 3_600,
        reverse: true,
        reload: Duration::from_secs(5),
        fall: Fallthrough::No,
        pass_unsupported: false,
    };
    if let Some(file) = directive.args.first()
        && OPTIONS.contains(&file.text.as_str())
    {
        parse.report.push(
            Diagnostic::warning(
                "CF0213",
                format!("`{}` is read as the name of a hosts file", file.text),
            )
            .at(file.span, "this is an option of `hosts`")
            .help(format!("write it in braces: `hosts {{ {} }}`", file.text)),
        );
    }
    let mut unsupported = None;
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        let Some(word) = line.words.first() else {
            continue;
        };
        match word.text.as_str() {
            "fallthrough" => config.fall = parse.read_fallthrough(line, &config.zones),
            "fallthrough_unsupported" => {
                parse.arguments(line, 0..=0, "fallthrough_unsupported");
                unsupported = Some(word.span);
                config.pass_unsupported = true;
            }
            "no_reverse" => {
                parse.arguments(line, 0..=0, "no_reverse");
                config.reverse = false;
            }
            "ttl" if parse.arguments(line, 1..=1, "ttl SECONDS") => {
                match corefile::value::integer(&line.words[1], 1..=65_535) {
                    Ok(ttl) => config.ttl = ttl as u32,
                    Err(diagnostic) => parse.report.push(diagnostic),
                }
            }
            "reload" if parse.arguments(line, 1..=1, "reload DURATION") => {
                match corefile::value::duration(&line.words[1]) {
                    Ok(reload) => config.reload = reload,
                    Err(diagnostic) => parse.report.push(diagnostic),
                }
            }
            "ttl" | "reload" => {}
            _ => inline(parse, directive, line, &mut config),
        }
    }
    if let (Some(span), Fallthrough::No) = (unsupported, &config.fall) {
        parse.report.push(
            Diagnostic::error("CF0107", "fallthrough_unsupported requires fallthrough")
                .at(span, "has no effect alone")
                .help("add `fallthrough`, or remove this line"),
        );
    }
    config
}

/// A line of entries, or a word that means nothing. CoreDNS takes every unknown word for a line of entries, and drops it.
fn inline(parse: &mut Parse<'_>, directive: &Directive, line: &Line, config: &mut Config) {
    let Some(first) = line.words.first() else {
        return;
    };
    if lines::address(first.text.as_bytes()).is_none() {
        let begun =
            first.text.starts_with(|c: char| c.is_ascii_digit()) || first.text.contains(':');
        if begun {
            parse.report.push(
                Diagnostic::error("CF0204", format!("not an IP address: `{}`", first.text)).at(
                    first.span,
                    "an inline line is an address and its names: `192.0.2.1 www.example.org`",
                ),
            );
        } else if let Some(last) = line
            .words
            .last()
            .filter(|last| line.words.len() > 1 && lines::address(last.text.as_bytes()).is_some())
        {
            let names: Vec<_> = line.words[..line.words.len() - 1]
                .iter()
                .map(|word| word.text.as_str())
                .collect();
            parse.report.push(
                Diagnostic::error("CF0204", format!("not an IP address: `{}`", first.text))
                    .at(first.span, "the address comes before its names")
                    .help("put the address first")
                    .replace(
                        first.span.to(last.span),
                        format!("{} {}", last.text, names.join(" ")),
                    ),
            );
        } else {
            parse.unknown_option(directive, line, OPTIONS);
        }
        return;
    }
    if config.fall != Fallthrough::No {
        parse.report.push(
            Diagnostic::error(
                "CF0102",
                format!("unknown property '{}' in plugin `hosts`", first.text),
            )
            .at(first.span, "inline lines come before `fallthrough`")
            .help("move `fallthrough` below the last inline line"),
        );
        return;
    }
    if line.words.len() == 1 {
        parse.report.push(
            Diagnostic::warning("CF0306", "an address without a name").at(
                first.span,
                "expected names after it: `192.0.2.1 www.example.org`",
            ),
        );
    }
    for word in &line.words[1..] {
        match lines::name(word.text.as_bytes()) {
            Ok(_) => inline_name(parse, word, config),
            Err(why) => parse.report.push(
                Diagnostic::error("CF0205", format!("not a valid domain name: {}", word.text))
                    .at(word.span, why),
            ),
        }
    }
    for word in &line.words {
        config.inline.push_str(&word.text);
        config.inline.push(' ');
    }
    config.inline.push('\n');
}

/// Notes an inline name, and warns of one that lies in none of the zones.
fn inline_name(parse: &mut Parse<'_>, word: &Token, config: &mut Config) {
    let Ok(name) = corefile::value::zone(word) else {
        return;
    };
    let zones = match config.zones.is_empty() {
        true => parse.zones,
        false => &config.zones,
    };
    let outside = |zones: &[String]| {
        !zones.is_empty() && !zones.iter().any(|zone| scope::is_within(&name, zone))
    };
    let outside = [zones, parse.zones]
        .into_iter()
        .find(|zones| outside(zones));
    if let Some(zones) = outside {
        parse.report.push(
            scope::no_effect(
                word,
                &format!("`hosts` is asked for names in {} here", zones.join(", ")),
            )
            .help("write the name in full, or add its zone to those of `hosts`"),
        );
        return;
    }
    config.names.push(name);
}

impl Setup for HostsSetup {
    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for config in &self.0 {
            let path = inspect.path(&config.file);
            if is_pattern(&path) || path.is_dir() || OPTIONS.contains(&config.file.as_str()) {
                continue;
            }
            match inspect.look(&path) {
                Ok(()) => {
                    for complaint in source::complaints(&path) {
                        let place = Place {
                            path: &path,
                            line: complaint.line,
                            column: complaint.column,
                        };
                        inspect.tell_at(Severity::Warning, place, &complaint.why, config.named);
                    }
                }
                // Every machine has one or does without.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let message = format!("File does not exist: {}", path.display());
                    inspect.tell(Severity::Warning, message, config.named);
                }
                Err(error) => {
                    let message =
                        format!("unable to access hosts file '{}': {error}", path.display());
                    let severity = match std::fs::metadata(&path) {
                        Ok(_) => Severity::Warning,
                        Err(_) => Severity::Error,
                    };
                    inspect.tell(severity, message, config.named);
                }
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        let names = self.0.iter().flat_map(|config| &config.names);
        names.map(String::as_str).collect()
    }

    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        for (at, config) in self.0.iter().enumerate() {
            let zones = scene.zones_of(&config.zones);
            let upper = self.0[..at].iter().find(|upper| {
                let above = scene.zones_of(&upper.zones);
                upper.fall == Fallthrough::No
                    && zones
                        .iter()
                        .all(|zone| above.iter().any(|upper| scope::is_within(zone, upper)))
            });
            if let Some(upper) = upper {
                report.push(
                    Diagnostic::warning(
                        "CF0301",
                        "this `hosts` is never asked for a name: the one before it answers everything",
                    )
                    .at(config.span, "asked for addresses (PTR) only")
                    .beside(upper.span, "refuses the names that it does not know")
                    .help("add `fallthrough` to the block of the first one"),
                );
            }
        }
    }

    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        self.0
            .iter()
            .map(|config| (config.fall.reach(), config.zones.clone()))
            .collect()
    }

    fn handlers(&self) -> usize {
        self.0.len()
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        for config in self.0 {
            let path = build.path(&config.file);
            if !is_pattern(&path) {
                look(&path).map_err(|error| error.at(config.span))?;
            }
            let origins = build.origins(&config.zones)?;
            let source = HostsFiles {
                path,
                inline: config.inline,
                origins: origins.clone(),
                ttl: config.ttl,
                reverse: config.reverse,
                kept: Arc::default(),
            }
            .load();
            let table = source.content().kept.table.clone();
            if !config.reload.is_zero() {
                build.spawn(follow(source, config.reload));
            }
            let hosts = Arc::new(Hosts {
                everywhere: origins.iter().any(|origin| origin.as_name().is_root()),
                origins,
                fall: config.fall,
                pass_unsupported: config.pass_unsupported,
                ttl: config.ttl,
                table,
            });
            build
                .capabilities()
                .provide_holdings("hosts", hosts.clone());
            build.push(hosts);
        }
        Ok(())
    }
}

/// A file that is missing may come; one that cannot be reached is a mistake.
fn look(path: &std::path::Path) -> Result<(), BuildError> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::warn!(target: "plugin/hosts", "File does not exist: {}", path.display());
            Ok(())
        }
        Err(error) => Err(BuildError::new(format!(
            "unable to access hosts file '{}': {error}",
            path.display()
        ))),
    }
}
