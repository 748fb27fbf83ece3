//! The statements of named.conf: words and blocks, each statement ended by `;`.

use std::io;
use std::path::Path;
use std::rc::Rc;

use crate::import::reading::Files;
use crate::import::report::{Place, Report};

/// How deep blocks stand in blocks. BIND needs four.
const MOST_DEPTH: usize = 16;

/// A part of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Word(String),
    Block(Vec<Statement>),
}

/// A statement and the line where it begins.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) place: Place,
    pub(super) parts: Vec<Part>,
}

impl PartialEq for Statement {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for Statement {}

impl Statement {
    /// Its first word, in lower case.
    pub(super) fn name(&self) -> String {
        self.word(0).to_ascii_lowercase()
    }

    /// A word by its place; empty where there is none.
    pub(super) fn word(&self, index: usize) -> &str {
        match self.parts.get(index) {
            Some(Part::Word(word)) => word,
            _ => "",
        }
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Word(word) => Some(&**word),
            Part::Block(_) => None,
        })
    }

    /// The first block.
    pub(super) fn block(&self) -> Option<&[Statement]> {
        self.parts.iter().find_map(|part| match part {
            Part::Block(block) => Some(&**block),
            Part::Word(_) => None,
        })
    }

    /// In short, for the report.
    pub(super) fn text(&self) -> String {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Word(word) => out.push(word.clone()),
                Part::Block(inner) => {
                    let inner: Vec<_> = inner
                        .iter()
                        .take(4)
                        .map(|one| one.words().collect::<Vec<_>>().join(" ") + ";")
                        .collect();
                    out.push(format!("{{ {} }}", inner.join(" ")));
                }
            }
        }
        out.join(" ") + ";"
    }
}

/// Reads a file, and what it includes in the place where it does.
pub(super) fn read(
    path: &Path,
    files: &mut Files,
    report: &mut Report,
) -> io::Result<Vec<Statement>> {
    let text = files.open(path)?;
    let mut tokens = Vec::new();
    let mut comment = false;
    for (place, line) in text.lines(report) {
        tokenize(line, &place, &mut comment, &mut tokens);
    }
    let mut all = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        block(&tokens, &mut at, 0, &mut all, report);
        if let Some((_, place)) = tokens.get(at) {
            report.left(place, "}", "no block ends here", "");
            at += 1;
        }
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let all = included(all, folder, files, report);
    files.close();
    Ok(all)
}

/// Puts the statements of other files in the place of `include`.
fn included(
    all: Vec<Statement>,
    folder: &Path,
    files: &mut Files,
    report: &mut Report,
) -> Vec<Statement> {
    let mut out = Vec::new();
    for mut statement in all {
        if statement.name() == "include" {
            // named starts from its working directory; a copy of a configuration lies elsewhere.
            let named = Path::new(statement.word(1));
            let path = if named.exists() || named.is_absolute() {
                named.to_owned()
            } else {
                folder.join(named)
            };
            match files.matching(&path) {
                Ok(paths) => {
                    for path in paths {
                        match read(&path, files, report) {
                            Ok(more) => out.extend(more),
                            Err(error) => {
                                let why = format!("{} cannot be read: {error}", path.display());
                                report.left(&statement.place, &statement.text(), &why, "");
                            }
                        }
                    }
                }
                Err(error) => {
                    let why = format!("it cannot be listed: {error}");
                    report.left(&statement.place, &statement.text(), &why, "");
                }
            }
            continue;
        }
        for part in &mut statement.parts {
            if let Part::Block(inner) = part {
                *inner = included(std::mem::take(inner), folder, files, report);
            }
        }
        out.push(statement);
    }
    out
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// The tokens of a line; `comment` says whether one that runs over lines is open.
fn tokenize(line: &str, place: &Place, comment: &mut bool, tokens: &mut Vec<(Token, Place)>) {
    let mut rest = line;
    loop {
        if *comment {
            let Some((_, after)) = rest.split_once("*/") else {
                return;
            };
            *comment = false;
            rest = after;
        }
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            return;
        };
        if rest.starts_with('#') || rest.starts_with("//") {
            return;
        }
        if let Some(after) = rest.strip_prefix("/*") {
            *comment = true;
            rest = after;
            continue;
        }
        let place = Place {
            file: Rc::clone(&place.file),
            line: place.line,
        };
        let single = match first {
            '{' => Some(Token::Open),
            '}' => Some(Token::Close),
            ';' => Some(Token::End),
            _ => None,
        };
        if let Some(token) = single {
            tokens.push((token, place));
            rest = &rest[1..];
            continue;
        }
        if first == '"' {
            let inner = &rest[1..];
            let end = inner.find('"').unwrap_or(inner.len());
            tokens.push((Token::Word(inner[..end].to_owned()), place));
            rest = inner.get(end + 1..).unwrap_or_default();
            continue;
        }
        let ends = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"');
        let mut end = rest.find(ends).unwrap_or(rest.len());
        for comment in ["/*", "//"] {
            end = end.min(rest.find(comment).unwrap_or(end));
        }
        // `!` stands before a word or a block.
        if first == '!' {
            end = 1;
        }
        let end = end.max(first.len_utf8());
        tokens.push((Token::Word(rest[..end].to_owned()), place));
        rest = &rest[end..];
    }
}

/// Reads statements up to the end of the block.
fn block(
    tokens: &[(Token, Place)],
    at: &mut usize,
    depth: usize,
    all: &mut Vec<Statement>,
    report: &mut Report,
) {
    let mut statement: Option<Statement> = None;
    while let Some((token, place)) = tokens.get(*at) {
        if *token == Token::Close {
            break;
        }
        *at += 1;
        let open = |statement: &mut Option<Statement>, part: Part| {
            statement
                .get_or_insert_with(|| Statement {
                    place: place.clone(),
                    parts: Vec::new(),
                })
                .parts
                .push(part);
        };
        match token {
            Token::End => all.extend(statement.take()),
            Token::Word(word) => open(&mut statement, Part::Word(word.clone())),
            Token::Open if depth >= MOST_DEPTH => {
                report.left(
                    place,
                    "{",
                    &format!("blocks stand more than {MOST_DEPTH} deep"),
                    "",
                );
                *at = tokens.len();
            }
            Token::Open => {
                let mut inner = Vec::new();
                block(tokens, at, depth + 1, &mut inner, report);
                match tokens.get(*at) {
                    Some(_) => *at += 1,
                    None => report.left(place, "{", "the block has no end", ""),
                }
                open(&mut statement, Part::Block(inner));
            }
            Token::Close => {}
        }
    }
    if let Some(statement) = statement {
        report.left(
            &statement.place,
            &statement.text(),
            "there is no `;` behind it",
            "",
        );
        all.push(statement);
    }
}
