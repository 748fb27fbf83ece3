//! Chains of a cache above an upstream that answers by script; time is what the exchange says.

mod identities;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chain::{
    Block, Exchange, ExtendedError, Failure, Flow, Identity, Outcome, Plugin, Query, Resolving,
    resume,
};
use host::clock::{self, SECOND};
use wire::{Class, Flags, Header, Message, NameBuf, Rcode, Response, Section, Type};

use super::entry::{Entry, Facts};
use super::setup::tests::options;
use super::table::{OCTETS_PER_ENTRY, Table};
use super::{Cache, classify::Kind};
use crate::trial;

/// What the upstream says.
type Script = dyn Fn(&Query<'_>, &mut Response<'_>) -> Result<Flow, Failure> + Send + Sync;

/// An upstream that answers by script, after a pause if there is one.
struct Upstream {
    script: Box<Script>,
    pause: Option<Duration>,
    asked: AtomicUsize,
}

impl Plugin for Upstream {
    fn name(&self) -> &'static str {
        "upstream"
    }
    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.pause {
            Some(_) => Ok(Flow::Suspend),
            None => (self.script)(query, response),
        }
    }
    fn resolve(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolving {
        Box::pin(async move {
            tokio::time::sleep(self.pause.unwrap_or_default()).await;
            let (query, mut response) = exchange.suspended_views().unwrap();
            let flow = (self.script)(&query, &mut response);
            (exchange, flow)
        })
    }
}

/// A cache above an upstream, and a clock.
struct Lab {
    block: Arc<Block>,
    upstream: Arc<Upstream>,
    /// Seconds that have passed.
    passed: std::cell::Cell<u64>,
}

fn name(text: &str) -> NameBuf {
    text.parse().unwrap()
}

impl Lab {
    fn new(
        directive: &str,
        script: impl Fn(&Query<'_>, &mut Response<'_>) -> Result<Flow, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self::slow(directive, None, script)
    }

    fn slow(
        directive: &str,
        pause: Option<Duration>,
        script: impl Fn(&Query<'_>, &mut Response<'_>) -> Result<Flow, Failure> + Send + Sync + 'static,
    ) -> Self {
        let (options, report) = options(directive);
        assert!(!report.has_errors(), "{report:?}");
        let cache = Arc::new(Cache::new(
            options.unwrap(),
            vec![NameBuf::root()],
            ".".into(),
        ));
        let upstream = Arc::new(Upstream {
            script: Box::new(script),
            pause,
            asked: AtomicUsize::new(0),
        });
        Self {
            block: trial::chain([cache as Arc<dyn Plugin>, upstream.clone()]),
            upstream,
            passed: std::cell::Cell::new(0),
        }
    }

    fn asked(&self) -> usize {
        self.upstream.asked.load(Ordering::Relaxed)
    }

    fn exchange(&self, qname: &str, qtype: Type, flags: u16, dnssec_ok: bool) -> Box<Exchange> {
        let mut exchange = Exchange::datagram();
        let header = Header {
            id: 4_711,
            flags: Flags(flags),
            counts: [1, 0, 0, u16::from(dnssec_ok)],
        };
        let mut octets = header.to_octets().to_vec();
        octets.extend_from_slice(name(qname).as_name().octets());
        octets.extend_from_slice(&qtype.0.to_be_bytes());
        octets.extend_from_slice(&[0, 1]);
        if dnssec_ok {
            octets.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
        }
        exchange.receive_buffer(octets.len())[..octets.len()].copy_from_slice(&octets);
        exchange.set_received(octets.len());
        exchange.parse().unwrap();
        exchange.context.received = clock::now() + self.passed.get() * SECOND;
        exchange
    }

    /// Asks, and walks to the end.
    async fn run(&self, mut exchange: Box<Exchange>) -> Box<Exchange> {
        let mut exchange = match exchange.walk(&self.block) {
            Outcome::Suspended(at) => resume(exchange, self.block.clone(), at).await.0,
            _ => exchange,
        };
        exchange.response().seal();
        exchange
    }

    async fn ask_with(
        &self,
        qname: &str,
        qtype: Type,
        flags: u16,
        dnssec_ok: bool,
    ) -> Box<Exchange> {
        self.run(self.exchange(qname, qtype, flags, dnssec_ok))
            .await
    }

