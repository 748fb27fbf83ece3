//! Reads `grpc_server` lines.

use chain::Transport;
use chain::setup::{ListenerBounds, Parse, Registration, Setup, TransportBounds};

/// `grpc_server` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "grpc_server",
    parse,
    handler: false,
};

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut bounds = ListenerBounds::default();
    parse.bounds(
        0,
        &mut [
            ("max_streams", &mut bounds.streams),
            ("max_connections", &mut bounds.connections),
        ],
    );
    Some(Box::new(TransportBounds {
        transport: Transport::Grpc,
        bounds,
    }))
}
