//! Reads `etcd [ZONES...] { ... }`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chain::inspect::Inspect;
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Setup};
use chain::{Fallthrough, ZoneMap};
use corefile::{Diagnostic, Directive, Line, Severity, Span, Token, value};
use source::http::Url;
use source::{BackOff, Standing};
use upstream::tls::Files;

use super::gateway::Access;
use super::path::Layout;
use super::store::Store;
use super::watch::{Cluster, Timing};
use super::{Etcd, Zone};

/// `etcd` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "etcd",
    parse,
    handler: true,
};

/// The options, for messages.
const OPTIONS: &[&str] = &[
    "path",
    "endpoint",
    "credentials",
    "tls",
    "fallthrough",
    "min-lease-ttl",
    "max-lease-ttl",
];
/// Where etcd listens.
const ENDPOINT: &str = "http://localhost:2379";
const PORT: u16 = 2379;
/// The least and the most seconds of a TTL that is made of a lease.
const LEASE_TTL: (u32, u32) = (30, 86_400);
/// How long queries wait for the first list, as long as CoreDNS waits for every one.
const PATIENCE: Duration = Duration::from_secs(5);

/// One directive.
struct Config {
    span: Span,
    zones: Vec<String>,
    path: String,
    endpoints: Vec<Token>,
    credentials: Option<(String, String)>,
    tls: Option<(Files, Span)>,
    fall: Fallthrough,
    lease_ttl: (u32, u32),
}

/// All directives of a block, in file order.
struct EtcdSetup(Vec<Config>);

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let directives = parse.directives;
    let configs = directives
        .iter()
        .map(|directive| config(parse, directive))
        .collect();
    Some(Box::new(EtcdSetup(configs)))
}

fn config(parse: &mut Parse<'_>, directive: &Directive) -> Config {
    let mut config = Config {
        span: directive.name.span,
        zones: parse.read_zones(&directive.args, OPTIONS),
        path: "/skydns".to_owned(),
        endpoints: Vec::new(),
        credentials: None,
        tls: None,
        fall: Fallthrough::No,
        lease_ttl: LEASE_TTL,
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        option(parse, directive, line, &mut config);
    }
    let secure = config.tls.is_some();
    for endpoint in &config.endpoints {
        if let Err(why) = Url::parse(&endpoint.text, secure, Some(PORT)) {
            parse.report.push(
                Diagnostic::error(
                    "CF0208",
                    format!("not an endpoint of etcd: `{}`", endpoint.text),
                )
                .at(endpoint.span, why)
                .help("write it as `http://etcd.example.org:2379`, or `https://` with TLS"),
            );
        } else if let (Some((files, span)), true) =
            (&config.tls, endpoint.text.starts_with("http://"))
            && !files.is_empty()
        {
            parse.report.push(
                Diagnostic::warning("CF0307", "`tls` has no effect on this endpoint")
                    .at(endpoint.span, "it is used in clear text")
                    .beside(*span, "for endpoints that begin with `https://`"),
            );
        }
    }
    let (least, most) = config.lease_ttl;
    if least > most {
        parse.report.push(
            Diagnostic::warning(
                "CF0307",
                format!("min-lease-ttl ({least} s) is greater than max-lease-ttl ({most} s)"),
            )
            .at(directive.name.span, "a lease gives one of these two TTLs"),
        );
    }
    config
}

/// Reads one line of the block.
fn option(parse: &mut Parse<'_>, directive: &Directive, line: &Line, config: &mut Config) {
    let Some((word, args)) = line.words.split_first() else {
        return;
    };
    match word.text.as_str() {
        // CoreDNS takes them, and does nothing.
        "stubzones" | "debug" | "upstream" => {}
        "fallthrough" => config.fall = parse.read_fallthrough(line, &config.zones),
        "path" if parse.arguments(line, 1..=1, "path PATH") => {
            config.path.clone_from(&args[0].text);
        }
        "endpoint" if parse.arguments(line, 1..=usize::MAX - 1, "endpoint URL...") => {
            config.endpoints = args.to_vec();
        }
        "credentials" if args.len() != 2 && !args.is_empty() => {
            parse.report.push(
                Diagnostic::error(
                    "CF0107",
                    "credentials requires 2 arguments, username and password",
                )
                .at(
                    args[args.len().min(3) - 1].span,
                    "expected `credentials USERNAME PASSWORD`",
                ),
            );
        }
        "credentials" if parse.arguments(line, 2..=2, "credentials USERNAME PASSWORD") => {
            // As in CoreDNS, an empty one is none.
            config.credentials = (args.iter().all(|word| !word.text.is_empty()))
                .then(|| (args[0].text.clone(), args[1].text.clone()));
        }
        "tls" if parse.arguments(line, 0..=3, "tls [CERT KEY] [CA]") => {
            config.tls = Some((files(args), word.span));
        }
        "min-lease-ttl" if parse.arguments(line, 1..=1, "min-lease-ttl DURATION") => {
            if let Some(ttl) = lease_ttl(parse, &word.text, &args[0], LEASE_TTL.0) {
                config.lease_ttl.0 = ttl;
            }
        }
        "max-lease-ttl" if parse.arguments(line, 1..=1, "max-lease-ttl DURATION") => {
            if let Some(ttl) = lease_ttl(parse, &word.text, &args[0], LEASE_TTL.1) {
                config.lease_ttl.1 = ttl;
            }
        }
        known if OPTIONS.contains(&known) => {}
        _ => parse.unknown_option(directive, line, OPTIONS),
    }
}

