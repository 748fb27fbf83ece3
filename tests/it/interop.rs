//! Clients of others over encrypted transports, and the table of the README that says which have been tried.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::attacks::{a, rcode};
use crate::secure::NAME;
use crate::server::{
    ask_udp, dig, free_port, leave_out, skip, temporary_directory, tool, wait_until,
};
use crate::tls::{HOSTS, Secured};

/// A client, and the tests that it is in: over TLS, HTTPS, QUIC and HTTP/3.
type Row = (&'static str, [&'static [&'static str]; 4]);

const TABLE: &[Row] = &[
    (
        "kdig 3.2",
        [
            &["kdig_asks_over_tls_and_gets_padding_for_padding"],
            &["kdig_asks_over_https"],
            &["kdig_asks_over_quic"],
            &[],
        ],
    ),
    (
        "dig 9.18",
        [
            &["dig_asks_over_tls_and_https"],
            &["dig_asks_over_tls_and_https"],
            &[],
            &[],
        ],
    ),
    (
        "curl 7.88, `--doh-url` and as it is",
        [
            &[],
            &[
                "curl_resolves_the_names_of_its_urls",
                "curl_gets_and_posts_over_both_versions",
            ],
            &[],
            &[],
        ],
    ),
    (
        "dnspython 2.3",
        [&["dnspython_asks_over_tls"], &[], &[], &[]],
    ),
    (
        "unbound 1.17, `forward-tls-upstream`",
        [&["unbound_forwards_over_tls"], &[], &[], &[]],
    ),
    (
        "dnsdist 1.7, `tls` and `dohPath` of a server",
        [
            &["dnsdist_asks_over_tls_and_https"],
            &["dnsdist_asks_over_tls_and_https"],
            &[],
            &[],
        ],
    ),
    (
        "systemd-resolved 252, `DNSOverTLS=yes`",
        [&["systemd_resolved_asks_over_tls"], &[], &[], &[]],
    ),
    (
        "Chromium 156, secure DNS by GET and by POST",
        [&[], &["chromium_finds_a_page_over_https"], &[], &[]],
    ),
    (
        "the crates h2, quinn and h3",
        [
            &["the_rfcs_are_kept_over_every_transport"],
            &["the_rfcs_are_kept_over_every_transport"],
            &["the_rfcs_are_kept_over_every_transport"],
            &["queries_are_answered_by_get_and_by_post_and_overtake_each_other"],
        ],
    ),
    (
        "hickory-net 0.26, by `nameplate query`",
        [
            &["every_scheme_is_asked"],
            &["every_scheme_is_asked"],
            &["every_scheme_is_asked"],
            &[],
        ],
    ),
];

/// The table as the README has it.
fn drawn() -> String {
    let mut out = "| client | DoT | DoH | DoQ | DoH3 |\n|---|---|---|---|---|\n".to_owned();
    for (client, transports) in TABLE {
        out += &format!("| {client} |");
        for tests in transports {
            out += if tests.is_empty() { " |" } else { " yes |" };
        }
        out.push('\n');
    }
    out
}

#[test]
fn the_table_in_the_readme_is_what_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests: String = std::fs::read_dir(root.join("tests/it"))
        .expect("the tests")
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok())
        .collect();
    for name in TABLE
        .iter()
        .flat_map(|row| row.1)
        .flat_map(|tests| tests.iter())
    {
        assert!(tests.contains(&format!("fn {name}()")), "no test {name}");
    }
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README");
    let between: Vec<&str> = readme.split("<!-- interop -->\n").collect();
    assert_eq!(between.len(), 3, "two marks in the README");
    assert_eq!(
        between[1],
        drawn(),
        "write this into the README:\n{}",
        drawn()
    );
}

/// A program that is ended with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().expect("it starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ca(served: &Secured) -> PathBuf {
    served.server.dir().join("ca.pem")
}

