//! One zone that is signed: why it is due, and signing it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chain::admin::Work;
use chain::keeper::ZoneReport;
use chain::master::Kept;
use chain::served::{Change, Observer, Served};
use tokio::sync::{Notify, oneshot};
use tracing::{info, warn};
use wire::{Name, NameBuf, Type};
use zone::signing::{Denials, KeySet, Plan, Validity};
use zone::{FileSystem, Loader, Zone, present_time};

use super::output;

/// How often it is looked whether signatures are due.
const REFRESH: Duration = Duration::from_secs(5 * 3_600);
/// A zone is signed anew when its signatures are older than this, in seconds, ...
const RESIGN: i64 = 6 * 86_400;
/// ... and when they last less long than this.
const EXPIRE: i64 = 7 * 86_400;
/// How long before now signatures begin, and how much longer by chance at most.
const INCEPTION: [u32; 2] = [3 * 3_600, 18 * 3_600];
/// How long signatures last, and how much longer by chance at most.
const EXPIRATION: [u32; 2] = [32 * 86_400, 5 * 86_400];
/// No time before it is right, in seconds since 1970: a machine without a clock starts in 1970, or with the time of its last stop.
const EARLIEST: u64 = 1_767_225_600;

/// Where the signed zone goes.
pub(super) enum Output {
    /// Into a file.
    File(PathBuf),
    /// Into memory.
    Memory(Arc<InMemory>),
}

/// A zone that is signed in memory.
pub(super) struct InMemory {
    /// What is served.
    pub(super) served: Arc<Served>,
    /// What it was made of.
    pub(super) of: Mutex<Weak<Zone>>,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{path:?}"),
            Self::Memory(_) => f.write_str("memory"),
        }
    }
}

/// One zone that is signed.
pub(super) struct Signer {
    /// The zone as its file has it.
    unsigned: Arc<Served>,
    kept: Arc<Kept>,
    file: PathBuf,
    keys: KeySet,
    denials: Denials,
    output: Output,
    /// By how much signatures begin earlier and end later than others'.
    jitter: [u32; 2],
    /// Woken when the file has changed.
    changed: Notify,
    /// The serial of the last zone that was signed, and why the last signing failed.
    last: Mutex<(u32, Option<String>)>,
}

impl Observer for Signer {
    fn changed(&self, _: &Change<'_>) {
        self.changed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time, in seconds since 1970.
fn now() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.map_or(0, |passed| passed.as_secs())
}

impl Signer {
    /// A signer of the zone that `unsigned` is, which is read from `file`.
    pub(super) fn new(
        (unsigned, kept, file): (Arc<Served>, Arc<Kept>, PathBuf),
        keys: KeySet,
        denials: Denials,
        output: Output,
    ) -> Arc<Self> {
        let [earlier, later] = [INCEPTION, EXPIRATION];
        let chance = |most: u32| (f64::from(most) * host::random::random::<f64>()) as u32;
        let signer = Arc::new(Self {
            jitter: [chance(earlier[1]), chance(later[1])],
            unsigned: unsigned.clone(),
            kept,
            file,
            keys,
            denials,
            output,
            changed: Notify::new(),
            last: Mutex::default(),
        });
        let observer: Arc<dyn Observer> = signer.clone();
        unsigned.observe(Arc::downgrade(&observer));
        signer
    }

    /// The signed zone, where it is in memory.
    pub(super) fn served(&self) -> Option<Arc<Served>> {
        match &self.output {
            Output::Memory(memory) => Some(memory.served.clone()),
            Output::File(_) => None,
        }
    }

    /// What is known of the zone, where it is in memory.
    pub(super) fn report(&self) -> Option<ZoneReport> {
        Some(ZoneReport {
            file: Some(self.file.clone()),
            failure: lock(&self.last).1.clone(),
            ..ZoneReport::new(self.served()?, "sign")
        })
    }

    /// Reads the file again, after which the zone is signed anew; `None` where it is another zone.
    pub(super) fn reload(&self, apex: Name<'_>) -> Option<Result<String, String>> {
        let read = self.kept.reload(apex)?;
        let path = self.file.display();
        Some(read.map(|_| format!("zone {apex} was read from {path}: it is signed anew")))
    }

