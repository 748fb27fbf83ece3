//! What meets across server blocks: pages that share an address, pages on a DNS listener, upstreams that are this server itself,
//! files that several lines write.
//!
//! As far as the Corefile's words tell: names of interfaces and of hosts are no addresses yet.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use corefile::{Diagnostic, Report};

use crate::admin::parse_address;
use crate::scope::{is_within, overlap};
use crate::setup::{Listen, Planned, PlannedBlock, Writes};
use crate::transport::{Carrier, Transport};

/// The port of a key that names none; `-dns.port` may say otherwise.
const DNS_PORT: u16 = 53;
/// Docker's resolver: in the network namespace of a container, packets to it are sent on to another port before a socket sees them.
const DOCKER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);

/// A page, and the place in the Corefile that says where it is served.
struct Page<'a> {
    block: usize,
    plugin: &'static str,
    listen: &'a Listen,
    address: SocketAddr,
}

/// Reports what meets among the blocks.
pub(crate) fn blocks(blocks: &[PlannedBlock], report: &mut Report) {
    let pages: Vec<_> = blocks
        .iter()
        .enumerate()
        .flat_map(|(block, planned)| pages(block, planned))
        .collect();
    for (at, page) in pages.iter().enumerate() {
        dns_listener(page, blocks, report);
        let other = pages[..at]
            .iter()
            .find(|other| meets(other.address, page.address));
        if let Some(other) = other {
            shared(page, other, report);
        }
    }
    for block in blocks {
        for one in &block.planned {
            itself(one, block, blocks, report);
        }
        chosen_ports(block, report);
    }
    files(blocks, report);
}

/// Reports lines that write one file, each over the other's.
fn files(blocks: &[PlannedBlock], report: &mut Report) {
    let mut known: HashMap<PathBuf, Writes> = HashMap::new();
    let mut told = Vec::new();
    for block in blocks {
        let root = block.planned.iter().find_map(|one| one.setup.root());
        let root = root.unwrap_or(Path::new("."));
        let all = block.planned.iter();
        for writes in all.flat_map(|one| one.setup.writes(&block.zones, root)) {
            let path = std::path::absolute(&writes.path).unwrap_or_else(|_| writes.path.clone());
            let first = match known.entry(path) {
                Entry::Vacant(place) => {
                    place.insert(writes);
                    continue;
                }
                Entry::Occupied(first) => first.into_mut(),
            };
            if first.content == writes.content || told.contains(&writes.span) {
                continue;
            }
            told.push(writes.span);
            let message = format!("two zones are kept in one file: {}", writes.path.display());
            let help = match first.in_directory && writes.in_directory {
                true => {
                    "give each its own file, or end the path with a slash: in a directory, each zone has its own file"
                }
                false => "give each its own file",
            };
            report.push(
                Diagnostic::error("CF0341", message)
                    .at(writes.span, "each would overwrite the other")
                    .beside(first.span, "another zone is kept there")
                    .help(help),
            );
        }
    }
}

fn pages(block: usize, planned: &PlannedBlock) -> impl Iterator<Item = Page<'_>> {
    planned.planned.iter().flat_map(move |one| {
        one.setup.pages().iter().filter_map(move |listen| {
            Some(Page {
                block,
                plugin: one.name,
                listen,
                address: parse_address(&listen.text)?,
            })
        })
    })
}

/// Whether one socket would take the other's place.
fn meets(one: SocketAddr, other: SocketAddr) -> bool {
    let any = |address: SocketAddr| address.ip().is_unspecified();
    one.port() == other.port()
        && one.port() != 0
        && (one.ip() == other.ip() || any(one) || any(other))
}

/// A page on the address of another one.
fn shared(page: &Page<'_>, other: &Page<'_>, report: &mut Report) {
    if page.plugin == other.plugin
        && (page.plugin != "health" || page.listen.span() == other.listen.span())
    {
        // One endpoint for all blocks is how `prometheus` and `ready` are used.
        return;
    }
    let mut diagnostic = if page.plugin == other.plugin {
        let message = format!(
            "several server blocks have `{}` at one address: one page serves all of them",
            page.plugin
        );
        Diagnostic::note_of("CF0311", message).note(
            "the page is for the whole process, so one is enough; the longest lameduck counts",
        )
    } else {
        let message = format!(
            "`{}` and `{}` share the address {}",
            other.plugin, page.plugin, page.listen.text
        );
        Diagnostic::warning("CF0311", message)
            .note("both pages are served here; CoreDNS answers about half of the requests with 404")
    }
    .at(page.listen.span(), "served here again");
    if page.block != other.block || page.plugin != other.plugin {
        diagnostic = diagnostic.beside(other.listen.span(), "served here first");
    }
    report.push(diagnostic);
}

