//! `xdp` on veth pairs between namespaces that each test makes: root and CAP_BPF are needed, and the tests are skipped loudly without.
//!
//! ```text
//! client ── far0 ═══ lan0 ── server ── wan0 ═══ out0 ── beyond        lan0 has the filter; wan0 has sockets alone
//!        192.0.2.1  192.0.2.53    198.51.100.53  198.51.100.1
//! ```
//!
//! What runs in a namespace is this test binary again, by [`client::in_a_namespace`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::server::{skip, temporary_directory, tool, wait_until};

mod client;

/// The addresses of the server at the interface with the filter, and at the other.
const FRAMES: &str = "192.0.2.53";
const FRAMES_6: &str = "2001:db8::53";
const SOCKETS: &str = "198.51.100.53";
/// A machine behind the server.
const BEYOND: &str = "198.51.100.1";

/// CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN and CAP_BPF.
const NEEDED: [u32; 4] = [12, 13, 21, 39];

/// The Corefile of most tests; `{OPTIONS}` is what stands in the block of `xdp`.
const COREFILE: &str = "example.org:53 {
    bufsize 4096
    prometheus 127.0.0.1:9153
    xdp lan0 {
        {OPTIONS}
    }
    hosts names {
        192.0.2.80 www.example.org
        2001:db8::80 www.example.org
        192.0.2.81 mail.example.org
    }
}
waits.example:53 {
    bufsize 4096
    forward . 198.51.100.1
}
whoami.example:53 {
    whoami
}
plain.example:53 {
    file plain.zone
}
";

/// Three namespaces with two pairs between them; gone when dropped.
struct Rig {
    dir: PathBuf,
    prefix: String,
}

