//! Reads `forward` lines: syntax to [`Options`], and [`Options`] to plugins at work.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chain::setup::{Answers, Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive, Line, Span, Token, value};
use wire::{NameBuf, Rcode};

use super::target::{self, Target};
use super::tls::Files;
use super::{Forward, upstream};

/// `forward` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "forward",
    parse,
    handler: true,
};

/// The most words behind FROM.
const MOST: usize = 15;

pub(super) const OPTIONS: &[&str] = &[
    "except",
    "force_tcp",
    "prefer_udp",
    "expire",
    "max_age",
    "max_idle_conns",
    "read_timeout",
    "max_fails",
    "max_connect_attempts",
    "doh_method",
    "tls",
    "tls_servername",
    "policy",
    "health_check",
    "max_concurrent",
    "next",
    "next_on_nodata",
    "failfast_all_unhealthy_upstreams",
    "failover",
    "source_address",
    "resolver",
    "0x20",
];

/// In which order upstreams are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Policy {
    /// A new order for every query.
    Random,
    /// The first one moves on by one with every query.
    RoundRobin,
    /// As written.
    Sequential,
}

/// How an upstream that failed is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct HealthCheck {
    /// The pause between two probes.
    pub(super) interval: Duration,
    /// Whether probes ask for recursion.
    pub(super) recursion: bool,
    /// The name that is asked for (NS).
    pub(super) domain: NameBuf,
}

/// One `forward` line as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Options {
    pub(super) from: String,
    pub(super) to: Vec<Target>,
    pub(super) except: Vec<String>,
    pub(super) force_tcp: bool,
    pub(super) prefer_udp: bool,
    pub(super) expire: Duration,
    pub(super) max_age: Duration,
    pub(super) max_idle: usize,
    pub(super) read_timeout: Duration,
    pub(super) max_fails: u32,
    /// `None`: twice the number of upstreams. 0: no bound but the deadline.
    pub(super) max_attempts: Option<u32>,
    pub(super) tls: Files,
    pub(super) tls_server_name: Option<String>,
    pub(super) policy: Policy,
    pub(super) health: HealthCheck,
    pub(super) max_concurrent: u32,
    pub(super) next: Vec<Rcode>,
    pub(super) next_on_nodata: bool,
    pub(super) failfast: bool,
    pub(super) failover: Vec<Rcode>,
    pub(super) source: Option<IpAddr>,
    pub(super) resolvers: Vec<std::net::SocketAddr>,
    pub(super) mixed_case: bool,
    span: Span,
}

fn parse(p: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let lines: Vec<_> = p
        .directives
        .iter()
        .filter_map(|directive| one(p, directive))
        .collect();
    let zones = p.zones.to_vec();
    Some(Box::new(Forwards { lines, zones }))
}

/// All `forward` lines of a block, in file order.
struct Forwards {
    lines: Vec<Options>,
    zones: Vec<String>,
}

impl Setup for Forwards {
    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        let covers = |from: &str| {
            let within = |zone: &String| {
                let (zone, from) = (zone.parse::<NameBuf>(), from.parse::<NameBuf>());
                matches!((zone, from), (Ok(zone), Ok(from)) if zone.as_name().is_within(from.as_name()))
            };
            self.zones.iter().all(within)
        };
        self.lines
            .iter()
            .map(|line| {
                let zones = match covers(&line.from) && line.except.is_empty() {
                    true => Vec::new(),
                    false => vec![line.from.clone()],
                };
                match line.except.is_empty() {
                    true => (Answers::Everything, zones),
                    false => (Answers::SomeNames, zones),
                }
            })
            .collect()
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let count = self.lines.len();
        for (at, mut options) in self.lines.into_iter().enumerate() {
            let span = options.span;
            options.tls.resolve(|path| build.path(path));
            let upstreams = upstream::open(&options).map_err(|error| error.at(span))?;
            if build.config.bind.is_empty() {
                upstream::warn_of_stub(&upstreams);
            }
            let forward =
                Forward::new(options, upstreams, at + 1 < count).map_err(|error| error.at(span))?;
            build.push(Arc::new(forward));
        }
        Ok(())
    }
}

