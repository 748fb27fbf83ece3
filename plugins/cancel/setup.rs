//! Reads `cancel [TIMEOUT]`.

use std::sync::Arc;
use std::time::Duration;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, value};

use super::Cancel;

/// `cancel` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "cancel",
    parse,
    handler: true,
};

/// A little longer than most stub resolvers wait.
const TIMEOUT: Duration = Duration::from_millis(5_001);

/// A later line replaces an earlier one, as in CoreDNS.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut timeout = TIMEOUT;
    for directive in parse.directives {
        parse.at_most(directive, 1);
        parse.no_block(directive);
        timeout = TIMEOUT;
        let Some(word) = directive.args.first() else {
            continue;
        };
        match value::duration(word) {
            Ok(Duration::ZERO) => parse.report.push(
                Diagnostic::error("CF0203", format!("invalid duration: `{}`", word.text)).at(
                    word.span,
                    "expected a duration longer than 0; without `cancel` there is no deadline",
                ),
            ),
            Ok(given) => timeout = given,
            Err(diagnostic) => parse.report.push(diagnostic),
        }
    }
    Some(Box::new(CancelSetup { timeout }))
}

/// What the block says.
struct CancelSetup {
    timeout: Duration,
}

impl Setup for CancelSetup {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.push(Arc::new(Cancel::new(self.timeout)));
        Ok(())
    }
}
