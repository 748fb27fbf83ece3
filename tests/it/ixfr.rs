//! Incremental transfers (RFC 1995): what an edit of a zone file changes leaves as differences, and what a primary changed comes as such.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::peers::{
    Peer, SECRET, bind_behind_ours, named_options, records, replace, serial, transferred,
    wait_for_serial, zone,
};
use crate::server::{Server, dig, free_port, temporary_directory};

/// The zone with one more record, which each version has for itself.
fn edited(serial: u32) -> String {
    format!("{}edit IN TXT \"{serial}\"\n", zone(serial))
}

/// The records of a response as they came, one line each.
fn lines(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.starts_with(';') && !line.is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn an_edit_of_a_zone_file_leaves_as_differences() {
    let dir = temporary_directory("ixfr-out");
    replace(&dir.join("db"), &zone(7));
    let server = Server::start_in(
        &dir,
        "example.org:{PORT} {\n  bind 127.0.0.1\n  file db {\n    reload 200ms\n  }\n  transfer {\n    to *\n  }\n}\n",
    );
    let ask = |from: u32, transport: &str| {
        let ixfr = format!("IXFR={from}");
        let text = dig(
            server.address(),
            &["example.org", &ixfr, transport, "+nocmd", "+onesoa"],
        );
        text.map(|text| lines(&text))
    };
    if ask(7, "+tcp").is_none() {
        return;
    }
    for serial in 8..11 {
        replace(&dir.join("db"), &edited(serial));
        wait_for_serial(server.address(), serial);
    }
    let soa = |serial: u32| {
        format!(
            "example.org. 300 IN SOA ns1.example.org. hostmaster.example.org. {serial} 7200 1800 1209600 300"
        )
    };
    let text = |serial: u32| format!("edit.example.org. 300 IN TXT \"{serial}\"");
    let steps = [
        soa(10),
        soa(7),
        soa(8),
        text(8),
        soa(8),
        text(8),
        soa(9),
        text(9),
        soa(9),
        text(9),
        soa(10),
        text(10),
        soa(10),
    ];
    assert_eq!(ask(7, "+tcp"), Some(steps.to_vec()));
    let last = [steps[..1].to_vec(), steps[8..].to_vec()].concat();
    assert_eq!(ask(9, "+tcp"), Some(last));
    server.wait_for_log("Outgoing incremental transfer of 13 records of zone example.org. to 127.0.0.1 from 7 to 10 SOA serial");
    // Over UDP the SOA record is the answer, and what the journal does not reach back to is the whole zone.
    assert_eq!(ask(9, "+notcp"), Some(vec![soa(10)]));
    assert_eq!(ask(10, "+tcp"), Some(vec![soa(10)]));
    let whole = |found: Option<Vec<String>>| {
        let found = found.unwrap_or_default();
        found.len() > 15 && found.iter().filter(|line| line.contains(" SOA ")).count() <= 2
    };
    for unknown in [0, 6, 0xFFFF_FFF0] {
        assert!(whole(ask(unknown, "+tcp")), "{unknown}");
    }
    // A version that is newer has the SOA record alone (RFC 1995, section 2).
    for newer in [11, 0x8000_0009] {
        assert_eq!(ask(newer, "+tcp"), Some(vec![soa(10)]), "{newer}");
    }
    // More has changed than there is.
    let mut text = edited(11);
    for number in 0..500 {
        writeln!(text, "host-{number} IN A 192.0.2.1").expect("written");
    }
    replace(&dir.join("db"), &text);
    wait_for_serial(server.address(), 11);
    replace(&dir.join("db"), &edited(12));
    wait_for_serial(server.address(), 12);
    assert!(whole(ask(10, "+tcp")));
    // The journal outlives a reload of the Corefile, and begins anew with a serial that goes back.
    replace(&dir.join("db"), &edited(13));
    wait_for_serial(server.address(), 13);
    server.signal("USR1");
    server.wait_for_log("Reloading complete");
    assert_eq!(ask(12, "+tcp").map(|found| found.len()), Some(6));
    replace(&dir.join("db"), &edited(5));
    wait_for_serial(server.address(), 5);
    assert_eq!(ask(12, "+tcp"), Some(vec![soa(5)]));
    assert!(whole(ask(4, "+tcp")));
}

#[test]
fn bind_takes_differences_and_has_the_same_zone() {
    let Some(pair) = bind_behind_ours("ixfr-bind-secondary") else {
        return;
    };
    let (dir, named, server, address) = (pair.dir, pair.named, pair.server, pair.theirs);
    for serial in [8, 9] {
        replace(&dir.join("db"), &edited(serial));
        wait_for_serial(address, serial);
    }
    named.wait_for_log("got incremental response");
    server.wait_for_log("Outgoing incremental transfer of 6 records");
    let signed = format!("hmac-sha256:xfr.example:{SECRET}");
    assert_eq!(
        transferred(address, &[]),
        transferred(pair.ours, &["-y", &signed])
    );
}

#[test]
fn differences_of_bind_are_applied_and_handed_on() {
    let dir = temporary_directory("ixfr-bind-primary");
    let (theirs, ours) = (free_port(), free_port());
    replace(&dir.join("db"), &zone(7));
    let configuration = named_options(&dir, theirs)
        + &format!(
            "zone \"example.org\" {{ type primary; file \"db\"; ixfr-from-differences yes; allow-transfer {{ key \"xfr.example.\"; }}; also-notify port {ours} {{ 127.0.0.1 key \"xfr.example.\"; }}; }};\n"
        );
    let Some(named) = Peer::named(&dir, &configuration) else {
        return;
    };
    let server = Server::start_in(
        &dir,
        &format!(
            "example.org:{ours} {{\n  bind 127.0.0.1\n  tsig {{\n    secret xfr.example {SECRET} hmac-sha256\n  }}\n  secondary {{\n    transfer from 127.0.0.1:{theirs} key xfr.example\n  }}\n  transfer {{\n    to 127.0.0.1\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    let address = SocketAddr::from(([127, 0, 0, 1], ours));
    wait_for_serial(address, 7);
    for expected in [8, 9, 10] {
        replace(&dir.join("db"), &edited(expected));
        crate::server::wait_until("an edit", || {
            named.reload();
            std::thread::sleep(std::time::Duration::from_millis(300));
            serial(address).is_some_and(|found| found == expected.to_string())
        });
    }
    server.wait_for_log("16 records, 10 SOA serial, by IXFR in 1 step");
    let signed = format!("hmac-sha256:xfr.example:{SECRET}");
    let theirs = SocketAddr::from(([127, 0, 0, 1], theirs));
    assert_eq!(
        transferred(address, &[]),
        transferred(theirs, &["-y", &signed])
    );
    // What came as differences goes on as such.
    let text = dig(address, &["example.org", "IXFR=9", "+tcp", "+nocmd"]).unwrap_or_default();
    assert_eq!(records(&text).len(), 6, "{text}");
}
