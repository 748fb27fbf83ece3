//! Queries that leave together at the end of a batch.

use std::collections::{HashMap, HashSet};

use super::super::volley::{self, Shot};
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
    for departure in batch {
        departure.depart();
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
        .map(|i| format!("{}.{}.example.org.", i % 10, "x".repeat(1 + i % 5)))
        .collect();
    let mut queries: Vec<_> = names.iter().map(|name| query(name, Type::A)).collect();
    // Wants AD (RFC 6840, 5.7), which must reach the upstream with this one alone.
    queries[7][3] |= 0x20;
    on_worker(async {
        for round in 0..3 {
            let answers = ask_in_batch(&block, &queries, |departures| {
                assert_eq!(departures, 1, "whoever joins it");
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

#[test]
fn lots_share_a_socket_and_a_length() {
    let shot = |lane, len| Shot {
        lane,
        len,
        seat: 0,
        id: 0,
        flags: 0,
    };
    // (socket and length of each, the lots that leave)
    type Pairs = &'static [(usize, u16)];
    let cases: [(Pairs, &[Pairs]); 6] = [
        (&[], &[]),
        (&[(1, 40)], &[&[(1, 40)]]),
        (&[(2, 40), (1, 40)], &[&[(1, 40)], &[(2, 40)]]),
        // The last of a lot may be shorter.
        (
            &[(1, 30), (1, 40), (1, 20), (1, 40)],
            &[&[(1, 40), (1, 40), (1, 30)], &[(1, 20)]],
        ),
        (&[(1, 30), (2, 40)], &[&[(1, 30)], &[(2, 40)]]),
        // What may not fit a packet goes alone.
        (
            &[(1, 1_300), (1, 1_300), (1, 40)],
            &[&[(1, 1_300)], &[(1, 1_300)], &[(1, 40)]],
        ),
    ];
    for (shots, expected) in cases {
        let mut shots: Vec<_> = shots.iter().map(|&(lane, len)| shot(lane, len)).collect();
        let mut lots = Vec::new();
        volley::each(&mut shots, |lot| {
            lots.push(lot.iter().map(|s| (s.lane, s.len)).collect::<Vec<_>>());
        });
        assert_eq!(lots, expected, "{shots:?}");
    }
    let mut many = vec![shot(1, 40); 130];
    let mut lots = Vec::new();
    volley::each(&mut many, |lot| lots.push(lot.len()));
    assert_eq!(lots, [64, 64, 2]);
}
