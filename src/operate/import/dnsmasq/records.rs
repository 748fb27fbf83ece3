//! Local records of dnsmasq.conf.

use std::net::IpAddr;

use crate::import::grammar::strings;
use crate::import::model::{Name, Record};
use crate::import::report::Place;

use super::Reading;

impl Reading<'_> {
    /// Takes an option that is a record; why it cannot be taken.
    pub(super) fn local_record(
        &mut self,
        option: &str,
        fields: &[String],
        place: &Place,
        line: &str,
    ) -> Result<(), String> {
        let at = |index: usize| fields.get(index).map_or("", |field| field.trim());
        let or = |index: usize, otherwise: &'static str| match at(index) {
            "" => otherwise,
            field => field,
        };
        match option {
            "host-record" => return self.host_record(fields, place, line),
            "cname" => return self.cname(fields, place, line),
            _ => {}
        }
        let (owner, rtype, rdata) = match option {
            "txt-record" => {
                let texts = fields.iter().skip(1).map(String::as_str);
                let mut rdata = strings(texts);
                if rdata.is_empty() {
                    rdata.push_str("\"\"");
                }
                (name(at(0))?, "TXT", rdata)
            }
            "srv-host" => {
                let mut owner = at(0).to_owned();
                // `_service._protocol` alone is of the domain.
                if owner.split('.').count() == 2 {
                    let domain = self
                        .domain
                        .as_ref()
                        .ok_or("no domain, and none set with `domain`")?;
                    owner = format!("{owner}.{domain}");
                }
                let target = target(at(1))?;
                let rdata = format!("{} {} {} {target}", or(3, "0"), or(4, "0"), or(2, "1"));
                (name(&owner)?, "SRV", rdata)
            }
            "mx-host" => {
                if at(1).is_empty() {
                    return Err("no target: dnsmasq takes `mx-target` or its host name".to_owned());
                }
                let rdata = format!("{} {}", or(2, "1"), target(at(1))?);
                (name(at(0))?, "MX", rdata)
            }
            "caa-record" => {
                let rdata = format!("{} {} {}", at(1), at(2), strings([at(3)]));
                (name(at(0))?, "CAA", rdata)
            }
            "ptr-record" => (name(at(0))?, "PTR", target(at(1))?),
            "naptr-record" => {
                let texts = strings([at(3), at(4), at(5)]);
                let rdata = format!("{} {} {texts} {}", at(1), at(2), target(at(6))?);
                (name(at(0))?, "NAPTR", rdata)
            }
            _ => {
                let number: u16 = at(1).parse().map_err(|_| "not the number of a type")?;
                let hex: String = fields.get(2).map_or("", |hex| hex).replace([':', ' '], "");
                let rdata = format!("\\# {} {hex}", hex.len() / 2);
                let rtype = format!("TYPE{number}");
                let record = Record {
                    ttl: self.model.ttl,
                    rtype,
                    rdata,
                };
                let owner = name(at(0))?;
                self.model.scopes[0].record(&owner, record, (place, line), self.report);
                return Ok(());
            }
        };
        let record = Record {
            ttl: self.model.ttl,
            rtype: rtype.to_owned(),
            rdata,
        };
        self.model.scopes[0].record(&owner, record, (place, line), self.report);
        Ok(())
    }

    /// `host-record=NAME[,NAME...],[ADDRESS],[ADDRESS][,TTL]`.
    fn host_record(&mut self, fields: &[String], place: &Place, line: &str) -> Result<(), String> {
        let mut names = Vec::new();
        let mut addresses: Vec<IpAddr> = Vec::new();
        let mut ttl = None;
        for field in fields
            .iter()
            .map(|field| field.trim())
            .filter(|field| !field.is_empty())
        {
            if let Ok(address) = field.parse() {
                addresses.push(address);
            } else if !names.is_empty() && field.chars().all(|c| c.is_ascii_digit()) {
                ttl = Some(field.parse::<u32>().map_err(|_| "not a TTL")?);
            } else {
                names.push(name(field)?);
            }
        }
        let ttl = ttl.unwrap_or(self.model.ttl);
        for (index, name) in names.iter().enumerate() {
            for address in &addresses {
                if ttl == self.model.ttl {
                    self.scope().address(name, *address);
                    continue;
                }
                // A hosts file has one TTL for all.
                let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
                let mut records = vec![(name.clone(), rtype, address.to_string())];
                if index == 0 {
                    records.push((Name::reverse(*address), "PTR", name.absolute()));
                }
                for (owner, rtype, rdata) in records {
                    let rtype = rtype.to_owned();
                    let record = Record { ttl, rtype, rdata };
                    self.model.scopes[0].record(&owner, record, (place, line), self.report);
                }
            }
        }
        match names.is_empty() || addresses.is_empty() {
            true => Err("no name, or no address".to_owned()),
            false => Ok(()),
        }
    }

    /// `cname=ALIAS,[ALIAS,]TARGET[,TTL]`.
    fn cname(&mut self, fields: &[String], place: &Place, line: &str) -> Result<(), String> {
        let mut fields: Vec<&str> = fields.iter().map(|field| field.trim()).collect();
        let mut ttl = self.model.ttl;
        let last = fields.last().copied().unwrap_or_default();
        if fields.len() > 2 && last.chars().all(|c| c.is_ascii_digit()) {
            ttl = last.parse().map_err(|_| "not a TTL")?;
            fields.pop();
        }
        let Some((to, aliases)) = fields
            .split_last()
            .filter(|(_, aliases)| !aliases.is_empty())
        else {
            return Err("not an alias and its target".to_owned());
        };
        let rdata = target(to)?;
        for alias in aliases {
            let owner = name(alias)?;
            let record = Record {
                ttl,
                rtype: "CNAME".to_owned(),
                rdata: rdata.clone(),
            };
            self.model.scopes[0].record(&owner, record, (place, line), self.report);
        }
        Ok(())
    }
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text)
        .filter(|name| !name.is_root())
        .ok_or_else(|| format!("not a name that can be imported: {text:?}"))
}

/// A name in RDATA; nothing is the root.
fn target(text: &str) -> Result<String, String> {
    match text {
        "" | "." => Ok(".".to_owned()),
        text => name(text).map(|name| name.absolute()),
    }
}
