//! CoreDNS's service over gRPC: `coredns.dns.DnsService/Query`, a unary call whose request and response are
//! `message DnsPacket { bytes msg = 1; }`.
//!
//! A call is a POST over HTTP/2. A message has five octets before it, whether it is compressed (never here) and its length, and the
//! response's trailers say how the call went. Both are written by hand: there is one field.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chain::setup::BuildError;
use h2::client::SendRequest;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use wire::{Flags, HEADER_LEN, Rcode};

use crate::error::Error;
use crate::http2::{self, Exchange};
use crate::multiplex::LONGEST;
use crate::protocol::ProtocolKey;
use crate::tls::TlsClient;

/// The method that is called.
const METHOD: &str = "/coredns.dns.DnsService/Query";
/// The media type of a call.
const MEDIA_TYPE: &str = "application/grpc";
/// Octets before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Octets of a call's response: a message, what protobuf says of it, and some fields that are not known here.
const MOST: usize = LONGEST + PREFIX + 64;
/// The status of a call that went well.
const OK: u32 = 0;
/// The status that CoreDNS takes for NXDOMAIN.
const NOT_FOUND: u32 = 5;

/// What gRPC to one upstream needs.
pub struct GrpcClient {
    /// The session below, unless it is asked in clear text.
    pub(crate) tls: Option<TlsClient>,
    /// The Unix domain socket that it listens on, if it does.
    pub(crate) socket: Option<PathBuf>,
    uri: Uri,
}

impl GrpcClient {
    /// Of an authority (`HOST[:PORT]`), over TLS if there is `tls`.
    ///
    /// # Errors
    /// When the authority is none.
    pub fn new(tls: Option<TlsClient>, authority: &str) -> Result<Self, BuildError> {
        let uri = Uri::builder()
            .scheme(if tls.is_some() { "https" } else { "http" })
            .authority(authority)
            .path_and_query(METHOD)
            .build()
            .map_err(|error| BuildError::new(format!("{authority}: {error}")))?;
        Ok(Self {
            tls,
            socket: None,
            uri,
        })
    }

    /// At a Unix domain socket.
    ///
    /// # Errors
    /// Never; `localhost` is an authority.
    pub fn at(socket: &Path, tls: Option<TlsClient>) -> Result<Self, BuildError> {
        Ok(Self {
            socket: Some(socket.to_owned()),
            ..Self::new(tls, "localhost")?
        })
    }

    /// What is said on the streams of a connection.
    pub(crate) fn exchange(&self) -> impl Exchange + use<> {
        Call(Arc::new(self.uri.clone()))
    }

    /// What tells it from others.
    pub(crate) fn key(&self) -> ProtocolKey {
        ProtocolKey {
            tls: self.tls.as_ref().map(TlsClient::key),
            request: Some((self.uri.to_string(), String::new(), false)),
            socket: self.socket.clone(),
            ..ProtocolKey::default()
        }
    }
}

/// A call, whose target this is.
#[derive(Clone)]
struct Call(Arc<Uri>);

impl Exchange for Call {
    async fn ask(self, requests: SendRequest<Bytes>, query: Vec<u8>) -> Result<Vec<u8>, Error> {
        let request = Request::builder()
            .method(Method::POST)
            .uri((*self.0).clone())
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .header(TE, "trailers")
            .body(())
            .map_err(http2::refused)?;
        let response = http2::request(requests, request, Some(encode(&query))).await?;
        let (head, mut stream) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(http2::refused(format_args!("http status {}", head.status)));
        }
        // A call that failed at once says so in its headers.
        if let Some(outcome) = outcome(&head.headers, &query) {
            return outcome;
        }
        if !http2::is_of_type(&head.headers, MEDIA_TYPE)
            && !http2::is_of_type(&head.headers, "application/grpc+proto")
        {
            return Err(http2::refused(format_args!("no body of type {MEDIA_TYPE}")));
        }
        let body = http2::body(&mut stream, MOST).await?;
        let trailers = http2::trailers(&mut stream).await?.unwrap_or_default();
        match status(&trailers) {
            Some(OK) => decode(&body).ok_or_else(Error::malformed),
            _ => outcome(&trailers, &query)
                .unwrap_or_else(|| Err(http2::refused("grpc: a call without a status"))),
        }
    }
}

