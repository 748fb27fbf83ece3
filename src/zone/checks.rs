//! What must hold of a zone as a whole, told with the line where it does not.
//!
//! Errors are those that make an answer wrong whatever one does; the rest are warnings, as `named-checkzone` has them. A zone without
//! NS records at its apex is served, since CoreDNS serves it.

use wire::{Name, Type};

use crate::builder::{Builder, NONE, Place, Raw, Report, covered, has};
use crate::rdata::name_len;

/// The most records of one type at one owner: a count on the wire has 16 bits.
const MOST_RECORDS: usize = 65_535;

/// Merges duplicates and makes the TTLs of each RRset one; `records` are those of one owner, sorted by type.
pub(crate) fn merge(builder: &Builder, records: &mut Vec<Raw>, report: &mut Report<'_>) {
    if records.len() < 2 {
        return;
    }
    let mut kept: Vec<Raw> = Vec::with_capacity(records.len());
    let mut set = 0; // where the RRset begins in `kept`
    for raw in records.drain(..) {
        let same_set = kept.get(set).is_some_and(|first| {
            first.rtype == raw.rtype
                && covered(Type(first.rtype), builder.rdata_of(first))
                    == covered(Type(raw.rtype), builder.rdata_of(&raw))
        });
        if !same_set {
            set = kept.len();
            kept.push(raw);
            continue;
        }
        let mut raw = raw;
        let ttl = kept[set].ttl;
        if raw.ttl != ttl && Type(raw.rtype) != Type::RRSIG {
            report.warn(raw.place(), || {
                format!(
                    "the TTL is {} but that of the RRset is {ttl}; {ttl} is used (RFC 2181, 5.2)",
                    raw.ttl
                )
            });
            raw.ttl = ttl;
        }
        // A set of thousands is compared with its neighbours only: a duplicate there costs octets, not correctness.
        let from = set.max(kept.len().saturating_sub(512));
        let rdata = builder.rdata_of(&raw);
        let twice = kept[from..]
            .iter()
            .any(|other| same(Type(raw.rtype), builder.rdata_of(other), rdata));
        if !twice {
            kept.push(raw);
        }
        if kept.len() - set > MOST_RECORDS {
            report.error(raw.place(), || {
                format!("more than {MOST_RECORDS} records of one type at one owner")
            });
            kept.truncate(set + MOST_RECORDS);
        }
    }
    // An RRSIG has the TTL of what it covers (RFC 4034, section 3).
    let ttls: Vec<(u16, u32)> = kept.iter().map(|raw| (raw.rtype, raw.ttl)).collect();
    for raw in kept.iter_mut().filter(|raw| Type(raw.rtype) == Type::RRSIG) {
        let of = covered(Type::RRSIG, builder.rdata_of(raw)).0;
        if let Some(&(_, ttl)) = ttls.iter().find(|&&(rtype, _)| rtype == of) {
            raw.ttl = ttl;
        }
    }
    *records = kept;
}

/// Whether two RDATA are the same record; case is ignored where RDATA is a name.
fn same(rtype: Type, left: &[u8], right: &[u8]) -> bool {
    match rtype {
        Type::NS | Type::CNAME | Type::PTR | Type::DNAME => left.eq_ignore_ascii_case(right),
        Type::MX | Type::SRV => {
            let head = if rtype == Type::MX { 2 } else { 6 };
            left.get(..head) == right.get(..head) && left.eq_ignore_ascii_case(right)
        }
        _ => left == right,
    }
}

