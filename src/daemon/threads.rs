//! Named threads that outlive a panic: it is counted, said, and the thread's work begins anew.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::signals::Reason;
use crate::retry::Backoff;
use crate::sync::Stop;
use crate::telemetry::Registry;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs `body` on a thread of this name; after a panic again, with growing pauses, until `stop`. What `body` shares with
/// others must stay usable when it is left half-way: here that is locks whose poison is ignored, and channels.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn_restarting(
    name: String,
    (telemetry, stop): (Registry, Stop),
    mut body: impl FnMut() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let panics = telemetry.counter(
        "dca_thread_panics",
        "Panics after which a thread began anew",
        &["thread"],
    );
    thread::Builder::new().name(name.clone()).spawn(move || {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while catch_unwind(AssertUnwindSafe(&mut body)).is_err() {
            panics.increment(&[&name]);
            log::error!("thread {name} panicked and begins anew");
            if stop.wait(backoff.next_pause()) {
                return;
            }
        }
    })
}

/// Runs `body` on a thread of this name, and asks the process to end when it panics: for state that no other thread can
/// rebuild. The process is back within milliseconds, and the others were told to wait by then.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn_vital(
    name: &'static str,
    ending: Sender<Reason>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(body)).is_err() {
            // A full channel means that the process was asked to end already.
            let _ = ending.try_send(Reason::Failure(name));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_vital_thread_asks_the_process_to_end() {
        let (ending, asked_to_end) = crossbeam_channel::bounded(1);
        let thread = spawn_vital("vital", ending, || panic!("on purpose"));
        thread.expect("the thread starts").join().expect("the panic is caught");
        assert_eq!(asked_to_end.try_recv(), Ok(Reason::Failure("vital")));
    }

    #[test]
    fn a_panic_is_counted_and_the_work_begins_anew() {
        let telemetry = Registry::default();
        let (_source, stop) = Stop::new();
        let mut rounds = 0;
        let body = move || {
            rounds += 1;
            assert!(rounds > 1, "the first round fails");
        };
        let thread = spawn_restarting("fragile".to_owned(), (telemetry.clone(), stop), body);
        thread.expect("the thread starts").join().expect("the second round ends well");
        assert_eq!(telemetry.total("dca_thread_panics"), 1.0);
    }
}
