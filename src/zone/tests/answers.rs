//! What is answered: RCODE, AA and every record of every section.

use wire::{Rcode, Section, Type};

use super::{ask, count, show, zone};
use crate::Outcome;

const ZONE: &str = r#"
$TTL 3600
@        IN SOA ns hostmaster 7 7200 3600 1209600 300
         IN NS  ns
         IN NS  ns.example.net.
         IN MX  10 mail
         IN MX  20 mail
         IN MX  30 mail.example.net.
ns       IN A   192.0.2.1
         IN AAAA 2001:db8::1
mail     IN A   192.0.2.2
Www      300 IN A 192.0.2.3
         300 IN A 192.0.2.4
alias    IN CNAME www
chain    IN CNAME alias
out      IN CNAME www.example.net.
loop1    IN CNAME loop2
loop2    IN CNAME loop1
dangling IN CNAME nothing
nodata   IN CNAME ns
*.w      IN TXT "wild"
a.b.w    IN TXT "not wild"
*.wc     IN CNAME www
*.d      IN CNAME host.child
child    IN NS ns.child
         IN NS ns.other
         IN NS ns.example.net.
ns.child IN A 192.0.2.5
www.child IN A 192.0.2.66
other    IN NS ns.other
ns.other IN A 192.0.2.6
signed   IN NS ns.signed
         IN DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000
ns.signed IN AAAA 2001:db8::7
dn       IN DNAME example.org.
long     IN DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.example.net.
dnout    60 IN DNAME example.net.
_sip._tcp IN SRV 1 2 5060 mail
svc      IN HTTPS 1 mail alpn=h2
ent.deep.very IN A 192.0.2.9
"#;

const NS: &str =
    "ns example.org. 3600 NS ns.example.org.\nns example.org. 3600 NS ns.example.net.\n";
const SOA: &str =
    "ns example.org. 300 SOA ns.example.org. hostmaster.example.org. 7 7200 3600 1209600 300\n";
const CHILD: &str = "ns child.example.org. 3600 NS ns.child.example.org.\n\
    ns child.example.org. 3600 NS ns.other.example.org.\n\
    ns child.example.org. 3600 NS ns.example.net.\n\
    ar ns.child.example.org. 3600 A 192.0.2.5\n\
    ar ns.other.example.org. 3600 A 192.0.2.6\n";

#[test]
fn empty_non_terminals() {
    let zone = zone("example.org.", ZONE);
    for (name, expected) in [
        ("deep.very", true),
        ("very", true),
        ("b.w", true),
        ("ent.deep.very", false),
        ("ns", false),
        ("alias", false),
        ("x.w", false),
        ("nothing", false),
        ("x.child", false),
    ] {
        let mut qname = wire::Qname::root();
        let name: wire::NameBuf = format!("{name}.example.org.").parse().expect("a name");
        qname.set(name.as_name());
        assert_eq!(zone.is_empty_non_terminal(&qname), expected, "{name}");
    }
}

