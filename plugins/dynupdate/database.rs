//! A zone on disk: a snapshot and the updates since, in one file that is only ever appended to, or replaced whole.
//!
//! ```text
//! "nameplate dynupdate 1\n" │ entry: kind, length of removed, length of added, sum │ removed │ added │ entry …
//! ```
//!
//! The first entry is the snapshot, which removes nothing and adds the zone; the others are differences. An update is on disk before it
//! is answered (fdatasync). After a crash the last entry may be cut: it was not answered, and is left out. A mistake anywhere else is
//! no crash's, and the file is not used. Where somebody has taken the file away, replaced or emptied it meanwhile, the next update writes it anew.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use wire::{Name, Type};
use zone::{Builder, ChangedRecord, Difference, Place, Records, Zone};

const MAGIC: &[u8] = b"nameplate dynupdate 1\n";
/// Kind, two lengths, sum.
const HEAD: usize = 1 + 4 + 4 + 8;
/// Octets of updates that a file has at least before it is written anew.
const SPARE: u64 = 1 << 20;

/// The open file.
pub(super) struct Database {
    path: PathBuf,
    file: File,
    /// Where the next entry goes.
    end: u64,
    /// Octets of the snapshot.
    snapshot: u64,
    /// Whether something went wrong in writing, so that what is on disk is not known.
    broken: bool,
    /// Whether there was no file before.
    is_new: bool,
    /// Octets of an entry that was not written whole, which were cut at the end.
    cut: u64,
}

