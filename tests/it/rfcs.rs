//! Conformance by RFC number: each row is a sentence of an RFC, the query that tests it, and what the answer must say.
//!
//! A query is written `NAME TYPE WORD…` with the words of [`Query::read`], an expectation as clauses of [`Reply::check`]. Tables go to
//! the built binary over the wire, so that what is tested is what a client sees.

pub(crate) mod authoritative;
pub(crate) mod edns;
mod forwarding;
mod hosts;
pub(crate) mod probes;
mod transport;

use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{Record, RecordType};

use crate::server::{Server, ask_tcp, ask_udp, temporary_directory};

/// An RFC and section, its sentence in few words, the query, what the answer must say.
pub(crate) type Row = (&'static str, &'static str, &'static str, &'static str);

/// Serves `tests/zones/plain.zone` as `plain.example` and whatever else the Corefile says.
fn start(test: &str, files: &[(&str, &str)], more: &str) -> Server {
    let dir = temporary_directory(test);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zones/plain.zone");
    std::fs::copy(source, dir.join("plain.zone")).expect("the zone is copied");
    for (name, text) in files {
        std::fs::write(dir.join(name), text).expect("a file is written");
    }
    Server::start_in(
        &dir,
        &format!("plain.example:{{PORT}} {{\n  bind 127.0.0.1\n  file plain.zone\n}}\n{more}"),
    )
}

/// Asks every row and says which fail.
pub(crate) fn run(address: SocketAddr, rows: &[Row]) {
    let failures: Vec<String> = rows
        .iter()
        .filter_map(|(rfc, sentence, query, expected)| {
            let what = match ask(address, query) {
                None => "no answer".to_owned(),
                Some(reply) => format!("{}\n    {reply:?}", reply.check(expected).err()?),
            };
            Some(format!(
                "RFC {rfc}: {sentence}\n    {query} => {expected}\n    {what}"
            ))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} rows:\n{}",
        failures.len(),
        rows.len(),
        failures.join("\n")
    );
}

/// The answer to a query as [`Query::read`] reads it.
pub(crate) fn ask(address: SocketAddr, query: &str) -> Option<Reply> {
    let query = Query::read(query);
    let octets = query.octets();
    let patience = Duration::from_secs(3);
    let reply = if query.tcp {
        ask_tcp(address, &octets, patience)
    } else {
        ask_udp(address, &octets, patience)
    }?;
    assert_eq!(reply[..2], octets[..2], "the ID is the query's");
    Some(Reply::read(reply))
}

/// The header bits that words name.
const FLAGS: [(&str, u16); 8] = [
    ("qr", 0x8000),
    ("aa", 0x0400),
    ("tc", 0x0200),
    ("rd", 0x0100),
    ("ra", 0x0080),
    ("z", 0x0040),
    ("ad", 0x0020),
    ("cd", 0x0010),
];

/// A query in parts.
#[derive(Clone, Default)]
pub(crate) struct Query {
    name: Vec<u8>,
    qtype: u16,
    class: u16,
    flags: u16,
    tcp: bool,
    edns: Option<Opt>,
}

/// The OPT record of a query.
#[derive(Clone, Default)]
struct Opt {
    size: u16,
    version: u8,
    flags: u16,
    options: Vec<u8>,
}

impl Query {
    /// `NAME TYPE` and words: `+FLAG`, `op=N`, `class=N`, `tcp`, `edns`, `size=N`, `v=N`, `do`, `eflags=HEX`, `opt=CODE:HEX`.
    pub(crate) fn read(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let name = words.next().expect("a name");
        let qtype = words.next().expect("a type");
        let mut query = Self {
            name: name_octets(name),
            qtype: type_number(qtype),
            class: 1,
            ..Self::default()
        };
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match (key, value) {
                ("tcp", _) => query.tcp = true,
                ("op", value) => query.flags |= number(value) << 11,
                ("class", value) => query.class = number(value),
                ("edns", _) => query.opt().size = 4_096,
                ("do", _) => query.opt().flags |= 0x8000,
                ("size", value) => query.opt().size = number(value),
                ("v", value) => query.opt().version = number(value) as u8,
                ("eflags", value) => {
                    query.opt().flags |= u16::from_str_radix(value, 16).expect("flags");
                }
                ("opt", value) => {
                    let (code, data) = value.split_once(':').expect("CODE:HEX");
                    let data = hex(data);
                    let options = &mut query.opt().options;
                    options.extend_from_slice(&number(code).to_be_bytes());
                    options.extend_from_slice(&(data.len() as u16).to_be_bytes());
                    options.extend_from_slice(&data);
                }
                (flag, _) => {
                    let bit = FLAGS.iter().find(|(name, _)| flag[1..] == **name);
                    query.flags |= bit.expect("a flag").1;
                }
            }
        }
        query
    }

    fn opt(&mut self) -> &mut Opt {
        self.edns.get_or_insert_with(|| Opt {
            size: 4_096,
            ..Opt::default()
        })
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut out = vec![0x4E, 0x50];
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&self.qtype.to_be_bytes());
        out.extend_from_slice(&self.class.to_be_bytes());
        if let Some(opt) = &self.edns {
            out.extend_from_slice(&[0, 0, 41]);
            out.extend_from_slice(&opt.size.to_be_bytes());
            out.extend_from_slice(&[0, opt.version]);
            out.extend_from_slice(&opt.flags.to_be_bytes());
            out.extend_from_slice(&(opt.options.len() as u16).to_be_bytes());
            out.extend_from_slice(&opt.options);
        }
        out
    }
}

