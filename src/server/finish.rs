//! The last step of every response: OPT, size, header, and TSIG where the query was signed.
//!
//! A response without OPT costs a comparison and twelve octets. OPT is written when the query had one: the UDP size that we
//! take (RFC 6891, 6.2.4: not what the client said), DO, CO where a plugin understood it (RFC 9824), the client's local options (65001
//! to 65534), cookies, NSID and an extended error (RFC 8914) where a plugin set them; or the options of an OPT record that a plugin made
//! of its own. A query over TLS that is padded gets
//! a padded response (RFC 7830, RFC 8467). COOKIE, TCP-KEEPALIVE and EXPIRE of the query are not echoed, as CoreDNS does: an echo claims
//! what we do not do (RFC 7873, 5.2; RFC 7828, 3.3), and BIND, Knot, NSD and PowerDNS do not either.

use chain::{Encryption, Exchange, tsig};
use wire::{Edns, EdnsOption, Flags, Rcode};

/// What a response over a stream has at most.
const STREAM_LIMIT: usize = 65_535;
/// Options that are written at most.
const OPTIONS: usize = 16;
/// A padded response is a multiple of so many octets (RFC 8467, section 4.1).
const PADDED: usize = 468;
/// Octets of an extended error's text at most; a longer one is cut.
const TEXT_LIMIT: usize = 128;
/// The OPT record without options.
const OPT_LEN: usize = 11;

/// Makes the response ready to be sent.
#[inline]
pub(crate) fn finish(exchange: &mut Exchange) {
    exchange.restore();
    let datagram = exchange.context.transport.is_datagram();
    let limit = if datagram {
        exchange.udp_limit()
    } else {
        STREAM_LIMIT
    };
    if exchange.context.is_signed() {
        return sign(exchange, limit);
    }
    write(exchange, limit);
}

/// Writes the response with a TSIG record behind all others (RFC 8945, section 5.1), which has its room first: what does not fit beside
/// it is truncated (section 5.3).
#[cold]
fn sign(exchange: &mut Exchange, limit: usize) {
    let Some(mut signer) = exchange.context.take_signer() else {
        return;
    };
    write(exchange, limit.saturating_sub(signer.room()));
    signer.sign(&mut exchange.response(), tsig::now());
    // More messages may follow.
    exchange.context.set_signer(signer);
}

/// Writes OPT and header of a response of `limit` octets at most.
#[inline(always)]
fn write(exchange: &mut Exchange, limit: usize) {
    let size = exchange.context.udp_size();
    match exchange.parsed.edns {
        None if exchange.context.has_reply_opt() => with_opt(exchange, None, limit),
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
            response.fit(limit.saturating_sub(OPT_LEN));
            if response.push_opt(size, edns.flags & Edns::DO, &[]).is_ok() {
                response.seal();
            } else {
                with_opt(exchange, Some(edns), limit);
            }
        }
        Some(edns) => with_opt(exchange, Some(edns), limit),
    }
}

/// Whether the OPT record has no options, as nearly all have none.
#[inline]
fn is_plain(exchange: &Exchange, edns: Edns) -> bool {
    edns.options_start == edns.options_end
        && exchange.context.nsid.is_none()
        && exchange.context.extended.is_none()
        && exchange.context.cookie.is_none()
        && !exchange.context.compact
        && !exchange.context.has_reply_opt()
}

