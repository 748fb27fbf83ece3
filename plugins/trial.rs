//! A Corefile tried without a server: read, checked and built as at start, and its chains walked.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chain::admin::Process;
use chain::setup::{self, BuiltBlock, Parse, PlannedBlock};
use chain::{Block, BlockInfo, Chain, Exchange, Failure, Flow, Plugin, Query, Step};
use corefile::{Memory, Report};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span, subscriber};
use wire::{Flags, Header, NameBuf, Response, Section, Type};

/// What became of a Corefile.
pub(crate) struct Trial {
    /// All messages of the report, errors and warnings, one a line.
    pub(crate) messages: String,
    /// The blocks; empty when the Corefile was refused.
    pub(crate) blocks: Vec<BuiltBlock>,
    /// What directives said of the process.
    pub(crate) process: Process,
    /// Whether it would have been served.
    pub(crate) accepted: bool,
}

/// Reads and checks `text`.
pub(crate) fn plan(text: &str) -> (Vec<PlannedBlock>, Report) {
    let (corefile, mut report) = corefile::parse("Corefile", text.into(), &Memory::new());
    let planned = setup::plan(&corefile, crate::ORDER, &mut report);
    (planned, report)
}

/// Reads, checks and builds `text`.
pub(crate) fn build(text: &str) -> Trial {
    let (planned, report) = plan(text);
    let mut messages: String = report.iter().map(|d| format!("{}\n", d.message)).collect();
    let mut process = Process::default();
    let (mut blocks, mut accepted) = (Vec::new(), !report.has_errors());
    if accepted {
        match setup::build(planned, crate::ORDER, &mut process) {
            Ok(built) => blocks = built,
            Err(failure) => {
                messages.push_str(&failure.message);
                accepted = false;
            }
        }
    }
    Trial {
        messages,
        blocks,
        process,
        accepted,
    }
}

/// The same for the lines of one server block, `.`.
pub(crate) fn block(lines: &str) -> Trial {
    build(&format!(".:53 {{\n{lines}\n}}\n"))
}

/// What `read` makes of the directives of a block, and its report.
pub(crate) fn directive<T>(
    name: &'static str,
    lines: &str,
    read: impl FnOnce(&mut Parse<'_>) -> T,
) -> (T, Report) {
    let text = format!(". {{\n{lines}\n}}\n");
    let (corefile, mut report) = corefile::parse("Corefile", text.into(), &Memory::new());
    let directives: Vec<_> = corefile.blocks[0].directives.iter().collect();
    let value = read(&mut Parse {
        name,
        directives: &directives,
        zones: &[".".to_owned()],
        report: &mut report,
    });
    (value, report)
}

/// A table of lines and what their refusal says; nothing when they are accepted.
pub(crate) fn table(rows: &[(&str, &str)]) {
    for (lines, refusal) in rows {
        let trial = block(lines);
        assert_eq!(
            trial.accepted,
            refusal.is_empty(),
            "{lines:?}: {}",
            trial.messages
        );
        assert!(
            trial.messages.contains(refusal),
            "{lines:?}: expected {refusal:?} in {:?}",
            trial.messages
        );
    }
}

/// Every `corefile` block of a README is accepted, and there is one.
pub(crate) fn readme(text: &str) {
    let mut blocks = 0;
    for part in text.split("```corefile\n").skip(1) {
        let (example, _) = part.split_once("```").unwrap_or((part, ""));
        let (_, report) = plan(example);
        let messages: Vec<_> = report.iter().map(|d| d.message.as_str()).collect();
        assert!(!report.has_errors(), "{example}\n{messages:?}");
        blocks += 1;
    }
    assert!(blocks > 0, "no example");
}

/// A directory that is removed with its content.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// An empty one, of this name and process.
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nameplate-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// Writes a file in it, and says where it is.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A plugin that answers as it is told.
pub(crate) struct Answer<F>(F);

/// A plugin that answers so.
pub(crate) fn answer<F>(answer: F) -> Arc<Answer<F>>
where
    F: Fn(&mut Query<'_>, &mut Response<'_>) -> Result<Flow, Failure> + Send + Sync + 'static,
{
    Arc::new(Answer(answer))
}

impl<F> Plugin for Answer<F>
where
    F: Fn(&mut Query<'_>, &mut Response<'_>) -> Result<Flow, Failure> + Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        "answer"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        self.0(query, response)
    }
}

