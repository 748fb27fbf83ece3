//! One table of questions, and every transport: who asks over TLS, HTTPS, QUIC, gRPC or HTTP/3 gets what UDP and TCP say.
//!
//! What a plugin decides must not hang on how the query came: signatures that were looked at over UDP and TCP only, an `acl` that saw the
//! load balancer, an UPDATE that passed by HTTPS were faults of other servers. Where transports may differ, the table says so.

pub(crate) mod clients;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, TSigner};

use crate::attacks::get;
use crate::rfcs::{Query, Reply, authoritative, edns, probes};
use crate::server::{Upstream, answer, free_port, temporary_directory, wait_until};

use clients::{By, Client, Everywhere, Said};

/// A message as QUIC takes it: with the ID 0.
fn without_id(mut message: Vec<u8>) -> Vec<u8> {
    message[..2].fill(0);
    message
}

fn directory(test: &str) -> PathBuf {
    let dir = temporary_directory(test);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zones/plain.zone");
    std::fs::copy(source, dir.join("plain.zone")).expect("the zone is copied");
    dir
}

/// Fails with all complaints.
fn complain(complaints: &[String]) {
    let count = complaints.len();
    assert!(complaints.is_empty(), "{count}:\n{}", complaints.join("\n"));
}

#[test]
fn the_rfcs_are_kept_over_every_transport() {
    let dir = directory("everywhere-rfcs");
    let served = Everywhere::start(&dir, &[("plain.example", "  file plain.zone")]);
    let mut complaints = Vec::new();
    for (rfc, sentence, text, expected) in
        [authoritative::ZONE, edns::EDNS, &probes::PROBES].concat()
    {
        let query = without_id(Query::read(text).octets());
        let over_tcp = served.ask(By::Tcp, Client::LOCAL, &query, true);
        for by in By::all() {
            if by == By::Quic && text.contains("opt=11:") {
                // TCP-KEEPALIVE is an error of the protocol there (RFC 9250, 5.5.2).
                continue;
            }
            let said = served.ask(by, Client::LOCAL, &query, true);
            let complaint = match said.reply() {
                None => Some(format!("{said:?}")),
                // RFC 8467, 4.1: who pads gets padding, where it hides something.
                Some(octets) if text.contains("opt=12:") && by.is_encrypted() => {
                    let padded = Reply::read(octets.to_vec()).option(12).is_some();
                    (!padded || octets.len() != 468).then(|| format!("{} octets", octets.len()))
                }
                Some(octets) => {
                    let held = Reply::read(octets.to_vec()).check(expected).err();
                    let was_cut = octets[2] & 2 != 0;
                    held.or((said != over_tcp && !was_cut)
                        .then(|| format!("{said:02x?}, and over TCP {over_tcp:02x?}")))
                }
            };
            let row = format!("{by:?}: RFC {rfc}: {sentence}\n    {text} => {expected}");
            complaints.extend(complaint.map(|what| format!("{row}\n    {what}")));
        }
    }
    complain(&complaints);
}

#[test]
fn what_is_malformed_is_so_over_every_transport() {
    let dir = directory("everywhere-malformed");
    let served = Everywhere::start(&dir, &[("plain.example", "  file plain.zone")]);
    let mut complaints = Vec::new();
    for (what, message, rcode) in edns::malformed() {
        let message = without_id(message);
        for by in By::all() {
            let said = served.ask(by, Client::LOCAL, &message, rcode.is_some());
            if said.reply().map(|reply| reply[3] & 0x0F) != rcode {
                complaints.push(format!("{by:?}: {what}: {said:02x?}, not {rcode:?}"));
            }
        }
    }
    complain(&complaints);
}

const SECRET: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0IQ==";

/// How a query is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Signed {
    Not,
    Well,
    /// By another secret.
    Badly,
    /// By a key that the server does not have.
    ByNobody,
    /// An hour ago.
    Late,
    /// By the right key, and an algorithm that it is not for.
    Otherwise,
    /// With the first half of the MAC.
    Truncated,
    /// With 8 octets of the MAC, which are fewer than anybody may send (RFC 8945, 5.2.2.1).
    TooShort,
}

