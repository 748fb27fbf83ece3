//! DNS over TLS (RFC 7858) as clients see it, and the files of `tls` while they are replaced.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, HandshakeKind};

use crate::attacks::{a, get, rcode, status};
use crate::secure::{Authority, Pair, Tls, connect, connect_to, replace};
use crate::server::{
    Reply, Server, Upstream, answer, free_port, kdig, read_message, skip, temporary_directory,
    tool, wait_until, write_message,
};

/// A server of an encrypted transport, and the authority of its certificate.
pub(crate) struct Secured {
    pub(crate) server: Server,
    pub(crate) authority: Authority,
    pub(crate) address: SocketAddr,
    /// Where `{ADMIN}` stands for a port of the lines.
    pub(crate) admin: SocketAddr,
}

impl Secured {
    /// Serves `lines` over DNS and over TLS; `options` are those of `tls`, behind the files.
    pub(crate) fn start(test: &str, options: &str, lines: &str) -> Self {
        Self::start_by("tls", test, options, lines)
    }

    /// The same by another scheme than `tls`.
    pub(crate) fn start_by(scheme: &str, test: &str, options: &str, lines: &str) -> Self {
        let authority = Authority::new(test);
        let dir = temporary_directory(test);
        authority.server(365).write(&dir, "server");
        replace(&dir.join("ca.pem"), &authority.pem);
        let (port, admin) = (free_port(), free_port());
        let lines = lines.replace("{ADMIN}", &admin.to_string());
        let corefile = format!(
            ".:{{PORT}} {scheme}://.:{port} {{\n  bind 127.0.0.1\n  tls server.pem server.key {options}\n{lines}\n}}\n"
        );
        Self {
            server: Server::start_in(&dir, &corefile),
            authority,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            admin: SocketAddr::from(([127, 0, 0, 1], admin)),
        }
    }

    /// A client's configuration.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::new(self.authority.client_config(&["dot"], None))
    }

    pub(crate) fn connect(&self) -> Tls {
        connect(self.address, &self.client()).expect("a session")
    }
}

pub(crate) const HOSTS: &str = "  hosts {\n    192.0.2.1 www.example.org\n    fallthrough\n  }";

/// Asks for an address on an open connection; gives the reply.
pub(crate) fn ask(tls: &mut Tls) -> std::io::Result<Vec<u8>> {
    let query = a("www.example.org");
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&query);
    tls.write_all(&framed)?;
    read(tls)
}

pub(crate) fn read(tls: &mut Tls) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 2];
    tls.read_exact(&mut len)?;
    let mut message = vec![0; u16::from_be_bytes(len) as usize];
    tls.read_exact(&mut message)?;
    Ok(message)
}

#[test]
fn kdig_asks_over_tls_and_gets_padding_for_padding() {
    let dot = Secured::start(
        "dot-kdig",
        "",
        &format!("{HOSTS}\n  log . \"{{proto}} {{name}}\"\n  whoami"),
    );
    let ca = format!("+tls-ca={}", dot.server.dir().join("ca.pem").display());
    let secure = [&ca, "+tls-hostname=dns.example.org"];
    for (options, size) in [("+nopadding", None), ("+padding", Some("Received 468 B"))] {
        let arguments = [&secure[..], &[options, "www.example.org"]].concat();
        let Some(out) = kdig(dot.address, &arguments) else {
            return;
        };
        assert!(out.contains("TLS1.3") && out.contains("192.0.2.1"), "{out}");
        match size {
            Some(size) => assert!(out.contains(size) && out.contains("PADDING"), "{out}"),
            None => assert!(!out.contains("PADDING"), "{out}"),
        }
    }
    // Over TCP there is nothing to hide.
    let out = dot
        .server
        .kdig(&["+tcp", "+padding=128", "www.example.org"]);
    assert!(out.is_some_and(|out| !out.contains("PADDING:")));
    dot.server.wait_for_log("tcp www.example.org.");
    dot.server
        .wait_for_log(&format!("tls://.:{} on 127.0.0.1", dot.address.port()));
}

