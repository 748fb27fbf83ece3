//! Bridges, pairs, and interfaces of the host.

use super::Expected;

pub(super) const LABS: &[Expected] = &[
    Expected {
        lab: "bridge",
        pings: &[
            ("red", "blue", true),
            ("blue", "red.bridge.test", true),
            ("red", "nobody", false),
            ("", "192.168.15.2", false),
            ("red", "192.168.15.254", false),
        ],
        serves: &[("blue", 80)],
        asks: &[("red", "blue", 80, "blue sees 192.168.15.1")],
        ..Expected::NOTHING
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
        ..Expected::NOTHING
    },
    Expected {
        lab: "hostbridge",
        pings: &[
            ("red", "blue", true),
            ("", "192.168.15.1", true),
            ("red", "203.0.113.9", false),
            ("red", "192.168.15.5", true),
        ],
        names: &[
            ("red", "blue.hostbridge.test", "192.168.15.2"),
            ("red", "blue.hostbridge.test AAAA", ""),
            ("", "@192.168.15.5 -x 192.168.15.2", "blue.hostbridge.test."),
        ],
        serves: &[("red", 80)],
        asks: &[
            ("", "192.168.15.1", 80, "red sees 192.168.15.5"),
            ("blue", "red", 80, "red sees 192.168.15.2"),
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
        serves: &[("b", 80)],
        asks: &[
            ("a", "b", 80, "b sees"),
            ("outside", "10.5.0.6", 80, "b sees 10.5.0.9"),
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
        ..Expected::NOTHING
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
        serves: &[("b", 80)],
        asks: &[
            ("a", "b", 80, "b sees"),
            ("outside", "10.5.0.6", 80, "b sees 10.5.0.9"),
        ],
    },
    Expected {
        lab: "pair",
        pings: &[
            ("red", "blue", true),
            ("blue", "red.pair.test", true),
            ("", "192.168.15.1", false),
            ("red", "nobody", false),
        ],
        serves: &[("blue", 80)],
        asks: &[("red", "blue", 80, "blue sees 192.168.15.1")],
        ..Expected::NOTHING
    },
    Expected {
        lab: "pair-both",
        pings: &[
            ("red", "-4 blue", true),
            ("red", "-6 blue", true),
            ("blue", "-6 red.pair-both.test", true),
            ("", "-6 fd00:15::1", false),
        ],
        ..Expected::NOTHING
    },
    Expected {
        lab: "six",
        pings: &[
            ("web", "other", true),
            ("other", "-6 web.six.test", true),
            ("other", "-4 web", false),
        ],
        names: &[("other", "-x fd00:6::2", "web.six.test.")],
        serves: &[("web", 80)],
        asks: &[
            ("outside", "2001:db8::1", 8080, "web sees 2001:db8::9"),
            ("other", "fd00:6::1", 8080, "web"),
            ("", "fd00:6::1", 8080, "web"),
            ("other", "fd00:6::1", 80, ""),
        ],
    },
    Expected {
        lab: "switch",
        pings: &[
            ("red1", "red2", true),
            ("red1", "blue1", true),
            ("blue1", "r.switch.test", true),
            ("plain", "red1", false),
            ("outside", "10.20.0.5", true),
            ("", "10.20.0.5", false),
        ],
        names: &[
            ("red1", "blue1.switch.test", "10.20.0.5"),
            ("plain", "red2.red.switch.test", "10.10.0.6"),
            ("red1", "gw.red.switch.test", "10.10.0.1"),
        ],
        serves: &[("blue1", 80)],
        asks: &[
            ("red1", "blue1", 80, "blue1 sees 10.10.0.5"),
            ("outside", "10.20.0.5", 80, "blue1 sees 10.20.0.99"),
            ("plain", "10.20.0.5", 80, ""),
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
        serves: &[("r", 80)],
        asks: &[
            ("outside", "10.10.0.5", 80, "r sees 10.10.0.99"),
            ("b", "10.10.0.5", 80, ""),
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
        serves: &[("blue1", 80)],
        asks: &[
            ("red1", "blue1", 80, "blue1 sees 10.10.0.5"),
            ("blue2", "blue1", 80, "blue1 sees"),
        ],
    },
];
