//! The manifests of `deploy/`: each is read, its parts fit together, its Corefile is accepted, and its rights are those that are used.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use cluster::Server as Api;
use serde_json::{Value, json};

use crate::readmes::check;
use crate::server::{Server, skip, temporary_directory, tool, wait_until};

/// The manifests.
const MANIFESTS: [&str; 2] = ["coredns.yaml", "node-local.yaml"];

/// The objects of a manifest.
fn objects(manifest: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(manifest);
    let text = std::fs::read_to_string(path).expect("the manifest is there");
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{manifest}: {error}"))
}

/// The object of this kind and name.
fn object(manifest: &str, kind: &str, name: &str) -> Value {
    objects(manifest)
        .into_iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("{manifest}: no {kind} {name}"))
}

/// The Corefile of a ConfigMap.
fn corefile(manifest: &str, name: &str) -> String {
    let map = object(manifest, "ConfigMap", name);
    map["data"]["Corefile"].as_str().expect("a text").to_owned()
}

#[test]
fn every_manifest_is_here_and_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    found.sort();
    assert_eq!(found, MANIFESTS);
    for manifest in MANIFESTS {
        for object in objects(manifest) {
            let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
            assert!(
                text(&object["apiVersion"]) && text(&object["kind"]),
                "{object}"
            );
            assert!(text(&object["metadata"]["name"]), "{object}");
            let wide = ["ClusterRole", "ClusterRoleBinding"]
                .contains(&object["kind"].as_str().unwrap_or_default());
            let expected = if wide {
                Value::Null
            } else {
                json!("kube-system")
            };
            assert_eq!(object["metadata"]["namespace"], expected, "{object}");
        }
    }
}

/// An empty image has no dynamic loader: a binary that `deploy/dist` did not link is refused, with the way to one that it did.
#[test]
fn the_image_takes_no_binary_with_shared_libraries() {
    if tool("python3").is_none() || tool("readelf").is_none() {
        return;
    }
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/image");
    let out = temporary_directory("image").join("image.tar");
    let made = Command::new(image)
        .arg("--out")
        .args([&out, Path::new(env!("CARGO_BIN_EXE_nameplate"))])
        .output()
        .expect("python3 runs");
    let wrong = String::from_utf8_lossy(&made.stderr);
    assert!(!made.status.success() && !out.exists(), "{wrong}");
    assert!(
        wrong.contains("wants shared libraries") && wrong.contains("deploy/dist"),
        "{wrong}"
    );
}

/// What the addon has, and clusters rely on.
#[test]
fn the_deployment_is_the_addons() {
    let deployment = object("coredns.yaml", "Deployment", "coredns");
    let spec = &deployment["spec"];
    assert_eq!(spec["replicas"], 2);
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 1);
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["dnsPolicy"], "Default");
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    assert_eq!(pod["volumes"][0]["configMap"]["name"], "coredns");
    let container = &pod["containers"][0];
    assert_eq!(container["command"], Value::Null, "the image's program");
    assert_eq!(container["args"], json!(["-conf", "/etc/coredns/Corefile"]));
    assert_eq!(container["resources"]["limits"]["memory"], "170Mi");
    assert_eq!(
        container["securityContext"],
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            "readOnlyRootFilesystem": true, "runAsNonRoot": true})
    );
    assert_eq!(
        container["volumeMounts"],
        json!([{"name": "config", "mountPath": "/etc/coredns", "readOnly": true}])
    );
    // The probes ask where the Corefile's plugins listen.
    let ports = container["ports"].as_array().expect("ports");
    for (probe, path, port) in [
        ("livenessProbe", "/health", 8080),
        ("readinessProbe", "/ready", 8181),
    ] {
        let get = &container[probe]["httpGet"];
        let named = ports.iter().find(|known| known["name"] == get["port"]);
        assert_eq!(
            (&get["path"], named.map(|port| &port["containerPort"])),
            (&json!(path), Some(&json!(port)))
        );
    }
    let labels = &spec["template"]["metadata"]["labels"];
    assert_eq!(spec["selector"]["matchLabels"], *labels);
    let service = object("coredns.yaml", "Service", "kube-dns");
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.10");
    assert_eq!(service["spec"]["selector"], *labels);
    let offered: Vec<_> = service["spec"]["ports"]
        .as_array()
        .expect("ports")
        .iter()
        .map(|port| (&port["port"], &port["protocol"]))
        .collect();
    assert_eq!(
        json!(offered),
        json!([[53, "UDP"], [53, "TCP"], [9153, "TCP"]])
    );
    let budget = object("coredns.yaml", "PodDisruptionBudget", "coredns");
    assert_eq!(budget["spec"]["selector"]["matchLabels"], *labels);
    let binding = object("coredns.yaml", "ClusterRoleBinding", "system:coredns");
    assert_eq!(binding["roleRef"]["name"], "system:coredns");
    assert_eq!(binding["subjects"][0]["name"], pod["serviceAccountName"]);
    object("coredns.yaml", "ServiceAccount", "coredns");
}

