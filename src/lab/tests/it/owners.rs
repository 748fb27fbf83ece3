//! Whose a lab is, and whose a port: what somebody else has is refused, with the way out.

use crate::world::{World, assert_same};

const LAB: &str = env!("CARGO_BIN_EXE_nameplate-lab");

/// Two folders with a `lab.toml` each, the first one's applied.
fn two_folders(world: &World) {
    world.ok("mkdir /run/work/a /run/work/b");
    world.write(
        "/run/work/a/lab.toml".as_ref(),
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\nred = \"br0 10.1.0.5\"\n",
    );
    world.write(
        "/run/work/b/lab.toml".as_ref(),
        "[net.br1]\nsubnet = \"10.2.0.0/24\"\n[ns]\nblue = \"br1\"\n",
    );
    world.ok(&format!("cd /run/work/a && {LAB} apply"));
}

#[test]
fn a_lab_of_another_file_is_left_alone() {
    let world = World::new();
    two_folders(&world);
    world.background("ip netns exec red sh -c 'echo up; exec sleep 100'");
    let before = world.state();
    for verb in ["plan", "apply", "run -- true", "down", "down lab.toml"] {
        let did = world.sh(&format!("cd /run/work/b && {LAB} {verb}"));
        assert_eq!(did.code, 1, "{verb}: {did:?}");
        for part in ["/run/work/a/lab.toml", "nameplate-lab down lab"] {
            assert!(did.err.contains(part), "{verb}: {did:?}");
        }
        assert_same(&world.state(), &before, verb);
    }
    assert!(world.ok("ip netns pids red").trim().parse::<i32>().is_ok());
    // The ways out: another name, or to take it over.
    let text = world.ok("cat /run/work/b/lab.toml");
    world.write(
        "/run/work/b/lab.toml".as_ref(),
        &format!("[lab]\nname = \"second\"\n{text}"),
    );
    world.ok(&format!("cd /run/work/b && {LAB} apply && {LAB} down"));
    world.write("/run/work/b/lab.toml".as_ref(), &text);
    world.ok(&format!("cd /run/work/b && {LAB} apply --take-over"));
    assert_eq!(world.ok("ls /run/netns"), "blue\n");
    let did = world.sh(&format!("cd /run/work/a && {LAB} down"));
    assert_eq!(did.code, 1, "it is the other file's now: {did:?}");
    world.ok(&format!("cd /run && {LAB} down lab"));
}

#[test]
fn a_file_is_the_same_by_every_path() {
    let world = World::new();
    two_folders(&world);
    world.ok(
        "cd /run/work && mkdir a/sub links && ln -s ../a/lab.toml links/lab.toml && ln -s a folder",
    );
    for path in [
        "a/sub/../lab.toml",
        "../work/a/lab.toml",
        "links/lab.toml",
        "folder/lab.toml",
    ] {
        let line = format!("cd /run/work && {LAB} apply {path} && {LAB} status {path}");
        world.ok(&line);
        world.ok(&format!("cd /run/work && {LAB} check {path}"));
        world.ok(&format!("cd /run/work && {LAB} down {path}"));
        assert_eq!(
            world
                .ok("ls /run/netns 2>&1 || true")
                .matches("red")
                .count(),
            0
        );
        world.ok(&format!("cd /run/work/a && {LAB} apply"));
    }
    // One that is gone is known by its path; what came into its place is the same to the lab.
    world.ok("cd /run/work/a && mv lab.toml moved.toml");
    let did = world.sh(&format!("cd /run/work/a && {LAB} apply moved.toml"));
    assert_eq!(did.code, 1, "{did:?}");
    world.ok(&format!("cd /run/work/a && {LAB} down lab.toml"));
}

