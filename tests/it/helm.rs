//! The Helm chart: rendered, beside what CoreDNS's chart makes of the same values.
//!
//! `*.coredns.yaml` is the output of CoreDNS's chart, version 1.46.2. Helm's engine is `helm`, or the package helm-python-sdk, which tests/run
//! installs where it can; without either the tests that render are skipped, and those that read the chart run all the same.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::readmes::check;
use crate::server::temporary_directory;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn here(file: &str) -> PathBuf {
    root().join("tests/it/helm").join(file)
}

/// What Helm makes of the chart and a file of values; nothing where there is no Helm, which is said.
fn render(values: &Path) -> Option<String> {
    let chart = root().join("deploy/helm");
    let (release, namespace) = ("coredns", "kube-system");
    let helm = Command::new("helm")
        .args(["template", release, "--namespace", namespace, "--values"])
        .args([values.as_os_str(), chart.as_os_str()])
        .output();
    if let Ok(output) = helm {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        return Some(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let python = |arguments: &[&std::ffi::OsStr]| {
        Command::new("python3")
            .args(arguments)
            .env("PYTHONPATH", root().join("target/helm"))
            .output()
    };
    let has_engine = python(&["-c".as_ref(), "import helm_python".as_ref()])
        .is_ok_and(|output| output.status.success());
    if !has_engine {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED rendering of the Helm chart: there is neither `helm` nor helm-python-sdk"
        );
        return None;
    }
    let script = here("render.py");
    let output = python(&[
        script.as_os_str(),
        chart.as_os_str(),
        release.as_ref(),
        namespace.as_ref(),
        values.as_os_str(),
    ]);
    let output = output.expect("python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn render_text(test: &str, values: &str) -> Option<Vec<Value>> {
    let file = temporary_directory(test).join("values.yaml");
    std::fs::write(&file, values).expect("written");
    render(&file).map(|text| objects(&text))
}

fn objects(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    all.into_iter().filter(|object| !object.is_null()).collect()
}

fn find<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind)
        .unwrap_or_else(|| panic!("no {kind}"))
}

/// Leaves out what two charts cannot have in common: their names, the image, and sums over texts with these.
fn without_the_chart(mut object: Value) -> Value {
    if let Some(labels) = object.pointer_mut("/metadata/labels") {
        labels["helm.sh/chart"] = json!("");
        if labels.get("app.kubernetes.io/version").is_some() {
            labels["app.kubernetes.io/version"] = json!("");
        }
    }
    if let Some(annotations) = object.pointer_mut("/spec/template/metadata/annotations") {
        for sum in ["checksum/config", "checksum/configmap"] {
            if annotations.get(sum).is_some() {
                annotations[sum] = json!("");
            }
        }
    }
    if let Some(image) = object.pointer_mut("/spec/template/spec/containers/0/image") {
        *image = json!("");
    }
    object
}

/// The objects by kind and name, in an order of their own.
fn by_name(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let named = objects.into_iter().map(|object| {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        (name, without_the_chart(object))
    });
    named.collect()
}

#[test]
fn the_same_values_make_the_objects_of_the_chart_of_coredns() {
    for name in ["default", "full", "plain"] {
        let Some(rendered) = render(&here(&format!("{name}.values.yaml"))) else {
            return;
        };
        let expected = std::fs::read_to_string(here(&format!("{name}.coredns.yaml")));
        let expected = by_name(objects(&expected.expect("the expected objects")));
        let got = by_name(objects(&rendered));
        assert_eq!(
            got.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{name}"
        );
        for (object, expected) in expected {
            assert_eq!(got[&object], expected, "{name}: {object}");
        }
    }
}

