//! What the commands of a lab print: kept below the lab's directory, in two files of bounded size for each namespace.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use corefile::Sources;

use crate::error::{During, Error, Result};
use crate::journal::{Journal, directory};
use crate::say;
use crate::spec::Spec;

/// Below a lab's directory.
const LOG: &str = "log";
/// A file that would become larger is put aside, in place of the one before it.
const LIMIT: u64 = 1 << 20;
/// What is read of a file at once: more than there is, unless somebody else wrote it.
const MOST: u64 = 64 << 20;
/// How soon is looked for more, and how often in vain before the beginning of a line is shown as one.
const AGAIN: Duration = Duration::from_millis(50);
const IN_VAIN: u32 = 10;
/// What the supervisor says itself; no namespace is called so.
pub(crate) const SUPERVISOR: &str = "_supervisor";

/// The directory of a lab's logs.
pub(crate) fn place(lab: &str) -> PathBuf {
    directory(lab).join(LOG)
}

/// The file of a namespace, and that which was put aside.
fn files(lab: &str, space: &str) -> [PathBuf; 2] {
    let place = place(lab);
    [
        place.join(format!("{space}.log")),
        place.join(format!("{space}.log.1")),
    ]
}

/// Where the output of one command goes.
#[derive(Debug)]
pub(crate) struct Log {
    files: [PathBuf; 2],
    file: File,
    length: u64,
    /// Of which stream, that of errors or the other one, the last line is without its end.
    open: Option<bool>,
    /// What stands before each line on the terminal; none if nothing is shown there.
    shown: Option<String>,
    /// What of both streams is not shown yet.
    lines: [Lines; 2],
}

impl Log {
    /// Opens the log of a namespace, behind what is there: on a line of its own.
    pub(crate) fn open(lab: &str, space: &str, shown: Option<String>) -> io::Result<Self> {
        std::fs::create_dir_all(place(lab))?;
        let files = files(lab, space);
        let mut file = append(&files[0])?;
        let mut last = [b'\n'];
        let mut before = File::open(&files[0])?;
        if before.seek(SeekFrom::End(-1)).is_ok() && before.read_exact(&mut last).is_ok() {
            file.write_all(if last == *b"\n" { b"" } else { b"\n" })?;
        }
        Ok(Self {
            length: file.metadata()?.len(),
            files,
            file,
            open: None,
            shown,
            lines: Default::default(),
        })
    }

    /// Keeps some octets, and shows them when their line has an end.
    pub(crate) fn write(&mut self, octets: &[u8], of_errors: bool) {
        // What the other stream says in between is a line of its own.
        let break_line = self.open.is_some_and(|stream| stream != of_errors);
        if break_line {
            self.keep(b"\n");
        }
        self.keep(octets);
        self.open = (!octets.ends_with(b"\n")).then_some(of_errors);
        if let Some(prefix) = &self.shown
            && let Some(text) = self.lines[usize::from(of_errors)].add(octets)
        {
            show_lines(&text, prefix, of_errors);
        }
    }

    /// Shows what has no end.
    pub(crate) fn close(mut self) {
        let Some(prefix) = &self.shown else { return };
        for (of_errors, lines) in [false, true].into_iter().zip(&mut self.lines) {
            if let Some(text) = lines.rest() {
                show_lines(&text, prefix, of_errors);
            }
        }
    }

    /// Keeps some octets.
    fn keep(&mut self, octets: &[u8]) {
        if self.length + octets.len() as u64 > LIMIT && self.length > 0 {
            let [now, before] = &self.files;
            if std::fs::rename(now, before).is_ok()
                && let Ok(file) = append(now)
            {
                (self.file, self.length) = (file, 0);
            }
        }
        // A full disk loses output, and ends nothing.
        if self.file.write_all(octets).is_ok() {
            self.length += octets.len() as u64;
        }
    }
}

/// Shows lines on the terminal, each behind a prefix; who reads it may be gone.
pub(crate) fn show_lines(octets: &[u8], prefix: &str, of_errors: bool) {
    let text = with_prefix(octets, prefix);
    if of_errors {
        say::errors(&text);
    } else {
        say::octets(&text);
    }
}

/// Where the supervisor of `up` says what happens.
pub(crate) fn of_supervisor(lab: &str) -> io::Result<File> {
    std::fs::create_dir_all(place(lab))?;
    append(&files(lab, SUPERVISOR)[0])
}

