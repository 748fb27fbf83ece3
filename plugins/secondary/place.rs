//! A zone's place: where it comes from, what is served, and what is known of its primaries.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use chain::keeper::{Asked, Follows, ZoneReport};
use chain::served::Served;
use chain::tsig::Key;
use host::clock;
use tokio::sync::Notify;
use wire::{Name, NameBuf};
use zone::{Digested, Zone, is_newer};

use super::catalog::{self, Listed};
use super::client::{self, Newer, Primary};
use super::kept::Copy;
use super::sources::{Contact, Sources};

/// A zone and where it comes from.
pub(super) struct Place {
    pub(super) served: Arc<Served>,
    pub(super) sources: Sources,
    /// Whether it is a catalog of other zones.
    catalog: bool,
    /// Where it is kept, if it is.
    copy: Option<Arc<Copy>>,
    /// Told when a primary says that the zone has changed.
    pub(super) told: Notify,
    /// Whether the next look gets the whole zone, whatever its serial is.
    whole: AtomicBool,
    state: Mutex<State>,
}

/// What is known of a zone beside its contents. Times are those of [`clock`].
#[derive(Clone, Default)]
struct State {
    /// When a primary was seen that has the version that is served.
    seen: u64,
    /// How old that version was by then: what was read from disk was seen before this process began.
    age: Duration,
    /// The primary that answered last, and its serial.
    primary: Option<(String, u32)>,
    /// Why the last look failed, if it did, or that the primary has a lower serial.
    failure: Option<String>,
    /// Why what is served is not on disk, if so.
    unkept: Option<String>,
    /// The lower serial that was warned of, and ours.
    lower: Option<(u32, u32)>,
    /// When the next look is due.
    next: Option<u64>,
    /// The primary that is being asked, since when, and the records that have come.
    asked: Option<(String, u64, Arc<AtomicUsize>)>,
    /// What the catalog listed when it expired: its members stay as they are (RFC 9432, section 5.1).
    listed: Option<Vec<Listed>>,
    /// Whether what is served is from the sources that the Corefile named before: it stays until these give the zone.
    inherited: bool,
}

/// What is known of places beside their zones: the next configuration goes on with them. By zone and sources, and by zone and server block
/// ([`Sources::block`]), the newest last: one that is given up again leaves the one before.
type Living = HashMap<String, Vec<Weak<Place>>>;

