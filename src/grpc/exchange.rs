//! One call on its stream: take the request in, ask the service, send what it answers as the client's window opens.

use std::time::{Duration, Instant};

use shiguredo_http2::{Connection, Error, ErrorCode, HeaderField, StreamId};

use super::connection::Limits;
use super::framing::{Incoming, framed};
use super::service::{Call, Next, Reply, Service, StreamSource};
use super::status::{Code, Status};

/// Bytes of a message that are handed to the HTTP/2 library at once. Its buffers, one for each stream and one for the
/// connection, keep the size that they once had, so a quiet stream holds twice this for good.
const PIECE: usize = 4 << 10;

/// A source that names a time in the past is asked again after this: its fault must not take a whole core.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// One call in progress.
pub(super) struct Exchange {
    id: StreamId,
    phase: Phase,
}

enum Phase {
    /// The request message comes in.
    Receiving { call: Call, incoming: Incoming, deadline: Instant },
    /// The answer goes out.
    Sending(Outgoing),
}

struct Outgoing {
    source: Option<Box<dyn StreamSource>>,
    /// When the source wants to be asked.
    due: Instant,
    /// The message on its way, with its prefix; empty between messages.
    message: Vec<u8>,
    /// Bytes of it that the library has.
    handed: usize,
    /// By when the message has to be on the wire; set with its first piece.
    deadline: Option<Instant>,
    /// What the stream ends with behind the message.
    end: Option<Status>,
}

/// What an exchange did.
pub(super) enum Step {
    /// Handed a piece to the library; there may be more.
    Piece,
    /// Asked its source, and has to act on what that said.
    Again,
    /// Waits for the client, or for its time.
    Wait(Instant),
    /// Is over.
    Ended,
}

impl Exchange {
    /// An admitted call whose message comes next.
    pub(super) fn new(id: StreamId, call: Call, limits: &Limits, now: Instant) -> Self {
        let incoming = Incoming::new(limits.message);
        let deadline = now + limits.request;
        Self { id, phase: Phase::Receiving { call, incoming, deadline } }
    }