/// Checks what stands at one owner.
pub(crate) fn node(
    builder: &Builder,
    (index, hidden): (u32, u32),
    records: &[Raw],
    report: &mut Report<'_>,
) {
    let owner = &builder.owners[index as usize];
    if records.len() < 2
        && index != 0
        && owner.has & has::NS == 0
        && records
            .first()
            .is_none_or(|raw| Type(raw.rtype) != Type::SOA)
    {
        return;
    }
    let name = builder.name_of(index);
    let of = |rtype: Type| records.iter().filter(move |raw| Type(raw.rtype) == rtype);
    for rtype in [Type::CNAME, Type::DNAME, Type::SOA] {
        if let Some(second) = of(rtype).nth(1) {
            report.conflict(second.place(), || {
                format!("{name} has more than one {rtype} record")
            });
        }
    }
    if owner.has & has::CNAME != 0 {
        let beside = |raw: &&Raw| {
            !matches!(
                Type(raw.rtype),
                Type::CNAME | Type::RRSIG | Type::NSEC | Type::KEY | Type::SIG | Type::NXT
            )
        };
        if let Some(other) = records.iter().find(beside) {
            report.conflict(other.place(), || {
                format!("{name} has a CNAME record and other data (RFC 2181, 10.1)")
            });
        }
    }
    if index != 0
        && let Some(soa) = of(Type::SOA).next()
        && builder
            .foreign_soa()
            .is_none_or(|(owner, _)| owner.as_name() != name)
    {
        report.conflict(soa.place(), || {
            format!("{name} has a SOA record and is not the apex")
        });
    }
    if index != 0 && owner.has & has::NS != 0 && owner.has & has::DNAME != 0 {
        let place = of(Type::DNAME).next().map(Raw::place).unwrap_or_default();
        report.warn(place, || {
            format!("{name} has NS and DNAME records; the zone cut hides the DNAME (RFC 6672, 2.3)")
        });
    }
    if owner.has & has::NS != 0 && name.is_wildcard() {
        let place = of(Type::NS).next().map(Raw::place).unwrap_or_default();
        report.warn(place, || {
            format!("{name} has NS records; a wildcard delegates nothing (RFC 4592, 4.2)")
        });
    }
    if owner.has & has::NS != 0 && hidden == NONE {
        for raw in of(Type::NS) {
            name_server(builder, (name, index), raw, report);
        }
    }
}

/// Checks the target of an NS record.
fn name_server(
    builder: &Builder,
    (owner, index): (Name<'_>, u32),
    raw: &Raw,
    report: &mut Report<'_>,
) {
    let rdata = builder.rdata_of(raw);
    let Some(target) = name_len(rdata).and_then(|len| Name::new(&rdata[..len]).ok()) else {
        return;
    };
    if !target.is_within(builder.apex.as_name()) {
        return;
    }
    let found = builder
        .find_name(target)
        .map(|at| builder.owners[at as usize].has);
    let required = index == 0 || target.is_within(owner);
    match found {
        Some(there) if there & has::CNAME != 0 => report.warn(raw.place(), || {
            format!("the name server {target} of {owner} is a CNAME (RFC 2181, 10.3)")
        }),
        Some(there) if there & has::ADDRESS != 0 => {}
        _ if required => report.warn(raw.place(), || {
            format!("the name server {target} of {owner} has no address in the zone")
        }),
        _ => {}
    }
}

/// Checks the zone as a whole.
pub(crate) fn zone(builder: &Builder, hidden: &[u32], report: &mut Report<'_>) {
    let apex = builder.apex;
    let whole = Place::default();
    let soas = |raw: &&Raw| raw.owner == 0 && Type(raw.rtype) == Type::SOA;
    let foreign = builder.foreign_soa();
    if let Some((owner, raw)) = foreign {
        report.foreign_soa(raw.place(), (owner, apex));
    } else if !builder.soa_optional && builder.records.iter().find(soas).is_none() {
        report.error(whole, || {
            format!("the zone has no SOA record at its apex {apex}")
        });
        return;
    }
    if foreign.is_none() && !builder.soa_optional && builder.owners[0].has & has::NS == 0 {
        report.note(whole, || {
            format!("the zone has no NS records at its apex {apex}")
        });
    }
    // Data below a DNAME is never found (RFC 6672, 2.4); data below a zone cut is, as glue.
    for raw in &builder.records {
        let above = hidden[raw.owner as usize];
        if above != NONE && builder.owners[above as usize].has & has::DNAME != 0 {
            report.warn(raw.place(), || {
                let (name, above) = (builder.name_of(raw.owner), builder.name_of(above));
                format!("{name} is hidden by the DNAME record at {above}")
            });
        }
    }
}
