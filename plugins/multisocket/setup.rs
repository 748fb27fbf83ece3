//! Reads `multisocket` lines.

use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::Diagnostic;

/// `multisocket` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "multisocket",
    parse,
    handler: false,
};

/// The most sockets that an address may have.
const MOST: usize = 1_024;

/// Reads `multisocket [SOCKETS]`.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = *parse.directives.first()?;
    parse.at_most(directive, 1);
    parse.no_block(directive);
    let mut sockets = None;
    if let Some(token) = directive.args.first() {
        let text = token.text.as_str();
        let (code, message) = match text.parse::<i64>() {
            Ok(..=0) => (
                "CF0203",
                format!("num sockets can not be zero or negative: {text}"),
            ),
            Ok(number) if number > MOST as i64 => (
                "CF0203",
                format!("num sockets exceeds maximum ({MOST}): {text}"),
            ),
            Ok(number) => {
                sockets = Some(number as usize);
                ("", String::new())
            }
            Err(_) => ("CF0201", format!("invalid num sockets: `{text}`")),
        };
        if sockets.is_none() {
            parse.report.push(Diagnostic::error(code, message).at(
                token.span,
                format!("expected a whole number from 1 to {MOST}"),
            ));
        }
    }
    Some(Box::new(Multisocket { sockets }))
}

/// The number, if one is given.
struct Multisocket {
    sockets: Option<usize>,
}

impl Setup for Multisocket {
    /// Without a number: as many as there are processors to use.
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.config.sockets = Some(self.sockets.unwrap_or_else(host::processors));
        Ok(())
    }
}