#[test]
fn dig_asks_over_tls_and_https() {
    for (scheme, flag) in [
        ("tls", "+tls"),
        ("https", "+https"),
        ("https", "+https-get"),
    ] {
        let served = Secured::start_by(scheme, &format!("dig{flag}"), "", HOSTS);
        let ca = format!("+tls-ca={}", ca(&served).display());
        let name = format!("+tls-hostname={NAME}");
        let Some(out) = dig(served.address, &[flag, &ca, &name, "www.example.org"]) else {
            return;
        };
        assert!(
            out.contains("192.0.2.1") && out.contains("status: NOERROR"),
            "{flag}: {out}"
        );
        // dig verifies: another name is refused.
        let other = [flag, &ca, "+tls-hostname=other.example", "www.example.org"];
        let out = dig(served.address, &other).unwrap_or_default();
        assert!(!out.contains("192.0.2.1"), "{flag}: {out}");
    }
}

#[test]
fn dnsdist_asks_over_tls_and_https() {
    let Some(dnsdist) = tool("dnsdist") else {
        return;
    };
    for (scheme, option) in [("tls", ""), ("https", ", dohPath=\"/dns-query\"")] {
        let lines = format!("{HOSTS}\n  log . \"{{proto}} {{name}}\"");
        let served = Secured::start_by(scheme, &format!("dnsdist-client-{scheme}"), "", &lines);
        let port = free_port();
        let configuration = format!(
            "setLocal(\"127.0.0.1:{port}\")\nsetSecurityPollSuffix(\"\")\n\
             newServer({{address=\"{}\", tls=\"openssl\", subjectName=\"{NAME}\", caStore=\"{}\", validateCertificates=true, checkName=\"www.example.org\"{option}}})\n",
            served.address,
            ca(&served).display()
        );
        let file = served.server.dir().join("dnsdist.conf");
        std::fs::write(&file, configuration).expect("written");
        let _dnsdist = Running::start(
            Command::new(&dnsdist)
                .args(["--supervised", "--disable-syslog", "-C"])
                .arg(file)
                .stderr(Stdio::null()),
        );
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until(&format!("an answer through dnsdist over {scheme}"), || {
            ask_udp(address, &a("www.example.org"), Duration::from_secs(1))
                .is_some_and(|reply| rcode(&reply) == 0 && reply.ends_with(&[192, 0, 2, 1]))
        });
        served.server.wait_for_log("tcp www.example.org.");
    }
}

/// Where the binary of systemd-resolved is: installed, or unpacked by `tests/run`, since to install it changes the machine's resolv.conf.
fn systemd_resolved() -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools/systemd-resolved");
    [unpacked, "/usr".into(), "/".into()]
        .map(|root| root.join("lib/systemd/systemd-resolved"))
        .into_iter()
        .find(|path| path.is_file())
}

/// In namespaces of its own: it takes 127.0.0.53, wants a link that is up, and trusts the machine's authorities, here the test's.
const RESOLVED: &str = r#"set -e
ip link set lo up
ip link add there type veth peer name here
ip addr add 192.0.2.100/24 dev here
ip link set here up
ip link set there up
mkdir run
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/resolve
chown -R nobody /run/systemd
mkdir etc
cp resolved.conf etc
mount --bind etc /etc/systemd
mount --bind ca.pem /etc/ssl/certs/ca-certificates.crt
"$NAMEPLATE" -conf Corefile -dns.port 1053 >nameplate.log 2>&1 &
server=$!
caps=+net_bind_service,+net_raw,+setpcap
setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=$caps --ambient-caps=$caps --bounding-set=-all,$caps \
    "$RESOLVED" >resolved.log 2>&1 &
resolved=$!
trap 'kill $server $resolved 2>/dev/null; cat nameplate.log resolved.log' EXIT
for _ in $(seq 100); do
    if dig @127.0.0.53 www.example.org +tries=1 +time=1 +short | grep 192.0.2.1; then exit 0; fi
    sleep 0.1
done
exit 1
"#;

