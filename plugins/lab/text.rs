//! A lab's names as lines of a master file, one file a view.
//!
//! A host with addresses on several networks is answered by the network of who asks: where it has addresses of a family there, they
//! stand alone; else all of them do. Everything else is the same in every view.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::published::{Address, Net, Published, Subnet};

/// The owner, below the lab's domain, of the TXT record that says which names are served.
pub(super) const MARKER: &str = "_version";
/// The name of the server, below the lab's domain.
const SERVER: &str = "ns.dns";

/// Networks and veth pairs: what an client can be on.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its subnets.
    pub(super) subnets: Vec<Subnet>,
    /// Whether there is no way out.
    pub(super) internal: bool,
    /// Who is asked for names of no lab; whom the Corefile says, if there is none.
    pub(super) upstream: Vec<SocketAddr>,
}

/// The segments of a lab: its networks in their order, then its pairs.
pub(super) fn segments(names: &Published) -> Vec<Segment> {
    let nets = names.nets.iter().map(|net| Segment {
        subnets: net.subnets.clone(),
        internal: net.internal,
        upstream: net.upstream.clone(),
    });
    let links = names.links.iter().map(|link| Segment {
        subnets: link.subnets.clone(),
        internal: false,
        upstream: Vec::new(),
    });
    nets.chain(links).collect()
}

/// The segment of an address.
fn segment(segments: &[Segment], address: IpAddr) -> Option<usize> {
    segments
        .iter()
        .position(|segment| segment.subnets.iter().any(|net| net.contains(address)))
}

