//! Reads `file DBFILE [ZONES...] { ... }`.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Setup};
use chain::{Fallthrough, ZoneMap};
use corefile::{Diagnostic, Directive, Span};
use wire::NameBuf;

use super::reload::{MasterFile, missing};
use super::{Slot, Zones};

/// `file` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "file",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &["reload", "reload_by_mtime", "fallthrough", "upstream"];

/// One line.
struct Config {
    span: Span,
    file: String,
    zones: Vec<String>,
    reload: Duration,
    by_time: bool,
}

/// All lines of a block; `fallthrough` is theirs together, as in CoreDNS.
struct FileSetup {
    configs: Vec<Config>,
    fall: Fallthrough,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut setup = FileSetup {
        configs: Vec::new(),
        fall: Fallthrough::No,
    };
    for directive in parse.directives {
        if let Some(config) = config(parse, directive, &mut setup.fall) {
            setup.configs.push(config);
        }
    }
    Some(Box::new(setup))
}

fn config(parse: &mut Parse<'_>, directive: &Directive, fall: &mut Fallthrough) -> Option<Config> {
    let Some((file, zones)) = directive.args.split_first() else {
        parse.report.push(
            Diagnostic::error(
                "CF0107",
                "Wrong argument count or unexpected line ending after 'file'",
            )
            .at(directive.name.span, "expected `file DBFILE [ZONES...]`"),
        );
        return None;
    };
    let zones = corefile::value::zones_or_cidrs(zones).unwrap_or_else(|diagnostic| {
        parse.report.push(diagnostic);
        Vec::new()
    });
    let mut config = Config {
        span: directive.name.span,
        file: file.text.clone(),
        zones,
        reload: Duration::from_secs(60),
        by_time: false,
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        let Some(word) = line.words.first() else {
            continue;
        };
        match word.text.as_str() {
            "fallthrough" => *fall = Fallthrough::parse(line, parse.report),
            "reload" if parse.arguments(line, 1..=1, "reload DURATION") => {
                match corefile::value::duration(&line.words[1]) {
                    Ok(reload) => config.reload = reload,
                    Err(diagnostic) => parse.report.push(diagnostic),
                }
            }
            "reload_by_mtime" => {
                parse.arguments(line, 0..=0, "reload_by_mtime");
                config.by_time = true;
            }
            // CoreDNS reads it and does nothing with it; so do we.
            "upstream" | "reload" => {}
            _ => parse.unknown_option(directive, line, OPTIONS),
        }
    }
    Some(config)
}

impl Setup for FileSetup {
    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        let reach = self.fall.reach();
        self.configs
            .iter()
            .map(|config| (reach, config.zones.clone()))
            .collect()
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let mut served: Vec<(NameBuf, Slot)> = Vec::new();
        for config in self.configs {
            let origins = build.origins(&config.zones)?;
            let zones: Vec<(NameBuf, Slot)> = origins
                .into_iter()
                .map(|origin| (origin, Arc::new(ArcSwapOption::empty())))
                .collect();
            served.extend(zones.iter().cloned());
            let path = build.path(&config.file);
            let shown = path.display().to_string();
            let mut file = MasterFile::new(path, zones, config.by_time);
            match missing(&file.path) {
                Some(error) if config.reload.is_zero() => {
                    return Err(BuildError::new(format!("open {shown}: {error}")).at(config.span));
                }
                Some(error) => tracing::warn!(
                    target: "plugin/file",
                    "Failed to open \"open {shown}: {error}\": trying again in {:?}",
                    config.reload
                ),
                None => file
                    .load()
                    .map_err(|message| BuildError::new(message).at(config.span))?,
            }
            if !config.reload.is_zero() {
                build.spawn(file.follow(config.reload));
            }
        }
        build.push(Arc::new(Zones {
            // Of two lines for one zone, the later counts.
            zones: ZoneMap::new(served.into_iter().rev()),
            fall: self.fall,
        }));
        Ok(())
    }
}
