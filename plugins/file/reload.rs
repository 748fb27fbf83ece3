//! Loads zones from a master file, and again when it has changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chain::admin::Work;
use chain::watch::{Stamp, Watch, stamp};
use wire::NameBuf;
use zone::{Complaint, FileSystem, Loaded, Loader};

use super::Slot;

/// A file that was modified this shortly before it was read may change again within the same tick of the file system's clock.
const TICK: Duration = Duration::from_millis(50);

/// One master file and the zones that are made of it.
pub(super) struct MasterFile {
    /// The file.
    pub(super) path: PathBuf,
    /// The zones, by apex.
    pub(super) zones: Vec<(NameBuf, Slot)>,
    /// Whether a change is told by time alone, whatever the serial.
    pub(super) by_time: bool,
    files: Vec<PathBuf>,
    seen: Option<Vec<Stamp>>,
}

impl MasterFile {
    /// A file that has not been read.
    pub(super) fn new(path: PathBuf, zones: Vec<(NameBuf, Slot)>, by_time: bool) -> Self {
        Self {
            files: vec![path.clone()],
            path,
            zones,
            by_time,
            seen: None,
        }
    }

    /// Loads all zones for the first time.
    ///
    /// # Errors
    /// Every mistake of the file.
    pub(super) fn load(&mut self) -> Result<(), String> {
        let began = SystemTime::now();
        for (apex, slot) in self.zones.clone() {
            let loaded = self.read(&apex).map_err(|complaints| {
                let lines: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
                lines.join("\n")
            })?;
            warn(&loaded.warnings);
            self.include(loaded.files);
            slot.store(Some(Arc::new(loaded.zone)));
        }
        self.note(began);
        Ok(())
    }

    /// Loads the zones again if one of their files has changed. A broken file leaves the zones as they were.
    pub(super) fn refresh(&mut self) {
        if self.seen.is_some() && self.seen == self.stamps() {
            return;
        }
        if let Err(error) = std::fs::metadata(&self.path) {
            let apexes = self.zones.iter().map(|(apex, _)| apex.to_string());
            let apexes = apexes.collect::<Vec<_>>().join(" ");
            if self.seen.take().is_some() {
                tracing::error!(target: "plugin/file", "Failed to open zone {apexes:?} in {:?}: {error}", self.path);
            }
            return;
        }
        let began = SystemTime::now();
        for (apex, slot) in self.zones.clone() {
            match self.read(&apex) {
                Ok(loaded) => self.replace(&apex, &slot, loaded),
                Err(complaints) => {
                    for complaint in complaints {
                        tracing::error!(target: "plugin/file", "Parsing zone \"{apex}\": {complaint}");
                    }
                }
            }
        }
        self.note(began);
    }

    /// Puts a zone that was read into its place, unless it is the same version.
    fn replace(&mut self, apex: &NameBuf, slot: &Slot, loaded: Loaded) {
        self.include(loaded.files);
        let serial = loaded.zone.serial();
        let same = slot
            .load()
            .as_ref()
            .is_some_and(|zone| zone.serial() == serial);
        if same && !self.by_time {
            // Only a change is worth a word: the first look after the start finds the file as it was loaded.
            if self.seen.is_some() {
                tracing::warn!(
                    target: "plugin/file",
                    "Zone \"{apex}\" in {:?} has changed, but its SOA serial is still {serial}: not reloaded",
                    self.path
                );
            }
            return;
        }
        warn(&loaded.warnings);
        slot.store(Some(Arc::new(loaded.zone)));
        tracing::info!(
            target: "plugin/file",
            "Successfully reloaded zone \"{apex}\" in {:?} with {serial} SOA serial",
            self.path
        );
    }

    fn read(&self, apex: &NameBuf) -> Result<Loaded, Vec<Complaint>> {
        Loader::new(apex.as_name()).load(&FileSystem, &self.path)
    }

    /// Files that others include are watched, too.
    fn include(&mut self, files: Vec<PathBuf>) {
        for file in files {
            if !self.files.contains(&file) {
                self.files.push(file);
            }
        }
    }

    fn stamps(&self) -> Option<Vec<Stamp>> {
        self.files.iter().map(|path| stamp(path).ok()).collect()
    }

    /// Remembers the files as they are, unless they may still change unseen.
    fn note(&mut self, began: SystemTime) {
        self.seen = self.stamps().filter(|stamps| {
            stamps
                .iter()
                .all(|stamp| stamp.modified + TICK < began || stamp.modified > began + TICK)
        });
    }

    /// Looks again whenever a directory tells of a change, and every `interval`.
    pub(super) fn follow(self, interval: Duration) -> Work {
        Box::pin(async move {
            let mut file = self;
            loop {
                let watch = Watch::new(file.files.clone());
                loop {
                    let before = file.files.len();
                    let looked = tokio::task::spawn_blocking(move || {
                        file.refresh();
                        file
                    });
                    match looked.await {
                        Ok(back) => file = back,
                        Err(error) => {
                            tracing::error!(target: "plugin/file", "No longer watching a zone file: {error}");
                            return;
                        }
                    }
                    if file.files.len() != before {
                        break;
                    }
                    watch.changed(interval).await;
                }
            }
        })
    }
}

fn warn(complaints: &[Complaint]) {
    for complaint in complaints {
        tracing::warn!(target: "plugin/file", "{complaint}");
    }
}

/// Whether a file can be opened at all.
pub(super) fn missing(path: &Path) -> Option<std::io::Error> {
    std::fs::File::open(path).err()
}
