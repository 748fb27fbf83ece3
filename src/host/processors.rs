//! How many processors there are to use.

use std::sync::OnceLock;

/// The processors that this process may use, by affinity and cgroup: one worker each. Asked once, since it reads four files.
pub fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}
