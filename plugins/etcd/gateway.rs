//! etcd's v3 API through its JSON gateway: ranges, leases, watches and tokens over HTTP/1.1.
//!
//! Keys and values are base64 in JSON, 64-bit numbers strings. A watch is a stream of JSON objects, one a line.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::json;
use source::http::{Answered, Connection, Stream, Url};
use upstream::tls::Files;

/// The longest wait for a response to begin, and between two of its parts.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest response, in octets.
const MOST: usize = 64 << 20;
/// gRPC's code for a token that does not hold (any more).
const UNAUTHENTICATED: i64 = 16;
/// Has the member cancel a watch when it has lost its leader: a watch on a partitioned member would be silent.
const HAS_LEADER: HeaderName = HeaderName::from_static("grpc-metadata-hasleader");

/// How to reach a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Access {
    /// Its members.
    pub(super) endpoints: Vec<Url>,
    /// Who we are, and who the members have to be.
    pub(super) tls: Files,
    /// User and password.
    pub(super) credentials: Option<(String, String)>,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// In words.
    pub(super) why: String,
    /// Whether a token was refused.
    unauthenticated: bool,
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self {
            why,
            unauthenticated: false,
        }
    }
}

/// A session with one member: a connection for requests. Watches have one of their own.
pub(super) struct Session<'a> {
    access: &'a Access,
    url: &'a Url,
    connection: Option<Connection>,
    token: Option<HeaderValue>,
    /// Whether the cluster takes everybody.
    open: bool,
}

impl<'a> Session<'a> {
    /// With a member, which is connected to when it is asked.
    pub(super) fn new(access: &'a Access, url: &'a Url) -> Self {
        Self {
            access,
            url,
            connection: None,
            token: None,
            open: false,
        }
    }

    /// Reads keys.
    pub(super) async fn range(&mut self, range: &RangeRequest<'_>) -> Result<Range, Failure> {
        self.call("/v3/kv/range", range).await
    }

    /// The seconds that a lease has left; negative when it is gone.
    pub(super) async fn time_to_live(&mut self, lease: i64) -> Result<i64, Failure> {
        let id = lease.to_string();
        let said: TimeToLive = self
            .call("/v3/lease/timetolive", &json!({ "ID": id }))
            .await?;
        Ok(said.ttl.0)
    }

    /// Begins to watch from a revision on.
    pub(super) async fn watch(
        &mut self,
        (from, to): (&[u8], &[u8]),
        revision: i64,
    ) -> Result<Watch, Failure> {
        let request = json!({ "create_request": {
            "key": STANDARD.encode(from),
            "range_end": STANDARD.encode(to),
            "start_revision": revision.to_string(),
            "fragment": true,
        } });
        let connection = Connection::open(self.url, &self.access.tls).await?;
        let (connection, answered) = self.ask(connection, "/v3/watch", &request).await?;
        if !answered.status.is_success() {
            return Err(refusal(answered).await);
        }
        Ok(Watch {
            _connection: connection,
            stream: answered.body,
        })
    }

    /// Asks, once more with a new token where the old one has run out.
    async fn call<T: DeserializeOwned>(
        &mut self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, Failure> {
        let had_token = self.token.is_some();
        match self.call_once(path, request).await {
            Err(failure) if failure.unauthenticated && had_token => {
                self.token = None;
                self.call_once(path, request).await
            }
            called => called,
        }
    }

    async fn call_once<T: DeserializeOwned>(
        &mut self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, Failure> {
        if self.token.is_none() && !self.open {
            self.authenticate().await?;
        }
        self.call_as_is(path, request).await
    }

    /// Asks with what there is of a connection and a token.
    async fn call_as_is<T: DeserializeOwned>(
        &mut self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, Failure> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.url, &self.access.tls).await?,
        };
        let (connection, answered) = self.ask(connection, path, request).await?;
        if !answered.status.is_success() {
            return Err(refusal(answered).await);
        }
        let text = answered.body.all(MOST, PATIENCE).await?;
        self.connection = Some(connection);
        read(&text)
    }

    async fn ask(
        &self,
        mut connection: Connection,
        path: &str,
        request: &impl Serialize,
    ) -> Result<(Connection, Answered), Failure> {
        let mut headers = vec![
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            ),
            (HAS_LEADER, HeaderValue::from_static("true")),
        ];
        if let Some(token) = &self.token {
            headers.push((header::AUTHORIZATION, token.clone()));
        }
        let body = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        let answered = connection
            .send(Method::POST, path, &headers, body, PATIENCE)
            .await?;
        Ok((connection, answered))
    }

    /// Gets a token.
    async fn authenticate(&mut self) -> Result<(), Failure> {
        let Some((name, password)) = &self.access.credentials else {
            self.open = true;
            return Ok(());
        };
        let request = json!({ "name": name, "password": password });
        let said: Result<Token, Failure> = self.call_as_is("/v3/auth/authenticate", &request).await;
        match said {
            Ok(said) => {
                let mut token = HeaderValue::from_str(&said.token)
                    .map_err(|_| "the token cannot be sent".to_owned())?;
                token.set_sensitive(true);
                self.token = Some(token);
                Ok(())
            }
            // A cluster without authentication takes everybody, as etcd's own client has it.
            Err(failure) if failure.why.contains("authentication is not enabled") => {
                self.open = true;
                Ok(())
            }
            Err(failure) if !failure.why.starts_with("HTTP") => Err(failure),
            Err(failure) => Err(Failure {
                why: format!("user {name}: {}", failure.why),
                ..failure
            }),
        }
    }
}

