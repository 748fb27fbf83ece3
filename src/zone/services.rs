//! WKS records (RFC 1035, section 3.4.2): an address, a protocol, and which of its services are there, as a bitmap.
//!
//! Protocols and services are numbers, or the names that hosts of the Internet knew when the type was in use. The names do not come from
//! `/etc/services`: a zone reads the same on every machine.

use crate::encoding;
use crate::rdata::{Fault, Fields};

const PROTOCOLS: [(&str, u8); 9] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ggp", 3),
    ("st", 5),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("rdp", 27),
];

/// Ports of services, those of RFC 1010 first.
const SERVICES: [(&str, u16); 65] = [
    ("rje", 5),
    ("echo", 7),
    ("discard", 9),
    ("systat", 11),
    ("users", 11),
    ("daytime", 13),
    ("netstat", 15),
    ("qotd", 17),
    ("quote", 17),
    ("chargen", 19),
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("mail", 25),
    ("nsw-fe", 27),
    ("msg-icp", 29),
    ("msg-auth", 31),
    ("dsp", 33),
    ("time", 37),
    ("rlp", 39),
    ("graphics", 41),
    ("name", 42),
    ("nameserver", 42),
    ("nicname", 43),
    ("whois", 43),
    ("mpm-flags", 44),
    ("mpm", 45),
    ("mpm-snd", 46),
    ("ni-ftp", 47),
    ("login", 49),
    ("tacacs", 49),
    ("la-maint", 51),
    ("domain", 53),
    ("isi-gl", 55),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("gopher", 70),
    ("finger", 79),
    ("http", 80),
    ("www", 80),
    ("kerberos", 88),
    ("hostname", 101),
    ("hostnames", 101),
    ("iso-tsap", 102),
    ("x400", 103),
    ("x400-snd", 104),
    ("rtelnet", 107),
    ("pop2", 109),
    ("pop3", 110),
    ("sunrpc", 111),
    ("auth", 113),
    ("sftp", 115),
    ("uucp-path", 117),
    ("nntp", 119),
    ("ntp", 123),
    ("netbios-ns", 137),
    ("netbios-dgm", 138),
    ("netbios-ssn", 139),
    ("imap2", 143),
    ("snmp", 161),
    ("bgp", 179),
    ("https", 443),
];

/// The number that a name of a table stands for, in any case.
fn named<N: Copy>(table: &[(&str, N)], text: &[u8]) -> Option<N> {
    let found = table
        .iter()
        .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text));
    found.map(|&(_, number)| number)
}

/// Takes the protocol and the services behind the address.
pub(crate) fn read(fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let text = fields.take("a protocol")?;
    let protocol = encoding::number(text, 255)
        .map(|number| number as u8)
        .or_else(|| named(&PROTOCOLS, text));
    out.push(protocol.ok_or_else(|| fields.fault("unknown protocol"))?);
    let start = out.len();
    while let Some(text) = fields.peek() {
        fields.next += 1;
        let port = encoding::number(text, 65_535)
            .map(|number| number as u16)
            .or_else(|| named(&SERVICES, text));
        let port = port.ok_or_else(|| fields.fault("unknown service"))? as usize;
        let len = out.len().max(start + port / 8 + 1);
        out.resize(len, 0);
        if let Some(octet) = out.get_mut(start + port / 8) {
            *octet |= 0x80 >> (port % 8);
        }
    }
    Ok(())
}

/// Whether `rdata` is a protocol and a bitmap of its ports.
pub(crate) fn check(rdata: &[u8]) -> bool {
    (1..=1 + 65_536 / 8).contains(&rdata.len())
}
