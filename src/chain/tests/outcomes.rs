//! What becomes of a walk: every plugin that was passed hears of the end, whatever that is.

use std::sync::Arc;

use wire::{Class, Flags, Rcode, Section, Type};

use super::{Diary, Script, query, route, run, scripts, walk};
use crate::{Ending, Failure, Flow, Outcome, Transport, Turn, ask_below, look_up};

#[test]
fn silence_is_told_to_the_plugins_above() {
    let diary = Diary::default();
    for (below, waits) in [(Flow::Silent, false), (Flow::Suspend, true)] {
        let block = scripts([
            Script::new("first", &diary),
            Script::new("second", &diary),
            Script::new("last", &diary)
                .says(below)
                .resolve(|| Ok(Flow::Silent)),
        ]);
        let (_, ending) = walk(query(Transport::Udp), &block);
        assert_eq!(ending, Ending::Silent);
        let mut expected = vec!["first asked", "second asked", "last asked"];
        if waits {
            expected.push("last resolved");
        }
        expected.extend(["second silent", "first silent"]);
        assert_eq!(diary.take(), expected);
    }
    // A look-up below a plugin tells those between the two, and nobody above.
    let block = scripts([
        Script::new("first", &diary),
        Script::new("second", &diary),
        Script::new("last", &diary).says(Flow::Silent),
    ]);
    let (_, ending) = run(ask_below(query(Transport::Udp), block, 0));
    assert_eq!(ending, Ending::Silent);
    assert_eq!(
        diary.take(),
        ["second asked", "last asked", "second silent"]
    );
}

#[test]
fn a_response_may_be_dropped_on_its_way_up() {
    let diary = Diary::default();
    for (below, waits) in [
        (Flow::Answered, false),
        (Flow::Suspend, true),
        (Flow::Next, false),
    ] {
        let block = scripts([
            Script::new("first", &diary),
            Script::new("drops", &diary).response(|_, _| Turn::Silent),
            Script::new("last", &diary)
                .says(below)
                .resolve(|| Ok(Flow::Answered)),
        ]);
        let (_, ending) = walk(query(Transport::Udp), &block);
        assert_eq!(ending, Ending::Silent);
        let heard = diary.take();
        assert_eq!(heard.last().unwrap(), "first silent", "waits: {waits}");
        assert!(!heard.contains(&"first answered".to_owned()), "{heard:?}");
    }
}

#[test]
fn a_plugin_that_asks_again_for_ever_ends_in_servfail_with_every_hook_called() {
    let diary = Diary::default();
    for answers in [Flow::Answered, Flow::Suspend, Flow::Next] {
        let block = scripts([
            Script::new("first", &diary),
            Script::new("again", &diary).response(|_, _| Turn::Again),
            Script::new("last", &diary)
                .says(answers)
                .resolve(|| Ok(Flow::Answered)),
        ]);
        let (mut exchange, ending) = walk(query(Transport::Udp), &block);
        assert_eq!(ending, Ending::Respond);
        assert_eq!(exchange.response().rcode(), Rcode::SERVFAIL, "{answers:?}");
        let heard = diary.take();
        let count = |what: &str| heard.iter().filter(|one| *one == what).count();
        assert_eq!(count("last asked"), 17, "{answers:?}");
        assert_eq!(count("first failed"), 1, "{answers:?}: {heard:?}");
        assert_eq!(heard.last().unwrap(), "first failed");
    }
    // Two of them share the turns.
    let block = scripts([
        Script::new("first", &diary),
        Script::new("upper", &diary).response(|_, _| Turn::Again),
        Script::new("lower", &diary).response(|_, _| Turn::Again),
        Script::new("last", &diary).says(Flow::Answered),
    ]);
    let (mut exchange, _) = walk(query(Transport::Udp), &block);
    assert_eq!(exchange.response().rcode(), Rcode::SERVFAIL);
    let heard = diary.take();
    assert_eq!(heard[heard.len() - 2..], ["upper failed", "first failed"]);
}

