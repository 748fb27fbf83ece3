//! Attacks on connections: slow ones, many of them, ones that ask without listening, and a process that runs out of descriptors.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::attacks::{
    a, descriptors, figure, flood, get, processor_time, query, rcode, status, steady,
};
use crate::server::{
    Reply, Server, Upstream, answer, ask_tcp, ask_udp, free_port, read_message, tool, wait_until,
    write_message,
};

const LOCAL: &str =
    ".:{PORT} {\n  bind 127.0.0.1\n  hosts {\n    192.0.2.1 www.example.org\n  }\n}\n";

/// A query behind its length.
pub(crate) fn framed(query: &[u8]) -> Vec<u8> {
    let mut out = (query.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(query);
    out
}

/// Lets a process have this many files open: `SOFT:HARD`, or one number for both.
pub(crate) fn limit_files(pid: u32, files: &str) -> bool {
    let Some(prlimit) = tool("prlimit") else {
        return false;
    };
    let status = Command::new(prlimit)
        .args(["--pid", &pid.to_string(), &format!("--nofile={files}")])
        .status();
    status.is_ok_and(|status| status.success())
}

/// The usual and the greatest time of some honest clients, each on a connection of its own.
fn honest(server: &Server, count: usize) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let began = Instant::now();
            let reply = ask_tcp(
                server.address(),
                &a("www.example.org"),
                Duration::from_secs(5),
            );
            assert_eq!(rcode(&reply.expect("an honest client is answered")), 0);
            began.elapsed()
        })
        .collect();
    times.sort();
    (times[count / 2], times[count - 1])
}

/// How many connections to this port of 127.0.0.1 the accepting side holds open.
fn established(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let local = format!("0100007F:{port:04X}");
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&"01"))
        .count()
}

/// Whether the peer has closed: nothing more comes.
pub(crate) fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4_096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            }
        }
    }
}

