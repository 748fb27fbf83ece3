//! NSD, Knot DNS and PowerDNS as primaries of our secondary: NOTIFY, keys, whole zones and differences, and a zone that its primary signs.

use std::net::SocketAddr;
use std::path::Path;

use crate::peers::{Peer, SECRET, replace, serial, transferred, wait_for_serial, zone};
use crate::server::{Server, free_port, temporary_directory, wait_until};
use crate::updates::update;

/// A secondary of example.org, whose primary is at port `from`; `more` are lines of its server block and of `secondary`.
fn secondary(test: &str, port: u16, from: &str, more: [&str; 2]) -> Server {
    let dir = temporary_directory(test);
    let [block, lines] = more;
    Server::start_in(
        &dir,
        &format!(
            "example.org:{port} {{\n  bind 127.0.0.1\n{block}  secondary {{\n    transfer from {from}\n{lines}  }}\n  transfer {{\n    to *\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    )
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Waits until a primary answers.
fn wait_for_primary(address: SocketAddr) {
    wait_until("the primary", || serial(address).is_some());
}

/// The records of a server, whose names some write in lower case.
fn records(address: SocketAddr, more: &[&str]) -> Vec<String> {
    let all = transferred(address, more).expect("dig");
    let mut all: Vec<_> = all.iter().map(|line| line.to_lowercase()).collect();
    all.sort();
    all
}

fn nsd(dir: &Path, port: u16, told: u16) -> String {
    let dir = dir.display();
    format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{dir}\"\n  database: \"\"\n  pidfile: \"{dir}/pid\"\n  xfrdfile: \"{dir}/xfrd.state\"\n  zonelistfile: \"{dir}/zone.list\"\n  xfrdir: \"{dir}\"\n  cookie-secret-file: \"{dir}/cookies\"\n  server-count: 1\n\
         remote-control:\n  control-enable: no\n\
         key:\n  name: xfr.example\n  algorithm: hmac-sha512\n  secret: \"{SECRET}\"\n\
         zone:\n  name: example.org\n  zonefile: db\n  provide-xfr: 127.0.0.1 xfr.example\n  notify: 127.0.0.1@{told} xfr.example\n  store-ixfr: yes\n  create-ixfr: yes\n"
    )
}

#[test]
fn nsd_gives_differences_under_a_key() {
    let there = temporary_directory("primaries-nsd");
    let (theirs, ours) = (free_port(), free_port());
    replace(&there.join("db"), &zone(7));
    let Some(peer) = Peer::nsd(&there, &nsd(&there, theirs, ours)) else {
        return;
    };
    wait_for_primary(local(theirs));
    let tsig = format!("  tsig {{\n    secret xfr.example. {SECRET} hmac-sha512\n  }}\n");
    let from = format!("127.0.0.1:{theirs} key xfr.example.");
    let server = secondary("primaries-of-nsd", ours, &from, [&tsig, ""]);
    wait_for_serial(local(ours), 7);
    replace(&there.join("db"), &(zone(8) + "new IN A 192.0.2.77\n"));
    peer.reload();
    wait_for_serial(local(ours), 8);
    server.wait_for_log("8 SOA serial, by IXFR in 1 step");
    let key = format!("hmac-sha512:xfr.example:{SECRET}");
    let whole = records(local(theirs), &["-y", &key]);
    assert!(whole.len() > 15, "{whole:#?}");
    assert_eq!(records(local(ours), &[]), whole);
}

#[test]
fn powerdns_gives_the_whole_zone() {
    let there = temporary_directory("primaries-powerdns");
    let (theirs, ours) = (free_port(), free_port());
    replace(&there.join("db"), &zone(7));
    let path = there.display();
    let zones = format!("zone \"example.org\" {{ type master; file \"{path}/db\"; }};\n");
    replace(&there.join("named.conf"), &zones);
    let configuration = format!(
        "launch=bind\nbind-config={path}/named.conf\nbind-check-interval=1\nprimary=yes\nlocal-address=127.0.0.1\nlocal-port={theirs}\nsocket-dir={path}\nalso-notify=127.0.0.1:{ours}\nonly-notify=\nxfr-cycle-interval=1\nallow-axfr-ips=127.0.0.0/8\nguardian=no\ndaemon=no\nzone-cache-refresh-interval=0\ncache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\n"
    );
    let Some(_peer) = Peer::powerdns(&there, &configuration) else {
        return;
    };
    wait_for_primary(local(theirs));
    let from = format!("127.0.0.1:{theirs}");
    let server = secondary("primaries-of-powerdns", ours, &from, ["", ""]);
    wait_for_serial(local(ours), 7);
    // It looks for edits when it is asked, and sees those alone that are of another second.
    wait_until("the edit", || {
        replace(&there.join("db"), &(zone(8) + "new IN A 192.0.2.77\n"));
        serial(local(theirs)).as_deref() == Some("8")
    });
    wait_for_serial(local(ours), 8);
    server.wait_for_log("Notify from 127.0.0.1 for example.org.");
    assert_eq!(records(local(ours), &[]), records(local(theirs), &[]));
}

/// Knot signs with NSEC3 and writes a ZONEMD record anew with each update: what differences lead to is what the digest says.
#[test]
fn a_zone_that_knot_signs_comes_as_differences_and_is_verified() {
    let there = temporary_directory("primaries-knot");
    let (theirs, ours) = (free_port(), free_port());
    // Knot refuses what stands below the zone cut, and is silent about names without addresses.
    let text = zone(7).replace("below.child IN TXT \"occluded\"\n", "");
    replace(&there.join("db"), &text);
    std::fs::create_dir_all(there.join("data")).expect("a directory");
    let path = there.display();
    let configuration = format!(
        "server:\n    rundir: {path}\n    listen: 127.0.0.1@{theirs}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
         log:\n  - target: stderr\n    any: info\ndatabase:\n    storage: {path}/data\n\
         key:\n  - id: xfr.example.\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
         remote:\n  - id: ours\n    address: 127.0.0.1@{ours}\n    key: xfr.example.\n\
         acl:\n  - id: all\n    key: xfr.example.\n    action: [update, transfer]\n\
         policy:\n  - id: signed\n    algorithm: ecdsap256sha256\n    nsec3: on\n    nsec3-iterations: 0\n    nsec3-salt-length: 0\n\
         zone:\n  - domain: example.org\n    storage: {path}\n    file: db\n    zonefile-sync: -1\n    zonefile-load: difference-no-serial\n    journal-content: all\n    dnssec-signing: on\n    dnssec-policy: signed\n    zonemd-generate: zonemd-sha384\n    acl: all\n    notify: ours\n"
    );
    let Some(_peer) = Peer::knot(&there, &configuration) else {
        return;
    };
    wait_for_primary(local(theirs));
    let tsig = format!("  tsig {{\n    secret xfr.example. {SECRET}\n  }}\n");
    let from = format!("127.0.0.1:{theirs} key xfr.example.");
    let lines = "    zonemd require\n";
    let server = secondary("primaries-of-knot", ours, &from, [&tsig, lines]);
    let arrive = || {
        let newest = serial(local(theirs)).expect("a serial");
        wait_until(&newest, || serial(local(ours)).as_ref() == Some(&newest));
    };
    arrive();
    for lines in [
        "update add new.example.org. 60 A 192.0.2.77\nupdate add a.b.example.org. 60 TXT deep",
        "update del new.example.org.\nupdate add *.wild.example.org. 300 TXT c",
    ] {
        let before = serial(local(theirs));
        let Some(said) = update("nsupdate", local(theirs), "xfr.example.", lines) else {
            return;
        };
        assert_eq!(said.trim(), "");
        wait_until("a new serial", || serial(local(theirs)) != before);
        arrive();
    }
    server.wait_for_log("by IXFR in 1 step");
    server.wait_for_log("matches its ZONEMD record (SHA-384)");
    let key = format!("hmac-sha256:xfr.example:{SECRET}");
    let whole = records(local(theirs), &["-y", &key]);
    assert!(whole.iter().any(|record| record.contains(" nsec3 ")));
    assert_eq!(records(local(ours), &[]), whole);
}
