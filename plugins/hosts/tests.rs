use std::fmt::Write as _;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chain::{Block, Failure, Flow, Outcome};
use wire::{Flags, NameBuf, Rcode, Type};

use super::lines::Gathered;
use super::table::Table;
use crate::trial::{self, Folder};

/// The lines of a block at work, with a plugin below that answers NXDOMAIN.
fn serve(lines: &str) -> Arc<Block> {
    let trial = trial::block(lines);
    assert!(trial.accepted, "{lines}: {}", trial.messages);
    trial::serve(
        &trial,
        ".",
        trial::answer(|_, response| {
            response.set_rcode(Rcode::NXDOMAIN);
            Ok(Flow::Answered)
        }),
    )
}

/// The answer in a few words; NXDOMAIN came from below.
fn ask(block: &Arc<Block>, name: &str, qtype: Type) -> String {
    let mut exchange = trial::exchange(name, qtype, None);
    assert_eq!(exchange.walk(block), Outcome::Respond);
    trial::told(&exchange.response())
}

#[test]
fn lines_of_a_corefile() {
    trial::table(&[
        ("hosts", ""),
        ("hosts /etc/hosts example.org 192.0.2.0/24", ""),
        ("hosts {\n fallthrough\n}", ""),
        (
            "hosts {\n fallthrough example.org\n fallthrough_unsupported\n}",
            "",
        ),
        ("hosts {\n ttl 60\n reload 500ms\n no_reverse\n}", ""),
        ("hosts {\n reload 0\n}", ""),
        (
            "hosts {\n 192.0.2.1 nas.lan nas\n fe80::1%eth0 nas.lan\n fallthrough\n}",
            "",
        ),
        (
            "hosts {\n 192.0.2.1 a.lan\n}\nhosts {\n 192.0.2.2 b.lan\n fallthrough\n}",
            "",
        ),
        ("hosts {\n falthrough\n}", "unknown property 'falthrough'"),
        (
            "hosts {\n fallthrough\n 192.0.2.1 nas.lan\n}",
            "unknown property '192.0.2.1'",
        ),
        ("hosts {\n 192.0.2.256 nas.lan\n}", "not an IP address"),
        (
            "hosts {\n 192.0.2.1 nas..lan\n}",
            "not a valid domain name: nas..lan",
        ),
        ("hosts {\n ttl 0\n}", "out of range"),
        ("hosts {\n ttl 65536\n}", "out of range"),
        ("hosts {\n ttl\n}", "Wrong argument count"),
        ("hosts {\n reload 5\n}", "missing unit"),
        ("hosts {\n reload -5s\n}", "negative duration"),
        ("hosts {\n no_reverse yes\n}", "Wrong argument count"),
        (
            "hosts {\n fallthrough_unsupported\n}",
            "requires fallthrough",
        ),
        (
            "hosts {\n fallthrough\n fallthrough_unsupported example.org\n}",
            "Wrong argument count",
        ),
    ]);
}

#[test]
fn lints() {
    let said = trial::block("hosts {\n 192.0.2.1 nas.lan\n}\nfile /dev/null").messages;
    assert!(said.contains("`file` is never asked"), "{said}");
    let said = trial::block("hosts {\n 192.0.2.1 nas.lan\n fallthrough\n}\nwhoami").messages;
    assert!(!said.contains("never asked"), "{said}");
    let said = trial::block("hosts {\n 192.0.2.1 a.lan\n}\nhosts {\n 192.0.2.2 b.lan\n}").messages;
    assert!(said.contains("this `hosts` is never asked"), "{said}");
    let (_, report) = trial::plan(". {\n    hosts a\n    file b\n}\n");
    let fix = report.iter().find_map(|d| d.fix.as_ref()).expect("a fix");
    assert_eq!(fix.replacement, " {\n        fallthrough\n    }");
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}

