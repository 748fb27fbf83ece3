//! Options one by one, and input that means harm.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::model::Name;
use super::reading::{Files, is_like};
use super::report::Report;
use super::{From, Import, render};

/// A directory that is removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nameplate-import-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// All files of the result in one text, and the report.
fn imported(from: From, path: &Path) -> (String, Report) {
    let wanted = Import {
        from,
        path: path.to_owned(),
        out: PathBuf::new(),
        json: false,
    };
    let mut report = Report::default();
    match super::read(&wanted, &mut Files::default(), &mut report) {
        Ok(model) => {
            let texts = render::render(&model).into_iter();
            let texts = texts.map(|output| format!("== {}\n{}", output.path, output.text));
            (texts.collect(), report)
        }
        Err(error) => (format!("unreadable: {error}"), report),
    }
}

fn lines(from: From, text: &str) -> (String, Report) {
    let folder = Folder::new();
    let path = folder.write("conf", text);
    imported(from, &path)
}

/// Options and what they become: a line with a part of the result, or with `left: ` and a part of what is said.
fn table(from: From, rows: &[(&str, &str)]) {
    for (text, wanted) in rows {
        let (result, report) = lines(from, text);
        let said: Vec<String> = report
            .left
            .iter()
            .map(|entry| {
                let instead = entry.instead.as_deref().unwrap_or_default();
                format!("{}: {} {instead}", entry.text, entry.why)
            })
            .collect();
        match wanted.strip_prefix("left: ") {
            Some(wanted) => assert!(said.join("\n").contains(wanted), "{text}: {said:?}"),
            None => {
                assert!(result.contains(wanted), "{text}, {wanted}:\n{result}");
            }
        }
    }
}

const QUIET: &str = "no-resolv\nno-hosts\n";

#[test]
fn options_of_dnsmasq() {
    let rows: Vec<(String, &str)> = [
        ("server=192.0.2.1", "forward . 192.0.2.1\n"),
        (
            "server=192.0.2.1#5353\nserver=2001:db8::1",
            "forward . 192.0.2.1:5353 2001:db8::1\n",
        ),
        (
            "server=/a.example/b.example/192.0.2.1",
            "a.example,\nb.example {",
        ),
        ("server=192.0.2.1@lan0", "left: `source_address`"),
        ("server=nonsense", "left: not the address of an upstream"),
        (
            "rev-server=192.168.0.0/16,192.0.2.1",
            "168.192.in-addr.arpa {",
        ),
        ("rev-server=10.0.0.0/7,192.0.2.1", "11.in-addr.arpa {"),
        (
            "address=/x.example/192.0.2.1",
            "template IN A {\n        answer \"{{ .Name }} 60 IN A 192.0.2.1\"",
        ),
        ("address=/x.example/", "rcode NXDOMAIN"),
        ("address=/x.example/#", "IN AAAA ::\""),
        ("address=/*.x.example/192.0.2.1", r"match \.x\.example\.$"),
        (
            "address=/#/192.0.2.1",
            ". {\n    import common\n    template IN A {",
        ),
        ("address=/x.example/nonsense", "left: not an address"),
        ("address=192.0.2.1", "left: an address without a domain"),
        (
            "local=/lan/",
            "lan {\n    import common\n    file zones/empty.zone",
        ),
        ("host-record=a.lan,192.0.2.1", "192.0.2.1 a.lan\n"),
        ("host-record=a.lan", "left: no address"),
        (
            "cname=a.example,b.example",
            "a.example. 60 IN CNAME b.example.",
        ),
        ("cname=*.a.example,b.example", r"match \.a\.example\.$"),
        (
            "local=/lan/\ncname=a.lan,b.lan,7",
            "a.lan. 7 IN CNAME b.lan.",
        ),
        (
            "txt-record=a.example,{{ .Name }}",
            r"\123\123 .Name \125\125",
        ),
        ("txt-record=a.example,\"a\\\\\"", r"\092"),
        ("srv-host=_a._tcp", "left: no domain"),
        ("mx-host=a.example", "left: no target"),
        ("dns-rr=a.example,x,00", "left: not the number"),
        ("dns-rr=a.example,51,0", "left: no record"),
        ("listen-address=192.0.2.1,::1", "bind 192.0.2.1 ::1\n"),
        (
            "interface=lan0\nexcept-interface=lan1",
            "bind lan0 lo {\n        except lan1\n",
        ),
        ("interface=eth*", "left: no patterns"),
        ("port=5353\nserver=192.0.2.1", ".:5353 {"),
        ("port=0", "left: port 0 turns DNS off"),
        ("cache-size=500\nserver=192.0.2.1", "success 500\n"),
        ("cache-size=x", "left: not a number"),
        ("local-ttl=7\nhost-record=a.lan,192.0.2.1", "ttl 7\n"),
        ("strict-order\nserver=192.0.2.1", "policy sequential"),
        ("log-queries", "    log\n"),
        ("bogus-priv", "168.192.in-addr.arpa"),
        ("domain-needed\nserver=192.0.2.1", "view single-labels"),
        ("domain=lan,192.168.0.0/24", "left: some networks only"),
        (
            "dhcp-range=192.0.2.1,192.0.2.9",
            "left: keep dnsmasq for it",
        ),
        ("ipset=/a.example/set", "left: no equivalent of `ipset`"),
        ("frobnicate", "left: `frobnicate` is not an option"),
        ("conf-file=none", "left: cannot be read"),
        ("addn-hosts=/none/at/all", "left: cannot be read"),
    ]
    .map(|(text, wanted)| (format!("{QUIET}{text}\n"), wanted))
    .into();
    let rows: Vec<(&str, &str)> = rows
        .iter()
        .map(|(text, wanted)| (&**text, *wanted))
        .collect();
    table(From::Dnsmasq, &rows);
}

