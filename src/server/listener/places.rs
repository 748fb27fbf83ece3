//! The places that a listener has for connections, where its transport bounds them ([`chain::setup::ListenerBounds`]).
//!
//! They are shared as all that clients hold is ([`Shares`]): whoever comes gets one, and the longest idle connection of the client that
//! has most is closed for it. A socket has its part of the listener's places.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::admission::{Prefix, Shares, Ticket, evicted_connections};

/// The places of one socket.
pub(crate) struct Places(RefCell<Shares<Occupant>>);

/// The connection in a place.
struct Occupant {
    /// Closes it.
    close: Rc<Notify>,
    /// Whether it has no query.
    idle: bool,
}

/// A connection's place, until it is dropped.
pub(crate) struct Place {
    places: Rc<Places>,
    ticket: Ticket,
}

impl Default for Places {
    fn default() -> Self {
        Self(RefCell::new(Shares::new(usize::MAX)))
    }
}

impl Places {
    /// Gives a connection one of so many places; for none, they are not bounded.
    pub(crate) fn enter(
        self: &Rc<Self>,
        client: IpAddr,
        count: usize,
        close: Rc<Notify>,
    ) -> Option<Place> {
        if count == 0 {
            return None;
        }
        let mut shares = self.0.borrow_mut();
        shares.set_limit(count);
        let occupant = Occupant { close, idle: true };
        let ticket = shares.enter(Prefix::of(client), 1, occupant);
        while shares.is_over() {
            let Some((displaced, occupant)) = shares.displaced(|other| other.idle) else {
                break;
            };
            evicted_connections().inc();
            occupant.close.notify_one();
            shares.weigh(displaced, 0);
        }
        drop(shares);
        let places = self.clone();
        Some(Place { places, ticket })
    }
}

impl Place {
    /// Something came or left on the connection; `idle` says whether no query of it waits.
    pub(crate) fn active(&self, idle: bool) {
        let mut shares = self.places.0.borrow_mut();
        if let Some(occupant) = shares.get_mut(self.ticket) {
            occupant.idle = idle;
        }
        shares.touch(self.ticket);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.borrow_mut().leave(self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_gets_a_place_and_the_largest_holder_loses_one() {
        let places = Rc::new(Places::default());
        let come = |last: u8| {
            let close = Rc::new(Notify::new());
            let client = IpAddr::from([192, 0, 2, last]);
            let place = places.enter(client, 3, close.clone()).expect("a bound");
            (place, close)
        };
        let told = |close: &Notify| {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            std::pin::pin!(close.notified())
                .poll(&mut context)
                .is_ready()
        };
        let many = [come(1), come(1), come(1)];
        many[0].0.active(false);
        let _other = come(2);
        assert_eq!(
            many.map(|(_place, close)| told(&close)),
            [false, true, false]
        );
        // Those that have left hold nothing.
        let later = [come(1), come(1)];
        assert!(later.iter().all(|(_, close)| !told(close)));
        assert!(
            places
                .enter(IpAddr::from([192, 0, 2, 3]), 0, Rc::default())
                .is_none()
        );
    }
}
