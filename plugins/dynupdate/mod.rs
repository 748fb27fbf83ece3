//! `dynupdate`: zones that clients change by updates (RFC 2136).
//!
//! ```text
//! UPDATE ─► zone, key ─► a thread that may block: update::work_out ─► database::append (fdatasync) ─► Served::advance ─► the response
//! query  ─► Authoritative, as every zone in memory                                                      └─► transfer: IXFR, NOTIFY
//! ```
//!
//! Signatures are *tsig*'s business: what comes here with the name of a key is verified. Updates of a zone are made one after the other.

mod database;
mod policy;
mod setup;
mod store;
#[cfg(test)]
mod tests;
mod update;

use std::path::PathBuf;
use std::sync::Arc;

use chain::authority::{Authoritative, outside};
use chain::keeper::{ZoneOrder, ZoneReport};
use chain::trace::Remark;
use chain::{Admits, Exchange, ExtendedError, Failure, Flow, Opcodes, Plugin, Query, Resolving};
use telemetry::metrics::{Striped, family};
use wire::{Name, NameBuf, Opcode, Rcode, Response, Type};

use policy::Grant;
pub(crate) use setup::REGISTRATION;
use store::Store;
use update::{Bounds, Refusal};

/// A zone, and who may change it.
struct Place {
    store: Arc<Store>,
    /// Where it is kept, or what it begins with.
    file: Option<PathBuf>,
    /// Whether that is a database.
    is_kept: bool,
    grants: Vec<Grant>,
    bounds: Bounds,
}

impl Place {
    /// What is said to `nameplate zone reload`: the zone is what updates have made of it, and no file has that.
    fn why_not_reloaded(&self) -> String {
        let zone = self.store.served.apex();
        let begin = match (&self.file, self.is_kept) {
            (Some(path), true) => {
                format!("stop the server and remove its database {}", path.display())
            }
            _ => "restart the server".to_owned(),
        };
        format!(
            "zone {zone} is changed by updates, and its `file` was read once, to begin with: to read it again would undo them; \
             change the zone with nsupdate, or {begin} to begin with the file again"
        )
    }
}

/// All zones of a block's `dynupdate` lines.
struct DynUpdate {
    authoritative: Arc<Authoritative>,
    places: Vec<Place>,
}

impl DynUpdate {
    /// Looks at the zone section (section 3.1), and at who signed it.
    #[cold]
    fn asked(&self, query: &mut Query<'_>) -> Result<Flow, Failure> {
        if query.qtype() != Type::SOA {
            return Err(Failure::policy(Rcode::FORMERR));
        }
        let Some(place) = self.place(query) else {
            query.remark(|| Remark::new("no zone of this name"));
            return Err(Failure::policy(Rcode::NOTAUTH));
        };
        let Some(key) = query.key() else {
            query.remark(|| Remark::new("not signed"));
            count(query, Rcode::REFUSED);
            return Err(Failure::policy(Rcode::REFUSED).extended(
                ExtendedError::PROHIBITED,
                "an update has to be signed (TSIG)",
            ));
        };
        if !policy::knows(&place.grants, key) {
            let (key, zone) = (NameBuf::from_name(key), place.store.served.apex());
            tracing::info!(
                target: "plugin/dynupdate",
                "Refused update of {zone} from {} by key {key}: the key may change nothing", query.peer().ip()
            );
            count(query, Rcode::REFUSED);
            return Err(Failure::policy(Rcode::REFUSED)
                .extended(ExtendedError::PROHIBITED, "the key may change nothing here"));
        }
        Ok(Flow::Suspend)
    }

    fn place(&self, query: &Query<'_>) -> Option<&Place> {
        let mut places = self.places.iter();
        places.find(|place| place.store.served.apex() == query.name())
    }

