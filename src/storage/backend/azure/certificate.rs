//! The identity of a managed control plane: a file with a client certificate, which another process renews.
//!
//! Source: the JSON of `UserAssignedIdentityCredentials` of Azure's managed identity data plane.

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::json;

use super::cloud;
use super::pkcs12;
use crate::api::Sensitive;
use crate::storage::model::error::StorageError;
use crate::storage::net::jwt;

/// The variable that names the file.
const VARIABLE: &str = "MANAGED_AZURE_HCP_CREDENTIALS_FILE_PATH";
/// The file is looked at again after this time. Secrets are mounted through symbolic links, which another file replaces.
const INTERVAL: Duration = Duration::from_mins(1);
/// Lifetime of an assertion, in seconds.
const LIFETIME: u64 = 600;

/// The identity in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// ID of the client.
    pub client: String,
    /// ID of the tenant.
    pub tenant: String,
    /// Authority host, with a trailing slash. It replaces that of the cloud.
    pub authority: String,
    /// Key and chain, as the file holds them (base64).
    pub secret: Sensitive,
    not_before: Option<Timestamp>,
}

/// The members of the file that matter here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    client_id: String,
    tenant_id: String,
    client_secret: String,
    authentication_endpoint: String,
    not_before: String,
}

/// RSA key and chain of certificates, in DER; the first is that of the key.
pub struct KeyAndChain {
    /// The private key.
    pub key: RsaKeyPair,
    /// The certificates.
    pub chain: Vec<Vec<u8>>,
}

impl Certificate {
    fn parse(text: &str, path: &str) -> Result<Self, StorageError> {
        let unusable = |why: &str| StorageError::no_access(format!("{path}, which {VARIABLE} names, {why}"));
        let document: Document = serde_json::from_str(text).map_err(|error| {
            // The parser's text may repeat a value.
            unusable(&format!(
                "is not JSON (line {}, column {})",
                error.line(),
                error.column()
            ))
        })?;
        let members = [
            ("client_id", &document.client_id),
            ("tenant_id", &document.tenant_id),
            ("client_secret", &document.client_secret),
            ("authentication_endpoint", &document.authentication_endpoint),
        ];
        if let Some(missing) = cloud::missing(&members) {
            return Err(unusable(&format!("lacks {missing}")));
        }
        let authority = document.authentication_endpoint.trim_end_matches('/');
        Ok(Self {
            client: document.client_id,
            tenant: document.tenant_id,
            authority: format!("{authority}/"),
            secret: Sensitive::new(document.client_secret),
            not_before: document.not_before.parse().ok(),
        })
    }

    /// The assertion with which the client asks for a token. `url`: that of the token service; `now`: seconds since 1970.
    ///
    /// # Errors
    /// Why the certificate cannot be used. The text contains nothing of the key.
    pub fn assertion(&self, url: &str, now: u64) -> Result<String, String> {
        let text = self.secret.expose().trim();
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| "client_secret is not base64".to_owned())?;
        let KeyAndChain { key, chain } = parsed(&bytes)?;
        let leaf = chain.first().ok_or("client_secret holds no certificate")?;
        let thumbprint = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, leaf));
        let header = json!({
            "alg": "RS256", "typ": "JWT",
            "x5t": thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            "x5t#S256": thumbprint(&digest::SHA256),
            "x5c": chain.iter().map(|der| STANDARD.encode(der)).collect::<Vec<_>>(),
        });
        let claims = json!({
            "iss": self.client, "sub": self.client, "aud": url, "jti": identifier(),
            "nbf": now, "iat": now, "exp": now + LIFETIME,
        });
        jwt::signed(&header, &claims, &key).ok_or_else(|| "the key in client_secret cannot sign".to_owned())
    }
}