#[test]
fn two_thousand_slow_connections_hold_nobody() {
    let server = Server::start("slow", LOCAL);
    let _ = server.ask_tcp(&a("www.example.org"));
    let (alone, before, open) = (
        honest(&server, 40),
        status(&server, "VmRSS"),
        descriptors(&server),
    );
    let whole = framed(&a("www.example.org"));
    let began = Instant::now();
    let mut slow = Vec::new();
    for number in 0..2_000 {
        let Ok(mut stream) = TcpStream::connect(server.address()) else {
            break;
        };
        let sent = match number % 4 {
            0 => 0, // connected, and silent
            1 => 1, // half a length, and an octet a second
            2 => 3, // a length and one octet, and an octet a second
            _ => whole.len() - 1,
        };
        let _ = stream.write_all(&whole[..sent]);
        slow.push(stream);
    }
    assert!(slow.len() > 500, "the test itself has too few files");
    let held = descriptors(&server).saturating_sub(open).max(1);
    let drips = AtomicBool::new(true);
    let meanwhile = std::thread::scope(|scope| {
        scope.spawn(|| {
            for second in 1usize.. {
                for (mut stream, number) in slow.iter().zip(0usize..) {
                    if let 1 | 2 = number % 4
                        && drips.load(Ordering::Relaxed)
                    {
                        let at = second + 2 * (number % 4 - 1);
                        let _ = stream.write_all(&whole[at..=at]);
                    }
                }
                let next = began + Duration::from_secs(second as u64);
                while Instant::now() < next {
                    if !drips.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        let mut meanwhile: Vec<(Duration, Duration)> = Vec::new();
        while began.elapsed() < Duration::from_millis(2_500) {
            meanwhile.push(honest(&server, 40));
            std::thread::sleep(Duration::from_millis(20));
        }
        drips.store(false, Ordering::Relaxed);
        let usual = meanwhile.iter().map(|times| times.0).max();
        let worst = meanwhile.iter().map(|times| times.1).max();
        (usual.unwrap_or_default(), worst.unwrap_or_default())
    });
    let each = status(&server, "VmRSS").saturating_sub(before) / held as u64;
    figure(&format!(
        "{held} slow connections: an honest one takes {:?}, at most {:?} (before {:?}, at most {:?}); {each} KiB of memory each",
        meanwhile.0, meanwhile.1, alone.0, alone.1
    ));
    assert!(meanwhile.0 < alone.0 + Duration::from_millis(50));
    // The greatest of hundreds is the machine's as much as ours.
    assert!(meanwhile.1 < alone.1 + Duration::from_millis(500));
    assert!(each <= 16, "{each} KiB each");
    // A message that began is given up after 3 s, silence after 10.
    wait_until("the slow connections to be closed", || {
        descriptors(&server) <= open + 4
    });
    let closed = began.elapsed();
    figure(&format!("all closed {closed:?} after the first was opened"));
    for stream in &mut slow {
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout");
        assert!(is_closed(stream));
    }
}

#[test]
fn a_drip_of_octets_is_cut_and_nonsense_is_closed() {
    let server = Server::start("drip", LOCAL);
    let whole = framed(&a("www.example.org"));
    let mut drip = TcpStream::connect(server.address()).expect("a connection");
    drip.set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout");
    let began = Instant::now();
    let mut octets = whole.iter();
    while !is_closed(&mut drip) {
        assert!(began.elapsed() < Duration::from_secs(8), "a drip is borne");
        if let Some(&octet) = octets.next() {
            let _ = drip.write_all(&[octet]);
        }
    }
    // A length that no message can have.
    for nonsense in [&[0, 0][..], &[0, 5, 1, 2, 3, 4, 5]] {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(2)))
            .expect("a timeout");
        stream.write_all(nonsense).expect("written");
        assert!(is_closed(&mut stream));
    }
    // A message that is no query, of the greatest length: FORMERR, and the connection lives.
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .expect("a timeout");
    let mut long = a("www.example.org");
    long[11] = 1;
    long.resize(65_535, 0xC0);
    write_message(&mut stream, &long).expect("written");
    assert_eq!(rcode(&read_message(&mut stream).expect("FORMERR")), 1);
    write_message(&mut stream, &a("www.example.org")).expect("written");
    assert_eq!(read_message(&mut stream).expect("an answer")[7], 1);
}

#[test]
fn one_client_cannot_take_all_connections() {
    // 96 files give each of the workers some dozens of connections, half of them for one client.
    let dir = crate::server::temporary_directory("share");
    let server = {
        let Some(prlimit) = tool("prlimit") else {
            return;
        };
        let port = free_port();
        std::fs::write(
            dir.join("Corefile"),
            LOCAL
                .replace("{PORT}", &port.to_string())
                .replace("127.0.0.1", "127.0.0.1 127.0.0.2"),
        )
        .expect("written");
        let child = Command::new(prlimit)
            .arg("--nofile=160")
            .arg(env!("CARGO_BIN_EXE_nameplate"))
            .args(["-conf", "Corefile"])
            .current_dir(&dir)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("started");
        Killed(child, port)
    };
    let address = SocketAddr::from(([127, 0, 0, 1], server.1));
    wait_until("the first answer", || {
        ask_udp(address, &a("www.example.org"), Duration::from_millis(200)).is_some()
    });
    let mut greedy: Vec<TcpStream> = (0..400)
        .filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok())
        .collect();
    // From another address; and from the same one, where the longest idle makes room.
    for (from, to) in [
        ([127, 0, 0, 2], [127, 0, 0, 1]),
        ([127, 0, 0, 1], [127, 0, 0, 1]),
    ] {
        let began = Instant::now();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        socket
            .bind(&SocketAddr::from((Ipv4Addr::from(from), 0)).into())
            .expect("bound");
        socket
            .connect(&SocketAddr::from((Ipv4Addr::from(to), server.1)).into())
            .expect("connected");
        let mut stream: TcpStream = socket.into();
        stream
            .set_read_timeout(Some(Duration::from_secs(3)))
            .expect("a timeout");
        write_message(&mut stream, &a("www.example.org")).expect("written");
        assert_eq!(
            read_message(&mut stream).expect("an answer")[7],
            1,
            "{from:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(1));
    }
    let mut closed = 0;
    for stream in &mut greedy {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
        closed += usize::from(is_closed(stream));
    }
    figure(&format!(
        "400 connections of one client with 160 files: {closed} were evicted"
    ));
    assert!(closed > 250, "{closed}");
}

/// A process that is killed when dropped, and its port.
struct Killed(std::process::Child, u16);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn asking_without_listening_costs_little_and_ends() {
    const CLIENTS: usize = 20;
    let addresses: String = (0..200)
        .map(|last| format!("    192.0.2.{last} www.example.org\n"))
        .collect();
    let corefile = format!(".:{{PORT}} {{\n  bind 127.0.0.1\n  hosts {{\n{addresses}  }}\n}}\n");
    let server = Server::start("deaf", &corefile);
    let _ = server.ask_tcp(&a("www.example.org"));
    let before = status(&server, "VmRSS");
    let batch = framed(&a("www.example.org")).repeat(1_000);
    let mut streams: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| TcpStream::connect(server.address()).expect("a connection"))
        .collect();
    let began = Instant::now();
    let mut taken = 0;
    for stream in &mut streams {
        stream
            .set_write_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout");
        for _ in 0..100 {
            if stream.write_all(&batch).is_err() {
                break;
            }
            taken += 1_000;
        }
    }
    let meanwhile = ask_tcp(
        server.address(),
        &a("www.example.org"),
        Duration::from_secs(3),
    );
    let took = began.elapsed();
    assert!(meanwhile.is_some(), "no answer beside them");
    let each = status(&server, "VmRSS").saturating_sub(before) / CLIENTS as u64;
    figure(&format!(
        "{CLIENTS} connections that do not read: {taken} queries taken in {took:?}, {each} KiB each"
    ));
    assert!(each <= 1_024, "{each} KiB each");
    // The time to take an answer is 5 s. What was sent before may still be read; then the end comes.
    wait_until("the connections that do not read to be closed", || {
        established(server.port()) == 0
    });
    for stream in &mut streams {
        stream
            .set_read_timeout(Some(Duration::from_secs(2)))
            .expect("a timeout");
        assert!(
            is_closed(stream),
            "a connection that does not read lives on"
        );
    }
    assert!(honest(&server, 5).1 < Duration::from_secs(1));
}

#[test]
fn a_stream_of_responses_starves_nobody() {
    // Messages with QR set get no answer, so nothing holds the sender back.
    let server = Server::start("starved", LOCAL);
    let mut response = a("www.example.org");
    response[2] |= 0x80;
    let batch = framed(&response).repeat(1_500);
    let stop = AtomicBool::new(false);
    let (slowest, sent) = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = TcpStream::connect(server.address()).expect("a connection");
                    stream
                        .set_write_timeout(Some(Duration::from_secs(1)))
                        .expect("a timeout");
                    let mut sent = 0;
                    while !stop.load(Ordering::Relaxed) && stream.write_all(&batch).is_ok() {
                        sent += 1_500;
                    }
                    sent
                })
            })
            .collect();
        let begun = || processor_time(&server) > 0.1;
        wait_until("the stream to be under way", begun);
        let mut slowest = Duration::ZERO;
        for _ in 0..60 {
            let began = Instant::now();
            let reply = ask_udp(
                server.address(),
                &a("www.example.org"),
                Duration::from_secs(3),
            );
            slowest = slowest.max(began.elapsed());
            if reply.is_none() {
                break;
            }
        }
        let began = Instant::now();
        let tcp = ask_tcp(
            server.address(),
            &a("www.example.org"),
            Duration::from_secs(3),
        );
        slowest = slowest.max(began.elapsed());
        stop.store(true, Ordering::Relaxed);
        assert!(tcp.is_some(), "no answer over TCP");
        let sent: usize = senders
            .into_iter()
            .filter_map(|sender| sender.join().ok())
            .sum();
        (slowest, sent)
    });
    figure(&format!(
        "beside {sent} responses over TCP an honest query takes at most {slowest:?}"
    ));
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[test]
fn a_fast_answer_overtakes_a_slow_one_and_half_a_close_is_drained() {
    let upstream = Upstream::start(|asked| {
        Reply::After(
            Duration::from_millis(400),
            answer(asked.octets, 60, &[[198, 51, 100, 7]]),
        )
    });
    let corefile = format!(
        "example.org:{{PORT}} {{\n  bind 127.0.0.1\n  hosts {{\n    192.0.2.1 fast.example.org\n    fallthrough\n  }}\n  forward . {}\n}}\n",
        upstream.address()
    );
    let server = Server::start("order", &corefile);
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(3)))
        .expect("a timeout");
    let (mut slow, mut fast) = (a("slow.example.org"), a("fast.example.org"));
    (slow[1], fast[1]) = (1, 2);
    let both = [framed(&slow), framed(&fast)].concat();
    stream.write_all(&both).expect("written");
    stream.shutdown(Shutdown::Write).expect("half a close");
    let (first, second) = (read_message(&mut stream), read_message(&mut stream));
    let ids = (
        first.expect("the fast one")[1],
        second.expect("the slow one")[1],
    );
    assert_eq!(ids, (2, 1));
    assert!(is_closed(&mut stream));
}