/// A lab whose file does not say its name is called after the path that it was applied by.
#[test]
fn a_link_of_another_name_leads_to_the_same_lab() {
    let world = World::new();
    let before = world.snapshot();
    two_folders(&world);
    world.ok("ln -s lab.toml /run/work/a/other.toml; ln -s a/other.toml /run/work/third.toml");
    let fresh = world.state();
    for path in ["a/other.toml", "third.toml"] {
        for verb in ["status", "plan", "apply", "check", "graph"] {
            let did = world.sh(&format!("cd /run/work && {LAB} {verb} {path}"));
            assert_eq!(did.code, 0, "{verb} {path}: {did:?}");
        }
    }
    assert_same(&world.state(), &fresh, "it is the same lab");
    world.ok(&format!("cd /run/work && {LAB} down third.toml"));
    assert_same(&world.snapshot(), &before, "down leaves nothing");
    // The other way round.
    world.ok(&format!(
        "cd /run/work && {LAB} apply third.toml && {LAB} status a/lab.toml"
    ));
    assert_eq!(world.ok("ls /run/nameplate/lab"), "third\n");
    world.ok(&format!("cd /run/work && {LAB} down a/lab.toml"));
    assert_same(&world.snapshot(), &before, "down leaves nothing");
    // What says its name has it by every path.
    world.ok("sed -i '1i [lab]\\nname = \"said\"' /run/work/a/lab.toml");
    world.ok(&format!(
        "cd /run/work && {LAB} apply third.toml && {LAB} status a/lab.toml && {LAB} down said"
    ));
}

#[test]
fn check_tells_all_that_apply_refuses() {
    let world = World::new();
    two_folders(&world);
    let refused = |text: &str, places: &[&str]| {
        world.write("/run/work/b/other.toml".as_ref(), text);
        let apply = world.sh(&format!("cd /run/work/b && {LAB} apply other.toml"));
        assert_eq!(apply.code, 1, "{text}: {apply:?}");
        let check = world.sh(&format!("cd /run/work/b && {LAB} check other.toml"));
        assert_eq!(check.code, 1, "{text}: {check:?}");
        for place in places {
            assert!(check.err.contains(place), "{text}: {place}: {check:?}");
        }
        for conflict in apply
            .err
            .lines()
            .filter_map(|line| line.strip_prefix("conflict: "))
            // LAB0111 has words of its own.
            .filter(|line| !line.contains(" overlaps "))
        {
            assert!(
                check.err.contains(conflict),
                "{text}: {conflict}: {check:?}"
            );
        }
    };
    let net = "[net.net1]\nsubnet = \"10.9.0.0/24\"\n[ns]\n";
    // Another lab's namespace, and one made by hand.
    world.ok("ip netns add green");
    refused(
        &format!("{net}red = \"net1\"\ngreen = \"net1\"\n"),
        &[
            "other.toml:4:1",
            "other.toml:5:1",
            "error[LAB0114]: namespace red exists and is not the lab's",
        ],
    );
    // Another lab's bridge, a link, and a subnet.
    refused(
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = \"br0\"\n",
        &[
            "other.toml:1:6",
            "error[LAB0114]: link br0 exists",
            "(it belongs to lab lab)",
            "error[LAB0111]",
        ],
    );
    // Another file's lab, and a file that was applied under another name.
    let named = format!("[lab]\nname = \"lab\"\n{net}a = \"net1\"\n");
    refused(
        &named,
        &["other.toml:2:8", "was applied from /run/work/a/lab.toml"],
    );
    world.write(
        "/run/work/b/other.toml".as_ref(),
        &format!("{net}a = \"net1\"\n"),
    );
    world.ok(&format!("cd /run/work/b && {LAB} check other.toml && {LAB} apply other.toml && {LAB} check other.toml"));
    let named = named.replace("\"lab\"", "\"third\"");
    refused(&named, &["other.toml:2:8", "was applied as lab other"]);
    world.ok("ip netns del green");
    // A file in the place of ours, and a table.
    world.ok(&format!("cd /run/work/b && {LAB} down other && mkdir -p /etc/netns/a && echo x > /etc/netns/a/hosts && nft add table inet lab_other"));
    refused(
        &format!("{net}a = \"net1\"\n").replace("24\"\n", "24\"\nnat = true\n"),
        &[
            "other.toml:5:1",
            "/etc/netns/a/hosts exists",
            "table inet lab_other exists",
        ],
    );
}

