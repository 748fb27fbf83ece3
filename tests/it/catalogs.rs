//! Catalog zones (RFC 9432) that Knot and BIND hand out: groups, and zones that go from one catalog to another.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::peers::{Peer, named_options, replace, zone};
use crate::server::{Server, dig, free_port, temporary_directory, wait_until};

fn is_served(address: SocketAddr, zone: &str) -> bool {
    dig(address, &[zone, "SOA", "+norecurse"]).is_some_and(|text| text.contains(" aa"))
}

/// Knot makes the catalog, with a group; the members of the group are kept elsewhere.
#[test]
fn the_members_of_a_group_that_knot_makes_have_settings_of_their_own() {
    let dir = temporary_directory("catalog-knot");
    let (theirs, ours) = (free_port(), free_port());
    replace(&dir.join("db"), &zone(7));
    let here = dir.display();
    let configuration = format!(
        "server:\n    rundir: {here}\n    listen: 127.0.0.1@{theirs}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
         log:\n  - target: stderr\n    any: info\ndatabase:\n    storage: {here}/knot\n\
         remote:\n  - id: us\n    address: 127.0.0.1@{ours}\n\
         acl:\n  - id: all\n    address: 127.0.0.1\n    action: transfer\n\
         template:\n  - id: default\n    storage: {here}\n    file: db\n    acl: all\n    notify: us\n    zonefile-sync: -1\n\
         \x20 - id: near\n    storage: {here}\n    file: db\n    acl: all\n    zonefile-sync: -1\n    catalog-role: member\n    catalog-zone: catalog.example\n\
         \x20 - id: far\n    storage: {here}\n    file: db\n    acl: all\n    zonefile-sync: -1\n    catalog-role: member\n    catalog-zone: catalog.example\n    catalog-group: Far-away\n\
         zone:\n  - domain: catalog.example\n    catalog-role: generate\n    file: made\n\
         \x20 - domain: example.org\n    template: near\n  - domain: example.net\n    template: far\n"
    );
    let Some(_knot) = Peer::knot(&dir, &configuration) else {
        return;
    };
    let server = Server::start_in(
        &dir,
        &format!(
            ".:{ours} {{\n  bind 127.0.0.1\n  secondary catalog.example {{\n    transfer from 127.0.0.1:{theirs}\n    file near/\n    catalog\n    group Far-away {{\n      file far/\n    }}\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    let address = SocketAddr::from(([127, 0, 0, 1], ours));
    for zone in ["example.org", "example.net"] {
        wait_until(zone, || is_served(address, zone));
    }
    let kept = |path: &str| dir.join(path).exists();
    wait_until("the files", || {
        kept("near/db.example.org") && kept("far/db.example.net") && kept("near/db.catalog.example")
    });
    assert!(!kept("near/db.example.net") && !kept("far/db.example.org"));
    drop(server);
}

/// BIND has two catalogs; a zone goes from one to the other as it is.
#[test]
fn a_zone_goes_from_one_catalog_of_bind_to_the_other_as_it_is() {
    let dir = temporary_directory("catalog-coo");
    let (theirs, ours) = (free_port(), free_port());
    let catalog = |name: &str, serial: u32, records: &[&str]| {
        let mut text = format!(
            "@ 60 IN SOA . . {serial} 60 60 600 60\n@ 60 IN NS invalid.\nversion 60 IN TXT \"2\"\n"
        );
        for record in records {
            writeln!(text, "{record}").expect("written");
        }
        replace(&dir.join(name), &text);
    };
    const LISTED: &str = "id.zones 60 IN PTR example.org.";
    replace(&dir.join("db"), &zone(7));
    catalog("one", 1, &[LISTED]);
    catalog("two", 1, &[]);
    let mut configuration = named_options(&dir, theirs);
    for (zone, file) in [
        ("one.example", "one"),
        ("two.example", "two"),
        ("example.org", "db"),
    ] {
        writeln!(
            configuration,
            "zone \"{zone}\" {{ type primary; file \"{file}\"; allow-transfer {{ any; }}; also-notify port {ours} {{ 127.0.0.1; }}; }};"
        )
        .expect("written");
    }
    let Some(named) = Peer::named(&dir, &configuration) else {
        return;
    };
    let server = Server::start_in(
        &dir,
        &format!(
            ".:{ours} {{\n  bind 127.0.0.1\n  secondary one.example {{\n    transfer from 127.0.0.1:{theirs}\n    file one-zones/\n    catalog\n  }}\n\
             \x20 secondary two.example {{\n    transfer from 127.0.0.1:{theirs}\n    file two-zones/\n    catalog\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    let address = SocketAddr::from(([127, 0, 0, 1], ours));
    wait_until("the member", || is_served(address, "example.org"));
    wait_until("its file", || dir.join("one-zones/db.example.org").exists());
    catalog("two", 2, &[LISTED]);
    named.reload();
    server.wait_for_log("Zone example.org. of catalog two.example. is served already: skipped");
    catalog("one", 2, &[LISTED, "coo.id.zones 60 IN PTR two.example."]);
    named.reload();
    server.wait_for_log(
        "Zone example.org. moves from catalog one.example. to two.example., as it is",
    );
    assert!(
        dir.join("two-zones/db.example.org").exists()
            && !dir.join("one-zones/db.example.org").exists()
    );
    catalog("one", 3, &[]);
    named.reload();
    server.wait_for_log("Transferred: one.example. from 127.0.0.1");
    wait_until("the third version", || {
        dig(address, &["one.example", "SOA", "+short", "+norecurse"])
            .is_some_and(|text| text.contains(" 3 "))
    });
    assert!(is_served(address, "example.org"));
    // It still follows its primary, and was never fetched anew.
    replace(&dir.join("db"), &zone(8));
    named.reload();
    wait_until("an edit", || {
        dig(address, &["example.org", "SOA", "+short", "+norecurse"])
            .is_some_and(|text| text.contains(" 8 "))
    });
    let transfers = server.log().matches("Transferred: example.org. ").count();
    assert_eq!(transfers, 2, "{}", server.log());
}
