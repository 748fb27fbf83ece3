//! hickory-proto as the oracle: what both read from text has the same octets.

use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use proptest::prelude::*;

use super::zone;

/// The octets that hickory-proto makes of a text.
fn theirs(rtype: RecordType, text: &str) -> Vec<u8> {
    let data = RData::try_from_str(rtype, text).expect("RDATA that hickory-proto reads");
    let mut out = Vec::new();
    let mut encoder = BinEncoder::new(&mut out);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder)
        .expect("RDATA that hickory-proto writes");
    out
}

/// The octets that we make of it.
fn ours(rtype: &str, text: &str) -> Vec<u8> {
    let zone = zone(
        "example.org.",
        &format!("$TTL 1\n@ SOA ns h 1 2 3 4 5\nx {rtype} {text}\n"),
    );
    let record = zone.records().last().expect("a record");
    record.rdata()
}

#[test]
fn fixed_texts() {
    let cases = [
        ("A", RecordType::A, "192.0.2.1"),
        ("AAAA", RecordType::AAAA, "2001:db8::1"),
        ("MX", RecordType::MX, "10 mail.example.org."),
        ("NS", RecordType::NS, "ns.example.net."),
        ("CNAME", RecordType::CNAME, "www.example.org."),
        ("SRV", RecordType::SRV, "1 2 3 a.example.org."),
        ("TXT", RecordType::TXT, "abc \"d e f\""),
        ("CAA", RecordType::CAA, "0 issue \"ca.example.net\""),
        ("TLSA", RecordType::TLSA, "3 1 0 0123456789abcdef"),
        (
            "SSHFP",
            RecordType::SSHFP,
            "1 1 0123456789abcdef0123456789abcdef01234567",
        ),
        (
            "NAPTR",
            RecordType::NAPTR,
            "1 2 \"u\" \"E2U+sip\" \"\" a.example.org.",
        ),
        ("HINFO", RecordType::HINFO, "PC Linux"),
        ("CSYNC", RecordType::CSYNC, "66 3 A NS AAAA"),
        (
            "HTTPS",
            RecordType::HTTPS,
            "1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1",
        ),
        ("OPENPGPKEY", RecordType::OPENPGPKEY, "dGVzdA=="),
    ];
    for (name, rtype, text) in cases {
        assert_eq!(ours(name, text), theirs(rtype, text), "{name} {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 200 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn addresses_and_strings(a: [u8; 4], six: [u8; 16], word in "[a-zA-Z0-9 ._-]{1,60}", preference: u16) {
        let four = std::net::Ipv4Addr::from(a).to_string();
        prop_assert_eq!(ours("A", &four), theirs(RecordType::A, &four));
        let six = std::net::Ipv6Addr::from(six).to_string();
        prop_assert_eq!(ours("AAAA", &six), theirs(RecordType::AAAA, &six));
        let text = format!("\"{word}\"");
        prop_assert_eq!(ours("TXT", &text), theirs(RecordType::TXT, &text));
        let mx = format!("{preference} mail.example.org.");
        prop_assert_eq!(ours("MX", &mx), theirs(RecordType::MX, &mx));
    }
}
