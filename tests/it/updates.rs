//! Dynamic updates (RFC 2136) with the clients that people have: nsupdate and knsupdate; and what is left of them after `kill -9`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::server::{Reply, Server, Upstream, dig, empty, temporary_directory, tool, wait_until};

const SECRET: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0IQ==";
const ZONE: &str = "\
@ 300 IN SOA ns hostmaster 10 7200 1800 1209600 300
@ 300 IN NS ns
ns 300 IN A 192.0.2.53
www 300 IN A 192.0.2.1
";

fn corefile(more: &str) -> String {
    format!(
        "example.org:{{PORT}} {{\n  bind 127.0.0.1\n  log\n  tsig {{\n    secret all.example. {SECRET}\n    secret acme.example. {SECRET}\n    \
         secret none.example. {SECRET}\n  }}\n  cache\n  dynupdate {{\n    file zone\n    database database\n    allow all.example. * *\n    \
         allow acme.example. _acme-challenge.example.org. TXT\n  }}\n{more}}}\n\
         example.net:{{PORT}} {{\n  bind 127.0.0.1\n  whoami\n}}\n"
    )
}

fn serve(test: &str, more: &str) -> Server {
    let dir = temporary_directory(test);
    std::fs::write(dir.join("zone"), ZONE).expect("written");
    Server::start_in(&dir, &corefile(more))
}

