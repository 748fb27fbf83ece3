//! Reads `tsig [ZONES...] { secret ...; secrets ...; require ...; require_opcode ... }`.

use std::sync::Arc;
use std::time::Duration;

use chain::inspect::Inspect;
use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use chain::tsig::{Algorithm, Key, Keyring, Keys};
use corefile::{Diagnostic, Directive, Line, Severity, Token};
use host::source::{Content, Files, Source};
use wire::{Name, NameBuf, Opcode, Type};

use super::file::{FILE, KeyFiles};
use super::{Required, Tsig};

/// `tsig` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "tsig",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &["secret", "secrets", "require", "require_opcode"];
/// How often the files of keys are looked at in case nobody tells of their edits.
const LOOK: Duration = Duration::from_secs(30);

/// What the lines say.
#[derive(Default)]
struct TsigSetup {
    zones: Vec<String>,
    fixed: Keyring,
    files: Vec<Token>,
    types: Required<Type>,
    opcodes: Required<Opcode>,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    let mut setup = TsigSetup {
        zones: parse.read_zones(&directive.args, OPTIONS),
        ..TsigSetup::default()
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        setup.line(parse, directive, line);
    }
    Some(Box::new(setup))
}

impl TsigSetup {
    fn line(&mut self, parse: &mut Parse<'_>, directive: &Directive, line: &Line) {
        let Some(word) = line.words.first() else {
            return;
        };
        match word.text.as_str() {
            "secret" => self.secret(parse, line),
            "secrets" if parse.arguments(line, 1..=1, "secrets FILE") => {
                self.files.push(line.words[1].clone());
            }
            "require" => {
                let read = |text: &str| {
                    let upper = text.to_ascii_uppercase();
                    upper.parse::<Type>().ok()
                };
                if let Some(types) = required(parse, line, ("query type", "QTYPE"), read) {
                    self.types = types;
                }
            }
            "require_opcode" => {
                let read = |text: &str| {
                    let opcodes = (0..=6).map(Opcode);
                    opcodes
                        .into_iter()
                        .find(|opcode| opcode.to_string().eq_ignore_ascii_case(text))
                };
                if let Some(opcodes) = required(parse, line, ("opcode", "OPCODE"), read) {
                    self.opcodes = opcodes;
                }
            }
            "secrets" => {}
            _ => parse.unknown_option(directive, line, OPTIONS),
        }
    }

    /// Reads `secret NAME KEY [ALGORITHM]`.
    fn secret(&mut self, parse: &mut Parse<'_>, line: &Line) {
        if !parse.arguments(line, 2..=3, "secret NAME KEY [ALGORITHM]") {
            return;
        }
        let (name, secret) = (&line.words[1], &line.words[2]);
        let algorithm = match line.words.get(3) {
            None => None,
            Some(word) => match Algorithm::from_text(&word.text) {
                Some(algorithm) => Some(algorithm),
                None => {
                    let known = Algorithm::ALL.map(Algorithm::text).join(", ");
                    let mistake = format!("unknown algorithm `{}`", word.text);
                    parse.report.push(
                        Diagnostic::error("CF0211", mistake)
                            .at(word.span, format!("expected one of {known}")),
                    );
                    return;
                }
            },
        };
        let parsed = match NameBuf::parse(&name.text, Name::ROOT) {
            Ok(parsed) => parsed,
            Err(why) => {
                let mistake = format!("not the name of a key: `{}`", name.text);
                parse
                    .report
                    .push(Diagnostic::error("CF0205", mistake).at(name.span, why.to_string()));
                return;
            }
        };
        let key = Key::new(parsed, &secret.text, algorithm);
        if !key.is_usable() {
            parse.report.push(
                Diagnostic::warning("CF0345", "the secret of this key is not base64")
                    .at(secret.span, "no signature is valid with it"),
            );
        }
        if let Some(again) = self.fixed.add(key) {
            let mistake = format!("key \"{}\" redefined", again.name());
            parse
                .report
                .push(Diagnostic::error("CF0231", mistake).at(name.span, "defined again here"));
        }
    }
}

/// Reads the kinds of queries that have to be signed: `all`, `none`, or a list.
fn required<T>(
    parse: &mut Parse<'_>,
    line: &Line,
    (what, shape): (&str, &str),
    read: impl Fn(&str) -> Option<T>,
) -> Option<Required<T>> {
    let shape = format!("{} {shape}...|all|none", line.words[0].text);
    if !parse.arguments(line, 1..=usize::MAX - 1, &shape) {
        return None;
    }
    let words = &line.words[1..];
    match words[0].text.as_str() {
        "all" => return Some(Required::All),
        "none" => return Some(Required::default()),
        _ => {}
    }
    let mut kinds = Vec::new();
    for word in words {
        match read(&word.text) {
            Some(kind) => kinds.push(kind),
            None => {
                let mistake = format!("unknown {what} '{}'", word.text);
                parse
                    .report
                    .push(Diagnostic::error("CF0211", mistake).at(word.span, ""));
            }
        }
    }
    Some(Required::These(kinds))
}

impl Setup for TsigSetup {
    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for file in &self.files {
            let path = inspect.path(&file.text);
            let mut keys = self.fixed.clone();
            let wrong = match host::regular::read(&path, FILE) {
                Ok(text) => super::file::parse(&text, &mut keys)
                    .map_err(|why| format!("{}:{why}", path.display())),
                Err(error) => Err(format!("open {}: {error}", path.display())),
            };
            if let Err(message) = wrong {
                inspect.tell(Severity::Error, message, file.span);
            }
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let keys = Arc::new(Keys::default());
        keys.replace(self.fixed.clone());
        if let Some(first) = self.files.first() {
            let mut content = KeyFiles {
                paths: self
                    .files
                    .iter()
                    .map(|file| build.path(&file.text))
                    .collect(),
                fixed: self.fixed,
                keys: keys.clone(),
            };
            let mut files = Files::default();
            let read = content.read(&mut files).draft;
            let read = read.map_err(|message| BuildError::new(message).at(first.span))?;
            keys.replace(read);
            let followed = Source::new(content, files).follow(LOOK);
            build.spawn(Box::pin(async move {
                let error = followed.await;
                tracing::error!(target: "plugin/tsig", "No longer watching the files of keys: {error}");
            }));
        }
        build.capabilities().provide_keys(keys.clone());
        let plugin = Tsig {
            zones: build.origins(&self.zones)?,
            keys,
            types: self.types,
            opcodes: self.opcodes,
        };
        build.push(Arc::new(plugin));
        Ok(())
    }
}
