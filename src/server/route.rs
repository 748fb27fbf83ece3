//! Which server block serves a name: the blocks of one listener by zone ([`ZoneMap`]). A look-up allocates nothing and counts no
//! reference, and costs the same with one block as with ten thousand.
//!
//! ```text
//! find ──► the first block of the longest zone ─┬─ has no view ──► it serves
//!                                              └─ has a view ──► choose: the blocks of that zone in file order, then those of the zones above
//! ```
//!
//! Without views there is one block to a zone, and what they cost is the question whether that one has a view.

use std::collections::HashMap;
use std::sync::Arc;

use chain::setup::{ListenerBounds, ProxyProtocol, StreamLimits};
use chain::{Block, Exchange, Router, Transport, ZoneMap};
use rustls::ServerConfig;
use telemetry::traffic::Traffic;
use wire::{Class, NameBuf, Opcode, Qname, Type};

use crate::backlog::Shed;

/// The blocks of one listener.
pub(crate) struct Table {
    /// By zone; of several blocks of one zone the first is found.
    blocks: ZoneMap<Arc<Block>>,
    /// All blocks of a zone in file order, where one of the listener has a view.
    views: Option<ZoneMap<Vec<Arc<Block>>>>,
    /// Bounds of stream connections: those of the first block.
    pub(crate) streams: StreamLimits,
    /// TLS of its connections, with the listener's ALPN; without, they are in clear text.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// What is spoken on the listener.
    pub(crate) transport: Transport,
    /// The label of the listener in metrics.
    pub(crate) server: Arc<str>,
    /// What clients of one socket may hold.
    pub(crate) bounds: ListenerBounds,
    /// Whose headers of the PROXY protocol are believed.
    pub(crate) proxy: Option<Arc<ProxyProtocol>>,
    /// Counts the queries that no block serves.
    pub(crate) dropped: Option<Arc<Traffic>>,
    /// Counts what overload drops, where a block wants that.
    pub(crate) shed: Option<Shed>,
    /// The first block that tells its server cookie to who asks no question.
    pub(crate) questionless: Option<Arc<Block>>,
    /// Whether a block takes updates (RFC 2136).
    pub(crate) updates: bool,
}

impl Table {
    /// A table of blocks in file order.
    pub(crate) fn new(blocks: Vec<Arc<Block>>, streams: StreamLimits) -> Self {
        let dropped = blocks
            .first()
            .map(|block| Traffic::dropped(block.info.server.clone()));
        let updates = blocks.iter().any(|block| takes_updates(block));
        let questionless = blocks.iter().find(|block| tells_cookies(block)).cloned();
        let has_views = blocks.iter().any(|block| block.is_filtered());
        let views = has_views.then(|| ZoneMap::new(by_zone(&blocks)));
        let blocks = blocks.into_iter().map(|block| (block.info.origin, block));
        Self {
            blocks: ZoneMap::new(blocks),
            views,
            streams,
            tls: None,
            transport: Transport::Udp,
            server: "".into(),
            bounds: ListenerBounds::default(),
            proxy: None,
            dropped,
            shed: None,
            questionless,
            updates,
        }
    }

    /// The blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.values()
    }

    /// All blocks, those with a view too.
    pub(crate) fn every_block(&self) -> Vec<&Arc<Block>> {
        match &self.views {
            Some(views) => views.values().flatten().collect(),
            None => self.blocks.values().collect(),
        }
    }

    /// Whether a block serves `qname`.
    pub(crate) fn serves(&self, qname: &Qname, qtype: Type) -> bool {
        self.find(qname, qtype).is_some()
    }

    /// The block that serves the query of `exchange`.
    #[inline]
    pub(crate) fn serving(&self, exchange: &mut Exchange) -> Option<&Arc<Block>> {
        let block = self.find(&exchange.parsed.qname, exchange.parsed.qtype)?;
        if block.is_filtered() {
            return self.choose_by_view(exchange);
        }
        Some(block)
    }

    /// The first block of the longest zone, in file order, whose view takes the query; where none of a zone's does, those of the zone
    /// above it are asked. DS as in [`Table::find`].
    #[cold]
    fn choose_by_view(&self, exchange: &mut Exchange) -> Option<&Arc<Block>> {
        let views = self.views.as_ref()?;
        let labels = exchange.parsed.qname.label_count();
        let (mut skip, mut own) = (0, None);
        while let Some((less, blocks)) = views.nearest_from(&exchange.parsed.qname, skip) {
            skip = less + 1;
            let takes = |block: &&Arc<Block>| exchange.is_served_by(block);
            let Some(block) = blocks.iter().find(takes) else {
                continue;
            };
            if exchange.parsed.qtype == Type::DS && less == 0 && labels > 0 {
                own = Some(block);
            } else if less == labels && own.is_some() {
                break;
            } else {
                return Some(block);
            }
        }
        own
    }

    /// The first block whose zone encloses `qname` most closely.
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

    fn choose(&self, exchange: &mut Exchange) -> Option<Arc<Block>> {
        let block = self.serving(exchange).cloned();
        if self.views.is_some() {
            exchange.choose_by_client();
        }
        block
    }
}

