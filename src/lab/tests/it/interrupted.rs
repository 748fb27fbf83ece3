//! Verbs that are interrupted midway, that meet another one, or whose file goes.

use crate::world::{World, assert_same, lab_file};

const LAB: &str = env!("CARGO_BIN_EXE_nameplate-lab");

/// Waits until a shell's condition holds.
fn wait(world: &World, condition: &str) {
    world.ok(&format!(
        "for i in $(seq 1000); do {condition} && exit 0; sleep 0.01; done; exit 1"
    ));
}

/// Signals, and what they are called.
const SIGNALS: [(&str, i32); 3] = [("SIGINT", 2), ("SIGTERM", 15), ("SIGHUP", 1)];

#[test]
fn a_signal_ends_apply_and_down_between_two_steps() {
    let world = World::new();
    let before = world.snapshot();
    let file = lab_file("everything");
    let file = file.to_str().expect("a plain path");
    world.apply("everything");
    let fresh = world.state();
    assert_eq!(world.lab(&["down", file]).code, 0);
    let mut stopped = 0;
    for at in (1..).step_by(7) {
        let (name, number) = SIGNALS[at % SIGNALS.len()];
        let variables = [
            ("NAMEPLATE_LAB_KILL_AT", at.to_string()),
            ("NAMEPLATE_LAB_SIGNAL", number.to_string()),
        ];
        let variables = variables
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let did = world.lab_with(&["apply", file], &variables);
        if did.code == 0 {
            break;
        }
        // What comes when nothing is begun, or all is done, ends it at once.
        if did.code == 128 + number {
            stopped += 1;
            for part in [
                &format!("stopped by {name}"),
                "the next `apply` continues, `down` removes it",
            ] {
                assert!(did.err.contains(part), "{part}: {did:?}");
            }
        }
        if at % 2 == 0 {
            let again = world.lab(&["apply", file]);
            assert_eq!(again.code, 0, "{again:?}");
            assert_same(&world.state(), &fresh, &format!("{name} at {at}"));
        }
        let did = world.lab_with(&["down", "everything"], &variables);
        if did.code == 128 + number {
            assert!(did.err.contains(&format!("stopped by {name}")), "{did:?}");
        }
        world.lab(&["down", "everything"]);
        assert_same(&world.snapshot(), &before, &format!("{name} at {at}"));
    }
    assert!(stopped > 3, "{stopped}");
    // One that is ignored stays so.
    let did = world.sh(&format!(
        "trap '' HUP; NAMEPLATE_LAB_SIGNAL=1 NAMEPLATE_LAB_KILL_AT=9 {LAB} apply {file}"
    ));
    assert_eq!(did.code, 0, "{did:?}");
    assert_eq!(world.lab(&["down", file]).code, 0);
}

#[test]
fn who_waits_says_for_whom() {
    let world = World::new();
    let file = lab_file("pair");
    let file = file.to_str().expect("a plain path");
    world.ok("mkdir -p /run/nameplate/lab");
    world.background(&format!(
        "flock /run/nameplate/lab/.lock sh -c 'echo started; until grep -qs waiting /run/work/said; do sleep 0.01; done'; {LAB} ls"
    ));
    let did = world.sh(&format!(
        "{LAB} apply {file} 2> /run/work/said; code=$?; cat /run/work/said >&2; exit $code"
    ));
    assert_eq!(did.code, 0, "{did:?}");
    assert!(
        did.err.contains("waiting for process ") && did.err.contains("), which changes a lab"),
        "{did:?}"
    );
    assert!(
        did.err.contains("flock /run/nameplate/lab/.lock"),
        "{did:?}"
    );
    assert_eq!(world.lab(&["down", file]).code, 0);
}

#[test]
fn who_does_not_wait_for_the_commands_leaves_them() {
    let world = World::new();
    let before = world.snapshot();
    let file = world.file(
        "demo",
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = { nets = \"br0\", run = { command = \"sleep 3001\", ready = 80 } }\n",
    );
    let file = file.display();
    for signal in ["INT", "TERM"] {
        world.background(&format!(
            "{LAB} up {file} > /run/work/said 2>&1 & echo $! > /run/work/pid; echo started; wait $!; echo $? > /run/work/code"
        ));
        wait(&world, "[ -n \"$(ip netns pids a 2>/dev/null)\" ]");
        // In the background of a shell SIGINT is ignored.
        let number = if signal == "INT" { "TERM" } else { signal };
        world.ok(&format!("kill -{number} $(cat /run/work/pid)"));
        wait(&world, "[ -e /run/work/code ]");
        let said = world.ok("cat /run/work/said");
        assert!(
            said.contains("lab demo stays up, and its commands go on"),
            "{said}"
        );
        assert_ne!(world.ok("ip netns pids a"), "");
        assert_eq!(world.lab(&["down", "demo"]).code, 0);
        assert_same(&world.snapshot(), &before, "down leaves nothing");
        world.ok("rm /run/work/code");
    }
}

#[test]
fn a_file_that_is_gone_is_told_with_the_ways_out() {
    let world = World::new();
    let before = world.snapshot();
    let file = world.file(
        "demo",
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = { nets = \"br0\", run = \"sleep 3001\" }\n",
    );
    let file = file.to_str().expect("a plain path");
    assert_eq!(world.lab(&["up", file]).code, 0);
    world.ok(&format!("mv {file} /run/work/kept"));
    for meant in ["demo", file] {
        for verb in ["plan", "apply", "up", "check", "graph", "watch", "run"] {
            let did = world.lab(&[verb, meant]);
            assert_eq!(did.code, 1, "{verb} {meant}: {did:?}");
            let told = format!("lab demo was applied from {file}, which is gone");
            for part in [told.as_str(), "`nameplate-lab down demo`"] {
                assert!(did.err.contains(part), "{verb} {meant}: {did:?}");
            }
        }
        let did = world.lab(&["status", meant]);
        assert!(did.code == 4 && did.out.contains("is gone"), "{did:?}");
    }
    // Its commands go on as they were declared.
    assert_eq!(world.lab(&["restart", "a"]).code, 0);
    world.ok(&format!("mv /run/work/kept {file}"));
    assert_eq!(world.lab(&["status", file]).code, 0);
    world.ok(&format!("rm {file}"));
    assert_eq!(world.lab(&["down", file]).code, 0);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}
