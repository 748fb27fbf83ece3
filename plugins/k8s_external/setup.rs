//! Reads `k8s_external [ZONES...] { ... }`.

use std::sync::Arc;

use chain::Fallthrough;
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Report, Span, value};
use wire::{Name, NameBuf};

use super::{External, Zone};

/// `k8s_external` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "k8s_external",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &["ttl", "apex", "headless", "fallthrough"];

/// Who knows the services.
const SOURCE: &str = "kubernetes";

/// What the block says.
struct ExternalSetup {
    span: Span,
    zones: Vec<String>,
    apex: NameBuf,
    ttl: u32,
    headless: bool,
    fall: Fallthrough,
}

/// A later directive replaces an earlier one's zones and adds to its options, as in CoreDNS.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut setup = ExternalSetup {
        span: parse.directives.first()?.name.span,
        zones: Vec::new(),
        apex: NameBuf::prepend(b"dns", Name::ROOT).ok()?,
        ttl: 5,
        headless: false,
        fall: Fallthrough::No,
    };
    for directive in parse.directives {
        setup.zones = parse.read_zones(&directive.args, OPTIONS);
        for line in directive.block.iter().flat_map(|block| &block.lines) {
            match line.words.first().map(|word| word.text.as_str()) {
                Some("ttl") if parse.arguments(line, 1..=1, "ttl SECONDS") => {
                    match value::integer(&line.words[1], 0..=3_600) {
                        Ok(ttl) => setup.ttl = ttl as u32,
                        Err(diagnostic) => parse.report.push(diagnostic),
                    }
                }
                Some("apex") if parse.arguments(line, 1..=1, "apex NAME") => {
                    let word = &line.words[1];
                    match NameBuf::parse(&word.text, Name::ROOT) {
                        Ok(apex) if !apex.as_name().is_root() => setup.apex = apex.to_lower(),
                        _ => parse.report.push(
                            Diagnostic::error(
                                "CF0205",
                                format!("not a valid domain name: {}", word.text),
                            )
                            .at(word.span, "expected labels such as `dns`"),
                        ),
                    }
                }
                Some("ttl" | "apex") => {}
                Some("headless") => {
                    parse.arguments(line, 0..=0, "headless");
                    setup.headless = true;
                }
                Some("fallthrough") => setup.fall = parse.read_fallthrough(line, &setup.zones),
                _ => parse.unknown_option(directive, line, OPTIONS),
            }
        }
    }
    Some(Box::new(setup))
}

impl Setup for ExternalSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        if scene.directive(SOURCE).is_none() {
            report.push(
                Diagnostic::error("CF0309", format!("{SOURCE} plugin not loaded"))
                    .at(self.span, "the services come from this plugin")
                    .help(format!("add `{SOURCE}` to this server block")),
            );
        }
    }

    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        vec![(self.fall.reach(), self.zones.clone())]
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let origins = build.origins(&self.zones)?;
        let zones = origins
            .into_iter()
            .map(|origin| Zone::new(origin, self.apex.as_name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BuildError::new(format!("apex {}: {error}", self.apex)))?;
        build.push(Arc::new(External {
            zones,
            fall: self.fall,
            headless: self.headless,
            ttl: self.ttl,
            capabilities: build.capabilities(),
            source: SOURCE,
            found: std::sync::OnceLock::new(),
        }));
        Ok(())
    }
}
