//! Questions that no server answered, remembered for a while (RFC 9520, section 3.2).
//!
//! A failure is kept for a second; when the question fails again, for twice as long, up to [`LONGEST`]. Meanwhile whoever asks hears of
//! it at once, without a word to the servers. When the time is up one query goes through, and the others still hear of the failure until
//! that one has come back or a second has passed: a question without an answer costs its servers one attempt a second at most. Servers
//! that have answered a probe since are not punished for the time before: then a second is enough.
//!
//! One table serves the process: an array of [`SLOTS`] places, chosen by the hash of the question, where the newer failure replaces the
//! older one. It is looked at, and locked, only for some seconds after a failure: without failures it costs one read of an atomic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chain::trace::Remark;
use chain::{Cause, Failure, Query};
use host::clock;
use wire::{Class, Type};

/// Places of the table.
const SLOTS: usize = 4_096;
/// How long the first failure is remembered, in nanoseconds: at least a second (RFC 9520, section 3.2).
const SHORTEST: u64 = clock::SECOND;
/// The longest, for servers that stay silent.
const LONGEST: u64 = 30 * clock::SECOND;
/// How long after its time a failure still lets a single query through at once, and is known to have been there.
const LINGER: u64 = 5 * clock::SECOND;

/// The table.
static FAILURES: Failures = Failures::new();

/// A question and the servers that it is asked of.
#[derive(Clone, Copy)]
struct Key<'a> {
    servers: u64,
    hash: u64,
    name: &'a [u8],
    qtype: Type,
    qclass: Class,
}

impl<'a> Key<'a> {
    fn new(servers: u64, query: &'a Query<'_>) -> Self {
        Self {
            servers,
            hash: query.qname().hash(0),
            name: query.name().octets(),
            qtype: query.qtype(),
            qclass: query.qclass(),
        }
    }

    fn slot(&self) -> usize {
        let mixed = (self.hash ^ self.servers ^ u64::from(self.qtype.0) << 32)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) as usize % SLOTS
    }
}

/// A question without an answer.
struct Entry {
    servers: u64,
    name: Box<[u8]>,
    qtype: Type,
    qclass: Class,
    failure: Failure,
    /// When it failed last.
    failed: u64,
    /// How long that is remembered.
    pause: u64,
    /// When a query was last let through to see whether there is an answer now.
    tried: u64,
}

impl Entry {
    fn is(&self, key: &Key<'_>) -> bool {
        self.servers == key.servers
            && self.qtype == key.qtype
            && self.qclass == key.qclass
            && *self.name == *key.name
    }
}

/// Questions without an answer.
struct Failures {
    /// When the table need not be looked at any more; 0 when it need not be now.
    until: AtomicU64,
    slots: Mutex<Vec<Option<Box<Entry>>>>,
}

/// Whether the set of servers `servers`, one of which came back to life when `recovered` says, is to be asked `query`.
///
/// # Errors
/// The failure of not long ago. It was logged when it was found, so it has no cause.
#[inline]
pub fn remembered(
    servers: u64,
    query: &Query<'_>,
    recovered: impl FnOnce() -> u64,
) -> Result<(), Failure> {
    if !FAILURES.has_any() {
        return Ok(());
    }
    let Some(failure) = FAILURES.get(&Key::new(servers, query), recovered(), clock::now()) else {
        return Ok(());
    };
    query.remark(|| Remark::new("failed not long ago").with("why", &failure.cause));
    Err(Failure {
        cause: Cause::None,
        ..failure
    })
}

/// Remembers that nobody answered `query`.
pub(crate) fn remember(
    servers: u64,
    query: &Query<'_>,
    failure: &Failure,
    recovered: u64,
    now: u64,
) {
    FAILURES.put(&Key::new(servers, query), failure, recovered, now);
}

/// Whether any failure is remembered.
#[inline]
pub(crate) fn any() -> bool {
    FAILURES.has_any()
}

/// Forgets that nobody answered `query`: somebody has.
#[cold]
pub(crate) fn forget(servers: u64, query: &Query<'_>) {
    FAILURES.remove(&Key::new(servers, query));
}

impl Failures {
    const fn new() -> Self {
        Self {
            until: AtomicU64::new(0),
            slots: Mutex::new(Vec::new()),
        }
    }

    /// Whether the table has to be looked at.
    #[inline]
    fn has_any(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0 && self.still_has_any(clock::now())
    }