#[test]
fn every_kind_of_answer() {
    let zone = zone("example.org.", ZONE);
    let www = "300 A 192.0.2.3\nan www.example.org. 300 A 192.0.2.4\n";
    let cases = [
        // Hits; the owner is QNAME.
        ("www.example.org.", Type::A, format!("NOERROR aa\nan www.example.org. {www}{NS}")),
        (
            "example.org.",
            Type::NS,
            "NOERROR aa\nan example.org. 3600 NS ns.example.org.\nan example.org. 3600 NS ns.example.net.\n\
             ar ns.example.org. 3600 A 192.0.2.1\nar ns.example.org. 3600 AAAA 2001:db8::1\n"
                .to_owned(),
        ),
        (
            "example.org.",
            Type::SOA,
            format!("NOERROR aa\n{}{NS}", SOA.replacen("ns ", "an ", 1).replacen(" 300 ", " 3600 ", 1)),
        ),
        // Additional addresses, each once.
        (
            "example.org.",
            Type::MX,
            format!(
                "NOERROR aa\nan example.org. 3600 MX 10 mail.example.org.\nan example.org. 3600 MX 20 mail.example.org.\n\
                 an example.org. 3600 MX 30 mail.example.net.\n{NS}ar mail.example.org. 3600 A 192.0.2.2\n"
            ),
        ),
        (
            "_sip._tcp.example.org.",
            Type::SRV,
            format!(
                "NOERROR aa\nan _sip._tcp.example.org. 3600 SRV 1 2 5060 mail.example.org.\n{NS}ar mail.example.org. 3600 A 192.0.2.2\n"
            ),
        ),
        // Negative answers, with the lesser of the SOA's TTL and MINIMUM.
        ("ns.example.org.", Type::MX, format!("NOERROR aa\n{SOA}")),
        ("nothing.example.org.", Type::A, format!("NXDOMAIN aa\n{SOA}")),
        ("a.b.c.d.e.f.nothing.example.org.", Type::A, format!("NXDOMAIN aa\n{SOA}")),
        ("very.example.org.", Type::A, format!("NOERROR aa\n{SOA}")),
        ("deep.very.example.org.", Type::A, format!("NOERROR aa\n{SOA}")),
        ("x.deep.very.example.org.", Type::A, format!("NXDOMAIN aa\n{SOA}")),
        // Aliases.
        (
            "alias.example.org.",
            Type::A,
            format!("NOERROR aa\nan alias.example.org. 3600 CNAME www.example.org.\nan www.example.org. {www}{NS}"),
        ),
        (
            "chain.example.org.",
            Type::A,
            format!(
                "NOERROR aa\nan chain.example.org. 3600 CNAME alias.example.org.\n\
                 an alias.example.org. 3600 CNAME www.example.org.\nan www.example.org. {www}{NS}"
            ),
        ),
        (
            "alias.example.org.",
            Type::CNAME,
            format!("NOERROR aa\nan alias.example.org. 3600 CNAME www.example.org.\n{NS}"),
        ),
        (
            "dangling.example.org.",
            Type::A,
            format!("NXDOMAIN aa\nan dangling.example.org. 3600 CNAME nothing.example.org.\n{SOA}"),
        ),
        (
            "nodata.example.org.",
            Type::TXT,
            format!("NOERROR aa\nan nodata.example.org. 3600 CNAME ns.example.org.\n{SOA}"),
        ),
        // Wildcards (RFC 4592).
        ("x.w.example.org.", Type::TXT, format!("NOERROR aa\nan x.w.example.org. 3600 TXT wild\n{NS}")),
        ("x.y.w.example.org.", Type::TXT, format!("NOERROR aa\nan x.y.w.example.org. 3600 TXT wild\n{NS}")),
        ("*.w.example.org.", Type::TXT, format!("NOERROR aa\nan *.w.example.org. 3600 TXT wild\n{NS}")),
        ("x.b.w.example.org.", Type::TXT, format!("NXDOMAIN aa\n{SOA}")),
        ("b.w.example.org.", Type::TXT, format!("NOERROR aa\n{SOA}")),
        ("x.*.w.example.org.", Type::TXT, format!("NXDOMAIN aa\n{SOA}")),
        ("x.w.example.org.", Type::A, format!("NOERROR aa\n{SOA}")),
        (
            "x.wc.example.org.",
            Type::A,
            format!("NOERROR aa\nan x.wc.example.org. 3600 CNAME www.example.org.\nan www.example.org. {www}{NS}"),
        ),
        // Referrals: no AA, glue of the zone below and of its sibling.
        ("child.example.org.", Type::A, format!("NOERROR\n{CHILD}")),
        ("www.child.example.org.", Type::A, format!("NOERROR\n{CHILD}")),
        ("a.b.ns.child.example.org.", Type::A, format!("NOERROR\n{CHILD}")),
        ("x.child.example.org.", Type::DS, format!("NOERROR\n{CHILD}")),
        // DS is the parent's.
        ("child.example.org.", Type::DS, format!("NOERROR aa\n{SOA}")),
        // An alias into a zone below keeps AA.
        (
            "x.d.example.org.",
            Type::A,
            format!("NOERROR aa\nan x.d.example.org. 3600 CNAME host.child.example.org.\n{CHILD}"),
        ),
        // DNAME.
        (
            "www.dn.example.org.",
            Type::A,
            format!(
                "NOERROR aa\nan dn.example.org. 3600 DNAME example.org.\n\
                 an www.dn.example.org. 3600 CNAME www.example.org.\nan www.example.org. {www}{NS}"
            ),
        ),
        (
            "host.child.dn.example.org.",
            Type::A,
            format!(
                "NOERROR aa\nan dn.example.org. 3600 DNAME example.org.\n\
                 an host.child.dn.example.org. 3600 CNAME host.child.example.org.\n{CHILD}"
            ),
        ),
        ("dn.example.org.", Type::DNAME, format!("NOERROR aa\nan dn.example.org. 3600 DNAME example.org.\n{NS}")),
        ("dn.example.org.", Type::A, format!("NOERROR aa\n{SOA}")),
        // QTYPE ANY: one RRset (RFC 8482).
        (
            "ns.example.org.",
            Type::ANY,
            format!("NOERROR aa\nan ns.example.org. 3600 A 192.0.2.1\n{NS}"),
        ),
    ];
    for (qname, qtype, expected) in cases {
        let (_, octets) = ask(&zone, qname, qtype, false);
        let got = show(&octets).replace(" TXT \"wild\"", " TXT wild");
        // Unknown to hickory-proto's display: the DNAME's target.
        assert_eq!(clean(&got), clean(&expected), "{qname} {qtype}");
    }
}