#[test]
fn the_node_local_cache_fits_together() {
    let corefile = corefile("node-local.yaml", "node-local-dns");
    let upstream = object("node-local.yaml", "Service", "kube-dns-upstream");
    let address = upstream["spec"]["clusterIP"].as_str().expect("an address");
    assert_eq!(
        corefile.matches(&format!("forward . {address} {{")).count(),
        2
    );
    let cluster = object("coredns.yaml", "Deployment", "coredns");
    assert_eq!(
        upstream["spec"]["selector"],
        cluster["spec"]["template"]["metadata"]["labels"]
    );
    let pod =
        object("node-local.yaml", "DaemonSet", "node-local-dns")["spec"]["template"]["spec"].take();
    assert_eq!(
        (&pod["hostNetwork"], &pod["dnsPolicy"]),
        (&json!(true), &json!("Default"))
    );
    let container = &pod["containers"][0];
    let host = container["livenessProbe"]["httpGet"]["host"]
        .as_str()
        .expect("an address");
    assert_eq!(corefile.matches(&format!("bind {host}\n")).count(), 3);
    assert!(
        corefile.contains(&format!("health {host}:8080\n")),
        "{corefile}"
    );
    assert!(
        pod["initContainers"][0]["command"]
            .to_string()
            .contains(&format!("{host}/32"))
    );
    assert_eq!(container["args"], json!(["-conf", "/etc/coredns/Corefile"]));
    assert_eq!(pod["volumes"][0]["configMap"]["name"], "node-local-dns");
    object(
        "node-local.yaml",
        "ServiceAccount",
        pod["serviceAccountName"].as_str().expect("a name"),
    );
}