/// What a refusal says.
async fn refusal(answered: Answered) -> Failure {
    let status = answered.status;
    let text = answered.body.all(MOST, PATIENCE).await.unwrap_or_default();
    let said: Refusal = serde_json::from_slice(&text).unwrap_or_default();
    let reason = status.canonical_reason().unwrap_or("no reason given");
    let message = [&*said.message, &*said.error, reason]
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_default();
    let code = status.as_u16();
    let why = match status {
        StatusCode::NOT_FOUND => format!(
            "HTTP {code}: {message}: etcd 3.4 or later with its gRPC gateway is needed (--enable-grpc-gateway)"
        ),
        _ => format!("HTTP {code}: {message}"),
    };
    Failure {
        unauthenticated: said.code.0 == UNAUTHENTICATED
            || status == StatusCode::UNAUTHORIZED
            || message.contains("revision of auth store is old")
            || message.contains("user name is empty"),
        why,
    }
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(text)
        .map_err(|error| format!("the response cannot be read: {error}").into())
}

/// A watch at work.
pub(super) struct Watch {
    /// The stream's; it closes with this.
    _connection: Connection,
    stream: Stream,
}

impl Watch {
    /// What comes next, however long that takes.
    pub(super) async fn next(&mut self) -> Result<Watched, Failure> {
        let Some(line) = self.stream.line().await? else {
            return Err("the watch was closed".to_owned().into());
        };
        let said: WatchLine = read(&line)?;
        match (said.result, said.error) {
            (Some(watched), _) => Ok(watched),
            (None, Some(error)) => Err(Failure {
                unauthenticated: error.code.0 == UNAUTHENTICATED,
                why: format!("the watch ended: {}", error.message),
            }),
            (None, None) => Err("the watch said nothing".to_owned().into()),
        }
    }
}

/// A request for the keys from one up to another.
#[derive(Serialize)]
pub(super) struct RangeRequest<'a> {
    /// The first key.
    #[serde(serialize_with = "as_base64")]
    pub(super) key: &'a [u8],
    /// The first key behind them.
    #[serde(serialize_with = "as_base64")]
    pub(super) range_end: &'a [u8],
    /// The most keys.
    pub(super) limit: u32,
    /// The state that is asked for; 0 is the latest.
    pub(super) revision: i64,
    /// Only keys that were changed at this revision or later.
    pub(super) min_mod_revision: i64,
    /// Whether values are left out.
    pub(super) keys_only: bool,
}

fn as_base64<S: serde::Serializer>(octets: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(octets))
}

/// Where a response comes from.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Header {
    /// The cluster.
    pub(super) cluster_id: Number,
    /// Its revision.
    pub(super) revision: Number,
}

/// Keys.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Range {
    /// Where they come from.
    pub(super) header: Header,
    /// The keys.
    pub(super) kvs: Vec<KeyValue>,
    /// Whether there are more.
    pub(super) more: bool,
}

/// A key and its value.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct KeyValue {
    /// The key.
    pub(super) key: Octets,
    /// The value.
    pub(super) value: Octets,
    /// The revision that changed it last.
    pub(super) mod_revision: Number,
    /// The lease that it lives by; 0 for none.
    pub(super) lease: Number,
}

/// What a watch says.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Watched {
    /// Where it comes from.
    pub(super) header: Header,
    /// Whether the watch is over.
    pub(super) canceled: bool,
    /// Why.
    pub(super) cancel_reason: String,
    /// The oldest revision that can be watched, where an older one was asked for.
    pub(super) compact_revision: Number,
    /// Whether more events of the same revision follow.
    pub(super) fragment: bool,
    /// Changes.
    pub(super) events: Vec<Event>,
}

/// A change.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Event {
    /// `PUT` or nothing, or `DELETE`.
    #[serde(rename = "type")]
    pub(super) kind: EventKind,
    /// The key.
    pub(super) kv: KeyValue,
}

/// What happened to a key.
#[derive(Deserialize, Default, PartialEq, Eq, Clone, Copy, Debug)]
pub(super) enum EventKind {
    /// It was set.
    #[default]
    #[serde(rename = "PUT")]
    Put,
    /// It was removed.
    #[serde(rename = "DELETE")]
    Delete,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WatchLine {
    result: Option<Watched>,
    error: Option<WatchError>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WatchError {
    #[serde(alias = "grpc_code")]
    code: Number,
    message: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    error: String,
    message: String,
    code: Number,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TimeToLive {
    #[serde(rename = "TTL")]
    ttl: Number,
}

/// A number of 64 bits, which the gateway writes as a string.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Number(pub(super) i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                // IDs of clusters have all 64 bits.
                let number = text.parse::<i64>().ok();
                number
                    .or_else(|| text.parse::<u64>().ok().map(u64::cast_signed))
                    .map(Number)
                    .ok_or_else(|| E::custom("not a number of 64 bits"))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number.cast_signed()))
            }
        }
        from.deserialize_any(Digits)
    }
}

/// Octets, which stand as base64 in JSON.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Octets(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Octets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Octets, E> {
                let octets = STANDARD.decode(text);
                octets.map(Octets).map_err(E::custom)
            }
        }
        from.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_read_as_etcd_writes_it() {
        let line = br#"{"result":{"header":{"cluster_id":"14841639068965178418","revision":"7"},"events":[{"kv":{"key":"Zm9v","mod_revision":"6","value":"YmFy","lease":"42"}},{"type":"DELETE","kv":{"key":"Zm9v","mod_revision":"7"}}]}}"#;
        let read: WatchLine = read(line).expect("a line");
        let watched = read.result.expect("a result");
        assert_eq!(watched.header.revision, Number(7));
        assert_eq!(watched.events[0].kind, EventKind::Put);
        assert_eq!(watched.events[0].kv.value.0, b"bar");
        assert_eq!(watched.events[0].kv.lease, Number(42));
        assert_eq!(watched.events[1].kind, EventKind::Delete);
    }
}
