//! What is accepted, what is refused, and what it means.

use super::*;
use ::upstream::Selection;
use upstream::target::{self, Place, Scheme};

/// The first error's code, and whether there are more.
fn verdict(text: &str) -> Result<(), (&'static str, String)> {
    let (_, report) = plan(&format!(". {{\n{text}\n}}"));
    let mut errors = report
        .iter()
        .filter(|d| d.severity == corefile::Severity::Error);
    match errors.next() {
        None => Ok(()),
        Some(first) => {
            assert_eq!(errors.next(), None, "{text}: one mistake, one message");
            Err((first.code, first.message.clone()))
        }
    }
}

#[test]
fn accepted() {
    let bodies = [
        "forward . 192.0.2.1",
        "forward . 192.0.2.1:8080",
        "forward . [2001:db8::1]:53",
        "forward . 2001:db8::1",
        "forward . [2001:db8::1]",
        "forward . fe80::1%eth0",
        "forward . dns://192.0.2.1:5353 tls://192.0.2.2",
        "forward . tls://[2001:db8::1%dns.example.org]:853 {\n tls\n }",
        "forward . tls://192.0.2.1%dns.example.org",
        "forward . tls://192.0.2.1%dns.example.org:854",
        "forward . /etc/resolv.conf",
        "forward . ns.example.org ns2.example.org:5300 {\n resolver 192.0.2.1 192.0.2.2:5353 2001:db8::1\n }",
        "forward example.org. 192.0.2.1",
        "forward 192.0.2.0/24 192.0.2.1",
        "forward 192.0.2.0/25 192.0.2.1",
        "forward . 192.0.2.1 {\n}",
        "forward . 192.0.2.1 {\n except example.org 192.0.2.0/24\n except example.net\n }",
        "forward . 192.0.2.1 {\n force_tcp\n prefer_udp\n }",
        "forward . 192.0.2.1 {\n expire 20s\n max_age 30s\n max_idle_conns 10\n }",
        "forward . 192.0.2.1 {\n max_age 30s\n expire 20s\n }",
        "forward . 192.0.2.1 {\n max_fails 0\n max_connect_attempts 0\n max_concurrent 1000\n }",
        "forward . 192.0.2.1 {\n read_timeout 4s\n }",
        "forward . tls://192.0.2.1 {\n tls /a.pem\n }",
        "forward . 192.0.2.2 tls://192.0.2.1 {\n tls a.pem a.key\n tls_servername dns.example.org\n }",
        "forward . tls://192.0.2.1 {\n tls a.pem a.key ca.pem\n }",
        // CoreDNS takes these, and asks in clear text; they warn.
        "forward . 192.0.2.1 {\n tls\n }",
        "forward . 192.0.2.1 dns://192.0.2.2 {\n tls_servername dns.example.org\n }",
        "forward . /etc/resolv.conf {\n tls ca.pem\n }",
        "forward . 192.0.2.1 {\n policy random\n policy round_robin\n policy sequential\n }",
        "forward . 192.0.2.1 {\n health_check 0.5s\n }",
        "forward . 192.0.2.1 {\n health_check 0.5s no_rec domain example.org\n }",
        "forward . 192.0.2.1 {\n health_check 0.5s domain example.org. no_rec\n }",
        "forward . 192.0.2.1 {\n next NXDOMAIN servfail\n next_on_nodata\n }",
        "forward . 192.0.2.1 {\n failover SERVFAIL Refused\n failfast_all_unhealthy_upstreams\n }",
        "forward . 192.0.2.1 {\n source_address 192.0.2.9\n 0x20\n }",
        "forward . 192.0.2.1\nforward example.org 192.0.2.2",
        "forward . a27.0.0.1",
    ];
    for body in bodies {
        assert_eq!(verdict(body), Ok(()), "{body}");
    }
}