/// The segments whose clients see other addresses than a stranger does.
pub(super) fn distinct(names: &Published, segments: &[Segment]) -> Vec<usize> {
    let mut out = Vec::new();
    for host in names.hosts.iter().filter(|host| host.addresses.len() > 1) {
        for v6 in [false, true] {
            let mut on: Vec<usize> = host
                .addresses
                .iter()
                .filter(|one| one.address.is_ipv6() == v6)
                .filter_map(|one| segment(segments, one.address))
                .collect();
            on.sort_unstable();
            on.dedup();
            if on.len() > 1 {
                out.extend(on);
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// Writes the lines of one view.
pub(super) struct Writer<'a> {
    names: &'a Published,
    segments: &'a [Segment],
    /// The lab's domain with its dot.
    domain: String,
    /// A TTL with spaces around it.
    ttl: String,
    lines: Lines,
}

/// Lines of a master file.
#[derive(Default)]
pub(super) struct Lines {
    /// Those that end where they seem to.
    pub(super) text: String,
    /// Those that would reach into others.
    pub(super) open: Vec<String>,
}

impl<'a> Writer<'a> {
    /// Begins with SOA and NS of `apex`, a name with its dot.
    pub(super) fn new(names: &'a Published, segments: &'a [Segment], ttl: u32, apex: &str) -> Self {
        let mut out = Self {
            names,
            segments,
            domain: dotted(&names.domain),
            ttl: format!(" {ttl} "),
            lines: Lines::default(),
        };
        let (domain, serial) = (out.domain.clone(), names.generation as u32);
        out.line(
            &[apex],
            format_args!(
                "SOA {SERVER}.{domain} hostmaster.{domain} {serial} 7200 1800 86400 {ttl}"
            ),
        );
        out.line(&[apex], format_args!("NS {SERVER}.{domain}"));
        out
    }

    /// The lines.
    pub(super) fn into_lines(self) -> Lines {
        self.lines
    }

    /// A record of an owner in parts, whose dots are in them.
    fn line(&mut self, owner: &[&str], data: std::fmt::Arguments<'_>) {
        let start = self.lines.text.len();
        let text = &mut self.lines.text;
        owner.iter().for_each(|part| text.push_str(part));
        text.push_str(&self.ttl);
        let _ = text.write_fmt(data);
        self.end(start);
    }

    /// Ends the line that was begun at `start`.
    fn end(&mut self, start: usize) {
        let Lines { text, open } = &mut self.lines;
        if stays_in_line(&text[start..]) {
            text.push('\n');
        } else {
            open.push(text.split_off(start));
        }
    }

    /// A record below the lab's domain, of an owner in parts.
    fn record(&mut self, owner: &[&str], data: std::fmt::Arguments<'_>) {
        let start = self.lines.text.len();
        let text = &mut self.lines.text;
        for part in owner {
            text.push_str(part);
            text.push('.');
        }
        for part in [&self.domain, &self.ttl] {
            text.push_str(part);
        }
        let _ = text.write_fmt(data);
        self.end(start);
    }

    fn address(&mut self, owner: &[&str], address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.record(owner, format_args!("A {v4}")),
            IpAddr::V6(v6) => self.record(owner, format_args!("AAAA {v6}")),
        }
    }

    /// Everything below the lab's domain, as it is seen from a segment or by a stranger.
    pub(super) fn forward(mut self, view: Option<usize>) -> Self {
        let names = self.names;
        let domain = self.domain.clone();
        self.record(
            &[MARKER],
            format_args!("TXT \"{} generation={}\"", names.version, names.generation),
        );
        for net in &names.nets {
            for &address in &net.listen {
                self.address(&[SERVER], address);
            }
            for &address in &net.host {
                self.address(&["gw", &net.name], address);
            }
        }
        let services: HashSet<&str> = names.services.iter().map(|one| one.name.as_str()).collect();
        for host in &names.hosts {
            // Who asks for a service by the name of a host behind it means the service.
            if !services.contains(host.name.as_str()) {
                for one in self.seen(&host.addresses, view) {
                    self.address(&[&host.name], one.address);
                }
            }
            for one in &host.addresses {
                // `gw.NET` is the machine's own where it is on that network.
                let of_machine = |net: &Net| net.name == one.net && !net.host.is_empty();
                if host.name != "gw" || !names.nets.iter().any(of_machine) {
                    self.address(&[&host.name, &one.net], one.address);
                }
            }
            for alias in &host.aliases {
                self.record(&[alias], format_args!("CNAME {}.{domain}", host.name));
                let mut nets: Vec<&str> = host.addresses.iter().map(|a| a.net.as_str()).collect();
                nets.dedup();
                for net in nets {
                    let target = format_args!("CNAME {}.{net}.{domain}", host.name);
                    self.record(&[alias, net], target);
                }
            }
        }
        for service in &names.services {
            if let Some(address) = service.address {
                self.address(&[&service.name], address);
                if let Some(port) = service.port {
                    self.service(&service.name, (&service.protocol, port), &service.name);
                }
            }
            // A headless one is all of those behind it, each with a name of its own.
            let mut told = HashSet::new();
            for one in &service.endpoints {
                self.address(&[&service.name], one.address);
                self.address(&[&one.name, &service.name], one.address);
                if let (Some(port), true) = (service.port, told.insert(one.name.as_str())) {
                    let own = format!("{}.{}", one.name, service.name);
                    self.service(&service.name, (&service.protocol, port), &own);
                }
            }
        }
        for forward in &names.forwards {
            let port = (forward.protocol.as_str(), forward.target_port);
            self.service(&forward.host, port, &forward.host);
        }
        for record in &names.records {
            let owner: &[&str] = match record.owner.as_str() {
                "@" => &[],
                owner => &[owner],
            };
            self.record(owner, format_args!("{}", record.data));
        }
        self
    }

    /// The addresses of a host that a view shows.
    fn seen<'h>(&self, all: &'h [Address], view: Option<usize>) -> Vec<&'h Address> {
        let near = |one: &&Address| {
            view.is_some() && all.len() > 1 && segment(self.segments, one.address) == view
        };
        let mut out = Vec::new();
        for v6 in [false, true] {
            let family = || all.iter().filter(|one| one.address.is_ipv6() == v6);
            if family().any(|one| near(&one)) {
                out.extend(family().filter(near));
            } else {
                out.extend(family());
            }
        }
        out
    }

    /// SRV records of a port: under the service's name where it has one, and under its number.
    fn service(&mut self, owner: &str, (protocol, port): (&str, u16), host: &str) {
        let domain = self.domain.clone();
        let target = format_args!("SRV 0 0 {port} {host}.{domain}");
        let protocol = format!("_{protocol}");
        self.record(&[&format!("_{port}"), &protocol, owner], target);
        if let Some(name) = service_name(port) {
            self.record(&[&format!("_{name}"), &protocol, owner], target);
        }
    }

    /// The PTR records of the addresses within `subnets`.
    pub(super) fn backward(mut self, subnets: &[Subnet]) -> Self {
        let names = self.names;
        let hosts = names.hosts.iter().flat_map(|host| {
            let of = |one: &'a Address| (one.address, ["", &host.name]);
            host.addresses.iter().map(of)
        });
        let gateways = names.nets.iter().flat_map(|net| {
            let of = |&address: &IpAddr| (address, ["gw.", &net.name]);
            net.host.iter().map(of)
        });
        let services = names.services.iter();
        let services = services.filter_map(|one| Some((one.address?, ["", &one.name])));
        // One name an address, the one that it is best known by.
        let mut told = HashSet::new();
        for (address, [gateway, name]) in hosts.chain(gateways).chain(services) {
            if subnets.iter().any(|net| net.contains(address)) && told.insert(address) {
                let Lines { text, .. } = &mut self.lines;
                let start = text.len();
                write_reverse(text, address, if address.is_ipv4() { 4 } else { 32 });
                for part in [self.ttl.as_str(), "PTR ", gateway, name, ".", &self.domain] {
                    text.push_str(part);
                }
                self.end(start);
            }
        }
        self
    }
}

