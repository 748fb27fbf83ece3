//! The kinds of answers that come from memory, each with the Corefile and the query that give it: what is counted by the benches and
//! by the test of allocations.

#![allow(
    unreachable_pub,
    reason = "a bench and a test both take it in as a module"
)]

use std::fmt::Write as _;
use std::future::Future as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::Thread;

use chain::{Exchange, Transport};
use server::InProcess;

/// Owners in the zone and lines in the hosts file that are asked.
const NAMES: usize = 10_000;
/// Networks of an access rule.
const NETS: usize = 2_000;

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

/// A key of example.org.
const KEY: [&str; 2] = [
    "example.org. DNSKEY 257 3 13 LvsKR4b9lTCzhAGixWelGjcLy7C/CGcyx/uf3loNSlst8HIGMSaDxRMvQyzQWYtSR/17oc4bUquWMSP5p2aZDw==\n",
    "Private-key-format: v1.3\nAlgorithm: 13\nPrivateKey: VGkbGKAv/Z1RJ/Szl94vJ8RjD6L3LQmQt6snAV9t3ro=\n",
];

const FILE: &str = "example.org {\n  file {DIR}/zone\n}\n";
const HOSTS: &str = ".:53 {\n  hosts {DIR}/hosts\n}\n";
const TEMPLATE: &str = ".:53 {\n  template IN A match.lan {\n    match ^ip-[0-9]+[.]match[.]lan[.]$\n    \
    answer \"{{ .Name }} 60 IN A 192.0.2.2\"\n  }\n  template IN A lan {\n    answer \"{{ .Name }} 60 IN A 192.0.2.1\"\n  }\n  \
    template ANY ANY blocked {\n    rcode NXDOMAIN\n    ederror 15 \"not here\"\n    \
    authority \"{{ .Zone }} 60 IN SOA ns.{{ .Zone }} hostmaster.{{ .Zone }} (1 60 60 60 60)\"\n  }\n}\n";
const LAB: &str = ".:53 {\n  lab {DIR}/labs\n  whoami\n}\n";
const CLUSTER: &str = "cluster.local in-addr.arpa {\n  kubernetes {\n    endpoint http://127.0.0.1:1\n    pods verified\n    \
    snapshot {DIR}/cluster\n  }\n}\n";
const CACHED: &str = "example.org {\n  cache\n  file {DIR}/zone\n}\n";
const RULES: &str = "example.org {\n  acl {\n    block net {NETS}\n    filter type TXT\n    allow net *\n  }\n  \
    file {DIR}/zone\n}\n";
const REWRITE: &str = ".:53 {\n  rewrite name exact other.lan host778.lan\n  rewrite name exact www.lan host777.lan\n  \
    hosts {DIR}/hosts\n}\n";
const VIEWS: &str = "example.org {\n  view inside {\n    expr incidr(client_ip(), '2001:db8::/32')\n  }\n  whoami\n}\n\
    example.org {\n  view names {\n    expr type() in ['A', 'AAAA'] && name() matches '^name[0-9]+\\\\.'\n  }\n  file {DIR}/zone\n}\n\
    example.org {\n  whoami\n}\n";
const LABELS: &str = "example.org {\n  metadata\n  file {DIR}/zone\n}\n";
const PASSING: &str = ".:53 {\n  metadata\n  cancel\n  bufsize 1232\n  prometheus localhost:0\n  errors\n  any\n  chaos\n  nsid\n  \
    acl example.org {\n    block\n  }\n  template IN A example.org {\n    answer \"{{ .Name }} 60 IN A 192.0.2.1\"\n  }\n  \
    rewrite name exact www.example.org www.example.com\n  file {DIR}/zone example.org\n  whoami\n}\n";
