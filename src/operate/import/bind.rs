//! named.conf, as BIND 9.18 reads it.
//!
//! BIND chooses the view by the client first, then the zone in it. nameplate chooses the zone first, then the block whose view fits. So
//! the expression of a view says also that no view before it fits; then both choose the same.

mod access;
mod statements;
mod transfers;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::import::empty_zones;
use crate::import::grammar::{MOST_UPSTREAMS, upstream};
use crate::import::master::Masters;
use crate::import::model::{Action, Forward, Model, Name, Scope};
use crate::import::reading::Files;
use crate::import::report::{Place, Report};

use self::access::Lists;
use self::statements::Statement;
use self::transfers::{Transfers, Wanted};

/// Options that ask for nothing that has to be written down here.
const NOTHING_TO_DO: [(&str, &str); 33] = [
    ("directory", "files are written beside the Corefile"),
    ("pid-file", "-pidfile on the command line"),
    (
        "session-keyfile",
        "updates need `dynupdate` and a key of `tsig`",
    ),
    ("managed-keys-directory", "replies are not validated"),
    ("key-directory", "`sign` and `dnssec` name their keys"),
    ("dump-file", "metrics and pages show the state"),
    ("statistics-file", "`prometheus` has the counters"),
    ("memstatistics-file", "`prometheus` has the counters"),
    ("recursing-file", "`prometheus` has the counters"),
    ("secroots-file", "replies are not validated"),
    (
        "lock-file",
        "a second server on the same address does not start",
    ),
    ("version", "`chaos` is off unless it is written"),
    ("hostname", "`chaos` is off unless it is written"),
    ("server-id", "`nsid`"),
    ("auth-nxdomain", "denials have AA"),
    (
        "dnssec-enable",
        "signed zones are served with their signatures",
    ),
    ("minimal-responses", "`minimal`"),
    ("minimal-any", "`any`"),
    ("max-cache-size", "`success` of `cache` limits it"),
    ("edns-udp-size", "`bufsize` sets it; the default is 1232"),
    ("max-udp-size", "`bufsize` sets it; the default is 1232"),
    (
        "tcp-clients",
        "connections are shared by client, and limited",
    ),
    (
        "recursive-clients",
        "the number of waiting queries is limited",
    ),
    ("check-names", "zones are checked when they are loaded"),
    ("check-integrity", "zones are checked when they are loaded"),
    ("check-mx", "zones are checked when they are loaded"),
    ("check-srv-cname", "zones are checked when they are loaded"),
    ("interface-interval", "`reload` looks at the interfaces"),
    ("zone-statistics", "`prometheus` has the counters"),
    ("querylog", "`log` writes queries"),
    ("transfers-in", "the server limits the number of transfers"),
    ("transfers-out", "the server limits the number of transfers"),
    ("qname-minimization", "nothing is resolved from the root"),
];

/// Options without an equivalent, and what to do.
const UNKNOWN_HERE: [(&str, &str); 18] = [
    (
        "allow-notify",
        "`secondary` accepts NOTIFY from its primaries, and NOTIFY that is signed with the key",
    ),
    (
        "allow-update",
        "write `dynupdate` with a key of `tsig` instead of `file`; until then, UPDATE is answered with NOTIMP",
    ),
    (
        "update-policy",
        "write `dynupdate` with a key of `tsig` instead of `file`; until then, UPDATE is answered with NOTIMP",
    ),
    (
        "allow-update-forwarding",
        "send updates to the primary: UPDATE is answered with NOTIMP",
    ),
    ("response-policy", "there are no response policy zones"),
    ("rate-limit", "write `rrl`"),
    (
        "dnssec-validation",
        "replies are not validated: name an upstream that validates",
    ),
    (
        "dnssec-policy",
        "write `sign` or `dnssec` with the keys; a signed file is served with its signatures",
    ),
    (
        "auto-dnssec",
        "write `sign` or `dnssec` with the keys; a signed file is served with its signatures",
    ),
    (
        "inline-signing",
        "write `sign` or `dnssec` with the keys; a signed file is served with its signatures",
    ),
    ("tls-port", "write server blocks of `tls://`"),
    ("blackhole", "write an `acl` with `drop`"),
    ("sortlist", "answers are not sorted by client"),
    ("rrset-order", "`loadbalance` shuffles addresses"),
    ("dns64", "write `dns64`"),
    (
        "query-source",
        "write `source_address` in the block of `forward`",
    ),
    (
        "query-source-v6",
        "write `source_address` in the block of `forward`",
    ),
    ("max-cache-ttl", "write it after `cache`"),
];

