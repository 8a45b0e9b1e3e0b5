//! PURE: signed JSON web tokens (RFC 7519, RFC 7515) with RSASSA-PKCS1-v1_5 and SHA-256.

use aws_lc_rs::signature::RsaKeyPair;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::credentials::ServiceAccount;
use crate::storage::net::jwt;

/// Lifetime of a token, in seconds.
pub const LIFETIME: u64 = 3600;

/// The assertion with which a service account asks its token service for a token. `now`: seconds since 1970.
///
/// # Errors
/// Why the key cannot sign. The text contains nothing of the key.
pub fn assertion(account: &ServiceAccount, scope: &str, now: u64) -> Result<String, String> {
    let claims = json!({
        "iss": account.email, "scope": scope, "aud": account.token_uri, "iat": now, "exp": now + LIFETIME,
    });
    sign(account, &claims)
}

/// A token that the APIs accept without a token service, which other universes than the public one require.
///
/// # Errors
/// Why the key cannot sign. The text contains nothing of the key.
pub fn self_signed(account: &ServiceAccount, scope: &str, now: u64) -> Result<String, String> {
    let claims = json!({
        "iss": account.email, "sub": account.email, "scope": scope, "iat": now, "exp": now + LIFETIME,
    });
    sign(account, &claims)
}

fn sign(account: &ServiceAccount, claims: &Value) -> Result<String, String> {
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if !account.key_id.is_empty() {
        header["kid"] = json!(account.key_id);
    }
    let key = key(account.key.expose())?;
    jwt::signed(&header, claims, &key).ok_or_else(|| "the private_key cannot sign".to_owned())
}

/// The RSA key in this PEM text, in PKCS#8 or PKCS#1.
fn key(pem: &str) -> Result<RsaKeyPair, String> {
    let unusable = || "the private_key is not an RSA key in PEM, of 2048 bits or more".to_owned();
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| unusable())?;
    let key = match &der {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(unusable()),
    };
    key.map_err(|_| unusable())
}

#[cfg(test)]
mod tests;
