//! Reads `loadbalance` lines.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chain::inspect::{Inspect, Place};
use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive, Severity, Token, value};

use super::weights::{WeightError, WeightFile, follow};
use super::{LoadBalance, Policy, Prefix};

/// `loadbalance` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "loadbalance",
    parse,
    handler: true,
};

/// How often a weight file is looked at when nothing is said.
const RELOAD: Duration = Duration::from_secs(30);

/// All that the lines say.
#[derive(Default, Debug)]
pub(super) struct Options {
    /// The weight file, and how often to look at it; none is `round_robin`.
    pub(super) weighted: Option<(Token, Duration)>,
    /// What comes first.
    pub(super) prefer: Vec<Prefix>,
}

impl Setup for Options {
    fn inspect(&self, inspect: &mut Inspect<'_>) {
        let Some((file, reload)) = &self.weighted else {
            return;
        };
        let path = inspect.path(&file.text);
        if let Err(error) = inspect.look(&path) {
            let severity = match reload.is_zero() {
                true => Severity::Error,
                false => Severity::Warning,
            };
            let message = format!("weight file {}: {error}", path.display());
            inspect.tell(severity, message, file.span);
            return;
        }
        if let Err(WeightError::Content(line, why)) = WeightFile::check(path.clone()) {
            let place = Place {
                path: &path,
                line,
                column: 0,
            };
            inspect.tell_at(Severity::Error, place, &why, file.span);
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let Some((file, reload)) = self.weighted else {
            build.push(Arc::new(LoadBalance {
                policy: Policy::Random,
                prefer: self.prefer,
            }));
            return Ok(());
        };
        let path = build.path(&file.text);
        let shown = path.display().to_string();
        let refused = |error: WeightError| BuildError::new(error.to_string()).at(file.span);
        let (source, missing) = WeightFile::load(path).map_err(refused)?;
        match missing {
            Some(error) if reload.is_zero() => return Err(refused(error)),
            Some(_) => tracing::warn!(
                target: "plugin/loadbalance",
                "Failed to open weight file {shown}. Will try again in {reload:?}"
            ),
            None => {}
        }
        build.push(Arc::new(LoadBalance {
            policy: Policy::Weighted(source.content().weights()),
            prefer: Vec::new(),
        }));
        if !reload.is_zero() {
            build.spawn(follow(source, reload));
        }
        Ok(())
    }
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    Some(Box::new(read(parse)))
}

/// Reads all uses of the directive: the last policy counts, and what comes first adds up.
pub(super) fn read(parse: &mut Parse<'_>) -> Options {
    let mut options = Options::default();
    for &directive in parse.directives {
        match directive.args.first().map(|word| word.text.as_str()) {
            None => options.weighted = None,
            Some("round_robin") => {
                if let Some(extra) = directive.args.get(1) {
                    let diagnostic =
                        Diagnostic::error("CF0104", "unknown property for round_robin")
                            .at(extra.span, "`round_robin` takes no arguments");
                    parse.report.push(diagnostic);
                }
                options.weighted = None;
            }
            Some("weighted") => {
                if let Some(weighted) = weighted(parse, directive) {
                    options = weighted;
                }
                continue;
            }
            Some(policy) => {
                let diagnostic = Diagnostic::error("CF0211", format!("unknown policy: {policy}"))
                    .at(
                        directive.args[0].span,
                        "expected `round_robin` or `weighted FILE`",
                    );
                parse.report.push(diagnostic);
                continue;
            }
        }
        for line in directive.block.iter().flat_map(|block| &block.lines) {
            match line.words.split_first() {
                Some((word, cidrs)) if word.text == "prefer" => {
                    for cidr in cidrs {
                        match prefix(&cidr.text) {
                            Some(prefix) => options.prefer.push(prefix),
                            None => parse.report.push(
                                Diagnostic::error(
                                    "CF0212",
                                    format!("invalid CIDR \"{}\"", cidr.text),
                                )
                                .at(cidr.span, "expected a prefix such as `192.0.2.0/24`"),
                            ),
                        }
                    }
                }
                _ => parse.unknown_option(directive, line, &["prefer"]),
            }
        }
    }
    options
}

/// `weighted FILE { reload DURATION }`
fn weighted(parse: &mut Parse<'_>, directive: &Directive) -> Option<Options> {
    let mut refuse = |code, message: String, token: &Token, label: &str| {
        let diagnostic = Diagnostic::error(code, message).at(token.span, label);
        parse.report.push(diagnostic);
    };
    let Some(file) = directive.args.get(1) else {
        let message = "missing weight file argument".to_owned();
        refuse(
            "CF0104",
            message,
            &directive.args[0],
            "expected `weighted FILE`",
        );
        return None;
    };
    if let Some(extra) = directive.args.get(2) {
        let message = "unexpected argument(s)".to_owned();
        refuse("CF0104", message, extra, "`weighted` takes one file");
    }
    let mut reload = RELOAD;
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        let Some((word, args)) = line.words.split_first() else {
            continue;
        };
        if word.text != "reload" {
            parse.unknown_option(directive, line, &["reload"]);
            continue;
        }
        let mut refuse = |code, message: String, token: &Token| {
            let label = "expected `reload DURATION`";
            let diagnostic = Diagnostic::error(code, message).at(token.span, label);
            parse.report.push(diagnostic);
        };
        match args {
            [] => refuse("CF0104", "reload duration value is missing".into(), word),
            [every] => match value::duration(every) {
                Ok(every) => reload = every,
                Err(_) => {
                    let message = format!("invalid reload duration '{}'", every.text);
                    refuse("CF0202", message, every);
                }
            },
            [_, extra, ..] => refuse("CF0104", "unexpected argument".into(), extra),
        }
    }
    Some(Options {
        weighted: Some((file.clone(), reload)),
        prefer: Vec::new(),
    })
}

/// An address and a number of bits.
pub(super) fn prefix(text: &str) -> Option<Prefix> {
    let (address, len) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let len = len.parse().ok().filter(|&len| len <= most)?;
    Some(Prefix { address, len })
}
