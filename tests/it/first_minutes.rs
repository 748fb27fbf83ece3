//! A newcomer's first five minutes: the README's commands, the tools they know, the mistakes they make.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Server, Upstream, answer, nameplate, skip, temporary_directory, tool};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The example Corefile in a directory of its own, forwarding to a scripted upstream instead of this machine's resolvers.
fn example(test: &str) -> (Server, Upstream) {
    let upstream = Upstream::start(|asked| {
        crate::server::Reply::Octets(answer(asked.octets, 77, &[[198, 51, 100, 7]]))
    });
    let dir = temporary_directory(test);
    std::fs::create_dir(dir.join("zones")).expect("a directory is made");
    for file in ["zones/lan.hosts", "zones/example.org.zone"] {
        std::fs::copy(root().join(file), dir.join(file)).expect("a file is copied");
    }
    let text =
        std::fs::read_to_string(root().join("Corefile.example")).expect("the example is there");
    let text = text
        .replace("/etc/resolv.conf", &upstream.address().to_string())
        .replace("prometheus localhost:9153", "prometheus localhost:0");
    (Server::start_in(&dir, &text), upstream)
}

#[test]
fn dig_gets_what_the_readme_says() {
    let (server, upstream) = example("dig");
    let table: [(&[&str], &[&str]); 9] = [
        (
            &["nas.lan"],
            &[
                "status: NOERROR",
                "nas.lan.\t\t300\tIN\tA\t192.168.1.10",
                "flags: qr aa rd",
            ],
        ),
        (&["nas.lan", "AAAA"], &["fd00:1::10", "status: NOERROR"]),
        (
            &["-x", "192.168.1.10"],
            &[
                "10.1.168.192.in-addr.arpa. 300\tIN\tPTR",
                "nas.lan.",
                "flags: qr aa rd",
            ],
        ),
        (&["grafana.apps.lan"], &["192.168.1.30"]),
        (
            &["www.example.org", "CNAME", "+norec"],
            &[
                "www.example.org.\t3600\tIN\tCNAME\texample.org.",
                "flags: qr aa;",
            ],
        ),
        (
            &["www.example.org", "AAAA", "+tcp"],
            &["2001:db8::1", "(TCP)"],
        ),
        (
            &["nothing.example.org"],
            &[
                "status: NXDOMAIN",
                "AUTHORITY: 1",
                "example.org.\t\t300\tIN\tSOA",
            ],
        ),
        (
            &["host.lab.example.org"],
            &[
                "status: NOERROR",
                "ns.lab.example.org.",
                "192.0.2.200",
                "flags: qr rd;",
            ],
        ),
        (&["a.b.apps.example.org"], &["192.0.2.100"]),
    ];
    for (arguments, expected) in table {
        let Some(text) = server.dig(arguments) else {
            return;
        };
        for part in expected {
            assert!(
                text.contains(part),
                "dig {arguments:?} lacks {part:?}:\n{text}"
            );
        }
    }
    for _ in 0..3 {
        let text = server
            .dig(&["www.debian.example", "+short"])
            .unwrap_or_default();
        assert_eq!(text.trim(), "198.51.100.7");
    }
    assert_eq!(
        upstream.udp_queries() - loop_probes(&server),
        1,
        "the second and third answers come from the cache"
    );
}

/// Queries that `loop` sent upstream by itself.
fn loop_probes(server: &Server) -> usize {
    let _ = server;
    1
}

#[test]
fn kdig_nslookup_and_getent_agree() {
    let (server, _upstream) = example("tools");
    if let Some(text) = server.kdig(&["nas.lan", "A", "+edns"]) {
        assert!(
            text.contains("192.168.1.10") && text.contains("NOERROR"),
            "{text}"
        );
    }
    if let Some(nslookup) = tool("nslookup") {
        let out = Command::new(nslookup)
            .arg(format!("-port={}", server.port()))
            .args(["nas.lan", "127.0.0.1"])
            .output()
            .expect("nslookup runs");
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(
            text.contains("192.168.1.10") && text.contains("fd00:1::10"),
            "{text}"
        );
    }
}

