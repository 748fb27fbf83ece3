//! `import`: files of other tools as a lab's file.
//!
//! ```text
//! compose.rs ──┐                                         ┌─► TOML     standard output
//!              ├─► draft.rs  networks, pairs, namespaces ┤
//! clab.rs ─────┘                                         └─► report   standard error, with lines
//! ```
//!
//! Nothing is guessed in silence: what is otherwise in a lab is told as changed, what has no equivalent as left out. What is
//! printed is a lab without mistakes, or nothing is printed.

mod clab;
mod compose;
mod draft;
mod yaml;

use std::path::{Path, PathBuf};

use corefile::Sources;
use lab::Result;
use lab::spec::Spec;

use crate::commands::unreadable;
use draft::{Draft, Kind};
use yaml::Node;

/// What a file is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Docker Compose: services, networks, ports
    Compose,
    /// containerlab: nodes and links
    Containerlab,
}

/// Prints a file of another tool as a lab's; 0 if all of it was taken, 1 if not, 2 if there is nothing to print.
pub(crate) fn import(format: Format, path: &Path) -> Result<u8> {
    let text = match lab::input::given(path) {
        Ok(text) => text,
        Err(error) => {
            lab::warn!("{}", unreadable(path, &error));
            return Ok(2);
        }
    };
    let mut draft = Draft::new(name_of(path));
    let read = yaml::read(&text).and_then(|root| match format {
        Format::Compose => compose::read(&root, &mut draft),
        Format::Containerlab => clab::read(&root, &mut draft),
    });
    if let Err((line, why)) = read {
        lab::warn!("{}:{line}: {why}", path.display());
        return Ok(2);
    }
    let out = draft.text(path);
    let mut sources = Sources::default();
    let place = PathBuf::from(format!("{}.toml", draft.name));
    let (_, mistakes) = Spec::parse(&place, &out, &mut sources);
    if mistakes.has_errors() {
        lab::say::report(&mistakes, &sources);
        lab::warn!(
            "{} would make a lab with mistakes; nothing is printed",
            path.display()
        );
        return Ok(2);
    }
    lab::say::text(&out);
    draft.report.sort_by_key(|one| (one.kind, one.line));
    for entry in &draft.report {
        lab::warn!(
            "{}:{}: {}: {}",
            path.display(),
            entry.line,
            entry.kind.word(),
            entry.text
        );
    }
    let count = |kind| draft.report.iter().filter(|one| one.kind == kind).count();
    let left = count(Kind::Left);
    lab::warn!(
        "lab {}: {}, {} changed, {left} left out",
        draft.name,
        draft.summary(),
        count(Kind::Changed)
    );
    Ok(u8::from(left > 0))
}

/// The lab's name where the file does not say it: the directory of a file that all projects call so, or else the file's own.
fn name_of(path: &Path) -> String {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("lab");
    let stem = [".clab", ".compose"]
        .iter()
        .find_map(|end| stem.strip_suffix(end))
        .unwrap_or(stem);
    if ["compose", "docker-compose"].contains(&stem)
        && let Some(folder) = std::path::absolute(path).ok()
        && let Some(name) = folder.parent().and_then(Path::file_name)
    {
        return name.to_string_lossy().into_owned();
    }
    stem.to_owned()
}

/// A line and what is wrong there.
type Wrong = (u64, String);

/// What was read, or why not.
type Read<T> = std::result::Result<T, Wrong>;

/// A mistake at a node.
fn wrong<T>(node: &Node, why: impl Into<String>) -> Read<T> {
    Err((yaml::line(node), why.into()))
}