/// The cache as its pod runs it: the init container's command makes the interface, the ConfigMap's Corefile is served on port 53 of a
/// network namespace, and the cluster's DNS behind it is asked over TCP alone.
#[test]
fn the_node_local_cache_serves_its_address() {
    for program in ["unshare", "ip", "mount", "dig", "curl"] {
        if tool(program).is_none() {
            return;
        }
    }
    let dir = temporary_directory("node-local");
    let pod =
        object("node-local.yaml", "DaemonSet", "node-local-dns")["spec"]["template"]["spec"].take();
    let command = &pod["initContainers"][0]["command"];
    assert_eq!((&command[0], &command[1]), (&json!("sh"), &json!("-c")));
    let upstream = ".:53 {\n  bind 10.96.0.11 192.0.2.53\n  log\n  hosts {\n    10.96.7.1 web.default.svc.cluster.local\n    192.0.2.10 www.example.org\n  }\n}\n";
    let script = r#"ip link set lo up && mount --bind resolv.conf /etc/resolv.conf || exit 77
sh init.sh || { echo NO DUMMY DEVICE; ip address add 169.254.20.10/32 dev lo || exit 78; }
ip address add 10.96.0.11/32 dev lo; ip address add 192.0.2.53/32 dev lo
"$0" -conf upstream.Corefile >upstream.log 2>&1 & upstream=$!
"$0" -conf Corefile >cache.log 2>&1 & cache=$!
ask() { for i in $(seq 100); do a=$(dig @169.254.20.10 +short +tries=1 +time=1 "$@") && [ -n "$a" ] && break; sleep 0.05; done; echo "$* $a"; }
ask web.default.svc.cluster.local
ask -x 10.96.7.1
ask www.example.org
curl -s http://169.254.20.10:8080/health; echo
curl -s http://127.0.0.1:9253/metrics | grep -c "^coredns_cache_entries"
kill $cache; wait $cache; echo "status $?"
kill $upstream; wait $upstream
cat upstream.log cache.log"#;
    for (file, text) in [
        (
            "Corefile",
            corefile("node-local.yaml", "node-local-dns").as_str(),
        ),
        ("upstream.Corefile", upstream),
        ("resolv.conf", "nameserver 192.0.2.53\n"),
        ("init.sh", command[2].as_str().expect("a script")),
    ] {
        std::fs::write(dir.join(file), text).expect("written");
    }
    let out = Command::new("unshare")
        .args([
            "-rnm",
            "bash",
            "-c",
            script,
            env!("CARGO_BIN_EXE_nameplate"),
        ])
        .current_dir(&dir)
        .output()
        .expect("unshare runs");
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    if out.status.code() == Some(77) || text.contains("unshare failed") {
        skip("namespaces may not be made here (unshare -rnm)");
        return;
    }
    if text.contains("NO DUMMY DEVICE") {
        // All but the device was tried, and nobody can install one: no skip that fails in CI, but not silent either.
        let why = "the interface of node-local.yaml: this kernel has no dummy devices, so lo had the address";
        let _ = writeln!(std::io::stderr(), "SKIPPED {why}");
    }
    for part in [
        "web.default.svc.cluster.local 10.96.7.1\n",
        "-x 10.96.7.1 web.default.svc.cluster.local.\n",
        "www.example.org 192.0.2.10\n",
        "\nOK\n",
        "status 0\n",
        "\"A IN web.default.svc.cluster.local. tcp ",
        "\"PTR IN 1.7.96.10.in-addr.arpa. tcp ",
        "\"A IN www.example.org. udp ",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(!text.contains("svc.cluster.local. udp"), "{text}");
}

#[test]
fn the_manifests_corefiles_are_accepted() {
    let here = |entry: &chain::setup::Entry| matches!(entry, chain::setup::Entry::Here(_));
    let cluster = plugins::ORDER
        .iter()
        .any(|entry| entry.name() == "kubernetes" && here(entry));
    for (manifest, map) in MANIFESTS.into_iter().zip(["coredns", "node-local-dns"]) {
        let text = corefile(manifest, map);
        let (head, tail) = match text.split_once("    kubernetes ") {
            // Without the plugin the rest has to be right all the same.
            Some((head, tail)) if !cluster => {
                (head, tail.split_once("    }\n").expect("the block's end").1)
            }
            _ => (&*text, ""),
        };
        check(manifest, &format!("{head}{tail}"));
    }
}

/// What is listed with everything on that needs no other right, against what the role grants, and what the addon's does.
#[test]
fn the_rights_are_those_that_are_used() {
    let role = object("coredns.yaml", "ClusterRole", "system:coredns");
    let mut granted = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        assert_eq!(rule["verbs"], json!(["list", "watch"]), "{rule}");
        for resource in rule["resources"].as_array().expect("resources") {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            granted.insert((text(&rule["apiGroups"][0]), text(resource)));
        }
    }
    let dir = temporary_directory("deploy-rights");
    let api = Api::start();
    api.kubeconfig(&dir, "secret");
    let map = corefile("coredns.yaml", "coredns");
    let map = map.replace("pods insecure", "pods verified\n kubeconfig config");
    let map = map.replace(".:53 {", ".:{PORT} {\n bind 127.0.0.1");
    // One block of the Corefile is enough: what else listens has fixed ports.
    let lines = map
        .lines()
        .filter(|line| !["ready", "prometheus :9153"].contains(&line.trim()));
    let mut text = lines.collect::<Vec<_>>().join("\n");
    text = text.replace("health {\n        lameduck 5s\n    }", "");
    assert!(!text.contains("health"), "{text}");
    let _server = Server::start_in(&dir, &text);
    let used = || -> BTreeSet<_> {
        let requests = api.counts().requests;
        requests
            .iter()
            .map(|request| {
                let path = request.split('?').next().unwrap_or_default();
                let words: Vec<&str> = path.trim_matches('/').split('/').collect();
                match words[..] {
                    ["api", _, resource] => (String::new(), resource.to_owned()),
                    ["apis", group, _, resource] => (group.to_owned(), resource.to_owned()),
                    _ => panic!("{request}"),
                }
            })
            .collect()
    };
    wait_until("all lists", || used().len() >= granted.len());
    assert_eq!(used(), granted);
    let addons = ["endpoints", "services", "pods", "namespaces"]
        .map(|resource| (String::new(), resource.to_owned()));
    let slices = ("discovery.k8s.io".to_owned(), "endpointslices".to_owned());
    let addons: BTreeSet<_> = addons.into_iter().chain([slices]).collect();
    assert!(used().is_subset(&addons), "{:?}", used());
}

