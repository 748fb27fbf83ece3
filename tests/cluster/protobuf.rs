//! Objects as the API server writes them in `application/vnd.kubernetes.protobuf`: what a DNS server reads, and the larger part of what
//! it has to step over. Numbers of fields are those of the `generated.proto` files of k8s.io/api and k8s.io/apimachinery.

use serde_json::Value;

use crate::Kind;

/// The type, as HTTP names it for a watch.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn octets(&mut self, field: u64, octets: &[u8]) {
        self.number(field << 3 | 2);
        self.number(octets.len() as u64);
        self.0.extend_from_slice(octets);
    }

    /// A text, where there is one.
    fn text(&mut self, field: u64, value: &Value) {
        if let Some(text) = value.as_str() {
            self.octets(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u64, values: &Value) {
        for value in values.as_array().into_iter().flatten() {
            self.text(field, value);
        }
    }

    fn integer(&mut self, field: u64, value: &Value) {
        let number = value.as_i64().or(value.as_bool().map(i64::from));
        if let Some(number) = number {
            self.number(field << 3);
            self.number(number as u64);
        }
    }

    /// A map of texts: an entry each.
    fn map(&mut self, field: u64, map: &Value) {
        for (name, value) in map.as_object().into_iter().flatten() {
            let mut entry = Self::default();
            entry.octets(1, name.as_bytes());
            entry.text(2, value);
            self.octets(field, &entry.0);
        }
    }

    /// A message, where there is a value that is not null.
    fn message(&mut self, field: u64, value: &Value, write: impl FnOnce(&mut Self, &Value)) {
        if !value.is_null() {
            let mut inner = Self::default();
            write(&mut inner, value);
            self.octets(field, &inner.0);
        }
    }

    fn messages(&mut self, field: u64, values: &Value, write: fn(&mut Self, &Value)) {
        for value in values.as_array().into_iter().flatten() {
            self.message(field, value, write);
        }
    }
}

/// A frame of a watch.
pub(crate) fn event(what: &str, object: &[u8]) -> Vec<u8> {
    let mut extension = Message::default();
    extension.octets(1, object);
    let mut event = Message::default();
    event.octets(1, what.as_bytes());
    event.octets(2, &extension.0);
    let mut frame = (event.0.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&event.0);
    frame
}

/// A status or an object of one of the kinds, in its envelope.
pub(crate) fn encode(object: &Value) -> Vec<u8> {
    let mut inner = Message::default();
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| object["kind"] == kind.name());
    match kind {
        Some(Kind::Namespace) => inner.message(1, &object["metadata"], meta),
        Some(Kind::Service) => {
            inner.message(1, &object["metadata"], meta);
            inner.message(2, &object["spec"], spec);
            inner.message(3, &object["status"], |out, status| {
                out.message(1, &status["loadBalancer"], |out, balancer| {
                    out.messages(1, &balancer["ingress"], |out, ingress| {
                        out.text(1, &ingress["ip"]);
                        out.text(2, &ingress["hostname"]);
                    });
                });
            });
        }
        Some(Kind::EndpointSlice) => {
            inner.message(1, &object["metadata"], meta);
            inner.messages(2, &object["endpoints"], endpoint);
            inner.messages(3, &object["ports"], |out, port| {
                out.text(1, &port["name"]);
                out.text(2, &port["protocol"]);
                out.integer(3, &port["port"]);
            });
            inner.text(4, &object["addressType"]);
        }
        Some(Kind::Pod) => {
            inner.message(1, &object["metadata"], meta);
            inner.message(2, &object["spec"], |out, spec| {
                out.text(10, &spec["nodeName"]);
                out.text(3, &spec["restartPolicy"]);
            });
            inner.message(3, &object["status"], |out, status| {
                out.text(1, &status["phase"]);
                out.text(5, &status["hostIP"]);
                out.text(6, &status["podIP"]);
                out.messages(12, &status["podIPs"], |out, ip| out.text(1, &ip["ip"]));
            });
        }
        Some(Kind::ServiceImport) => panic!("custom resources have no protobuf"),
        None => {
            inner.text(2, &object["status"]);
            inner.text(3, &object["message"]);
            inner.text(4, &object["reason"]);
            inner.integer(6, &object["code"]);
        }
    }
    let mut unknown = Message::default();
    unknown.message(1, object, |out, object| {
        out.text(1, &object["apiVersion"]);
        out.text(2, &object["kind"]);
    });
    unknown.octets(2, &inner.0);
    unknown.octets(3, b"");
    unknown.octets(4, b"");
    [b"k8s\0", &*unknown.0].concat()
}

