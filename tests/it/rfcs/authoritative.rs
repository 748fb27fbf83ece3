//! What a zone answers: RFC 1034, 1035, 1982, 2181, 2308, 3597, 4343, 4592, 6672, 8020, 8482, 9471.

use std::time::Duration;

use super::{Query, Row, ask, run, start};
use crate::server::wait_until;

/// What the zone that `start` serves answers.
pub(crate) const ZONE: &[Row] = &[
    (
        "1034, 4.3.2 (3a)",
        "the whole of QNAME is matched: the RRs of QTYPE",
        "mail.plain.example A",
        "NOERROR|+qr|+aa|-ra|-tc|an= 2|an: mail.plain.example. 3600 IN A 192.0.2.25",
    ),
    (
        "1034, 4.3.2 (3a)",
        "CNAME at the node and QTYPE differs: copy it, go on at its target",
        "chain1.plain.example AAAA",
        "NOERROR|+aa|an= 4|first: chain1.plain.example. CNAME chain2.plain.example.|an: mail.plain.example. AAAA 2001:db8::25",
    ),
    (
        "1034, 3.6.2",
        "a query for the CNAME type is not chased",
        "chain1.plain.example CNAME",
        "NOERROR|+aa|an= 1",
    ),
    (
        "1034, 4.3.2 (3b)",
        "a referral: NS of the cut in the authority section, AA clear",
        "x.sub.plain.example A",
        "NOERROR|-aa|an= 0|ns: sub.plain.example. NS ns1.sub.plain.example.|ar: ns1.sub.plain.example. A 192.0.2.61|ar: ns1.sub.plain.example. AAAA 2001:db8::61",
    ),
    (
        "1034, 4.3.2 (3b)",
        "at the cut itself too, for NS as for others",
        "sub.plain.example NS",
        "NOERROR|-aa|an= 0|ns= 3",
    ),
    (
        "1034, 4.2.1",
        "what is below a cut is not authoritative data",
        "deep.occluded.sub.plain.example A",
        "NOERROR|-aa|an= 0|ns: sub.plain.example. NS",
    ),
    (
        "1034, 4.3.2 (3b)",
        "a CNAME into a delegation: the alias, then the referral, AA for the alias",
        "tocut.plain.example A",
        "NOERROR|+aa|an= 1|an: CNAME host.sub.plain.example.|ns: sub.plain.example. NS",
    ),
    (
        "1034, 4.3.2 (3c)",
        "no match, no wildcard: authoritative name error",
        "nowhere.plain.example A",
        "NXDOMAIN|+aa|an= 0|ns: plain.example. SOA",
    ),
    (
        "1034, 4.3.2 (3c)",
        "behind a CNAME the RCODE is that of the last name",
        "dangling.plain.example A",
        "NXDOMAIN|+aa|an= 1|ns: plain.example. SOA",
    ),
    (
        "2308, 2.1",
        "also where the chain ends in NODATA",
        "tonodata.plain.example A",
        "NOERROR|+aa|an= 1|ns= 1|ns: plain.example. SOA",
    ),
    (
        "1034, 4.3.1",
        "a name outside of all zones: REFUSED by convention, without records",
        "www.elsewhere.test A",
        "REFUSED|-aa|an= 0|ns= 0",
    ),
    (
        "1035, 4.1.1",
        "RD is copied into the response",
        "mail.plain.example A +rd",
        "NOERROR|+rd|-ra",
    ),
    (
        "1035, 4.1.1",
        "Z must be zero",
        "mail.plain.example A +z",
        "NOERROR|-z",
    ),
    (
        "1035, 3.3.9",
        "additional section processing of MX",
        "plain.example MX",
        "NOERROR|an= 3|ar: mail.plain.example. A 192.0.2.25",
    ),
    (
        "2782",
        "and of SRV targets",
        "_http._tcp.plain.example SRV",
        "NOERROR|an= 3|ar: mail.plain.example. AAAA 2001:db8::25|ar! gone.plain.example.",
    ),
    (
        "9460, 4.1",
        "and of SVCB targets",
        "svcb.plain.example SVCB",
        "NOERROR|an= 1|ar: mail.plain.example. A 192.0.2.25",
    ),
    (
        "2181, 5.2",
        "the TTLs of an RRset are one",
        "ttl.plain.example A",
        "NOERROR|an= 2|an: 60 IN A 192.0.2.90|an: 60 IN A 192.0.2.91",
    ),
    (
        "2181, 6.1",
        "the NS set at the apex is authoritative",
        "plain.example NS",
        "NOERROR|+aa|an= 3",
    ),
    (
        "2181, 10.3; 1035, 3.3.11",
        "glue of an apex NS is additional data",
        "plain.example NS",
        "ar: ns1.plain.example. A 192.0.2.53",
    ),
    (
        "2308, 2.1",
        "NXDOMAIN has the SOA",
        "x.mail.plain.example A",
        "NXDOMAIN|+aa|ns= 1|ns: plain.example. SOA",
    ),
    (
        "2308, 2.2",
        "NODATA: NOERROR, no answer, the SOA",
        "texts.plain.example A",
        "NOERROR|+aa|an= 0|ns= 1|ns: plain.example. SOA",
    ),
    (
        "2308, 5",
        "its TTL is the lesser of the SOA's and MINIMUM",
        "texts.plain.example A",
        "ns: plain.example. 300 IN SOA",
    ),
    (
        "2308, 5",
        "the SOA itself keeps its own TTL",
        "plain.example SOA",
        "an: plain.example. 3600 IN SOA",
    ),
    (
        "3597, 3",
        "an unknown type is served as it stands",
        "unknown.plain.example TYPE65280",
        "NOERROR|+aa|an= 1",
    ),
    (
        "3597, 3",
        "an unknown type at a known name is NODATA",
        "mail.plain.example TYPE12345",
        "NOERROR|an= 0|ns: SOA",
    ),
    (
        "4343, 3",
        "matching ignores case",
        "MAIL.PLAIN.EXAMPLE A",
        "NOERROR|+aa|an= 2",
    ),
    (
        "4343, 3.1",
        "wildcards too",
        "X.WILD.plain.example A",
        "NOERROR|an: A 192.0.2.10",
    ),
    (
        "4592, 2.1.1",
        "a wildcard answers with QNAME as owner",
        "any.wild.plain.example A",
        "NOERROR|+aa|an: any.wild.plain.example. 3600 IN A 192.0.2.10",
    ),
    (
        "4592, 2.2.1",
        "any number of labels",
        "a.b.c.wild.plain.example TXT",
        "NOERROR|an: a.b.c.wild.plain.example.",
    ),
    (
        "4592, 2.2.1",
        "an existing name is not synthesized from",
        "host.wild.plain.example A",
        "NOERROR|an= 0|ns: SOA",
    ),
    (
        "4592, 2.2.1",
        "nor what is below it: its closest encloser has no wildcard",
        "x.host.wild.plain.example A",
        "NXDOMAIN",
    ),
    (
        "4592, 2.2.2",
        "an empty non-terminal exists: NODATA",
        "y.wild.plain.example A",
        "NOERROR|an= 0|ns: SOA",
    ),
    (
        "4592, 2.2.2",
        "and blocks the wildcard for what is below",
        "z.y.wild.plain.example A",
        "NXDOMAIN",
    ),
    (
        "4592, 2.1.3",
        "what owns nothing itself is a source of synthesis too: NODATA",
        "sub.x.odd.plain.example A",
        "NOERROR|an= 0|ns: SOA",
    ),
    (
        "4592, 2.1.3",
        "it can be asked for by itself",
        "sub.*.odd.plain.example A",
        "NOERROR|an: A 192.0.2.13",
    ),
    (
        "4592, 2.2.1",
        "the wildcard name itself is a name",
        "*.wild.plain.example A",
        "NOERROR|an: *.wild.plain.example. A",
    ),
    (
        "4592, 4.4",
        "NODATA at a wildcard",
        "any.wild.plain.example MX",
        "NOERROR|an= 0|ns: plain.example. 300 IN SOA",
    ),
    (
        "4592, 3.3.3",
        "a wildcard CNAME is followed",
        "any.cwild.plain.example A",
        "NOERROR|an: any.cwild.plain.example. CNAME mail.plain.example.|an: mail.plain.example. A",
    ),
    (
        "4592, 3.3.4",
        "a closest encloser that is an empty non-terminal has its wildcard",
        "x.ent2.wild2.plain.example A",
        "NOERROR|an: A 192.0.2.12",
    ),
    (
        "6672, 2.3",
        "DNAME does not redirect its own owner",
        "dname.plain.example A",
        "NOERROR|an= 0|ns: SOA",
    ),
    (
        "6672, 3.1",
        "a CNAME is synthesized, its TTL that of the DNAME",
        "x.inner.plain.example A",
        "NOERROR|+aa|an= 3|first: inner.plain.example. 3600 IN DNAME|an: x.inner.plain.example. 3600 IN CNAME x.wild.plain.example.|an: x.wild.plain.example. A 192.0.2.10",
    ),
    (
        "6672, 2.2",
        "a query for DNAME at its owner gets it",
        "dname.plain.example DNAME",
        "NOERROR|+aa|an= 1",
    ),
    (
        "6672, 3.2",
        "NXDOMAIN behind a DNAME",
        "x.self.plain.example A",
        "NXDOMAIN|an: x.self.plain.example. CNAME x.mail.plain.example.",
    ),
    (
        "6672, 3.1",
        "a query for the CNAME gets the synthesized one",
        "x.inner.plain.example CNAME",
        "NOERROR|an= 2|an: x.inner.plain.example. CNAME x.wild.plain.example.",
    ),
    (
        "8020, 2",
        "an empty non-terminal is not NXDOMAIN",
        "b.ent.plain.example A",
        "NOERROR|an= 0|ns: SOA",
    ),
    (
        "8020, 2",
        "two deep",
        "ent.plain.example A",
        "NOERROR|an= 0",
    ),
    (
        "8020, 2",
        "a CNAME to one is NODATA",
        "toempty.plain.example A",
        "NOERROR|an= 1|ns: SOA",
    ),
    (
        "8482, 4.1",
        "ANY: one RRset",
        "plain.example ANY",
        "NOERROR|+aa|an! MX|an! TXT",
    ),
    (
        "8482, 4.1",
        "ANY at no name: NXDOMAIN",
        "nowhere.plain.example ANY",
        "NXDOMAIN|ns: SOA",
    ),
    (
        "8482, 4.1",
        "ANY at a CNAME: the CNAME",
        "chain1.plain.example ANY",
        "NOERROR|an= 1|an: CNAME chain2.plain.example.",
    ),
    (
        "4035, 3.1.4.1",
        "DS at a cut is answered by the parent",
        "sub.plain.example DS",
        "NOERROR|+aa|an= 1|an: DS",
    ),
    (
        "4035, 3.1.4.1",
        "NODATA where it has none",
        "insecure.plain.example DS",
        "NOERROR|+aa|an= 0|ns: plain.example. SOA",
    ),
    (
        "9471, 3",
        "sibling glue comes with the referral",
        "x.sub.plain.example A",
        "ar: ns.other.plain.example. A 192.0.2.70",
    ),
    (
        "1034, 4.3.2; 1035, 5.2",
        "an escaped dot is no separator",
        "escaped\\.dot.plain.example TXT",
        "NOERROR|an= 1",
    ),
    (
        "2181, 11",
        "any octet may stand in a label",
        "oct\\000et.plain.example TXT",
        "NOERROR|an= 1",
    ),
    (
        "1035, 3.2.5",
        "class CH is not served",
        "plain.example TXT class=3",
        "REFUSED|an= 0",
    ),
    (
        "5936, 2.2; 1995",
        "no transfer unless configured",
        "plain.example AXFR tcp",
        "REFUSED|an= 0",
    ),
    (
        "5936, 4.2",
        "AXFR over UDP is refused",
        "plain.example AXFR",
        "an= 0",
    ),
];

