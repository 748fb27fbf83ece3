//! `rewrite` in a server, with an upstream that writes down what it is asked: what goes up, and what comes back to the client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::server::{Reply, Server, Upstream, ask_tcp, ask_udp};

/// A server with these lines above `forward`, and what its upstream was asked.
struct Lab {
    server: Server,
    _upstream: Upstream,
    asked: Arc<Mutex<Vec<Message>>>,
}

impl Lab {
    /// An upstream that answers every question with `records`, their owner QNAME where there are none of its name, and the OPT record
    /// that it was sent, with an NSID of its own where that was asked for.
    fn new(test: &str, lines: &str, records: &[(&str, RData)]) -> Self {
        let mut zone: HashMap<Name, Vec<RData>> = HashMap::new();
        for (owner, data) in records {
            zone.entry(name(owner)).or_default().push(data.clone());
        }
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let upstream = Upstream::start(move |query| {
            let query = Message::from_vec(query.octets).expect("a query");
            let mut reply = Message::response(query.metadata.id, OpCode::Query);
            reply.metadata.recursion_desired = true;
            let question = query.queries[0].clone();
            reply.add_query(question.clone());
            let mut owner = question.name().clone();
            while let Some(data) = zone.get(&owner) {
                let mut next = None;
                for data in data {
                    reply.add_answer(Record::from_rdata(owner.clone(), 60, data.clone()));
                    if let RData::CNAME(target) = data {
                        next = Some(target.0.clone());
                    }
                }
                match next {
                    Some(next) => owner = next,
                    None => break,
                }
            }
            if reply.answers.is_empty() {
                let address = RData::A(A::new(10, 0, 0, 1));
                reply.add_answer(Record::from_rdata(owner, 60, address));
            }
            reply.edns.clone_from(&query.edns);
            if let Some(edns) = &mut reply.edns
                && edns.option(EdnsCode::NSID).is_some()
            {
                let nsid = EdnsOption::Unknown(3, b"upstream".to_vec());
                edns.options_mut().remove(EdnsCode::NSID);
                edns.options_mut().insert(nsid);
            }
            seen.lock().expect("no panic").push(query);
            Reply::Octets(reply.to_vec().expect("a reply"))
        });
        let address = upstream.address();
        let corefile = format!(". {{\n log\n errors\n{lines}\n forward . {address}\n}}\n");
        Self {
            server: Server::start(test, &corefile),
            _upstream: upstream,
            asked,
        }
    }

    /// Asks over UDP.
    fn ask(&self, query: &Message) -> Message {
        let octets = query.to_vec().expect("a query");
        let reply = ask_udp(self.server.address(), &octets, Duration::from_secs(5));
        Message::from_vec(&reply.expect("a response")).expect("a message")
    }

    /// The names and types that the upstream was asked for since the last look.
    fn questions(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().expect("no panic"));
        let question = |message: &Message| message.queries[0].clone();
        let shown = |query: Query| format!("{} {}", query.name(), query.query_type());
        asked.iter().map(question).map(shown).collect()
    }

    /// The options that the upstream was sent last.
    fn options(&self) -> Vec<(u16, Vec<u8>)> {
        let asked = self.asked.lock().expect("no panic");
        asked.last().map(options).unwrap_or_default()
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn query(qname: &str, qtype: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(qname), qtype));
    message
}

/// The same with an OPT record that has these options.
fn with_options(mut query: Message, options: &[(u16, &[u8])]) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    for (code, data) in options {
        edns.options_mut()
            .insert(EdnsOption::Unknown(*code, data.to_vec()));
    }
    query.edns = Some(edns);
    query
}

/// The options of a message's OPT record.
fn options(message: &Message) -> Vec<(u16, Vec<u8>)> {
    let Some(edns) = &message.edns else {
        return Vec::new();
    };
    let options = edns.options().as_ref().iter();
    let plain = options.map(|(code, option)| {
        let data: Vec<u8> = option.try_into().expect("data");
        (u16::from(EdnsCode::from(u16::from(*code))), data)
    });
    plain.collect()
}