#[test]
fn answers() {
    let block = serve(
        "hosts /dev/null {
            192.0.2.1 nas.lan NAS
            192.0.2.2 nas.lan
            192.0.2.1 nas.lan
            2001:db8::1 v6.lan
            ::ffff:192.0.2.9 mapped.lan
            192.0.2.20 *.apps.lan
            192.0.2.21 a.apps.lan
            192.0.2.30 **.deep.lan
            ttl 60
            fallthrough
        }",
    );
    for (name, qtype, expected) in [
        (
            "nas.lan",
            Type::A,
            "NOERROR aa | nas.lan. 60 A 192.0.2.1 | nas.lan. 60 A 192.0.2.2",
        ),
        (
            "NAS.lan",
            Type::A,
            "NOERROR aa | nas.lan. 60 A 192.0.2.1 | nas.lan. 60 A 192.0.2.2",
        ),
        ("nas", Type::A, "NOERROR aa | nas. 60 A 192.0.2.1"),
        ("nas.lan", Type::AAAA, "NOERROR aa"),
        ("nas.lan", Type::TXT, "NOERROR aa"),
        (
            "v6.lan",
            Type::AAAA,
            "NOERROR aa | v6.lan. 60 AAAA 2001:db8::1",
        ),
        (
            "mapped.lan",
            Type::A,
            "NOERROR aa | mapped.lan. 60 A 192.0.2.9",
        ),
        ("mapped.lan", Type::AAAA, "NOERROR aa"),
        (
            "x.apps.lan",
            Type::A,
            "NOERROR aa | x.apps.lan. 60 A 192.0.2.20",
        ),
        (
            "a.apps.lan",
            Type::A,
            "NOERROR aa | a.apps.lan. 60 A 192.0.2.21",
        ),
        ("x.y.apps.lan", Type::A, "NXDOMAIN"),
        ("apps.lan", Type::A, "NXDOMAIN"),
        (
            "x.deep.lan",
            Type::A,
            "NOERROR aa | x.deep.lan. 60 A 192.0.2.30",
        ),
        (
            "x.y.deep.lan",
            Type::A,
            "NOERROR aa | x.y.deep.lan. 60 A 192.0.2.30",
        ),
        ("deep.lan", Type::A, "NXDOMAIN"),
        ("other.lan", Type::A, "NXDOMAIN"),
        ("other.lan", Type::TXT, "NXDOMAIN"),
        (".", Type::A, "NXDOMAIN"),
        (
            "1.2.0.192.in-addr.arpa",
            Type::PTR,
            "NOERROR aa | 1.2.0.192.in-addr.arpa. 60 PTR nas.lan. | 1.2.0.192.in-addr.arpa. 60 PTR nas.",
        ),
        (
            "1.2.0.192.IN-ADDR.arpa",
            Type::PTR,
            "NOERROR aa | 1.2.0.192.in-addr.arpa. 60 PTR nas.lan. | 1.2.0.192.in-addr.arpa. 60 PTR nas.",
        ),
        ("1.2.0.192.in-addr.arpa", Type::A, "NXDOMAIN"),
        ("01.2.0.192.in-addr.arpa", Type::PTR, "NXDOMAIN"),
        ("20.2.0.192.in-addr.arpa", Type::PTR, "NXDOMAIN"),
        (
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            Type::PTR,
            "NOERROR aa | 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 60 PTR v6.lan.",
        ),
    ] {
        assert_eq!(ask(&block, name, qtype), expected, "{name} {qtype}");
    }
}

#[test]
fn what_goes_on() {
    let rows = [
        ("", "x.lan", Type::A, "SERVFAIL"),
        ("", "x.lan", Type::PTR, "NXDOMAIN"),
        ("", "nas.lan", Type::TXT, "NOERROR aa"),
        ("fallthrough", "nas.lan", Type::TXT, "NOERROR aa"),
        ("fallthrough lan", "x.lan", Type::A, "NXDOMAIN"),
        ("fallthrough lan", "x.org", Type::A, "SERVFAIL"),
        (
            "fallthrough\nfallthrough_unsupported",
            "nas.lan",
            Type::TXT,
            "NXDOMAIN",
        ),
        (
            "fallthrough\nfallthrough_unsupported",
            "nas.lan",
            Type::AAAA,
            "NOERROR aa",
        ),
        (
            "fallthrough org\nfallthrough_unsupported",
            "nas.lan",
            Type::TXT,
            "NOERROR aa",
        ),
        (
            "no_reverse",
            "1.2.0.192.in-addr.arpa",
            Type::PTR,
            "NXDOMAIN",
        ),
    ];
    for (options, name, qtype, expected) in rows {
        let block = serve(&format!(
            "hosts /dev/null {{\n 192.0.2.1 nas.lan\n{options}\n}}"
        ));
        assert_eq!(
            ask(&block, name, qtype),
            expected,
            "{options}: {name} {qtype}"
        );
    }
    let zoned = serve("hosts /dev/null lan {\n 192.0.2.1 nas.lan nas.org\n}");
    assert_eq!(ask(&zoned, "nas.org", Type::A), "NXDOMAIN");
    let reverse = ask(&zoned, "1.2.0.192.in-addr.arpa", Type::PTR);
    assert_eq!(
        reverse,
        "NOERROR aa | 1.2.0.192.in-addr.arpa. 3600 PTR nas.lan."
    );
    let two = serve(
        "hosts /dev/null {\n 192.0.2.1 a.lan\n fallthrough\n}\nhosts /dev/null {\n 192.0.2.2 b.lan\n}",
    );
    assert_eq!(
        ask(&two, "b.lan", Type::A),
        "NOERROR aa | b.lan. 3600 A 192.0.2.2"
    );
    assert_eq!(ask(&two, "c.lan", Type::A), "SERVFAIL");
}

