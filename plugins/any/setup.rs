//! Reads `any` lines: no argument, no block.

use std::sync::Arc;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};

use super::Any;

/// `any` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "any",
    parse,
    handler: true,
};

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    for directive in parse.directives {
        parse.at_most(directive, 0);
        parse.no_block(directive);
    }
    Some(Box::new(AnySetup))
}

/// There is nothing to configure.
struct AnySetup;

impl Setup for AnySetup {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.push(Arc::new(Any));
        Ok(())
    }
}
