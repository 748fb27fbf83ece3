//! What is read, what is refused, and where the complaint points to.

use wire::{Name, NameBuf, Type};

use crate::{Loader, check_rdata};

const HEAD: &str = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n";

fn load(text: &str) -> Result<crate::Loaded, Vec<String>> {
    let origin: NameBuf = "example.org.".parse().expect("a name");
    Loader::new(origin.as_name())
        .load_text(text)
        .map_err(|all| all.iter().map(ToString::to_string).collect())
}

/// The RDATA of `x.example.org.` with this type and text.
pub(super) fn rdata(rtype: &str, text: &str) -> Result<Vec<u8>, String> {
    let loaded = load(&format!("{HEAD}x {rtype} {text}\n")).map_err(|all| all.join("\n"))?;
    let wanted = loaded
        .zone
        .records()
        .find(|record| record.owner().octets().starts_with(b"\x01x"));
    let rdata = wanted
        .map(|record| record.rdata())
        .ok_or_else(|| "no record".to_owned())?;
    super::reads_what_it_writes(&loaded.zone);
    Ok(rdata)
}

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|o| !o.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("hex")
        })
        .collect()
}

#[test]
fn rdata_of_every_grammar() {
    let cases = [
        ("A", "192.0.2.7", "c0000207"),
        ("AAAA", "2001:db8::7", "20010db8000000000000000000000007"),
        ("MX", "10 a.", "000a 0161 00"),
        ("TXT", r#"abc "d e" "\"\065""#, "03616263 03642065 022241"),
        ("SRV", "1 2 3 .", "0001 0002 0003 00"),
        ("HINFO", "a b", "0161 0162"),
        (
            "CAA",
            "0 issue \"ca.example\"",
            "00 05 6973737565 63612e6578616d706c65",
        ),
        (
            "CAA",
            "0 issue letsencrypt.org",
            "00 05 6973737565 6c657473656e63727970742e6f7267",
        ),
        (
            "SSHFP",
            "1 1 0123456789abcdef0123456789abcdef01234567",
            "0101 0123456789abcdef0123456789abcdef01234567",
        ),
        (
            "DS",
            "1 RSASHA1 1 ( 0123456789abcdef0123 456789abcdef01234567 )",
            "0001 05 01 0123456789abcdef0123456789abcdef01234567",
        ),
        ("CDS", "0 0 0 00", "0000 00 00 00"),
        ("DNSKEY", "256 3 13 AQID", "0100 03 0d 010203"),
        (
            "RRSIG",
            "A 13 2 60 20300101000000 20200101000000 7 a. AQID",
            "0001 0d 02 0000003c 70dbd880 5e0be100 0007 0161 00 010203",
        ),
        (
            "NSEC",
            "a. A MX TYPE1234",
            "0161 00 00 02 4001 04 1b 000000000000000000000000000000000000000000000000000020",
        ),
        ("TYPE65280", r"\# 3 ab CDef", "abcdef"),
        ("TYPE65280", r"\# 0", ""),
        ("A", r"\# 4 c0000207", "c0000207"),
        (
            "LOC",
            "42 21 54 N 71 06 18 W -24m 30m",
            "00 33 16 13 89 17 2d d0 70 be 15 f0 00 98 8d 20",
        ),
        (
            "APL",
            "1:192.0.2.0/24 !2:2001:db8::/32",
            "0001 18 03 c00002 0002 20 84 20010db8",
        ),
        ("EUI48", "00-00-5e-00-53-2a", "00005e00532a"),
        ("NID", "10 0014:4fff:ff20:ee64", "000a 00144fffff20ee64"),
        (
            "IPSECKEY",
            "10 1 2 192.0.2.38 AQID",
            "0a 01 02 c0000226 010203",
        ),
        ("AMTRELAY", "10 1 0 .", "0a 80"),
        ("CSYNC", "66 3 A NS", "00000042 0003 00 01 60"),
        (
            "URI",
            "10 1 \"ftp://example.org\"",
            "000a 0001 6674703a2f2f6578616d706c652e6f7267",
        ),
        (
            "NAPTR",
            "100 10 \"u\" \"s\" \"!^.*$!a!\" .",
            "0064 000a 0175 0173 08215e2e2a24216121 00",
        ),
        ("NSEC3PARAM", "1 0 12 aabbccdd", "01 00 000c 04 aabbccdd"),
        (
            "TLSA",
            "3 1 1 ( 0000000000000000 0000000000000000 0000000000000000 0000000000000000 )",
            "030101 0000000000000000000000000000000000000000000000000000000000000000",
        ),
        // RFC 9460, Appendix D.
        (
            "SVCB",
            "0 foo.example.com.",
            "0000 03666f6f 076578616d706c65 03636f6d 00",
        ),
        ("SVCB", "1 .", "0001 00"),
        (
            "SVCB",
            "16 foo.example.com. port=53",
            "0010 03666f6f076578616d706c6503636f6d00 0003 0002 0035",
        ),
        (
            "SVCB",
            "1 foo.example.com. key667=hello",
            "0001 03666f6f076578616d706c6503636f6d00 029b 0005 68656c6c6f",
        ),
        (
            "SVCB",
            r#"1 foo.example.com. key667="hello\210qoo""#,
            "0001 03666f6f076578616d706c6503636f6d00 029b 0009 68656c6c6fd2716f6f",
        ),
        (
            "SVCB",
            r#"1 foo.example.com. ipv6hint="2001:db8::1,2001:db8::53:1""#,
            "0001 03666f6f076578616d706c6503636f6d00 0006 0020 20010db8000000000000000000000001 20010db8000000000000000000530001",
        ),
        (
            "SVCB",
            "16 a. ( alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1 )",
            "0010 0161 00 0000 0004 0001 0004 0001 0009 026832 0568332d3139 0004 0004 c0000201",
        ),
        (
            "SVCB",
            r#"16 a. alpn="f\\\\oo\\,bar,h2""#,
            "0010 0161 00 0001 000c 08 665c6f6f2c626172 026832",
        ),
    ];
    for (rtype, text, expected) in cases {
        assert_eq!(rdata(rtype, text), Ok(hex(expected)), "{rtype} {text}");
        let presented = present(rtype, &hex(expected));
        assert_eq!(
            rdata(rtype, &presented),
            Ok(hex(expected)),
            "{rtype} {presented}"
        );
    }
}

/// RDATA as text.
fn present(rtype: &str, rdata: &[u8]) -> String {
    let code = rtype.parse::<wire::Type>().map_or(0, |rtype| rtype.0);
    let len = rdata.len() as u16;
    let mut record = vec![0];
    record.extend_from_slice(&code.to_be_bytes());
    record.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
    record.extend_from_slice(&len.to_be_bytes());
    record.extend_from_slice(rdata);
    let mut records = wire::Records::new(&record, 0, [1, 0, 0]);
    let record = records.next().expect("a record").expect("a sound record");
    crate::present_rdata(&record)
}

#[test]
fn rdata_is_presented_as_people_write_it() {
    for (rtype, text) in [
        ("A", "192.0.2.1"),
        ("MX", "10 mail.example.org."),
        ("TXT", r#""a \"b\" \\ \007" "c d""#),
        ("CAA", r#"0 issue "ca.example.net""#),
        ("DS", "1 13 99 ABCDEF00"),
        ("NSEC", "a.example.org. A NS TYPE65280"),
        ("NSEC3", "1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A RRSIG"),
        (
            "RRSIG",
            "A 13 2 60 20300101000000 20000229235959 7 example.org. AAEC",
        ),
        (
            "HTTPS",
            "1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1",
        ),
    ] {
        let octets = rdata(rtype, text).expect("RDATA");
        assert_eq!(present(rtype, &octets), text, "{rtype}");
    }
    assert_eq!(present("A", &[1, 2, 3]), r"\# 3 010203");
    assert_eq!(present("TYPE65280", &[]), r"\# 0");
}

#[test]
fn malformed_rdata_is_refused() {
    let cases = [
        ("A", "192.0.2"),
        ("A", "192.0.2.256"),
        ("A", "192.0.2.1 192.0.2.2"),
        ("A", ""),
        ("A", r"\# 3 c00002"),
        ("A", r"\# 4 c00002"),
        ("AAAA", "192.0.2.1"),
        ("MX", "65536 a."),
        ("MX", "a."),
        ("CNAME", "a..b"),
        ("TXT", ""),
        ("SSHFP", "1 1 0123"),
        ("SSHFP", "1 2 0123456789abcdef0123456789abcdef01234567"),
        ("SSHFP", "1 1 012"),
        ("DS", "1 13 2 00"),
        ("DS", "1 13 2"),
        ("CDS", "1 13 1 00"),
        ("ZONEMD", "1 1 1 00"),
        ("DNSKEY", "256 3 13 AQI"),
        ("CAA", "0 iss-ue x"),
        ("NSEC", "a."),
        ("RRSIG", "A 13 2 60 20301301000000 20200101000000 7 a. AQID"),
        ("LOC", "91 N 1 E 0m"),
        ("APL", "1:192.0.2.0/33"),
        ("TSIG", "x"),
        ("ANY", r"\# 0"),
        ("OPT", r"\# 0"),
        ("TYPE65280", "abc"),
        // RFC 9460, Appendix D.3.
        ("SVCB", "1 foo.example.com. key123=abc key123=def"),
        ("SVCB", "1 foo.example.com. mandatory"),
        ("SVCB", "1 foo.example.com. alpn"),
        ("SVCB", "1 foo.example.com. port"),
        ("SVCB", "1 foo.example.com. ipv4hint"),
        ("SVCB", "1 foo.example.com. no-default-alpn=abc"),
        ("SVCB", "1 foo.example.com. mandatory=key123"),
        ("SVCB", "1 foo.example.com. mandatory=mandatory"),
        (
            "SVCB",
            "1 foo.example.com. mandatory=key123,key123 key123=abc",
        ),
        ("HTTPS", "1 . no-default-alpn"),
        ("HTTPS", "1 . alpn="),
        ("HTTPS", "1 . dohpath=/q"),
    ];
    for (rtype, text) in cases {
        assert!(rdata(rtype, text).is_err(), "{rtype} {text}");
    }
}

#[test]
fn complaints_name_file_line_and_column() {
    let cases = [
        ("x A 192.0.2\n", "zone:5:5: expected an IPv4 address"),
        ("x  IN\tBAD y\n", "zone:5:7: `BAD` is not a record type"),
        (
            "x CH A 192.0.2.1\n",
            "zone:5:3: only the class IN is served",
        ),
        (
            "x A (\n 192.0.2.1\n x )\n",
            "zone:7:2: unexpected text after the A record",
        ),
        ("x A\n", "zone:5:3: an IPv4 address is missing"),
        ("$NOPE 1\n", "zone:5:1: unknown directive $NOPE"),
        (
            "$INCLUDE other\n",
            "zone:5:10: other cannot be read: entity not found",
        ),
        (
            "$GENERATE 1-99999 h$ A 192.0.2.1\n",
            "zone:5:11: the range has more than 65,536 numbers",
        ),
        (
            "x CNAME a\nx A 192.0.2.1\n",
            "zone:6: x.example.org. has a CNAME record and other data (RFC 2181, 10.1)",
        ),
        (
            "x CNAME a\nx CNAME b\n",
            "zone:6: x.example.org. has more than one CNAME record",
        ),
        (
            "x DNAME a\nx DNAME b\n",
            "zone:6: x.example.org. has more than one DNAME record",
        ),
        (
            "@ SOA ns h 2 2 3 4 5\n",
            "zone:5: example.org. has more than one SOA record",
        ),
        (
            "x SOA ns h 2 2 3 4 5\n",
            "zone:5: x.example.org. has a SOA record and is not the apex",
        ),
        (
            "x 4294967296 A 192.0.2.1\n",
            "zone:5:3: the TTL does not fit into 32 bits",
        ),
        ("x \"A\n", "zone:5:3: a quoted string is not closed"),
    ];
    for (text, expected) in cases {
        let got = load(&format!("{HEAD}{text}")).map(|_| ());
        assert_eq!(got, Err(vec![expected.to_owned()]), "{text}");
    }
    let got = load("$TTL 1\nwww A 192.0.2.1\n").map(|_| ());
    assert_eq!(
        got,
        Err(vec![
            "zone: the zone has no SOA record at its apex example.org.".to_owned()
        ])
    );
    let many = "x A bad\n".repeat(1_000);
    assert_eq!(load(&many).map(|_| ()).map_err(|all| all.len()), Err(20));
}

#[test]
fn oddities_are_warned_of() {
    let cases = [
        ("*.x NS ns\n", "a wildcard delegates nothing"),
        (
            "x.example.net. A 192.0.2.1\n",
            "x.example.net. is not within example.org.; the record is passed over",
        ),
        (
            "x 1 A 192.0.2.1\nx 2 A 192.0.2.2\n",
            "the TTL is 2 but that of the RRset is 1",
        ),
        ("x 2147483648 A 192.0.2.1\n", "counts as 0"),
        (
            "x NS ns.x\n",
            "the name server ns.x.example.org. of x.example.org. has no address in the zone",
        ),
        ("x NS y\ny CNAME ns\n", "is a CNAME"),
        (
            "x DNAME example.net.\na.x A 192.0.2.1\n",
            "is hidden by the DNAME record at x.example.org.",
        ),
    ];
    for (text, expected) in cases {
        let loaded = load(&format!("{HEAD}{text}")).expect("a zone");
        let all: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(all.len(), 1, "{text}: {all:?}");
        assert!(all[0].contains(expected), "{text}: {all:?}");
    }
    assert!(load(HEAD).expect("a zone").warnings.is_empty());
}

/// What only follows from a mistake is not told beside it.
#[test]
fn a_mistake_in_the_first_record_is_told_once() {
    let owner = "the first record of a file needs an owner";
    for (text, expected) in [
        (
            "  60 IN SOA ns h 1 2 3 4 5\n  NS ns\nns A 192.0.2.1\n",
            owner,
        ),
        (
            "  IN SOA ns h 1 2 3 4 5\n  IN NS ns\nns A 192.0.2.1\n",
            owner,
        ),
        (
            "@ 60 IN SOA ns h 1 2 3 4 bad\n@ NS ns\nns A 192.0.2.1\n",
            "bad",
        ),
        (
            "@ IN SOA ns h 1 2 3 4\n@ NS ns\nns A 192.0.2.1\n",
            "zone:1:",
        ),
        (
            "$TTL bad\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n",
            "expected a TTL",
        ),
    ] {
        let all = load(text).map(drop).expect_err(text);
        assert_eq!(all.len(), 1, "{text}: {all:?}");
        assert!(
            all[0].contains(expected) || all[0].starts_with("zone:1:"),
            "{all:?}"
        );
    }
    // A TTL that nobody wrote is a mistake of its own.
    let all = load("ns A 192.0.2.1\n@ 60 SOA ns h 1 2 3 4 5\n@ NS ns\n").map(drop);
    assert!(all.is_err_and(|all| all[0].contains("the record has no TTL")));
}

#[test]
fn a_soa_record_of_another_zone_is_taken_where_that_is_wanted() {
    let text = "$ORIGIN test.com.\n@ 60 SOA ns h 7 2 3 4 5\nwww 60 A 192.0.2.1\n";
    for apex in [".", "com.", "example.org."] {
        let apex: NameBuf = apex.parse().expect("a name");
        let loader = Loader::new(apex.as_name());
        assert!(loader.load_text(text).is_err(), "{apex}");
        let loaded = loader.any_soa(true).load_text(text).expect("a zone");
        let zones: Vec<_> = loaded
            .warnings
            .iter()
            .filter_map(|one| one.soa_of.as_ref())
            .collect();
        assert_eq!(zones.len(), 1, "{apex}: {:?}", loaded.warnings);
        assert_eq!(zones[0].to_string(), "test.com.");
        let soa = loaded.zone.soa().expect("a SOA record");
        assert_eq!(soa.owner().to_string(), "test.com.");
        assert_eq!((loaded.zone.serial(), loaded.zone.timers()), (7, [2, 3, 4]));
        let mut rdata = Vec::new();
        soa.write_rdata(&mut rdata);
        assert!(rdata.starts_with(b"\x02ns\x04test\x03com\0\x01h\x04test\x03com\0"));
    }
    // That of the apex is the one that counts.
    let apex: NameBuf = "example.org.".parse().expect("a name");
    let both = format!("{HEAD}x.example.net. SOA ns h 9 2 3 4 5\n");
    let loaded = Loader::new(apex.as_name()).any_soa(true).load_text(&both);
    assert_eq!(loaded.expect("a zone").zone.serial(), 1);
}

#[test]
fn a_zone_without_name_servers_is_no_more_than_a_note() {
    let loaded = load("@ 60 SOA ns h 1 2 3 4 5\n").expect("a zone");
    let notes: Vec<_> = loaded
        .warnings
        .iter()
        .map(|one| (one.note, one.to_string()))
        .collect();
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].0 && notes[0].1.contains("no NS records"),
        "{notes:?}"
    );
}

#[test]
fn ttls_classes_owners_and_origins() {
    let text = "\u{feff}@ 1h IN SOA ns h 1 2 3 4 5\r\n\
        \tIN 2h NS ns\r\n\
        $ORIGIN sub\r\n\
        a A 192.0.2.1\r\n\
        $TTL 5m\r\n\
        b\tA\t192.0.2.2\r\n\
        \tIN\tAAAA\t2001:db8::2\r\n\
        c 7 A 192.0.2.3\r\n\
        $ORIGIN example.org.\r\n\
        $GENERATE 1-3/2 d$ 9 A 192.0.2.$\r\n\
        b.sub A 192.0.2.2\r\n";
    let zone = load(text).expect("a zone").zone;
    let all: Vec<String> = zone
        .records()
        .map(|r| {
            format!(
                "{} {} {} {:?}",
                r.owner(),
                r.ttl(),
                r.rtype(),
                r.rdata().last()
            )
        })
        .collect();
    let expected = [
        "example.org. 7200 NS Some(0)",
        "example.org. 3600 SOA Some(5)",
        "a.sub.example.org. 7200 A Some(1)",
        "b.sub.example.org. 300 A Some(2)",
        "b.sub.example.org. 300 AAAA Some(2)",
        "c.sub.example.org. 7 A Some(3)",
        "d1.example.org. 9 A Some(1)",
        "d3.example.org. 9 A Some(3)",
    ];
    assert_eq!(all, expected);
    assert_eq!(zone.serial(), 1);
    let statistics = zone.statistics();
    assert_eq!(
        (statistics.owners, statistics.rrsets, statistics.records),
        (6, 8, 8)
    );
}

#[test]
fn the_same_text_serves_other_origins() {
    for origin in ["example.org.", "example.net."] {
        let name: NameBuf = origin.parse().expect("a name");
        let zone = Loader::new(name.as_name())
            .load_text(HEAD)
            .expect("a zone")
            .zone;
        assert_eq!(zone.apex().to_string(), origin);
    }
}

/// Texts with octets changed, cut and repeated: no panic, and what loads can be asked.
#[test]
fn no_text_makes_it_panic() {
    let seed_text = format!(
        "{HEAD}$GENERATE 0-9 h${{0,2,x}} A 192.0.2.$\n@ MX 10 ns\n*.w CNAME ns\nd DNAME x.y.\nc NS ns.c\nns.c AAAA ::1\n\
         t TXT \"a\\\"b\" c\\;d\ns SVCB 1 ns alpn=\"h2,h3\" port=53 ipv4hint=192.0.2.1\nr RRSIG A 13 2 60 20300101000000 \
         20200101000000 7 a. AQID\nn NSEC a. A MX\nu TYPE65280 \\# 3 abcdef\nl LOC 42 21 54 N 71 06 18 W -24m 30m\n"
    );
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let origin = Name::new(b"\x07example\x03org\0").expect("a name");
    let (mut loaded, pool) = (0, b"$(){}\\\"; \t\r\n.@*0159AaNS\0\xFF-,=#/");
    for _ in 0..if cfg!(miri) { 4 } else { 4_000 } {
        let mut octets = seed_text.clone().into_bytes();
        for _ in 0..1 + random(4) {
            let at = random(octets.len());
            match random(4) {
                0 => octets[at] = pool[random(pool.len())],
                1 => octets.insert(at, pool[random(pool.len())]),
                2 => {
                    octets.remove(at);
                }
                _ => {
                    let end = (at + random(40)).min(octets.len());
                    let piece = octets[at..end].to_vec();
                    let to = random(octets.len());
                    octets.splice(to..to, piece);
                }
            }
        }
        let reader = crate::Memory::of("zone", octets);
        if let Ok(found) = Loader::new(origin).load(&reader, std::path::Path::new("zone")) {
            loaded += 1;
            for qname in [
                "x.w.example.org.",
                "a.d.example.org.",
                "x.c.example.org.",
                "t.example.org.",
            ] {
                super::ask(&found.zone, qname, Type::A, true);
            }
            for record in found.zone.records() {
                assert_eq!(check_rdata(record.rtype(), &record.rdata()), Ok(()));
            }
        }
    }
    assert!(loaded > 100 || cfg!(miri), "{loaded}");
}

/// Loads a zone of many A records; with `ZONE_RECORDS` set, of as many as it says, and tells how long it took.
#[test]
fn load_million() {
    let records: usize = std::env::var("ZONE_RECORDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(if cfg!(miri) { 100 } else { 20_000 });
    let mut text = String::from(HEAD);
    for n in 0..records {
        text += &format!(
            "host{n} A 10.{}.{}.{}\n",
            n >> 16 & 255,
            n >> 8 & 255,
            n & 255
        );
    }
    let start = std::time::Instant::now();
    let zone = load(&text).expect("a zone").zone;
    let took = start.elapsed();
    let statistics = zone.statistics();
    println!(
        "{} records in {took:?} ({} ns each), {} octets ({:.1} each)",
        statistics.records,
        took.as_nanos() / statistics.records as u128,
        statistics.octets,
        statistics.octets as f64 / statistics.records as f64
    );
    assert_eq!(statistics.records, records + 3);
    assert!(statistics.octets / statistics.records <= 100 || cfg!(miri));
}

/// What a zone gives out makes the same zone again.
#[test]
fn records_make_the_zone_they_came_from() {
    let text = format!(
        "{HEAD}a MX 10 a\na MX 20 b.example.net.\n*.w TXT x\nZz A 192.0.2.9\nc NS ns.c\nns.c A 192.0.2.8\n"
    );
    let zone = load(&text).expect("a zone").zone;
    let mut builder = crate::Builder::new(zone.apex());
    for record in zone.records() {
        let fixed = (record.rtype(), record.ttl());
        let added = builder.push(
            record.owner(),
            fixed,
            &record.rdata(),
            crate::Place::default(),
        );
        assert_eq!(added, Ok(()));
    }
    let again = builder.build().expect("a zone");
    let all = |zone: &crate::Zone| -> Vec<String> {
        let line = |r: crate::ZoneRecord<'_>| {
            format!("{} {} {} {:?}", r.owner(), r.ttl(), r.rtype(), r.rdata())
        };
        zone.records().map(line).collect()
    };
    assert_eq!(all(&again), all(&zone));
    assert_eq!(all(&zone).len(), 9);
    assert!(crate::Builder::new(zone.apex()).build().is_err(), "no SOA");
}

/// Forms that other servers load, each with what they make of it.
#[test]
fn forms_of_other_servers() {
    let rows = [
        // BIND, NSD, CoreDNS: a quote ends a word; `="` belongs to SvcParams alone.
        (
            "TXT",
            r#"realm="EXAMPLE.ORG""#,
            "06 7265616c6d3d 0b 4558414d504c452e4f5247",
        ),
        ("TXT", r#"a="b c" d"#, "02 613d 03 622063 01 64"),
        ("TXT", r#"a"b"c"#, "01 61 01 62 01 63"),
        (
            "SVCB",
            r#"1 foo. alpn="h2,h3""#,
            "0001 03666f6f00 0001 0006 02683202 6833",
        ),
        (
            "SVCB",
            r#"1 foo. port="443" alpn=h2"#,
            "0001 03666f6f00 0001 0003 026832 0003 0002 01bb",
        ),
        // A key under its number has octets as its value (RFC 9460, 2.1).
        (
            "SVCB",
            r"1 foo. key3=\001\187",
            "0001 03666f6f00 0003 0002 01bb",
        ),
        (
            "SVCB",
            r"1 foo. key1=\002h2",
            "0001 03666f6f00 0001 0003 026832",
        ),
        (
            "SVCB",
            r#"1 foo. key65000="a b""#,
            "0001 03666f6f00 fde8 0003 612062",
        ),
        // A string goes on behind the end of the line.
        ("TXT", "\"a\nb\"", "03 610a62"),
        ("TXT", "( \"v=DKIM1\np=a\" )", "0b 763d444b494d310a703d61"),
    ];
    for (rtype, text, wanted) in rows {
        assert_eq!(rdata(rtype, text), Ok(hex(wanted)), "{rtype} {text}");
    }
    assert!(
        rdata("SVCB", r"1 foo. key3=443").is_err(),
        "three octets are no port"
    );
}

#[test]
fn what_generate_makes_and_what_comes_after_it() {
    let text = format!(
        "{HEAD}w A 192.0.2.9\n$GENERATE 1-2 HOST-$ MX \"0 .\"\n$GENERATE 1-2 s$ A 192.0.2.$\n TXT whose\n$GENERATE 7-7 t$ TXT \"a $ b\"\n"
    );
    let loaded = load(&text).expect("a zone");
    let found: Vec<String> = loaded
        .zone
        .records()
        .filter(|record| matches!(record.rtype(), Type::MX | Type::TXT))
        .map(|record| {
            format!(
                "{} {} {}",
                record.owner(),
                record.rtype(),
                record.rdata().len()
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            "w.example.org. TXT 6",
            "HOST-1.example.org. MX 3",
            "HOST-2.example.org. MX 3",
            "t7.example.org. TXT 6",
        ]
    );
}
