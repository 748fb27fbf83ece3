use std::time::Duration;

use chain::setup::ProxyPolicy;

use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("proxyproto", ""),
        ("proxyproto {\n}", ""),
        ("proxyproto {\n  allow\n}", ""),
        (
            "proxyproto {\n  allow 192.0.2.0/24 2001:db8::/32\n  default skip\n}",
            "",
        ),
        ("proxyproto {\n  udp_session_tracking 28s\n}", ""),
        ("proxyproto {\n  udp_session_tracking 1m 5\n}", ""),
        ("proxyproto extra", "Wrong argument"),
        ("proxyproto {\n  allow 192.0.2.1\n}", "invalid CIDR address"),
        (
            "proxyproto {\n  allow 192.0.2.0/33\n}",
            "invalid CIDR address",
        ),
        ("proxyproto {\n  default\n}", "Wrong argument"),
        ("proxyproto {\n  default other\n}", "Wrong argument"),
        ("proxyproto {\n  udp_session_tracking\n}", "Wrong argument"),
        (
            "proxyproto {\n  udp_session_tracking never\n}",
            "invalid duration",
        ),
        (
            "proxyproto {\n  udp_session_tracking 28s 0\n}",
            "invalid max sessions",
        ),
        ("proxyproto {\n  other\n}", "unknown property 'other'"),
        (
            "proxyproto\nproxyproto",
            "this plugin can only be used once per Server Block",
        ),
    ]);
}

#[test]
fn who_is_believed() {
    let policies = |lines: &str| {
        let trial = trial::block(&format!("proxyproto {{\n{lines}\n}}"));
        let proxy = trial.blocks[0].config.proxy.clone().expect("a policy");
        let of = |ip: &str| proxy.policy(ip.parse().expect("an address"));
        [
            of("192.0.2.9"),
            of("198.51.100.1"),
            of("2001:db8::1"),
            of("::ffff:192.0.2.9"),
        ]
    };
    use ProxyPolicy::{Ignore, Reject, Skip, Use};
    let networks = "allow 192.0.2.0/24 2001:db8::/32";
    assert_eq!(policies(""), [Use; 4]);
    assert_eq!(policies("default skip"), [Skip; 4]);
    assert_eq!(policies(networks), [Use, Ignore, Use, Use]);
    assert_eq!(
        policies(&format!("{networks}\ndefault reject")),
        [Use, Reject, Use, Use]
    );
    assert_eq!(policies("allow ::/0"), [Ignore, Ignore, Use, Ignore]);
    assert_eq!(policies("allow 0.0.0.0/0"), [Use, Use, Ignore, Use]);
}

#[test]
fn sessions() {
    let sessions = |line: &str| {
        let trial = trial::block(&format!("proxyproto {{\n{line}\n}}"));
        trial.blocks[0]
            .config
            .proxy
            .as_ref()
            .and_then(|proxy| proxy.sessions)
    };
    let seconds = Duration::from_secs(28);
    assert_eq!(sessions(""), None);
    assert_eq!(
        sessions("udp_session_tracking 28s"),
        Some((seconds, 10_240))
    );
    assert_eq!(sessions("udp_session_tracking 28s 7"), Some((seconds, 7)));
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
