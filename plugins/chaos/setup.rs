//! Reads `chaos [VERSION] [AUTHORS...]`.

use std::collections::BTreeSet;
use std::sync::Arc;

use chain::scope::is_within;
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Report, Span};

use super::{Chaos, NAMES};

/// `chaos` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "chaos",
    parse,
    handler: true,
};

/// What is told where no version is given.
const VERSION: &str = concat!("nameplate-", env!("CARGO_PKG_VERSION"));
/// Who is told where no authors are given.
const AUTHORS: &str = "the authors of nameplate";

/// A later line is read and changes nothing, as in CoreDNS.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    for directive in parse.directives {
        parse.no_block(directive);
    }
    let mut words = parse.directives.first()?.args.iter();
    let version = words.next().map_or(VERSION, |word| &word.text);
    let authors: BTreeSet<_> = words.map(|word| word.text.clone()).collect();
    Some(Box::new(ChaosSetup {
        span: parse.directives[0].name.span,
        version: version.to_owned(),
        authors: match authors.is_empty() {
            true => vec![AUTHORS.to_owned()],
            false => authors.into_iter().collect(),
        },
    }))
}

/// What the block says.
struct ChaosSetup {
    span: Span,
    version: String,
    authors: Vec<String>,
}

impl Setup for ChaosSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        let is_asked = |name: &str| scene.zones.iter().any(|zone| is_within(name, zone));
        if scene.zones.is_empty() || NAMES.into_iter().any(is_asked) {
            return;
        }
        report.push(
            Diagnostic::warning(
                "CF0310",
                "`chaos` has no effect: none of the names that it answers is in this server block",
            )
            .at(self.span, "no query gets here")
            .note(format!("it answers {}", NAMES.join(" ")))
            .help("move it to the server block for `.`"),
        );
    }

    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        vec![(Answers::SomeNames, NAMES.map(str::to_owned).into())]
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let hostname = host::hostname();
        build.push(Arc::new(Chaos::new(
            &self.version,
            &hostname,
            &self.authors,
        )));
        Ok(())
    }
}
