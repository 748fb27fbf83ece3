//! Reads `cache` lines.

use std::sync::Arc;
use std::time::Duration;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive, Line, Report, Token, value};
use wire::NameBuf;

use super::Cache;
use super::classify::{Bounds, Limits};

/// `cache` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "cache",
    parse,
    handler: true,
};

/// The options, for messages.
const OPTIONS: &[&str] = &[
    "success",
    "denial",
    "prefetch",
    "serve_stale",
    "serve_stale_policy",
    "servfail",
    "disable",
    "keepttl",
];
/// The entries of a table when nothing is said.
const CAPACITY: i64 = 10_000;
/// A capacity is rounded to a multiple of this, as CoreDNS's shards do ...
const SHARDS: i64 = 256;
/// ... and has at least so many of it.
const LEAST_PER_SHARD: i64 = 4;
/// The longest that a failure may be kept (RFC 2308, 7), and a failed refresh be held against an upstream.
const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// When an entry is refreshed before it expires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Prefetch {
    /// How many hits make an entry worth it; 0 is never.
    pub(super) amount: u32,
    /// The longest pause between two hits.
    pub(super) pause: Duration,
    /// The share of its TTL that is left then, in percent.
    pub(super) percentage: u32,
}

/// What becomes of expired entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stale {
    /// For how long they are served; zero is not at all.
    pub(super) up_to: Duration,
    /// Whether the upstream is asked first.
    pub(super) verify: bool,
    /// For how long that is waited for; zero is until it answers or fails.
    pub(super) verify_timeout: Duration,
    /// The TTL that they are served with, in seconds.
    pub(super) ttl: u32,
    /// How long an upstream is left alone after a refresh failed.
    pub(super) recheck: Duration,
    /// Whether the last positive answer is served in the place of a newer denial.
    pub(super) prefer_positive: bool,
}

/// All that the lines say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Options {
    /// The zones to cache; empty is the block's.
    pub(super) zones: Vec<String>,
    /// The bounds of TTLs.
    pub(super) limits: Limits,
    /// The most positive entries.
    pub(super) success_capacity: usize,
    /// The most negative entries.
    pub(super) denial_capacity: usize,
    /// Refreshes before expiry.
    pub(super) prefetch: Prefetch,
    /// Service after expiry.
    pub(super) stale: Stale,
    /// Zones whose positive responses are not kept.
    pub(super) success_except: Vec<NameBuf>,
    /// Zones whose negative responses are not kept.
    pub(super) denial_except: Vec<NameBuf>,
    /// Whether TTLs stay as they were.
    pub(super) keep_ttl: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            limits: Limits {
                success: Bounds {
                    least: 5,
                    most: 3_600,
                },
                denial: Bounds {
                    least: 5,
                    most: 1_800,
                },
                failure: 5,
            },
            success_capacity: rounded(CAPACITY),
            denial_capacity: rounded(CAPACITY),
            prefetch: Prefetch {
                amount: 0,
                pause: Duration::from_secs(60),
                percentage: 10,
            },
            stale: Stale {
                up_to: Duration::ZERO,
                verify: false,
                verify_timeout: Duration::ZERO,
                ttl: 0,
                recheck: Duration::ZERO,
                prefer_positive: false,
            },
            success_except: Vec::new(),
            denial_except: Vec::new(),
            keep_ttl: false,
        }
    }
}

fn rounded(capacity: i64) -> usize {
    ((capacity / SHARDS).max(LEAST_PER_SHARD) * SHARDS) as usize
}

impl Setup for Options {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let origins = build.origins(&self.zones)?;
        let label = match self.zones.is_empty() {
            true => build.zones().join(","),
            false => self.zones.join(","),
        };
        build.push(Arc::new(Cache::new(*self, origins, label)));
        Ok(())
    }
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    read(parse).map(|options| Box::new(options) as Box<dyn Setup>)
}

