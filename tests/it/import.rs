//! `nameplate import`: dnsmasq, Unbound and BIND answer beside what their configurations become, and both are asked the same.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use hickory_proto::op::Message;

use crate::server::{
    Reply, Server, Upstream, answer, ask_udp, empty, free_port, nameplate, temporary_directory,
    tool, wait_until,
};

/// The types that are asked of every name.
const TYPES: [(&str, u16); 11] = [
    ("A", 1),
    ("CNAME", 5),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("HTTPS", 65),
    ("CAA", 257),
    ("TYPE65280", 65_280),
];

/// A server at work; killed when dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a server says of a question: RCODE and answers, without TTL and order.
#[derive(PartialEq, Eq, Debug)]
struct Answer {
    rcode: u8,
    records: BTreeSet<String>,
}

fn ask(address: SocketAddr, name: &str, qtype: u16) -> Option<Answer> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend_from_slice(&qtype.to_be_bytes());
    query.extend_from_slice(&[0, 1]);
    let reply = ask_udp(address, &query, Duration::from_secs(3))?;
    let message = Message::from_vec(&reply).expect("a message");
    let records = message.answers.iter().map(|record| {
        let text = record.to_string().to_ascii_lowercase();
        let mut words: Vec<&str> = text.split_whitespace().collect();
        words.remove(1);
        words.join(" ")
    });
    Some(Answer {
        rcode: reply[3] & 0x0F,
        records: records.collect(),
    })
}

/// An upstream that has one address for every name.
fn upstream() -> Upstream {
    Upstream::start(|asked| {
        let mut end = 12;
        while let Some(&len @ 1..) = asked.octets.get(end) {
            end += 1 + usize::from(len);
        }
        let is_a = asked.octets.get(end + 1..end + 3) == Some(&[0, 1]);
        Reply::Octets(match is_a {
            true => answer(asked.octets, 60, &[[203, 0, 113, 9]]),
            false => empty(asked.octets, 0),
        })
    })
}

fn import(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = nameplate(dir);
    command.arg("import").args(arguments);
    command.output().expect("the binary starts")
}

/// Which names and types may differ, and what the report says of it.
type Difference<'a> = (fn(&str, &str) -> bool, &'a str);

/// Imports a configuration, checks the result, and compares the answers of both servers.
struct Comparison<'a> {
    format: &'a str,
    program: &'a str,
    /// With `{DIR}`, `{PORT}` and `{UPSTREAM}`, the port of the upstream.
    configuration: &'a str,
    /// Files beside it.
    files: &'a [(&'a str, &'a str)],
    arguments: &'a [&'a str],
    names: &'a [&'a str],
    /// Where the answers differ, and a text of the report that says so.
    differ: &'a [Difference<'a>],
    /// The exit status of the import.
    status: i32,
}

impl Comparison<'_> {
    fn run(&self) {
        let Some(program) = tool(self.program) else {
            return;
        };
        let dir = temporary_directory(&format!("import-{}", self.format));
        let upstream = upstream();
        let port = free_port();
        let filled = |text: &str| {
            text.replace("{DIR}", &dir.display().to_string())
                .replace("{PORT}", &port.to_string())
                .replace("{UPSTREAM}", &upstream.address().port().to_string())
        };
        for (name, text) in self.files.iter().chain(&[("conf", self.configuration)]) {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, filled(text)).expect("written");
        }
        let output = import(&dir, &[self.format, "conf", "--out", "out"]);
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(self.status), "{report}");
        let checked = nameplate(&dir)
            .args(["check", "-conf", "out/Corefile", "--deny", "warnings"])
            .output()
            .expect("the binary starts");
        let corefile = fs::read_to_string(dir.join("out/Corefile")).expect("a Corefile");
        assert!(
            checked.status.success(),
            "{corefile}\n{}",
            String::from_utf8_lossy(&checked.stdout)
        );
        let log = fs::File::create(dir.join("peer.log")).expect("a log");
        let arguments: Vec<String> = self.arguments.iter().map(|one| filled(one)).collect();
        let peer = Command::new(program)
            .args(arguments)
            .current_dir(&dir)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let _peer = Peer(peer.expect("the peer starts"));
        let theirs = SocketAddr::from(([127, 0, 0, 1], port));
        let ours = Server::start_in(
            &dir.join("out"),
            &corefile
                .replace(&format!(":{port} "), ":{PORT} ")
                .replace(&format!(":{port},\n"), ":{PORT},\n"),
        );
        wait_until("the peer", || ask(theirs, self.names[0], 1).is_some());
        let mut wrong = Vec::new();
        let mut same = 0;
        for name in self.names {
            for (mnemonic, qtype) in TYPES {
                let (theirs, ours) = (ask(theirs, name, qtype), ask(ours.address(), name, qtype));
                if theirs == ours {
                    same += 1;
                    continue;
                }
                let named = self
                    .differ
                    .iter()
                    .find(|(differs, _)| differs(name, mnemonic));
                match named {
                    Some((_, said)) => assert!(report.contains(said), "{said}: {report}"),
                    None => wrong.push(format!("{name} {mnemonic}: {theirs:?}, ours {ours:?}")),
                }
            }
        }
        assert!(wrong.is_empty(), "{}\n{corefile}", wrong.join("\n"));
        assert!(same > self.names.len() * 8, "{same} answers are the same");
    }
}

