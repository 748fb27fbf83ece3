//! Reads `kubernetes [ZONES...] { ... }`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chain::inspect::Inspect;
use chain::setup::{Answers, BlockConfig, Build, BuildError, Parse, Registration, Scene, Setup};
use chain::{Fallthrough, reverse};
use corefile::{Diagnostic, Directive, Line, Report, Severity, Span, value};
use wire::{Name, NameBuf};

use super::change::Kind;
use super::client::{Access, Connection, Limits, Tls};
use super::snapshot::Shared;
use super::store::{Rules, Store};
use super::watch::{self, Selection, Timing};
use super::{Kubernetes, Pods, Zone, metrics, selector, snapshot_file};

/// `kubernetes` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "kubernetes",
    parse,
    handler: true,
};

/// The options, for messages.
const OPTIONS: &[&str] = &[
    "endpoint",
    "tls",
    "kubeconfig",
    "apiserver_qps",
    "apiserver_burst",
    "apiserver_max_inflight",
    "namespaces",
    "labels",
    "namespace_labels",
    "pods",
    "endpoint_pod_names",
    "ttl",
    "noendpoints",
    "zonal",
    "fallthrough",
    "ignore",
    "multicluster",
    "startup_timeout",
    "snapshot",
];
/// Pods that will never run again have no names.
const LIVE_PODS: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown";

/// One directive.
struct Config {
    span: Span,
    zones: Vec<String>,
    endpoint: Option<String>,
    /// Whether more than one was given; CoreDNS uses the first and says so.
    endpoints_unused: bool,
    tls: Option<[String; 3]>,
    kubeconfig: Option<(String, Option<String>)>,
    limits: Limits,
    namespaces: Vec<String>,
    labels: String,
    namespace_labels: String,
    pods: Pods,
    pod_names: bool,
    ttl: u32,
    endpoints: bool,
    zonal: bool,
    fall: Fallthrough,
    ignore_empty: bool,
    multicluster: Vec<String>,
    patience: Duration,
    snapshot: Option<String>,
}

/// All directives of a block, in file order.
struct KubernetesSetup(Vec<Config>);

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let directives = parse.directives;
    let configs = directives
        .iter()
        .map(|directive| config(parse, directive))
        .collect();
    Some(Box::new(KubernetesSetup(configs)))
}

fn config(parse: &mut Parse<'_>, directive: &Directive) -> Config {
    let zones = parse.read_zones(&directive.args, OPTIONS);
    let mut config = Config {
        span: directive.name.span,
        zones,
        endpoint: None,
        endpoints_unused: false,
        tls: None,
        kubeconfig: None,
        limits: Limits::default(),
        namespaces: Vec::new(),
        labels: String::new(),
        namespace_labels: String::new(),
        pods: Pods::Disabled,
        pod_names: false,
        ttl: 5,
        endpoints: true,
        zonal: false,
        fall: Fallthrough::No,
        ignore_empty: false,
        multicluster: Vec::new(),
        patience: Duration::from_secs(5),
        snapshot: None,
    };
    let (mut namespaces_at, mut namespace_labels_at, mut zonal_at) = (None, None, None);
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        let Some(word) = line.words.first() else {
            continue;
        };
        match word.text.as_str() {
            "namespaces" => namespaces_at = Some(word.span),
            "namespace_labels" => namespace_labels_at = Some(word.span),
            "zonal" => zonal_at = Some(word.span),
            _ => {}
        }
        option(parse, directive, line, &mut config);
    }
    let zones = match config.zones.is_empty() {
        true => parse.zones,
        false => &config.zones,
    };
    if zones.iter().all(|zone| is_reverse(zone)) {
        parse.report.push(
            Diagnostic::error("CF0107", "non-reverse zone name must be used")
                .at(
                    directive.name.span,
                    "every zone of this directive is a reverse one",
                )
                .help(
                    "name the cluster's domain: `kubernetes cluster.local in-addr.arpa ip6.arpa`",
                ),
        );
    }
    for zone in config
        .multicluster
        .iter()
        .filter(|zone| !zones.contains(zone))
    {
        parse.report.push(
            Diagnostic::error(
                "CF0107",
                format!("is not authoritative for the multicluster zone {zone} (authoritative zones: {})", zones.join(" ")),
            )
            .at(directive.name.span, "this directive does not serve that zone"),
        );
    }
    if let (Some(namespaces), Some(labels)) = (namespaces_at, namespace_labels_at) {
        parse.report.push(
            Diagnostic::error(
                "CF0107",
                "namespaces and namespace_labels cannot both be set",
            )
            .at(labels, "namespaces are chosen here")
            .beside(namespaces, "and here"),
        );
    }
    if let (Some(span), false) = (zonal_at, config.endpoints) {
        parse.report.push(
            Diagnostic::error(
                "CF0107",
                "zonal requires the endpoint cache; remove noendpoints",
            )
            .at(span, "zones are the endpoints'"),
        );
    }
    config
}