/// FNV-1a, which tells an entry that was cut from a whole one.
fn sum(parts: [&[u8]; 2]) -> u64 {
    let octets = parts.iter().flat_map(|part| part.iter());
    octets.fold(0xCBF2_9CE4_8422_2325, |sum, octet| {
        (sum ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

fn entry(kind: u8, removed: &[u8], added: &[u8]) -> io::Result<Vec<u8>> {
    let len = |part: &[u8]| u32::try_from(part.len()).map_err(io::Error::other);
    let mut out = Vec::with_capacity(HEAD + removed.len() + added.len());
    out.push(kind);
    out.extend_from_slice(&len(removed)?.to_be_bytes());
    out.extend_from_slice(&len(added)?.to_be_bytes());
    out.extend_from_slice(&sum([removed, added]).to_be_bytes());
    out.extend_from_slice(removed);
    out.extend_from_slice(added);
    Ok(out)
}

/// All records of a zone.
fn records(zone: &Zone) -> Records {
    let mut all = Records::default();
    for record in zone.records() {
        all.push(&ChangedRecord {
            owner: record.owner(),
            rtype: record.rtype(),
            ttl: record.ttl(),
            rdata: &record.rdata(),
        });
    }
    all
}

/// The zone that these records make.
fn zone_of(apex: Name<'_>, records: &Records) -> Result<Zone, String> {
    let mut builder = Builder::new(apex);
    for record in records.iter() {
        let fixed = (record.rtype, record.ttl);
        builder
            .push(record.owner, fixed, record.rdata, Place::default())
            .map_err(|_| format!("{}: it is outside of the zone {apex}", record.owner))?;
    }
    built(builder)
}

/// The zone of a builder.
pub(super) fn built(builder: Builder) -> Result<Zone, String> {
    builder.build().map_err(|complaints| {
        let all = complaints.iter().map(|complaint| complaint.message.clone());
        all.collect::<Vec<_>>().join("; ")
    })
}

impl Database {
    /// Opens the file and reads its zone; `None` for the zone where the file is new.
    ///
    /// # Errors
    /// Where it cannot be read or written, is in use by another process, or is no such file.
    pub(super) fn open(path: &Path, apex: Name<'_>) -> Result<(Self, Option<Zone>), String> {
        let shown = path.display();
        let open = |options: &mut OpenOptions| options.read(true).write(true).open(path);
        let (opened, is_new) = match open(&mut OpenOptions::new()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (open(OpenOptions::new().create_new(true)), true)
            }
            opened => (opened, false),
        };
        let file = opened.map_err(|error| format!("open {shown}: {error}"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("{shown}: another process uses this database"));
            }
            Err(TryLockError::Error(error)) => return Err(format!("lock {shown}: {error}")),
        }
        let mut database = Self {
            path: path.to_path_buf(),
            file,
            end: 0,
            snapshot: 0,
            broken: false,
            is_new,
            cut: 0,
        };
        let mut octets = Vec::new();
        database
            .file
            .read_to_end(&mut octets)
            .map_err(|error| format!("read {shown}: {error}"))?;
        // A first snapshot takes the place of the empty file whole, so a file is empty or has one.
        if octets.is_empty() {
            return Ok((database, None));
        }
        let zone = database
            .read(&octets, apex)
            .map_err(|why| format!("{shown}: {why}"))?;
        Ok((database, Some(zone)))
    }

    /// Reads the zone, and cuts what a crash has left of the last entry.
    fn read(&mut self, octets: &[u8], apex: Name<'_>) -> Result<Zone, String> {
        let mut rest = octets
            .strip_prefix(MAGIC)
            .ok_or("it is not a database of `dynupdate`")?;
        let (mut zone, mut differences) = (None, Vec::new());
        while let Some((kind, removed, added, behind)) = split(rest)? {
            match kind {
                b'Z' if zone.is_none() => {
                    self.snapshot = (rest.len() - behind.len()) as u64;
                    let records = Records::read(added).ok_or("its snapshot cannot be read")?;
                    zone = Some(zone_of(apex, &records)?);
                }
                b'D' if zone.is_some() => {
                    let read = |part| Records::read(part).ok_or("an update in it cannot be read");
                    differences.push(Difference {
                        removed: read(removed)?,
                        added: read(added)?,
                    });
                }
                _ => return Err("an entry is of an unknown kind".to_owned()),
            }
            rest = behind;
        }
        self.end = (octets.len() - rest.len()) as u64;
        self.cut = rest.len() as u64;
        if self.cut > 0 {
            self.file
                .set_len(self.end)
                .and_then(|()| self.file.sync_all())
                .map_err(|error| error.to_string())?;
        }
        let zone = zone.ok_or("it has no snapshot")?;
        if zone.apex() != apex {
            return Err(format!("it belongs to the zone {}", zone.apex()));
        }
        match differences.is_empty() {
            true => Ok(zone),
            false => built(zone.patched(&differences)?),
        }
    }

    /// Whether the file was there before it was opened.
    pub(super) fn was_there(&self) -> bool {
        !self.is_new
    }

    /// Octets of an entry that was not written whole, which are gone from the end of the file.
    pub(super) fn cut(&self) -> u64 {
        self.cut
    }

    /// Takes away a file that was made for a zone that there is not.
    pub(super) fn discard(self) {
        if self.is_new && self.end == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Puts a difference on disk, before anybody is told of it. `next` is the zone with it, which takes the place of a file that is no
    /// longer what was written to it.
    ///
    /// # Errors
    /// When it is not sure to be there.
    pub(super) fn commit(&mut self, difference: &Difference, next: &Zone) -> io::Result<()> {
        if !self.broken && self.is_in_place() {
            self.append(difference)?;
            if self.is_in_place() {
                return Ok(());
            }
        }
        let restored = self.restore(next);
        // The difference may be in a file that comes back.
        self.broken = restored.is_err();
        restored
    }

    /// Appends a difference; what is written of it is cut again when that fails.
    fn append(&mut self, difference: &Difference) -> io::Result<()> {
        let entry = entry(b'D', difference.removed.octets(), difference.added.octets())?;
        let written = self
            .file
            .seek(SeekFrom::Start(self.end))
            .and_then(|_| self.file.write_all(&entry))
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.end += entry.len() as u64,
            Err(_) => {
                // A full disk is no reason to write the file anew: without the half entry it is as it was.
                let undone = self
                    .file
                    .set_len(self.end)
                    .and_then(|()| self.file.sync_all());
                self.broken = undone.is_err();
            }
        }
        written
    }

    /// Whether the open file is the one that has the name, and as long as it was left.
    fn is_in_place(&self) -> bool {
        match (self.path.metadata(), self.file.metadata()) {
            (Ok(named), Ok(own)) => {
                (named.dev(), named.ino()) == (own.dev(), own.ino()) && own.len() == self.end
            }
            _ => false,
        }
    }

    /// Writes the file anew after it was taken away, replaced or emptied; what somebody has put in its place is kept under another name.
    fn restore(&mut self, zone: &Zone) -> io::Result<()> {
        let shown = self.path.display().to_string();
        let other = match self.path.metadata() {
            Ok(found) if found.len() > 0 => self.keep_other(&found)?,
            _ => None,
        };
        if let Err(error) = self.write(zone) {
            other
                .into_iter()
                .for_each(|other| drop(fs::remove_file(other)));
            return Err(error);
        }
        let (apex, serial) = (zone.apex(), zone.serial());
        let kept = other.map_or_else(String::new, |other| {
            format!("; what stood there is kept as {}", other.display())
        });
        tracing::warn!(
            target: "plugin/dynupdate",
            "{shown}: the database was removed or changed by another program; it is rewritten with zone {apex} as it is served, {serial} SOA serial{kept}. \
             To use another database, stop the server first"
        );
        Ok(())
    }

    /// Gives another name to what has taken the place of the database, if that is what stands there.
    fn keep_other(&self, found: &fs::Metadata) -> io::Result<Option<PathBuf>> {
        let own = self.file.metadata()?;
        if (found.dev(), found.ino()) != (own.dev(), own.ino()) {
            let locked = File::open(&self.path)?.try_lock();
            if matches!(locked, Err(TryLockError::WouldBlock)) {
                return Err(io::Error::other(
                    "another process uses a database that was put in its place; stop one of the two",
                ));
            }
        } else if self.broken {
            return Ok(None);
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = time.map_or(0, |time| time.as_secs());
        let other = beside(&self.path, &format!(".replaced-{seconds}"));
        fs::hard_link(&self.path, &other).map(|()| Some(other))
    }

    /// Whether the updates outweigh the snapshot by so much that the file is to be written anew.
    pub(super) fn is_long(&self) -> bool {
        !self.broken && self.end > 2 * self.snapshot + SPARE
    }

    /// Writes the file anew with `zone` as its snapshot: beside it, then in its place.
    pub(super) fn write(&mut self, zone: &Zone) -> io::Result<()> {
        let entry = entry(b'Z', &[], records(zone).octets())?;
        let draft = beside(&self.path, ".new");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&draft)?;
        file.try_lock().map_err(io::Error::from)?;
        file.write_all(MAGIC)?;
        file.write_all(&entry)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        let parent = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        self.file = file;
        self.snapshot = entry.len() as u64;
        self.end = (MAGIC.len() + entry.len()) as u64;
        self.broken = false;
        Ok(())
    }
}

/// A name beside that of the file.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

type Split<'a> = (u8, &'a [u8], &'a [u8], &'a [u8]);

/// The first entry, and what stands behind it; `None` where there is none, or it is the last one and cut.
fn split(octets: &[u8]) -> Result<Option<Split<'_>>, String> {
    let part = |at: usize| wire::read_u32(octets, at).map(|len| len as usize);
    let (Some(&kind), Some(removed), Some(added)) = (octets.first(), part(1), part(5)) else {
        return Ok(None);
    };
    let Some(expected) = octets.get(9..HEAD) else {
        return Ok(None);
    };
    let end = HEAD + removed + added;
    let Some(body) = octets.get(HEAD..end) else {
        return Ok(None);
    };
    let (gone, come) = body.split_at(removed);
    if sum([gone, come]).to_be_bytes() != *expected {
        // What was being written when the machine stopped may have holes, or be nothing but one.
        let hole = octets.iter().all(|octet| *octet == 0);
        return match hole || octets.len() == end {
            true => Ok(None),
            false => Err("an entry is damaged".to_owned()),
        };
    }
    Ok(Some((kind, gone, come, &octets[end..])))
}

/// Whether a zone has what `dynupdate` cannot keep right.
pub(super) fn refuse_signed(zone: &Zone, types: &[Type]) -> Result<(), String> {
    let mut records = zone.records();
    match records.find(|record| types.contains(&record.rtype())) {
        None => Ok(()),
        Some(record) => Err(format!(
            "{} {}: signed zones, and zones with a digest, cannot be updated",
            record.owner(),
            record.rtype()
        )),
    }
}
