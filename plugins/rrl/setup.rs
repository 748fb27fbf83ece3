//! Reads `rrl [ZONES...] { ... }`.

use std::sync::Arc;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive, Line, Token, value};
use host::clock::SECOND;
use telemetry::traffic::Grow;

use super::table::Table;
use super::{Category, Rrl};

/// `rrl` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "rrl",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &[
    "window",
    "ipv4-prefix-length",
    "ipv6-prefix-length",
    "responses-per-second",
    "nodata-per-second",
    "nxdomains-per-second",
    "referrals-per-second",
    "errors-per-second",
    "requests-per-second",
    "slip-ratio",
    "max-table-size",
    "report-only",
];
/// Accounts at most: they take 16 octets each.
const MOST_ACCOUNTS: i64 = 1 << 26;
/// The longest window, in seconds: a year.
const LONGEST: f64 = 31_536_000.0;

/// What the lines say.
struct RrlSetup {
    zones: Vec<String>,
    window: u64,
    prefixes: [u8; 2],
    responses: u64,
    /// Where one is said for a category, by its place.
    others: [Option<u64>; 5],
    requests: u64,
    slip: u8,
    size: usize,
    report_only: bool,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    let mut setup = RrlSetup {
        zones: parse.read_zones(&directive.args, OPTIONS),
        window: 15 * SECOND,
        prefixes: [24, 56],
        responses: 0,
        others: [None; 5],
        requests: 0,
        slip: 0,
        size: 100_000,
        report_only: false,
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        setup.line(parse, directive, line);
    }
    Some(Box::new(setup))
}

impl RrlSetup {
    fn line(&mut self, parse: &mut Parse<'_>, directive: &Directive, line: &Line) {
        let Some(word) = line.words.first() else {
            return;
        };
        let option = word.text.as_str();
        if !OPTIONS.contains(&option) {
            return parse.unknown_option(directive, line, OPTIONS);
        }
        if option == "report-only" {
            self.report_only |= parse.arguments(line, 0..=0, option);
            return;
        }
        let shape = match option {
            "window" => "SECONDS",
            "slip-ratio" => "N",
            "max-table-size" => "SIZE",
            "ipv4-prefix-length" | "ipv6-prefix-length" => "LENGTH",
            _ => "ALLOWANCE",
        };
        if !parse.arguments(line, 1..=1, &format!("{option} {shape}")) {
            return;
        }
        if let Err(diagnostic) = self.set(option, &line.words[1]) {
            parse.report.push(diagnostic);
        }
    }

    fn set(&mut self, option: &str, word: &Token) -> Result<(), Diagnostic> {
        let category = |category: Category| category as usize;
        match option {
            "window" => self.window = window(word)?,
            "ipv4-prefix-length" => self.prefixes[0] = integer(option, word, (1, 32))? as u8,
            "ipv6-prefix-length" => self.prefixes[1] = integer(option, word, (1, 128))? as u8,
            "responses-per-second" => self.responses = interval(option, word)?,
            "nodata-per-second" => {
                self.others[category(Category::Nodata)] = Some(interval(option, word)?);
            }
            "nxdomains-per-second" => {
                self.others[category(Category::Nxdomain)] = Some(interval(option, word)?);
            }
            "referrals-per-second" => {
                self.others[category(Category::Referral)] = Some(interval(option, word)?);
            }
            "errors-per-second" => {
                self.others[category(Category::Error)] = Some(interval(option, word)?);
            }
            "requests-per-second" => self.requests = interval(option, word)?,
            "slip-ratio" => self.slip = integer(option, word, (0, 10))? as u8,
            "max-table-size" => self.size = integer(option, word, (0, MOST_ACCOUNTS))? as usize,
            _ => {}
        }
        Ok(())
    }
}

/// Reads a whole number of this range.
fn integer(option: &str, word: &Token, (least, most): (i64, i64)) -> Result<i64, Diagnostic> {
    let number = value::integer(word, i64::MIN..=i64::MAX)?;
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    let mistake = match option {
        "slip-ratio" => format!("{option} '{number}' must be between {least} and {most}"),
        "max-table-size" if number < 0 => format!("{option} cannot be negative"),
        _ => format!("{option} must be between {least} and {most}"),
    };
    Err(Diagnostic::error("CF0203", mistake).at(word.span, format!("expected {least} to {most}")))
}

/// Reads how many a second are allowed, as the nanoseconds between two.
fn interval(option: &str, word: &Token) -> Result<u64, Diagnostic> {
    let rate = value::float(word)?;
    if rate < 0.0 || rate.is_nan() {
        let mistake = format!("{option} cannot be negative");
        return Err(
            Diagnostic::error("CF0203", mistake).at(word.span, "expected 0 for no limit, or more")
        );
    }
    if rate == 0.0 {
        return Ok(0);
    }
    // A rate beyond what the clock tells apart is a nanosecond; the longest interval is that of the longest window.
    let nanoseconds = (SECOND as f64 / rate).clamp(1.0, LONGEST * SECOND as f64);
    Ok(nanoseconds as u64)
}

fn window(word: &Token) -> Result<u64, Diagnostic> {
    let seconds = value::float(word)?;
    let mistake = if seconds.is_nan() || seconds <= 0.0 {
        "window must be greater than zero"
    } else if seconds > LONGEST {
        "window must be at most one year"
    } else {
        return Ok((seconds * SECOND as f64) as u64);
    };
    Err(Diagnostic::error("CF0203", mistake).at(word.span, "expected a number of seconds"))
}

impl Setup for RrlSetup {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let plugin = Rrl {
            zones: build.origins(&self.zones)?,
            prefixes: self.prefixes,
            responses: self.others.map(|other| other.unwrap_or(self.responses)),
            requests: self.requests,
            report_only: self.report_only,
            table: Table::new(self.size, self.window, self.slip),
            metrics: Grow::default(),
        };
        build.push(Arc::new(plugin));
        Ok(())
    }
}
