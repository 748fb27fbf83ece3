//! Runs the commands of the pages in docs/, as they stand there; docs/lan.md has its test beside that of `install`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::server::{skip, temporary_directory, tool};

/// What stands for kubectl: it knows the calls of the page, and nothing else.
const KUBECTL: &str = r#"#!/bin/bash
echo "kubectl $*" >>"$STATE/calls"
case "$*" in
    "-n kube-system get configmap coredns -o jsonpath={.data.Corefile}") cat "$STATE/Corefile" ;;
    "-n kube-system get deployment coredns -o jsonpath={.spec.replicas} {.spec.strategy.rollingUpdate.maxUnavailable}") echo 1 1 ;;
    "-n kube-system patch deployment coredns --patch "*) python3 -m json.tool <<<"${*: -1}" ;;
    "-n kube-system set image deployment/coredns coredns=registry.example.org/nameplate:0.1.0") echo updated ;;
    "-n kube-system rollout status deployment/coredns --timeout=120s") echo rolled out ;;
    "-n kube-system rollout undo deployment/coredns") echo rolled back ;;
    "-n kube-system logs deployment/coredns") nameplate -version ;;
    "run ask --image=busybox:1.36 --restart=Never --rm -i -- nslookup kubernetes.default.svc.cluster.local") echo 10.96.0.1 ;;
    "get --raw /api/v1/namespaces/kube-system/services/kube-dns:metrics/proxy/metrics") echo coredns_panics_total 0 ;;
    *) echo "unknown: kubectl $*" >&2; exit 1 ;;
esac
"#;

/// The commands in the `sh` blocks of a page.
fn commands(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(page);
    let text = std::fs::read_to_string(path).expect("the page");
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => found.push(line.to_owned()),
            _ => {}
        }
    }
    assert!(found.len() >= 8, "{page}: {found:?}");
    found.join("\n")
}

/// Runs a script in a network of its own, with programs of the test's before all others; what it printed, if networks can be made.
fn run(dir: &Path, programs: &[(&str, &str)], script: &str) -> Option<String> {
    let allowed = Command::new("unshare")
        .args(["-rn", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !allowed {
        skip("namespaces may not be made here (unshare -rn)");
        return None;
    }
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    for (name, text) in programs {
        let program = bin.join(name);
        std::fs::write(&program, text).expect("a script");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_nameplate"), bin.join("nameplate"))
        .expect("a link");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("unshare")
        .args([
            "-rn",
            "--pid",
            "--fork",
            "--kill-child",
            "bash",
            "-euo",
            "pipefail",
            "-c",
        ])
        .arg(format!("sudo() {{ \"$@\"; }}\nip link set lo up\n{script}"))
        .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", bin.display()))
        .env("STATE", dir)
        .current_dir(dir)
        .output()
        .expect("unshare runs");
    let out = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}");
    Some(out)
}

#[test]
fn the_page_about_the_move_is_true() {
    if tool("unshare").is_none() || tool("ip").is_none() {
        return;
    }
    let dir = temporary_directory("page_coredns");
    // The machine's folders are left alone: these stand for them.
    let (corefile, unit): (PathBuf, PathBuf) = (dir.join("Corefile"), dir.join("coredns.service"));
    std::fs::write(
        &corefile,
        ". {\n    bind 127.0.0.1\n    log\n    hosts {\n        192.0.2.1 www.example.org\n        2001:db8::1 www.example.org\n    }\n    errors\n}\n",
    )
    .expect("written");
    std::fs::write(
        &unit,
        "[Service]\nExecStart=/usr/bin/coredns -conf /etc/coredns/Corefile\n",
    )
    .expect("written");
    let page = commands("coredns.md")
        .replace("/etc/coredns/Corefile", &corefile.display().to_string())
        .replace("/etc/systemd/system/coredns.service", &unit.display().to_string())
        // Nobody who types is as quick as this.
        .replace(
            "-dns.port 1053 &\n",
            "-dns.port 1053 >new.log 2>&1 &\nuntil nameplate query @127.0.0.1:1053 . +time=1 >/dev/null; do :; done\n",
        );
    // What stands for CoreDNS.
    let old = format!(
        "nameplate -conf {} >old.log 2>&1 &\nold=$!\nuntil nameplate query @127.0.0.1 . +time=1 >/dev/null; do :; done\n",
        corefile.display()
    );
    let script = format!("{old}{}\nkill $old", page.replace("kill %1", "kill %2"));
    let systemctl = "#!/bin/bash\necho \"systemctl $*\"\nif [ \"$1\" = restart ]; then grep ExecStart \"$STATE/$2\"; fi\n";
    let Some(out) = run(&dir, &[("systemctl", systemctl)], &script) else {
        return;
    };
    for said in ["no mistakes", "(order coredns-1.14.7)", "runs  written"] {
        assert!(out.contains(said), "{said}: {out}");
    }
    let restarts: Vec<&str> = out
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart=/usr/bin/"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(restarts, ["nameplate", "coredns"], "{out}");
}

#[test]
fn the_page_about_clusters_is_true() {
    if ["unshare", "ip", "python3"]
        .iter()
        .any(|name| tool(name).is_none())
    {
        return;
    }
    let dir = temporary_directory("page_cluster");
    std::fs::write(
        dir.join("Corefile"),
        ".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n       pods insecure\n       fallthrough in-addr.arpa ip6.arpa\n       ttl 30\n    }\n    prometheus :9153\n    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n    cache 30\n    loop\n    reload\n    loadbalance\n}\n",
    )
    .expect("written");
    let docker = "#!/bin/bash\necho \"docker $*\" >>\"$STATE/calls\"\n";
    let programs = [("kubectl", KUBECTL), ("docker", docker)];
    let Some(out) = run(&dir, &programs, &commands("cluster.md")) else {
        return;
    };
    assert!(out.contains("stdin: no mistakes"), "{out}");
    let calls = std::fs::read_to_string(dir.join("calls")).expect("calls");
    assert!(calls.lines().count() >= 10, "{calls}");
    assert!(
        calls.contains("docker push registry.example.org/nameplate:0.1.0"),
        "{calls}"
    );
    // The page deploys the version that is in the tree.
    assert!(
        calls.contains(&format!("nameplate:{}", env!("CARGO_PKG_VERSION"))),
        "{calls}"
    );
}

/// Links from page to page, and to headings on them, lead somewhere.
#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![
        root.join("README.md"),
        root.join("DIFFERENCES.md"),
        root.join("CONTRIBUTING.md"),
        root.join("SECURITY.md"),
        root.join("CHANGELOG.md"),
        root.join("deploy/README.md"),
        root.join("deploy/helm/README.md"),
    ];
    let docs = std::fs::read_dir(root.join("docs")).expect("the pages");
    pages.extend(docs.flatten().map(|entry| entry.path()));
    let mut wrong = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(page).expect("a page");
        let folder = page.parent().expect("a folder");
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                folder.join(file)
            };
            if !target.exists() {
                wrong.push(format!("{}: {link}", page.display()));
                continue;
            }
            if heading.is_empty() {
                continue;
            }
            let target = std::fs::read_to_string(&target).unwrap_or_default();
            let known = target
                .lines()
                .filter(|line| line.starts_with('#'))
                .map(anchor);
            if !known.into_iter().any(|known| known == heading) {
                wrong.push(format!("{}: {link}: no such heading", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
