//! `forward` and `grpc` over encrypted transports: our own listeners as upstreams, and dnsdist.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::attacks::{a, rcode};
use crate::secure::{Authority, replace};
use crate::server::{
    Reply, Server, Upstream, answer, free_port, temporary_directory, tool, wait_until,
};
use crate::tls::{HOSTS, Secured};

/// What a forwarder answers for the name in [`HOSTS`]: the RCODE, and whether there is the address.
fn answered(forwarder: &Server) -> Option<(u8, bool)> {
    let reply = forwarder.ask(&a("www.example.org"))?;
    Some((rcode(&reply), reply.ends_with(&[192, 0, 2, 1])))
}

#[test]
fn our_own_listeners_are_upstreams_and_get_our_certificate() {
    let cases = [
        ("tls", "forward . tls://{TO}"),
        ("https", "forward . https://{TO}"),
        ("https", "forward . https://{TO}/dns-query"),
        ("quic", "forward . quic://{TO}"),
        ("grpc", "grpc . {TO}"),
    ];
    for (number, (scheme, line)) in cases.into_iter().enumerate() {
        let test = format!("upstream-{scheme}-{number}");
        let options = "ca.pem {\n client_auth require_and_verify\n }";
        let upstream = Secured::start_by(scheme, &test, options, HOSTS);
        let dir = temporary_directory(&format!("{test}-client"));
        upstream.authority.client().write(&dir, "client");
        replace(&dir.join("ca.pem"), &upstream.authority.pem);
        let line = line.replace("{TO}", &upstream.address.to_string());
        let method = match number {
            1 => "doh_method GET",
            _ => "",
        };
        let corefile = |files: &str| {
            format!(
                ".:{{PORT}} {{\n bind 127.0.0.1\n errors\n {line} {{\n  tls {files}\n  tls_servername dns.example.org\n  {method}\n }}\n}}\n"
            )
        };
        let forwarder = Server::start_in(&dir, &corefile("client.pem client.key ca.pem"));
        assert_eq!(answered(&forwarder), Some((0, true)), "{line}");
        assert_eq!(answered(&forwarder), Some((0, true)), "{line}");
        // Without a certificate of its own the forwarder gets nothing, and says so.
        let stranger = temporary_directory(&format!("{test}-stranger"));
        replace(&stranger.join("ca.pem"), &upstream.authority.pem);
        let stranger = Server::start_in(&stranger, &corefile("ca.pem"));
        assert_eq!(answered(&stranger), Some((2, false)), "{line}");
        stranger.wait_for_log("www.example.org. A: ");
    }
}

#[test]
fn dnsdist_is_an_upstream_over_tls_and_https() {
    let Some(dnsdist) = tool("dnsdist") else {
        return;
    };
    let behind =
        Upstream::start(|asked| Reply::Octets(answer(asked.octets, 60, &[[192, 0, 2, 1]])));
    let dir = temporary_directory("upstream-dnsdist");
    let authority = Authority::new("dnsdist");
    authority.server(30).write(&dir, "server");
    replace(&dir.join("ca.pem"), &authority.pem);
    let (plain, dot, doh) = (free_port(), free_port(), free_port());
    let at = dir.display();
    let files = format!("\"{at}/server.pem\", \"{at}/server.key\"");
    let configuration = format!(
        "setLocal(\"127.0.0.1:{plain}\")\naddTLSLocal(\"127.0.0.1:{dot}\", {files})\naddDOHLocal(\"127.0.0.1:{doh}\", {files}, \"/queries\")\n\
         newServer({{address=\"{}\", healthCheckMode=\"up\"}})\nsetSecurityPollSuffix(\"\")\n",
        behind.address()
    );
    let file = dir.join("dnsdist.conf");
    std::fs::write(&file, configuration).expect("written");
    let mut child = Command::new(dnsdist)
        .args(["--supervised", "--disable-syslog", "-C"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("dnsdist starts");
    let outcome = std::panic::catch_unwind(|| {
        let query = a("www.example.org");
        let address = SocketAddr::from(([127, 0, 0, 1], plain));
        wait_until("dnsdist", || {
            crate::server::ask_udp(address, &query, Duration::from_secs(1)).is_some()
        });
        for (number, (to, option)) in [
            (format!("tls://127.0.0.1:{dot}"), ""),
            (
                format!("https://127.0.0.1:{doh}/queries"),
                "doh_method POST",
            ),
            (format!("https://127.0.0.1:{doh}/queries"), "doh_method GET"),
        ]
        .into_iter()
        .enumerate()
        {
            let forwarder = Server::start(
                &format!("upstream-dnsdist-{number}"),
                &format!(
                    ".:{{PORT}} {{\n bind 127.0.0.1\n errors\n forward . {to} {{\n  tls {at}/ca.pem\n  tls_servername dns.example.org\n  {option}\n }}\n}}\n"
                ),
            );
            assert_eq!(
                answered(&forwarder),
                Some((0, true)),
                "{to} {option}: {}",
                forwarder.log()
            );
        }
    });
    let _ = child.kill();
    let _ = child.wait();
    assert!(outcome.is_ok());
}
