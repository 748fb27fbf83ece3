//! Address match lists: the first element that fits decides, `!` turns it round, and lists stand in lists.

use std::collections::BTreeMap;

use crate::import::grammar::{network, prefix};
use crate::import::model::Access;

use super::statements::{Part, Statement};

/// How deep lists name lists.
const MOST_DEPTH: usize = 8;
/// Networks of one list when those in it are counted.
const MOST: usize = 4_096;

/// Networks in the order in which they are tried, and whether they fit.
pub(super) type Networks = Vec<(String, bool)>;

/// The lists by name.
#[derive(Default)]
pub(super) struct Lists(BTreeMap<String, Vec<Statement>>);

impl Lists {
    pub(super) fn add(&mut self, statement: &Statement) {
        let list = statement.block().unwrap_or_default().to_vec();
        self.0.insert(statement.word(1).to_owned(), list);
    }

    /// Rules of `acl`; why there are none.
    pub(super) fn rules(&self, list: &[Statement]) -> Result<Vec<Access>, String> {
        let networks = self.networks(list, 0)?;
        let mut rules: Vec<Access> = networks
            .into_iter()
            .map(|(net, fits)| Access {
                action: if fits { "allow" } else { "block" },
                net,
            })
            .collect();
        // Nobody else fits. A list that lets all is none.
        match rules.last() {
            Some(last) if last.net == "*" => {}
            _ => rules.push(Access {
                action: "block",
                net: "*".to_owned(),
            }),
        }
        if let [only] = &*rules
            && only.action == "allow"
        {
            rules.clear();
        }
        Ok(rules)
    }

    /// A condition of `view`; `true` where all clients fit.
    pub(super) fn expression(&self, list: Option<&[Statement]>) -> Result<String, String> {
        let Some(list) = list else {
            return Ok("true".to_owned());
        };
        let networks = self.networks(list, 0)?;
        let mut out = String::from("false");
        for (net, fits) in networks.into_iter().rev() {
            let test = format!("incidr(client_ip(), '{net}')");
            out = match (&*net, fits, &*out) {
                ("*", fits, _) => fits.to_string(),
                (_, true, "false") => test,
                (_, true, "true") => out,
                (_, true, rest) => format!("{test} || ({rest})"),
                (_, false, "false") => out,
                (_, false, "true") => format!("not {test}"),
                (_, false, rest) => format!("not {test} && ({rest})"),
            };
        }
        Ok(out)
    }

    pub(super) fn networks(&self, list: &[Statement], depth: usize) -> Result<Networks, String> {
        if depth > MOST_DEPTH {
            return Err(format!("lists name lists more than {MOST_DEPTH} deep"));
        }
        let mut out = Networks::new();
        for element in list {
            let mut parts = &*element.parts;
            let mut fits = true;
            while let Some((Part::Word(word), rest)) = parts.split_first()
                && word == "!"
            {
                fits = !fits;
                parts = rest;
            }
            let inner = match parts {
                [Part::Block(inner)] => self.networks(inner, depth + 1)?,
                [Part::Word(word)] => self.word(word, depth)?,
                _ => {
                    return Err(format!(
                        "`{}` is chosen by more than the address",
                        element.text()
                    ));
                }
            };
            if fits {
                // What does not fit in an inner list is left to the elements behind it.
                let denied = inner.iter().any(|(_, fits)| !fits);
                if denied && list.len() > 1 {
                    return Err("a list in a list with `!`".to_owned());
                }
                out.extend(inner);
            } else {
                if inner.iter().any(|(_, fits)| !fits) {
                    return Err("`!` before a list with `!`".to_owned());
                }
                out.extend(inner.into_iter().map(|(net, _)| (net, false)));
            }
            if out.len() > MOST {
                return Err(format!("a list of more than {MOST} networks"));
            }
        }
        Ok(out)
    }

    fn word(&self, word: &str, depth: usize) -> Result<Networks, String> {
        if let Some(list) = self.0.get(word) {
            return self.networks(list, depth + 1);
        }
        match word {
            "any" => Ok(vec![("*".to_owned(), true)]),
            "none" => Ok(vec![("*".to_owned(), false)]),
            // The other addresses of this machine are known only there.
            "localhost" => Ok(vec![
                ("127.0.0.0/8".to_owned(), true),
                ("::1/128".to_owned(), true),
            ]),
            "localnets" => {
                Err("`localnets` are the networks of the machine where it runs".to_owned())
            }
            "key" => Err("a client is identified by its key".to_owned()),
            text => {
                // BIND takes 10/8 for 10.0.0.0/8.
                let (address, length) = text.split_once('/').unwrap_or((text, ""));
                let dots = address.matches('.').count();
                let full = match address.contains(':') || dots >= 3 {
                    true => text.to_owned(),
                    false => format!("{address}{}/{length}", ".0".repeat(3 - dots)),
                };
                let net = prefix(&full).ok_or_else(|| format!("`{text}` is not a network"))?;
                Ok(vec![(network(net), true)])
            }
        }
    }
}
