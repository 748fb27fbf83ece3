//! The OPT pseudo-record (RFC 6891).

/// What a query's OPT record says; its options stay where they are in the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edns {
    /// The sender's UDP payload size as it stands, in octets.
    pub udp_size: u16,
    /// The high eight bits of the RCODE.
    pub extended_rcode: u8,
    /// The EDNS version; only 0 exists.
    pub version: u8,
    /// The flags word; DO is its highest bit.
    pub flags: u16,
    /// Where the options begin in the message.
    pub options_start: u16,
    /// Where the options end in the message.
    pub options_end: u16,
}

impl Edns {
    /// The DO bit: the sender wants DNSSEC records (RFC 3225).
    pub const DO: u16 = 0x8000;

    /// The CO bit: the sender takes compact denials of existence with the RCODE NXDOMAIN (RFC 9824, section 5.1).
    pub const CO: u16 = 0x4000;

    /// Whether DNSSEC records are wanted.
    #[inline]
    pub const fn dnssec_ok(&self) -> bool {
        self.flags & Self::DO != 0
    }

    /// The options, read from the message that this OPT record came in.
    pub fn options<'a>(&self, message: &'a [u8]) -> EdnsOptions<'a> {
        EdnsOptions {
            rest: message
                .get(self.options_start as usize..self.options_end as usize)
                .unwrap_or_default(),
        }
    }
}

/// One EDNS option (RFC 6891, section 6.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EdnsOption<'a> {
    /// The option's code.
    pub code: u16,
    /// The option's data.
    pub data: &'a [u8],
}

impl EdnsOption<'_> {
    /// DNS Name Server Identifier (RFC 5001).
    pub const NSID: u16 = 3;
    /// EDNS Client Subnet (RFC 7871).
    pub const CLIENT_SUBNET: u16 = 8;
    /// EDNS EXPIRE (RFC 7314).
    pub const EXPIRE: u16 = 9;
    /// DNS Cookies (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// edns-tcp-keepalive (RFC 7828).
    pub const TCP_KEEPALIVE: u16 = 11;
    /// Padding (RFC 7830).
    pub const PADDING: u16 = 12;
    /// Extended DNS Error (RFC 8914).
    pub const EXTENDED_ERROR: u16 = 15;
    /// The codes for local and experimental use (RFC 6891, section 9).
    pub const LOCAL: std::ops::RangeInclusive<u16> = 65_001..=65_534;
}

/// The options of an OPT record, in order; ends at the first that is cut short.
#[derive(Clone, Debug)]
pub struct EdnsOptions<'a> {
    rest: &'a [u8],
}

impl<'a> EdnsOptions<'a> {
    /// The options in a piece of OPT RDATA.
    pub fn new(rdata: &'a [u8]) -> Self {
        Self { rest: rdata }
    }

    /// Whether what is left is a whole number of options.
    pub(crate) fn well_formed(mut self) -> bool {
        while self.next().is_some() {}
        self.rest.is_empty()
    }
}

impl<'a> Iterator for EdnsOptions<'a> {
    type Item = EdnsOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let code = crate::read_u16(self.rest, 0)?;
        let len = crate::read_u16(self.rest, 2)? as usize;
        let data = self.rest.get(4..4 + len)?;
        self.rest = &self.rest[4 + len..];
        Some(EdnsOption { code, data })
    }
}
