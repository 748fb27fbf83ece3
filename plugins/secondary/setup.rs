//! Reads `secondary [ZONES...] { transfer from ...; file ...; tls ...; catalog ...; fallthrough ... }`.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use chain::Fallthrough;
use chain::authority::{Authoritative, Unloaded};
use chain::setup::{
    Answers, Build, BuildError, Parse, Registration, Scene, Setup, Writes, from_root,
};
use corefile::{Diagnostic, Directive, Line, Report, Span, Token, value};
use rustls::ClientConfig;
use upstream::addresses;
use upstream::target::{self, Scheme, Target};
use upstream::tls::{Files, server_name};
use wire::{Name, NameBuf};
use zone::DigestPolicy;

use super::Secondary;
use super::catalog::{Catalog, Members};
use super::client::ALPN;
use super::follow::follow;
use super::place::Place;
use super::sources::{Contact, Keep, Session, Sources};

/// `secondary` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "secondary",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &[
    "transfer",
    "file",
    "tls",
    "tls_servername",
    "catalog",
    "group",
    "zonemd",
    "max_records",
    "fallthrough",
    "upstream",
];
/// What a group may say of its members.
const GROUP_OPTIONS: &[&str] = &[
    "transfer",
    "file",
    "tls",
    "tls_servername",
    "zonemd",
    "max_records",
];
const GROUP: &str = "group NAME { ... }";
const TRANSFER: &str = "transfer from ADDRESS... [key NAME]";

/// Where zones come from, and where they are kept: those of a line, or the members of a group.
#[derive(Clone)]
struct Settings {
    primaries: Vec<Target>,
    key: Option<(NameBuf, Span)>,
    digest: DigestPolicy,
    /// How many records a zone may have.
    max_records: usize,
    /// Where the zones are kept.
    file: Option<(String, Span)>,
    tls: Files,
    tls_server_name: Option<String>,
    /// Where TLS is set up.
    tls_span: Option<Span>,
}

/// One line of a server block.
struct Config {
    zones: Vec<String>,
    settings: Settings,
    /// Whether the zones are catalogs, and the names at and below which they may have members.
    catalog: Option<Vec<NameBuf>>,
    /// What is other for members of groups.
    groups: Vec<(String, Settings)>,
}

/// All lines of a server block; `fallthrough` is theirs together, as in CoreDNS.
struct SecondarySetup {
    configs: Vec<Config>,
    fall: Fallthrough,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut setup = SecondarySetup {
        configs: Vec::new(),
        fall: Fallthrough::No,
    };
    for directive in parse.directives {
        let config = config(parse, directive, &mut setup.fall);
        setup.configs.push(config);
    }
    Some(Box::new(setup))
}

fn config(parse: &mut Parse<'_>, directive: &Directive, fall: &mut Fallthrough) -> Config {
    let mut config = Config {
        zones: parse.read_zones(&directive.args, OPTIONS),
        settings: Settings {
            primaries: Vec::new(),
            key: None,
            digest: DigestPolicy::default(),
            max_records: usize::MAX - 1,
            file: None,
            tls: Files::default(),
            tls_server_name: None,
            tls_span: None,
        },
        catalog: None,
        groups: Vec::new(),
    };
    let (mut named, mut groups) = (false, Vec::new());
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        let Some(word) = line.words.first() else {
            continue;
        };
        match word.text.as_str() {
            "fallthrough" => *fall = parse.read_fallthrough(line, &config.zones),
            "catalog" => {
                let allowed = config.catalog.get_or_insert_default();
                match value::zones_or_cidrs(&line.words[1..]) {
                    Ok(zones) => {
                        allowed.extend(zones.iter().flat_map(|zone| zone.parse::<NameBuf>()));
                    }
                    Err(diagnostic) => parse.report.push(diagnostic),
                }
            }
            "group" if parse.arguments(line, 1..=1, GROUP) => groups.push(line),
            // CoreDNS reads `upstream` and does nothing with it; so do we.
            "group" | "upstream" => {}
            other => {
                named |= other == "transfer";
                if !config.settings.line(parse, line) {
                    parse.unknown_option(directive, line, OPTIONS);
                }
            }
        }
    }
    if !named {
        parse.report.push(
            Diagnostic::error("CF0232", "secondary zones require a transfer from property")
                .at(directive.name.span, format!("expected a line `{TRANSFER}`")),
        );
    }
    config.settings.check(parse);
    for (at, line) in groups.iter().enumerate() {
        if config.catalog.is_none() {
            let mistake = "a group has members of a catalog, but there is no `catalog` here";
            parse.report.push(
                Diagnostic::error("CF0211", mistake)
                    .at(line.words[0].span, "no zone is in this group")
                    .help("add a line `catalog`, or remove the group"),
            );
        }
        let name = &line.words[1];
        let earlier = |first: &&Line| first.words[1].text == name.text;
        if let Some(first) = groups[..at].iter().copied().find(earlier) {
            let mistake = format!("the group `{}` is here twice", name.text);
            parse.report.push(
                Diagnostic::error("CF0120", mistake)
                    .at(name.span, "again here")
                    .beside(first.words[1].span, "first here"),
            );
        }
        let settings = config.settings.of_group(parse, directive, line);
        config.groups.push((name.text.clone(), settings));
    }
    config
}

