//! The last step of every response: OPT, size, header.
//!
//! A response without OPT costs a comparison and twelve octets. OPT is written when the query had one: the asker's UDP size and DO,
//! its local options (65001 to 65534), NSID and an extended error (RFC 8914) where a plugin set them. COOKIE, TCP-KEEPALIVE, PADDING
//! and EXPIRE of the query are not echoed, as CoreDNS does: an echo claims what we do not do (RFC 7873, 5.2; RFC 7828, 3.3;
//! RFC 7830, 4), and BIND, Knot, NSD and PowerDNS do not either.

use chain::Exchange;
use wire::{Edns, EdnsOption, Flags, Rcode};

/// What a response over UDP has at most, whatever the asker takes.
const DATAGRAM_LIMIT: usize = 4_096;
/// What a response over a stream has at most.
const STREAM_LIMIT: usize = 65_535;
/// Options that are written at most.
const OPTIONS: usize = 16;
/// Octets of an extended error's text at most; a longer one is cut.
const TEXT_LIMIT: usize = 128;
/// The OPT record without options.
const OPT_LEN: usize = 11;

/// Makes the response ready to be sent.
#[inline]
pub(crate) fn finish(exchange: &mut Exchange) {
    let datagram = exchange.context.transport.is_datagram();
    let limit = if datagram {
        exchange.parsed.udp_limit().min(DATAGRAM_LIMIT)
    } else {
        STREAM_LIMIT
    };
    match exchange.parsed.edns {
        None => {
            let mut response = exchange.response();
            if response.rcode().0 > 15 {
                // The high bits have no place without OPT (RFC 6891, 6.1.3).
                response.set_rcode(Rcode::SERVFAIL);
            }
            response.fit(limit);
            response.seal();
        }
        Some(edns) if is_plain(exchange, edns) => {
            let mut response = exchange.response();
            response.fit(limit - OPT_LEN);
            if response
                .push_opt(edns.udp_size, edns.flags & Edns::DO, &[])
                .is_ok()
            {
                response.seal();
            } else {
                with_opt(exchange, edns, limit);
            }
        }
        Some(edns) => with_opt(exchange, edns, limit),
    }
}

/// Whether the OPT record has no options, as nearly all have none.
#[inline]
fn is_plain(exchange: &Exchange, edns: Edns) -> bool {
    edns.options_start == edns.options_end
        && exchange.context.nsid.is_none()
        && exchange.context.extended.is_none()
}

/// The same with an OPT record that may have options.
#[inline(never)]
fn with_opt(exchange: &mut Exchange, edns: Edns, limit: usize) {
    let nsid = exchange.context.nsid.take();
    let extended = exchange.context.extended.take();
    let (message, _, mut response) = exchange.parts();
    let mut options: [(u16, &[u8]); OPTIONS] = [(0, &[]); OPTIONS];
    let (mut count, mut len) = (0, OPT_LEN);
    let smallest = response.question_end();
    let mut put = |code: u16, data| {
        let room = smallest + len + 4 + <[u8]>::len(data) <= limit;
        if let (true, Some(place)) = (room, options.get_mut(count)) {
            *place = (code, data);
            count += 1;
            len += 4 + data.len();
        }
    };
    if let Some(nsid) = nsid.as_deref() {
        put(EdnsOption::NSID, nsid);
    }
    if edns.options_start < edns.options_end {
        for option in edns.options(message) {
            if (65_001..=65_534).contains(&option.code) {
                put(option.code, option.data);
            }
        }
    }
    response.fit(limit - len);
    let mut text = [0; 2 + TEXT_LIMIT];
    if let (Some(extended), Some(place)) = (&extended, options.get_mut(count)) {
        let room = limit.saturating_sub(response.len() + len + 4);
        let cut = extended.text.floor_char_boundary(TEXT_LIMIT);
        // An extended error never costs a record (RFC 8914, 3).
        let cut = if cut + 2 <= room { cut } else { 0 };
        if room >= 2 {
            text[..2].copy_from_slice(&extended.code.to_be_bytes());
            text[2..2 + cut].copy_from_slice(&extended.text.as_bytes()[..cut]);
            *place = (EdnsOption::EXTENDED_ERROR, &text[..2 + cut]);
            count += 1;
        }
    }
    let written = response.push_opt(edns.udp_size, edns.flags & Edns::DO, &options[..count]);
    if written.is_err() {
        // Only a response that fills its whole buffer gets here: the records go, so that OPT has room.
        response.clear_records();
        response.set_flag(Flags::TC, true);
        let _ = response.push_opt(edns.udp_size, edns.flags & Edns::DO, &options[..count]);
    }
    response.seal();
}

#[cfg(test)]
mod tests {
    use chain::{ExtendedError, Transport};
    use wire::{EdnsOptions, Message, Section, Type};

    use super::*;
    use crate::answer::{Verdict, answer};
    use crate::route::Table;
    use crate::testing::{block, opt, query, received};

    /// What a table without a plugin answers to `octets`.
    fn reply(octets: &[u8], zones: &[&str]) -> Option<Vec<u8>> {
        let blocks = zones.iter().map(|zone| block(zone, vec![])).collect();
        let table = Table::new(blocks, chain::setup::StreamLimits::default());
        let mut exchange = received(octets);
        match answer(&mut exchange, &table) {
            Verdict::Respond => {
                finish(&mut exchange);
                Some(exchange.reply().to_vec())
            }
            _ => None,
        }
    }

