//! `kubernetes` on a machine outside of its clusters, and the plugins that look into a cluster through it: end to end, over TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cluster::{Kind, Server as Api};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use serde_json::{Value, json};

use crate::server::{Server, ask_udp, temporary_directory, wait_until};

/// The RCODE and the records, in short.
fn ask(server: &Server, name: &str, qtype: RecordType) -> String {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), qtype));
    let octets = message.to_vec().expect("a query");
    let Some(reply) = ask_udp(server.address(), &octets, Duration::from_secs(7)) else {
        return "nothing".to_owned();
    };
    let reply = Message::from_vec(&reply).expect("a message");
    let list = |records: &[hickory_proto::rr::Record]| {
        let mut list: Vec<String> = records
            .iter()
            .map(|record| format!("{} {} {}", record.name, record.record_type(), record.data))
            .collect();
        list.sort();
        list.join(", ")
    };
    let mut out = format!(
        "{} {}",
        reply.metadata.response_code.low(),
        list(&reply.answers)
    );
    let additional = list(&reply.additionals);
    if !additional.is_empty() {
        out += &format!(" | {additional}");
    }
    out.trim_end().to_owned()
}

/// Asks `NAME TYPE` of a table.
fn table(server: &Server, rows: &[(&str, &str)]) {
    for (asked, told) in rows {
        let (name, qtype) = asked.split_once(' ').expect("a name and a type");
        let qtype = qtype.parse().expect("a type");
        assert_eq!(ask(server, name, qtype), *told, "{asked}");
    }
}

fn service(namespace: &str, name: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}})
}

fn api(ip: &str, tokens: &[&str], certificates: bool) -> Api {
    let api = Api::start();
    api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    api.apply(service("shop", "web", ip));
    let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
    api.set(|settings| {
        settings.tokens = tokens;
        settings.certificates = certificates;
    });
    api
}

/// A kubeconfig of two contexts, `wrong` being the current one.
fn kubeconfig(folder: &Path, api: &Api, user: &str) {
    let url = api.url();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: wrong\n\
         clusters:\n- name: right\n  cluster: {{server: \"{url}\", certificate-authority: ca.crt}}\n\
         - name: wrong\n  cluster: {{server: \"https://192.0.2.1\"}}\n\
         users:\n- name: dns\n  user: {user}\n\
         contexts:\n- name: right\n  context: {{cluster: right, user: dns}}\n- name: wrong\n  context: {{cluster: wrong, user: dns}}\n"
    );
    fs::write(folder.join("config"), text).expect("a file");
}

/// Four clusters, known by four kinds of credentials, in one block; each keeps answering when another is gone.
#[test]
fn clusters_in_one_block_by_each_kind_of_credential() {
    let dir = temporary_directory("clusters-outside");
    let folder = |name: &str| {
        let folder = dir.join(name);
        fs::create_dir_all(&folder).expect("a directory");
        folder
    };
    let (one, two) = (folder("one"), folder("two"));
    let (three, four) = (folder("three"), folder("four"));
    let by_certificate = api("192.0.2.1", &["none"], true);
    by_certificate.client_files(&one);
    kubeconfig(
        &one,
        &by_certificate,
        "{client-certificate: client.crt, client-key: client.key}",
    );
    let by_endpoint = api("192.0.2.2", &["none"], true);
    by_endpoint.client_files(&two);
    let by_token = api("192.0.2.3", &["secret"], false);
    by_token.account(&three, "secret");
    kubeconfig(&three, &by_token, "{token: secret}");
    let by_program = api("192.0.2.4", &["said"], false);
    by_program.account(&four, "none");
    let program = four.join("credentials");
    let said = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "said"}});
    fs::write(&program, format!("#!/bin/sh\necho '{said}'\n")).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
    let exec = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "command": program}});
    kubeconfig(&four, &by_program, &exec.to_string());

    let url = by_endpoint.url();
    let corefile = format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  errors\n  \
         kubernetes one.example in-addr.arpa {{\n    kubeconfig one/config right\n    fallthrough in-addr.arpa\n  }}\n  \
         kubernetes two.example in-addr.arpa {{\n    endpoint {url}\n    tls two/client.crt two/client.key two/ca.crt\n    fallthrough in-addr.arpa\n  }}\n  \
         kubernetes three.example in-addr.arpa {{\n    kubeconfig three/config right\n    fallthrough in-addr.arpa\n  }}\n  \
         kubernetes four.example in-addr.arpa {{\n    kubeconfig four/config right\n  }}\n}}\n"
    );
    let server = Server::start_in(&dir, &corefile);
    let rows = [
        (
            "web.shop.svc.one.example. A",
            "0 web.shop.svc.one.example. A 192.0.2.1",
        ),
        (
            "web.shop.svc.two.example. A",
            "0 web.shop.svc.two.example. A 192.0.2.2",
        ),
        (
            "web.shop.svc.three.example. A",
            "0 web.shop.svc.three.example. A 192.0.2.3",
        ),
        (
            "web.shop.svc.four.example. A",
            "0 web.shop.svc.four.example. A 192.0.2.4",
        ),
        (
            "1.2.0.192.in-addr.arpa. PTR",
            "0 1.2.0.192.in-addr.arpa. PTR web.shop.svc.one.example.",
        ),
        (
            "3.2.0.192.in-addr.arpa. PTR",
            "0 3.2.0.192.in-addr.arpa. PTR web.shop.svc.three.example.",
        ),
        (
            "4.2.0.192.in-addr.arpa. PTR",
            "0 4.2.0.192.in-addr.arpa. PTR web.shop.svc.four.example.",
        ),
        ("5.2.0.192.in-addr.arpa. PTR", "3"),
    ];
    table(&server, &rows);
    by_certificate.kill();
    by_token.apply(service("shop", "later", "192.0.2.30"));
    wait_until("a change of the third", || {
        ask(&server, "later.shop.svc.three.example.", RecordType::A).ends_with("A 192.0.2.30")
    });
    table(&server, &rows);
    assert_eq!(
        ask(&server, "later.shop.svc.two.example.", RecordType::A),
        "3"
    );
}

