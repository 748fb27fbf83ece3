//! What a person does by hand to what a lab has made: told by `status` and `plan`, and put back by `apply` and `watch`.

use crate::world::{World, assert_same};

/// A little of everything; `up0` is an interface of the host.
const LAB: &str = r#"
[net.br0]
subnet = ["10.1.0.0/24", "fd00:1::/64"]
nat = true
forward = ["8080:web:80"]
[net.back]
subnet = "10.2.0.0/24"
host = false
gateway = "gw"
[net.wire]
kind = "macvlan"
parent = "up0"
subnet = "10.3.0.0/24"
[link]
gw-far = "10.9.0.0/30"
[ns]
web = { nets = ["br0 10.1.0.5"], rate = "10mbit", sysctl = { "net.ipv4.conf.eth0.log_martians" = 1, "net.ipv4.neigh.eth0.gc_stale_time" = 30 } }
gw = { nets = ["br0 10.1.0.9", "back 10.2.0.1"], router = true }
far = { routes = ["10.2.0.0/24 via gw"] }
deep = "back"
own = "wire 10.3.0.5"
red = { nets = ["back"], default = false }
"#;

/// What is done by hand, and what `status` tells of it.
const TABLE: &[(&str, &str)] = &[
    // Namespaces and files.
    ("ip netns del web", "+ namespace web"),
    ("ip netns del gw; ip netns del far", "+ namespace gw"),
    ("umount /run/netns/web", "+ namespace web"),
    (
        "rm /etc/netns/web/resolv.conf",
        "+ file /etc/netns/web/resolv.conf",
    ),
    (
        "echo >> /etc/netns/web/hosts",
        "~ file /etc/netns/web/hosts",
    ),
    (
        "sed -i s/nameserver.*/nameserver\\ 192.0.2.1/ /etc/netns/web/resolv.conf",
        "~ file /etc/netns/web/resolv.conf",
    ),
    ("rm -r /etc/netns/web", "+ file /etc/netns/web/resolv.conf"),
    // Rules.
    ("nft flush ruleset", "+ table inet lab_drift"),
    (
        "nft flush chain inet lab_drift post_nat",
        "~ table inet lab_drift",
    ),
    (
        "nft insert rule inet lab_drift post_nat counter drop",
        "~ table inet lab_drift",
    ),
    (
        "nft delete chain inet lab_drift guard",
        "~ table inet lab_drift",
    ),
    // Interfaces of the host.
    ("ip link del br0", "+ bridge br0"),
    ("ip link set br0 down", "~ link br0 on the host: up"),
    (
        "ip link set br0 mtu 1400",
        "~ link br0 on the host: mtu 1500",
    ),
    (
        "ip link set br0 mtu 1000",
        "~ link br0 on the host: mtu 1500",
    ),
    (
        "ip link set br0 address 02:00:00:00:00:01",
        "~ link br0 on the host: address",
    ),
    ("ip link set br0 arp off", "~ link br0 on the host: arp on"),
    (
        "ip link set br0 multicast off",
        "~ link br0 on the host: multicast on",
    ),
    ("ip link set br0 group 7", "~ link br0 on the host: group"),
    ("ip link set br0 alias ''", "~ link br0 on the host: alias"),
    (
        "ip addr del 10.1.0.1/24 dev br0",
        "+ address 10.1.0.1/24 of br0",
    ),
    ("ip addr flush dev br0", "+ address fd00:1::1/64 of br0"),
    (
        "ip route del 10.1.0.0/24",
        "+ route 10.1.0.0/24 to br0 on the host",
    ),
    (
        "ip -6 route del fd00:1::/64",
        "+ route fd00:1::/64 to br0 on the host",
    ),
    (
        "ip route replace 10.1.0.0/24 via 10.3.0.99",
        "+ route 10.1.0.0/24 to br0 on the host",
    ),
    (
        "sysctl -qw net.ipv4.ip_forward=0",
        "~ net/ipv4/ip_forward = 1 on the host",
    ),
    (
        "sysctl -qw net.ipv4.conf.br0.forwarding=0",
        "~ net/ipv4/conf/br0/forwarding = 1 on the host",
    ),
    (
        "sysctl -qw net.ipv6.conf.br0.forwarding=0",
        "~ net/ipv6/conf/br0/forwarding = 1 on the host",
    ),
    (
        "sysctl -qw net.ipv6.conf.br0.disable_ipv6=1",
        "~ net/ipv6/conf/br0/disable_ipv6 = 0 on the host",
    ),
    (
        "sysctl -qw net.ipv4.conf.br0.route_localnet=0",
        "~ net/ipv4/conf/br0/route_localnet = 1 on the host",
    ),
    ("ip link del wire", "+ macvlan wire on up0"),
    (
        "ip link set wire type macvlan mode private",
        "+ macvlan wire on up0",
    ),
    ("ip link set up0 down", "~ link up0 on the host: up"),
    // Ports.
    (
        "ip link del veth-web-br",
        "+ eth0 in web, port veth-web-br of br0",
    ),
    (
        "ip link set veth-web-br down",
        "~ link veth-web-br on the host: up",
    ),
    (
        "ip link set veth-web-br down; ip link set veth-web-br name other",
        "+ eth0 in web, port veth-web-br of br0",
    ),
    (
        "ip link set veth-web-br mtu 1400",
        "~ link veth-web-br on the host: mtu 1500",
    ),
    (
        "ip link set veth-web-br address 02:00:00:00:00:01",
        "~ link veth-web-br on the host: address",
    ),
    (
        "ip link set veth-web-br group 7",
        "~ link veth-web-br on the host: group",
    ),
    (
        "ip link set veth-web-br alias ''",
        "~ link veth-web-br on the host: alias",
    ),
    (
        "ip link set veth-web-br arp off",
        "~ link veth-web-br on the host: arp on",
    ),
    (
        "ip link set veth-web-br nomaster",
        "~ link veth-web-br on the host: port of br0, hairpin on",
    ),
    (
        "ip link set veth-web-br master back",
        "~ link veth-web-br on the host: port of br0",
    ),
    (
        "ip link set veth-web-br type bridge_slave hairpin off",
        "hairpin on",
    ),
    (
        "ip link set veth-web-br type bridge_slave isolated on",
        "isolated as on a new port",
    ),
    (
        "ip link set veth-web-br type bridge_slave learning off flood off",
        "learning, flood as on a new port",
    ),
    (
        "ip link set veth-web-br type bridge_slave mcast_flood off bcast_flood off",
        "mcast_flood, bcast_flood as on a new port",
    ),
    (
        "ip link set veth-web-br type bridge_slave guard on root_block on fastleave on",
        "guard, root_block, fastleave as",
    ),
    (
        "ip link set veth-web-br type bridge_slave neigh_suppress on proxy_arp on",
        "proxy_arp, neigh_suppress as",
    ),
    (
        "ip link set veth-web-br type bridge_slave locked on",
        "locked as on a new port",
    ),
    (
        "for i in $(seq 50); do bridge link set dev veth-web-br state 0; sleep 0.1; ip -d link show veth-web-br | grep -q 'state disabled priority' && exit 0; done; exit 1",
        "state as on a new port",
    ),
    // Interfaces inside.
    ("ip -n far link del eth0", "+ pair"),
    ("ip -n web link set eth0 down", "~ link eth0 in web: up"),
    (
        "ip -n web link set eth0 down; ip -n web link set eth0 name x0",
        "+ eth0 in web, port veth-web-br of br0",
    ),
    (
        "ip -n web link set eth0 netns deep name x0",
        "+ eth0 in web, port veth-web-br of br0",
    ),
    (
        "ip -n web link set eth0 mtu 1400",
        "~ link eth0 in web: mtu 1500",
    ),
    (
        "ip -n web link set eth0 mtu 1000",
        "~ link eth0 in web: mtu 1500",
    ),
    (
        "ip -n web link set eth0 address 02:00:00:00:00:01",
        "+ eth0 in web, port veth-web-br of br0",
    ),
    (
        "ip -n web link set eth0 arp off",
        "~ link eth0 in web: arp on",
    ),
    (
        "ip -n web link set eth0 multicast off",
        "~ link eth0 in web: multicast on",
    ),
    (
        "ip -n web link set eth0 group 7",
        "~ link eth0 in web: group",
    ),
    (
        "ip -n far link set eth0 group 7",
        "~ link eth0 in far: group",
    ),
    ("ip -n own link del eth0", "+ eth0 in own, macvlan on up0"),
    (
        "ip -n own link set eth0 type macvlan mode private",
        "+ eth0 in own, macvlan on up0",
    ),
    (
        "ip -n own link set eth0 group 7",
        "~ link eth0 in own: group",
    ),
    ("ip -n web link set lo down", "~ link lo in web: up"),
    (
        "ip -n web addr flush dev lo",
        "+ address 127.0.0.1/8 of lo in web",
    ),
    (
        "ip -n web addr del ::1/128 dev lo",
        "+ address ::1/128 of lo in web",
    ),
    (
        "ip -n web addr flush dev eth0",
        "+ address 10.1.0.5/24 of eth0 in web",
    ),
    (
        "ip -n web route del default",
        "+ route 0.0.0.0/0 via 10.1.0.1 in web",
    ),
    (
        "ip -n web route del 10.1.0.0/24",
        "+ route 10.1.0.0/24 to eth0 in web",
    ),
    (
        "ip -n web -6 route del fd00:1::/64",
        "+ route fd00:1::/64 to eth0 in web",
    ),
    (
        "ip -n gw route flush all",
        "+ route 10.2.0.0/24 to eth1 in gw",
    ),
    (
        "ip -n deep route replace default via 10.2.0.77",
        "+ route 0.0.0.0/0 via 10.2.0.1 in deep",
    ),
    // Settings inside.
    (
        "ip netns exec gw sysctl -qw net.ipv4.ip_forward=0",
        "~ net/ipv4/ip_forward = 1 in gw",
    ),
    (
        "ip netns exec gw sysctl -qw net.ipv4.conf.eth0.forwarding=0",
        "~ net/ipv4/conf/eth0/forwarding = 1 in gw",
    ),
    (
        "ip netns exec gw sysctl -qw net.ipv6.conf.eth0.forwarding=0",
        "~ net/ipv6/conf/eth0/forwarding = 1 in gw",
    ),
    (
        "ip netns exec web sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
        "~ net/ipv6/conf/all/disable_ipv6 = 0 in web",
    ),
    (
        "ip netns exec web sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",
        "~ net/ipv6/conf/eth0/disable_ipv6 = 0 in web",
    ),
    (
        "ip netns exec web sysctl -qw net.ipv6.conf.eth0.accept_ra=1",
        "~ net/ipv6/conf/eth0/accept_ra = 0 in web",
    ),
    (
        "ip netns exec web sysctl -qw net.ipv4.conf.eth0.log_martians=0",
        "~ net/ipv4/conf/eth0/log_martians = 1 in web",
    ),
    (
        "ip netns exec web sysctl -qw net.ipv4.neigh.eth0.gc_stale_time=60",
        "~ net/ipv4/neigh/eth0/gc_stale_time = 30 in web",
    ),
    // What interfaces send.
    (
        "tc -n web qdisc del dev eth0 root",
        "~ link eth0 in web: tbf rate 10",
    ),
    (
        "tc -n web qdisc replace dev eth0 root tbf rate 1mbit burst 10k latency 50ms",
        "~ link eth0 in web: tbf rate 10",
    ),
    (
        "tc -n web qdisc replace dev eth0 root pfifo limit 3",
        "~ link eth0 in web: tbf rate 10",
    ),
    (
        "tc -n deep qdisc add dev eth0 root tbf rate 1mbit burst 10k latency 50ms",
        "~ link eth0 in deep: plain",
    ),
];

