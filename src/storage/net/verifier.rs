//! Checks the certificates of servers. It accepts what the registry accepts (Go's package `crypto/x509`): certificates
//! that a trusted CA issued, and certificates that are themselves in the CA bundle, with or without the CA flag.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::{ParsedCertificate, VerifierBuilderError};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::config::certificate::Certificate;

/// The server's certificate has the CA flag, and is not itself in the CA bundle.
#[derive(Debug, thiserror::Error)]
#[error("the server's certificate is one of a CA, and not itself among the trusted certificates")]
pub struct IsCa;

/// Verifier with these trusted certificates.
#[derive(Debug)]
pub struct Verifier {
    /// Verifies chains to the trusted certificates.
    chains: Arc<WebPkiServerVerifier>,
    /// DER of the trusted certificates.
    trusted: HashSet<Vec<u8>>,
}

impl Verifier {
    /// `roots` contains the `trusted` certificates that can be a CA.
    ///
    /// # Errors
    /// There are no roots.
    pub fn new(
        roots: RootCertStore,
        trusted: impl IntoIterator<Item = CertificateDer<'static>>,
        crypto: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        Ok(Self {
            chains: WebPkiServerVerifier::builder_with_provider(roots.into(), crypto).build()?,
            trusted: trusted.into_iter().map(|certificate| certificate.to_vec()).collect(),
        })
    }
}

/// Accepts every certificate, for clouds whose administrator turned the check off.
#[derive(Debug)]
pub struct Unverified(pub WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Checks a certificate that is itself trusted: validity, name and usage.
fn verify_trusted(der: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let certificate = Certificate::read(der).ok_or(CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < certificate.not_before {
        return Err(CertificateError::NotValidYet);
    }
    if now > certificate.not_after {
        return Err(CertificateError::Expired);
    }
    if !certificate.serves {
        return Err(CertificateError::InvalidPurpose);
    }
    let certificate = |error| match error {
        Error::InvalidCertificate(error) => error,
        _ => CertificateError::BadEncoding,
    };
    let parsed = ParsedCertificate::try_from(der).map_err(certificate)?;
    verify_server_name(&parsed, name).map_err(certificate)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.trusted.contains(end_entity.as_ref()) {
            verify_trusted(end_entity, server_name, now)?;
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self
            .chains
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::Other(_))
                if Certificate::read(end_entity).is_some_and(|certificate| certificate.is_ca) =>
            {
                CertificateError::Other(OtherError(Arc::new(IsCa))).into()
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
