//! Attacks on the process: reloads without end under load, a stop under load, files that are rubbish or enormous.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::attacks::{a, descriptors, figure, flood, rcode, status, steady};
use crate::server::{
    Reply, Server, Upstream, answer, ask_udp, free_port, nameplate, temporary_directory, wait_until,
};

#[test]
fn a_hundred_reloads_under_load_lose_nothing_and_leave_nothing() {
    let upstream =
        Upstream::start(|asked| Reply::Octets(answer(asked.octets, 60, &[[192, 0, 2, 7]])));
    let other = free_port();
    let base = format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  hosts {{\n    192.0.2.1 www.example.org\n    fallthrough\n  }}\n  cache 60\n  forward . {}\n}}\n",
        upstream.address()
    );
    let more = format!("{base}.:{other} {{\n  bind 127.0.0.1\n  whoami\n}}\n");
    let broken = format!("{base}.:{other} {{\n  bind 127.0.0.1\n  nonsense here\n");
    let server = Server::start("storm", &base);
    let reloads = |count: usize| {
        let before = server.log().matches("SIGUSR1: Reloading").count();
        for number in 0..count {
            server.rewrite_corefile(match number % 4 {
                0 => &more,
                1 => &base,
                2 => &broken,
                _ => &more,
            });
            server.signal("USR1");
            let done = before + number + 1;
            // Each is over before the next: a signal that is pending swallows its successors.
            wait_until("a reload", || {
                let log = server.log();
                log.matches("Reloading complete").count() + log.matches("Restart failed").count()
                    >= done
            });
        }
    };
    let load = |asked: usize| {
        flood(
            server.address(),
            asked,
            |number, octets| {
                let name = match number % 3 {
                    0 => "www.example.org".to_owned(),
                    1 => format!("f{}.example.org", number % 50),
                    _ => format!("c{number}.example.org"),
                };
                octets.extend_from_slice(&a(&name));
            },
            |reply| assert_eq!((rcode(reply), reply[7]), (0, 1), "{reply:02x?}"),
        )
    };
    assert_eq!(load(2_000), 0);
    reloads(8);
    let all = || {
        (
            descriptors(&server),
            status(&server, "Threads"),
            status(&server, "VmRSS"),
        )
    };
    let before = steady(all);
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let (asked, lost) = std::thread::scope(|scope| {
        let loads = scope.spawn(|| {
            let (mut asked, mut lost) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                lost += load(960);
                asked += 960;
            }
            (asked, lost)
        });
        reloads(100);
        stop.store(true, Ordering::Relaxed);
        loads.join().expect("the load")
    });
    let took = began.elapsed();
    server.rewrite_corefile(&base);
    server.signal("USR1");
    wait_until("descriptors to return", || descriptors(&server) <= before.0);
    let after = steady(all);
    figure(&format!(
        "100 reloads in {took:?} under {asked} queries: {lost} lost; descriptors, threads, KiB {before:?} before, {after:?} after"
    ));
    assert_eq!(lost, 0);
    assert!(after.1 <= before.1, "threads: {before:?} {after:?}");
    assert!(
        after.2 < before.2 + (16 << 10),
        "memory: {before:?} {after:?}"
    );
}

#[test]
fn a_stop_answers_what_waits() {
    let upstream = Upstream::start(|asked| {
        Reply::After(
            Duration::from_millis(500),
            answer(asked.octets, 60, &[[192, 0, 2, 7]]),
        )
    });
    let server = Server::start(
        "stop",
        &format!(
            ".:{{PORT}} {{\n  bind 127.0.0.1\n  forward . {}\n}}\n",
            upstream.address()
        ),
    );
    let address = server.address();
    let client = std::thread::spawn(move || {
        ask_udp(address, &a("slow.example.org"), Duration::from_secs(3))
    });
    wait_until("the query to be forwarded", || upstream.udp_queries() > 0);
    let began = Instant::now();
    assert!(server.stop().success());
    assert!(began.elapsed() < Duration::from_secs(5));
    let reply = client.join().expect("the client").expect("an answer");
    assert_eq!(rcode(&reply), 0);
}

