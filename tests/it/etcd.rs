//! `etcd` against Debian's etcd: what CoreDNS answers for the same keys, keys that change, and a cluster that comes and goes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::server::{Server, free_port, temporary_directory, tool, wait_until};

/// A member of a cluster; killed when dropped.
struct Member {
    child: Child,
    dir: PathBuf,
    port: u16,
    arguments: Vec<String>,
    /// What `etcdctl` needs to know.
    access: Vec<String>,
}

impl Member {
    /// A cluster of one; `None` where etcd is not installed.
    fn start(test: &str) -> Option<Self> {
        Self::start_in(temporary_directory(test), free_port(), Vec::new())
    }

    fn start_in(dir: PathBuf, port: u16, arguments: Vec<String>) -> Option<Self> {
        tool("etcdctl")?;
        let child = Self::spawn(&dir, port, &arguments)?;
        let scheme = match arguments.iter().any(|word| word == "--cert-file") {
            true => "https",
            false => "http",
        };
        let mut access = vec![format!("--endpoints={scheme}://127.0.0.1:{port}")];
        if scheme == "https" {
            access.push(format!("--cacert={}", certificate(&dir).display()));
        }
        let member = Self {
            child,
            dir,
            port,
            arguments,
            access,
        };
        if !member
            .arguments
            .iter()
            .any(|word| word == "--initial-cluster")
        {
            member.wait();
        }
        Some(member)
    }

    fn spawn(dir: &Path, port: u16, arguments: &[String]) -> Option<Child> {
        let scheme = match arguments.iter().any(|word| word == "--cert-file") {
            true => "https",
            false => "http",
        };
        let client = format!("{scheme}://127.0.0.1:{port}");
        let mut command = Command::new(tool("etcd")?);
        command.args(["--data-dir", "data", "--listen-client-urls", &client]);
        command.args(["--advertise-client-urls", &client, "--unsafe-no-fsync"]);
        if !arguments.iter().any(|word| word == "--listen-peer-urls") {
            command.args(["--listen-peer-urls", "http://127.0.0.1:0"]);
        }
        let child = command
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Some(child.expect("etcd starts"))
    }

    fn wait(&self) {
        wait_until("etcd", || self.try_run(&["endpoint", "health"]).is_some());
    }

