//! What a signature costs beside the bare call of `ring` that it is made by: canonical form, RRSIG RDATA and all. Both are measured in turns
//! in one run, so a busy machine slows both; the ratio of the medians is what counts, and is at most 1.2.
//!
//! `cargo bench --bench signatures`

#![allow(missing_docs, reason = "a program, not a library")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::rsa::{self, KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256,
};
use wire::{Class, NameBuf, Type};
use zone::signing::{CanonicalSet, Key, Validity};

/// The most that a signature may cost, in bare calls.
const MOST: f64 = 1.2;
/// How many turns are measured, and how long one is, in signatures of a key of P-256.
const TURNS: usize = 41;
const SIGNATURES: usize = 200;

const P256: [&str; 2] = [
    "example.org. DNSKEY 257 3 13 LvsKR4b9lTCzhAGixWelGjcLy7C/CGcyx/uf3loNSlst8HIGMSaDxRMvQyzQWYtSR/17oc4bUquWMSP5p2aZDw==\n",
    "Private-key-format: v1.3\nAlgorithm: 13\nPrivateKey: VGkbGKAv/Z1RJ/Szl94vJ8RjD6L3LQmQt6snAV9t3ro=\n",
];
const ED25519: [&str; 2] = [
    "example.org. DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=\n",
    "Private-key-format: v1.2\nAlgorithm: 15\nPrivateKey: ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=\n",
];
const P384: [&str; 2] = [
    include_str!("../src/zone/tests/keys/014.key"),
    include_str!("../src/zone/tests/keys/014.private"),
];
const RSA: [&str; 2] = [
    include_str!("../src/zone/tests/keys/008.key"),
    include_str!("../src/zone/tests/keys/008.private"),
];

/// A bare call: it signs octets.
type Bare = Box<dyn Fn(&[u8])>;

/// A value of a private key file.
fn value(private: &str, name: &str) -> Vec<u8> {
    let mut lines = private.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(known, _)| *known == name);
    let (_, text) = found.unwrap_or_else(|| panic!("no {name}"));
    BASE64_STANDARD.decode(text.trim()).expect("base64")
}

/// The public key of a key file.
fn public(key: &str) -> Vec<u8> {
    let digits: String = key
        .split_whitespace()
        .skip_while(|word| *word != "3")
        .skip(2)
        .collect();
    BASE64_STANDARD.decode(digits).expect("base64")
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, [key, private]: [&str; 2]) -> Bare {
    let random = SystemRandom::new();
    let point = [&[4][..], &public(key)].concat();
    let scalar = value(private, "PrivateKey");
    let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &scalar, &point, &random);
    let pair = pair.expect("a key");
    Box::new(move |octets| {
        let _ = black_box(pair.sign(&random, octets));
    })
}

fn rsa() -> Bare {
    let part = |name| value(RSA[1], name);
    let components = KeyPairComponents {
        public_key: PublicKeyComponents {
            n: part("Modulus"),
            e: part("PublicExponent"),
        },
        d: part("PrivateExponent"),
        p: part("Prime1"),
        q: part("Prime2"),
        dP: part("Exponent1"),
        dQ: part("Exponent2"),
        qInv: part("Coefficient"),
    };
    let pair = rsa::KeyPair::from_components(&components).expect("a key");
    let random = SystemRandom::new();
    Box::new(move |octets| {
        let mut signature = vec![0; pair.public().modulus_len()];
        let _ = black_box(pair.sign(&RSA_PKCS1_SHA256, &random, octets, &mut signature));
    })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> ExitCode {
    let ed25519 = Ed25519KeyPair::from_seed_and_public_key(
        &value(ED25519[1], "PrivateKey"),
        &public(ED25519[0]),
    );
    let ed25519 = ed25519.expect("a key");
    let rows: [(&str, [&str; 2], usize, Bare); 4] = [
        (
            "ECDSAP256SHA256",
            P256,
            SIGNATURES,
            ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, P256),
        ),
        (
            "ECDSAP384SHA384",
            P384,
            SIGNATURES / 10,
            ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, P384),
        ),
        (
            "ED25519",
            ED25519,
            SIGNATURES,
            Box::new(move |octets| {
                black_box(ed25519.sign(octets));
            }),
        ),
        ("RSASHA256", RSA, SIGNATURES / 20, rsa()),
    ];
    let zone: NameBuf = "example.org.".parse().expect("a name");
    let owner: NameBuf = "www.example.org.".parse().expect("a name");
    let validity = Validity {
        inception: 1_764_000_000,
        expiration: 1_765_000_000,
    };
    let mut within = true;
    println!("algorithm          bare µs   whole µs   ratio");
    for (name, [public, private], count, bare) in rows {
        let key = Key::read(public.as_bytes(), private.as_bytes()).expect("a key");
        let (mut form, mut scratch) = (CanonicalSet::default(), Vec::new());
        let mut whole = |turn: usize| {
            form.begin(owner.as_name(), (Type::A, Class::IN, 300));
            for last in [2, 1] {
                let address = [192, 0, turn as u8, last];
                let _ = form.add(|out| {
                    out.extend_from_slice(&address);
                    Ok::<_, ()>(())
                });
            }
            form.finish();
            let _ = black_box(key.rrsig(&form, zone.as_name(), validity, &mut scratch));
            scratch.len()
        };
        let octets = vec![7; whole(0)];
        let (mut bares, mut wholes) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let began = Instant::now();
            (0..count).for_each(|_| bare(black_box(&octets)));
            bares.push(began.elapsed().as_secs_f64() * 1e6 / count as f64);
            let began = Instant::now();
            (0..count).for_each(|turn| {
                whole(turn);
            });
            wholes.push(began.elapsed().as_secs_f64() * 1e6 / count as f64);
        }
        let (bare, whole) = (median(bares), median(wholes));
        let ratio = whole / bare;
        within &= ratio <= MOST;
        println!("{name:16} {bare:9.1} {whole:10.1} {ratio:7.3}");
    }
    if within {
        ExitCode::SUCCESS
    } else {
        println!("over {MOST}");
        ExitCode::FAILURE
    }
}
