//! The other verbs: exec, show, graph, run, adopt, status.

use std::process::{Command, Stdio};

use crate::world::{World, assert_same, lab_file};

#[test]
fn the_script_makes_the_same_lab() {
    for name in [
        "containers",
        "everything",
        "forward",
        "pods",
        "service",
        "dual",
        "isolate",
        "nat-both",
        "pair-both",
        "search-both",
        "service-both",
    ] {
        let file = lab_file(name);
        let file = file.to_str().expect("a plain path");
        let ours = World::new();
        ours.apply(name);
        let theirs = World::new();
        let script = theirs.lab(&["show", "--as-shell", file]);
        theirs.write("/run/work/script".as_ref(), &script.out);
        theirs.ok("sh -e /run/work/script");
        assert_same(&theirs.state(), &ours.state(), name);
    }
}

#[test]
fn exec_has_the_resolver_or_does_not_run() {
    let world = World::new();
    world.apply("search");
    let resolver = "cat /etc/resolv.conf";
    let expected = world.ok("cat /etc/netns/web/resolv.conf");
    let cases = [
        "true",
        "rm /etc/resolv.conf",
        "ln -s /run/nowhere/stub-resolv.conf /etc/resolv.conf",
        "rm /etc/resolv.conf; mkdir -p /run/somewhere; echo nameserver 192.0.2.99 > /run/somewhere/stub; ln -s /run/somewhere/stub /etc/resolv.conf",
    ];
    for case in cases {
        world.ok(case);
        let did = world.lab(&["exec", "web", "--", "sh", "-c", resolver]);
        assert_eq!(
            (did.code, did.out.as_str()),
            (0, expected.as_str()),
            "{case}: {did:?}"
        );
    }
    assert_eq!(
        world.lab(&["exec", "web", "--", "sh", "-c", "exit 7"]).code,
        7
    );
    assert_eq!(world.lab(&["exec", "web", "--", "/nowhere"]).code, 127);
    assert_eq!(world.lab(&["exec", "nobody", "--", "true"]).code, 125);
    assert_eq!(world.lab(&["exec", "../web", "--", "true"]).code, 125);
    world.ok("rm /etc/netns/web/resolv.conf");
    let did = world.lab(&["exec", "web", "--", "true"]);
    assert_eq!(did.code, 125, "{did:?}");
    assert_eq!(
        world.lab(&["exec", "web", "--no-dns", "--", "true"]).code,
        0
    );
    let host = world.ok("cat /proc/self/mountinfo | grep -c netns/web/; true");
    assert_eq!(host, "0\n", "the host sees no bind");
}

#[test]
fn graphs_name_everything() {
    let world = World::new();
    let file = lab_file("everything");
    let file = file.to_str().expect("a plain path");
    for format in ["ascii", "dot", "mermaid"] {
        let graph = world.lab(&["graph", "--format", format, file]);
        for word in [
            "br0",
            "back",
            "web",
            "gw",
            "far",
            "deep",
            "10.1.0.5",
            "8080",
            "masquerade",
        ] {
            assert!(
                graph.out.contains(word),
                "{format} without {word}:\n{}",
                graph.out
            );
        }
    }
}

#[test]
fn plans_and_status_for_machines() {
    let world = World::new();
    let file = lab_file("containers");
    let file = file.to_str().expect("a plain path");
    let plan = world.lab(&["plan", "--json", file]);
    assert_eq!(plan.code, 2);
    let plan: serde_json::Value = serde_json::from_str(&plan.out).expect("JSON");
    assert!(plan["steps"].as_array().is_some_and(|steps| {
        steps
            .iter()
            .any(|step| step["commands"][0] == "ip netns add container4")
    }));
    world.apply("containers");
    world.background("ip netns exec container4 sh -c 'echo up; exec sleep 100'");
    let status = world.lab(&["status", "--json", file]);
    let status: serde_json::Value = serde_json::from_str(&status.out).expect("JSON");
    assert_eq!(status["as_declared"], true);
    assert_eq!(status["namespaces"][0]["processes"][0]["command"], "sleep");
    assert_eq!(
        status["namespaces"][0]["dns"]["answers"], false,
        "no server runs here"
    );
}