#[test]
fn rubbish_and_a_million_lines_of_hosts_do_not_stop_it() {
    let dir = temporary_directory("rubbish");
    let mut rubbish: Vec<u8> = vec![0xEF, 0xBB, 0xBF];
    rubbish.extend_from_slice(b"192.0.2.1 good.example.org\r\n");
    rubbish.extend_from_slice(b"999.1.1.1 bad.example.org\n\n# comment\n192.0.2.2\n");
    rubbish.extend_from_slice(format!("192.0.2.3 {}.example.org\n", "x".repeat(300)).as_bytes());
    rubbish.extend_from_slice(b"fe80::1%eth0 zone.example.org\n192.0.2.4 a..b\n");
    rubbish.extend((0..65_536_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    rubbish.extend_from_slice(b"\n192.0.2.5 last.example.org");
    std::fs::write(dir.join("rubbish.hosts"), rubbish).expect("written");
    let mut many = String::with_capacity(40 << 20);
    for number in 0..300_000_u32 {
        let [_, b, c, d] = number.to_be_bytes();
        many.push_str(&format!("10.{b}.{c}.{d} h{number}.example.net\n"));
    }
    std::fs::write(dir.join("many.hosts"), many).expect("written");
    let began = Instant::now();
    let server = Server::start_in(
        &dir,
        "example.org:{PORT} {\n  bind 127.0.0.1\n  hosts rubbish.hosts\n}\nexample.net:{PORT} {\n  bind 127.0.0.1\n  hosts many.hosts\n}\n",
    );
    figure(&format!(
        "300000 lines of hosts: started in {:?}, {} MiB",
        began.elapsed(),
        status(&server, "VmRSS") >> 10
    ));
    for name in [
        "good.example.org",
        "last.example.org",
        "h299999.example.net",
    ] {
        let reply = server.ask(&a(name)).expect("an answer");
        assert_eq!((rcode(&reply), reply[7]), (0, 1), "{name}");
    }
}

#[test]
fn corefile_bombs_end_with_a_message() {
    let deep = format!("{}\n", "import (\n".repeat(10_000));
    let nested = format!(". {{\n{}", "  hosts {\n".repeat(20_000));
    let long = format!(". {{\n  whoami {}\n}}\n", "x".repeat(2 << 20));
    let keys = format!("{} {{\n  whoami\n}}\n", "a.example.org ".repeat(100_000));
    let mut doubling = String::from("(s0) {\n  whoami\n}\n");
    for level in 1..40 {
        let below = level - 1;
        doubling.push_str(&format!(
            "(s{level}) {{\n  import s{below}\n  import s{below}\n}}\n"
        ));
    }
    doubling.push_str(". {\n  import s39\n}\n");
    for (name, text) in [
        ("a file that imports itself", "import Corefile\n".to_owned()),
        ("a glob with itself in it", "import *\n".to_owned()),
        (
            "a snippet of itself",
            "(a) {\n  import a\n}\n. {\n  import a\n}\n".to_owned(),
        ),
        (
            "two snippets",
            "(a) {\n  import b\n}\n(b) {\n  import a\n}\n. {\n  import a\n}\n".to_owned(),
        ),
        ("doubling snippets", doubling),
        ("open parentheses", deep),
        ("open braces", nested),
        ("a long word", long),
        ("a hundred thousand keys", keys),
        ("an open quote", ". {\n  whoami \"".to_owned()),
        ("octets", "\u{0}\u{1}\u{FFFD}{}{}}{".to_owned()),
        ("a device", "import /dev/zero\n".to_owned()),
    ] {
        let dir = temporary_directory("bomb");
        std::fs::write(dir.join("Corefile"), text).expect("written");
        let began = Instant::now();
        let mut child = nameplate(&dir)
            .args(["check", "-conf", "Corefile"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut most = 0;
        let status = loop {
            if let Ok(Some(status)) = child.try_wait() {
                break Some(status);
            }
            let text = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
            let rss = text.unwrap_or_default();
            let rss = rss.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let rss = rss.and_then(|rss| rss.split_whitespace().next()?.parse::<u64>().ok());
            most = most.max(rss.unwrap_or(0));
            if began.elapsed() > Duration::from_secs(8) || most > 1 << 20 {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        figure(&format!(
            "{name}: {:?}, {} MiB, {status:?}",
            began.elapsed(),
            most >> 10
        ));
        let status = status.unwrap_or_else(|| panic!("{name}: no end, {most} KiB"));
        assert!(
            status.code().is_some_and(|code| code < 100),
            "{name}: {status}"
        );
    }
}

#[test]
fn more_load_than_it_takes_is_survived() {
    let server = Server::start(
        "overload",
        ".:{PORT} {\n  bind 127.0.0.1\n  cache\n  hosts {\n    192.0.2.1 www.example.org\n  }\n}\n",
    );
    let stop = AtomicBool::new(false);
    let before = status(&server, "VmRSS");
    let slowest = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
                socket.connect(server.address()).expect("a peer");
                let octets = a("www.example.org");
                // Replies are never read.
                while !stop.load(Ordering::Relaxed) {
                    let _ = socket.send(&octets);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(1_500));
        stop.store(true, Ordering::Relaxed);
        let began = Instant::now();
        // What found the socket's buffer full is lost, as datagrams are; its client asks again.
        wait_until("an answer after the flood", || {
            ask_udp(
                server.address(),
                &a("www.example.org"),
                Duration::from_millis(200),
            )
            .is_some()
        });
        began.elapsed()
    });
    let grown = status(&server, "VmRSS").saturating_sub(before);
    figure(&format!(
        "after 1.5 s of flood the next answer takes {slowest:?}; {grown} KiB"
    ));
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    assert!(grown < 16 << 10, "{grown} KiB");
}
