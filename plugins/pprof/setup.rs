//! Reads `pprof [ADDRESS] { block [RATE] }`.

use chain::admin::Endpoint;
use chain::setup::{Build, BuildError, Listen, Parse, Registration, Setup};
use corefile::{Diagnostic, value};

use super::pages;

/// `pprof` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "pprof",
    parse,
    handler: false,
};

const ADDRESS: &str = "localhost:6053";

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    let listen = parse.listen(directive, ADDRESS);
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        if line.words.first().is_none_or(|word| word.text != "block") {
            parse.unknown_option(directive, line, &["block"]);
        } else if parse.arguments(line, 0..=1, "block [RATE]")
            && let Some(rate) = line.words.get(1)
            && let Err(why) = value::integer(rate, 0..=i64::MAX)
        {
            let text = format!("property 'block' invalid integer value '{}'", rate.text);
            let diagnostic = Diagnostic::error(why.code, text);
            parse
                .report
                .push(diagnostic.at(rate.span, "expected a whole number, 1 or more"));
        }
    }
    Some(Box::new(Pprof { listen }))
}

/// What the block says.
struct Pprof {
    listen: Listen,
}

impl Setup for Pprof {
    fn pages(&self) -> &[Listen] {
        std::slice::from_ref(&self.listen)
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let address = self.listen.resolve()?;
        for (path, serve) in pages() {
            build.serve(Endpoint {
                plugin: "pprof",
                address,
                path,
                closes_first: false,
                serve,
            });
        }
        Ok(())
    }
}
