mod aliases;

use std::fmt::Write as _;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use chain::{Block, BlockInfo, Exchange, Failure, Outcome, Router, resume};
use wire::{NameBuf, Qname, Rcode, Type};

use crate::trial::{self, Folder};

const ZONE: &str = "\
$ORIGIN example.org.
@ 3600 IN SOA ns hostmaster 1 7200 3600 1209600 60
@ 3600 IN NS ns
ns 3600 IN A 192.0.2.53
www 300 IN A 192.0.2.1
alias 300 IN CNAME www
out 300 IN CNAME target.example.net.
chain 300 IN CNAME out
gone 300 IN CNAME gone.example.net.
empty 300 IN CNAME empty.example.net.
nowhere 300 IN CNAME www.example.com.
broken 300 IN CNAME broken.example.net.
there 300 IN CNAME back.example.net.
loop1 300 IN CNAME loop2
loop2 300 IN CNAME loop1
mail 300 IN CNAME mail.example.net.
round 300 IN CNAME round.example.net.
*.turn 300 IN CNAME round.example.net.
";
const OTHER: &str = "\
$ORIGIN example.net.
@ 3600 IN SOA ns hostmaster 7 7200 3600 1209600 60
@ 3600 IN NS ns
target 30 IN A 192.0.2.7
empty 30 IN TXT x
back 30 IN CNAME www.example.org.
mail 30 IN MX 10 mx.mail
mail 30 IN MX 20 www.example.org.
round 30 IN CNAME round.example.org.
";

/// The blocks of a Corefile as one listener would have them.
struct Listener(Vec<Arc<Block>>);

impl Router for Listener {
    fn route(&self, qname: &Qname, _: Type) -> Option<Arc<Block>> {
        let origin = |block: &&Arc<Block>| block.info.origin.as_name().octets().len();
        self.0
            .iter()
            .filter(|block| qname.name().is_within(block.info.origin.as_name()))
            .max_by_key(origin)
            .cloned()
    }
}

impl Listener {
    fn new(trial: &trial::Trial) -> Arc<Self> {
        assert!(trial.accepted, "{}", trial.messages);
        let blocks = trial.blocks.iter().enumerate().flat_map(|(index, built)| {
            built.keys.iter().flat_map(move |key| {
                key.zones.iter().map(move |zone| {
                    let info = BlockInfo {
                        index,
                        ..trial::info(zone)
                    };
                    Arc::new(Block::new(info, built.chain.clone()))
                })
            })
        });
        let listener = Arc::new(Self(blocks.collect()));
        let router: Weak<dyn Router> = Arc::downgrade(&(listener.clone() as Arc<dyn Router>));
        for block in &listener.0 {
            block.set_router(router.clone());
        }
        listener
    }

    async fn exchange(&self, mut exchange: Box<Exchange>) -> Box<Exchange> {
        let block = self
            .route(&exchange.parsed.qname, exchange.parsed.qtype)
            .expect("a block");
        match exchange.walk(&block) {
            Outcome::Respond => exchange,
            Outcome::Silent | Outcome::Stream(_) => panic!("silence"),
            Outcome::Suspended(at) => resume(exchange, block, at).await.0,
        }
    }

    /// The answer in a few words.
    async fn ask(&self, name: &str, qtype: Type) -> String {
        show(self.exchange(trial::exchange(name, qtype, None)).await)
    }
}

