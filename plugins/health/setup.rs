//! Reads `health` lines.

use std::time::Duration;

use chain::admin::{Endpoint, resolve_address};
use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Span, value};

use super::{Metrics, page, watch};

/// `health` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "health",
    parse,
    handler: false,
};

/// Reads `health [ADDRESS] { lameduck DURATION }`; a later line replaces an earlier one, as in CoreDNS.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut setup = Health {
        address: ":8080".to_owned(),
        span: parse.directives.first()?.name.span,
        lameduck: Duration::ZERO,
    };
    for directive in parse.directives {
        parse.at_most(directive, 1);
        if let Some(token) = directive.args.first() {
            match value::host_port(token) {
                Ok(_) => (setup.address, setup.span) = (token.text.clone(), token.span),
                Err(diagnostic) => parse.report.push(diagnostic),
            }
        }
        for line in directive.block.iter().flat_map(|block| &block.lines) {
            if line
                .words
                .first()
                .is_none_or(|word| word.text != "lameduck")
            {
                parse.unknown_option(directive, line, &["lameduck"]);
            } else if parse.arguments(line, 1..=1, "lameduck DURATION") {
                match value::duration(&line.words[1]) {
                    Ok(given) => setup.lameduck = given,
                    Err(mut diagnostic) => {
                        diagnostic.message = format!(
                            "unable to parse lameduck duration value: {}",
                            diagnostic.message
                        );
                        parse.report.push(diagnostic);
                    }
                }
            }
        }
    }
    Some(Box::new(setup))
}

/// What the block says.
struct Health {
    address: String,
    span: Span,
    lameduck: Duration,
}

impl Setup for Health {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let address = resolve_address(&self.address)
            .map_err(|e| BuildError::new(format!("{}: {e}", self.address)).at(self.span))?;
        let shown = match self.address.strip_prefix(':') {
            Some(port) => format!("http://localhost:{port}/health"),
            None => format!("http://{}/health", self.address),
        };
        build.process.lameduck = build.process.lameduck.max(self.lameduck);
        build.spawn(Box::pin(watch(address, shown, Metrics::get())));
        build.serve(Endpoint {
            plugin: "health",
            address,
            path: "/health",
            exclusive: true,
            closes_first: false,
            serve: page(),
        });
        Ok(())
    }
}
