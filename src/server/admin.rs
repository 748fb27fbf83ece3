//! The admin side: pages over HTTP and plugins' tasks, on a thread and runtime of their own.
//!
//! A listener stays open over reloads while its address stays; what it serves is swapped. How it serves is `pages.rs`. The thread starts
//! with the first page or task: a configuration that wants neither does not pay for it.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use chain::admin::{Endpoint, Overview, Task};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tracing::error;

use crate::input::reason;
use crate::pages::{self, Pages, Renderings};

/// Threads for what blocks, such as reading files: a thousand files that change at once are read by a few.
const BLOCKING: usize = 16;

/// The admin side.
pub(crate) struct Admin {
    side: Option<Side>,
    view: Arc<dyn Overview>,
    renderings: Arc<Renderings>,
    listening: BTreeMap<SocketAddr, Listening>,
    tasks: Vec<JoinHandle<()>>,
}

/// The admin thread.
struct Side {
    runtime: Handle,
    /// Ends the thread when it is dropped.
    _alive: oneshot::Sender<()>,
}

/// An address that is served.
struct Listening {
    pages: Arc<ArcSwap<Vec<Endpoint>>>,
    stop: Arc<Notify>,
    closes_first: bool,
    #[cfg(test)]
    local: SocketAddr,
}

/// What is to be served.
pub(crate) struct Prepared {
    /// Pages by address, with the sockets of addresses that are new.
    pages: BTreeMap<SocketAddr, (Vec<Endpoint>, Option<std::net::TcpListener>)>,
    tasks: Vec<Task>,
}

impl Side {
    /// Starts the thread.
    fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING)
            .build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                let _ = runtime.block_on(ended);
            })?;
        Ok(Self {
            runtime: handle,
            _alive: alive,
        })
    }
}

impl Admin {
    /// Nothing to serve yet, and no thread.
    pub(crate) fn new(view: Arc<dyn Overview>) -> Self {
        Self {
            side: None,
            view,
            renderings: Arc::default(),
            listening: BTreeMap::new(),
            tasks: Vec::new(),
        }
    }

    /// Binds the addresses that are not served yet, and starts the thread if there is anything for it to do.
    pub(crate) fn prepare(
        &mut self,
        endpoints: Vec<Endpoint>,
        tasks: Vec<Task>,
    ) -> Result<Prepared, String> {
        let mut out: BTreeMap<SocketAddr, (Vec<Endpoint>, Option<std::net::TcpListener>)> =
            BTreeMap::new();
        for endpoint in endpoints {
            let (pages, _) = out.entry(endpoint.address).or_default();
            // A page speaks for the process: several server blocks that ask for it at one address share it, as in CoreDNS.
            if pages.iter().all(|page| page.path != endpoint.path) {
                pages.push(endpoint);
            }
        }
        for (address, (pages, socket)) in &mut out {
            if !self.listening.contains_key(address) {
                let opened = open(*address).map_err(|error| {
                    pages
                        .first()
                        .map_or_else(String::new, |page| in_use(page, &reason(&error)))
                })?;
                *socket = Some(opened);
            }
        }
        if self.side.is_none() && !(out.is_empty() && tasks.is_empty()) {
            let side = Side::start().map_err(|error| format!("cannot start: {error}"))?;
            self.side = Some(side);
        }
        Ok(Prepared { pages: out, tasks })
    }

    /// Serves what was prepared, instead of what was served before, and runs its tasks instead of the tasks before.
    pub(crate) fn serve(&mut self, prepared: Prepared) {
        // Without the thread there was nothing before, and there is nothing now.
        let Some(Side { runtime, .. }) = &self.side else {
            return;
        };
        let mut old = std::mem::take(&mut self.listening);
        for (address, (pages, socket)) in prepared.pages {
            let closes_first = pages.iter().all(|page| page.closes_first);
            match (old.remove(&address), socket) {
                (Some(mut kept), _) => {
                    kept.pages.store(Arc::new(pages));
                    kept.closes_first = closes_first;
                    self.listening.insert(address, kept);
                }
                (None, Some(socket)) => {
                    #[cfg(test)]
                    let local = socket.local_addr().unwrap_or(address);
                    let pages = Arc::new(ArcSwap::from_pointee(pages));
                    let stop = Arc::new(Notify::new());
                    let served = Pages {
                        endpoints: pages.clone(),
                        view: self.view.clone(),
                        renderings: self.renderings.clone(),
                    };
                    runtime.spawn(pages::listen(socket, served, stop.clone()));
                    let listening = Listening {
                        pages,
                        stop,
                        closes_first,
                        #[cfg(test)]
                        local,
                    };
                    self.listening.insert(address, listening);
                }
                (None, None) => {}
            }
        }
        for gone in old.into_values() {
            gone.stop.notify_one();
        }
        for task in self.tasks.drain(..) {
            task.abort();
        }
        for Task { plugin, work } in prepared.tasks {
            let work = runtime.spawn(work);
            let watched = runtime.spawn(async move {
                // Dropping the watcher aborts the work.
                let mut work = AbortOnDrop(work);
                if (&mut work.0).await.is_err_and(|error| error.is_panic()) {
                    telemetry::metrics::panics().inc();
                    error!("Recovered from panic in a task of plugin/{plugin}");
                }
            });
            self.tasks.push(watched);
        }
    }

    /// Closes the listeners that are to close before lameduck.
    pub(crate) fn close_first(&mut self) {
        self.listening.retain(|_, listening| {
            if listening.closes_first {
                listening.stop.notify_one();
            }
            !listening.closes_first
        });
    }

    /// The real address behind the first one, for tests that ask for port 0.
    #[cfg(test)]
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.listening
            .values()
            .next()
            .map(|listening| listening.local)
    }
}

/// Work that ends with whoever waits for it.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Go's words for an address that cannot be had.
fn in_use(endpoint: &Endpoint, why: &str) -> String {
    let address = endpoint.address;
    let shown = if address.ip().is_unspecified() {
        format!(":{}", address.port())
    } else {
        address.to_string()
    };
    format!(
        "plugin/{}: listen tcp {shown}: bind: {why}",
        endpoint.plugin
    )
}

/// Opens a listener; on `[::]` for both families, or for IPv4 where the machine has no IPv6.
fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let try_open = |address: SocketAddr| {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(128)?;
        Ok(socket.into())
    };
    match try_open(address) {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && io::Error::raw_os_error(&error) != Some(libc::EADDRINUSE) =>
        {
            try_open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        opened => opened,
    }
}
