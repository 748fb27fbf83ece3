//! What the kernel says of processes and processors.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Ticks of `/proc/PID/stat` in a second: the kernel's interface to user space has had 100 on every architecture that Rust knows.
const TICKS: f64 = 100.0;

/// Keeps this thread, and what it starts from now on, on some cores.
pub fn pin(cores: &[usize]) -> Result<(), String> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)
            .map_err(|error| format!("core {core}: {error}"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(|error| format!("cores {cores:?}: {error}"))
}

/// A process and its descendants.
fn family(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        next += 1;
        for task in fs::read_dir(format!("/proc/{process}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
        }
    }
    found
}

/// CPU seconds, user and system, of a process and its descendants.
pub fn cpu_seconds(process: u32) -> f64 {
    let ticks = |process: &u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // After the name, which may contain anything: state is field 3, utime and stime are 14 and 15.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    };
    family(process).iter().filter_map(ticks).sum::<u64>() as f64 / TICKS
}

/// Resident memory in MiB.
#[derive(Clone, Copy, Default)]
pub struct Resident {
    /// All of it.
    pub total: f64,
    /// What the process allocated and wrote: the memory that a server costs.
    pub anonymous: f64,
    /// Pages of files, the program's own first: the kernel can drop them, and processes of one program share them.
    pub file: f64,
}

/// Resident memory of a process and its descendants; pages that they share are counted once (Pss) where the kernel tells.
pub fn resident(process: u32) -> Resident {
    let field = |process: &u32, file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    let family = family(process);
    let mebibytes = |alone: &str, shared: &str| {
        let kibibytes: f64 = if family.len() == 1 {
            field(&process, "status", alone).unwrap_or(0.0)
        } else {
            family
                .iter()
                .filter_map(|process| field(process, "smaps_rollup", shared))
                .sum()
        };
        kibibytes / 1024.0
    };
    Resident {
        total: mebibytes("VmRSS:", "Pss:"),
        anonymous: mebibytes("RssAnon:", "Pss_Anon:"),
        file: mebibytes("RssFile:", "Pss_File:"),
    }
}

/// Nanoseconds of the wall clock's second: a number that differs between runs.
pub fn nanoseconds() -> u32 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos())
}

/// The date, `YYYY-MM-DD`, in UTC.
pub fn date() -> String {
    let days = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / 86_400) as i64;
    // Days to a date of the Gregorian calendar, whose years are counted from March: Hinnant's algorithm.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Processor, number of cores, memory, kernel and distribution, in one line.
pub fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?
                .split_once(": ")
                .map(|(_, model)| model.to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or("Linux", |name| name.trim_matches('"'));
    format!(
        "{model}, {} CPUs, Linux {}, {system}",
        cores().len(),
        kernel.trim()
    )
}

/// The processors that this process may use.
pub fn cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or("0")
        .trim();
    list.split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
        })
        .flatten()
        .collect()
}

/// Those of `cores` that share no physical core, the first of each.
pub fn physical(cores: &[usize]) -> Vec<usize> {
    let siblings = |core: usize| {
        fs::read_to_string(format!(
            "/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
        ))
    };
    let mut seen = Vec::new();
    cores
        .iter()
        .copied()
        .filter(|core| {
            let siblings = siblings(*core).unwrap_or_else(|_| core.to_string());
            let new = !seen.contains(&siblings);
            seen.push(siblings);
            new
        })
        .collect()
}

/// Seconds since 1970.
pub fn time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
