//! Support of black-box tests: the built binary at work, the tools of DNS operators, and upstreams that behave as a test says.
//!
//! ```no_run
//! let server = Server::start("hosts", ".:{PORT} {\n  bind 127.0.0.1\n  hosts { 192.0.2.1 a.example.org }\n}\n");
//! let Some(text) = server.dig(&["a.example.org", "A", "+short"]) else { return };
//! assert_eq!(text.trim(), "192.0.2.1");
//! assert!(server.stop().success());
//! ```
//!
//! Everything stays on loopback and in fresh directories below `target/tmp`. A tool that is not installed skips the test with a line
//! on the terminal that no capture hides, and fails it under `CI=true`.

#![allow(dead_code, reason = "a floor for tests: each takes what it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to answer its first query, and to leave after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(15);

/// The built binary serving a Corefile; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    dir: PathBuf,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Serves `corefile` from a fresh directory named after the test; `{PORT}` in it stands for a free port.
    pub(crate) fn start(test: &str, corefile: &str) -> Self {
        Self::start_in(&temporary_directory(test), corefile)
    }

    /// Serves `corefile` from `dir`, which relative file names are relative to.
    pub(crate) fn start_in(dir: &Path, corefile: &str) -> Self {
        Self::start_with(dir, corefile, &[])
    }

    /// The same with more arguments on the command line.
    pub(crate) fn start_with(dir: &Path, corefile: &str, arguments: &[&str]) -> Self {
        Self::spawn(dir, corefile, arguments).up()
    }

    /// Waits until it answers.
    fn up(self) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let mut server = self;
        while !server.is_up() {
            if let Ok(Some(status)) = server.child.try_wait() {
                panic!("the server left at once, {status}:\n{}", server.log());
            }
            assert!(
                Instant::now() < deadline,
                "the server does not answer:\n{}",
                server.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// The same, started by another program, which gets the binary and its arguments behind its own: `setpriv`, `unshare`.
    pub(crate) fn start_by(dir: &Path, corefile: &str, program: &[&str]) -> Self {
        let (first, rest) = program.split_first().expect("a program");
        let mut command = Command::new(first);
        command
            .args(rest)
            .arg(env!("CARGO_BIN_EXE_nameplate"))
            .current_dir(dir);
        Self::spawn_command(command, dir, corefile, &[]).up()
    }

    /// Starts the binary and does not wait for it: for starts that must fail.
    pub(crate) fn spawn(dir: &Path, corefile: &str, arguments: &[&str]) -> Self {
        Self::spawn_command(nameplate(dir), dir, corefile, arguments)
    }

    fn spawn_command(mut command: Command, dir: &Path, corefile: &str, arguments: &[&str]) -> Self {
        let port = free_port();
        write_corefile(dir, corefile, port);
        let mut child = command
            .args(["-conf", "Corefile", "-dns.port", &port.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take(), &log);
        collect(child.stderr.take(), &log);
        Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            dir: dir.to_owned(),
            log,
        }
    }

    /// Whether UDP answers and TCP accepts. A header alone is FORMERR before any plugin sees it.
    fn is_up(&self) -> bool {
        ask_udp(self.address, &[0; 12], Duration::from_millis(200)).is_some()
            && TcpStream::connect(self.address).is_ok()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its working directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard output and error so far.
    pub(crate) fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until the log has `text`.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in the log"), || {
            self.log().contains(text)
        });
    }

    /// Replaces the Corefile, as an editor does: a new file, renamed over the old.
    pub(crate) fn rewrite_corefile(&self, corefile: &str) {
        write_corefile(&self.dir, corefile, self.port());
    }

    /// Sends a signal by its name: `HUP`, `USR1`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait();
        ended.expect("a child can be waited for").is_some()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the server does not end:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The reply to a query over UDP, if one comes within two seconds.
    pub(crate) fn ask(&self, query: &[u8]) -> Option<Vec<u8>> {
        ask_udp(self.address, query, Duration::from_secs(2))
    }

    /// The reply to a query over TCP.
    pub(crate) fn ask_tcp(&self, query: &[u8]) -> Option<Vec<u8>> {
        ask_tcp(self.address, query, Duration::from_secs(2))
    }

    /// What `dig` prints when it asks this server; `None` when there is no `dig`.
    pub(crate) fn dig(&self, arguments: &[&str]) -> Option<String> {
        dig(self.address, arguments)
    }

    /// What `kdig` prints when it asks this server; `None` when there is no `kdig`.
    pub(crate) fn kdig(&self, arguments: &[&str]) -> Option<String> {
        kdig(self.address, arguments)
    }

    /// What `dnsperf` prints after it sent the queries of a file (`NAME TYPE` a line) to this server; `None` without it.
    pub(crate) fn dnsperf(&self, queries: &Path, arguments: &[&str]) -> Option<String> {
        let (address, port) = (self.address.ip().to_string(), self.port().to_string());
        let output = Command::new(tool("dnsperf")?)
            .args(["-s", &address, "-p", &port, "-d"])
            .arg(queries)
            .args(arguments)
            .output();
        Some(printed("dnsperf", output))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// The binary, to be run in `dir`: for commands that end by themselves, such as `check`.
pub(crate) fn nameplate(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nameplate"));
    command.current_dir(dir);
    command
}

/// Writes the Corefile of `dir` beside it and renames it into place.
fn write_corefile(dir: &Path, corefile: &str, port: u16) {
    let text = corefile.replace("{PORT}", &port.to_string());
    let draft = dir.join(".Corefile.new");
    std::fs::write(&draft, text).expect("the Corefile is written");
    std::fs::rename(draft, dir.join("Corefile")).expect("the Corefile is renamed");
}

/// Appends what a pipe brings to `log`, line by line.
fn collect(pipe: Option<impl Read + Send + 'static>, log: &Arc<Mutex<String>>) {
    let (Some(pipe), log) = (pipe, Arc::clone(log)) else {
        return;
    };
    thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

/// Waits until `done`, or fails after a while saying what did not come.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A fresh, empty directory below `target/tmp`. Those of test runs that have ended are removed.
pub(crate) fn temporary_directory(test: &str) -> PathBuf {
    static SWEPT: Once = Once::new();
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("it");
    SWEPT.call_once(|| sweep(&base));
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = base.join(format!("{}-{number}-{test}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory is made");
    dir
}

/// Removes the directories whose first word is a process that has ended.
fn sweep(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_string_lossy()
            .split('-')
            .next()
            .unwrap_or_default()
            .to_owned();
        if !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A port that is free on 127.0.0.1 over UDP and TCP. It is below the range of ephemeral ports, so no client takes it meanwhile.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    let offset = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let port = FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok()
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// Where a program is; `None`, said loudly, when it is not installed. Under `CI=true` that is a failure.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        skip(&format!(
            "{name} is not installed; tests/run installs it when it is root"
        ));
    }
    found
}

