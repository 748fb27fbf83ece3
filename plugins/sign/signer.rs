//! One zone that is signed: why it is due, and signing it.

use std::fmt;
use std::io::ErrorKind;
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
use zone::signing::{Denials, Key, KeySet, Plan, Validity};
use zone::{FileSystem, Loader, Role, Zone, ZoneKey, present_time};

use super::keys::Keys;
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
/// By how many seconds serials run ahead of the clock before a warning.
const AHEAD: u32 = 1;
/// No time before it is right, in seconds since 1970: a machine without a clock starts in 1970, or with the time of its last stop.
const EARLIEST: u64 = 1_767_225_600;

/// Where the signed zone goes.
pub(super) enum Output {
    /// Into a file.
    File(PathBuf),
    /// Into memory.
    Memory {
        zone: Arc<InMemory>,
        /// The file of the last serial.
        serial: Option<PathBuf>,
    },
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
            Self::Memory { .. } => f.write_str("memory"),
        }
    }
}

/// One zone that is signed.
pub(super) struct Signer {
    /// The zone as its file has it.
    unsigned: Arc<Served>,
    kept: Arc<Kept>,
    file: PathBuf,
    keys: Mutex<KeySet>,
    /// Where they are.
    source: Keys,
    denials: Denials,
    output: Output,
    /// By how much signatures begin earlier and end later than others'.
    jitter: [u32; 2],
    /// Woken when the file has changed.
    changed: Notify,
    /// The serial of the last zone that was signed, and why the last signing failed.
    last: Mutex<(Option<u32>, Option<String>)>,
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
        (source, keys): (Keys, Vec<Arc<Key>>),
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
            keys: Mutex::new(KeySet::new(keys)),
            source,
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
            Output::Memory { zone: memory, .. } => Some(memory.served.clone()),
            Output::File(_) => None,
        }
    }

    /// What is known of the zone, where it is in memory.
    pub(super) fn report(&self) -> Option<ZoneReport> {
        Some(ZoneReport {
            file: Some(self.file.clone()),
            failure: self.failure(),
            ..ZoneReport::new(self.served()?, "sign")
        })
    }

    /// Why what the file has now is not signed and served, if so.
    fn failure(&self) -> Option<String> {
        let signing = lock(&self.last).1.clone();
        self.kept.refused().or(signing)
    }

    /// Reads the keys and the file again, after which the zone is signed anew; `None` where it is another zone.
    pub(super) fn reload(&self, apex: Name<'_>) -> Option<Result<String, String>> {
        if self.unsigned.apex() != apex {
            return None;
        }
        let keys = self.source.read();
        match keys.map_err(|wrong| wrong.message) {
            Ok(keys) if keys.is_empty() => return Some(Err(format!("zone {apex} has no key"))),
            Ok(keys) => *lock(&self.keys) = KeySet::new(keys),
            Err(why) => return Some(Err(why)),
        }
        let read = self.kept.reload(apex)?;
        // The file may be as it was, and the keys others.
        self.changed.notify_one();
        let path = self.file.display();
        Some(
            read.map(|_| {
                format!("zone {apex} was read from {path}, and its keys: it is signed anew")
            }),
        )
    }

    /// Why the zone is not served, if it is not.
    pub(super) fn trouble(&self) -> Option<String> {
        let served = self.served()?;
        let missing = served.load().is_none();
        let why = || {
            let failure = self.failure();
            failure.unwrap_or_else(|| "it is not signed yet".to_owned())
        };
        missing.then(|| format!("zone {}: {}", served.apex(), why()))
    }

    /// What is signed now; from a file, as it stands there.
    fn signed(&self) -> Result<Arc<Zone>, String> {
        match &self.output {
            Output::Memory { zone: memory, .. } => memory
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
        lock(&self.last).0 = Some(zone.serial());
        let edited = match &self.output {
            Output::File(path) => is_newer(&self.file, path),
            Output::Memory { zone: memory, .. } => {
                let unsigned = self.unsigned.snapshot();
                lock(&memory.of).upgrade().map(|zone| Arc::as_ptr(&zone))
                    != unsigned.map(|zone| Arc::as_ptr(&zone))
            }
        };
        if edited {
            return Some(format!("{} has changed", self.file.display()));
        }
        let keys = lock(&self.keys).clone();
        let mut missing = keys.keys().iter().filter(|key| {
            let mut records = zone.records();
            !records.any(|record| record.rtype() == Type::DNSKEY && record.rdata() == key.dnskey())
        });
        if let Some(key) = missing.next() {
            return Some(format!("it has no DNSKEY record of key {}", key.tag()));
        }
        let signs = |key: &ZoneKey| key.role != Role::Published;
        let known = |key: &ZoneKey| keys.roles().any(|own| own == *key);
        if let Some(key) = zone.keys().iter().find(|key| signs(key) && !known(key)) {
            return Some(format!(
                "key {} does not sign it any more as {}",
                key.tag, key.role
            ));
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
        let keys = lock(&self.keys).clone();
        let done = self.make(&keys, time);
        let elapsed = began.elapsed().as_secs_f64();
        let tags: Vec<_> = keys
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
    fn make(&self, keys: &KeySet, time: u64) -> Result<u32, String> {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = lock(&ONE);
        if time < EARLIEST {
            return Err("the clock of the machine is not set".to_owned());
        }
        let unsigned = self.unsigned.snapshot();
        let unsigned = unsigned.ok_or_else(|| format!("{} cannot be read", self.file.display()))?;
        let time = time as u32;
        let serial = self.next_serial(time);
        let plan = Plan {
            validity: Validity {
                inception: time - INCEPTION[0] - self.jitter[0],
                expiration: time + EXPIRATION[0] + self.jitter[1],
            },
            serial,
            denials: self.denials,
        };
        let zone = keys.sign_zone(&unsigned, &plan)?;
        match &self.output {
            Output::Memory { zone: memory, .. } => {
                self.keep_serial(serial, time);
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
        lock(&self.last).0 = Some(serial);
        Ok(serial)
    }

    /// The time, or where that is not after the last serial, one more: two zones of one second are two versions, and clocks are set back.
    fn next_serial(&self, time: u32) -> u32 {
        let made = lock(&self.last).0;
        let last = match (made, self.kept_serial()) {
            (Some(made), Some(kept)) if is_after(kept, made) => Some(kept),
            (Some(made), _) => Some(made),
            (None, kept) => kept,
        };
        match last {
            Some(last) if !is_after(time, last) => last.wrapping_add(1),
            _ => time,
        }
    }

    /// The last serial that the process, or one before it, has kept.
    fn kept_serial(&self) -> Option<u32> {
        let path = self.serial_file()?;
        let read = match host::regular::read_text(path) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|_| "it is no serial".to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => Err(error.to_string()),
        };
        let told = |why: &String| warn!(target: "plugin/sign", "{}: {why}: the serial of \"{}\" may go backwards", path.display(), self.unsigned.apex());
        read.inspect_err(told).ok()
    }

    fn serial_file(&self) -> Option<&Path> {
        match &self.output {
            Output::Memory { serial, .. } => serial.as_deref(),
            Output::File(_) => None,
        }
    }

    /// Keeps the serial of a zone in memory before anybody sees it; without a place for it, a restart may go back.
    fn keep_serial(&self, serial: u32, time: u32) {
        let apex = self.unsigned.apex();
        match self.serial_file() {
            Some(path) => {
                if let Err(error) = host::replace(path, |out| writeln!(out, "{serial}")) {
                    warn!(
                        target: "plugin/sign",
                        "The serial of \"{apex}\" is not kept in {}: {error}: after a restart it may go backwards",
                        path.display()
                    );
                }
            }
            None if is_after(serial, time.wrapping_add(AHEAD)) => warn!(
                target: "plugin/sign",
                "The serial of \"{apex}\", {serial}, is ahead of the clock by {} s: a restart before then goes backwards, and secondaries keep the old version; \
                 `directory DIR` keeps the serial over restarts",
                serial.wrapping_sub(time)
            ),
            None => {}
        }
    }
}

/// Whether a serial comes after another (RFC 1982).
fn is_after(serial: u32, other: u32) -> bool {
    serial.wrapping_sub(other) as i32 > 0
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
