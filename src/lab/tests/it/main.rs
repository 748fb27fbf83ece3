//! Labs made for real, in worlds of their own: traffic that must flow and traffic that must not.
//!
//! Needs root or user namespaces, and as tools: util-linux, iproute2, iputils-ping, nftables, netcat-openbsd, python3, curl.

#![allow(missing_docs)]

mod clients;
mod cni;
mod converging;
mod drifting;
mod edits;
mod faults;
mod importing;
mod inside;
mod interrupted;
mod ipam;
mod keeping;
mod killed;
mod labs;
mod links;
mod machines;
mod mistakes;
mod names;
mod notes;
mod other_kernel;
mod outward;
mod owners;
mod pages;
mod parents;
mod persisting;
mod printing;
mod privileges;
mod reading;
mod resolving;
mod running;
mod scenarios;
mod services;
mod verbs;
mod watching;
mod world;
