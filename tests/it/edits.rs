//! Every way in which a file is edited, for every kind of file: the old content is served until the new one is whole, then the new
//! one is, and no query is lost.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::attacks::{a, rcode};
use crate::server::{Server, skip, temporary_directory, tool, wait_until};

/// Names of each content.
const NAMES: u32 = 20;

/// The address that stands for a version.
fn address(version: u32) -> [u8; 4] {
    [10, 1, (version >> 8) as u8, version as u8]
}

fn text(version: u32) -> String {
    address(version).map(|octet| octet.to_string()).join(".")
}

/// A zone whose serial stands in its first half.
fn zone(version: u32) -> String {
    zone_with(version, version)
}

fn zone_with(serial: u32, version: u32) -> String {
    let mut out = format!(
        "$TTL 60\n@ IN SOA ns1 hostmaster {serial} 7200 1800 1209600 60\n@ IN NS ns1\nns1 IN A 192.0.2.53\n"
    );
    for n in 0..NAMES {
        out += &format!("h{n} IN A {}\n", text(version));
    }
    out
}

fn hosts(version: u32) -> String {
    (0..NAMES)
        .map(|n| format!("{} h{n}.lan\n", text(version)))
        .collect()
}

/// The version that a name has; an error in words when it has none.
fn version(socket: &UdpSocket, name: &str) -> Result<u32, String> {
    let query = a(name);
    socket.send(&query).map_err(|error| error.to_string())?;
    let mut reply = [0; 1_232];
    let len = socket
        .recv(&mut reply)
        .map_err(|error| format!("{name}: lost: {error}"))?;
    let answer = query.len() + 12;
    if rcode(&reply) != 0 || reply[7] == 0 || len < answer + 4 {
        return Err(format!(
            "{name}: RCODE {}, {} answers",
            rcode(&reply),
            reply[7]
        ));
    }
    Ok(u32::from(reply[answer + 2]) << 8 | u32::from(reply[answer + 3]))
}

fn client(server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket.connect(server.address()).expect("connected");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    socket
}

/// Asks the last name of a content while `edit` goes on, and until it has `wanted`; it always has one of the two versions.
fn never_half(server: &Server, zone: &str, wanted: u32, edit: impl FnOnce() + Send) {
    let socket = client(server);
    let last = format!("h{}.{zone}", NAMES - 1);
    let before = version(&socket, &last).expect("served");
    thread::scope(|scope| {
        let edit = scope.spawn(edit);
        let mut ended = None;
        loop {
            let now =
                version(&socket, &last).unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
            if now == wanted {
                break;
            }
            assert_eq!(now, before, "another version");
            if edit.is_finished() {
                let ended = ended.get_or_insert_with(Instant::now);
                let took = ended.elapsed();
                assert!(
                    took < Duration::from_secs(8),
                    "not served:\n{}",
                    server.log()
                );
            }
        }
    });
    for n in 0..NAMES {
        assert_eq!(version(&socket, &format!("h{n}.{zone}")), Ok(wanted));
    }
}

fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).expect("written");
    fs::rename(draft, path).expect("renamed");
}

/// Writes in place by one descriptor, with a pause in the middle.
fn write_slowly(path: &Path, text: &str, pause: Duration) {
    let mut file = File::create(path).expect("opened");
    let (first, rest) = text.split_at(text.len() / 2);
    file.write_all(first.as_bytes()).expect("written");
    thread::sleep(pause);
    file.write_all(rest.as_bytes()).expect("written");
}

/// Empties a file and appends to it, opening it anew for each part.
fn append(path: &Path, text: &str, parts: usize, pause: Duration) {
    File::create(path).expect("emptied");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for part in lines.chunks(lines.len().div_ceil(parts)) {
        thread::sleep(pause);
        let mut file = OpenOptions::new().append(true).open(path).expect("opened");
        file.write_all(part.concat().as_bytes()).expect("written");
    }
}

const COREFILE: &str =
    ".:{PORT} {\n  bind 127.0.0.1\n  hosts hosts.txt lan\n  file zone example.org\n}\n";

