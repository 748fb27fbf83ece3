use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use chain::capability::{Capabilities, SearchPath, VisitName};
use chain::{Block, Failure, Flow, Outcome, Plugin, resume};
use wire::{Class, NameBuf, Qname, Rcode, Section, Type};

use super::{Autopath, Path, setup::search};
use crate::trial::{self, Folder};

const RESOLV: &str = "nameserver 192.0.2.53\nsearch ns1.svc.cluster.local svc.cluster.local Cluster.Local\noptions ndots:5\n";

#[test]
fn lines_of_a_corefile() {
    let folder = Folder::new("autopath-lines");
    let file = folder.write("resolv.conf", RESOLV).display().to_string();
    let bad = folder.write("bad", "search a..b\n").display().to_string();
    for (line, refusal) in [
        (format!("autopath {file}"), ""),
        (format!("autopath cluster.local {file}"), ""),
        ("autopath @nowhere".to_owned(), ""),
        (
            "autopath".to_owned(),
            "unexpected line ending after 'autopath'",
        ),
        (
            "autopath /nowhere/resolv.conf".to_owned(),
            "failed to parse \"/nowhere/resolv.conf\"",
        ),
        (format!("autopath {bad}"), "not a domain name: a..b"),
        (format!("autopath a..b {file}"), "not a valid domain name"),
        (format!("autopath {file} {{\n x\n}}"), "takes no block"),
    ] {
        let line = format!("{line}\nwhoami");
        trial::table(&[(line.as_str(), refusal)]);
    }
    let said = trial::block("autopath @nowhere\nwhoami").messages;
    assert!(said.contains("no `nowhere` in this server block"), "{said}");
}

#[test]
fn the_readme_is_accepted() {
    trial::readme(include_str!("README.md"));
}

#[test]
fn the_last_search_line_counts() {
    let suffixes = |text| {
        let names = search(text).expect("names");
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        suffixes("# search a\n;search b\nsearch c D.\n"),
        ["c.", "d.", "."]
    );
    assert_eq!(suffixes("search a b\ndomain c d\n"), ["c.", "."]);
    assert_eq!(suffixes("nameserver 192.0.2.1\n"), [""; 0]);
}

/// The names that were asked below, and a plugin that knows some: `a.` NXDOMAIN, `n.` NODATA, `f.` a failure, `p.` a refusal, `m.` what cannot be read.
struct Below {
    block: Arc<Block>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Below {
    /// What this path answers, above a plugin that knows `exists`.
    fn new(autopath: &str, exists: &'static [&'static str]) -> Self {
        let trial = trial::block(autopath);
        assert!(trial.accepted, "{}", trial.messages);
        Self::under(&trial, exists)
    }

    fn under(trial: &trial::Trial, exists: &'static [&'static str]) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let block = trial::serve(
            trial,
            "cluster.local.",
            trial::answer(move |query, response| {
                let name = query.name().to_string();
                log.lock().expect("no panic").push(name.clone());
                match name.split('.').next() {
                    Some("f") => return Err(Failure::servfail("broken")),
                    Some("p") => return Err(Failure::policy(Rcode::REFUSED)),
                    Some("n") => {}
                    // A good record, and an alias whose target points to itself.
                    Some("m") => {
                        let good = [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 1];
                        let mut bad = [0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 30, 0, 2, 0xC0, 0];
                        bad[13] = (response.len() + good.len() + 12) as u8;
                        let _ = response.push_octets(Section::Answer, &good, 1);
                        let _ = response.push_octets(Section::Answer, &bad, 1);
                    }
                    _ if exists.contains(&name.as_str()) => {
                        let fixed = (Type::A, Class::IN, 30);
                        let _ =
                            response.push(Section::Answer, query.name(), fixed, &[192, 0, 2, 1]);
                    }
                    _ => response.set_rcode(Rcode::NXDOMAIN),
                }
                Ok(Flow::Answered)
            }),
        );
        Self { block, asked }
    }

    /// RCODE and answer, then what was asked below.
    fn ask(&self, name: &str) -> (String, Vec<String>) {
        let mut exchange = trial::exchange(name, Type::A, None);
        let mut exchange = match exchange.walk(&self.block) {
            Outcome::Respond => exchange,
            Outcome::Silent | Outcome::Stream(_) => panic!("silence"),
            Outcome::Suspended(at) => {
                let resumed = resume(exchange, self.block.clone(), at);
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                runtime.expect("a runtime").block_on(resumed).0
            }
        };
        let response = exchange.response();
        let mut out = response.rcode().to_string();
        for record in response.records() {
            let record = record.expect("a record");
            let owner = record.owner().expect("an owner");
            let _ = write!(out, " | {owner} {} {}", record.ttl, record.rtype);
            if record.rtype == Type::CNAME {
                let _ = write!(out, " {}", record.rdata_name(0).expect("a name"));
            }
        }
        (
            out,
            std::mem::take(&mut self.asked.lock().expect("no panic")),
        )
    }
}

