//! What a lab claims: the journal before and after the steps, and whether something that is there is the lab's.

use std::path::Path;

use crate::action::Action;
use crate::hash::{Map, Set};
use crate::journal::{Journal, files_of};
use crate::layout::{ALWAYS, ETC, Layout, Mark};
use crate::observe::{Inside, Kernel, Seen};
use crate::persist;

/// The journal as it must be before the first step is done: everything that will exist, and everything that may.
#[must_use]
pub fn intent(
    layout: &Layout,
    journal: Option<&Journal>,
    kernel: &Kernel,
    others: &[Journal],
) -> Journal {
    let mut next = journal
        .cloned()
        .unwrap_or_else(|| Journal::new(&layout.mark.lab));
    next.phase = crate::journal::Phase::Applying;
    next.generation += 1;
    for space in &layout.spaces {
        let seen = kernel.spaces.get(&space.name);
        if seen.is_none() && next.spaces.contains_key(&space.name) {
            // One that was not looked at is as it was.
            continue;
        }
        let made = next.spaces.entry(space.name.clone()).or_default();
        match seen {
            Some(Seen::There(inside)) => made.cookie = Some(inside.cookie),
            Some(_) => made.cookie = None,
            None => continue,
        }
        for name in space.file_names() {
            if !made.files.iter().any(|known| known == name) {
                made.files.push(name.to_owned());
            }
        }
        if space.table.is_some() {
            made.rules.get_or_insert(0);
        }
        made.directory |= !made.files.is_empty() && !files_of(&space.name).exists();
        for (key, _) in space.sysctls.iter().filter(|(key, _)| key != ALWAYS) {
            if !made.sysctls.contains(key) {
                made.sysctls.push(key.clone());
            }
        }
    }
    for redirect in &layout.redirects {
        if !next.redirects.contains(redirect) {
            next.redirects.push(redirect.clone());
        }
    }
    for parent in layout.parents() {
        let up = kernel.host_link(parent).is_none_or(|link| link.up);
        next.parents.entry(parent.to_owned()).or_insert(up);
    }
    let has_files = layout.spaces.iter().any(|space| !space.files.is_empty());
    next.etc |= has_files && (!Path::new(ETC).exists() || others.iter().any(|other| other.etc));
    next.prepared |= !layout.spaces.is_empty()
        && (!crate::space::is_prepared() || others.iter().any(|other| other.prepared));
    let keeps = next.persists && !layout.sysctls.is_empty();
    next.settings_directory |= keeps
        && (!Path::new(persist::DIRECTORY).exists()
            || others.iter().any(|other| other.settings_directory));
    if let Some(table) = &layout.table {
        next.table = Some(table.name.clone());
    }
    for (key, _) in &layout.sysctls {
        let before = others
            .iter()
            .find_map(|other| other.sysctls.get(key))
            .or_else(|| kernel.host.sysctls.get(key));
        if let Some(before) = before {
            next.sysctls
                .entry(key.clone())
                .or_insert_with(|| before.clone());
        }
    }
    next
}

/// The journal when everything is done: nothing but what the lab has now.
#[must_use]
pub fn outcome(layout: &Layout, mut journal: Journal, cookies: &Map<String, u64>) -> Journal {
    journal.phase = crate::journal::Phase::Applied;
    let names: Set<&str> = layout
        .spaces
        .iter()
        .map(|space| space.name.as_str())
        .collect();
    journal
        .spaces
        .retain(|name, _| names.contains(name.as_str()));
    for space in &layout.spaces {
        let Some(made) = journal.spaces.get_mut(&space.name) else {
            continue;
        };
        // One that was not looked at is as it was.
        let Some(known) = cookies.get(&space.name) else {
            continue;
        };
        made.cookie = Some(*known);
        made.files.clear();
        made.files.extend(space.file_names().map(str::to_owned));
        made.directory &= !made.files.is_empty();
        if space.table.is_none() {
            made.rules = None;
        }
        let set = space.sysctls.iter().map(|(key, _)| key.clone());
        made.sysctls = set.filter(|key| key != ALWAYS).collect();
    }
    journal.redirects.clone_from(&layout.redirects);
    let parents = layout.parents();
    journal
        .parents
        .retain(|name, _| parents.contains(name.as_str()));
    journal.table = layout.table.as_ref().map(|table| table.name.clone());
    let keys: Set<&str> = layout.sysctls.iter().map(|(key, _)| key.as_str()).collect();
    journal.sysctls.retain(|key, _| keys.contains(key.as_str()));
    journal
}

/// Whether a namespace is this lab's; if not, why.
///
/// # Errors
/// The reason, in words.
pub(crate) fn owned(
    name: &str,
    inside: &Inside,
    mark: &Mark,
    journal: Option<&Journal>,
) -> Result<(), String> {
    let foreign = || {
        inside
            .links
            .iter()
            .find(|link| link.is_made() && link.group != mark.group())
            .map(|link| link.name.clone())
    };
    let known = journal.and_then(|journal| journal.spaces.get(name));
    match known.map(|made| made.cookie) {
        Some(Some(cookie)) if cookie == inside.cookie => Ok(()),
        Some(Some(_)) => Err(format!(
            "namespace {name} was removed and made again by another program; `ip netns del {name}` lets the lab make its own"
        )),
        Some(None) => match foreign() {
            None => Ok(()),
            Some(link) => Err(format!(
                "namespace {name} holds {link}, which is not the lab's"
            )),
        },
        None => {
            let marked = ["resolv.conf", "hosts", "nsswitch.conf"]
                .into_iter()
                .any(|file| is_marked(&files_of(name).join(file), mark));
            let ours = inside
                .links
                .iter()
                .any(|link| !link.kind.is_empty() && link.group == mark.group());
            if (marked || ours) && foreign().is_none() {
                Ok(())
            } else {
                Err(format!("namespace {name} exists and is not the lab's"))
            }
        }
    }
}

/// Whether a file is this lab's.
pub(crate) fn is_marked(path: &Path, mark: &Mark) -> bool {
    crate::input::read(path).is_ok_and(|text| text.starts_with(&mark.line()))
}

/// The step that puts a shared setting back, unless another lab needs it or somebody changed it since.
pub(crate) fn restore(lab: &str, key: &str, before: &str) -> Option<Action> {
    let claimed = Journal::others(lab)
        .iter()
        .any(|other| other.sysctls.contains_key(key));
    let now = crate::settings::read(key);
    (!claimed && before != "1" && now.as_deref() == Some("1")).then(|| Action::Sysctl {
        space: None,
        key: key.to_owned(),
        value: before.to_owned(),
        before: None,
    })
}

/// Whose a foreign object is, if it says so.
pub(crate) fn owner(alias: &str) -> String {
    match alias
        .strip_prefix("lab:")
        .and_then(|rest| rest.split(':').next())
    {
        Some(lab) => format!(" (it belongs to lab {lab})"),
        None => String::new(),
    }
}
