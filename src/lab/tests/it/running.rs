//! `run`: nothing is left, whatever ends it, and what was there before stays.

use crate::world::{World, assert_same, lab_file};

const LAB: &str = env!("CARGO_BIN_EXE_nameplate-lab");

/// A lab whose command leaves a child and a grandchild, in a session of its own.
fn restless(world: &World) -> String {
    let file = world.file(
        "demo",
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = { nets = \"br0\", run = [\"sh\", \"-c\", \"sleep 3001 & setsid sh -c 'sleep 3002 & sleep 3003' & sleep 3004\"] }\n",
    );
    file.to_str().expect("plain").to_owned()
}

/// Waits until a shell's condition holds.
fn wait(world: &World, condition: &str) {
    let did = world.sh(&format!(
        "for i in $(seq 1000); do {condition} && exit 0; sleep 0.02; done; ps -ef | grep -v 'grep\\|ps -ef' | tail -n 30; ls /run/netns /run/nameplate/lab; exit 1"
    ));
    assert_eq!(did.code, 0, "{condition}: {did:?}");
}

/// How many processes of a lab's commands live in the world that has this file.
pub(crate) fn left(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let is = |process: &std::fs::DirEntry| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.starts_with(b"sleep\x00300")
            && process
                .path()
                .join(format!("root/run/work/{mark}"))
                .exists()
    };
    processes.filter(is).count()
}

