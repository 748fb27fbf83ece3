//! What the study notes do step by step, beside what `labs` shows of every lab.

use crate::world::{World, lab_file};

#[test]
fn one_end_of_a_pair_goes_with_the_other() {
    let world = World::new();
    world.apply("pair");
    world.ok("ip -n red link del eth0");
    assert_eq!(world.ok("ip -n blue -br link | grep -c eth0; true"), "0\n");
}

#[test]
fn interfaces_have_readable_names_where_they_fit() {
    let world = World::new();
    world.apply("hostbridge");
    let links = world.ok("ip -br link");
    assert!(
        links.contains("veth-red-br@") && links.contains("veth-blue-br@"),
        "{links}"
    );
}

#[test]
fn a_router_needs_both_routes_and_forwarding() {
    let world = World::new();
    let text = std::fs::read_to_string(lab_file("router")).expect("a lab");
    let echoes = || {
        let text = world.ok("ip netns exec c cat /proc/net/snmp");
        let line = text.lines().rfind(|line| line.starts_with("Icmp:"));
        let mut words = line.expect("counters").split_whitespace();
        words
            .nth(9)
            .expect("InEchos")
            .parse::<u32>()
            .expect("a number")
    };
    // What is taken out, what is warned of, whether packets arrive, and whether answers do.
    let stages: [(&[&str], &str, bool, bool); 4] = [
        (
            &[
                ", routes = [\"192.168.2.0/24 via 192.168.1.6\"]",
                ", routes = [\"192.168.1.0/24 via b\"]",
            ],
            "c: a has no route to 192.168.2.5",
            false,
            false,
        ),
        (
            &[", routes = [\"192.168.1.0/24 via b\"]"],
            "c: the reply is lost: c has no route to 192.168.1.5",
            true,
            false,
        ),
        (&[", router = true"], "c: b does not route", false, false),
        (&[], "", true, true),
    ];
    for (without, warning, arrives, answered) in stages {
        let mut text = text.clone();
        for part in without {
            assert!(text.contains(part), "{part}");
            text = text.replace(part, "");
        }
        let file = world.file("abc", &text);
        // It is said before anything is made.
        let plan = world.lab(&["plan", file.to_str().expect("plain")]);
        assert_eq!(plan.code, 2, "{plan:?}");
        assert!(plan.err.contains(warning), "{warning}: {plan:?}");
        let warned = plan.err.contains("cannot reach");
        assert_eq!(warned, !warning.is_empty(), "{plan:?}");
        world.apply_file(&file);
        let before = echoes();
        assert_eq!(world.pings("a", "192.168.2.5"), answered, "{without:?}");
        assert_eq!(echoes() > before, arrives, "{without:?}");
    }
}

#[test]
fn the_second_gateway_is_there_while_the_first_link_is_down() {
    let world = World::new();
    world.apply("gateways");
    world.serve("server", 80, "server");
    let file = lab_file("gateways");
    let path = file.to_str().expect("plain");
    let from = |network: u8| {
        for (to, sees) in [
            ("192.168.3.5", format!("server sees 192.168.{network}.5")),
            ("fd00:3::5", format!("server sees fd00:{network}::5")),
        ] {
            assert_eq!(world.asks("desk", to, 80), sees);
        }
    };
    from(1);
    let status = world.lab(&["status", "--routes", path]);
    for part in [
        "route 0.0.0.0/0 via 192.168.1.1 dev eth0\n",
        "route 0.0.0.0/0 via 192.168.2.1 dev eth1 metric 100\n",
        "route ::/0 via fd00:1::1 dev eth0\n",
        "route ::/0 via fd00:2::1 dev eth1 metric 1124\n",
        "route 192.168.1.0/24 dev eth0\n",
    ] {
        assert!(status.out.contains(part), "{part}: {status:?}");
    }
    world.ok("ip -n desk link set eth0 down");
    from(2);
    world.apply_file(&file);
    from(1);
    // Each goes and comes back by itself.
    world.ok(
        "ip -n desk route del default metric 100 && ip -n desk -6 route del default metric 1024",
    );
    let plan = world.lab(&["plan", path]);
    for part in [
        "+ route 0.0.0.0/0 via 192.168.2.1 metric 100 in desk",
        "+ route ::/0 via fd00:1::1 in desk",
    ] {
        assert!(
            plan.code == 2 && plan.out.contains(part),
            "{part}: {plan:?}"
        );
    }
    world.apply_file(&file);
    from(1);
    let text = std::fs::read_to_string(&file).expect("a lab");
    // What comes in by one router and is answered by the other is dropped there, unless that one knows the way back.
    let half = text.replace("routes = [\"192.168.2.0/24 via r2\", ", "routes = [");
    assert_ne!(half, text);
    let half = world.file("gateways", &half);
    let told = world.lab(&[
        "trace",
        "server",
        "192.168.2.5",
        half.to_str().expect("plain"),
    ]);
    assert!(
        told.out
            .contains("the reply is lost: r1 drops what comes from 192.168.2.5"),
        "{told:?}"
    );
    world.apply_file(&half);
    assert!(!world.pings("server", "192.168.2.5") && world.pings("server", "192.168.1.5"));
    let one = text.replace(", second 192.168.2.5 fd00:2::5", "");
    assert_ne!(one, text);
    let file = world.file("gateways", &one);
    world.apply_file(&file);
    from(1);
    let routes = world.ok("ip -n desk route; ip -n desk -6 route");
    assert!(
        !routes.contains("metric 100 ") && !routes.contains("1124"),
        "{routes}"
    );
}