#[test]
fn all_labs_are_listed() {
    let world = World::new();
    assert!(world.lab(&["ls"]).out.contains("no lab is applied"));
    two_folders(&world);
    let text = world.ok("cat /run/work/b/lab.toml");
    world.write(
        "/run/work/b/lab.toml".as_ref(),
        &format!("[lab]\nname = \"second\"\n{text}"),
    );
    world.ok(&format!("cd /run/work/b && {LAB} apply"));
    let lines = world.ok(&format!("cd /run && {LAB} status"));
    for part in [
        "lab     applied     1 namespaces  /run/work/a/lab.toml",
        "second  applied",
    ] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    assert_eq!(
        world.ok(&format!("cd /run/work/a && {LAB} status --all")),
        lines
    );
    let status = world.ok(&format!("cd /run/work/a && {LAB} status"));
    assert!(
        status.contains("another lab: second, applied, /run/work/b/lab.toml"),
        "{status}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&world.ok(&format!("{LAB} ls --json"))).expect("JSON");
    assert_eq!(json["labs"][1]["lab"], "second");
    // A lab whose file is gone can still be looked at.
    world.background("ip netns exec blue sh -c 'echo up; exec sleep 100'");
    world.ok("rm /run/work/b/lab.toml");
    let did = world.lab(&["status", "second"]);
    assert_eq!(did.code, 4, "{did:?}");
    for part in [
        "/run/work/b/lab.toml is gone",
        "blue",
        "runs sleep",
        "down second",
    ] {
        assert!(did.out.contains(part), "{part}: {did:?}");
    }
    assert!(world.ok(&format!("{LAB} ls")).contains("lab.toml (gone)"));
}

#[test]
fn a_lab_that_is_called_otherwise_now_is_not_made_twice() {
    let world = World::new();
    let file = world.file("one", "[ns]\na = \"none\"\n");
    let file = file.to_str().expect("plain");
    assert_eq!(world.lab(&["apply", file]).code, 0);
    world.file("one", "[lab]\nname = \"two\"\n[ns]\na = \"none\"\n");
    for verb in ["plan", "apply"] {
        let did = world.lab(&[verb, file]);
        assert_eq!(did.code, 1, "{did:?}");
        assert!(
            did.err.contains("applied as lab one") && did.err.contains("down one"),
            "{did:?}"
        );
    }
    assert_eq!(world.lab(&["down", file]).code, 0);
    assert_eq!(world.lab(&["apply", file]).code, 0);
}

#[test]
fn ports_of_the_host_are_not_taken() {
    let world = World::new();
    world.serve("", 2222, "the host");
    world.background("exec python3 -c 'import socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind((\"127.0.0.1\",5353)); print(1,flush=True); time.sleep(100)'");
    let lab = |forward: &str| {
        let text = format!(
            "[net.br0]\nsubnet = \"10.1.0.0/24\"\nforward = [{forward}]\n[ns]\nweb = \"br0 10.1.0.5\"\n"
        );
        world
            .file("ports", &text)
            .to_str()
            .expect("plain")
            .to_owned()
    };
    for forward in [
        "\"2222:web:22\"",
        "\"127.0.0.1:2222:web:22\"",
        "\"5353/udp:web:53\"",
    ] {
        let file = lab(forward);
        for verb in ["check", "plan", "apply"] {
            let did = world.lab(&[verb, &file]);
            assert_eq!(did.code, 1, "{verb} {forward}: {did:?}");
            assert!(
                did.err.contains("is served by process") && did.err.contains("(python3)"),
                "{did:?}"
            );
        }
        assert_eq!(world.ok("ls /run/nameplate/lab"), "", "nothing was made");
    }
    // The same port of another protocol, of another address, and another port.
    for forward in [
        "\"2222/udp:web:22\"",
        "\"127.0.0.2:5353/udp:web:53\"",
        "\"2223:web:22\"",
    ] {
        let file = lab(forward);
        assert_eq!(world.lab(&["apply", &file]).code, 0, "{forward}");
        assert!(world.asks("", "127.0.0.1", 2222).starts_with("the host"));
    }
    // Who comes later is warned of; the lab goes on.
    world.serve("", 2223, "later");
    let file = lab("\"2223:web:22\"");
    let did = world.lab(&["apply", &file]);
    assert!(
        did.code == 0 && did.err.contains("2223/tcp of the host is served by"),
        "{did:?}"
    );
}

#[test]
fn two_labs_do_not_have_one_port() {
    let world = World::new();
    let lab = |name: &str, net: u8, forward: &str| {
        let text = format!(
            "[net.b{net}]\nsubnet = \"10.{net}.0.0/24\"\nforward = [\"{forward}\"]\n[ns]\nn{net} = \"b{net} 10.{net}.0.5\"\n"
        );
        world.file(name, &text).to_str().expect("plain").to_owned()
    };
    let one = lab("one", 1, "8080:n1:80");
    assert_eq!(world.lab(&["apply", &one]).code, 0);
    for forward in ["8080:n2:80", "127.0.0.1:8080:n2:80"] {
        let two = lab("two", 2, forward);
        for verb in ["check", "apply"] {
            let did = world.lab(&[verb, &two]);
            assert!(
                did.code == 1 && did.err.contains("belongs to lab one"),
                "{did:?}"
            );
        }
    }
    let two = lab("two", 2, "8080/udp:n2:80");
    assert_eq!(world.lab(&["apply", &two]).code, 0);
}

#[test]
fn one_address_goes_before_all() {
    let world = World::new();
    let file = world.file(
        "both",
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\nforward = [\"8080:a:80\", \"127.0.0.1:8080:b:80\"]\n[ns]\na = \"br0 10.1.0.5\"\nb = \"br0 10.1.0.6\"\n",
    );
    world.apply_file(&file);
    world.serve("a", 80, "a");
    world.serve("b", 80, "b");
    assert!(world.asks("", "10.1.0.1", 8080).starts_with("a "));
    assert!(world.asks("", "127.0.0.1", 8080).starts_with("b "));
}

#[test]
fn a_damaged_journal_has_a_way_out() {
    let world = World::new();
    let before = world.snapshot();
    let text = "[net.br0]\nsubnet = \"10.1.0.0/24\"\nnat = true\nforward = [\"8080:a:80\"]\n[ns]\na = \"br0 10.1.0.5\"\nb = \"none\"\n";
    let file = world.file(
        "cut",
        &format!("[lab]\ndns = \"off\"\nhosts = \"off\"\n{text}"),
    );
    let file = file.to_str().expect("plain");
    let other = world.file("whole", "[ns]\nz = \"none\"\n");
    assert_eq!(
        world.lab(&["apply", other.to_str().expect("plain")]).code,
        0
    );
    assert_eq!(world.lab(&["apply", file]).code, 0);
    world.ok("cd /run/nameplate/lab/cut; head -c $(($(stat -c %s journal.json) - 40)) journal.json > j; mv j journal.json");
    for words in [
        vec!["plan", file],
        vec!["apply", file],
        vec!["down", file],
        vec!["status", file],
    ] {
        let did = world.lab(&words);
        assert_eq!(did.code, 1, "{words:?}: {did:?}");
        assert!(did.err.contains("gc --force cut"), "{words:?}: {did:?}");
    }
    // Other labs are not in its way.
    assert_eq!(world.lab(&["status", "whole"]).code, 0);
    assert_eq!(world.lab(&["down", "whole"]).code, 0);
    let did = world.lab(&["gc"]);
    assert!(did.out.contains("gc --force cut"), "{did:?}");
    let did = world.lab(&["gc", "--force", "cut"]);
    assert_eq!(did.code, 0, "{did:?}");
    assert_same(&world.snapshot(), &before, "nothing is left");
    assert_eq!(world.lab(&["apply", file]).code, 0);
    assert_eq!(world.lab(&["gc", "--force", "cut"]).code, 1, "it is whole");
    assert_eq!(world.lab(&["down", "cut"]).code, 0);
    assert_same(&world.snapshot(), &before, "nothing is left");
}

#[test]
fn a_udp_sender_follows_a_forward_that_moves() {
    let world = World::new();
    world.outside();
    let lab = |forward: &str| {
        let text = format!(
            "[net.br0]\nsubnet = \"10.1.0.0/24\"\n{forward}[ns]\na = \"br0 10.1.0.5\"\nb = \"br0 10.1.0.6\"\n"
        );
        world
            .file("move", &text)
            .to_str()
            .expect("plain")
            .to_owned()
    };
    let to = |name: &str| format!("forward = [\"5300/udp:{name}:53\"]\n");
    assert_eq!(world.lab(&["apply", &lab(&to("a"))]).code, 0);
    for name in ["a", "b"] {
        world.background(&format!("exec ip netns exec {name} python3 -u -c 'import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind((\"\",53)); print(1)\nwhile 1:\n  d,f=s.recvfrom(99); s.sendto(b\"{name}\",f)'"));
    }
    // One socket, so one connection as the kernel tracks them, that never falls silent.
    world.background("exec ip netns exec outside python3 -u -c 'import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind((\"\",4444)); s.settimeout(.2); print(1)\nwhile 1:\n  try:\n    s.sendto(b\"?\",(\"203.0.113.1\",5300)); d=s.recv(9).decode()\n  except OSError: d=\"nobody\"\n  open(\"/run/work/.said\",\"w\").write(d); import os; os.rename(\"/run/work/.said\",\"/run/work/said\"); time.sleep(.05)'");
    let hears = |name: &str| {
        let line = format!(
            "for i in $(seq 100); do [ \"$(cat /run/work/said)\" = {name} ] && exit 0; sleep 0.05; done; cat /run/work/said; exit 1"
        );
        let did = world.sh(&line);
        assert_eq!(did.code, 0, "{name}: {did:?}");
    };
    hears("a");
    assert_eq!(world.lab(&["apply", &lab(&to("b"))]).code, 0);
    hears("b");
    assert_eq!(world.lab(&["apply", &lab("")]).code, 0);
    hears("nobody");
    // And one that was sent in vain before there was a forward.
    assert_eq!(world.lab(&["apply", &lab(&to("a"))]).code, 0);
    hears("a");
    assert_eq!(world.lab(&["down", "move"]).code, 0);
    hears("nobody");
}

#[test]
fn a_rule_that_somebody_changed_is_drift() {
    let world = World::new();
    world.apply("forward");
    let file = crate::world::lab_file("forward");
    let file = file.to_str().expect("plain");
    let fresh = world.state();
    let handle = world.ok("nft -a list chain inet lab_forward pre_nat | grep 'dport 8080' | head -n1 | grep -o 'handle [0-9]*'");
    world.ok(&format!(
        "nft replace rule inet lab_forward pre_nat {} meta nfproto ipv4 fib daddr type local tcp dport 8081 counter dnat ip to 192.168.15.2:80",
        handle.trim()
    ));
    let did = world.lab(&["status", file]);
    assert!(
        did.code == 4 && did.out.contains("table inet lab_forward"),
        "{did:?}"
    );
    assert_eq!(world.lab(&["apply", file]).code, 0);
    assert_same(&world.state(), &fresh, "the rule is back");
    world.ok("nft chain inet lab_forward post_nat '{ policy drop; }'");
    assert_eq!(world.lab(&["status", file]).code, 4);
    assert_eq!(world.lab(&["apply", file]).code, 0);
    assert_same(&world.state(), &fresh, "the policy is back");
    assert_eq!(world.lab(&["status", file]).code, 0);
}
