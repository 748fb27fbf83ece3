//! The runtime's side, as cnitool has it: a network's plugins are called one after the other for a namespace, and what they
//! said is kept where libcni looks for it, `/var/lib/cni/results/NETWORK-CONTAINER-INTERFACE`.
//!
//! The environment says what cnitool takes from it: `CNI_ARGS`, and `CAP_ARGS` as JSON.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::config::{OLDEST, is_name};
use super::delegate;
use super::failure::Failure;
use super::plumbing::Namespace;
use crate::error::{During, Error, Result};
use crate::journal::{absent_is_fine, replace};
use crate::{input, space};

/// Where libcni keeps results.
const RESULTS: &str = "/var/lib/cni/results";

/// An interface of a container on a network.
#[derive(Clone, Debug)]
pub struct Attaching {
    /// Where networks are.
    pub networks: PathBuf,
    /// Where plugins are: directories with colons between.
    pub programs: String,
    /// The network.
    pub network: String,
    /// The container.
    pub container: String,
    /// Its namespace, by path or by name; of one that is gone there may be none.
    pub namespace: Option<String>,
    /// The interface.
    pub interface: String,
}

/// A network's plugins, and what is told to each.
struct List {
    /// The configuration, as one list.
    whole: Value,
    /// Pairs of `CNI_ARGS`.
    arguments: Value,
    /// What the runtime can say, by capability.
    capabilities: Value,
    /// The last result.
    result: Value,
}

impl Attaching {
    /// ADD of each plugin; the last result. Where one fails, what the others did is taken back.
    ///
    /// # Errors
    /// There is no such network or namespace, the interface is there already, or a plugin failed.
    pub fn add(&self) -> Result<String> {
        let file = self.file()?;
        let namespace = self.path();
        let is_there = Namespace::open(&namespace)
            .and_then(|namespace| namespace.link(&self.interface))
            .map_err(told)?
            .is_some();
        if is_there || file.exists() {
            return Err(Error::new(format!(
                "{} has an interface {} already: `nameplate-lab cni del` first",
                self.container, self.interface
            )));
        }
        let mut list = self.declared()?;
        let mut done = Ok(());
        for plugin in list.plugins() {
            match self.call("ADD", &list, &plugin) {
                Ok(result) => list.result = result,
                Err(error) => {
                    done = Err(error);
                    break;
                }
            }
        }
        let kept = done.and_then(|()| self.keep(&file, &list));
        if let Err(error) = kept {
            // What cannot be taken back is for a `del` by hand.
            let _ = self.detach(&list);
            return Err(error);
        }
        Ok(format!("{:#}", list.result))
    }

    /// DEL of each plugin, the last one first; with the configuration that attached it, if that is known.
    ///
    /// # Errors
    /// There is no such network, or a plugin failed.
    pub fn del(&self) -> Result<()> {
        let file = self.file()?;
        let list = match kept(&file) {
            Some(list) => list,
            None => self.declared()?,
        };
        self.detach(&list)?;
        absent_is_fine(fs::remove_file(&file))
            .during(|| format!("cannot remove {}", file.display()))
    }

    /// The same without the file. One that fails keeps no other from being called; the first failure is told.
    fn detach(&self, list: &List) -> Result<()> {
        let mut first = Ok(());
        for plugin in list.plugins().iter().rev() {
            let done = self.call("DEL", list, plugin).map(drop);
            first = first.and(done);
        }
        first
    }

