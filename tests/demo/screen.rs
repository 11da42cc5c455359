//! Lines for a person: a time, who speaks, what happened; colour and pauses only on a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two steps, so that a person can follow.
const PAUSE: Duration = Duration::from_millis(1_500);

/// Where lines go; clones write to the same place.
#[derive(Clone)]
pub struct Screen {
    terminal: bool,
    clock: Arc<Mutex<Instant>>,
}

impl Screen {
    /// Standard output.
    pub fn new() -> Self {
        let clock = Arc::new(Mutex::new(Instant::now()));
        Self { terminal: io::stdout().is_terminal(), clock }
    }

    /// Begins a step; times of the lines below count from here.
    pub fn title(&self, text: &str) {
        self.start_clock();
        let (on, off) = self.style("\x1b[1m");
        self.write(&format!("\n{on}{text}{off}\n"));
    }

    /// Lets the times of the lines below count from now.
    pub fn start_clock(&self) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// One line.
    pub fn say(&self, who: &str, text: &str) {
        let since = self.clock.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let (on, off) = self.style(match who {
            "cluster" => "\x1b[33m",
            "program" => "\x1b[35m",
            "" => "\x1b[32m",
            _ => "\x1b[36m",
        });
        self.write(&format!("{:>8.3} s  {on}{who:<12}{off}  {text}\n", since.as_secs_f64()));
    }

    /// The last line of a demonstration that failed.
    pub fn problem(&self, text: &str) {
        let (on, off) = self.style("\x1b[31m");
        self.write(&format!("\n{on}failed:{off} {text}\n"));
    }

    /// Gives a person the time to read.
    pub fn pause(&self) {
        if self.terminal {
            std::thread::sleep(PAUSE);
        }
    }

    fn style(&self, code: &'static str) -> (&'static str, &'static str) {
        if self.terminal { (code, "\x1b[0m") } else { ("", "") }
    }

    fn write(&self, text: &str) {
        // A reader that has gone (`| head`) is no reason to fail.
        let _ = io::stdout().lock().write_all(text.as_bytes());
    }
}

/// `after 12 ms`, counted from `start`.
pub fn after(start: Instant) -> String {
    format!("after {} ms", start.elapsed().as_millis())
}
