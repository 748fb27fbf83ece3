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
use chain::setup::{self, BuiltBlock, Catalogue, ListenerBounds, XdpInterface};
use chain::{Block, BlockInfo, Carrier, Plugin, Router, Transport};
use corefile::key::Scheme;
use corefile::{Corefile, Disk, Report};
use rustls::ServerConfig;
use sha2::{Digest, Sha512};
use wire::NameBuf;

use crate::backlog::Shed;
use crate::explain::Texts;
use crate::input::Source;
use crate::listener::socket::Place;
use crate::route::Table;
use crate::{bind, certificates};

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
    /// The interfaces from which its queries are taken below the kernel's UDP stack.
    pub(crate) xdp: Arc<[XdpInterface]>,
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
    /// The texts of the Corefile.
    pub(crate) texts: Arc<Texts>,
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
    report.keep_private(&corefile.private, &corefile.sources);
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
        texts: Arc::new(Texts {
            private: corefile.private.iter().map(|(file, _)| *file).collect(),
            sources: corefile.sources,
        }),
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
        let mut taken = HashMap::new();
        for (number, block) in self.built.iter().enumerate() {
            let hosts = bind::hosts(&block.config).map_err(LoadError::new)?;
            for key in &block.keys {
                let port = key.port.unwrap_or(match key.scheme {
                    Scheme::Dns => self.port,
                    other => other.default_port(),
                });
                for zone in &key.zones {
                    for (host, moves) in &hosts {
                        let place = Place {
                            scheme: key.scheme,
                            host: host.host.clone(),
                            ip: host.ip,
                            scope: host.scope,
                            port,
                        };
                        // Blocks with views leave queries to others of their zone.
                        if block.config.filter.is_none() {
                            overlap(&mut taken, zone, &place)?;
                        }
                        let group = groups.entry(place).or_insert_with(|| (Vec::new(), true));
                        group.0.push((number, zone.clone()));
                        group.1 &= moves;
                    }
                }
            }
        }
        apart(groups.keys())?;
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
                view: block.config.view.clone(),
                plugins: plugins.into(),
                debug: block.config.debug,
            };
            self.count += 1;
            for step in block.chain.steps() {
                step.plugin.attach(&info);
            }
            let filter = block.config.filter.clone();
            let one = Block::new(info, block.chain.clone()).filtered(filter);
            blocks.push(Arc::new(one));
        }
        let config = &self.built[members[0].0].config;
        let mut table = Table::new(blocks, config.streams);
        self.open_to(&mut table, place, members);
        let counts_shed = |(number, _): &(usize, String)| self.built[*number].config.counts_shed;
        table.shed = members
            .iter()
            .any(counts_shed)
            .then(|| Shed::of(&place.label()));
        let table = Arc::new(table);
        let weak = Arc::downgrade(&table);
        for block in table.blocks() {
            block.set_router(weak.clone() as std::sync::Weak<dyn Router>);
        }
        Ok(Wanted {
            table,
            sockets: config.sockets,
            xdp: self.interfaces(place, members),
            moves,
        })
    }
}

impl Blocks {
    /// The interfaces that the blocks of a listener name; the first that names one says how it is attached to.
    fn interfaces(&self, place: &Place, members: &[(usize, String)]) -> Arc<[XdpInterface]> {
        let mut out: Vec<XdpInterface> = Vec::new();
        if place.scheme == Scheme::Dns {
            let configs = members
                .iter()
                .map(|(number, _)| &self.built[*number].config);
            for interface in configs.flat_map(|config| &config.xdp) {
                if out.iter().all(|other| other.name != interface.name) {
                    out.push(interface.clone());
                }
            }
        }
        out.into()
    }

    /// Says what connections of a listener have to hold to. One connection cannot tell which block its queries are for: the first block
    /// that has a bound or a policy has it for all; certificates are chosen by name.
    fn open_to(&self, table: &mut Table, place: &Place, members: &[(usize, String)]) {
        let configs = || {
            members
                .iter()
                .map(|(number, _)| &self.built[*number].config)
        };
        table.tls = with_alpn(place.scheme, || {
            let all = configs().filter_map(|config| config.tls.as_ref());
            certificates::join(all, &place.label())
        });
        table.proxy = configs().find_map(|config| config.proxy.clone());
        table.server = place.label().into();
        let Some(transport) = Transport::of(place.scheme).next() else {
            return;
        };
        table.transport = transport;
        table.bounds = match transport {
            Transport::Udp | Transport::Tcp | Transport::Tls => ListenerBounds {
                connections: 0,
                ..ListenerBounds::default()
            },
            _ => {
                let told = configs().find_map(|config| config.bounds.get(&transport));
                let sockets = configs().next().and_then(|config| config.sockets);
                let sockets = sockets.unwrap_or_else(host::processors);
                part(told.copied().unwrap_or_default(), sockets)
            }
        };
    }
}

/// Each socket's part of what a listener may hold.
fn part(bounds: ListenerBounds, sockets: usize) -> ListenerBounds {
    let sockets = u32::try_from(sockets).unwrap_or(1).max(1);
    ListenerBounds {
        connections: bounds.connections.div_ceil(sockets),
        ..bounds
    }
}

/// The TLS of a listener; none where it does not speak TLS.
fn with_alpn(
    scheme: Scheme,
    config: impl FnOnce() -> Option<ServerConfig>,
) -> Option<Arc<ServerConfig>> {
    let alpn = Transport::of(scheme).flat_map(Transport::alpn);
    let alpn: Vec<Vec<u8>> = alpn.map(|name| name.to_vec()).collect();
    if alpn.is_empty() {
        return None;
    }
    let mut tls = config()?;
    tls.alpn_protocols = alpn;
    Some(Arc::new(tls))
}

/// Refuses two transports on one port by the same protocol: each would get some of the connections.
fn apart<'a>(places: impl Iterator<Item = &'a Place>) -> Result<(), LoadError> {
    let mut taken: HashMap<(Carrier, u16), Vec<&Place>> = HashMap::new();
    for place in places.filter(|place| place.port != 0) {
        for transport in Transport::of(place.scheme) {
            let there = taken.entry((transport.carrier(), place.port)).or_default();
            let meets =
                |other: &&&Place| other.ip == place.ip || other.ip.is_none() || place.ip.is_none();
            let mut others = there.iter().filter(|other| other.scheme != place.scheme);
            if let Some(other) = others.find(meets) {
                return Err(LoadError::new(format!(
                    "cannot serve {} - {} listens on the same port",
                    place.label(),
                    other.label()
                )));
            }
            there.push(place);
        }
    }
    Ok(())
}

/// Refuses a zone that two blocks serve on one address, or on all addresses and on one of them.
fn overlap(
    taken: &mut HashMap<(Scheme, String, u16), Vec<String>>,
    zone: &str,
    place: &Place,
) -> Result<(), LoadError> {
    let (scheme, port, host) = (place.scheme, place.port, place.host.as_str());
    let shown = |host: &str| {
        let key = format!("{}://{zone}:{port}", scheme.name());
        if host.is_empty() {
            key
        } else {
            format!("{key} on {host}")
        }
    };
    let hosts = taken.entry((scheme, zone.to_owned(), port)).or_default();
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
