//! Copies records from one response into another: owners and names in RDATA are written anew, since pointers mean other places there.

use wire::{Flags, NameBuf, Record, Response, Section, Type};

/// Copies the answer section.
pub fn answer(from: &mut Response<'_>, to: &mut Response<'_>) {
    copy(from, to, |section| section == Section::Answer);
}

/// Copies everything but the question: records, RCODE, AA and TC.
pub fn all(from: &mut Response<'_>, to: &mut Response<'_>) {
    to.set_rcode(from.rcode());
    for flag in [Flags::AA, Flags::TC] {
        to.set_flag(flag, from.flags().has(flag));
    }
    copy(from, to, |_| true);
}

/// Whether the answer section ends in an alias: the name that it leads to has no record of the type.
pub fn ends_in_alias(response: &Response<'_>) -> bool {
    response
        .records()
        .filter_map(Result::ok)
        .filter(|record| record.section == Section::Answer && record.rtype != Type::RRSIG)
        .last()
        .is_none_or(|record| matches!(record.rtype, Type::CNAME | Type::DNAME))
}

fn copy(from: &mut Response<'_>, to: &mut Response<'_>, wanted: impl Fn(Section) -> bool) {
    let from = &*from;
    let mut rdata = Vec::new();
    for record in from.records().map_while(Result::ok) {
        if !wanted(record.section) {
            continue;
        }
        let Ok(owner) = record.owner() else { return };
        if expand(from.octets(), &record, &mut rdata).is_none() {
            return;
        }
        let fixed = (record.rtype, record.class, record.ttl);
        if to
            .push(record.section, owner.as_name(), fixed, &rdata)
            .is_err()
        {
            return;
        }
    }
}

/// The RDATA with its names in full. Only the types of RFC 1035 and those that RFC 3597, section 4, names may hold pointers.
fn expand(message: &[u8], record: &Record<'_>, out: &mut Vec<u8>) -> Option<()> {
    let (before, names) = match record.rtype {
        Type::NS | Type::MD | Type::MF | Type::CNAME | Type::MB | Type::MG | Type::MR => (0, 1),
        Type::PTR | Type::NSAPPTR | Type::DNAME => (0, 1),
        Type::SOA | Type::MINFO | Type::RP => (0, 2),
        Type::MX | Type::AFSDB | Type::RT | Type::KX => (2, 1),
        Type::PX => (2, 2),
        Type::SRV => (6, 1),
        Type::SIG => (18, 1),
        _ => (0, 0),
    };
    out.clear();
    let mut at = record.rdata_range.start + before;
    out.extend_from_slice(message.get(record.rdata_range.start..at)?);
    for _ in 0..names {
        let (name, behind) = NameBuf::read(message, at).ok()?;
        out.extend_from_slice(name.as_name().octets());
        at = behind;
    }
    out.extend_from_slice(message.get(at..record.rdata_range.end)?);
    Some(())
}
