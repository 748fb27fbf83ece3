//! Reads `grpc FROM TO... { ... }`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use chain::inspect::Inspect;
use chain::setup::{Answers, Asks, Build, BuildError, Parse, Registration, Setup};
use chain::{Fallthrough, scope};
use corefile::{Diagnostic, Directive, Line, Severity, Span, Token};
use host::clock;
use upstream::addresses::{self, Named};
use upstream::health::{Health, HealthCheck};
use upstream::message::Matching;
use upstream::target::{self, Place, Scheme, Target};
use upstream::tls::Files;
use upstream::{Bounds, Endpoint, Keep, MOST_SERVERS, Selection, Settings};
use wire::NameBuf;

use super::{Grpc, Upstream};

/// `grpc` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "grpc",
    parse,
    handler: true,
};

/// The options, for messages.
const OPTIONS: &[&str] = &["except", "tls", "tls_servername", "policy", "fallthrough"];
/// The most words behind FROM.
const MOST: usize = 15;
/// The longest that a query may take, in nanoseconds.
const DEADLINE: u64 = 5 * clock::SECOND;
/// How long an upstream is waited for before another one is asked, in nanoseconds.
const TIMEOUT: u64 = 2 * clock::SECOND;
/// How a directive is written.
const SHAPE: &str = "grpc FROM TO...";

/// The directive.
struct Config {
    span: Span,
    from: String,
    to: Vec<Target>,
    except: Vec<String>,
    /// What `tls` names, and where it stands.
    tls: Option<(Files, Span)>,
    server_name: Option<String>,
    selection: Selection,
    fall: Fallthrough,
    /// Whether every zone of the server block is within FROM.
    covers: bool,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    if !parse.at_least(directive, 2, SHAPE) {
        return None;
    }
    let [from, to @ ..] = &directive.args[..] else {
        return None;
    };
    let zone = parse.from_zone(from)?;
    parse.upstreams_at_most(to, MOST);
    let mut config = Config {
        span: directive.name.span,
        covers: parse.zones.iter().all(|own| scope::is_within(own, &zone)),
        from: zone,
        to: Vec::new(),
        except: Vec::new(),
        tls: None,
        server_name: None,
        selection: Selection::default(),
        fall: Fallthrough::No,
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        if let Err(diagnostic) = option(parse, directive, line, &mut config) {
            parse.report.push(*diagnostic);
        }
    }
    for word in to {
        match config.target(word) {
            Ok(target) => config.to.push(target),
            Err(diagnostic) => parse.report.push(*diagnostic),
        }
    }
    Some(Box::new(config))
}

/// Reads one line of the block.
fn option(
    parse: &mut Parse<'_>,
    directive: &Directive,
    line: &Line,
    config: &mut Config,
) -> Result<(), Box<Diagnostic>> {
    let Some((word, args)) = line.words.split_first() else {
        return Ok(());
    };
    let name = word.text.as_str();
    let (range, shape) = match name {
        "except" => (1..=usize::MAX - 1, "except NAME..."),
        "tls" => (0..=3, "tls [CERT KEY] [CA]"),
        "tls_servername" => (1..=1, "tls_servername NAME"),
        "policy" => (1..=1, "policy random|round_robin|sequential"),
        "fallthrough" => (0..=usize::MAX - 1, "fallthrough [ZONE...]"),
        _ => {
            parse.unknown_option(directive, line, OPTIONS);
            return Ok(());
        }
    };
    if !parse.arguments(line, range, shape) {
        return Ok(());
    }
    let first = args.first().unwrap_or(word);
    match name {
        "except" => config.except.extend(parse.read_zones(args, &[])),
        "tls" => config.tls = Some((Files::of(args), word.span)),
        "tls_servername" => {
            if rustls::pki_types::ServerName::try_from(first.text.as_str()).is_err() {
                let text = format!("not a TLS server name: `{}`", first.text);
                return Err(Box::new(
                    Diagnostic::error("CF0205", text)
                        .at(first.span, "expected a name such as `dns.example.org`"),
                ));
            }
            config.server_name = Some(first.text.clone());
        }
        "policy" => config.selection = Selection::parse(first)?,
        _ => config.fall = parse.read_fallthrough(line, &[]),
    }
    Ok(())
}