#[test]
fn a_search_goes_on_until_a_name_exists() {
    let folder = Folder::new("autopath-search");
    let file = folder.write("resolv.conf", RESOLV).display().to_string();
    let below = Below::new(
        &format!("autopath cluster.local {file}"),
        &[
            "b.ns1.svc.cluster.local.",
            "b.example.org.",
            "c.cluster.local.",
        ],
    );
    for (name, answer, asked) in [
        (
            "b.ns1.svc.cluster.local.",
            "NOERROR | b.ns1.svc.cluster.local. 30 A",
            &["b.ns1.svc.cluster.local."][..],
        ),
        (
            "C.Ns1.svc.cluster.local.",
            "NOERROR | C.Ns1.svc.cluster.local. 30 CNAME c.cluster.local. | c.cluster.local. 30 A",
            &[
                "c.ns1.svc.cluster.local.",
                "c.svc.cluster.local.",
                "c.cluster.local.",
            ],
        ),
        (
            "b.example.org.ns1.svc.cluster.local.",
            "NOERROR | b.example.org.ns1.svc.cluster.local. 30 CNAME b.example.org. | b.example.org. 30 A",
            &[
                "b.example.org.ns1.svc.cluster.local.",
                "b.example.org.svc.cluster.local.",
                "b.example.org.cluster.local.",
                "b.example.org.",
            ],
        ),
        (
            "a.ns1.svc.cluster.local.",
            "NXDOMAIN",
            &[
                "a.ns1.svc.cluster.local.",
                "a.svc.cluster.local.",
                "a.cluster.local.",
                "a.",
            ],
        ),
        // Not the first of the path, its very name, or outside of the zones: not a search that begins.
        (
            "c.svc.cluster.local.",
            "NXDOMAIN",
            &["c.svc.cluster.local."],
        ),
        (
            "ns1.svc.cluster.local.",
            "NXDOMAIN",
            &["ns1.svc.cluster.local."],
        ),
        (
            "b.example.org.",
            "NOERROR | b.example.org. 30 A",
            &["b.example.org."],
        ),
        // A name without records exists; a failure ends the search; a refusal does not.
        (
            "n.ns1.svc.cluster.local.",
            "NOERROR",
            &["n.ns1.svc.cluster.local."],
        ),
        (
            "f.ns1.svc.cluster.local.",
            "SERVFAIL",
            &["f.ns1.svc.cluster.local."],
        ),
        // Nor is half of an answer handed on.
        (
            "m.ns1.svc.cluster.local.",
            "SERVFAIL",
            &["m.ns1.svc.cluster.local."],
        ),
        (
            "p.ns1.svc.cluster.local.",
            "REFUSED",
            &[
                "p.ns1.svc.cluster.local.",
                "p.svc.cluster.local.",
                "p.cluster.local.",
                "p.",
            ],
        ),
    ] {
        let (said, below_it) = below.ask(name);
        assert_eq!(
            (said.as_str(), &below_it[..]),
            (
                answer,
                &asked.iter().map(ToString::to_string).collect::<Vec<_>>()[..]
            ),
            "{name}"
        );
    }
    let count = super::success("dns://:53").get();
    assert!(count >= 4, "{count}");
}

#[test]
fn suffixes_that_make_a_name_too_long_are_passed_over() {
    let folder = Folder::new("autopath-long");
    let long = format!("search x {}.org\n", ["abcdefghi"; 24].join("."));
    let file = folder.write("resolv.conf", &long).display().to_string();
    let below = Below::new(&format!("autopath . {file}"), &[]);
    let (said, asked) = below.ask("www.example.x.");
    assert_eq!(
        (said.as_str(), asked),
        (
            "NXDOMAIN",
            vec!["www.example.x.".to_owned(), "www.example.".to_owned()]
        )
    );
}

/// Knows the search path of one client.
struct Pods;

impl SearchPath for Pods {
    fn search(&self, _: &Qname, client: IpAddr, visit: VisitName<'_>) -> bool {
        let known = client == IpAddr::from([192, 0, 2, 1]);
        for suffix in ["pods.cluster.local.", "."] {
            let suffix: NameBuf = suffix.parse().expect("a name");
            if !known || visit(suffix.as_name()) == ControlFlow::Break(()) {
                break;
            }
        }
        known
    }
}

#[test]
fn a_client_has_the_path_that_another_plugin_knows() {
    let capabilities = Arc::new(Capabilities::default());
    let path = Path::Offered {
        directive: "pods".to_owned(),
        capabilities: capabilities.clone(),
        found: std::sync::OnceLock::new(),
    };
    let autopath = Arc::new(Autopath::new(vec![NameBuf::root()], path));
    // Built first, as in the catalogue's order; offered later.
    capabilities.provide_search_path("pods", Arc::new(Pods));
    let mut trial = trial::block("whoami");
    let step = chain::Step::new(autopath as Arc<dyn Plugin>);
    trial.blocks[0].chain = Arc::new(
        chain::Chain::new(vec![step])
            .map_err(|_| ())
            .expect("a chain"),
    );
    let below = Below::under(&trial, &["b.example.org."]);
    let (said, _) = below.ask("b.example.org.pods.cluster.local.");
    assert_eq!(
        said,
        "NOERROR | b.example.org.pods.cluster.local. 30 CNAME b.example.org. | b.example.org. 30 A"
    );
}
