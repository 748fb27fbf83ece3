//! Keys, lists of other servers, and who may have a zone and is told of its changes.
//!
//! BIND says apart who may have a zone (`allow-transfer`) and who is told (`also-notify`, and with `notify yes` the name servers of the
//! zone). In `transfer` an address that is told may have the zone, too. So an address is only told if BIND lets it have the zone; a list
//! with nothing but such addresses is taken, and another one is left.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::import::grammar::{prefix, upstream};
use crate::import::model::{Name, Output};

use super::access::{Lists, Networks};
use super::statements::{Part, Statement};

/// Where the keys are written.
const FILE: &str = "tsig.keys";
/// What `tsig` reads; hmac-md5 is not among them.
const ALGORITHMS: [&str; 5] = [
    "hmac-sha1",
    "hmac-sha224",
    "hmac-sha256",
    "hmac-sha384",
    "hmac-sha512",
];
/// How deep lists of servers name lists.
const MOST_DEPTH: usize = 8;

/// What the configuration says of other servers.
#[derive(Default)]
pub(super) struct Transfers {
    /// Their text for the file, by name.
    keys: BTreeMap<Name, String>,
    /// Lists of servers.
    lists: BTreeMap<String, Vec<Statement>>,
    /// Keys by the server that they are for.
    servers: BTreeMap<IpAddr, Name>,
    /// Keys that something is signed with.
    used: bool,
}

/// A server that is asked or told.
pub(super) struct Remote {
    /// With its port, unless that is 53.
    pub(super) address: String,
    ip: IpAddr,
    pub(super) key: Option<Name>,
}

/// What options say of transfers; zones inherit it.
#[derive(Clone, Default)]
pub(super) struct Wanted {
    pub(super) allow: Option<Statement>,
    pub(super) also_notify: Option<Statement>,
    /// Whether the name servers of a zone are told.
    pub(super) tells_none: bool,
}

impl Transfers {
    /// `key NAME { algorithm X; secret "…"; };`
    pub(super) fn add_key(&mut self, statement: &Statement) -> Result<(), String> {
        let inner = statement.block().unwrap_or_default();
        let find = |wanted: &str| {
            let found = inner.iter().find(|one| one.name() == wanted);
            found.map_or("", |one| one.word(1))
        };
        let (algorithm, secret) = (find("algorithm").to_ascii_lowercase(), find("secret"));
        let name = Name::parse(statement.word(1)).ok_or("its name cannot be imported")?;
        if !ALGORITHMS.contains(&&*algorithm) {
            return Err(format!("keys of `{algorithm}` are not supported"));
        }
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        if secret.is_empty() || !secret.chars().all(is_base64) {
            return Err("its secret is not base64".to_owned());
        }
        let text = format!(
            "key \"{}\" {{\n    algorithm {algorithm};\n    secret \"{secret}\";\n}};\n",
            name.absolute()
        );
        self.keys.insert(name, text);
        Ok(())
    }

    /// `primaries NAME { … };`
    pub(super) fn add_list(&mut self, statement: &Statement) {
        let list = statement.block().unwrap_or_default().to_vec();
        self.lists.insert(statement.word(1).to_owned(), list);
    }

    /// `server ADDRESS { keys NAME; };` Whether there is nothing else in it.
    pub(super) fn add_server(&mut self, statement: &Statement) -> bool {
        let inner = statement.block().unwrap_or_default();
        let mut is_all = true;
        for one in inner {
            let key = match one.block() {
                Some([only]) => only.word(0),
                _ => one.word(1),
            };
            match (&*one.name(), statement.word(1).parse(), Name::parse(key)) {
                ("keys", Ok(server), Some(key)) => {
                    self.servers.insert(server, key);
                }
                _ => is_all = false,
            }
        }
        is_all
    }

    /// The file with all keys, if one of them is used.
    pub(super) fn file(&self) -> Option<Output> {
        self.used.then(|| Output {
            path: FILE.to_owned(),
            text: self.keys.values().map(String::as_str).collect(),
        })
    }

    /// The directive that has the keys.
    pub(super) fn directive() -> String {
        format!("    tsig {{\n        secrets {FILE}\n    }}\n")
    }

    /// A key that is there, from now on used.
    fn use_key(&mut self, name: &str) -> Result<Name, String> {
        let known = Name::parse(name).filter(|name| self.keys.contains_key(name));
        self.used |= known.is_some();
        known.ok_or_else(|| format!("the key `{name}` does not exist, or was not imported"))
    }

    /// The servers of `{ ADDRESS [port N] [key K]; LIST; }`.
    pub(super) fn remotes(&mut self, statement: &Statement) -> Result<Vec<Remote>, String> {
        let words: Vec<&str> = statement.words().collect();
        let port = words.iter().position(|word| *word == "port");
        let port = port.and_then(|at| words.get(at + 1)).copied();
        if words.contains(&"tls") {
            return Err("a server over TLS".to_owned());
        }
        let list = statement.block().unwrap_or_default().to_vec();
        self.list(&list, port.unwrap_or("53"), 0)
    }

