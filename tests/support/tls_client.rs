//! A client for HTTP/1.1 over TLS or plain sockets that sends raw bytes and reads whole answers.
//!
//! It verifies no certificate, as node Agents do not by default (spec node-api §1.2).

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};

/// Longest wait for the server in any test: far above what is expected, because the machine may be loaded.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a client offers in its handshake.
#[derive(Clone, Debug)]
pub struct Offer {
    /// TLS versions.
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// Application protocols; none sends no extension at all.
    pub protocols: Vec<&'static [u8]>,
    /// The name in the handshake; an IP address sends none.
    pub name: &'static str,
    /// The client's certificate and key in DER.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl Default for Offer {
    /// Both versions, no protocols, no name: as a node Agent's REST client.
    fn default() -> Self {
        Self {
            versions: vec![&rustls::version::TLS12, &rustls::version::TLS13],
            protocols: Vec::new(),
            name: "127.0.0.1",
            certificate: None,
        }
    }
}

/// A TLS connection after its handshake.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// An answer with its body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A plain connection whose reads fail after [`PATIENCE`].
pub fn connect_plain(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// The settings for [`connect_with`], to be made once for many connections.
pub fn client_config(offer: &Offer) -> Arc<ClientConfig> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&offer.versions)
        .expect("the versions fit the provider")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
    let mut config = match &offer.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::try_from(key.clone()).expect("the key is in a known format");
            builder
                .with_client_auth_cert(vec![CertificateDer::from(certificate.clone())], key)
                .expect("the key can be used")
        }
    };
    config.alpn_protocols = offer.protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// Connects and completes the handshake.
pub fn connect(address: SocketAddr, offer: &Offer) -> io::Result<TlsStream> {
    connect_with(address, client_config(offer), offer.name)
}

/// Connects with settings that are shared by many connections.
pub fn connect_with(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: &'static str,
) -> io::Result<TlsStream> {
    let mut socket = connect_plain(address)?;
    let name = ServerName::try_from(name).expect("the tests use valid names");
    let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

/// Sends bytes and reads one answer.
pub fn exchange(stream: &mut (impl Read + Write), request: impl AsRef<[u8]>) -> io::Result<Answer> {
    stream.write_all(request.as_ref())?;
    stream.flush()?;
    read_answer(stream)
}

/// Reads one answer, byte by byte so that the next one stays unread; `UnexpectedEof` when there is none.
pub fn read_answer(stream: &mut impl Read) -> io::Result<Answer> {
    read_answer_to(stream, false)
}

/// Reads the answer to a HEAD request, whose length announces a body that does not come.
pub fn read_head_answer(stream: &mut impl Read) -> io::Result<Answer> {
    read_answer_to(stream, true)
}

fn read_answer_to(stream: &mut impl Read, head_only: bool) -> io::Result<Answer> {
    let mut reader = BufReader::with_capacity(1, stream);
    let status_line = read_line(&mut reader)?;
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| invalid(&status_line))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").ok_or_else(|| invalid(&line))?;
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    let length = answer.header("Content-Length").and_then(|length| length.parse().ok());
    if !head_only {
        answer.body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut answer.body)?;
    }
    Ok(answer)
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn invalid(line: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("unexpected line {line:?}"))
}

/// Accepts every certificate, but checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
