//! A model as a Corefile, hosts files and zones.
//!
//! Local data of a domain is written where its plugin gives the answers that the other server gave:
//!
//! * a hosts file, for names that have nothing but addresses;
//! * a zone, where other names of the domain do not exist;
//! * templates otherwise, one for a type of a name, since a zone at the apex of somebody else's domain would hide what else is in it.
//!
//! `template` is asked before `hosts`, and `hosts` before `file`, whatever the order of the lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::import::grammar::word;
use crate::import::model::{
    Access, Action, Domain, Forward, Model, Name, Output, Owner, Record, Scope,
};

/// Of denials: that of `nameplate install`'s zones.
const DENIAL_TTL: u32 = 60;
/// What zones are made of where the configuration has no SOA record; the names are those of RFC 6303, section 3.
const SOA: &str =
    "@ IN SOA localhost. nobody.invalid. 1 3600 1200 604800 10800\n@ IN NS localhost.\n";
/// The zone of domains without any name.
const EMPTY: &str = "zones/empty.zone";
/// A name of one label, and a type that is asked for by whoever forgot the rest of it.
const SINGLE_LABELS: &str = "type() in ['A', 'AAAA'] && name() matches '^[^.]+[.]$'";

/// The Corefile, and the files that it names.
pub(super) fn render(model: &Model) -> Vec<Output> {
    let mut writing = Writing {
        model,
        blocks: Vec::new(),
        files: BTreeMap::new(),
    };
    for scope in &model.scopes {
        writing.scope(scope);
    }
    let mut corefile = String::from(
        "# Written by `nameplate import`. The order of the lines does not matter: the order of plugins is fixed.\n\n",
    );
    corefile.push_str(&common(model));
    for scope in &model.scopes {
        let mut rules = String::new();
        access_lines(&scope.access, &mut rules);
        if !rules.is_empty() {
            let _ = write!(corefile, "\n({}) {{\n{rules}}}\n", clients(scope));
        }
    }
    for (keys, body) in &writing.blocks {
        let port = model.port.filter(|port| *port != 53);
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let keys: Vec<_> = keys.iter().map(|key| format!("{key}{port}")).collect();
        // A comma lets the list go on in the next line.
        let _ = write!(corefile, "\n{} {{\n{body}}}\n", keys.join(",\n"));
    }
    let mut outputs = vec![Output {
        path: "Corefile".to_owned(),
        text: corefile,
    }];
    let files = writing.files.into_iter();
    outputs.extend(files.map(|(path, text)| Output { path, text }));
    outputs.extend(model.copied.iter().map(|copied| Output {
        path: copied.path.clone(),
        text: copied.text.clone(),
    }));
    outputs
}

/// What all blocks have in common. The writer puts the directory in the place of `{ROOT}`.
fn common(model: &Model) -> String {
    let mut out = String::from("(common) {\n    root {ROOT}\n");
    if !model.listen.is_empty() {
        let _ = write!(out, "    bind {}", words(&model.listen));
        match model.not_on.is_empty() {
            true => out.push('\n'),
            false => {
                let _ = writeln!(out, " {{\n        except {}\n    }}", words(&model.not_on));
            }
        }
    }
    if model.log {
        out.push_str("    log\n");
    }
    out.push_str("    errors\n}\n");
    out
}

struct Writing<'a> {
    model: &'a Model,
    /// Keys and content, in the order of the Corefile.
    blocks: Vec<(Vec<String>, String)>,
    files: BTreeMap<String, String>,
}

/// What holds for a domain when those above it are counted in.
struct Effective {
    addresses: Vec<IpAddr>,
    below: Vec<IpAddr>,
    action: Option<Action>,
}

