//! The counters of `template`; names and labels are CoreDNS's.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chain::BlockInfo;
use prometheus_client::metrics::counter::Counter;
use telemetry::metrics::{Striped, family};
use wire::{Class, Type};

type Labels = Vec<(&'static str, String)>;

/// The types whose counters are kept; those of others are looked up.
const TYPES: [Type; 12] = [
    Type::A,
    Type::AAAA,
    Type::ANY,
    Type::CNAME,
    Type::HTTPS,
    Type::MX,
    Type::NS,
    Type::PTR,
    Type::SOA,
    Type::SRV,
    Type::SVCB,
    Type::TXT,
];

/// What a match is counted under.
#[derive(Clone, Copy)]
pub(super) struct Matched<'a> {
    /// The number of the template and its zone.
    pub(super) at: usize,
    /// The zone.
    pub(super) zone: &'a str,
    /// The class.
    pub(super) class: Class,
    /// The type.
    pub(super) rtype: Type,
}

/// The counters of one block.
struct Counts {
    server: Arc<str>,
    view: Arc<str>,
    matches: Box<[[OnceLock<Striped>; TYPES.len()]]>,
}

impl Counts {
    fn labels(&self, matched: Matched<'_>) -> Labels {
        vec![
            ("server", self.server.to_string()),
            ("zone", matched.zone.to_owned()),
            ("view", self.view.to_string()),
            ("class", matched.class.to_string()),
            ("type", matched.rtype.to_string()),
        ]
    }

    fn counter(&self, matched: Matched<'_>) -> Striped {
        family::<Labels, Striped>(
            "coredns_template_matches",
            "Counter of template regex matches.",
        )
        .get_or_create_owned(&self.labels(matched))
    }
}

/// A block's number and its counters.
type Numbered = (usize, Arc<Counts>);

/// The counters by block: collected while blocks are attached, frozen by the first query, then read without a lock.
pub(super) struct Metrics {
    /// How many pairs of template and zone there are.
    pairs: usize,
    attached: Mutex<Vec<Numbered>>,
    frozen: OnceLock<Box<[Numbered]>>,
}

impl Metrics {
    /// No blocks yet.
    pub(super) fn new(pairs: usize) -> Self {
        Self {
            pairs,
            attached: Mutex::default(),
            frozen: OnceLock::new(),
        }
    }

    /// Learns a block.
    pub(super) fn attach(&self, info: &BlockInfo) {
        let counts = Counts {
            server: info.server.clone(),
            view: info.view.clone(),
            matches: (0..self.pairs).map(|_| Default::default()).collect(),
        };
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        attached.push((info.index, Arc::new(counts)));
    }

    #[inline]
    fn of(&self, block: usize) -> Option<&Counts> {
        let frozen = self.frozen.get_or_init(|| {
            let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
            attached.sort_by_key(|(index, _)| *index);
            attached.clone().into()
        });
        if let [(only, counts)] = &**frozen {
            return (*only == block).then_some(counts);
        }
        let place = frozen
            .binary_search_by_key(&block, |(index, _)| *index)
            .ok()?;
        frozen.get(place).map(|(_, counts)| &**counts)
    }

    /// Counts a match.
    #[inline]
    pub(super) fn matched(&self, block: usize, worker: usize, matched: Matched<'_>) {
        let Some(counts) = self.of(block) else { return };
        let kept = TYPES.iter().position(|rtype| *rtype == matched.rtype);
        let slot = kept
            .filter(|_| matched.class == Class::IN)
            .and_then(|at| counts.matches.get(matched.at)?.get(at));
        match slot {
            Some(slot) => slot.get_or_init(|| counts.counter(matched)).inc(worker),
            None => counts.counter(matched).inc(worker),
        }
    }

    /// Counts a record that could not be made: `evaluated` says whether the template wrote something.
    #[cold]
    pub(super) fn failed(
        &self,
        block: usize,
        matched: Matched<'_>,
        (section, template): (&str, &str),
        evaluated: bool,
    ) {
        let Some(counts) = self.of(block) else { return };
        let mut labels = counts.labels(matched);
        labels.push(("section", section.to_owned()));
        labels.push(("template", template.to_owned()));
        let (name, help) = match evaluated {
            false => (
                "coredns_template_template_failures",
                "Counter of go template failures.",
            ),
            true => (
                "coredns_template_rr_failures",
                "Counter of mis-templated RRs.",
            ),
        };
        family::<Labels, Counter>(name, help)
            .get_or_create_owned(&labels)
            .inc();
    }
}