/// Takes the RDATA of DNAME records out: hickory-proto shows them as octets.
fn clean(text: &str) -> String {
    text.lines()
        .map(|line| match line.find(" DNAME ") {
            Some(at) => &line[..at + 6],
            None => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn outcomes_that_the_caller_acts_on() {
    let zone = zone("example.org.", ZONE);
    let target = |name: &str, aliases| Outcome::Chase {
        target: name.parse().expect("a name"),
        aliases,
    };
    let label = "x".repeat(63);
    let overflow = format!("{label}.long.example.org.");
    let cases = [
        (
            "out.example.org.",
            target("www.example.net.", 1),
            Rcode::NOERROR,
            1,
        ),
        (
            "a.b.dnout.example.org.",
            target("a.b.example.net.", 1),
            Rcode::NOERROR,
            2,
        ),
        ("loop1.example.org.", Outcome::Loop, Rcode::NOERROR, 2),
        (overflow.as_str(), Outcome::Overflow, Rcode::YXDOMAIN, 1),
        ("www.example.com.", Outcome::OutOfZone, Rcode::NOERROR, 0),
        ("org.", Outcome::OutOfZone, Rcode::NOERROR, 0),
        (
            "nothing.example.org.",
            Outcome::NxDomain,
            Rcode::NXDOMAIN,
            0,
        ),
        ("very.example.org.", Outcome::NoData, Rcode::NOERROR, 0),
        ("child.example.org.", Outcome::Referral, Rcode::NOERROR, 0),
    ];
    for (qname, outcome, rcode, answers) in cases {
        let (got, octets) = ask(&zone, qname, Type::A, false);
        assert_eq!(got, outcome, "{qname}");
        let message = wire::Message::new(&octets).expect("a header");
        assert_eq!(message.rcode(), rcode, "{qname}");
        assert_eq!(count(&octets, Section::Answer), answers, "{qname}");
    }
}

/// A QNAME in capitals gets the same records, names in the case of the data, and its own case back.
#[test]
fn the_case_of_data_is_kept() {
    let zone = zone("example.org.", ZONE);
    for (qname, qtype) in [
        ("example.org.", Type::MX),
        ("alias.example.org.", Type::A),
        ("x.d.example.org.", Type::A),
        ("host.child.dn.example.org.", Type::A),
        ("nothing.example.org.", Type::A),
        ("child.example.org.", Type::A),
    ] {
        let (_, lower) = ask(&zone, qname, qtype, false);
        let (_, upper) = ask(&zone, &qname.to_uppercase(), qtype, false);
        let rdata = |octets: &[u8]| -> Vec<String> {
            let message = hickory_proto::op::Message::from_vec(octets).expect("a message");
            let all = message
                .answers
                .iter()
                .chain(&message.authorities)
                .chain(&message.additionals);
            all.filter(|r| {
                r.record_type() != hickory_proto::rr::RecordType::CNAME || !qname.contains(".dn.")
            })
            .map(|r| format!("{} {}", r.record_type(), r.data))
            .collect()
        };
        assert_eq!(rdata(&lower), rdata(&upper), "{qname}");
        assert!(
            show(&upper)
                .to_lowercase()
                .contains(&show(&lower).to_lowercase()),
            "{qname}"
        );
        assert!(upper.windows(4).any(|w| w == b"\x03ORG"), "{qname}");
    }
}

/// A buffer too small for the answer gives a truncated response, whatever its size.
#[test]
fn every_buffer_size_is_survived() {
    let zone = zone("example.org.", ZONE);
    for qname in [
        "example.org.",
        "EXAMPLE.org.",
        "x.d.Example.org.",
        "host.child.dn.example.org.",
    ] {
        let message = super::query(qname, Type::MX, false);
        let mut parsed = wire::Parsed::default();
        parsed.read(&message).expect("a query");
        let (_, whole) = ask(&zone, qname, Type::MX, false);
        for size in message.len()..whole.len() {
            let mut octets = vec![0; size];
            let mut state = wire::ResponseState::default();
            let mut response = wire::Response::new(&mut octets, &mut state);
            response.begin(&parsed, &message);
            zone.answer(&parsed.qname, Type::MX, false, &mut response);
            assert!(response.flags().has(wire::Flags::TC), "{qname} {size}");
            assert!(response.records().all(|r| r.is_ok()), "{qname} {size}");
            let len = response.seal();
            hickory_proto::op::Message::from_vec(&octets[..len]).expect("a message");
        }
    }
}

#[test]
fn names_above_the_reach_of_a_pointer_are_written_in_full() {
    let mut text = String::from("$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n");
    for n in 0..1_200 {
        text += &format!("many MX {n} host{n}\nhost{n} A 192.0.2.2\n");
    }
    let zone = zone("example.org.", &text);
    let (_, octets) = ask(&zone, "many.example.org.", Type::MX, false);
    assert!(octets.len() > 0x4000);
    assert_eq!(count(&octets, Section::Answer), 1_200);
    assert_eq!(count(&octets, Section::Additional), 255);
    let shown = show(&octets);
    assert!(shown.contains("an many.example.org. 60 MX 1199 host1199.example.org."));
    assert!(shown.contains("ar host254.example.org. 60 A 192.0.2.2"));
}

#[test]
fn the_root_zone_answers() {
    let zone = zone(
        ".",
        "$TTL 60\n. SOA a. b. 1 2 3 4 5\n. NS a.\na. A 192.0.2.1\norg. NS ns.org.\nns.org. A 192.0.2.2\n",
    );
    let (outcome, octets) = ask(&zone, "www.example.org.", Type::A, false);
    assert_eq!(outcome, Outcome::Referral);
    assert_eq!(
        show(&octets),
        "NOERROR\nns org. 60 NS ns.org.\nar ns.org. 60 A 192.0.2.2\n"
    );
    let (_, octets) = ask(&zone, "nothing.", Type::A, false);
    assert_eq!(show(&octets), "NXDOMAIN aa\nns . 5 SOA a. b. 1 2 3 4 5\n");
    let (_, octets) = ask(&zone, ".", Type::NS, false);
    assert_eq!(
        show(&octets),
        "NOERROR aa\nan . 60 NS a.\nar a. 60 A 192.0.2.1\n"
    );
}

/// A rewritten query: what is looked up does not stand in the question, and every name is that of the data all the same.
#[test]
fn another_name_than_the_question_is_answered() {
    let zone = zone("example.org.", ZONE);
    for (asked, qname, qtype) in [
        ("a.b.example.net.", "example.org.", Type::MX),
        ("a.", "x.d.example.org.", Type::A),
        ("a.", "host.child.dn.example.org.", Type::A),
        ("nothing.example.com.", "nothing.example.org.", Type::A),
        ("x.y.z.a.example.org.", "child.example.org.", Type::A),
    ] {
        let message = super::query(asked, qtype, false);
        let mut parsed = wire::Parsed::default();
        parsed.read(&message).expect("a query");
        let name: wire::NameBuf = qname.parse().expect("a name");
        let rewritten = wire::Qname::from(name.as_name());
        let mut octets = vec![0; 4_096];
        let mut state = wire::ResponseState::default();
        let mut response = wire::Response::new(&mut octets, &mut state);
        response.begin(&parsed, &message);
        zone.answer(&rewritten, qtype, false, &mut response);
        let len = response.seal();
        let (_, direct) = ask(&zone, qname, qtype, false);
        assert_eq!(show(&octets[..len]), show(&direct), "{asked} as {qname}");
    }
}