impl Effective {
    /// An address of a family comes from the most specific domain that has one; what a domain decides hides those above it.
    fn of(scope: &Scope, name: &Name) -> Self {
        let mut found = Self {
            addresses: Vec::new(),
            below: Vec::new(),
            action: None,
        };
        for (depth, one) in name.ancestry().enumerate() {
            let Some(domain) = scope.domains.get(&one) else {
                continue;
            };
            for v4 in [true, false] {
                let here = |address: &&IpAddr| address.is_ipv4() == v4;
                if !found.addresses.iter().any(|one| here(&one)) {
                    found.addresses.extend(domain.addresses.iter().filter(here));
                    let below = domain.below.iter().filter(here);
                    match depth {
                        0 => found.below.extend(below),
                        _ => found.addresses.extend(below),
                    }
                }
            }
            if domain.action.is_some() {
                found.action.clone_from(&domain.action);
                break;
            }
        }
        // A name has the addresses, so it is there; all other types of it are denied, as the other names are.
        if found.has_addresses() && found.action == Some(Action::Zone) {
            found.action = Some(Action::Rcode("NXDOMAIN"));
        }
        found
    }

    fn has_addresses(&self) -> bool {
        !self.addresses.is_empty() || !self.below.is_empty()
    }

    /// Whether names may stand in a hosts file: no template hides it.
    fn takes_hosts(&self) -> bool {
        let forwards = matches!(self.action, None | Some(Action::Forward(_) | Action::Zone));
        forwards && !self.has_addresses()
    }
}

