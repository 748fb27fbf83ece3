//! The loop that keeps one kind of object known: list, watch, and what to do when either fails.
//!
//! ```text
//!        ┌────────────── desync: 410 in either form, an error event, a version that runs backwards ─────────────┐
//!        ▼                                                                                                      │
//!   list ── sendInitialEvents, or pages of 500 where the server lacks it ──► watch from a version ── closed ──► again
//!        ▲                                                                        │
//!        └── hourly, whatever the watch says ─────────────────────────────────────┘
//! ```
//!
//! Objects go to the [`Sink`] one by one as they arrive; no list is ever held. Every wait is bounded:
//!
//! * A watch is asked for [`Timing::watch`] only; then the server closes it and the next one goes on from its version, over the same
//!   connection. A server that neither speaks nor closes is given up shortly after. So a stalled connection costs seconds, and no idle
//!   limit has to guess how often bookmarks come. A peer that is gone is noticed sooner, by TCP (see [`super::client`]).
//! * Between attempts passes a back-off from 100 ms that doubles up to 5 s, with jitter; a server's `Retry-After` lengthens it. It
//!   starts anew only after a watch that lasted, so a server that accepts and drops is not hammered; lists have a count of their own.
//! * After a connection broke, and after a watch in which a server that was asked for bookmarks said nothing at all, the list's version
//!   is looked at: a cluster that was restored from a backup is silent until its versions have caught up.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;
use rand::RngExt;
use source::BackOff;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::change::{Kind, Object, Sink};
use super::client::{Connection, words};
use super::decode::{self, Event, Items, Status, Stream};
use super::protobuf;

const TARGET: &str = "plugin/kubernetes";
/// The media types that lists in pages are taken in.
const JSON: &str = "application/json";
/// Those that streams are taken in, as client-go has it.
const PROTOBUF_OR_JSON: &str = "application/vnd.kubernetes.protobuf,application/json";
/// Objects of a page.
const PAGE: u32 = 500;
/// The longest text of an error that is read.
const ERROR_TEXT: usize = 64 << 10;
/// The longest wait that a server may impose.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// What is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Selection {
    /// The kind.
    pub(super) kind: Kind,
    /// The label selector; empty for all.
    pub(super) labels: String,
    /// The field selector; empty for all.
    pub(super) fields: String,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// The first wait after a failure, and the longest.
    pub(super) back_off: (Duration, Duration),
    /// How long a watch lasts before its successor takes over.
    pub(super) watch: Duration,
    /// How much longer than asked for a watch may be open.
    pub(super) grace: Duration,
    /// The longest wait for a response to begin, and between two parts of a list.
    pub(super) answer: Duration,
    /// The longest silence in a streaming list before pages are tried.
    pub(super) stream: Duration,
    /// How old a list may become.
    pub(super) relist: Duration,
    /// How long a watch has to last to show that all is well.
    pub(super) steady: Duration,
    /// The least time between two log lines with the same cause.
    pub(super) repeat: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            back_off: (Duration::from_millis(100), Duration::from_secs(5)),
            watch: Duration::from_secs(10),
            grace: Duration::from_secs(3),
            answer: Duration::from_secs(30),
            stream: Duration::from_secs(10),
            relist: Duration::from_secs(3600),
            steady: Duration::from_secs(5),
            repeat: Duration::from_secs(60),
        }
    }
}

/// A sink that the watches of a cluster share.
pub(super) type Shared = Arc<Mutex<dyn Sink>>;

/// Keeps `selections` known to `sink`; does not end. What it started ends when it is dropped.
pub(super) async fn run(
    connection: Connection,
    selections: Vec<Selection>,
    timing: Timing,
    sink: Shared,
) {
    let mut loops = JoinSet::new();
    let mut known = HashMap::new();
    let mut begin = selections;
    loop {
        for selection in begin.drain(..) {
            let watch = Watch::new(connection.clone(), selection.clone(), timing, sink.clone());
            known.insert(loops.spawn(watch.follow()).id(), selection);
        }
        // Only a panic ends a loop.
        let Some(Err(ended)) = loops.join_next().await else {
            return;
        };
        telemetry::metrics::panics().inc();
        begin.extend(known.remove(&ended.id()));
        tracing::error!(target: TARGET, "Recovered from panic in a watch of {:?}", begin);
        sleep(timing.back_off.1).await;
    }
}

