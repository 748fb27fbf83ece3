//! Queries that leave together at the end of a batch.

use std::collections::{HashMap, HashSet};

use super::*;

/// Asks all at once, as a listener does whose batch they are.
async fn ask_in_batch(
    block: &Arc<Block>,
    queries: &[Vec<u8>],
    before_end: impl FnOnce(usize),
) -> Vec<Got> {
    BATCH.set(Some(Vec::new()));
    let asked: Vec<_> = queries
        .iter()
        .map(|query| {
            let (block, query) = (block.clone(), query.clone());
            tokio::task::spawn_local(async move { ask_by(&block, &query, Transport::Udp).await })
        })
        .collect();
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    let batch = BATCH.take().expect("a batch");
    before_end(batch.len());
    for flush in batch {
        flush.flush();
    }
    let mut out = Vec::new();
    for asked in asked {
        out.push(asked.await.expect("an answer"));
    }
    out
}

#[test]
fn a_batch_arrives_as_its_queries() {
    let (address, seen) = serve(bound(), |_, query| {
        // Answers by the first digit of the name.
        vec![reply(query, query[13] - b'0')]
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    // Names of one length, of several, and one that goes alone.
    let names: Vec<String> = (0..48)
        .map(|i| {
            format!(
                "{}{}.{}.example.org.",
                i % 10,
                i / 10,
                "x".repeat(1 + i % 5)
            )
        })
        .collect();
    let mut queries: Vec<_> = names.iter().map(|name| query(name, Type::A)).collect();
    // Wants AD (RFC 6840, 5.7), which must reach the upstream with this one alone.
    queries[7][3] |= 0x20;
    on_worker(async {
        for round in 0..3 {
            let answers = ask_in_batch(&block, &queries, |flushes| {
                assert_eq!(flushes, 1, "whoever joins it");
                assert_eq!(seen.count(), round * queries.len(), "nothing has left yet");
            })
            .await;
            for (i, got) in answers.iter().enumerate() {
                assert_eq!(got.mark(), Some((i % 10) as u8), "{}", names[i]);
                assert_eq!(got.header().id, 0x4242);
            }
        }
    });
    let log = seen.log.lock().expect("a log");
    assert_eq!(log.len(), 3 * queries.len());
    let mut found: HashMap<&[u8], usize> = HashMap::new();
    for (_, datagram) in log.iter() {
        *found.entry(&datagram[2..]).or_default() += 1;
    }
    let mut expected: HashMap<&[u8], usize> = HashMap::new();
    for query in &queries {
        *expected.entry(&query[2..]).or_default() += 3;
    }
    assert_eq!(found, expected, "what the clients sent, but for the ID");
    let ids: HashSet<_> = log.iter().map(|(_, datagram)| &datagram[..2]).collect();
    assert!(ids.len() > log.len() - 5, "{} IDs", ids.len());
}

#[test]
fn ports_and_ids_cannot_be_foreseen() {
    const QUERIES: usize = 20_000;
    const BATCH: usize = 40;
    let socket = bound();
    let address = socket.local_addr().expect("an address");
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let mut seen: Vec<(u16, u16)> = Vec::new();
        let mut outstanding = HashMap::new();
        while seen.len() < QUERIES {
            let (len, from) = socket.recv_from(&mut buffer).expect("a query");
            let id = u16::from_be_bytes([buffer[0], buffer[1]]);
            seen.push((from.port(), id));
            let other = outstanding.insert((from, id), buffer[..len].to_vec());
            assert!(other.is_none(), "an ID is used twice at once");
            // Nobody is answered before all of a batch have come.
            if outstanding.len() == BATCH {
                for ((from, _), query) in outstanding.drain() {
                    socket.send_to(&reply(&query, 1), from).expect("sent");
                }
            }
        }
        tell.send(seen).expect("sent");
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        // Who asks the same at once waits for the same reply.
        let queries: Vec<_> = (0..BATCH)
            .map(|i| query(&format!("n{i}.example.org."), Type::A))
            .collect();
        for _ in 0..QUERIES / BATCH {
            for got in ask_in_batch(&block, &queries, drop).await {
                assert_eq!(got.mark(), Some(1));
            }
        }
    });
    let seen = told.recv().expect("what was seen");
    let pairs: HashSet<_> = seen.iter().collect();
    let mut ports: HashMap<u16, usize> = HashMap::new();
    let mut halves = [[0f64; 256]; 2];
    let mut same = 0;
    for (at, (port, id)) in seen.iter().enumerate() {
        *ports.entry(*port).or_default() += 1;
        halves[0][usize::from(id >> 8)] += 1.0;
        halves[1][usize::from(id & 0xFF)] += 1.0;
        same += usize::from(at >= BATCH && seen[at - BATCH].0 == *port);
    }
    let expected = QUERIES as f64 / 256.0;
    let chi = halves.map(|counts| {
        let squares = counts.map(|count| (count - expected).powi(2) / expected);
        squares.iter().sum::<f64>()
    });
    let busiest = ports.values().max().copied().unwrap_or(0);
    eprintln!(
        "FIGURE {QUERIES} upstream queries: {} distinct pairs of port and ID, {} ports, at most {busiest} queries from one; \
         chi-square of the ID's octets (255 degrees of freedom) {:.0} and {:.0}; {:.1} % have the port of the {BATCH}th before",
        pairs.len(),
        ports.len(),
        chi[0],
        chi[1],
        same as f64 * 100.0 / QUERIES as f64
    );
    assert!(pairs.len() >= 16_000 && pairs.len() * 100 >= QUERIES * 99);
    // 255 degrees of freedom: more than 400 once in some hundred million runs.
    assert!(chi.iter().all(|&chi| chi < 400.0), "{chi:?}");
    // A socket serves 512 queries at most; which of 16 is drawn by lot.
    assert!(busiest <= 512 && ports.len() >= 40, "{ports:?}");
    assert!(same < QUERIES / 4, "{same}");
}

