//! Looking at a lab that is up: routes, neighbours, rules, listeners, packets and their way.

use crate::world::{World, lab_file};

const LAB: &str = env!("CARGO_BIN_EXE_nameplate-lab");

#[test]
fn status_shows_what_is_asked_for() {
    let world = World::new();
    world.apply("forward");
    world.serve("web", 80, "web");
    assert!(world.pings("neighbour", "192.168.15.2"));
    assert!(
        world
            .asks("neighbour", "192.168.15.5", 8080)
            .starts_with("web")
    );
    let file = lab_file("forward");
    let file = file.to_str().expect("plain");
    let plain = world.lab(&["status", file]);
    let all = world.lab(&[
        "status", "--routes", "--neigh", "--listen", "--nat", "--names", file,
    ]);
    assert_eq!(all.code, 0, "{all:?}");
    for part in [
        "route 0.0.0.0/0 via 192.168.15.5 dev eth0",
        "neighbour 192.168.15.2 is 02:",
        "listens * 80/tcp python3 (",
        "pre_nat  meta nfproto ipv4 fib daddr type local tcp dport 8080 dnat ip to 192.168.15.2:80: 1 packet",
        "name web.forward.test 192.168.15.2 (",
    ] {
        assert!(all.out.contains(part), "{part}: {}", all.out);
        assert!(!plain.out.contains(part), "{part}: {}", plain.out);
    }
    let json = world.lab(&["status", "--json", "--nat", "--names", file]);
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["names"]["lab"], "forward");
    assert!(
        json["rules"]
            .as_array()
            .is_some_and(|rules| rules.len() > 3),
        "{json}"
    );
}

#[test]
fn a_watched_lab_is_mended() {
    let world = World::new();
    let lab = env!("CARGO_BIN_EXE_nameplate-lab");
    let text = "[net.br0]\nsubnet = \"10.1.0.0/24\"\nnat = true\n[ns]\na = \"br0 10.1.0.2\"\nb = \"br0 10.1.0.3\"\n";
    let file = world.file("demo", text);
    let path = file.to_str().expect("plain");
    let did = world.lab(&["watch", path]);
    assert!(
        did.code == 1 && did.err.contains("is not applied"),
        "{did:?}"
    );
    world.apply_file(&file);
    world.background(&format!(
        "{lab} watch {path} --interval 0.2 > /run/work/said 2>&1 & echo $! > /run/work/pid; echo started; wait $!; echo $? > /run/work/code"
    ));
    let until = |condition: &str| {
        world.ok(&format!("for i in $(seq 1000); do {condition} && exit 0; sleep 0.02; done; cat /run/work/said; {lab} plan {path}; exit 1"));
    };
    until("grep -q '^watching lab' /run/work/said");
    // Rules, a bridge's address, a namespace, a route inside: each on its own.
    for (spoil, told) in [
        ("nft flush ruleset", "table inet lab_demo"),
        (
            "ip addr del 10.1.0.1/24 dev br0",
            "address 10.1.0.1/24 of br0",
        ),
        ("ip netns del b", "namespace b"),
        (
            "ip -n a route del default",
            "route 0.0.0.0/0 via 10.1.0.1 in a",
        ),
        ("ip link del br0", "bridge br0"),
    ] {
        world.ok(&format!(": > /run/work/said; {spoil}"));
        until(&format!(
            "grep -q '{told}' /run/work/said && {lab} plan {path} >/dev/null"
        ));
    }
    assert!(world.pings("a", "10.1.0.3"));
    // A changed file is applied, one with mistakes is not.
    world.file("demo", &text.replace("b = ", "c = "));
    until("[ -e /run/netns/c ] && [ ! -e /run/netns/b ]");
    world.file("demo", "[net.br0]\nsubnett = 1\n");
    until("grep -q 'write `subnet`' /run/work/said && grep -q 'stays as it was' /run/work/said");
    assert!(world.pings("c", "10.1.0.2"));
    // What is removed stays removed.
    assert_eq!(world.lab(&["down", "demo"]).code, 0);
    until("[ -e /run/work/code ]");
    assert_eq!(world.ok("cat /run/work/code"), "0\n");
    assert_eq!(
        world.ok("ls /run/netns 2>/dev/null; ls -A /run/nameplate/lab"),
        ".lock\n"
    );
}

#[test]
fn packets_are_captured_as_pcap() {
    let world = World::new();
    world.apply("bridge");
    world.background(&format!(
        "{LAB} capture -c 12 red:eth0 > /run/work/red.pcap & echo $! > /run/work/pid; for i in $(seq 100); do [ -s /run/work/red.pcap ] && break; sleep 0.02; done; echo up; wait"
    ));
    let did = world.sh("for i in $(seq 50); do ip netns exec red ping -c1 -W1 -p 6e616d65706c617465 192.168.15.2 >/dev/null; [ -d /proc/$(cat /run/work/pid) ] || exit 0; done; exit 1");
    assert_eq!(did.code, 0, "it ends after twelve packets: {did:?}");
    let magic = world.ok("head -c 4 /run/work/red.pcap | od -An -tx1; head -c 24 /run/work/red.pcap | tail -c 4 | od -An -tx1");
    assert!(
        magic.contains("4d 3c b2 a1") && magic.contains("01 00 00 00"),
        "{magic}"
    );
    assert!(world.ok("grep -ac nameplate /run/work/red.pcap").trim() != "0");
    for (place, why) in [
        ("nobody", "cannot enter namespace nobody"),
        ("red:eth7", "red has no interface eth7"),
    ] {
        let did = world.lab(&["capture", place]);
        assert!(did.code == 1 && did.err.contains(why), "{did:?}");
    }
}

#[test]
fn the_way_of_a_packet_is_told() {
    let world = World::new();
    let file = lab_file("router");
    let file = file.to_str().expect("plain");
    let told = world.lab(&["trace", "a", "c", file]);
    assert_eq!(told.code, 0, "without being up: {told:?}");
    assert!(!told.out.contains("packet gets"), "{told:?}");
    world.apply("router");
    let told = world.lab(&["trace", "a", "c", file]);
    for part in [
        "a (192.168.1.5) has a route to 192.168.2.5 via",
        "b (192.168.2",
        "and back",
        "a packet gets there and back",
    ] {
        assert!(told.out.contains(part), "{part}: {told:?}");
    }
    // A kernel sends a few "port unreachable" a second, and not one for each of these.
    world.ok("ip netns exec a python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(200): s.sendto(b\"x\", (\"192.168.2.5\", 9))'");
    let told = world.lab(&["trace", "a", "c", file]);
    assert_eq!(told.code, 0, "{told:?}");
    world.ok("ip netns exec b sysctl -qw net.ipv4.ip_forward=0");
    let told = world.lab(&["trace", "a", "c", file]);
    assert!(
        told.code == 1 && told.out.contains("but none gets there"),
        "{told:?}"
    );
    let file = lab_file("router-off");
    let told = world.lab(&["trace", "a", "c", file.to_str().expect("plain")]);
    assert!(
        told.code == 1 && told.out.contains("lost: b does not route"),
        "{told:?}"
    );
}
