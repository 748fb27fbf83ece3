//! Queries that go upstream in other octets than they came in, and the responses to them.

use std::rc::Rc;

use chain::{Exchange, Query};
use hickory_proto::op::Message as Decoded;
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use rand::RngExt;
use wire::{Class, Edns, Flags, HEADER_LEN, Header, Name, NameBuf, Rcode, Section, Type};

/// The query as a plugin above rewrote it: its header, that question, its OPT record.
pub(super) fn compose(query: &Query<'_>) -> Rc<[u8]> {
    let opt = query.edns().and_then(|edns| {
        // An OPT record's fixed part has eleven octets (RFC 6891, 6.1.2).
        let start = (edns.options_start as usize).checked_sub(11)?;
        query.message().get(start..edns.options_end as usize)
    });
    let header = Header {
        id: 0,
        flags: query.flags(),
        counts: [1, 0, 0, u16::from(opt.is_some())],
    };
    let mut out = header.to_octets().to_vec();
    out.extend_from_slice(query.name().octets());
    out.extend_from_slice(&query.qtype().0.to_be_bytes());
    out.extend_from_slice(&query.qclass().0.to_be_bytes());
    out.extend_from_slice(opt.unwrap_or_default());
    out.into()
}

/// The query with the UDP size that a plugin above has lowered; `None` when it stands as it came.
pub(super) fn lower_size(message: &[u8], edns: &Edns, rewritten: bool) -> Option<Rc<[u8]>> {
    // The OPT record's CLASS is its fourth octet and the next, eight before its options; a composed query ends with the record.
    let options = match rewritten {
        false => edns.options_start as usize,
        true => message
            .len()
            .checked_sub((edns.options_end - edns.options_start) as usize)?,
    };
    let at = options.checked_sub(8)?;
    if wire::read_u16(message, at)? == edns.udp_size {
        return None;
    }
    let mut out = message.to_vec();
    out.get_mut(at..at + 2)?
        .copy_from_slice(&edns.udp_size.to_be_bytes());
    Some(out.into())
}

/// The query with the case of its QNAME's letters drawn by lot (draft-vixie-dnsext-dns0x20).
pub(super) fn mix_case(message: &[u8]) -> Rc<[u8]> {
    let mut out = message.to_vec();
    let end = wire::skip_name(&out, HEADER_LEN).unwrap_or(HEADER_LEN);
    let mut random = rand::rng();
    for octet in out.get_mut(HEADER_LEN..end).unwrap_or_default() {
        // Length octets are below 64 and so are no letters.
        if octet.is_ascii_alphabetic() && random.random::<bool>() {
            *octet ^= 0x20;
        }
    }
    out.into()
}

/// Makes the received octets the response; `false` when they are no message.
pub(super) fn adopt(exchange: &mut Exchange, len: usize, rewritten: bool) -> bool {
    if rewritten {
        return adopt_rewritten(exchange, len).is_some();
    }
    exchange.adopt(len)
}

/// Composes the response to the question that was asked from a reply to the rewritten one: names are written anew, since pointers
/// into the question would no longer mean what they did. Cold, and by way of hickory.
fn adopt_rewritten(exchange: &mut Exchange, len: usize) -> Option<()> {
    let mut response = exchange.response();
    let octets = response.buffer().get(..len)?.to_vec();
    exchange.begin();
    let header = Header::read(&octets)?;
    let decoded = Decoded::from_vec(&octets).ok()?;
    let mut response = exchange.response();
    response.set_flag(0x87F0, false);
    response.set_flag(header.flags.0 & 0x87F0 | Flags::QR, true);
    let rcode = wire::Message::new(&octets).map_or(Rcode::SERVFAIL, |message| message.rcode());
    response.set_rcode(rcode);
    let sections = [
        (Section::Answer, &decoded.answers),
        (Section::Authority, &decoded.authorities),
        (Section::Additional, &decoded.additionals),
    ];
    for (section, records) in sections {
        for record in records {
            let (owner, rdata) = encode(record)?;
            let fixed = (
                Type(record.record_type().into()),
                Class(record.dns_class.into()),
                record.ttl,
            );
            // A response that is full is marked truncated by this.
            if response
                .push(section, owner.as_name(), fixed, &rdata)
                .is_err()
            {
                return Some(());
            }
        }
    }
    Some(())
}

/// A record's owner and RDATA without compression.
fn encode(record: &Record) -> Option<(NameBuf, Vec<u8>)> {
    let mut owner = Vec::new();
    record.name.emit(&mut plain(&mut owner)).ok()?;
    let mut rdata = Vec::new();
    record.data.emit(&mut plain(&mut rdata)).ok()?;
    Some((NameBuf::from_name(Name::new(&owner).ok()?), rdata))
}

fn plain(out: &mut Vec<u8>) -> BinEncoder<'_> {
    let mut encoder = BinEncoder::new(out);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    encoder
}
