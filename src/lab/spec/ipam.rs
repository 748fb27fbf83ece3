//! `[ipam]`: subnets that are divided among networks.

use std::net::IpAddr;

use corefile::Span;
use ipnet::IpNet;
use toml::de::DeTable;

use super::check::unknown;
use super::reader::Reader;
use super::{At, Spec, mistake};

pub(super) const IPAM: &[&str] = &["split"];

impl Reader<'_> {
    /// `[ipam]`, when all networks are known.
    pub(super) fn ipam(&mut self, table: &DeTable<'_>, spec: &mut Spec) {
        for (_, _, value) in self.entries(table, Some(("[ipam]", IPAM))) {
            let Some(table) = self.table(value, "[ipam.split]") else {
                continue;
            };
            for (text, span, value) in self.entries(table, None) {
                let nets = self.strings(value, "split");
                if let Some(whole) = self.subnet(text, span) {
                    self.split(At { value: whole, span }, &nets, spec);
                }
            }
        }
    }

    /// Gives each network its part of a subnet, in their order. The parts are as many as the next power of two, so that they
    /// are equal, and a network more moves none while there is a part left.
    fn split(&mut self, whole: At<IpNet>, nets: &[At<String>], spec: &mut Spec) {
        let bits = nets.len().next_power_of_two().trailing_zeros() as u8;
        let At { value: whole, span } = whole;
        let prefix = whole.prefix_len().saturating_add(bits);
        // Each has room for a gateway and somebody who needs it.
        let parts = match prefix + 2 <= whole.max_prefix_len() {
            true => whole.subnets(prefix).ok(),
            false => None,
        };
        let Some(parts) = parts else {
            let message = format!("{whole} is too small for {} networks", nets.len());
            return self.wrong("LAB0107", span, message, "");
        };
        for (part, name) in parts.zip(nets) {
            let At { value: name, span } = name;
            let Some(net) = spec.nets.iter_mut().find(|net| net.name.value == *name) else {
                let known = spec.nets.iter().map(|net| net.name.value.as_str());
                let found = unknown("network", name, *span, known);
                self.report.push(found);
                continue;
            };
            if let Some(other) = net.subnet(part.addr().is_ipv6()) {
                let message = format!("`{name}` has the subnet {other} already");
                self.report.push(mistake("LAB0105", message, *span, ""));
                continue;
            }
            net.subnets.push(At {
                value: part,
                span: *span,
            });
        }
    }

    /// A subnet that is written as its network's own address.
    pub(super) fn subnet(&mut self, text: &str, span: Span) -> Option<IpNet> {
        let Ok(subnet) = text.parse::<IpNet>() else {
            let hint = if text.parse::<IpAddr>().is_ok() {
                "the length of the prefix is missing, as in /24"
            } else {
                ""
            };
            self.wrong("LAB0102", span, format!("`{text}` is not a subnet"), hint);
            return None;
        };
        if subnet.trunc() != subnet {
            self.report.push(
                mistake(
                    "LAB0102",
                    format!("`{text}` has bits set below its prefix"),
                    span,
                    "",
                )
                .help("write the network's own address")
                .replace(span, format!("\"{}\"", subnet.trunc())),
            );
            return None;
        }
        Some(subnet)
    }
}
