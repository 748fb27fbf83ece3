//! Behaviour that CoreDNS 1.14.7's own integration tests ask for, where it rests on the plugins that are here: whole Corefiles, what
//! is answered, what is logged and what is counted.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crate::rfcs::{Row, ask, run};
use crate::server::{
    Reply, Server, Upstream, answer, empty, free_port, nameplate, temporary_directory,
};

const SOA: &str = "$TTL 3600\n@ IN SOA sns.dns.example. noc.dns.example. 2015082541 7200 3600 1209600 3600\n@ IN NS b.ns.example.\n";

/// Serves a Corefile beside files.
fn start(test: &str, files: &[(&str, String)], corefile: &str) -> Server {
    let dir = temporary_directory(test);
    for (name, text) in files {
        std::fs::write(dir.join(name), text).expect("a file is written");
    }
    Server::start_in(&dir, corefile)
}

/// The body of an HTTP page.
fn page(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("HTTP is served");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    text
}

#[test]
fn aliases_that_leave_the_zone_are_chased_on_the_same_server() {
    // nx, sf and nd of elsewhere.test stand for upstreams that say NXDOMAIN, SERVFAIL and NODATA.
    let upstream = Upstream::start(|asked| {
        Reply::Octets(match &asked.octets[13..15] {
            b"nx" => empty(asked.octets, 3),
            b"sf" => empty(asked.octets, 2),
            b"nd" => empty(asked.octets, 0),
            _ => answer(asked.octets, 30, &[[192, 0, 2, 77]]),
        })
    });
    let zone = SOA.to_owned()
        + "www CNAME www.example.net.\nout CNAME ok.elsewhere.test.\nnx CNAME nx.elsewhere.test.\nnx2 CNAME nx\nsf CNAME sf.elsewhere.test.\n\
           sf2 CNAME sf\nnd CNAME nd.elsewhere.test.\nnd2 CNAME nd\nalias CNAME www.foo\ncut NS ns.cut\nns.cut A 192.0.2.9\nbelow CNAME www.cut\ndname DNAME foo.example.com.\n\
           dangling CNAME gone\ntoother CNAME www.other.example.\nback CNAME back.other.example.\norigin CNAME example.org.\n@ A 192.0.2.1\n";
    let foo = SOA.to_owned() + "www A 127.0.0.53\n";
    let com = SOA.to_owned() + "www A 192.0.2.53\n";
    let other = SOA.to_owned() + "www A 192.0.2.54\nback CNAME back.example.org.\n";
    let server = start(
        "upstream",
        &[
            ("org", zone),
            ("foo", foo.clone()),
            ("cut", foo),
            ("com", com),
            ("other", other),
        ],
        &format!(
            ".:{{PORT}} {{\n  bind 127.0.0.1\n  file org example.org {{\n    upstream\n  }}\n  file foo foo.example.org\n  file cut cut.example.org\n  file com foo.example.com\n\
             hosts {{\n    10.0.0.1 www.example.net.\n    fallthrough\n  }}\n  forward . {}\n}}\n\
             other.example:{{PORT}} {{\n  bind 127.0.0.1\n  file other\n}}\n",
            upstream.address()
        ),
    );
    let rows: &[Row] = &[
        (
            "file_upstream_test",
            "by hosts of the same block",
            "www.example.org A do",
            "NOERROR|+aa|an= 2|an: www.example.net. A 10.0.0.1",
        ),
        (
            "file_cname_proxy_test",
            "by forward of the same block",
            "out.example.org A",
            "NOERROR|+aa|an= 2|an: ok.elsewhere.test. A 192.0.2.77",
        ),
        (
            "file_upstream_test",
            "NXDOMAIN is the answer's",
            "nx.example.org A",
            "NXDOMAIN|an= 1|an: CNAME nx.elsewhere.test.",
        ),
        (
            "file_upstream_test",
            "behind two",
            "nx2.example.org A",
            "NXDOMAIN|an= 2|first: nx2.example.org.",
        ),
        (
            "file_upstream_test",
            "SERVFAIL is the answer's",
            "sf.example.org A",
            "SERVFAIL|an= 1",
        ),
        (
            "file_upstream_test",
            "behind two",
            "sf2.example.org A",
            "SERVFAIL|an= 2",
        ),
        (
            "file_upstream_test",
            "NODATA is",
            "nd.example.org A",
            "NOERROR|an= 1",
        ),
        (
            "file_upstream_test",
            "behind two",
            "nd2.example.org A",
            "NOERROR|an= 2",
        ),
        (
            "1034, 4.3.2 (2)",
            "also where the zone above has delegated it",
            "below.example.org A",
            "NOERROR|an= 2|an: www.cut.example.org. A 127.0.0.53",
        ),
        (
            "file_upstream_test",
            "a zone below in the same block",
            "alias.example.org A",
            "NOERROR|an= 2|an: www.foo.example.org. A 127.0.0.53",
        ),
        (
            "file_upstream_test",
            "through a DNAME",
            "www.dname.example.org A",
            "NOERROR|an= 3|an: www.foo.example.com. A 192.0.2.53",
        ),
        (
            "file_upstream_test",
            "a zone of another block of the listener",
            "toother.example.org A",
            "NOERROR|an= 2|an: www.other.example. A 192.0.2.54",
        ),
        (
            "file_loop_test",
            "zones that point at each other",
            "back.example.org A",
            "SERVFAIL",
        ),
        (
            "file_upstream_test",
            "CNAME to the apex: A",
            "origin.example.org A",
            "NOERROR|an= 2|first: CNAME example.org.|an: A 192.0.2.1",
        ),
        (
            "file_upstream_test",
            "CNAME to the apex: SOA",
            "origin.example.org SOA",
            "NOERROR|an= 2|first: CNAME example.org.|an: SOA",
        ),
        (
            "file_upstream_test",
            "CNAME to the apex: NS",
            "origin.example.org NS",
            "NOERROR|an: NS b.ns.example.",
        ),
        (
            "file_dangling_cname_test",
            "a dangling alias has the SOA",
            "dangling.example.org A",
            "NXDOMAIN|an= 1|ns= 1|ns: SOA",
        ),
        (
            "file_cname_proxy_test",
            "a query for the alias is not chased",
            "out.example.org CNAME",
            "NOERROR|an= 1",
        ),
    ];
    run(server.address(), rows);
}

