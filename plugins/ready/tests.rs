use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chain::Plugin;
use chain::admin::{Overview, PageRequest};

use crate::trial::{self, Trial};

#[test]
fn lines() {
    trial::table(&[
        ("ready", ""),
        ("ready localhost:1234", ""),
        ("ready {\n  monitor until-ready\n}", ""),
        ("ready :8182 {\n  monitor continuously\n}", ""),
        (
            "ready {\n  monitor\n}",
            "unexpected line ending after 'monitor'",
        ),
        (
            "ready {\n  monitor never\n}",
            "monitor type 'never' not supported",
        ),
        (
            "ready {\n  monitor until-ready x\n}",
            "unexpected line ending after 'x'",
        ),
        (
            "ready {\n  minotor continuously\n}",
            "unknown property 'minotor'",
        ),
        ("ready :1234 b", "unexpected line ending after ':1234'"),
        ("ready bla", "not a host and port"),
        ("ready\nready", "can only be used once"),
    ]);
}

/// A plugin whose state a test sets.
struct Switch {
    name: &'static str,
    ready: AtomicBool,
}

impl Plugin for Switch {
    fn name(&self) -> &'static str {
        self.name
    }

    fn ready(&self) -> Option<bool> {
        (self.name != "silent").then(|| self.ready.load(Ordering::Relaxed))
    }
}

fn switch(name: &'static str) -> Arc<Switch> {
    let ready = AtomicBool::new(false);
    Arc::new(Switch { name, ready })
}

/// A process as `ready` sees it.
#[derive(Default)]
struct Seen {
    plugins: Vec<(usize, Arc<dyn Plugin>)>,
    failure: Option<String>,
    leaving: bool,
}

impl Overview for Seen {
    fn plugins(&self) -> Vec<(usize, Arc<dyn Plugin>)> {
        self.plugins.clone()
    }

    fn reload_failure(&self) -> Option<String> {
        self.failure.clone()
    }

    fn shutting_down(&self) -> bool {
        self.leaving
    }
}

/// Status and body of the page at the trial's first address.
fn get(trial: &Trial, seen: &Seen, query: &str) -> (u16, String) {
    let page = (trial.process.endpoints[0].serve)(&PageRequest {
        query,
        accept: "",
        overview: seen,
    });
    (
        page.status,
        String::from_utf8_lossy(&page.body).into_owned(),
    )
}

const OK: (u16, &str) = (200, "OK");

#[test]
fn all_blocks_with_ready_are_asked() {
    let trial = trial::build(
        "example.org {\n  ready\n}\nexample.net {\n  whoami\n}\nexample.com {\n  ready :8182 {\n    monitor continuously\n  }\n}\n",
    );
    let pages: Vec<_> = trial
        .process
        .endpoints
        .iter()
        .map(|e| (e.address.port(), e.path, e.closes_first))
        .collect();
    assert_eq!(pages, [(8181, "/ready", true), (8182, "/ready", true)]);

    let (zebra, ant, other) = (switch("zebra"), switch("ant"), switch("other"));
    let seen = Seen {
        plugins: vec![
            (0, zebra.clone()),
            (0, switch("silent")),
            (1, other),
            (2, ant.clone()),
        ],
        ..Seen::default()
    };
    let set = |plugin: &Switch, ready| plugin.ready.store(ready, Ordering::Relaxed);
    let page = || {
        let (status, body) = get(&trial, &seen, "");
        (status, body)
    };
    let log = trial::logged(|| assert_eq!(page(), (503, "ant,zebra".into())));
    assert_eq!(log, "INFO plugin/ready: Plugins not ready: \"ant,zebra\"\n");
    set(&zebra, true);
    assert_eq!(page(), (503, "ant".into()));
    set(&ant, true);
    assert_eq!(page(), (OK.0, OK.1.into()));
    // Block 0 is monitored until it is ready, block 2 continuously.
    set(&zebra, false);
    assert_eq!(page(), (OK.0, OK.1.into()));
    set(&ant, false);
    assert_eq!(page(), (503, "ant".into()));
}

#[test]
fn verbose_tells_of_plugins_and_of_reloads() {
    let trial = trial::block("ready");
    let (up, down) = (switch("up"), switch("down"));
    up.ready.store(true, Ordering::Relaxed);
    let mut seen = Seen {
        plugins: vec![(0, up), (0, down)],
        ..Seen::default()
    };
    for query in ["verbose", "a=b&verbose=1"] {
        assert_eq!(
            get(&trial, &seen, query),
            (
                503,
                "down\nblock 0: up: ready\nblock 0: down: not ready\nreload: ok\n".into()
            )
        );
    }
    assert_eq!(get(&trial, &seen, "verbosely"), (503, "down".into()));
    seen.plugins.pop();
    seen.failure = Some("Corefile:3 - no".into());
    assert_eq!(get(&trial, &seen, ""), (OK.0, OK.1.into()));
    assert_eq!(
        get(&trial, &seen, "verbose").1,
        "OK\nblock 0: up: ready\nreload: failed: Corefile:3 - no\n"
    );
}

#[test]
fn not_ready_on_the_way_out() {
    let trial = trial::block("ready");
    let leaving = Seen {
        leaving: true,
        ..Seen::default()
    };
    assert_eq!(get(&trial, &Seen::default(), ""), (OK.0, OK.1.into()));
    assert_eq!(get(&trial, &leaving, ""), (503, "Shutting down".into()));
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