/// The same with an OPT record that may have options: those of the record that a plugin made of its own, or the client's local ones.
#[inline(never)]
fn with_opt(exchange: &mut Exchange, edns: Option<Edns>, limit: usize) {
    let own = exchange.context.take_reply_opt();
    let kept = match exchange.context.compact {
        true => Edns::DO | Edns::CO,
        false => Edns::DO,
    };
    let flags = edns.map_or(0, |edns| edns.flags & kept);
    let nsid = exchange.context.nsid.take();
    let extended = exchange.context.extended.take();
    let cookie = exchange.context.cookie.take();
    let size = exchange.context.udp_size();
    let encrypted = exchange.context.encryption != Encryption::None;
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
    if let Some(cookie) = &cookie {
        put(EdnsOption::COOKIE, cookie);
    }
    if let Some(nsid) = nsid.as_deref() {
        put(EdnsOption::NSID, nsid);
    }
    let mut pads = false;
    if let Some(own) = &own {
        for option in own.options() {
            let ours = match option.code {
                EdnsOption::NSID => nsid.is_some(),
                EdnsOption::COOKIE => cookie.is_some(),
                _ => false,
            };
            if !ours {
                put(option.code, option.data);
            }
        }
    } else if let Some(edns) = edns.filter(|edns| edns.options_start < edns.options_end) {
        for option in edns.options(message) {
            if EdnsOption::LOCAL.contains(&option.code) {
                put(option.code, option.data);
            }
            pads |= option.code == EdnsOption::PADDING && encrypted;
        }
    }
    if pads {
        // Its header; how long it is shows when all else is there.
        len += 4;
    }
    response.fit(limit.saturating_sub(len));
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
            len += 4 + 2 + cut;
        }
    }
    let zeros = [0; PADDED];
    if let (true, Some(place)) = (pads, options.get_mut(count)) {
        let whole = response.len() + len;
        let padded = whole.next_multiple_of(PADDED).min(limit);
        *place = (EdnsOption::PADDING, &zeros[..padded.saturating_sub(whole)]);
        count += 1;
    }
    let written = response.push_opt(size, flags, &options[..count]);
    if written.is_err() {
        // Only a response that fills its whole buffer gets here: the records go, so that OPT has room.
        response.clear_records();
        response.set_flag(Flags::TC, true);
        let _ = response.push_opt(size, flags, &options[..count]);
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
        let bad = opt(4_096, 0x0001_8000, &[]);
        let reply = reply(&query(0, "www.example.org.", 1, 1, &bad), &["."]).expect("an answer");
        let message = Message::new(&reply).expect("a message");
        assert_eq!(message.rcode(), Rcode::BADVERS);
        let record = message.opt().expect("an OPT record");
        assert_eq!(
            (record.class.0, record.ttl & 0x00FF_FFFF),
            (1_232, 0x8000),
            "our size, version 0, DO kept"
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
    fn responses_fit_their_client() {
        let edns = |size| query(0, "www.example.org.", 1, 1, &opt(size, 0, &[]));
        let without = query(0, "www.example.org.", 1, 0, &[]);
        for (octets, transport, set, limit, cut) in [
            (&without, Transport::Udp, None, 512, true),
            (&edns(100), Transport::Udp, None, 512, true),
            (&edns(1_232), Transport::Udp, None, 1_232, true),
            (&edns(4_096), Transport::Udp, None, 1_232, true),
            (&edns(65_535), Transport::Udp, None, 1_232, true),
            // What a plugin says raises the limit and lowers it, within what a client takes and a buffer has.
            (&edns(65_535), Transport::Udp, Some(4_096), 4_096, true),
            (&edns(65_535), Transport::Udp, Some(65_535), 4_096, true),
            (&edns(1_400), Transport::Udp, Some(4_096), 1_400, true),
            (&edns(4_096), Transport::Udp, Some(700), 700, true),
            (&edns(4_096), Transport::Udp, Some(0), 512, true),
            (&without, Transport::Udp, Some(4_096), 512, true),
            (&without, Transport::Tcp, None, 65_535, false),
            (&edns(512), Transport::Tcp, None, 65_535, false),
        ] {
            let mut exchange = chain::Exchange::stream();
            exchange.receive_buffer(octets.len())[..octets.len()].copy_from_slice(octets);
            exchange.set_received(octets.len());
            exchange.parse().expect("a query");
            exchange.context.transport = transport;
            let block = block(".", vec![]);
            if let Some(size) = set {
                exchange.views(&block).0.set_udp_size(size);
            }
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
            if let Some(opt) = message.opt() {
                let offered = set.map_or(1_232, |size| size.clamp(512, 4_096));
                assert_eq!(
                    opt.class.0, offered,
                    "what we take, not what the client said"
                );
            }
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
