//! `explain`: what happens to one query, by the walk that every query takes.
//!
//! ```text
//! dry    load ─► Scene ─────────┐
//!                               ├─► walk, watched (chain::trace) ─► Record ─► text for people, JSON for machines
//! live   admin socket ─► Scene ─┘      on a worker
//! ```
//!
//! There is no second implementation that could say something else: [`crate::answer::answer`] is what listeners call, too. Dry, plugins
//! are built and their tasks are not started: caches are empty, and a plugin that watches something (a cluster) has seen nothing of it.
//! Live, the query is one like others: it is counted, logged and kept in caches.

mod order;
mod record;
mod scene;
mod text;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chain::setup::Catalogue;
use chain::trace::{self, Came, Hook, Trace};
use chain::{Block, Ending, Exchange, Hooks, Transport, resume};
use host::clock;
use tokio::task::LocalSet;
use tokio::time::timeout;
use wire::{Class, EdnsOption, EdnsOptions, Flags, Message, NameBuf, Opt, Qname, Section, Type};

use crate::answer::{Verdict, a_panic, abandon, answer, panicked, too_late};
use crate::finish::finish;
use crate::input::Source;
use crate::rescue::Rescue;
use crate::route::Table;
use crate::snapshot;
use crate::worker::guarded;

pub use order::{BlockOrder, Order, order, runs};
pub use record::{
    Answer, BlockVerdict, Change, Place, Record, Remark, Request, SCHEMA, Step, Visit,
};
pub(crate) use scene::{Scene, Texts};
pub use text::render;

/// The longest that a query may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The UDP size that the query offers.
const UDP_SIZE: u16 = 1_232;

/// Builds what `source` says, without listeners, and walks one query through it.
///
/// # Errors
/// The Corefile's mistakes, drawn; or what is wrong with the request.
pub fn dry(
    source: &Source,
    catalogue: Catalogue,
    port: u16,
    request: &Request,
) -> Result<Record, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let walked = {
        let _entered = runtime.enter();
        let loaded = snapshot::load(source, catalogue, port, false).map_err(|error| error.full)?;
        let listeners = loaded.listeners.iter();
        let scene = Scene {
            texts: loaded.texts.clone(),
            listeners: listeners
                .map(|(place, wanted)| (place.clone(), wanted.table.clone()))
                .collect(),
        };
        let local = LocalSet::new();
        runtime.block_on(local.run_until(explain(&scene, request, (port, 0), false)))
    };
    // A look at a file that does not come back must not hold up the end.
    runtime.shutdown_background();
    walked
}

/// Walks one query on the worker at hand.
pub(crate) async fn explain(
    scene: &Scene,
    request: &Request,
    (port, worker): (u16, u16),
    live: bool,
) -> Result<Record, String> {
    let (qname, qtype) = question(request)?;
    let name = Qname::from(qname.as_name());
    let number = scene.listener(request.at.as_deref(), port, (&name, qtype))?;
    let (place, table) = &scene.listeners[number];
    let mut exchange = compose(request, &qname, qtype)?;
    let ip = request.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    exchange.context.peer = SocketAddr::new(ip, 0);
    exchange.context.local = SocketAddr::new(place.ip.unwrap_or(ip), place.port);
    exchange.context.transport = match request.tcp {
        true => Transport::Tcp,
        false => Transport::Udp,
    };
    exchange.context.received = clock::now();
    exchange.context.worker = worker;
    let trace = Trace::new();
    exchange.watch(&trace);
    let began = clock::now();
    let (walked, outcome) = walk(exchange, table).await;
    let took_us = clock::now().saturating_sub(began) / 1_000;
    let visits = trace.visits();
    let first = visits.iter().find(|visit| is_own(visit));
    let chosen = first.map(|visit| visit.block.clone());
    let (blocks, more_blocks) = scene.blocks(table, (&name, qtype), chosen.as_ref());
    Ok(Record {
        schema: SCHEMA,
        live,
        query: Request {
            name: qname.to_string(),
            qtype: qtype.to_string(),
            from: Some(ip),
            ..request.clone()
        },
        server: place.label(),
        other_servers: scene.labels(Some(number)),
        blocks,
        more_blocks,
        steps: chosen.map_or_else(Vec::new, |block| steps(&block, &visits, scene)),
        answer: told(walked, outcome, &visits, took_us),
        visits: visits.iter().map(visit).collect(),
    })
}

/// QNAME and QTYPE.
fn question(request: &Request) -> Result<(NameBuf, Type), String> {
    let name = request.name.as_str();
    let whole = match name.ends_with('.') {
        true => name.to_owned(),
        false => format!("{name}."),
    };
    let qname = whole
        .parse::<NameBuf>()
        .map_err(|error| format!("{name}: not a domain name: {error}"))?;
    let qtype = request
        .qtype
        .parse::<Type>()
        .map_err(|_| format!("{}: not a record type", request.qtype))?;
    Ok((qname, qtype))
}

