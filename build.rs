//! Tells the program which commit and which compiler it is made of, for `-version`. Sources without a repository have no commit.

use std::process::Command;

fn main() {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = printed(&compiler, &["--version"]);
    let version = version.as_deref().and_then(|line| line.split(' ').nth(1));
    println!(
        "cargo::rustc-env=NAMEPLATE_RUSTC={}",
        version.unwrap_or("unknown")
    );

    println!("cargo::rerun-if-changed=build.rs");
    // For builds without the repository, such as an image's.
    println!("cargo::rerun-if-env-changed=NAMEPLATE_COMMIT");
    if std::env::var_os("NAMEPLATE_COMMIT").is_some_and(|commit| !commit.is_empty()) {
        return;
    }
    // Every commit and checkout adds a line to this file.
    let Some(log) = printed("git", &["rev-parse", "--git-path", "logs/HEAD"]) else {
        return;
    };
    if std::path::Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    if let Some(commit) = printed("git", &["rev-parse", "--short=9", "HEAD"]) {
        println!("cargo::rustc-env=NAMEPLATE_COMMIT={commit}");
    }
}

/// The line that a program prints, if it succeeds.
fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    let line = line.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}
