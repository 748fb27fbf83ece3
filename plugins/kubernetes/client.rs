//! The connection to an API server: where it is, who we are, and how requests reach it.
//!
//! `kube` reads kubeconfigs, runs credential plugins and does TLS; what is set here is what it leaves open: a dead peer is noticed by
//! keepalive and the user timeout of TCP within seconds, and a client that failed is thrown away, so that the next attempt reads token,
//! certificates and kubeconfig from their files again. Credentials rotate; nothing has to be told.
//!
//! Requests are HTTP/1.1 over pooled connections: one for each watch, reused by its successor.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Uri, header};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep_until};
use tower::BoxError;
use tower::util::MapErrLayer;

use super::metrics::Requests;

/// Where the kubelet puts the credentials of a pod's service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The longest wait for a TCP connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Silence after which the kernel asks the peer whether it is there, and between two such questions.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(4), Duration::from_secs(2), 3);
/// How long sent octets may stay unacknowledged before the connection is given up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(8);

/// How to reach an API server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// As a pod: address from the environment, credentials of the service account.
    InCluster,
    /// The same with everything given.
    Account {
        /// The server.
        url: String,
        /// The directory of `token` and `ca.crt`.
        folder: PathBuf,
    },
    /// `endpoint URL` and `tls CERT KEY CA`.
    Endpoint {
        /// The server.
        url: String,
        /// Who we are, and who the server has to be.
        tls: Option<Tls>,
    },
    /// `kubeconfig FILE [CONTEXT]`.
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// The context; its current one by default.
        context: Option<String>,
    },
}

impl Access {
    /// The files that it names itself.
    pub(super) fn files(&self) -> Vec<&Path> {
        match self {
            Self::InCluster | Self::Account { .. } | Self::Endpoint { tls: None, .. } => Vec::new(),
            Self::Endpoint { tls: Some(tls), .. } => {
                vec![&tls.certificate, &tls.key, &tls.authority]
            }
            Self::Kubeconfig { file, .. } => vec![file],
        }
    }
}

/// Files of `tls`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tls {
    /// The client's certificate.
    pub(super) certificate: PathBuf,
    /// Its key.
    pub(super) key: PathBuf,
    /// The authority that signed the server's.
    pub(super) authority: PathBuf,
}

/// Bounds on requests; a value of 0 is none.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(super) struct Limits {
    /// Requests a second (`apiserver_qps`).
    pub(super) rate: f32,
    /// Requests at once before the rate counts (`apiserver_burst`).
    pub(super) burst: u32,
    /// Requests that wait for their response at a time (`apiserver_max_inflight`).
    pub(super) in_flight: u32,
}

/// A connection to an API server, shared by the watches of a cluster.
#[derive(Clone)]
pub(super) struct Connection(Arc<Inner>);

struct Inner {
    access: Access,
    host: Box<str>,
    limits: Limits,
    bucket: Mutex<Bucket>,
    in_flight: Semaphore,
    current: Mutex<Current>,
    requests: Requests,
}

/// The client at work; how many there were before it.
#[derive(Default)]
struct Current {
    client: Option<Client>,
    generation: u64,
}

/// Tokens of the rate limit.
struct Bucket {
    tokens: f32,
    at: Instant,
}

/// A response, and the client that brought it.
pub(super) struct Answered {
    /// The response.
    pub(super) response: Response<Body>,
    /// Names the client to [`Connection::spoil`].
    pub(super) generation: u64,
}