    async fn ask(&self, qname: &str) -> Box<Exchange> {
        self.ask_with(qname, Type::A, Flags::RD, false).await
    }

    fn pass(&self, seconds: u64) {
        self.passed.set(self.passed.get() + seconds);
    }
}

/// Runs a test where local tasks can run, on a clock that tokio winds forward.
fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Lets local tasks run.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

fn a(query: &Query<'_>, response: &mut Response<'_>, ttl: u32) -> Result<Flow, Failure> {
    let fixed = (Type::A, Class::IN, ttl);
    response
        .push(Section::Answer, query.name(), fixed, &[192, 0, 2, 1])
        .unwrap();
    Ok(Flow::Answered)
}

fn soa(response: &mut Response<'_>, ttl: u32, minimum: u32) {
    let mut rdata = vec![0, 0];
    for field in [1, 2, 3, 4, minimum] {
        rdata.extend_from_slice(&field.to_be_bytes());
    }
    let fixed = (Type::SOA, Class::IN, ttl);
    response
        .push(
            Section::Authority,
            name("example.org.").as_name(),
            fixed,
            &rdata,
        )
        .unwrap();
}

fn cname(response: &mut Response<'_>, owner: &str, target: &str) {
    let (owner, target) = (name(owner), name(target));
    let fixed = (Type::CNAME, Class::IN, 300);
    response
        .push_named(
            Section::Answer,
            owner.as_name(),
            fixed,
            (&[], target.as_name()),
        )
        .unwrap();
}

fn ttls(exchange: &Exchange) -> Vec<u32> {
    let message = Message::new(exchange.reply()).unwrap();
    message
        .records()
        .map(|record| record.unwrap().ttl)
        .collect()
}

fn flags(exchange: &Exchange) -> Flags {
    Message::new(exchange.reply()).unwrap().flags()
}

#[test]
fn a_hit_is_the_response_aged() {
    local(async {
        let lab = Lab::new("cache", |query, response| {
            response.set_flag(Flags::RA, true);
            cname(response, "www.example.org.", "web.example.org.");
            let fixed = (Type::A, Class::IN, 600);
            let owner = name("web.example.org.");
            response
                .push(Section::Answer, owner.as_name(), fixed, &[192, 0, 2, 1])
                .unwrap();
            response
                .push(
                    Section::Additional,
                    query.name(),
                    (Type::TXT, Class::IN, 400),
                    b"\x01x",
                )
                .unwrap();
            Ok(Flow::Answered)
        });
        let miss = lab.ask("www.example.org.").await;
        // The miss already has the one TTL; AA is the upstream's.
        assert_eq!(ttls(&miss), [300, 300, 300]);
        assert!(!flags(&miss).has(Flags::AA));
        lab.pass(7);
        let hit = lab.ask("wWw.eXample.org.").await;
        assert_eq!(lab.asked(), 1);
        assert_eq!(ttls(&hit), [293, 293, 293]);
        assert!(!flags(&hit).has(Flags::AA) && flags(&hit).has(Flags::RA | Flags::RD));
        let message = Message::new(hit.reply()).unwrap();
        assert_eq!(message.header().id, 4_711);
        assert_eq!(message.header().counts, [1, 2, 0, 1]);
        // The question, and the owner that points to it, are in the client's case.
        let owner = message.records().next().unwrap().unwrap().owner().unwrap();
        assert_eq!(owner.as_name().octets(), b"\x03wWw\x07eXample\x03org\0");
        let second = message.records().nth(1).unwrap().unwrap();
        assert_eq!(second.owner().unwrap(), name("web.example.org."));
        lab.pass(293);
        lab.ask("www.example.org.").await;
        assert_eq!(lab.asked(), 2, "expired");
    });
}

