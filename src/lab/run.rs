//! `run`: a lab that lives as long as a command, or until a signal; `up`: the commands of a lab, kept without a terminal.
//!
//! ```text
//!  guard ──► supervisor ──┬─► the DNS server
//!    │           │        ├─► the command of each namespace
//!    │           │        └─► the command beside the lab
//!    │           └─ the guard is gone: SIGTERM
//!    └─ the supervisor is gone: ends what it left, and removes the lab
//! ```
//!
//! Both adopt orphans (`PR_SET_CHILD_SUBREAPER`), so that nothing that a command started gets away, whatever group or
//! session it made. Every `run` of a lab holds a lock on it; a lab that `run` made goes with the last of them, one that was
//! there before stays. `up` has the same two processes, without a terminal; they end with the lab, and the lab does not end
//! with them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::control::{self, Reply, Verb};
use crate::converge::{self, Manner};
use crate::error::{During, Error, Result};
use crate::journal::{Journal, USERS, directory};
use crate::server::{self, Heard, Kept};
use crate::spec::Spec;
use crate::supervise::{Event, Supervisor};
use crate::{launch, logs, process, rootless, supervise, sys};

/// How often one who waits looks for signals.
const GLANCE: Duration = Duration::from_millis(50);
/// How often the supervisor looks for orphans.
const TICK: Duration = Duration::from_millis(500);

/// Applies a lab, starts what it declares and a DNS server unless one runs, and takes everything back when a command ends,
/// or on a signal.
///
/// # Errors
/// The lab cannot be applied or removed, or a command not be started.
pub fn run(spec: &Spec, command: &[String], without_root: bool) -> Result<u8> {
    let others = || {
        if !without_root && let Err(error) = leave(&spec.name, None) {
            crate::warn!("nameplate-lab: {error}");
        }
    };
    guarded(&spec.name, others, |signals, guard| {
        if without_root {
            // There one is root again.
            rootless::enter()?;
            crate::privileges::keep(crate::privileges::Need::Commands);
        }
        sys::end_with_parent(guard, libc::SIGTERM);
        supervise(spec, command, !without_root, signals)
    })
}

/// Keeps the commands of a lab that is applied, without a terminal; how they are when all are ready. Nothing if the lab
/// has none.
///
/// # Errors
/// The supervisor cannot be started, or ends at once.
pub fn keep(spec: &Spec, serve: bool) -> Result<Option<Reply>> {
    let verb = if serve { Verb::Serve } else { Verb::Reload };
    if let Some(reply) = control::ask(&spec.name, verb, &[])?
        && reply.stays
    {
        return Ok(Some(reply));
    }
    if !serve && spec.spaces.iter().all(|one| one.run.command.is_empty()) {
        return Ok(None);
    }
    let output = logs::of_supervisor(&spec.name).during(|| "cannot keep its output".to_owned())?;
    let (ours, theirs) =
        UnixStream::pair().during(|| "cannot make a pair of sockets".to_owned())?;
    match sys::fork().during(|| "cannot start the supervisor".to_owned())? {
        Some(_) => {
            drop(theirs);
            awaited(&ours, &spec.name).map(Some)
        }
        None => {
            drop(ours);
            std::process::exit(match detached(spec, serve, &output, theirs) {
                Ok(code) => code.into(),
                Err(error) => {
                    crate::warn!("nameplate-lab: {error}");
                    1
                }
            })
        }
    }
}

/// Waits for the supervisor's answer; a signal ends the waiting and nothing else.
fn awaited(stream: &UnixStream, lab: &str) -> Result<Reply> {
    let mut held = sys::hold_signals();
    while !sys::wait_readable(&[Some(stream.as_fd())], Some(GLANCE))[0] {
        if let Some(signal) = held.heed() {
            let name = sys::signal_name(signal);
            return Err(Error::new(format!(
                "{name}: not waited for any longer; lab {lab} stays up, and its commands go on: `nameplate-lab status {lab}` tells how they are, `nameplate-lab down {lab}` ends them"
            )));
        }
    }
    control::reply(stream)
}