/// The first block of a trial as it would serve `zone`, with `last` below its plugins.
pub(crate) fn serve(trial: &Trial, zone: &str, last: Arc<dyn Plugin>) -> Arc<Block> {
    let built = &trial.blocks[0];
    let mut steps: Vec<Step> = built
        .chain
        .steps()
        .iter()
        .map(|step| Step::new(step.plugin.clone()))
        .collect();
    steps.push(Step::new(last));
    block_of(
        (zone, built.config.debug),
        steps,
        built.config.labels.clone(),
    )
}

/// A chain of these, for the root zone.
pub(crate) fn chain(plugins: impl IntoIterator<Item = Arc<dyn Plugin>>) -> Arc<Block> {
    block_of(
        (".", false),
        plugins.into_iter().map(Step::new).collect(),
        None,
    )
}

/// A block of these steps, which collects labels about names in the zones of `labels`.
fn block_of(
    (zone, debug): (&str, bool),
    steps: Vec<Step>,
    labels: Option<Vec<NameBuf>>,
) -> Arc<Block> {
    let info = BlockInfo {
        debug,
        plugins: steps.iter().map(|step| step.plugin.name()).collect(),
        ..info(zone)
    };
    for step in &steps {
        step.plugin.attach(&info);
    }
    let chain = Chain::new(steps).unwrap_or_else(|count| panic!("{count} steps"));
    let chain = match labels {
        Some(zones) => chain.collecting(zones),
        None => chain,
    };
    Arc::new(Block::new(info, Arc::new(chain)))
}

/// The first block of a Corefile, for `zone`; its plugins are not named.
pub(crate) fn info(zone: &str) -> BlockInfo {
    BlockInfo {
        index: 0,
        server: "dns://:53".into(),
        zone: zone.into(),
        origin: zone.parse().unwrap_or(NameBuf::root()),
        view: "".into(),
        plugins: Arc::new([]),
        debug: false,
    }
}

/// A response in a few words: RCODE, AA, then owner, TTL, type and RDATA of each answer, then the types in the authority section.
pub(crate) fn told(response: &Response<'_>) -> String {
    let mut out = response.rcode().to_string();
    if response.flags().has(Flags::AA) {
        out.push_str(" aa");
    }
    for record in response.records() {
        let record = record.expect("a record");
        if record.section == Section::Authority {
            let _ = write!(out, " + {}", record.rtype);
        }
        if record.section != Section::Answer {
            continue;
        }
        let owner = record.owner().expect("an owner");
        let _ = write!(out, " | {owner} {} {}", record.ttl, record.rtype);
        let rdata = record.rdata();
        let name = |at| record.rdata_name(at).expect("a name");
        let _ = match record.rtype {
            Type::A => {
                let octets = <[u8; 4]>::try_from(rdata).expect("4 octets");
                write!(out, " {}", Ipv4Addr::from(octets))
            }
            Type::AAAA => {
                let octets = <[u8; 16]>::try_from(rdata).expect("16 octets");
                write!(out, " {}", Ipv6Addr::from(octets))
            }
            Type::MX => write!(out, " {}", name(2)),
            Type::CNAME | Type::PTR | Type::NS => write!(out, " {}", name(0)),
            _ => Ok(()),
        };
    }
    out
}

