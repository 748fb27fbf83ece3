//! What the server does at its start and at its end because the Corefile says so.

use std::fs;

use crate::server::{Server, temporary_directory, wait_until};

/// A query for example.org, A.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";

#[test]
fn commands_run_at_a_start_at_a_reload_and_before_the_end() {
    let dir = temporary_directory("hooks");
    // What the process is told last waits for a file, so that the test sees the server answer meanwhile.
    let corefile = ".:{PORT} {
        bind 127.0.0.1
        on startup sh -c \"'echo up >> hooks'\"
        on shutdown sh -c \"'echo down >> hooks; until test -e go; do sleep 0.02; done'\"
        on shutdown sh -c \"'echo gone >> hooks'\"
        whoami
    }\n";
    let mut server = Server::start_in(&dir, corefile);
    let told = |expected: &str| {
        wait_until(&format!("{expected:?} in `hooks`"), || {
            fs::read_to_string(dir.join("hooks")).is_ok_and(|text| text == expected)
        });
    };
    told("up\n");
    server.signal("USR1");
    told("up\nup\n");
    server.signal("TERM");
    told("up\nup\ndown\n");
    assert!(
        server.ask(QUERY).is_some(),
        "it answers while a command runs"
    );
    assert!(!server.has_ended());
    fs::write(dir.join("go"), "").expect("written");
    assert!(server.wait().success());
    told("up\nup\ndown\ngone\n");
}