const TWELVE: &str = ".:53 {\n  prometheus localhost:0\n  errors\n  loadbalance\n  \
    hosts {DIR}/empty {\n    fallthrough\n  }\n  hosts {DIR}/empty {\n    fallthrough\n  }\n  hosts {DIR}/empty {\n    fallthrough\n  }\n  \
    hosts {DIR}/empty {\n    fallthrough\n  }\n  hosts {DIR}/empty {\n    fallthrough\n  }\n  hosts {DIR}/empty {\n    fallthrough\n  }\n  \
    file {DIR}/zone example.org\n  cache\n  whoami\n}\n";

const SIGNED_FILE: &str =
    "example.org {\n  dnssec {\n    key file {DIR}/key\n  }\n  file {DIR}/zone\n}\n";

/// Answers that are signed as they are given, by signatures that are known.
pub const SIGNED: [Kind; 6] = [
    kind(
        "dnssec-answer",
        SIGNED_FILE,
        "name777.example.org.",
        1,
        true,
        (0, 2, 2),
    ),
    kind(
        "dnssec-alias",
        SIGNED_FILE,
        "alias.example.org.",
        1,
        true,
        (0, 4, 2),
    ),
    kind(
        "dnssec-nodata",
        SIGNED_FILE,
        "name777.example.org.",
        28,
        true,
        (0, 0, 4),
    ),
    kind(
        "dnssec-nxdomain",
        SIGNED_FILE,
        "nope.example.org.",
        1,
        true,
        (0, 0, 4),
    ),
    kind(
        "dnssec-referral",
        SIGNED_FILE,
        "x.sub.example.org.",
        1,
        true,
        (0, 0, 3),
    ),
    kind(
        "dnssec-keys",
        SIGNED_FILE,
        "example.org.",
        48,
        true,
        (0, 2, 0),
    ),
];

/// All kinds that are counted, one row each.
pub const KINDS: [Kind; 43] = [
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
    kind(
        "chain-of-12-pass",
        PASSING,
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
        "rewrite-hosts-hit",
        REWRITE,
        "www.lan.",
        1,
        false,
        (0, 1, 0),
    ),
    kind("template", TEMPLATE, "any.lan.", 1, false, (0, 1, 0)),
    kind(
        "template-nxdomain",
        TEMPLATE,
        "ads.blocked.",
        28,
        true,
        (3, 0, 1),
    ),
    kind(
        "template-match",
        TEMPLATE,
        "ip-7.match.lan.",
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
    kind(
        "acl-zone-hit",
        RULES,
        "name777.example.org.",
        1,
        false,
        (0, 1, 1),
    ),
    kind(
        "view-zone-hit",
        VIEWS,
        "name777.example.org.",
        1,
        false,
        (0, 1, 1),
    ),
    kind(
        "metadata-wildcard",
        LABELS,
        "any.wild.example.org.",
        1,
        false,
        (0, 1, 1),
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
    let [public, private] = KEY;
    std::fs::write(dir.join("key.key"), public)?;
    std::fs::write(dir.join("key.private"), private)?;
    std::fs::write(dir.join("zone"), zone)?;
    std::fs::write(dir.join("hosts"), hosts)?;
    std::fs::write(dir.join("empty"), "")
}

/// Networks that no client here is in.
fn nets() -> String {
    (0..NETS).fold(String::new(), |mut out, i| {
        let _ = write!(out, "172.{}.{}.0/25 ", 16 + i / 256, i % 256);
        out
    })
}

/// A server for a Corefile.
pub fn load(name: &str, corefile: &str, dir: &Path) -> InProcess {
    let corefile = corefile.replace("{DIR}", &dir.display().to_string());
    let corefile = corefile.replace("{NETS}", &nets());
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
    exchange.context.received = host::clock::now();
    exchange
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Kind {
    /// The server that answers it.
    pub fn server(&self, dir: &Path) -> InProcess {
        load(self.name, self.corefile, dir)
    }

    /// Has it answered once, however long that takes: signatures are made by another thread.
    pub fn warm(&self, server: &InProcess) {
        let mut answering = pin!(server.answer_waiting(self.exchange()));
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        while answering.as_mut().poll(&mut context).is_pending() {
            std::thread::park();
        }
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
