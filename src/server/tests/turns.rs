//! The order in which a busy worker takes what came to it.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use chain::{Failure, Flow, Plugin, Query};
use wire::Response;

use super::{client, connect, eventually, framed, read_framed, serve};
use crate::testing::query;

/// Which worker took a query, and whether that was a datagram.
type Taken = (ThreadId, bool);

static TAKEN: Mutex<Vec<Taken>> = Mutex::new(Vec::new());
static HELD: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());
static RELEASED: AtomicBool = AtomicBool::new(false);

fn lock<T>(list: &'static Mutex<Vec<T>>) -> MutexGuard<'static, Vec<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes down who takes each query. One whose name begins with `b` blocks its worker until it is released.
pub(super) struct Orders;

impl Plugin for Orders {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        let worker = std::thread::current().id();
        if query.name().octets().get(1) == Some(&b'b') {
            lock(&HELD).push(worker);
            while !RELEASED.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(1));
            }
        } else {
            lock(&TAKEN).push((worker, query.transport().is_datagram()));
        }
        Ok(Flow::Answered)
    }
}

#[test]
fn datagrams_wait_for_a_part_of_the_connections_that_pipeline() {
    const CONNECTIONS: usize = 200;
    const PIPELINED: u16 = 64;
    let (_server, port) = serve(". {\nat 127.0.0.1\norders\n}");
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| connect(port)).collect();
    for connection in &mut connections {
        connection
            .write_all(&framed(1, "a.example.org."))
            .expect("sent");
        read_framed(connection).expect("a response");
    }
    let mut workers: Vec<ThreadId> = lock(&TAKEN).drain(..).map(|taken| taken.0).collect();
    workers.sort_by_key(|worker| format!("{worker:?}"));
    workers.dedup();
    // Each worker is held once, by a connection of its own.
    let mut holding = Vec::new();
    eventually("every worker to be held", || {
        let mut connection = connect(port);
        connection
            .write_all(&framed(1, "b.example.org."))
            .expect("sent");
        holding.push(connection);
        std::thread::sleep(Duration::from_millis(5));
        let held = lock(&HELD);
        workers.iter().all(|worker| held.contains(worker))
    });
    let flood: Vec<u8> = (0..PIPELINED)
        .flat_map(|id| framed(id, "a.example.org."))
        .collect();
    for connection in &mut connections {
        connection.write_all(&flood).expect("sent");
    }
    let clients: Vec<_> = (0..32).map(|_| client(port)).collect();
    for client in &clients {
        let octets = query(0x0100, "a.example.org.", 1, 0, &[]);
        client.send(&octets).expect("sent");
    }
    RELEASED.store(true, Ordering::Release);
    for connection in &mut connections {
        for id in 0..PIPELINED {
            assert_eq!(read_framed(connection).expect("a response").0, id);
        }
    }
    for client in &clients {
        client.recv(&mut [0; 512]).expect("a response");
    }
    let taken = lock(&TAKEN);
    for worker in workers {
        let of_worker = taken.iter().filter(|taken| taken.0 == worker);
        let order: Vec<bool> = of_worker.map(|taken| taken.1).collect();
        if let Some(first) = order.iter().position(|datagram| *datagram) {
            assert!(first <= 256, "{first} of {} messages before", order.len());
        }
    }
}
