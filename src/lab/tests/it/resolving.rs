//! Labs with the real server: what resolves, from where, and when.

use std::path::{Path, PathBuf};

use crate::pages::{blocks, text};
use crate::world::{Did, World, lab_file};

/// Every lab, and an upstream that answers 198.51.100.7 to everything and logs what it is asked.
pub(crate) const COREFILE: &str =
    ". {\n  lab {\n    listen\n  }\n  forward . 127.0.0.1:5300\n  cache 30\n  errors\n  log\n}\n";

/// Answers A queries with 198.51.100.7 and logs the names.
pub(crate) const UPSTREAM: &str = r#"
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
print("up", flush=True)
log = open("/run/work/asked", "a")
while True:
    q, a = s.recvfrom(4096)
    at, labels = 12, []
    while q[at]:
        labels.append(q[at + 1:at + 1 + q[at]].decode())
        at += 1 + q[at]
    kind = struct.unpack("!H", q[at + 1:at + 3])[0]
    log.write(".".join(labels) + "\n"); log.flush()
    head = q[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if kind == 1 else 0, 0, 0)
    s.sendto(head + q[12:at + 5] + (b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes([198, 51, 100, 7]) if kind == 1 else b""), a)
"#;

/// The server's program, built beside this one.
pub(crate) fn nameplate() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_nameplate-lab")).with_file_name("nameplate");
    if path.is_file() {
        return Some(path);
    }
    println!("SKIPPED {} is not built", path.display());
    assert!(std::env::var_os("CI").is_none(), "nothing may be skipped");
    None
}

/// Starts the server with a Corefile, and waits until it serves.
pub(crate) fn serve(world: &World, corefile: &str) -> bool {
    let Some(program) = nameplate() else {
        return false;
    };
    world.write("/run/work/up.py".as_ref(), UPSTREAM);
    world.background("exec python3 /run/work/up.py 127.0.0.1 5300");
    world.write("/run/work/Corefile".as_ref(), corefile);
    world.background(&format!(
        "cd /run/work; echo started; exec {} -conf Corefile >/run/work/log 2>&1",
        program.display()
    ));
    world.ok("for i in $(seq 200); do grep -q '^nameplate-' /run/work/log && exit 0; sleep 0.02; done; cat /run/work/log; exit 1");
    true
}

/// A server of the network outside that knows one name, at port 5301 of an address there.
pub(crate) fn other_upstream(world: &World, address: &str, answer: &str) {
    world.background(&format!("echo started; exec ip netns exec outside dnsmasq -k --conf-file=/dev/null --no-resolv --no-hosts --port=5301 --listen-address={address} --bind-interfaces --address=/www.example.org/{answer} --pid-file=/run/work/dnsmasq.pid --user=root >/dev/null 2>&1"));
    world.ok("for i in $(seq 200); do ip netns exec outside ss -Hlnu | grep -q :5301 && exit 0; sleep 0.02; done; exit 1");
}

