//! TLS of the metrics server: OpenShift's names for versions and cipher suites, and the key pair.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, crypto, version};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};

use super::own::OwnCertificate;
use crate::runtime::config_file::ServingInfo;

/// Files of the serving certificate, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// Certificate and intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The serving certificate.
#[derive(Clone, Debug)]
pub enum ServingCertificate {
    /// In files.
    Files(KeyPair),
    /// Made by this process.
    Own(OwnCertificate),
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// An unknown TLS version.
    #[error("unknown TLS version {0:?} in servingInfo.minTLSVersion: use VersionTLS10, 11, 12 or 13")]
    Version(String),
    /// An unknown cipher suite.
    #[error(
        "unknown cipher suite {0:?} in servingInfo.cipherSuites: use IANA names, such as \
         TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    )]
    CipherSuite(String),
    /// All listed suites are obsolete.
    #[error("none of the cipher suites in servingInfo.cipherSuites can be offered: {}", .0.join(", "))]
    NothingUsable(Vec<String>),
    /// The file cannot be read, or contains no certificate or key.
    #[error("cannot read {what} {}: {error}", .path.display())]
    Pem {
        /// Serving certificate or key.
        what: &'static str,
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: pem::Error,
    },
    /// Certificate and key do not match, or cannot be used.
    #[error("cannot use serving certificate {} with key {}: {error}", .pair.certificate.display(), .pair.key.display())]
    KeyPair {
        /// Their files.
        pair: KeyPair,
        /// What is wrong.
        #[source]
        error: rustls::Error,
    },
    /// The settings do not fit together.
    #[error("cannot set up TLS: {0}")]
    Settings(#[source] rustls::Error),
}

/// Weak suites that the TLS library does not implement. OpenShift's TLS profiles may list them.
const LEGACY: &[&str] = &[
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
    "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
    "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// The suite with an IANA name (or one of the two older names), if the library may implement it.
fn suite(name: &str) -> Option<CipherSuite> {
    Some(match name {
        "TLS_AES_128_GCM_SHA256" => CipherSuite::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_256_GCM_SHA384" => CipherSuite::TLS13_AES_256_GCM_SHA384,
        "TLS_CHACHA20_POLY1305_SHA256" => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => {
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
        _ => return None,
    })
}

fn is_tls13(suite: SupportedCipherSuite) -> bool {
    matches!(suite, SupportedCipherSuite::Tls13(_))
}

const TLS12: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];

fn versions(minimum: &str) -> Result<&'static [&'static SupportedProtocolVersion], TlsError> {
    match minimum {
        "" | "VersionTLS12" => Ok(TLS12),
        "VersionTLS13" => Ok(TLS13),
        "VersionTLS10" | "VersionTLS11" => {
            tracing::warn!("servingInfo.minTLSVersion {minimum} is out of date; serving TLS 1.2 and 1.3");
            Ok(TLS12)
        }
        _ => Err(TlsError::Version(minimum.to_owned())),
    }
}

/// The suites to offer: all of TLS 1.3, which are not configurable, and the listed ones of TLS 1.2. An empty list means the
/// library's defaults. With TLS 1.3 only, the list is checked for unknown names and has no effect.
fn suites(names: &[String], only_tls13: bool) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let (mut listed, mut legacy) = (Vec::new(), Vec::new());
    for name in names {
        match suite(name) {
            Some(suite) => listed.push(suite),
            None if LEGACY.contains(&name.as_str()) => legacy.push(name.clone()),
            None => return Err(TlsError::CipherSuite(name.clone())),
        }
    }
    let mut suites = crypto::aws_lc_rs::default_provider().cipher_suites;
    if !names.is_empty() {
        suites.retain(|suite| is_tls13(*suite) || listed.contains(&suite.suite()));
    }
    if listed.is_empty() && !legacy.is_empty() && !only_tls13 {
        return Err(TlsError::NothingUsable(legacy));
    }
    if !legacy.is_empty() {
        tracing::warn!(
            "servingInfo.cipherSuites lists out-of-date suites, which are not offered: {}",
            legacy.join(", ")
        );
    }
    Ok(suites)
}

/// Validates the settings and reads the certificate.
pub(super) fn server_config(info: &ServingInfo, certificate: &ServingCertificate) -> Result<ServerConfig, TlsError> {
    let mut versions = versions(&info.min_tls_version)?;
    let mut provider = crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = suites(&info.cipher_suites, versions == TLS13)?;
    if provider.cipher_suites.iter().copied().all(is_tls13) {
        // The list contains suites of TLS 1.3 only.
        versions = TLS13;
    }
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(versions)
        .map_err(TlsError::Settings)?
        .with_no_client_auth();
    let mut config = match certificate {
        ServingCertificate::Own(own) => config.with_cert_resolver(Arc::new(own.clone())),
        ServingCertificate::Files(pair) => {
            let (certificates, key) = read(pair)?;
            config
                .with_single_cert(certificates, key)
                .map_err(|error| TlsError::KeyPair {
                    pair: pair.clone(),
                    error,
                })?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read(pair: &KeyPair) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let failed = |what, path: &PathBuf| {
        let path = path.clone();
        move |error| TlsError::Pem { what, path, error }
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&pair.certificate)
        .and_then(Iterator::collect)
        .map_err(failed("serving certificate", &pair.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(failed("serving key", &pair.key))?;
    Ok((certificates, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    // lifecycle 5, deploy 25
    #[test]
    fn an_error_names_an_unknown_version_or_suite() {
        assert!(
            versions("VersionTLS14")
                .unwrap_err()
                .to_string()
                .contains("VersionTLS14")
        );
        assert!(
            suites(&names(&["TLS_FOO"]), false)
                .unwrap_err()
                .to_string()
                .contains("TLS_FOO")
        );
        assert!(suites(&names(&["TLS_FOO"]), true).is_err());
    }

    #[test]
    fn every_suite_of_the_tls_profiles_is_known() {
        // The profiles Modern, Intermediate and Old.
        let old = names(&[
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
            "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
            "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
            "TLS_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_RSA_WITH_AES_256_GCM_SHA384",
            "TLS_RSA_WITH_AES_128_CBC_SHA256",
            "TLS_RSA_WITH_AES_128_CBC_SHA",
            "TLS_RSA_WITH_AES_256_CBC_SHA",
            "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        ]);
        assert_eq!(suites(&old, false).unwrap().len(), 9);
    }

    #[test]
    fn listed_suites_restrict_tls_12_only_and_a_list_without_usable_suites_is_an_error() {
        let one = suites(&names(&["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"]), false).unwrap();
        let tls12: Vec<_> = one
            .iter()
            .filter(|suite| !is_tls13(**suite))
            .map(SupportedCipherSuite::suite)
            .collect();
        assert_eq!(tls12, [CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256]);
        assert_eq!(one.len(), 4);
        let old = names(&["TLS_RSA_WITH_AES_128_CBC_SHA"]);
        assert!(matches!(suites(&old, false), Err(TlsError::NothingUsable(_))));
        assert_eq!(suites(&old, true).unwrap().len(), 3);
        assert_eq!(suites(&[], false).unwrap().len(), 9);
    }
}