/// The query, received.
fn compose(request: &Request, qname: &NameBuf, qtype: Type) -> Result<Box<Exchange>, String> {
    let mut opt = Opt::new(UDP_SIZE);
    if request.dnssec_ok {
        opt.flags |= 0x8000;
    }
    let mut octets = Vec::new();
    let question = (qname.as_name(), qtype, Class::IN);
    wire::compose((1, Flags(Flags::RD)), question, Some(&opt), &mut octets)
        .map_err(|_| "the query has no room in a message".to_owned())?;
    let mut exchange = match request.tcp {
        true => Exchange::stream(),
        false => Exchange::datagram(),
    };
    exchange.receive_buffer(octets.len())[..octets.len()].copy_from_slice(&octets);
    exchange.set_received(octets.len());
    Ok(exchange)
}

/// What becomes of a walk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Response,
    Silence,
    Stream,
}

/// The walk, to its end.
async fn walk(mut exchange: Box<Exchange>, table: &Table) -> (Box<Exchange>, Outcome) {
    let (block, step) = match answer(&mut exchange, table) {
        Verdict::Respond => {
            return finished(exchange);
        }
        Verdict::Silent => return (exchange, Outcome::Silence),
        Verdict::Stream(..) => return (exchange, Outcome::Stream),
        Verdict::Suspended(block, step) => (block.clone(), step),
    };
    let rescue = Rescue::of(&exchange, (&block, step));
    let patience = match rescue.deadline() {
        // A plugin has said when the wait ends, as it is with a listener.
        Some(at) => PATIENCE.min(Duration::from_nanos(at.saturating_sub(clock::now()))),
        None => PATIENCE,
    };
    let resumed = timeout(patience, guarded(resume(exchange, block.clone(), step))).await;
    let panic = match resumed {
        Ok(Ok((exchange, Ending::Respond))) => return finished(exchange),
        Ok(Ok((exchange, Ending::Silent))) => return (exchange, Outcome::Silence),
        Ok(Ok((exchange, Ending::Stream))) => return (exchange, Outcome::Stream),
        Ok(Err(panic)) => Some(panic),
        Err(_) => None,
    };
    let Some((mut exchange, (block, step))) = rescue.restore(Exchange::stream()) else {
        return (Exchange::stream(), Outcome::Silence);
    };
    match panic {
        Some(panic) => {
            panicked(&block, step, &*panic);
            abandon(&mut exchange, &block, step, a_panic);
        }
        None => abandon(&mut exchange, &block, step, too_late),
    }
    finished(exchange)
}

fn finished(mut exchange: Box<Exchange>) -> (Box<Exchange>, Outcome) {
    finish(&mut exchange);
    (exchange, Outcome::Response)
}

/// Whether a visit is the query's own, not one of a look-up below or beside it.
fn is_own(visit: &trace::Visit) -> bool {
    visit.depth == 0 && !visit.aside
}

/// The chain of the chosen block, and what each plugin of it did.
fn steps(block: &Arc<Block>, visits: &[trace::Visit], scene: &Scene) -> Vec<Step> {
    let own = || visits.iter().filter(|visit| is_own(visit));
    let stopped = own().find(|visit| {
        let down = matches!(visit.hook, Hook::Query | Hook::Resolve);
        down && !matches!(visit.came, Came::Passed | Came::Waits)
    });
    let steps = block.chain.steps().iter().enumerate();
    steps
        .map(|(number, step)| {
            let here = || own().filter(|visit| visit.step == number);
            let down = here().rfind(|visit| matches!(visit.hook, Hook::Query | Hook::Resolve));
            let waited = here()
                .filter(|visit| matches!(visit.hook, Hook::Resolve | Hook::Respond))
                .map(|visit| visit.took / 1_000)
                .sum();
            let (verdict, why) = match down {
                Some(visit) => (visit.came.name(), None),
                None if here().next().is_some() => ("watched", None),
                None => ("not asked", Some(not_asked(number, step, stopped))),
            };
            Step {
                plugin: step.plugin.name().to_owned(),
                place: step.place().map(|span| scene.texts.place(span)),
                verdict: verdict.to_owned(),
                why,
                waited_us: waited,
            }
        })
        .collect()
}

/// Why a plugin was not asked.
fn not_asked(number: usize, step: &chain::Step, stopped: Option<&trace::Visit>) -> String {
    match stopped {
        Some(visit) if visit.step < number => {
            let name = visit.block.chain.steps()[visit.step].plugin.name();
            match visit.came {
                Came::Failed(_) => format!("`{name}` failed"),
                Came::Silent => format!("`{name}` sends no response"),
                _ => format!("`{name}` answered"),
            }
        }
        _ if !step.hooks().has(Hooks::QUERY) && !step.hooks().has(Hooks::RESPONSE) => {
            "it sees no queries".to_owned()
        }
        _ => "it does not accept queries of this kind".to_owned(),
    }
}