/// The answers, in presentation format.
fn answers(message: &Message) -> Vec<String> {
    let answers = message.answers.iter();
    answers
        .map(|record| format!("{} {} {}", record.name, record.ttl, record.data))
        .collect()
}

#[test]
fn an_upstream_is_asked_what_the_rules_say_and_the_client_told_what_it_asked() {
    let lines = " rewrite type MX A\n rewrite continue name exact A.example b.longer.example.net\n rewrite ttl b.longer.example.net 7";
    let lab = Lab::new("rewrites-names", lines, &[]);
    let reply = lab.ask(&query("a.exAmple.", RecordType::A));
    assert_eq!(lab.questions(), ["b.longer.example.net. A"]);
    assert_eq!(reply.queries[0].name().to_string(), "a.exAmple.");
    assert_eq!(answers(&reply), ["a.exAmple. 7 10.0.0.1"]);
    let octets = query("a.example.", RecordType::A)
        .to_vec()
        .expect("a query");
    let reply = ask_tcp(lab.server.address(), &octets, Duration::from_secs(5));
    let reply = Message::from_vec(&reply.expect("a response")).expect("a message");
    assert_eq!(answers(&reply), ["a.example. 7 10.0.0.1"]);
    lab.questions();
    let reply = lab.ask(&query("c.example.", RecordType::MX));
    assert_eq!(lab.questions(), ["c.example. A"]);
    assert_eq!(reply.queries[0].query_type(), RecordType::MX);
    // The log has what the client asked.
    lab.server.wait_for_log("\"MX IN c.example. udp");
    lab.server.wait_for_log("\"A IN a.example. udp");
    assert!(!lab.server.log().contains("longer"));
}

#[test]
fn a_cache_below_knows_one_name_by_both() {
    let lines = " rewrite name a.example b.example\n cache";
    let lab = Lab::new("rewrites-cache", lines, &[]);
    for (qname, expected) in [
        ("b.example.", "b.example. 60 10.0.0.1"),
        ("a.example.", "a.example. 60 10.0.0.1"),
        ("A.example.", "A.example. 60 10.0.0.1"),
    ] {
        let reply = lab.ask(&query(qname, RecordType::A));
        let told = answers(&reply)[0].replace(" 59 ", " 60 ");
        assert_eq!(told, expected);
    }
    assert_eq!(
        lab.questions(),
        ["b.example. A"],
        "the others are from the cache"
    );
}

#[test]
fn options_go_up_and_come_back_unless_they_are_reverted() {
    for (number, rules, sent, up, back) in [
        (
            0,
            "local set 0xffee abc",
            None,
            vec![(65_518, "abc")],
            vec![(65_518, "abc")],
        ),
        (
            1,
            "local set 0xffee abc revert",
            None,
            vec![(65_518, "abc")],
            vec![],
        ),
        (
            2,
            "local set 0xffee abc revert",
            Some("xyz"),
            vec![(65_518, "abc")],
            vec![(65_518, "xyz")],
        ),
        (
            3,
            "local append 0xffee abc",
            Some("xyz"),
            vec![(65_518, "xyz")],
            vec![(65_518, "xyz")],
        ),
        (4, "local replace 0xffee abc", None, vec![], vec![]),
        (5, "local unset 0xffee", Some("xyz"), vec![], vec![]),
        (
            6,
            "local set 0xffee {protocol}",
            None,
            vec![(65_518, "udp")],
            vec![(65_518, "udp")],
        ),
        (
            7,
            "local set 0xffee {client_ip}",
            None,
            vec![(65_518, "\x7f\0\0\x01")],
            vec![(65_518, "\x7f\0\0\x01")],
        ),
        (
            8,
            "subnet set 24 56 revert",
            None,
            vec![(8, "\0\x01\x18\0\x7f\0\0")],
            vec![],
        ),
        (9, "nsid set", None, vec![(3, "")], vec![(3, "upstream")]),
        (10, "local set 0xffee {no/label}", None, vec![], vec![]),
    ] {
        let lines = format!(" rewrite edns0 {rules}");
        let lab = Lab::new(&format!("rewrites-options-{number}"), &lines, &[]);
        let mut asked = query("a.example.", RecordType::A);
        if let Some(data) = sent {
            asked = with_options(asked, &[(65_518, str::as_bytes(data))]);
        }
        let reply = lab.ask(&asked);
        let octets = |list: Vec<(u16, &str)>| -> Vec<_> {
            let pair = |(code, data): (u16, &str)| (code, data.as_bytes().to_vec());
            list.into_iter().map(pair).collect()
        };
        let back_is_empty = back.is_empty();
        assert_eq!(lab.options(), octets(up), "{rules}");
        assert_eq!(options(&reply), octets(back), "{rules}");
        assert_eq!(
            reply.edns.is_some(),
            sent.is_some() || !back_is_empty,
            "{rules}"
        );
    }
}