impl Rig {
    /// Makes the namespaces, unless that cannot be had here.
    fn new(test: &str) -> Option<Self> {
        for program in ["ip", "dig", "curl"] {
            tool(program)?;
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        let mask = mask.unwrap_or(0);
        if NEEDED.iter().any(|number| mask >> number & 1 == 0) {
            skip(
                "xdp wants CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN: run the tests as root",
            );
            return None;
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let rig = Self {
            dir: temporary_directory(&format!("xdp-{test}")),
            prefix: format!("npx{}-{number}", std::process::id()),
        };
        for role in ["s", "c", "b"] {
            let namespace = rig.namespace(role);
            let made = Command::new("ip")
                .args(["netns", "add", &namespace])
                .status();
            if !made.is_ok_and(|status| status.success()) {
                skip("network namespaces cannot be made here (ip netns add)");
                return None;
            }
            rig.ip(role, "link set lo up");
        }
        rig.wire("s lan0 c far0");
        rig.wire("s wan0 b out0");
        for (role, link, addresses) in [
            ("s", "lan0", ["192.0.2.53/24", "2001:db8::53/64"]),
            ("c", "far0", ["192.0.2.1/24", "2001:db8::1/64"]),
            ("s", "wan0", ["198.51.100.53/24", "2001:db8:1::53/64"]),
            ("b", "out0", ["198.51.100.1/24", "2001:db8:1::1/64"]),
        ] {
            for address in addresses {
                let nodad = if address.contains("::") { "nodad" } else { "" };
                rig.ip(role, &format!("addr add {address} dev {link} {nodad}"));
            }
            rig.ip(role, &format!("link set {link} up"));
        }
        rig.ip("c", "route add 198.51.100.0/24 via 192.0.2.53");
        rig.ip("b", "route add 192.0.2.0/24 via 198.51.100.53");
        rig.run("s", &["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
        fs::write(rig.dir.join("names"), names()).expect("written");
        let zone = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zones/plain.zone");
        fs::copy(zone, rig.dir.join("plain.zone")).expect("copied");
        Some(rig)
    }

    fn namespace(&self, role: &str) -> String {
        format!("{}{role}", self.prefix)
    }

    /// A pair of two queues: `ROLE LINK ROLE LINK`.
    fn wire(&self, ends: &str) {
        let ends: Vec<_> = ends.split(' ').collect();
        let peer = self.namespace(ends[2]);
        let (here, there) = (ends[1], ends[3]);
        self.ip(
            ends[0],
            &format!(
                "link add {here} numrxqueues 2 numtxqueues 2 type veth \
                 peer name {there} numrxqueues 2 numtxqueues 2 netns {peer}"
            ),
        );
    }

    /// Runs `ip` in a namespace.
    fn ip(&self, role: &str, arguments: &str) {
        let out = Command::new("ip")
            .args(["-n", &self.namespace(role)])
            .args(arguments.split_whitespace())
            .output()
            .expect("ip runs");
        assert!(out.status.success(), "ip {arguments}: {}", text(&out));
    }

    /// A command in a namespace.
    fn command(&self, role: &str, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace(role)])
            .arg(program.as_ref())
            .current_dir(&self.dir);
        command
    }

    /// Runs a program in a namespace; what it wrote.
    fn run(&self, role: &str, words: &[&str]) -> String {
        let mut command = self.command(role, words[0]);
        text(&command.args(&words[1..]).output().expect("it runs"))
    }

    /// A server at work in the server's namespace. `words` come before the binary: `setpriv ...`.
    fn serve(&self, corefile: &str, words: &[&str]) -> Serving {
        self.serve_in("s", "Corefile", corefile, words)
    }

    fn serve_in(&self, role: &str, file: &str, corefile: &str, words: &[&str]) -> Serving {
        fs::write(self.dir.join(file), corefile).expect("written");
        let log = self.dir.join(format!("{file}.log"));
        let out = fs::File::create(&log).expect("a log");
        let binary = env!("CARGO_BIN_EXE_nameplate");
        let (first, rest) = words.split_first().unwrap_or((&binary, &[]));
        let mut command = self.command(role, first);
        command.args(rest);
        if !words.is_empty() {
            command.arg(binary);
        }
        let child = command
            .args(["-conf", file])
            .stdin(Stdio::null())
            .stderr(out.try_clone().expect("a log"))
            .stdout(out)
            .spawn()
            .expect("the binary starts");
        let serving = Serving { child, log };
        serving.wait_for("order coredns");
        serving
    }

    /// The server with those options of `xdp`.
    fn serve_with(&self, options: &str) -> Serving {
        let serving = self.serve(&COREFILE.replace("{OPTIONS}", options), &[]);
        serving.wait_for("lan0: attached");
        serving
    }

    /// Asks from the client's namespace.
    fn dig(&self, server: &str, arguments: &str) -> String {
        let server = format!("@{server}");
        let mut words = vec!["dig", "+time=2", "+tries=3", &server];
        words.extend(arguments.split_whitespace());
        self.run("c", &words)
    }

    /// A counter of the server, over all queues.
    fn count(&self, name: &str) -> u64 {
        let page = self.run("s", &["curl", "-s", "http://127.0.0.1:9153/metrics"]);
        let lines = page.lines().filter(|line| line.starts_with(name));
        lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum::<f64>() as u64
    }

    /// Whether the interface has a program.
    fn has_program(&self) -> bool {
        self.run("s", &["ip", "link", "show", "lan0"])
            .contains("xdp")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for role in ["s", "c", "b"] {
            let _ = Command::new("ip")
                .args(["netns", "del", &self.namespace(role)])
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// A server in a namespace; killed when dropped.
struct Serving {
    child: Child,
    log: PathBuf,
}

impl Serving {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn wait_for(&self, text: &str) {
        wait_until(&format!("{text:?} in the log:\n{}", self.log()), || {
            self.log().contains(text)
        });
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// How often `text` stands in the log.
    fn times(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// A hosts file with one name of a hundred addresses: its answer is longer than an Ethernet frame.
fn names() -> String {
    let mut out = String::new();
    for number in 0..100 {
        out += &format!("203.0.113.{number} many.example.org\n");
    }
    out
}

/// The capabilities of each thread of a process.
fn capabilities(process: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("threads");
    threads
        .flatten()
        .filter_map(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let mask = status
                .lines()
                .find_map(|line| line.strip_prefix("CapPrm:"))?;
            Some(mask.trim().to_owned())
        })
        .collect()
}

#[test]
fn queries_are_answered_in_frames_and_capabilities_are_given_up() {
    for options in ["mode native", "mode generic", "queues 1", "ring 64"] {
        let Some(rig) = Rig::new("answers") else {
            return;
        };
        let mut serving = rig.serve_with(options);
        assert!(rig.has_program());
        for server in [FRAMES, FRAMES_6] {
            for (kind, expected) in [("A", "192.0.2.80"), ("AAAA", "2001:db8::80")] {
                let said = rig.dig(server, &format!("www.example.org {kind} +short"));
                assert_eq!(said.trim(), expected, "{options}, {server}");
            }
            let said = rig.dig(server, "mail.example.org AAAA");
            assert!(
                said.contains("status: NOERROR") && said.contains("ANSWER: 0"),
                "{said}"
            );
        }
        // A flow of one queue may go through the kernel.
        if options != "queues 1" {
            assert_eq!(rig.count("nameplate_xdp_queries_total"), 6, "{options}");
            assert_eq!(rig.count("nameplate_xdp_responses_total"), 6, "{options}");
            assert_eq!(rig.count("nameplate_xdp_attached"), 2, "{options}");
        }
        let told = rig.run("s", &[env!("CARGO_BIN_EXE_nameplate"), "doctor"]);
        assert!(told.contains("lan0 has a program"), "{told}");
        assert_eq!(rig.count("nameplate_xdp_malformed_total"), 0);
        assert_eq!(rig.count("nameplate_xdp_tx_invalid_total"), 0);
        serving.wait_for("were given up");
        for mask in capabilities(serving.child.id()) {
            let mask = u64::from_str_radix(&mask, 16).expect("a mask");
            assert_eq!(mask & !(1 << 10), 0, "only CAP_NET_BIND_SERVICE is kept");
        }
        // However the process ends, the filter goes with it.
        serving.child.kill().expect("killed");
        serving.child.wait().expect("it ends");
        wait_until("the filter is gone", || !rig.has_program());
    }
}

#[test]
fn what_waits_and_what_is_long_leaves_by_the_socket() {
    let Some(rig) = Rig::new("waits") else {
        return;
    };
    let _beyond = rig.serve_in(
        "b",
        "Beyond",
        ".:53 {\n hosts {\n 192.0.2.99 slow.waits.example\n }\n}\n",
        &[],
    );
    let serving = rig.serve_with("mode native");
    for server in [FRAMES, FRAMES_6] {
        let said = rig.dig(server, "slow.waits.example A +short");
        assert_eq!(said.trim(), "192.0.2.99", "{}", serving.log());
        let said = rig.dig(server, "many.example.org A +bufsize=4096 +short +ignore");
        assert_eq!(said.lines().count(), 100, "{said}");
        let said = rig.dig(server, "many.example.org A +bufsize=1232 +ignore");
        assert!(said.contains(" tc"), "{said}");
    }
    assert_eq!(rig.count("nameplate_xdp_queries_total"), 6);
    // Those that were cut left in their frames.
    assert_eq!(rig.count("nameplate_xdp_responses_total"), 2);
}

#[test]
fn other_traffic_is_not_touched() {
    let Some(rig) = Rig::new("others") else {
        return;
    };
    let beyond = ".:53 .:5353 {\n hosts {\n 192.0.2.98 www.example.org\n }\n}\n";
    let _beyond = rig.serve_in("b", "Beyond", beyond, &[]);
    let serving = rig.serve_with("mode native");
    let _other = rig.serve_in(
        "s",
        "Other",
        ".:5353 {\n hosts {\n 192.0.2.97 www.example.org\n }\n}\n",
        &[],
    );
    // DNS that passes through goes on to whom it is for.
    let said = rig.dig(BEYOND, "www.example.org A +short");
    assert_eq!(said.trim(), "192.0.2.98");
    // Another port of this machine is another program's.
    let said = rig.dig(FRAMES, "-p 5353 www.example.org A +short");
    assert_eq!(said.trim(), "192.0.2.97");
    assert_eq!(rig.count("nameplate_xdp_queries_total"), 0);
    // The server's other address, and TCP.
    let said = rig.dig(FRAMES, "+tcp www.example.org A +short");
    assert_eq!(said.trim(), "192.0.2.80");
    assert_eq!(rig.count("nameplate_xdp_queries_total"), 0);
    let said = rig.dig(SOCKETS, "www.example.org A +short");
    assert_eq!(said.trim(), "192.0.2.80");
    assert_eq!(
        rig.count("nameplate_xdp_queries_total"),
        1,
        "it came by lan0"
    );
    // A sender that cannot be: one of the server's own addresses.
    rig.ip("c", "addr add 198.51.100.53/32 dev far0");
    let before = rig.count("nameplate_xdp_responses_total");
    let said = rig.dig(
        FRAMES,
        "-b 198.51.100.53 +time=1 +tries=1 www.example.org A",
    );
    assert!(said.contains("no servers could be reached"), "{said}");
    assert_eq!(rig.count("nameplate_xdp_malformed_total"), 1);
    assert_eq!(rig.count("nameplate_xdp_responses_total"), before);
    rig.ip("c", "addr del 198.51.100.53/32 dev far0");
    // Fragments, IPv4 options, a checksum that is missing, one that is wrong.
    let said = client::run(&rig, "oddities", &[FRAMES, FRAMES_6]);
    assert!(said.contains("oddities: as expected"), "{said}");
    let ping = rig.run("c", &["ping", "-c1", "-W5", FRAMES]);
    assert!(
        ping.contains(" 0% packet loss") || !ping.contains("packets"),
        "{ping}"
    );
    assert!(!serving.log().contains("panic"), "{}", serving.log());
}

#[test]
fn both_ways_give_the_same_octets() {
    let Some(rig) = Rig::new("same") else {
        return;
    };
    let serving = rig.serve_with("mode native");
    rig.ip("c", "route add 2001:db8:1::/64 via 2001:db8::53");
    // The filter is told of both addresses, so the other way is one port on.
    let sockets = COREFILE
        .replace(":53 {", ":5300 {")
        .replace("    xdp lan0 {\n        {OPTIONS}\n    }\n", "");
    let sockets = sockets.replace("127.0.0.1:9153", "127.0.0.1:9154");
    let _other = rig.serve_in("s", "Other", &sockets, &[]);
    // As many as the environment says; the judged count was run by hand.
    let count = std::env::var("NAMEPLATE_MUTATED").unwrap_or_else(|_| "4000".to_owned());
    let said = client::run(&rig, "compare", &[&count, FRAMES, FRAMES_6]);
    assert!(
        said.contains("compare: the same"),
        "{said}\n{}",
        serving.log()
    );
    println!("{said}");
    assert!(rig.count("nameplate_xdp_queries_total") > 1_000);
}

#[test]
fn route_check_takes_what_goes_back_the_same_way() {
    let Some(rig) = Rig::new("routes") else {
        return;
    };
    let _serving = rig.serve_with("route_check");
    let taken = |server: &str, arguments: &str| {
        let before = rig.count("nameplate_xdp_queries_total");
        let said = rig.dig(server, &format!("{arguments} www.example.org A +short"));
        let after = rig.count("nameplate_xdp_queries_total");
        (said.trim() == "192.0.2.80", after > before)
    };
    assert_eq!(taken(FRAMES, ""), (true, true));
    // IPv6 is not forwarded here, so the filter cannot ask for its routes.
    assert_eq!(taken(FRAMES_6, ""), (true, false));
    rig.run("s", &["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"]);
    assert_eq!(taken(FRAMES_6, ""), (true, true));
    // A sender whose responses leave by the other interface.
    rig.ip("c", "addr add 198.51.100.77/32 dev far0");
    assert_eq!(
        taken(FRAMES, "-b 198.51.100.77 +time=1 +tries=1"),
        (false, false)
    );
}

#[test]
fn reloads_addresses_and_links_lose_nothing() {
    let Some(rig) = Rig::new("moves") else {
        return;
    };
    let serving = rig.serve_with("mode native");
    let load = client::start(&rig, "load", &[FRAMES]);
    for round in 1..=100 {
        let serial = format!(
            "# {round}\n{}",
            COREFILE.replace("{OPTIONS}", "mode native")
        );
        fs::write(rig.dir.join("Corefile"), serial).expect("written");
        serving.signal("USR1");
        wait_until("the reload", || {
            serving.times("Reloading complete") == round
        });
    }
    // Other options take a restart, and what is attached stays.
    let other = COREFILE.replace("{OPTIONS}", "mode generic");
    fs::write(rig.dir.join("Corefile"), other).expect("written");
    serving.signal("USR1");
    wait_until("the reload of other options", || {
        serving.times("Reloading complete") == 101
    });
    assert_eq!(serving.times("lan0: attached as before"), 1);
    // An address that comes is taken, and one that goes is not answered for.
    rig.ip("s", "addr add 192.0.2.54/24 dev lan0");
    wait_until("the new address is taken", || {
        let before = rig.count("nameplate_xdp_queries_total{");
        let said = rig.dig("192.0.2.54", "mail.example.org A +short");
        assert_eq!(said.trim(), "192.0.2.81");
        // The load goes on beside it, so the address has a link of its own to tell by.
        rig.count("nameplate_xdp_queries_total{") > before
    });
    rig.ip("s", "addr del 192.0.2.54/24 dev lan0");
    let lost = load.finish();
    assert!(lost.contains("load: 0 lost"), "{lost}\n{}", serving.log());
    wait_until("the old address is let go", || {
        rig.run(
            "c",
            &[
                "dig",
                "+time=1",
                "+tries=1",
                "@192.0.2.54",
                "mail.example.org",
            ],
        )
        .contains("no servers could be reached")
    });
    assert_eq!(
        serving.times("lan0: attached,"),
        1,
        "reloads leave it alone"
    );
    // Down and up again.
    rig.ip("s", "link set lan0 down");
    rig.ip("s", "link set lan0 up");
    let before = rig.count("nameplate_xdp_responses_total");
    wait_until("answers after the link was down", || {
        rig.dig(FRAMES, "www.example.org A +short").trim() == "192.0.2.80"
    });
    assert!(rig.count("nameplate_xdp_responses_total") > before);
    // Without `xdp` the filter goes, and sockets answer; a link that is gone leaves nothing behind.
    let without = COREFILE.replace("{OPTIONS}", "mode off");
    fs::write(rig.dir.join("Corefile"), without).expect("written");
    serving.signal("USR1");
    serving.wait_for("lan0: let go");
    assert!(!rig.has_program());
    let said = rig.dig(FRAMES, "www.example.org A +short");
    assert_eq!(said.trim(), "192.0.2.80");
}

#[test]
fn a_server_that_was_killed_starts_again_and_a_second_one_is_told() {
    let Some(rig) = Rig::new("again") else {
        return;
    };
    let mut serving = rig.serve_with("mode native");
    // Another server, on another port of the same interface.
    let second = ".:5353 {\n xdp lan0\n whoami\n}\n";
    let other = rig.serve_in("s", "Second", second, &[]);
    other.wait_for("lan0: not attached: ");
    let log = other.log();
    assert!(log.contains("another server"), "{log}");
    assert!(log.contains("queries are answered by sockets"), "{log}");
    assert_eq!(other.times("not attached"), 1, "{log}");
    let said = rig.dig(FRAMES, "-p 5353 whoami.example A");
    assert!(said.contains("status: NOERROR"), "{said}");
    drop(other);
    for _ in 0..3 {
        serving.child.kill().expect("killed");
        serving.child.wait().expect("it ends");
        serving = rig.serve_with("mode native");
        let said = rig.dig(FRAMES, "www.example.org A +short");
        assert_eq!(said.trim(), "192.0.2.80");
        assert_eq!(rig.count("nameplate_xdp_responses_total"), 1);
    }
    // The order in which it ends: the filter first, then what is queued, then the sockets.
    serving.signal("TERM");
    assert!(serving.child.wait().expect("it ends").success());
    assert!(!rig.has_program());
}

#[test]
fn what_is_missing_is_named_and_sockets_answer() {
    let Some(rig) = Rig::new("missing") else {
        return;
    };
    if tool("setpriv").is_none() || tool("prlimit").is_none() {
        return;
    }
    let corefile = COREFILE.replace("{OPTIONS}", "mode native");
    let nowhere = corefile.replace("xdp lan0", "xdp lan7");
    rig.ip("s", "link add bridge0 type bridge");
    rig.ip("s", "link set bridge0 up");
    let driverless = corefile.replace("xdp lan0", "xdp bridge0");
    let local = corefile.replace("xdp lan0", "xdp lo");
    for (corefile, words, expected) in [
        (
            &corefile,
            vec!["setpriv", "--bounding-set", "-bpf,-sys_admin"],
            "lacks CAP_BPF",
        ),
        (
            &corefile,
            vec!["setpriv", "--bounding-set", "-net_admin,-sys_admin"],
            "lacks CAP_NET_ADMIN",
        ),
        (
            &corefile,
            vec!["setpriv", "--bounding-set", "-net_raw"],
            "lacks CAP_NET_RAW",
        ),
        (
            &corefile,
            vec![
                "prlimit",
                "--memlock=65536:65536",
                "setpriv",
                "--bounding-set",
                "-ipc_lock",
            ],
            "RLIMIT_MEMLOCK is 64 KiB",
        ),
        (&nowhere, vec![], "there is no interface lan7"),
        (&driverless, vec![], "has no native XDP"),
        (&local, vec![], "it is not an Ethernet interface"),
    ] {
        let serving = rig.serve(corefile, &words);
        let log = serving.log();
        assert!(log.contains(expected), "{words:?}: {log}");
        assert_eq!(log.matches("[WARNING] plugin/xdp").count(), 1, "{log}");
        let said = rig.dig(FRAMES, "www.example.org A +short");
        assert_eq!(said.trim(), "192.0.2.80", "{words:?}");
        assert!(!rig.has_program());
    }
    // An interface that comes later is attached to, and only then are the capabilities given up.
    let serving = rig.serve(&nowhere, &[]);
    assert!(!serving.log().contains("given up"));
    rig.ip("s", "link add lan7 type veth peer name far7");
    rig.ip("s", "link set lan7 up");
    serving.wait_for("lan7: attached");
    serving.wait_for("given up");
}
