//! `snapshot PATH`: the cluster as it was last, on disk, so that a server that starts while the API is away has answers.
//!
//! A line of text each: a heading, objects as the API would write them (kind, tabulator, JSON), and a last line with their count and a
//! sum (FNV-1a of the lines between), without which the file is not whole. It is written beside the old one and renamed, at most every
//! ten seconds, and only after a change.
//! Names of slices and pods are not kept, and made up: the first lists from the API replace everything in one step.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::change::{Kind, Sink};
use super::decode;
use super::entry::{Form, Group, Outside, Port, Protocol, Slice};
use super::snapshot::{Shared, Snapshot};
use super::store::{Rules, Store};

/// The first line, and what it promises.
const HEADING: &str = "nameplate kubernetes snapshot 2";
/// How often changes are written.
const EVERY: Duration = Duration::from_secs(10);

/// Writes the cluster to `path` whenever it has changed; does not end. What cannot be written is tried again, and told once.
pub(super) async fn keep(path: PathBuf, shared: Arc<Shared>) {
    let mut kept = shared.snapshot.load_full();
    let mut said = String::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let snapshot = shared.snapshot.load_full();
        if !snapshot.synced || Arc::ptr_eq(&snapshot, &kept) {
            continue;
        }
        let (to, what) = (path.clone(), snapshot.clone());
        match tokio::task::spawn_blocking(move || write(&what, &to)).await {
            Ok(Ok(())) => {
                kept = snapshot;
                said.clear();
            }
            Ok(Err(error)) => {
                let why = error.to_string();
                if why != said {
                    tracing::warn!(target: "plugin/kubernetes", "The snapshot {} was not written: {why}", path.display());
                    said = why;
                }
            }
            // It has panicked, which is told already.
            Err(_) => kept = snapshot,
        }
    }
}

/// Shows what `path` holds, when it holds a whole cluster and nothing is known yet.
pub(super) fn load(path: &Path, rules: &Rules, shared: &Arc<Shared>) {
    if shared.snapshot.load().synced {
        return;
    }
    let why = match read(path, rules) {
        Ok(held) => {
            let age = std::fs::metadata(path).and_then(|data| data.modified());
            let age = age
                .ok()
                .and_then(|modified| modified.elapsed().ok())
                .unwrap_or_default();
            shared.stale.store(
                u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
                Ordering::Relaxed,
            );
            for &kind in &rules.kinds {
                shared.watches[kind as usize]
                    .lost
                    .store(true, Ordering::Relaxed);
            }
            shared.snapshot.store(held.snapshot.load_full());
            shared.synced.send_replace(true);
            tracing::info!(
                target: "plugin/kubernetes",
                "Serving the snapshot {}, {} s old, until the API responds", path.display(), age.as_secs()
            );
            return;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => error,
    };
    tracing::warn!(target: "plugin/kubernetes", "The snapshot {} cannot be used: {why}", path.display());
}

/// Reads a whole file.
fn read(path: &Path, rules: &Rules) -> io::Result<Shared> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let shared = Arc::new(Shared::default());
    let mut store = Store::new(rules.clone(), shared.clone());
    for kind in Kind::ALL {
        store.begin(kind);
    }
    let mut lines = BufReader::new(host::regular::open(path)?).lines();
    if lines.next().transpose()?.as_deref() != Some(HEADING) {
        return Err(bad("it is not a snapshot, or has another version"));
    }
    let mut whole = false;
    let mut sum = Sum::default();
    for (count, line) in lines.enumerate() {
        let line = line?;
        let (word, rest) = line
            .split_once('\t')
            .ok_or_else(|| bad("a line has no kind"))?;
        if word == "end" {
            whole = rest == format!("{count}\t{sum}");
            break;
        }
        sum.add(&line);
        let kind = Kind::ALL.into_iter().find(|kind| kind.resource() == word);
        let kind = kind.ok_or_else(|| bad("a line has a kind that is not known"))?;
        let object = decode::item(kind, rest.as_bytes()).map_err(io::Error::other)?;
        store.listed(object);
    }
    if !whole {
        return Err(bad("its end is missing, or it was changed"));
    }
    for kind in Kind::ALL {
        store.complete(kind);
    }
    drop(store);
    Arc::into_inner(shared).ok_or_else(|| bad("it is still being read"))
}

/// Writes a whole file, or none.
pub(super) fn write(snapshot: &Snapshot, path: &Path) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let written =
        write_to(snapshot, Path::new(&beside)).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // A disk that is full has no room for a part of a file, either.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn write_to(snapshot: &Snapshot, path: &Path) -> io::Result<()> {
    let mut out = Lines {
        out: BufWriter::new(File::create(path)?),
        count: 0,
        sum: Sum::default(),
    };
    writeln!(out.out, "{HEADING}")?;
    for namespace in snapshot.namespaces.iter() {
        out.push(
            Kind::Namespace,
            json!({"metadata": {"name": texts(namespace.octets()).concat()}}),
        )?;
    }
    for known in snapshot.services.iter() {
        out.group(&known.group, Kind::Service)?;
    }
    for known in snapshot.imports.iter() {
        out.group(&known.group, Kind::ServiceImport)?;
    }
    for (number, pods) in snapshot.pods.iter().enumerate() {
        let (pod, details) = (&pods.pod, pods.pod.details.as_deref());
        let namespace = texts(pod.namespace.octets()).concat();
        let name = details.map_or_else(|| number.to_string(), |details| details.name.to_string());
        let labels: BTreeMap<&str, &str> = details
            .into_iter()
            .flat_map(|details| details.labels.iter().map(|(key, value)| (&**key, &**value)))
            .collect();
        out.push(
            Kind::Pod,
            json!({"metadata": {"name": name, "namespace": namespace, "labels": labels}, "status": {"podIP": pod.address.ip().to_string()}}),
        )?;
    }
    writeln!(out.out, "end\t{}\t{}", out.count, out.sum)?;
    out.out.flush()?;
    out.out.get_ref().sync_data()
}