/// What dig prints shortly, from a namespace (`""` is the host).
pub(crate) fn dig(world: &World, from: &str, arguments: &str) -> String {
    let inside = if from.is_empty() {
        String::new()
    } else {
        format!("ip netns exec {from} ")
    };
    world
        .ok(&format!("{inside}dig +short +tries=1 +time=2 {arguments}"))
        .lines()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The answer's status and whether it has an SOA.
pub(crate) fn status(world: &World, from: &str, arguments: &str) -> String {
    let inside = if from.is_empty() {
        String::new()
    } else {
        format!("ip netns exec {from} ")
    };
    let text = world.ok(&format!("{inside}dig +tries=1 +time=2 {arguments}"));
    let status = text
        .split("status: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .unwrap_or("none");
    let answers = text
        .split("ANSWER: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .unwrap_or("?");
    let soa = if text.contains("\tSOA\t") { " SOA" } else { "" };
    assert!(
        !text.contains("recursion requested but not available") || text.contains("status: REFUSED"),
        "{text}"
    );
    let aa = if text.contains("flags: qr aa") {
        " aa"
    } else {
        ""
    };
    format!("{status} {answers}{soa}{aa}")
}

/// Everything that the server wrote.
pub(crate) fn log(world: &World) -> String {
    world.ok("cat /run/work/log")
}

pub(crate) fn applied(did: &Did) {
    assert_eq!(did.code, 0, "{did:?}");
    assert!(
        !did.err.contains("does not answer") && !did.err.contains("no DNS server"),
        "{did:?}"
    );
}

#[test]
fn the_file_of_six_lines_resolves_when_apply_returns() {
    let world = World::new();
    if !serve(&world, COREFILE) {
        return;
    }
    let file = lab_file("containers");
    let file = file.to_str().expect("a plain path");
    applied(&world.lab(&["apply", file]));
    // At once: nothing is waited for.
    assert!(world.pings("container4", "container5"), "{}", log(&world));
    assert!(world.pings("container5", "container4.containers.test"));
    for (from, arguments, expected) in [
        ("", "@10.201.0.1 container5.containers.test", "10.201.0.5"),
        (
            "",
            "@10.201.0.1 -x 10.201.0.5",
            "container5.containers.test.",
        ),
        ("", "@10.201.0.1 -x 10.201.0.1", "gw.br0.containers.test."),
        (
            "",
            "@10.201.0.1 container5.containers.test +tcp",
            "10.201.0.5",
        ),
        (
            "",
            "@10.201.0.1 container5.br0.containers.test",
            "10.201.0.5",
        ),
        ("container4", "container5 +search", "10.201.0.5"),
        ("container4", "CONTAINER5.Containers.TEST", "10.201.0.5"),
        // A short name without a search domain, as some resolvers ask for it.
        (
            "container4",
            "container5",
            "container5.containers.test. 10.201.0.5",
        ),
        ("container4", "www.example.org", "198.51.100.7"),
        (
            "container4",
            "containers.test NS",
            "ns.dns.containers.test.",
        ),
    ] {
        assert_eq!(dig(&world, from, arguments), expected, "{from} {arguments}");
    }
    for (from, arguments, expected) in [
        (
            "",
            "@10.201.0.1 container5.containers.test AAAA",
            "NOERROR 0 SOA aa",
        ),
        (
            "",
            "@10.201.0.1 nobody.containers.test",
            "NXDOMAIN 0 SOA aa",
        ),
        ("", "@10.201.0.1 -x 10.201.0.99", "NXDOMAIN 0 SOA aa"),
        ("container4", "nobody", "NXDOMAIN 0 aa"),
        ("container4", "-x 192.0.2.1", "NOERROR 0"),
    ] {
        assert_eq!(
            status(&world, from, arguments),
            expected,
            "{from} {arguments}"
        );
    }
    world.sh("ip netns exec container4 getent hosts nobody; ip netns exec container4 ping -c1 -W1 nobody");
    let asked = world.ok("cat /run/work/asked");
    assert!(
        asked.contains("www.example.org") && !asked.contains("nobody") && !asked.contains("test"),
        "only names of others are asked upstream: {asked}"
    );
    let getent = world.lab(&["exec", "container4", "--", "getent", "hosts", "container5"]);
    assert_eq!(
        getent.out.split_whitespace().collect::<Vec<_>>(),
        ["10.201.0.5", "container5.containers.test"]
    );
    let plan = world.lab(&["status", file]);
    assert!(plan.out.contains("DNS 10.201.0.1 answers"), "{plan:?}");
    assert_eq!(world.lab(&["down", file]).code, 0);
    // The server lets go of what it listened on.
    let gone = world.sh("for i in $(seq 100); do ss -Hlnu | grep -q 10.201.0.1 || exit 0; sleep 0.02; done; ss -lnu; exit 1");
    assert_eq!(gone.code, 0, "{gone:?}\n{}", log(&world));
}

#[test]
fn names_change_while_the_server_runs() {
    let world = World::new();
    if !serve(&world, COREFILE) {
        return;
    }
    let text = |hosts: usize| {
        let mut out = String::from("[net.br0]\nsubnet = \"10.201.0.0/24\"\n[ns]\n");
        for host in 1..=hosts {
            out.push_str(&format!("h{host} = \"br0 10.201.0.{}\"\n", host + 10));
        }
        out
    };
    for hosts in [1, 2, 3, 2, 4] {
        let file = world.file("grow", &text(hosts));
        applied(&world.lab(&["apply", file.to_str().expect("plain")]));
        let newest = dig(&world, "h1", &format!("h{hosts}.grow.test"));
        assert_eq!(newest, format!("10.201.0.{}", hosts + 10));
        let next = status(&world, "h1", &format!("h{}.grow.test", hosts + 1));
        assert_eq!(next, "NXDOMAIN 0 SOA aa");
    }
    // Another lab, on another bridge, while the first is up.
    let other = world.file(
        "other",
        "[net.br9]\nsubnet = \"10.209.0.0/24\"\n[ns]\nx1 = \"br9\"\nx2 = \"br9\"\n",
    );
    applied(&world.lab(&["apply", other.to_str().expect("plain")]));
    assert!(world.pings("x1", "x2") && world.pings("h1", "h2"));
    // What cannot be read keeps the names from before, and says where.
    world.ok("cd /run/nameplate/lab/grow && printf '{\\n \"v\": 1,\\n \"domain\": 7' > .bad && mv .bad names.json
        for i in $(seq 100); do grep -q 'names.json:3:' /run/work/log && exit 0; sleep 0.02; done; cat /run/work/log; exit 1");
    assert!(world.pings("h1", "h2"));
    assert_eq!(world.lab(&["down", "grow"]).code, 0);
    assert!(world.pings("x1", "x2"));
}

#[test]
fn a_host_on_two_networks_is_answered_by_the_askers() {
    let world = World::new();
    if !serve(&world, COREFILE) {
        return;
    }
    let file = world.file(
        "two",
        r#"
[net.left]
subnet = ["10.1.0.0/24", "fd00:1::/64"]
[net.right]
subnet = "10.2.0.0/24"
[net.vault]
subnet = "10.3.0.0/24"
internal = true
[link]
a-b = "192.168.9.0/30"
[ns]
a = "left 10.1.0.10 fd00:1::10"
b = "right 10.2.0.10"
mid = { nets = "left 10.1.0.5 fd00:1::5, right 10.2.0.5", router = true, alias = ["www", "*.apps"] }
safe = "vault 10.3.0.10"
[record]
orders = "CNAME www"
mail = ["MX 10 mid", "TXT \"v=spf1 -all\""]
out = "CNAME www.example.org."
"*.wild" = "A 192.0.2.9"
"#,
    );
    applied(&world.lab(&["apply", file.to_str().expect("plain")]));
    for (from, arguments, expected) in [
        ("a", "mid.two.test", "10.1.0.5"),
        ("b", "mid.two.test", "10.2.0.5"),
        ("a", "mid.two.test AAAA", "fd00:1::5"),
        ("a", "www.two.test", "mid.two.test. 10.1.0.5"),
        (
            "b",
            "orders.two.test",
            "www.two.test. mid.two.test. 10.2.0.5",
        ),
        ("b", "x.apps.two.test", "mid.two.test. 10.2.0.5"),
        ("a", "mid.right.two.test", "10.2.0.5"),
        ("a", "www.left.two.test", "mid.left.two.test. 10.1.0.5"),
        ("a", "mail.two.test MX", "10 mid.two.test."),
        ("a", "mail.two.test TXT", "\"v=spf1 -all\""),
        ("a", "any.wild.two.test", "192.0.2.9"),
        ("a", "out.two.test", "www.example.org. 198.51.100.7"),
        ("a", "-x fd00:1::5", "mid.two.test."),
        ("a", "-x 192.168.9.1", "a.two.test."),
        ("safe", "safe.two.test", "10.3.0.10"),
    ] {
        assert_eq!(
            dig(&world, from, arguments),
            expected,
            "{from} {arguments}\n{}",
            log(&world)
        );
    }
    // Who is on neither network gets both addresses.
    let mut both: Vec<String> = dig(&world, "safe", "mid.two.test")
        .split(' ')
        .map(str::to_owned)
        .collect();
    both.sort();
    assert_eq!(both, ["10.1.0.5", "10.2.0.5"]);
    // An internal network has no way out, not even for names.
    assert_eq!(status(&world, "safe", "www.example.org"), "REFUSED 0");
    // Of the /30 four names are the lab's; its neighbours are asked upstream.
    assert_eq!(status(&world, "a", "-x 192.168.9.3"), "NXDOMAIN 0 SOA aa");
    assert_eq!(status(&world, "a", "-x 192.168.9.4"), "NOERROR 0");
}

#[test]
fn names_are_as_they_are_written() {
    let world = World::new();
    if !serve(&world, COREFILE) {
        return;
    }
    let file = world.file(
        "odd",
        "[net.br0]\nsubnet = \"10.201.0.0/24\"\n[ns]\nmy_app = \"br0 10.201.0.2\"\n\"a.b\" = \"br0 10.201.0.3\"\na-b = \"br0 10.201.0.4\"\ngw = \"br0 10.201.0.5\"\n",
    );
    applied(&world.lab(&["apply", file.to_str().expect("plain")]));
    for (from, arguments, expected) in [
        ("my_app", "my_app +search", "10.201.0.2"),
        ("a-b", "my_app.odd.test", "10.201.0.2"),
        ("a-b", "my-app.odd.test", "my_app.odd.test. 10.201.0.2"),
        ("a-b", "my_app.br0.odd.test", "10.201.0.2"),
        ("a-b", "-x 10.201.0.2", "my_app.odd.test."),
        ("a-b", "a.b.odd.test", "10.201.0.3"),
        ("a.b", "a-b.odd.test", "10.201.0.4"),
        ("a-b", "gw.odd.test", "10.201.0.5"),
        ("a-b", "gw.br0.odd.test", "10.201.0.1"),
    ] {
        assert_eq!(dig(&world, from, arguments), expected, "{from} {arguments}");
    }
    for name in ["my_app", "my-app", "a.b.odd.test", "a-b"] {
        assert!(world.pings("gw", name), "{name}");
    }
    let looked_up = world.ok("ip netns exec a-b nslookup my_app 2>&1; true");
    assert!(
        !looked_up.contains("recursion not available"),
        "{looked_up}"
    );
}

#[test]
fn forwards_and_services_have_srv_records() {
    let world = World::new();
    if !serve(&world, COREFILE) {
        return;
    }
    let file = world.file(
        "srv",
        "[net.br0]\nsubnet = \"10.201.0.0/24\"\nforward = [\"8080:web:80\"]\n[ns]\nweb = \"br0 10.201.0.2\"\ndb1 = \"br0 10.201.0.3\"\ndb2 = \"br0 10.201.0.4\"\n[service.db]\nvip = \"10.96.0.10:3306\"\nto = [\"db1\", \"db2\"]\n",
    );
    applied(&world.lab(&["apply", file.to_str().expect("plain")]));
    for (arguments, expected) in [
        ("_http._tcp.web.srv.test SRV", "0 0 80 web.srv.test."),
        ("_80._tcp.web.srv.test SRV", "0 0 80 web.srv.test."),
        ("_mysql._tcp.db.srv.test SRV", "0 0 3306 db.srv.test."),
        ("db.srv.test", "10.96.0.10"),
    ] {
        assert_eq!(dig(&world, "web", arguments), expected, "{arguments}");
    }
}

#[test]
fn run_brings_a_server_of_its_own() {
    let world = World::new();
    if nameplate().is_none() {
        return;
    }
    let file = lab_file("containers");
    let did = world.lab(&[
        "run",
        file.to_str().expect("plain"),
        "--",
        "sh",
        "-c",
        "ip netns exec container4 ping -c1 -W1 container5 && dig +short @10.201.0.1 container4.containers.test",
    ]);
    assert_eq!(did.code, 0, "{did:?}");
    assert!(
        did.out.contains("1 received") && did.out.ends_with("10.201.0.4\n"),
        "{did:?}"
    );
    let left = world.ok("ss -Hlnu; ls -A /run/nameplate/lab");
    assert_eq!(left, ".lock\n");
}

#[test]
fn without_a_server_apply_says_so_and_does_not_wait() {
    let world = World::new();
    let file = lab_file("containers");
    let begun = std::time::Instant::now();
    let did = world.lab(&["apply", file.to_str().expect("plain")]);
    assert_eq!(did.code, 0, "{did:?}");
    assert!(did.err.contains("no DNS server"), "{did:?}");
    assert!(begun.elapsed().as_secs() < 2);
}

/// Types every command of a page, with its lab in `lab.toml`; what they printed.
fn typed(page: &str) -> Option<String> {
    let world = World::new();
    let program = nameplate()?;
    world.write("/run/work/lab.toml".as_ref(), &blocks(page, "toml")[0]);
    world.write("/run/work/Corefile.lab".as_ref(), &text("Corefile.lab"));
    let programs = program.parent().expect("a directory").display().to_string();
    let mut out = String::new();
    for block in blocks(page, "sh") {
        for line in block.lines().filter(|line| !line.starts_with("cargo ")) {
            let line = line
                .replace("sudo ", "")
                .replace("target/release", &programs);
            let line = format!("export PATH={programs}:$PATH; cd /run/work; {line}");
            if line.contains("-conf") {
                let line = line.split('#').next().unwrap_or_default();
                let line = line.replace("work; ", "work; echo started; exec ");
                world.background(&format!("{line} >/dev/null"));
                // What is typed next comes a moment later.
                world.ok("for i in $(seq 200); do [ -d /run/nameplate/lab ] && exit 0; sleep 0.02; done; exit 1");
                continue;
            }
            let did = world.sh(&line);
            let fine = if line.contains("lab plan") { 2 } else { 0 };
            assert_eq!(did.code, fine, "{line}: {did:?}");
            out.push_str(&did.out);
        }
    }
    Some(out)
}

#[test]
fn the_readmes_work_as_typed() {
    let readme = text("README.md");
    let section = readme.split("\n## Labs\n").nth(1).expect("a section");
    let section = section.split("\n## ").next().expect("its text");
    let Some(out) = typed(section) else { return };
    for expected in [
        "1 received",
        "container5.lab.test.\t5\tIN\tA\t10.201.0.5",
        "5.0.201.10.in-addr.arpa. 5\tIN\tPTR\tcontainer5.lab.test.",
        "lab lab removed",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    let manual = text("src/lab/README.md");
    let Some(out) = typed(&manual) else {
        return;
    };
    let status = manual.split("`status` prints:\n").nth(1).expect("a status");
    assert!(out.contains(&blocks(status, "text")[0]), "{out}");
    for expected in [
        "ip netns add container4",
        "1 received",
        "container5.lab.test.\t5\tIN\tA\t10.201.0.5",
        "10.201.0.5      container5.lab.test",
        "lab lab (lab.test): as declared",
        "DNS 10.201.0.1 answers",
        "everything that should be reachable is reachable",
        "├─  container4  eth0  10.201.0.4",
        "lab lab removed",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
}

#[test]
fn a_server_that_comes_later_or_again_knows_the_lab() {
    let world = World::new();
    let Some(program) = nameplate() else { return };
    let file = lab_file("six");
    let file = file.to_str().expect("a plain path");
    let did = world.lab(&["apply", file]);
    assert!(
        did.code == 0 && did.err.contains("no DNS server"),
        "{did:?}"
    );
    assert!(serve(&world, COREFILE));
    assert!(world.pings("other", "web"), "{}", log(&world));
    assert_eq!(dig(&world, "", "@fd00:6::1 web.six.test AAAA"), "fd00:6::2");
    assert_eq!(dig(&world, "other", "-x fd00:6::2"), "web.six.test.");
    assert_eq!(dig(&world, "other", "web AAAA"), "web.six.test. fd00:6::2");
    // Killed without a chance to say so; the lock ends with it.
    world.ok("kill -9 $(ss -Hlnup 'sport = :53' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u | head -n1)
        for i in $(seq 100); do ss -Hlnu | grep -q 'fd00:6::1' || exit 0; sleep 0.02; done; exit 1");
    let did = world.lab(&["apply", file]);
    assert!(
        did.code == 0 && did.err.contains("no DNS server"),
        "{did:?}"
    );
    world.background(&format!(
        "cd /run/work; echo started; exec {} -conf Corefile >/run/work/again 2>&1",
        program.display()
    ));
    world.ok("for i in $(seq 200); do grep -q '^nameplate-' /run/work/again && exit 0; sleep 0.02; done; exit 1");
    applied(&world.lab(&["apply", file]));
    assert!(world.pings("web", "other"));
}

#[test]
fn without_root_names_resolve_too() {
    if nameplate().is_none() {
        return;
    }
    let world = World::new();
    let file = lab_file("containers");
    let file = std::fs::read_to_string(file)
        .expect("it")
        .replace("nat = true\n", "");
    let path = world.file("mine", &file);
    let did = world.lab(&[
        "run",
        "--rootless",
        path.to_str().expect("plain"),
        "--",
        "sh",
        "-c",
        "ip netns exec container4 ping -n -c1 -W1 container5 && ip netns exec container5 getent hosts container4.mine.test",
    ]);
    assert_eq!(did.code, 0, "{did:?}");
    assert!(
        did.out.contains("1 received") && did.out.contains("10.201.0.4"),
        "{did:?}"
    );
}

/// Programs and a lab where anybody may look, and the words before a command that nobody privileged runs.
fn for_nobody() -> Option<(PathBuf, Vec<&'static str>)> {
    let program = nameplate()?;
    let directory = std::env::temp_dir().join(format!("nameplate-nobody-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let copies = [
        (program, "nameplate"),
        (env!("CARGO_BIN_EXE_nameplate-lab").into(), "nameplate-lab"),
        (lab_file("docker-both"), "lab.toml"),
    ];
    for (from, to) in copies {
        std::fs::copy(from, directory.join(to)).expect("copied");
    }
    let words = if lab::sys::effective_user() == 0 {
        vec![
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ]
    } else {
        vec!["env"]
    };
    Some((directory, words))
}

#[test]
fn an_ordinary_user_has_a_lab_with_names_and_a_way_in() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let Some((directory, words)) = for_nobody() else {
        return;
    };
    let command = || {
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .current_dir(&directory)
            .stdin(Stdio::null());
        command
    };
    let script = "ip netns exec web ping -n -c1 -W1 db && ip netns exec db getent ahostsv6 web
        ./nameplate-lab status && dig +tries=1 +time=2 @172.17.0.1 www.example.org | grep -o 'status: [A-Z]*'
        ./nameplate-lab exec db -- cat /etc/resolv.conf";
    let output = command()
        .args([
            "./nameplate-lab",
            "run",
            "--rootless",
            "--",
            "sh",
            "-c",
            script,
        ])
        .output()
        .expect("setpriv(1) of util-linux");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    for part in [
        "1 received",
        "fd00:17::3",
        "DNS 172.17.0.1 answers",
        "status: SERVFAIL",
        "nameserver 172.17.0.1",
    ] {
        assert!(out.contains(part), "{part}: {out}\n{err}");
    }
    assert!(
        err.contains("nothing outside can be reached") && !err.contains("warning["),
        "{err}"
    );
    // Up until Ctrl-C, with a way in.
    let mut lab = command()
        .args(["./nameplate-lab", "run", "--rootless"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("setpriv(1) of util-linux");
    let lines = BufReader::new(lab.stderr.take().expect("piped")).lines();
    let way = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.strip_prefix("in another terminal: ")?.to_owned()));
    let way = way.expect("a way in");
    let inside = command()
        .args([
            "sh",
            "-c",
            &format!("{way} -c 'ip netns exec web ping -n -c1 -W1 db'"),
        ])
        .output()
        .expect("sh");
    assert!(
        String::from_utf8_lossy(&inside.stdout).contains("1 received"),
        "{way}: {inside:?}"
    );
    let ended = Command::new("kill")
        .args(["-INT", &lab.id().to_string()])
        .status();
    assert!(ended.expect("kill(1)").success());
    assert!(lab.wait().expect("it ends").success());
    let _ = std::fs::remove_dir_all(directory);
}

#[test]
fn a_server_at_an_address_of_its_own_is_asked_there() {
    let world = World::new();
    world.outside();
    let corefile = ". {\n  bind 203.0.113.1\n  lab\n  forward . 127.0.0.1:5300\n}\n";
    if !serve(&world, corefile) {
        return;
    }
    let file = world.file(
        "apart",
        "[lab]\ndns = \"203.0.113.1\"\n[net.br0]\nsubnet = \"10.201.0.0/24\"\n[ns]\na = \"br0\"\nb = \"br0 10.201.0.5\"\nc = \"none\"\nd = \"none\"\n[link]\nc-d = \"192.168.9.0/30\"\n",
    );
    applied(&world.lab(&["apply", file.to_str().expect("plain")]));
    assert!(
        world.pings("a", "b") && world.pings("b", "a.apart.test"),
        "{}",
        log(&world)
    );
    assert_eq!(dig(&world, "a", "b.apart.test"), "10.201.0.5");
    assert_eq!(dig(&world, "a", "www.example.org"), "198.51.100.7");
    // Who has no way there has the names in a file.
    assert!(world.pings("c", "d"));
    assert_eq!(world.sh("grep nameserver /etc/netns/c/resolv.conf").out, "");
    // Apply may ask for the version before the server has read of the lab, and this server hands on what it does not know.
    let asked = world.ok("grep -v '^_version[.]' /run/work/asked");
    assert!(!asked.contains("test"), "{asked}");
}
