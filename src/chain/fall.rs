//! `fallthrough [ZONES...]`: which names a plugin hands on when it does not know them.

use corefile::{Line, Report};
use wire::{NameBuf, Qname};

use crate::setup::Answers;

/// The zones whose unknown names go on to the next plugin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Fallthrough {
    /// None: the plugin has the last word.
    #[default]
    No,
    /// All.
    All,
    /// The names in these zones (lower case).
    Zones(Vec<NameBuf>),
}

impl Fallthrough {
    /// Reads `fallthrough [ZONES...]`. Repeating it replaces what stood before, so the caller assigns.
    pub fn parse(line: &Line, report: &mut Report) -> Self {
        let zones = line.words.get(1..).unwrap_or_default();
        if zones.is_empty() {
            return Self::All;
        }
        match corefile::value::zones_or_cidrs(zones) {
            Ok(zones) => Self::Zones(
                zones
                    .iter()
                    .filter_map(|zone| zone.parse::<NameBuf>().ok())
                    .map(NameBuf::to_lower)
                    .collect(),
            ),
            Err(diagnostic) => {
                report.push(diagnostic);
                Self::No
            }
        }
    }

    /// Whether `qname` goes on to the next plugin.
    pub fn through(&self, qname: &Qname) -> bool {
        match self {
            Self::No => false,
            Self::All => true,
            Self::Zones(zones) => zones.iter().any(|zone| qname.is_within(zone.as_name())),
        }
    }

    /// How far the answers of a plugin reach that hands on so.
    pub fn reach(&self) -> Answers {
        match self {
            Self::No => Answers::Everything,
            Self::All | Self::Zones(_) => Answers::SomeNames,
        }
    }

    /// Whether every name goes on.
    pub fn is_all(&self) -> bool {
        match self {
            Self::All => true,
            Self::No => false,
            Self::Zones(zones) => zones.iter().any(|zone| zone.as_name().is_root()),
        }
    }
}
