//! The floor of a server that calls the kernel for each datagram, and the upstream of the forwarding workloads: one thread, one `recv` and one `send` a query.

use std::net::UdpSocket;

/// Answers every query with itself, one bit turned.
pub fn echo(address: &str) -> std::io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    let mut octets = [0; 2_048];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut octets) else {
            continue;
        };
        if length >= 12 {
            octets[2] |= 0x80;
            let _ = socket.send_to(&octets[..length], from);
        }
    }
}

/// Answers every question of type A or AAAA with one address, as a recursive resolver would; other types get NODATA.
pub fn upstream(address: &str) -> std::io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    let mut octets = [0; 2_048];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut octets) else {
            continue;
        };
        if let Some(length) = respond(&mut octets, length) {
            let _ = socket.send_to(&octets[..length], from);
        }
    }
}

/// Makes a response of a query, in place: the question and at most one record, whatever followed the question.
fn respond(octets: &mut [u8; 2_048], length: usize) -> Option<usize> {
    let mut at = 12;
    loop {
        let label = usize::from(*octets[..length].get(at)?);
        at += 1 + label;
        if label == 0 {
            break;
        }
    }
    let qtype = octets[..length].get(at..at + 4)?[1];
    at += 4;
    let address: &[u8] = match qtype {
        1 => &[192, 0, 2, 1],
        28 => &[0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        _ => &[],
    };
    octets[2] |= 0x80;
    octets[3] = 0x80;
    octets[6..12].copy_from_slice(&[0, u8::from(!address.is_empty()), 0, 0, 0, 0]);
    if !address.is_empty() {
        let record = [
            0xC0,
            12,
            0,
            qtype,
            0,
            1,
            0,
            0,
            0x0E,
            0x10,
            0,
            address.len() as u8,
        ];
        octets.get_mut(at..at + 12)?.copy_from_slice(&record);
        at += 12;
        octets
            .get_mut(at..at + address.len())?
            .copy_from_slice(address);
        at += address.len();
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_answers_the_question_alone() {
        let question = b"\x03www\x07example\x03org\0\0\x1C\0\x01";
        let mut octets = [0; 2_048];
        octets[..12].copy_from_slice(&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        octets[12..12 + question.len()].copy_from_slice(question);
        let opt = [0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 0];
        let end = 12 + question.len();
        octets[end..end + opt.len()].copy_from_slice(&opt);
        assert_eq!(respond(&mut octets, end + opt.len()), Some(end + 28));
        assert_eq!(
            octets[..12],
            [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]
        );
        assert_eq!(octets[end..end + 4], [0xC0, 12, 0, 28]);
        for length in 0..end {
            assert_eq!(respond(&mut octets, length), None, "{length} octets");
        }
    }
}