#[test]
fn refused() {
    let sixteen = (1..=16)
        .map(|n| format!("192.0.2.{n}"))
        .collect::<Vec<_>>()
        .join(" ");
    let sixteen = format!("forward . {sixteen}");
    // (body, code, part of the message)
    let cases = [
        ("forward", "CF0107", "'forward'"),
        ("forward .", "CF0107", "'.'"),
        (
            sixteen.as_str(),
            "CF0203",
            "more than 15 TOs configured: 16",
        ),
        (
            "forward xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx 192.0.2.1",
            "CF0205",
            "unable to normalize 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'",
        ),
        (
            "forward . https://192.0.2.1/",
            "CF0208",
            "`/` is not a path of DNS over HTTPS",
        ),
        (
            "forward . https://192.0.2.1/dns-query{?dns}",
            "CF0208",
            "is not a path",
        ),
        (
            "forward . https://192.0.2.1/dns-query?ct",
            "CF0208",
            "is not a path",
        ),
        ("forward . https://", "CF0208", "invalid address"),
        ("forward . https:///dns-query", "CF0208", "invalid address"),
        (
            "forward . grpc://192.0.2.1",
            "CF0208",
            "'grpc' is not supported as a destination protocol",
        ),
        ("forward . tls://", "CF0208", "invalid address"),
        (
            "forward . 192.0.2.1 {\n blaatl\n }",
            "CF0102",
            "unknown property 'blaatl'",
        ),
        ("forward . 192.0.2.1 {\n except\n }", "CF0107", ""),
        (
            "forward . 192.0.2.1 {\n except xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n }",
            "CF0205",
            "",
        ),
        ("forward . 192.0.2.1 {\n force_tcp yes\n }", "CF0107", ""),
        ("forward . 192.0.2.1 {\n prefer_udp yes\n }", "CF0107", ""),
        ("forward . 192.0.2.1 {\n expire\n }", "CF0107", ""),
        (
            "forward . 192.0.2.1 {\n expire 10\n }",
            "CF0202",
            "missing unit",
        ),
        (
            "forward . 192.0.2.1 {\n expire -1s\n }",
            "CF0202",
            "negative",
        ),
        (
            "forward . 192.0.2.1 {\n max_age -1s\n }",
            "CF0202",
            "negative",
        ),
        ("forward . 192.0.2.1 {\n max_age invalid\n }", "CF0202", ""),
        (
            "forward . 192.0.2.1 {\n expire 30s\n max_age 10s\n }",
            "CF0203",
            "max_age (10s) must not be less than expire (30s)",
        ),
        (
            "forward . 192.0.2.1 {\n max_age 5s\n }",
            "CF0203",
            "must not be less than expire (10s)",
        ),
        (
            "forward . 192.0.2.1 {\n max_idle_conns -1\n }",
            "CF0203",
            "",
        ),
        (
            "forward . 192.0.2.1 {\n max_idle_conns many\n }",
            "CF0201",
            "",
        ),
        (
            "forward . 192.0.2.1 {\n read_timeout 0s\n }",
            "CF0203",
            "must be positive",
        ),
        (
            "forward . 192.0.2.1 {\n read_timeout invalid\n }",
            "CF0202",
            "",
        ),
        ("forward . 192.0.2.1 {\n max_fails -1\n }", "CF0203", ""),
        (
            "forward . 192.0.2.1 {\n max_connect_attempts x\n }",
            "CF0201",
            "",
        ),
        (
            "forward . 192.0.2.1 {\n max_concurrent many\n }",
            "CF0201",
            "",
        ),
        (
            "forward . 192.0.2.1 {\n max_concurrent -4\n }",
            "CF0203",
            "",
        ),
        (
            "forward . https://192.0.2.1 {\n doh_method PUT\n }",
            "CF0211",
            "doh_method must be either POST or GET",
        ),
        (
            "forward . https://192.0.2.1 {\n doh_method\n }",
            "CF0107",
            "",
        ),
        (
            "forward . tls://192.0.2.1 {\n tls a b c d\n }",
            "CF0107",
            "",
        ),
        (
            "forward . tls://192.0.2.1 {\n tls_servername -bad name\n }",
            "CF0107",
            "",
        ),
        (
            "forward . tls://192.0.2.1 {\n tls_servername a..b\n }",
            "CF0205",
            "",
        ),
        (
            "forward . tls://192.0.2.1%example.net:854 {\n tls_servername foo\n }",
            "CF0211",
            "both forward ('foo') and proxy level ('example.net') TLS servernames are set for upstream proxy 'tls://192.0.2.1:854'",
        ),
        (
            "forward . 192.0.2.1 {\n policy random2\n }",
            "CF0211",
            "unknown policy 'random2'",
        ),
        ("forward . 192.0.2.1 {\n health_check\n }", "CF0107", ""),
        (
            "forward . 192.0.2.1 {\n health_check no_rec\n }",
            "CF0202",
            "",
        ),
        (
            "forward . 192.0.2.1 {\n health_check 0.5s rec\n }",
            "CF0102",
            "health_check: unknown option rec",
        ),
        (
            "forward . 192.0.2.1 {\n health_check 0.5s domain\n }",
            "CF0107",
            "",
        ),
        (
            "forward . 192.0.2.1 {\n health_check -1s\n }",
            "CF0202",
            "negative",
        ),
        ("forward . 192.0.2.1 {\n next\n }", "CF0107", ""),
        ("forward . 192.0.2.1 {\n next NXDOMAINS\n }", "CF0207", ""),
        (
            "forward . 192.0.2.1 {\n next_on_nodata yes\n }",
            "CF0107",
            "",
        ),
        (
            "forward . 192.0.2.1 {\n failfast_all_unhealthy_upstreams yes\n }",
            "CF0107",
            "",
        ),
        ("forward . 192.0.2.1 {\n failover\n }", "CF0107", ""),
        (
            "forward . 192.0.2.1 {\n failover NOERROR\n }",
            "CF0211",
            "NoError cannot be used in failover",
        ),
        (
            "forward . 192.0.2.1 {\n source_address not-an-ip\n }",
            "CF0204",
            "",
        ),
        (
            "forward . 192.0.2.1 {\n resolver ns.example.org\n }",
            "CF0208",
            "",
        ),
        ("forward . 192.0.2.1 {\n 0x20 on\n }", "CF0107", ""),
    ];
    for (body, code, part) in cases {
        let (found, message) = verdict(body).expect_err(body);
        assert_eq!(found, code, "{body}: {message}");
        assert!(message.contains(part), "{body}: {message}");
    }
}

