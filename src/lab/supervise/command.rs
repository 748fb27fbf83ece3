//! One command of a lab: where it is, what may come next, and what of it lives.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::control::{Exit, State};
use crate::launch::Task;
use crate::reach::Picture;
use crate::spec::{Ready, Spec};
use crate::{listener, probe, process, space};

/// How long one query of a name may take.
const ANSWER: Duration = Duration::from_millis(100);
/// The pause before a command is started again: at first, and at most.
pub(super) const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];
/// How long one without `ready` has to live before it counts as started.
const MOMENT: Duration = Duration::from_millis(200);

/// Where a command is.
#[derive(Debug)]
pub(super) enum Stage {
    /// To be started when those before it are ready.
    Queued,
    /// It runs, and may not be ready yet.
    Running(i32),
    /// It and what it started is ended.
    Ending {
        pid: Option<i32>,
        since: Instant,
        /// Nothing of it was there at the last look either.
        quiet: bool,
        then: Then,
    },
    /// To be started again at this time.
    Pausing(Instant),
    /// Somebody ended it.
    Stopped,
    /// It ended by itself.
    Ended(Option<ExitStatus>),
    /// It could not be started.
    Failed(String),
}

/// What comes after the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Start,
    Pause,
    Stay,
    /// The file has it no more.
    Forget,
}

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) task: Task,
    pub(super) stage: Stage,
    /// The number of its last start.
    pub(super) start: u64,
    pub(super) begun: Instant,
    /// The namespace that it was started in.
    pub(super) inode: Option<u64>,
    pub(super) pause: Duration,
    pub(super) restarts: u32,
    /// How it ended last by itself.
    pub(super) last: Option<ExitStatus>,
    /// Until then it should be ready.
    pub(super) deadline: Option<Instant>,
    /// It was not ready in time, or ended before.
    pub(super) late: bool,
    pub(super) ready: bool,
}

impl Command {
    pub(super) fn new(task: Task) -> Self {
        Self {
            task,
            stage: Stage::Queued,
            start: 0,
            begun: Instant::now(),
            inode: None,
            pause: PAUSES[0],
            restarts: 0,
            last: None,
            deadline: None,
            late: false,
            ready: false,
        }
    }

    /// Whether it is to be waited for: it was not ready yet, and has time.
    pub(super) fn waits(&self) -> bool {
        self.task.run.ready.is_some() && !self.ready && !self.late
    }

    /// As if it had never been started.
    pub(super) fn renew(&mut self) {
        (self.late, self.ready, self.deadline) = (false, false, None);
        (self.pause, self.restarts, self.last) = (PAUSES[0], 0, None);
    }

    /// Whether those after it have to wait.
    pub(super) fn blocks(&self) -> bool {
        match self.stage {
            Stage::Queued => true,
            // One that ended before it was ready gets the rest of its time.
            Stage::Running(_) | Stage::Pausing(_) => self.waits(),
            Stage::Ending { then, .. } => then != Then::Stay && then != Then::Forget,
            _ => false,
        }
    }

    /// Whether it is on the way to something else.
    pub(super) fn is_settled(&self) -> bool {
        !self.blocks() && !matches!(self.stage, Stage::Ending { .. })
    }

