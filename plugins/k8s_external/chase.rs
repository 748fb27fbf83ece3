//! Load balancers that have a host name: an alias for A and AAAA, the target of SRV; the server asks itself for the rest.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use chain::capability::{Host, Reachable};
use chain::{Exchange, Flow, Resolved, look_up};
use wire::{Class, Flags, NameBuf, Section, Type};

use super::{External, Seen, Zone, family, not_ready, push_address, under, weight};

/// A way to reach a service that is kept while other names are looked up.
struct Way {
    target: NameBuf,
    address: Option<std::net::IpAddr>,
    port: Option<u16>,
}

impl Way {
    fn new(way: &Reachable<'_>, zone: &Zone) -> Option<Self> {
        let (target, address) = match way.host {
            Host::Name(name) => (NameBuf::from_name(name), None),
            Host::Address(address) => (under(way.labels, zone)?, Some(address)),
        };
        Some(Self {
            target,
            address,
            port: way.port,
        })
    }
}

/// Waits for what is not known yet, and answers again.
pub(super) async fn resolve(external: Arc<External>, mut exchange: Box<Exchange>) -> Resolved {
    for source in external.sources() {
        source.settle().await;
    }
    exchange.begin();
    let Some((query, mut response)) = exchange.suspended_views() else {
        return (exchange, Ok(Flow::Next));
    };
    match external.answer(&query, &mut response) {
        Ok(Flow::Suspend) => chase(&external, exchange).await,
        flow => (exchange, flow),
    }
}

/// Answers a query whose service has a host's name among its ways.
async fn chase(external: &External, mut exchange: Box<Exchange>) -> Resolved {
    exchange.begin();
    let Some(query) = exchange.suspended_query() else {
        return (exchange, Ok(Flow::Next));
    };
    let (qname, qtype) = (query.qname().clone(), query.qtype());
    let Some(zone) = external.zone(&qname) else {
        return (exchange, Ok(Flow::Next));
    };
    let mut ways = Vec::new();
    external.visit(zone, &qname, &mut |way| {
        ways.extend(Way::new(&way, zone));
        ControlFlow::Continue(())
    });
    if ways.is_empty() {
        // Still not known, or replaced just now.
        return (exchange, Err(not_ready()));
    }
    exchange.response().set_flag(Flags::AA, true);
    if qtype == Type::SRV {
        services(external, &mut exchange, &qname, &ways).await;
    } else {
        addresses(external, &mut exchange, (&qname, qtype), &ways).await;
    }
    let mut response = exchange.response();
    if response.count(Section::Answer) == 0 {
        external.soa(zone, Section::Authority, &mut response);
    }
    (exchange, Ok(Flow::Answered))
}

async fn addresses(
    external: &External,
    exchange: &mut Exchange,
    (qname, qtype): (&wire::Qname, Type),
    ways: &[Way],
) {
    let (mut seen, mut aliases) = (Seen::default(), HashSet::new());
    for way in ways {
        match way.address {
            Some(address) if family(address) == qtype && seen.is_new(address) => {
                let owner = (qname.name(), external.ttl);
                let _ = push_address(&mut exchange.response(), Section::Answer, owner, address);
            }
            Some(_) => {}
            None if aliases.insert(way.target.as_name().octets()) => {
                let fixed = (Type::CNAME, Class::IN, external.ttl);
                let target = (&[][..], way.target.as_name());
                let _ =
                    exchange
                        .response()
                        .push_named(Section::Answer, qname.name(), fixed, target);
                if let Ok(mut found) = look_up(exchange, way.target.as_name(), qtype).await {
                    // Where it cannot be read, the alias is the answer.
                    let _ = exchange.response().take_answers(&found.response());
                }
            }
            None => {}
        }
    }
}

async fn services(external: &External, exchange: &mut Exchange, qname: &wire::Qname, ways: &[Way]) {
    let weight = weight(ways.len());
    let mut seen = HashSet::new();
    for way in ways {
        if let Some(port) = way.port
            && seen.insert((way.target.as_name().octets(), port))
        {
            let _ = external.push_service(
                &mut exchange.response(),
                qname.name(),
                (weight, port),
                way.target.as_name(),
            );
        }
    }
    let mut seen = HashSet::new();
    for way in ways {
        if way.port.is_none() || !seen.insert((way.target.as_name().octets(), way.address)) {
            continue;
        }
        let target = way.target.as_name();
        if let Some(address) = way.address {
            let owner = (target, external.ttl);
            let _ = push_address(
                &mut exchange.response(),
                Section::Additional,
                owner,
                address,
            );
            continue;
        }
        for qtype in [Type::A, Type::AAAA] {
            let Ok(mut found) = look_up(exchange, target, qtype).await else {
                continue;
            };
            let found = found.response();
            for record in found.records().map_while(Result::ok) {
                let Ok(owner) = record.owner() else { break };
                if record.section == Section::Answer && record.rtype == qtype {
                    let fixed = (qtype, Class::IN, record.ttl);
                    let _ = exchange.response().push(
                        Section::Additional,
                        owner.as_name(),
                        fixed,
                        record.rdata(),
                    );
                }
            }
        }
    }
}