#[test]
fn without_an_upstream_the_alias_alone_is_answered() {
    let zone = SOA.to_owned() + "cname CNAME www.example.net.\n";
    let server = start(
        "no-upstream",
        &[("z", zone)],
        "example.org:{PORT} {\n  bind 127.0.0.1\n  file z\n}\n",
    );
    let reply = ask(server.address(), "cname.example.org A").expect("an answer");
    assert_eq!(
        reply.check("an= 1|an: CNAME www.example.net."),
        Ok(()),
        "{reply:?}"
    );
}

#[test]
fn aliases_that_loop_end_in_servfail() {
    let zone = "example.com. 500 IN SOA ns1.outside.com. root.example.com. 3 604800 86400 2419200 604800\nexample.com. 500 IN NS ns1.outside.com.\n\
        a.example.com. 500 IN CNAME b.example.com.\nalias.example.com. 500 IN DNAME alias.example.com.\nredirect.example.com. 500 IN DNAME target.example.com.\n\
        www.target.example.com. 500 IN A 192.0.2.1\n*.foo.example.com. 500 IN CNAME bar.foo.example.com.\n";
    let server = start(
        "loop",
        &[("z", zone.to_owned())],
        "example.com:{PORT} {\n  bind 127.0.0.1\n  file z\n}\n",
    );
    let rows: &[Row] = &[
        (
            "file_loop_test",
            "a wildcard CNAME to itself",
            "something.foo.example.com A",
            "SERVFAIL",
        ),
        (
            "file_loop_test",
            "a DNAME to itself",
            "www.alias.example.com A",
            "SERVFAIL|an= 0|ns= 0|ar= 0",
        ),
        (
            "file_loop_test",
            "a DNAME that ends",
            "www.redirect.example.com A",
            "NOERROR|an= 3|first: DNAME|an: www.target.example.com. A 192.0.2.1",
        ),
    ];
    run(server.address(), rows);
}