#[test]
fn what_is_kept() {
    type Case = (&'static str, bool, Type, fn(&mut Response<'_>));
    let cases: &[Case] = &[
        ("answer", true, Type::A, |r| at(r, "alias.example.org.")),
        ("truncated", false, Type::A, |r| {
            at(r, "alias.example.org.");
            r.set_flag(Flags::TC, true);
        }),
        ("NXDOMAIN with SOA", true, Type::A, |r| {
            r.set_rcode(Rcode::NXDOMAIN);
            soa(r, 300, 300);
        }),
        ("NXDOMAIN without SOA", false, Type::A, |r| {
            r.set_rcode(Rcode::NXDOMAIN)
        }),
        ("NODATA", true, Type::A, |r| soa(r, 300, 300)),
        ("SERVFAIL", true, Type::A, |r| r.set_rcode(Rcode::SERVFAIL)),
        ("NOTIMP", true, Type::A, |r| r.set_rcode(Rcode::NOTIMP)),
        ("REFUSED", false, Type::A, |r| r.set_rcode(Rcode::REFUSED)),
        ("NOERROR and nothing", true, Type::A, |_| {}),
        ("dangling CNAME", false, Type::A, |r| {
            cname(r, "alias.example.org.", "one.example.net.");
            cname(r, "one.example.net.", "two.example.net.");
        }),
        ("dangling CNAME with SOA", true, Type::A, |r| {
            cname(r, "alias.example.org.", "one.example.net.");
            soa(r, 300, 300);
        }),
        ("CNAME to an answer", true, Type::A, |r| {
            cname(r, "alias.example.org.", "one.example.net.");
            at(r, "one.example.net.");
        }),
        ("CNAME to another type", false, Type::MX, |r| {
            cname(r, "alias.example.org.", "one.example.net.");
            at(r, "one.example.net.");
        }),
        ("CNAME asked for", true, Type::CNAME, |r| {
            cname(r, "alias.example.org.", "one.example.net.");
        }),
        ("CNAME to ANY", true, Type::ANY, |r| {
            cname(r, "alias.example.org.", "one.example.net.");
        }),
        ("two CNAMEs at one owner", false, Type::A, |r| {
            cname(r, "alias.example.org.", "one.example.net.");
            cname(r, "alias.example.org.", "two.example.net.");
            at(r, "one.example.net.");
        }),
        ("one CNAME twice", true, Type::A, |r| {
            cname(r, "alias.example.org.", "one.example.net.");
            cname(r, "alias.example.org.", "one.example.net.");
            at(r, "one.example.net.");
        }),
        ("CNAME loop", false, Type::A, |r| {
            cname(r, "alias.example.org.", "one.example.net.");
            cname(r, "one.example.net.", "alias.example.org.");
            at(r, "alias.example.org.");
        }),
        ("an alias to nothing", true, Type::A, |r| {
            r.set_rcode(Rcode::NXDOMAIN);
            cname(r, "alias.example.org.", "one.example.net.");
            cname(r, "one.example.net.", "gone.example.net.");
            soa(r, 300, 300);
        }),
        ("another name's alias to nothing", false, Type::A, |r| {
            r.set_rcode(Rcode::NXDOMAIN);
            cname(r, "one.example.net.", "gone.example.net.");
            soa(r, 300, 300);
        }),
        ("NXDOMAIN with an answer", false, Type::A, |r| {
            r.set_rcode(Rcode::NXDOMAIN);
            cname(r, "alias.example.org.", "one.example.net.");
            at(r, "one.example.net.");
            soa(r, 300, 300);
        }),
        ("a record of another name", false, Type::A, |r| {
            at(r, "victim.example.net.")
        }),
    ];
    local(async {
        for &(what, kept, qtype, write) in cases {
            let lab = Lab::new("cache", move |_, response| {
                write(response);
                Ok(Flow::Answered)
            });
            lab.ask_with("alias.example.org.", qtype, 0, false).await;
            lab.ask_with("alias.example.org.", qtype, 0, false).await;
            assert_eq!(lab.asked() == 1, kept, "{what}");
        }
        // A failure that the server wrote is nobody's answer.
        let lab = Lab::new("cache", |_, _| Err(Failure::servfail("broken")));
        lab.ask("example.org.").await;
        lab.ask("example.org.").await;
        assert_eq!(lab.asked(), 2);
        let lab = Lab::new("cache {\ndisable success off.example.org\n}", |q, r| {
            a(q, r, 300)
        });
        for qname in [
            "www.off.example.org.",
            "www.off.example.org.",
            "example.org.",
            "example.org.",
        ] {
            lab.ask(qname).await;
        }
        assert_eq!(lab.asked(), 3);
    });
}

fn at(response: &mut Response<'_>, owner: &str) {
    let owner = name(owner);
    let fixed = (Type::A, Class::IN, 300);
    response
        .push(Section::Answer, owner.as_name(), fixed, &[192, 0, 2, 1])
        .unwrap();
}