#[test]
fn waiting_queries_of_many_connections_cost_bounded_memory() {
    let upstream = Upstream::start(|_| Reply::Nothing);
    let corefile = format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  hosts {{\n    192.0.2.1 www.example.org\n    fallthrough\n  }}\n  forward . {}\n}}\n",
        upstream.address()
    );
    let server = Server::start("waiting", &corefile);
    let before = status(&server, "VmRSS");
    let batch: Vec<u8> = (0..64)
        .flat_map(|number| framed(&a(&format!("n{number}.example.org"))))
        .collect();
    let mut streams: Vec<TcpStream> = (0..300)
        .filter_map(|_| TcpStream::connect(server.address()).ok())
        .collect();
    for stream in &mut streams {
        let _ = stream.write_all(&batch);
    }
    wait_until("queries to be forwarded", || upstream.tcp_queries() >= 64);
    let grown = (steady(|| status(&server, "VmRSS")) - before) / 1_024;
    let began = Instant::now();
    let local = ask_udp(
        server.address(),
        &a("www.example.org"),
        Duration::from_secs(1),
    );
    figure(&format!(
        "{} forwarded queries wait on {} connections: {grown} MiB; a local one takes {:?}",
        64 * streams.len(),
        streams.len(),
        began.elapsed()
    ));
    assert!(local.is_some());
    assert!(grown < 256, "{grown} MiB");
}

