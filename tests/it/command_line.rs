//! The command line: help of every command, words that nobody knows, and the version.

use std::process::Command;

/// What the program prints, and its exit code.
fn run(words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_nameplate"))
        .args(words)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

/// The commands that `nameplate --help` lists.
fn commands() -> Vec<String> {
    let (_, help) = run(&["--help"]);
    let listed: Vec<String> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    assert!(listed.len() >= 9, "{listed:?}");
    listed
}

/// The flags in a text, as clap writes them.
fn flags(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "-+.".contains(c)))
        .filter(|word| word.starts_with("--") && word.len() > 2)
}

#[test]
fn every_command_has_help_with_examples_that_it_knows() {
    for command in commands() {
        // It is nameplate-lab's, which has a test of its own.
        if command == "lab" {
            continue;
        }
        let (code, help) = run(&[&command, "--help"]);
        assert_eq!(code, Some(0), "{command}: {help}");
        let examples: Vec<&str> = help
            .lines()
            .skip_while(|line| *line != "Examples:")
            .skip(1)
            .take_while(|line| line.starts_with("  "))
            .collect();
        assert!(!examples.is_empty(), "{command}: {help}");
        let options = &help[..help.find("Examples:").unwrap_or_default()];
        for example in examples {
            let own = example.trim_start().trim_start_matches("sudo ");
            if !own.starts_with(&format!("nameplate {command}")) {
                continue;
            }
            // A command of commands has the options of the one that is shown.
            let inner = own.split_whitespace().nth(2).unwrap_or_default();
            let inner = match help.contains("\nCommands:\n") {
                true => run(&[&command, inner, "--help"]).1,
                false => String::new(),
            };
            let options = format!("{options}\n{inner}");
            for flag in flags(example) {
                assert!(
                    flags(&options).any(|known| known == flag),
                    "{command}: {flag} of {example:?} is no option:\n{help}"
                );
            }
        }
    }
}

#[test]
fn a_word_that_nobody_knows_is_told_what_is_near() {
    for (words, code, expected) in [
        (&["chekc"][..], 1, "nameplate check"),
        (&["chekc", "--conf", "x", "--josn"], 1, "nameplate check"),
        (&["imprt", "bind", "x"], 1, "nameplate import"),
        (&["xyzzyx"], 1, "`nameplate --help` lists the commands"),
        (&["check", "--josn"], 2, "'--json'"),
        (&["check", "--formt", "json"], 2, "'--format'"),
        (&["check", "--format", "jsn"], 2, "'json'"),
        (&["check", "-cnof", "x"], 2, "'--conf'"),
        (&["doctor", "--jsn"], 2, "'--json'"),
        (&["install", "--dryrun"], 2, "'--dry-run'"),
        (&["import", "dnsmask", "x"], 2, "'dnsmasq'"),
        (&["-verson"], 2, "'--version'"),
        (&["-cnof", "x"], 2, "'--conf'"),
        (&["explain", "a.example.org", "--lvie"], 2, "'--live'"),
        (&["query", "+shrot", "example.org"], 1, "+short"),
        (&["query", "--jsno", "example.org"], 1, "--json"),
    ] {
        let (got, text) = run(words);
        assert_eq!(got, Some(code), "{words:?}: {text}");
        assert!(text.contains(expected), "{words:?}: {text}");
    }
}

#[test]
fn switches_may_be_true_or_false_as_in_go() {
    for (words, expected) in [
        (&["-version=true"][..], "nameplate-"),
        (&["-quiet=false", "--version"], "nameplate-"),
        (&["-plugins=false", "-version"], "nameplate-"),
        (&["-p", "1053", "-version"], "nameplate-"),
        (&["-p1053", "-version"], "nameplate-"),
        (&["-p=1053", "-version"], "nameplate-"),
    ] {
        let (code, text) = run(words);
        assert_eq!(code, Some(0), "{words:?}: {text}");
        assert!(text.starts_with(expected), "{words:?}: {text}");
    }
}

/// As CoreDNS does: the system, the compiler, the commit.
#[test]
fn the_version_names_the_commit() {
    let (_, text) = run(&["-version"]);
    let commit = Command::new("git")
        .args(["rev-parse", "--short=9", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let commit = commit.ok().filter(|output| output.status.success());
    let Some(commit) = commit else {
        // An archive of the sources has no commit, and says none.
        assert_eq!(text.lines().count(), 2, "{text}");
        return;
    };
    let commit = String::from_utf8_lossy(&commit.stdout).trim().to_owned();
    assert!(text.contains(&format!(", {commit}, ")), "{commit}: {text}");
    assert!(text.contains(", rustc 1."), "{text}");
}
