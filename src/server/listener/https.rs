//! DNS over HTTPS (RFC 8484): what a request asks, and what its response says. The connections are those of `http.rs`, or of HTTP/3.

use bytes::Buf;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Body;
use wire::{HEADER_LEN, Message, Rcode, Type};

use super::client::Answer;
use super::http::{Content, MESSAGE, Requests, refuse};

/// The only path.
const PATH: &str = "/dns-query";
/// The media type of a message.
const DNS_MESSAGE: &str = "application/dns-message";
/// Characters of a GET request's message; a longer one is sent by POST.
pub(crate) const GET: usize = 8 * 1024;
/// How long a response may be kept at most, and where nothing in it says how long (CoreDNS's bounds), in seconds.
const LONGEST: u32 = 3_600;
const UNKNOWN: u32 = 5;

/// What a request asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// This message.
    Message(Vec<u8>),
    /// The message in its body.
    Body,
}

/// Reads a request's head.
///
/// # Errors
/// What to answer instead.
pub(super) fn read(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Asked, StatusCode> {
    if uri.path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    match *method {
        Method::GET => {
            let mut given = uri
                .query()
                .unwrap_or_default()
                .split('&')
                .filter_map(|pair| pair.strip_prefix("dns="));
            let (Some(text), None) = (given.next(), given.next()) else {
                return Err(StatusCode::BAD_REQUEST);
            };
            // Before it is decoded.
            if text.len() > GET {
                return Err(StatusCode::URI_TOO_LONG);
            }
            let message = base64url(text.as_bytes()).ok_or(StatusCode::BAD_REQUEST)?;
            Ok(Asked::Message(message))
        }
        Method::POST => {
            let kind = headers.get(CONTENT_TYPE);
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            if kind.eq_ignore_ascii_case(DNS_MESSAGE) {
                Ok(Asked::Body)
            } else {
                Err(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// Answers a request, and counts it.
pub(crate) async fn respond<B>(requests: &Requests, request: Request<B>) -> Response<Content>
where
    B: Body<Data: Buf>,
    B::Error: std::fmt::Display,
{
    let head = request.method() == Method::HEAD;
    let mut response = match ask(requests, request).await {
        Ok(octets) => {
            let age = format!("max-age={}", max_age(&octets));
            let mut response = Response::new(Content::of(requests.counted(octets)));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(DNS_MESSAGE));
            if let Ok(age) = HeaderValue::try_from(age) {
                headers.insert(CACHE_CONTROL, age);
            }
            response
        }
        Err(status) => {
            let mut response = refuse(status);
            if status == StatusCode::METHOD_NOT_ALLOWED {
                let allowed = HeaderValue::from_static("GET, POST");
                response.headers_mut().insert(ALLOW, allowed);
            }
            response
        }
    };
    requests.count(response.status());
    if head {
        *response.body_mut() = Content::default();
    }
    response
}

/// The octets of the answer, or what to answer instead.
async fn ask<B>(requests: &Requests, request: Request<B>) -> Result<Vec<u8>, StatusCode>
where
    B: Body<Data: Buf>,
    B::Error: std::fmt::Display,
{
    let (head, body) = request.into_parts();
    // RFC 9112, section 3.2: one field Host, over HTTP/1.1.
    let hosts = head.headers.get_all(HOST).iter().count();
    let asked = match head.version == Version::HTTP_11 && hosts != 1 {
        true => Err(StatusCode::BAD_REQUEST),
        false => read(&head.method, &head.uri, &head.headers),
    };
    let message = match asked {
        Ok(Asked::Message(message)) => message,
        Ok(Asked::Body) => requests.body(body).await?,
        Err(status) => {
            requests.discard(body).await;
            return Err(status);
        }
    };
    if message.len() > MESSAGE {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    if message.len() < HEADER_LEN || message[2] & 0x80 != 0 {
        // A response is no query; over UDP nobody would answer.
        return Err(StatusCode::BAD_REQUEST);
    }
    match requests.client.ask(&message).await {
        Answer::One(exchange) => Ok(requests.client.octets(exchange)),
        // As CoreDNS, where no plugin writes a response.
        Answer::Silent | Answer::Many(..) => Err(StatusCode::INTERNAL_SERVER_ERROR),
        Answer::TooMany => {
            requests.end();
            Err(StatusCode::TOO_MANY_REQUESTS)
        }
    }
}

/// How long a response may be kept (RFC 8484, section 5.1): as long as all of its records live.
fn max_age(octets: &[u8]) -> u32 {
    let Some(message) = Message::new(octets) else {
        return 0;
    };
    if !matches!(message.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN) {
        return UNKNOWN;
    }
    let ttls = message
        .records()
        .map_while(Result::ok)
        .filter(|record| record.rtype != Type::OPT)
        .map(|record| record.ttl);
    ttls.min().map_or(UNKNOWN, |ttl| ttl.min(LONGEST))
}

/// Decodes base64url without padding (RFC 4648, section 5).
fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for &character in group {
            let value = match character {
                b'A'..=b'Z' => character - b'A',
                b'a'..=b'z' => character - b'a' + 26,
                b'0'..=b'9' => character - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        let octets = match group.len() {
            1 => return None,
            len => len - 1,
        };
        out.extend_from_slice(&bits.to_be_bytes()[1..=octets]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_requests_ask() {
        let post = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::try_from(kind).expect("a type"));
            headers
        };
        let none = HeaderMap::new();
        let long = format!("/dns-query?dns={}", "A".repeat(GET + 1));
        let most = format!("/dns-query?dns={}", "A".repeat(GET));
        let bad = StatusCode::BAD_REQUEST;
        for (method, uri, headers, expected) in [
            (
                Method::GET,
                "/dns-query?dns=AAEC",
                &none,
                Ok(Asked::Message(vec![0, 1, 2])),
            ),
            (
                Method::GET,
                "/dns-query?ct&dns=_-8",
                &none,
                Ok(Asked::Message(vec![255, 239])),
            ),
            (
                Method::GET,
                "/dns-query?dns=",
                &none,
                Ok(Asked::Message(vec![])),
            ),
            (
                Method::GET,
                &most,
                &none,
                Ok(Asked::Message(vec![0; GET / 4 * 3])),
            ),
            (Method::GET, &long, &none, Err(StatusCode::URI_TOO_LONG)),
            (Method::GET, "/dns-query", &none, Err(bad)),
            (Method::GET, "/dns-query?DNS=AAEC", &none, Err(bad)),
            (Method::GET, "/dns-query?dns=AAEC&dns=AAEC", &none, Err(bad)),
            (Method::GET, "/dns-query?dns=AAEC=", &none, Err(bad)),
            (Method::GET, "/dns-query?dns=AA/+", &none, Err(bad)),
            (Method::GET, "/dns-query?dns=AAECA", &none, Err(bad)),
            (Method::GET, "/", &none, Err(StatusCode::NOT_FOUND)),
            (
                Method::GET,
                "/dns-query/?dns=AAEC",
                &none,
                Err(StatusCode::NOT_FOUND),
            ),
            (
                Method::POST,
                "/dns-query",
                &post(DNS_MESSAGE),
                Ok(Asked::Body),
            ),
            (
                Method::POST,
                "/dns-query",
                &post("Application/DNS-message; a=b"),
                Ok(Asked::Body),
            ),
            (
                Method::POST,
                "/dns-query",
                &none,
                Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ),
            (
                Method::POST,
                "/dns-query",
                &post("text/plain"),
                Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ),
            (
                Method::HEAD,
                "/dns-query?dns=AAEC",
                &none,
                Err(StatusCode::METHOD_NOT_ALLOWED),
            ),
            (
                Method::PUT,
                "/dns-query",
                &none,
                Err(StatusCode::METHOD_NOT_ALLOWED),
            ),
        ] {
            let uri: Uri = uri.parse().expect("a URI");
            assert_eq!(read(&method, &uri, headers), expected, "{method} {uri}");
        }
    }

    #[test]
    fn how_long_responses_are_kept() {
        let record = |kind: u8, ttl: u32| {
            let mut record = vec![0, 0, kind, 0, 1];
            record.extend_from_slice(&ttl.to_be_bytes());
            record.extend_from_slice(&[0, 0]);
            record
        };
        let message = |rcode: u8, answers: &[Vec<u8>]| {
            let mut octets = vec![0, 0, 0x80, rcode, 0, 0, 0, answers.len() as u8, 0, 0, 0, 0];
            octets.extend(answers.concat());
            octets
        };
        for (rcode, answers, expected) in [
            (0, &[record(1, 300), record(1, 60)][..], 60),
            (0, &[record(1, 300), record(41, 0)], 300),
            (3, &[record(6, 900)], 900),
            (0, &[record(1, 86_400)], 3_600),
            (0, &[record(1, 0)], 0),
            (0, &[], 5),
            (2, &[record(1, 300)], 5),
        ] {
            assert_eq!(max_age(&message(rcode, answers)), expected);
        }
    }
}
