//! The `upstream` of a network: who is asked for names of no lab by its hosts.

use std::net::SocketAddr;
use std::sync::Arc;

use chain::{Exchange, Failure, Flow};
use host::clock;
use upstream::message::Matching;
use upstream::{
    Bounds, Endpoint, Keep, LastFailure, Order, Policy, Protocol, Settings, Status, Verdict,
};

/// Servers, in the order in which they are asked.
pub(super) struct Outside {
    all: Box<[Arc<Endpoint>]>,
    settings: Settings,
}

impl Outside {
    /// Of these addresses.
    pub(super) fn new(addresses: &[SocketAddr]) -> Self {
        let endpoint = |address: &SocketAddr| Endpoint::of(*address, Protocol::Dns, None);
        let all: Box<[_]> = addresses.iter().map(endpoint).collect();
        let settings = Settings {
            bounds: Bounds {
                deadline: 5 * clock::SECOND,
                timeout: clock::SECOND,
                attempts: 2 * all.len() as u32,
            },
            matching: Matching::Question,
            force_tcp: false,
            prefer_udp: false,
            keep: Keep {
                expire: 10 * clock::SECOND,
                max_age: 0,
                max_idle: 0,
                connect: 2 * clock::SECOND,
            },
            servers: Endpoint::set(&all),
        };
        Self { all, settings }
    }
}

impl Policy for Outside {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn order(&self) -> Order {
        Order::new(0, self.all.len(), 0)
    }

    fn endpoint(&self, server: usize) -> &Arc<Endpoint> {
        &self.all[server]
    }

    fn status(&self, _: usize) -> Status {
        Status::Up
    }

    fn suspect(&self, _: usize) {}

    fn full(&self) -> Failure {
        Failure::servfail("too many queries wait for upstreams on one worker")
    }

    fn judge(&self, _: usize, _: &mut Exchange, _: u64) -> Verdict {
        Verdict {
            flow: Flow::Answered,
            unwanted: false,
        }
    }

    fn failure(&self, last: Option<&LastFailure>, attempts: u32) -> Failure {
        match last {
            Some(last) => last.told(&self.all[last.server], attempts),
            None => Failure::servfail("no upstream of the network was asked"),
        }
    }
}
