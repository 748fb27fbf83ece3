//! Reads `bufsize [SIZE]`.

use std::ops::RangeInclusive;
use std::sync::Arc;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::value;

use super::Bufsize;

/// `bufsize` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "bufsize",
    parse,
    handler: true,
};

/// What may be asked for: no less than any client takes (RFC 6891, section 6.2.3), no more than a datagram here has.
const SIZES: RangeInclusive<i64> = 512..=4_096;

/// A later line is read and changes nothing, as in CoreDNS.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut first = None;
    for directive in parse.directives {
        parse.at_most(directive, 1);
        parse.no_block(directive);
        let size = match directive.args.first() {
            Some(word) => match value::integer(word, SIZES) {
                Ok(size) => size as u16,
                Err(diagnostic) => {
                    parse.report.push(diagnostic);
                    continue;
                }
            },
            None => wire::DEFAULT_UDP_SIZE,
        };
        first.get_or_insert(size);
    }
    Some(Box::new(BufsizeSetup { size: first? }))
}

/// What the block says.
struct BufsizeSetup {
    size: u16,
}

impl Setup for BufsizeSetup {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.push(Arc::new(Bufsize { size: self.size }));
        Ok(())
    }
}
