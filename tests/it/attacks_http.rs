//! Attacks on HTTP/2 and HTTP/1.1 under DoH, frame by frame: each ends for the attacker, and an honest client is answered beside it.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::attacks::{a, figure, status};
use crate::secure::{Tls, connect};
use crate::tls::{HOSTS, Secured};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// Flags.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The headers of a POST, without Huffman's code.
fn post() -> Vec<u8> {
    let mut out = vec![0x83, 0x87, 0x04, 10];
    out.extend_from_slice(b"/dns-query");
    out.extend_from_slice(&[0x01, 15]);
    out.extend_from_slice(b"dns.example.org");
    out.extend_from_slice(&[0x0F, 16, 23]);
    out.extend_from_slice(b"application/dns-message");
    out
}

fn served(test: &str) -> Secured {
    Secured::start_by("https", test, "", HOSTS)
}

/// A connection of HTTP/2, after both sides' settings.
fn open(served: &Secured, settings: &[u8]) -> Tls {
    let config = Arc::new(served.authority.client_config(&["h2"], None));
    let mut tls = connect(served.address, &config).expect("a session");
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, settings)].concat();
    tls.write_all(&begin).expect("written");
    tls
}

/// Frames that come within a time: type, stream, payload. `true` where the connection has ended.
fn frames(tls: &mut Tls, patience: Duration) -> (Vec<(u8, u32, Vec<u8>)>, bool) {
    let (began, mut octets, mut ended) = (Instant::now(), Vec::new(), false);
    let _ = tls.sock.set_read_timeout(Some(Duration::from_millis(50)));
    let mut piece = [0; 16_384];
    while began.elapsed() < patience && !ended {
        match tls.read(&mut piece) {
            Ok(0) => ended = true,
            Ok(len) => octets.extend_from_slice(&piece[..len]),
            Err(error) => {
                ended = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            }
        }
    }
    let (mut out, mut rest) = (Vec::new(), &octets[..]);
    while let Some((head, tail)) = rest.split_at_checked(9) {
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, tail)) = tail.split_at_checked(len) else {
            break;
        };
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        out.push((head[3], stream, payload.to_vec()));
        rest = tail;
    }
    (out, ended)
}

/// Asks as an honest client does; gives how long it took.
fn honest(served: &Secured) -> Duration {
    let began = Instant::now();
    let mut tls = open(served, &[]);
    let query = a("www.example.org");
    tls.write_all(&frame(HEADERS, END_HEADERS, 1, &post()))
        .expect("written");
    tls.write_all(&frame(DATA, END_STREAM, 1, &query))
        .expect("written");
    loop {
        let (frames, ended) = frames(&mut tls, Duration::from_millis(100));
        let answer = frames
            .iter()
            .find(|(kind, stream, _)| (*kind, *stream) == (DATA, 1));
        if let Some((.., reply)) = answer {
            assert!(reply.len() > query.len() && reply[7] > 0, "{reply:?}");
            return began.elapsed();
        }
        assert!(
            !ended && began.elapsed() < Duration::from_secs(5),
            "{frames:?}"
        );
    }
}

/// Sends `next` of a growing stream's number until the connection ends; gives how many times.
fn until_sent_away(
    served: &Secured,
    settings: &[u8],
    most: u32,
    mut next: impl FnMut(u32) -> Vec<u8>,
) -> u32 {
    let mut tls = open(served, settings);
    let _ = tls.sock.set_write_timeout(Some(Duration::from_secs(2)));
    let _ = tls.sock.set_read_timeout(Some(Duration::from_millis(1)));
    let began = Instant::now();
    for count in 0..most {
        let sent = tls
            .write_all(&next(2 * count + 1))
            .and_then(|()| tls.flush());
        if sent.is_err() || began.elapsed() > Duration::from_secs(10) {
            return count;
        }
        if count % 64 == 63 {
            let (frames, ended) = frames(&mut tls, Duration::from_millis(10));
            if ended || frames.iter().any(|(kind, ..)| *kind == GOAWAY) {
                return count;
            }
        }
    }
    let (frames, ended) = frames(&mut tls, Duration::from_secs(3));
    let sent_away = ended || frames.iter().any(|(kind, ..)| *kind == GOAWAY);
    if sent_away { most } else { u32::MAX }
}

