//! A zone as a master file (RFC 1035, section 5): what is written here is read by [`Loader`](crate::Loader), and by other servers.

use std::io::{self, Write};

use wire::Type;

use crate::contents::{Zone, ZoneRecord};
use crate::difference::ChangedRecord;

impl Zone {
    /// Writes every record on a line of its own, names in full, the SOA record first.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut rdata = Vec::new();
        let mut line = |record: ZoneRecord<'_>| {
            rdata.clear();
            record.write_rdata(&mut rdata);
            let record = ChangedRecord {
                owner: record.owner(),
                rtype: record.rtype(),
                ttl: record.ttl(),
                rdata: &rdata,
            };
            writeln!(out, "{record}")
        };
        if let Some(soa) = self.soa() {
            line(soa)?;
        }
        self.records()
            .filter(|record| record.rtype() != Type::SOA)
            .try_for_each(line)
    }
}