const DNSMASQ: &str = r#"
# Many options.
port={PORT}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
pid-file={DIR}/pid
user=root
expand-hosts
domain=lan
local=/lan/
domain-needed
bogus-priv
addn-hosts={DIR}/more.hosts
conf-dir={DIR}/conf.d,*.conf
server=127.0.0.1#{UPSTREAM}
server=/corp.example/127.0.0.1#{UPSTREAM}
server=/sub.ads.example/#
rev-server=10.1.0.0/16,127.0.0.1#{UPSTREAM}
address=/ads.example/0.0.0.0
address=/dead.example/
address=/null.example/#
address=/apps.lan/192.0.2.40
address=/*.wild.example/192.0.2.41
host-record=nas.lan,nas,192.0.2.10,2001:db8::10
host-record=ttl.lan,192.0.2.11,300
cname=www.lan,nas.lan
cname=ext.example,nas.lan
txt-record=txt.example,"v=spf1 a, b","sec\"ond"   # a comment
txt-record=lan,hello
srv-host=_ldap._tcp.lan,ldap.lan,389,1,2
srv-host=_sip._udp
mx-host=lan,mail.lan,50
caa-record=caa.example,0,issue,ca.example
naptr-record=naptr.example,10,20,u,E2U+sip,!^.*$!sip:x@example.org!
dns-rr=rr.example,65280,01:23:45
log-queries
cache-size=1000
local-ttl=30
"#;

#[test]
fn dnsmasq_is_answered_as_before() {
    Comparison {
        format: "dnsmasq",
        program: "dnsmasq",
        configuration: DNSMASQ,
        files: &[
            (
                "more.hosts",
                "192.0.2.30 printer scanner.lan\n2001:db8::30 printer\n192.0.2.31 cam.lan # camera\n",
            ),
            ("conf.d/a.conf", "address=/more.example/192.0.2.50\n"),
            ("conf.d/b.off", "address=/off.example/192.0.2.51\n"),
        ],
        arguments: &["-k", "-C", "{DIR}/conf"],
        names: &[
            "nas.lan", "nas", "printer", "printer.lan", "scanner.lan", "cam", "cam.lan",
            "none.lan", "none", "ttl.lan", "www.lan", "x.apps.lan", "apps.lan", "ads.example",
            "x.ads.example", "x.sub.ads.example", "dead.example", "x.dead.example",
            "null.example", "y.null.example", "wild.example", "a.b.wild.example", "ext.example",
            "txt.example", "lan", "_ldap._tcp.lan", "_sip._udp.lan", "caa.example",
            "naptr.example", "rr.example", "other.example", "x.corp.example", "more.example",
            "off.example", "10.2.0.192.in-addr.arpa", "30.2.0.192.in-addr.arpa",
            "11.2.0.192.in-addr.arpa", "1.1.1.10.in-addr.arpa", "1.2.2.10.in-addr.arpa",
            "8.8.8.8.in-addr.arpa",
        ],
        differ: &[
            (
                |name, qtype| qtype == "PTR" && !name.ends_with(".arpa"),
                "one for a name in `hosts` does not find the name",
            ),
            (
                |name, qtype| qtype == "PTR" && name.ends_with(".2.0.192.in-addr.arpa"),
                "gets all of its names, where dnsmasq gives the first",
            ),
            (
                |name, qtype| qtype != "PTR" && name.ends_with(".arpa"),
                "answered for all types; dnsmasq denies PTR alone",
            ),
        ],
        status: 0,
    }
    .run();
}

const UNBOUND: &str = r#"
server:
    directory: "{DIR}"
    chroot: ""
    username: ""
    pidfile: "{DIR}/pid"
    use-syslog: no
    do-daemonize: no
    interface: 127.0.0.1
    port: {PORT}
    module-config: "iterator"
    do-not-query-localhost: no
    access-control: 10.0.0.0/8 allow
    access-control: 127.0.0.9/32 refuse
    msg-cache-size: 4m
    include: "{DIR}/local*.conf"
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{UPSTREAM}
forward-zone:
    name: "corp.example"
    forward-addr: 127.0.0.1@{UPSTREAM}
remote-control:
    control-enable: no
"#;

const UNBOUND_LOCAL: &str = r#"
local-zone: "lan." static
local-data: "nas.lan. 300 IN A 192.0.2.10"
local-data: "nas.lan. IN AAAA 2001:db8::10"
local-data: "lan. IN MX 10 nas.lan."
local-data: "a.b.lan. A 192.0.2.11"
local-data: 'txt.lan. TXT "hello world; x"'
local-data: "www.lan. CNAME nas.lan."
local-data-ptr: "192.0.2.10 nas.lan"
local-data-ptr: "8.8.8.8 eights.example"
local-zone: "trans.example." transparent
local-data: "h.trans.example. A 192.0.2.12"
local-data: "m.trans.example. MX 5 h.trans.example."
local-zone: "tt.example." typetransparent
local-data: "h.tt.example. A 192.0.2.13"
local-zone: "redir.example." redirect
local-data: "redir.example. A 192.0.2.14"
local-zone: "ref.example." refuse
local-data: "h.ref.example. A 192.0.2.15"
local-zone: "nx.example." always_nxdomain
local-zone: "nodata.example." always_nodata
local-zone: "null.example." always_null
local-zone: "aref.example." always_refuse
local-zone: "through.lan." transparent
local-zone: "168.192.in-addr.arpa." nodefault
local-data: "bare.example. A 192.0.2.16"
"#;

#[test]
fn unbound_is_answered_as_before() {
    Comparison {
        format: "unbound",
        program: "unbound",
        configuration: UNBOUND,
        files: &[("local.conf", UNBOUND_LOCAL)],
        arguments: &["-d", "-c", "{DIR}/conf"],
        names: &[
            "nas.lan",
            "lan",
            "none.lan",
            "b.lan",
            "a.b.lan",
            "txt.lan",
            "www.lan",
            "10.2.0.192.in-addr.arpa",
            "8.8.8.8.in-addr.arpa",
            "h.trans.example",
            "x.trans.example",
            "trans.example",
            "m.trans.example",
            "h.tt.example",
            "x.tt.example",
            "redir.example",
            "a.redir.example",
            "a.b.redir.example",
            "ref.example",
            "h.ref.example",
            "x.ref.example",
            "nx.example",
            "x.nx.example",
            "nodata.example",
            "x.nodata.example",
            "null.example",
            "x.null.example",
            "aref.example",
            "through.lan",
            "x.through.lan",
            "bare.example",
            "x.bare.example",
            "corp.example",
            "other.example",
            "localhost",
            "x.localhost",
            "x.test",
            "home.arpa",
            "1.0.0.127.in-addr.arpa",
            "1.1.168.192.in-addr.arpa",
            "1.1.1.10.in-addr.arpa",
            "eights.example",
        ],
        differ: &[
            (
                |name, qtype| qtype == "PTR" && !name.ends_with(".arpa"),
                "a PTR query for a name in `hosts` does not find the name",
            ),
            (
                |name, _| name == "www.lan",
                "is answered with what it leads to; Unbound gives the alias alone",
            ),
        ],
        status: 0,
    }
    .run();
}

const NAMED: &str = r#"
acl lan { 10.0.0.0/8; !10.1.0.0/16; 127.0.0.1; };
options {
    directory "{DIR}";
    listen-on port {PORT} { 127.0.0.1; };
    listen-on-v6 { none; };
    pid-file none; session-keyfile none;
    forwarders { 127.0.0.1 port {UPSTREAM}; };
    forward only;
    recursion yes;
    dnssec-validation no;
    allow-query { any; };
    allow-recursion { lan; };
    allow-transfer { none; };
};
controls { };
/* A comment
   over lines. */
