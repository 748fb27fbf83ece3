//! `on`: runs commands when the server has started, and when it is about to end.
//!
//! ```text
//! the Corefile is served ──► the commands of `startup`, one after the other        also after a reload
//! SIGTERM, SIGINT        ──► the commands of `shutdown`, one after the other ──► lameduck, then the end
//! ```
//!
//! Commands run beside the server, on a thread that may block: queries are answered meanwhile.

mod setup;
#[cfg(test)]
mod tests;
mod words;

use std::io;
use std::process::{Command, Stdio};

use chain::admin::Work;

pub(crate) use setup::REGISTRATION;

/// When a command runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    /// The Corefile is served, at the start or after a reload.
    Startup,
    /// The process is about to end.
    Shutdown,
    /// A certificate was renewed by the server itself, which never happens: nor does it in CoreDNS.
    Renewal,
}

impl Event {
    /// In the Corefile.
    const fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Shutdown => "shutdown",
            Self::Renewal => "certrenew",
        }
    }
}

/// One command.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Hook {
    event: Event,
    program: String,
    arguments: Vec<String>,
    /// Whether its end is not waited for.
    beside: bool,
}

impl Hook {
    /// Runs the command; what goes wrong is logged.
    fn run(&self) {
        let mut line = self.program.clone();
        for argument in &self.arguments {
            line.push(' ');
            line.push_str(argument);
        }
        let event = self.event.name();
        let how = if self.beside {
            "Nonblocking"
        } else {
            "Blocking"
        };
        tracing::info!(target: "plugin/on", "{how} command \"{line}\" on {event}");
        if let Err(why) = self.execute() {
            tracing::error!(target: "plugin/on", "error on {event}, command \"{line}\": {why}");
        }
    }

    /// Runs the command, to its end unless it runs beside.
    fn execute(&self) -> io::Result<()> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .spawn()?;
        if self.beside {
            // Somebody has to wait for it, or it stays in the table of processes.
            std::thread::Builder::new()
                .name("on".to_owned())
                .spawn(move || child.wait())?;
            return Ok(());
        }
        let status = child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(status.to_string())),
        }
    }
}

/// Runs commands one after the other. Once begun, it comes to its end, whoever waits for it.
fn run(hooks: Vec<Hook>) -> Work {
    Box::pin(async move {
        let all = move || hooks.iter().for_each(Hook::run);
        if tokio::task::spawn_blocking(all).await.is_err() {
            tracing::error!(target: "plugin/on", "the commands were not run to their end");
        }
    })
}
