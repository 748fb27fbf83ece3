//! Connections that the kernel tracks: those that a changed redirect would keep on their old way are forgotten.

use std::io;
use std::net::IpAddr;

use crate::netlink::{Attributes, Batch, NLM_F_DUMP, Socket};
use crate::redirect::Redirect;

const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const NESTED: u16 = 0x8000;

/// One direction of a connection.
#[derive(Debug, Default)]
struct Tuple {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: u8,
    port: u16,
}

/// Deletes the entries of these redirects; a kernel that tracks nothing has none.
pub(crate) fn forget(redirects: &[Redirect]) -> io::Result<()> {
    let done = Socket::netfilter().and_then(|mut socket| delete(&mut socket, redirects));
    let without = [
        libc::EINVAL,
        libc::ENOENT,
        libc::EOPNOTSUPP,
        libc::EPROTONOSUPPORT,
    ];
    match done {
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|errno| without.contains(&errno)) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// The same, with a socket.
fn delete(socket: &mut Socket, redirects: &[Redirect]) -> io::Result<()> {
    let mut batch = Batch::default();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        let header = [family, 0, 0, 0];
        let mut question = Batch::default();
        question.message(SUBSYSTEM << 8 | GET, NLM_F_DUMP, &header);
        socket.dump(&mut question, |_, body| {
            let attributes = || Attributes(body.get(4..).unwrap_or(&[]));
            let find = |wanted| attributes().find(|&(kind, _)| kind == wanted);
            let (Some((_, original)), Some((_, reply))) =
                (find(CTA_TUPLE_ORIG), find(CTA_TUPLE_REPLY))
            else {
                return;
            };
            let (forth, back) = (tuple(original), tuple(reply));
            if redirects
                .iter()
                .any(|redirect| concerns(redirect, &forth, &back))
            {
                batch.message(SUBSYSTEM << 8 | DELETE, 0, &header);
                batch.attribute(CTA_TUPLE_ORIG | NESTED, original);
                for kind in [CTA_ID, CTA_ZONE] {
                    if let Some((_, value)) = find(kind) {
                        batch.attribute(kind, value);
                    }
                }
            }
        })?;
    }
    if !batch.is_empty() {
        // What ended meanwhile is refused, and gone.
        socket.transact(&mut batch)?;
    }
    Ok(())
}

/// Whether a connection goes where the redirect leads, or went past it.
fn concerns(redirect: &Redirect, forth: &Tuple, back: &Tuple) -> bool {
    forth.protocol == redirect.protocol.number()
        && forth.port == redirect.port
        && redirect
            .listen
            .is_none_or(|at| forth.destination == Some(at))
        && (back.source == Some(redirect.target) || back.source == forth.destination)
}

/// Reads one direction.
fn tuple(value: &[u8]) -> Tuple {
    let mut tuple = Tuple::default();
    for (kind, value) in Attributes(value) {
        match kind {
            CTA_TUPLE_IP => {
                for (kind, value) in Attributes(value) {
                    let address = match value.len() {
                        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
                        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
                        _ => None,
                    };
                    match kind {
                        1 | 3 => tuple.source = address,
                        2 | 4 => tuple.destination = address,
                        _ => {}
                    }
                }
            }
            CTA_TUPLE_PROTO => {
                for (kind, value) in Attributes(value) {
                    match (kind, value) {
                        (1, [number]) => tuple.protocol = *number,
                        (3, [high, low]) => tuple.port = u16::from_be_bytes([*high, *low]),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    tuple
}
