//! Reads `https` lines.

use chain::Transport;
use chain::setup::{ListenerBounds, Parse, Registration, Setup, TransportBounds};

/// `https` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "https",
    parse,
    handler: false,
};

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut bounds = ListenerBounds::default();
    parse.bounds(0, &mut [("max_connections", &mut bounds.connections)]);
    Some(Box::new(TransportBounds {
        transport: Transport::Https,
        bounds,
    }))
}
