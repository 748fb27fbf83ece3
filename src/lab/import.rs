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

use corefile::{FileId, Report, Sources, Span};
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

/// Prints a file of another tool, `-` for standard input, as a lab's; 0 if all of it was taken, 1 if not, 2 if there is nothing to
/// print.
pub(crate) fn import(format: Format, path: &Path) -> Result<u8> {
    let is_stdin = path == Path::new("-");
    let (path, text) = match is_stdin {
        true => (Path::new("stdin"), lab::input::stream(std::io::stdin())),
        false => (path, lab::input::given(path)),
    };
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            lab::warn!("{}", unreadable(path, &error));
            return Ok(2);
        }
    };
    let from = path.display().to_string();
    let mut draft = Draft::default();
    let read = yaml::read(&text).and_then(|root| match format {
        Format::Compose => compose::read(&root, &mut draft),
        Format::Containerlab => clab::read(&root, &mut draft),
    });
    if let Err((line, why)) = read {
        lab::warn!("{from}:{line}: {why}");
        return Ok(2);
    }
    if draft.name.is_empty() {
        // As Docker names what is piped into it.
        let named = match is_stdin {
            true => Path::new("compose.yaml"),
            false => path,
        };
        draft.rename(1, &name_of(named));
    }
    let made = draft.text(&from);
    let place = PathBuf::from(format!("{}.toml", draft.name));
    let (_, mistakes) = Spec::parse(&place, &made.out, &mut Sources::default());
    if mistakes.has_errors() {
        let mut sources = Sources::default();
        let file = sources.add(&from, text.clone());
        let line_of = |span: Span| line(&text, file, draft.line_of(&made, span.start as usize));
        let mut told = Report::new();
        told.extend(mistakes.into_iter().map(|mut one| {
            for label in &mut one.labels {
                label.span = line_of(label.span);
            }
            // An edit of what is not printed.
            one.fix = None;
            one
        }));
        lab::say::report(&told, &sources);
        lab::warn!("{from} would make a lab with mistakes; nothing is printed");
        return Ok(2);
    }
    lab::say::text(&made.out);
    draft.report.sort_by_key(|one| (one.kind, one.line));
    for entry in &draft.report {
        lab::warn!(
            "{from}:{}: {}: {}",
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

/// The place of a line, without what surrounds its text.
fn line(text: &str, file: FileId, number: u64) -> Span {
    let before = usize::try_from(number).unwrap_or(1).saturating_sub(1);
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let line = text[start..].lines().next().unwrap_or_default();
    let start = start + line.len() - line.trim_start().len();
    Span {
        file,
        start: start as u32,
        end: (start + line.trim().len()) as u32,
    }
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