#[test]
fn ttls_are_bounded() {
    // (directive, TTL of the record or of the SOA, MINIMUM if negative, TTL of the response)
    let cases: &[(&str, u32, Option<u32>, u32)] = &[
        ("cache", 300, None, 300),
        ("cache", 0, None, 5),
        ("cache", 604_800, None, 3_600),
        ("cache", 0x8000_0000, None, 5),
        ("cache 60", 300, None, 60),
        ("cache {\nsuccess 10 1800 600\n}", 300, None, 600),
        ("cache {\nsuccess 10 20 600\n}", 300, None, 20),
        ("cache", 3_600, Some(3_600), 1_800),
        ("cache", 3_600, Some(30), 30),
        ("cache", 30, Some(3_600), 30),
        ("cache", 30, Some(0), 5),
        ("cache {\ndenial 10 15\n}", 30, Some(30), 15),
    ];
    local(async {
        for &(directive, ttl, minimum, expected) in cases {
            let lab = Lab::new(directive, move |query, response| match minimum {
                None => a(query, response, ttl),
                Some(minimum) => {
                    response.set_rcode(Rcode::NXDOMAIN);
                    soa(response, ttl, minimum);
                    Ok(Flow::Answered)
                }
            });
            let got = lab.ask("example.org.").await;
            assert_eq!(ttls(&got), [expected], "{directive} {ttl} {minimum:?}");
            let got = lab.ask("example.org.").await;
            assert_eq!(ttls(&got), [expected], "{directive} {ttl} {minimum:?}");
            assert_eq!(lab.asked(), 1);
        }
        let lab = Lab::new("cache {\nkeepttl\n}", |query, response| {
            a(query, response, 300)
        });
        lab.ask("example.org.").await;
        lab.pass(100);
        assert_eq!(ttls(&*lab.ask("example.org.").await), [300]);
    });
}

#[test]
fn questions_are_kept_apart() {
    local(async {
        let lab = Lab::new("cache", |query, response| {
            // The upstream is asked for AD whoever asks, and says so.
            response.set_flag(Flags::AD, query.flags().has(Flags::AD));
            if query.qtype() == Type::A {
                return a(query, response, 300);
            }
            let fixed = (query.qtype(), query.qclass(), 300);
            response
                .push(Section::Answer, query.name(), fixed, &[0; 16])
                .unwrap();
            Ok(Flow::Answered)
        });
        let mut asked = 0;
        for (qtype, flags, dnssec_ok) in [
            (Type::A, 0, false),
            (Type::AAAA, 0, false),
            (Type::A, Flags::CD, false),
            (Type::A, 0, true),
            (Type::A, Flags::CD, true),
        ] {
            for _ in 0..2 {
                lab.ask_with("example.org.", qtype, flags, dnssec_ok).await;
            }
            asked += 1;
            assert_eq!(lab.asked(), asked, "{qtype} {flags:x} {dnssec_ok}");
        }
        // AD is for those who ask for it or for DNSSEC, and what was kept for the others has it still.
        let plain = lab.ask_with("example.org.", Type::A, 0, false).await;
        let wants = lab
            .ask_with("example.org.", Type::A, Flags::AD, false)
            .await;
        let signed = lab.ask_with("example.org.", Type::A, 0, true).await;
        assert_eq!(lab.asked(), asked);
        assert!(!flags(&plain).has(Flags::AD));
        assert!(flags(&wants).has(Flags::AD) && flags(&signed).has(Flags::AD));
        let checking = lab
            .ask_with("example.org.", Type::A, Flags::CD, false)
            .await;
        assert!(flags(&checking).has(Flags::CD) && !flags(&plain).has(Flags::CD));
    });
}

/// An upstream whose answer is switched from outside: 0 an address, 1 SERVFAIL, 2 NXDOMAIN, 3 a failure of the server.
fn switched(directive: &str, pause: Option<Duration>) -> (Lab, Arc<AtomicUsize>) {
    let mode = Arc::new(AtomicUsize::new(0));
    let switch = mode.clone();
    let lab = Lab::slow(directive, pause, move |query, response| {
        match mode.load(Ordering::Relaxed) {
            0 => return a(query, response, 60),
            1 => response.set_rcode(Rcode::SERVFAIL),
            2 => {
                response.set_rcode(Rcode::NXDOMAIN);
                soa(response, 60, 60);
            }
            _ => return Err(Failure::servfail("no upstream")),
        }
        Ok(Flow::Answered)
    });
    (lab, switch)
}

