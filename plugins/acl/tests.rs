use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chain::{Block, ExtendedError, Flow, Instead, Outcome};
use wire::{NameBuf, Qname, Rcode, Type};

use super::rules::{Action, Policy, Rule};
use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("acl {\n block type A net 192.168.0.0/16\n}\nwhoami", ""),
        ("acl {\n block type * net 192.168.0.0/16\n}\nwhoami", ""),
        ("acl {\n block type A net *\n}\nwhoami", ""),
        (
            "acl {\n allow type * net 192.168.1.0/24\n block type * net 192.168.0.0/16\n}\nwhoami",
            "",
        ),
        (
            "acl {\n filter type A AAAA net 192.0.2.1 2001:db8::1 2001:db8::/32\n}\nwhoami",
            "",
        ),
        (
            "acl a.example.org example.net {\n BLOCK NET 192.168.1.0/24 TYPE A\n}\nwhoami",
            "",
        ),
        (
            "acl {\n drop net 192.168.0.0/16 type A type MX net 192.0.2.0/24\n}\nwhoami",
            "",
        ),
        (
            "acl a.example.org {\n block\n}\nacl b.example.org {\n drop\n}\nwhoami",
            "",
        ),
        (
            "acl {\n block type NSAP-PTR SPF TALINK AMTRELAY ANY AXFR IXFR\n}\nwhoami",
            "",
        ),
        ("acl\nwhoami", ""),
        (
            "acl {\n blok net 192.0.2.0/24\n}\nwhoami",
            "unexpected token 'blok'; expect 'allow', 'block', 'filter' or 'drop'",
        ),
        (
            "acl {\n block type ABC net 192.168.0.0/16\n}\nwhoami",
            "unexpected token 'ABC'; expect legal QTYPE",
        ),
        (
            "acl {\n block type a\n}\nwhoami",
            "unexpected token 'a'; expect legal QTYPE",
        ),
        ("acl {\n block type TYPE1\n}\nwhoami", "expect legal QTYPE"),
        (
            "acl {\n block type A net 192.168.0.0/33\n}\nwhoami",
            "illegal CIDR notation '192.168.0.0/33'",
        ),
        (
            "acl {\n block net 192.168.0/24\n}\nwhoami",
            "illegal CIDR notation",
        ),
        (
            "acl {\n block net 2001:0db8:85a3:::8a2e:370:7334\n}\nwhoami",
            "illegal CIDR notation",
        ),
        (
            "acl {\n block net 2001:db8::/129\n}\nwhoami",
            "illegal CIDR notation",
        ),
        (
            "acl {\n block 192.168.0.0/16\n}\nwhoami",
            "unexpected token '192.168.0.0/16'; expect 'type | net'",
        ),
        (
            "acl {\n block type\n}\nwhoami",
            "no token specified in 'type' section",
        ),
        (
            "acl {\n block type A net\n}\nwhoami",
            "no token specified in 'net' section",
        ),
        (
            "acl {\n block type net 192.0.2.0/24\n}\nwhoami",
            "no token specified in 'type' section",
        ),
        (
            "acl a..b {\n block\n}\nwhoami",
            "zone is not a valid domain name",
        ),
    ]);
}

#[test]
fn doubts() {
    let told = |lines: &str| trial::block(lines).messages;
    assert_eq!(told("acl {\n block net 192.0.2.0/24\n}\ncache\nwhoami"), "");
    assert!(told("acl\nwhoami").contains("no policy"));
    assert!(
        told("autopath @kubernetes\nacl {\n block\n}\nwhoami")
            .contains("`autopath` asks for other names")
    );
}

/// A block of these lines, with a plugin below that answers everything.
fn block(lines: &str) -> Arc<Block> {
    let trial = trial::block(lines);
    assert!(trial.accepted, "{}", trial.messages);
    trial::serve(&trial, ".", trial::answer(|_, _| Ok(Flow::Answered)))
}

/// What a client gets: the action, `allow` where the plugin below answered.
fn verdict(block: &Arc<Block>, client: &str, name: &str, qtype: Type) -> String {
    let mut exchange = trial::exchange(name, qtype, Some(1_232));
    let ip: IpAddr = client.parse().expect("an address");
    exchange.context.peer = (ip, 4_711).into();
    if exchange.walk(block) == Outcome::Silent {
        return "drop".to_owned();
    }
    let rcode = exchange.response().rcode();
    let code = exchange
        .context
        .extended
        .as_ref()
        .map(|extended| extended.code);
    let by = exchange.views(block).0.answered_by();
    match (by, rcode, code) {
        (Some("acl"), Rcode::REFUSED, Some(ExtendedError::BLOCKED)) => "block".to_owned(),
        (Some("acl"), Rcode::NOERROR, Some(ExtendedError::FILTERED)) => "filter".to_owned(),
        (Some("answer"), Rcode::NOERROR, None) => "allow".to_owned(),
        odd => format!("{odd:?}"),
    }
}

