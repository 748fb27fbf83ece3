//! `lab`: names of labs of network namespaces, as `nameplate-lab apply` publishes them.
//!
//! ```text
//! names.json of each lab ──► source (watched by directory) ──► state (octets ready to send) ──► swapped whole ──► query
//!                                      └─► addresses to listen on ──► the server follows them
//! ```
//!
//! A query pins the state, finds the zone of its name by the hashes that parsing made and the view of its client by the source address,
//! and is answered from octets that were ready. Nothing is allocated or locked, unless an alias leads out of the lab.
//!
//! It stands above `cache`, since a cache knows neither who asks nor that a host came a moment ago.

mod outside;
mod published;
mod setup;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod text;

use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chain::authority::{Authority, chase, conclude, describe};
use chain::{Exchange, ExtendedError, Failure, Fallthrough, Flow, Plugin, Query, Resolving};
use wire::{Class, Flags, MAX_NAME, Name, Qname, Rcode, Response, Section, Type};
use zone::{Lookup, Outcome, Zone};

use state::{Client, Found, State};

pub(crate) use setup::REGISTRATION;

/// One `lab` directive at work.
struct Labs {
    /// Which unknown names of a lab go on.
    fall: Fallthrough,
    /// Whether single labels that labs ask for go on.
    single_label: bool,
    /// Whether other names are asked of others.
    recurses: bool,
    /// The labs.
    state: Arc<ArcSwap<State>>,
}

impl Plugin for Labs {
    fn name(&self) -> &'static str {
        "lab"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let state = self.state.load();
        let client = state.client(query.peer().ip().to_canonical());
        let (qname, qtype) = (query.qname(), query.qtype());
        let Some(found) = state.find(qname, client) else {
            // Whoever answers below says it again; an error that the server answers with says it by this.
            self.offer(client, response);
            return client.map_or(Ok(Flow::Next), |client| {
                self.elsewhere(&state, client, query, response)
            });
        };
        if matches!(qtype, Type::AXFR | Type::IXFR) {
            return Err(Failure::policy(Rcode::REFUSED));
        }
        let zone = serving(&state, found, client);
        let outcome = zone.answer(qname, qtype, query.dnssec_ok(), response);
        query.remark(|| describe(zone, qname, qtype, &outcome));
        let flow = conclude((zone, outcome), &self.fall, qname, response);
        if let Ok(Flow::Answered) = flow {
            self.offer(client, response);
        }
        flow
    }

    fn resolve(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolving {
        let asked = exchange.suspended_views();
        let asked = asked.map(|(query, _)| (query.peer().ip(), query.qname().clone()));
        let Some((peer, qname)) = asked else {
            return Box::pin(ready((exchange, Ok(Flow::Next))));
        };
        let state = self.state.load_full();
        let client = state.client(peer.to_canonical());
        if let Some(outside) = client.and_then(|client| client.outside())
            && state.find(&qname, client).is_none()
        {
            return Box::pin(upstream::ask(outside.clone(), exchange));
        }
        let serving = Serving {
            state,
            labs: self,
            peer: peer.to_canonical(),
            qname,
        };
        Box::pin(async move {
            let labs = serving.labs.clone();
            let offers = labs.offers(serving.state.client(serving.peer));
            let (mut exchange, flow) = chase(exchange, serving).await;
            if let Ok(Flow::Answered) = flow {
                exchange.response().set_flag(Flags::RA, offers);
            }
            (exchange, flow)
        })
    }
}

/// The zone that answers, as the client sees it.
fn serving<'s>(state: &'s State, found: Found<'s>, client: Option<Client<'s>>) -> &'s Zone {
    match found {
        Found::Forward(lab, number) => state.view(lab, number, client),
        Found::Reverse(zone) => zone,
    }
}

impl Labs {
    /// Says that recursion is available, to whom other names are looked up (RFC 1035, section 4.1.1).
    #[inline]
    fn offer(&self, client: Option<Client<'_>>, response: &mut Response<'_>) {
        response.set_flag(Flags::RA, self.offers(client));
    }

    /// Whether other names are looked up for a client.
    #[inline]
    fn offers(&self, client: Option<Client<'_>>) -> bool {
        let recurses = |client: Client<'_>| self.recurses || client.outside().is_some();
        client.map_or(self.recurses, |client| !client.internal && recurses(client))
    }

    /// A name that no lab has, asked for by a host of a lab.
    #[inline]
    fn elsewhere(
        &self,
        state: &State,
        client: Client<'_>,
        query: &Query<'_>,
        response: &mut Response<'_>,
    ) -> Result<Flow, Failure> {
        let (qname, qtype) = (query.qname(), query.qtype());
        // What a validating resolver asks of a top-level domain is no short name of a host.
        let of_domain = matches!(qtype, Type::NS | Type::SOA | Type::DS | Type::DNSKEY);
        if qname.label_count() == 1 && !self.single_label && !of_domain {
            return self.short(state, client, query, response);
        }
        if client.internal {
            return Err(Failure::policy(Rcode::REFUSED).extended(
                ExtendedError::PROHIBITED,
                "lab: the network is internal, and so are its names",
            ));
        }
        if client.outside().is_some() {
            upstream::refuse_transfer(query)?;
            return Ok(Flow::Suspend);
        }
        Ok(Flow::Next)
    }

    /// A single label: an alias of the host of that name, or nothing. Nobody else is asked.
    fn short(
        &self,
        state: &State,
        client: Client<'_>,
        query: &Query<'_>,
        response: &mut Response<'_>,
    ) -> Result<Flow, Failure> {
        response.set_flag(Flags::AA, true);
        let label = query.name().octets();
        let domain = client.lab.domain.as_name().octets();
        let mut octets = [0; MAX_NAME];
        let head = label.len() - 1;
        let whole = head + domain.len();
        let mut full = Qname::root();
        let name = octets.get_mut(..whole).and_then(|octets| {
            octets[..head].copy_from_slice(&label[..head]);
            octets[head..].copy_from_slice(domain);
            Name::new(octets).ok()
        });
        if let Some(name) = name {
            full.set(name);
            let zone = state.own(client);
            let found = zone.lookup(&full, query.qtype());
            if !matches!(found, Lookup::NxDomain(_) | Lookup::OutOfZone) {
                let fixed = (Type::CNAME, Class::IN, client.lab.ttl);
                if query.qtype() == Type::CNAME
                    || response
                        .push(Section::Answer, query.name(), fixed, name.octets())
                        .is_err()
                {
                    return Ok(Flow::Answered);
                }
                let outcome = zone.answer(&full, query.qtype(), false, response);
                // An alias that leads out of the lab ends here; the full name follows it.
                return match outcome {
                    Outcome::Loop => conclude((zone, outcome), &self.fall, &full, response),
                    _ => Ok(Flow::Answered),
                };
            }
        }
        response.set_rcode(Rcode::NXDOMAIN);
        Ok(Flow::Answered)
    }
}

/// The labs as they were when a query began to wait.
struct Serving {
    labs: Arc<Labs>,
    state: Arc<State>,
    peer: IpAddr,
    qname: Qname,
}

impl Authority for Serving {
    fn zone(&self) -> Option<&Zone> {
        let client = self.state.client(self.peer);
        let found = self.state.find(&self.qname, client)?;
        Some(serving(&self.state, found, client))
    }

    fn fallthrough(&self) -> &Fallthrough {
        &self.labs.fall
    }
}