    #[test]
    fn queries_that_are_not_looked_up() {
        let plain = query(0x0100, "www.example.org.", 1, 0, &[]);
        let mut response = plain.clone();
        response[2] |= 0x80;
        let mut two = plain.clone();
        two[5] = 2;
        let mut chaos = plain.clone();
        let last = chaos.len() - 1;
        chaos[last] = 3;
        // STATUS with AA, RD, RA, AD and CD: none comes back (genreport's opcodeflg).
        let status = query(0x1000 | 0x05B0, "www.example.org.", 1, 0, &[]);
        for (name, octets, expected) in [
            ("no block", plain.clone(), Some((0x8105, 1))),
            ("a response", response, None),
            ("a short header", plain[..11].to_vec(), None),
            ("two questions", two, Some((0x8101, 0))),
            ("a cut question", plain[..20].to_vec(), Some((0x8101, 0))),
            ("class CH", chaos, Some((0x8105, 1))),
            ("STATUS", status, Some((0x9004, 0))),
        ] {
            let reply = reply(&octets, &["example.net."]);
            let found = reply.as_deref().map(|reply| {
                let message = Message::new(reply).expect("a header");
                assert_eq!(message.header().id, 0x1234, "{name}");
                (
                    u16::from_be_bytes([reply[2], reply[3]]),
                    message.header().counts[0],
                )
            });
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn opt_is_written_when_it_was_sent() {
        let bad = opt(1_232, 0x0001_8000, &[]);
        let reply = reply(&query(0, "www.example.org.", 1, 1, &bad), &["."]).expect("an answer");
        let message = Message::new(&reply).expect("a message");
        assert_eq!(message.rcode(), Rcode::BADVERS);
        let record = message.opt().expect("an OPT record");
        assert_eq!(
            (record.class.0, record.ttl & 0x00FF_FFFF),
            (1_232, 0x8000),
            "version 0, DO kept"
        );
    }

    #[test]
    fn only_local_options_are_echoed() {
        let sent: &[(u16, &[u8])] = &[
            (10, b"12345678"),
            (12, &[0; 4]),
            (11, &[]),
            (9, &[]),
            (65_001, b"ours"),
            (3, &[]),
            (65_535, b"x"),
            (65_534, b""),
        ];
        let mut exchange = received(&query(0, "www.example.org.", 1, 1, &opt(4_096, 0, sent)));
        exchange.parse().expect("a query");
        exchange.context.nsid = Some((*b"ns1").into());
        exchange.context.extended = Some(ExtendedError::new(15, "blocked"));
        finish(&mut exchange);
        let message = Message::new(exchange.reply()).expect("a message");
        let record = message.opt().expect("an OPT record");
        let found: Vec<_> = EdnsOptions::new(record.rdata())
            .map(|option| (option.code, option.data))
            .collect();
        let expected: &[(u16, &[u8])] = &[
            (3, b"ns1"),
            (65_001, b"ours"),
            (65_534, b""),
            (15, b"\0\x0fblocked"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn responses_fit_their_asker() {
        let edns = |size| query(0, "www.example.org.", 1, 1, &opt(size, 0, &[]));
        let without = query(0, "www.example.org.", 1, 0, &[]);
        for (octets, transport, limit, cut) in [
            (&without, Transport::Udp, 512, true),
            (&edns(100), Transport::Udp, 512, true),
            (&edns(1_232), Transport::Udp, 1_232, true),
            (&edns(65_535), Transport::Udp, 4_096, true),
            (&without, Transport::Tcp, 65_535, false),
            (&edns(512), Transport::Tcp, 65_535, false),
        ] {
            let mut exchange = chain::Exchange::stream();
            exchange.receive_buffer(octets.len())[..octets.len()].copy_from_slice(octets);
            exchange.set_received(octets.len());
            exchange.parse().expect("a query");
            exchange.context.transport = transport;
            exchange.context.extended = Some(ExtendedError::new(0, "a text that takes room"));
            let mut response = exchange.response();
            for i in 0..400u16 {
                let [high, low] = i.to_be_bytes();
                let record = [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, high, low];
                response
                    .push_octets(Section::Answer, &record, 1)
                    .expect("room");
            }
            finish(&mut exchange);
            let reply = exchange.reply();
            let message = Message::new(reply).expect("a message");
            assert!(
                reply.len() <= limit && reply.len() + 60 > limit.min(400 * 16),
                "{}",
                reply.len()
            );
            assert_eq!(message.flags().has(Flags::TC), cut);
            assert!(message.records().all(|record| record.is_ok()));
            assert_eq!(message.opt().is_some(), exchange.parsed.edns.is_some());
        }
    }

    #[test]
    fn a_wide_rcode_without_opt_is_servfail() {
        let mut exchange = received(&query(0, "www.example.org.", Type::A.0, 0, &[]));
        exchange.parse().expect("a query");
        exchange.response().set_rcode(Rcode::BADCOOKIE);
        finish(&mut exchange);
        assert_eq!(exchange.reply()[3] & 0xF, 2);
    }
}
