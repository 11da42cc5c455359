//! What a service gives and gets; transport and framing are not its concern.

use std::net::SocketAddr;
use std::time::Instant;

use super::status::Status;
use super::waker::Waker;

/// Answers calls; used by many connection threads at once, and expected to return within milliseconds.
pub trait Service: Send + Sync {
    /// Whether the call may be made at all, judged by its path and metadata before its message is taken in, so that a
    /// caller without a token cannot occupy memory.
    ///
    /// # Errors
    /// The status that the call ends with.
    fn admit(&self, call: &Call) -> Result<(), Status>;

    /// Answers an admitted call; `message` is the encoded request message.
    fn call(&self, call: &Call, message: &[u8]) -> Reply;
}

/// One call of a client.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method, such as `/datadog.api.v1.AgentSecure/StreamKubeMetadata`.
    pub path: String,
    /// The caller's metadata in the order of its arrival, names in lower case; bounded by the limits.
    pub metadata: Vec<(String, String)>,
    /// The peer's address.
    pub peer: SocketAddr,
    /// Has the sources of this call's connection asked again; to be kept by whoever changes what they tell.
    pub waker: Waker,
}

impl Call {
    /// The first metadata value of this name (in lower case); `None` when absent.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        let found = self.metadata.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The answer to a call.
pub enum Reply {
    /// One encoded message, and success.
    Message(Vec<u8>),
    /// No message.
    Status(Status),
    /// Messages as they come.
    Stream(Box<dyn StreamSource>),
}

/// Tells the messages of one stream, and is dropped when the stream ends, by whichever side.
///
/// It is asked on the connection's thread: at once, then whenever the last message is on its way, the time has come
/// that it named, or the connection was woken (which is for all streams of a connection, so being asked means nothing).
pub trait StreamSource: Send {
    /// What comes next.
    fn next(&mut self, now: Instant) -> Next;
}

/// What a stream does next.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Sends this encoded message; empty is a keep-alive. A client that does not take it in time loses the stream.
    Message(Vec<u8>),
    /// Has nothing to say before this time, unless the connection is woken.
    Idle(Instant),
    /// Ends with this status.
    End(Status),
}
