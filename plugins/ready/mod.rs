//! `ready`: a page that says whether every plugin could answer now.
//!
//! All blocks with `ready` share one state, whatever their addresses: each page speaks for all of them. What was ready once is
//! kept by the address of its plugin, which lives as long as the snapshot that the page belongs to.

mod setup;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chain::Plugin;
use chain::admin::{Page, PageRequest};

pub(crate) use setup::REGISTRATION;

/// Whether a plugin that was ready is asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Monitor {
    UntilReady,
    Continuously,
}

impl Monitor {
    const WORDS: [(&'static str, Monitor); 2] = [
        ("until-ready", Self::UntilReady),
        ("continuously", Self::Continuously),
    ];
}

/// What the blocks with `ready` share.
#[derive(Default)]
struct State(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// The blocks with `ready`, by number.
    blocks: BTreeMap<usize, Monitor>,
    /// The plugins that were ready and are not asked again.
    settled: HashSet<usize>,
}

/// A plugin, its block, and whether it is ready.
type Found = (usize, &'static str, bool);

impl State {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the plugins of the blocks with `ready`.
    fn ask(&self, plugins: Vec<(usize, Arc<dyn Plugin>)>) -> Vec<Found> {
        let mut known = self.known();
        let mut found = Vec::new();
        for (block, plugin) in plugins {
            let Some(&monitor) = known.blocks.get(&block) else {
                continue;
            };
            let key = Arc::as_ptr(&plugin).cast::<()>() as usize;
            if monitor == Monitor::UntilReady && known.settled.contains(&key) {
                found.push((block, plugin.name(), true));
                continue;
            }
            let Some(ready) = plugin.ready() else {
                continue;
            };
            if ready {
                known.settled.insert(key);
            }
            found.push((block, plugin.name(), ready));
        }
        found
    }

    /// The page.
    fn page(&self, request: &PageRequest<'_>) -> Page {
        let verbose = request
            .query
            .split('&')
            .any(|word| word.split('=').next() == Some("verbose"));
        let leaving = request.overview.shutting_down();
        let found = self.ask(request.overview.plugins());
        let waiting: BTreeSet<_> = found
            .iter()
            .filter(|(.., ready)| !ready)
            .map(|(_, name, _)| *name)
            .collect();
        let waiting = waiting.into_iter().collect::<Vec<_>>().join(",");
        if !leaving && !waiting.is_empty() {
            tracing::info!(target: "plugin/ready", "Plugins not ready: \"{waiting}\"");
        }
        let (status, mut body) = match (leaving, waiting.is_empty()) {
            (true, _) => (503, "Shutting down".to_owned()),
            (false, true) => (200, "OK".to_owned()),
            (false, false) => (503, waiting),
        };
        if verbose {
            for (block, name, ready) in &found {
                let not = if *ready { "" } else { "not " };
                body += &format!("\nblock {block}: {name}: {not}ready");
            }
            for (block, plugin) in request.overview.plugins() {
                if let Some(why) = plugin.trouble() {
                    body += &format!("\nblock {block}: {}: {why}", plugin.name());
                }
            }
            match request.overview.reload_failure() {
                Some(why) => body += &format!("\nreload: failed: {why}"),
                None => body += "\nreload: ok",
            }
            body.push('\n');
        }
        Page::text(status, body)
    }
}
