//! Reads `reload` lines.

use std::time::Duration;

use chain::admin::ReloadEvery;
use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, value};

/// `reload` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "reload",
    parse,
    handler: false,
};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_JITTER: Duration = Duration::from_secs(15);
const MIN_INTERVAL: Duration = Duration::from_secs(2);
const MIN_JITTER: Duration = Duration::from_secs(1);

/// Reads `reload [INTERVAL] [JITTER]`. CoreDNS looks at the first line of a block only; further ones are checked here too.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut first = None;
    for directive in parse.directives {
        parse.at_most(directive, 2);
        parse.no_block(directive);
        let (mut interval, mut jitter) = (DEFAULT_INTERVAL, DEFAULT_JITTER);
        if let Some(token) = directive.args.first() {
            match value::duration(token) {
                Ok(given) if given < MIN_INTERVAL => parse.report.push(
                    Diagnostic::error("CF0203", "interval value must be greater or equal to 2s")
                        .at(token.span, "too short")
                        .help("to watch nothing, leave `reload` out"),
                ),
                Ok(given) => interval = given,
                Err(diagnostic) => parse.report.push(diagnostic),
            }
        }
        if let Some(token) = directive.args.get(1) {
            match value::duration(token) {
                Ok(given) if !given.is_zero() && given < MIN_JITTER => parse.report.push(
                    Diagnostic::error("CF0203", "jitter value must be 0 or greater or equal to 1s")
                        .at(token.span, "too short"),
                ),
                Ok(given) => jitter = given,
                Err(diagnostic) => parse.report.push(diagnostic),
            }
        }
        let jitter = jitter.min(interval / 2);
        first.get_or_insert(ReloadEvery { interval, jitter });
    }
    Some(Box::new(Reload { every: first? }))
}

/// The first line of the block.
struct Reload {
    every: ReloadEvery,
}

impl Setup for Reload {
    /// One watch serves the process: the first block that asks decides.
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.process.reload.get_or_insert(self.every);
        Ok(())
    }
}
