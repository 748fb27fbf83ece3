//! Which server block serves a name: the blocks of one listener in a hash table by zone.
//!
//! The table is open-addressed and made at load; a look-up reads one slot for each suffix of QNAME that could be a zone here, with
//! the hash that parsing made, so its cost depends on the labels of QNAME and not on the number of blocks. It allocates nothing and
//! counts no reference.

use std::sync::Arc;

use chain::setup::StreamLimits;
use chain::traffic::Traffic;
use chain::{Block, Router};
use wire::{Name, Qname, Type, name_hash};

/// The blocks of one listener.
pub(crate) struct Table {
    /// Places in `blocks`, one more than the index; 0 is empty.
    slots: Box<[u32]>,
    hashes: Box<[u64]>,
    blocks: Box<[Arc<Block>]>,
    /// The labels of the longest zone.
    deepest: usize,
    /// Whether classes other than IN reach the plugins.
    pub(crate) any_class: bool,
    /// Bounds of stream connections: those of the first block.
    pub(crate) streams: StreamLimits,
    /// Counts the queries that no block serves.
    pub(crate) dropped: Option<Arc<Traffic>>,
}

impl Table {
    /// A table of blocks with different zones.
    pub(crate) fn new(blocks: Vec<Arc<Block>>, streams: StreamLimits) -> Self {
        let size = (blocks.len() * 2).next_power_of_two().max(2);
        let mut slots = vec![0u32; size].into_boxed_slice();
        let hashes: Box<[u64]> = blocks
            .iter()
            .map(|block| name_hash(block.info.origin.as_name()))
            .collect();
        for (index, hash) in hashes.iter().enumerate() {
            let mut at = *hash as usize & (size - 1);
            while slots[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            slots[at] = index as u32 + 1;
        }
        let deepest = blocks
            .iter()
            .map(|block| block.info.origin.as_name().label_count())
            .max()
            .unwrap_or(0);
        let any_class = blocks
            .iter()
            .flat_map(|block| block.chain.steps())
            .any(|step| step.plugin.any_class());
        let dropped = blocks
            .first()
            .map(|block| Traffic::dropped(block.info.server.clone()));
        Self {
            slots,
            hashes,
            blocks: blocks.into(),
            deepest,
            any_class,
            streams,
            dropped,
        }
    }

    /// The blocks.
    pub(crate) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// The block whose zone encloses `qname` most closely.
    ///
    /// DS lives above the zone cut (RFC 4035, 3.1.4.1): the block whose zone is QNAME itself answers for it only when no other
    /// block but that of the root encloses the name.
    #[inline]
    pub(crate) fn find(&self, qname: &Qname, qtype: Type) -> Option<&Arc<Block>> {
        let labels = qname.label_count();
        let mut below_cut = None;
        for skip in labels.saturating_sub(self.deepest)..=labels {
            let Some(block) = self.exact(qname.hash(skip), qname.suffix(skip)) else {
                continue;
            };
            if qtype != Type::DS || skip > 0 || labels == 0 {
                let root = skip == labels;
                return if root {
                    below_cut.or(Some(block))
                } else {
                    Some(block)
                };
            }
            below_cut = Some(block);
        }
        below_cut
    }

    /// The block of exactly this zone.
    #[inline]
    fn exact(&self, hash: u64, zone: Name<'_>) -> Option<&Arc<Block>> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let index = (*self.slots.get(at)? as usize).checked_sub(1)?;
            if self.hashes.get(index) == Some(&hash) {
                let block = self.blocks.get(index)?;
                if block.info.origin.as_name().octets() == zone.octets() {
                    return Some(block);
                }
            }
            at = (at + 1) & mask;
        }
    }
}

impl Router for Table {
    fn route(&self, qname: &Qname, qtype: Type) -> Option<Arc<Block>> {
        self.find(qname, qtype).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block;

    fn zone(table: &Table, qname: &str, qtype: Type) -> Option<String> {
        let name: wire::NameBuf = qname.parse().expect("a name");
        let found = table.route(&Qname::from(name.as_name()), qtype);
        found.map(|block| block.info.zone.to_string())
    }

    #[test]
    fn the_longest_enclosing_zone_serves() {
        let zones = [
            ".",
            "example.org.",
            "a.b.example.org.",
            "org.",
            "example.net.",
        ];
        let table = Table::new(
            zones.map(|zone| block(zone, vec![])).into(),
            StreamLimits::default(),
        );
        for (qname, qtype, expected) in [
            ("www.example.org.", Type::A, "example.org."),
            ("EXAMPLE.org.", Type::A, "example.org."),
            ("b.example.org.", Type::A, "example.org."),
            ("x.a.b.example.org.", Type::A, "a.b.example.org."),
            ("xexample.org.", Type::A, "org."),
            ("example.com.", Type::A, "."),
            (".", Type::DS, "."),
            ("example.org.", Type::DS, "org."),
            ("a.b.example.org.", Type::DS, "example.org."),
            ("www.example.org.", Type::DS, "example.org."),
            ("example.net.", Type::DS, "example.net."),
            ("org.", Type::DS, "org."),
        ] {
            assert_eq!(
                zone(&table, qname, qtype).as_deref(),
                Some(expected),
                "{qname} {qtype:?}"
            );
        }
    }

    #[test]
    fn nothing_serves_other_names() {
        let table = Table::new(vec![block("example.org.", vec![])], StreamLimits::default());
        assert_eq!(zone(&table, "example.net.", Type::A), None);
        assert_eq!(zone(&table, "org.", Type::DS), None);
        let empty = Table::new(Vec::new(), StreamLimits::default());
        assert_eq!(zone(&empty, "example.net.", Type::A), None);
    }

    #[test]
    fn many_zones_are_all_found() {
        let zones: Vec<String> = (0..5_000).map(|i| format!("z{i}.example.org.")).collect();
        let blocks = zones.iter().map(|zone| block(zone, vec![])).collect();
        let table = Table::new(blocks, StreamLimits::default());
        for name in &zones {
            assert_eq!(
                zone(&table, &format!("www.{name}"), Type::A).as_ref(),
                Some(name)
            );
        }
    }
}
