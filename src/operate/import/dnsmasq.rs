//! dnsmasq.conf, as dnsmasq 2.90 reads it.
//!
//! Every line of it is one option, and most may be given many times, so the order matters little: what depends on another option
//! (`expand-hosts` on `domain`) is done at the end.

mod lines;
mod options;
mod records;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::import::empty_zones;
use crate::import::grammar::{MOST_UPSTREAMS, prefix, upstream};
use crate::import::hosts;
use crate::import::model::{Action, Forward, Model, Name, Scope};
use crate::import::reading::{Files, is_like};
use crate::import::report::{Place, Report};

use self::lines::{fields, option};
use self::options::{NO_DNS, NOTHING_TO_DO, UNKNOWN_HERE};

/// dnsmasq gives 0, which would be asked for again and again.
const LOCAL_TTL: u32 = 60;
/// What dnsmasq reads where nothing else is said.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// Reads a file or a directory of files.
pub(super) fn read(path: &Path, files: &mut Files, report: &mut Report) -> io::Result<Model> {
    let mut reading = Reading::new(files, report);
    if path.is_dir() {
        for file in reading.files.list(path)? {
            reading.include(&file, &whole(&file));
        }
    } else {
        reading.file(path)?;
    }
    Ok(reading.finish(&whole(path)))
}

/// Reads lines of this format that stand in another file.
pub(super) fn read_lines<'a>(
    lines: impl Iterator<Item = (Place, &'a str)>,
    files: &mut Files,
    report: &mut Report,
    start: Model,
) -> Model {
    let mut reading = Reading::new(files, report);
    reading.model = start;
    reading.no_hosts = true;
    reading.no_resolv = true;
    for (place, line) in lines {
        reading.line(&place, line);
    }
    let place = Place {
        file: "misc.dnsmasq_lines".into(),
        line: 0,
    };
    reading.finish(&place)
}

fn whole(path: &Path) -> Place {
    Place {
        file: path.display().to_string().into(),
        line: 0,
    }
}

struct Reading<'a> {
    files: &'a mut Files,
    report: &'a mut Report,
    model: Model,
    domain: Option<Name>,
    expands: bool,
    no_hosts: bool,
    no_resolv: bool,
    resolv_files: Vec<String>,
    /// Hosts files, and where they are named.
    hosts: Vec<(Place, String, PathBuf)>,
    /// Upstreams of the root and of domains.
    servers: BTreeMap<Name, Vec<String>>,
    /// Domains that are asked for at the default upstreams.
    as_default: Vec<Name>,
    /// `srv-host` and others that wait for `domain`.
    later: Vec<(Place, String, Vec<String>)>,
    options: Vec<String>,
    interfaces: bool,
    addresses: bool,
    private_is_denied: bool,
    cache_size: Option<u32>,
    least_ttl: Option<u32>,
}

impl<'a> Reading<'a> {
    fn new(files: &'a mut Files, report: &'a mut Report) -> Self {
        let mut model = Model {
            ttl: LOCAL_TTL,
            ..Model::default()
        };
        model.scopes[0].has_reverse = true;
        Self {
            files,
            report,
            model,
            domain: None,
            expands: false,
            no_hosts: false,
            no_resolv: false,
            resolv_files: Vec::new(),
            hosts: Vec::new(),
            servers: BTreeMap::new(),
            as_default: Vec::new(),
            later: Vec::new(),
            options: Vec::new(),
            interfaces: false,
            addresses: false,
            private_is_denied: false,
            cache_size: None,
            least_ttl: None,
        }
    }

    fn scope(&mut self) -> &mut Scope {
        &mut self.model.scopes[0]
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        let text = self.files.open(path)?;
        let lines: Vec<_> = text
            .lines(self.report)
            .map(|(place, line)| (place, line.to_owned()))
            .collect();
        for (place, line) in lines {
            self.line(&place, &line);
        }
        self.files.close();
        Ok(())
    }

    /// Reads a file that another one names; reports one that cannot be read.
    fn include(&mut self, path: &Path, place: &Place) {
        if let Err(error) = self.file(path) {
            let why = format!("{} cannot be read: {error}", path.display());
            self.report
                .left(place, &path.display().to_string(), &why, "");
        }
    }

