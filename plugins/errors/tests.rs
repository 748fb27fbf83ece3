use std::time::Duration;

use chain::{Failure, Flow};
use wire::{Rcode, Type};

use crate::trial::{self, Trial};

#[test]
fn lines() {
    let count = "unexpected line ending after";
    trial::table(&[
        ("errors", ""),
        ("errors stdout", ""),
        ("errors errors.txt", "invalid log file: errors.txt"),
        ("errors stdout x", "unexpected line ending after 'stdout'"),
        ("errors\nerrors", "can only be used once"),
        ("errors {\n  stacktrace\n}", ""),
        ("errors {\n  stacktrace yes\n}", count),
        (
            "errors {\n  stacktrance\n}",
            "unknown property 'stacktrance'",
        ),
        ("errors {\n  consolidate\n}", count),
        ("errors {\n  consolidate 1m\n}", count),
        (
            "errors {\n  consolidate 1 .*\n}",
            "missing unit in duration",
        ),
        ("errors {\n  consolidate 1m ())\n}", "could not parse regex"),
        ("errors {\n  consolidate 1m error\n}", ""),
        (
            "errors {\n  consolidate 1m \"^a b$\" info show_first\n}",
            "",
        ),
        ("errors {\n  consolidate 1m a show_first\n}", ""),
        (
            "errors {\n  consolidate 1m a show_first info\n}",
            "must come before show_first",
        ),
        (
            "errors {\n  consolidate 1m a info debug\n}",
            "multiple log levels",
        ),
        (
            "errors {\n  consolidate 1m a inof\n}",
            "unknown option in consolidate: inof",
        ),
        ("errors {\n  consolidate 1m a info show_first x\n}", count),
    ]);
    let long = format!("errors {{\n  consolidate 1m {}\n}}", "a".repeat(10_001));
    trial::table(&[(&long, "regex pattern too long: 10001 > 10000")]);
}

#[test]
fn stacktrace_is_told_to_the_block() {
    assert!(!trial::block("errors").blocks[0].config.stacktrace);
    assert!(
        trial::block("errors {\n  stacktrace\n}").blocks[0]
            .config
            .stacktrace
    );
}

/// Asks for `name` and lets the chain fail with each cause in turn.
fn fail(trial: &Trial, name: &str, causes: &[&'static str]) {
    for cause in causes {
        let cause: &'static str = cause;
        let block = trial::serve(
            trial,
            ".",
            trial::answer(move |_, _| Err(Failure::servfail(cause))),
        );
        trial::exchange(name, Type::A, None).walk(&block);
    }
}

#[test]
fn a_cause_is_one_line() {
    let trial = trial::block("errors");
    let log = trial::logged(|| fail(&trial, "Example.ORG.", &["plugin/x: no"]));
    assert_eq!(log, "ERROR plugin/errors: 2 example.org. A: plugin/x: no\n");
    let log = trial::logged(|| fail(&trial, "a\\010b\\027.example.org.", &["a\n\u{1b}[1m"]));
    assert_eq!(
        log,
        "ERROR plugin/errors: 2 a\\010b\\027.example.org. A: a\\n\\u{1b}[1m\n"
    );
}

#[test]
fn answers_and_policy_are_no_errors() {
    let trial = trial::block("errors");
    let log = trial::logged(|| {
        for answer in [
            Ok(Flow::Answered),
            Ok(Flow::Silent),
            Err(Failure::policy(Rcode::REFUSED)),
        ] {
            let block = trial::serve(&trial, ".", trial::answer(move |_, _| answer.clone()));
            trial::exchange("example.org.", Type::A, None).walk(&block);
        }
    });
    assert_eq!(log, "");
}

#[test]
fn the_first_pattern_counts() {
    let trial = trial::block(
        "errors {\n  consolidate 1m timeout warning\n  consolidate 1m time error\n  consolidate 90s quick info show_first\n}",
    );
    let log = trial::logged(|| {
        fail(
            &trial,
            "example.org.",
            &["timeout", "timeout", "time", "quick", "quick"],
        );
        fail(&trial, "example.org.", &["other"]);
        // The snapshot goes: what is left is written.
        drop(trial);
    });
    assert_eq!(
        log,
        "INFO plugin/errors: 2 example.org. A: quick\n\
         ERROR plugin/errors: 2 example.org. A: other\n\
         WARN plugin/errors: 2 errors like 'timeout' occurred in last 1m0s\n\
         ERROR plugin/errors: 1 errors like 'time' occurred in last 1m0s\n\
         INFO plugin/errors: 2 errors like 'quick' occurred in last 1m30s\n"
    );
}

#[test]
fn a_period_ends_and_begins_anew() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let mut trial = trial::block("errors {\n  consolidate 20ms timeout\n}");
    let task = trial.process.tasks.pop().expect("one task");
    assert_eq!(task.plugin, "errors");
    let log = trial::logged(|| {
        runtime.block_on(async {
            let questions = async {
                for count in 1..=2 {
                    for _ in 0..count {
                        fail(&trial, "example.org.", &["timeout"]);
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            tokio::select! { () = task.work => {}, () = questions => {} }
        });
    });
    assert_eq!(
        log,
        "ERROR plugin/errors: 1 errors like 'timeout' occurred in last 20ms\n\
         ERROR plugin/errors: 2 errors like 'timeout' occurred in last 20ms\n"
    );
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
