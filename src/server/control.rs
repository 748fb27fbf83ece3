//! The main thread: starts everything, listens to signals, reloads, drains.
//!
//! ```text
//! start    load ─► bind admin ─► bind DNS ─► swap ─► Open to workers ─► zones and banner
//! reload   load beside the old ─► bind what is new ─► swap ─► Open, Close ─► old tasks end, new ones start
//! moved    blocks by listener again ─► bind what is new ─► swap ─► Open, Close               (plugins stay as they are)
//! stop     pages that close first ─► lameduck, still answering ─► Close ─► queued and waiting queries (≤ 5 s) ─► exit
//! ```

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use chain::Plugin;
use chain::setup::Catalogue;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::input::{Source, reason};
use crate::listener::socket::Place;
use crate::logging;
use crate::port;
use crate::reload::{Changes, Counts};
use crate::snapshot::{Blocks, LoadError, Loaded, ProcessView, Snapshot, Wanted, load};
use crate::worker::{self, Order, Shared};

/// How long queries that wait may take after the process was told to end.
const DRAIN: Duration = Duration::from_secs(5);
/// Connections of all workers at most.
const CONNECTIONS: usize = 16_384;
/// How long an old snapshot is kept, so that the queries that wait in it have ended.
const RETIREMENT: Duration = Duration::from_secs(10);
/// Old snapshots that are kept so long, however fast reloads follow each other: each may hold a whole cache.
const RETIRED: usize = 8;
/// How soon an address that moves and could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// The exit status when nothing could be served.
const EXIT_STARTED_NOT: u8 = 1;
/// The exit status of a second SIGINT, as CoreDNS has it.
const EXIT_INTERRUPTED_TWICE: u8 = 2;

/// What a server is started with.
pub struct Options {
    /// The plugins.
    pub catalogue: Catalogue,
    /// The Corefile.
    pub source: Source,
    /// The port where a key names none.
    pub port: u16,
    /// Where to write the process's ID.
    pub pidfile: Option<PathBuf>,
    /// Whether zones and banner are left out.
    pub quiet: bool,
    /// What to print once everything serves.
    pub banner: String,
    /// Whether messages on standard error may have colours.
    pub colour: bool,
}

/// Serves until a signal ends it; gives the exit status.
pub fn run(options: Options) -> u8 {
    logging::install();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return EXIT_STARTED_NOT;
        }
    };
    let _entered = runtime.enter();
    match Server::start(options) {
        Ok(mut server) => {
            let status = runtime.block_on(server.supervise());
            server.leave();
            status
        }
        Err(error) => {
            logging::flush();
            eprintln!("{}", error.full.trim_end());
            EXIT_STARTED_NOT
        }
    }
}

/// A listener that is open.
struct Listening {
    number: usize,
    table: Arc<crate::route::Table>,
    /// Its sockets' real port, which differs where 0 was asked for.
    port: u16,
}

/// Sockets that are bound and not yet served.
struct Bound {
    place: Place,
    number: usize,
    port: u16,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

/// Everything that runs.
pub(crate) struct Server {
    options: Options,
    pub(crate) shared: Arc<Shared>,
    workers: Vec<(mpsc::UnboundedSender<Order>, JoinHandle<()>)>,
    listening: BTreeMap<Place, Listening>,
    numbers: usize,
    admin: Admin,
    lameduck: Duration,
    changes: Changes,
    counts: Counts,
    /// The blocks that are served, to be sorted by listener again.
    blocks: Blocks,
    /// Told when addresses have moved.
    moved: Arc<Notify>,
    /// Addresses that move and could not be had, with the reason that was told.
    missed: BTreeMap<Place, String>,
    /// Old snapshots, kept until no worker uses them, so that none has to take one apart.
    retired: Vec<(Instant, Arc<Snapshot>)>,
}

impl Server {
    /// Starts workers, listeners and the admin side.
    pub(crate) fn start(options: Options) -> Result<Self, LoadError> {
        let shared = Arc::new(Shared::default());
        let admin = Admin::new(Arc::new(ProcessView(shared.clone())));
        let counts = Counts::new();
        // A counter that has not counted yet is shown as 0.
        chain::metrics::panics();
        crate::answer::shed_queries();
        crate::listener::tcp::evicted_connections();
        let loaded = load(
            &options.source,
            options.catalogue,
            options.port,
            options.colour,
        )?;
        let mut server = Self {
            options,
            shared,
            workers: Vec::new(),
            listening: BTreeMap::new(),
            numbers: 0,
            admin,
            lameduck: Duration::ZERO,
            changes: Changes::default(),
            counts,
            blocks: Blocks::default(),
            moved: Arc::default(),
            missed: BTreeMap::new(),
            retired: Vec::new(),
        };
        if !loaded.warnings.is_empty() {
            eprint!("{}", loaded.warnings);
        }
        let cores = chain::processors();
        let connections = (CONNECTIONS.min(port::descriptors() * 3 / 4) / cores).max(2);
        for index in 0..cores {
            let started = worker::start(index as u16, server.shared.clone(), connections)
                .map_err(|error| LoadError::new(format!("cannot start a worker: {error}")))?;
            server.workers.push(started);
        }
        let zones = server.zones(&loaded);
        server.apply(loaded)?;
        if let Some(path) = &server.options.pidfile {
            // CoreDNS writes the number and a line feed.
            std::fs::write(path, format!("{}\n", std::process::id())).map_err(|error| {
                LoadError::new(format!("open {}: {}", path.display(), reason(&error)))
            })?;
        }
        if !server.options.quiet {
            zones.iter().for_each(|line| logging::print(line));
        }
        server.changes.tell_running();
        if !server.options.quiet {
            logging::print(&server.options.banner);
        }
        Ok(server)
    }

