//! Weight files: a name on a line of its own, then its addresses, each with a weight from 1 to 255; `#` begins a comment line.

use std::any::Any;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chain::admin::Work;
use host::source::{Content, Doubt, Files, Places, Reading, Source};
use wire::NameBuf;

/// The most that is read of a weight file, in octets.
const FILE: u64 = 64 << 20;

/// The weights of addresses by owner.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Weights {
    by_name: HashMap<Box<[u8]>, Vec<(IpAddr, u8)>>,
}

/// Why a weight file is of no use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum WeightError {
    /// It cannot be opened.
    Open,
    /// It cannot be understood: the line, from 1, and why.
    Content(usize, String),
}

impl std::fmt::Display for WeightError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("weight file open error"),
            Self::Content(_, why) => f.write_str(why),
        }
    }
}

/// A weight file and where its weights go.
pub(super) struct WeightFile {
    path: PathBuf,
    weights: Arc<ArcSwap<Weights>>,
}

impl WeightFile {
    /// Reads `path` for the first time. A file that cannot be opened is an error, but may come: then there are no weights yet.
    ///
    /// # Errors
    /// What is wrong with the content.
    pub(super) fn load(path: PathBuf) -> Result<(Source<Self>, Option<WeightError>), WeightError> {
        let weights = Arc::default();
        let mut file = Self { path, weights };
        if let Some(live) = host::source::live::<ArcSwap<Weights>>(&file.key()) {
            // Those of the configuration before, until an edit that came meanwhile is whole.
            file.weights = live.kept.clone();
            return Ok((Source::waiting(file, &live), None));
        }
        let mut files = Files::default();
        let opened = match file.read(&mut files).draft {
            Ok(weights) => {
                file.weights.store(Arc::new(weights));
                None
            }
            Err(WeightError::Open) => Some(WeightError::Open),
            Err(error) => return Err(error),
        };
        Ok((Source::new(file, files), opened))
    }
}

impl WeightFile {
    /// Reads `path` and forgets it; for `check`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(path: PathBuf) -> Result<(), WeightError> {
        let mut file = Self {
            path,
            weights: Arc::default(),
        };
        file.read(&mut Files::default()).draft.map(drop)
    }

    /// The weights.
    pub(super) fn weights(&self) -> Arc<ArcSwap<Weights>> {
        self.weights.clone()
    }

    fn key(&self) -> String {
        format!("loadbalance {}", self.path.display())
    }
}

impl Content for WeightFile {
    type Draft = Result<Weights, WeightError>;

    fn places(&mut self) -> Places {
        Places {
            files: vec![self.path.clone()],
            ..Places::default()
        }
    }

    fn most(&self) -> u64 {
        FILE
    }

    fn read(&mut self, files: &mut Files) -> Reading<Self::Draft> {
        let draft = match files.read(&self.path, FILE) {
            Ok(text) => Weights::parse(&String::from_utf8_lossy(&text), &self.path),
            Err(_) => Err(WeightError::Open),
        };
        let before = self.weights.load().by_name.len();
        let doubt = match &draft {
            Err(_) => Doubt::Doubtful,
            Ok(new) if new.by_name.len() * 2 < before => Doubt::Cut,
            Ok(_) => Doubt::None,
        };
        Reading {
            draft,
            doubt,
            usable: false,
        }
    }

    fn take(&mut self, draft: Self::Draft, _: &Files) {
        match draft {
            // After a reload of the Corefile they are read again.
            Ok(new) if new == **self.weights.load() => {}
            Ok(new) => {
                self.weights.store(Arc::new(new));
                tracing::info!(
                    target: "plugin/loadbalance",
                    "Successfully reloaded weight file {}",
                    self.path.display()
                );
            }
            Err(error) => tracing::error!(target: "plugin/loadbalance", "{error}"),
        }
    }

    fn kept(&self) -> Option<(String, Arc<dyn Any + Send + Sync>)> {
        Some((self.key(), self.weights.clone()))
    }

    fn fail(&mut self, path: &Path, why: &str) {
        tracing::error!(
            target: "plugin/loadbalance",
            "{}: {}: {why}",
            WeightError::Open,
            path.display()
        );
    }
}

/// Follows the edits of a weight file, and looks every `interval` in case nobody tells of them.
pub(super) fn follow(source: Source<WeightFile>, interval: Duration) -> Work {
    Box::pin(async move {
        let error = source.follow(interval).await;
        tracing::error!(target: "plugin/loadbalance", "No longer watching a weight file: {error}");
    })
}

impl Weights {
    /// Reads the text of a weight file.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, WeightError> {
        let file = path.display();
        let wrong = |line: usize, why: String| Err(WeightError::Content(line, why));
        let mut weights = Self::default();
        let mut current: Option<Box<[u8]>> = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            let number = number + 1;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut fields = line.split_whitespace();
            match (fields.next(), fields.next(), fields.next()) {
                (Some(name), None, _) => {
                    let parsed = name.parse::<NameBuf>();
                    let (Ok(parsed), Err(_)) = (parsed, name.parse::<IpAddr>()) else {
                        return wrong(
                            number,
                            format!(
                                "wrong domain name:\"{name}\" in weight file {file}:{number}. (Maybe a missing weight value?)"
                            ),
                        );
                    };
                    let key: Box<[u8]> = parsed.to_lower().as_name().octets().into();
                    weights.by_name.entry(key.clone()).or_default();
                    current = Some(key);
                }
                (Some(address), Some(weight), None) => {
                    let Ok(ip) = address.parse::<IpAddr>() else {
                        return wrong(
                            number,
                            format!(
                                "wrong IP address:\"{address}\" in weight file {file}:{number}"
                            ),
                        );
                    };
                    let Some(value) = weight.parse::<u8>().ok().filter(|&value| value > 0) else {
                        return wrong(
                            number,
                            format!(
                                "wrong weight value:\"{weight}\" in weight file {file}:{number}"
                            ),
                        );
                    };
                    let Some(list) = current
                        .as_ref()
                        .and_then(|name| weights.by_name.get_mut(name))
                    else {
                        return wrong(
                            number,
                            format!("missing domain name in weight file {file}:{number}"),
                        );
                    };
                    list.push((ip.to_canonical(), value));
                }
                _ => {
                    return wrong(
                        number,
                        format!(
                            "could not parse weight line:\"{line}\" in weight file {file}:{number}"
                        ),
                    );
                }
            }
        }
        Ok(weights)
    }

    /// The weight of an address of `owner`, if the file has one.
    pub(super) fn of(&self, owner: NameBuf, address: IpAddr) -> Option<u8> {
        let list = self.by_name.get(owner.to_lower().as_name().octets())?;
        let address = address.to_canonical();
        list.iter()
            .find(|(ip, _)| *ip == address)
            .map(|&(_, value)| value)
    }
}