include "{DIR}/zones.conf";
zone "corp.example" { type forward; forward only; forwarders { 127.0.0.1 port {UPSTREAM}; }; };
"#;

#[test]
fn named_is_answered_as_before() {
    Comparison {
        format: "bind",
        program: "named",
        configuration: NAMED,
        files: &[
            (
                "zones.conf",
                "zone \"example.org\" IN { type primary; file \"db.example.org\"; }; // ours\nzone \"2.0.192.in-addr.arpa\" { type master; file \"db.192\"; };\n",
            ),
            (
                "db.example.org",
                "$TTL 3600\n@ SOA ns hostmaster 1 7200 3600 1209600 3600\n  NS ns\nns A 192.0.2.1\nwww CNAME web\n$INCLUDE \"inc/more.inc\"\n*.wild A 192.0.2.7\nsub NS ns.sub\nns.sub A 192.0.2.8\n",
            ),
            (
                "inc/more.inc",
                "web A 192.0.2.2\nweb AAAA 2001:db8::2\n@ MX 10 mail\nmail A 192.0.2.3\n",
            ),
            (
                "db.192",
                "$TTL 60\n@ SOA ns.example.org. h.example.org. 1 2 3 4 5\n NS ns.example.org.\n2 PTR web.example.org.\n",
            ),
        ],
        arguments: &["-g", "-n", "1", "-c", "{DIR}/conf"],
        names: &[
            "example.org", "www.example.org", "web.example.org", "mail.example.org",
            "x.example.org", "x.wild.example.org", "a.b.wild.example.org", "sub.example.org",
            "x.sub.example.org", "2.2.0.192.in-addr.arpa", "3.2.0.192.in-addr.arpa",
            "corp.example", "x.corp.example", "other.example", "1.1.1.10.in-addr.arpa",
            "x.home.arpa",
        ],
        differ: &[(
            |name, _| name.ends_with("sub.example.org"),
            "a name below a delegation in a zone gets the referral",
        )],
        status: 0,
    }
    .run();
}

