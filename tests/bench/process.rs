//! What the kernel says of a process, and processes that end with the value that holds them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Ticks a second in /proc/PID/stat; fixed in Linux' user space interface.
const TICKS: f64 = 100.0;

/// A peer that runs while this value lives.
pub struct Peer {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Peer {
    /// Starts it; its standard output is for [`Peer::line`].
    pub fn start(command: &mut Command) -> Result<Self, String> {
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(|error| format!("{command:?}: {error}"))?;
        let lines = BufReader::new(child.stdout.take().ok_or("its output is not piped")?);
        Ok(Self { child, lines })
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_owned()),
            Ok(0) => Err("the peer ended".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself, which is all that is wanted here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident memory in MiB.
pub fn resident(id: u32) -> f64 {
    status(id, "VmRSS:")
}

/// The highest resident memory in MiB since the start or since [`reset_peak`].
pub fn peak(id: u32) -> f64 {
    status(id, "VmHWM:")
}

/// Lets [`peak`] start again from now.
pub fn reset_peak(id: u32) {
    // 5 resets the high-water mark (proc(5)); where that is not allowed the peak since the start is reported.
    let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
}

/// Seconds of processor time that a process and its children that are still there have used.
pub fn processor_time(id: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let children: f64 =
        children.split_whitespace().filter_map(|id| id.parse().ok()).map(processor_time).sum();
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // Fields are counted behind the name, which may hold blanks: user and system time are the 12th and 13th.
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks =
        behind.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS + children
}

/// The share of one core in percent that a process uses over `duration`.
pub fn processor_share(id: u32, duration: Duration) -> f64 {
    let (before, start) = (processor_time(id), Instant::now());
    thread::sleep(duration);
    (processor_time(id) - before) / start.elapsed().as_secs_f64() * 100.0
}

/// Binds all threads of a process to one core.
pub fn pin(id: u32, core: usize) {
    let pinned = Command::new("taskset")
        .args(["-a", "-c", "-p", &core.to_string(), &id.to_string()])
        .stdout(Stdio::null())
        .status();
    if !pinned.is_ok_and(|status| status.success()) {
        eprintln!("scripts/bench: process {id} could not be bound to core {core}");
    }
}

fn status(id: u32, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    let kibibytes = line.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    kibibytes.unwrap_or_default() / 1024.0
}
