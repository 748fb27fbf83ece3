//! The tree lints itself: what the architecture promises and a machine can check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file, in lines.
const LONGEST: usize = 800;
/// The files of the root that the tree draws.
const DRAWN_FILES: [&str; 4] = ["Cargo.toml", "Corefile.example", "Dockerfile", "README.md"];
/// Names that say nothing about what is in a module.
const FORBIDDEN: [&str; 7] = [
    "utils", "util", "helpers", "helper", "misc", "common", "manager",
];
/// The crates that stand on each other, and what each may name; the lowest first.
const FLOORS: [(&str, &[&str]); 13] = [
    ("wire", &[]),
    ("corefile", &[]),
    ("host", &[]),
    ("zone", &["wire"]),
    ("telemetry", &["wire", "host"]),
    ("chain", &["wire", "corefile", "host", "zone", "telemetry"]),
    (
        "upstream",
        &["wire", "corefile", "host", "telemetry", "chain"],
    ),
    ("source", &["wire", "host", "telemetry", "upstream"]),
    (
        "plugins",
        &[
            "wire",
            "corefile",
            "host",
            "zone",
            "telemetry",
            "chain",
            "upstream",
            "source",
        ],
    ),
    (
        "server",
        &["wire", "corefile", "host", "zone", "telemetry", "chain"],
    ),
    ("lsp", &["corefile", "chain", "server"]),
    ("lab", &["wire", "corefile", "zone"]),
    ("query", &["wire", "corefile", "zone", "upstream"]),
];
/// Where `unsafe` may stand: the system calls of the packet path, and netlink.
const UNSAFE_ROOMS: [&str; 2] = ["src/server/listener/udp", "src/lab/"];
/// The sections that every plugin's README has; one of the last three is enough.
const SECTIONS: [&str; 4] = ["Name", "Description", "Syntax", "Examples"];
const LAST_SECTIONS: [&str; 3] = ["Metrics", "Bugs", "See also"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in a folder, in order; a folder's ends in `/`.
fn list(folder: &str) -> Vec<String> {
    let entries =
        fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut names: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("a folder can be listed");
            let name = entry.file_name().into_string().expect("names are UTF-8");
            if entry.path().is_dir() {
                name + "/"
            } else {
                name
            }
        })
        .collect();
    names.sort();
    names
}

/// Every Rust file of ours, relative to the root.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["src", "plugins", "tests", "benches"]
        .map(PathBuf::from)
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder))
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                if entry.file_name() != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(
        found.len() > 20,
        "the sources are not where this test looks"
    );
    found.sort();
    found
}

/// A line without its comment and without what it quotes: what the compiler takes for code.
fn code(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut last = ' ';
    for (i, octet) in line.char_indices() {
        match octet {
            '"' if last != '\\' && last != '\'' => quoted = !quoted,
            '/' if !quoted && line[i..].starts_with("//") => break,
            _ if !quoted => out.push(octet),
            _ => {}
        }
        last = if last == '\\' { ' ' } else { octet };
    }
    out
}

/// Whether `text` has `word` as a word of its own.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

