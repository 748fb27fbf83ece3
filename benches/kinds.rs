//! The kinds of answers that come from memory, each with the Corefile and the query that give it: what is counted by the benches and
//! by the test of allocations.

#![allow(
    unreachable_pub,
    reason = "a bench and a test both take it in as a module"
)]

use std::fmt::Write as _;
use std::path::Path;

use chain::{Exchange, Transport};
use server::InProcess;

/// Owners in the zone and lines in the hosts file that are asked.
const NAMES: usize = 10_000;

/// One kind of answer.
pub struct Kind {
    /// What it is called in the record.
    pub name: &'static str,
    /// The Corefile; `{DIR}` stands for the directory with the data.
    corefile: &'static str,
    /// QNAME.
    qname: &'static str,
    /// QTYPE.
    qtype: u16,
    /// Whether the query has an OPT record with DO.
    edns: bool,
    /// RCODE and the counts of the answer and authority sections that are expected.
    pub expected: (u8, u16, u16),
}

const FILE: &str = "example.org {\n  file {DIR}/zone\n}\n";
const HOSTS: &str = ".:53 {\n  hosts {DIR}/hosts\n}\n";
const LAB: &str = ".:53 {\n  lab {DIR}/labs\n  whoami\n}\n";
const CLUSTER: &str = "cluster.local in-addr.arpa {\n  kubernetes {\n    endpoint http://127.0.0.1:1\n    pods verified\n    \
    snapshot {DIR}/cluster\n  }\n}\n";
const CACHED: &str = "example.org {\n  cache\n  file {DIR}/zone\n}\n";
const TWELVE: &str = ".:53 {\n  prometheus localhost:0\n  errors\n  loadbalance\n  \
    hosts {DIR}/empty {\n    fallthrough\n  }\n  hosts {DIR}/empty {\n    fallthrough\n  }\n  hosts {DIR}/empty {\n    fallthrough\n  }\n  \
    hosts {DIR}/empty {\n    fallthrough\n  }\n  hosts {DIR}/empty {\n    fallthrough\n  }\n  hosts {DIR}/empty {\n    fallthrough\n  }\n  \
    file {DIR}/zone example.org\n  cache\n  whoami\n}\n";