impl Writing<'_> {
    fn scope(&mut self, scope: &Scope) {
        let prefix = scope
            .view
            .as_ref()
            .map_or_else(String::new, |(name, _)| format!("{name}."));
        let placed = Placed::of(scope, self.model.ttl);
        if !placed.hosts.is_empty() {
            let path = format!("{prefix}hosts");
            self.files.insert(path, hosts_file(&placed.hosts));
        }
        if scope.keeps_single_labels {
            self.single_labels(scope, &placed, &prefix);
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let root = Name::default();
        let domains: BTreeSet<&Name> = scope.domains.keys().chain([&root]).collect();
        for name in domains {
            let Some(body) = self.block(scope, &placed, &prefix, name) else {
                continue;
            };
            match seen.get(&body) {
                Some(index) => self.blocks[*index].0.push(name.to_string()),
                None => {
                    seen.insert(body.clone(), self.blocks.len());
                    self.blocks.push((vec![name.to_string()], body));
                }
            }
        }
    }

    /// The content of a domain's block; nothing where there is nothing to answer.
    fn block(
        &mut self,
        scope: &Scope,
        placed: &Placed,
        prefix: &str,
        name: &Name,
    ) -> Option<String> {
        let mut body = head(scope);
        let domain = scope.domains.get(name);
        let access = domain.and_then(|domain: &Domain| domain.access.as_ref());
        match access {
            Some(own) => access_lines(own, &mut body),
            None => clients_line(scope, &mut body),
        }
        let bare = body.len();
        let effective = Effective::of(scope, name);
        let records = placed.records.get(name);
        let is_zone = effective.action == Some(Action::Zone);
        if let (Some(records), false) = (records, is_zone) {
            for (owner, known) in records {
                templates(owner, known, &mut body);
            }
        }
        address_templates(name, &effective, &mut body);
        if effective.takes_hosts() {
            self.hosts(scope, placed, prefix, name, &mut body);
        }
        match &effective.action {
            None => {}
            Some(Action::Forward(forward)) => self.forward(forward, &mut body),
            Some(Action::Zone) => {
                let path = match records {
                    None => {
                        self.files
                            .insert(EMPTY.to_owned(), format!("$TTL 3600\n{SOA}"));
                        EMPTY.to_owned()
                    }
                    Some(records) => {
                        let path = format!("zones/{prefix}{}.zone", file_name(name));
                        self.files.insert(path.clone(), zone_file(name, records));
                        path
                    }
                };
                let _ = writeln!(body, "    file {path}");
            }
            Some(Action::File(path)) => {
                let _ = writeln!(body, "    file {}", word(path));
            }
            Some(Action::Secondary(primaries, key)) => {
                let key = key.as_ref();
                let key = key.map_or_else(String::new, |key| format!(" key {}", key.absolute()));
                let _ = writeln!(
                    body,
                    "    secondary {{\n        transfer from {}{key}\n    }}",
                    words(primaries)
                );
            }
            Some(Action::Rcode(rcode)) => rcode_template(rcode, &mut body),
            Some(Action::Null) => {
                for (rtype, address) in [("A", "0.0.0.0"), ("AAAA", "::")] {
                    let _ = writeln!(
                        body,
                        "    template IN {rtype} {{\n        answer \"{{{{ .Name }}}} {} IN {rtype} {address}\"\n    }}",
                        self.model.ttl
                    );
                }
                rcode_template("NOERROR", &mut body);
            }
            Some(Action::Drop) => {
                body.push_str("    acl {\n        drop\n    }\n");
                rcode_template("REFUSED", &mut body);
            }
        }
        if let Some(domain) = domain {
            body.push_str(&domain.transfers);
        }
        (body.len() > bare).then_some(body)
    }

    /// The hosts files, where a name of theirs is in the domain.
    fn hosts(&self, scope: &Scope, placed: &Placed, prefix: &str, name: &Name, body: &mut String) {
        let ttl = match self.model.ttl {
            3_600 => String::new(),
            ttl => format!("        ttl {ttl}\n"),
        };
        let reverse = if scope.has_reverse {
            ""
        } else {
            "        no_reverse\n"
        };
        if placed.hosts_in.contains(name) {
            let _ = writeln!(
                body,
                "    hosts {prefix}hosts . {{\n{ttl}{reverse}        fallthrough\n    }}"
            );
        }
        for file in &scope.hosts_files {
            let file = word(&file.display().to_string());
            let _ = writeln!(
                body,
                "    hosts {file} . {{\n{ttl}{reverse}        fallthrough\n    }}"
            );
        }
    }

    fn forward(&self, forward: &Forward, body: &mut String) {
        if let Some(lines) = &self.model.cache {
            let ttl = self.model.cache_ttl;
            let ttl = ttl.map_or_else(String::new, |ttl| format!(" {ttl}"));
            let _ = write!(body, "    cache{ttl}");
            block(lines, body);
        }
        let _ = write!(body, "    forward . {}", words(&forward.to));
        block(&forward.options, body);
    }

    /// The block for names of one label, which stands before that of the root.
    fn single_labels(&mut self, scope: &Scope, placed: &Placed, prefix: &str) {
        let mut body = String::new();
        let (view, more) = match &scope.view {
            Some((name, expression)) => (
                format!("{name}-single-labels"),
                format!("        expr {}\n", word(expression)),
            ),
            None => ("single-labels".to_owned(), String::new()),
        };
        let _ = write!(
            body,
            "    view {view} {{\n{more}        expr {}\n    }}\n    import common\n",
            word(SINGLE_LABELS)
        );
        clients_line(scope, &mut body);
        let root = Name::default();
        self.hosts(scope, placed, prefix, &root, &mut body);
        let mut known: BTreeMap<Name, Owner> = BTreeMap::new();
        for (owner, all) in placed.records.get(&root).into_iter().flatten() {
            let mut all = all.clone();
            let resolves = |record: &Record| matches!(&*record.rtype, "A" | "AAAA" | "CNAME");
            all.records.retain(resolves);
            if owner.has_one_label() && !all.records.is_empty() {
                known.insert(owner.clone(), all);
            }
        }
        let path = format!("zones/{prefix}single-labels.zone");
        self.files.insert(path.clone(), zone_file(&root, &known));
        let _ = writeln!(body, "    file {path}");
        self.blocks.push((vec![".".to_owned()], body));
    }
}

/// Local data by the domain that decides about it.
struct Placed {
    /// Names of hosts files, by address.
    hosts: Vec<(IpAddr, Vec<Name>)>,
    /// The domains that have one of them, or its address.
    hosts_in: BTreeSet<Name>,
    records: BTreeMap<Name, BTreeMap<Name, Owner>>,
}

