//! What connections to the API server are made with: certificates, key and bearer token, checked when they are read.
//!
//! The client library would skip certificates that it cannot parse and panic on a key that does not fit, so everything
//! is checked here, and the error names the file.

use ureq::http::HeaderValue;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::settings::{Error, Settings, Source};

/// The PEM texts that connections are made with.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Certificates {
    ca: Option<Vec<u8>>,
    client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Certificates {
    pub(super) fn read(settings: &Settings) -> Result<Self, Error> {
        let ca = settings.ca.as_ref().map(Source::read).transpose()?;
        let client = match &settings.certificate {
            Some((chain, key)) => Some((chain.read()?, key.read()?)),
            None => None,
        };
        Ok(Self { ca, client })
    }

    /// Everything is checked here: the client library would skip bad certificates and panic on a bad key.
    pub(super) fn tls(&self, settings: &Settings) -> Result<TlsConfig, Error> {
        let mut tls = TlsConfig::builder().disable_verification(!settings.verify);
        if let (Some(pem), Some(source)) = (&self.ca, &settings.ca)
            && settings.verify
        {
            tls = tls.root_certs(RootCerts::from(certificates(pem, "CA certificate", source)?));
        }
        if let (Some((chain, key)), Some((chain_source, key_source))) =
            (&self.client, &settings.certificate)
        {
            let chain = certificates(chain, "client certificate", chain_source)?;
            let key = PrivateKey::from_pem(key)
                .map_err(|error| unusable("client key", key_source, &error))?;
            check_pair(&chain, &key)
                .map_err(|error| unusable("client certificate", chain_source, &error))?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        Ok(tls.build())
    }
}

/// The value of the `Authorization` header, marked as secret for the client library's debug output.
pub(super) fn bearer(token: &[u8], source: &Source) -> Result<HeaderValue, Error> {
    let token = token.trim_ascii();
    if token.is_empty() {
        return Err(unusable("token", source, "is empty"));
    }
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat())
        .map_err(|_| unusable("token", source, "holds characters that no token has"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// All certificates of a PEM text; one that cannot be parsed spoils the whole.
fn certificates(
    pem: &[u8],
    what: &str,
    source: &Source,
) -> Result<Vec<Certificate<'static>>, Error> {
    let mut roots = rustls::RootCertStore::empty();
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) =
            item.map_err(|error| unusable(what, source, &error))?
        {
            roots
                .add(certificate.der().to_vec().into())
                .map_err(|error| unusable(what, source, &error))?;
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(unusable(what, source, "holds no certificate"));
    }
    Ok(found)
}

fn check_pair(
    chain: &[Certificate<'static>],
    key: &PrivateKey<'static>,
) -> Result<(), rustls::Error> {
    use rustls::pki_types::PrivateKeyDer;
    let provider = rustls::crypto::ring::default_provider();
    let key = PrivateKeyDer::try_from(key.der())
        .map_err(|problem| rustls::Error::General(problem.to_owned()))?;
    let key = provider.key_provider.load_private_key(key.clone_key())?;
    let chain = chain.iter().map(|certificate| certificate.der().to_vec().into()).collect();
    rustls::sign::CertifiedKey::new(chain, key).keys_match()
}

fn unusable(what: &str, source: &Source, problem: &(impl ToString + ?Sized)) -> Error {
    Error::Unusable { what: format!("{what} ({source})"), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::secret::Secret;

    fn inline(text: &str) -> Source {
        Source::Data(Secret::new(text))
    }

    fn settings(ca: &str, client: Option<(&str, &str)>) -> Settings {
        Settings {
            server: "https://127.0.0.1:1".to_owned(),
            ca: Some(inline(ca)),
            verify: true,
            certificate: client.map(|(chain, key)| (inline(chain), inline(key))),
            token: None,
            namespace: None,
            request_timeout: Duration::from_secs(1),
            list_timeout: Duration::from_secs(1),
        }
    }

    fn problem(settings: &Settings) -> String {
        let tls = Certificates::read(settings).and_then(|certificates| certificates.tls(settings));
        match tls {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).expect("rcgen works");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn certificates_and_keys_that_would_fail_later_are_refused_at_once() {
        let (chain, key) = pair();
        let (_, other_key) = pair();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(problem(&settings(&chain, Some((&chain, &key)))), "");
        for (settings, expected) in [
            (settings("", None), "CA certificate (inline data): holds no certificate"),
            (settings(broken, None), "CA certificate (inline data): "),
            (settings(&chain, Some(("", &key))), "client certificate (inline data): holds no"),
            (settings(&chain, Some((&chain, ""))), "client key (inline data): "),
            (settings(&chain, Some((&chain, &other_key))), "client certificate (inline data): "),
        ] {
            let found = problem(&settings);
            assert!(found.starts_with(expected), "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn a_token_is_trimmed_and_never_printed() {
        let token = bearer(b"abc.def\n", &inline("")).expect("a token");
        assert_eq!(token.as_bytes(), b"Bearer abc.def");
        assert_eq!(format!("{token:?}"), "Sensitive");
        let error = bearer(b"\n", &inline("")).expect_err("no token");
        assert_eq!(error.to_string(), "token (inline data): is empty");
        assert!(bearer(b"a\nb", &inline("")).is_err());
    }
}
