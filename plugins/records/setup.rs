//! Reads `records [ZONES...] { RECORD ... }`.

use std::collections::HashMap;
use std::sync::Arc;

use chain::Fallthrough;
use chain::authority::{Authoritative, Unloaded};
use chain::served::{Served, ZoneSet};
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive, Severity, Span, Token};
use wire::NameBuf;
use zone::{Complaint, Loader, Zone};

use super::Records;

/// `records` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "records",
    parse,
    handler: true,
};

/// The TTL of a record that states none.
const TTL: u32 = 3_600;

/// The zones of the directive.
struct RecordsSetup {
    zones: Vec<String>,
    loaded: Vec<Zone>,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    let zones = parse.read_zones(&directive.args, &[]);
    let text = Text::of(directive);
    let served = match zones.is_empty() {
        true => parse.zones.to_vec(),
        false => zones.clone(),
    };
    let mut loaded = Vec::new();
    let mut outside: HashMap<u32, usize> = HashMap::new();
    let mut told = Vec::new();
    for zone in &served {
        let Ok(apex) = zone.parse::<NameBuf>() else {
            continue;
        };
        let loader = Loader::new(apex.to_lower().as_name())
            .minimal(true)
            .soa_optional(true)
            .default_ttl(TTL);
        let (severity, complaints) = match loader.load_text(&text.text) {
            Ok(read) => {
                loaded.push(read.zone);
                (Severity::Warning, read.warnings)
            }
            Err(complaints) => (Severity::Error, complaints),
        };
        for complaint in complaints {
            // A record may be of one of the zones only.
            if complaint.outside {
                let times = outside.entry(complaint.line).or_default();
                *times += 1;
                if *times < served.len() {
                    continue;
                }
            }
            let place = (complaint.line, complaint.column);
            if !told.contains(&place) {
                told.push(place);
                parse
                    .report
                    .push(text.tell(severity, &complaint, directive));
            }
        }
    }
    Some(Box::new(RecordsSetup { zones, loaded }))
}

/// The lines as a master file, and where each word of it stands in the Corefile.
struct Text {
    text: String,
    /// For each line, the column of each word.
    places: Vec<Vec<(usize, Span)>>,
}

impl Text {
    fn of(directive: &Directive) -> Self {
        let mut out = Self {
            text: String::new(),
            places: Vec::new(),
        };
        for line in directive.block.iter().flat_map(|block| &block.lines) {
            let start = out.text.len();
            let mut places = Vec::new();
            for word in &line.words {
                places.push((out.text.len() - start + 1, word.span));
                write(word, &mut out.text);
                out.text.push(' ');
            }
            out.text.push('\n');
            out.places.push(places);
        }
        out
    }

    /// A complaint at its place in the Corefile.
    fn tell(&self, severity: Severity, complaint: &Complaint, directive: &Directive) -> Diagnostic {
        let new = match severity {
            Severity::Error => Diagnostic::error,
            _ => Diagnostic::warning,
        };
        let line = (complaint.line as usize).checked_sub(1);
        let words = line.and_then(|line| self.places.get(line));
        let words = words.map(Vec::as_slice).unwrap_or_default();
        let at = match complaint.column as usize {
            0 => words
                .first()
                .zip(words.last())
                .map(|(first, last)| first.1.to(last.1)),
            column => {
                let before = words.iter().rev().find(|(start, _)| *start <= column);
                before.map(|(_, span)| *span)
            }
        };
        let message = format!("records: {}", complaint.message);
        new("CF0216", message).at(at.unwrap_or(directive.name.span), "")
    }
}

/// Writes a word as a master file has it: what stands in quotes is one string there too.
fn write(word: &Token, text: &mut String) {
    // Without quotes, the second letter of `\#` (RFC 3597) would begin a comment of the Corefile.
    if !word.quoted || word.text == "\\#" {
        text.push_str(&word.text);
        return;
    }
    text.push('"');
    for letter in word.text.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\010"),
            plain => text.push(plain),
        }
    }
    text.push('"');
}

impl Setup for RecordsSetup {
    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        vec![(Answers::Everything, self.zones.clone())]
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let served = self.loaded.into_iter().map(|zone| {
            let served = Served::new(zone.apex());
            served.replace(Some(Arc::new(zone)));
            served
        });
        let zones = Arc::new(ZoneSet::fixed(served));
        build.capabilities().provide_zones("records", zones.clone());
        build.push(Arc::new(Records(Arc::new(Authoritative {
            zones,
            fall: Fallthrough::No,
            unloaded: Unloaded::Fails,
        }))));
        Ok(())
    }
}
