//! ZONEMD (RFC 8976) of zones in files and of zones that are transferred, with Knot and ldns as those who make the digests.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::server::{Server, dig, free_port, nameplate, temporary_directory, tool, wait_until};

/// RFC 8976, appendix A.1.
const ZONE: &str = "\
example. 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400
example. 86400 IN NS ns1
example. 86400 IN NS ns2
example. 86400 IN ZONEMD 2018031900 1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c
ns1 3600 IN A 203.0.113.63
ns2 3600 IN AAAA 2001:db8::63
";
const WRONG: &str = "the zone does not match its ZONEMD record (SHA-384)";
const RIGHT: &str = "matches its ZONEMD record (SHA-384)";

fn tampered() -> String {
    ZONE.replace("203.0.113.63", "203.0.113.64")
}

fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("written");
    std::fs::rename(draft, path).expect("renamed");
}

/// The address of ns1, or the RCODE.
fn asked(server: &Server) -> Option<String> {
    let text = server.dig(&["ns1.example", "A", "+tries=3"])?;
    let status = text.split_once("status: ")?.1.split(',').next()?;
    let address = text.lines().find(|line| line.contains("\tA\t"));
    let address = address.and_then(|line| line.split_whitespace().last());
    Some(address.unwrap_or(status).to_owned())
}

fn serve(test: &str, zone: &str, options: &str) -> Server {
    let dir = temporary_directory(test);
    std::fs::write(dir.join("zone"), zone).expect("written");
    Server::start_in(
        &dir,
        &format!(
            "example:{{PORT}} {{\n  bind 127.0.0.1\n  file zone {{\n    reload 1s\n    {options}\n  }}\n  transfer {{\n    to *\n  }}\n}}\n"
        ),
    )
}

#[test]
fn a_file_is_what_its_digest_says_or_is_not_served() {
    let server = serve("zonemd-file", ZONE, "");
    let Some(address) = asked(&server) else {
        return;
    };
    assert_eq!(address, "203.0.113.63");
    server.wait_for_log(RIGHT);
    // An edit that the digest does not fit leaves the zone as it is.
    let edited = tampered().replace("admin 2018031900", "admin 2018031901");
    replace(&server.dir().join("zone"), &edited);
    server.wait_for_log("the ZONEMD record is for serial 2018031900, but the zone has 2018031901");
    assert_eq!(asked(&server).as_deref(), Some("203.0.113.63"));
    for (options, zone, expected) in [
        ("", tampered(), "SERVFAIL"),
        ("zonemd off", tampered(), "203.0.113.64"),
        ("zonemd require", ZONE.to_owned(), "203.0.113.63"),
        (
            "zonemd require",
            ZONE.replace(" ZONEMD 2018031900 1 1 ", " TYPE65280 \\# 48 "),
            "SERVFAIL",
        ),
    ] {
        let server = serve("zonemd-options", &zone, options);
        assert_eq!(asked(&server).as_deref(), Some(expected), "{options}");
    }
    let dir = temporary_directory("zonemd-check");
    std::fs::write(dir.join("zone"), tampered()).expect("written");
    std::fs::write(
        dir.join("Corefile"),
        "example {\n  file zone {\n    strict\n  }\n}\n",
    )
    .expect("written");
    let output = nameplate(&dir)
        .args(["check", "-conf", "Corefile"])
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains(WRONG), "{said}");
}

#[test]
fn a_transfer_is_what_its_digest_says_or_is_not_taken() {
    let primary = serve("zonemd-primary", &tampered(), "zonemd off");
    let secondary = |options: &str| {
        Server::start(
            "zonemd-secondary",
            &format!(
                "example:{{PORT}} {{\n  bind 127.0.0.1\n  secondary {{\n    transfer from {}\n    {options}\n  }}\n}}\n",
                primary.address()
            ),
        )
    };
    let strict = secondary("");
    strict.wait_for_log(WRONG);
    let Some(told) = asked(&strict) else { return };
    assert_eq!(told, "SERVFAIL");
    let lenient = secondary("zonemd off");
    lenient.wait_for_log("Transferred: example.");
    assert_eq!(asked(&lenient).as_deref(), Some("203.0.113.64"));
    // The primary is mended: what it had was never served.
    let mended = ZONE.replace("2018031900", "2018031901");
    let digest = mended_digest();
    let (old, _) = mended
        .split_once(" 1 1 ")
        .and_then(|(_, behind)| behind.split_once('\n'))
        .expect("a digest");
    let mended = mended.replace(old, &digest);
    replace(&primary.dir().join("zone"), &mended);
    primary.wait_for_log("Successfully reloaded zone");
    strict.wait_for_log(RIGHT);
    wait_until("the zone to be served", || {
        asked(&strict).as_deref() == Some("203.0.113.63")
    });
}

/// The digest of the zone with the next serial.
fn mended_digest() -> String {
    let apex: wire::NameBuf = "example.".parse().expect("a name");
    let loader = zone::Loader::new(apex.as_name()).digest(zone::DigestPolicy::Off);
    let text = ZONE.replace("2018031900", "2018031901");
    let zone = loader.load_text(&text).expect("a zone").zone;
    let digest = zone.digest(zone::HashAlgorithm::Sha384);
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Ended when dropped.
struct Knot(Child);

impl Drop for Knot {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Knot signs a zone with one of everything, with NSEC and with NSEC3, and makes its digest; it is what we get.
#[test]
fn digests_of_knot_are_right() {
    let Some(knotd) = tool("knotd") else { return };
    for (nsec3, hash, name) in [
        ("off", "zonemd-sha384", "SHA-384"),
        ("on", "zonemd-sha512", "SHA-512"),
    ] {
        let (dir, port) = (temporary_directory("zonemd-knot"), free_port());
        let plain = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zones/plain.zone");
        std::fs::copy(plain, dir.join("plain.zone")).expect("copied");
        std::fs::create_dir(dir.join("knot")).expect("made");
        let at = dir.display();
        let text = format!(
            "server:\n    rundir: {at}\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
             log:\n  - target: stderr\n    any: warning\ndatabase:\n    storage: {at}/knot\n\
             acl:\n  - id: all\n    address: 127.0.0.1\n    action: transfer\n\
             policy:\n  - id: ours\n    nsec3: {nsec3}\n    nsec3-iterations: 0\n\
             zone:\n  - domain: plain.example\n    storage: {at}\n    file: plain.zone\n    zonefile-sync: -1\n    zonefile-load: difference-no-serial\n    \
             journal-content: all\n    semantic-checks: off\n    acl: all\n    dnssec-signing: on\n    dnssec-policy: ours\n    zonemd-generate: {hash}\n"
        );
        std::fs::write(dir.join("knot.conf"), text).expect("written");
        let log = File::create(dir.join("knot.log")).expect("a log");
        let child = Command::new(&knotd)
            .arg("-c")
            .arg(dir.join("knot.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let _knot = Knot(child.expect("it starts"));
        let address = ([127, 0, 0, 1], port).into();
        wait_until("Knot to have a digest", || {
            let text = dig(
                address,
                &["plain.example", "ZONEMD", "+short", "+tries=1", "+time=1"],
            );
            text.is_some_and(|text| text.contains(" 1 "))
        });
        let server = Server::start(
            "zonemd-from-knot",
            &format!(
                "plain.example:{{PORT}} {{\n  bind 127.0.0.1\n  secondary {{\n    transfer from 127.0.0.1:{port}\n    zonemd require\n  }}\n}}\n"
            ),
        );
        server.wait_for_log(&format!("matches its ZONEMD record ({name})"));
    }
}
