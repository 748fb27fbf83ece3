//! Reads `forward` lines: syntax to [`Options`], and [`Options`] to plugins at work.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chain::inspect::Inspect;
use chain::scope;
use chain::setup::{Answers, Asks, Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Directive, Line, Report, Severity, Span, Token, doubt, value};
use wire::{NameBuf, Rcode};

use upstream::addresses::{self, Named};
use upstream::health::HealthCheck;
use upstream::target::{self, Scheme, Target};
use upstream::tls::Files;
use upstream::{Endpoint, Selection};

use super::Forward;

/// `forward` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "forward",
    parse,
    handler: true,
};

/// How upstreams may be spoken to.
pub(super) const SCHEMES: &[Scheme] = &[Scheme::Dns, Scheme::Tls, Scheme::Https, Scheme::Quic];
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
    /// Where `tls` stands.
    pub(super) tls_span: Option<Span>,
    pub(super) tls_server_name: Option<String>,
    /// Whether DNS over HTTPS asks by GET.
    pub(super) doh_get: bool,
    pub(super) policy: Selection,
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
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        for (at, line) in self.lines.iter().enumerate() {
            let upper = self.lines[..at].iter().find(|upper| {
                !scene.is_broken(upper.span, report)
                    && upper.except.is_empty()
                    && upper.next.is_empty()
                    && !upper.next_on_nodata
                    && scene
                        .zones
                        .iter()
                        .filter(|zone| scope::overlap(zone, &line.from))
                        .all(|zone| {
                            scope::is_within(&line.from, &upper.from)
                                || scope::is_within(zone, &upper.from)
                        })
            });
            if let Some(upper) = upper {
                report.push(
                    Diagnostic::warning(
                        "CF0301",
                        format!(
                            "this `forward` is never asked: the one before it handles every name of `{}`",
                            line.from
                        ),
                    )
                    .at(line.span, "never asked")
                    .beside(upper.span, "asked first, and answers or fails")
                    .help("write both upstreams into one `forward`, or put the longer zone first"),
                );
            }
        }
    }

    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for line in &self.lines {
            let mut tls = line.tls.clone();
            tls.resolve(|path| inspect.path(path));
            let unread = tls.paths().find_map(|path| {
                let error = inspect.look(path).err()?;
                Some(format!("{}: {error}", path.display()))
            });
            let wrong = match unread {
                Some(unread) => Some(unread),
                None if tls.is_empty() => None,
                None => tls.config().err().map(|error| error.message),
            };
            if let Some(wrong) = wrong {
                inspect.tell(Severity::Error, wrong, line.tls_span.unwrap_or(line.span));
            }
            for target in &line.to {
                addresses::inspect(target, inspect);
            }
        }
    }

    fn asks(&self) -> Vec<Asks<'_>> {
        let targets = self
            .lines
            .iter()
            .flat_map(|line| line.to.iter().map(move |target| (line, target)));
        targets
            .filter_map(|(line, target)| target.asks(&line.from))
            .collect()
    }

    fn recurses(&self) -> bool {
        true
    }

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
                let zones = match covers(&line.from) {
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

    fn handlers(&self) -> usize {
        self.lines.len()
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let count = self.lines.len();
        for (at, mut options) in self.lines.into_iter().enumerate() {
            let span = options.span;
            options.tls.resolve(|path| build.path(path));
            let named = Named {
                targets: &options.to,
                resolvers: &options.resolvers,
                tls: options.tls.clone(),
                server_name: options.tls_server_name.as_deref(),
                source: options.source,
                get: options.doh_get,
            };
            let endpoints = addresses::open(&named).map_err(|error| error.at(span))?;
            if build.config.bind.is_empty() {
                warn_of_stub(&endpoints);
            }
            let forward =
                Forward::new(options, endpoints, at + 1 < count).map_err(|error| error.at(span))?;
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
            tls_span: None,
            tls_server_name: None,
            doh_get: false,
            policy: Selection::default(),
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
    let mut zones = p.from_zones(from)?;
    let zone = zones.swap_remove(0);
    if !zones.is_empty() {
        p.report.push(
            Diagnostic::warning(
                "CF0307",
                format!(
                    "Unsupported CIDR notation: '{}' expands to multiple zones. Using only '{zone}'.",
                    from.text
                ),
            )
            .at(from.span, "only the first zone is forwarded")
            .help("write one `forward` for each octet-aligned prefix"),
        );
    }
    if let Some(doubt) = from_doubt(from, directive) {
        p.report.push(doubt);
    } else if let Some(doubt) = p.outside(from, &zone) {
        p.report
            .push(doubt.help("`.` is every name of the server block"));
    }
    let mut options = Options::new(zone, directive.name.span);
    let to = &directive.args[1..];
    if to.is_empty() {
        p.report.push(missing(from, "forward FROM TO..."));
    }
    p.upstreams_at_most(to, MOST);
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
    let lines = || directive.block.iter().flat_map(|block| &block.lines);
    if !to.iter().any(is_secure) {
        p.report.extend(lines().filter_map(without_tls));
    }
    if !to.iter().any(|word| word.text.starts_with("https://")) {
        p.report.extend(lines().filter_map(without_https));
    }
    for word in to {
        match target::parse(word, ("forward", SCHEMES)) {
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

/// What is odd about FROM: an upstream where the zone is forgotten, or no zone at all.
fn from_doubt(from: &Token, directive: &Directive) -> Option<Diagnostic> {
    let upstream = from.text.parse::<IpAddr>().is_ok()
        || from.text.parse::<std::net::SocketAddr>().is_ok()
        || is_secure(from) && directive.args.len() == 1;
    if upstream {
        return Some(
            Diagnostic::warning(
                "CF0213",
                format!("`{}` is read as the zone to forward", from.text),
            )
            .at(
                from.span,
                "this looks like an upstream; the zone comes before it",
            )
            .help("write the zone; `.` is every name")
            .replace(from.span, format!(". {}", from.text)),
        );
    }
    doubt::argument(from, "forward", OPTIONS)
}

/// Whether an upstream is spoken to over TLS or QUIC.
fn is_secure(word: &Token) -> bool {
    let schemes = ["tls://", "https://", "quic://"];
    schemes.iter().any(|scheme| word.text.starts_with(scheme))
}

/// What is odd about a line that says how DNS over HTTPS asks, where no upstream is spoken to so.
fn without_https(line: &Line) -> Option<Diagnostic> {
    let word = line
        .words
        .first()
        .filter(|word| word.text == "doh_method")?;
    Some(
        Diagnostic::warning("CF0332", "`doh_method` without an upstream over HTTPS")
            .at(word.span, "no TO begins with `https://`"),
    )
}

/// What is odd about a line that sets up TLS where no upstream is spoken to over TLS: queries are sent in clear text, as CoreDNS does.
fn without_tls(line: &Line) -> Option<Diagnostic> {
    let word = line
        .words
        .first()
        .filter(|word| matches!(word.text.as_str(), "tls" | "tls_servername"))?;
    let text = format!("`{}` without an upstream over TLS", word.text);
    Some(
        Diagnostic::warning("CF0332", text)
            .at(
                word.span,
                "no TO begins with `tls://`, `https://` or `quic://`: queries leave in clear text",
            )
            .help("write `tls://` before the addresses that use TLS, or remove the option"),
    )
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
        "except" => options.except.extend(p.read_zones(args, &[])),
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
            options.doh_get = match first.text.as_str() {
                "GET" => true,
                "POST" => false,
                _ => {
                    return Err(Diagnostic::error(
                        "CF0211",
                        "doh_method must be either POST or GET",
                    )
                    .at(first.span, "expected `GET` or `POST`"));
                }
            };
        }
        "tls" => {
            options.tls = Files::of(args);
            options.tls_span = Some(word.span);
        }
        "tls_servername" => options.tls_server_name = Some(server_name(first)?),
        "policy" => options.policy = Selection::parse(first).map_err(|wrong| *wrong)?,
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

/// Warns of systemd-resolved's stub when we listen on every address: where it forwards to us, queries go round.
fn warn_of_stub(endpoints: &[Arc<Endpoint>]) {
    for endpoint in endpoints {
        let stub = |last| endpoint.address.ip() == IpAddr::from([127, 0, 0, last]);
        if stub(53) || stub(54) {
            tracing::warn!(
                target: "plugin/forward",
                "upstream {} is the stub of systemd-resolved; if it forwards to this server, queries loop. Its own upstreams are in /run/systemd/resolve/resolv.conf",
                endpoint.label
            );
        }
    }
}
