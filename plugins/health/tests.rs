use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chain::Plugin;
use chain::admin::{Overview, PageRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Metrics, look};
use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("health", ""),
        ("health localhost:1234", ""),
        ("health :8081 {\n  lameduck 4s\n}", ""),
        ("health 0.0.0.0:8080", ""),
        ("health [::1]:8080", ""),
        ("health bla", "not a host and port: `bla`"),
        ("health bla:a", "not a host and port"),
        ("health :8080 :8081", "unexpected line ending after ':8080'"),
        (
            "health {\n  lameduck a\n}",
            "unable to parse lameduck duration value: not a duration: `a`",
        ),
        ("health {\n  lameduck 4\n}", "missing unit in duration"),
        (
            "health {\n  lameduck\n}",
            "unexpected line ending after 'lameduck'",
        ),
        ("health {\n  lamedudk 4s\n}", "unknown property 'lamedudk'"),
    ]);
}

#[test]
fn what_the_process_is_told() {
    let trial = trial::build(
        "example.org {\n  health {\n    lameduck 1s\n  }\n}\nexample.net {\n  health localhost:8081 {\n    lameduck 5s\n  }\n}\n. {\n  health 127.0.0.1:8082\n}\n",
    );
    assert_eq!(trial.process.lameduck, Duration::from_secs(5));
    let pages: Vec<_> = trial
        .process
        .endpoints
        .iter()
        .map(|e| (e.address.to_string(), e.path, e.closes_first))
        .collect();
    let page = |address: &str| (address.to_owned(), "/health", false);
    assert_eq!(
        pages,
        [
            page("[::]:8080"),
            page("127.0.0.1:8081"),
            page("127.0.0.1:8082")
        ]
    );
    assert_eq!(trial.process.tasks.len(), 3);
}

/// A process on its way out.
struct Leaving;

impl Overview for Leaving {
    fn plugins(&self) -> Vec<(usize, Arc<dyn Plugin>)> {
        Vec::new()
    }

    fn reload_failure(&self) -> Option<String> {
        None
    }

    fn shutting_down(&self) -> bool {
        true
    }
}

#[test]
fn healthy_to_the_end() {
    let trial = trial::block("health");
    let page = (trial.process.endpoints[0].serve)(&PageRequest {
        query: "",
        accept: "",
        overview: &Leaving,
    });
    assert_eq!((page.status, page.body.as_slice()), (200, &b"OK"[..]));
}

#[test]
fn a_look_is_measured() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let metrics = Metrics::get();
    let failures = || metrics.failures.get();
    let looks = || {
        let text = telemetry::metrics::encode();
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix("coredns_health_request_duration_seconds_count "));
        line.and_then(|count| count.parse::<u64>().ok())
    };
    let log = trial::logged(|| {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a socket");
            let address = listener.local_addr().expect("an address");
            // Listened on everywhere, looked at on the loopback interface.
            let anywhere = SocketAddr::from(([0; 16], address.port()));
            let server = async {
                let (mut stream, _) = listener.accept().await.expect("a look");
                let mut request = [0; 1_024];
                let read = stream.read(&mut request).await.expect("a request");
                assert!(request[..read].starts_with(b"GET /health HTTP/1.0\r\n"));
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nOK").await;
            };
            tokio::join!(look(anywhere, "http://localhost/health", &metrics), server);
            assert_eq!((looks(), failures()), (Some(1), 0));
            drop(listener);
            look(address, "http://localhost/health", &metrics).await;
            assert_eq!((looks(), failures()), (Some(2), 1));
        });
    });
    assert!(
        log.starts_with(
            "WARN plugin/health: Local health request to \"http://localhost/health\" failed: "
        ),
        "{log}"
    );
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
