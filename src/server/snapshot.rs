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
#[derive(Clone)]
pub(crate) struct Wanted {
    /// Its blocks.
    pub(crate) table: Arc<Table>,
    /// How many sockets its address gets; `None` is one per worker.
    pub(crate) sockets: Option<usize>,
    /// Whether the address comes and goes: its sockets wait for it, and one that cannot be had does not hold up the others.
    pub(crate) moves: bool,
}

/// A Corefile that is ready to serve.
pub(crate) struct Loaded {
    /// The listeners by place.
    pub(crate) listeners: BTreeMap<Place, Wanted>,
    /// The blocks that they serve, to be sorted again when addresses move.
    pub(crate) blocks: Blocks,
    /// What directives said of the process.
    pub(crate) process: Process,
    /// The plugins at work.
    pub(crate) plugins: Vec<(usize, Arc<dyn Plugin>)>,
    /// SHA-512 of the Corefile's meaning, in hexadecimal; empty where `reload` is not configured.
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
    let mut blocks = Blocks {
        built,
        port,
        ..Blocks::default()
    };
    let listeners = blocks.listeners()?;
    // Nobody asks for it where edits are not looked for.
    let hash = process.reload.map_or_else(String::new, |_| hash(&corefile));
    Ok(Loaded {
        listeners,
        blocks,
        process,
        plugins,
        hash,
        files: corefile.files(),
        debug,
        warnings,
    })
}

/// The server blocks of a Corefile; kept while they serve, since addresses may move.
#[derive(Default)]
pub(crate) struct Blocks {
    built: Vec<BuiltBlock>,
    port: u16,
    /// What has stood at each place: blocks (by number) and zones. A plugin is told once where it stands.
    known: BTreeMap<Place, (Vec<(usize, String)>, Wanted)>,
    /// How many blocks of listeners there have been.
    count: usize,
}

impl Blocks {
    /// Sorts the blocks by listener, and tells every plugin where it stands.
    pub(crate) fn listeners(&mut self) -> Result<BTreeMap<Place, Wanted>, LoadError> {
        let mut groups: BTreeMap<Place, (Vec<(usize, String)>, bool)> = BTreeMap::new();
        let mut taken: HashMap<(String, u16), Vec<String>> = HashMap::new();
        for (number, block) in self.built.iter().enumerate() {
            let hosts = bind::hosts(&block.config).map_err(LoadError::new)?;
            for key in &block.keys {
                let port = key.port.unwrap_or(self.port);
                for zone in &key.zones {
                    for (host, moves) in &hosts {
                        overlap(&mut taken, zone, port, &host.host)?;
                        let place = Place {
                            host: host.host.clone(),
                            ip: host.ip,
                            scope: host.scope,
                            port,
                        };
                        let group = groups.entry(place).or_insert_with(|| (Vec::new(), true));
                        group.0.push((number, zone.clone()));
                        group.1 &= moves;
                    }
                }
            }
        }
        let mut out = BTreeMap::new();
        for (place, (members, moves)) in groups {
            let wanted = match self.known.get(&place) {
                Some((before, wanted)) if *before == members => wanted.clone(),
                _ => self.stand(&place, &members, moves)?,
            };
            self.known.insert(place.clone(), (members, wanted.clone()));
            out.insert(place, wanted);
        }
        Ok(out)
    }

    /// A listener that is new.
    fn stand(
        &mut self,
        place: &Place,
        members: &[(usize, String)],
        moves: bool,
    ) -> Result<Wanted, LoadError> {
        let mut blocks = Vec::with_capacity(members.len());
        for (number, zone) in members {
            let block = &self.built[*number];
            let mut plugins: Vec<&'static str> = block
                .chain
                .steps()
                .iter()
                .map(|step| step.plugin.name())
                .collect();
            plugins.dedup();
            let origin: NameBuf = zone
                .parse()
                .map_err(|error| LoadError::new(format!("zone {zone}: {error}")))?;
            let info = BlockInfo {
                index: self.count,
                server: place.label().into(),
                zone: zone.as_str().into(),
                origin: origin.to_lower(),
                view: "".into(),
                plugins: plugins.into(),
                debug: block.config.debug,
            };
            self.count += 1;
            for step in block.chain.steps() {
                step.plugin.attach(&info);
            }
            blocks.push(Arc::new(Block::new(info, block.chain.clone())));
        }
        let config = &self.built[members[0].0].config;
        let table = Arc::new(Table::new(blocks, config.streams));
        let weak = Arc::downgrade(&table);
        for block in table.blocks() {
            block.set_router(weak.clone() as std::sync::Weak<dyn Router>);
        }
        Ok(Wanted {
            table,
            sockets: config.sockets,
            moves,
        })
    }
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
