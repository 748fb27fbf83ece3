//! The file of settings that outlast a boot.

use super::{Planner, Subject};
use crate::action::Action;
use crate::claim::is_marked;
use crate::journal::Journal;
use crate::persist;

impl Planner<'_> {
    /// The file, if it was asked for and the lab has settings of the host; and if it has none any more, no file.
    pub(super) fn persisted(&mut self) {
        let Some(journal) = self.journal.filter(|journal| journal.persists) else {
            return;
        };
        let mark = &self.layout.mark;
        let path = persist::path(&mark.lab);
        let is_ours = is_marked(&path, mark);
        if self.layout.sysctls.is_empty() {
            if is_ours {
                self.step(Action::RemoveFile { path });
            }
            return;
        }
        if !is_ours && path.symlink_metadata().is_ok() {
            let text = format!("{} exists and is not the lab's", path.display());
            return self.conflict(Subject::Lab, text);
        }
        let mut before = self.kernel.host.sysctls.clone().into_iter().collect();
        for other in Journal::others(&mark.lab) {
            std::collections::BTreeMap::extend(&mut before, other.sysctls);
        }
        before.extend(journal.sysctls.clone());
        let text = persist::text(self.layout, &before);
        let now = crate::input::read(&path).ok();
        if now.as_deref() != Some(text.as_str()) {
            self.step(Action::WriteFile {
                path,
                text,
                fresh: now.is_none(),
            });
        }
    }
}
