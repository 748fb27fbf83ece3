//! Reads `sign DBFILE [ZONES...] { key file|directory ...; directory DIR; memory; nsec3 }`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use chain::Fallthrough;
use chain::authority::{Authoritative, Unloaded};
use chain::inspect::Inspect;
use chain::key_files::{self, Named, foreign};
use chain::master::{self, MasterFile, follow, missing};
use chain::served::{Served, ZoneSet};
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Directive, Line, Report, Severity, Span, Token};
use host::source::Source;
use wire::NameBuf;
use zone::signing::{Denials, Key};

use super::Signed;
use super::keys::{Keys, keys_of};
use super::signer::{InMemory, Output, Signer, file_name, keep};

/// Who serves these files.
const SIGN: master::Directive = chain::directive!("sign");

/// `sign` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "sign",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &["key", "directory", "memory", "nsec3"];
/// Where signed zones are written when nothing is said.
const DIRECTORY: &str = "/var/lib/coredns";
/// How often a master file is looked at in case nobody tells of its edits.
const LOOK: Duration = Duration::from_secs(60);
/// How long a start waits for the first signatures.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is built within this time after that is of the same start.
const A_START: Duration = Duration::from_secs(10);

/// One line of a server block.
struct Config {
    span: Span,
    file: Token,
    zones: Vec<String>,
    /// Keys by file, and directories of keys.
    keys: Vec<Named>,
    directories: Vec<Token>,
    output: Option<String>,
    memory: bool,
    denials: Denials,
}

/// All lines of a block.
struct SignSetup {
    configs: Vec<Config>,
    /// The zones of the block's keys.
    block: Vec<String>,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let directives = parse.directives;
    let configs = directives
        .iter()
        .filter_map(|directive| config(parse, directive));
    let configs = configs.collect();
    let block = parse.zones.to_vec();
    Some(Box::new(SignSetup { configs, block }))
}

fn config(parse: &mut Parse<'_>, directive: &Directive) -> Option<Config> {
    if !parse.at_least(directive, 1, "sign DBFILE [ZONES...]") {
        return None;
    }
    let (file, zones) = directive.args.split_first()?;
    let mut config = Config {
        span: directive.name.span,
        file: file.clone(),
        zones: parse.read_zones(zones, OPTIONS),
        keys: Vec::new(),
        directories: Vec::new(),
        output: None,
        memory: false,
        denials: Denials::Nsec,
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        config.line(parse, directive, line);
    }
    Some(config)
}

impl Config {
    fn line(&mut self, parse: &mut Parse<'_>, directive: &Directive, line: &Line) {
        match line.words.first().map(|word| word.text.as_str()) {
            Some("key") => match key_files::read_line(parse, line, &["file", "directory"]) {
                Some(("file", words)) => self.keys.extend(words.iter().map(Named::new)),
                Some((_, words)) => self.directories.extend_from_slice(words),
                None => {}
            },
            Some("directory") if parse.arguments(line, 1..=1, "directory DIR") => {
                self.output = Some(line.words[1].text.clone());
            }
            Some("memory") => self.memory = parse.arguments(line, 0..=0, "memory"),
            Some("nsec3") if parse.arguments(line, 0..=0, "nsec3") => {
                self.denials = Denials::Nsec3;
            }
            Some("directory" | "nsec3") => {}
            Some(_) => parse.unknown_option(directive, line, OPTIONS),
            None => {}
        }
    }

    /// Where the keys of a zone are.
    fn keys(&self, origin: NameBuf, zones: &[NameBuf], root: PathBuf) -> Keys {
        Keys {
            origin,
            zones: zones.to_vec(),
            named: self.keys.clone(),
            directories: self.directories.clone(),
            root,
        }
    }

    /// The zones, in lower case.
    fn origins(&self, block: &[String]) -> Vec<NameBuf> {
        let zones = if self.zones.is_empty() {
            block
        } else {
            &self.zones
        };
        let names = zones.iter().filter_map(|zone| zone.parse::<NameBuf>().ok());
        names.map(NameBuf::to_lower).collect()
    }
}

