use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chain::{Block, Failure, Outcome};
use notify::event::{AccessKind, EventKind};
use notify::{RecursiveMode, Watcher};
use wire::{Rcode, Type};

use crate::trial::{self, Folder};

fn zone(serial: u32, address: &str) -> String {
    format!(
        "@ 60 IN SOA ns h {serial} 1 1 1 1\n@ 60 IN NS ns\nns 60 IN A 192.0.2.53\nwww 60 IN A {address}\n"
    )
}

/// Puts a file in place whole.
fn put(path: &Path, text: &str) {
    let draft = path.with_file_name(".draft");
    std::fs::write(&draft, text).expect("a file");
    std::fs::rename(draft, path).expect("a rename");
}

/// The first block of these lines, serving the root zone with nobody below.
fn serve(trial: &trial::Trial) -> Arc<Block> {
    assert!(trial.accepted, "{}", trial.messages);
    let steps = trial.blocks[0].chain.steps().iter();
    trial::chain(steps.map(|step| step.plugin.clone()))
}

fn ask(block: &Arc<Block>, name: &str) -> String {
    let mut exchange = trial::exchange(name, Type::A, None);
    assert_eq!(exchange.walk(block), Outcome::Respond, "{name}");
    trial::told(&exchange.response())
}

#[test]
fn lines_of_a_corefile() {
    let folder = Folder::new("auto-lines");
    let dir = folder.0.display().to_string();
    let long = format!("auto {{\n directory DIR ({}) {{1}}\n}}", "x".repeat(10_000));
    let rows = [
        ("auto", ""),
        ("auto example.org {\n directory DIR\n}", ""),
        (
            "auto {\n directory DIR\n reload 5s\n upstream 192.0.2.53\n}",
            "",
        ),
        ("auto {\n directory DIR\n reload 0\n}", ""),
        ("auto {\n directory /nowhere/zones\n}", ""),
        (
            "auto {\n directory DIR (.*)\\.zone {1}\n}\nauto {\n directory DIR\n}",
            "",
        ),
        ("auto {\n directory DIR (.*)\n}", "Wrong argument count"),
        (
            "auto {\n directory DIR (.*) {1} aa\n}",
            "Wrong argument count",
        ),
        ("auto {\n directory\n}", "Wrong argument count"),
        ("auto {\n directory DIR * {1}\n}", "could not parse regex"),
        (
            "auto {\n directory DIR db.* {1}\n}",
            "Need at least one sub expression",
        ),
        (long.as_str(), "regex pattern too long"),
        ("auto {\n directory DIR\n reload\n}", "Wrong argument count"),
        ("auto {\n directory DIR\n reload -1s\n}", "negative"),
        (
            "auto {\n directory DIR\n no_reload\n}",
            "unknown property 'no_reload'",
        ),
        (
            "auto {\n directory DIR\n transfer to 192.0.2.53\n}",
            "unknown property",
        ),
    ];
    for (lines, refusal) in rows {
        trial::table(&[(lines.replace("DIR", &dir).as_str(), refusal)]);
    }
    let file = folder.write("file", "");
    let beneath = format!("auto {{\n directory {}/zones\n}}", file.display());
    trial::table(&[(&beneath, "Unable to access root path")]);
    let said = trial::logged(|| drop(trial::block("auto {\n directory /nowhere/zones\n}")));
    assert!(
        said.contains("WARN plugin/auto: Directory does not exist: /nowhere/zones"),
        "{said}"
    );
    assert!(trial::block("auto").messages.contains("has no directory"));
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}

