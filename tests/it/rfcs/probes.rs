//! The probes of RFC 8906, section 8, as ISC's compliance checker sends them: 32 of flags and EDNS, and a set of RR types.
//!
//! The address of another server in `PROBE` (`127.0.0.1:5353`, serving the apex `plain.example`) puts the same questions to it.

use super::{Row, run, start};

/// Option 100 is not assigned; NSID 3, COOKIE 10, EXPIRE 9, ECS 8.
pub(crate) const PROBES: [Row; 32] = [
    (
        "8906, 8.1.1",
        "dns",
        "plain.example SOA",
        "NOERROR|+aa|-rd|-ra|-ad|-cd|-opt|an: SOA",
    ),
    (
        "8906, 8.1.3",
        "aa",
        "plain.example SOA +aa",
        "NOERROR|+aa|-rd|-ra|an: SOA",
    ),
    (
        "8906, 8.1.3",
        "ad",
        "plain.example SOA +ad",
        "NOERROR|+aa|-ad|an: SOA",
    ),
    (
        "8906, 8.1.3",
        "cd",
        "plain.example SOA +cd",
        "NOERROR|+aa|-ad|an: SOA",
    ),
    (
        "8906, 8.1.3",
        "ra",
        "plain.example SOA +ra",
        "NOERROR|+aa|-ra|an: SOA",
    ),
    (
        "8906, 8.1.3",
        "rd",
        "plain.example SOA +rd",
        "NOERROR|+aa|+rd|an: SOA",
    ),
    (
        "8906, 8.1.3",
        "tc",
        "plain.example SOA +tc",
        "NOERROR|+aa|-tc|an: SOA",
    ),
    (
        "8906, 8.1.3.1",
        "zflag",
        "plain.example SOA +z",
        "NOERROR|+aa|-z|an: SOA",
    ),
    (
        "8906, 8.1.4",
        "opcode",
        "plain.example SOA op=15",
        "NOTIMP|-aa|an= 0",
    ),
    (
        "8906, 8.1.4",
        "opcodeflg",
        "plain.example SOA op=15 +aa +tc +rd +ra +z +ad +cd",
        "NOTIMP|-aa|-tc|-rd|-ra|-z|-ad|-cd|an= 0",
    ),
    (
        "8906, 8.1.2",
        "type666",
        "plain.example TYPE666",
        "NOERROR|+aa|an= 0|ns: SOA",
    ),
    (
        "8906, 8.1.5",
        "tcp",
        "plain.example SOA tcp",
        "NOERROR|+aa|an: SOA",
    ),
    (
        "8906, 8.2.1",
        "edns",
        "plain.example SOA edns",
        "NOERROR|+aa|opt|an: SOA",
    ),
    (
        "8906, 8.2.2",
        "edns1",
        "plain.example SOA v=1",
        "BADVERS|-aa|opt|an= 0",
    ),
    (
        "8906, 8.2.7",
        "edns@512",
        "plain.example DNSKEY do size=512",
        "NOERROR|+aa|opt|len<= 512",
    ),
    (
        "8906, 8.2.3",
        "ednsopt",
        "plain.example SOA edns opt=100:",
        "NOERROR|+aa|opt|opt! 100|an: SOA",
    ),
    (
        "8906, 8.2.4",
        "edns1opt",
        "plain.example SOA v=1 opt=100:",
        "BADVERS|opt|opt! 100|an= 0",
    ),
    (
        "8906, 8.2.6",
        "do",
        "plain.example SOA do",
        "NOERROR|+aa|opt|an: SOA",
    ),
    (
        "8906, 8.2.6",
        "docd",
        "plain.example SOA do +cd",
        "NOERROR|+aa|opt|an: SOA",
    ),
    (
        "8906, 8.2.2",
        "edns1do",
        "plain.example SOA v=1 do",
        "BADVERS|opt|an= 0",
    ),
    (
        "8906, 8.2.5",
        "ednsflags",
        "plain.example SOA eflags=0080",
        "NOERROR|+aa|opt|an: SOA",
    ),
    (
        "8906, 8.2.8",
        "optlist",
        "plain.example SOA edns opt=3: opt=8:00010000 opt=9: opt=10:0102030405060708",
        "NOERROR|+aa|opt|an: SOA",
    ),
    (
        "8906, 8.2.8",
        "ednsnsid",
        "plain.example SOA edns opt=3:",
        "NOERROR|+aa|opt|an: SOA",
    ),
    (
        "8906, 8.2.8",
        "ednscookie",
        "plain.example SOA edns opt=10:0102030405060708",
        "NOERROR|+aa|opt|an: SOA",
    ),
    (
        "8906, 8.2.8",
        "ednsexpire",
        "plain.example SOA edns opt=9:",
        "NOERROR|+aa|opt|an: SOA",
    ),
    (
        "8906, 8.2.8",
        "ednssubnet",
        "plain.example SOA edns opt=8:00010000",
        "NOERROR|+aa|opt|an: SOA",
    ),
    (
        "8906, 8.2.4",
        "edns1nsid",
        "plain.example SOA v=1 opt=3:",
        "BADVERS|opt|opt! 3|an= 0",
    ),
    (
        "8906, 8.2.4",
        "edns1cookie",
        "plain.example SOA v=1 opt=10:0102030405060708",
        "BADVERS|opt|an= 0",
    ),
    (
        "8906, 8.2.4",
        "edns1expire",
        "plain.example SOA v=1 opt=9:",
        "BADVERS|opt|opt! 9|an= 0",
    ),
    (
        "8906, 8.2.4",
        "edns1subnet",
        "plain.example SOA v=1 opt=8:00010000",
        "BADVERS|opt|opt! 8|an= 0",
    ),
    (
        "8906, 8.2.7",
        "signed",
        "plain.example DNSKEY do",
        "NOERROR|+aa|opt",
    ),
    (
        "8906, 8.1.5",
        "ednstcp",
        "plain.example SOA edns tcp",
        "NOERROR|+aa|opt|an: SOA",
    ),
];