#[test]
fn masquerade_to_outside() {
    let world = World::new();
    world.outside();
    world.serve("outside", 80, "outside");
    world.apply("nat-off");
    assert!(
        !world.pings("blue", "203.0.113.9"),
        "no forwarding, no answer"
    );
    world.ok("sysctl -qw net.ipv4.ip_forward=1");
    assert!(
        !world.pings("blue", "203.0.113.9"),
        "forwarded, but outside has no route back"
    );
    world.ok("sysctl -qw net.ipv4.ip_forward=0");
    assert_eq!(world.lab(&["down", "nat-off"]).code, 0);
    world.apply("nat");
    assert_eq!(
        world.asks("blue", "203.0.113.9", 80),
        "outside sees 203.0.113.1"
    );
    assert_eq!(world.lab(&["down", "nat"]).code, 0);
    assert_eq!(
        world.ok("cat /proc/sys/net/ipv4/ip_forward"),
        "0\n",
        "as it was before"
    );
    // Forwarding of IPv6 changes more than that.
    let both = lab_file("nat-both");
    let plan = world.lab(&["plan", both.to_str().expect("plain")]);
    assert!(
        plan.code == 2 && plan.err.contains("ignore router advertisements"),
        "{plan:?}"
    );
}

#[test]
fn a_port_forward_to_whoever_asks() {
    let world = World::new();
    world.apply("forward");
    world.serve("web", 80, "web");
    // Whether iptables sees the packets of bridges or not.
    for seen in [0, 1] {
        world.sh(&format!(
            "sysctl -qw net.bridge.bridge-nf-call-iptables={seen}"
        ));
        let answer = world.asks("web", "192.168.15.5", 8080);
        assert!(answer.starts_with("web"), "{seen}: {answer}");
    }
}

#[test]
fn a_namespace_on_no_network_has_loopback_alone() {
    let world = World::new();
    world.apply("docker");
    assert_eq!(world.ok("ip -n alone -o link | wc -l"), "1\n");
    assert_eq!(world.ok("ip -n alone route; ip -n alone neigh"), "");
    assert!(
        !world.ok("ip netns").contains("same"),
        "the host is no namespace"
    );
}

#[test]
fn a_balanced_service() {
    let world = World::new();
    world.apply("service");
    world.serve("db1", 306, "db1");
    world.serve("db2", 306, "db2");
    for from in ["client", "beside", "", "db1"] {
        let answers: Vec<String> = (0..4)
            .map(|_| world.asks(from, "10.96.0.10", 3306))
            .collect();
        let of = |name: &str| {
            answers
                .iter()
                .filter(|answer| answer.starts_with(name))
                .count()
        };
        assert_eq!((of("db1"), of("db2")), (2, 2), "{from}: {answers:?}");
    }
}

#[test]
fn addresses_of_ipv6_can_be_used_at_once() {
    let world = World::new();
    // The first packet may be lost to the discovery of its neighbour; a tentative address takes longer than these.
    let said = world.ok(&format!(
        "{} apply {} && ip -6 addr show scope global tentative && ip -n web -6 addr show scope global tentative
        ip netns exec web ping -6 -c3 -i0.2 -W1 fd00:6::1",
        env!("CARGO_BIN_EXE_nameplate-lab"),
        lab_file("six").display()
    ));
    assert!(!said.contains("inet6"), "{said}");
}
