//! hickory-server's catalog, which serves a zone in this process, over sockets as the others do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::rr::{LowerName, Name, Record};
use hickory_proto::serialize::binary::BinDecodable;
use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;

/// The catalog at work; it ends when dropped.
pub(super) struct Hickory {
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Hickory {
    /// Serves the zone `plain.example` of this text. It is read by us: hickory-proto does not read all of its types.
    pub(super) fn start(text: &str) -> Self {
        let origin: wire::NameBuf = "plain.example.".parse().expect("a name");
        let loaded = zone::Loader::new(origin.as_name()).load_text(text);
        let zone = loaded.expect("a zone").zone;
        let name = Name::from_ascii("plain.example.").expect("a name");
        let mut handler = InMemoryZoneHandler::<TokioRuntimeProvider>::empty(
            name.clone(),
            ZoneType::Primary,
            AxfrPolicy::Deny,
        );
        for record in zone.records() {
            let rdata = record.rdata();
            let mut octets = record.owner().octets().to_vec();
            octets.extend_from_slice(&record.rtype().0.to_be_bytes());
            octets.extend_from_slice(&record.class().0.to_be_bytes());
            octets.extend_from_slice(&record.ttl().to_be_bytes());
            octets.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            octets.extend_from_slice(&rdata);
            let record = Record::from_bytes(&octets).expect("a record");
            assert!(handler.upsert_mut(record, zone.serial()));
        }
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::from(name), vec![Arc::new(handler)]);
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
                let address = udp.local_addr().expect("an address");
                let tcp = TcpListener::bind(address).await.expect("a listener");
                let mut server = Server::new(catalog);
                server.register_socket(udp);
                server.register_listener(tcp, Duration::from_secs(5), 65_535);
                tell.send(address).expect("the test waits");
                let _ = stopped.await;
                let _ = server.shutdown_gracefully().await;
            });
        });
        Self {
            address: told.recv().expect("it starts"),
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Hickory {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
