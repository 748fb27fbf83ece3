//! Pages of examples: every command of theirs is typed, and prints what the page shows.

use std::path::Path;

use crate::resolving::nameplate;
use crate::world::World;

/// The text of a file of the repository.
pub(crate) fn text(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).expect(path)
}

/// The blocks of a kind in a page, in their order.
pub(crate) fn blocks(page: &str, kind: &str) -> Vec<String> {
    page.split(&format!("```{kind}\n"))
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// Types the commands of an example's page in its folder; what all of them printed. None without a server.
pub(crate) fn typed(world: &World, example: &str, mut beside: impl FnMut(&str)) -> Option<String> {
    let program = nameplate()?;
    let programs = program.parent().expect("a directory").display().to_string();
    let page = text(&format!("src/lab/examples/{example}/README.md"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(example);
    let mut out = String::new();
    for line in blocks(&page, "sh").iter().flat_map(|block| block.lines()) {
        let line = format!(
            "cd {} && export PATH={programs}:$PATH && {line}",
            folder.display()
        );
        let did = world.sh(&line);
        assert_eq!(did.code, 0, "{line}: {did:?}");
        out.push_str(&did.out);
        beside(&line);
    }
    // Columns of `dig` are as wide as their longest entry.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed: Vec<String> = out.lines().map(words).collect();
    for line in blocks(&page, "text").iter().flat_map(|block| block.lines()) {
        assert!(printed.contains(&words(line)), "{line}: {out}");
    }
    assert_eq!(
        world.ok("ls -A /run/nameplate/lab"),
        ".lock\n",
        "nothing is left"
    );
    Some(out)
}

#[test]
fn a_delegation_is_walked_by_dig() {
    let world = World::new();
    let Some(out) = typed(&world, "delegation", |_| {}) else {
        return;
    };
    for part in ["198.51.100.80\n", "AUTHORITY: 1, ADDITIONAL: 2"] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

/// The labs in the manual have no mistakes.
#[test]
fn every_lab_of_the_manual_is_accepted() {
    let page = text("src/lab/README.md");
    let labs = blocks(&page, "toml");
    assert!(labs.len() > 10, "{}", labs.len());
    for lab in labs {
        let said = crate::mistakes::report(&lab);
        assert!(!said.contains("error["), "{lab}\n{said}");
    }
}

/// Every key that an editor completes has a row in a table of the manual.
#[test]
fn every_key_is_in_the_manual() {
    let page = text("src/lab/README.md");
    let schema: serde_json::Value = serde_json::from_str(lab::spec::SCHEMA).expect("JSON");
    let tables = ["net", "link", "ns", "run", "service"].map(|name| &schema["$defs"][name]);
    for table in tables.into_iter().chain([&schema["properties"]["lab"]]) {
        for key in table["properties"].as_object().expect("keys").keys() {
            let cell = format!("`{key}`");
            let row = |line: &str| {
                let keys = line.strip_prefix("| ")?.split(" | ").next()?;
                keys.split(", ").any(|key| key == cell).then_some(())
            };
            assert!(page.lines().any(|line| row(line).is_some()), "{key}");
        }
    }
}
