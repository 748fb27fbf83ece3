//! When two queries are one and the same to those who answer: what a cache keeps entries under, merges queries by and refreshes.
//!
//! | part | why an answer may hang on it |
//! |---|---|
//! | QNAME, QTYPE, QCLASS | the question (RFC 1035, 4.1.2), as the plugins below see it |
//! | RD | without it a resolver answers from what it has, or refers (RFC 1034, 4.3.1) |
//! | CD | with it an answer may be one that does not validate (RFC 4035, 3.2.2) |
//! | DO | with it an answer has signatures and proofs (RFC 3225) |
//! | client subnet | it is sent on, and the answer may be for that network only (RFC 7871, 7.3) |

use wire::{EdnsOption, Flags, mix};

use crate::query::Query;

/// The flags that make two questions.
const FLAGS: u16 = Flags::RD | Flags::CD;
/// In the word: there is a client subnet, so that the name is not all of the octets.
const SUBNET: u64 = 1 << 51;

/// The identity of a question.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The hash of all of it.
    hash: u64,
    /// The hash of the octets.
    octets_hash: u64,
    /// QTYPE, QCLASS, DO, RD and CD, and whether the last two below are there.
    word: u64,
    /// QNAME, in lower case.
    name: &'a [u8],
    /// The data of the client subnet option.
    subnet: &'a [u8],
}

impl<'a> Identity<'a> {
    /// The identity of the question of `query` as it stands now.
    #[inline(always)]
    pub fn of(query: &'a Query<'_>) -> Self {
        let qname = query.qname();
        let mut word = u64::from(query.qtype().0)
            | u64::from(query.qclass().0) << 16
            | u64::from(query.flags().0 & FLAGS) << 32
            | u64::from(query.dnssec_ok()) << 32;
        let mut hash = qname.hash(0);
        let options = match (query.rewritten_opt(), query.edns()) {
            (Some(opt), _) => Some(opt.options()),
            (None, Some(edns)) if edns.options_start != edns.options_end => {
                Some(edns.options(query.message()))
            }
            (None, _) => None,
        };
        let mut subnet: &[u8] = &[];
        if let Some(mut options) = options
            && let Some(option) = options.find(|option| option.code == EdnsOption::CLIENT_SUBNET)
        {
            subnet = option.data;
            word |= SUBNET;
            hash = subnet
                .iter()
                .fold(hash, |hash, &octet| mix(hash, u64::from(octet)));
        }
        Self {
            hash: mix(hash, word),
            octets_hash: hash,
            word,
            name: qname.name().octets(),
            subnet,
        }
    }

    /// The hash of all of it.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// What it has beside its octets.
    #[inline]
    pub fn word(&self) -> u64 {
        self.word
    }

    /// Its octets, in two parts: what is kept to compare it with later questions.
    pub fn octets(&self) -> [&'a [u8]; 2] {
        [self.name, self.subnet]
    }

    /// Whether RD is set.
    #[inline]
    pub fn is_recursive(&self) -> bool {
        self.word & u64::from(Flags::RD) << 32 != 0
    }

    /// The same question with RD: what was learnt by that answers one without it, too.
    pub fn recursive(self) -> Self {
        let word = self.word | u64::from(Flags::RD) << 32;
        Self {
            hash: mix(self.octets_hash, word),
            word,
            ..self
        }
    }

    /// Whether what was kept of another question is this one's: its hash, word and octets.
    #[inline]
    pub fn is(&self, hash: u64, word: u64, octets: &[u8]) -> bool {
        if hash != self.hash || word != self.word {
            return false;
        }
        if word & SUBNET == 0 {
            return octets == self.name;
        }
        let name = self.name.len();
        octets.len() == name + self.subnet.len()
            && octets[..name] == *self.name
            && octets[name..] == *self.subnet
    }
}
