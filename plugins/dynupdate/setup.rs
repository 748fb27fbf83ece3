//! Reads `dynupdate [ZONE] { file ...; database ...; allow ...; max_... }`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain::Fallthrough;
use chain::authority::{Authoritative, Unloaded};
use chain::inspect::Inspect;
use chain::served::ZoneSet;
use chain::setup::{
    Answers, Build, BuildError, Parse, Registration, Scene, Setup, Writes, from_root,
};
use corefile::{Diagnostic, Directive, Line, Report, Severity, Span, Token, value};
use wire::{Name, NameBuf, Type};

use super::policy::{Grant, Names};
use super::store::Store;
use super::update::Bounds;
use super::{DynUpdate, Place};

/// `dynupdate` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "dynupdate",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &[
    "file",
    "database",
    "allow",
    "max_records",
    "max_bytes",
    "max_update_records",
    "fallthrough",
];
const ALLOW: &str = "allow KEY NAME|*.NAME|* TYPE...|*";
const BOUNDS: Bounds = Bounds {
    records: 100_000,
    octets: 64 << 20,
    updates: 1_000,
};

/// One line of a server block.
struct Config {
    span: Span,
    zone: String,
    file: Option<Token>,
    database: Option<Token>,
    grants: Vec<Grant>,
    bounds: Bounds,
}

/// All lines of a server block; `fallthrough` is theirs together, as that of `file`.
struct DynUpdateSetup {
    configs: Vec<Config>,
    fall: Fallthrough,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut setup = DynUpdateSetup {
        configs: Vec::new(),
        fall: Fallthrough::No,
    };
    for directive in parse.directives {
        if let Some(config) = config(parse, directive, &mut setup.fall) {
            setup.configs.push(config);
        }
    }
    Some(Box::new(setup))
}

fn config(parse: &mut Parse<'_>, directive: &Directive, fall: &mut Fallthrough) -> Option<Config> {
    parse.at_most(directive, 1);
    let span = directive.name.span;
    let named = parse.read_zones(&directive.args, OPTIONS);
    let mut zones = if named.is_empty() {
        parse.zones.to_vec()
    } else {
        named
    };
    // A block may have the same zone for several transports.
    zones.dedup();
    let [zone] = &zones[..] else {
        parse.report.push(
            Diagnostic::error("CF0107", "`dynupdate` has one zone")
                .at(span, "expected `dynupdate ZONE`, a line for each zone"),
        );
        return None;
    };
    let mut config = Config {
        span,
        zone: zone.clone(),
        file: None,
        database: None,
        grants: Vec::new(),
        bounds: BOUNDS,
    };
    let before = parse.report.iter().count();
    let mut allows = false;
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        let Some(word) = line.words.first() else {
            continue;
        };
        match word.text.as_str() {
            "file" => config.file = one(parse, line, "file DBFILE"),
            "database" => config.database = one(parse, line, "database FILE"),
            "allow" => {
                allows = true;
                if parse.arguments(line, 3..=usize::MAX - 1, ALLOW) {
                    let grant = grant(parse, line, &config.zone);
                    config.grants.extend(grant);
                }
            }
            "max_records" => bound(parse, line, &mut config.bounds.records),
            "max_bytes" => bound(parse, line, &mut config.bounds.octets),
            "max_update_records" => bound(parse, line, &mut config.bounds.updates),
            "fallthrough" => {
                *fall = parse.read_fallthrough(line, std::slice::from_ref(&config.zone))
            }
            _ => parse.unknown_option(directive, line, OPTIONS),
        }
    }
    let broken = parse.report.iter().count() > before;
    if !allows && !broken {
        parse.report.push(
            Diagnostic::error("CF0232", "no key may update the zone of `dynupdate`")
                .at(span, format!("expected a line `{ALLOW}`")),
        );
    }
    if config.file.is_none() && config.database.is_none() && !broken {
        parse.report.push(
            Diagnostic::error("CF0107", "`dynupdate` has no initial zone").at(
                span,
                "expected a line `file DBFILE`, or a `database` that has the zone",
            ),
        );
    }
    Some(config)
}

fn one(parse: &mut Parse<'_>, line: &Line, shape: &str) -> Option<Token> {
    let whole = parse.arguments(line, 1..=1, shape);
    whole.then(|| line.words[1].clone())
}

fn bound(parse: &mut Parse<'_>, line: &Line, bound: &mut usize) {
    let shape = format!("{} N", line.words[0].text);
    if !parse.arguments(line, 1..=1, &shape) {
        return;
    }
    match value::integer(&line.words[1], 1..=i64::from(u32::MAX)) {
        Ok(most) => *bound = most as usize,
        Err(diagnostic) => parse.report.push(diagnostic),
    }
}

