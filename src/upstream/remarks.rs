//! What is said of a query to who watches it (`nameplate explain`).

use chain::Exchange;
use chain::trace::Remark;

use crate::policy::Policy;
use crate::transaction::{Event, Transport};

/// Says that a server has replied, after `took` nanoseconds.
#[inline(always)]
pub(crate) fn replied(
    exchange: &Exchange,
    policy: &dyn Policy,
    (server, transport): (usize, Transport),
    took: u64,
) {
    exchange.remark(|| of("upstream", policy, server, transport).with("took", milliseconds(took)));
}

/// Says that an attempt failed, if that is what happened.
#[inline(always)]
pub(crate) fn happened(event: &Event, exchange: Option<&Exchange>, policy: &dyn Policy) {
    if let (
        Event::Failed {
            server,
            transport,
            error,
            ..
        },
        Some(exchange),
    ) = (event, exchange)
    {
        exchange.remark(|| {
            of("attempt failed", policy, *server, *transport)
                .with("why", format_args!("{}: {}", error.call, error.reason))
        });
    }
}

fn of(what: &'static str, policy: &dyn Policy, server: usize, transport: Transport) -> Remark {
    Remark::new(what)
        .with("server", &policy.endpoint(server).label)
        .with("transport", format!("{transport:?}").to_lowercase())
}

fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.1} ms", nanoseconds as f64 / 1e6)
}