    fn line(&mut self, place: &Place, line: &str) {
        let Some((name, value)) = option(line) else {
            return;
        };
        let done = match value {
            Some(value) => self.with_value(place, line, name, value),
            None => self.bare(name),
        };
        let Err(why) = done else { return };
        if let Some(why) = why {
            return self.report.left(place, line, &why, "");
        }
        // It is none of those that are read here.
        if let Some((_, instead)) = NOTHING_TO_DO.iter().find(|(known, _)| *known == name) {
            return self
                .report
                .note(place, line, &format!("not needed: {instead}"));
        }
        let known = UNKNOWN_HERE.iter().find(|(known, _)| *known == name);
        let other = NO_DNS.iter().find(|(known, _)| name.starts_with(known));
        match known.or(other) {
            Some((_, instead)) => {
                let why = format!("nameplate has no equivalent of `{name}`");
                self.report.left(place, line, &why, instead);
            }
            None => {
                let why = format!("`{name}` is not an option that this importer knows");
                self.report.left(place, line, &why, "");
            }
        }
    }

    /// An option without a value. An error is what is wrong, and nothing where the option is none of these.
    fn bare(&mut self, name: &str) -> Result<(), Option<String>> {
        match name {
            "no-resolv" => self.no_resolv = true,
            "no-hosts" => self.no_hosts = true,
            "expand-hosts" => self.expands = true,
            "domain-needed" => self.scope().keeps_single_labels = true,
            "bogus-priv" => self.private_is_denied = true,
            "log-queries" => self.model.log = true,
            "strict-order" => self.options.push("policy sequential".to_owned()),
            "no-negcache" => self
                .model
                .cache
                .get_or_insert_default()
                .push("disable denial".to_owned()),
            _ => return Err(None),
        }
        Ok(())
    }

    fn with_value(
        &mut self,
        place: &Place,
        line: &str,
        name: &str,
        value: &str,
    ) -> Result<(), Option<String>> {
        let number = || {
            value
                .trim()
                .parse::<u32>()
                .map_err(|_| Some("not a number".to_owned()))
        };
        match name {
            "conf-file" => {
                for path in self.matching(value)? {
                    self.include(&path, place);
                }
            }
            "conf-dir" => self.conf_dir(place, value)?,
            "address" | "server" | "local" => self.domains(place, line, name, value)?,
            "rev-server" => self.rev_server(value)?,
            "servers-file" => self.include(Path::new(value.trim()), place),
            "addn-hosts" | "hostsdir" => {
                let path = PathBuf::from(value.trim());
                self.hosts.push((place.clone(), line.to_owned(), path));
            }
            "domain" => self.set_domain(place, line, value)?,
            "resolv-file" => self.resolv_files.push(value.trim().to_owned()),
            "listen-address" => {
                self.addresses = true;
                for field in fields(value) {
                    let address = field.parse::<IpAddr>();
                    let address = address.map_err(|_| Some(format!("not an address: {field}")))?;
                    self.model.listen.push(address.to_string());
                }
            }
            "interface" | "except-interface" => {
                for field in fields(value) {
                    if field.contains('*') {
                        return Err(Some("`bind` takes no patterns of interfaces".to_owned()));
                    }
                    match name {
                        "interface" => {
                            self.interfaces = true;
                            self.model.listen.push(field);
                        }
                        _ => self.model.not_on.push(field),
                    }
                }
            }
            "port" => match number()?.try_into() {
                Ok(0) => return Err(Some("port 0 turns DNS off".to_owned())),
                Ok(port) => self.model.port = Some(port),
                Err(_) => return Err(Some("not a port".to_owned())),
            },
            "cache-size" => self.cache_size = Some(number()?),
            "max-cache-ttl" => self.model.cache_ttl = Some(number()?.max(1)),
            "min-cache-ttl" => self.least_ttl = Some(number()?),
            "local-ttl" => self.model.ttl = number()?.clamp(1, 65_535),
            "log-queries" => self.model.log = true,
            "host-record" | "cname" | "txt-record" | "srv-host" | "mx-host" | "caa-record"
            | "ptr-record" | "naptr-record" | "dns-rr" => {
                let waiting = (place.clone(), line.to_owned(), fields(value));
                self.later.push(waiting);
            }
            "neg-ttl" | "max-ttl" => {
                self.report.left(
                    place,
                    line,
                    &format!("`{name}` has no equivalent"),
                    "set TTLs in the block of `cache`",
                );
            }
            _ => return Err(None),
        }
        Ok(())
    }

