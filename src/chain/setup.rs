//! From directives to plugins at work, in three steps that never mix.
//!
//! 1. **parse**: syntax to a typed value, spans kept. Every mistake goes into the report.
//! 2. **validate**: what can be said without I/O; with the lints this is all that `check` runs.
//! 3. **build**: opens files, watches and sockets. Fails with the place of the directive.
//!
//! Order is that of the catalogue, not of the Corefile: for every plugin in order, for every block, as CoreDNS does.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use corefile::key::Key;
use corefile::{Corefile, Diagnostic, Directive, Report, Severity, Span};
use wire::NameBuf;

use crate::admin::{Endpoint, Process, Task, Work, resolve_address};
use crate::block::Filter;
use crate::capability::Capabilities;
use crate::inspect::Inspect;
use crate::length;
use crate::lint;
use crate::listen::Addresses;
use crate::meet;
use crate::order::{self, Move};
use crate::overlap;
use crate::plugin::Plugin;
use crate::transport::Transport;
use crate::walk::{Chain, Step};

mod bounds;
mod known;
mod parse;
mod proxy;
mod xdp;

pub use bounds::{ListenerBounds, TransportBounds};
pub use parse::Parse;
pub use proxy::{ProxyPolicy, ProxyProtocol};
pub use xdp::{XdpInterface, XdpMode};

/// A plugin in the catalogue.
#[derive(Clone, Copy)]
pub struct Registration {
    /// The directive.
    pub name: &'static str,
    /// Reads its lines; `None` when they are beyond use (the report says why).
    pub parse: fn(&mut Parse<'_>) -> Option<Box<dyn Setup>>,
    /// Whether it registers a handler in the chain.
    pub handler: bool,
}

/// One line of the plugin list.
#[derive(Clone, Copy)]
pub enum Entry {
    /// At work here.
    Here(Registration),
    /// A directive of CoreDNS that is not implemented: refused, never swallowed.
    Absent(&'static str),
    /// A directive that is implemented and was left out of this build, with the feature of its name: refused likewise.
    LeftOut(&'static str),
}

impl Entry {
    /// The directive.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Here(registration) => registration.name,
            Self::Absent(name) | Self::LeftOut(name) => name,
        }
    }
}

/// The ordered list of plugins.
pub type Catalogue = &'static [Entry];

/// How far a plugin's answers reach, for the lints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answers {
    /// It only watches, changes or configures.
    Nothing,
    /// It answers the names it knows; the others fall through to the next plugin.
    SomeNames,
    /// It answers everything in the zones that it finds at run time; names in none of them go on, and are refused where nobody is left.
    SomeZones,
    /// It answers everything in its zones; nothing below it is asked there.
    Everything,
}

/// What a block looks like to the setup of one of its directives.
pub struct Scene<'a> {
    /// The zones of the block's keys, normalised.
    pub zones: &'a [String],
    /// The directives of the block in file order.
    pub directives: &'a [Directive],
    /// The block's keys, as far as they could be read.
    pub keys: &'a [Key],
}

impl Scene<'_> {
    /// The zones that a directive names, or the block's where it names none.
    pub fn zones_of<'a>(&'a self, named: &'a [String]) -> &'a [String] {
        if named.is_empty() { self.zones } else { named }
    }

    /// Whether a mistake is reported between the directive that stands at `name` and the next one: what it was meant to do is not known,
    /// and the mistake is not to be told of twice.
    pub fn is_broken(&self, name: Span, report: &Report) -> bool {
        let next = self
            .directives
            .iter()
            .map(|directive| directive.name.span)
            .filter(|other| other.file == name.file && other.start > name.start)
            .map(|other| other.start)
            .min();
        report
            .iter()
            .filter(|found| found.severity == Severity::Error || found.code == "CF0213")
            .filter_map(Diagnostic::span)
            .any(|span| {
                span.file == name.file
                    && span.start >= name.start
                    && next.is_none_or(|next| span.start < next)
            })
    }

    /// The first use of `name` in the block.
    pub fn directive(&self, name: &str) -> Option<&Directive> {
        self.directives
            .iter()
            .find(|directive| directive.name.text == name)
    }
}

/// The typed value of one directive (all its occurrences) in one block.
pub trait Setup: Send {
    /// Says what is wrong or dubious, without I/O.
    fn validate(&self, _scene: &Scene<'_>, _report: &mut Report) {}

    /// How far its answers reach, and in which zones (empty: the block's), one entry per handler.
    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        Vec::new()
    }