impl Signed {
    fn sign(self, octets: Vec<u8>) -> Vec<u8> {
        if self == Self::Not {
            return octets;
        }
        let name = match self {
            Self::ByNobody => "nobody.example.",
            _ => "key.example.",
        };
        let secret: &[u8] = match self {
            Self::Badly => b"another secret",
            _ => b"secret of the test!",
        };
        let name = Name::from_ascii(name).expect("a name");
        let algorithm = match self {
            Self::Otherwise => TsigAlgorithm::HmacSha512,
            _ => TsigAlgorithm::HmacSha256,
        };
        let signer = TSigner::new(secret.to_vec(), algorithm, name, 300);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("after 1970").as_secs();
        let when = if self == Self::Late { now - 3_600 } else { now };
        let mut message = Message::from_vec(&octets).expect("a message");
        let signed = message.finalize(&signer.expect("a signer"), when);
        signed.expect("signed");
        let octets = message.to_vec().expect("octets");
        match self {
            Self::Truncated => with_mac_of(octets, 16),
            Self::TooShort => with_mac_of(octets, 8),
            _ => octets,
        }
    }
}

/// A signed message of whose MAC so many octets are left.
fn with_mac_of(mut octets: Vec<u8>, len: u16) -> Vec<u8> {
    let message = wire::Message::new(&octets).expect("a header");
    let last = message.records().last().expect("a record");
    let rdata = last.expect("a record that can be read").rdata_range;
    // Behind the algorithm: the time, the fudge, the MAC with its length.
    let at = wire::skip_name(&octets, rdata.start).expect("a name") + 8;
    let mac = wire::read_u16(&octets, at).expect("a length");
    let less = (rdata.len() as u16 - (mac - len)).to_be_bytes();
    octets[rdata.start - 2..rdata.start].copy_from_slice(&less);
    octets[at..at + 2].copy_from_slice(&len.to_be_bytes());
    octets.drain(at + 2 + usize::from(len)..at + 2 + usize::from(mac));
    octets
}

/// The error of a reply's TSIG record (RFC 8945, 4.2), where it has one.
fn tsig_error(reply: &[u8]) -> Option<u16> {
    let message = wire::Message::new(reply)?;
    let record = message.records().last()?.ok()?;
    if record.rtype.0 != 250 {
        return None;
    }
    let algorithm = wire::skip_name(reply, record.rdata_range.start).ok()?;
    let mac = usize::from(wire::read_u16(reply, algorithm + 8)?);
    wire::read_u16(reply, algorithm + 10 + mac + 2)
}

/// Which client asks (127.0.0.N), how it signs, the query, what the reply is (`nothing` is none), and its TSIG error.
type Row = (u8, Signed, &'static str, &'static str, Option<u16>);