    #[cold]
    fn still_has_any(&self, now: u64) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if until > now {
            return true;
        }
        let _ = self
            .until
            .compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        false
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Option<Box<Entry>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn get(&self, key: &Key<'_>, recovered: u64, now: u64) -> Option<Failure> {
        let mut slots = self.slots();
        let entry = slots.get_mut(key.slot())?.as_mut()?;
        if !entry.is(key) {
            return None;
        }
        let pause = match recovered > entry.failed {
            true => SHORTEST,
            false => entry.pause,
        };
        if now < entry.failed + pause || now < entry.tried + SHORTEST {
            return Some(entry.failure.clone());
        }
        // This one goes through; the others hear of the failure until it has come back.
        entry.tried = now;
        self.keep(now + SHORTEST);
        None
    }

    #[cold]
    fn put(&self, key: &Key<'_>, failure: &Failure, recovered: u64, now: u64) {
        let mut slots = self.slots();
        if slots.is_empty() {
            slots.resize_with(SLOTS, || None);
        }
        let Some(slot) = slots.get_mut(key.slot()) else {
            return;
        };
        let before = slot.as_ref().filter(|entry| entry.is(key));
        let pause = match before {
            // Several queries that were on their way together fail together.
            Some(entry) if now < entry.failed + entry.pause => entry.pause,
            Some(entry) if recovered < entry.failed && now < entry.failed + 2 * LONGEST => {
                (2 * entry.pause).min(LONGEST)
            }
            _ => SHORTEST,
        };
        *slot = Some(Box::new(Entry {
            servers: key.servers,
            name: key.name.into(),
            qtype: key.qtype,
            qclass: key.qclass,
            failure: failure.clone(),
            failed: now,
            pause,
            tried: 0,
        }));
        self.keep(now + pause);
    }

    /// Has the table looked at until some time after `until`.
    fn keep(&self, until: u64) {
        self.until.fetch_max(until + LINGER, Ordering::Relaxed);
    }

    fn remove(&self, key: &Key<'_>) {
        if let Some(slot) = self.slots().get_mut(key.slot())
            && slot.as_ref().is_some_and(|entry| entry.is(key))
        {
            *slot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn key(name: &[u8]) -> Key<'_> {
        Key {
            servers: 1,
            hash: name.len() as u64,
            name,
            qtype: Type::A,
            qclass: Class::IN,
        }
    }

    #[test]
    fn a_failure_is_remembered_longer_each_time_and_one_query_tries() {
        let failures = Failures::new();
        let failure = Failure::servfail("silence");
        let asked = key(b"\x07example\x03org\0");
        let refused = |recovered, now| failures.get(&asked, recovered, now).is_some();
        let mut now = 100 * clock::SECOND;
        assert!(!failures.has_any() && !refused(0, now));
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            failures.put(&asked, &failure, 0, now);
            // Whoever was on the way with it changes nothing.
            failures.put(&asked, &failure, 0, now + MS);
            let end = now + MS + seconds * clock::SECOND;
            assert!(failures.still_has_any(end));
            assert!(refused(0, end - 1), "{seconds}");
            assert!(!refused(0, end), "{seconds}: one is let through");
            assert!(refused(0, end + 1) && refused(0, end + 999 * MS));
            assert!(!refused(0, end + 1_000 * MS), "one a second");
            now = end + 1_500 * MS;
        }
        failures.remove(&asked);
        assert!(!refused(0, now));
    }

    #[test]
    fn who_has_recovered_is_asked_after_a_second() {
        let failures = Failures::new();
        let failure = Failure::servfail("silence");
        let asked = key(b"\x07example\x03org\0");
        let refused = |recovered, now| failures.get(&asked, recovered, now).is_some();
        let second = clock::SECOND;
        failures.put(&asked, &failure, 0, 10 * second);
        failures.put(&asked, &failure, 0, 12 * second);
        failures.put(&asked, &failure, 0, 16 * second);
        assert!(refused(0, 19 * second), "four seconds by now");
        assert!(refused(16 * second + 1, 17 * second - 1));
        assert!(!refused(16 * second + 1, 17 * second));
        // The next failure begins anew.
        failures.put(&asked, &failure, 20 * second, 21 * second);
        assert!(refused(0, 22 * second - 1) && !refused(0, 22 * second));
    }

    #[test]
    fn questions_and_servers_are_told_apart() {
        let failures = Failures::new();
        let asked = key(b"\x07example\x03org\0");
        failures.put(&asked, &Failure::servfail("silence"), 0, 0);
        let others = [
            key(b"\x07example\x03net\0"),
            Key {
                servers: 2,
                ..asked
            },
            Key {
                qtype: Type::AAAA,
                ..asked
            },
            Key {
                qclass: Class(3),
                ..asked
            },
        ];
        for other in others {
            assert!(failures.get(&other, 0, 1).is_none());
        }
        assert!(failures.get(&asked, 0, 1).is_some());
    }
}
