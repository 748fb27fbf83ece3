use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chain::{Ending, Exchange, Messages, Outcome, Transport, Written};
use wire::{Flags, Rcode, Section, Type};

use crate::trial;

/// A block with these lines in `erratic`.
fn block(lines: &str) -> Arc<chain::Block> {
    let trial = trial::block(&format!("erratic {{\n{lines}\n}}"));
    trial::serve(
        &trial,
        ".",
        trial::answer(|_, _| unreachable!("it answers")),
    )
}

/// What becomes of so many queries of a type in a row: `-` dropped, `~` late, `t` truncated, `.` answered, `!` SERVFAIL.
fn fates(block: &Arc<chain::Block>, qtype: Type, count: usize) -> String {
    let one = |_| {
        let mut exchange = trial::exchange("Www.example.org.", qtype, None);
        match exchange.walk(block) {
            Outcome::Silent => '-',
            Outcome::Suspended(_) => '~',
            _ if exchange.response().flags().has(Flags::TC) => 't',
            _ if exchange.response().rcode() == Rcode::SERVFAIL => '!',
            _ => '.',
        }
    };
    (0..count).map(one).collect()
}

#[test]
fn the_number_of_a_query_decides() {
    for (lines, qtype, expected) in [
        ("", Type::A, "-.-.-."),
        ("drop 3", Type::AAAA, "-..-.."),
        ("drop 0", Type::A, "......"),
        ("drop 1", Type::A, "------"),
        ("delay", Type::A, "~.~.~."),
        ("delay 3 1ms", Type::A, "~..~.."),
        ("truncate", Type::A, "t.t.t."),
        ("truncate 5", Type::AAAA, "t....t"),
        ("drop 2\ndelay 3", Type::A, "-.-~-."),
        ("drop\ntruncate 3", Type::A, "-.-t-."),
        ("drop 4", Type::HINFO, "-!!!-!"),
    ] {
        assert_eq!(fates(&block(lines), qtype, 6), expected, "{lines:?}");
    }
}

#[test]
fn addresses() {
    let block = block("drop 0\nlarge");
    for (name, qtype, expected, count) in [
        (
            "Www.example.org.",
            Type::A,
            "NOERROR aa | Www.example.org. 0 A 192.0.2.53",
            30,
        ),
        (".", Type::AAAA, "NOERROR aa | . 0 AAAA 2001:db8::53", 1),
    ] {
        let mut exchange = trial::exchange(name, qtype, Some(4_096));
        assert_eq!(exchange.walk(&block), Outcome::Respond);
        let response = exchange.response();
        assert_eq!(response.count(Section::Answer), count);
        assert!(trial::told(&response).starts_with(expected), "{name}");
    }
}

#[tokio::test]
async fn a_late_response_is_the_same() {
    let block = block("delay 1 30ms\ntruncate 1");
    let mut exchange = trial::exchange("www.example.org.", Type::A, None);
    let Outcome::Suspended(step) = exchange.walk(&block) else {
        panic!("it waits");
    };
    let begun = std::time::Instant::now();
    let (mut exchange, ending) = chain::resume(exchange, block.clone(), step).await;
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(ending, Ending::Respond);
    assert_eq!(exchange.response().flags().to_string(), "qr,aa,tc,rd");
    assert_eq!(exchange.response().count(Section::Answer), 1);
}