/// All kinds, one row each.
pub const KINDS: [Kind; 35] = [
    kind(
        "refused-no-block",
        FILE,
        "www.example.net.",
        1,
        false,
        (5, 0, 0),
    ),
    kind(
        "whoami",
        ".:53 {\n  whoami\n}\n",
        "www.example.net.",
        1,
        false,
        (0, 0, 0),
    ),
    kind(
        "chain-of-12",
        TWELVE,
        "www.example.net.",
        1,
        false,
        (0, 0, 0),
    ),
    kind("hosts-hit", HOSTS, "host777.lan.", 1, false, (0, 1, 0)),
    kind("hosts-hit-edns", HOSTS, "host777.lan.", 1, true, (0, 1, 0)),
    kind("hosts-nodata", HOSTS, "host777.lan.", 28, false, (0, 0, 0)),
    kind(
        "hosts-ptr",
        HOSTS,
        "9.3.0.10.in-addr.arpa.",
        12,
        false,
        (0, 1, 0),
    ),
    kind(
        "hosts-wildcard",
        HOSTS,
        "any.wild.lan.",
        1,
        false,
        (0, 1, 0),
    ),
    kind(
        "zone-hit",
        FILE,
        "name777.example.org.",
        1,
        false,
        (0, 1, 1),
    ),
    kind(
        "zone-hit-edns",
        FILE,
        "name777.example.org.",
        1,
        true,
        (0, 1, 1),
    ),
    kind(
        "zone-nxdomain",
        FILE,
        "nothing.example.org.",
        1,
        false,
        (3, 0, 1),
    ),
    kind(
        "zone-nodata",
        FILE,
        "name777.example.org.",
        16,
        false,
        (0, 0, 1),
    ),
    kind(
        "zone-wildcard",
        FILE,
        "any.wild.example.org.",
        1,
        false,
        (0, 1, 1),
    ),
    kind(
        "zone-referral",
        FILE,
        "host.sub.example.org.",
        1,
        false,
        (0, 0, 1),
    ),
    kind(
        "zone-cname",
        FILE,
        "alias.example.org.",
        1,
        false,
        (0, 2, 1),
    ),
    kind(
        "zone-mx-additional",
        FILE,
        "example.org.",
        15,
        false,
        (0, 1, 1),
    ),
    kind(
        "cache-hit",
        CACHED,
        "name777.example.org.",
        1,
        false,
        (0, 1, 1),
    ),
    kind(
        "cache-hit-nxdomain",
        CACHED,
        "nothing.example.org.",
        1,
        true,
        (3, 0, 1),
    ),
    kind("lab-hit", LAB, "host777.lab.test.", 1, false, (0, 1, 0)),
    kind("lab-nodata", LAB, "host777.lab.test.", 28, false, (0, 0, 1)),
    kind("lab-nxdomain", LAB, "nobody.lab.test.", 1, true, (3, 0, 1)),
    kind("lab-view", LAB, "router.lab.test.", 1, false, (0, 1, 0)),
    kind("lab-alias", LAB, "www.lab.test.", 1, false, (0, 2, 0)),
    kind(
        "lab-ptr",
        LAB,
        "9.3.0.10.in-addr.arpa.",
        12,
        false,
        (0, 1, 0),
    ),
    kind("lab-short", LAB, "host777.", 1, false, (0, 2, 0)),
    kind("lab-other", LAB, "www.example.net.", 1, false, (0, 0, 0)),
    kind(
        "k8s-service",
        CLUSTER,
        "name777.ns.svc.cluster.local.",
        1,
        false,
        (0, 1, 0),
    ),
    kind(
        "k8s-service-edns",
        CLUSTER,
        "name777.ns.svc.cluster.local.",
        1,
        true,
        (0, 1, 0),
    ),
    kind(
        "k8s-headless",
        CLUSTER,
        "heads.ns.svc.cluster.local.",
        1,
        false,
        (0, 10, 0),
    ),
    kind(
        "k8s-srv",
        CLUSTER,
        "_http._tcp.name777.ns.svc.cluster.local.",
        33,
        false,
        (0, 1, 0),
    ),
    kind(
        "k8s-srv-headless",
        CLUSTER,
        "_http._tcp.heads.ns.svc.cluster.local.",
        33,
        true,
        (0, 10, 0),
    ),
    kind(
        "k8s-endpoint",
        CLUSTER,
        "10-9-0-3.heads.ns.svc.cluster.local.",
        1,
        false,
        (0, 1, 0),
    ),
    kind(
        "k8s-ptr",
        CLUSTER,
        "9.3.96.10.in-addr.arpa.",
        12,
        false,
        (0, 1, 0),
    ),
    kind(
        "k8s-nxdomain",
        CLUSTER,
        "nothing.ns.svc.cluster.local.",
        1,
        false,
        (3, 0, 1),
    ),
    kind(
        "k8s-pod",
        CLUSTER,
        "10-9-0-3.ns.pod.cluster.local.",
        1,
        false,
        (0, 1, 0),
    ),
];

const fn kind(
    name: &'static str,
    corefile: &'static str,
    qname: &'static str,
    qtype: u16,
    edns: bool,
    expected: (u8, u16, u16),
) -> Kind {
    Kind {
        name,
        corefile,
        qname,
        qtype,
        edns,
        expected,
    }
}

