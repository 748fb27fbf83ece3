use std::time::Duration;

use chain::Outcome;
use chain::tsig::Keyring;
use wire::{NameBuf, Rcode, Type};

use super::file::parse;
use crate::trial::{self, Folder};

#[test]
fn lines() {
    trial::table(&[
        ("tsig", ""),
        (
            "tsig {\n secret name.key. test-key\n secret other.key. bmV2ZXI=\n}",
            "",
        ),
        (
            "tsig example.org {\n secret a. bmV2ZXI= HMAC-SHA256\n require all\n require none\n}",
            "",
        ),
        (
            "tsig {\n require AXFR ixfr TYPE65280\n require_opcode QUERY notify\n}",
            "",
        ),
        (
            "tsig\ntsig",
            "this plugin can only be used once per Server Block",
        ),
        (
            "tsig {\n secret name.\n}",
            "unexpected line ending after 'name.'",
        ),
        (
            "tsig {\n secret name. too many parameters\n}",
            "unexpected line ending after 'parameters'",
        ),
        (
            "tsig {\n secret a. bmV2ZXI= hmac-md5\n}",
            "unknown algorithm `hmac-md5`",
        ),
        (
            "tsig {\n secret A. bmV2ZXI=\n secret a bmV2ZXI=\n}",
            "key \"a.\" redefined",
        ),
        (
            "tsig {\n secrets\n}",
            "unexpected line ending after 'secrets'",
        ),
        (
            "tsig {\n secrets /does/not/exist\n}",
            "open /does/not/exist",
        ),
        (
            "tsig {\n require\n}",
            "unexpected line ending after 'require'",
        ),
        (
            "tsig {\n require NOTATYPE\n}",
            "unknown query type 'NOTATYPE'",
        ),
        (
            "tsig {\n require_opcode INVALID\n}",
            "unknown opcode 'INVALID'",
        ),
        ("tsig {\n secert a. b\n}", "unknown property 'secert'"),
    ]);
}

#[test]
fn files_of_keys_are_read_as_bind_reads_them() {
    for (text, found) in [
        ("", Ok(0)),
        (
            "key \"a.example.\" {\n\talgorithm hmac-sha256;\n\tsecret \"bmV2ZXI=\";\n};\n",
            Ok(1),
        ),
        (
            "key a { secret bmV2ZXI=; };key b{secret \"bmV2ZXI=\";}",
            Ok(2),
        ),
        (
            "// one\n# two\n/* three\n*/ key a { /* in */ secret bmV2ZXI=; };",
            Ok(1),
        ),
        (
            "key a { secret x; };\nkey A. { secret y; };",
            Err("2: key \"A.\" redefined"),
        ),
        (
            "key a { algorithm hmac-md5; secret x; };",
            Err("1: unknown algorithm `hmac-md5`"),
        ),
        (
            "key a {\nalgorithm hmac-sha1;\n};",
            Err("3: key \"a.\" has no secret"),
        ),
        (
            "key a {\nsecret",
            Err("2: the file ends where a secret is expected"),
        ),
        ("zone a {};", Err("1: expected `key`, not `zone`")),
        ("key \"a\n\" {};", Err("1: a quote is not closed")),
        ("/* key", Err("1: a comment is not closed")),
        ("key a secret", Err("1: expected `{`, not `secret`")),
        ("key a..b { secret x; };", Err("1: the name of the key")),
    ] {
        let mut keys = Keyring::default();
        let read = parse(text.as_bytes(), &mut keys);
        match (read, found) {
            (Ok(()), Ok(count)) => {
                let names = ["a.", "a.example.", "b."].map(|name| name.parse::<NameBuf>());
                let names = names.into_iter().flatten();
                let known = names.filter(|name| keys.find(name.as_name()).is_some());
                assert_eq!(known.count(), count, "{text}");
            }
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{text}: {why}"),
            (read, _) => panic!("{text}: {read:?}"),
        }
    }
}

#[test]
fn a_file_of_keys_is_followed() {
    let folder = Folder::new("tsig-follow");
    let path = folder.write("keys", "key a { secret bmV2ZXI=; };\n");
    let mut trial = trial::block(&format!(
        "tsig {{\n secret b bmV2ZXI=\n secrets {}\n}}",
        path.display()
    ));
    assert!(trial.accepted, "{}", trial.messages);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for task in trial.process.tasks.drain(..) {
            tokio::spawn(task.work);
        }
        tokio::task::yield_now().await;
        let draft = folder.write("draft", "key c { secret bmV2ZXI=; };\n");
        std::fs::rename(draft, &path).expect("renamed");
        // Seen by the plugin: a query by the new key has a wrong signature, and no unknown key.
        let block = trial::serve(&trial, ".", trial::answer(|_, _| Ok(chain::Flow::Answered)));
        let told = |name: &str| {
            let mut exchange = trial::exchange("example.org.", Type::A, None);
            let mut octets = exchange.message().to_vec();
            octets[11] = 1;
            octets.extend_from_slice(name.parse::<NameBuf>().expect("a name").as_name().octets());
            octets.extend_from_slice(&[0, 250, 0, 255, 0, 0, 0, 0, 0, 61]);
            octets.extend_from_slice(b"\x0bhmac-sha256\0");
            octets.extend_from_slice(&[0, 0, 0, 0, 0, 1, 1, 44, 0, 32]);
            octets.extend_from_slice(&[7; 32]);
            octets.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
            exchange.receive_buffer(octets.len())[..octets.len()].copy_from_slice(&octets);
            exchange.set_received(octets.len());
            exchange.parse().expect("a query");
            assert_eq!(exchange.walk(&block), Outcome::Respond);
            assert_eq!(exchange.response().rcode(), Rcode::NOTAUTH);
            let signer = exchange.context.take_signer().expect("what tells of it");
            signer.error()
        };
        assert_eq!(told("b."), "BADSIG", "the Corefile's key");
        let start = std::time::Instant::now();
        while told("c.") != "BADSIG" {
            assert!(start.elapsed() < Duration::from_secs(10), "it is not seen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(told("a."), "BADKEY");
    });
}

#[test]
fn what_has_to_be_signed_is_refused_without_a_signature() {
    for (lines, qtype, rcode) in [
        ("tsig", Type::A, Rcode::NOERROR),
        ("tsig {\n require all\n}", Type::A, Rcode::REFUSED),
        (
            "tsig {\n require all\n require none\n}",
            Type::A,
            Rcode::NOERROR,
        ),
        ("tsig {\n require TXT\n}", Type::A, Rcode::NOERROR),
        ("tsig {\n require TXT\n}", Type::TXT, Rcode::REFUSED),
        (
            "tsig {\n require_opcode QUERY\n}",
            Type::TXT,
            Rcode::REFUSED,
        ),
        (
            "tsig {\n require_opcode NOTIFY\n}",
            Type::TXT,
            Rcode::NOERROR,
        ),
        (
            "tsig example.net {\n require all\n}",
            Type::TXT,
            Rcode::NOERROR,
        ),
    ] {
        let last = trial::answer(|_, _| Ok(chain::Flow::Answered));
        let block = trial::serve(&trial::block(lines), ".", last);
        let mut exchange = trial::exchange("www.example.org.", qtype, None);
        assert_eq!(exchange.walk(&block), Outcome::Respond);
        assert_eq!(exchange.response().rcode(), rcode, "{lines}");
    }
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
