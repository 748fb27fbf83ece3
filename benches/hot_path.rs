//! Answers by kind, for `benches/counts` to count under callgrind: `hot_path N` answers every kind N times, each within one call of
//! `counted`, after it was warmed, then does the parts of an answer, then asks a large zone for names all over it. Without
//! valgrind it prints nanoseconds, which are worth little on a shared machine. `hot_path N NAME…` does what is named only, and so do the signed kinds,
//! which are not counted.

#![allow(missing_docs, reason = "a program, not a library")]

mod kinds;

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use chain::Exchange;

/// Owners of the large zone; more names are asked than it has.
const OWNERS: u32 = 100_000;
/// Server blocks among which one is found.
const BLOCKS: u32 = 100;

fn main() {
    wire::fix_seed(0x9E37_79B9_7F4A_7C15);
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|w| w != "--bench")
        .collect();
    let count = words.iter().find_map(|word| word.parse().ok());
    let count = count.unwrap_or(1_000u32);
    let named: Vec<&str> = words
        .iter()
        .filter(|word| word.parse::<u32>().is_err())
        .map(String::as_str)
        .collect();
    let wanted = |name: &str| named.is_empty() || named.contains(&name);
    let dir = std::env::temp_dir().join(format!("nameplate-hot-path-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory for the data");
    kinds::write_data(&dir).expect("the data is written");
    let signed = kinds::SIGNED
        .iter()
        .filter(|kind| named.contains(&kind.name));
    let counted = kinds::KINDS.iter().filter(|kind| wanted(kind.name));
    for kind in counted.chain(signed) {
        let server = kind.server(&dir);
        kind.warm(&server);
        let mut exchange = kind.exchange();
        for _ in 0..3 {
            assert!(server.answer(&mut exchange), "{}: no answer", kind.name);
            kind.check(exchange.reply());
        }
        measure(kind.name, count, &mut || {
            black_box(server.answer(black_box(&mut exchange)));
        });
    }
    if wanted("parts") {
        parts(&dir, count);
    }
    if wanted("scattered") {
        scattered(&dir, count);
    }
    let _ = std::fs::remove_dir_all(&dir);
}

/// The parts of an answer that no kind is without, and finishing with an OPT record.
fn parts(dir: &Path, count: u32) {
    let mut corefile = String::new();
    for block in 0..BLOCKS {
        let _ = writeln!(corefile, "z{block}.example.org {{\n  whoami\n}}");
    }
    let server = kinds::load("parts", &corefile, dir);
    let mut exchange = kinds::received("name777.z77.example.org.", 1, true);
    assert!(server.answer(&mut exchange), "no answer");
    measure("parse-edns", count, &mut || {
        let _ = black_box(black_box(&mut exchange).parse());
    });
    measure("route", count, &mut || {
        black_box(server.route(black_box(&mut exchange)));
    });
    measure("finish-edns", count, &mut || {
        exchange.begin();
        server.finish(black_box(&mut exchange));
    });
}

/// Names in no order of a zone with [`OWNERS`] owners, those that are there and those that are not.
fn scattered(dir: &Path, count: u32) {
    let mut zone = String::from(
        "$ORIGIN example.org.\n$TTL 3600\n@ SOA ns1 hostmaster 1 7200 1800 1209600 300\n@ NS ns1\nns1 A 192.0.2.53\n",
    );
    for i in 0..OWNERS {
        let [_, b, c, d] = i.to_be_bytes();
        let _ = writeln!(zone, "name{i:06} A 10.{b}.{c}.{d}");
    }
    std::fs::write(dir.join("large"), zone).expect("the zone is written");
    let server = kinds::load("large", "example.org {\n  file {DIR}/large\n}\n", dir);
    for (name, from, rcode) in [("scattered-hit", 0, 0), ("scattered-nxdomain", OWNERS, 3)] {
        let mut exchange = kinds::received("name000000.example.org.", 1, false);
        ask(&mut exchange, from + 99_999);
        assert!(server.answer(&mut exchange), "no answer");
        assert_eq!(exchange.reply()[3] & 0xF, rcode, "{name}");
        let mut state = 1u32;
        measure(name, count, &mut || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ask(
                &mut exchange,
                from + ((u64::from(state) * u64::from(OWNERS)) >> 32) as u32,
            );
            black_box(server.answer(black_box(&mut exchange)));
        });
    }
}

/// Puts a number into the first label of the query.
fn ask(exchange: &mut Exchange, number: u32) {
    let mut rest = number;
    if let Some(digits) = exchange.message_mut().get_mut(17..23) {
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

/// Does `work` `count` times, and tells what each time took.
fn measure(name: &str, count: u32, work: &mut dyn FnMut()) {
    let start = Instant::now();
    counted(count, work);
    let each = start.elapsed().as_nanos() / u128::from(count);
    println!("{name} {each} ns");
}

/// What is counted: callgrind heeds one function only.
#[inline(never)]
fn counted(count: u32, work: &mut dyn FnMut()) {
    for _ in 0..count {
        work();
    }
}
