//! `up` and the commands of namespaces: kept without a terminal, started in order, asked for, and gone with the lab.

use crate::mistakes::report;
use crate::resolving::nameplate;
use crate::running::left;
use crate::world::{World, assert_same};

const LAB: &str = env!("CARGO_BIN_EXE_nameplate-lab");

/// Waits until a shell's condition holds.
fn wait(world: &World, condition: &str) {
    let did = world.sh(&format!(
        "for i in $(seq 1000); do {condition} && exit 0; sleep 0.02; done; for s in $(ls /run/netns); do ps -o pid=,ppid=,stat=,args= -p $(ip netns pids $s | paste -sd, ); done; tail -n +1 /run/nameplate/lab/*/log/*; exit 1"
    ));
    assert_eq!(did.code, 0, "{condition}: {did:?}");
}

/// A file with one network and these namespaces.
fn file(world: &World, spaces: &str) -> String {
    let text = format!("[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\n{spaces}");
    let file = world.file("demo", &text);
    file.to_str().expect("plain").to_owned()
}

/// What `status` says of a namespace's command.
fn command(world: &World, file: &str, space: &str) -> serde_json::Value {
    let did = world.lab(&["status", file, "--json"]);
    let status: serde_json::Value = serde_json::from_str(&did.out).expect("JSON");
    let commands = status["commands"].as_array().expect("a list");
    let found = commands.iter().find(|one| one["space"] == space);
    found.expect("its command").clone()
}

#[test]
fn commands_are_kept_without_a_terminal() {
    let world = World::new();
    world.ok("mkdir -m 777 /run/work/dir");
    let before = world.snapshot();
    let user = match lab::sys::effective_user() {
        0 => ", user = \"65534:65534\"",
        _ => "",
    };
    let file = file(
        &world,
        &format!(
            "db = {{ nets = \"br0 10.1.0.5\", run = {{ command = [\"sh\", \"-c\", \"sleep 0.2; exec nc -lk 5432\"], ready = 5432 }} }}\n\
             web = {{ nets = \"br0\", run = {{ command = [\"sh\", \"-c\", \"nc -z 10.1.0.5 5432 && echo $FOO $(id -u) $(pwd); echo told >&2; exec sleep 100\"], env = {{ FOO = \"bar\" }}, dir = \"dir\"{user} }} }}\n"
        ),
    );
    let did = world.lab(&["up", &file]);
    assert_eq!(did.code, 0, "{did:?}");
    assert!(did.out.contains("lab demo: 2 commands run"), "{did:?}");
    assert_eq!(command(&world, &file, "db")["state"], "running");
    // Ready means that it listens; what comes after it in the file found it so, as the file says.
    let id = if user.is_empty() { 0 } else { 65_534 };
    wait(
        &world,
        &format!(
            "[ \"$({LAB} logs web | sort | tr '\\n' ' ')\" = 'bar {id} /run/work/dir told ' ]"
        ),
    );
    let all = world.lab(&["logs", "-n", "1"]).out;
    assert!(all.starts_with("web | "), "{all}");
    assert!(
        world
            .lab(&["status", &file])
            .out
            .contains("command sh running (")
    );
    // What ended is told, and started again when somebody says so.
    let before_it = command(&world, &file, "web")["pid"].clone();
    let did = world.lab(&["restart", "web"]);
    assert_eq!(did.code, 0, "{did:?}");
    assert_ne!(command(&world, &file, "web")["pid"], before_it);
    assert_eq!(world.lab(&["stop", "web"]).out, "web: sh stopped\n");
    assert_eq!(world.ok("ip netns pids web"), "");
    assert_eq!(command(&world, &file, "web")["state"], "stopped");
    assert_eq!(world.lab(&["start", "web"]).code, 0);
    let did = world.lab(&["stop", "wob"]);
    assert!(
        did.code == 1 && did.err.contains("wob has no command in lab demo"),
        "{did:?}"
    );
    // A changed file: only what changed is started again.
    let db = command(&world, &file, "db")["pid"].clone();
    world.ok(&format!("sed -i s/bar/baz/ {file}"));
    assert_eq!(world.lab(&["apply", &file]).code, 0);
    wait(&world, &format!("{LAB} logs web | grep -q '^baz '"));
    assert_eq!(command(&world, &file, "db")["pid"], db);
    // One whose namespace was made anew runs in the new one.
    world.ok("ip netns del web");
    assert_eq!(world.lab(&["apply", &file]).code, 0);
    wait(&world, "[ $(ip netns pids web | wc -l) = 1 ]");
    // One that failed is drift.
    world.ok(&format!("kill -9 {db}"));
    wait(
        &world,
        &format!("{LAB} status {file} | grep -q 'sh failed: signal: 9'"),
    );
    assert_eq!(world.lab(&["status", &file]).code, 4);
    assert_eq!(world.lab(&["down", &file]).code, 0);
    world.ok("ip netns list | wc -l | grep -qx 0");
    assert_same(&world.snapshot(), &before, "down leaves nothing");
    let did = world.lab(&["logs", "web"]);
    assert!(
        did.code == 1 && did.err.contains("has no output"),
        "{did:?}"
    );
    let did = world.lab(&["start"]);
    assert!(
        did.code == 1 && did.err.contains("`nameplate-lab up`"),
        "{did:?}"
    );
}

