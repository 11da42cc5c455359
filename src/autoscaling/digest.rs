//! SHA-256 through the cryptography that TLS brings along; short hexadecimal forms of it name things.

use std::fmt::Write as _;

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// The digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("the suite is one of TLS 1.3");
    let digest = suite.common.hash_provider.hash(bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The first `digits` hexadecimal digits of the digest of `text`.
pub fn hexadecimal(text: &str, digits: usize) -> String {
    let mut hexadecimal = String::with_capacity(64);
    for byte in sha256(text.as_bytes()) {
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    hexadecimal.truncate(digits);
    hexadecimal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_specification() {
        // spec external-metrics §12.2 gives two digests of query texts.
        let text = "avg:queue.depth{*}.rollup(30)";
        assert_eq!(hexadecimal(text, 38), "9ecc7927c38ad621cbb701cbd34525a303aae2");
        let text = "avg:nginx.net.request_per_s{kube_container_name:nginx}.rollup(30)";
        assert_eq!(hexadecimal(text, 38), "9a6e15492f67c189c2541d0a2864a7a7e1779e");
    }
}
