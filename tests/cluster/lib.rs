//! An API server of Kubernetes for tests, over real TCP and TLS.
//!
//! It does on the wire what kube-apiserver 1.36 does with list and watch of the kinds that a DNS server reads, and breaks in every way
//! that one can: see [`Fault`] (what becomes of the next request), [`Strike`] (what becomes of the watches that are open now) and the
//! methods of [`Server`]. A thread for each connection, blocking, HTTP/1.1 by hand: faults need the octets.
//!
//! It waits for nothing and never fails a test by itself; tests look at its [`Counts`].

#![forbid(unsafe_code)]

mod bulk;
mod protobuf;
mod serve;
mod store;
mod tls;
mod wire;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rustls::ServerConfig;
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

pub use bulk::Size;

use store::{Store, Stored};
use tls::Authority;

/// A free port of loopback.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A kind of object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// `v1`.
    Namespace,
    /// `v1`.
    Service,
    /// `discovery.k8s.io/v1`.
    EndpointSlice,
    /// `v1`.
    Pod,
    /// `multicluster.x-k8s.io/v1alpha1`.
    ServiceImport,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Namespace,
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::ServiceImport,
    ];

    /// As objects say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::ServiceImport => "ServiceImport",
        }
    }

    /// As paths say it.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::Pod => "pods",
            Self::ServiceImport => "serviceimports",
        }
    }

    /// As objects say it.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Namespace | Self::Service | Self::Pod => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::ServiceImport => "multicluster.x-k8s.io/v1alpha1",
        }
    }
}

/// What becomes of the next request for a kind.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is refused with this status, and `Retry-After` in seconds.
    Status(u16, Option<u32>),
    /// It is answered this much later.
    Delay(Duration),
    /// It is never answered.
    Hang,
    /// The connection is closed after this many octets of the body.
    Cut(usize),
    /// The body stops after this many octets, and the connection stays.
    Stall(usize),
}

/// What becomes of the watches that are open now.
#[derive(Clone, Copy, Debug)]
pub enum Strike {
    /// Closed in the middle of an event.
    MidLine,
    /// Reset.
    Reset,
    /// Nothing more is sent, whatever happens.
    Stall,
    /// Ended by an error event with this code.
    Error(u16),
    /// The last event comes again.
    Duplicate,
    /// Closed as if their time were over.
    Close,
}

/// How the server takes `sendInitialEvents`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchList {
    /// It streams, as since 1.34.
    Streams,
    /// It refuses, as with the feature gate off.
    Refuses,
    /// It does not know the parameter, as before 1.27.
    Ignores,
}

/// What was asked.
#[derive(Clone, Default, Debug)]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: u64,
    /// Lists by kind: first pages.
    pub lists: HashMap<Kind, u64>,
    /// Later pages by kind.
    pub pages: HashMap<Kind, u64>,
    /// Streaming lists by kind.
    pub streams: HashMap<Kind, u64>,
    /// Watches from a version by kind.
    pub watches: HashMap<Kind, u64>,
    /// The path and query of every request, the latest last; the first 1,000.
    pub requests: Vec<String>,
    /// Values of `Authorization`, the latest.
    pub authorization: String,
    /// When the first request came.
    pub first: Option<Instant>,
}

/// What a test may set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How `sendInitialEvents` is taken.
    pub watch_list: WatchList,
    /// The time between bookmarks; `None` sends none.
    pub bookmarks: Option<Duration>,
    /// Whether a watch from a version that is too old gets HTTP 410, as from a proxy, instead of an event.
    pub http_gone: bool,
    /// Whether every octet goes in a chunk of its own.
    pub drip: bool,
    /// Whether watches are told in protobuf to those who take it, as by every real server.
    pub protobuf: bool,
    /// How long events are held back, to go in one chunk.
    pub hold: Duration,
    /// Tokens that are accepted; without any, nobody is asked.
    pub tokens: HashSet<String>,
    /// Whether a client certificate is as good as a token.
    pub certificates: bool,
    /// Kinds that nobody may list.
    pub forbidden: HashSet<Kind>,
    /// Whether the server does nothing at all, though its kernel does.
    pub frozen: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            watch_list: WatchList::Streams,
            bookmarks: Some(Duration::from_secs(60)),
            http_gone: false,
            drip: false,
            protobuf: true,
            hold: Duration::ZERO,
            tokens: HashSet::new(),
            certificates: true,
            forbidden: HashSet::new(),
            frozen: false,
        }
    }
}

