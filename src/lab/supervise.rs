//! The commands of a lab's namespaces, kept as the file says: started in its order, started again, ended and asked for.
//!
//! ```text
//!  queued ──► starting ──► running ──► ended │ failed
//!    ▲           │  ready?    │
//!    │           └────────────┴─► ending ──► pausing ──► queued      restart
//!    └──────────── start ─────────── ending ──► stopped              stop
//! ```
//!
//! One thread decides; others wait for ends, requests and signals, and tell it by a channel. It waits for nobody: what
//! takes a while (a command becomes ready, or ends) is looked at again at the next [`tick`](Supervisor::tick).

mod command;

use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use corefile::Sources;

use command::{Command, PAUSES, Stage, Then};

use crate::control::{Keeper, Reply, Request, Verb, answer};
use crate::error::{During, Error, Result};
use crate::journal::Journal;
use crate::launch::Task;
use crate::logs::Log;
use crate::spec::{Restart, Spec};
use crate::{process, sys};

/// How soon something that takes a while is looked at again.
const SOON: Duration = Duration::from_millis(10);
/// How often it is looked whether somebody else has ceased to keep the commands.
const TICK: Duration = Duration::from_millis(500);
/// How long a command may take to be ready; those after it are started then all the same.
const READY: Duration = Duration::from_secs(30);
/// One that lived so long begins with the first pause again.
const LONG: Duration = Duration::from_secs(10);

/// How long the commands are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As long as a terminal's `run`.
    Passes,
    /// Until `down`, without a terminal; whether with a DNS server.
    Stays { serves: bool },
}

/// What the other threads tell.
#[derive(Debug)]
pub(crate) enum Event {
    /// A signal came.
    Signal(sys::Signal),
    /// The command beside the lab ended.
    Beside(Option<ExitStatus>),
    /// A command ended: which start of which one.
    Ended(u64, Option<ExitStatus>),
    /// Somebody asks for something.
    Asked(Request, UnixStream),
}

/// A request that is answered when its commands are where they should be.
#[derive(Debug)]
struct Pending {
    stream: UnixStream,
    spaces: Vec<String>,
    /// What was wrong from the beginning.
    problems: Vec<String>,
    /// What a changed file started and ended.
    changes: Vec<String>,
}

/// The commands of a lab.
#[derive(Debug)]
pub(crate) struct Supervisor {
    spec: Spec,
    commands: Vec<Command>,
    sender: Sender<Event>,
    /// The right to keep them; none while somebody else does.
    keeper: Option<Keeper>,
    /// One that stays shows nothing at a terminal.
    manner: Manner,
    pending: Vec<Pending>,
    starts: u64,
    /// Whether its end was asked for.
    ends: bool,
}

impl Supervisor {
    /// Of a lab; what happens is told to `sender`.
    pub(crate) fn new(spec: &Spec, sender: Sender<Event>, manner: Manner) -> Self {
        let mut supervisor = Self {
            spec: spec.clone(),
            commands: Vec::new(),
            sender,
            keeper: None,
            manner,
            pending: Vec::new(),
            starts: 0,
            ends: false,
        };
        supervisor.take();
        supervisor
    }

    /// Takes the right to keep the commands, if nobody has it.
    fn take(&mut self) {
        let sender = self.sender.clone();
        let heard = move |request, stream| {
            let _ = sender.send(Event::Asked(request, stream));
        };
        match Keeper::take(&self.spec.name, self.manner, heard) {
            Ok(Some(keeper)) => {
                self.keeper = Some(keeper);
                // One that was killed may have left something.
                process::end_marked(&self.spec.name);
                self.commands = tasks(&self.spec).map(Command::new).collect();
            }
            Ok(None) => {}
            Err(error) => crate::warn!("warning: the commands of the lab cannot be kept: {error}"),
        }
    }

    /// How many commands it keeps.
    pub(crate) fn count(&self) -> usize {
        self.commands.len()
    }

