//! How many transfers there are at a time, in all and by client. Beyond, a transfer is refused: its client tries again later.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Transfers at a time.
pub(super) const ALL: usize = 10;
/// Transfers of one client at a time: BIND asks for as many (`transfers-per-ns`).
pub(super) const CLIENT: usize = 2;

static UNDER_WAY: Mutex<Option<HashMap<IpAddr, usize>>> = Mutex::new(None);

fn under_way() -> MutexGuard<'static, Option<HashMap<IpAddr, usize>>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one client: an IPv4 address, or an IPv6 prefix of 56 bits.
fn client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() >> 72 << 72).into(),
    }
}

/// A transfer that is counted.
#[derive(Debug)]
pub(super) struct Permit(IpAddr);

impl Permit {
    /// Counts a transfer to this address; `None` where there are too many.
    pub(super) fn take(address: IpAddr) -> Option<Self> {
        let client = client(address);
        let mut all = under_way();
        let all = all.get_or_insert_default();
        if all.values().sum::<usize>() >= ALL {
            return None;
        }
        let own = all.entry(client).or_default();
        if *own >= CLIENT {
            return None;
        }
        *own += 1;
        Some(Self(client))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut all = under_way();
        let all = all.get_or_insert_default();
        if let Some(own) = all.get_mut(&self.0) {
            *own -= 1;
            if *own == 0 {
                all.remove(&self.0);
            }
        }
    }
}
