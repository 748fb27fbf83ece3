//! Health checks: one probe at a time for an upstream that failed a query, until it answers.
//!
//! Any message that comes back is health, whatever it says; what fails is the network. A probe has a socket of its own.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};
use wire::Type;

use super::Forward;
use super::metrics::Proto;
use super::setup::HealthCheck;
use super::stream::{connect, secure};
use super::trouble::{Trouble, What};
use super::upstream::{Upstream, question};

/// How long a probe waits for anything.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whoever holds this is the one prober of an upstream.
struct Probing(Arc<Upstream>);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.end_probing();
    }
}

/// Starts probing, unless somebody does already.
pub(super) fn start(forward: &Arc<Forward>, upstream: &Arc<Upstream>) {
    if upstream.begin_probing() {
        let probing = Probing(upstream.clone());
        let owner = Arc::downgrade(forward);
        tokio::task::spawn_local(probe(owner, probing, forward.health.clone()));
    }
}

/// Probes until the upstream answers or nobody wants to know any more.
async fn probe(owner: Weak<Forward>, probing: Probing, check: Arc<HealthCheck>) {
    let upstream = &probing.0;
    while let Some(forward) = owner.upgrade() {
        let force_tcp = forward.force_tcp;
        drop(forward);
        let healthy = matches!(
            timeout(PATIENCE, ask(upstream, &check, force_tcp)).await,
            Ok(Ok(()))
        );
        upstream.checked(healthy);
        if healthy {
            break;
        }
        sleep(check.interval).await;
    }
}

/// One probe.
async fn ask(upstream: &Upstream, check: &HealthCheck, force_tcp: bool) -> Result<(), Trouble> {
    let query = question(rand::random(), &check.domain, Type::NS, check.recursion);
    let asked = if force_tcp { Proto::Tcp } else { Proto::Udp };
    match (upstream.proto(asked), &upstream.tls) {
        (Proto::Tls, Some(tls)) => over_stream(secure(upstream, tls).await?, &query).await,
        (Proto::Tcp, _) => over_stream(connect(upstream).await?, &query).await,
        _ => {
            let dial = |error| Trouble::io("dial", &error);
            let socket = upstream.socket(false).map_err(dial)?;
            socket.connect(&upstream.address.into()).map_err(dial)?;
            let socket = UdpSocket::from_std(socket.into()).map_err(dial)?;
            let sent = socket.send(&query).await;
            sent.map_err(|error| Trouble::io("write", &error))?;
            let mut reply = [0; 512];
            loop {
                let len = socket.recv(&mut reply).await;
                let len = len.map_err(|error| Trouble::io("read", &error))?;
                if is_reply(&query, &reply[..len]) {
                    return Ok(());
                }
            }
        }
    }
}

async fn over_stream<S>(mut stream: S, query: &[u8]) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    let mut head = [0; 2 + wire::HEADER_LEN];
    let talk = async {
        stream.write_all(&framed).await?;
        stream.flush().await?;
        stream.read_exact(&mut head).await
    };
    talk.await.map_err(|error| Trouble::io("read", &error))?;
    match is_reply(query, &head[2..]) {
        true => Ok(()),
        false => Err(Trouble {
            op: "read",
            what: What::Closed,
        }),
    }
}

/// Whether something came back that a DNS server sends: our ID, and QR set.
fn is_reply(query: &[u8], reply: &[u8]) -> bool {
    wire::Header::read(reply).is_some_and(|header| {
        header.flags.has(wire::Flags::QR) && Some(header.id) == wire::read_u16(query, 0)
    })
}
