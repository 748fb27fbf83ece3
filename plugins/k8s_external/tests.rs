use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use chain::capability::{self, Capabilities, Existence, Host, Reachable};
use chain::{Block, Fallthrough, Flow, Outcome, Plugin, Router, resume};
use wire::{Class, Flags, NameBuf, Qname, Rcode, Section, Type};

use super::{External, Zone};
use crate::trial;

#[test]
fn lines_of_a_corefile() {
    trial::table(&[
        ("k8s_external example.org", "kubernetes plugin not loaded"),
        ("k8s_external example.org {\n ttl 3601\n}", "out of range"),
        (
            "k8s_external example.org {\n ttl\n}",
            "Wrong argument count",
        ),
        (
            "k8s_external example.org {\n apex a..b\n}",
            "not a valid domain name: a..b",
        ),
        (
            "k8s_external example.org {\n headles\n}",
            "unknown property 'headles'",
        ),
        ("k8s_external a..b", "not a valid domain name"),
    ]);
}

#[test]
fn the_readme_is_accepted() {
    trial::readme(include_str!("README.md"));
}

/// A cluster: `web.ns1` has 192.0.2.1 (two ports) and 2001:db8::1, `lb.ns1` a host's name, `noport.ns1` an address and no port,
/// `many.ns1` 5,000 addresses.
struct Cluster {
    /// Whether the state is known.
    ready: AtomicBool,
    /// Whether waiting makes it known.
    comes: bool,
}

impl capability::External for Cluster {
    fn find(
        &self,
        qname: &Qname,
        left: usize,
        headless: bool,
        visit: capability::VisitReachable<'_>,
    ) -> Existence {
        if !self.ready.load(Ordering::Relaxed) {
            return Existence::NotReady;
        }
        let text = qname.name().to_string();
        let labels: Vec<&str> = text.split('.').take(left).collect();
        let mut way = |host: Host<'_>, port: Option<u16>, labels: &[u8]| {
            let _ = visit(Reachable { host, port, labels });
        };
        let address = |text: &str| Host::Address(text.parse().expect("an address"));
        let name: NameBuf = "lb.example.net.".parse().expect("a name");
        match labels[..] {
            ["ns1"] => {}
            ["web", "ns1"] => {
                for host in ["192.0.2.1", "2001:db8::1"] {
                    way(address(host), Some(80), b"\x03web\x03ns1");
                    way(address(host), Some(443), b"\x03web\x03ns1");
                }
            }
            ["lb", "ns1"] => {
                way(Host::Name(name.as_name()), Some(80), b"\x02lb\x03ns1");
                way(address("192.0.2.9"), Some(80), b"\x02lb\x03ns1");
            }
            ["noport", "ns1"] => way(address("192.0.2.2"), None, b"\x06noport\x03ns1"),
            ["many", "ns1"] => {
                for number in 0..5_000u32 {
                    let host =
                        Host::Address(IpAddr::from((0x0A00_0000 + number / 2).to_be_bytes()));
                    way(host, Some(80), b"\x04many\x03ns1");
                }
            }
            ["set", "ns1"] if headless => {
                way(address("192.0.2.5"), Some(80), b"\x01a\x03set\x03ns1")
            }
            _ => return Existence::NxDomain,
        }
        Existence::Exists
    }

    fn reverse(&self, address: IpAddr, visit: capability::VisitLabels<'_>) -> Existence {
        if !self.ready.load(Ordering::Relaxed) {
            return Existence::NotReady;
        }
        if address != IpAddr::from([192, 0, 2, 1]) {
            return Existence::NxDomain;
        }
        let _ = visit(b"\x03web\x03ns1");
        Existence::Exists
    }

    fn servers(&self, _: bool, visit: capability::VisitAddress<'_>) {
        for address in ["192.0.2.53", "2001:db8::53"] {
            let _ = visit(address.parse().expect("an address"));
        }
    }

    fn settle(&self) -> capability::Settling<'_> {
        Box::pin(async {
            self.ready.fetch_or(self.comes, Ordering::Relaxed);
        })
    }

    fn serial(&self) -> u32 {
        7
    }
}