    fn matching(&self, value: &str) -> Result<Vec<PathBuf>, Option<String>> {
        let found = self.files.matching(Path::new(value.trim()));
        found.map_err(|error| Some(format!("it cannot be listed: {error}")))
    }

    /// `conf-dir=DIR[,EXTENSION...]`: `*.x` are read alone, others are left out.
    fn conf_dir(&mut self, place: &Place, value: &str) -> Result<(), Option<String>> {
        let all = fields(value);
        let Some((folder, extensions)) = all.split_first() else {
            return Err(Some("no directory".to_owned()));
        };
        let files = self.files.list(Path::new(folder));
        let files = files.map_err(|error| Some(format!("it cannot be listed: {error}")))?;
        let (only, not): (Vec<_>, Vec<_>) = extensions.iter().partition(|one| one.starts_with('*'));
        for file in files {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let wanted = only.is_empty()
                || only
                    .iter()
                    .any(|one| is_like(name.as_bytes(), one.as_bytes()));
            if wanted && !not.iter().any(|one| name.ends_with(one.as_str())) {
                self.include(&file, place);
            }
        }
        Ok(())
    }

    fn set_domain(&mut self, place: &Place, line: &str, value: &str) -> Result<(), Option<String>> {
        let all = fields(value);
        match &*all {
            [name] if name != "#" => {
                let name = Name::parse(name).ok_or_else(|| Some("not a domain".to_owned()))?;
                self.domain = Some(name);
            }
            _ => self.report.left(
                place,
                line,
                "a domain of some networks only, or of resolv.conf",
                "write the names in full in the hosts file",
            ),
        }
        Ok(())
    }

    /// `address=/D/.../X`, `server=/D/.../X`, `server=X`, `local=/D/`.
    fn domains(
        &mut self,
        place: &Place,
        line: &str,
        name: &str,
        value: &str,
    ) -> Result<(), Option<String>> {
        let value = value.trim();
        let Some(rest) = value.strip_prefix('/') else {
            if name == "address" {
                return Err(Some("an address without a domain".to_owned()));
            }
            let to = self.upstream(place, line, value)?;
            self.servers.entry(Name::default()).or_default().push(to);
            return Ok(());
        };
        let (domains, target) = rest
            .rsplit_once('/')
            .ok_or_else(|| Some("no `/` after the domain".to_owned()))?;
        let target = target.trim();
        let mut to = None;
        if name != "address" && !matches!(target, "" | "#") {
            to = Some(self.upstream(place, line, target)?);
        }
        for text in domains.split('/') {
            // dnsmasq takes a leading dot for nothing.
            let text = text.trim().trim_start_matches('.');
            if text.is_empty() {
                if target.is_empty() {
                    self.scope().keeps_single_labels = true;
                    continue;
                }
                return Err(Some(
                    "names of one label have an upstream or an address".to_owned(),
                ));
            }
            let (text, is_below) = match text.strip_prefix("*.") {
                Some(rest) => (rest, true),
                None => (text, false),
            };
            let domain = match text {
                "#" => Name::default(),
                text => Name::parse(text).ok_or_else(|| Some(format!("not a domain: {text}")))?,
            };
            match (name, target) {
                ("address", target) => self.address(&domain, is_below, target)?,
                _ if is_below => {
                    return Err(Some(
                        "names below a domain have another upstream than the domain".to_owned(),
                    ));
                }
                (_, "") => self.scope().domain(&domain).action = Some(Action::Zone),
                (_, "#") => self.as_default.push(domain),
                _ => self.servers.entry(domain).or_default().extend(to.clone()),
            }
        }
        Ok(())
    }

