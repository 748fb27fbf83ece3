//! The plugins in the order in which a query meets them: CoreDNS 1.14.7's `plugin.cfg`, with `lab`,
//! which is ours, above `cache`. This list is the order, the membership and the
//! documentation's table of contents; a directive that is not at work here is refused by name.

#![forbid(unsafe_code)]

use chain::setup::Entry::{Absent, Here};
use chain::setup::{Catalogue, Entry};

mod autopath;
mod bind;
mod cache;
mod debug;
mod errors;
mod file;
mod forward;
mod health;
mod hosts;
mod k8s_external;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod lab;
mod loadbalance;
mod log;
mod r#loop;
mod multisocket;
mod prometheus;
mod ready;
mod reload;
mod root;
mod timeouts;
#[cfg(test)]
mod trial;
mod whoami;

/// The name of the order, for `order` and for messages.
pub const ORDER_NAME: &str = "coredns-1.14.7";

/// Every directive, in order.
pub const ORDER: Catalogue = &CATALOGUE;

const CATALOGUE: [Entry; 61] = [
    Here(root::REGISTRATION),
    Absent("metadata"),
    Absent("geoip"),
    Absent("cancel"),
    Absent("proxyproto"),
    Absent("quic"),
    Absent("grpc_server"),
    Absent("https"),
    Absent("https3"),
    Here(timeouts::REGISTRATION),
    Here(multisocket::REGISTRATION),
    Here(reload::REGISTRATION),
    Absent("nsid"),
    Absent("bufsize"),
    Here(bind::REGISTRATION),
    Here(debug::REGISTRATION),
    Absent("trace"),
    Here(ready::REGISTRATION),
    Here(health::REGISTRATION),
    Absent("pprof"),
    Absent("shed"),
    Here(prometheus::REGISTRATION),
    Here(errors::REGISTRATION),
    Here(log::REGISTRATION),
    Absent("dnstap"),
    Absent("local"),
    Absent("dns64"),
    Absent("any"),
    Absent("chaos"),
    Here(loadbalance::REGISTRATION),
    Absent("tsig"),
    Absent("rewrite"),
    Here(autopath::REGISTRATION),
    Absent("acl"),
    Here(lab::REGISTRATION),
    Here(cache::REGISTRATION),
    Absent("header"),
    Absent("dnssec"),
    Absent("tls"),
    Absent("minimal"),
    Absent("template"),
    Absent("transfer"),
    Here(hosts::REGISTRATION),
    Absent("route53"),
    Absent("azure"),
    Absent("clouddns"),
    Here(k8s_external::REGISTRATION),
    #[cfg(feature = "kubernetes")]
    Here(kubernetes::REGISTRATION),
    #[cfg(not(feature = "kubernetes"))]
    chain::setup::Entry::LeftOut("kubernetes"),
    Here(file::REGISTRATION),
    Absent("auto"),
    Absent("secondary"),
    Absent("etcd"),
    Here(r#loop::REGISTRATION),
    Here(forward::REGISTRATION),
    Absent("grpc"),
    Absent("erratic"),
    Here(whoami::REGISTRATION),
    Absent("on"),
    Absent("sign"),
    Absent("view"),
    Absent("nomad"),
];
