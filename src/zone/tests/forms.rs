//! Names that stand for numbers in RDATA, and RDATA that BIND refuses in every form. The octets are those that `named-compilezone` gives.

use super::load::{hex, rdata};

#[test]
fn mnemonics_stand_for_numbers() {
    let rows = [
        ("HHIT", "AQIDBA==", "01020304"),
        ("BRID", "AQID BA==", "01020304"),
        ("DSYNC", "CDS NOTIFY 5300 a.", "003b 01 14b4 016100"),
        ("DSYNC", "CDS 2 5300 a.", "003b 02 14b4 016100"),
        ("KEY", "NOCONF|ZONE 3 13 AQID", "4100 03 0d 010203"),
        ("KEY", "HOST|EXTEND IPSEC RSASHA1 AQID", "1200 04 05 010203"),
        ("KEY", "zone|sig15 all RSAMD5 AQID", "010f ff 01 010203"),
        ("KEY", "USER TLS RSASHA256 AQID", "0000 01 08 010203"),
        ("KEY", "NOKEY DNSSEC RSASHA256", "c000 03 08"),
        ("KEY", "49152 3 8", "c000 03 08"),
        ("KEY", "0xC000 3 8", "c000 03 08"),
        (
            "DNSKEY",
            "ZONE|KSK DNSSEC ECDSAP256SHA256 AQID",
            "0101 03 0d 010203",
        ),
        ("DNSKEY", "0x100 3 8 AQID", "0100 03 08 010203"),
        (
            "DS",
            "1 RSASHA1 SHA-1 0123456789abcdef0123456789abcdef01234567",
            "0001 05 01 0123456789abcdef0123456789abcdef01234567",
        ),
        ("CERT", "PKIX 1 INDIRECT AQID", "0001 0001 fc 010203"),
        ("CERT", "IPGP 1 NSEC3RSASHA1 AQID", "0006 0001 07 010203"),
        (
            "RRSIG",
            "A INDIRECT 2 60 20300101000000 20200101000000 7 a. AQID",
            "0001 fc 02 0000003c 70dbd880 5e0be100 0007 0161 00 010203",
        ),
        ("WKS", "192.0.2.1 TCP smtp", "c0000201 06 00000040"),
        (
            "WKS",
            "192.0.2.1 6 80 25 domain",
            "c0000201 06 00000040 00000400 0000 80",
        ),
        (
            "WKS",
            "192.0.2.1 UDP NTP",
            "c0000201 11 000000000000000000000000000000 10",
        ),
        ("WKS", "192.0.2.1 17", "c0000201 11"),
        (
            "GPOS",
            "-32.6882 116.8652 10.0",
            "08 2d33322e36383832 08 3131362e38363532 04 31302e30",
        ),
        ("GPOS", "116 -32 +1.", "03 313136 03 2d3332 03 2b312e"),
        ("X25", "311061700956", "0c 333131303631373030393536"),
        ("LOC", r"\# 2 0100", "0100"),
        ("AMTRELAY", r"\# 4 0A840102", "0a840102"),
        ("DNSKEY", r"\# 5 C00003080A", "c0000308 0a"),
        (
            "A6",
            r"\# 17 0020010DB8000000000000000000000001",
            "00 20010db8000000000000000000000001",
        ),
        (
            "A6",
            r"\# 12 40 0000000000000001 016100",
            "40 0000000000000001 016100",
        ),
        ("A6", r"\# 4 80 016100", "80 016100"),
        ("NXT", r"\# 5 016100 4001", "016100 4001"),
        ("ATMA", r"\# 4 01313233", "01 313233"),
        ("EID", "E32C 6F78163A9348", "e32c6f78163a9348"),
        ("NIMLOC", "3251", "3251"),
        (
            "DOA",
            r"\# 12 00000001 00000002 03 0161 62",
            "00000001 00000002 03 0161 62",
        ),
        ("TXT", "\"a\\\nb\"", "03 610a62"),
        ("CAA", "0 issue \"a\nb\"", "00 05 6973737565 610a62"),
        (
            "HTTPS",
            r#"1 . dohpath="/q{?foo,dns}""#,
            "0001 00 0007 000c 2f717b3f666f6f2c646e737d",
        ),
        (
            "HTTPS",
            r#"1 . dohpath="/q?x=1{&dns}""#,
            "0001 00 0007 000c 2f713f783d317b26646e737d",
        ),
        (
            "HTTPS",
            r#"1 . dohpath="/{+dns*}""#,
            "0001 00 0007 0008 2f7b2b646e732a7d",
        ),
        (
            "NAPTR",
            r#"1 2 "" "" "!^(a|b).*$!x:\\1!i" a."#,
            "0001 0002 00 00 11 215e28617c62292e2a2421783a5c312169 016100",
        ),
        (
            "NAPTR",
            r#"1 2 u "" "/a\\/b/c/" ."#,
            "0001 0002 0175 00 08 2f615c2f622f632f 00",
        ),
        ("HTTPS", r"1 . alpn=h\050", "0001 00 0001 0003 026832"),
    ];
    for (rtype, text, wanted) in rows {
        assert_eq!(rdata(rtype, text), Ok(hex(wanted)), "{rtype} {text}");
    }
}