struct Lines {
    out: BufWriter<File>,
    count: u64,
    sum: Sum,
}

/// FNV-1a, 64 bits, of lines with their ends: what no disk changes unnoticed.
struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Sum {
    fn add(&mut self, line: &str) {
        for octet in line.bytes().chain([b'\n']) {
            self.0 = (self.0 ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Lines {
    fn push(&mut self, kind: Kind, object: Value) -> io::Result<()> {
        self.count += 1;
        let line = format!("{}\t{object}", kind.resource());
        self.sum.add(&line);
        writeln!(self.out, "{line}")
    }

    /// A service or an import, and its slices.
    fn group(&mut self, group: &Group, kind: Kind) -> io::Result<()> {
        let names = texts(group.labels.octets());
        let [name, namespace] = names.as_slice() else {
            return Ok(());
        };
        let metadata = json!({"name": name, "namespace": namespace});
        if let Some(service) = &group.service {
            let ips: Vec<String> = match &service.form {
                Form::Addresses(addresses) => addresses
                    .iter()
                    .map(|address| address.ip().to_string())
                    .collect(),
                Form::Headless => vec!["None".into()],
                Form::Alias(_) => Vec::new(),
            };
            let ports = ports(&service.ports);
            let spec = match (&service.form, kind) {
                (Form::Headless, Kind::ServiceImport) => {
                    json!({"type": "Headless", "ports": ports})
                }
                (_, Kind::ServiceImport) => {
                    json!({"type": "ClusterSetIP", "ips": ips, "ports": ports})
                }
                (Form::Alias(target), _) => json!({
                    "type": "ExternalName", "externalName": target.as_deref().map_or(String::new(), host), "ports": ports,
                    "externalIPs": outsides(&service.outside),
                }),
                _ => {
                    json!({"type": "ClusterIP", "clusterIPs": ips, "ports": ports, "externalIPs": outsides(&service.outside)})
                }
            };
            self.push(kind, json!({"metadata": metadata, "spec": spec}))?;
        }
        for slice in &group.slices {
            let count = self.count.to_string();
            self.push(
                Kind::EndpointSlice,
                slice_of(slice, (&count, name, namespace), kind),
            )?;
        }
        Ok(())
    }
}

fn slice_of(slice: &Slice, (own, name, namespace): (&str, &str, &str), kind: Kind) -> Value {
    let mut labels = Map::new();
    if kind == Kind::ServiceImport {
        labels.insert(
            "multicluster.kubernetes.io/service-name".into(),
            name.into(),
        );
        labels.insert(
            "multicluster.kubernetes.io/source-cluster".into(),
            texts(slice.cluster()).concat().into(),
        );
    } else {
        labels.insert("kubernetes.io/service-name".into(), name.into());
    }
    let endpoints: Vec<Value> = slice
        .endpoints
        .iter()
        .map(|endpoint| {
            let mut one = Map::new();
            one.insert(
                "addresses".into(),
                vec![endpoint.address.ip().to_string()].into(),
            );
            if let Some(label) = slice.own_label(endpoint) {
                one.insert("hostname".into(), texts(label).concat().into());
            }
            let zone = texts(slice.zone(endpoint));
            if !zone.is_empty() {
                one.insert("zone".into(), zone.join(".").into());
            }
            one.into()
        })
        .collect();
    json!({
        "metadata": {"name": own, "namespace": namespace, "labels": labels},
        "endpoints": endpoints,
        "ports": ports(&slice.ports),
    })
}

/// Labels in wire form as texts.
fn texts(labels: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = labels;
    while let Some((&len, behind)) = rest.split_first() {
        let (label, next) = behind
            .split_at_checked(len as usize)
            .unwrap_or((behind, &[]));
        out.push(String::from_utf8_lossy(label).into_owned());
        rest = next;
    }
    out
}

fn host(name: &[u8]) -> String {
    wire::Name::new(name).map_or(String::new(), |name| name.to_string())
}

fn outsides(outside: &[Outside]) -> Vec<String> {
    let text = |one: &Outside| match one {
        Outside::Address(address) => address.ip().to_string(),
        Outside::Host(name) => host(name),
    };
    outside.iter().map(text).collect()
}

fn ports(ports: &[Port]) -> Vec<Value> {
    let declared = ports.iter().filter(|port| **port != Port::undeclared());
    declared
        .map(|port| {
            let protocol = match port.protocol {
                Protocol::Other => "",
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            json!({"name": String::from_utf8_lossy(&port.name), "port": port.number, "protocol": protocol})
        })
        .collect()
}
