use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::expiry;
use super::files::{Pair, Paths};
use crate::tls::clients::ClientAuth;
use crate::trial;

/// The folder of the tests' certificates.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("forward/tests/tls")
}

fn paths(certificate: &str, key: &str, authorities: Option<&str>) -> Paths {
    let path = |name: &str| folder().join(name);
    Paths {
        certificate: path(certificate),
        key: path(key),
        authorities: authorities.map(path),
    }
}

#[test]
fn lines() {
    let files = format!("tls {0}/server.pem {0}/server.key", folder().display());
    let with = |rest: &str| format!("{files} {rest}");
    let wrong = "could not load TLS cert";
    for (lines, refusal) in [
        (files.clone(), ""),
        (with(&format!("{}/authority.pem", folder().display())), ""),
        (with("{\n  client_auth nocert\n}"), ""),
        (with("{\n  client_auth request\n}"), ""),
        (with("{\n  client_auth require\n}"), ""),
        (with("{\n  client_auth verify_if_given\n}"), ""),
        (with("{\n  client_auth require_and_verify\n}"), ""),
        (with("{\n}"), ""),
        ("tls".into(), "Wrong argument count"),
        ("tls cert.pem".into(), "Wrong argument count"),
        (with("ca.pem more"), "Wrong argument count"),
        (
            with("{\n  client_auth\n}"),
            "unexpected line ending after 'client_auth'",
        ),
        (
            with("{\n  client_auth none bogus\n}"),
            "Wrong argument count",
        ),
        (
            with("{\n  client_auth requires\n}"),
            "unknown authentication type 'requires'",
        ),
        (
            with("{\n  keylog\n}"),
            "unexpected line ending after 'keylog'",
        ),
        (with("{\n  unknown\n}"), "unknown property 'unknown'"),
        (
            format!("{files}\n{files}"),
            "TLS already configured for this server instance",
        ),
        (
            "tls {\n  acme example.org\n}".into(),
            "nameplate does not yet",
        ),
        ("tls /nowhere.pem /nowhere.key".into(), wrong),
        (
            format!("tls {0}/server.key {0}/server.key", folder().display()),
            wrong,
        ),
        (
            format!("tls {0}/server.pem {0}/server.pem", folder().display()),
            wrong,
        ),
        (
            with(&format!("{}/server.key", folder().display())),
            "could not read root certs",
        ),
    ] {
        trial::table(&[(&lines, refusal)]);
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let error = Pair::check(
        paths("authority.pem", "server.key", None),
        ClientAuth::NoCert,
    );
    let error = error.expect_err("they do not match");
    assert!(
        error.contains("authority.pem") && error.contains("server.key"),
        "{error}"
    );
    let good = Pair::check(
        paths("server.pem", "server.key", Some("authority.pem")),
        ClientAuth::RequireAndVerify,
    );
    assert_eq!(good, Ok(()));
}

#[test]
fn schemes_without_a_certificate() {
    for (scheme, code) in [("tls", Some("CF0411")), ("dns", None)] {
        let (_, report) = trial::plan(&format!("{scheme}://. {{\n  whoami\n}}\n"));
        let found: Vec<_> = report.iter().map(|found| found.code).collect();
        assert_eq!(found, Vec::from_iter(code), "{scheme}");
    }
}

#[test]
fn the_end_of_a_certificate_is_read_as_openssl_reads_it() {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    for name in ["server.pem", "authority.pem"] {
        let path = folder().join(name);
        let text = fs::read(&path).expect("a file");
        let der = CertificateDer::from_pem_slice(&text).expect("a certificate");
        let read = expiry::not_after(&der).expect("it ends");
        let Ok(out) = Command::new("openssl")
            .args(["x509", "-enddate", "-noout", "-dateopt", "iso_8601", "-in"])
            .arg(&path)
            .output()
        else {
            return;
        };
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let date = text.trim().trim_start_matches("notAfter=").to_owned();
        let out = Command::new("date")
            .args(["-u", "+%s", "-d", &date])
            .output();
        let seconds = String::from_utf8(out.expect("date").stdout).expect("a number");
        assert_eq!(seconds.trim().parse(), Ok(read), "{name}: {date}");
    }
}

#[test]
fn times_of_certificates() {
    let wrapped = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let certificate = |tag: u8, time: &[u8]| {
        let validity = [wrapped(0x17, b"200101000000Z"), wrapped(tag, time)].concat();
        let fields = [
            wrapped(0xA0, &[2, 1, 2]),
            wrapped(0x02, &[1]),
            wrapped(0x30, &[]),
            wrapped(0x30, &[]),
            wrapped(0x30, &validity),
        ];
        wrapped(0x30, &wrapped(0x30, &fields.concat()))
    };
    for (tag, time, expected) in [
        (0x17, &b"700101000000Z"[..], Some(0)),
        (0x17, b"491231235959Z", Some(2_524_607_999)),
        (0x17, b"500101000000Z", Some(-631_152_000)),
        (0x18, b"20500101000000Z", Some(2_524_608_000)),
        (0x18, b"20240229120000Z", Some(1_709_208_000)),
        (0x18, b"21000301000000Z", Some(4_107_542_400)),
        (0x18, b"20501301000000Z", None),
        (0x18, b"20500101000000+0100", None),
        (0x17, b"50010100000", None),
        (0x04, b"500101000000Z", None),
    ] {
        let read = expiry::not_after(&certificate(tag, time));
        assert_eq!(read, expected, "{}", String::from_utf8_lossy(time));
    }
    let whole = certificate(0x17, b"491231235959Z");
    for len in 0..whole.len() {
        assert_eq!(expiry::not_after(&whole[..len]), None);
    }
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
