//! Zones of `secondary` that are kept on disk: after a restart without the primary, after `kill -9` at any moment, and when they are old.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::peers::{replace, serial, transferred, wait_for_serial, zone};
use crate::server::{Server, dig, free_port, temporary_directory, wait_until};

/// A primary of example.org, from the file `db` of its directory.
fn primary(dir: &Path, port: u16, told: u16) -> Server {
    Server::start_in(
        dir,
        &format!(
            "example.org:{port} {{\n  bind 127.0.0.1\n  file db {{\n    reload 100ms\n  }}\n  transfer {{\n    to 127.0.0.1:{told}\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    )
}

/// A secondary that keeps the zone in `copy`.
fn secondary(dir: &Path, port: u16, primary: u16) -> Server {
    Server::start_in(
        dir,
        &format!(
            "example.org:{port} {{\n  bind 127.0.0.1\n  secondary {{\n    transfer from 127.0.0.1:{primary}\n    file copy\n  }}\n  transfer {{\n    to *\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    )
}

fn age(path: &Path) -> Duration {
    let modified = fs::metadata(path).and_then(|file| file.modified());
    let modified = modified.expect("a file with a time");
    SystemTime::now()
        .duration_since(modified)
        .unwrap_or_default()
}

fn make_older(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    let file = File::options().write(true).open(path);
    let set = file.and_then(|file| file.set_modified(then));
    set.expect("the time is set");
}

#[test]
fn a_zone_on_disk_is_served_without_its_primary_until_it_expires() {
    let (there, here) = (
        temporary_directory("kept-primary"),
        temporary_directory("kept-secondary"),
    );
    let (theirs, ours) = (free_port(), free_port());
    let address = SocketAddr::from(([127, 0, 0, 1], ours));
    let copy = here.join("copy");
    replace(&there.join("db"), &zone(7));
    let first = primary(&there, theirs, ours);
    let server = secondary(&here, ours, theirs);
    if dig(address, &["example.org", "SOA"]).is_none() {
        return;
    }
    wait_for_serial(address, 7);
    wait_until("the copy", || copy.exists());
    let records = transferred(address, &[]);
    // Killed, both of them: what was kept is served at once, and says what it was.
    drop((server, first));
    let server = secondary(&here, ours, theirs);
    assert_eq!(serial(address).as_deref(), Some("7"));
    assert_eq!(transferred(address, &[]), records);
    assert!(
        server
            .log()
            .contains("Serving zone example.org. as kept in")
    );
    drop(server);
    // An old copy is confirmed by the primary, and its differences are asked for.
    make_older(&copy, 3_600);
    let first = primary(&there, theirs, ours);
    let server = secondary(&here, ours, theirs);
    wait_until("a copy that is confirmed", || age(&copy).as_secs() < 60);
    replace(&there.join("db"), &zone(8));
    wait_for_serial(address, 8);
    server.wait_for_log("8 SOA serial, by IXFR in 1 step");
    wait_until("the next copy", || {
        fs::read_to_string(&copy).is_ok_and(|text| text.contains(" 8 7200 "))
    });
    drop((server, first));
    // EXPIRE is 1209600 s.
    make_older(&copy, 1_209_601);
    let server = secondary(&here, ours, theirs);
    server.wait_for_log("has expired: no primary has confirmed it for 12096");
    let text = dig(address, &["www.example.org", "A"]).unwrap_or_default();
    assert!(text.contains("SERVFAIL"), "{text}");
    drop(server);
    // A file that was cut and one that was edited are of no use and hold nothing up.
    let whole = fs::read_to_string(&copy).expect("a copy");
    for (broken, why) in [
        (
            &whole[..whole.len() / 2],
            "copy: cannot be read: the mark at its end is missing",
        ),
        (
            &whole.replace("192.0.2.", "198.51.100."),
            "it does not match the mark at its end",
        ),
    ] {
        fs::write(&copy, broken).expect("written");
        let server = secondary(&here, ours, theirs);
        server.wait_for_log("cannot be used and is transferred again: ");
        assert!(server.log().contains(why), "{}", server.log());
        let text = dig(address, &["www.example.org", "A"]).unwrap_or_default();
        assert!(text.contains("SERVFAIL"), "{text}");
    }
}

/// While new versions come, the secondary is killed again and again: what is on disk is a whole version.
#[test]
fn whenever_it_is_killed_a_whole_version_is_on_disk() {
    const RECORDS: usize = 3_000;
    let (there, here) = (
        temporary_directory("killed-primary"),
        temporary_directory("killed-secondary"),
    );
    let (theirs, ours, nobody) = (free_port(), free_port(), free_port());
    let address = SocketAddr::from(([127, 0, 0, 1], ours));
    let version = |serial: u32| {
        let mut text = zone(serial);
        for number in 0..RECORDS {
            writeln!(text, "host-{number} IN TXT \"{serial}\"").expect("written");
        }
        text
    };
    replace(&there.join("db"), &version(1));
    let _primary = primary(&there, theirs, ours);
    if dig(address, &["example.org", "SOA"]).is_none() {
        return;
    }
    let mut last = 0;
    for round in 0..6 {
        let server = secondary(&here, ours, theirs);
        replace(&there.join("db"), &version(round + 2));
        if round == 0 {
            wait_until("a copy", || here.join("copy").exists());
        }
        // At another moment each time; which does not matter.
        thread::sleep(Duration::from_millis(37 * u64::from(round)));
        drop(server);
        let server = secondary(&here, ours, nobody);
        let found = serial(address).expect("a version");
        let found: u32 = found.parse().expect("a serial");
        assert!(found >= last, "{found} after {last}");
        last = found;
        let records = transferred(address, &[]).unwrap_or_default();
        let text = format!("TXT \"{found}\"");
        let own = records.iter().filter(|line| line.contains("host-"));
        let (same, all) = own.fold((0, 0), |(same, all), line| {
            (same + usize::from(line.ends_with(&text)), all + 1)
        });
        assert_eq!((same, all), (RECORDS, RECORDS), "round {round}");
        drop(server);
        let left: Vec<_> = fs::read_dir(&here)
            .expect("a directory")
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(".new"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