#[test]
fn a_zone_is_answered_by_the_algorithm_of_rfc_1034() {
    let server = start("rfc1034", &[], "");
    run(server.address(), ZONE);
}

#[test]
fn rfc_4343_the_case_of_the_question_comes_back() {
    // 4343, 4.1: "the output case" of a name is preserved; forgery resistance by mixed case rests on it.
    let server = start("rfc4343", &[], "");
    for name in [
        "MaIl.pLaIn.ExAmPlE",
        "NoWhere.plain.EXAMPLE",
        "X.Sub.Plain.Example",
        "Any.WILD.plain.example",
    ] {
        let text = format!("{name} A");
        let query = Query::read(&text).octets();
        let reply = ask(server.address(), &text).expect("an answer");
        assert_eq!(reply.question, query[12..], "{name}");
    }
}

#[test]
fn rfc_6672_a_name_that_overflows_is_yxdomain() {
    let server = start("rfc6672", &[], "");
    // 6672, 2.2: "If the resulting name would be longer than 255 octets, YXDOMAIN"
    let label = "d".repeat(49);
    let long = format!(
        "{label}.{label}.{label}.{label}.{}.dname.plain.example",
        "d".repeat(32)
    );
    let reply = ask(server.address(), &format!("{long} A")).expect("an answer");
    assert_eq!(
        reply.check("YXDOMAIN|+aa|first: dname.plain.example. DNAME"),
        Ok(()),
        "{reply:?}"
    );
}