    /// Makes the update of a suspended exchange.
    async fn update(self: Arc<Self>, mut exchange: Box<Exchange>) -> chain::Resolved {
        let message = exchange.message().to_vec();
        let known = exchange.suspended_query().and_then(|query| {
            let at = self.places.iter().position(|place| {
                let zone = place.store.served.apex();
                zone == query.name()
            })?;
            Some((at, NameBuf::from_name(query.key()?), query.peer().ip()))
        });
        let Some((at, key, client)) = known else {
            return (exchange, Err(Failure::policy(Rcode::REFUSED)));
        };
        let zone = NameBuf::from_name(self.places[at].store.served.apex());
        let made = tokio::task::spawn_blocking(move || {
            let Place {
                store,
                grants,
                bounds,
                ..
            } = &self.places[at];
            let may =
                |name: wire::Name<'_>, rtype| policy::allows(grants, key.as_name(), name, rtype);
            store.update(&message, *bounds, &may)
        });
        let made = made
            .await
            .unwrap_or_else(|error| Err(Refusal::new(Rcode::SERVFAIL, error.to_string())));
        let flow = match made {
            Ok(Some(done)) => {
                tracing::info!(
                    target: "plugin/dynupdate",
                    "Updated {zone} from {client} by key {key}: {} records removed, {} added, {} SOA serial",
                    done.removed, done.added, done.serial
                );
                Ok(Flow::Answered)
            }
            Ok(None) => Ok(Flow::Answered),
            Err(Refusal { rcode, why }) => {
                if rcode == Rcode::SERVFAIL {
                    tracing::error!(target: "plugin/dynupdate", "Update of {zone} from {client} by key {key}: {why}");
                } else {
                    tracing::info!(target: "plugin/dynupdate", "Refused update of {zone} from {client} by key {key}: {why}");
                }
                Err(Failure::policy(rcode).extended(ExtendedError::OTHER, why))
            }
        };
        if let Some(query) = exchange.suspended_query() {
            let failed = flow.as_ref().err().map(|failure| failure.rcode);
            count(&query, failed.unwrap_or(Rcode::NOERROR));
        }
        (exchange, flow)
    }
}

/// Counts an update by what it gets. Updates are rare: the label is looked up for each.
fn count(query: &Query<'_>, rcode: Rcode) {
    let labels = vec![
        ("server", query.block().info.server.to_string()),
        ("zone", query.name().to_string()),
        ("rcode", rcode.to_string()),
    ];
    family::<Vec<(&'static str, String)>, Striped>(
        "coredns_dynupdate_updates",
        "Counter of dynamic updates by RCODE.",
    )
    .get_or_create_owned(&labels)
    .inc(query.worker());
}

impl Plugin for DynUpdate {
    fn name(&self) -> &'static str {
        "dynupdate"
    }

    fn admits(&self) -> Admits {
        Admits {
            opcodes: Opcodes::QueryAndUpdate,
            ..Admits::QUERIES
        }
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        if query.flags().opcode() == Opcode::UPDATE {
            return self.asked(query);
        }
        match self.authoritative.answer(query, response) {
            Some(answered) => {
                // The next answer may be another at once.
                query.keep_from_caches();
                answered
            }
            None => outside(query),
        }
    }

    fn zones(&self) -> Vec<ZoneReport> {
        let report = |place: &Place| ZoneReport {
            file: place.file.clone(),
            failure: place.store.failure(),
            ..ZoneReport::new(place.store.served.clone(), "dynupdate")
        };
        self.places.iter().map(report).collect()
    }

    fn order(&self, apex: Name<'_>, order: ZoneOrder) -> Option<Result<String, String>> {
        let mut places = self.places.iter().filter(|_| order == ZoneOrder::Reload);
        let place = places.find(|place| place.store.served.apex() == apex)?;
        Some(Err(place.why_not_reloaded()))
    }

    fn resolve(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolving {
        let query = exchange.suspended_query();
        if query.is_some_and(|query| query.flags().opcode() == Opcode::UPDATE) {
            return Box::pin(self.update(exchange));
        }
        self.authoritative.clone().resolve(exchange)
    }
}