/// A server of a zone and a hosts file, both in version 1.
fn start(test: &str) -> Server {
    let dir = temporary_directory(test);
    fs::write(dir.join("zone"), zone(1)).expect("written");
    fs::write(dir.join("hosts.txt"), hosts(1)).expect("written");
    Server::start_in(&dir, COREFILE)
}

#[test]
fn a_zone_that_is_written_with_pauses_is_never_served_half() {
    let server = start("half-zone");
    let path = server.dir().join("zone");
    for (number, pause) in [30, 300, 1_000].into_iter().enumerate() {
        let (number, pause) = (2 + number as u32, Duration::from_millis(pause));
        never_half(&server, "example.org", number, || {
            write_slowly(&path, &zone(number), pause);
        });
    }
    never_half(&server, "example.org", 10, || {
        append(&path, &zone(10), 2, Duration::from_millis(600));
    });
    // A zone that is whole and has lost most of its names is served, and that is said.
    let short: String = zone(11)
        .lines()
        .take(8)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&path, short).expect("written");
    server.wait_for_log("has lost more than half of its names: 22 before, 6 now");
    let socket = client(&server);
    wait_until("the short zone", || {
        version(&socket, "h0.example.org") == Ok(11)
    });
}

#[test]
fn a_change_without_a_serial_is_told_once_with_both_serials() {
    let server = start("no-serial");
    let path = server.dir().join("zone");
    let told = "is served, 1 is in the file: not reloaded";
    for (count, address) in [(1, 2), (2, 3)] {
        replace(&path, &zone_with(1, address));
        wait_until("the warning", || {
            server.log().matches(told).count() == count
        });
        // Neither `touch` nor the same content again is another edit.
        let time = std::time::SystemTime::now();
        let touched = OpenOptions::new().append(true).open(&path);
        touched
            .and_then(|file| file.set_modified(time))
            .expect("touched");
        replace(&path, &zone_with(1, address));
    }
    replace(&path, &zone(2));
    server.wait_for_log("with 2 SOA serial");
    assert_eq!(server.log().matches(told).count(), 2, "{}", server.log());
    let socket = client(&server);
    assert_eq!(version(&socket, "h0.example.org"), Ok(2));
}

#[test]
fn a_hosts_file_that_is_emptied_first_keeps_its_names() {
    let server = start("emptied-hosts");
    let path = server.dir().join("hosts.txt");
    never_half(&server, "lan", 2, || {
        append(&path, &hosts(2), 4, Duration::from_millis(100));
    });
    never_half(&server, "lan", 3, || {
        write_slowly(&path, &hosts(3), Duration::from_millis(300));
    });
}

/// A Corefile of two blocks whose names have an address; `reload` stands in the second.
fn corefile(version: u32) -> String {
    format!(
        "one.example:{{PORT}} {{\n  bind 127.0.0.1\n  hosts {{\n    {} h.one.example\n  }}\n}}\n\
         two.example:{{PORT}} {{\n  bind 127.0.0.1\n  reload 2s 1s\n  hosts {{\n    {} h.two.example\n  }}\n}}\n",
        text(version),
        text(version)
    )
}