impl Connection {
    /// Checks that `access` can work, reading its files, without a connection.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn new(access: Access, limits: Limits) -> Result<Self, String> {
        let access = match access {
            Access::InCluster => in_cluster(
                std::env::var("KUBERNETES_SERVICE_HOST").ok(),
                std::env::var("KUBERNETES_SERVICE_PORT").ok(),
            )?,
            other => other,
        };
        let host = access.check()?;
        Ok(Self(Arc::new(Inner {
            access,
            host: host.into(),
            limits,
            bucket: Mutex::new(Bucket {
                tokens: limits.burst.max(1) as f32,
                at: Instant::now(),
            }),
            in_flight: Semaphore::new(match limits.in_flight {
                0 => Semaphore::MAX_PERMITS,
                most => most as usize,
            }),
            current: Mutex::default(),
            requests: Requests::new(),
        })))
    }

    /// The server's host and port, for messages.
    pub(super) fn host(&self) -> &str {
        &self.0.host
    }

    /// Asks for `path` in one of the media types that `accept` lists, and waits until the response begins.
    ///
    /// # Errors
    /// The cause, in words. The client is not used again.
    pub(super) async fn get(&self, path: &str, accept: &str) -> Result<Answered, String> {
        let begun = Instant::now();
        self.throttle().await;
        let waited = begun.elapsed();
        // It is closed never.
        let _permit = self.0.in_flight.acquire().await;
        let (client, generation) = self.client().await?;
        let request = Request::get(path)
            .header(header::ACCEPT, accept)
            .header(header::ACCEPT_ENCODING, "identity")
            .header(
                header::USER_AGENT,
                concat!("nameplate/", env!("CARGO_PKG_VERSION")),
            )
            .body(Body::empty())
            .map_err(|error| words(&error))?;
        let begun = Instant::now();
        let sent = client.send(request).await;
        let code = sent
            .as_ref()
            .ok()
            .map(|response| response.status().as_u16());
        let requests = &self.0.requests;
        requests.count(&self.0.host, waited, begun.elapsed(), code);
        match sent {
            Ok(response) => Ok(Answered {
                response,
                generation,
            }),
            Err(error) => {
                self.spoil(generation).await;
                Err(words(&error))
            }
        }
    }

    /// Throws the client away, unless that has happened: its credentials or its connections are of no use.
    pub(super) async fn spoil(&self, generation: u64) {
        let mut current = self.0.current.lock().await;
        if current.generation == generation {
            current.client = None;
        }
    }

    /// The client at work, or a new one from what the files say now.
    async fn client(&self) -> Result<(Client, u64), String> {
        let mut current = self.0.current.lock().await;
        if let Some(client) = &current.client {
            return Ok((client.clone(), current.generation));
        }
        let config = self.0.access.config().await?;
        // A credential plugin is a program that is waited for.
        let client = tokio::task::spawn_blocking(move || build(&config))
            .await
            .map_err(|error| words(&error))?
            .map_err(|error| words(&error))?;
        current.generation += 1;
        current.client = Some(client.clone());
        Ok((client, current.generation))
    }

    /// Waits for its turn by the rate limit.
    async fn throttle(&self) {
        let limits = self.0.limits;
        if limits.rate <= 0.0 {
            return;
        }
        let mut bucket = self.0.bucket.lock().await;
        let now = Instant::now();
        let gained = now.duration_since(bucket.at).as_secs_f32() * limits.rate;
        bucket.tokens = (bucket.tokens + gained).min(limits.burst.max(1) as f32) - 1.0;
        bucket.at = now;
        let debt = -bucket.tokens;
        drop(bucket);
        if debt > 0.0 {
            sleep_until(now + Duration::from_secs_f32(debt / limits.rate)).await;
        }
    }
}

/// What a pod's environment says.
fn in_cluster(host: Option<String>, port: Option<String>) -> Result<Access, String> {
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (Some(host), Some(port)) = (set(host), set(port)) else {
        return Err("unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined".to_owned());
    };
    let url = if host.contains(':') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    };
    Ok(Access::Account {
        url,
        folder: PathBuf::from(ACCOUNT),
    })
}

impl Access {
    /// Reads what it names; the server's host and port.
    pub(super) fn check(&self) -> Result<String, String> {
        match self {
            Self::InCluster => Err("the environment has not been read".to_owned()),
            Self::Account { url, folder } => {
                readable(&folder.join("token"))?;
                readable(&folder.join("ca.crt"))?;
                Ok(host(&address(url)?))
            }
            Self::Endpoint { url, tls } => {
                if let Some(tls) = tls {
                    for file in [&tls.certificate, &tls.key, &tls.authority] {
                        readable(file)?;
                    }
                }
                Ok(host(&address(url)?))
            }
            Self::Kubeconfig { file, context } => {
                let kubeconfig = kubeconfig(file)?;
                let wanted = context
                    .as_ref()
                    .or(kubeconfig.current_context.as_ref())
                    .ok_or_else(|| format!("{}: no current-context", file.display()))?;
                let context = kubeconfig
                    .contexts
                    .iter()
                    .find(|known| known.name == *wanted)
                    .and_then(|known| known.context.as_ref())
                    .ok_or_else(|| {
                        format!("{}: context \"{wanted}\" does not exist", file.display())
                    })?;
                let cluster = kubeconfig
                    .clusters
                    .iter()
                    .find(|known| known.name == context.cluster)
                    .and_then(|known| known.cluster.as_ref())
                    .ok_or_else(|| {
                        let cluster = &context.cluster;
                        format!("{}: cluster \"{cluster}\" does not exist", file.display())
                    })?;
                if cluster.proxy_url.is_some() {
                    return Err(format!("{}: proxy-url is not implemented", file.display()));
                }
                let user = context.user.as_ref().and_then(|user| {
                    let known = kubeconfig.auth_infos.iter();
                    known.clone().find(|known| known.name == *user)
                });
                if let Some(provider) = user
                    .and_then(|user| user.auth_info.as_ref())
                    .and_then(|info| info.auth_provider.as_ref())
                {
                    return Err(format!(
                        "{}: auth-provider {} is not implemented; use an exec plugin",
                        file.display(),
                        provider.name
                    ));
                }
                let server = cluster.server.as_deref().unwrap_or_default();
                Ok(host(&address(server)?))
            }
        }
    }

