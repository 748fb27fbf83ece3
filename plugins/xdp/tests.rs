use chain::setup::{Scene, XdpInterface, XdpMode};
use corefile::Report;
use corefile::key::{Key, Scheme};

use super::setup::parse as parse_lines;
use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("xdp eth0", ""),
        ("xdp eth0 eth1", ""),
        ("xdp eth0\nxdp eth1 {\n  mode generic\n}", ""),
        ("xdp", "unexpected line ending after 'xdp'"),
        ("xdp eth0 eth0", "interface eth0 is named twice"),
        ("xdp eth0\nxdp eth0", "interface eth0 is named twice"),
        (
            "xdp 192.0.2.1",
            "192.0.2.1 is an address, and `xdp` takes interfaces",
        ),
        (
            "xdp fe80::1%eth0",
            "is an address, and `xdp` takes interfaces",
        ),
        (
            "xdp a-name-of-16-byt",
            "invalid interface name 'a-name-of-16-byt'",
        ),
        ("xdp eth0/1", "invalid interface name 'eth0/1'"),
        ("xdp eth0 zero_copy", "`zero_copy` is an option of `xdp`"),
        ("xdp eth0 {\n  mode auto\n}", ""),
        ("xdp eth0 {\n  mode native\n}", ""),
        ("xdp eth0 {\n  mode off\n}", ""),
        (
            "xdp eth0 {\n  mode genric\n}",
            "unknown mode 'genric' in plugin `xdp`",
        ),
        (
            "xdp eth0 {\n  mode\n}",
            "unexpected line ending after 'mode'",
        ),
        (
            "xdp eth0 {\n  mode auto off\n}",
            "unexpected line ending after 'off'",
        ),
        (
            "xdp eth0 {\n  mode auto\n  mode off\n}",
            "mode already defined for xdp block",
        ),
        ("xdp eth0 {\n  zero_copy\n  route_check\n}", ""),
        (
            "xdp eth0 {\n  zero_copy on\n}",
            "unexpected line ending after 'on'",
        ),
        ("xdp eth0 {\n  queues 1\n}", ""),
        (
            "xdp eth0 {\n  queues 0\n}",
            "queues must be a whole number from 1 to 1024: 0",
        ),
        (
            "xdp eth0 {\n  queues -1\n}",
            "queues must be a whole number from 1 to 1024: -1",
        ),
        ("xdp eth0 {\n  queues all\n}", "invalid queues value 'all'"),
        ("xdp eth0 {\n  ring 64\n}", ""),
        ("xdp eth0 {\n  ring 32768\n}", ""),
        (
            "xdp eth0 {\n  ring 32\n}",
            "ring must be a power of two from 64 to 32768: 32",
        ),
        (
            "xdp eth0 {\n  ring 1000\n}",
            "ring must be a power of two from 64 to 32768: 1000",
        ),
        ("xdp eth0 {\n  ring big\n}", "invalid ring value 'big'"),
        (
            "xdp eth0 {\n  zerocopy\n}",
            "unknown property 'zerocopy' in plugin `xdp`",
        ),
    ]);
}

#[test]
fn what_the_block_is_told() {
    let told = |lines: &str| trial::block(lines).blocks[0].config.xdp.clone();
    assert!(told("debug").is_empty());
    let plain = XdpInterface {
        name: "eth0".into(),
        mode: XdpMode::Auto,
        zero_copy: false,
        queues: None,
        ring: 2_048,
        route_check: false,
    };
    assert_eq!(told("xdp eth0"), std::slice::from_ref(&plain));
    let lines = "xdp eth0\nxdp eth1 eth2 {\n  mode generic\n  zero_copy\n  queues 2\n  ring 512\n  route_check\n}";
    let other = |name: &str| XdpInterface {
        name: name.into(),
        mode: XdpMode::Generic,
        zero_copy: true,
        queues: Some(2),
        ring: 512,
        route_check: true,
    };
    assert_eq!(told(lines), [plain, other("eth1"), other("eth2")]);
}

#[test]
fn it_wants_plain_dns() {
    let (setup, _) = trial::directive("xdp", "xdp eth0", parse_lines);
    let setup = setup.expect("a setup");
    let key = |scheme| Key {
        scheme,
        zones: vec![".".to_owned()],
        port: None,
        cidr: false,
    };
    for scheme in Scheme::ALL {
        for (keys, plain) in [
            (vec![key(scheme)], scheme == Scheme::Dns),
            (vec![key(scheme), key(Scheme::Dns)], true),
        ] {
            let zones = [".".to_owned()];
            let scene = Scene {
                zones: &zones,
                directives: &[],
                keys: &keys,
            };
            let mut report = Report::default();
            setup.validate(&scene, &mut report);
            assert_eq!(report.has_errors(), !plain, "{scheme:?}");
        }
    }
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
