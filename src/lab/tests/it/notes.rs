//! The commands of the study notes, typed as they stand there, and the lab's file that replaces them: one kernel state.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::world::{World, assert_same, lab_file};

/// Two namespaces and a pair of interfaces.
const PAIR: &str = "
ip netns add red
ip netns add blue
ip link add veth-red type veth peer name veth-blue
ip link set veth-red netns red
ip link set veth-blue netns blue
ip -n red addr add 192.168.15.1/30 dev veth-red
ip -n blue addr add 192.168.15.2/30 dev veth-blue
ip -n red link set lo up
ip -n blue link set lo up
ip -n red link set veth-red up
ip -n blue link set veth-blue up
";

/// The same on a bridge with the host on it, a way out, and a port that leads in; the last line lacks `-p tcp` in the notes,
/// and nothing there brings `lo` up.
const RED_BLUE: &str = "
ip netns add red
ip netns add blue
ip link add v-net-0 type bridge
ip link set dev v-net-0 up
ip link add veth-red type veth peer name veth-red-br
ip link add veth-blue type veth peer name veth-blue-br
ip link set veth-red netns red
ip link set veth-red-br master v-net-0
ip link set veth-blue netns blue
ip link set veth-blue-br master v-net-0
ip -n red addr add 192.168.15.1/24 dev veth-red
ip -n blue addr add 192.168.15.2/24 dev veth-blue
ip -n red link set lo up
ip -n blue link set lo up
ip -n red link set veth-red up
ip -n blue link set veth-blue up
ip link set veth-red-br up
ip link set veth-blue-br up
ip addr add 192.168.15.5/24 dev v-net-0
ip netns exec red ip route add default via 192.168.15.5
ip netns exec blue ip route add default via 192.168.15.5
sysctl -w net.ipv4.ip_forward=1
iptables -t nat -A POSTROUTING -s 192.168.15.0/24 -j MASQUERADE
iptables -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 192.168.15.2:80
";

/// The script of twenty-six commands. Its resolver is one outside; here it is the lab's server.
const CONTAINERS: &str = "
ip netns add container4
ip netns add container5
ip link add veth4 type veth peer name veth4-br
ip link add veth5 type veth peer name veth5-br
ip link set veth4 netns container4
ip link set veth5 netns container5
ip -n container4 addr add 10.201.0.4/24 dev veth4
ip -n container5 addr add 10.201.0.5/24 dev veth5
ip -n container4 link set veth4 up
ip -n container5 link set veth5 up
ip -n container4 link set lo up
ip -n container5 link set lo up
ip link add br0 type bridge
ip link set veth4-br master br0
ip link set veth5-br master br0
ip addr add 10.201.0.1/24 dev br0
ip link set br0 up
ip link set veth4-br up
ip link set veth5-br up
ip -n container4 route add default via 10.201.0.1
ip -n container5 route add default via 10.201.0.1
echo 1 > /proc/sys/net/ipv4/ip_forward
iptables -t nat -A POSTROUTING -s 10.201.0.0/24 -j MASQUERADE
iptables --policy FORWARD ACCEPT
mkdir -p /etc/netns/container4 && echo nameserver 10.201.0.1 > /etc/netns/container4/resolv.conf
mkdir -p /etc/netns/container5 && echo nameserver 10.201.0.1 > /etc/netns/container5/resolv.conf
";

/// The interfaces, addresses of IPv4 and routes of the host (`""`) or a namespace, without what is free to differ: the names
/// of pairs, MAC addresses, who set a route.
fn network(world: &World, space: &str) -> String {
    let ip = |what: &str| -> Vec<Value> {
        let at = match space {
            "" => String::new(),
            space => format!("-n {space} "),
        };
        let text = world.ok(&format!("ip {at}-j -d {what}"));
        serde_json::from_str(text.trim()).unwrap_or_default()
    };
    let mut lines = Vec::new();
    let mut kinds = BTreeMap::new();
    for link in ip("addr") {
        let name = link["ifname"].as_str().unwrap_or_default().to_owned();
        let kind = link["linkinfo"]["info_kind"].as_str().unwrap_or_default();
        let shown = match kind {
            "veth" => "veth".to_owned(),
            _ => name.clone(),
        };
        kinds.insert(name, shown.clone());
        let flags = link["flags"].as_array().into_iter().flatten();
        let mut up: Vec<&str> = flags.filter_map(Value::as_str).collect();
        up.retain(|flag| ["UP", "LOWER_UP"].contains(flag));
        let addresses = link["addr_info"].as_array().into_iter().flatten();
        let addresses: Vec<String> = addresses
            .filter(|at| at["family"] == "inet")
            .map(|at| format!("{} {} {}", at["local"], at["prefixlen"], at["scope"]))
            .collect();
        lines.push(format!(
            "{shown} {kind} {up:?} mtu {} on {} {addresses:?}",
            link["mtu"], link["master"]
        ));
    }
    for route in ip("route") {
        let device = route["dev"].as_str().unwrap_or_default();
        lines.push(format!(
            "route {} via {} dev {:?} from {}",
            route["dst"],
            route["gateway"],
            kinds.get(device),
            route["prefsrc"]
        ));
    }
    lines.sort();
    lines
        .iter()
        .map(|line| format!("{space}: {line}\n"))
        .collect()
}