fn pod(namespace: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "namespace": namespace},
        "status": {"phase": "Running", "podIP": ip}})
}

/// The client is a pod with the address 127.0.0.1: its namespace's search path is walked here.
#[test]
fn pods_have_their_search_path_walked() {
    let dir = temporary_directory("autopath-cluster");
    let api = api("192.0.2.1", &["secret"], false);
    api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}));
    api.apply(service("other", "far", "192.0.2.9"));
    api.apply(pod("shop", "127.0.0.1"));
    api.kubeconfig(&dir, "secret");
    let server = Server::start_in(
        &dir,
        ".:{PORT} {\n  bind 127.0.0.1\n  errors\n  autopath @kubernetes\n  hosts {\n    192.0.2.80 www.example.org\n    fallthrough cluster.local\n  }\n  \
         kubernetes cluster.local {\n    kubeconfig config\n    pods verified\n  }\n}\n",
    );
    wait_until("the lists", || {
        ask(&server, "web.shop.svc.cluster.local.", RecordType::A).starts_with('0')
    });
    // Pods are a list of their own, which may come after the services'.
    wait_until("the pod's path", || {
        ask(&server, "far.other.shop.svc.cluster.local.", RecordType::A).starts_with('0')
    });
    table(
        &server,
        &[
            // The first suffix has it: no alias.
            (
                "web.shop.svc.cluster.local. A",
                "0 web.shop.svc.cluster.local. A 192.0.2.1",
            ),
            // The second has it, and then the root.
            (
                "far.other.shop.svc.cluster.local. A",
                "0 far.other.shop.svc.cluster.local. CNAME far.other.svc.cluster.local., far.other.svc.cluster.local. A 192.0.2.9",
            ),
            (
                "www.example.org.shop.svc.cluster.local. A",
                "0 www.example.org. A 192.0.2.80, www.example.org.shop.svc.cluster.local. CNAME www.example.org.",
            ),
            // Another namespace's path, a later suffix, and what is nowhere.
            ("www.example.org.other.svc.cluster.local. A", "3"),
            ("www.example.org.svc.cluster.local. A", "3"),
            ("no.example.org.shop.svc.cluster.local. A", "3"),
        ],
    );
    // The address is another pod's now.
    api.delete(Kind::Pod, "shop", "client");
    api.apply(pod("other", "127.0.0.1"));
    let name = "www.example.org.other.svc.cluster.local.";
    wait_until("the other pod's path", || {
        ask(&server, name, RecordType::A).starts_with('0')
    });
    let before = ask(
        &server,
        "www.example.org.shop.svc.cluster.local.",
        RecordType::A,
    );
    assert_eq!(before, "3");
}

/// Services of type LoadBalancer by name for the world outside.
#[test]
fn load_balancers_have_names_outside() {
    let dir = temporary_directory("k8s-external-cluster");
    let api = api("192.0.2.1", &["secret"], false);
    let balanced = |name: &str, ingress: &Value| {
        let mut service = service("shop", name, "10.96.0.5");
        service["spec"]["type"] = json!("LoadBalancer");
        service["status"] = json!({"loadBalancer": {"ingress": ingress}});
        service
    };
    api.apply(balanced(
        "lb",
        &json!([{"ip": "203.0.113.5"}, {"ip": "2001:db8::5"}]),
    ));
    api.apply(balanced("named", &json!([{"hostname": "lb.example.org"}])));
    api.apply(balanced("pending", &json!([])));
    api.kubeconfig(&dir, "secret");
    let server = Server::start_in(
        &dir,
        ".:{PORT} {\n  bind 127.0.0.1\n  errors\n  hosts {\n    203.0.113.80 lb.example.org\n    fallthrough\n  }\n  \
         k8s_external out.example in-addr.arpa {\n    ttl 60\n  }\n  kubernetes cluster.local {\n    kubeconfig config\n  }\n}\n",
    );
    table(
        &server,
        &[
            (
                "lb.shop.out.example. A",
                "0 lb.shop.out.example. A 203.0.113.5",
            ),
            (
                "lb.shop.out.example. AAAA",
                "0 lb.shop.out.example. AAAA 2001:db8::5",
            ),
            (
                "_http._tcp.lb.shop.out.example. SRV",
                "0 _http._tcp.lb.shop.out.example. SRV 0 50 80 lb.shop.out.example. | lb.shop.out.example. A 203.0.113.5, \
                 lb.shop.out.example. AAAA 2001:db8::5",
            ),
            (
                "named.shop.out.example. A",
                "0 lb.example.org. A 203.0.113.80, named.shop.out.example. CNAME lb.example.org.",
            ),
            (
                "5.113.0.203.in-addr.arpa. PTR",
                "0 5.113.0.203.in-addr.arpa. PTR lb.shop.out.example.",
            ),
            // Not reachable from outside: not there.
            ("web.shop.out.example. A", "3"),
            ("pending.shop.out.example. A", "3"),
            ("lb.nowhere.out.example. A", "3"),
            ("shop.out.example. A", "0"),
        ],
    );
    // The cloud gives the address a while later.
    api.apply(balanced("pending", &json!([{"ip": "203.0.113.6"}])));
    wait_until("the address", || {
        ask(&server, "pending.shop.out.example.", RecordType::A).ends_with("A 203.0.113.6")
    });
}
