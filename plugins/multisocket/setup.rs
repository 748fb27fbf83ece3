//! Reads `multisocket` lines.

use chain::setup::{Build, BuildError, Parse, Registration, Setup};

/// `multisocket` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "multisocket",
    parse,
    handler: false,
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