/// Views choose by the client: each of two addresses of this machine gets the answers of its own.
#[test]
fn views_of_named_choose_by_the_client() {
    let dir = temporary_directory("import-views");
    let zone = |address: &str| {
        format!("$TTL 60\n@ SOA ns h 1 2 3 4 5\n NS ns\nns A {address}\nwww A {address}\n")
    };
    fs::write(dir.join("inside"), zone("192.0.2.1")).expect("written");
    fs::write(dir.join("outside"), zone("192.0.2.2")).expect("written");
    let text = "options { recursion no; };\nacl near { 127.0.0.1; };\n\
        view inside { match-clients { near; }; zone \"example.org\" { type primary; file \"inside\"; }; };\n\
        view outside { zone \"example.org\" { type primary; file \"outside\"; }; zone \"example.net\" { type primary; file \"outside\"; }; };\n";
    fs::write(dir.join("conf"), text).expect("written");
    let output = import(&dir, &["bind", "conf", "--out", "out"]);
    assert!(output.status.success(), "{output:?}");
    let corefile = fs::read_to_string(dir.join("out/Corefile")).expect("a Corefile");
    let listening = corefile.replacen("errors", "errors\n    bind 127.0.0.1", 1);
    let server = Server::start_in(&dir.join("out"), &listening);
    for (from, name, wanted) in [
        ("127.0.0.1", "www.example.org", "192.0.2.1\n"),
        ("127.0.0.2", "www.example.org", "192.0.2.2\n"),
        ("127.0.0.1", "www.example.net", ""),
        ("127.0.0.2", "www.example.net", "192.0.2.2\n"),
    ] {
        let Some(said) = server.dig(&["-b", from, name, "+short"]) else {
            return;
        };
        assert_eq!(said, wanted, "{name} from {from}\n{corefile}");
    }
}