#[test]
fn zones_that_are_loaded_though_they_lack_something() {
    let bare = "$ORIGIN example.org.\n@ 3600 IN SOA sns.dns.example. noc.dns.example. (\n 2017042745 ; serial\n 7200\n 3600\n 1209600\n 3600\n )\n\nwww    IN A    127.0.0.1\nwww    IN AAAA ::1\n";
    let server = start(
        "bare",
        &[("z", bare.to_owned())],
        "example.org:{PORT} {\n  bind 127.0.0.1\n  file z\n}\n",
    );
    let rows: &[Row] = &[
        (
            "file_serve_test",
            "no NS, no $TTL: NODATA",
            "example.org MX do",
            "NOERROR|+aa|an= 0|ns: SOA",
        ),
        (
            "file_serve_test",
            "the last TTL is the next record's",
            "www.example.org A",
            "NOERROR|an: 3600 IN A 127.0.0.1",
        ),
    ];
    run(server.address(), rows);
    let server = start(
        "missing",
        &[],
        "example.org:{PORT} {\n  bind 127.0.0.1\n  file nowhere.zone\n}\n",
    );
    let reply = ask(server.address(), "example.org SOA").expect("an answer");
    assert_eq!(reply.check("SERVFAIL"), Ok(()), "{reply:?}");
}

#[test]
fn blocks_are_chosen_as_their_keys_say() {
    let server = start(
        "keys",
        &[],
        "EXAMPLE.Org.:{PORT} 10.0.0.0/15:{PORT} 192.168.1.0/25:{PORT} 2001:db8::/32:{PORT} {\n  bind 127.0.0.1\n  whoami\n}\nempty.example.org:{PORT} {\n  bind 127.0.0.1\n}\n\
         a,b.example:{PORT} {\n  bind 127.0.0.1\n  whoami\n}\n",
    );
    let rows: &[Row] = &[
        (
            "corefile_test",
            "upper-case keys",
            "www.example.org A",
            "NOERROR|+aa|ar= 2",
        ),
        (
            "server_test",
            "10.0/15: the first half",
            "whoami.0.10.in-addr.arpa A",
            "NOERROR|ar= 2",
        ),
        (
            "server_test",
            "the second half",
            "whoami.1.10.in-addr.arpa A",
            "NOERROR|ar= 2",
        ),
        (
            "server_test",
            "not the next",
            "whoami.2.10.in-addr.arpa A",
            "REFUSED|ar= 0",
        ),
        (
            "server_reverse_test",
            "classless: in range",
            "127.1.168.192.in-addr.arpa A",
            "NOERROR",
        ),
        (
            "server_reverse_test",
            "the first address out of it",
            "128.1.168.192.in-addr.arpa A",
            "REFUSED",
        ),
        (
            "server_reverse_test",
            "its parent is not",
            "1.168.192.in-addr.arpa A",
            "REFUSED",
        ),
        (
            "server_reverse_test",
            "IPv6",
            "1.8.b.d.0.1.0.0.2.ip6.arpa A",
            "NOERROR",
        ),
        (
            "no_plugins_test",
            "a block without plugins refuses",
            "x.empty.example.org A",
            "REFUSED",
        ),
        (
            "register_test",
            "a comma inside a key is a part of it",
            "x.a,b.example A",
            "NOERROR",
        ),
        (
            "server.go",
            "an unknown class is refused",
            "www.example.org TXT class=3",
            "REFUSED",
        ),
    ];
    run(server.address(), rows);
}

