//! The plugins in the order in which a query meets them: CoreDNS 1.14.7's `plugin.cfg`, with `order` at its head, `xdp` below
//! `multisocket`, `cookie` above `local`, `lab` above `cache` and `dynupdate` above `file`, which are ours, and external plugins of
//! CoreDNS: `rrl` below `tsig`, `records` below `hosts`, `alternate` and `fanout` above `forward`. This list is the order, the membership
//! and the documentation's table of contents; a directive that is not at work here is refused by name.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
#![forbid(unsafe_code)]

use chain::setup::Entry::{Absent, Here};
use chain::setup::{Catalogue, Entry};

mod acl;
mod alternate;
mod any;
mod auto;
mod autopath;
mod bind;
mod bufsize;
mod cache;
mod cancel;
mod chaos;
mod cookie;
mod debug;
mod dns64;
mod dnssec;
mod dynupdate;
mod erratic;
mod errors;
#[cfg(feature = "etcd")]
mod etcd;
mod fanout;
mod file;
mod forward;
mod grpc;
mod grpc_server;
mod header;
mod health;
mod hosts;
mod https;
#[cfg(feature = "https3")]
mod https3;
mod k8s_external;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod lab;
mod loadbalance;
mod local;
mod log;
mod r#loop;
mod metadata;
mod minimal;
mod multisocket;
mod nsid;
mod on;
mod order;
mod pprof;
mod prometheus;
mod proxyproto;
mod quic;
mod ready;
mod records;
mod reload;
mod rewrite;
mod root;
mod rrl;
mod secondary;
mod shed;
mod sign;
mod template;
mod timeouts;
mod tls;
mod transfer;
#[cfg(test)]
mod trial;
mod tsig;
#[cfg(test)]
mod upstreams;
mod view;
mod whoami;
mod xdp;

/// The name of the order, for `order` and for messages.
pub const ORDER_NAME: &str = "coredns-1.14.7";

/// The manual of each plugin: its README, shortened to what an editor shows.
pub const MANUALS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/manuals.rs"));

/// Every directive, in order.
pub const ORDER: Catalogue = &CATALOGUE;

const CATALOGUE: [Entry; 69] = [
    Here(order::REGISTRATION),
    Here(root::REGISTRATION),
    Here(metadata::REGISTRATION),
    Absent("geoip"),
    Here(cancel::REGISTRATION),
    Here(proxyproto::REGISTRATION),
    Here(quic::REGISTRATION),
    Here(grpc_server::REGISTRATION),
    Here(https::REGISTRATION),
    #[cfg(feature = "https3")]
    Here(https3::REGISTRATION),
    #[cfg(not(feature = "https3"))]
    chain::setup::Entry::LeftOut("https3"),
    Here(timeouts::REGISTRATION),
    Here(multisocket::REGISTRATION),
    Here(xdp::REGISTRATION),
    Here(reload::REGISTRATION),
    Here(nsid::REGISTRATION),
    Here(bufsize::REGISTRATION),
    Here(bind::REGISTRATION),
    Here(debug::REGISTRATION),
    Absent("trace"),
    Here(ready::REGISTRATION),
    Here(health::REGISTRATION),
    Here(pprof::REGISTRATION),
    Here(shed::REGISTRATION),
    Here(prometheus::REGISTRATION),
    Here(errors::REGISTRATION),
    Here(log::REGISTRATION),
    Absent("dnstap"),
    Here(cookie::REGISTRATION),
    Here(local::REGISTRATION),
    Here(dns64::REGISTRATION),
    Here(any::REGISTRATION),
    Here(chaos::REGISTRATION),
    Here(loadbalance::REGISTRATION),
    Here(tsig::REGISTRATION),
    Here(rrl::REGISTRATION),
    Here(rewrite::REGISTRATION),
    Here(autopath::REGISTRATION),
    Here(acl::REGISTRATION),
    Here(lab::REGISTRATION),
    Here(cache::REGISTRATION),
    Here(header::REGISTRATION),
    Here(dnssec::REGISTRATION),
    Here(tls::REGISTRATION),
    Here(minimal::REGISTRATION),
    Here(template::REGISTRATION),
    Here(transfer::REGISTRATION),
    Here(hosts::REGISTRATION),
    Here(records::REGISTRATION),
    Absent("route53"),
    Absent("azure"),
    Absent("clouddns"),
    Here(k8s_external::REGISTRATION),
    #[cfg(feature = "kubernetes")]
    Here(kubernetes::REGISTRATION),
    #[cfg(not(feature = "kubernetes"))]
    chain::setup::Entry::LeftOut("kubernetes"),
    Here(dynupdate::REGISTRATION),
    Here(file::REGISTRATION),
    Here(auto::REGISTRATION),
    Here(secondary::REGISTRATION),
    #[cfg(feature = "etcd")]
    Here(etcd::REGISTRATION),
    #[cfg(not(feature = "etcd"))]
    chain::setup::Entry::LeftOut("etcd"),
    Here(r#loop::REGISTRATION),
    Here(alternate::REGISTRATION),
    Here(fanout::REGISTRATION),
    Here(forward::REGISTRATION),
    Here(grpc::REGISTRATION),
    Here(erratic::REGISTRATION),
    Here(whoami::REGISTRATION),
    Here(on::REGISTRATION),
    Here(sign::REGISTRATION),
    Here(view::REGISTRATION),
    Absent("nomad"),
];
