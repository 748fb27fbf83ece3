//! Reads `nsid [DATA...]`.

use std::sync::Arc;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::Diagnostic;

use super::Nsid;

/// `nsid` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "nsid",
    parse,
    handler: true,
};

/// What an identifier has at most, in octets: with it, a response of the smallest size still has room for an answer.
const LONGEST: usize = 255;

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    parse.no_block(directive);
    let words: Vec<_> = directive
        .args
        .iter()
        .map(|word| word.text.as_str())
        .collect();
    let data = words.join(" ");
    if let (true, Some(first)) = (data.len() > LONGEST, directive.args.first()) {
        parse.report.push(
            Diagnostic::error("CF0203", "the identifier of `nsid` is too long").at(
                first.span,
                format!("expected at most {LONGEST} bytes in all"),
            ),
        );
    }
    Some(Box::new(NsidSetup {
        data: (!words.is_empty()).then_some(data),
    }))
}

/// What the block says.
struct NsidSetup {
    data: Option<String>,
}

impl Setup for NsidSetup {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let data = self.data.unwrap_or_else(host::hostname);
        build.push(Arc::new(Nsid {
            data: data.into_bytes().into(),
        }));
        Ok(())
    }
}
