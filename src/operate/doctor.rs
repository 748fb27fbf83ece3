//! `nameplate doctor`: why a name does not resolve on this machine.
//!
//! Each check says what it found, and where something is wrong, what that does and the command that fixes it. Nothing is changed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use host::ports::Holder;
use serde::Serialize;
use wire::{Flags, NameBuf, Rcode, Type};

use crate::ask::{Reply, Way, ask};
use crate::survey::{self, PORT};

/// A time that is past: a clock before it was never set, and every certificate and signature seems to lie in the future.
const PAST: u64 = 1_764_000_000;
/// glibc asks the first three name servers (resolv.conf(5)).
const MOST_SERVERS: usize = 3;

/// What `doctor` is told.
#[derive(Debug, Default)]
pub struct Doctor {
    /// The name that does not resolve.
    pub name: Option<String>,
    /// What `check` finds in the Corefile, if there is one: its name, errors and warnings.
    pub corefile: Option<(String, usize, usize)>,
    /// Write JSON.
    pub json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    state: State,
    /// What was found.
    found: String,
    /// What follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    means: Option<String>,
    /// What fixes it: a command, or words where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// The findings so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, check: &str, found: impl Into<String>) {
        self.push(check, State::Ok, found.into(), None, None);
    }

    fn warn(&mut self, check: &str, found: impl Into<String>, means: &str, fix: &str) {
        self.push(check, State::Warning, found.into(), Some(means), Some(fix));
    }

    fn fault(&mut self, check: &str, found: impl Into<String>, means: &str, fix: &str) {
        self.push(check, State::Fault, found.into(), Some(means), Some(fix));
    }

    fn push(
        &mut self,
        check: &str,
        state: State,
        found: String,
        means: Option<&str>,
        fix: Option<&str>,
    ) {
        self.0.push(Finding {
            check: check.to_owned(),
            state,
            found,
            means: means.map(str::to_owned),
            fix: fix.map(str::to_owned),
        });
    }
}

/// Looks at the machine; gives the exit status: 0 where nothing is at fault, 1 otherwise.
pub fn doctor(wanted: &Doctor, out: &mut dyn Write) -> io::Result<u8> {
    let mut findings = Findings::default();
    clock(&mut findings);
    let resolver = Resolver::read();
    let holders = survey::holders();
    files(&resolver, &mut findings);
    let name = wanted
        .name
        .as_deref()
        .map(|name| name.trim_end_matches('.'));
    let parsed = name.and_then(|name| spelling(name, &resolver, &mut findings));
    switch(name, &mut findings);
    let mut answers = false;
    for server in resolver.servers.iter().take(MOST_SERVERS) {
        answers |= examine(*server, parsed.as_ref(), &holders, &mut findings);
    }
    if let (Some(name), Some(parsed), true) = (name, &parsed, answers) {
        compare(name, parsed, &resolver, &mut findings);
    }
    ports(&holders, &mut findings);
    firewall(&holders, &mut findings);
    below_the_stack(&mut findings);
    if let Some((file, errors, warnings)) = &wanted.corefile {
        let found = format!("{file}: {errors} errors, {warnings} warnings");
        let fix = format!("nameplate check -conf {file}");
        match (errors, warnings) {
            (0, 0) => findings.ok("Corefile", format!("{file}: no mistakes")),
            (0, _) => findings.warn(
                "Corefile",
                found,
                "a server probably does not do what you want",
                &fix,
            ),
            _ => findings.fault(
                "Corefile",
                found,
                "a server does not start with it, or keeps an older configuration",
                &fix,
            ),
        }
    }
    let worst = findings.0.iter().map(|finding| finding.state).max();
    if wanted.json {
        serde_json::to_writer_pretty(&mut *out, &findings.0).map_err(io::Error::other)?;
        writeln!(out)?;
    } else {
        show(&findings.0, out)?;
    }
    Ok(u8::from(worst == Some(State::Fault)))
}

fn show(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    let width = findings
        .iter()
        .map(|one| one.check.len())
        .max()
        .unwrap_or(0);
    for one in findings {
        let state = match one.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Fault => "FAULT",
        };
        writeln!(out, "{state:<8}{:<width$}  {}", one.check, one.found)?;
        for (what, text) in [("", &one.means), ("fix: ", &one.fix)] {
            if let Some(text) = text {
                writeln!(out, "{:1$}{what}{text}", "", 10 + width)?;
            }
        }
    }
    let count = |state| findings.iter().filter(|one| one.state == state).count();
    let (faults, warnings) = (count(State::Fault), count(State::Warning));
    writeln!(out, "\n{faults} faults, {warnings} warnings")
}

/// What /etc/resolv.conf says.
struct Resolver {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    /// Why it could not be read.
    error: Option<io::Error>,
    /// Where it leads, if it is a symbolic link.
    link: Option<String>,
}

