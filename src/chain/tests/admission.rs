//! Which queries meet which plugins: opcode and class are decided before a plugin is asked.

use std::sync::Arc;

use wire::{Class, Opcode, Rcode, Type};

use super::{Diary, Script, query, query_of, route, run, scripts, walk};
use crate::{
    Admits, Block, Classes, Ending, Flow, Instead, Opcodes, Transport, ask_below, look_up,
};

const CHAOS: Admits = Admits {
    classes: Classes::Chaos,
    ..Admits::QUERIES
};
const NOTIFIED: Admits = Admits {
    opcodes: Opcodes::Notify,
    ..Admits::QUERIES
};

/// A watcher above plugins that take this.
fn chain(diary: &Diary, takes: &[(&'static str, Admits)]) -> Arc<Block> {
    let watcher = Script::new("watcher", diary).admits(Admits::WATCHED);
    let others = takes.iter().map(|&(name, admits)| {
        Script::new(name, diary)
            .admits(admits)
            .says(if name == "passes" {
                Flow::Next
            } else {
                Flow::Answered
            })
    });
    scripts([watcher].into_iter().chain(others))
}

#[test]
fn a_chain_refuses_what_none_of_its_plugins_takes() {
    let diary = Diary::default();
    let hosts = [("hosts", Admits::QUERIES)];
    let forward = [("hosts", Admits::QUERIES), ("forward", Admits::FORWARDED)];
    let chaos = [("chaos", CHAOS), ("hosts", Admits::QUERIES)];
    let secondary = [("hosts", Admits::QUERIES), ("secondary", NOTIFIED)];
    for (plugins, opcode, class, refused) in [
        (&hosts[..], Opcode::QUERY, Class::IN, None),
        (&hosts, Opcode::QUERY, Class::CH, Some(Rcode::REFUSED)),
        (&hosts, Opcode::NOTIFY, Class::IN, Some(Rcode::REFUSED)),
        (&hosts, Opcode::NOTIFY, Class::CH, Some(Rcode::REFUSED)),
        (&forward, Opcode::QUERY, Class::CH, None),
        (&forward, Opcode::QUERY, Class::HS, None),
        (&forward, Opcode::NOTIFY, Class::IN, Some(Rcode::NOTIMP)),
        (&chaos, Opcode::QUERY, Class::CH, None),
        (&chaos, Opcode::QUERY, Class::HS, Some(Rcode::REFUSED)),
        (&secondary, Opcode::NOTIFY, Class::IN, None),
        (&secondary, Opcode::NOTIFY, Class::CH, Some(Rcode::REFUSED)),
    ] {
        let block = chain(&diary, plugins);
        let exchange = query_of(Transport::Udp, opcode, class);
        let refusal = exchange.refusal(&block).map(|failure| failure.rcode);
        assert_eq!(refusal, refused, "{plugins:?} {opcode} {class}");
    }
    assert!(diary.take().is_empty(), "no plugin was asked");
}

#[test]
fn a_plugin_meets_only_what_it_takes() {
    let diary = Diary::default();
    let all = [
        ("hosts", Admits::QUERIES),
        ("chaos", CHAOS),
        ("secondary", NOTIFIED),
        ("forward", Admits::FORWARDED),
    ];
    for (opcode, class, asked) in [
        (Opcode::QUERY, Class::IN, "hosts"),
        (Opcode::QUERY, Class::CH, "chaos"),
        (Opcode::QUERY, Class::HS, "forward"),
        (Opcode::NOTIFY, Class::IN, "secondary"),
    ] {
        let exchange = query_of(Transport::Udp, opcode, class);
        let (_, ending) = walk(exchange, &chain(&diary, &all));
        assert_eq!(ending, Ending::Respond);
        let asked = format!("{asked} asked");
        assert_eq!(diary.take(), ["watcher asked", &asked, "watcher answered"]);
    }
    // Where those that take it pass, it is refused, and not for want of a next plugin.
    let passes = [("hosts", Admits::QUERIES), ("passes", NOTIFIED)];
    let exchange = query_of(Transport::Udp, Opcode::NOTIFY, Class::IN);
    let (mut exchange, _) = walk(exchange, &chain(&diary, &passes));
    assert_eq!(exchange.response().rcode(), Rcode::REFUSED);
}

#[test]
fn a_rewritten_class_is_asked_of_those_that_take_it() {
    let diary = Diary::default();
    let rewrites = Script::new("rewrites", &diary)
        .admits(Admits::WATCHED)
        .query(|query, response| {
            let instead = Instead {
                qclass: Some(Class::CH),
                ..Instead::default()
            };
            query.rewrite(response, instead);
            Ok(Flow::Next)
        });
    let block = scripts([
        Script::new("above", &diary),
        rewrites,
        Script::new("hosts", &diary).says(Flow::Answered),
        Script::new("chaos", &diary)
            .admits(CHAOS)
            .says(Flow::Answered),
    ]);
    walk(query(Transport::Udp), &block);
    assert_eq!(
        diary.take(),
        [
            "above asked",
            "rewrites asked",
            "chaos asked",
            "rewrites answered",
            "above answered"
        ]
    );
}

#[test]
fn look_ups_of_the_server_to_itself_are_admitted_as_queries_are() {
    let diary = Diary::default();
    let block = chain(&diary, &[("hosts", Admits::QUERIES)]);
    let _router = route(&block, &block);
    let ask = |opcode, class| {
        let mut exchange = query_of(Transport::Udp, opcode, class);
        exchange.suspended = Some((block.clone(), 0));
        let name = exchange.parsed.qname.clone();
        run(look_up(&exchange, name.name(), Type::A)).map_err(|failure| failure.rcode)
    };
    // What a NOTIFY makes the server look up is a query.
    for opcode in [Opcode::QUERY, Opcode::NOTIFY] {
        let found = ask(opcode, Class::IN).unwrap();
        assert_eq!(found.parsed.flags.opcode(), Opcode::QUERY);
    }
    assert_eq!(diary.take().len(), 2 * 3);
    assert_eq!(ask(Opcode::QUERY, Class::CH).unwrap_err(), Rcode::REFUSED);
    assert!(diary.take().is_empty());
    // A question that is asked of those below meets those that take it.
    let exchange = query_of(Transport::Udp, Opcode::QUERY, Class::CH);
    let all = [("hosts", Admits::QUERIES), ("chaos", CHAOS)];
    run(ask_below(exchange, chain(&diary, &all), 0));
    assert_eq!(diary.take(), ["chaos asked"]);
}
