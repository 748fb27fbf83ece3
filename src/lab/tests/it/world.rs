//! A machine of its own for each test: network, mount and (without root) user namespaces around everything.
//!
//! A holder process keeps the namespaces; commands enter them by `nsenter`. `/run` is a tmpfs, `/etc` a copy of what
//! resolving needs, so that nothing of the machine is touched and tests run beside each other.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// What makes the world; `read` keeps it until the test's end closes the pipe. Its root holds what the machine's root
/// holds, but for `/run` and `/etc`: mounts below these, such as the one that `ip netns add` makes of `/run/netns`, are not
/// inherited.
const MAKE: &str = r#"
set -e
# The machine's setting, which a new namespace takes over, is not the world's.
if [ "$(cat /proc/sys/net/ipv4/ip_forward)" != 0 ]; then echo 0 > /proc/sys/net/ipv4/ip_forward; fi
new=/mnt
[ -d $new ] || new=/tmp
mount -t tmpfs tmpfs $new
for e in /*; do
  if [ -L $e ]; then cp -a $e $new$e; continue; fi
  case $e in /run|/etc|$new) mkdir $new$e; continue;; esac
  if [ -d $e ]; then mkdir $new$e; mount --rbind $e $new$e; fi
done
mkdir $new/run/etc $new/run/work $new/old
for f in passwd group nsswitch.conf hosts resolv.conf services protocols ld.so.cache ld.so.conf ld.so.conf.d alternatives iproute2 host.conf gai.conf; do
  if [ -e /etc/$f ]; then cp -a /etc/$f $new/run/etc/; fi
done
cd $new
pivot_root . old
umount -l /old
rmdir /old
[ -s /run/etc/resolv.conf ] || echo 'nameserver 192.0.2.53' > /run/etc/resolv.conf
mount --bind /run/etc /etc
ip link set lo up
echo ready
read end || true
# Whatever was started in it ends with it, also where the test itself was killed. What listed them is not of it.
for round in 1 2 3 4 5 6 7 8 9; do
  left=$(NAMEPLATE_WORLD= grep -lzsx "NAMEPLATE_WORLD=$NAMEPLATE_WORLD" /proc/[0-9]*/environ | grep -vx "/proc/$$/environ") || exit 0
  for environ in $left; do pid=${environ#/proc/}; kill -9 ${pid%/environ} 2>/dev/null || true; done
done
"#;

/// Of every process that is started in a world: which one.
const WORLD: &str = "NAMEPLATE_WORLD";

/// Serves on a port: its own name and the address that it sees the client at.
const SERVER: &str = r#"
import socket, sys
s = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print("up", flush=True)
while True:
    c, a = s.accept()
    c.sendall((sys.argv[2] + " sees " + a[0].replace("::ffff:", "") + "\n").encode())
    c.close()
"#;

/// How many there were.
static WORLDS: AtomicU32 = AtomicU32::new(0);

/// A machine of its own.
pub(crate) struct World {
    holder: Child,
    /// Closing it ends the world.
    stdin: Option<ChildStdin>,
    /// Its number among all.
    number: String,
    root: bool,
    servers: std::cell::RefCell<Vec<Child>>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Did {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// Makes one.
    pub(crate) fn new() -> Self {
        let root = lab::sys::effective_user() == 0;
        let mut command = Command::new("unshare");
        if !root {
            command.arg("-Ur");
        }
        command.args(["-n", "-m", "--propagation", "private", "sh", "-c", MAKE]);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let number = format!("{}.{number}", std::process::id());
        command.env(WORLD, &number);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command
            .spawn()
            .expect("these tests need unshare(1) of util-linux");
        let stdin = holder.stdin.take().expect("piped");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("a line");
        assert_eq!(
            line, "ready\n",
            "these tests need root or user namespaces, and neither is there"
        );
        Self {
            holder,
            stdin: Some(stdin),
            number,
            root,
            servers: std::cell::RefCell::default(),
        }
    }

    /// A command in it.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "-m"]);
        if !self.root {
            command.args(["-U", "--preserve-credentials"]);
        }
        command.arg("--").env(WORLD, &self.number);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a line of shell.
    pub(crate) fn sh(&self, line: &str) -> Did {
        did(self.enter().args(["sh", "-c", line]).output())
    }

    /// Runs a line of shell that must succeed; what it printed.
    pub(crate) fn ok(&self, line: &str) -> String {
        let did = self.sh(line);
        assert_eq!(did.code, 0, "{line}\n{}{}", did.out, did.err);
        did.out
    }

    /// Runs nameplate-lab.
    pub(crate) fn lab(&self, arguments: &[&str]) -> Did {
        self.lab_with(arguments, &[])
    }

    /// Runs nameplate-lab with variables.
    pub(crate) fn lab_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Did {
        let mut command = self.enter();
        command
            .arg(env!("CARGO_BIN_EXE_nameplate-lab"))
            .args(arguments);
        command.envs(variables.iter().copied());
        did(command.output())
    }

    /// Runs a program with variables and what it reads.
    pub(crate) fn feed(&self, program: &str, variables: &[(&str, &str)], input: &str) -> Did {
        use std::io::Write as _;
        let mut command = self.enter();
        command.arg(program).envs(variables.iter().copied());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("nsenter(1) of util-linux");
        // Who does not read it says so itself.
        let _ = child
            .stdin
            .take()
            .expect("piped")
            .write_all(input.as_bytes());
        did(child.wait_with_output())
    }

    /// Applies a lab of `tests/labs`; it must work, and be as declared afterwards.
    pub(crate) fn apply(&self, name: &str) {
        self.apply_file(&lab_file(name));
    }

    /// Applies a file.
    pub(crate) fn apply_file(&self, file: &Path) {
        let file = file.to_str().expect("a plain path");
        // Some tests make one lab of several files.
        let did = self.lab(&["apply", "--take-over", file]);
        assert_eq!(did.code, 0, "{did:?}");
        let plan = self.lab(&["plan", file]);
        assert_eq!(
            plan.code, 0,
            "after apply there is still something to do: {plan:?}"
        );
    }

    /// Waits until nothing runs in it any more.
    pub(crate) fn wait_until_quiet(&self) {
        let mark = format!("{WORLD}={}", self.number).into_bytes();
        let is = |entry: std::fs::DirEntry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let variables = std::fs::read(entry.path().join("environ")).ok()?;
            let has = variables.split(|octet| *octet == 0).any(|is| is == mark);
            (has && pid != self.holder.id()).then_some(pid)
        };
        let begun = std::time::Instant::now();
        loop {
            let all = std::fs::read_dir("/proc").expect("/proc").flatten();
            let left: Vec<u32> = all.filter_map(is).collect();
            if left.is_empty() {
                return;
            }
            let patience = std::time::Duration::from_secs(60);
            assert!(begun.elapsed() < patience, "{left:?} run on");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Writes a lab's file.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = PathBuf::from(format!("/run/work/{name}.toml"));
        self.write(&path, text);
        path
    }

    /// Writes a file of this world.
    pub(crate) fn write(&self, path: &Path, text: &str) {
        use std::io::Write as _;
        let mut child = self
            .enter()
            .args(["tee", path.to_str().expect("a plain path")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("tee");
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(text.as_bytes())
            .expect("written");
        assert!(child.wait().expect("tee").success());
    }

    /// Whether one packet gets from a namespace (`""` is the host) to an address or name and back.
    pub(crate) fn pings(&self, from: &str, to: &str) -> bool {
        self.sh(&format!("{} ping -n -c2 -i0.2 -W1 {to}", inside(from)))
            .code
            == 0
    }

    /// The same of many at once, in their order.
    pub(crate) fn pings_of(&self, pings: &[(&str, &str)]) -> Vec<bool> {
        let mut script = String::new();
        for (at, (from, to)) in pings.iter().enumerate() {
            let _ = writeln!(
                script,
                "{{ {} ping -n -c2 -i0.2 -W1 {to} >/dev/null 2>&1 && echo {at}; }} &",
                inside(from)
            );
        }
        let answered = self.ok(&(script + "wait"));
        let answered: Vec<&str> = answered.lines().collect();
        let of = |at: usize| answered.contains(&at.to_string().as_str());
        (0..pings.len()).map(of).collect()
    }

    /// How many servers were started.
    pub(crate) fn servers(&self) -> usize {
        self.servers.borrow().len()
    }

    /// Ends all but the first of these servers.
    pub(crate) fn end_servers(&self, but: usize) {
        for mut server in self.servers.borrow_mut().drain(but..) {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Starts a server that tells its name and whom it sees.
    pub(crate) fn serve(&self, space: &str, port: u16, name: &str) {
        let mut command = self.enter();
        if !space.is_empty() {
            command.args(["ip", "netns", "exec", space]);
        }
        command
            .args(["python3", "-c", SERVER, &port.to_string(), name])
            .stdout(Stdio::piped());
        let mut server = command.spawn().expect("python3");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("a line");
        assert_eq!(line, "up\n");
        self.servers.borrow_mut().push(server);
    }

    /// Starts a shell line that runs until the test ends, and waits for its first line.
    pub(crate) fn background(&self, line: &str) {
        let mut server = self
            .enter()
            .args(["sh", "-c", line])
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut first = String::new();
        BufReader::new(server.stdout.take().expect("piped"))
            .read_line(&mut first)
            .expect("a line");
        self.servers.borrow_mut().push(server);
    }

    /// What a server at an address says to a client in a namespace; empty if there is no way.
    pub(crate) fn asks(&self, from: &str, to: &str, port: u16) -> String {
        self.sh(&format!("{} nc -d -w2 {to} {port}", inside(from)))
            .out
            .trim()
            .to_owned()
    }

    /// A network outside of the lab: a namespace `outside` with 203.0.113.9 and 2001:db8::9 behind the host's
    /// 203.0.113.1 and 2001:db8::1.
    pub(crate) fn outside(&self) {
        self.ok("ip netns add outside && ip link add up0 type veth peer name eth0 netns outside
            sysctl -qw net.ipv6.conf.up0.accept_dad=0; ip netns exec outside sysctl -qw net.ipv6.conf.eth0.accept_dad=0
            ip addr add 203.0.113.1/24 dev up0 && ip link set up0 up
            ip -n outside addr add 203.0.113.9/24 dev eth0 && ip -n outside link set eth0 up && ip -n outside link set lo up
            ip -6 addr add 2001:db8::1/64 dev up0 nodad && ip -n outside -6 addr add 2001:db8::9/64 dev eth0 nodad");
    }

    /// Everything that a lab could leave behind.
    pub(crate) fn snapshot(&self) -> String {
        self.ok("ip -j -d link; ip addr; ip route show table all; ip -6 route show table all; ip rule; nft list ruleset
            grep -c . /proc/self/mountinfo; grep netns /proc/self/mountinfo | sed 's/^[0-9]* [0-9]* //; s/net:.[0-9]*.//; s/shared:[0-9]*//'
            find /etc /run -path /run/etc -prune -o -path /run/work -prune -o -path /run/nameplate -prune -o -path /etc/alternatives -prune -o -path /run/blkid -prune -o -type f -exec cksum {} + -o -print | sort
            ls -A /run/netns 2>/dev/null; ls -A /run/nameplate/lab 2>/dev/null | grep -v '^.lock$'
            cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding; true")
    }

    /// The kernel's state of the host and of all namespaces, settings included, in one visit of each.
    pub(crate) fn kernel(&self) -> String {
        const VIEW: &str = r#"
            view() { for what in "-d link" addr route "-6 route"; do echo "== $1 $what"; ip -j $what; done
                echo "== $1 settings"; cd /proc/sys/net
                grep -s . ipv4/ip_forward ipv4/tcp_ecn ipv4/ip_default_ttl ipv4/conf/*/forwarding ipv4/conf/*/rp_filter ipv4/conf/*/route_localnet ipv4/conf/*/log_martians                     ipv4/conf/*/accept_redirects ipv6/conf/*/forwarding ipv6/conf/*/accept_ra ipv6/conf/*/accept_dad ipv6/conf/*/hop_limit ipv6/conf/*/mtu | sort; }
            view host
            for n in $(ls /run/netns 2>/dev/null); do nsenter --net=/run/netns/$n sh -c "$(command -v view >/dev/null; echo "$VIEW_FN"); view $n"; done
            echo "== rules"; nft list ruleset | sed 's/ packets [0-9]* bytes [0-9]*//'
            echo "== files"; tail -n +1 /etc/netns/*/* 2>/dev/null"#;
        // A function is no part of what another shell sees.
        let body = VIEW.split("view host").next().unwrap_or_default();
        let line = VIEW.replace("$(command -v view >/dev/null; echo \"$VIEW_FN\")", "$FN");
        let did = did(self
            .enter()
            .env("FN", body)
            .args(["sh", "-c", &line])
            .output());
        let mut out = String::new();
        for part in did.out.split("== ").skip(1) {
            let (title, text) = part.split_once('\n').unwrap_or((part, ""));
            match serde_json::from_str::<Value>(text.trim()) {
                Ok(mut value) => {
                    normalise(&mut value);
                    let _ = writeln!(out, "{title}: {value:#}");
                }
                Err(_) => {
                    for line in text.lines() {
                        let _ = writeln!(out, "{title}: {line}");
                    }
                }
            }
        }
        assert!(out.contains("host settings: ipv4/ip_forward"), "{did:?}");
        out
    }

    /// What a lab is, without what two equal labs differ in: indices, counters, timers, link-local addresses.
    pub(crate) fn state(&self) -> String {
        let names = self.ok("ls /run/netns 2>/dev/null | sort; true");
        let mut out = String::new();
        let mut view = |space: Option<&str>| {
            let ip = space.map_or("ip".to_owned(), |space| format!("ip -n {space}"));
            for what in ["-d link", "addr", "route", "-6 route"] {
                let text = self.ok(&format!("{} -j {what}", ip));
                let mut value: Value =
                    serde_json::from_str(text.trim()).unwrap_or(Value::Array(Vec::new()));
                normalise(&mut value);
                let _ = writeln!(out, "{space:?} {what}: {value:#}");
            }
        };
        view(None);
        for name in names.lines() {
            view(Some(name));
        }
        let rules = self.ok("nft list ruleset");
        let rules: Vec<&str> = rules
            .lines()
            .map(|line| line.split(" packets ").next().unwrap_or(line))
            .collect();
        let files = self.ok("tail -n +1 /etc/netns/*/* 2>/dev/null; cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding; true");
        let _ = write!(out, "{}\n{files}", rules.join("\n"));
        for name in names.lines() {
            out.push_str(&self.ok(&format!("ip netns exec {name} cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv4/conf/all/rp_filter")));
        }
        out
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end_servers(0);
        drop(self.stdin.take());
        let _ = self.holder.wait();
    }
}

/// The words before a command that runs in a namespace.
fn inside(space: &str) -> String {
    if space.is_empty() {
        String::new()
    } else {
        format!("ip netns exec {space}")
    }
}

/// An output as text.
fn did(output: std::io::Result<Output>) -> Did {
    let output = output.expect("nsenter(1) of util-linux");
    Did {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Drops what differs between equal labs, and puts lists in an order.
fn normalise(value: &mut Value) {
    const VOLATILE: &[&str] = &[
        "ifindex",
        "link_index",
        "link_netnsid",
        "link_netns",
        "valid_life_time",
        "preferred_life_time",
        "operstate",
        "tso_max_size",
        "tso_max_segs",
        "gso_max_size",
        "gso_max_segs",
        "gso_ipv4_max_size",
        "gro_ipv4_max_size",
        "gro_max_size",
        "promiscuity",
        "allmulti",
        "flags",
        "hello_timer",
        "tcn_timer",
        "topology_change_timer",
        "gc_timer",
        "multicast",
        "allmulti",
        "protocol",
        "id",
        "no",
        "bridge_id",
        "root_id",
        "root_port",
        "designated_root",
        "designated_bridge",
        "designated_port",
        "designated_cost",
        "hold_timer",
        "message_age_timer",
        "forward_delay_timer",
        "state",
        "topology_change",
        "topology_change_ack",
        "config_pending",
        "pref",
        "tentative",
        "dynamic",
        "mngtmpaddr",
        "dad",
    ];
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !VOLATILE.contains(&key.as_str()));
            map.values_mut().for_each(normalise);
        }
        Value::Array(values) => {
            values.retain(|value| {
                let text = |key| value.get(key).and_then(Value::as_str).unwrap_or("");
                !text("local").starts_with("fe80")
                    && !text("dst").starts_with("fe80")
                    && !text("dst").starts_with("ff00")
            });
            values.iter_mut().for_each(normalise);
            values.sort_by_key(Value::to_string);
        }
        _ => {}
    }
}

/// Two views of a machine are one; if not, the lines in which they differ.
#[track_caller]
pub(crate) fn assert_same(now: &str, wanted: &str, when: &str) {
    if now == wanted {
        return;
    }
    let only = |one: &str, other: &str| {
        let other: std::collections::HashSet<&str> = other.lines().collect();
        let lines: Vec<&str> = one
            .lines()
            .filter(|line| !other.contains(line))
            .take(20)
            .collect();
        lines.join("\n")
    };
    panic!(
        "{when}\nmore than wanted:\n{}\nmissing:\n{}",
        only(now, wanted),
        only(wanted, now)
    );
}

/// A lab of `tests/labs`.
pub(crate) fn lab_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/labs")
        .join(format!("{name}.toml"))
}
