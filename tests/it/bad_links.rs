//! Zones that come over links which lose, cut and alter what a primary sends. Whatever comes, the version that is served stays until a
//! whole one that is right is there; the log, `zone status` and metrics tell why; and the primary is asked again.
//!
//! The kernels that tests run on may lack netem, and a lost segment is sent again by TCP anyway: what a secondary sees of a bad link is
//! datagrams that do not come, and connections that end. So the link is a relay of this test.

use std::fmt::Write as _;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket};
use wire::Type;

use crate::attacks::get;
use crate::peers::{Peer, SECRET, named_options, replace};
use crate::server::{
    Server, dig, free_port, nameplate, read_message, temporary_directory, wait_until, write_message,
};

/// A message of a primary, on its way.
struct Passing<'a> {
    /// What was asked for.
    qtype: Type,
    /// The messages of the response before it.
    number: usize,
    message: &'a [u8],
}

/// What a link sends in the place of a message; whether the connection goes on.
type Change = dyn Fn(&Passing<'_>, &mut dyn Write) -> bool + Send + Sync;

/// A relay to a primary.
struct Link {
    address: SocketAddr,
    /// Whether it passes on what comes, as it is.
    honest: Arc<AtomicBool>,
}

impl Link {
    /// It asks the primary from 127.0.0.`from`, which gives a client two transfers at a time.
    fn to(primary: SocketAddr, from: u8, change: Arc<Change>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let honest = Arc::new(AtomicBool::new(true));
        let is_honest = honest.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (change, honest) = (change.clone(), is_honest.clone());
                thread::spawn(move || {
                    let server = connect(from, primary).expect("a connection");
                    relay(stream, server, &honest, &*change);
                });
            }
        });
        Self { address, honest }
    }

    fn be_honest(&self, honest: bool) {
        self.honest.store(honest, Ordering::SeqCst);
    }
}