#[test]
fn dnspython_asks_over_tls() {
    let dot = Secured::start("dot-dnspython", "", HOSTS);
    let script = "import sys, ssl, dns.message, dns.query\n\
        context = ssl.create_default_context(cafile=sys.argv[2])\n\
        query = dns.message.make_query('www.example.org', 'A')\n\
        print(dns.query.tls(query, '127.0.0.1', 5, int(sys.argv[1]), ssl_context=context, server_hostname='dns.example.org'))\n";
    // Debian's has its packages; another one may stand before it on the path.
    let has = |python: &PathBuf| {
        let output = Command::new(python)
            .args(["-c", "import dns.query"])
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = tool("python3")
        .into_iter()
        .chain(["/usr/bin/python3".into()]);
    let Some(python) = found.into_iter().find(has) else {
        return skip("python3-dnspython is not installed");
    };
    let out = Command::new(python)
        .args(["-c", script, &dot.address.port().to_string()])
        .arg(dot.server.dir().join("ca.pem"))
        .output()
        .expect("python runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        text.contains("IN A 192.0.2.1"),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn unbound_forwards_over_tls() {
    let dot = Secured::start("dot-unbound", "", HOSTS);
    let Some(unbound) = tool("unbound") else {
        return;
    };
    let port = free_port();
    let dir = dot.server.dir().display();
    let configuration = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  directory: \"{dir}\"\n  pidfile: \"\"\n  use-syslog: no\n\
         \x20 do-not-query-localhost: no\n  module-config: \"iterator\"\n  tls-cert-bundle: \"{dir}/ca.pem\"\n\
         remote-control:\n  control-enable: no\n\
         forward-zone:\n  name: \".\"\n  forward-tls-upstream: yes\n  forward-addr: 127.0.0.1@{}#dns.example.org\n",
        dot.address.port()
    );
    let file = dot.server.dir().join("unbound.conf");
    std::fs::write(&file, configuration).expect("written");
    let mut child = Command::new(unbound)
        .args(["-d", "-c"])
        .arg(file)
        .stderr(Stdio::null())
        .spawn()
        .expect("unbound starts");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut last = None;
    let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until("an answer through unbound", || {
            last = crate::server::ask_udp(address, &a("www.example.org"), Duration::from_secs(1));
            last.as_ref()
                .is_some_and(|reply| rcode(reply) == 0 && reply[7] == 1)
        });
    }));
    let _ = child.kill();
    let _ = child.wait();
    assert!(answered.is_ok(), "{last:?}");
}