fn number(text: &str) -> u16 {
    text.parse().expect("a number")
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex"))
        .collect()
}

fn name_octets(text: &str) -> Vec<u8> {
    let name = wire::NameBuf::parse(text, wire::Name::ROOT).expect("a name");
    name.as_name().octets().to_vec()
}

fn type_number(text: &str) -> u16 {
    match text.strip_prefix("TYPE") {
        Some(number) => number.parse().expect("a type's number"),
        None => RecordType::from_str(text).expect("a type").into(),
    }
}

/// An answer, its records in text.
pub(crate) struct Reply {
    octets: Vec<u8>,
    flags: u16,
    rcode: u16,
    question: Vec<u8>,
    sections: [Vec<String>; 3],
    /// Version, flags, size, options.
    opt: Option<Opt>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", rcode_name(self.rcode))?;
        for (name, bit) in FLAGS {
            if self.flags & bit != 0 {
                write!(f, " {name}")?;
            }
        }
        for (name, records) in ["an", "ns", "ar"].iter().zip(&self.sections) {
            for record in records {
                write!(f, "\n      {name} {record}")?;
            }
        }
        Ok(())
    }
}

impl Reply {
    pub(crate) fn read(octets: Vec<u8>) -> Self {
        let message = Message::from_vec(&octets)
            .unwrap_or_else(|error| panic!("unreadable answer {octets:02x?}: {error}"));
        let flags = u16::from_be_bytes([octets[2], octets[3]]);
        let texts = |records: &[Record]| records.iter().map(ToString::to_string).collect();
        let view = wire::Message::new(&octets).expect("a header");
        let question = match view.question() {
            Ok((_, _, _, end)) => octets[12..end].to_vec(),
            Err(_) => Vec::new(),
        };
        let opt = view.opt().map(|record| Opt {
            size: record.class.0,
            version: (record.ttl >> 16) as u8,
            flags: record.ttl as u16,
            options: record.rdata().to_vec(),
        });
        Self {
            flags,
            rcode: view.rcode().0,
            question,
            sections: [
                texts(&message.answers),
                texts(&message.authorities),
                texts(&message.additionals),
            ],
            opt,
            octets,
        }
    }

    /// Holds the reply against clauses, separated by `|`:
    ///
    /// `NXDOMAIN` the RCODE; `+aa`, `-tc` flags; `an: TEXT` a record of the section has these words in this order; `an! TEXT` none has;
    /// `an= N` the number of records; `opt` and `-opt`; `opt: CODE:HEX` and `opt! CODE`; `ede: N`; `len<= N`; `first: TEXT` the first answer.
    pub(crate) fn check(&self, expected: &str) -> Result<(), String> {
        for clause in expected.split('|').map(str::trim) {
            let (key, value) = clause.split_once(' ').unwrap_or((clause, ""));
            let held = match key {
                "an:" | "ns:" | "ar:" => self.section(key).iter().any(|text| has(text, value)),
                "an!" | "ns!" | "ar!" => !self.section(key).iter().any(|text| has(text, value)),
                "an=" | "ns=" | "ar=" => self.section(key).len() == usize::from(number(value)),
                "first:" => self.sections[0]
                    .first()
                    .is_some_and(|text| has(text, value)),
                "opt" => self.opt.is_some(),
                "-opt" => self.opt.is_none(),
                "opt:" => {
                    let (code, data) = value.split_once(':').expect("CODE:HEX");
                    self.option(number(code))
                        .is_some_and(|got| got == hex(data))
                }
                "opt!" => self.option(number(value)).is_none(),
                "ede:" => self
                    .option(15)
                    .is_some_and(|got| got.starts_with(&number(value).to_be_bytes())),
                "len<=" => self.octets.len() <= usize::from(number(value)),
                flag if flag.starts_with(['+', '-']) => {
                    let bit = FLAGS.iter().find(|(name, _)| *name == &flag[1..]);
                    let set = self.flags & bit.expect("a flag").1 != 0;
                    set == flag.starts_with('+')
                }
                rcode => rcode_name(self.rcode) == rcode,
            };
            if !held {
                return Err(format!("not so: {clause}"));
            }
        }
        Ok(())
    }

    fn section(&self, key: &str) -> &[String] {
        let index = ["an", "ns", "ar"]
            .iter()
            .position(|name| *name == &key[..2]);
        &self.sections[index.expect("a section")]
    }

    /// The data of an EDNS option.
    pub(crate) fn option(&self, code: u16) -> Option<Vec<u8>> {
        let options = &self.opt.as_ref()?.options;
        let mut at = 0;
        while let Some(head) = options.get(at..at + 4) {
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            if u16::from_be_bytes([head[0], head[1]]) == code {
                return Some(options[at + 4..at + 4 + len].to_vec());
            }
            at += 4 + len;
        }
        None
    }
}

/// Whether `text` has the words of `wanted` in this order.
fn has(text: &str, wanted: &str) -> bool {
    let mut words = text.split_whitespace();
    wanted
        .split_whitespace()
        .all(|want| words.any(|word| word == want))
}

fn rcode_name(rcode: u16) -> &'static str {
    match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        9 => "NOTAUTH",
        16 => "BADVERS",
        _ => "another RCODE",
    }
}