/// Says on the terminal, past the capture of test output, that the current test is skipped and why. Fails under `CI=true`.
pub(crate) fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{test} may not be skipped in CI: {reason}"
    );
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// Says the same of a test whose tool is too large to be installed for it, in CI as well.
pub(crate) fn leave_out(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// What `dig` prints about `address`.
pub(crate) fn dig(address: SocketAddr, arguments: &[&str]) -> Option<String> {
    let output = Command::new(tool("dig")?)
        .arg(format!("@{}", address.ip()))
        .args(["-p", &address.port().to_string(), "+tries=1", "+time=5"])
        .args(arguments)
        .output();
    Some(printed("dig", output))
}

/// What `kdig` prints about `address`.
pub(crate) fn kdig(address: SocketAddr, arguments: &[&str]) -> Option<String> {
    let output = Command::new(tool("kdig")?)
        .arg(format!("@{}", address.ip()))
        .args(["-p", &address.port().to_string(), "+retry=0", "+time=5"])
        .args(arguments)
        .output();
    Some(printed("kdig", output))
}

/// Standard output, with standard error behind it.
fn printed(name: &str, output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The first datagram that comes back, if one comes in time.
pub(crate) fn ask_udp(address: SocketAddr, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
    // From whatever address leads there.
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.set_read_timeout(Some(patience)).ok()?;
    socket.connect(address).ok()?;
    socket.send(query).ok()?;
    let mut buffer = vec![0; 65_535];
    let len = socket.recv(&mut buffer).ok()?;
    buffer.truncate(len);
    Some(buffer)
}

/// The first message that comes back on a connection of its own, if one comes in time.
pub(crate) fn ask_tcp(address: SocketAddr, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    write_message(&mut stream, query).ok()?;
    read_message(&mut stream).ok()
}

/// Writes one message of a stream, its length before it (RFC 1035, 4.2.2).
pub(crate) fn write_message(stream: &mut impl Write, message: &[u8]) -> std::io::Result<()> {
    let mut octets = (message.len() as u16).to_be_bytes().to_vec();
    octets.extend_from_slice(message);
    stream.write_all(&octets)
}

/// Reads one message of a stream.
pub(crate) fn read_message(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut message = vec![0; u16::from_be_bytes(len) as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// What an upstream does with a query.
pub(crate) enum Reply {
    /// Sends these octets.
    Octets(Vec<u8>),
    /// Sends these octets after a while; other queries are answered meanwhile.
    After(Duration, Vec<u8>),
    /// Sends several datagrams or messages, one behind the other.
    Many(Vec<Vec<u8>>),
    /// Sends nothing.
    Nothing,
    /// Closes the connection; over UDP, sends nothing.
    Close,
}

/// A query as an upstream sees it.
pub(crate) struct Asked<'a> {
    /// Its octets.
    pub(crate) octets: &'a [u8],
    /// Whether it came over TCP.
    pub(crate) tcp: bool,
    /// Where it came from.
    pub(crate) from: SocketAddr,
    /// How many queries came before it.
    pub(crate) number: usize,
}

type Behaviour = dyn Fn(Asked<'_>) -> Reply + Send + Sync;

/// What the threads of an upstream share.
struct Shared {
    behave: Box<Behaviour>,
    stop: AtomicBool,
    udp: AtomicUsize,
    tcp: AtomicUsize,
    connections: AtomicUsize,
}

impl Shared {
    fn reply(&self, octets: &[u8], tcp: bool, from: SocketAddr) -> Reply {
        let counter = if tcp { &self.tcp } else { &self.udp };
        let number = self.udp.load(Ordering::SeqCst) + self.tcp.load(Ordering::SeqCst);
        counter.fetch_add(1, Ordering::SeqCst);
        (self.behave)(Asked {
            octets,
            tcp,
            from,
            number,
        })
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// A scripted name server, on loopback unless said otherwise, UDP and TCP on one port; a closure says what each query gets.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// How often a waiting thread of an upstream looks whether it should end.
const TICK: Duration = Duration::from_millis(20);

impl Upstream {
    /// Starts one that answers every query as `behave` says.
    pub(crate) fn start(behave: impl Fn(Asked<'_>) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(free_port(), behave)
    }

    /// Starts one on a port of its own, for upstreams that come back after they were gone.
    pub(crate) fn start_at(
        port: u16,
        behave: impl Fn(Asked<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], port)), behave)
    }

    /// Starts one at an address of this machine.
    pub(crate) fn start_on(
        address: SocketAddr,
        behave: impl Fn(Asked<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let udp = UdpSocket::bind(address).expect("the upstream's UDP port is free");
        let tcp = TcpListener::bind(address).expect("the upstream's TCP port is free");
        udp.set_read_timeout(Some(TICK))
            .expect("a timeout can be set");
        tcp.set_nonblocking(true)
            .expect("a listener can be non-blocking");
        let shared = Arc::new(Shared {
            behave: Box::new(behave),
            stop: AtomicBool::new(false),
            udp: AtomicUsize::new(0),
            tcp: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let for_udp = Arc::clone(&shared);
        thread::spawn(move || serve_udp(&udp, &for_udp));
        let for_tcp = Arc::clone(&shared);
        thread::spawn(move || accept_tcp(&tcp, &for_tcp));
        Self { address, shared }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many queries came over UDP.
    pub(crate) fn udp_queries(&self) -> usize {
        self.shared.udp.load(Ordering::SeqCst)
    }

    /// How many queries came over TCP.
    pub(crate) fn tcp_queries(&self) -> usize {
        self.shared.tcp.load(Ordering::SeqCst)
    }

    /// How many TCP connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = vec![0; 65_535];
    while !shared.stopped() {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        match shared.reply(&buffer[..len], false, from) {
            Reply::Octets(octets) => drop(socket.send_to(&octets, from)),
            Reply::Many(replies) => replies
                .iter()
                .for_each(|octets| drop(socket.send_to(octets, from))),
            Reply::After(delay, octets) => {
                let Ok(socket) = socket.try_clone() else {
                    continue;
                };
                thread::spawn(move || {
                    thread::sleep(delay);
                    socket.send_to(&octets, from)
                });
            }
            Reply::Nothing | Reply::Close => {}
        }
    }
}

fn accept_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stopped() {
        match listener.accept() {
            Ok((stream, from)) => {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(shared);
                thread::spawn(move || serve_tcp(stream, from, &shared));
            }
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn serve_tcp(mut stream: TcpStream, from: SocketAddr, shared: &Shared) {
    let blocking = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_read_timeout(Some(TICK)));
    if blocking.is_err() {
        return;
    }
    while !shared.stopped() {
        // The first octet is awaited in ticks, so that an idle connection ends with the upstream; then the message is read whole.
        match stream.peek(&mut [0]) {
            Ok(1..) => {}
            Ok(0) => return,
            Err(_) => continue,
        }
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let Ok(query) = read_message(&mut stream) else {
            return;
        };
        let _ = stream.set_read_timeout(Some(TICK));
        match shared.reply(&query, true, from) {
            Reply::Octets(octets) => drop(write_message(&mut stream, &octets)),
            Reply::Many(replies) => replies
                .iter()
                .for_each(|octets| drop(write_message(&mut stream, octets))),
            Reply::After(delay, octets) => {
                let Ok(mut stream) = stream.try_clone() else {
                    return;
                };
                thread::spawn(move || {
                    thread::sleep(delay);
                    write_message(&mut stream, &octets)
                });
            }
            Reply::Nothing => {}
            Reply::Close => return,
        }
    }
}

/// A reply to `query` with these addresses as answers, each an A record of QNAME with this TTL; no EDNS.
pub(crate) fn answer(query: &[u8], ttl: u32, addresses: &[[u8; 4]]) -> Vec<u8> {
    let mut reply = empty(query, 0);
    reply[6..8].copy_from_slice(&(addresses.len() as u16).to_be_bytes());
    for address in addresses {
        reply.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1]);
        reply.extend_from_slice(&ttl.to_be_bytes());
        reply.extend_from_slice(&[0, 4]);
        reply.extend_from_slice(address);
    }
    reply
}

/// A reply to `query` without records: its ID and question, QR, RD as it was, RA and this RCODE.
pub(crate) fn empty(query: &[u8], rcode: u8) -> Vec<u8> {
    let mut end = 12;
    while let Some(&len @ 1..) = query.get(end) {
        end += 1 + len as usize;
    }
    let mut reply = query[..(end + 5).min(query.len())].to_vec();
    reply[2] = 0x80 | reply[2] & 0x01;
    reply[3] = 0x80 | rcode & 0x0F;
    reply[6..12].fill(0);
    reply
}

#[test]
fn an_upstream_does_as_it_is_told() {
    let upstream = Upstream::start(|asked| match asked.number {
        0 => Reply::Nothing,
        1 => Reply::After(
            Duration::from_millis(80),
            answer(asked.octets, 5, &[[192, 0, 2, 1]]),
        ),
        2 => Reply::Many(vec![empty(asked.octets, 3), empty(asked.octets, 2)]),
        3 => Reply::Close,
        _ => Reply::Octets(answer(asked.octets, 5, &[[192, 0, 2, 7]])),
    });
    let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
    let (address, patience) = (upstream.address(), Duration::from_millis(300));
    assert_eq!(ask_udp(address, query, Duration::from_millis(50)), None);
    let began = Instant::now();
    let late = ask_udp(address, query, PATIENCE).expect("the late answer");
    assert!(began.elapsed() >= Duration::from_millis(80));
    assert_eq!(late[late.len() - 4..], [192, 0, 2, 1]);
    assert_eq!(
        ask_udp(address, query, patience).map(|reply| reply[3]),
        Some(0x83)
    );
    assert_eq!(ask_tcp(address, query, patience), None);
    assert!(
        ask_tcp(address, query, PATIENCE).is_some_and(|reply| reply.ends_with(&[192, 0, 2, 7]))
    );
    assert_eq!(
        (
            upstream.udp_queries(),
            upstream.tcp_queries(),
            upstream.connections()
        ),
        (3, 2, 2)
    );
    for arguments in [&["a.", "A", "+short"][..], &["a.", "A", "+short", "+tcp"]] {
        let (Some(dig), Some(kdig)) = (dig(address, arguments), kdig(address, arguments)) else {
            return;
        };
        assert_eq!(
            (dig.trim(), kdig.trim()),
            ("192.0.2.7", "192.0.2.7"),
            "{arguments:?}"
        );
    }
}

#[test]
fn ports_and_directories_are_fresh() {
    let ports: Vec<u16> = (0..20).map(|_| free_port()).collect();
    assert!(ports.windows(2).all(|pair| pair[0] != pair[1]), "{ports:?}");
    let (one, other) = (temporary_directory("fresh"), temporary_directory("fresh"));
    assert_ne!(one, other);
    assert_eq!(std::fs::read_dir(one).map(Iterator::count).ok(), Some(0));
}
