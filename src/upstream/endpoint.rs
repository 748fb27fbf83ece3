//! Whom to ask: an address, how it is spoken to, and the address that queries leave from.
//!
//! Directives that name the same endpoint share it, also across a reload, and with it the sockets and connections that workers keep to
//! it: an engine finds its pool by the endpoint's number, without a look-up by key.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use host::clock;
use socket2::{Domain, Socket, Type};

use crate::protocol::{Protocol, ProtocolKey};
use crate::transaction::Transport;

/// How long it is remembered that a server does not understand EDNS, in nanoseconds.
const WITHOUT_EDNS: u64 = 900 * clock::SECOND;

/// What tells endpoints apart.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    address: SocketAddr,
    source: Option<IpAddr>,
    protocol: ProtocolKey,
}

/// An address that is asked, and how.
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// The address as metrics and messages write it.
    pub label: Arc<str>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The address that queries are sent from.
    pub source: Option<IpAddr>,
    /// The transport that the protocol means; `None` where that is the client's.
    transport: Option<Transport>,
    number: usize,
    id: u64,
    /// Until when it is asked without EDNS; 0 when it understands it.
    without_edns: AtomicU64,
    key: Key,
}

/// All endpoints of the process.
#[derive(Default)]
struct Registry {
    known: HashMap<Key, Weak<Endpoint>>,
    /// Numbers that were given back.
    free: Vec<usize>,
    next: usize,
}

fn registry() -> MutexGuard<'static, Registry> {
    static REGISTRY: OnceLock<Mutex<Registry>> = OnceLock::new();
    let registry = REGISTRY.get_or_init(Mutex::default);
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Endpoint {
    /// The endpoint at `address`: the one that is known already, or a new one.
    pub fn of(address: SocketAddr, protocol: Protocol, source: Option<IpAddr>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let key = Key {
            address,
            source,
            protocol: protocol.key(),
        };
        let mut registry = registry();
        if let Some(known) = registry.known.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        let number = registry.free.pop().unwrap_or_else(|| {
            registry.next += 1;
            registry.next - 1
        });
        let endpoint = Arc::new(Self {
            address,
            label: match &key.protocol.socket {
                Some(path) => format!("unix://{}", path.display()).into(),
                None => address.to_string().into(),
            },
            transport: protocol.transport(),
            protocol,
            source,
            number,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            without_edns: AtomicU64::new(0),
            key: key.clone(),
        });
        registry.known.insert(key, Arc::downgrade(&endpoint));
        endpoint
    }

    /// What it alone is called, then and later.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What a set of endpoints is called in the memory of failures: the same for all that ask the same ones.
    pub fn set(endpoints: &[Arc<Self>]) -> u64 {
        static HASH: OnceLock<RandomState> = OnceLock::new();
        let ids: BTreeSet<_> = endpoints.iter().map(|endpoint| endpoint.id()).collect();
        HASH.get_or_init(RandomState::new).hash_one(ids).max(1)
    }

    /// Its number: small, and its own while it lives.
    #[inline]
    pub fn number(&self) -> usize {
        self.number
    }

    /// How it is spoken to, where `asked` is wanted.
    #[inline]
    pub fn transport(&self, asked: Transport) -> Transport {
        self.transport.unwrap_or(asked)
    }

    /// Whether it is known not to understand EDNS.
    #[inline]
    pub fn lacks_edns(&self, now: u64) -> bool {
        self.without_edns.load(Ordering::Relaxed) > now
    }

    /// Remembers that it answers without EDNS what it refused with it (RFC 6891, section 6.2.2).
    pub fn learn_lack_of_edns(&self, now: u64) {
        self.without_edns
            .store(now + WITHOUT_EDNS, Ordering::Relaxed);
    }

    /// A socket for it: not blocking, bound to the source address if there is one.
    pub(crate) fn socket(&self, stream: bool) -> io::Result<Socket> {
        let domain = Domain::for_address(self.address);
        let socket = match stream {
            true => Socket::new(domain, Type::STREAM, Some(socket2::Protocol::TCP))?,
            false => Socket::new(domain, Type::DGRAM, Some(socket2::Protocol::UDP))?,
        };
        socket.set_nonblocking(true)?;
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(socket)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let mut registry = registry();
        if let Entry::Occupied(known) = registry.known.entry(self.key.clone())
            && known.get().strong_count() == 0
        {
            known.remove();
        }
        registry.free.push(self.number);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_the_same_shares_it() {
        let address = |last| SocketAddr::from(([192, 0, 2, last], 53));
        let one = Endpoint::of(address(1), Protocol::Dns, None);
        assert!(Arc::ptr_eq(
            &one,
            &Endpoint::of(address(1), Protocol::Dns, None)
        ));
        let other = Endpoint::of(address(2), Protocol::Dns, None);
        let source = Endpoint::of(address(1), Protocol::Dns, Some([192, 0, 2, 9].into()));
        let numbers = [one.number(), other.number(), source.number()];
        assert!(numbers[0] != numbers[1] && numbers[1] != numbers[2] && numbers[0] != numbers[2]);
        drop(other);
        let third = Endpoint::of(address(3), Protocol::Dns, None);
        assert!(third.number() != one.number() && third.number() != source.number());
    }

    #[test]
    fn a_lack_of_edns_is_forgotten() {
        let endpoint = Endpoint::of(SocketAddr::from(([192, 0, 2, 53], 53)), Protocol::Dns, None);
        assert!(!endpoint.lacks_edns(7));
        endpoint.learn_lack_of_edns(7);
        assert!(endpoint.lacks_edns(8) && !endpoint.lacks_edns(7 + WITHOUT_EDNS));
    }
}
