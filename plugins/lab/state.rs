//! Labs, ready to answer.
//!
//! ```text
//! names.json ──► Published ──► lines of a master file, one file a view ──► Lab { zone a view, zone a reverse apex }   (kept until it changes)
//! labs ──► State { apex's hash ──► zones, sorted subnets ──► lab and view }                                           (swapped whole)
//! ```
//!
//! A look-up probes one table with the hashes that parsing made; a view is one binary search over the subnets of all labs. A lab costs
//! its names once, and once more for each network that sees other addresses than a stranger does, [`MOST_NAMES`] in all.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use wire::{Name, NameBuf, Qname, Type, name_hash};
use zone::{Loader, Lookup, Zone};

use super::outside::Outside;
use super::published::{Published, Subnet, number};
use super::text::{self, Lines, Writer};

/// How many names the views of a lab may have together; beyond, all clients see all addresses.
const MOST_NAMES: usize = 200_000;
/// How often lines that are not good are taken out before a lab is given up.
const ROUNDS: usize = 64;

/// One lab.
pub(super) struct Lab {
    /// Its name.
    pub(super) name: String,
    /// Its domain, in lower case.
    pub(super) domain: NameBuf,
    /// The addresses on which the server is asked.
    pub(super) listen: Vec<IpAddr>,
    /// What is wrong with single names; the others are served.
    pub(super) complaints: Vec<String>,
    /// How many records it has, views apart.
    pub(super) records: usize,
    /// The TTL of its records.
    pub(super) ttl: u32,
    /// Counts its changes.
    pub(super) generation: u64,
    /// What a stranger sees, then the views.
    zones: Vec<Zone>,
    reverse: Vec<Reverse>,
    segments: Vec<Row>,
    /// Who is asked for other names, where a segment says so.
    outside: Vec<Option<Arc<Outside>>>,
}

/// The reverse names of a lab's subnets below one apex.
struct Reverse {
    apex: NameBuf,
    subnets: Vec<Subnet>,
    zone: Zone,
}

/// The clients of one subnet.
#[derive(Clone, Copy, Debug)]
struct Row {
    range: (u128, u128),
    view: u32,
    /// Which of the lab's segments it is of.
    segment: u32,
    internal: bool,
}

impl Lab {
    /// Lays out what was published.
    pub(super) fn new(
        name: &str,
        names: &Published,
        (ttl, reverse): (Option<u32>, bool),
    ) -> Result<Self, String> {
        let ttl = ttl.unwrap_or(names.ttl);
        let apex = text::dotted(&names.domain);
        let domain: NameBuf = apex
            .parse::<NameBuf>()
            .map_err(|why| format!("1:1: domain `{}`: {why}", names.domain))?
            .to_lower();
        if domain.as_name().is_root() {
            return Err("1:1: a lab cannot have the root as its domain".to_owned());
        }
        let segments = text::segments(names);
        let mut complaints = Vec::new();
        let load = |view, complaints: &mut Vec<String>| {
            let lines = Writer::new(names, &segments, ttl, &apex).forward(view);
            zone(domain.as_name(), lines.into_lines(), complaints)
        };
        let mut zones = vec![load(None, &mut complaints)?];
        let records = zones[0].statistics().records;
        let mut distinct = text::distinct(names, &segments);
        if distinct.len() * zones[0].statistics().owners > MOST_NAMES {
            complaints.push(format!(
                "{} networks would each have their own view of the names, which is too much: all clients see all addresses",
                distinct.len()
            ));
            distinct.clear();
        }
        for &view in &distinct {
            // The others have complained already.
            zones.push(load(Some(view), &mut Vec::new())?);
        }
        let clients = segments.iter().enumerate().flat_map(|(at, segment)| {
            let view = distinct.iter().position(|&one| one == at);
            segment.subnets.iter().map(move |subnet| Row {
                range: subnet.range(),
                view: view.map_or(0, |view| view as u32 + 1),
                segment: at as u32,
                internal: segment.internal,
            })
        });
        let mut out = Self {
            name: name.to_owned(),
            domain,
            listen: names
                .nets
                .iter()
                .flat_map(|net| net.listen.clone())
                .collect(),
            records,
            ttl,
            generation: names.generation,
            segments: clients.collect(),
            outside: segments
                .iter()
                .map(|one| {
                    (!one.upstream.is_empty()).then(|| Arc::new(Outside::new(&one.upstream)))
                })
                .collect(),
            zones,
            reverse: Vec::new(),
            complaints,
        };
        if reverse {
            out.reverse = backward(names, &segments, ttl, &mut out.complaints)?;
        }
        Ok(out)
    }
}

