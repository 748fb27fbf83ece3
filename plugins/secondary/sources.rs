//! What a line of the Corefile says of its zones: who has them, and where they are kept.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use wire::{Name, NameBuf};
use zone::DigestPolicy;

/// The primaries of zones, and where the zones are kept.
#[derive(Clone)]
pub(super) struct Sources {
    /// The server block, by its keys and addresses, where it alone answers for its zones there.
    pub(super) block: Option<Arc<str>>,
    pub(super) primaries: Vec<Contact>,
    /// The key that is shared with the primaries.
    pub(super) key: Option<NameBuf>,
    pub(super) keep: Option<Keep>,
    /// What the zones' ZONEMD records have to show.
    pub(super) digest: DigestPolicy,
    /// How many records a zone may have.
    pub(super) max_records: usize,
}

impl Sources {
    /// What tells them from others: the same words and the same certificates make the same text.
    pub(super) fn identity(&self) -> String {
        let each = self.primaries.iter().map(|contact| {
            let tls = contact.tls.as_ref();
            let tls = tls.map(|tls| (&tls.name, Arc::as_ptr(&tls.config).addr()));
            format!("{contact} {tls:?}")
        });
        let each: Vec<_> = each.collect();
        let Self {
            key,
            keep,
            digest,
            max_records,
            ..
        } = self;
        format!("{each:?} {key:?} {keep:?} {digest:?} {max_records}")
    }
}

/// Where a primary is, and how it is spoken to.
#[derive(Clone)]
pub(super) struct Contact {
    pub(super) address: SocketAddr,
    /// Over TLS (RFC 9103), if so.
    pub(super) tls: Option<Session>,
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.tls {
            Some(_) => "tls://",
            None => "",
        };
        write!(f, "{scheme}{}", self.address)
    }
}

/// What a TLS session with a primary needs.
#[derive(Clone)]
pub(super) struct Session {
    /// The name that the certificate must bear.
    pub(super) name: ServerName<'static>,
    pub(super) config: Arc<ClientConfig>,
}

/// Where zones are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    /// The only zone, in this file.
    File(PathBuf),
    /// Each zone, in a file of this directory.
    Directory(PathBuf),
}

impl Keep {
    /// What a path stands for: a directory where it is one, ends in a slash, or is that of `many` zones.
    pub(super) fn at(path: PathBuf, many: bool) -> Self {
        let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        match many || slash || path.is_dir() {
            true => Self::Directory(path),
            false => Self::File(path),
        }
    }

    /// The file of a zone: in a directory `db.` and its name, in which what is no letter, digit, hyphen, underscore or dot is written
    /// as a percent sign and two hexadecimal digits.
    pub(super) fn file(&self, apex: Name<'_>) -> PathBuf {
        let directory = match self {
            Self::File(path) => return path.clone(),
            Self::Directory(path) => path,
        };
        let mut name = "db".to_owned();
        for label in apex.labels() {
            name.push('.');
            for &octet in label {
                match octet {
                    b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                        name.push(octet.to_ascii_lowercase() as char);
                    }
                    _ => name.push_str(&format!("%{octet:02x}")),
                }
            }
        }
        directory.join(name)
    }
}
