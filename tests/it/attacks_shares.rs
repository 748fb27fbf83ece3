//! Attacks on what clients share: places for queries that wait, connections, octets, pages, the port itself. Somebody takes as much as
//! can be had, and somebody else is served as if nothing were.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::attacks::{a, alive, figure, get, query, rcode, status};
use crate::attacks_streams::{framed, is_closed, limit_files};
use crate::server::{
    Reply, Server, Upstream, answer, ask_udp, free_port, nameplate, read_message,
    temporary_directory, tool, wait_until, write_message,
};

/// Lets this process have the sockets that its tests need.
fn have_files() {
    limit_files(std::process::id(), "16384:");
}

/// An upstream that answers names below `good.example.org`, and nothing else.
fn half_silent() -> Upstream {
    Upstream::start(|asked| {
        let good = asked.octets.windows(5).any(|part| part == b"\x04good");
        match good {
            true => Reply::Octets(answer(asked.octets, 60, &[[192, 0, 2, 7]])),
            false => Reply::Nothing,
        }
    })
}

fn forwarding(upstream: &Upstream) -> String {
    format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1 ::1\n  hosts {{\n    192.0.2.1 www.example.org\n    fallthrough\n  }}\n  forward . {}\n}}\n",
        upstream.address()
    )
}

/// A connection from an address of loopback.
fn connect_from(from: impl Into<IpAddr>, port: u16) -> std::io::Result<TcpStream> {
    let from = SocketAddr::new(from.into(), 0);
    let to: IpAddr = match from.is_ipv4() {
        true => Ipv4Addr::LOCALHOST.into(),
        false => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let domain = socket2::Domain::for_address(from);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&SocketAddr::new(to, port).into(), Duration::from_secs(5))?;
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// How many of ten clients at an address, each on a connection of its own, are answered.
fn ten_by_tcp(from: Ipv4Addr, port: u16) -> usize {
    let answered = |_: &usize| {
        let mut stream = connect_from(from, port).ok()?;
        write_message(&mut stream, &a("www.example.org")).ok()?;
        let reply = read_message(&mut stream).ok()?;
        (rcode(&reply) == 0 && reply[7] == 1).then_some(())
    };
    (0..10).filter(|n| answered(n).is_some()).count()
}

/// Starts a server that may have this many files open.
fn start_with_files(test: &str, corefile: &str, files: &str) -> Option<(Child, u16)> {
    let prlimit = tool("prlimit")?;
    let (dir, port) = (temporary_directory(test), free_port());
    let text = corefile.replace("{PORT}", &port.to_string());
    std::fs::write(dir.join("Corefile"), text).expect("written");
    let child = Command::new(prlimit)
        .arg(format!("--nofile={files}"))
        .arg(env!("CARGO_BIN_EXE_nameplate"))
        .args(["-conf", "Corefile"])
        .current_dir(&dir)
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let child = Child(child);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_until("the first answer", || {
        ask_udp(address, &a("www.example.org"), Duration::from_millis(200)).is_some()
    });
    Some((child, port))
}

/// A process that is killed when dropped.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_flood_below_a_silent_upstream_costs_others_nothing() {
    const RATE: usize = 2_000;
    const SECONDS: usize = 4;
    let upstream = half_silent();
    let server = Server::start("flooded", &forwarding(&upstream));
    let stop = AtomicBool::new(false);
    let (asked, answered, told) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
            socket.connect(server.address()).expect("a peer");
            socket.set_nonblocking(true).expect("a mode");
            let (began, mut buffer, mut told) = (Instant::now(), [0; 512], 0);
            for sent in 0..RATE * SECONDS {
                let name = format!("f{sent}.{:x}.example.org", sent * 0x9E37_79B1);
                let _ = socket.send(&a(&name));
                while socket.recv(&mut buffer).is_ok() {
                    told += usize::from(rcode(&buffer) == 2);
                }
                let due = Duration::from_secs_f64(sent as f64 / RATE as f64);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
            stop.store(true, Ordering::Relaxed);
            told
        });
        let (mut asked, mut answered) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            // A socket each, so that the kernel gives some to the worker that is flooded.
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).expect("a socket");
            socket.connect(server.address()).expect("a peer");
            let patience = Some(Duration::from_secs(2));
            socket.set_read_timeout(patience).expect("a timeout");
            let name = format!("n{asked}.good.example.org");
            socket.send(&a(&name)).expect("sent");
            let mut buffer = [0; 512];
            let good = socket.recv(&mut buffer).is_ok() && rcode(&buffer) == 0;
            (asked, answered) = (asked + 1, answered + usize::from(good));
        }
        (asked, answered, flood.join().expect("the flood"))
    });
    figure(&format!(
        "beside {RATE} names/s below a silent upstream {answered} of {asked} are answered; {told} of the flood are told"
    ));
    assert!(asked > 50, "{asked} queries");
    assert!(answered * 100 >= asked * 99, "{answered} of {asked}");
}