/// Reads named.conf and what it includes.
pub(super) fn read(path: &Path, files: &mut Files, report: &mut Report) -> io::Result<Model> {
    let statements = statements::read(path, files, report)?;
    let mut reading = Reading {
        files,
        report,
        model: Model {
            scopes: Vec::new(),
            ..Model::default()
        },
        lists: Lists::default(),
        transfers: Transfers::default(),
        masters: Masters::default(),
        folder: path.parent().unwrap_or(Path::new(".")).to_owned(),
        directory: None,
    };
    let place = Place {
        file: path.display().to_string().into(),
        line: 0,
    };
    reading.all(&statements, &place);
    let mut model = reading.model;
    model.copied = reading.masters.outputs;
    model.copied.extend(reading.transfers.file());
    Ok(model)
}

/// What options say of zones, and views inherit.
#[derive(Clone, Default)]
struct Settings {
    forwarders: Vec<String>,
    is_only: bool,
    no_recursion: bool,
    no_empty_zones: bool,
    allow_query: Option<Vec<Statement>>,
    allow_recursion: Option<Vec<Statement>>,
    transfers: Wanted,
}

struct Reading<'a> {
    files: &'a mut Files,
    report: &'a mut Report,
    model: Model,
    lists: Lists,
    transfers: Transfers,
    masters: Masters,
    /// Of named.conf.
    folder: PathBuf,
    directory: Option<PathBuf>,
}