/// Writes the data that the kinds ask for.
pub fn write_data(dir: &Path) -> std::io::Result<()> {
    let mut zone = String::from(
        "$ORIGIN example.org.\n$TTL 3600\n@ SOA ns1 hostmaster 1 7200 1800 1209600 300\n@ NS ns1\n@ MX 10 mail\nns1 A 192.0.2.53\n\
         mail A 192.0.2.25\n*.wild A 192.0.2.10\nalias CNAME name1\nsub NS ns.sub\nns.sub A 192.0.2.61\n",
    );
    let mut hosts = String::from("10.9.9.9 *.wild.lan\n");
    let mut cluster = String::from(
        "nameplate kubernetes snapshot 2\nnamespaces\t{\"metadata\":{\"name\":\"ns\"}}\n\
         services\t{\"metadata\":{\"name\":\"heads\",\"namespace\":\"ns\"},\"spec\":{\"clusterIP\":\"None\"}}\n",
    );
    let endpoints: Vec<String> = (0..10)
        .map(|i| format!("{{\"addresses\":[\"10.9.0.{i}\"]}}"))
        .collect();
    let _ = writeln!(
        cluster,
        "endpointslices\t{{\"metadata\":{{\"name\":\"heads\",\"namespace\":\"ns\",\"labels\":{{\"kubernetes.io/service-name\":\"heads\"}}}},\
         \"endpoints\":[{}],\"ports\":[{{\"name\":\"http\",\"port\":80,\"protocol\":\"TCP\"}}]}}\n\
         pods\t{{\"metadata\":{{\"name\":\"p\",\"namespace\":\"ns\"}},\"status\":{{\"podIP\":\"10.9.0.3\"}}}}",
        endpoints.join(",")
    );
    for i in 0..NAMES {
        let (high, low) = (i / 256, i % 256);
        let _ = writeln!(zone, "name{i} A 10.0.{high}.{low}");
        let _ = writeln!(hosts, "10.0.{high}.{low} host{i}.lan");
        let _ = writeln!(
            cluster,
            "services\t{{\"metadata\":{{\"name\":\"name{i}\",\"namespace\":\"ns\"}},\"spec\":{{\"clusterIP\":\"10.96.{high}.{low}\",\
             \"ports\":[{{\"name\":\"http\",\"port\":80,\"protocol\":\"TCP\"}}]}}}}"
        );
    }
    let mut names = String::from(
        r#"{"v": 1, "generation": 1, "domain": "lab.test", "ttl": 5, "reverse": ["10.0.0.0/16"],
        "nets": [{"name": "near", "subnets": ["10.0.0.0/16"]}, {"name": "far", "subnets": ["10.1.0.0/16"]}],
        "hosts": [{"name": "router", "aliases": ["www"], "addresses": [
            {"net": "near", "address": "10.0.200.1"}, {"net": "far", "address": "10.1.0.1"}]}"#,
    );
    for i in 0..1_000 {
        let _ = write!(
            names,
            r#", {{"name": "host{i}", "addresses": [{{"net": "near", "address": "10.0.{}.{}"}}]}}"#,
            i / 256,
            i % 256
        );
    }
    names.push_str("]}");
    std::fs::create_dir_all(dir.join("labs/lab"))?;
    std::fs::write(dir.join("labs/lab/names.json"), names)?;
    let sum = cluster
        .split_once('\n')
        .map_or("", |(_, lines)| lines)
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |sum, octet| {
            (sum ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01B3)
        });
    let _ = writeln!(cluster, "end\t{}\t{sum:016x}", NAMES + 4);
    std::fs::write(dir.join("cluster"), cluster)?;
    std::fs::write(dir.join("zone"), zone)?;
    std::fs::write(dir.join("hosts"), hosts)?;
    std::fs::write(dir.join("empty"), "")
}

/// A server for a Corefile.
pub fn load(name: &str, corefile: &str, dir: &Path) -> InProcess {
    let corefile = corefile.replace("{DIR}", &dir.display().to_string());
    InProcess::load(&corefile, plugins::ORDER).unwrap_or_else(|error| panic!("{name}:\n{error}"))
}

/// A query, received.
pub fn received(qname: &str, qtype: u16, edns: bool) -> Box<Exchange> {
    let name: wire::NameBuf = qname
        .parse()
        .unwrap_or_else(|error| panic!("{qname}: {error}"));
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    query.extend_from_slice(name.as_name().octets());
    query.extend_from_slice(&qtype.to_be_bytes());
    query.extend_from_slice(&[0, 1]);
    if edns {
        query.extend_from_slice(&[0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0]);
    }
    let mut exchange = Exchange::datagram();
    exchange.receive_buffer(query.len())[..query.len()].copy_from_slice(&query);
    exchange.set_received(query.len());
    exchange.context.transport = Transport::Udp;
    // A host of the lab.
    exchange.context.peer = ([10, 0, 200, 1], 4_711).into();
    exchange.context.received = chain::clock::now();
    exchange
}

impl Kind {
    /// The server that answers it.
    pub fn server(&self, dir: &Path) -> InProcess {
        load(self.name, self.corefile, dir)
    }

    /// The query, received.
    pub fn exchange(&self) -> Box<Exchange> {
        received(self.qname, self.qtype, self.edns)
    }

    /// Checks that the response is of this kind.
    pub fn check(&self, reply: &[u8]) {
        let (rcode, answers, authorities) = self.expected;
        assert!(reply.len() >= 12, "{}: no response", self.name);
        let word = |at: usize| u16::from_be_bytes([reply[at], reply[at + 1]]);
        assert_eq!(
            (reply[3] & 0xF, word(6), word(8)),
            (rcode, answers, authorities),
            "{}: RCODE, ANCOUNT, NSCOUNT",
            self.name
        );
    }
}