    fn address(
        &mut self,
        domain: &Name,
        is_below: bool,
        target: &str,
    ) -> Result<(), Option<String>> {
        let addresses: Vec<IpAddr> = match target {
            "" if is_below => {
                return Err(Some(
                    "names below a domain do not exist, and the domain does".to_owned(),
                ));
            }
            "" => {
                self.scope().domain(domain).action = Some(Action::Rcode("NXDOMAIN"));
                return Ok(());
            }
            "#" => vec![[0; 4].into(), [0; 16].into()],
            text => {
                let address = text.parse::<IpAddr>();
                vec![address.map_err(|_| Some(format!("not an address: {text}")))?]
            }
        };
        let domain = self.scope().domain(domain);
        let known = if is_below {
            &mut domain.below
        } else {
            &mut domain.addresses
        };
        for address in addresses {
            if !known.contains(&address) {
                known.push(address);
            }
        }
        Ok(())
    }

    /// `ADDRESS[#PORT][@SOURCE[#PORT]]`; a source has no equivalent of its own for each upstream.
    fn upstream(
        &mut self,
        place: &Place,
        line: &str,
        text: &str,
    ) -> Result<String, Option<String>> {
        let (server, source) = match text.split_once('@') {
            Some((server, source)) => (server, Some(source)),
            None => (text, None),
        };
        let bare = server
            .split_once('%')
            .map_or(server, |(address, _)| address);
        let to = upstream(bare, '#')
            .ok_or_else(|| Some(format!("not the address of an upstream: {server}")))?;
        if source.is_some() || bare != server {
            self.report.left(
                place,
                line,
                "the interface or source address of queries; the upstream was imported",
                "write `source_address` in the block of `forward`",
            );
        }
        Ok(to)
    }

    /// `rev-server=ADDRESS[/LENGTH],UPSTREAM[#PORT]`.
    fn rev_server(&mut self, value: &str) -> Result<(), Option<String>> {
        let all = fields(value);
        let [net, to] = &*all else {
            return Err(Some("not a network and an upstream".to_owned()));
        };
        let wrong = |what: &str| Some(format!("not {what}"));
        let (address, length) = prefix(net).ok_or_else(|| wrong("a network"))?;
        let to = upstream(to, '#').ok_or_else(|| wrong("the address of an upstream"))?;
        let zones = Name::reverse_zones(address, length);
        if zones.is_empty() {
            return Err(wrong("a network with a reverse zone"));
        }
        for zone in zones {
            self.servers.entry(zone).or_default().push(to.clone());
        }
        Ok(())
    }

    fn finish(mut self, main: &Place) -> Model {
        for (place, line, fields) in std::mem::take(&mut self.later) {
            let name = option(&line).map_or("", |(name, _)| name);
            let taken = self.local_record(name, &fields, &place, &line);
            if let Err(why) = taken {
                self.report.left(&place, &line, &why, "");
            }
        }
        self.hosts_files();
        self.upstreams(main);
        if self.private_is_denied {
            self.report.note(
                main,
                "",
                "bogus-priv: reverse zones of private networks are answered for all types; dnsmasq denies PTR alone",
            );
            let zones = empty_zones::private();
            for zone in zones.into_iter().chain(empty_zones::loopback()) {
                if !self.servers.contains_key(&zone) {
                    let domain = self.scope().domain(&zone);
                    domain.action.get_or_insert(Action::Zone);
                }
            }
        }
        // `interface` brings the loopback interface with it.
        if self.interfaces {
            self.model.listen.push("lo".to_owned());
        }
        self.model.listen.dedup();
        self.cache();
        self.differences(main);
        self.model
    }

    fn hosts_files(&mut self) {
        for (place, line, path) in std::mem::take(&mut self.hosts) {
            let paths = match path.is_dir() {
                true => self.files.list(&path),
                false => Ok(vec![path]),
            };
            match paths {
                Ok(paths) => {
                    for path in paths {
                        self.hosts_file(&path, &place, &line);
                    }
                }
                Err(error) => {
                    let why = format!("it cannot be listed: {error}");
                    self.report.left(&place, &line, &why, "");
                }
            }
        }
        if self.no_hosts {
            return;
        }
        let place = whole(Path::new(HOSTS));
        if self.expands && self.domain.is_some() {
            self.hosts_file(Path::new(HOSTS), &place, "");
            let why = "its names were copied with and without the domain; edit `hosts` from now on";
            self.report.note(&place, "", why);
        } else {
            self.scope().hosts_files.push(HOSTS.into());
        }
    }

