//! Keys of service accounts, and what they sign: JWTs with RS256.

use anyhow::{Context as _, Result};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Bytes before the PKCS#1 key in the PKCS#8 form of an RSA key with 2048 bits: version, algorithm, and the heads of the
/// sequence and of the octet string.
const PKCS8_HEAD: usize = 26;

/// A key of a service account, as the file that Google hands out.
#[derive(Clone)]
pub struct ServiceAccountKey {
    /// `NAME@PROJECT.iam.gserviceaccount.com`.
    pub email: String,
    /// The account's project.
    pub project: String,
    /// `private_key_id`.
    pub id: String,
    der: Vec<u8>,
}

impl std::fmt::Debug for ServiceAccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceAccountKey")
            .field("email", &self.email)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl ServiceAccountKey {
    /// A new key, and what its signatures are checked with.
    pub(super) fn generate(email: &str, project: &str, id: String) -> Result<(Self, PublicKey)> {
        let pair = KeyPair::generate(KeySize::Rsa2048).ok().context("no RSA key")?;
        let der = pair.as_der().ok().context("an RSA key without DER")?;
        let public = PublicKey(pair.public_key().as_ref().to_vec());
        let key = Self {
            email: email.to_owned(),
            project: project.to_owned(),
            id,
            der: der.as_ref().to_vec(),
        };
        Ok((key, public))
    }

    /// The private key, PEM, PKCS#8: as Google hands it out.
    pub fn pkcs8(&self) -> String {
        pem("PRIVATE KEY", &self.der)
    }

    /// The private key, PEM, PKCS#1.
    pub fn pkcs1(&self) -> String {
        pem("RSA PRIVATE KEY", self.der.get(PKCS8_HEAD..).unwrap_or_default())
    }

    /// The key file (`type: service_account`) for a token endpoint, with the private key in PKCS#8.
    pub fn json(&self, token_uri: &str) -> Value {
        json!({
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": self.id,
            "private_key": self.pkcs8(),
            "client_email": self.email,
            "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_x509_cert_url": format!("https://www.googleapis.com/robot/v1/metadata/x509/{}", self.email),
            "universe_domain": "googleapis.com",
        })
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<String> = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The public half, `RSAPublicKey` of PKCS#1.
#[derive(Clone, Debug)]
pub(super) struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Whether the signature is of this key, over SHA-256.
    pub fn fits(&self, signed: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.0);
        key.verify(signed, signature).is_ok()
    }
}

/// A JWT whose signature nobody has checked.
pub(super) struct Jwt {
    pub header: Value,
    pub claims: Value,
    signed: String,
    signature: Vec<u8>,
}

impl Jwt {
    /// Nothing, if it is no JWT.
    pub fn parse(token: &str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some(Self {
            header: decode(header)?,
            claims: decode(claims)?,
            signed: signed.to_owned(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Whether it is signed with RS256 by that key.
    pub fn is_by(&self, key: &PublicKey) -> bool {
        self.header["alg"] == "RS256" && key.fits(self.signed.as_bytes(), &self.signature)
    }

    /// A claim that is text; empty if there is none.
    pub fn text(&self, claim: &str) -> &str {
        self.claims[claim].as_str().unwrap_or_default()
    }

    /// A claim that is a number of seconds.
    pub fn seconds(&self, claim: &str) -> Option<i64> {
        self.claims[claim].as_i64()
    }
}
