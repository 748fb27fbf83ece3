//! Files of keys, in the form of named.conf: `key "NAME" { algorithm hmac-sha256; secret "…"; };`. `tsig-keygen` and `keymgr` write it.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain::tsig::{Algorithm, Key, Keyring, Keys};
use host::source::{Content, Doubt, Files, Places, Reading};
use wire::{Name, NameBuf};

/// The most that is read of a file, in octets.
pub(super) const FILE: u64 = 16 << 20;

/// The files of keys of a server block, and the keys that stand in the Corefile.
pub(super) struct KeyFiles {
    pub(super) paths: Vec<PathBuf>,
    pub(super) fixed: Keyring,
    pub(super) keys: Arc<Keys>,
}

impl KeyFiles {
    /// What tells these files from others.
    fn key(&self) -> String {
        let paths = self.paths.iter().map(|path| path.display().to_string());
        format!("tsig {}", paths.collect::<Vec<_>>().join(" "))
    }
}

impl Content for KeyFiles {
    type Draft = Result<Keyring, String>;

    fn places(&mut self) -> Places {
        Places {
            files: self.paths.clone(),
            ..Places::default()
        }
    }

    fn most(&self) -> u64 {
        FILE
    }

    fn read(&mut self, files: &mut Files) -> Reading<Self::Draft> {
        let mut keys = self.fixed.clone();
        let mut draft = Ok(());
        for path in &self.paths {
            let added = files
                .read(path, FILE)
                .map_err(|error| format!("open {}: {error}", path.display()))
                .and_then(|text| {
                    parse(&text, &mut keys).map_err(|why| format!("{}:{why}", path.display()))
                });
            draft = draft.and(added);
        }
        Reading {
            doubt: match &draft {
                Ok(()) => Doubt::None,
                Err(_) => Doubt::Doubtful,
            },
            draft: draft.map(|()| keys),
            usable: false,
        }
    }

    fn take(&mut self, draft: Self::Draft, _: &Files) {
        match draft {
            Ok(keys) if keys == **self.keys.load() => {}
            Ok(keys) => {
                self.keys.replace(keys);
                tracing::info!(target: "plugin/tsig", "Successfully reloaded keys");
            }
            Err(error) => tracing::error!(target: "plugin/tsig", "{error}"),
        }
    }

    fn kept(&self) -> Option<(String, Arc<dyn Any + Send + Sync>)> {
        Some((self.key(), self.keys.clone()))
    }

    fn fail(&mut self, path: &Path, why: &str) {
        tracing::error!(target: "plugin/tsig", "open {}: {why}", path.display());
    }
}

/// Adds the keys of a file.
///
/// # Errors
/// The line, a colon, and what is wrong there.
pub(super) fn parse(text: &[u8], keys: &mut Keyring) -> Result<(), String> {
    let mut words = Words {
        text,
        at: 0,
        line: 1,
    };
    loop {
        match words.next()? {
            None => return Ok(()),
            Some(word) if word == b";" => {}
            Some(word) if word == b"key" => read_key(&mut words, keys)?,
            Some(word) => {
                let word = String::from_utf8_lossy(word).into_owned();
                return Err(words.mistake(&format!("expected `key`, not `{word}`")));
            }
        }
    }
}

/// Reads what stands behind `key`.
fn read_key(words: &mut Words<'_>, keys: &mut Keyring) -> Result<(), String> {
    let name = words.need("the name of a key")?;
    let name = NameBuf::parse_octets(name, Name::ROOT)
        .map_err(|why| words.mistake(&format!("the name of the key: {why}")))?;
    words.expect(b"{")?;
    let (mut algorithm, mut secret) = (None, None);
    loop {
        match words.need("`}`")? {
            b"}" => break,
            b";" => {}
            b"algorithm" => {
                let word = String::from_utf8_lossy(words.need("an algorithm")?).into_owned();
                let known = Algorithm::from_text(&word);
                algorithm = Some(
                    known.ok_or_else(|| words.mistake(&format!("unknown algorithm `{word}`")))?,
                );
            }
            b"secret" => {
                secret = Some(String::from_utf8_lossy(words.need("a secret")?).into_owned());
            }
            other => {
                let word = String::from_utf8_lossy(other).into_owned();
                return Err(
                    words.mistake(&format!("expected `algorithm` or `secret`, not `{word}`"))
                );
            }
        }
    }
    let shown = name.to_string();
    let Some(secret) = secret else {
        return Err(words.mistake(&format!("key \"{shown}\" has no secret")));
    };
    match keys.add(Key::new(name, &secret, algorithm)) {
        None => Ok(()),
        Some(_) => Err(words.mistake(&format!("key \"{shown}\" redefined"))),
    }
}

/// The words of a file, from the left; comments are left out.
struct Words<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Words<'a> {
    fn mistake(&self, what: &str) -> String {
        format!("{}: {what}", self.line)
    }

    fn need(&mut self, what: &str) -> Result<&'a [u8], String> {
        match self.next()? {
            Some(word) => Ok(word),
            None => Err(self.mistake(&format!("the file ends where {what} is expected"))),
        }
    }

    fn expect(&mut self, word: &[u8]) -> Result<(), String> {
        let shown = String::from_utf8_lossy(word).into_owned();
        let found = self.need(&format!("`{shown}`"))?;
        if found == word {
            return Ok(());
        }
        let found = String::from_utf8_lossy(found).into_owned();
        Err(self.mistake(&format!("expected `{shown}`, not `{found}`")))
    }

    fn next(&mut self) -> Result<Option<&'a [u8]>, String> {
        self.pass()?;
        let start = self.at;
        let Some(&first) = self.text.get(start) else {
            return Ok(None);
        };
        let rest = &self.text[start..];
        if matches!(first, b'{' | b'}' | b';') {
            self.at += 1;
            return Ok(Some(&rest[..1]));
        }
        if first == b'"' {
            let Some(len) = rest[1..].iter().position(|&c| c == b'"' || c == b'\n') else {
                return Err(self.mistake("a quote is not closed"));
            };
            if rest[1 + len] == b'\n' {
                return Err(self.mistake("a quote is not closed"));
            }
            self.at += len + 2;
            return Ok(Some(&rest[1..1 + len]));
        }
        let ends = |c: &u8| c.is_ascii_whitespace() || matches!(c, b'{' | b'}' | b';' | b'"');
        let len = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += len;
        Ok(Some(&rest[..len]))
    }

    /// Passes over blanks and comments: `#`, `//` and `/* … */`.
    fn pass(&mut self) -> Result<(), String> {
        while let Some(rest @ [first, ..]) = self.text.get(self.at..) {
            let len = match rest {
                [b'#', ..] | [b'/', b'/', ..] => {
                    rest.iter().position(|&c| c == b'\n').unwrap_or(rest.len())
                }
                [b'/', b'*', ..] => {
                    let end = rest.windows(2).skip(2).position(|pair| pair == b"*/");
                    end.ok_or_else(|| self.mistake("a comment is not closed"))? + 4
                }
                _ if first.is_ascii_whitespace() => 1,
                _ => return Ok(()),
            };
            let passed = rest.iter().take(len);
            self.line += passed.filter(|&&c| c == b'\n').count();
            self.at += len;
        }
        Ok(())
    }
}
