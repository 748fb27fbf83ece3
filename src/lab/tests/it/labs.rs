//! Every lab of `tests/labs`: who reaches whom by name and by address, who does not, and what the server answers.

use crate::parents;
use crate::resolving::{COREFILE, dig, log, serve};
use crate::world::{World, lab_file};

/// What a lab must do.
struct Expected {
    lab: &'static str,
    /// From, to (a name or an address), whether.
    pings: &'static [(&'static str, &'static str, bool)],
    /// From, what dig is asked, what it prints; `""` is the host.
    names: &'static [(&'static str, &'static str, &'static str)],
}

const LABS: &[Expected] = &[
    Expected {
        lab: "bridge",
        pings: &[
            ("red", "blue", true),
            ("blue", "red.bridge.test", true),
            ("red", "nobody", false),
            ("", "192.168.15.2", false),
        ],
        names: &[],
    },
    Expected {
        lab: "bridge-six",
        pings: &[
            ("red", "blue", true),
            ("red", "green2", true),
            ("blue", "-6 green3.bridge-six.test", true),
            ("red", "-4 blue", false),
        ],
        names: &[
            ("red", "blue.bridge-six.test A", ""),
            ("red", "gw.v-net-0.bridge-six.test AAAA", "fd00:15::1"),
        ],
    },
    Expected {
        lab: "cluster",
        pings: &[
            ("p1", "10.244.2.2", true),
            ("client", "db1.cluster.local", true),
            ("db1", "p2.cluster.local", true),
            ("n1", "p2.cluster.local", true),
            ("p1", "-6 db1.cluster.local", true),
            ("client", "nobody", false),
            ("", "10.96.0.20", false),
        ],
        names: &[
            ("client", "web +search", "10.96.0.20"),
            ("client", "web.default.svc.cluster.local AAAA", ""),
            ("client", "six.default.svc.cluster.local AAAA", "fd00:96::1"),
            ("client", "web.data.svc.cluster.local", ""),
            ("client", "-x 10.96.0.20", "web.default.svc.cluster.local."),
            ("p1", "-x fd00:96::1", "six.default.svc.cluster.local."),
            (
                "client",
                "_http._tcp.web.default.svc.cluster.local SRV",
                "0 0 80 web.default.svc.cluster.local.",
            ),
            ("p1", "db.data.svc.cluster.local", "10.244.1.3 10.244.2.2"),
            ("p1", "db.data.svc.cluster.local AAAA", "fd00:1::3"),
            (
                "client",
                "_postgresql._tcp.db.data.svc.cluster.local SRV",
                "0 0 5432 db1.db.data.svc.cluster.local. 0 0 5432 p2.db.data.svc.cluster.local.",
            ),
            ("client", "db1.db.data.svc.cluster.local", "10.244.1.3"),
            ("db1", "db +search", "10.244.1.3 10.244.2.2"),
            ("client", "db.default.svc.cluster.local", ""),
            ("client", "10-244-1-3.data.pod.cluster.local", "10.244.1.3"),
            ("client", "10-244-1-3.default.pod.cluster.local", ""),
            (
                "client",
                "fd00-1--3.data.pod.cluster.local AAAA",
                "fd00:1::3",
            ),
            ("client", "-x 10.244.1.3", "db1.cluster.local."),
        ],
    },
    Expected {
        lab: "containers",
        pings: &[
            ("container4", "container5", true),
            ("container5", "container4.containers.test", true),
            ("container4", "203.0.113.9", true),
            ("outside", "10.201.0.4", false),
            ("container4", "nobody", false),
        ],
        names: &[
            ("container4", "container5 +search", "10.201.0.5"),
            ("", "@10.201.0.1 container5.containers.test AAAA", ""),
            (
                "",
                "@10.201.0.1 -x 10.201.0.4",
                "container4.containers.test.",
            ),
        ],
    },
    Expected {
        lab: "docker",
        pings: &[
            ("web", "same", true),
            ("web", "203.0.113.9", true),
            ("alone", "127.0.0.1", true),
            ("alone", "web", false),
        ],
        names: &[("web", "same.docker.test", "172.17.0.1")],
    },
    Expected {
        lab: "docker-both",
        pings: &[
            ("web", "-4 db", true),
            ("web", "-6 db", true),
            ("web", "-6 same", true),
            ("web", "-6 2001:db8::9", true),
            ("alone", "-6 ::1", true),
            ("alone", "-6 web", false),
            ("outside", "-6 fd00:17::3", false),
        ],
        names: &[
            ("db", "web.docker-both.test AAAA", "fd00:17::3"),
            ("db", "same.docker-both.test AAAA", "fd00:17::1"),
            (
                "db",
                "_http._tcp.web.docker-both.test SRV",
                "0 0 80 web.docker-both.test.",
            ),
        ],
    },
    Expected {
        lab: "docker-inside",
        pings: &[
            ("web", "db", true),
            ("db", "www", true),
            ("guest", "web.docker-inside.test", true),
            ("guest", "203.0.113.9", true),
            ("guest", "db", false),
            ("db", "203.0.113.9", false),
            ("outside", "172.18.0.2", false),
            ("alone", "web", false),
        ],
        names: &[
            ("web", "@127.0.0.11 db.docker-inside.test", "172.19.0.3"),
            ("db", "web +search", "172.19.0.2"),
            ("guest", "web +search", "172.18.0.2"),
            (
                "guest",
                "www.docker-inside.test",
                "web.docker-inside.test. 172.18.0.2",
            ),
            (
                "db",
                "@127.0.0.11 +tcp -x 172.18.0.3",
                "guest.docker-inside.test.",
            ),
            ("guest", "www.example.org", "198.51.100.7"),
            ("db", "www.example.org", ""),
        ],
    },
    Expected {
        lab: "dual",
        pings: &[
            ("a", "-4 b", true),
            ("a", "-6 b", true),
            ("b", "-6 a.dual.test", true),
            ("", "-6 fd00:2::5", false),
            ("b", "10.1.0.1", false),
        ],
        names: &[
            ("a", "b.dual.test AAAA", "fd00:2::5"),
            ("a", "b.dual.test", "10.2.0.5"),
            ("a", "-x fd00:2::5", "b.dual.test."),
        ],
    },
    Expected {
        lab: "everything",
        pings: &[
            ("gw", "web", true),
            ("far", "deep", true),
            ("web", "deep", false),
        ],
        names: &[("web", "deep.everything.test", "10.2.0.131")],
    },
    Expected {
        lab: "forward",
        pings: &[("neighbour", "-4 web", true), ("neighbour", "-6 web", true)],
        names: &[
            ("neighbour", "web.forward.test", "192.168.15.2"),
            (
                "neighbour",
                "_http._tcp.web.forward.test SRV",
                "0 0 80 web.forward.test.",
            ),
            (
                "neighbour",
                "_domain._udp.web.forward.test SRV",
                "0 0 53 web.forward.test.",
            ),
        ],
    },
    Expected {
        lab: "forward-six",
        pings: &[("neighbour", "web", true), ("neighbour", "-4 web", false)],
        names: &[
            ("neighbour", "web.forward-six.test AAAA", "fd00:6::2"),
            ("neighbour", "web.forward-six.test A", ""),
        ],
    },
    Expected {
        lab: "gateway",
        pings: &[
            ("desk", "server", true),
            ("server", "desk", true),
            ("desk", "192.168.2.1", false),
        ],
        names: &[
            ("server", "desk.gateway.test", "192.168.1.5"),
            ("server", "-x 192.168.1.5", "desk.gateway.test."),
        ],
    },
    Expected {
        lab: "hostbridge",
        pings: &[
            ("red", "blue", true),
            ("", "192.168.15.1", true),
            ("red", "203.0.113.9", false),
        ],
        names: &[
            ("red", "blue.hostbridge.test", "192.168.15.2"),
            ("red", "blue.hostbridge.test AAAA", ""),
            ("", "@192.168.15.5 -x 192.168.15.2", "blue.hostbridge.test."),
        ],
    },
    Expected {
        lab: "isolate",
        pings: &[
            ("s", "o", true),
            ("o", "s", false),
            ("i", "j", true),
            ("i", "o", false),
            ("i", "203.0.113.9", false),
        ],
        names: &[
            ("s", "o.isolate.test", "10.1.0.5"),
            ("i", "j.isolate.test", "10.3.0.6"),
        ],
    },
    Expected {
        lab: "ipvlan",
        pings: &[
            ("a", "-4 b", true),
            ("a", "-6 b", true),
            ("outside", "10.5.0.5", true),
            ("b", "-6 fd00:5::9", true),
            ("a", "203.0.113.9", false),
            ("a", "nobody", false),
            ("", "10.5.0.5", true),
        ],
        names: &[
            ("a", "b.ipvlan.test", "10.5.0.6"),
            ("a", "-x 10.5.0.6", "b.ipvlan.test."),
            ("b", "a.ipvlan.test AAAA", "fd00:5::5"),
            ("b", "nobody.ipvlan.test", ""),
        ],
    },
    Expected {
        lab: "links",
        pings: &[
            ("red", "192.168.15.3", true),
            ("blue", "10.9.0.1", true),
            ("red", "blue", true),
            ("", "10.9.0.1", false),
        ],
        names: &[("red", "-x 10.9.0.2", "blue.links.test.")],
    },
    Expected {
        lab: "macvlan",
        pings: &[
            ("a", "-4 b", true),
            ("a", "-6 b", true),
            ("outside", "10.5.0.5", true),
            ("b", "-6 fd00:5::9", true),
            ("a", "203.0.113.9", false),
            ("a", "nobody", false),
            ("", "10.5.0.5", true),
        ],
        names: &[
            ("a", "b.macvlan.test", "10.5.0.6"),
            ("a", "-x 10.5.0.6", "b.macvlan.test."),
            ("b", "a.macvlan.test AAAA", "fd00:5::5"),
            ("b", "nobody.macvlan.test", ""),
        ],
    },
    Expected {
        lab: "nat",
        pings: &[
            ("blue", "203.0.113.9", true),
            ("outside", "192.168.15.2", false),
        ],
        names: &[("blue", "gw.v-net-0.nat.test", "192.168.15.5")],
    },
    Expected {
        lab: "nat-off",
        pings: &[
            ("blue", "192.168.15.5", true),
            ("blue", "203.0.113.9", false),
        ],
        names: &[("blue", "blue.nat-off.test", "192.168.15.2")],
    },
    Expected {
        lab: "nat-both",
        pings: &[
            ("blue", "203.0.113.9", true),
            ("blue", "-6 2001:db8::9", true),
            ("blue", "-6 green", true),
            ("green", "203.0.113.9", true),
            ("green", "-6 2001:db8::9", false),
            ("outside", "-6 fd00:15::2", false),
        ],
        names: &[("blue", "green.nat-both.test AAAA", "fd00:16::2")],
    },
    Expected {
        lab: "pair",
        pings: &[
            ("red", "blue", true),
            ("blue", "red.pair.test", true),
            ("", "192.168.15.1", false),
            ("red", "nobody", false),
        ],
        names: &[],
    },
    Expected {
        lab: "pair-both",
        pings: &[
            ("red", "-4 blue", true),
            ("red", "-6 blue", true),
            ("blue", "-6 red.pair-both.test", true),
            ("", "-6 fd00:15::1", false),
        ],
        names: &[],
    },
    Expected {
        lab: "pods",
        pings: &[
            ("p1", "p3", true),
            ("p3", "p2.pods.test", true),
            ("", "10.244.1.2", false),
        ],
        names: &[],
    },
    Expected {
        lab: "pods-both",
        pings: &[
            ("p1", "-4 p3", true),
            ("p1", "-6 p3", true),
            ("p2", "-6 p1.pods-both.test", true),
            ("n1", "-6 n2", true),
            ("", "10.244.1.2", false),
            ("", "-6 fd00:244:1::2", false),
        ],
        names: &[
            ("n1", "p3.pods-both.test", "10.244.3.2"),
            ("n1", "-x fd00:244:3::2", "p3.pods-both.test."),
        ],
    },
    Expected {
        lab: "router",
        pings: &[
            ("a", "c", true),
            ("c", "a.router.test", true),
            ("", "192.168.1.5", false),
        ],
        names: &[],
    },
    Expected {
        lab: "router-off",
        pings: &[("a", "b", true), ("a", "c", false), ("c", "a", false)],
        names: &[],
    },
    Expected {
        lab: "router-six",
        pings: &[
            ("a", "c", true),
            ("c", "-6 a.router-six.test", true),
            ("cut", "c", true),
            ("cut", "a", false),
            ("a", "cut", false),
        ],
        names: &[],
    },
    Expected {
        lab: "search",
        pings: &[
            ("web", "db", true),
            ("pod", "db.mycompany.test.", true),
            ("web", "nobody", false),
        ],
        names: &[
            ("web", "db +search", "10.1.0.11"),
            ("web", "mail.mycompany.test MX", "10 web.mycompany.test."),
            (
                "web",
                "orders.mycompany.test",
                "web.mycompany.test. 10.1.0.10",
            ),
        ],
    },
    Expected {
        lab: "search-both",
        pings: &[
            ("web", "-4 db", true),
            ("web", "-6 db", true),
            ("db", "-6 www", true),
            ("db", "-6 nobody.mycompany.test.", false),
        ],
        names: &[
            (
                "db",
                "www.mycompany.test AAAA",
                "web.mycompany.test. fd00:1::10",
            ),
            (
                "db",
                "x.apps.mycompany.test",
                "web.mycompany.test. 10.1.0.10",
            ),
            ("db", "db.mycompany.test TXT", ""),
        ],
    },
    Expected {
        lab: "service",
        pings: &[
            ("client", "db1", true),
            ("client", "db2.service.test", true),
        ],
        names: &[
            ("client", "db.service.test", "10.96.0.10"),
            (
                "client",
                "_mysql._tcp.db.service.test SRV",
                "0 0 3306 db.service.test.",
            ),
        ],
    },
    Expected {
        lab: "service-both",
        pings: &[("client", "-4 db1", true), ("client", "-6 db2", true)],
        names: &[
            ("client", "four.service-both.test", "10.96.0.10"),
            ("client", "four.service-both.test AAAA", ""),
            ("client", "six.service-both.test AAAA", "fd00:96::10"),
        ],
    },
    Expected {
        lab: "six",
        pings: &[
            ("web", "other", true),
            ("other", "-6 web.six.test", true),
            ("other", "-4 web", false),
        ],
        names: &[("other", "-x fd00:6::2", "web.six.test.")],
    },
    Expected {
        lab: "split",
        pings: &[
            ("p1", "-4 p3", true),
            ("p1", "-6 p3", true),
            ("p2", "-6 n3.fabric.split.test", true),
            ("n1", "-4 p2", true),
            ("", "10.36.0.5", true),
            ("lone", "-4 n1", true),
            ("lone", "10.36.0.5", false),
            ("p1", "nobody", false),
        ],
        names: &[
            ("p1", "p2.split.test", "10.36.0.5"),
            ("p1", "p2.split.test AAAA", "fd00:32:0:4000::5"),
            ("p3", "-x 10.36.0.5", "p2.split.test."),
            ("p3", "-x fd00:32:0:4000::5", "p2.split.test."),
            ("p2", "gw.pods3.split.test", "10.40.0.1"),
        ],
    },
    Expected {
        lab: "switch",
        pings: &[
            ("red1", "red2", true),
            ("red1", "blue1", true),
            ("blue1", "r.blue.switch.test", true),
            ("plain", "red1", false),
            ("outside", "10.20.0.5", true),
            ("", "10.20.0.5", false),
        ],
        names: &[
            ("red1", "blue1.switch.test", "10.20.0.5"),
            ("plain", "red2.red.switch.test", "10.10.0.6"),
            ("red1", "gw.red.switch.test", "10.10.0.1"),
        ],
    },
    Expected {
        lab: "trunk",
        pings: &[
            ("red1", "red2", true),
            ("red1", "blue1", true),
            ("blue1", "-4 red2", true),
            ("blue1", "-6 blue2", true),
            ("blue1", "-6 r", true),
            ("plain", "10.10.0.5", true),
            ("blue2", "plain", true),
            ("", "10.10.0.5", true),
            ("", "10.20.0.5", false),
        ],
        names: &[
            ("red1", "blue1.trunk.test", "10.20.0.5"),
            ("red1", "r.red.trunk.test", "10.10.0.1"),
            ("red1", "r.blue.trunk.test AAAA", "fd00:20::1"),
            ("plain", "-x 10.20.0.1", "r.trunk.test."),
        ],
    },
    Expected {
        lab: "vlan",
        pings: &[
            ("r", "10.10.0.99", true),
            ("b", "10.20.0.99", true),
            ("r", "10.20.0.99", false),
            ("r", "b", false),
            ("outside", "10.10.0.5", true),
        ],
        names: &[
            ("r", "b.vlan.test", "10.20.0.5"),
            ("b", "r.vlan.test", "10.10.0.5"),
        ],
    },
];