#[test]
fn policies() {
    let (a, aaaa) = (Type::A, Type::AAAA);
    let www = "www.example.org.";
    for (lines, client, name, qtype, expected) in [
        (
            "block type A net 192.168.0.0/16",
            "192.168.0.2",
            www,
            a,
            "block",
        ),
        (
            "block type A net 192.168.0.0/16",
            "192.168.0.2",
            www,
            aaaa,
            "allow",
        ),
        (
            "block type A net 192.168.0.0/16",
            "192.167.0.2",
            www,
            a,
            "allow",
        ),
        (
            "block type A net 192.168.0.0/16",
            "192.168.0.2",
            "www.example.net.",
            a,
            "allow",
        ),
        (
            "block type A net 192.168.0.0/16",
            "::ffff:192.168.0.2",
            www,
            a,
            "block",
        ),
        (
            "block type * net 192.168.0.0/16",
            "192.168.0.2",
            www,
            aaaa,
            "block",
        ),
        ("block type A net *", "2001:db8::1", www, a, "block"),
        (
            "block type A net 192.168.1.2",
            "192.168.1.3",
            www,
            a,
            "allow",
        ),
        ("block net 192.168.1.77/24", "192.168.1.3", www, a, "block"),
        (
            "filter type A net 192.168.0.0/16",
            "192.168.0.2",
            www,
            a,
            "filter",
        ),
        (
            "allow net 192.168.0.0/16\nblock",
            "192.168.0.2",
            www,
            a,
            "allow",
        ),
        (
            "allow net 192.168.0.0/16\nblock",
            "192.0.2.1",
            www,
            a,
            "block",
        ),
        (
            "block net 192.168.1.0/24\ndrop net 192.168.0.0/16",
            "192.168.1.2",
            www,
            a,
            "block",
        ),
        (
            "block net 192.168.1.0/24\ndrop net 192.168.0.0/16",
            "192.168.2.2",
            www,
            a,
            "drop",
        ),
        (
            "drop net 192.168.0.0/16\nblock net 192.168.1.0/24",
            "192.168.1.2",
            www,
            a,
            "drop",
        ),
        (
            "drop type A\nallow net 192.168.0.0/16",
            "192.168.1.1",
            www,
            a,
            "drop",
        ),
        (
            "drop type A\nallow net 192.168.0.0/16",
            "192.168.1.1",
            www,
            aaaa,
            "allow",
        ),
        (
            "block net 2001:db8:abcd:12::/64",
            "2001:db8:abcd:12::1230",
            www,
            a,
            "block",
        ),
        (
            "block net 2001:db8:abcd:12::/64",
            "2001:db8:abcd:13::",
            www,
            a,
            "allow",
        ),
        ("block net ::/0", "192.0.2.1", www, a, "allow"),
        ("block net 0.0.0.0/0", "255.255.255.255", www, a, "block"),
        ("block net 0.0.0.0/0", "2001:db8::1", www, a, "allow"),
        (
            "block net ::ffff:192.0.2.0/120",
            "192.0.2.1",
            www,
            a,
            "block",
        ),
        (
            "block net 192.0.2.1 * type A *",
            "198.51.100.1",
            www,
            aaaa,
            "block",
        ),
        ("", "192.0.2.1", www, a, "allow"),
    ] {
        let block = block(&format!("acl example.org {{\n{lines}\n}}"));
        assert_eq!(
            verdict(&block, client, name, qtype),
            expected,
            "{lines} {client} {name}"
        );
    }
}

#[test]
fn the_first_rule_that_decides_is_heard() {
    let block = block(
        "acl a.example.org {\n block net 192.168.1.0/24\n}\n\
         acl b.example.org {\n block net 192.168.2.0/24\n}\n\
         acl c.example.org {\n allow net 192.168.3.0/24\n}\n\
         acl example.org {\n filter net 192.168.0.0/16\n}",
    );
    for (client, name, expected) in [
        ("192.168.1.1", "a.example.org.", "block"),
        ("192.168.1.1", "b.example.org.", "filter"),
        ("192.168.2.1", "b.example.org.", "block"),
        ("192.168.3.1", "c.example.org.", "allow"),
        ("192.168.4.1", "c.example.org.", "filter"),
        ("192.0.2.1", "c.example.org.", "allow"),
        ("192.168.1.1", "example.net.", "allow"),
    ] {
        assert_eq!(
            verdict(&block, client, name, Type::A),
            expected,
            "{client} {name}"
        );
    }
}