fn cluster(ready: bool, comes: bool) -> Cluster {
    Cluster {
        ready: AtomicBool::new(ready),
        comes,
    }
}

/// The blocks of a listener that has one.
struct Listener(OnceLock<Arc<Block>>);

impl Router for Listener {
    fn route(&self, _: &Qname, _: Type) -> Option<Arc<Block>> {
        self.0.get().cloned()
    }
}

/// The plugin above one that knows lb.example.net, and refuses the rest.
fn serve(fall: Fallthrough, headless: bool, cluster: Cluster) -> (Arc<Block>, Arc<Listener>) {
    let capabilities = Arc::new(Capabilities::default());
    capabilities.provide_external("cluster", Arc::new(cluster));
    let apex: NameBuf = "dns.".parse().expect("a name");
    let zone =
        |name: &str| Zone::new(name.parse().expect("a name"), apex.as_name()).expect("a zone");
    let external: Arc<dyn Plugin> = Arc::new(External {
        zones: vec![zone("example.org."), zone("in-addr.arpa.")],
        fall,
        headless,
        ttl: 60,
        capabilities,
        source: "cluster",
        found: OnceLock::new(),
    });
    let mut trial = trial::block("whoami");
    let chain = chain::Chain::new(vec![chain::Step::new(external)]);
    trial.blocks[0].chain = Arc::new(chain.map_err(|_| ()).expect("a chain"));
    let block = trial::serve(
        &trial,
        ".",
        trial::answer(|query, response| {
            let fixed = (query.qtype(), Class::IN, 30);
            match (query.name().to_string().as_str(), query.qtype()) {
                ("lb.example.net.", Type::A) => {
                    let _ = response.push(Section::Answer, query.name(), fixed, &[198, 51, 100, 1]);
                }
                ("lb.example.net.", _) => {}
                _ => response.set_rcode(Rcode::REFUSED),
            }
            Ok(Flow::Answered)
        }),
    );
    let listener = Arc::new(Listener(OnceLock::new()));
    let _ = listener.0.set(block.clone());
    let router: std::sync::Weak<dyn Router> =
        Arc::downgrade(&(listener.clone() as Arc<dyn Router>));
    block.set_router(router);
    (block, listener)
}

/// RCODE and flags, then the records: a letter for the section, owner, TTL, type, RDATA.
fn ask(block: &Arc<Block>, name: &str, qtype: Type) -> String {
    let mut exchange = trial::exchange(name, qtype, None);
    let mut exchange = match exchange.walk(block) {
        Outcome::Respond => exchange,
        Outcome::Silent | Outcome::Stream(_) => panic!("silence"),
        Outcome::Suspended(at) => {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let resumed = resume(exchange, block.clone(), at);
            runtime.expect("a runtime").block_on(resumed).0
        }
    };
    let response = exchange.response();
    let mut out = response.rcode().to_string();
    for (flag, letters) in [(Flags::AA, " aa"), (Flags::TC, " tc")] {
        if response.flags().has(flag) {
            out.push_str(letters);
        }
    }
    for record in response.records() {
        let record = record.expect("a record");
        let section = ["", " auth:", " add:"][record.section as usize];
        let owner = record.owner().expect("an owner");
        let _ = write!(out, " |{section} {owner} {} {}", record.ttl, record.rtype);
        let rdata = record.rdata();
        let name = |at| record.rdata_name(at).expect("a name");
        let _ = match record.rtype {
            Type::A => write!(out, " {}.{}.{}.{}", rdata[0], rdata[1], rdata[2], rdata[3]),
            Type::CNAME | Type::NS | Type::PTR => write!(out, " {}", name(0)),
            Type::SRV => write!(out, " {:?} {}", &rdata[..6], name(6)),
            Type::SOA => write!(out, " {} {}", name(0), rdata[rdata.len() - 17]),
            _ => Ok(()),
        };
    }
    out
}

