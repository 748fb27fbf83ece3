//! `loadbalance`: puts the records of a response in another order.
//!
//! Records are permuted where they stand. A record moves as octets when no compression pointer names a place that moves;
//! that is so for answers made ready at load and for nearly all forwarded ones. Otherwise the response is written anew, its names
//! expanded and compressed again. Scratch space is kept per worker: after the first responses nothing is allocated.

mod order;
mod random;
mod setup;
#[cfg(test)]
mod tests;
mod weights;

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chain::{Admits, Hooks, Plugin, Query, Turn};
use wire::{Rcode, Record, Response, Section, Type};

use self::order::Scratch;
use self::weights::Weights;

pub(crate) use setup::REGISTRATION;

/// How records are put in order.
pub(crate) struct LoadBalance {
    policy: Policy,
    prefer: Vec<Prefix>,
}

/// What comes first.
enum Policy {
    /// Any address, any MX record.
    Random,
    /// An address by its weight.
    Weighted(Arc<ArcSwap<Weights>>),
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// Whether `address` is one of them.
    fn contains(self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let shift = width - u32::from(self.len);
            shift >= 128 || (a ^ b) >> shift == 0
        };
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What kind of record it is, to the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Group {
    Alias,
    Address,
    Mx,
    Rest,
}

impl Group {
    fn of(rtype: Type) -> Self {
        match rtype {
            Type::CNAME => Self::Alias,
            Type::A | Type::AAAA => Self::Address,
            Type::MX => Self::Mx,
            _ => Self::Rest,
        }
    }
}

/// The address in an A or AAAA record.
fn address(record: &Record<'_>) -> Option<IpAddr> {
    let rdata = record.rdata();
    match record.rtype {
        Type::A => <[u8; 4]>::try_from(rdata).ok().map(IpAddr::from),
        Type::AAAA => <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from),
        _ => None,
    }
}

impl Plugin for LoadBalance {
    fn name(&self) -> &'static str {
        "loadbalance"
    }

    fn admits(&self) -> Admits {
        Admits::WATCHED
    }

    fn hooks(&self) -> Hooks {
        Hooks::RESPONSE
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        let qtype = query.qtype();
        if response.rcode() == Rcode::NOERROR && !matches!(qtype, Type::AXFR | Type::IXFR) {
            SCRATCH.with_borrow_mut(|scratch| self.arrange(qtype, response, scratch));
        }
        Turn::Up
    }
}

impl LoadBalance {
    /// Puts all sections in order.
    fn arrange(&self, qtype: Type, response: &mut Response<'_>, scratch: &mut Scratch) {
        let weighted = matches!(self.policy, Policy::Weighted(_));
        let by_weight = matches!(qtype, Type::A | Type::AAAA | Type::SRV);
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        if sections.iter().all(|&section| response.count(section) < 2) {
            return;
        }
        scratch.read(response);
        for section in sections {
            if response.count(section) < 2 {
                continue;
            }
            let inner = section != Section::Authority;
            match &self.policy {
                Policy::Random => scratch.shuffle(section),
                Policy::Weighted(weights) if inner && by_weight => {
                    scratch.weigh(section, response, &weights.load());
                }
                Policy::Weighted(_) => {}
            }
            if inner && !self.prefer.is_empty() && !weighted {
                scratch.prefer(section, response, &self.prefer);
            }
        }
        scratch.write(response);
    }
}
