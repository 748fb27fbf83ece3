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
    for kind in kinds::KINDS.iter().chain(&kinds::SIGNED) {
        let server = kind.server(&dir);
        kind.warm(&server);
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

/// Cookies are learnt and checked, and responses counted and dropped, without allocation.
#[test]
fn cookies_and_limits_allocate_nothing() {
    let corefile = ".:53 {\n  cookie\n  rrl {\n    responses-per-second 500\n    slip-ratio 2\n  }\n  whoami\n}\n";
    let server = kinds::load("cookies", corefile, std::path::Path::new("."));
    let with = |cookie: &[u8]| {
        let mut exchange = kinds::received("www.example.net.", 1, true);
        let mut query = exchange.message().to_vec();
        let end = query.len();
        query[end - 1] = cookie.len() as u8 + 4;
        query.extend_from_slice(&[0, 10, 0, cookie.len() as u8]);
        query.extend_from_slice(cookie);
        exchange.receive_buffer(query.len())[..query.len()].copy_from_slice(&query);
        exchange.set_received(query.len());
        exchange
    };
    let mut learns = with(b"12345678");
    assert!(server.answer(&mut learns));
    let reply = learns.reply();
    let told = reply[reply.len() - 24..].to_vec();
    let queries = [
        learns,
        with(&told),
        with(&[7; 24]),
        kinds::received("www.example.net.", 1, false),
    ];
    let mut answered = Vec::new();
    for mut exchange in queries {
        server.answer(&mut exchange);
        let mut count = 0;
        let counted = allocation_counter::measure(|| {
            for _ in 0..1_000 {
                count += usize::from(server.answer(&mut exchange));
            }
        });
        assert_eq!(counted.count_total, 0);
        answered.push(count);
    }
    assert_eq!(answered[1], 1_000, "a good cookie is not limited");
    let limited = |count: usize| (500..1_000).contains(&count);
    assert!(
        limited(answered[0]) && limited(answered[2]) && limited(answered[3]),
        "{answered:?}"
    );
}
