//! Metadata: what the plugins of a server block know of a query, by label (`kubernetes/namespace`), for those that read labels.
//!
//! ```text
//! load    metadata ──► Build::collect_labels ──► Chain { Collected }: which steps have Hooks::LABELS, and for which names
//! query   whoever learns a value on the way ──► Query::note("forward/upstream", …)     only where the block collects labels
//!         whoever reads one ──► Query::label("view/name") ──► notes, then the steps in order: Plugin::label
//! ```
//!
//! A value is made when it is read, so a label that nobody reads costs nothing; a note is kept by value. Without `metadata` in
//! the block there are no labels, no note is taken, and nobody is asked.

use std::fmt::Write;
use std::sync::Arc;

use corefile::{Diagnostic, Report, Span};
use wire::NameBuf;

use crate::plugin::Hooks;
use crate::query::Query;
use crate::setup::Scene;
use crate::walk::{Chain, Step};

/// The label of the upstream that answered: `ADDRESS:PORT`.
pub const UPSTREAM: &str = "forward/upstream";
/// The label of the wildcard that an answer was synthesised from (RFC 4592, section 3.3.1).
pub const WILDCARD: &str = "zone/wildcard";

/// Warns of a `label` that is read at `span` where no label is collected.
pub fn warn_uncollected(label: &str, span: Span, scene: &Scene<'_>, report: &mut Report) {
    if scene.directive("metadata").is_some() {
        return;
    }
    report.push(
        Diagnostic::warning("CF0318", format!("the label `{label}` is not collected"))
            .at(span, "it has no value here")
            .help("add `metadata` to this server block"),
    );
}

/// What a block collects labels with.
#[derive(Debug)]
pub(crate) struct Collected {
    /// The steps that have labels.
    providers: u64,
    /// The zones of `metadata`: for other names, the steps are not asked.
    zones: Box<[NameBuf]>,
}

impl Collected {
    pub(crate) fn new(steps: &[Step], zones: Vec<NameBuf>) -> Self {
        let steps = steps.iter().enumerate();
        let providers = steps
            .filter(|(_, step)| step.hooks().has(Hooks::LABELS))
            .fold(0, |bits, (at, _)| bits | 1 << at);
        Self {
            providers,
            zones: zones.into(),
        }
    }
}

/// The value of a label that was learnt on the way.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a name in a box would be an allocation for each query; the notes' room is kept"
)]
pub enum Note {
    /// A text that is known beforehand, and shared.
    Text(Arc<str>),
    /// A domain name.
    Name(NameBuf),
}

/// The notes of one query, the latest last. Their room is kept from query to query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Vec<(&'static str, Note)>);

impl Notes {
    /// Whether there are none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn find(&self, label: &str) -> Option<&Note> {
        let mut latest = self.0.iter().rev();
        latest
            .find(|(known, _)| *known == label)
            .map(|(_, note)| note)
    }
}

impl Chain {
    /// The same chain, which collects labels about the names in `zones`.
    pub fn collecting(mut self, zones: Vec<NameBuf>) -> Self {
        self.collected = Some(Collected::new(self.steps(), zones));
        self
    }

    /// The zones of names about which it collects labels; `None` where it collects none.
    pub fn collects_for(&self) -> Option<&[NameBuf]> {
        self.collected.as_ref().map(|collected| &*collected.zones)
    }
}

impl Query<'_> {
    /// Whether the server block collects labels, so that somebody may read one.
    #[inline]
    pub fn collects_labels(&self) -> bool {
        self.block.chain.collected.is_some()
    }

    /// Keeps what was learnt under `label`; without effect where the block collects no labels.
    pub fn note(&mut self, label: &'static str, note: Note) {
        if !self.collects_labels() {
            return;
        }
        let notes = &mut self.context.notes.0;
        match notes.iter_mut().find(|(known, _)| *known == label) {
            Some((_, old)) => *old = note,
            None => notes.push((label, note)),
        }
    }

    /// What was kept under `label`.
    #[inline]
    pub fn noted(&self, label: &str) -> Option<&Note> {
        self.context.notes.find(label)
    }

    /// Appends the value of `label` to `out`; `false`, and nothing appended, when nobody here has it.
    pub fn label(&self, label: &str, out: &mut String) -> bool {
        let Some(collected) = &self.block.chain.collected else {
            return false;
        };
        match self.noted(label) {
            Some(Note::Text(text)) => {
                out.push_str(text);
                return true;
            }
            // Writing to a String does not fail.
            Some(Note::Name(name)) => return write!(out, "{}", name.as_name()).is_ok(),
            None => {}
        }
        let asked = self.asked().qname.name();
        let mut zones = collected.zones.iter();
        if !zones.any(|zone| asked.is_within(zone.as_name())) {
            return false;
        }
        let before = out.len();
        let steps = self.block.chain.steps().iter().enumerate();
        for (at, step) in steps {
            if collected.providers & 1 << at == 0 {
                continue;
            }
            if step.plugin.label(self, label, out) {
                return true;
            }
            out.truncate(before);
        }
        false
    }
}