#[test]
fn every_lab_does_what_it_declares_and_nothing_else() {
    let files = std::fs::read_dir(lab_file("").with_file_name("")).expect("labs");
    let files: std::collections::BTreeSet<String> = files
        .flatten()
        .map(|entry| {
            entry
                .path()
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let told = LABS
        .iter()
        .map(|expected| expected.lab.to_owned())
        .collect();
    assert_eq!(files, told, "every lab of tests/labs has its expectations");
    let world = World::new();
    parents::outside(&world);
    if !serve(&world, COREFILE) {
        return;
    }
    let mut wrong = Vec::new();
    for expected in LABS {
        let lab = expected.lab;
        if !parents::has(&world, lab) {
            continue;
        }
        world.apply(lab);
        for (from, to, whether) in expected.pings {
            if world.pings(from, to) != *whether {
                wrong.push(format!("{lab}: {from} → {to} is not {whether}"));
            }
        }
        for (from, arguments, answer) in expected.names {
            let got = dig(&world, from, arguments);
            if got != *answer {
                wrong.push(format!(
                    "{lab}: {from}: dig {arguments}: {got:?} is not {answer:?}"
                ));
            }
        }
        let file = lab_file(lab);
        let probe = world.lab(&["check", "--probe", file.to_str().expect("a plain path")]);
        if probe.code != 0 {
            wrong.push(format!("{lab}: check --probe: {}", probe.err));
        }
        assert_eq!(world.lab(&["down", lab]).code, 0, "{lab}");
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), log(&world));
}

#[test]
fn a_port_forward_of_ipv6_from_everywhere() {
    let world = World::new();
    world.outside();
    world.apply("forward-six");
    for port in [80, 90, 91] {
        world.serve("web", port, "web");
    }
    for (from, to, port, sees) in [
        ("outside", "2001:db8::1", 8080, "web sees 2001:db8::9"),
        ("outside", "2001:db8::1", 9001, "web sees 2001:db8::9"),
        ("", "2001:db8::1", 8080, "web"),
        ("", "fd00:6::1", 8080, "web"),
        ("neighbour", "fd00:6::1", 8080, "web"),
        ("neighbour", "2001:db8::1", 8080, "web"),
        ("web", "fd00:6::1", 8080, "web"),
        ("neighbour", "fd00:6::1", 9000, ""),
        ("outside", "2001:db8::1", 80, ""),
        ("outside", "203.0.113.1", 8080, ""),
        ("", "::1", 8080, ""),
    ] {
        let got = world.asks(from, to, port);
        let good = if sees.is_empty() {
            got.is_empty()
        } else {
            got.starts_with(sees)
        };
        assert!(good, "{from} → [{to}]:{port}: {got:?} is not {sees:?}");
    }
}

#[test]
fn a_service_of_each_family() {
    let world = World::new();
    world.apply("service-both");
    world.serve("db1", 3306, "db1");
    world.serve("db2", 3306, "db2");
    for (from, to) in [
        ("client", "10.96.0.10"),
        ("client", "fd00:96::10"),
        ("", "fd00:96::10"),
        ("db1", "fd00:96::10"),
    ] {
        let answers: Vec<String> = (0..4).map(|_| world.asks(from, to, 3306)).collect();
        let of = |name: &str| {
            answers
                .iter()
                .filter(|answer| answer.starts_with(name))
                .count()
        };
        assert_eq!((of("db1"), of("db2")), (2, 2), "{from} → {to}: {answers:?}");
    }
    assert_eq!(
        world.asks("client", "fd00:96::10", 3307),
        "",
        "only the service's port"
    );
}
