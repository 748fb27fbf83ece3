//! ZONEMD: the zones of RFC 8976, appendix A, and what becomes of zones with a mistake.

use crate::{DigestPolicy, Digested, HashAlgorithm, Loader, Zone};

const SIMPLE: &str = "\
example. 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400
example. 86400 IN NS ns1
example. 86400 IN NS ns2
example. 86400 IN ZONEMD 2018031900 1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c
ns1 3600 IN A 203.0.113.63
ns2 3600 IN AAAA 2001:db8::63
";

const COMPLEX: &str = "\
example. 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400
example. 86400 IN NS ns1
example. 86400 IN NS ns2
example. 86400 IN ZONEMD 2018031900 1 1 a3b69bad980a3504e1cffcb0fd6397f93848071c93151f552ae2f6b1711d4bd2d8b39808226d7b9db71e34b72077f8fe
ns1 3600 IN A 203.0.113.63
NS2 3600 IN AAAA 2001:db8::63
occluded.sub 7200 IN TXT \"I'm occluded but must be digested\"
sub 7200 IN NS ns1
duplicate 300 IN TXT \"I must be digested just once\"
duplicate 300 IN TXT \"I must be digested just once\"
foo.test. 555 IN TXT \"out-of-zone data must be excluded\"
UPPERCASE 3600 IN TXT \"canonicalize uppercase owner names\"
* 777 IN PTR dont-forget-about-wildcards
mail 3600 IN MX 20 MAIL1
mail 3600 IN MX 10 Mail2.Example.
sortme 3600 IN AAAA 2001:db8::5:61
sortme 3600 IN AAAA 2001:db8::3:62
sortme 3600 IN AAAA 2001:db8::4:63
sortme 3600 IN AAAA 2001:db8::1:65
sortme 3600 IN AAAA 2001:db8::2:64
non-apex 900 IN ZONEMD 2018031900 1 1 616c6c6f776564206275742069676e6f7265642e20616c6c6f776564206275742069676e6f7265642e20616c6c6f7765
";

const SEVERAL: &str = "\
example. 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400
example. 86400 IN NS ns1.example.
example. 86400 IN NS ns2.example.
example. 86400 IN ZONEMD 2018031900 1 1 62e6cf51b02e54b9b5f967d547ce43136792901f9f88e637493daaf401c92c279dd10f0edb1c56f8080211f8480ee306
example. 86400 IN ZONEMD 2018031900 1 2 08cfa1115c7b948c4163a901270395ea226a930cd2cbcf2fa9a5e6eb85f37c8a4e114d884e66f176eab121cb02db7d652e0cc4827e7a3204f166b47e5613fd27
example. 86400 IN ZONEMD 2018031900 1 240 e2d523f654b9422a96c5a8f44607bbee
example. 86400 IN ZONEMD 2018031900 241 1 e1846540e33a9e4189792d18d5d131f605fc283e
ns1.example. 3600 IN A 203.0.113.63
ns2.example. 86400 IN TXT \"This example has multiple digests\"
NS2.EXAMPLE. 3600 IN AAAA 2001:db8::63
";

fn load(text: &str, policy: DigestPolicy) -> Result<Digested, String> {
    let apex: wire::NameBuf = "example.".parse().expect("a name");
    let loader = Loader::new(apex.as_name()).digest(policy);
    match loader.load_text(text) {
        Ok(loaded) => Ok(loaded.digested),
        Err(complaints) => {
            assert!(complaints.iter().all(|complaint| complaint.conflict));
            Err(complaints[0].to_string())
        }
    }
}