/// A TTL in seconds or as a duration; 0 is the default, as in CoreDNS.
fn lease_ttl(parse: &mut Parse<'_>, option: &str, token: &Token, default: u32) -> Option<u32> {
    match value::duration_or_seconds(token) {
        Ok(ttl) => {
            match u32::try_from(ttl.as_secs()) {
                Ok(0) => Some(default),
                Ok(seconds) => Some(seconds),
                Err(_) => {
                    parse.report.push(
                    Diagnostic::error(
                        "CF0203",
                        format!("invalid {option} value: TTL too large, maximum is 4294967295 seconds"),
                    )
                    .at(token.span, "too long"),
                );
                    None
                }
            }
        }
        Err(diagnostic) => {
            parse.report.push(diagnostic);
            None
        }
    }
}

/// `tls`'s arguments: nothing, CA, CERT KEY, or CERT KEY CA.
fn files(args: &[Token]) -> Files {
    let path = |at: usize| args.get(at).map(|token| PathBuf::from(&token.text));
    match args.len() {
        1 => Files {
            certificate: None,
            authorities: path(0),
        },
        _ => Files {
            certificate: path(0).zip(path(1)),
            authorities: path(2),
        },
    }
}

impl Setup for EtcdSetup {
    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        self.0
            .iter()
            .map(|config| (config.fall.reach(), config.zones.clone()))
            .collect()
    }

    fn handlers(&self) -> usize {
        self.0.len()
    }

    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for (files, span) in self.0.iter().filter_map(|config| config.tls.as_ref()) {
            let mut files = files.clone();
            files.resolve(|path| inspect.path(path));
            let unread = files.paths().find_map(|path| {
                let error = inspect.look(path).err()?;
                Some(format!("{}: {error}", path.display()))
            });
            let wrong = unread.or_else(|| files.config().err().map(|error| error.message));
            if let Some(wrong) = wrong {
                inspect.tell(Severity::Error, wrong, *span);
            }
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        for config in self.0 {
            let span = config.span;
            config.build(build).map_err(|error| match error.span {
                None => error.at(span),
                Some(_) => error,
            })?;
        }
        Ok(())
    }
}

/// The clusters that are followed for this snapshot, by what is read of them.
#[derive(Default)]
struct Followed(Mutex<HashMap<String, Arc<Standing>>>);

impl Config {
    fn build(self, build: &mut Build<'_>) -> Result<(), BuildError> {
        let origins = build.origins(&self.zones)?;
        let secure = self.tls.is_some();
        let mut files = Files::default();
        if let Some((written, span)) = self.tls {
            files = written;
            files.resolve(|path| build.path(path));
            files.config().map_err(|error| error.at(span))?;
        }
        let written = self.endpoints.iter().map(|endpoint| endpoint.text.as_str());
        let default = self.endpoints.is_empty().then_some(ENDPOINT);
        let access = Access {
            endpoints: written
                .chain(default)
                .map(|text| Url::parse(text, secure, Some(PORT)).map_err(BuildError::new))
                .collect::<Result<_, _>>()?,
            tls: files,
            credentials: self.credentials,
        };
        let layout = Layout::new(&self.path);
        let (least, most) = self.lease_ttl;
        let what = format!("{access:?} {layout:?} {origins:?} {:?}", self.lease_ttl);
        let top = layout.common(&origins);
        let store = source::kept(&what, || Store::new(layout, &origins, least..=most));
        let followed = build.process.shared::<Followed>();
        let mut followed = followed.0.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = match followed.get(&what) {
            Some(standing) => standing.clone(),
            None => {
                let urls: Vec<String> = access.endpoints.iter().map(Url::to_string).collect();
                let standing = Standing::new("etcd", format!("etcd at {}", urls.join(" ")));
                if store.snapshot.load().known {
                    standing.learn();
                }
                let cluster = Cluster::new(access, Timing::default(), store.clone(), &top);
                let work = source::follow(cluster, standing.clone(), BackOff::default());
                build.spawn(Box::pin(work));
                followed.insert(what, standing.clone());
                standing
            }
        };
        drop(followed);
        let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        build.push(Arc::new(Etcd {
            zones: ZoneMap::new(
                origins
                    .into_iter()
                    .map(|origin| (origin, Zone::new(origin))),
            ),
            fall: self.fall,
            store,
            standing,
            patience: host::clock::now().saturating_add(patience),
        }));
        Ok(())
    }
}