/// Reads the directive; what is wrong goes into the report.
pub(super) fn read(parse: &mut Parse<'_>) -> Option<Options> {
    parse.once();
    let directive = *parse.directives.first()?;
    let mut options = Options::default();
    let mut zones = directive.args.as_slice();
    if let Some((first, rest)) = directive.args.split_first()
        && first.text.parse::<i64>().is_ok()
    {
        zones = rest;
        if let Some(ttl) = ttl(first, parse.report) {
            options.limits.success.most = ttl;
            options.limits.denial.most = ttl;
        }
    }
    options.zones = parse.read_zones(zones, OPTIONS);
    let mut reader = Reader {
        parse,
        directive,
        options,
        stale: false,
        policy: None,
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        // Nothing is returned: a mistake is in the report, and the next line is read all the same.
        let _ = reader.line(line);
    }
    if let (Some(policy), false) = (&reader.policy, reader.stale) {
        let diagnostic = Diagnostic::error("CF0107", "serve_stale_policy requires serve_stale")
            .at(policy.span, "it needs `serve_stale`")
            .help("add a line `serve_stale`");
        reader.parse.report.push(diagnostic);
    }
    Some(reader.options)
}

/// A TTL in whole seconds, at least 1.
fn ttl(token: &Token, report: &mut Report) -> Option<u32> {
    let seconds = number(token, report)?;
    if seconds <= 0 {
        report.push(
            Diagnostic::error(
                "CF0203",
                format!("cache TTL can not be zero or negative: {seconds}"),
            )
            .at(token.span, "expected whole seconds, 1 or more"),
        );
        return None;
    }
    Some(u32::try_from(seconds).unwrap_or(u32::MAX))
}

fn number(token: &Token, report: &mut Report) -> Option<i64> {
    value::integer(token, i64::MIN..=i64::MAX)
        .map_err(|diagnostic| report.push(diagnostic))
        .ok()
}

fn duration(token: &Token, report: &mut Report) -> Option<Duration> {
    value::duration(token)
        .map_err(|diagnostic| report.push(diagnostic))
        .ok()
}

fn bounded(token: &Token, message: &str, report: &mut Report) -> Option<Duration> {
    let duration = duration(token, report)?;
    if duration > FIVE_MINUTES {
        report.push(
            Diagnostic::error("CF0203", message).at(token.span, "expected five minutes at most"),
        );
        return None;
    }
    Some(duration)
}

/// Reads the lines of one block.
struct Reader<'p, 'a> {
    parse: &'p mut Parse<'a>,
    directive: &'a Directive,
    options: Options,
    stale: bool,
    policy: Option<Token>,
}

impl Reader<'_, '_> {
    fn line(&mut self, line: &Line) -> Option<()> {
        let word = line.words.first()?;
        let args = &line.words[1..];
        match word.text.as_str() {
            "success" => {
                let (capacity, bounds) = self.table(line, self.options.limits.success)?;
                self.options.success_capacity = capacity;
                self.options.limits.success = bounds;
            }
            "denial" => {
                let (capacity, bounds) = self.table(line, self.options.limits.denial)?;
                self.options.denial_capacity = capacity;
                self.options.limits.denial = bounds;
            }
            "prefetch" => self.prefetch(line)?,
            "serve_stale" => self.serve_stale(line)?,
            "serve_stale_policy" => self.policy(line)?,
            "servfail" => {
                self.arguments(line, 1..=1, "servfail DURATION")?;
                let message = "caching SERVFAIL responses over 5 minutes is not permitted";
                let kept = bounded(&args[0], message, self.parse.report)?;
                self.options.limits.failure = kept.as_secs() as u32;
            }
            "disable" => self.disable(line)?,
            "keepttl" => {
                self.arguments(line, 0..=0, "keepttl")?;
                self.options.keep_ttl = true;
            }
            _ => self.parse.unknown_option(self.directive, line, OPTIONS),
        }
        Some(())
    }