/// RFC 5936, 2.2: a SOA record first and last.
#[test]
fn a_zone_is_transferred() {
    for (lines, whole) in [("drop 0", true), ("truncate 1", false)] {
        let block = block(lines);
        let mut exchange = trial::exchange("example.org.", Type::AXFR, None);
        exchange.context.transport = Transport::Tcp;
        let Outcome::Stream(step) = exchange.walk(&block) else {
            panic!("a zone transfer");
        };
        let mut messages = Messages::new(exchange, (&block, step));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(messages.poll_next(&mut context), Poll::Ready(Written::Last));
        let exchange: &mut Exchange = messages.exchange();
        let response = exchange.response();
        let told = trial::told(&response);
        let expected = "NOERROR aa | example.org. 0 SOA | example.org. 0 NS b.example.org. \
                        | example.org. 0 NS a.example.org. | a.example.org. 0 AAAA 2001:bd8::53 \
                        | b.example.org. 0 AAAA 2001:500::54";
        let last = if whole { " | example.org. 0 SOA" } else { "" };
        assert_eq!(told, format!("{expected}{last}"), "{lines}");
        let soa = response.records().next().expect("one").expect("a record");
        let serial = soa.rdata().len() - 20;
        assert_eq!(wire::read_u32(soa.rdata(), serial), Some(2_018_050_825));
        assert_eq!(soa.soa_minimum(), Some(3_600));
    }
    // Over UDP there is none.
    let mut exchange = trial::exchange("example.org.", Type::AXFR, None);
    assert_eq!(exchange.walk(&block("drop 0")), Outcome::Respond);
    assert_eq!(exchange.response().rcode(), Rcode::REFUSED);
}

#[test]
fn zones_bound_it() {
    let trial = trial::block("erratic example.org {\n  drop 0\n}");
    let block = trial::serve(&trial, ".", trial::answer(|_, _| Ok(chain::Flow::Silent)));
    for (name, outcome) in [
        ("www.Example.org.", Outcome::Respond),
        ("www.example.net.", Outcome::Silent),
    ] {
        let mut exchange = trial::exchange(name, Type::A, None);
        assert_eq!(exchange.walk(&block), outcome, "{name}");
    }
}

#[test]
fn it_is_ready_for_a_while() {
    let block = block("drop 0");
    let plugin = &block.chain.steps()[0].plugin;
    let mut ready = Vec::new();
    for _ in 0..7 {
        ready.push(plugin.ready());
        fates(&block, Type::A, 1);
    }
    assert_eq!(ready, [0, 0, 0, 1, 1, 0, 0].map(|ready| Some(ready == 1)));
}

/// `autopath @erratic` finds the name under the first suffix.
#[tokio::test]
async fn it_knows_a_search_path() {
    let trial = trial::block("autopath @erratic\nerratic {\n  drop 0\n}");
    assert!(trial.accepted, "{}", trial.messages);
    let last = trial::answer(|_, _| unreachable!("it answers"));
    let block = trial::serve(&trial, ".", last);
    let mut exchange = trial::exchange("www.a.example.org.", Type::A, None);
    let Outcome::Suspended(step) = exchange.walk(&block) else {
        panic!("it searches");
    };
    let (mut exchange, _) = chain::resume(exchange, block.clone(), step).await;
    let told = trial::told(&exchange.response());
    assert_eq!(told, "NOERROR aa | www.a.example.org. 0 A 192.0.2.53");
}

#[test]
fn lines() {
    trial::table(&[
        ("erratic", ""),
        ("erratic .", ""),
        ("erratic {\n  drop 2\n  delay 3 1ms\n\n}", ""),
        ("erratic {\n  truncate 2\n  delay 3 1ms\n}", ""),
        ("erratic {\n  drop 3\n  delay\n  truncate\n  large\n}", ""),
        ("erratic {\n  drop -1\n}", "number out of range: `-1`"),
        ("erratic {\n  delay -1\n}", "number out of range: `-1`"),
        (
            "erratic {\n  delay 1 2 4\n}",
            "unexpected line ending after '4'",
        ),
        ("erratic {\n  delay 15.a\n}", "not a number: `15.a`"),
        (
            "erratic {\n  drop 3\n  delay 3 bla\n}",
            "not a duration: `bla`",
        ),
        ("erratic {\n  truncate 15.a\n}", "not a number: `15.a`"),
        (
            "erratic {\n  drop 3 4\n}",
            "unexpected line ending after '4'",
        ),
        (
            "erratic {\n  something-else\n}",
            "unknown property 'something-else'",
        ),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