/// A page on the port of a DNS listener.
fn dns_listener(page: &Page<'_>, blocks: &[PlannedBlock], report: &mut Report) {
    for block in blocks {
        for (key, span) in block.keys.iter().zip(&block.key_spans) {
            let mut transports = Transport::of(key.scheme);
            let port = key.port.unwrap_or(key.scheme.default_port());
            if port == 0 {
                // The kernel chooses one that is free.
                continue;
            }
            if transports.any(|transport| transport.carrier() == Carrier::Stream)
                && port == page.address.port()
                && listens_on(block, page.address.ip())
            {
                let message = format!(
                    "`{}` cannot listen on {}: DNS over TCP is served there",
                    page.plugin, page.listen.text
                );
                // Where no port is written, `-dns.port` has the last word.
                let found = match key.port {
                    Some(_) => Diagnostic::error("CF0311", message),
                    None => Diagnostic::warning("CF0311", message),
                };
                report.push(
                    found
                        .at(page.listen.span(), "the address is taken")
                        .beside(*span, format!("listens on port {port}")),
                );
                return;
            }
        }
    }
}

/// Whether a block listens on an address, as far as its words tell; on every address where no `bind` stands.
fn listens_on(block: &PlannedBlock, ip: IpAddr) -> bool {
    let mut words = block
        .planned
        .iter()
        .flat_map(|one| one.setup.bound())
        .flatten()
        .filter(|word| !word.except)
        .peekable();
    if words.peek().is_none() {
        return !block.planned.iter().any(|one| one.setup.listens());
    }
    words.any(|word| match word.word.parse::<IpAddr>() {
        Ok(bound) => bound == ip || bound.is_unspecified() || ip.is_unspecified(),
        Err(_) => word.word == "lo" && ip.is_loopback(),
    })
}

/// An upstream that is the block's own listener: every query goes round until something gives up.
fn itself(one: &Planned, block: &PlannedBlock, blocks: &[PlannedBlock], report: &mut Report) {
    let stands = |name: &str| block.planned.iter().any(|one| one.name == name);
    if stands("loop") || stands("rewrite") {
        // `loop` finds it at start, and says so. After `rewrite`, another block may be the one that is asked.
        return;
    }
    for asked in one.setup.asks() {
        let local = asked.address.ip().is_loopback() || asked.address.ip().is_unspecified();
        let bound = block
            .planned
            .iter()
            .flat_map(|one| one.setup.bound())
            .flatten()
            .any(|word| word.word.parse() == Ok(asked.address.ip()));
        if !bound && (!local || asked.address == DOCKER) {
            continue;
        }
        let ip = match asked.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let on_port = |block: &PlannedBlock| {
            block
                .keys
                .iter()
                .any(|key| key.port.unwrap_or(DNS_PORT) == asked.address.port())
        };
        if !on_port(block) || !listens_on(block, ip) {
            continue;
        }
        // A block with a longer zone may be the one that is asked.
        let elsewhere = blocks.iter().any(|other| {
            !std::ptr::eq(other, block)
                && on_port(other)
                && listens_on(other, ip)
                && other.zones.iter().any(|zone| {
                    is_within(asked.from, zone)
                        && block.zones.iter().any(|own| is_within(zone, own))
                })
        });
        if !elsewhere && block.zones.iter().any(|zone| overlap(zone, asked.from)) {
            report.push(
                Diagnostic::warning(
                    "CF0315",
                    format!(
                        "`{}` sends queries to this server itself: {} is an address of this server block",
                        one.name, asked.address
                    ),
                )
                .at(asked.span, "every query comes back here")
                .note("such a query loops until a limit is reached, and fails")
                .help(
                    "name another server; the plugin `loop` finds loops through other servers, too",
                ),
            );
        }
    }
}

/// Port 0: the kernel chooses, and nobody knows what.
fn chosen_ports(block: &PlannedBlock, report: &mut Report) {
    for (key, span) in block.keys.iter().zip(&block.key_spans) {
        if key.port == Some(0) {
            report.push(
                Diagnostic::warning("CF0316", "the kernel chooses a port for this server block")
                    .at(*span, "port 0 is a different port at every start")
                    .help("write the port that clients use"),
            );
        }
    }
}