/// The verdict of a policy list, policy by policy, as CoreDNS comes to it.
fn plain(policies: &[Policy], qtype: u16, address: IpAddr) -> Option<Action> {
    let fits = |policy: &&Policy| {
        let types = policy
            .types
            .as_ref()
            .is_none_or(|types| types.contains(&qtype));
        let nets = policy.nets.as_ref();
        types && nets.is_none_or(|nets| nets.iter().any(|net| net.contains(&address)))
    };
    policies.iter().find(fits).map(|policy| policy.action)
}

#[test]
fn tables_say_what_policies_say() {
    // A small generator: what it draws is the same in every run.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..200 {
        let policies: Vec<Policy> = (0..draw(12))
            .map(|_| {
                let action = [Action::Allow, Action::Block, Action::Filter, Action::Drop];
                let net = |draw: &mut dyn FnMut(u64) -> u64| {
                    let text = match draw(4) {
                        0 => format!("2001:db8::{:x}/{}", draw(256), 112 + draw(17)),
                        1 => format!("{}.0.0.0/{}", draw(4), draw(9)),
                        _ => format!("10.0.0.{}/{}", draw(256), 22 + draw(11)),
                    };
                    text.parse().expect("a network")
                };
                Policy {
                    action: action[draw(4) as usize],
                    types: (draw(2) == 0)
                        .then(|| (0..1 + draw(2)).map(|_| draw(4) as u16).collect()),
                    nets: (draw(4) > 0).then(|| (0..1 + draw(4)).map(|_| net(&mut draw)).collect()),
                }
            })
            .collect();
        let zone = (".".to_owned(), NameBuf::root());
        let rule = Rule::new(vec![zone], &policies);
        for _ in 0..200 {
            let address: IpAddr = match draw(3) {
                0 => format!("2001:db8::{:x}", draw(300)),
                1 => format!("{}.{}.0.0", draw(5), draw(2) * 255),
                _ => format!("10.0.{}.{}", draw(2), draw(256)),
            }
            .parse()
            .expect("an address");
            let qtype = draw(5) as u16;
            let expected = plain(&policies, qtype, address);
            assert_eq!(
                rule.action(Type(qtype), address),
                expected,
                "{policies:?} {address}"
            );
        }
    }
}

#[test]
fn many_networks_are_one_search() {
    let mut lines = String::new();
    for n in 0..20_000u32 {
        let action = if n % 2 == 0 { "block" } else { "filter" };
        lines += &format!(
            "{action} net 10.{}.{}.{}/30\n",
            n >> 14,
            n >> 6 & 255,
            (n & 63) << 2
        );
    }
    lines += "filter net 9.0.0.0/8 255.255.255.255\nblock net 0.0.0.0/4\n";
    let block = block(&format!("acl {{\n{lines}}}"));
    for (client, expected) in [
        ("0.0.0.0", "block"),
        ("8.255.255.255", "block"),
        ("9.0.0.0", "filter"),
        ("9.200.0.1", "filter"),
        ("10.255.0.0", "block"),
        ("15.255.255.255", "block"),
        ("16.0.0.0", "allow"),
        ("255.255.255.254", "allow"),
        ("255.255.255.255", "filter"),
        ("10.0.0.0", "block"),
        ("10.0.0.7", "filter"),
        ("10.1.56.127", "filter"),
        ("10.1.56.128", "block"),
        ("9.255.255.255", "filter"),
    ] {
        assert_eq!(
            verdict(&block, client, "example.org.", Type::A),
            expected,
            "{client}"
        );
    }
}

/// Rewrites to another name and type, as `rewrite` does above `acl`.
fn rewritten(to: &'static str, qtype: Type) -> Arc<dyn chain::Plugin> {
    trial::answer(move |query, response| {
        let name: NameBuf = to.parse().expect("a name");
        let qname = Qname::from(name.as_name());
        let instead = Instead {
            qname: Some(&qname),
            qtype: Some(qtype),
            ..Instead::default()
        };
        query.rewrite(response, instead);
        Ok(Flow::Next)
    })
}

