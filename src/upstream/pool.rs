//! A worker's sockets and connections to one server.
//!
//! Up to [`SOCKETS`] datagram sockets, and which one a query takes is random, queries of a moment together: their replies come together
//! too, and one wake-up reads them all. Up to [`CONNECTIONS`] stream connections, each with many queries in flight (RFC 7766, 6.2.1.1).
//!
//! Descriptors are budgeted: a worker has its part of [`host::descriptors::upstream_share`]. When that is used up, a pool that has its
//! fair part shares what it has, and another takes the place of what the worker has not used for longest.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use host::{descriptors, processors, random};
use rand::RngExt;

use crate::datagram::Socket;
use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::error::{Error, Reason};
use crate::policy::Keep;
use crate::rtt::RttEstimate;
use crate::stream::Connection;

/// Datagram sockets of one worker to one server.
const SOCKETS: usize = 16;
/// Queries that one draw of a socket serves, when they come within [`TOGETHER`].
const SHARING: u32 = 16;
/// How long a draw holds, in nanoseconds.
const TOGETHER: u64 = 100_000;
/// Queries in flight on a connection before another one is opened.
const PIPELINE: usize = 64;
/// Connections of one worker to one server.
const CONNECTIONS: usize = 8;
/// Descriptors that a worker may always use.
const FEWEST: usize = 8;

/// The descriptors that a worker uses for servers.
pub(crate) struct Budget {
    open: Cell<usize>,
    most: usize,
}

impl Budget {
    /// A worker's part of what the process may use.
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            open: Cell::new(0),
            most: (descriptors::upstream_share() / processors()).max(FEWEST),
        })
    }

    /// Whether all is used.
    pub(crate) fn is_used_up(&self) -> bool {
        self.open.get() >= self.most
    }

    /// How many descriptors each of so many pools may have.
    fn part(&self, pools: usize) -> usize {
        (self.most / pools.max(1)).max(1)
    }

    fn take(self: &Rc<Self>) -> Descriptor {
        self.open.set(self.open.get() + 1);
        Descriptor(self.clone())
    }
}

/// One descriptor, counted while it lives.
pub(crate) struct Descriptor(Rc<Budget>);

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
    }
}

/// A server as one worker sees it.
pub(crate) struct Peer {
    /// Who it is.
    pub(crate) endpoint: Arc<Endpoint>,
    rtt: Cell<RttEstimate>,
}

impl Peer {
    /// Uses what is known of how long its replies take.
    #[inline]
    pub(crate) fn with_rtt<T>(&self, change: impl FnOnce(&mut RttEstimate) -> T) -> T {
        let mut rtt = self.rtt.get();
        let out = change(&mut rtt);
        self.rtt.set(rtt);
        out
    }
}

/// The socket that was drawn last.
#[derive(Clone, Copy, Default)]
struct Draw {
    place: usize,
    left: u32,
    at: u64,
}

/// A worker's sockets and connections to one server.
pub(crate) struct Pool {
    /// The server.
    pub(crate) peer: Rc<Peer>,
    /// Datagram sockets in use, each at its place.
    sockets: RefCell<Vec<Option<Rc<Socket>>>>,
    draw: Cell<Draw>,
    connections: RefCell<Vec<Rc<Connection>>>,
    /// How long the directive that asked last keeps them.
    keep: Cell<Keep>,
    /// Since when nothing is open, as a sweep found it; 0 while something is.
    closed: Cell<u64>,
}

impl Pool {
    pub(crate) fn new(endpoint: &Arc<Endpoint>, keep: Keep) -> Self {
        Self {
            peer: Rc::new(Peer {
                endpoint: endpoint.clone(),
                rtt: Cell::default(),
            }),
            sockets: RefCell::default(),
            draw: Cell::default(),
            connections: RefCell::default(),
            keep: Cell::new(keep),
            closed: Cell::new(0),
        }
    }

    /// A socket for one query, drawn by lot, and whether it was there already.
    #[inline]
    pub(crate) fn socket(
        &self,
        engine: &Rc<Engine>,
        keep: &Keep,
        now: u64,
    ) -> Result<(Rc<Socket>, bool), Error> {
        let mut sockets = self.sockets.borrow_mut();
        if sockets.is_empty() {
            sockets.resize(SOCKETS, None);
        }
        let mut draw = self.draw.get();
        if draw.left == 0 || now - draw.at > TOGETHER {
            draw = Draw {
                place: random::rng().random_range(0..SOCKETS),
                left: SHARING,
                at: now,
            };
        }
        draw.left -= 1;
        self.draw.set(draw);
        let place = &mut sockets[draw.place];
        if let Some(socket) = place {
            if !socket.is_stale(keep, now) {
                socket.take(now);
                return Ok((socket.clone(), true));
            }
            if let Some(stale) = place.take() {
                stale.retire();
            }
        }
        self.keep.set(*keep);
        drop(sockets);
        self.open_socket(engine, draw.place, now)
    }

