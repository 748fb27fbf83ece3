//! One question to one server, by hickory-net.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use hickory_net::h2::HttpsClientStream;
use hickory_net::quic::QuicClientStream;
use hickory_net::runtime::{RuntimeProvider as _, Spawn as _, TokioRuntimeProvider};
use hickory_net::tcp::TcpClientStream;
use hickory_net::tls::tls_client_connect;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsExchange, DnsMultiplexer, DnsRequestSender};
use hickory_net::{DnsHandle, NetError};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, Message};
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use wire::{EdnsOption, Flags, Opt};

use crate::options::{Options, Scheme, Server};
use crate::{failure, trust};

/// A reply, and how it came.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) octets: Vec<u8>,
    pub(crate) server: Server,
    /// `UDP`, `TCP`, `TLS`, `HTTPS`, `QUIC`.
    pub(crate) transport: &'static str,
    pub(crate) took: Duration,
    /// Whether a reply over UDP was truncated, so that this one came by TCP.
    pub(crate) retried: bool,
}

/// Asks, and once more by TCP where a reply over UDP is truncated.
pub(crate) async fn ask(server: &Server, options: &Options) -> Result<Reply, String> {
    let began = Instant::now();
    let reply = |octets, transport, retried| Reply {
        octets,
        server: server.clone(),
        transport,
        took: began.elapsed(),
        retried,
    };
    let told = |error: &NetError| failure::told(error, server);
    match &server.scheme {
        Scheme::Tls => {
            let octets = send(tls(server, options).await?, options, told).await?;
            return Ok(reply(octets, "TLS", false));
        }
        Scheme::Https(path) => {
            let octets = send(https(server, path, options).await?, options, told).await?;
            return Ok(reply(octets, "HTTPS", false));
        }
        Scheme::Quic => {
            let octets = send(quic(server, options).await?, options, told).await?;
            return Ok(reply(octets, "QUIC", false));
        }
        Scheme::Plain | Scheme::Tcp => {}
    }
    let only_tcp = options.tcp || server.scheme == Scheme::Tcp;
    if !only_tcp {
        let octets = send(udp(server, options), options, told).await?;
        let truncated =
            wire::Header::read(&octets).is_some_and(|header| header.flags.has(Flags::TC));
        if !truncated || options.ignore {
            return Ok(reply(octets, "UDP", false));
        }
    }
    let octets = send(tcp(server, options).await?, options, told).await?;
    Ok(reply(octets, "TCP", !only_tcp))
}

/// A way to send a question. The provider owns the task that drives the connection, which ends with it.
struct Exchange {
    sender: DnsExchange<TokioRuntimeProvider>,
    _provider: TokioRuntimeProvider,
}

impl Exchange {
    /// What `open` opens with a provider that it shares, within the time that a reply may take.
    async fn open<F: Future<Output = Result<DnsExchange<TokioRuntimeProvider>, NetError>>>(
        server: &Server,
        options: &Options,
        open: impl FnOnce(TokioRuntimeProvider) -> F,
    ) -> Result<Self, String> {
        let provider = TokioRuntimeProvider::default();
        let sender = match timeout(options.time, open(provider.clone())).await {
            Ok(opened) => opened,
            Err(_) => Err(NetError::Timeout),
        };
        Ok(Self {
            sender: sender.map_err(|error| failure::told(&error, server))?,
            _provider: provider,
        })
    }
}

/// An exchange whose sender is driven by a task of the provider.
fn driven<S: DnsRequestSender>(
    sender: S,
    provider: TokioRuntimeProvider,
) -> DnsExchange<TokioRuntimeProvider> {
    let (exchange, background) = DnsExchange::from_stream(sender);
    provider.create_handle().spawn_bg(background);
    exchange
}

fn udp(server: &Server, options: &Options) -> Exchange {
    let each = options.time;
    let provider = TokioRuntimeProvider::default();
    Exchange {
        sender: UdpClientStream::builder(server.address, provider.clone())
            .with_timeout(Some(each * options.tries.into()))
            .with_max_retries(options.tries - 1)
            .exchange(),
        _provider: provider,
    }
}

