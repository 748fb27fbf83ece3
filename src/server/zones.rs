//! `nameplate zone`: what is known of the zones that are served, and what can be done with them, over the admin socket; and the same as
//! metrics.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chain::Plugin;
use chain::keeper::{SigningReport, ZoneOrder, ZoneReport};
use serde::{Deserialize, Serialize};
use wire::{Name, NameBuf};
use zone::ZoneKey;

/// What is asked of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// The zone, in presentation format; all of them where `status` names none.
    pub zone: Option<String>,
    /// The serial from which on `diff` tells what has changed; the one before the newest where none is given.
    pub from: Option<u32>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Tell what is known.
    Status,
    /// Tell what has changed.
    Diff,
    /// Read the file again, or ask the primaries.
    Reload,
    /// Transfer it whole.
    Retransfer,
    /// Tell the secondaries.
    Notify,
}

/// What the server says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// To `status`.
    Status {
        /// The zones, by name.
        zones: Vec<Status>,
    },
    /// To `diff`.
    Diff {
        /// The zone.
        zone: String,
        /// The serial before.
        from: u32,
        /// The serial that is served.
        to: u32,
        /// From version to version.
        versions: Vec<Version>,
    },
    /// To what does something: what was done.
    Done {
        /// A sentence for each plugin that did something.
        done: Vec<String>,
    },
}

/// What is known of a zone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub zone: String,
    /// The plugin that serves it.
    pub plugin: String,
    /// The number of its server block, from 1, in the order of the Corefile.
    pub block: usize,
    /// Its serial; nothing where it is not served: names of it get SERVFAIL.
    pub serial: Option<u32>,
    /// How many records it has.
    pub records: Option<usize>,
    /// The file that it is read from, or kept in.
    pub file: Option<String>,
    /// Its primaries.
    #[serde(default)]
    pub primaries: Vec<String>,
    /// The primary that answered last.
    pub primary: Option<String>,
    /// The serial that this one has.
    pub primary_serial: Option<u32>,
    /// For how many seconds no primary has confirmed the version that is served.
    pub age_seconds: Option<u64>,
    /// In how many seconds it expires.
    pub expires_in_seconds: Option<u64>,
    /// In how many seconds the primaries are asked.
    pub next_check_in_seconds: Option<u64>,
    /// The primary that is being asked now, if one is.
    #[serde(default)]
    pub asked: Option<Asked>,
    /// Why the newest version is not served, if so.
    pub last_error: Option<String>,
    /// The oldest serial that IXFR and `diff` reach back to.
    pub journal_from: Option<u32>,
    /// The octets of the journal.
    pub journal_bytes: usize,
    /// Whether the plugin only signs what others answer for the zone.
    #[serde(default)]
    pub signs_answers: bool,
    /// The keys of a signed zone.
    #[serde(default)]
    pub keys: Vec<Key>,
    /// In how many seconds the first of its signatures ends; less than 0 where one has ended.
    #[serde(default)]
    pub signatures_end_in_seconds: Option<i64>,
    /// More, by name.
    #[serde(default)]
    pub details: BTreeMap<String, String>,
}

/// A primary that is being asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The primary.
    pub primary: String,
    /// For how many seconds it has been asked.
    pub seconds: u64,
    /// How many records of the zone have come.
    pub records: usize,
}

/// A key of a signed zone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    /// Its key tag.
    pub tag: u16,
    /// Its algorithm, by mnemonic.
    pub algorithm: String,
    /// What it does: `KSK`, `ZSK`, `CSK`, or `published` where it signs nothing.
    pub role: String,
}

impl Key {
    fn of(keys: Vec<ZoneKey>) -> Vec<Self> {
        let keys = keys.into_iter().map(|key| Self {
            tag: key.tag,
            algorithm: key.algorithm_name(),
            role: key.role.to_string(),
        });
        keys.collect()
    }
}

/// What changed with one version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    /// The serial before.
    pub from: u32,
    /// The serial behind.
    pub to: u32,
    /// The records that went, in presentation format.
    pub removed: Vec<String>,
    /// The records that came.
    pub added: Vec<String>,
}

/// The plugins at work, with the number of their server block.
type Plugins = [(usize, Arc<dyn Plugin>)];

