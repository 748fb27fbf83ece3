//! Queries that wait for a server, and the table that holds them: a slab with a free list.

use std::rc::Rc;
use std::sync::Arc;

use chain::{Completion, Exchange};
use wire::{Flags, HEADER_LEN, Header, Rcode};

use crate::datagram::Socket;
use crate::error::Error;
use crate::ids::QueryIds;
use crate::message::{self, Matching, set_flags, set_id};
use crate::policy::Policy;
use crate::pool::Peer;
use crate::reply;
use crate::send_queue::Datagram;
use crate::stream::Connection;
use crate::task::Waiting;
use crate::transaction::{Transaction, Transport};

/// What an attempt was sent by.
#[derive(Clone)]
pub(crate) enum Via {
    /// A datagram socket.
    Socket(Rc<Socket>),
    /// A connection.
    Connection(Rc<Connection>),
}

impl Via {
    pub(crate) fn ids(&self) -> &QueryIds {
        match self {
            Self::Socket(socket) => &socket.ids,
            Self::Connection(connection) => &connection.ids,
        }
    }

    pub(crate) fn peer(&self) -> &Rc<Peer> {
        match self {
            Self::Socket(socket) => &socket.peer,
            Self::Connection(connection) => &connection.peer,
        }
    }

    pub(crate) fn left(&self) {
        match self {
            Self::Socket(socket) => socket.left(),
            Self::Connection(connection) => connection.left(),
        }
    }

    /// The query under `id` has ended without a reply from here.
    pub(crate) fn abandon(&self, id: u16) {
        match self {
            Self::Socket(socket) => socket.left(),
            Self::Connection(connection) => connection.abandon(id),
        }
    }

    /// How the server is spoken to.
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Socket(_) => Transport::Udp,
            Self::Connection(connection) => connection.peer.endpoint.transport(Transport::Tcp),
        }
    }
}

/// A query as it was sent to one server.
pub(crate) struct Attempt {
    /// By what.
    pub(crate) via: Via,
    /// Under which ID.
    pub(crate) id: u16,
    /// To which server.
    pub(crate) server: u8,
    /// Whether with an OPT record.
    pub(crate) edns: bool,
    /// Whether the connection had been used before.
    pub(crate) reused: bool,
    /// When.
    pub(crate) began: u64,
}

/// What has come for a query.
pub(crate) enum Arrival {
    /// A reply, which is the exchange's response now.
    Reply,
    /// A reply that cannot be read.
    Malformed,
}

/// Where the end of a query is told.
pub(crate) enum Outlet {
    /// To a listener.
    Completion(Completion),
    /// To a task that waits.
    Task(Rc<Waiting>),
}

/// A query that waits for a server.
pub(crate) struct Outstanding {
    /// Who asks.
    pub(crate) policy: Arc<dyn Policy>,
    /// The client's query, and the buffer of its response.
    pub(crate) exchange: Option<Box<Exchange>>,
    /// What to do next.
    pub(crate) transaction: Transaction,
    /// The query as sent, when it is not the client's.
    pub(crate) composed: Option<Box<[u8]>>,
    matching: Matching,
    /// Whether a reply came that cannot be read.
    pub(crate) malformed: bool,
    /// Whether a truncated reply is asked for again over TCP.
    pub(crate) retry_truncated: bool,
    /// Whether it is sent without its OPT record.
    pub(crate) without_edns: bool,
    /// Whether its last datagram found no room in the socket's buffer.
    pub(crate) unsent: u8,
    /// The hash of its question.
    pub(crate) hash: u64,
    /// The query that asks the same and is waited for instead.
    pub(crate) leader: Option<(u32, u32)>,
    /// Queries that ask the same and wait for this one.
    pub(crate) followers: Vec<(u32, u32)>,
    /// The largest reply.
    limit: usize,
    /// When the next timer is due.
    pub(crate) due: u64,
    /// The last attempt.
    pub(crate) attempt: Option<Attempt>,
    /// Earlier ones that may still be answered.
    pub(crate) earlier: Vec<Attempt>,
    pub(crate) outlet: Outlet,
}

