//! Reads `fanout FROM TO... { ... }`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chain::inspect::Inspect;
use chain::scope;
use chain::setup::{Answers, Asks, Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive, Line, Severity, Span, Token, value};
use host::clock;
use upstream::addresses::{self, Named};
use upstream::message::Matching;
use upstream::target::{self, Place, Scheme, Target};
use upstream::tls::Files;
use upstream::{Bounds, Endpoint, Keep, Settings};
use wire::{NameBuf, Rcode};

use super::{Fanout, Race, Upstream};

/// `fanout` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "fanout",
    parse,
    handler: true,
};

/// The options, for messages.
const OPTIONS: &[&str] = &[
    "tls",
    "tls-server",
    "tls_servername",
    "worker-count",
    "network",
    "except",
    "except-file",
    "attempt-count",
    "timeout",
    "race",
    "race-continue-on-error-response",
    "next",
    "policy",
    "weighted-random-server-count",
    "weighted-random-load-factor",
];
/// The most upstreams.
const MOST: usize = 100;
/// How a directive is written.
const SHAPE: &str = "fanout FROM TO...";

/// How upstreams are spoken to that do not say so themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Network {
    Udp,
    Tcp,
    Tls,
}

/// The directive.
struct Config {
    span: Span,
    from: String,
    to: Vec<Target>,
    tls: Files,
    server_name: Option<String>,
    workers: Option<usize>,
    network: Network,
    except: Vec<String>,
    except_files: Vec<Token>,
    attempts: u32,
    timeout: Duration,
    race: bool,
    race_continues: bool,
    next: Vec<Rcode>,
    weighted: bool,
    count: usize,
    weights: Vec<u32>,
    weights_at: Span,
    /// Whether every zone of the server block is within FROM.
    covers: bool,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    let [from, to @ ..] = &directive.args[..] else {
        parse.at_least(directive, 2, SHAPE);
        return None;
    };
    let zone = parse.from_zone(from)?;
    if !parse.at_least(directive, 2, SHAPE) {
        return None;
    }
    parse.upstreams_at_most(to, MOST);
    let mut config = Config {
        span: directive.name.span,
        covers: parse.zones.iter().all(|own| scope::is_within(own, &zone)),
        from: zone,
        to: Vec::new(),
        tls: Files::default(),
        server_name: None,
        workers: None,
        network: Network::Udp,
        except: Vec::new(),
        except_files: Vec::new(),
        attempts: 3,
        timeout: Duration::from_secs(30),
        race: false,
        race_continues: false,
        next: Vec::new(),
        weighted: false,
        count: 0,
        weights: Vec::new(),
        weights_at: directive.name.span,
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        if let Err(diagnostic) = option(parse, directive, line, &mut config) {
            parse.report.push(diagnostic);
        }
    }
    for word in to {
        match target::parse(word, ("fanout", &[Scheme::Dns, Scheme::Tls])) {
            Ok(mut target) => {
                if config.network == Network::Tls {
                    target.scheme = Scheme::Tls;
                }
                config.to.push(target);
            }
            Err(diagnostic) => parse.report.push(*diagnostic),
        }
    }
    let addresses = config
        .to
        .iter()
        .all(|to| matches!(to.place, Place::Address(_)));
    if addresses && !config.weights.is_empty() && config.weights.len() != config.to.len() {
        parse.report.push(
            Diagnostic::error(
                "CF0107",
                "load-factor params count must be the same as the number of hosts",
            )
            .at(
                config.weights_at,
                format!("{} upstreams are named", config.to.len()),
            ),
        );
    }
    Some(Box::new(config))
}

