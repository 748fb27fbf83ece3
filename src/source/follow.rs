//! The loop that keeps a store known.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep};

use crate::back_off::BackOff;
use crate::standing::Standing;

/// How long a read has to last to show that all is well.
const STEADY: Duration = Duration::from_secs(5);

/// A store that is read again and again.
pub trait Remote: Send {
    /// Reads what there is, and says so to `standing`. A store that is polled returns then; one that is watched goes on with what
    /// changes, until there is a reason to begin anew. What it has published stays as it is when it fails.
    fn read(&mut self, standing: &Standing) -> impl Future<Output = Result<Again, Failure>> + Send;
}

/// When a store is to be read again that did not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Again {
    /// At once, unless that was only just begun.
    Now,
    /// After this long, up to a tenth more or less: many servers do not poll in step.
    After(Duration),
}

/// Why a store could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The cause, for people.
    pub why: String,
    /// The least time that the store wants to be left alone for.
    pub wait: Duration,
}

impl Failure {
    /// A cause alone.
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            wait: Duration::ZERO,
        }
    }
}

/// Reads `remote` for ever.
pub async fn follow(mut remote: impl Remote, standing: Arc<Standing>, back_off: BackOff) {
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        let read = remote.read(&standing).await;
        if begun.elapsed() >= STEADY {
            failures = 0;
        }
        match read {
            Ok(Again::After(interval)) => {
                failures = 0;
                let share = host::random::rng().random_range(0.9..=1.1);
                sleep(interval.mul_f64(share)).await;
            }
            Ok(Again::Now) if begun.elapsed() >= back_off.first => {}
            Ok(Again::Now) => {
                // A store that is there and ends every read at once is not asked at once.
                sleep(back_off.delay(failures)).await;
                failures += 1;
            }
            Err(failure) => {
                standing.lost(&failure.why);
                sleep(back_off.delay(failures).max(failure.wait)).await;
                failures += 1;
            }
        }
    }
}