#[test]
fn a_corefile_that_is_written_in_two_parts_is_loaded_whole() {
    let dir = temporary_directory("two-parts");
    let server = Server::start_in(&dir, &corefile(1));
    let socket = client(&server);
    let path = dir.join("Corefile");
    let pause = Duration::from_millis(600);
    for version_now in [2, 3] {
        let whole = corefile(version_now).replace("{PORT}", &server.port().to_string());
        let half = whole.find("two.example").expect("two blocks");
        thread::scope(|scope| {
            let edit = scope.spawn(|| {
                if version_now == 2 {
                    let mut file = File::create(&path).expect("opened");
                    file.write_all(&whole.as_bytes()[..half]).expect("written");
                    thread::sleep(pause);
                    file.write_all(&whole.as_bytes()[half..]).expect("written");
                } else {
                    fs::write(&path, &whole[..half]).expect("written");
                    thread::sleep(pause);
                    let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
                    file.write_all(&whole.as_bytes()[half..]).expect("written");
                }
            });
            let began = Instant::now();
            while version(&socket, "h.two.example").expect("never refused") != version_now {
                assert!(
                    began.elapsed() < Duration::from_secs(10),
                    "{}",
                    server.log()
                );
            }
            edit.join().expect("written");
        });
    }
    wait_until("two reloads", || {
        server.log().matches("Reloading complete").count() == 2
    });
    // Cut off for good, it is loaded, and what is lost is said; the rest is still seen.
    let whole = corefile(4);
    let half = whole.find("two.example").expect("two blocks");
    server.rewrite_corefile(&whole[..half]);
    server.wait_for_log("The Corefile no longer has `reload`");
    server.rewrite_corefile(&whole);
    wait_until("the rest", || version(&socket, "h.two.example") == Ok(4));
}

#[test]
fn a_file_that_becomes_readable_is_read() {
    let dir = temporary_directory("unprivileged");
    fs::write(dir.join("zone"), zone(1)).expect("written");
    fs::write(dir.join("hosts.txt"), hosts(1)).expect("written");
    let root = is_root();
    let server = if root {
        if tool("setpriv").is_none() {
            return;
        }
        let program = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ];
        Server::start_by(&dir, COREFILE, &program)
    } else {
        Server::start_in(&dir, COREFILE)
    };
    let socket = client(&server);
    for (file, zone_name, content) in [
        ("zone", "example.org", zone as fn(u32) -> String),
        ("hosts.txt", "lan", hosts),
    ] {
        let path = dir.join(file);
        let name = format!("h0.{zone_name}");
        // mktemp, mv, and chmod a moment later.
        let draft = path.with_extension("draft");
        fs::write(&draft, content(2)).expect("written");
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o000)).expect("closed");
        fs::rename(&draft, &path).expect("renamed");
        let until = Instant::now() + Duration::from_millis(300);
        while Instant::now() < until {
            assert_eq!(version(&socket, &name), Ok(1));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened");
        wait_until("the new content", || version(&socket, &name) == Ok(2));
    }
    assert!(
        !server.log().contains("ermission denied"),
        "{}",
        server.log()
    );
}

/// Whether the tests run as root.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[test]
fn an_edit_while_no_descriptor_is_free_is_read_later() {
    if tool("prlimit").is_none() {
        return;
    }
    let server = start("no-descriptor");
    let socket = client(&server);
    let pid = server.pid().to_string();
    let limit = |most: &str| {
        let status = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--nofile={most}")])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "prlimit");
    };
    let soft = format!("3:{}", hard_limit(server.pid()));
    limit(&soft);
    replace(&server.dir().join("zone"), &zone(2));
    replace(&server.dir().join("hosts.txt"), &hosts(2));
    server.wait_for_log("Failed to read hosts.txt: Too many open files");
    server.wait_for_log("Too many open files");
    assert_eq!(version(&socket, "h0.example.org"), Ok(1));
    assert_eq!(version(&socket, "h0.lan"), Ok(1));
    let all = hard_limit(server.pid());
    limit(&format!("{all}:{all}"));
    wait_until("the zone", || version(&socket, "h0.example.org") == Ok(2));
    wait_until("the hosts", || version(&socket, "h0.lan") == Ok(2));
}

/// The hard limit of a process's descriptors.
fn hard_limit(pid: u32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let word = line.and_then(|line| line.split_whitespace().nth(4));
    word.expect("a limit").to_owned()
}

