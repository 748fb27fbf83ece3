//! The zone that `erratic` transfers: a SOA record, two name servers and their addresses, in one message.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chain::{Exchange, Failure, MessageSource, Query, Written};
use tokio::time::{Sleep, sleep};
use wire::{Class, Flags, NameBuf, Response, Section, Type};

/// `sns.dns.icann.org. noc.dns.icann.org. 2018050825 7200 3600 1209600 3600`
const SOA: &[u8] = b"\x03sns\x03dns\x05icann\x03org\0\x03noc\x03dns\x05icann\x03org\0\
    \x78\x49\x03\x09\0\0\x1C\x20\0\0\x0E\x10\0\x12\x75\0\0\0\x0E\x10";
/// The name servers' labels, in the order of the NS records, with the addresses.
const SERVERS: [(&[u8], [u8; 16]); 2] = [
    (
        b"\x01b",
        [0x20, 1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x54],
    ),
    (
        b"\x01a",
        [0x20, 1, 0x0B, 0xD8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53],
    ),
];

/// A transfer on its way.
pub(super) struct Zone {
    /// What it waits for.
    late: Option<Pin<Box<Sleep>>>,
    /// Whether the SOA record stands at its end, too (RFC 5936, section 2.2).
    whole: bool,
}

impl Zone {
    pub(super) fn new(late: Option<Duration>, whole: bool) -> Self {
        Self {
            late: late.map(|duration| Box::pin(sleep(duration))),
            whole,
        }
    }
}

impl MessageSource for Zone {
    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Poll<Result<Written, Failure>> {
        if let Some(late) = &mut self.late {
            ready!(late.as_mut().poll(context));
        }
        if let Some((query, mut response)) = exchange.suspended_views() {
            write(&query, self.whole, &mut response);
        }
        Poll::Ready(Ok(Written::Last))
    }
}

/// Writes the records; a message of a stream has room for them.
fn write(query: &Query<'_>, whole: bool, response: &mut Response<'_>) {
    response.set_flag(Flags::AA, true);
    let apex = query.name();
    let mut push = |owner: &NameBuf, rtype, rdata: &[u8]| {
        let fixed = (rtype, Class::IN, 0);
        let _ = response.push(Section::Answer, owner.as_name(), fixed, rdata);
    };
    let origin = NameBuf::from_name(apex);
    // A name server's name that would be too long is left out.
    let servers: Vec<_> = SERVERS
        .iter()
        .filter_map(|(label, address)| {
            let octets = [label, apex.octets()].concat();
            let name = wire::Name::new(&octets).ok()?;
            Some((NameBuf::from_name(name), address))
        })
        .collect();
    push(&origin, Type::SOA, SOA);
    for (name, _) in &servers {
        push(&origin, Type::NS, name.as_name().octets());
    }
    for (name, address) in servers.iter().rev() {
        push(name, Type::AAAA, *address);
    }
    if whole {
        push(&origin, Type::SOA, SOA);
    }
}