#[test]
fn what_ends_is_started_again_as_the_file_says() {
    let world = World::new();
    let file = file(
        &world,
        "never = { nets = \"br0\", run = { command = [\"false\"] } }\n\
         failing = { nets = \"br0\", run = { command = [\"sh\", \"-c\", \"echo x >> /run/work/failing; [ $(wc -l < /run/work/failing) = 3 ]\"], restart = \"on-failure\" } }\n\
         always = { nets = \"br0\", run = { command = [\"sh\", \"-c\", \"sleep 3001 & echo x >> /run/work/always\"], restart = \"always\" } }\n\
         cold = { nets = \"br0\", run = { command = [\"true\"], ready = 80 } }\n\
         wrong = { nets = \"br0\", run = { command = [\"/does/not/exist\"], restart = \"always\" } }\n\
         who = { nets = \"br0\", run = { command = [\"true\"], user = \"nobody-here\" } }\n",
    );
    let did = world.lab(&["up", &file]);
    assert_eq!(did.code, 3, "{did:?}");
    for part in [
        "never: false ended: exit status: 1",
        "cold: true ended before it was ready: exit status: 0",
        "wrong: cannot run /does/not/exist: No such file",
        "who: there is no user nobody-here",
    ] {
        assert!(did.err.contains(part), "{part}: {did:?}");
    }
    wait(&world, "[ $(wc -l < /run/work/always) -gt 3 ]");
    wait(&world, "[ $(wc -l < /run/work/failing) = 3 ]");
    wait(
        &world,
        &format!("{LAB} status {file} | grep -q 'sh ended: exit status: 0, restarted 2 times'"),
    );
    // What it left is ended before it is started again.
    let left = world.ok("ip netns pids always | wc -l");
    assert!(left.trim().parse::<u32>().expect("a number") <= 2, "{left}");
    // `run` does not begin without what cannot be started.
    assert_eq!(world.lab(&["down", &file]).code, 0);
    let did = world.lab(&["run", &file, "--", "touch", "/run/work/begun"]);
    assert!(
        did.code == 1 && did.err.contains("cannot run /does/not/exist"),
        "{did:?}"
    );
    assert_eq!(world.sh("test -e /run/work/begun").code, 1);
    assert_eq!(world.ok("ls -A /run/nameplate/lab"), ".lock\n");
}