impl Outstanding {
    /// A query that is to be asked from now on.
    #[inline]
    pub(crate) fn new(
        policy: Arc<dyn Policy>,
        mut exchange: Box<Exchange>,
        outlet: Outlet,
        now: u64,
    ) -> Self {
        let settings = policy.settings();
        let matching = settings.matching;
        let mut hash = match exchange.suspended_query() {
            Some(query) => query.qname().hash(0),
            None => exchange.parsed.qname.hash(0),
        };
        // Types of one name lie apart.
        hash ^= u64::from(exchange.parsed.qtype.0).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let composed = reply::compose(&mut exchange, matching == Matching::Case);
        let datagram = exchange.context.transport.is_datagram();
        let asked = match (settings.force_tcp, settings.prefer_udp) {
            (true, _) => Transport::Tcp,
            (false, false) if !datagram => Transport::Tcp,
            _ => Transport::Udp,
        };
        // The server's own look-ups want a whole answer, and come without a size of their own.
        let inner = exchange.context.depth > 0;
        let retry_truncated = (settings.prefer_udp || inner) && asked == Transport::Udp;
        let limit = match datagram && !inner {
            true => exchange.udp_limit(),
            false => usize::from(u16::MAX),
        };
        Self {
            transaction: Transaction::new(policy.order(), settings.bounds, asked, now),
            policy,
            exchange: Some(exchange),
            composed,
            matching,
            malformed: false,
            retry_truncated,
            without_edns: false,
            unsent: 0,
            hash,
            leader: None,
            followers: Vec::new(),
            limit,
            due: now,
            attempt: None,
            earlier: Vec::new(),
            outlet,
        }
    }

    /// The query as it is sent, apart from its ID.
    pub(crate) fn octets(&self) -> &[u8] {
        match (&self.composed, &self.exchange) {
            (Some(composed), _) => composed,
            (None, Some(exchange)) => exchange.message(),
            (None, None) => &[],
        }
    }

    /// Whether it has an OPT record.
    pub(crate) fn has_edns(&self) -> bool {
        !self.without_edns
            && match (&self.composed, &self.exchange) {
                (Some(composed), _) => message::has_edns(composed),
                (None, Some(exchange)) => exchange.parsed.edns.is_some(),
                (None, None) => false,
            }
    }

    /// Takes the OPT record out of what is sent from now on; `false` where that cannot be.
    #[cold]
    pub(crate) fn drop_edns(&mut self) -> bool {
        let Some(octets) = message::without_edns(self.octets()) else {
            return false;
        };
        self.composed = Some(octets);
        self.without_edns = true;
        true
    }

