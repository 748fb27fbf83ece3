//! The DNS server as a lab sees it: whether one runs, whether it answers with the names that were published, and one that `run` or `up` keeps.
//!
//! A server that serves labs holds the state directory by a shared lock, so that nobody waits for one that is not there. That it
//! answers with these names, and not with those from before, is told by a TXT record.

use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{During, Error, Result};
use crate::journal::STATE;
use crate::probe;
use crate::spec::{Dns, Spec};
use crate::sys;

/// How long a server may take to answer with new names.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one query waits for its response.
const ANSWER: Duration = Duration::from_millis(100);
/// How soon it is asked again.
const AGAIN: Duration = Duration::from_millis(1);
/// How often it is looked whether there still is a server, and how soon one that did not start is started again.
const LOOK: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(10);
/// The owner, below a lab's domain, of the TXT record that says which names are served.
const MARKER: &str = "_version";

/// What is known of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It answers with these names.
    Answers,
    /// It runs, and does not answer with them at this address.
    Silent(IpAddr),
    /// There is none.
    Nobody,
    /// The lab has no address at which one could be asked.
    Nowhere,
}

/// Waits until the server answers with the names of this version, where one runs.
#[must_use]
pub fn wait(spec: &Spec, version: &str) -> Heard {
    let addresses = match spec.dns {
        Dns::Off => Vec::new(),
        Dns::Address(address) => vec![address],
        Dns::Bridge => spec
            .nets
            .iter()
            .flat_map(|net| [false, true].map(|v6| net.host_address(v6)))
            .flatten()
            .collect(),
    };
    answered(&addresses, &spec.domain, version, PATIENCE)
}

/// Waits until the server answers at these addresses with the names of this version, where one runs.
pub(crate) fn answered(
    addresses: &[IpAddr],
    domain: &str,
    version: &str,
    patience: Duration,
) -> Heard {
    if addresses.is_empty() {
        return Heard::Nowhere;
    }
    if !runs() {
        return Heard::Nobody;
    }
    let owner = format!("{MARKER}.{domain}");
    let begun = Instant::now();
    for &address in addresses {
        loop {
            match probe::text(address, &owner, ANSWER) {
                Ok(text) if text.starts_with(version) => break,
                _ if begun.elapsed() > patience => return Heard::Silent(address),
                _ => std::thread::sleep(AGAIN),
            }
        }
    }
    Heard::Answers
}

/// Whether a server that serves labs runs here.
#[must_use]
pub fn runs() -> bool {
    let Ok(state) = File::open(STATE) else {
        return false;
    };
    matches!(state.try_lock(), Err(std::fs::TryLockError::WouldBlock))
}

/// The server that somebody keeps for all labs of the machine: one of its own, unless somebody else's runs.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    own: Option<Own>,
    /// Not before then it is looked again.
    next: Option<Instant>,
}

impl Kept {
    /// Starts one if none runs, also where the last one was killed or somebody else's ended. That one cannot be had is
    /// said, and no more: a lab without names is a lab.
    pub(crate) fn keep(&mut self, spec: &Spec, outside: bool) {
        if self.own.as_mut().is_some_and(Own::has_ended) {
            self.own = None;
        }
        if self.own.is_some() || self.next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        let pause = match Own::start(spec, outside) {
            Ok(own) => {
                self.own = own;
                LOOK
            }
            Err(error) => {
                crate::warn!("warning: {error}; names do not resolve");
                RETRY
            }
        };
        self.next = Some(Instant::now() + pause);
    }

    /// The same, at once.
    pub(crate) fn hurry(&mut self) {
        self.next = None;
    }

    /// The number of its own.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.own.as_ref().map(|own| own.0.id() as i32)
    }
}

/// A server of its own, ended when dropped.
#[derive(Debug)]
struct Own(Child);

impl Own {
    /// Starts one, unless one runs; `outside` says whether other names are asked of the host's resolvers.
    fn start(spec: &Spec, outside: bool) -> Result<Option<Self>> {
        if spec.dns == Dns::Off {
            return Ok(None);
        }
        std::fs::create_dir_all(STATE).during(|| format!("cannot make {STATE}"))?;
        if runs() {
            return Ok(None);
        }
        let program = program("nameplate");
        let mut command = Command::new(&program);
        command
            .args(["-quiet", "-conf", "stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        sys::tie(&mut command, libc::SIGTERM);
        let mut child = command
            .spawn()
            .during(|| format!("cannot run {}, the DNS server", program.display()))?;
        let written = child.stdin.take().map_or(Ok(()), |mut stdin| {
            stdin.write_all(corefile(outside).as_bytes())
        });
        let own = Self(child);
        written.during(|| "cannot tell the DNS server what to serve".to_owned())?;
        own.await_lock()
    }

    /// Whether it is gone.
    fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits until it is there.
    fn await_lock(mut self) -> Result<Option<Self>> {
        let begun = Instant::now();
        while !runs() {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Err(Error::new(format!(
                    "the DNS server ended at once: {status}"
                )));
            }
            if begun.elapsed() > PATIENCE {
                return Err(Error::new("the DNS server does not come up"));
            }
            std::thread::sleep(AGAIN);
        }
        Ok(Some(self))
    }
}

/// Where the server has its admin socket, unless it is told of another place.
const ADMIN: &str = "/run/nameplate/admin";

impl Drop for Own {
    fn drop(&mut self) {
        if self.has_ended() {
            // One that was killed leaves its socket.
            let _ = std::fs::remove_file(format!("{ADMIN}/{}.sock", self.0.id()));
            let _ = std::fs::remove_dir(ADMIN);
            return;
        }
        // One that is stopped hears of the end only when it goes on.
        for signal in [libc::SIGTERM, libc::SIGCONT] {
            let _ = sys::kill(self.0.id() as i32, signal);
        }
        let _ = self.0.wait();
    }
}

/// What it serves.
fn corefile(outside: bool) -> String {
    let upstreams = crate::input::read_or_empty(Path::new("/etc/resolv.conf"));
    let known = upstreams
        .lines()
        .any(|line| line.trim_start().starts_with("nameserver"));
    let forward = if outside && known {
        "    forward . /etc/resolv.conf\n    cache 30\n"
    } else {
        // There is nobody to ask, and a closed port says so at once.
        "    forward . 127.0.0.1:9 {\n        max_fails 0\n    }\n"
    };
    format!(".:53 {{\n    lab {{\n        listen\n    }}\n{forward}    errors\n}}\n")
}

/// A program that is installed beside this one, or else somewhere on the path.
fn program(name: &str) -> PathBuf {
    let beside = std::env::current_exe()
        .and_then(|own| own.canonicalize())
        .map(|own| own.with_file_name(name));
    match beside {
        Ok(path) if path.is_file() => path,
        _ => Path::new(name).to_path_buf(),
    }
}