const VERDICTS: &[Row] = &[
    (
        1,
        Signed::Not,
        "nowhere.plain.example A",
        "NXDOMAIN|+aa",
        None,
    ),
    (
        1,
        Signed::Not,
        "mail.plain.example A",
        "NOERROR|+aa|an= 2",
        None,
    ),
    (
        1,
        Signed::Well,
        "mail.plain.example A",
        "NOERROR|+aa|an= 2",
        Some(0),
    ),
    // Who asks.
    (
        2,
        Signed::Not,
        "mail.plain.example A edns",
        "REFUSED|an= 0|ede: 15",
        None,
    ),
    (
        2,
        Signed::Well,
        "mail.plain.example A edns",
        "REFUSED|an= 0",
        Some(0),
    ),
    (
        3,
        Signed::Not,
        "mail.plain.example A edns",
        "NOERROR|an= 0|ede: 17",
        None,
    ),
    (4, Signed::Not, "mail.plain.example A edns", "nothing", None),
    (
        5,
        Signed::Not,
        "mail.plain.example A",
        "NOERROR|an= 2",
        None,
    ),
    (
        1,
        Signed::Not,
        "www.viewed.example A",
        "NOERROR|an: 192.0.2.1",
        None,
    ),
    (
        2,
        Signed::Not,
        "www.viewed.example A",
        "NOERROR|an: 192.0.2.2",
        None,
    ),
    (
        1,
        Signed::Not,
        "www.elsewhere.example A edns",
        "REFUSED|ede: 20",
        None,
    ),
    // What has to be signed, and how.
    (1, Signed::Not, "plain.example TXT", "REFUSED|an= 0", None),
    (1, Signed::Well, "plain.example TXT", "NOERROR|+aa", Some(0)),
    (
        1,
        Signed::Badly,
        "plain.example TXT",
        "NOTAUTH|an= 0",
        Some(16),
    ),
    (
        1,
        Signed::ByNobody,
        "plain.example TXT",
        "NOTAUTH|an= 0",
        Some(17),
    ),
    (
        1,
        Signed::Late,
        "plain.example TXT",
        "NOTAUTH|an= 0",
        Some(18),
    ),
    (
        1,
        Signed::Badly,
        "mail.plain.example A",
        "NOTAUTH|an= 0",
        Some(16),
    ),
    (
        1,
        Signed::ByNobody,
        "mail.plain.example A",
        "NOTAUTH|an= 0",
        Some(17),
    ),
    (1, Signed::Not, "plain.example AXFR", "REFUSED|an= 0", None),
    (
        1,
        Signed::Badly,
        "plain.example AXFR",
        "NOTAUTH|an= 0",
        Some(16),
    ),
    (
        2,
        Signed::Well,
        "plain.example AXFR",
        "REFUSED|an= 0",
        Some(0),
    ),
    // Opcodes: NOTIFY to who has no primary, UPDATE to who does not implement it, and what nobody knows.
    (
        1,
        Signed::Not,
        "plain.example SOA op=4",
        "REFUSED|an= 0",
        None,
    ),
    (
        1,
        Signed::Well,
        "plain.example SOA op=4",
        "REFUSED|an= 0",
        Some(0),
    ),
    (
        1,
        Signed::Badly,
        "plain.example SOA op=4",
        "NOTAUTH|an= 0",
        Some(16),
    ),
    (
        1,
        Signed::Not,
        "plain.example SOA op=5",
        "NOTIMP|-aa|an= 0",
        None,
    ),
    (
        1,
        Signed::Well,
        "plain.example SOA op=5",
        "NOTIMP|-aa|an= 0",
        Some(0),
    ),
    (1, Signed::Not, "plain.example A op=1", "NOTIMP|an= 0", None),
    (1, Signed::Not, "plain.example A op=2", "NOTIMP|an= 0", None),
    (1, Signed::Not, "plain.example A op=3", "NOTIMP|an= 0", None),
    (1, Signed::Not, "plain.example A op=6", "NOTIMP|an= 0", None),
    (
        1,
        Signed::Not,
        "plain.example A op=15",
        "NOTIMP|an= 0",
        None,
    ),
    (
        2,
        Signed::Not,
        "plain.example A op=15",
        "NOTIMP|an= 0",
        None,
    ),
    // Classes.
    (
        1,
        Signed::Not,
        "version.bind TXT class=3",
        "NOERROR|an= 1",
        None,
    ),
    (
        1,
        Signed::Not,
        "plain.example A class=255",
        "REFUSED|an= 0",
        None,
    ),
];

/// The server, and where its metrics are.
fn served_by_rules(test: &str) -> (Everywhere, SocketAddr) {
    let (dir, admin) = (directory(test), free_port());
    let guarded = format!(
        "  prometheus 127.0.0.1:{{ADMIN}}\n  log . \"{{remote}} {{proto}} {{name}} {{type}} {{rcode}}\"\n\
         \x20 acl {{\n    block net 127.0.0.2 192.0.2.2\n    filter net 127.0.0.3 192.0.2.3\n    drop net 127.0.0.4 192.0.2.4\n  }}\n\
         \x20 tsig {{\n    secret key.example. {SECRET} hmac-sha256\n    require AXFR IXFR TXT\n    require_opcode NOTIFY\n  }}\n\
         \x20 file plain.zone\n  transfer {{\n    to * key key.example.\n  }}"
    );
    let keys = format!("  tsig {{\n    secret key.example. {SECRET} hmac-sha256\n");
    // Nobody is at home at its primary.
    let held = format!(
        "{keys}    require_opcode NOTIFY\n  }}\n  secondary {{\n    transfer from 127.0.0.1:{} key key.example.\n  }}",
        free_port()
    );
    let changed = format!(
        "{keys}  }}\n  dynupdate {{\n    file changed.zone\n    database changed.database\n    allow key.example. * *\n  }}"
    );
    let soa = "@ 60 SOA ns hostmaster 1 7200 1800 1209600 60\n@ 60 NS ns\nns 60 A 192.0.2.53\n";
    std::fs::write(dir.join("changed.zone"), soa).expect("written");
    let guarded = guarded.replace("{ADMIN}", &admin.to_string());
    let served = Everywhere::start(
        &dir,
        &[
            ("plain.example", &guarded),
            (
                "viewed.example",
                "  view two {\n    expr client_ip() in ['127.0.0.2', '192.0.2.2']\n  }\n  hosts {\n    192.0.2.2 www.viewed.example\n  }",
            ),
            (
                "viewed.example",
                "  hosts {\n    192.0.2.1 www.viewed.example\n  }",
            ),
            ("held.example", &held),
            ("changed.example", &changed),
            ("bind", "  chaos \"of a test\""),
        ],
    );
    (served, SocketAddr::from(([127, 0, 0, 1], admin)))
}

