//! What systemd is told of the process (sd_notify(3)): that it serves, reloads and ends, and that its workers still answer.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is told. `WATCHDOG=1` is only sent when every worker has taken a command since the
//! last one: the thread that sends it is not the one that answers.

use std::cell::Cell;
use std::future::pending;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::worker::Command;

/// The service manager that started the process, if there is one.
pub(crate) struct Service {
    /// How often the workers are asked for a sign of life: half of what systemd waits for.
    every: Option<Duration>,
    /// When they are asked next. Kept, since whatever else happens drops the future of [`Service::watch`].
    next: Cell<Instant>,
}

impl Service {
    /// What the environment says.
    pub(crate) fn of_environment() -> Self {
        let every = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        let next = Cell::new(Instant::now());
        Self { every, next }
    }

    /// Everything is bound and served.
    pub(crate) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// A reload begins; [`Service::ready`] follows, also when it fails and the old state serves on.
    pub(crate) fn reloading(&self) {
        let mut states = vec![NotifyState::Reloading];
        // systemd from 253 on wants to know when.
        states.extend(NotifyState::monotonic_usec_now());
        tell(&states);
    }

    /// The process is about to end.
    pub(crate) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Waits until it is time for a sign of life, and gives it if all workers do. Never returns where nobody waits for it.
    pub(crate) async fn watch(&self, workers: &[mpsc::UnboundedSender<Command>]) {
        let Some(every) = self.every else {
            return pending().await;
        };
        sleep_until(self.next.get()).await;
        self.next.set(Instant::now() + every);
        let signs = workers.iter().map(|worker| {
            let (alive, sign) = oneshot::channel();
            let _ = worker.send(Command::Alive(alive));
            sign
        });
        let all = async {
            for sign in signs.collect::<Vec<_>>() {
                if sign.await.is_err() {
                    return false;
                }
            }
            true
        };
        match timeout(every, all).await {
            Ok(true) => tell(&[NotifyState::Watchdog]),
            _ => tracing::error!("a worker does not respond"),
        }
    }
}

/// Nobody may hold up the server by not listening, so errors are nothing to it.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