#[test]
fn options_of_unbound() {
    table(
        From::Unbound,
        &[
            (
                "forward-zone:\n name: .\n forward-addr: 192.0.2.1@5353",
                "forward . 192.0.2.1:5353\n",
            ),
            (
                "forward-zone:\n name: .\n forward-tls-upstream: yes\n forward-addr: 192.0.2.1@853#dns.example",
                "forward . tls://192.0.2.1%dns.example:853\n",
            ),
            (
                "forward-zone:\n name: x.example\n forward-addr: fd00:1::53",
                "forward . fd00:1::53\n",
            ),
            (
                "forward-zone:\n name: .\n forward-first: yes\n forward-addr: 192.0.2.1",
                "left: nothing is resolved from the root",
            ),
            ("server: port: 5353", "10.in-addr.arpa:5353"),
            ("server:\n interface: 192.0.2.1@5353", "bind 192.0.2.1\n"),
            ("server:\n interface: 192.0.2.1@853", "left: port 853"),
            (
                "server:\n access-control: 192.0.2.0/24 allow",
                "allow net 192.0.2.0/24\n",
            ),
            (
                "server:\n access-control: 192.0.2.0/24 deny",
                "drop net 192.0.2.0/24\n",
            ),
            (
                "server:\n access-control: 192.0.2.0/24 deny_non_local",
                "left: `deny_non_local`",
            ),
            (
                "server:\n local-zone: x.example static",
                "file zones/empty.zone",
            ),
            (
                "server:\n local-zone: x.example ipset",
                "left: the type `ipset`",
            ),
            (
                "server:\n local-zone: x.example deny",
                "acl {\n        drop\n    }",
            ),
            (
                "server:\n local-data: 'x.example A 192.0.2.1'",
                "192.0.2.1 x.example\n",
            ),
            (
                "server:\n local-data: 'x.example A nonsense'",
                "left: no record",
            ),
            (
                "server:\n local-data: 'x.example 7 IN A 192.0.2.1'",
                "x.example. 7 IN A 192.0.2.1",
            ),
            (
                "server:\n local-data-ptr: '8.8.8.8 x.example'",
                "8.8.8.8.in-addr.arpa. 3600 IN PTR x.example.",
            ),
            (
                "server:\n private-address: 10.0.0.0/8",
                "left: `private-address`",
            ),
            (
                "server:\n msg-cache-size: 8m\nforward-zone:\n name: .\n forward-addr: 192.0.2.1",
                "success 8192",
            ),
            (
                "server:\n frobnicate: yes",
                "left: `frobnicate` is not an option",
            ),
            ("frobnicate:\n", "left: `frobnicate` is not a clause"),
            ("server:\n include: none", "left: cannot be read"),
            ("rpz:\n name: x.example", "left: `rpz`"),
        ],
    );
}

