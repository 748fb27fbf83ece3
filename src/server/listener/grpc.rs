//! DNS over gRPC, as CoreDNS has it: the unary call `coredns.dns.DnsService/Query` of `DnsPacket { bytes msg = 1 }` both ways.
//!
//! A call is a POST of HTTP/2 whose body is a flag, a length of four octets and the message of protobuf; the response is framed alike, and
//! its status stands in the trailers.

use bytes::Buf;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Body;
use wire::HEADER_LEN;

use super::client::Answer;
use super::http::{Content, MESSAGE, Requests, refuse};

const PATH: &str = "/coredns.dns.DnsService/Query";
const KIND: &str = "application/grpc";
/// The octets before a message.
const PREFIX: usize = 5;
/// The tag of `msg`: field 1, octets behind their length.
const MSG: u64 = 1 << 3 | 2;

/// gRPC's statuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Ok = 0,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
}

/// Answers a call.
pub(crate) async fn respond<B>(requests: &Requests, request: Request<B>) -> Response<Content>
where
    B: Body<Data: Buf>,
    B::Error: std::fmt::Display,
{
    let (head, body) = request.into_parts();
    let kind = head.headers.get(CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(KIND.as_bytes()));
    if !is_grpc || head.method != Method::POST {
        requests.discard(body).await;
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let called = match head.uri.path() {
        PATH => call(requests, body).await,
        _ => {
            requests.discard(body).await;
            Err(Status::Unimplemented)
        }
    };
    let mut response = Response::new(Content::default());
    let kind = HeaderValue::from_static(KIND);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    let status = |status: Status| HeaderValue::from(status as u16);
    match called {
        Ok(octets) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status(Status::Ok));
            let content = response.body_mut();
            content.data = Some(requests.counted(frame(&octets)));
            content.trailers = Some(trailers);
        }
        Err(error) => {
            // Headers alone, which are trailers as well.
            response.headers_mut().insert("grpc-status", status(error));
        }
    }
    response
}

/// The octets of the answer.
async fn call<B>(requests: &Requests, body: B) -> Result<Vec<u8>, Status>
where
    B: Body<Data: Buf>,
    B::Error: std::fmt::Display,
{
    let body = requests.body(body).await.map_err(|status| match status {
        StatusCode::PAYLOAD_TOO_LARGE => Status::ResourceExhausted,
        StatusCode::REQUEST_TIMEOUT => Status::DeadlineExceeded,
        _ => Status::InvalidArgument,
    })?;
    let message = unframe(&body)?;
    if message.len() > MESSAGE {
        return Err(Status::ResourceExhausted);
    }
    if message.len() < HEADER_LEN {
        return Err(Status::InvalidArgument);
    }
    match requests.client.ask(message).await {
        Answer::One(exchange) => Ok(requests.client.octets(exchange)),
        Answer::Silent | Answer::Many(..) => Err(Status::Internal),
        Answer::TooMany => {
            requests.end();
            Err(Status::ResourceExhausted)
        }
    }
}

/// The message of DNS in a body.
fn unframe(body: &[u8]) -> Result<&[u8], Status> {
    let (prefix, packet) = body
        .split_at_checked(PREFIX)
        .ok_or(Status::InvalidArgument)?;
    let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    match prefix[0] {
        0 if len as usize == packet.len() => message(packet).ok_or(Status::InvalidArgument),
        0 => Err(Status::InvalidArgument),
        // Compressed: no client has been told that it may.
        _ => Err(Status::Unimplemented),
    }
}

/// The field `msg` of a packet; the last one counts, others are passed over.
fn message(mut packet: &[u8]) -> Option<&[u8]> {
    let mut message: &[u8] = &[];
    while !packet.is_empty() {
        let tag = varint(&mut packet)?;
        let len = match tag & 7 {
            0 => {
                varint(&mut packet)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut packet)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (field, rest) = packet.split_at_checked(len)?;
        packet = rest;
        if tag == MSG {
            message = field;
        }
    }
    Some(message)
}

/// Takes a number of up to ten octets, seven bits in each, the lowest first.
fn varint(octets: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&octet, rest) = octets.split_first()?;
        *octets = rest;
        value |= u64::from(octet & 0x7F) << shift;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A body with a message of DNS.
fn frame(message: &[u8]) -> Vec<u8> {
    let mut packet = vec![MSG as u8];
    let mut len = message.len();
    while len >= 0x80 {
        packet.push(len as u8 | 0x80);
        len >>= 7;
    }
    packet.push(len as u8);
    let total = (packet.len() + message.len()) as u32;
    [&[0][..], &total.to_be_bytes(), &packet, message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_they_are_written() {
        for len in [12, 127, 128, 300, 16_383, 16_384, MESSAGE] {
            let octets = vec![7; len];
            assert_eq!(unframe(&frame(&octets)), Ok(&octets[..]));
        }
    }

    #[test]
    fn other_fields_are_passed_over_and_nonsense_is_refused() {
        let invalid = Err(Status::InvalidArgument);
        for (packet, expected) in [
            (&[0x0A, 2, 1, 2][..], Ok(&[1, 2][..])),
            (&[0x10, 0x96, 1, 0x0A, 1, 9], Ok(&[9])),
            (
                &[0x19, 0, 0, 0, 0, 0, 0, 0, 0, 0x0A, 1, 9, 0x15, 0, 0, 0, 0],
                Ok(&[9]),
            ),
            (&[0x0A, 1, 8, 0x0A, 1, 9], Ok(&[9])),
            (&[], Ok(&[])),
            (&[0x0A], invalid),
            (&[0x0A, 3, 1, 2], invalid),
            (&[0x0B, 1], invalid),
            (
                &[
                    0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                ],
                invalid,
            ),
        ] {
            let mut body = vec![0];
            body.extend_from_slice(&(packet.len() as u32).to_be_bytes());
            body.extend_from_slice(packet);
            assert_eq!(unframe(&body), expected, "{packet:?}");
            body.push(0);
            assert_eq!(unframe(&body), invalid);
        }
        assert_eq!(unframe(&[0, 0, 0]), invalid);
        assert_eq!(unframe(&[1, 0, 0, 0, 0]), Err(Status::Unimplemented));
    }
}
