//! Queries that nobody sent: what a template makes of them tells at load whether it makes records at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chain::pattern::Pattern;
use wire::{Class, Flags, Name, NameBuf, Type};

use super::data::{Asked, Data, Groups, presentation};
use super::recipe::{Failed, Recipe};

/// The data of a query for `name`, which lies in `zone`.
pub(super) fn data<'d>(zone: &'d str, name: &'d str, rtype: Type) -> Data<'d> {
    Data {
        zone,
        name,
        regex: ".*",
        class: "IN".into(),
        rtype: rtype.to_string().into(),
        groups: Groups {
            names: &[],
            places: vec![Some((0, name.len()))],
        },
        asked: Asked {
            message: &[],
            rewritten: Some(Name::ROOT),
            id: 0,
            flags: Flags(0),
            qtype: rtype,
            qclass: Class::IN,
            edns: None,
            peer: Ipv4Addr::LOCALHOST.into(),
        },
        variables: Vec::new(),
        metadata: &|_| String::new(),
    }
}

/// Makes a record for names that the expressions match. An error, with a name, where none of them gives a record; where nothing can be
/// said beforehand, there is none.
pub(super) fn try_out(
    recipe: &Recipe,
    patterns: &[Pattern],
    (zone, rtype): (&str, Type),
) -> Result<(), (String, Failed)> {
    let endless = recipe.is_endless();
    if recipe.is_unforeseeable() && !endless {
        return Ok(());
    }
    let mut first = None;
    let mut attempt = |name: &str, pattern: Option<&Pattern>| {
        let peers: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        peers.into_iter().any(|peer| {
            let mut data = data(zone, name, rtype);
            data.asked.peer = peer;
            if let Some(pattern) = pattern {
                data.groups = groups(pattern, name);
            }
            match recipe.make(&data) {
                Ok(_) => true,
                Err(failed) => {
                    first.get_or_insert((name.to_owned(), failed));
                    false
                }
            }
        })
    };
    let made = if patterns.is_empty() || endless {
        let name = format!("www.{}", zone.trim_start_matches('.'));
        attempt(&name, None)
    } else {
        let names = patterns.iter().flat_map(|pattern| {
            let samples = pattern.samples().into_iter();
            samples.filter_map(move |sample| Some((name_of(pattern, &sample)?, pattern)))
        });
        names
            .into_iter()
            .any(|(name, pattern)| attempt(&name, Some(pattern)))
    };
    // What a group matches may be anything, and the samples are some of it.
    let open = recipe.uses_groups() && patterns.iter().any(Pattern::is_open);
    match first {
        Some((_, failed)) if open && failed.is_of_the_text() => Ok(()),
        Some(failed) if !made => Err(failed),
        _ => Ok(()),
    }
}

/// What an expression finds in a name.
pub(super) fn groups<'d>(pattern: &'d Pattern, name: &str) -> Groups<'d> {
    let captures = pattern.captures(name);
    let groups = captures.iter().flat_map(|captures| captures.iter());
    Groups {
        names: pattern.names(),
        places: groups
            .map(|group| group.map(|group| (group.start(), group.end())))
            .collect(),
    }
}

/// A name that is like a sample, and that the expression matches.
fn name_of(pattern: &Pattern, sample: &str) -> Option<String> {
    let sample = sample.to_ascii_lowercase();
    let like = [sample.clone(), format!("www{sample}"), format!("{sample}.")];
    like.into_iter().find_map(|text| {
        let name = text.parse::<NameBuf>().ok()?;
        let name = presentation(name.as_name());
        pattern.is_match(&name).then_some(name)
    })
}
