//! PEM texts as the TLS library wants them.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use kube::api::DynamicObject;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::cache::text;

/// The cryptography that the stand-ins use, whatever the process's default is.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A chain and its key, checked to belong together.
pub(super) fn key_pair(chain: &str, key: &str) -> Result<Arc<CertifiedKey>> {
    let chain = certificates(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("no private key in PEM form")?;
    Ok(Arc::new(
        CertifiedKey::from_der(chain, key, &provider()).context("certificate and key do not fit")?,
    ))
}

/// A Route's own certificate, None when it brings none.
pub(super) fn certified_key(route: &DynamicObject) -> Result<Option<Arc<CertifiedKey>>> {
    let (certificate, key) = (text(route, "/spec/tls/certificate"), text(route, "/spec/tls/key"));
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            let authority = text(route, "/spec/tls/caCertificate").unwrap_or_default();
            key_pair(&format!("{certificate}\n{authority}"), key).map(Some)
        }
        _ => bail!("certificate and key come together"),
    }
}

/// A client that trusts the authorities in this PEM text and nobody else.
pub(super) fn client_trusting(authorities: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities)? {
        roots.add(certificate)?;
    }
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found.context("no certificate in PEM form")?;
    if found.is_empty() {
        bail!("no certificate in PEM form");
    }
    Ok(found)
}
