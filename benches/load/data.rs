//! The workloads' data: the same octets from the same seed, on every machine.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Owners of the zone.
const OWNERS: u32 = 100_000;
/// Lines of the hosts file.
const HOSTS: u32 = 10_000;
/// Names that the cache is asked for.
const HOT: usize = 1_000;
/// First labels of owners.
const WORDS: [&str; 16] = [
    "api", "web", "db", "cache", "mail", "node", "pod", "srv", "auth", "cdn", "edge", "img", "log",
    "mon", "ns", "push",
];

/// What is asked in a workload, in wire form.
pub struct Questions {
    /// The queries' octets, one after the other, IDs left at 0.
    octets: Vec<u8>,
    /// Where each begins.
    starts: Vec<u32>,
    /// Whether the eight octets after the first octet of QNAME are overwritten with a number: every name distinct.
    distinct: bool,
}

impl Questions {
    fn new() -> Self {
        Self {
            octets: Vec::new(),
            starts: vec![0],
            distinct: false,
        }
    }

    fn push(&mut self, qname: &str, qtype: u8) {
        self.octets
            .extend_from_slice(&[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in qname.trim_end_matches('.').split('.') {
            self.octets.push(label.len() as u8);
            self.octets.extend_from_slice(label.as_bytes());
        }
        self.octets.extend_from_slice(&[0, 0, qtype, 0, 1]);
        self.starts.push(self.octets.len() as u32);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        if self.distinct {
            1 << 32
        } else {
            self.starts.len() - 1
        }
    }

    /// Writes query number `at`, from the first again after the last, with an ID.
    pub fn write(&self, at: usize, id: u16, query: &mut Vec<u8>) {
        let at = at % self.len();
        let place = if self.distinct { 0 } else { at };
        query.clear();
        query.extend_from_slice(
            &self.octets[self.starts[place] as usize..self.starts[place + 1] as usize],
        );
        query[..2].copy_from_slice(&id.to_be_bytes());
        if self.distinct {
            for (digit, octet) in query[14..22].iter_mut().enumerate() {
                *octet = b"0123456789abcdef"[at >> (28 - 4 * digit) & 0xF];
            }
        }
    }
}

/// The workloads' files and questions.
pub struct Data {
    /// Where the files are.
    pub directory: PathBuf,
    /// W1: the zone, asked evenly, a tenth of it for names that are not there.
    pub zone: Questions,
    /// W2: the hosts file.
    pub hosts: Questions,
    /// W3: some names of the zone.
    pub hot: Questions,
    /// W4: names that were never asked before.
    pub distinct: Questions,
    /// A name of the hosts file.
    pub host: String,
}

impl Data {
    /// Writes the files: `zone`, `tiny`, `hosts`, `unbound-local`.
    pub fn write(directory: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut draw = Draw(0x9E37_79B9_7F4A_7C15);
        let head = "$ORIGIN example.org.\n$TTL 3600\n@ SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ NS ns1\n@ NS ns2\n\
                    ns1 A 192.0.2.1\nns2 A 192.0.2.2\nfirst A 192.0.2.9\n";
        fs::write(directory.join("tiny"), head)?;

        let mut zone = String::from(head);
        let mut names: Vec<(String, u8)> = Vec::new();
        let mut targets: Vec<String> = Vec::new();
        for i in 0..OWNERS {
            let mut owner = format!("{}{i}", draw.of(&WORDS));
            if draw.percent(30) {
                let _ = write!(owner, ".team{}", draw.below(200));
            }
            let (high, low) = (i >> 16, i & 0xFFFF);
            let qtype = match draw.below(100) {
                0..10 if !targets.is_empty() => {
                    let _ = writeln!(zone, "{owner} CNAME {}", draw.of(&targets));
                    1
                }
                0..30 => {
                    let _ = writeln!(
                        zone,
                        "{owner} AAAA 2001:db8:{:x}::{high:x}:{low:x}",
                        draw.below(65_536)
                    );
                    28
                }
                _ => {
                    for _ in 0..1 + u32::from(draw.percent(20)) {
                        let _ = writeln!(
                            zone,
                            "{owner} A 10.{}.{}.{}",
                            draw.below(256),
                            draw.below(256),
                            draw.below(256)
                        );
                    }
                    targets.push(owner.clone());
                    1
                }
            };
            names.push((owner, qtype));
        }
        fs::write(directory.join("zone"), zone)?;
        let mut zone = Questions::new();
        for _ in 0..500_000 {
            if draw.percent(10) {
                zone.push(&format!("nx{}.example.org", draw.below(1_000_000_000)), 1);
            } else {
                let (owner, qtype) = draw.of(&names);
                zone.push(&format!("{owner}.example.org"), *qtype);
            }
        }

        let mut hosts = String::new();
        let mut unbound = String::from("local-zone: \"hosts.example.\" static\n");
        let mut lines = Vec::new();
        for i in 0..HOSTS {
            let name = format!("{}{i}.hosts.example", draw.of(&WORDS));
            let (address, qtype) = if draw.percent(10) {
                (format!("2001:db8:1::{i:x}"), 28)
            } else {
                (format!("10.1.{}.{}", i / 250, i % 250 + 1), 1)
            };
            let _ = writeln!(hosts, "{address} {name}");
            let record = if qtype == 1 { "A" } else { "AAAA" };
            let _ = writeln!(
                unbound,
                "local-data: \"{name}. 3600 IN {record} {address}\""
            );
            lines.push((name, qtype));
        }
        fs::write(directory.join("hosts"), hosts)?;
        fs::write(directory.join("unbound-local"), unbound)?;
        let mut hosts = Questions::new();
        for _ in 0..200_000 {
            let (name, qtype) = draw.of(&lines);
            hosts.push(name, *qtype);
        }
        let host = lines
            .iter()
            .find(|(_, qtype)| *qtype == 1)
            .map(|(name, _)| name.clone())
            .unwrap_or_default();

        let chosen: Vec<_> = (0..HOT).map(|_| draw.of(&names).clone()).collect();
        let mut hot = Questions::new();
        for _ in 0..200_000 {
            let (owner, qtype) = draw.of(&chosen);
            hot.push(&format!("{owner}.example.org"), *qtype);
        }

        let mut distinct = Questions::new();
        distinct.push("q00000000.example.org", 1);
        distinct.distinct = true;
        Ok(Self {
            directory: directory.to_owned(),
            zone,
            hosts,
            hot,
            distinct,
            host,
        })
    }
}

/// Numbers that look random and are the same in every run (xorshift64*).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        ((high * u64::from(bound)) >> 32) as u32
    }

    fn percent(&mut self, share: u32) -> bool {
        self.below(100) < share
    }

    fn of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len() as u32) as usize]
    }
}