    fn arguments(
        &mut self,
        line: &Line,
        expected: std::ops::RangeInclusive<usize>,
        shape: &str,
    ) -> Option<()> {
        self.parse.arguments(line, expected, shape).then_some(())
    }

    /// `success|denial CAPACITY [TTL] [MINTTL]`
    fn table(&mut self, line: &Line, bounds: Bounds) -> Option<(usize, Bounds)> {
        let shape = format!("{} CAPACITY [TTL] [MINTTL]", line.words[0].text);
        // CoreDNS does not look at further words; nor does it refuse them.
        self.arguments(line, 1..=usize::MAX - 1, &shape)?;
        if let Some(extra) = line.words.get(4) {
            self.parse.report.push(
                Diagnostic::warning("CF0107", format!("'{}' has no effect", extra.text))
                    .at(extra.span, format!("expected `{shape}`")),
            );
        }
        let args = &line.words[1..];
        let report = &mut *self.parse.report;
        let mut bounds = bounds;
        let capacity = number(&args[0], report)?;
        if let Some(most) = args.get(1) {
            bounds.most = ttl(most, report)?;
        }
        if let Some(token) = args.get(2) {
            let least = number(token, report)?;
            bounds.least = u32::try_from(least.min(i64::from(u32::MAX)))
                .map_err(|_| {
                    report.push(
                        Diagnostic::error(
                            "CF0203",
                            format!("cache min TTL can not be negative: {least}"),
                        )
                        .at(token.span, "expected whole seconds, 0 or more"),
                    );
                })
                .ok()?;
        }
        if capacity < 0 {
            // CoreDNS takes its least table for it.
            let text = format!("a capacity of {capacity}: the smallest table is used");
            report.push(
                Diagnostic::warning("CF0203", text)
                    .at(args[0].span, "expected a number of entries, 0 or more"),
            );
        }
        Some((rounded(capacity), bounds))
    }

    /// `prefetch AMOUNT [DURATION [PERCENTAGE%]]`
    fn prefetch(&mut self, line: &Line) -> Option<()> {
        self.arguments(line, 1..=3, "prefetch AMOUNT [DURATION [PERCENTAGE%]]")?;
        let args = &line.words[1..];
        let report = &mut *self.parse.report;
        let amount = number(&args[0], report)?;
        if amount < 0 {
            report.push(
                Diagnostic::error(
                    "CF0203",
                    format!("prefetch amount should be positive: {amount}"),
                )
                .at(args[0].span, "expected a number of hits"),
            );
            return None;
        }
        self.options.prefetch.amount = u32::try_from(amount).unwrap_or(u32::MAX);
        if let Some(pause) = args.get(1) {
            self.options.prefetch.pause = duration(pause, report)?;
        }
        if let Some(token) = args.get(2) {
            let percentage = token
                .text
                .strip_suffix('%')
                .and_then(|number| number.parse::<i64>().ok());
            let message = match percentage {
                Some(number @ 10..=90) => {
                    self.options.prefetch.percentage = number as u32;
                    return Some(());
                }
                Some(number) => {
                    format!("percentage should fall in range [10, 90]: {number}")
                }
                None if token.text.ends_with('%') => {
                    format!("not a number: `{}`", token.text)
                }
                None => "last character of percentage should be `%`".to_owned(),
            };
            report.push(
                Diagnostic::error("CF0203", message)
                    .at(token.span, "expected a share such as `10%`"),
            );
        }
        Some(())
    }

