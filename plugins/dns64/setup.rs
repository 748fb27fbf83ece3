//! Reads `dns64 [PREFIX] { translate_all; prefix PREFIX; allow_ipv4 }`.

use std::net::IpAddr;
use std::sync::Arc;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Token, value};

use super::Dns64;
use super::prefix::Prefix;

/// `dns64` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "dns64",
    parse,
    handler: true,
};

const OPTIONS: [&str; 3] = ["translate_all", "prefix", "allow_ipv4"];

/// What the block says.
struct Dns64Setup(Dns64);

/// A later line adds to an earlier one and replaces its prefix, as in CoreDNS.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut dns64 = Dns64 {
        prefix: Prefix::WELL_KNOWN,
        translate_all: false,
        allow_ipv4: false,
    };
    for directive in parse.directives {
        parse.at_most(directive, 1);
        if let Some(word) = directive.args.first() {
            read_prefix(parse, word, &mut dns64.prefix);
        }
        for line in directive.block.iter().flat_map(|block| &block.lines) {
            match line.words.first().map(|word| word.text.as_str()) {
                Some("translate_all") => {
                    dns64.translate_all = parse.arguments(line, 0..=0, "translate_all");
                }
                Some("allow_ipv4") => {
                    dns64.allow_ipv4 = parse.arguments(line, 0..=0, "allow_ipv4");
                }
                Some("prefix") => {
                    if parse.arguments(line, 1..=1, "prefix PREFIX") {
                        read_prefix(parse, &line.words[1], &mut dns64.prefix);
                    }
                }
                _ => parse.unknown_option(directive, line, &OPTIONS),
            }
        }
    }
    Some(Box::new(Dns64Setup(dns64)))
}

/// Reads a prefix into `prefix`.
fn read_prefix(parse: &mut Parse<'_>, word: &Token, prefix: &mut Prefix) {
    let read = value::cidr(word).and_then(|cidr| {
        let IpAddr::V6(address) = cidr.address else {
            return Err(Diagnostic::error(
                "CF0204",
                format!("not an IPv6 prefix: `{}`", word.text),
            )
            .at(word.span, "expected a prefix such as `64:ff9b::/96`"));
        };
        Prefix::new(address, cidr.bits).ok_or_else(|| {
            Diagnostic::error("CF0203", format!("invalid prefix length \"{}\"", word.text)).at(
                word.span,
                "expected a length of 32, 40, 48, 56, 64 or 96 bits",
            )
        })
    });
    match read {
        Ok(read) => {
            if read == Prefix::MAPPED {
                parse.report.push(
                    Diagnostic::warning("CF0328", "this prefix is that of IPv4-mapped addresses")
                        .at(word.span, "clients reach these addresses by IPv4")
                        .help("use `64:ff9b::/96`, or the prefix of your NAT64"),
                );
            }
            *prefix = read;
        }
        Err(diagnostic) => parse.report.push(diagnostic),
    }
}

impl Setup for Dns64Setup {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.push(Arc::new(self.0));
        Ok(())
    }
}