fn show(mut exchange: Box<Exchange>) -> String {
    trial::told(&exchange.response())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

#[test]
fn lines_of_a_corefile() {
    let folder = Folder::new("file-lines");
    let db = folder.write("db", ZONE).display().to_string();
    folder.write("db-none", "www 60 IN A 192.0.2.1\n");
    let rows = [
        ("file DB example.org", ""),
        (
            "file DB example.org {\n reload 10s\n reload_by_mtime\n fallthrough\n upstream\n}",
            "",
        ),
        (
            "file DB example.org {\n upstream 192.0.2.53\n reload 0\n}",
            "",
        ),
        ("file /nowhere/db example.org", ""),
        (
            "file /nowhere/db example.org {\n reload 0\n}",
            "open /nowhere/db",
        ),
        ("file", "unexpected line ending after 'file'"),
        ("file DB example.org {\n reload\n}", "Wrong argument count"),
        ("file DB example.org {\n reload 10\n}", "missing unit"),
        (
            "file DB example.org {\n relaod 10s\n}",
            "unknown property 'relaod'",
        ),
        ("file DB a..b", "not a valid domain name"),
        // The SOA record of another zone is taken; a file without one is not.
        ("file DB example.com", ""),
        ("file DB-none example.com", "no SOA record at its apex"),
    ];
    for (lines, refusal) in rows {
        trial::table(&[(lines.replace("DB", &db).as_str(), refusal)]);
    }
}

#[test]
fn every_mistake_of_a_zone_is_told_at_start() {
    let folder = Folder::new("file-mistakes");
    let text = format!("{ZONE}a 300 IN A 192.0.2.300\nb 300 IN MX ten mx\n");
    let db = folder.write("db", &text).display().to_string();
    let said = trial::block(&format!("file {db} example.org")).messages;
    let lines = ZONE.lines().count();
    for place in [
        format!("{db}:{}:", lines + 1),
        format!("{db}:{}:", lines + 2),
    ] {
        assert!(said.contains(&place), "{said}");
    }
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}

/// The DS records of a zone are its parent's, where one block or one line has both (RFC 4035, section 3.1.4.1).
#[test]
fn ds_of_a_zone_comes_from_the_zone_above() {
    let folder = Folder::new("file-ds");
    let head = "@ 3600 IN SOA ns hostmaster 1 7200 3600 1209600 60\n@ 3600 IN NS ns\nns 3600 IN A 192.0.2.53\n";
    let digest = "ab".repeat(32);
    let ds = format!("300 IN DS 1 13 2 {digest}\n");
    folder.write(
        "parent",
        &format!("{head}child 300 IN NS ns.child\nchild {ds}plain 300 IN NS ns.plain\n"),
    );
    folder.write(
        "child",
        &format!("{head}below 300 IN NS ns.below\nbelow {ds}"),
    );
    let dir = folder.0.display();
    let lines = format!(
        " file {dir}/parent example.org\n file {dir}/child child.example.org\n file {dir}/child plain.example.org\n"
    );
    for corefile in [
        format!(". {{\n{lines}}}"),
        format!("example.org child.example.org plain.example.org {{\n{lines}}}"),
    ] {
        let listener = Listener::new(&trial::build(&corefile));
        let rows = [
            (
                "child.example.org",
                "NOERROR aa | child.example.org. 300 DS",
            ),
            ("plain.example.org", "NOERROR aa + SOA"),
            (
                "below.child.example.org",
                "NOERROR aa | below.child.example.org. 300 DS",
            ),
            ("www.child.example.org", "NXDOMAIN aa + SOA"),
            // Nobody here has the zone above.
            ("example.org", "NOERROR aa + SOA"),
        ];
        for (name, wanted) in rows {
            let told = runtime().block_on(listener.ask(name, Type::DS));
            assert!(told.starts_with(wanted), "{name}: {told}");
        }
        let mut none = runtime().block_on(listener.exchange(trial::exchange(
            "plain.example.org",
            Type::DS,
            None,
        )));
        let response = none.response();
        let soa = response.section(wire::Section::Authority).next();
        let owner = soa.and_then(Result::ok).and_then(|soa| soa.owner().ok());
        assert_eq!(
            owner.map(|owner| owner.to_string()).as_deref(),
            Some("example.org.")
        );
    }
}

#[test]
fn answers() {
    let folder = Folder::new("file-answers");
    folder.write("org", ZONE);
    folder.write("net", OTHER);
    let corefile = format!(
        "example.org {{\n file {0}/org\n}}
         example.net {{\n file {0}/net\n}}
         broken.example.net {{\n file {0}/missing\n}}
         example.edu {{\n file {0}/org example.org\n}}",
        folder.0.display()
    );
    let listener = Listener::new(&trial::build(&corefile));
    let rows = [
        (
            "www.example.org",
            Type::A,
            "NOERROR aa | www.example.org. 300 A 192.0.2.1 + NS",
        ),
        (
            "WWW.example.org",
            Type::A,
            "NOERROR aa | WWW.example.org. 300 A 192.0.2.1 + NS",
        ),
        ("www.example.org", Type::AAAA, "NOERROR aa + SOA"),
        ("x.example.org", Type::A, "NXDOMAIN aa + SOA"),
        (
            "alias.example.org",
            Type::A,
            "NOERROR aa | alias.example.org. 300 CNAME www.example.org. | www.example.org. 300 A 192.0.2.1 + NS",
        ),
        (
            "out.example.org",
            Type::CNAME,
            "NOERROR aa | out.example.org. 300 CNAME target.example.net. + NS",
        ),
        (
            "out.example.org",
            Type::A,
            "NOERROR aa | out.example.org. 300 CNAME target.example.net. | target.example.net. 30 A 192.0.2.7 + NS",
        ),
        (
            "chain.example.org",
            Type::A,
            "NOERROR aa | chain.example.org. 300 CNAME out.example.org. | out.example.org. 300 CNAME target.example.net. \
          | target.example.net. 30 A 192.0.2.7 + NS",
        ),
        (
            "gone.example.org",
            Type::A,
            "NXDOMAIN aa | gone.example.org. 300 CNAME gone.example.net. + SOA",
        ),
        (
            "empty.example.org",
            Type::A,
            "NOERROR aa | empty.example.org. 300 CNAME empty.example.net. + SOA",
        ),
        (
            "broken.example.org",
            Type::A,
            "SERVFAIL aa | broken.example.org. 300 CNAME broken.example.net. + NS",
        ),
        (
            "there.example.org",
            Type::A,
            "NOERROR aa | there.example.org. 300 CNAME back.example.net. | back.example.net. 30 CNAME www.example.org. \
          | www.example.org. 300 A 192.0.2.1 + NS",
        ),
        (
            "mail.example.org",
            Type::MX,
            "NOERROR aa | mail.example.org. 300 CNAME mail.example.net. | mail.example.net. 30 MX mx.mail.example.net. \
          | mail.example.net. 30 MX www.example.org. + NS",
        ),
        (
            "loop1.example.org",
            Type::A,
            "NOERROR aa | loop1.example.org. 300 CNAME loop2.example.org. | loop2.example.org. 300 CNAME loop1.example.org. + NS",
        ),
        (
            "round.example.org",
            Type::A,
            "SERVFAIL aa | round.example.org. 300 CNAME round.example.net. | round.example.net. 30 CNAME round.example.org. + NS",
        ),
        (
            "x.turn.example.org",
            Type::A,
            "SERVFAIL aa | x.turn.example.org. 300 CNAME round.example.net. | round.example.net. 30 CNAME round.example.org. \
          | round.example.org. 300 CNAME round.example.net. + NS",
        ),
        ("www.broken.example.net", Type::A, "SERVFAIL"),
        ("www.example.org", Type::AXFR, "REFUSED"),
        ("example.org", Type::IXFR, "REFUSED"),
        ("www.example.edu", Type::A, "REFUSED"),
    ];
    runtime().block_on(async {
        for (name, qtype, expected) in rows {
            assert_eq!(listener.ask(name, qtype).await, expected, "{name} {qtype}");
        }
        let nowhere = listener.ask("nowhere.example.org", Type::A).await;
        assert!(
            nowhere.starts_with("NOERROR aa | nowhere.example.org. 300 CNAME"),
            "{nowhere}"
        );
    });
}

#[test]
fn the_longest_zone_answers_and_unknown_names_fall_through() {
    let folder = Folder::new("file-longest");
    folder.write("org", ZONE);
    folder.write(
        "sub",
        "@ 60 IN SOA ns h 1 1 1 1 1\n@ 60 IN NS ns\nwww 60 IN A 192.0.2.99\n",
    );
    let lines = format!(
        "file {0}/org example.org {{\n fallthrough x.example.org\n}}\nfile {0}/sub sub.example.org",
        folder.0.display()
    );
    let trial = trial::block(&lines);
    assert!(trial.accepted, "{}", trial.messages);
    let below = trial::answer(|_, _| Err(Failure::policy(Rcode::YXDOMAIN)));
    let block = trial::serve(&trial, ".", below);
    for (name, expected) in [
        (
            "www.sub.example.org",
            "NOERROR aa | www.sub.example.org. 60 A 192.0.2.99 + NS",
        ),
        (
            "www.example.org",
            "NOERROR aa | www.example.org. 300 A 192.0.2.1 + NS",
        ),
        ("x.example.org", "YXDOMAIN"),
        ("a.x.example.org", "YXDOMAIN"),
        ("y.example.org", "NXDOMAIN aa + SOA"),
        ("www.example.com", "YXDOMAIN"),
    ] {
        let mut exchange = trial::exchange(name, Type::A, None);
        assert_eq!(exchange.walk(&block), Outcome::Respond, "{name}");
        assert_eq!(show(exchange), expected, "{name}");
    }
}

/// As CoreDNS does: the SOA record in negative responses is the one that is in the file, whatever its owner.
#[test]
fn a_file_of_another_zone_is_served_as_it_is_written() {
    let folder = Folder::new("file-foreign");
    let text = "$ORIGIN test.com.\n@ 60 IN SOA ns h 7 1 1 1 1\nwww 60 IN A 192.0.2.1\n";
    folder.write("db", text);
    for (block, nothing) in [
        (".", "nothing.example"),
        ("com", "nothing.com"),
        ("example.org", "nothing.example.org"),
    ] {
        let corefile = format!("{block} {{\n file {}/db\n}}", folder.0.display());
        let listener = Listener::new(&trial::build(&corefile));
        let ask = |name: &str| {
            let exchange = listener.exchange(trial::exchange(name, Type::A, None));
            let mut exchange = runtime().block_on(exchange);
            let response = exchange.response();
            let owners: Vec<String> = response
                .section(wire::Section::Authority)
                .map(|record| {
                    record
                        .expect("a record")
                        .owner()
                        .expect("a name")
                        .to_string()
                })
                .collect();
            (trial::told(&response), owners)
        };
        let (told, owners) = ask(nothing);
        assert_eq!(told, "NXDOMAIN aa + SOA", "{block}");
        assert_eq!(owners, ["test.com."], "{block}");
        if block != "example.org" {
            let (told, _) = ask("www.test.com");
            assert_eq!(told, "NOERROR aa | www.test.com. 60 A 192.0.2.1", "{block}");
            let (told, owners) = ask("nothing.test.com");
            assert_eq!(told, "NXDOMAIN aa + SOA", "{block}");
            assert_eq!(owners, ["test.com."], "{block}");
        }
    }
}

#[test]
fn a_reverse_zone_by_prefix() {
    let folder = Folder::new("file-reverse");
    folder.write(
        "db",
        "@ 60 IN SOA ns h 1 1 1 1 1\n@ 60 IN NS ns.example.org.\n1 60 IN PTR www.example.org.\n",
    );
    let corefile = format!("192.0.2.0/24 {{\n file {}/db\n}}", folder.0.display());
    let listener = Listener::new(&trial::build(&corefile));
    let answer = runtime().block_on(listener.ask("1.2.0.192.in-addr.arpa", Type::PTR));
    assert_eq!(
        answer,
        "NOERROR aa | 1.2.0.192.in-addr.arpa. 60 PTR www.example.org. + NS"
    );
}

/// Waits until the answer is as expected; gives how long that took.
async fn until(listener: &Listener, expected: &str) -> Duration {
    let began = Instant::now();
    loop {
        let answer = listener.ask("www.example.org", Type::A).await;
        if answer.contains(expected) {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{answer}, not {expected}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn followed<F: Future<Output = ()>>(lines: &str, test: impl FnOnce(Arc<Listener>) -> F) {
    let mut trial = trial::block(lines);
    let listener = Listener::new(&trial);
    runtime().block_on(async {
        for task in trial.process.tasks.drain(..) {
            tokio::spawn(task.work);
        }
        test(listener).await;
    });
}

fn version(serial: u32, address: &str) -> String {
    ZONE.replace("hostmaster 1 ", &format!("hostmaster {serial} "))
        .replace("192.0.2.1\n", &format!("{address}\n"))
}

fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("a file");
    std::fs::rename(draft, path).expect("a rename");
}

#[test]
fn a_new_serial_is_served_at_once_and_a_broken_edit_is_not() {
    let folder = Folder::new("file-serial");
    let path = folder.write("db", ZONE);
    // Loading runs on a thread of its own, where this test's log does not reach; what the log says is seen in the other tests.
    followed(
        &format!("file {} example.org", path.display()),
        async |listener| {
            until(&listener, "192.0.2.1 ").await;
            replace(&path, &version(2, "192.0.2.2"));
            // The interval is a minute: only a notice is so quick.
            assert!(until(&listener, "192.0.2.2").await < Duration::from_secs(2));
            replace(&path, &version(2, "192.0.2.3"));
            stays(&listener, "192.0.2.2").await;
            replace(&path, &version(3, "192.0.2.300"));
            stays(&listener, "192.0.2.2").await;
            std::fs::remove_file(&path).expect("removed");
            stays(&listener, "192.0.2.2").await;
            replace(&path, &version(4, "192.0.2.4"));
            until(&listener, "192.0.2.4").await;
        },
    );
}

/// Looks for a while whether the answer stays as it is.
async fn stays(listener: &Arc<Listener>, expected: &str) {
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        let answer = listener.ask("www.example.org", Type::A).await;
        assert!(answer.contains(expected), "{answer}, not {expected}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn time_alone_counts_where_it_is_said_so() {
    let folder = Folder::new("file-time");
    let path = folder.write("db", ZONE);
    let lines = format!(
        "file {} example.org {{\n reload_by_mtime\n}}",
        path.display()
    );
    followed(&lines, async |listener| {
        replace(&path, &version(1, "192.0.2.2"));
        until(&listener, "192.0.2.2").await;
    });
}

/// What CoreDNS starts with refuses its zone, and nothing else.
#[test]
fn records_that_contradict_each_other_refuse_their_zone() {
    const ZONE: &str =
        "@ 60 IN SOA ns h 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.53\nwww 60 A 192.0.2.1\n";
    let folder = Folder::new("file-conflict");
    let good = folder.write("good", ZONE);
    for (number, records) in [
        "a 60 CNAME b\na 60 A 192.0.2.7\n",
        "a 60 CNAME b\na 60 CNAME c\n",
        "a 60 SOA ns1 h 1 2 3 4 5\n",
    ]
    .iter()
    .enumerate()
    {
        let bad = folder.write(&format!("bad{number}"), &format!("{ZONE}{records}"));
        let lines = |strict: &str| {
            format!(
                "file {} example.org\nfile {} example.net {{\n {strict}\n reload 100ms\n}}",
                good.display(),
                bad.display()
            )
        };
        let strict = trial::block(&lines("strict"));
        assert!(!strict.accepted, "{records}");
        let said = trial::logged(|| drop(trial::block(&lines(""))));
        assert!(said.contains("The zone is not served"), "{said}");
        followed(&lines(""), async |listener| {
            assert!(
                listener
                    .ask("www.example.org", Type::A)
                    .await
                    .contains("192.0.2.1")
            );
            assert_eq!(listener.ask("www.example.net", Type::A).await, "SERVFAIL");
            std::fs::write(&bad, ZONE).expect("a file");
            let answered = async || {
                listener
                    .ask("www.example.net", Type::A)
                    .await
                    .contains("192.0.2.1")
            };
            for _ in 0..500 {
                if answered().await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("{records}: the mended zone is not served");
        });
    }
}

#[test]
fn a_missing_file_is_tried_again() {
    let folder = Folder::new("file-missing");
    let path = folder.0.join("db");
    let lines = format!("file {} example.org {{\n reload 100ms\n}}", path.display());
    let said = trial::logged(|| drop(trial::block(&lines)));
    assert!(said.contains("WARN plugin/file: Failed to open "), "{said}");
    assert!(said.contains("trying again in 100ms"), "{said}");
    followed(&lines, async |listener| {
        let answer = listener.ask("www.example.org", Type::A).await;
        assert_eq!(answer, "SERVFAIL");
        std::fs::write(&path, ZONE).expect("a file");
        until(&listener, "192.0.2.1").await;
    });
}

#[test]
fn what_a_reload_says() {
    use chain::master::MasterFile;
    let folder = Folder::new("file-says");
    let path = folder.write("db", ZONE);
    let apex: NameBuf = "example.org".parse().expect("a name");
    let file = MasterFile::new(super::setup::FILE, path.clone(), &[apex]);
    let (mut source, mistakes) = file.load();
    assert_eq!(mistakes, []);
    let mut long = version(4, "192.0.2.4");
    for n in 0..20 {
        let _ = writeln!(long, "h{n} IN A 192.0.2.9");
    }
    for (text, expected) in [
        (ZONE.to_owned(), ""),
        (
            version(2, "192.0.2.2"),
            "INFO plugin/file: Successfully reloaded zone \"example.org.\" in ",
        ),
        (
            version(2, "192.0.2.30"),
            "but its SOA serial has not: 2 is served, 2 is in the file: not reloaded",
        ),
        (version(2, "192.0.2.2"), ""),
        (version(3, "192.0.2.300"), ":5:14: "),
        (long, "with 4 SOA serial"),
        (
            version(5, "192.0.2.5"),
            "has lost more than half of its names: ",
        ),
        (
            version(4, "192.0.2.6"),
            "has a lower SOA serial than before, 4 instead of 5: secondaries keep the old version",
        ),
    ] {
        replace(&path, &text);
        let said = trial::logged(|| source.refresh());
        assert!(said.contains(expected), "{expected}: {said}");
        assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
        assert_eq!(trial::logged(|| source.refresh()), "", "said once");
    }
}