    /// Opens a socket at a place, or shares another one where there is no descriptor for it.
    #[cold]
    fn open_socket(
        &self,
        engine: &Rc<Engine>,
        place: usize,
        now: u64,
    ) -> Result<(Rc<Socket>, bool), Error> {
        let opened = match self.descriptor(engine) {
            Some(descriptor) => Socket::open(engine, &self.peer, descriptor)
                .map_err(|error| Error::io("dial", &error)),
            None => Err(Error::descriptors()),
        };
        let mut sockets = self.sockets.borrow_mut();
        let (socket, reused) = match opened {
            Ok(socket) => {
                sockets[place] = Some(socket.clone());
                (socket, false)
            }
            Err(error) if error.reason == Reason::Descriptors => {
                let open: Vec<_> = sockets.iter().flatten().collect();
                match open.is_empty() {
                    true => return Err(error),
                    false => (
                        open[random::rng().random_range(0..open.len())].clone(),
                        true,
                    ),
                }
            }
            Err(error) => return Err(error),
        };
        socket.take(now);
        Ok((socket, reused))
    }

    /// A descriptor from the budget; when that is used up, one that was freed elsewhere, as long as this pool has less than its part.
    fn descriptor(&self, engine: &Rc<Engine>) -> Option<Descriptor> {
        let budget = &engine.budget;
        if budget.is_used_up() {
            let fair = budget.part(engine.open_pools());
            if self.open() >= fair || !engine.free_one() {
                return None;
            }
        }
        Some(budget.take())
    }

    /// A connection for one query, and whether it has been used before. `fresh` asks for a new one.
    pub(crate) fn connection(
        &self,
        engine: &Rc<Engine>,
        keep: &Keep,
        fresh: bool,
        now: u64,
    ) -> Result<(Rc<Connection>, bool), Error> {
        self.keep.set(*keep);
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.is_closed());
        let usable = connections
            .iter()
            .filter(|connection| {
                let spent = fresh && connection.created() < now && connection.is_connected();
                !spent && !connection.is_old(keep, now)
            })
            .min_by_key(|connection| connection.ids.len())
            .cloned();
        let full = connections.len() >= CONNECTIONS;
        if let Some(connection) = &usable
            && (connection.ids.len() < PIPELINE || full)
        {
            connection.take(now);
            return Ok((connection.clone(), true));
        }
        drop(connections);
        match (self.descriptor(engine), usable) {
            (Some(descriptor), _) => {
                let connection = Connection::open(engine, &self.peer, keep.connect, descriptor);
                self.connections.borrow_mut().push(connection.clone());
                Ok((connection, false))
            }
            (None, Some(connection)) => {
                connection.take(now);
                Ok((connection, true))
            }
            (None, None) => Err(Error::descriptors()),
        }
    }

    /// Sockets and connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.sockets.borrow().iter().flatten().count() + self.connections.borrow().len()
    }

    /// When the socket or connection was used that has been idle for longest; `None` when all are in use.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        let sockets = self.sockets.borrow();
        let connections = self.connections.borrow();
        let sockets = sockets.iter().flatten().filter(|one| one.ids.is_empty());
        let connections = connections.iter().filter(|one| one.ids.is_empty());
        sockets
            .map(|one| one.used())
            .chain(connections.map(|one| one.used()))
            .min()
    }

    /// Closes the socket or connection that has been idle since `used`.
    pub(crate) fn close_idle(&self, engine: &Rc<Engine>, used: u64) {
        for place in self.sockets.borrow_mut().iter_mut() {
            if let Some(socket) = place.take_if(|one| one.ids.is_empty() && one.used() == used) {
                socket.close();
                return;
            }
        }
        let mut connections = self.connections.borrow_mut();
        let found = connections
            .iter()
            .position(|one| one.ids.is_empty() && one.used() == used);
        if let Some(at) = found {
            let connection = connections.swap_remove(at);
            drop(connections);
            connection.close(Error::closed(), engine);
        }
    }

    /// Closes idle connections past the bound of the directive that asked last.
    pub(crate) fn trim(&self, engine: &Rc<Engine>) {
        let most = self.keep.get().max_idle;
        if most == 0 {
            return;
        }
        let mut idle = 0;
        let spare = |connection: &&Rc<Connection>| {
            idle += usize::from(connection.ids.is_empty());
            connection.ids.is_empty() && idle > most
        };
        let spare: Vec<_> = self
            .connections
            .borrow()
            .iter()
            .filter(spare)
            .cloned()
            .collect();
        for connection in spare {
            connection.close(Error::closed(), engine);
        }
    }

    /// Closes what has been idle for long; `false` when nothing is open any more.
    pub(crate) fn sweep(&self, engine: &Rc<Engine>, now: u64) -> bool {
        let keep = self.keep.get();
        let mut open = false;
        for place in self.sockets.borrow_mut().iter_mut() {
            if let Some(stale) = place.take_if(|socket| socket.is_stale(&keep, now)) {
                stale.retire();
            }
            open |= place.is_some();
        }
        let stale: Vec<_> = self
            .connections
            .borrow_mut()
            .extract_if(.., |connection| connection.is_stale(&keep, now))
            .collect();
        for connection in stale {
            connection.close(Error::closed(), engine);
        }
        open |= !self.connections.borrow().is_empty();
        match (open, self.closed.get()) {
            (true, _) => self.closed.set(0),
            (false, 0) => self.closed.set(now.max(1)),
            (false, _) => {}
        }
        open
    }

    /// For how long nothing has been open, in nanoseconds.
    pub(crate) fn closed_for(&self, now: u64) -> u64 {
        match self.closed.get() {
            0 => 0,
            since => now.saturating_sub(since),
        }
    }
}
