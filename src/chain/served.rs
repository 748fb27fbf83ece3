//! The zones that a plugin serves: what is in each of them now, and who hears when that changes.
//!
//! ```text
//! a master file, a transfer, an update, a signer ──► Served::replace ──► the next query sees it
//!                                                          └──► observers: NOTIFY, differences for IXFR, metrics
//! ```
//!
//! A [`Served`] is a zone's place: its contents are a [`Zone`] that never changes and is replaced whole, so a query and a zone transfer
//! each hold the version that they began with. A [`ZoneSet`] is all zones of one directive in a server block. Others find it in the
//! block's [`Capabilities`](crate::capability::Capabilities), and read zones or observe them without knowing the plugin that serves them.
//!
//! Where a zone is handed on ([`Served::keep_differences`]), a bounded journal says what each change was: what a version that came as
//! differences was made of ([`Served::advance`]), or else what a comparison with the version before finds.
//!
//! Reading locks nothing. A change takes a lock that only other changes of the same zone, and new observers, wait for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use wire::{Name, NameBuf, Qname};
use zone::{Difference, Journal, Zone, is_newer};

use crate::zones::ZoneMap;

/// Hears of changes of zones.
pub trait Observer: Send + Sync + 'static {
    /// A zone has other contents, which queries see already. Called by the thread that has made the change, in the order of a zone's
    /// changes. It must not change or observe the same zone in turn.
    fn changed(&self, change: &Change<'_>);
}

/// What became of a zone.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// The zone.
    pub zone: &'a Arc<Served>,
    /// What was served; `None` where nothing was.
    pub before: Option<&'a Arc<Zone>>,
    /// What is served; `None` when the zone is no longer served.
    pub now: Option<&'a Arc<Zone>>,
}

impl Change<'_> {
    /// The SOA serials before and now.
    pub fn serials(&self) -> (Option<u32>, Option<u32>) {
        let serial = |zone: Option<&Arc<Zone>>| zone.map(|zone| zone.serial());
        (serial(self.before), serial(self.now))
    }
}

/// A zone's place, with its contents now.
pub struct Served {
    apex: NameBuf,
    now: ArcSwapOption<Zone>,
    observers: Mutex<Vec<Weak<dyn Observer>>>,
    /// Whether differences are kept.
    journalled: AtomicBool,
    journal: Mutex<Journal>,
}

/// A version of a zone, and what leads to it.
pub type Since = (Arc<Zone>, Option<Vec<Arc<Difference>>>);

impl Served {
    /// A zone that has no contents yet.
    pub fn new(apex: Name<'_>) -> Arc<Self> {
        Arc::new(Self {
            apex: NameBuf::from_name(apex).to_lower(),
            now: ArcSwapOption::empty(),
            observers: Mutex::default(),
            journalled: AtomicBool::new(false),
            journal: Mutex::default(),
        })
    }

    /// The zone's name, in lower case.
    pub fn apex(&self) -> Name<'_> {
        self.apex.as_name()
    }

    /// The contents, for the time of one answer.
    #[inline]
    pub fn load(&self) -> Guard<Option<Arc<Zone>>> {
        self.now.load()
    }

    /// The contents, to be held for longer; `None` before the first, and when there are none any more.
    pub fn snapshot(&self) -> Option<Arc<Zone>> {
        self.now.load_full()
    }

    /// Keeps differences between versions from here on, in a [`Journal`].
    pub fn keep_differences(&self) {
        self.journalled.store(true, Ordering::Relaxed);
    }

    /// The contents, with the differences that lead to them from the version `from`, if the journal reaches back to it.
    pub fn since(&self, from: u32) -> Option<Since> {
        let zone = self.snapshot()?;
        let differences = lock(&self.journal).between(from, zone.serial());
        Some((zone, differences))
    }

    /// Reads the journal.
    pub fn journal<R>(&self, read: impl FnOnce(&Journal) -> R) -> R {
        read(&lock(&self.journal))
    }

    /// Serves `now` from here on, or nothing.
    pub fn replace(self: &Arc<Self>, now: Option<Arc<Zone>>) {
        self.change(now, None);
    }

    /// Serves `now` from here on, which `differences` have led to from what was served.
    pub fn advance(self: &Arc<Self>, now: Arc<Zone>, differences: Vec<Difference>) {
        self.change(Some(now), Some(differences));
    }

    fn change(self: &Arc<Self>, now: Option<Arc<Zone>>, differences: Option<Vec<Difference>>) {
        let mut observers = lock(&self.observers);
        if self.journalled.load(Ordering::Relaxed) {
            self.record(now.as_deref(), differences);
        }
        let before = self.now.swap(now.clone());
        tell(
            &mut observers,
            &Change {
                zone: self,
                before: before.as_ref(),
                now: now.as_ref(),
            },
        );
    }

    /// Writes into the journal what is about to change. Queries still see the version before, so that whoever sees the next one finds
    /// its differences.
    fn record(&self, now: Option<&Zone>, differences: Option<Vec<Difference>>) {
        let before = self.now.load();
        let (Some(before), Some(now)) = (before.as_deref(), now) else {
            return lock(&self.journal).clear();
        };
        let differences = differences.or_else(|| {
            let difference = Difference::between(before, now, Journal::bound(now))?;
            // A file that was read anew and is the same is no version.
            let same = before.serial() == now.serial() && difference.is_empty();
            let newer = is_newer(now.serial(), before.serial());
            match (same, newer) {
                (true, _) => Some(Vec::new()),
                (false, true) => Some(vec![difference]),
                (false, false) => None,
            }
        });
        let mut journal = lock(&self.journal);
        match differences {
            None => journal.clear(),
            Some(differences) => {
                for difference in differences {
                    journal.push(Arc::new(difference), now);
                }
            }
        }
    }

    /// Tells `observer` of all changes to come, for as long as somebody else holds it.
    pub fn observe(&self, observer: Weak<dyn Observer>) {
        let mut observers = lock(&self.observers);
        observers.retain(|observer| observer.strong_count() > 0);
        observers.push(observer);
    }
}