    fn list(
        &mut self,
        list: &[Statement],
        port: &str,
        depth: usize,
    ) -> Result<Vec<Remote>, String> {
        if depth > MOST_DEPTH {
            return Err(format!("lists name lists more than {MOST_DEPTH} deep"));
        }
        let mut out = Vec::new();
        for one in list {
            let words: Vec<&str> = one.words().collect();
            let behind = |wanted: &str| {
                let at = words.iter().position(|word| *word == wanted)?;
                words.get(at + 1).copied()
            };
            if words.contains(&"tls") {
                return Err("a server over TLS".to_owned());
            }
            let Ok(ip) = one.word(0).parse::<IpAddr>() else {
                let Some(inner) = self.lists.get(one.word(0)).cloned() else {
                    return Err(format!(
                        "`{}` is neither an address nor a list",
                        one.word(0)
                    ));
                };
                out.extend(self.list(&inner, behind("port").unwrap_or(port), depth + 1)?);
                continue;
            };
            let text = format!("{ip}#{}", behind("port").unwrap_or(port));
            let address = upstream(&text, '#').ok_or_else(|| format!("`{}`", one.text()))?;
            let key = match (behind("key"), self.servers.get(&ip).cloned()) {
                (Some(key), _) => Some(self.use_key(key)?),
                (None, Some(key)) => Some(self.use_key(key.as_str())?),
                (None, None) => None,
            };
            out.push(Remote { address, ip, key });
        }
        Ok(out)
    }

    /// The directives of a zone that is handed on, or nothing where it is not; why there are none.
    pub(super) fn directives(
        &mut self,
        wanted: &Wanted,
        lists: &Lists,
    ) -> Result<Option<String>, String> {
        let told = match &wanted.also_notify {
            Some(statement) => self.remotes(statement)?,
            None => Vec::new(),
        };
        let allowed = match &wanted.allow {
            Some(statement) => self.allowed(statement, lists)?,
            // Those that are told have to get it somehow.
            None => Vec::new(),
        };
        let is_set = wanted.allow.is_some();
        let mut lines: Vec<(String, Option<Name>)> = Vec::new();
        let mut is_told: Vec<IpAddr> = Vec::new();
        for remote in &told {
            let fits = allowed.iter().find(|who| who.fits(remote));
            let key = match (fits, is_set) {
                (Some(who), _) => remote.key.clone().or_else(|| who.key.clone()),
                (None, false) => remote.key.clone(),
                (None, true) => {
                    return Err(format!(
                        "{} is notified of changes but may not transfer the zone; in `transfer`, a client that is notified may transfer it",
                        remote.address
                    ));
                }
            };
            is_told.push(remote.ip);
            lines.push((remote.address.clone(), key));
        }
        for who in allowed {
            let net = match who.net {
                None => "*".to_owned(),
                Some((ip, length)) if length == full(ip) => {
                    if is_told.contains(&ip) {
                        continue;
                    }
                    // A prefix is not told.
                    match wanted.tells_none {
                        true => format!("{ip}/{length}"),
                        false => upstream(&ip.to_string(), '#').unwrap_or_default(),
                    }
                }
                Some((ip, length)) => format!("{ip}/{length}"),
            };
            lines.push((net, who.key));
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let mut out = String::new();
        if lines.iter().any(|(_, key)| key.is_some()) {
            out.push_str(&Self::directive());
        }
        out.push_str("    transfer {\n");
        for (who, key) in lines {
            let key = key.map_or_else(String::new, |key| format!(" key {}", key.absolute()));
            let _ = writeln!(out, "        to {who}{key}");
        }
        out.push_str("    }\n");
        Ok(Some(out))
    }

    /// Who may have a zone.
    fn allowed(&mut self, statement: &Statement, lists: &Lists) -> Result<Vec<Who>, String> {
        if statement.words().count() > 1 {
            return Err("transfers of one port or transport".to_owned());
        }
        let list = statement.block().unwrap_or_default();
        let mut out = Vec::new();
        for element in list {
            if let [Part::Word(word), Part::Word(key)] = &*element.parts
                && word == "key"
            {
                let key = Some(self.use_key(key)?);
                out.push(Who { net: None, key });
                continue;
            }
            let networks: Networks = lists.networks(std::slice::from_ref(element), 0)?;
            for (net, fits) in networks {
                match (&*net, fits) {
                    ("*", true) => out.push(Who {
                        net: None,
                        key: None,
                    }),
                    // Nobody, and nobody behind it.
                    ("*", false) => return Ok(out),
                    (_, false) => {
                        return Err("`!` in a list of clients that may transfer a zone".to_owned());
                    }
                    (net, true) => out.push(Who {
                        net: prefix(net),
                        key: None,
                    }),
                }
            }
        }
        Ok(out)
    }
}

/// Somebody who may have a zone.
struct Who {
    /// The network; nothing for everybody.
    net: Option<(IpAddr, u8)>,
    /// The key that is needed, too.
    key: Option<Name>,
}

impl Who {
    /// Whether a server is among them.
    fn fits(&self, remote: &Remote) -> bool {
        let same_key = self.key.is_none() || remote.key.is_none() || self.key == remote.key;
        same_key
            && match self.net {
                None => true,
                Some(net) => contains(net, remote.ip),
            }
    }
}

/// The length of the prefix of an address alone.
fn full(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Whether an address is in a network.
fn contains((network, length): (IpAddr, u8), ip: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(ip),
    };
    let rest = 128 - u32::from(length);
    let cut = |ip| bits(ip).checked_shr(rest).unwrap_or_default();
    network.is_ipv4() == ip.is_ipv4() && cut(network) == cut(ip)
}
