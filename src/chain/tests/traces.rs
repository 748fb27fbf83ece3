//! What a watched walk records: the hooks that an unwatched one calls, in their order, and nothing else.

use std::sync::Arc;

use wire::{Class, Rcode, Section, Type};

use super::{Diary, Script, query, scripts, walk};
use crate::trace::{Came, Change, Hook, Remark, Trace, Visit};
use crate::{Failure, Flow, Instead, Transport, Turn};

/// The visits, one a line.
fn lines(visits: &[Visit]) -> Vec<String> {
    let line = |visit: &Visit| {
        let plugin = visit.block.chain.steps()[visit.step].plugin.name();
        let (hook, came) = (visit.hook.name(), visit.came.name());
        format!("{}{plugin} {hook} {came}", "> ".repeat(visit.depth.into()))
    };
    visits.iter().map(line).collect()
}

#[test]
fn a_watched_walk_records_what_each_plugin_did_and_changed() {
    let diary = Diary::default();
    let rewrite = Script::new("rewrite", &diary)
        .query(|query, response| {
            query.remark(|| Remark::new("rule").with("line", 7));
            let instead = Instead {
                qtype: Some(Type::AAAA),
                ..Instead::default()
            };
            query.rewrite(response, instead);
            Ok(Flow::Next)
        })
        .response(|query, response| {
            assert!(query.restore(response));
            response.set_ttls(5);
            Turn::Up
        });
    let waits = Script::new("waits", &diary).says(Flow::Suspend);
    let answers = Script::new("answers", &diary).query(|query, response| {
        let fixed = (Type::AAAA, Class::IN, 60);
        let _ = response.push(Section::Answer, query.name(), fixed, &[0; 16]);
        Ok(Flow::Answered)
    });
    let block = scripts([rewrite, waits, answers]);
    let trace = Trace::new();
    let mut exchange = query(Transport::Udp);
    exchange.watch(&trace);
    walk(exchange, &block);
    let visits = trace.visits();
    let expected = [
        "rewrite query passed",
        "waits query waits",
        "waits resolve passed",
        "answers query answered",
        "waits response up",
        "rewrite response up",
    ];
    assert_eq!(lines(&visits), expected);
    let watched = diary.take();
    walk(query(Transport::Udp), &block);
    assert_eq!(
        diary.take(),
        watched,
        "the walk is the same when nobody watches"
    );

    let change = |what, from: &str, to: &str| Change {
        what,
        from: from.into(),
        to: to.into(),
    };
    assert_eq!(visits[0].remarks, [Remark::new("rule").with("line", 7)]);
    assert_eq!(visits[0].changes, [change("type", "A", "AAAA")]);
    assert!(visits[4].changes.is_empty());
    let up = [change("type", "AAAA", "A"), change("ttl", "60", "5")];
    assert_eq!(visits[5].changes, up);
}

#[test]
fn failures_silence_and_panics_are_recorded() {
    let diary = Diary::default();
    let above = || Script::new("above", &diary);
    let fails = Script::new("fails", &diary).query(|_, _| Err(Failure::policy(Rcode::REFUSED)));
    let trace = Trace::new();
    let mut exchange = query(Transport::Udp);
    exchange.watch(&trace);
    walk(exchange, &scripts([above(), fails]));
    let expected = [
        "above query passed",
        "fails query failed",
        "above response up",
    ];
    assert_eq!(lines(&trace.visits()), expected);
    assert!(
        matches!(&trace.visits()[1].came, Came::Failed(failure) if failure.rcode == Rcode::REFUSED)
    );

    let silent = Script::new("silent", &diary).says(Flow::Silent);
    let trace = Trace::new();
    let mut exchange = query(Transport::Udp);
    exchange.watch(&trace);
    walk(exchange, &scripts([above(), silent]));
    let visits = trace.visits();
    assert_eq!(
        lines(&visits)[1..],
        ["silent query silent", "above silent up"]
    );
    assert_eq!(visits[2].hook, Hook::Silent);

    let panics = Script::new("panics", &diary).query(|_, _| panic!("on purpose"));
    let trace = Trace::new();
    let mut exchange = query(Transport::Udp);
    exchange.watch(&trace);
    let block = scripts([above(), panics]);
    let walked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| exchange.walk(&block)));
    assert!(walked.is_err());
    assert!(matches!(trace.visits()[1].came, Came::Open));
}

#[test]
fn look_ups_of_the_server_to_itself_are_recorded_deeper() {
    let diary = Diary::default();
    let block = scripts([Script::new("answers", &diary).says(Flow::Answered)]);
    let trace = Trace::new();
    let mut exchange = query(Transport::Udp);
    exchange.watch(&trace);
    let name: wire::NameBuf = "other.example.org.".parse().unwrap();
    let mut inner = exchange.derive(name.as_name(), Type::A);
    inner.walk(&block);
    let mut fork = exchange.fork();
    fork.walk(&block);
    let visits = trace.visits();
    assert_eq!(
        lines(&visits),
        ["> answers query answered", "answers query answered"]
    );
    assert_eq!([visits[0].aside, visits[1].aside], [false, true]);
    assert!(Arc::ptr_eq(&visits[0].block, &block));
}

#[test]
fn a_remark_that_nobody_watches_is_not_made() {
    let diary = Diary::default();
    let remarks = Script::new("remarks", &diary).query(|query, _| {
        query.remark(|| panic!("nobody watches"));
        Ok(Flow::Answered)
    });
    walk(query(Transport::Udp), &scripts([remarks]));
}
