//! Reads `local { localhost_prefix on|off }`.

use std::sync::Arc;

use chain::setup::{Answers, Build, BuildError, Parse, Registration, Setup};
use corefile::Diagnostic;

use super::{Local, REVERSE};

/// `local` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "local",
    parse,
    handler: true,
};

const OPTION: &str = "localhost_prefix";

/// A later line replaces an earlier one, as in CoreDNS.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut prefix = true;
    for directive in parse.directives {
        parse.at_most(directive, 0);
        for line in directive.block.iter().flat_map(|block| &block.lines) {
            if line.words.first().is_none_or(|word| word.text != OPTION) {
                parse.unknown_option(directive, line, &[OPTION]);
            } else if parse.arguments(line, 1..=1, "localhost_prefix on|off") {
                let word = &line.words[1];
                match word.text.as_str() {
                    "on" => prefix = true,
                    "off" => prefix = false,
                    other => parse.report.push(
                        Diagnostic::error(
                            "CF0211",
                            format!("localhost_prefix expects 'on' or 'off', got \"{other}\""),
                        )
                        .at(word.span, "expected `on` or `off`"),
                    ),
                }
            }
        }
    }
    Some(Box::new(LocalSetup { prefix }))
}

/// What the block says.
struct LocalSetup {
    prefix: bool,
}

impl Setup for LocalSetup {
    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        let zones = REVERSE.iter().chain(&["localhost."]);
        vec![(
            Answers::Everything,
            zones.map(|zone| (*zone).to_owned()).collect(),
        )]
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.push(Arc::new(Local::new(self.prefix)));
        Ok(())
    }
}