#[test]
fn a_response_hook_may_wait() {
    let diary = Diary::default();
    let waits = |name| Script::new(name, &diary).response(|_, _| Turn::Wait);
    let block = scripts([
        Script::new("first", &diary),
        waits("upper").respond(|exchange| {
            let (query, mut response) = exchange.suspended_views().unwrap();
            assert_eq!(response.count(Section::Answer), 1);
            assert_eq!(query.answered_by(), Some("last"));
            response.set_flag(Flags::AD, true);
            Ok(())
        }),
        Script::new("between", &diary),
        waits("lower").respond(|exchange| {
            let (query, mut response) = exchange.suspended_views().unwrap();
            let fixed = (Type::A, Class::IN, 60);
            let octets = [192, 0, 2, 1];
            response
                .push(Section::Answer, query.name(), fixed, &octets)
                .unwrap();
            Ok(())
        }),
        Script::new("last", &diary).says(Flow::Answered),
    ]);
    let (mut exchange, ending) = walk(query(Transport::Udp), &block);
    assert_eq!(ending, Ending::Respond);
    assert!(exchange.response().flags().has(Flags::AD));
    assert_eq!(
        diary.take()[5..],
        [
            "lower answered",
            "lower responded",
            "between answered",
            "upper answered",
            "upper responded",
            "first answered"
        ]
    );
    // A failure takes the place of the response, for those above.
    let block = scripts([
        Script::new("first", &diary),
        waits("signer").respond(|_| Err(Failure::servfail("no key"))),
        Script::new("last", &diary).says(Flow::Answered),
    ]);
    let (mut exchange, _) = walk(query(Transport::Udp), &block);
    assert_eq!(exchange.response().rcode(), Rcode::SERVFAIL);
    assert_eq!(diary.take().last().unwrap(), "first failed");
    // Where the query is given up while the response waits, those above hear of it.
    let mut exchange = query(Transport::Udp);
    assert_eq!(exchange.walk(&block), Outcome::Suspended(1));
    diary.take();
    exchange.abandon(&block, 1, || Failure::servfail("given up"));
    assert_eq!(diary.take(), ["first failed"]);
}

#[test]
fn a_response_hook_may_wait_above_a_query_that_waited() {
    let diary = Diary::default();
    let block = scripts([
        Script::new("first", &diary),
        Script::new("signer", &diary).response(|_, _| Turn::Wait),
        Script::new("last", &diary)
            .says(Flow::Suspend)
            .resolve(|| Ok(Flow::Answered)),
    ]);
    let (_, ending) = walk(query(Transport::Udp), &block);
    assert_eq!(ending, Ending::Respond);
    assert_eq!(
        diary.take()[3..],
        [
            "last resolved",
            "signer answered",
            "signer responded",
            "first answered"
        ]
    );
}

#[test]
fn every_plugin_of_a_long_chain_may_wait() {
    let diary = Diary::default();
    let waiting = (0..60).map(|_| Script::new("waits", &diary).says(Flow::Suspend));
    let last = Script::new("last", &diary).says(Flow::Answered);
    let (mut exchange, _) = walk(query(Transport::Udp), &scripts(waiting.chain([last])));
    assert_eq!(exchange.response().rcode(), Rcode::NOERROR);
    assert_eq!(diary.take().len(), 60 * 3 + 1);
}

#[test]
fn a_plugin_that_waits_twice_fails_and_those_above_hear_of_it() {
    let diary = Diary::default();
    for flow in [Flow::Suspend, Flow::Stream] {
        let block = scripts([
            Script::new("first", &diary),
            Script::new("last", &diary)
                .says(Flow::Suspend)
                .resolve(move || Ok(flow)),
        ]);
        let (mut exchange, _) = walk(query(Transport::Tcp), &block);
        assert_eq!(exchange.response().rcode(), Rcode::SERVFAIL);
        assert_eq!(diary.take().last().unwrap(), "first failed", "{flow:?}");
    }
}

#[test]
fn many_messages_are_refused_where_they_have_no_place() {
    let diary = Diary::default();
    let plugins = || {
        scripts([
            Script::new("first", &diary),
            Script::new("transfers", &diary).says(Flow::Stream),
        ])
    };
    let block = plugins();
    let (mut exchange, ending) = walk(query(Transport::Udp), &block);
    assert_eq!(
        (ending, exchange.response().rcode()),
        (Ending::Respond, Rcode::REFUSED)
    );
    assert_eq!(diary.take().last().unwrap(), "first failed");
    // Nor has a look-up of the server to itself, nor a question from above, any use for them.
    let (mut exchange, _) = run(ask_below(query(Transport::Tcp), plugins(), 0));
    assert_eq!(exchange.response().rcode(), Rcode::REFUSED);
    let (block, target) = (plugins(), plugins());
    let _router = route(&block, &target);
    let mut exchange = query(Transport::Tcp);
    exchange.suspended = Some((Arc::clone(&block), 0));
    let name = exchange.parsed.qname.clone();
    let mut found = run(look_up(&exchange, name.name(), Type::A)).unwrap();
    assert_eq!(found.response().rcode(), Rcode::REFUSED);
}
