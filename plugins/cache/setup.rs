//! Reads `cache` lines.

use chain::setup::{Build, BuildError, Parse, Registration, Setup};

/// `cache` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "cache",
    parse,
    handler: true,
};

fn parse(_: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    Some(Box::new(Nothing))
}

struct Nothing;

impl Setup for Nothing {
    fn build(self: Box<Self>, _: &mut Build<'_>) -> Result<(), BuildError> {
        Ok(())
    }
}