/// The guard and the supervisor of `up`.
fn detached(spec: &Spec, serve: bool, output: &File, asks: UnixStream) -> Result<u8> {
    sys::detach(output.as_fd(), asks.as_raw_fd())
        .during(|| "cannot leave the terminal".to_owned())?;
    std::env::set_current_dir("/").during(|| "cannot leave the directory".to_owned())?;
    guarded(
        &spec.name,
        || {},
        move |signals, guard| {
            sys::end_with_parent(guard, libc::SIGTERM);
            let mut server = Kept::default();
            let (sender, receiver) = listen(signals);
            let mut supervisor =
                Supervisor::new(spec, sender, supervise::Manner::Stays { serves: serve });
            supervisor.report_to(asks);
            while !supervisor.is_over() {
                logs::bound(output);
                // Before somebody is answered who asked for it.
                if supervisor.serves() {
                    server.keep(spec, true);
                }
                let of_server = server.pid().into_iter().collect();
                process::reap(&[supervisor.processes(), of_server].concat());
                match receiver.recv_timeout(supervisor.tick()) {
                    Ok(Event::Signal(_)) | Err(RecvTimeoutError::Disconnected) => break,
                    Ok(event) => {
                        if let Event::Asked(request, _) = &event
                            && request.verb == Verb::Serve
                        {
                            server.hurry();
                        }
                        supervisor.told(event);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
            let keeper = supervisor.close(server.pid());
            // Whoever waits for the end of all waits for that of the server, too.
            drop(server);
            drop(keeper);
            Ok(0)
        },
    )
}

/// Splits this process in two: a guard, which ends what the other one leaves, and the one that does the work. The exit code.
fn guarded(
    lab: &str,
    others: impl FnOnce(),
    work: impl FnOnce(File, i32) -> Result<u8>,
) -> Result<u8> {
    sys::adopt_orphans();
    let mut signals =
        sys::signals(&[libc::SIGCHLD]).during(|| "cannot wait for signals".to_owned())?;
    let guard_pid = std::process::id() as i32;
    match sys::fork().during(|| "cannot start the supervisor".to_owned())? {
        Some(supervisor) => {
            // Who waits for an answer of the other one must see that it is gone.
            drop(work);
            std::process::exit(guard(supervisor, &mut signals, lab, others).into())
        }
        None => {
            drop(signals);
            sys::adopt_orphans();
            let signals = sys::signals(&[]).during(|| "cannot wait for signals".to_owned())?;
            work(signals, guard_pid)
        }
    }
}

/// Signals as events.
fn listen(mut signals: File) -> (Sender<Event>, Receiver<Event>) {
    let (sender, receiver) = mpsc::channel();
    let told = sender.clone();
    std::thread::spawn(move || {
        while let Some(signal) = sys::next_signal(&mut signals) {
            if told.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    (sender, receiver)
}

/// Waits for the supervisor and hands signals on; when somebody kills it, does what it would have done. The exit code.
fn guard(supervisor: i32, signals: &mut File, lab: &str, others: impl FnOnce()) -> u8 {
    loop {
        let Some(signal) = sys::next_signal(signals) else {
            continue;
        };
        if signal.number != libc::SIGCHLD {
            // A terminal's signals reach the whole group.
            if !signal.of_terminal {
                let _ = sys::kill(supervisor, signal.number);
            }
            continue;
        }
        let status = match sys::ended(supervisor) {
            Ok(Some(status)) => ExitStatus::from_raw(status),
            Ok(None) => continue,
            Err(_) => return 1,
        };
        if let Some(code) = status.code() {
            return code as u8;
        }
        crate::warn!("nameplate-lab: the supervisor of lab {lab} ended: {status}");
        process::end_descendants(None);
        others();
        return 128 + status.signal().unwrap_or(0) as u8;
    }
}

/// The lock of those who `run` a lab.
struct User {
    path: PathBuf,
    file: File,
}

impl User {
    /// Joins; waits while the last one of others removes the lab.
    fn join(lab: &str) -> io::Result<Self> {
        let path = directory(lab).join(USERS);
        loop {
            std::fs::create_dir_all(directory(lab))?;
            let opened = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path);
            let file = match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            file.lock_shared()?;
            let user = Self {
                path: path.clone(),
                file,
            };
            if user.is_there() {
                return Ok(user);
            }
        }
    }

    /// Whether what it holds is the lab's lock, and not that of one that was removed.
    fn is_there(&self) -> bool {
        let inode = |data: io::Result<std::fs::Metadata>| data.map(|data| data.ino()).ok();
        inode(std::fs::metadata(&self.path)) == inode(self.file.metadata())
    }

    /// Leaves; whether it was the last one.
    fn leave(&self) -> bool {
        // Asking for the lock alone gives up the shared one, so that one of two who leave at once is the last.
        self.is_there() && self.file.try_lock().is_ok()
    }
}

/// Whether nobody runs a lab that `run` made: both of its processes were killed at once.
#[must_use]
pub fn is_abandoned(journal: &Journal) -> bool {
    let users = File::open(directory(&journal.lab).join(USERS));
    journal.passing && users.is_ok_and(|users| users.try_lock().is_ok())
}

/// Removes a lab that `run` made, unless others run it.
fn leave(lab: &str, user: Option<User>) -> Result<()> {
    let user = match user {
        Some(user) => user,
        None => User::join(lab).during(|| format!("cannot lock lab {lab}"))?,
    };
    if !user.leave() {
        return Ok(());
    }
    match Journal::load(lab)? {
        Some(journal) if journal.passing => {
            let removed = converge::down(lab)?;
            for failure in removed.failures.iter().chain(&removed.warnings) {
                crate::warn!("warning: {failure}");
            }
        }
        Some(_) => {
            let _ = std::fs::remove_file(&user.path);
        }
        None => {
            let _ = std::fs::remove_file(&user.path);
            let _ = std::fs::remove_dir(directory(lab));
        }
    }
    Ok(())
}

/// Brings the lab up, waits for the end, and takes everything back.
fn supervise(spec: &Spec, command: &[String], outside: bool, signals: File) -> Result<u8> {
    let reaches_out = |net: &crate::spec::Net| net.nat4 || net.nat6 || !net.forwards.is_empty();
    if !outside && spec.nets.iter().any(reaches_out) {
        crate::warn!(
            "note: without root, nothing outside can be reached; `nat` and `forward` work between the lab's own networks"
        );
    }
    let user = User::join(&spec.name).during(|| format!("cannot lock lab {}", spec.name))?;
    let mut server = Kept::default();
    server.keep(spec, outside);
    let done = up(spec).and_then(|()| {
        let (sender, receiver) = listen(signals);
        let mut running = Run {
            supervisor: Supervisor::new(spec, sender.clone(), supervise::Manner::Passes),
            sender,
            beside: None,
            end: None,
        };
        let done = running.stay((spec, command), outside, &receiver, &mut server);
        drop(running.supervisor.close(server.pid()));
        done
    });
    drop(server);
    let left = leave(&spec.name, Some(user));
    let code = done?;
    left.map(|()| code)
}

/// Applies the lab.
fn up(spec: &Spec) -> Result<()> {
    let outcome = converge::apply(
        spec,
        Manner {
            passing: true,
            ..Manner::default()
        },
    )?;
    for warning in &outcome.warnings {
        crate::warn!("warning: {warning}");
    }
    let mut wrong: Vec<String> = outcome.conflicts.clone();
    wrong.extend(outcome.failures);
    if !wrong.is_empty() {
        let wrong = wrong.join("; ");
        return Err(Error::new(format!("lab {}: {wrong}", spec.name)));
    }
    if let Some(version) = &outcome.version
        && let Heard::Silent(address) = server::wait(spec, version)
    {
        crate::warn!("warning: the DNS server does not answer at {address}; names may not resolve");
    }
    Ok(())
}

/// A lab that is up, as long as its `run` lasts.
struct Run {
    supervisor: Supervisor,
    sender: Sender<Event>,
    /// The command beside the lab.
    beside: Option<i32>,
    /// When that is ended by force.
    end: Option<Instant>,
}

impl Run {
    /// Starts the commands and waits for the end; the exit code.
    fn stay(
        &mut self,
        (spec, command): (&Spec, &[String]),
        outside: bool,
        receiver: &Receiver<Event>,
        server: &mut Kept,
    ) -> Result<u8> {
        let mut begun = false;
        let mut looked = Instant::now();
        loop {
            let mut patience = self.supervisor.tick();
            if !begun && self.supervisor.is_settled() {
                begun = true;
                let refused = self.supervisor.refusals();
                if !refused.is_empty() {
                    return Err(Error::new(refused.join("; ")));
                }
                self.tell(&spec.name, command.is_empty(), outside);
                if let Some((program, arguments)) = command.split_first()
                    && let Err(error) = self.start(program, arguments)
                {
                    crate::warn!("nameplate-lab: {error}");
                    return Ok(127);
                }
            }
            if self.supervisor.is_over() && !self.ends_with(libc::SIGTERM) {
                return Ok(0);
            }
            if let (Some(beside), Some(end)) = (self.beside, self.end) {
                let now = Instant::now();
                patience = patience.min(end.saturating_duration_since(now));
                if now >= end {
                    let _ = sys::kill(beside, libc::SIGKILL);
                    self.end = Some(now + process::PATIENCE);
                }
            }
            match receiver.recv_timeout(patience) {
                Ok(Event::Signal(signal)) => {
                    // What is typed at a terminal is the command's business.
                    let ours = !signal.of_terminal || signal.number == libc::SIGHUP;
                    if self.beside.is_none() {
                        return Ok(if command.is_empty() {
                            0
                        } else {
                            128 + signal.number as u8
                        });
                    }
                    if ours {
                        self.ends_with(signal.number);
                    }
                }
                Ok(Event::Beside(status)) => {
                    return Ok(status.map_or(1, |status| {
                        let signal = status.signal().unwrap_or(0);
                        status.code().unwrap_or(128 + signal) as u8
                    }));
                }
                Ok(event) => self.supervisor.told(event),
                Err(_) => {}
            }
            if looked.elapsed() > TICK {
                looked = Instant::now();
                server.keep(spec, outside);
                let others = server.pid().into_iter().chain(self.beside);
                process::reap(&[self.supervisor.processes(), others.collect()].concat());
            }
        }
    }

    /// Hands a signal to the command beside the lab, which has a while to end then; false if there is none.
    fn ends_with(&mut self, signal: i32) -> bool {
        let Some(beside) = self.beside else {
            return false;
        };
        if self.end.is_none() || signal != libc::SIGTERM {
            let _ = sys::kill(beside, signal);
            self.end
                .get_or_insert_with(|| Instant::now() + process::PATIENCE);
        }
        true
    }

    /// Says that the lab is up.
    fn tell(&self, lab: &str, alone: bool, outside: bool) {
        let inside = match self.supervisor.count() {
            0 => String::new(),
            1 => "; 1 command runs inside".to_owned(),
            many => format!("; {many} commands run inside"),
        };
        let end = if alone { "; Ctrl-C takes it back" } else { "" };
        crate::warn!("lab {lab} is up{inside}{end}");
        if alone && !outside {
            let own = std::process::id();
            crate::warn!(
                "in another terminal: nsenter --preserve-credentials -U -n -m -t {own} -- sh"
            );
        }
    }

    /// Starts the command beside the lab.
    fn start(&mut self, program: &str, arguments: &[String]) -> Result<()> {
        let mut command = Command::new(program);
        command.args(arguments);
        let sender = self.sender.clone();
        let ended = move |status| {
            let _ = sender.send(Event::Beside(status));
        };
        self.beside = Some(launch::start(command, None, None, ended)?);
        Ok(())
    }
}
