//! Blocks and queries for tests.

use std::sync::Arc;

use chain::{Block, BlockInfo, Chain, Exchange, Plugin, Step};
use wire::NameBuf;

/// A block of one zone.
pub(crate) fn block(zone: &str, plugins: Vec<Arc<dyn Plugin>>) -> Arc<Block> {
    let names: Vec<&'static str> = plugins.iter().map(|plugin| plugin.name()).collect();
    let chain = Chain::new(plugins.into_iter().map(Step::new).collect()).expect("a short chain");
    let info = BlockInfo {
        index: 0,
        server: "dns://:53".into(),
        zone: zone.into(),
        origin: zone.parse::<NameBuf>().expect("a zone").to_lower(),
        view: "".into(),
        plugins: names.into(),
        debug: false,
    };
    Arc::new(Block::new(info, Arc::new(chain)))
}

/// A query's octets: flags, name and type, then `rest` as it is, with the counts of records given.
pub(crate) fn query(flags: u16, qname: &str, qtype: u16, additional: u16, rest: &[u8]) -> Vec<u8> {
    let mut out = vec![0x12, 0x34];
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
    out.extend_from_slice(&additional.to_be_bytes());
    let name: NameBuf = qname.parse().expect("a name");
    out.extend_from_slice(name.as_name().octets());
    out.extend_from_slice(&qtype.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(rest);
    out
}

/// An OPT record of this UDP size, flags and options.
pub(crate) fn opt(size: u16, ttl: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut rdata = Vec::new();
    for (code, data) in options {
        rdata.extend_from_slice(&code.to_be_bytes());
        rdata.extend_from_slice(&(data.len() as u16).to_be_bytes());
        rdata.extend_from_slice(data);
    }
    let mut out = vec![0, 0, 41];
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    out.extend_from_slice(&rdata);
    out
}

/// An exchange that has received `octets`.
pub(crate) fn received(octets: &[u8]) -> Box<Exchange> {
    let mut exchange = Exchange::datagram();
    exchange.receive_buffer(octets.len())[..octets.len()].copy_from_slice(octets);
    exchange.set_received(octets.len());
    exchange
}
