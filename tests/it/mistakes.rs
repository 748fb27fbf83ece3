//! `check`: mistakes that people make, each found at its line and column and told once; and its verdict is that of a start.

use std::path::{Path, PathBuf};

use server::{InProcess, Source};

use crate::readmes::corefile_blocks;
use crate::server::{nameplate, temporary_directory};

/// A zone without a mistake, one that is named in its file, and one whose third line has a mistake.
const ZONE: &str = "$TTL 300\n@ SOA ns1 h 1 7200 3600 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n";
const OTHER: &str =
    "$ORIGIN test.com.\n@ 60 SOA ns1 h 1 7200 3600 1209600 300\nwww 60 A 192.0.2.1\n";
const BROKEN: &str =
    "$TTL 300\n@ SOA ns1 h 1 7200 3600 1209600 300\nwww A 192.0.2.999\n@ NS ns1\nns1 A 192.0.2.1\n";

/// A Corefile with a mistake, and all that is to be found: `CODE LINE:COLUMN`.
struct Case<'a> {
    title: &'a str,
    wanted: Vec<&'a str>,
    text: &'a str,
}

/// The cases of `mistakes.txt`: `=== TITLE | FOUND, FOUND…`, then the Corefile.
fn cases() -> Vec<Case<'static>> {
    let all = include_str!("mistakes.txt");
    all.split("=== ")
        .skip(1)
        .map(|case| {
            let (head, text) = case.split_once('\n').expect("a title");
            let (title, wanted) = head.split_once(" | ").expect("what is found");
            Case {
                title,
                wanted: wanted.split(", ").collect(),
                text,
            }
        })
        .collect()
}

/// What `check` finds, as `mistakes.txt` writes it.
fn found(path: &Path, no_files: bool) -> Vec<String> {
    let source = Source::File(path.to_path_buf());
    let (corefile, report) =
        server::findings(&source, plugins::ORDER, no_files).expect("it can be read");
    let place = |found: &corefile::Diagnostic| {
        let span = found.span().expect("a place");
        let (line, column) = corefile.sources.line_column(span);
        format!("{} {line}:{column}", found.code)
    };
    report.iter().map(place).collect()
}

/// A directory with the files that the cases name.
fn files(name: &str) -> PathBuf {
    let dir = temporary_directory(name);
    std::fs::write(dir.join("z.db"), ZONE).expect("written");
    std::fs::write(dir.join("broken.db"), BROKEN).expect("written");
    std::fs::write(dir.join("other.db"), OTHER).expect("written");
    dir
}

