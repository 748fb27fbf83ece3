//! Reads `ready` lines.

use std::sync::Arc;

use chain::admin::Endpoint;
use chain::setup::{Build, BuildError, Listen, Parse, Registration, Setup};
use corefile::{Diagnostic, nearest};

use super::{Monitor, State};

/// `ready` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "ready",
    parse,
    handler: false,
};

/// Reads `ready [ADDRESS] { monitor until-ready|continuously }`.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = *parse.directives.first()?;
    let mut setup = Ready {
        listen: parse.listen(directive, ":8181"),
        monitor: Monitor::UntilReady,
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        if line.words.first().is_none_or(|word| word.text != "monitor") {
            parse.unknown_option(directive, line, &["monitor"]);
            continue;
        }
        if !parse.arguments(line, 1..=1, "monitor until-ready|continuously") {
            continue;
        }
        let word = &line.words[1];
        let known = Monitor::WORDS.iter().find(|(name, _)| *name == word.text);
        if let Some((_, monitor)) = known {
            setup.monitor = *monitor;
            continue;
        }
        let mut diagnostic = Diagnostic::error(
            "CF0102",
            format!("monitor type '{}' not supported", word.text),
        )
        .at(word.span, "expected `until-ready` or `continuously`");
        if let Some(near) = nearest(&word.text, Monitor::WORDS.map(|(name, _)| name)) {
            diagnostic = diagnostic
                .help("a similar word exists")
                .replace(word.span, near);
        }
        parse.report.push(diagnostic);
    }
    Some(Box::new(setup))
}

/// What the block says.
struct Ready {
    listen: Listen,
    monitor: Monitor,
}

impl Setup for Ready {
    fn pages(&self) -> &[Listen] {
        std::slice::from_ref(&self.listen)
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let address = self.listen.resolve()?;
        let state = build.process.shared::<State>();
        state.known().blocks.insert(build.block(), self.monitor);
        build.serve(Endpoint {
            plugin: "ready",
            address,
            path: "/ready",
            closes_first: true,
            serve: Arc::new(move |request| state.page(request)),
        });
        Ok(())
    }
}