    /// Why the zone is not served, if it is not.
    pub(super) fn trouble(&self) -> Option<String> {
        let served = self.served()?;
        let missing = served.load().is_none();
        let why = || {
            lock(&self.last)
                .1
                .clone()
                .unwrap_or_else(|| "it is not signed yet".to_owned())
        };
        missing.then(|| format!("zone {}: {}", served.apex(), why()))
    }

    /// What is signed now; from a file, as it stands there.
    fn signed(&self) -> Result<Arc<Zone>, String> {
        match &self.output {
            Output::Memory(memory) => memory
                .served
                .snapshot()
                .ok_or_else(|| "it is not signed yet".to_owned()),
            Output::File(path) => {
                if let Err(error) = host::regular::open(path) {
                    return Err(format!("open {}: {error}", path.display()));
                }
                let loaded = Loader::new(self.unsigned.apex()).load(&FileSystem, path);
                loaded
                    .map(|loaded| Arc::new(loaded.zone))
                    .map_err(|complaints| {
                        complaints
                            .first()
                            .map(ToString::to_string)
                            .unwrap_or_default()
                    })
            }
        }
    }

    /// Why the zone is to be signed anew; `None` where what is signed will do.
    fn due(&self) -> Option<String> {
        let zone = match self.signed() {
            Ok(zone) => zone,
            Err(why) => return Some(why),
        };
        lock(&self.last).0 = zone.serial();
        let edited = match &self.output {
            Output::File(path) => is_newer(&self.file, path),
            Output::Memory(memory) => {
                let unsigned = self.unsigned.snapshot();
                lock(&memory.of).upgrade().map(|zone| Arc::as_ptr(&zone))
                    != unsigned.map(|zone| Arc::as_ptr(&zone))
            }
        };
        if edited {
            return Some(format!("{} has changed", self.file.display()));
        }
        let mut missing = self.keys.keys().iter().filter(|key| {
            let mut records = zone.records();
            !records.any(|record| record.rtype() == Type::DNSKEY && record.rdata() == key.dnskey())
        });
        if let Some(key) = missing.next() {
            return Some(format!("it has no DNSKEY record of key {}", key.tag()));
        }
        why_of(&zone, now())
    }

    /// Works on a thread of its own, which lets others go first; so do the threads that it makes.
    pub(super) fn beside(self: &Arc<Self>, work: impl FnOnce(&Self) + Send + 'static) {
        let signer = self.clone();
        let thread = std::thread::Builder::new().name("sign".to_owned());
        let started = thread.spawn(move || {
            host::threads::give_way();
            work(&signer);
        });
        if let Err(error) = started {
            warn!(target: "plugin/sign", "Error signing \"{}\": {error}", self.unsigned.apex());
        }
    }

    /// Signs the zone if it is due.
    pub(super) fn look(&self) {
        match self.due() {
            Some(why) => self.sign(&why),
            None => info!(
                target: "plugin/sign",
                "Skipping signing zone \"{}\" in {}: signatures are valid",
                self.unsigned.apex(), self.output
            ),
        }
    }

    /// Signs the zone, and says so in the log.
    pub(super) fn sign(&self, why: &str) {
        let apex = self.unsigned.apex();
        info!(target: "plugin/sign", "Signing \"{apex}\" because {why}");
        let (began, time) = (Instant::now(), now());
        let done = self.make(time);
        let elapsed = began.elapsed().as_secs_f64();
        let tags: Vec<_> = self
            .keys
            .keys()
            .iter()
            .map(|key| key.tag().to_string())
            .collect();
        let (tags, next) = (tags.join(","), present_time(time + REFRESH.as_secs()));
        match &done {
            Ok(serial) => info!(
                target: "plugin/sign",
                "Successfully signed zone \"{apex}\" in {} with key tags \"{tags}\" and {serial} SOA serial, elapsed {elapsed:.6}, next: {next}",
                self.output
            ),
            Err(why) => warn!(
                target: "plugin/sign",
                "Error signing \"{apex}\" with key tags \"{tags}\" in {}: {why}, next: {next}",
                self.output
            ),
        }
        lock(&self.last).1 = done.err();
    }

