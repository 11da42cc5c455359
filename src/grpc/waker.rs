//! Wakes a connection thread out of its poll.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::EventfdFlags;

/// Has the sources of one connection asked again soon; cheap to clone and to call, from any thread, also when the
/// connection is gone.
#[derive(Clone, Debug)]
pub struct Waker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    event: OwnedFd,
    /// Whether a call is on its way already, so that a burst of calls costs one write.
    called: AtomicBool,
}

impl Waker {
    /// A waker with its descriptor.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { inner: Arc::new(Inner { event, called: AtomicBool::new(false) }) })
    }

    /// Calls. Everything that was written before is seen by the sources that are asked because of it.
    pub fn wake(&self) {
        if !self.inner.called.swap(true, Ordering::AcqRel) {
            // It fails only when the counter is full, and then the thread is called already.
            let _ = rustix::io::write(&self.inner.event, &1_u64.to_ne_bytes());
        }
    }

    /// Takes the call, when the descriptor is readable and before the sources are asked: a call that comes later makes
    /// it readable again.
    pub(super) fn take(&self) {
        let _ = rustix::io::read(&self.inner.event, &mut [0; 8]);
        // Reading the flag makes visible what was written before a call that found it set and wrote nothing.
        self.inner.called.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec};

    use super::*;

    fn is_readable(waker: &Waker) -> bool {
        let mut descriptors = [PollFd::new(waker, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut descriptors, Some(&now)).expect("the descriptor is open") > 0
    }

    #[test]
    fn a_burst_of_calls_is_taken_at_once() {
        let waker = Waker::new().expect("there is a descriptor");
        assert!(!is_readable(&waker));
        waker.wake();
        waker.clone().wake();
        assert!(is_readable(&waker));
        waker.take();
        assert!(!is_readable(&waker));
        waker.wake();
        assert!(is_readable(&waker));
    }
}
