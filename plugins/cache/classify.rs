//! What a response says, whether it may be kept, and for how long (RFC 2308; RFC 2181, section 8).

use std::time::{SystemTime, UNIX_EPOCH};

use wire::{Class, Flags, Name, NameBuf, Rcode, Record, Response, Section, Type, read_u32};

/// The TTL of what has no TTL of its own, in seconds.
const SHORT: u32 = 5;
/// How many CNAMEs are followed in one answer.
const MOST_ALIASES: usize = 32;

/// What a response says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// NOERROR with something in it, or with nothing at all.
    Positive,
    /// A referral: NOERROR with NS records in the authority section. It is passed on and never kept: it is no answer, and who asks for
    /// recursion next is to get one.
    Delegation,
    /// NXDOMAIN.
    NxDomain,
    /// NOERROR without an answer, and with an SOA record.
    NoData,
    /// SERVFAIL or NOTIMP.
    Failure,
    /// Anything else.
    Other,
}

/// The bounds of TTLs, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    /// The least.
    pub(super) least: u32,
    /// The most.
    pub(super) most: u32,
}

/// How TTLs are bounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    /// Of positive responses.
    pub(super) success: Bounds,
    /// Of negative responses.
    pub(super) denial: Bounds,
    /// How long a failure is kept, in seconds.
    pub(super) failure: u32,
}

/// What was asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// QNAME, as the plugins below saw it.
    pub(super) name: Name<'a>,
    /// QTYPE.
    pub(super) qtype: Type,
    /// QCLASS.
    pub(super) qclass: Class,
    /// DO.
    pub(super) dnssec_ok: bool,
}

/// What there is to know before a response is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    /// What it says.
    pub(super) kind: Kind,
    /// Whether it answers its question.
    pub(super) answering: bool,
    /// The TTL for all its records, in seconds.
    pub(super) ttl: u32,
    /// Whether it may be kept for as long.
    pub(super) keep: bool,
    /// Whether its records could be read.
    pub(super) sound: bool,
}

/// Judges the response to `asked`.
pub(super) fn judge(response: &Response<'_>, asked: Asked<'_>, limits: &Limits) -> Verdict {
    let seen = Seen::of(response);
    let rcode = response.rcode();
    let answers = response.count(Section::Answer);
    let answering =
        rcode == Rcode::NOERROR && answers > 0 && chain_answers(response, asked.name, asked);
    let expired = asked.dnssec_ok && seen.signatures && has_expired_signature(response);
    let kind = match rcode {
        _ if !seen.sound || expired => Kind::Other,
        Rcode::NOERROR if answers > 0 && !answering && seen.soa => Kind::NoData,
        Rcode::NOERROR if answers > 0 => Kind::Positive,
        // An alias to nothing: the name that is not there is the last one (RFC 2308, 2.1).
        Rcode::NXDOMAIN if answers > 0 && !leads_away(response, asked) => Kind::Other,
        Rcode::NOERROR if seen.soa => Kind::NoData,
        Rcode::NXDOMAIN => Kind::NxDomain,
        Rcode::SERVFAIL | Rcode::NOTIMP => Kind::Failure,
        Rcode::NOERROR if seen.ns => Kind::Delegation,
        Rcode::NOERROR => Kind::Positive,
        _ => Kind::Other,
    };
    let bounds = match kind {
        Kind::NxDomain | Kind::NoData => limits.denial,
        _ => limits.success,
    };
    let least = match kind {
        Kind::NxDomain | Kind::NoData => seen.ttl.min(seen.minimum),
        Kind::Positive => seen.ttl,
        _ => SHORT,
    };
    let least = if seen.records == 0 { SHORT } else { least };
    let ttl = match kind {
        Kind::Failure => limits.failure,
        _ => least.max(bounds.least).min(bounds.most),
    };
    let keep = !response.flags().has(Flags::TC)
        && ttl > 0
        && match kind {
            Kind::Other | Kind::Delegation => false,
            Kind::NxDomain => seen.soa,
            Kind::Positive => answers == 0 || answering,
            Kind::NoData | Kind::Failure => true,
        };
    Verdict {
        kind,
        answering,
        ttl,
        keep,
        sound: seen.sound,
    }
}

/// What one pass over the records tells.
struct Seen {
    /// The least TTL.
    ttl: u32,
    /// The SOA record's MINIMUM field (RFC 2308, 5).
    minimum: u32,
    records: u32,
    soa: bool,
    ns: bool,
    signatures: bool,
    sound: bool,
}

