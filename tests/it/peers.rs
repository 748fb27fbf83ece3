//! Servers of other kinds as peers of a zone transfer, and the zone that is handed around.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::server::{Server, dig, free_port, temporary_directory, tool, wait_until};

pub(crate) const SECRET: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0IQ==";
/// Both forms in which a zone reaches others, with names that compress and names that do not.
const ZONE: &str = "\
$TTL 300
@ IN SOA ns1 hostmaster SERIAL 7200 1800 1209600 300
@ IN NS ns1
@ IN NS ns.example.net.
@ IN MX 10 mail
@ IN CAA 0 issue \"example.net\"
ns1 IN A 192.0.2.53
ns1 IN AAAA 2001:db8::53
WwW IN A 192.0.2.1
mail IN A 192.0.2.25
alias IN CNAME www
*.wild IN TXT \"a\" \"b\"
_sip._tcp IN SRV 1 2 5060 mail
child IN NS ns.child
ns.child IN A 192.0.2.99
below.child IN TXT \"occluded\"
";

pub(crate) fn zone(serial: u32) -> String {
    ZONE.replace("SERIAL", &serial.to_string())
}

/// Writes beside and renames, as editors do.
pub(crate) fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("written");
    std::fs::rename(draft, path).expect("renamed");
}

/// A server of another kind; killed when dropped.
pub(crate) struct Peer {
    child: Child,
    log: PathBuf,
}

impl Peer {
    /// Starts named on a configuration; `None` when it is not installed.
    pub(crate) fn named(dir: &Path, configuration: &str) -> Option<Self> {
        let file = dir.join("named.conf");
        std::fs::write(&file, configuration).expect("written");
        let mut command = Command::new(tool("named")?);
        command.args(["-g", "-d", "3", "-n", "1", "-c"]).arg(&file);
        Some(Self::start(command, dir))
    }

    /// Starts knotd likewise.
    pub(crate) fn knot(dir: &Path, configuration: &str) -> Option<Self> {
        let file = dir.join("knot.conf");
        std::fs::write(&file, configuration).expect("written");
        let mut command = Command::new(tool("knotd")?);
        command.arg("-c").arg(&file);
        Some(Self::start(command, dir))
    }

    /// Starts nsd likewise.
    pub(crate) fn nsd(dir: &Path, configuration: &str) -> Option<Self> {
        let file = dir.join("nsd.conf");
        std::fs::write(&file, configuration).expect("written");
        let mut command = Command::new(tool("nsd")?);
        command.arg("-d").arg("-c").arg(&file);
        Some(Self::start(command, dir))
    }

    /// Starts pdns_server likewise.
    pub(crate) fn powerdns(dir: &Path, configuration: &str) -> Option<Self> {
        std::fs::write(dir.join("pdns.conf"), configuration).expect("written");
        let mut command = Command::new(tool("pdns_server")?);
        command.arg(format!("--config-dir={}", dir.display()));
        Some(Self::start(command, dir))
    }

    fn start(mut command: Command, dir: &Path) -> Self {
        let path = dir.join("peer.log");
        let log = File::create(&path).expect("a log");
        let child = command
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the peer starts");
        Self { child, log: path }
    }

    /// Waits until it has said `text`.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in {}", self.log.display()), || {
            std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains(text))
        });
    }

    /// Has it read its zones again.
    pub(crate) fn reload(&self) {
        let status = Command::new("kill")
            .args(["-HUP", &self.child.id().to_string()])
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn named_options(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "options {{ directory \"{dir}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none;\n\
         session-keyfile none; dnssec-validation no; notify explicit; allow-notify {{ 127.0.0.1; }}; min-refresh-time 1;\n\
         notify-delay 0; startup-notify-rate 100; notify-rate 100; serial-query-rate 100; transfers-per-ns 10; }};\n\
         controls {{ }};\nkey \"xfr.example.\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n"
    )
}

/// The serial that a server has.
pub(crate) fn serial(address: SocketAddr) -> Option<String> {
    let text = dig(address, &["example.org", "SOA", "+short", "+norecurse"])?;
    text.split_whitespace().nth(2).map(str::to_owned)
}

/// Waits until a server has the zone of this serial.
pub(crate) fn wait_for_serial(address: SocketAddr, expected: u32) {
    wait_until(&format!("serial {expected} at {address}"), || {
        serial(address).is_some_and(|found| found == expected.to_string())
    });
}

/// All records of a transfer, sorted, as text.
pub(crate) fn records(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with(';') && !line.is_empty() && !line.contains("TSIG"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    lines
}

pub(crate) fn transferred(address: SocketAddr, more: &[&str]) -> Option<Vec<String>> {
    let arguments = [&["example.org", "AXFR", "+tcp", "+nocmd", "+nostats"], more].concat();
    dig(address, &arguments).map(|text| records(&text))
}

/// BIND as the secondary of a zone that we serve from the file `db`.
pub(crate) struct BindBehindOurs {
    /// Where the files of both are.
    pub(crate) dir: PathBuf,
    pub(crate) named: Peer,
    pub(crate) server: Server,
    /// Where BIND answers.
    pub(crate) theirs: SocketAddr,
    /// Where we do.
    pub(crate) ours: SocketAddr,
}

/// Both, with a key and NOTIFY, once BIND has the zone; `None` where BIND is not installed.
pub(crate) fn bind_behind_ours(test: &str) -> Option<BindBehindOurs> {
    let dir = temporary_directory(test);
    let (theirs, ours) = (free_port(), free_port());
    replace(&dir.join("db"), &zone(7));
    let configuration = named_options(&dir, theirs)
        + &format!(
            "zone \"example.org\" {{ type secondary; file \"copy\"; masterfile-format text; primaries port {ours} {{ 127.0.0.1 key \"xfr.example.\"; }}; allow-transfer {{ 127.0.0.1; }}; }};\n"
        );
    let named = Peer::named(&dir, &configuration)?;
    let server = Server::start_in(
        &dir,
        &format!(
            "example.org:{ours} {{\n  bind 127.0.0.1\n  tsig {{\n    secret xfr.example {SECRET} hmac-sha256\n    require AXFR IXFR\n  }}\n  file db {{\n    reload 200ms\n  }}\n  transfer {{\n    to 127.0.0.1:{theirs} key xfr.example\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    let [theirs, ours] = [theirs, ours].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    wait_for_serial(theirs, 7);
    Some(BindBehindOurs {
        dir,
        named,
        server,
        theirs,
        ours,
    })
}