/// Reads one line of the block.
fn option(
    parse: &mut Parse<'_>,
    directive: &Directive,
    line: &Line,
    config: &mut Config,
) -> Result<(), Diagnostic> {
    let Some((word, args)) = line.words.split_first() else {
        return Ok(());
    };
    let name = word.text.to_ascii_lowercase();
    let range = match name.as_str() {
        "except" | "next" | "weighted-random-load-factor" => 1..=usize::MAX - 1,
        "tls" => 0..=3,
        "race" | "race-continue-on-error-response" => 0..=0,
        _ => 1..=1,
    };
    if !OPTIONS.contains(&name.as_str()) {
        parse.unknown_option(directive, line, OPTIONS);
        return Ok(());
    }
    if !parse.arguments(line, range, shape(&name)) {
        return Ok(());
    }
    let first = args.first().unwrap_or(word);
    match name.as_str() {
        "tls" => config.tls = Files::of(args),
        "tls-server" | "tls_servername" => config.server_name = Some(first.text.clone()),
        "worker-count" => config.workers = Some(workers(first)?),
        "network" => {
            config.network = match first.text.to_ascii_lowercase().as_str() {
                "udp" => Network::Udp,
                "tcp" => Network::Tcp,
                "tcp-tls" => Network::Tls,
                _ => {
                    return Err(Diagnostic::error("CF0211", "unknown network protocol")
                        .at(first.span, "expected `udp`, `tcp` or `tcp-tls`"));
                }
            };
        }
        "except" => config.except.extend(parse.read_zones(args, &[])),
        "except-file" => config.except_files.push(first.clone()),
        "attempt-count" => {
            config.attempts = value::integer(first, 0..=i64::from(u32::MAX))? as u32;
        }
        "timeout" => {
            config.timeout = value::duration(first)?;
            if config.timeout.is_zero() {
                return Err(Diagnostic::error("CF0203", "timeout must be positive")
                    .at(first.span, "expected a duration such as `30s`"));
            }
        }
        "race" => config.race = true,
        "race-continue-on-error-response" => config.race_continues = true,
        "next" => {
            for token in args {
                config.next.push(Rcode(value::rcode(token)?));
            }
        }
        "policy" => {
            config.weighted = match first.text.to_ascii_lowercase().as_str() {
                "sequential" => false,
                "weighted-random" => true,
                other => {
                    return Err(
                        Diagnostic::error("CF0211", format!("unknown policy \"{other}\""))
                            .at(first.span, "expected `sequential` or `weighted-random`"),
                    );
                }
            };
        }
        "weighted-random-server-count" => {
            config.count = value::integer(first, 0..=i64::from(u32::MAX))? as usize;
        }
        _ => {
            config.weights_at = word.span;
            for token in args {
                config.weights.push(value::integer(token, 1..=100)? as u32);
            }
        }
    }
    Ok(())
}

fn workers(token: &Token) -> Result<usize, Diagnostic> {
    match value::integer(token, 0..=i64::from(u32::MAX))? as usize {
        0 | 1 => Err(Diagnostic::error(
            "CF0203",
            "worker count should be more or equal 2. Consider to use Forward plugin",
        )
        .at(token.span, "expected 2 to 32")),
        33.. => Err(
            Diagnostic::error("CF0203", "worker count more then max value: 32")
                .at(token.span, "expected 2 to 32"),
        ),
        workers => Ok(workers),
    }
}

/// How an option is written.
fn shape(name: &str) -> &'static str {
    match name {
        "tls" => "tls [CERT KEY] [CA]",
        "tls-server" | "tls_servername" => "tls-server NAME",
        "worker-count" => "worker-count NUMBER",
        "network" => "network udp|tcp|tcp-tls",
        "except" => "except ZONE...",
        "except-file" => "except-file FILE",
        "attempt-count" => "attempt-count NUMBER",
        "timeout" => "timeout DURATION",
        "race" => "race",
        "race-continue-on-error-response" => "race-continue-on-error-response",
        "next" => "next RCODE...",
        "policy" => "policy sequential|weighted-random",
        "weighted-random-server-count" => "weighted-random-server-count NUMBER",
        _ => "weighted-random-load-factor NUMBER...",
    }
}