/// A domain with the dot at its end.
pub(super) fn dotted(domain: &str) -> String {
    format!("{}.", domain.trim_end_matches('.'))
}

/// The reverse name of the first `parts` octets (IPv4) or nibbles (IPv6) of an address.
pub(super) fn reverse_name(address: IpAddr, parts: usize) -> String {
    let mut out = String::new();
    write_reverse(&mut out, address, parts);
    out
}

fn write_reverse(out: &mut String, address: IpAddr, parts: usize) {
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets()[..parts.min(4)].iter().rev() {
                let _ = write!(out, "{octet}.");
            }
            out.push_str("in-addr.arpa.");
        }
        IpAddr::V6(v6) => {
            for at in (0..parts.min(32)).rev() {
                let octet = v6.octets()[at / 2];
                let nibble = if at % 2 == 0 { octet >> 4 } else { octet & 15 };
                let _ = write!(out, "{nibble:x}.");
            }
            out.push_str("ip6.arpa.");
        }
    }
}

/// Whether text of a master file ends with its line: an open quote or parenthesis would reach into those behind it.
fn stays_in_line(text: &str) -> bool {
    // Most lines have none of what could.
    if text
        .bytes()
        .all(|octet| (b' '..0x7F).contains(&octet) && !matches!(octet, b'\\' | b'"' | b'(' | b')'))
    {
        return true;
    }
    let (mut quoted, mut escaped) = (false, false);
    for letter in text.chars() {
        match letter {
            _ if letter.is_control() => return false,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '(' | ')' if !quoted => return false,
            _ => {}
        }
    }
    !quoted && !escaped
}

/// The names that programs ask SRV records by (RFC 6335).
fn service_name(port: u16) -> Option<&'static str> {
    Some(match port {
        22 => "ssh",
        25 => "smtp",
        53 => "domain",
        80 => "http",
        88 => "kerberos",
        123 => "ntp",
        143 => "imap",
        389 => "ldap",
        443 => "https",
        465 => "submissions",
        514 => "syslog",
        587 => "submission",
        636 => "ldaps",
        853 => "domain-s",
        993 => "imaps",
        1883 => "mqtt",
        2379 => "etcd-client",
        2380 => "etcd-server",
        3306 => "mysql",
        5060 => "sip",
        5222 => "xmpp-client",
        5432 => "postgresql",
        5672 => "amqp",
        6379 => "redis",
        9092 => "kafka",
        11211 => "memcache",
        27017 => "mongodb",
        _ => return None,
    })
}