/// The reverse zones of a lab, one for each octet or nibble boundary at or above its subnets.
fn backward(
    names: &Published,
    segments: &[text::Segment],
    ttl: u32,
    complaints: &mut Vec<String>,
) -> Result<Vec<Reverse>, String> {
    let mut out: Vec<(String, Vec<Subnet>)> = Vec::new();
    for &subnet in &names.reverse {
        let bits = usize::from(subnet.bits);
        let parts = bits / if subnet.address.is_ipv4() { 8 } else { 4 };
        let apex = text::reverse_name(subnet.address, parts);
        match out.iter_mut().find(|(other, _)| *other == apex) {
            Some((_, subnets)) => subnets.push(subnet),
            None => out.push((apex, vec![subnet])),
        }
    }
    out.into_iter()
        .map(|(text, subnets)| {
            let apex: NameBuf = text.parse().map_err(|why| format!("1:1: {text}: {why}"))?;
            let lines = Writer::new(names, segments, ttl, &text).backward(&subnets);
            let zone = zone(apex.as_name(), lines.into_lines(), complaints)?;
            Ok(Reverse {
                apex,
                subnets,
                zone,
            })
        })
        .collect()
}

/// A zone of lines, without those that are not good.
fn zone(apex: Name<'_>, lines: Lines, complaints: &mut Vec<String>) -> Result<Zone, String> {
    complaints.extend(lines.open.iter().map(|line| {
        let line = line.escape_debug();
        format!("`{line}`: a quote or parenthesis stays open")
    }));
    let mut text = lines.text;
    let mut first = String::new();
    for _ in 0..ROUNDS {
        let wrong = match Loader::new(apex).minimal(true).load_text(&text) {
            Ok(loaded) => return Ok(loaded.zone),
            Err(wrong) => wrong,
        };
        let lines: Vec<&str> = text.lines().collect();
        let mut places = BTreeSet::new();
        for complaint in &wrong {
            if first.is_empty() {
                first.clone_from(&complaint.message);
            }
            // The first two lines are SOA and NS.
            let place = (complaint.line as usize).wrapping_sub(1);
            if (2..lines.len()).contains(&place) && places.insert(place) {
                complaints.push(format!("`{}`: {}", lines[place], complaint.message));
            }
        }
        if places.is_empty() {
            break;
        }
        let good = lines.iter().enumerate();
        let good = good.filter(|(place, _)| !places.contains(place));
        text = good.fold(String::new(), |text, (_, line)| text + line + "\n");
    }
    Err(format!("1:1: {first}"))
}

/// What answers a name.
#[derive(Clone, Copy)]
pub(super) enum Found<'s> {
    /// A lab's domain.
    Forward(&'s Lab, usize),
    /// A reverse zone of a lab.
    Reverse(&'s Zone),
}

/// Who asks, when it is a lab.
#[derive(Clone, Copy)]
pub(super) struct Client<'s> {
    /// The lab.
    pub(super) lab: &'s Lab,
    /// The lab's index.
    number: usize,
    view: u32,
    segment: u32,
    /// Whether it is on a network without a way out.
    pub(super) internal: bool,
}

impl<'s> Client<'s> {
    /// Who is asked for names of no lab, where its network says so.
    #[inline]
    pub(super) fn outside(&self) -> Option<&'s Arc<Outside>> {
        let outside = self.lab.outside.get(self.segment as usize)?;
        outside.as_ref().filter(|_| !self.internal)
    }
}

/// Whose an apex is: the lab, and the reverse zone of it unless the apex is its domain.
type Claim = (u32, Option<u32>);

/// Takes a name's hash as it is: it is keyed already.
#[derive(Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.0 = wire::mix(self.0, u64::from(octet));
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// All labs. Never changed: a change makes another.
#[derive(Default)]
pub(super) struct State {
    labs: Vec<Arc<Lab>>,
    /// By the apex's hash.
    apexes: HashMap<u64, Vec<Claim>, BuildHasherDefault<Ready>>,
    /// Subnets that do not overlap, in order, with the lab of each.
    clients: Vec<(Row, u32)>,
}

impl State {
    /// Joins labs. Of two that claim one subnet, the one that stands first has it.
    pub(super) fn new(labs: Vec<Arc<Lab>>) -> Self {
        let mut out = Self::default();
        for (number, lab) in labs.iter().enumerate() {
            let number = number as u32;
            let mut claim = |apex: &NameBuf, zone| {
                let hash = name_hash(apex.as_name());
                out.apexes.entry(hash).or_default().push((number, zone));
            };
            claim(&lab.domain, None);
            for (at, reverse) in lab.reverse.iter().enumerate() {
                claim(&reverse.apex, Some(at as u32));
            }
            for &client in &lab.segments {
                let (first, last) = client.range;
                let free = |(other, _): &(Row, u32)| other.range.1 < first || last < other.range.0;
                if out.clients.iter().all(free) {
                    out.clients.push((client, number));
                }
            }
        }
        out.clients
            .sort_unstable_by_key(|(client, _)| client.range.0);
        out.labs = labs;
        out
    }