    fn hosts_file(&mut self, path: &Path, place: &Place, line: &str) {
        match self.files.read(path) {
            Ok(text) => {
                let domain = if self.expands {
                    self.domain.clone()
                } else {
                    None
                };
                let scope = &mut self.model.scopes[0];
                hosts::lines(&text, domain.as_ref(), scope, self.report);
            }
            Err(error) => {
                let why = format!("{} cannot be read: {error}", path.display());
                self.report.left(place, line, &why, "");
            }
        }
    }

    /// What every domain that is forwarded is asked for at.
    fn upstreams(&mut self, main: &Place) {
        let mut default = self.servers.remove(&Name::default()).unwrap_or_default();
        if !self.no_resolv {
            if self.resolv_files.is_empty() {
                self.resolv_files.push(RESOLV_CONF.to_owned());
            }
            for file in std::mem::take(&mut self.resolv_files) {
                match self.files.read(Path::new(&file)) {
                    Ok(text) if names_this_machine(&text.text) => self.report.left(
                        &text.place(0),
                        "",
                        "it names this machine itself as an upstream",
                        "write the addresses of upstreams after `forward .`",
                    ),
                    Ok(_) => default.push(file),
                    Err(error) => {
                        let why =
                            format!("{file}, which has the upstreams, cannot be read: {error}");
                        let instead = "write the addresses of upstreams after `forward .`";
                        self.report.left(main, "", &why, instead);
                    }
                }
            }
        }
        if !default.is_empty() {
            let root = self.scope().domain(&Name::default());
            if root.action.is_none() {
                self.servers.insert(Name::default(), default);
            }
        }
        let options = std::mem::take(&mut self.options);
        let servers = std::mem::take(&mut self.servers);
        for (name, mut to) in servers {
            to.dedup();
            if to.len() > MOST_UPSTREAMS {
                let why = format!(
                    "{name} has more than {MOST_UPSTREAMS} upstreams; the first ones were imported"
                );
                self.report.left(main, "", &why, "");
                to.truncate(MOST_UPSTREAMS);
            }
            let options = options.clone();
            self.scope().domain(&name).action = Some(Action::Forward(Forward { to, options }));
        }
        let root = self.scope().domains.get(&Name::default());
        let root = root.and_then(|domain| domain.action.clone());
        for name in std::mem::take(&mut self.as_default) {
            let action = root.clone().unwrap_or(Action::Rcode("REFUSED"));
            self.scope().domain(&name).action = Some(action);
        }
    }

    fn cache(&mut self) {
        if self.cache_size == Some(0) {
            self.model.cache = None;
            return;
        }
        let Some(lines) = &mut self.model.cache else {
            return;
        };
        match (self.cache_size, self.least_ttl) {
            (None, None) => {}
            (size, None) => {
                let size = size.unwrap_or_default();
                lines.push(format!("success {size}"));
                lines.push(format!("denial {size}"));
            }
            (size, Some(least)) => {
                let ttl = self.model.cache_ttl.unwrap_or(3_600).max(least);
                lines.push(format!("success {} {ttl} {least}", size.unwrap_or(10_000)));
            }
        }
    }

    /// What answers otherwise although every line was taken.
    fn differences(&mut self, main: &Place) {
        let scope = &self.model.scopes[0];
        let has_hosts = scope
            .owners
            .values()
            .any(|owner| !owner.addresses.is_empty());
        if has_hosts {
            self.report.note(
                main,
                "",
                "a name with an address in `hosts` gets an empty answer for the other family; dnsmasq asks upstream, unless local= covers it",
            );
            self.report.note(
                main,
                "",
                "a PTR query for an address in `hosts` gets all of its names, where dnsmasq gives the first; one for a name in `hosts` does not find the name",
            );
        }
        let zones = scope.domains.values();
        let zones = zones.filter(|domain| domain.action == Some(Action::Zone));
        if zones.count() > 0 {
            self.report.note(
                main,
                "",
                "a name that does not exist in a local domain is denied with a SOA record, and the domain itself exists; dnsmasq gives neither",
            );
        }
    }
}

/// Whether a resolv.conf leads back to this machine, where the server that is replaced listens.
fn names_this_machine(text: &str) -> bool {
    let servers = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    let mut addresses = servers.filter_map(|rest| rest.trim().parse::<IpAddr>().ok());
    addresses.any(|address| address.is_loopback())
}
