//! Whose certificates are believed, and which headers of the front proxy: the ConfigMap
//! `kube-system/extension-apiserver-authentication` (spec external-metrics §4.1).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::http::tls;

/// Namespace of the ConfigMap.
pub const NAMESPACE: &str = "kube-system";

/// Name of the ConfigMap.
pub const NAME: &str = "extension-apiserver-authentication";

/// What the ConfigMap says.
#[derive(Debug, Default)]
pub struct Authorities {
    /// Of clients that come directly.
    pub clients: Vec<TrustAnchor<'static>>,
    /// Of the front proxy.
    pub front_proxies: Vec<TrustAnchor<'static>>,
    /// Common names that the front proxy may have; none means any.
    pub allowed_names: Vec<String>,
    /// Headers with the user's name, the first one that is not empty counts.
    pub user_headers: Vec<String>,
    /// Headers with a group each.
    pub group_headers: Vec<String>,
    /// Beginnings of headers with further facts.
    pub extra_prefixes: Vec<String>,
}

/// Whom a certificate names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The last common name.
    pub common_name: String,
    /// Every organisation.
    pub organizations: Vec<String>,
}

impl Authorities {
    /// From the ConfigMap's texts.
    ///
    /// # Errors
    /// Names the key that cannot be read; the caller keeps what it had.
    pub fn from_data(data: &BTreeMap<String, String>) -> Result<Self, String> {
        let anchors = |key: &str| match data.get(key) {
            Some(pem) => anchors(pem).map_err(|problem| format!("{key}: {problem}")),
            None => Ok(Vec::new()),
        };
        let list = |key: &str| match data.get(key).filter(|json| !json.is_empty()) {
            Some(json) => serde_json::from_str::<Vec<String>>(json)
                .map_err(|problem| format!("{key}: {problem}")),
            None => Ok(Vec::new()),
        };
        Ok(Self {
            clients: anchors("client-ca-file")?,
            front_proxies: anchors("requestheader-client-ca-file")?,
            allowed_names: list("requestheader-allowed-names")?,
            user_headers: list("requestheader-username-headers")?,
            group_headers: list("requestheader-group-headers")?,
            extra_prefixes: list("requestheader-extra-headers-prefix")?,
        })
    }
}

/// Whom the chain's own certificate names, if one of `anchors` vouches for it as a client at this time.
///
/// # Errors
/// Why nobody does.
pub fn verify(
    chain: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    now: SystemTime,
) -> Result<Subject, String> {
    let [own, intermediates @ ..] = chain else { return Err("no certificate".to_owned()) };
    let certificate = EndEntityCert::try_from(own).map_err(|error| format!("x509: {error}"))?;
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    certificate
        .verify_for_usage(
            tls::provider().signature_verification_algorithms.all,
            anchors,
            intermediates,
            UnixTime::since_unix_epoch(since),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(|error| format!("x509: {error}"))?;
    let anchor = webpki::anchor_from_trusted_cert(own).map_err(|error| format!("x509: {error}"))?;
    Ok(subject(&anchor.subject))
}

fn anchors(pem: &str) -> Result<Vec<TrustAnchor<'static>>, String> {
    let mut anchors = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        let anchor =
            webpki::anchor_from_trusted_cert(&certificate).map_err(|error| error.to_string())?;
        anchors.push(anchor.to_owned());
    }
    Ok(anchors)
}

/// Reads the contents of an X.501 name.
fn subject(mut name: &[u8]) -> Subject {
    const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
    const SET: u8 = 0x31;
    const SEQUENCE: u8 = 0x30;
    const IDENTIFIER: u8 = 0x06;
    let mut subject = Subject::default();
    while let Some((SET, mut set, rest)) = element(name) {
        while let Some((SEQUENCE, pair, more)) = element(set) {
            if let Some((IDENTIFIER, kind, value)) = element(pair)
                && let Some(text) = text(value)
            {
                match kind {
                    COMMON_NAME => subject.common_name = text,
                    ORGANIZATION => subject.organizations.push(text),
                    _ => {}
                }
            }
            set = more;
        }
        name = rest;
    }
    subject
}

/// A UTF-8, printable or IA5 string.
fn text(der: &[u8]) -> Option<String> {
    match element(der)? {
        (0x0c | 0x13 | 0x16, text, _) => std::str::from_utf8(text).ok().map(str::to_owned),
        _ => None,
    }
}

/// Splits one DER element off: tag, contents, rest.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, der) = der.split_first()?;
    let (&first, der) = der.split_first()?;
    let (length, der) = match first {
        0..=0x7f => (usize::from(first), der),
        0x81 => (usize::from(*der.first()?), &der[1..]),
        0x82 => (usize::from(u16::from_be_bytes([*der.first()?, *der.get(1)?])), &der[2..]),
        _ => return None,
    };
    let (contents, rest) = der.split_at_checked(length)?;
    Some((tag, contents, rest))
}
