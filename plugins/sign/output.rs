//! A signed zone as a master file: the SOA record and its signatures first, then every other record in full, one a line.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use wire::Type;
use zone::{Zone, ZoneRecord, present};

/// Writes `zone` to `path`, whole or not at all.
///
/// # Errors
/// What the file system says.
pub(super) fn write(zone: &Zone, path: &Path) -> io::Result<()> {
    let apex = zone.apex();
    // Not a name that looks like a zone's: others may read the directory meanwhile.
    let draft = path.with_file_name(format!("signed-{}-{apex}", std::process::id()));
    let written = draft_of(zone, &draft).and_then(|()| std::fs::rename(&draft, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    written
}

fn draft_of(zone: &Zone, path: &Path) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for first in [true, false] {
        let records = zone
            .records()
            .filter(|record| is_soa(zone, record) == first);
        for record in records {
            line(&record, &mut out)?;
        }
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

fn line(record: &ZoneRecord<'_>, out: &mut impl Write) -> io::Result<()> {
    let (owner, ttl, rtype) = (record.owner(), record.ttl(), record.rtype());
    let rdata = present(rtype, &record.rdata());
    writeln!(out, "{owner}\t{ttl}\tIN\t{rtype}\t{rdata}")
}

/// Whether a record is the SOA record, or an RRSIG record that covers it.
pub(super) fn is_soa(zone: &Zone, record: &ZoneRecord<'_>) -> bool {
    let covered = match record.rtype() {
        Type::RRSIG => wire::read_u16(&record.rdata(), 0).map(Type),
        other => Some(other),
    };
    covered == Some(Type::SOA) && record.owner() == zone.apex()
}