#[test]
fn a_prefix_of_several_zones_is_a_warning() {
    let (_, report) = plan(". {\n forward 192.0.2.0/25 192.0.2.1\n}");
    assert!(!report.has_errors());
    assert!(
        report
            .iter()
            .any(|d| d.message.starts_with("Unsupported CIDR notation"))
    );
}

#[test]
fn targets() {
    // (word, scheme, address, what stands behind `%`)
    let cases = [
        ("192.0.2.1", Scheme::Dns, "192.0.2.1:53", None),
        ("dns://192.0.2.1:5353", Scheme::Dns, "192.0.2.1:5353", None),
        ("2001:db8::1", Scheme::Dns, "[2001:db8::1]:53", None),
        ("[2001:db8::1]", Scheme::Dns, "[2001:db8::1]:53", None),
        (
            "[fe80::1%eth0]:5353",
            Scheme::Dns,
            "[fe80::1]:5353",
            Some("eth0"),
        ),
        ("tls://192.0.2.1", Scheme::Tls, "192.0.2.1:853", None),
        (
            "tls://192.0.2.1%dns.example.org",
            Scheme::Tls,
            "192.0.2.1:853",
            Some("dns.example.org"),
        ),
        (
            "tls://192.0.2.1%dns.example.org:10853",
            Scheme::Tls,
            "192.0.2.1:10853",
            Some("dns.example.org"),
        ),
        (
            "tls://[2001:db8::1%dns.example.org]:853",
            Scheme::Tls,
            "[2001:db8::1]:853",
            Some("dns.example.org"),
        ),
        ("https://192.0.2.1", Scheme::Https, "192.0.2.1:443", None),
        (
            "https://192.0.2.1%dns.example.org:8443/queries",
            Scheme::Https,
            "192.0.2.1:8443",
            Some("dns.example.org"),
        ),
        (
            "https://[2001:db8::1]/q",
            Scheme::Https,
            "[2001:db8::1]:443",
            None,
        ),
        ("quic://192.0.2.1", Scheme::Quic, "192.0.2.1:853", None),
        (
            "quic://[2001:db8::1%dns.example.org]:8853",
            Scheme::Quic,
            "[2001:db8::1]:8853",
            Some("dns.example.org"),
        ),
    ];
    for (word, scheme, address, zone) in cases {
        let (corefile, _) = corefile::parse("Corefile", word.as_bytes().to_vec(), &Memory::new());
        let token = &corefile.blocks[0].keys[0];
        let target = target::parse(token, ("forward", super::super::setup::SCHEMES)).expect(word);
        assert_eq!(target.scheme, scheme, "{word}");
        assert_eq!(
            target.place,
            Place::Address(address.parse().expect("an address")),
            "{word}"
        );
        assert_eq!(target.zone.as_deref(), zone, "{word}");
    }
}