impl Placed {
    fn of(scope: &Scope, ttl: u32) -> Self {
        let mut placed = Self {
            hosts: Vec::new(),
            hosts_in: BTreeSet::new(),
            records: BTreeMap::new(),
        };
        let mut in_files: BTreeSet<&Name> = BTreeSet::new();
        for (name, owner) in &scope.owners {
            let domain = scope.closest(name).unwrap_or_default();
            let in_hosts = owner.records.is_empty()
                && !name.is_wildcard()
                && Effective::of(scope, &domain).takes_hosts();
            if !in_hosts {
                placed.as_records(scope, (name, owner), domain, ttl);
                continue;
            }
            in_files.insert(name);
            placed.hosts_in.insert(domain);
            for address in &owner.addresses {
                if scope.has_reverse {
                    let reverse = Name::reverse(*address);
                    let domain = scope.closest(&reverse).unwrap_or_default();
                    placed.hosts_in.insert(domain);
                }
            }
        }
        let mut by_address: BTreeMap<IpAddr, usize> = BTreeMap::new();
        let named = scope.order.iter();
        for (address, name) in named.filter(|(_, name)| in_files.contains(name)) {
            let index = *by_address.entry(*address).or_insert(placed.hosts.len());
            match placed.hosts.get_mut(index) {
                Some((_, names)) => names.push(name.clone()),
                None => placed.hosts.push((*address, vec![name.clone()])),
            }
        }
        placed
    }

    fn as_records(
        &mut self,
        scope: &Scope,
        (name, owner): (&Name, &Owner),
        domain: Name,
        ttl: u32,
    ) {
        for address in &owner.addresses {
            if scope.has_reverse && !name.is_wildcard() {
                let reverse = Name::reverse(*address);
                let domain = scope.closest(&reverse).unwrap_or_default();
                let there = self.records.entry(domain).or_default();
                there.entry(reverse).or_default().records.push(Record {
                    ttl,
                    rtype: "PTR".to_owned(),
                    rdata: name.absolute(),
                });
            }
        }
        let here = self.records.entry(domain).or_default();
        let all = here.entry(name.clone()).or_default();
        all.is_complete |= owner.is_complete;
        all.records
            .extend(owner.addresses.iter().map(|address| Record {
                ttl,
                rtype: if address.is_ipv4() { "A" } else { "AAAA" }.to_owned(),
                rdata: address.to_string(),
            }));
        all.records.extend(owner.records.iter().cloned());
    }
}

fn head(scope: &Scope) -> String {
    let mut body = String::new();
    if let Some((name, expression)) = &scope.view {
        let _ = writeln!(
            body,
            "    view {name} {{\n        expr {}\n    }}",
            word(expression)
        );
    }
    body.push_str("    import common\n");
    body
}

/// The snippet that says who may ask.
fn clients(scope: &Scope) -> String {
    match &scope.view {
        Some((name, _)) => format!("clients-{name}"),
        None => "clients".to_owned(),
    }
}

fn clients_line(scope: &Scope, body: &mut String) {
    if !scope.access.is_empty() {
        let _ = writeln!(body, "    import {}", clients(scope));
    }
}

fn access_lines(access: &[Access], body: &mut String) {
    if access.is_empty() {
        return;
    }
    body.push_str("    acl {\n");
    for rule in access {
        let _ = match &*rule.net {
            "*" => writeln!(body, "        {}", rule.action),
            net => writeln!(body, "        {} net {net}", rule.action),
        };
    }
    body.push_str("    }\n");
}

/// The records of one name, a template for each type.
fn templates(owner: &Name, known: &Owner, body: &mut String) {
    let zone = match owner.is_wildcard() {
        true => owner.parent().unwrap_or_default(),
        false => owner.clone(),
    };
    let mut by_type: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in &known.records {
        by_type.entry(&record.rtype).or_default().push(record);
    }
    for (rtype, records) in by_type {
        // An alias answers for every type.
        let qtype = if rtype == "CNAME" { "ANY" } else { rtype };
        let _ = write!(
            body,
            "    template IN {qtype} {zone} {{\n        match {}\n        answer",
            owner.expression()
        );
        for record in records {
            let name = match owner.is_wildcard() {
                true => "{{ .Name }}".to_owned(),
                false => owner.absolute(),
            };
            let rdata = literal(&record.rdata);
            let text = format!("{name} {} IN {rtype} {rdata}", record.ttl);
            let _ = write!(body, " {}", word(&text));
        }
        body.push_str("\n        fallthrough\n    }\n");
    }
    if known.is_complete {
        let _ = writeln!(
            body,
            "    template IN ANY {zone} {{\n        match {}\n        fallthrough\n    }}",
            owner.expression()
        );
    }
}

