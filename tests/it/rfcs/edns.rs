//! EDNS(0) and what a header must look like: RFC 3225, 5001, 6891, 7828, 7830, 7871, 7873, 8914, 9619.

use std::time::Duration;

use super::{Query, Row, ask, run, start};
use crate::server::{Server, ask_tcp, ask_udp, temporary_directory};

/// What OPT records get from the zone that `start` serves.
pub(crate) const EDNS: &[Row] = &[
    (
        "6891, 7",
        "no OPT in the query, none in the response",
        "mail.plain.example A",
        "NOERROR|-opt",
    ),
    (
        "6891, 6.1.1",
        "OPT in the query, one in the response",
        "mail.plain.example A edns",
        "NOERROR|opt|ar= 0",
    ),
    (
        "6891, 6.1.1",
        "in errors too",
        "www.elsewhere.test A edns",
        "REFUSED|opt",
    ),
    (
        "6891, 6.1.1",
        "in negative answers too",
        "nowhere.plain.example A edns",
        "NXDOMAIN|opt",
    ),
    (
        "6891, 6.1.1",
        "in referrals too",
        "x.sub.plain.example A edns",
        "NOERROR|opt",
    ),
    (
        "6891, 6.1.2",
        "an unknown option is ignored",
        "mail.plain.example A edns opt=4711:0102",
        "NOERROR|opt! 4711",
    ),
    (
        "6891, 6.1.3",
        "a version above ours is BADVERS, with nothing else",
        "mail.plain.example A v=1",
        "BADVERS|an= 0|opt",
    ),
    (
        "6891, 6.1.3",
        "version 255 too, and over TCP",
        "mail.plain.example A v=255 tcp",
        "BADVERS|an= 0|opt",
    ),
    (
        "6891, 6.1.3",
        "before the zone is looked for",
        "www.elsewhere.test A v=1",
        "BADVERS|opt",
    ),
    (
        "7828, 3.2.1",
        "tcp-keepalive is not for UDP",
        "mail.plain.example A edns opt=11:",
        "NOERROR|opt! 11",
    ),
    (
        "7830, 4",
        "no padding without encryption",
        "mail.plain.example A edns opt=12:0000",
        "NOERROR|opt! 12",
    ),
    (
        "7871, 7.2.1",
        "a server without tailored answers sends no ECS",
        "mail.plain.example A edns opt=8:0001180000c00002",
        "NOERROR|opt! 8",
    ),
    (
        "7873, 5.2.1",
        "a server without cookies ignores them",
        "mail.plain.example A edns opt=10:0102030405060708",
        "NOERROR|opt! 10",
    ),
    (
        "5001, 2.1",
        "NSID is optional and not sent unasked",
        "mail.plain.example A edns",
        "opt! 3",
    ),
    (
        "8914, 4.21",
        "REFUSED says: not authoritative",
        "www.elsewhere.test A edns",
        "REFUSED|ede: 20",
    ),
    (
        "8914, 3",
        "and only to who has EDNS",
        "www.elsewhere.test A",
        "REFUSED|-opt",
    ),
    (
        "6891, 6.2.6",
        "65,535 as a size is no licence to send it",
        "plain.example MX size=65535",
        "NOERROR|-tc|opt",
    ),
];

#[test]
fn edns_is_answered_in_kind() {
    let server = start("edns", &[], "");
    run(server.address(), EDNS);
    // 6891, 6.2.4: the size in a response is the responder's own; 9715, 3.2: no more than a path carries whole.
    for size in [0, 512, 1_232, 4_096, 65_535] {
        let query = format!("mail.plain.example A size={size}");
        let opt = ask(server.address(), &query).and_then(|reply| reply.opt);
        assert_eq!(opt.map(|opt| opt.size), Some(1_232), "{query}");
    }
    for (query, flags) in [
        ("mail.plain.example A do", 0x8000),
        ("mail.plain.example A edns", 0),
    ] {
        // 3225, 3: "The DO bit of the query MUST be copied in the response."
        let opt = ask(server.address(), query).and_then(|reply| reply.opt);
        assert_eq!(opt.map(|opt| opt.flags), Some(flags), "{query}");
    }
}