    /// Makes `loaded` what is served. Until all of it is bound nothing has changed.
    fn apply(&mut self, loaded: Loaded) -> Result<(), LoadError> {
        let Loaded {
            listeners,
            blocks,
            process,
            plugins,
            hash,
            files,
            debug,
            ..
        } = loaded;
        let pages = self
            .admin
            .prepare(process.endpoints, process.tasks)
            .map_err(LoadError::new)?;
        let bound = self.bind_new(&listeners)?;
        // From here on nothing fails.
        logging::set_debug(debug);
        self.swap(listeners, bound, plugins);
        self.blocks = blocks;
        self.moved = process.moved;
        self.admin.serve(pages);
        self.lameduck = process.lameduck;
        self.changes.watch(process.reload, &files, hash);
        *self.shared.failure() = None;
        Ok(())
    }

    /// Binds what is not open yet. An address that moves and cannot be had now is told of, and tried again later.
    fn bind_new(&mut self, listeners: &BTreeMap<Place, Wanted>) -> Result<Vec<Bound>, LoadError> {
        let mut bound = Vec::new();
        let mut missed = BTreeMap::new();
        for (place, wanted) in listeners {
            if self.listening.contains_key(place) {
                continue;
            }
            match self.bind(place, self.numbers + bound.len(), wanted) {
                Ok(new) => bound.push(new),
                Err(error) if wanted.moves => {
                    if self.missed.get(place) != Some(&error.line) {
                        error!("{}", error.full);
                    }
                    missed.insert(place.clone(), error.line);
                }
                Err(error) => return Err(error),
            }
        }
        self.missed = missed;
        Ok(bound)
    }

    /// Serves `listeners`, of which `bound` are new, and closes the others.
    fn swap(
        &mut self,
        listeners: BTreeMap<Place, Wanted>,
        bound: Vec<Bound>,
        plugins: Vec<(usize, Arc<dyn Plugin>)>,
    ) {
        self.numbers += bound.len();
        let mut old = std::mem::take(&mut self.listening);
        let mut tables = vec![None; self.numbers];
        for (place, wanted) in listeners {
            let (number, port) = match (old.remove(&place), bound.iter().find(|b| b.place == place))
            {
                (Some(kept), _) => (kept.number, kept.port),
                (None, Some(new)) => (new.number, new.port),
                (None, None) => continue,
            };
            tables[number] = Some(wanted.table.clone());
            self.listening.insert(
                place,
                Listening {
                    number,
                    table: wanted.table,
                    port,
                },
            );
        }
        let before = self
            .shared
            .snapshot
            .swap(Arc::new(Snapshot { tables, plugins }));
        for new in bound {
            self.open(new);
        }
        let (done, _) = mpsc::channel(1);
        for gone in old.into_values() {
            self.close(&gone, &done);
        }
        self.retired.push((Instant::now(), before));
        self.sweep();
    }

    /// Opens and closes what addresses that move ask for; plugins, caches and queries that wait are not touched.
    pub(crate) fn relisten(&mut self) {
        let listeners = match self.blocks.listeners() {
            Ok(listeners) => listeners,
            Err(error) => {
                error!("Addresses have moved, and are not followed: {}", error.line);
                return;
            }
        };
        let serves = |(place, wanted): (&Place, &Wanted)| {
            let listening = self.listening.get(place);
            listening.is_some_and(|listening| Arc::ptr_eq(&listening.table, &wanted.table))
        };
        if listeners.len() == self.listening.len() && listeners.iter().all(serves) {
            return;
        }
        let Ok(bound) = self.bind_new(&listeners) else {
            return;
        };
        for new in &bound {
            info!("Listening on {}", new.place.label());
        }
        for place in self
            .listening
            .keys()
            .filter(|place| !listeners.contains_key(place))
        {
            info!("No longer listening on {}", place.label());
        }
        let plugins = self.shared.snapshot.load().plugins.clone();
        self.swap(listeners, bound, plugins);
    }

