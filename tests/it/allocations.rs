//! An answer from memory allocates nothing, shown row by row (design, section 4, rule 1).

#[path = "../../benches/kinds.rs"]
mod kinds;

#[test]
fn no_kind_of_answer_from_memory_allocates() {
    let dir = crate::server::temporary_directory("allocations");
    kinds::write_data(&dir).expect("the data is written");
    let one = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(one.count_total, 1, "allocations are counted");
    let mut guilty = Vec::new();
    for kind in &kinds::KINDS {
        let server = kind.server(&dir);
        let mut exchange = kind.exchange();
        // What is allocated for the first query of all (a table of the cache, a label of a metric) is not paid per query.
        for _ in 0..3 {
            assert!(server.answer(&mut exchange), "{}: no answer", kind.name);
            kind.check(exchange.reply());
        }
        let counted = allocation_counter::measure(|| {
            for _ in 0..1_000 {
                server.answer(&mut exchange);
            }
        });
        println!(
            "{:24} {} allocations in 1,000 answers",
            kind.name, counted.count_total
        );
        if counted.count_total != 0 {
            guilty.push(kind.name);
        }
    }
    assert!(guilty.is_empty(), "these allocate: {guilty:?}");
}
