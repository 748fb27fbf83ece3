//! Names that somebody chose so that they collide must not.

use std::collections::HashSet;

use super::rounds;
use crate::hash::Keys;
use crate::{Name, NameBuf, Qname};

/// How many names a family has at most; tables are judged by as many slots.
const FAMILY: usize = 1 << 14;

/// The name of these labels.
fn named(labels: &[Vec<u8>]) -> NameBuf {
    labels.iter().rev().fold(NameBuf::root(), |name, label| {
        NameBuf::prepend(label, name.as_name()).expect("a name")
    })
}

/// A label whose words behind the first, which holds its length, are `words`.
fn label(words: &[u64]) -> Vec<u8> {
    let mut out = b"prefix-".to_vec();
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out
}

/// One label for every seven words.
fn of_words(words: &[u64]) -> NameBuf {
    let labels: Vec<_> = words.chunks(7).map(label).collect();
    named(&labels)
}

/// The word that made the multiplier of the mix before this one 1, with and without the bit that it shifted out.
const ONCE_ONE: [u64; 2] = [
    0xD6E8_FEB8_6659_FD93 >> 1,
    0xD6E8_FEB8_6659_FD93 >> 1 | 1 << 63,
];

/// The mix before this one: its multiplier was a function of the word.
fn old_mix(state: u64, value: u64) -> u64 {
    let wide = (state ^ value ^ 0x9E37_79B9_7F4A_7C15) as u128
        * (0xD6E8_FEB8_6659_FD93 ^ (value << 1) as u128 | 1);
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// All choices of one of two words in each of 14 places.
fn cube(pair: [u64; 2]) -> Vec<NameBuf> {
    (0..FAMILY)
        .map(|choice| {
            let words: Vec<_> = (0..14).map(|at| pair[choice >> at & 1]).collect();
            of_words(&words)
        })
        .collect()
}

/// The first permutations of `items`.
fn permutations(items: &mut Vec<Vec<u8>>, at: usize, out: &mut Vec<NameBuf>) {
    if out.len() == FAMILY {
        return;
    }
    if at == items.len() {
        out.push(named(items));
        return;
    }
    for other in at..items.len() {
        items.swap(at, other);
        permutations(items, at + 1, out);
        items.swap(at, other);
    }
}

/// Families of names with a structure that a weak mix shows.
fn families() -> Vec<(String, Vec<NameBuf>)> {
    let mut out = vec![("words that multiplied by 1".to_owned(), cube(ONCE_ONE))];
    let word = u64::from_le_bytes(*b"01234567");
    for bit in [0, 1, 7, 8, 31, 32, 55, 56, 62, 63] {
        let pair = [word, word ^ 1 << bit];
        out.push((format!("words that differ in bit {bit}"), cube(pair)));
    }
    out.push(("words of zeros and of ones".to_owned(), cube([0, u64::MAX])));
    let lengths = (1..64).flat_map(|first| (1..64).map(move |second| (first, second)));
    for octet in [0, 0xFF, b'a'] {
        let names = lengths
            .clone()
            .map(|(first, second)| named(&[vec![octet; first], vec![octet; second]]));
        out.push((format!("lengths of octet {octet}"), names.collect()));
    }
    let mut labels: Vec<Vec<u8>> = (0..8).map(|i| vec![b'a' + i; 7]).collect();
    let mut names = Vec::new();
    permutations(&mut labels, 0, &mut names);
    out.push(("labels in another order".to_owned(), names));
    let mut pieces: Vec<Vec<u8>> = (0..8).map(|i| vec![b'a' + i; 8]).collect();
    pieces.truncate(7);
    let mut orders = Vec::new();
    permutations(&mut pieces, 0, &mut orders);
    let joined = orders.iter().map(|name| {
        let words: Vec<_> = name
            .as_name()
            .labels()
            .map(|label| u64::from_le_bytes(label.try_into().expect("eight octets")))
            .collect();
        of_words(&words)
    });
    out.push(("words in another order".to_owned(), joined.collect()));
    let count = 0..FAMILY as u64;
    let numbered = |text: &dyn Fn(u64) -> String| -> Vec<NameBuf> {
        count
            .clone()
            .map(|n| text(n).parse().expect("a name"))
            .collect()
    };
    out.push(("numbers".to_owned(), numbered(&|n| format!("{n}."))));
    out.push((
        "numbered hosts".to_owned(),
        numbered(&|n| format!("host{n:05}.example.org.")),
    ));
    out.push((
        "numbered parents".to_owned(),
        numbered(&|n| format!("www.{n:x}.example.")),
    ));
    for shift in [0, 8, 24, 40, 49] {
        // Octets from 0x80 on have no case.
        let names = count
            .clone()
            .map(|n| of_words(&[0x8080_8080_8080_8080 ^ spread(n) << shift]));
        out.push((
            format!("a word that counts at bit {shift}"),
            names.collect(),
        ));
    }
    out
}

/// Fourteen bits as seven in each of two octets.
fn spread(n: u64) -> u64 {
    n & 0x7F | (n & 0x3F80) << 1
}

/// The most names that share one of 2^14 places.
fn fullest(places: impl Iterator<Item = u64>) -> usize {
    let mut counts = vec![0; FAMILY];
    for place in places {
        counts[place as usize] += 1;
    }
    counts.into_iter().max().unwrap_or(0)
}

#[test]
fn the_attack_met_the_old_mix() {
    let hashes: HashSet<_> = cube(ONCE_ONE)
        .iter()
        .map(|name| {
            // The labels from the root, in words.
            let labels: Vec<_> = name.as_name().labels().collect();
            labels.iter().rev().fold(4711, |state, label| {
                let octets = [&[label.len() as u8][..], label].concat();
                octets.chunks(8).fold(state, |state, chunk| {
                    old_mix(state, u64::from_le_bytes(chunk.try_into().expect("words")))
                })
            })
        })
        .collect();
    assert!(hashes.len() <= 4, "16,384 names, {} hashes", hashes.len());
}

#[test]
fn nobody_can_choose_names_that_collide() {
    let families = families();
    let seeds = rounds(5) as u64;
    for seed in 0..seeds {
        // Keys of no structure; the same in every run, so that a failure can be repeated.
        let keys = Keys::new(Keys::PUBLIC.mix(seed, 0x0123_4567_89AB_CDEF));
        for (what, names) in &families {
            let hashes: HashSet<_> = names.iter().map(|name| keys.name(name.as_name())).collect();
            assert_eq!(hashes.len(), names.len(), "{what}, seed {seed}");
            // By chance 16,384 names in as many places put eight or nine into one; a table is a list when hundreds meet.
            let low = fullest(hashes.iter().map(|hash| hash % FAMILY as u64));
            let high = fullest(hashes.iter().map(|hash| hash >> 50));
            let middle = fullest(hashes.iter().map(|hash| hash >> 32 & (FAMILY as u64 - 1)));
            assert!(
                low.max(high).max(middle) <= 13,
                "{what}, seed {seed}: {low}, {high} and {middle} in one place"
            );
        }
    }
}

#[test]
fn a_qname_has_the_hash_of_its_name() {
    for (_, names) in families() {
        for name in names.iter().step_by(97) {
            let lower = name.to_lower();
            let qname = Qname::from(lower.as_name());
            let mut suffix = Some(lower.as_name());
            for skip in 0..=qname.label_count() {
                let name = suffix.unwrap_or(Name::ROOT);
                assert_eq!(qname.hash(skip), crate::name_hash(name), "{name}");
                suffix = name.parent();
            }
        }
    }
}