#[test]
fn options_of_bind() {
    table(
        From::Bind,
        &[
            (
                "options { forwarders { 192.0.2.1; 192.0.2.2 port 5353; }; };",
                "forward . 192.0.2.1 192.0.2.2:5353\n",
            ),
            (
                "options { recursion no; listen-on port 5353 { 192.0.2.1; }; }; zone x { type forward; };",
                "bind 192.0.2.1\n",
            ),
            ("options { recursion no; };", "(common)"),
            (
                "options { recursion yes; };",
                "left: resolves from the root",
            ),
            (
                "options { allow-query { 192.0.2.0/24; !10/8; }; };",
                "allow net 192.0.2.0/24\n    ",
            ),
            (
                "options { allow-query { localnets; }; };",
                "left: `localnets`",
            ),
            (
                "options { frobnicate 1; };",
                "left: `frobnicate` is not an option",
            ),
            (
                "zone \"x.example\" { type secondary; primaries { 192.0.2.1; }; };",
                "secondary {\n        transfer from 192.0.2.1\n    }",
            ),
            (
                "zone \"x.example\" { type secondary; primaries { p; }; }; primaries p { 192.0.2.1 port 5353; 192.0.2.2; };",
                "transfer from 192.0.2.1:5353 192.0.2.2\n",
            ),
            (
                "key k { algorithm hmac-sha256; secret \"aGVsbG8=\"; }; zone \"x.example\" { type slave; masters { 192.0.2.1 key k; }; };",
                "    tsig {\n        secrets tsig.keys\n    }\n",
            ),
            (
                "key k { algorithm hmac-sha256; secret \"aGVsbG8=\"; }; server 192.0.2.1 { keys k; }; zone \"x.example\" { type slave; masters { 192.0.2.1; }; };",
                "transfer from 192.0.2.1 key k.\n",
            ),
            (
                "key k { algorithm hmac-sha512; secret \"aGVsbG8=\"; }; zone \"x.example\" { type slave; masters { 192.0.2.1 key \"k\"; }; };",
                "== tsig.keys\nkey \"k.\" {\n    algorithm hmac-sha512;\n    secret \"aGVsbG8=\";\n};\n",
            ),
            (
                "key k { algorithm hmac-md5; secret \"aGVsbG8=\"; };",
                "left: keys of `hmac-md5` are not supported",
            ),
            (
                "zone \"x.example\" { type secondary; primaries { 192.0.2.1 key none; }; };",
                "left: the key `none` does not exist",
            ),
            (
                "zone \"x.example\" { type secondary; primaries { 192.0.2.1; }; allow-transfer { 192.0.2.7; 198.51.100.0/24; }; };",
                "    transfer {\n        to 192.0.2.7\n        to 198.51.100.0/24\n    }\n",
            ),
            (
                "options { notify no; }; zone \"x.example\" { type secondary; primaries { 192.0.2.1; }; allow-transfer { 192.0.2.7; }; };",
                "to 192.0.2.7/32\n",
            ),
            (
                "options { allow-transfer { none; }; }; zone \"x.example\" { type secondary; primaries { 192.0.2.1; }; allow-transfer { any; }; };",
                "to *\n",
            ),
            (
                "zone \"x.example\" { type secondary; primaries { 192.0.2.1; }; also-notify { 192.0.2.8 port 5353; }; };",
                "to 192.0.2.8:5353\n",
            ),
            (
                "acl us { 192.0.2.0/24; }; zone \"x.example\" { type secondary; primaries { 192.0.2.1; }; allow-transfer { us; }; also-notify { 192.0.2.8; }; };",
                "        to 192.0.2.8\n        to 192.0.2.0/24\n",
            ),
            (
                "zone \"x.example\" { type secondary; primaries { 192.0.2.1; }; allow-transfer { none; }; also-notify { 192.0.2.8; }; };",
                "left: 192.0.2.8 is notified of changes but may not transfer the zone",
            ),
            (
                "key k { algorithm hmac-sha256; secret \"aGVsbG8=\"; }; zone \"x.example\" { type secondary; primaries { 192.0.2.1; }; allow-transfer { key k; }; also-notify { 192.0.2.8; }; };",
                "        to 192.0.2.8 key k.\n        to * key k.\n",
            ),
            (
                "zone \"x.example\" { type secondary; primaries { 192.0.2.1; }; allow-transfer { !192.0.2.9; any; }; };",
                "left: `!` in a list",
            ),
            (
                "zone \"x.example\" { type secondary; primaries { 192.0.2.1; }; allow-update { 192.0.2.9; }; };",
                "left: write `dynupdate`",
            ),
            (
                "zone \"x.example\" { type primary; file \"none\"; };",
                "left: cannot be read",
            ),
            (
                "zone \"x.example\" { type forward; forwarders { 192.0.2.1; }; };",
                "x.example {",
            ),
            (
                "view a { match-clients { key k; }; };",
                "left: its clients cannot be determined",
            ),
            ("options { a { b", "left: the block has no end"),
            ("}", "left: no block ends here"),
            ("options { version none }", "left: no `;`"),
        ],
    );
}