/// Does what is asked.
///
/// # Errors
/// Why it cannot be done.
pub(crate) fn answer(plugins: &Plugins, request: &Request) -> Result<Answer, String> {
    let zone = match &request.zone {
        None => None,
        Some(text) => {
            let name = text.parse::<NameBuf>();
            Some(name.map_err(|why| format!("{text}: {why}"))?.to_lower())
        }
    };
    if request.action == Action::Status {
        let is_asked = |name: Name<'_>| zone.as_ref().is_none_or(|zone| zone.as_name() == name);
        let mut zones: Vec<Status> = reports(plugins)
            .filter(|(_, report)| is_asked(report.zone.apex()))
            .map(|(block, report)| status(block, &report))
            .collect();
        zones.extend(
            signed_answers(plugins)
                .filter(|(_, report)| is_asked(report.zone.as_name()))
                .map(|(block, report)| status_of_signing(block, report)),
        );
        zones.sort_by(|one, other| (&one.zone, one.block).cmp(&(&other.zone, other.block)));
        return match (zone, zones.is_empty()) {
            (Some(zone), true) => Err(unknown(&zone)),
            _ => Ok(Answer::Status { zones }),
        };
    }
    let zone = zone.ok_or("the name of a zone is missing")?;
    let order = match request.action {
        Action::Status | Action::Diff => return diff(plugins, &zone, request.from),
        Action::Reload => ZoneOrder::Reload,
        Action::Retransfer => ZoneOrder::Retransfer,
        Action::Notify => ZoneOrder::Notify,
    };
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for (_, plugin) in plugins {
        match plugin.order(zone.as_name(), order) {
            None => {}
            Some(Ok(said)) => done.push(format!("{}: {said}", plugin.name())),
            Some(Err(why)) => failed.push(format!("{}: {why}", plugin.name())),
        }
    }
    if !failed.is_empty() {
        return Err(failed.join("\n"));
    }
    if !done.is_empty() {
        return Ok(Answer::Done { done });
    }
    let known = reports(plugins).find(|(_, report)| report.zone.apex() == zone.as_name());
    Err(match (known, order) {
        (None, _) => unknown(&zone),
        (Some((_, report)), ZoneOrder::Reload) => {
            format!("zone {zone} has no file: `{}` makes it", report.plugin)
        }
        (Some((_, report)), ZoneOrder::Retransfer) => {
            format!(
                "zone {zone} has no primary: it is one of `{}`",
                report.plugin
            )
        }
        (Some(_), ZoneOrder::Notify) => {
            format!("no `transfer` sends zone {zone} to secondaries")
        }
    })
}

fn unknown(zone: &NameBuf) -> String {
    format!("zone {zone} is not served here")
}

/// What all plugins tell.
fn reports(plugins: &Plugins) -> impl Iterator<Item = (usize, ZoneReport)> {
    plugins.iter().flat_map(|(block, plugin)| {
        let zones = plugin.zones().into_iter();
        zones.map(move |report| (*block, report))
    })
}

/// What all plugins tell of zones whose answers they sign.
pub(crate) fn signed_answers(plugins: &Plugins) -> impl Iterator<Item = (usize, SigningReport)> {
    plugins.iter().flat_map(|(block, plugin)| {
        let zones = plugin.signs().into_iter();
        zones.map(move |report| (*block, report))
    })
}

/// The time, in seconds since 1970.
fn time() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.map_or(0, |passed| passed.as_secs())
}

/// In how many seconds a time comes, in 32 bits as RRSIG records tell it.
pub(crate) fn seconds_until(end: u32) -> i64 {
    i64::from(end.wrapping_sub(time() as u32) as i32)
}

fn status_of_signing(block: usize, report: SigningReport) -> Status {
    Status {
        zone: report.zone.to_string(),
        plugin: report.plugin.to_owned(),
        block: block + 1,
        signs_answers: true,
        keys: Key::of(report.keys),
        signatures_end_in_seconds: report.signatures_end.map(|end| seconds_until(end as u32)),
        ..Status::default()
    }
}

fn status(block: usize, report: &ZoneReport) -> Status {
    let now = report.zone.snapshot();
    let end = now
        .as_ref()
        .and_then(|zone| zone.statistics().signatures_end);
    let keys = now.as_ref().map(|zone| zone.keys()).unwrap_or_default();
    let follows = report.follows.clone().unwrap_or_default();
    let (primary, primary_serial) = follows.answered.unzip();
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    let (journal_from, journal_bytes) = report
        .zone
        .journal(|journal| (journal.oldest(), journal.octets()));
    let details = report.details.iter();
    Status {
        zone: report.zone.apex().to_string(),
        plugin: report.plugin.to_owned(),
        block: block + 1,
        serial: now.as_ref().map(|zone| zone.serial()),
        records: now.as_ref().map(|zone| zone.statistics().records),
        file: report.file.as_ref().map(|path| path.display().to_string()),
        primaries: follows.primaries,
        primary,
        primary_serial,
        age_seconds: seconds(follows.age),
        expires_in_seconds: seconds(follows.expires),
        next_check_in_seconds: seconds(follows.next),
        asked: follows.asked.map(|asked| Asked {
            primary: asked.primary,
            seconds: asked.since.as_secs(),
            records: asked.records,
        }),
        last_error: report.failure.clone(),
        journal_from,
        journal_bytes,
        signs_answers: false,
        keys: Key::of(keys),
        signatures_end_in_seconds: end.map(seconds_until),
        details: details
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    }
}