/// Reads one line of the block.
fn option(parse: &mut Parse<'_>, directive: &Directive, line: &Line, config: &mut Config) {
    let words = &line.words;
    let texts = || {
        words[1..]
            .iter()
            .map(|word| word.text.clone())
            .collect::<Vec<_>>()
    };
    match words[0].text.as_str() {
        "endpoint" if parse.arguments(line, 1..=usize::MAX - 1, "endpoint URL") => {
            config.endpoints_unused = words.len() > 2;
            config.endpoint = Some(words[1].text.clone());
        }
        "tls" if parse.arguments(line, 3..=3, "tls CERT KEY CACERT") => {
            config.tls = <[String; 3]>::try_from(texts()).ok();
        }
        "kubeconfig" if parse.arguments(line, 1..=2, "kubeconfig KUBECONFIG [CONTEXT]") => {
            let context = words.get(2).map(|word| word.text.clone());
            config.kubeconfig = Some((words[1].text.clone(), context));
        }
        "apiserver_qps" if parse.arguments(line, 1..=1, "apiserver_qps REQUESTS") => {
            match value::float(&words[1]) {
                Ok(rate) if rate < 0.0 => parse.report.push(
                    Diagnostic::error("CF0203", "apiserver_qps must be >= 0")
                        .at(words[1].span, "negative"),
                ),
                Ok(rate) => config.limits.rate = rate as f32,
                Err(diagnostic) => parse.report.push(diagnostic),
            }
        }
        "apiserver_burst" if parse.arguments(line, 1..=1, "apiserver_burst REQUESTS") => {
            match value::integer(&words[1], 0..=i64::from(i32::MAX)) {
                Ok(burst) => config.limits.burst = burst as u32,
                Err(diagnostic) => parse.report.push(diagnostic),
            }
        }
        "apiserver_max_inflight"
            if parse.arguments(line, 1..=1, "apiserver_max_inflight REQUESTS") =>
        {
            match value::integer(&words[1], 0..=i64::from(i32::MAX)) {
                Ok(most) => config.limits.in_flight = most as u32,
                Err(diagnostic) => parse.report.push(diagnostic),
            }
        }
        "namespaces" if parse.arguments(line, 1..=usize::MAX - 1, "namespaces NAMESPACE...") => {
            config.namespaces.extend(texts());
        }
        option @ ("labels" | "namespace_labels")
            if parse.arguments(line, 1..=usize::MAX - 1, "labels EXPRESSION[,...]") =>
        {
            let text = texts().join(" ");
            match selector::normalise(&text) {
                Ok(selector) if option == "labels" => config.labels = selector,
                Ok(selector) => config.namespace_labels = selector,
                Err(why) => parse.report.push(
                    Diagnostic::error(
                        "CF0107",
                        format!(
                            "unable to parse {} value: '{text}': {why}",
                            if option == "labels" {
                                "label selector"
                            } else {
                                "namespace_label selector"
                            }
                        ),
                    )
                    .at(words[1].span, "no label selector")
                    .note("write it as for `kubectl get -l`: `app=web,tier in (a, b),!canary`"),
                ),
            }
        }
        "pods" if parse.arguments(line, 1..=1, "pods disabled|insecure|verified") => {
            config.pods = match words[1].text.as_str() {
                "disabled" => Pods::Disabled,
                "insecure" => Pods::Insecure,
                "verified" => Pods::Verified,
                other => {
                    parse.report.push(
                        Diagnostic::error(
                            "CF0107",
                            format!("wrong value for pods: {other},  must be one of: disabled, verified, insecure"),
                        )
                        .at(words[1].span, "expected `disabled`, `insecure` or `verified`"),
                    );
                    return;
                }
            };
        }
        "endpoint_pod_names" => {
            config.pod_names = parse.arguments(line, 0..=0, "endpoint_pod_names")
        }
        "ttl" if parse.arguments(line, 1..=1, "ttl SECONDS") => {
            match value::integer(&words[1], 0..=3_600) {
                Ok(ttl) => config.ttl = ttl as u32,
                Err(diagnostic) => parse.report.push(diagnostic),
            }
        }
        "noendpoints" => config.endpoints = !parse.arguments(line, 0..=0, "noendpoints"),
        "zonal" => config.zonal = parse.arguments(line, 0..=0, "zonal"),
        "fallthrough" => config.fall = parse.read_fallthrough(line, &config.zones),
        "ignore" if parse.arguments(line, 1..=usize::MAX - 1, "ignore empty_service") => {
            // CoreDNS looks at the first word only; more of them are a mistake all the same.
            if words.len() == 2 && words[1].text == "empty_service" {
                config.ignore_empty = true;
            } else {
                let wrong = words
                    .iter()
                    .skip(1)
                    .find(|word| word.text != "empty_service")
                    .unwrap_or(&words[1]);
                parse.report.push(
                    Diagnostic::error(
                        "CF0107",
                        format!("unable to parse ignore value: '{}'", wrong.text),
                    )
                    .at(wrong.span, "expected `ignore empty_service`"),
                );
            }
        }
        "multicluster" => match value::zones_or_cidrs(&words[1..]) {
            Ok(zones) => config.multicluster = zones,
            Err(diagnostic) => parse.report.push(diagnostic),
        },
        "startup_timeout" if parse.arguments(line, 1..=1, "startup_timeout DURATION") => {
            match value::duration(&words[1]) {
                Ok(patience) => config.patience = patience,
                Err(diagnostic) => parse.report.push(diagnostic),
            }
        }
        "snapshot" if parse.arguments(line, 1..=1, "snapshot PATH") => {
            config.snapshot = Some(words[1].text.clone());
        }
        known if OPTIONS.contains(&known) => {}
        _ => parse.unknown_option(directive, line, OPTIONS),
    }
}