#[test]
fn names_are_those_that_mean_the_same_everywhere() {
    for good in ["a", "A.b.", "_x._tcp.a", "*.a", "."] {
        assert!(Name::parse(good).is_some(), "{good}");
    }
    let long = "a.".repeat(128);
    for bad in [
        "",
        "a..b",
        "..",
        "a b",
        "a{b",
        "a.*",
        "b\u{fc}cher",
        "0/25.a",
        &long,
    ] {
        assert!(Name::parse(bad).is_none(), "{bad}");
    }
    let reverse = |text: &str, length| {
        let zones = Name::reverse_zones(text.parse().expect("an address"), length);
        let zones: Vec<String> = zones.iter().map(ToString::to_string).collect();
        zones.join(" ")
    };
    assert_eq!(
        reverse("192.0.2.0", 23),
        "2.0.192.in-addr.arpa 3.0.192.in-addr.arpa"
    );
    assert_eq!(reverse("10.0.0.0", 8), "10.in-addr.arpa");
    assert_eq!(reverse("2001:db8::", 32), "8.b.d.0.1.0.0.2.ip6.arpa");
    assert_eq!(reverse("10.0.0.0", 0), "");
}

#[test]
fn includes_end() {
    let folder = Folder::new();
    let path = |name: &str| folder.0.join(name).display().to_string();
    // A circle of two, and a file that includes ever more of itself by a pattern.
    folder.write("one", format!("conf-file={}\n", path("two")));
    folder.write("two", format!("conf-file={}\n", path("one")));
    let (_, report) = imported(From::Dnsmasq, Path::new(&path("one")));
    assert!(
        report
            .left
            .iter()
            .any(|entry| entry.why.contains("includes itself"))
    );
    folder.write("a.conf", format!("include: {}\n", path("*.conf")));
    let (_, report) = imported(From::Unbound, Path::new(&path("a.conf")));
    assert!(
        report
            .left
            .iter()
            .any(|entry| entry.why.contains("includes itself"))
    );
    // Each file twice names the next: without a bound that is 2^40 files.
    for index in 0..40 {
        let next = path(&format!("n{}", index + 1));
        folder.write(
            &format!("n{index}"),
            format!("include \"{next}\";\ninclude \"{next}\";\n"),
        );
    }
    let (_, report) = imported(From::Bind, Path::new(&path("n0")));
    assert!(
        report
            .left
            .iter()
            .any(|entry| entry.why.contains("deep") || entry.why.contains("files"))
    );
    // Devices and pipes are no files.
    let (result, _) = imported(From::Dnsmasq, Path::new("/dev/zero"));
    assert!(result.starts_with("unreadable"), "{result}");
}

