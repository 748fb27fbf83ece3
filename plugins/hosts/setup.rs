//! Reads `hosts [FILE [ZONES...]] { ... }`.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chain::Fallthrough;
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Directive, Line, Report, Span};
use wire::NameBuf;

use super::Hosts;
use super::lines;
use super::source::{Source, is_pattern};
use super::table::Table;

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
    file: String,
    zones: Vec<String>,
    inline: String,
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
    let zones = corefile::value::zones_or_cidrs(directive.args.get(1..).unwrap_or_default());
    let mut config = Config {
        span: directive.name.span,
        file: directive
            .args
            .first()
            .map_or_else(|| "/etc/hosts".to_owned(), |file| file.text.clone()),
        zones: zones.unwrap_or_else(|diagnostic| {
            parse.report.push(diagnostic);
            Vec::new()
        }),
        inline: String::new(),
        ttl: 3_600,
        reverse: true,
        reload: Duration::from_secs(5),
        fall: Fallthrough::No,
        pass_unsupported: false,
    };
    let mut unsupported = None;
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        let Some(word) = line.words.first() else {
            continue;
        };
        match word.text.as_str() {
            "fallthrough" => config.fall = Fallthrough::parse(line, parse.report),
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
            .at(first.span, "inline lines stand above `fallthrough`")
            .help("move `fallthrough` below the last inline line"),
        );
        return;
    }
    if line.words.len() == 1 {
        parse.report.push(
            Diagnostic::warning("CF0306", "an address without a name").at(
                first.span,
                "expected names behind it: `192.0.2.1 www.example.org`",
            ),
        );
    }
    for word in &line.words[1..] {
        match lines::name(word.text.as_bytes()) {
            Ok(_) => {}
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

impl Setup for HostsSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        for (at, config) in self.0.iter().enumerate() {
            let zones = scene.zones_of(&config.zones);
            let upper = self.0[..at].iter().find(|upper| {
                let above = scene.zones_of(&upper.zones);
                upper.fall == Fallthrough::No && zones.iter().all(|zone| within(zone, above))
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

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        for config in self.0 {
            let path = build.path(&config.file);
            if !is_pattern(&path) {
                look(&path).map_err(|error| error.at(config.span))?;
            }
            let origins = build.origins(&config.zones)?;
            let table = Arc::new(ArcSwap::from_pointee(Table::default()));
            let mut source = Source {
                path,
                inline: config.inline,
                origins: origins.clone(),
                ttl: config.ttl,
                reverse: config.reverse,
                table: table.clone(),
                seen: None,
                loaded: false,
            };
            source.refresh();
            if !config.reload.is_zero() {
                build.spawn(source.follow(config.reload));
            }
            build.push(Arc::new(Hosts {
                everywhere: origins.iter().any(|origin| origin.as_name().is_root()),
                origins,
                fall: config.fall,
                pass_unsupported: config.pass_unsupported,
                ttl: config.ttl,
                table,
            }));
        }
        Ok(())
    }
}

/// Whether a normalised zone is one of `zones` or below one.
fn within(zone: &str, zones: &[String]) -> bool {
    let Ok(zone) = zone.parse::<NameBuf>() else {
        return false;
    };
    zones.iter().any(|upper| {
        upper
            .parse::<NameBuf>()
            .is_ok_and(|upper| zone.as_name().is_within(upper.as_name()))
    })
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