/// Waits until so many live.
fn until_left(mark: &str, count: usize, when: &str) {
    let begun = std::time::Instant::now();
    while left(mark) != count {
        let patience = std::time::Duration::from_secs(60);
        assert!(
            begun.elapsed() < patience,
            "{when}: {} are left, not {count}",
            left(mark)
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn whatever_ends_it_nothing_is_left() {
    let world = World::new();
    let file = restless(&world);
    let before = world.snapshot();
    let mark = format!("mark{}", std::process::id());
    world.ok(&format!("touch /run/work/{mark}"));
    for signal in ["INT", "TERM", "HUP", "QUIT", "KILL"] {
        for who in ["the guard", "its supervisor"] {
            world.background(&format!("{LAB} run {file} >/run/work/said 2>&1 & echo $! > /run/work/pid; echo started; wait"));
            until_left(&mark, 4, signal);
            let pid = match who {
                "the guard" => "$(cat /run/work/pid)",
                _ => "$(cat /proc/$(cat /run/work/pid)/task/*/children)",
            };
            world.ok(&format!("kill -{signal} {pid}"));
            wait(&world, "[ ! -e /run/nameplate/lab/demo ]");
            until_left(&mark, 0, signal);
            wait(&world, "[ -z \"$(ss -Hlnu)\" ]");
            assert_same(&world.snapshot(), &before, &format!("SIG{signal} of {who}"));
        }
    }
}

#[test]
fn what_a_killed_run_leaves_is_collected() {
    let world = World::new();
    let file = world.file(
        "demo",
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = \"br0\"\n",
    );
    let file = file.to_str().expect("plain");
    let before = world.snapshot();
    world.background(&format!(
        "{LAB} run {file} >/run/work/said 2>&1 & echo $! > /run/work/pid; echo started; wait"
    ));
    wait(&world, "grep -q 'is up' /run/work/said");
    assert!(
        world.lab(&["gc"]).out.contains("nothing is left"),
        "it still runs"
    );
    let both = "$(cat /run/work/pid) $(cat /proc/$(cat /run/work/pid)/task/*/children)";
    world.ok(&format!("kill -STOP {both}; kill -KILL {both}"));
    wait(&world, "[ ! -d /proc/$(cat /run/work/pid) ]");
    let did = world.lab(&["gc"]);
    assert!(
        did.code == 0 && did.out.contains("lab demo removed"),
        "{did:?}"
    );
    // The server ends with the one that started it.
    wait(&world, "[ -z \"$(ss -Hlnu)\" ]");
    assert_same(&world.snapshot(), &before, "nothing is left");
}

#[test]
fn a_command_beside_it_leaves_nothing_either() {
    let world = World::new();
    let file = restless(&world);
    let before = world.snapshot();
    let mark = format!("beside{}", std::process::id());
    world.ok(&format!("touch /run/work/{mark}"));
    let did = world.lab(&["run", &file, "--", "sh", "-c", "setsid sleep 3001 & exit 7"]);
    assert_eq!(did.code, 7, "{did:?}");
    assert_eq!(left(&mark), 0);
    assert_same(&world.snapshot(), &before, "after a command");
    // A signal reaches the command, which may end in its own way.
    world.background(&format!(
        "{LAB} run {file} -- sh -c 'trap \"exit 9\" TERM; echo up > /run/work/up; while :; do sleep 0.1; done' & echo $! > /run/work/pid; echo started; wait $!; echo $? > /run/work/code"
    ));
    wait(&world, "[ -e /run/work/up ]");
    world.ok("kill -TERM $(cat /run/work/pid)");
    wait(&world, "[ -e /run/work/code ]");
    assert_eq!(world.ok("cat /run/work/code"), "9\n");
    assert_eq!(left(&mark), 0);
    assert_same(&world.snapshot(), &before, "after a signal");
}

#[test]
fn a_lab_that_is_up_stays_up() {
    let world = World::new();
    world.apply("containers");
    let fresh = world.state();
    let file = lab_file("containers");
    let file = file.to_str().expect("plain");
    let did = world.lab(&["run", file, "--", "ping", "-c1", "-W1", "10.201.0.4"]);
    assert_eq!(did.code, 0, "{did:?}");
    assert_same(&world.state(), &fresh, "run leaves what it found");
    assert_eq!(world.lab(&["status", file]).code, 0);
    assert_eq!(world.lab(&["down", file]).code, 0);
    assert_eq!(world.ok("ls -A /run/nameplate/lab"), ".lock\n");
}

#[test]
fn the_last_of_two_runs_takes_the_lab_down() {
    let world = World::new();
    let before = world.snapshot();
    let file = lab_file("containers");
    let file = file.to_str().expect("plain");
    for first in ["1", "2"] {
        let second = if first == "1" { "2" } else { "1" };
        world.ok("rm -f /run/work/end*");
        for run in ["1", "2"] {
            world.background(&format!(
                "echo started; exec {LAB} run {file} -- sh -c 'echo > /run/work/up{run}; until [ -e /run/work/end{run} ]; do sleep 0.02; done; rm /run/work/up{run}; echo > /run/work/gone{run}'"
            ));
            wait(&world, &format!("[ -e /run/work/up{run} ]"));
        }
        world.ok(&format!("echo > /run/work/end{first}"));
        wait(&world, &format!("[ -e /run/work/gone{first} ]"));
        world.ok("sleep 0.3");
        assert!(
            world.pings("container4", "10.201.0.5"),
            "the other run goes on"
        );
        // Names too, also where the first one had the server.
        wait(
            &world,
            "ip netns exec container4 ping -c1 -W1 container5 >/dev/null 2>&1",
        );
        world.ok(&format!("echo > /run/work/end{second}"));
        wait(&world, "[ ! -e /run/nameplate/lab/containers ]");
        world.ok("rm -f /run/work/gone*");
        assert_same(&world.snapshot(), &before, "both are gone");
    }
    // Who applies it while it runs keeps it.
    world.background(&format!(
        "echo started; exec {LAB} run {file} -- sh -c 'echo > /run/work/up1; until [ -e /run/work/end3 ]; do sleep 0.02; done; echo > /run/work/gone1'"
    ));
    wait(&world, "[ -e /run/work/up1 ]");
    assert_eq!(world.lab(&["apply", file]).code, 0);
    world.ok("echo > /run/work/end3");
    wait(&world, "[ -e /run/work/gone1 ]");
    world.ok("sleep 0.3");
    assert_eq!(world.lab(&["status", file]).code, 0);
    assert_eq!(world.lab(&["down", file]).code, 0);
}