#[test]
fn the_corefile_of_the_default_values_is_served() {
    let Some(rendered) = render(&here("default.values.yaml")) else {
        return;
    };
    let objects = objects(&rendered);
    let corefile = find(&objects, "ConfigMap")["data"]["Corefile"].clone();
    let corefile = corefile.as_str().expect("a text");
    assert!(corefile.contains("lameduck 10s"), "{corefile}");
    assert!(check("the chart's Corefile", corefile).is_empty());
    let page = std::fs::read_to_string(root().join("deploy/helm/README.md")).expect("a page");
    let script = page
        .split("sed -n '")
        .nth(1)
        .and_then(|rest| rest.split('\'').next());
    let script = script.expect("the page extracts the Corefile");
    let file = temporary_directory("helm_page").join("rendered.yaml");
    std::fs::write(&file, &rendered).expect("written");
    let extracted = Command::new("sed").args(["-n", script]).arg(file).output();
    let extracted = extracted.expect("sed runs").stdout;
    assert_eq!(String::from_utf8_lossy(&extracted).trim(), corefile.trim());
    let containers = &find(&objects, "Deployment")["spec"]["template"]["spec"]["containers"];
    assert_eq!(
        containers[0]["args"],
        json!(["-conf", "/etc/coredns/Corefile"])
    );
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        containers[0]["image"],
        json!(format!("nameplate:{version}"))
    );
}

/// Values that were copied from CoreDNS's chart name its image; to start that one would be no change at all.
#[test]
fn values_with_the_image_of_coredns_get_nameplate() {
    let version = env!("CARGO_PKG_VERSION");
    let ours = format!("nameplate:{version}");
    for (values, expected) in [
        ("{ repository: coredns/coredns, tag: 1.13.1 }", &*ours),
        ("{ repository: registry.k8s.io/coredns/coredns }", &*ours),
        (
            "{ repository: registry.example.org/nameplate, tag: edge }",
            "registry.example.org/nameplate:edge",
        ),
    ] {
        let Some(objects) = render_text("helm_image", &format!("image: {values}\n")) else {
            return;
        };
        let pod = &find(&objects, "Deployment")["spec"]["template"];
        assert_eq!(pod["spec"]["containers"][0]["image"], json!(expected));
    }
}

#[test]
fn schemes_open_the_ports_of_their_transports() {
    let values = "servers:\n- port: 853\n  zones:\n  - { zone: ., scheme: tls:// }\n  - { zone: ., scheme: quic:// }\n  plugins: [{ name: whoami }]\n";
    let Some(objects) = render_text("helm_schemes", values) else {
        return;
    };
    let ports = &find(&objects, "Service")["spec"]["ports"];
    let protocols = |list: &Value| {
        let list = list.as_array().expect("a list").iter();
        list.map(|port| port["protocol"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(protocols(ports), [json!("UDP"), json!("TCP")]);
    let pod = &find(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(
        protocols(&pod["containers"][0]["ports"]),
        [json!("UDP"), json!("TCP")]
    );
}

/// The templates as they stand, in a folder.
fn templates() -> Vec<(String, String)> {
    let folder = root().join("deploy/helm/templates");
    let files = std::fs::read_dir(folder).expect("the folder").flatten();
    let texts = files.map(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(file.path()).expect("a text"))
    });
    texts.collect()
}

#[test]
fn every_value_that_a_template_reads_is_documented() {
    let text = std::fs::read_to_string(root().join("deploy/helm/values.yaml")).expect("values");
    let values: Value = serde_saphyr::from_str(&text).expect("YAML");
    // Those of CoreDNS's chart that its values.yaml leaves out.
    const UNLISTED: [&str; 4] = [
        "nameOverride",
        "fullnameOverride",
        "automountServiceAccountToken",
        "k8sAppLabelOverride",
    ];
    for (name, template) in templates() {
        for part in template.split(".Values.").skip(1) {
            let path = part
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
                .next()
                .unwrap_or_default();
            let key = path.split('.').next().unwrap_or_default();
            assert!(
                values.get(key).is_some() || UNLISTED.contains(&key),
                "{name} reads .Values.{path}, and values.yaml has no {key}"
            );
        }
    }
    let chart = std::fs::read_to_string(root().join("deploy/helm/Chart.yaml")).expect("a chart");
    let chart: Value = serde_saphyr::from_str(&chart).expect("YAML");
    assert_eq!(chart["appVersion"], json!(env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_block_of_a_template_has_its_end() {
    for (name, template) in templates() {
        let mut open = 0_i32;
        for action in template.split("{{").skip(1) {
            let word = action
                .trim_start_matches(['-', ' '])
                .split([' ', '-', '}'])
                .next();
            match word {
                Some("if" | "range" | "with" | "define" | "block") => open += 1,
                Some("end") => open -= 1,
                _ => {}
            }
            assert!(open >= 0, "{name}: an end too many");
        }
        assert_eq!(open, 0, "{name}");
    }
}
