//! `kubernetes`: names of a cluster's services, endpoints and pods, from a watched API.

#![allow(dead_code, reason = "the connection comes before the store")]

mod change;
mod client;
#[cfg(test)]
mod client_tests;
mod decode;
mod watch;
#[cfg(test)]
mod watch_tests;
