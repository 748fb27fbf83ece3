//! Forward chains of others: whether what a lab's bridges pass on gets through them, and the rules that let it.
//!
//! Docker sets the policy of `ip filter FORWARD` to drop. With `bridge-nf-call-iptables` on, that drops what two ports of
//! one bridge say to each other, too; an accept in another table does not help. A chain is walked as a packet would walk it
//! of which only the two interfaces are known: a rule that asks for more is taken not to match.

mod legacy;

use std::collections::HashMap;
use std::io;

use crate::layout::Mark;
use crate::netlink::{Attributes, Batch, NLM_F_CREATE, NLM_F_DUMP, Refusal, Socket, string};
use crate::nft::{self, Hook};

/// The rules of other tables, as far as they concern forwarding.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Base chains that drop by policy.
    dropping: Vec<Place>,
    chains: HashMap<Place, Vec<Line>>,
}

/// Where a chain is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// 1 for `inet`, 2 for `ip`, 10 for `ip6`.
    family: u8,
    /// Whether it is of legacy iptables, and not of nf_tables.
    legacy: bool,
    table: String,
    chain: String,
}

/// One rule.
#[derive(Clone, Debug, Default)]
struct Line {
    handle: u64,
    comment: String,
    /// What the two interfaces have to be called.
    input: Option<Name>,
    output: Option<Name>,
    /// Whether it looks at something else.
    more: bool,
    verdict: Option<Verdict>,
}

/// An interface's name in a rule.
#[derive(Clone, Debug)]
struct Name {
    text: String,
    whole: bool,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
    Return,
}

/// A rule that lets a bridge's packets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The chain that it stands in, in front.
    pub place: Place,
    /// The bridge.
    pub bridge: String,
    /// Whether packets that leave by it are meant, or those that come in.
    pub leaving: bool,
    /// The mark.
    pub comment: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = match self.family {
            1 => "inet",
            10 => "ip6",
            _ => "ip",
        };
        let legacy = if self.legacy { "legacy " } else { "" };
        write!(f, "{legacy}{family} {} {}", self.table, self.chain)
    }
}

impl Accept {
    /// Whether `apply --fix-forward` can put it there.
    #[must_use]
    pub fn is_ours_to_make(&self) -> bool {
        !self.place.legacy
    }

    /// The command that does the same.
    #[must_use]
    pub fn command(&self) -> String {
        if self.place.legacy {
            let tool = match self.place.family {
                10 => "ip6tables-legacy",
                _ => "iptables-legacy",
            };
            let key = if self.leaving { "-o" } else { "-i" };
            let (chain, bridge) = (&self.place.chain, &self.bridge);
            return format!("{tool} -I {chain} {key} {bridge} -j ACCEPT");
        }
        let key = if self.leaving { "oifname" } else { "iifname" };
        format!(
            "nft insert rule {} {key} \"{}\" accept",
            self.place, self.bridge
        )
    }
}

/// A bridge of a lab and what passes the host by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    /// The bridge.
    pub bridge: String,
    /// Whether it has IPv4, and IPv6.
    pub families: [bool; 2],
    /// Whether the host routes IPv4 for it, and IPv6.
    pub routed: [bool; 2],
}

impl Filter {
    /// Reads what drops; the rules only if anything does, or `all` of them.
    pub(crate) fn read(socket: &mut Socket, all: bool) -> io::Result<Self> {
        let mut filter = Self::default();
        // What cannot be read is taken to drop nothing.
        for v6 in [false, true] {
            let _ = legacy::read(&mut filter, v6);
        }
        let mut batch = Batch::default();
        batch.message(nft::kind(nft::GETCHAIN), NLM_F_DUMP, &[0; 4]);
        socket.dump(&mut batch, |_, body| filter.chain(body))?;
        if filter.dropping.is_empty() && !all {
            return Ok(filter);
        }
        let mut batch = Batch::default();
        batch.message(nft::kind(nft::GETRULE), NLM_F_DUMP, &[0; 4]);
        socket.dump(&mut batch, |_, body| filter.rule(body))?;
        Ok(filter)
    }

    /// Whether any base chain drops by policy.
    pub(crate) fn drops(&self) -> bool {
        !self.dropping.is_empty()
    }

