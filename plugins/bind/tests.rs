use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("bind 192.0.2.1", ""),
        ("bind 192.0.2.1 2001:db8::1 lo", ""),
        ("bind lo {\n  except 127.0.0.1\n}", ""),
        ("bind lo {\n  except lo\n}", "takes away every address"),
        (
            "bind 192.0.2.1 {\n  except 192.0.2.1\n}",
            "takes away every address",
        ),
        ("bind", "at least one address or interface name is expected"),
        (
            "bind lo {\n  except\n}",
            "at least one address or interface must be given to except",
        ),
        (
            "bind lo {\n  exept 127.0.0.1\n}",
            "unknown property 'exept'",
        ),
        (
            "bind 192.0.2.256",
            "not a valid IP address or interface name: \"192.0.2.256\"",
        ),
        ("bind 192.0.2.x", "not a valid IP address"),
        ("bind eth0.100", ""),
        ("bind 192.0.2.0/24", "not a valid IP address"),
        ("bind [2001:db8::1]:53", "not a valid IP address"),
        (
            "bind a-name-no-interface-can-have",
            "not a valid IP address",
        ),
        ("bind \"\"", "not a valid IP address"),
    ]);
}

#[test]
fn lines_add_up_and_keep_their_exceptions() {
    let trial = trial::block("bind lo {\n  except ::1\n  except 127.0.0.1\n}\nbind 192.0.2.1");
    let lines: Vec<Vec<_>> = trial.blocks[0]
        .config
        .bind
        .iter()
        .map(|line| line.iter().map(|w| (w.word.as_str(), w.except)).collect())
        .collect();
    assert_eq!(
        lines,
        [
            vec![("lo", false), ("127.0.0.1", true)],
            vec![("192.0.2.1", false)]
        ]
    );
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}

#[test]
fn blocks_that_contend_are_told_without_a_start() {
    for (corefile, says) in [
        (
            "a.org:53 {\n whoami\n}\nb.org a.org:53 {\n whoami\n}",
            "cannot serve dns://a.org.:53 - it is already defined",
        ),
        (
            "a.org {\n bind lo\n whoami\n}\na.org {\n bind 192.0.2.1 lo\n whoami\n}",
            "cannot serve dns://a.org. on lo - it is already defined",
        ),
        (
            "a.org {\n whoami\n}\na.org {\n bind 192.0.2.1\n whoami\n}",
            "cannot serve dns://a.org. on 192.0.2.1 - zone overlap listener capacity with dns://a.org.",
        ),
        (
            "a.org {\n bind lo\n whoami\n}\na.org {\n bind 192.0.2.1\n whoami\n}",
            "",
        ),
        ("a.org:53 {\n whoami\n}\na.org:54 {\n whoami\n}", ""),
    ] {
        let (_, report) = trial::plan(corefile);
        let messages: Vec<_> = report
            .iter()
            .filter(|found| found.severity == corefile::Severity::Error)
            .map(|found| found.message.as_str())
            .collect();
        if says.is_empty() {
            assert_eq!(messages, [""; 0], "{corefile}");
        } else {
            assert_eq!(messages.len(), 1, "{corefile}: {messages:?}");
            assert!(messages[0].contains(says), "{messages:?}");
        }
    }
}
