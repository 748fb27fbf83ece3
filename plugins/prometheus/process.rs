//! `process_*`: what the kernel says of the process, read from /proc when it is asked for. A value that cannot be read is left out.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks in a second of user space: fixed in Linux' interface, whatever the kernel's own clock.
const TICKS: f64 = 100.0;
/// The octets in the kernel's kB.
const KILOBYTE: f64 = 1_024.0;

/// Reads /proc.
#[derive(Debug)]
pub(super) struct Process;

/// What /proc/self says.
#[derive(Default, Debug)]
struct Facts {
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    virtual_bytes: Option<f64>,
    resident_bytes: Option<f64>,
    virtual_max_bytes: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
}

impl Facts {
    fn read() -> Self {
        let mut facts = Self::default();
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let stat = text("/proc/self/stat");
        // The command stands in parentheses and may hold anything; the fields behind it are numbers, the third one first.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .collect();
        let field = |number: usize| -> Option<f64> { fields.get(number - 3)?.parse().ok() };
        if let (Some(user), Some(system)) = (field(14), field(15)) {
            facts.cpu_seconds = Some((user + system) / TICKS);
        }
        facts.virtual_bytes = field(23);
        let boot: Option<f64> = text("/proc/stat")
            .lines()
            .find_map(|line| line.strip_prefix("btime "))
            .and_then(|seconds| seconds.trim().parse().ok());
        if let (Some(boot), Some(start)) = (boot, field(22)) {
            facts.start_seconds = Some(boot + start / TICKS);
        }
        facts.resident_bytes = text("/proc/self/status")
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<f64>().ok())
            .map(|kilobytes| kilobytes * KILOBYTE);
        let limits = text("/proc/self/limits");
        let limit = |name: &str| {
            let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
            match rest.split_whitespace().next()? {
                // As Go's client has it: the largest 64-bit number.
                "unlimited" => Some(u64::MAX as f64),
                number => number.parse().ok(),
            }
        };
        facts.max_fds = limit("Max open files");
        facts.virtual_max_bytes = limit("Max address space");
        // The directory that is read is itself one of them.
        facts.open_fds = fs::read_dir("/proc/self/fd")
            .ok()
            .map(|entries| entries.count().saturating_sub(1) as f64);
        facts
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let facts = Facts::read();
        if let Some(seconds) = facts.cpu_seconds {
            let metric = encoder.encode_descriptor(
                "process_cpu_seconds",
                "Total user and system CPU time spent in seconds.",
                None,
                MetricType::Counter,
            )?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        let gauges = [
            (
                "process_open_fds",
                "Number of open file descriptors.",
                facts.open_fds,
            ),
            (
                "process_max_fds",
                "Maximum number of open file descriptors.",
                facts.max_fds,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
                facts.virtual_bytes,
            ),
            (
                "process_virtual_memory_max_bytes",
                "Maximum amount of virtual memory available in bytes.",
                facts.virtual_max_bytes,
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
                facts.resident_bytes,
            ),
            (
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                facts.start_seconds,
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Facts;

    #[test]
    fn the_kernel_is_understood() {
        let facts = Facts::read();
        let within = |value: Option<f64>, low: f64, high: f64| {
            value.is_some_and(|value| (low..=high).contains(&value))
        };
        assert!(within(facts.cpu_seconds, 0.0, 1e6), "{facts:?}");
        assert!(within(facts.open_fds, 3.0, 1e5), "{facts:?}");
        assert!(within(facts.max_fds, 3.0, f64::MAX), "{facts:?}");
        assert!(within(facts.resident_bytes, 1e5, 1e12), "{facts:?}");
        assert!(facts.virtual_bytes >= facts.resident_bytes, "{facts:?}");
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs_f64();
        assert!(
            within(facts.start_seconds, now - 86_400.0, now + 2.0),
            "{facts:?}"
        );
    }
}
