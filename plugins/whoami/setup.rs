//! Reads `whoami` lines: no argument, no block.

use std::sync::Arc;

use chain::setup::{Answers, Build, BuildError, Parse, Registration, Setup};

use super::Whoami;

/// `whoami` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "whoami",
    parse,
    handler: true,
};

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    for directive in parse.directives {
        parse.at_most(directive, 0);
        parse.no_block(directive);
    }
    Some(Box::new(Ready))
}

/// There is nothing to configure.
struct Ready;

impl Setup for Ready {
    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        vec![(Answers::Everything, Vec::new())]
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.push(Arc::new(Whoami));
        Ok(())
    }
}
