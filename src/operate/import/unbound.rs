//! unbound.conf, as Unbound 1.17 reads it: clauses (`server:`), and in them `option: value`, over any white space.
//!
//! A query meets access control, then the local zone that encloses its name most closely, then the forward or stub zone that does. The
//! model has one map of domains, so at the end the two kinds of zones are laid over each other in that order.

mod options;
mod words;
mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;

use crate::import::grammar::{MOST_UPSTREAMS, network, prefix, upstream};
use crate::import::model::{Access, Action, Forward, Model, Name, Record};
use crate::import::reading::Files;
use crate::import::report::{Place, Report};

use self::options::{CLAUSES, NOTHING_TO_DO, UNKNOWN_HERE};
use self::words::words;

/// Unbound's, of local data.
const TTL: u32 = 3_600;

/// Reads a file and what it includes.
pub(super) fn read(path: &Path, files: &mut Files, report: &mut Report) -> io::Result<Model> {
    let mut reading = Reading {
        files,
        report,
        model: Model::default(),
        clause: String::new(),
        zones: BTreeMap::new(),
        data: Vec::new(),
        forwards: Vec::new(),
        access: Vec::new(),
        ports: BTreeSet::new(),
        defaults: true,
        removed: BTreeSet::new(),
        tls: false,
    };
    reading.file(path)?;
    let place = Place {
        file: path.display().to_string().into(),
        line: 0,
    };
    Ok(reading.finish(&place))
}

/// A forward zone or a stub zone.
#[derive(Default)]
struct Zone {
    name: Option<Name>,
    to: Vec<String>,
    is_tls: bool,
    is_cached: bool,
    options: Vec<String>,
}

/// Local data as it is written.
struct Datum {
    owner: Name,
    record: Record,
    place: Place,
    line: String,
}

struct Reading<'a> {
    files: &'a mut Files,
    report: &'a mut Report,
    model: Model,
    /// The clause that options belong to.
    clause: String,
    /// Local zones, their types, and where they are.
    zones: BTreeMap<Name, (String, Place, String)>,
    data: Vec<Datum>,
    forwards: Vec<(Zone, Place)>,
    access: Vec<((IpAddr, u8), &'static str)>,
    ports: BTreeSet<u16>,
    /// The zones that are built in are served.
    defaults: bool,
    removed: BTreeSet<Name>,
    tls: bool,
}