/// The watch of one kind.
struct Watch {
    connection: Connection,
    selection: Selection,
    timing: Timing,
    sink: Shared,
    /// What the next watch goes on from; empty when a list is due.
    version: Box<str>,
    listed: Instant,
    /// How long this list is good for.
    keep: Duration,
    /// Whether the server streams lists, as far as is known.
    streams: bool,
    /// Whether it has events in protobuf, as far as is known; one that has not may send JSON all the same.
    protobuf: bool,
    /// How many times in a row pages ended with an expired token.
    expired_pages: u32,
    /// Failures since all was well.
    failures: u32,
    /// Lists that were needed since all was well.
    relists: u32,
    /// Whether the last attempt broke: the server may be another one since.
    broken: bool,
    lost: bool,
    said: Option<(String, Instant)>,
}

/// Why a list or a watch ended before its time.
struct Failure {
    why: String,
    what_next: Next,
    wait: Option<Duration>,
    /// Whether it belongs to how an API server works.
    usual: bool,
    /// Whether a connection that had worked ended.
    broken: bool,
}

/// Where to go on.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    /// The same again.
    Retry,
    /// With another list.
    Relist,
    /// With a list in pages.
    Pages,
}

impl Failure {
    /// A stream broke.
    fn broken(why: impl Into<String>) -> Self {
        Self {
            broken: true,
            ..Self::new(why, Next::Retry)
        }
    }

    fn new(why: impl Into<String>, what_next: Next) -> Self {
        Self {
            why: why.into(),
            what_next,
            wait: None,
            usual: false,
            broken: false,
        }
    }
}

/// A list that is under way on a stream, and what was removed meanwhile.
#[derive(Default)]
struct Gathering {
    removed: Vec<Object>,
    objects: u64,
}

impl Watch {
    fn new(connection: Connection, selection: Selection, timing: Timing, sink: Shared) -> Self {
        Self {
            connection,
            protobuf: protobuf::encodes(selection.kind),
            selection,
            timing,
            sink,
            version: Box::default(),
            listed: Instant::now(),
            keep: timing.relist,
            streams: true,
            expired_pages: 0,
            failures: 0,
            relists: 0,
            broken: false,
            lost: false,
            said: None,
        }
    }

    fn sink(&self) -> MutexGuard<'_, dyn Sink + 'static> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists and watches for ever.
    async fn follow(mut self) {
        loop {
            let begun = Instant::now();
            let done = if self.version.is_empty() || self.listed.elapsed() > self.keep {
                self.list().await
            } else {
                self.watch().await
            };
            if begun.elapsed() >= self.timing.steady {
                self.failures = 0;
                self.relists = 0;
            }
            match done {
                Ok(()) if begun.elapsed() >= self.timing.back_off.0 => {}
                // A server that closes at once is not asked at once.
                Ok(()) => self.pause(None).await,
                Err(failure) => self.fail(failure).await,
            }
        }
    }

    /// A failure is told, logged and waited for.
    async fn fail(&mut self, failure: Failure) {
        match failure.what_next {
            // A list that is due for its age must not keep a watch from going on.
            Next::Retry => {
                self.keep = self
                    .keep
                    .max(self.listed.elapsed() + self.timing.relist / 8)
            }
            // The server is there; only those who list again and again wait longer and longer.
            Next::Relist => {
                self.version = Box::default();
                self.failures = self.relists;
                self.relists += 1;
            }
            Next::Pages => self.streams = false,
        }
        // Streams break, and their successors take over: that is no news unless they fail.
        let quiet = failure.usual || failure.broken && self.failures == 0;
        if failure.what_next == Next::Retry {
            self.broken = true;
            if !quiet && !std::mem::replace(&mut self.lost, true) {
                self.sink().lost(self.selection.kind, &failure.why);
            }
        }
        if quiet {
            tracing::debug!(
                target: TARGET,
                "{} at {}: {}", self.selection.kind, self.connection.host(), failure.why
            );
        } else {
            self.say(&failure.why);
        }
        self.pause(failure.wait).await;
    }

    /// Waits for the back-off, or for as long as the server wants.
    async fn pause(&mut self, least: Option<Duration>) {
        let (first, most) = self.timing.back_off;
        let delay = BackOff { first, most }.delay(self.failures);
        self.failures += 1;
        // Jitter goes on top of what the server wants, never below it.
        let delay = least.map_or(delay, |least| {
            let least = least.min(RETRY_AFTER);
            delay.max(least.mul_f64(host::random::rng().random_range(1.0..=1.2)))
        });
        sleep(delay).await;
    }