fn meta(out: &mut Message, meta: &Value) {
    out.text(1, &meta["name"]);
    out.text(2, &meta["generateName"]);
    out.text(3, &meta["namespace"]);
    out.octets(4, b"");
    out.text(5, &meta["uid"]);
    out.text(6, &meta["resourceVersion"]);
    out.integer(7, &meta["generation"]);
    out.octets(8, &[0x08, 0x80, 0x92, 0xD7, 0xCA, 0x06, 0x10, 0x00]);
    out.message(9, &meta["deletionTimestamp"], |out, _| {
        out.integer(1, &Value::from(1_767_225_600));
    });
    out.map(11, &meta["labels"]);
    out.map(12, &meta["annotations"]);
    out.messages(13, &meta["ownerReferences"], |out, owner| {
        out.text(1, &owner["kind"]);
        out.text(3, &owner["name"]);
        out.text(4, &owner["uid"]);
        out.text(5, &owner["apiVersion"]);
        out.integer(6, &owner["controller"]);
        out.integer(7, &owner["blockOwnerDeletion"]);
    });
    out.messages(17, &meta["managedFields"], |out, managed| {
        out.text(1, &managed["manager"]);
        out.text(2, &managed["operation"]);
        out.text(3, &managed["apiVersion"]);
        out.text(6, &managed["fieldsType"]);
        out.message(7, &managed["fieldsV1"], |out, fields| {
            out.octets(1, fields.to_string().as_bytes());
        });
    });
}

fn spec(out: &mut Message, spec: &Value) {
    out.messages(1, &spec["ports"], |out, port| {
        out.text(1, &port["name"]);
        out.text(2, &port["protocol"]);
        out.integer(3, &port["port"]);
        out.message(4, &port["targetPort"], |out, target| {
            out.integer(2, target);
        });
        out.integer(5, &Value::from(0));
    });
    out.map(2, &spec["selector"]);
    out.text(3, &spec["clusterIP"]);
    out.text(4, &spec["type"]);
    out.texts(5, &spec["externalIPs"]);
    out.text(7, &spec["sessionAffinity"]);
    out.text(10, &spec["externalName"]);
    out.text(17, &spec["ipFamilyPolicy"]);
    out.texts(18, &spec["clusterIPs"]);
    out.texts(19, &spec["ipFamilies"]);
    out.text(22, &spec["internalTrafficPolicy"]);
}

fn endpoint(out: &mut Message, endpoint: &Value) {
    out.texts(1, &endpoint["addresses"]);
    out.message(2, &endpoint["conditions"], |out, conditions| {
        out.integer(1, &conditions["ready"]);
        out.integer(2, &conditions["serving"]);
        out.integer(3, &conditions["terminating"]);
    });
    out.text(3, &endpoint["hostname"]);
    out.message(4, &endpoint["targetRef"], |out, target| {
        out.text(1, &target["kind"]);
        out.text(2, &target["namespace"]);
        out.text(3, &target["name"]);
        out.text(4, &target["uid"]);
    });
    out.text(6, &endpoint["nodeName"]);
    out.text(7, &endpoint["zone"]);
    out.message(8, &endpoint["hints"], |out, hints| {
        let named: fn(&mut Message, &Value) = |out, one| out.text(1, &one["name"]);
        out.messages(1, &hints["forZones"], named);
        out.messages(2, &hints["forNodes"], named);
    });
}