#[test]
fn a_batch_to_nobody_fails_over_at_once() {
    let closed = bound().local_addr().expect("an address");
    let (good, _) = honest(3);
    let text = format!(". {{\n forward . {closed} {good} {{\n policy sequential\n }}\n}}");
    let block = build(&text).expect("a block");
    let queries: Vec<_> = (0..20)
        .map(|i| query(&format!("{i}.example.org."), Type::A))
        .collect();
    on_worker(async {
        for _ in 0..3 {
            let began = Instant::now();
            for got in ask_in_batch(&block, &queries, drop).await {
                assert_eq!(got.mark(), Some(3));
            }
            assert!(began.elapsed() < Duration::from_millis(500));
        }
    });
}

/// A listener that keeps what comes back, and allocates nothing for it.
#[expect(clippy::vec_box, reason = "exchanges move by their boxes")]
struct Keeping(RefCell<Vec<Box<Exchange>>>);

impl Completes for Keeping {
    fn complete(self: Rc<Self>, _: u32, mut exchange: Box<Exchange>, flow: Result<Flow, Failure>) {
        assert_eq!(flow.ok(), Some(Flow::Answered));
        exchange.take_suspended();
        self.0.borrow_mut().push(exchange);
    }

    fn wait(self: Rc<Self>, _: u32, _: Box<Exchange>, _: Rest) {
        panic!("a query that is answered needs no task");
    }

    fn abandon(&self, _: u32) {}
}

#[test]
fn a_query_that_is_answered_allocates_nothing() {
    const QUERIES: usize = 1_000;
    const BATCH: usize = 4;
    let (address, _) = honest(1);
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    let listener = Rc::new(Keeping(RefCell::new(Vec::with_capacity(BATCH))));
    for i in 0..BATCH {
        let message = query(&format!("n{i}.example.org."), Type::A);
        let mut exchange = Exchange::datagram();
        exchange.receive_buffer(message.len())[..message.len()].copy_from_slice(&message);
        exchange.set_received(message.len());
        listener.0.borrow_mut().push(exchange);
    }
    let rounds = async |count: usize| {
        let mut exchanges = Vec::with_capacity(BATCH);
        for _ in 0..count {
            std::mem::swap(&mut exchanges, &mut *listener.0.borrow_mut());
            for mut exchange in exchanges.drain(..) {
                exchange.parse().expect("a query");
                let Outcome::Suspended(at) = exchange.walk(&block) else {
                    panic!("the query is forwarded");
                };
                let completion = Completion::new(listener.clone(), 0);
                chain::launch(&mut Some(exchange), (&block, at), completion);
            }
            while listener.0.borrow().len() < BATCH {
                tokio::task::yield_now().await;
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        // So that all sockets are open and all tables have their size.
        let began = Instant::now();
        while upstream::open() < 16 && began.elapsed() < Duration::from_secs(5) {
            rounds(10).await;
        }
        rounds(100).await;
    });
    let counted = allocation_counter::measure(|| {
        local.block_on(&runtime, rounds(QUERIES / BATCH));
    });
    eprintln!(
        "FIGURE {} allocations in {QUERIES} forwarded queries",
        counted.count_total
    );
    // Slots of the wheel that are used for the first time, and sockets whose time is up, are not paid per query.
    assert!(counted.count_total < 200, "{}", counted.count_total);
}