#[test]
fn getent_resolves_through_a_resolv_conf() {
    let dir = temporary_directory("getent");
    std::fs::write(
        dir.join("resolv.conf"),
        "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n",
    )
    .expect("written");
    std::fs::write(dir.join("nsswitch.conf"), "hosts: dns\n").expect("written");
    std::fs::write(dir.join("Corefile"), ". {\n  bind 127.0.0.1\n  hosts {\n    192.0.2.10 nas.lan\n    2001:db8::10 six.lan\n  }\n}\n").expect("written");
    // A network namespace has a port 53 of its own; a mount namespace has an /etc/resolv.conf of its own.
    let script = format!(
        "set -e; ip link set lo up; mount --bind resolv.conf /etc/resolv.conf; mount --bind nsswitch.conf /etc/nsswitch.conf\n\
         {} -conf Corefile >log 2>&1 & pid=$!\n\
         for i in $(seq 100); do getent ahosts nas.lan >out && break; sleep 0.05; done; getent ahosts six.lan >>out || true; kill $pid; cat out log",
        env!("CARGO_BIN_EXE_nameplate")
    );
    if tool("unshare").is_none() || tool("ip").is_none() {
        return;
    }
    let allowed = Command::new("unshare")
        .args(["-rnm", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !allowed {
        skip("namespaces may not be made here (unshare -rnm)");
        return;
    }
    let out = Command::new("unshare")
        .args(["-rnm", "bash", "-c", &script])
        .current_dir(&dir)
        .output()
        .expect("unshare runs");
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(
        text.contains("192.0.2.10") && text.contains("2001:db8::10"),
        "{text}"
    );
}

#[test]
fn without_a_corefile_it_serves_what_a_lan_wants_on_loopback() {
    let dir = temporary_directory("no-corefile");
    let port = crate::server::free_port().to_string();
    let mut child = nameplate(&dir)
        .args(["-dns.port", &port])
        .stdout(std::fs::File::create(dir.join("log")).expect("a log"))
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
    let mut text = None;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(50));
        text = crate::server::dig(address, &["localhost", "+short"]);
        if text
            .as_deref()
            .is_none_or(|text| text.contains("127.0.0.1"))
        {
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    let Some(text) = text else { return };
    assert!(text.contains("127.0.0.1"), "{text}\n{log}");
    for part in ["bind 127.0.0.1", "hosts", "cache"] {
        assert!(
            log.contains(part),
            "the printed Corefile lacks {part:?}:\n{log}"
        );
    }
}

#[test]
fn check_says_everything_at_once() {
    let dir = temporary_directory("check");
    let corefile = ". {\n    hosts /etc/hosts {\n        ttl 1h\n        falthrough\n    }\n    forwrad . 192.0.2.1\n    geoip example.org\n}\n";
    std::fs::write(dir.join("Corefile"), corefile).expect("written");
    let run = |arguments: &[&str]| {
        let out = nameplate(&dir)
            .arg("check")
            .args(arguments)
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        (out.status.code(), text)
    };
    let (code, text) = run(&["-conf", "Corefile"]);
    assert_eq!(code, Some(2), "{text}");
    for part in [
        "Corefile:3:13",
        "Corefile:4:9",
        "falthrough",
        "fallthrough",
        "Corefile:6:5",
        "Unknown directive 'forwrad'",
        "forward",
        "Corefile:7:5",
        "CF0901",
    ] {
        assert!(text.contains(part), "lacks {part:?}:\n{text}");
    }
    assert!(
        !text.contains("never asked"),
        "one mistake, one message:\n{text}"
    );
    let (code, json) = run(&["-conf", "Corefile", "--format", "json"]);
    assert_eq!(code, Some(2));
    let parsed: serde_json::Value =
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}:\n{json}"));
    assert!(
        parsed.as_array().is_some_and(|all| all.len() >= 4),
        "{json}"
    );

    std::fs::write(
        dir.join("Corefile"),
        ". {\n    hosts\n    forward . 192.0.2.1\n}\n",
    )
    .expect("written");
    let (code, text) = run(&[]);
    assert_eq!(code, Some(0), "warnings pass: {text}");
    assert!(text.contains("fallthrough"), "{text}");
    let (code, _) = run(&["--deny", "warnings"]);
    assert_eq!(code, Some(1));

    std::fs::write(dir.join("Corefile"), ". {\n    whoami\n}\n").expect("written");
    assert_eq!(run(&[]).0, Some(0));
}

#[test]
fn a_broken_corefile_does_not_start_and_prints_what_check_prints() {
    let dir = temporary_directory("broken");
    let mut server = Server::spawn(&dir, ".:{PORT} {\n    whoam\n}\n", &[]);
    assert_eq!(server.wait().code(), Some(1));
    let log = server.log();
    for part in [
        "Unknown directive 'whoam'",
        "Corefile:2:5",
        "whoami",
        "^^^^^",
    ] {
        assert!(log.contains(part), "lacks {part:?}:\n{log}");
    }
}

#[test]
fn flags_are_those_of_coredns() {
    let dir = temporary_directory("flags");
    let run = |arguments: &[&str]| {
        let out = nameplate(&dir).args(arguments).output().expect("it runs");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let (code, plugins, _) = run(&["-plugins"]);
    assert_eq!(code, Some(0));
    assert!(
        plugins.contains("whoami") && plugins.contains("forward"),
        "{plugins}"
    );
    for version in ["-version", "--version"] {
        let (code, text, _) = run(&[version]);
        assert_eq!(code, Some(0));
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }
    let (code, _, text) = run(&["-conf", "nothing-here"]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("open nothing-here: no such file or directory"),
        "{text}"
    );
    // Flags of NodeLocal DNSCache, as its manifest gives them, are told what stands for them.
    let (code, _, text) = run(&[
        "-localip",
        "169.254.20.10,10.96.0.10",
        "-conf",
        "/etc/Corefile",
        "-upstreamsvc",
        "kube-dns-upstream",
        "--setupiptables=false",
        "-health-port=8080",
    ]);
    assert_eq!(code, Some(2), "{text}");
    for part in [
        "NodeLocal DNSCache",
        "-localip: the addresses to listen on: write `bind 169.254.20.10`",
        "-upstreamsvc: the service that the cache asks",
        "-setupiptables: packet filter rules",
        "-health-port: write `prometheus :9253` and `health",
        "deploy/node-local.yaml",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(!text.contains("-conf: "), "{text}");
    let (code, _, text) = run(&["extra", "words"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("extra command line arguments"), "{text}");
}

#[test]
fn signals_end_it_with_the_codes_of_coredns() {
    for (signal, code) in [("TERM", 0), ("INT", 0), ("QUIT", 0)] {
        let mut server = Server::start(
            &format!("signal-{signal}"),
            ".:{PORT} {\n  bind 127.0.0.1\n  whoami\n}\n",
        );
        server.signal("HUP");
        assert!(server.ask(&[0; 12]).is_some(), "SIGHUP is ignored");
        server.signal(signal);
        assert_eq!(
            server.wait().code(),
            Some(code),
            "SIG{signal}:\n{}",
            server.log()
        );
    }
}

#[test]
fn lameduck_answers_to_the_end() {
    let port = crate::server::free_port();
    let corefile = format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  health 127.0.0.1:{port} {{\n    lameduck 1s\n  }}\n  whoami\n}}\n"
    );
    let mut server = Server::start("lameduck", &corefile);
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(700));
    assert!(
        server.ask(&[0; 12]).is_some(),
        "it answers during lameduck:\n{}",
        server.log()
    );
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.log().contains("lameduck"), "{}", server.log());
}

