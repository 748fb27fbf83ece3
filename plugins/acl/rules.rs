//! A rule: its zones, and what its policies say of an address and a type.
//!
//! The policies are in order and the first one that fits decides. At load that is worked out for every address: for each kind of
//! type (one table for each type that a policy names, one for the rest) the addresses are cut into ranges, each with its action. Many
//! ranges have an index by the first half of an address, so that a search looks at few of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

use chain::ZoneMap;
use ipnet::IpNet;
use wire::{NameBuf, Qname, Type};

/// What becomes of a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// The next plugin is asked.
    Allow,
    /// REFUSED.
    Block,
    /// An empty answer.
    Filter,
    /// Nobody answers.
    Drop,
}

impl Action {
    /// What it does, in a word.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allowed",
            Self::Block => "blocked",
            Self::Filter => "filtered",
            Self::Drop => "dropped",
        }
    }
}

/// One line of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Policy {
    /// What it does.
    pub(super) action: Action,
    /// The types that it is about; `None` is all.
    pub(super) types: Option<BTreeSet<u16>>,
    /// The networks that it is about; `None` is all.
    pub(super) nets: Option<Vec<IpNet>>,
}

/// The actions of addresses of one kind: from each start on, up to the next.
#[derive(Debug)]
struct Ranges<A> {
    starts: Box<[A]>,
    actions: Box<[Option<Action>]>,
}

impl<A: Copy + Ord> Ranges<A> {
    #[inline]
    fn of(&self, address: A) -> Option<Action> {
        self.among(0..self.starts.len(), address)
    }

    /// The action of an address, which is that of the last range to begin before `known.end` and not behind the address. Those before
    /// `known.start` are not behind it.
    #[inline]
    fn among(&self, known: Range<usize>, address: A) -> Option<Action> {
        let searched = self.starts.get(known.clone())?;
        let after = known.start + searched.partition_point(|start| *start <= address);
        *self.actions.get(after.checked_sub(1)?)?
    }
}

/// Ranges of IPv4 addresses beyond this many are indexed, for 256 KiB.
const FEW: usize = 256;
/// The values of the first half of an IPv4 address.
const HALVES: usize = 1 << 16;

/// The actions of addresses for one kind of type.
#[derive(Debug)]
struct Table {
    v4: Ranges<u32>,
    /// For each first half of an IPv4 address, and behind the last one, how many ranges begin before it; empty for few ranges.
    index: Box<[u32]>,
    v6: Ranges<u128>,
}

impl Table {
    fn new(policies: &[&Policy]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (number, policy) in policies.iter().enumerate() {
            match &policy.nets {
                None => {
                    v4.push((0, u32::MAX, number));
                    v6.push((0, u128::MAX, number));
                }
                Some(nets) => {
                    for net in nets {
                        match net {
                            IpNet::V4(net) => {
                                v4.push((net.network().into(), net.broadcast().into(), number));
                            }
                            IpNet::V6(net) => {
                                v6.push((net.network().into(), net.broadcast().into(), number));
                            }
                        }
                    }
                }
            }
        }
        let action = |number: usize| policies.get(number).map(|policy| policy.action);
        let v4 = ranges(&v4, |end| end.checked_add(1), action);
        let before = |half: usize| {
            v4.starts
                .partition_point(|start| (*start as usize) < half << 16)
        };
        let halves = if v4.starts.len() > FEW { HALVES + 1 } else { 0 };
        Self {
            index: (0..halves).map(|half| before(half) as u32).collect(),
            v4,
            v6: ranges(&v6, |end| end.checked_add(1), action),
        }
    }

    #[inline]
    fn of(&self, address: IpAddr) -> Option<Action> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.of_v4(address.into()),
            IpAddr::V6(address) => self.v6.of(address.into()),
        }
    }
}

impl Table {
    #[inline]
    fn of_v4(&self, address: u32) -> Option<Action> {
        let half = (address >> 16) as usize;
        match self.index.get(half..half + 2) {
            Some(&[from, to]) => self.v4.among(from as usize..to as usize, address),
            _ => self.v4.of(address),
        }
    }
}

/// Cuts the addresses where a network begins or ends; of the networks (first and last address, policy) that cover a range the one of
/// the first policy decides.
fn ranges<A: Copy + Ord + Default>(
    nets: &[(A, A, usize)],
    next: impl Fn(A) -> Option<A>,
    action: impl Fn(usize) -> Option<Action>,
) -> Ranges<A> {
    let mut changes: BTreeMap<A, Vec<(usize, bool)>> = BTreeMap::new();
    for (first, last, policy) in nets {
        changes.entry(*first).or_default().push((*policy, true));
        if let Some(behind) = next(*last) {
            changes.entry(behind).or_default().push((*policy, false));
        }
    }
    // How many networks of each policy cover the range at hand.
    let mut covering: BTreeMap<usize, usize> = BTreeMap::new();
    let (mut starts, mut actions) = (Vec::new(), Vec::new());
    for (start, changed) in changes {
        for (policy, begins) in changed {
            let count = covering.entry(policy).or_default();
            *count = if begins {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
            if *count == 0 {
                covering.remove(&policy);
            }
        }
        let now = covering.keys().next().and_then(|policy| action(*policy));
        if actions.last() != Some(&now) {
            starts.push(start);
            actions.push(now);
        }
    }
    Ranges {
        starts: starts.into(),
        actions: actions.into(),
    }
}

/// The rules of one `acl` line.
#[derive(Debug)]
pub(super) struct Rule {
    /// The numbers of its zones.
    zones: ZoneMap<u32>,
    /// What its zones are called in metrics.
    names: Box<[String]>,
    /// The types that policies name.
    types: Box<[u16]>,
    /// The table of each of them, and behind these that of the other types.
    tables: Box<[Table]>,
}

impl Rule {
    pub(super) fn new(zones: Vec<(String, NameBuf)>, policies: &[Policy]) -> Self {
        let about = |qtype: Option<u16>| {
            let fits = |policy: &&Policy| match (&policy.types, qtype) {
                (None, _) => true,
                (Some(types), Some(qtype)) => types.contains(&qtype),
                (Some(_), None) => false,
            };
            Table::new(&policies.iter().filter(fits).collect::<Vec<_>>())
        };
        let named: BTreeSet<u16> = policies
            .iter()
            .flat_map(|policy| policy.types.iter().flatten().copied())
            .collect();
        let (names, zones): (Vec<_>, Vec<_>) = zones.into_iter().unzip();
        let numbered = zones.into_iter().map(NameBuf::to_lower).zip(0..);
        Self {
            zones: ZoneMap::new(numbered),
            names: names.into(),
            tables: named
                .iter()
                .copied()
                .map(Some)
                .chain([None])
                .map(about)
                .collect(),
            types: named.into_iter().collect(),
        }
    }

    /// The number of its zone that encloses `name` most closely.
    #[inline]
    pub(super) fn zone(&self, name: &Qname) -> Option<u32> {
        self.zones.nearest(name).copied()
    }

    /// What its zones are called.
    pub(super) fn zone_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// What the first policy does that is about this type and this address.
    #[inline]
    pub(super) fn action(&self, qtype: Type, address: IpAddr) -> Option<Action> {
        let named = self.types.iter().position(|named| *named == qtype.0);
        self.tables
            .get(named.unwrap_or(self.types.len()))?
            .of(address)
    }
}
