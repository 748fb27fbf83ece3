//! What is served: all server blocks by listener, replaced whole.
//!
//! ```text
//! Source ──► corefile::parse ──► setup::plan ──► setup::build ──► Snapshot { listener's place → Table }     (beside the old one)
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use chain::admin::{Overview, Process};
use chain::setup::{self, BuiltBlock, Catalogue};
use chain::{Block, BlockInfo, Plugin, Router};
use corefile::{Corefile, Disk, Report};
use sha2::{Digest, Sha512};
use wire::NameBuf;

use crate::bind;
use crate::input::Source;
use crate::listener::socket::Place;
use crate::route::Table;

/// What workers serve from; they pin it once a batch.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// By the listener's number, which it keeps as long as it is open.
    pub(crate) tables: Vec<Option<Arc<Table>>>,
    /// The plugins at work, with their block's number in file order.
    pub(crate) plugins: Vec<(usize, Arc<dyn Plugin>)>,
}

impl Snapshot {
    /// The blocks of a listener.
    #[inline]
    pub(crate) fn table(&self, listener: usize) -> Option<&Arc<Table>> {
        self.tables.get(listener)?.as_ref()
    }
}

/// A listener as the Corefile wants it.
pub(crate) struct Wanted {
    /// Its blocks.
    pub(crate) table: Arc<Table>,
    /// How many sockets its address gets; `None` is one per worker.
    pub(crate) sockets: Option<usize>,
}

/// A Corefile that is ready to serve.
pub(crate) struct Loaded {
    /// The listeners by place.
    pub(crate) listeners: BTreeMap<Place, Wanted>,
    /// What directives said of the process.
    pub(crate) process: Process,
    /// The plugins at work.
    pub(crate) plugins: Vec<(usize, Arc<dyn Plugin>)>,
    /// SHA-512 of the Corefile's meaning, in hexadecimal.
    pub(crate) hash: String,
    /// The files to watch.
    pub(crate) files: Vec<PathBuf>,
    /// Whether `debug` stands anywhere.
    pub(crate) debug: bool,
    /// Warnings, drawn; empty when there are none.
    pub(crate) warnings: String,
}

/// Why a Corefile is not served.
#[derive(Debug)]
pub(crate) struct LoadError {
    /// In one line, for the log.
    pub(crate) line: String,
    /// In full, for a person at a terminal.
    pub(crate) full: String,
}

impl LoadError {
    pub(crate) fn new(line: impl Into<String>) -> Self {
        let line = line.into();
        Self {
            full: line.clone(),
            line,
        }
    }

    /// The mistakes of a report.
    fn report(report: &Report, corefile: &Corefile, colour: bool) -> Self {
        let errors: Vec<_> = report
            .iter()
            .filter(|found| found.severity == corefile::Severity::Error)
            .collect();
        let mut line = String::new();
        if let Some(first) = errors.first() {
            if let Some(span) = first.span() {
                let (number, _) = corefile.sources.line_column(span);
                let _ = write!(line, "{}:{number} - ", corefile.sources.name(span.file));
            }
            line.push_str(&first.message);
        }
        if errors.len() > 1 {
            let _ = write!(line, " (and {} more)", errors.len() - 1);
        }
        Self {
            line,
            full: report.render(&corefile.sources, colour),
        }
    }
}

/// The hash by which a change of the Corefile is seen.
pub(crate) fn hash(corefile: &Corefile) -> String {
    let mut out = String::with_capacity(128);
    for octet in Sha512::digest(corefile.canonical_json()) {
        let _ = write!(out, "{octet:02x}");
    }
    out
}

/// Reads, checks and builds what `source` says; nothing is opened yet but what plugins open.
pub(crate) fn load(
    source: &Source,
    catalogue: Catalogue,
    port: u16,
    colour: bool,
) -> Result<Loaded, LoadError> {
    let (name, text) = source.read().map_err(LoadError::new)?;
    let (corefile, mut report) = corefile::parse(&name, text, &Disk);
    let planned = setup::plan(&corefile, catalogue, &mut report);
    if report.has_errors() {
        return Err(LoadError::report(&report, &corefile, colour));
    }
    if corefile.blocks.is_empty() {
        // An editor may have truncated it just now; serving nothing would be the worst reading of it.
        return Err(LoadError::new(format!("{name}: no server block")));
    }
    let warnings = if report.is_empty() {
        String::new()
    } else {
        report.render(&corefile.sources, colour)
    };
    let at = |span| {
        let (line, _) = corefile.sources.line_column(span);
        format!("{}:{line}", corefile.sources.name(span.file))
    };
    let mut process = Process::default();
    let built = setup::build(planned, catalogue, &mut process).map_err(|failure| {
        let place = at(failure.span);
        LoadError::new(if failure.plugin.is_empty() {
            format!("{place} - {}", failure.message)
        } else {
            format!("plugin/{}: {place} - {}", failure.plugin, failure.message)
        })
    })?;
    let debug = built.iter().any(|block| block.config.debug);
    let plugins = built
        .iter()
        .enumerate()
        .flat_map(|(number, block)| {
            block
                .chain
                .steps()
                .iter()
                .map(move |step| (number, step.plugin.clone()))
        })
        .collect();
    let listeners = listeners(&built, port)?;
    Ok(Loaded {
        listeners,
        process,
        plugins,
        hash: hash(&corefile),
        files: corefile.files(),
        debug,
        warnings,
    })
}