const SOA: &str = "example.org. 60 SOA ns1.dns.example.org. 7";

#[test]
fn a_service_has_its_external_addresses() {
    let (block, _listener) = serve(Fallthrough::No, false, cluster(true, false));
    let negative = |rcode: &str| format!("{rcode} aa | auth: {SOA}");
    let rows: &[(&str, Type, &str)] = &[
        (
            "web.ns1.example.org.",
            Type::A,
            "NOERROR aa | web.ns1.example.org. 60 A 192.0.2.1",
        ),
        (
            "WEB.ns1.example.org.",
            Type::A,
            "NOERROR aa | web.ns1.example.org. 60 A 192.0.2.1",
        ),
        (
            "web.ns1.example.org.",
            Type::AAAA,
            "NOERROR aa | web.ns1.example.org. 60 AAAA",
        ),
        (
            "web.ns1.example.org.",
            Type::SRV,
            "NOERROR aa | web.ns1.example.org. 60 SRV [0, 0, 0, 25, 0, 80] web.ns1.example.org. \
             | web.ns1.example.org. 60 SRV [0, 0, 0, 25, 1, 187] web.ns1.example.org. \
             | add: web.ns1.example.org. 60 A 192.0.2.1 | add: web.ns1.example.org. 60 AAAA",
        ),
        ("web.ns1.example.org.", Type::TXT, &negative("NOERROR")),
        ("ns1.example.org.", Type::A, &negative("NOERROR")),
        ("no.ns1.example.org.", Type::A, &negative("NXDOMAIN")),
        ("set.ns1.example.org.", Type::A, &negative("NXDOMAIN")),
        (
            "noport.ns1.example.org.",
            Type::A,
            "NOERROR aa | noport.ns1.example.org. 60 A 192.0.2.2",
        ),
        ("noport.ns1.example.org.", Type::SRV, &negative("NOERROR")),
        (
            "1.2.0.192.in-addr.arpa.",
            Type::PTR,
            "NOERROR aa | 1.2.0.192.in-addr.arpa. 60 PTR web.ns1.example.org.",
        ),
        (
            "2.2.0.192.in-addr.arpa.",
            Type::PTR,
            "NXDOMAIN aa | auth: in-addr.arpa. 60 SOA ns1.dns.in-addr.arpa. 7",
        ),
        // An address that has a name exists for every type; a zone of addresses has no names of services.
        (
            "1.2.0.192.in-addr.arpa.",
            Type::A,
            "NOERROR aa | auth: in-addr.arpa. 60 SOA ns1.dns.in-addr.arpa. 7",
        ),
        (
            "web.ns1.in-addr.arpa.",
            Type::A,
            "NXDOMAIN aa | auth: in-addr.arpa. 60 SOA ns1.dns.in-addr.arpa. 7",
        ),
        (
            "ns1.in-addr.arpa.",
            Type::SRV,
            "NXDOMAIN aa | auth: in-addr.arpa. 60 SOA ns1.dns.in-addr.arpa. 7",
        ),
        ("web.ns1.example.org.", Type::PTR, &negative("NOERROR")),
        ("example.com.", Type::A, "REFUSED"),
    ];
    for (name, qtype, answer) in rows {
        assert_eq!(ask(&block, name, *qtype), *answer, "{name} {qtype}");
    }
}

