//! A scripted receiver of flares: answers in turn, and remembers what it was sent byte for byte.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::program::PATIENCE;

/// One request as it came.
#[derive(Debug)]
pub struct Received {
    /// Method and target.
    pub line: String,
    /// The header fields as sent.
    pub headers: String,
    /// The body without the framing of its chunks.
    pub body: Vec<u8>,
    /// When it was complete.
    pub at: Instant,
}

/// The receiver; it answers as many requests as it has answers.
pub struct ArchiveReceiver {
    port: u16,
    received: Receiver<Received>,
}

/// A whole answer with this body.
pub fn answer(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The answer to a `HEAD`: no body follows.
pub fn found() -> String {
    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned()
}

/// An answer that sends the client elsewhere.
pub fn redirect(location: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

impl ArchiveReceiver {
    /// Starts one with its answers in the order of the requests.
    pub fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (sender, received) = channel();
        thread::spawn(move || {
            for answer in answers {
                let Ok((stream, _)) = listener.accept() else { return };
                let Some(request) = serve(stream, &answer) else { return };
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        Self { port, received }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.try_iter().collect()
    }
}

fn serve(stream: TcpStream, answer: &str) -> Option<Received> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = String::new();
    loop {
        let start = headers.len();
        reader.read_line(&mut headers).ok()?;
        if headers[start..].trim().is_empty() {
            break;
        }
    }
    let chunked = headers.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { chunks(&mut reader)? } else { Vec::new() };
    let mut stream = stream;
    stream.write_all(answer.as_bytes()).ok()?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    // The client closes first, so that it never sees a reset in place of the answer.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    Some(Received { line, headers, body, at: Instant::now() })
}

fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..]).ok()?;
        let mut end = String::new();
        reader.read_line(&mut end).ok()?;
        if size == 0 {
            return Some(body);
        }
    }
}
