//! What of nf_tables is in the kernel.

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::io;

use super::{GETCHAIN, GETRULE, GETTABLE, INET, Table, header, kind};
use crate::hash::Print;
use crate::netlink::{Attributes, Batch, NLM_F_DUMP, Socket, string};

/// A table that is in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its comment.
    pub comment: String,
    /// How many rules it has.
    pub rules: usize,
    /// How many chains it has.
    pub chains: usize,
    /// A hash of its chains and rules, counters apart.
    pub print: u64,
}

impl Seen {
    /// Whether it is this table, and its rules are those of this print.
    pub(crate) fn is(&self, table: &Table, print: u64) -> bool {
        self.comment == table.comment()
            && self.rules == table.rules()
            && self.chains == table.chains.len()
            && self.print == print
    }
}

/// The tables of the family `inet` whose name starts so.
pub(crate) fn tables(socket: &mut Socket, prefix: &str) -> io::Result<BTreeMap<String, Seen>> {
    let mut found = BTreeMap::new();
    let mut batch = Batch::default();
    batch.message(kind(GETTABLE), NLM_F_DUMP, &header(INET, 0));
    socket.dump(&mut batch, |_, body| {
        let (mut name, mut seen) = (String::new(), Seen::default());
        for (kind, value) in Attributes(body.get(4..).unwrap_or(&[])) {
            match kind {
                1 => name = string(value),
                6 if value.first() == Some(&0) => {
                    seen.comment = string(value.get(2..).unwrap_or(&[]));
                }
                _ => {}
            }
        }
        if name.starts_with(prefix) {
            found.insert(name, (seen, Print::default()));
        }
    })?;
    if found.is_empty() {
        return Ok(BTreeMap::new());
    }
    for (message, is_rule) in [(GETCHAIN, false), (GETRULE, true)] {
        let mut batch = Batch::default();
        batch.message(kind(message), NLM_F_DUMP, &header(INET, 0));
        socket.dump(&mut batch, |_, body| {
            let attributes = || Attributes(body.get(4..).unwrap_or(&[]));
            let table = attributes().find(|&(kind, _)| kind == 1);
            let Some((seen, print)) = table.and_then(|(_, name)| found.get_mut(&string(name)))
            else {
                return;
            };
            if is_rule {
                seen.rules += 1;
                rule(print, attributes());
            } else {
                seen.chains += 1;
                // Name, hook, policy and type; handles and counters differ from table to table.
                let told = attributes().filter(|(kind, _)| [3, 4, 5, 7].contains(kind));
                told.for_each(|part| part.hash(print));
            }
        })?;
    }
    let finished = found.into_iter().map(|(name, (mut seen, print))| {
        seen.print = print.finish();
        (name, seen)
    });
    Ok(finished.collect())
}

/// Adds what a rule says to a print: its chain and its expressions.
fn rule(print: &mut Print, attributes: Attributes<'_>) {
    for (kind, value) in attributes {
        match kind {
            2 => value.hash(print),
            4 => {
                for (_, element) in Attributes(value) {
                    let part = |wanted| Attributes(element).find(|&(kind, _)| kind == wanted);
                    let name = part(1).map_or(&[][..], |(_, name)| name);
                    name.hash(print);
                    if !name.starts_with(b"counter") {
                        part(2).map(|(_, data)| data).hash(print);
                    }
                }
            }
            _ => {}
        }
    }
}

/// How many packets each rule of a table met, by chain, in order; 0 for one that does not count.
pub(crate) fn counters(socket: &mut Socket, table: &str) -> io::Result<BTreeMap<String, Vec<u64>>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut batch = Batch::default();
    batch.message(kind(GETRULE), NLM_F_DUMP, &header(INET, 0));
    socket.dump(&mut batch, |_, body| {
        let part = |wanted| {
            let mut attributes = Attributes(body.get(4..).unwrap_or(&[]));
            attributes
                .find(|&(kind, _)| kind == wanted)
                .map(|(_, value)| value)
        };
        if part(1).map(string).as_deref() != Some(table) {
            return;
        }
        let counted = Attributes(part(4).unwrap_or(&[])).find_map(|(_, element)| {
            let of = |wanted| Attributes(element).find(|&(kind, _)| kind == wanted);
            let (_, data) = of(1)
                .filter(|(_, name)| name.starts_with(b"counter"))
                .and_then(|_| of(2))?;
            // NFTA_COUNTER_PACKETS.
            let (_, packets) = Attributes(data).find(|&(kind, _)| kind == 2)?;
            packets
                .first_chunk()
                .map(|octets| u64::from_be_bytes(*octets))
        });
        let chain = found.entry(part(2).map(string).unwrap_or_default());
        chain.or_default().push(counted.unwrap_or(0));
    })?;
    Ok(found)
}
