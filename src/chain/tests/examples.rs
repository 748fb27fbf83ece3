//! The plugins of docs/plugins.md: what that page shows is what is compiled and tried here.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use chain::setup::{Build, BuildError, Parse, Setup};
use chain::trace::Remark;
use chain::{
    Block, Chain, Exchange, Failure, Flow, Hooks, Instead, MessageSource, Messages, Outcome,
    Plugin, Query, Step, Transport, Turn, Written,
};
use wire::reencode::{Edit, Place};
use wire::{Class, Name, NameBuf, NameError, Qname, Rcode, Response, Section, Type};

use super::{Diary, Script, block, query, walk};

/// `nickname NAME REAL`: who asks for NAME is told the records of REAL.
struct Nickname {
    name: NameBuf,
    real: Qname,
}

impl Plugin for Nickname {
    fn name(&self) -> &'static str {
        "nickname"
    }

    fn hooks(&self) -> Hooks {
        Hooks::BOTH
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        if query.name() == self.name.as_name() {
            let instead = Instead {
                qname: Some(&self.real),
                ..Instead::default()
            };
            query.rewrite(response, instead);
            let real = NameBuf::from_name(self.real.name());
            query.remark(|| Remark::new("nickname").with("real", real));
        }
        Ok(Flow::Next)
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        if query.is_rewritten() && !query.restore(response) {
            let (from, to) = (self.real.name(), self.name);
            let written = query.restore_by(response, &mut Vec::new(), &mut Renamed { from, to });
            if written.is_err() {
                response.set_rcode(Rcode::SERVFAIL);
            }
        }
        Turn::Up
    }
}

/// Writes one name in the place of another.
struct Renamed<'a> {
    from: Name<'a>,
    to: NameBuf,
}

impl Edit for Renamed<'_> {
    fn name(&mut self, _: Place, name: Name<'_>) -> Result<Option<NameBuf>, NameError> {
        Ok((name == self.from).then_some(self.to))
    }
}

/// What the lines of `nickname` say.
struct Options {
    name: NameBuf,
    real: NameBuf,
}

/// Reads the lines of a server block.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    parse.at_most(directive, 2);
    parse.no_block(directive);
    if !parse.at_least(directive, 2, "nickname NAME REAL") {
        return None;
    }
    let name = |at: usize| directive.args.get(at)?.text.parse::<NameBuf>().ok();
    Some(Box::new(Options {
        name: name(0)?.to_lower(),
        real: name(1)?.to_lower(),
    }))
}

impl Setup for Options {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.push(Arc::new(Nickname {
            name: self.name,
            real: Qname::from(self.real.as_name()),
        }));
        Ok(())
    }
}

/// `rack`: tells the rack of a client, which is the third octet of its address.
struct Rack;

impl Plugin for Rack {
    fn name(&self) -> &'static str {
        "rack"
    }

    fn hooks(&self) -> Hooks {
        Hooks::LABELS
    }

    fn label(&self, query: &Query<'_>, label: &str, out: &mut String) -> bool {
        let IpAddr::V4(client) = query.peer().ip().to_canonical() else {
            return false;
        };
        let known = label == "rack/number";
        if known {
            out.push_str(&client.octets()[2].to_string());
        }
        known
    }
}

/// Answers AXFR with one message for each of its texts.
struct Texts(Vec<&'static str>);

impl Plugin for Texts {
    fn name(&self) -> &'static str {
        "texts"
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        Ok(match query.qtype() {
            Type::AXFR => Flow::Stream,
            _ => Flow::Next,
        })
    }

    fn stream(self: Arc<Self>, _: &mut Exchange) -> Box<dyn MessageSource> {
        Box::new(Left {
            texts: self,
            sent: 0,
        })
    }
}

/// The texts that are left.
struct Left {
    texts: Arc<Texts>,
    sent: usize,
}

