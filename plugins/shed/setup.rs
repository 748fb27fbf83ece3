//! Reads `shed` lines: no argument, no block, plain DNS alone.

use std::sync::Arc;

use chain::setup::{Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::key::Scheme;
use corefile::{Diagnostic, Report, Span};

use super::Shed;

/// `shed` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "shed",
    parse,
    handler: true,
};

pub(super) fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    parse.at_most(directive, 0);
    parse.no_block(directive);
    Some(Box::new(ShedSetup {
        span: directive.name.span,
    }))
}

/// There is nothing to configure.
struct ShedSetup {
    span: Span,
}

impl Setup for ShedSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        if let Some(key) = scene.keys.iter().find(|key| key.scheme != Scheme::Dns) {
            let scheme = key.scheme.name();
            report.push(
                Diagnostic::error(
                    "CF0325",
                    format!("only plain DNS server blocks are supported; this one uses transport \"{scheme}\""),
                )
                .at(self.span, "it concerns UDP sockets")
                .help("move `shed` to a separate server block for `dns://`"),
            );
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.config.counts_shed = true;
        build.push(Arc::new(Shed));
        Ok(())
    }
}