/// A world with the lab; its file.
fn applied() -> (World, String) {
    let world = World::new();
    world.ok("ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up");
    let file = world.file("drift", LAB);
    world.apply_file(&file);
    (world, file.to_str().expect("a plain path").to_owned())
}

#[test]
fn what_was_done_by_hand_is_told_and_put_back() {
    let (world, file) = applied();
    let before = world.kernel();
    for (by_hand, told) in TABLE {
        world.ok(by_hand);
        let plan = world.lab(&["plan", &file]);
        assert_eq!(plan.code, 2, "{by_hand}: {plan:?}");
        let status = world.lab(&["status", &file]);
        assert_eq!(status.code, 4, "{by_hand}: {status:?}");
        assert!(
            status.out.contains(told),
            "{by_hand}: {told}: {}",
            status.out
        );
        let apply = world.lab(&["apply", &file]);
        assert_eq!(apply.code, 0, "{by_hand}: {apply:?}");
        let plan = world.lab(&["plan", &file]);
        assert_eq!(plan.code, 0, "{by_hand}: {plan:?}");
        assert_same(&world.kernel(), &before, by_hand);
    }
}

#[test]
fn what_was_done_by_hand_is_put_back_by_watch() {
    let (world, file) = applied();
    let before = world.kernel();
    let lab = env!("CARGO_BIN_EXE_nameplate-lab");
    world.background(&format!(
        "{lab} watch {file} --interval 0.1 > /run/work/said 2>&1 & echo started; wait"
    ));
    world.ok("for i in $(seq 1000); do grep -q '^watching lab' /run/work/said && exit 0; sleep 0.01; done; exit 1");
    // Each kind, but not each of its rows.
    for (by_hand, _) in TABLE.iter().step_by(4) {
        // A command of two steps may fail in its second, as what the first did is repaired by then.
        world.sh(by_hand);
        world.ok(&format!(
            "for i in $(seq 500); do {lab} plan {file} >/dev/null && exit 0; sleep 0.02; done; {lab} plan {file}; cat /run/work/said; exit 1"
        ));
        assert_same(&world.kernel(), &before, by_hand);
    }
}

