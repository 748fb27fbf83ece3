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
    let drawn = world.lab(&["graph", file]).out;
    let expected = "\
lab everything (everything.test)

br0  10.1.0.0/24 fd00:1::/64
├─  the host  br0   10.1.0.1 fd00:1::1                    masquerade, 8080/tcp → web:80
├─  web       eth0  10.1.0.5 fd00:1::186a:1fa9:b6bc:9310
└─  gw        eth0  10.1.0.9 fd00:1::177:3453:7d5d:4830   router

back  10.2.0.0/24 gateway gw
├─  gw    eth1  10.2.0.1
└─  deep  eth0  10.2.0.131

gw eth2  10.9.0.1 ══ 10.9.0.2  far eth0
far  10.2.0.0/24 via gw
";
    assert_eq!(drawn, expected);
    for format in ["ascii", "dot", "mermaid", "svg"] {
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
fn a_live_graph_tells_how_things_are() {
    let world = World::new();
    let file = lab_file("everything");
    let path = file.to_str().expect("a plain path");
    let drawn = |expected: &[&str], when: &str| {
        let did = world.lab(&["graph", path, "--live"]);
        assert_eq!(did.code, 0, "{did:?}");
        world.write("/run/work/lab.svg".as_ref(), &did.out);
        // A browser refuses what is not XML.
        world.ok("python3 -c 'import xml.dom.minidom as x; x.parse(\"/run/work/lab.svg\")'");
        for part in expected {
            assert!(did.out.contains(part), "{when}: {part}: {}", did.out);
        }
        did.out
    };
    let out = drawn(
        &["not applied", "not there", "#c5221f", "10.1.0.5"],
        "before",
    );
    assert!(!out.contains("#137333"), "{out}");
    world.apply_file(&file);
    world.background("ip netns exec web sh -c 'echo up; exec sleep 100'");
    let out = drawn(
        &["as declared", "runs sleep", "#137333", "eth0 10.1.0.5"],
        "applied",
    );
    assert!(
        !out.contains("not there") && !out.contains("#b06000"),
        "{out}"
    );
    world.ok("ip -n web route del default; ip netns del deep; nft flush ruleset");
    drawn(
        &[
            "differs from its file",
            "+ route 0.0.0.0/0 via 10.1.0.1 in web",
            "#b06000",
            "not there",
            "#c5221f",
            "+ table inet lab_everything",
        ],
        "drift",
    );
    let did = world.lab(&["graph", path, "--live", "--format", "dot"]);
    assert!(did.code == 1 && did.err.contains("SVG"), "{did:?}");
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
    for name in ["a b", "", "../x", "-x", ".x"] {
        let did = world.lab(&["adopt", "--pid", pid.trim(), &format!("--name={name}")]);
        assert!(
            did.code == 1 && did.err.contains("cannot be a namespace's name"),
            "{name}: {did:?}"
        );
    }
    assert_eq!(world.ok("ls /run/netns"), "container\n");
}

#[test]
fn what_is_dubious_is_said_before_anything_is_made() {
    for (lab, said) in [
        ("router-off", &["c: b does not route"][..]),
        (
            "routes-missing",
            &[
                "`a` cannot reach",
                "c: the reply is lost: c has no route to 192.168.1.5",
                "c: d has no route to 192.168.2.5",
            ],
        ),
    ] {
        let world = World::new();
        let file = lab_file(lab);
        let file = file.to_str().expect("plain");
        for verb in ["check", "plan", "apply"] {
            let made = world.sh("ls /run/netns 2>/dev/null").out;
            assert_eq!(made, "", "{verb}");
            let did = world.lab(&[verb, file]);
            for part in said {
                assert!(did.err.contains(part), "{verb}: {part}: {did:?}");
            }
        }
    }
}

#[test]
fn run_starts_and_ends_everything() {
    let world = World::new();
    let before = world.snapshot();
    let file = world.file(
        "demo",
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = { nets = \"br0\", run = [\"sh\", \"-c\", \"cat /etc/resolv.conf > /run/work/seen; exec sleep 100\"] }\nb = { nets = \"br0 10.1.0.9\", run = \"sh -e /run/work/end\" }\n",
    );
    world.write("/run/work/end".as_ref(), "exit 3\n");
    let did = world.lab(&[
        "run",
        file.to_str().expect("plain"),
        "--",
        "sh",
        "-c",
        "ping -c1 -W1 10.1.0.9 >/dev/null; sleep 0.2; exit 5",
    ]);
    assert_eq!(did.code, 5, "{did:?}");
    assert!(did.err.contains("sh in b ended: exit status: 3"), "{did:?}");
    assert!(!did.err.contains("in a ended"), "{did:?}");
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

#[test]
fn what_is_in_the_way_is_seen_by_check_and_plan() {
    let world = World::new();
    world.ok("ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up
        ip link add up0 type veth peer name up1 && ip addr add 192.0.2.2/24 dev up0 && ip link set up0 up && ip link set up1 up
        ip route add 10.0.0.0/8 via 192.0.2.1 && ip route add 10.201.0.128/25 via 192.0.2.9 && ip route add default via 192.0.2.1");
    let before = world.state();
    let lab = |name: &str, subnet: &str, rest: &str| {
        let file = world.file(
            name,
            &format!("[net.{name}]\nsubnet = \"{subnet}\"\n{rest}"),
        );
        file.to_str().expect("plain").to_owned()
    };
    let file = lab("clash", "172.17.5.0/24", "");
    let check = world.lab(&["check", &file]);
    assert_eq!(check.code, 1, "{check:?}");
    for part in [
        "error[LAB0111]: 172.17.5.0/24 overlaps 172.17.0.1/16 of docker0 (a network of Docker's)",
        "clash.toml:2:10",
    ] {
        assert!(check.err.contains(part), "{check:?}");
    }
    let plan = world.lab(&["plan", &file]);
    assert!(
        plan.code == 1 && plan.err.contains("conflict: 172.17.5.0/24 overlaps"),
        "{plan:?}"
    );
    assert_eq!(world.lab(&["apply", &file]).code, 1);
    assert_same(
        &world.state(),
        &before,
        "nothing foreign is changed, and nothing made",
    );
    // A switch without the host meets nobody.
    let file = lab("switch", "172.17.6.0/24", "host = false\n");
    assert_eq!(world.lab(&["check", &file]).code, 0);
    let file = lab("routes", "10.201.0.0/24", "[ns]\na = \"routes\"\n");
    for (verb, code) in [("check", 0), ("plan", 2)] {
        let did = world.lab(&[verb, &file]);
        assert_eq!(did.code, code, "{did:?}");
        for part in [
            "10.201.0.0/24 overlaps this machine's route to 10.0.0.0/8 via 192.0.2.1 on up0",
            "10.201.0.0/24 overlaps this machine's route to 10.201.0.128/25 via 192.0.2.9 on up0",
        ] {
            assert!(did.err.contains(part), "{verb}: {did:?}");
        }
        assert!(!did.err.contains("0.0.0.0/0"), "{did:?}");
    }
    // Of its own it says nothing, before and after.
    assert_eq!(world.lab(&["apply", &file]).code, 0);
    world.ok("ip route del 10.0.0.0/8 && ip route del 10.201.0.128/25");
    let check = world.lab(&["check", &file]);
    assert_eq!((check.code, check.err.as_str()), (0, ""), "{check:?}");
    assert_eq!(
        check.out,
        "lab routes: 1 network, 1 namespace, no mistakes\n"
    );
}

#[test]
fn who_is_not_root_is_told_what_to_do() {
    let world = World::new();
    if lab::sys::effective_user() != 0 {
        println!("SKIPPED: needs a second user");
        return;
    }
    let text = std::fs::read_to_string(lab_file("containers")).expect("a lab");
    world.file("mine", &text);
    world.ok(&format!(
        "cp {} /run/work/lab && chmod 755 /run/work",
        env!("CARGO_BIN_EXE_nameplate-lab")
    ));
    let nobody = |arguments: &str| {
        world.sh(&format!(
            "cd /run/work && setpriv --reuid=65534 --regid=65534 --clear-groups ./lab {arguments}"
        ))
    };
    for (arguments, code) in [
        ("check", 0),
        ("plan", 2),
        ("status", 4),
        ("graph", 0),
        ("show", 0),
    ] {
        let did = nobody(&format!("{arguments} mine.toml"));
        assert_eq!(did.code, code, "{arguments}: {did:?}");
    }
    assert_eq!(world.lab(&["apply", "/run/work/mine.toml"]).code, 0);
    for arguments in [
        "apply mine.toml",
        "down mine",
        "plan mine.toml",
        "run mine.toml -- true",
    ] {
        let did = nobody(arguments);
        assert_eq!(did.code, 1, "{arguments}: {did:?}");
        assert!(did.err.contains("run --rootless"), "{arguments}: {did:?}");
    }
    let did = nobody("exec container4 -- true");
    assert_eq!(did.code, 125, "{did:?}");
}

#[test]
fn a_word_that_is_almost_right_is_answered_with_the_right_one() {
    let world = World::new();
    world.apply("containers");
    let did = world.lab(&["exec", "container44", "--", "true"]);
    assert!(
        did.code == 125 && did.err.contains("is container4 meant?"),
        "{did:?}"
    );
    // Without a file here, the labs that are applied are told.
    let did = world.sh(&format!(
        "cd /run && {} down",
        env!("CARGO_BIN_EXE_nameplate-lab")
    ));
    assert!(
        did.code == 1 && did.err.contains("applied: containers"),
        "{did:?}"
    );
    let file = world.file("gone", "[ns]\na = \"none\"\n");
    assert_eq!(world.lab(&["apply", file.to_str().expect("plain")]).code, 0);
    world.ok("rm /run/work/gone.toml");
    let did = world.lab(&["gc"]);
    assert!(
        did.code == 0 && did.out.contains("`down gone` removes it"),
        "{did:?}"
    );
    assert_eq!(world.lab(&["down", "gone"]).code, 0);
    assert_eq!(world.ok("ip netns | grep -c .").trim(), "2");
}

#[test]
fn status_tells_drift_where_it_is() {
    let world = World::new();
    world.apply("forward");
    world.ok("ip -n web addr del 192.168.15.2/24 dev eth0; ip link set veth-neighbour down; nft delete table inet lab_forward");
    let file = lab_file("forward");
    let did = world.lab(&["status", file.to_str().expect("plain")]);
    assert_eq!(did.code, 4, "{did:?}");
    let lines: Vec<&str> = did.out.lines().map(str::trim).collect();
    let at = |line: &str| {
        let found = lines.iter().position(|other| other.starts_with(line));
        found.unwrap_or_else(|| panic!("no {line:?} in {}", did.out))
    };
    assert!(
        did.out
            .starts_with("lab forward (forward.test): differs from its file\n")
    );
    assert!(
        lines[at("v-net-0")].contains("host 192.168.15.5  8080/tcp → web:80"),
        "{}",
        did.out
    );
    let (web, neighbour, host) = (at("web"), at("neighbour"), at("the host"));
    let address = at("+ address 192.168.15.2/24 of eth0 in web");
    assert!(web < address && address < neighbour, "{}", did.out);
    assert!(
        at("~ link veth-neighbour on the host: up") > host && at("+ table inet lab_forward") > host
    );
}

#[test]
fn down_goes_by_what_was_applied_from_a_file() {
    let world = World::new();
    let lines = [
        "[ns]\na = \"none\"\n",
        "[lab]\nname = \"other\"\n[ns]\na = \"none\"\n",
        "[ns]\na = \"br9\"\n",
        "[ns",
    ];
    for now in lines {
        let file = world.file("first", lines[0]);
        let file = file.to_str().expect("plain");
        assert_eq!(world.lab(&["apply", file]).code, 0);
        world.file("first", now);
        let did = world.lab(&["down", file]);
        assert!(
            did.code == 0 && did.out.contains("lab first removed"),
            "{now}: {did:?}"
        );
        assert_eq!(world.ok("ls /run/nameplate/lab"), "", "{now}");
    }
    // A directory that is called as the lab is no file.
    let file = world.file("first", lines[0]);
    assert_eq!(world.lab(&["apply", file.to_str().expect("plain")]).code, 0);
    let did = world.sh(&format!(
        "mkdir -p /run/work/d/first && cd /run/work/d && {0} status first && {0} down first",
        env!("CARGO_BIN_EXE_nameplate-lab")
    ));
    assert!(
        did.code == 0 && did.out.contains("lab first removed"),
        "{did:?}"
    );
}