#[test]
fn the_query_log_says_what_coredns_says() {
    let upstream = Upstream::start(|asked| Reply::Octets(empty(asked.octets, 3)));
    let server = start(
        "log",
        &[("z", SOA.to_owned() + "www A 192.0.2.1\n")],
        &format!(
            "example.org:{{PORT}} {{\n  bind 127.0.0.1\n  log\n  errors\n  file z\n}}\nformat.example:{{PORT}} {{\n  bind 127.0.0.1\n  log . \"F {{combined}} {{nope}} {{/meta}}\"\n  whoami\n}}\n\
             class.example:{{PORT}} {{\n  bind 127.0.0.1\n  log . \"denied {{name}}\" {{\n    class denial\n  }}\n  forward . {}\n}}\nfails.example:{{PORT}} {{\n  bind 127.0.0.1\n  log\n  errors\n  cache\n}}\n",
            upstream.address()
        ),
    );
    for query in [
        "WWW.example.org A edns",
        "nope.example.org A",
        "x.format.example A do tcp",
        "x.class.example PTR",
        "x.fails.example A +rd",
    ] {
        assert!(ask(server.address(), query).is_some());
    }
    for line in [
        "\"A IN www.example.org. udp 44 false 4096\" NOERROR qr,aa ",
        "\"A IN nope.example.org. udp 34 false 512\" NXDOMAIN qr,aa ",
        "\"A IN x.format.example. tcp 45 true 65535\" NOERROR qr,aa ",
        "s \"0\" {nope} -\n",
        "[INFO] denied x.class.example.\n",
        "\"A IN x.fails.example. udp 33 false 512\" SERVFAIL qr,rd 33 ",
        "[ERROR] plugin/errors: 2 x.fails.example. A: plugin/cache: no next plugin found\n",
    ] {
        server.wait_for_log(line);
    }
    assert!(
        server.log().contains("[INFO] 127.0.0.1:"),
        "{}",
        server.log()
    );
}

