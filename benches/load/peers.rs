//! How each server is started for each workload: the same data, one worker (or two), minimal answers where that exists, logs and rate
//! limits off.
//!
//! To add one: an entry in [`ALL`] and a function that writes its configuration and returns its arguments.

use std::fs;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::Command;

use crate::Workload::{self, Cached, Distinct, Hosts, Tiny, Zone};

/// What a server is started with.
pub struct Setting<'a> {
    /// What it serves.
    pub workload: Workload,
    /// Where it listens.
    pub address: SocketAddrV4,
    /// Where it forwards to.
    pub upstream: SocketAddrV4,
    /// How many threads or processes answer.
    pub workers: usize,
    /// The data.
    pub data: &'a std::path::Path,
    /// Where its configuration and its state go.
    pub scratch: PathBuf,
}

/// A server that is measured.
pub struct Peer {
    /// Its name in the record.
    pub name: &'static str,
    /// Its program, and the variable that names another.
    program: (&'static str, &'static str),
    /// How it is asked for its version.
    version: &'static str,
    /// What it can serve.
    pub workloads: &'static [Workload],
    /// Writes the configuration; the arguments.
    configure: fn(&Setting<'_>) -> std::io::Result<Vec<String>>,
}

/// The echo server's name in the record.
pub const ECHO: &str = "echo";
/// Ours.
pub const NAMEPLATE: &str = "nameplate";

/// All of them, as they stand in tables.
pub const ALL: [Peer; 8] = [
    Peer {
        name: NAMEPLATE,
        program: ("", "NAMEPLATE"),
        version: "--version",
        workloads: &[Tiny, Zone, Hosts, Cached, Distinct],
        configure: corefile,
    },
    Peer {
        name: "knot",
        program: ("knotd", "KNOTD"),
        version: "--version",
        workloads: &[Tiny, Zone],
        configure: knot,
    },
    Peer {
        name: "nsd",
        program: ("nsd", "NSD"),
        version: "-v",
        workloads: &[Tiny, Zone],
        configure: nsd,
    },
    Peer {
        name: "unbound",
        program: ("unbound", "UNBOUND"),
        version: "-V",
        workloads: &[Hosts, Cached, Distinct],
        configure: unbound,
    },
    Peer {
        name: "dnsdist",
        program: ("dnsdist", "DNSDIST"),
        version: "--version",
        workloads: &[Cached, Distinct],
        configure: dnsdist,
    },
    Peer {
        name: "dnsmasq",
        program: ("dnsmasq", "DNSMASQ"),
        version: "--version",
        workloads: &[Hosts, Cached, Distinct],
        configure: dnsmasq,
    },
    Peer {
        name: "bind9",
        program: ("named", "NAMED"),
        version: "-v",
        workloads: &[Tiny, Zone, Cached, Distinct],
        configure: bind9,
    },
    Peer {
        name: "coredns",
        program: ("", "COREDNS"),
        version: "-version",
        workloads: &[Tiny, Zone, Hosts, Cached, Distinct],
        configure: corefile,
    },
];

impl Peer {
    /// Where its program is, if it is installed.
    pub fn find(&self) -> Option<String> {
        let (program, variable) = self.program;
        if let Ok(path) = std::env::var(variable) {
            return Some(path);
        }
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/sbin";
        let mut places = path
            .split(':')
            .map(|folder| PathBuf::from(folder).join(program));
        places
            .find(|place| !program.is_empty() && place.is_file())
            .map(|place| place.display().to_string())
    }

    /// Its version, as it says it.
    pub fn version(&self, program: &str) -> String {
        let Ok(output) = Command::new(program).arg(self.version).output() else {
            return String::new();
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let number = |word: &&str| {
            word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit())
        };
        said.split(|letter: char| letter.is_whitespace() || "-,()".contains(letter))
            .map(|word| word.trim_start_matches(['v', 'V']))
            .find(number)
            .unwrap_or_default()
            .to_owned()
    }

