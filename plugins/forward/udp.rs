//! Datagram sockets to an upstream: connected, long-lived, many queries on each.
//!
//! A worker has up to [`LANES`] sockets an upstream, and which one a query takes is random, queries of a moment together; each is replaced after a random number
//! of queries and at a random age, so that a port does not stay known (RFC 5452, section 9.2). The kernel lets pass only what comes
//! from the upstream's address and port; the ID and the question are checked in [`super::upstream::answers`].

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::rc::Rc;

use chain::{clock, segments};
use rand::RngExt;
use socket2::{MsgHdr, SockRef};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::task::AbortHandle;

use super::Forward;
use super::ids::Ids;
use super::local::{Local, Pool};
use super::metrics::Proto;
use super::trouble::Trouble;

/// Sockets of one worker to one upstream.
const LANES: usize = 16;
/// Queries after which a socket is replaced, at least; at most twice as many.
const USES: u32 = 256;
/// Queries that one draw of a socket serves, when they come within [`TOGETHER`]: their replies come together too, and one wake-up
/// reads them all.
const SHARING: u32 = 16;
/// Queries outstanding on a socket at which the next takes another: their replies have room in its receive buffer, should they come
/// while the worker is off its core.
const CROWD: usize = 192;
/// The receive buffer that is asked for; the kernel doubles it, within its own bound.
const RECEIVE_BUFFER: usize = 1 << 18;
/// How long a draw holds, in nanoseconds.
const TOGETHER: u64 = 100_000;
/// The age at which a socket is replaced, at least; at most twice as much.
const AGE: u64 = 15 * clock::SECOND;

/// What a socket is watched for: an ICMP error alone makes it neither readable nor writable.
const INTEREST: Interest = Interest::READABLE.add(Interest::ERROR);

/// The socket that was drawn last.
#[derive(Clone, Copy, Default)]
pub(super) struct Draw {
    lane: usize,
    left: u32,
    at: u64,
}

/// A connected datagram socket and the IDs that are outstanding on it.
pub(super) struct UdpLane {
    /// Only watched for what comes: a socket that is watched for room too wakes the worker whenever a datagram has been taken.
    socket: AsyncFd<UdpSocket>,
    /// Outstanding IDs.
    pub(super) ids: Ids,
    uses_left: Cell<u32>,
    used: Cell<u64>,
    old_at: u64,
    created: u64,
    retired: Cell<bool>,
    /// Whether the path to the upstream takes several datagrams at once.
    segments: Cell<bool>,
    reader: RefCell<Option<AbortHandle>>,
}

