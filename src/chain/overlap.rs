//! Zones that two server blocks serve on one address, and ports on which two transports would listen: found when a Corefile is read, as far as its words tell. Addresses of interfaces,
//! and a port that is written here and left to `-dns.port` there, are compared by the server when it starts.

use std::collections::HashMap;

use corefile::key::{Key, Scheme};
use corefile::{Diagnostic, Report, Span};

use crate::setup::PlannedBlock;
use crate::transport::{Carrier, Transport};

/// A zone on one address, and the key that says so.
#[derive(Clone, Copy)]
struct Claim<'a> {
    word: Option<&'a str>,
    key: Span,
    /// Whether it is that of a view, one that lets every query in.
    view: bool,
}

/// Whether a block serves some queries of its zones only, and leaves the rest to others.
fn is_filtered(block: &PlannedBlock) -> bool {
    block.planned.iter().any(|one| one.setup.filters())
}

impl Claim<'_> {
    /// Whether both are for the same address.
    fn meets(&self, other: &Self) -> bool {
        other.word == self.word || other.word.is_none() || self.word.is_none()
    }

    /// Whether it takes every query that the other one could get.
    fn covers(&self, other: &Self) -> bool {
        self.word.is_none() || self.word == other.word
    }
}

/// Reports every zone that is served twice, and every port that two transports want.
pub(crate) fn blocks(blocks: &[PlannedBlock], report: &mut Report) {
    let mut claims: HashMap<(Scheme, &str, Option<u16>), Vec<Claim<'_>>> = HashMap::new();
    let mut ports: HashMap<(Carrier, u16), Vec<(Scheme, Claim<'_>)>> = HashMap::new();
    let mut views = Views::default();
    for block in blocks {
        let view_name = block.planned.iter().find_map(|one| one.setup.view());
        let bound: Vec<_> = block
            .planned
            .iter()
            .flat_map(|one| one.setup.bound())
            .flatten()
            .collect();
        let listens = block.planned.iter().any(|one| one.setup.listens());
        if bound.iter().any(|word| word.except) || bound.is_empty() && listens {
            continue;
        }
        let mut words: Vec<_> = bound.iter().map(|word| Some(word.word.as_str())).collect();
        if words.is_empty() {
            words.push(None);
        }
        words.sort_unstable();
        words.dedup();
        let filtered = is_filtered(block);
        let view = filtered
            && block
                .planned
                .iter()
                .all(|one| !one.setup.filters() || one.setup.admits_all());
        for (key, span) in block.keys.iter().zip(&block.key_spans) {
            for word in &words {
                let claim = Claim {
                    word: *word,
                    key: *span,
                    view,
                };
                claim_port(key, claim, &mut ports, report);
            }
            for zone in &key.zones {
                let named = view_name.map(|(name, at)| ((key.scheme, &**zone, key.port, name), at));
                if let Some((named, at)) = named {
                    views.enter(named, at, report);
                }
                let held = claims.entry((key.scheme, zone, key.port)).or_default();
                for word in &words {
                    let claim = Claim {
                        word: *word,
                        key: *span,
                        view,
                    };
                    let above = held.iter().find(|other| !other.view && other.meets(&claim));
                    match above {
                        Some(other) if filtered => {
                            report.push(shadowed(zone, &claim, other));
                            break;
                        }
                        Some(other) => {
                            report.push(overlapping(key, zone, &claim, other));
                            break;
                        }
                        None => {}
                    }
                    let all = held.iter().find(|other| other.view && other.covers(&claim));
                    if let Some(other) = all {
                        report.push(shadowed(zone, &claim, other));
                    }
                    if !filtered || view && all.is_none() {
                        held.push(claim);
                    }
                }
            }
        }
    }
}

/// The names of views, by scheme, zone, port and name, and where each is written first.
#[derive(Default)]
struct Views<'a>(HashMap<(Scheme, &'a str, Option<u16>, &'a str), Span>);

impl<'a> Views<'a> {
    /// Reports a name that another view of the same zone has: once a block, whatever zones both have.
    fn enter(
        &mut self,
        named: (Scheme, &'a str, Option<u16>, &'a str),
        at: Span,
        report: &mut Report,
    ) {
        let first = *self.0.entry(named).or_insert(at);
        let told = |found: &Diagnostic| found.code == "CF0329" && found.span() == Some(at);
        if first == at || report.iter().any(told) {
            return;
        }
        let (_, zone, _, name) = named;
        report.push(
            Diagnostic::warning(
                "CF0329",
                format!("two views of `{zone}` have the name `{name}`"),
            )
            .at(at, "the same name")
            .beside(first, "the first view of this name")
            .note("metrics and the label `view/name` do not tell the two apart")
            .help("give each view a name of its own"),
        );
    }
}

/// The message of a block that nobody reaches: a view below what takes every query, or anything below a view that does.
fn shadowed(zone: &str, claim: &Claim<'_>, other: &Claim<'_>) -> Diagnostic {
    let message = format!(
        "this server block is never asked for names of `{zone}`: another one above it accepts every query"
    );
    Diagnostic::warning("CF0326", message)
        .at(claim.key, "never asked")
        .beside(other.key, "serves every query of the zone, and comes first")
        .help("write the server block that accepts every query below those whose view accepts some")
}

/// Claims the port of a key, and reports another transport that listens there.
fn claim_port<'a>(
    key: &Key,
    claim: Claim<'a>,
    ports: &mut HashMap<(Carrier, u16), Vec<(Scheme, Claim<'a>)>>,
    report: &mut Report,
) {
    let port = match (key.port, key.scheme) {
        (Some(port), _) => port,
        // Whatever `-dns.port` says.
        (None, Scheme::Dns) => return,
        (None, scheme) => scheme.default_port(),
    };
    for transport in Transport::of(key.scheme).filter(|_| port != 0) {
        let held = ports.entry((transport.carrier(), port)).or_default();
        let other = held
            .iter()
            .find(|(scheme, other)| *scheme != key.scheme && other.meets(&claim));
        if let Some((scheme, other)) = other {
            report.push(
                Diagnostic::error(
                    "CF0340",
                    format!(
                        "`{}://` and `{}://` cannot share port {port} of {}",
                        scheme.name(),
                        key.scheme.name(),
                        transport.protocol().to_uppercase()
                    ),
                )
                .at(claim.key, "listens on the same port")
                .beside(other.key, "listens there first")
                .help("give one of them another port, or its own address with `bind`"),
            );
            return;
        }
        // One of each is enough: there may be thousands of keys.
        let mut same = held.iter().filter(|(scheme, _)| *scheme == key.scheme);
        if !same.any(|(_, other)| other.word == claim.word) {
            held.push((key.scheme, claim));
        }
    }
}

/// The message of one overlapping.
fn overlapping(key: &Key, zone: &str, claim: &Claim<'_>, other: &Claim<'_>) -> Diagnostic {
    let (scheme, port) = (key.scheme.name(), key.port);
    let shown = |word: Option<&str>| {
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let on = word.map_or(String::new(), |word| format!(" on {word}"));
        format!("{scheme}://{zone}{port}{on}")
    };
    let message = if claim.word == other.word {
        format!("cannot serve {} - it is already defined", shown(claim.word))
    } else {
        format!(
            "cannot serve {} - zone overlap listener capacity with {}",
            shown(claim.word),
            shown(other.word)
        )
    };
    Diagnostic::error("CF0308", message)
        .at(claim.key, "served again here")
        .beside(other.key, "first served here")
        .help("join the two server blocks, or give each its own address with `bind`")
}
