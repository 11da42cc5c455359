//! The open connections of a listener: who is admitted, who is idle, and how they are told that the end has come.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::limits::Limits;

/// How long a full listener waits for a place before it looks for one again.
const EVICTION_PAUSE: Duration = Duration::from_millis(10);

/// What an HTTP/2 connection does when the listener drains.
type DrainHook = Box<dyn Fn() + Send>;

/// The open connections of one listener.
#[derive(Default)]
pub(super) struct Registry {
    open: Mutex<Open>,
    /// Signalled when a connection ends and when draining begins.
    changed: Condvar,
    draining: AtomicBool,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Tracked>>,
    per_peer: HashMap<IpAddr, usize>,
    /// Those of `connections` that are above the caps.
    overflow: usize,
}

/// One open connection, as seen by the threads that may have to end it.
pub(super) struct Tracked {
    number: u64,
    peer: IpAddr,
    socket: Arc<TcpStream>,
    /// Above the caps: answered once and closed.
    pub(super) overflow: bool,
    /// Whether the connection waits for a request (or for the handshake), so that nothing is lost by ending it.
    idle: AtomicBool,
    /// Whether a request was answered with success, so that it is a client and not somebody who holds a place.
    proven: AtomicBool,
    on_drain: Mutex<Option<DrainHook>>,
}

/// Keeps a connection registered; its end, however it comes, takes the connection off the register.
pub(super) struct Ticket {
    registry: Arc<Registry>,
    tracked: Arc<Tracked>,
}

/// What becomes of an accepted connection.
pub(super) enum Admission {
    /// It is served.
    Admitted(Ticket),
    /// Its address has taken all places that one address may take.
    Refused,
    /// The listener drains.
    Draining,
}

impl Registry {
    /// Registers a connection. When the listener is full beyond its overflow, the oldest connection that waits and has
    /// never been answered with success makes room: a peer that only holds places, however many addresses it has,
    /// loses them to those who come for an answer.
    pub(super) fn admit(
        self: &Arc<Self>,
        socket: Arc<TcpStream>,
        peer: IpAddr,
        limits: &Limits,
    ) -> Admission {
        let mut open = self.lock();
        let overflow = loop {
            if self.is_draining() {
                return Admission::Draining;
            }
            let peer_is_full =
                open.per_peer.get(&peer).is_some_and(|count| *count >= limits.connections_per_peer);
            let kept = open.connections.len() - open.overflow;
            if !peer_is_full && kept < limits.connections {
                break false;
            }
            // One address may fill half of the overflow; the other half stays for the others.
            if peer_is_full && open.overflow >= limits.overflow / 2 {
                return Admission::Refused;
            }
            if open.overflow < limits.overflow {
                break true;
            }
            open.evict();
            // Its thread ends at once; the limit is for the case that nobody could be evicted.
            open = self
                .changed
                .wait_timeout(open, EVICTION_PAUSE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        };
        let number = open.next;
        open.next += 1;
        open.overflow += usize::from(overflow);
        *open.per_peer.entry(peer).or_default() += 1;
        let tracked = Arc::new(Tracked {
            number,
            peer,
            socket,
            overflow,
            idle: AtomicBool::new(true),
            proven: AtomicBool::new(false),
            on_drain: Mutex::default(),
        });
        open.connections.insert(number, tracked.clone());
        drop(open);
        Admission::Admitted(Ticket { registry: self.clone(), tracked })
    }

    /// Connections that are open now.
    pub(super) fn count(&self) -> usize {
        self.lock().connections.len()
    }

    /// Whether connections should end after what they are doing.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Sleeps for `time` or until draining begins.
    pub(super) fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut open = self.lock();
        while !self.is_draining() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            open = self.changed.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends idle connections, and tells the others to end after what they are doing.
    pub(super) fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        let connections: Vec<_> = {
            // The lock is held while waiters are woken, so none can miss it between its check and its wait.
            let open = self.lock();
            self.changed.notify_all();
            open.connections.values().cloned().collect()
        };
        for tracked in connections {
            if let Some(hook) = &*lock(&tracked.on_drain) {
                hook();
            } else if tracked.idle.load(Ordering::SeqCst) {
                // Only the reading side: a request that has just arrived can still be read and answered.
                let _ = tracked.socket.shutdown(Shutdown::Read);
            }
        }
    }

    /// Cuts all connections that are left.
    pub(super) fn cut(&self) {
        for tracked in self.lock().connections.values() {
            let _ = tracked.socket.shutdown(Shutdown::Both);
        }
    }