    /// The processes that it started.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let pid = |one: &Command| match one.stage {
            Stage::Running(pid) => Some(pid),
            Stage::Ending { pid, .. } => pid,
            _ => None,
        };
        self.commands.iter().filter_map(pid).collect()
    }

    /// Whether a DNS server is to be kept as well.
    pub(crate) fn serves(&self) -> bool {
        self.manner == Manner::Stays { serves: true }
    }

    /// Keeps one from now on, if it stays.
    fn serve(&mut self) {
        if let (Manner::Stays { serves }, Some(keeper)) = (&mut self.manner, &mut self.keeper) {
            *serves = true;
            if let Err(error) = keeper.leave_word(self.manner) {
                crate::warn!("warning: cannot record that the lab needs a DNS server: {error}");
            }
        }
    }

    /// Whether its end was asked for, or its lab is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.ends
    }

    /// Whether all commands are where they should be.
    pub(crate) fn is_settled(&self) -> bool {
        self.commands.iter().all(Command::is_settled)
    }

    /// What could not be started, or was not ready.
    pub(crate) fn refusals(&self) -> Vec<String> {
        let amiss = |one: &&Command| match one.stage {
            Stage::Failed(_) => true,
            _ => one.task.run.ready.is_some() && !one.ready,
        };
        let refused = self.commands.iter().filter(amiss);
        refused.filter_map(Command::problem).collect()
    }

    /// Something happened.
    pub(crate) fn told(&mut self, event: Event) {
        match event {
            Event::Ended(start, status) => self.ended(start, status),
            Event::Asked(request, stream) => self.asked(request, stream),
            Event::Signal(_) | Event::Beside(_) => {}
        }
    }

    /// Answers somebody when all commands are where they should be.
    pub(crate) fn report_to(&mut self, stream: UnixStream) {
        self.pending.push(Pending {
            stream,
            spaces: Vec::new(),
            problems: Vec::new(),
            changes: differences(&[], &tasks(&self.spec).collect::<Vec<_>>()),
        });
    }

    /// Does what is due; how long nothing else is.
    pub(crate) fn tick(&mut self) -> Duration {
        if self.keeper.is_none() {
            self.take();
        } else if !crate::journal::directory(&self.spec.name).exists() {
            self.ends = true;
        }
        let mut blocked = false;
        let mut soonest = TICK;
        for at in 0..self.commands.len() {
            let wanted = self.step(at, blocked);
            soonest = soonest.min(wanted);
            blocked |= self.commands[at].blocks();
        }
        self.commands.retain(|command| {
            !matches!(&command.stage, Stage::Stopped if command.task.run.command.is_empty())
        });
        self.answer_all();
        soonest
    }

    /// Does what is due of one command.
    fn step(&mut self, at: usize, blocked: bool) -> Duration {
        let now = Instant::now();
        let command = &mut self.commands[at];
        if command.waits() && command.deadline.is_some_and(|deadline| now > deadline) {
            command.late = true;
            crate::warn!("warning: {}: {}", command.task.space, command.not_ready());
        }
        match command.stage {
            Stage::Queued if !blocked => {
                self.launch(at);
                SOON
            }
            Stage::Pausing(until) if now >= until => {
                command.restarts += 1;
                self.launch(at);
                SOON
            }
            Stage::Pausing(until) => until - now,
            Stage::Running(_) if command.is_displaced() => {
                let then = match command.task.is_there() {
                    true => Then::Start,
                    false => Then::Stay,
                };
                self.end(at, then);
                SOON
            }
            Stage::Running(_) if command.task.run.ready.is_some() && !command.ready => {
                // One that was late may be ready all the same.
                if command.is_ready(&self.spec) {
                    (command.ready, command.late) = (true, false);
                }
                if command.late { TICK } else { SOON }
            }
            Stage::Ending { .. } => {
                self.end_on(at, now);
                SOON
            }
            Stage::Running(_) if command.is_young() => SOON,
            _ => TICK,
        }
    }

    /// Starts a command.
    fn launch(&mut self, at: usize) {
        self.starts += 1;
        let command = &mut self.commands[at];
        command.start = self.starts;
        command.begun = Instant::now();
        command.inode = command.task.inode();
        command.deadline.get_or_insert(command.begun + READY);
        let (sender, start) = (self.sender.clone(), self.starts);
        let space = &command.task.space;
        let shown = (self.manner == Manner::Passes).then(|| format!("{space} | "));
        let log = Log::open(&command.task.lab, space, shown);
        let started = match log {
            Ok(log) => command.task.start(log, move |status| {
                let _ = sender.send(Event::Ended(start, status));
            }),
            Err(error) => Err(Error::new(format!("cannot keep its output: {error}"))),
        };
        command.stage = match started {
            Ok(pid) => Stage::Running(pid),
            Err(error) => Stage::Failed(error.to_string()),
        };
        if let Stage::Failed(why) = &command.stage {
            crate::warn!("error: {space}: {why}");
        }
    }

    /// Begins to end a command and what it started.
    fn end(&mut self, at: usize, then: Then) {
        let command = &mut self.commands[at];
        let pid = match command.stage {
            Stage::Running(pid) => Some(pid),
            Stage::Ending { pid, .. } => pid,
            _ => None,
        };
        command.stage = Stage::Ending {
            pid,
            since: Instant::now(),
            quiet: false,
            then,
        };
        for pid in command.processes() {
            let _ = sys::kill(pid, libc::SIGTERM);
            // One that is stopped hears of it only when it goes on.
            let _ = sys::kill(pid, libc::SIGCONT);
        }
    }

    /// Goes on ending a command.
    fn end_on(&mut self, at: usize, now: Instant) {
        let command = &mut self.commands[at];
        let left = command.processes();
        let Stage::Ending {
            pid,
            since,
            quiet,
            then,
        } = &mut command.stage
        else {
            return;
        };
        if pid.is_some() || !left.is_empty() {
            *quiet = false;
            if now.duration_since(*since) > process::PATIENCE {
                for pid in left {
                    let _ = sys::kill(pid, libc::SIGKILL);
                }
            }
            return;
        }
        // A process that starts a program has no variables for a moment.
        if !*quiet {
            *quiet = true;
            return;
        }
        command.stage = match then {
            Then::Start => Stage::Queued,
            Then::Pause => {
                let pause = command.pause;
                command.pause = (pause * 2).min(PAUSES[1]);
                Stage::Pausing(now + pause)
            }
            Then::Stay => Stage::Stopped,
            Then::Forget => {
                command.task.run.command.clear();
                Stage::Stopped
            }
        };
    }

    /// A command ended.
    fn ended(&mut self, start: u64, status: Option<ExitStatus>) {
        let Some(at) = self.commands.iter().position(|one| one.start == start) else {
            return;
        };
        let command = &mut self.commands[at];
        if let Stage::Ending { pid, .. } = &mut command.stage {
            *pid = None;
            return;
        }
        let good = status.is_some_and(|status| status.success());
        let again = match command.task.run.restart {
            Restart::No => false,
            Restart::OnFailure => !good,
            Restart::Always => true,
        };
        let (program, space) = (command.task.program(), &command.task.space);
        if let Some(status) = status {
            crate::warn!("{program} in {space} ended: {status}");
        }
        if command.begun.elapsed() > LONG {
            command.pause = PAUSES[0];
        }
        command.stage = Stage::Ended(status);
        command.last = status;
        if again {
            // What it started would be in the way.
            self.end(at, Then::Pause);
        }
    }

    /// Somebody asks for something.
    fn asked(&mut self, request: Request, mut stream: UnixStream) {
        let Request { verb, spaces } = request;
        let (mut problems, mut changes) = (Vec::new(), Vec::new());
        for name in &spaces {
            if !self.commands.iter().any(|one| one.task.space == *name) {
                problems.push(format!("{name} has no command in lab {}", self.spec.name));
            }
        }
        if verb == Verb::Serve {
            self.serve();
        }
        match verb {
            Verb::Reload | Verb::Serve => match declared(&self.spec.name) {
                Ok(spec) => changes = self.replace(spec),
                Err(error) => problems.push(error.to_string()),
            },
            Verb::End => {
                self.ends = true;
                answer(&mut stream, &Reply::default());
                return;
            }
            Verb::Status => {
                let mut reply = self.reply(&spaces, problems);
                if let Ok(spec) = declared(&self.spec.name) {
                    let wanted: Vec<Task> = tasks(&spec).collect();
                    reply.changes = differences(&self.commands, &wanted);
                }
                answer(&mut stream, &reply);
                return;
            }
            Verb::Start | Verb::Stop | Verb::Restart => {
                for at in 0..self.commands.len() {
                    let name = &self.commands[at].task.space;
                    if spaces.is_empty() || spaces.contains(name) {
                        self.turn(at, verb);
                    }
                }
            }
        }
        self.pending.push(Pending {
            stream,
            spaces,
            problems,
            changes,
        });
    }

    /// Starts or ends a command because somebody wants it.
    fn turn(&mut self, at: usize, verb: Verb) {
        let command = &mut self.commands[at];
        let begun = matches!(command.stage, Stage::Running(_) | Stage::Queued);
        if verb == Verb::Start && begun {
            return;
        }
        command.renew();
        let then = match verb {
            Verb::Stop => Then::Stay,
            _ => Then::Start,
        };
        self.end(at, then);
    }

    /// What the file declares by now: what changed is ended, and started as it is declared. What that is.
    fn replace(&mut self, spec: Spec) -> Vec<String> {
        let wanted: Vec<Task> = tasks(&spec).collect();
        let changes = differences(&self.commands, &wanted);
        self.spec = spec;
        for at in 0..self.commands.len() {
            let command = &mut self.commands[at];
            let declared = wanted.iter().find(|task| task.space == command.task.space);
            match declared {
                None => self.end(at, Then::Forget),
                Some(task)
                    if *task != command.task
                        || command.is_displaced()
                        || command.is_forgotten() =>
                {
                    command.task = task.clone();
                    self.turn(at, Verb::Restart);
                }
                // What ended by itself, or was ended, stays so.
                Some(_) => {}
            }
        }
        for (order, task) in wanted.iter().enumerate() {
            let known = |one: &Command| one.task.space == task.space;
            if !self.commands.iter().any(known) {
                let at = order.min(self.commands.len());
                self.commands.insert(at, Command::new(task.clone()));
            }
        }
        changes
    }

    /// Answers those whose commands are where they should be.
    fn answer_all(&mut self) {
        let (mut open, pending) = (Vec::new(), std::mem::take(&mut self.pending));
        for mut one in pending {
            let meant = |command: &&Command| {
                one.spaces.is_empty() || one.spaces.contains(&command.task.space)
            };
            let done = |one: &Command| one.is_settled() && !one.is_young();
            if !self.commands.iter().filter(meant).all(done) {
                open.push(one);
                continue;
            }
            let wrong = self.commands.iter().filter(meant);
            let mut problems = std::mem::take(&mut one.problems);
            problems.extend(wrong.filter_map(Command::problem));
            let mut reply = self.reply(&one.spaces, problems);
            reply.changes = one.changes;
            answer(&mut one.stream, &reply);
        }
        self.pending = open;
    }

    /// How the commands of some namespaces are, or all.
    fn reply(&self, spaces: &[String], problems: Vec<String>) -> Reply {
        let meant = |command: &&Command| spaces.is_empty() || spaces.contains(&command.task.space);
        Reply {
            problems,
            commands: self
                .commands
                .iter()
                .filter(meant)
                .map(Command::state)
                .collect(),
            changes: Vec::new(),
            stays: self.manner != Manner::Passes,
        }
    }

    /// Ends everything but `spared` and what it started; who drops what it returns gives up the right to keep it.
    #[must_use]
    pub(crate) fn close(mut self, spared: Option<i32>) -> Option<Keeper> {
        // Nobody is told of ends that are wanted.
        self.commands.clear();
        process::end_descendants(spared);
        self.keeper
    }
}

