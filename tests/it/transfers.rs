//! Zone transfers, NOTIFY and TSIG with real peers: dig, kdig, BIND and Knot, as clients, as secondaries and as primaries.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::{
    Peer, SECRET, bind_behind_ours, named_options, records, replace, serial, transferred,
    wait_for_serial, zone,
};
use crate::server::{Reply, Server, Upstream, dig, free_port, temporary_directory, wait_until};

#[test]
fn dig_and_kdig_transfer_a_zone_and_others_are_refused() {
    let dir = temporary_directory("transfer-out");
    replace(&dir.join("db"), &zone(7));
    replace(&dir.join("closed"), &zone(7));
    let server = Server::start_in(
        &dir,
        "example.org:{PORT} {\n  bind 127.0.0.1\n  log\n  file db\n  transfer {\n    to 127.0.0.0/8\n  }\n}\n\
         example.net:{PORT} {\n  bind 127.0.0.1\n  file closed\n  transfer {\n    to 192.0.2.1\n  }\n}\n\
         example.com:{PORT} {\n  bind 127.0.0.1\n  file closed\n}\n",
    );
    let Some(found) = transferred(server.address(), &[]) else {
        return;
    };
    // 15 records and the second SOA record.
    assert_eq!(found.len(), 16, "{found:#?}");
    assert_eq!(
        found.iter().filter(|line| line.contains(" SOA ")).count(),
        2
    );
    for line in [
        "WwW.example.org. 300 IN A 192.0.2.1",
        "example.org. 300 IN CAA 0 issue \"example.net\"",
        "below.child.example.org. 300 IN TXT \"occluded\"",
        "_sip._tcp.example.org. 300 IN SRV 1 2 5060 mail.example.org.",
        "ns.child.example.org. 300 IN A 192.0.2.99",
    ] {
        assert!(
            found.iter().any(|known| known == line),
            "{line} in {found:#?}"
        );
    }
    server.wait_for_log(
        "Outgoing transfer of 16 records of zone example.org. to 127.0.0.1 for 7 SOA serial",
    );
    // The same version, and a newer one (RFC 1995, section 2).
    for same in ["IXFR=7", "IXFR=8"] {
        let noop =
            dig(server.address(), &["example.org", same, "+tcp", "+nocmd"]).unwrap_or_default();
        assert_eq!(records(&noop).len(), 1, "{same}: {noop}");
    }
    server.wait_for_log("Outgoing noop, incremental transfer for up to date zone example.org. to 127.0.0.1 for 7 SOA serial");
    for older in ["IXFR=6", "IXFR=0"] {
        let whole =
            dig(server.address(), &["example.org", older, "+tcp", "+nocmd"]).unwrap_or_default();
        assert_eq!(records(&whole).len(), 16, "{older}: {whole}");
    }
    // Over UDP: AXFR is refused, and IXFR tells the serial (RFC 1995, section 2).
    let mut axfr = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\xFC\0\x01".to_vec();
    let reply = server.ask(&axfr).expect("a reply");
    assert_eq!(reply[3] & 0xF, 5);
    let single = dig(
        server.address(),
        &["example.org", "IXFR=6", "+notcp", "+nocmd"],
    )
    .unwrap_or_default();
    assert_eq!(records(&single).len(), 1, "{single}");
    // An IXFR without the client's SOA record is FORMERR, as of BIND, Knot and NSD.
    let at = axfr.len() - 3;
    axfr[at] = 0xFB;
    let reply = server.ask_tcp(&axfr).expect("a reply");
    assert_eq!(reply[3] & 0xF, 1);
    for zone in [
        "example.net",
        "example.com",
        "www.example.org",
        "example.edu",
    ] {
        let text = dig(server.address(), &[zone, "AXFR", "+tcp"]).unwrap_or_default();
        assert!(text.contains("Transfer failed"), "{zone}: {text}");
    }
    if let Some(text) = server.kdig(&["example.org", "AXFR", "+tcp"]) {
        assert_eq!(records(&text), found, "{text}");
    }
}

