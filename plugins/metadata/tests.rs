use std::sync::Arc;

use chain::metadata::Note;
use chain::{Flow, Hooks, Plugin, Query, Step};
use wire::{NameBuf, Type};

use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("metadata\nwhoami", ""),
        ("metadata example.com.\nwhoami", ""),
        ("metadata example.com example.net\nwhoami", ""),
        ("metadata {\n}\nwhoami", "takes no block"),
        ("metadata {\n  example.org\n}\nwhoami", "takes no block"),
        ("metadata\nmetadata\nwhoami", "only be used once"),
        ("metadata a..b\nwhoami", "zone is not a valid domain name"),
    ]);
}

#[test]
fn the_readme_is_true() {
    trial::readme(include_str!("README.md"));
}

/// Provides `test/size`: how many labels the name has that was asked.
struct Size;

impl Plugin for Size {
    fn name(&self) -> &'static str {
        "size"
    }

    fn hooks(&self) -> Hooks {
        Hooks::LABELS
    }

    fn label(&self, query: &Query<'_>, label: &str, out: &mut String) -> bool {
        // What is written and then not meant is taken back.
        out.push_str("unfinished");
        if label != "test/size" {
            return false;
        }
        out.truncate(out.len() - "unfinished".len());
        out.push_str(&query.asked().qname.label_count().to_string());
        true
    }
}

/// What is read of `labels` in a block of `lines`, where a plugin below keeps `test/way`.
fn read(lines: &str, name: &str, labels: &[&str]) -> Vec<Option<String>> {
    let trial = trial::block(lines);
    assert!(trial.accepted, "{}", trial.messages);
    let below = trial::answer(|query, _| {
        query.note("test/way", Note::Text(Arc::from("first")));
        let way = "down.example.org.".parse::<NameBuf>();
        query.note("test/way", Note::Name(way.expect("a name")));
        Ok(Flow::Answered)
    });
    let mut built = trial.blocks.into_iter().next().expect("a block");
    let mut steps: Vec<Step> = built
        .chain
        .steps()
        .iter()
        .map(|step| Step::new(step.plugin.clone()))
        .collect();
    steps.extend([Step::new(Arc::new(Size)), Step::new(below)]);
    let mut chain = chain::Chain::new(steps).unwrap_or_else(|count| panic!("{count} steps"));
    if let Some(zones) = built.config.labels.take() {
        chain = chain.collecting(zones);
    }
    let block = Arc::new(chain::Block::new(trial::info("."), Arc::new(chain)));
    let mut exchange = trial::exchange(name, Type::A, None);
    exchange.walk(&block);
    let (query, _) = exchange.views(&block);
    let value = |label: &&str| {
        let mut out = String::new();
        query.label(label, &mut out).then_some(out)
    };
    labels.iter().map(value).collect()
}

#[test]
fn labels_are_read_where_they_are_collected() {
    let labels = ["test/size", "test/way", "test/none"];
    let some = |text: &str| Some(text.to_owned());
    let both = [some("3"), some("down.example.org."), None];
    let name = "www.example.org.";
    assert_eq!(read("metadata", name, &labels), both);
    assert_eq!(read("metadata example.org", name, &labels), both);
    assert_eq!(read("metadata example.ORG", name, &labels), both);
    assert_eq!(read("log", name, &labels), [None, None, None]);
    // Of other names plugins are not asked; what is learnt on the way is kept, as in CoreDNS.
    let other = read("metadata example.net", name, &labels);
    assert_eq!(other, [None, some("down.example.org."), None]);
}

#[test]
fn what_was_noted_is_forgotten_with_the_query() {
    let block = {
        let below = trial::answer(|query, _| {
            if query.name().to_string() == "noted.example.org." {
                query.note("test/way", Note::Text(Arc::from("value")));
            }
            Ok(Flow::Answered)
        });
        trial::serve(
            &trial::block("metadata\nlog . \"way={/test/way}\""),
            ".",
            below,
        )
    };
    let logged = |name| {
        trial::logged(|| {
            let mut exchange = trial::exchange(name, Type::A, None);
            exchange.walk(&block);
            exchange.parse().expect("a query");
            exchange.walk(&block);
        })
    };
    let twice = |line: &str| format!("INFO log: {line}\nINFO log: {line}\n");
    assert_eq!(logged("noted.example.org."), twice("way=value"));
    assert_eq!(logged("other.example.org."), twice("way=-"));
    let mut exchange = trial::exchange("noted.example.org.", Type::A, None);
    exchange.walk(&block);
    let inner = exchange.derive(exchange.parsed.qname.name(), Type::A);
    for mut exchange in [inner, exchange.fork()] {
        let (query, _) = exchange.views(&block);
        assert!(query.noted("test/way").is_none());
    }
}

#[test]
fn a_wildcard_is_told_by_file_and_kept_by_cache() {
    let folder = trial::Folder::new("metadata-wildcard");
    let zone = "\
$ORIGIN example.org.
@ 3600 IN SOA ns hostmaster 1 7200 3600 1209600 60
@ 3600 IN NS ns.example.net.
www 300 IN A 192.0.2.1
*.pool 300 IN A 192.0.2.2
*.alias 300 IN CNAME www
*.out 300 IN CNAME www.example.com.
";
    let path = folder.write("db", zone);
    let file = format!("file {} example.org", path.display());
    let lines = |metadata: &str, cache: &str| {
        let trial = trial::block(&format!(
            "{metadata}\nlog . \"{{name}} {{/zone/wildcard}}\"\n{cache}\n{file}"
        ));
        let last = trial::answer(|_, _| Ok(Flow::Answered));
        let block = trial::serve(&trial, ".", last);
        trial::logged(|| {
            for name in ["a.b.pool.", "www.", "a.alias.", "a.pool."] {
                for _ in 0..2 {
                    let name = format!("{name}example.org.");
                    trial::exchange(&name, Type::A, None).walk(&block);
                }
            }
        })
    };
    let line = |name: &str, told: &str| format!("INFO log: {name}.example.org. {told}\n").repeat(2);
    let told = [
        line("a.b.pool", "*.pool.example.org."),
        line("www", "-"),
        line("a.alias", "*.alias.example.org."),
        line("a.pool", "*.pool.example.org."),
    ];
    assert_eq!(lines("metadata", ""), told.concat());
    assert_eq!(lines("metadata", "cache"), told.concat());
    let untold = ["a.b.pool", "www", "a.alias", "a.pool"].map(|name| line(name, "-"));
    assert_eq!(lines("", "cache"), untold.concat());
}

#[test]
fn a_label_that_nobody_collects_is_warned_of() {
    let warned = |lines: &str| {
        let messages = trial::block(lines).messages;
        messages.contains("the label `forward/upstream` is not collected")
    };
    let log = "log . \"{common} {/forward/upstream}\"\nwhoami";
    assert!(warned(log));
    assert!(!warned(&format!("metadata\n{log}")));
    assert!(!warned("log . \"{common} {/log/class}\"\nwhoami"));
}