/// A lab as its file declares it by now.
fn declared(lab: &str) -> Result<Spec> {
    let file = Journal::load(lab)?.and_then(|journal| journal.file);
    let file = file.ok_or_else(|| Error::new(format!("there is no lab {lab} any more")))?;
    let words = || format!("cannot read {}", file.display());
    let (spec, _) = Spec::load(&file, &mut Sources::default()).during(words)?;
    spec.filter(|spec| spec.name == lab)
        .ok_or_else(|| Error::new(format!("{} has mistakes", file.display())))
}

/// How what is kept differs from what is wanted.
fn differences(kept: &[Command], wanted: &[Task]) -> Vec<String> {
    let kept: Vec<&Command> = kept.iter().filter(|one| !one.is_forgotten()).collect();
    let line = |sign: char, task: &Task| format!("{sign} {} in {}", task.program(), task.space);
    let mut changes = Vec::new();
    for command in &kept {
        let task = &command.task;
        match wanted.iter().find(|one| one.space == task.space) {
            None => changes.push(line('-', task)),
            Some(new) if new != task || command.is_displaced() => changes.push(line('~', new)),
            Some(_) => {}
        }
    }
    let is_new = |task: &&Task| kept.iter().all(|one| one.task.space != task.space);
    changes.extend(wanted.iter().filter(is_new).map(|task| line('+', task)));
    changes
}

/// The commands that a lab declares, in the file's order.
fn tasks(spec: &Spec) -> impl Iterator<Item = Task> {
    spec.spaces.iter().filter_map(|space| Task::of(spec, space))
}
