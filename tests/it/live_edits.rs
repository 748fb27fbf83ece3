//! Edits while it serves: the new data is answered, not one query is lost, and a broken edit changes nothing but the log.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;

use crate::server::{Server, temporary_directory, wait_until};

const ZONE: &str = "@ 60 IN SOA ns1 hostmaster SERIAL 7200 1800 1209600 300\n@ IN NS ns1\nns1 IN A 192.0.2.53\nwww 60 IN A ADDRESS\n";

fn zone(serial: u32, address: &str) -> String {
    ZONE.replace("SERIAL", &serial.to_string())
        .replace("ADDRESS", address)
}

/// Writes beside and renames, as editors do.
fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("written");
    std::fs::rename(draft, path).expect("renamed");
}

fn corefile(address: &str) -> String {
    format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  reload 2s 1s\n  errors\n  hosts hosts.txt lan {{\n    reload 200ms\n  }}\n  \
         file example.org.zone example.org {{\n    reload 200ms\n  }}\n  hosts {{\n    {address} block.example\n    fallthrough\n  }}\n}}\n"
    )
}

#[test]
fn no_query_is_lost_while_hosts_zone_and_corefile_change() {
    let dir = temporary_directory("live-edits");
    replace(&dir.join("hosts.txt"), "192.0.2.1 nas.lan\n");
    replace(&dir.join("example.org.zone"), &zone(1, "192.0.2.1"));
    let server = Server::start_in(&dir, &corefile("192.0.2.1"));
    let mut queries = String::new();
    for name in ["nas.lan", "www.example.org", "block.example"] {
        writeln!(queries, "{name} A").expect("written");
    }
    std::fs::write(dir.join("queries"), queries).expect("written");

    let report = thread::scope(|scope| {
        let load = scope.spawn(|| {
            server.dnsperf(
                &dir.join("queries"),
                &["-l", "8", "-c", "4", "-q", "50", "-Q", "20000", "-t", "5"],
            )
        });
        for round in 2..6u32 {
            let address = format!("192.0.2.{round}");
            replace(&dir.join("hosts.txt"), &format!("{address} nas.lan\n"));
            replace(&dir.join("example.org.zone"), &zone(round, &address));
            server.rewrite_corefile(&corefile(&address));
            server.signal("USR1");
            // The next edit comes when this one is served, and the load ends long after the last one.
            for name in ["nas.lan", "www.example.org", "block.example"] {
                wait_until(&format!("the data of round {round} of {name}"), || {
                    server
                        .dig(&[name, "+short"])
                        .is_none_or(|text| text.trim() == address)
                });
            }
        }
        load.join().expect("dnsperf ends")
    });
    let Some(report) = report else { return };
    assert!(
        report.contains("Queries lost:         0"),
        "{report}\n{}",
        server.log()
    );
    assert!(
        report.contains("NOERROR") && !report.contains("SERVFAIL") && !report.contains("REFUSED"),
        "{report}"
    );
    for name in ["nas.lan", "www.example.org", "block.example"] {
        wait_until(&format!("the last data of {name}"), || {
            server
                .dig(&[name, "+short"])
                .is_none_or(|text| text.trim() == "192.0.2.5")
        });
    }
}

#[test]
fn broken_edits_keep_the_old_state_and_say_so() {
    let dir = temporary_directory("broken-edits");
    let ready = crate::server::free_port();
    replace(&dir.join("hosts.txt"), "192.0.2.1 nas.lan\n");
    replace(&dir.join("example.org.zone"), &zone(1, "192.0.2.1"));
    let good = corefile("192.0.2.1").replace(
        "  errors\n",
        &format!("  errors\n  ready 127.0.0.1:{ready}\n"),
    );
    let server = Server::start_in(&dir, &good);

    replace(
        &dir.join("example.org.zone"),
        &(zone(2, "192.0.2.2") + "broken IN A 1.2.3.400\n"),
    );
    replace(
        &dir.join("hosts.txt"),
        "192.0.2.1 nas.lan\nnot-an-address printer.lan\n192.0.2.9 new.lan\n",
    );
    server.rewrite_corefile(". {\n  whoam\n}\n");
    server.wait_for_log("example.org.zone:5");
    server.wait_for_log("hosts.txt:2:1");
    server.wait_for_log("Unknown directive 'whoam'");
    // Once, and as `check` shows it: with a caret and the nearest word.
    server.wait_for_log("2 |   whoam\n  |   ^^^^^ no plugin has this name\n");
    server.wait_for_log("help: a similar directive exists");
    let Some(text) = server.dig(&["www.example.org", "+short"]) else {
        return;
    };
    assert_eq!(
        text.trim(),
        "192.0.2.1",
        "the zone keeps its last good version"
    );
    wait_until("the good lines of the hosts file", || {
        server
            .dig(&["new.lan", "+short"])
            .is_some_and(|text| text.trim() == "192.0.2.9")
    });
    assert_eq!(
        server
            .dig(&["block.example", "+short"])
            .unwrap_or_default()
            .trim(),
        "192.0.2.1"
    );

    let lines = server.log().matches("hosts.txt:2:1").count();
    assert_eq!(lines, 1, "told once:\n{}", server.log());
    let pictures = server.log().matches("  |   ^^^^^ ").count();
    assert_eq!(pictures, 1, "told once:\n{}", server.log());

    let page = http_get(ready, "/ready?verbose");
    assert!(
        page.contains("whoam"),
        "ready?verbose tells of the failed reload: {page}"
    );
}

/// The answer to a GET, header and all.
fn http_get(port: u16, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream =
        std::net::TcpStream::connect(("127.0.0.1", port)).expect("the page's listener is up");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut out = String::new();
    stream.read_to_string(&mut out).expect("read");
    out
}