    /// The command line, once the configuration is written.
    pub fn command(&self, program: &str, setting: &Setting<'_>) -> std::io::Result<Vec<String>> {
        fs::create_dir_all(&setting.scratch)?;
        let mut command = vec![program.to_owned()];
        command.extend((self.configure)(setting)?);
        Ok(command)
    }
}

impl Setting<'_> {
    /// Writes the configuration; `{PORT}`, `{UPSTREAM}` (its port), `{WORKERS}`, `{DATA}`, `{ZONE}` and `{SCRATCH}` are filled in.
    fn write(&self, name: &str, text: &str) -> std::io::Result<String> {
        let path = self.scratch.join(name);
        fs::write(&path, self.fill(text))?;
        Ok(path.display().to_string())
    }

    fn fill(&self, text: &str) -> String {
        let zone = self.data.join(if self.workload == Tiny {
            "tiny"
        } else {
            "zone"
        });
        text.replace("{PORT}", &self.address.port().to_string())
            .replace("{UPSTREAM}", &self.upstream.port().to_string())
            .replace("{WORKERS}", &self.workers.to_string())
            .replace("{DATA}", &self.data.display().to_string())
            .replace("{ZONE}", &zone.display().to_string())
            .replace("{SCRATCH}", &self.scratch.display().to_string())
    }

    fn words(&self, text: &str) -> Vec<String> {
        self.fill(text)
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }
}

/// nameplate and CoreDNS: the same Corefile.
fn corefile(setting: &Setting<'_>) -> std::io::Result<Vec<String>> {
    let (zone, body) = match setting.workload {
        Tiny | Zone => ("example.org", "  file {ZONE} {\n    reload 0\n  }\n"),
        Hosts => (
            "hosts.example",
            "  hosts {DATA}/hosts hosts.example {\n    ttl 3600\n    reload 0\n    no_reverse\n  }\n",
        ),
        Cached => (
            ".",
            "  cache {\n    success 20000\n    denial 20000\n  }\n  forward . 127.0.0.1:{UPSTREAM}\n",
        ),
        Distinct => (".", "  forward . 127.0.0.1:{UPSTREAM}\n"),
    };
    let sockets = if setting.workers > 1 {
        "  multisocket {WORKERS}\n"
    } else {
        ""
    };
    let path = setting.write(
        "Corefile",
        &format!("{zone}:{{PORT}} {{\n  bind 127.0.0.1\n{sockets}{body}}}\n"),
    )?;
    Ok(vec!["-conf".into(), path, "-quiet".into()])
}

fn knot(setting: &Setting<'_>) -> std::io::Result<Vec<String>> {
    fs::create_dir_all(setting.scratch.join("db"))?;
    let text = "\
server:
    rundir: {SCRATCH}
    listen: 127.0.0.1@{PORT}
    udp-workers: {WORKERS}
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: error
database:
    storage: {SCRATCH}/db
template:
  - id: default
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
zone:
  - domain: example.org
    file: {ZONE}
";
    Ok(vec!["-c".into(), setting.write("knot.conf", text)?])
}

fn nsd(setting: &Setting<'_>) -> std::io::Result<Vec<String>> {
    let shared = if setting.workers > 1 { "yes" } else { "no" };
    let text = "\
server:
  ip-address: 127.0.0.1@{PORT}
  server-count: {WORKERS}
  reuseport: SHARED
  username: \"\"
  chroot: \"\"
  zonesdir: \"{DATA}\"
  database: \"\"
  pidfile: \"{SCRATCH}/nsd.pid\"
  xfrdfile: \"{SCRATCH}/xfrd.state\"
  zonelistfile: \"{SCRATCH}/zone.list\"
  xfrdir: \"{SCRATCH}\"
  logfile: \"{SCRATCH}/nsd.log\"
  minimal-responses: yes
  round-robin: no
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  zonefiles-check: no
  zonefiles-write: 0
remote-control:
  control-enable: no
zone:
  name: example.org
  zonefile: {ZONE}
";
    Ok(vec![
        "-d".into(),
        "-c".into(),
        setting.write("nsd.conf", &text.replace("SHARED", shared))?,
    ])
}

