//! Transactions without sockets and without waiting: what happened when, and what is done about it.

use std::cell::{Cell, RefCell};
use std::io;

use super::*;
use crate::error::Reason;

const MS: u64 = 1_000_000;

/// Servers that are as a test says.
struct Fake {
    status: Vec<Cell<Status>>,
    tls: Vec<bool>,
    resend: Cell<Resend>,
    outstanding: Cell<usize>,
    suspected: RefCell<Vec<usize>>,
}

impl Fake {
    fn new(count: usize) -> Self {
        Self {
            status: vec![Cell::new(Status::Up); count],
            tls: vec![false; count],
            resend: Cell::new(Resend::Now),
            outstanding: Cell::new(1),
            suspected: RefCell::default(),
        }
    }
}

impl Servers for Fake {
    fn status(&self, server: usize) -> Status {
        self.status[server].get()
    }

    fn transport(&self, server: usize, asked: Transport) -> Transport {
        if self.tls[server] {
            Transport::Tls
        } else {
            asked
        }
    }

    fn overdue(&self, _: usize) -> u64 {
        300 * MS
    }

    fn may_resend(&self, _: usize, _: u64) -> Resend {
        self.resend.get()
    }

    fn outstanding(&self) -> usize {
        self.outstanding.get()
    }

    fn suspect(&self, server: usize) {
        self.suspected.borrow_mut().push(server);
    }

    fn all_down(&self, count: usize) -> Option<usize> {
        Some(count - 1)
    }
}

fn bounds(timeout: u64, attempts: u32) -> Bounds {
    Bounds {
        deadline: 5_000 * MS,
        timeout: timeout * MS,
        attempts,
    }
}

fn transaction(count: usize, bounds: Bounds) -> Transaction {
    Transaction::new(Order::new(0, count, 0), bounds, Transport::Udp, 0)
}

/// A step as a test writes it.
fn words(step: Step) -> String {
    let ms = |until: u64| until / MS;
    match step {
        Step::Send {
            server,
            transport,
            fresh,
            until,
        } => {
            let fresh = if fresh { " fresh" } else { "" };
            format!("send {server} {transport:?}{fresh}, {}", ms(until))
        }
        Step::Resend { until } => format!("resend, {}", ms(until)),
        Step::Wait { until } => format!("wait, {}", ms(until)),
        Step::Answer => "answer".to_owned(),
        Step::Fail => "fail".to_owned(),
    }
}

fn timer() -> Event {
    Event::Timer {
        error: Error::timeout("read"),
    }
}

fn refused(server: usize) -> Event {
    Event::Failed {
        server,
        transport: Transport::Udp,
        error: Error::io("read", &io::ErrorKind::ConnectionRefused.into()),
        reused: false,
    }
}

fn told(server: usize, transport: Transport, reply: Reply) -> Event {
    Event::Reply {
        server,
        transport,
        reply,
    }
}

/// Tells a transaction what happened at which millisecond, and compares what it says.
fn plays(
    name: &str,
    transaction: &mut Transaction,
    servers: &Fake,
    script: Vec<(u64, Event, &str)>,
) {
    for (at, event, expected) in script {
        let text = format!("{name}, {at} ms: {event:?}");
        let step = transaction.next(event, servers, at * MS);
        assert_eq!(words(step), expected, "{text}");
    }
}

#[test]
fn silence_costs_three_datagrams_and_late_replies_are_waited_for() {
    let servers = Fake::new(1);
    let mut one = transaction(1, bounds(2_000, 2));
    plays(
        "one server",
        &mut one,
        &servers,
        vec![
            (0, Event::Start, "send 0 Udp, 300"),
            (300, timer(), "resend, 800"),
            (800, timer(), "send 0 Udp, 2000"),
            // RFC 9520, 3.1: not more than twice again; the attempt is spent on waiting.
            (2_000, timer(), "wait, 4000"),
            (3_000, told(0, Transport::Udp, Reply::Wanted), "answer"),
            (4_000, timer(), "fail"),
        ],
    );
    assert_eq!(one.attempts(), 2);
    let last = one.last().expect("a failure");
    assert_eq!(
        (last.server, &last.error.reason, last.took),
        (0, &Reason::Timeout, 2_000)
    );
    assert_eq!(*servers.suspected.borrow(), [0, 0, 0]);
}

#[test]
fn a_second_server_is_asked_beside_a_silent_one() {
    let servers = Fake::new(2);
    let mut one = transaction(2, bounds(2_000, 4));
    plays(
        "two servers",
        &mut one,
        &servers,
        vec![
            (0, Event::Start, "send 0 Udp, 300"),
            (300, timer(), "resend, 800"),
            (800, timer(), "send 1 Udp, 2000"),
            // The second refuses: the first is asked a third time, and then waited for.
            (801, refused(1), "send 0 Udp, 1101"),
            (1_101, timer(), "wait, 1601"),
            (1_601, timer(), "send 1 Udp, 2801"),
        ],
    );
    let servers = Fake::new(2);
    let mut one = transaction(2, bounds(2_000, 1));
    plays(
        "one attempt is one attempt",
        &mut one,
        &servers,
        vec![
            (0, Event::Start, "send 0 Udp, 300"),
            (300, timer(), "resend, 800"),
            (800, timer(), "send 0 Udp, 2000"),
            (2_000, timer(), "fail"),
        ],
    );
}

