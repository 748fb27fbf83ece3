//! Settings of the host that outlast a boot: kept on request, and gone with the lab.

use crate::world::{World, assert_same};

const FILE: &str = "/etc/sysctl.d/90-nameplate-lab-kept.conf";
const LAB: &str =
    "[net.br0]\nsubnet = [\"10.1.0.0/24\", \"fd00:1::/64\"]\nnat = true\n[ns]\na = \"br0\"\n";
/// Both settings.
const SETTINGS: &str =
    "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding | tr -d '\\n'";

/// What a boot leaves: files, and the settings that they make.
fn boot(world: &World) {
    world.ok(&format!(
        "ip netns del a; ip link del br0; nft flush ruleset; umount /run/netns; rmdir /run/netns; rm -r /run/nameplate
         sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
         sysctl -qp {FILE}"
    ));
    assert_eq!(world.ok(SETTINGS), "11", "the file says so");
}

#[test]
fn settings_outlast_a_boot_and_not_the_lab() {
    let world = World::new();
    let before = world.snapshot();
    let file = world.file("kept", LAB);
    let path = file.to_str().expect("a plain path");
    let ok = |arguments: &[&str]| {
        let did = world.lab(arguments);
        assert_eq!(did.code, 0, "{arguments:?}: {did:?}");
        did
    };
    // On request only.
    ok(&["apply", path]);
    assert_eq!(
        world.ok("ls -d /etc/sysctl.d 2>&1; true"),
        "ls: cannot access '/etc/sysctl.d': No such file or directory\n"
    );
    ok(&["apply", "--persist", path]);
    let text = world.ok(&format!("cat {FILE}"));
    assert!(text.starts_with("# lab kept "), "{text}");
    assert_eq!(
        text.split_once('\n').expect("lines").1,
        "# before the lab: 0\nnet.ipv4.ip_forward = 1\n# before the lab: 0\nnet.ipv6.conf.all.forwarding = 1\n"
    );
    // From then on it is a part of the lab.
    ok(&["plan", path]);
    world.ok(&format!("rm {FILE}"));
    assert_eq!(world.lab(&["status", path]).code, 4);
    ok(&["apply", path]);
    assert_eq!(world.ok(&format!("cat {FILE}")), text);
    world.write(&file, &LAB.replace("true", "\"v4\""));
    ok(&["apply", path]);
    assert!(
        !world.ok(&format!("cat {FILE}")).contains("ipv6"),
        "as the lab needs it"
    );
    world.write(&file, &LAB.replace("nat = true\n", ""));
    ok(&["apply", path]);
    world.ok(&format!("test ! -e {FILE}"));
    world.write(&file, LAB);
    ok(&["apply", path]);
    assert_eq!(world.ok(&format!("cat {FILE}")), text);
    ok(&["down", path]);
    assert_same(&world.snapshot(), &before, "down leaves nothing");

    // After a boot, by name alone, by the file, and behind an `apply`.
    for verbs in [
        &["down kept"][..],
        &["down /run/work/kept.toml"],
        &["apply /run/work/kept.toml", "down kept"],
    ] {
        ok(&["apply", "--persist", path]);
        boot(&world);
        for verb in verbs {
            ok(&verb.split(' ').collect::<Vec<_>>());
        }
        world.ok("rmdir /etc/sysctl.d /etc/netns/a /etc/netns 2>/dev/null; true");
        assert_same(&world.snapshot(), &before, &format!("{verbs:?}"));
    }

    // What is not the lab's stays, and the lab of somebody who asks for nothing gets nothing.
    world.ok(&format!("mkdir /etc/sysctl.d; echo '# mine' >{FILE}"));
    let did = world.lab(&["apply", "--persist", path]);
    assert_eq!(
        (did.code, did.err.contains("is not the lab's")),
        (1, true),
        "{did:?}"
    );
    world.ok(&format!("rm -r {FILE}; rmdir /etc/sysctl.d"));
    world.write(&file, &LAB.replace("nat = true\n", ""));
    assert!(
        ok(&["apply", "--persist", path])
            .err
            .contains("there is nothing to keep")
    );
    ok(&["down", path]);
    assert_same(&world.snapshot(), &before, "nothing was kept");
}

#[test]
fn no_kill_leaves_the_file() {
    let world = World::new();
    let before = world.snapshot();
    let file = world.file("kept", LAB);
    let path = file.to_str().expect("a plain path");
    let killed = |arguments: &[&str], at: u32| {
        world
            .lab_with(arguments, &[("NAMEPLATE_LAB_KILL_AT", &at.to_string())])
            .code
            != 0
    };
    // The second `apply` adds the file alone.
    let mut kills = 0;
    for at in 1.. {
        assert_eq!(world.lab(&["apply", path]).code, 0);
        let was_killed = killed(&["apply", "--persist", path], at);
        assert_eq!(world.lab(&["down", "kept"]).code, 0);
        assert_same(
            &world.snapshot(),
            &before,
            &format!("apply was killed at {at}"),
        );
        if !was_killed {
            break;
        }
        kills = at;
    }
    assert!(kills > 5, "{kills}");
    for at in 1.. {
        assert_eq!(world.lab(&["apply", "--persist", path]).code, 0);
        let was_killed = killed(&["down", "kept"], at);
        world.lab(&["down", "kept"]);
        assert_same(
            &world.snapshot(),
            &before,
            &format!("down was killed at {at}"),
        );
        if !was_killed {
            break;
        }
        kills = at;
    }
    assert!(kills > 10, "{kills}");
}
