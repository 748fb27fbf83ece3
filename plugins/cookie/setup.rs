//! Reads `cookie { secret HEX|FILE...; require; require_for_udp_over N }`.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chain::inspect::Inspect;
use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive, Line, Severity, Token, value};
use host::source::{Content, Files, Source};
use telemetry::traffic::Grow;

use super::file::{self, FILE, Part, SecretFiles};
use super::secret::Secret;
use super::{Cookie, Load};

/// `cookie` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "cookie",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &["secret", "require", "require_for_udp_over"];
/// How often files of secrets are looked at in case nobody tells of their edits.
const LOOK: Duration = Duration::from_secs(30);

/// What the lines say.
#[derive(Default)]
struct CookieSetup {
    secrets: Vec<Token>,
    required: Option<u32>,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    parse.at_most(directive, 0);
    let mut setup = CookieSetup::default();
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        setup.line(parse, directive, line);
    }
    Some(Box::new(setup))
}

impl CookieSetup {
    fn line(&mut self, parse: &mut Parse<'_>, directive: &Directive, line: &Line) {
        let Some(word) = line.words.first() else {
            return;
        };
        match word.text.as_str() {
            "secret" => {
                if parse.arguments(line, 1..=usize::MAX - 1, "secret HEX|FILE...") {
                    for word in &line.words[1..] {
                        self.secret(parse, word);
                    }
                }
            }
            "require" => {
                if parse.arguments(line, 0..=0, "require") {
                    self.required = Some(0);
                }
            }
            "require_for_udp_over" => {
                if parse.arguments(line, 1..=1, "require_for_udp_over N") {
                    match value::integer(&line.words[1], 0..=i64::from(u32::MAX)) {
                        Ok(most) => self.required = Some(most as u32),
                        Err(diagnostic) => parse.report.push(diagnostic),
                    }
                }
            }
            _ => parse.unknown_option(directive, line, OPTIONS),
        }
    }

    /// Reads a secret, or the name of a file; what has digits alone, but not 32 of them, is a secret with a mistake.
    fn secret(&mut self, parse: &mut Parse<'_>, word: &Token) {
        let digits = word.text.bytes().all(|octet| octet.is_ascii_hexdigit());
        if digits && Secret::from_hex(word.text.as_bytes()).is_none() {
            parse.report.push(
                Diagnostic::error("CF0201", "the secret of `cookie` has another length").at(
                    word.span,
                    format!(
                        "expected 32 hexadecimal digits, not {}; or a file, as `./{}`",
                        word.text.len(),
                        word.text
                    ),
                ),
            );
            return;
        }
        self.secrets.push(word.clone());
    }
}

impl Setup for CookieSetup {
    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for word in &self.secrets {
            if Secret::from_hex(word.text.as_bytes()).is_some() {
                continue;
            }
            let path = inspect.path(&word.text);
            let wrong = match host::regular::read(&path, FILE) {
                Ok(text) => file::parse(&path, &text).err(),
                Err(error) => Some(format!("open {}: {error}", path.display())),
            };
            if let Some(message) = wrong {
                inspect.tell(Severity::Error, message, word.span);
            }
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let secrets = Arc::new(ArcSwap::default());
        let parts = self
            .secrets
            .iter()
            .map(|word| match Secret::from_hex(word.text.as_bytes()) {
                Some(secret) => Part::Here(secret),
                None => Part::File(build.path(&word.text)),
            })
            .collect();
        let mut content = SecretFiles {
            parts,
            secrets: secrets.clone(),
        };
        let mut files = Files::default();
        let read = content.read(&mut files).draft;
        let span = self.secrets.first().map(|word| word.span);
        let read = read.map_err(|message| BuildError { message, span })?;
        secrets.store(Arc::new(read));
        if !content.places().files.is_empty() {
            let followed = Source::new(content, files).follow(LOOK);
            build.spawn(Box::pin(async move {
                let error = followed.await;
                tracing::error!(target: "plugin/cookie", "No longer watching the files of secrets: {error}");
            }));
        }
        build.push(Arc::new(Cookie {
            secrets,
            required: self.required,
            load: Load::default(),
            metrics: Grow::default(),
        }));
        Ok(())
    }
}
