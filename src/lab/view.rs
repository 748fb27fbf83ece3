//! What `status` shows beside the declared: routes, neighbours, who listens, and how often the rules were met.

use std::io;

use crate::layout::Layout;
use crate::link::{self, PROTOCOL};
use crate::listener;
use crate::netlink::Socket;
use crate::nft;
use crate::observe::Inside;
use crate::route::{RTPROT_KERNEL, metric_words};
use crate::space;
use crate::surroundings::is_link_local;

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Views {
    /// Routes of each namespace.
    pub routes: bool,
    /// Whom each namespace knows on its links.
    pub neighbours: bool,
    /// Who listens in each namespace.
    pub listeners: bool,
    /// The lab's rules with their counters.
    pub rules: bool,
    /// The names that are published.
    pub names: bool,
}

/// The lines of a namespace.
pub(crate) fn lines(name: &str, views: Views) -> Vec<String> {
    look(name, views).unwrap_or_else(|error| vec![format!("cannot look into it: {error}")])
}

/// The same.
fn look(name: &str, views: Views) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    if !(views.routes || views.neighbours || views.listeners) {
        return Ok(lines);
    }
    let _away = space::enter(name)?;
    let inside = Inside::here(&[], true)?;
    let link = |index: u32| {
        let link = inside.links.iter().find(|link| link.index == index);
        link.map_or("?", |link| link.name.as_str())
    };
    if views.routes {
        for route in &inside.routes {
            let of_link = route.via.is_none() && route.protocol == RTPROT_KERNEL;
            if of_link && is_link_local(&route.to) {
                continue;
            }
            let via = route.via.map_or(String::new(), |via| format!(" via {via}"));
            let metric = match of_link {
                true => String::new(),
                false => metric_words(route.to, route.metric),
            };
            let own = match of_link || route.protocol == PROTOCOL {
                true => "",
                false => ", not the lab's",
            };
            lines.push(format!(
                "route {}{via} dev {}{metric}{own}",
                route.to,
                link(route.link)
            ));
        }
    }
    if views.neighbours {
        let mut socket = Socket::reader()?;
        for neighbour in link::neighbours(&mut socket)? {
            lines.push(format!(
                "neighbour {} is {} on {} ({})",
                neighbour.address,
                neighbour.mac,
                link(neighbour.link),
                neighbour.state
            ));
        }
    }
    if views.listeners {
        for listener in listener::all()? {
            let at = match (
                listener.address,
                listener.hears(true),
                listener.hears(false),
            ) {
                (Some(at), ..) => at.to_string(),
                (None, true, false) => "::".to_owned(),
                (None, true, true) => "*".to_owned(),
                (None, ..) => "0.0.0.0".to_owned(),
            };
            let who = listener::holder(&listener)
                .map_or(String::new(), |(pid, name)| format!(" {name} ({pid})"));
            lines.push(format!(
                "listens {at} {}/{}{who}",
                listener.port,
                listener.protocol.name()
            ));
        }
    }
    Ok(lines)
}

/// The lab's rules, each with how many packets it met.
pub(crate) fn rules(layout: &Layout) -> Vec<String> {
    let Some(table) = &layout.table else {
        return vec!["no rules".to_owned()];
    };
    let counted =
        Socket::netfilter().and_then(|mut socket| nft::counters(&mut socket, &table.name));
    let counted = counted.unwrap_or_default();
    let mut lines = Vec::new();
    for chain in &table.chains {
        let counters = counted.get(&chain.name);
        for (at, rule) in chain.rules.iter().enumerate() {
            let met = counters.and_then(|counters| counters.get(at));
            let met = met.map_or("not there".to_owned(), |packets| match packets {
                1 => "1 packet".to_owned(),
                packets => format!("{packets} packets"),
            });
            lines.push(format!(
                "{}  {}: {met}",
                chain.name,
                nft::rule_text(rule).replace(" counter", "")
            ));
        }
    }
    lines
}