/// Runs nsupdate or knsupdate; what it says. `None` when it is not installed.
pub(crate) fn update(program: &str, address: SocketAddr, key: &str, lines: &str) -> Option<String> {
    let mut command = Command::new(tool(program)?);
    if !key.is_empty() {
        command.args(["-y", &format!("hmac-sha256:{key}:{SECRET}")]);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (ip, port) = (address.ip(), address.port());
    let text = format!("server {ip} {port}\nzone example.org.\n{lines}\nsend\n");
    let input = child.stdin.take();
    input
        .expect("a pipe")
        .write_all(text.as_bytes())
        .expect("written");
    let output = child.wait_with_output().expect("it ends");
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said += &String::from_utf8_lossy(&output.stderr);
    Some(said)
}

fn short(address: SocketAddr, name: &str, rtype: &str) -> String {
    let text = dig(address, &[name, rtype, "+short"]).expect("dig");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join(" ")
}

fn serial(address: SocketAddr) -> String {
    let soa = short(address, "example.org", "SOA");
    soa.split(' ').nth(2).unwrap_or_default().to_owned()
}

#[test]
fn clients_change_a_zone() {
    let server = serve("updates", "");
    let address = server.address();
    for program in ["nsupdate", "knsupdate"] {
        // What certbot's dns-rfc2136 and external-dns do, in their order.
        let steps = [
            (
                "acme.example.",
                "update add _acme-challenge.example.org. 120 TXT \"token\"",
                "_acme-challenge",
                "TXT",
                "\"token\"",
            ),
            (
                "acme.example.",
                "update del _acme-challenge.example.org. TXT \"token\"",
                "_acme-challenge",
                "TXT",
                "",
            ),
            (
                "all.example.",
                "update add app.example.org. 60 A 192.0.2.7\nupdate add a-app.example.org. 60 TXT \"heritage=external-dns\"",
                "app",
                "A",
                "192.0.2.7",
            ),
            (
                "all.example.",
                "update del app.example.org. A 192.0.2.7\nupdate add app.example.org. 60 A 192.0.2.8",
                "app",
                "A",
                "192.0.2.8",
            ),
            (
                "all.example.",
                "prereq yxrrset app.example.org. A\nupdate del app.example.org.\nupdate del a-app.example.org.",
                "app",
                "A",
                "",
            ),
            // What a DHCP server does.
            (
                "all.example.",
                "prereq nxdomain host.example.org.\nupdate add host.example.org. 60 A 192.0.2.9",
                "host",
                "A",
                "192.0.2.9",
            ),
            (
                "all.example.",
                "update del host.example.org.",
                "host",
                "A",
                "",
            ),
        ];
        for (key, lines, name, rtype, expected) in steps {
            // A cache above keeps nothing of the zone.
            let name = format!("{name}.example.org");
            let before = short(address, &name, rtype);
            let Some(said) = update(program, address, key, lines) else {
                return;
            };
            assert_eq!(said.trim(), "", "{program}: {lines}");
            assert_ne!(before, expected, "{lines}");
            assert_eq!(short(address, &name, rtype), expected, "{program}: {lines}");
        }
    }
    assert_eq!(serial(address), "24");
    server.wait_for_log(
        "Updated example.org. from 127.0.0.1 by key all.example.: 0 records removed, 2 added",
    );
}

#[test]
fn who_may_not_is_told_so() {
    let server = serve("updates-refused", "");
    let address = server.address();
    let add = "update add new.example.org. 60 A 192.0.2.7";
    for (key, lines, expected) in [
        ("", add, "REFUSED"),
        ("none.example.", add, "REFUSED"),
        ("unknown.example.", add, "NOTAUTH(BADKEY)"),
        ("acme.example.", add, "REFUSED"),
        (
            "acme.example.",
            "update add _acme-challenge.example.org. 60 CAA 0 issue x",
            "REFUSED",
        ),
        (
            "all.example.",
            "prereq yxdomain new.example.org.\nupdate add x.example.org. 60 A 192.0.2.7",
            "NXDOMAIN",
        ),
        (
            "all.example.",
            "prereq nxdomain www.example.org.\nupdate add x.example.org. 60 A 192.0.2.7",
            "YXDOMAIN",
        ),
        (
            "all.example.",
            "prereq yxrrset www.example.org. AAAA\nupdate add x.example.org. 60 A 192.0.2.7",
            "NXRRSET",
        ),
        (
            "all.example.",
            "prereq nxrrset www.example.org. A\nupdate add x.example.org. 60 A 192.0.2.7",
            "YXRRSET",
        ),
        (
            "all.example.",
            "update add new.example.com. 60 A 192.0.2.7",
            "NOTZONE",
        ),
        (
            "all.example.",
            "update add www.example.org. 60 NSEC example.org. A",
            "REFUSED",
        ),
    ] {
        let Some(said) = update("nsupdate", address, key, lines) else {
            return;
        };
        assert!(said.contains(expected), "{key} {lines}: {said}");
    }
    // Nobody learns by prerequisites what is there who may not change the zone: all are told the same.
    for key in ["", "none.example.", "acme.example."] {
        for prerequisite in [
            "yxdomain www.example.org.",
            "yxdomain none.example.org.",
            "nxdomain www.example.org.",
            "nxdomain none.example.org.",
            "yxrrset www.example.org. AAAA",
            "yxrrset www.example.org. A 192.0.2.9",
            "nxrrset www.example.org. A",
        ] {
            let lines =
                format!("prereq {prerequisite}\nupdate add new.example.org. 60 A 192.0.2.7");
            let said = update("nsupdate", address, key, &lines).expect("nsupdate");
            assert!(said.contains("REFUSED"), "{key} {lines}: {said}");
        }
    }
    assert_eq!(serial(address), "10");
    // RFC 2136 is known where the directive stands, and nowhere else, whatever form the message has.
    for (zone, qtype, expected) in [
        (&b"\x07example\x03org\0"[..], 6, 5),
        (b"\x03www\x07example\x03org\0", 6, 9),
        (b"\x07example\x03org\0", 1, 1),
        (b"\x07example\x03net\0", 6, 4),
        (b"\x07example\x03com\0", 6, 4),
    ] {
        let mut message = vec![7, 7, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(zone);
        message.extend_from_slice(&[0, qtype, 0, 1]);
        for reply in [server.ask(&message), server.ask_tcp(&message)] {
            let reply = reply.expect("a response");
            assert_eq!((reply[2], reply[3] & 0xF), (0xA8, expected), "{zone:?}");
        }
    }
}

/// RFC 2136, section 2.4: every form of a prerequisite, as nsupdate and knsupdate send them, alone and several together.
#[test]
fn prerequisites_hold_or_nothing_is_done() {
    let server = serve("updates-prerequisites", "");
    let address = server.address();
    let set = "update add many.example.org. 60 A 192.0.2.1\nupdate add many.example.org. 60 A 192.0.2.2\nupdate add text.example.org. 60 TXT \"a b\" c";
    let Some(said) = update("nsupdate", address, "all.example.", set) else {
        return;
    };
    assert_eq!(said.trim(), "");
    for (prerequisites, expected) in [
        (&["yxdomain many.example.org."][..], ""),
        (&["yxdomain none.example.org."], "NXDOMAIN"),
        (&["nxdomain none.example.org."], ""),
        (&["nxdomain MANY.example.org."], "YXDOMAIN"),
        (&["yxrrset many.example.org. A"], ""),
        (&["yxrrset many.example.org. AAAA"], "NXRRSET"),
        (&["yxrrset none.example.org. A"], "NXRRSET"),
        (&["nxrrset many.example.org. AAAA"], ""),
        (&["nxrrset many.example.org. A"], "YXRRSET"),
        // With values, the RRset is these records and no others.
        (
            &[
                "yxrrset many.example.org. A 192.0.2.2",
                "yxrrset many.example.org. A 192.0.2.1",
            ],
            "",
        ),
        (&["yxrrset many.example.org. A 192.0.2.1"], "NXRRSET"),
        (
            &[
                "yxrrset many.example.org. A 192.0.2.1",
                "yxrrset many.example.org. A 192.0.2.3",
            ],
            "NXRRSET",
        ),
        (&["yxrrset text.example.org. TXT \"a b\" c"], ""),
        (&["yxrrset text.example.org. TXT \"a b c\""], "NXRRSET"),
        (
            &[
                "yxdomain many.example.org.",
                "nxrrset many.example.org. AAAA",
                "nxdomain none.example.org.",
                "yxrrset many.example.org. A",
            ],
            "",
        ),
        (
            &["yxdomain many.example.org.", "yxdomain none.example.org."],
            "NXDOMAIN",
        ),
        (&["yxdomain example.com."], "NOTZONE"),
    ] {
        for program in ["nsupdate", "knsupdate"] {
            let before = serial(address);
            let mut lines: String = prerequisites
                .iter()
                .map(|one| format!("prereq {one}\n"))
                .collect();
            lines += "update add done.example.org. 60 TXT done";
            let Some(said) = update(program, address, "all.example.", &lines) else {
                return;
            };
            assert_eq!(
                said.trim().is_empty(),
                expected.is_empty(),
                "{lines}: {said}"
            );
            assert!(said.contains(expected), "{program} {lines}: {said}");
            let done = short(address, "done.example.org", "TXT");
            assert_eq!(!done.is_empty(), expected.is_empty(), "{lines}");
            assert_eq!(serial(address) != before, expected.is_empty(), "{lines}");
            if !done.is_empty() {
                update(
                    program,
                    address,
                    "all.example.",
                    "update del done.example.org.",
                );
            }
        }
    }
}

/// RFC 4703, section 5, as Kea's D2 does it, message by message: a name is its client's, whose DHCID record stands beside its address.
#[test]
fn clients_of_dhcp_keep_their_names() {
    const ONE: &str = "AAEBqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=";
    const OTHER: &str = "AAEBu7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7s=";
    let server = serve("updates-dhcp", "");
    let address = server.address();
    let first = |name: &str, id: &str, last: u8| {
        format!(
            "prereq nxdomain {name}\nupdate add {name} 1300 A 192.0.2.{last}\nupdate add {name} 1300 DHCID {id}"
        )
    };
    let again = |name: &str, id: &str, last: u8| {
        format!(
            "prereq yxdomain {name}\nprereq yxrrset {name} DHCID {id}\nupdate del {name} A\nupdate add {name} 1300 A 192.0.2.{last}"
        )
    };
    let gone = |id: &str, last: u8| {
        format!(
            "prereq yxrrset host.example.org. DHCID {id}\nupdate del host.example.org. A 192.0.2.{last}"
        )
    };
    let forgotten = |id: &str| {
        format!(
            "prereq yxrrset host.example.org. DHCID {id}\nprereq nxrrset host.example.org. A\nprereq nxrrset host.example.org. AAAA\nupdate del host.example.org."
        )
    };
    let (host, www) = ("host.example.org.", "www.example.org.");
    for (lines, rcode, held) in [
        (first(host, ONE, 9), "", "192.0.2.9"),
        (first(host, ONE, 10), "YXDOMAIN", "192.0.2.9"),
        (again(host, ONE, 10), "", "192.0.2.10"),
        (first(host, OTHER, 11), "YXDOMAIN", "192.0.2.10"),
        (again(host, OTHER, 11), "NXRRSET", "192.0.2.10"),
        (gone(OTHER, 10), "NXRRSET", "192.0.2.10"),
        (forgotten(ONE), "YXRRSET", "192.0.2.10"),
        // A name that somebody has written by hand.
        (first(www, ONE, 12), "YXDOMAIN", "192.0.2.10"),
        (again(www, ONE, 12), "NXRRSET", "192.0.2.10"),
        (gone(ONE, 10), "", ""),
        (forgotten(ONE), "", ""),
        (first(host, OTHER, 11), "", "192.0.2.11"),
    ] {
        let Some(said) = update("nsupdate", address, "all.example.", &lines) else {
            return;
        };
        assert_eq!(said.trim().is_empty(), rcode.is_empty(), "{lines}: {said}");
        assert!(said.contains(rcode), "{lines}: {said}");
        assert_eq!(short(address, host, "A"), held, "{lines}");
    }
    assert_eq!(short(address, www, "A"), "192.0.2.1");
    let id = short(address, host, "DHCID").replace(' ', "");
    assert_eq!(id, OTHER);
}

/// Secondaries hear of a change, and get it as a difference.
#[test]
fn secondaries_get_the_difference() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = heard.clone();
    let sink = Upstream::start(move |asked| {
        log.lock().expect("no panic").push(asked.octets.to_vec());
        Reply::Octets(empty(asked.octets, 0))
    });
    let server = serve(
        "updates-transfer",
        &format!("  transfer {{\n    to * {}\n  }}\n", sink.address()),
    );
    let address = server.address();
    let lines = "update add new.example.org. 60 A 192.0.2.7\nupdate del www.example.org.";
    let Some(said) = update("nsupdate", address, "all.example.", lines) else {
        return;
    };
    assert_eq!(said.trim(), "");
    wait_until("a NOTIFY with the new serial", || {
        let heard = heard.lock().expect("no panic");
        heard.iter().any(|octets| octets[2] & 0x78 == 0x20)
    });
    let text = dig(address, &["example.org", "IXFR=10", "+noall", "+answer"]).expect("dig");
    let types: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3))
        .collect();
    assert_eq!(types, ["SOA", "SOA", "A", "SOA", "A", "SOA"], "{text}");
    let text = dig(address, &["example.org", "AXFR", "+noall", "+answer"]).expect("dig");
    assert_eq!(text.lines().count(), 5, "{text}");
}

