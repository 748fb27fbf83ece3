//! Zones as their operator sees them: what a plugin tells of the zones that it keeps, and what it can be told to do with one.
//!
//! ```text
//! nameplate zone status|reload|… ─► admin socket ─► Plugin::zones, Plugin::order of every plugin at work
//! a scrape of the metrics        ─► Plugin::zones, Plugin::signs
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wire::NameBuf;
use zone::ZoneKey;

use crate::served::Served;

/// What a plugin tells of a zone that it keeps.
#[derive(Clone)]
pub struct ZoneReport {
    /// The zone; its serial, records and journal are there.
    pub zone: Arc<Served>,
    /// The plugin.
    pub plugin: &'static str,
    /// The file that it is read from, or kept in.
    pub file: Option<PathBuf>,
    /// Why its newest version is not served, if so.
    pub failure: Option<String>,
    /// What is known of its primaries, where it has some.
    pub follows: Option<Follows>,
    /// More that is worth knowing.
    pub details: Vec<(&'static str, String)>,
}

impl ZoneReport {
    /// A zone of which nothing more is known.
    pub fn new(zone: Arc<Served>, plugin: &'static str) -> Self {
        Self {
            zone,
            plugin,
            file: None,
            failure: None,
            follows: None,
            details: Vec::new(),
        }
    }
}

/// What a plugin tells of a zone whose answers it signs as they are given, whoever gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningReport {
    /// The zone's name.
    pub zone: NameBuf,
    /// The plugin.
    pub plugin: &'static str,
    /// The keys that sign it.
    pub keys: Vec<ZoneKey>,
    /// When the first of the signatures ends that are given out, in seconds since 1970; nothing before the first.
    pub signatures_end: Option<u64>,
}

/// What is known of a zone's primaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Follows {
    /// The primaries, in the order in which they are asked.
    pub primaries: Vec<String>,
    /// The one that answered last, and its serial.
    pub answered: Option<(String, u32)>,
    /// For how long none has confirmed the version that is served.
    pub age: Option<Duration>,
    /// In how long that version expires.
    pub expires: Option<Duration>,
    /// In how long they are asked again.
    pub next: Option<Duration>,
    /// The one that is being asked now.
    pub asked: Option<Asked>,
}

/// A primary that is being asked: for its serial, and then for the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The primary.
    pub primary: String,
    /// For how long it has been asked.
    pub since: Duration,
    /// How many records of the zone have come.
    pub records: usize,
}

/// What can be done with a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZoneOrder {
    /// Read its file again; ask its primaries whether they have a newer version.
    Reload,
    /// Transfer it whole, whatever its serial is.
    Retransfer,
    /// Tell its secondaries.
    Notify,
}