impl Config {
    /// Reads a word behind FROM. What is not said of its port is 53, as in CoreDNS.
    fn target(&self, word: &Token) -> Result<Target, Box<Diagnostic>> {
        let scheme = match self.tls.is_some() || self.server_name.is_some() {
            true => Scheme::GrpcTls,
            false => Scheme::Grpc,
        };
        if let Some(path) = word.text.strip_prefix("unix://") {
            if path.is_empty() {
                return Err(Box::new(
                    Diagnostic::error("CF0208", format!("invalid address: \"{}\"", word.text))
                        .at(word.span, "a path is missing"),
                ));
            }
            return Ok(Target {
                scheme,
                place: Place::Socket(PathBuf::from(path)),
                zone: None,
                path: None,
                span: word.span,
            });
        }
        let target = target::parse(word, ("grpc", &[Scheme::Dns]))?;
        Ok(Target { scheme, ..target })
    }

    /// How upstreams are asked.
    fn settings(endpoints: &[Arc<Endpoint>]) -> Settings {
        Settings {
            bounds: Bounds {
                deadline: DEADLINE,
                timeout: TIMEOUT,
                attempts: 2 * endpoints.len() as u32,
            },
            matching: Matching::Question,
            force_tcp: true,
            prefer_udp: false,
            keep: Keep {
                expire: 10 * clock::SECOND,
                max_age: 0,
                max_idle: 0,
                connect: TIMEOUT,
            },
            servers: Endpoint::set(endpoints),
        }
    }
}

impl Setup for Config {
    fn inspect(&self, inspect: &mut Inspect<'_>) {
        if let Some((files, span)) = &self.tls {
            let mut files = files.clone();
            files.resolve(|path| inspect.path(path));
            let unread = files.paths().find_map(|path| {
                let error = inspect.look(path).err()?;
                Some(format!("{}: {error}", path.display()))
            });
            let wrong = match unread {
                Some(unread) => Some(unread),
                None if files.is_empty() => None,
                None => files.config().err().map(|error| error.message),
            };
            if let Some(wrong) = wrong {
                inspect.tell(Severity::Error, wrong, *span);
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
        let zones = match self.covers {
            true => Vec::new(),
            false => vec![self.from.clone()],
        };
        match self.except.is_empty() {
            true => vec![(self.fall.reach(), zones)],
            false => vec![(Answers::SomeNames, zones)],
        }
    }

    fn build(mut self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let span = self.span;
        let name = |text: &String| {
            let name = text.parse::<NameBuf>().map(NameBuf::to_lower);
            name.map_err(|error| BuildError::new(format!("zone {text}: {error}")).at(span))
        };
        let (mut tls, tls_span) = self.tls.take().unwrap_or((Files::default(), span));
        tls.resolve(|path| build.path(path));
        let at = if tls.is_empty() { span } else { tls_span };
        let endpoints = addresses::open(&Named {
            targets: &self.to,
            tls,
            server_name: self.server_name.as_deref(),
            ..Named::default()
        })
        .map_err(|error| error.at(at))?;
        if endpoints.len() > MOST_SERVERS {
            let text = format!("more than {MOST_SERVERS} upstream addresses");
            return Err(BuildError::new(text).at(span));
        }
        let settings = Self::settings(&endpoints);
        let check = HealthCheck {
            interval: Duration::from_millis(500),
            recursion: true,
            domain: NameBuf::root(),
        };
        let upstreams = endpoints.into_iter().map(|endpoint| {
            let health = Health::of("grpc", &endpoint, &check, (true, settings.keep));
            Upstream::new(endpoint, health)
        });
        build.push(Arc::new(Grpc {
            from: name(&self.from)?,
            except: self.except.iter().map(name).collect::<Result<_, _>>()?,
            upstreams: upstreams.collect(),
            selection: self.selection,
            robin: AtomicU32::new(0),
            fall: self.fall,
            settings,
        }));
        Ok(())
    }
}
