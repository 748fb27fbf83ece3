//! The runtime's side: what a container engine does with a network's configuration, by hand.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The networks of a directory in the order in which a runtime reads them, each as a list of plugins; what cannot be read
/// is none.
pub(super) fn lists(directory: &Path) -> Vec<(PathBuf, Value)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            extension.is_some_and(|extension| ["conflist", "conf", "json"].contains(&extension))
        })
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read(&path).ok()?;
        let list: Value = serde_json::from_slice(&text).ok()?;
        let list = match list["plugins"].is_array() {
            true => list,
            // One plugin alone.
            false => {
                json!({"cniVersion": list["cniVersion"], "name": list["name"], "plugins": [list]})
            }
        };
        Some((path, list))
    };
    paths.into_iter().filter_map(read).collect()
}
