//! Reads `errors` lines.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Line, Report, nearest, value};
use tokio::sync::Notify;

use super::{Errors, Level, Pattern};

/// `errors` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "errors",
    parse,
    handler: true,
};

/// Reads `errors [stdout] { stacktrace; consolidate DURATION REGEXP [LEVEL] [show_first] }`.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = *parse.directives.first()?;
    parse.at_most(directive, 1);
    if let Some(file) = directive.args.first().filter(|word| word.text != "stdout") {
        parse.report.push(
            Diagnostic::error("CF0107", format!("invalid log file: {}", file.text))
                .at(file.span, "errors go to the standard output only")
                .help("leave the word out"),
        );
    }
    let mut setup = ErrorsSetup {
        stacktrace: false,
        patterns: Vec::new(),
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        match line.words.first().map_or("", |word| &word.text) {
            "stacktrace" => {
                setup.stacktrace = true;
                parse.arguments(line, 0..=0, "stacktrace");
            }
            "consolidate" => {
                let shape = "consolidate DURATION REGEXP [LEVEL] [show_first]";
                if parse.arguments(line, 2..=4, shape) {
                    setup.patterns.extend(consolidate(line, parse.report));
                }
            }
            _ => parse.unknown_option(directive, line, &["stacktrace", "consolidate"]),
        }
    }
    Some(Box::new(setup))
}

/// Reads a `consolidate` that has its two to four words.
fn consolidate(line: &Line, report: &mut Report) -> Option<Pattern> {
    let (duration, word) = (&line.words[1], &line.words[2]);
    let period = value::duration(duration).map_err(|d| report.push(d)).ok();
    let regex = chain::pattern::Pattern::read(word)
        .map_err(|diagnostic| report.push(diagnostic))
        .ok();
    let (mut level, mut show_first) = (None, false);
    for word in &line.words[3..] {
        let known = Level::WORDS.iter().find(|(name, _)| *name == word.text);
        let wrong = match known {
            Some(_) if level.is_some() => "multiple log levels specified in consolidate",
            Some(_) if show_first => "log level must come before show_first in consolidate",
            Some((_, given)) => {
                level = Some(*given);
                continue;
            }
            None if word.text == "show_first" => {
                show_first = true;
                continue;
            }
            None => "unknown option in consolidate",
        };
        let names = Level::WORDS.map(|(name, _)| name);
        let names = names.into_iter().chain(["show_first"]);
        let mut diagnostic = Diagnostic::error("CF0102", format!("{wrong}: {}", word.text)).at(
            word.span,
            "expected a level (warning, error, info, debug), then `show_first`",
        );
        if let (None, Some(near)) = (known, nearest(&word.text, names)) {
            diagnostic = diagnostic
                .help("a similar word exists")
                .replace(word.span, near);
        }
        report.push(diagnostic);
        return None;
    }
    let period = period?;
    Some(Pattern {
        regex: regex?,
        period,
        shown: go_duration(period),
        level: level.unwrap_or(Level::Error),
        show_first,
        count: AtomicU32::new(0),
        begun: Notify::new(),
    })
}

/// A duration as Go writes it: `1m30s`, `1h0m0s`, `1.5s`, `300ms`.
fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (number, unit) = match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => (nanos as f64, "ns"),
        1_000..1_000_000 => (nanos as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
        _ => {
            let whole = duration.as_secs();
            let (hours, minutes) = (whole / 3_600, whole / 60 % 60);
            let mut out = String::new();
            if hours > 0 {
                out = format!("{hours}h");
            }
            if whole >= 60 {
                out += &format!("{minutes}m");
            }
            let fraction = format!("{:09}", duration.subsec_nanos());
            let fraction = fraction.trim_end_matches('0');
            let dot = if fraction.is_empty() { "" } else { "." };
            return out + &format!("{}{dot}{fraction}s", whole % 60);
        }
    };
    format!("{number}{unit}")
}

/// What the block says.
struct ErrorsSetup {
    stacktrace: bool,
    patterns: Vec<Pattern>,
}

impl Setup for ErrorsSetup {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.config.stacktrace |= self.stacktrace;
        let patterns: Vec<_> = self.patterns.into_iter().map(Arc::new).collect();
        for pattern in &patterns {
            build.spawn(Box::pin(pattern.clone().run()));
        }
        build.push(Arc::new(Errors { patterns }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::go_duration;
    use std::time::Duration;

    #[test]
    fn durations_as_go_writes_them() {
        for (millis, shown) in [
            (0, "0s"),
            (300, "300ms"),
            (1_500, "1.5s"),
            (60_000, "1m0s"),
            (90_000, "1m30s"),
            (3_600_000, "1h0m0s"),
            (3_601_001, "1h0m1.001s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), shown);
        }
        assert_eq!(go_duration(Duration::from_nanos(1_500)), "1.5µs");
    }
}