fn zone(apex: &str, text: &str) -> Zone {
    let apex: wire::NameBuf = apex.parse().expect("a name");
    let loader = Loader::new(apex.as_name()).digest(DigestPolicy::Off);
    loader.load_text(text).expect("a zone").zone
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn rfc_8976_appendix_a() {
    let good = Ok(Digested::Verified(HashAlgorithm::Sha384));
    for text in [SIMPLE, COMPLEX, SEVERAL] {
        assert_eq!(load(text, DigestPolicy::On), good, "{text}");
        assert_eq!(load(text, DigestPolicy::Require), good, "{text}");
    }
    let other = SEVERAL.replace("1 1 62e6", "1 1 62e7");
    let good = Ok(Digested::Verified(HashAlgorithm::Sha512));
    assert_eq!(
        load(&other, DigestPolicy::On),
        good,
        "one of them is enough"
    );
}

#[test]
fn a_change_is_noticed() {
    for (from, to) in [
        ("203.0.113.63", "203.0.113.64"),
        ("ns1 3600", "ns1 3601"),
        ("ns2 3600 IN AAAA 2001:db8::63\n", ""),
        ("ns2 3600", "extra 3600 IN A 192.0.2.1\nns2 3600"),
        ("ns1 3600", "ns3 3600"),
    ] {
        let text = SIMPLE.replacen(from, to, 1);
        assert_ne!(text, SIMPLE);
        let refused = load(&text, DigestPolicy::On);
        let expected = "zone:4: the zone does not match its ZONEMD record (SHA-384)";
        assert_eq!(refused, Err(expected.to_owned()), "{from} -> {to}");
        assert_eq!(load(&text, DigestPolicy::Off), Ok(Digested::Not));
    }
    // Letters of names, and the order of records, are no change.
    let text = SIMPLE
        .replace("ns1 3600", "NS1 3600")
        .replace("NS ns2", "NS nS2");
    let good = Ok(Digested::Verified(HashAlgorithm::Sha384));
    assert_eq!(load(&text, DigestPolicy::On), good);
    let mut lines: Vec<&str> = SIMPLE.lines().collect();
    lines[1..].reverse();
    assert_eq!(
        load(&format!("{}\n", lines.join("\n")), DigestPolicy::On),
        good
    );
}

#[test]
fn records_that_say_nothing() {
    let line = |text: &str| {
        SIMPLE
            .lines()
            .find(|line| line.contains(text))
            .expect("a line")
            .to_owned()
            + "\n"
    };
    let claim = line("ZONEMD");
    let rest = SIMPLE.replace(&claim, "");
    for (claims, on, require) in [
        (String::new(), "Ok(Not)", "the zone has no ZONEMD record"),
        (
            claim.replace("1 1 c6", "1 240 c6"),
            "Ok(Unknown)",
            "the zone has no ZONEMD record with a known scheme and hash algorithm",
        ),
        (
            claim.replace("1 1 c6", "240 1 c6"),
            "Ok(Unknown)",
            "the zone has no ZONEMD record with a known scheme and hash algorithm",
        ),
        (
            claim.replace("2018031900", "2018031901"),
            "the ZONEMD record is for serial 2018031901, but the zone has 2018031900",
            "the ZONEMD record is for serial 2018031901",
        ),
        (
            format!("{claim}{}", claim.replace("1 1 c6", "1 1 c7")),
            "the zone has several ZONEMD records of scheme 1 and hash algorithm 1",
            "the zone has several ZONEMD records",
        ),
    ] {
        let text = format!("{rest}{claims}");
        for (policy, expected) in [(DigestPolicy::On, on), (DigestPolicy::Require, require)] {
            let said = format!("{:?}", load(&text, policy));
            assert!(said.contains(expected), "{claims} {policy:?}: {said}");
        }
    }
    // With one of another kind beside them, that one counts.
    let apex = zone("example.", &rest);
    let digest = hex(&apex.digest(HashAlgorithm::Sha512));
    let other = format!("example. 86400 IN ZONEMD 2018031900 1 2 {digest}\n");
    let text = format!("{rest}{claim}{}{other}", claim.replace("1 1 c6", "1 1 c7"));
    let good = Ok(Digested::Verified(HashAlgorithm::Sha512));
    assert_eq!(load(&text, DigestPolicy::On), good);
}
