//! Key files as BIND's `dnssec-keygen` writes them: `K*.key` with a DNSKEY record, `K*.private` with lines of names and values.
//!
//! Metadata for rollovers (`Activate:`, `Delete:` and their like) are passed over, as CoreDNS does.

use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::rsa::{self, KeyPairComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding,
};
use wire::Type;

use super::key::{Key, Secret, ZONE, key_tag};
use crate::encoding::Digits;
use crate::record::{LoneRecord, parse_record};

/// A half of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// `K*.key`.
    Public,
    /// `K*.private`.
    Private,
}

/// What is wrong with a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFault {
    /// In which file.
    pub half: Half,
    /// The line, from 1; 0 is the file as a whole.
    pub line: u32,
    /// Why.
    pub why: String,
}

impl std::fmt::Display for KeyFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for KeyFault {}

/// Says what is wrong at a line of a file.
fn fault(half: Half, line: u32, why: impl Into<String>) -> KeyFault {
    KeyFault {
        half,
        line,
        why: why.into(),
    }
}

impl Key {
    /// Reads a key from the contents of its two files.
    ///
    /// # Errors
    /// When one of them cannot be read, when `ring` signs by no such algorithm or size of key, and when the halves do not belong
    /// together.
    pub fn read(public: &[u8], private: &[u8]) -> Result<Self, KeyFault> {
        let record = dnskey(public)?;
        let algorithm = record.rdata.get(3).copied().unwrap_or_default();
        let lines = Lines::read(private)?;
        let stated = lines.algorithm()?;
        if stated != algorithm {
            let why = format!(
                "the private key is of algorithm {stated}, the public key of algorithm {algorithm}"
            );
            return Err(fault(Half::Private, 0, why));
        }
        Ok(Self {
            tag: key_tag(&record.rdata),
            secret: secret(algorithm, &record.rdata[4..], &lines)?,
            owner: record.owner.to_lower(),
            dnskey: record.rdata.into(),
            random: SystemRandom::new(),
        })
    }
}

/// Reads the DNSKEY record of a zone's key.
fn dnskey(public: &[u8]) -> Result<LoneRecord, KeyFault> {
    let record = parse_record(public)
        .map_err(|mistake| fault(Half::Public, mistake.line, mistake.why))?
        .ok_or_else(|| fault(Half::Public, 0, "there is no DNSKEY record"))?;
    if record.rtype != Type::DNSKEY {
        let why = format!("expected a DNSKEY record, not {}", record.rtype);
        return Err(fault(Half::Public, 0, why));
    }
    let flags = wire::read_u16(&record.rdata, 0).unwrap_or_default();
    if flags & ZONE == 0 || record.rdata.get(2) != Some(&3) {
        let why = "not a key of a zone: its flags lack ZONE (256), or its protocol is not 3 (RFC 4034, section 2.1)";
        return Err(fault(Half::Public, 0, why));
    }
    Ok(record)
}

/// Makes the secret half; `public` is the public one, as DNSKEY records have it.
fn secret(algorithm: u8, public: &[u8], lines: &Lines<'_>) -> Result<Secret, KeyFault> {
    let random = SystemRandom::new();
    match algorithm {
        8 => rsa_pair(public, lines, &RSA_PKCS1_SHA256),
        10 => rsa_pair(public, lines, &RSA_PKCS1_SHA512),
        13 | 14 => {
            let kind = match algorithm {
                13 => &ECDSA_P256_SHA256_FIXED_SIGNING,
                _ => &ECDSA_P384_SHA384_FIXED_SIGNING,
            };
            let scalar = lines.octets("PrivateKey")?;
            // SEC 1, section 2.3.3: an uncompressed point. RFC 6605, section 4, leaves the first octet out.
            let point = [&[4][..], public].concat();
            EcdsaKeyPair::from_private_key_and_public_key(kind, &scalar, &point, &random)
                .map(|pair| Secret::Ecdsa(Box::new(pair)))
                .map_err(rejected)
        }
        15 => {
            let seed = lines.octets("PrivateKey")?;
            Ed25519KeyPair::from_seed_and_public_key(&seed, public)
                .map(|pair| Secret::Ed25519(Box::new(pair)))
                .map_err(rejected)
        }
        other => {
            let why = format!(
                "algorithm {other} is not supported; these are: 8 (RSASHA256), 10 (RSASHA512), 13 (ECDSAP256SHA256), 14 (ECDSAP384SHA384) and 15 (ED25519)"
            );
            Err(fault(Half::Public, 0, why))
        }
    }
}

