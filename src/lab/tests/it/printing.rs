//! What is printed to nobody, or onto a full disk, stops nothing half-way.

use crate::world::{World, assert_same};

/// A lab with a command.
const LAB: &str = "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = { nets = \"br0\", run = \"sleep 600\" }\nb = \"br0\"\n";

/// Before a command: descriptor 4 is a pipe that nobody reads.
const NOBODY: &str = "mkfifo /run/pipe && exec 3<>/run/pipe 4>/run/pipe 3<&- && rm /run/pipe &&";

#[test]
fn who_reads_may_leave_and_disks_may_be_full() {
    let world = World::new();
    world.file("quiet", LAB);
    let program = env!("CARGO_BIN_EXE_nameplate-lab");
    let before = world.snapshot();
    let full = "cannot write to standard output: No space left on device";
    for (start, to, fails) in [
        ("", ">/dev/full", true),
        (NOBODY, ">&4", false),
        (NOBODY, ">&4 2>&4", false),
        ("", ">/dev/full 2>/dev/full", true),
    ] {
        let run = |words: &str, code: i32| {
            let did = world.sh(&format!("{start} cd /run/work && {program} {words} {to}"));
            // Where everything was done, only what could not be said is an error.
            let code = if fails { code.max(1) } else { code };
            assert_eq!(did.code, code, "{words} {to}: {did:?}");
            let told = fails && !to.contains("2>");
            assert_eq!(did.err.contains(full), told, "{words} {to}: {did:?}");
        };
        run("check", 0);
        run("plan", 2);
        run("apply -v", 0);
        assert_eq!(world.lab(&["plan", "/run/work/quiet.toml"]).code, 0, "{to}");
        run("apply", 0);
        run("up -v", 0);
        run("stop a", 0);
        run("start a", 0);
        for words in ["status", "ls", "ls --json", "show", "graph", "schema"] {
            run(words, 0);
        }
        run("exec --all -- sh -c 'echo out; echo err >&2'", 0);
        assert!(world.pings("a", "10.1.0.1"));
        run("down", 0);
        assert_same(&world.snapshot(), &before, "down was finished");
        run("gc", 0);
    }
}

#[test]
fn a_run_that_nobody_reads_ends_as_it_should() {
    let world = World::new();
    world.file("loud", &LAB.replace("sleep 600", "seq 100000"));
    let program = env!("CARGO_BIN_EXE_nameplate-lab");
    let before = world.snapshot();
    for to in [">&4", ">&4 2>&4", ">/dev/full 2>&4"] {
        let did = world.sh(&format!(
            "{NOBODY} cd /run/work && {program} run {to} -- sh -c 'ip netns exec a true && exit 7'"
        ));
        assert_eq!(did.code, 7, "{to}: {did:?}");
        assert_same(&world.snapshot(), &before, "nothing is left");
    }
}