    /// The lab that an address is in.
    #[inline]
    pub(super) fn client(&self, address: IpAddr) -> Option<Client<'_>> {
        let wanted = number(address);
        let behind = self
            .clients
            .partition_point(|(client, _)| client.range.0 <= wanted);
        let &(client, number) = self.clients.get(behind.checked_sub(1)?)?;
        let lab = self.labs.get(number as usize)?;
        (wanted <= client.range.1).then_some(Client {
            lab,
            number: number as usize,
            view: client.view,
            segment: client.segment,
            internal: client.internal,
        })
    }

    /// What answers for a name, the longest apex first. Of labs with one domain it is one that knows the name, the client's own before
    /// others.
    #[inline]
    pub(super) fn find(&self, qname: &Qname, client: Option<Client<'_>>) -> Option<Found<'_>> {
        // No apex is the root.
        (0..qname.label_count()).find_map(|skip| {
            let claims = self.apexes.get(&qname.hash(skip))?;
            let mut first = None;
            let mut knows = None;
            for &(number, reverse) in claims {
                let number = number as usize;
                let lab = self.labs.get(number)?;
                if let Some(reverse) = reverse {
                    let reverse = lab.reverse.get(reverse as usize)?;
                    if reverse.apex.as_name() == qname.suffix(skip)
                        && is_owned(&reverse.subnets, qname)
                    {
                        return Some(Found::Reverse(&reverse.zone));
                    }
                } else if lab.domain.as_name() == qname.suffix(skip) {
                    let found = Found::Forward(lab, number);
                    if claims.len() == 1 {
                        return Some(found);
                    }
                    first = first.or(Some(found));
                    let own = client.is_some_and(|client| client.number == number);
                    if (own || knows.is_none()) && has(&lab.zones[0], qname) {
                        knows = Some(found);
                    }
                }
            }
            knows.or(first)
        })
    }

    /// The zone of the client's own lab.
    pub(super) fn own<'s>(&'s self, client: Client<'s>) -> &'s Zone {
        self.view(client.lab, client.number, Some(client))
    }

    /// The zone of a lab as an client sees it.
    #[inline]
    pub(super) fn view<'s>(
        &'s self,
        lab: &'s Lab,
        number: usize,
        client: Option<Client<'s>>,
    ) -> &'s Zone {
        let view = client
            .filter(|client| client.number == number)
            .map_or(0, |client| client.view as usize);
        lab.zones.get(view).unwrap_or(&lab.zones[0])
    }
}

/// Whether a zone has a name, perhaps by a wildcard.
fn has(zone: &Zone, qname: &Qname) -> bool {
    !matches!(
        zone.lookup(qname, Type::A),
        Lookup::NxDomain(_) | Lookup::OutOfZone
    )
}

/// Whether a reverse name lies within one of `subnets`: the octets or nibbles that it has say so.
fn is_owned(subnets: &[Subnet], qname: &Qname) -> bool {
    let labels = qname.label_count();
    let mut octets = [0u8; 16];
    let v4 = labels >= 2 && qname.suffix(labels - 2).octets() == b"\x07in-addr\x04arpa\0";
    let mut bits = 0u8;
    // From the address's front, which is the name's end; a label that is no number ends it.
    for skip in (0..labels.saturating_sub(2)).rev() {
        let Some(label) = qname.suffix(skip).labels().next() else {
            break;
        };
        let at = usize::from(bits);
        if v4 {
            let number = std::str::from_utf8(label)
                .ok()
                .filter(|text| {
                    !text.starts_with('+') && (text.len() == 1 || !text.starts_with('0'))
                })
                .and_then(|text| text.parse::<u8>().ok());
            let (Some(number), true) = (number, bits < 32) else {
                break;
            };
            octets[12 + at / 8] = number;
            bits += 8;
        } else {
            let &[digit] = label else { break };
            let nibble = (digit as char).to_digit(16);
            let (Some(nibble), true) = (nibble, bits < 128) else {
                break;
            };
            octets[at / 8] |= (nibble as u8) << if at % 8 == 0 { 4 } else { 0 };
            bits += 4;
            if bits == 128 {
                break;
            }
        }
    }
    let wanted = if v4 {
        0xFFFF_0000_0000 | u128::from_be_bytes(octets)
    } else {
        u128::from_be_bytes(octets)
    };
    subnets.iter().any(|subnet| {
        let (first, last) = subnet.range();
        subnet.address.is_ipv4() == v4 && subnet.bits <= bits && (first..=last).contains(&wanted)
    })
}
