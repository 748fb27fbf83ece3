//! How many files the process may have open (RLIMIT_NOFILE), and what part of them is for upstreams.
//!
//! A process is started with a soft limit, often 1,024 for the sake of programs that use select(2), and a hard limit up to which it may
//! raise the soft one. Nothing here uses select(2), so the server raises it first of all.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The part of all descriptors that sockets and connections to upstreams may use: one in so many.
const UPSTREAM_PART: usize = 5;
/// The most that upstreams are given, however many there are.
const MOST_UPSTREAM: usize = 16_384;

/// How many files the process may have open now.
pub fn limit() -> usize {
    count(getrlimit(Resource::Nofile).current)
}

/// Raises the soft limit to the hard one, where the system lets it; gives the limit that holds then.
pub fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // A refusal changes nothing: what the limit is then is read anew.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        );
    }
    limit()
}

/// How many descriptors the process may use for sockets and connections to upstreams, by the limit that holds now.
pub fn upstream_share() -> usize {
    share(limit())
}

fn share(limit: usize) -> usize {
    (limit / UPSTREAM_PART).min(MOST_UPSTREAM)
}

/// A limit as a number; no limit is the largest.
fn count(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_kernels_and_can_be_raised() {
        let limits = std::fs::read_to_string("/proc/self/limits").expect("the kernel's table");
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))
            .expect("a line");
        let mut words = line.split_whitespace();
        let mut number = || words.next().and_then(|word| word.parse::<usize>().ok());
        assert_eq!(number(), Some(limit()));
        let hard = number();
        let raised = raise();
        assert!(hard.is_none_or(|hard| hard == raised), "{hard:?} {raised}");
    }

    #[test]
    fn upstreams_have_a_part() {
        assert_eq!(share(1_024), 204);
        assert_eq!(share(usize::MAX), MOST_UPSTREAM);
    }
}