/// Sorts the blocks by listener, and tells every plugin where it stands.
fn listeners(built: &[BuiltBlock], port: u16) -> Result<BTreeMap<Place, Wanted>, LoadError> {
    let mut groups: BTreeMap<Place, (Vec<Arc<Block>>, usize)> = BTreeMap::new();
    let mut taken: HashMap<(String, u16), Vec<String>> = HashMap::new();
    let mut index = 0;
    for (number, block) in built.iter().enumerate() {
        let hosts = bind::resolve(&block.config.bind).map_err(LoadError::new)?;
        let mut plugins: Vec<&'static str> = block
            .chain
            .steps()
            .iter()
            .map(|step| step.plugin.name())
            .collect();
        plugins.dedup();
        let plugins: Arc<[&'static str]> = plugins.into();
        for key in &block.keys {
            let port = key.port.unwrap_or(port);
            for zone in &key.zones {
                let origin: NameBuf = zone
                    .parse()
                    .map_err(|error| LoadError::new(format!("zone {zone}: {error}")))?;
                for host in &hosts {
                    overlap(&mut taken, zone, port, &host.host)?;
                    let place = Place {
                        host: host.host.clone(),
                        ip: host.ip,
                        scope: host.scope,
                        port,
                    };
                    let info = BlockInfo {
                        index,
                        server: place.label().into(),
                        zone: zone.as_str().into(),
                        origin: origin.to_lower(),
                        view: "".into(),
                        plugins: plugins.clone(),
                        debug: block.config.debug,
                    };
                    index += 1;
                    for step in block.chain.steps() {
                        step.plugin.attach(&info);
                    }
                    let group = groups.entry(place).or_insert_with(|| (Vec::new(), number));
                    group
                        .0
                        .push(Arc::new(Block::new(info, block.chain.clone())));
                }
            }
        }
    }
    Ok(groups
        .into_iter()
        .map(|(place, (blocks, first))| {
            let config = &built[first].config;
            let table = Arc::new(Table::new(blocks, config.streams));
            let weak = Arc::downgrade(&table);
            for block in table.blocks() {
                block.set_router(weak.clone() as std::sync::Weak<dyn Router>);
            }
            (
                place,
                Wanted {
                    table,
                    sockets: config.sockets,
                },
            )
        })
        .collect())
}

/// Refuses a zone that two blocks serve on one address, or on all addresses and on one of them.
fn overlap(
    taken: &mut HashMap<(String, u16), Vec<String>>,
    zone: &str,
    port: u16,
    host: &str,
) -> Result<(), LoadError> {
    let shown = |host: &str| {
        if host.is_empty() {
            format!("dns://{zone}:{port}")
        } else {
            format!("dns://{zone}:{port} on {host}")
        }
    };
    let hosts = taken.entry((zone.to_owned(), port)).or_default();
    if hosts.iter().any(|other| other == host) {
        return Err(LoadError::new(format!(
            "cannot serve {} - it is already defined",
            shown(host)
        )));
    }
    let other = if host.is_empty() {
        hosts.first()
    } else {
        hosts.iter().find(|other| other.is_empty())
    };
    if let Some(other) = other {
        return Err(LoadError::new(format!(
            "cannot serve {} - zone overlap listener capacity with {}",
            shown(host),
            shown(other)
        )));
    }
    hosts.push(host.to_owned());
    Ok(())
}

/// What the admin side may ask of the process.
pub(crate) struct ProcessView(pub(crate) Arc<crate::worker::Shared>);

impl Overview for ProcessView {
    fn plugins(&self) -> Vec<(usize, Arc<dyn Plugin>)> {
        self.0.snapshot.load().plugins.clone()
    }

    fn reload_failure(&self) -> Option<String> {
        self.0.failure().clone()
    }

    fn shutting_down(&self) -> bool {
        self.0.is_shutting_down()
    }
}