/// Messages that are no queries, and the RCODE of the response; none gets silence.
pub(crate) fn malformed() -> Vec<(&'static str, Vec<u8>, Option<u8>)> {
    let good = Query::read("mail.plain.example A").octets();
    let with_opt = Query::read("mail.plain.example A edns").octets();
    let patch = |base: &[u8], at: usize, octets: &[u8]| {
        let mut out = base.to_vec();
        out[at..at + octets.len()].copy_from_slice(octets);
        out
    };
    let opt = &with_opt[good.len()..];
    let two_opts = patch(&[&with_opt[..], opt].concat(), 10, &[0, 2]);
    let named_opt = patch(&[&good[..], &[1, b'a'], opt].concat(), 10, &[0, 1]);
    let opt_as_answer = patch(&with_opt, 6, &[0, 1, 0, 0, 0, 0]);
    let mut option_past_end = Query::read("mail.plain.example A edns opt=100:0102").octets();
    let len = option_past_end.len();
    option_past_end[len - 3] = 3;
    vec![
        (
            "5452, 9; 1035, 4.1.1: a response is never answered",
            patch(&good, 2, &[0x80]),
            None,
        ),
        ("1035, 4.1.1: less than a header", good[..11].to_vec(), None),
        (
            "1035, 4.1.1: a header alone",
            vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            Some(1),
        ),
        (
            "9619, 4: QDCOUNT of 2",
            patch(&[&good[..], &good[12..]].concat(), 4, &[0, 2]),
            Some(1),
        ),
        (
            "9619, 4: QDCOUNT of 0",
            patch(&good[..12], 4, &[0, 0]),
            Some(1),
        ),
        (
            "1035, 4.1.2: the question ends early",
            good[..good.len() - 1].to_vec(),
            Some(1),
        ),
        (
            "1035, 4.1.4: a pointer to itself",
            [&good[..12], &[0xC0, 12, 0, 1, 0, 1]].concat(),
            Some(1),
        ),
        (
            "1035, 4.1.4: a pointer forward",
            [&good[..12], &[0xC0, 40, 0, 1, 0, 1]].concat(),
            Some(1),
        ),
        (
            "6891, 5: label type 01",
            [&good[..12], &[0x41, 1, 0, 0, 1, 0, 1]].concat(),
            Some(1),
        ),
        ("6891, 6.1.1: two OPTs", two_opts, Some(1)),
        (
            "6891, 6.1.2: OPT's name must be the root",
            named_opt,
            Some(1),
        ),
        (
            "6891, 6.1.1: OPT in the answer section",
            opt_as_answer,
            Some(1),
        ),
        (
            "6891, 6.1.2: an option past the end",
            option_past_end,
            Some(1),
        ),
        ("2136, 3.1: UPDATE", patch(&good, 2, &[0x28]), Some(4)),
        ("8490: DSO", patch(&good, 2, &[0x30]), Some(4)),
        ("3425: IQUERY", patch(&good, 2, &[0x08]), Some(4)),
        ("1035, 4.1.1: STATUS", patch(&good, 2, &[0x10]), Some(4)),
    ]
}

#[test]
fn malformed_messages_get_formerr_or_silence() {
    let server = start("malformed", &[], "");
    for (what, query, rcode) in malformed() {
        let patience = Duration::from_millis(if rcode.is_some() { 2_000 } else { 200 });
        let replies = [
            ask_udp(server.address(), &query, patience),
            ask_tcp(server.address(), &query, patience),
        ];
        for (reply, transport) in replies.iter().zip(["UDP", "TCP"]) {
            assert_eq!(
                reply.as_ref().map(|reply| reply[3] & 0x0F),
                rcode,
                "{what}, {transport}"
            );
            if let Some(reply) = reply {
                assert_eq!(reply[..2], query[..2], "{what}: the ID");
                assert_eq!(
                    (reply[2] & 0x80, &reply[6..10]),
                    (0x80, &[0; 4][..]),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn every_type_and_class_gets_an_answer() {
    // 8906, 3.1.2; 3597, 3: no QTYPE and no QCLASS is dropped. A name of each kind, every 7th type, all meta types.
    let server = start("types", &[], "");
    let types = (0..=u16::MAX)
        .step_by(97)
        .chain(0..300)
        .chain(32_760..32_780)
        .chain(65_270..=u16::MAX);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server.address()).expect("connect");
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .expect("a timeout");
    let base = Query::read("any.wild.plain.example A edns").octets();
    let end = base.len() - 11;
    for qtype in types {
        for class in [1u16, 0, 3, 4, 254, 255, 4711] {
            let mut query = base.clone();
            query[end - 4..end - 2].copy_from_slice(&qtype.to_be_bytes());
            query[end - 2..end].copy_from_slice(&class.to_be_bytes());
            socket.send(&query).expect("sent");
            let mut reply = [0; 4_096];
            let len = socket
                .recv(&mut reply)
                .unwrap_or_else(|error| panic!("TYPE{qtype} CLASS{class}: {error}"));
            let rcode = reply[3] & 0x0F;
            assert!(len > 12 && reply[2] & 0x80 != 0, "TYPE{qtype} CLASS{class}");
            assert!(
                if class == 1 {
                    matches!(rcode, 0 | 1 | 4 | 5)
                } else {
                    rcode == 5 || qtype == 41
                },
                "TYPE{qtype} CLASS{class}: {rcode}"
            );
        }
    }
}

#[test]
fn rfc_8914_a_forwarder_says_what_went_wrong() {
    let server = Server::start_in(
        &temporary_directory("rfc8914"),
        ".:{PORT} {\n  bind 127.0.0.1\n  forward . 127.0.0.1:9\n}\n",
    );
    // 4.23 and 4.24: 22 no reachable authority, 23 network error.
    let reply = ask(server.address(), "www.example.org A edns").expect("an answer");
    assert!(
        reply.check("SERVFAIL|an= 0|ede: 22").is_ok()
            || reply.check("SERVFAIL|an= 0|ede: 23").is_ok(),
        "{reply:?} {:?}",
        reply.option(15)
    );
}
