//! What a configuration serves, whatever format it was written in.
//!
//! Domains stand in a map by name, because the most specific one decides; local data stands in a map by owner, because all that is
//! known of a name decides where it is written.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use zone::Loader;

use crate::import::report::{Place, Report};

/// A domain name in lower case without the dot at its end; the root is empty. Labels are made of letters, digits, `-` and `_`, and the
/// leftmost one may be `*`: such names mean the same in a Corefile, a zone and a regular expression.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn parse(text: &str) -> Option<Self> {
        const LONGEST: usize = 253;
        let bare = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if bare.is_empty() {
            return (text == ".").then(Self::default);
        }
        let is_good = |(index, label): (usize, &str)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            let fits = (1..=63).contains(&label.len());
            fits && (label.chars().all(plain) || (index == 0 && label == "*"))
        };
        let good = bare.len() <= LONGEST && bare.split('.').enumerate().all(is_good);
        good.then_some(Self(bare))
    }

    /// The name of an address in the reverse tree.
    pub(super) fn reverse(address: IpAddr) -> Self {
        let text = match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(v6) => {
                let nibbles = v6.octets().into_iter().rev();
                let labels: String = nibbles
                    .flat_map(|octet| [octet & 0xF, octet >> 4])
                    .map(|nibble| format!("{nibble:x}."))
                    .collect();
                labels + "ip6.arpa"
            }
        };
        Self(text)
    }

    /// The zones of a prefix: several where it does not end at a label.
    pub(super) fn reverse_zones(address: IpAddr, prefix: u8) -> Vec<Self> {
        let (step, bits) = if address.is_ipv4() { (8, 32) } else { (4, 128) };
        if prefix > bits || prefix == 0 {
            return Vec::new();
        }
        let labels = usize::from(prefix.div_ceil(step));
        let spare = labels as u32 * u32::from(step) - u32::from(prefix);
        let full = Self::reverse(address).0;
        let skipped = usize::from(bits / step) - labels;
        let rest: Vec<&str> = full.split('.').skip(skipped).collect();
        let Some((first, above)) = rest.split_first() else {
            return Vec::new();
        };
        let radix = if step == 8 { 10 } else { 16 };
        let first = u32::from_str_radix(first, radix).unwrap_or_default() >> spare << spare;
        (first..first + (1 << spare))
            .map(|label| match step {
                8 => Self(format!("{label}.{}", above.join("."))),
                _ => Self(format!("{label:x}.{}", above.join("."))),
            })
            .collect()
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    pub(super) fn has_one_label(&self) -> bool {
        !self.is_root() && !self.0.contains('.')
    }

    /// Whether it is in the tree of addresses.
    pub(super) fn is_reverse(&self) -> bool {
        let arpa = [Self("in-addr.arpa".into()), Self("ip6.arpa".into())];
        arpa.iter().any(|top| self.is_within(top))
    }

    pub(super) fn is_within(&self, other: &Self) -> bool {
        let rest = self.0.strip_suffix(&other.0);
        other.is_root() || rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    pub(super) fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let parent = self.0.split_once('.').map_or("", |(_, parent)| parent);
        Some(Self(parent.to_owned()))
    }

    /// The name and those that enclose it, up to the root.
    pub(super) fn ancestry(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.clone()), Self::parent)
    }

    pub(super) fn below(label: &str, domain: &Self) -> Option<Self> {
        match domain.is_root() {
            true => Self::parse(label),
            false => Self::parse(&format!("{label}.{domain}")),
        }
    }

    /// Without the dot; the root is `.`.
    pub(super) fn as_str(&self) -> &str {
        if self.is_root() { "." } else { &self.0 }
    }

    /// With the dot.
    pub(super) fn absolute(&self) -> String {
        format!("{}.", self.0)
    }

    /// A regular expression for the names that it stands for.
    pub(super) fn expression(&self) -> String {
        let escaped = |name: &str| name.replace('.', r"\.");
        match self.0.strip_prefix("*.") {
            Some(rest) => format!(r"\.{}\.$", escaped(rest)),
            None if self.is_root() => r"^\.$".to_owned(),
            None => format!(r"^{}\.$", escaped(&self.0)),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record in presentation format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) ttl: u32,
    pub(super) rtype: String,
    pub(super) rdata: String,
}

/// All that is known of a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Owner {
    /// Addresses that may stand in a hosts file.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) records: Vec<Record>,
    /// The name has no other types: they are NODATA, and nobody else is asked.
    pub(super) is_complete: bool,
}

/// Where other names are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Forward {
    /// As `forward` takes them.
    pub(super) to: Vec<String>,
    /// Lines of its block.
    pub(super) options: Vec<String>,
}

