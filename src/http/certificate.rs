//! The server's key and certificate: made at start, or read from PEM files.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::date::civil_date;

/// Validity of a certificate that is made at start (spec node-api §1.2).
const VALIDITY_YEARS: i32 = 10;

/// A certificate chain and its private key.
#[derive(Debug)]
pub struct Identity {
    /// The server's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first certificate.
    pub key: PrivateKeyDer<'static>,
}

/// Why there is no identity.
#[derive(Debug)]
pub enum Error {
    /// A name cannot stand in a certificate, or the key could not be made.
    Generate(rcgen::Error),
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A file holds no usable PEM block of the expected kind.
    Pem(PathBuf, rustls::pki_types::pem::Error),
    /// A file holds no certificate.
    NoCertificate(PathBuf),
}

impl Identity {
    /// Makes a self-signed ECDSA P-256 certificate for `names` (DNS names and IP addresses), valid for ten years from
    /// the day before `now`, so that a clock that is a little behind accepts it. P-256 because a restart makes every
    /// node Agent reconnect, and RSA handshakes cost three times as much (spec node-api §0 rule 10).
    ///
    /// # Errors
    /// When a name is not ASCII or no randomness is there.
    pub fn self_signed(names: &[String], now: SystemTime) -> Result<Self, Error> {
        let mut parameters = CertificateParams::new(names).map_err(Error::Generate)?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, "datadog-cluster-agent");
        parameters.distinguished_name = subject;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let (year, month, day) = civil_date(now - std::time::Duration::from_secs(86_400));
        // 29 February exists in ten years only by chance.
        let day = if month == 2 { day.min(28) } else { day };
        parameters.not_before = date_time_ymd(year, month, day);
        parameters.not_after = date_time_ymd(year + VALIDITY_YEARS, month, day);
        let key = KeyPair::generate().map_err(Error::Generate)?;
        let certificate = parameters.self_signed(&key).map_err(Error::Generate)?;
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .expect("a generated key is in PKCS#8, which is recognised");
        Ok(Self { chain: vec![certificate.der().clone()], key })
    }

    /// Reads a certificate chain and a key (PKCS#8, SEC1 or PKCS#1) from PEM files, which may be the same file.
    ///
    /// # Errors
    /// Names the file that cannot be read or holds nothing usable.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::Pem(certificate.to_owned(), error))?;
        if chain.is_empty() {
            return Err(Error::NoCertificate(certificate.to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|error| Error::Pem(key.to_owned(), error))?;
        Ok(Self { chain, key })
    }
}

impl Identity {
    /// Chain and key as PEM text, in the order that [`Identity::from_files`] reads.
    pub fn to_pem(&self) -> String {
        let certificates =
            self.chain.iter().map(|certificate| pem("CERTIFICATE", certificate.as_ref()));
        certificates.chain([pem("PRIVATE KEY", self.key.secret_der())]).collect()
    }
}

/// One PEM block: base64 in lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for start in (0..encoded.len()).step_by(64) {
        text.push_str(&encoded[start..encoded.len().min(start + 64)]);
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::Read(path.to_owned(), error))
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Generate(error) => {
                write!(formatter, "the server certificate could not be made: {error}")
            }
            Error::Read(path, error) => {
                write!(formatter, "{} could not be read: {error}", path.display())
            }
            Error::Pem(path, error) => {
                write!(formatter, "{} is not valid PEM: {error}", path.display())
            }
            Error::NoCertificate(path) => {
                write!(formatter, "{} holds no certificate", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Generate(error) => Some(error),
            Error::Read(_, error) => Some(error),
            Error::Pem(_, error) => Some(error),
            Error::NoCertificate(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::http::tls;

    fn names() -> Vec<String> {
        ["localhost", "127.0.0.1", "dca.monitoring.svc"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_self_signed_identity_serves_its_names_for_ten_years() {
        // The first of March 2024; the day before is a leap day.
        let now = UNIX_EPOCH + Duration::from_secs(1_709_251_200);
        let identity = Identity::self_signed(&names(), now).expect("the identity is made");
        tls::server_config(&identity, tls::HTTP1_ONLY, None).expect("key and certificate fit");
        let certificate = webpki::EndEntityCert::try_from(&identity.chain[0])
            .expect("the certificate can be parsed");
        for name in names() {
            let name = name.as_str().try_into().expect("the name is valid");
            certificate.verify_is_valid_for_subject_name(&name).expect("the name is covered");
        }
        let der = identity.chain[0].as_ref();
        for time in ["240228000000Z", "340228000000Z"] {
            let time = time.as_bytes();
            assert!(der.windows(time.len()).any(|window| window == time), "{time:?} is not there");
        }
    }

    #[test]
    fn an_identity_comes_back_from_pem_files() {
        let directory = std::env::temp_dir().join(format!("identity-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("the directory is made");
        let key = KeyPair::generate().expect("a key is made");
        let made = CertificateParams::new(names()).expect("the names are valid");
        let certificate = made.self_signed(&key).expect("the certificate is signed");
        let both = directory.join("both.pem");
        fs::write(&both, certificate.pem() + &key.serialize_pem()).expect("the file is written");

        let identity = Identity::from_files(&both, &both).expect("the file holds both");
        assert_eq!(&identity.chain[0], certificate.der());
        tls::server_config(&identity, tls::HTTP1_ONLY, None).expect("key and certificate fit");

        let made =
            Identity::self_signed(&names(), SystemTime::now()).expect("the identity is made");
        fs::write(&both, made.to_pem()).expect("the file is written");
        let read = Identity::from_files(&both, &both).expect("what was written can be read");
        assert_eq!((&read.chain, read.key.secret_der()), (&made.chain, made.key.secret_der()));

        fs::write(&both, "nothing").expect("the file is written");
        let missing = Identity::from_files(&both, &both).expect_err("there is no certificate");
        assert!(missing.to_string().ends_with("both.pem holds no certificate"), "{missing}");
        fs::remove_dir_all(&directory).expect("the directory is removed");
    }
}
