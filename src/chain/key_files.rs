//! Key files of zones, as directives name them: `key file KEY...`, where a KEY is the name that `K*.key` and `K*.private` share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corefile::{Diagnostic, Line, Report, Severity, Span, Token, nearest};
use wire::NameBuf;
use zone::signing::{Half, Key};

use crate::inspect::{Inspect, Place};
use crate::setup::{Build, BuildError, Parse};

/// The most that is read of a key file, in octets.
const MOST: u64 = 1 << 16;

/// A key that the Corefile names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// The name that both files share, without an ending.
    pub base: String,
    /// Where it is written.
    pub span: Span,
}

impl Named {
    /// The key of a word, which may have the ending of either file.
    pub fn new(word: &Token) -> Self {
        let text = word.text.as_str();
        let base = [".key", ".private"]
            .iter()
            .find_map(|ending| text.strip_suffix(ending));
        Self {
            base: base.unwrap_or(text).to_owned(),
            span: word.span,
        }
    }
}

/// Reads `key WHERE WORD...`; gives WHERE and the words. `places` are what WHERE may be.
pub fn read_line<'l>(
    parse: &mut Parse<'_>,
    line: &'l Line,
    places: &[&'static str],
) -> Option<(&'static str, &'l [Token])> {
    let shape = format!("key {} KEY...", places.join("|"));
    if !parse.arguments(line, 2..=usize::MAX - 1, &shape) {
        return None;
    }
    let word = &line.words[1];
    if let Some(place) = places.iter().find(|place| **place == word.text) {
        return Some((place, &line.words[2..]));
    }
    let unknown = Diagnostic::error("CF0211", format!("unknown place of keys `{}`", word.text))
        .at(word.span, format!("expected `{shape}`"));
    parse
        .report
        .push(match nearest(&word.text, places.iter().copied()) {
            Some(near) => unknown
                .help("a similar word exists")
                .replace(word.span, near),
            None => unknown,
        });
    None
}

/// What is wrong with a key file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    path: PathBuf,
    /// 0 is the file as a whole; then `why` names it.
    line: u32,
    why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.why),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.why),
        }
    }
}

/// Reads the key whose files begin with `base`.
///
/// # Errors
/// When a file cannot be read, when it is no key, and when the two do not belong together.
pub fn load(base: &Path) -> Result<Key, Problem> {
    let half = |ending: &str| {
        let mut path = base.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    };
    let (public, private) = (half(".key"), half(".private"));
    let read = |path: &Path| {
        host::regular::read(path, MOST).map_err(|error| Problem {
            path: path.to_owned(),
            line: 0,
            why: format!("open {}: {error}", path.display()),
        })
    };
    Key::read(&read(&public)?, &read(&private)?).map_err(|fault| {
        let path = match fault.half {
            Half::Public => public,
            Half::Private => private,
        };
        let why = match fault.line {
            0 => format!("{}: {}", path.display(), fault.why),
            _ => fault.why,
        };
        Problem {
            path,
            line: fault.line,
            why,
        }
    })
}

/// Reads keys at a start.
///
/// # Errors
/// The first problem, at the word that names the key.
pub fn build(build: &Build<'_>, named: &[Named]) -> Result<Vec<Arc<Key>>, BuildError> {
    let keys = named.iter().map(|named| {
        load(&build.path(&named.base))
            .map(Arc::new)
            .map_err(|problem| BuildError::new(problem.to_string()).at(named.span))
    });
    keys.collect()
}

/// Reads keys for `check`, and says what is wrong with them; `None` for those that cannot be used.
pub fn inspect(inspect: &mut Inspect<'_>, named: &[Named]) -> Vec<Option<Arc<Key>>> {
    let keys = named.iter().map(|named| {
        load(&inspect.path(&named.base))
            .map(Arc::new)
            .map_err(|problem| tell(inspect, &problem, named.span))
            .ok()
    });
    keys.collect()
}

/// Says what is wrong with a key file, at its place and at the word that names it.
fn tell(inspect: &mut Inspect<'_>, problem: &Problem, word: Span) {
    match problem.line {
        0 => inspect.tell(Severity::Error, problem.to_string(), word),
        line => {
            let place = Place {
                path: &problem.path,
                line: line as usize,
                column: 0,
            };
            inspect.tell_at(Severity::Error, place, &problem.why, word);
        }
    }
}

/// Warns of a directive without keys: it signs nothing.
pub fn warn_without_keys(report: &mut Report, (directive, span): (&str, Span)) {
    report.push(
        Diagnostic::warning(
            "CF0352",
            format!("`{directive}` has no keys, so it signs nothing"),
        )
        .at(span, "expected `key file KEY...` in its block"),
    );
}

/// The message for a key whose owner encloses none of `zones`; `None` where it encloses one.
pub fn foreign(key: &Key, zones: &[NameBuf]) -> Option<String> {
    let able = zones
        .iter()
        .any(|zone| zone.as_name().is_within(key.owner()));
    let (owner, tag) = (key.owner(), key.tag());
    (!able).then(|| format!("key {owner} (keyid: {tag}) can not sign any of the zones"))
}

/// The keys of a zone: those whose owner encloses it most closely, so that each zone of a list has its own.
pub fn of_zone(zone: &NameBuf, keys: &[Arc<Key>]) -> Vec<Arc<Key>> {
    let enclosing = || {
        let keys = keys.iter();
        keys.filter(|key| zone.as_name().is_within(key.owner()))
    };
    let nearest = enclosing().map(|key| key.owner().label_count()).max();
    let own = enclosing().filter(|key| Some(key.owner().label_count()) == nearest);
    own.cloned().collect()
}