impl Reading<'_> {
    fn file(&mut self, path: &Path) -> io::Result<()> {
        let text = self.files.open(path)?;
        let mut all = Vec::new();
        for (place, line) in text.lines(self.report) {
            all.extend(words(line).map(|word| (place.clone(), word)));
        }
        let mut rest = all.into_iter().peekable();
        while let Some((place, word)) = rest.next() {
            let Some(key) = word.key() else {
                let why = "a value without an option";
                self.report.left(&place, word.text(), why, "");
                continue;
            };
            // Options of the clause follow, or a value of this one.
            let mut values = Vec::new();
            while let Some((_, value)) = rest.next_if(|(_, next)| next.key().is_none()) {
                values.push(value.text().to_owned());
            }
            match values.is_empty() {
                true => self.begin(&place, &key),
                false => self.option(&place, &key, &values),
            }
        }
        self.files.close();
        Ok(())
    }

    fn begin(&mut self, place: &Place, key: &str) {
        key.clone_into(&mut self.clause);
        match key {
            "server" | "remote-control" => {}
            "forward-zone" | "stub-zone" => {
                let zone = Zone {
                    is_cached: true,
                    ..Zone::default()
                };
                self.forwards.push((zone, place.clone()));
            }
            _ => match CLAUSES.iter().find(|(known, _)| *known == key) {
                Some((_, instead)) => {
                    let why = format!("nameplate has no equivalent of the clause `{key}`");
                    self.report.left(place, &format!("{key}:"), &why, instead);
                }
                None => {
                    let why = format!("`{key}` is not a clause that this importer knows");
                    self.report.left(place, &format!("{key}:"), &why, "");
                }
            },
        }
    }

    fn option(&mut self, place: &Place, key: &str, values: &[String]) {
        let line = format!("{key}: {}", values.join(" "));
        if matches!(key, "include" | "include-toplevel") {
            for value in values {
                self.include(place, &line, value);
            }
            return;
        }
        let taken = match &*self.clause {
            "forward-zone" | "stub-zone" => self.zone_option(key, values, place, &line),
            // The clause as a whole is in the report.
            "remote-control" => match (key, values.first().map(String::as_str)) {
                ("control-enable", Some("yes")) => Err(Some(
                    "nothing is controlled from outside: changes are edits of files".to_owned(),
                )),
                _ => Ok(()),
            },
            clause if CLAUSES.iter().any(|(known, _)| *known == clause) => Ok(()),
            _ => self.server_option(key, values, place, &line),
        };
        match taken {
            Ok(()) => {}
            Err(Some(why)) => self.report.left(place, &line, &why, ""),
            Err(None) => self.unknown(place, key, &line),
        }
    }

    fn unknown(&mut self, place: &Place, key: &str, line: &str) {
        let begins = |(known, _): &&(&str, &str)| {
            key == *known || (known.ends_with('-') && key.starts_with(known))
        };
        if let Some((_, instead)) = NOTHING_TO_DO.iter().find(begins) {
            let why = format!("not needed: {instead}");
            return self.report.note(place, line, &why);
        }
        match UNKNOWN_HERE.iter().find(begins) {
            Some((_, instead)) => {
                let why = format!("nameplate has no equivalent of `{key}`");
                self.report.left(place, line, &why, instead);
            }
            None => {
                let why = format!("`{key}` is not an option that this importer knows");
                self.report.left(place, line, &why, "");
            }
        }
    }

    fn include(&mut self, place: &Place, line: &str, pattern: &str) {
        let paths = match self.files.matching(Path::new(pattern)) {
            Ok(paths) => paths,
            Err(error) => {
                let why = format!("it cannot be listed: {error}");
                return self.report.left(place, line, &why, "");
            }
        };
        for path in paths {
            if let Err(error) = self.file(&path) {
                let why = format!("{} cannot be read: {error}", path.display());
                self.report.left(place, line, &why, "");
            }
        }
    }

    fn server_option(
        &mut self,
        key: &str,
        values: &[String],
        place: &Place,
        line: &str,
    ) -> Result<(), Option<String>> {
        let value = values.first().map_or("", String::as_str);
        let is_yes = value == "yes";
        match key {
            "interface" | "ip-address" => {
                let (word, port) = match value.split_once('@') {
                    Some((word, port)) => {
                        let port = port.parse().map_err(|_| Some("not a port".to_owned()))?;
                        (word, Some(port))
                    }
                    None => (value, None),
                };
                self.ports.extend(port);
                if let Some(port @ (853 | 443)) = port {
                    return Err(Some(format!(
                        "port {port} is for DoT or DoH, which the imported configuration does not serve"
                    )));
                }
                if !matches!(word, "0.0.0.0" | "::0" | "::") {
                    self.model.listen.push(word.to_owned());
                } else if !self.model.listen.is_empty() {
                    self.model.listen.push(word.replace("::0", "::"));
                }
            }
            "port" => {
                let port = value.parse().map_err(|_| Some("not a port".to_owned()))?;
                self.model.port = Some(port);
            }
            "access-control" => self.access_control(value, values.get(1))?,
            "local-zone" => self.local_zone(value, values.get(1), place, line)?,
            "local-data" => self.local_data(&values.join(" "), place, line)?,
            "local-data-ptr" => self.local_pointer(&values.join(" "), place, line)?,
            "unblock-lan-zones" | "insecure-lan-zones" => {
                if key == "unblock-lan-zones" && is_yes {
                    self.defaults = false;
                }
            }
            "log-queries" | "log-replies" => self.model.log |= is_yes,
            "log-local-actions" => {
                self.report
                    .note(place, line, "not needed: `log` writes queries");
            }
            "msg-cache-size" | "rrset-cache-size" => {
                let why = "used for `success` of `cache`: an entry for each KiB";
                let entries = size(value).ok_or_else(|| Some("not a size".to_owned()))? / 1_024;
                if key == "msg-cache-size" {
                    let lines = self.model.cache.get_or_insert_default();
                    lines.push(format!("success {}", entries.clamp(1_024, 1 << 30)));
                    self.report.note(place, line, why);
                } else {
                    self.report
                        .note(place, line, "not needed: the cache keeps responses whole");
                }
            }
            "cache-max-ttl" => {
                let ttl: u32 = value.parse().map_err(|_| Some("not a TTL".to_owned()))?;
                self.model.cache_ttl = Some(ttl.max(1));
            }
            "cache-min-ttl" | "cache-max-negative-ttl" | "cache-min-negative-ttl" => {
                if value != "0" {
                    return Err(Some(
                        "write it after `success` or `denial` in the block of `cache`".to_owned(),
                    ));
                }
            }
            "prefetch" if is_yes => self
                .model
                .cache
                .get_or_insert_default()
                .push("prefetch 1 1h 10%".to_owned()),
            "serve-expired" if is_yes => self
                .model
                .cache
                .get_or_insert_default()
                .push("serve_stale".to_owned()),
            "prefetch" | "serve-expired" => {}
            "tls-upstream" | "ssl-upstream" => self.tls = is_yes,
            "deny-any" if is_yes => {
                return Err(Some(
                    "write `any`: it answers ANY with one short record".to_owned(),
                ));
            }
            "deny-any" => {}
            "do-not-query-localhost" => {
                self.report.note(
                    place,
                    line,
                    "not needed: the upstreams that are named are asked",
                );
            }
            _ => return Err(None),
        }
        Ok(())
    }

    fn access_control(&mut self, net: &str, action: Option<&String>) -> Result<(), Option<String>> {
        let net = prefix(net).ok_or_else(|| Some("not a network".to_owned()))?;
        let action = match action.map_or("", String::as_str) {
            "allow" | "allow_snoop" | "allow_setrd" => "allow",
            "refuse" => "block",
            "deny" => "drop",
            other => return Err(Some(format!("`{other}` has no equivalent in `acl`"))),
        };
        // The later line counts.
        self.access.retain(|(known, _)| *known != net);
        self.access.push((net, action));
        Ok(())
    }

    fn local_zone(
        &mut self,
        name: &str,
        kind: Option<&String>,
        place: &Place,
        line: &str,
    ) -> Result<(), Option<String>> {
        let name = Name::parse(name)
            .ok_or_else(|| Some(format!("not a name that can be imported: {name}")))?;
        let kind = kind.map_or("", String::as_str);
        let known = match kind {
            "inform" => "transparent",
            "inform_redirect" => "redirect",
            "inform_deny" => "deny",
            "nodefault" | "static" | "transparent" | "typetransparent" | "redirect" | "refuse"
            | "deny" | "always_transparent" | "always_refuse" | "always_nxdomain"
            | "always_nodata" | "always_deny" | "always_null" => kind,
            other => return Err(Some(format!("the type `{other}` has no equivalent"))),
        };
        if kind != known {
            self.report.note(place, line, "`log` logs all queries");
        }
        if known == "nodefault" {
            self.removed.insert(name);
        } else {
            let entry = (known.to_owned(), place.clone(), line.to_owned());
            self.zones.insert(name, entry);
        }
        Ok(())
    }

    /// `NAME [TTL] [CLASS] TYPE RDATA`.
    fn local_data(&mut self, text: &str, place: &Place, line: &str) -> Result<(), Option<String>> {
        let mut rest = text.trim();
        let mut next = || {
            let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            rest = after.trim_start();
            word
        };
        let owner = next();
        let owner = Name::parse(owner)
            .ok_or_else(|| Some(format!("not a name that can be imported: {owner}")))?;
        let mut word = next();
        let mut ttl = TTL;
        if let Ok(number) = word.parse() {
            ttl = number;
            word = next();
        }
        if word.eq_ignore_ascii_case("IN") {
            word = next();
        }
        let rtype = word.to_ascii_uppercase();
        if rtype.is_empty() || !rtype.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(Some("no type".to_owned()));
        }
        // Names in RDATA are absolute, with or without the dot; the text is read from the root.
        let record = Record {
            ttl,
            rtype,
            rdata: rest.to_owned(),
        };
        self.data.push(Datum {
            owner,
            record,
            place: place.clone(),
            line: line.to_owned(),
        });
        Ok(())
    }

    /// `ADDRESS [TTL] NAME`.
    fn local_pointer(
        &mut self,
        text: &str,
        place: &Place,
        line: &str,
    ) -> Result<(), Option<String>> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (address, ttl, name) = match *words {
            [address, name] => (address, TTL, name),
            [address, ttl, name] => {
                let ttl = ttl.parse().map_err(|_| Some("not a TTL".to_owned()))?;
                (address, ttl, name)
            }
            _ => return Err(Some("not an address and a name".to_owned())),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| Some("not an address".to_owned()))?;
        let name = Name::parse(name)
            .ok_or_else(|| Some(format!("not a name that can be imported: {name}")))?;
        let record = Record {
            ttl,
            rtype: "PTR".to_owned(),
            rdata: name.absolute(),
        };
        let owner = Name::reverse(address);
        self.data.push(Datum {
            owner,
            record,
            place: place.clone(),
            line: line.to_owned(),
        });
        Ok(())
    }

    fn zone_option(
        &mut self,
        key: &str,
        values: &[String],
        place: &Place,
        line: &str,
    ) -> Result<(), Option<String>> {
        let value = values.first().map_or("", String::as_str);
        let is_yes = value == "yes";
        let Some((zone, _)) = self.forwards.last_mut() else {
            return Err(None);
        };
        let bare = key
            .trim_start_matches("forward-")
            .trim_start_matches("stub-");
        match bare {
            "name" => {
                let name = value.trim_matches('"');
                let name = Name::parse(name)
                    .ok_or_else(|| Some(format!("not a name that can be imported: {name}")))?;
                zone.name = Some(name);
            }
            "name:" if key == "name" => {}
            "addr" => {
                let (address, tls) = value
                    .split_once('#')
                    .map_or((value, None), |(address, name)| (address, Some(name)));
                let to = upstream(address, '@')
                    .ok_or_else(|| Some("not the address of an upstream".to_owned()))?;
                zone.to.push(match tls {
                    Some(name) => format!("{to}%{name}"),
                    None => to,
                });
                if key == "stub-addr" {
                    self.report.note(
                        place,
                        line,
                        "an authoritative server is asked; referrals from it are not followed",
                    );
                }
            }
            "host" => zone.to.push(value.trim_end_matches('.').to_owned()),
            "tls-upstream" | "ssl-upstream" => zone.is_tls = is_yes,
            "tcp-upstream" if is_yes => zone.options.push("force_tcp".to_owned()),
            "tcp-upstream" => {}
            "no-cache" => zone.is_cached = !is_yes,
            "first" if !is_yes => {}
            "prime" => {}
            "first" => {
                return Err(Some(
                    "nothing is resolved from the root when the upstreams fail".to_owned(),
                ));
            }
            _ => return Err(None),
        }
        Ok(())
    }

    fn finish(mut self, main: &Place) -> Model {
        self.listening(main);
        self.rules(main);
        let forwards = self.forward_actions();
        if !forwards.contains_key(&Name::default()) {
            self.report.left(
                main,
                "",
                "it resolves from the root, which nameplate does not: other names are refused",
                "write `forward . ADDRESS` with a resolver's address in a block for `.`",
            );
        }
        if self.defaults {
            self.default_zones();
        }
        self.bare_data();
        self.lay(&forwards);
        self.place_data();
        let owners = self.model.scopes[0].owners.values();
        if owners.clone().any(|owner| !owner.addresses.is_empty()) {
            self.report.note(
                main,
                "",
                "a PTR query for a name in `hosts` does not find the name; Unbound gives an empty answer",
            );
        }
        if owners
            .flat_map(|owner| &owner.records)
            .any(|one| one.rtype == "CNAME")
        {
            self.report.note(
                main,
                "",
                "an alias in local data is answered with what it leads to; Unbound gives the alias alone",
            );
        }
        self.model
    }

    fn listening(&mut self, main: &Place) {
        let mut ports = std::mem::take(&mut self.ports);
        ports.retain(|port| !matches!(port, 853 | 443));
        match ports.len() {
            0 => {}
            1 => self.model.port = ports.first().copied(),
            _ => self.report.left(
                main,
                "",
                "interfaces with several ports",
                "write server blocks with `bind` for each port",
            ),
        }
        if self
            .model
            .listen
            .iter()
            .any(|one| matches!(&**one, "0.0.0.0" | "::"))
        {
            self.model.listen.clear();
        }
    }

    /// Of Unbound's networks the most specific counts, and this machine may always ask.
    fn rules(&mut self, main: &Place) {
        for own in ["127.0.0.0/8", "::1/128"] {
            if let Some(net) = prefix(own)
                && !self.access.iter().any(|(known, _)| *known == net)
            {
                self.access.push((net, "allow"));
            }
        }
        let mut all = std::mem::take(&mut self.access);
        all.sort_by_key(|((_, length), _)| std::cmp::Reverse(*length));
        let has_any = |v4: bool| {
            all.iter()
                .any(|((address, length), _)| *length == 0 && address.is_ipv4() == v4)
        };
        let needs_end = !(has_any(true) && has_any(false));
        if all.len() == 2 {
            self.report.note(
                main,
                "",
                "no access-control: this machine alone may ask, as in Unbound; see `acl`",
            );
        }
        let rules = &mut self.model.scopes[0].access;
        rules.extend(all.into_iter().map(|(net, action)| Access {
            action,
            net: network(net),
        }));
        if needs_end {
            rules.push(Access {
                action: "block",
                net: "*".to_owned(),
            });
        }
    }

    fn forward_actions(&mut self) -> BTreeMap<Name, Action> {
        let mut actions = BTreeMap::new();
        for (zone, place) in std::mem::take(&mut self.forwards) {
            let Some(name) = zone.name else {
                self.report.left(&place, "", "a zone without a name", "");
                continue;
            };
            let tls = zone.is_tls || self.tls;
            let mut to: Vec<String> = zone
                .to
                .iter()
                .map(|to| {
                    let (address, name) = to
                        .split_once('%')
                        .map_or((&**to, None), |(address, name)| (address, Some(name)));
                    match (tls, name) {
                        (true, Some(name)) => with_name(address, name),
                        (true, None) => format!("tls://{}", address.replace(":853", "")),
                        // Without TLS, nobody looks at the name.
                        (false, _) => address.to_owned(),
                    }
                })
                .collect();
            if to.len() > MOST_UPSTREAMS {
                let why =
                    format!("more than {MOST_UPSTREAMS} upstreams; the first ones were imported");
                self.report.left(&place, "", &why, "");
                to.truncate(MOST_UPSTREAMS);
            }
            if to.is_empty() {
                self.report.left(
                    &place,
                    "",
                    "a zone without upstreams: it resolves from the root, which nameplate does not",
                    "",
                );
                continue;
            }
            if !zone.is_cached {
                self.report.left(
                    &place,
                    "",
                    "a zone that is not cached",
                    "take `cache` out of its block",
                );
            }
            actions.insert(
                name,
                Action::Forward(Forward {
                    to,
                    options: zone.options,
                }),
            );
        }
        actions
    }
}

/// An upstream over TLS with the name in its certificate: `tls://ADDRESS%NAME:PORT`.
fn with_name(address: &str, name: &str) -> String {
    match address.rsplit_once("]:").or_else(|| {
        address
            .split_once(':')
            .filter(|(_, port)| !port.contains(':'))
    }) {
        Some((bare, port)) => format!("tls://{}%{name}:{port}", bare.trim_start_matches('[')),
        None => format!("tls://{address}%{name}"),
    }
}

/// A size with k, m or g.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let factor = match text[digits.len()..]
        .to_ascii_lowercase()
        .trim_end_matches('b')
    {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}