#[test]
fn a_directory_that_goes_and_comes_is_watched_anew() {
    let dir = temporary_directory("directories");
    let (upper, folder) = (dir.join("upper"), dir.join("upper/data"));
    let fill = |version: u32| {
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("zone"), zone(version)).expect("written");
        fs::write(folder.join("hosts.txt"), hosts(version)).expect("written");
    };
    fill(1);
    let corefile = COREFILE
        .replace("hosts.txt", "upper/data/hosts.txt")
        .replace("file zone", "file upper/data/zone");
    let server = Server::start_in(&dir, &corefile);
    let socket = client(&server);
    let mut version_now = 1;
    let mut served = |what: &str, edit: &mut dyn FnMut(u32)| {
        version_now += 1;
        edit(version_now);
        for name in ["h19.example.org", "h19.lan"] {
            wait_until(&format!("{name} after {what}"), || {
                let now = version(&socket, name).expect("never nothing");
                assert!(now + 1 >= version_now, "{name} after {what}: {now}");
                now == version_now
            });
        }
    };
    let edit_whole = |version: u32| {
        replace(&folder.join("zone"), &zone(version));
        replace(&folder.join("hosts.txt"), &hosts(version));
    };
    for round in 0..3 {
        served("it was removed and made again", &mut |version| {
            fs::remove_dir_all(&folder).expect("removed");
            fill(version);
        });
        served("an edit", &mut |version| edit_whole(version));
        served("it was renamed away and back", &mut |version| {
            fs::rename(&folder, dir.join("away")).expect("renamed");
            if round > 0 {
                thread::sleep(Duration::from_millis(300));
            }
            fs::rename(dir.join("away"), &folder).expect("renamed");
            edit_whole(version);
        });
        served("another took its name", &mut |version| {
            fs::rename(&folder, dir.join("old")).expect("renamed");
            fill(version);
            fs::remove_dir_all(dir.join("old")).expect("removed");
        });
        served("the one above was renamed and made again", &mut |version| {
            fs::rename(&upper, dir.join("old")).expect("renamed");
            fill(version);
            fs::remove_dir_all(dir.join("old")).expect("removed");
        });
        served("an edit at the end", &mut |version| edit_whole(version));
    }
}

#[test]
fn without_watches_files_are_polled_and_that_is_said_once() {
    if tool("unshare").is_none() {
        return;
    }
    let none = "echo 0 > /proc/sys/user/max_inotify_watches";
    let may = Command::new("unshare")
        .args(["-r", "sh", "-c", none])
        .output();
    if !may.is_ok_and(|out| out.status.success()) {
        skip("user namespaces may not be made here (unshare -r)");
        return;
    }
    let dir = temporary_directory("polled");
    fs::write(dir.join("zone"), zone(1)).expect("written");
    fs::write(dir.join("hosts.txt"), hosts(1)).expect("written");
    let script = format!("{none} && exec \"$@\"");
    let server = Server::start_by(
        &dir,
        COREFILE,
        &["unshare", "-r", "sh", "-c", &script, "sh"],
    );
    let told = "The kernel does not report all edits, so files are checked every 2 s: no more inotify watches";
    server.wait_for_log(told);
    never_half(&server, "example.org", 2, || {
        write_slowly(&dir.join("zone"), &zone(2), Duration::from_millis(1_000));
    });
    never_half(&server, "lan", 2, || {
        append(
            &dir.join("hosts.txt"),
            &hosts(2),
            3,
            Duration::from_millis(400),
        );
    });
    assert_eq!(server.log().matches(told).count(), 1, "{}", server.log());
}

#[test]
fn a_file_that_is_mounted_alone_is_followed() {
    if tool("unshare").is_none() {
        return;
    }
    let may = Command::new("unshare")
        .args(["-rm", "mount", "--bind", "/dev/null", "/dev/zero"])
        .output();
    if !may.is_ok_and(|out| out.status.success()) {
        skip("mount namespaces may not be made here (unshare -rm)");
        return;
    }
    let dir = temporary_directory("mounted");
    let outside = dir.join("outside");
    fs::create_dir_all(&outside).expect("made");
    for (name, content) in [("zone", zone(1)), ("hosts.txt", hosts(1))] {
        fs::write(outside.join(name), content).expect("written");
        fs::write(dir.join(name), "").expect("a place to mount at");
    }
    // As a container does with a ConfigMap's subPath, or `docker run -v FILE:FILE`.
    let script =
        "mount --bind outside/zone zone && mount --bind outside/hosts.txt hosts.txt && exec \"$@\"";
    let server = Server::start_by(
        &dir,
        COREFILE,
        &["unshare", "-rm", "sh", "-c", script, "sh"],
    );
    let began = Instant::now();
    never_half(&server, "example.org", 2, || {
        write_slowly(&outside.join("zone"), &zone(2), Duration::from_millis(300));
    });
    never_half(&server, "lan", 2, || {
        write_slowly(
            &outside.join("hosts.txt"),
            &hosts(2),
            Duration::from_millis(300),
        );
    });
    // The zone is looked at once a minute: it is heard that it was written.
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{}",
        server.log()
    );
}