/// Whether a normalised zone is in a tree of addresses.
fn is_reverse(zone: &str) -> bool {
    ["in-addr.arpa.", "ip6.arpa."].iter().any(|tree| {
        zone == *tree
            || zone
                .strip_suffix(tree)
                .is_some_and(|rest| rest.ends_with('.'))
    })
}

impl Setup for KubernetesSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        for (at, config) in self.0.iter().enumerate() {
            let zones = scene.zones_of(&config.zones);
            let upper = self.0[..at].iter().find(|upper| {
                let above = scene.zones_of(&upper.zones);
                upper.fall == Fallthrough::No && zones.iter().all(|zone| above.contains(zone))
            });
            if let Some(upper) = upper {
                report.push(
                    Diagnostic::warning(
                        "CF0301",
                        "this `kubernetes` is never asked: the one before it answers everything in its zones",
                    )
                    .at(config.span, "never asked")
                    .beside(upper.span, "denies the names that it does not know")
                    .help("add `fallthrough` to the block of the first one, or give each cluster a zone of its own"),
                );
            }
        }
    }

    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        self.0
            .iter()
            .map(|config| (config.fall.reach(), config.zones.clone()))
            .collect()
    }

    fn inspect(&self, inspect: &mut Inspect<'_>) {
        for config in &self.0 {
            config.inspect(inspect);
        }
    }

    fn handlers(&self) -> usize {
        self.0.len()
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        for config in self.0 {
            let span = config.span;
            config.build(build).map_err(|error| error.at(span))?;
        }
        Ok(())
    }
}