impl Settings {
    /// Reads a line; `false` where it is none of these options.
    fn line(&mut self, parse: &mut Parse<'_>, line: &Line) -> bool {
        let Some(word) = line.words.first() else {
            return true;
        };
        match word.text.as_str() {
            "transfer" => read_transfer(parse, line, self),
            "file" if parse.arguments(line, 1..=1, "file PATH") => {
                self.file = Some((line.words[1].text.clone(), line.words[1].span));
            }
            "tls" if parse.arguments(line, 0..=3, "tls [CERT KEY] [CA]") => {
                self.tls = Files::of(&line.words[1..]);
                self.tls_span = Some(word.span);
            }
            "tls_servername" if parse.arguments(line, 1..=1, "tls_servername NAME") => {
                let name = &line.words[1];
                self.tls_server_name = Some(name.text.clone());
                self.tls_span = Some(word.span);
                if rustls::pki_types::ServerName::try_from(name.text.as_str()).is_err() {
                    let mistake = format!("not a TLS server name: `{}`", name.text);
                    parse.report.push(
                        Diagnostic::error("CF0205", mistake)
                            .at(name.span, "expected a name such as `primary.example.net`"),
                    );
                }
            }
            "zonemd" => self.digest = parse.read_digest_policy(line).unwrap_or_default(),
            "max_records" if parse.arguments(line, 1..=1, "max_records N") => {
                match value::integer(&line.words[1], 1..=i64::from(u32::MAX)) {
                    Ok(most) => self.max_records = most as usize,
                    Err(diagnostic) => parse.report.push(diagnostic),
                }
            }
            "file" | "tls" | "tls_servername" | "max_records" => {}
            _ => return false,
        }
        true
    }

    /// What a group says; what it does not say is as for other members.
    fn of_group(&self, parse: &mut Parse<'_>, directive: &Directive, line: &Line) -> Self {
        let mut settings = Self {
            tls_span: None,
            ..self.clone()
        };
        let lines = || line.block.iter().flat_map(|block| &block.lines);
        let transfers = |line: &Line| {
            line.words
                .first()
                .is_some_and(|word| word.text == "transfer")
        };
        if lines().any(transfers) {
            settings.primaries.clear();
            settings.key = None;
        }
        for line in lines() {
            if !settings.line(parse, line) {
                parse.unknown_option(directive, line, GROUP_OPTIONS);
            }
        }
        settings.check(parse);
        settings
    }

    /// What tells them from others, as [`Sources::identity`] does when they are built.
    fn identity(&self) -> String {
        let primaries = self.primaries.iter();
        let primaries = primaries.map(|primary| (primary.scheme, &primary.place, &primary.zone));
        let primaries: Vec<_> = primaries.collect();
        let key = self.key.as_ref().map(|(key, _)| key);
        let tls = (&self.tls, &self.tls_server_name);
        format!(
            "{primaries:?} {key:?} {tls:?} {:?} {}",
            self.digest, self.max_records
        )
    }