fn rcode(exchange: &Exchange) -> Rcode {
    flags(exchange).rcode()
}

#[test]
fn failures_never_displace_answers() {
    local(async {
        let (lab, mode) = switched("cache {\nserve_stale 1h\n}", None);
        lab.ask("example.org.").await;
        lab.pass(61);
        mode.store(1, Ordering::Relaxed);
        for _ in 0..3 {
            let stale = lab.ask("example.org.").await;
            assert_eq!(rcode(&stale), Rcode::NOERROR);
            assert_eq!(ttls(&stale), [0]);
            let error = stale.context.extended.as_ref().unwrap();
            assert_eq!(error.code, ExtendedError::STALE_ANSWER);
            settle().await;
        }
        assert_eq!(lab.asked(), 4, "one refresh for each");
        mode.store(0, Ordering::Relaxed);
        lab.ask("example.org.").await;
        settle().await;
        // The refresh came in real time, the clock of the lab is ahead of it: what it brought is expired there, and no older.
        lab.passed.set(0);
        assert_eq!(ttls(&*lab.ask("example.org.").await), [60]);

        // Past the window nothing is served.
        let (lab, mode) = switched("cache {\nserve_stale 1h\n}", None);
        lab.ask("example.org.").await;
        lab.pass(61 + 3_600);
        mode.store(1, Ordering::Relaxed);
        assert_eq!(rcode(&*lab.ask("example.org.").await), Rcode::SERVFAIL);
        // That SERVFAIL is kept for its five seconds and is never stale.
        assert_eq!(rcode(&*lab.ask("example.org.").await), Rcode::SERVFAIL);
        assert_eq!(lab.asked(), 2);
        lab.pass(6);
        mode.store(0, Ordering::Relaxed);
        assert_eq!(rcode(&*lab.ask("example.org.").await), Rcode::NOERROR);
    });
}

#[test]
fn stale_is_verified_first() {
    local(async {
        let pause = Some(Duration::from_millis(20));
        let (lab, mode) = switched("cache {\nserve_stale 1h verify 0 30s 1m\n}", pause);
        lab.ask("example.org.").await;
        lab.pass(61);
        mode.store(3, Ordering::Relaxed);
        let stale = lab.ask("example.org.").await;
        assert_eq!((rcode(&stale), ttls(&stale)), (Rcode::NOERROR, vec![30]));
        assert_eq!(lab.asked(), 2);
        mode.store(2, Ordering::Relaxed);
        // Denials are news, once the upstream may be asked again.
        lab.pass(60);
        let denied = lab.ask("example.org.").await;
        assert_eq!((rcode(&denied), lab.asked()), (Rcode::NXDOMAIN, 3));

        let (lab, mode) = switched("cache {\nserve_stale 1h verify 5ms\n}", pause);
        lab.ask("example.org.").await;
        lab.pass(61);
        mode.store(2, Ordering::Relaxed);
        let stale = lab.ask("example.org.").await;
        assert_eq!((rcode(&stale), ttls(&stale)), (Rcode::NOERROR, vec![0]));
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert_eq!(rcode(&*lab.ask("example.org.").await), Rcode::NXDOMAIN);

        let policy = "cache {\nserve_stale 1h verify\nserve_stale_policy prefer_positive\n}";
        let (lab, mode) = switched(policy, pause);
        lab.ask("example.org.").await;
        lab.pass(61);
        mode.store(2, Ordering::Relaxed);
        assert_eq!(rcode(&*lab.ask("example.org.").await), Rcode::NOERROR);
        lab.pass(3_600);
        assert_eq!(rcode(&*lab.ask("example.org.").await), Rcode::NXDOMAIN);
    });
}

#[test]
fn what_is_in_demand_is_refreshed_before_it_expires() {
    local(async {
        let (lab, _) = switched("cache {\nprefetch 3 1m 20%\n}", None);
        for _ in 0..3 {
            lab.ask("example.org.").await;
        }
        lab.pass(47);
        lab.ask("example.org.").await;
        settle().await;
        assert_eq!(lab.asked(), 1, "13 of 60 seconds are left");
        lab.pass(2);
        lab.ask("example.org.").await;
        settle().await;
        assert_eq!(lab.asked(), 2);
        // Nobody asks for this one often enough.
        let (lab, _) = switched("cache {\nprefetch 3 1m 20%\n}", None);
        lab.ask("example.org.").await;
        lab.pass(55);
        lab.ask("example.org.").await;
        settle().await;
        assert_eq!(lab.asked(), 1);
    });
}