    /// Logs a cause, the same one not too often.
    fn say(&mut self, why: &str) {
        let now = Instant::now();
        let again = self
            .said
            .as_ref()
            .is_some_and(|(said, at)| said == why && now.duration_since(*at) < self.timing.repeat);
        if !again {
            tracing::warn!(
                target: TARGET,
                "Failed to watch {} at {}: {why}", self.selection.kind, self.connection.host()
            );
            self.said = Some((why.to_owned(), now));
        }
    }

    /// The server has spoken.
    fn heard(&mut self) {
        self.broken = false;
        if std::mem::take(&mut self.lost) {
            tracing::info!(
                target: TARGET,
                "Watching {} at {} again", self.selection.kind, self.connection.host()
            );
            self.said = None;
        }
        self.sink().heard(self.selection.kind);
    }

    /// Replaces what is known, and may go on watching.
    async fn list(&mut self) -> Result<(), Failure> {
        if self.streams {
            self.stream(true).await
        } else {
            self.pages().await
        }
    }

    /// Goes on from the version that is known.
    async fn watch(&mut self) -> Result<(), Failure> {
        if self.broken {
            // A server that has been away may have come back with less than it had; a watch from the future would be silent.
            self.compare().await?;
        }
        self.stream(false).await
    }

    /// Follows a watch until it ends; with `initial`, the list comes first.
    async fn stream(&mut self, initial: bool) -> Result<(), Failure> {
        let kind = self.selection.kind;
        let mut query = self.query();
        query.push_str("&watch=true&allowWatchBookmarks=true");
        // Spread, so that the watches of a cluster do not end together.
        let lasts = self
            .timing
            .watch
            .mul_f64(host::random::rng().random_range(0.8..=1.0));
        let seconds = lasts.as_secs().max(1);
        if initial {
            // The server's limit counts from here, ours from the end of the list.
            let _ = write!(
                query,
                "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds={}",
                seconds + 300
            );
        } else {
            let version = &self.version;
            let _ = write!(query, "&resourceVersion={version}&timeoutSeconds={seconds}");
        }
        let accept = match self.protobuf {
            true => PROTOBUF_OR_JSON,
            false => JSON,
        };
        let (mut body, media_type) = self.ask(&query, accept).await?;
        let mut gathering = initial.then(Gathering::default);
        if initial {
            self.sink().begin(kind);
        }
        let mut stream = Stream::of(&media_type);
        let mut spoken = false;
        let mut end = Instant::now() + lasts + self.timing.grace;
        loop {
            let listing = gathering.is_some();
            let deadline = if listing {
                Instant::now() + self.timing.stream
            } else {
                end
            };
            let frame = match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) if listing => {
                    return Err(Failure::new(words(&error), Next::Retry));
                }
                Ok(Some(Err(error))) => return Err(Failure::broken(words(&error))),
                Ok(None) if listing => {
                    let why = "the stream ended before the list did";
                    return Err(Failure::new(why, Next::Retry));
                }
                Ok(None) if stream.midway() => {
                    return Err(Failure::broken(
                        "the stream ended in the middle of an event",
                    ));
                }
                Ok(None) => break,
                Err(_) if listing => {
                    let why = "the streaming list stalled; trying pages";
                    return Err(Failure::new(why, Next::Pages));
                }
                Err(_) if initial => break,
                Err(_) => {
                    let why = "the server has not closed the watch in time";
                    return Err(Failure::new(why, Next::Retry));
                }
            };
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let mut failed = None;
            let fed = stream.feed(kind, data, |event| match self.take(event, &mut gathering) {
                Ok(()) => {
                    spoken = true;
                    true
                }
                Err(failure) => {
                    failed = Some(failure);
                    false
                }
            });
            if let Some(failure) = failed {
                return Err(failure);
            }
            if fed.is_err() {
                return Err(Failure::new("an event is too long", Next::Retry));
            }
            if listing && gathering.is_none() {
                end = Instant::now() + lasts;
            }
        }
        if !spoken {
            self.compare().await?;
        }
        Ok(())
    }

    /// Takes in one event.
    fn take(
        &mut self,
        event: Result<Event, String>,
        gathering: &mut Option<Gathering>,
    ) -> Result<(), Failure> {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                // One object that is not as the API defines it must not hide the others.
                self.say(&format!("an event cannot be read: {error}"));
                return Ok(());
            }
        };
        let version = match event {
            Event::Failed(status) => return Err(failed_event(&status)),
            Event::Bookmark(version, end) => {
                if end && let Some(gathered) = gathering.take() {
                    self.complete(gathered.removed);
                }
                version
            }
            Event::Put(object, version) => match gathering {
                Some(gathering) => {
                    gathering.objects += 1;
                    if !gathering.removed.is_empty() {
                        gathering.removed.retain(|gone| !same(gone, &object));
                    }
                    self.sink().listed(object);
                    // In the initial events versions are in no order.
                    return Ok(());
                }
                None => {
                    self.check(&version)?;
                    self.sink().put(object);
                    version
                }
            },
            Event::Remove(object, version) => match gathering {
                Some(gathering) => {
                    gathering.removed.push(object);
                    return Ok(());
                }
                None => {
                    self.check(&version)?;
                    self.sink().remove(object);
                    version
                }
            },
        };
        if gathering.is_none() {
            self.check(&version)?;
            if !version.is_empty() {
                self.version = version;
            }
            // A watch that told something is worth another one soon.
            self.failures = self.failures.min(2);
            self.heard();
        }
        Ok(())
    }

    /// Ends a list; what was removed while it came is removed after it.
    fn complete(&mut self, removed: Vec<Object>) {
        let mut sink = self.sink();
        sink.complete(self.selection.kind);
        for object in removed {
            sink.remove(object);
        }
        drop(sink);
        // The old version says nothing about the new list: it may be smaller after a restoration.
        self.version = Box::default();
        self.listed = Instant::now();
        self.keep = self
            .timing
            .relist
            .mul_f64(host::random::rng().random_range(0.75..=1.25));
        self.expired_pages = 0;
    }

    /// A version below the one that is known: the cluster's past has come back.
    fn check(&self, version: &str) -> Result<(), Failure> {
        match (version.parse::<u64>(), self.version.parse::<u64>()) {
            (Ok(now), Ok(before)) if now < before => Err(Failure::new(
                format!("resource version {now} after {before}: listing anew"),
                Next::Relist,
            )),
            _ => Ok(()),
        }
    }

    /// Lists page by page.
    async fn pages(&mut self) -> Result<(), Failure> {
        let kind = self.selection.kind;
        let mut next: Box<str> = Box::default();
        self.sink().begin(kind);
        loop {
            let mut query = self.query();
            // A cluster that changes faster than pages come is listed whole.
            if self.expired_pages < 2 {
                let _ = write!(query, "&limit={PAGE}");
            }
            if !next.is_empty() {
                query.push_str("&continue=");
                escape(&mut query, &next);
            }
            let end = match self.page(&query).await {
                Err(failure) if failure.what_next == Next::Relist => {
                    self.expired_pages += 1;
                    return Err(failure);
                }
                other => other?,
            };
            if end.next.is_empty() {
                self.complete(Vec::new());
                // The server may have been updated, or may only have stalled.
                self.streams = true;
                self.version = end.version;
                self.heard();
                return Ok(());
            }
            next = end.next;
        }
    }

    /// Hands over the objects of one page.
    async fn page(&mut self, query: &str) -> Result<decode::ListMeta, Failure> {
        let kind = self.selection.kind;
        let (mut body, _) = self.ask(query, JSON).await?;
        let mut items = Items::default();
        let mut bad = None;
        loop {
            let deadline = Instant::now() + self.timing.answer;
            let frame = match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(Failure::new(words(&error), Next::Retry)),
                Ok(None) => break,
                Err(_) => return Err(Failure::new("the list stalled", Next::Retry)),
            };
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let fed = items.feed(data, |item| match decode::item(kind, item) {
                Ok(object) => self.sink().listed(object),
                Err(error) => bad = Some(error),
            });
            if fed.is_err() {
                return Err(Failure::new("an object is too long", Next::Retry));
            }
        }
        if let Some(error) = bad {
            self.say(&format!("an object cannot be read: {error}"));
        }
        match items.end() {
            Ok(end) => Ok(end.metadata),
            Err(error) => Err(Failure::new(
                format!("the list is not whole: {error}"),
                Next::Retry,
            )),
        }
    }

    /// Looks whether the cluster is behind what is known of it.
    async fn compare(&mut self) -> Result<(), Failure> {
        let mut query = self.query();
        query.push_str("&limit=1");
        let (mut body, _) = self.ask(&query, JSON).await?;
        let mut items = Items::default();
        let deadline = Instant::now() + self.timing.answer;
        loop {
            match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    if items.feed(data, |_| {}).is_err() {
                        return Err(Failure::new("an object is too long", Next::Retry));
                    }
                }
                Ok(Some(Err(error))) => return Err(Failure::new(words(&error), Next::Retry)),
                Ok(None) => break,
                Err(_) => return Err(Failure::new("the list stalled", Next::Retry)),
            }
        }
        if let Ok(end) = items.end() {
            self.check(&end.metadata.version)?;
            self.heard();
        }
        Ok(())
    }

    /// The path of the kind, and its selectors.
    fn query(&self) -> String {
        let kind = self.selection.kind;
        let mut out = match kind.group() {
            ("", version) => format!("/api/{version}/{}?", kind.resource()),
            (group, version) => format!("/apis/{group}/{version}/{}?", kind.resource()),
        };
        for (name, selector) in [
            ("labelSelector=", &self.selection.labels),
            ("&fieldSelector=", &self.selection.fields),
        ] {
            if !selector.is_empty() {
                out.push_str(name);
                escape(&mut out, selector);
            }
        }
        out
    }

    /// Asks, and reads what a refusal says; gives the body and its media type.
    async fn ask(&mut self, query: &str, accept: &str) -> Result<(Body, String), Failure> {
        let deadline = Instant::now() + self.timing.answer;
        let answered = match timeout_at(deadline, self.connection.get(query, accept)).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(why)) => return Err(Failure::new(why, Next::Retry)),
            Err(_) => return Err(Failure::new("no response in time", Next::Retry)),
        };
        let status = answered.response.status();
        if status.is_success() {
            let media_type = answered.response.headers().get(header::CONTENT_TYPE);
            let media_type = media_type.and_then(|value| value.to_str().ok());
            let media_type = media_type.unwrap_or_default().to_owned();
            return Ok((answered.response.into_body(), media_type));
        }
        if status == StatusCode::NOT_ACCEPTABLE {
            self.protobuf = false;
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.connection.spoil(answered.generation).await;
        }
        let wait = answered
            .response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let text = error_text(answered.response.into_body(), deadline).await;
        let said: Status = protobuf::status(&text)
            .or_else(|| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let streaming = query.contains("&sendInitialEvents=");
        let what_next = match status {
            StatusCode::GONE => Next::Relist,
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY if streaming => Next::Pages,
            _ => Next::Retry,
        };
        Err(Failure {
            what_next,
            why: self.refusal(status, &said),
            wait,
            usual: matches!(what_next, Next::Relist | Next::Pages),
            broken: false,
        })
    }

    /// A refusal in words.
    fn refusal(&self, status: StatusCode, said: &Status) -> String {
        let kind = self.selection.kind;
        let (group, _) = kind.group();
        let message = if said.message.is_empty() {
            status.canonical_reason().unwrap_or("no reason given")
        } else {
            &said.message
        };
        let code = status.as_u16();
        match status {
            StatusCode::FORBIDDEN => format!(
                "HTTP 403: {message}: this needs the verbs list and watch on the resource \"{kind}\" in API group \"{group}\" at the cluster scope"
            ),
            StatusCode::UNAUTHORIZED => {
                format!("HTTP 401: {message}: the token or client certificate is not accepted")
            }
            StatusCode::NOT_FOUND => format!(
                "HTTP 404: {message}: the server does not know the resource \"{kind}\" in API group \"{group}\""
            ),
            _ => format!("HTTP {code}: {message}"),
        }
    }
}

