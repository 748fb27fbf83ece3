//! Who is let in, and who has to go: every bound of what clients may hold, in one room.
//!
//! ```text
//! descriptors (raised to the hard limit) ─┬─ upstreams: their share (host::descriptors)
//!                                         └─ clients:   connections ─┐
//! waiting queries ──────────────────────────────────────────────────┼─► Shares: by client prefix, each holder's oldest first
//! octets that connections hold ─────────────────────────────────────┘      full ─► the oldest of the largest holder goes
//! ```
//!
//! A client is its prefix ([`Prefix`]): an IPv4 address, or 56 bits of an IPv6 address, since one customer has all of those. Whoever
//! comes is let in; where that exceeds a bound, the longest wait of the holder of most is ended (Unbound calls it jostling), so a flood
//! displaces itself and nobody else. There is no bound for one client alone: what nobody else wants, one may have.
//!
//! Only what waits is admitted: an answer from memory over UDP never gets here. A worker has its part of each bound for itself, and
//! looks up nothing in what others hold, so nothing is locked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::OnceLock;

use prometheus_client::metrics::counter::Counter;
use telemetry::metrics;
use tokio::sync::Notify;

use crate::completions::CompletionQueue;

/// Queries of one worker that may wait.
pub(crate) const WAITING: usize = if cfg!(test) { 64 } else { 4_096 };
/// Connections of all workers at most.
const CONNECTIONS: usize = 16_384;
/// Descriptors that neither clients nor upstreams get: listeners, watched files, the log, and some in reserve.
const RESERVED: usize = 64;
/// Octets that all connections together may hold: queries that are not whole, and answers that are not taken.
const OCTETS: usize = 8 << 20;
/// Octets are counted in units of so many.
const UNIT: usize = 256;
/// TLS handshakes of one worker that may be under way.
pub(crate) const HANDSHAKES: usize = 256;
/// Queries of one connection that may wait; beyond it nothing more is read from it.
pub(crate) const PIPELINED: usize = 64;
/// Connections of one admin address.
pub(crate) const ADMIN_CONNECTIONS: usize = 512;
/// Octets of pages that the admin side keeps for clients that are still reading them.
pub(crate) const ADMIN_OCTETS: usize = 2 << 20;

/// One row of the table of bounds in README.md.
#[cfg(test)]
struct Bound {
    /// What is bounded.
    what: &'static str,
    /// By default.
    default: usize,
}

/// The bounds of this crate, as README.md lists them.
#[cfg(test)]
const BOUNDS: [Bound; 7] = [
    Bound {
        what: "waiting queries, per worker",
        default: 4_096,
    },
    Bound {
        what: "connections, all workers",
        default: CONNECTIONS,
    },
    Bound {
        what: "TLS handshakes, per worker",
        default: HANDSHAKES,
    },
    Bound {
        what: "bytes held by connections, all workers",
        default: OCTETS,
    },
    Bound {
        what: "waiting queries, per connection",
        default: PIPELINED,
    },
    Bound {
        what: "connections, per admin address",
        default: ADMIN_CONNECTIONS,
    },
    Bound {
        what: "bytes of pages on the admin side",
        default: ADMIN_OCTETS,
    },
];

/// What one worker may let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections.
    pub(crate) connections: usize,
    /// Octets that they hold.
    pub(crate) octets: usize,
}

impl Limits {
    /// A worker's part of what the process may have, with so many descriptors of which upstreams get a part.
    pub(crate) fn of_worker(workers: usize, descriptors: usize, upstreams: usize) -> Self {
        let workers = workers.max(1);
        let clients = descriptors.saturating_sub(upstreams + RESERVED.min(descriptors / 4));
        Self {
            connections: (CONNECTIONS.min(clients) / workers).max(2),
            octets: OCTETS / workers,
        }
    }
}

/// Who counts as one client: an IPv4 address, or an IPv6 prefix of 56 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Prefix(u64);

impl Prefix {
    /// The prefix of an address; an IPv4 address in IPv6 form is IPv4.
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            // Above all that 56 bits can be.
            IpAddr::V4(v4) => Self(1 << 63 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 72) as u64),
        }
    }
}

