//! Reads `health` lines.

use std::time::Duration;

use chain::admin::Endpoint;
use chain::setup::{Build, BuildError, Listen, Parse, Registration, Setup};
use corefile::value;

use super::{Metrics, page, watch};

/// `health` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "health",
    parse,
    handler: false,
};

/// Reads `health [ADDRESS] { lameduck DURATION }`; a later line replaces an earlier one, as in CoreDNS.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let (mut listen, mut lameduck) = (None::<Listen>, Duration::ZERO);
    for directive in parse.directives {
        let before = listen.as_ref().map_or(":8080", |listen| &listen.text);
        listen = Some(parse.listen(directive, before));
        for line in directive.block.iter().flat_map(|block| &block.lines) {
            if line
                .words
                .first()
                .is_none_or(|word| word.text != "lameduck")
            {
                parse.unknown_option(directive, line, &["lameduck"]);
            } else if parse.arguments(line, 1..=1, "lameduck DURATION") {
                match value::duration(&line.words[1]) {
                    Ok(given) => lameduck = given,
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
    Some(Box::new(Health {
        listen: listen?,
        lameduck,
    }))
}

/// What the block says.
struct Health {
    listen: Listen,
    lameduck: Duration,
}

impl Setup for Health {
    fn pages(&self) -> &[Listen] {
        std::slice::from_ref(&self.listen)
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let address = self.listen.resolve()?;
        let shown = match self.listen.text.strip_prefix(':') {
            Some(port) => format!("http://localhost:{port}/health"),
            None => format!("http://{}/health", self.listen.text),
        };
        build.process.lameduck = build.process.lameduck.max(self.lameduck);
        build.spawn(Box::pin(watch(address, shown, Metrics::get())));
        build.serve(Endpoint {
            plugin: "health",
            address,
            path: "/health",
            closes_first: false,
            serve: page(),
        });
        Ok(())
    }
}