/// Empties a file that became too large.
pub(crate) fn bound(file: &File) {
    if file.metadata().is_ok_and(|data| data.len() > LIMIT) {
        let _ = file.set_len(0);
    }
}

/// A file that grows at its end.
fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Whole lines, each behind a prefix.
fn with_prefix(octets: &[u8], prefix: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(octets.len() + 64);
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        text.extend(prefix.as_bytes());
        text.extend(line);
        if !line.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
    text
}

/// Cuts a stream into whole lines; what is very long is cut all the same.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<u8>);

impl Lines {
    const LONGEST: usize = 16 << 10;

    /// Adds what came; whole lines, if there are any.
    pub(crate) fn add(&mut self, octets: &[u8]) -> Option<Vec<u8>> {
        self.0.extend(octets);
        let end = match self.0.iter().rposition(|octet| *octet == b'\n') {
            Some(at) => at + 1,
            None if self.0.len() > Self::LONGEST => self.0.len(),
            None => return None,
        };
        let rest = self.0.split_off(end);
        Some(std::mem::replace(&mut self.0, rest))
    }

    /// Whether there is the beginning of a line.
    pub(crate) fn is_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// What has no end.
    pub(crate) fn rest(&mut self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then(|| std::mem::take(&mut self.0))
    }
}

/// Which logs are shown, and how.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Go on with what is printed from now on, until the lab is removed.
    pub follow: bool,
    /// Only so many lines of what was printed so far.
    pub last: Option<usize>,
}

/// Prints what the command of a namespace printed, or those of all namespaces of a lab, each line behind its namespace.
///
/// # Errors
/// There is no such lab or namespace, or no output of it.
pub fn show(lab: Option<&str>, space: Option<&str>, manner: Manner) -> Result<()> {
    let (lab, spaces) = which(lab, space)?;
    let width = spaces.iter().map(String::len).max().unwrap_or(0);
    let mut tails: Vec<Tail> = spaces
        .iter()
        .map(|name| Tail {
            files: files(&lab, name),
            open: None,
            position: 0,
            lines: Lines::default(),
            in_vain: 0,
            prefix: (space.is_none()).then(|| format!("{name:width$} | ")),
        })
        .collect();
    let mut print = || -> io::Result<()> {
        for tail in &mut tails {
            tail.before(manner.last)?;
        }
        while manner.follow && place(&lab).is_dir() {
            std::thread::sleep(AGAIN);
            for tail in &mut tails {
                tail.more()?;
            }
        }
        tails.iter_mut().try_for_each(Tail::end)
    };
    match print() {
        // Why is told at the end.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.during(|| format!("cannot read the output kept of lab {lab}")),
    }
}

/// The lab that is meant, and the namespaces that have logs.
fn which(lab: Option<&str>, space: Option<&str>) -> Result<(String, Vec<String>)> {
    let labs = match lab {
        Some(lab) if Journal::load(lab)?.is_some() => vec![lab.to_owned()],
        Some(lab) => return Err(Error::new(format!("there is no lab {lab}"))),
        None => Journal::labs(),
    };
    if let Some(space) = space {
        is_known(&labs, space)?;
    }
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for lab in labs {
        let names = logged(&lab);
        if space.is_none_or(|space| names.iter().any(|name| name == space)) && !names.is_empty() {
            found.push((lab, names));
        }
    }
    match (found.len(), space) {
        (1, Some(space)) => {
            let (lab, _) = found.swap_remove(0);
            Ok((lab, vec![space.to_owned()]))
        }
        (1, None) => Ok(found.swap_remove(0)),
        (0, Some(space)) => Err(Error::new(format!(
            "{space} has no output: `run` and `up` keep that of the commands that they start"
        ))),
        (0, None) => Err(Error::new(
            "there is no output: `run` and `up` keep that of the commands that they start",
        )),
        _ => {
            let labs: Vec<_> = found.into_iter().map(|(lab, _)| lab).collect();
            Err(Error::new(format!(
                "several labs have output, name one with --lab: {}",
                labs.join(", ")
            )))
        }
    }
}

