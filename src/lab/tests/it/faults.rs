//! Full disks, at every step: what is said, and that the next `apply` repairs.

use crate::world::{World, assert_same, lab_file};

/// Fills a file system to the last octet.
const FILL: &str = "dd if=/dev/zero of=$1/.fill bs=512 2>/dev/null; for n in $(seq 99); do echo > $1/.fill$n || break; done 2>/dev/null; true";

/// A lab whose journal is larger than a page.
fn many(name: &str) -> String {
    format!(
        "[lab]\nname = \"{name}\"\n[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\n\"h[01-60]\" = \"br0\"\n"
    )
}

/// The state directory on a file system of some pages.
fn small_state(world: &World, pages: usize) {
    world.ok(&format!(
        "mkdir -p /run/nameplate/lab; mount -t tmpfs -o size={}k tmpfs /run/nameplate/lab",
        4 * pages
    ));
}

#[test]
fn nothing_is_made_that_the_journal_cannot_name() {
    let world = World::new();
    let before = world.snapshot();
    let file = world.file("many", &many("many"));
    let file = file.to_str().expect("plain");
    small_state(&world, 1);
    let did = world.lab(&["apply", file]);
    assert_eq!(did.code, 1, "{did:?}");
    assert!(
        did.err
            .contains("cannot write /run/nameplate/lab/many/journal.json: No space left on device"),
        "{did:?}"
    );
    assert_eq!(
        world.ok("ip netns; ip -o link | grep -v ' lo:'; ls /etc/netns 2>/dev/null; true"),
        ""
    );
    world.ok("umount /run/nameplate/lab");
    world.apply_file(file.as_ref());
    assert!(world.pings("h60", "10.1.0.1"));
    assert_eq!(world.lab(&["down", "many"]).code, 0);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn a_disk_that_is_full_when_a_lab_changes() {
    let world = World::new();
    let before = world.snapshot();
    let file = world.file("many", &many("many"));
    let other = world.file("other", &many("many").replace("01-60", "01-61"));
    let (file, other) = (
        file.to_str().expect("plain"),
        other.to_str().expect("plain"),
    );
    small_state(&world, 16);
    world.apply_file(file.as_ref());
    let fresh = world.state();
    world.ok(&format!("set -- /run/nameplate/lab; {FILL}"));
    // As declared: nothing has to be written.
    let did = world.lab(&["apply", file]);
    assert_eq!(did.code, 0, "{did:?}");
    let did = world.lab(&["apply", "--take-over", other]);
    assert_eq!(did.code, 1, "{did:?}");
    assert!(did.err.contains("No space left on device"), "{did:?}");
    assert_same(
        &world.state(),
        &fresh,
        "what the journal cannot name is not made",
    );
    world.ok("rm /run/nameplate/lab/.fill*");
    world.apply_file(other.as_ref());
    assert!(world.pings("h61", "10.1.0.1"));
    // What is to go needs no room.
    world.ok(&format!("set -- /run/nameplate/lab; {FILL}"));
    let did = world.lab(&["down", "many"]);
    assert_eq!(did.code, 0, "{did:?}");
    world.ok("umount /run/nameplate/lab");
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn no_room_for_the_files_of_some_namespaces() {
    let world = World::new();
    let before = world.snapshot();
    let file = world.file("many", &many("many"));
    let file = file.to_str().expect("plain");
    world.ok("mkdir /etc/netns; mount -t tmpfs -o size=64k tmpfs /etc/netns");
    let did = world.lab(&["apply", file]);
    assert_eq!(did.code, 3, "{did:?}");
    assert!(
        did.err.contains("cannot make file /etc/netns/h")
            && did.err.contains("No space left on device"),
        "{did:?}"
    );
    assert!(did.err.contains("the next `apply` continues"), "{did:?}");
    let half = world.ok("find /etc/netns -type f -size 0; ls -A /etc/netns | grep '^\\.' || true");
    assert_eq!(half, "", "no half-written file is left");
    world.ok("mount -o remount,size=4m /etc/netns");
    world.apply_file(file.as_ref());
    assert!(world.pings("h60", "10.1.0.1"));
    assert_eq!(world.ok("ls /etc/netns/*/resolv.conf | grep -c ."), "60\n");
    assert_eq!(world.lab(&["down", "many"]).code, 0);
    world.ok("umount /etc/netns; rmdir /etc/netns");
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn a_host_without_a_resolver_of_its_own() {
    for missing in [
        "rm /etc/resolv.conf",
        "rm /etc/resolv.conf; ln -s /run/nowhere/stub-resolv.conf /etc/resolv.conf",
    ] {
        let world = World::new();
        world.ok(missing);
        let before = world.snapshot();
        let file = lab_file("everything");
        let did = world.lab(&["apply", file.to_str().expect("plain")]);
        assert_eq!(did.code, 0, "{missing}: {did:?}");
        assert!(
            did.err
                .contains("/etc/resolv.conf is missing or a dangling link"),
            "{missing}: {did:?}"
        );
        let read = ["exec", "web", "--", "cat", "/etc/resolv.conf"];
        let wanted = world.ok("cat /etc/netns/web/resolv.conf");
        assert_eq!(world.lab(&read).out, wanted, "{missing}");
        world.ok("rm -f /etc/resolv.conf; echo nameserver 192.0.2.53 > /etc/resolv.conf");
        let did = world.lab(&["apply", file.to_str().expect("plain")]);
        assert!(
            did.code == 0 && !did.err.contains("/etc/resolv.conf"),
            "{did:?}"
        );
        world.ok(missing);
        assert_eq!(world.lab(&["down", "everything"]).code, 0);
        assert_same(&world.snapshot(), &before, missing);
    }
}

#[test]
fn files_that_may_not_be_written_any_more() {
    let world = World::new();
    let before = world.snapshot();
    let file = lab_file("everything");
    let file = file.to_str().expect("plain");
    world.ok("mkdir /etc/netns; mount -t tmpfs tmpfs /etc/netns");
    world.apply("everything");
    let fresh = world.state();
    world.ok("rm /etc/netns/web/resolv.conf; mount -o remount,ro /etc/netns; ip netns del far");
    let did = world.lab(&["apply", file]);
    assert_eq!(did.code, 3, "{did:?}");
    assert!(
        did.err
            .contains("cannot make file /etc/netns/web/resolv.conf: Read-only file system"),
        "{did:?}"
    );
    assert!(
        world.pings("far", "10.2.0.1"),
        "what does not depend on it is done"
    );
    let down = world.lab(&["down", "everything"]);
    assert_eq!(down.code, 3, "{down:?}");
    assert!(
        down.err.contains("cannot remove file /etc/netns/"),
        "{down:?}"
    );
    world.ok("mount -o remount,rw /etc/netns");
    world.apply("everything");
    assert_same(&world.state(), &fresh, "the next apply repairs");
    assert_eq!(world.lab(&["down", "everything"]).code, 0);
    world.ok("umount /etc/netns; rmdir /etc/netns");
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn two_labs_at_once_with_the_same_names() {
    let lab = env!("CARGO_BIN_EXE_nameplate-lab");
    for _ in 0..5 {
        let world = World::new();
        let before = world.snapshot();
        for (name, net) in [("one", 1), ("two", 2)] {
            let text = many(name).replace("10.1.", &format!("10.{net}."));
            world.file(name, &text.replace("br0", &format!("b{net}")));
        }
        world.ok(&format!(
            "for n in one two; do ({lab} apply /run/work/$n.toml > /run/work/$n.said 2>&1; echo $? > /run/work/$n.code) & done; wait"
        ));
        let code = |name: &str| world.ok(&format!("cat /run/work/{name}.code"));
        let (winner, loser) = if code("one") == "0\n" {
            ("one", "two")
        } else {
            ("two", "one")
        };
        assert_eq!(
            (code(winner), code(loser)),
            ("0\n".to_owned(), "1\n".to_owned())
        );
        let said = world.ok(&format!("cat /run/work/{loser}.said"));
        assert!(
            said.contains("namespace h01 exists and is not the lab's")
                && said.contains("nothing was done"),
            "{said}"
        );
        let plan = world.lab(&["plan", &format!("/run/work/{winner}.toml")]);
        assert_eq!(plan.code, 0, "{plan:?}");
        assert_eq!(world.lab(&["down", winner]).code, 0);
        world.apply_file(format!("/run/work/{loser}.toml").as_ref());
        assert_eq!(world.lab(&["down", "--all"]).code, 0);
        assert_same(&world.snapshot(), &before, "down leaves nothing");
    }
}