    /// Whether another query asks the same of the same servers.
    #[cold]
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        let flags = |query: &Self| Some(query.exchange.as_ref()?.parsed.flags);
        other.leader.is_none()
            && self.policy.settings().servers != 0
            && Arc::ptr_eq(&self.policy, &other.policy)
            && self.transaction.asked() == other.transaction.asked()
            && (self.limit, self.retry_truncated) == (other.limit, other.retry_truncated)
            && flags(self) == flags(other)
            && message::are_alike(self.octets(), other.octets())
    }

    /// The attempts that may still be answered.
    pub(crate) fn attempts(&self) -> usize {
        usize::from(self.attempt.is_some()) + self.earlier.len()
    }

    /// Notes an attempt; the one before it stays outstanding.
    #[inline]
    pub(crate) fn push(&mut self, attempt: Attempt) {
        if let Some(before) = self.attempt.replace(attempt) {
            self.earlier.push(before);
        }
    }

    /// Takes out the attempt that was sent by the socket with these IDs under `id`.
    #[inline]
    pub(crate) fn take_attempt(&mut self, ids: &QueryIds, id: u16) -> Option<Attempt> {
        let is = |attempt: &Attempt| attempt.id == id && std::ptr::eq(attempt.via.ids(), ids);
        if self.attempt.as_ref().is_some_and(is) {
            return self.attempt.take();
        }
        let at = self.earlier.iter().position(is)?;
        Some(self.earlier.swap_remove(at))
    }

    /// Takes out an attempt that was sent by the socket with these IDs.
    #[cold]
    pub(crate) fn take_attempt_by(&mut self, ids: &QueryIds) -> Option<Attempt> {
        let is = |attempt: &Attempt| std::ptr::eq(attempt.via.ids(), ids);
        if self.attempt.as_ref().is_some_and(is) {
            return self.attempt.take();
        }
        let at = self.earlier.iter().position(is)?;
        Some(self.earlier.swap_remove(at))
    }

    /// Takes a reply, if it is one to this query. One that cannot be read ends the wait only where nobody else can have sent it.
    #[inline]
    pub(crate) fn accept(&mut self, octets: &[u8], patient: bool) -> Option<Arrival> {
        let exchange = self.exchange.as_mut()?;
        let query = self.composed.as_deref().unwrap_or(exchange.message());
        if !message::answers(query, octets, self.matching) {
            return None;
        }
        if Header::read(octets).is_some_and(|header| header.counts[0] == 0) {
            let rcode = Header::read(octets).map_or(Rcode::FORMERR, |header| header.flags.rcode());
            exchange.begin();
            exchange.response().set_rcode(rcode);
            exchange.context.extended = reply::extended_error(octets);
            return Some(Arrival::Reply);
        }
        let len = octets.len();
        match exchange.response().buffer().get_mut(..len) {
            Some(room) if len <= self.limit => room.copy_from_slice(octets),
            _ => return adopt_head(exchange, octets).then_some(Arrival::Reply),
        }
        if exchange.adopt(len) {
            exchange.context.keep_reply_opt(octets);
            exchange.context.extended = reply::extended_error(octets);
            return Some(Arrival::Reply);
        }
        // Some servers cut a truncated reply in the middle of a record. Nothing but TC is read from it (RFC 2181, section 9).
        let truncated = Header::read(octets).is_some_and(|header| header.flags.has(Flags::TC));
        if truncated && adopt_head(exchange, octets) {
            return Some(Arrival::Reply);
        }
        exchange.begin();
        if self.matching == Matching::Any {
            return Some(Arrival::Reply);
        }
        self.malformed = true;
        (!patient).then_some(Arrival::Malformed)
    }

    /// Whether the response is marked truncated.
    pub(crate) fn is_truncated(&mut self) -> bool {
        let exchange = self.exchange.as_mut();
        exchange.is_some_and(|exchange| exchange.response().flags().has(Flags::TC))
    }

    /// Forgets the response that came.
    #[cold]
    pub(crate) fn begin_response(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.begin();
            exchange.context.extended = None;
        }
    }

    /// Writes our ID, and the flags that plugins above want, over the client's, so that its octets can leave.
    #[inline]
    pub(crate) fn patch(&mut self, number: u32) -> Option<Datagram> {
        let attempt = self.attempt.as_ref()?;
        let Via::Socket(socket) = &attempt.via else {
            return None;
        };
        let socket = Rc::as_ptr(socket).addr();
        let exchange = self.exchange.as_mut()?;
        let wanted = reply::flags(exchange);
        reply::offer_size(exchange);
        let message = exchange.message_mut();
        Some(Datagram {
            socket,
            len: message.len() as u16,
            number,
            id: set_id(message, attempt.id),
            flags: set_flags(message, wanted),
        })
    }

    /// Writes what the client sent back.
    #[inline]
    pub(crate) fn restore(&mut self, datagram: &Datagram) {
        if let Some(exchange) = &mut self.exchange {
            set_id(exchange.message_mut(), datagram.id);
            set_flags(exchange.message_mut(), datagram.flags);
            reply::restore_size(exchange);
        }
    }

    /// Sends it by its last attempt's socket or connection.
    pub(crate) fn send(&mut self) -> Result<(), Error> {
        let (Some(attempt), Some(exchange)) = (&self.attempt, &mut self.exchange) else {
            return Ok(());
        };
        let wanted = match &self.composed {
            Some(_) => exchange.parsed.flags,
            None => reply::flags(exchange),
        };
        let id = attempt.id;
        reply::offer_size(exchange);
        let mut own;
        let message = match &self.composed {
            Some(composed) => {
                own = composed.to_vec();
                &mut own[..]
            }
            None => exchange.message_mut(),
        };
        let theirs = set_id(message, id);
        let flags = set_flags(message, wanted);
        let sent = match &attempt.via {
            Via::Socket(socket) => socket.send(message).map_err(|error| Error::sent(&error)),
            Via::Connection(connection) => connection.send(message, id),
        };
        set_id(message, theirs);
        set_flags(message, flags);
        reply::restore_size(exchange);
        sent
    }

    /// Gives back every ID.
    #[inline]
    pub(crate) fn release(&mut self, number: u32) {
        for attempt in self
            .attempt
            .take()
            .into_iter()
            .chain(self.earlier.drain(..))
        {
            attempt.via.ids().release_if(attempt.id, number);
            attempt.via.abandon(attempt.id);
        }
    }
}

