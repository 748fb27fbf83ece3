//! Zone transfers over TLS (RFC 9103) and QUIC (RFC 9250): our secondary of our primary and of BIND, BIND as a secondary, and primaries
//! that are not what they should be.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use wire::Type;

use crate::peers::{
    Peer, named_options, records, replace, serial, transferred, wait_for_serial, zone,
};
use crate::quic;
use crate::secure::{Authority, NAME, connect};
use crate::server::{
    Server, dig, free_port, kdig, read_message, temporary_directory, write_message,
};

/// A secondary of example.org at `port`, whose primary is `from`; `more` are other options.
fn secondary(dir: &Path, port: u16, from: &str, more: &str) -> Server {
    Server::start_in(
        dir,
        &format!(
            "example.org:{port} {{\n  bind 127.0.0.1\n  secondary {{\n    transfer from {from}\n    {more}\n  }}\n  transfer {{\n    to 127.0.0.1\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    )
}

/// A directory with a certificate of the server, its key and the authority's certificate.
fn certified(test: &str) -> (Authority, std::path::PathBuf) {
    let authority = Authority::new(test);
    let dir = temporary_directory(test);
    authority.server(365).write(&dir, "server");
    replace(&dir.join("ca.pem"), &authority.pem);
    (authority, dir)
}

#[test]
fn a_zone_and_its_differences_come_over_tls_and_others_take_them() {
    let (_authority, dir) = certified("xot");
    let (theirs, ours, bind) = (free_port(), free_port(), free_port());
    replace(&dir.join("db"), &zone(7));
    let primary = Server::start_in(
        &dir,
        &format!(
            "tls://example.org:{theirs} {{\n  bind 127.0.0.1\n  tls server.pem server.key\n  file db {{\n    reload 100ms\n  }}\n  transfer {{\n    to 127.0.0.1:{ours}\n    to 127.0.0.1:{bind}\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    let here = temporary_directory("xot-secondary");
    let ca = dir.join("ca.pem");
    let (from, tls) = (
        format!("tls://127.0.0.1:{theirs}"),
        format!("tls {}\n    tls_servername {NAME}", ca.display()),
    );
    let server = secondary(&here, ours, &from, &tls);
    let address = SocketAddr::from(([127, 0, 0, 1], ours));
    if dig(address, &["example.org", "SOA"]).is_none() {
        return;
    }
    wait_for_serial(address, 7);
    server.wait_for_log(&format!(
        "Transferred: example.org. from {from}, 15 records"
    ));
    replace(&dir.join("db"), &zone(8));
    wait_for_serial(address, 8);
    server.wait_for_log("8 SOA serial, by IXFR in 1 step");
    let whole = transferred(address, &[]);
    // kdig verifies the certificate; the listener gives a transfer many messages.
    let tls = SocketAddr::from(([127, 0, 0, 1], theirs));
    let ca_option = format!("+tls-ca={}", ca.display());
    let name_option = format!("+tls-hostname={NAME}");
    let asked = kdig(
        tls,
        &["example.org", "AXFR", "+tls", &ca_option, &name_option],
    );
    if let Some(text) = asked {
        assert_eq!(Some(records(&text)), whole, "{text}");
    }
    // BIND as the secondary.
    let there = temporary_directory("xot-bind");
    let configuration = named_options(&there, bind)
        + &format!(
            "tls ours {{ ca-file \"{}\"; remote-hostname \"{NAME}\"; protocols {{ TLSv1.3; }}; }};\n\
             zone \"example.org\" {{ type secondary; file \"copy\"; masterfile-format text; primaries {{ 127.0.0.1 port {theirs} tls ours; }}; allow-transfer {{ 127.0.0.1; }}; }};\n",
            ca.display()
        );
    if let Some(_named) = Peer::named(&there, &configuration) {
        let address = SocketAddr::from(([127, 0, 0, 1], bind));
        wait_for_serial(address, 8);
        assert_eq!(transferred(address, &[]), whole);
    }
    drop(primary);
}

/// RFC 9103, section 7.2: a transfer over TLS 1.2 is refused, and all else that comes so is answered.
#[test]
fn a_transfer_needs_tls_1_3() {
    let (authority, dir) = certified("xot-versions");
    replace(&dir.join("db"), &zone(7));
    let theirs = free_port();
    let _server = Server::start_in(
        &dir,
        &format!(
            "tls://example.org:{theirs} {{\n  bind 127.0.0.1\n  tls server.pem server.key\n  file db\n  transfer {{\n    to *\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    let address = SocketAddr::from(([127, 0, 0, 1], theirs));
    let (refused, answered) = (5, 0);
    for (version, transfer) in [
        (&rustls::version::TLS12, refused),
        (&rustls::version::TLS13, answered),
    ] {
        let config = Arc::new(authority.client_config_of(&[version], &["dot"], None));
        let mut tls = connect(address, &config).expect("a session");
        for (rtype, expected) in [
            (Type::SOA, answered),
            (Type::AXFR, transfer),
            (Type::IXFR, transfer),
            (Type::SOA, answered),
        ] {
            let mut query = Message::new(7, MessageType::Query, OpCode::Query);
            let name: Name = "example.org.".parse().expect("a name");
            query.add_query(Query::query(name.clone(), RecordType::from(rtype.0)));
            if rtype == Type::IXFR {
                let soa = SOA::new(name.clone(), name.clone(), 7, 1, 1, 1, 1);
                query.add_authority(Record::from_rdata(name, 0, RData::SOA(soa)));
            }
            let query = query.to_vec().expect("a query");
            write_message(&mut tls, &query).expect("sent");
            let reply = read_message(&mut tls).expect("a response");
            assert_eq!(reply[3] & 0xF, expected, "{rtype} by {:?}", version.version);
            assert_eq!(reply[7] > 0, expected == answered, "{rtype}: {reply:?}");
        }
    }
}

/// RFC 9250, section 4.2: all messages of a transfer come on one stream.
#[test]
fn a_zone_of_many_messages_leaves_over_quic() {
    let (authority, dir) = certified("xfr-quic");
    let many: String = (0..10_000)
        .map(|host| format!("host-{host} IN A 192.0.2.7\n"))
        .collect();
    replace(&dir.join("db"), &(zone(7) + &many));
    let theirs = free_port();
    let server = Server::start_in(
        &dir,
        &format!(
            "quic://example.org:{theirs} example.org:{{PORT}} {{\n  bind 127.0.0.1\n  tls server.pem server.key\n  file db\n  transfer {{\n    to *\n  }}\n}}\n"
        ),
    );
    let mut query = Message::new(0, MessageType::Query, OpCode::Query);
    let name: Name = "example.org.".parse().expect("a name");
    query.add_query(Query::query(name, RecordType::AXFR));
    let query = query.to_vec().expect("a query");
    // Not by kdig: before 3.3 it loses a message where one datagram, late, completes two.
    let address = SocketAddr::from(([127, 0, 0, 1], theirs));
    let messages = quic::messages(&authority, address, &query);
    assert!(messages.len() > 1, "{}", messages.len());
    assert!(messages.iter().all(|message| message[..2] == [0, 0]));
    let found: Vec<String> = messages
        .iter()
        .flat_map(|message| answers(message))
        .collect();
    assert_eq!(found.len(), 10_016);
    let soa = found.first().filter(|first| first.contains(" SOA "));
    assert!(soa.is_some() && soa == found.last(), "{soa:?}");
    let mut tcp = TcpStream::connect(server.address()).expect("a connection");
    let timeout = tcp.set_read_timeout(Some(Duration::from_secs(5)));
    timeout.expect("a timeout");
    write_message(&mut tcp, &query).expect("sent");
    let mut whole = Vec::new();
    while whole.len() < found.len() {
        whole.extend(answers(&read_message(&mut tcp).expect("a message")));
    }
    assert!(found == whole, "the zone is another one over TCP");
}

/// The records that a message answers with, and their TTLs, which equality leaves out.
fn answers(message: &[u8]) -> Vec<String> {
    let message = Message::from_vec(message).expect("a message");
    message.answers.iter().map(Record::to_string).collect()
}

#[test]
fn bind_is_a_primary_over_tls() {
    let (_authority, dir) = certified("xot-bind-primary");
    let (theirs, plain, ours) = (free_port(), free_port(), free_port());
    replace(&dir.join("db"), &zone(7));
    let configuration = named_options(&dir, plain).replace(
        "listen-on-v6",
        &format!("listen-on port {theirs} tls ours {{ 127.0.0.1; }}; listen-on-v6"),
    ) + "tls ours { cert-file \"server.pem\"; key-file \"server.key\"; };\n\
         zone \"example.org\" { type primary; file \"db\"; allow-transfer transport tls { any; }; };\n";
    let Some(_named) = Peer::named(&dir, &configuration) else {
        return;
    };
    let here = temporary_directory("xot-of-bind");
    let ca = dir.join("ca.pem");
    // The name of the certificate stands with the address here.
    let server = secondary(
        &here,
        ours,
        &format!("tls://127.0.0.1:{theirs}%{NAME}"),
        &format!("tls {}", ca.display()),
    );
    let address = SocketAddr::from(([127, 0, 0, 1], ours));
    wait_for_serial(address, 7);
    drop(server);
}

/// A server of TLS that ends each connection after the handshake.
fn shakes_hands(authority: &Authority, newest: bool, alpn: &[&str]) -> u16 {
    let pair = authority.server(365);
    let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let version = match newest {
        true => &rustls::version::TLS13,
        false => &rustls::version::TLS12,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut session = ServerConnection::new(config.clone()).expect("a session");
            let _ = session.complete_io(&mut stream);
        }
    });
    port
}

/// No way around TLS: an older version, another protocol, another name, another authority and a server without TLS are no primaries.
#[test]
fn there_is_no_fallback() {
    let (authority, dir) = certified("xot-strict");
    let other = Authority::new("xot-other");
    replace(&dir.join("other.pem"), &other.pem);
    replace(&dir.join("db"), &zone(7));
    let (plain, ours) = (free_port(), free_port());
    let clear = Server::start_in(
        &dir,
        &format!(
            "example.org:{plain} {{\n  bind 127.0.0.1\n  file db\n  transfer {{\n    to *\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
        ),
    );
    let good = shakes_hands(&authority, true, &["dot"]);
    let older = shakes_hands(&authority, false, &["dot"]);
    let silent = shakes_hands(&authority, true, &[]);
    let address = SocketAddr::from(([127, 0, 0, 1], ours));
    for (port, ca, name, why) in [
        (older, "ca.pem", NAME, "tls: "),
        (silent, "ca.pem", NAME, "it does not agree to speak DNS"),
        (
            good,
            "ca.pem",
            "other.example.org",
            "tls: the server's certificate is for another name: give its name with `tls_servername` (invalid peer certificate",
        ),
        (
            good,
            "other.pem",
            NAME,
            "tls: the server's certificate is not signed by a trusted authority: name the authority's file after `tls` (",
        ),
        (
            plain,
            "ca.pem",
            NAME,
            "tls: the server does not support this protocol over TLS: check its address and port (",
        ),
    ] {
        let here = temporary_directory("xot-strict-secondary");
        let server = secondary(
            &here,
            ours,
            &format!("tls://127.0.0.1:{port}"),
            &format!("tls {}\n    tls_servername {name}", dir.join(ca).display()),
        );
        server.wait_for_log("Failed to transfer zone example.org.: tls://127.0.0.1");
        assert!(server.log().contains(why), "{why}: {}", server.log());
        assert_eq!(serial(address), None);
    }
    drop(clear);
}