fn visit(visit: &trace::Visit) -> Visit {
    let steps = visit.block.chain.steps();
    Visit {
        depth: visit.depth,
        aside: visit.aside,
        zone: visit.block.info.zone.to_string(),
        step: visit.step,
        plugin: steps
            .get(visit.step)
            .map_or_else(String::new, |step| step.plugin.name().to_owned()),
        hook: visit.hook.name().to_owned(),
        came: visit.came.name().to_owned(),
        why: match &visit.came {
            Came::Failed(failure) => Some(reason(failure)),
            _ => None,
        },
        began_us: visit.began / 1_000,
        took_us: visit.took / 1_000,
        changes: visit
            .changes
            .iter()
            .map(|change| Change {
                what: change.what.to_owned(),
                from: change.from.clone(),
                to: change.to.clone(),
            })
            .collect(),
        remarks: visit
            .remarks
            .iter()
            .map(|remark| Remark {
                what: remark.what.to_owned(),
                facts: remark
                    .facts
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone()))
                    .collect(),
            })
            .collect(),
    }
}

/// A failure in words: its cause, or the extended error, or the RCODE alone.
fn reason(failure: &chain::Failure) -> String {
    let cause = failure.cause.to_string();
    match (&failure.extended, cause.is_empty()) {
        (_, false) => format!("{}: {cause}", failure.rcode),
        (Some(extended), true) => format!("{}: {}", failure.rcode, &*extended.text),
        (None, true) => failure.rcode.to_string(),
    }
}

/// What became of the query.
fn told(
    mut exchange: Box<Exchange>,
    outcome: Outcome,
    visits: &[trace::Visit],
    took_us: u64,
) -> Answer {
    let failure = visits
        .iter()
        .rev()
        .filter(|visit| is_own(visit))
        .find_map(|visit| {
            let steps = visit.block.chain.steps();
            let plugin = steps.get(visit.step)?.plugin.name().to_owned();
            match &visit.came {
                Came::Failed(_) | Came::Open => Some((plugin, visit.block.clone())),
                _ => None,
            }
        });
    let block = visits.first().map(|visit| visit.block.clone());
    let (answered_by, cause) = match &block {
        Some(block) => {
            let (query, _) = exchange.views(block);
            let cause = query.failure().map(reason);
            (query.answered_by().map(str::to_owned), cause)
        }
        None => (
            None,
            Some("no server block serves this name, type and class".to_owned()),
        ),
    };
    let mut out = Answer {
        outcome: match outcome {
            Outcome::Response => "response",
            Outcome::Silence => "silence",
            Outcome::Stream => "stream",
        }
        .to_owned(),
        failed: failure
            .filter(|_| answered_by.is_none())
            .map(|(plugin, _)| plugin),
        answered_by,
        cause,
        rcode: String::new(),
        flags: String::new(),
        size: 0,
        answer: Vec::new(),
        authority: Vec::new(),
        additional: Vec::new(),
        extended_error: None,
        took_us,
    };
    if outcome != Outcome::Response {
        return out;
    }
    if let Some(message) = Message::new(exchange.reply()) {
        out.rcode = message.rcode().to_string();
        out.flags = message.flags().to_string().replace(',', " ");
        out.size = message.octets().len();
        out.answer = records(&message, Section::Answer);
        out.authority = records(&message, Section::Authority);
        out.additional = records(&message, Section::Additional);
        out.extended_error = extended(&message);
    }
    out
}

/// A section in presentation format.
fn records(message: &Message<'_>, section: Section) -> Vec<String> {
    let records = message.section(section).filter_map(Result::ok);
    records
        .filter(|record| record.rtype != Type::OPT)
        .map(|record| {
            let owner = record
                .owner()
                .map_or_else(|_| "?".into(), |o| o.to_string());
            let rdata = zone::present_rdata(&record);
            let (ttl, class, rtype) = (record.ttl, record.class, record.rtype);
            format!("{owner} {ttl} {class} {rtype} {rdata}")
        })
        .collect()
}

/// The extended error of a response.
fn extended(message: &Message<'_>) -> Option<(u16, String)> {
    let opt = message.opt()?;
    let option =
        EdnsOptions::new(opt.rdata()).find(|option| option.code == EdnsOption::EXTENDED_ERROR)?;
    let code = wire::read_u16(option.data, 0)?;
    let text = String::from_utf8_lossy(option.data.get(2..)?).into_owned();
    Some((code, text))
}
