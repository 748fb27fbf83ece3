//! A place and its primaries: those that stall, that have been set back, and those that the next configuration names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chain::keeper::Asked;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wire::NameBuf;

use super::place::Place;
use super::sources::{Contact, Keep, Sources};
use super::tests::{BEGIN, NS, Script, WHOLE, message, run, version};
use crate::trial;

/// A primary that has version 8.
const GOOD: Script<'_> = Script {
    ixfr: &[],
    axfr: &[WHOLE],
    change: &|_, _| {},
};

fn sources_of(primaries: &[SocketAddr], keep: Option<Keep>) -> Sources {
    let contact = |address: &SocketAddr| Contact {
        address: *address,
        tls: None,
    };
    Sources {
        block: None,
        primaries: primaries.iter().map(contact).collect(),
        key: None,
        keep,
        digest: zone::DigestPolicy::default(),
        max_records: 100,
    }
}

/// A primary that begins a transfer and falls silent.
async fn stall(listener: &TcpListener) {
    let mut held = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        for records in [&[BEGIN][..], &[BEGIN, NS]] {
            let len = stream.read_u16().await.expect("a query");
            let mut query = vec![0; len.into()];
            stream.read_exact(&mut query).await.expect("a query");
            let reply = message(&query, records);
            let framed = [&(reply.len() as u16).to_be_bytes()[..], &reply].concat();
            stream.write_all(&framed).await.expect("sent");
        }
        held.push(stream);
    }
}

/// What is under way is told while it is, and the next primary is asked.
#[test]
fn a_primary_that_stalls_is_passed_over() {
    let apex: NameBuf = "example.org.".parse().expect("a name");
    let said = trial::logged(|| {
        run(async {
            let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let good = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let [first, second] = [&silent, &good].map(|one| one.local_addr().expect("an address"));
            let place = Place::of(apex.as_name(), &sources_of(&[first, second], None), false);
            let asked = || place.report().follows.and_then(|follows| follows.asked);
            let told = async {
                let of = |asked: &Asked| asked.primary == first.to_string() && asked.records == 2;
                while !asked().as_ref().is_some_and(of) {
                    tokio::task::yield_now().await;
                }
                while asked().is_some_and(|asked| asked.primary == first.to_string()) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let failure = place.report().failure.unwrap_or_default();
                assert_eq!(failure, format!("{first}: receive: timed out"));
                std::future::pending::<()>().await;
            };
            tokio::select! {
                checked = place.check(Ok(None)) => checked.expect("the second primary's answer"),
                () = told => unreachable!("it waits on"),
                () = stall(&silent) => unreachable!("it serves on"),
                () = GOOD.serve(&good) => unreachable!("it serves on"),
            }
            assert!(asked().is_none() && place.report().failure.is_none());
            assert_eq!(place.served.snapshot().map(|zone| zone.serial()), Some(8));
        });
    });
    assert!(
        said.contains("receive: timed out: asking the next primary"),
        "{said}"
    );
}

/// What cannot be kept is served, and the status says so until it is kept.
#[test]
fn a_file_that_cannot_be_written_is_told() {
    let apex: NameBuf = "example.org.".parse().expect("a name");
    let dir = std::env::temp_dir().join(format!("nameplate-unkept-{}", std::process::id()));
    let path = dir.join("zones/copy");
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let keep = Some(Keep::File(path.clone()));
        let place = Place::of(apex.as_name(), &sources_of(&[address], keep), false);
        let check = async || {
            tokio::select! {
                checked = place.check(Ok(None)) => checked.expect("an answer"),
                () = GOOD.serve(&listener) => unreachable!("it serves on"),
            }
            place.report().failure.unwrap_or_default()
        };
        for _ in 0..2 {
            let told = check().await;
            assert!(
                told.contains("it is served, and cannot be kept in"),
                "{told}"
            );
        }
        std::fs::create_dir(&dir).expect("a directory");
        assert_eq!(check().await, "");
        assert!(path.exists());
    });
    let _ = std::fs::remove_dir_all(&dir);
}

/// A primary that was set back, or put up anew: what is served stays, and the operator is told.
#[test]
fn a_lower_serial_is_told_once_and_in_the_status() {
    let apex: NameBuf = "example.org.".parse().expect("a name");
    let said = trial::logged(|| {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let place = Place::of(apex.as_name(), &sources_of(&[address], None), false);
            let check = async |served, whole| {
                place.served.replace(Some(version(served)));
                if whole {
                    place.retransfer();
                }
                tokio::select! {
                    checked = place.check(Ok(None)) => checked.expect("an answer"),
                    () = GOOD.serve(&listener) => unreachable!("it serves on"),
                }
                place.report().failure
            };
            let lower = |ours: u32| {
                let why = "its SOA serial, 8, is lower than";
                Some(format!("{address}: {why} {ours}, which is served"))
            };
            for (served, whole, expected) in [
                (9, false, lower(9)),
                (9, false, lower(9)),
                (10, false, lower(10)),
                (8, false, None),
                (7, false, None),
                (9, true, None),
            ] {
                assert_eq!(check(served, whole).await, expected, "{served} {whole}");
            }
        });
    });
    let warned = said.matches("WARN plugin/secondary: Zone example.org. is not transferred from");
    assert_eq!(warned.count(), 2, "{said}");
    assert!(said.contains("or run `nameplate zone retransfer example.org.`"));
}

/// The primaries of the next configuration: what is served stays until they give the zone, whatever its serial is.
#[test]
fn other_primaries_give_the_whole_zone() {
    let apex: NameBuf = "example.org.".parse().expect("a name");
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let of = |max_records| {
            let sources = Sources {
                block: Some(Arc::from("example.org")),
                max_records,
                ..sources_of(&[address], None)
            };
            Place::of(apex.as_name(), &sources, false)
        };
        let before = of(50);
        before.served.replace(Some(version(9)));
        // A configuration that is given up leaves all as it is.
        drop(of(52));
        let place = of(51);
        assert!(Arc::ptr_eq(&place, &of(51)) && place.is_inherited());
        let serial = || place.served.snapshot().map(|zone| zone.serial());
        assert_eq!(serial(), Some(9));
        let failed = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            drop(stream);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            checked = place.check(Ok(None)) => assert!(checked.is_err()),
            () = failed => unreachable!("it waits on"),
        }
        assert_eq!((serial(), place.is_inherited()), (Some(9), true));
        tokio::select! {
            checked = place.check(Ok(None)) => checked.expect("an answer"),
            () = GOOD.serve(&listener) => unreachable!("it serves on"),
        }
        assert_eq!((serial(), place.is_inherited()), (Some(8), false));
        assert!(
            of(50).served.load().is_some(),
            "those that were there before"
        );
    });
}
