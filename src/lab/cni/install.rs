//! The plugin where container runtimes look for it: its program in one directory, a network's configuration in another.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::config::Config;
use super::failure::Failure;
use crate::error::{During, Error, Result};
use crate::input;
use crate::journal::replace;

/// The program's name, and the type of its configurations.
pub(super) const PROGRAM: &str = "nameplate-cni";

/// What the program says of itself, by which a file is known to be it, of whatever version.
pub(super) const SELF: &str = "a CNI plugin, called by a container runtime";

/// What to install, and where.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Where runtimes look for plugins.
    pub programs: PathBuf,
    /// Where they look for networks.
    pub networks: PathBuf,
    /// Whether the program is linked to instead of copied.
    pub link: bool,
    /// The network's name.
    pub name: String,
    /// Its bridge.
    pub bridge: String,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
}

/// Installs; what was done, a line each. What is there and not ours is left, and then nothing is done.
///
/// # Errors
/// Something else is there, or what is asked for cannot be a network's.
pub fn install(what: &Installation) -> Result<Vec<String>> {
    let program = what.programs.join(PROGRAM);
    let own = own_program()?;
    let is_there = program.symlink_metadata().is_ok();
    if is_there && !is_ours(&program) {
        return Err(Error::new(format!(
            "{} exists and is not nameplate's; nothing was done",
            program.display()
        )));
    }
    let text = configuration(what)?;
    let file = what.networks.join(format!("10-{}.conflist", what.name));
    let is_known = file.symlink_metadata().is_ok();
    if is_known && input::read(&file).ok().as_deref() != Some(text.as_str()) {
        return Err(Error::new(format!(
            "{} exists and says something else; nothing was done: edit it, or remove it and install again",
            file.display()
        )));
    }
    let others = super::runtime::lists(&what.networks);
    if let Some((other, _)) = others
        .iter()
        .find(|(path, list)| list["name"] == what.name.as_str() && *path != file)
    {
        return Err(Error::new(format!(
            "{} has a network {} already; nothing was done: `--name` gives this one another",
            other.display(),
            what.name
        )));
    }
    let mut done = Vec::new();
    let place = || -> io::Result<bool> {
        fs::create_dir_all(&what.programs)?;
        match what.link {
            true => link(&own, &program),
            false => copy(&own, &program),
        }
    };
    if place().during(|| format!("cannot make {}", program.display()))? {
        done.push(format!("+ program {}", program.display()));
    }
    if !is_known {
        let write = || -> io::Result<()> {
            fs::create_dir_all(&what.networks)?;
            replace(&file, &file.with_extension("new"), text.as_bytes(), 0o644)
        };
        write().during(|| format!("cannot write {}", file.display()))?;
        done.push(format!("+ network {}", file.display()));
    }
    if let Some((first, _)) = others.first().filter(|(path, _)| *path < file) {
        done.push(format!(
            "note: a runtime that uses the first network uses {}",
            first.display()
        ));
    }
    Ok(done)
}

/// The program as it is now: beside this one, or this one, which does the same under that name.
fn own_program() -> Result<PathBuf> {
    let here = std::env::current_exe().during(|| "cannot find this program".to_owned())?;
    let beside = here.with_file_name(PROGRAM);
    Ok(if beside.is_file() { beside } else { here })
}

/// Whether a file is the program, or a link that leads to it.
fn is_ours(program: &Path) -> bool {
    let octets = whole(program).unwrap_or_default();
    octets
        .windows(SELF.len())
        .any(|window| window == SELF.as_bytes())
}

/// What a program consists of.
fn whole(program: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    input::regular(program)?.read_to_end(&mut octets)?;
    Ok(octets)
}

/// Copies the program, by a rename: containers may be starting. Whether anything changed.
fn copy(own: &Path, program: &Path) -> io::Result<bool> {
    let is_link = program.is_symlink();
    if !is_link && program.exists() && whole(own)? == whole(program)? {
        return Ok(false);
    }
    let new = program.with_file_name(format!(".{PROGRAM}"));
    let place = || -> io::Result<()> {
        fs::copy(own, &new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        fs::rename(&new, program)
    };
    place().inspect_err(|_| drop(fs::remove_file(&new)))?;
    Ok(true)
}

/// Makes a link to the program; whether anything changed.
fn link(own: &Path, program: &Path) -> io::Result<bool> {
    if fs::read_link(program).is_ok_and(|to| to == own) {
        return Ok(false);
    }
    let new = program.with_file_name(format!(".{PROGRAM}"));
    let _ = fs::remove_file(&new);
    std::os::unix::fs::symlink(own, &new)?;
    fs::rename(&new, program).inspect_err(|_| drop(fs::remove_file(&new)))?;
    Ok(true)
}

/// The network's configuration.
fn configuration(what: &Installation) -> Result<String> {
    let sets: Vec<Value> = what
        .subnets
        .iter()
        .map(|subnet| json!([{"subnet": subnet}]))
        .collect();
    let plugin = json!({
        "type": PROGRAM, "bridge": what.bridge, "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
        "capabilities": {"portMappings": true, "aliases": true, "ips": true, "mac": true, "dns": true},
        "ipam": {"type": "host-local", "ranges": sets},
        "lab": {"domain": format!("{}.test", what.name)},
    });
    let mut alone = plugin.clone();
    alone["name"] = json!(what.name);
    alone["cniVersion"] = json!("1.0.0");
    let read = Config::read(alone.to_string().as_bytes()).and_then(|config| config.supported());
    read.map_err(|Failure { message, .. }| Error::new(message))?;
    let list = json!({"cniVersion": "1.0.0", "name": what.name, "plugins": [plugin]});
    Ok(format!("{list:#}\n"))
}
