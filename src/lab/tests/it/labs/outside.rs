//! Masquerading, forwarded ports and services.

use super::Expected;

pub(super) const LABS: &[Expected] = &[
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
        asks: &[("container4", "203.0.113.9", 80, "outside sees 203.0.113.1")],
        ..Expected::NOTHING
    },
    Expected {
        lab: "docker",
        pings: &[
            ("web", "same", true),
            ("web", "203.0.113.9", true),
            ("alone", "127.0.0.1", true),
            ("alone", "web", false),
        ],
        names: &[
            ("web", "same.docker.test", "172.17.0.1"),
            ("web", "alone.docker.test", ""),
        ],
        serves: &[("web", 80)],
        asks: &[
            ("", "web.docker.test", 80, ""),
            ("", "172.17.0.3", 80, "web sees 172.17.0.1"),
        ],
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
        serves: &[("web", 80)],
        asks: &[
            ("outside", "203.0.113.1", 8080, "web sees 203.0.113.9"),
            ("outside", "2001:db8::1", 8080, "web sees 2001:db8::9"),
            ("db", "web", 80, "web sees"),
        ],
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
        serves: &[("web", 80), ("web", 90), ("web", 91)],
        asks: &[
            ("outside", "203.0.113.1", 8080, "web sees 203.0.113.9"),
            ("", "203.0.113.1", 8080, "web"),
            ("", "127.0.0.1", 8080, "web"),
            ("neighbour", "192.168.15.5", 8080, "web"),
            ("neighbour", "203.0.113.1", 8080, "web"),
            ("web", "192.168.15.5", 8080, "web"),
            ("", "127.0.0.1", 9001, "web sees 192.168.15.5"),
            ("outside", "203.0.113.1", 9001, ""),
            ("outside", "203.0.113.1", 80, ""),
        ],
    },
    Expected {
        lab: "forward-six",
        pings: &[("neighbour", "web", true), ("neighbour", "-4 web", false)],
        names: &[
            ("neighbour", "web.forward-six.test AAAA", "fd00:6::2"),
            ("neighbour", "web.forward-six.test A", ""),
        ],
        serves: &[("web", 80), ("web", 90), ("web", 91)],
        asks: &[
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
        ],
    },
    Expected {
        lab: "nat",
        pings: &[
            ("blue", "203.0.113.9", true),
            ("outside", "192.168.15.2", false),
        ],
        names: &[("blue", "gw.v-net-0.nat.test", "192.168.15.5")],
        asks: &[("blue", "203.0.113.9", 80, "outside sees 203.0.113.1")],
        ..Expected::NOTHING
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
        asks: &[
            ("blue", "203.0.113.9", 80, "outside sees 203.0.113.1"),
            ("blue", "2001:db8::9", 80, "outside sees 2001:db8::1"),
        ],
        ..Expected::NOTHING
    },
    Expected {
        lab: "nat-off",
        pings: &[
            ("blue", "192.168.15.5", true),
            ("blue", "203.0.113.9", false),
        ],
        names: &[("blue", "blue.nat-off.test", "192.168.15.2")],
        asks: &[("blue", "203.0.113.9", 80, "")],
        ..Expected::NOTHING
    },
    Expected {
        lab: "redblue",
        pings: &[
            ("red", "blue", true),
            ("", "192.168.15.1", true),
            ("blue", "203.0.113.9", true),
            ("outside", "192.168.15.2", false),
        ],
        names: &[
            ("red", "blue.redblue.test", "192.168.15.2"),
            (
                "red",
                "_http._tcp.blue.redblue.test SRV",
                "0 0 80 blue.redblue.test.",
            ),
            ("red", "blue.redblue.test AAAA", ""),
        ],
        serves: &[("blue", 80)],
        asks: &[
            ("outside", "203.0.113.1", 80, "blue sees 203.0.113.9"),
            ("red", "203.0.113.1", 80, "blue"),
            ("", "127.0.0.1", 80, "blue"),
            ("red", "203.0.113.9", 80, "outside sees 203.0.113.1"),
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
        serves: &[("db1", 306), ("db2", 306)],
        asks: &[
            ("client", "db.service.test", 3306, "db"),
            ("client", "10.96.0.10", 306, ""),
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
        serves: &[("db1", 3306), ("db2", 3306)],
        asks: &[
            ("client", "six", 3306, "db"),
            ("client", "fd00:96::10", 3307, ""),
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
        serves: &[("web", 80), ("db", 80)],
        asks: &[
            ("outside", "203.0.113.1", 8080, "web sees 203.0.113.9"),
            ("db", "www", 80, "web sees 172.19.0.3"),
            ("web", "db", 80, "db sees 172.19.0.2"),
            ("guest", "172.19.0.3", 80, ""),
        ],
    },
];