    /// One call of one plugin.
    fn call(&self, verb: &str, list: &List, plugin: &Value) -> Result<Value> {
        let mut config = plugin.clone();
        config["name"] = json!(self.network);
        config["cniVersion"] = json!(list.version());
        let is_told =
            verb == "ADD" || !["0.1.0", "0.2.0", "0.3.0", "0.3.1"].contains(&list.version());
        if is_told && !list.result.is_null() {
            config["prevResult"] = list.result.clone();
        }
        for (capability, enabled) in plugin["capabilities"].as_object().into_iter().flatten() {
            if *enabled == true && !list.capabilities[capability].is_null() {
                config["runtimeConfig"][capability] = list.capabilities[capability].clone();
            }
        }
        let pairs = list.arguments.as_array().into_iter().flatten();
        let pairs =
            pairs.filter_map(|pair| Some(format!("{}={}", pair[0].as_str()?, pair[1].as_str()?)));
        let (namespace, arguments) = (self.path(), pairs.collect::<Vec<_>>().join(";"));
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", &self.container),
            ("CNI_NETNS", &namespace),
            ("CNI_IFNAME", &self.interface),
            ("CNI_ARGS", &arguments),
            ("CNI_PATH", &self.programs),
        ];
        let kind = plugin["type"].as_str().unwrap_or_default();
        let program = delegate::find(&self.programs, kind).map_err(told)?;
        delegate::execute(kind, &program, &variables, config.to_string().as_bytes()).map_err(told)
    }

    /// The network as it is declared now, with what the environment says.
    fn declared(&self) -> Result<List> {
        let found = lists(&self.networks);
        let found = found
            .into_iter()
            .find(|(_, list)| list["name"] == self.network.as_str());
        let Some((_, whole)) = found else {
            return Err(Error::new(format!(
                "there is no network {} in {}",
                self.network,
                self.networks.display()
            )));
        };
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let pairs = variable("CNI_ARGS");
        let pairs = pairs.split(';').filter_map(|pair| pair.split_once('='));
        let capabilities = match variable("CAP_ARGS").as_str() {
            "" => json!({}),
            text => serde_json::from_str(text)
                .map_err(|error| Error::new(format!("CAP_ARGS is not JSON: {error}")))?,
        };
        Ok(List {
            whole,
            arguments: pairs.map(|(key, value)| json!([key, value])).collect(),
            capabilities,
            result: Value::Null,
        })
    }

    /// The path of the namespace; empty if there is none.
    fn path(&self) -> String {
        match self.namespace.as_deref() {
            Some(path) if path.contains('/') => path.to_owned(),
            Some(name) => space::path(name).display().to_string(),
            None => String::new(),
        }
    }

    /// The file of the result.
    fn file(&self) -> Result<PathBuf> {
        for (what, word) in [
            ("network", &self.network),
            ("container", &self.container),
            ("interface", &self.interface),
        ] {
            if !is_name(word) {
                return Err(Error::new(format!(
                    "`{word}` cannot be the name of a {what}"
                )));
            }
        }
        let name = format!("{}-{}-{}", self.network, self.container, self.interface);
        Ok(Path::new(RESULTS).join(name))
    }

    /// Keeps what was said, as libcni does.
    fn keep(&self, file: &Path, list: &List) -> Result<()> {
        let mut text = Map::new();
        let mut add = |key: &str, value: Value| text.insert(key.to_owned(), value);
        add("kind", json!("cniCacheV1"));
        add("containerId", json!(self.container));
        add("config", json!(STANDARD.encode(list.whole.to_string())));
        add("ifName", json!(self.interface));
        add("networkName", json!(self.network));
        add("netns", json!(self.path()));
        if list
            .arguments
            .as_array()
            .is_some_and(|pairs| !pairs.is_empty())
        {
            add("cniArgs", list.arguments.clone());
        }
        if list
            .capabilities
            .as_object()
            .is_some_and(|all| !all.is_empty())
        {
            add("capabilityArgs", list.capabilities.clone());
        }
        add("result", list.result.clone());
        let write = || -> io::Result<()> {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(RESULTS)?;
            let text = Value::Object(text).to_string();
            replace(
                file,
                &file.with_file_name(".nameplate"),
                text.as_bytes(),
                0o600,
            )
        };
        write().during(|| format!("cannot write {}", file.display()))
    }
}

impl List {
    /// The plugins, in their order.
    fn plugins(&self) -> Vec<Value> {
        self.whole["plugins"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// The version of the specification.
    fn version(&self) -> &str {
        self.whole["cniVersion"].as_str().unwrap_or(OLDEST)
    }
}

/// What was kept of an attachment, by us or by a runtime with libcni.
fn kept(file: &Path) -> Option<List> {
    let text = input::octets(file).ok()?;
    let mut text: Value = serde_json::from_slice(&text).ok()?;
    let whole: Value =
        serde_json::from_slice(&STANDARD.decode(text["config"].as_str()?).ok()?).ok()?;
    let whole = as_list(whole);
    (text["kind"] == "cniCacheV1").then(|| List {
        whole,
        arguments: text["cniArgs"].take(),
        capabilities: text["capabilityArgs"].take(),
        result: text["result"].take(),
    })
}

/// What a plugin said, in words.
fn told(failure: Failure) -> Error {
    let details = match failure.details.as_str() {
        "" => String::new(),
        details => format!(": {details}"),
    };
    Error::new(format!(
        "{}{details} (code {})",
        failure.message, failure.code
    ))
}

/// The networks of a directory in the order in which a runtime reads them; what cannot be read is none.
pub(super) fn lists(directory: &Path) -> Vec<(PathBuf, Value)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            extension.is_some_and(|extension| ["conflist", "conf", "json"].contains(&extension))
        })
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let list = serde_json::from_slice(&input::octets(&path).ok()?).ok()?;
        Some((path, as_list(list)))
    };
    paths.into_iter().filter_map(read).collect()
}

/// A configuration as a list; that of one plugin alone is a list of one.
fn as_list(config: Value) -> Value {
    match config["plugins"].is_array() {
        true => config,
        false => {
            json!({"cniVersion": config["cniVersion"], "name": config["name"], "plugins": [config]})
        }
    }
}
