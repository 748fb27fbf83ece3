//! What a response says, in the words that rules of `log` are written in.

use std::time::{SystemTime, UNIX_EPOCH};

use chain::Query;
use wire::{Opcode, Rcode, Response, Section, Type};

/// What rules choose by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    Success,
    Denial,
    Error,
}

impl Class {
    /// The word in the Corefile; `all` stands for no choice and is none of them.
    pub(super) const WORDS: [(&'static str, Option<Class>); 4] = [
        ("all", None),
        ("success", Some(Self::Success)),
        ("denial", Some(Self::Denial)),
        ("error", Some(Self::Error)),
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denial => "denial",
            Self::Error => "error",
        }
    }
}

/// The kind of a response, as CoreDNS tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    NoError,
    NameError,
    ServerError,
    NoData,
    Delegation,
    Meta,
    OtherError,
}

impl Kind {
    /// The kind of `response`.
    pub(super) fn of(query: &Query<'_>, response: &Response<'_>) -> Self {
        if response.flags().opcode() == Opcode::NOTIFY
            || matches!(query.asked().qtype, Type::AXFR | Type::IXFR)
        {
            return Self::Meta;
        }
        if query.dnssec_ok() && expired(response) {
            return Self::OtherError;
        }
        let answers = response.count(Section::Answer) > 0;
        match response.rcode() {
            Rcode::NOERROR if answers => Self::NoError,
            Rcode::NOERROR if response.has_type(Section::Authority, Type::SOA) => Self::NoData,
            Rcode::NOERROR if response.has_type(Section::Authority, Type::NS) => Self::Delegation,
            Rcode::NOERROR => Self::NoError,
            Rcode::NXDOMAIN if answers => Self::OtherError,
            Rcode::NXDOMAIN => Self::NameError,
            Rcode::SERVFAIL | Rcode::NOTIMP => Self::ServerError,
            _ => Self::OtherError,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NoError => "NOERROR",
            Self::NameError => "NXDOMAIN",
            Self::ServerError => "SERVERERROR",
            Self::NoData => "NODATA",
            Self::Delegation => "DELEGATION",
            Self::Meta => "META",
            Self::OtherError => "OTHERERROR",
        }
    }

    pub(super) const fn class(self) -> Class {
        match self {
            Self::NoError | Self::Delegation => Class::Success,
            Self::NameError | Self::NoData => Class::Denial,
            Self::ServerError | Self::Meta | Self::OtherError => Class::Error,
        }
    }
}

/// Whether a signature is not valid now (RFC 4034, 3.1.5: times are serial numbers).
fn expired(response: &Response<'_>) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as u32);
    let after = |a: u32, b: u32| a.wrapping_sub(b) as i32 > 0;
    response
        .records()
        .filter_map(Result::ok)
        .filter(|record| record.rtype == Type::RRSIG)
        .any(|record| {
            let rdata = response.octets().get(record.rdata_range);
            let time = |at| rdata.and_then(|rdata| wire::read_u32(rdata, at));
            match (time(8), time(12)) {
                (Some(end), Some(begin)) => after(now, end) || after(begin, now),
                _ => false,
            }
        })
}
