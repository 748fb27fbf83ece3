//! Other name servers that serve one zone on loopback.

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{free_port, tool};

use super::hickory::Hickory;

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Knot,
    Nsd,
    Named,
    /// hickory-server, in this process.
    Hickory,
}

impl Kind {
    /// Its program; of one that is none, its name.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Knot => "knotd",
            Self::Nsd => "nsd",
            Self::Named => "named",
            Self::Hickory => "hickory",
        }
    }

    /// Whether it can be started here.
    pub(super) fn is_there(self) -> bool {
        self == Self::Hickory || tool(self.program()).is_some()
    }

    fn configuration(self, dir: &str, zone: &str, port: u16) -> String {
        match self {
            Self::Knot => format!(
                "server:\n    rundir: {dir}\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    udp-max-payload: 1232\n    tcp-workers: 1\n    background-workers: 1\n\
                 log:\n  - target: stderr\n    any: warning\ndatabase:\n    storage: {dir}/knot\n\
                 template:\n  - id: default\n    storage: {dir}\n    zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: none\n\
                 zone:\n  - domain: plain.example\n    file: {zone}\n    semantic-checks: off\n"
            ),
            Self::Nsd => format!(
                "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  database: \"\"\n\
                 \x20 zonesdir: \"{dir}\"\n  xfrdfile: \"\"\n  xfrdir: \"{dir}\"\n  zonelistfile: \"{dir}/zone.list\"\n  ipv4-edns-size: 1232\n  round-robin: no\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n\
                 remote-control:\n  control-enable: no\nzone:\n  name: plain.example\n  zonefile: \"{zone}\"\n"
            ),
            Self::Named => format!(
                "options {{ directory \"{dir}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none;\n\
                 session-keyfile none; dnssec-validation no; minimal-responses no; max-udp-size 1232; edns-udp-size 1232; minimal-any yes; zero-no-soa-ttl no; }};\n\
                 controls {{ }};\nzone \"plain.example\" {{ type primary; file \"{zone}\"; check-names ignore; check-integrity no; }};\n"
            ),
            Self::Hickory => String::new(),
        }
    }

    fn command(self, configuration: &Path) -> Option<Command> {
        let mut command = Command::new(tool(self.program())?);
        match self {
            Self::Knot => command.arg("-c"),
            Self::Nsd => command.args(["-d", "-c"]),
            Self::Named => command.args(["-g", "-n", "1", "-c"]),
            Self::Hickory => return None,
        }
        .arg(configuration);
        Some(command)
    }
}

/// A server at work; ended when dropped.
pub(super) struct Peer {
    running: Running,
    pub(super) address: SocketAddr,
}

enum Running {
    Program(Child),
    Here(#[allow(dead_code, reason = "ends when dropped")] Hickory),
}

impl Peer {
    /// Starts one on the zone `plain.example`; `None` when it is not installed.
    pub(super) fn start(kind: Kind, dir: &Path, zone: &Path) -> Option<Self> {
        if kind == Kind::Hickory {
            let here = Hickory::start(&std::fs::read_to_string(zone).expect("read"));
            let address = here.address;
            let running = Running::Here(here);
            return Some(Self { running, address });
        }
        let port = free_port();
        let name = kind.program();
        let file = dir.join(format!("{name}.conf"));
        let text = kind.configuration(&dir.to_string_lossy(), &zone.to_string_lossy(), port);
        std::fs::write(&file, text).expect("the configuration is written");
        let log = File::create(dir.join(format!("{name}.log"))).expect("a log");
        let child = kind
            .command(&file)?
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the peer starts");
        Some(Self {
            running: Running::Program(child),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        })
    }

    /// Waits until the zone is served.
    pub(super) fn wait(&mut self) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("timeout");
        let query = super::query(1, b"\x05plain\x07example\x00", 6, false);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            let mut reply = [0; 4_096];
            if socket.send_to(&query, self.address).is_ok()
                && socket
                    .recv(&mut reply)
                    .is_ok_and(|len| len > 12 && reply[3] & 0xF == 0)
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the peer does not serve the zone");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let Running::Program(child) = &mut self.running else {
            return;
        };
        // NSD's children end with their parent only where it is asked to end.
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}