/// Reads a line `allow`.
fn grant(parse: &mut Parse<'_>, line: &Line, zone: &str) -> Option<Grant> {
    let (key, name, types) = (&line.words[1], &line.words[2], &line.words[3..]);
    let read = |word: &Token, text: &str, report: &mut Report| {
        let read = NameBuf::parse(text, Name::ROOT);
        let read = read.map_err(|why| {
            let mistake = format!("not a domain name: `{}`", word.text);
            report.push(Diagnostic::error("CF0205", mistake).at(word.span, why.to_string()));
        });
        read.ok().map(NameBuf::to_lower)
    };
    let key = read(key, &key.text, parse.report)?;
    let names = match name.text.as_str() {
        "*" => Names::All,
        text => match text.strip_prefix("*.") {
            Some(above) => Names::Below(read(name, above, parse.report)?),
            None => Names::One(read(name, text, parse.report)?),
        },
    };
    let apex = zone.parse::<NameBuf>().map(NameBuf::to_lower);
    if let (Names::One(of) | Names::Below(of), Ok(apex)) = (&names, apex)
        && !of.as_name().is_within(apex.as_name())
    {
        parse.report.push(
            Diagnostic::error(
                "CF0310",
                format!("`{}` is not a name in the zone", name.text),
            )
            .at(name.span, format!("the zone is {zone}"))
            .help("write names in full"),
        );
        return None;
    }
    if let [all] = types
        && matches!(all.text.as_str(), "*" | "ANY")
    {
        let types = None;
        return Some(Grant { key, names, types });
    }
    let mut read = Vec::new();
    for word in types {
        let rtype = word.text.to_ascii_uppercase().parse::<Type>();
        match rtype
            .ok()
            .filter(|rtype| !rtype.is_meta() && *rtype != Type::ANY)
        {
            Some(rtype) => read.push(rtype),
            None => {
                let mistake = format!("unknown record type `{}`", word.text);
                parse.report.push(
                    Diagnostic::error("CF0211", mistake)
                        .at(word.span, "expected a type such as `TXT`, or `*` alone"),
                );
            }
        }
    }
    Some(Grant {
        key,
        names,
        types: Some(read),
    })
}

impl Setup for DynUpdateSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        if let (Some(config), None) = (self.configs.first(), scene.directive("tsig")) {
            report.push(
                Diagnostic::error("CF0309", "there are no keys in this server block").at(
                    config.span,
                    "updates are signed with keys of `tsig`, which is missing here",
                ),
            );
        }
        for config in self.configs.iter().filter(|one| one.database.is_none()) {
            if let Some(transfer) = scene.directive("transfer") {
                let message =
                    "the zone is handed on, and its serial goes back when the process ends";
                report.push(
                    Diagnostic::warning("CF0342", message)
                        .at(config.span, "without `database`, updates are lost, and the serial is that of `file` again")
                        .beside(transfer.name.span, "secondaries keep what they have until it is greater than theirs")
                        .help("add a line `database FILE`"),
                );
            }
        }
        for (at, config) in self.configs.iter().enumerate() {
            let mut earlier = self.configs[..at].iter();
            if let Some(other) = earlier.find(|other| other.zone == config.zone) {
                report.push(
                    Diagnostic::error("CF0120", "two `dynupdate` directives have the same zone")
                        .at(config.span, "again here")
                        .beside(other.span, "first here"),
                );
            }
        }
    }

    fn writes(&self, _: &[String], root: &Path) -> Vec<Writes> {
        let kept = self.configs.iter().filter_map(|config| {
            let word = config.database.as_ref()?;
            Some(Writes {
                path: from_root(root, &word.text),
                content: format!("updates of {}", config.zone),
                span: word.span,
                in_directory: false,
            })
        });
        kept.collect()
    }

    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        let reach = self.fall.reach();
        let zones = self.configs.iter().map(|config| vec![config.zone.clone()]);
        zones.map(|zones| (reach, zones)).collect()
    }

    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for config in &self.configs {
            let database = config.database.as_ref();
            let database = database.map(|word| inspect.path(&word.text));
            let Some(file) = &config.file else { continue };
            // A database that is there has the zone, and the file is not read; an empty one begins with the file.
            let has_zone = |path: PathBuf| path.metadata().is_ok_and(|found| found.len() > 0);
            if database.is_some_and(has_zone) {
                continue;
            }
            let (path, apex) = (inspect.path(&file.text), config.zone.parse::<NameBuf>());
            let Ok(apex) = apex.map(NameBuf::to_lower) else {
                continue;
            };
            let loader = zone::Loader::new(apex.as_name()).digest(zone::DigestPolicy::Off);
            chain::master::inspect(
                inspect,
                (&path, &loader),
                (Severity::Error, false),
                file.span,
                None,
            );
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let mut places = Vec::new();
        for config in self.configs {
            let apex = build.origins(std::slice::from_ref(&config.zone))?;
            let Some(apex) = apex.first() else { continue };
            let path = |word: &Option<Token>| word.as_ref().map(|word| build.path(&word.text));
            let (file, database) = (path(&config.file), path(&config.database));
            let store = Store::open(apex.as_name(), file.as_deref(), database.as_deref());
            let store = store.map_err(|message| BuildError::new(message).at(config.span))?;
            if database.is_none() {
                tracing::warn!(
                    target: "plugin/dynupdate",
                    "Zone {apex} has no database: when the process ends, updates are lost and the SOA serial is that of its file again, \
                     so that secondaries keep what they have until it is greater than theirs"
                );
            }
            places.push(Place {
                store,
                is_kept: database.is_some(),
                file: database.or(file),
                grants: config.grants,
                bounds: config.bounds,
            });
        }
        let served = places.iter().map(|place| place.store.served.clone());
        let zones = Arc::new(ZoneSet::fixed(served));
        build
            .capabilities()
            .provide_zones("dynupdate", zones.clone());
        build.push(Arc::new(DynUpdate {
            authoritative: Arc::new(Authoritative {
                zones,
                fall: self.fall,
                unloaded: Unloaded::Fails,
            }),
            places,
        }));
        Ok(())
    }
}