/// The lab is there, and `status` does not take it for kept.
fn unkept(world: &World, file: &str, kill: &str) {
    let did = world.lab(&["status", file]);
    let says = "declared, but no process keeps it: `nameplate-lab up`";
    assert!(
        did.code == 4 && did.out.contains(says),
        "the lab stays: {kill}: {did:?}"
    );
    let did = world.lab(&["status", file, "--json"]);
    let status: serde_json::Value = serde_json::from_str(&did.out).expect("JSON");
    assert_eq!(
        (&status["unkept"], &status["as_declared"]),
        (&true.into(), &false.into())
    );
}

#[test]
fn nothing_runs_on_when_the_supervisor_is_killed() {
    let world = World::new();
    let before = world.snapshot();
    let file = file(
        &world,
        "a = { nets = \"br0\", run = [\"sh\", \"-c\", \"setsid sh -c 'sleep 3001 & sleep 3001' & exec sleep 3002\"] }\n",
    );
    let mark = format!("keeping{}", std::process::id());
    world.ok(&format!("touch /run/work/{mark}"));
    // Processes of other worlds are seen here as well.
    let find = "supervisor=$(for p in /proc/[0-9]*/fd/*; do [ $p -ef /run/nameplate/lab/demo/keeper ] && echo $p; done | cut -d/ -f3 | head -n1); guard=$(ps -o ppid= -p $supervisor)";
    for kill in [
        "kill -9 $guard",
        "kill -9 $supervisor",
        "kill -TERM $supervisor",
        "kill -HUP $guard",
        "kill -STOP $guard $supervisor; kill -9 $guard $supervisor",
    ] {
        assert_eq!(world.lab(&["up", &file]).code, 0);
        wait(&world, "[ $(ip netns pids a | wc -l) -ge 4 ]");
        world.ok(&format!("{find}; {kill}"));
        let is_kept = kill.contains("STOP");
        let count = if is_kept {
            // Those whose parent was the supervisor are gone all the same; the next verb finds the others.
            wait(
                &world,
                "! ip netns pids a | xargs -r ps -o args= -p | grep -q 3002",
            );
            unkept(&world, &file, kill);
            assert_eq!(world.lab(&["up", &file]).code, 0);
            "-le 5"
        } else {
            "= 0"
        };
        wait(&world, &format!("[ $(ip netns pids a | wc -l) {count} ]"));
        match is_kept {
            true => assert_eq!(world.lab(&["status", &file]).code, 0, "the lab stays"),
            false => unkept(&world, &file, kill),
        }
        assert_eq!(world.lab(&["down", &file]).code, 0);
        assert_eq!(left(&mark), 0, "{kill}");
        assert_same(&world.snapshot(), &before, kill);
    }
    // Nor what one that was killed with its guard left behind, when the lab goes at once.
    assert_eq!(world.lab(&["up", &file]).code, 0);
    wait(&world, "[ $(ip netns pids a | wc -l) -ge 4 ]");
    world.ok(&format!(
        "{find}; kill -STOP $guard $supervisor; kill -9 $guard $supervisor; {LAB} down {file}"
    ));
    assert_eq!(left(&mark), 0);
    assert_same(&world.snapshot(), &before, "down after a kill");
}

#[test]
fn a_command_that_became_somebody_else_is_ended_too() {
    if lab::sys::effective_user() != 0 {
        eprintln!("skipped: without root nobody becomes somebody else");
        return;
    }
    let world = World::new();
    let before = world.snapshot();
    let file = file(
        &world,
        "a = { nets = \"br0\", run = [\"setpriv\", \"--reuid=65534\", \"--regid=65534\", \"--clear-groups\", \"sh\", \"-c\", \"echo > /tmp/x; sleep 3003 & sleep 3004\"] }\n",
    );
    let did = world.lab(&[
        "run", &file, "--", "sh", "-c", "until [ $(ip netns pids a | wc -l) -ge 3 ]; do sleep 0.02; done; ip netns pids a > /run/work/pids",
    ]);
    assert_eq!(did.code, 0, "{did:?}");
    for pid in world.ok("cat /run/work/pids").lines() {
        // One that nobody has waited for is a name only.
        let lives = format!("test -d /proc/{pid} && ! grep -q '^State:.Z' /proc/{pid}/status");
        assert_eq!(world.sh(&lives).code, 1, "{pid} lives");
    }
    assert_same(&world.snapshot(), &before, "nothing is left");
}

