//! Everything that the study notes do by hand, one lab each.

use crate::world::World;

/// Who reaches whom, in one lab: (from, to, whether).
fn reaches(lab: &str, table: &[(&str, &str, bool)]) -> World {
    let world = World::new();
    world.apply(lab);
    for (from, to, expected) in table {
        assert_eq!(world.pings(from, to), *expected, "{lab}: {from} → {to}");
    }
    world
}

#[test]
fn two_containers_on_a_bridge_with_nat() {
    let world = World::new();
    world.outside();
    world.apply("containers");
    for (from, to) in [
        ("container4", "10.201.0.5"),
        ("container5", "10.201.0.4"),
        ("", "10.201.0.4"),
        ("container4", "203.0.113.9"),
    ] {
        assert!(world.pings(from, to), "{from} → {to}");
    }
    let table = world.ok("nft list table inet lab_containers");
    assert!(
        table.contains("ip saddr 10.201.0.0/24 ip daddr != 10.201.0.0/24"),
        "{table}"
    );
    assert_eq!(
        world.ok("cat /etc/netns/container4/resolv.conf | grep nameserver"),
        "nameserver 10.201.0.1\n"
    );
}

#[test]
fn a_pair_without_bridge() {
    let world = reaches(
        "pair",
        &[
            ("red", "192.168.15.2", true),
            ("blue", "192.168.15.1", true),
            ("", "192.168.15.1", false),
        ],
    );
    // Deleting one end deletes the other.
    world.ok("ip -n red link del eth0");
    assert_eq!(world.ok("ip -n blue -br link | grep -c eth0; true"), "0\n");
}

#[test]
fn a_switch_without_the_host() {
    reaches(
        "bridge",
        &[
            ("red", "192.168.15.2", true),
            ("blue", "192.168.15.1", true),
            ("", "192.168.15.1", false),
            ("red", "192.168.15.254", false),
        ],
    );
}

#[test]
fn the_host_on_the_bridge() {
    let world = reaches(
        "hostbridge",
        &[
            ("", "192.168.15.1", true),
            ("red", "192.168.15.5", true),
            ("red", "192.168.15.2", true),
        ],
    );
    let links = world.ok("ip -br link");
    assert!(
        links.contains("veth-red-br@") && links.contains("veth-blue-br@"),
        "readable names where they fit: {links}"
    );
    // Nothing was asked to be forwarded.
    assert_eq!(world.ok("cat /proc/sys/net/ipv4/ip_forward"), "0\n");
}

#[test]
fn two_networks_and_a_router() {
    reaches(
        "router",
        &[
            ("a", "192.168.2.5", true),
            ("c", "192.168.1.5", true),
            ("", "192.168.1.5", false),
        ],
    );
    reaches(
        "router-off",
        &[
            ("a", "192.168.1.6", true),
            ("a", "192.168.2.5", false),
            ("c", "192.168.1.5", false),
        ],
    );
}