fn unbound(setting: &Setting<'_>) -> std::io::Result<Vec<String>> {
    let mut text = String::from(
        "\
server:
  interface: 127.0.0.1@{PORT}
  num-threads: {WORKERS}
  so-reuseport: yes
  username: \"\"
  chroot: \"\"
  directory: \"{SCRATCH}\"
  pidfile: \"\"
  use-syslog: no
  logfile: \"\"
  verbosity: 0
  do-ip6: no
  module-config: \"iterator\"
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  minimal-responses: yes
  rrset-roundrobin: no
  outgoing-range: 4096
  num-queries-per-thread: 2048
  msg-cache-size: 64m
  rrset-cache-size: 128m
  outbound-msg-retry: 5
  qname-minimisation: no
",
    );
    match setting.workload {
        Hosts => text += "  include: \"{DATA}/unbound-local\"\n",
        _ => {
            let no_cache = if setting.workload == Distinct {
                "yes"
            } else {
                "no"
            };
            text += &format!(
                "forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@{{UPSTREAM}}\n  forward-no-cache: {no_cache}\n"
            );
        }
    }
    text += "remote-control:\n  control-enable: no\n";
    Ok(vec![
        "-d".into(),
        "-c".into(),
        setting.write("unbound.conf", &text)?,
    ])
}

fn dnsdist(setting: &Setting<'_>) -> std::io::Result<Vec<String>> {
    let share = setting.workers > 1;
    let mut text = format!("addLocal(\"127.0.0.1:{{PORT}}\", {{reusePort={share}}})\n")
        .repeat(setting.workers);
    text += "setSecurityPollSuffix(\"\")\n\
             newServer({address=\"127.0.0.1:{UPSTREAM}\", sockets={WORKERS}, healthCheckMode=\"up\"})\n\
             setMaxUDPOutstanding(65535)\nsetACL(\"127.0.0.0/8\")\n";
    if setting.workload == Cached {
        text += "getPool(\"\"):setCache(newPacketCache(20000, {maxTTL=86400, numberOfShards=2}))\n";
    }
    Ok(vec![
        "--supervised".into(),
        "--disable-syslog".into(),
        "-C".into(),
        setting.write("dnsdist.conf", &text)?,
    ])
}

fn dnsmasq(setting: &Setting<'_>) -> std::io::Result<Vec<String>> {
    let always = "-k --conf-file=/dev/null --port={PORT} --listen-address=127.0.0.1 --bind-interfaces --no-resolv --no-hosts \
                  --user=root --group=root --pid-file= --log-facility=/dev/null --dns-forward-max=10000 --no-poll";
    let own = match setting.workload {
        Hosts => "--addn-hosts={DATA}/hosts --local=/hosts.example/ --local-ttl=3600",
        Cached => "--server=127.0.0.1#{UPSTREAM} --cache-size=20000",
        _ => "--server=127.0.0.1#{UPSTREAM} --cache-size=0",
    };
    Ok(setting.words(&format!("{always} {own}")))
}

fn bind9(setting: &Setting<'_>) -> std::io::Result<Vec<String>> {
    let mut text = String::from(
        "options { directory \"{SCRATCH}\"; listen-on port {PORT} { 127.0.0.1; }; listen-on-v6 { none; };
  pid-file none; session-keyfile none; dnssec-validation no; minimal-responses yes; querylog no; notify no;
  allow-transfer { none; }; rrset-order { order none; }; qname-minimization off; allow-query { any; };
",
    );
    text += match setting.workload {
        Tiny | Zone => "  recursion no; };\nzone \"example.org\" { type primary; file \"{ZONE}\"; };\n",
        _ => {
            "  recursion yes; allow-recursion { any; }; allow-query-cache { any; }; forward only;
  forwarders { 127.0.0.1 port {UPSTREAM}; }; empty-zones-enable no; send-cookie no; recursive-clients 20000; "
        }
    };
    text += match setting.workload {
        Cached => "max-cache-size 256M; };\n",
        Distinct => {
            "max-cache-ttl 0; max-ncache-ttl 0; clients-per-query 0; max-clients-per-query 0; };\n"
        }
        _ => "",
    };
    text += "controls { };\nlogging { category default { null; }; };\n";
    let path = setting.write("named.conf", &text)?;
    Ok(vec![
        "-f".into(),
        "-n".into(),
        setting.workers.to_string(),
        "-c".into(),
        path,
    ])
}