/// RFC 8945, section 5.2, as dig reports it, over UDP and TCP, by each algorithm.
#[test]
fn signatures_are_checked_and_made() {
    let dir = temporary_directory("tsig");
    replace(&dir.join("db"), &zone(7));
    std::fs::write(
        dir.join("keys"),
        format!("# two keys\nkey \"filed.example\" {{\n  algorithm hmac-sha512; // long\n  secret \"{SECRET}\";\n}};\n"),
    )
    .expect("written");
    let server = Server::start_in(
        &dir,
        &format!(
            "example.org:{{PORT}} {{\n  bind 127.0.0.1\n  tsig {{\n    secret any.example {SECRET}\n    secret bound.example {SECRET} hmac-sha224\n    secrets keys\n    require AXFR TXT\n  }}\n  file db\n  transfer {{\n    to * key any.example\n  }}\n}}\n"
        ),
    );
    let ask = |signed: &str, more: &[&str]| {
        let arguments = [&["example.org", "-y", signed], more].concat();
        dig(server.address(), &arguments)
    };
    for algorithm in ["sha1", "sha224", "sha256", "sha384", "sha512"] {
        for transport in ["+tcp", "+notcp"] {
            let signed = format!("hmac-{algorithm}:any.example:{SECRET}");
            let Some(text) = ask(&signed, &["SOA", transport]) else {
                return;
            };
            // dig warns where it cannot verify the response.
            assert!(
                text.contains("NOERROR") && text.contains("TSIG") && !text.contains("WARNING -- "),
                "{text}"
            );
            assert!(!text.contains("Couldn't verify"), "{text}");
        }
    }
    let good = format!("hmac-sha256:any.example:{SECRET}");
    let bound = format!("hmac-sha224:bound.example:{SECRET}");
    let filed = format!("hmac-sha512:filed.example:{SECRET}");
    for (signed, more, expected) in [
        (bound.as_str(), &["TXT"][..], "NOERROR"),
        (&filed, &["TXT"], "NOERROR"),
        (&bound.replace("sha224", "sha256"), &["SOA"], "BADKEY"),
        (&good.replace("any.", "none."), &["SOA"], "BADKEY"),
        (&good.replace("c2Vj", "c2Vk"), &["SOA"], "BADSIG"),
        (&good.replace("c2Vj", "c2Vk"), &["AXFR"], "Transfer failed"),
        (&bound, &["AXFR"], "Transfer failed"),
    ] {
        let text = ask(signed, more).unwrap_or_default();
        assert!(text.contains(expected), "{signed} {more:?}: {text}");
    }
    let unsigned = dig(server.address(), &["example.org", "TXT"]).unwrap_or_default();
    assert!(unsigned.contains("REFUSED"), "{unsigned}");
    let plain = dig(server.address(), &["example.org", "SOA"]).unwrap_or_default();
    assert!(
        plain.contains("NOERROR") && !plain.contains("TSIG"),
        "{plain}"
    );
    let found = transferred(server.address(), &["-y", &good]).unwrap_or_default();
    assert_eq!(found.len(), 16, "{found:#?}");
    // The file of keys is followed.
    replace(
        &dir.join("keys"),
        &format!("key later.example {{ secret \"{SECRET}\"; }};\n"),
    );
    let later = good.replace("any.", "later.");
    wait_until("a key that came later", || {
        ask(&later, &["TXT"]).is_some_and(|text| text.contains("NOERROR"))
    });
}

/// RFC 8945, section 5.5: what was verified here speaks of this hop.
#[test]
fn a_verified_signature_goes_no_further_and_the_response_has_one() {
    let upstream = Upstream::start(|asked| {
        let mut reply = asked.octets.to_vec();
        // TSIG is refused there, as by a server that has no such key.
        let signed = asked.octets.windows(11).any(|part| part == b"hmac-sha256");
        reply[2] |= 0x84;
        reply[3] = if signed { 9 } else { 0 };
        Reply::Octets(reply)
    });
    let dir = temporary_directory("tsig-forward");
    let server = Server::start_in(
        &dir,
        &format!(
            ".:{{PORT}} {{\n  bind 127.0.0.1\n  tsig {{\n    secret any.example {SECRET}\n    require all\n  }}\n  cache\n  forward . {}\n}}\n",
            upstream.address()
        ),
    );
    let signed = format!("hmac-sha256:any.example:{SECRET}");
    for transport in ["+notcp", "+tcp"] {
        let arguments = ["www.example.org", "A", "-y", &signed, transport];
        let Some(text) = dig(server.address(), &arguments) else {
            return;
        };
        assert!(
            text.contains("status: NOERROR") && text.contains("TSIG"),
            "{text}"
        );
        assert!(
            !text.contains("WARNING -- ") && !text.contains("Couldn't verify"),
            "{text}"
        );
    }
}

/// A zone of many messages, each signed by the one before it, for who verifies them: dig and BIND.
#[test]
fn many_messages_are_one_signed_transfer() {
    let dir = temporary_directory("transfer-large");
    let mut text = zone(7);
    for number in 0..20_000 {
        writeln!(text, "host-{number} IN A 192.0.2.{}", number % 250).expect("written");
    }
    replace(&dir.join("db"), &text);
    let server = Server::start_in(
        &dir,
        &format!(
            "example.org:{{PORT}} {{\n  bind 127.0.0.1\n  tsig {{\n    secret xfr.example {SECRET}\n  }}\n  file db\n  transfer {{\n    to 127.0.0.1/32 key xfr.example\n  }}\n}}\n"
        ),
    );
    let signed = format!("hmac-sha256:xfr.example:{SECRET}");
    let Some(found) = transferred(server.address(), &["-y", &signed]) else {
        return;
    };
    assert_eq!(found.len(), 20_016);
}