    /// Takes a piece of the request; the status to refuse the call with when it cannot be accepted.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), Status> {
        match &mut self.phase {
            Phase::Receiving { incoming, .. } => incoming.take(piece),
            // The library lets nothing through behind the end of the request.
            Phase::Sending(_) => Ok(()),
        }
    }

    /// At the end of the request: asks the service and starts the answer. True when the call is over with it.
    pub(super) fn finish(
        &mut self,
        service: &dyn Service,
        protocol: &mut Connection,
        now: Instant,
    ) -> Result<bool, Error> {
        let Phase::Receiving { call, incoming, .. } = &self.phase else { return Ok(false) };
        let reply = match incoming.finish() {
            Ok(message) => service.call(call, message),
            Err(status) => Reply::Status(status),
        };
        let (source, message, end) = match reply {
            Reply::Status(status) => {
                refuse(protocol, self.id, &status)?;
                return Ok(true);
            }
            Reply::Message(message) => (None, framed(&message), Some(Status::OK)),
            Reply::Stream(source) => (Some(source), Vec::new(), None),
        };
        let headers = fields([(":status", "200"), ("content-type", "application/grpc")]);
        protocol.send_response(self.id, headers, false)?;
        let outgoing = Outgoing { source, due: now, message, handed: 0, deadline: None, end };
        self.phase = Phase::Sending(outgoing);
        Ok(false)
    }

    /// Has the source asked at the next step.
    pub(super) fn wake(&mut self, now: Instant) {
        if let Phase::Sending(outgoing) = &mut self.phase {
            outgoing.due = now;
        }
    }

    /// Ends the call with `status`, behind the message of which a part is sent already. True when it is over at once.
    pub(super) fn end(&mut self, protocol: &mut Connection, status: Status) -> Result<bool, Error> {
        match &mut self.phase {
            Phase::Receiving { .. } => {
                self.refuse_early(protocol, &status)?;
                Ok(true)
            }
            Phase::Sending(outgoing) => {
                if outgoing.handed == 0 {
                    outgoing.message = Vec::new();
                }
                outgoing.source = None;
                outgoing.end = Some(status);
                Ok(false)
            }
        }
    }

    /// Refuses a call whose request is not complete.
    pub(super) fn refuse_early(
        &self,
        protocol: &mut Connection,
        status: &Status,
    ) -> Result<(), Error> {
        refuse(protocol, self.id, status)?;
        stop_request(protocol, self.id)
    }

    /// Goes on as far as the client's window allows, one piece at a time.
    pub(super) fn step(
        &mut self,
        protocol: &mut Connection,
        limits: &Limits,
        now: Instant,
    ) -> Result<Step, Error> {
        let outgoing = match &mut self.phase {
            Phase::Sending(outgoing) => outgoing,
            Phase::Receiving { deadline, .. } if now < *deadline => {
                return Ok(Step::Wait(*deadline));
            }
            Phase::Receiving { .. } => {
                let status = Status::new(Code::DeadlineExceeded, "the request is incomplete");
                self.refuse_early(protocol, &status)?;
                return Ok(Step::Ended);
            }
        };
        if protocol.has_pending_send_data(self.id) || outgoing.handed < outgoing.message.len() {
            let deadline = *outgoing.deadline.get_or_insert(now + limits.send);
            if deadline <= now {
                log::debug!("stream {} ends because its client does not read", self.id.as_u32());
                protocol.reset_stream(self.id, ErrorCode::Cancel)?;
                return Ok(Step::Ended);
            }
            if protocol.has_pending_send_data(self.id) {
                return Ok(Step::Wait(deadline));
            }
            let rest = &outgoing.message[outgoing.handed..];
            let piece = &rest[..rest.len().min(PIECE)];
            outgoing.handed += piece.len();
            protocol.send_data(self.id, piece.to_vec(), false)?;
            return Ok(Step::Piece);
        }
        (outgoing.message, outgoing.handed, outgoing.deadline) = (Vec::new(), 0, None);
        if let Some(status) = outgoing.end.take() {
            let fields = status.fields();
            let fields = fields.iter().map(|(name, value)| (*name, value.as_str()));
            protocol.send_trailers(self.id, self::fields(fields))?;
            return Ok(Step::Ended);
        }
        if now < outgoing.due {
            return Ok(Step::Wait(outgoing.due));
        }
        match outgoing.source.as_mut().map(|source| source.next(now)) {
            Some(Next::Message(message)) => outgoing.message = framed(&message),
            Some(Next::Idle(due)) => outgoing.due = due.max(now + SHORTEST_PAUSE),
            Some(Next::End(status)) => outgoing.end = Some(status),
            None => outgoing.end = Some(Status::OK),
        }
        Ok(Step::Again)
    }
}

/// Answers a call with a status alone.
pub(super) fn refuse(
    protocol: &mut Connection,
    id: StreamId,
    status: &Status,
) -> Result<(), Error> {
    let extra = status.fields();
    let extra = extra.iter().map(|(name, value)| (*name, value.as_str()));
    let head = [(":status", "200"), ("content-type", "application/grpc")];
    protocol.send_response(id, fields(head.into_iter().chain(extra)), true)
}

/// Answers a request that is no gRPC call.
pub(super) fn refuse_http(
    protocol: &mut Connection,
    id: StreamId,
    status: &'static str,
) -> Result<(), Error> {
    protocol.send_response(id, fields([(":status", status)]), true)
}

/// Tells a client whose call is answered that the rest of its request is not needed.
pub(super) fn stop_request(protocol: &mut Connection, id: StreamId) -> Result<(), Error> {
    protocol.reset_stream(id, ErrorCode::NoError)
}

fn fields<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<HeaderField> {
    let field = |(name, value)| HeaderField::new(name, value);
    let fields: Result<_, _> = pairs.into_iter().map(field).collect();
    fields.expect("names are constants, and values digits or percent-encoded text")
}
