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
    let file = file.to_str().expect("a plain path");
    let world = World::new();
    let before = world.snapshot();
    let applies = calls(&world, &["apply", file]);
    let fresh = world.state();
    let downs = calls(&world, &["down", "everything"]);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
    assert!(applies > 60 && downs > 15, "{applies} {downs}");
    for at in 1..=applies {
        let killed = world.lab_with(
            &["apply", file],
            &[("NAMEPLATE_LAB_KILL_AT", &at.to_string())],
        );
        assert_ne!(
            killed.code, 0,
            "apply was to be killed at {at} of {applies}"
        );
        if at % 2 == 0 {
            // What was begun can be removed at once, …
            world.lab(&["down", "everything"]);
            assert_same(
                &world.snapshot(),
                &before,
                &format!("down after apply was killed at {at}"),
            );
            continue;
        }
        // … or finished.
        let again = world.lab(&["apply", file]);
        assert_eq!(again.code, 0, "apply after a kill at {at}: {again:?}");
        assert_same(
            &world.state(),
            &fresh,
            &format!("apply after a kill at {at}"),
        );
        assert_eq!(world.lab(&["down", "everything"]).code, 0);
        assert_same(
            &world.snapshot(),
            &before,
            &format!("down after a kill at {at} and an apply"),
        );
    }
    for at in 1..=downs {
        assert_eq!(world.lab(&["apply", file]).code, 0);
        let killed = world.lab_with(
            &["down", "everything"],
            &[("NAMEPLATE_LAB_KILL_AT", &at.to_string())],
        );
        assert_ne!(killed.code, 0, "down was to be killed at {at} of {downs}");
        if at % 3 == 0 {
            let again = world.lab(&["apply", file]);
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
        world.lab(&["down", "everything"]);
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
