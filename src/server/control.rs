//! The main thread: starts everything, listens to signals, reloads, drains.
//!
//! ```text
//! start    load ─► bind admin ─► bind DNS ─► swap ─► Open to workers ─► zones and banner
//! reload   load beside the old ─► bind what is new ─► swap ─► Open, Close ─► old tasks end, new ones start
//! moved    blocks by listener again ─► bind what is new ─► swap ─► Open, Close               (plugins stay as they are)
//! stop     pages that close first ─► what plugins do at the end ─► lameduck, still answering ─► stragglers (≤ 5 s) ─► Close ─► queued and waiting queries (≤ 5 s) ─► exit
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use chain::admin::Task;
use chain::setup::{Catalogue, XdpInterface};
use chain::{Carrier, Plugin, Transport};
use corefile::key::Scheme;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::admission::{self, Limits};
use crate::explain::{Scene, Texts};
use crate::input::{Source, reason};
use crate::listener::socket::{How, ListenSocket, Place};
use crate::listener::udp_passed::Passed;
use crate::logging;
use crate::pid_file;
use crate::port;
use crate::reload::{Changes, Counts};
use crate::service::Service;
use crate::snapshot::{Blocks, LoadError, Loaded, ProcessView, Snapshot, Wanted, load};
use crate::socket::{self, AdminSocket};
use crate::worker::{self, Command, Shared};
use crate::xdp::{Served, Xdp};
use crate::zone_metrics;

/// How long queries that wait may take after the process was told to end.
const DRAIN: Duration = Duration::from_secs(5);
/// How long no datagram has to come after lameduck before the sockets close, and how long that is waited for at most.
///
/// Load balancers stop sending new clients during lameduck, but those that track connections (conntrack under kube-proxy) go on
/// sending what comes from a known port.
const STRAGGLERS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
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
    /// Whether another process may have the ports already, from which this one takes over.
    pub takes_over: bool,
    /// The socket for questions of the operator.
    pub admin: AdminSocket,
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
            logging::complain(&format!("cannot start: {error}"));
            logging::flush();
            return EXIT_STARTED_NOT;
        }
    };
    let status = {
        let _entered = runtime.enter();
        serve(options, &runtime)
    };
    // A look at a file that does not come back (a mount that hangs) must not hold up the end.
    runtime.shutdown_background();
    status
}