/// A zone that is handed on to who has the key, from one imported configuration to another.
#[test]
fn keys_and_transfers_of_named_are_taken_over() {
    const KEY: &str = "NoTCJU+DMqFWywaPyxSijrDEA/eC3nK0xi3AMEZuPVk=";
    let dir = temporary_directory("import-transfers");
    let start = |name: &str, text: &str| {
        let folder = dir.join(name);
        fs::create_dir(&folder).expect("a directory");
        fs::write(
            folder.join("db"),
            "$TTL 60\n@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.1\n",
        )
        .expect("written");
        let key = format!("key moves {{ algorithm hmac-sha256; secret \"{KEY}\"; }};\n");
        fs::write(
            folder.join("conf"),
            key + "options { recursion no; };\n" + text,
        )
        .expect("written");
        let output = import(&folder, &["bind", "conf", "--out", "out"]);
        assert!(output.status.success(), "{output:?}");
        let keys = fs::metadata(folder.join("out/tsig.keys")).expect("the keys");
        let mode = std::os::unix::fs::PermissionsExt::mode(&keys.permissions());
        assert_eq!(mode & 0o077, 0, "nobody else reads them");
        let corefile = fs::read_to_string(folder.join("out/Corefile")).expect("a Corefile");
        let listening = corefile.replacen("errors", "errors\n    bind 127.0.0.1", 1);
        Server::start_in(&folder.join("out"), &listening)
    };
    let primary = start(
        "primary",
        "zone \"example.org\" { type primary; file \"db\"; allow-transfer { key moves; }; };\n",
    );
    let signed = format!("hmac-sha256:moves:{KEY}");
    let Some(said) = primary.dig(&["-y", &signed, "example.org", "AXFR"]) else {
        return;
    };
    assert!(said.contains("192.0.2.1"), "{said}");
    let said = primary.dig(&["example.org", "AXFR"]).unwrap_or_default();
    assert!(!said.contains("192.0.2.1"), "{said}");
    let secondary = start(
        "secondary",
        &format!(
            "zone \"example.org\" {{ type secondary; primaries {{ 127.0.0.1 port {} key moves; }}; allow-transfer {{ none; }}; }};\n",
            primary.port()
        ),
    );
    wait_until("the zone of the primary", || {
        let said = secondary.dig(&["ns.example.org", "+short"]);
        said.is_some_and(|said| said == "192.0.2.1\n")
    });
}

#[test]
fn pihole_and_hosts_files_are_read() {
    let dir = temporary_directory("import-pihole");
    fs::write(
        dir.join("pihole.toml"),
        "[dns]\nupstreams = [\"192.0.2.53#5353\", \"2001:db8::53\"]\nhosts = [\"192.0.2.10 nas printer.lan\"]\ncnameRecords = [\"www.lan,nas.lan\"]\nrevServers = [\"true,192.168.1.0/24,192.168.1.1,fritz.box\"]\ndomain = \"lan\"\nexpandHosts = true\n[misc]\ndnsmasq_lines = [\"address=/ads.example/\", \"dhcp-range=192.0.2.100,192.0.2.200\"]\n",
    )
    .expect("written");
    let output = import(&dir, &["pihole", ".", "--out", "out", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        report["left"][0]["text"],
        "dhcp-range=192.0.2.100,192.0.2.200"
    );
    assert_eq!(report["left"][0]["line"], 9);
    let corefile = fs::read_to_string(dir.join("out/Corefile")).expect("a Corefile");
    for wanted in [
        "forward . 192.0.2.53:5353 2001:db8::53",
        "1.168.192.in-addr.arpa",
        "fritz.box",
        "ads.example {",
    ] {
        assert!(corefile.contains(wanted), "{wanted}: {corefile}");
    }
    let hosts = fs::read_to_string(dir.join("out/hosts")).expect("hosts");
    assert!(
        hosts.contains("192.0.2.10 nas.lan nas printer.lan"),
        "{hosts}"
    );

    fs::create_dir(dir.join("hosts.d")).expect("a directory");
    fs::write(dir.join("hosts.d/a"), "192.0.2.1 a.lan\nnonsense b.lan\n").expect("written");
    fs::write(dir.join("hosts.d/.draft"), "192.0.2.2 b.lan\n").expect("written");
    let output = import(&dir, &["hosts-dir", "hosts.d", "--out", "second"]);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("hosts.d/a:2: nonsense b.lan"), "{report}");
    for folder in ["out", "second"] {
        let checked = nameplate(&dir)
            .args(["check", "--deny", "warnings", "-conf"])
            .arg(format!("{folder}/Corefile"))
            .output()
            .expect("the binary starts");
        assert!(checked.status.success(), "{folder}: {checked:?}");
    }
}

#[test]
fn nothing_is_overwritten_and_what_cannot_be_read_is_told() {
    let dir = temporary_directory("import-refused");
    fs::create_dir(dir.join("nameplate")).expect("a directory");
    fs::write(dir.join("nameplate/mine"), "").expect("written");
    fs::write(
        dir.join("conf"),
        "no-resolv\nno-hosts\nconf-file=conf\nfrobnicate=1\n",
    )
    .expect("written");
    let output = import(&dir, &["dnsmasq", "conf"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("nothing is overwritten"), "{said}");
    let output = import(&dir, &["unbound", "none", "--out", "out"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(!dir.join("out").exists());
    let output = import(&dir, &["dnsmasq", "conf", "--out", "out"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("conf:3: conf"), "{said}");
    assert!(said.contains("includes itself"), "{said}");
    assert!(said.contains("conf:4: frobnicate=1"), "{said}");
}