    /// Reports what is set up and not used.
    fn check(&self, parse: &mut Parse<'_>) {
        let secure = |primary: &Target| primary.scheme == Scheme::Tls;
        if let (Some(span), false) = (self.tls_span, self.primaries.iter().any(secure)) {
            parse.report.push(
                Diagnostic::error(
                    "CF0211",
                    "TLS is configured, but no primary is asked over TLS",
                )
                .at(
                    span,
                    "no primary begins with `tls://`: zones come in clear text",
                )
                .help("write `tls://` before the addresses that use TLS, or remove the option"),
            );
        }
    }
}

/// Reads `transfer from ADDRESS... [key NAME]`.
fn read_transfer(parse: &mut Parse<'_>, line: &Line, settings: &mut Settings) {
    if !parse.arguments(line, 2..=usize::MAX - 1, TRANSFER) {
        return;
    }
    let from = &line.words[1];
    if from.text != "from" {
        let mistake = format!("unknown property '{}'", from.text);
        parse.report.push(
            Diagnostic::error("CF0102", mistake).at(from.span, format!("expected `{TRANSFER}`")),
        );
        return;
    }
    let words = &line.words[2..];
    let (hosts, key) = match words.iter().position(|word| word.text == "key") {
        None => (words, None),
        Some(at) => (&words[..at], Some(&words[at + 1..])),
    };
    match key {
        None => {}
        Some([name]) if !hosts.is_empty() => match NameBuf::parse(&name.text, Name::ROOT) {
            Ok(key) => settings.key = Some((key.to_lower(), name.span)),
            Err(why) => {
                let mistake = format!("not the name of a key: `{}`", name.text);
                parse
                    .report
                    .push(Diagnostic::error("CF0205", mistake).at(name.span, why.to_string()));
            }
        },
        Some(_) => {
            let mistake = "Wrong argument count or unexpected line ending after 'key'";
            let place = line.words.last().map_or(from.span, |word| word.span);
            parse.report.push(
                Diagnostic::error("CF0107", mistake).at(place, format!("expected `{TRANSFER}`")),
            );
        }
    }
    for host in hosts {
        if host.text == "*" {
            parse.report.push(
                Diagnostic::error("CF0208", "can't use '*' in transfer from")
                    .at(host.span, "expected the address of a primary"),
            );
            continue;
        }
        match primary(host) {
            Ok(primary) => settings.primaries.push(primary),
            Err(diagnostic) => parse.report.push(diagnostic),
        }
    }
}

/// Reads a primary: an address, with the interface of a link-local one behind `%`; or `tls://` and an address, with the name in its
/// certificate behind `%`.
fn primary(word: &Token) -> Result<Target, Diagnostic> {
    if !word.text.contains("://") {
        let (address, zone) = target::plain(word)?;
        return Ok(Target {
            scheme: Scheme::Dns,
            place: target::Place::Address(address),
            zone,
            path: None,
            span: word.span,
        });
    }
    let read = target::parse(word, ("secondary", &[Scheme::Dns, Scheme::Tls]));
    let target = read.map_err(|diagnostic| *diagnostic)?;
    if let target::Place::Address(_) = target.place {
        return Ok(target);
    }
    let mistake = format!("not an IP address or a socket address: `{}`", word.text);
    Err(Diagnostic::error("CF0208", mistake).at(word.span, "expected the address of a primary"))
}

/// Where the zones of a line come from, and where they are kept.
fn sources(settings: &Settings, many: bool, build: &mut Build<'_>) -> Result<Sources, BuildError> {
    let mut files = settings.tls.clone();
    files.resolve(|text| build.path(text));
    let mut tls: Option<Arc<ClientConfig>> = None;
    let mut primaries = Vec::new();
    for primary in &settings.primaries {
        let target::Place::Address(address) = primary.place else {
            continue;
        };
        let session = match primary.scheme {
            Scheme::Tls => {
                let shared = match &tls {
                    Some(shared) => shared.clone(),
                    None => tls.insert(files.transfer_config(ALPN)?).clone(),
                };
                let name = primary
                    .server_name()
                    .or(settings.tls_server_name.as_deref());
                Some(Session {
                    name: server_name(name, address.ip())
                        .map_err(|error| error.at(primary.span))?,
                    config: shared,
                })
            }
            _ => None,
        };
        let link = primary.zone.as_deref().filter(|_| session.is_none());
        primaries.push(Contact {
            address: link.map_or(address, |link| addresses::scoped(address, link)),
            tls: session,
        });
    }
    let keep = settings.file.as_ref();
    let keep = keep.map(|(text, _)| Keep::at(build.path(text), many));
    Ok(Sources {
        block: build.seat().map(Arc::from),
        primaries,
        key: settings.key.as_ref().map(|(key, _)| *key),
        keep,
        digest: settings.digest,
        max_records: settings.max_records,
    })
}