/// Asks with a header alone, which gets FORMERR, from one socket and from a new one each time, until `until` says so; how many of the
/// queries got no answer.
fn ask_until(address: std::net::SocketAddr, mut until: impl FnMut() -> bool) -> u32 {
    let socket = || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(address).expect("an address");
        let patience = Some(Duration::from_secs(1));
        socket.set_read_timeout(patience).expect("a timeout");
        socket
    };
    let pinned = socket();
    let mut lost = 0;
    while !until() {
        for socket in [&pinned, &socket()] {
            let sent = socket.send(&[0; 12]);
            lost += u32::from(sent.and_then(|_| socket.recv(&mut [0; 64])).is_err());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    lost
}

/// A connection tracker goes on sending what comes from a known port to a pod that ends: it is answered for as long as it comes.
#[test]
fn stragglers_are_answered_after_lameduck() {
    let port = crate::server::free_port();
    let corefile = format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  health 127.0.0.1:{port} {{\n    lameduck 500ms\n  }}\n  whoami\n}}\n"
    );
    let mut server = Server::start("stragglers", &corefile);
    server.signal("TERM");
    let begun = Instant::now();
    let lost = ask_until(server.address(), || {
        begun.elapsed() > Duration::from_secs(3)
    });
    assert_eq!(lost, 0, "{}", server.log());
    assert_eq!(server.wait().code(), Some(0));
    assert!(
        server.log().contains("Queries still arrive"),
        "{}",
        server.log()
    );
    let took = begun.elapsed();
    assert!(
        // The last query was sent up to a pause of the loop before its end.
        took >= Duration::from_millis(3_900),
        "a quiet second passes: {took:?}"
    );

    // Whoever never stops asking is left after five seconds.
    let mut server = Server::start("stragglers-for-ever", &corefile);
    server.signal("TERM");
    let begun = Instant::now();
    ask_until(server.address(), || server.has_ended());
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(5_500), "{took:?}");
    assert_eq!(server.wait().code(), Some(0));

    // A server that nobody asks leaves at the end of lameduck, and one without lameduck at once: with no quiet second added.
    let idle = corefile.replace("lameduck 500ms", "lameduck 1100ms");
    let without = corefile.replace("lameduck 500ms", "");
    for (corefile, least) in [(idle, 1_100), (without, 0)] {
        let mut server = Server::start("nobody-asks", &corefile);
        server.signal("TERM");
        let begun = Instant::now();
        assert_eq!(server.wait().code(), Some(0));
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(least), "{took:?}");
        assert!(
            !server.log().contains("Queries still arrive"),
            "{}",
            server.log()
        );
    }
}