/// A copy of all objects and the version, as etcd's.
pub struct Backup(Store);

/// An API server.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    secure: bool,
    authority: Mutex<Authority>,
}

/// What the threads share.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) counts: Counts,
    pub(crate) faults: HashMap<Kind, VecDeque<Fault>>,
    /// Strikes by kind, numbered.
    pub(crate) strikes: Vec<(Kind, Strike)>,
    /// Pages that were not asked for yet, and their version.
    pub(crate) pages: HashMap<u64, (Vec<Arc<Stored>>, u64)>,
    pub(crate) next_page: u64,
    /// Watches that are open, by kind.
    pub(crate) watching: HashMap<Kind, u64>,
    tls: Option<Arc<ServerConfig>>,
    streams: HashMap<u64, TcpStream>,
    /// Changes when the server goes away; its threads end.
    pub(crate) life: u64,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait<'a>(
        &self,
        guard: MutexGuard<'a, State>,
        most: Duration,
    ) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(guard, most);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Server {
    /// Starts a server with TLS on a free port of loopback.
    pub fn start() -> Self {
        Self::with(true, LOOPBACK)
    }

    /// Starts a server with TLS at an address of this machine.
    pub fn start_at(address: SocketAddr) -> Self {
        Self::with(true, address)
    }

    /// Starts a server without TLS.
    pub fn start_plain() -> Self {
        Self::with(false, LOOPBACK)
    }

    fn with(secure: bool, address: SocketAddr) -> Self {
        let authority = Authority::new("cluster", address.ip());
        let state = State {
            store: Store::new(),
            settings: Settings::default(),
            counts: Counts::default(),
            faults: HashMap::new(),
            strikes: Vec::new(),
            pages: HashMap::new(),
            next_page: 1,
            watching: HashMap::new(),
            tls: secure.then(|| authority.server()),
            streams: HashMap::new(),
            life: 0,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let listener = listen(address).expect("a port");
        let address = listener.local_addr().expect("an address");
        accept(listener, shared.clone());
        Self {
            shared,
            address,
            secure,
            authority: Mutex::new(authority),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Stores an object; the version that it has.
    pub fn apply(&self, object: Value) -> u64 {
        self.change(|state| state.store.apply(object))
    }

    /// Stores what a JSON text holds: an object or an array of them.
    pub fn apply_text(&self, text: &str) {
        match serde_json::from_str(text).expect("JSON") {
            Value::Array(objects) => objects.into_iter().for_each(|object| {
                self.apply(object);
            }),
            object => {
                self.apply(object);
            }
        }
    }

    /// Removes an object; whether it was there.
    pub fn delete(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.change(|state| state.store.delete(kind, namespace, name))
    }

    /// Fills the cluster.
    pub fn fill(&self, size: Size) {
        self.change(|state| bulk::fill(&mut state.store, size));
    }

    /// Forgets the past: watches and pages that go on from it are refused.
    pub fn compact(&self) {
        self.change(|state| {
            state.store.compact();
            state.pages.clear();
        });
    }

    /// The objects and the version as they are.
    pub fn backup(&self) -> Backup {
        Backup(self.shared.lock().store.clone())
    }

    /// The objects and the version as they were.
    pub fn restore(&self, backup: Backup) {
        self.change(|state| state.store = backup.0);
    }

    /// Changes the settings.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        self.change(|state| change(&mut state.settings));
    }

    /// The next requests for `kind` go wrong so.
    pub fn fault(&self, kind: Kind, faults: &[Fault]) {
        self.change(|state| state.faults.entry(kind).or_default().extend(faults));
    }

    /// The watches of `kind` that are open go wrong so.
    pub fn strike(&self, kind: Kind, strike: Strike) {
        self.change(|state| state.strikes.push((kind, strike)));
    }

    /// How many watches of `kind` are open, lists that have ended included.
    pub fn watching(&self, kind: Kind) -> u64 {
        let state = self.shared.lock();
        state.watching.get(&kind).copied().unwrap_or_default()
    }

    /// What was asked so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts.clone()
    }

    /// Goes away, as by kill -9: connections are reset, new ones refused.
    pub fn kill(&self) {
        self.change(|state| {
            state.life += 1;
            state.pages.clear();
            for (_, stream) in state.streams.drain() {
                reset(&stream);
            }
        });
        // The listener looks at its life when somebody comes.
        let _ = TcpStream::connect(self.address);
        while TcpStream::connect(self.address).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Comes back after [`Self::kill`], at the same address, with no memory of the past.
    pub fn revive(&self) {
        self.compact();
        let listener = loop {
            match listen(self.address) {
                Ok(listener) => break listener,
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        accept(listener, self.shared.clone());
    }

    /// Shows a new certificate of the same authority to new connections.
    pub fn rotate_certificate(&self) {
        let config = self.authority().server();
        self.change(|state| state.tls = Some(config));
    }

    /// Shows a certificate of a new authority to new connections, and resets the old ones.
    pub fn rotate_authority(&self) {
        let authority = Authority::new("another cluster", self.address.ip());
        let config = authority.server();
        *self.authority() = authority;
        self.change(|state| {
            state.tls = Some(config);
            for stream in state.streams.values() {
                reset(stream);
            }
        });
    }

    /// Writes what a pod's service account has: `token` and `ca.crt`.
    pub fn account(&self, folder: &Path, token: &str) {
        write(&folder.join("token"), token);
        write(&folder.join("ca.crt"), &self.authority().pem);
    }

    /// Writes a client's certificate, its key and the authority, as `tls` wants them.
    pub fn client_files(&self, folder: &Path) -> [PathBuf; 3] {
        let authority = self.authority();
        let (certificate, key) = authority.client();
        let files = ["client.crt", "client.key", "ca.crt"].map(|name| folder.join(name));
        write(&files[0], &certificate);
        write(&files[1], &key);
        write(&files[2], &authority.pem);
        files
    }

    /// Writes a kubeconfig with a token, and the authority beside it.
    pub fn kubeconfig(&self, folder: &Path, token: &str) -> PathBuf {
        self.account(folder, token);
        let file = folder.join("config");
        let url = self.url();
        write(
            &file,
            &format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
                 clusters:\n- name: test\n  cluster: {{server: \"{url}\", certificate-authority: ca.crt}}\n\
                 users:\n- name: dns\n  user: {{token: \"{token}\"}}\n\
                 contexts:\n- name: test\n  context: {{cluster: test, user: dns}}\n"
            ),
        );
        file
    }

    fn authority(&self) -> MutexGuard<'_, Authority> {
        self.authority
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let done = change(&mut self.shared.lock());
        self.shared.changed.notify_all();
        done
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.change(|state| {
            state.life += 1;
            for (_, stream) in state.streams.drain() {
                reset(&stream);
            }
        });
        let _ = TcpStream::connect(self.address);
    }
}

/// Writes a file as a kubelet does: whole.
fn write(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).expect("a file");
    fs::rename(&beside, path).expect("a file");
}

fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// Accepts connections until the server's life ends.
fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let life = shared.lock().life;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut state = shared.lock();
            if state.life != life {
                return;
            }
            state.counts.connections += 1;
            let number = state.counts.connections;
            if let Ok(copy) = stream.try_clone() {
                state.streams.insert(number, copy);
            }
            let tls = state.tls.clone();
            drop(state);
            let shared = shared.clone();
            thread::spawn(move || {
                // A client that goes away ends its thread with an error; that is no news.
                let _ = serve::connection(&shared, stream, tls, life);
                shared.lock().streams.remove(&number);
            });
        }
    });
}
