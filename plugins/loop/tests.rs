//! `loop`: what it counts, where it asks, what it says.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chain::setup::{Catalogue, Entry};
use chain::{Block, BlockInfo, Chain, Exchange, Plugin, Step};
use corefile::{Memory, Report};
use wire::{NameBuf, Type};

use crate::trial;

use super::{Loop, targets};

const CATALOGUE: Catalogue = &[Entry::Here(super::REGISTRATION)];

fn report(text: &str) -> Report {
    let (corefile, mut report) =
        corefile::parse("Corefile", text.as_bytes().to_vec(), &Memory::new());
    let planned = chain::setup::plan(&corefile, CATALOGUE, &mut report);
    let mut process = chain::admin::Process::default();
    if !report.has_errors() {
        let built = chain::setup::build(planned, CATALOGUE, &mut process).expect("it builds");
        assert_eq!((built[0].chain.steps().len(), process.tasks.len()), (1, 1));
    }
    report
}

#[test]
fn setups() {
    // (body, code of the first error)
    let cases = [
        ("loop", None),
        ("loop\n loop", Some("CF0120")),
        ("loop argument", Some("CF0107")),
        ("loop {\n}", Some("CF0121")),
    ];
    for (body, code) in cases {
        let report = report(&format!("example.org example.net {{\n {body}\n}}"));
        let first = report
            .iter()
            .find(|d| d.severity == corefile::Severity::Error);
        assert_eq!(first.map(|d| d.code), code, "{body}");
    }
}

fn info(server: &str) -> BlockInfo {
    BlockInfo {
        server: server.into(),
        plugins: Arc::from(["loop"]),
        ..trial::info("example.org.")
    }
}

static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn note(what: &str) {
    COUNT.fetch_add(1, Ordering::SeqCst);
    FOUND.lock().expect("a list").push(what.to_owned());
}

fn detector(found: fn(&str)) -> Arc<Loop> {
    let zone: NameBuf = "example.org.".parse().expect("a name");
    let plugin = Loop::new(zone, found).expect("a short zone");
    plugin.attach(&info("tls://:853"));
    plugin.attach(&info("dns://:1053"));
    plugin.attach(&info("dns://:53"));
    Arc::new(plugin)
}

/// Lets a query pass through the detector.
fn pass(plugin: &Arc<Loop>, name: &str, qtype: Type) {
    let chain = Chain::new(vec![Step::new(plugin.clone())]).expect("a short chain");
    let block = Arc::new(Block::new(info("dns://:1053"), Arc::new(chain)));
    let name: NameBuf = name.parse().expect("a name");
    let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(name.as_name().octets());
    message.extend_from_slice(&qtype.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    let mut exchange = Exchange::datagram();
    exchange.receive_buffer(message.len())[..message.len()].copy_from_slice(&message);
    exchange.set_received(message.len());
    exchange.parse().expect("a query");
    exchange.context.peer = "127.0.0.1:55953".parse().expect("an address");
    let _ = exchange.walk(&block);
    assert_eq!(
        exchange.views(&block).0.answered_by(),
        None,
        "it never answers"
    );
}

#[test]
fn the_third_time_is_a_loop() {
    let plugin = detector(note);
    let name = plugin.qname.to_string();
    pass(&plugin, &name, Type::HINFO);
    pass(&plugin, &name, Type::HINFO);
    for _ in 0..5 {
        pass(&plugin, &name, Type::A);
        pass(&plugin, "other.example.org.", Type::HINFO);
        pass(&plugin, "example.net.", Type::HINFO);
    }
    assert_eq!(COUNT.load(Ordering::SeqCst), 0);
    pass(&plugin, &name.to_uppercase(), Type::HINFO);
    let expected = format!(
        "Loop (127.0.0.1:55953 -> :1053) detected for zone \"example.org.\", see https://coredns.io/plugins/loop#troubleshooting. Query: \"HINFO {name}\""
    );
    assert_eq!(*FOUND.lock().expect("a list"), [expected]);
    plugin.off.store(true, Ordering::SeqCst);
    pass(&plugin, &name, Type::HINFO);
    assert_eq!(COUNT.load(Ordering::SeqCst), 1, "off is off");
}

#[test]
fn names_are_of_two_random_numbers() {
    let names: Vec<_> = (0..3).map(|_| detector(note).qname.to_string()).collect();
    for name in &names {
        let numbers: Vec<_> = name
            .strip_suffix(".example.org.")
            .expect("the zone")
            .split('.')
            .collect();
        assert_eq!(numbers.len(), 2, "{name}");
        assert!(
            numbers
                .iter()
                .all(|n| n.parse::<u64>().is_ok_and(|n| n < 1 << 62)),
            "{name}"
        );
    }
    assert!(names[0] != names[1] && names[1] != names[2]);
}

#[test]
fn listeners() {
    let cases: [(&str, &[&str]); 5] = [
        ("dns://:53", &["127.0.0.1:53", "[::1]:53"]),
        ("dns://0.0.0.0:1053", &["127.0.0.1:1053", "[::1]:1053"]),
        ("dns://192.0.2.1:53", &["192.0.2.1:53"]),
        ("dns://[2001:db8::1]:53", &["[2001:db8::1]:53"]),
        ("dns://nonsense", &[]),
    ];
    for (server, expected) in cases {
        let found: Vec<_> = targets(server).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{server}");
    }
}

#[test]
fn the_probe_goes_to_the_listener_and_then_the_detector_is_off() {
    let listener = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    listener
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let zone: NameBuf = "example.org.".parse().expect("a name");
    let plugin = Arc::new(Loop::new(zone, note).expect("a short zone"));
    plugin.attach(&info(&format!(
        "dns://{}",
        listener.local_addr().expect("an address")
    )));
    let probing = plugin.clone();
    let work = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(probing.probe());
    });
    let mut buffer = [0; 512];
    let (len, from) = listener.recv_from(&mut buffer).expect("a probe");
    let probe = wire::Message::new(&buffer[..len]).expect("a message");
    let (name, qtype, ..) = probe.question().expect("a question");
    assert_eq!((name, qtype), (plugin.qname, Type::HINFO));
    assert!(!plugin.off.load(Ordering::SeqCst));
    buffer[2] |= 0x80;
    listener.send_to(&buffer[..len], from).expect("it is sent");
    work.join().expect("it ends");
    assert!(plugin.off.load(Ordering::SeqCst));
}