/// The zones of a file, one a line; a `#` begins a remark.
fn exceptions(path: &Path) -> Result<Vec<NameBuf>, String> {
    let text = host::regular::read_text(path)
        .map_err(|error| format!("open {}: {error}", path.display()))?;
    let lines = text.lines().enumerate().map(|(number, line)| {
        let zone = line.split('#').next().unwrap_or_default().trim();
        (number + 1, zone)
    });
    lines
        .filter(|(_, zone)| !zone.is_empty())
        .map(|(number, zone)| match zone.parse::<NameBuf>() {
            Ok(name) => Ok(name.to_lower()),
            Err(why) => Err(format!(
                "{}:{number}: unable to normalize '{zone}': {why}",
                path.display()
            )),
        })
        .collect()
}

impl Setup for Config {
    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for file in &self.except_files {
            if let Err(wrong) = exceptions(&inspect.path(&file.text)) {
                inspect.tell(Severity::Error, wrong, file.span);
            }
        }
        for target in &self.to {
            addresses::inspect(target, inspect);
        }
    }

    fn asks(&self) -> Vec<Asks<'_>> {
        let asks = self.to.iter().filter_map(|target| target.asks(&self.from));
        asks.collect()
    }

    fn recurses(&self) -> bool {
        true
    }

    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        let excepts = !self.except.is_empty() || !self.except_files.is_empty();
        let zones = match self.covers {
            true => Vec::new(),
            false => vec![self.from.clone()],
        };
        match excepts || !self.next.is_empty() {
            true => vec![(Answers::SomeNames, zones)],
            false => vec![(Answers::Everything, zones)],
        }
    }

    fn build(mut self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let span = self.span;
        let name = |text: &String| {
            let name = text.parse::<NameBuf>().map(NameBuf::to_lower);
            name.map_err(|error| BuildError::new(format!("zone {text}: {error}")).at(span))
        };
        let from = name(&self.from)?;
        let mut except = self
            .except
            .iter()
            .map(name)
            .collect::<Result<Vec<_>, _>>()?;
        for file in &self.except_files {
            let found = exceptions(&build.path(&file.text));
            except.extend(found.map_err(|why| BuildError::new(why).at(file.span))?);
        }
        self.tls.resolve(|path| build.path(path));
        let endpoints = addresses::open(&Named {
            targets: &self.to,
            tls: self.tls.clone(),
            server_name: self.server_name.as_deref(),
            ..Named::default()
        })
        .map_err(|error| error.at(span))?;
        let all = endpoints.len();
        if all > MOST {
            let text = format!("more than {MOST} TOs configured: {all}");
            return Err(BuildError::new(text).at(span));
        }
        if self.weights.is_empty() {
            self.weights = vec![100; all];
        }
        if self.weights.len() != all {
            let text = "load-factor params count must be the same as the number of hosts";
            return Err(BuildError::new(text).at(self.weights_at));
        }
        let upstreams = endpoints.into_iter().map(|endpoint| {
            let settings = self.settings(&endpoint);
            Arc::new(Upstream::new(endpoint, settings))
        });
        let upstreams: Vec<_> = upstreams.collect();
        build.push(Arc::new(Fanout {
            from,
            except,
            upstreams,
            workers: self.workers.unwrap_or(all).min(all),
            count: match self.count {
                0 => all,
                count => count.min(all),
            },
            weights: self.weighted.then_some(self.weights),
            race: match (self.race, self.race_continues) {
                (false, _) => Race::Off,
                (true, false) => Race::First,
                (true, true) => Race::FirstKnown,
            },
            next: self.next,
            timeout: self.timeout,
        }));
        Ok(())
    }
}

impl Config {
    /// How one upstream is asked.
    fn settings(&self, endpoint: &Arc<Endpoint>) -> Settings {
        let timeout = u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX);
        Settings {
            bounds: Bounds {
                deadline: timeout,
                timeout: timeout.min(2 * clock::SECOND),
                attempts: self.attempts,
            },
            matching: Matching::Question,
            force_tcp: self.network == Network::Tcp,
            prefer_udp: self.network != Network::Tcp,
            keep: Keep {
                expire: 10 * clock::SECOND,
                max_age: 0,
                max_idle: 0,
                connect: 2 * clock::SECOND,
            },
            servers: Endpoint::set(std::slice::from_ref(endpoint)),
        }
    }
}
