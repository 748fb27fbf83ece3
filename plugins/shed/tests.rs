use chain::setup::Scene;
use chain::{Flow, Outcome};
use corefile::Report;
use corefile::key::{Key, Scheme};
use wire::Type;

use super::setup::parse as parse_lines;
use crate::trial;

#[test]
fn it_stands_in_the_chain_and_asks_for_the_count() {
    let trial = trial::build("a. {\n  shed\n  whoami\n}\nb. {\n  whoami\n}\n");
    let wants: Vec<_> = trial
        .blocks
        .iter()
        .map(|block| block.config.counts_shed)
        .collect();
    assert_eq!(wants, [true, false]);
    let names = |block: usize| -> Vec<_> {
        let steps = trial.blocks[block].chain.steps().iter();
        steps.map(|step| step.plugin.name()).collect()
    };
    assert_eq!(
        (names(0), names(1)),
        (vec!["shed", "whoami"], vec!["whoami"])
    );
    // No query meets it.
    let last = trial::answer(|query, _| {
        assert_eq!(query.step(), 1);
        Ok(Flow::Answered)
    });
    let block = trial::serve(&trial::block("shed"), ".", last);
    let mut exchange = trial::exchange("www.example.org.", Type::A, None);
    assert_eq!(exchange.walk(&block), Outcome::Respond);
}

#[test]
fn lines() {
    trial::table(&[
        ("shed", ""),
        ("shed extra", "unexpected line ending after 'shed'"),
        ("shed {\n  depth 10\n}", "`shed` takes no block"),
        (
            "shed\nshed",
            "this plugin can only be used once per Server Block",
        ),
    ]);
}

#[test]
fn other_transports_are_refused() {
    let (setup, _) = trial::directive("shed", "shed", parse_lines);
    let setup = setup.expect("a setup");
    let key = |scheme| Key {
        scheme,
        zones: vec![".".to_owned()],
        port: None,
        cidr: false,
    };
    for scheme in Scheme::ALL {
        let keys = [key(Scheme::Dns), key(scheme)];
        let zones = [".".to_owned()];
        let scene = Scene {
            zones: &zones,
            directives: &[],
            keys: &keys,
        };
        let mut report = Report::default();
        setup.validate(&scene, &mut report);
        assert_eq!(report.has_errors(), scheme != Scheme::Dns, "{scheme:?}");
    }
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