#[test]
fn a_failure_tells_what_is_missing() {
    let block = serve("hosts /dev/null {\n 192.0.2.1 nas.lan\n}");
    let mut exchange = trial::exchange("x.lan", Type::A, None);
    exchange.walk(&block);
    let (query, _) = exchange.views(&block);
    let failure: &Failure = query.failure().expect("a failure");
    assert!(
        failure
            .extended
            .as_ref()
            .is_some_and(|e| e.text.contains("no fallthrough"))
    );
}

#[test]
fn a_file_is_read_line_by_line_and_all_or_nothing() {
    let root = [NameBuf::root()];
    let text = b"\xEF\xBB\xBF192.0.2.1 a.example.org\nbad\n192.0.2.2 b.example.org";
    let len = text.len() as u64;
    for (limit, entries, bad) in [(len, 3, 1), (len - 1, 1, 0), (0, 1, 0)] {
        let mut gathered = gather(b"192.0.2.9 before.example.org");
        let read = gathered.read_from("f", &text[..], limit, &root);
        assert_eq!(read.is_ok(), limit == len, "{limit}");
        assert_eq!(
            (gathered.entries.len(), gathered.bad),
            (entries, bad),
            "{limit}"
        );
        assert_eq!(gathered.complaints.len(), bad, "{limit}");
    }
}

fn gather(text: &[u8]) -> Gathered {
    let mut gathered = Gathered::default();
    gathered.read("hosts", text, &[NameBuf::root()]);
    gathered
}

#[test]
fn bad_lines_are_told_and_good_ones_kept() {
    let long = format!("192.0.2.1 {}x\n", "a.".repeat(130));
    let rows: [(&[u8], usize, &str); 14] = [
        (
            b"\xEF\xBB\xBF192.0.2.1 nas\r\n192.0.2.2 nas # c\r\n#192.0.2.3 x\n\n",
            2,
            "",
        ),
        (b"192.0.2.1 nas", 1, ""),
        (b"\t fe80::1%eth0\tnas \x0B nas2\n", 2, ""),
        ("192.0.2.1 bücher.example\n".as_bytes(), 1, ""),
        (b"reload 5s\n", 0, "hosts:1:1: not an IP address: `reload`"),
        (
            b"192.0.2 nas\n192.0.2.1 nas\n",
            1,
            "hosts:1:1: not an IP address: `192.0.2`",
        ),
        (b"192.0.2.1\n", 0, "hosts:1:1: no name after `192.0.2.1`"),
        (b"192.0.2.1 # nas\n", 0, "hosts:1:1: no name after"),
        (
            b"192.0.2.1 ok a..b\n",
            1,
            "hosts:1:14: a label is empty: `a..b`",
        ),
        (
            b"192.0.2.1 \xFF\xFE\n",
            0,
            "hosts:1:11: the name is not UTF-8: `\\xff\\xfe`",
        ),
        (b"192.0.2.1 a\0b\n", 0, "a control character in the name"),
        (
            b"\x7FELF\x02\x01\x01\0\0\n\xDE\xAD\xBE\xEF\n",
            0,
            "not an IP address",
        ),
        (long.as_bytes(), 0, "longer than 255 octets"),
        (
            b"192.0.2.1 ok\n192.0.2.",
            1,
            "hosts:2:1: not an IP address: `192.0.2.`",
        ),
    ];
    for (text, entries, complaint) in rows {
        let gathered = gather(text);
        let shown = text.escape_ascii();
        assert_eq!(gathered.entries.len(), entries, "{shown}");
        let said = gathered
            .complaints
            .first()
            .map_or_else(String::new, ToString::to_string);
        assert_eq!(said.is_empty(), complaint.is_empty(), "{shown}: {said}");
        assert!(said.contains(complaint), "{shown}: {said}");
    }
    let many = gather("nonsense\n".repeat(1_000).as_bytes());
    assert_eq!((many.complaints.len(), many.bad), (10, 1_000));
    let names = gather("192.0.2.1 bücher.example\n".as_bytes());
    assert_eq!(
        names.name(&names.entries[0]),
        b"\x0dxn--bcher-kva\x07example\0"
    );
}

