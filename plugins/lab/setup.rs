//! Reads `lab [DIR|NAME...] { ... }`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chain::Fallthrough;
use chain::listen::Addresses;
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive};
use host::source::Source;

use super::Labs;
use super::source::{DIRECTORY, Publications, follow};
use super::state::State;

/// `lab` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "lab",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &[
    "listen",
    "ttl",
    "no_reverse",
    "single_label",
    "reload",
    "fallthrough",
];

/// One directive.
struct LabSetup {
    directory: Option<String>,
    labs: Vec<String>,
    listen: bool,
    ttl: Option<u32>,
    reverse: bool,
    single_label: bool,
    reload: Duration,
    fall: Fallthrough,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = *parse.directives.first()?;
    let mut setup = LabSetup {
        directory: None,
        labs: Vec::new(),
        listen: false,
        ttl: None,
        reverse: true,
        single_label: false,
        reload: Duration::from_secs(5),
        fall: Fallthrough::No,
    };
    arguments(parse, directive, &mut setup);
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        let Some(word) = line.words.first() else {
            continue;
        };
        match word.text.as_str() {
            "fallthrough" => setup.fall = parse.read_fallthrough(line, &[]),
            "listen" => {
                parse.arguments(line, 0..=0, "listen");
                setup.listen = true;
            }
            "no_reverse" => {
                parse.arguments(line, 0..=0, "no_reverse");
                setup.reverse = false;
            }
            "single_label" => {
                parse.arguments(line, 0..=0, "single_label");
                setup.single_label = true;
            }
            "ttl" if parse.arguments(line, 1..=1, "ttl SECONDS") => {
                match corefile::value::integer(&line.words[1], 0..=65_535) {
                    Ok(ttl) => setup.ttl = Some(ttl as u32),
                    Err(diagnostic) => parse.report.push(diagnostic),
                }
            }
            "reload" if parse.arguments(line, 1..=1, "reload DURATION") => {
                match corefile::value::duration(&line.words[1]) {
                    Ok(reload) => setup.reload = reload,
                    Err(diagnostic) => parse.report.push(diagnostic),
                }
            }
            "ttl" | "reload" => {}
            _ => parse.unknown_option(directive, line, OPTIONS),
        }
    }
    Some(Box::new(setup))
}

/// A word with a slash is the directory, any other a lab.
fn arguments(parse: &mut Parse<'_>, directive: &Directive, setup: &mut LabSetup) {
    for word in &directive.args {
        let text = &word.text;
        if text.contains('/') || text == "." || text == ".." {
            if setup.directory.replace(text.clone()).is_some() {
                parse.report.push(
                    Diagnostic::error("CF0107", "`lab` takes one directory at most")
                        .at(word.span, "a second directory"),
                );
            }
        } else if text.starts_with('.') || text.contains('*') && text != "*" {
            parse.report.push(
                Diagnostic::error("CF0107", format!("`{text}` is not the name of a lab"))
                    .at(word.span, "expected `lab [DIR|NAME...]`"),
            );
        } else if text != "*" && !setup.labs.contains(text) {
            setup.labs.push(text.clone());
        }
    }
    if directive.args.iter().any(|word| word.text == "*") {
        setup.labs.clear();
    }
}

impl Setup for LabSetup {
    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        // Whatever it is told, names outside of the labs go on.
        vec![(Answers::SomeNames, Vec::new())]
    }

    fn listens(&self) -> bool {
        self.listen
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let state = Arc::new(ArcSwap::from_pointee(State::default()));
        let listen = self
            .listen
            .then(|| Addresses::new(build.process.moved.clone()));
        build.config.listen.clone_from(&listen);
        if self.directory.is_none() && !self.reload.is_zero() {
            // Where it may be made, `apply` sees from the first lab on that a server is here.
            let _ = std::fs::create_dir_all(DIRECTORY);
        }
        let source = Source::load(Publications {
            directory: match &self.directory {
                Some(path) => build.path(path),
                None => PathBuf::from(DIRECTORY),
            },
            wanted: self.labs,
            ttl: self.ttl,
            reverse: self.reverse,
            state: state.clone(),
            listen,
            known: BTreeMap::new(),
            held: None,
        });
        if !self.reload.is_zero() {
            build.spawn(follow(source, self.reload));
        }
        build.push(Arc::new(Labs {
            fall: self.fall,
            single_label: self.single_label,
            recurses: build.config.recurses,
            state,
        }));
        Ok(())
    }
}