/// CVE-2026-26017: a name is judged as it is answered, and as it was asked.
#[test]
fn a_rewrite_gets_around_no_rule() {
    let rules = "acl secret.example.org {\n block\n}\nacl {\n filter type AAAA\n}";
    let built = block(rules);
    let acl = built.chain.steps()[0].plugin.clone();
    for (asked, qtype, to, to_type, expected) in [
        (
            "www.example.org.",
            Type::A,
            "www.example.org.",
            Type::A,
            "allow",
        ),
        (
            "www.example.org.",
            Type::A,
            "x.secret.example.org.",
            Type::A,
            "block",
        ),
        (
            "x.secret.example.org.",
            Type::A,
            "www.example.org.",
            Type::A,
            "block",
        ),
        (
            "www.example.org.",
            Type::A,
            "www.example.org.",
            Type::AAAA,
            "filter",
        ),
        (
            "www.example.org.",
            Type::AAAA,
            "www.example.org.",
            Type::A,
            "filter",
        ),
    ] {
        let below = trial::answer(|_, _| Ok(Flow::Answered));
        let block = trial::chain([rewritten(to, to_type), acl.clone(), below as _]);
        assert_eq!(
            verdict(&block, "192.0.2.1", asked, qtype),
            expected,
            "{asked} {to}"
        );
    }
}

/// coredns#8289: with a cache above, what the rules have looked at is not kept.
#[test]
fn a_cached_answer_gets_around_no_rule() {
    let acl = block("acl secret.example.org {\n allow net 192.0.2.0/24\n block\n}");
    let acl = acl.chain.steps()[0].plugin.clone();
    let cache = block("cache 60");
    let cache = cache.chain.steps()[0].plugin.clone();
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = asked.clone();
    let below = trial::answer(move |query, response| {
        counts.fetch_add(1, Ordering::Relaxed);
        let fixed = (Type::A, wire::Class::IN, 60);
        let name = NameBuf::from_name(query.name());
        let pushed = response.push(
            wire::Section::Answer,
            name.as_name(),
            fixed,
            &[192, 0, 2, 7],
        );
        pushed.map_err(|_| chain::Failure::servfail("full"))?;
        Ok(Flow::Answered)
    });
    let get = |block: &Arc<Block>, client: &str, name: &str| {
        let mut exchange = trial::exchange(name, Type::A, None);
        let ip: IpAddr = client.parse().expect("an address");
        exchange.context.peer = (ip, 4_711).into();
        exchange.walk(block);
        (
            exchange.response().rcode(),
            asked.swap(0, Ordering::Relaxed),
        )
    };
    let (good, refused) = (Rcode::NOERROR, Rcode::REFUSED);
    let above = trial::chain([cache.clone(), acl.clone(), below.clone() as _]);
    let secret = "www.secret.example.org.";
    assert_eq!(get(&above, "192.0.2.1", secret), (good, 1));
    assert_eq!(get(&above, "192.0.2.1", secret), (good, 1));
    assert_eq!(get(&above, "198.51.100.1", secret), (refused, 0));
    assert_eq!(get(&above, "192.0.2.1", secret), (good, 1));
    // What no rule is about is kept.
    assert_eq!(get(&above, "192.0.2.1", "www.example.org."), (good, 1));
    assert_eq!(get(&above, "198.51.100.1", "www.example.org."), (good, 0));
    // Below the rules everything is kept, and each query is judged.
    let below = trial::chain([acl, cache, below as _]);
    let name = "other.secret.example.org.";
    assert_eq!(get(&below, "192.0.2.1", name), (good, 1));
    assert_eq!(get(&below, "192.0.2.1", name), (good, 0));
    assert_eq!(get(&below, "198.51.100.1", name), (refused, 0));
}

#[test]
fn denied_queries_are_counted() {
    let block = block("acl counted.example {\n block type A\n filter type AAAA\n drop type MX\n}");
    for (qtype, times) in [(Type::A, 1), (Type::AAAA, 2), (Type::MX, 3), (Type::TXT, 4)] {
        for _ in 0..times {
            verdict(&block, "192.0.2.1", "www.counted.example.", qtype);
        }
    }
    let metrics = telemetry::metrics::encode();
    for (name, expected) in [("blocked", 1), ("filtered", 2), ("dropped", 3)] {
        let line = format!(
            "coredns_acl_{name}_requests_total{{server=\"dns://:53\",zone=\"counted.example.\",view=\"\"}} {expected}\n"
        );
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert!(
        metrics.contains("coredns_acl_allowed_requests_total{server=\"dns://:53\",view=\"\"} ")
    );
}

#[test]
fn the_readme_is_true() {
    trial::readme(include_str!("README.md"));
}
