//! Which labs there are, and when to look again.
//!
//! A directory holds a directory for each lab, in which `names.json` is replaced by a rename. Both are watched; a file is read again when
//! its content differs. What else `apply` writes beside it is nobody's business here. While the state directory is held by a shared lock, `apply` knows that a server answers for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chain::admin::Work;
use chain::listen::Addresses;
use host::source::{Content, Doubt, Files, Places, Reading, Source};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use telemetry::metrics;

use super::published::Published;
use super::state::{Lab, State};

/// Where `nameplate-lab` keeps its state.
pub(super) const DIRECTORY: &str = "/run/nameplate/lab";
/// The most that is read of one lab, in octets.
const FILE: u64 = 64 << 20;
/// The file in a lab's directory.
const NAMES: &str = "names.json";

/// The labs of one directive.
pub(super) struct Publications {
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
    pub(super) held: Option<(File, (u64, u64))>,
}

/// A lab that was read.
pub(super) struct Known {
    /// What tells its content.
    digest: u64,
    /// Nothing as long as its file was never good.
    lab: Option<Arc<Lab>>,
}

/// The labs that are there; one that is as before has no content.
type Draft = Vec<(String, Option<(u64, Result<Lab, String>)>)>;

impl Content for Publications {
    type Draft = Draft;

    fn places(&mut self) -> Places {
        let labs = std::fs::read_dir(&self.directory).into_iter().flatten();
        let labs = labs.filter_map(|entry| Some(entry.ok()?.path()));
        // Where there are names, only these matter; elsewhere whatever comes may be names.
        let mut directories: Vec<PathBuf> = labs
            .filter(|path| path.is_dir() && !path.join(NAMES).is_file())
            .collect();
        directories.push(self.directory.clone());
        directories.sort();
        Places {
            files: self.names().iter().map(|name| self.path(name)).collect(),
            directories,
            unsure: false,
        }
    }

    fn most(&self) -> u64 {
        FILE
    }

    /// `apply` and `down` replace and remove whole files.
    fn is_replaced_whole(&self) -> bool {
        true
    }

    fn read(&mut self, files: &mut Files) -> Reading<Draft> {
        self.hold();
        for directory in self.places().directories {
            // What is not there has no names: that is no failure.
            let names = std::fs::read_dir(&directory).into_iter().flatten();
            let mut names: Vec<PathBuf> =
                names.filter_map(|name| Some(name.ok()?.path())).collect();
            names.sort();
            files.note_names(&directory, &names);
        }
        let mut draft = Vec::new();
        for name in self.names() {
            let path = self.path(&name);
            let known = self.known.get(&name).map(|known| known.digest);
            let content = match files.read_unless(known, &path, FILE) {
                Ok((_, None)) => None,
                Ok((digest, Some(text))) => Some((digest, self.lab(&name, &text))),
                Err(error) => Some((0, Err(format!(" {error}")))),
            };
            draft.push((name, content));
        }
        Reading {
            draft,
            doubt: Doubt::None,
            usable: true,
        }
    }

    fn take(&mut self, draft: Draft, _: &Files) {
        let mut changed = false;
        self.known.retain(|name, _| {
            let stays = draft.iter().any(|(there, _)| there == name);
            if !stays {
                tracing::info!(target: "plugin/lab", "lab {name} is gone");
                gauge().remove(&vec![("lab".to_owned(), name.clone())]);
                changed = true;
            }
            stays
        });
        for (name, content) in draft {
            let Some((digest, lab)) = content else {
                continue;
            };
            let path = self.path(&name);
            let before = self.known.remove(&name).and_then(|known| known.lab);
            let lab = match lab {
                Ok(lab) => {
                    changed = true;
                    tell(&name, &path, &lab);
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
            self.known.insert(name, Known { digest, lab });
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
    }

    fn fail(&mut self, path: &Path, why: &str) {
        tracing::error!(target: "plugin/lab", "{}: {why}", path.display());
    }
}

impl Publications {
    /// Where the names of a lab are.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name).join(NAMES)
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
    fn lab(&self, name: &str, text: &[u8]) -> Result<Lab, String> {
        Lab::new(name, &Published::read(text)?, (self.ttl, self.reverse))
    }

    /// Locks the state directory, which may be another one than before.
    fn hold(&mut self) {
        let now = std::fs::metadata(&self.directory).ok();
        let now = now.map(|metadata| (metadata.dev(), metadata.ino()));
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
}

/// Follows the labs, and looks every `interval` in case nobody tells of changes.
pub(super) fn follow(source: Source<Publications>, interval: Duration) -> Work {
    Box::pin(async move {
        let error = source.follow(interval).await;
        tracing::error!(target: "plugin/lab", "No longer watching labs: {error}");
    })
}

/// Says what a lab brings.
fn tell(name: &str, path: &Path, lab: &Lab) {
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
