//! Search domains and resolvers.

use super::Expected;

pub(super) const LABS: &[Expected] = &[
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
            ("web", "-x 10.1.0.11", "db.mycompany.test."),
            ("web", "db.mycompany.test AAAA", ""),
        ],
        ..Expected::NOTHING
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
        ..Expected::NOTHING
    },
    Expected {
        lab: "domains",
        pings: &[
            ("desk", "gw", true),
            ("db", "gw", true),
            ("desk", "web", true),
            ("guest", "gw", false),
            ("desk", "db", false),
        ],
        names: &[
            ("desk", "web +search", "192.168.1.10"),
            ("db", "web +search", "192.168.2.10"),
            ("db", "gw +search", "192.168.2.1"),
            ("guest", "gw +search", ""),
            ("guest", "gw.prod.mycompany.test", "192.168.2.1"),
            ("desk", "db.office.mycompany.test", ""),
        ],
        ..Expected::NOTHING
    },
    Expected {
        lab: "hosts",
        pings: &[
            ("web", "db", true),
            ("db", "www", true),
            ("db", "web.hosts.test", true),
        ],
        names: &[("web", "db.hosts.test", "192.168.1.11")],
        ..Expected::NOTHING
    },
    Expected {
        lab: "resolvers",
        pings: &[("desk", "backup", true)],
        names: &[("desk", "desk.resolvers.test", "192.168.1.5")],
        ..Expected::NOTHING
    },
    Expected {
        lab: "upstream",
        pings: &[("phone", "tablet", true), ("phone", "desk", false)],
        names: &[
            ("desk", "www.example.org", "198.51.100.7"),
            ("phone", "www.example.org", "203.0.113.80"),
            ("phone", "www.example.org +tcp", "203.0.113.80"),
            ("phone", "desk.upstream.test", "10.201.0.4"),
            ("phone", "-x 10.201.0.4", "desk.upstream.test."),
            ("desk", "phone.upstream.test AAAA", ""),
        ],
        ..Expected::NOTHING
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
        serves: &[("p1", 8080), ("p2", 8080)],
        asks: &[
            ("client", "web", 80, "p"),
            ("db1", "10.96.0.20", 80, "p"),
            ("", "192.168.1.12", 30080, "p"),
            ("p1", "six", 80, "p1 sees fd00:1::"),
            ("client", "web", 8080, ""),
            ("", "10.96.0.20", 80, ""),
        ],
    },
];
