//! A socket whose reads and writes end by a deadline, without a timer thread.
//!
//! It sits under TLS, so that dripped handshakes and dripped records are bounded as well. The kernel's own timeouts
//! do the waiting; they are set only when they change, and a request that arrives in one piece changes none.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limits::Limits;

/// A connection's socket with the deadline of what it is doing.
#[derive(Debug)]
pub struct Timed {
    socket: Arc<TcpStream>,
    idle: Duration,
    request: Duration,
    write: Duration,
    reading: Reading,
    /// End of the response that is being written; outside of one only the kernel's timeout of a single write holds.
    writing: Option<Instant>,
    /// The read timeout that the socket has now.
    read_timeout: Option<Duration>,
}

#[derive(Debug)]
enum Reading {
    /// Nothing of a request is here yet: the idle time counts, and the first byte starts the request's deadline.
    Idle,
    /// Everything that is expected has to be here by then.
    Until(Instant),
}

impl Timed {
    /// Wraps a socket whose first bytes, such as a TLS handshake, have to arrive within the request time.
    ///
    /// # Errors
    /// When the socket takes no write timeout: it is broken.
    pub(super) fn new(socket: Arc<TcpStream>, limits: &Limits) -> io::Result<Self> {
        socket.set_write_timeout(Some(limits.write))?;
        Ok(Self {
            socket,
            idle: limits.idle,
            request: limits.request,
            write: limits.write,
            reading: Reading::Until(Instant::now() + limits.request),
            writing: None,
            read_timeout: None,
        })
    }

    /// The socket itself, to poll it or to shut it down.
    pub fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// Waits for the next request: the idle time until its first byte, the request time from then on.
    pub fn expect_request(&mut self) {
        self.reading = Reading::Idle;
        self.writing = None;
    }

    /// Everything that is read from now on has to arrive within `time`.
    pub fn read_within(&mut self, time: Duration) {
        self.reading = Reading::Until(Instant::now() + time);
        self.writing = None;
    }

    /// The rest of a request whose first bytes are here already has the request time from now on.
    pub(super) fn continue_request(&mut self) {
        self.read_within(self.request);
    }

    /// Everything that is written before the next phase has the write time together.
    pub fn start_writing(&mut self) {
        self.writing = Some(Instant::now() + self.write);
    }

    /// The first bytes of the connection, left in the socket for the next read; empty at its end.
    ///
    /// # Errors
    /// `TimedOut` when none came in time.
    pub(super) fn peek<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        self.prepare_read()?;
        let length = self.socket.peek(buffer).map_err(timed_out)?;
        Ok(&buffer[..length])
    }

    /// Ends the sending direction and discards what still arrives, for at most `time` and 256 KiB: closing a socket
    /// with unread input would reset it, and the peer would lose the answer.
    pub(super) fn linger(&mut self, time: Duration) {
        const DISCARDED: usize = 256 << 10;
        let _ = self.socket.shutdown(Shutdown::Write);
        self.read_within(time);
        let mut buffer = [0; 4096];
        let mut left = DISCARDED;
        while let Ok(length @ 1..) = self.read(&mut buffer) {
            left = left.saturating_sub(length);
            if left == 0 {
                return;
            }
        }
    }

    /// Sets the socket's read timeout to what the deadline leaves.
    fn prepare_read(&mut self) -> io::Result<()> {
        let wanted = match self.reading {
            Reading::Idle => self.idle,
            Reading::Until(deadline) => deadline.saturating_duration_since(Instant::now()),
        };
        if wanted.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        if self.read_timeout != Some(wanted) {
            self.socket.set_read_timeout(Some(wanted))?;
            self.read_timeout = Some(wanted);
        }
        Ok(())
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.prepare_read()?;
        // A signal interrupts a read with a timeout even where the handler asks for restarts.
        let length = loop {
            match (&*self.socket).read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result.map_err(timed_out)?,
            }
        };
        if matches!(self.reading, Reading::Idle) {
            self.continue_request();
        }
        Ok(length)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.writing.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(ErrorKind::TimedOut.into());
        }
        (&*self.socket).write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The kernel reports its timeouts as "would block".
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut.into() } else { error }
}