/// What becomes of names that have no local data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Upstreams are asked.
    Forward(Forward),
    /// A zone of the local data says that they do not exist.
    Zone,
    /// A master file answers; its name is relative to the output.
    File(String),
    /// The zone is transferred from these primaries, signed with this key.
    Secondary(Vec<String>, Option<Name>),
    /// All get this RCODE.
    Rcode(&'static str),
    /// 0.0.0.0 and ::, and nothing else.
    Null,
    /// There is no answer.
    Drop,
}

/// What is decided for a domain.
#[derive(Clone, Debug, Default)]
pub(super) struct Domain {
    /// Addresses of the domain and of all names in it that have no local data.
    pub(super) addresses: Vec<IpAddr>,
    /// Addresses of the names below it.
    pub(super) below: Vec<IpAddr>,
    /// For everything else; that of the domain above where it has none.
    pub(super) action: Option<Action>,
    /// Who may ask, instead of those who may ask for anything else.
    pub(super) access: Option<Vec<Access>>,
    /// Lines of its block about keys and transfers.
    pub(super) transfers: String,
}

/// A rule about clients; the first that fits counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Access {
    /// An action of `acl`.
    pub(super) action: &'static str,
    /// An address, a prefix or `*`.
    pub(super) net: String,
}

/// What some of the clients get.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// The name and the expression that chooses them; nothing for all.
    pub(super) view: Option<(String, String)>,
    pub(super) owners: BTreeMap<Name, Owner>,
    /// Addresses and names in the order in which they were given: the first name of an address is the one that programs show.
    pub(super) order: Vec<(IpAddr, Name)>,
    pub(super) domains: BTreeMap<Name, Domain>,
    /// Hosts files that are served where they are.
    pub(super) hosts_files: Vec<PathBuf>,
    /// Addresses of hosts files have PTR records.
    pub(super) has_reverse: bool,
    /// Names of one label are never forwarded.
    pub(super) keeps_single_labels: bool,
    /// Who may ask.
    pub(super) access: Vec<Access>,
}

/// A file to write beside the Corefile.
#[derive(Debug)]
pub(super) struct Output {
    /// Relative to the output.
    pub(super) path: String,
    pub(super) text: String,
}

/// Everything.
#[derive(Debug)]
pub(super) struct Model {
    /// Words of `bind`.
    pub(super) listen: Vec<String>,
    /// What is excepted from them.
    pub(super) not_on: Vec<String>,
    pub(super) port: Option<u16>,
    pub(super) log: bool,
    /// Lines of the block of `cache`; nothing where nothing is cached.
    pub(super) cache: Option<Vec<String>>,
    /// The longest TTL in the cache.
    pub(super) cache_ttl: Option<u32>,
    /// Of records from hosts files.
    pub(super) ttl: u32,
    pub(super) scopes: Vec<Scope>,
    /// Master files that are copied.
    pub(super) copied: Vec<Output>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            not_on: Vec::new(),
            port: None,
            log: false,
            cache: Some(Vec::new()),
            cache_ttl: None,
            ttl: 3_600,
            scopes: vec![Scope::default()],
            copied: Vec::new(),
        }
    }
}

impl Scope {
    /// The domain that decides about a name.
    pub(super) fn closest(&self, name: &Name) -> Option<Name> {
        name.ancestry().find(|one| self.domains.contains_key(one))
    }

    pub(super) fn domain(&mut self, name: &Name) -> &mut Domain {
        self.domains.entry(name.clone()).or_default()
    }

    pub(super) fn owner(&mut self, name: &Name) -> &mut Owner {
        self.owners.entry(name.clone()).or_default()
    }

    /// Gives a name an address, once.
    pub(super) fn address(&mut self, name: &Name, address: IpAddr) {
        let known = &mut self.owner(name).addresses;
        if !known.contains(&address) {
            known.push(address);
            self.order.push((address, name.clone()));
        }
    }

    /// Gives a name a record if that can be read; the mistake is reported otherwise.
    pub(super) fn record(
        &mut self,
        owner: &Name,
        record: Record,
        (place, line): (&Place, &str),
        report: &mut Report,
    ) {
        match check(owner, &record) {
            Ok(()) => {
                let known = &mut self.owner(owner).records;
                let same = |one: &Record| one.rtype == record.rtype && one.rdata == record.rdata;
                if !known.iter().any(same) {
                    known.push(record);
                }
            }
            Err(why) => report.left(place, line, &why, ""),
        }
    }
}

/// Whether a record can stand in a zone and in a Corefile.
fn check(owner: &Name, record: &Record) -> Result<(), String> {
    let text = format!(
        "{} {} IN {} {}\n",
        owner.absolute(),
        record.ttl,
        record.rtype,
        record.rdata
    );
    if record.rdata.contains(['\n', '\r']) {
        return Err("a record of several lines".to_owned());
    }
    let root = wire::NameBuf::root();
    let loader = Loader::new(root.as_name()).soa_optional(true);
    loader.load_text(&text).map(drop).map_err(|complaints| {
        let first = complaints.first();
        let why = first.map_or("it cannot be read", |first| &*first.message);
        format!("no record: {why}")
    })
}
