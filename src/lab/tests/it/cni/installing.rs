//! The plugin and a network, put where runtimes look for them.

use serde_json::{Value, json};

use crate::world::World;

const WHERE: [&str; 4] = [
    "--bin-dir",
    "/run/work/bin",
    "--conf-dir",
    "/run/work/net.d",
];

#[test]
fn what_is_installed_is_a_network() {
    let world = World::new();
    let install = |more: &[&str]| {
        let words = [&["cni", "install"][..], &WHERE, more].concat();
        world.lab(&words)
    };
    let did = install(&["--name", "pods", "--subnet", "10.30.0.0/16,fd00:30::/64"]);
    assert_eq!(
        (did.code, did.out.as_str()),
        (
            0,
            "+ program /run/work/bin/nameplate-cni\n+ network /run/work/net.d/10-pods.conflist\n"
        ),
        "{did:?}"
    );
    // As a runtime would call it.
    let list: Value =
        serde_json::from_str(&world.ok("cat /run/work/net.d/10-pods.conflist")).expect("JSON");
    assert_eq!(
        (&list["name"], &list["cniVersion"]),
        (&json!("pods"), &json!("1.0.0"))
    );
    let mut config = list["plugins"][0].clone();
    (config["name"], config["cniVersion"]) = (json!("pods"), json!("1.0.0"));
    world.ok("ip netns add c1 && ip netns add c2");
    for (verb, whose) in [("ADD", "c2"), ("ADD", "c1"), ("CHECK", "c1")] {
        let namespace = format!("/run/netns/{whose}");
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_PATH", "/run/work/bin"),
            ("CNI_CONTAINERID", whose),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", &namespace),
        ];
        let did = world.feed(
            "/run/work/bin/nameplate-cni",
            &variables,
            &config.to_string(),
        );
        assert_eq!(did.code, 0, "{did:?}");
        if (verb, whose) == ("ADD", "c1") {
            config["prevResult"] = serde_json::from_str(&did.out).expect("a result");
        }
    }
    let second = world.ok("ip -n c2 -br -6 addr show eth0 scope global");
    let second = second
        .split_whitespace()
        .nth(2)
        .and_then(|net| net.split('/').next())
        .expect("an address");
    assert!(world.pings("c1", second) && world.pings("c1", "10.30.0.1"));

    // Again; an older program; a link.
    assert_eq!(
        install(&["--name", "pods", "--subnet", "10.30.0.0/16,fd00:30::/64"]).out,
        "nothing to do\n"
    );
    world
        .ok("echo 'old: a CNI plugin, called by a container runtime' >/run/work/bin/nameplate-cni");
    let did = install(&["--name", "pods", "--subnet", "10.30.0.0/16,fd00:30::/64"]);
    assert_eq!(
        did.out, "+ program /run/work/bin/nameplate-cni\n",
        "{did:?}"
    );
    world.ok("CNI_COMMAND=VERSION /run/work/bin/nameplate-cni");
    let did = install(&[
        "--name",
        "other",
        "--subnet",
        "10.31.0.0/16",
        "--bridge",
        "cni1",
        "--link",
    ]);
    assert_eq!(did.code, 0, "{did:?}");
    world.ok(
        "test -L /run/work/bin/nameplate-cni && CNI_COMMAND=VERSION /run/work/bin/nameplate-cni",
    );
    let did = install(&[
        "--name",
        "third",
        "--subnet",
        "10.32.0.0/16",
        "--bridge",
        "cni2",
        "--link",
    ]);
    assert!(
        did.out.contains(
            "note: a runtime that uses the first network uses /run/work/net.d/10-other.conflist"
        ),
        "{did:?}"
    );
}

#[test]
fn what_is_not_ours_is_left() {
    let world = World::new();
    let left = |names: &[&str], why: &str| {
        let files = "cd /run/work; find . -type f -o -type l | sort | xargs -r cksum; ls -A";
        let before = world.ok(files);
        let did = world.lab(&[&["cni", "install"][..], &WHERE, names].concat());
        assert_eq!(did.code, 1, "{why}: {did:?}");
        assert!(did.err.contains(why), "{why}: {did:?}");
        assert_eq!(world.ok(files), before, "{why}");
    };
    left(&["--name", "a/b"], "`name` is `a/b`");
    left(&["--bridge", "much-too-long-for-a-bridge"], "`bridge` is");
    left(&["--subnet", "10.22.0.7/16"], "has host bits");
    world.ok("mkdir /run/work/bin /run/work/net.d; echo '#!/bin/sh' >/run/work/bin/nameplate-cni");
    left(
        &[],
        "/run/work/bin/nameplate-cni exists and is not nameplate's",
    );
    world.ok("ln -sf /nowhere /run/work/bin/nameplate-cni");
    left(&[], "is not nameplate's");
    world.ok("rm /run/work/bin/nameplate-cni; echo '{}' >/run/work/net.d/10-nameplate.conflist");
    left(&[], "10-nameplate.conflist exists and says something else");
    world.ok(r#"rm /run/work/net.d/*; echo '{"name": "nameplate", "type": "bridge"}' >/run/work/net.d/87-podman.conf"#);
    left(&[], "87-podman.conf has a network nameplate already");
}
