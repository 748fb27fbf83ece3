//! How the verbs talk to the supervisor that keeps a lab's commands: one line of JSON there and one back, over a socket in
//! the lab's directory that root alone may use.
//!
//! Beside the socket lies a file that the supervisor holds a lock on. Who gets the lock keeps the commands; the kernel
//! gives it up when the supervisor ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{During, Error, Result};
use crate::journal::directory;
use crate::supervise::Manner;

/// Beside the journal: what the supervisor holds, and where it hears.
pub(crate) const KEEPER: &str = "keeper";
pub(crate) const SOCKET: &str = "control";
/// What the supervisor of `up` writes into the file that it holds: somebody is to keep the commands until `down`; and
/// also a DNS server.
const STAYS: &str = "up\n";
const SERVES: &str = "up --serve\n";
/// Longer requests are none.
const LONGEST: u64 = 1 << 20;
/// A reply tells of each command.
const LONGEST_REPLY: u64 = 64 << 20;
/// How long one that connects may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a supervisor may take to end everything.
const END: Duration = Duration::from_secs(10);

/// What a supervisor is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// How the commands are.
    Status,
    /// Start them.
    Start,
    /// End them, and leave them so.
    Stop,
    /// End and start them.
    Restart,
    /// Read the lab's file again.
    Reload,
    /// The same, and keep a DNS server.
    Serve,
    /// End everything, and itself.
    End,
}

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// What is wanted.
    pub verb: Verb,
    /// Of these namespaces; of all, if there are none.
    #[serde(default)]
    pub spaces: Vec<String>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    /// What was told of its end.
    #[must_use]
    pub fn of(status: ExitStatus) -> Self {
        Self {
            code: status.code(),
            signal: status.signal(),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit status {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("no exit status"),
        }
    }
}

/// How a command is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its namespace.
    pub space: String,
    /// The command.
    pub command: Vec<String>,
    /// `waiting`, `starting`, `running`, `stopping`, `restarting`, `stopped`, `ended` or `failed`.
    pub state: String,
    /// Its process, while there is one.
    pub pid: Option<i32>,
    /// How often it was started again after it ended by itself.
    pub restarts: u32,
    /// How it ended when it last did so by itself.
    #[serde(default)]
    pub last_exit: Option<Exit>,
    /// How it ended, or why it did not start.
    pub why: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reply {
    /// What did not work.
    pub problems: Vec<String>,
    /// The commands that were meant.
    pub commands: Vec<State>,
    /// What differs from the file (`Status`), or was started and ended because the file changed (`Reload`).
    #[serde(default)]
    pub changes: Vec<String>,
    /// Whether the supervisor stays when no terminal is there: it is that of `up`.
    pub stays: bool,
}

/// The right to keep the commands of a lab, and where that is asked for.
#[derive(Debug)]
pub(crate) struct Keeper {
    lock: File,
    socket: PathBuf,
}

impl Keeper {
    /// Takes the right, unless somebody has it or there is no such lab; requests go to `heard`. One that stays leaves word
    /// that the commands are to be kept.
    pub(crate) fn take(
        lab: &str,
        manner: Manner,
        heard: impl Fn(Request, UnixStream) + Send + 'static,
    ) -> io::Result<Option<Self>> {
        let place = directory(lab);
        if !place.join("journal.json").exists() {
            return Ok(None);
        }
        let path = place.join(KEEPER);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        if lock.try_lock().is_err() || !is_there(&path, &lock) {
            return Ok(None);
        }
        let socket = place.join(SOCKET);
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Ok(request) = hear(&stream) {
                    heard(request, stream);
                }
            }
        });
        let mut keeper = Self { lock, socket };
        keeper.leave_word(manner)?;
        Ok(Some(keeper))
    }

    /// Leaves word of what is to be kept, if it is to be until `down`.
    pub(crate) fn leave_word(&mut self, manner: Manner) -> io::Result<()> {
        let word = match manner {
            Manner::Passes => return Ok(()),
            Manner::Stays { serves: false } => STAYS,
            Manner::Stays { serves: true } => SERVES,
        };
        self.lock.set_len(0)?;
        self.lock.write_all_at(word.as_bytes(), 0)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        let _ = self.lock.unlock();
    }
}

/// Whether an open file is still that of its path.
fn is_there(path: &std::path::Path, file: &File) -> bool {
    let inode = |data: io::Result<std::fs::Metadata>| data.map(|data| data.ino()).ok();
    inode(std::fs::metadata(path)) == inode(file.metadata())
}

/// Whether the commands of a lab are to be kept until `down`: `up` began to.
pub(crate) fn is_to_be_kept(lab: &str) -> bool {
    word(lab).is_some_and(|word| word == STAYS || word == SERVES)
}

/// Whether a DNS server is to be kept as well.
pub(crate) fn is_to_be_served(lab: &str) -> bool {
    word(lab).is_some_and(|word| word == SERVES)
}

/// What the supervisor of `up` wrote.
fn word(lab: &str) -> Option<String> {
    crate::input::read(&directory(lab).join(KEEPER)).ok()
}

/// Reads a request.
fn hear(stream: &UnixStream) -> io::Result<Request> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(io::Read::take(stream, LONGEST)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Answers; who asked may be gone.
pub(crate) fn answer(stream: &mut UnixStream, reply: &Reply) {
    let text = serde_json::to_string(reply).unwrap_or_default();
    let _ = writeln!(stream, "{text}");
}

/// Reads an answer.
pub(crate) fn reply(stream: &UnixStream) -> Result<Reply> {
    let mut line = String::new();
    BufReader::new(io::Read::take(stream, LONGEST_REPLY))
        .read_line(&mut line)
        .during(|| "the supervisor does not answer".to_owned())?;
    serde_json::from_str(&line)
        .map_err(|_| Error::new("the supervisor ended before it had answered"))
}

/// Asks the supervisor of a lab; nothing, if the lab has none.
///
/// # Errors
/// It ends before it has answered.
pub fn ask(lab: &str, verb: Verb, spaces: &[String]) -> Result<Option<Reply>> {
    let Ok(mut stream) = UnixStream::connect(directory(lab).join(SOCKET)) else {
        return Ok(None);
    };
    let request = Request {
        verb,
        spaces: spaces.to_vec(),
    };
    let text = serde_json::to_string(&request).unwrap_or_default();
    writeln!(stream, "{text}").during(|| "cannot ask the supervisor".to_owned())?;
    reply(&stream).map(Some)
}

/// Ends the supervisor of a lab, if it has one, with all its commands, and what one that was killed left behind.
///
/// # Errors
/// It does not end.
pub(crate) fn end(lab: &str) -> Result<()> {
    let path = directory(lab).join(KEEPER);
    let Ok(lock) = File::open(&path) else {
        return Ok(());
    };
    let begun = Instant::now();
    let mut asked = false;
    while lock.try_lock().is_err() {
        if !asked {
            // One that ends at this moment may not answer.
            asked = ask(lab, Verb::End, &[]).is_ok_and(|reply| reply.is_some());
        }
        if begun.elapsed() > END {
            return Err(Error::new(format!(
                "the supervisor of lab {lab} does not end; `fuser {}` shows its process ID",
                path.display()
            )));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    crate::process::end_marked(lab);
    Ok(())
}
