//! Signed zones served from files, as a validating resolver sees them: `delv` follows aliases from zone to zone and calls them secure.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::server::{Server, temporary_directory, tool};

const HEAD: &str = "$TTL 300\n@ SOA ns h 1 7200 3600 1209600 60\n@ NS ns\nns A 127.0.0.1\n";

/// Aliases that wildcards give: to another zone, to a child zone, to what no zone file has, to what is not there.
const ALIASES: &str = "c NS ns.c
ns.c A 127.0.0.1
*.out CNAME www.b.test.
*.outw CNAME x.w.b.test.
*.child CNAME www.c
*.childw CNAME x.w.c
*.host CNAME host.example.
*.gone CNAME gone.b.test.
*.nochild CNAME gone.c
*.in CNAME ns
*.two CNAME x.out
";

fn run(dir: &Path, program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program)
        .current_dir(dir)
        .args(arguments)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Signs a zone, with the DS records of the children that were signed before; gives its key signing key.
fn sign(dir: &Path, origin: &str, records: &str, flags: &[&str]) -> String {
    let plain = format!("{origin}.zone");
    std::fs::write(dir.join(&plain), HEAD.to_owned() + records).expect("written");
    let keygen = ["-q", "-a", "ECDSAP256SHA256"];
    run(dir, "dnssec-keygen", &[&keygen[..], &[origin]].concat());
    let key = run(
        dir,
        "dnssec-keygen",
        &[&keygen[..], &["-f", "KSK", origin]].concat(),
    );
    let signed = format!("{origin}.signed");
    let fixed = ["-q", "-S", "-P", "-g", "-o", origin, "-f", &signed];
    run(
        dir,
        "dnssec-signzone",
        &[&fixed[..], flags, &[plain.as_str()]].concat(),
    );
    std::fs::read_to_string(dir.join(format!("{}.key", key.trim()))).expect("a key")
}

#[test]
fn aliases_of_wildcards_are_secure() {
    for (name, flags) in [("nsec", &[][..]), ("nsec3", &["-3", "-", "-H", "0"])] {
        secure(name, flags);
    }
}

fn secure(name: &str, flags: &[&str]) {
    if tool("delv").is_none() || tool("dnssec-signzone").is_none() {
        return;
    }
    let dir = temporary_directory(&format!("validated-{name}"));
    sign(&dir, "b.test", "www A 192.0.2.7\n*.w A 192.0.2.8\n", flags);
    sign(&dir, "c.a.test", "www A 192.0.2.9\n*.w CNAME www\n", flags);
    sign(&dir, "a.test", ALIASES, flags);
    let above = "a NS ns.a\nns.a A 127.0.0.1\nb NS ns.b\nns.b A 127.0.0.1\n";
    let key = sign(&dir, "test", above, flags);
    let key = key
        .lines()
        .find(|line| !line.starts_with(';'))
        .expect("a record");
    let fields: Vec<&str> = key.split_whitespace().skip(3).collect();
    let anchor = format!(
        "trust-anchors {{ \"test.\" static-key {} \"{}\"; }};\n",
        fields[..3].join(" "),
        fields[3..].concat()
    );
    std::fs::write(dir.join("anchors"), anchor).expect("written");
    let mut corefile = String::new();
    for zone in ["test", "a.test", "c.a.test", "b.test"] {
        let _ = writeln!(
            corefile,
            "{zone}:{{PORT}} {{\n bind 127.0.0.1\n file {zone}.signed\n}}"
        );
    }
    corefile
        .push_str("example:{PORT} {\n bind 127.0.0.1\n hosts {\n 192.0.2.10 host.example\n }\n}\n");
    let server = Server::start_in(&dir, &corefile);
    for name in [
        "x.out",
        "x.outw",
        "x.child",
        "x.childw",
        "x.host",
        "x.gone",
        "x.nochild",
        "x.in",
        "x.two",
    ] {
        let (port, qname) = (server.port().to_string(), format!("{name}.a.test"));
        let fixed = ["@127.0.0.1", "-a", "anchors", "+root=test", "-p", &port];
        let out = Command::new("delv")
            .current_dir(&dir)
            .args(fixed)
            .args([&qname, "A"])
            .output()
            .expect("delv runs");
        let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        assert!(said.contains("; fully validated"), "{qname}: {said}");
        for bad in ["no valid", "broken trust chain", "insecurity proof failed"] {
            assert!(!said.contains(bad), "{qname}: {said}");
        }
    }
}
