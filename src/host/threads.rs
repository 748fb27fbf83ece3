//! What the threads of this process have used of the processors, and which goes first.

use std::fs;
use std::time::Duration;

/// Ticks a second in /proc: USER_HZ, the same on every machine that this runs on.
const TICKS: u64 = 100;

/// One thread of this process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thread {
    /// Its name, of at most 15 octets.
    pub name: String,
    /// The time that it ran its own code.
    pub user: Duration,
    /// The time that the kernel worked for it.
    pub system: Duration,
}

/// Lets the other threads of the machine go before this one, for work that may wait. On Linux the niceness is a thread's own.
pub fn give_way() {
    // What is not granted changes nothing but the order of work.
    let _ = rustix::process::nice(10);
}

/// The threads of this process as they are now, in the order of their numbers; none where there is no /proc.
pub fn threads() -> Vec<Thread> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let mut numbers: Vec<u32> = tasks
        .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let read = |number| fs::read_to_string(format!("/proc/self/task/{number}/stat"));
    // A thread may have ended meanwhile.
    let stats = numbers.into_iter().filter_map(|number| read(number).ok());
    stats.filter_map(|stat| parse(&stat)).collect()
}

/// Reads a line of proc(5): the name is in parentheses, and may itself have any letters.
fn parse(stat: &str) -> Option<Thread> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    // The fields 14 and 15; the first behind the name is the third.
    let mut fields = after.split_ascii_whitespace().skip(11);
    let mut time = || {
        let ticks: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_millis(ticks * (1_000 / TICKS)))
    };
    Some(Thread {
        name: name.to_owned(),
        user: time()?,
        system: time()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc() {
        let line = "412 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 123 45 0 0 20 0 3 0";
        let expected = Thread {
            name: "a (b) c".to_owned(),
            user: Duration::from_millis(1_230),
            system: Duration::from_millis(450),
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("412 (a) S 1"), None);
    }

    #[test]
    fn this_thread_is_one() {
        let spinning = std::thread::Builder::new().name("spinning".to_owned());
        let spinning = spinning.spawn(|| {
            let mut turns = 0_u64;
            // Until it shows.
            while threads()
                .iter()
                .all(|one| one.name != "spinning" || one.user.is_zero())
            {
                turns += 1;
            }
            turns
        });
        assert!(spinning.expect("a thread").join().is_ok());
    }
}
