//! The admin socket: what an operator asks the running server, by a Unix socket that only the server's own user and root may open.
//!
//! ```text
//! nameplate explain --live ─► admin/PID.sock (0600, in a directory of 0700) ─► POST /explain ─► a worker  ─► JSON
//! nameplate zone …         ─►                                              ─► POST /zone    ─► the plugins ─► JSON
//! ```
//!
//! It is served by the main thread, apart from queries and scrapes. HTTP/1.1, a request of at most [`LONGEST`] octets, at most
//! [`CONNECTIONS`] connections, each for at most [`PATIENCE`]. A server that cannot make the socket serves all the same, unless the
//! command line names it.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::explain;
use crate::worker::{Command, Shared};
use crate::zones;

/// Connections at a time; one more is closed.
const CONNECTIONS: usize = 8;
/// Octets of a request's body.
const LONGEST: usize = 4 * 1024;
/// How long a connection lives.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause after an error of accepting.
const PAUSE: Duration = Duration::from_millis(50);

/// Where the admin socket is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdminSocket {
    /// In the directory for such sockets, if there can be one.
    #[default]
    Usual,
    /// Here.
    At(PathBuf),
    /// Nowhere.
    Off,
}

/// What answers.
#[derive(Clone)]
pub(crate) struct Answering {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Vec<mpsc::UnboundedSender<Command>>,
    /// The port where a key names none.
    pub(crate) port: u16,
}

/// An open socket; closed and removed when dropped, and its directory with the last one.
pub(crate) struct Open {
    path: PathBuf,
    /// Directories that go if they are empty, the innermost first.
    directories: Vec<PathBuf>,
    serving: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = fs::remove_file(&self.path);
        for directory in &self.directories {
            if fs::remove_dir(directory).is_err() {
                return;
            }
        }
    }
}

/// Opens the socket and serves it; in a runtime.
pub(crate) fn open(admin: &AdminSocket, answering: Answering) -> Result<Option<Open>, String> {
    let open = |path: PathBuf, directories, listener| Open {
        path,
        directories,
        serving: tokio::spawn(listen(listener, answering)),
    };
    match admin {
        AdminSocket::Off => Ok(None),
        AdminSocket::At(path) => match bind(path) {
            Ok(listener) => Ok(Some(open(path.clone(), Vec::new(), listener))),
            Err(error) => Err(format!("admin socket {}: {error}", path.display())),
        },
        AdminSocket::Usual => {
            let usual = bind_in_usual();
            Ok(usual.map(|(path, directories, listener)| open(path, directories, listener)))
        }
    }
}

/// A socket in the directory for such sockets, and the directories that go with it.
fn bind_in_usual() -> Option<(PathBuf, Vec<PathBuf>, UnixListener)> {
    loop {
        let made = directories().into_iter().find_map(prepare)?;
        let path = made[0].join(format!("{}.sock", std::process::id()));
        match bind(&path) {
            Ok(listener) => return Some((path, made, listener)),
            // The server that was the last one there removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !made[0].exists() => {}
            Err(error) => {
                debug!("no admin socket at {}: {error}", path.display());
                return None;
            }
        }
    }
}

/// The directories for admin sockets, the best first.
fn directories() -> Vec<PathBuf> {
    let mut out = Vec::new();
    // systemd's RuntimeDirectory=; there may be several, with colons between them.
    if let Some(given) = std::env::var_os("RUNTIME_DIRECTORY") {
        out.extend(std::env::split_paths(&given).take(1));
    }
    out.push(PathBuf::from("/run/nameplate"));
    if let Some(given) = std::env::var_os("XDG_RUNTIME_DIR").filter(|given| !given.is_empty()) {
        out.push(Path::new(&given).join("nameplate"));
    }
    out.into_iter().map(|path| path.join("admin")).collect()
}

/// Makes a directory that only this user may enter, and removes from it what servers left that are gone. It, and the one that
/// it is in, if that was not there either.
fn prepare(directory: PathBuf) -> Option<Vec<PathBuf>> {
    let mut made = vec![directory.clone()];
    if !directory.is_dir() {
        let parent = directory.parent()?;
        if !parent.is_dir() {
            fs::create_dir(parent).ok()?;
            made.push(parent.to_path_buf());
        }
        fs::DirBuilder::new().mode(0o700).create(&directory).ok()?;
    }
    for (pid, path) in sockets_in(&directory) {
        if !Path::new(&format!("/proc/{pid}")).exists() {
            let _ = fs::remove_file(path);
        }
    }
    // Somebody else's directory is none of ours.
    let probe = directory.join(format!(".{}", std::process::id()));
    fs::write(&probe, "").ok()?;
    fs::remove_file(&probe).ok()?;
    Some(made)
}

/// The sockets of a directory, with the IDs of their processes.
fn sockets_in(directory: &Path) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut out: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let pid = path.file_name()?.to_str()?.strip_suffix(".sock")?.parse();
            Some((pid.ok()?, path))
        })
        .collect();
    out.sort();
    out
}

/// Binds a socket that only this user may open. One that nobody serves any more is replaced.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let bound = UnixListener::bind(path);
    let listener = match bound {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_dead(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Whether there is a socket that nobody serves.
fn is_dead(path: &Path) -> bool {
    let refused = std::os::unix::net::UnixStream::connect(path);
    refused.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

async fn listen(listener: UnixListener, answering: Answering) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        if !is_trusted(&stream) {
            continue;
        }
        let answering = answering.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let answering = answering.clone();
                async move { Ok::<_, Infallible>(answer(answering, request).await) }
            });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A connection that ends badly is its client's business.
            let _ = timeout(PATIENCE, serving).await;
        });
    }
}

/// Whether the peer is root or this server's user. Between bind and chmod the file's mode does not say so yet.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