#[test]
fn probing_finds_what_does_not_work() {
    let world = World::new();
    let text = std::fs::read_to_string(lab_file("router")).expect("a lab");
    let file = world.file(
        "router",
        &text.replace("[net.left]", "[lab]\ndns = \"off\"\n[net.left]"),
    );
    let file = file.to_str().expect("a plain path");
    assert_eq!(world.lab(&["apply", file]).code, 0);
    let did = world.lab(&["check", "--probe", file]);
    assert_eq!(did.code, 0, "{did:?}");
    world.ok("ip -n a link set eth0 down");
    let did = world.lab(&["check", "--probe", file]);
    assert!(
        did.code == 1 && did.err.contains("does not reach"),
        "{did:?}"
    );
}

#[test]
fn adopted_namespaces_have_a_name() {
    let world = World::new();
    world.ok("unshare -n sleep 5 >/dev/null 2>&1 & sleep 0.2; echo $! > /run/work/pid");
    let pid = world.ok("cat /run/work/pid");
    assert_eq!(
        world
            .lab(&["adopt", "--pid", pid.trim(), "--name", "container"])
            .code,
        0
    );
    assert_eq!(world.ok("ip -n container -o link | wc -l"), "1\n");
    assert_eq!(
        world
            .lab(&["adopt", "--pid", pid.trim(), "--name", "container"])
            .code,
        1,
        "the name is taken"
    );
}

#[test]
fn run_starts_and_ends_everything() {
    let world = World::new();
    let before = world.snapshot();
    let file = world.file(
        "demo",
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = { nets = \"br0\", run = [\"sh\", \"-c\", \"cat /etc/resolv.conf > /run/work/seen; exec sleep 100\"] }\nb = \"br0 10.1.0.9\"\n",
    );
    let did = world.lab(&[
        "run",
        file.to_str().expect("plain"),
        "--",
        "sh",
        "-c",
        "ping -c1 -W1 10.1.0.9 >/dev/null; sleep 0.2; exit 5",
    ]);
    assert_eq!(did.code, 5, "{did:?}");
    assert!(
        world
            .ok("cat /run/work/seen")
            .contains("nameserver 10.1.0.1")
    );
    assert_same(&world.snapshot(), &before, "down leaves nothing");
    // Ctrl-C.
    let line = format!(
        "{} run {} & sleep 0.5; kill -INT $!; wait $!",
        env!("CARGO_BIN_EXE_nameplate-lab"),
        file.display()
    );
    assert_eq!(world.sh(&line).code, 0);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn a_lab_without_root() {
    let file = lab_file("containers");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    if lab::sys::effective_user() != 0 {
        command = Command::new("env");
    }
    // The binary may lie where nobody may look.
    let copy = std::env::temp_dir().join(format!("nameplate-lab-{}", std::process::id()));
    let lab = std::env::temp_dir().join(format!("rootless-{}.toml", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_nameplate-lab"), &copy).expect("copied");
    std::fs::copy(file, &lab).expect("copied");
    let output = command
        .arg(&copy)
        .args(["run", "--rootless"])
        .arg(&lab)
        .args(["--", "sh", "-c", "ip netns exec container4 sh -c 'ping -c1 -W1 10.201.0.5 >/dev/null && cat /etc/resolv.conf'; ip -o link | wc -l"])
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .expect("setpriv(1) of util-linux");
    let _ = std::fs::remove_file(copy);
    let _ = std::fs::remove_file(lab);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(
        out.contains("nameserver 10.201.0.1") && out.ends_with("4\n"),
        "{output:?}"
    );
}
