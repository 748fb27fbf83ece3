//! Datagram sockets to a server: connected, long-lived, many queries on each.
//!
//! A socket is replaced after a random number of queries and at a random age, so that a port does not stay known (RFC 5452, section
//! 9.2). The kernel lets pass only what comes from the server's address and port; the ID and the question are checked in
//! [`crate::message::answers`].

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::rc::Rc;

use host::{clock, gso, random};
use rand::RngExt;
use socket2::{MsgHdr, SockRef};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::task::AbortHandle;

use crate::engine::Engine;
use crate::error::Error;
use crate::ids::QueryIds;
use crate::policy::Keep;
use crate::pool::{Descriptor, Peer};

/// Queries after which a socket is replaced, at least; at most twice as many.
const USES: u32 = 256;
/// Queries outstanding on a socket at which the next takes another: their replies have room in its receive buffer, should they come
/// while the worker is off its core.
const CROWD: usize = 192;
/// The receive buffer that is asked for; the kernel doubles it, within its own bound.
const RECEIVE_BUFFER: usize = 1 << 18;
/// The age at which a socket is replaced, at least; at most twice as much.
const AGE: u64 = 15 * clock::SECOND;
/// What a socket is watched for: an ICMP error alone makes it neither readable nor writable.
const INTEREST: Interest = Interest::READABLE.add(Interest::ERROR);

/// A connected datagram socket and the IDs that are outstanding on it.
pub(crate) struct Socket {
    /// Only watched for what comes: a socket that is watched for room too wakes the worker whenever a datagram has been taken.
    socket: AsyncFd<UdpSocket>,
    /// Outstanding IDs.
    pub(crate) ids: QueryIds,
    /// The server that it leads to.
    pub(crate) peer: Rc<Peer>,
    uses_left: Cell<u32>,
    used: Cell<u64>,
    old_at: u64,
    created: u64,
    retired: Cell<bool>,
    /// Whether the path to the server takes several datagrams at once.
    segments: Cell<bool>,
    reader: RefCell<Option<AbortHandle>>,
    _descriptor: Descriptor,
}

impl Socket {
    /// Opens one.
    pub(crate) fn open(
        engine: &Rc<Engine>,
        peer: &Rc<Peer>,
        descriptor: Descriptor,
    ) -> io::Result<Rc<Self>> {
        let socket = peer.endpoint.socket(false)?;
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.connect(&peer.endpoint.address.into())?;
        #[expect(
            deprecated,
            reason = "the successor is unsafe for descriptors that others may close; this socket is its own"
        )]
        let socket = AsyncFd::with_interest(UdpSocket::from(socket), INTEREST)?;
        let mut random = random::rng();
        let now = clock::now();
        let socket = Rc::new(Self {
            socket,
            ids: QueryIds::default(),
            peer: peer.clone(),
            uses_left: Cell::new(random.random_range(USES..=2 * USES)),
            used: Cell::new(now),
            old_at: now + random.random_range(AGE..=2 * AGE),
            created: now,
            retired: Cell::new(false),
            segments: Cell::new(true),
            reader: RefCell::new(None),
            _descriptor: descriptor,
        });
        let reader = tokio::task::spawn_local(read(engine.clone(), socket.clone()));
        *socket.reader.borrow_mut() = Some(reader.abort_handle());
        Ok(socket)
    }

    /// Whether it is to be replaced before its next query.
    pub(crate) fn is_stale(&self, keep: &Keep, now: u64) -> bool {
        self.uses_left.get() == 0
            || self.ids.len() >= CROWD
            || now >= self.old_at
            || now.saturating_sub(self.used.get()) > keep.expire
            || (keep.max_age > 0 && now.saturating_sub(self.created) > keep.max_age)
    }

    /// When it was used last.
    pub(crate) fn used(&self) -> u64 {
        self.used.get()
    }

    /// One more query takes it.
    #[inline]
    pub(crate) fn take(&self, now: u64) {
        self.uses_left.set(self.uses_left.get().saturating_sub(1));
        self.used.set(now);
    }

    /// Takes no more queries; closes when the last reply has come.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.left();
    }

    /// A query has gone, one way or the other.
    #[inline]
    pub(crate) fn left(&self) {
        if self.retired.get() && self.ids.is_empty() {
            self.close();
        }
    }

    /// Closes at once.
    pub(crate) fn close(&self) {
        self.retired.set(true);
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.abort();
        }
    }

    /// Takes in the replies that have come.
    pub(crate) fn take_in(&self, engine: &Rc<Engine>) {
        let socket = self.socket.get_ref();
        let now = clock::now();
        // Where nothing is expected, the system call that would only say so is spared. What comes later is a new event.
        while !self.ids.is_empty() {
            let mut scratch = engine.scratch.borrow_mut();
            match socket.recv(&mut scratch) {
                Ok(len) => {
                    engine.deliver(&self.ids, &scratch[..len], true, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // ICMP says that no server listens there: that holds for every query on this socket.
                Err(error) => engine.fail(&self.ids, &Error::io("read", &error)),
            }
        }
    }

    /// Sends one datagram.
    #[inline]
    pub(crate) fn send(&self, octets: &[u8]) -> io::Result<()> {
        // Not through the runtime's readiness: a socket that was opened just now is writable before the runtime knows.
        self.socket.get_ref().send(octets).map(drop)
    }

    /// Sends several datagrams by one call, and one walk through the kernel: each has `len` octets, the last may have fewer. A path
    /// that does not take them so gets them one by one, then and later.
    pub(crate) fn send_all(&self, datagrams: &[IoSlice<'_>], len: u16) -> io::Result<()> {
        if self.segments.get() && gso::works() {
            let control = gso::control(len);
            let message = MsgHdr::new().with_buffers(datagrams).with_control(&control);
            match SockRef::from(self.socket.get_ref()).sendmsg(&message, 0) {
                Err(error) if gso::is_refused(&error) => self.segments.set(false),
                sent => return sent.map(drop),
            }
        }
        let sent = datagrams.iter().map(|datagram| self.send(datagram));
        // A datagram of these that is lost will show as silence.
        sent.fold(Ok(()), Result::and)
    }
}

/// Reads a socket until it is retired and nothing is outstanding.
async fn read(engine: Rc<Engine>, socket: Rc<Socket>) {
    while let Ok(mut ready) = socket.socket.ready(INTEREST).await {
        if ready.ready().is_error() {
            if let Ok(Some(error)) = SockRef::from(socket.socket.get_ref()).take_error() {
                engine.fail(&socket.ids, &Error::io("read", &error));
            }
            ready.clear_ready_matching(Ready::ERROR);
        }
        socket.take_in(&engine);
        ready.clear_ready_matching(Ready::READABLE);
        if socket.retired.get() && socket.ids.is_empty() {
            break;
        }
    }
}
