//! A zone on its way to a client: SOA record, everything else, SOA record again (RFC 5936, section 2.2); or what has changed since the
//! version that the client has (RFC 1995).

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use chain::served::Served;
use chain::{Exchange, ExtendedError, Failure, MessageSource, Query, Written};
use wire::{Class, Flags, Name, NameBuf, Rcode, Response, Section, Type};
use zone::{Cursor, Difference, Zone, ZoneRecord, is_newer};

use super::quota::Permit;

/// How long a message gets, in octets; behind it is room for OPT and TSIG. CoreDNS has the same bound.
const FULL: usize = 63_000;
/// The octets of differences that are sent as such even where the zone has fewer.
const HANDFUL: usize = 1_024;

/// A transfer under way.
pub(super) struct Outgoing {
    /// What is left of it.
    left: Left,
    client: IpAddr,
    records: u64,
    /// Whether the other tasks of the worker have had their turn since the last message.
    yielded: bool,
    rdata: Vec<u8>,
}

/// What is left to be sent.
enum Left {
    /// One SOA record: the client has this version.
    Nothing(Arc<Zone>),
    /// The records from a place on.
    Records {
        zone: Arc<Zone>,
        cursor: Cursor,
        /// Counted until the end.
        _permit: Permit,
    },
    /// The differences from a place on (RFC 1995, section 4).
    Differences {
        zone: Arc<Zone>,
        steps: Vec<Arc<Difference>>,
        place: Step,
        _permit: Permit,
    },
    /// Why there are none.
    Failure(Failure),
}

/// A place in a list of differences.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Step {
    /// Whether the SOA record that begins the response is sent.
    begun: bool,
    /// Twice the index of the difference; one more for what was added.
    list: usize,
    /// The octet of the list.
    octet: usize,
}

const NO_SOA: Failure = Failure::servfail("the zone has no SOA record");
const TOO_LONG: Failure = Failure::servfail("a record of the zone is too large for a message");

impl Outgoing {
    /// The transfer of a zone as it is now for a query; `known` is the serial that the client of an IXFR query has.
    pub(super) fn new(served: &Served, query: &Query<'_>, known: Option<u32>) -> Option<Self> {
        let client = query.peer().ip();
        let known = known.filter(|&known| known != 0);
        let (zone, steps) = match known {
            Some(known) => served.since(known)?,
            None => (served.snapshot()?, None),
        };
        // The same version or a newer one (RFC 1995, section 2).
        let serial = zone.serial();
        if known.is_some_and(|known| known == serial || is_newer(known, serial)) {
            return Some(Self::of(Left::Nothing(zone), client));
        }
        let left = match (
            Permit::take(client),
            steps.filter(|steps| pays(steps, &zone)),
        ) {
            (Some(_permit), Some(steps)) => Left::Differences {
                zone,
                steps,
                place: Step::default(),
                _permit,
            },
            (Some(_permit), None) => Left::Records {
                zone,
                cursor: Cursor::default(),
                _permit,
            },
            (None, _) => {
                const WHY: &str = "too many zone transfers at a time";
                Left::Failure(Failure::policy(Rcode::REFUSED).extended(ExtendedError::OTHER, WHY))
            }
        };
        Some(Self::of(left, client))
    }

    /// The transfer of a zone that has gone since the query was looked at.
    pub(super) fn gone() -> Self {
        let why = Failure::servfail("the zone is no longer served");
        Self::of(Left::Failure(why), IpAddr::from([0, 0, 0, 0]))
    }

    fn of(left: Left, client: IpAddr) -> Self {
        Self {
            left,
            client,
            records: 0,
            yielded: true,
            rdata: Vec::new(),
        }
    }

    /// Fills a message.
    fn fill(&mut self, response: &mut Response<'_>) -> Result<Written, Failure> {
        response.set_flag(Flags::AA, true);
        match self.left {
            Left::Failure(ref why) => Err(why.clone()),
            Left::Nothing(ref zone) => {
                push_record(response, &zone.soa().ok_or(NO_SOA)?, &mut self.rdata)
                    .ok_or(TOO_LONG)?;
                tracing::info!(
                    target: "plugin/transfer",
                    "Outgoing noop, incremental transfer for up to date zone {} to {} for {} SOA serial",
                    NameBuf::from_name(zone.apex()), self.client, zone.serial()
                );
                Ok(Written::Last)
            }
            Left::Records { .. } => self.fill_records(response),
            Left::Differences { .. } => self.fill_differences(response),
        }
    }

