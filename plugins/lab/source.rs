//! Which labs there are, and when to look again.
//!
//! A directory holds a directory for each lab, in which `names.json` is replaced by a rename. Both are watched; a file is read again when
//! its stamp differs. While the state directory is held by a shared lock, `apply` knows that a server answers for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chain::admin::Work;
use chain::listen::Addresses;
use chain::metrics;
use chain::watch::{Stamp, Watch, stamp};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::published::Published;
use super::state::{Lab, State};

/// Where `nameplate-lab` keeps its state.
pub(super) const DIRECTORY: &str = "/run/nameplate/lab";
/// The most that is read of one lab, in octets.
const FILE: u64 = 64 << 20;
/// The file in a lab's directory.
const NAMES: &str = "names.json";

/// The labs of one directive.
pub(super) struct Source {
    /// The directory of all labs.
    pub(super) directory: PathBuf,
    /// The labs that are wanted; empty for all.
    pub(super) wanted: Vec<String>,
    /// The TTL of all records, where it is not the labs' own.
    pub(super) ttl: Option<u32>,
    /// Whether addresses are answered with names.
    pub(super) reverse: bool,
    /// Where the labs go.
    pub(super) state: Arc<ArcSwap<State>>,
    /// Where the addresses to listen on go.
    pub(super) listen: Option<Addresses>,
    /// What was read, by name.
    pub(super) known: BTreeMap<String, Known>,
    /// The state directory, locked.
    pub(super) held: Option<(File, u64)>,
}

/// A lab that was read.
pub(super) struct Known {
    stamp: Stamp,
    /// Nothing as long as its file was never good.
    lab: Option<Arc<Lab>>,
}

impl Source {
    /// Reads what has changed; says whether anything did.
    pub(super) fn refresh(&mut self) -> bool {
        self.hold();
        let mut changed = false;
        let names = self.names();
        self.known.retain(|name, _| {
            let stays = names.contains(name);
            if !stays {
                tracing::info!(target: "plugin/lab", "lab {name} is gone");
                gauge().remove(&vec![("lab".to_owned(), name.clone())]);
                changed = true;
            }
            stays
        });
        for name in names {
            let path = self.directory.join(&name).join(NAMES);
            // What is removed meanwhile is seen as gone at the next look.
            let Ok(stamp) = stamp(&path) else { continue };
            if self
                .known
                .get(&name)
                .is_some_and(|known| known.stamp == stamp)
            {
                continue;
            }
            let before = self.known.remove(&name).and_then(|known| known.lab);
            let lab = match self.read(&name, &path) {
                Ok(lab) => {
                    changed = true;
                    Some(Arc::new(lab))
                }
                Err(why) => {
                    failures().inc();
                    let kept = if before.is_some() {
                        "the names from before stay"
                    } else {
                        "the lab is not served"
                    };
                    tracing::error!(target: "plugin/lab", "{}:{why}; {kept}", path.display());
                    before
                }
            };
            self.known.insert(name, Known { stamp, lab });
        }
        if changed {
            let labs: Vec<Arc<Lab>> = self.known.values().filter_map(|k| k.lab.clone()).collect();
            let mut addresses: Vec<_> = labs.iter().flat_map(|lab| lab.listen.clone()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            self.state.store(Arc::new(State::new(labs)));
            if let Some(listen) = &self.listen {
                listen.set(addresses);
            }
        }
        changed
    }

    /// The labs that are there and wanted.
    fn names(&self) -> Vec<String> {
        let there = |name: &String| self.directory.join(name).join(NAMES).is_file();
        if !self.wanted.is_empty() {
            return self
                .wanted
                .iter()
                .filter(|name| there(name))
                .cloned()
                .collect();
        }
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten();
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.') && there(name))
            .collect()
    }

    /// Reads one lab.
    fn read(&self, name: &str, path: &Path) -> Result<Lab, String> {
        let text = read(path).map_err(|error| format!(" {error}"))?;
        let names = Published::read(&text)?;
        let lab = Lab::new(name, &names, (self.ttl, self.reverse))?;
        for complaint in &lab.complaints {
            tracing::warn!(target: "plugin/lab", "{}: left out: {complaint}", path.display());
        }
        tracing::info!(
            target: "plugin/lab",
            "lab {} serves {} records, generation {}",
            lab.name, lab.records, lab.generation
        );
        gauge()
            .get_or_create(&vec![("lab".to_owned(), name.to_owned())])
            .set(lab.records as i64);
        Ok(lab)
    }

    /// Locks the state directory, which may be another one than before.
    fn hold(&mut self) {
        let now = stamp(&self.directory).ok().map(|stamp| stamp.id);
        if self.held.as_ref().map(|(_, id)| *id) == now {
            return;
        }
        self.held = None;
        let Some(id) = now else { return };
        // `apply` holds it alone for a moment, to see whether somebody else does.
        let locked = File::open(&self.directory).and_then(|file| {
            file.lock_shared()?;
            Ok(file)
        });
        match locked {
            Ok(file) => self.held = Some((file, id)),
            Err(error) => {
                tracing::debug!(target: "plugin/lab", "{}: {error}", self.directory.display());
            }
        }
    }

    /// The directories whose changes matter, those above included as long as they may still have to be made.
    fn watched(&self) -> Vec<PathBuf> {
        let labs = std::fs::read_dir(&self.directory).into_iter().flatten();
        let labs = labs.filter_map(|entry| Some(entry.ok()?.path()));
        let above = self.directory.ancestors().take(2).map(Path::to_path_buf);
        let mut out: Vec<PathBuf> = labs.filter(|path| path.is_dir()).chain(above).collect();
        out.sort();
        out
    }

    /// Looks again whenever a directory tells of a change, and every `interval`.
    pub(super) fn follow(self, interval: Duration) -> Work {
        Box::pin(async move {
            let mut source = self;
            if source.directory == Path::new(DIRECTORY) {
                // Where it may be made, `apply` sees from the first lab on that a server is here.
                let _ = std::fs::create_dir_all(DIRECTORY);
            }
            let mut watched = source.watched();
            let mut watch = Watch::new(watched.clone());
            loop {
                let looked = tokio::task::spawn_blocking(move || {
                    // A directory that comes while another is read must not be missed.
                    let now = source.watched();
                    let new = (now != watched).then(|| Watch::new(now.clone()));
                    source.refresh();
                    (source, now, new)
                });
                match looked.await {
                    Ok((back, now, new)) => {
                        (source, watched) = (back, now);
                        watch = new.unwrap_or(watch);
                    }
                    Err(error) => {
                        tracing::error!(target: "plugin/lab", "No longer watching labs: {error}");
                        return;
                    }
                }
                watch.noticed(interval).await;
            }
        })
    }
}

/// A whole file, if it is not too large.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = File::open(path)?;
    io::Read::read_to_end(&mut io::Read::take(file, FILE + 1), &mut text)?;
    if text.len() as u64 > FILE {
        return Err(io::Error::other(format!("longer than {FILE} octets")));
    }
    Ok(text)
}

fn gauge() -> Family<Vec<(String, String)>, Gauge> {
    metrics::family("coredns_lab_records", "The number of records of a lab.")
}

fn failures() -> Counter {
    metrics::metric(
        "coredns_lab_reload_failed",
        "Counter of the times that the names of a lab could not be read.",
        Counter::default,
    )
}
