//! Clusters of given sizes, always the same ones, of objects as large as a real API server's: with what applied them, who set which
//! field, where endpoints run, and which zones and nodes they are meant for.

use serde_json::{Value, json};

use crate::store::Store;

/// A size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Namespaces, named `ns-0` and so on.
    pub namespaces: u32,
    /// Services, spread over them: `svc-0` and so on; each twentieth is headless.
    pub services: u32,
    /// Slices: one for each service, and the rest for the first ones.
    pub slices: u32,
    /// Endpoints, spread over the slices.
    pub endpoints: u32,
    /// Pods.
    pub pods: u32,
}

impl Size {
    /// A small cluster.
    pub const SMALL: Self = Self {
        namespaces: 10,
        services: 100,
        slices: 100,
        endpoints: 500,
        pods: 500,
    };
    /// A cluster of 500 nodes.
    pub const MEDIUM: Self = Self {
        namespaces: 50,
        services: 1_000,
        slices: 1_020,
        endpoints: 10_000,
        pods: 15_000,
    };
    /// A cluster of 5,000 nodes.
    pub const LARGE: Self = Self {
        namespaces: 100,
        services: 8_200,
        slices: 8_400,
        endpoints: 94_000,
        pods: 150_000,
    };

    /// The endpoints of a slice: the first, and how many. They are spread evenly.
    fn share(self, number: u32) -> (u32, u32) {
        let up_to = |slices: u32| {
            let left =
                u64::from(self.endpoints) * u64::from(slices) / u64::from(self.slices.max(1));
            u32::try_from(left).unwrap_or(u32::MAX)
        };
        let first = up_to(number);
        (first, up_to(number + 1) - first)
    }

    /// A slice of this cluster with another address as its first: what a pod's replacement leads to.
    pub fn changed_slice(self, number: u32, address: &str) -> Value {
        let (first, count) = self.share(number);
        let mut changed = slice(self, number, first, count.max(1));
        changed["endpoints"][0]["addresses"][0] = json!(address);
        changed
    }

    /// The name of the service that a slice belongs to: `svc-7.ns-7`.
    pub fn owner(self, number: u32) -> String {
        let owner = number % self.services.max(1);
        format!("svc-{owner}.{}", namespace(self, owner))
    }
}

pub(crate) fn fill(store: &mut Store, size: Size) {
    let window = std::mem::replace(&mut store.window, 0);
    for number in 0..size.namespaces {
        store.apply(json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": format!("ns-{number}"), "labels": {"kubernetes.io/metadata.name": format!("ns-{number}")}}}));
    }
    for number in 0..size.services {
        store.apply(service(size, number));
    }
    for number in 0..size.slices {
        let (first, count) = size.share(number);
        store.apply(slice(size, number, first, count));
    }
    for number in 0..size.pods {
        store.apply(pod(size, number));
    }
    store.window = window;
}

fn namespace(size: Size, number: u32) -> String {
    format!("ns-{}", number % size.namespaces.max(1))
}

fn address(net: u32, number: u32) -> String {
    let [_, b, c, d] = (number + 1).to_be_bytes();
    format!("{}.{}.{c}.{d}", net >> 8, (net & 0xFF) + u32::from(b))
}

/// An identifier of the form that the API server gives.
fn uid(group: u32, number: u32) -> String {
    format!(
        "{number:08x}-{group:04x}-4c6e-9d2f-{:012x}",
        u64::from(number) * 0x9E37_79B1
    )
}

fn service(size: Size, number: u32) -> Value {
    let headless = number.is_multiple_of(20);
    let ip = if headless {
        "None".to_owned()
    } else {
        address(10 << 8 | 96, number)
    };
    let (app, space) = (format!("app-{number}"), namespace(size, number));
    let applied = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"annotations": {}, "labels": {"app": app}, "name": format!("svc-{number}"), "namespace": space},
        "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}], "selector": {"app": app}}});
    let port = json!({".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}});
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": format!("svc-{number}"), "namespace": space, "uid": uid(0xA000, number),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": app, "app.kubernetes.io/instance": app, "app.kubernetes.io/managed-by": "Helm",
                "app.kubernetes.io/part-of": "shop", "helm.sh/chart": "web-4.7.1"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": format!("{applied}\n"),
                "meta.helm.sh/release-name": app, "meta.helm.sh/release-namespace": space},
            "managedFields": managed("kubectl-client-side-apply", json!({
                "f:metadata": {
                    "f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}, "f:meta.helm.sh/release-name": {}, "f:meta.helm.sh/release-namespace": {}},
                    "f:labels": {".": {}, "f:app": {}, "f:app.kubernetes.io/instance": {}, "f:app.kubernetes.io/managed-by": {}, "f:app.kubernetes.io/part-of": {}, "f:helm.sh/chart": {}}},
                "f:spec": {"f:internalTrafficPolicy": {}, "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": port},
                    "f:selector": {}, "f:sessionAffinity": {}, "f:type": {}}})),
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "selector": {"app": app},
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
        },
        "status": {"loadBalancer": {}}})
}