#[test]
fn who_refuses_costs_no_time() {
    let servers = Fake::new(3);
    servers.outstanding.set(0);
    let mut one = transaction(3, bounds(2_000, 6));
    plays(
        "three refuse",
        &mut one,
        &servers,
        vec![
            (0, Event::Start, "send 0 Udp, 300"),
            (1, refused(0), "send 1 Udp, 301"),
            (2, refused(1), "send 2 Udp, 302"),
            (3, refused(2), "send 0 Udp, 303"),
            (4, refused(0), "send 1 Udp, 304"),
            (5, refused(1), "send 2 Udp, 305"),
            (6, refused(2), "fail"),
        ],
    );
    // Without a bound of attempts, datagrams are the bound.
    let mut one = transaction(1, bounds(2_000, 0));
    plays(
        "no bound",
        &mut one,
        &servers,
        vec![
            (0, Event::Start, "send 0 Udp, 300"),
            (1, refused(0), "send 0 Udp, 301"),
            (2, refused(0), "send 0 Udp, 302"),
            (3, refused(0), "fail"),
        ],
    );
}

#[test]
fn what_is_not_to_be_sent_again_is_waited_for() {
    for (resend, failing, script) in [
        (
            Resend::Never,
            false,
            vec![(300, "wait, 800"), (800, "send 0 Udp, 2000")],
        ),
        (
            Resend::Later,
            false,
            vec![(300, "wait, 300"), (800, "send 0 Udp, 2000")],
        ),
        (
            Resend::Now,
            true,
            vec![(800, "wait, 2000"), (2_000, "send 0 Udp, 2800")],
        ),
    ] {
        let servers = Fake::new(1);
        servers.resend.set(resend);
        if failing {
            servers.status[0].set(Status::Failing);
        }
        let mut one = transaction(1, bounds(2_000, 2));
        let until = if failing { 800 } else { 300 };
        let begun = format!("send 0 Udp, {until}");
        plays(
            "first",
            &mut one,
            &servers,
            vec![(0, Event::Start, begun.as_str())],
        );
        let script = script.into_iter().map(|(at, step)| (at, timer(), step));
        plays(
            &format!("{resend:?} {failing}"),
            &mut one,
            &servers,
            script.collect(),
        );
    }
}

#[test]
fn who_is_doubted_is_asked_last_and_who_is_down_not_at_all() {
    // (status of each, the first that is asked)
    let cases = [
        ([Status::Up, Status::Up, Status::Up], 0),
        ([Status::Doubted, Status::Up, Status::Up], 1),
        ([Status::Failing, Status::Down, Status::Up], 2),
        ([Status::Doubted, Status::Down, Status::Failing], 0),
        ([Status::Down, Status::Failing, Status::Down], 1),
        // All are down: anyone will do.
        ([Status::Down, Status::Down, Status::Down], 2),
    ];
    for (status, first) in cases {
        let servers = Fake::new(3);
        servers.outstanding.set(0);
        for (place, status) in servers.status.iter().zip(status) {
            place.set(status);
        }
        let mut one = transaction(3, bounds(500, 6));
        let step = one.next(Event::Start, &servers, 0);
        assert!(
            matches!(step, Step::Send { server, .. } if server == first),
            "{status:?}: {step:?}"
        );
        if status == [Status::Down; 3] {
            assert_eq!(one.next(refused(2), &servers, 1), Step::Fail, "once");
        }
    }
}

#[test]
fn streams_are_replaced_once_when_they_were_dead() {
    let servers = Fake::new(1);
    servers.outstanding.set(0);
    let dead = |reused| Event::Failed {
        server: 0,
        transport: Transport::Tcp,
        error: Error::closed(),
        reused,
    };
    let mut one = Transaction::new(Order::new(0, 1, 0), bounds(2_000, 2), Transport::Tcp, 0);
    plays(
        "a connection that was used before",
        &mut one,
        &servers,
        vec![
            (0, Event::Start, "send 0 Tcp, 2000"),
            (10, dead(true), "send 0 Tcp fresh, 2010"),
            (20, dead(true), "send 0 Tcp, 2020"),
            (30, dead(false), "fail"),
        ],
    );
}

#[test]
fn replies_that_do_not_answer_lead_elsewhere() {
    let servers = Fake::new(2);
    let udp = Transport::Udp;
    let mut one = transaction(2, bounds(2_000, 4));
    plays(
        "truncated, without EDNS",
        &mut one,
        &servers,
        vec![
            (0, Event::Start, "send 0 Udp, 300"),
            (1, told(0, udp, Reply::NoEdns), "send 0 Udp, 2001"),
            (2, told(0, udp, Reply::Truncated), "send 0 Tcp, 2002"),
            (3, told(0, Transport::Tcp, Reply::Wanted), "answer"),
        ],
    );
    let mut one = transaction(2, bounds(2_000, 4));
    plays(
        "failover",
        &mut one,
        &servers,
        vec![
            (0, Event::Start, "send 0 Udp, 300"),
            (1, told(0, udp, Reply::Unwanted), "send 1 Udp, 301"),
            (2, told(1, udp, Reply::Unwanted), "answer"),
        ],
    );
}

#[test]
fn the_deadline_holds_whatever_the_timeout() {
    let servers = Fake::new(1);
    let mut one = transaction(1, bounds(10_000, 0));
    plays(
        "ten seconds",
        &mut one,
        &servers,
        vec![
            (0, Event::Start, "send 0 Udp, 300"),
            (300, timer(), "resend, 800"),
            (800, timer(), "send 0 Udp, 5000"),
            (5_000, timer(), "fail"),
        ],
    );
}

#[test]
fn an_order_holds_each_server_once() {
    for (first, seed) in [(0, 0), (2, 0), (1, 7)] {
        let order = Order::new(first, 5, seed);
        let mut servers: Vec<_> = (0..5).map(|at| order.get(at)).collect();
        assert_eq!(servers[0], first);
        if seed == 0 {
            assert!(servers[1..].is_sorted(), "{servers:?}");
        }
        servers.sort_unstable();
        assert_eq!(servers, [0, 1, 2, 3, 4]);
    }
}