#[test]
fn systemd_resolved_asks_over_tls() {
    let Some(resolved) = systemd_resolved() else {
        return leave_out("systemd-resolved is not there; tests/run unpacks it when it is root");
    };
    let tools = ["dig", "ip", "setpriv", "unshare"].map(tool);
    if tools.contains(&None) {
        return;
    }
    if !is_root() {
        return skip("namespaces for systemd-resolved need root");
    }
    let dir = temporary_directory("systemd-resolved");
    let authority = crate::secure::Authority::new("resolved");
    authority.server(365).write(&dir, "server");
    for (name, text) in [
        ("ca.pem", authority.pem.as_str()),
        (
            "Corefile",
            &format!(
                "tls://. {{\n  bind 127.0.0.1\n  tls server.pem server.key\n  log . \"{{proto}} {{name}}\"\n{HOSTS}\n}}\n"
            ),
        ),
        (
            "resolved.conf",
            &format!(
                "[Resolve]\nDNS=127.0.0.1#{NAME}\nFallbackDNS=\nDomains=~.\nDNSSEC=no\nDNSOverTLS=yes\nCache=no\nLLMNR=no\nMulticastDNS=no\n"
            ),
        ),
    ] {
        std::fs::write(dir.join(name), text).expect("written");
    }
    let out = Command::new("timeout")
        .args([
            "60",
            "unshare",
            "--net",
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
        ])
        .args(["bash", "-c", RESOLVED])
        .current_dir(&dir)
        .env("NAMEPLATE", env!("CARGO_BIN_EXE_nameplate"))
        .env("RESOLVED", resolved)
        .env("SYSTEMD_LOG_LEVEL", "debug")
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{text}{errors}");
    assert!(
        text.contains("tcp www.example.org.") && text.contains("confidential"),
        "{text}"
    );
}

/// Whether the tests run as root.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.and_then(|uid| uid.split_whitespace().nth(1)) == Some("0")
}

/// The browser is 300 MB, so `tests/run` does not install it: `apt-get install chromium libnss3-tools`.
#[test]
fn chromium_finds_a_page_over_https() {
    let found = |name: &str| Path::new("/usr/bin").join(name).is_file();
    if !found("chromium") || !found("certutil") {
        return leave_out("chromium or certutil (libnss3-tools) is not installed");
    }
    let lines = "  log . \"{proto} {type} {name}\"\n  hosts {\n    127.0.0.1 page.example.org\n  }";
    let served = Secured::start_by("https", "chromium", "", lines);
    let home = served.server.dir().join("home");
    let database = home.join(".pki/nssdb");
    std::fs::create_dir_all(&database).expect("made");
    let database = format!("sql:{}", database.display());
    let file = ca(&served);
    let file = file.to_str().expect("UTF-8");
    for arguments in [
        &["-N", "--empty-password"][..],
        &["-A", "-n", "test", "-t", "C,,", "-i", file],
    ] {
        let status = Command::new("certutil")
            .args(arguments)
            .args(["-d", &database])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "certutil");
    }
    let page = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = page.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in page.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.read(&mut [0; 4_096]);
            let body = "<html><body>found</body></html>";
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close";
            let _ = write!(
                stream,
                "{head}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    for (method, variable) in [("GET", "{?dns}"), ("POST", "")] {
        // What the policy DnsOverHttpsMode sets, in a profile of its own.
        let profile = served.server.dir().join(method);
        std::fs::create_dir_all(&profile).expect("made");
        let state = format!(
            "{{\"dns_over_https\":{{\"mode\":\"secure\",\"templates\":\"https://{}/dns-query{variable}\"}}}}",
            served.address
        );
        std::fs::write(profile.join("Local State"), state).expect("written");
        let before = served
            .server
            .log()
            .matches("tcp A page.example.org.")
            .count();
        let out = Command::new("timeout")
            .args([
                "60",
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--dump-dom",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("http://page.example.org:{port}/"))
            .env("HOME", &home)
            .output()
            .expect("chromium runs");
        let text = String::from_utf8_lossy(&out.stdout);
        let errors = String::from_utf8_lossy(&out.stderr);
        assert!(text.contains("found"), "{method}: {text}{errors}");
        wait_until("its query in the log", || {
            let log = served.server.log();
            log.matches("tcp A page.example.org.").count() > before
        });
    }
}