/// RDATA in which nothing is an action of a template, a variable of a Corefile or a backslash before a quote.
fn literal(rdata: &str) -> String {
    rdata
        .replace(r"\\", r"\092")
        .replace("\\\"", r"\034")
        .replace('{', r"\123")
        .replace('}', r"\125")
}

/// The addresses that all names of a domain have.
fn address_templates(name: &Name, effective: &Effective, body: &mut String) {
    for (rtype, v4) in [("A", true), ("AAAA", false)] {
        for (addresses, is_below) in [(&effective.below, true), (&effective.addresses, false)] {
            let mut answers = String::new();
            for address in addresses.iter().filter(|one| one.is_ipv4() == v4) {
                let _ = write!(
                    answers,
                    " \"{{{{ .Name }}}} {DENIAL_TTL} IN {rtype} {address}\""
                );
            }
            if answers.is_empty() {
                continue;
            }
            let _ = writeln!(body, "    template IN {rtype} {{");
            if let (true, Some(below)) = (is_below, Name::below("*", name)) {
                let _ = write!(
                    body,
                    "        match {}\n        fallthrough\n",
                    below.expression()
                );
            }
            let _ = writeln!(body, "        answer{answers}\n    }}");
        }
    }
}

/// One answer for all names of the block's zones.
fn rcode_template(rcode: &str, body: &mut String) {
    body.push_str("    template ANY ANY {\n");
    let _ = writeln!(body, "        rcode {rcode}");
    if rcode != "REFUSED" && rcode != "SERVFAIL" {
        // Without it, clients ask again at once (RFC 2308).
        let _ = writeln!(
            body,
            "        authority \"{{{{ .Zone }}}} {DENIAL_TTL} IN SOA localhost. nobody.invalid. 1 3600 1200 604800 {DENIAL_TTL}\""
        );
    }
    body.push_str("    }\n");
}

/// A block of lines, or none.
fn block(lines: &[String], body: &mut String) {
    if lines.is_empty() {
        body.push('\n');
        return;
    }
    body.push_str(" {\n");
    for line in lines {
        let _ = writeln!(body, "        {line}");
    }
    body.push_str("    }\n");
}

fn hosts_file(hosts: &[(IpAddr, Vec<Name>)]) -> String {
    let mut sorted: Vec<_> = hosts.iter().collect();
    sorted.sort_by_key(|(address, _)| *address);
    let mut out =
        String::from("# Edit this file while the server runs: changes are served at once.\n");
    for (address, names) in sorted {
        let names: Vec<&str> = names.iter().map(Name::as_str).collect();
        let _ = writeln!(out, "{address} {}", names.join(" "));
    }
    out
}

fn zone_file(apex: &Name, records: &BTreeMap<Name, Owner>) -> String {
    let at_apex = records.get(apex);
    let has = |rtype: &str| {
        at_apex.is_some_and(|owner| owner.records.iter().any(|one| one.rtype == rtype))
    };
    let mut out = format!("$ORIGIN {}\n$TTL 3600\n", apex.absolute());
    for (line, rtype) in SOA.lines().zip(["SOA", "NS"]) {
        if !has(rtype) {
            let _ = writeln!(out, "{line}");
        }
    }
    if apex.is_root() {
        out.push_str("localhost IN A 127.0.0.1\nlocalhost IN AAAA ::1\n");
    }
    // The SOA record comes first: readers of zones expect it there.
    let mut all: Vec<(&Name, &Record)> = records
        .iter()
        .flat_map(|(name, owner)| owner.records.iter().map(move |record| (name, record)))
        .collect();
    all.sort_by_key(|(_, record)| record.rtype != "SOA");
    for (name, record) in all {
        let _ = writeln!(
            out,
            "{} {} IN {} {}",
            name.absolute(),
            record.ttl,
            record.rtype,
            record.rdata
        );
    }
    out
}

/// The name of a domain's file.
pub(super) fn file_name(name: &Name) -> String {
    match name.is_root() {
        true => "root".to_owned(),
        false => name.as_str().replace('*', "_"),
    }
}

fn words(all: &[String]) -> String {
    all.iter()
        .map(|one| word(one))
        .collect::<Vec<_>>()
        .join(" ")
}