impl Seen {
    fn of(response: &Response<'_>) -> Self {
        let mut seen = Self {
            ttl: u32::MAX,
            minimum: u32::MAX,
            records: 0,
            soa: false,
            ns: false,
            signatures: false,
            sound: true,
        };
        for record in response.records() {
            let Ok(record) = record else {
                seen.sound = false;
                break;
            };
            if record.rtype == Type::OPT {
                continue;
            }
            seen.records += 1;
            // A TTL with the highest bit set is 0 (RFC 2181, 8).
            let ttl = if record.ttl >> 31 == 0 { record.ttl } else { 0 };
            seen.ttl = seen.ttl.min(ttl);
            seen.signatures |= record.rtype == Type::RRSIG;
            if record.section == Section::Authority {
                seen.ns |= record.rtype == Type::NS;
                if record.rtype == Type::SOA {
                    seen.soa = true;
                    seen.minimum = seen.minimum.min(record.soa_minimum().unwrap_or(u32::MAX));
                }
            }
        }
        seen
    }
}

/// The readable records of the answer section.
fn answer<'r>(response: &'r Response<'_>) -> impl Iterator<Item = Record<'r>> {
    response
        .records()
        .map_while(Result::ok)
        .take_while(|record| record.section == Section::Answer)
}

/// Whether the answer section is a chain of aliases that begins at QNAME and nothing else.
fn leads_away(response: &Response<'_>, asked: Asked<'_>) -> bool {
    let owned_by = |record: &Record<'_>, owner: Name<'_>| {
        record.owner().is_ok_and(|name| name.as_name() == owner)
    };
    answer(response).all(|record| matches!(record.rtype, Type::CNAME | Type::DNAME | Type::RRSIG))
        && matches!(target(response, asked.name, &owned_by), Alias::To(_))
}

/// Whether the answer section has what was asked for, at the end of the CNAME chain that begins at QNAME (RFC 1034, 3.6.2).
fn chain_answers(response: &Response<'_>, start: Name<'_>, asked: Asked<'_>) -> bool {
    let in_class = |record: &Record<'_>| asked.qclass == Class::ANY || record.class == asked.qclass;
    let owned_by = |record: &Record<'_>, owner: Name<'_>| {
        in_class(record) && record.owner().is_ok_and(|name| name.as_name() == owner)
    };
    match asked.qtype {
        Type::ANY => return answer(response).any(|record| owned_by(&record, start)),
        Type::CNAME => return matches!(target(response, start, &owned_by), Alias::To(_)),
        _ => {}
    }
    let mut here = NameBuf::from_name(start);
    for _ in 0..MOST_ALIASES {
        match target(response, here.as_name(), &owned_by) {
            Alias::To(next) => here = next,
            Alias::No => {
                return answer(response).any(|record| {
                    record.rtype == asked.qtype && owned_by(&record, here.as_name())
                });
            }
            Alias::Several => return false,
        }
    }
    false
}

/// What an owner is an alias of.
#[allow(
    clippy::large_enum_variant,
    reason = "a name is inline so that following aliases allocates nothing"
)]
enum Alias {
    /// Nothing.
    No,
    /// One name.
    To(NameBuf),
    /// More than one, which no name may be (RFC 2181, 10.1).
    Several,
}

fn target(
    response: &Response<'_>,
    owner: Name<'_>,
    owned_by: &dyn Fn(&Record<'_>, Name<'_>) -> bool,
) -> Alias {
    let mut found = Alias::No;
    for record in answer(response) {
        if record.rtype != Type::CNAME || !owned_by(&record, owner) {
            continue;
        }
        let Ok(name) = record.rdata_name(0) else {
            return Alias::Several;
        };
        match &found {
            Alias::To(before) if *before != name => return Alias::Several,
            _ => found = Alias::To(name),
        }
    }
    found
}

/// Whether a signature is not valid now, by serial number arithmetic (RFC 4034, 3.1.5).
fn has_expired_signature(response: &Response<'_>) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as u32);
    response
        .records()
        .map_while(Result::ok)
        .filter(|record| record.rtype == Type::RRSIG)
        .any(|record| {
            let rdata = record.rdata();
            match (read_u32(rdata, 8), read_u32(rdata, 12)) {
                (Some(expiration), Some(inception)) => {
                    (expiration.wrapping_sub(now) as i32) < 0
                        || (now.wrapping_sub(inception) as i32) < 0
                }
                _ => true,
            }
        })
}