#[test]
fn every_mistake_is_found_at_its_place_and_told_once() {
    let dir = files("mistakes");
    let path = dir.join("Corefile");
    let mut wrong = String::new();
    for case in cases() {
        let text = case
            .text
            .replace("file ", &format!("file {}/", dir.display()));
        // The columns behind a longer path are those of the text as it stands.
        let shift = |found: String| {
            let (code, place) = found.split_once(' ').expect("a place");
            let (line, column) = place.split_once(':').expect("a column");
            let column: usize = column.parse().expect("a number");
            let line_number: usize = line.parse().expect("a number");
            let written = case.text.lines().nth(line_number - 1).unwrap_or("");
            let at = written.find("file ").map_or(usize::MAX, |at| at + 6);
            let longer = dir.display().to_string().chars().count() + 1;
            let column = if code != "CF0511" && column > at {
                column - longer
            } else {
                column
            };
            format!("{code} {line}:{column}")
        };
        std::fs::write(&path, text).expect("written");
        let found: Vec<_> = found(&path, false).into_iter().map(shift).collect();
        if found != case.wanted {
            wrong += &format!("=== {} | {}\n{}", case.title, found.join(", "), case.text);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Every Corefile of the tree: those of the pages, and the mistakes.
#[test]
fn check_and_a_start_have_one_verdict() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = files("verdicts");
    let mut texts: Vec<(String, String)> = crate::readmes::pages()
        .into_iter()
        .chain([
            root.join("deploy/README.md"),
            root.join("benches/README.md"),
        ])
        .flat_map(|page| {
            let text = std::fs::read_to_string(&page).unwrap_or_default();
            let name = page.display().to_string();
            corefile_blocks(&text)
                .into_iter()
                .map(move |(line, block)| (format!("{name}:{line}"), block))
        })
        .collect();
    for name in ["Corefile.example", "Corefile.lab"] {
        let text = std::fs::read_to_string(root.join(name)).expect("it is there");
        texts.push((name.to_owned(), text));
    }
    texts.extend(cases().into_iter().map(|case| {
        let text = case
            .text
            .replace("file ", &format!("file {}/", dir.display()));
        (case.title.to_owned(), text)
    }));
    let mut wrong = String::new();
    for (name, text) in &texts {
        let source = Source::Text {
            name: name.clone(),
            text: text.clone().into_bytes(),
        };
        let (corefile, report) =
            server::findings(&source, plugins::ORDER, false).expect("it can be read");
        // A variable that is not set here may be set there, and a pod's credentials are only in the pod.
        let elsewhere =
            text.contains("{$") || text.contains("kubernetes") || text.contains("import ");
        // `check` asks nobody, so a host's name is as good as its address.
        let named = text.contains("tls://dns.") || text.contains(".example:");
        let empty = corefile.blocks.is_empty();
        // The addresses of a lab come later: none is there in this process.
        let started = InProcess::load(text, plugins::ORDER).map(drop);
        let started = started.or_else(|error| (error == "no listener").then_some(()).ok_or(error));
        if started.is_ok() == report.has_errors() && !elsewhere && !named && !empty {
            let started = started.err().unwrap_or_else(|| "it starts".to_owned());
            wrong += &format!(
                "== {name}\n{text}\ncheck: {}\nstart: {started}\n",
                report.render(&corefile.sources, false)
            );
        }
    }
    assert!(texts.len() > 100, "{} Corefiles", texts.len());
    assert!(wrong.is_empty(), "{wrong}");
}

/// A file of another zone than the server block's: CoreDNS serves it, too.
#[test]
fn a_zone_file_of_another_zone_is_a_warning_that_names_the_zone() {
    let dir = files("foreign");
    let path = dir.join("Corefile");
    let db = dir.join("other.db").display().to_string();
    std::fs::write(&path, format!(".:1053 {{\n    file {db}\n}}\n")).expect("written");
    let (corefile, report) =
        server::findings(&Source::File(path), plugins::ORDER, false).expect("it can be read");
    let said = report.render(&corefile.sources, false);
    assert!(!report.has_errors() && report.has_warnings(), "{said}");
    assert!(said.contains(&format!("`file {db} test.com`")), "{said}");
}

/// What is served as it is written, and worth a look, is a note.
#[test]
fn notes_are_no_warnings() {
    let dir = temporary_directory("notes");
    let db = dir.join("db");
    std::fs::write(&db, "@ 60 SOA ns1 h 1 7200 3600 1209600 300\n").expect("written");
    for text in [
        format!("example.org:1053 {{\n    file {}\n}}\n", db.display()),
        "a.test:1053 {\n    health\n    whoami\n}\nb.test:1053 {\n    health\n    whoami\n}\n"
            .to_owned(),
    ] {
        let path = dir.join("Corefile");
        std::fs::write(&path, &text).expect("written");
        let (corefile, report) =
            server::findings(&Source::File(path), plugins::ORDER, false).expect("it can be read");
        let said = report.render(&corefile.sources, false);
        assert_eq!(report.len(), 1, "{said}");
        assert!(!report.has_errors() && !report.has_warnings(), "{said}");
        assert!(said.contains("note[CF0"), "{said}");
    }
}

/// Corefiles that work, and of which `check` once said that they do not.
#[test]
fn what_works_has_no_warnings() {
    let dir = temporary_directory("works");
    for (name, text) in [
        (
            "another block answers the rewritten name",
            "w.test:1053 {\n    rewrite name suffix .w.test .u.test answer auto\n    forward . 127.0.0.1:1053\n}\nu.test:1053 {\n    whoami\n}\n",
        ),
        (
            "an address in a name",
            ".:1053 {\n    template IN A nip.test {\n        match \"^(?P<ip>.*)\\.nip\\.test\\.$\"\n        answer \"{{ .Name }} 60 IN A {{ .Group.ip }}\"\n    }\n    forward . 192.0.2.1\n}\n",
        ),
        (
            "the resolver of Docker",
            ". {\n    forward . 127.0.0.11\n}\n",
        ),
        (
            "the last of several views takes what is left",
            ".:1053 {\n    view internal {\n        expr incidr(client_ip(), '10.0.0.0/8')\n    }\n    forward . 192.0.2.1\n}\n.:1053 {\n    view external {\n        expr true\n    }\n    forward . 192.0.2.2\n}\n",
        ),
        (
            "views of two addresses",
            ".:1053 {\n    bind 127.0.0.1\n    view one\n    whoami\n}\n.:1053 {\n    bind 127.0.0.2\n    view two\n    whoami\n}\n",
        ),
        (
            "templates of other types and zones, and those that let names through",
            ".:1053 {\n    template IN A example.org {\n        rcode NXDOMAIN\n    }\n    template IN AAAA example.org {\n        rcode NXDOMAIN\n    }\n    template ANY ANY {\n        match ^a\\.\n        rcode NXDOMAIN\n        fallthrough\n    }\n    template ANY ANY example.net {\n        rcode NXDOMAIN\n    }\n    forward . 192.0.2.1\n}\n",
        ),
        (
            "chaos in a block for one of its names",
            "bind:1053 {\n    chaos v1\n    whoami\n}\n",
        ),
        (
            "rules about other names than those above them answer",
            ".:1053 {\n    acl example.org {\n        block net 192.0.2.0/24\n    }\n    local\n    dns64\n    forward . 192.0.2.1\n}\n",
        ),
    ] {
        let path = dir.join("Corefile");
        std::fs::write(&path, text).expect("written");
        assert_eq!(found(&path, true), [""; 0], "{name}");
    }
}

/// What is said of a mistake: words that are there, and words that are not.
#[test]
fn messages_say_what_to_write() {
    let dir = temporary_directory("said");
    for (lines, there, not_there) in [
        ("cloudns", "no plugin has this name", "clouddns"),
        (
            "gslb",
            "not part of CoreDNS; an external plugin",
            "no plugin has this name",
        ),
        ("k8s_cache", "an external plugin", "kubernetes"),
        (
            "fallback NXDOMAIN . 192.0.2.2",
            "write `alternate`",
            "no plugin has this name",
        ),
        (
            "view a {\n expr incidr(client_ip(), \"10.0.0.0/8\")\n}",
            "write a text in single quotes: `'10.0.0.0/8'`",
            "similar",
        ),
        (
            "forward . ${UPSTREAM}",
            "write a variable as `{$UPSTREAM}`",
            "label",
        ),
    ] {
        let text = format!(".:1053 {{\n{lines}\nwhoami\n}}\n");
        let path = dir.join("Corefile");
        std::fs::write(&path, text).expect("written");
        let (corefile, report) =
            server::findings(&Source::File(path), plugins::ORDER, true).expect("it can be read");
        let said = report.render(&corefile.sources, false);
        assert!(said.contains(there), "{lines}: {said}");
        assert!(!said.contains(not_there), "{lines}: {said}");
    }
}

#[test]
fn stock_corefiles_have_no_warnings() {
    let dir = temporary_directory("stock");
    for (name, text) in [
        (
            "kubeadm",
            ".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n       pods insecure\n       fallthrough in-addr.arpa ip6.arpa\n       ttl 30\n    }\n    prometheus :9153\n    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n    cache 30 {\n       disable success cluster.local\n       disable denial cluster.local\n    }\n    loop\n    reload\n    loadbalance\n}\n",
        ),
        (
            "k3s",
            ".:53 {\n    errors\n    health\n    ready\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n      pods insecure\n      fallthrough in-addr.arpa ip6.arpa\n    }\n    hosts /etc/coredns/NodeHosts {\n      ttl 60\n      reload 15s\n      fallthrough\n    }\n    prometheus :9153\n    cache 30\n    loop\n    reload\n    loadbalance\n    import /etc/coredns/custom/*.override\n    forward . /etc/resolv.conf\n}\nimport /etc/coredns/custom/*.server\n",
        ),
        (
            "aks",
            ".:53 {\n    errors\n    ready\n    health {\n      lameduck 5s\n    }\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n      pods insecure\n      fallthrough in-addr.arpa ip6.arpa\n      ttl 30\n    }\n    prometheus :9153\n    forward . /etc/resolv.conf\n    cache 30\n    loop\n    reload\n    loadbalance\n    import custom/*.override\n    template ANY ANY internal.cloudapp.net {\n      match \"^(?:[^.]+\\.){4,}internal\\.cloudapp\\.net\\.$\"\n      rcode NXDOMAIN\n      fallthrough\n    }\n    template ANY ANY reddog.microsoft.com {\n      rcode NXDOMAIN\n    }\n}\nimport custom/*.server\n",
        ),
        (
            "talos",
            ".:53 {\n    errors\n    health {\n        lameduck 5s\n    }\n    ready\n    log . {\n        class error\n    }\n    prometheus :9153\n\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n        pods insecure\n        fallthrough in-addr.arpa ip6.arpa\n        ttl 30\n    }\n    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n    cache 30 {\n       disable success cluster.local\n       disable denial cluster.local\n    }\n    loop\n    reload\n    loadbalance\n}\n",
        ),
        (
            "gardener",
            ".:8053 {\n    health {\n        lameduck 15s\n    }\n    ready\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n        pods insecure\n        fallthrough in-addr.arpa ip6.arpa\n        ttl 30\n    }\n    prometheus :9153\n    loop\n    import custom/*.override\n    errors\n    log . {\n        class error\n    }\n    forward . /etc/resolv.conf\n    cache 30\n    reload\n    loadbalance round_robin\n}\nimport custom/*.server\n",
        ),
        (
            "kops",
            ".:53 {\n    errors\n    health {\n      lameduck 5s\n    }\n    ready\n    kubernetes cluster.local. in-addr.arpa ip6.arpa {\n      pods insecure\n      fallthrough in-addr.arpa ip6.arpa\n      ttl 30\n    }\n    prometheus :9153\n    forward . /etc/resolv.conf {\n      max_concurrent 1000\n    }\n    loop\n    cache 30\n    loadbalance\n    reload\n}\n",
        ),
        (
            "minikube",
            ".:53 {\n    log\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n       pods insecure\n       fallthrough in-addr.arpa ip6.arpa\n       ttl 30\n    }\n    prometheus :9153\n    hosts {\n       192.168.49.1 host.minikube.internal\n       fallthrough\n    }\n    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n    cache 30\n    loop\n    reload\n    loadbalance\n}\n",
        ),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("written");
        let source = Source::File(path);
        let (corefile, report) =
            server::findings(&source, plugins::ORDER, true).expect("it can be read");
        assert!(
            !report.has_errors() && !report.has_warnings(),
            "{name}:\n{}",
            report.render(&corefile.sources, false)
        );
    }
}

#[test]
fn fixes_are_written_and_leave_no_mistake() {
    let dir = temporary_directory("fix");
    let broken = ".:1053{\n    hosts {\n        nas.lan 192.0.2.2\n        falthrough\n    }\n    proxy . 192.0.2.1\n    cache 30s\n}\n";
    let whole = ".:1053 {\n    hosts {\n        192.0.2.2 nas.lan\n        fallthrough\n    }\n    forward . 192.0.2.1\n    cache 30\n}\n";
    std::fs::write(dir.join("Corefile"), broken).expect("written");
    let run = |arguments: &[&str]| {
        let out = nameplate(&dir).arg("check").args(arguments).output();
        let out = out.expect("it runs");
        let text = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        (out.status.code(), text)
    };
    assert_eq!(run(&[]).0, Some(2));
    let (code, text) = run(&["--fix"]);
    assert_eq!(code, Some(0), "{text}");
    let written = std::fs::read_to_string(dir.join("Corefile")).expect("it is there");
    assert_eq!(written, whole);
    assert_eq!(run(&["--deny", "warnings"]).0, Some(0));
}

#[test]
fn fixes_of_words_of_others() {
    let dir = temporary_directory("fixes");
    for (broken, whole) in [
        (
            ".:1053 {\n    proxy . 192.0.2.1 192.0.2.2 {\n        policy random\n        protocol grpc insecure\n        fail_timeout 5s\n    }\n}\n",
            ".:1053 {\n    grpc . 192.0.2.1 192.0.2.2 {\n        policy random\n    }\n}\n",
        ),
        (
            ".:1053 {\n    proxy . 192.0.2.1 {\n        protocol grpc\n    }\n}\n",
            ".:1053 {\n    grpc . 192.0.2.1 {\n        tls\n    }\n}\n",
        ),
        (
            "https://.:443/dns-query {\n    tls cert.pem key.pem\n    whoami\n}\n",
            "https://.:443 {\n    tls cert.pem key.pem\n    whoami\n}\n",
        ),
        (
            ".:1053 {\n    fallback NXDOMAIN . 192.0.2.1\n    forward . 192.0.2.2\n}\n",
            ".:1053 {\n    alternate NXDOMAIN . 192.0.2.1\n    forward . 192.0.2.2\n}\n",
        ),
        // What is removed leaves neither a blank line nor blanks at the end of one.
        (
            ".:1053 {\n    forward . 192.0.2.1 {\n        fail_timeout 5s\n\tspray\r\n        policy random\n        spray # no\n    }\n}\n}\n",
            ".:1053 {\n    forward . 192.0.2.1 {\n        policy random\n        # no\n    }\n}\n",
        ),
        (
            ".:1053 , {\n    forward . 192.0.2.1\n}\n  }",
            ".:1053 {\n    forward . 192.0.2.1\n}\n",
        ),
    ] {
        std::fs::write(dir.join("Corefile"), broken).expect("written");
        let out = nameplate(&dir)
            .args(["check", "--fix", "--no-files"])
            .output();
        let out = out.expect("it runs");
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(0), "{broken}{text}");
        let written = std::fs::read_to_string(dir.join("Corefile")).expect("it is there");
        assert_eq!(written, whole);
    }
}

#[test]
fn a_warning_that_is_meant_so_is_allowed_by_its_code() {
    let dir = temporary_directory("allowed");
    let corefile = ".:1053 {\n    order {\n        cache before acl\n    }\n    acl {\n        block net 192.0.2.0/24\n    }\n    cache\n    \
                    forward . 192.0.2.1\n}\n";
    std::fs::write(dir.join("Corefile"), corefile).expect("written");
    let run = |arguments: &[&str]| {
        let out = nameplate(&dir).arg("check").args(arguments).output();
        let out = out.expect("it runs");
        let text = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        (out.status.code(), text)
    };
    let (code, text) = run(&["--deny", "warnings"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("[CF0402]: `cache` answers without asking `acl`"),
        "{text}"
    );
    let (code, text) = run(&[
        "--deny", "warnings", "--allow", "cf0402", "--allow", "CF0401",
    ]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no mistakes"), "{text}");
    let (code, text) = run(&["--allow", "CF9999"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("no message of nameplate has this code"),
        "{text}"
    );
    // An error is never allowed.
    std::fs::write(dir.join("Corefile"), ". {\n    falthrough\n}\n").expect("written");
    let (code, text) = run(&["--allow", "CF0118"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("CF0118"), "{text}");
}

#[test]
fn what_is_no_file_of_ours_is_refused_and_not_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = temporary_directory("private");
    let fifo = dir.join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()));
    let secret = dir.join("secret");
    std::fs::write(&secret, "hunter2 correct horse\n").expect("written");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("set");
    for (import, code) in [
        ("fifo", "CF0505"),
        ("/dev/zero", "CF0505"),
        ("secret", "CF0507"),
    ] {
        let text = format!(".:1053 {{\n    import {import}\n    whoami\n}}\n");
        std::fs::write(dir.join("Corefile"), text).expect("written");
        let out = nameplate(&dir).arg("check").output().expect("it runs");
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(2), "{text}");
        assert!(
            text.contains(code) && text.contains("Corefile:2:12"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
    // Nobody writes into the pipe: whoever opened it would wait for ever.
    for line in [
        "file fifo example.org {\n reload 0\n}",
        "forward . ./fifo",
        "forward . tls://192.0.2.1 {\n tls fifo\n}",
        "kubernetes {\n kubeconfig fifo\n}",
    ] {
        let text = format!(".:0 {{\n bind 127.0.0.1\n {line}\n}}\n");
        std::fs::write(dir.join("Corefile"), text).expect("written");
        for command in [&["check"][..], &["-conf", "Corefile"]] {
            let out = std::process::Command::new("timeout")
                .args(["20", env!("CARGO_BIN_EXE_nameplate")])
                .args(command)
                .current_dir(&dir)
                .output()
                .expect("it runs");
            let said = String::from_utf8_lossy(&out.stdout).into_owned()
                + &String::from_utf8_lossy(&out.stderr);
            assert!(matches!(out.status.code(), Some(1 | 2)), "{line}: {said}");
            assert!(said.contains("not a regular file"), "{line}: {said}");
        }
    }
    let out = nameplate(&dir)
        .args(["check", "-conf", "/dev/zero"])
        .output();
    assert_eq!(out.expect("it ends").status.code(), Some(2));
}