fn slice(size: Size, number: u32, first: u32, count: u32) -> Value {
    let owner = number % size.services.max(1);
    let space = namespace(size, owner);
    let endpoints: Vec<Value> = (first..first + count)
        .map(|endpoint| {
            let [_, b, c, d] = (endpoint % 5_000).to_be_bytes();
            let node = format!("ip-10-{b}-{c}-{d}.eu-central-1.compute.internal");
            let zone = format!("eu-central-1{}", ["a", "b", "c"][endpoint as usize % 3]);
            json!({"addresses": [address(10 << 8 | 128, endpoint)],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "hints": {"forNodes": [{"name": node}], "forZones": [{"name": zone}]},
                "nodeName": node, "zone": zone,
                "targetRef": {"kind": "Pod", "namespace": space, "name": format!("app-{owner}-7d9f8c6b5-{endpoint:06x}"),
                    "uid": uid(0x9000, endpoint)}})
        })
        .collect();
    let labels = json!({"kubernetes.io/service-name": format!("svc-{owner}"), "app": format!("app-{owner}"),
        "app.kubernetes.io/instance": format!("app-{owner}"), "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/part-of": "shop", "helm.sh/chart": "web-4.7.1",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("svc-{owner}-{number:05x}"), "namespace": space, "generateName": format!("svc-{owner}-"), "generation": 3,
            "uid": uid(0xB000, number), "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels,
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": format!("svc-{owner}"), "controller": true,
                "blockOwnerDeletion": true, "uid": uid(0xA000, owner)}],
            "managedFields": managed("kube-controller-manager", json!({
                "f:addressType": {}, "f:endpoints": {},
                "f:metadata": {
                    "f:annotations": {".": {}, "f:endpoints.kubernetes.io/last-change-trigger-time": {}}, "f:generateName": {},
                    "f:labels": {".": {}, "f:app": {}, "f:app.kubernetes.io/instance": {}, "f:app.kubernetes.io/managed-by": {}, "f:app.kubernetes.io/part-of": {},
                        "f:endpointslice.kubernetes.io/managed-by": {}, "f:helm.sh/chart": {}, "f:kubernetes.io/service-name": {}},
                    "f:ownerReferences": {".": {}, (format!("k:{{\"uid\":\"{}\"}}", uid(0xA000, owner))): {}}},
                "f:ports": {}})),
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
}

fn pod(size: Size, number: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("app-{number}-7d9f8c6b5-{number:06x}"), "namespace": namespace(size, number),
            "labels": {"app": format!("app-{}", number % size.services.max(1)), "pod-template-hash": "7d9f8c6b5"},
            "managedFields": managed("kubelet", json!({"f:metadata": {"f:labels": {}}, "f:spec": {"f:containers": {}}, "f:status": {"f:conditions": {}, "f:podIP": {}}}))},
        "spec": {"nodeName": format!("node-{}", number % 5_000), "restartPolicy": "Always",
            "containers": [{"name": "app", "image": "registry.example.org/app:1", "ports": [{"containerPort": 8080}]}]},
        "status": {"phase": "Running", "hostIP": "192.0.2.1", "podIP": address(10 << 8 | 128, number),
            "podIPs": [{"ip": address(10 << 8 | 128, number)}]}})
}

/// What the API server notes of who set which field: the larger part of small objects.
fn managed(manager: &str, fields: Value) -> Value {
    json!([{"manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": fields}])
}
