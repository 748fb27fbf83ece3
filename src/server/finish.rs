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
        Some(edns) => with_opt(exchange, edns, limit),
    }
}

/// The same with an OPT record.
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