#[test]
fn connections_that_wait_leave_others_theirs() {
    have_files();
    let upstream = half_silent();
    // The soft limit is what a shell gives; where the hard one is no higher either, whoever has most makes room.
    for files in ["1024:16384", "1024"] {
        let Some((_server, port)) =
            start_with_files("waiting-connections", &forwarding(&upstream), files)
        else {
            return;
        };
        let mut waiting = Vec::new();
        for n in 0..900_u16 {
            let from = Ipv4Addr::new(127, 0, 0, 2 + (n % 2) as u8);
            let Ok(mut stream) = connect_from(from, port) else {
                break;
            };
            let _ = write_message(&mut stream, &a(&format!("w{n}.example.org")));
            waiting.push(stream);
        }
        assert!(waiting.len() > 700, "{} connections", waiting.len());
        let answered = ten_by_tcp(Ipv4Addr::new(127, 0, 0, 9), port);
        figure(&format!(
            "beside {} connections that wait, with {files} files, {answered} of 10 are answered",
            waiting.len()
        ));
        assert_eq!(answered, 10, "with {files} files");
    }
}

#[test]
fn a_prefix_full_of_connections_evicts_nobody_else() {
    have_files();
    let upstream = half_silent();
    // No connection ends because it was idle.
    let patient = "  timeouts {\n    idle 60s\n  }\n  hosts";
    let corefile = forwarding(&upstream).replace("  hosts", patient);
    let Some((_server, port)) = start_with_files("prefix", &corefile, "1024") else {
        return;
    };
    let mut honest = connect_from(Ipv4Addr::new(127, 0, 0, 9), port).expect("a connection");
    write_message(&mut honest, &a("www.example.org")).expect("written");
    read_message(&mut honest).expect("an answer");
    let began = Instant::now();
    let mut greedy = Vec::new();
    for _ in 0..3_900 {
        let Ok(stream) = connect_from(std::net::Ipv6Addr::LOCALHOST, port) else {
            break;
        };
        greedy.push(stream);
    }
    assert!(greedy.len() > 3_000, "{} connections", greedy.len());
    let closed = greedy
        .iter_mut()
        .filter_map(|stream| {
            let brief = Some(Duration::from_millis(1));
            stream.set_read_timeout(brief).ok()?;
            is_closed(stream).then_some(())
        })
        .count();
    figure(&format!(
        "of {} connections of one prefix {closed} were closed in {:?}",
        greedy.len(),
        began.elapsed()
    ));
    assert!(closed > 2_000, "{closed}");
    write_message(&mut honest, &a("www.example.org")).expect("written");
    assert_eq!(read_message(&mut honest).expect("an answer")[7], 1);
}

#[test]
fn messages_that_never_end_cost_bounded_memory() {
    have_files();
    const CONNECTIONS: usize = 4_000;
    let local = ".:{PORT} {\n  bind 127.0.0.1\n  hosts {\n    192.0.2.1 www.example.org\n  }\n}\n";
    let server = Server::start("unending", local);
    let before = status(&server, "VmRSS");
    let mut part = vec![0xFF, 0xFF];
    part.resize(65_000, 0);
    let mut streams = Vec::new();
    let mut most = before;
    for n in 0..CONNECTIONS {
        let Ok(mut stream) = TcpStream::connect(server.address()) else {
            break;
        };
        let brief = Some(Duration::from_millis(100));
        stream.set_write_timeout(brief).expect("a timeout");
        // One that is closed meanwhile makes no difference.
        let _ = stream.write_all(&part);
        streams.push(stream);
        if n % 100 == 0 {
            most = most.max(status(&server, "VmRSS"));
            assert_eq!(ten_by_tcp(Ipv4Addr::LOCALHOST, server.port()), 10);
        }
    }
    most = most.max(status(&server, "VmRSS"));
    figure(&format!(
        "{} connections with 65,000 octets of a message each: {} MiB, {} MiB before",
        streams.len(),
        most >> 10,
        before >> 10
    ));
    assert!(streams.len() > 3_000, "{} connections", streams.len());
    // The 8 MiB of octets that connections may hold, and what a connection itself takes; how large the program is does not matter.
    let grown = most.saturating_sub(before);
    assert!(grown <= 24 << 10, "{before} KiB, then {most} KiB");
    assert_eq!(ten_by_tcp(Ipv4Addr::LOCALHOST, server.port()), 10);
    alive_by_hosts(&server);
}