async fn answer(answering: Answering, request: Request<Incoming>) -> Response<String> {
    let (head, body) = request.into_parts();
    let answered = match (&head.method, head.uri.path()) {
        (&Method::POST, "/explain") => match collect(body).await {
            Some(body) => walk(&answering, &body).await,
            None => Err((
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request is too long".to_owned(),
            )),
        },
        (&Method::POST, "/zone") => match collect(body).await {
            Some(body) => keep(&answering, &body).await,
            None => Err((
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request is too long".to_owned(),
            )),
        },
        _ => Err((StatusCode::NOT_FOUND, "no such question".to_owned())),
    };
    let (status, kind, text) = match answered {
        Ok(json) => (StatusCode::OK, "application/json", json),
        Err((status, why)) => (status, "text/plain; charset=utf-8", why),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The whole body; nothing where it is too long or does not come.
async fn collect<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Option<Vec<u8>> {
    collect_up_to(&mut body, LONGEST).await
}

async fn collect_up_to<B: Body<Data = Bytes> + Unpin>(
    body: &mut B,
    most: usize,
) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        let Some(frame) = frame else {
            return Some(out);
        };
        if let Ok(data) = frame.ok()?.into_data() {
            if out.len() + data.len() > most {
                return None;
            }
            out.extend_from_slice(&data);
        }
    }
}

/// Has a worker walk a query, and tells what happened to it as JSON.
async fn walk(answering: &Answering, body: &[u8]) -> Result<String, (StatusCode, String)> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let gone = || {
        let why = "no worker answers".to_owned();
        (StatusCode::SERVICE_UNAVAILABLE, why)
    };
    let request: explain::Request =
        serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    let scene = answering.shared.scene().clone().ok_or_else(gone)?;
    let worker = answering.workers.first().ok_or_else(gone)?;
    let (send, receive) = oneshot::channel();
    let port = answering.port;
    let job = Command::Run(Box::new(move |index| {
        Box::pin(async move {
            let _ = send.send(explain::explain(&scene, &request, (port, index), true).await);
        })
    }));
    worker.send(job).map_err(|_| gone())?;
    let record = receive.await.map_err(|_| gone())?.map_err(bad)?;
    serde_json::to_string(&record).map_err(|error| bad(error.to_string()))
}

/// Tells of zones, or does something with one, on a thread that may read files.
async fn keep(answering: &Answering, body: &[u8]) -> Result<String, (StatusCode, String)> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let request: zones::Request =
        serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    let plugins = answering.shared.snapshot.load().plugins.clone();
    let answered = tokio::task::spawn_blocking(move || zones::answer(&plugins, &request));
    let answer = answered
        .await
        .map_err(|error| bad(error.to_string()))?
        .map_err(bad)?;
    serde_json::to_string(&answer).map_err(|error| bad(error.to_string()))
}

/// Octets of a reply at most.
const LONGEST_REPLY: usize = 16 << 20;

/// Asks the running server at `socket`, or the only one there is, to explain a query.
///
/// # Errors
/// That there is none, or what it says.
pub fn ask(socket: Option<&Path>, request: &explain::Request) -> Result<explain::Record, String> {
    post(socket, "/explain", request)
}

/// Asks the running server at `socket`, or the only one there is, for its zones.
///
/// # Errors
/// That there is none, or what it says.
pub fn ask_zones(socket: Option<&Path>, request: &zones::Request) -> Result<zones::Answer, String> {
    post(socket, "/zone", request)
}

/// Asks a question of the running server.
fn post<Q: Serialize, A: DeserializeOwned>(
    socket: Option<&Path>,
    question: &'static str,
    request: &Q,
) -> Result<A, String> {
    let path = match socket {
        Some(path) => path.to_path_buf(),
        None => running()?,
    };
    let failed =
        |error: &dyn std::fmt::Display| format!("admin socket {}: {error}", path.display());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let body = serde_json::to_string(request).map_err(|error| failed(&error))?;
        let stream = UnixStream::connect(&path)
            .await
            .map_err(|error| failed(&error))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|error| failed(&error))?;
        let driving = tokio::spawn(connection);
        let request = Request::post(question)
            .header(header::HOST, "nameplate")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| failed(&error))?;
        let response = timeout(PATIENCE, sender.send_request(request)).await;
        let response = response
            .map_err(|_| failed(&"no reply in time"))?
            .map_err(|error| failed(&error))?;
        let (head, mut body) = response.into_parts();
        let octets = collect_up_to(&mut body, LONGEST_REPLY).await;
        driving.abort();
        let octets = octets.ok_or_else(|| failed(&"the reply was cut off"))?;
        if head.status != StatusCode::OK {
            return Err(String::from_utf8_lossy(&octets).into_owned());
        }
        serde_json::from_slice(&octets).map_err(|error| failed(&error))
    })
}

/// The socket of the server that runs on this machine.
fn running() -> Result<PathBuf, String> {
    let directories = directories();
    let mut found: Vec<(u32, PathBuf)> = directories
        .iter()
        .flat_map(|directory| sockets_in(directory))
        .filter(|(_, path)| !is_dead(path))
        .collect();
    found.dedup();
    match found.len() {
        1 => Ok(found.remove(0).1),
        0 => {
            let places: Vec<_> = directories
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            Err(format!(
                "no running server has an admin socket here (looked in {})\n  \
                 run this as the server's user or as root; for a server that was started with `-admin PATH`, write `--admin PATH`",
                places.join(", ")
            ))
        }
        _ => {
            let list: Vec<_> = found
                .iter()
                .map(|(_, path)| format!("\n  --admin {}", path.display()))
                .collect();
            Err(format!(
                "several servers run here; choose one:{}",
                list.concat()
            ))
        }
    }
}