#[test]
fn queries_of_a_connection_overtake_each_other_and_sessions_are_resumed() {
    let upstream = Upstream::start(|asked| {
        Reply::After(
            Duration::from_millis(400),
            answer(asked.octets, 60, &[[198, 51, 100, 7]]),
        )
    });
    let lines = format!("{HOSTS}\n  forward . {}", upstream.address());
    let dot = Secured::start("dot-order", "", &lines);
    let client = dot.client();
    let mut tls = connect(dot.address, &client).expect("a session");
    assert_eq!(tls.conn.handshake_kind(), Some(HandshakeKind::Full));
    let (mut slow, mut fast) = (a("slow.example.org"), a("www.example.org"));
    (slow[1], fast[1]) = (1, 2);
    for query in [slow, fast] {
        tls.write_all(&(query.len() as u16).to_be_bytes())
            .expect("written");
        tls.write_all(&query).expect("written");
    }
    assert_eq!(read(&mut tls).expect("the fast one")[1], 2);
    assert_eq!(read(&mut tls).expect("the slow one")[1], 1);
    let mut again = connect(dot.address, &client).expect("a session");
    assert_eq!(again.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(rcode(&ask(&mut again).expect("an answer")), 0);
    // RFC 8446, 6.1: the end is told, not cut off. `Ok(0)` is rustls's word for that.
    again.conn.send_close_notify();
    again.flush().expect("sent");
    assert!(matches!(again.read(&mut [0; 16]), Ok(0)));
}

#[test]
fn other_protocols_are_refused_and_none_is_served() {
    let dot = Secured::start("dot-alpn", "", HOSTS);
    for (alpn, served) in [
        (&["dot"][..], true),
        (&[], true),
        (&["h2", "dot"], true),
        (&["h2"], false),
    ] {
        let config = Arc::new(dot.authority.client_config(alpn, None));
        let session = connect(dot.address, &config);
        let answered = session.and_then(|mut tls| ask(&mut tls));
        assert_eq!(answered.is_ok(), served, "{alpn:?}: {answered:?}");
    }
}

#[test]
fn without_a_certificate_the_scheme_is_served_in_clear() {
    let port = free_port();
    let server = Server::start(
        "dot-clear",
        &format!(".:{{PORT}} tls://.:{port} {{\n  bind 127.0.0.1\n{HOSTS}\n}}\n"),
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    // Padded, as kdig does it: nothing is padded where everybody reads it.
    let query =
        crate::attacks::with_opt(a("www.example.org"), 1_232, 0, &[0, 12, 0, 4, 0, 0, 0, 0]);
    write_message(&mut stream, &query).expect("written");
    let reply = read_message(&mut stream).expect("an answer");
    assert!(rcode(&reply) == 0 && reply[7] == 1 && reply.len() < 100);
    server.wait_for_log("is served in clear text");
}

#[test]
fn certificates_of_clients_are_judged_as_the_corefile_says() {
    let stranger = Authority::new("stranger");
    for (mode, none, foreign, known) in [
        ("nocert", true, true, true),
        ("request", true, true, true),
        ("require", false, true, true),
        ("verify_if_given", true, false, true),
        ("require_and_verify", false, false, true),
    ] {
        let options = format!("ca.pem {{\n    client_auth {mode}\n  }}");
        let dot = Secured::start(&format!("dot-{mode}"), &options, HOSTS);
        let (foreign_pair, known_pair) = (stranger.client(), dot.authority.client());
        let tried: [(Option<&Pair>, bool); 3] = [
            (None, none),
            (Some(&foreign_pair), foreign),
            (Some(&known_pair), known),
        ];
        for (pair, good) in tried {
            let config = Arc::new(dot.authority.client_config(&["dot"], pair));
            let answered = connect(dot.address, &config).and_then(|mut tls| ask(&mut tls));
            assert_eq!(
                answered.is_ok(),
                good,
                "{mode}, {}: {answered:?}",
                pair.is_some()
            );
        }
        // Once the authority of clients is another one, the clients of the old one are not let in any more.
        if mode == "require_and_verify" {
            let config = Arc::new(dot.authority.client_config(&["dot"], Some(&known_pair)));
            let mut open = connect(dot.address, &config).expect("a session");
            ask(&mut open).expect("an answer");
            replace(&dot.server.dir().join("ca.pem"), &stranger.pem);
            wait_until("the clients of the old authority to be refused", || {
                let session = connect(dot.address, &config);
                session.and_then(|mut tls| ask(&mut tls)).is_err()
            });
            assert!(ask(&mut open).is_ok(), "an open connection goes on");
        }
    }
}

#[test]
fn a_new_certificate_is_used_and_open_connections_go_on() {
    let dot = Secured::start(
        "dot-swap",
        "",
        &format!("{HOSTS}\n  prometheus 127.0.0.1:{{ADMIN}}"),
    );
    let (dir, address) = (dot.server.dir().to_owned(), dot.address);
    let mut open = dot.connect();
    let presented = || {
        let tls = dot.connect();
        tls.conn.peer_certificates().map(|chain| chain[0].to_vec())
    };
    let first = presented().expect("a certificate");
    // The certificate comes before its key: what was used is used on, and the log says why.
    let second = dot.authority.server(9);
    std::fs::write(dir.join("server.pem"), &second.certificate).expect("written");
    dot.server
        .wait_for_log("the previous certificate stays in use");
    assert_eq!(presented(), Some(first.clone()));
    std::fs::write(dir.join("server.key"), &second.key).expect("written");
    wait_until("the new certificate", || {
        presented().is_some_and(|shown| shown != first)
    });
    dot.server.wait_for_log("server.pem expires in 9 days");
    let second_shown = presented();
    // A file that has gone, and nonsense.
    std::fs::rename(dir.join("server.key"), dir.join("away")).expect("renamed");
    dot.server.wait_for_log("open server.key: No such file");
    std::fs::rename(dir.join("away"), dir.join("server.key")).expect("renamed");
    std::fs::write(dir.join("server.pem"), "nonsense").expect("written");
    dot.server.wait_for_log("no certificate in PEM format");
    assert_eq!(presented(), second_shown);
    // A reload of the Corefile in the middle of it goes on with what is in use.
    dot.server.signal("USR1");
    dot.server.wait_for_log("Reloading complete");
    assert_eq!(presented(), second_shown);
    assert!(
        ask(&mut open).is_ok(),
        "the connection from before all of it"
    );
    let metrics = get(dot.admin, "/metrics").expect("metrics");
    let days = "nameplate_tls_certificate_expiry_days{certificate=\"server.pem\"} 9.0";
    assert!(metrics.contains(days), "{metrics}");
    let requests = format!("server=\"tls://127.0.0.1:{}\"", address.port());
    let counted = metrics
        .lines()
        .find(|line| line.starts_with("coredns_dns_requests_total") && line.contains(&requests));
    assert!(
        counted.is_some_and(|line| line.contains("proto=\"tcp\"")),
        "{metrics}"
    );
    dot.authority.server(365).write(&dir, "server");
    wait_until("the third certificate", || presented() != second_shown);
}

/// Blocks on one port, each with a certificate: a client gets the one that bears the name that it wants.
#[test]
fn certificates_of_one_port_are_chosen_by_name() {
    let authority = Authority::new("names");
    let dir = temporary_directory("dot-names");
    let names = ["a.example.org", "b.example.org", "*.wild.example"];
    for (name, file) in names.into_iter().zip(["a", "b", "wild"]) {
        authority.named(name).write(&dir, file);
    }
    replace(&dir.join("ca.pem"), &authority.pem);
    let ports = ["tls", "https", "quic"].map(|scheme| (scheme, free_port()));
    let block = |zone: &str, file: &str, more: &str| {
        let keys = ports.map(|(scheme, port)| format!("{scheme}://{zone}:{port}"));
        let keys = keys.join(" ");
        format!(
            "{zone}:{{PORT}} {keys} {{\n  bind 127.0.0.1\n  tls {file}.pem {file}.key {more}\n{HOSTS}\n}}\n"
        )
    };
    let corefile = [
        block("example.org", "a", ""),
        block("example.net", "b", ""),
        block("example.com", "wild", "{\n    client_auth request\n  }"),
    ];
    let server = Server::start_in(&dir, &corefile.concat());
    server.wait_for_log("differ in `client_auth`; `nocert` of the first one");
    let address = |at: usize| SocketAddr::from(([127, 0, 0, 1], ports[at].1));
    // Each handshake verifies that the certificate bears the name.
    let presents = |name: &str, tells: bool, at: usize| {
        let mut config = authority.client_config(&[["dot", "h2"][at]], None);
        config.enable_sni = tells;
        connect_to(name, address(at), &Arc::new(config)).is_ok()
    };
    for at in [0, 1] {
        for (name, tells, expected) in [
            ("a.example.org", true, true),
            ("b.example.org", true, true),
            ("x.wild.example", true, true),
            ("A.Example.ORG", true, true),
            ("x.y.wild.example", true, false),
            ("c.example.org", true, false),
            ("a.example.org", false, true),
            ("b.example.org", false, false),
        ] {
            let presented = presents(name, tells, at);
            assert_eq!(
                presented, expected,
                "{name}, told: {tells}, {}",
                ports[at].0
            );
        }
    }
    for (scheme, port) in ports {
        for name in ["a.example.org", "b.example.org", "x.wild.example"] {
            let out = crate::server::nameplate(&dir)
                .args([
                    "query",
                    &format!("@{scheme}://127.0.0.1:{port}"),
                    "www.example.org",
                ])
                .args(["+short", "--ca", "ca.pem", &format!("+tls-hostname={name}")])
                .output()
                .expect("the binary runs");
            let errors = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.stdout, b"192.0.2.1\n", "{scheme} {name}: {errors}");
        }
    }
    // The one of the second block is followed as well.
    authority.named("new.example.org").write(&dir, "b");
    wait_until("the new name", || presents("new.example.org", true, 0));
    assert!(!presents("b.example.org", true, 0));
}

#[test]
fn session_keys_are_written_for_their_owner_alone() {
    let dot = Secured::start("dot-keylog", "{\n    keylog keys.log\n  }", HOSTS);
    ask(&mut dot.connect()).expect("an answer");
    let path = dot.server.dir().join("keys.log");
    let text = std::fs::read_to_string(&path).expect("the key log");
    assert!(
        text.lines()
            .any(|line| line.starts_with("SERVER_TRAFFIC_SECRET_0 ")),
        "{text}"
    );
    let mode = std::fs::metadata(&path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    dot.server
        .wait_for_log("anyone who can read it can decrypt the connections");
}

#[test]
fn an_idle_connection_holds_little() {
    const COUNT: u64 = 400;
    let dot = Secured::start(
        "dot-idle",
        "",
        &format!("{HOSTS}\n  timeouts {{\n    idle 60s\n  }}"),
    );
    let client = dot.client();
    let open = |count: u64| -> Vec<Tls> {
        let one = |_| {
            let mut tls = connect(dot.address, &client).expect("a session");
            ask(&mut tls).expect("an answer");
            tls
        };
        (0..count).map(one).collect()
    };
    let _warm = open(50);
    let before = status(&dot.server, "VmRSS");
    let mut idle = open(COUNT);
    let each = (status(&dot.server, "VmRSS") - before) / COUNT;
    crate::attacks::figure(&format!("an idle TLS connection: {each} KiB"));
    assert!(each <= 24, "{each} KiB each");
    assert!(idle.iter_mut().all(|tls| ask(tls).is_ok()));
}