/// What headers say of the call.
fn status(headers: &HeaderMap) -> Option<u32> {
    let status = headers.get("grpc-status")?;
    Some(
        status
            .to_str()
            .ok()
            .and_then(|code| code.parse().ok())
            .unwrap_or(u32::MAX),
    )
}

/// What a call that failed comes to; `None` when headers do not speak of a failure.
fn outcome(headers: &HeaderMap, query: &[u8]) -> Option<Result<Vec<u8>, Error>> {
    let code = status(headers)?;
    if code == NOT_FOUND {
        return Some(nxdomain(query).ok_or_else(Error::malformed));
    }
    let message = headers
        .get("grpc-message")
        .and_then(|text| text.to_str().ok());
    let message: String = message.unwrap_or_default().chars().take(128).collect();
    Some(Err(http2::refused(format_args!(
        "grpc status {code}: {message}"
    ))))
}

/// The reply that says that the name does not exist: the query's header and question.
fn nxdomain(query: &[u8]) -> Option<Vec<u8>> {
    let end = wire::skip_name(query, HEADER_LEN).ok()? + 4;
    let mut out = query.get(..end)?.to_vec();
    let header = wire::Header::read(query)?;
    let flags = header.flags.0 & (Flags::RD | Flags::CD) | Flags::QR | Rcode::NXDOMAIN.0;
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[4..HEADER_LEN].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    Some(out)
}

/// A DnsPacket with its prefix.
fn encode(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0; PREFIX];
    // Field 1, a length and so many octets.
    out.push(1 << 3 | 2);
    let mut len = message.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(message);
    let packet = (out.len() - PREFIX) as u32;
    out[1..PREFIX].copy_from_slice(&packet.to_be_bytes());
    out
}

/// The message in a DnsPacket; the last one where a field stands more than once, and no others.
fn decode(body: &[u8]) -> Option<Vec<u8>> {
    let (prefix, mut packet) = body.split_first_chunk::<PREFIX>()?;
    let [compressed, len @ ..] = *prefix;
    if compressed != 0 || u32::from_be_bytes(len) as usize != packet.len() {
        return None;
    }
    let mut message: &[u8] = &[];
    while !packet.is_empty() {
        let key = varint(&mut packet)?;
        let skipped = match key & 7 {
            0 => {
                varint(&mut packet)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut packet)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (field, rest) = packet.split_at_checked(skipped)?;
        packet = rest;
        if key == 1 << 3 | 2 {
            message = field;
        }
    }
    (message.len() <= LONGEST).then(|| message.to_vec())
}

/// Takes a number off the front: seven bits an octet, the lowest first.
fn varint(octets: &mut &[u8]) -> Option<u64> {
    let mut out = 0;
    for at in 0..10 {
        let (&octet, rest) = octets.split_first()?;
        *octets = rest;
        out |= u64::from(octet & 0x7F) << (7 * at);
        if octet < 0x80 {
            return Some(out);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_they_are_written() {
        for len in [0, 1, 127, 128, 300, 16_384, LONGEST] {
            let message = vec![7; len];
            assert_eq!(decode(&encode(&message)), Some(message), "{len}");
        }
        assert_eq!(encode(b"ab"), [0, 0, 0, 0, 4, 0x0A, 2, b'a', b'b']);
    }

    #[test]
    fn fields_that_are_not_known_are_skipped_and_wrong_packets_refused() {
        // (packet without its prefix, message)
        let cases: [(&[u8], Option<&[u8]>); 9] = [
            (&[], Some(b"")),
            (&[0x0A, 1, b'a', 0x10, 0x96, 1], Some(b"a")),
            (&[0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x0A, 1, b'a'], Some(b"a")),
            (&[0x25, 1, 2, 3, 4, 0x0A, 1, b'a'], Some(b"a")),
            (&[0x0A, 1, b'a', 0x0A, 1, b'b'], Some(b"b")),
            (&[0x0A, 2, b'a'], None),
            (&[0x0A], None),
            (&[0x0B, 1, b'a'], None),
            (
                &[
                    0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1,
                ],
                None,
            ),
        ];
        for (packet, expected) in cases {
            let mut body = vec![0];
            body.extend_from_slice(&(packet.len() as u32).to_be_bytes());
            body.extend_from_slice(packet);
            assert_eq!(decode(&body).as_deref(), expected, "{packet:?}");
            body[0] = 1;
            assert_eq!(decode(&body), None, "compressed");
            body[0] = 0;
            body.push(0);
            assert_eq!(decode(&body), None, "longer than it says");
        }
    }
}