#[test]
fn logs_of_what_there_is_not() {
    let world = World::new();
    let file = file(
        &world,
        "a = { nets = \"br0\", run = [\"sh\", \"-c\", \"echo told; exec sleep 100\"] }\nb = \"br0\"\n",
    );
    let refused = |words: &[&str], says: &str| {
        let did = world.lab(&[&["logs"], words].concat());
        assert!(
            did.code == 1 && did.err.contains(says),
            "{words:?}: {did:?}"
        );
    };
    refused(&["typo"], "no lab is applied");
    assert_eq!(world.lab(&["up", &file]).code, 0);
    refused(&["typo"], "lab demo has no namespace typo; there are: a, b");
    refused(&["b"], "b has no output");
    refused(&["--lab", "nosuch"], "there is no lab nosuch");
    refused(&["--lab", "nosuch", "a"], "there is no lab nosuch");
    refused(&["--lab", "../lab/demo", "a"], "there is no lab");
    assert_eq!(world.lab(&["down", &file]).code, 0);
}

#[test]
fn output_is_kept_and_bounded() {
    let world = World::new();
    let file = file(
        &world,
        "a = { nets = \"br0\", run = [\"sh\", \"-c\", \"seq 400000; until [ -e /run/work/go ]; do sleep 0.02; done; echo the end; exec sleep 100\"] }\n",
    );
    assert_eq!(world.lab(&["up", &file]).code, 0);
    world.background(&format!("{LAB} logs a -f -n 1 > /run/work/followed & echo $! > /run/work/pid; echo started; wait $!; echo $? > /run/work/code"));
    wait(&world, "grep -q 400000 /run/work/followed");
    world.ok("touch /run/work/go");
    wait(&world, "grep -q 'the end' /run/work/followed");
    let kept = world.ok("cat /run/nameplate/lab/demo/log/a.log* | wc -c");
    let kept: u32 = kept.trim().parse().expect("a number");
    assert!((1 << 20..=2 << 20).contains(&kept), "{kept}");
    // No line is cut, and the last ones are there.
    let text = world.ok(&format!("{LAB} logs a | tail -n 1000"));
    let numbers: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers, (399_002..=400_000).collect::<Vec<_>>());
    // Who follows ends with the lab.
    assert_eq!(world.lab(&["down", &file]).code, 0);
    wait(&world, "[ -e /run/work/code ]");
    assert_eq!(world.ok("cat /run/work/code"), "0\n");
}

#[test]
fn the_beginning_of_a_line_is_kept_as_well() {
    let world = World::new();
    let file = file(
        &world,
        "a = { nets = \"br0\", run = [\"sh\", \"-c\", \"printf wait; until [ -e /run/work/go ]; do sleep 0.02; done; printf ' for it\\\\nnext'; printf wrong >&2; exec sleep 100\"] }\nb = \"br0\"\n",
    );
    assert_eq!(world.lab(&["up", &file]).code, 0);
    wait(&world, &format!("[ \"$({LAB} logs a)\" = wait ]"));
    assert_eq!(world.lab(&["logs"]).out, "a | wait\n");
    world.background(&format!("echo started; {LAB} logs -f > /run/work/followed"));
    wait(&world, "grep -q wait /run/work/followed");
    world.ok("touch /run/work/go");
    let all = "wait for it\nnext\nwrong";
    wait(&world, &format!("[ \"$({LAB} logs a)\" = '{all}' ]"));
    wait(&world, "grep -q 'a | wrong' /run/work/followed");
    // What comes after it begins on a line of its own.
    assert_eq!(world.lab(&["restart", "a"]).code, 0);
    wait(&world, &format!("[ \"$({LAB} logs a)\" = '{all}\n{all}' ]"));
    assert_eq!(world.lab(&["down", &file]).code, 0);
}