/// Whether two objects of one kind are the same one, at whatever version.
fn same(a: &Object, b: &Object) -> bool {
    fn key(object: &Object) -> (&str, &str) {
        match object {
            Object::Namespace(one) => ("", &one.name),
            Object::Service(one) => (&one.namespace, &one.name),
            Object::EndpointSlice(one) => (&one.namespace, &one.name),
            Object::Pod(one) => (&one.namespace, &one.name),
            Object::ServiceImport(one) => (&one.namespace, &one.name),
        }
    }
    key(a) == key(b)
}

/// An error event. Whatever it says, the stream is over, and what it did not tell is not known: only a list helps.
fn failed_event(status: &Status) -> Failure {
    let reason = if status.message.is_empty() {
        &status.reason
    } else {
        &status.message
    };
    Failure {
        usual: status.code == StatusCode::GONE.as_u16(),
        ..Failure::new(
            format!("the watch ended with error {}: {reason}", status.code),
            Next::Relist,
        )
    }
}

/// The beginning of a refusal's body.
async fn error_text(mut body: Body, deadline: Instant) -> Vec<u8> {
    let mut text = Vec::new();
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(data);
        }
        if text.len() > ERROR_TEXT {
            break;
        }
    }
    text
}

/// Writes `text` as a value in a URL's query (RFC 3986, section 2.1).
fn escape(out: &mut String, text: &str) {
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            let _ = write!(out, "%{octet:02X}");
        }
    }
}
