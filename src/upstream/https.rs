//! DNS over HTTPS to upstreams (RFC 8484), by HTTP/2.
//!
//! A status other than 200, another media type and a body that no message can be are failures of the upstream; redirects are not
//! followed.

use std::sync::Arc;

use bytes::Bytes;
use chain::setup::BuildError;
use h2::client::SendRequest;
use http::header::{ACCEPT, AGE, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode, Uri};

use crate::error::Error;
use crate::http2::{self, Exchange};
use crate::message;
use crate::multiplex::LONGEST;
use crate::protocol::ProtocolKey;
use crate::tls::TlsClient;

/// The path where none is written, as in CoreDNS.
pub(crate) const PATH: &str = "/dns-query";
/// The media type of a message (RFC 8484, section 6).
const MEDIA_TYPE: &str = "application/dns-message";

/// What DNS over HTTPS to one upstream needs.
pub struct HttpsClient {
    /// The session below.
    pub(crate) tls: TlsClient,
    target: Arc<Target>,
}

/// Where requests go.
struct Target {
    authority: String,
    path: String,
    /// Whether queries stand in the path: GET in the place of POST.
    get: bool,
}

impl HttpsClient {
    /// Of an authority (`HOST[:PORT]`), a path, and a method: GET if `get`, or POST.
    ///
    /// # Errors
    /// When they make no URL.
    pub fn new(
        tls: TlsClient,
        authority: String,
        path: Option<&str>,
        get: bool,
    ) -> Result<Self, BuildError> {
        let target = Target {
            authority,
            path: path.unwrap_or(PATH).to_owned(),
            get,
        };
        target.uri(&[]).map_err(|error| {
            let (authority, path) = (&target.authority, &target.path);
            BuildError::new(format!("https://{authority}{path}: {error}"))
        })?;
        Ok(Self {
            tls,
            target: Arc::new(target),
        })
    }

    /// What is said on the streams of a connection.
    pub(crate) fn exchange(&self) -> impl Exchange + use<> {
        self.target.clone()
    }

    /// What tells it from others.
    pub(crate) fn key(&self) -> ProtocolKey {
        let target = &self.target;
        ProtocolKey {
            tls: Some(self.tls.key()),
            request: Some((target.authority.clone(), target.path.clone(), target.get)),
            ..ProtocolKey::default()
        }
    }
}

impl Target {
    fn uri(&self, query: &[u8]) -> Result<Uri, http::Error> {
        let mut path = self.path.clone();
        if self.get {
            path.push_str("?dns=");
            push_base64url(query, &mut path);
        }
        let uri = Uri::builder().scheme("https");
        uri.authority(&*self.authority).path_and_query(path).build()
    }

    fn request(&self, query: &[u8]) -> Result<Request<()>, http::Error> {
        let request = Request::builder()
            .uri(self.uri(query)?)
            .header(ACCEPT, MEDIA_TYPE);
        match self.get {
            true => request.method(Method::GET),
            false => request
                .method(Method::POST)
                .header(CONTENT_TYPE, MEDIA_TYPE)
                .header(CONTENT_LENGTH, query.len()),
        }
        .body(())
    }
}

impl Exchange for Arc<Target> {
    async fn ask(self, requests: SendRequest<Bytes>, query: Vec<u8>) -> Result<Vec<u8>, Error> {
        let request = self.request(&query).map_err(http2::refused)?;
        let body = (!self.get).then_some(query);
        let response = http2::request(requests, request, body).await?;
        let (head, mut stream) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(http2::refused(format_args!("http status {}", head.status)));
        }
        if !http2::is_of_type(&head.headers, MEDIA_TYPE) {
            return Err(http2::refused(format_args!("no body of type {MEDIA_TYPE}")));
        }
        let number = |name| number(&head.headers, name);
        if number(CONTENT_LENGTH).is_some_and(|len| len > LONGEST as u64) {
            return Err(http2::refused(format_args!(
                "a response of more than {LONGEST} octets"
            )));
        }
        let mut reply = http2::body(&mut stream, LONGEST).await?;
        // What an HTTP cache kept was young before (RFC 8484, section 5.1).
        if let Some(age) = number(AGE) {
            message::grow_older(&mut reply, u32::try_from(age).unwrap_or(u32::MAX));
        }
        Ok(reply)
    }
}

/// The value of a header that is a number.
fn number(headers: &HeaderMap, name: http::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Writes octets as base64url without padding (RFC 8484, section 6; RFC 4648, section 5).
fn push_base64url(octets: &[u8], out: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for three in octets.chunks(3) {
        let octet = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for at in 0..=three.len() as u32 {
            let letter = bits >> (18 - 6 * at) & 0x3F;
            out.push(char::from(LETTERS[letter as usize]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_8484() {
        // Section 4.1.1: the query of a GET request for www.example.com.
        let query = [
            0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0x77, 0x77, 0x77, 7, 0x65, 0x78, 0x61, 0x6D,
            0x70, 0x6C, 0x65, 3, 0x63, 0x6F, 0x6D, 0, 0, 1, 0, 1,
        ];
        let mut text = String::new();
        push_base64url(&query, &mut text);
        assert_eq!(text, "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB");
        // RFC 4648, section 10, without padding.
        for (octets, expected) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v")] {
            let mut text = String::new();
            push_base64url(octets.as_bytes(), &mut text);
            assert_eq!(text, expected);
        }
    }
}