    /// What `etcdctl` prints; `None` when it fails.
    fn try_run(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(&self.access)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("etcdctl runs");
        (output.status.success()).then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn run(&self, arguments: &[&str]) -> String {
        let ran = self.try_run(arguments);
        ran.unwrap_or_else(|| panic!("etcdctl {arguments:?} fails"))
    }

    fn put(&self, key: &str, value: &str) {
        self.run(&["put", key, value]);
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on its data, at the same port or another one.
    fn start_again(&mut self, port: u16) {
        self.child = Self::spawn(&self.dir, port, &self.arguments).expect("etcd is installed");
        self.access[0] = self.access[0].replace(&self.port.to_string(), &port.to_string());
        self.port = port;
        self.wait();
    }
}

/// Where the certificate of a member is.
fn certificate(dir: &Path) -> PathBuf {
    dir.join("cert.pem")
}

/// Makes a certificate for 127.0.0.1 and its key; `None` without openssl.
fn certify(dir: &Path) -> Option<()> {
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=etcd -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    let made = Command::new(tool("openssl")?)
        .args(words.split(' '))
        .current_dir(dir)
        .output()
        .expect("openssl runs");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    Some(())
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The records of a reply as dig shows them, in order: `RCODE`, then for each section with records its letter and the records.
fn ask(server: &Server, name: &str, qtype: &str) -> String {
    let text = server
        .dig(&[
            name,
            qtype,
            "+noall",
            "+comments",
            "+answer",
            "+authority",
            "+additional",
            "+noedns",
        ])
        .expect("dig is installed");
    let mut out = String::new();
    let mut records: Vec<String> = Vec::new();
    let mut section = "";
    let end = |section: &str, records: &mut Vec<String>| {
        records.sort();
        let told = if records.is_empty() {
            String::new()
        } else {
            format!(" {section}[{}]", records.join("; "))
        };
        records.clear();
        told
    };
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("status: ") {
            out.push_str(rest.split(',').next().unwrap_or_default());
        } else if let Some(name) = line.strip_prefix(";; ") {
            let told = end(section, &mut records);
            out.push_str(&told);
            section = match name {
                "ANSWER SECTION:" => "an",
                "AUTHORITY SECTION:" => "ns",
                "ADDITIONAL SECTION:" => "ar",
                _ => "",
            };
        } else if !line.starts_with(';') && !section.is_empty() && !line.is_empty() {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            if words.get(3) == Some(&"SOA") {
                // The serial is a time.
                words.remove(6);
            }
            words.remove(2);
            records.push(words.join(" "));
        }
    }
    out + &end(section, &mut records)
}

/// Waits until a name is answered so.
fn await_answer(server: &Server, (name, qtype): (&str, &str), expected: &str) {
    let mut last = String::new();
    let mut done = || {
        last = ask(server, name, qtype);
        last.contains(expected)
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !done() {
        assert!(
            std::time::Instant::now() < deadline,
            "{name} {qtype}: waited in vain for {expected:?}:\n{}",
            server.log()
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Keys, questions and answers.
const ANSWERS: &str = include_str!("etcd/answers.txt");
/// What stands for `{SOA}` in them.
const SOA: &str =
    "ns[skydns.test. 30 SOA ns.dns.skydns.test. hostmaster.skydns.test. 7200 1800 86400 30]";

#[test]
fn answers_are_coredns_s() {
    let Some(etcd) = Member::start("etcd-answers") else {
        return;
    };
    if tool("dig").is_none() {
        return;
    }
    let lines = || ANSWERS.lines().filter(|line| !line.starts_with('#'));
    for (key, value) in lines().filter_map(|line| line.split_once(' ')) {
        if key.starts_with('/') {
            etcd.put(key, value);
        }
    }
    for (text, len) in [("large400", 400), ("large600", 600)] {
        let value = format!(r#"{{"text":"{}"}}"#, "0".repeat(len));
        etcd.put(&format!("/skydns/test/skydns/{text}"), &value);
    }
    let corefile = format!(
        ".:{{PORT}} {{\n bind 127.0.0.1\n etcd skydns.test skydns_extra.test skydns_zonea.test skydns_zoneb.test skydns_zoned.test miek.nl in-addr.arpa {{\n  path /skydns\n  endpoint http://127.0.0.1:{}\n }}\n}}\n",
        etcd.port
    );
    let server = Server::start("etcd-answers-server", &corefile);
    let mut wrong = Vec::new();
    for line in lines().filter(|line| !line.starts_with('/') && !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().expect("a name, a type and an answer");
        let (name, qtype, expected) = (word(), word(), word().replace("{SOA}", SOA));
        let found = ask(&server, name, qtype);
        if found != expected {
            wrong.push(format!(
                "{name} {qtype}\n  expected {expected}\n  found    {found}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let out_of_the_zones = ask(&server, "a.server1.dev.region1.example.org.", "SRV");
    assert!(
        matches!(&*out_of_the_zones, "SERVFAIL" | "REFUSED"),
        "{out_of_the_zones}"
    );
    let large = ask(&server, "large400.skydns.test.", "TXT");
    assert_eq!(
        large.matches('0').count(),
        400 + "300".matches('0').count() + "large400".matches('0').count(),
        "{large}"
    );
}

#[test]
fn keys_of_external_dns_come_and_go_and_outlive_etcd() {
    let Some(mut etcd) = Member::start("etcd-changes") else {
        return;
    };
    if tool("dig").is_none() {
        return;
    }
    let (admin, metrics) = (free_port(), free_port());
    let corefile = format!(
        ".:{{PORT}} {{\n bind 127.0.0.1\n ready 127.0.0.1:{admin}\n prometheus 127.0.0.1:{}\n etcd example.org {{\n  endpoint http://127.0.0.1:{}\n }}\n}}\n",
        metrics, etcd.port
    );
    let server = Server::start("etcd-changes-server", &corefile);
    let www = ("www.example.org.", "A");
    assert_eq!(
        ask(&server, www.0, www.1).split(' ').next(),
        Some("NXDOMAIN")
    );
    // As external-dns writes: a random label below the name, the owner in a text beside the address.
    let one = r#"{"host":"192.0.2.1","ttl":60,"targetstrip":1,"text":"\"heritage=external-dns,external-dns/owner=default\""}"#;
    etcd.put("/skydns/org/example/www/4a53bd3c", one);
    await_answer(&server, www, "an[www.example.org. 60 A 192.0.2.1]");
    let text = ask(&server, "www.example.org.", "TXT");
    assert!(text.contains("heritage=external-dns"), "{text}");
    etcd.put(
        "/skydns/org/example/www/6f7c9a10",
        r#"{"host":"192.0.2.2","ttl":60,"targetstrip":1}"#,
    );
    await_answer(&server, www, "192.0.2.1; www.example.org. 60 A 192.0.2.2]");
    let srv = ask(&server, "www.example.org.", "SRV");
    assert!(srv.contains("SRV 10 50 0 www.example.org."), "{srv}");
    etcd.run(&["del", "/skydns/org/example/www/4a53bd3c"]);
    await_answer(&server, www, "an[www.example.org. 60 A 192.0.2.2]");

    // A lease gives the TTL: what is left of it, which is 300 s at most, and the key goes with it.
    let granted = etcd.run(&["lease", "grant", "250"]);
    let lease = granted
        .split_whitespace()
        .nth(1)
        .expect("a lease")
        .to_owned();
    let put = [
        "put",
        "--lease",
        &lease,
        "/skydns/org/example/leased",
        r#"{"host":"192.0.2.9"}"#,
    ];
    etcd.run(&put);
    let leased = ("leased.example.org.", "A");
    wait_until("a TTL of the lease", || {
        let found = ask(&server, leased.0, leased.1);
        let ttl = found
            .split_whitespace()
            .nth(2)
            .and_then(|ttl| ttl.parse::<u32>().ok());
        ttl.is_some_and(|ttl| (200..=250).contains(&ttl))
    });
    etcd.run(&["lease", "revoke", &lease]);
    await_answer(&server, leased, "NXDOMAIN");

    // Served on while etcd is away, which is said.
    let port = etcd.port;
    etcd.stop();
    server.wait_for_log("cannot be read");
    assert!(
        server.log().contains("the last known data is served"),
        "{}",
        server.log()
    );
    await_answer(&server, www, "an[www.example.org. 60 A 192.0.2.2]");
    let ready = page(admin, "/ready?verbose");
    assert!(
        ready.contains("200 OK") && ready.contains("has been away for"),
        "{ready}"
    );

    let told = page(metrics, "/metrics");
    let value = |name: &str| {
        let name = format!("{name}{{plugin=\"etcd\",source=\"etcd at http://127.0.0.1:{port}\"}} ");
        let value = told
            .split(&name)
            .nth(1)
            .and_then(|rest| rest.lines().next());
        value
            .and_then(|value| value.parse::<f64>().ok())
            .expect("a number")
    };
    assert!(value("coredns_source_age_seconds") > 0.0);
    assert!(value("coredns_source_failures_total") >= 1.0);
    assert_eq!(value("coredns_source_entries"), 1.0);

    // What was compacted meanwhile cannot be watched: the keys are read anew.
    etcd.start_again(free_port());
    etcd.put(
        "/skydns/org/example/www/6f7c9a10",
        r#"{"host":"192.0.2.3","ttl":60}"#,
    );
    let status = etcd.run(&["endpoint", "status", "--write-out=json"]);
    let revision = status.split("\"revision\":").nth(1).expect("a revision");
    let revision = revision.split(',').next().expect("a number").to_owned();
    etcd.run(&["compact", &revision]);
    etcd.stop();
    etcd.start_again(port);
    await_answer(&server, www, "an[www.example.org. 60 A 192.0.2.3]");
    server.wait_for_log("can be reached again");
    // And the watch goes on from there.
    etcd.put(
        "/skydns/org/example/www/6f7c9a10",
        r#"{"host":"192.0.2.4","ttl":60}"#,
    );
    await_answer(&server, www, "an[www.example.org. 60 A 192.0.2.4]");
}

/// What a page of the admin side says, its head included.
fn page(port: u16, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the page is served");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text
}

#[test]
fn tls_and_credentials_are_used_and_tokens_renewed() {
    let dir = temporary_directory("etcd-tls");
    if certify(&dir).is_none() {
        return;
    }
    let words = ["--cert-file", "cert.pem", "--key-file", "key.pem"].map(str::to_owned);
    let Some(mut etcd) = Member::start_in(dir, free_port(), words.into()) else {
        return;
    };
    if tool("dig").is_none() {
        return;
    }
    etcd.put("/skydns/org/example/www", r#"{"host":"192.0.2.1"}"#);
    etcd.run(&["user", "add", "root:secret"]);
    etcd.run(&["user", "grant-role", "root", "root"]);
    etcd.run(&["user", "add", "dns:word"]);
    etcd.run(&["role", "add", "reader"]);
    etcd.run(&[
        "role",
        "grant-permission",
        "reader",
        "--prefix=true",
        "read",
        "/skydns",
    ]);
    etcd.run(&["user", "grant-role", "dns", "reader"]);
    etcd.run(&["auth", "enable"]);
    etcd.access.push("--user=root:secret".to_owned());
    let authority = certificate(&etcd.dir);
    let corefile = |password: &str| {
        format!(
            ".:{{PORT}} {{\n bind 127.0.0.1\n etcd example.org {{\n  endpoint https://127.0.0.1:{}\n  credentials dns {password}\n  tls {}\n }}\n}}\n",
            etcd.port,
            authority.display()
        )
    };
    let server = Server::start("etcd-tls-server", &corefile("word"));
    let www = ("www.example.org.", "A");
    await_answer(&server, www, "an[www.example.org. 300 A 192.0.2.1]");
    // Every change of users makes the tokens of before worthless; a question about a lease needs a new one.
    etcd.run(&["user", "add", "other:secret"]);
    let granted = etcd.run(&["lease", "grant", "250"]);
    let lease = granted
        .split_whitespace()
        .nth(1)
        .expect("a lease")
        .to_owned();
    let key = "/skydns/org/example/leased";
    etcd.run(&["put", "--lease", &lease, key, r#"{"host":"192.0.2.9"}"#]);
    wait_until("a TTL of the lease", || {
        let found = ask(&server, "leased.example.org.", "A");
        let ttl = found
            .split_whitespace()
            .nth(2)
            .and_then(|ttl| ttl.parse::<u32>().ok());
        ttl.is_some_and(|ttl| (200..=250).contains(&ttl))
    });
    let refused = Server::start("etcd-tls-refused", &corefile("wrong"));
    refused.wait_for_log("authentication failed");
    assert!(refused.log().contains("user dns"), "{}", refused.log());
    assert!(
        !refused.log().contains("wrong"),
        "the password is not logged"
    );
    assert_eq!(ask(&refused, www.0, www.1), "SERVFAIL");
}

#[test]
fn another_member_takes_over() {
    if tool("etcd").is_none() || tool("dig").is_none() {
        return;
    }
    let peers: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let cluster: Vec<String> = peers
        .iter()
        .enumerate()
        .map(|(at, &port)| format!("m{at}={}", url(port)))
        .collect();
    let mut members: Vec<Member> = peers
        .iter()
        .enumerate()
        .filter_map(|(at, &port)| {
            let words = [
                "--name",
                &format!("m{at}"),
                "--initial-cluster",
                &cluster.join(","),
                "--listen-peer-urls",
                &url(port),
                "--initial-advertise-peer-urls",
                &url(port),
            ]
            .map(str::to_owned);
            let dir = temporary_directory(&format!("etcd-member-{at}"));
            Member::start_in(dir, free_port(), words.into())
        })
        .collect();
    if members.len() < 3 {
        return;
    }
    for member in &members {
        member.wait();
    }
    let endpoints: Vec<String> = members.iter().map(|member| url(member.port)).collect();
    let corefile = format!(
        ".:{{PORT}} {{\n bind 127.0.0.1\n etcd example.org {{\n  endpoint {} {}\n }}\n}}\n",
        url(free_port()),
        endpoints.join(" ")
    );
    members[0].put("/skydns/org/example/www", r#"{"host":"192.0.2.1"}"#);
    // The first endpoint is nobody's.
    let server = Server::start("etcd-members-server", &corefile);
    let www = ("www.example.org.", "A");
    await_answer(&server, www, "192.0.2.1]");
    members[0].stop();
    wait_until("a leader among the others", || {
        let put = ["put", "/skydns/org/example/www", r#"{"host":"192.0.2.2"}"#];
        members[1].try_run(&put).is_some()
    });
    await_answer(&server, www, "192.0.2.2]");
    assert!(!server.log().contains("cannot be read"), "{}", server.log());
}
