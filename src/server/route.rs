//! Which server block serves a name: the blocks of one listener by zone ([`ZoneMap`]). A look-up allocates nothing and counts no
//! reference, and costs the same with one block as with ten thousand.

use std::sync::Arc;

use chain::setup::StreamLimits;
use chain::traffic::Traffic;
use chain::{Block, Router, ZoneMap};
use wire::{Qname, Type};

/// The blocks of one listener.
pub(crate) struct Table {
    blocks: ZoneMap<Arc<Block>>,
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
        let any_class = blocks
            .iter()
            .flat_map(|block| block.chain.steps())
            .any(|step| step.plugin.any_class());
        let dropped = blocks
            .first()
            .map(|block| Traffic::dropped(block.info.server.clone()));
        let blocks = blocks.into_iter().map(|block| (block.info.origin, block));
        Self {
            blocks: ZoneMap::new(blocks),
            any_class,
            streams,
            dropped,
        }
    }

    /// The blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.values()
    }

    /// The block whose zone encloses `qname` most closely.
    ///
    /// DS lives above the zone cut (RFC 4035, 3.1.4.1): the block whose zone is QNAME itself answers for it only when no other
    /// block but that of the root encloses the name.
    #[inline]
    pub(crate) fn find(&self, qname: &Qname, qtype: Type) -> Option<&Arc<Block>> {
        let (skip, block) = self.blocks.nearest_from(qname, 0)?;
        let labels = qname.label_count();
        if qtype != Type::DS || skip > 0 || labels == 0 {
            return Some(block);
        }
        self.above_cut(qname, block)
    }

    /// The block that serves DS of `own`'s zone.
    #[cold]
    fn above_cut<'a>(&'a self, qname: &Qname, own: &'a Arc<Block>) -> Option<&'a Arc<Block>> {
        match self.blocks.nearest_from(qname, 1) {
            Some((above, parent)) if above < qname.label_count() => Some(parent),
            _ => Some(own),
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