/// Makes the header and the question of a reply the response, marked truncated: its records have no room, or cannot be read.
#[cold]
fn adopt_head(exchange: &mut Exchange, octets: &[u8]) -> bool {
    let (Some(header), Ok(name_end)) = (Header::read(octets), wire::skip_name(octets, HEADER_LEN))
    else {
        return false;
    };
    let header = Header {
        flags: header.flags.with(Flags::TC, true),
        counts: [1, 0, 0, 0],
        ..header
    };
    let len = name_end + 4;
    let mut response = exchange.response();
    let (Some(question), Some(room)) = (
        octets.get(HEADER_LEN..len),
        response.buffer().get_mut(..len),
    ) else {
        return false;
    };
    let (head, rest) = room.split_at_mut(HEADER_LEN);
    head.copy_from_slice(&header.to_octets());
    rest.copy_from_slice(question);
    exchange.adopt(len)
}

/// The table of outstanding queries.
pub(crate) struct Table {
    all: Vec<Place>,
    free: u32,
    taken: usize,
}

struct Place {
    query: Option<Outstanding>,
    /// Tells the queries apart that had this number one after the other.
    generation: u32,
    next_free: u32,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            free: u32::MAX,
            taken: 0,
        }
    }
}

impl Table {
    /// How many queries are outstanding.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.taken
    }

    /// Takes in a query; gives its number and generation.
    #[inline]
    pub(crate) fn insert(&mut self, query: Outstanding) -> (u32, u32) {
        self.taken += 1;
        if let Some(place) = self.all.get_mut(self.free as usize) {
            let number = std::mem::replace(&mut self.free, place.next_free);
            place.query = Some(query);
            return (number, place.generation);
        }
        self.all.push(Place {
            query: Some(query),
            generation: 0,
            next_free: u32::MAX,
        });
        ((self.all.len() - 1) as u32, 0)
    }

    /// The query of this number.
    #[inline]
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Outstanding> {
        self.all.get_mut(number as usize)?.query.as_mut()
    }

    /// The query of this number, if it is still that one.
    #[inline]
    pub(crate) fn exactly(&mut self, (number, generation): (u32, u32)) -> Option<&mut Outstanding> {
        let place = self.all.get_mut(number as usize)?;
        place
            .query
            .as_mut()
            .filter(|_| place.generation == generation)
    }

    /// The query of this number, to read.
    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&Outstanding> {
        self.all.get(number as usize)?.query.as_ref()
    }

    /// The generation of a number.
    #[inline]
    pub(crate) fn generation(&self, number: u32) -> u32 {
        self.all
            .get(number as usize)
            .map_or(0, |place| place.generation)
    }

    /// Takes a query out.
    #[inline]
    pub(crate) fn remove(&mut self, number: u32) -> Option<Outstanding> {
        let place = self.all.get_mut(number as usize)?;
        let query = place.query.take()?;
        place.generation = place.generation.wrapping_add(1);
        place.next_free = self.free;
        self.free = number;
        self.taken -= 1;
        Some(query)
    }
}