/// The types that the checker asks the apex for.
const TYPES: [u16; 65] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
    27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
    52, 53, 55, 56, 57, 58, 59, 60, 61, 62, 99, 256, 257, 32_768, 32_769,
];

#[test]
fn rfc_8906_every_probe_is_answered_as_it_should_be() {
    let server = start("rfc8906", &[], "");
    let address = match std::env::var("PROBE") {
        Ok(address) => address.parse().expect("an address"),
        Err(_) => server.address(),
    };
    let types: Vec<String> = TYPES
        .iter()
        .map(|number| format!("plain.example TYPE{number}"))
        .collect();
    let mut rows = PROBES.to_vec();
    for query in &types {
        let query: &'static str = query.clone().leak();
        rows.push((
            "8906, 8.1.2",
            "an RR type, known or not",
            query,
            "NOERROR|+aa|-tc",
        ));
    }
    assert_eq!(rows.len(), 97);
    run(address, &rows);
    for (_, _, query, _) in rows
        .iter()
        .filter(|(_, _, query, _)| query.contains("v=1") || query.contains("eflags"))
    {
        let opt = super::ask(address, query)
            .and_then(|reply| reply.opt)
            .expect("OPT");
        // 6891, 6.1.3 and 6.1.4: the highest version that is implemented; Z bits are zero.
        assert_eq!((opt.version, opt.flags & 0x7FFF), (0, 0), "{query}");
    }
}

#[test]
fn a_notify_or_an_update_is_no_query() {
    let server = start(
        "opcodes",
        &[],
        "hosts.example:{PORT} {\n  bind 127.0.0.1\n  hosts {\n    192.0.2.1 www.hosts.example\n  }\n}\n\
         whoami.example:{PORT} {\n  bind 127.0.0.1\n  log\n  whoami\n}\n\
         both.example:{PORT} {\n  bind 127.0.0.1\n  cache\n  hosts {\n    192.0.2.1 www.both.example\n    fallthrough\n  }\n  forward . 127.0.0.1:9\n}\n",
    );
    // 1996, 3.1: a NOTIFY tells of a change, and none of these has a primary; Knot and BIND say NOTAUTH or REFUSED, and a forwarder
    // does not implement it. 2136, 3: an UPDATE is not implemented.
    let rows: Vec<Row> = [
        ("plain.example SOA op=4", "REFUSED|-aa|-ra|an= 0|ns= 0"),
        ("www.hosts.example A op=4", "REFUSED|-aa|-ra|an= 0"),
        ("www.hosts.example A op=4 tcp", "REFUSED|-aa|-ra|an= 0"),
        ("www.hosts.example SOA op=4 edns", "REFUSED|-aa|opt"),
        ("www.whoami.example A op=4", "REFUSED|-aa|an= 0|ar= 0"),
        ("www.both.example A op=4", "NOTIMP|-aa|an= 0"),
        ("www.elsewhere.example A op=4", "REFUSED|-aa|an= 0"),
        ("www.hosts.example SOA op=5", "NOTIMP|-aa|an= 0"),
        ("www.whoami.example SOA op=5", "NOTIMP|-aa|an= 0"),
        ("www.hosts.example A", "NOERROR|+aa|an= 1"),
        ("www.whoami.example A", "NOERROR|+aa|ar= 2"),
    ]
    .into_iter()
    .map(|(query, expected)| ("1996, 3.1; 2136, 3", "an opcode", query, expected))
    .collect();
    run(server.address(), &rows);
}