/// A random identifier (a UUID without its version).
fn identifier() -> String {
    let mut bytes = [0; 16];
    // Without randomness, the time of the assertion still differs.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// Key and chain of a PEM text, or of a PKCS#12 archive without a password.
fn parsed(bytes: &[u8]) -> Result<KeyAndChain, String> {
    let text = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.contains("-----BEGIN"));
    let (key, chain) = match text {
        Some(text) => {
            let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
                .map_err(|_| "client_secret holds no private key in PEM".to_owned())?;
            let chain = CertificateDer::pem_slice_iter(text.as_bytes()).filter_map(Result::ok);
            (key.secret_der().to_vec(), chain.map(|der| der.to_vec()).collect())
        }
        None => {
            pkcs12::parse(bytes).map_err(|why| format!("client_secret is neither PEM nor a usable PKCS#12: {why}"))?
        }
    };
    let key = RsaKeyPair::from_pkcs8(&key)
        .or_else(|_| RsaKeyPair::from_der(&key))
        .map_err(|_| "the key in client_secret is not an RSA key of 2048 bits or more".to_owned())?;
    Ok(KeyAndChain { key, chain })
}

/// The file that was read last.
#[derive(Default)]
struct Seen {
    path: String,
    resolved: PathBuf,
    modified: Option<SystemTime>,
    looked: Option<SystemTime>,
    current: Option<Arc<Certificate>>,
}

/// The current identity of the process, from the file.
#[derive(Default)]
pub struct Certificates {
    seen: Mutex<Seen>,
}

impl Certificates {
    /// The identity in this file. The file is read again at most once a minute, and only if it was replaced. A certificate
    /// that is not valid from a later time than the current one is ignored.
    ///
    /// # Errors
    /// The path or the file cannot be used.
    pub fn of(&self, path: &str, now: SystemTime) -> Result<Arc<Certificate>, StorageError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.path != path {
            *seen = Seen {
                path: path.to_owned(),
                ..Seen::default()
            };
        }
        let fresh = seen.looked.and_then(|looked| now.duration_since(looked).ok());
        if let Some(current) = seen
            .current
            .as_ref()
            .filter(|_| fresh.is_some_and(|age| age < INTERVAL))
        {
            return Ok(current.clone());
        }
        let found = look(path, &seen);
        seen.looked = Some(now);
        match (found, seen.current.clone()) {
            (Ok(Some((resolved, modified, certificate))), current) => {
                (seen.resolved, seen.modified) = (resolved, modified);
                let newer = current
                    .as_ref()
                    .is_none_or(|current| certificate.not_before > current.not_before);
                if newer {
                    seen.current = Some(Arc::new(certificate));
                }
                seen.current.clone().ok_or_else(|| unusable(path, "cannot be read"))
            }
            // Nothing new, or a file that is being replaced. The current certificate is still valid.
            (Ok(None) | Err(_), Some(current)) => Ok(current),
            (Err(error), None) => Err(error),
            (Ok(None), None) => Err(unusable(path, "cannot be read")),
        }
    }

    /// ID of the current client, without reading the file.
    pub fn client(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.current.as_ref().map(|current| current.client.clone())
    }
}

fn unusable(path: &str, why: &str) -> StorageError {
    StorageError::no_access(format!(
        "{VARIABLE} is {path:?}, which {why}: name the mounted file with the credentials of the managed identity"
    ))
}

type Found = (PathBuf, Option<SystemTime>, Certificate);

/// The file, if it was replaced since it was read; `None` if not.
fn look(path: &str, seen: &Seen) -> Result<Option<Found>, StorageError> {
    let file = Path::new(path);
    if !file.is_absolute() {
        return Err(unusable(path, "is not absolute"));
    }
    if file.components().any(|part| part == Component::ParentDir) {
        return Err(unusable(path, "contains .."));
    }
    let failed = |error: std::io::Error| unusable(path, &format!("cannot be read ({error})"));
    let resolved = std::fs::canonicalize(file).map_err(failed)?;
    let metadata = std::fs::metadata(&resolved).map_err(failed)?;
    if metadata.is_dir() {
        return Err(unusable(path, "is a directory"));
    }
    let modified = metadata.modified().ok();
    if seen.current.is_some() && seen.resolved == resolved && seen.modified == modified {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&resolved).map_err(failed)?;
    Ok(Some((resolved, modified, Certificate::parse(&text, path)?)))
}

#[cfg(test)]
mod tests;