/// Hashes a prefix, keyed by the process's seed: an attacker who chooses addresses cannot choose their hashes.
#[derive(Default)]
pub(crate) struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.write_u64(u64::from(octet));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = wire::mix(self.0 ^ wire::seed(), word);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// No entry, no holder.
const NONE: u32 = u32::MAX;
/// Entries of the largest holder that are looked at for one that is better let go than its oldest.
const LOOKED_AT: usize = 16;

/// What a [`Shares`] knows an entry by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket(u32);

/// Things that clients hold, by who holds how much of them.
///
/// Entries and holders lie in slabs and are linked: each holder's entries from the oldest to the newest, and holders of one weight from
/// the one that has had it longest. To let in, to let go and to find whom to displace takes the same time for any number of them, when
/// it is spread over the changes that made one holder so large.
pub(crate) struct Shares<T> {
    limit: usize,
    held: usize,
    entries: Vec<Entry<T>>,
    unused: Vec<u32>,
    holders: Vec<Holder>,
    by_prefix: HashMap<Prefix, u32, BuildHasherDefault<Folded>>,
    /// Who was let in last: most often the next one too.
    recent: (Prefix, u32),
    /// The holders of each weight.
    ranks: Vec<Chain>,
    /// The weight of the largest holder.
    largest: usize,
}

struct Entry<T> {
    what: Option<T>,
    weight: usize,
    holder: u32,
    older: u32,
    newer: u32,
}

struct Holder {
    prefix: Prefix,
    weight: usize,
    /// How many entries are its, with those that have no weight.
    members: usize,
    entries: Chain,
    /// Its neighbours among the holders of its weight.
    before: u32,
    after: u32,
}

/// The ends of a linked list.
#[derive(Clone, Copy)]
struct Chain {
    first: u32,
    last: u32,
}

impl Chain {
    const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };
}

