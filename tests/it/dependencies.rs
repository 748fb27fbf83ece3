//! What the server is built from: licences, versions and sources as deny.toml allows them, and features that let one build serve two.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// deny.toml, for what `cargo deny` would hold.
fn policy() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    let text = fs::read_to_string(path).expect("deny.toml is there");
    text.parse().expect("deny.toml is TOML")
}

/// The strings at `section.key`; of tables, their `crate`.
fn strings(policy: &toml::Table, section: &str, key: &str) -> BTreeSet<String> {
    let values = policy[section][key].as_array().expect("a list");
    let text = |value: &toml::Value| {
        value
            .get("crate")
            .unwrap_or(value)
            .as_str()
            .map(str::to_owned)
    };
    values.iter().filter_map(text).collect()
}

/// The packages of a build for this machine as lines of `format`; `cargo tree --help` lists the fields.
fn tree(format: &str, arguments: &[&str]) -> BTreeSet<String> {
    let out = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--prefix",
            "none",
            "--no-dedupe",
        ])
        .args(["--format", format])
        .args(arguments)
        .output()
        .expect("cargo runs");
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    text.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Everything that is compiled for tests and benches, with all features.
const ALL: [&str; 4] = [
    "--workspace",
    "--all-features",
    "--edges",
    "normal,build,dev",
];

/// `cargo build --workspace` after `cargo run` compiles what only the workspace has, and nothing twice. It would where a package had
/// more features for the one than for the other.
#[test]
fn a_build_of_the_workspace_finds_the_servers_packages_built() {
    let edges = ["--edges", "normal,build"];
    let server = tree(
        "{p} [{f}]",
        &[&edges[..], &["--package", "nameplate"]].concat(),
    );
    let workspace = tree("{p} [{f}]", &[&edges[..], &["--workspace"]].concat());
    let differ: Vec<_> = server.difference(&workspace).collect();
    assert!(
        server.len() > 100 && differ.is_empty(),
        "features that a build of the workspace does not have like this: {differ:#?}"
    );
}

/// Whether one of the alternatives of an SPDX expression is made of `allowed` ones. `/` is crates.io's old OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let mut depth = 0;
    let mut parts = vec![(String::new(), "")];
    let spaced = expression.replace('/', " OR ");
    let spaced = spaced.replace('(', " ( ").replace(')', " ) ");
    for word in spaced.split_whitespace() {
        match word {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        match word {
            "OR" | "AND" if depth == 0 => {
                parts.push((String::new(), if word == "OR" { "OR" } else { "AND" }));
            }
            _ => {
                let (part, _) = parts.last_mut().expect("one at least");
                *part += if part.is_empty() { "" } else { " " };
                *part += word;
            }
        }
    }
    let holds = |part: &str| match part
        .strip_prefix("( ")
        .and_then(|rest| rest.strip_suffix(" )"))
    {
        Some(inner) => is_allowed(inner, allowed),
        None => allowed.contains(part),
    };
    // AND binds tighter than OR.
    let mut alternatives = vec![true];
    for (part, before) in &parts {
        if *before == "OR" {
            alternatives.push(true);
        }
        *alternatives.last_mut().expect("one at least") &= holds(part);
    }
    alternatives.contains(&true)
}

#[test]
fn every_licence_is_allowed() {
    let allowed = strings(&policy(), "licenses", "allow");
    let packages = tree("{p}\t{l}", &ALL);
    let refused: Vec<_> = packages
        .iter()
        .filter(|line| {
            let licence = line.split('\t').nth(1).unwrap_or_default();
            !is_allowed(licence, &allowed)
        })
        .collect();
    assert!(packages.len() > 200 && refused.is_empty(), "{refused:#?}");
}

#[test]
fn an_expression_of_licences_is_read_as_spdx_says() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
    let allowed = allowed.map(str::to_owned).into();
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/Unlicense", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("(GPL-3.0 OR MIT) AND BSD-3-Clause", false),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("MIT OR GPL-3.0 AND BSD-3-Clause", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn no_crate_is_there_in_two_versions_but_those_with_a_reason() {
    let excused = strings(&policy(), "bans", "skip");
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in tree("{p}", &ALL) {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            let version = version.trim_start_matches('v').to_owned();
            versions.entry(name.to_owned()).or_default().insert(version);
        }
    }
    let mut used = BTreeSet::new();
    for (name, versions) in versions.iter().filter(|(_, all)| all.len() > 1) {
        let names = versions.iter().map(|version| format!("{name}@{version}"));
        let (skipped, kept): (Vec<_>, Vec<_>) = names.partition(|name| excused.contains(name));
        assert!(
            kept.len() < 2,
            "{kept:?}: say why in deny.toml, or let one go"
        );
        used.extend(skipped);
    }
    let stale: Vec<_> = excused.difference(&used).collect();
    assert!(
        stale.is_empty(),
        "deny.toml excuses what is not there: {stale:?}"
    );
}

#[test]
fn every_package_comes_from_an_allowed_registry() {
    let allowed = strings(&policy(), "sources", "allow-registry");
    for lock in [
        "Cargo.lock",
        "benches/load/Cargo.lock",
        "tests/fuzz/Cargo.lock",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(lock);
        let text = fs::read_to_string(path).expect("the lock file is there");
        for source in text
            .lines()
            .filter_map(|line| line.strip_prefix("source = "))
        {
            let registry = source.trim_matches('"').strip_prefix("registry+");
            assert!(
                registry.is_some_and(|registry| allowed.contains(registry)),
                "{lock}: {source}"
            );
        }
    }
}