    /// Binds the sockets of a listener: one a worker, or as many as the block says.
    fn bind(&self, place: &Place, number: usize, wanted: &Wanted) -> Result<Bound, LoadError> {
        // A port that the kernel chose for UDP may be taken for TCP; then it chooses again.
        let mut choices = if place.port == 0 { 8 } else { 1 };
        loop {
            choices -= 1;
            match self.bind_once(place, number, wanted) {
                Err(_) if choices > 0 => {}
                done => return done,
            }
        }
    }

    fn bind_once(&self, place: &Place, number: usize, wanted: &Wanted) -> Result<Bound, LoadError> {
        let mut place_now = place.clone();
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for _ in 0..wanted.sockets.unwrap_or(self.workers.len()).max(1) {
            let failed = |protocol, error| port::explain(&place_now, protocol, &error);
            let socket = place_now
                .udp(wanted.moves)
                .map_err(|error| failed("udp", error))?;
            // Port 0 is whatever the first socket got.
            let port = socket
                .local_addr()
                .map_or(place_now.port, |address| address.port());
            udp.push(socket);
            place_now.port = port;
            tcp.push(
                place_now
                    .tcp(wanted.moves)
                    .map_err(|error| port::explain(&place_now, "tcp", &error))?,
            );
        }
        Ok(Bound {
            place: place.clone(),
            number,
            port: place_now.port,
            udp,
            tcp,
        })
    }

    /// Hands sockets to workers, in turn.
    fn open(&self, bound: Bound) {
        let count = self.workers.len().max(1);
        let mut shares: Vec<(Vec<UdpSocket>, Vec<TcpListener>)> =
            (0..count).map(|_| Default::default()).collect();
        for (i, socket) in bound.udp.into_iter().enumerate() {
            shares[i % count].0.push(socket);
        }
        for (i, socket) in bound.tcp.into_iter().enumerate() {
            shares[i % count].1.push(socket);
        }
        for ((orders, _), (udp, tcp)) in self.workers.iter().zip(shares) {
            let _ = orders.send(Order::Open {
                listener: bound.number,
                udp,
                tcp,
            });
        }
    }

    /// Tells all workers to close a listener.
    fn close(&self, gone: &Listening, done: &mpsc::Sender<()>) {
        for (orders, _) in &self.workers {
            let (listener, table) = (gone.number, gone.table.clone());
            let _ = orders.send(Order::Close {
                listener,
                table,
                done: done.clone(),
            });
        }
    }

    /// The lines that say what is served: `.:53`, `example.org.:53 on 127.0.0.1`.
    fn zones(&self, loaded: &Loaded) -> Vec<String> {
        let mut out = Vec::new();
        for (place, wanted) in &loaded.listeners {
            let mut zones: Vec<_> = wanted
                .table
                .blocks()
                .map(|block| block.info.zone.clone())
                .collect();
            zones.sort_unstable();
            for _ in 0..wanted.sockets.unwrap_or(1) {
                for zone in &zones {
                    if !preferred(zone) {
                        out.push(format!(
                            "Warning: Domain \"{zone}\" does not follow RFC1035 preferred syntax"
                        ));
                    }
                    let on = if place.host.is_empty() {
                        String::new()
                    } else {
                        format!(" on {}", place.host)
                    };
                    out.push(format!("{zone}:{}{on}", place.port));
                }
            }
        }
        out
    }

    /// Loads the Corefile anew; the old state serves on when that fails.
    fn reload(&mut self) -> Result<(), String> {
        info!("Reloading");
        let loaded = load(
            &self.options.source,
            self.options.catalogue,
            self.options.port,
            false,
        );
        let result = loaded.and_then(|loaded| {
            if !loaded.warnings.is_empty() {
                eprint!("{}", loaded.warnings);
            }
            self.apply(loaded)
        });
        match result {
            Ok(()) => {
                info!("Reloading complete");
                self.changes.tell_running();
                Ok(())
            }
            Err(error) => {
                error!("Restart failed: {}", error.line);
                self.counts.failed();
                *self.shared.failure() = Some(error.line.clone());
                Err(error.line)
            }
        }
    }

    /// Looks whether the Corefile has changed, and reloads if it has.
    fn look(&mut self) {
        if self.changes.changed(&self.options.source)
            && let Err(line) = self.reload()
        {
            error!(target: "plugin/reload", "Corefile changed but reload failed: {line}");
        }
    }