/// The ways to write a file.
const WAYS: [&str; 10] = [
    "rename",
    "rename",
    "sed",
    "copy over",
    "pause",
    "append",
    "backup",
    "link",
    "swap",
    "hard link",
];

/// Writes `text` to `path` in one way; `number` tells uses apart.
fn write(way: &str, path: &Path, text: &str, number: u32) {
    let beside = |name: &str| {
        let file = path.file_name().expect("a name").to_string_lossy();
        path.with_file_name(format!(".{file}.{name}.{number}"))
    };
    let name = |path: &Path| PathBuf::from(path.file_name().expect("a name"));
    match way {
        "sed" => {
            // A copy beside it, with the mode of the old one, renamed into place.
            let draft = beside("sed");
            fs::write(&draft, text).expect("written");
            fs::set_permissions(&draft, fs::Permissions::from_mode(0o640)).expect("set");
            fs::rename(draft, path).expect("renamed");
        }
        "copy over" => fs::write(path, text).expect("written"),
        "pause" => write_slowly(
            path,
            text,
            Duration::from_millis(u64::from(30 + number % 5 * 100)),
        ),
        "append" => append(path, text, 3, Duration::from_millis(60)),
        "backup" => {
            // As vim with a backup: the old file goes away, a new one is written under its name.
            fs::rename(path, beside("backup")).expect("renamed");
            fs::write(path, text).expect("written");
            fs::remove_file(beside("backup")).expect("removed");
        }
        "link" => {
            // The name becomes a symbolic link.
            let (target, link) = (beside("target"), beside("link"));
            fs::write(&target, text).expect("written");
            symlink(name(&target), &link).expect("linked");
            fs::rename(link, path).expect("renamed");
        }
        "swap" => {
            // A ConfigMap: the link in the middle is swapped.
            for round in 0..2u32 {
                let (folder, link) = (
                    beside("folder").with_extension(format!("{round}")),
                    beside("next"),
                );
                fs::create_dir_all(&folder).expect("made");
                fs::write(folder.join("content"), text).expect("written");
                symlink(name(&folder), &link).expect("linked");
                let data = beside("data");
                fs::rename(link, &data).expect("renamed");
                if round == 0 {
                    symlink(name(&data).join("content"), beside("link")).expect("linked");
                    fs::rename(beside("link"), path).expect("renamed");
                }
            }
        }
        "hard link" => {
            // Written through another name of the same file.
            let other = path.with_file_name("elsewhere").join(format!("{number}"));
            fs::create_dir_all(path.with_file_name("elsewhere")).expect("made");
            fs::write(&other, fs::read(path).expect("read")).expect("written");
            fs::hard_link(&other, beside("hard")).expect("linked");
            fs::rename(beside("hard"), path).expect("renamed");
            fs::write(&other, text).expect("written");
        }
        _ => replace(path, text),
    }
}

/// One source under torture.
struct Victim {
    path: PathBuf,
    /// Names of each version.
    names: Vec<String>,
    content: Box<dyn Fn(u32) -> String + Send + Sync>,
    edits: u32,
    /// The version that was seen served last, and the one that is written.
    served: AtomicU32,
    written: AtomicU32,
}