    /// Reads a chain.
    fn chain(&mut self, body: &[u8]) {
        let Some(&family @ (1 | 2 | 10)) = body.first() else {
            return;
        };
        let (mut table, mut chain, mut hook, mut policy) = (String::new(), String::new(), None, 1);
        for (kind, value) in Attributes(body.get(4..).unwrap_or(&[])) {
            match kind {
                1 => table = string(value),
                3 => chain = string(value),
                4 => {
                    let number = Attributes(value).find(|&(kind, _)| kind == 1);
                    hook = number.map(|(_, value)| big(value));
                }
                5 => policy = big(value),
                _ => {}
            }
        }
        let place = Place {
            family,
            legacy: false,
            table,
            chain,
        };
        if hook == Some(Hook::Forward as u32) && policy == 0 {
            self.dropping.push(place.clone());
        }
        self.chains.entry(place).or_default();
    }

    /// Reads a rule.
    fn rule(&mut self, body: &[u8]) {
        let Some(&family @ (1 | 2 | 10)) = body.first() else {
            return;
        };
        let (mut table, mut chain, mut line) = (String::new(), String::new(), Line::default());
        for (kind, value) in Attributes(body.get(4..).unwrap_or(&[])) {
            match kind {
                1 => table = string(value),
                2 => chain = string(value),
                3 => {
                    line.handle = value
                        .first_chunk()
                        .map_or(0, |octets| u64::from_be_bytes(*octets))
                }
                4 => line.expressions(value),
                7 if value.first() == Some(&0) => {
                    line.comment = string(value.get(2..).unwrap_or(&[]));
                }
                _ => {}
            }
        }
        let place = Place {
            family,
            legacy: false,
            table,
            chain,
        };
        self.chains.entry(place).or_default().push(line);
    }

    /// The rules that are missing for a lab's packets to get through, those that let packets in before those that let
    /// them out.
    pub(crate) fn missing(
        &self,
        bridges: &[Passing],
        bridged: [bool; 2],
        mark: &Mark,
    ) -> Vec<Accept> {
        let mut missing = Vec::new();
        for base in &self.dropping {
            let concerns = |families: [bool; 2]| match base.family {
                2 => families[0],
                10 => families[1],
                _ => families[0] || families[1],
            };
            let both = |one: [bool; 2], other: [bool; 2]| [one[0] && other[0], one[1] && other[1]];
            for bridge in bridges {
                let name = bridge.bridge.as_str();
                // No interface has this name.
                let elsewhere = "/";
                let routed = concerns(bridge.routed);
                let within = concerns(both(bridge.families, bridged));
                let comes = routed && !self.passes(base, name, elsewhere);
                let goes = routed && !self.passes(base, elsewhere, name);
                let stays = within && !self.passes(base, name, name);
                let place = self.before(base);
                for (wanted, leaving) in [(comes || stays, false), (goes, true)] {
                    if wanted {
                        missing.push(Accept {
                            place: place.clone(),
                            bridge: name.to_owned(),
                            leaving,
                            comment: mark.alias(&format!("accept/{name}")),
                        });
                    }
                }
            }
        }
        missing
    }

    /// Where a rule for a base chain belongs: Docker keeps a chain for its users.
    fn before(&self, base: &Place) -> Place {
        let users = Place {
            chain: "DOCKER-USER".to_owned(),
            ..base.clone()
        };
        if self.chains.contains_key(&users) {
            users
        } else {
            base.clone()
        }
    }

    /// Whether a packet gets through a base chain.
    fn passes(&self, base: &Place, input: &str, output: &str) -> bool {
        self.walk(base, input, output, 0) == Some(true)
    }

    /// Whether a chain accepts a packet, drops it, or says nothing.
    fn walk(&self, place: &Place, input: &str, output: &str, depth: usize) -> Option<bool> {
        if depth > 8 {
            return None;
        }
        for line in self.chains.get(place)? {
            let is = |name: &Option<Name>, interface| {
                name.as_ref().is_none_or(|name| name.matches(interface))
            };
            if line.more || !is(&line.input, input) || !is(&line.output, output) {
                continue;
            }
            let into = |chain: &String| Place {
                chain: chain.clone(),
                ..place.clone()
            };
            match &line.verdict {
                Some(Verdict::Accept) => return Some(true),
                Some(Verdict::Drop) => return Some(false),
                Some(Verdict::Return) => return None,
                Some(Verdict::Jump(chain)) => {
                    let said = self.walk(&into(chain), input, output, depth + 1);
                    if said.is_some() {
                        return said;
                    }
                }
                Some(Verdict::Goto(chain)) => {
                    return self.walk(&into(chain), input, output, depth + 1);
                }
                None => {}
            }
        }
        None
    }

