//! Reads `dnssec [ZONES...] { key file KEY...; cache_capacity N }`.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use chain::inspect::Inspect;
use chain::key_files::{self, Named, foreign};
use chain::setup::{Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Directive, Line, Report, Severity, Span};
use wire::NameBuf;
use zone::signing::{Key, KeySet};

use super::metrics::ByBlock;
use super::table::Table;
use super::{Dnssec, Signed, Signing};

/// `dnssec` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "dnssec",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &["key", "cache_capacity"];
/// The entries of the table when nothing is said.
const CAPACITY: i64 = 10_000;
/// A capacity is rounded to a multiple of this, as CoreDNS's shards do ...
const SHARDS: i64 = 256;
/// ... and has at least so many of it.
const LEAST_PER_SHARD: i64 = 4;

/// What the lines say.
struct DnssecSetup {
    span: Span,
    zones: Vec<String>,
    /// The zones of the block's keys.
    block: Vec<String>,
    keys: Vec<Named>,
    capacity: i64,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    let mut setup = DnssecSetup {
        span: directive.name.span,
        zones: parse.read_zones(&directive.args, OPTIONS),
        block: parse.zones.to_vec(),
        keys: Vec::new(),
        capacity: CAPACITY,
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        setup.line(parse, directive, line);
    }
    Some(Box::new(setup))
}

impl DnssecSetup {
    fn line(&mut self, parse: &mut Parse<'_>, directive: &Directive, line: &Line) {
        match line.words.first().map(|word| word.text.as_str()) {
            Some("key") => self.key(parse, line),
            Some("cache_capacity") => {
                if !parse.arguments(line, 1..=1, "cache_capacity CAPACITY") {
                    return;
                }
                let word = &line.words[1];
                match word.text.parse() {
                    Ok(capacity) => self.capacity = capacity,
                    Err(_) => parse.report.push(
                        Diagnostic::error("CF0203", format!("not a number: `{}`", word.text))
                            .at(word.span, "expected the number of signatures to keep"),
                    ),
                }
            }
            Some(_) => parse.unknown_option(directive, line, OPTIONS),
            None => {}
        }
    }

    fn key(&mut self, parse: &mut Parse<'_>, line: &Line) {
        match key_files::read_line(parse, line, &["file", "aws_secretsmanager"]) {
            Some(("file", words)) => self.keys.extend(words.iter().map(Named::new)),
            Some(_) => parse.report.push(
                Diagnostic::error(
                    "CF0901",
                    "keys from AWS Secrets Manager: CoreDNS has this, nameplate does not",
                )
                .at(line.words[1].span, "not implemented here")
                .help("keep the key in files, and name them with `key file KEY...`"),
            ),
            None => {}
        }
    }

    /// The zones, in lower case.
    fn origins(&self) -> Vec<NameBuf> {
        let zones = if self.zones.is_empty() {
            &self.block
        } else {
            &self.zones
        };
        let names = zones.iter().filter_map(|zone| zone.parse::<NameBuf>().ok());
        names.map(NameBuf::to_lower).collect()
    }
}

/// The keys that sign a zone: its own, else all, as in CoreDNS.
fn keys_of(zone: &NameBuf, keys: &[Arc<Key>]) -> KeySet {
    let own = key_files::of_zone(zone, keys);
    KeySet::new(if own.is_empty() { keys.to_vec() } else { own })
}

impl Setup for DnssecSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        if self.keys.is_empty() && !scene.is_broken(self.span, report) {
            key_files::warn_without_keys(report, ("dnssec", self.span));
        }
    }

    fn inspect(&self, inspect: &mut Inspect<'_>) {
        let origins = self.origins();
        let keys = key_files::inspect(inspect, &self.keys);
        for (key, named) in keys.iter().zip(&self.keys) {
            if let Some(message) = key.as_ref().and_then(|key| foreign(key, &origins)) {
                inspect.tell(Severity::Error, message, named.span);
            }
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let origins = build.origins(&self.zones)?;
        let mut keys = key_files::build(build, &self.keys)?;
        for (key, named) in keys.iter().zip(&self.keys) {
            if let Some(message) = foreign(key, &origins) {
                return Err(BuildError::new(message).at(named.span));
            }
        }
        let mut seen = HashSet::new();
        keys.retain(|key| seen.insert(key.dnskey().to_vec()));
        let zones = origins.into_iter().map(|name| Signed {
            keys: keys_of(&name, &keys),
            name,
        });
        let capacity = (self.capacity / SHARDS).max(LEAST_PER_SHARD) * SHARDS;
        build.push(Arc::new(Dnssec {
            signing: Arc::new(Signing {
                zones: zones.collect(),
                table: Table::new(usize::try_from(capacity).unwrap_or(usize::MAX)),
                warned: AtomicBool::new(false),
            }),
            capabilities: build.capabilities(),
            holdings: OnceLock::new(),
            metrics: ByBlock::default(),
        }));
        Ok(())
    }
}