#[test]
fn ten_thousand_lines_take_little_more_than_a_mebibyte() {
    let mut text = String::new();
    for n in 0..10_000u32 {
        let _ = writeln!(text, "10.0.{}.{} host-{n}.example.org", n >> 8, n & 255);
    }
    let table = Table::new(&gather(text.as_bytes()), 3_600, true);
    assert_eq!(table.len(), 20_000);
    assert!(table.size() <= 1_200_000, "{} octets", table.size());
    for n in [0, 1, 4_711, 9_999] {
        let name: NameBuf = format!("host-{n}.example.org").parse().expect("a name");
        let found = table.find(&name.as_name().into()).expect("an entry");
        assert_eq!(found.a.octets[12..], [10, 0, (n >> 8) as u8, n as u8]);
    }
}

#[test]
fn a_blocklist_has_one_address_for_all_its_names() {
    let mut text = String::new();
    for n in 0..50_000 {
        let _ = writeln!(text, "0.0.0.0 ads-{n}.example.org");
    }
    let table = Table::new(&gather(text.as_bytes()), 3_600, true);
    let run = table.pointers([0, 0, 0, 0].into()).expect("pointers");
    assert!(run.octets.len() <= 60_000 && run.count > 1_000);
    let name: NameBuf = "ads-49999.example.org".parse().expect("a name");
    assert!(table.find(&name.as_name().into()).is_some());
}

#[test]
fn an_answer_larger_than_the_buffer_is_cut_between_records() {
    let mut lines = String::from("hosts /dev/null {\n");
    for n in 0..400 {
        let _ = writeln!(lines, " 10.0.{}.{} many.lan", n >> 8, n & 255);
    }
    let block = serve(&format!("{lines}}}"));
    let mut exchange = trial::exchange("many.lan", Type::A, None);
    exchange.walk(&block);
    let response = exchange.response();
    assert!(response.flags().has(Flags::TC));
    let whole = response.records().filter(|record| record.is_ok()).count();
    assert_eq!(whole, (4_096 - response.question_end()) / 16);
}

/// Runs the work of a trial beside `test`.
fn beside(trial: &mut trial::Trial, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for task in trial.process.tasks.drain(..) {
            tokio::spawn(task.work);
        }
        test.await;
    });
}