impl MessageSource for Left {
    fn poll_next(
        &mut self,
        _: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Poll<Result<Written, Failure>> {
        let texts = &self.texts.0;
        if let (Some(text), Some((query, mut response))) =
            (texts.get(self.sent), exchange.suspended_views())
        {
            let rdata = [&[text.len() as u8], text.as_bytes()].concat();
            let fixed = (Type::TXT, Class::IN, 60);
            let _ = response.push(Section::Answer, query.name(), fixed, &rdata);
        }
        self.sent += 1;
        Poll::Ready(Ok(match self.sent < texts.len() {
            true => Written::More,
            false => Written::Last,
        }))
    }
}

#[test]
fn the_page_shows_this_code() {
    let (page, code) = (
        include_str!("../../../docs/plugins.md"),
        include_str!("examples.rs"),
    );
    let mut shown = 0;
    for part in page.split("```rust\n").skip(1) {
        let (example, _) = part.split_once("```").expect("the end of an example");
        // What is left out is a line of its own.
        for piece in example.split("    // …\n") {
            assert!(code.contains(piece.trim_end()), "not here:\n{piece}");
        }
        shown += 1;
    }
    assert!(shown >= 4, "{shown} examples");
}

#[test]
fn a_nickname_is_answered_with_the_addresses_of_the_real_name() {
    let name = |text: &str| text.parse::<NameBuf>().unwrap();
    let nickname = Nickname {
        name: name("www.example.org."),
        real: Qname::from(name("host.example.net.").as_name()),
    };
    let diary = Diary::default();
    let below = Script::new("below", &diary).query(|query, response| {
        assert_eq!(query.name().to_string(), "host.example.net.");
        let fixed = (Type::A, Class::IN, 60);
        response
            .push(Section::Answer, query.name(), fixed, &[192, 0, 2, 1])
            .unwrap();
        Ok(Flow::Answered)
    });
    let block = block(vec![Arc::new(nickname), Arc::new(below)]);
    let (mut exchange, _) = walk(query(Transport::Udp), &block);
    let response = exchange.response();
    let record = response.records().next().unwrap().unwrap();
    let owner = record.owner().unwrap().to_string();
    assert_eq!(
        (owner.as_str(), record.rdata()),
        ("www.example.org.", &[192, 0, 2, 1][..])
    );
}

#[test]
fn the_rack_of_a_client_is_a_label() {
    let steps = vec![Step::new(Arc::new(Rack))];
    let chain = Chain::new(steps).unwrap_or_else(|count| panic!("{count} steps"));
    let plain = block(vec![Arc::new(Rack)]);
    let collects = Arc::new(Block::new(
        plain.info.clone(),
        Arc::new(chain.collecting(vec![NameBuf::root()])),
    ));
    let read = |block: &Arc<Block>, peer: &str, label: &str| {
        let mut exchange = query(Transport::Udp);
        exchange.context.peer = peer.parse().unwrap();
        let (query, _) = exchange.views(block);
        let mut out = String::from("rack ");
        (query.label(label, &mut out), out)
    };
    let nothing = (false, "rack ".to_owned());
    let client = "[::ffff:192.0.2.1]:4711";
    let number = (true, "rack 2".to_owned());
    assert_eq!(read(&collects, client, "rack/number"), number);
    assert_eq!(read(&collects, client, "rack/name"), nothing);
    assert_eq!(read(&plain, client, "rack/number"), nothing);
    let other = "[2001:db8::1]:4711";
    assert_eq!(read(&collects, other, "rack/number"), nothing);
}

#[test]
fn the_lines_of_a_nickname_are_read() {
    for (lines, good) in [
        ("nickname a.example b.example", true),
        ("nickname a.example", false),
        ("nickname a.example b.example c.example", false),
        ("nickname a.example b.example {\n x\n}", false),
    ] {
        let text = format!(". {{\n{lines}\n}}\n");
        let memory = corefile::Memory::new();
        let (corefile, mut report) = corefile::parse("Corefile", text.into(), &memory);
        let directives: Vec<_> = corefile.blocks[0].directives.iter().collect();
        let read = parse(&mut Parse {
            name: "nickname",
            directives: &directives,
            zones: &[".".to_owned()],
            report: &mut report,
        });
        assert_eq!(read.is_some() && !report.has_errors(), good, "{lines}");
    }
}

#[test]
fn texts_are_streamed() {
    let block = block(vec![Arc::new(Texts(vec!["one", "two", "three"]))]);
    let mut exchange = query(Transport::Tcp);
    exchange.parsed.qtype = Type::AXFR;
    assert_eq!(exchange.walk(&block), Outcome::Stream(0));
    let mut messages = Messages::new(exchange, (&block, 0));
    let mut context = Context::from_waker(Waker::noop());
    let mut texts = Vec::new();
    let mut written = Poll::Ready(Written::More);
    while written == Poll::Ready(Written::More) {
        written = messages.poll_next(&mut context);
        let response = messages.exchange().response();
        let record = response.records().next().unwrap().unwrap();
        texts.push(record.rdata()[1..].to_vec());
    }
    assert_eq!(written, Poll::Ready(Written::Last));
    assert_eq!(texts, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
}