/// What is wrong about what was said.
fn judge(said: &Said, expected: &str, error: Option<u16>) -> Option<String> {
    match (said.reply(), expected) {
        (None, "nothing") => None,
        (Some(octets), clauses) if clauses != "nothing" => {
            let found = tsig_error(octets);
            let reply = Reply::read(octets.to_vec());
            let held = reply.check(clauses).err();
            let held = held.or((found != error).then(|| format!("the TSIG error is {found:?}")));
            held.map(|what| format!("{what}: {reply:?}"))
        }
        _ => Some(format!("{said:?}")),
    }
}

#[test]
fn opcodes_signatures_and_rules_are_judged_alike_over_every_transport() {
    let (served, admin) = served_by_rules("everywhere-verdicts");
    let mut complaints = Vec::new();
    for &(client, signed, text, expected, error) in VERDICTS {
        let query = signed.sign(without_id(Query::read(text).octets()));
        for by in By::all() {
            let said = served.ask(by, Client::at(client), &query, expected != "nothing");
            let row = format!("{by:?}: 127.0.0.{client}, signed {signed:?}: {text} => {expected}");
            complaints
                .extend(judge(&said, expected, error).map(|what| format!("{row}\n    {what}")));
        }
    }
    complain(&complaints);
    for by in By::all() {
        let line = format!("127.0.0.5 {} mail.plain.example. A NOERROR", by.protocol());
        served.server.wait_for_log(&line);
    }
    // Each transport has its own label, and counts what the table has.
    let metrics = get(admin, "/metrics").expect("metrics");
    let asked = |last| {
        let rows = VERDICTS.iter().filter(move |row| row.0 == last);
        rows.filter(|row| row.2.contains("mail.plain.example A edns"))
            .count()
    };
    for by in By::all() {
        let label = format!("{}://127.0.0.1:{}", by.scheme(), served.address(by).port());
        let ways = By::all().filter(|other| other.scheme() == by.scheme());
        let ways = ways.count();
        for (what, last) in [("filtered", 3), ("dropped", 4)] {
            let line = format!(
                "coredns_acl_{what}_requests_total{{server=\"{label}\",zone=\"plain.example.\",view=\"\"}} {}",
                ways * asked(last)
            );
            assert!(metrics.contains(&line), "{line}\n{metrics}");
        }
        let requests = format!("coredns_dns_requests_total{{server=\"{label}\"");
        let protocol = format!("proto=\"{}\"", by.protocol());
        assert!(
            metrics
                .lines()
                .any(|line| line.starts_with(&requests) && line.contains(&protocol)),
            "{label}\n{metrics}"
        );
    }
}

/// A message of a zone's life: what it is, its octets, what it gets when it is signed well, and where; elsewhere it is REFUSED.
type ZoneMessage = (&'static str, Vec<u8>, &'static str, fn(By) -> bool);

