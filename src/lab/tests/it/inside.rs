//! The server at an address inside of each namespace, and networks that ask others than the Corefile says.

use crate::resolving::{COREFILE, applied, dig, log, other_upstream, serve, status};
use crate::world::{World, assert_same, lab_file};

#[test]
fn a_network_has_an_upstream_of_its_own() {
    let world = World::new();
    world.outside();
    if !serve(&world, COREFILE) {
        return;
    }
    other_upstream(&world, "203.0.113.9", "192.0.2.99");
    applied(&world.lab(&["apply", lab_file("upstream").to_str().expect("plain")]));
    let asked = || dig(&world, "", "@10.202.0.1 www.example.org");
    assert_eq!(asked(), "192.0.2.99", "{}", log(&world));
    // Changed while the server runs.
    let text = std::fs::read_to_string(lab_file("upstream")).expect("a lab");
    let without = text.replace("upstream = ", "# ");
    let file = world.file("upstream", &without);
    applied(&world.lab(&["apply", "--take-over", file.to_str().expect("plain")]));
    assert_eq!(asked(), "198.51.100.7");
}

#[test]
fn each_namespace_has_the_server_at_an_address_of_its_own() {
    let world = World::new();
    if !serve(&world, COREFILE) {
        return;
    }
    let before = world.snapshot();
    let text = |dns: &str| {
        format!(
            "[lab]\ndns = {dns}\n[net.br0]\nsubnet = \"10.201.0.0/24\"\n[net.both]\nsubnet = [\"fd00:1::/64\", \"10.202.0.0/24\"]\n\
             [net.six]\nsubnet = \"fd00:6::/64\"\n[net.shut]\nsubnet = \"10.203.0.0/24\"\ninternal = true\n[net.apart]\nsubnet = \"10.204.0.0/24\"\nhost = false\n\
             [ns]\na = \"br0 10.201.0.4\"\nb = [\"br0 10.201.0.5\", \"both\"]\nc = \"both\"\nd = \"six\"\ne = \"shut\"\nf = \"apart\"\ng = \"apart\"\n\
             r = {{ nets = [\"br0 10.201.0.9\", \"apart 10.204.0.9\"], router = true }}\n"
        )
    };
    let file = world.file("docked", &text("[\"inside\", \"192.0.2.53\"]"));
    let path = file.to_str().expect("plain");
    applied(&world.lab(&["apply", path]));
    assert_eq!(world.lab(&["plan", path]).code, 0);
    for space in ["a", "b", "c", "e"] {
        let servers = world.ok(&format!("grep nameserver /etc/netns/{space}/resolv.conf"));
        assert_eq!(servers, "nameserver 127.0.0.11\nnameserver 192.0.2.53\n");
        // From the configuration, by name and over TCP, as programs do that know Docker's address.
        for arguments in [
            "a.docked.test",
            "@127.0.0.11 a.docked.test +notcp",
            "@127.0.0.11 a.docked.test +tcp",
        ] {
            assert_eq!(
                dig(&world, space, arguments),
                "10.201.0.4",
                "{space} {arguments}"
            );
        }
    }
    assert_eq!(dig(&world, "a", "www.example.org"), "198.51.100.7");
    assert_eq!(
        status(&world, "e", "@127.0.0.11 www.example.org"),
        "REFUSED 0"
    );
    assert!(
        world.pings("a", "b") && world.pings("b", "a") && world.pings("c", "b"),
        "{}",
        log(&world)
    );
    // The server sees who asks: on its own network a host is answered with that network's address.
    assert_eq!(dig(&world, "a", "b.docked.test"), "10.201.0.5");
    assert_eq!(dig(&world, "b", "-x 10.201.0.4"), "a.docked.test.");
    // Where there is no IPv4 the server is at the bridge's address; where it is not in reach, names are in a file.
    assert!(
        world
            .ok("cat /etc/netns/d/resolv.conf")
            .contains("nameserver fd00:6::1\n")
    );
    assert!(world.pings("f", "g") && world.pings("d", "d.docked.test"));
    assert_eq!(
        world
            .sh("grep -x 'nameserver 127.*' /etc/netns/f/resolv.conf")
            .out,
        ""
    );
    // What listens on loopback is not in reach of neighbours.
    world.background("exec ip netns exec a python3 -c 'import socket\ns = socket.create_server((\"127.0.0.1\", 99))\nprint(\"up\", flush=True)\nwhile True: s.accept()[0].sendall(b\"private\\n\")'");
    assert_eq!(world.asks("a", "127.0.0.1", 99), "private");
    world.ok("ip netns exec r sh -c 'sysctl -qw net.ipv4.conf.all.route_localnet=1; ip addr flush dev lo; ip route add 127.0.0.0/8 via 10.201.0.4'");
    assert_eq!(world.asks("r", "127.0.0.1", 99), "");
    for part in ["DNS 127.0.0.11 answers", "DNS fd00:6::1 answers"] {
        let did = world.lab(&["status", path]);
        assert!(did.out.contains(part), "{part}: {did:?}");
    }
    assert_eq!(world.lab(&["check", "--probe", path]).code, 0);
    // Taken back, it is a lab that never had it, whatever its file said before.
    world.ok("ip netns del r");
    world.file("docked", &text("\"bridge\""));
    applied(&world.lab(&["apply", path]));
    let changed = world.kernel();
    assert_eq!(dig(&world, "a", "@10.201.0.1 b.docked.test"), "10.201.0.5");
    assert_eq!(world.lab(&["down", path]).code, 0);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
    applied(&world.lab(&["apply", path]));
    assert_same(&changed, &world.kernel(), "changed is as fresh");
    // The script makes the same.
    world.file("docked", &text("\"inside\""));
    let script = world.lab(&["show", "--as-shell", path]).out;
    assert_eq!(world.lab(&["down", path]).code, 0);
    world.write("/run/work/script".as_ref(), &script);
    world.ok("sh -e /run/work/script");
    assert!(
        world
            .ok("ip netns exec a nft list table inet lab_docked")
            .contains("127.0.0.11")
    );
}
