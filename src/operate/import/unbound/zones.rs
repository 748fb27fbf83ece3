//! Local zones and zones that are forwarded, laid over each other as Unbound asks them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::import::empty_zones;
use crate::import::model::{Action, Domain, Name, Record};
use crate::import::report::Place;

use super::{Datum, Reading, TTL};

impl Reading<'_> {
    /// The zones that are built in, where nothing else is said of them.
    pub(super) fn default_zones(&mut self) {
        const SPECIAL: [&str; 5] = ["home.arpa", "onion", "test", "invalid", "localhost"];
        let special = SPECIAL.iter().filter_map(|name| Name::parse(name));
        let reverse = empty_zones::loopback()
            .into_iter()
            .chain(empty_zones::private());
        for name in special.chain(reverse).chain(empty_zones::shared()) {
            if self.removed.contains(&name) || self.zones.contains_key(&name) {
                continue;
            }
            let place = Place {
                file: "built in".into(),
                line: 0,
            };
            // Names below it are this machine, too (RFC 6761, section 6.3).
            let kind = if name.as_str() == "localhost" {
                "redirect"
            } else {
                "static"
            };
            self.zones
                .insert(name, (kind.to_owned(), place, String::new()));
        }
        let place = Place {
            file: "built in".into(),
            line: 0,
        };
        let mut built_in = |owner: Name, rtype: &str, rdata: &str| {
            if self
                .zones
                .get(&owner)
                .is_some_and(|(_, _, line)| line.is_empty())
                || owner.is_reverse()
            {
                let record = Record {
                    ttl: 10_800,
                    rtype: rtype.to_owned(),
                    rdata: rdata.to_owned(),
                };
                self.data.push(Datum {
                    owner,
                    record,
                    place: place.clone(),
                    line: String::new(),
                });
            }
        };
        if let Some(localhost) = Name::parse("localhost") {
            built_in(localhost.clone(), "A", "127.0.0.1");
            built_in(localhost, "AAAA", "::1");
        }
        for address in [
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ] {
            built_in(Name::reverse(address), "PTR", "localhost.");
        }
    }

    /// Data outside of every local zone makes a transparent zone of its name.
    pub(super) fn bare_data(&mut self) {
        for datum in &self.data {
            if !datum
                .owner
                .ancestry()
                .any(|one| self.zones.contains_key(&one))
            {
                let entry = (
                    "transparent".to_owned(),
                    datum.place.clone(),
                    datum.line.clone(),
                );
                self.zones.insert(datum.owner.clone(), entry);
            }
        }
    }

    /// Local zones first, then the zones that are forwarded.
    pub(super) fn lay(&mut self, forwards: &BTreeMap<Name, Action>) {
        let onward = |name: &Name| {
            let found = name.ancestry().find_map(|one| forwards.get(&one));
            found.cloned()
        };
        let answers = |kind: &str| {
            !matches!(
                kind,
                "transparent" | "typetransparent" | "always_transparent"
            )
        };
        for (name, action) in forwards {
            let hidden = name.ancestry().find_map(|one| self.zones.get(&one));
            match hidden {
                Some((kind, place, line)) if answers(kind) => {
                    let why = format!(
                        "it answers for all of its names, so the forward zone {name} is never asked"
                    );
                    self.report.note(place, line, &why);
                }
                _ => self.model.scopes[0].domain(name).action = Some(action.clone()),
            }
        }
        for (name, (kind, place, line)) in &self.zones {
            let has_data = self.data.iter().any(|datum| datum.owner.is_within(name));
            let action = match &**kind {
                "static" | "redirect" => Action::Zone,
                "refuse" | "always_refuse" => Action::Rcode("REFUSED"),
                "always_nxdomain" => Action::Rcode("NXDOMAIN"),
                "always_nodata" => Action::Rcode("NOERROR"),
                "always_null" => Action::Null,
                "deny" if has_data => {
                    self.report.left(
                        place,
                        line,
                        "its data is answered, and other names get no answer: `acl` drops both",
                        "write `local-zone … refuse`",
                    );
                    continue;
                }
                "deny" | "always_deny" => Action::Drop,
                // Only where a zone around it answers does this one need a block of its own.
                _ => {
                    let around = name
                        .parent()
                        .and_then(|parent| parent.ancestry().find_map(|one| self.zones.get(&one)));
                    match around {
                        Some((kind, _, _)) if answers(kind) => {
                            onward(name).unwrap_or(Action::Rcode("REFUSED"))
                        }
                        _ => continue,
                    }
                }
            };
            let domain: &mut Domain = self.model.scopes[0].domain(name);
            domain.action = Some(action);
        }
    }

    pub(super) fn place_data(&mut self) {
        for datum in std::mem::take(&mut self.data) {
            let zone = datum
                .owner
                .ancestry()
                .find_map(|one| Some((one.clone(), self.zones.get(&one)?)));
            let Some((name, (kind, _, _))) = zone else {
                continue;
            };
            let scope = &mut self.model.scopes[0];
            let from = (&datum.place, &*datum.line);
            match &**kind {
                "redirect" => {
                    if datum.owner != name {
                        let why = "a redirect zone has data of its own name only";
                        self.report.left(from.0, from.1, why, "");
                        continue;
                    }
                    if let Some(below) = Name::below("*", &name)
                        && !matches!(&*datum.record.rtype, "SOA" | "NS")
                    {
                        scope.record(&below, datum.record.clone(), from, self.report);
                    }
                    scope.record(&name, datum.record, from, self.report);
                }
                kind if kind.starts_with("always_") => {
                    let why = format!("a zone of type {kind} does not answer with it");
                    self.report.note(from.0, from.1, &why);
                }
                "transparent" | "typetransparent" => {
                    let is_complete = kind == "transparent";
                    let address = datum.record.rdata.parse::<IpAddr>().ok();
                    let plain = datum.record.ttl == TTL && is_complete;
                    match address.filter(|_| plain) {
                        Some(address) => scope.address(&datum.owner, address),
                        None => scope.record(&datum.owner, datum.record, from, self.report),
                    }
                    scope.owner(&datum.owner).is_complete = is_complete;
                }
                _ => scope.record(&datum.owner, datum.record, from, self.report),
            }
        }
        // A record that could not be read leaves no owner.
        let scope = &mut self.model.scopes[0];
        scope
            .owners
            .retain(|_, owner| !owner.addresses.is_empty() || !owner.records.is_empty());
    }
}
