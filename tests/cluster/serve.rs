//! What a connection is served: lists, watches, and the faults that a test wants.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use serde_json::{Value, json};

use crate::store::{Change, Selector, Stored, What};
use crate::wire::{Chunks, Manner, Request, Wire};
use crate::{Fault, Kind, Shared, State, Strike, WatchList, protobuf};

/// How often a watch looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(50);
/// How many octets of initial events go in one chunk.
const BATCH: usize = 16 << 10;

/// Serves a connection until either side is done.
pub(crate) fn connection(
    shared: &Shared,
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    life: u64,
) -> io::Result<()> {
    thawed(shared, life)?;
    let mut wire = Wire::new(stream, tls)?;
    while let Some(request) = wire.request()? {
        thawed(shared, life)?;
        answer(shared, &mut wire, &request, life)?;
    }
    Ok(())
}

/// Waits while the server is frozen; an error when its life has ended.
fn thawed(shared: &Shared, life: u64) -> io::Result<()> {
    let mut state = shared.lock();
    while state.settings.frozen && state.life == life {
        state = shared.wait(state, LOOK);
    }
    if state.life == life {
        Ok(())
    } else {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code})
}

/// What a path names.
struct Place {
    kind: Kind,
    namespace: Option<String>,
    name: Option<String>,
}

fn place(path: &str) -> Option<Place> {
    let mut words: Vec<&str> = path.trim_matches('/').split('/').collect();
    let group = match words[..] {
        ["api", version, ..] => {
            words.drain(..2);
            version.to_owned()
        }
        ["apis", group, version, ..] => {
            words.drain(..3);
            format!("{group}/{version}")
        }
        _ => return None,
    };
    let namespace = match words[..] {
        ["namespaces", namespace, _, ..] => {
            words.drain(..2);
            Some(namespace.to_owned())
        }
        _ => None,
    };
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.resource() == words[0] && kind.api_version() == group)?;
    Some(Place {
        kind,
        namespace,
        name: words.get(1).map(|name| (*name).to_owned()),
    })
}

fn answer(shared: &Shared, wire: &mut Wire, request: &Request, life: u64) -> io::Result<()> {
    let mut state = shared.lock();
    state.counts.first.get_or_insert_with(Instant::now);
    if state.counts.requests.len() < 1_000 {
        state.counts.requests.push(request.target.clone());
    }
    state
        .counts
        .authorization
        .clone_from(&request.authorization);
    let settings = &state.settings;
    let token = request.authorization.strip_prefix("Bearer ");
    let known = settings.tokens.is_empty()
        || token.is_some_and(|token| settings.tokens.contains(token))
        || settings.certificates && wire.certified();
    if !known {
        drop(state);
        let body = status(401, "Unauthorized", "Unauthorized").to_string();
        return wire.respond(401, "", &body);
    }
    if request.method != "GET" {
        drop(state);
        let body = status(405, "MethodNotAllowed", "only GET is served").to_string();
        return wire.respond(405, "Connection: close\r\n", &body);
    }
    let Some(place) = place(&request.path) else {
        drop(state);
        return match &*request.path {
            "/version" => wire.respond(
                200,
                "",
                r#"{"major":"1","minor":"36","gitVersion":"v1.36.2"}"#,
            ),
            "/readyz" | "/livez" => wire.respond(200, "", "ok"),
            _ => wire.respond(
                404,
                "",
                &status(
                    404,
                    "NotFound",
                    "the server could not find the requested resource",
                )
                .to_string(),
            ),
        };
    };
    let kind = place.kind;
    let encoding = Encoding::of(&state, request, kind);
    if state.settings.forbidden.contains(&kind) {
        let group = kind
            .api_version()
            .rsplit_once('/')
            .map_or("", |(group, _)| group);
        let resource = kind.resource();
        drop(state);
        let message = format!(
            "{resource} is forbidden: User \"system:serviceaccount:kube-system:coredns\" cannot list resource \"{resource}\" in API group \"{group}\" at the cluster scope"
        );
        return refuse(wire, encoding, "", &status(403, "Forbidden", &message));
    }
    let fault = state
        .faults
        .get_mut(&kind)
        .and_then(std::collections::VecDeque::pop_front);
    let mut manner = Manner {
        drip: state.settings.drip,
        cut: None,
    };
    drop(state);
    let mut stalls = false;
    match fault {
        None => {}
        Some(Fault::Status(code, after)) => {
            let header = after.map_or(String::new(), |after| format!("Retry-After: {after}\r\n"));
            let said = status(code, "Fault", "as the test wants it");
            return refuse(wire, encoding, &header, &said);
        }
        Some(Fault::Delay(delay)) => thread::sleep(delay),
        Some(Fault::Hang) => return hang(shared, wire, life),
        Some(Fault::Cut(at)) => manner.cut = Some(at),
        Some(Fault::Stall(at)) => {
            manner.cut = Some(at);
            stalls = true;
        }
    }
    let selector = Selector::parse(
        place.namespace,
        request.get("labelSelector"),
        request.get("fieldSelector"),
    );
    let Some(selector) = selector else {
        let body = status(400, "BadRequest", "unable to parse the selectors").to_string();
        return wire.respond(400, "", &body);
    };
    let done = if let Some(name) = &place.name {
        one(shared, wire, kind, &selector, name)
    } else if matches!(request.get("watch"), "1" | "true") {
        watch(shared, wire, request, kind, &selector, (manner, life))
    } else {
        list(shared, wire, request, kind, &selector, manner)
    };
    if stalls && done.is_err() {
        return hang(shared, wire, life);
    }
    done
}