impl<T> Shares<T> {
    /// Room for entries that weigh `limit` together.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            held: 0,
            entries: Vec::new(),
            unused: Vec::new(),
            holders: Vec::new(),
            by_prefix: HashMap::default(),
            recent: (Prefix(u64::MAX), NONE),
            ranks: Vec::new(),
            largest: 0,
        }
    }

    /// Room for entries that weigh `limit` together, from now on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    /// What was let in, if it has not been let go.
    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        self.entries.get_mut(ticket.0 as usize)?.what.as_mut()
    }

    /// What all entries weigh.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Whether more is held than there is room for, so that somebody has to go.
    pub(crate) fn is_over(&self) -> bool {
        self.held > self.limit
    }

    /// Lets something in, as its holder's newest.
    pub(crate) fn enter(&mut self, prefix: Prefix, weight: usize, what: T) -> Ticket {
        let holder = self.holder(prefix);
        let entry = Entry {
            what: Some(what),
            weight: 0,
            holder,
            older: NONE,
            newer: NONE,
        };
        let number = match self.unused.pop() {
            Some(number) => {
                self.entries[number as usize] = entry;
                number
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.holders[holder as usize].members += 1;
        self.weigh(Ticket(number), weight);
        Ticket(number)
    }

    /// Gives an entry another weight. One without weight is in nobody's way, and nobody's oldest.
    pub(crate) fn weigh(&mut self, ticket: Ticket, weight: usize) {
        let entry = &mut self.entries[ticket.0 as usize];
        let before = std::mem::replace(&mut entry.weight, weight);
        let holder = entry.holder;
        self.held = self.held + weight - before;
        match (before, weight) {
            (0, 1..) => self.append(ticket.0),
            (1.., 0) => self.unlink(ticket.0),
            _ => {}
        }
        if weight != before {
            let total = self.holders[holder as usize].weight + weight - before;
            self.rank(holder, total);
        }
    }

    /// Makes an entry its holder's newest.
    pub(crate) fn touch(&mut self, ticket: Ticket) {
        if self.entries[ticket.0 as usize].weight > 0 {
            self.unlink(ticket.0);
            self.append(ticket.0);
        }
    }

    /// Lets an entry go.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<T> {
        self.weigh(ticket, 0);
        self.unused.push(ticket.0);
        let entry = &mut self.entries[ticket.0 as usize];
        self.holders[entry.holder as usize].members -= 1;
        entry.what.take()
    }

    /// Which entry has to go: the oldest of the largest holder, or one of its oldest that `rather` picks.
    pub(crate) fn displaced(&self, rather: impl Fn(&T) -> bool) -> Option<(Ticket, &T)> {
        let holder = self.ranks.get(self.largest)?.first;
        let oldest = self.holders.get(holder as usize)?.entries.first;
        let entry = |number: u32| self.entries.get(number as usize);
        let mut at = oldest;
        for _ in 0..LOOKED_AT {
            match entry(at) {
                Some(Entry {
                    what: Some(what), ..
                }) if rather(what) => return Some((Ticket(at), what)),
                Some(other) => at = other.newer,
                None => break,
            }
        }
        let what = entry(oldest)?.what.as_ref()?;
        Some((Ticket(oldest), what))
    }

    /// The holder of a prefix.
    fn holder(&mut self, prefix: Prefix) -> u32 {
        if self.recent.0 == prefix {
            return self.recent.1;
        }
        if self.by_prefix.len() == self.by_prefix.capacity() {
            self.forget_idle();
        }
        let next = self.holders.len() as u32;
        let number = *self.by_prefix.entry(prefix).or_insert(next);
        if number == next {
            self.holders.push(Holder {
                prefix,
                weight: 0,
                members: 0,
                entries: Chain::EMPTY,
                before: NONE,
                after: NONE,
            });
        }
        self.recent = (prefix, number);
        number
    }

    /// Forgets the holders of nothing, where the table would have to grow for them.
    #[cold]
    fn forget_idle(&mut self) {
        let holds = |holder: &Holder| holder.members > 0;
        if self.holders.iter().all(holds) {
            return;
        }
        let mut moved = vec![NONE; self.holders.len()];
        let mut kept: Vec<Holder> = Vec::new();
        for (number, holder) in std::mem::take(&mut self.holders).into_iter().enumerate() {
            if holds(&holder) {
                moved[number] = kept.len() as u32;
                kept.push(holder);
            }
        }
        let now = |number: u32| moved.get(number as usize).copied().unwrap_or(NONE);
        for holder in &mut kept {
            (holder.before, holder.after) = (now(holder.before), now(holder.after));
        }
        for rank in &mut self.ranks {
            (rank.first, rank.last) = (now(rank.first), now(rank.last));
        }
        for entry in &mut self.entries {
            entry.holder = now(entry.holder);
        }
        self.holders = kept;
        self.by_prefix = (0..)
            .zip(&self.holders)
            .map(|(number, holder)| (holder.prefix, number))
            .collect();
        self.by_prefix.reserve(self.holders.len().max(16));
        self.recent = (Prefix(u64::MAX), NONE);
    }

    /// Puts a holder among those of this weight.
    fn rank(&mut self, number: u32, weight: usize) {
        let holder = &mut self.holders[number as usize];
        let old = std::mem::replace(&mut holder.weight, weight);
        let (before, after) = (holder.before, holder.after);
        (holder.before, holder.after) = (NONE, NONE);
        if old > 0 {
            match self.holders.get_mut(before as usize) {
                Some(before) => before.after = after,
                None => self.ranks[old].first = after,
            }
            match self.holders.get_mut(after as usize) {
                Some(after) => after.before = before,
                None => self.ranks[old].last = before,
            }
        }
        if weight > 0 {
            if self.ranks.len() <= weight {
                self.ranks.resize(weight + 1, Chain::EMPTY);
            }
            let last = std::mem::replace(&mut self.ranks[weight].last, number);
            self.holders[number as usize].before = last;
            match self.holders.get_mut(last as usize) {
                Some(last) => last.after = number,
                None => self.ranks[weight].first = number,
            }
        }
        self.largest = self.largest.max(weight);
        while self.largest > 0 && self.ranks[self.largest].first == NONE {
            self.largest -= 1;
        }
    }

    /// Links an entry as its holder's newest.
    fn append(&mut self, number: u32) {
        let holder = self.entries[number as usize].holder;
        let list = &mut self.holders[holder as usize].entries;
        let last = std::mem::replace(&mut list.last, number);
        if last == NONE {
            list.first = number;
        } else {
            self.entries[last as usize].newer = number;
        }
        let entry = &mut self.entries[number as usize];
        (entry.older, entry.newer) = (last, NONE);
    }

    /// Takes an entry out of its holder's list.
    fn unlink(&mut self, number: u32) {
        let entry = &self.entries[number as usize];
        let (older, newer, holder) = (entry.older, entry.newer, entry.holder);
        let list = &mut self.holders[holder as usize].entries;
        match self.entries.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => list.first = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => list.last = older,
        }
    }
}