#[test]
fn three_hundred_edits_lose_nothing_and_show_nothing_half() {
    let dir = temporary_directory("torture");
    let names = |zone: &str| {
        (0..NAMES)
            .map(|n| format!("h{n}.{zone}"))
            .collect::<Vec<_>>()
    };
    let mut blocks = String::new();
    let mut victims = Vec::new();
    for (number, kind) in ["file", "hosts", "file", "hosts"].into_iter().enumerate() {
        let folder = dir.join(format!("{kind}{number}"));
        fs::create_dir_all(&folder).expect("made");
        let path = folder.join("content");
        let apex = format!("{kind}{number}.example");
        blocks += &format!(
            "{apex}:{{PORT}} {{\n  bind 127.0.0.1\n  {kind} {kind}{number}/content {apex}\n}}\n"
        );
        let content: Box<dyn Fn(u32) -> String + Send + Sync> = if kind == "file" {
            Box::new(zone)
        } else {
            let apex = apex.clone();
            Box::new(move |version| hosts(version).replace("lan", &apex))
        };
        fs::write(&path, content(1)).expect("written");
        victims.push(Victim {
            path,
            names: names(&apex),
            content,
            edits: 66,
            served: AtomicU32::new(1),
            written: AtomicU32::new(1),
        });
    }
    let corefile = move |version: u32| corefile(version) + &blocks;
    let server = Server::start_in(&dir, &corefile(1));
    let port = server.port().to_string();
    victims.push(Victim {
        path: dir.join("Corefile"),
        names: vec!["h.one.example".to_owned(), "h.two.example".to_owned()],
        content: Box::new(move |version| corefile(version).replace("{PORT}", &port)),
        edits: 36,
        served: AtomicU32::new(1),
        written: AtomicU32::new(1),
    });

    let over = AtomicBool::new(false);
    let began = Instant::now();
    let asked: u32 = thread::scope(|scope| {
        let loads: Vec<_> = (0..2)
            .map(|part| {
                scope.spawn({
                    let (server, victims, over) = (&server, &victims, &over);
                    move || load(server, victims, part, over)
                })
            })
            .collect();
        let edits: Vec<_> = victims
            .iter()
            .map(|victim| scope.spawn(|| torture(&server, victim)))
            .collect();
        let tortured: Vec<_> = edits.into_iter().map(|edit| edit.join()).collect();
        over.store(true, Ordering::Relaxed);
        let asked = loads
            .into_iter()
            .map(|load| load.join().expect("the load"))
            .sum();
        for result in tortured {
            result.expect("edited");
        }
        asked
    });
    let took = began.elapsed();
    crate::attacks::figure(&format!(
        "300 edits in {took:?} under {asked} queries: none lost"
    ));
    assert!(asked > 1_000, "{asked} queries");
}

/// Edits a source in all ways, and waits each time until the new content is served.
fn torture(server: &Server, victim: &Victim) {
    let socket = client(server);
    let last = victim.names.last().expect("a name");
    for number in 0..victim.edits {
        let way = WAYS[number as usize % WAYS.len()];
        let next = number + 2;
        victim.written.store(next, Ordering::SeqCst);
        write(way, &victim.path, &(victim.content)(next), next);
        let written = Instant::now();
        while version(&socket, last).unwrap_or_else(|error| panic!("{way}: {error}")) != next {
            assert!(
                written.elapsed() < Duration::from_secs(15),
                "{way} of {}: version {next} is not served\n{}",
                victim.path.display(),
                server.log()
            );
        }
        victim.served.store(next, Ordering::SeqCst);
    }
}

/// Asks all names in turn until it is over; gives how often.
fn load(server: &Server, victims: &[Victim], part: usize, over: &AtomicBool) -> u32 {
    let socket = client(server);
    let mut asked = 0;
    while !over.load(Ordering::Relaxed) {
        for victim in victims {
            for name in victim.names.iter().skip(part).step_by(2) {
                let oldest = victim.served.load(Ordering::SeqCst);
                let found = version(&socket, name)
                    .unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
                let newest = victim.written.load(Ordering::SeqCst);
                assert!(
                    (oldest..=newest).contains(&found),
                    "{name}: {found} is not within {oldest} and {newest}\n{}",
                    server.log()
                );
                asked += 1;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    asked
}
