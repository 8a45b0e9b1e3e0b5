//! Checks a certificate with its private key, as the TLS library sees them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde_json::Value;

use crate::config::certificate::Certificate;
use crate::config::content;
use crate::sensitive::Sensitive;

/// Key of the certificate in a Secret of type `kubernetes.io/tls`.
pub(super) const CERTIFICATE: &str = "tls.crt";
/// Key of the private key.
pub(super) const KEY: &str = "tls.key";
/// Columns of PEM. Source: RFC 7468, section 2.
const COLUMNS: usize = 64;

/// A certificate and the private key that belongs to it.
pub(super) struct Sound {
    /// PEM.
    pub(super) certificate: String,
    /// PEM.
    pub(super) key: Sensitive,
    pub(super) pair: Pair,
}

/// A certificate with those after it.
pub(super) struct Pair {
    /// The certificate and those after it.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Begin and end of its validity.
    pub(super) valid: (Timestamp, Timestamp),
}

/// Reads certificate and private key of a Secret; `None` if one is missing, malformed, or they do not belong together.
pub(super) fn sound(secret: &Value) -> Option<Sound> {
    let text = |key| content::secret_text(secret, key)?.ok();
    let (certificate, key) = (text(CERTIFICATE)?, text(KEY)?);
    let chain = parse(&certificate);
    let private = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()?;
    CertifiedKey::from_der(chain.clone(), private, &provider()).ok()?;
    Some(Sound {
        certificate,
        key: Sensitive::new(key),
        pair: Pair::of(chain)?,
    })
}

impl Pair {
    /// Reads when the first certificate is valid.
    pub(super) fn of(chain: Vec<CertificateDer<'static>>) -> Option<Self> {
        let read = Certificate::read(chain.first()?)?;
        let time = |second| Timestamp::from_second(second).ok();
        let valid = (time(read.not_before)?, time(read.not_after)?);
        Some(Self { chain, valid })
    }

    /// Whether one of these CAs signed the certificate. The time of the day does not matter.
    pub(super) fn is_signed_by(&self, authorities: &[CertificateDer<'static>]) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let (Some(certificate), false) = (self.parsed(), roots.is_empty()) else {
            return false;
        };
        // A CA is valid for all of the time for which its certificates are.
        let middle = i64::midpoint(self.valid.0.as_second(), self.valid.1.as_second());
        let Ok(middle) = u64::try_from(middle) else {
            return false;
        };
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(middle));
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], at, algorithms).is_ok()
    }

    /// Whether a client accepts the certificate for this host name or address.
    pub(super) fn has_name(&self, name: &str) -> bool {
        let (Some(certificate), Ok(name)) = (self.parsed(), ServerName::try_from(name)) else {
            return false;
        };
        verify_server_name(&certificate, &name).is_ok()
    }

    fn parsed(&self) -> Option<ParsedCertificate<'_>> {
        ParsedCertificate::try_from(self.chain.first()?).ok()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The certificates of PEM text; those before the first malformed one.
pub(in crate::plan) fn parse(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .map_while(Result::ok)
        .collect()
}

/// A certificate as PEM.
pub(super) fn encode(der: &[u8]) -> String {
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    // Base64 is ASCII: each byte is a character.
    for (column, character) in STANDARD.encode(der).chars().enumerate() {
        if column > 0 && column % COLUMNS == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}
