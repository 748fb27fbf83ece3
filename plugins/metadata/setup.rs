//! Reads `metadata [ZONES...]`.

use std::sync::Arc;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};

use super::Metadata;

/// `metadata` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "metadata",
    parse,
    handler: true,
};

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    parse.no_block(directive);
    Some(Box::new(Zones(parse.read_zones(&directive.args, &[]))))
}

/// The zones of names that labels are collected for; empty: the block's.
struct Zones(Vec<String>);

impl Setup for Zones {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.config.labels = Some(build.origins(&self.0)?);
        build.push(Arc::new(Metadata));
        Ok(())
    }
}