fn alive_by_hosts(server: &Server) {
    let reply = server.ask(&a("www.example.org")).expect("an answer");
    assert_eq!((rcode(&reply), reply[7]), (0, 1));
}

#[test]
fn a_large_page_that_nobody_reads_costs_bounded_memory() {
    const CLIENTS: usize = 300;
    let [metrics, health] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let mut corefile = String::new();
    for zone in 0..260 {
        corefile.push_str(&format!(
            "z{zone}.example.org:{{PORT}} {{\n  bind 127.0.0.1\n  prometheus {metrics}\n  whoami\n}}\n"
        ));
    }
    corefile.push_str(&format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  health {health}\n  prometheus {metrics}\n  whoami\n}}\n"
    ));
    let server = Server::start("pages", &corefile);
    for zone in 0..260 {
        for (name, qtype) in [("a", 1), ("b", 28), ("c", 16), ("d", 6)] {
            let name = format!("{name}.z{zone}.example.org");
            server
                .ask(&query(0x0100, &name, qtype, 1))
                .expect("an answer");
        }
    }
    let page = get(metrics, "/metrics").expect("a page");
    let before = status(&server, "VmRSS");
    let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
    let times = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let (clients, most) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                assert!(get(health, "/health").is_ok_and(|page| page.ends_with("OK")));
                times.lock().expect("a lock").push(began.elapsed());
            }
        });
        let clients: Vec<TcpStream> = (0..CLIENTS)
            .filter_map(|_| {
                let mut stream = TcpStream::connect(metrics).ok()?;
                stream.write_all(requests.as_bytes()).ok()?;
                Some(stream)
            })
            .collect();
        // Until the server is done with what it can do.
        let (mut most, began) = (before, Instant::now());
        while began.elapsed() < Duration::from_secs(3) {
            most = most.max(status(&server, "VmRSS"));
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        (clients, most)
    });
    let (grown, mut times) = (most - before, times.into_inner().expect("a lock"));
    times.sort();
    // The worst of hundreds is the machine's.
    let usual = times[times.len() * 9 / 10];
    figure(&format!(
        "{} clients that never read a page of {} KiB: {grown} KiB more, /health takes {usual:?}, once in ten times more",
        clients.len(),
        page.len() >> 10
    ));
    assert!(page.len() > 1 << 20, "{} octets", page.len());
    assert!(grown <= 16 << 10, "{grown} KiB");
    assert!(usual <= Duration::from_millis(50), "{usual:?}");
    drop(clients);
    assert_eq!(
        get(metrics, "/metrics").expect("a page").lines().last(),
        page.lines().last(),
        "a client that reads gets all"
    );
}

#[test]
fn a_service_that_answers_anything_ends_the_conversation() {
    const ROUNDS: usize = 5_000;
    let dir = temporary_directory("services");
    let zone = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/example.org.zone");
    std::fs::copy(zone, dir.join("example.org.zone")).expect("the zone is copied");
    let server = Server::start_in(
        &dir,
        "example.org {\n  bind 127.0.0.1\n  file example.org.zone\n}\n",
    );
    let question = query(0, "www.example.org", 1, 1);
    let bare = |reply: &[u8]| {
        let mut query = reply.to_vec();
        query[2] &= 0x7F;
        query
    };
    let garbage = |reply: &[u8]| {
        let mut text = b"  !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQ".to_vec();
        text[..2].copy_from_slice(&reply[..2]);
        text[2] = 0;
        text
    };
    let again = |_: &[u8]| question.clone();
    type Style<'a> = (&'a str, &'a dyn Fn(&[u8]) -> Vec<u8>);
    let styles: [Style<'_>; 4] = [
        ("an echo", &|reply| reply.to_vec()),
        ("an echo that clears QR", &bare),
        ("lines of characters", &garbage),
        ("the same query", &again),
    ];
    for port in [7, 13, 17, 19, 37, 69, 123] {
        for (style, next) in &styles {
            let socket = match UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 77), port)) {
                Ok(socket) => socket,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    return crate::server::skip("ports below 1024 need a privilege");
                }
                Err(error) => panic!("port {port}: {error}"),
            };
            socket.connect(server.address()).expect("a peer");
            let brief = Some(Duration::from_millis(100));
            socket.set_read_timeout(brief).expect("a timeout");
            let (mut rounds, mut buffer) = (0, [0; 4_096]);
            socket.send(&question).expect("sent");
            while rounds < ROUNDS
                && let Ok(len) = socket.recv(&mut buffer)
            {
                rounds += 1;
                socket.send(&next(&buffer[..len])).expect("sent");
            }
            assert!(rounds <= 20, "{style} on port {port}: {rounds} rounds");
        }
    }
    alive(&server);
}