    /// The lines of addresses that the block listens on, from the directive that says so.
    fn bound(&self) -> &[Vec<BindWord>] {
        &[]
    }

    /// Reads the files that it names and says what is wrong with them; for `check`.
    fn inspect(&self, _inspect: &mut Inspect<'_>) {}

    /// The directory that relative file names of its block start from, where it says so.
    fn root(&self) -> Option<&Path> {
        None
    }

    /// Where it serves pages over HTTP.
    fn pages(&self) -> &[Listen] {
        &[]
    }

    /// Whom it asks, as far as addresses are written.
    fn asks(&self) -> Vec<Asks<'_>> {
        Vec::new()
    }

    /// The files that it writes for zones of a block with these `zones`, from the directory `root`. The disk is asked only for what a
    /// path means.
    fn writes(&self, _zones: &[String], _root: &Path) -> Vec<Writes> {
        Vec::new()
    }

    /// Names that it answers whatever its files say.
    fn names(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Whether the block serves some queries of its zones only, so that other blocks may serve the rest ([`BlockConfig::filter`]).
    fn filters(&self) -> bool {
        false
    }

    /// The name of that filter, and where it is written.
    fn view(&self) -> Option<(&str, Span)> {
        None
    }

    /// Whether that filter lets every query in.
    fn admits_all(&self) -> bool {
        false
    }

    /// Whether the block gets addresses that come and go ([`BlockConfig::listen`]), which are not known beforehand.
    fn listens(&self) -> bool {
        false
    }

    /// Plugins that it moves in the order of its block.
    fn moves(&self) -> &[Move] {
        &[]
    }

    /// How many handlers it puts in the chain, where it has any.
    fn handlers(&self) -> usize {
        1
    }

    /// Whether it asks other servers for names that nobody here knows, so that responses offer recursion.
    fn recurses(&self) -> bool {
        false
    }

    /// Opens what it needs and takes its place in the chain.
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError>;
}

/// A server that a plugin asks.
pub struct Asks<'a> {
    /// The zone whose names it is asked for, normalised.
    pub from: &'a str,
    /// Its address.
    pub address: SocketAddr,
    /// Where it is written.
    pub span: Span,
}

/// A file that a plugin writes whole.
pub struct Writes {
    /// The file.
    pub path: PathBuf,
    /// What is written: lines may share a file for the same.
    pub content: String,
    /// Where it is named.
    pub span: Span,
    /// Whether the path of a directory stands for a file of each zone in it.
    pub in_directory: bool,
}

/// Where a page of the admin side is served, as it is written.
pub struct Listen {
    /// `HOST:PORT`, or `:PORT` for all addresses.
    pub text: String,
    span: Span,
}

impl Listen {
    /// Where it is written.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The address; a host's name is looked up by the system.
    ///
    /// # Errors
    /// When the host has no address.
    pub fn resolve(&self) -> Result<SocketAddr, BuildError> {
        resolve_address(&self.text)
            .map_err(|e| BuildError::new(format!("{}: {e}", self.text)).at(self.span))
    }
}

/// Why a plugin could not be built.
#[derive(Debug)]
pub struct BuildError {
    /// What happened.
    pub message: String,
    /// Where in the Corefile, when it is a narrower place than the directive.
    pub span: Option<Span>,
}

impl BuildError {
    /// An error at the directive as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span: None,
        }
    }

    /// The same, at `span`.
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BuildError {}

/// Timeouts and bounds of stream connections (RFC 7766, section 6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamLimits {
    /// The longest wait for the rest of a message that has begun.
    pub read: Duration,
    /// The longest wait for a peer to take a response.
    pub write: Duration,
    /// The longest wait for the next query.
    pub idle: Duration,
    /// How many queries a connection may bring; `None` is unlimited.
    pub queries: Option<u32>,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            read: Duration::from_secs(3),
            write: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            queries: None,
        }
    }
}

/// One word of `bind`, and whether it takes away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindWord {
    /// An address or the name of an interface.
    pub word: String,
    /// Whether it stands behind `except`.
    pub except: bool,
    /// Where it is written.
    pub span: Span,
}

