//! Reads `prometheus` lines.

use std::sync::Arc;

use chain::admin::Endpoint;
use chain::setup::{Build, BuildError, Listen, Parse, Registration, Setup};
use corefile::Diagnostic;

use super::{Prometheus, page};

/// `prometheus` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "prometheus",
    parse,
    handler: true,
};

/// Reads `prometheus [ADDRESS] { runtime_metrics }`.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = *parse.directives.first()?;
    let setup = PrometheusSetup(parse.listen(directive, "localhost:9153"));
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        match line.words.first() {
            // Metrics of Go's runtime: there is none here, and nothing to invent.
            Some(word) if word.text == "runtime_metrics" => {
                parse.arguments(line, 0..=0, "runtime_metrics");
            }
            Some(word) if word.text == "tls" => {
                parse.arguments(line, 1..=1, "tls FILE");
                parse.report.push(
                    Diagnostic::error(
                        "CF0901",
                        "`tls` of `prometheus`: CoreDNS has this option, nameplate does not yet",
                    )
                    .at(word.span, "not implemented here")
                    .help(
                        "serve the metrics on a loopback address, behind a proxy that speaks TLS",
                    ),
                );
            }
            _ => parse.unknown_option(directive, line, &["runtime_metrics", "tls"]),
        }
    }
    Some(Box::new(setup))
}

/// What the block says.
struct PrometheusSetup(Listen);

impl Setup for PrometheusSetup {
    fn pages(&self) -> &[Listen] {
        std::slice::from_ref(&self.0)
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let address = self.0.resolve()?;
        build.push(Arc::new(Prometheus::new()));
        build.serve(Endpoint {
            plugin: "prometheus",
            address,
            path: "/metrics",
            closes_first: false,
            serve: Arc::new(page),
        });
        Ok(())
    }
}
