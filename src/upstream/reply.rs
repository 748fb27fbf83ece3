//! Queries that go upstream in other octets than they came in.

use chain::{Exchange, ExtendedError};
use rand::RngExt;
use wire::{
    EdnsOption, EdnsOptions, Flags, HEADER_LEN, Header, MAX_NAME, Message, Name, NameBuf, Rcode,
};

use crate::message::without_option;

/// The octets of an upstream's EXTRA-TEXT that are handed on.
const LONGEST_TEXT: usize = 128;

/// What goes upstream where it is not the client's octets: the question that a plugin above put in the place of the client's, or the
/// client's with the case of its letters drawn by lot, or without the TSIG that was verified or the cookies that were read here. What another TSIG signs is sent on
/// unchanged, unless the question was rewritten: nobody here has the key (RFC 8945, 5.5).
pub(crate) fn compose(exchange: &mut Exchange, mixed_case: bool) -> Option<Box<[u8]>> {
    let mut out = Vec::new();
    if let Some(query) = exchange.suspended_query()
        && query.is_rewritten()
    {
        let mut qname = NameBuf::from_name(query.name());
        if mixed_case {
            qname = mix_case(qname.as_name());
        }
        let question = (qname.as_name(), query.qtype(), query.qclass());
        let opt = query.upstream_opt();
        // Without its OPT record, which has no room in a message, a query is still one.
        let whole = wire::compose((0, query.flags()), question, opt.as_ref(), &mut out);
        if whole.is_err() {
            let _ = wire::compose((0, query.flags()), question, None, &mut out);
        }
    } else if (mixed_case && exchange.parsed.tsig.is_none()
        || exchange.context.verified_at().is_some()
        || exchange.context.cookie.is_some() && exchange.parsed.tsig.is_none())
        && let Ok((qname, _)) = NameBuf::read(exchange.message(), HEADER_LEN)
    {
        offer_size(exchange);
        out.extend_from_slice(exchange.message());
        restore_size(exchange);
        if let Some(at) = exchange.context.verified_at() {
            out.truncate(at);
            if let Some(header) = Header::read(&out) {
                let [qd, an, ns, ar] = header.counts;
                let counts = [qd, an, ns, ar.saturating_sub(1)];
                let header = Header { counts, ..header };
                out[..HEADER_LEN].copy_from_slice(&header.to_octets());
            }
        }
        if exchange.context.cookie.is_some()
            && exchange.parsed.tsig.is_none()
            && let Some(bare) = without_option(&out, EdnsOption::COOKIE)
        {
            out = bare;
        }
        let mixed = match mixed_case {
            true => mix_case(qname.as_name()),
            false => qname,
        };
        let mixed = mixed.as_name().octets();
        if let Some(place) = out.get_mut(HEADER_LEN..HEADER_LEN + mixed.len()) {
            place.copy_from_slice(mixed);
        }
    }
    (!out.is_empty()).then(|| out.into())
}

/// The flags that go upstream with the client's octets: what plugins above made of them, or the client's own under a signature.
#[inline]
pub(crate) fn flags(exchange: &Exchange) -> Flags {
    match exchange.parsed.tsig {
        None => exchange.parsed.flags,
        Some(_) => {
            Header::read(exchange.message()).map_or(exchange.parsed.flags, |header| header.flags)
        }
    }
}

/// Writes over the UDP size that the client offers what the reply may have here, where that is less.
#[inline]
pub(crate) fn offer_size(exchange: &mut Exchange) {
    let size = exchange.udp_limit() as u16;
    if let Some(edns) = exchange.parsed.edns
        && edns.udp_size != size
        && exchange.parsed.tsig.is_none()
    {
        edns.write_udp_size(exchange.message_mut(), size);
    }
}

/// Writes back what the client offers.
#[inline]
pub(crate) fn restore_size(exchange: &mut Exchange) {
    if let Some(edns) = exchange.parsed.edns {
        edns.write_udp_size(exchange.message_mut(), edns.udp_size);
    }
}

/// The name with the case of its letters drawn by lot (draft-vixie-dnsext-dns0x20).
fn mix_case(name: Name<'_>) -> NameBuf {
    let mut octets = [0; MAX_NAME];
    let octets = &mut octets[..name.octets().len()];
    octets.copy_from_slice(name.octets());
    let mut random = host::random::rng();
    for octet in &mut *octets {
        // Length octets are below 64 and so are no letters.
        if octet.is_ascii_alphabetic() && random.random::<bool>() {
            *octet ^= 0x20;
        }
    }
    NameBuf::from_name(Name::from_checked(octets))
}

/// What a reply that is no success says of the reason (RFC 8914); the response's OPT record is ours and would not say it.
#[inline]
pub(crate) fn extended_error(octets: &[u8]) -> Option<ExtendedError> {
    let message = Message::new(octets)?;
    if message.flags().rcode() == Rcode::NOERROR {
        return None;
    }
    let rdata = message.opt()?;
    let option =
        EdnsOptions::new(rdata.rdata()).find(|option| option.code == EdnsOption::EXTENDED_ERROR)?;
    let text = option.data.get(2..)?;
    Some(ExtendedError {
        code: wire::read_u16(option.data, 0)?,
        text: String::from_utf8_lossy(&text[..text.len().min(LONGEST_TEXT)])
            .into_owned()
            .into(),
    })
}