#[test]
fn an_upstream_says_who_it_is_whether_the_client_asked_or_a_rule() {
    for (number, rule, expected) in [
        (0, "nsid set", &b"upstream"[..]),
        (1, "nsid append", b"upstream"),
        (2, "nsid replace", b"upstream"),
        (3, "nsid set revert", b""),
    ] {
        let lines = format!(" rewrite edns0 {rule}");
        let lab = Lab::new(&format!("rewrites-nsid-{number}"), &lines, &[]);
        let asked = with_options(query("a.example.", RecordType::A), &[(3, b"")]);
        let reply = lab.ask(&asked);
        assert_eq!(lab.options(), [(3, vec![])], "{rule}");
        assert_eq!(options(&reply), [(3, expected.to_vec())], "{rule}");
    }
}

#[test]
fn the_target_of_an_alias_is_looked_up_by_the_server_itself() {
    let alias = |target: &str| RData::CNAME(CNAME(name(target)));
    let address = |last| RData::A(A::new(192, 0, 2, last));
    let records = [
        ("www.example.", alias("mid.example.")),
        ("mid.example.", alias("www.cdn.example.net.")),
        ("www.cdn.example.net.", address(1)),
        ("www.other.example.com.", address(2)),
        ("loop.example.", alias("x.loop.")),
        ("x.loop.", alias("y.loop.")),
    ];
    let lines = " rewrite continue cname regex (.*)\\.cdn\\.example\\.net\\. {1}.other.example.com.\n rewrite continue cname suffix .loop. .loop.";
    let lab = Lab::new("rewrites-aliases", lines, &records);
    let reply = lab.ask(&query("www.example.", RecordType::A));
    assert_eq!(
        answers(&reply),
        [
            "www.example. 60 mid.example.",
            "mid.example. 60 www.other.example.com.",
            "www.other.example.com. 60 192.0.2.2",
        ]
    );
    assert_eq!(
        lab.questions(),
        ["www.example. A", "www.other.example.com. A"]
    );
    // A rule that leads to what it is for ends at the depth of look-ups, and with a response.
    let reply = lab.ask(&query("loop.example.", RecordType::A));
    assert!(!reply.answers.is_empty());
    assert!(lab.questions().len() < 20);
}

#[test]
fn zones_and_hosts_answer_under_another_name() {
    let lines = " rewrite continue name suffix .lan .example.net answer auto\n rewrite name host.example.net real.example.net\n hosts {\n  192.0.2.7 real.example.net www.example.net\n  fallthrough\n }";
    let lab = Lab::new("rewrites-hosts", lines, &[]);
    for (qname, expected) in [
        ("www.lan.", "www.lan. 3600 192.0.2.7"),
        ("host.lan.", "host.lan. 3600 192.0.2.7"),
        ("host.example.net.", "host.example.net. 3600 192.0.2.7"),
        ("other.lan.", "other.lan. 60 10.0.0.1"),
    ] {
        assert_eq!(answers(&lab.ask(&query(qname, RecordType::A))), [expected]);
    }
    assert_eq!(lab.questions(), ["other.example.net. A"]);
}
