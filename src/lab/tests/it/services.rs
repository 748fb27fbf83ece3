//! Services: who balances them, for whom, under which names and ports.

use crate::mistakes::report;
use crate::pages::typed;
use crate::resolving::dig;
use crate::world::{World, lab_file};

/// A cluster of two nodes, with pods that answer on 8080.
fn cluster() -> String {
    std::fs::read_to_string(lab_file("cluster")).expect("a lab")
}

/// The pods that answer, in the order in which they are seen.
fn seen(world: &World, from: &str, to: &str, port: u16, times: usize) -> Vec<String> {
    let ask = |_| world.asks(from, to, port);
    (0..times).map(ask).collect()
}

/// Whether both pods were seen, and nothing else.
#[track_caller]
fn in_turn(seen: &[String]) {
    for pod in ["p1 ", "p2 "] {
        assert!(seen.iter().any(|one| one.starts_with(pod)), "{seen:?}");
    }
    assert!(seen.iter().all(|one| one.contains(" sees ")), "{seen:?}");
}

#[test]
fn nodes_balance_services_as_in_a_cluster() {
    let world = World::new();
    let cluster = cluster();
    let file = world.file("cluster", &cluster);
    let path = file.to_str().expect("plain");
    world.apply_file(&file);
    for pod in ["p1", "p2"] {
        world.serve(pod, 8080, pod);
    }
    // ClusterIP: from a pod of each node, in turn, and the pods see who asks.
    let answers = seen(&world, "client", "10.96.0.20", 80, 4);
    in_turn(&answers);
    assert!(
        answers
            .iter()
            .all(|one| one.ends_with("sees 10.244.2.9") || one == "p2 sees 10.244.2.1"),
        "{answers:?}"
    );
    in_turn(&seen(&world, "db1", "10.96.0.20", 80, 4));
    // Also a node itself, and a pod that is behind the service.
    in_turn(&seen(&world, "n1", "10.96.0.20", 80, 4));
    in_turn(&seen(&world, "p1", "10.96.0.20", 80, 4));
    assert!(!world.asks("p1", "fd00:96::1", 80).is_empty());
    // NodePort: of every node, from outside of the cluster.
    for node in ["192.168.1.11", "192.168.1.12"] {
        in_turn(&seen(&world, "", node, 30_080, 4));
    }
    assert_eq!(world.asks("", "192.168.1.11", 80), "", "no other port");
    in_turn(&seen(&world, "n1", "127.0.0.1", 30_080, 4));
    // Affinity: one client, one pod.
    for from in ["client", "db1", "n2"] {
        let mut answers = seen(&world, from, "10.96.0.21", 80, 6);
        answers.dedup();
        assert!(
            answers.len() == 1 && answers[0].contains("sees"),
            "{answers:?}"
        );
    }
    let rules = world.ok("ip netns exec n2 nft list table inet lab_cluster");
    for part in ["timeout 3h", "timeout 1m", "elements = { 10.244.2.9"] {
        assert!(rules.contains(part), "{part}: {rules}");
    }
    // Rules that somebody flushed are drift of that node, and come back.
    world.ok("ip netns exec n1 nft flush ruleset");
    let did = world.lab(&["status", path]);
    assert!(
        did.code == 4 && did.out.contains("+ table inet lab_cluster in n1"),
        "{did:?}"
    );
    world.apply_file(&file);
    in_turn(&seen(&world, "db1", "10.96.0.20", 80, 4));
    // The ways of its packets.
    for to in ["web", "10.96.0.20"] {
        let did = world.lab(&["trace", "client", to, path]);
        assert_eq!(did.code, 0, "{did:?}");
        for part in [
            "service web 10.96.0.20:80/tcp, node port 30080",
            "balanced by the first of these on the way: n1, n2",
            "to p1 at 10.244.1.2 port 8080:",
            "  n2 (192.168.1.12) has a route to 10.244.1.2 via 192.168.1.11 on fabric",
        ] {
            assert!(did.out.contains(part), "{part}: {}", did.out);
        }
    }
    // A changed file: what a removed pod had goes to the other one, tracked connections or not.
    world.file(
        "cluster",
        &cluster.replace("to = [\"p1\", \"p2\"]", "to = [\"p2\"]"),
    );
    world.apply_file(&file);
    let answers = seen(&world, "client", "10.96.0.21", 80, 3);
    assert!(
        answers.iter().all(|one| one.starts_with("p2 ")),
        "{answers:?}"
    );
    // Without nodes their rules go.
    world.file("cluster", &cluster.replace("nodes = [\"n1\", \"n2\"]", ""));
    world.apply_file(&file);
    assert_eq!(
        world.ok("ip netns exec n1 nft list ruleset; ip netns exec n2 nft list ruleset"),
        ""
    );
    // The script makes the same: the rules are read by nft as they are told.
    world.file("cluster", &cluster);
    let script = world.lab(&["show", "--as-shell", path]).out;
    assert!(
        script.contains("ip netns exec n1 nft -f - <<'END'"),
        "{script}"
    );
    assert_eq!(world.lab(&["down", path]).code, 0);
    world.write("/run/work/script".as_ref(), &script);
    world.ok("sh -e /run/work/script");
    for pod in ["p1", "p2"] {
        world.serve(pod, 8080, pod);
    }
    in_turn(&seen(&world, "client", "10.96.0.20", 80, 4));
    let mut answers = seen(&world, "client", "10.96.0.21", 80, 4);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn the_host_balances_where_no_node_does() {
    let world = World::new();
    let file = world.file(
        "plain",
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[net.br1]\nsubnet = \"10.2.0.0/24\"\n[ns]\np1 = \"br0 10.1.0.2\"\np2 = \"br0 10.1.0.3\"\nclient = \"br1\"\n\
         [service.web]\nvip = \"10.96.0.20:80\"\nto = [\"p1\", \"p2\"]\nport = 8080\nnode_port = 30080\n\
         [service.sticky]\nvip = \"10.96.0.21:80\"\nto = [\"p1\", \"p2\"]\nport = 8080\nnode_port = 30081\naffinity = \"client\"\n",
    );
    world.outside();
    world.apply_file(&file);
    for pod in ["p1", "p2"] {
        world.serve(pod, 8080, pod);
    }
    world.ok("ip -n outside route add default via 203.0.113.1");
    in_turn(&seen(&world, "client", "10.96.0.20", 80, 4));
    in_turn(&seen(&world, "outside", "203.0.113.1", 30_080, 4));
    in_turn(&seen(&world, "", "10.1.0.1", 30_080, 4));
    in_turn(&seen(&world, "", "127.0.0.1", 30_080, 4));
    // The kernel may route loopback addresses by the bridge for that; from there they are not in reach.
    world.background("exec python3 -c 'import socket\ns = socket.create_server((\"127.0.0.1\", 9999))\nprint(\"up\", flush=True)\nwhile True: s.accept()[0].sendall(b\"private\\n\")'");
    world.ok("ip netns exec client sh -c 'sysctl -qw net.ipv4.conf.all.route_localnet=1; ip addr flush dev lo; ip route add 127.0.0.0/8 via 10.2.0.1'
        ip netns exec p1 sh -c 'sysctl -qw net.ipv4.conf.all.route_localnet=1; ip addr flush dev lo; ip route add 127.0.0.0/8 via 10.1.0.1'");
    assert_eq!(world.asks("", "127.0.0.1", 9_999), "private");
    assert_eq!(world.asks("p1", "127.0.0.1", 9_999), "");
    world.ok("nft flush chain inet lab_plain guard");
    assert_eq!(
        world.asks("p1", "127.0.0.1", 9_999),
        "private",
        "the rule does it"
    );
    world.apply_file(&file);
    assert_eq!(world.asks("p1", "127.0.0.1", 9_999), "");
    for (from, to, port) in [
        ("client", "10.96.0.21", 80),
        ("outside", "203.0.113.1", 30_081),
    ] {
        let mut answers = seen(&world, from, to, port, 6);
        answers.dedup();
        assert!(
            answers.len() == 1 && answers[0].contains("sees"),
            "{answers:?}"
        );
    }
    // A port that a process of the host has is not taken.
    world.serve("", 31_000, "host");
    let path = file.to_str().expect("plain");
    world.ok(&format!("sed -i s/30081/31000/ {path}"));
    let did = world.lab(&["apply", path]);
    assert!(
        did.code == 1 && did.err.contains("port 31000/tcp"),
        "{did:?}"
    );
}

#[test]
fn the_page_of_the_cluster_works_as_typed() {
    let world = World::new();
    let up = |line: &str| {
        if line.contains("up --serve") {
            let names = world.ok("ip netns exec web1 cat /etc/resolv.conf");
            for part in [
                "search default.svc.cluster.local svc.cluster.local cluster.local",
                "ndots:5",
                "nameserver 10.244.1.254",
            ] {
                assert!(names.contains(part), "{part}: {names}");
            }
            more_names(&world);
        }
    };
    let Some(out) = typed(&world, "kubernetes", up) else {
        return;
    };
    for (part, times) in [("web1\n", 2), ("web2\n", 2), ("update @client_sticky", 2)] {
        assert!(out.matches(part).count() >= times, "{part}: {out}");
    }
}

/// Names of the example beside those of its page.
fn more_names(world: &World) {
    for (arguments, expected) in [
        ("10-244-1-2.default.pod.cluster.local", "10.244.1.2"),
        ("10-244-3-3.data.pod.cluster.local", "10.244.3.3"),
        ("db1.db.data.svc.cluster.local", "10.244.2.3"),
        (
            "SRV _http._tcp.web.default.svc.cluster.local",
            "0 0 80 web.default.svc.cluster.local.",
        ),
        ("TXT dns-version.cluster.local", "\"1.1.0\""),
        ("web.data.svc.cluster.local", ""),
        ("db.default.svc.cluster.local", ""),
        ("-x 10.244.2.3", "db1.cluster.local."),
    ] {
        assert_eq!(dig(world, "client", arguments), expected, "{arguments}");
    }
}

#[test]
fn mistakes_of_services_are_told_at_their_place() {
    let head = "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = \"br0\"\nr = { nets = \"br0\", router = true }\n[service.s]\n";
    for (lines, code, place, hint) in [
        (
            "vip = \"none\"\nto = [\"a\"]\n",
            "LAB0108",
            "7:7",
            "headless = true",
        ),
        (
            "to = [\"a\"]\n",
            "LAB0108",
            "6:10",
            "and it is not headless",
        ),
        (
            "headless = true\nvip = \"10.96.0.1:80\"\nto = [\"a\"]\n",
            "LAB0108",
            "8:7",
            "headless and has a `vip`",
        ),
        (
            "headless = true\nto = [\"a\"]\nnode_port = 30000\n",
            "LAB0108",
            "9:13",
            "so it is not balanced",
        ),
        (
            "vip = \"10.96.0.1:80\"\nto = [\"a\", \"r\", \"a\"]\n",
            "LAB0105",
            "8:17",
            "`a` is behind service `s` twice",
        ),
        (
            "vip = \"10.96.0.1:80\"\nto = [\"a\"]\naffinity = \"clent\"\n",
            "LAB0003",
            "9:12",
            "write `client`",
        ),
        (
            "vip = \"10.96.0.1:80\"\nto = [\"a\"]\naffinity_timeout = 5\n",
            "LAB0108",
            "9:20",
            "needs affinity",
        ),
        (
            "vip = \"10.96.0.1:80\"\nto = [\"a\"]\nnode_port = 70000\n",
            "LAB0102",
            "9:13",
            "1 to 65535",
        ),
        (
            "vip = \"10.96.0.1:80\"\nto = [\"a\"]\nnode_port = 30000\n[service.t]\nvip = \"10.96.0.2:80\"\nto = [\"a\"]\nnode_port = 30000\n",
            "LAB0105",
            "13:13",
            "is already used",
        ),
        (
            "vip = \"10.96.0.1:80\"\nto = [\"a\"]\nnamespace = \"x\"\n",
            "LAB0203",
            "9:13",
            "schema = \"k8s\"",
        ),
        (
            "vip = \"10.96.0.1:80\"\nto = [\"a\"]\n[lab]\nnodes = [\"a\"]\n",
            "LAB0109",
            "10:10",
            "router = true",
        ),
        (
            "vip = \"10.96.0.1:80\"\nto = [\"a\"]\n[lab]\nnodes = [\"b\"]\n",
            "LAB0103",
            "10:10",
            "b",
        ),
        (
            "vip = \"10.96.0.1:80\"\nto = [\"a\"]\n[lab]\nschema = \"k9s\"\n",
            "LAB0003",
            "10:10",
            "write `k8s`",
        ),
    ] {
        let text = report(&format!("{head}{lines}"));
        for part in [code, place, hint] {
            assert!(text.contains(part), "{lines}: {part}: {text}");
        }
    }
}
