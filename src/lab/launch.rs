//! One command in a namespace, or beside the lab: started by a thread that is its parent as long as it lives.

use std::io::{PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::error::{During, Error, Result};
use crate::logs::{Lines, Log};
use crate::process;
use crate::spec::{Dns, Space, Spec};
use crate::{exec, sys};

/// Stack of a thread that waits.
const STACK: usize = 256 << 10;

/// How long the last output of a command that ended is waited for.
const REST: Duration = Duration::from_millis(200);
/// How long the end of a line is waited for before its beginning is kept.
const QUIET: Duration = Duration::from_millis(200);

/// What is to be started in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// The lab and the namespace: its processes are known by these.
    pub(crate) lab: String,
    pub(crate) space: String,
    /// Whether it is the host itself.
    pub(crate) is_host: bool,
    /// A lab without a server has no resolver to put in place.
    pub(crate) without_dns: bool,
    /// Where the lab's file is.
    pub(crate) base: PathBuf,
    pub(crate) run: crate::spec::Run,
}

impl Task {
    /// The command of a namespace, if it has one.
    pub(crate) fn of(spec: &Spec, space: &Space) -> Option<Self> {
        let base = spec.file.as_deref().and_then(Path::parent);
        (!space.run.command.is_empty()).then(|| Self {
            lab: spec.name.clone(),
            space: space.name.value.clone(),
            is_host: space.is_host,
            without_dns: spec.dns == Dns::Off,
            base: base.unwrap_or(Path::new("/")).to_owned(),
            run: space.run.clone(),
        })
    }

    /// Where it starts.
    pub(crate) fn dir(&self) -> PathBuf {
        let dir = self.run.dir.as_deref().unwrap_or(Path::new(""));
        self.base.join(dir)
    }

    /// The program's name.
    pub(crate) fn program(&self) -> &str {
        self.run.command.first().map_or("", String::as_str)
    }

    /// The command, as it is to be run; who it runs as.
    fn command(&self) -> Result<(Command, Option<Account>)> {
        let account = self.run.user.as_deref().map(Account::find).transpose()?;
        let mut command = Command::new(self.program());
        command.args(self.run.command.iter().skip(1));
        let dir = self.dir();
        if !dir.is_dir() {
            return Err(Error::new(format!(
                "there is no directory {}",
                dir.display()
            )));
        }
        command.current_dir(dir);
        if let Some([name, home, shell]) = account.as_ref().and_then(|user| user.named.as_ref()) {
            command.env("USER", name).env("LOGNAME", name);
            command.env("HOME", home).env("SHELL", shell);
        }
        command.envs(self.run.env.iter().map(|(name, value)| (name, value)));
        command.envs(process::marks(&self.lab, &self.space));
        // What is typed at a terminal is not for it.
        command.stdin(Stdio::null()).process_group(0);
        Ok((command, account))
    }

    /// Starts it; `ended` is called when it has ended, and its output goes to the log.
    pub(crate) fn start(
        &self,
        mut log: Log,
        ended: impl FnOnce(Option<ExitStatus>) + Send + 'static,
    ) -> Result<i32> {
        let (mut command, account) = self.command()?;
        let pipe = || std::io::pipe().during(|| "cannot make a pipe".to_owned());
        let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
        command.stdout(out_end).stderr(err_end);
        let (sender, copied) = mpsc::channel();
        let copying = std::thread::Builder::new().stack_size(STACK);
        let copy = move || {
            copy((out, err), Some(QUIET), |text, of_errors| {
                log.write(text, of_errors);
            });
            log.close();
            let _ = sender.send(());
        };
        copying
            .spawn(copy)
            .during(|| "cannot start a thread".to_owned())?;
        let inside = (!self.is_host).then(|| (self.space.clone(), self.without_dns));
        start(command, inside, account, move |status| {
            // What it started may go on printing.
            let _ = copied.recv_timeout(REST);
            ended(status);
        })
    }
}

/// Starts a command from a thread of its own.
pub(crate) fn start(
    mut command: Command,
    inside: Option<(String, bool)>,
    account: Option<Account>,
    ended: impl FnOnce(Option<ExitStatus>) + Send + 'static,
) -> Result<i32> {
    let (sender, receiver): (Sender<Result<i32>>, _) = mpsc::channel();
    let waiting = move || {
        let mut spawn = || {
            if let Some((space, without_dns)) = &inside {
                exec::enter(space, *without_dns)?;
            }
            if let Some(account) = &account {
                sys::become_user(&mut command, account.uid, account.gid, &account.groups);
            }
            // Last: a change of the user takes the signal away.
            sys::tie(&mut command, libc::SIGKILL);
            let program = command.get_program().to_string_lossy().into_owned();
            command.spawn().during(|| format!("cannot run {program}"))
        };
        let spawned = spawn();
        // It holds the ends of pipes that are the child's.
        drop(command);
        match spawned {
            Err(error) => drop(sender.send(Err(error))),
            Ok(mut child) => {
                let _ = sender.send(Ok(child.id() as i32));
                ended(child.wait().ok());
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    thread
        .spawn(waiting)
        .during(|| "cannot start a thread".to_owned())?;
    let started = receiver.recv();
    started.unwrap_or_else(|_| Err(Error::new("cannot start a command")))
}

/// Takes whole lines from both streams until nobody has them any more, and where one has no end for so long, its beginning;
/// whether they are those of errors goes with them.
pub(crate) fn copy(
    (out, err): (PipeReader, PipeReader),
    quiet: Option<Duration>,
    mut take: impl FnMut(&[u8], bool),
) {
    let mut streams = [out, err].map(|pipe| Some((pipe, Lines::default())));
    // When something came last.
    let mut heard = [Instant::now(); 2];
    let mut buffer = [0; 8 << 10];
    while streams.iter().any(Option::is_some) {
        let open = |stream: &Option<(_, Lines)>| {
            let lines = stream.as_ref().map(|(_, lines)| lines);
            lines.is_some_and(Lines::is_open)
        };
        let patience = quiet.filter(|_| streams.iter().any(open));
        let fds = streams
            .each_ref()
            .map(|stream| stream.as_ref().map(|(pipe, _)| pipe.as_fd()));
        let ready = sys::wait_readable(&fds, patience);
        for (of_errors, stream) in streams.iter_mut().enumerate() {
            if let (Some((_, lines)), false) = (&mut *stream, ready[of_errors])
                && quiet.is_some_and(|quiet| heard[of_errors].elapsed() >= quiet)
                && let Some(text) = lines.rest()
            {
                take(&text, of_errors == 1);
            }
            let Some((pipe, lines)) = stream.as_mut().filter(|_| ready[of_errors]) else {
                continue;
            };
            let got = pipe.read(&mut buffer).unwrap_or(0);
            heard[of_errors] = Instant::now();
            let text = match got {
                0 => lines.rest(),
                got => lines.add(&buffer[..got]),
            };
            if let Some(text) = text {
                take(&text, of_errors == 1);
            }
            if got == 0 {
                *stream = None;
            }
        }
    }
}