    /// Takes apart old snapshots that nobody uses any more.
    fn sweep(&mut self) {
        let mut younger = self.retired.len();
        self.retired.retain(|(since, old)| {
            younger -= 1;
            let rests = younger < RETIRED && since.elapsed() < RETIREMENT;
            rests || Arc::strong_count(old) > 1
        });
    }

    /// Waits for signals and changes; gives the exit status.
    async fn supervise(&mut self) -> u8 {
        let Some(mut signals) = Signals::new() else {
            error!("signals cannot be received");
            return EXIT_STARTED_NOT;
        };
        loop {
            let waits = !self.retired.is_empty();
            let misses = !self.missed.is_empty();
            let moved = self.moved.clone();
            tokio::select! {
                _ = signals.interrupt.recv() => {
                    info!("SIGINT: Shutting down");
                    return tokio::select! {
                        () = self.lame() => 0,
                        _ = signals.interrupt.recv() => EXIT_INTERRUPTED_TWICE,
                    };
                }
                _ = signals.terminate.recv() => {
                    info!("SIGTERM: Shutting down servers then terminating");
                    return tokio::select! {
                        () = self.stop() => 0,
                        _ = signals.interrupt.recv() => EXIT_INTERRUPTED_TWICE,
                        _ = signals.quit.recv() => 0,
                    };
                }
                _ = signals.quit.recv() => {
                    info!("SIGQUIT: Quitting process immediately");
                    return 0;
                }
                _ = signals.user.recv() => {
                    info!("SIGUSR1: Reloading");
                    // The log has said why, if it failed.
                    let _ = self.reload();
                }
                _ = signals.upgrade.recv() => warn!("SIGUSR2: upgrading in place is not implemented"),
                _ = signals.hangup.recv() => {}
                () = self.changes.wait() => self.look(),
                () = moved.notified() => self.relisten(),
                () = sleep(AGAIN), if misses => self.relisten(),
                () = sleep(RETIREMENT), if waits => self.sweep(),
            }
        }
    }

    /// Says that the end is near, and goes on answering for as long as is configured.
    async fn lame(&mut self) {
        self.shared.shut_down();
        self.admin.close_first();
        if !self.lameduck.is_zero() {
            info!(target: "plugin/health", "Going into lameduck mode for {:?}", self.lameduck);
            sleep(self.lameduck).await;
        }
    }

    /// Ends in order: lameduck, then what is queued and what waits.
    pub(crate) async fn stop(&mut self) {
        self.lame().await;
        let (done, mut all_done) = mpsc::channel::<()>(1);
        for gone in std::mem::take(&mut self.listening).into_values() {
            self.close(&gone, &done);
        }
        drop(done);
        let begun = Instant::now();
        if timeout(DRAIN, all_done.recv()).await.is_err() {
            warn!("queries were still waiting after {:?}", begun.elapsed());
        }
    }

    /// Removes what was left outside the process.
    fn leave(&self) {
        if let Some(path) = &self.options.pidfile {
            let _ = std::fs::remove_file(path);
        }
        logging::flush();
    }

    /// The port of the first listener, for tests that ask for port 0.
    #[cfg(test)]
    pub(crate) fn port(&self) -> u16 {
        self.listening
            .values()
            .next()
            .map_or(0, |listening| listening.port)
    }

    /// The real address of the first admin listener.
    #[cfg(test)]
    pub(crate) fn admin_address(&self) -> Option<std::net::SocketAddr> {
        self.admin.local()
    }

    /// Serves another text from now on.
    #[cfg(test)]
    pub(crate) fn reload_from(&mut self, source: Source) -> Result<(), String> {
        self.options.source = source;
        self.reload()
    }
}

/// Whether a zone has RFC 1035's preferred name syntax, or is a reverse zone.
fn preferred(zone: &str) -> bool {
    let key = corefile::key::Key {
        scheme: corefile::key::Scheme::Dns,
        zones: vec![zone.to_owned()],
        port: None,
        cidr: false,
    };
    key.preferred_syntax()
}

/// The signals that mean something.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Signal,
    user: Signal,
    upgrade: Signal,
}

impl Signals {
    fn new() -> Option<Self> {
        Some(Self {
            interrupt: signal(SignalKind::interrupt()).ok()?,
            terminate: signal(SignalKind::terminate()).ok()?,
            quit: signal(SignalKind::quit()).ok()?,
            hangup: signal(SignalKind::hangup()).ok()?,
            user: signal(SignalKind::user_defined1()).ok()?,
            upgrade: signal(SignalKind::user_defined2()).ok()?,
        })
    }
}