    /// Whether it may yet turn out to end at once.
    pub(super) fn is_young(&self) -> bool {
        let runs = matches!(self.stage, Stage::Running(_)) && self.task.run.ready.is_none();
        runs && self.begun.elapsed() < MOMENT
    }

    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        let space = &self.task.space;
        match &self.stage {
            Stage::Failed(why) => Some(format!("{space}: {why}")),
            Stage::Ended(Some(status)) if self.waits() => Some(format!(
                "{space}: {} ended before it was ready: {status}",
                self.task.program()
            )),
            Stage::Ended(Some(status)) if !status.success() => {
                Some(format!("{space}: {} ended: {status}", self.task.program()))
            }
            Stage::Running(_) | Stage::Pausing(_) if self.late => {
                Some(format!("{space}: {}", self.not_ready()))
            }
            _ => None,
        }
    }

    /// What does not show that it is ready.
    pub(super) fn not_ready(&self) -> String {
        let program = self.task.program();
        match &self.task.run.ready {
            Some(Ready::Port(protocol, port)) => {
                format!(
                    "{program} is not ready: no process listens on {port}/{}",
                    protocol.name()
                )
            }
            Some(Ready::Name(name)) => {
                format!("{program} is not ready: {name} does not resolve")
            }
            None => format!("{program} is not ready"),
        }
    }

    /// How it is.
    pub(super) fn state(&self) -> State {
        let (state, pid, why) = match &self.stage {
            Stage::Queued => ("waiting", None, None),
            Stage::Running(pid) if self.waits() => ("starting", Some(*pid), None),
            Stage::Running(pid) => {
                let why = self.late.then(|| self.not_ready());
                ("running", Some(*pid), why)
            }
            Stage::Pausing(_)
            | Stage::Ending {
                then: Then::Pause, ..
            } => ("restarting", None, None),
            Stage::Ending { pid, .. } => ("stopping", *pid, None),
            Stage::Stopped => ("stopped", None, None),
            Stage::Ended(status) => {
                let why = status.map(|status| status.to_string());
                let good = status.is_some_and(|status| status.success());
                (if good { "ended" } else { "failed" }, None, why)
            }
            Stage::Failed(why) => ("failed", None, Some(why.clone())),
        };
        State {
            space: self.task.space.clone(),
            command: self.task.run.command.clone(),
            state: state.to_owned(),
            pid,
            restarts: self.restarts,
            last_exit: self.last.map(Exit::of),
            why,
        }
    }

    /// Whether it is as it was declared to be.
    pub(super) fn is_ready(&self, spec: &Spec) -> bool {
        let name = &self.task.space;
        let at = spec.spaces.iter().position(|one| one.name.value == *name);
        let (Some(ready), Some(at)) = (&self.task.run.ready, at) else {
            return true;
        };
        let _away = match self.task.is_host {
            true => None,
            false => match space::enter(name) {
                Ok(away) => Some(away),
                Err(_) => return false,
            },
        };
        match ready {
            Ready::Port(protocol, port) => listener::all().is_ok_and(|all| {
                all.iter()
                    .any(|one| one.protocol == *protocol && one.port == *port)
            }),
            Ready::Name(name) => {
                let whole = match name.strip_suffix('.') {
                    Some(whole) => whole.to_owned(),
                    None if name.contains('.') => name.clone(),
                    None => format!("{name}.{}", spec.domain),
                };
                let resolver = Picture::of(spec, &spec.addresses).nameserver(at);
                resolver.is_some_and(|server| probe::has_address(server, &whole, ANSWER))
            }
        }
    }
}

impl Command {
    /// All that lives of it: its process and what descends from that, and what says that it is of it.
    pub(super) fn processes(&self) -> Vec<i32> {
        let mut found = process::marked(&self.task.lab, Some(&self.task.space));
        let pid = match self.stage {
            Stage::Running(pid) => Some(pid),
            Stage::Ending { pid, .. } => pid,
            _ => None,
        };
        if let Some(pid) = pid {
            found.push(pid);
            found.extend(process::descendants(pid));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether the file does not have it any more.
    pub(super) fn is_forgotten(&self) -> bool {
        let then = match &self.stage {
            Stage::Ending { then, .. } => Some(*then),
            _ => None,
        };
        then == Some(Then::Forget) || self.task.run.command.is_empty()
    }

    /// Whether its namespace is another one by now, or gone.
    pub(super) fn is_displaced(&self) -> bool {
        self.task.inode() != self.inode
    }
}

impl Task {
    /// The number of its namespace.
    pub(super) fn inode(&self) -> Option<u64> {
        use std::os::unix::fs::MetadataExt as _;
        let data = (!self.is_host).then(|| std::fs::metadata(space::path(&self.space)));
        data.and_then(std::io::Result::ok).map(|data| data.ino())
    }

    /// Whether it has a place to run in.
    pub(super) fn is_there(&self) -> bool {
        self.is_host || matches!(space::kind(&self.space), Ok(space::Kind::Namespace))
    }
}