#[test]
fn rfc_2181_and_9471_truncation_says_what_it_must() {
    let server = start("rfc2181", &[], "");
    let rows: &[Row] = &[
        (
            "2181, 9",
            "TC when a required RRset does not fit",
            "large.plain.example A",
            "NOERROR|+tc|len<= 512",
        ),
        (
            "1035, 4.2.1",
            "over TCP it is whole",
            "large.plain.example A tcp",
            "NOERROR|-tc|an= 32",
        ),
        (
            "6891, 6.2.5",
            "the client's size is used",
            "large.plain.example A size=1232",
            "NOERROR|-tc|an= 32|opt",
        ),
        (
            "6891, 6.2.5",
            "OPT is there in a truncated response",
            "large.plain.example A size=512",
            "+tc|opt|len<= 512",
        ),
        (
            "6891, 6.2.3",
            "values below 512 are 512",
            "mail.plain.example A size=0",
            "NOERROR|-tc|an= 2",
        ),
        (
            "2181, 9",
            "not TC where only additional data is left out",
            "plain.example MX",
            "NOERROR|-tc|an= 3",
        ),
    ];
    run(server.address(), rows);
    let mut glue =
        String::from("$ORIGIN glue.example.\n$TTL 60\n@ SOA ns1.big h 1 2 3 4 5\n@ NS ns1.big\n");
    for n in 0..13 {
        glue +=
            &format!("big NS ns{n}.big\nns{n}.big A 192.0.2.{n}\nns{n}.big AAAA 2001:db8::{n}\n");
    }
    let server = start(
        "rfc9471",
        &[("glue.zone", &glue)],
        "glue.example:{PORT} {\n  bind 127.0.0.1\n  file glue.zone\n}\n",
    );
    let rows: &[Row] = &[
        (
            "9471, 3.1",
            "all in-domain glue, or TC",
            "x.big.glue.example A",
            "NOERROR|-aa|+tc|len<= 512|ns= 13",
        ),
        (
            "9471, 3.1",
            "all of it where it fits",
            "x.big.glue.example A size=1400",
            "NOERROR|-aa|-tc|ns= 13|ar= 26|opt",
        ),
        (
            "9471, 3.1",
            "and over TCP",
            "x.big.glue.example A tcp",
            "NOERROR|-tc|ar= 26",
        ),
    ];
    run(server.address(), rows);
}

#[test]
fn rfc_1982_a_serial_that_wraps_is_an_increase() {
    let zone = |serial: u32| {
        format!(
            "$ORIGIN s.example.\n$TTL 60\n@ SOA ns h {serial} 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n"
        )
    };
    let server = start(
        "rfc1982",
        &[("s.zone", &zone(u32::MAX - 1))],
        "s.example:{PORT} {\n  bind 127.0.0.1\n  file s.zone {\n    reload 1s\n  }\n}\n",
    );
    let soa = |serial: u32| {
        ask(server.address(), "s.example SOA")
            .is_some_and(|reply| reply.sections[0][0].contains(&format!(" {serial} ")))
    };
    assert!(soa(u32::MAX - 1));
    // 1982, 3.2: s1 < s2 where the difference is below 2^31: 5 comes after 2^32 - 2.
    std::fs::write(server.dir().join("s.zone"), zone(5)).expect("the zone is written");
    wait_until("serial 5", || soa(5));
    std::thread::sleep(Duration::from_millis(20));
    assert!(soa(5));
}
