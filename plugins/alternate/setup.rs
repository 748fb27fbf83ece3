//! Reads `alternate [original] RCODE[,RCODE...] FROM TO...`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chain::inspect::Inspect;
use chain::setup::{Asks, Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive, Span, Token, value};
use host::clock;
use upstream::addresses::{self, Named};
use upstream::health::{Health, HealthCheck};
use upstream::message::Matching;
use upstream::metrics::UpstreamMetrics;
use upstream::target::{self, Scheme, Target};
use upstream::{Bounds, Endpoint, Keep, MOST_SERVERS, Settings};
use wire::{NameBuf, Rcode};

use super::{Alternate, Rule, Upstream, Upstreams};

/// `alternate` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "alternate",
    parse,
    handler: true,
};

/// How a line is written.
const SHAPE: &str = "alternate [original] RCODE[,RCODE...] FROM TO...";
/// The value of `proxy_name` in metrics.
const PROXY: &str = "alternate";

/// One line.
struct Line {
    span: Span,
    original: bool,
    rcodes: Vec<Rcode>,
    from: String,
    to: Vec<Target>,
}

/// All `alternate` lines of a block, in file order.
struct Lines(Vec<Line>);

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut lines: Vec<Line> = Vec::new();
    for directive in parse.directives {
        let Some(line) = read(parse, directive) else {
            continue;
        };
        let told = |rcode: &&Rcode| lines.iter().any(|before| before.rcodes.contains(rcode));
        if let Some(rcode) = line.rcodes.iter().find(told) {
            let name = rcode.mnemonic().unwrap_or("an RCODE");
            parse.report.push(
                Diagnostic::error(
                    "CF0120",
                    format!("rcode '{name}' is specified more than once"),
                )
                .at(line.span, "another `alternate` of this server block has it"),
            );
        }
        lines.push(line);
    }
    Some(Box::new(Lines(lines)))
}

fn read(parse: &mut Parse<'_>, directive: &Directive) -> Option<Line> {
    if let Some(first) = directive.block.iter().flat_map(|block| &block.lines).next()
        && let Some(word) = first.words.first()
    {
        parse.report.push(
            Diagnostic::error("CF0121", "additional parameters not allowed")
                .at(word.span, "`alternate` has no options")
                .help("upstreams with options are those of `forward`"),
        );
    }
    let mut args = &directive.args[..];
    let original = args.first().is_some_and(|word| word.text == "original");
    if original {
        args = &args[1..];
    }
    let [rcodes, from, to @ ..] = args else {
        parse.at_least(directive, directive.args.len() + 1, SHAPE);
        return None;
    };
    let mut known: Vec<Rcode> = Vec::new();
    for word in rcodes.text.split(',') {
        let token = Token {
            text: word.to_owned(),
            ..rcodes.clone()
        };
        match value::rcode(&token) {
            Ok(rcode) if known.contains(&Rcode(rcode)) => {}
            Ok(rcode) => known.push(Rcode(rcode)),
            Err(_) => parse.report.push(
                Diagnostic::error("CF0207", format!("{word} is not a valid rcode")).at(
                    rcodes.span,
                    "expected names such as `SERVFAIL,NXDOMAIN`, without spaces",
                ),
            ),
        }
    }
    let zone = parse.from_zone(from)?;
    if to.is_empty() {
        parse.at_least(directive, directive.args.len() + 1, SHAPE);
    }
    let mut targets = Vec::new();
    for word in to {
        match target::parse(word, ("alternate", &[Scheme::Dns, Scheme::Tls])) {
            Ok(target) if target.scheme != Scheme::Dns => parse.report.push(
                Diagnostic::error("CF0208", "only dns transport allowed")
                    .at(word.span, "`alternate` asks over UDP and TCP"),
            ),
            Ok(target) => targets.push(target),
            Err(diagnostic) => parse.report.push(*diagnostic),
        }
    }
    Some(Line {
        span: directive.name.span,
        original,
        rcodes: known,
        from: zone,
        to: targets,
    })
}

impl Setup for Lines {
    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for target in self.0.iter().flat_map(|line| &line.to) {
            addresses::inspect(target, inspect);
        }
    }

    fn asks(&self) -> Vec<Asks<'_>> {
        let targets = self
            .0
            .iter()
            .flat_map(|line| line.to.iter().map(move |target| (line, target)));
        targets
            .filter_map(|(line, target)| target.asks(&line.from))
            .collect()
    }

    fn recurses(&self) -> bool {
        true
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let rules = self.0.into_iter().map(|line| {
            let span = line.span;
            line.rule().map_err(|error| error.at(span))
        });
        build.push(Arc::new(Alternate {
            rules: rules.collect::<Result<_, _>>()?,
        }));
        Ok(())
    }
}

impl Line {
    fn rule(self) -> Result<Rule, BuildError> {
        let no_resolvers: [SocketAddr; 0] = [];
        let endpoints = addresses::open(&Named {
            targets: &self.to,
            resolvers: &no_resolvers,
            ..Named::default()
        })?;
        if endpoints.len() > MOST_SERVERS {
            let text = format!("more than {MOST_SERVERS} upstream addresses");
            return Err(BuildError::new(text));
        }
        let from = self.from.parse::<NameBuf>();
        Ok(Rule {
            from: from.map_err(|error| BuildError::new(format!("zone {}: {error}", self.from)))?,
            rcodes: self.rcodes,
            original: self.original,
            upstreams: Arc::new(Upstreams::new(endpoints)),
        })
    }
}

impl Upstreams {
    /// With the bounds that CoreDNS's `forward` has by default, which `alternate` is made of there.
    fn new(endpoints: Vec<Arc<Endpoint>>) -> Self {
        let settings = Settings {
            bounds: Bounds {
                deadline: 5 * clock::SECOND,
                timeout: 2 * clock::SECOND,
                attempts: 2 * endpoints.len() as u32,
            },
            matching: Matching::Question,
            force_tcp: false,
            prefer_udp: false,
            keep: Keep {
                expire: 10 * clock::SECOND,
                max_age: 0,
                max_idle: 0,
                connect: 2 * clock::SECOND,
            },
            servers: Endpoint::set(&endpoints),
        };
        let check = HealthCheck {
            interval: Duration::from_millis(500),
            recursion: true,
            domain: NameBuf::root(),
        };
        let all = endpoints.into_iter().map(|endpoint| Upstream {
            health: Health::of(PROXY, &endpoint, &check, (false, settings.keep)),
            metrics: UpstreamMetrics::new(PROXY, &endpoint.label),
            endpoint,
        });
        Self {
            all: all.collect(),
            settings,
        }
    }
}
