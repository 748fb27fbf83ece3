//! `explain` says what the running server does; `query` asks it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use server::Source;
use server::explain::{Record, Request, dry};
use wire::{Class, Flags, Message, NameBuf, Opt, Section, Type};

use crate::server::{Reply, Server, Upstream, answer, empty, nameplate, temporary_directory};

/// Corefiles that are drawn, and queries to each of them.
const COREFILES: usize = 50;
const QUERIES: usize = 20;

/// Numbers by lot, the same in every run (xorshift).
struct Lot(u64);

impl Lot {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A Corefile by lot. Each plugin answers with addresses of its own: `hosts` 192.0.2.x, `file` 198.51.100.x, upstreams 203.0.113.x.
fn corefile(lot: &mut Lot, upstream: &str) -> String {
    let mut out = String::new();
    for zone in [".", "example.org", "sub.example.org", "example.net"] {
        if zone != "." && lot.flip() {
            continue;
        }
        out.push_str(&format!("{zone}:{{PORT}} {{\n  bind 127.0.0.1\n"));
        let mut lines = vec![];
        if lot.flip() {
            lines.push("errors".to_owned());
        }
        if lot.flip() {
            lines.push("cache 30".to_owned());
        }
        if lot.flip() {
            lines.push("loadbalance".to_owned());
        }
        if lot.below(3) > 0 {
            let fall = if lot.below(3) > 0 {
                "fallthrough"
            } else {
                "ttl 60"
            };
            lines.push(format!(
                "hosts {{\n    192.0.2.1 www.example.org both.example.org\n    192.0.2.2 www.sub.example.org\n    192.0.2.3 both.example.org\n    {fall}\n  }}"
            ));
        }
        if zone != "example.net" && lot.below(3) > 0 {
            let fall = if lot.flip() {
                " {\n    fallthrough\n  }"
            } else {
                ""
            };
            lines.push(format!("file zone example.org{fall}"));
        }
        match lot.below(4) {
            0 => lines.push("whoami".to_owned()),
            1 => {}
            2 => lines.push(format!("forward example.org {upstream}")),
            _ => lines.push(format!("forward . {upstream}")),
        }
        // What is written in another order runs in the same.
        for at in (1..lines.len()).rev() {
            lines.swap(at, lot.below(at + 1));
        }
        if lot.below(3) == 0 {
            let moves = [
                "hosts last",
                "forward before hosts",
                "file first",
                "hosts before cache",
            ];
            lines.push(format!("order {{\n    {}\n  }}", lot.pick(&moves)));
        }
        out.push_str(&format!("  {}\n}}\n", lines.join("\n  ")));
    }
    out
}

const ZONE: &str = "@ 60 SOA ns.file. host.file. 1 2 3 4 5\n@ NS ns.file.\nzone A 198.51.100.1\nboth A 198.51.100.2\n\
    *.wild A 198.51.100.3\nalias CNAME up.example.net.\ninner CNAME zone\nsub NS ns.sub\nns.sub A 198.51.100.4\n";

const NAMES: [&str; 14] = [
    "www.example.org.",
    "both.example.org.",
    "zone.example.org.",
    "any.wild.example.org.",
    "alias.example.org.",
    "inner.example.org.",
    "up.example.org.",
    "nothing.example.org.",
    "www.sub.example.org.",
    "up.sub.example.org.",
    "up.example.net.",
    "nothing.example.net.",
    "up.example.com.",
    "example.org.",
];

const TYPES: [&str; 5] = ["A", "A", "AAAA", "SOA", "DS"];

/// The query that `explain` makes of a request.
fn octets(request: &Request) -> Vec<u8> {
    let name: NameBuf = request.name.parse().expect("a name");
    let qtype: Type = request.qtype.parse().expect("a type");
    let mut opt = Opt::new(1_232);
    opt.flags = if request.dnssec_ok { 0x8000 } else { 0 };
    let mut out = Vec::new();
    let question = (name.as_name(), qtype, Class::IN);
    wire::compose((1, Flags(Flags::RD)), question, Some(&opt), &mut out).expect("room");
    out
}

/// RCODE, AA and the answer section, without TTLs and order.
fn essence(message: &Message<'_>) -> (String, bool, Vec<String>) {
    let records = message.section(Section::Answer).filter_map(Result::ok);
    let mut records: Vec<_> = records
        .map(|record| {
            let owner = record.owner().expect("an owner");
            format!("{owner} {} {}", record.rtype, zone::present_rdata(&record))
        })
        .collect();
    records.sort();
    let flags = message.flags();
    (message.rcode().to_string(), flags.has(Flags::AA), records)
}

/// The same of what `explain` says.
fn told(record: &Record) -> (String, bool, Vec<String>) {
    let answer = &record.answer;
    let mut records: Vec<_> = answer
        .answer
        .iter()
        .map(|line| {
            let mut words: Vec<&str> = line.splitn(5, ' ').collect();
            words.drain(1..3);
            words.join(" ")
        })
        .collect();
    records.sort();
    let authoritative = answer.flags.split(' ').any(|flag| flag == "aa");
    (answer.rcode.clone(), authoritative, records)
}

/// Which plugin a reply came from, by its records alone.
fn author(message: &Message<'_>) -> Option<&'static str> {
    let of = |section| message.section(section).filter_map(Result::ok);
    if let Some(first) = of(Section::Answer).next() {
        return Some(match (first.rtype, first.rdata().first()) {
            (Type::A, Some(192)) => "hosts",
            (Type::A, Some(203)) => "forward",
            _ => "file",
        });
    }
    if of(Section::Authority).next().is_some() {
        return Some("file");
    }
    if of(Section::Additional).any(|record| record.rtype == Type::SRV) {
        return Some("whoami");
    }
    match message.rcode().0 {
        // Upstreams and hosts files have no SOA record; only the latter are authoritative.
        0 if message.flags().has(Flags::AA) => Some("hosts"),
        0 | 3 => Some("forward"),
        _ => None,
    }
}

#[test]
fn a_thousand_verdicts_are_what_the_running_server_answers() {
    let upstream = Upstream::start(|asked| {
        let up = asked.octets.get(12..15) == Some(b"\x02up");
        let wants_a = asked.octets.windows(5).any(|five| five == [0, 0, 1, 0, 1]);
        Reply::Octets(match (up, wants_a) {
            (true, true) => answer(asked.octets, 300, &[[203, 0, 113, 1], [203, 0, 113, 2]]),
            (true, false) => empty(asked.octets, 0),
            (false, _) => empty(asked.octets, 3),
        })
    });
    let mut lot = Lot(0x0009_E3E9_79B9_7F4A);
    let mut seen = std::collections::BTreeMap::<Option<String>, usize>::new();
    for number in 0..COREFILES {
        let text = corefile(&mut lot, &upstream.address().to_string());
        let dir = temporary_directory("explain-lot");
        std::fs::write(dir.join("zone"), ZONE).expect("the zone is written");
        let text = text.replace("file zone", &format!("file {}", dir.join("zone").display()));
        let socket = dir.join("admin.sock");
        let server = Server::start_with(&dir, &text, &["-admin", path(&socket)]);
        for _ in 0..QUERIES {
            let request = Request {
                name: lot.pick(&NAMES).to_owned(),
                qtype: lot.pick(&TYPES).to_owned(),
                from: None,
                tcp: lot.below(4) == 0,
                dnssec_ok: lot.below(4) == 0,
                at: None,
            };
            let (file, port, asked) = (dir.join("Corefile"), server.port(), request.clone());
            // A worker is a thread: sockets to upstreams belong to it.
            let dry =
                std::thread::spawn(move || dry(&Source::File(file), plugins::ORDER, port, &asked));
            let dry = dry.join().expect("no panic").expect("a record");
            let query = octets(&request);
            let served = match request.tcp {
                true => server.ask_tcp(&query),
                false => server.ask(&query),
            };
            let served = served.unwrap_or_else(|| panic!("no answer to {request:?}\n{text}"));
            let served = Message::new(&served).expect("a message");
            let live = server::ask_running(Some(&socket), &request).expect("a live record");
            let context = || {
                let drawn = [&dry, &live].map(server::explain::render);
                format!("Corefile {number}\n{text}\n{}\n{}", drawn[0], drawn[1])
            };
            assert_eq!(told(&dry), essence(&served), "dry\n{}", context());
            assert_eq!(told(&live), essence(&served), "live\n{}", context());
            let by = dry.answer.answered_by.as_deref();
            assert_eq!(by, author(&served), "{}", context());
            // The running server may have the answer in its cache by now.
            let by_now = live.answer.answered_by.as_deref();
            assert!(by_now == by || by_now == Some("cache"), "{}", context());
            let verdicts = dry.steps.iter().filter(|step| step.verdict == "answered");
            assert_eq!(verdicts.count(), usize::from(by.is_some()), "{}", context());
            *seen.entry(dry.answer.answered_by).or_default() += 1;
        }
    }
    assert_eq!(seen.values().sum::<usize>(), COREFILES * QUERIES);
    for plugin in ["hosts", "file", "forward", "whoami"] {
        let count = seen.get(&Some(plugin.to_owned())).copied().unwrap_or(0);
        assert!(count > 20, "{plugin} answered {count}: {seen:?}");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// What the binary prints, and how it ends.
fn run(dir: &Path, arguments: &[&str]) -> (String, String, i32) {
    let output = nameplate(dir).args(arguments).output().expect("it runs");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let code = output.status.code().unwrap_or(-1);
    (text(&output.stdout), text(&output.stderr), code)
}

const SHOWN: &str = "\
# The network's names.
example.org {
    errors
    hosts {
        192.0.2.1 www.example.org
        fallthrough
    }
    cache 30
    whoami
}
example.net {
    whoami
}
. {
    whoami
}
";

fn folder(test: &str, corefile: &str) -> PathBuf {
    let dir = temporary_directory(test);
    std::fs::write(dir.join("Corefile"), corefile).expect("written");
    dir
}

#[test]
fn a_dry_run_is_drawn_with_the_lines_of_the_corefile() {
    let dir = folder("explain-dry", SHOWN);
    let (text, errors, code) = run(&dir, &["explain", "WWW.example.org", "--from", "192.0.2.9"]);
    assert_eq!((errors.as_str(), code), ("", 0));
    for line in [
        "WWW.example.org. A from 192.0.2.9 over udp, to dns://:53",
        "-> example.org.  Corefile:2   the longest zone that encloses the name",
        "   .             Corefile:14  encloses the name, but `example.org.` is longer",
        "   example.net.  Corefile:11  does not enclose the name",
        " --> Corefile:2: example.org {",
        "3 | errors    let the response pass",
        "8 | cache 30  passed; miss",
        "4 | hosts     answered",
        "9 | whoami    not asked: `hosts` answered",
        "on the way up: kept (ttl 30)",
        "on the way up: ttl 3600 -> 30",
        "answer: NOERROR by `hosts` in ",
        "  www.example.org. 30 IN A 192.0.2.1",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let (text, _, _) = run(&dir, &["explain", "other.example.org"]);
    assert!(text.contains("passed; no entry for this name"), "{text}");
}

#[test]
fn plugins_with_rules_tell_which_one_was_for_the_query() {
    let dir = folder(
        "explain-rules",
        ".:1053 {\n    acl secret.example {\n        block net 192.0.2.0/24\n    }\n    rewrite name exact a.example b.example\n    \
         template IN A b.example {\n        answer \"{{ .Name }} 60 IN A 192.0.2.1\"\n    }\n    whoami\n}\n",
    );
    for (name, said) in [
        ("x.secret.example", "blocked (rule 1, zone secret.example.)"),
        ("a.example", "no rule is about the name"),
        ("a.example", "applied (rule 1)"),
        ("a.example", "template (zone b.example.)"),
        ("c.example", "no template is for this class, type and name"),
    ] {
        let (text, _, _) = run(&dir, &["explain", name, "--from", "192.0.2.9"]);
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
}

#[test]
fn the_json_has_the_documented_fields() {
    let dir = folder("explain-json", SHOWN);
    let (text, _, code) = run(
        &dir,
        &[
            "explain",
            "www.example.org",
            "--format",
            "json",
            "--do",
            "--tcp",
        ],
    );
    assert_eq!(code, 0);
    let record: Value = serde_json::from_str(&text).expect("JSON");
    let page = include_str!("../../docs/explain.md");
    let mut names = Vec::new();
    fields(&record, &mut names);
    for name in names {
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/explain.md lacks {name}"
        );
    }
    assert_eq!(record["schema"], 1);
    assert_eq!(record["answer"]["answered_by"], "hosts");
    assert_eq!(record["steps"][1]["place"]["line"], 8);
    let verdicts: Vec<_> = record["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["verdict"])
        .collect();
    assert_eq!(verdicts, ["watched", "passed", "answered", "not asked"]);
    assert!(record["query"]["tcp"] == true && record["query"]["dnssec_ok"] == true);
}

/// The names of all fields; those of facts are the plugins' own.
fn fields(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                out.push(name.clone());
                if name != "facts" {
                    fields(value, out);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, out)),
        _ => {}
    }
}

#[test]
fn mistakes_end_with_two_and_a_server_that_is_not_there_with_one() {
    let dir = folder("explain-mistakes", ". {\n    hosst\n}\n");
    let (_, errors, code) = run(&dir, &["explain", "www.example.org"]);
    assert!(code == 2 && errors.contains("hosst"), "{code} {errors}");
    let dir = folder("explain-none", SHOWN);
    for (arguments, expected) in [
        (&["explain", "a..b"][..], "not a domain name"),
        (&["explain", "a.b", "NOSUCH"], "not a record type"),
        (
            &["explain", "a.b", "--at", ":54"],
            "nothing listens at :54: dns://:53",
        ),
    ] {
        let (_, errors, code) = run(&dir, arguments);
        assert!(code == 2 && errors.contains(expected), "{code} {errors}");
    }
    let socket = dir.join("none.sock");
    let (_, errors, code) = run(
        &dir,
        &["explain", "a.b", "--live", "--admin", path(&socket)],
    );
    assert!(code == 1 && errors.contains("none.sock"), "{code} {errors}");
}

#[test]
fn a_live_run_shows_the_cache_of_the_server_that_runs() {
    let upstream =
        Upstream::start(|asked| Reply::Octets(answer(asked.octets, 300, &[[203, 0, 113, 1]])));
    let dir = temporary_directory("explain-live");
    let corefile = format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  cache 30\n  forward . {}\n}}\n",
        upstream.address()
    );
    let socket = dir.join("admin.sock");
    let server = Server::start_with(&dir, &corefile, &["-admin", path(&socket)]);
    let mode = std::fs::metadata(&socket)
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let arguments = [
        "explain",
        "www.example.org",
        "--live",
        "--admin",
        path(&socket),
    ];
    let (text, errors, code) = run(&dir, &arguments);
    assert_eq!((errors.as_str(), code), ("", 0));
    let wanted = format!("upstream (server {}, took ", upstream.address());
    assert!(text.contains("miss") && text.contains(&wanted), "{text}");
    let (text, _, _) = run(&dir, &arguments);
    assert!(
        text.contains("answered; hit (age 0 s, kind answer, ttl "),
        "{text}"
    );
    assert!(text.contains("not asked: `cache` answered"), "{text}");
    assert_eq!(upstream.udp_queries(), 1);
    assert!(server.stop().success());
    assert!(!socket.exists(), "the socket goes with the server");
}

#[test]
fn the_order_is_shown_beside_the_written_one() {
    let dir = folder(
        "explain-order",
        ". {\n    whoami\n    cache\n    bind 127.0.0.1\n    errors\n    order {\n        cache first\n    }\n}\n",
    );
    let (text, errors, code) = run(&dir, &["explain", "order"]);
    assert_eq!((errors.as_str(), code), ("", 0));
    let expected = "\
Corefile:1: .  (order coredns-1.14.7)
  runs  written
     1        2  cache  (line 3)
     2        4  errors  (line 5)
     3        1  whoami  (line 2)
     -        3  bind 127.0.0.1  (line 4)
     -        5  order  (line 6)
  -: it configures the server block, and sees no queries
";
    assert_eq!(text, expected);
}

/// A variable that is set where the server runs is not set where somebody looks at its Corefile.
#[test]
fn the_order_is_shown_where_a_variable_is_not_set() {
    let dir = folder(
        "explain-order-variable",
        ".:{$NOBODY_SETS_THIS_PORT} {\n    forward . {$NOBODY_SETS_THIS}\n    errors\n}\n",
    );
    let (text, errors, code) = run(&dir, &["explain", "order"]);
    assert_eq!(code, 0, "{errors}");
    assert!(errors.contains("warning[CF0501]"), "{errors}");
    assert!(!errors.contains("error["), "{errors}");
    assert!(text.contains("1        2  errors  (line 3)"), "{text}");
    assert!(text.contains("2        1  forward"), "{text}");
}

#[test]
fn query_asks_as_dig_does() {
    let server = Server::start(
        "query",
        ".:{PORT} {\n  bind 127.0.0.1\n  hosts {\n    192.0.2.1 a.example.org\n    192.0.2.2 a.example.org\n  }\n}\n",
    );
    let other = Server::start(
        "query-other",
        ".:{PORT} {\n  bind 127.0.0.1\n  hosts {\n    192.0.2.1 a.example.org\n    192.0.2.3 a.example.org\n  }\n}\n",
    );
    let (port, dir) = (server.port().to_string(), server.dir());
    let ask = |words: &[&str]| {
        run(
            dir,
            &[&["query", "@127.0.0.1", "-p", &port], words].concat(),
        )
    };
    let (text, errors, code) = ask(&["a.example.org", "+short"]);
    assert_eq!(
        (text.as_str(), errors.as_str(), code),
        ("192.0.2.1\n192.0.2.2\n", "", 0)
    );
    assert_eq!(
        ask(&["-x", "192.0.2.2", "+short", "+tcp"]).0,
        "a.example.org.\n"
    );
    let (text, _, code) = ask(&["a.example.org", "+dnssec"]);
    assert_eq!(code, 0);
    for line in [
        ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: ",
        ";; flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 1",
        "; EDNS: version: 0, flags: do; udp: 1232",
        ";a.example.org.\t\tIN\tA",
        "a.example.org.\t3600\tIN\tA\t192.0.2.1",
        "(UDP)",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let (text, _, code) = ask(&["b.example.org", "--json"]);
    let reply: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &reply["rcode"]), (0, &Value::from("SERVFAIL")));
    assert_eq!(reply["edns"]["extended_error"]["code"], 0);

    let (a, b) = (
        format!("@{}", server.address()),
        format!("@{}", other.address()),
    );
    let compare = |b: &str| run(dir, &["query", "a.example.org", "--compare", &a, b]);
    let (text, _, code) = compare(&b);
    assert_eq!(code, 2);
    assert!(
        text.contains("- answer: a.example.org. IN A 192.0.2.2 (TTL 3600)"),
        "{text}"
    );
    assert!(
        text.contains("+ answer: a.example.org. IN A 192.0.2.3 (TTL 3600)"),
        "{text}"
    );
    assert!(!text.contains("192.0.2.1 "), "{text}");
    let (text, _, code) = compare(&a);
    assert!(
        code == 0 && text.contains("the replies say the same"),
        "{text}"
    );
    assert_eq!(run(dir, &["query", "+shrot"]).2, 1);
    let (_, errors, code) = run(
        dir,
        &["query", "@127.0.0.1", "-p", "1", "a.", "+tcp", "+time=1"],
    );
    assert!(
        code == 9 && errors.contains("connection refused"),
        "{code} {errors}"
    );
}
