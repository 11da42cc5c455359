//! What the process itself uses, from `/proc`, under the standard names (spec events-and-leader §8).
//!
//! A value that cannot be read is left out: a wrong number is worse than none.

use std::fmt::{Display, Write as _};
use std::fs;

/// The kernel counts processor time for user space in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process metrics in the text format of Prometheus.
pub(super) fn render() -> String {
    let mut text = String::new();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/stat").unwrap_or_default();
    let mut show = |name: &str, kind: &str, help: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    };
    let cpu = cpu_seconds(&stat);
    let help = "Processor time used, user and system, in seconds";
    show("process_cpu_seconds_total", "counter", help, as_display(&cpu));
    let descriptors = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    show("process_open_fds", "gauge", "Open file descriptors", as_display(&descriptors));
    let resident = resident_bytes(&status);
    show("process_resident_memory_bytes", "gauge", "Resident memory", as_display(&resident));
    let start = start_seconds(&stat, &kernel);
    let help = "Start of the process in seconds since 1970";
    show("process_start_time_seconds", "gauge", help, as_display(&start));
    text
}

fn as_display<T: Display>(value: &Option<T>) -> Option<&dyn Display> {
    value.as_ref().map(|value| value as &dyn Display)
}

/// User and system time: fields 14 and 15 of `/proc/PID/stat`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let ticks = field(stat, 14)?.checked_add(field(stat, 15)?)?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

/// Field 22 counts from boot, whose time `/proc/stat` has.
fn start_seconds(stat: &str, kernel: &str) -> Option<f64> {
    let boot: u64 =
        kernel.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot as f64 + field(stat, 22)? as f64 / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

/// The field with this number (from 1). The second one, the name, may hold blanks and parentheses, so counting starts
/// after its last parenthesis.
fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(number - 3)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 5 0 12345 9 9";

    #[test]
    fn fields_are_counted_after_the_name() {
        assert_eq!(cpu_seconds(STAT), Some(1.75));
        assert_eq!(start_seconds(STAT, "cpu 1 2\nbtime 1000\n"), Some(1123.45));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
    }

    #[test]
    fn unreadable_values_are_left_out() {
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(start_seconds(STAT, ""), None);
        assert_eq!(resident_bytes("VmRSS: many"), None);
    }
}