#[test]
fn the_apex_names_its_server() {
    let (block, _listener) = serve(Fallthrough::All, false, cluster(true, false));
    let negative = |rcode: &str| format!("{rcode} aa | auth: {SOA}");
    let rows: &[(&str, Type, &str)] = &[
        ("example.org.", Type::SOA, &format!("NOERROR aa | {SOA}")),
        (
            "example.org.",
            Type::NS,
            "NOERROR aa | example.org. 60 NS ns1.dns.example.org. | add: ns1.dns.example.org. 60 A 192.0.2.53 | add: ns1.dns.example.org. 60 AAAA",
        ),
        ("example.org.", Type::A, &negative("NOERROR")),
        ("dns.example.org.", Type::A, &negative("NOERROR")),
        (
            "ns1.dns.example.org.",
            Type::A,
            "NOERROR aa | ns1.dns.example.org. 60 A 192.0.2.53",
        ),
        ("ns1.dns.example.org.", Type::TXT, &negative("NOERROR")),
        ("ns2.dns.example.org.", Type::A, &negative("NXDOMAIN")),
        ("a.ns1.dns.example.org.", Type::A, &negative("NXDOMAIN")),
    ];
    for (name, qtype, answer) in rows {
        assert_eq!(ask(&block, name, *qtype), *answer, "{name} {qtype}");
    }
}

#[test]
fn a_load_balancer_with_a_name_is_looked_up() {
    let (block, _listener) = serve(Fallthrough::No, false, cluster(true, false));
    assert_eq!(
        ask(&block, "lb.ns1.example.org.", Type::A),
        "NOERROR aa | lb.ns1.example.org. 60 CNAME lb.example.net. | lb.example.net. 30 A 198.51.100.1 | lb.ns1.example.org. 60 A 192.0.2.9"
    );
    assert_eq!(
        ask(&block, "lb.ns1.example.org.", Type::SRV),
        "NOERROR aa | lb.ns1.example.org. 60 SRV [0, 0, 0, 50, 0, 80] lb.example.net. \
         | lb.ns1.example.org. 60 SRV [0, 0, 0, 50, 0, 80] lb.ns1.example.org. \
         | add: lb.example.net. 30 A 198.51.100.1 | add: lb.ns1.example.org. 60 A 192.0.2.9"
    );
}

#[test]
fn what_is_unknown_may_go_on() {
    let (block, _listener) = serve(Fallthrough::All, true, cluster(true, false));
    assert_eq!(ask(&block, "no.ns1.example.org.", Type::A), "REFUSED");
    assert_eq!(ask(&block, "2.2.0.192.in-addr.arpa.", Type::PTR), "REFUSED");
    assert_eq!(
        ask(&block, "set.ns1.example.org.", Type::SRV),
        "NOERROR aa | set.ns1.example.org. 60 SRV [0, 0, 0, 100, 0, 80] a.set.ns1.example.org. | add: a.set.ns1.example.org. 60 A 192.0.2.5"
    );
}

#[test]
fn nothing_is_denied_before_the_cluster_is_known() {
    for (name, qtype, known) in [
        (
            "web.ns1.example.org.",
            Type::A,
            "NOERROR aa | web.ns1.example.org. 60 A 192.0.2.1",
        ),
        (
            "1.2.0.192.in-addr.arpa.",
            Type::PTR,
            "NOERROR aa | 1.2.0.192.in-addr.arpa. 60 PTR web.ns1.example.org.",
        ),
        ("2.2.0.192.in-addr.arpa.", Type::PTR, "REFUSED"),
    ] {
        let (block, _listener) = serve(Fallthrough::All, false, cluster(false, false));
        assert_eq!(ask(&block, name, qtype), "SERVFAIL", "{name}");
        let (block, _listener) = serve(Fallthrough::All, false, cluster(false, true));
        assert_eq!(ask(&block, name, qtype), known, "{name}");
    }
}

#[test]
fn an_answer_holds_what_it_can() {
    let (block, _listener) = serve(Fallthrough::No, false, cluster(true, false));
    let said = ask(&block, "many.ns1.example.org.", Type::A);
    assert!(said.starts_with("NOERROR aa tc |"), "{}", &said[..40]);
    let addresses: Vec<_> = said.split(" A ").skip(1).collect();
    let mut once = addresses.clone();
    once.dedup();
    assert_eq!(addresses.len(), once.len());
    assert!(addresses.len() > 200, "{}", addresses.len());
}
