//! What `whoami` answers, octet by octet, and what its setup refuses.

use std::net::SocketAddr;
use std::sync::Arc;

use chain::{Block, BlockInfo, Chain, Exchange, Outcome, Step, Transport};
use wire::{Flags, Message, NameBuf, Section, Type};

use super::Whoami;

/// Asks for `qname` as `peer` over `transport`.
fn ask(qname: &str, peer: &str, transport: Transport) -> Box<Exchange> {
    let mut query = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let name: NameBuf = qname.parse().expect("a name");
    query.extend_from_slice(name.as_name().octets());
    query.extend_from_slice(&[0, 1, 0, 1]);
    let mut exchange = Exchange::stream();
    exchange.receive_buffer(query.len())[..query.len()].copy_from_slice(&query);
    exchange.set_received(query.len());
    exchange.parse().expect("a query");
    exchange.context.peer = peer.parse::<SocketAddr>().expect("an address");
    exchange.context.transport = transport;
    let chain = Chain::new(vec![Step::new(Arc::new(Whoami))]).expect("one step");
    let info = BlockInfo {
        index: 0,
        server: "dns://:53".into(),
        zone: ".".into(),
        origin: NameBuf::root(),
        view: "".into(),
        plugins: ["whoami"].into(),
        debug: false,
    };
    let block = Arc::new(Block::new(info, Arc::new(chain)));
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    exchange.response().seal();
    exchange
}

#[test]
fn tells_address_port_and_transport() {
    for (peer, transport, rtype, rdata, service) in [
        (
            "192.0.2.7:4000",
            Transport::Udp,
            Type::A,
            &[192, 0, 2, 7][..],
            "_udp.www.example.org.",
        ),
        (
            "[2001:db8::1]:4000",
            Transport::Tcp,
            Type::AAAA,
            &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            "_tcp.www.example.org.",
        ),
    ] {
        let exchange = ask("www.example.org.", peer, transport);
        let reply = Message::new(exchange.reply()).expect("a message");
        assert!(reply.flags().has(Flags::AA));
        assert_eq!(reply.header().counts, [1, 0, 0, 2]);
        let records: Vec<_> = reply
            .records()
            .map(|record| record.expect("a record"))
            .collect();
        assert_eq!(records[0].section, Section::Additional);
        assert_eq!(
            (records[0].rtype, records[0].ttl, records[0].rdata()),
            (rtype, 0, rdata)
        );
        assert_eq!(records[0].owner().unwrap().to_string(), "www.example.org.");
        assert_eq!(records[1].rtype, Type::SRV);
        assert_eq!(records[1].owner().unwrap().to_string(), service);
        assert_eq!(records[1].rdata(), [0, 0, 0, 0, 0x0F, 0xA0, 0]);
    }
}

#[test]
fn answers_the_root_and_the_longest_name() {
    let exchange = ask(".", "192.0.2.7:4000", Transport::Udp);
    let reply = Message::new(exchange.reply()).expect("a message");
    let service = reply.records().nth(1).unwrap().unwrap();
    assert_eq!(service.owner().unwrap().to_string(), "_udp.");

    let long = format!("{0}.{0}.{0}.{1}.", "a".repeat(63), "b".repeat(61));
    let exchange = ask(&long, "192.0.2.7:4000", Transport::Udp);
    let reply = Message::new(exchange.reply()).expect("a message");
    assert_eq!(reply.header().counts, [1, 0, 0, 1]);
}
