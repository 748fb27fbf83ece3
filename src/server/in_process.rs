//! A Corefile's answers without sockets: what the counts of the benches and the tests ask. It is the way of a datagram between
//! `recvmmsg` and `sendmmsg`, no more and no less.

use std::sync::Arc;

use chain::setup::Catalogue;
use chain::{Ending, Exchange, resume};

use crate::answer::{Verdict, answer};
use crate::finish::finish;
use crate::input::Source;
use crate::route::Table;
use crate::snapshot::{self, Loaded};

/// The blocks of a Corefile's first listener, ready to answer.
pub struct InProcess {
    table: Arc<Table>,
    _loaded: Loaded,
}

impl InProcess {
    /// Reads, checks and builds a Corefile; plugins' tasks are not started.
    ///
    /// # Errors
    /// The diagnostics, drawn.
    pub fn load(corefile: &str, catalogue: Catalogue) -> Result<Self, String> {
        let source = Source::Text {
            name: "Corefile".into(),
            text: corefile.into(),
        };
        let loaded = snapshot::load(&source, catalogue, 53, false).map_err(|error| error.full)?;
        let wanted = loaded.listeners.values().next();
        let table = wanted
            .map(|wanted| wanted.table.clone())
            .ok_or("no listener")?;
        Ok(Self {
            table,
            _loaded: loaded,
        })
    }

    /// Answers what `exchange` received; `false` when nobody answers, or a plugin would have to wait.
    #[inline]
    pub fn answer(&self, exchange: &mut Exchange) -> bool {
        match answer(exchange, &self.table) {
            Verdict::Respond => {
                finish(exchange);
                true
            }
            Verdict::Silent | Verdict::Suspended(..) | Verdict::Stream(..) => false,
        }
    }

    /// Finds the block for the query that `exchange` has read; `false` when there is none. A part of [`InProcess::answer`], for counts.
    #[inline]
    pub fn route(&self, exchange: &mut Exchange) -> bool {
        self.table.serving(exchange).is_some()
    }

    /// Makes the response of `exchange` ready to be sent. A part of [`InProcess::answer`], for counts.
    #[inline]
    pub fn finish(&self, exchange: &mut Exchange) {
        finish(exchange);
    }

    /// Answers what `exchange` received, waiting where a plugin waits; on a current-thread runtime, in a `LocalSet`.
    pub async fn answer_waiting(&self, mut exchange: Box<Exchange>) -> Option<Box<Exchange>> {
        let waits = match answer(&mut exchange, &self.table) {
            Verdict::Respond => None,
            Verdict::Silent | Verdict::Stream(..) => return None,
            Verdict::Suspended(block, step) => Some((block.clone(), step)),
        };
        if let Some((block, step)) = waits {
            let (back, ending) = resume(exchange, block, step).await;
            exchange = back;
            if ending != Ending::Respond {
                return None;
            }
        }
        finish(&mut exchange);
        Some(exchange)
    }
}