    /// Makes a signed zone and puts it in its place; gives its serial. One zone is signed at a time: that takes all processors.
    fn make(&self, time: u64) -> Result<u32, String> {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = lock(&ONE);
        if time < EARLIEST {
            return Err("the clock of the machine is not set".to_owned());
        }
        let unsigned = self.unsigned.snapshot();
        let unsigned = unsigned.ok_or_else(|| format!("{} cannot be read", self.file.display()))?;
        let time = time as u32;
        // Two zones of one second are still two versions.
        let before = lock(&self.last).0;
        let serial = if time.wrapping_sub(before) as i32 > 0 {
            time
        } else {
            before.wrapping_add(1)
        };
        let plan = Plan {
            validity: Validity {
                inception: time - INCEPTION[0] - self.jitter[0],
                expiration: time + EXPIRATION[0] + self.jitter[1],
            },
            serial,
            denials: self.denials,
        };
        let zone = self.keys.sign_zone(&unsigned, &plan)?;
        match &self.output {
            Output::Memory(memory) => {
                memory.served.replace(Some(Arc::new(zone)));
                *lock(&memory.of) = Arc::downgrade(&unsigned);
            }
            Output::File(path) => output::write(&zone, path).map_err(|error| {
                format!(
                    "failed to move zone file into place: {}: {error}",
                    path.display()
                )
            })?,
        }
        lock(&self.last).0 = serial;
        Ok(serial)
    }
}

/// Keeps a zone signed: after edits, and before signatures end.
pub(super) fn keep(signer: Arc<Signer>, first: bool) -> Work {
    Box::pin(async move {
        let mut looks = first;
        loop {
            let mut why = None;
            if !looks {
                tokio::select! {
                    () = signer.changed.notified() => why = Some("its file has changed"),
                    () = tokio::time::sleep(REFRESH) => {}
                }
            }
            looks = false;
            let (done, end) = oneshot::channel();
            signer.beside(move |signer| {
                match why {
                    Some(why) => signer.sign(why),
                    None => signer.look(),
                }
                let _ = done.send(());
            });
            // Without an end there was a panic, which the log has; the next look comes.
            let _ = end.await;
        }
    })
}

/// Whether the first file was written after the second.
fn is_newer(file: &Path, other: &Path) -> bool {
    let written = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|data| data.modified())
            .ok()
    };
    written(file) > written(other)
}

/// Why a signed zone is to be signed anew, by the signature of its SOA record.
fn why_of(zone: &Zone, now: u64) -> Option<String> {
    let mut records = zone.records().filter(|record| output::is_soa(zone, record));
    let Some(rrsig) = records.find(|record| record.rtype() == Type::RRSIG) else {
        return Some("no SOA RRSIG found".to_owned());
    };
    let rdata = rrsig.rdata();
    let at = |place| wire::read_u32(&rdata, place).unwrap_or_default();
    let (expiration, inception) = (at(8), at(12));
    // Serial arithmetic (RFC 4034, section 3.1.5).
    let age = i64::from((now as u32).wrapping_sub(inception) as i32);
    let left = i64::from(expiration.wrapping_sub(now as u32) as i32);
    let time = present_time(now);
    if age > RESIGN {
        let (inception, hours) = (present_time(inception.into()), RESIGN / 3_600);
        return Some(format!(
            "inception \"{inception}\" was more than: {hours}h0m0s ago from {time}: {age}s"
        ));
    }
    if age < 0 {
        let inception = present_time(inception.into());
        return Some(format!(
            "inception \"{inception}\" date before now {time}: {age}s"
        ));
    }
    if left < EXPIRE {
        let (expiration, hours) = (present_time(expiration.into()), EXPIRE / 3_600);
        return Some(format!(
            "expiration \"{expiration}\" is less than: {hours}h0m0s away from {time}: {left}s"
        ));
    }
    None
}

/// The name of the file of a signed zone: the zone ends in a dot.
pub(super) fn file_name(zone: &NameBuf) -> String {
    format!("db.{zone}signed")
}
