//! `kill -9` before every system call that changes something, of `apply` and of `down`.

use crate::world::{World, assert_same, lab_file};

/// How many such calls a verb makes.
fn calls(world: &World, arguments: &[&str]) -> u32 {
    let did = world.lab_with(arguments, &[("NAMEPLATE_LAB_COUNT", "/run/work/count")]);
    assert_eq!(did.code, 0, "{did:?}");
    world
        .ok("cat /run/work/count")
        .trim()
        .parse()
        .expect("a number")
}

#[test]
fn apply_and_down_go_on_after_any_kill() {
    let file = lab_file("everything");
    let world = World::new();
    after_any_kill(
        &world,
        "everything",
        &["apply", file.to_str().expect("a plain path")],
    );
}

/// What `everything` has not: namespaces on an interface of the host, the server at 127.0.0.11, and a command.
const MORE: &str = r#"
[lab]
name = "more"
dns = "inside"
[net.br0]
subnet = "10.1.0.0/24"
nat = true
[net.wire]
kind = "macvlan"
parent = "up0"
subnet = "10.3.0.0/24"
[ns]
web = { nets = "br0 10.1.0.5", run = "sleep 3001" }
own = "wire 10.3.0.5"
"#;

/// A world for that lab, and its file. The interface of the host is down.
fn more() -> (World, String) {
    let world = World::new();
    // One that was up once has another discipline than one that never was.
    world.ok("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up0 down");
    let file = world.file("more", MORE);
    (world, file.to_str().expect("a plain path").to_owned())
}

#[test]
fn what_stands_on_the_host_goes_on_after_any_kill() {
    let (world, file) = more();
    after_any_kill(&world, "more", &["apply", "--persist", &file]);
}

#[test]
fn up_and_run_leave_nothing_after_any_kill() {
    let (world, file) = more();
    let before = world.snapshot();
    for verb in [&["up", &file][..], &["run", &file, "--", "true"]] {
        // The two processes that either starts count on from where they began.
        for at in (1..).step_by(4) {
            let did = world.lab_with(verb, &[("NAMEPLATE_LAB_KILL_AT", &at.to_string())]);
            if verb[0] == "run" {
                world.wait_until_quiet();
                world.lab(&["gc"]);
            }
            world.lab(&["down", "more"]);
            world.wait_until_quiet();
            assert_same(
                &world.snapshot(),
                &before,
                &format!("{} killed at {at}", verb[0]),
            );
            if did.code == 0 {
                assert!(at > 20, "{at}");
                break;
            }
        }
    }
}

/// Kills what applies a lab, and `down`, before each of their calls; what is left can be finished, or removed.
fn after_any_kill(world: &World, lab: &str, apply: &[&str]) {
    let before = world.snapshot();
    let applies = calls(world, apply);
    let fresh = world.state();
    let downs = calls(world, &["down", lab]);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
    assert!(applies > 30 && downs > 15, "{applies} {downs}");
    for at in 1..=applies {
        let killed = world.lab_with(apply, &[("NAMEPLATE_LAB_KILL_AT", &at.to_string())]);
        assert_ne!(
            killed.code, 0,
            "apply was to be killed at {at} of {applies}"
        );
        if at % 2 == 0 {
            // What was begun can be removed at once, …
            world.lab(&["down", lab]);
            assert_same(
                &world.snapshot(),
                &before,
                &format!("down after apply was killed at {at}"),
            );
            continue;
        }
        // … or finished.
        let again = world.lab(apply);
        assert_eq!(again.code, 0, "apply after a kill at {at}: {again:?}");
        assert_same(
            &world.state(),
            &fresh,
            &format!("apply after a kill at {at}"),
        );
        assert_eq!(world.lab(&["down", lab]).code, 0);
        assert_same(
            &world.snapshot(),
            &before,
            &format!("down after a kill at {at} and an apply"),
        );
    }
    for at in 1..=downs {
        assert_eq!(world.lab(apply).code, 0);
        let killed = world.lab_with(
            &["down", lab],
            &[("NAMEPLATE_LAB_KILL_AT", &at.to_string())],
        );
        assert_ne!(killed.code, 0, "down was to be killed at {at} of {downs}");
        if at % 3 == 0 {
            let again = world.lab(apply);
            assert_eq!(
                again.code, 0,
                "apply after down was killed at {at}: {again:?}"
            );
            assert_same(
                &world.state(),
                &fresh,
                &format!("apply after down was killed at {at}"),
            );
        }
        world.lab(&["down", lab]);
        assert_same(
            &world.snapshot(),
            &before,
            &format!("down after down was killed at {at}"),
        );
    }
}

#[test]
fn a_small_change_goes_on_after_any_kill() {
    let text = std::fs::read_to_string(lab_file("everything")).expect("a lab");
    let moved = text.replace("10.1.0.5", "10.1.0.6");
    assert_ne!(text, moved);
    change(&format!("[lab]\nname = \"everything\"\n{moved}"), 5);
}

#[test]
fn a_change_goes_on_after_any_kill() {
    let other = "[lab]\nname = \"everything\"\n[net.br0]\nsubnet = \"10.1.0.0/24\"\nhost = \"10.1.0.200\"\n\
        [ns]\nweb = \"br0 10.1.0.6\"\nextra = \"br0\"\n";
    change(other, 20);
}

/// Makes another lab of `everything`, and kills it before each of the calls, of which there are at least some.
fn change(other: &str, least: u32) {
    let world = World::new();
    let before = world.snapshot();
    let first = lab_file("everything");
    let first = first.to_str().expect("a plain path");
    let file = world.file("other", other);
    let second = file.to_str().expect("a plain path");
    assert_eq!(world.lab(&["apply", second]).code, 0);
    // One file makes the lab, and is changed.
    let take = "--take-over";
    let fresh = world.state();
    assert_eq!(world.lab(&["down", "everything"]).code, 0);
    assert_eq!(world.lab(&["apply", first]).code, 0);
    let changes = calls(&world, &["apply", take, second]);
    assert_same(&world.state(), &fresh, "changed");
    assert!(changes >= least, "{changes}");
    for at in 1..=changes {
        assert_eq!(world.lab(&["apply", take, first]).code, 0);
        let killed = world.lab_with(
            &["apply", take, second],
            &[("NAMEPLATE_LAB_KILL_AT", &at.to_string())],
        );
        assert_ne!(
            killed.code, 0,
            "apply was to be killed at {at} of {changes}"
        );
        if at % 4 == 0 {
            assert_eq!(world.lab(&["down", "everything"]).code, 0);
            assert_same(
                &world.snapshot(),
                &before,
                &format!("down after a change was killed at {at}"),
            );
            continue;
        }
        let again = world.lab(&["apply", take, second]);
        assert_eq!(again.code, 0, "apply after a kill at {at}: {again:?}");
        assert_same(
            &world.state(),
            &fresh,
            &format!("a change that was killed at {at}"),
        );
    }
}