/// Whether a plugin of the block answers a query without a question.
fn tells_cookies(block: &Block) -> bool {
    let mut steps = block.chain.steps().iter();
    steps.any(|step| step.admits().questionless)
}

/// Whether a plugin of the block makes updates.
fn takes_updates(block: &Block) -> bool {
    let mut steps = block.chain.steps().iter();
    steps.any(|step| !step.admits().watches && step.admits().has(Opcode::UPDATE, Class::IN))
}

/// The blocks of each zone, in their order.
fn by_zone(blocks: &[Arc<Block>]) -> Vec<(NameBuf, Vec<Arc<Block>>)> {
    let mut zones: Vec<(NameBuf, Vec<Arc<Block>>)> = Vec::new();
    let mut places = HashMap::new();
    for block in blocks {
        let origin = block.info.origin;
        let place = *places.entry(block.info.zone.clone()).or_insert(zones.len());
        match zones.get_mut(place) {
            Some((_, members)) => members.push(block.clone()),
            None => zones.push((origin, vec![block.clone()])),
        }
    }
    zones
}

#[cfg(test)]
mod tests {
    use chain::{BlockInfo, Filter, Query};

    use super::*;
    use crate::testing::{block, query, received};

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

    /// Takes queries of one type.
    struct Takes(Type);

    impl Filter for Takes {
        fn admits(&self, query: &Query<'_>) -> bool {
            query.qtype() == self.0
        }
    }

    /// A block of a zone, whose server label says which; it takes all queries, or those of one type.
    fn viewed(zone: &str, name: &str, takes: Option<Type>) -> Arc<Block> {
        let plain = block(zone, vec![]);
        let info = BlockInfo {
            view: name.into(),
            ..plain.info.clone()
        };
        let filter = takes.map(|qtype| Arc::new(Takes(qtype)) as Arc<dyn Filter>);
        Arc::new(Block::new(info, plain.chain.clone()).filtered(filter))
    }

    #[test]
    fn the_first_view_that_takes_a_query_serves_it() {
        let table = Table::new(
            vec![
                viewed(".", "root", None),
                viewed("org.", "org-ds", Some(Type::DS)),
                viewed("example.org.", "a", Some(Type::A)),
                viewed("example.org.", "aaaa", Some(Type::AAAA)),
                viewed("example.org.", "ds", Some(Type::DS)),
                viewed("first.org.", "rest", None),
                viewed("first.org.", "never", Some(Type::A)),
                viewed("last.org.", "mx", Some(Type::MX)),
                viewed("last.org.", "others", None),
                viewed("net.", "net", Some(Type::DS)),
            ],
            StreamLimits::default(),
        );
        for (qname, qtype, expected) in [
            ("www.example.org.", 1, "a"),
            ("example.org.", 28, "aaaa"),
            // No view of the zone takes it, and no zone above but the root's.
            ("www.example.org.", 15, "root"),
            ("example.org.", 15, "root"),
            // DS is the parent's, and the own zone's before the root's.
            ("example.org.", 43, "org-ds"),
            ("www.example.org.", 43, "ds"),
            ("net.", 43, "net"),
            ("net.", 1, "root"),
            ("www.first.org.", 1, "rest"),
            ("www.last.org.", 15, "mx"),
            ("www.last.org.", 16, "others"),
            ("example.com.", 1, "root"),
        ] {
            let mut exchange = received(&query(0, qname, qtype, 0, &[]));
            exchange.parse().expect("a query");
            let found = table.serving(&mut exchange).map(|block| &*block.info.view);
            assert_eq!(found, Some(expected), "{qname} {qtype}");
            let chosen = table.choose(&mut exchange);
            assert_eq!(
                chosen.map(|block| block.info.view.to_string()).as_deref(),
                found
            );
        }
        let only = vec![viewed("example.org.", "a", Some(Type::A))];
        let table = Table::new(only, StreamLimits::default());
        let mut exchange = received(&query(0, "www.example.org.", 28, 0, &[]));
        exchange.parse().expect("a query");
        assert!(table.serving(&mut exchange).is_none());
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