/// Says nothing until the client goes.
fn hang(shared: &Shared, wire: &Wire, life: u64) -> io::Result<()> {
    let mut state = shared.lock();
    while state.life == life && !wire.hung_up() {
        state = shared.wait(state, LOOK);
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn one(
    shared: &Shared,
    wire: &mut Wire,
    kind: Kind,
    selector: &Selector,
    name: &str,
) -> io::Result<()> {
    let state = shared.lock();
    let namespace = selector.namespace.as_deref().unwrap_or_default();
    let found = state.store.table(kind).get(namespace, name).cloned();
    drop(state);
    match found {
        Some(object) => wire.respond(200, "", &object.text),
        None => wire.respond(404, "", &status(404, "NotFound", "not found").to_string()),
    }
}

fn list(
    shared: &Shared,
    wire: &mut Wire,
    request: &Request,
    kind: Kind,
    selector: &Selector,
    manner: Manner,
) -> io::Result<()> {
    let mut state = shared.lock();
    let at_least: u64 = request.get("resourceVersion").parse().unwrap_or(0);
    if at_least > state.store.version {
        drop(state);
        thread::sleep(Duration::from_millis(300));
        let mut body = status(504, "Timeout", "Too large resource version");
        body["details"] =
            json!({"causes": [{"reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 1});
        return wire.respond(504, "Retry-After: 1\r\n", &body.to_string());
    }
    let limit: usize = request.get("limit").parse().unwrap_or(0);
    let token = request.get("continue");
    let (mut objects, version) = if token.is_empty() {
        *state.counts.lists.entry(kind).or_default() += 1;
        let version = state.store.version;
        (state.store.table(kind).select(selector), version)
    } else {
        *state.counts.pages.entry(kind).or_default() += 1;
        let number: u64 = token.trim_start_matches("page-").parse().unwrap_or(0);
        match state.pages.remove(&number) {
            Some(rest) => rest,
            None => {
                drop(state);
                let message = "The provided continue parameter is too old to display a consistent list result.";
                let mut body = status(410, "Expired", message);
                body["metadata"] = json!({"continue": "page-inconsistent"});
                return wire.respond(410, "", &body.to_string());
            }
        }
    };
    let mut meta = json!({"resourceVersion": version.to_string()});
    if limit > 0 && objects.len() > limit {
        let rest = objects.split_off(limit);
        meta["remainingItemCount"] = json!(rest.len());
        let number = state.next_page;
        state.next_page += 1;
        state.pages.insert(number, (rest, version));
        meta["continue"] = json!(format!("page-{number}"));
    }
    drop(state);
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{meta},\"items\":[",
        kind.name(),
        kind.api_version()
    );
    let mut body = Chunks::begin(wire, Encoding::Json.media_type(), manner)?;
    let mut batch = head.into_bytes();
    for (number, object) in objects.iter().enumerate() {
        if number > 0 {
            batch.push(b',');
        }
        // Items of a list do not say what they are.
        let mut item: Value = serde_json::from_str(&object.text).unwrap_or_default();
        if let Some(item) = item.as_object_mut() {
            item.remove("kind");
            item.remove("apiVersion");
        }
        batch.extend_from_slice(item.to_string().as_bytes());
        if batch.len() > BATCH {
            body.write(&batch)?;
            batch.clear();
        }
    }
    batch.extend_from_slice(b"]}\n");
    body.write(&batch)?;
    body.end()
}

/// How a watch is told.
#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Json,
    Protobuf,
}

impl Encoding {
    /// What a client gets that accepts so much.
    fn of(state: &State, request: &Request, kind: Kind) -> Self {
        let asked = request
            .accept
            .contains("application/vnd.kubernetes.protobuf");
        match asked && state.settings.protobuf && kind != Kind::ServiceImport {
            true => Self::Protobuf,
            false => Self::Json,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => protobuf::MEDIA_TYPE,
        }
    }

    /// An event about a stored object.
    fn stored(self, what: &str, object: &Stored) -> Vec<u8> {
        match self {
            Self::Json => line(what, &object.text),
            Self::Protobuf => protobuf::event(what, &object.protobuf),
        }
    }

    /// An event about a bookmark or a status.
    fn event(self, what: &str, object: &Value) -> Vec<u8> {
        match self {
            Self::Json => line(what, &object.to_string()),
            Self::Protobuf => protobuf::event(what, &protobuf::encode(object)),
        }
    }
}

/// Refuses a request, in the encoding that its client would have been answered in.
fn refuse(wire: &mut Wire, encoding: Encoding, headers: &str, said: &Value) -> io::Result<()> {
    let code = said["code"].as_u64().unwrap_or(500) as u16;
    let headers = format!("Content-Type: {}\r\n{headers}", encoding.media_type());
    match encoding {
        Encoding::Json => wire.respond_with(code, &headers, said.to_string().as_bytes()),
        Encoding::Protobuf => wire.respond_with(code, &headers, &protobuf::encode(said)),
    }
}

fn line(what: &str, object: &str) -> Vec<u8> {
    format!("{{\"type\":\"{what}\",\"object\":{object}}}\n").into_bytes()
}

fn bookmark(encoding: Encoding, kind: Kind, version: u64, initial: bool) -> Vec<u8> {
    let mut meta = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if initial {
        meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let mut object =
        json!({"kind": kind.name(), "apiVersion": kind.api_version(), "metadata": meta});
    match kind {
        Kind::EndpointSlice => {
            object["addressType"] = json!("");
            object["endpoints"] = Value::Null;
            object["ports"] = Value::Null;
        }
        Kind::Service => {
            object["spec"] = json!({});
            object["status"] = json!({"loadBalancer": {}});
        }
        _ => {
            object["spec"] = json!({});
            object["status"] = json!({});
        }
    }
    encoding.event("BOOKMARK", &object)
}

/// What a watch has been asked for.
struct Wanted {
    kind: Kind,
    encoding: Encoding,
    bookmarks: bool,
    end: Instant,
    /// When the bookmark before the end is due.
    farewell: Instant,
}

fn watch(
    shared: &Shared,
    wire: &mut Wire,
    request: &Request,
    kind: Kind,
    selector: &Selector,
    (manner, life): (Manner, u64),
) -> io::Result<()> {
    let seconds = request.get("timeoutSeconds").parse().unwrap_or(1_800);
    let lasts = Duration::from_secs(seconds);
    let now = Instant::now();
    let encoding = Encoding::of(&shared.lock(), request, kind);
    let wanted = Wanted {
        kind,
        encoding,
        bookmarks: request.get("allowWatchBookmarks") == "true",
        end: now + lasts,
        farewell: now + lasts - lasts.div_f64(5.0).min(Duration::from_secs(2)),
    };
    let mut state = shared.lock();
    let streaming = request.get("sendInitialEvents") == "true";
    if streaming && state.settings.watch_list == WatchList::Refuses {
        drop(state);
        let message = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
        return refuse(wire, encoding, "", &status(422, "Invalid", message));
    }
    let version: u64 = request.get("resourceVersion").parse().unwrap_or(0);
    let initial = version == 0;
    let ends = state.settings.watch_list == WatchList::Streams;
    if streaming {
        *state.counts.streams.entry(kind).or_default() += 1;
    } else {
        *state.counts.watches.entry(kind).or_default() += 1;
    }
    if !initial && version < state.store.table(kind).oldest {
        let oldest = state.store.table(kind).oldest;
        let gone = state.settings.http_gone;
        drop(state);
        let message = format!("too old resource version: {version} ({oldest})");
        let body = status(410, "Expired", &message);
        if gone {
            return refuse(wire, encoding, "", &body);
        }
        let mut chunks = Chunks::begin(wire, encoding.media_type(), manner)?;
        chunks.write(&encoding.event("ERROR", &body))?;
        return chunks.end();
    }
    let start = if initial {
        state.store.version
    } else {
        version
    };
    let objects = if initial {
        state.store.table(kind).select(selector)
    } else {
        Vec::new()
    };
    let struck = state.strikes.len();
    drop(state);
    let mut chunks = Chunks::begin(wire, encoding.media_type(), manner)?;
    if initial {
        initial_events(&mut chunks, encoding, &objects)?;
        if wanted.bookmarks && ends {
            chunks.write(&bookmark(encoding, kind, start, true))?;
        }
    }
    *shared.lock().watching.entry(kind).or_default() += 1;
    let done = follow(shared, chunks, &wanted, selector, (start, struck, life));
    *shared.lock().watching.entry(kind).or_default() -= 1;
    done
}

fn initial_events(
    chunks: &mut Chunks<'_>,
    encoding: Encoding,
    objects: &[Arc<Stored>],
) -> io::Result<()> {
    let mut batch = Vec::new();
    for object in objects {
        batch.extend_from_slice(&encoding.stored("ADDED", object));
        if batch.len() > BATCH {
            chunks.write(&batch)?;
            batch.clear();
        }
    }
    if !batch.is_empty() {
        chunks.write(&batch)?;
    }
    Ok(())
}

/// What a watch has to do next.
enum Turn {
    Tell(Vec<Change>),
    Bookmark(u64),
    /// And the number of the next one.
    Strike(Strike, usize),
    End,
    Away,
    Nothing,
}

fn follow(
    shared: &Shared,
    mut chunks: Chunks<'_>,
    wanted: &Wanted,
    selector: &Selector,
    (mut told, mut struck, life): (u64, usize, u64),
) -> io::Result<()> {
    let encoding = wanted.encoding;
    let mut marked = Instant::now();
    let mut farewell = wanted.bookmarks;
    loop {
        let mut state = shared.lock();
        let turn = loop {
            if state.life != life {
                break Turn::Away;
            }
            if !state.settings.frozen {
                let turn = turn(&state, wanted, selector, (told, struck, marked, farewell));
                if !matches!(turn, Turn::Nothing) {
                    break turn;
                }
            }
            if chunks.wire().hung_up() {
                break Turn::Away;
            }
            state = shared.wait(state, LOOK);
        };
        let hold = state.settings.hold;
        let last = state.store.table(wanted.kind).last().cloned();
        drop(state);
        match turn {
            Turn::Tell(changes) if hold.is_zero() => {
                for change in changes {
                    told = change.version;
                    chunks.write(&encoding.stored(change.what.word(), &change.object))?;
                }
            }
            Turn::Tell(_) => {
                thread::sleep(hold);
                let changes = shared.lock().store.table(wanted.kind).since(told, selector);
                let mut batch = Vec::new();
                for change in changes {
                    told = change.version;
                    batch.extend_from_slice(&encoding.stored(change.what.word(), &change.object));
                }
                chunks.write(&batch)?;
            }
            Turn::Bookmark(version) => {
                farewell = farewell && Instant::now() < wanted.farewell;
                marked = Instant::now();
                chunks.write(&bookmark(encoding, wanted.kind, version, false))?;
            }
            Turn::Strike(strike, next) => {
                struck = next;
                match strike {
                    Strike::MidLine => {
                        let whole = last
                            .map(|change| encoding.stored(What::Modified.word(), &change.object));
                        let whole = whole.unwrap_or_default();
                        chunks.write(&whole[..whole.len() / 2])?;
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                    Strike::Reset => {
                        chunks.wire().reset();
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    Strike::Stall => return hang(shared, chunks.wire(), life),
                    Strike::Error(code) => {
                        let body = status(code, "InternalError", "etcdserver: no leader");
                        chunks.write(&encoding.event("ERROR", &body))?;
                        return chunks.end();
                    }
                    Strike::Duplicate => {
                        if let Some(change) = last {
                            chunks.write(&encoding.stored(change.what.word(), &change.object))?;
                        }
                    }
                    Strike::Close => return chunks.end(),
                }
            }
            Turn::End => return chunks.end(),
            Turn::Away => return Err(io::ErrorKind::ConnectionReset.into()),
            Turn::Nothing => {}
        }
    }
}

fn turn(
    state: &State,
    wanted: &Wanted,
    selector: &Selector,
    (told, struck, marked, farewell): (u64, usize, Instant, bool),
) -> Turn {
    // Before changes: what comes after a strike is not told by the watch that was struck.
    let mut strikes = state.strikes.iter().enumerate().skip(struck);
    if let Some((at, (_, strike))) = strikes.find(|(_, (kind, _))| *kind == wanted.kind) {
        return Turn::Strike(*strike, at + 1);
    }
    let changes = state.store.table(wanted.kind).since(told, selector);
    if !changes.is_empty() {
        return Turn::Tell(changes);
    }
    let now = Instant::now();
    if now >= wanted.end {
        return Turn::End;
    }
    if let (true, Some(every)) = (wanted.bookmarks, state.settings.bookmarks)
        && told <= state.store.version
        && (now >= marked + every || farewell && now >= wanted.farewell)
    {
        return Turn::Bookmark(state.store.version);
    }
    Turn::Nothing
}
