//! Labs made for real, in worlds of their own: traffic that must flow and traffic that must not.
//!
//! Needs root or user namespaces, and as tools: util-linux, iproute2, iputils-ping, nftables, netcat-openbsd, python3.

#![allow(missing_docs)]

mod cni;
mod converging;
mod faults;
mod killed;
mod labs;
mod mistakes;
mod names;
mod privileges;
mod resolving;
mod scenarios;
mod verbs;
mod world;