impl UdpLane {
    fn open(local: &Rc<Local>, pool: &Pool) -> io::Result<Rc<Self>> {
        let socket = pool.upstream.socket(false)?;
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.connect(&pool.upstream.address.into())?;
        #[expect(
            deprecated,
            reason = "the successor is unsafe for descriptors that others may close; this socket is its own"
        )]
        let socket = AsyncFd::with_interest(UdpSocket::from(socket), INTEREST)?;
        let mut random = rand::rng();
        let now = clock::now();
        let lane = Rc::new(Self {
            socket,
            ids: Ids::default(),
            uses_left: Cell::new(random.random_range(USES..=2 * USES)),
            used: Cell::new(now),
            old_at: now + random.random_range(AGE..=2 * AGE),
            created: now,
            retired: Cell::new(false),
            segments: Cell::new(true),
            reader: RefCell::new(None),
        });
        let reader = tokio::task::spawn_local(read(local.clone(), lane.clone()));
        *lane.reader.borrow_mut() = Some(reader.abort_handle());
        Ok(lane)
    }

    /// Whether it is to be replaced before its next query.
    pub(super) fn is_stale(&self, forward: &Forward, now: u64) -> bool {
        let max_age = forward.max_age;
        self.uses_left.get() == 0
            || self.ids.len() >= CROWD
            || now >= self.old_at
            || now - self.used.get() > forward.expire
            || (max_age > 0 && now - self.created > max_age)
    }

    /// Takes no more queries; closes when the last reply has come.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.left();
    }

    /// A query has gone, one way or the other.
    pub(super) fn left(&self) {
        if self.retired.get() && self.ids.len() == 0 {
            self.close();
        }
    }

    /// Closes at once.
    pub(super) fn close(&self) {
        self.retired.set(true);
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.abort();
        }
    }

    /// Takes in the replies that have come.
    pub(super) fn take_in(&self, local: &Local) {
        let socket = self.socket.get_ref();
        let now = clock::now();
        // Where nothing is expected, the system call that would only say so is spared. What comes later is a new event.
        while self.ids.len() > 0 {
            let mut scratch = local.scratch.borrow_mut();
            match socket.recv(&mut scratch) {
                Ok(len) => local.deliver(&self.ids, &scratch[..len], true, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // ICMP says that nobody listens there: that holds for every query on this socket.
                Err(error) => local.fail(&self.ids, &Trouble::io("read", &error)),
            }
        }
    }

    /// Sends one datagram.
    #[inline]
    pub(super) fn send(&self, octets: &[u8]) -> io::Result<()> {
        // Not through the runtime's readiness: a socket that was opened just now is writable before the runtime knows.
        self.socket.get_ref().send(octets).map(drop)
    }

    /// Sends several datagrams by one call, and one walk through the kernel: each has `len` octets, the last may have fewer. A path
    /// that does not take them so gets them one by one, then and later.
    pub(super) fn send_all(&self, datagrams: &[IoSlice<'_>], len: u16) -> io::Result<()> {
        if self.segments.get() && segments::works() {
            let control = segments::control(len);
            let message = MsgHdr::new().with_buffers(datagrams).with_control(&control);
            match SockRef::from(self.socket.get_ref()).sendmsg(&message, 0) {
                Err(error) if segments::is_refused(&error) => self.segments.set(false),
                sent => return sent.map(drop),
            }
        }
        let sent = datagrams.iter().map(|datagram| self.send(datagram));
        // A datagram of these that is lost will show as silence.
        sent.fold(Ok(()), Result::and)
    }
}

impl Pool {
    /// A socket for one query, drawn by lot.
    pub(super) fn datagram(
        &self,
        local: &Rc<Local>,
        forward: &Forward,
        now: u64,
    ) -> Result<Rc<UdpLane>, Trouble> {
        let mut lanes = self.lanes.borrow_mut();
        if lanes.is_empty() {
            lanes.resize(LANES, None);
        }
        let mut draw = self.draw.get();
        if draw.left == 0 || now - draw.at > TOGETHER {
            let lane = rand::rng().random_range(0..LANES);
            draw = Draw {
                lane,
                left: SHARING,
                at: now,
            };
        }
        draw.left -= 1;
        self.draw.set(draw);
        let place = &mut lanes[draw.lane];
        if place
            .as_ref()
            .is_some_and(|lane| lane.is_stale(forward, now))
            && let Some(stale) = place.take()
        {
            stale.retire();
        }
        self.upstream
            .metrics
            .socket(local.stripe, Proto::Udp, place.is_some());
        let lane = match place {
            Some(lane) => lane.clone(),
            None => {
                let lane = UdpLane::open(local, self).map_err(|e| Trouble::io("dial", &e))?;
                place.insert(lane).clone()
            }
        };
        lane.uses_left.set(lane.uses_left.get().saturating_sub(1));
        lane.used.set(now);
        Ok(lane)
    }
}

/// Reads a lane until it is retired and nothing is outstanding.
async fn read(local: Rc<Local>, lane: Rc<UdpLane>) {
    let socket = lane.socket.get_ref();
    while let Ok(mut ready) = lane.socket.ready(INTEREST).await {
        if ready.ready().is_error() {
            if let Ok(Some(error)) = SockRef::from(socket).take_error() {
                local.fail(&lane.ids, &Trouble::io("read", &error));
            }
            ready.clear_ready_matching(Ready::ERROR);
        }
        lane.take_in(&local);
        ready.clear_ready_matching(Ready::READABLE);
        if lane.retired.get() && lane.ids.len() == 0 {
            break;
        }
    }
}