    /// `serve_stale [DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]`
    fn serve_stale(&mut self, line: &Line) -> Option<()> {
        self.stale = true;
        let shape =
            "serve_stale [DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]";
        let args = &line.words[1..];
        let verify = args
            .get(1)
            .is_some_and(|mode| mode.text.eq_ignore_ascii_case("verify"));
        self.arguments(line, 0..=if verify { 5 } else { 4 }, shape)?;
        let report = &mut *self.parse.report;
        let mut stale = Stale {
            up_to: Duration::from_secs(3_600),
            prefer_positive: self.options.stale.prefer_positive,
            ..Options::default().stale
        };
        if let Some(up_to) = args.first() {
            stale.up_to = duration(up_to, report)?;
        }
        if let Some(mode) = args.get(1) {
            stale.verify = verify;
            if !verify && !mode.text.eq_ignore_ascii_case("immediate") {
                report.push(
                    Diagnostic::error(
                        "CF0211",
                        format!(
                            "invalid value for serve_stale refresh mode: {}",
                            mode.text.to_lowercase()
                        ),
                    )
                    .at(mode.span, "expected `immediate` or `verify`"),
                );
                return None;
            }
        }
        let mut rest = args.iter().skip(2);
        if verify && let Some(timeout) = rest.next() {
            stale.verify_timeout = duration(timeout, report)?;
        }
        if let Some(token) = rest.next() {
            stale.ttl = response_ttl(token, report)?;
        }
        if let Some(recheck) = rest.next() {
            let message = "serve_stale failure recheck cannot exceed 5 minutes";
            stale.recheck = bounded(recheck, message, report)?;
        }
        self.options.stale = stale;
        Some(())
    }

    /// `serve_stale_policy prefer_positive`
    fn policy(&mut self, line: &Line) -> Option<()> {
        let word = line.words.first()?;
        if let Some(first) = &self.policy {
            self.parse.report.push(
                Diagnostic::error("CF0120", "serve_stale_policy can only be specified once")
                    .at(word.span, "used again here")
                    .beside(first.span, "first used here"),
            );
            return None;
        }
        self.policy = Some(word.clone());
        self.arguments(line, 1..=1, "serve_stale_policy prefer_positive")?;
        let policy = &line.words[1];
        if !policy.text.eq_ignore_ascii_case("prefer_positive") {
            self.parse.report.push(
                Diagnostic::error(
                    "CF0211",
                    format!("invalid serve_stale_policy: {}", policy.text),
                )
                .at(policy.span, "expected `prefer_positive`"),
            );
            return None;
        }
        self.options.stale.prefer_positive = true;
        Some(())
    }

    /// `disable success|denial [ZONES...]`
    fn disable(&mut self, line: &Line) -> Option<()> {
        self.arguments(
            line,
            1..=usize::MAX - 1,
            "disable success|denial [ZONES...]",
        )?;
        let mut zones = Vec::new();
        for token in &line.words[2..] {
            match value::zone(token) {
                Ok(zone) => zones.extend(zone.parse::<NameBuf>().ok().map(NameBuf::to_lower)),
                Err(diagnostic) => self.parse.report.push(diagnostic),
            }
        }
        if line.words.len() == 2 {
            zones.push(NameBuf::root());
        }
        let which = &line.words[1];
        match which.text.as_str() {
            "success" => self.options.success_except = zones,
            "denial" => self.options.denial_except = zones,
            _ => self.parse.report.push(
                Diagnostic::error(
                    "CF0211",
                    r#"cache type for disable must be "success" or "denial""#,
                )
                .at(which.span, "expected `success` or `denial`"),
            ),
        }
        Some(())
    }
}

/// The TTL of stale responses: a duration of whole seconds that a TTL field can hold.
fn response_ttl(token: &Token, report: &mut Report) -> Option<u32> {
    let ttl = duration(token, report)?;
    let message = match u32::try_from(ttl.as_secs()) {
        Ok(seconds) if ttl.subsec_nanos() == 0 => return Some(seconds),
        Ok(_) => "serve_stale response TTL must be a whole number of seconds",
        Err(_) => "serve_stale response TTL exceeds the DNS TTL range",
    };
    report.push(
        Diagnostic::error("CF0203", message).at(token.span, "expected a duration such as `30s`"),
    );
    None
}

#[cfg(test)]
#[path = "setup_tests.rs"]
pub(in crate::cache) mod tests;
