//! Answers by kind, for `benches/counts` to count under callgrind: `hot_path N` answers every kind N times, each within one call of
//! `measure`, after it was warmed. Without valgrind it prints nanoseconds, which are worth little on a shared machine.

#![allow(missing_docs, reason = "a program, not a library")]

mod kinds;

use std::hint::black_box;
use std::time::Instant;

use chain::Exchange;
use server::InProcess;

fn main() {
    wire::fix_seed(0x9E37_79B9_7F4A_7C15);
    let count = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(1_000u32);
    let dir = std::env::temp_dir().join(format!("nameplate-hot-path-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory for the data");
    kinds::write_data(&dir).expect("the data is written");
    for kind in &kinds::KINDS {
        let server = kind.server(&dir);
        let mut exchange = kind.exchange();
        for _ in 0..3 {
            assert!(server.answer(&mut exchange), "{}: no answer", kind.name);
            kind.check(exchange.reply());
        }
        let start = Instant::now();
        measure(&server, &mut exchange, count);
        let each = start.elapsed().as_nanos() / u128::from(count);
        println!("{} {each} ns", kind.name);
    }
    let _ = std::fs::remove_dir_all(&dir);
}

/// What is counted.
#[inline(never)]
fn measure(server: &InProcess, exchange: &mut Exchange, count: u32) {
    for _ in 0..count {
        black_box(server.answer(black_box(exchange)));
    }
}
