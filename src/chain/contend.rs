//! Zones that two server blocks serve on one address: found when a Corefile is read, as far as its words tell. Addresses of interfaces,
//! and a port that is written here and left to `-dns.port` there, are compared by the server when it starts.

use std::collections::HashMap;

use corefile::{Diagnostic, Report, Span};

use crate::setup::PlannedBlock;

/// A zone on one address, and the key that says so.
struct Claim<'a> {
    word: Option<&'a str>,
    key: Span,
}

/// Reports every zone that is served twice.
pub(crate) fn blocks(blocks: &[PlannedBlock], report: &mut Report) {
    let mut claims: HashMap<(&str, Option<u16>), Vec<Claim<'_>>> = HashMap::new();
    for block in blocks {
        let bound: Vec<_> = block
            .planned
            .iter()
            .flat_map(|one| one.setup.bound())
            .flatten()
            .collect();
        if bound.iter().any(|word| word.except) {
            continue;
        }
        let mut words: Vec<_> = bound.iter().map(|word| Some(word.word.as_str())).collect();
        if words.is_empty() {
            words.push(None);
        }
        words.sort_unstable();
        words.dedup();
        for (key, span) in block.keys.iter().zip(&block.key_spans) {
            for zone in &key.zones {
                let held = claims.entry((zone, key.port)).or_default();
                for word in &words {
                    let claim = Claim {
                        word: *word,
                        key: *span,
                    };
                    match held
                        .iter()
                        .find(|other| other.word == *word || other.word.is_none() || word.is_none())
                    {
                        Some(other) => {
                            report.push(contention(zone, key.port, &claim, other));
                            break;
                        }
                        None => held.push(claim),
                    }
                }
            }
        }
    }
}

/// The message of one contention.
fn contention(zone: &str, port: Option<u16>, claim: &Claim<'_>, other: &Claim<'_>) -> Diagnostic {
    let shown = |word: Option<&str>| {
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let on = word.map_or(String::new(), |word| format!(" on {word}"));
        format!("dns://{zone}{port}{on}")
    };
    let message = if claim.word == other.word {
        format!("cannot serve {} - it is already defined", shown(claim.word))
    } else {
        format!(
            "cannot serve {} - zone overlap listener capacity with {}",
            shown(claim.word),
            shown(other.word)
        )
    };
    Diagnostic::error("CF0308", message)
        .at(claim.key, "served again here")
        .beside(other.key, "first served here")
        .help("join the two server blocks, or give each an address of its own with `bind`")
}