#[test]
fn how_a_command_ended_last_is_told() {
    let world = World::new();
    let file = file(
        &world,
        "fails = { nets = \"br0\", run = { command = [\"sh\", \"-c\", \"exit 3\"], restart = \"always\" } }\n\
         dies = { nets = \"br0\", run = { command = [\"sh\", \"-c\", \"kill -9 $$\"], restart = \"on-failure\" } }\n\
         lives = { nets = \"br0\", run = { command = [\"sh\", \"-c\", \"[ -e /run/work/once ] && exec sleep 100; touch /run/work/once; exit 7\"], restart = \"always\" } }\n",
    );
    world.lab(&["up", &file]);
    for (space, told, key, value) in [
        ("fails", "ended last with exit status 3", "code", 3),
        ("dies", "ended last with signal 9", "signal", 9),
        (
            "lives",
            ", restarted once, ended last with exit status 7",
            "code",
            7,
        ),
    ] {
        wait(
            &world,
            &format!(
                "{LAB} status {file} | grep -A3 '^  {space}$' | grep -q 'restarted.*{told}\\|{told}.*restarted\\|{told}'"
            ),
        );
        let state = command(&world, &file, space);
        assert_eq!(state["last_exit"][key], value, "{state}");
        assert!(
            state["restarts"].as_u64().is_some_and(|times| times > 0) || space != "lives",
            "{state}"
        );
    }
    assert_eq!(world.lab(&["down", &file]).code, 0);
}

