//! A zone that is updated: what is served of it, and where it is kept.

use std::collections::HashMap;
use std::path::Path;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use chain::served::Served;
use wire::{Name, Rcode, Type};
use zone::{DigestPolicy, FileSystem, Loader, Zone};

use super::database::{Database, built, refuse_signed};
use super::update::{Bounds, Refusal, SIGNING, work_out};

/// A zone. The next configuration goes on with the same.
pub(super) struct Store {
    pub(super) served: Arc<Served>,
    /// Held for as long as an update is made: one goes after the other.
    database: Mutex<Option<Database>>,
    /// Why the last change could not be written to disk, if so.
    failure: Mutex<Option<String>>,
}

/// What an update has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Done {
    pub(super) removed: usize,
    pub(super) added: usize,
    pub(super) serial: u32,
}

impl Store {
    /// The zone of a database, or of the file that begins it.
    ///
    /// # Errors
    /// When neither has one, or it cannot be used.
    pub(super) fn open(
        apex: Name<'_>,
        seed: Option<&Path>,
        database: Option<&Path>,
    ) -> Result<Arc<Self>, String> {
        static LIVING: OnceLock<Mutex<HashMap<String, Weak<Store>>>> = OnceLock::new();
        let key = match database {
            Some(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
                format!("{apex} {}", path.display())
            }
            None => format!("{apex} from {seed:?}"),
        };
        let mut living = lock(LIVING.get_or_init(Mutex::default));
        if let Some(store) = living.get(&key).and_then(Weak::upgrade) {
            return Ok(store);
        }
        let store = Arc::new(Self::read(apex, seed, database)?);
        living.retain(|_, store| store.strong_count() > 0);
        living.insert(key, Arc::downgrade(&store));
        Ok(store)
    }

    pub(super) fn read(
        apex: Name<'_>,
        seed: Option<&Path>,
        path: Option<&Path>,
    ) -> Result<Self, String> {
        let opened = path.map(|path| Database::open(path, apex)).transpose()?;
        let (mut database, kept) =
            opened.map_or((None, None), |(database, kept)| (Some(database), kept));
        let shown = path.map_or_else(String::new, |path| path.display().to_string());
        let zone = match kept {
            Some(zone) => refuse_signed(&zone, &SIGNING).map(|()| zone),
            None => begin(apex, seed, (database.as_mut(), &shown)),
        };
        let zone = match (zone, database.as_ref().map_or(0, Database::cut)) {
            (Ok(zone), 0) => zone,
            (Ok(zone), cut) => {
                tracing::warn!(
                    target: "plugin/dynupdate",
                    "{shown}: dropped the last {cut} octets, an update that was not written whole; zone {apex} is served with {} SOA serial",
                    zone.serial()
                );
                zone
            }
            (Err(why), _) => {
                database.into_iter().for_each(Database::discard);
                return Err(why);
            }
        };
        let served = Served::new(apex);
        served.replace(Some(Arc::new(zone)));
        Ok(Self {
            served,
            database: Mutex::new(database),
            failure: Mutex::default(),
        })
    }

    /// Why the last change could not be written to disk, if so.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// Makes an update; `None` where it changes nothing. It is on disk when this returns.
    ///
    /// # Errors
    /// Why it is not made; nothing has changed then.
    pub(super) fn update(
        &self,
        message: &[u8],
        bounds: Bounds,
        may: &dyn Fn(Name<'_>, Type) -> bool,
    ) -> Result<Option<Done>, Refusal> {
        let mut database = lock(&self.database);
        let fails = |why: String| Refusal::new(Rcode::SERVFAIL, why);
        let zone = self.served.snapshot();
        let zone = zone.ok_or_else(|| fails("the zone is not loaded".to_owned()))?;
        let Some(difference) = work_out(message, &zone, bounds, may)? else {
            return Ok(None);
        };
        let next = zone.patched(slice::from_ref(&difference)).and_then(built);
        // What contradicts the rest of the zone is the client's mistake.
        let next = next.map_err(|why| Refusal::new(Rcode::REFUSED, why))?;
        let (before, after) = (zone.statistics(), next.statistics());
        let grown = after.records > before.records || after.octets > before.octets;
        if grown && (after.records > bounds.records || after.octets > bounds.octets) {
            let why = format!(
                "the zone would have {} records and {} octets",
                after.records, after.octets
            );
            return Err(Refusal::new(Rcode::REFUSED, why));
        }
        if let Some(database) = database.as_mut() {
            let written = database.commit(&difference, &next);
            let written = written.map_err(|error| format!("write the database: {error}"));
            *lock(&self.failure) = written.as_ref().err().cloned();
            written.map_err(fails)?;
        }
        let done = Done {
            // The SOA record's change is no news.
            removed: difference.removed.len().saturating_sub(1),
            added: difference.added.len().saturating_sub(1),
            serial: next.serial(),
        };
        let next = Arc::new(next);
        self.served.advance(next.clone(), vec![difference]);
        if let Some(database) = database.as_mut().filter(|database| database.is_long())
            && let Err(error) = database.write(&next)
        {
            tracing::warn!(
                target: "plugin/dynupdate",
                "The database of {} could not be written anew: {error}", self.served.apex()
            );
        }
        Ok(Some(done))
    }
}

/// The zone of the file that begins it, which an empty database takes.
fn begin(
    apex: Name<'_>,
    seed: Option<&Path>,
    (database, shown): (Option<&mut Database>, &str),
) -> Result<Zone, String> {
    let Some(seed) = seed else {
        return Err(format!(
            "{shown}: the database is new, and no `file` begins it"
        ));
    };
    let zone = load(apex, seed)?;
    refuse_signed(&zone, &SIGNING)?;
    if let Some(database) = database {
        if database.was_there() {
            tracing::warn!(
                target: "plugin/dynupdate",
                "{shown}: the database is empty; zone {apex} begins with {} again", seed.display()
            );
        }
        database
            .write(&zone)
            .map_err(|error| format!("write the database: {error}"))?;
    }
    Ok(zone)
}

/// The zone of a file.
fn load(apex: Name<'_>, path: &Path) -> Result<Zone, String> {
    let loader = Loader::new(apex).digest(DigestPolicy::Off);
    match loader.load(&FileSystem, path) {
        Ok(loaded) => Ok(loaded.zone),
        Err(complaints) => {
            let all = complaints.iter().map(ToString::to_string);
            Err(all.collect::<Vec<_>>().join("\n"))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
