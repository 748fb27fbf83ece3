//! `nameplate zone`: what is told of the zones of a running server, and what can be done with them.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::attacks::get;
use crate::peers::{replace, wait_for_serial, zone};
use crate::rfcs::{Query, Reply};
use crate::server::{Server, dig, free_port, nameplate, temporary_directory, wait_until};

fn run(dir: &Path, words: &[&str]) -> Output {
    let mut command = nameplate(dir);
    command
        .arg("zone")
        .args(words)
        .args(["--admin", "admin.sock"]);
    command.output().expect("it runs")
}

fn text(dir: &Path, words: &[&str]) -> String {
    let output = run(dir, words);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        output.status.success(),
        "{words:?}: {text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn json(dir: &Path, words: &[&str]) -> Value {
    let text = text(dir, &[words, &["--json"]].concat());
    serde_json::from_str(&text).expect("JSON")
}

/// What is said when it cannot be done, with exit code 1.
fn refused(dir: &Path, words: &[&str]) -> String {
    let output = run(dir, words);
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[test]
fn an_operator_sees_zones_and_tells_what_to_do_with_them() {
    let (there, here) = (
        temporary_directory("zones-primary"),
        temporary_directory("zones-secondary"),
    );
    let (theirs, ours, admin) = (free_port(), free_port(), free_port());
    replace(&there.join("db"), &zone(7));
    replace(&there.join("other"), &zone(1));
    let primary = Server::start_with(
        &there,
        &format!(
            "example.org:{theirs} example.net:{theirs} {{\n  bind 127.0.0.1\n  file db example.org {{\n    reload 0\n  }}\n  file other example.net\n  transfer example.org {{\n    to 127.0.0.1:{ours}\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
        &["-admin", "admin.sock"],
    );
    let secondary = Server::start_with(
        &here,
        &format!(
            "example.org:{ours} {{\n  bind 127.0.0.1\n  prometheus 127.0.0.1:{admin}\n  secondary {{\n    transfer from 127.0.0.1:{theirs}\n    file copy\n  }}\n  transfer {{\n    to *\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
        &["-admin", "admin.sock"],
    );
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], ours));
    if dig(address, &["example.org", "SOA"]).is_none() {
        return;
    }
    wait_for_serial(address, 7);
    wait_until("the copy", || here.join("copy").exists());
    let all = json(&there, &["status"]);
    let zones = all["zones"].as_array().expect("a list");
    let names: Vec<_> = zones.iter().map(|zone| zone["zone"].as_str()).collect();
    assert_eq!(names, [Some("example.net."), Some("example.org.")]);
    assert_eq!(zones[1]["plugin"], "file");
    assert_eq!(
        (&zones[1]["serial"], &zones[1]["records"]),
        (&7.into(), &15.into())
    );
    let one = json(&here, &["status", "example.org"]);
    let one = &one["zones"][0];
    assert_eq!(one["plugin"], "secondary");
    assert_eq!(one["primaries"][0], format!("127.0.0.1:{theirs}"));
    assert_eq!(
        (&one["serial"], &one["primary_serial"]),
        (&7.into(), &7.into())
    );
    assert!(one["age_seconds"].as_u64().is_some_and(|age| age < 60));
    assert!(
        one["expires_in_seconds"]
            .as_u64()
            .is_some_and(|left| left > 1_209_000)
    );
    assert!(
        one["next_check_in_seconds"]
            .as_u64()
            .is_some_and(|next| next > 7_000)
    );
    assert_eq!(one["last_error"], Value::Null);
    // The file is read again when it is said, whatever its serial is; a broken one is told of.
    replace(&there.join("db"), &zone(8));
    let said = text(&there, &["reload", "example.org"]);
    assert!(said.contains("8 SOA serial"), "{said}");
    wait_for_serial(address, 8);
    replace(&there.join("db"), "@ IN SOA broken");
    let why = refused(&there, &["reload", "example.org"]);
    assert!(why.contains("db:1:"), "{why}");
    let told = text(&there, &["status", "example.org"]);
    assert!(
        told.contains("last error") && told.contains("serial          8"),
        "{told}"
    );
    // What has changed.
    for (dir, words) in [
        (&there, &["diff", "example.org"][..]),
        (&here, &["diff", "example.org", "--from", "7"]),
    ] {
        let diff = text(dir, words);
        let lines: Vec<&str> = diff.lines().collect();
        assert_eq!(lines[0], ";; from serial 7 to 8");
        assert!(
            lines[1].starts_with(
                "- example.org. 300 IN SOA ns1.example.org. hostmaster.example.org. 7 "
            ),
            "{diff}"
        );
        assert!(
            lines[2].starts_with(
                "+ example.org. 300 IN SOA ns1.example.org. hostmaster.example.org. 8 "
            ),
            "{diff}"
        );
    }
    let diff = json(&here, &["diff", "example.org"]);
    assert_eq!((&diff["from"], &diff["to"]), (&7.into(), &8.into()));
    assert_eq!(
        diff["versions"][0]["removed"].as_array().map(Vec::len),
        Some(1)
    );
    // Orders.
    let said = text(&there, &["notify", "example.org"]);
    assert!(
        said.contains("NOTIFY of serial 8 is sent to 1 secondaries"),
        "{said}"
    );
    secondary.wait_for_log("Notify from 127.0.0.1 for example.org.");
    let transfers = || secondary.log().matches("Transferred: example.org.").count();
    let before = transfers();
    text(&here, &["retransfer", "Example.ORG."]);
    wait_until("the zone, whole", || transfers() == before + 1);
    text(&here, &["reload", "example.org"]);
    for (dir, words, why) in [
        (
            &here,
            &["status", "example.net"][..],
            "zone example.net. is not served here",
        ),
        (
            &here,
            &["diff", "example.org", "--from", "3"],
            "go back to serial",
        ),
        (
            &here,
            &["notify", "example.org"],
            "no `to` names a secondary of zone example.org.",
        ),
        (
            &there,
            &["retransfer", "example.org"],
            "zone example.org. has no primary",
        ),
        (
            &there,
            &["notify", "example.net"],
            "no `transfer` sends zone example.net. to secondaries",
        ),
        (
            &there,
            &["diff", "example.net"],
            "no differences of zone example.net. are known",
        ),
    ] {
        let said = refused(dir, words);
        assert!(said.contains(why), "{words:?}: {said}");
    }
    // The same as metrics, and how it is without the primary.
    drop(primary);
    text(&here, &["reload", "example.org"]);
    wait_until("a failure", || {
        json(&here, &["status"])["zones"][0]["last_error"].is_string()
    });
    let metrics = get(
        std::net::SocketAddr::from(([127, 0, 0, 1], admin)),
        "/metrics",
    )
    .expect("metrics");
    for line in [
        "nameplate_zone_serial{zone=\"example.org.\"} 8",
        "nameplate_zone_primary_serial{zone=\"example.org.\"} 8",
        "nameplate_zone_failing{zone=\"example.org.\"} 1",
        "nameplate_zone_age_seconds{zone=\"example.org.\"} ",
        "nameplate_zone_expires_in_seconds{zone=\"example.org.\"} ",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

const KEY: [&str; 2] = [
    "test. DNSKEY 257 3 13 LvsKR4b9lTCzhAGixWelGjcLy7C/CGcyx/uf3loNSlst8HIGMSaDxRMvQyzQWYtSR/17oc4bUquWMSP5p2aZDw==\n",
    "Private-key-format: v1.3\nAlgorithm: 13\nPrivateKey: VGkbGKAv/Z1RJ/Szl94vJ8RjD6L3LQmQt6snAV9t3ro=\n",
];

/// Keys and the ends of signatures: of a zone that is signed in memory, of its secondary, and of one whose answers are signed. What
/// `reload` does for a zone that is signed, and says of one that is updated.
#[test]
fn an_operator_sees_keys_and_the_ends_of_signatures() {
    let dir = temporary_directory("zones-signed");
    let (here, there, admin) = (free_port(), free_port(), free_port());
    for (ending, text) in [("key", KEY[0]), ("private", KEY[1])] {
        std::fs::write(dir.join(format!("key.{ending}")), text).expect("a key");
    }
    replace(&dir.join("db"), &zone(7));
    replace(&dir.join("edited"), &zone(7));
    let server = Server::start_with(
        &dir,
        &format!(
            "memory.test:{here} {{\n  bind 127.0.0.1\n  prometheus 127.0.0.1:{admin}\n  sign edited {{\n    key file key\n    memory\n  }}\n  transfer {{\n    to 127.0.0.1:{there}\n  }}\n}}\n\
             memory.test:{there} {{\n  bind 127.0.0.1\n  secondary {{\n    transfer from 127.0.0.1:{here}\n  }}\n}}\n\
             online.test:{here} {{\n  bind 127.0.0.1\n  dnssec {{\n    key file key\n  }}\n  file db\n}}\n\
             updated.test:{here} {{\n  bind 127.0.0.1\n  tsig {{\n    secret key. NoTCJU+DMqFWywaPyxSijrDEA/eC3nK0xi3AMEZuPVk= hmac-sha256\n  }}\n  dynupdate {{\n    file db\n    database data\n    allow key. * *\n  }}\n}}\n\
             .:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
        &["-admin", "admin.sock"],
    );
    let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let Some(_) = dig(address(here), &["ns1.online.test", "A", "+dnssec"]) else {
        return;
    };
    wait_until("the secondary", || {
        json(&dir, &["status", "memory.test"])["zones"]
            .as_array()
            .is_some_and(|zones| {
                zones.len() == 2 && zones.iter().all(|zone| zone["serial"].is_u64())
            })
    });
    let day = 86_400;
    for (name, plugin, ends) in [
        ("memory.test", "sign", 32 * day..=37 * day),
        ("memory.test", "secondary", 32 * day..=37 * day),
        ("online.test", "dnssec", 7 * day..=8 * day),
    ] {
        let all = json(&dir, &["status", name]);
        let zones = all["zones"].as_array().expect("a list");
        let zone = zones
            .iter()
            .find(|zone| zone["plugin"] == plugin)
            .expect("the zone");
        let key = &zone["keys"][0];
        assert_eq!(
            (&key["algorithm"], &key["role"]),
            (&"ECDSAP256SHA256".into(), &"CSK".into()),
            "{name} by {plugin}: {zone}"
        );
        let end = zone["signatures_end_in_seconds"].as_i64().expect("an end");
        // What the test takes is not more than a minute.
        assert!(
            ends.contains(&(end + 60)) || ends.contains(&end),
            "{name} by {plugin}: {end}"
        );
    }
    let told = text(&dir, &["status", "online.test"]);
    assert!(
        told.contains("ECDSAP256SHA256 CSK\n") && told.contains("the first ends in "),
        "{told}"
    );
    let metrics = get(address(admin), "/metrics").expect("metrics");
    for line in [
        "nameplate_zone_signatures_end_in_seconds{zone=\"memory.test.\"} ",
        "nameplate_zone_signatures_end_in_seconds{zone=\"online.test.\"} ",
        "nameplate_zone_key{zone=\"memory.test.\",tag=\"",
        "nameplate_zone_key{zone=\"online.test.\",tag=\"",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(
        metrics.contains("algorithm=\"ECDSAP256SHA256\",role=\"CSK\"} 1"),
        "{metrics}"
    );
    // `reload` signs what the file has now.
    std::fs::write(
        dir.join("edited"),
        format!("{}\nlater 60 IN A 192.0.2.77\n", zone(7)),
    )
    .expect("written");
    let said = text(&dir, &["reload", "memory.test"]);
    assert!(said.contains("it is signed anew"), "{said}");
    wait_until("the edit, signed", || {
        dig(address(here), &["later.memory.test", "A", "+dnssec"])
            .is_some_and(|text| text.contains("192.0.2.77") && text.contains("RRSIG"))
    });
    let why = refused(&dir, &["reload", "updated.test"]);
    assert!(
        why.contains("change the zone with nsupdate, or stop the server and remove its database"),
        "{why}"
    );
    drop(server);
}

/// Queries that waited together are a batch, whose look-ups are begun before the first is answered where the zone is large.
#[test]
fn a_batch_is_answered_from_a_large_zone() {
    let dir = temporary_directory("zones-large");
    let mut text = zone(1);
    for n in 0..20_000 {
        text += &format!("host{n} A 10.0.{}.{}\n", n / 256, n % 256);
    }
    replace(&dir.join("db"), &text);
    let corefile = "example.org:{PORT} {\n  bind 127.0.0.1\n  file db\n}\n";
    let server = Server::start_in(&dir, corefile);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server.address()).expect("a peer");
    let patience = Some(std::time::Duration::from_secs(5));
    socket.set_read_timeout(patience).expect("a timeout");
    let rows: Vec<(String, String)> = (0..32)
        .map(|n| match n % 8 {
            6 => (
                format!("absent{n}.example.org A"),
                "NXDOMAIN|+aa".to_owned(),
            ),
            7 => (
                "www.example.net A edns".to_owned(),
                "REFUSED|opt".to_owned(),
            ),
            _ => {
                let at = n * 617;
                let address = format!("an: 10.0.{}.{}", at / 256, at % 256);
                (
                    format!("HOST{at}.example.org A"),
                    format!("{address}|an= 1"),
                )
            }
        })
        .collect();
    // What stands first says whether it is looked ahead: a hit, a miss, another zone's.
    for first in [0, 6, 7] {
        server.signal("STOP");
        for turn in 0..rows.len() {
            let at = (first + turn) % rows.len();
            let mut octets = Query::read(&rows[at].0).octets();
            octets[..2].copy_from_slice(&(at as u16).to_be_bytes());
            socket.send(&octets).expect("sent");
            // No query, which nobody answers.
            socket.send(&octets[..3]).expect("sent");
        }
        server.signal("CONT");
        let mut seen = vec![false; rows.len()];
        for _ in &rows {
            let mut octets = [0; 1_232];
            let len = socket.recv(&mut octets).expect("an answer");
            let at = usize::from(u16::from_be_bytes([octets[0], octets[1]]));
            assert!(!std::mem::replace(&mut seen[at], true), "{}", rows[at].0);
            let reply = Reply::read(octets[..len].to_vec());
            let (query, expected) = &rows[at];
            assert_eq!(reply.check(expected), Ok(()), "{query}: {reply:?}");
        }
    }
}