    /// Fills a message with what is left of the zone.
    fn fill_records(&mut self, response: &mut Response<'_>) -> Result<Written, Failure> {
        let Left::Records { zone, cursor, .. } = &mut self.left else {
            return Err(NO_SOA);
        };
        let soa = zone.soa().ok_or(NO_SOA)?;
        let mut sent = 0;
        if *cursor == Cursor::default() {
            push_record(response, &soa, &mut self.rdata).ok_or(TOO_LONG)?;
            sent = 1;
        }
        let first = response.len();
        for (behind, record) in zone.records_from(*cursor) {
            // The record that begins and ends the transfer.
            if record.rtype() != Type::SOA {
                self.rdata.clear();
                record.write_rdata(&mut self.rdata);
                if response.len() > first && !has_room(response, record.owner(), &self.rdata) {
                    self.records += sent;
                    return Ok(Written::More);
                }
                let fixed = (record.rtype(), record.ttl());
                push(response, record.owner(), fixed, &self.rdata).ok_or(TOO_LONG)?;
                sent += 1;
            }
            *cursor = behind;
        }
        self.records += sent;
        self.rdata.clear();
        soa.write_rdata(&mut self.rdata);
        if response.len() > first && !has_room(response, soa.owner(), &self.rdata) {
            return Ok(Written::More);
        }
        push_record(response, &soa, &mut self.rdata).ok_or(TOO_LONG)?;
        self.records += 1;
        tracing::info!(
            target: "plugin/transfer",
            "Outgoing transfer of {} records of zone {} to {} for {} SOA serial",
            self.records, NameBuf::from_name(zone.apex()), self.client, zone.serial()
        );
        Ok(Written::Last)
    }

    /// Fills a message with what is left of the differences: of each, what was removed and then what was added, both with their SOA
    /// records first; around all, the newest SOA record.
    fn fill_differences(&mut self, response: &mut Response<'_>) -> Result<Written, Failure> {
        let Left::Differences {
            zone, steps, place, ..
        } = &mut self.left
        else {
            return Err(NO_SOA);
        };
        let soa = zone.soa().ok_or(NO_SOA)?;
        if !std::mem::replace(&mut place.begun, true) {
            push_record(response, &soa, &mut self.rdata).ok_or(TOO_LONG)?;
            self.records += 1;
        }
        let first = response.len();
        while let Some(step) = steps.get(place.list / 2) {
            let list = match place.list % 2 {
                0 => &step.removed,
                _ => &step.added,
            };
            let Some((record, behind)) = list.at(place.octet) else {
                (place.list, place.octet) = (place.list + 1, 0);
                continue;
            };
            if response.len() > first && !has_room(response, record.owner, record.rdata) {
                return Ok(Written::More);
            }
            let fixed = (record.rtype, record.ttl);
            push(response, record.owner, fixed, record.rdata).ok_or(TOO_LONG)?;
            place.octet = behind;
            self.records += 1;
        }
        self.rdata.clear();
        soa.write_rdata(&mut self.rdata);
        if response.len() > first && !has_room(response, soa.owner(), &self.rdata) {
            return Ok(Written::More);
        }
        push_record(response, &soa, &mut self.rdata).ok_or(TOO_LONG)?;
        self.records += 1;
        let from = steps.first().and_then(|step| step.serials());
        tracing::info!(
            target: "plugin/transfer",
            "Outgoing incremental transfer of {} records of zone {} to {} from {} to {} SOA serial",
            self.records, NameBuf::from_name(zone.apex()), self.client, from.map_or(0, |(from, _)| from), zone.serial()
        );
        Ok(Written::Last)
    }
}

/// Whether differences have fewer octets than the zone. A handful of records is sent as differences, however small the zone is.
fn pays(steps: &[Arc<Difference>], zone: &Zone) -> bool {
    let octets: usize = steps.iter().map(|step| step.octets()).sum();
    octets <= zone.statistics().octets.max(HANDFUL)
}

impl MessageSource for Outgoing {
    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Poll<Result<Written, Failure>> {
        // A client that takes a large zone as fast as it comes holds nobody up.
        if !std::mem::replace(&mut self.yielded, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.yielded = false;
        let Some((_, mut response)) = exchange.suspended_views() else {
            return Poll::Ready(Err(Failure::servfail("the transfer has no query")));
        };
        Poll::Ready(self.fill(&mut response))
    }
}

/// Whether a message has room for a record, however badly it compresses.
fn has_room(response: &Response<'_>, owner: Name<'_>, rdata: &[u8]) -> bool {
    response.len() + owner.octets().len() + 10 + rdata.len() <= FULL
}

/// Appends a record of a zone; `None` where it has no room.
pub(super) fn push_record(
    response: &mut Response<'_>,
    record: &ZoneRecord<'_>,
    rdata: &mut Vec<u8>,
) -> Option<()> {
    rdata.clear();
    record.write_rdata(rdata);
    let fixed = (record.rtype(), record.ttl());
    push(response, record.owner(), fixed, rdata)
}

/// Appends a record; names in it are compressed where RFC 3597, section 4, lets them be. `None` where it has no room.
fn push(
    response: &mut Response<'_>,
    owner: Name<'_>,
    (rtype, ttl): (Type, u32),
    rdata: &[u8],
) -> Option<()> {
    let head = match rtype {
        Type::NS | Type::CNAME | Type::PTR => Some(0),
        Type::MX => Some(2),
        _ => None,
    };
    let named = head.and_then(|head| {
        let (head, name) = rdata.split_at_checked(head)?;
        Some((head, Name::new(name).ok()?))
    });
    let (section, fixed) = (Section::Answer, (rtype, Class::IN, ttl));
    match named {
        Some(named) => response.push_named(section, owner, fixed, named).ok(),
        None => response.push(section, owner, fixed, rdata).ok(),
    }
}