impl Config {
    fn build(self, build: &mut Build<'_>) -> Result<(), BuildError> {
        if let (true, Some(used)) = (self.endpoints_unused, &self.endpoint) {
            tracing::warn!(
                target: "plugin/kubernetes",
                "Multiple endpoints have been deprecated, only the first specified endpoint '{used}' is used"
            );
        }
        let access = self.access(|path| build.path(path));
        let selections = self.selections();
        let mut kinds: Vec<Kind> = selections.iter().map(|selection| selection.kind).collect();
        kinds.dedup();
        let rules = Rules {
            ttl: self.ttl,
            namespaces: self.namespaces.clone(),
            pod_names: self.pod_names,
            pod_details: self.pods == Pods::Verified && build.config.labels.is_some(),
            zonal: self.zonal,
            kinds,
            local: local_addresses(build.config),
        };
        let cluster = format!("{access:?} {selections:?} {rules:?}");
        let connection = Connection::new(access, self.limits).map_err(BuildError::new)?;
        let shared = source::kept(&cluster, Shared::default);
        let watched = build.process.shared::<Watched>();
        let mut watched = watched.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Two directives that want the same of the same cluster share one watch.
        if watched.insert(cluster, ()).is_none() {
            if let Some(path) = &self.snapshot {
                let path = build.path(path);
                snapshot_file::load(&path, &rules, &shared);
                build.spawn(Box::pin(snapshot_file::keep(path, shared.clone())));
            }
            let store = Store::new(rules, shared.clone());
            let sink: watch::Shared = Arc::new(Mutex::new(store));
            build.spawn(Box::pin(watch::run(
                connection,
                selections,
                Timing::default(),
                sink,
            )));
        }
        let kubernetes = Arc::new(self.plugin(build, shared)?);
        build
            .capabilities()
            .provide_search_path("kubernetes", kubernetes.clone());
        build
            .capabilities()
            .provide_external("kubernetes", kubernetes.clone());
        build.push(kubernetes);
        Ok(())
    }