/// Why `ring` takes no pair of these halves.
fn rejected(why: KeyRejected) -> KeyFault {
    let why = match why.to_string().as_str() {
        "InconsistentComponents" => "the private key does not belong to the public key".to_owned(),
        "TooSmall" => "a key of RSA has 2048 bits at least".to_owned(),
        "TooLarge" => "a key of RSA has 4096 bits at most".to_owned(),
        other => format!("the key cannot be used: {other}"),
    };
    fault(Half::Private, 0, why)
}

/// A pair of keys of RSA.
fn rsa_pair(
    public: &[u8],
    lines: &Lines<'_>,
    encoding: &'static dyn RsaEncoding,
) -> Result<Secret, KeyFault> {
    let component = |name| lines.octets(name).map(without_zeros);
    let components = KeyPairComponents {
        public_key: rsa::PublicKeyComponents {
            n: component("Modulus")?,
            e: component("PublicExponent")?,
        },
        d: component("PrivateExponent")?,
        p: component("Prime1")?,
        q: component("Prime2")?,
        dP: component("Exponent1")?,
        dQ: component("Exponent2")?,
        qInv: component("Coefficient")?,
    };
    let pair = rsa::KeyPair::from_components(&components).map_err(rejected)?;
    // RFC 3110, section 2: the exponent behind its length, in one octet or in three, then the modulus.
    let (len, rest) = match public {
        [0, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [len, rest @ ..] => (usize::from(*len), rest),
        [] => (0, public),
    };
    let halves = rest.split_at_checked(len);
    let same = halves.is_some_and(|(exponent, modulus)| {
        let own = rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        without_zeros(exponent.to_vec()) == own.e && without_zeros(modulus.to_vec()) == own.n
    });
    match same {
        true => Ok(Secret::Rsa(Box::new(pair), encoding)),
        false => {
            let why = "the private key does not belong to the public key";
            Err(fault(Half::Private, 0, why))
        }
    }
}

/// A number without leading zeros.
fn without_zeros(mut octets: Vec<u8>) -> Vec<u8> {
    let zeros = octets.iter().take_while(|&&octet| octet == 0).count();
    octets.drain(..zeros);
    octets
}

/// The lines of a private key file: `Name: value`.
struct Lines<'a>(Vec<(u32, &'a str, &'a str)>);

impl<'a> Lines<'a> {
    fn read(text: &'a [u8]) -> Result<Self, KeyFault> {
        let text = std::str::from_utf8(text)
            .map_err(|_| fault(Half::Private, 0, "the file is not UTF-8"))?;
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let Some((name, value)) = line.split_once(':') else {
                let why = "expected a line such as `PrivateKey: ...`";
                return Err(fault(Half::Private, number, why));
            };
            lines.push((number, name.trim(), value.trim()));
        }
        let lines = Self(lines);
        let (number, format) = lines.value("Private-key-format")?;
        if !format.starts_with("v1.") {
            let why = format!("unknown format `{format}`; expected v1.2 or v1.3");
            return Err(fault(Half::Private, number, why));
        }
        if lines.value("Engine").is_ok() || lines.value("Label").is_ok() {
            let why = "the private key is in a hardware module, which is not supported";
            return Err(fault(Half::Private, 0, why));
        }
        Ok(lines)
    }

    /// The line and the value of a name, whatever its case.
    fn value(&self, name: &str) -> Result<(u32, &'a str), KeyFault> {
        let found = self
            .0
            .iter()
            .find(|(_, known, _)| known.eq_ignore_ascii_case(name));
        found
            .map(|&(number, _, value)| (number, value))
            .ok_or_else(|| fault(Half::Private, 0, format!("there is no line `{name}:`")))
    }

    /// The algorithm's number: `13 (ECDSAP256SHA256)`.
    fn algorithm(&self) -> Result<u8, KeyFault> {
        let (number, value) = self.value("Algorithm")?;
        let word = value.split_whitespace().next().unwrap_or_default();
        word.parse().map_err(|_| {
            fault(
                Half::Private,
                number,
                format!("`{value}` is not an algorithm"),
            )
        })
    }

    /// A value in base64.
    fn octets(&self, name: &str) -> Result<Vec<u8>, KeyFault> {
        let (number, value) = self.value(name)?;
        let (mut digits, mut out) = (Digits::default(), Vec::new());
        let read = digits.base64(value.as_bytes(), &mut out);
        match read.filter(|()| digits.whole(6)) {
            Some(()) => Ok(out),
            None => Err(fault(
                Half::Private,
                number,
                format!("`{name}` is not base64"),
            )),
        }
    }
}
