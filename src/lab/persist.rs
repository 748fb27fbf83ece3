//! Settings of the host that outlast a boot, on request: `/etc/sysctl.d/90-nameplate-lab-LAB.conf`.
//!
//! The journal dies with the boot and the file does not, so it also holds what each setting was before the lab: an
//! `apply` or a `down` after the boot takes it from there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::action::Action;
use crate::claim::is_marked;
use crate::journal::Journal;
use crate::layout::{Layout, Mark};

/// Where the files are.
pub(crate) const DIRECTORY: &str = "/etc/sysctl.d";

/// What stands before the former value of the setting in the next line.
const BEFORE: &str = "# before the lab: ";

/// The file of a lab.
pub(crate) fn path(lab: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("90-nameplate-lab-{lab}.conf"))
}

/// What the file is written to first; a name that `sysctl --system` does not read.
pub(crate) fn temporary(lab: &str) -> PathBuf {
    path(lab).with_extension("new")
}

/// Whether a lab has such a file.
#[must_use]
pub fn is_kept(lab: &str) -> bool {
    is_marked(&path(lab), &Mark::of(lab))
}

/// The file's text; `before` are the former values.
pub(crate) fn text(layout: &Layout, before: &BTreeMap<String, String>) -> String {
    let mut text = format!("{}\n", layout.mark.line());
    for (key, value) in &layout.sysctls {
        if let Some(before) = before.get(key) {
            text.push_str(&format!("{BEFORE}{before}\n"));
        }
        text.push_str(&format!("{} = {value}\n", key.replace('/', ".")));
    }
    text
}

/// What a lab's file tells, where the journal does not: that it is kept, and the former values.
pub(crate) fn adopt(lab: &str, journal: &mut Option<Journal>) {
    let told = journal.as_ref().is_some_and(|journal| journal.persists);
    if (told
        && journal
            .as_ref()
            .is_some_and(|journal| !journal.sysctls.is_empty()))
        || !is_kept(lab)
    {
        return;
    }
    let journal = journal.get_or_insert_with(|| Journal::new(lab));
    journal.persists = true;
    let text = crate::input::read_or_empty(&path(lab));
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let key = lines.peek().and_then(|next| next.split_once(" = "));
        if let (Some(before), Some((key, _))) = (line.strip_prefix(BEFORE), key) {
            let known = journal.sysctls.entry(key.replace('.', "/"));
            known.or_insert_with(|| before.to_owned());
        }
    }
}

/// The steps that remove a lab's file; what is not the lab's any more is told.
pub(crate) fn removal(mark: &Mark, journal: &Journal, warnings: &mut Vec<String>) -> Vec<Action> {
    let path = path(&mark.lab);
    let mut steps = Vec::new();
    if is_marked(&path, mark) {
        steps.push(Action::RemoveFile { path });
    } else if journal.persists && path.exists() {
        warnings.push(format!(
            "{} is not the lab's any more; it stays",
            path.display()
        ));
    }
    let path = PathBuf::from(DIRECTORY);
    let mut others = Journal::others(&mark.lab).into_iter();
    if journal.settings_directory && path.exists() && !others.any(|other| other.settings_directory)
    {
        steps.push(Action::RemoveDirectory { path });
    }
    steps
}