#[test]
fn default_gateways() {
    let world = reaches(
        "gateway",
        &[
            ("desk", "192.168.2.5", true),
            ("server", "192.168.1.5", true),
            ("desk", "192.168.2.1", false),
        ],
    );
    assert!(
        world
            .ok("ip -n desk route")
            .contains("default via 192.168.1.1")
    );
    assert!(
        world
            .ok("ip -n gw route")
            .contains("default via 192.168.2.1")
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
    assert!(world.pings("blue", "203.0.113.9"));
    assert_eq!(
        world.asks("blue", "203.0.113.9", 80),
        "outside sees 203.0.113.1"
    );
    assert!(
        !world.pings("outside", "192.168.15.2"),
        "outside has no route in"
    );
    assert_eq!(world.lab(&["down", "nat"]).code, 0);
    assert_eq!(
        world.ok("cat /proc/sys/net/ipv4/ip_forward"),
        "0\n",
        "as it was before"
    );
}

#[test]
fn a_port_forward_from_everywhere() {
    let world = World::new();
    world.outside();
    world.apply("forward");
    for port in [80, 90, 91] {
        world.serve("web", port, "web");
    }
    assert_eq!(
        world.asks("outside", "203.0.113.1", 8080),
        "web sees 203.0.113.9"
    );
    assert!(
        world.asks("", "203.0.113.1", 8080).starts_with("web"),
        "from the host"
    );
    assert!(
        world.asks("", "127.0.0.1", 8080).starts_with("web"),
        "from 127.0.0.1"
    );
    assert!(
        world
            .asks("neighbour", "192.168.15.5", 8080)
            .starts_with("web"),
        "from a neighbour"
    );
    assert!(
        world.asks("web", "192.168.15.5", 8080).starts_with("web"),
        "hairpin: its own port by way of the host"
    );
    assert!(
        world
            .asks("neighbour", "203.0.113.1", 8080)
            .starts_with("web"),
        "from a neighbour, at the host's other address"
    );
    assert_eq!(world.asks("", "127.0.0.1", 9001), "web sees 192.168.15.5");
    assert_eq!(
        world.asks("outside", "203.0.113.1", 9001),
        "",
        "only at 127.0.0.1"
    );
    assert_eq!(
        world.asks("outside", "203.0.113.1", 80),
        "",
        "not forwarded"
    );
    // With a bridge whose packets iptables sees, too.
    world.sh("sysctl -qw net.bridge.bridge-nf-call-iptables=1");
    assert!(
        world.asks("web", "192.168.15.5", 8080).starts_with("web"),
        "hairpin with bridge-nf"
    );
}

#[test]
fn what_docker_calls_bridge_none_and_host() {
    let world = World::new();
    world.outside();
    world.apply("docker");
    assert!(world.pings("web", "172.17.0.1") && world.pings("web", "203.0.113.9"));
    assert_eq!(world.ok("ip -n alone -o link | wc -l"), "1\n", "only lo");
    assert!(world.pings("alone", "127.0.0.1") && !world.pings("alone", "172.17.0.1"));
    assert!(
        !world.ok("ip netns").contains("same"),
        "the host is no namespace"
    );
}

#[test]
fn a_pod_network_of_three_nodes() {
    let pods = ["10.244.1.2", "10.244.2.2", "10.244.3.2"];
    let mut table = Vec::new();
    for from in ["p1", "p2", "p3"] {
        table.extend(pods.iter().map(|to| (from, *to, true)));
        table.push((from, "192.168.1.11", true));
    }
    table.push(("", "10.244.1.2", false));
    reaches("pods", &table);
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
    assert_eq!(
        world.asks("client", "10.96.0.10", 306),
        "",
        "only the service's port"
    );
}

#[test]
fn both_families() {
    let world = reaches(
        "dual",
        &[
            ("a", "10.2.0.5", true),
            ("a", "fd00:2::5", true),
            ("b", "fd00:1::5", true),
            ("", "fd00:1::5", true),
            ("", "fd00:2::5", false),
        ],
    );
    assert!(
        world
            .ok("ip -n b -6 route")
            .contains("default via fd00:2::1")
    );
}

#[test]
fn addresses_of_ipv6_can_be_used_at_once() {
    let world = World::new();
    world.ok(&format!(
        "{} apply {} && ip netns exec web ping -6 -c1 -W1 fd00:6::1",
        env!("CARGO_BIN_EXE_nameplate-lab"),
        crate::world::lab_file("six").display()
    ));
    world.serve("web", 80, "web");
    world.ok("ip netns add outside && ip link add up0 type veth peer name eth0 netns outside
        ip -6 addr add 2001:db8::1/64 dev up0 nodad && ip link set up0 up
        ip -n outside -6 addr add 2001:db8::9/64 dev eth0 nodad && ip -n outside link set eth0 up; sleep 0.1");
    assert_eq!(
        world.asks("outside", "2001:db8::1", 8080),
        "web sees 2001:db8::9"
    );
    assert!(world.asks("other", "fd00:6::1", 8080).starts_with("web"));
    assert!(world.asks("", "fd00:6::1", 8080).starts_with("web"));
}

#[test]
fn isolated_and_internal_networks() {
    let world = World::new();
    world.outside();
    world.apply("isolate");
    for (from, to, expected) in [
        ("o", "203.0.113.9", true),
        ("s", "10.1.0.5", true),
        ("o", "10.2.0.5", false),
        ("i", "10.3.0.6", true),
        ("i", "10.1.0.5", false),
        ("o", "10.3.0.5", false),
        ("i", "203.0.113.9", false),
    ] {
        assert_eq!(world.pings(from, to), expected, "{from} → {to}");
    }
}