    /// What `kube` is to connect to, from the files as they are now.
    async fn config(&self) -> Result<Config, String> {
        match self {
            Self::InCluster => Err("the environment has not been read".to_owned()),
            Self::Account { url, folder } => {
                let mut config = Config::new(address(url)?);
                let token = folder.join("token");
                readable(&token)?;
                config.auth_info.token_file = Some(token.to_string_lossy().into_owned());
                config.root_cert = Some(authorities(&folder.join("ca.crt"))?);
                Ok(config)
            }
            Self::Endpoint { url, tls } => {
                let mut config = Config::new(address(url)?);
                if let Some(tls) = tls {
                    let text = |path: &Path| Some(path.to_string_lossy().into_owned());
                    config.auth_info.client_certificate = text(&tls.certificate);
                    config.auth_info.client_key = text(&tls.key);
                    config.root_cert = Some(authorities(&tls.authority)?);
                }
                Ok(config)
            }
            Self::Kubeconfig { file, context } => {
                let options = KubeConfigOptions {
                    context: context.clone(),
                    ..KubeConfigOptions::default()
                };
                Config::from_custom_kubeconfig(kubeconfig(file)?, &options)
                    .await
                    .map_err(|error| words(&error))
            }
        }
    }
}

/// A client over TCP connections that are watched.
fn build(config: &Config) -> Result<Client, kube::Error> {
    let (idle, interval, times) = KEEPALIVE;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(idle));
    tcp.set_keepalive_interval(Some(interval));
    tcp.set_keepalive_retries(Some(times));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let https = config.rustls_https_connector_with_connector(tcp)?;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(8)
        .build::<_, Body>(https);
    let builder = ClientBuilder::new(client, "default")
        .with_layer(&MapErrLayer::new(BoxError::from))
        .with_layer(&config.base_uri_layer())
        .with_layer(&config.extra_headers_layer()?);
    Ok(match config.auth_layer()? {
        Some(auth) => builder.with_layer(&auth).build(),
        None => builder.build(),
    })
}

fn address(url: &str) -> Result<Uri, String> {
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("{url:?} is not a URL: {error}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        (None, _) => address(&format!("http://{url}")),
        _ => Err(format!("{url:?} is not a URL of http or https")),
    }
}

fn host(uri: &Uri) -> String {
    uri.authority()
        .map_or_else(String::new, |authority| match authority.port() {
            Some(_) => authority.to_string(),
            None if uri.scheme_str() == Some("http") => format!("{authority}:80"),
            None => format!("{authority}:443"),
        })
}

fn readable(path: &Path) -> Result<Vec<u8>, String> {
    /// Certificates and keys are small.
    const MOST: u64 = 16 << 20;
    host::regular::read(path, MOST).map_err(|error| format!("open {}: {error}", path.display()))
}

fn authorities(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    CertificateDer::pem_slice_iter(&readable(path)?)
        .map(|der| der.map(|der| der.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn kubeconfig(file: &Path) -> Result<Kubeconfig, String> {
    // What is no file would hold up whoever opens it.
    readable(file)?;
    Kubeconfig::read_from(file).map_err(|error| words(&error))
}

/// An error with what caused it, each said once; without the layers that every one of them passes, and without links to manuals.
pub(super) fn words(error: &dyn Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !out.contains(&text) {
            let _ = write!(out, ": {text}");
        }
        source = cause.source();
    }
    let out = out.strip_prefix("ServiceError: ").unwrap_or(&out);
    let end = out.find(": https://").unwrap_or(out.len());
    out[..end].to_owned()
}