/// What has changed since a serial.
fn diff(plugins: &Plugins, zone: &NameBuf, from: Option<u32>) -> Result<Answer, String> {
    let mut known = reports(plugins).filter(|(_, report)| report.zone.apex() == zone.as_name());
    let (_, report) = known.next().ok_or_else(|| unknown(zone))?;
    let now = report.zone.snapshot();
    let to = now
        .ok_or_else(|| format!("zone {zone} is not loaded"))?
        .serial();
    let found = report.zone.journal(|journal| {
        let from = from.or_else(|| journal.before(to))?;
        journal.between(from, to).map(|all| (from, all))
    });
    if from == Some(to) {
        let zone = zone.to_string();
        let versions = Vec::new();
        return Ok(Answer::Diff {
            zone,
            from: to,
            to,
            versions,
        });
    }
    let (from, differences) = found.ok_or_else(|| {
        let oldest = report.zone.journal(|journal| journal.oldest());
        match oldest {
            None => format!(
                "no differences of zone {zone} are known: they are kept from the second version on, if `transfer` has the zone"
            ),
            Some(oldest) => format!("the differences of zone {zone} go back to serial {oldest}"),
        }
    })?;
    let versions = differences.iter().filter_map(|difference| {
        let (from, to) = difference.serials()?;
        let [removed, added] = [&difference.removed, &difference.added]
            .map(|records| records.iter().map(|record| record.to_string()).collect());
        Some(Version {
            from,
            to,
            removed,
            added,
        })
    });
    Ok(Answer::Diff {
        zone: zone.to_string(),
        from,
        to,
        versions: versions.collect(),
    })
}

/// An answer as people read it.
pub fn render(answer: &Answer) -> String {
    let mut out = String::new();
    match answer {
        Answer::Status { zones } if zones.is_empty() => out.push_str("no zones are served\n"),
        Answer::Status { zones } => zones.iter().for_each(|zone| show(zone, &mut out)),
        Answer::Diff { versions, .. } => {
            for version in versions {
                let _ = writeln!(out, ";; from serial {} to {}", version.from, version.to);
                for (sign, records) in [('-', &version.removed), ('+', &version.added)] {
                    for record in records {
                        let _ = writeln!(out, "{sign} {record}");
                    }
                }
            }
        }
        Answer::Done { done } => done.iter().for_each(|line| {
            let _ = writeln!(out, "{line}");
        }),
    }
    out.truncate(out.trim_end().len());
    out
}

fn show(zone: &Status, out: &mut String) {
    let _ = writeln!(out, "{}", zone.zone);
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(out, "  {name:<16}{value}");
        }
    };
    line("plugin", Some(zone.plugin.clone()));
    line(
        "serial",
        match zone.serial {
            Some(serial) => Some(serial.to_string()),
            None if zone.signs_answers => None,
            None => Some("none: the zone is not loaded, or it is expired".to_owned()),
        },
    );
    line("records", zone.records.map(|records| records.to_string()));
    line("file", zone.file.clone());
    if !zone.primaries.is_empty() {
        line("primaries", Some(zone.primaries.join(" ")));
    }
    let primary = zone.primary.as_ref().zip(zone.primary_serial);
    line(
        "primary serial",
        primary.map(|(primary, serial)| format!("{serial} at {primary}")),
    );
    line(
        "confirmed",
        zone.age_seconds.map(|age| format!("{age} s ago")),
    );
    line(
        "next check",
        zone.next_check_in_seconds
            .map(|next| format!("in {next} s")),
    );
    line(
        "under way",
        zone.asked.as_ref().map(|asked| {
            let Asked {
                primary,
                seconds,
                records,
            } = asked;
            match records {
                0 => format!("{primary} has been asked for {seconds} s"),
                _ => format!("transfer from {primary} for {seconds} s, {records} records so far"),
            }
        }),
    );
    line(
        "expires",
        zone.expires_in_seconds.map(|left| format!("in {left} s")),
    );
    line(
        "journal",
        zone.journal_from
            .map(|from| format!("from serial {from}, {} bytes", zone.journal_bytes)),
    );
    for key in &zone.keys {
        let Key {
            tag,
            algorithm,
            role,
        } = key;
        line("key", Some(format!("{tag} {algorithm} {role}")));
    }
    line(
        "signatures",
        zone.signatures_end_in_seconds.map(|left| {
            let at = zone::present_time(time().saturating_add_signed(left));
            match left {
                0.. => format!("the first ends in {left} s, at {at}"),
                _ => format!("the first ended {} s ago, at {at}", -left),
            }
        }),
    );
    for (name, value) in &zone.details {
        line(name, Some(value.clone()));
    }
    line("last error", zone.last_error.clone());
}