/// ConfigMaps as distributions make them, each shortened to what sets it apart from the addon's.
const CONFIG_MAPS: [(&str, &str); 5] = [
    (
        "k3s",
        ".:53 {\n errors\n health\n ready\n kubernetes cluster.local in-addr.arpa ip6.arpa {\n pods insecure\n fallthrough in-addr.arpa ip6.arpa\n }\n \
         hosts /etc/coredns/NodeHosts {\n ttl 60\n reload 15s\n fallthrough\n }\n prometheus :9153\n cache 30\n loop\n reload\n loadbalance\n \
         import /etc/coredns/custom/*.override\n forward . /etc/resolv.conf\n}\nimport /etc/coredns/custom/*.server\n",
    ),
    (
        "kops",
        ".:53 {\n errors\n health {\n lameduck 5s\n }\n ready\n autopath @kubernetes\n kubernetes cluster.local. in-addr.arpa ip6.arpa {\n pods verified\n \
         fallthrough in-addr.arpa ip6.arpa\n ttl 30\n }\n prometheus :9153\n forward . /etc/resolv.conf {\n max_concurrent 1000\n }\n loop\n cache 30\n \
         loadbalance\n reload\n}\n",
    ),
    (
        "kubespray",
        ".:53 {\n errors {\n }\n health {\n lameduck 5s\n }\n ready\n kubernetes cluster.local in-addr.arpa ip6.arpa {\n pods insecure\n \
         fallthrough in-addr.arpa ip6.arpa\n }\n prometheus :9153\n forward . /etc/resolv.conf {\n prefer_udp\n max_concurrent 1000\n }\n cache 30\n\n \
         loop\n reload\n loadbalance\n}\n",
    ),
    (
        "minikube",
        ".:53 {\n log\n errors\n health {\n lameduck 5s\n }\n ready\n kubernetes cluster.local in-addr.arpa ip6.arpa {\n pods insecure\n \
         fallthrough in-addr.arpa ip6.arpa\n ttl 30\n }\n prometheus :9153\n hosts {\n 192.168.49.1 host.minikube.internal\n fallthrough\n }\n \
         forward . /etc/resolv.conf {\n max_concurrent 1000\n }\n cache 30 {\n disable success cluster.local\n disable denial cluster.local\n }\n \
         loop\n reload\n loadbalance\n}\n",
    ),
    (
        "the node-local addon",
        "cluster.local:53 {\n errors\n cache {\n success 9984 30\n denial 9984 5\n }\n reload\n loop\n bind 169.254.20.10 10.96.0.10\n \
         forward . 10.96.0.11 {\n force_tcp\n }\n prometheus :9253\n health 169.254.20.10:8080\n}\n\
         .:53 {\n errors\n cache 30\n reload\n loop\n bind 169.254.20.10 10.96.0.10\n forward . 10.96.0.11\n prometheus :9253\n}\n",
    ),
];

#[test]
fn config_maps_of_distributions_are_accepted() {
    if !plugins::ORDER
        .iter()
        .any(|entry| entry.name() == "kubernetes" && matches!(entry, chain::setup::Entry::Here(_)))
    {
        return;
    }
    for (name, text) in CONFIG_MAPS {
        check(name, text);
    }
}