async fn tcp(server: &Server, options: &Options) -> Result<Exchange, String> {
    let (address, time) = (server.address, options.time);
    Exchange::open(server, options, |provider| {
        TcpClientStream::exchange(address, None, time, None, provider)
    })
    .await
}

async fn tls(server: &Server, options: &Options) -> Result<Exchange, String> {
    let name = ServerName::try_from(hostname(server, options));
    let name = name.map_err(|error| failure::name(server, &error))?;
    let config = Arc::new(trust::config(options)?);
    Exchange::open(server, options, |provider| async {
        // By hand: `tls_exchange` does not tell the server which name is wanted (SNI), and it may have several certificates.
        let (opening, messages) =
            tls_client_connect(server.address, name, config, provider.clone());
        let multiplexer = DnsMultiplexer::new(opening.await?, messages);
        Ok(driven(multiplexer.with_timeout(options.time), provider))
    })
    .await
}

async fn https(server: &Server, path: &str, options: &Options) -> Result<Exchange, String> {
    let config = Arc::new(trust::config(options)?);
    let (name, path): (Arc<str>, Arc<str>) = (hostname(server, options).into(), path.into());
    Exchange::open(server, options, |provider| {
        let mut builder = HttpsClientStream::builder(config, provider);
        builder.request_timeout(options.time);
        builder.exchange(server.address, name, path)
    })
    .await
}

async fn quic(server: &Server, options: &Options) -> Result<Exchange, String> {
    let config = trust::config(options)?;
    let name: Arc<str> = hostname(server, options).into();
    Exchange::open(server, options, |provider| async {
        let builder = QuicClientStream::builder()
            .crypto_config(config)
            .request_timeout(options.time);
        Ok(driven(builder.build(server.address, name).await?, provider))
    })
    .await
}

/// The name that the certificate has to have.
fn hostname(server: &Server, options: &Options) -> String {
    let given = options.tls_hostname.as_ref();
    given.unwrap_or(&server.host).clone()
}

/// Sends the question, and waits for the reply.
async fn send(
    exchange: Exchange,
    options: &Options,
    told: impl Fn(&NetError) -> String,
) -> Result<Vec<u8>, String> {
    let octets = compose(options)?;
    let mut message = Message::from_vec(&octets).map_err(|error| error.to_string())?;
    message.metadata.id = hickory_proto::op::Message::query().metadata.id;
    let mut request = DnsRequestOptions::default();
    request.retry_interval = options.time;
    let mut replies = exchange.sender.send(DnsRequest::new(message, request));
    match replies.next().await {
        Some(Ok(reply)) => Ok(reply.into_buffer()),
        Some(Err(error)) => Err(told(&error)),
        None => Err("the server closed the connection and did not reply".to_owned()),
    }
}

/// The query in wire form; hickory-net gives it its ID.
fn compose(options: &Options) -> Result<Vec<u8>, String> {
    let flags = Flags(0)
        .with(Flags::RD, options.recurse)
        .with(Flags::AD, options.authenticated)
        .with(Flags::AA, options.authoritative)
        .with(Flags::CD, options.checking_disabled);
    let mut opt = Opt::new(options.size);
    if options.dnssec {
        opt.flags |= 0x8000;
    }
    if options.nsid {
        let asked = EdnsOption {
            code: EdnsOption::NSID,
            data: &[],
        };
        opt.append(asked)
            .map_err(|_| "no room for NSID".to_owned())?;
    }
    let wants_edns = options.edns || options.dnssec || options.nsid;
    let opt = wants_edns.then_some(&opt);
    let question = (options.name.as_name(), options.qtype, options.class);
    let mut octets = Vec::new();
    wire::compose((0, flags), question, opt, &mut octets)
        .map_err(|_| "the query has no room in a message".to_owned())?;
    Ok(octets)
}