fn connect(from: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, from], 0)).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Passes on queries as they are, and messages of responses as `change` has them.
fn relay(client: TcpStream, server: TcpStream, honest: &AtomicBool, change: &Change) {
    let asked = Arc::new((AtomicU16::new(0), AtomicU16::new(0)));
    let (mut queries, mut to_server) = (
        client.try_clone().expect("a socket"),
        server.try_clone().expect("a socket"),
    );
    let of_query = asked.clone();
    thread::spawn(move || {
        while let Ok(query) = read_message(&mut queries) {
            let name = wire::skip_name(&query, 12).unwrap_or(query.len());
            let qtype = wire::read_u16(&query, name).unwrap_or_default();
            of_query.0.store(qtype, Ordering::SeqCst);
            of_query.1.store(0, Ordering::SeqCst);
            if write_message(&mut to_server, &query).is_err() {
                break;
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut client, mut server) = (client, server);
    while let Ok(message) = read_message(&mut server) {
        let number = asked.1.fetch_add(1, Ordering::SeqCst);
        let passing = Passing {
            qtype: Type(asked.0.load(Ordering::SeqCst)),
            number: number.into(),
            message: &message,
        };
        let goes_on = match honest.load(Ordering::SeqCst) {
            true => as_it_is(&passing, &mut client),
            false => change(&passing, &mut client),
        };
        if !goes_on {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn put(message: &[u8], mut out: &mut dyn Write) -> bool {
    write_message(&mut out, message).is_ok()
}

/// Sends half of a message, and no more.
fn put_half(message: &[u8], out: &mut dyn Write) -> bool {
    let len = (message.len() as u16).to_be_bytes();
    let _ = out.write_all(&[&len, &message[..message.len() / 2]].concat());
    false
}

fn as_it_is(passing: &Passing<'_>, out: &mut dyn Write) -> bool {
    put(passing.message, out)
}

/// A message with so many records more, or fewer, in a section.
fn recount(message: &[u8], section: usize, by: i16) -> Vec<u8> {
    let mut message = message.to_vec();
    let at = 4 + 2 * section;
    let count = wire::read_u16(&message, at).unwrap_or_default();
    let count = count.wrapping_add_signed(by).to_be_bytes();
    message[at..at + 2].copy_from_slice(&count);
    message
}

/// A message without its last record, which is in this section and of this type; `None` where the last one is another.
fn without_last(message: &[u8], (section, rtype): (usize, Type)) -> Option<Vec<u8>> {
    let records = wire::Message::new(message)?.records();
    let ends = records
        .map_while(Result::ok)
        .map(|record| (record.rdata_range.end, record.rtype));
    let ends: Vec<_> = ends.collect();
    let (last, before) = (ends.last()?, ends.len().checked_sub(2)?);
    (last.1 == rtype).then(|| recount(&message[..ends[before].0], section, -1))
}

/// A way to lie: the zone's label, whether the zone is signed in transit, what is done, and what the secondary says of it.
struct Lie {
    label: &'static str,
    signed: bool,
    change: fn(&Passing<'_>, &mut dyn Write) -> bool,
    why: &'static str,
}

/// The most records that a runaway has sent.
static SENT: AtomicU32 = AtomicU32::new(0);
/// Records of a zone's version that are there for its size.
const FILLING: usize = 1_000;

const LIES: &[Lie] = &[
    Lie {
        label: "cut",
        signed: true,
        change: |passing, out| match passing.number {
            0 => put(passing.message, out),
            _ => put_half(passing.message, out),
        },
        why: "receive: ",
    },
    Lie {
        label: "lost",
        signed: true,
        change: |passing, out| passing.number == 1 || put(passing.message, out),
        why: "TSIG: ",
    },
    Lie {
        label: "twice",
        signed: true,
        change: |passing, out| {
            put(passing.message, out) && (passing.number != 1 || put(passing.message, out))
        },
        why: "TSIG: ",
    },
    Lie {
        label: "altered",
        signed: true,
        change: |passing, out| {
            let mut message = passing.message.to_vec();
            let at = message.windows(4).position(|four| four == b"xxxx");
            if let Some(at) = at {
                message[at] = b'y';
            }
            put(&message, out)
        },
        why: "TSIG: ",
    },
    Lie {
        label: "unsigned",
        signed: true,
        change: |passing, out| {
            let bare = without_last(passing.message, (3, Type::TSIG));
            put(bare.as_deref().unwrap_or(passing.message), out)
        },
        why: "TSIG: the response is not signed",
    },
    Lie {
        label: "unsigned-at-the-end",
        signed: true,
        change: |passing, out| {
            let bare = without_last(passing.message, (3, Type::TSIG));
            let bare = bare.filter(|_| passing.number > 0);
            put(bare.as_deref().unwrap_or(passing.message), out)
        },
        why: "TSIG: the last message is not signed",
    },
    Lie {
        label: "older",
        signed: false,
        change: |passing, out| {
            // Every SOA record of version 2 tells version 0.
            let mut message = passing.message.to_vec();
            let soa = [2u32, 1, 1, 600, 60].map(u32::to_be_bytes).concat();
            while let Some(at) = message.windows(20).position(|octets| octets == soa) {
                message[at + 3] = 0;
            }
            put(&message, out)
        },
        why: "the zone has become older during the transfer",
    },
    Lie {
        label: "endless",
        signed: false,
        change: |passing, out| match without_last(passing.message, (1, Type::SOA)) {
            Some(open) => {
                put(&open, out);
                false
            }
            None => put(passing.message, out),
        },
        why: "receive: ",
    },
    Lie {
        label: "outside",
        signed: false,
        change: |passing, out| {
            let mut message = recount(passing.message, 1, 1);
            message
                .extend_from_slice(b"\x04evil\x04test\0\0\x01\0\x01\0\0\0\x3C\0\x04\xC0\0\x02\x01");
            put(&message, out)
        },
        why: "evil.test. A: it is outside of the zone",
    },
    Lie {
        label: "runaway",
        signed: false,
        change: |passing, out| {
            let each = wire::read_u16(passing.message, 6).unwrap_or_default();
            let mut sent = 0;
            // A million records, if anybody takes them.
            while put(passing.message, out) && passing.number == 1 && sent < 1_000_000 {
                sent += u32::from(each.max(1));
            }
            SENT.fetch_max(sent, Ordering::SeqCst);
            sent < 1_000_000
        },
        why: "the zone has more than 5000 records (`max_records`)",
    },
    Lie {
        label: "refused",
        signed: false,
        change: |passing, out| {
            let mut message = passing.message.to_vec();
            message[3] |= 5;
            put(&message, out)
        },
        why: "it answers AXFR with REFUSED",
    },
];

fn version(serial: u32) -> String {
    let mut text = format!(
        "$TTL 300\n@ IN SOA ns hostmaster {serial} 1 1 600 60\n@ IN NS ns\nns IN A 192.0.2.53\nserial IN TXT \"serial-{serial}\"\n"
    );
    let filling = "x".repeat(200);
    for number in 0..FILLING {
        writeln!(text, "f{number} IN TXT \"{filling}\"").expect("memory");
    }
    text
}

/// The version that a server has: by the SOA record, and by a record beside it.
fn served(address: SocketAddr, zone: &str) -> [String; 2] {
    let ask = |name: &str, rtype| {
        let text = dig(address, &[name, rtype, "+short", "+norecurse"]).unwrap_or_default();
        text.trim().trim_matches('"').to_owned()
    };
    let soa = ask(zone, "SOA");
    let serial = soa.split_whitespace().nth(2).unwrap_or_default().to_owned();
    let text = ask(&format!("serial.{zone}"), "TXT");
    [serial, text.trim_start_matches("serial-").to_owned()]
}

fn status(dir: &Path, zone: &str) -> Value {
    let mut command = nameplate(dir);
    command.args(["zone", "status", zone, "--json", "--admin", "admin.sock"]);
    let output = command.output().expect("it runs");
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    all["zones"][0].clone()
}

#[test]
fn a_primary_that_lies_is_told_of_and_asked_again() {
    let (there, here) = (
        temporary_directory("bad-links-primary"),
        temporary_directory("bad-links-secondary"),
    );
    let (theirs, ours, admin) = (free_port(), free_port(), free_port());
    let [primary, address] =
        [theirs, ours].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let mut links = Vec::new();
    let (mut their_corefile, mut our_corefile) = (String::new(), String::new());
    for (number, lie) in LIES.iter().enumerate() {
        let zone = format!("{}.example", lie.label);
        replace(&there.join(&zone), &version(1));
        let link = Link::to(
            primary,
            2 + number as u8,
            Arc::new(
                |passing: &Passing<'_>, out: &mut dyn Write| match passing.qtype {
                    Type::SOA => as_it_is(passing, out),
                    // So that the whole zone is asked for.
                    Type::IXFR => false,
                    _ => (lie.change)(passing, out),
                },
            ),
        );
        let (keys, key) = match lie.signed {
            true => (
                format!("  tsig {{\n    secret k.example. {SECRET}\n  }}\n"),
                " key k.example.",
            ),
            false => (String::new(), ""),
        };
        writeln!(
            their_corefile,
            "{zone}:{theirs} {{\n  bind 127.0.0.1\n{keys}  file {zone} {{\n    reload 100ms\n  }}\n  transfer {{\n    to 127.0.0.1:{ours}{key}\n    to 127.0.0.0/8{key}\n  }}\n}}"
        )
        .expect("memory");
        writeln!(
            our_corefile,
            "{zone}:{ours} {{\n  bind 127.0.0.1\n  prometheus 127.0.0.1:{admin}\n{keys}  secondary {{\n    transfer from {}{key}\n    file {zone}\n    max_records 5000\n  }}\n}}",
            link.address
        )
        .expect("memory");
        links.push((zone, link, lie));
    }
    let rest = ".:{PORT} {\n  bind 127.0.0.1\n}\n";
    let _primary = Server::start_in(&there, &(their_corefile + rest));
    let server = Server::start_with(&here, &(our_corefile + rest), &["-admin", "admin.sock"]);
    if dig(address, &["example", "SOA"]).is_none() {
        return;
    }
    for (zone, ..) in &links {
        wait_until(zone, || served(address, zone) == ["1", "1"]);
        wait_until("the copy", || here.join(zone).exists());
    }
    let first = links
        .iter()
        .map(|(zone, ..)| std::fs::read_to_string(here.join(zone)));
    let first: Vec<_> = first.map(|copy| copy.expect("a copy")).collect();
    for (zone, link, _) in &links {
        link.be_honest(false);
        replace(&there.join(zone), &version(2));
    }
    for ((zone, link, lie), first) in links.iter().zip(&first) {
        let why = format!(
            "Failed to transfer zone {zone}.: {}: {}",
            link.address, lie.why
        );
        server.wait_for_log(&why);
        assert_eq!(served(address, zone), ["1", "1"], "{zone}");
        let copy = std::fs::read_to_string(here.join(zone)).expect("a copy");
        assert!(copy == *first, "{zone} is another one on disk");
        wait_until("the status", || {
            let one = status(&here, zone);
            assert_eq!(one["serial"], 1, "{zone}: {one}");
            // The primary has two transfers at a time, and refuses others.
            let told = one["last_error"].as_str();
            told.is_some_and(|told| told.contains(lie.why))
        });
    }
    let metrics = get(SocketAddr::from((Ipv4Addr::LOCALHOST, admin)), "/metrics");
    let metrics = metrics.expect("metrics");
    for (zone, ..) in &links {
        for line in [
            format!("nameplate_zone_failing{{zone=\"{zone}.\"}} 1"),
            format!("nameplate_zone_serial{{zone=\"{zone}.\"}} 1"),
        ] {
            assert!(metrics.contains(&line), "{line} in {metrics}");
        }
    }
    let sent = SENT.load(Ordering::SeqCst);
    assert!(
        (5_000..1_000_000).contains(&sent),
        "the runaway has sent {sent} records"
    );
    // Nobody says that the primary is well again: the zone's RETRY does.
    for (_, link, _) in &links {
        link.be_honest(true);
    }
    for (zone, ..) in &links {
        wait_until(zone, || served(address, zone) == ["2", "2"]);
        wait_until("a status without an error", || {
            status(&here, zone)["last_error"] == Value::Null
        });
    }
}

/// Differences that do not apply are no reason to be without the zone: all of it is asked for, and the log says why.
#[test]
fn differences_that_do_not_apply_are_passed_over() {
    let (there, here) = (
        temporary_directory("bad-differences-primary"),
        temporary_directory("bad-differences-secondary"),
    );
    let (theirs, ours) = (free_port(), free_port());
    let [primary, address] =
        [theirs, ours].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    replace(&there.join("db"), &version(1));
    let link = Link::to(
        primary,
        1,
        Arc::new(|passing: &Passing<'_>, out: &mut dyn Write| {
            // The record that is removed is another one.
            let mut message = passing.message.to_vec();
            let gone = b"serial-1";
            let at = message.windows(gone.len()).position(|part| part == gone);
            if let (Type::IXFR, Some(at)) = (passing.qtype, at) {
                message[at + gone.len() - 1] = b'9';
            }
            put(&message, out)
        }),
    );
    link.be_honest(false);
    let _primary = Server::start_in(
        &there,
        &format!(
            "example.org:{theirs} {{\n  bind 127.0.0.1\n  file db {{\n    reload 100ms\n  }}\n  transfer {{\n    to 127.0.0.1:{ours}\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    let server = Server::start_in(
        &here,
        &format!(
            "example.org:{ours} {{\n  bind 127.0.0.1\n  secondary {{\n    transfer from {}\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n",
            link.address
        ),
    );
    if dig(address, &["example.org", "SOA"]).is_none() {
        return;
    }
    wait_until("version 1", || served(address, "example.org") == ["1", "1"]);
    replace(&there.join("db"), &version(2));
    wait_until("version 2", || served(address, "example.org") == ["2", "2"]);
    let log = server.log();
    let told = format!(
        "Incremental transfer of example.org. from {}: ",
        link.address
    );
    let line = log.lines().find(|line| line.contains(&told));
    let line = line.unwrap_or_else(|| panic!("{told} is not in {log}"));
    assert!(line.ends_with(": asking for the whole zone"), "{line}");
    assert!(log.contains("1004 records, 2 SOA serial\n"), "{log}");
}

/// Numbers that look like chance, and are the same each time.
pub(crate) struct Chance(pub(crate) AtomicU32);

impl Chance {
    /// A number below `end`.
    pub(crate) fn below(&self, end: u32) -> u32 {
        let step = |seed: u32| Some(seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let seed = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step);
        (seed.unwrap_or_default() >> 16) % end
    }

    fn one_in(&self, many: u32) -> bool {
        self.below(many) == 0
    }
}

/// Passes on datagrams to `to`: of three one is lost, and one comes twice.
fn lossy_datagrams(to: SocketAddr) -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = socket.local_addr().expect("an address").port();
    thread::spawn(move || {
        let chance = Chance(AtomicU32::new(7));
        let away = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let _ = away.set_read_timeout(Some(Duration::from_millis(200)));
        let mut datagram = [0; 4_096];
        while let Ok((len, from)) = socket.recv_from(&mut datagram) {
            if chance.one_in(3) {
                continue;
            }
            for _ in 0..1 + u8::from(chance.one_in(2)) {
                let _ = away.send_to(&datagram[..len], to);
            }
            if let Ok(len) = away.recv(&mut datagram) {
                let _ = socket.send_to(&datagram[..len], from);
            }
        }
    });
    port
}

/// BIND's zones over a link on which a quarter of the transfers end early and datagrams are lost: they arrive all the same, whole, and no
/// client is ever answered from an older version than before.
#[test]
fn zones_arrive_over_a_lossy_link() {
    const ZONES: usize = 3;
    const LAST: u32 = 2;
    let (there, here) = (
        temporary_directory("lossy-bind"),
        temporary_directory("lossy-secondary"),
    );
    let (theirs, ours) = (free_port(), free_port());
    let [primary, address] =
        [theirs, ours].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let notified = lossy_datagrams(address);
    let chance = Chance(AtomicU32::new(1));
    let cuts = Arc::new(AtomicU32::new(0));
    let counted = cuts.clone();
    let link = Link::to(
        primary,
        1,
        Arc::new(move |passing: &Passing<'_>, out: &mut dyn Write| {
            // BIND sends a zone in fifteen messages or more: few would get through if each of them were at risk.
            if passing.number > 1 || !chance.one_in(8) {
                return put(passing.message, out);
            }
            counted.fetch_add(1, Ordering::SeqCst);
            put_half(passing.message, out)
        }),
    );
    link.be_honest(false);
    let mut configuration = named_options(&there, theirs);
    let mut corefile = String::new();
    let zones: Vec<String> = (0..ZONES)
        .map(|number| format!("z{number}.example"))
        .collect();
    for zone in &zones {
        replace(&there.join(zone), &version(1));
        writeln!(
            configuration,
            "zone \"{zone}\" {{ type primary; file \"{zone}\"; ixfr-from-differences yes; allow-transfer {{ any; }}; also-notify port {notified} {{ 127.0.0.1; }}; }};"
        )
        .expect("memory");
        writeln!(
            corefile,
            "{zone}:{ours} {{\n  bind 127.0.0.1\n  secondary {{\n    transfer from {}\n    file {zone}\n  }}\n  transfer {{\n    to *\n  }}\n}}",
            link.address
        )
        .expect("memory");
    }
    let Some(named) = Peer::named(&there, &configuration) else {
        return;
    };
    for zone in &zones {
        wait_until("BIND", || served(primary, zone) == ["1", "1"]);
    }
    let _server = Server::start_in(&here, &(corefile + ".:{PORT} {\n  bind 127.0.0.1\n}\n"));
    let mut newest = [0; ZONES];
    for number in 1..=LAST {
        for zone in &zones {
            replace(&there.join(zone), &version(number));
        }
        named.reload();
        for (zone, newest) in zones.iter().zip(&mut newest) {
            wait_until(zone, || {
                let [serial, _] = served(address, zone);
                // Before the first transfer, there is none.
                let serial = serial.parse().unwrap_or(*newest);
                assert!(serial >= *newest, "{zone}: {serial} after {newest}");
                *newest = serial;
                serial == number
            });
        }
    }
    for zone in &zones {
        let records = |address| {
            let text = dig(address, &[zone, "AXFR", "+tcp", "+nocmd", "+nostats"]);
            crate::peers::records(&text.expect("dig"))
        };
        let whole = records(primary);
        assert!(whole.len() > FILLING, "{zone}");
        assert!(records(address) == whole, "{zone} differs");
    }
    assert!(
        cuts.load(Ordering::SeqCst) > 5,
        "the link was cut {cuts:?} times"
    );
}