impl Options {
    /// The defaults of CoreDNS.
    pub(super) fn new(from: String, span: Span) -> Self {
        Self {
            from,
            to: Vec::new(),
            except: Vec::new(),
            force_tcp: false,
            prefer_udp: false,
            expire: Duration::from_secs(10),
            max_age: Duration::ZERO,
            max_idle: 0,
            read_timeout: Duration::from_secs(2),
            max_fails: 2,
            max_attempts: None,
            tls: Files::default(),
            tls_server_name: None,
            policy: Policy::Random,
            health: HealthCheck {
                interval: Duration::from_millis(500),
                recursion: true,
                domain: NameBuf::root(),
            },
            max_concurrent: 0,
            next: Vec::new(),
            next_on_nodata: false,
            failfast: false,
            failover: Vec::new(),
            source: None,
            resolvers: Vec::new(),
            mixed_case: false,
            span,
        }
    }
}

/// Reads one directive.
fn one(p: &mut Parse<'_>, directive: &Directive) -> Option<Options> {
    let Some(from) = directive.args.first() else {
        p.report
            .push(missing(&directive.name, "forward FROM TO..."));
        return None;
    };
    let mut zones = match corefile::key::parse(from) {
        Ok(key) => key.zones,
        Err(_) => Vec::new(),
    };
    if zones.is_empty() {
        p.report.push(
            Diagnostic::error("CF0205", format!("unable to normalize '{}'", from.text))
                .at(from.span, "expected a zone such as `.` or `example.org`"),
        );
        return None;
    }
    let zone = zones.swap_remove(0);
    if !zones.is_empty() {
        p.report.push(
            Diagnostic::warning(
                "CF0305",
                format!(
                    "Unsupported CIDR notation: '{}' expands to multiple zones. Using only '{zone}'.",
                    from.text
                ),
            )
            .at(from.span, "only the first zone is forwarded")
            .help("write one `forward` for each octet-aligned prefix"),
        );
    }
    let mut options = Options::new(zone, directive.name.span);
    let to = &directive.args[1..];
    if to.is_empty() {
        p.report.push(missing(from, "forward FROM TO..."));
    }
    if let Some(extra) = to.get(MOST) {
        p.report.push(
            Diagnostic::error(
                "CF0203",
                format!("more than {MOST} TOs configured: {}", to.len()),
            )
            .at(extra.span, "one too many"),
        );
    }
    let mut max_age = None;
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        if line
            .words
            .first()
            .is_some_and(|word| word.text == "max_age")
        {
            max_age = line.words.last();
        }
        if let Err(diagnostic) = option(p, directive, line, &mut options) {
            p.report.push(diagnostic);
        }
    }
    if options.max_age > Duration::ZERO && options.max_age < options.expire {
        let text = format!(
            "max_age ({:?}) must not be less than expire ({:?})",
            options.max_age, options.expire
        );
        let at = max_age.map_or(directive.name.span, |word| word.span);
        p.report
            .push(Diagnostic::error("CF0203", text).at(at, "less than `expire`"));
    }
    for word in to {
        match target::parse(word) {
            Ok(target) => {
                if let (Some(all), Some(own)) = (&options.tls_server_name, target.server_name()) {
                    p.report.push(
                        Diagnostic::error(
                            "CF0211",
                            format!(
                                "both forward ('{all}') and proxy level ('{own}') TLS servernames are set for upstream proxy '{target}'"
                            ),
                        )
                        .at(word.span, "this upstream has a server name of its own"),
                    );
                }
                options.to.push(target);
            }
            Err(diagnostic) => p.report.push(*diagnostic),
        }
    }
    Some(options)
}