#[test]
fn what_nobody_serves_is_counted_as_dropped() {
    let port = free_port();
    let server = start(
        "dropped",
        &[],
        &format!(
            "example.org:{{PORT}} {{\n  bind 127.0.0.1\n  whoami\n  prometheus 127.0.0.1:{port}\n}}\nempty.example:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    for query in [
        "www.example.com A",
        "x.empty.example A",
        "www.example.org TXT class=3",
    ] {
        assert_eq!(
            ask(server.address(), query)
                .expect("an answer")
                .check("REFUSED"),
            Ok(())
        );
    }
    let metrics = page(port, "/metrics");
    let label = format!("dns://127.0.0.1:{}", server.port());
    let wanted = format!(
        "coredns_dns_responses_total{{server=\"{label}\",zone=\"dropped\",view=\"\",rcode=\"REFUSED\",plugin=\"\"}} 3"
    );
    assert!(metrics.contains(&wanted), "{wanted}\n{metrics}");
    assert!(metrics.contains(&format!("coredns_plugin_enabled{{server=\"{label}\",zone=\"example.org.\",view=\"\",name=\"whoami\"}} 1")), "{metrics}");
}

#[test]
fn a_start_that_must_fail_says_coredns_words_and_leaves_with_1() {
    let dir = temporary_directory("fails");
    for (corefile, words) in [
        (".:1053 {\n whoam\n}\n", "Unknown directive 'whoam'"),
        (
            ".:1053 {\n whoami\n}\n.:1053 {\n whoami\n}\n",
            "cannot serve dns://.:1053 - it is already defined",
        ),
        (
            ".:1053 {\n bind 127.0.0.1\n whoami\n}\n.:1053 {\n whoami\n}\n",
            "cannot serve dns://.:1053 - zone overlap listener capacity with dns://.:1053 on 127.0.0.1",
        ),
        (
            ".:1053 {\n whoami\n",
            "Unexpected token 'whoami', expecting '}'",
        ),
        (
            ".:1053 {\n import nofile\n}\n",
            "File to import not found: nofile",
        ),
        (
            ".:1053 {\n cache\n cache\n}\n",
            "plugin/cache: this plugin can only be used once per Server Block",
        ),
        (
            ".:1053 {\n bind 127.0.0.1 {\n  except 127.0.0.1\n }\n whoami\n}\n",
            "except",
        ),
        (".:1053 {\n hosts#\u{fffd}{lc\u{c}{\n'{mport\n", "error"),
    ] {
        std::fs::write(dir.join("c"), corefile).expect("written");
        let out = nameplate(Path::new(&dir))
            .args(["-conf", "c"])
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{corefile}\n{text}");
        assert!(text.contains(words), "{corefile}\n{text}");
    }
}

/// Views, rules and labels on real sockets: who gets which block, what is counted, what is logged, and that a cache keeps nothing for
/// others that a view of another zone has decided.
#[test]
fn blocks_are_chosen_by_view_and_answers_by_rule() {
    let port = free_port();
    let zone = SOA.to_owned() + "alias CNAME www.split.test.\n";
    let server = start(
        "views",
        &[("org", zone)],
        &format!(
            "(all) {{\n  bind 127.0.0.1\n  metadata\n  log . \"{{name}} {{/view/name}} {{rcode}}\"\n  prometheus 127.0.0.1:{port}\n}}\n\
             split.test:{{PORT}} {{\n  import all\n  view v6 {{\n    expr type() == 'AAAA'\n  }}\n  hosts {{\n    2001:db8::6 www.split.test\n  }}\n}}\n\
             split.test:{{PORT}} {{\n  import all\n  view stream {{\n    expr type() == 'A' && proto() == 'tcp'\n  }}\n  hosts {{\n    192.0.2.1 www.split.test\n  }}\n}}\n\
             split.test:{{PORT}} {{\n  import all\n  acl {{\n    drop type TXT\n    filter type MX\n    block type SRV net 127.0.0.0/8\n  }}\n  hosts {{\n    192.0.2.2 www.split.test\n  }}\n}}\n\
             example.org:{{PORT}} {{\n  bind 127.0.0.1\n  cache\n  file org\n}}\n"
        ),
    );
    let rows: &[Row] = &[
        (
            "view_test",
            "by type",
            "www.split.test AAAA",
            "NOERROR|an= 1|an: AAAA 2001:db8::6",
        ),
        (
            "view_test",
            "by transport",
            "www.split.test A tcp",
            "NOERROR|an= 1|an: A 192.0.2.1",
        ),
        (
            "view_test",
            "the rest",
            "www.split.test A",
            "NOERROR|an= 1|an: A 192.0.2.2",
        ),
        ("acl_test", "filtered", "www.split.test MX", "NOERROR|an= 0"),
        ("acl_test", "blocked", "www.split.test SRV", "REFUSED|an= 0"),
        (
            "view_test",
            "through a cache",
            "alias.example.org A tcp",
            "NOERROR|an: A 192.0.2.1",
        ),
        (
            "view_test",
            "not kept",
            "alias.example.org A",
            "NOERROR|an: A 192.0.2.2",
        ),
    ];
    run(server.address(), rows);
    let metrics = page(port, "/metrics");
    let label = format!("dns://127.0.0.1:{}", server.port());
    for wanted in [
        format!(
            "coredns_dns_requests_total{{server=\"{label}\",zone=\"split.test.\",view=\"v6\",proto=\"udp\",family=\"1\",type=\"AAAA\"}} 1"
        ),
        format!(
            "coredns_acl_blocked_requests_total{{server=\"{label}\",zone=\"split.test.\",view=\"\"}} 1"
        ),
        format!(
            "coredns_acl_filtered_requests_total{{server=\"{label}\",zone=\"split.test.\",view=\"\"}} 1"
        ),
        format!(
            "coredns_plugin_enabled{{server=\"{label}\",zone=\"split.test.\",view=\"stream\",name=\"view\"}} 1"
        ),
    ] {
        assert!(metrics.contains(&wanted), "{wanted}\n{metrics}");
    }
    for line in [
        "www.split.test. v6 NOERROR",
        "www.split.test. stream NOERROR",
        "www.split.test. - REFUSED",
    ] {
        server.wait_for_log(line);
    }
}