#[test]
fn two_who_run_a_lab_start_its_commands_once() {
    let world = World::new();
    let before = world.snapshot();
    let file = file(
        &world,
        "a = { nets = \"br0\", run = [\"sh\", \"-c\", \"echo x >> /run/work/starts; exec sleep 100\"] }\n",
    );
    for run in ["1", "2"] {
        world.background(&format!(
            "echo started; exec {LAB} run {file} -- sh -c 'echo > /run/work/up{run}; until [ -e /run/work/end{run} ]; do sleep 0.02; done'"
        ));
        wait(&world, &format!("[ -e /run/work/up{run} ]"));
    }
    assert_eq!(world.ok("cat /run/work/starts"), "x\n");
    // The other one goes on with them.
    world.ok("touch /run/work/end1");
    wait(&world, "[ $(wc -l < /run/work/starts) = 2 ]");
    wait(&world, "[ $(ip netns pids a | wc -l) = 1 ]");
    // `down` ends it, with the command beside the lab.
    assert_eq!(world.lab(&["down", &file]).code, 0);
    wait(&world, "[ ! -e /run/nameplate/lab/demo ]");
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn a_name_shows_that_a_command_is_ready() {
    let world = World::new();
    if nameplate().is_none() {
        return;
    }
    let before = world.snapshot();
    let file = file(
        &world,
        "db = { nets = \"br0 10.1.0.5\", run = { command = [\"sleep\", \"100\"], ready = \"db\" } }\n\
         udp = { nets = \"br0\", run = { command = [\"sh\", \"-c\", \"getent hosts db > /run/work/seen; exec nc -ulk 53\"], ready = \"53/udp\" } }\n",
    );
    let did = world.lab(&["up", "--serve", &file]);
    assert!(
        did.code == 0 && !did.err.contains("no DNS server"),
        "{did:?}"
    );
    assert_eq!(command(&world, &file, "db")["state"], "running");
    assert!(world.ok("cat /run/work/seen").contains("db.demo.test"));
    // The server ends with the lab.
    assert_eq!(world.lab(&["down", &file]).code, 0);
    wait(&world, "[ -z \"$(ss -Hlnu)\" ]");
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn a_command_that_fails_at_once_is_told() {
    let world = World::new();
    let path = file(
        &world,
        "a = { nets = \"br0\", run = \"false\" }\nb = { nets = \"br0\", run = [\"sh\", \"-c\", \"sleep 0.05; exit 4\"] }\nc = { nets = \"br0\", run = \"true\" }\n",
    );
    let did = world.lab(&["up", &path]);
    assert_eq!(did.code, 3, "{did:?}");
    for said in [
        "error: a: false ended: exit status: 1",
        "error: b: sh ended: exit status: 4",
    ] {
        assert!(did.err.contains(said), "{did:?}");
    }
    assert!(!did.err.contains("error: c"), "{did:?}");
    assert_eq!(world.lab(&["start", "a"]).code, 1);
    assert_eq!(world.lab(&["down", &path]).code, 0);
}

#[test]
fn every_lab_that_is_served_stays_so() {
    let world = World::new();
    if nameplate().is_none() {
        return;
    }
    let lab = |name: &str, at: u8| {
        let text = format!(
            "[net.br{at}]\nsubnet = \"10.{at}.0.0/24\"\n[ns]\n{name}1 = \"br{at}\"\n{name}2 = \"br{at}\"\n"
        );
        world.file(name, &text).to_str().expect("plain").to_owned()
    };
    let (one, two) = (lab("one", 1), lab("two", 2));
    let resolves = |name: &str| {
        format!("{LAB} exec {name}1 -- getent hosts {name}2 | grep -q {name}2.{name}.test")
    };
    // Each is served, whoever's server it is; the host's commands do as well.
    for file in [&one, &two] {
        let did = world.lab(&["up", "--serve", file]);
        assert!(did.code == 0 && did.err.is_empty(), "{did:?}");
    }
    world.ok(&resolves("one"));
    world.ok(&resolves("two"));
    world.ok(&format!(
        "cd /run/work && {LAB} run {two} -- {LAB} status {two}"
    ));
    assert_eq!(world.lab(&["down", &one]).code, 0);
    wait(&world, &resolves("two"));
    // One that was killed comes again, at the latest when it is asked for.
    let kill = "pid=$(ss -Hlnup | grep -o 'pid=[0-9]*' | head -n1 | cut -d= -f2); kill -9 $pid; while grep -qs . /proc/$pid/maps; do sleep 0.01; done";
    world.ok(kill);
    let did = world.lab(&["up", "--serve", &two]);
    assert!(did.code == 0 && did.err.is_empty(), "{did:?}");
    world.ok(&resolves("two"));
    world.ok(kill);
    wait(&world, &resolves("two"));
    // Nobody keeps it any more.
    world.ok("kill -9 $(fuser /run/nameplate/lab/two/keeper 2>/dev/null)");
    wait(&world, "[ -z \"$(ss -Hlnu)\" ]");
    let did = world.lab(&["status", &two]);
    let gone = "the DNS server of the lab no longer runs: `nameplate-lab up --serve`";
    assert!(did.code == 4 && did.out.contains(gone), "{did:?}");
    // Where it was gone it comes again.
    assert_eq!(world.lab(&["up", "--serve", &two]).code, 0);
    world.ok(&resolves("two"));
    assert_eq!(world.lab(&["status", &two]).code, 0);
    assert_eq!(world.lab(&["down", &two]).code, 0);
    // Nothing is left of the server either.
    let found = "find /run/nameplate -mindepth 1 | sort";
    assert_eq!(
        world.ok(found),
        "/run/nameplate/lab\n/run/nameplate/lab/.lock\n"
    );
    world.ok(&format!(
        "cd /run/work && {LAB} run {two} -- sh -c 'test -S /run/nameplate/admin/*.sock'"
    ));
    assert_eq!(
        world.ok(found),
        "/run/nameplate/lab\n/run/nameplate/lab/.lock\n"
    );
}

#[test]
fn what_the_file_has_no_more_is_ended_and_said() {
    let world = World::new();
    let spaces = |rest: &str| {
        format!(
            "a = {{ nets = \"br0 10.1.0.5\"{rest} }}\nb = {{ nets = \"br0 10.1.0.6\", run = \"sleep 600\" }}\n"
        )
    };
    let path = file(&world, &spaces(", run = \"sleep 500\""));
    let did = world.lab(&["up", "-v", &path]);
    assert_eq!(did.code, 0, "{did:?}");
    assert!(
        did.out
            .contains("+ sleep in a\n+ sleep in b\nlab demo: 2 commands started\n"),
        "{did:?}"
    );
    let id = command(&world, &path, "b")["pid"].clone();
    // The same file, with everything at another place.
    file(&world, &format!("\n\n{}", spaces(", run = \"sleep 500\"")));
    assert_eq!(world.lab(&["plan", &path]).code, 0);
    let did = world.lab(&["apply", &path]);
    assert!(did.out.starts_with("lab demo: nothing to do\n"), "{did:?}");
    file(&world, &spaces(", run = \"sleep 501\""));
    for (verb, code, said) in [
        (
            "plan",
            2,
            "~ sleep in a\nlab demo: 0 to make, 1 to change, 0 to remove\n",
        ),
        ("status", 4, "  ~ sleep in a\n"),
        (
            "apply",
            0,
            "lab demo: 1 command started again\nlab demo: 2 commands run\n",
        ),
        ("status", 0, "as declared"),
    ] {
        let did = world.lab(&[verb, &path]);
        assert!(
            did.code == code && did.out.contains(said),
            "{verb}: {did:?}"
        );
    }
    file(&world, &spaces(""));
    for (verb, code, said) in [
        (
            "plan",
            2,
            "- sleep in a\nlab demo: 0 to make, 0 to change, 1 to remove\n",
        ),
        ("status", 4, "  - sleep in a\n"),
        (
            "apply",
            0,
            "lab demo: 1 command ended\nlab demo: 1 command runs\n",
        ),
        ("plan", 0, "as declared"),
    ] {
        let did = world.lab(&[verb, &path]);
        assert!(
            did.code == code && did.out.contains(said),
            "{verb}: {did:?}"
        );
        assert!(!did.out.contains("nothing to do"), "{verb}: {did:?}");
    }
    assert_eq!(world.ok("ip netns pids a"), "", "it was ended");
    assert_eq!(
        command(&world, &path, "b")["pid"],
        id,
        "the other one runs on"
    );
    file(&world, "a = \"br0 10.1.0.5\"\nb = \"br0 10.1.0.6\"\n");
    let did = world.lab(&["apply", &path]);
    assert!(did.out.contains("lab demo: 1 command ended\n"), "{did:?}");
    assert_eq!(world.ok("ip netns pids b"), "");
    // A watched file's commands follow, too.
    world.background(&format!(
        "{LAB} watch {path} --interval 0.2 > /run/work/said 2>&1 & echo started; wait"
    ));
    file(&world, &spaces(""));
    wait(&world, "[ -n \"$(ip netns pids b)\" ]");
    file(&world, "a = \"br0 10.1.0.5\"\nb = \"br0 10.1.0.6\"\n");
    wait(&world, "[ -z \"$(ip netns pids b)\" ]");
    wait(&world, "grep -q '^- sleep in b' /run/work/said");
    assert_eq!(world.lab(&["down", &path]).code, 0);
}

#[test]
fn places_and_users_that_are_not_here_are_told_by_check() {
    let world = World::new();
    world.ok("mkdir /run/work/here");
    for (run, place, hint) in [
        (
            "dir = \"nowhere\"",
            "demo.toml:4:53",
            "there is no directory /run/work/nowhere",
        ),
        (
            "dir = \"/nowhere/at/all\"",
            "demo.toml:4:53",
            "there is no directory /nowhere/at/all",
        ),
        (
            "user = \"nobody-at-all\"",
            "demo.toml:4:54",
            "there is no user nobody-at-all",
        ),
        (
            "user = \"0:no-group\"",
            "demo.toml:4:54",
            "there is no group no-group",
        ),
    ] {
        let path = file(
            &world,
            &format!("a = {{ nets = \"br0\", run = {{ command = \"true\", {run} }} }}\n"),
        );
        let did = world.lab(&["check", &path]);
        assert_eq!(did.code, 1, "{run}: {did:?}");
        for part in ["error[LAB0115]", place, hint] {
            assert!(did.err.contains(part), "{run}: {part}: {did:?}");
        }
    }
    let path = file(
        &world,
        "a = { nets = \"br0\", run = { command = \"true\", dir = \"here\", user = \"0:0\" } }\n",
    );
    assert_eq!(world.lab(&["check", &path]).code, 0);
}

#[test]
fn mistakes_of_commands_are_told_at_their_place() {
    for (run, code, place, hint) in [
        (
            "{ comand = [\"true\"] }",
            "LAB0002",
            "4:32",
            "write `command`",
        ),
        (
            "{ env = { A = \"b\" } }",
            "LAB0108",
            "4:30",
            "`run` has no `command`",
        ),
        (
            "{ command = \"a && b\" }",
            "LAB0108",
            "4:42",
            "\"sh\", \"-c\"",
        ),
        (
            "{ command = \"a\", restart = \"allways\" }",
            "LAB0003",
            "4:57",
            "write `always`",
        ),
        (
            "{ command = \"a\", ready = 0 }",
            "LAB0102",
            "4:55",
            "1 to 65535",
        ),
        (
            "{ command = \"a\", ready = \"not a name\" }",
            "LAB0102",
            "4:55",
            "neither a port nor a name",
        ),
        (
            "{ command = \"a\", user = \"a:\" }",
            "LAB0102",
            "4:54",
            "USER:GROUP",
        ),
        (
            "{ command = \"a\", env = { \"A=B\" = \"c\" } }",
            "LAB0102",
            "4:55",
            "not a variable",
        ),
        (
            "{ command = \"a\", env = [\"A=B\"] }",
            "LAB0003",
            "4:53",
            "is a table",
        ),
        ("7", "LAB0003", "4:30", "a list of strings"),
    ] {
        let text = report(&format!(
            "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\nweb = {{ nets = \"br0\",  run = {run} }}\n"
        ));
        for part in [code, place, hint] {
            assert!(text.contains(part), "{run}: {part}: {text}");
        }
    }
}

#[test]
fn a_command_runs_in_all_namespaces() {
    let world = World::new();
    let file = file(&world, "\"h[1-20]\" = \"br0\"\nout = \"host\"\n");
    assert_eq!(world.lab(&["apply", &file]).code, 0);
    let did = world.lab(&[
        "exec",
        "--all",
        "--lab",
        &file,
        "--",
        "sh",
        "-c",
        "ip -br addr show dev eth0; exit $(ip -o addr | grep -c .)",
    ]);
    assert_eq!(did.out.lines().count(), 20, "{did:?}");
    for space in 1..=20 {
        let prefix = format!("{:3} | eth0", format!("h{space}"));
        assert!(
            did.out.lines().any(|line| line.starts_with(&prefix)),
            "{space}: {did:?}"
        );
    }
    assert!(did.code >= 3, "{did:?}");
    let did = world.lab(&["exec", "--all", "--lab", "demo", "/no/such"]);
    assert_eq!(did.code, 127, "{did:?}");
    // One alone, as before.
    assert_eq!(world.lab(&["exec", "h1", "--", "true"]).code, 0);
    assert_eq!(world.lab(&["exec", "h1", "sh", "-c", "exit 7"]).code, 7);
    assert_eq!(world.lab(&["exec", "h1"]).code, 2);
}