    /// The handler, on this state of a cluster.
    pub(super) fn plugin(
        &self,
        build: &Build<'_>,
        shared: Arc<Shared>,
    ) -> Result<Kubernetes, BuildError> {
        let origins = build.origins(&self.zones)?;
        let multicluster: Vec<NameBuf> = match self.multicluster.is_empty() {
            true => Vec::new(),
            false => build.origins(&self.multicluster)?,
        };
        let primary = origins
            .iter()
            .find(|origin| !reverse::is_within(origin.as_name()))
            .cloned()
            .ok_or_else(|| BuildError::new("non-reverse zone name must be used"))?;
        metrics::show_age(&primary.as_name().to_string(), &shared);
        let mut zones: Vec<Zone> = origins
            .into_iter()
            .map(|origin| Zone {
                hash: wire::name_hash(origin.as_name()),
                labels: origin.as_name().label_count(),
                reverse: reverse::is_within(origin.as_name()),
                multicluster: multicluster
                    .iter()
                    .any(|zone| origin.as_name().is_within(zone.as_name())),
                origin,
            })
            .collect();
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.labels));
        let patience = u64::try_from(self.patience.as_nanos()).unwrap_or(u64::MAX);
        Ok(Kubernetes {
            zones: zones.into(),
            primary,
            fall: self.fall.clone(),
            ttl: self.ttl,
            pods: self.pods,
            zonal: self.zonal,
            ignore_empty: self.ignore_empty,
            namespaces: !self.namespaces.is_empty(),
            shared,
            patience: host::clock::now().saturating_add(patience),
            local: local_addresses(build.config).into(),
            search: search_of(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
        })
    }

    /// Says what is wrong with the files that lead to the cluster. In a pod they are the kubelet's, and elsewhere not there.
    fn inspect(&self, inspect: &mut Inspect<'_>) {
        let access = self.access(|path| inspect.path(path));
        let unread = access.files().into_iter().find_map(|path| {
            let error = inspect.look(path).err()?;
            Some(format!("{}: {error}", path.display()))
        });
        let wrong = match (unread, access) {
            (Some(unread), _) => Some(unread),
            (None, Access::InCluster) => None,
            (None, access) => access.check().err(),
        };
        if let Some(wrong) = wrong {
            inspect.tell(Severity::Error, wrong, self.span);
        }
        if let Some(snapshot) = &self.snapshot {
            let path = inspect.path(snapshot);
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            if !folder.is_dir() {
                let message = format!("{} is no directory: no snapshot is kept", folder.display());
                inspect.tell(Severity::Warning, message, self.span);
            }
        }
    }

    fn access(&self, path: impl Fn(&str) -> PathBuf) -> Access {
        match (&self.kubeconfig, &self.endpoint) {
            (Some((file, context)), _) => Access::Kubeconfig {
                file: path(file),
                context: context.clone(),
            },
            (None, Some(url)) => Access::Endpoint {
                url: url.clone(),
                tls: self.tls.as_ref().map(|[certificate, key, authority]| Tls {
                    certificate: PathBuf::from(certificate),
                    key: PathBuf::from(key),
                    authority: PathBuf::from(authority),
                }),
            },
            (None, None) => Access::InCluster,
        }
    }

    fn selections(&self) -> Vec<Selection> {
        let select = |kind, labels: &str, fields: &str| Selection {
            kind,
            labels: labels.to_owned(),
            fields: fields.to_owned(),
        };
        let mut selections = vec![
            select(Kind::Namespace, &self.namespace_labels, ""),
            select(Kind::Service, &self.labels, ""),
        ];
        if self.endpoints {
            selections.push(select(Kind::EndpointSlice, &self.labels, ""));
        }
        if self.pods == Pods::Verified {
            selections.push(select(Kind::Pod, &self.labels, LIVE_PODS));
        }
        if !self.multicluster.is_empty() {
            selections.push(select(Kind::ServiceImport, &self.namespace_labels, ""));
        }
        selections
    }
}

/// The clusters that are watched for this snapshot.
#[derive(Default)]
struct Watched(Mutex<HashMap<String, ()>>);

/// The addresses that this server answers at, loopback apart: those of `bind`, or the machine's.
fn local_addresses(config: &BlockConfig) -> Vec<IpAddr> {
    let interfaces = host::interfaces::list();
    let words = || config.bind.iter().flatten();
    let of = |word: &str| -> Vec<IpAddr> {
        let named = interfaces.iter().filter(|interface| interface.name == word);
        let ip = word.split('%').next().and_then(|ip| ip.parse().ok());
        named.map(|interface| interface.address).chain(ip).collect()
    };
    let all = || {
        interfaces
            .iter()
            .map(|interface| interface.address)
            .collect()
    };
    let mut addresses: Vec<IpAddr> = match words().any(|word| !word.except) {
        true => words()
            .filter(|word| !word.except)
            .flat_map(|word| of(&word.word))
            .collect(),
        false => all(),
    };
    if addresses.iter().any(IpAddr::is_unspecified) {
        addresses = all();
    }
    let except: Vec<IpAddr> = words()
        .filter(|word| word.except)
        .flat_map(|word| of(&word.word))
        .collect();
    addresses.retain(|address| !address.is_loopback() && !except.contains(address));
    addresses
}

/// The search list of resolv.conf(5).
pub(super) fn search_of(resolv_conf: &str) -> Box<[NameBuf]> {
    let mut search = Vec::new();
    for line in resolv_conf.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("search") => {
                search = words
                    .filter_map(|word| NameBuf::parse(word, Name::ROOT).ok())
                    .map(NameBuf::to_lower)
                    .collect();
            }
            Some("domain") => {
                search = words
                    .take(1)
                    .filter_map(|word| NameBuf::parse(word, Name::ROOT).ok())
                    .map(NameBuf::to_lower)
                    .collect()
            }
            _ => {}
        }
    }
    search.into()
}
