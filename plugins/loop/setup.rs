//! Reads `loop`.

use std::sync::Arc;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use wire::NameBuf;

use super::{Loop, stop};

/// `loop` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "loop",
    parse,
    handler: true,
};

fn parse(p: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    p.once();
    let directive = p.directives[0];
    p.at_most(directive, 0);
    p.no_block(directive);
    let zone = p.zones.first().map_or(".", String::as_str).to_owned();
    Some(Box::new(Detect { zone }))
}

/// A `loop` line: the zone that the probe is in.
struct Detect {
    zone: String,
}

impl Setup for Detect {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let wrong =
            |error: &dyn std::fmt::Display| BuildError::new(format!("zone {}: {error}", self.zone));
        let zone: NameBuf = self.zone.parse().map_err(|error| wrong(&error))?;
        let plugin = Loop::new(zone.to_lower(), stop).map_err(|error| wrong(&error))?;
        let plugin = Arc::new(plugin);
        build.push(plugin.clone());
        build.spawn(Box::pin(plugin.probe()));
        Ok(())
    }
}
