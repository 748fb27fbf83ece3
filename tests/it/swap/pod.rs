//! What a node does for a pod of the cluster's DNS: network, volumes, limits, probes, and the program of the image as its own user.
//!
//! ```text
//!  the test: a network and mounts of its own          the pod: a network, processes and a root of its own
//!  API 10.96.0.1:443, upstreams 192.0.2.53 and .54 ◄── veth ──► 10.244.0.2, user 65532, NET_BIND_SERVICE, 170 MiB
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::server::{skip, tool, wait_until};

/// Where the API is, as pods are told.
pub(super) const API: ([u8; 4], u16) = ([10, 96, 0, 1], 443);
/// The upstreams: the node's, and a stub domain's.
pub(super) const UPSTREAMS: [[u8; 4]; 2] = [[192, 0, 2, 53], [192, 0, 2, 54]];
/// The pod's address.
const ADDRESS: [u8; 4] = [10, 244, 0, 2];
/// The addon's limit.
const MEMORY: u64 = 170 << 20;
/// Set where the test runs in namespaces of its own.
const INSIDE: &str = "NAMEPLATE_TEST_INSIDE";
/// Makes the networks.
const NETWORK: &str = "set -e
    ip link set lo up
    mkdir -p /run/netns && mount -t tmpfs none /run/netns
    ip netns add pod
    ip link add node type veth peer name eth0 netns pod
    ip addr add 10.244.0.1/24 dev node && ip link set node up
    for address in 10.96.0.1 192.0.2.53 192.0.2.54; do ip addr add $address/32 dev lo; done
    ip -n pod addr add 10.244.0.2/24 dev eth0
    ip -n pod link set eth0 up && ip -n pod link set lo up
    ip -n pod route add default via 10.244.0.1
    mount --bind \"$0\" /etc/resolv.conf";

/// Whether the test is to go on here. Otherwise it was run in namespaces of its own, or skipped.
pub(super) fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    for program in ["unshare", "ip", "mount", "getent", "python3"] {
        if tool(program).is_none() {
            return false;
        }
    }
    // The image's user is another one than the caller: a user namespace of one user has no room for it.
    let may = Command::new("unshare").args(["-nm", "true"]).output();
    if !may.is_ok_and(|done| done.status.success()) {
        skip("only root can start the image (unshare -nm)");
        return false;
    }
    let out = Command::new("unshare")
        .args(["-nm", "--kill-child", "--fork"])
        .arg(std::env::current_exe().expect("a path"))
        .args(["--exact", "--nocapture", test])
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let (said, wrong) = (text(&out.stdout), text(&out.stderr));
    if let Some(line) = wrong.lines().find(|line| line.starts_with("SKIPPED")) {
        skip(line);
    }
    assert!(out.status.success(), "{said}{wrong}");
    assert!(said.contains("1 passed"), "{said}");
    false
}

/// Makes the networks, and has the resolver of this process ask the pod.
pub(super) fn network(dir: &Path) {
    let resolv = dir.join("resolv.conf");
    let search = "default.svc.cluster.local svc.cluster.local cluster.local";
    let text =
        format!("nameserver 10.244.0.2\nsearch {search}\noptions ndots:5 attempts:1 timeout:2\n");
    fs::write(&resolv, text).expect("a file");
    run(Command::new("sh").args(["-c", NETWORK]).arg(&resolv));
}

/// A directory as the kubelet writes ConfigMaps and tokens: links to a hidden one that is replaced whole.
pub(super) struct Volume(PathBuf);

impl Volume {
    fn new(path: PathBuf, files: &[(&str, &str)]) -> Self {
        fs::create_dir_all(&path).expect("a directory");
        let volume = Self(path);
        volume.replace(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), volume.0.join(name)).expect("a link");
        }
        volume
    }

    /// Writes new files as a whole.
    pub(super) fn replace(&self, files: &[(&str, &str)]) {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("..2026_11_21_00_00_00.{number:09}");
        let fresh = self.0.join(&name);
        fs::create_dir(&fresh).expect("a directory");
        for (file, text) in files {
            fs::write(fresh.join(file), text).expect("a file");
        }
        let (data, draft) = (self.0.join("..data"), self.0.join("..data_tmp"));
        let old = fs::read_link(&data);
        symlink(&name, &draft).expect("a link");
        fs::rename(draft, data).expect("a link is renamed");
        if let Ok(old) = old {
            fs::remove_dir_all(self.0.join(old)).expect("the old one is removed");
        }
    }
}