#[test]
fn what_bind_refuses_is_refused() {
    let rows = [
        ("HHIT", ""),
        ("DSYNC", "CDS BOGUS 5300 a."),
        ("KEY", "BOGUS 3 8 AQID"),
        ("KEY", "NOAUTH|NOCONF 3 8 AQID"),
        ("KEY", "0x 3 8 AQID"),
        ("KEY", "0x10000 3 8 AQID"),
        ("KEY", "49152 3 8 AQID"),
        ("KEY", "256 3 8"),
        ("KEY", r"\# 4 01000308"),
        ("CERT", "PKIX 1 BOGUS AQID"),
        ("WKS", "192.0.2.1 bogus 25"),
        ("WKS", "192.0.2.1 tcp bogus"),
        ("WKS", "192.0.2.1 tcp 65536"),
        ("WKS", r"\# 4 c0000201"),
        ("X25", "31a1"),
        ("X25", "311"),
        ("LOC", r"\# 0"),
        ("WKS", r"\# 7 c0000201 06 4000"),
        ("RKEY", r"\# 5 0100030801"),
        ("CDNSKEY", r"\# 4 C0000308"),
        ("EID", r"\# 0"),
        ("NIMLOC", r"\# 0"),
        ("SINK", r"\# 2 0101"),
        ("ATMA", r"\# 1 00"),
        ("ATMA", r"\# 2 0161"),
        ("A6", r"\# 0"),
        ("A6", r"\# 1 81"),
        ("A6", r"\# 5 7C 10 016100"),
        ("A6", r"\# 1 80"),
        ("A6", r"\# 20 00 20010DB8000000000000000000000001 016100"),
        ("NXT", r"\# 0"),
        ("NXT", r"\# 5 016100 4000"),
        ("DOA", r"\# 0"),
        ("DOA", r"\# 11 00000001 00000002 03 0261"),
        ("LOC", r"\# 1 00"),
        ("LOC", r"\# 16 00AA1613 80000000 80000000 00989680"),
        ("LOC", r"\# 16 00121613 FFFFFFFF 80000000 00989680"),
        ("LOC", r"\# 16 00121613 80000000 00000000 00989680"),
        ("GPOS", "a b c"),
        ("GPOS", "1 2 x"),
        ("GPOS", "1e1 2 3"),
        ("GPOS", "NaN 2 3"),
        ("GPOS", "\"\" 1 2"),
        ("GPOS", "181 0 0"),
        ("GPOS", "100 -100 0"),
        ("GPOS", r"\# 3 000000"),
        ("GPOS", r"\# 1 05"),
        ("NAPTR", r#"1 1 "" "" N a."#),
        ("NAPTR", r#"1 1 "" "" "1a1b1" a."#),
        ("NAPTR", r#"1 1 "" "" "!a!b" a."#),
        ("NAPTR", r#"1 1 "" "" "!a!b!g" a."#),
        ("NAPTR", r#"1 1 "" "" "!a!b!i!" a."#),
        ("NAPTR", r#"1 1 "" "" "!(a)!\\2!" a."#),
        ("NAPTR", r#"1 1 "" "" "!(a)!\\0!" a."#),
        ("NAPTR", r#"1 1 "" "" "!a\\!b!" a."#),
        ("HTTPS", "1 . port=5\\0513"),
        ("HTTPS", r"1 . ipv4hint=192.0.2.\049"),
        ("HTTPS", r"1 . ipv6hint=2001:db8::\049"),
        ("HTTPS", r"1 . mandatory=\097lpn alpn=h2"),
        ("HTTPS", r"1 . ech=AE\072+DQA="),
        ("HTTPS", r#"1 . dohpath="/q""#),
        ("HTTPS", r#"1 . dohpath="q{?dns}""#),
        ("HTTPS", r#"1 . dohpath="/q{?dnss}""#),
        ("HTTPS", r#"1 . dohpath="/q{?dns""#),
        ("HTTPS", r#"1 . dohpath="/q{!dns}""#),
        ("HTTPS", "1 . key1=h2"),
        ("HTTPS", "1 . key01=h2"),
    ];
    for (rtype, text) in rows {
        let read = rdata(rtype, text);
        assert!(read.is_err(), "{rtype} {text}: {read:?}");
    }
    // The longest tag, and one octet more.
    for (len, fits) in [(255, true), (256, false)] {
        let read = rdata("CAA", &format!("0 {} x", "a".repeat(len)));
        assert_eq!(read.is_ok(), fits, "{len}: {read:?}");
    }
}
