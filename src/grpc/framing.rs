//! Messages within the body of a call: a flag, a length, the message.

use super::status::{Code, Status};

/// The compression flag and the length.
const PREFIX: usize = 5;

/// A message with its prefix, uncompressed. An empty message is five zero bytes, which clients ignore: a keep-alive
/// (spec node-api §8.3).
///
/// # Panics
/// When the message has 4 GiB or more, which no snapshot has.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("messages are far below 4 GiB");
    let mut bytes = Vec::with_capacity(PREFIX + message.len());
    bytes.push(0);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}

/// Takes in the only message of a request.
#[derive(Debug)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    maximum: usize,
}

impl Incoming {
    /// Takes a message of at most `maximum` bytes.
    pub(super) fn new(maximum: usize) -> Self {
        Self { bytes: Vec::new(), maximum }
    }

    /// Takes a piece of the body; an error as soon as it is known that the message cannot be accepted.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), Status> {
        if self.bytes.len() + piece.len() > PREFIX + self.maximum {
            return Err(Status::new(Code::ResourceExhausted, "the request message is too large"));
        }
        self.bytes.extend_from_slice(piece);
        match self.declared() {
            _ if self.bytes.first().is_some_and(|flag| *flag != 0) => {
                Err(Status::new(Code::Unimplemented, "compressed messages are not supported"))
            }
            Some(length) if length > self.maximum => {
                Err(Status::new(Code::ResourceExhausted, "the request message is too large"))
            }
            Some(length) if self.bytes.len() > PREFIX + length => {
                Err(Status::new(Code::Unimplemented, "only one request message is supported"))
            }
            _ => Ok(()),
        }
    }

    /// The message, at the end of the request.
    pub(super) fn finish(&self) -> Result<&[u8], Status> {
        match self.declared() {
            Some(length) if self.bytes.len() == PREFIX + length => Ok(&self.bytes[PREFIX..]),
            _ => Err(Status::new(Code::Internal, "the request message is incomplete")),
        }
    }

    fn declared(&self) -> Option<usize> {
        let length = self.bytes.get(1..PREFIX)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(length)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &[u8]) -> Result<Vec<u8>, Code> {
        let mut incoming = Incoming::new(8);
        for byte in bytes {
            incoming.take(&[*byte]).map_err(|status| status.code)?;
        }
        incoming.finish().map(<[u8]>::to_vec).map_err(|status| status.code)
    }

    #[test]
    fn an_empty_message_is_five_zero_bytes() {
        assert_eq!(framed(b""), [0; 5]);
    }

    #[test]
    fn a_message_comes_back_from_its_bytes() {
        assert_eq!(taken(&framed(b"12345678")), Ok(b"12345678".to_vec()));
        assert_eq!(taken(&framed(b"")), Ok(Vec::new()));
    }

    #[test]
    fn bad_requests_have_their_code() {
        let cases: [(&[u8], Code); 7] = [
            (b"", Code::Internal),
            (b"\0\0\0", Code::Internal),
            (b"\0\0\0\0\x02a", Code::Internal),
            (b"\x01\0\0\0\0", Code::Unimplemented),
            (b"\0\0\0\0\x01ab", Code::Unimplemented),
            (b"\0\0\0\0\x09", Code::ResourceExhausted),
            (b"\0\xff\xff\xff\xff", Code::ResourceExhausted),
        ];
        for (bytes, code) in cases {
            assert_eq!(taken(bytes), Err(code), "{bytes:?}");
        }
    }
}