/// What directives say of one server block.
#[derive(Clone)]
pub struct BlockConfig {
    /// The directory that relative file names start from.
    pub root: PathBuf,
    /// The addresses to listen on; empty is all.
    pub bind: Vec<Vec<BindWord>>,
    /// Addresses that come and go, to listen on too; with these and no `bind`, on these alone.
    pub listen: Option<Addresses>,
    /// Whether `debug` stands in the block.
    pub debug: bool,
    /// Whether `errors` wants the stack of a panic in the log.
    pub stacktrace: bool,
    /// Timeouts and bounds of stream connections.
    pub streams: StreamLimits,
    /// The certificate of its listeners, and whom they let in.
    pub tls: Option<crate::tls::Tls>,
    /// Bounds by transport; one that is missing has the default.
    pub bounds: HashMap<Transport, ListenerBounds>,
    /// Whose headers of the PROXY protocol are believed; without, none is looked for.
    pub proxy: Option<Arc<ProxyProtocol>>,
    /// Sockets per listen address; `None` is one per worker.
    pub sockets: Option<usize>,
    /// Whether a plugin of the block asks other servers ([`Setup::recurses`]).
    pub recurses: bool,
    /// The zones about whose names labels are collected; `None` for none ([`crate::metadata`]).
    pub labels: Option<Vec<NameBuf>>,
    /// Whether what is dropped because the UDP sockets of the block's listener are overloaded is counted as `shed` counts it.
    pub counts_shed: bool,
    /// The interfaces from which its queries are taken below the kernel's UDP stack.
    pub xdp: Vec<XdpInterface>,
    /// The name of its view; empty when there is none.
    pub view: Arc<str>,
    /// Which queries of its zones it serves; all where there is none.
    pub filter: Option<Arc<dyn Filter>>,
}

impl Default for BlockConfig {
    fn default() -> Self {
        Self {
            root: PathBuf::from("."),
            bind: Vec::new(),
            listen: None,
            debug: false,
            stacktrace: false,
            streams: StreamLimits::default(),
            tls: None,
            bounds: HashMap::new(),
            proxy: None,
            sockets: None,
            recurses: false,
            labels: None,
            counts_shed: false,
            xdp: Vec::new(),
            view: "".into(),
            filter: None,
        }
    }
}

/// What a plugin is built with.
pub struct Build<'a> {
    /// What directives said of this block so far.
    pub config: &'a mut BlockConfig,
    /// What directives said of the process so far.
    pub process: &'a mut Process,
    zones: &'a [String],
    block: usize,
    keys: &'a [Key],
    /// Whether it serves some queries of its zones only.
    filters: bool,
    name: &'static str,
    steps: &'a mut Vec<Step>,
    /// Where the directive stands, each time.
    places: &'a [Span],
    /// How many handlers it has appended.
    pushed: usize,
    capabilities: &'a Arc<Capabilities>,
}

impl Build<'_> {
    /// Appends a handler to the chain: the first of a plugin stands for its first line in the server block, the second for the second.
    pub fn push(&mut self, plugin: Arc<dyn Plugin>) {
        let last = self.places.len().saturating_sub(1);
        let place = self.places.get(self.pushed.min(last)).copied();
        self.pushed += 1;
        let step = Step::new(plugin);
        self.steps.push(match place {
            Some(place) => step.at(place),
            None => step,
        });
    }

    /// The zones of the block's keys, normalised.
    pub fn zones(&self) -> &[String] {
        self.zones
    }

    /// `zones`, or the block's own when there are none, in wire form.
    ///
    /// # Errors
    /// When a text is not a name; parsing should have said so.
    pub fn origins(&self, zones: &[String]) -> Result<Vec<NameBuf>, BuildError> {
        let zones = if zones.is_empty() { self.zones } else { zones };
        zones
            .iter()
            .map(|zone| {
                zone.parse::<NameBuf>()
                    .map(NameBuf::to_lower)
                    .map_err(|e| BuildError::new(format!("zone {zone}: {e}")))
            })
            .collect()
    }

    /// What the plugins of this block offer each other; complete when they are attached.
    pub fn capabilities(&self) -> Arc<Capabilities> {
        self.capabilities.clone()
    }

    /// The number of the server block, in file order.
    pub fn block(&self) -> usize {
        self.block
    }

    /// What tells the block from others, over a reload too: its keys, and where it listens. Nothing does where it serves some queries only:
    /// others may have the same.
    pub fn seat(&self) -> Option<String> {
        let words = self.config.bind.iter().flatten();
        let words: Vec<_> = words.map(|word| (&word.word, word.except)).collect();
        let comes = self.config.listen.is_some();
        (!self.filters).then(|| format!("{:?} {words:?} {comes}", self.keys))
    }

    /// `path`, taken from `root` when it is relative.
    pub fn path(&self, path: &str) -> PathBuf {
        from_root(&self.config.root, path)
    }

    /// Work to do beside queries, while this snapshot serves.
    pub fn spawn(&mut self, work: Work) {
        self.process.tasks.push(Task {
            plugin: self.name,
            work,
        });
    }

    /// A page to serve.
    pub fn serve(&mut self, endpoint: Endpoint) {
        self.process.endpoints.push(endpoint);
    }
}

