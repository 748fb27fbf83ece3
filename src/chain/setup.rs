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

use corefile::key::{Key, Scheme};
use corefile::{Corefile, Diagnostic, Directive, Line, Report, Span, nearest, value};
use wire::NameBuf;

use crate::admin::{Endpoint, Process, Task, Work, resolve_address};
use crate::contend;
use crate::lint;
use crate::listen::Addresses;
use crate::offer::Offers;
use crate::plugin::Plugin;
use crate::walk::{Chain, Step};

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

/// What the setup of one directive in one block gets to read.
pub struct Parse<'a> {
    /// The directive's name.
    pub name: &'static str,
    /// All its occurrences in the block, in file order; never empty.
    pub directives: &'a [&'a Directive],
    /// The zones of the block's keys, normalised.
    pub zones: &'a [String],
    /// Where mistakes go.
    pub report: &'a mut Report,
}

impl<'a> Parse<'a> {
    /// Reports every occurrence but the first; for directives that stand once in a block.
    pub fn once(&mut self) {
        let Some((first, rest)) = self.directives.split_first() else {
            return;
        };
        for again in rest {
            self.report.push(
                Diagnostic::error(
                    "CF0120",
                    format!(
                        "plugin/{}: this plugin can only be used once per Server Block",
                        self.name
                    ),
                )
                .at(again.name.span, "used again here")
                .beside(first.name.span, "first used here"),
            );
        }
    }

    /// Reports arguments of `directive` beyond the first `most`.
    pub fn at_most(&mut self, directive: &Directive, most: usize) {
        if let Some(extra) = directive.args.get(most) {
            let last = directive.args[..most]
                .last()
                .map_or(&directive.name, |token| token);
            self.report.push(
                Diagnostic::error(
                    "CF0107",
                    format!(
                        "Wrong argument count or unexpected line ending after '{}'",
                        last.text
                    ),
                )
                .at(
                    extra.span,
                    match most {
                        0 => format!("`{}` takes no arguments", self.name),
                        1 => format!("`{}` takes one argument at most", self.name),
                        n => format!("`{}` takes {n} arguments at most", self.name),
                    },
                ),
            );
        }
    }

    /// Reads the only argument of `directive`, the address of a page; without one, `default`.
    pub fn listen(&mut self, directive: &Directive, default: &str) -> Listen {
        self.at_most(directive, 1);
        let (mut text, mut span) = (default, directive.name.span);
        if let Some(token) = directive.args.first() {
            match value::host_port(token) {
                Ok(_) => (text, span) = (&token.text, token.span),
                Err(diagnostic) => self.report.push(diagnostic),
            }
        }
        Listen {
            text: text.to_owned(),
            span,
        }
    }

    /// Reports that `directive` has fewer than `least` arguments; `true` when it has enough.
    pub fn at_least(&mut self, directive: &Directive, least: usize, shape: &str) -> bool {
        if directive.args.len() >= least {
            return true;
        }
        let last = directive.args.last().unwrap_or(&directive.name);
        self.report.push(
            Diagnostic::error(
                "CF0107",
                format!(
                    "Wrong argument count or unexpected line ending after '{}'",
                    last.text
                ),
            )
            .at(last.span, format!("expected `{shape}`")),
        );
        false
    }

    /// Reports a block behind a directive that takes none.
    pub fn no_block(&mut self, directive: &Directive) {
        if let Some(block) = &directive.block {
            self.report.push(
                Diagnostic::error("CF0121", format!("`{}` takes no block", self.name))
                    .at(block.open, "this block is not expected"),
            );
        }
    }

    /// Reports `line` as an option that the plugin does not have, with the nearest one that it has.
    pub fn unknown_option(&mut self, directive: &Directive, line: &Line, known: &[&str]) {
        let Some(word) = line.words.first() else {
            return;
        };
        let mut diagnostic = Diagnostic::error(
            "CF0102",
            format!("unknown property '{}' in plugin `{}`", word.text, self.name),
        )
        .at(word.span, format!("not an option of `{}`", self.name))
        .beside(directive.name.span, "in this plugin block");
        diagnostic = match nearest(&word.text, known.iter().copied()) {
            Some(near) => diagnostic
                .help("a similar option exists")
                .replace(word.span, near),
            None if known.is_empty() => diagnostic,
            None => diagnostic.note(format!("its options are {}", known.join(", "))),
        };
        self.report.push(diagnostic);
    }

    /// Reports that `line` has not `expected` arguments; `true` when it has.
    pub fn arguments(
        &mut self,
        line: &Line,
        expected: std::ops::RangeInclusive<usize>,
        shape: &str,
    ) -> bool {
        let given = line.words.len().saturating_sub(1);
        if expected.contains(&given) {
            return true;
        }
        let Some(last) = line.words.last() else {
            return false;
        };
        let place = line.words.get(1 + expected.end()).unwrap_or(last).span;
        let last = &last.text;
        self.report.push(
            Diagnostic::error(
                "CF0107",
                format!("Wrong argument count or unexpected line ending after '{last}'"),
            )
            .at(place, format!("expected `{shape}`")),
        );
        false
    }
}

/// How far a plugin's answers reach, for the lints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answers {
    /// It only watches, changes or configures.
    Nothing,
    /// It answers the names it knows; the others fall through to the next plugin.
    SomeNames,
    /// It answers everything in its zones; nothing below it is asked there.
    Everything,
}

/// What a block looks like to the setup of one of its directives.
pub struct Scene<'a> {
    /// The zones of the block's keys, normalised.
    pub zones: &'a [String],
    /// The directives of the block in file order.
    pub directives: &'a [Directive],
}

