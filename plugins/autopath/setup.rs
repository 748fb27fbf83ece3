//! Reads `autopath [ZONES...] RESOLV-CONF`.

use std::sync::{Arc, OnceLock};

use chain::setup::{Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Report, Span};
use wire::{Name, NameBuf};

use super::{Autopath, Path};

/// `autopath` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "autopath",
    parse,
    handler: true,
};

/// Where the search path is written.
struct AutopathSetup {
    source: String,
    span: Span,
    zones: Vec<String>,
}

/// A later line replaces an earlier one, as in CoreDNS.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut setup = None;
    for directive in parse.directives {
        if !parse.at_least(directive, 1, "autopath [ZONES...] RESOLV-CONF") {
            continue;
        }
        let Some((source, zones)) = directive.args.split_last() else {
            continue;
        };
        parse.no_block(directive);
        let zones = parse.read_zones(zones, &[]);
        setup = Some(AutopathSetup {
            source: source.text.clone(),
            span: source.span,
            zones,
        });
    }
    Some(Box::new(setup?))
}

impl Setup for AutopathSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        let Some(directive) = self.source.strip_prefix('@') else {
            return;
        };
        if scene.directive(directive).is_none() {
            report.push(
                Diagnostic::warning(
                    "CF0309",
                    format!("no `{directive}` in this server block: `autopath` does nothing"),
                )
                .at(self.span, "the search path comes from this plugin")
                .help(format!(
                    "add `{directive}`, or name a file such as /etc/resolv.conf"
                )),
            );
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let origins = build.origins(&self.zones)?;
        let path = match self.source.strip_prefix('@') {
            Some(directive) => Path::Offered {
                directive: directive.to_owned(),
                capabilities: build.capabilities(),
                found: OnceLock::new(),
            },
            None => {
                let text = host::regular::read_text(std::path::Path::new(&self.source)).map_err(
                    |error| {
                        BuildError::new(format!("failed to parse \"{}\": {error}", self.source))
                            .at(self.span)
                    },
                )?;
                Path::Fixed(search(&text).map_err(|word| {
                    BuildError::new(format!("{}: not a domain name: {word}", self.source))
                        .at(self.span)
                })?)
            }
        };
        build.push(Arc::new(Autopath::new(origins, path)));
        Ok(())
    }
}

/// The search list of a resolv.conf (resolv.conf(5)), and the root behind it; the last `search` or `domain` line counts.
pub(super) fn search(text: &str) -> Result<Vec<NameBuf>, &str> {
    let mut suffixes = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_ascii_whitespace();
        let most = match words.next() {
            Some("search") => usize::MAX,
            Some("domain") => 1,
            _ => continue,
        };
        suffixes = words
            .take(most)
            .map(|word| {
                NameBuf::parse(word, Name::ROOT)
                    .map(NameBuf::to_lower)
                    .map_err(|_| word)
            })
            .collect::<Result<_, _>>()?;
    }
    if !suffixes.is_empty() {
        suffixes.push(NameBuf::root());
    }
    Ok(suffixes)
}
