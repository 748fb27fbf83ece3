//! What is sent and what is believed, without sockets.

use chain::Exchange;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wire::{NameBuf, Type};

use crate::message::{self, Matching};
use crate::outstanding::Outstanding;

/// A query for A records: RD, class IN.
fn query(name: &str) -> Vec<u8> {
    let name: NameBuf = name.parse().expect("a name");
    message::question(0x4242, &name, Type::A, true)
}

/// The reply to `query`: one A record 192.0.2.1.
fn reply(query: &[u8]) -> Vec<u8> {
    let end = wire::skip_name(query, 12).expect("a name") + 4;
    let mut out = query[..end].to_vec();
    out[2] |= 0x80;
    out[3] |= 0x80;
    out[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    out.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    out
}

/// An OPT record that offers 1,232 octets.
const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0];

fn with_opt(mut message: Vec<u8>) -> Vec<u8> {
    message[11] += 1;
    message.extend_from_slice(&OPT);
    message
}

#[test]
fn no_reply_makes_it_panic() {
    let mut random = StdRng::seed_from_u64(20_2611);
    let query = with_opt(query("www.example.org."));
    let mut right = reply(&query);
    right[7] = 2;
    right[9] = 1;
    right[11] = 2;
    right.extend_from_slice(&[0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'w', 0xC0, 16]);
    right.extend_from_slice(&[0xC0, 16, 0, 2, 0, 1, 0, 0, 0, 60, 0, 2, 0xC0, 16]);
    right.extend_from_slice(&[0, 0, 41, 0x10, 0, 1, 0, 0x80, 0, 0, 0]);
    right.extend_from_slice(&[0xC0, 46, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16]);
    right.extend_from_slice(&[0x20; 16]);
    let mut exchange = Exchange::datagram();
    exchange.receive_buffer(query.len())[..query.len()].copy_from_slice(&query);
    exchange.set_received(query.len());
    exchange.parse().expect("a query");
    let mut adopted = 0;
    for _ in 0..40_000 {
        let mut octets = right.clone();
        for _ in 0..random.random_range(0..4) {
            let at = random.random_range(0..octets.len());
            octets[at] = match random.random_range(0..3) {
                0 => 0xC0,
                1 => random.random(),
                _ => octets[at].wrapping_add(1),
            };
        }
        if random.random_range(0..4) == 0 {
            octets.truncate(random.random_range(0..=octets.len()));
        }
        for matching in [Matching::Any, Matching::Question, Matching::Case] {
            message::answers(&query, &octets, matching);
            message::answers(&octets, &query, matching);
        }
        message::is_bare_error(&octets);
        message::refuses_edns(&octets);
        message::without_edns(&octets);
        message::are_alike(&octets, &query);
        exchange.begin();
        exchange.response().buffer()[..octets.len()].copy_from_slice(&octets);
        adopted += usize::from(exchange.adopt(octets.len()));
        let mut response = exchange.response();
        response.fit(512);
        response.seal();
        assert_eq!(exchange.reply()[..2], query[..2]);
    }
    assert!(adopted > 1_000, "{adopted}");
}

#[test]
fn what_counts_as_a_reply() {
    let asked = query("Www.Example.org.");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut reply = reply(&asked);
        change(&mut reply);
        reply
    };
    let header = |rcode: u8, rest: &[u8]| {
        let mut out = vec![0x42, 0x42, 0x81, 0x80 | rcode, 0, 0, 0, 0, 0, 0, 0, 0];
        out.extend_from_slice(rest);
        out
    };
    let edns = |rcode| {
        let mut out = header(rcode, &OPT);
        out[11] = 1;
        out
    };
    // (reply, is it one for a probe, for a query, for a query whose case counts)
    let cases = [
        (with(&|_| {}), true, true, true),
        (with(&|m| m[13] ^= 0x20), true, true, false),
        (with(&|m| m[13] = b'x'), true, false, false),
        (with(&|m| m[5] = 2), true, false, false),
        (with(&|m| m[2] &= 0x7F), false, false, false),
        (with(&|m| m[2] |= 0x28), false, false, false),
        // Errors may come without the question, FORMERR to REFUSED; success may not.
        (header(1, &[]), true, true, true),
        (header(2, &[]), true, true, true),
        (header(4, &[]), true, true, true),
        (header(5, &[]), true, true, true),
        (header(0, &[]), true, false, false),
        (header(3, &[]), true, false, false),
        (header(5, &[0]), true, false, false),
        (edns(1), true, true, true),
        (edns(0), true, false, false),
    ];
    for (octets, probe, question, case) in cases {
        let is = [Matching::Any, Matching::Question, Matching::Case]
            .map(|matching| message::answers(&asked, &octets, matching));
        assert_eq!(is, [probe, question, case], "{octets:02x?}");
    }
}

#[test]
fn an_opt_record_can_be_left_out() {
    let plain = query("www.example.org.");
    let edns = with_opt(plain.clone());
    assert_eq!(message::without_edns(&edns).as_deref(), Some(&plain[..]));
    assert_eq!(message::without_edns(&plain), None);
    // A signature behind it would no longer hold.
    let mut signed = edns.clone();
    signed[11] += 1;
    signed.extend_from_slice(&[0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0]);
    assert_eq!(message::without_edns(&signed), None);
    for (rcode, opt, refuses) in [
        (1, false, true),
        (4, false, true),
        (1, true, false),
        (5, false, false),
    ] {
        let mut told = reply(&plain);
        told[3] |= rcode;
        let told = if opt { with_opt(told) } else { told };
        assert_eq!(message::refuses_edns(&told), refuses, "{rcode} {opt}");
    }
}

#[test]
fn queries_are_alike_in_all_but_id_and_case() {
    let one = with_opt(query("www.example.org."));
    let with = |at: usize, octet: u8| {
        let mut other = one.clone();
        other[at] ^= octet;
        other
    };
    assert!(message::are_alike(&one, &with(0, 0xFF)) && message::are_alike(&one, &with(13, 0x20)));
    let end = one.len();
    for at in [2, 3, end - 4, end - 12, end - 14] {
        assert!(!message::are_alike(&one, &with(at, 0x10)), "{at}");
    }
    assert!(!message::are_alike(&one, &query("www.example.org.")));
}

/// A query costs its place in the table.
#[test]
fn an_outstanding_query_is_small() {
    assert!(
        size_of::<Outstanding>() <= 384,
        "{}",
        size_of::<Outstanding>()
    );
}
