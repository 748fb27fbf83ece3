//! Attacks on TLS listeners: handshakes that are broken off, slow, too many, or nonsense, and sessions that drip or do not read.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::attacks::{a, descriptors, figure, get, status};
use crate::attacks_streams::{framed, is_closed};
use crate::secure::connect;
use crate::server::{ask_udp, wait_until};
use crate::tls::{HOSTS, Secured, ask};

/// The first octets of a ClientHello, and no more of it.
const HALF_A_HELLO: [u8; 11] = [22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];

fn honest(dot: &Secured) -> Duration {
    let began = Instant::now();
    let client = dot.client();
    let answered = connect(dot.address, &client).and_then(|mut tls| ask(&mut tls));
    assert!(answered.is_ok(), "an honest client: {answered:?}");
    began.elapsed()
}

#[test]
fn handshakes_that_are_broken_off_leave_nothing() {
    let dot = Secured::start("tls-aborted", "", HOSTS);
    honest(&dot);
    let (open, memory) = (descriptors(&dot.server), status(&dot.server, "VmRSS"));
    let began = Instant::now();
    for round in 0..2_000 {
        let mut stream = TcpStream::connect(dot.address).expect("a connection");
        // Nothing, a part, a hello that is none, an alert, plain text.
        let sent: &[u8] = match round % 5 {
            0 => &[],
            1 => &HALF_A_HELLO,
            2 => &[22, 3, 1, 0, 4, 1, 0, 0, 0],
            3 => &[21, 3, 3, 0, 2, 2, 40],
            _ => b"GET / HTTP/1.1\r\n\r\n",
        };
        let _ = stream.write_all(sent);
    }
    figure(&format!(
        "2,000 handshakes broken off in {:?}",
        began.elapsed()
    ));
    assert!(honest(&dot) < Duration::from_secs(2));
    wait_until("the descriptors to be given back", || {
        descriptors(&dot.server) <= open + 2
    });
    let grown = status(&dot.server, "VmRSS").saturating_sub(memory);
    assert!(grown < 32 * 1_024, "{grown} KiB");
}

#[test]
fn slow_handshakes_hold_nobody_and_end() {
    let dot = Secured::start(
        "tls-slow",
        "",
        &format!("{HOSTS}\n  prometheus 127.0.0.1:{{ADMIN}}"),
    );
    honest(&dot);
    let open = descriptors(&dot.server);
    let began = Instant::now();
    let mut slow: Vec<TcpStream> = (0..700)
        .map(|round| {
            let mut stream = TcpStream::connect(dot.address).expect("a connection");
            let _ = stream.write_all(&HALF_A_HELLO[..round % HALF_A_HELLO.len()]);
            stream
        })
        .collect();
    let worst = (0..20).map(|_| honest(&dot)).max().unwrap_or_default();
    figure(&format!(
        "beside 700 slow handshakes an honest client takes at most {worst:?}"
    ));
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    // Of those under way the longest were closed.
    let metrics = get(dot.admin, "/metrics").expect("metrics");
    let evicted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("nameplate_connections_evicted_total "))
        .and_then(|count| count.parse::<u64>().ok());
    let workers = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let expected = 700_u64.saturating_sub(workers * 256);
    assert!(
        evicted.is_some_and(|evicted| evicted >= expected),
        "{evicted:?}, not {expected}"
    );
    // The others by the time that a message may take, 3 s.
    wait_until("the slow handshakes to be closed", || {
        descriptors(&dot.server) <= open + 2
    });
    assert!(began.elapsed() < Duration::from_secs(12));
    for stream in &mut slow {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        assert!(is_closed(stream));
    }
}

#[test]
fn a_flood_of_handshakes_leaves_udp_its_turns() {
    let dot = Secured::start("tls-flood", "", HOSTS);
    let stop = AtomicBool::new(false);
    let (shaken, usual) = std::thread::scope(|scope| {
        let floods: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut shaken = 0;
                    while !stop.load(Ordering::Relaxed) {
                        // Each with a configuration of its own: no session is resumed.
                        shaken += usize::from(connect(dot.address, &dot.client()).is_ok());
                    }
                    shaken
                })
            })
            .collect();
        let end = Instant::now() + Duration::from_secs(2);
        let mut times = Vec::new();
        while Instant::now() < end {
            let began = Instant::now();
            let patience = Duration::from_secs(3);
            let reply = ask_udp(dot.server.address(), &a("www.example.org"), patience);
            assert!(reply.is_some(), "no answer over UDP");
            times.push(began.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        let shaken: usize = floods
            .into_iter()
            .filter_map(|flood| flood.join().ok())
            .sum();
        times.sort();
        (shaken, times[times.len() / 2])
    });
    figure(&format!(
        "beside {shaken} full handshakes a query over UDP takes {usual:?}"
    ));
    assert!(
        shaken > 100 && usual < Duration::from_millis(100),
        "{shaken}, {usual:?}"
    );
}

#[test]
fn a_session_that_drips_or_does_not_read_is_closed() {
    let dot = Secured::start("tls-drip", "", HOSTS);
    let whole = framed(&a("www.example.org"));
    let mut drip = dot.connect();
    let _ = drip.sock.set_read_timeout(Some(Duration::from_millis(200)));
    let began = Instant::now();
    let mut octets = whole.iter();
    loop {
        match drip.read(&mut [0; 16]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
        assert!(began.elapsed() < Duration::from_secs(8), "a drip is borne");
        if let Some(&octet) = octets.next() {
            let _ = drip.write_all(&[octet]);
        }
    }
    // An invalid length: the answer before it comes, then the end.
    let mut nonsense = dot.connect();
    nonsense
        .write_all(&[&whole[..], &[0, 5, 1, 2, 3, 4, 5]].concat())
        .expect("written");
    let mut all = Vec::new();
    let _ = nonsense.read_to_end(&mut all);
    assert!(all.len() > whole.len(), "{all:?}");
    // Who asks and does not read is bounded in memory, and goes when it has taken nothing for 5 s.
    let before = status(&dot.server, "VmRSS");
    let mut deaf = dot.connect();
    let _ = deaf
        .sock
        .set_write_timeout(Some(Duration::from_millis(300)));
    let batch = whole.repeat(1_000);
    let mut taken = 0;
    for _ in 0..100 {
        if deaf.write_all(&batch).is_err() {
            break;
        }
        taken += 1_000;
    }
    let grown = status(&dot.server, "VmRSS").saturating_sub(before);
    figure(&format!(
        "a session that does not read: {taken} queries taken, {grown} KiB"
    ));
    assert!(grown <= 1_024, "{grown} KiB");
    let open = descriptors(&dot.server);
    wait_until("it to be closed", || descriptors(&dot.server) < open);
    honest(&dot);
}
