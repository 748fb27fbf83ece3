//! Documents that a test checks: every `corefile` block of a README loads, and so does the example.

use std::path::{Path, PathBuf};

/// The fenced blocks of a page that are marked `corefile`, with the line where each begins.
pub(crate) fn corefile_blocks(page: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut block: Option<(usize, String)> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut block, line.trim_end()) {
            (None, "```corefile") => block = Some((number + 2, String::new())),
            (Some(_), "```") => out.extend(block.take()),
            (Some((_, text)), line) => {
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    out
}

pub(crate) fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut out = vec![root.join("README.md"), root.join("src/corefile/README.md")];
    for entry in std::fs::read_dir(root.join("plugins"))
        .expect("plugins")
        .flatten()
    {
        let page = entry.path().join("README.md");
        if page.is_file() {
            out.push(page);
        }
    }
    out
}

/// What `check` says of a Corefile.
pub(crate) fn check(name: &str, text: &str) -> corefile::Report {
    let (corefile, mut report) = corefile::parse(name, text.as_bytes().to_vec(), &corefile::Disk);
    chain::setup::plan(&corefile, plugins::ORDER, &mut report);
    if report.has_errors() {
        panic!("{name}:\n{}", report.render(&corefile.sources, false));
    }
    report
}

#[test]
fn every_corefile_of_a_readme_is_accepted() {
    let mut blocks = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page)
            .unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for (line, block) in corefile_blocks(&text) {
            check(&format!("{}:{line}", page.display()), &block);
            blocks += 1;
        }
    }
    assert!(blocks >= 30, "only {blocks} blocks were found");
}

#[test]
fn the_examples_have_not_even_a_warning() {
    for name in ["Corefile.example", "Corefile.lab"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = std::fs::read_to_string(&path).expect("the example is there");
        let report = check(name, &text);
        assert!(report.is_empty(), "{name}: {} warnings", report.len());
    }
}

#[test]
fn every_code_that_is_raised_is_explained() {
    let mut folders: Vec<PathBuf> = vec!["src".into(), "plugins".into()];
    let mut codes = 0;
    while let Some(folder) = folders.pop() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder);
        for entry in std::fs::read_dir(path).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                for (at, _) in text.match_indices("\"CF0") {
                    let Some(code) = text.get(at + 1..at + 7) else {
                        continue;
                    };
                    if code[2..].bytes().all(|octet| octet.is_ascii_digit()) {
                        assert!(
                            corefile::codes::explain(code).is_some(),
                            "{code} in {}",
                            path.display()
                        );
                        codes += 1;
                    }
                }
            }
        }
    }
    assert!(codes > 100, "only {codes} codes were found");
}