fn zone_messages() -> [ZoneMessage; 5] {
    let streams: fn(By) -> bool = |by| matches!(by, By::Tcp | By::Tls | By::Quic);
    let everywhere: fn(By) -> bool = |_| true;
    let octets = |text| without_id(Query::read(text).octets());
    // With the SOA record that the client has in the authority section.
    let mut ixfr = octets("plain.example AXFR");
    let qtype = ixfr.len() - 4;
    ixfr[qtype..qtype + 2].copy_from_slice(&wire::Type::IXFR.0.to_be_bytes());
    ixfr[9] = 1;
    ixfr.extend_from_slice(&[0xC0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
    ixfr.extend_from_slice(&[0; 20]);
    // `add new.changed.example. 60 A 192.0.2.7`
    let mut update = octets("changed.example SOA op=5");
    update[9] = 1;
    update.extend_from_slice(b"\x03new\xC0\x0C\0\x01\0\x01\0\0\0\x3C\0\x04\xC0\0\x02\x07");
    [
        ("AXFR", octets("plain.example AXFR"), "NOERROR|+aa", streams),
        ("IXFR", ixfr, "NOERROR|+aa", |by| {
            matches!(by, By::Udp | By::Tcp | By::Tls | By::Quic)
        }),
        (
            "NOTIFY",
            octets("held.example SOA op=4"),
            "NOERROR|+aa",
            everywhere,
        ),
        ("UPDATE", update, "NOERROR|an= 0", everywhere),
        (
            "a query",
            octets("plain.example TXT"),
            "NOERROR|+aa",
            everywhere,
        ),
    ]
}

/// RFC 8945, section 5.2: what is wrong about a signature does not hang on what is signed, nor on how it came.
#[test]
fn signatures_of_a_zones_messages_are_judged_alike_over_every_transport() {
    let (served, _) = served_by_rules("everywhere-signatures");
    let mut complaints = Vec::new();
    for (what, octets, good, place) in zone_messages() {
        for (signed, expected, error) in [
            (Signed::Not, "REFUSED|an= 0", None),
            (Signed::Badly, "NOTAUTH|an= 0", Some(16)),
            (Signed::ByNobody, "NOTAUTH|an= 0", Some(17)),
            (Signed::Otherwise, "NOTAUTH|an= 0", Some(17)),
            (Signed::Late, "NOTAUTH|an= 0", Some(18)),
            (Signed::Truncated, "NOTAUTH|an= 0", Some(22)),
            (Signed::TooShort, "FORMERR|an= 0", None),
            (Signed::Well, good, Some(0)),
        ] {
            let message = signed.sign(octets.clone());
            for by in By::all() {
                let expected = match signed == Signed::Well && !place(by) {
                    true => "REFUSED|an= 0",
                    false => expected,
                };
                let said = served.ask(by, Client::LOCAL, &message, true);
                let row = format!("{by:?}: {what}, signed {signed:?} => {expected}");
                complaints
                    .extend(judge(&said, expected, error).map(|what| format!("{row}\n    {what}")));
            }
        }
    }
    complain(&complaints);
}

/// A zone goes where a stream carries many messages (RFC 5936, RFC 9103, RFC 9250); a datagram, and a message of HTTP or gRPC, is one.
#[test]
fn zones_are_transferred_where_there_is_a_stream_and_refused_elsewhere() {
    let (served, _) = served_by_rules("everywhere-transfers");
    let mut complaints = Vec::new();
    let query = Signed::Well.sign(without_id(Query::read("plain.example AXFR").octets()));
    for by in By::all() {
        let expected = match by {
            By::Tcp | By::Tls | By::Quic => "NOERROR|+aa|first: plain.example. SOA",
            _ => "REFUSED|-aa|an= 0",
        };
        let said = served.ask(by, Client::LOCAL, &query, true);
        complaints.extend(judge(&said, expected, Some(0)).map(|what| format!("{by:?}: {what}")));
    }
    complain(&complaints);
}

/// Headers of the PROXY protocol, version 2, for this client: for connections and for datagrams.
fn headers(client: [u8; 4]) -> [Vec<u8>; 2] {
    [0x11, 0x12].map(|protocol| {
        let mut out = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
        out.extend_from_slice(&[protocol, 0, 12]);
        out.extend_from_slice(&client);
        out.extend_from_slice(&[198, 51, 100, 1, 0x12, 0x34, 0, 53]);
        out
    })
}

#[test]
fn rules_see_the_client_behind_a_load_balancer_over_every_transport() {
    let dir = directory("everywhere-proxied");
    let proxied = "  proxyproto {\n    allow 127.0.0.0/8\n  }";
    let lines = format!(
        "{proxied}\n  log . \"{{remote}} {{proto}} {{name}} {{rcode}}\"\n  acl {{\n    block net 192.0.2.2\n    filter net 192.0.2.3\n    drop net 192.0.2.4\n  }}\n  file plain.zone"
    );
    let viewed = format!(
        "{proxied}\n  view two {{\n    expr client_ip() == '192.0.2.2'\n  }}\n  hosts {{\n    192.0.2.2 www.viewed.example\n  }}"
    );
    let others = "  hosts {\n    192.0.2.1 www.viewed.example\n  }";
    let served = Everywhere::start(
        &dir,
        &[
            ("plain.example", &lines),
            ("viewed.example", &viewed),
            ("viewed.example", others),
        ],
    );
    let mut complaints = Vec::new();
    for (last, text, expected) in [
        (1, "mail.plain.example A edns", "NOERROR|an= 2"),
        (2, "mail.plain.example A edns", "REFUSED|ede: 15"),
        (3, "mail.plain.example A edns", "NOERROR|an= 0|ede: 17"),
        (4, "mail.plain.example A edns", "nothing"),
        (1, "www.viewed.example A", "NOERROR|an: 192.0.2.1"),
        (2, "www.viewed.example A", "NOERROR|an: 192.0.2.2"),
    ] {
        let [connection, datagram] = headers([192, 0, 2, last]);
        let client = Client {
            headers: [&connection, &datagram],
            ..Client::LOCAL
        };
        let query = without_id(Query::read(text).octets());
        for by in By::all().filter(|by| by.has_headers()) {
            let said = served.ask(by, client, &query, expected != "nothing");
            let row = format!("{by:?}: 192.0.2.{last}: {text} => {expected}");
            complaints
                .extend(judge(&said, expected, None).map(|what| format!("{row}\n    {what}")));
        }
    }
    complain(&complaints);
    let log = served.server.log();
    for by in By::all().filter(|by| by.has_headers()) {
        for (last, rcode) in [(1, "NOERROR"), (2, "REFUSED"), (3, "NOERROR")] {
            let line = format!(
                "192.0.2.{last} {} mail.plain.example. {rcode}",
                by.protocol()
            );
            wait_until(&line, || served.server.log().contains(&line));
        }
    }
    assert!(!log.contains("127.0.0.1 "), "the load balancer: {log}");
}

/// A datagram is cut to what its client takes; nothing else is.
#[test]
fn a_large_answer_is_cut_over_udp_alone() {
    let dir = directory("everywhere-large");
    let addresses: String = (0..250)
        .map(|last| format!("    192.0.2.{last} large.example.org\n"))
        .collect();
    let served = Everywhere::start(
        &dir,
        &[("example.org", &format!("  hosts {{\n{addresses}  }}"))],
    );
    let query = without_id(Query::read("large.example.org A edns").octets());
    for by in By::all() {
        let expected = match by {
            By::Udp => "NOERROR|+tc|len<= 1232",
            _ => "NOERROR|-tc|an= 250",
        };
        let said = served.ask(by, Client::LOCAL, &query, true);
        assert_eq!(judge(&said, expected, None), None, "{by:?}");
    }
}

/// An answer that has to be waited for leaves by the way that its query came, and from the cache as well.
#[test]
fn answers_from_upstreams_and_from_the_cache_come_over_every_transport() {
    let upstream = Upstream::start(|asked| {
        crate::server::Reply::After(
            std::time::Duration::from_millis(20),
            answer(asked.octets, 60, &[[198, 51, 100, 7]]),
        )
    });
    let dir = directory("everywhere-forwarded");
    let lines = format!("  cache\n  forward . {}", upstream.address());
    let served = Everywhere::start(&dir, &[(".", &lines)]);
    for (number, by) in By::all().enumerate() {
        let text = format!("name-{number}.example.org A edns");
        let query = without_id(Query::read(&text).octets());
        for _ in 0..2 {
            let said = served.ask(by, Client::LOCAL, &query, true);
            let wrong = judge(&said, "NOERROR|+ra|an= 1|an: 198.51.100.7|opt", None);
            assert_eq!(wrong, None, "{by:?}");
        }
        assert_eq!(
            upstream.udp_queries() + upstream.tcp_queries(),
            number + 1,
            "{by:?}: the second is the cache's"
        );
    }
}