impl Reading<'_> {
    fn all(&mut self, statements: &[Statement], main: &Place) {
        let mut settings = Settings::default();
        let mut zones = Vec::new();
        let mut views = Vec::new();
        for statement in statements {
            self.list(statement);
        }
        for statement in statements {
            match &*statement.name() {
                "acl" | "key" | "server" | "primaries" | "masters" | "remote-servers" => {}
                "options" => self.options(statement, &mut settings),
                "zone" => zones.push(statement),
                "view" => views.push(statement),
                "logging" | "controls" | "statistics-channels" => {
                    self.report.note(
                        &statement.place,
                        &statement.text(),
                        "not needed: `log`, `errors` and `prometheus` show what happens",
                    );
                }
                "trusted-keys" | "managed-keys" | "trust-anchors" | "dnssec-policy" | "tls"
                | "http" | "dlz" | "dyndb" | "plugin" => {
                    let why = format!("nameplate has no equivalent of `{}` here", statement.name());
                    self.report.left(
                        &statement.place,
                        &format!("{} {}", statement.name(), statement.word(1)),
                        &why,
                        "",
                    );
                }
                _ => self.other(statement),
            }
        }
        if views.is_empty() {
            let scope = self.scope(&settings, &zones, None, main);
            self.model.scopes.push(scope);
            return;
        }
        let mut before = Vec::new();
        for view in views {
            let mut own = settings.clone();
            let mut own_zones = zones.clone();
            let mut clients = None;
            for statement in view.block().unwrap_or_default() {
                match &*statement.name() {
                    "zone" => own_zones.push(statement),
                    "match-clients" => clients = Some(statement),
                    "match-destinations" | "match-recursive-only" => {
                        self.report.left(
                            &statement.place,
                            &statement.text(),
                            "a view is chosen by the client's address only",
                            "add it to the expression of `view`",
                        );
                    }
                    _ => self.setting(statement, &mut own),
                }
            }
            let list = clients.and_then(|statement| statement.block());
            let expression = match self.lists.expression(list) {
                Ok(expression) => expression,
                Err(why) => {
                    self.report.left(
                        &view.place,
                        &view.text(),
                        &format!("its clients cannot be determined: {why}"),
                        "write server blocks with `view`",
                    );
                    continue;
                }
            };
            let name: String = view
                .word(1)
                .chars()
                .map(|c| {
                    if c.is_ascii_alphanumeric() || c == '_' {
                        c
                    } else {
                        '-'
                    }
                })
                .collect();
            let mut terms: Vec<String> = before.iter().map(|one| format!("not ({one})")).collect();
            if expression != "true" {
                terms.push(format!("({expression})"));
            }
            let whole = match terms.is_empty() {
                true => None,
                false => Some((name, terms.join(" && "))),
            };
            before.push(expression);
            let scope = self.scope(&own, &own_zones, whole, main);
            self.model.scopes.push(scope);
        }
    }

    /// What other statements name.
    fn list(&mut self, statement: &Statement) {
        let left = match &*statement.name() {
            "acl" => {
                self.lists.add(statement);
                return;
            }
            "primaries" | "masters" | "remote-servers" => {
                self.transfers.add_list(statement);
                return;
            }
            "key" => self.transfers.add_key(statement).err(),
            "server" if !self.transfers.add_server(statement) => {
                Some("only the key of a server is imported".to_owned())
            }
            _ => None,
        };
        if let Some(why) = left {
            // Without what is in it, which may be a secret.
            let title = format!("{} {}", statement.name(), statement.word(1));
            self.report.left(&statement.place, &title, &why, "");
        }
    }

    fn options(&mut self, options: &Statement, settings: &mut Settings) {
        for statement in options.block().unwrap_or_default() {
            match &*statement.name() {
                "directory" => self.directory = Some(statement.word(1).into()),
                "listen-on" | "listen-on-v6" => self.listen(statement),
                "port" => match statement.word(1).parse() {
                    Ok(port) => self.model.port = Some(port),
                    Err(_) => {
                        self.report
                            .left(&statement.place, &statement.text(), "not a port", "")
                    }
                },
                "querylog" if statement.word(1) == "yes" => self.model.log = true,
                _ => self.setting(statement, settings),
            }
        }
    }

    /// An option that views have, too.
    fn setting(&mut self, statement: &Statement, settings: &mut Settings) {
        let value = statement.word(1);
        match &*statement.name() {
            "forwarders" => settings.forwarders = self.forwarders(statement),
            "forward" => settings.is_only = value == "only",
            "recursion" => settings.no_recursion = matches!(value, "no" | "false" | "0"),
            "empty-zones-enable" => settings.no_empty_zones = matches!(value, "no" | "false" | "0"),
            "allow-query" => settings.allow_query = statement.block().map(<[_]>::to_vec),
            "allow-recursion" | "allow-query-cache" => {
                settings.allow_recursion = statement.block().map(<[_]>::to_vec);
            }
            "allow-transfer" => settings.transfers.allow = Some(statement.clone()),
            "also-notify" => settings.transfers.also_notify = Some(statement.clone()),
            "notify" => {
                settings.transfers.tells_none = !matches!(value, "yes" | "true" | "1");
            }
            // What is off here is off there.
            "allow-update" if is_none(statement) => {}
            "dnssec-validation" | "dnssec-policy" if matches!(value, "no" | "none") => {}
            _ => self.other(statement),
        }
    }

    fn other(&mut self, statement: &Statement) {
        let name = statement.name();
        let (place, text) = (&statement.place, statement.text());
        if let Some((_, instead)) = NOTHING_TO_DO.iter().find(|(known, _)| *known == name) {
            return self
                .report
                .note(place, &text, &format!("not needed: {instead}"));
        }
        match UNKNOWN_HERE.iter().find(|(known, _)| *known == name) {
            Some((_, instead)) => self.report.left(
                place,
                &text,
                &format!("nameplate has no equivalent of `{name}`"),
                instead,
            ),
            None => self.report.left(
                place,
                &text,
                &format!("`{name}` is not an option that this importer knows"),
                "",
            ),
        }
    }

    fn listen(&mut self, statement: &Statement) {
        let words: Vec<&str> = statement.words().collect();
        if let Some(port) = words.iter().position(|word| *word == "port") {
            match words
                .get(port + 1)
                .and_then(|port| port.parse::<u16>().ok())
            {
                Some(port) if self.model.port.is_none_or(|known| known == port) => {
                    self.model.port = Some(port)
                }
                _ => {
                    return self.report.left(
                        &statement.place,
                        &statement.text(),
                        "another port",
                        "write server blocks with `bind` for each port",
                    );
                }
            }
        }
        if words.iter().any(|word| matches!(*word, "tls" | "http")) {
            return self.report.left(
                &statement.place,
                &statement.text(),
                "DoT or DoH",
                "write server blocks of `tls://` or `https://`",
            );
        }
        for one in statement.block().unwrap_or_default() {
            match one.word(0) {
                "any" => {
                    let all = if statement.name() == "listen-on" {
                        "0.0.0.0"
                    } else {
                        "::"
                    };
                    self.model.listen.push(all.to_owned());
                }
                "none" => {}
                word if word.parse::<std::net::IpAddr>().is_ok() => {
                    self.model.listen.push(word.to_owned())
                }
                _ => self.report.left(
                    &one.place,
                    &one.text(),
                    "an address is needed to listen on",
                    "write it after `bind`",
                ),
            }
        }
    }

    /// `{ ADDRESS [port N]; ... }`, with a port for all before it.
    fn forwarders(&mut self, statement: &Statement) -> Vec<String> {
        let words: Vec<&str> = statement.words().collect();
        let port = words.iter().position(|word| *word == "port");
        let common = port.and_then(|at| words.get(at + 1).copied());
        let mut to = Vec::new();
        for one in statement.block().unwrap_or_default() {
            let own = (one.word(1) == "port").then(|| one.word(2));
            let port = own.or(common).unwrap_or("53");
            match upstream(&format!("{}#{port}", one.word(0)), '#') {
                Some(upstream) if !one.words().any(|word| word == "tls") => to.push(upstream),
                Some(_) => self.report.left(
                    &one.place,
                    &one.text(),
                    "an upstream over TLS",
                    "write `tls://ADDRESS%NAME` after `forward`",
                ),
                None => self.report.left(
                    &one.place,
                    &one.text(),
                    "not the address of an upstream",
                    "",
                ),
            }
        }
        if to.len() > MOST_UPSTREAMS {
            let why = format!("more than {MOST_UPSTREAMS} upstreams; the first ones were imported");
            self.report
                .left(&statement.place, &statement.text(), &why, "");
            to.truncate(MOST_UPSTREAMS);
        }
        to
    }

    /// What the clients of a view get.
    fn scope(
        &mut self,
        settings: &Settings,
        zones: &[&Statement],
        view: Option<(String, String)>,
        main: &Place,
    ) -> Scope {
        let mut scope = Scope {
            view,
            ..Scope::default()
        };
        if let Some(list) = &settings.allow_query {
            match self.lists.rules(list) {
                Ok(rules) => scope.access = rules,
                Err(why) => self
                    .report
                    .left(main, "allow-query", &why, "write an `acl`"),
            }
        }
        let mut by_name: BTreeMap<Name, &Statement> = BTreeMap::new();
        for zone in zones {
            match Name::parse(zone.word(1)) {
                // A zone of the view stands before one that all views have.
                Some(name) => {
                    by_name.insert(name, zone);
                }
                None => self.report.left(
                    &zone.place,
                    &zone.text(),
                    "not a name that can be imported",
                    "copy its file, and write `file` with the name",
                ),
            }
        }
        let recursion = !settings.no_recursion;
        self.root(settings, &mut scope, main);
        let hidden = settings.is_only && !settings.forwarders.is_empty();
        // BIND leaves them out where everything is forwarded and nothing else is tried.
        if recursion && !settings.no_empty_zones && !hidden {
            let reverse = empty_zones::loopback()
                .into_iter()
                .chain(empty_zones::private());
            let home = ["home.arpa", "empty.as112.arpa"]
                .iter()
                .filter_map(|name| Name::parse(name));
            for name in reverse.chain(empty_zones::shared()).chain(home) {
                // A zone above it that is configured answers instead.
                if !name
                    .ancestry()
                    .any(|one| by_name.contains_key(&one) && !one.is_root())
                {
                    scope.domain(&name).action = Some(Action::Zone);
                }
            }
        }
        let is_primary = |zone: &&&Statement| {
            let mut inner = zone.block().unwrap_or_default().iter();
            inner.any(|one| matches!(one.word(1), "primary" | "master"))
        };
        if recursion && by_name.values().any(|zone| is_primary(&zone)) {
            self.report.note(
                main,
                "",
                "a name below a delegation in a zone gets the referral; BIND continues to ask for clients that want recursion",
            );
        }
        for (name, zone) in by_name {
            self.zone(&name, zone, settings, &mut scope);
        }
        scope
    }

    /// Other names.
    fn root(&mut self, settings: &Settings, scope: &mut Scope, main: &Place) {
        if settings.no_recursion {
            return;
        }
        let root = Name::default();
        if settings.forwarders.is_empty() {
            return self.report.left(
                main,
                "",
                "it resolves from the root, which nameplate does not: other names are refused",
                "write `forward . ADDRESS` with a resolver's address in a block for `.`",
            );
        }
        let forward = Forward {
            to: settings.forwarders.clone(),
            options: Vec::new(),
        };
        let domain = scope.domain(&root);
        domain.action = Some(Action::Forward(forward));
        match &settings.allow_recursion {
            Some(list) => match self.lists.rules(list) {
                Ok(rules) => domain.access = Some(rules),
                Err(why) => self.report.left(main, "allow-recursion", &why, "write an `acl` in the block for `.`"),
            },
            None => self.report.note(main, "", "every client may ask for other names; BIND lets the networks of this machine ask: write an `acl` in the block for `.`"),
        }
    }

    fn zone(&mut self, name: &Name, zone: &Statement, settings: &Settings, scope: &mut Scope) {
        let block = zone.block().unwrap_or_default();
        let find = |wanted: &str| block.iter().find(|one| one.name() == wanted);
        let kind = find("type").map_or("", |one| one.word(1));
        let title = format!("zone {name} {{ type {kind}; }}");
        match kind {
            "primary" | "master" => {
                let Some(file) = find("file") else {
                    return self.report.left(&zone.place, &title, "it has no file", "");
                };
                let base = self
                    .directory
                    .clone()
                    .unwrap_or_else(|| self.folder.clone());
                let named = Path::new(file.word(1));
                let mut path = base.join(named);
                // A configuration that was copied has its files beside it.
                if !path.exists() && self.folder.join(named).exists() {
                    path = self.folder.join(named);
                }
                let copied = self
                    .masters
                    .copy(&path, &base, name, self.files, self.report);
                match copied {
                    Ok(path) => scope.domain(name).action = Some(Action::File(path)),
                    Err(error) => {
                        let why = format!("{} cannot be read: {error}", path.display());
                        return self.report.left(&file.place, &title, &why, "");
                    }
                }
            }
            "forward" if settings.no_recursion => {
                let why = "not needed: it is for recursion, which is off";
                return self.report.note(&zone.place, &title, why);
            }
            "forward" => {
                let to = find("forwarders").map(|one| self.forwarders(one));
                match to {
                    Some(to) if !to.is_empty() => {
                        let forward = Forward {
                            to,
                            options: Vec::new(),
                        };
                        let domain = scope.domain(name);
                        domain.action = Some(Action::Forward(forward));
                        // What is wrong with the list is told once, of the root.
                        let rules = settings.allow_recursion.as_ref();
                        domain.access = rules.and_then(|list| self.lists.rules(list).ok());
                    }
                    // An empty list turns forwarding off.
                    _ => {
                        return self.report.left(
                            &zone.place,
                            &title,
                            "it is resolved from the root, which nameplate does not",
                            "write `forward . ADDRESS` with a resolver's address",
                        );
                    }
                }
            }
            "static-stub" | "stub" => {
                return self.report.left(
                    &zone.place,
                    &title,
                    "authoritative servers are not asked one after the other",
                    "write `forward . ADDRESS` with a resolver's address",
                );
            }
            "hint" => {
                return self.report.note(
                    &zone.place,
                    &title,
                    "not needed: nothing is resolved from the root",
                );
            }
            "secondary" | "slave" => {
                let primaries = find("primaries").or_else(|| find("masters"));
                let found = match primaries {
                    Some(one) => self.transfers.remotes(one),
                    None => Err("it has no primaries".to_owned()),
                };
                let keys = |all: &[transfers::Remote]| {
                    let first = all.first().and_then(|one| one.key.clone());
                    all.iter().all(|one| one.key == first).then_some(first)
                };
                match found.map(|all| (keys(&all), all)) {
                    Ok((Some(key), all)) if !all.is_empty() => {
                        let domain = scope.domain(name);
                        if key.is_some() {
                            domain.transfers = Transfers::directive();
                        }
                        let from = all.into_iter().map(|one| one.address).collect();
                        domain.action = Some(Action::Secondary(from, key));
                    }
                    other => {
                        let why = match other {
                            Err(why) => format!("its primaries cannot be imported: {why}"),
                            Ok(_) => {
                                "its primaries have several keys, or there are none".to_owned()
                            }
                        };
                        let instead =
                            "write `secondary` with `transfer from`, and `tsig` for a key";
                        return self.report.left(&zone.place, &title, &why, instead);
                    }
                }
            }
            "mirror" => {
                return self.report.left(
                    &zone.place,
                    &title,
                    "a mirror is validated, and nameplate validates no zones",
                    "write `secondary` with `transfer from`",
                );
            }
            "redirect" => {
                return self.report.left(
                    &zone.place,
                    &title,
                    "there are no redirect zones",
                    "write a `template`",
                );
            }
            "" if find("in-view").is_some() => {
                return self.report.left(
                    &zone.place,
                    &title,
                    "a zone of another view",
                    "also write `file` with its file in a block of this view",
                );
            }
            other => {
                return self.report.left(
                    &zone.place,
                    &title,
                    &format!("the type `{other}` has no equivalent"),
                    "",
                );
            }
        }
        let mut own = settings.clone();
        for statement in block {
            match &*statement.name() {
                "type" | "file" | "forwarders" | "primaries" | "masters" => {}
                "forward" if statement.word(1) == "only" => {}
                "forward" => self.report.note(
                    &statement.place,
                    &statement.text(),
                    "nothing is resolved from the root when the upstreams fail",
                ),
                "allow-query" => match self.lists.rules(statement.block().unwrap_or_default()) {
                    Ok(rules) => scope.domain(name).access = Some(rules),
                    Err(why) => self.report.left(
                        &statement.place,
                        &statement.text(),
                        &why,
                        "write an `acl`",
                    ),
                },
                _ => self.setting(statement, &mut own),
            }
        }
        if matches!(kind, "primary" | "master" | "secondary" | "slave") {
            self.hand_on(name, (zone, &title), &own.transfers, scope);
        }
    }

    /// Writes who may have a zone.
    fn hand_on(
        &mut self,
        name: &Name,
        (zone, title): (&Statement, &str),
        wanted: &Wanted,
        scope: &mut Scope,
    ) {
        match self.transfers.directives(wanted, &self.lists) {
            Ok(None) if wanted.allow.is_none() => {
                let why = "no client may transfer it; BIND before 9.20 allows all clients, and newer versions none: write `transfer { to ADDRESS }`";
                self.report.note(&zone.place, title, why);
            }
            Ok(None) => {}
            Ok(Some(lines)) => {
                let domain = scope.domain(name);
                // The keys are there already if those of the primaries are.
                let lines = match domain.transfers.is_empty() {
                    true => lines,
                    false => lines.replacen(&Transfers::directive(), "", 1),
                };
                domain.transfers.push_str(&lines);
            }
            Err(why) => {
                let named = wanted.allow.as_ref().or(wanted.also_notify.as_ref());
                let place = named.map_or(&zone.place, |statement| &statement.place);
                let text = named.map_or_else(|| title.to_owned(), Statement::text);
                let instead = "write `transfer` in the zone's block";
                self.report
                    .left(place, &format!("{title} {text}"), &why, instead);
            }
        }
    }
}

/// Whether a list lets nobody.
fn is_none(statement: &Statement) -> bool {
    let list = statement.block().unwrap_or_default();
    list.len() == 1 && list[0].word(0) == "none"
}