impl Scene<'_> {
    /// The zones that a directive names, or the block's where it names none.
    pub fn zones_of<'a>(&'a self, named: &'a [String]) -> &'a [String] {
        if named.is_empty() { self.zones } else { named }
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

    /// Whether the block gets addresses that come and go ([`BlockConfig::listen`]), which are not known beforehand.
    fn listens(&self) -> bool {
        false
    }

    /// Opens what it needs and takes its place in the chain.
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError>;
}

/// Where a page of the admin side is served, as it is written.
pub struct Listen {
    /// `HOST:PORT`, or `:PORT` for all addresses.
    pub text: String,
    span: Span,
}

impl Listen {
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
#[derive(Clone, Debug)]
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
    /// Sockets per listen address; `None` is one per worker.
    pub sockets: Option<usize>,
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
            sockets: None,
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
    name: &'static str,
    steps: &'a mut Vec<Step>,
    offers: &'a Arc<Offers>,
}

impl Build<'_> {
    /// Appends a handler to the chain.
    pub fn push(&mut self, plugin: Arc<dyn Plugin>) {
        self.steps.push(Step::new(plugin));
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
    pub fn offers(&self) -> Arc<Offers> {
        self.offers.clone()
    }

    /// The number of the server block, in file order.
    pub fn block(&self) -> usize {
        self.block
    }

    /// `path`, taken from `root` when it is relative.
    pub fn path(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        if path.is_absolute() || self.config.root == Path::new(".") {
            path.to_path_buf()
        } else {
            self.config.root.join(path)
        }
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

/// One directive of a planned block.
pub struct Planned {
    /// Its place in the catalogue.
    pub order: usize,
    /// Its name.
    pub name: &'static str,
    /// Where it first stands.
    pub span: Span,
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
    /// Its directives in the catalogue's order.
    pub planned: Vec<Planned>,
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
        let (keys, key_spans) = keys(block, report);
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
        for directive in &block.directives {
            refuse_unknown(directive, catalogue, report);
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
                    handler: registration.handler,
                    setup,
                });
            }
        }
        let scene = Scene {
            zones: &zones,
            directives: &block.directives,
        };
        for one in &planned {
            one.setup.validate(&scene, report);
        }
        lint::block(&planned, &scene, block.span, report);
        out.push(PlannedBlock {
            keys,
            key_spans,
            span: block.span,
            zones,
            planned,
        });
    }
    contend::blocks(&out, report);
    out
}

/// Reads a block's keys, and where they stand.
fn keys(block: &corefile::ServerBlock, report: &mut Report) -> (Vec<Key>, Vec<Span>) {
    let (mut keys, mut spans) = (Vec::new(), Vec::new());
    for token in &block.keys {
        match corefile::key::parse(token) {
            Ok(key) if key.scheme != Scheme::Dns => {
                let name = key.scheme.name();
                report.push(
                    Diagnostic::error(
                        "CF0901",
                        format!(
                            "cannot serve {}: CoreDNS has this transport, nameplate does not yet",
                            token.text
                        ),
                    )
                    .at(
                        token.span,
                        format!("`{name}://` is not implemented here; only `dns://` is"),
                    ),
                );
            }
            Ok(key) => {
                keys.push(key);
                spans.push(token.span);
            }
            Err(diagnostic) => report.push(diagnostic),
        }
    }
    (keys, spans)
}

/// Reports a directive that is not in the catalogue, or is there as absent.
fn refuse_unknown(directive: &Directive, catalogue: Catalogue, report: &mut Report) {
    let name = directive.name.text.as_str();
    match catalogue.iter().find(|entry| entry.name() == name) {
        Some(Entry::Here(_)) => {}
        Some(Entry::LeftOut(_)) => report.push(
            Diagnostic::error(
                "CF0901",
                format!("Unknown directive '{name}': this build of nameplate lacks it"),
            )
            .at(directive.name.span, "not in this build")
            .note(format!(
                "it is built with the feature `{name}`, which is on by default"
            )),
        ),
        Some(Entry::Absent(_)) => report.push(
            Diagnostic::error(
                "CF0901",
                format!(
                    "Unknown directive '{name}': CoreDNS has this plugin, nameplate does not yet"
                ),
            )
            .at(directive.name.span, "not implemented here")
            .note("the table of plugins in the README says what is implemented"),
        ),
        None => {
            let mut diagnostic = Diagnostic::error("CF0118", format!("Unknown directive '{name}'"))
                .at(directive.name.span, "no plugin has this name");
            if let Some(near) = nearest(name, catalogue.iter().map(Entry::name)) {
                diagnostic = diagnostic
                    .help("a similar directive exists")
                    .replace(directive.name.span, near);
            }
            report.push(diagnostic);
        }
    }
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
        config: BlockConfig,
        steps: Vec<Step>,
        offers: Arc<Offers>,
    }
    let mut halves: Vec<Half> = blocks
        .into_iter()
        .map(|block| Half {
            keys: block.keys,
            span: block.span,
            zones: block.zones,
            planned: block.planned.into_iter().map(Some).collect(),
            config: BlockConfig::default(),
            steps: Vec::new(),
            offers: Arc::default(),
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
                name: planned.name,
                steps: &mut half.steps,
                offers: &half.offers,
            };
            planned
                .setup
                .build(&mut build)
                .map_err(|error| BuildFailure {
                    plugin: planned.name,
                    span: error.span.unwrap_or(planned.span),
                    message: error.message,
                })?;
        }
    }
    halves
        .into_iter()
        .map(|half| {
            let chain = Chain::new(half.steps).map_err(|count| BuildFailure {
                plugin: "",
                span: half.span,
                message: format!("a server block has at most 64 handlers, this one has {count}"),
            })?;
            Ok(BuiltBlock {
                keys: half.keys,
                span: half.span,
                config: half.config,
                chain: Arc::new(chain),
            })
        })
        .collect()
}
