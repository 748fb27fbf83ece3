//! Files that could hold up who reads them, and those that are no text.

use std::process::Command;

use crate::world::World;

/// Exit code and all output of a line of bash in a directory, where `lab` is nameplate-lab for at most ten seconds.
fn bash(directory: &std::path::Path, line: &str) -> (Option<i32>, String) {
    let line = format!("lab() {{ timeout 10 \"$LAB\" \"$@\"; }}; {line} 2>&1");
    let mut command = Command::new("bash");
    command.args(["-c", &line]).current_dir(directory);
    command.env("LAB", env!("CARGO_BIN_EXE_nameplate-lab"));
    let output = command.output().expect("bash");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), told)
}

#[test]
fn only_what_ends_is_read() {
    let directory = std::env::temp_dir().join(format!("nameplate-reading-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let write =
        |name: &str, text: &[u8]| std::fs::write(directory.join(name), text).expect("written");
    write("zero.toml", b"include = [\"/dev/zero\"]\n");
    write("pipe.toml", b"# A pipe.\ninclude = [\"pipe\"]\n");
    write("latin.toml", b"# One\n# caf\xe9\n");
    write(
        "good.toml",
        b"[lab]\nname = \"good\"\ndns = \"off\"\n[ns]\nonly-here = \"none\"\n",
    );
    write("good.yaml", b"services:\n  a:\n    network_mode: none\n");
    bash(&directory, "mkfifo pipe");
    for (line, code, parts) in [
        (
            "lab check zero.toml",
            1,
            &[
                "zero.toml:1:12",
                "`/dev/zero` cannot be read: not a regular file",
            ][..],
        ),
        (
            "lab check pipe.toml",
            1,
            &[
                "pipe.toml:2:12",
                "`pipe` cannot be read: not a regular file",
            ],
        ),
        (
            "lab check pipe",
            1,
            &["cannot read pipe: it is a named pipe", "<(cat PIPE)"],
        ),
        (
            "lab check /dev/zero",
            1,
            &["cannot read /dev/zero: it is longer than 64 MiB"],
        ),
        (
            "lab check latin.toml",
            1,
            &["cannot read latin.toml: line 2 is not UTF-8"],
        ),
        ("lab check <(cat good.toml)", 0, &["lab good"]),
        (
            "lab import compose pipe",
            2,
            &["cannot read pipe: it is a named pipe"],
        ),
        (
            "lab import compose /dev/zero",
            2,
            &["cannot read /dev/zero: it is longer than 64 MiB"],
        ),
        (
            "lab import compose latin.toml",
            2,
            &["cannot read latin.toml: line 2 is not UTF-8"],
        ),
        (
            "lab import compose missing",
            2,
            &["cannot read missing: No such file"],
        ),
        (
            "lab import compose <(cat good.yaml)",
            0,
            &["[ns]\na = \"none\"\n"],
        ),
    ] {
        let (found, told) = bash(&directory, line);
        assert_eq!(found, Some(code), "{line}: {told}");
        for part in parts {
            assert!(told.contains(part), "{line}: {part}: {told}");
        }
    }
    std::fs::remove_dir_all(&directory).expect("removed");
}

/// Files of the machine, in place of which something else may be.
#[test]
fn what_lies_in_the_place_of_a_file_holds_up_nobody() {
    let world = World::new();
    let lab = format!("timeout 10 {}", env!("CARGO_BIN_EXE_nameplate-lab"));
    let text = "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = \"br0\"\n";
    let file = world.file("demo", text).display().to_string();
    world.ok(&format!("{lab} apply {file}"));
    for other in ["mkfifo $1", "ln -s /dev/zero $1", "truncate -s 65M $1"] {
        let replace = |path: &str| {
            world.ok(&format!("set -- {path}; mv $1 $1.kept; {other}"));
        };
        let restore = |path: &str| world.ok(&format!("rm {path}; mv {path}.kept {path}"));
        let file_of_a = "/etc/netns/a/resolv.conf";
        replace(file_of_a);
        for verb in ["plan", "status", "apply"] {
            let did = world.sh(&format!("{lab} {verb} {file}"));
            let code = if verb == "status" { 4 } else { 1 };
            assert_eq!(did.code, code, "{other}: {verb}: {did:?}");
        }
        restore(file_of_a);
        for path in ["/etc/hosts", "/etc/passwd", "/etc/resolv.conf"] {
            replace(path);
            for line in ["check", "status", "run"] {
                let beside = if line == "run" { "-- true" } else { "" };
                let did = world.sh(&format!("cd /run/work && {lab} {line} {file} {beside}"));
                assert_eq!(did.code, 0, "{other}: {path}: {line}: {did:?}");
            }
            restore(path);
        }
        for name in ["journal.json", "names.json"] {
            let path = format!("/run/nameplate/lab/demo/{name}");
            replace(&path);
            let did = world.sh(&format!("{lab} status {file}"));
            assert!([0, 1, 4].contains(&did.code), "{other}: {name}: {did:?}");
            restore(&path);
        }
    }
    world.ok(&format!("{lab} apply {file} && {lab} down {file}"));
}

/// Whoever reads a file that is not the kernel's does so by `input`, which takes regular files of bounded size.
#[test]
fn every_file_is_read_by_input() {
    // These read below /proc.
    const OF_PROC: [&str; 4] = ["input.rs", "process.rs", "space.rs", "listener.rs"];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open = vec![root.to_path_buf()];
    let mut wrong = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
            let path = entry.path();
            let name = entry.file_name().into_string().expect("a name");
            if path.is_dir() && !["tests", "benches", "target"].contains(&name.as_str()) {
                open.push(path);
                continue;
            }
            if !name.ends_with(".rs") || OF_PROC.contains(&name.as_str()) {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source");
            let reads = text.lines().enumerate().filter(|(_, line)| {
                let reads = ["fs::read_to_string(", "fs::read("];
                reads.iter().any(|call| line.contains(call)) && !line.contains("/proc/")
            });
            wrong.extend(reads.map(|(at, line)| format!("{}:{}: {line}", path.display(), at + 1)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
