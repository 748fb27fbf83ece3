//! Files that could hold up who reads them, and those that are no text.

use std::process::Command;

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
        b"[lab]\nname = \"good\"\ndns = \"off\"\n[ns]\na = \"none\"\n",
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