/// A query that waits, and how to end its wait.
pub(crate) enum Waiter {
    /// A plugin keeps it; it comes back to a socket's queue under a number.
    Launched(Rc<CompletionQueue>, u32),
    /// A task has it, and looks at this.
    Task(Rc<Notify>),
}

/// An open connection.
pub(crate) struct Open {
    /// Closes it.
    pub(crate) close: Rc<Notify>,
    /// Whether none of its queries waits.
    idle: bool,
    /// What it holds of the octets.
    octets: Ticket,
}

/// What one worker has let in.
pub(crate) struct Admission {
    waiting: RefCell<Shares<Waiter>>,
    connections: RefCell<Shares<Open>>,
    handshakes: RefCell<Shares<Rc<Notify>>>,
    octets: RefCell<Shares<Ticket>>,
}

impl Admission {
    /// Nobody yet.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            waiting: RefCell::new(Shares::new(WAITING)),
            connections: RefCell::new(Shares::new(limits.connections)),
            handshakes: RefCell::new(Shares::new(HANDSHAKES)),
            octets: RefCell::new(Shares::new(limits.octets / UNIT)),
        }
    }

    /// Lets a query wait; where too many do, the wait of another ends.
    pub(crate) fn wait(&self, client: IpAddr, waiter: Waiter) -> Ticket {
        let mut waiting = self.waiting.borrow_mut();
        let ticket = waiting.enter(Prefix::of(client), 1, waiter);
        if !waiting.is_over() {
            return ticket;
        }
        let displaced = waiting.displaced(|_| false).map(|(ticket, _)| ticket);
        // It stays in the table, without weight, until it has ended.
        if let Some(displaced) = displaced {
            waiting.weigh(displaced, 0);
            let waiter = waiting.entries[displaced.0 as usize].what.take();
            // To end it may need the table.
            drop(waiting);
            shed_queries().inc();
            match waiter {
                Some(Waiter::Launched(queue, number)) => queue.evict(number),
                Some(Waiter::Task(told)) => told.notify_one(),
                None => {}
            }
        }
        ticket
    }

    /// The wait of a query has ended.
    pub(crate) fn waited(&self, ticket: Ticket) {
        let waiter = self.waiting.borrow_mut().leave(ticket);
        drop(waiter);
    }

    /// Lets a connection in; where too many are open, another is closed.
    pub(crate) fn connect(&self, client: IpAddr) -> (Ticket, Rc<Notify>) {
        let close = Rc::new(Notify::new());
        (self.connect_as(client, close.clone()), close)
    }

    /// The same for a connection that is open already, and is closed by `close`.
    pub(crate) fn connect_as(&self, client: IpAddr, close: Rc<Notify>) -> Ticket {
        let prefix = Prefix::of(client);
        let mut connections = self.connections.borrow_mut();
        // Each half knows the other: the octets are those of a connection.
        let octets = self.octets.borrow_mut().enter(prefix, 0, Ticket(NONE));
        let open = Open {
            close,
            idle: true,
            octets,
        };
        let ticket = connections.enter(prefix, 1, open);
        self.octets.borrow_mut().entries[octets.0 as usize].what = Some(ticket);
        if connections.is_over() {
            drop(connections);
            self.close_one();
        }
        ticket
    }

    /// A connection begins its handshake; where too many are at it, the one that has been longest is closed, of whoever has most.
    pub(crate) fn begin_handshake(&self, client: IpAddr, close: Rc<Notify>) -> Ticket {
        let mut handshakes = self.handshakes.borrow_mut();
        let ticket = handshakes.enter(Prefix::of(client), 1, close);
        if handshakes.is_over()
            && let Some((displaced, close)) = handshakes.displaced(|_| false)
        {
            evicted_connections().inc();
            close.notify_one();
            handshakes.weigh(displaced, 0);
        }
        ticket
    }

    /// A handshake has ended, well or not.
    pub(crate) fn end_handshake(&self, ticket: Ticket) {
        self.handshakes.borrow_mut().leave(ticket);
    }

    /// Closes the longest idle connection of whoever has most, or the one whose last sign of life is oldest.
    pub(crate) fn close_one(&self) {
        let mut connections = self.connections.borrow_mut();
        let displaced = connections.displaced(|open| open.idle);
        if let Some((ticket, open)) = displaced {
            evicted_connections().inc();
            open.close.notify_one();
            connections.weigh(ticket, 0);
        }
    }

    /// Something came or left on a connection; `idle` says whether no query of it waits.
    pub(crate) fn active(&self, ticket: Ticket, idle: bool) {
        let mut connections = self.connections.borrow_mut();
        if let Some(open) = &mut connections.entries[ticket.0 as usize].what {
            open.idle = idle;
        }
        connections.touch(ticket);
    }

    /// A connection holds so many octets; where all hold too many, the connection that has held some longest is closed, of whoever
    /// holds most.
    pub(crate) fn holds(&self, ticket: Ticket, octets: usize) {
        let connections = self.connections.borrow();
        let Some(own) = &connections.entries[ticket.0 as usize].what else {
            return;
        };
        let mut shares = self.octets.borrow_mut();
        shares.weigh(own.octets, octets.div_ceil(UNIT));
        while shares.is_over() {
            let Some((held, &ticket)) = shares.displaced(|_| true) else {
                return;
            };
            if let Some(open) = &connections.entries[ticket.0 as usize].what {
                evicted_connections().inc();
                open.close.notify_one();
            }
            shares.weigh(held, 0);
        }
    }

    /// A connection has ended.
    pub(crate) fn disconnect(&self, ticket: Ticket) {
        if let Some(open) = self.connections.borrow_mut().leave(ticket) {
            self.octets.borrow_mut().leave(open.octets);
        }
    }
}