#[test]
fn a_second_server_is_refused_unless_it_takes_over() {
    let dir = temporary_directory("second");
    let pidfile = dir.join("pid");
    let corefile =
        ".:{PORT} {\n  bind 127.0.0.1\n  hosts {\n    192.0.2.1 www.example.org\n  }\n}\n";
    let arguments = ["-pidfile", pidfile.to_str().expect("a path")];
    let first = Server::start_with(&dir, corefile, &arguments);
    let second = |more: &[&str]| {
        nameplate(&dir)
            .args(["-conf", "Corefile"])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started")
    };
    let mut refused = Child(second(&arguments));
    wait_until("the second server to be refused", || {
        refused.0.try_wait().is_ok_and(|status| status.is_some())
    });
    let mut said = String::new();
    let mut stderr = refused.0.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut said).expect("text");
    assert!(
        refused.0.wait().is_ok_and(|status| !status.success()),
        "{said}"
    );
    let held = format!("nameplate (pid {})", first.pid());
    assert!(
        said.contains("address already in use") && said.contains(&held),
        "{said}"
    );
    let pid = std::fs::read_to_string(&pidfile).expect("the first one's");
    assert_eq!(pid.trim(), first.pid().to_string());
    alive_by_hosts(&first);
    // A reload binds beside what the same process has: no address, then one of them.
    let port = first.port();
    for bind in ["", "  bind 127.0.0.1\n", "", "  bind 127.0.0.1 127.0.0.2\n"] {
        let before = first.log().matches("Reloading complete").count();
        first.rewrite_corefile(&corefile.replace("  bind 127.0.0.1\n", bind));
        first.signal("USR1");
        wait_until("the reload", || {
            first.log().matches("Reloading complete").count() > before
        });
        alive_by_hosts(&first);
    }
    // Asked to, the second one serves beside the first, and alone after it.
    let mut next = Child(second(&["--takeover"]));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_until("the sockets of both", || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let listening = format!("0100007F:{port:04X} 00000000:0000 0A");
        table.matches(&listening).count() >= 2 * host::processors()
    });
    assert!(first.stop().success());
    for _ in 0..20 {
        let reply = ask_udp(address, &a("www.example.org"), Duration::from_secs(2));
        assert_eq!(reply.expect("an answer")[7], 1);
    }
    assert!(next.0.try_wait().is_ok_and(|status| status.is_none()));
}

#[test]
fn what_stands_before_an_invalid_length_is_answered() {
    let upstream = half_silent();
    let server = Server::start("invalid-length", &forwarding(&upstream));
    for (name, invalid) in [
        ("www.example.org", &[0, 0][..]),
        ("late.good.example.org", &[0, 0]),
        ("www.example.org", &[0, 11, 1, 2, 3]),
        // What the peer has sent behind it does not reset the connection before the answer is read.
        ("www.example.org", &[0; 40_000]),
    ] {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        let patience = Some(Duration::from_secs(3));
        stream.set_read_timeout(patience).expect("a timeout");
        let together = [framed(&a(name)), invalid.to_vec()].concat();
        stream.write_all(&together).expect("written");
        let reply = read_message(&mut stream).expect("the answer");
        assert_eq!((rcode(&reply), reply[7]), (0, 1), "{name}");
        assert_eq!(stream.read(&mut [0; 1]).expect("then the end"), 0, "{name}");
    }
}
