//! Reads `erratic [ZONES...] { drop [AMOUNT]; truncate [AMOUNT]; delay [AMOUNT [DURATION]]; large }`.

use std::sync::Arc;
use std::time::Duration;

use chain::setup::{Answers, Build, BuildError, Parse, Registration, Setup};
use corefile::{Line, value};

use super::Erratic;

/// `erratic` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "erratic",
    parse,
    handler: true,
};

const OPTIONS: [&str; 4] = ["drop", "truncate", "delay", "large"];
/// One in so many, where no amount is given.
const AMOUNT: u64 = 2;
/// How late a response is, where no duration is given.
const DURATION: Duration = Duration::from_millis(100);

/// A later line replaces what it says again.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let (mut drop, mut zones) = (None, Vec::new());
    let mut erratic = Erratic {
        duration: DURATION,
        ..Erratic::default()
    };
    for directive in parse.directives {
        zones.extend(parse.read_zones(&directive.args, &OPTIONS));
        for line in directive.block.iter().flat_map(|block| &block.lines) {
            match line.words.first().map(|word| word.text.as_str()) {
                Some("drop") => drop = amount(parse, line, "drop [AMOUNT]"),
                Some("truncate") => {
                    let given = amount(parse, line, "truncate [AMOUNT]");
                    erratic.truncate = given.unwrap_or_default();
                }
                Some("delay") => {
                    if let Some((amount, duration)) = delay(parse, line) {
                        (erratic.delay, erratic.duration) = (amount, duration);
                    }
                }
                Some("large") => erratic.large = parse.arguments(line, 0..=0, "large"),
                _ => parse.unknown_option(directive, line, &OPTIONS),
            }
        }
    }
    let misbehaves = erratic.delay > 0 || erratic.truncate > 0;
    erratic.drop = drop.unwrap_or(if misbehaves { 0 } else { AMOUNT });
    Some(Box::new(ErraticSetup { erratic, zones }))
}

/// Reads the only argument of a line.
fn amount(parse: &mut Parse<'_>, line: &Line, shape: &str) -> Option<u64> {
    if !parse.arguments(line, 0..=1, shape) {
        return None;
    }
    let Some(word) = line.words.get(1) else {
        return Some(AMOUNT);
    };
    match value::integer(word, 0..=i64::from(i32::MAX)) {
        Ok(amount) => Some(amount.unsigned_abs()),
        Err(diagnostic) => {
            parse.report.push(diagnostic);
            None
        }
    }
}

/// Reads `delay [AMOUNT [DURATION]]`.
fn delay(parse: &mut Parse<'_>, line: &Line) -> Option<(u64, Duration)> {
    if !parse.arguments(line, 0..=2, "delay [AMOUNT [DURATION]]") {
        return None;
    }
    let given = line
        .words
        .get(1)
        .map(|word| value::integer(word, 0..=i64::from(i32::MAX)));
    let duration = line.words.get(2).map(value::duration);
    match (given.transpose(), duration.transpose()) {
        (Ok(amount), Ok(duration)) => Some((
            amount.map_or(AMOUNT, i64::unsigned_abs),
            duration.unwrap_or(DURATION),
        )),
        (amount, duration) => {
            let mistakes = [amount.err(), duration.err()];
            mistakes
                .into_iter()
                .flatten()
                .for_each(|mistake| parse.report.push(mistake));
            None
        }
    }
}

/// What the block says.
struct ErraticSetup {
    erratic: Erratic,
    zones: Vec<String>,
}

impl Setup for ErraticSetup {
    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        vec![(Answers::Everything, self.zones.clone())]
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let mut erratic = self.erratic;
        if !self.zones.is_empty() {
            erratic.origins = build.origins(&self.zones)?;
        }
        let erratic = Arc::new(erratic);
        build
            .capabilities()
            .provide_search_path("erratic", erratic.clone());
        build.push(erratic);
        Ok(())
    }
}
