//! What was attached: a file for each attachment, written before anything is made, and the network's lock.
//!
//! `/run/nameplate/cni/NETWORK/CONTAINER:INTERFACE.json`. DEL needs nothing else, not the namespace and not a result.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::config::{Attachment, PortMapping};
use super::failure::{Code, Failure, Result};
use crate::journal::{absent_is_fine, make_directory, remove_directory, remove_file, replace};

/// Where all networks are.
const STATE: &str = "/run/nameplate/cni/networks";

/// One attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Whose it is.
    pub(super) whose: Attachment,
    /// Its port on the bridge.
    pub(super) port: String,
    /// The bridge.
    pub(super) bridge: String,
    /// Its addresses, once they are known.
    pub(super) addresses: Vec<IpNet>,
    /// The gateways of its addresses.
    pub(super) gateways: Vec<IpAddr>,
    /// Whether its subnets are masqueraded.
    pub(super) masquerade: bool,
    /// The only MAC address that it may send from.
    #[serde(default)]
    pub(super) sender: Option<[u8; 6]>,
    /// Its port forwards.
    pub(super) forwards: Vec<PortMapping>,
    /// Its name and further names; none if it has no names.
    pub(super) names: Vec<String>,
    /// The domain of its names.
    pub(super) domain: String,
    /// Seconds that answers may be kept.
    pub(super) ttl: u32,
}

/// The records of a network, locked.
pub(super) struct Records {
    directory: PathBuf,
    _lock: File,
    /// All of them.
    pub(super) all: Vec<Record>,
}

/// The file of an attachment.
fn file(whose: &Attachment) -> String {
    format!("{}:{}.json", whose.container, whose.interface)
}

/// The records of all networks, by network, as they are.
pub(super) fn every() -> Vec<(String, Record)> {
    let mut found = Vec::new();
    for network in std::fs::read_dir(STATE).into_iter().flatten().flatten() {
        let Ok(name) = network.file_name().into_string() else {
            continue;
        };
        for entry in std::fs::read_dir(network.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
                && let Ok(text) = crate::input::octets(&path)
                && let Ok(record) = serde_json::from_slice(&text)
            {
                found.push((name.clone(), record));
            }
        }
    }
    found
}

impl Records {
    /// Waits for the network's lock and reads them.
    pub(super) fn open(network: &str) -> Result<Self> {
        let directory = Path::new(STATE).join(network);
        let open = || -> io::Result<Self> {
            make_directory(&directory)?;
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(directory.join(".lock"))?;
            lock.lock()?;
            // The last one of a network removes the directory while others wait.
            if std::fs::metadata(directory.join(".lock"))?.ino() != lock.metadata()?.ino() {
                return Err(io::ErrorKind::NotFound.into());
            }
            let mut all = Vec::new();
            for entry in std::fs::read_dir(&directory)?.flatten() {
                let name = entry.file_name();
                if name
                    .to_str()
                    .is_some_and(|name| !name.starts_with('.') && name.ends_with(".json"))
                {
                    let text = crate::input::octets(&entry.path())?;
                    all.push(serde_json::from_slice::<Record>(&text)?);
                }
            }
            all.sort_by(|one, other| one.whose.cmp(&other.whose));
            Ok(Self {
                directory: directory.clone(),
                _lock: lock,
                all,
            })
        };
        for _ in 0..100 {
            match open() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => {
                    return other.map_err(|error| {
                        let message = format!("cannot read {}", directory.display());
                        Failure::because(Code::Io, message, error)
                    });
                }
            }
        }
        Err(Failure::new(Code::Again, "the network is being removed"))
    }

    /// The record of an attachment.
    pub(super) fn get(&self, whose: &Attachment) -> Option<&Record> {
        self.all.iter().find(|record| record.whose == *whose)
    }

    /// Writes one.
    pub(super) fn put(&mut self, record: Record) -> Result<()> {
        let path = self.directory.join(file(&record.whose));
        let text = serde_json::to_vec(&record).map_err(io::Error::from);
        text.and_then(|text| replace(&path, &self.directory.join(".new"), &text, 0o600))
            .map_err(|error| {
                Failure::because(Code::Io, format!("cannot write {}", path.display()), error)
            })?;
        self.all.retain(|other| other.whose != record.whose);
        self.all.push(record);
        Ok(())
    }

    /// Forgets one.
    pub(super) fn forget(&mut self, whose: &Attachment) -> Result<()> {
        let path = self.directory.join(file(whose));
        absent_is_fine(remove_file(&path)).map_err(|error| {
            Failure::because(Code::Io, format!("cannot remove {}", path.display()), error)
        })?;
        self.all.retain(|record| record.whose != *whose);
        Ok(())
    }

    /// Removes the network's directory if nothing is attached.
    pub(super) fn close(self) {
        if self.all.is_empty() {
            // Who waits for the lock looks whether it is still there.
            for name in [".new", ".lock"] {
                let _ = remove_file(&self.directory.join(name));
            }
            let _ = remove_directory(&self.directory);
        }
    }
}