/// `nameplate_queries_shed_total`.
pub(crate) fn shed_queries() -> &'static Counter {
    static SHED: OnceLock<Counter> = OnceLock::new();
    SHED.get_or_init(|| {
        metrics::metric(
            "nameplate_queries_shed",
            "Queries that were refused or dropped because too many waited.",
            Counter::default,
        )
    })
}

/// `nameplate_connections_evicted_total`.
pub(crate) fn evicted_connections() -> &'static Counter {
    static EVICTED: OnceLock<Counter> = OnceLock::new();
    EVICTED.get_or_init(|| {
        metrics::metric(
            "nameplate_connections_evicted",
            "Connections that were closed because too many were open, or held too many bytes.",
            Counter::default,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Prefix {
        Prefix::of(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_prefix_is_an_address_or_fifty_six_bits() {
        let of = |text: &str| Prefix::of(text.parse().expect("an address"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_eq!(of("2001:db8:0:aa00::1"), of("2001:db8:0:aaff:1::2"));
        assert_ne!(of("2001:db8:0:aa00::1"), of("2001:db8:0:ab00::1"));
        assert_ne!(of("::"), of("0.0.0.0"));
    }

    #[test]
    fn the_oldest_of_the_largest_holder_goes() {
        let mut shares = Shares::new(4);
        let flood: Vec<Ticket> = (0..3).map(|n| shares.enter(client(1), 1, n)).collect();
        let honest = shares.enter(client(2), 1, 10);
        assert!(!shares.is_over());
        let newest = shares.enter(client(3), 1, 20);
        assert!(shares.is_over());
        assert_eq!(shares.displaced(|_| false), Some((flood[0], &0)));
        assert_eq!(shares.displaced(|&n| n == 2), Some((flood[2], &2)));
        shares.touch(flood[0]);
        assert_eq!(shares.displaced(|_| false), Some((flood[1], &1)));
        for ticket in flood {
            shares.leave(ticket);
        }
        // Of equals the one who has held longest.
        assert_eq!(shares.displaced(|_| false), Some((honest, &10)));
        shares.weigh(newest, 2);
        assert_eq!(shares.displaced(|_| false), Some((newest, &20)));
        assert_eq!(shares.held(), 3);
        shares.leave(newest);
        shares.leave(honest);
        assert_eq!((shares.held(), shares.displaced(|_| false)), (0, None));
    }

    /// The same by counting all: for each step of a long game the table says what a scan says.
    #[test]
    fn a_scan_finds_nobody_else() {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut shares = Shares::new(usize::MAX);
        // Ticket, holder, weight; oldest first.
        let mut model: Vec<(Ticket, u64, usize)> = Vec::new();
        for step in 0..20_000_u64 {
            let holder = next(if step % 4_000 < 2_000 { 5 } else { 3_000 });
            match next(5) {
                0 | 1 => {
                    let weight = 1 + next(9) as usize;
                    let prefix = Prefix(holder);
                    model.push((shares.enter(prefix, weight, step), holder, weight));
                }
                2 if !model.is_empty() => {
                    let (ticket, ..) = model.remove(next(model.len() as u64) as usize);
                    shares.leave(ticket);
                }
                3 if !model.is_empty() => {
                    let at = next(model.len() as u64) as usize;
                    let weight = next(9) as usize;
                    shares.weigh(model[at].0, weight);
                    let (ticket, holder, before) = model[at];
                    if before == 0 && weight > 0 {
                        // Back among its holder's, as the newest.
                        model.remove(at);
                        model.push((ticket, holder, weight));
                    } else {
                        model[at].2 = weight;
                    }
                }
                4 if !model.is_empty() => {
                    let touched = model.remove(next(model.len() as u64) as usize);
                    model.push(touched);
                    shares.touch(touched.0);
                }
                _ => {}
            }
            if step % 50 != 0 {
                continue;
            }
            let mut totals: HashMap<u64, usize> = HashMap::new();
            for (_, holder, weight) in &model {
                *totals.entry(*holder).or_default() += weight;
            }
            assert_eq!(shares.held(), totals.values().sum::<usize>());
            let most = totals.values().copied().max().unwrap_or(0);
            if most == 0 {
                continue;
            }
            let (found, _) = shares.displaced(|_| false).expect("somebody");
            let holder = model
                .iter()
                .find(|entry| entry.0 == found)
                .expect("an entry")
                .1;
            assert_eq!(totals[&holder], most, "the largest");
            let oldest = model
                .iter()
                .find(|entry| entry.1 == holder && entry.2 > 0)
                .expect("an entry")
                .0;
            assert_eq!(found, oldest);
        }
    }

    #[test]
    fn clients_get_what_upstreams_and_files_leave() {
        let limits = |descriptors| Limits::of_worker(2, descriptors, descriptors / 5).connections;
        assert_eq!(limits(1_024), 378);
        assert_eq!(limits(1 << 20), CONNECTIONS / 2);
        assert_eq!(limits(8), 2);
    }

    #[tokio::test]
    async fn a_prefix_full_of_connections_closes_its_own() {
        let admission = Admission::new(Limits {
            connections: 1_000,
            octets: 1 << 20,
        });
        let told = async |close: &Notify| {
            let now = tokio::time::timeout(std::time::Duration::ZERO, close.notified());
            now.await.is_ok()
        };
        let (_, honest) = admission.connect("192.0.2.9".parse().expect("an address"));
        let mut greedy = Vec::new();
        for n in 0..3_900_u16 {
            let client = format!("2001:db8:0:1::{n:x}").parse().expect("an address");
            greedy.push(admission.connect(client).1);
        }
        assert!(!told(&honest).await, "an idle connection of somebody else");
        let mut closed = Vec::new();
        for close in &greedy {
            closed.push(told(close).await);
        }
        assert_eq!(closed.iter().filter(|&&closed| closed).count(), 2_901);
        assert!(closed[..2_901].iter().all(|&closed| closed), "the oldest");
    }

    #[test]
    fn readme_lists_the_bounds() {
        let readme =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"));
        let readme = readme.expect("the README");
        for Bound { what, default } in BOUNDS {
            let row = readme
                .lines()
                .find(|line| line.starts_with(&format!("| {what} |")));
            let shown = row.and_then(|row| row.split('|').nth(2)).expect(what);
            let number = |digits: &str| digits.replace(',', "").parse::<usize>().ok();
            let shown = match shown.trim().split_once(' ') {
                Some((digits, "MiB")) => number(digits).map(|mib| mib << 20),
                Some((digits, _)) => number(digits),
                None => number(shown.trim()),
            };
            assert_eq!(shown, Some(default), "{what}");
        }
    }
}
