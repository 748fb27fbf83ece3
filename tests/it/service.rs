//! The server as a service of systemd: what it tells (sd_notify(3)), and how much the unit may do.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::server::{Server, temporary_directory, tool};

/// Reads what the service tells until it says `wanted`; gives all that came.
fn hear(manager: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let len = manager.recv(&mut buffer).unwrap_or_else(|error| {
            panic!("no {wanted}: {error}; heard {heard:?}");
        });
        let said = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let found = said.lines().any(|line| line == wanted);
        heard.push(said);
        if found {
            return heard;
        }
    }
}

#[test]
fn what_systemd_is_told() {
    let dir = temporary_directory("service_notify");
    let socket = dir.join("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket");
    manager
        .set_read_timeout(Some(Duration::from_secs(15)))
        .expect("a time-out");
    let environment = format!("NOTIFY_SOCKET={}", socket.display());
    let server = Server::start_by(
        &dir,
        ".:{PORT} {\n whoami\n}",
        &["env", &environment, "WATCHDOG_USEC=200000"],
    );
    hear(&manager, "READY=1");
    hear(&manager, "WATCHDOG=1");
    server.signal("USR1");
    let heard = hear(&manager, "RELOADING=1");
    assert!(
        heard
            .last()
            .is_some_and(|said| said.contains("MONOTONIC_USEC=")),
        "{heard:?}"
    );
    hear(&manager, "READY=1");
    // A reload that fails serves on, which is ready, too.
    server.rewrite_corefile(".:{PORT} {\n nonsense\n}");
    server.signal("USR1");
    hear(&manager, "RELOADING=1");
    hear(&manager, "READY=1");
    server.signal("TERM");
    hear(&manager, "STOPPING=1");
    assert!(server.stop().success());
}

#[test]
fn the_units_are_confined() {
    let Some(analyze) = tool("systemd-analyze") else {
        return;
    };
    // The thresholds are ten times the exposure.
    for (unit, threshold) in [
        ("nameplate.service", "16"),
        ("nameplate-activated.service", "13"),
    ] {
        let unit = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("deploy/systemd")
            .join(unit);
        let output = Command::new(&analyze)
            .args(["security", "--offline=true", "--threshold", threshold])
            .arg(unit)
            .output()
            .expect("systemd-analyze runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
    }
}