#[test]
fn without_descriptors_udp_answers_and_the_rest_recovers() {
    let server = Server::start("files", LOCAL);
    let open = descriptors(&server);
    if !limit_files(server.pid(), &(open + 8).to_string()) {
        return;
    }
    let mut streams: Vec<TcpStream> = (0..40)
        .filter_map(|_| TcpStream::connect(server.address()).ok())
        .collect();
    wait_until("all descriptors to be taken", || {
        descriptors(&server) >= open + 7
    });
    assert!(
        descriptors(&server) < open + 16,
        "{} of {open}",
        descriptors(&server)
    );
    let (busy, began) = (processor_time(&server), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let share = (processor_time(&server) - busy) / began.elapsed().as_secs_f64();
    let lost = flood(
        server.address(),
        2_000,
        |_, octets| octets.extend_from_slice(&a("www.example.org")),
        |_| {},
    );
    figure(&format!(
        "without descriptors: {:.1} % of a processor, {lost} of 2000 datagrams lost",
        share * 100.0
    ));
    assert_eq!(lost, 0);
    assert!(share < 0.2, "a busy loop: {share}");
    // Whom there was no room for is served when others leave.
    let mut last = streams.pop().expect("a connection");
    drop(streams);
    last.set_read_timeout(Some(Duration::from_secs(3)))
        .expect("a timeout");
    write_message(&mut last, &a("www.example.org")).expect("written");
    assert_eq!(read_message(&mut last).expect("an answer")[7], 1);
    assert!(honest(&server, 3).1 < Duration::from_secs(2));
}

#[test]
fn idle_admin_connections_and_garbage_do_not_hold_the_probes() {
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server = Server::start(
        "admin",
        &format!(".:{{PORT}} {{\n  bind 127.0.0.1\n  health {admin}\n  whoami\n}}\n"),
    );
    for garbage in [
        &b"\x00\x01\x02\xff\xfe\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ] {
        let mut stream = TcpStream::connect(admin).expect("a connection");
        let _ = stream.write_all(garbage);
    }
    let mut huge = TcpStream::connect(admin).expect("a connection");
    huge.set_write_timeout(Some(Duration::from_secs(2)))
        .expect("a timeout");
    let mut written = write!(huge, "GET /health HTTP/1.1\r\n").is_ok();
    let mut octets = 0;
    while written && octets < 64 << 20 {
        written = huge
            .write_all(&[b"X-A: ".as_slice(), &[b'a'; 8_000], b"\r\n"].concat())
            .is_ok();
        octets += 8_000;
    }
    assert!(octets < 16 << 20, "{octets} octets of headers were taken");
    let before = status(&server, "VmRSS");
    let idle: Vec<TcpStream> = (0..700)
        .map_while(|_| TcpStream::connect_timeout(&admin, Duration::from_secs(2)).ok())
        .collect();
    let began = Instant::now();
    let page = get(admin, "/health");
    let took = began.elapsed();
    let grown = status(&server, "VmRSS").saturating_sub(before);
    figure(&format!(
        "beside {} idle admin connections /health takes {took:?}, {grown} KiB",
        idle.len()
    ));
    assert!(
        page.is_ok_and(|page| page.ends_with("OK")),
        "no health after {took:?}"
    );
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(
        rcode(
            &server
                .ask(&query(0, "example.org", 1, 1))
                .expect("an answer")
        ),
        0
    );
}
