//! A zone's way through five servers: BIND → nameplate → NSD → Knot → PowerDNS. Each has the zone from the one before, is told of changes
//! by NOTIFY, and has the very same records in the end, also when nameplate is killed on the way.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::{Peer, replace, serial, transferred};
use crate::server::{Server, dig, free_port, temporary_directory};

/// How many edits are made. `RING_EDITS` says another number, for a run by hand.
const EDITS: u32 = 6;
/// How long the last edit may take to the last server: PowerDNS looks for NOTIFY once a second, and others are slower on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The servers, in the order in which the zone goes through them.
struct Ring {
    ports: [u16; 5],
    dir: PathBuf,
    peers: Vec<Peer>,
}

impl Ring {
    fn address(&self, place: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[place]))
    }

    fn folder(dir: &Path, name: &str) -> PathBuf {
        let folder = dir.join(name);
        std::fs::create_dir_all(&folder).expect("a directory");
        folder
    }

    /// Starts all but nameplate; `None` where one is not installed.
    fn start(test: &str) -> Option<Self> {
        let dir = temporary_directory(test);
        let ports = [(); 5].map(|()| free_port());
        let [bind, ours, nsd, knot, powerdns] = ports;
        let mut peers = Vec::new();
        let here = Self::folder(&dir, "bind");
        replace(&here.join("db"), &version(1));
        let options = crate::peers::named_options(&here, bind);
        peers.push(Peer::named(
            &here,
            &format!(
                "{options}zone \"example.org\" {{ type primary; file \"db\"; ixfr-from-differences yes; allow-transfer {{ any; }}; also-notify port {ours} {{ 127.0.0.1; }}; }};\n"
            ),
        )?);
        let here = Self::folder(&dir, "nsd");
        let path = here.display();
        peers.push(Peer::nsd(
            &here,
            &format!(
                "server:\n  ip-address: 127.0.0.1@{nsd}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{path}\"\n  database: \"\"\n  pidfile: \"{path}/pid\"\n  xfrdfile: \"{path}/xfrd.state\"\n  zonelistfile: \"{path}/zone.list\"\n  xfrdir: \"{path}\"\n  cookie-secret-file: \"{path}/cookies\"\n  server-count: 1\n  xfrd-reload-timeout: 0\n  verbosity: 2\n\
                 remote-control:\n  control-enable: no\n\
                 zone:\n  name: example.org\n  zonefile: copy\n  allow-notify: 127.0.0.1 NOKEY\n  request-xfr: 127.0.0.1@{ours} NOKEY\n  notify: 127.0.0.1@{knot} NOKEY\n  provide-xfr: 127.0.0.1 NOKEY\n  store-ixfr: yes\n  min-retry-time: 1\n  max-retry-time: 1\n"
            ),
        )?);
        let here = Self::folder(&dir, "knot");
        let path = here.display();
        peers.push(Peer::knot(
            &here,
            &format!(
                "server:\n    rundir: {path}\n    listen: 127.0.0.1@{knot}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
                 log:\n  - target: stderr\n    any: info\ndatabase:\n    storage: {path}/data\n\
                 remote:\n  - id: nsd\n    address: 127.0.0.1@{nsd}\n  - id: powerdns\n    address: 127.0.0.1@{powerdns}\n\
                 acl:\n  - id: all\n    address: 127.0.0.1\n    action: [notify, transfer]\n\
                 zone:\n  - domain: example.org\n    storage: {path}\n    file: copy\n    master: nsd\n    notify: powerdns\n    acl: all\n    retry-max-interval: 1\n"
            ),
        )?);
        let here = Self::folder(&dir, "powerdns");
        let path = here.display();
        std::fs::write(
            here.join("named.conf"),
            format!("zone \"example.org\" {{ type slave; file \"{path}/copy\"; masters {{ 127.0.0.1:{knot}; }}; }};\n"),
        )
        .expect("written");
        peers.push(Peer::powerdns(
            &here,
            &format!(
                "launch=bind\nbind-config={path}/named.conf\nsecondary=yes\nlocal-address=127.0.0.1\nlocal-port={powerdns}\nsocket-dir={path}\nxfr-cycle-interval=1\nallow-axfr-ips=127.0.0.0/8\nguardian=no\ndaemon=no\nreceiver-threads=1\nretrieval-threads=1\nzone-cache-refresh-interval=0\ncache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\n"
            ),
        )?);
        Some(Self { ports, dir, peers })
    }

    /// Starts nameplate, which keeps the zone.
    fn nameplate(&self) -> Server {
        let [bind, ours, nsd, ..] = self.ports;
        let here = Self::folder(&self.dir, "nameplate");
        Server::start_in(
            &here,
            &format!(
                "example.org:{ours} {{\n  bind 127.0.0.1\n  secondary {{\n    transfer from 127.0.0.1:{bind}\n    file copy\n  }}\n  transfer {{\n    to 127.0.0.1:{nsd}\n  }}\n}}\n.:{{PORT}} {{\n  bind 127.0.0.1\n}}\n"
            ),
        )
    }

    /// Makes an edit, and waits until BIND has it.
    fn edit(&self, number: u32) {
        replace(&self.dir.join("bind/db"), &version(number));
        self.peers[0].reload();
        self.arrive(0, number);
    }

    /// Waits until a server has a version.
    fn arrive(&self, place: usize, number: u32) {
        let end = Instant::now() + PATIENCE;
        while serial(self.address(place)) != Some(number.to_string()) {
            let now = self
                .ports
                .map(|port| serial(SocketAddr::from(([127, 0, 0, 1], port))));
            assert!(Instant::now() < end, "{place} has not {number}: {now:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The records that a server has, whose names some write in lower case.
    fn records(&self, place: usize) -> Vec<String> {
        let mut lines = transferred(self.address(place), &[]).unwrap_or_default();
        lines
            .iter_mut()
            .for_each(|line| line.make_ascii_lowercase());
        lines.sort();
        lines
    }
}

/// A version of the zone: some records come, some go and some change with each.
fn version(number: u32) -> String {
    let mut text = format!(
        "$TTL 300\n@ IN SOA ns1 hostmaster {number} 1 1 600 60\n@ IN NS ns1\n@ IN MX 10 mail\nns1 IN A 192.0.2.53\n\
         serial IN TXT \"{number}\"\n*.wild IN CNAME mail\nmail {} IN A 192.0.2.25\n",
        300 + number % 3
    );
    for host in 0..200 {
        if !(host + number).is_multiple_of(7) {
            writeln!(
                text,
                "host-{host} IN A 192.0.2.{}",
                (host * 3 + number / 5) % 250
            )
            .expect("written");
        }
    }
    text
}

#[test]
fn a_zone_goes_through_five_servers_and_stays_the_same() {
    let edits = std::env::var("RING_EDITS")
        .ok()
        .and_then(|text| text.parse().ok());
    let last = 1 + edits.unwrap_or(EDITS);
    let Some(ring) = Ring::start("ring") else {
        return;
    };
    let mut server = ring.nameplate();
    if dig(ring.address(1), &["example.org", "SOA"]).is_none() {
        return;
    }
    ring.arrive(4, 1);
    for number in 2..=last {
        ring.edit(number);
        if number % 4 == 0 {
            // Killed while this edit is on its way; it goes on with what is on disk.
            thread::sleep(Duration::from_millis(u64::from(number * 13 % 97)));
            drop(server);
            server = ring.nameplate();
        }
    }
    for place in 1..5 {
        ring.arrive(place, last);
    }
    let origin = ring.records(0);
    assert!(origin.len() > 170, "{origin:#?}");
    for place in 1..5 {
        assert_eq!(ring.records(place), origin, "{place}");
    }
    server.wait_for_log(&format!("{last} SOA serial"));
}