#[test]
fn huge_lines_and_octets_that_are_no_text_are_reported() {
    let folder = Folder::new();
    let mut text = format!("{QUIET}address=/").into_bytes();
    text.extend(std::iter::repeat_n(b'a', 1 << 20));
    text.extend_from_slice(b"\ntxt-record=a.example,\xff\xfe\nport=5\x003\n");
    let path = folder.write("conf", text);
    let (_, report) = imported(From::Dnsmasq, &path);
    let why: Vec<_> = report
        .left
        .iter()
        .map(|entry| (entry.line, &*entry.why))
        .collect();
    assert_eq!(
        why,
        [
            (Some(3), "longer than 65536 bytes"),
            (Some(4), "not text"),
            (Some(5), "not text")
        ]
    );
    assert!(report.left.iter().all(|entry| entry.text.len() < 1_000));
    let deep = "a {\n".repeat(100_000);
    let (_, report) = lines(From::Bind, &deep);
    assert!(!report.left.is_empty());
}

#[test]
fn patterns() {
    for (text, pattern, wanted) in [
        ("a.conf", "*.conf", true),
        ("a.conf", "?.conf", true),
        ("ab.conf", "?.conf", false),
        ("aXbXc", "a*b*c", true),
        ("", "*", true),
        ("a", "", false),
    ] {
        assert_eq!(
            is_like(text.as_bytes(), pattern.as_bytes()),
            wanted,
            "{text} {pattern}"
        );
    }
}

/// Texts that are nearly configurations.
fn texts() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "server:",
        "local-zone:",
        "local-data:",
        "\"",
        "'",
        "{",
        "}",
        ";",
        "=",
        "/",
        "#",
        "*.",
        "a.example",
        "192.0.2.1",
        "2001:db8::/32",
        "10.0.0.0/0",
        "address=/",
        "server=/",
        "rev-server=",
        "cname=",
        "host-record=",
        "txt-record=",
        "srv-host=",
        "zone",
        "view",
        "acl",
        "options",
        "type",
        "primary",
        "file",
        "forwarders",
        "!",
        "match-clients",
        "any",
        "static",
        "redirect",
        "A",
        "TXT",
        "forward-zone:",
        "name:",
        ".",
        "\n",
        " ",
        ",",
        "\\",
        "[dns]",
        "hosts",
        "[",
        "]",
        "dns-rr=",
        "\u{fc}",
        "0",
        "99999999999",
        "/*",
        "//",
        "%",
        "@",
        "local-data-ptr:",
        "access-control:",
        "allow",
        "addn-hosts=",
        "-1",
        "::",
        "naptr-record=",
        "caa-record=",
    ]);
    prop::collection::vec(words, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_it_panic(text in texts(), spaced in any::<bool>()) {
        let text = if spaced { text.replace(':', ": ").replace(';', " ; ") } else { text };
        for from in [From::Dnsmasq, From::Unbound, From::Bind, From::Pihole, From::HostsDir] {
            lines(from, &format!("{QUIET}{text}\n"));
            lines(from, &text);
        }
    }

    #[test]
    fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        let folder = Folder::new();
        let path = folder.write("conf", &octets);
        for from in [From::Dnsmasq, From::Unbound, From::Bind, From::Pihole, From::HostsDir] {
            imported(from, &path);
        }
    }
}
