//! What a query can meet: the listeners, their server blocks, and the Corefile that they come from.

use std::sync::Arc;

use chain::Block;
use corefile::key::Scheme;
use corefile::{FileId, Sources, Span};
use wire::{Qname, Type};

use super::record::{self, BlockVerdict};
use crate::listener::socket::Place;
use crate::route::Table;

/// Blocks that do not enclose the name and are listed all the same.
const MOST_OTHERS: usize = 8;

/// The texts of a Corefile, and the files among them whose lines are not shown.
#[derive(Default)]
pub(crate) struct Texts {
    pub(crate) sources: Sources,
    pub(crate) private: Vec<FileId>,
}

impl Texts {
    /// The place of `span`, as it is told.
    pub(crate) fn place(&self, span: Span) -> record::Place {
        let (line, _) = self.sources.line_column(span);
        let text = match self.private.contains(&span.file) {
            true => None,
            false => self.sources.text(span.file).lines().nth(line - 1),
        };
        record::Place {
            file: self.sources.name(span.file).to_owned(),
            line,
            text: text.unwrap_or_default().trim().to_owned(),
        }
    }
}

/// Everything that serves.
pub(crate) struct Scene {
    pub(crate) texts: Arc<Texts>,
    pub(crate) listeners: Vec<(Place, Arc<Table>)>,
}

impl Scene {
    /// The listener that a query to `at` comes to; without one, that of port `port`, or the first whose blocks enclose the name.
    pub(crate) fn listener(
        &self,
        at: Option<&str>,
        port: u16,
        (qname, qtype): (&Qname, Type),
    ) -> Result<usize, String> {
        let plain = |place: &Place| place.scheme == Scheme::Dns;
        if let Some(at) = at {
            let (host, wanted) = split(at)?;
            let wanted = wanted.unwrap_or(port);
            let fits = |(place, _): &(Place, _)| {
                let here = place.ip.is_none() || host.is_none() || place.ip == host;
                plain(place) && here && place.port == wanted
            };
            return self.listeners.iter().position(fits).ok_or_else(|| {
                format!("nothing listens at {at}: {}", self.labels(None).join(", "))
            });
        }
        let serves = |(_, table): &(Place, Arc<Table>)| table.serves(qname, qtype);
        let ranked = self.listeners.iter().enumerate();
        ranked
            .max_by_key(|(number, one)| {
                let rank = (plain(&one.0), one.0.port == port, serves(one));
                (rank, std::cmp::Reverse(*number))
            })
            .map(|(number, _)| number)
            .ok_or_else(|| "nothing listens".to_owned())
    }

    /// The labels of all listeners but one.
    pub(crate) fn labels(&self, but: Option<usize>) -> Vec<String> {
        let listeners = self.listeners.iter().enumerate();
        listeners
            .filter(|(number, _)| Some(*number) != but)
            .map(|(_, (place, _))| place.label())
            .collect()
    }

    /// The blocks of a listener, the chosen one first, and how many more there are that do not enclose the name.
    pub(crate) fn blocks(
        &self,
        table: &Table,
        (qname, qtype): (&Qname, Type),
        chosen: Option<&Arc<Block>>,
    ) -> (Vec<BlockVerdict>, usize) {
        let mut all: Vec<_> = table
            .every_block()
            .into_iter()
            .map(|block| {
                let is_chosen = chosen.is_some_and(|chosen| Arc::ptr_eq(chosen, block));
                let encloses = qname.is_within(block.info.origin.as_name());
                (is_chosen, encloses, block)
            })
            .collect();
        all.sort_by_key(|(is_chosen, encloses, block)| {
            let zone = &block.info.zone;
            (
                !is_chosen,
                !encloses,
                std::cmp::Reverse(zone.len()),
                zone.clone(),
            )
        });
        let enclosing = all.iter().filter(|(_, encloses, _)| *encloses).count();
        let shown = (enclosing + MOST_OTHERS).min(all.len());
        let more = all.len() - shown;
        let verdict = |(is_chosen, encloses, block): &(bool, bool, &Arc<Block>)| BlockVerdict {
            zone: block.info.zone.to_string(),
            view: block.info.view.to_string(),
            place: block.chain.place().map(|span| self.texts.place(span)),
            chosen: *is_chosen,
            why: why((*is_chosen, *encloses), block, chosen, (qname, qtype)),
        };
        (all[..shown].iter().map(verdict).collect(), more)
    }
}

/// Why a block serves a query, or does not.
fn why(
    (is_chosen, encloses): (bool, bool),
    block: &Block,
    chosen: Option<&Arc<Block>>,
    (qname, qtype): (&Qname, Type),
) -> String {
    let own = |block: &Block| block.info.origin.as_name() == qname.name();
    if is_chosen {
        let base = match qtype == Type::DS && !own(block) {
            true => "the nearest zone above the name, which is where DS records are",
            false => "the longest zone that encloses the name",
        };
        return match block.info.view.is_empty() {
            true => base.to_owned(),
            false => format!("{base}, and its view `{}` holds", block.info.view),
        };
    }
    if !encloses {
        return "does not enclose the name".to_owned();
    }
    if block.chain.steps().is_empty() {
        return "encloses the name, but has no plugin".to_owned();
    }
    let Some(chosen) = chosen else {
        return "encloses the name, but did not accept the query".to_owned();
    };
    if chosen.info.zone == block.info.zone {
        return format!("its view `{}` is not true, or comes later", block.info.view);
    }
    if qtype == Type::DS && own(block) {
        return "DS records are in the zone above".to_owned();
    }
    format!("encloses the name, but `{}` is longer", chosen.info.zone)
}

/// `[HOST][:PORT]`.
fn split(at: &str) -> Result<(Option<std::net::IpAddr>, Option<u16>), String> {
    let wrong = || format!("{at}: not an address: expected `HOST`, `HOST:PORT` or `:PORT`");
    if let Ok(ip) = at.parse() {
        return Ok((Some(ip), None));
    }
    if let Ok(address) = at.parse::<std::net::SocketAddr>() {
        return Ok((Some(address.ip()), Some(address.port())));
    }
    let port = at.strip_prefix(':').ok_or_else(wrong)?;
    Ok((None, Some(port.parse().map_err(|_| wrong())?)))
}