impl Resolver {
    const PATH: &str = "/etc/resolv.conf";

    fn read() -> Self {
        let link = fs::read_link(Self::PATH)
            .ok()
            .map(|to| to.display().to_string());
        match fs::read_to_string(Self::PATH) {
            Ok(text) => Self {
                link,
                ..Self::parse(&text)
            },
            Err(error) => Self {
                link,
                error: Some(error),
                ..Self::parse("")
            },
        }
    }

    fn parse(text: &str) -> Self {
        let (mut servers, mut search) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                // A link-local address has a zone behind it.
                Some("nameserver") => servers.extend(
                    words
                        .next()
                        .and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok()),
                ),
                // The last line counts.
                Some("search" | "domain") => search = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        Self {
            servers,
            search,
            error: None,
            link: None,
        }
    }
}

fn clock(findings: &mut Findings) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if now < PAST {
        findings.fault(
            "clock",
            "it is set to a time in the past",
            "certificates (DoT, DoH) and DNSSEC signatures are not valid yet",
            "timedatectl set-ntp true",
        );
    }
}

/// /etc/resolv.conf by itself.
fn files(resolver: &Resolver, findings: &mut Findings) {
    const CHECK: &str = "resolv.conf";
    if let Some(error) = &resolver.error {
        let found = match &resolver.link {
            Some(to) => format!("it is a link to {to}, which cannot be read: {error}"),
            None => format!("it cannot be read: {error}"),
        };
        let means = "programs ask 127.0.0.1, or no server at all";
        return findings.fault(
            CHECK,
            found,
            means,
            "echo nameserver 127.0.0.1 | sudo tee /etc/resolv.conf",
        );
    }
    if resolver.servers.is_empty() {
        let means = "programs ask 127.0.0.1";
        return findings.fault(
            CHECK,
            "it names no name server",
            means,
            "echo nameserver 127.0.0.1 | sudo tee -a /etc/resolv.conf",
        );
    }
    let list = |ips: &[IpAddr]| {
        ips.iter()
            .map(IpAddr::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut found = format!("it names {}", list(&resolver.servers));
    if let Some(to) = &resolver.link {
        found.push_str(&format!("; it is a link to {to}"));
    }
    if !resolver.search.is_empty() {
        found.push_str(&format!("; search {}", resolver.search.join(" ")));
    }
    if resolver.servers.len() > MOST_SERVERS {
        return findings.warn(
            CHECK,
            found,
            "glibc asks the first three only",
            "leave out those that are not needed",
        );
    }
    findings.ok(CHECK, found);
}

/// How the name is written. `None` where it is no name.
fn spelling(name: &str, resolver: &Resolver, findings: &mut Findings) -> Option<NameBuf> {
    let parsed = match name.parse::<NameBuf>() {
        Ok(parsed) => parsed,
        Err(error) => {
            let found = format!("`{name}` is not a domain name: {error}");
            findings.fault(
                "name",
                found,
                "no query can be sent",
                "labels have 1 to 63 octets, a name 255",
            );
            return None;
        }
    };
    if name.parse::<IpAddr>().is_ok() {
        findings.warn(
            "name",
            "it is an address",
            "its name is looked up in another way",
            &format!("dig -x {name}"),
        );
    } else if !name.contains('.') {
        if resolver.search.is_empty() {
            findings.warn(
                "name",
                format!("`{name}` has one label, and resolv.conf has no search domain"),
                "programs ask for it unchanged, and no server outside of the LAN knows it",
                "give its full name, or set the domain in the router's DHCP settings",
            );
        } else {
            let tried: Vec<_> = resolver
                .search
                .iter()
                .map(|domain| format!("{name}.{domain}"))
                .collect();
            findings.ok(
                "name",
                format!("it is asked for as {}", tried.join(", then ")),
            );
        }
    }
    let lower = name.to_ascii_lowercase();
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let line = hosts.lines().position(|line| {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace()
            .skip(1)
            .any(|word| word.eq_ignore_ascii_case(&lower))
    });
    if let Some(line) = line {
        findings.warn(
            "/etc/hosts",
            format!("line {} has the name", line + 1),
            "programs take this address, and ask no server",
            &format!("sudo sed -i {}d /etc/hosts", line + 1),
        );
    }
    if lower.ends_with(".local") {
        findings.warn(
            "name",
            "it ends in .local",
            "systems ask for it by multicast (RFC 6762), and many never ask a server",
            "give the machine a name under another suffix, such as lan or home.arpa",
        );
    }
    Some(parsed)
}

/// The line `hosts` of /etc/nsswitch.conf.
fn switch(name: Option<&str>, findings: &mut Findings) {
    const CHECK: &str = "nsswitch.conf";
    // musl has none.
    let Ok(text) = fs::read_to_string("/etc/nsswitch.conf") else {
        return;
    };
    let Some(line) = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("hosts:"))
    else {
        return findings.ok(CHECK, "it has no line for hosts: files, then dns");
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let place = |wanted: &[&str]| words.iter().position(|word| wanted.contains(word));
    let Some(dns) = place(&["dns", "resolve"]) else {
        let found = format!("hosts:{line}");
        return findings.fault(
            CHECK,
            found,
            "programs ask no name server at all",
            "sudo sed -i '/^hosts:/s/$/ dns/' /etc/nsswitch.conf",
        );
    };
    let stops = place(&[
        "mdns",
        "mdns4",
        "mdns6",
        "mdns_minimal",
        "mdns4_minimal",
        "mdns6_minimal",
    ])
    .filter(|mdns| *mdns < dns && words.get(mdns + 1) == Some(&"[NOTFOUND=return]"));
    if stops.is_some() && name.is_some_and(|name| name.to_ascii_lowercase().ends_with(".local")) {
        return findings.fault(
            CHECK,
            format!("hosts:{line}"),
            "names under .local are asked for by multicast only",
            "use another suffix, or remove `[NOTFOUND=return]` from this line",
        );
    }
    findings.ok(CHECK, format!("hosts:{line}"));
}

/// Asks a name server in every way that programs do; whether it answers at all.
fn examine(
    ip: IpAddr,
    name: Option<&NameBuf>,
    holders: &[Holder],
    findings: &mut Findings,
) -> bool {
    let check = ip.to_string();
    let server = SocketAddr::new(ip, PORT);
    let root = NameBuf::root();
    let question = (
        name.unwrap_or(&root).as_name(),
        if name.is_some() { Type::A } else { Type::NS },
    );
    let first = match ask(server, question, Way::Udp) {
        Ok(reply) => reply,
        Err(error) => {
            let (found, means) = (
                unreachable(&error),
                "programs wait 5 s and more before they ask another server",
            );
            findings.fault(&check, found, means, &who(ip, holders));
            return false;
        }
    };
    let who =
        serves(ip, holders).map_or_else(String::new, |holder| format!(" ({})", holder.program));
    findings.ok(&check, format!("it answers{who}: {}", said(&first)));
    if first.rcode == Rcode::REFUSED {
        findings.fault(
            &check,
            "it refuses",
            "it does not serve this name or this client, and programs ask no other server",
            "check its access rules; if it is nameplate: nameplate explain NAME",
        );
    }
    if !first.flags.has(Flags::RA) && first.rcode == Rcode::NOERROR && name.is_none() {
        findings.warn(
            &check,
            "it does not offer recursion",
            "it answers only for its own zones",
            "name a resolver in resolv.conf",
        );
    }
    match ask(server, question, Way::Edns) {
        Ok(reply) if !reply.has_opt => findings.warn(
            &check,
            "it does not know EDNS",
            "large answers need a second query, over TCP",
            "use a newer server, or turn off the router's DNS proxy",
        ),
        Ok(_) => {}
        Err(error) => findings.fault(
            &check,
            format!("with EDNS, {}", unreachable(&error)),
            "resolvers that use EDNS time out; a device on the path drops such queries",
            "turn off the router's DNS proxy, or the firewall that inspects DNS",
        ),
    }
    if let Err(error) = ask(server, question, Way::Tcp) {
        findings.fault(
            &check,
            format!("over TCP, {}", unreachable(&error)),
            "answers that are too large for UDP are lost",
            &format!("allow TCP port {PORT} to {ip}"),
        );
    }
    let random: u64 = host::random::random();
    // example.com is there, and nothing below this (RFC 6761, 6.5).
    if let Ok(none) = format!("n{random:x}.example.com").parse::<NameBuf>()
        && let Ok(reply) = ask(server, (none.as_name(), Type::A), Way::Udp)
        && reply.rcode == Rcode::NOERROR
        && let Some(invented) = address(&reply)
    {
        findings.fault(
            &check,
            format!("it gives {invented} for a name that does not exist"),
            "search domains and mail checks fail; its operator answers with the address of its own page",
            "name another resolver",
        );
    }
    true
}

/// What programs get, beside what the first server says.
fn compare(name: &str, parsed: &NameBuf, resolver: &Resolver, findings: &mut Findings) {
    let by_system: BTreeSet<IpAddr> = match (name, 0u16).to_socket_addrs() {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(_) => BTreeSet::new(),
    };
    let Some(server) = resolver.servers.first() else {
        return;
    };
    let server = SocketAddr::new(*server, PORT);
    let mut by_server = BTreeSet::new();
    for qtype in [Type::A, Type::AAAA] {
        if let Ok(reply) = ask(server, (parsed.as_name(), qtype), Way::Udp) {
            by_server.extend(reply.answers.iter().filter_map(|(_, rdata)| ip(rdata)));
        }
    }
    let list = |ips: &BTreeSet<IpAddr>| match ips.is_empty() {
        true => "nothing".to_owned(),
        false => ips
            .iter()
            .map(IpAddr::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    };
    let found = format!(
        "programs get {}; {} gives {}",
        list(&by_system),
        server.ip(),
        list(&by_server)
    );
    if by_system.is_empty() && by_server.is_empty() {
        findings.fault(
            "the name",
            found,
            "the server does not have it",
            &format!("if that server is nameplate: nameplate explain {name}"),
        );
    } else if !by_server.is_empty() && by_system.is_disjoint(&by_server) {
        findings.fault(
            "the name",
            found,
            "something between programs and the server gives another answer",
            "look at /etc/hosts and nsswitch.conf above",
        );
    } else {
        findings.ok("the name", found);
    }
}

fn ports(holders: &[Holder], findings: &mut Findings) {
    for holder in holders {
        let unit = survey::unit(holder.pid).map_or_else(String::new, |unit| format!(", {unit}"));
        let found = format!(
            "{} (pid {}{unit}) listens on {}",
            holder.program, holder.pid, holder.address
        );
        findings.ok("port 53", found);
    }
}

/// Interfaces whose queries the kernel's tools may not see.
fn below_the_stack(findings: &mut Findings) {
    for program in host::interfaces::programs() {
        let found = format!(
            "{} has a program ({}, ID {}): what it takes is not seen by nftables, conntrack and tcpdump",
            program.interface, program.mode, program.id
        );
        findings.ok("xdp", found);
    }
}

/// Whether a firewall keeps the LAN from a server that listens for it.
fn firewall(holders: &[Holder], findings: &mut Findings) {
    if holders.iter().all(|holder| holder.address.is_loopback()) {
        return;
    }
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    if read("/etc/ufw/ufw.conf")
        .lines()
        .any(|line| line.trim() == "ENABLED=yes")
    {
        let rules = read("/etc/ufw/user.rules");
        if !rules
            .lines()
            .any(|line| line.starts_with("-A") && line.contains("--dport 53 "))
        {
            findings.warn(
                "firewall",
                "ufw is on, and has no rule for port 53",
                "the LAN's queries may not arrive",
                "sudo ufw allow 53",
            );
        }
    }
    if Path::new("/run/firewalld").is_dir() {
        findings.warn(
            "firewall",
            "firewalld is on",
            "the LAN's queries may not arrive",
            "sudo firewall-cmd --permanent --add-service=dns && sudo firewall-cmd --reload",
        );
    }
}

/// The program of this machine that serves an address.
fn serves(ip: IpAddr, holders: &[Holder]) -> Option<&Holder> {
    let here = host::interfaces::list().iter().any(|one| one.address == ip) || ip.is_loopback();
    holders
        .iter()
        .filter(|_| here)
        .find(|holder| holder.address.is_unspecified() || holder.address.to_canonical() == ip)
}

/// What to do about a server that cannot be reached.
fn who(ip: IpAddr, holders: &[Holder]) -> String {
    match serves(ip, holders) {
        Some(holder) => format!(
            "look at {} (pid {}), which has the port",
            holder.program, holder.pid
        ),
        None if ip.is_loopback() => {
            "start the server, or name another in resolv.conf: sudo systemctl start nameplate"
                .to_owned()
        }
        None => format!("ping -c1 {ip}; if it answers, allow UDP port {PORT} to it"),
    }
}

fn unreachable(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "it does not answer".to_owned(),
        ErrorKind::ConnectionRefused => "no server listens there".to_owned(),
        ErrorKind::UnexpectedEof => "it closes the connection".to_owned(),
        _ => error.to_string(),
    }
}

fn said(reply: &Reply) -> String {
    let what = match reply.answers.len() {
        0 => format!("{}, no records", reply.rcode),
        count => format!("{}, {count} records", reply.rcode),
    };
    format!("{what}, in {:.1} ms", reply.took.as_secs_f64() * 1e3)
}

fn address(reply: &Reply) -> Option<IpAddr> {
    let mut addresses = reply.answers.iter().filter(|(rtype, _)| *rtype == Type::A);
    ip(&addresses.next()?.1)
}

fn ip(rdata: &[u8]) -> Option<IpAddr> {
    match rdata.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(rdata).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(rdata).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_glibc_reads_it() {
        let read = Resolver::parse(
            "# comment\nnameserver 192.0.2.1\nsearch a b\nnameserver fe80::1%lan0\nnameserver nonsense\ndomain lan\n",
        );
        let servers: Vec<String> = read.servers.iter().map(IpAddr::to_string).collect();
        assert_eq!(servers, ["192.0.2.1", "fe80::1"]);
        assert_eq!(read.search, ["lan"]);
    }
}
