//! Lines of hosts files that contradict the names of a lab. Most resolvers believe them, and ask no server.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use corefile::{Diagnostic, Sources, Span};

use crate::claim::is_marked;
use crate::error::Result;
use crate::journal::{Journal, Phase, files_of};
use crate::layout::Layout;
use crate::names;
use crate::recognise::Prints;
use crate::spec::{Hosts, Spec};

/// Looks at the machine's hosts file, and at those that stand in for it in the lab's namespaces.
///
/// # Errors
/// The journal cannot be read.
pub fn look(spec: &Spec, sources: &mut Sources) -> Result<Vec<Diagnostic>> {
    let layout = Layout::of(spec);
    let names = names::names(spec, &layout);
    let whole = names.addresses();
    let mut both = whole.clone();
    let suffix = format!(".{}", spec.domain.to_ascii_lowercase());
    for (name, addresses) in &whole {
        let short = name.strip_suffix(&suffix).map(str::to_owned);
        both.extend(short.map(|short| (short, addresses.clone())));
    }
    let mut found = Vec::new();
    let mut read = |path: &Path, who: &str, known: &HashMap<String, Vec<IpAddr>>, cure: &str| {
        let text = crate::input::read_or_empty(path);
        let lines = contradictions(&text, known);
        if lines.is_empty() {
            return;
        }
        let at = path.display().to_string();
        let file = sources.add(&at, text.clone());
        for (start, address, name) in lines {
            let (start, end) = (start as u32, (start + name.len()) as u32);
            let own: Vec<String> = known[&name.to_ascii_lowercase()]
                .iter()
                .map(ToString::to_string)
                .collect();
            let message = format!(
                "`{name}` is {address} in {at}, and {} in the lab",
                own.join(", ")
            );
            found.push(
                Diagnostic::warning("LAB0208", message)
                    .at(Span { file, start, end }, "")
                    .note(format!(
                        "{who} believe this line, and do not ask the DNS server"
                    ))
                    .help(cure),
            );
        }
    };
    const CURE: &str = "correct the address, or remove the name from the line";
    let (who, known) = match spec.hosts {
        // Then it is the namespaces' file as well.
        Hosts::Off => ("programs of the host and of the namespaces", &both),
        _ => ("programs of the host", &whole),
    };
    read(Path::new("/etc/hosts"), who, known, CURE);
    let print = Prints::of(&layout, &names.text()).whole;
    let is_applied = Journal::load(&spec.name)?
        .is_some_and(|journal| journal.phase == Phase::Applied && journal.print == print);
    for space in &layout.spaces {
        let path = files_of(&space.name).join("hosts");
        let cure = match is_marked(&path, &layout.mark) {
            false => CURE,
            true if is_applied => "the lab wrote this file, and `apply` rewrites it",
            // What it holds are the names from before.
            true => continue,
        };
        read(&path, &format!("programs in {}", space.name), &both, cure);
    }
    Ok(found)
}

/// The first name of each line that has other addresses, with its place and the line's address.
fn contradictions<'a>(
    text: &'a str,
    known: &HashMap<String, Vec<IpAddr>>,
) -> Vec<(usize, IpAddr, &'a str)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else {
            continue;
        };
        let is_untrue = |name: &&str| {
            let own = known.get(&name.to_ascii_lowercase());
            own.is_some_and(|own| !own.contains(&address))
        };
        if let Some(name) = words.find(is_untrue) {
            found.push((
                name.as_ptr() as usize - text.as_ptr() as usize,
                address,
                name,
            ));
        }
    }
    found
}
