use std::net::IpAddr;

use corefile::key::Prefix;
use wire::NameBuf;

use super::quota::{ALL, CLIENT, Permit};
use super::{Stanza, Stanzas, Target, Whom};
use crate::trial;

#[test]
fn lines() {
    const TSIG: &str = "tsig {\n secret a bmV2ZXI=\n}\n";
    trial::table(&[
        (
            "transfer example.net example.org {\n to 192.0.2.1 192.0.2.2:1053 [2001:db8::2]:34\n}",
            "",
        ),
        (
            "transfer {\n to *\n to 192.0.2.0/24 2001:db8::/32\n source 192.0.2.1\n}",
            "",
        ),
        (
            "transfer {\n to [fe80::1%eth0]:53 fe80::2%eth0\n source fe80::3\n}",
            "",
        ),
        (
            "transfer {\n to 192.0.2.1%eth0\n}",
            "not an IP address or a socket address: `192.0.2.1%eth0`",
        ),
        (
            "transfer {\n to 192.0.2.1\n source 192.0.2.2\n source 2001:db8::2\n}",
            "source already specified",
        ),
        ("transfer", "'to' is required"),
        ("transfer {\n source 192.0.2.1\n}", "'to' is required"),
        ("transfer {\n to\n}", "unexpected line ending after 'to'"),
        (
            "transfer {\n to example.org\n}",
            "not an IP address or a socket address: `example.org`",
        ),
        ("transfer {\n to 192.0.2.0/33\n}", "invalid CIDR address"),
        (
            "transfer {\n to 192.0.2.1\n source example.org\n}",
            "not an IP address: `example.org`",
        ),
        (
            "transfer {\n to 192.0.2.1\n source\n}",
            "unexpected line ending after 'source'",
        ),
        (
            "transfer example.net example.org {\n invalid option\n}",
            "unknown property 'invalid'",
        ),
        (
            "transfer {\n to 192.0.2.1 key a\n}",
            "there are no keys in this server block",
        ),
        (
            "transfer {\n to 192.0.2.1 key\n}",
            "unexpected line ending after 'key'",
        ),
        (
            "transfer {\n to key a\n}",
            "unexpected line ending after 'key'",
        ),
        (&format!("{TSIG}transfer {{\n to 192.0.2.1 key a\n}}"), ""),
    ]);
}

fn name(text: &str) -> NameBuf {
    text.parse().expect("a name")
}

#[test]
fn the_longest_zone_counts_and_of_two_the_first() {
    let stanza = |zones: &[&str], address: &str| Stanza {
        zones: zones.iter().map(|zone| name(zone)).collect(),
        targets: vec![Target {
            whom: Whom::Clients(Prefix::host(address.parse().expect("an address"))),
            key: None,
        }],
        source: None,
    };
    let stanzas = Stanzas(vec![
        stanza(&["org.", "b.example.org."], "192.0.2.1"),
        stanza(&["example.org."], "192.0.2.2"),
        stanza(&["example.org."], "192.0.2.3"),
    ]);
    for (zone, found) in [
        ("example.org.", Some("192.0.2.2")),
        ("a.example.org.", Some("192.0.2.2")),
        ("b.example.org.", Some("192.0.2.1")),
        ("other.org.", Some("192.0.2.1")),
        ("example.net.", None),
    ] {
        let address = found.map(|text| text.parse::<IpAddr>().expect("an address"));
        let stanza = stanzas.matching(name(zone).as_name());
        let has = |address| stanza.is_some_and(|stanza| stanza.targets[0].whom.has(address));
        assert_eq!(stanza.is_some(), found.is_some(), "{zone}");
        assert!(address.is_none_or(has), "{zone}");
    }
}

#[test]
fn transfers_are_bounded_by_client_and_in_all() {
    let address =
        |number: usize| -> IpAddr { format!("2001:db8:{number}::1").parse().expect("an address") };
    let mut held: Vec<_> = (0..ALL / CLIENT)
        .flat_map(|number| {
            let mine: Vec<_> = (0..CLIENT)
                .map(|_| Permit::take(address(number)).expect("a place"))
                .collect();
            assert!(
                ALL == CLIENT || Permit::take(address(number)).is_none(),
                "of one client"
            );
            mine
        })
        .collect();
    // Another address of the same prefix, and another client where all places are taken.
    assert!(Permit::take("2001:db8::2".parse().expect("an address")).is_none());
    assert!(Permit::take("192.0.2.1".parse().expect("an address")).is_none());
    held.pop();
    let four = Permit::take("192.0.2.1".parse().expect("an address"));
    assert!(four.is_some());
    assert!(Permit::take("192.0.2.2".parse().expect("an address")).is_none());
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