/// Fails with every complaint at once.
fn complain(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The fenced block of README that begins with `Cargo.toml`: the tree.
fn documented_tree() -> Vec<(usize, String)> {
    let readme = read("README.md");
    let block = readme
        .split("```")
        .filter_map(|block| block.strip_prefix("text\n"))
        .find(|block| block.starts_with("Cargo.toml"))
        .expect("README.md draws the tree in a ```text block that begins with Cargo.toml");
    block
        .lines()
        .filter(|line| !line.trim().is_empty())
        .filter_map(|line| {
            let depth = (line.len() - line.trim_start().len()) / 2;
            // A line that only continues a remark is indented to the remarks' column.
            (depth < 5).then(|| {
                (
                    depth,
                    line.split_whitespace()
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                )
            })
        })
        .collect()
}

/// The tree as README draws it: every line exists, and every folder of the top, of `src` and every file of `src` is a line.
#[test]
fn the_tree_is_the_tree_in_the_readme() {
    let mut complaints = Vec::new();
    let mut documented = BTreeSet::new();
    let mut parents: Vec<String> = Vec::new();
    for (depth, name) in documented_tree() {
        parents.truncate(depth);
        let path = parents.concat() + &name;
        let there = root().join(&path);
        if name.ends_with('/') != there.is_dir() || !there.exists() {
            complaints.push(format!("README draws {path}, which is not there"));
        }
        parents.push(name);
        documented.insert(path);
    }
    // Folders, and the files that are read first; licences and lock files need no remark.
    let hidden = |name: &String| name.starts_with('.') || name == "target/";
    let drawn = |name: &String| name.ends_with('/') || DRAWN_FILES.contains(&name.as_str());
    let folders = list("")
        .into_iter()
        .filter(|name| drawn(name) && !hidden(name));
    let rooms = list("src").into_iter().map(|name| format!("src/{name}"));
    for path in folders.chain(rooms) {
        if !documented.contains(&path) {
            complaints.push(format!("{path} is not in README's tree"));
        }
    }
    complain(&complaints);
}

/// The names of the dependencies that a manifest lists in `section`.
fn dependencies(manifest: &str, section: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != format!("[{section}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_arrow_runs_up_a_floor() {
    let mut complaints = Vec::new();
    for (floor, below) in FLOORS {
        let folder = if floor == "plugins" {
            floor.into()
        } else {
            format!("src/{floor}")
        };
        let Ok(manifest) = fs::read_to_string(root().join(&folder).join("Cargo.toml")) else {
            assert_eq!(floor, "lab", "{folder} has no Cargo.toml");
            continue;
        };
        assert!(
            manifest.contains("[dependencies]"),
            "{folder}: a table this test can read"
        );
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for name in dependencies(&manifest, section) {
                let ours = FLOORS.iter().any(|(other, _)| *other == name);
                if ours && !below.contains(&name.as_str()) {
                    complaints.push(format!(
                        "{folder}/Cargo.toml: {floor} may not depend on {name}"
                    ));
                }
            }
        }
        if floor == "wire" && !dependencies(&manifest, "dependencies").is_empty() {
            complaints.push("src/wire/Cargo.toml: wire has no dependencies".into());
        }
    }
    complain(&complaints);
}

#[test]
fn nothing_below_main_names_the_plugins() {
    let mut complaints = Vec::new();
    for path in sources() {
        let below = path.starts_with("src") && path != Path::new("src/main.rs");
        for (number, line) in read(&path).lines().enumerate() {
            if below && code(line).contains("plugins::") {
                complaints.push(format!(
                    "{}:{}: names the plugins",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
    complain(&complaints);
}

/// The folders of `plugins/`.
fn plugin_folders() -> Vec<String> {
    list("plugins")
        .iter()
        .filter_map(|name| name.strip_suffix('/'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_plugin_names_another() {
    let folders = plugin_folders();
    let mut complaints = Vec::new();
    for path in sources() {
        let mut parts = path.iter().filter_map(|part| part.to_str());
        let (Some("plugins"), Some(own)) = (parts.next(), parts.next()) else {
            continue;
        };
        if own == "lib.rs" {
            continue;
        }
        for (number, line) in read(&path).lines().enumerate() {
            let line = code(line).replace("r#", "");
            for other in folders.iter().filter(|other| *other != own) {
                if has_word(&line, &format!("crate::{other}"))
                    || line.contains(&format!("crate::{{{other}"))
                {
                    complaints.push(format!(
                        "{}:{}: {own} names {other}",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    complain(&complaints);
}

/// The directives in the order of `plugins/lib.rs`, and whether each is at work.
fn catalogue() -> Vec<(String, bool)> {
    let entry = |line: &str| {
        let line = line.trim();
        let here = line
            .strip_prefix("Here(")
            .and_then(|rest| rest.strip_suffix("::REGISTRATION),"));
        let absent = line
            .strip_prefix("Absent(\"")
            .and_then(|rest| rest.strip_suffix("\"),"));
        here.map(|name| (name.trim_start_matches("r#").to_owned(), true))
            .or_else(|| absent.map(|name| (name.to_owned(), false)))
    };
    read("plugins/lib.rs").lines().filter_map(entry).collect()
}

#[test]
fn one_list_of_plugins() {
    let mut complaints = Vec::new();
    let catalogue = catalogue();
    let here: BTreeSet<_> = catalogue
        .iter()
        .filter(|(_, here)| *here)
        .map(|(name, _)| name.clone())
        .collect();
    let folders: BTreeSet<_> = plugin_folders().into_iter().collect();
    for name in here.symmetric_difference(&folders) {
        complaints.push(format!(
            "{name}: plugins/lib.rs and the folders of plugins/ disagree"
        ));
    }
    let readme = read("README.md");
    let table = readme
        .split("<!-- plugins -->")
        .nth(1)
        .expect("README.md has a table between <!-- plugins --> marks");
    let documented: Vec<(String, bool)> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            let (name, here) = (cells.next()?, cells.next()?);
            let name = name.split('`').nth(1)?;
            Some((name.to_owned(), here == "yes"))
        })
        .collect();
    // Those that CoreDNS does not have, or not built in.
    let ours = [
        "lab",
        "order",
        "cookie",
        "rrl",
        "records",
        "dynupdate",
        "alternate",
        "fanout",
        "xdp",
    ]
    .len();
    let count = format!(
        "{} of CoreDNS's {} directives are here",
        here.len() - ours,
        catalogue.len() - ours
    );
    if !readme.contains(&count) {
        complaints.push(format!("README.md does not say: {count}"));
    }
    if documented != catalogue {
        let number = documented
            .iter()
            .zip(&catalogue)
            .take_while(|(a, b)| a == b)
            .count();
        complaints.push(format!(
            "README's table and plugins/lib.rs part at entry {number}: {:?} and {:?}",
            documented.get(number),
            catalogue.get(number)
        ));
    }
    for (name, _) in documented.iter().filter(|(_, here)| *here) {
        if !table.contains(&format!("(plugins/{name}/README.md)")) {
            complaints.push(format!(
                "README's table has no link to plugins/{name}/README.md"
            ));
        }
    }
    complain(&complaints);
}

#[test]
fn every_plugin_has_its_files() {
    let mut complaints = Vec::new();
    for name in plugin_folders() {
        for file in ["README.md", "mod.rs", "setup.rs", "tests.rs"] {
            if !root().join("plugins").join(&name).join(file).is_file() {
                complaints.push(format!("plugins/{name} has no {file}"));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn every_plugin_has_a_manual() {
    let mut complaints = Vec::new();
    for name in plugin_folders() {
        let path = format!("plugins/{name}/README.md");
        let Ok(text) = fs::read_to_string(root().join(&path)) else {
            continue;
        };
        let lower = text.to_lowercase();
        let mut at = 0;
        let has = |section: &str| lower.find(&format!("\n## {}\n", section.to_lowercase()));
        for section in SECTIONS {
            match has(section) {
                Some(place) if place >= at => at = place,
                Some(_) => complaints.push(format!("{path}: {section} stands too early")),
                None => complaints.push(format!("{path} has no section {section}")),
            }
        }
        if !LAST_SECTIONS.iter().any(|section| has(section).is_some()) {
            complaints.push(format!("{path} has none of {LAST_SECTIONS:?}"));
        }
        if !text.starts_with(&format!("# {name}\n")) {
            complaints.push(format!("{path} does not begin with `# {name}`"));
        }
    }
    complain(&complaints);
}

#[test]
fn files_are_short_and_well_named() {
    let mut complaints = Vec::new();
    for path in sources() {
        let lines = read(&path).lines().count();
        if lines > LONGEST {
            complaints.push(format!(
                "{}: {lines} lines, more than {LONGEST}",
                path.display()
            ));
        }
        for part in path.iter().filter_map(|part| part.to_str()) {
            let stem = part.strip_suffix(".rs").unwrap_or(part);
            if FORBIDDEN.contains(&stem) {
                complaints.push(format!(
                    "{}: `{stem}` says nothing about what is in it",
                    path.display()
                ));
            }
        }
        for (number, line) in read(&path).lines().enumerate() {
            let line = code(line);
            let module = line
                .split_once("mod ")
                .map(|(_, rest)| rest.trim_end_matches([';', '{', ' ']).trim());
            if module.is_some_and(|name| FORBIDDEN.contains(&name)) {
                complaints.push(format!(
                    "{}:{}: a module's name that says nothing",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn unsafe_stands_in_its_rooms_only() {
    let mut complaints = Vec::new();
    for path in sources() {
        let path = path.display().to_string();
        if UNSAFE_ROOMS.iter().any(|room| path.starts_with(room)) {
            continue;
        }
        for (number, line) in read(&path).lines().enumerate() {
            let line = code(line);
            if has_word(&line, "unsafe") || line.contains("allow(unsafe_code") {
                complaints.push(format!("{path}:{}: unsafe", number + 1));
            }
        }
    }
    let manifest = read("Cargo.toml");
    assert!(
        manifest.contains("unsafe_code = \"deny\""),
        "the lint that this test stands behind"
    );
    complain(&complaints);
}

#[test]
fn tests_are_neither_ignored_nor_left_for_later() {
    let mut complaints = Vec::new();
    for path in sources() {
        for (number, line) in read(&path).lines().enumerate() {
            let comment = line.trim_start().starts_with("//");
            let later = comment && ["TODO", "FIXME"].iter().any(|word| has_word(line, word));
            if later || code(line).trim_start().starts_with("#[ignore") {
                complaints.push(format!(
                    "{}:{}: {}",
                    path.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    complain(&complaints);
}

/// The lints, the licence and the version of a crate are the workspace's.
#[test]
fn every_manifest_inherits() {
    let mut complaints = Vec::new();
    let mut manifests = BTreeMap::new();
    for folder in list("src").iter().filter_map(|name| name.strip_suffix('/')) {
        manifests.insert(
            format!("src/{folder}/Cargo.toml"),
            read(format!("src/{folder}/Cargo.toml")),
        );
    }
    manifests.insert("plugins/Cargo.toml".into(), read("plugins/Cargo.toml"));
    for (path, manifest) in &manifests {
        for wanted in [
            "[lints]\nworkspace = true",
            "version.workspace = true",
            "license.workspace = true",
        ] {
            if !manifest.contains(wanted) {
                complaints.push(format!("{path} lacks {wanted:?}"));
            }
        }
    }
    complain(&complaints);
}

/// This test's own reading: what is code in a line, and what is a word.
#[test]
fn code_is_told_from_comments_and_quotes() {
    for (line, expected) in [
        ("let a = 1; // unsafe", "let a = 1; "),
        ("/// unsafe", ""),
        ("let a = \"unsafe // x\"; b", "let a = ; b"),
        ("let a = \"\\\"unsafe\"; b", "let a = ; b"),
        ("match '\"' { unsafe }", "match '\"' { unsafe }"),
    ] {
        let got = code(line);
        let same = got.replace('"', "") == expected.replace('"', "");
        assert!(same, "{line}: {got}");
    }
    assert!(has_word("unsafe {", "unsafe") && !has_word("unsafe_code", "unsafe"));
    assert_eq!(
        dependencies(
            "[dependencies]\na.workspace = true\n# c\nb = \"1\"\n\n[other]\nd = 1",
            "dependencies"
        ),
        ["a", "b"]
    );
}

/// Every lab of `tests/labs` is in the table of its README, is expected to do something, and the tests that are named there
/// are there and use it.
#[test]
fn every_lab_is_told_of_and_applied() {
    let mut complaints = Vec::new();
    let rooms = "src/lab/tests/it";
    let tables = list(&format!("{rooms}/labs"));
    let tables: String = tables
        .iter()
        .map(|name| read(format!("{rooms}/labs/{name}")))
        .collect();
    let labs: BTreeSet<String> = list("tests/labs")
        .iter()
        .filter_map(|name| name.strip_suffix(".toml"))
        .map(str::to_owned)
        .collect();
    let readme = read("tests/labs/README.md");
    let mut told = BTreeSet::new();
    for row in readme.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, lab, _, tests, _] = cells[..] else {
            complaints.push(format!("a row of three cells: {row}"));
            continue;
        };
        let lab = lab.trim_matches('`');
        told.insert(lab.to_owned());
        for test in tests.split(", ").filter(|test| !test.is_empty()) {
            let test = test.trim_matches('`');
            let source = test.split_once("::").and_then(|(module, function)| {
                let text = fs::read_to_string(root().join(format!("{rooms}/{module}.rs"))).ok()?;
                let function = text.split_once(&format!("\nfn {function}() {{\n"))?.1;
                Some(function.split("\n}\n").next()?.to_owned())
            });
            match source {
                None => complaints.push(format!("{lab}: there is no test {test}")),
                Some(text) if !text.contains(&format!("\"{lab}\"")) => {
                    complaints.push(format!("{lab}: {test} does not use it"));
                }
                Some(_) => {}
            }
        }
    }
    for lab in labs.symmetric_difference(&told) {
        complaints.push(format!("{lab}: tests/labs and its README disagree"));
    }
    for lab in &labs {
        if !tables.contains(&format!("lab: \"{lab}\",")) {
            complaints.push(format!("{lab}: nothing is expected of it in {rooms}/labs"));
        }
        if !read(format!("tests/labs/{lab}.toml")).starts_with("# ") {
            complaints.push(format!("{lab}.toml does not begin with what it shows"));
        }
    }
    complain(&complaints);
}