    /// The rules that carry a lab's mark: place, number, mark.
    pub(crate) fn owned(&self, mark: &Mark) -> Vec<(Place, u64, String)> {
        let mut found = Vec::new();
        for (place, lines) in &self.chains {
            let ours = lines.iter().filter(|line| mark.owns(&line.comment));
            found.extend(ours.map(|line| (place.clone(), line.handle, line.comment.clone())));
        }
        found.sort();
        found
    }
}

impl Name {
    /// Whether an interface is meant.
    fn matches(&self, interface: &str) -> bool {
        if self.whole {
            self.text == interface
        } else {
            interface.starts_with(&self.text)
        }
    }
}

impl Line {
    /// Reads the expressions of a rule.
    fn expressions(&mut self, list: &[u8]) {
        // What the register holds: 6 and 7 are the interfaces' names.
        let mut loaded = 0;
        for (_, element) in Attributes(list) {
            let part = |wanted| {
                let found = Attributes(element).find(|&(kind, _)| kind == wanted);
                found.map_or(&[][..], |(_, value)| value)
            };
            let data = part(2);
            let inner = |wanted| Attributes(data).find(|&(kind, _)| kind == wanted);
            match string(part(1)).as_str() {
                "counter" | "log" => {}
                "meta" => {
                    loaded = inner(2).map_or(0, |(_, key)| big(key));
                    self.more |= ![6, 7].contains(&loaded);
                }
                "cmp" => {
                    let equal = inner(2).is_some_and(|(_, operator)| big(operator) == 0);
                    let value = inner(3).and_then(|(_, data)| Attributes(data).next());
                    let name = value.map(|(_, value)| Name {
                        text: string(value),
                        whole: value.contains(&0),
                    });
                    match (loaded, equal) {
                        (6, true) => self.input = name,
                        (7, true) => self.output = name,
                        _ => self.more = true,
                    }
                }
                "immediate" => {
                    let verdict = inner(2)
                        .and_then(|(_, data)| Attributes(data).find(|&(kind, _)| kind == 2));
                    self.verdict = verdict.and_then(|(_, verdict)| read_verdict(verdict));
                }
                "reject" => self.verdict = Some(Verdict::Drop),
                _ => self.more = true,
            }
        }
    }
}

/// A verdict.
fn read_verdict(value: &[u8]) -> Option<Verdict> {
    let part = |wanted| Attributes(value).find(|&(kind, _)| kind == wanted);
    let chain = || part(2).map_or(String::new(), |(_, chain)| string(chain));
    Some(match part(1).map(|(_, code)| big(code) as i32)? {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -3 => Verdict::Jump(chain()),
        -4 => Verdict::Goto(chain()),
        -5 => Verdict::Return,
        _ => return None,
    })
}

/// A number in network order.
fn big(value: &[u8]) -> u32 {
    value
        .first_chunk()
        .map_or(0, |octets| u32::from_be_bytes(*octets))
}

/// Puts a rule in front of its chain.
pub(crate) fn insert(socket: &mut Socket, accept: &Accept) -> io::Result<Vec<Refusal>> {
    let rule = vec![
        if accept.leaving {
            nft::Expression::Out(accept.bridge.clone(), true)
        } else {
            nft::Expression::In(accept.bridge.clone(), true)
        },
        nft::Expression::Counter,
        nft::Expression::Accept,
    ];
    let mut batch = Batch::default();
    nft::begin(&mut batch);
    batch
        .message(
            nft::kind(nft::NEWRULE),
            NLM_F_CREATE,
            &nft::header(accept.place.family, 0),
        )
        .text(1, &accept.place.table)
        .text(2, &accept.place.chain);
    nft::expressions(&mut batch, &rule);
    batch.attribute(7, &nft::comment_data(&accept.comment));
    nft::end(&mut batch);
    socket.transaction(&mut batch)
}

/// Removes a rule.
pub(crate) fn remove(socket: &mut Socket, place: &Place, handle: u64) -> io::Result<Vec<Refusal>> {
    let mut batch = Batch::default();
    nft::begin(&mut batch);
    batch
        .message(nft::kind(nft::DELRULE), 0, &nft::header(place.family, 0))
        .text(1, &place.table)
        .text(2, &place.chain)
        .attribute(3, &handle.to_be_bytes());
    nft::end(&mut batch);
    socket.transaction(&mut batch)
}