/// `path`, taken from `root` when it is relative.
pub fn from_root(root: &Path, path: &str) -> PathBuf {
    let path = Path::new(path);
    if path.is_absolute() || root == Path::new(".") {
        path.to_path_buf()
    } else {
        root.join(path)
    }
}

/// One directive of a planned block.
pub struct Planned {
    /// Its place in the catalogue.
    pub order: usize,
    /// Its name.
    pub name: &'static str,
    /// Where it first stands.
    pub span: Span,
    /// Where it stands, each time.
    pub places: Vec<Span>,
    /// Whether it registers a handler.
    pub handler: bool,
    /// Its typed value.
    pub setup: Box<dyn Setup>,
}

/// A server block whose directives have been read.
pub struct PlannedBlock {
    /// Its keys.
    pub keys: Vec<Key>,
    /// Where each of them stands.
    pub key_spans: Vec<Span>,
    /// Where it stands.
    pub span: Span,
    /// Its zones, of all keys, normalised.
    pub zones: Vec<String>,
    /// Its directives in the order in which they run.
    pub planned: Vec<Planned>,
    /// The place of each entry of the catalogue in that order; empty where it is the catalogue's own.
    ranks: Vec<usize>,
}

/// A server block that is ready to serve, apart from its listeners.
pub struct BuiltBlock {
    /// Its keys.
    pub keys: Vec<Key>,
    /// Where it stands.
    pub span: Span,
    /// What its directives said.
    pub config: BlockConfig,
    /// Its plugins.
    pub chain: Arc<Chain>,
}

/// Reads and validates all server blocks: all that `check` does. Lints are warnings; with errors in the report, do not build.
pub fn plan(corefile: &Corefile, catalogue: Catalogue, report: &mut Report) -> Vec<PlannedBlock> {
    let mut out = Vec::new();
    for block in &corefile.blocks {
        let before = report.len();
        let (keys, key_spans) = known::keys(block, report);
        let zones: Vec<String> = keys
            .iter()
            .flat_map(|key| key.zones.iter().cloned())
            .collect();
        let mut uses: HashMap<&str, Vec<&Directive>> = HashMap::new();
        for directive in &block.directives {
            uses.entry(&directive.name.text)
                .or_default()
                .push(directive);
        }
        // What a directive that is not here would answer is not known.
        let mut complete = true;
        for directive in &block.directives {
            complete &= known::is_known(directive, catalogue, report);
        }
        let mut planned = Vec::new();
        for (order, entry) in catalogue.iter().enumerate() {
            let (Entry::Here(registration), Some(directives)) = (entry, uses.get(entry.name()))
            else {
                continue;
            };
            let mut parse = Parse {
                name: registration.name,
                directives,
                zones: &zones,
                report,
            };
            if let Some(setup) = (registration.parse)(&mut parse) {
                let span = directives[0].name.span;
                planned.push(Planned {
                    order,
                    name: registration.name,
                    span,
                    places: directives.iter().map(|one| one.name.span).collect(),
                    handler: registration.handler,
                    setup,
                });
            }
        }
        let scene = Scene {
            keys: &keys,
            zones: &zones,
            directives: &block.directives,
        };
        for one in &planned {
            one.setup.validate(&scene, report);
        }
        complete &= !report.iter().any(|found| {
            (found.severity == Severity::Error || found.code == "CF0112")
                && found.span().is_some_and(|span| block.span.contains(span))
        });
        let ranks = reorder(&mut planned, catalogue, report);
        lint::block(&planned, &scene, (block.span, complete), report);
        lint::in_clear((&keys, &key_spans), &scene, report);
        length::block(&planned, report);
        if keys.len() < block.keys.len() {
            report.retain_since(before, |found| !lint::is_about_zones(found));
        }
        out.push(PlannedBlock {
            keys,
            key_spans,
            span: block.span,
            zones,
            planned,
            ranks,
        });
    }
    if corefile.blocks.is_empty()
        && !report.has_errors()
        && let Some(file) = corefile.sources.ids().next()
    {
        let place = Span {
            file,
            start: 0,
            end: 0,
        };
        report.push(
            Diagnostic::warning("CF0313", "this Corefile has no server block")
                .at(place, "it serves nothing")
                .note("the server starts with its default, as without a Corefile"),
        );
    }
    overlap::blocks(&out, report);
    meet::blocks(&out, report);
    out
}