fn serve(options: Options, runtime: &tokio::runtime::Runtime) -> u8 {
    match Server::start(options) {
        Ok(mut server) => {
            let status = runtime.block_on(server.supervise());
            server.leave();
            status
        }
        Err(error) => {
            logging::complain(&error.full);
            logging::flush();
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
    /// How many sockets it has for datagrams.
    sockets: usize,
    /// The interfaces that it is served on below the kernel's UDP stack.
    xdp: Arc<[XdpInterface]>,
}

/// Sockets that are bound and not yet served.
struct Bound {
    place: Place,
    number: usize,
    port: u16,
    sockets: Vec<(Transport, ListenSocket)>,
}

impl Bound {
    /// How many sockets for datagrams there are.
    fn datagram_sockets(&self) -> usize {
        let datagram = |(_, socket): &&(_, _)| matches!(socket, ListenSocket::Datagram(_));
        self.sockets.iter().filter(datagram).count()
    }
}

/// Everything that runs.
pub(crate) struct Server {
    options: Options,
    pub(crate) shared: Arc<Shared>,
    workers: Vec<(mpsc::UnboundedSender<Command>, JoinHandle<()>)>,
    listening: BTreeMap<Place, Listening>,
    numbers: usize,
    admin: Admin,
    /// What is to be done before the end.
    at_end: Vec<Task>,
    lameduck: Duration,
    changes: Changes,
    counts: Counts,
    /// The blocks that are served, to be sorted by listener again.
    blocks: Blocks,
    /// The texts of the Corefile that is served.
    texts: Arc<Texts>,
    /// The socket for questions of the operator, while it is open.
    socket: Option<socket::Open>,
    /// Told when addresses have moved.
    moved: Arc<Notify>,
    /// Addresses that move and could not be had, with the reason that was told.
    missed: BTreeMap<Place, String>,
    /// Interfaces from which queries are taken below the kernel's UDP stack.
    xdp: Xdp,
    /// Old snapshots, kept until no worker uses them, so that none has to take one apart.
    retired: Vec<(Instant, Arc<Snapshot>)>,
    service: Service,
    /// Sockets that the service manager opened.
    passed: Passed,
}

impl Server {
    /// Starts workers, listeners and the admin side.
    pub(crate) fn start(options: Options) -> Result<Self, LoadError> {
        let shared = Arc::new(Shared::default());
        zone_metrics::show(&shared);
        let admin = Admin::new(Arc::new(ProcessView(shared.clone())));
        let counts = Counts::new();
        // A counter that has not counted yet is shown as 0.
        telemetry::metrics::panics();
        admission::shed_queries();
        admission::evicted_connections();
        let descriptors = host::descriptors::raise();
        crate::output::dropped();
        let passed = Passed::of_environment().map_err(LoadError::new)?;
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
            at_end: Vec::new(),
            lameduck: Duration::ZERO,
            changes: Changes::default(),
            counts,
            blocks: Blocks::default(),
            texts: Arc::default(),
            socket: None,
            moved: Arc::default(),
            missed: BTreeMap::new(),
            xdp: Xdp::default(),
            retired: Vec::new(),
            service: Service::of_environment(),
            passed,
        };
        if !loaded.warnings.is_empty() {
            logging::complain(&loaded.warnings);
        }
        let cores = host::processors();
        let limits = Limits::of_worker(cores, descriptors, host::descriptors::upstream_share());
        for index in 0..cores {
            let started = worker::start(index as u16, server.shared.clone(), limits)
                .map_err(|error| LoadError::new(format!("cannot start a worker: {error}")))?;
            server.workers.push(started);
        }
        let zones = server.zones(&loaded);
        server.apply(loaded)?;
        for address in server.passed.unserved() {
            warn!("No server block listens on {address}, which the service manager opened");
        }
        if let Some(path) = &server.options.pidfile {
            pid_file::write(path).map_err(|error| {
                LoadError::new(format!("open {}: {}", path.display(), reason(&error)))
            })?;
        }
        server.open_socket()?;
        server.xdp.settle();
        if !server.options.quiet {
            zones.iter().for_each(|line| logging::print(line));
        }
        server.changes.tell_running();
        if !server.options.quiet {
            logging::print(&server.options.banner);
        }
        server.service.ready();
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
            texts,
            ..
        } = loaded;
        let pages = self
            .admin
            .prepare(process.endpoints, process.tasks)
            .map_err(LoadError::new)?;
        let bound = self.bind_new(&listeners)?;
        // From here on nothing fails.
        logging::set_debug(debug);
        self.texts = texts;
        self.swap(listeners, bound, plugins);
        self.blocks = blocks;
        self.moved = process.moved;
        self.admin.serve(pages);
        self.at_end = process.at_end;
        self.lameduck = process.lameduck;
        self.changes
            .watch(process.reload, &self.options.source, &files, hash);
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
            let new = bound.iter().find(|bound| bound.place == place);
            let (number, port, sockets) = match (old.remove(&place), new) {
                (Some(kept), _) => (kept.number, kept.port, kept.sockets),
                (None, Some(new)) => (new.number, new.port, new.datagram_sockets()),
                (None, None) => continue,
            };
            tables[number] = Some(wanted.table.clone());
            self.listening.insert(
                place,
                Listening {
                    number,
                    table: wanted.table,
                    port,
                    sockets,
                    xdp: wanted.xdp,
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
        self.follow_interfaces();
        let (done, _) = mpsc::channel(1);
        for gone in old.into_values() {
            self.close(&gone, &done);
        }
        let listeners = self.listening.iter();
        *self.shared.scene() = Some(Arc::new(Scene {
            texts: self.texts.clone(),
            listeners: listeners
                .map(|(place, listening)| {
                    let port = listening.port;
                    (
                        Place {
                            port,
                            ..place.clone()
                        },
                        listening.table.clone(),
                    )
                })
                .collect(),
        }));
        self.retired.push((Instant::now(), before));
        self.sweep();
    }

    /// Has frames taken where listeners want that, and for what they listen on.
    fn follow_interfaces(&mut self) {
        let listeners = self.listening.iter();
        let served: Vec<_> = listeners
            .map(|(place, listening)| Served {
                number: listening.number,
                place,
                port: listening.port,
                sockets: listening.sockets,
                interfaces: &listening.xdp,
            })
            .collect();
        let workers: Vec<_> = self.workers.iter().map(|worker| worker.0.clone()).collect();
        self.xdp.follow(&served, &workers);
    }

    /// Opens the socket for questions of the operator. One that was not asked for by name need not be there.
    fn open_socket(&mut self) -> Result<(), LoadError> {
        let workers = self.workers.iter();
        let asked = socket::Answering {
            shared: self.shared.clone(),
            workers: workers.map(|(commands, _)| commands.clone()).collect(),
            port: self.options.port,
        };
        self.socket = socket::open(&self.options.admin, asked).map_err(LoadError::new)?;
        Ok(())
    }

    /// Opens and closes what addresses that move ask for; plugins, caches and queries that wait are not touched.
    pub(crate) fn relisten(&mut self) {
        let listeners = match self.blocks.listeners() {
            Ok(listeners) => listeners,
            Err(error) => {
                error!(
                    "Addresses have changed, but cannot be followed: {}",
                    error.line
                );
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
        let mut sockets = Vec::new();
        let transports: Vec<_> = Transport::of(place.scheme).collect();
        let passed = |transport: &Transport| self.passed.count(place, transport.carrier());
        let most = transports.iter().map(passed).max().unwrap_or_default();
        let rounds = wanted.sockets.unwrap_or(self.workers.len()).max(1);
        for round in 0..rounds.max(most) {
            for &transport in &transports {
                let how = How {
                    waits: wanted.moves,
                    shares: round > 0 || self.options.takes_over,
                };
                let carrier = transport.carrier();
                let socket = match self.passed.socket(&place_now, carrier, round) {
                    Some(socket) => socket
                        .map_err(|error| port::explain(place, carrier_name(carrier), &error))?,
                    None => open(&place_now, carrier, how)?,
                };
                // Port 0 is whatever the first socket got.
                place_now.port = socket.port().unwrap_or(place_now.port);
                sockets.push((transport, socket));
            }
        }
        Ok(Bound {
            place: place.clone(),
            number,
            port: place_now.port,
            sockets,
        })
    }

    /// Hands sockets to workers: those of each transport in turn.
    fn open(&self, bound: Bound) {
        let count = self.workers.len().max(1);
        let mut shares: Vec<Vec<(Transport, ListenSocket)>> =
            (0..count).map(|_| Vec::new()).collect();
        let mut next: BTreeMap<Transport, usize> = BTreeMap::new();
        for (transport, socket) in bound.sockets {
            let turn = next.entry(transport).or_default();
            shares[*turn % count].push((transport, socket));
            *turn += 1;
        }
        for ((commands, _), sockets) in self.workers.iter().zip(shares) {
            let _ = commands.send(Command::Open {
                listener: bound.number,
                sockets,
            });
        }
    }

    /// Tells all workers to close a listener.
    fn close(&self, gone: &Listening, done: &mpsc::Sender<()>) {
        for (commands, _) in &self.workers {
            let (listener, table) = (gone.number, gone.table.clone());
            let _ = commands.send(Command::Close {
                listener,
                table,
                done: done.clone(),
            });
        }
    }

    /// The lines that say what is served: `.:53`, `tls://.:853`, `example.org.:53 on 127.0.0.1`.
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
                    // As CoreDNS: the scheme is told of where it is another one.
                    let scheme = match place.scheme {
                        Scheme::Dns => String::new(),
                        other => format!("{}://", other.name()),
                    };
                    out.push(format!("{scheme}{zone}:{}{on}", place.port));
                }
            }
        }
        out
    }

    /// Loads the Corefile anew, as it is or as an edit left it; the old state serves on when that fails.
    fn reload(&mut self, edit: Option<&Source>) -> Result<(), String> {
        info!("Reloading");
        self.service.reloading();
        let result = self.load_anew(edit);
        self.service.ready();
        result
    }

    fn load_anew(&mut self, edit: Option<&Source>) -> Result<(), String> {
        if edit.is_none() {
            self.changes.tried(&self.options.source);
        }
        let loaded = load(
            edit.unwrap_or(&self.options.source),
            self.options.catalogue,
            self.options.port,
            self.options.colour,
        );
        let result = loaded.and_then(|loaded| {
            if !loaded.warnings.is_empty() {
                logging::complain(&loaded.warnings);
            }
            self.apply(loaded)
        });
        match result {
            Ok(()) => {
                info!("Reloading complete");
                self.xdp.settle();
                self.changes.tell_running();
                Ok(())
            }
            Err(error) => {
                error!("Restart failed: {}", error.line);
                if error.full != error.line {
                    // As `check` shows it.
                    logging::complain(&error.full);
                }
                self.counts.failed();
                *self.shared.failure() = Some(error.line.clone());
                Err(error.line)
            }
        }
    }

    /// Reloads a Corefile that was edited.
    fn look(&mut self) {
        if let Some(edit) = self.changes.edit()
            && let Err(line) = self.reload(Some(&edit))
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
        let workers: Vec<_> = self.workers.iter().map(|worker| worker.0.clone()).collect();
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
                    let _ = self.reload(None);
                }
                _ = signals.upgrade.recv() => warn!("SIGUSR2: upgrading in place is not implemented"),
                _ = signals.hangup.recv() => {}
                () = self.changes.wait() => self.look(),
                () = moved.notified() => self.relisten(),
                () = self.xdp.changed() => {
                    self.follow_interfaces();
                    self.xdp.settle();
                }
                () = sleep(AGAIN), if misses => self.relisten(),
                () = sleep(RETIREMENT), if waits => self.sweep(),
                () = self.service.watch(&workers) => {}
            }
        }
    }

    /// Says that the end is near, and goes on answering for as long as is configured.
    async fn lame(&mut self) {
        self.service.stopping();
        self.shared.shut_down();
        self.admin.close_first();
        for Task { work, .. } in std::mem::take(&mut self.at_end) {
            work.await;
        }
        if !self.lameduck.is_zero() {
            info!(target: "plugin/health", "Going into lameduck mode for {:?}", self.lameduck);
            sleep(self.lameduck).await;
        }
    }

    /// Goes on answering after lameduck for as long as datagrams come.
    async fn serve_stragglers(&self) {
        let (quiet, most) = STRAGGLERS;
        let end = Instant::now() + most;
        if self.shared.quiet_for() < quiet {
            info!(target: "plugin/health", "Queries still arrive: answering them for at most {most:?}");
        }
        while let Some(left) = quiet.checked_sub(self.shared.quiet_for())
            && !left.is_zero()
            && Instant::now() < end
        {
            sleep(left.min(end - Instant::now())).await;
        }
    }

    /// Ends in order: lameduck and stragglers, then what is queued and what waits.
    pub(crate) async fn stop(&mut self) {
        self.lame().await;
        if !self.lameduck.is_zero() {
            self.serve_stragglers().await;
        }
        let workers: Vec<_> = self.workers.iter().map(|worker| worker.0.clone()).collect();
        let (done, mut frames_done) = mpsc::channel::<()>(1);
        self.xdp.let_all_go(&workers, &done);
        drop(done);
        let _ = timeout(DRAIN, frames_done.recv()).await;
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
        pid_file::leave();
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
        self.reload(None)
    }
}

fn carrier_name(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Datagram => "udp",
        Carrier::Stream => "tcp",
    }
}

/// Opens a socket; beside others of this process too, which a reload may be about to close.
fn open(place: &Place, carrier: Carrier, how: How) -> Result<ListenSocket, LoadError> {
    let protocol = carrier_name(carrier);
    let opened = place.bind(carrier, how).or_else(|error| {
        let taken = error.raw_os_error() == Some(libc::EADDRINUSE);
        if taken && !how.shares && port::is_ours(place, protocol) {
            place.bind(
                carrier,
                How {
                    shares: true,
                    ..how
                },
            )
        } else {
            Err(error)
        }
    });
    opened.map_err(|error| port::explain(place, protocol, &error))
}

/// Whether a zone has RFC 1035's preferred name syntax, or is a reverse zone.
fn preferred(zone: &str) -> bool {
    let key = corefile::key::Key {
        scheme: Scheme::Dns,
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
