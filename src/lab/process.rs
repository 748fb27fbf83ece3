//! Processes that descend from this one, and their end.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use crate::journal::directory;
use crate::sys;

/// Variables of every command that `run` and `up` start: its lab, its namespace, and what tells the lab from others.
const LAB: &str = "NAMEPLATE_LAB";
const SPACE: &str = "NAMEPLATE_NS";
const RUN: &str = "NAMEPLATE_RUN";
/// How long a process may take to end when it is asked to.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// All living descendants of a process, whatever groups and sessions they made.
#[must_use]
pub(crate) fn descendants(of: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in parentheses may hold anything.
        let mut words = stat.rsplit(')').next().unwrap_or("").split_whitespace();
        let (state, parent) = (
            words.next(),
            words.next().and_then(|word| word.parse().ok()),
        );
        if let (Some(parent), true) = (parent, !matches!(state, Some("Z" | "X"))) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![of];
    while let Some(pid) = open.pop() {
        let next = children.remove(&pid).unwrap_or_default();
        found.extend(next.iter().copied());
        open.extend(next);
    }
    found
}

/// Variables that the command of a namespace gets; its processes are known by them.
pub(crate) fn marks(lab: &str, space: &str) -> [(&'static str, String); 3] {
    [
        (LAB, lab.to_owned()),
        (SPACE, space.to_owned()),
        (RUN, identity(lab)),
    ]
}

/// What tells a lab from one of the same name on a machine that shares this one's processes, as containers may.
fn identity(lab: &str) -> String {
    std::fs::metadata(directory(lab)).map_or(String::new(), |data| {
        format!("{:x}.{:x}", data.dev(), data.ino())
    })
}

/// Living processes that a command of a lab started, or the command of one of its namespaces.
pub(crate) fn marked(lab: &str, space: Option<&str>) -> Vec<i32> {
    let mut wanted = vec![format!("{RUN}={}", identity(lab)).into_bytes()];
    wanted.extend(space.map(|space| format!("{SPACE}={space}").into_bytes()));
    let own = std::process::id() as i32;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(pid) = pid.filter(|pid| *pid != own) else {
            continue;
        };
        // One that has ended has none.
        let variables = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let has = |wanted: &Vec<u8>| variables.split(|octet| *octet == 0).any(|is| is == wanted);
        if wanted.iter().all(has) {
            found.push(pid);
        }
    }
    found
}

/// Takes note of the ends of children that others left to this process; those of the `known` are waited for elsewhere.
pub(crate) fn reap(known: &[i32]) {
    for task in std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for pid in children.split_whitespace().flat_map(str::parse) {
            if !known.contains(&pid) {
                let _ = sys::ended(pid);
            }
        }
    }
}

/// Ends what the commands of a lab left behind.
pub(crate) fn end_marked(lab: &str) {
    end(|| marked(lab, None));
}

/// Ends all descendants of this process but `spared` and theirs: by SIGTERM, and by SIGKILL what is there two seconds later.
pub(crate) fn end_descendants(spared: Option<i32>) {
    let own = std::process::id() as i32;
    let left = || {
        let kept = spared.map(descendants).unwrap_or_default();
        let mut left = descendants(own);
        left.retain(|pid| Some(*pid) != spared && !kept.contains(pid));
        left
    };
    end(left);
}

/// Ends the processes that there are, until there are none: by SIGTERM, and by SIGKILL what is there two seconds later.
fn end(left: impl Fn() -> Vec<i32>) {
    let begun = Instant::now();
    let mut asked: Vec<i32> = Vec::new();
    loop {
        let left = left();
        if left.is_empty() {
            return;
        }
        let force = begun.elapsed() > PATIENCE;
        for pid in left {
            if force {
                let _ = sys::kill(pid, libc::SIGKILL);
            } else if !asked.contains(&pid) {
                asked.push(pid);
                let _ = sys::kill(pid, libc::SIGTERM);
                // One that is stopped hears of it only when it goes on.
                let _ = sys::kill(pid, libc::SIGCONT);
            }
        }
        // What cannot be killed is somebody else's by now.
        if begun.elapsed() > 3 * PATIENCE {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
