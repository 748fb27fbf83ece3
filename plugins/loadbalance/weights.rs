//! Weight files: a name on a line of its own, then its addresses, each with a weight from 1 to 255; `#` begins a comment line.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::path::Path;

use wire::NameBuf;

/// The weights of addresses by owner.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Weights {
    by_name: HashMap<Box<[u8]>, Vec<(IpAddr, u8)>>,
    /// What the file's octets hash to; whether it has changed.
    pub(super) checksum: u64,
}

/// Why a weight file is of no use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum WeightError {
    /// It cannot be opened.
    Open,
    /// It cannot be understood.
    Content(String),
}

impl std::fmt::Display for WeightError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("weight file open error"),
            Self::Content(why) => f.write_str(why),
        }
    }
}

impl Weights {
    /// Reads `path`; `None` when its content has the checksum `known`.
    pub(super) fn load(path: &Path, known: Option<u64>) -> Result<Option<Self>, WeightError> {
        let octets = std::fs::read(path).map_err(|_| WeightError::Open)?;
        let mut hasher = DefaultHasher::new();
        octets.hash(&mut hasher);
        let checksum = hasher.finish();
        if known == Some(checksum) {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&octets);
        let mut weights = Self::parse(&text, path)?;
        weights.checksum = checksum;
        Ok(Some(weights))
    }

    /// Reads the text of a weight file.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, WeightError> {
        let file = path.display();
        let wrong = |why: String| Err(WeightError::Content(why));
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
                        return wrong(format!(
                            "wrong domain name:\"{name}\" in weight file {file}:{number}. (Maybe a missing weight value?)"
                        ));
                    };
                    let key: Box<[u8]> = parsed.to_lower().as_name().octets().into();
                    weights.by_name.entry(key.clone()).or_default();
                    current = Some(key);
                }
                (Some(address), Some(weight), None) => {
                    let Ok(ip) = address.parse::<IpAddr>() else {
                        return wrong(format!(
                            "wrong IP address:\"{address}\" in weight file {file}:{number}"
                        ));
                    };
                    let Some(value) = weight.parse::<u8>().ok().filter(|&value| value > 0) else {
                        return wrong(format!(
                            "wrong weight value:\"{weight}\" in weight file {file}:{number}"
                        ));
                    };
                    let Some(list) = current
                        .as_ref()
                        .and_then(|name| weights.by_name.get_mut(name))
                    else {
                        return wrong(format!(
                            "missing domain name in weight file {file}:{number}"
                        ));
                    };
                    list.push((ip.to_canonical(), value));
                }
                _ => {
                    return wrong(format!(
                        "could not parse weight line:\"{line}\" in weight file {file}:{number}"
                    ));
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