/// That one of the labs has a namespace of this name: by its journal, its file, or the output that it had.
fn is_known(labs: &[String], space: &str) -> Result<()> {
    let mut names = Vec::new();
    for lab in labs {
        names.extend(logged(lab));
        let Ok(Some(journal)) = Journal::load(lab) else {
            continue;
        };
        names.extend(journal.spaces.into_keys());
        // What runs on the host is in no journal.
        let file = journal.file.as_ref();
        let read = file.and_then(|file| Spec::load(file, &mut Sources::default()).ok());
        let spaces = read.and_then(|(spec, _)| spec).map(|spec| spec.spaces);
        names.extend(spaces.into_iter().flatten().map(|space| space.name.value));
    }
    if names.iter().any(|name| name == space) {
        return Ok(());
    }
    names.sort();
    names.dedup();
    let whose = match labs {
        [] => {
            let why = format!("{space} has no output: no lab is applied on this machine");
            return Err(Error::new(why));
        }
        [lab] => format!("lab {lab} has no"),
        _ => "no lab here has a".to_owned(),
    };
    Err(Error::new(format!(
        "{whose} namespace {space}; there are: {}",
        names.join(", ")
    )))
}

/// Namespaces of which output is kept.
fn logged(lab: &str) -> Vec<String> {
    let entries = std::fs::read_dir(place(lab)).into_iter().flatten();
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".log").map(str::to_owned))
        .filter(|name| name != SUPERVISOR)
        .collect();
    names.sort();
    names
}

/// A log that is read to its end, again and again.
struct Tail {
    files: [PathBuf; 2],
    open: Option<File>,
    position: u64,
    lines: Lines,
    /// How often nothing came behind the beginning of a line.
    in_vain: u32,
    prefix: Option<String>,
}

impl Tail {
    /// Prints what is there, or the last lines of it.
    fn before(&mut self, last: Option<usize>) -> io::Result<()> {
        let mut text = crate::input::octets(&self.files[1]).unwrap_or_default();
        let file = crate::input::regular(&self.files[0])?;
        self.position = Read::take(&file, MOST).read_to_end(&mut text)? as u64;
        self.open = Some(file);
        let start = last.map_or(0, |last| {
            let lines = text.split_inclusive(|octet| *octet == b'\n');
            let kept = lines.rev().take(last).map(<[u8]>::len);
            text.len() - kept.sum::<usize>()
        });
        self.print(&text[start..])
    }

    /// Prints what came since.
    fn more(&mut self) -> io::Result<()> {
        // One that was put aside grows no more, so it can be read to its end for the last time.
        let inode = |data: io::Result<std::fs::Metadata>| data.map(|data| data.ino()).ok();
        let open = self.open.as_ref().and_then(|file| inode(file.metadata()));
        let there = inode(std::fs::metadata(&self.files[0]));
        self.rest()?;
        if there.is_some() && there != open {
            self.open = File::open(&self.files[0]).ok();
            self.position = 0;
            self.rest()?;
        }
        Ok(())
    }

    /// Prints what the open file has beyond what was read.
    fn rest(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.open else {
            return Ok(());
        };
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(self.position))?;
        self.position += Read::take(&mut *file, MOST).read_to_end(&mut text)? as u64;
        if self.prefix.is_none() {
            return self.print(&text);
        }
        self.in_vain = match text.is_empty() && self.lines.is_open() {
            true => self.in_vain + 1,
            false => 0,
        };
        let text = match self.in_vain > IN_VAIN {
            true => self.lines.rest(),
            false => self.lines.add(&text),
        };
        text.map_or(Ok(()), |text| self.print(&text))
    }

    /// Prints what has no end.
    fn end(&mut self) -> io::Result<()> {
        let rest = self.lines.rest();
        rest.map_or(Ok(()), |text| self.print(&text))
    }

    /// Prints some of it.
    fn print(&self, text: &[u8]) -> io::Result<()> {
        let printed = say::write(|out| match &self.prefix {
            Some(prefix) => out.write_all(&with_prefix(text, prefix)),
            None => out.write_all(text),
        });
        match printed {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_bounded() {
        let mut lines = Lines::default();
        assert_eq!(lines.add(b"one\ntw"), Some(b"one\n".to_vec()));
        assert_eq!(lines.add(b"o"), None);
        assert_eq!(lines.add(b"\n\nthree"), Some(b"two\n\n".to_vec()));
        assert_eq!(lines.rest(), Some(b"three".to_vec()));
        assert_eq!(lines.rest(), None);
        let long = vec![b'x'; Lines::LONGEST + 1];
        assert_eq!(lines.add(&long), Some(long));
        assert_eq!(with_prefix(b"a\nb", "n | "), b"n | a\nn | b\n");
    }
}