impl Setup for SignSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        for config in &self.configs {
            let none = config.keys.is_empty() && config.directories.is_empty();
            if none && !scene.is_broken(config.span, report) {
                key_files::warn_without_keys(report, ("sign", config.span));
            }
        }
    }

    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        let memory = self.configs.iter().filter(|config| config.memory);
        memory
            .map(|config| (Answers::Everything, config.zones.clone()))
            .collect()
    }

    fn handlers(&self) -> usize {
        usize::from(self.configs.iter().any(|config| config.memory))
    }

    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for config in &self.configs {
            let (path, word) = (inspect.path(&config.file.text), config.file.span);
            // Without its file a zone is signed later, and one in memory is not served until then.
            if let Err(error) = inspect.look(&path) {
                let message = format!(
                    "open {}: {error}; nothing is signed until it exists",
                    path.display()
                );
                inspect.tell(Severity::Warning, message, word);
            }
            let severity = if config.memory {
                Severity::Error
            } else {
                Severity::Warning
            };
            let named = key_files::inspect(inspect, &config.keys);
            let origins = config.origins(&self.block);
            let known = |keys: &[Option<Arc<Key>>], words: &[Named], inspect: &mut Inspect<'_>| {
                for (key, word) in keys.iter().zip(words) {
                    if let Some(message) = key.as_ref().and_then(|key| foreign(key, &origins)) {
                        inspect.tell(Severity::Error, message, word.span);
                    }
                }
            };
            known(&named, &config.keys, inspect);
            for &origin in &origins {
                if inspect.look(&path).is_ok() {
                    master::inspect(
                        inspect,
                        (&path, &zone::Loader::new(origin.as_name())),
                        (severity, true),
                        word,
                        None,
                    );
                }
                let found = match config.keys(origin, &origins, inspect.path("")).found() {
                    Ok(found) => found,
                    Err(wrong) => {
                        inspect.tell(Severity::Error, wrong.message, wrong.span);
                        continue;
                    }
                };
                let more = key_files::inspect(inspect, &found);
                known(&more, &found, inspect);
                let keys: Option<Vec<_>> = named.iter().chain(&more).cloned().collect();
                let all = [&config.keys[..], &found].concat();
                if let Some(keys) = keys
                    && let Err(wrong) = keys_of(&origin, &keys, &all)
                {
                    inspect.tell(Severity::Error, wrong.message, wrong.span);
                }
            }
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let (mut served, mut signers) = (Vec::new(), Vec::new());
        for config in &self.configs {
            for signer in config.build(build)? {
                if let Some(zone) = signer.served() {
                    served.push(zone);
                    signers.push(signer);
                }
            }
        }
        if served.is_empty() {
            return Ok(());
        }
        let zones = Arc::new(ZoneSet::fixed(served.into_iter().rev()));
        build.capabilities().provide_zones("sign", zones.clone());
        build.push(Arc::new(Signed {
            authoritative: Arc::new(Authoritative {
                zones,
                fall: Fallthrough::No,
                unloaded: Unloaded::Fails,
            }),
            signers,
        }));
        Ok(())
    }
}

impl Config {
    /// The signers of the line's zones, at work.
    fn build(&self, build: &mut Build<'_>) -> Result<Vec<Arc<Signer>>, BuildError> {
        let path = build.path(&self.file.text);
        let directory = build.path(self.output.as_deref().unwrap_or(DIRECTORY));
        let origins = build.origins(&self.zones)?;
        let mut signers = Vec::new();
        for &origin in &origins {
            let source = self.keys(origin, &origins, build.path(""));
            let keys = source.read();
            let keys = keys.map_err(|wrong| BuildError::new(wrong.message).at(wrong.span))?;
            if keys.is_empty() {
                continue;
            }
            let file = self.open(&path, origin)?;
            let (unsigned, kept) = (file.content().zones().next(), file.content().kept());
            build.spawn(follow(file, LOOK));
            let Some(unsigned) = unsigned else { continue };
            let output = match self.memory {
                true => Output::Memory {
                    zone: memory(&path, &origin, self.denials),
                    serial: self
                        .output
                        .is_some()
                        .then(|| directory.join(format!("db.{origin}serial"))),
                },
                false => Output::File(directory.join(file_name(&origin))),
            };
            let zone = (unsigned, kept, path.clone());
            let signer = Signer::new(zone, (source, keys), self.denials, output);
            if self.memory {
                first(&signer);
            }
            build.spawn(keep(signer.clone(), !self.memory));
            signers.push(signer);
        }
        Ok(signers)
    }

    /// The master file, for one zone; on a reload of the Corefile, as it was read before.
    ///
    /// # Errors
    /// What is wrong with a file that is served from memory; whoever writes files is told in the log.
    fn open(&self, path: &Path, origin: NameBuf) -> Result<Source<MasterFile>, BuildError> {
        // The serial is made here, so every edit counts.
        let file = MasterFile::new(SIGN, path.to_owned(), &[origin]).by_time(true);
        let file = match file.resume() {
            Ok(source) => return Ok(source),
            Err(file) => file,
        };
        if let Some(error) = missing(path) {
            tracing::warn!(
                target: "plugin/sign",
                "Failed to open \"open {}: {error}\": trying again in {LOOK:?}",
                path.display()
            );
            return Ok(file.wait_for(&error));
        }
        let (source, mistakes) = file.load();
        if mistakes.is_empty() {
            return Ok(source);
        }
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        if self.memory {
            return Err(BuildError::new(mistakes.join("\n")).at(self.span));
        }
        for why in mistakes {
            tracing::warn!(target: "plugin/sign", "The zone is not signed: {why}");
        }
        Ok(source)
    }
}

/// Signs a zone in memory for the first time. A large zone goes on being signed when the start has waited for long enough.
fn first(signer: &Arc<Signer>) {
    let (done, waiting) = channel();
    signer.beside(move |signer| {
        signer.look();
        let _ = done.send(());
    });
    let _ = waiting.recv_timeout(patience());
}

/// How long a start still waits for a zone: all zones have the same second.
fn patience() -> Duration {
    static UNTIL: Mutex<Option<Instant>> = Mutex::new(None);
    let mut until = UNTIL.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let end = match *until {
        Some(known) if now < known + A_START => known,
        _ => *until.insert(now + PATIENCE),
    };
    end.saturating_duration_since(now)
}

/// The place of a zone that is signed in memory: that of the configuration before, if that has signed the same zone.
fn memory(path: &Path, origin: &NameBuf, denials: Denials) -> Arc<InMemory> {
    static KNOWN: Mutex<Option<HashMap<String, Weak<InMemory>>>> = Mutex::new(None);
    let key = format!("{} {origin} {denials:?}", path.display());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    known.retain(|_, memory| memory.strong_count() > 0);
    if let Some(memory) = known.get(&key).and_then(Weak::upgrade) {
        return memory;
    }
    let memory = Arc::new(InMemory {
        served: Served::new(origin.as_name()),
        of: Mutex::default(),
    });
    known.insert(key, Arc::downgrade(&memory));
    memory
}