/// What was answered is there after `kill -9`, and nothing else; the zone file plays no part any more.
#[test]
fn an_answered_update_outlives_the_process() {
    let mut server = serve("updates-killed", "");
    let dir = server.dir().to_path_buf();
    for round in 0..5u32 {
        let address = server.address();
        for number in 0..3 {
            let lines = format!("update add r{round}-{number}.example.org. 60 A 192.0.2.{number}");
            let Some(said) = update("nsupdate", address, "all.example.", &lines) else {
                return;
            };
            assert_eq!(said.trim(), "");
        }
        server.signal("KILL");
        server.wait();
        if round == 2 {
            // Another update was being written.
            let mut file = append_to(&dir.join("database"));
            file.write_all(b"D\0\0\0\x20\0\0\0\x40half of it")
                .expect("written");
            std::fs::remove_file(dir.join("zone")).expect("removed");
        }
        server = Server::start_in(&dir, &corefile(""));
        let address = server.address();
        assert_eq!(serial(address), (10 + 3 * (round + 1)).to_string());
        for (round, number) in
            (0..=round).flat_map(|round| (0..3).map(move |number| (round, number)))
        {
            let name = format!("r{round}-{number}.example.org");
            assert_eq!(short(address, &name, "A"), format!("192.0.2.{number}"));
        }
    }
    // A reload of the Corefile goes on with the same database.
    server.rewrite_corefile(&(corefile("") + "# reload\n"));
    server.signal("USR1");
    server.wait_for_log("Reloading complete");
    let lines = "update add after.example.org. 60 A 192.0.2.1";
    let said = update("nsupdate", server.address(), "all.example.", lines);
    assert_eq!(said.expect("nsupdate").trim(), "");
    assert_eq!(
        short(server.address(), "after.example.org", "A"),
        "192.0.2.1"
    );
}

fn append_to(path: &Path) -> std::fs::File {
    let file = std::fs::OpenOptions::new().append(true).open(path);
    file.expect("the database is there")
}
