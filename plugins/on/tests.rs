use std::time::{Duration, Instant};

use super::{Event, Hook, run, words};
use crate::trial::{self, Folder};

#[test]
fn command_lines_are_split_as_a_shell_does() {
    for (line, expected) in [
        ("", &[][..]),
        ("  cmd   arg1\targ2 ", &["cmd", "arg1", "arg2"]),
        (
            "sh -c 'echo \"a b\" \\n'",
            &["sh", "-c", "echo \"a b\" \\n"],
        ),
        ("a \"b \\\" c\"d '' e", &["a", "b \" cd", "", "e"]),
        ("a\\ b \\# #c d", &["a b", "#"]),
        ("a#b &", &["a#b", "&"]),
    ] {
        assert_eq!(words::split(line).expect("words"), expected, "{line:?}");
    }
    for line in ["'a", "a \"b", "a \\", "\"a\\"] {
        assert!(words::split(line).is_err(), "{line:?}");
    }
}

#[test]
fn lines() {
    trial::table(&[
        ("on startup cmd arg", ""),
        ("on shutdown cmd arg &", ""),
        ("on certrenew cmd arg", ""),
        ("on STARTUP cmd\non startup cmd", ""),
        ("on", "unexpected line ending after 'on'"),
        (
            "on xyz cmd arg",
            "Wrong event name or event not supported: 'xyz'",
        ),
        ("on startup", "no command contained in ''"),
        ("on startup &", "no command contained in '&'"),
        (
            "on startup \"'a\"",
            "error parsing command: a quote is not closed",
        ),
        ("on startup cmd {\n  arg\n}", "`on` takes no block"),
    ]);
}

#[test]
fn each_event_has_its_commands() {
    let trial = trial::build(
        "a. {\n  on startup a\n  on startup b\n  on certrenew c\n}\nb. {\n  on shutdown d &\n}\n",
    );
    assert_eq!(trial.process.tasks.len(), 1, "both in one, in order");
    assert_eq!(trial.process.at_end.len(), 1);
}

fn hook(line: &str) -> Hook {
    let mut words = words::split(line).expect("words").into_iter();
    Hook {
        event: Event::Startup,
        program: words.next().expect("a program"),
        arguments: words.collect(),
        beside: false,
    }
}

#[tokio::test]
async fn commands_run_in_order_and_failures_hold_nothing_up() {
    let folder = Folder::new("on");
    let there = |name: &str| folder.0.join(name).exists();
    let path = folder.0.display();
    let nested = folder.0.join("a/b");
    run(vec![
        hook(&format!("mkdir {path}/a")),
        hook("false"),
        hook(&format!("{path}/no-such-program")),
        hook(&format!("mkdir {}", nested.display())),
    ])
    .await;
    assert!(there("a/b"));
    // In the background: its end is not waited for.
    let begun = Instant::now();
    let late = Hook {
        beside: true,
        ..hook("sleep 20")
    };
    run(vec![late, hook(&format!("mkdir {path}/c"))]).await;
    assert!(there("c") && begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_fails_is_logged() {
    let log = trial::logged(|| {
        hook("sh -c 'exit 3'").run();
        hook("/no/such/program").run();
        hook("true").run();
    });
    assert_eq!(
        log.lines().collect::<Vec<_>>(),
        [
            "INFO plugin/on: Blocking command \"sh -c exit 3\" on startup",
            "ERROR plugin/on: error on startup, command \"sh -c exit 3\": exit status: 3",
            "INFO plugin/on: Blocking command \"/no/such/program\" on startup",
            "ERROR plugin/on: error on startup, command \"/no/such/program\": No such file or directory (os error 2)",
            "INFO plugin/on: Blocking command \"true\" on startup",
        ]
    );
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
