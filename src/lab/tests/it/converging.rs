//! Drift, conflicts, faults: the next `apply` repairs what is the lab's and touches nothing else.

use crate::world::{World, assert_same, lab_file};

#[test]
fn one_lab_becomes_another() {
    let other = "[lab]\nname = \"everything\"\n[net.br0]\nsubnet = \"10.1.0.0/24\"\nhost = \"10.1.0.200\"\nmtu = 1400\n[net.new]\nsubnet = \"10.7.0.0/24\"\n\
        [ns]\nweb = \"br0 10.1.0.6\"\ndeep = [\"new 10.7.0.9\", \"br0\"]\nextra = \"new\"\n";
    let world = World::new();
    let before = world.snapshot();
    let file = world.file("other", other);
    world.apply_file(&file);
    let fresh = world.state();
    assert_eq!(world.lab(&["down", "everything"]).code, 0);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
    world.apply("everything");
    world.apply_file(&file);
    assert_same(&world.state(), &fresh, "what the other lab had is gone");
    world.apply("everything");
    world.ok("rm /run/work/other.toml");
    assert_eq!(
        world.lab(&["down", "everything"]).code,
        0,
        "by name, without the file"
    );
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn what_is_not_ours_is_a_conflict_and_stays() {
    let table = [
        ("ip link add br0 type bridge", "link br0 exists on the host"),
        (
            "ip link add veth-web-br type veth peer name x",
            "link veth-web-br exists",
        ),
        ("ip netns add web", "namespace web exists"),
        (
            "mkdir -p /etc/netns/web; echo nameserver 192.0.2.1 > /etc/netns/web/resolv.conf",
            "/etc/netns/web/resolv.conf exists",
        ),
        (
            "nft add table inet lab_everything",
            "table inet lab_everything exists",
        ),
        (
            "ip link add other type veth peer name x; ip addr add 10.1.0.77/16 dev other",
            "10.1.0.0/24 overlaps 10.1.0.77/16 of other",
        ),
        (
            "mkdir -p /run/netns; touch /run/netns/web",
            "/run/netns/web is a file",
        ),
    ];
    let file = lab_file("everything");
    let file = file.to_str().expect("a plain path");
    for (make, expected) in table {
        let world = World::new();
        world.ok(make);
        let before = world.snapshot();
        for verb in ["plan", "apply"] {
            let did = world.lab(&[verb, file]);
            assert_eq!(did.code, 1, "{make}: {did:?}");
            assert!(did.err.contains(expected), "{make}: {did:?}");
            assert_eq!(did.out, "", "nobody is told to type what would harm others");
        }
        assert_same(&world.snapshot(), &before, make);
    }
}

#[test]
fn a_namespace_that_somebody_made_again_is_not_ours() {
    let world = World::new();
    world.apply("everything");
    world.ok("ip netns del web && ip netns add web && ip -n web link set lo up");
    let file = lab_file("everything");
    let did = world.lab(&["apply", file.to_str().expect("a plain path")]);
    assert_eq!(did.code, 1, "{did:?}");
    assert!(did.err.contains("made again by another program"), "{did:?}");
    assert_eq!(world.lab(&["down", "everything"]).code, 0);
    assert!(
        world.ok("ip netns").contains("web"),
        "it is somebody else's"
    );
}

#[test]
fn two_labs_side_by_side() {
    let world = World::new();
    let before = world.snapshot();
    let one = world.file(
        "one",
        "[net.b1]\nsubnet = \"10.1.0.0/24\"\nnat = true\n[ns]\nred = \"b1\"\n",
    );
    let two = world.file(
        "two",
        "[net.b2]\nsubnet = \"10.2.0.0/24\"\nnat = true\n[ns]\nblue = \"b2\"\n",
    );
    let same = world.file(
        "same",
        "[net.b3]\nsubnet = \"10.3.0.0/24\"\n[ns]\nred = \"b3\"\n",
    );
    let lab = env!("CARGO_BIN_EXE_nameplate-lab");
    world.ok(&format!(
        "{lab} apply {} & {lab} apply {} & wait",
        one.display(),
        two.display()
    ));
    for file in [&one, &two] {
        assert_eq!(world.lab(&["plan", file.to_str().expect("plain")]).code, 0);
    }
    let did = world.lab(&["apply", same.to_str().expect("plain")]);
    assert_eq!(did.code, 1, "{did:?}");
    assert!(
        did.err
            .contains("namespace red exists and is not the lab's"),
        "{did:?}"
    );
    assert_eq!(world.lab(&["down", "one"]).code, 0);
    assert_eq!(
        world.ok("cat /proc/sys/net/ipv4/ip_forward"),
        "1\n",
        "the other lab needs it"
    );
    assert_eq!(
        world.lab(&["plan", two.to_str().expect("plain")]).code,
        0,
        "the other lab is whole"
    );
    assert_eq!(world.lab(&["down", "two"]).code, 0);
    world.lab(&["down", "same"]);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn fifty_times_up_and_down_leave_nothing() {
    let world = World::new();
    let before = world.snapshot();
    let file = lab_file("everything");
    let line = format!(
        "set -e; for i in $(seq 50); do {0} apply {1} >/dev/null; {0} down everything >/dev/null; done",
        env!("CARGO_BIN_EXE_nameplate-lab"),
        file.display()
    );
    world.ok(&line);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn faults_are_told_and_the_next_apply_repairs() {
    let file = lab_file("everything");
    let file = file.to_str().expect("a plain path");
    for (fault, cure, expected) in [
        (
            "mkdir /etc/netns; mount -t tmpfs -o ro tmpfs /etc/netns",
            "umount /etc/netns; rmdir /etc/netns",
            "Read-only file system",
        ),
        (
            "mkdir /etc/netns; mount -t tmpfs -o size=4k,nr_inodes=4 tmpfs /etc/netns",
            "umount /etc/netns; rmdir /etc/netns",
            "No space left on device",
        ),
        (
            "mount -t tmpfs -o ro tmpfs /run/work; ulimit -n 64; mkdir -p /run/nameplate/lab; mount -t tmpfs -o size=4k,nr_inodes=2 tmpfs /run/nameplate/lab",
            "umount /run/nameplate/lab; umount /run/work",
            "cannot write",
        ),
    ] {
        let world = World::new();
        world.ok(fault);
        let did = world.lab(&["apply", file]);
        assert!(did.code == 3 || did.code == 1, "{fault}: {did:?}");
        assert!(did.err.contains(expected), "{fault}: {did:?}");
        world.ok(cure);
        world.apply("everything");
        assert!(world.pings("web", "10.1.0.1"), "{fault}");
        assert_eq!(world.lab(&["down", "everything"]).code, 0);
    }
}

#[test]
fn a_process_inside_is_named_and_does_not_hinder() {
    let world = World::new();
    let before = world.snapshot();
    world.apply("everything");
    world.background("ip netns exec web sh -c 'echo up; exec sleep 100'");
    let did = world.lab(&["down", "everything"]);
    assert_eq!(did.code, 0, "{did:?}");
    assert!(did.err.contains("(sleep) is still inside web"), "{did:?}");
    assert_same(&world.snapshot(), &before, "down leaves nothing");
    world.apply("everything");
}

#[test]
fn down_finds_everything_by_its_marks_when_the_journal_is_lost() {
    let world = World::new();
    world.apply("everything");
    world.ok("rm -r /run/nameplate");
    let did = world.lab(&["gc"]);
    assert_eq!(did.code, 0, "{did:?}");
    assert_eq!(world.ok("ip netns; nft list ruleset; ip -o link | grep -v ' lo:'; ls /etc/netns 2>/dev/null; true"), "");
}

/// Drift beside a change of the file: that which the host tells of is repaired with it, the rest by a deep look.
#[test]
fn a_changed_file_repairs_what_the_host_tells_of() {
    let text = std::fs::read_to_string(lab_file("everything")).expect("a lab");
    let texts = ["10.1.0.5", "10.1.0.6"].map(|web| {
        format!(
            "[lab]\nname = \"everything\"\n{}still = \"br0 10.1.0.77\"\n",
            text.replace("10.1.0.5", web)
        )
    });
    let world = World::new();
    let files = [("one", &texts[0]), ("two", &texts[1])].map(|(name, text)| world.file(name, text));
    let files = files
        .each_ref()
        .map(|file| file.to_str().expect("a plain path"));
    world.apply_file(files[0].as_ref());
    let mut at = 0;
    for (drift, told) in [
        ("true", true),
        ("ip netns del deep", true),
        ("ip netns del far", true),
        ("ip link del veth-deep-br", true),
        ("ip -n deep link set eth0 down", true),
        ("ip -n deep link del eth0", true),
        ("ip link set veth-deep-br nomaster", true),
        ("ip link set veth-deep-br down", true),
        (
            "ip link set veth-web-br type bridge_slave hairpin off",
            true,
        ),
        ("ip link del br0", true),
        ("ip link set br0 down", true),
        ("ip addr del 10.1.0.1/24 dev br0", true),
        ("nft flush ruleset", true),
        ("sysctl -qw net.ipv4.ip_forward=0", true),
        ("sysctl -qw net.ipv4.conf.br0.route_localnet=0", true),
        ("sysctl -qw net.ipv6.conf.br0.accept_ra=1", true),
        ("ip -n still addr flush dev eth0 scope global", false),
        ("ip -n still route del default", false),
        ("rm /etc/netns/still/resolv.conf", false),
        ("rm -r /etc/netns/still", false),
    ] {
        world.ok(drift);
        at = 1 - at;
        let did = world.lab(&["apply", "--take-over", files[at]]);
        assert_eq!(did.code, 0, "{drift}: {did:?}");
        let address = ["10.1.0.5/24", "10.1.0.6/24"][at];
        let there = world.ok("ip -n web -br addr show eth0");
        assert!(there.contains(address), "{drift}: {there}");
        let names = world.ok("cat /run/nameplate/lab/everything/names.json");
        assert!(
            names.contains(&address[..address.len() - 3]),
            "{drift}: {names}"
        );
        let plan = world.lab(&["plan", files[at]]);
        assert_eq!(plan.code == 0, told, "{drift}: {plan:?}");
        if !told {
            let did = world.lab(&["apply", "--deep", files[at]]);
            assert_eq!(did.code, 0, "{drift}: {did:?}");
            let plan = world.lab(&["plan", files[at]]);
            assert_eq!(plan.code, 0, "{drift}: {plan:?}");
        }
    }
    assert!(world.sh("ls /run/nameplate/lab/everything/begun").code != 0);
}

#[test]
fn only_some_namespaces_are_looked_at() {
    let world = World::new();
    let file = lab_file("everything");
    let file = file.to_str().expect("a plain path");
    let before = world.snapshot();
    let did = world.lab(&["apply", "--only", "nobody", file]);
    assert!(
        did.code == 1 && did.err.contains("the lab has no namespace nobody"),
        "{did:?}"
    );
    assert_same(&world.snapshot(), &before, "nothing is made");
    world.apply("everything");
    world.ok("ip netns del web; ip -n deep addr flush dev eth0; ip -n far link set eth0 down");
    let did = world.lab(&["apply", "--only", "web,gw", file]);
    assert_eq!(did.code, 0, "{did:?}");
    assert!(world.pings("web", "10.1.0.9"));
    assert!(
        world
            .ok("ip -n deep -br addr show eth0")
            .split_whitespace()
            .nth(2)
            .is_none_or(|address| address.starts_with("fe80"))
    );
    let plan = world.lab(&["plan", file]);
    assert_eq!(plan.code, 2, "deep is still as somebody left it: {plan:?}");
    world.apply("everything");
    assert_eq!(world.lab(&["apply", "--only", "nobody", file]).code, 1);
}
