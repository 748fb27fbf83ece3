//! Reads `debug` lines.

use chain::setup::{Build, BuildError, Parse, Registration, Setup};

/// `debug` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "debug",
    parse,
    handler: false,
};

/// Reads `debug`, which takes nothing.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    for directive in parse.directives {
        parse.at_most(directive, 0);
        parse.no_block(directive);
    }
    Some(Box::new(Debug))
}

/// `debug` stands in the block.
struct Debug;

impl Setup for Debug {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.config.debug = true;
        Ok(())
    }
}
