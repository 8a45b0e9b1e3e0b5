//! A test's own certificate authority, and TLS on either side of a connection.

use crate::files;
use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names that every server's certificate is good for, beside those that a test adds: its addresses, and hosts under which
/// tests speak to S3, also with the bucket in the host.
pub const NAMES: &[&str] = &[
    "localhost",
    "127.0.0.1",
    "*.localhost",
    "s3.localhost",
    "*.s3.localhost",
    "s3.test.example",
    "*.s3.test.example",
];

/// A certificate authority that nobody trusts but who is told to.
#[derive(Clone)]
pub struct Authority {
    issuer: Arc<Issuer<'static, KeyPair>>,
    certificate: String,
    /// Servers show the authority's own certificate instead of one that it issues.
    shows_itself: bool,
    /// The name that clients ask its servers for, instead of the address.
    server: Option<String>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A server's certificate with its key, both PEM.
pub(crate) struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// A new one; `name` is its common name.
    pub fn new(name: &str) -> Result<Self> {
        Self::with(name, CertificateParams::default(), false)
    }

    /// One whose servers all show its own certificate: self-signed, with the CA flag, for [`NAMES`]. Many small stores
    /// are set up like this.
    pub fn self_signed_server(name: &str) -> Result<Self> {
        let names = NAMES.iter().map(ToString::to_string).collect::<Vec<_>>();
        Self::with(name, CertificateParams::new(names)?, true)
    }

    fn with(name: &str, mut parameters: CertificateParams, shows_itself: bool) -> Result<Self> {
        let key = KeyPair::generate()?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = parameters.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Arc::new(Issuer::new(parameters, key)),
            certificate,
            shows_itself,
            server: None,
        })
    }

    /// An authority elsewhere: clients trust its certificate (PEM), and ask a server that has one of its certificates for this name.
    pub fn elsewhere(certificate: &str, server: &str) -> Result<Self> {
        Ok(Self {
            certificate: certificate.to_owned(),
            server: Some(server.to_owned()),
            ..Self::new(server)?
        })
    }

    /// The name that clients ask its servers for; `None`: their address.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Its certificate, PEM: what a client must trust.
    pub fn pem(&self) -> &str {
        &self.certificate
    }

    /// A certificate for [`NAMES`] and `names` (host names or addresses; `*.` stands for one label).
    pub(crate) fn issue(&self, names: &[String]) -> Result<Identity> {
        if self.shows_itself {
            return Ok(Identity {
                certificate: self.certificate.clone(),
                key: self.issuer.key().serialize_pem(),
            });
        }
        let key = KeyPair::generate()?;
        let all: Vec<String> = NAMES
            .iter()
            .map(ToString::to_string)
            .chain(names.iter().cloned())
            .collect();
        let mut parameters = CertificateParams::new(all).context("names of a certificate")?;
        parameters
            .distinguished_name
            .push(DnType::CommonName, "devcluster store");
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = parameters.signed_by(&key, &*self.issuer)?.pem();
        Ok(Identity {
            certificate,
            key: key.serialize_pem(),
        })
    }

    /// What a server in this process shows.
    pub(crate) fn server(&self, names: &[String]) -> Result<Arc<ServerConfig>> {
        let identity = self.issue(names)?;
        let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A client that trusts this authority and nobody else.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes())?)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl Identity {
    /// Writes both to files of `directory`; the paths of certificate and key.
    pub fn write(&self, directory: &Path) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (directory.join("tls.crt"), directory.join("tls.key"));
        files::write(&certificate, &self.certificate)?;
        files::write(&key, &self.key).context("private key")?;
        files::set_mode(&key, 0o600)?;
        Ok((certificate, key))
    }
}
