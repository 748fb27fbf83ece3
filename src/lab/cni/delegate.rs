//! Other plugins: address management that is not ours, found in `CNI_PATH` and run as the specification says.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Call;
use super::failure::{Code, Failure, Result};

/// Runs a plugin with a verb of its own or ours; what it printed.
pub(super) fn run(call: &Call, kind: &str, verb: &str) -> Result<Value> {
    let path = find(&call.path, kind)?;
    // The rest of the environment (container, namespace, interface, arguments) is the caller's.
    execute(kind, &path, &[("CNI_COMMAND", verb)], &call.input)
}

/// Runs a program with variables and what it reads; what it printed.
pub(super) fn execute(
    kind: &str,
    path: &Path,
    variables: &[(&str, &str)],
    input: &[u8],
) -> Result<Value> {
    let unable =
        |error| Failure::because(Code::Io, format!("cannot run {}", path.display()), error);
    let mut child = Command::new(path)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(unable)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin that does not read its configuration says so itself.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().map_err(unable)?;
    let value: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    if output.status.success() {
        return Ok(value);
    }
    Err(Failure {
        code: value["code"]
            .as_u64()
            .map_or(Code::Io as u32, |code| code as u32),
        message: match value["msg"].as_str() {
            Some(message) => format!("{kind}: {message}"),
            None => format!("{kind} ended with {}", output.status),
        },
        details: value["details"].as_str().unwrap_or("").to_owned(),
    })
}

/// Runs a verb of version 1.1.0, if the plugin speaks that.
pub(super) fn run_if_spoken(call: &Call, kind: &str, verb: &str) -> Result<()> {
    let spoken = run(call, kind, "VERSION")?;
    let versions = spoken["supportedVersions"].as_array();
    if versions.is_some_and(|versions| versions.iter().any(|version| version == "1.1.0")) {
        run(call, kind, verb)?;
    }
    Ok(())
}

/// Where a plugin is.
pub(super) fn find(directories: &str, kind: &str) -> Result<PathBuf> {
    // A path in a type would run anything.
    if kind.is_empty() || kind.contains('/') || kind.starts_with('.') {
        return Err(Failure::new(
            Code::Config,
            format!("`{kind}` cannot be a plugin's type"),
        ));
    }
    let found = directories
        .split(':')
        .filter(|directory| !directory.is_empty())
        .map(|directory| PathBuf::from(directory).join(kind))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        let message = format!("plugin `{kind}` is not in CNI_PATH");
        Failure::because(Code::Environment, message, directories)
    })
}