/// Puts the directives of a block in the order that one of them asks for; gives the ranks by which it did.
fn reorder(planned: &mut [Planned], catalogue: Catalogue, report: &mut Report) -> Vec<usize> {
    let moves: Vec<Move> = planned
        .iter()
        .flat_map(|one| one.setup.moves().iter().copied())
        .collect();
    if moves.is_empty() {
        return Vec::new();
    }
    let ranks = order::ranks(catalogue, &moves);
    planned.sort_by_key(|one| ranks[one.order]);
    order::lint(planned, catalogue, &moves, report);
    ranks
}

/// A failed build, with the plugin and the place that failed.
#[derive(Debug)]
pub struct BuildFailure {
    /// The directive.
    pub plugin: &'static str,
    /// Its place, or a narrower one.
    pub span: Span,
    /// What happened.
    pub message: String,
}

/// Builds all blocks: for every plugin in order, for every block.
///
/// # Errors
/// The first failure; what was opened until then is closed again.
pub fn build(
    blocks: Vec<PlannedBlock>,
    catalogue: Catalogue,
    process: &mut Process,
) -> Result<Vec<BuiltBlock>, BuildFailure> {
    struct Half {
        keys: Vec<Key>,
        span: Span,
        zones: Vec<String>,
        planned: Vec<Option<Planned>>,
        filters: bool,
        config: BlockConfig,
        steps: Vec<Step>,
        /// By step: the place of its directive in the order of the block.
        ranks: Vec<usize>,
        order: Vec<usize>,
        capabilities: Arc<Capabilities>,
    }
    let mut halves: Vec<Half> = blocks
        .into_iter()
        .map(|block| Half {
            keys: block.keys,
            span: block.span,
            zones: block.zones,
            config: BlockConfig {
                recurses: block.planned.iter().any(|one| one.setup.recurses()),
                ..BlockConfig::default()
            },
            filters: block.planned.iter().any(|one| one.setup.filters()),
            planned: block.planned.into_iter().map(Some).collect(),
            steps: Vec::new(),
            ranks: Vec::new(),
            order: block.ranks,
            capabilities: Arc::default(),
        })
        .collect();
    for order in 0..catalogue.len() {
        for (number, half) in halves.iter_mut().enumerate() {
            let Some(place) = half
                .planned
                .iter_mut()
                .find(|one| one.as_ref().is_some_and(|one| one.order == order))
            else {
                continue;
            };
            let Some(planned) = place.take() else {
                continue;
            };
            let mut build = Build {
                config: &mut half.config,
                process,
                zones: &half.zones,
                block: number,
                keys: &half.keys,
                filters: half.filters,
                name: planned.name,
                steps: &mut half.steps,
                places: &planned.places,
                pushed: 0,
                capabilities: &half.capabilities,
            };
            planned
                .setup
                .build(&mut build)
                .map_err(|error| BuildFailure {
                    plugin: planned.name,
                    span: error.span.unwrap_or(planned.span),
                    message: error.message,
                })?;
            let rank = half.order.get(order).copied().unwrap_or(order);
            half.ranks.resize(half.steps.len(), rank);
        }
    }
    halves
        .into_iter()
        .map(|half| {
            let mut steps: Vec<_> = half.ranks.into_iter().zip(half.steps).collect();
            steps.sort_by_key(|(rank, _)| *rank);
            let steps = steps.into_iter().map(|(_, step)| step).collect();
            let chain = Chain::new(steps).map_err(|count| BuildFailure {
                plugin: "",
                span: half.span,
                message: format!("a server block has at most 64 handlers, this one has {count}"),
            })?;
            let chain = match half.config.labels.clone() {
                Some(zones) => chain.collecting(zones),
                None => chain,
            };
            Ok(BuiltBlock {
                keys: half.keys,
                span: half.span,
                config: half.config,
                chain: Arc::new(chain.at(half.span)),
            })
        })
        .collect()
}