/// Waits until the answer is as expected; gives how long that took.
async fn until(block: &Arc<Block>, name: &str, expected: &str) -> Duration {
    let began = Instant::now();
    loop {
        let answer = ask(block, name, Type::A);
        if answer.contains(expected) {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{name}: {answer}, not {expected}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Looks for a while whether the answer stays as it is.
async fn stays(block: &Arc<Block>, name: &str, expected: &str) {
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        let answer = ask(block, name, Type::A);
        assert!(answer.contains(expected), "{answer}, not {expected}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn followed(lines: &str, test: impl AsyncFnOnce(Arc<Block>)) {
    let mut trial = trial::block(lines);
    assert!(trial.accepted, "{}", trial.messages);
    let block = trial::serve(
        &trial,
        ".",
        trial::answer(|_, _| Err(Failure::policy(Rcode::NXDOMAIN))),
    );
    beside(&mut trial, test(block));
}

fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("a file");
    std::fs::rename(draft, path).expect("a rename");
}

#[test]
fn an_edit_is_served_at_once() {
    let folder = Folder::new("hosts-edit");
    let path = folder.write("hosts", "192.0.2.1 nas.lan\n");
    followed(
        &format!("hosts {} {{\n fallthrough\n}}", path.display()),
        async |block| {
            until(&block, "nas.lan", "192.0.2.1").await;
            std::fs::write(&path, "192.0.2.2 nas.lan\n").expect("a file");
            let in_place = until(&block, "nas.lan", "192.0.2.2").await;
            replace(&path, "192.0.2.3 nas.lan\n");
            let renamed = until(&block, "nas.lan", "192.0.2.3").await;
            // The interval is 5 s: only a notice is so quick. The bound is generous, since tests share a machine.
            assert!(
                in_place.max(renamed) < Duration::from_secs(2),
                "{in_place:?} {renamed:?}"
            );
            std::fs::remove_file(&path).expect("removed");
            stays(&block, "nas.lan", "192.0.2.3").await;
            std::fs::write(&path, "192.0.2.4 nas.lan\n").expect("a file");
            until(&block, "nas.lan", "192.0.2.4").await;
        },
    );
}

#[cfg(unix)]
#[test]
fn a_configmap_is_swapped_by_its_symlink() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new("hosts-configmap");
    for (version, address) in [("..1", "192.0.2.1"), ("..2", "192.0.2.2")] {
        std::fs::create_dir(folder.0.join(version)).expect("a directory");
        folder.write(&format!("{version}/hosts"), &format!("{address} nas.lan\n"));
    }
    symlink("..1", folder.0.join("..data")).expect("a link");
    symlink("..data/hosts", folder.0.join("hosts")).expect("a link");
    let path = folder.0.join("hosts");
    followed(&format!("hosts {}", path.display()), async |block| {
        until(&block, "nas.lan", "192.0.2.1").await;
        symlink("..2", folder.0.join("..new")).expect("a link");
        std::fs::rename(folder.0.join("..new"), folder.0.join("..data")).expect("a rename");
        assert!(until(&block, "nas.lan", "192.0.2.2").await < Duration::from_secs(2));
    });
}

#[test]
fn a_directory_is_read_in_the_order_of_names() {
    let folder = Folder::new("hosts-directory");
    folder.write("20-b", "192.0.2.2 nas.lan\n");
    folder.write("10-a", "192.0.2.1 nas.lan\n");
    folder.write(".hidden", "192.0.2.9 nas.lan\n");
    followed(&format!("hosts {}", folder.0.display()), async |block| {
        let both = "192.0.2.1 | nas.lan. 3600 A 192.0.2.2";
        until(&block, "nas.lan", both).await;
        folder.write("30-c", "192.0.2.3 new.lan\n");
        until(&block, "new.lan", "192.0.2.3").await;
        std::fs::remove_file(folder.0.join("10-a")).expect("removed");
        until(&block, "nas.lan", "aa | nas.lan. 3600 A 192.0.2.2").await;
    });
    let pattern = serve(&format!("hosts {}/*-b", folder.0.display()));
    assert_eq!(
        ask(&pattern, "nas.lan", Type::A),
        "NOERROR aa | nas.lan. 3600 A 192.0.2.2"
    );
}

#[test]
fn a_missing_file_may_come() {
    let folder = Folder::new("hosts-missing");
    let path = folder.0.join("hosts");
    let lines = format!(
        "hosts {} {{\n 192.0.2.9 inline.lan\n reload 100ms\n}}",
        path.display()
    );
    let said = trial::logged(|| drop(trial::block(&lines)));
    assert!(
        said.contains("WARN plugin/hosts: File does not exist: "),
        "{said}"
    );
    followed(&lines, async |block| {
        until(&block, "inline.lan", "192.0.2.9").await;
        std::fs::write(&path, "192.0.2.1 nas.lan\nbroken").expect("a file");
        until(&block, "nas.lan", "192.0.2.1").await;
        until(&block, "inline.lan", "192.0.2.9").await;
    });
}

proptest::proptest! {
    #[test]
    fn octets_of_any_kind_are_read(text: Vec<u8>) {
        let gathered = gather(&text);
        Table::new(&gathered, 1, true);
    }
}

#[test]
fn a_block_with_too_many_handlers_is_refused_before_anything_is_built() {
    for (hosts, wanted) in [(63, true), (64, false), (70, false)] {
        let lines = "hosts {\n 192.0.2.1 a.example\n fallthrough\n}\n".repeat(hosts);
        let text = format!(". {{\n{lines}whoami\n}}\n");
        let (planned, report) = trial::plan(&text);
        let found = report.iter().find(|found| found.code == "CF0317");
        assert_eq!(found.is_none(), wanted, "{hosts}");
        if wanted {
            let built = chain::setup::build(planned, crate::ORDER, &mut Default::default());
            assert_eq!(built.unwrap()[0].chain.steps().len(), 64);
        } else {
            assert!(found.unwrap().span().is_some());
        }
    }
}
