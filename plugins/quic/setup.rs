//! Reads `quic` lines.

use chain::Transport;
use chain::setup::{ListenerBounds, Parse, Registration, Setup, TransportBounds};

/// `quic` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "quic",
    parse,
    handler: false,
};

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut bounds = ListenerBounds::default();
    parse.bounds(
        1,
        &mut [
            ("max_streams", &mut bounds.streams),
            ("worker_pool_size", &mut bounds.queries),
        ],
    );
    Some(Box::new(TransportBounds {
        transport: Transport::Quic,
        bounds,
    }))
}