/// Others' routes over a link of the lab's outlast the repair of its own.
#[test]
fn what_somebody_added_stays() {
    let (world, file) = applied();
    world.ok(
        "ip route add 172.16.0.0/16 via 10.1.0.5 && ip -n web route add 172.17.0.0/16 via 10.1.0.9
        ip addr add 10.1.0.200/24 dev br0 && ip -n web addr add 10.1.0.201/24 dev eth0",
    );
    assert_eq!(
        world.lab(&["plan", &file]).code,
        0,
        "none of it is the lab's"
    );
    world.ok("ip route del 10.1.0.0/24 && ip -n web route del 10.1.0.0/24");
    let did = world.lab(&["apply", &file]);
    assert_eq!(did.code, 0, "{did:?}");
    let all = world.ok("ip route; ip addr show br0; ip -n web route; ip -n web addr");
    for part in [
        "172.16.0.0/16",
        "172.17.0.0/16",
        "10.1.0.200/24",
        "10.1.0.201/24",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(world.pings("web", "10.1.0.1"));
    // A namespace may put an interface into a table of its own, where the kernel has such.
    let vrf = "ip -n red link add blue type vrf table 10 && ip -n red link set blue up && ip -n red link set eth0 master blue";
    if world.sh(vrf).code == 0 {
        assert_eq!(world.lab(&["plan", &file]).code, 0);
    }
}

/// Hosts, containers most of all, on which new links are without IPv6.
#[test]
fn a_lab_has_ipv6_where_new_links_have_none() {
    let world = World::new();
    world.ok("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
    let text = "[net.br0]\nsubnet = [\"10.1.0.0/24\", \"fd00:1::/64\"]\n[ns]\na = \"br0\"\n";
    let file = world.file("demo", text);
    world.apply_file(&file);
    assert!(world.pings("a", "fd00:1::1"));
    let file = file.to_str().expect("a plain path");
    // Somebody else's file is not written over.
    world.ok("echo nameserver 192.0.2.1 > /etc/netns/a/resolv.conf");
    for (verb, code) in [("plan", 1), ("status", 4), ("apply", 1)] {
        let did = world.lab(&[verb, file]);
        let said = did.out + &did.err;
        let way_out = "`rm /etc/netns/a/resolv.conf`, and `apply` writes the lab's again";
        assert!(did.code == code && said.contains(way_out), "{verb}: {said}");
    }
    world.ok("rm /etc/netns/a/resolv.conf");
    world.apply_file(file.as_ref());
}
