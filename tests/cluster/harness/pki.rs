//! Keys and certificates of one cluster, all ECDSA P-256, written as the PEM files that the programs want.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

/// Names under which the API server is reached, beside its addresses.
const SERVER_NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// A certificate authority and the directory that its certificates go to.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    /// Makes the authority and writes `{name}.crt`.
    pub fn create(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("the parameters are fixed");
        write(&directory.join(format!("{name}.crt")), &issuer.pem());
        Self { issuer, directory: directory.to_owned() }
    }

    /// Writes `{name}.crt` and `{name}.key` of a client; `organization` is its group.
    pub fn client(&self, name: &str, common_name: &str, organization: Option<&str>) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        if let Some(organization) = organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, params);
    }

    /// Writes `{name}.crt` and `{name}.key` of the API server, for its names and `addresses`.
    pub fn server(&self, name: &str, addresses: &[Ipv4Addr]) {
        let mut params =
            CertificateParams::new(SERVER_NAMES.map(str::to_owned)).expect("the names are ASCII");
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let addresses = addresses.iter().map(|&address| SanType::IpAddress(IpAddr::V4(address)));
        params.subject_alt_names.extend(addresses);
        self.sign(name, params);
    }

    fn sign(&self, name: &str, mut params: CertificateParams) {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are fixed");
        write(&self.directory.join(format!("{name}.crt")), &certificate.pem());
        write(&self.directory.join(format!("{name}.key")), &key.serialize_pem());
    }
}

/// Writes the key pair that service-account tokens are signed with: `{name}.key` and `{name}.pub`.
pub fn signing_key(directory: &Path, name: &str) {
    let key = key();
    write(&directory.join(format!("{name}.key")), &key.serialize_pem());
    write(&directory.join(format!("{name}.pub")), &key.public_key_pem());
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has random numbers")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
