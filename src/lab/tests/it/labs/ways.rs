//! Routers, gateways, and networks that are closed.

use super::Expected;

pub(super) const LABS: &[Expected] = &[
    Expected {
        lab: "dual",
        pings: &[
            ("a", "-4 b", true),
            ("a", "-6 b", true),
            ("b", "-6 a.dual.test", true),
            ("", "-6 fd00:2::5", false),
            ("b", "10.1.0.1", false),
            ("a", "10.2.0.5", true),
            ("a", "-6 fd00:2::5", true),
            ("b", "-6 fd00:1::5", true),
            ("", "-6 fd00:1::5", true),
        ],
        names: &[
            ("a", "b.dual.test AAAA", "fd00:2::5"),
            ("a", "b.dual.test", "10.2.0.5"),
            ("a", "-x fd00:2::5", "b.dual.test."),
        ],
        ..Expected::NOTHING
    },
    Expected {
        lab: "everything",
        pings: &[
            ("gw", "web", true),
            ("far", "deep", true),
            ("web", "deep", false),
        ],
        names: &[("web", "deep.everything.test", "10.2.0.131")],
        ..Expected::NOTHING
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
        serves: &[("server", 80)],
        asks: &[("desk", "192.168.2.5", 80, "server sees 192.168.1.5")],
    },
    Expected {
        lab: "gateways",
        pings: &[
            ("desk", "-4 server", true),
            ("desk", "-6 server", true),
            ("server", "-4 desk", true),
            ("still", "-4 desk", true),
            ("still", "-4 server", false),
            ("still", "-6 server", false),
        ],
        serves: &[("server", 80)],
        asks: &[
            ("desk", "192.168.3.5", 80, "server sees 192.168.1.5"),
            ("desk", "fd00:3::5", 80, "server sees fd00:1::5"),
            ("still", "192.168.3.5", 80, ""),
        ],
        ..Expected::NOTHING
    },
    Expected {
        lab: "isolate",
        pings: &[
            ("s", "o", true),
            ("o", "s", false),
            ("i", "j", true),
            ("i", "o", false),
            ("i", "203.0.113.9", false),
            ("o", "203.0.113.9", true),
            ("o", "10.3.0.5", false),
            ("outside", "10.2.0.5", false),
        ],
        names: &[
            ("s", "o.isolate.test", "10.1.0.5"),
            ("i", "j.isolate.test", "10.3.0.6"),
        ],
        serves: &[("o", 80), ("s", 80)],
        asks: &[("s", "o", 80, "o sees 10.2.0.5"), ("o", "s", 80, "")],
    },
    Expected {
        lab: "pods",
        pings: &[
            ("p1", "p3", true),
            ("p3", "p2.pods.test", true),
            ("", "10.244.1.2", false),
            ("p1", "192.168.1.12", true),
        ],
        serves: &[("p3", 80)],
        asks: &[("p1", "p3", 80, "p3 sees 10.244.1.2")],
        ..Expected::NOTHING
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
        ..Expected::NOTHING
    },
    Expected {
        lab: "router",
        pings: &[
            ("a", "c", true),
            ("c", "a.router.test", true),
            ("", "192.168.1.5", false),
            ("a", "nobody", false),
        ],
        serves: &[("c", 80)],
        asks: &[("a", "c", 80, "c sees 192.168.1.5")],
        ..Expected::NOTHING
    },
    Expected {
        lab: "router-off",
        pings: &[
            ("a", "b", true),
            ("a", "c", false),
            ("c", "a", false),
            ("c", "b", true),
        ],
        serves: &[("c", 80)],
        asks: &[("a", "c", 80, "")],
        ..Expected::NOTHING
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
        ..Expected::NOTHING
    },
    Expected {
        lab: "routes-missing",
        pings: &[
            ("a", "b", true),
            ("d", "a", true),
            ("c", "192.168.2.6", true),
            ("a", "192.168.2.5", false),
            ("d", "192.168.2.5", false),
            ("c", "192.168.1.5", false),
        ],
        serves: &[("c", 80)],
        asks: &[("b", "c", 80, "c sees 192.168.2.6"), ("a", "c", 80, "")],
        ..Expected::NOTHING
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
        serves: &[("p2", 80), ("p3", 80)],
        asks: &[
            ("p1", "p3", 80, "p3 sees"),
            ("p1", "10.36.0.5", 80, "p2 sees 10.3"),
            ("", "10.36.0.5", 80, "p2 sees 10.36.0.1"),
            ("lone", "10.36.0.5", 80, ""),
        ],
    },
];
