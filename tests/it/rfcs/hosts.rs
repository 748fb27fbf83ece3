//! What a hosts file answers, where an RFC has a word in it.

use super::{Row, run, start};

#[test]
fn a_hosts_file_answers_as_a_name_server_does() {
    let server = start(
        "hosts",
        &[(
            "lan.hosts",
            "192.0.2.1 nas.lan nas\n2001:db8::1 nas.lan\n192.0.2.2 Printer.lan\n",
        )],
        "lan:{PORT} 2.0.192.in-addr.arpa:{PORT} 8.b.d.0.1.0.0.2.ip6.arpa:{PORT} {\n  bind 127.0.0.1\n  hosts lan.hosts {\n    ttl 120\n  }\n}\n",
    );
    let rows: &[Row] = &[
        (
            "1035, 3.4.1",
            "A",
            "nas.lan A",
            "NOERROR|+aa|-ra|an= 1|an: nas.lan. 120 IN A 192.0.2.1",
        ),
        (
            "3596, 2.2",
            "AAAA",
            "nas.lan AAAA +rd",
            "NOERROR|+aa|+rd|an: AAAA 2001:db8::1",
        ),
        (
            "1035, 3.5",
            "PTR of IPv4",
            "1.2.0.192.in-addr.arpa PTR",
            "NOERROR|+aa|an: PTR nas.lan.",
        ),
        (
            "3596, 2.5",
            "PTR of IPv6",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR",
            "NOERROR|+aa|an: PTR nas.lan.",
        ),
        (
            "4343, 3",
            "case is ignored",
            "PRINTER.Lan A",
            "NOERROR|an: A 192.0.2.2",
        ),
        (
            "2308, 2.2",
            "the other family of a known name is NODATA, never NXDOMAIN",
            "printer.lan AAAA",
            "NOERROR|+aa|an= 0",
        ),
        (
            "2308, 2.2",
            "so is another type",
            "nas.lan MX",
            "NOERROR|+aa|an= 0",
        ),
        (
            "6891, 6.1.1",
            "OPT in kind",
            "nas.lan A edns",
            "NOERROR|opt",
        ),
    ];
    run(server.address(), rows);
}
