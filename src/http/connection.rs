//! One HTTP/1.1 connection: read a request, have it answered, write the answer, again and again.
//!
//! Requests are taken one after the other, so a client that sends many without reading blocks only itself: what it
//! sent stays in the kernel, and the write deadline ends it. While a connection waits it holds no buffer.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ServerConnection, StreamOwned};
use tiny_http::Method;

use super::encode::{self, Manner};
use super::limits::Limits;
use super::message::{Handler, Request, Response, text};
use super::parse::{self, BodyLength, Chunks, Head, Refusal};
use super::registry::Ticket;
use super::timed::Timed;
use crate::telemetry::CounterSeries;

/// Bytes taken from the socket at once; on the stack, so that a waiting connection holds no heap.
const READ_SIZE: usize = 4096;
/// What a waiting client is told before it sends its body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Bytes to and from one client, plain or within TLS.
pub(super) trait Transport: Read + Write {
    /// The socket underneath.
    fn timed(&mut self) -> &mut Timed;

    /// Tells the peer that nothing more will be sent.
    fn finish(&mut self);
}

impl Transport for Timed {
    fn timed(&mut self) -> &mut Timed {
        self
    }

    fn finish(&mut self) {}
}

impl Transport for StreamOwned<ServerConnection, Timed> {
    fn timed(&mut self) -> &mut Timed {
        &mut self.sock
    }

    fn finish(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}

/// What all connections of a listener share, as one connection sees it.
pub(super) struct Exchange<'a> {
    pub(super) limits: &'a Limits,
    pub(super) handler: &'a dyn Handler,
    pub(super) ticket: &'a Ticket,
    pub(super) peer: SocketAddr,
    pub(super) certificate: Option<Arc<[CertificateDer<'static>]>>,
    /// Counts panics of the handler.
    pub(super) panics: CounterSeries,
}

/// Why no request could be read.
enum Failure {
    /// It is answered with a refusal.
    Refused(Refusal),
    /// The connection ended or took too long; there is nobody to answer, or nothing to say to them.
    Ended,
}

impl Exchange<'_> {
    /// Serves the connection until one side ends it.
    pub(super) fn run<T: Transport>(self, transport: &mut T) {
        let mut buffer = Vec::new();
        loop {
            let read = self.read_head(transport, &mut buffer).and_then(|head| {
                let body = self.read_body(transport, &mut buffer, &head)?;
                Ok((head, body))
            });
            let (head, body) = match read {
                Ok(read) => read,
                Err(Failure::Refused(refusal)) => return self.refuse(transport, refusal),
                Err(Failure::Ended) => return transport.finish(),
            };
            let http_1_0 = head.http_1_0;
            let keep_alive = head.keep_alive;
            let head_only = head.method == Method::Head;
            let (response, sound) = self.answer(self.request(head, body));
            if response.status_code().0 < 400 {
                self.ticket.prove();
            }
            let close =
                !keep_alive || !sound || self.ticket.is_overflow() || self.ticket.is_draining();
            let manner = Manner { head_only, close, keep_alive_1_0: http_1_0 };
            transport.timed().start_writing();
            if encode::write(response, manner, transport).is_err() {
                return;
            }
            if close {
                transport.finish();
                // Requests that were sent ahead are dropped, which must not reset the answer on its way.
                if !buffer.is_empty() {
                    transport.timed().linger(self.limits.linger);
                }
                return;
            }
        }
    }

    /// Waits for a request and reads its head off `buffer`.
    fn read_head<T: Transport>(
        &self,
        transport: &mut T,
        buffer: &mut Vec<u8>,
    ) -> Result<Head, Failure> {
        if buffer.is_empty() {
            *buffer = Vec::new();
            if !self.ticket.set_idle(true) {
                // What has arrived by now can still be read and is answered; behind it the connection ends.
                let _ = transport.timed().socket().shutdown(Shutdown::Read);
            }
            if self.ticket.is_overflow() {
                transport.timed().continue_request();
            } else {
                transport.timed().expect_request();
            }
        } else {
            transport.timed().continue_request();
        }
        // A head can only be complete, or be told to be none, when a line has ended.
        let mut line_ended = !buffer.is_empty();
        loop {
            if (line_ended || buffer.len() >= self.limits.head)
                && let Some(head) = parse::head(buffer, self.limits).map_err(Failure::Refused)?
            {
                buffer.drain(..head.length);
                return Ok(head);
            }
            let start = buffer.len();
            self.read_more(transport, buffer)?;
            self.ticket.set_idle(false);
            line_ended = start == 0 || buffer[start..].contains(&b'\n');
        }
    }

    /// Reads the body behind `head`; what follows it stays in `buffer`.
    fn read_body<T: Transport>(
        &self,
        transport: &mut T,
        buffer: &mut Vec<u8>,
        head: &Head,
    ) -> Result<Vec<u8>, Failure> {
        let waits = head.expects_continue && buffer.is_empty();
        if waits && head.body != BodyLength::Fixed(0) {
            transport.write_all(CONTINUE).map_err(|_| Failure::Ended)?;
            transport.flush().map_err(|_| Failure::Ended)?;
        }
        match head.body {
            BodyLength::Fixed(length) => {
                while buffer.len() < length {
                    self.read_more(transport, buffer)?;
                }
                let rest = buffer.split_off(length);
                Ok(std::mem::replace(buffer, rest))
            }
            BodyLength::Chunked => {
                let (mut chunks, mut body) = (Chunks::new(self.limits.body), Vec::new());
                loop {
                    chunks.decode(buffer, &mut body).map_err(Failure::Refused)?;
                    if chunks.is_done() {
                        return Ok(body);
                    }
                    self.read_more(transport, buffer)?;
                }
            }
        }
    }

    fn read_more<T: Transport>(
        &self,
        transport: &mut T,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let mut piece = [0; READ_SIZE];
        match transport.read(&mut piece) {
            Ok(length @ 1..) => {
                buffer.extend_from_slice(&piece[..length]);
                Ok(())
            }
            Ok(_) | Err(_) => Err(Failure::Ended),
        }
    }

    fn request(&self, head: Head, body: Vec<u8>) -> Request {
        Request {
            method: if head.method == Method::Head { Method::Get } else { head.method },
            target: head.target,
            headers: head.headers,
            body,
            peer: self.peer,
            certificate: self.certificate.clone(),
        }
    }

    /// The handler's answer, and whether the handler is sound; after a panic the connection ends.
    fn answer(&self, request: Request) -> (Response, bool) {
        // What a handler shares with others is behind locks whose poison is ignored, or is published whole.
        match catch_unwind(AssertUnwindSafe(|| self.handler.handle(&request))) {
            Ok(response) => (response, true),
            Err(_) => {
                self.panics.increment();
                log::error!("the handler of {} {} panicked", request.method, request.path());
                (text(500, "internal server error"), false)
            }
        }
    }

    fn refuse<T: Transport>(&self, transport: &mut T, refusal: Refusal) {
        log::debug!("request of {} refused with {}: {}", self.peer, refusal.status, refusal.reason);
        let manner = Manner { head_only: false, close: true, keep_alive_1_0: false };
        transport.timed().start_writing();
        if encode::write(text(refusal.status, refusal.reason), manner, transport).is_ok() {
            transport.finish();
            transport.timed().linger(self.limits.linger);
        }
    }
}