/// How long an edit may take to a secondary that hears of it by NOTIFY.
const SOON: Duration = Duration::from_secs(1);

/// Edits are made until one has travelled within the bound: what else the machine does can hold one up, not all of them.
fn travels(mut edit: impl FnMut(u32), arrived: impl Fn(u32) -> bool) {
    let mut times = Vec::new();
    for serial in 8..13 {
        edit(serial);
        let start = Instant::now();
        wait_until(&format!("serial {serial}"), || arrived(serial));
        times.push(start.elapsed());
        if start.elapsed() < SOON {
            return;
        }
        // The next check may come a second after this one.
        thread::sleep(SOON);
    }
    panic!("an edit took {times:?}");
}

#[test]
fn bind_is_a_secondary_and_an_edit_travels_by_notify() {
    let Some(pair) = bind_behind_ours("transfer-bind-secondary") else {
        return;
    };
    let (dir, address) = (&pair.dir, pair.theirs);
    let copy = transferred(address, &[]).unwrap_or_default();
    assert_eq!(copy.len(), 16, "{copy:#?}");
    travels(
        |serial| replace(&dir.join("db"), &zone(serial)),
        |expected| serial(address).is_some_and(|found| found == expected.to_string()),
    );
    drop(pair);
}

#[test]
fn bind_is_the_primary_and_an_edit_travels_by_notify() {
    let dir = temporary_directory("transfer-bind-primary");
    let (theirs, ours) = (free_port(), free_port());
    replace(&dir.join("db"), &zone(7));
    let configuration = named_options(&dir, theirs)
        + &format!(
            "zone \"example.org\" {{ type primary; file \"db\"; allow-transfer {{ key \"xfr.example.\"; }}; also-notify port {ours} {{ 127.0.0.1 key \"xfr.example.\"; }}; }};\n"
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
    server.wait_for_log("Transferred: example.org. from 127.0.0.1");
    // What came in goes out as it is.
    let copy = transferred(address, &[]).unwrap_or_default();
    let origin = transferred(
        SocketAddr::from(([127, 0, 0, 1], theirs)),
        &["-y", &format!("hmac-sha256:xfr.example:{SECRET}")],
    );
    assert_eq!(Some(copy), origin);
    let text = dig(address, &["www.example.org", "A", "+norecurse"]).unwrap_or_default();
    assert!(text.contains(" aa") && text.contains("192.0.2.1"), "{text}");
    travels(
        |serial| {
            replace(&dir.join("db"), &zone(serial));
            named.reload();
        },
        |expected| serial(address).is_some_and(|found| found == expected.to_string()),
    );
    server.wait_for_log("Notify from 127.0.0.1 for example.org.: checking transfer");
}

#[test]
fn knot_is_a_secondary_of_a_secondary() {
    let dir = temporary_directory("transfer-chain");
    let (first, second, theirs) = (free_port(), free_port(), free_port());
    replace(&dir.join("db"), &zone(7));
    let here = dir.display();
    let configuration = format!(
        "server:\n    rundir: {here}\n    listen: 127.0.0.1@{theirs}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
         log:\n  - target: stderr\n    any: info\ndatabase:\n    storage: {here}/knot\n\
         remote:\n  - id: us\n    address: 127.0.0.1@{second}\n\
         acl:\n  - id: told\n    address: 127.0.0.1\n    action: [notify, transfer]\n\
         zone:\n  - domain: example.org\n    storage: {here}\n    file: copy\n    master: us\n    acl: told\n"
    );
    let Some(_knot) = Peer::knot(&dir, &configuration) else {
        return;
    };
    let server = Server::start_in(
        &dir,
        &format!(
            "example.org:{first} {{\n  bind 127.0.0.1\n  file db {{\n    reload 200ms\n  }}\n  transfer {{\n    to 127.0.0.1:{second}\n  }}\n}}\n\
             example.org:{second} {{\n  bind 127.0.0.1\n  secondary {{\n    transfer from 127.0.0.1:{first}\n  }}\n  transfer {{\n    to 127.0.0.1:{theirs}\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    let [first, theirs] = [first, theirs].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    wait_for_serial(theirs, 7);
    replace(&dir.join("db"), &zone(8));
    wait_for_serial(theirs, 8);
    // Knot writes names in lower case.
    let lower = |address| {
        let mut lines = transferred(address, &[]).unwrap_or_default();
        lines
            .iter_mut()
            .for_each(|line| line.make_ascii_lowercase());
        lines.sort();
        lines
    };
    assert_eq!(lower(theirs), lower(first));
    drop(server);
}

/// A zone that was never transferred, or has expired, is SERVFAIL; a NOTIFY of a stranger is refused.
#[test]
fn without_a_primary_a_secondary_fails_and_after_expire_too() {
    let dir = temporary_directory("secondary-expire");
    let (primary, ours) = (free_port(), free_port());
    let short = "@ 1 IN SOA ns1 hostmaster 1 1 1 3 1\n@ 1 IN NS ns1\nns1 IN A 192.0.2.53\nwww 1 IN A 192.0.2.1\n";
    replace(&dir.join("db"), short);
    let secondary = Server::start_in(
        &dir,
        &format!(
            "example.org:{ours} {{\n  bind 127.0.0.1\n  secondary {{\n    transfer from 127.0.0.1:{primary}\n  }}\n}}\nexample.net:{ours} {{\n  bind 127.0.0.1\n  secondary {{\n    transfer from 192.0.2.1\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    let address = SocketAddr::from(([127, 0, 0, 1], ours));
    let answer = || dig(address, &["www.example.org", "A", "+norecurse"]).unwrap_or_default();
    let before = answer();
    assert!(before.contains("SERVFAIL") || before.is_empty(), "{before}");
    let other = temporary_directory("secondary-expire-primary");
    replace(&other.join("db"), short);
    let server = Server::start_in(
        &other,
        &format!(
            "example.org:{primary} {{\n  bind 127.0.0.1\n  file db\n  transfer {{\n    to *\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    if before.is_empty() {
        return;
    }
    wait_until("the first transfer", || answer().contains("192.0.2.1"));
    drop(server);
    secondary.wait_for_log("Zone example.org. is expired");
    wait_until("SERVFAIL", || answer().contains("SERVFAIL"));
    // A NOTIFY of example.net, whose primary is elsewhere.
    let notify = b"\x12\x34\x24\0\0\x01\0\0\0\0\0\0\x07example\x03net\0\0\x06\0\x01";
    let reply = crate::server::ask_udp(address, notify, Duration::from_secs(2)).expect("a reply");
    assert_eq!((reply[2] & 0x78, reply[3] & 0xF), (0x20, 5));
    secondary.wait_for_log("Dropping notify from 127.0.0.1 for example.net.");
}

/// RFC 9432: the members of a catalog come and go with it.
#[test]
fn a_catalog_says_which_zones_there_are() {
    let dir = temporary_directory("catalog");
    let (primary, ours) = (free_port(), free_port());
    let catalog = |serial: u32, members: &[(&str, &str)]| {
        let mut text = format!(
            "@ 60 IN SOA . . {serial} 60 60 600 60\n@ 60 IN NS invalid.\nversion 60 IN TXT \"2\"\n"
        );
        for (id, zone) in members {
            writeln!(text, "{id}.zones 60 IN PTR {zone}").expect("written");
        }
        replace(&dir.join("catalog"), &text);
    };
    replace(&dir.join("db"), &zone(7));
    catalog(
        1,
        &[
            ("a", "example.org."),
            ("b", "example.com."),
            ("c", "example.edu."),
        ],
    );
    let keys = [
        "catalog.example",
        "example.org",
        "example.net",
        "example.com",
    ]
    .map(|zone| format!("{zone}:{primary}"))
    .join(" ");
    let server = Server::start_in(
        &dir,
        &format!(
            "{keys} {{\n  bind 127.0.0.1\n  file catalog catalog.example {{\n    reload 200ms\n  }}\n  file db example.org example.net example.com\n  transfer {{\n    to 127.0.0.1:{ours}\n  }}\n}}\n\
             .:{ours} {{\n  bind 127.0.0.1\n  secondary catalog.example {{\n    transfer from 127.0.0.1:{primary}\n    catalog example.org example.net\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    let address = SocketAddr::from(([127, 0, 0, 1], ours));
    let ask = |zone: &str| dig(address, &[zone, "SOA", "+norecurse"]).unwrap_or_default();
    if ask("example.org").is_empty() {
        return;
    }
    wait_until("the member", || ask("example.org").contains(" aa"));
    // example.com is in the catalog, and not allowed.
    assert!(ask("example.com").contains("REFUSED"));
    server.wait_for_log("Zone example.com. of catalog catalog.example. is not allowed there");
    catalog(2, &[("d", "example.net.")]);
    wait_until("the new member", || ask("example.net").contains(" aa"));
    wait_until("the old member's end", || {
        ask("example.org").contains("REFUSED")
    });
    // What is no catalog changes nothing.
    replace(
        &dir.join("catalog"),
        "@ 60 IN SOA . . 3 60 60 600 60\n@ 60 IN NS invalid.\nversion 60 IN TXT \"3\"\n",
    );
    server.wait_for_log("it is not a catalog of version 2");
    assert!(ask("example.net").contains(" aa"));
}