/// The networks of the host and of all namespaces, whether the host forwards, and which servers resolvers ask.
fn networks(world: &World) -> String {
    let names = world.ok("ls /run/netns | sort");
    let mut out = network(world, "");
    for name in names.lines() {
        out.push_str(&network(world, name));
        let servers = world.ok(&format!(
            "cat /etc/netns/{name}/resolv.conf 2>/dev/null | grep nameserver; true"
        ));
        out.push_str(&format!("{name}: {servers}\n"));
    }
    out + &world.ok("cat /proc/sys/net/ipv4/ip_forward")
}

/// Whether there is iptables; CI must have it.
fn has_iptables(world: &World) -> bool {
    let has = world.sh("command -v iptables").code == 0;
    if !has {
        println!("SKIPPED: needs iptables");
        assert!(std::env::var_os("CI").is_none(), "nothing may be skipped");
    }
    has
}

/// A machine with a network outside, where whoever is asked tells whom it sees.
fn machine() -> World {
    let world = World::new();
    world.outside();
    world.serve("outside", 8000, "outside");
    world
}

#[test]
fn the_commands_of_the_notes_and_the_labs_file_make_the_same() {
    if !has_iptables(&World::new()) {
        return;
    }
    for (lab, script, pings) in [
        (
            "pair",
            PAIR,
            &[("red", "192.168.15.2"), ("", "192.168.15.1")][..],
        ),
        (
            "redblue",
            RED_BLUE,
            &[
                ("red", "192.168.15.2"),
                ("", "192.168.15.1"),
                ("blue", "192.168.15.5"),
                ("blue", "203.0.113.9"),
                ("outside", "192.168.15.2"),
            ],
        ),
        (
            "containers",
            CONTAINERS,
            &[
                ("container4", "10.201.0.5"),
                ("", "10.201.0.4"),
                ("container5", "203.0.113.9"),
                ("outside", "10.201.0.5"),
            ],
        ),
    ] {
        let theirs = machine();
        theirs.ok(&format!("set -e{script}"));
        let ours = machine();
        // Without the lab's server resolvers are the notes' business where these have any.
        if script.contains("/etc/netns") {
            ours.apply(lab);
        } else {
            let text = std::fs::read_to_string(lab_file(lab)).expect("a lab");
            let file = ours.file(lab, &format!("[lab]\ndns = \"off\"\n{text}"));
            ours.apply_file(&file);
        }
        assert_same(&networks(&ours), &networks(&theirs), lab);
        assert_eq!(ours.pings_of(pings), theirs.pings_of(pings), "{lab}");
        // What the rules do.
        for world in [&ours, &theirs] {
            let masked = script.contains("MASQUERADE");
            let rules = world.ok("nft list ruleset");
            let line = rules.lines().find(|line| line.contains("masquerade"));
            let subnet = script.split(" -s ").nth(1);
            let subnet = subnet.and_then(|rest| rest.split(' ').next());
            assert_eq!(line.is_some(), masked, "{lab}: {rules}");
            if let (Some(line), Some(subnet)) = (line, subnet) {
                assert!(
                    line.contains(&format!("ip saddr {subnet}")),
                    "{lab}: {line}"
                );
                let from = lab
                    .replace("redblue", "blue")
                    .replace("containers", "container4");
                assert_eq!(
                    world.asks(&from, "203.0.113.9", 8000),
                    "outside sees 203.0.113.1"
                );
            }
            if script.contains("DNAT") {
                world.serve("blue", 80, "blue");
                assert_eq!(
                    world.asks("outside", "203.0.113.1", 80),
                    "blue sees 203.0.113.9"
                );
            }
        }
        if lab == "redblue" {
            let names = |world: &World| {
                world.ok("ip -br link | grep -o '^ve[a-z-]*\\|^v-[a-z0-9-]*' | sort; ip -n red -br link | grep -o '^veth-[a-z]*'")
            };
            assert_eq!(names(&ours), names(&theirs));
        }
    }
}
