//! Reads `root` lines.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chain::inspect::Inspect;
use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Severity, Token};

/// `root` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "root",
    parse,
    handler: false,
};

/// Reads `root PATH`; of several the last one counts, as in CoreDNS.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut last = None;
    for directive in parse.directives {
        parse.no_block(directive);
        parse.at_most(directive, 1);
        parse.at_least(directive, 1, "root PATH");
        last = directive.args.first().cloned().or(last);
    }
    Some(Box::new(Root { path: last? }))
}

/// The directory, as it is written.
struct Root {
    path: Token,
}

impl Setup for Root {
    fn root(&self) -> Option<&Path> {
        Some(Path::new(&self.path.text))
    }

    fn inspect(&self, inspect: &mut Inspect<'_>) {
        let path = &self.path.text;
        match Path::new(path).metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let message = format!("Root path is no directory: {path}");
                inspect.tell(Severity::Warning, message, self.path.span);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let message = format!("Root path does not exist: {path}");
                inspect.tell(Severity::Warning, message, self.path.span);
            }
            Err(error) => {
                let message = format!("unable to access root path '{path}': {error}");
                inspect.tell(Severity::Error, message, self.path.span);
            }
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let path = PathBuf::from(&self.path.text);
        match path.metadata() {
            Ok(_) => {}
            // The directory may appear later: a volume that is not mounted yet.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tracing::warn!(target: "plugin/root", "Root path does not exist: {}", self.path.text);
            }
            Err(error) => {
                return Err(BuildError::new(format!(
                    "unable to access root path '{}': {error}",
                    self.path.text
                ))
                .at(self.path.span));
            }
        }
        build.config.root = path;
        Ok(())
    }
}