fn living() -> MutexGuard<'static, Living> {
    static LIVING: OnceLock<Mutex<Living>> = OnceLock::new();
    let living = LIVING.get_or_init(Mutex::default);
    living.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Place {
    /// The place of the zone `apex`: that of the configuration before, if it has the same sources. Where the server block had it from
    /// other sources, what is served stays until these give the zone.
    pub(super) fn of(apex: Name<'_>, sources: &Sources, catalog: bool) -> Arc<Self> {
        let find = |name: Option<String>| {
            let living = living();
            let mut known = living.get(&name?)?.iter().rev();
            known.find_map(Weak::upgrade)
        };
        let [exact, block] = names(apex, sources, catalog);
        if let Some(place) = find(exact) {
            return place;
        }
        let place = match find(block) {
            Some(before) => {
                let serves = before.served.load().is_some();
                before.handed_on(sources, serves)
            }
            None => Self::new(Served::new(apex), sources, catalog, State::default()),
        };
        if place.served.load().is_none() {
            place.load();
        }
        place
    }

    fn new(served: Arc<Served>, sources: &Sources, catalog: bool, state: State) -> Arc<Self> {
        let apex = served.apex();
        let names = names(apex, sources, catalog);
        let keep = sources.keep.as_ref();
        let place = Arc::new(Self {
            copy: keep.map(|keep| Arc::new(Copy::new(keep.file(apex)))),
            served: served.clone(),
            sources: sources.clone(),
            catalog,
            told: Notify::new(),
            whole: AtomicBool::new(false),
            state: Mutex::new(state),
        });
        let mut living = living();
        living.retain(|_, places| {
            places.retain(|place| place.strong_count() > 0);
            !places.is_empty()
        });
        for name in names.into_iter().flatten() {
            let places = living.entry(name).or_default();
            places.push(Arc::downgrade(&place));
        }
        place
    }

    /// The place of the same zone, which comes from elsewhere from now on: what is served and what is known of it stays.
    fn handed_on(&self, sources: &Sources, inherited: bool) -> Arc<Self> {
        let state = State {
            asked: None,
            inherited,
            ..self.state().clone()
        };
        Self::new(self.served.clone(), sources, self.catalog, state)
    }

    /// The same for a member of a catalog: what is on disk goes with it.
    pub(super) fn moved(&self, sources: &Sources) -> Arc<Self> {
        let place = self.handed_on(sources, self.is_inherited());
        match (&self.copy, &place.copy) {
            (Some(old), Some(new)) => old.move_to(new),
            (Some(old), None) => old.remove(),
            // It is written when a primary has confirmed what is served.
            (None, _) => {}
        }
        place
    }

    /// Whether what is served is still that of other sources.
    pub(super) fn is_inherited(&self) -> bool {
        self.state().inherited
    }

    /// Whether a NOTIFY from this address, signed with this key, is a primary's: by the key where there is one, else by the address. It
    /// only has the zone checked.
    pub(super) fn is_primary(&self, client: IpAddr, key: Option<Name<'_>>) -> bool {
        let mut primaries = self.sources.primaries.iter();
        match (&self.sources.key, key) {
            (Some(ours), Some(key)) => ours.as_name() == key,
            _ => primaries.any(|primary| primary.address.ip().to_canonical() == client),
        }
    }

    /// Has the zone checked soon.
    pub(super) fn look(&self) {
        self.told.notify_one();
    }

    /// Has the whole zone transferred soon.
    pub(super) fn retransfer(&self) {
        self.whole.store(true, Ordering::Relaxed);
        self.look();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of it.
    pub(super) fn report(&self) -> ZoneReport {
        let zone = self.served.snapshot();
        let age = zone.as_ref().map(|_| self.age());
        let expire = zone.map(|zone| Duration::from_secs(zone.timers()[2].into()));
        let state = self.state().clone();
        let next = state.next.filter(|_| state.asked.is_none());
        let next = next.map(|next| next.saturating_sub(clock::now()));
        let primaries = self.sources.primaries.iter();
        ZoneReport {
            file: self.copy.as_ref().map(|copy| copy.path().to_path_buf()),
            failure: failure(&state),
            follows: Some(Follows {
                primaries: primaries.map(ToString::to_string).collect(),
                answered: state.primary,
                age,
                expires: expire
                    .zip(age)
                    .map(|(expire, age)| expire.saturating_sub(age)),
                next: next.map(Duration::from_nanos),
                asked: state.asked.map(asked),
            }),
            ..ZoneReport::new(self.served.clone(), "secondary")
        }
    }

    /// Notes when the next look is due.
    pub(super) fn rest(&self, pause: Duration) {
        let pause = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        self.state().next = Some(clock::now().saturating_add(pause));
    }

    /// For how long no primary has confirmed the version that is served.
    pub(super) fn age(&self) -> Duration {
        let state = self.state();
        state.age + Duration::from_nanos(clock::now().saturating_sub(state.seen))
    }

    /// Serves nothing: the version is too old.
    pub(super) fn expire(&self) {
        let apex = self.served.apex();
        tracing::error!(target: "plugin/secondary", "Zone {apex} is expired");
        let listed = self.listed();
        self.state().listed = listed;
        self.served.replace(None);
    }

    /// The members that the catalog lists, or listed when it expired; `None` where that is not known.
    pub(super) fn listed(&self) -> Option<Vec<Listed>> {
        match self.served.snapshot() {
            Some(zone) if self.catalog => catalog::read(&zone).ok(),
            Some(_) => None,
            None => self.state().listed.clone(),
        }
    }

    /// Forgets the zone: it is another one of this name now.
    pub(super) fn forget(&self) {
        self.served.replace(None);
        self.remove_copy();
    }

    /// Removes it from disk.
    pub(super) fn remove_copy(&self) {
        if let Some(copy) = &self.copy {
            copy.remove();
        }
    }

    /// Serves what is on disk, unless it is too old.
    fn load(&self) {
        let Some(copy) = &self.copy else { return };
        let (apex, path) = (self.served.apex(), copy.path().display());
        let found = copy.read(apex).and_then(|found| match found {
            Some((zone, age)) if self.catalog => {
                let listed = catalog::read(&zone)?;
                Ok(Some((zone, age, Some(listed))))
            }
            found => Ok(found.map(|(zone, age)| (zone, age, None))),
        });
        let (zone, age, listed) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(why) => {
                tracing::error!(target: "plugin/secondary", "Zone {apex} as kept in {path} cannot be used and is transferred again: {why}");
                return;
            }
        };
        let [_, _, expire] = zone.timers();
        let seconds = age.as_secs();
        if seconds >= expire.into() {
            tracing::error!(
                target: "plugin/secondary",
                "Zone {apex} as kept in {path} has expired: no primary has confirmed it for {seconds} s"
            );
            self.state().listed = listed;
            return;
        }
        tracing::info!(
            target: "plugin/secondary",
            "Serving zone {apex} as kept in {path}: {} SOA serial, confirmed {seconds} s ago",
            zone.serial()
        );
        {
            let mut state = self.state();
            (state.seen, state.age) = (clock::now(), age);
        }
        self.served.replace(Some(Arc::new(zone)));
    }

    /// Asks the primaries in order until one has the version that is served, or gives a newer one.
    pub(super) async fn check(
        &self,
        key: Result<Option<Arc<Key>>, &NameBuf>,
    ) -> Result<(), String> {
        let checked = match key {
            Ok(key) => self.ask(key.as_ref()).await,
            Err(name) => Err(format!("there is no key {name}")),
        };
        self.state().failure = match &checked {
            Ok(lower) => lower.clone(),
            Err(why) => Some(why.clone()),
        };
        checked.map(drop)
    }

    /// Gives what is to be told of a primary that is no newer.
    async fn ask(&self, key: Option<&Arc<Key>>) -> Result<Option<String>, String> {
        let whole = self.whole.swap(false, Ordering::Relaxed) || self.is_inherited();
        let apex = self.served.apex();
        let mut failures = Vec::new();
        for contact in &self.sources.primaries {
            let records = Arc::new(AtomicUsize::new(0));
            self.state().asked = Some((contact.to_string(), clock::now(), records.clone()));
            let primary = Primary {
                contact,
                key,
                digest: self.sources.digest,
                max_records: self.sources.max_records,
                records: &records,
            };
            let ours = self.served.snapshot();
            let found = client::refresh(&primary, apex, ours.as_ref(), whole).await;
            self.state().asked = None;
            let found = found.and_then(|answer| {
                if let Some(newer) = answer.newer.as_ref().filter(|_| self.catalog) {
                    catalog::read(&newer.zone)?;
                }
                Ok(answer)
            });
            match found {
                Ok(answer) => {
                    {
                        let mut state = self.state();
                        (state.seen, state.age) = (clock::now(), Duration::ZERO);
                        state.inherited = false;
                        state.primary = Some((contact.to_string(), answer.serial));
                    }
                    let ours = ours.filter(|_| answer.newer.is_none());
                    let lower = self.lower(contact, answer.serial, ours.map(|ours| ours.serial()));
                    match answer.newer {
                        Some(newer) => self.take(newer, contact).await,
                        None => self.confirm(),
                    }
                    return Ok(lower);
                }
                Err(why) => {
                    if failures.len() + 1 < self.sources.primaries.len() {
                        tracing::warn!(
                            target: "plugin/secondary",
                            "Failed to transfer zone {apex} from {contact}: {why}: asking the next primary"
                        );
                    }
                    failures.push(format!("{contact}: {why}"));
                    // Whoever asks meanwhile is told.
                    self.state().failure = Some(failures.join("; "));
                }
            }
        }
        Err(failures.join("; "))
    }

    /// What is said of a primary whose serial is lower than ours; the log tells of each such serial once.
    fn lower(&self, from: &Contact, serial: u32, ours: Option<u32>) -> Option<String> {
        let ours = ours.filter(|&ours| serial != ours && !is_newer(serial, ours));
        let lower = ours.map(|ours| (serial, ours));
        let before = std::mem::replace(&mut self.state().lower, lower);
        let ours = ours?;
        let apex = self.served.apex();
        let why =
            format!("{from}: its SOA serial, {serial}, is lower than {ours}, which is served");
        if before != lower {
            tracing::warn!(
                target: "plugin/secondary",
                "Zone {apex} is not transferred from {why}: raise it there, or run `nameplate zone retransfer {apex}`"
            );
        }
        Some(why)
    }

    /// Serves what a primary has given, and keeps it.
    async fn take(&self, newer: Newer, from: &Contact) {
        let Newer {
            zone,
            differences,
            digested,
        } = newer;
        let apex = NameBuf::from_name(self.served.apex());
        match digested {
            Digested::Not => {}
            Digested::Unknown => tracing::warn!(
                target: "plugin/secondary",
                "Zone {apex} from {from}: no ZONEMD record has a known scheme and hash algorithm"
            ),
            Digested::Verified(algorithm) => tracing::info!(
                target: "plugin/secondary",
                "Zone {apex} from {from} matches its ZONEMD record ({algorithm})"
            ),
        }
        let (serial, records) = (zone.serial(), zone.statistics().records);
        let how = match &differences {
            None => String::new(),
            Some(steps) if steps.len() == 1 => ", by IXFR in 1 step".to_owned(),
            Some(steps) => format!(", by IXFR in {} steps", steps.len()),
        };
        let (served, copy, from) = (self.served.clone(), self.copy.clone(), from.to_string());
        // What has changed is looked for, if it is not known, and written: that takes a while.
        let taken = tokio::task::spawn_blocking(move || {
            let zone = Arc::new(zone);
            match differences {
                Some(differences) => served.advance(zone.clone(), differences),
                None => served.replace(Some(zone.clone())),
            }
            tracing::info!(
                target: "plugin/secondary",
                "Transferred: {apex} from {from}, {records} records, {serial} SOA serial{how}"
            );
            copy.map(|copy| keep(&copy, &zone))
        });
        let kept = taken.await;
        self.state().unkept = kept.ok().flatten().and_then(Result::err);
    }

    /// Notes on disk that a primary has the version that is served.
    fn confirm(&self) {
        let Some(copy) = &self.copy else { return };
        // A version that could not be written is not the one that is there.
        let unkept = self.state().unkept.is_some() || copy.confirm().is_err();
        if unkept && let Some(zone) = self.served.snapshot() {
            let kept = keep(copy, &zone);
            self.state().unkept = kept.err();
        }
    }
}

/// Writes a version to disk.
fn keep(copy: &Copy, zone: &Zone) -> Result<(), String> {
    copy.write(zone).map_err(|error| {
        let path = copy.path().display();
        let why = format!("it is served, and cannot be kept in {path}: {error}");
        tracing::error!(target: "plugin/secondary", "Zone {}: {why}", zone.apex());
        why
    })
}

/// What tells a place from others: where its zone comes from, and, where it has one to itself, the server block.
fn names(apex: Name<'_>, sources: &Sources, catalog: bool) -> [Option<String>; 2] {
    let exact = format!("{apex} {} {catalog}", sources.identity());
    let block = sources.block.as_ref();
    let block = block.map(|block| format!("{apex} in {block} {catalog}"));
    [Some(exact), block]
}

/// A primary that is being asked, as it is told.
fn asked((primary, since, records): (String, u64, Arc<AtomicUsize>)) -> Asked {
    Asked {
        primary,
        since: Duration::from_nanos(clock::now().saturating_sub(since)),
        records: records.load(Ordering::Relaxed),
    }
}

/// All that is wrong.
fn failure(state: &State) -> Option<String> {
    let wrong: Vec<&str> = [&state.failure, &state.unkept]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}