impl Setup for SecondarySetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        let settings = self.configs.iter().flat_map(|config| {
            let groups = config.groups.iter().map(|(_, settings)| settings);
            std::iter::once(&config.settings).chain(groups)
        });
        let keyed = settings.filter_map(|settings| settings.key.as_ref()).next();
        if let (Some((_, span)), None) = (keyed, scene.directive("tsig")) {
            report.push(
                Diagnostic::error("CF0309", "there are no keys in this server block")
                    .at(*span, "keys come from `tsig`, which is missing here"),
            );
        }
    }

    fn writes(&self, zones: &[String], root: &Path) -> Vec<Writes> {
        let mut all = Vec::new();
        let mut later: HashSet<&String> = HashSet::new();
        // Of two lines for one zone, the later counts.
        for config in self.configs.iter().rev() {
            let zones = match config.zones.is_empty() {
                true => zones,
                false => &config.zones,
            };
            let own: Vec<&String> = zones.iter().filter(|zone| later.insert(zone)).collect();
            let Some((text, span)) = &config.settings.file else {
                continue;
            };
            let is_catalog = config.catalog.is_some();
            let keep = Keep::at(from_root(root, text), zones.len() > 1 || is_catalog);
            let identity = config.settings.identity();
            for zone in own {
                let Ok(apex) = zone.parse::<NameBuf>() else {
                    continue;
                };
                all.push(Writes {
                    path: keep.file(apex.as_name()),
                    content: format!("{apex} {is_catalog} {identity}"),
                    span: *span,
                    in_directory: true,
                });
            }
        }
        all.reverse();
        all
    }

    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        let reach = self.fall.reach();
        // One handler stands for all lines.
        let zones = self.configs.iter().map(|config| config.zones.clone());
        zones.map(|zones| (reach, zones)).collect()
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let mut places: Vec<Arc<Place>> = Vec::new();
        let mut catalogs: Vec<Catalog> = Vec::new();
        for config in &self.configs {
            let origins = build.origins(&config.zones)?;
            let many = origins.len() > 1 || config.catalog.is_some();
            let line = sources(&config.settings, many, build)?;
            let mut groups = Vec::new();
            for (group, settings) in &config.groups {
                groups.push((group.clone(), sources(settings, true, build)?));
            }
            for apex in origins {
                let is_catalog = config.catalog.is_some();
                let place = Place::of(apex.as_name(), &line, is_catalog);
                // Of two lines for one zone, the later counts.
                places.retain(|known| known.served.apex() != apex.as_name());
                catalogs.retain(|known| known.place.served.apex() != apex.as_name());
                if let Some(allowed) = config.catalog.clone() {
                    catalogs.push(Catalog {
                        place: place.clone(),
                        allowed,
                        groups: groups.clone(),
                    });
                }
                places.push(place);
            }
        }
        for place in &places {
            let capabilities = build.capabilities();
            build.spawn(Box::pin(follow(place.clone(), capabilities)));
        }
        let has_catalogs = !catalogs.is_empty();
        let members = Members::new(places, catalogs);
        if has_catalogs {
            let capabilities = build.capabilities();
            build.spawn(Box::pin(members.clone().follow(capabilities)));
        }
        let zones = members.zones.clone();
        build
            .capabilities()
            .provide_zones("secondary", zones.clone());
        build.push(Arc::new(Secondary {
            authoritative: Arc::new(Authoritative {
                zones,
                fall: self.fall,
                unloaded: Unloaded::Fails,
            }),
            members,
        }));
        Ok(())
    }
}
