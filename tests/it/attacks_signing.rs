//! A flood of names that nobody has asked for before, to a zone that `dnssec` signs: each costs a signature.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::attacks::{a, figure, rcode, status, with_opt};
use crate::server::{Server, ask_udp, read_message, temporary_directory};

const KEY: [&str; 2] = [
    "example.org. DNSKEY 257 3 13 LvsKR4b9lTCzhAGixWelGjcLy7C/CGcyx/uf3loNSlst8HIGMSaDxRMvQyzQWYtSR/17oc4bUquWMSP5p2aZDw==\n",
    "Private-key-format: v1.3\nAlgorithm: 13\nPrivateKey: VGkbGKAv/Z1RJ/Szl94vJ8RjD6L3LQmQt6snAV9t3ro=\n",
];
const ZONE: &str =
    "$TTL 300\n@ SOA ns h 1 7200 3600 1209600 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n";
/// Connections, and queries on each that nobody waits for: as many as the server reads.
const CONNECTIONS: usize = 100;
const PIPELINED: usize = 64;
const ROUNDS: usize = 3;
/// What the flood may take of memory, in KiB. It took 390 MiB when each answer over TCP that waited held a buffer of 64 KiB.
const MOST: u64 = 160 << 10;

/// Over TCP a flood is bounded in memory, other names are answered meanwhile, and so is another client's name that is to be signed.
#[test]
fn a_flood_of_names_to_sign_is_bounded_over_tcp() {
    let dir = temporary_directory("flood-signing");
    for (ending, text) in [("key", KEY[0]), ("private", KEY[1])] {
        std::fs::write(dir.join(format!("key.{ending}")), text).expect("a key");
    }
    std::fs::write(dir.join("db"), ZONE).expect("a zone");
    let server = Server::start_in(
        &dir,
        "example.org:{PORT} {\n  bind 127.0.0.1\n  dnssec {\n    key file key\n  }\n  file db\n}\n\
         example.net:{PORT} {\n  bind 127.0.0.1\n  file db\n}\n",
    );
    let signed = |name: &str| with_opt(a(name), 1_232, 0x8000, &[]);
    let known = ask_udp(
        server.address(),
        &signed("www.example.org"),
        Duration::from_secs(5),
    );
    assert_eq!(
        known.expect("an answer")[7],
        2,
        "an address and its signature"
    );
    let before = status(&server, "VmRSS");
    let mut streams: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| TcpStream::connect(server.address()).expect("a connection"))
        .collect();
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        for (client, stream) in streams.iter_mut().enumerate() {
            let mut octets = Vec::new();
            for number in 0..PIPELINED {
                let query = signed(&format!("x{round}-{client}-{number}.example.org"));
                octets.extend_from_slice(&(query.len() as u16).to_be_bytes());
                octets.extend_from_slice(&query);
            }
            stream.write_all(&octets).expect("written");
        }
        for _ in 0..20 {
            let began = Instant::now();
            let patience = Duration::from_secs(5);
            let reply = ask_udp(server.address(), &a("www.example.net"), patience);
            assert_eq!(rcode(&reply.expect("an answer")), 0);
            times.push(began.elapsed());
            let reply = ask_udp(server.address(), &signed("www.example.org"), patience);
            let reply = reply.expect("an answer");
            assert_eq!((rcode(&reply), reply[7]), (0, 2), "what is signed already");
        }
        let (mut refused, mut answered) = (0, 0);
        for stream in &mut streams {
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .expect("a timeout");
            for _ in 0..PIPELINED {
                match rcode(&read_message(stream).expect("an answer")) {
                    0 => answered += 1,
                    2 => refused += 1,
                    other => panic!("RCODE {other}"),
                }
            }
        }
        figure(&format!("{answered} signed, {refused} refused"));
        assert!(answered > 0);
    }
    let grown = status(&server, "VmHWM").saturating_sub(before);
    times.sort();
    figure(&format!(
        "flood of names to sign over TCP: {} MiB more at most; another zone's answers took {:?}, {:?} at most",
        grown >> 10,
        times[times.len() / 2],
        times[times.len() - 1]
    ));
    assert!(grown < MOST, "{grown} KiB");
    assert!(times[times.len() / 2] < Duration::from_secs(1));
}
