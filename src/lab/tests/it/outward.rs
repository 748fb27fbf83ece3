//! A lab and the network around it: what a router outside is told.

use crate::world::World;

/// Networks that are reached from outside by a route, by one only for what begins there, and not at all.
const LAB: &str = r#"
[net.plain]
subnet = ["10.1.0.0/24", "fd00:1::/64"]
[net.masked]
subnet = ["10.2.0.0/24", "fd00:2::/64"]
nat = "v4"
[net.closed]
subnet = "10.3.0.0/24"
internal = true
[net.switch]
subnet = "10.4.0.0/24"
host = false
[ns]
a = "plain"
b = "masked"
c = "closed"
d = "switch"
"#;

#[test]
fn a_router_outside_is_told_its_routes() {
    let world = World::new();
    world.outside();
    let file = world.file("ways", LAB);
    world.apply_file(&file);
    let told = world.lab(&["show", "--static-route", "/run/work/ways.toml"]);
    assert_eq!(
        told.out,
        "# closed: is internal
# switch: the host is not on it
# for a router on the network of the host's up0
ip route add 10.1.0.0/24 via 203.0.113.1
# masked is masqueraded; for connections that begin outside: ip route add 10.2.0.0/24 via 203.0.113.1
# the host does not forward IPv6, and the lab does not need it to: sysctl -w net.ipv6.conf.all.forwarding=1
# for a router on the network of the host's up0
ip -6 route add fd00:1::/64 via 2001:db8::1
ip -6 route add fd00:2::/64 via 2001:db8::1
",
        "{told:?}"
    );
    let address = |space: &str, family: &str| {
        let line = world.ok(&format!(
            "ip -n {space} -br {family} addr show eth0 scope global"
        ));
        let word = line
            .split_whitespace()
            .nth(2)
            .expect("an address")
            .to_owned();
        word.split('/').next().expect("an address").to_owned()
    };
    let ways = [("a", "-4"), ("a", "-6"), ("b", "-4"), ("b", "-6")];
    let reached = |expected: [bool; 4]| {
        for ((space, family), expected) in ways.iter().zip(expected) {
            let got = world.pings("outside", &address(space, family));
            assert_eq!(got, expected, "{space} by {family}");
        }
    };
    reached([false; 4]);
    // As it is typed there, with what the comments say.
    let typed = |said: &str| {
        let script = format!("ip netns exec outside sh -ec '{said}'");
        world.ok(&script);
    };
    let plain: String = told
        .out
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    typed(&plain);
    world.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    reached([true, true, false, true]);
    let (_, more) = told.out.split_once("begin outside: ").expect("a command");
    typed(more.lines().next().expect("a line"));
    reached([true; 4]);

    // By the default route's link alone, where there is one.
    world.ok("ip link add up1 type dummy 2>/dev/null || ip link add up1 type veth peer name up2
        ip addr add 198.51.100.1/24 dev up1 && ip link set up1 up && ip route add default via 198.51.100.9");
    let told = world
        .lab(&["show", "--static-route", "/run/work/ways.toml"])
        .out;
    assert!(
        told.contains("ip route add 10.1.0.0/24 via 198.51.100.1\n"),
        "{told}"
    );
    assert!(!told.contains("via 203.0.113.1\n"), "{told}");
}
