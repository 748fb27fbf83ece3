//! Puts the plugins' READMEs into the program, for `nameplate lsp`: each as far as its section *Syntax*, without what an editor does not show.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut folders: Vec<_> = std::fs::read_dir(".")
        .expect("the folder of the plugins")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("README.md").is_file())
        .collect();
    folders.sort();
    let mut out = String::from("&[\n");
    for folder in &folders {
        let readme = folder.join("README.md");
        println!("cargo::rerun-if-changed={}", readme.display());
        let text = std::fs::read_to_string(&readme).expect("a README");
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let _ = writeln!(out, "    ({name:?}, {:?}),", shorten(&text));
    }
    out.push(']');
    let folder = std::env::var_os("OUT_DIR").expect("cargo names a folder");
    std::fs::write(Path::new(&folder).join("manuals.rs"), out).expect("it is written");
}

/// The sections *Name* and *Syntax*, and of *Description* the first paragraph, with the list that it may announce.
fn shorten(text: &str) -> String {
    let mut out = String::new();
    for section in text.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap_or_default();
        let kept = match title {
            "Name" | "Syntax" => section,
            "Description" => {
                let ends = section.match_indices("\n\n").skip(1);
                let end = ends
                    .map(|(at, _)| &section[..at])
                    .find(|text| text.ends_with('.'));
                end.unwrap_or(section)
            }
            _ => continue,
        };
        let _ = write!(out, "\n## {}\n", kept.trim_end());
    }
    out
}
