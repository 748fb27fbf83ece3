//! Queries as they are sent, and what counts as a reply to one.

use wire::{EdnsOptions, Flags, HEADER_LEN, Header, Message, NameBuf, Rcode, Type};

/// How closely a reply must match its query, beside address, port and ID (RFC 5452, section 9.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Matching {
    /// Any response will do: what probes want to know is whether somebody is there.
    Any,
    /// The question must be the same.
    #[default]
    Question,
    /// The letters of the QNAME must have the same case, too (draft-vixie-dnsext-dns0x20).
    Case,
}

/// A query of one question, class IN.
pub fn question(id: u16, name: &NameBuf, qtype: Type, recursion: bool) -> Vec<u8> {
    let header = Header {
        id,
        flags: Flags(if recursion { Flags::RD } else { 0 }),
        counts: [1, 0, 0, 0],
    };
    let mut out = header.to_octets().to_vec();
    out.extend_from_slice(name.as_name().octets());
    out.extend_from_slice(&qtype.0.to_be_bytes());
    out.extend_from_slice(&1u16.to_be_bytes());
    out
}

/// Whether `reply` is the response to `query`, apart from the ID: QR, opcode, QNAME, QTYPE and QCLASS (RFC 5452, section 9.1). An error
/// may come without the question ([`is_bare_error`]).
#[inline]
pub fn answers(query: &[u8], reply: &[u8], matching: Matching) -> bool {
    let (Some(asked), Some(told)) = (Header::read(query), Header::read(reply)) else {
        return false;
    };
    if !told.flags.has(Flags::QR) || told.flags.opcode() != asked.flags.opcode() {
        return false;
    }
    if told.counts[0] == 0 {
        return is_bare_error(reply) || matching == Matching::Any;
    }
    if matching == Matching::Any {
        return true;
    }
    let Ok(name_end) = wire::skip_name(query, HEADER_LEN) else {
        return false;
    };
    let (Some(name), Some(other)) = (
        query.get(HEADER_LEN..name_end),
        reply.get(HEADER_LEN..name_end),
    ) else {
        return false;
    };
    // Length octets are below the letters, so case is ignored in labels only.
    let same = match matching {
        Matching::Case => name == other,
        _ => name.eq_ignore_ascii_case(other),
    };
    let (rest, other) = (
        query.get(name_end..name_end + 4),
        reply.get(name_end..name_end + 4),
    );
    same && told.counts[0] == 1 && rest.is_some() && rest == other
}

/// Whether a reply is an error without the question: servers that cannot or do not want to read a query answer its header alone, some
/// with an OPT record behind it.
pub fn is_bare_error(reply: &[u8]) -> bool {
    let Some(header) = Header::read(reply) else {
        return false;
    };
    let opt_at_most = match header.counts {
        [0, 0, 0, 0] => reply.len() == HEADER_LEN,
        // The root as its owner, and the type.
        [0, 0, 0, 1] => reply.get(HEADER_LEN..HEADER_LEN + 3) == Some(&[0, 0, 41]),
        _ => false,
    };
    opt_at_most
        && matches!(
            header.flags.rcode(),
            Rcode::FORMERR | Rcode::SERVFAIL | Rcode::NOTIMP | Rcode::REFUSED
        )
}

/// Whether a reply says that its server does not understand EDNS: FORMERR or NOTIMP, and no OPT record (RFC 6891, section 7).
pub fn refuses_edns(reply: &[u8]) -> bool {
    let Some(header) = Header::read(reply) else {
        return false;
    };
    matches!(header.flags.rcode(), Rcode::FORMERR | Rcode::NOTIMP)
        && Message::new(reply).is_none_or(|message| message.opt().is_none())
}

/// Whether a query has an OPT record.
pub(crate) fn has_edns(query: &[u8]) -> bool {
    Message::new(query).is_some_and(|message| message.opt().is_some())
}

/// The query without its OPT record; `None` when it has none, or when more stands behind it: a signature (TSIG) would no longer hold.
pub fn without_edns(query: &[u8]) -> Option<Box<[u8]>> {
    let message = Message::new(query)?;
    let opt = message.opt().filter(|opt| opt.end() == query.len())?;
    let mut out = query.get(..opt.start)?.to_vec();
    let count = message.header().counts[3].checked_sub(1)?;
    out.get_mut(10..12)?.copy_from_slice(&count.to_be_bytes());
    Some(out.into())
}

/// The message without the EDNS options of this code; `None` when it has none.
pub(crate) fn without_option(message: &[u8], code: u16) -> Option<Vec<u8>> {
    let opt = Message::new(message)?.opt()?;
    let options = || EdnsOptions::new(opt.rdata());
    if !options().any(|option| option.code == code) {
        return None;
    }
    let mut rest = Vec::with_capacity(opt.rdata().len());
    for option in options().filter(|option| option.code != code) {
        rest.extend_from_slice(&option.code.to_be_bytes());
        rest.extend_from_slice(&(option.data.len() as u16).to_be_bytes());
        rest.extend_from_slice(option.data);
    }
    let mut out = message.get(..opt.rdata_range.start - 2)?.to_vec();
    out.extend_from_slice(&(rest.len() as u16).to_be_bytes());
    out.extend_from_slice(&rest);
    out.extend_from_slice(message.get(opt.end()..)?);
    Some(out)
}

/// Takes so many seconds off the TTLs of a message.
pub(crate) fn grow_older(message: &mut [u8], seconds: u32) {
    let ttls: Vec<_> = Message::new(message)
        .into_iter()
        .flat_map(|message| message.records())
        .map_while(Result::ok)
        .filter(|record| record.rtype != Type::OPT)
        .map(|record| (record.ttl_at, record.ttl.saturating_sub(seconds)))
        .collect();
    for (at, ttl) in ttls {
        if let Some(place) = message.get_mut(at..at + 4) {
            place.copy_from_slice(&ttl.to_be_bytes());
        }
    }
}

/// Whether two queries ask the same in every respect: all octets but the ID, whatever the case of the QNAME's letters.
pub fn are_alike(one: &[u8], other: &[u8]) -> bool {
    let Ok(end) = wire::skip_name(one, HEADER_LEN) else {
        return false;
    };
    let part = |message: &[u8]| -> Option<([u8; 10], usize)> {
        Some((message.get(2..HEADER_LEN)?.try_into().ok()?, message.len()))
    };
    part(one).is_some()
        && part(one) == part(other)
        && one
            .get(HEADER_LEN..end)
            .zip(other.get(HEADER_LEN..end))
            .is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
        && one.get(end..) == other.get(end..)
}

/// Writes an ID into a message; gives the one that stood there.
#[inline]
pub(crate) fn set_id(message: &mut [u8], id: u16) -> u16 {
    match message.first_chunk_mut::<2>() {
        Some(place) => u16::from_be_bytes(std::mem::replace(place, id.to_be_bytes())),
        None => 0,
    }
}

/// Writes flags into a message; gives those that stood there.
#[inline]
pub(crate) fn set_flags(message: &mut [u8], flags: Flags) -> Flags {
    match message
        .get_mut(2..)
        .and_then(|rest| rest.first_chunk_mut::<2>())
    {
        Some(place) => Flags(u16::from_be_bytes(std::mem::replace(
            place,
            flags.0.to_be_bytes(),
        ))),
        None => flags,
    }
}
