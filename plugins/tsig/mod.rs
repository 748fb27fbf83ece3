//! `tsig`: verifies the signatures of queries, and has their responses signed (RFC 8945).
//!
//! ```text
//! query with TSIG ─► Keyring::verify ─┬─► good: the plugins below see a query without TSIG; finish signs what comes of it
//!                                     └─► not: NOTAUTH, with a TSIG record that says why
//! query without   ─► required? ─► REFUSED, or Next
//! ```
//!
//! What is signed and how is in `chain::tsig`; the keys of files are read in `file`.

mod file;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chain::trace::Remark;
use chain::tsig::{Keys, Rejection, now};
use chain::{Admits, Classes, ExtendedError, Failure, Flow, Opcodes, Plugin, Query};
use wire::{NameBuf, Opcode, Rcode, Response, Type};

pub(crate) use setup::REGISTRATION;

/// The keys of a server block at work.
struct Tsig {
    zones: Vec<NameBuf>,
    keys: Arc<Keys>,
    types: Required<Type>,
    opcodes: Required<Opcode>,
}

/// Which queries have to be signed.
#[derive(Debug, PartialEq, Eq)]
enum Required<T> {
    All,
    /// Those of these kinds.
    These(Vec<T>),
}

impl<T> Default for Required<T> {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl<T: PartialEq> Required<T> {
    fn has(&self, kind: &T) -> bool {
        match self {
            Self::All => true,
            Self::These(kinds) => kinds.contains(kind),
        }
    }
}

impl Plugin for Tsig {
    fn name(&self) -> &'static str {
        "tsig"
    }

    fn admits(&self) -> Admits {
        Admits {
            opcodes: Opcodes::Any,
            classes: Classes::Any,
            ..Admits::QUERIES
        }
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        if query.enclosing(&self.zones).is_none() {
            return Ok(Flow::Next);
        }
        let Some(at) = query.asked().tsig else {
            let (qtype, opcode) = (query.qtype(), query.flags().opcode());
            // A look-up of the server to itself has no client.
            if query.depth() > 0 || !(self.types.has(&qtype) || self.opcodes.has(&opcode)) {
                return Ok(Flow::Next);
            }
            query.remark(|| Remark::new("not signed"));
            return Err(Failure::policy(Rcode::REFUSED).extended(
                ExtendedError::PROHIBITED,
                "such a query has to be signed (TSIG)",
            ));
        };
        let verified = self
            .keys
            .load()
            .verify(query.message(), usize::from(at), now());
        match verified {
            Ok(signer) => {
                query.remark(|| {
                    let key = signer.verified().map(NameBuf::from_name);
                    Remark::new("verified").with("key", key.unwrap_or(NameBuf::root()))
                });
                query.verified(signer);
                Ok(Flow::Next)
            }
            Err(Rejection::FormErr) => Err(Failure::policy(Rcode::FORMERR)),
            Err(Rejection::NotAuth(signer)) => {
                query.remark(|| Remark::new("not verified").with("error", signer.error()));
                query.set_signer(signer);
                Err(Failure::policy(Rcode::NOTAUTH))
            }
        }
    }
}