#[test]
fn one_client_goes_for_all() {
    local(async {
        let (lab, _) = switched("cache", Some(Duration::from_millis(20)));
        let lab = Rc::new(lab);
        let clients: Vec<_> = (0..500)
            .map(|_| {
                let lab = lab.clone();
                tokio::task::spawn_local(async move { lab.ask("example.org.").await })
            })
            .collect();
        for client in clients {
            assert_eq!(ttls(&client.await.unwrap()), [60]);
        }
        assert_eq!(lab.asked(), 1);
        // When nothing comes of it, that is said to all.
        let (lab, mode) = switched("cache", Some(Duration::from_millis(20)));
        mode.store(3, Ordering::Relaxed);
        let lab = Rc::new(lab);
        let clients: Vec<_> = (0..5)
            .map(|_| {
                let lab = lab.clone();
                tokio::task::spawn_local(async move { lab.ask("example.org.").await })
            })
            .collect();
        for client in clients {
            assert_eq!(rcode(&client.await.unwrap()), Rcode::SERVFAIL);
        }
        assert_eq!(lab.asked(), 1);
        assert_eq!(rcode(&*lab.ask("example.org.").await), Rcode::SERVFAIL);
        assert_eq!(lab.asked(), 2, "who comes later asks anew");
        // A look-up of the server to itself waits for nobody: its client may be the one it would wait for.
        let (lab, _) = switched("cache", Some(Duration::from_millis(20)));
        let first = lab.ask("example.org.");
        let mut inner = lab.exchange("example.org.", Type::A, 0, false);
        inner.context.depth = 1;
        tokio::join!(first, lab.run(inner));
        assert_eq!(lab.asked(), 2);
    });
}

#[test]
fn whatever_becomes_of_the_first_client_the_others_are_let_go() {
    // What the upstream says after a while; how often it is asked by ten, and what they hear.
    let cases = [
        ("an answer", 0, Rcode::NOERROR),
        ("SERVFAIL", 1, Rcode::SERVFAIL),
        ("NXDOMAIN", 2, Rcode::NXDOMAIN),
        ("a failure", 3, Rcode::SERVFAIL),
    ];
    for (what, says, expected) in cases {
        local(async {
            let (lab, mode) = switched("cache", Some(Duration::from_millis(20)));
            mode.store(says, Ordering::Relaxed);
            let lab = Rc::new(lab);
            let began = std::time::Instant::now();
            let clients: Vec<_> = (0..10)
                .map(|_| {
                    let lab = lab.clone();
                    tokio::task::spawn_local(async move { lab.ask("example.org.").await })
                })
                .collect();
            for client in clients {
                assert_eq!(rcode(&client.await.unwrap()), expected, "{what}");
            }
            assert_eq!(lab.asked(), 1, "{what}");
            assert!(began.elapsed() < Duration::from_secs(1), "{what}");
        });
    }
    // A panic takes the first client's exchange with it; the server tells those above the plugin.
    local(async {
        let (lab, _) = switched("cache", Some(Duration::from_millis(20)));
        let lab = Rc::new(lab);
        let mut first = lab.exchange("example.org.", Type::A, Flags::RD, false);
        let Outcome::Suspended(step) = first.walk(&lab.block) else {
            panic!("the upstream waits");
        };
        let behind = {
            let lab = lab.clone();
            tokio::task::spawn_local(async move { lab.ask("example.org.").await })
        };
        settle().await;
        assert!(!behind.is_finished());
        first.abandon(&lab.block, step, || Failure::servfail("a plugin panicked"));
        assert_eq!(rcode(&behind.await.unwrap()), Rcode::SERVFAIL);
        assert_eq!(lab.asked(), 1);
    });
}

/// An entry for a query to `qname`, stored at `now`.
fn entry(lab: &Lab, qname: &str, padding: usize, now: u64) -> Arc<Entry> {
    let mut exchange = lab.exchange(qname, Type::TXT, 0, false);
    let rdata = vec![0; padding];
    let owner = name(qname);
    let fixed = (Type::TXT, Class::IN, 60);
    exchange
        .response()
        .push(Section::Answer, owner.as_name(), fixed, &rdata)
        .unwrap();
    let (query, response) = exchange.views(&lab.block);
    let facts = Facts {
        kind: Kind::Positive,
        answering: true,
        ttl: 60,
        stale_for: 0,
        now,
        wildcard: None,
    };
    Entry::new(&Identity::of(&query), &response, facts).unwrap()
}

