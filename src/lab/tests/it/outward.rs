//! A lab and what is around it: what a router outside is told, and what hosts files tell falsely.

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
# the host does not forward IPv6, because the lab does not need it; to turn it on: sysctl -w net.ipv6.conf.all.forwarding=1
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

#[test]
fn hosts_files_that_contradict_the_lab() {
    let world = World::new();
    let text = "[lab]\ndomain = \"shop.test\"\n[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\nweb = { nets = \"br0 10.1.0.5\", alias = [\"www\"] }\n[record]\nmail = \"A 192.0.2.25\"\n[service.db]\nvip = \"10.96.0.10:3306\"\nto = [\"web\"]\n";
    let path = world.file("shop", text);
    let check = || {
        let did = world.lab(&["check", "/run/work/shop.toml"]);
        assert_eq!(did.code, 0, "{did:?}");
        did.err
    };
    // What is true, what only looks like the lab's, and comments.
    world.ok("printf '10.1.0.5 web.shop.test www.shop.test # 10.9.9.9 web.shop.test\n10.9.9.9 web shop.test.example\n' >>/etc/hosts");
    assert_eq!(check(), "");
    let lines = world
        .ok("wc -l </etc/hosts")
        .trim()
        .parse::<usize>()
        .expect("a number");
    for (at, (line, column, message)) in [
        (
            "10.9.9.9 other WEB.shop.test",
            16,
            "`WEB.shop.test` is 10.9.9.9 in /etc/hosts, and 10.1.0.5 in the lab",
        ),
        (
            "fd00::1\twww.shop.test",
            9,
            "`www.shop.test` is fd00::1 in /etc/hosts, and 10.1.0.5 in the lab",
        ),
        ("127.0.0.1 web.br0.shop.test", 11, "is 127.0.0.1"),
        ("10.1.0.5 db.shop.test", 10, "and 10.96.0.10 in the lab"),
        ("10.1.0.5 mail.shop.test", 10, "and 192.0.2.25 in the lab"),
        ("10.1.0.5 gw.br0.shop.test", 10, "and 10.1.0.1 in the lab"),
    ]
    .into_iter()
    .enumerate()
    {
        world.ok(&format!("printf '{line}\n' >>/etc/hosts"));
        let said = check();
        assert_eq!(
            said.matches("warning[LAB0208]").count(),
            at + 1,
            "{line}: {said}"
        );
        for part in [
            format!("/etc/hosts:{}:{column}", lines + at + 1),
            message.to_owned(),
        ] {
            assert!(said.contains(&part), "{line}: {part}: {said}");
        }
    }
    // Where namespaces read the machine's file, short names count as well.
    let off = text.replace("[lab]", "[lab]\nhosts = \"off\"");
    world.write(&path, &off);
    let said = check();
    assert!(said.contains("`web` is 10.9.9.9"), "{said}");
    world.write(&path, text);

    // The file of a namespace, which the lab writes: as long as that is this lab, and until it is written anew.
    world.ok(&format!("sed -i '{},$d' /etc/hosts", lines + 1));
    world.apply_file(&path);
    assert_eq!(check(), "");
    world.ok("echo '10.9.9.9 www' >>/etc/netns/web/hosts");
    world.ok("sed -i 's/^10.1.0.5/10.9.9.8/' /etc/netns/web/hosts");
    assert_eq!(
        world
            .ok("ip netns exec web getent hosts web")
            .split_whitespace()
            .next(),
        Some("10.9.9.8"),
        "it is believed"
    );
    let said = check();
    for part in [
        "/etc/netns/web/hosts:4:10",
        "`web.shop.test` is 10.9.9.8",
        "`www` is 10.9.9.9",
        "programs in web believe",
        "`apply` rewrites it",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    world.apply_file(&path);
    assert_eq!(check(), "");
    world.write(&path, &text.replace("10.1.0.5", "10.1.0.6"));
    let said = check();
    assert!(
        said.contains("`web.shop.test` is 10.1.0.5 in /etc/hosts, and 10.1.0.6"),
        "{said}"
    );
    assert!(
        !said.contains("/etc/netns"),
        "the next `apply` tells the namespaces: {said}"
    );
}
