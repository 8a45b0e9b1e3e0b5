//! Tokens of ServiceAccounts (JWT, ES256): whose they are, and a test's own issuer of them.

use anyhow::{Context as _, Result};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Issuer of clusters' tokens, and of a test's own.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// Issues tokens as a cluster does, without a cluster.
pub struct TokenIssuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl std::fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenIssuer").finish_non_exhaustive()
    }
}

impl TokenIssuer {
    /// With a new key.
    pub fn new() -> Result<Self> {
        Ok(Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
            random: SystemRandom::new(),
        })
    }

    /// What its tokens are checked with.
    pub fn key(&self) -> Result<TokenKey> {
        Ok(TokenKey(self.key.public_key().as_der()?.as_ref().to_vec()))
    }

    /// A token for a subject such as `system:serviceaccount:openshift-image-registry:registry`, which ends in so many
    /// seconds; one that has ended, for a negative number.
    pub fn token(&self, subject: &str, audience: &str, seconds: i64) -> Result<String> {
        let ends = now().saturating_add(seconds);
        let claims = json!({ "iss": ISSUER, "sub": subject, "aud": [audience], "iat": ends - 3600, "exp": ends });
        let header = json!({ "alg": "ES256", "typ": "JWT" });
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&self.random, signed.as_bytes())?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }
}

fn encode(value: &Value) -> String {
    BASE64.encode(value.to_string())
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The public half of a key that signs tokens, ECDSA on P-256: a `SubjectPublicKeyInfo`.
#[derive(Clone, Debug)]
pub struct TokenKey(Vec<u8>);

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    Signature,
    Issuer,
    Audience,
    Expired,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl TokenKey {
    /// From PEM (`BEGIN PUBLIC KEY`).
    pub fn from_pem(pem: &str) -> Result<Self> {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).context("no public key in PEM form")?;
        Ok(Self(key.to_vec()))
    }

    /// The subject of a token for this audience.
    pub(super) fn subject(&self, token: &str, audience: &str) -> Result<String, Refusal> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        let signature = BASE64.decode(signature).map_err(|_| Refusal::Malformed)?;
        let header: Value = decode(header)?;
        if header.get("alg").and_then(Value::as_str) != Some("ES256") {
            return Err(Refusal::Signature);
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.0);
        key.verify(signed.as_bytes(), &signature)
            .map_err(|_| Refusal::Signature)?;
        let claims: Claims = decode(claims)?;
        if claims.iss != ISSUER {
            return Err(Refusal::Issuer);
        }
        let fits = match &claims.aud {
            Audience::One(one) => one == audience,
            Audience::Many(many) => many.iter().any(|one| one == audience),
        };
        if !fits {
            return Err(Refusal::Audience);
        }
        if claims.exp <= now() {
            return Err(Refusal::Expired);
        }
        Ok(claims.sub)
    }
}

fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Refusal> {
    let text = BASE64.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&text).map_err(|_| Refusal::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_of_the_issuer_for_the_audience_count() {
        let issuer = TokenIssuer::new().unwrap();
        let key = issuer.key().unwrap();
        let token = issuer.token("me", "openshift", 60).unwrap();
        assert_eq!(key.subject(&token, "openshift"), Ok("me".to_owned()));
        assert_eq!(key.subject(&token, "other"), Err(Refusal::Audience));
        let old = issuer.token("me", "openshift", -1).unwrap();
        assert_eq!(key.subject(&old, "openshift"), Err(Refusal::Expired));
        let stranger = TokenIssuer::new().unwrap().key().unwrap();
        assert_eq!(stranger.subject(&token, "openshift"), Err(Refusal::Signature));
        let forged = issuer.token("you", "openshift", 60).unwrap();
        let (_, signature) = token.rsplit_once('.').unwrap();
        let (claims, _) = forged.rsplit_once('.').unwrap();
        assert_eq!(
            key.subject(&format!("{claims}.{signature}"), "openshift"),
            Err(Refusal::Signature)
        );
        let unsigned = format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(&json!({})));
        assert_eq!(key.subject(&unsigned, "openshift"), Err(Refusal::Signature));
        assert_eq!(key.subject("token", "openshift"), Err(Refusal::Malformed));
    }
}
