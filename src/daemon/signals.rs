//! Signals: the first SIGTERM or SIGINT asks the process to end, the second one ends it (spec cli §3).
//!
//! As PID 1 of a container the process gets no default action for them, so the handlers come first of all.

use std::io;
use std::thread;

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Why the process should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A signal, by its number.
    Signal(i32),
    /// `POST /stop`.
    Request,
    /// A thread without which nothing works has panicked, by its name.
    Failure(&'static str),
}

/// Sends the first signal to `ending` and ends the process with the usual code at the second. SIGHUP does nothing, and
/// SIGPIPE is ignored by the standard library.
///
/// # Errors
/// When no handler or no thread can be set up.
pub fn watch(ending: Sender<Reason>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let handle = move || {
        let mut asked = false;
        for signal in signals.forever().filter(|signal| *signal != SIGHUP) {
            if asked {
                std::process::exit(128 + signal);
            }
            asked = true;
            // The receiver lives until the process ends; a full channel means that it was asked already.
            let _ = ending.try_send(Reason::Signal(signal));
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(handle).map(drop)
}