#[test]
fn answers() {
    let folder = Folder::new("auto-answers");
    std::fs::create_dir_all(folder.0.join("a/..2026")).expect("a directory");
    std::fs::create_dir_all(folder.0.join(".git")).expect("a directory");
    for (name, address) in [
        ("db.example.org", "192.0.2.1"),
        ("db.EXAMPLE.net", "192.0.2.2"),
        ("a/xdb.sub.example.org", "192.0.2.3"),
        ("a/..2026/db.example.edu", "192.0.2.4"),
        // Two files of one zone: the first by path counts.
        ("a/db.two.example", "192.0.2.5"),
        ("db.two.example", "192.0.2.6"),
        // No zones.
        ("aa.example.com", "192.0.2.7"),
        (".db.example.com", "192.0.2.7"),
        ("db.example.com~", "192.0.2.7"),
        (".git/db.example.com", "192.0.2.7"),
        ("db.a..b", "192.0.2.7"),
        ("db.", "192.0.2.7"),
    ] {
        folder.write(name, &zone(1, address));
    }
    // A ConfigMap's file is there twice.
    std::os::unix::fs::symlink("..2026/db.example.edu", folder.0.join("a/db.example.edu"))
        .expect("a link");
    let bad = folder.write(
        "db.bad.example",
        &(zone(1, "192.0.2.8") + "x IN A 192.0.2.300\n"),
    );
    let dir = folder.0.display().to_string();
    let lines = format!("auto {{\n directory {dir}\n}}");
    let said = trial::logged(|| drop(trial::block(&lines)));
    for part in [
        format!("INFO plugin/auto: Inserting zone `example.org.' from: {dir}/db.example.org"),
        format!(
            "WARN plugin/auto: Multiple zone files match origin \"two.example.\": using \"{dir}/a/db.two.example\" instead"
        ),
        format!(
            "ERROR plugin/auto: Parsing zone \"bad.example.\": {}:5:8: ",
            bad.display()
        ),
        format!("{dir}/db.a..b is no zone: "),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    assert_eq!(said.matches("Multiple").count(), 1, "{said}");
    let trial = trial::block(&lines);
    let block = serve(&trial);
    let here = |name: &str, address: &str| format!("NOERROR aa | {name}. 60 A {address} + NS");
    for (name, address) in [
        ("www.example.org", "192.0.2.1"),
        ("www.example.net", "192.0.2.2"),
        ("www.sub.example.org", "192.0.2.3"),
        ("www.example.edu", "192.0.2.4"),
        ("www.two.example", "192.0.2.5"),
    ] {
        assert_eq!(ask(&block, name), here(name, address));
    }
    assert_eq!(ask(&block, "x.example.org"), "NXDOMAIN aa + SOA");
    for name in [
        "www.example.com",
        "www.bad.example",
        "a",
        "www.example.com~",
    ] {
        assert_eq!(ask(&block, name), "REFUSED", "{name}");
    }
    let trouble = block.chain.steps()[0].plugin.trouble().expect("a trouble");
    assert!(
        trouble.contains(&format!("{}:5:8: ", bad.display())),
        "{trouble}"
    );
    for qtype in [Type::AXFR, Type::IXFR] {
        let mut exchange = trial::exchange("example.org", qtype, None);
        assert_eq!(exchange.walk(&block), Outcome::Respond);
        assert_eq!(trial::told(&exchange.response()), "REFUSED");
    }
    // With somebody below, names of no zone go on; so do those outside of the zones that it is to answer.
    let below = || trial::answer(|_, _| Err(Failure::policy(Rcode::YXDOMAIN)));
    let below = trial::serve(&trial, ".", below());
    assert_eq!(ask(&below, "www.bad.example"), "YXDOMAIN");
    let scoped = serve(&trial::block(&format!(
        "auto example.org {{\n directory {dir}\n}}"
    )));
    assert_eq!(
        ask(&scoped, "www.example.org"),
        here("www.example.org", "192.0.2.1")
    );
    assert_eq!(ask(&scoped, "www.example.net"), "SERVFAIL");
    // The block's plugins find its zones.
    let offered = trial::block(&format!(
        "auto {{\n directory {dir} ^(db)\\.(?<tail>.*)$ x.{{tail}}.{{1}}\n}}"
    ));
    let block = serve(&offered);
    let name = "www.x.example.org.db";
    assert_eq!(ask(&block, name), here(name, "192.0.2.1"));
}

/// Serves the lines, with their work beside, to a test.
fn followed(lines: &str, test: impl AsyncFnOnce(Arc<Block>)) {
    let mut trial = trial::block(lines);
    let block = serve(&trial);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for task in trial.process.tasks.drain(..) {
            tokio::spawn(task.work);
        }
        test(block).await;
    });
}