fn missing(behind: &Token, shape: &str) -> Diagnostic {
    Diagnostic::error(
        "CF0107",
        format!(
            "Wrong argument count or unexpected line ending after '{}'",
            behind.text
        ),
    )
    .at(behind.span, format!("expected `{shape}`"))
}

/// Reads one line of the block.
fn option(
    p: &mut Parse<'_>,
    directive: &Directive,
    line: &Line,
    options: &mut Options,
) -> Result<(), Diagnostic> {
    let Some(word) = line.words.first() else {
        return Ok(());
    };
    let name = word.text.as_str();
    let args = &line.words[1..];
    let range = match name {
        "except" | "next" | "failover" | "resolver" => 1..=usize::MAX - 1,
        "health_check" => 1..=usize::MAX - 1,
        "tls" => 0..=3,
        "force_tcp"
        | "prefer_udp"
        | "next_on_nodata"
        | "failfast_all_unhealthy_upstreams"
        | "0x20" => 0..=0,
        _ => 1..=1,
    };
    if !OPTIONS.contains(&name) {
        p.unknown_option(directive, line, OPTIONS);
        return Ok(());
    }
    if !p.arguments(line, range, shape(name)) {
        return Ok(());
    }
    let first = args.first().unwrap_or(word);
    match name {
        "except" => options.except.extend(value::zones_or_cidrs(args)?),
        "force_tcp" => options.force_tcp = true,
        "prefer_udp" => options.prefer_udp = true,
        "expire" => options.expire = value::duration(first)?,
        "max_age" => options.max_age = value::duration(first)?,
        "max_idle_conns" => {
            options.max_idle = value::integer(first, 0..=i64::from(u32::MAX))? as usize;
        }
        "read_timeout" => {
            options.read_timeout = value::duration(first)?;
            if options.read_timeout.is_zero() {
                return Err(Diagnostic::error(
                    "CF0203",
                    format!("read_timeout must be positive: {}", first.text),
                )
                .at(first.span, "expected a duration such as `2s`"));
            }
        }
        "max_fails" => options.max_fails = value::integer(first, 0..=i64::from(u32::MAX))? as u32,
        "max_connect_attempts" => {
            options.max_attempts = Some(value::integer(first, 0..=i64::from(u32::MAX))? as u32);
        }
        "doh_method" => {
            return Err(Diagnostic::error(
                "CF0901",
                "`doh_method`: DNS over HTTPS to upstreams is not implemented yet",
            )
            .at(word.span, "not implemented here")
            .note("upstreams can be reached over UDP, TCP and TLS (`tls://`)"));
        }
        "tls" => options.tls = Files::new(args),
        "tls_servername" => options.tls_server_name = Some(server_name(first)?),
        "policy" => options.policy = policy(first)?,
        "health_check" => options.health = health_check(args)?,
        "max_concurrent" => {
            options.max_concurrent = value::integer(first, 0..=i64::from(u32::MAX))? as u32;
        }
        "next" => options.next.extend(rcodes(args)?),
        "next_on_nodata" => options.next_on_nodata = true,
        "failfast_all_unhealthy_upstreams" => options.failfast = true,
        "failover" => {
            for (rcode, token) in rcodes(args)?.into_iter().zip(args) {
                if rcode == Rcode::NOERROR {
                    return Err(
                        Diagnostic::error("CF0211", "NoError cannot be used in failover")
                            .at(token.span, "a reply without error is never asked for again"),
                    );
                }
                options.failover.push(rcode);
            }
        }
        "source_address" => options.source = Some(value::ip(first)?),
        "resolver" => {
            options.resolvers = args
                .iter()
                .map(|token| value::socket_address(token, 53))
                .collect::<Result<_, _>>()?;
        }
        _ => options.mixed_case = true,
    }
    Ok(())
}

