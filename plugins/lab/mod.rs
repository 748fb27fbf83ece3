//! `lab`: names of labs of network namespaces, as `nameplate-lab apply` publishes them.
//!
//! ```text
//! names.json of each lab ──► source (watched by directory) ──► state (octets ready to send) ──► swapped whole ──► query
//!                                      └─► addresses to listen on ──► the server follows them
//! ```
//!
//! A query pins the state, finds the zone of its name by the hashes that parsing made and the view of its asker by the source address,
//! and is answered from octets that were ready. Nothing is allocated or locked, unless an alias leads out of the lab.
//!
//! It stands above `cache`, since a cache knows neither who asks nor that a host came a moment ago.

mod published;
mod setup;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

use arc_swap::ArcSwap;
use chain::{
    Exchange, ExtendedError, Failure, Fallthrough, Flow, Plugin, Query, Resolved, Resolving, splice,
};
use wire::{Class, Flags, MAX_NAME, Name, Opcode, Qname, Rcode, Response, Section, Type};
use zone::{Lookup, Outcome, Zone};

use state::{Asker, Found, State};

pub(crate) use setup::REGISTRATION;

/// One `lab` directive at work.
struct Labs {
    /// Which unknown names of a lab go on.
    fall: Fallthrough,
    /// Whether single labels that labs ask for go on.
    single_label: bool,
    /// The labs.
    state: Arc<ArcSwap<State>>,
}

impl Plugin for Labs {
    fn name(&self) -> &'static str {
        "lab"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        if query.qclass() != Class::IN {
            return Ok(Flow::Next);
        }
        let state = self.state.load();
        let asker = state.asker(query.peer().ip().to_canonical());
        let (qname, qtype) = (query.qname(), query.qtype());
        let Some(found) = state.find(qname, asker) else {
            return asker.map_or(Ok(Flow::Next), |asker| {
                self.elsewhere(&state, asker, query, response)
            });
        };
        if matches!(qtype, Type::AXFR | Type::IXFR) || query.flags().opcode() == Opcode::NOTIFY {
            return Err(Failure::policy(Rcode::REFUSED));
        }
        let zone = serving(&state, found, asker);
        let outcome = zone.answer(qname, qtype, query.dnssec_ok(), response);
        self.conclude(outcome, qname, response)
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(self.chase(exchange))
    }
}

/// The zone that answers, as the asker sees it.
fn serving<'s>(state: &'s State, found: Found<'s>, asker: Option<Asker<'s>>) -> &'s Zone {
    match found {
        Found::Forward(lab, number) => state.view(lab, number, asker),
        Found::Reverse(zone) => zone,
    }
}

impl Labs {
    /// A name that no lab has, asked for by a host of a lab.
    #[inline]
    fn elsewhere(
        &self,
        state: &State,
        asker: Asker<'_>,
        query: &Query<'_>,
        response: &mut Response<'_>,
    ) -> Result<Flow, Failure> {
        let (qname, qtype) = (query.qname(), query.qtype());
        // What a validating resolver asks of a top-level domain is no short name of a host.
        let of_domain = matches!(qtype, Type::NS | Type::SOA | Type::DS | Type::DNSKEY);
        if qname.label_count() == 1 && !self.single_label && !of_domain {
            return self.short(state, asker, query, response);
        }
        if asker.internal {
            return Err(Failure::policy(Rcode::REFUSED).extended(
                ExtendedError::PROHIBITED,
                "lab: the network is internal, and so are its names",
            ));
        }
        Ok(Flow::Next)
    }

    /// A single label: an alias of the host of that name, or nothing. Nobody else is asked.
    fn short(
        &self,
        state: &State,
        asker: Asker<'_>,
        query: &Query<'_>,
        response: &mut Response<'_>,
    ) -> Result<Flow, Failure> {
        response.set_flag(Flags::AA, true);
        let label = query.name().octets();
        let domain = asker.lab.domain.as_name().octets();
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
            let zone = state.own(asker);
            let found = zone.lookup(&full, query.qtype());
            if !matches!(found, Lookup::NxDomain(_) | Lookup::OutOfZone) {
                let fixed = (Type::CNAME, Class::IN, asker.lab.ttl);
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
                    Outcome::Loop => self.conclude(outcome, &full, response),
                    _ => Ok(Flow::Answered),
                };
            }
        }
        response.set_rcode(Rcode::NXDOMAIN);
        Ok(Flow::Answered)
    }

    /// What becomes of a query whose answer has been written.
    #[inline]
    fn conclude(
        &self,
        outcome: Outcome,
        qname: &Qname,
        response: &mut Response<'_>,
    ) -> Result<Flow, Failure> {
        match outcome {
            Outcome::NxDomain
                if response.count(Section::Answer) == 0 && self.fall.through(qname) =>
            {
                response.clear_records();
                response.set_rcode(Rcode::NOERROR);
                response.set_flag(Flags::AA | Flags::TC, false);
                Ok(Flow::Next)
            }
            Outcome::Chase { .. } => Ok(Flow::Suspend),
            Outcome::Loop => Err(
                Failure::servfail("the aliases of a lab lead back to themselves").extended(
                    ExtendedError::INVALID_DATA,
                    "the aliases of the lab form a loop",
                ),
            ),
            Outcome::OutOfZone => Ok(Flow::Next),
            _ => Ok(Flow::Answered),
        }
    }

    /// Answers once more, and asks the server itself for the name to which aliases lead (RFC 1034, section 4.3.2, 3a).
    async fn chase(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolved {
        exchange.begin();
        let Some((query, _)) = exchange.suspended_views() else {
            return (exchange, Ok(Flow::Next));
        };
        let (qname, qtype, dnssec_ok) = (query.qname().clone(), query.qtype(), query.dnssec_ok());
        let peer = query.peer().ip().to_canonical();
        let state = self.state.load_full();
        let asker = state.asker(peer);
        let Some(found) = state.find(&qname, asker) else {
            return (exchange, Ok(Flow::Next));
        };
        let zone = serving(&state, found, asker);
        let outcome = {
            let (_, _, mut response) = exchange.parts();
            zone.answer(&qname, qtype, dnssec_ok, &mut response)
        };
        let Outcome::Chase { target, .. } = outcome else {
            let flow = self.conclude(outcome, &qname, &mut exchange.response());
            return (exchange, flow);
        };
        let found = chain::look_up(&exchange, target.as_name(), qtype).await;
        let mut response = exchange.response();
        let rcode = match found {
            Ok(mut found) => {
                let rcode = found.response().rcode();
                splice::answer(&mut found.response(), &mut response);
                rcode
            }
            Err(failure) => failure.rcode,
        };
        // The RCODE is that of the last name (RFC 6604, section 3); where nobody knows that name, the alias is the answer.
        if rcode != Rcode::REFUSED {
            response.set_rcode(rcode);
        }
        (exchange, Ok(Flow::Answered))
    }
}