    /// Waits until no connection is left; the number of those that are left at the deadline.
    pub(super) fn wait_until_empty(&self, deadline: Instant) -> usize {
        let mut open = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if open.connections.is_empty() || left.is_zero() {
                return open.connections.len();
            }
            open = self.changed.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn remove(&self, tracked: &Tracked) {
        let mut open = self.lock();
        open.connections.remove(&tracked.number);
        open.overflow -= usize::from(tracked.overflow);
        if let Some(count) = open.per_peer.get_mut(&tracked.peer) {
            *count -= 1;
            if *count == 0 {
                open.per_peer.remove(&tracked.peer);
            }
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        lock(&self.open)
    }
}

impl Open {
    /// Cuts the oldest connection that waits and is not proven.
    fn evict(&mut self) {
        let waiting = self.connections.values().filter(|tracked| {
            tracked.idle.load(Ordering::SeqCst) && !tracked.proven.load(Ordering::Relaxed)
        });
        if let Some(oldest) = waiting.min_by_key(|tracked| tracked.number) {
            let _ = oldest.socket.shutdown(Shutdown::Both);
        }
    }
}

impl Ticket {
    /// Notes that a request was answered with success.
    pub(super) fn prove(&self) {
        self.tracked.proven.store(true, Ordering::Relaxed);
    }

    /// Marks the connection as waiting, or as busy. True means that it should go on; false, that it is idle while the
    /// listener drains. Either this sees that draining began, or [`Registry::begin_drain`] sees the idle connection.
    pub(super) fn set_idle(&self, idle: bool) -> bool {
        self.tracked.idle.store(idle, Ordering::SeqCst);
        !idle || !self.is_draining()
    }

    /// Whether the listener drains.
    pub(super) fn is_draining(&self) -> bool {
        self.registry.is_draining()
    }

    /// Whether the connection is above the caps.
    pub(super) fn is_overflow(&self) -> bool {
        self.tracked.overflow
    }

    /// Has `hook` called when draining begins, at once if it has begun.
    pub(super) fn on_drain(&self, hook: DrainHook) {
        *lock(&self.tracked.on_drain) = Some(hook);
        if self.is_draining()
            && let Some(hook) = &*lock(&self.tracked.on_drain)
        {
            hook();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.registry.remove(&self.tracked);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::OnceLock;

    use super::*;

    fn socket() -> Arc<TcpStream> {
        // The other end stays open, so that nothing but a cut ends the connection.
        static LISTENER: OnceLock<TcpListener> = OnceLock::new();
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = LISTENER.get_or_init(bind).local_addr().expect("it has an address");
        Arc::new(TcpStream::connect(address).expect("the kernel completes the connection"))
    }

    fn peer(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn limits() -> Limits {
        Limits { connections: 3, overflow: 2, connections_per_peer: 2, ..Limits::default() }
    }

    fn admitted(registry: &Arc<Registry>, last: u8) -> Option<Ticket> {
        match registry.admit(socket(), peer(last), &limits()) {
            Admission::Admitted(ticket) => Some(ticket),
            Admission::Refused | Admission::Draining => None,
        }
    }

    #[test]
    fn connections_above_the_caps_are_overflow_and_one_peer_gets_half_of_it() {
        let registry = Arc::new(Registry::default());
        let tickets: Vec<_> = [1, 1, 1, 2, 3]
            .into_iter()
            .map(|last| admitted(&registry, last).expect("there is room"))
            .collect();
        let overflow: Vec<bool> = tickets.iter().map(Ticket::is_overflow).collect();
        assert_eq!(overflow, [false, false, true, false, true]);
        assert!(admitted(&registry, 1).is_none(), "the peer has its share of the overflow");
        drop(tickets);
        assert_eq!(registry.count(), 0);
        assert!(registry.lock().per_peer.is_empty());
        assert_eq!(registry.lock().overflow, 0);
    }

    #[test]
    fn a_full_listener_cuts_the_oldest_that_only_waits() {
        let registry = Arc::new(Registry::default());
        let sockets: Vec<_> = (0..5).map(|_| socket()).collect();
        let tickets: Vec<_> = sockets
            .iter()
            .zip(1..)
            .map(|(socket, last)| match registry.admit(socket.clone(), peer(last), &limits()) {
                Admission::Admitted(ticket) => ticket,
                Admission::Refused | Admission::Draining => panic!("there is room"),
            })
            .collect();
        tickets[0].prove();
        tickets[1].set_idle(false);
        registry.lock().evict();
        // A socket that was cut tells its end to readers; the others have nothing to read.
        let cut = |socket: &TcpStream| {
            socket.set_nonblocking(true).expect("the socket is open");
            socket.peek(&mut [0]).is_ok()
        };
        let all: Vec<bool> = sockets.iter().map(|socket| cut(socket)).collect();
        assert_eq!(all, [false, false, true, false, false]);
    }

    #[test]
    fn a_full_listener_waits_for_a_place() {
        let registry = Arc::new(Registry::default());
        let mut tickets: Vec<_> = [1, 2, 3, 4, 5]
            .into_iter()
            .map(|last| admitted(&registry, last).expect("there is room"))
            .collect();
        let waiter = {
            let registry = registry.clone();
            std::thread::spawn(move || admitted(&registry, 6).is_some_and(|it| it.is_overflow()))
        };
        tickets.pop();
        assert!(waiter.join().expect("the waiter does not panic"));
    }

    #[test]
    fn draining_ends_waits_and_refuses() {
        let registry = Arc::new(Registry::default());
        let ticket = admitted(&registry, 1).expect("there is room");
        let (called, calls) = crossbeam_channel::bounded(4);
        ticket.on_drain(Box::new(move || called.send(()).expect("the test listens")));
        assert!(ticket.set_idle(true));
        registry.begin_drain();
        calls.recv_timeout(Duration::from_secs(10)).expect("the hook is called");
        assert!(!ticket.set_idle(true) && ticket.set_idle(false));
        assert!(admitted(&registry, 1).is_none());
        registry.pause(Duration::from_secs(600));
        assert_eq!(registry.wait_until_empty(Instant::now()), 1);
        drop(ticket);
        assert_eq!(registry.wait_until_empty(Instant::now() + Duration::from_secs(600)), 0);
    }
}