/// How an option is written.
fn shape(name: &str) -> &'static str {
    match name {
        "except" => "except NAME...",
        "force_tcp" => "force_tcp",
        "prefer_udp" => "prefer_udp",
        "expire" => "expire DURATION",
        "max_age" => "max_age DURATION",
        "max_idle_conns" => "max_idle_conns INTEGER",
        "read_timeout" => "read_timeout DURATION",
        "max_fails" => "max_fails INTEGER",
        "max_connect_attempts" => "max_connect_attempts INTEGER",
        "doh_method" => "doh_method GET|POST",
        "tls" => "tls [CERT KEY] [CA]",
        "tls_servername" => "tls_servername NAME",
        "policy" => "policy random|round_robin|sequential",
        "health_check" => "health_check DURATION [no_rec] [domain FQDN]",
        "max_concurrent" => "max_concurrent MAX",
        "next" => "next RCODE...",
        "next_on_nodata" => "next_on_nodata",
        "failfast_all_unhealthy_upstreams" => "failfast_all_unhealthy_upstreams",
        "failover" => "failover RCODE...",
        "source_address" => "source_address IP",
        "resolver" => "resolver IP[:PORT]...",
        _ => "0x20",
    }
}

fn server_name(token: &Token) -> Result<String, Diagnostic> {
    match rustls::pki_types::ServerName::try_from(token.text.as_str()) {
        Ok(_) => Ok(token.text.clone()),
        Err(_) => Err(Diagnostic::error(
            "CF0205",
            format!("not a TLS server name: `{}`", token.text),
        )
        .at(token.span, "expected a name such as `dns.quad9.net`")),
    }
}

pub(super) fn policy(token: &Token) -> Result<Policy, Diagnostic> {
    match token.text.as_str() {
        "random" => Ok(Policy::Random),
        "round_robin" => Ok(Policy::RoundRobin),
        "sequential" => Ok(Policy::Sequential),
        other => {
            let known = ["random", "round_robin", "sequential"];
            let diagnostic = Diagnostic::error("CF0211", format!("unknown policy '{other}'")).at(
                token.span,
                "expected `random`, `round_robin` or `sequential`",
            );
            Err(match corefile::nearest(other, known) {
                Some(near) => diagnostic
                    .help("a similar policy exists")
                    .replace(token.span, near),
                None => diagnostic,
            })
        }
    }
}

fn health_check(args: &[Token]) -> Result<HealthCheck, Diagnostic> {
    let mut out = HealthCheck {
        interval: value::duration(&args[0])?,
        recursion: true,
        domain: NameBuf::root(),
    };
    let mut words = args[1..].iter();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "no_rec" => out.recursion = false,
            "domain" => {
                let name = words
                    .next()
                    .ok_or_else(|| missing(word, "health_check DURATION [no_rec] [domain FQDN]"))?;
                out.domain = value::zone(name)?.parse().map_err(|_| {
                    Diagnostic::error(
                        "CF0205",
                        format!("health_check: invalid domain name {}", name.text),
                    )
                    .at(name.span, "expected a domain name")
                })?;
            }
            other => {
                return Err(Diagnostic::error(
                    "CF0102",
                    format!("health_check: unknown option {other}"),
                )
                .at(word.span, "expected `no_rec` or `domain FQDN`"));
            }
        }
    }
    Ok(out)
}

fn rcodes(tokens: &[Token]) -> Result<Vec<Rcode>, Diagnostic> {
    tokens
        .iter()
        .map(|token| value::rcode(token).map(Rcode))
        .collect()
}

impl Files {
    /// `tls`'s arguments: nothing, CA, CERT KEY, or CERT KEY CA.
    fn new(args: &[Token]) -> Self {
        let path = |at: usize| args.get(at).map(|token| PathBuf::from(&token.text));
        match args.len() {
            1 => Self {
                certificate: None,
                authorities: path(0),
            },
            _ => Self {
                certificate: path(0).zip(path(1)),
                authorities: path(2),
            },
        }
    }
}
