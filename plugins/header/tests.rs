use chain::{Failure, Flow, Outcome};
use wire::{Flags, Rcode, Type};

use super::Rules;
use crate::trial;

const AA: u16 = Flags::AA;
const RA: u16 = Flags::RA;
const RD: u16 = Flags::RD;

/// The flags that the plugin below sees, and those of the response that it gives these; the client has set RD.
fn flags(lines: &str, given: u16) -> (u16, u16) {
    let block = trial::serve(
        &trial::block(&format!("header {{\n{lines}\n}}")),
        ".",
        trial::answer(move |query, response| {
            response.set_flag(AA | RA | RD, false);
            response.set_flag(given, true);
            // Where the response tells what was seen.
            response.set_rcode(Rcode(query.flags().0 >> 7 & 0xF));
            Ok(Flow::Answered)
        }),
    );
    let mut exchange = trial::exchange("www.example.org.", Type::A, None);
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    assert_eq!(exchange.parsed.flags, Flags(RD), "{lines}: as it was");
    let response = exchange.response();
    let seen = response.rcode().0 << 7;
    (seen, response.flags().0 & (AA | RA | RD))
}

#[test]
fn rules_for_responses() {
    for (lines, given, expected) in [
        ("response set aa", RD, AA | RD),
        ("response set rd", 0, RD),
        ("response clear ra", RA | RD, RD),
        ("response set ra aa\nresponse clear rd", RD, AA | RA),
        ("RESPONSE Set AA", 0, AA),
        // The last one counts.
        ("response set aa\nresponse clear aa", AA | RD, RD),
        ("response clear aa aa\nresponse set aa", RD, AA | RD),
    ] {
        assert_eq!(flags(lines, given), (RD, expected), "{lines}");
    }
}

/// RFC 1035, 4.1.1: RD is copied into the response, whatever an upstream was asked with.
#[test]
fn rules_for_queries_stay_below() {
    for (lines, seen) in [
        ("query set ra", RA | RD),
        ("query set aa", AA | RD),
        ("query clear rd", 0),
        ("query clear rd\nquery set aa ra", AA | RA),
        ("query set rd", RD),
    ] {
        assert_eq!(flags(lines, seen), (seen, seen & (AA | RA) | RD), "{lines}");
    }
    let both = "query clear rd\nresponse clear rd\nresponse set ra";
    assert_eq!(flags(both, RD), (0, RA));
}

#[test]
fn failures_and_silence_leave_the_query_as_it_was() {
    for (flow, outcome) in [
        (Err(Failure::servfail("down")), Outcome::Respond),
        (Ok(Flow::Silent), Outcome::Silent),
    ] {
        let trial = trial::block("header {\n  query clear rd\n  response set ra\n}");
        let block = trial::serve(&trial, ".", trial::answer(move |_, _| flow.clone()));
        let mut exchange = trial::exchange("www.example.org.", Type::A, None);
        assert_eq!(exchange.walk(&block), outcome);
        assert_eq!(exchange.parsed.flags, Flags(RD));
        let flags = exchange.response().flags();
        assert!(flags.has(RD) && !flags.has(RA));
    }
}

#[test]
fn all_lines_of_all_blocks_count() {
    let lines = "response set aa\n}\nheader {\nresponse set ra";
    assert_eq!(flags(lines, RD), (RD, AA | RA | RD));
    let mut rules = Rules::default();
    rules.push(AA | RA, true);
    rules.push(AA, false);
    assert_eq!(rules, Rules { set: RA, clear: AA });
}

#[test]
fn lines() {
    trial::table(&[
        ("header {\n  response set aa\n}", ""),
        ("header {\n  response set ra aa\n  query clear rd\n}", ""),
        ("header {\n}", "unexpected line ending after 'header'"),
        ("header", "unexpected line ending after 'header'"),
        (
            "header foo {\n  query set rd\n}",
            "unexpected line ending after 'header'",
        ),
        (
            "header {\n  foo\n}",
            "invalid selector=foo should be query or response",
        ),
        (
            "header {\n  set aa\n}",
            "invalid selector=set should be query or response",
        ),
        ("header {\n  query\n}", "no flag action provided"),
        (
            "header {\n  response set\n}",
            "invalid length for flags, at least one should be provided",
        ),
        (
            "header {\n  query foo\n}",
            "invalid length for flags, at least one should be provided",
        ),
        (
            "header {\n  query foo rd\n}",
            "unknown flag action=foo, should be set or clear",
        ),
        ("header {\n  query set ad\n}", "unknown/unsupported flag=ad"),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