/// The pod.
pub(super) struct Pod {
    child: Child,
    log: Arc<Mutex<String>>,
    cgroup: Option<PathBuf>,
    /// The ConfigMap.
    pub(super) config: Volume,
    /// The service account.
    pub(super) account: Volume,
}

impl Pod {
    /// Makes image and volumes in `dir`, and starts it.
    pub(super) fn start(dir: &Path, corefile: &str, account: &Account) -> Self {
        let (image, root) = (dir.join("image.tar"), dir.join("root"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/image");
        let made = Command::new(&script)
            .args(["--debug", "--out"])
            .args([&image, Path::new(env!("CARGO_BIN_EXE_nameplate"))])
            .output()
            .expect("python3 runs");
        let wrong = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.success(), "{wrong}");
        run(Command::new(&script)
            .arg("--out")
            .arg(&image)
            .arg("--unpack")
            .arg(&root));
        let config = Volume::new(dir.join("config"), &[("Corefile", corefile)]);
        let account = Volume::new(dir.join("account"), &account.files());
        fs::write(dir.join("upstream.conf"), "nameserver 192.0.2.53\n").expect("a file");
        fs::write(dir.join("hosts"), "127.0.0.1\tlocalhost\n").expect("a file");
        mount(dir, &root);
        let cgroup = limited();
        let enter = match &cgroup {
            Some(group) => format!("echo $$ >{}/cgroup.procs", group.display()),
            None => format!("ulimit -d {}", MEMORY >> 10),
        };
        let proc = root.join("proc");
        let inner = format!(
            "mount -t proc proc '{}' && exec \"$0\" \"$@\"",
            proc.display()
        );
        let mut child = Command::new("sh")
            .args(["-c", &format!("{enter} && exec \"$0\" \"$@\"")])
            .args(["ip", "netns", "exec", "pod"])
            .args([
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                &inner,
            ])
            .arg(&script)
            .arg("--out")
            .arg(&image)
            .arg("--start")
            .arg(&root)
            // The deployment gives arguments, and no command.
            .args(["-conf", "/etc/coredns/Corefile"])
            .env("KUBERNETES_SERVICE_HOST", "10.96.0.1")
            .env("KUBERNETES_SERVICE_PORT", "443")
            .env("HOSTNAME", "coredns-0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let log = Arc::default();
        collect(child.stdout.take(), &log);
        collect(child.stderr.take(), &log);
        Self {
            child,
            log,
            cgroup,
            config,
            account,
        }
    }

    /// Where it answers.
    pub(super) fn address(&self) -> SocketAddr {
        (ADDRESS, 53).into()
    }

    /// What it wrote so far.
    pub(super) fn log(&self) -> String {
        let log = self.log.lock();
        log.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the log has `text` so often.
    pub(super) fn wait_for_log(&self, text: &str, times: usize) {
        wait_until(&format!("{text:?} in the log, {times} times"), || {
            self.log().matches(text).count() >= times
        });
    }

    /// The program's process, in the eyes of the node.
    pub(super) fn pid(&self) -> u32 {
        let outer = self.child.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"));
        children
            .ok()
            .and_then(|text| text.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("no process:\n{}", self.log()))
    }

    /// A field of its `/proc/PID/status`.
    pub(super) fn status(&self, field: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a status");
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let words = line.unwrap_or_default().trim_start_matches(':').trim();
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The most memory that it had at a time, in octets, and how often the limit was met.
    pub(super) fn memory(&self) -> (u64, u64) {
        let number = |text: &str| text.split_whitespace().find_map(|word| word.parse().ok());
        let resident = number(&self.status("VmHWM")).map(|kib: u64| kib << 10);
        let met = self.cgroup.as_ref().and_then(|group| {
            let read = |name: &str| fs::read_to_string(group.join(name)).ok();
            let events = read("memory.events");
            let of_events = events
                .and_then(|text| number(text.lines().find_map(|line| line.strip_prefix("max "))?));
            of_events.or_else(|| number(&read("memory.failcnt")?))
        });
        (resident.expect("a size"), met.unwrap_or(0))
    }

    /// A page of its HTTP servers: the status, and the body.
    pub(super) fn page(&self, port: u16, path: &str) -> Option<(u16, String)> {
        let address = SocketAddr::from((ADDRESS, port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        let body = text.split_once("\r\n\r\n")?.1.to_owned();
        Some((status, body))
    }

    /// What a probe of the kubelet gets.
    pub(super) fn probe(&self, port: u16, path: &str) -> Option<u16> {
        self.page(port, path).map(|(status, _)| status)
    }

    /// Sends SIGTERM to it.
    pub(super) fn terminate(&self) {
        run(Command::new("kill").args(["-TERM", &self.pid().to_string()]));
    }

    /// Its status, once it has ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the pod's log:\n{}", self.log());
        }
        if let Some(group) = &self.cgroup {
            let until = Instant::now() + Duration::from_secs(2);
            while fs::remove_dir(group).is_err() && Instant::now() < until {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// A service account.
pub(super) struct Account {
    /// The API's authority.
    pub(super) authority: String,
    /// The token.
    pub(super) token: String,
}

impl Account {
    /// Its files.
    pub(super) fn files(&self) -> [(&str, &str); 3] {
        [
            ("token", &self.token),
            ("ca.crt", &self.authority),
            ("namespace", "kube-system"),
        ]
    }
}

/// Mounts what a container has, and makes the root read-only.
fn mount(dir: &Path, root: &Path) {
    let bind = |from: &Path, to: &str, read_only: bool| {
        let to = root.join(to);
        run(Command::new("mount").arg("--bind").args([from, &to]));
        if read_only {
            run(Command::new("mount")
                .args(["-o", "remount,bind,ro"])
                .arg(&to));
        }
    };
    let account = "var/run/secrets/kubernetes.io/serviceaccount";
    for folder in ["etc/coredns", account, "dev", "proc"] {
        fs::create_dir_all(root.join(folder)).expect("a directory");
    }
    for file in ["etc/resolv.conf", "etc/hosts"] {
        fs::write(root.join(file), "").expect("a file");
    }
    let devices = ["null", "zero", "full", "random", "urandom"];
    for device in devices {
        fs::write(root.join("dev").join(device), "").expect("a file");
    }
    bind(root, "", false);
    for device in devices {
        bind(
            &Path::new("/dev").join(device),
            &format!("dev/{device}"),
            false,
        );
    }
    bind(&dir.join("config"), "etc/coredns", true);
    bind(&dir.join("account"), account, true);
    bind(&dir.join("upstream.conf"), "etc/resolv.conf", true);
    bind(&dir.join("hosts"), "etc/hosts", true);
    run(Command::new("mount")
        .args(["-o", "remount,bind,ro"])
        .arg(root));
}

/// A control group with the addon's limit, where groups can be made (of either version).
fn limited() -> Option<PathBuf> {
    let name = format!("nameplate-swap-{}", std::process::id());
    for (base, file) in [
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ] {
        let group = Path::new(base).join(&name);
        if fs::create_dir(&group).is_err() {
            continue;
        }
        if group.join(file).exists() && fs::write(group.join(file), MEMORY.to_string()).is_ok() {
            return Some(group);
        }
        let _ = fs::remove_dir(&group);
    }
    None
}

/// Runs what has to succeed.
pub(super) fn run(command: &mut Command) -> String {
    let out = command.output().expect("it runs");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(
        out.status.success(),
        "{command:?}: {}",
        text(&out.stderr) + &text(&out.stdout)
    );
    text(&out.stdout)
}

/// Appends what a pipe brings to `log`.
fn collect(pipe: Option<impl Read + Send + 'static>, log: &Arc<Mutex<String>>) {
    let (Some(pipe), log) = (pipe, Arc::clone(log)) else {
        return;
    };
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    });
}
