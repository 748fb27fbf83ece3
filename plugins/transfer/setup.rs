//! Reads `transfer [ZONES...] { to ...; source ... }`.

use std::net::IpAddr;
use std::sync::Arc;

use chain::setup::{Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Directive, Line, Report, Span, value};
use upstream::{addresses, target};
use wire::NameBuf;

use super::notify::{Changes, key_name, tell, tells};
use super::{Stanza, Stanzas, Target, Transfer, Whom};

/// `transfer` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "transfer",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &["to", "source"];
const TO: &str = "to ADDRESS|PREFIX|*... [key NAME]";

/// One line of a server block.
struct Config {
    zones: Vec<String>,
    targets: Vec<Target>,
    /// The interfaces that some of them stand behind, with the places of these.
    links: Vec<(usize, String)>,
    /// Where the first key is named.
    keyed: Option<Span>,
    source: Option<IpAddr>,
}

/// All lines of a server block.
struct TransferSetup(Vec<Config>);

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let configs = parse
        .directives
        .iter()
        .map(|directive| config(parse, directive));
    let configs = configs.collect();
    Some(Box::new(TransferSetup(configs)))
}

fn config(parse: &mut Parse<'_>, directive: &Directive) -> Config {
    let mut config = Config {
        zones: parse.read_zones(&directive.args, OPTIONS),
        targets: Vec::new(),
        links: Vec::new(),
        keyed: None,
        source: None,
    };
    let mut named = false;
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        let Some(word) = line.words.first() else {
            continue;
        };
        match word.text.as_str() {
            "to" => {
                named = true;
                read_to(parse, line, &mut config);
            }
            "source" if parse.arguments(line, 1..=1, "source ADDRESS") => {
                match value::ip(&line.words[1]) {
                    Ok(_) if config.source.is_some() => parse.report.push(
                        Diagnostic::error("CF0211", "source already specified")
                            .at(word.span, "NOTIFY is sent from one address"),
                    ),
                    Ok(source) => config.source = Some(source),
                    Err(diagnostic) => parse.report.push(diagnostic),
                }
            }
            "source" => {}
            _ => parse.unknown_option(directive, line, OPTIONS),
        }
    }
    if !named {
        parse.report.push(
            Diagnostic::error("CF0232", "'to' is required")
                .at(directive.name.span, format!("expected a line `{TO}`")),
        );
    }
    config
}

/// Reads `to ADDRESS|PREFIX|*... [key NAME]`.
fn read_to(parse: &mut Parse<'_>, line: &Line, config: &mut Config) {
    if !parse.arguments(line, 1..=usize::MAX - 1, TO) {
        return;
    }
    let words = &line.words[1..];
    let (hosts, key) = match words.iter().position(|word| word.text == "key") {
        None => (words, None),
        Some(at) => (&words[..at], Some(&words[at + 1..])),
    };
    let key: Option<NameBuf> = match key {
        None => None,
        Some([name]) if !hosts.is_empty() => match key_name(&name.text) {
            Ok(key) => {
                config.keyed.get_or_insert(name.span);
                Some(key)
            }
            Err(why) => {
                let mistake = format!("not the name of a key: `{}`", name.text);
                parse
                    .report
                    .push(Diagnostic::error("CF0205", mistake).at(name.span, why.to_string()));
                return;
            }
        },
        Some(_) => {
            let mistake = "Wrong argument count or unexpected line ending after 'key'";
            let place = line
                .words
                .last()
                .map_or(line.words[0].span, |word| word.span);
            parse
                .report
                .push(Diagnostic::error("CF0107", mistake).at(place, format!("expected `{TO}`")));
            return;
        }
    };
    for host in hosts {
        let whom = match host.text.as_str() {
            "*" => Ok(Whom::Anyone),
            text if text.contains('/') => value::cidr(host).map(Whom::Clients),
            _ => target::plain(host).map(|(address, link)| {
                config
                    .links
                    .extend(link.map(|link| (config.targets.len(), link)));
                Whom::Secondary(address)
            }),
        };
        match whom {
            Ok(whom) => config.targets.push(Target { whom, key }),
            Err(diagnostic) => parse.report.push(diagnostic),
        }
    }
}

impl Setup for TransferSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        let keyed = self.0.iter().find_map(|config| config.keyed);
        if let (Some(span), None) = (keyed, scene.directive("tsig")) {
            report.push(
                Diagnostic::error("CF0309", "there are no keys in this server block")
                    .at(span, "keys come from `tsig`, which is missing here"),
            );
        }
    }

    fn handlers(&self) -> usize {
        1
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let mut stanzas = Vec::new();
        for config in self.0 {
            let mut targets = config.targets;
            for (at, link) in &config.links {
                if let Some(Whom::Secondary(address)) =
                    targets.get_mut(*at).map(|one| &mut one.whom)
                {
                    *address = addresses::scoped(*address, link);
                }
            }
            stanzas.push(Stanza {
                zones: build.origins(&config.zones)?,
                targets,
                source: config.source,
            });
        }
        let stanzas = Arc::new(Stanzas(stanzas));
        let changes = Arc::new(Changes::default());
        let capabilities = build.capabilities();
        if tells(&stanzas) {
            build.spawn(Box::pin(tell(
                changes.clone(),
                stanzas.clone(),
                capabilities.clone(),
            )));
        }
        build.push(Arc::new(Transfer {
            stanzas,
            capabilities,
            changes,
            zones: std::sync::OnceLock::new(),
        }));
        Ok(())
    }
}