#[test]
fn files_and_hosts_are_looked_up_when_built() {
    let (address, seen) = serve(bound(), |_, query| {
        let end = wire::skip_name(query, 12).expect("a name");
        // A: 127.0.0.9; AAAA: nothing.
        match query[end + 1] {
            1 => {
                let mut out = reply(query, 9);
                let len = out.len();
                out[len - 4..].copy_from_slice(&[127, 0, 0, 9]);
                vec![out]
            }
            _ => vec![bare(query, 0)],
        }
    });
    let upstream = UdpSocket::bind(("127.0.0.9", 0)).expect("a socket");
    let port = upstream.local_addr().expect("an address").port();
    serve(upstream, |_, query| vec![reply(query, 4)]);
    let text = format!(". {{\n forward . ns.example.org:{port} {{\n resolver {address}\n }}\n}}");
    let block = build(&text).expect("a block");
    assert_eq!(on_worker(ask(&block, "example.org.")).mark(), Some(4));
    assert_eq!(seen.count(), 2, "A and AAAA");

    let directory = std::env::temp_dir().join(format!("nameplate-forward-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("resolv.conf");
    std::fs::write(&file, "# comment\nsearch example.org\noptions ndots:5\n").expect("a file");
    let text = format!(". {{\n forward . {}\n}}", file.display());
    assert_eq!(
        build(&text).err().as_deref(),
        Some("no valid upstream addresses found")
    );
    std::fs::write(
        &file,
        "nameserver 127.0.0.1\nnameserver ::1\nnameserver 127.0.0.1\n",
    )
    .expect("a file");
    assert!(build(&text).is_ok());
    let text = format!(". {{\n forward . tls://{}\n}}", file.display());
    assert!(
        build(&text)
            .err()
            .is_some_and(|why| why.contains("without TLS"))
    );
    let text = format!(". {{\n forward . {}/missing.conf\n}}", directory.display());
    assert!(
        build(&text)
            .err()
            .is_some_and(|why| why.starts_with("not an IP address or file"))
    );
    let text = format!(
        ". {{\n forward . tls://127.0.0.1 {{\n tls {}\n }}\n}}",
        file.display()
    );
    assert!(
        build(&text)
            .err()
            .is_some_and(|why| why.contains("could not read root certs"))
    );
    std::fs::remove_dir_all(&directory).expect("a directory");

    let text = format!(
        ". {{\n forward . nowhere.invalid {{\n resolver {}\n }}\n}}",
        closed_port()
    );
    assert!(
        build(&text)
            .err()
            .is_some_and(|why| why.starts_with("failed to resolve \"nowhere.invalid\""))
    );
}

fn closed_port() -> SocketAddr {
    bound().local_addr().expect("an address")
}

#[test]
fn policies_are_read() {
    for (word, policy) in [
        ("random", Selection::Random),
        ("round_robin", Selection::RoundRobin),
        ("sequential", Selection::Sequential),
    ] {
        let (corefile, _) = corefile::parse("Corefile", word.as_bytes().to_vec(), &Memory::new());
        assert_eq!(
            Selection::parse(&corefile.blocks[0].keys[0]).ok(),
            Some(policy)
        );
    }
}

#[test]
fn readme() {
    let text = include_str!("../README.md");
    crate::trial::readme(text);
    for option in super::super::setup::OPTIONS {
        assert!(text.contains(option), "{option} is not in the README");
    }
}