/// Waits until the answer is as expected; gives how long that took.
async fn until(block: &Arc<Block>, name: &str, expected: &str) -> Duration {
    let began = Instant::now();
    loop {
        let answer = ask(block, name);
        if answer.contains(expected) {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{name}: {answer}, not {expected}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Looks for a while whether the answer stays as it is.
async fn stays(block: &Arc<Block>, name: &str, expected: &str, millis: u64) {
    let until = Instant::now() + Duration::from_millis(millis);
    while Instant::now() < until {
        let answer = ask(block, name);
        assert!(
            answer.contains(expected),
            "{name}: {answer}, not {expected}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn zones_come_and_go() {
    let folder = Folder::new("auto-come");
    let one = folder.write("db.one.example", &zone(1, "192.0.2.1"));
    let two = folder.0.join("db.two.example");
    let lines = format!("auto {{\n directory {}\n}}", folder.0.display());
    followed(&lines, async |block| {
        let (www1, www2) = ("www.one.example", "www.two.example");
        assert!(ask(&block, www1).contains("192.0.2.1 "));
        assert_eq!(ask(&block, www2), "REFUSED");
        // A file that is written piece by piece is no zone before it is whole.
        let text = zone(1, "192.0.2.2");
        let (head, tail) = text.split_at(text.len() - 20);
        std::fs::write(&two, head).expect("a file");
        stays(&block, www2, "REFUSED", 900).await;
        std::fs::write(&two, [head, tail].concat()).expect("a file");
        // The interval is a minute: events are quicker.
        assert!(until(&block, www2, "192.0.2.2 ").await < Duration::from_secs(3));
        // So is one that is moved into the directory.
        put(&folder.0.join("db.five.example"), &zone(1, "192.0.2.55"));
        let moved = until(&block, "www.five.example", "192.0.2.55 ").await;
        assert!(moved < Duration::from_secs(3), "{moved:?}");
        // An edit, one without a new serial, one with a mistake.
        put(&one, &zone(2, "192.0.2.3"));
        assert!(until(&block, www1, "192.0.2.3 ").await < Duration::from_secs(2));
        put(&one, &zone(2, "192.0.2.4"));
        stays(&block, www1, "192.0.2.3 ", 300).await;
        put(&one, &zone(3, "192.0.2.400"));
        stays(&block, www1, "192.0.2.3 ", 300).await;
        // A file that is away for a moment, while another one is put in place, takes nothing away.
        let aside = folder.0.join("aside");
        std::fs::rename(&one, &aside).expect("a rename");
        put(&folder.0.join("db.three.example"), &zone(1, "192.0.2.7"));
        stays(&block, www1, "192.0.2.3 ", 500).await;
        std::fs::rename(&aside, &one).expect("a rename");
        put(&one, &zone(4, "192.0.2.5"));
        until(&block, www1, "192.0.2.5 ").await;
        until(&block, "www.three.example", "192.0.2.7 ").await;
        // It goes; it comes again from another place.
        std::fs::remove_file(&one).expect("removed");
        until(&block, www1, "REFUSED").await;
        let deep = folder.0.join("deep/er");
        std::fs::create_dir_all(&deep).expect("a directory");
        put(&deep.join("db.one.example"), &zone(1, "192.0.2.6"));
        until(&block, www1, "192.0.2.6 ").await;
        put(&deep.join("db.one.example"), &zone(2, "192.0.2.8"));
        until(&block, www1, "192.0.2.8 ").await;
        // A mistake of a zone that was never served.
        let bad = folder.0.join("db.bad.example");
        put(&bad, &zone(1, "192.0.2.400"));
        let trouble = || block.chain.steps()[0].plugin.trouble().unwrap_or_default();
        let place = format!("{}:4:13: ", bad.display());
        while !trouble().contains(&place) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(ask(&block, "www.bad.example"), "REFUSED");
        put(&bad, &zone(1, "192.0.2.9"));
        until(&block, "www.bad.example", "192.0.2.9 ").await;
        assert_eq!(trouble(), "");
    });
}

#[test]
fn a_directory_that_is_away_takes_nothing_away() {
    let folder = Folder::new("auto-away");
    let (zones, aside) = (folder.0.join("zones"), folder.0.join("aside"));
    let lines = format!("auto {{\n directory {}\n reload 100ms\n}}", zones.display());
    followed(&lines, async |block| {
        assert_eq!(ask(&block, "www.one.example"), "REFUSED");
        std::fs::create_dir(&zones).expect("a directory");
        put(&zones.join("db.one.example"), &zone(1, "192.0.2.1"));
        until(&block, "www.one.example", "192.0.2.1 ").await;
        std::fs::rename(&zones, &aside).expect("a rename");
        stays(&block, "www.one.example", "192.0.2.1 ", 3_000).await;
        put(&aside.join("db.one.example"), &zone(2, "192.0.2.2"));
        std::fs::rename(&aside, &zones).expect("a rename");
        until(&block, "www.one.example", "192.0.2.2 ").await;
    });
}

#[test]
fn a_configmap_is_swapped_by_its_symlink() {
    let folder = Folder::new("auto-configmap");
    let version = |name: &str, zones: &[(&str, u32)]| {
        let directory = folder.0.join(name);
        std::fs::create_dir(&directory).expect("a directory");
        for (zone_name, last) in zones {
            let text = zone(*last, &format!("192.0.2.{last}"));
            std::fs::write(directory.join(zone_name), text).expect("a file");
        }
        let link = folder.0.join("..tmp");
        std::os::unix::fs::symlink(name, &link).expect("a link");
        std::fs::rename(link, folder.0.join("..data")).expect("a rename");
    };
    let link = |name: &str| {
        let _ = std::os::unix::fs::symlink(format!("..data/{name}"), folder.0.join(name));
    };
    version("..1", &[("db.one.example", 1)]);
    link("db.one.example");
    let lines = format!("auto {{\n directory {}\n}}", folder.0.display());
    let said = trial::logged(|| drop(trial::block(&lines)));
    assert!(!said.contains("Multiple"), "{said}");
    followed(&lines, async |block| {
        assert!(ask(&block, "www.one.example").contains("192.0.2.1 "));
        version("..2", &[("db.one.example", 2), ("db.two.example", 3)]);
        link("db.two.example");
        std::fs::remove_dir_all(folder.0.join("..1")).expect("removed");
        let began = Instant::now();
        while !ask(&block, "www.two.example").contains("192.0.2.3 ") {
            let answer = ask(&block, "www.one.example");
            assert!(answer.starts_with("NOERROR"), "{answer}");
            assert!(
                began.elapsed() < Duration::from_secs(15),
                "the new zone is not served"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        until(&block, "www.one.example", "192.0.2.2 ").await;
    });
}

/// A reload of the Corefile goes on with the zones that are served, in the middle of an edit too.
#[test]
fn the_next_configuration_goes_on_with_the_same_zones() {
    let folder = Folder::new("auto-next");
    let one = folder.write("db.one.example", &zone(1, "192.0.2.1"));
    let lines = format!("auto {{\n directory {}\n}}", folder.0.display());
    followed(&lines, async |block| {
        assert!(ask(&block, "www.one.example").contains("192.0.2.1 "));
        std::fs::remove_file(&one).expect("removed");
        std::fs::write(
            folder.0.join("db.two.example"),
            "@ 60 IN SOA ns h 1 1 1 1 1\n",
        )
        .expect("a file");
        let mut next = trial::block(&lines);
        let after = serve(&next);
        for task in next.process.tasks.drain(..) {
            tokio::spawn(task.work);
        }
        stays(&after, "www.one.example", "192.0.2.1 ", 300).await;
        assert_eq!(ask(&after, "www.two.example"), "REFUSED");
        put(&one, &zone(2, "192.0.2.2"));
        until(&after, "www.one.example", "192.0.2.2 ").await;
        until(&after, "www.two.example", "NXDOMAIN").await;
    });
}

#[test]
fn the_edit_of_one_zone_reads_one_file() {
    let folder = Folder::new("auto-many");
    let path = |number: u32| folder.0.join(format!("db.z{number}.example"));
    for number in 0..300 {
        std::fs::write(path(number), zone(1, "192.0.2.1")).expect("a file");
    }
    let lines = format!("auto {{\n directory {}\n}}", folder.0.display());
    followed(&lines, async |block| {
        assert!(ask(&block, "www.z299.example").contains("192.0.2.1 "));
        let opened: Arc<Mutex<BTreeSet<PathBuf>>> = Arc::default();
        let seen = opened.clone();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if let Ok(event) = event
                    && matches!(event.kind, EventKind::Access(AccessKind::Open(_)))
                {
                    let files = event.paths.into_iter().filter(|path| path.is_file());
                    seen.lock().expect("no panic").extend(files);
                }
            })
            .expect("a watcher");
        watcher
            .watch(&folder.0, RecursiveMode::NonRecursive)
            .expect("a watch");
        // Every file is looked at once when its following begins, so the first edits are seen among those looks.
        let mut alone = false;
        for number in 0..100 {
            opened.lock().expect("no panic").clear();
            put(&path(number), &zone(2, "192.0.2.2"));
            until(&block, &format!("www.z{number}.example"), "192.0.2.2 ").await;
            let mut opened = opened.lock().expect("no panic").clone();
            opened.remove(&folder.0.join(".draft"));
            alone = opened.iter().eq([&path(number)]);
            if alone {
                break;
            }
        }
        assert!(alone, "an edit reads other files");
    });
}