/// A query over UDP from 192.0.2.1:4711, RD set, with OPT when a size is given; DO when that size is odd.
pub(crate) fn exchange(name: &str, qtype: Type, udp_size: Option<u16>) -> Box<Exchange> {
    let name: NameBuf = name.parse().expect("a name");
    let header = Header {
        id: 58_075,
        flags: wire::Flags(wire::Flags::RD),
        counts: [1, 0, 0, u16::from(udp_size.is_some())],
    };
    let mut message = header.to_octets().to_vec();
    message.extend_from_slice(name.as_name().octets());
    message.extend_from_slice(&qtype.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    if let Some(size) = udp_size {
        let [high, low] = (size & !1).to_be_bytes();
        let dnssec_ok = if size % 2 == 1 { 0x80 } else { 0 };
        message.extend_from_slice(&[0, 0, 41, high, low, 0, 0, dnssec_ok, 0, 0, 0]);
    }
    let mut exchange = Exchange::datagram();
    exchange.receive_buffer(message.len())[..message.len()].copy_from_slice(&message);
    exchange.set_received(message.len());
    exchange.parse().expect("a query");
    exchange.context.peer = "192.0.2.1:4711".parse().expect("an address");
    exchange.context.local = "192.0.2.53:53".parse().expect("an address");
    exchange.context.received = host::clock::now();
    exchange
}

/// A query for addresses of `www.example.org.` with these EDNS options, or without an OPT record.
pub(crate) fn with_options(options: Option<&[(u16, &[u8])]>) -> Box<Exchange> {
    let mut exchange = exchange("www.example.org.", Type::A, options.map(|_| 1_232));
    let mut message = exchange.message().to_vec();
    let mut data = Vec::new();
    for (code, octets) in options.unwrap_or_default() {
        data.extend_from_slice(&code.to_be_bytes());
        data.extend_from_slice(&(octets.len() as u16).to_be_bytes());
        data.extend_from_slice(octets);
    }
    if options.is_some() {
        let end = message.len();
        message[end - 2..].copy_from_slice(&(data.len() as u16).to_be_bytes());
        message.extend_from_slice(&data);
    }
    exchange.receive_buffer(message.len())[..message.len()].copy_from_slice(&message);
    exchange.set_received(message.len());
    exchange.parse().expect("a query");
    exchange
}

/// What `work` writes to the log: `LEVEL target: message`, one a line.
pub(crate) fn logged(work: impl FnOnce()) -> String {
    let log = Log::default();
    let lines = log.0.clone();
    subscriber::with_default(log, work);
    let lines = lines.lock().expect("no panic");
    lines.clone()
}

/// Keeps events.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> subscriber::Interest {
        subscriber::Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut lines = self.0.lock().expect("no panic");
        let metadata = event.metadata();
        let _ = write!(lines, "{} {}: ", metadata.level(), metadata.target());
        event.record(&mut Message(&mut lines));
        lines.push('\n');
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Writes an event's message.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// An upstream over UDP on loopback, until the process ends: `reply` says what it sends for a query; nothing is silence.
pub(crate) fn upstream(
    reply: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> std::net::SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
            if let Some(reply) = reply(&buffer[..len]) {
                let _ = socket.send_to(&reply, peer);
            }
        }
    });
    address
}

/// A response to a query without OPT: an RCODE and, where there is one, an address.
pub(crate) fn reply_of(query: &[u8], rcode: wire::Rcode, address: Option<[u8; 4]>) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80 | rcode.0 as u8;
    if let Some(address) = address {
        reply[7] = 1;
        reply.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend_from_slice(&address);
    }
    reply
}

/// What a block answers, on a runtime such as a worker has; what `before` does with the query comes first.
pub(crate) fn ask_with(
    block: &Arc<Block>,
    (name, qtype): (&str, Type),
    before: impl FnOnce(&mut Query<'_>, &mut Response<'_>),
) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut exchange = exchange(name, qtype, None);
        let (mut query, mut response) = exchange.views(block);
        before(&mut query, &mut response);
        if let chain::Outcome::Suspended(at) = exchange.walk(block) {
            exchange = chain::resume(exchange, block.clone(), at).await.0;
        }
        told(&exchange.response())
    })
}

/// What a block answers.
pub(crate) fn ask(block: &Arc<Block>, name: &str, qtype: Type) -> String {
    ask_with(block, (name, qtype), |_, _| {})
}