/// Tells those who are still there.
fn tell(observers: &mut Vec<Weak<dyn Observer>>, change: &Change<'_>) {
    observers.retain(|observer| match observer.upgrade() {
        Some(observer) => {
            observer.changed(change);
            true
        }
        None => false,
    });
}

/// All zones of one directive in a server block.
pub struct ZoneSet {
    index: Index,
    /// Those who hear of every zone, also of one that comes later.
    observers: Mutex<Vec<Weak<dyn Observer>>>,
}

/// The zones by apex.
enum Index {
    /// Zones that the Corefile names.
    Fixed(ZoneMap<Arc<Served>>),
    /// Zones that come and go.
    Changing(ArcSwap<ZoneMap<Arc<Served>>>),
}

impl ZoneSet {
    /// Zones that stay. Of two with one apex, the first counts.
    pub fn fixed(zones: impl IntoIterator<Item = Arc<Served>>) -> Self {
        Self::of(Index::Fixed(map(zones)))
    }

    /// Zones that come and go, none so far.
    pub fn changing() -> Self {
        Self::of(Index::Changing(ArcSwap::from_pointee(map([]))))
    }

    fn of(index: Index) -> Self {
        Self {
            index,
            observers: Mutex::default(),
        }
    }

    /// The zones, where they are those that the Corefile names.
    #[inline(always)]
    pub(crate) fn fixed_zones(&self) -> Option<&ZoneMap<Arc<Served>>> {
        match &self.index {
            Index::Fixed(zones) => Some(zones),
            Index::Changing(_) => None,
        }
    }

    /// Reads the zones as they are now.
    #[inline(always)]
    pub(crate) fn read<R>(&self, read: impl FnOnce(&ZoneMap<Arc<Served>>) -> R) -> R {
        match &self.index {
            Index::Fixed(zones) => read(zones),
            Index::Changing(zones) => read(&zones.load()),
        }
    }

    /// The zone that encloses `qname` most closely.
    pub fn nearest(&self, qname: &Qname) -> Option<Arc<Served>> {
        self.read(|zones| zones.nearest(qname).cloned())
    }

    /// The zone with this apex.
    pub fn find(&self, apex: Name<'_>) -> Option<Arc<Served>> {
        let mut qname = Qname::root();
        qname.set(apex);
        let found = self.nearest(&qname)?;
        (found.apex() == qname.name()).then_some(found)
    }

    /// Every zone, in no order that means anything.
    pub fn all(&self) -> Vec<Arc<Served>> {
        self.read(|zones| zones.values().cloned().collect())
    }

    /// Makes `zones` the zones of a set that changes. Observers hear of those that came and of those that went.
    pub fn set(&self, zones: Vec<Arc<Served>>) {
        let Index::Changing(index) = &self.index else {
            return;
        };
        let mut observers = lock(&self.observers);
        let old = index.swap(Arc::new(map(zones.iter().cloned())));
        if observers.is_empty() {
            return;
        }
        let holds = |zones: &[Arc<Served>]| -> std::collections::HashSet<*const Served> {
            zones.iter().map(Arc::as_ptr).collect()
        };
        let old: Vec<Arc<Served>> = old.values().cloned().collect();
        let (were, are) = (holds(&old), holds(&zones));
        for zone in old.iter().filter(|zone| !are.contains(&Arc::as_ptr(zone))) {
            let before = zone.snapshot();
            tell(
                &mut observers,
                &Change {
                    zone,
                    before: before.as_ref(),
                    now: None,
                },
            );
        }
        for zone in zones
            .iter()
            .filter(|zone| !were.contains(&Arc::as_ptr(zone)))
        {
            for observer in observers.iter() {
                zone.observe(observer.clone());
            }
            let now = zone.snapshot();
            tell(
                &mut observers,
                &Change {
                    zone,
                    before: None,
                    now: now.as_ref(),
                },
            );
        }
    }

    /// Tells `observer` of all changes to come of all zones, of those that come later too, for as long as somebody else holds it.
    pub fn observe(&self, observer: &Weak<dyn Observer>) {
        let mut observers = lock(&self.observers);
        observers.push(observer.clone());
        self.read(|zones| {
            for zone in zones.values() {
                zone.observe(observer.clone());
            }
        });
    }
}

fn map(zones: impl IntoIterator<Item = Arc<Served>>) -> ZoneMap<Arc<Served>> {
    ZoneMap::new(zones.into_iter().map(|zone| (zone.apex, zone)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