fn holds(lab: &Lab, table: &Table, qname: &str) -> bool {
    let mut exchange = lab.exchange(qname, Type::TXT, 0, false);
    let (query, _) = exchange.views(&lab.block);
    table.find(&Identity::of(&query)).is_some()
}

#[test]
fn a_flood_of_names_leaves_the_hot_set_alone() {
    // Which names share a set of places is drawn by lot with the seed of the hash: sixteen draws say what is usual.
    let lab = Lab::new("cache", |_, _| Ok(Flow::Answered));
    let (mut hits, mut looks) = (0, 0);
    for round in 0..16 {
        let table = Table::new(1_024);
        let hot: Vec<String> = (0..100)
            .map(|n| format!("hot{n}.round{round}.example.org."))
            .collect();
        for qname in &hot {
            table.insert(entry(&lab, qname, 10, 1), 1);
        }
        for n in 0..20_000u64 {
            let cold = format!("cold{n}.example.org.");
            table.insert(entry(&lab, &cold, 10, 2 + n), 2 + n);
            if n % 10 == 0 {
                let qname = &hot[(n / 10) as usize % hot.len()];
                looks += 1;
                match holds(&lab, &table, qname) {
                    true => hits += 1,
                    false => drop(table.insert(entry(&lab, qname, 10, 2 + n), 2 + n)),
                }
            }
            assert!(table.len() <= 1_024);
        }
    }
    println!("{hits} of {looks}");
    assert!(hits * 100 >= looks * 90, "{hits} of {looks}");
}

#[test]
fn a_table_is_bounded_in_entries_and_octets() {
    let lab = Lab::new("cache", |_, _| Ok(Flow::Answered));
    let table = Table::new(256);
    let mut evicted = 0;
    for n in 0..1_000u64 {
        let qname = format!("n{n}.example.org.");
        evicted += table.insert(entry(&lab, &qname, 3_000, n), n);
        assert!(table.octets() <= 256 * OCTETS_PER_ENTRY);
        assert!(holds(&lab, &table, &qname), "the newest stays");
    }
    assert_eq!(table.len() as u64 + evicted, 1_000);
    // The same key again takes no room.
    let before = (table.len(), table.octets());
    table.insert(entry(&lab, "n999.example.org.", 3_000, 1_001), 1_001);
    assert_eq!((table.len(), table.octets()), before);
    // What is dead goes first.
    let table = Table::new(2);
    table.insert(entry(&lab, "old.example.org.", 10, 0), 0);
    assert!(holds(&lab, &table, "old.example.org."));
    let later = 61 * SECOND;
    table.insert(entry(&lab, "a.example.org.", 10, later), later);
    table.insert(entry(&lab, "b.example.org.", 10, later), later);
    assert!(!holds(&lab, &table, "old.example.org."));
    assert!(holds(&lab, &table, "a.example.org.") && holds(&lab, &table, "b.example.org."));
}

#[test]
fn a_response_that_does_not_fit_is_truncated() {
    local(async {
        let lab = Lab::new("cache", |query, response| {
            for n in 0..40u8 {
                let fixed = (Type::TXT, Class::IN, 300);
                let mut rdata = vec![200; 201];
                rdata[1] = n;
                response
                    .push(Section::Answer, query.name(), fixed, &rdata)
                    .map_err(|_| Failure::servfail("full"))?;
            }
            Ok(Flow::Answered)
        });
        let mut stream = Exchange::stream();
        let query = lab.exchange("example.org.", Type::TXT, 0, false);
        let octets = query.message().to_vec();
        stream.receive_buffer(octets.len())[..octets.len()].copy_from_slice(&octets);
        stream.set_received(octets.len());
        stream.parse().unwrap();
        stream.context.received = clock::now();
        let whole = lab.run(stream).await;
        assert_eq!(ttls(&whole).len(), 40);
        let cut = lab.run(query).await;
        assert_eq!(lab.asked(), 1);
        assert!(flags(&cut).has(Flags::TC));
        assert_eq!(ttls(&cut).len(), 0);
    });
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