#[test]
fn resets_before_the_answer_end_the_connection() {
    let served = served("http-rapid-reset");
    let before = status(&served.server, "VmRSS");
    let rapid = until_sent_away(&served, &[], 20_000, |stream| {
        let begin = frame(HEADERS, END_HEADERS, stream, &post());
        [begin, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    });
    // MadeYouReset: the server is made to reset the stream, by a window of no increment.
    let made = until_sent_away(&served, &[], 20_000, |stream| {
        let begin = frame(HEADERS, END_HEADERS, stream, &post());
        [begin, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    });
    let grown = status(&served.server, "VmRSS").saturating_sub(before);
    figure(&format!(
        "sent away after {rapid} resets, and after {made} that it was made to send; {grown} KiB"
    ));
    assert!(rapid < 20_000 && made < 20_000 && grown < 64 * 1_024);
    assert!(honest(&served) < Duration::from_secs(2));
}

#[test]
fn headers_without_end_are_cut() {
    let served = served("http-continuation");
    let before = status(&served.server, "VmRSS");
    // A header that never ends, in frames that say nothing, and in frames of 16 KiB each.
    for piece in [0_usize, 16_000] {
        let mut filler = vec![0x00, 0x01, b'x', 0x7F, 0x80, 0x7F];
        filler.resize(piece, b'y');
        let filler = if piece == 0 { Vec::new() } else { filler };
        let frames = until_sent_away(&served, &[], 20_000, |stream| match stream {
            1 => frame(HEADERS, 0, 1, &post()),
            _ => frame(CONTINUATION, 0, 1, &filler),
        });
        figure(&format!("{frames} frames of {piece} octets of headers"));
        assert!(frames < 20_000);
    }
    let grown = status(&served.server, "VmRSS").saturating_sub(before);
    assert!(grown < 16 * 1_024, "{grown} KiB");
    assert!(honest(&served) < Duration::from_secs(2));
}

#[test]
fn settings_and_pings_whose_answers_nobody_reads_hold_little() {
    let served = served("http-settings");
    let before = status(&served.server, "VmRSS");
    for (kind, payload) in [(SETTINGS, vec![0, 3, 0, 0, 0, 100]), (PING, vec![0; 8])] {
        let mut tls = open(&served, &[]);
        let _ = tls.sock.set_write_timeout(Some(Duration::from_millis(300)));
        let batch = frame(kind, 0, 0, &payload).repeat(1_000);
        let mut sent = 0;
        while sent < 2_000 && tls.write_all(&batch).is_ok() {
            sent += 1;
        }
        let grown = status(&served.server, "VmRSS").saturating_sub(before);
        figure(&format!(
            "{sent},000 frames of type {kind}, nothing read: {grown} KiB"
        ));
        assert!(grown < 8 * 1_024, "{grown} KiB");
        assert!(honest(&served) < Duration::from_secs(2));
    }
}

#[test]
fn requests_that_drip_have_a_time_and_a_number() {
    let served = served("http-drip");
    let before = status(&served.server, "VmRSS");
    let mut tls = open(&served, &[]);
    let began = Instant::now();
    for number in 0..250 {
        let stream = 2 * number + 1;
        let begin = frame(HEADERS, END_HEADERS, stream, &post());
        let octets = [begin, frame(DATA, 0, stream, &[0])].concat();
        tls.write_all(&octets).expect("written");
    }
    let beside = honest(&served);
    let mut given_up = 0;
    while given_up < 250 && began.elapsed() < Duration::from_secs(8) {
        // What does not come is given up after 3 s (408).
        let (frames, ended) = frames(&mut tls, Duration::from_millis(500));
        given_up += frames.iter().filter(|(kind, ..)| *kind == HEADERS).count();
        if ended {
            break;
        }
    }
    let grown = status(&served.server, "VmRSS").saturating_sub(before);
    figure(&format!(
        "250 requests that drip: {given_up} given up after {:?}, {grown} KiB; an honest one took {beside:?}",
        began.elapsed()
    ));
    assert!(given_up == 250 && began.elapsed() > Duration::from_secs(3));
    assert!(beside < Duration::from_secs(2) && grown < 16 * 1_024);
    // Whoever opens more streams than it may is sent away.
    let most = until_sent_away(&served, &[], 20_000, |stream| {
        frame(HEADERS, END_HEADERS, stream, &post())
    });
    assert!(most < 2_000, "{most}");
}

#[test]
fn answers_that_nobody_takes_end_the_connection() {
    let addresses: String = (0..200)
        .map(|last| format!("    192.0.2.{last} www.example.org\n"))
        .collect();
    let lines = format!("  hosts {{\n{addresses}  }}");
    let served = Secured::start_by("https", "http-deaf", "", &lines);
    let before = status(&served.server, "VmRSS");
    // A window of one octet: each answer stays with the server.
    let mut tls = open(&served, &[0, 4, 0, 0, 0, 1]);
    let query = a("www.example.org");
    for number in 0..250 {
        let stream = 2 * number + 1;
        let begin = frame(HEADERS, END_HEADERS, stream, &post());
        tls.write_all(&[begin, frame(DATA, END_STREAM, stream, &query)].concat())
            .expect("written");
    }
    let began = Instant::now();
    let (_, ended) = frames(&mut tls, Duration::from_secs(9));
    let grown = status(&served.server, "VmRSS").saturating_sub(before);
    figure(&format!(
        "250 answers of 3 KiB not taken: closed after {:?}, {grown} KiB",
        began.elapsed()
    ));
    assert!(ended, "a client that takes nothing lives on");
    assert!(grown < 16 * 1_024, "{grown} KiB");
    assert!(honest(&served) < Duration::from_secs(2));
}

#[test]
fn an_idle_connection_holds_little() {
    const COUNT: u64 = 300;
    let lines = format!(
        "{HOSTS}\n  timeouts {{\n    idle 60s\n  }}\n  https {{\n    max_connections 0\n  }}"
    );
    let served = Secured::start_by("https", "http-holds", "", &lines);
    let query = a("www.example.org");
    let request = [
        frame(HEADERS, END_HEADERS, 1, &post()),
        frame(DATA, END_STREAM, 1, &query),
    ];
    let asked = || {
        let mut tls = open(&served, &[]);
        tls.write_all(&request.concat()).expect("written");
        let (mut octets, mut piece) = (Vec::new(), [0; 4_096]);
        while !octets.windows(4).any(|four| four == [192, 0, 2, 1]) {
            let len = tls.read(&mut piece).expect("an answer");
            assert!(len > 0, "{octets:?}");
            octets.extend_from_slice(&piece[..len]);
        }
        tls
    };
    let _warm: Vec<Tls> = (0..50).map(|_| asked()).collect();
    let before = status(&served.server, "VmRSS");
    let _idle: Vec<Tls> = (0..COUNT).map(|_| asked()).collect();
    let each = (status(&served.server, "VmRSS") - before) / COUNT;
    figure(&format!("an idle connection of HTTP/2: {each} KiB"));
    // The buffers of h2 alone are 28 KiB.
    assert!(each <= 48, "{each} KiB each");
}

#[test]
fn connections_without_a_request_end() {
    let lines = format!("{HOSTS}\n  timeouts {{\n    idle 1s\n  }}");
    let served = Secured::start_by("https", "http-idle", "", &lines);
    // Silent, pinging, and with a header that drips.
    let mut silent = open(&served, &[]);
    let mut pinging = open(&served, &[]);
    let config = Arc::new(served.authority.client_config(&["http/1.1"], None));
    let mut drip = connect(served.address, &config).expect("a session");
    drip.write_all(b"GET /dns-query?dns=").expect("written");
    let began = Instant::now();
    let mut ends = [false; 3];
    while ends != [true; 3] {
        assert!(began.elapsed() < Duration::from_secs(6), "{ends:?}");
        let _ = pinging.write_all(&frame(PING, 0, 0, &[0; 8]));
        let _ = drip.write_all(b"A");
        for (tls, end) in [&mut silent, &mut pinging, &mut drip]
            .into_iter()
            .zip(&mut ends)
        {
            *end |= frames(tls, Duration::from_millis(60)).1;
        }
    }
    assert!(began.elapsed() > Duration::from_millis(900));
}
