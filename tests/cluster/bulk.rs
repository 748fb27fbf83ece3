//! Clusters of given sizes, always the same ones.

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

fn service(size: Size, number: u32) -> Value {
    let headless = number.is_multiple_of(20);
    let ip = if headless {
        "None".to_owned()
    } else {
        address(10 << 8 | 96, number)
    };
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": format!("svc-{number}"), "namespace": namespace(size, number),
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"app": format!("app-{number}")},
            "managedFields": managed(&["f:spec", "f:ports", "f:selector", "f:sessionAffinity", "f:type", "f:internalTrafficPolicy"]),
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "selector": {"app": format!("app-{number}")},
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
        },
        "status": {"loadBalancer": {}}})
}

fn slice(size: Size, number: u32, first: u32, count: u32) -> Value {
    let owner = number % size.services.max(1);
    let space = namespace(size, owner);
    let endpoints: Vec<Value> = (first..first + count)
        .map(|endpoint| {
            json!({"addresses": [address(10 << 8 | 128, endpoint)],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": format!("node-{}", endpoint % 5_000), "zone": format!("zone-{}", endpoint % 3),
                "targetRef": {"kind": "Pod", "namespace": space, "name": format!("app-{owner}-7d9f8c6b5-{endpoint:06x}"),
                    "uid": format!("00000000-0000-4000-9000-{endpoint:012}")}})
        })
        .collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("svc-{owner}-{number:05x}"), "namespace": space, "generateName": format!("svc-{owner}-"), "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"kubernetes.io/service-name": format!("svc-{owner}"), "app": format!("app-{owner}"),
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": format!("svc-{owner}"), "controller": true,
                "blockOwnerDeletion": true, "uid": format!("00000000-0000-4000-a000-{owner:012}")}],
            "managedFields": managed(&["f:addressType", "f:endpoints", "f:metadata", "f:ports"]),
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
}

fn pod(size: Size, number: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("app-{number}-7d9f8c6b5-{number:06x}"), "namespace": namespace(size, number),
            "labels": {"app": format!("app-{}", number % size.services.max(1)), "pod-template-hash": "7d9f8c6b5"},
            "managedFields": managed(&["f:metadata", "f:spec", "f:containers", "f:status", "f:conditions"])},
        "spec": {"nodeName": format!("node-{}", number % 5_000), "restartPolicy": "Always",
            "containers": [{"name": "app", "image": "registry.example.org/app:1", "ports": [{"containerPort": 8080}]}]},
        "status": {"phase": "Running", "hostIP": "192.0.2.1", "podIP": address(10 << 8 | 128, number),
            "podIPs": [{"ip": address(10 << 8 | 128, number)}]}})
}

/// What server-side apply leaves: the larger part of small objects.
fn managed(fields: &[&str]) -> Value {
    let fields: serde_json::Map<String, Value> = fields
        .iter()
        .map(|field| ((*field).to_owned(), json!({".": {}, "f:name": {}})))
        .collect();
    json!([{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": fields}])
}
