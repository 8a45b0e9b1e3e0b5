//! Identities of Entra ID: access tokens, cached and renewed ahead.
//!
//! Sources: Microsoft identity platform, "OAuth 2.0 client credentials flow" and "certificate credentials"; Azure Stack Hub, AD
//! FS (version 1 of the token endpoint).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use serde::Deserialize as _;
use serde_json::Value;

use super::attempts::Attempts;
use super::certificate::Certificate;
use super::error::{self, Failure, Service};
use crate::api::Sensitive;
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::net::clock::Clock;
use crate::storage::net::error::Unredacted;
use crate::storage::net::issued::IssuedSecrets;
use crate::storage::net::lifetime::ExpiresIn;
use crate::storage::net::percent::form;
use crate::storage::net::recent::Recent;
use crate::storage::net::token::TokenCache;
use crate::storage::net::transport::{Request, Response, Transport};

/// Scope of tokens for blobs, in every cloud.
pub const BLOB_SCOPE: &str = "https://storage.azure.com/.default";

/// Largest number of cached identities: for Resource Manager and blobs, as operator and as registry, before and after a change.
const CACHED: usize = 12;
/// Number of tokens to redact: those in use, and those before.
const SECRETS: usize = 6;
const FORM: &str = "application/x-www-form-urlencoded";
const ACTION: &str = "token request";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How the client proves its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A client secret.
    Secret(Sensitive),
    /// The token in this file, below this directory (empty outside tests). It is read for each request, because the kubelet
    /// rotates the token.
    File {
        /// Path of the file.
        path: String,
        /// Directory.
        root: PathBuf,
    },
    /// This token of the registry's ServiceAccount.
    Given(Sensitive),
    /// A certificate.
    Certificate(Arc<Certificate>),
}

/// For what a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A scope (version 2 of the token endpoint).
    Scope(String),
    /// A resource (version 1 of the token endpoint, Azure Stack Hub).
    Resource(String),
}

/// Parameters of an identity. Equal parameters mean the same identity.
#[derive(Clone)]
pub struct IdentityKey {
    /// ID of the client.
    pub client: String,
    /// ID of the tenant.
    pub tenant: String,
    /// Authority host, with a trailing slash.
    pub authority: String,
    /// How the client proves its identity.
    pub proof: Proof,
    /// For what the tokens are.
    pub audience: Audience,
    /// Connection to the token service.
    pub transport: Transport,
    /// Digest of CA certificates and proxies, so that cached tokens do not hide an unusable connection.
    pub path: Fingerprint,
}

impl IdentityKey {
    fn digest(&self) -> Fingerprint {
        let proof = match &self.proof {
            Proof::Secret(secret) => ["secret", secret.expose()],
            Proof::File { path, .. } => ["file", path.as_str()],
            Proof::Given(token) => ["given", token.expose()],
            Proof::Certificate(certificate) => ["certificate", certificate.secret.expose()],
        };
        let audience = match &self.audience {
            Audience::Scope(scope) => ["scope", scope.as_str()],
            Audience::Resource(resource) => ["resource", resource.as_str()],
        };
        let own = [self.client.as_str(), &self.tenant, &self.authority];
        Fingerprint::of(own.into_iter().chain(proof).chain(audience))
    }

    fn url(&self) -> String {
        let version = match self.audience {
            Audience::Scope(_) => "v2.0/token",
            Audience::Resource(_) => "token?api-version=1.0",
        };
        format!("{}{}/oauth2/{version}", self.authority, self.tenant)
    }
}

/// Fingerprints of the credentials, and of the network by which the login goes.
type Fingerprints = (Fingerprint, Fingerprint);

/// Cached identities, so that not every request needs a token first.
#[derive(Default)]
pub struct Identities {
    cached: Recent<Fingerprints, Identity, CACHED>,
}

impl Identities {
    /// The cached identity, or a new one. Makes no call.
    pub fn of(&self, key: IdentityKey, clock: &Clock) -> Arc<Identity> {
        let digest = (key.digest(), key.path.clone());
        self.cached.of(digest, || Identity {
            key,
            clock: clock.clone(),
            token: TokenCache::default(),
            issued: IssuedSecrets::default(),
        })
    }
}

/// An identity with its current token.
pub struct Identity {
    key: IdentityKey,
    clock: Clock,
    token: TokenCache<Sensitive>,
    /// Secrets of the last requests for tokens, to redact in messages.
    issued: IssuedSecrets<SECRETS>,
}

type Issued = (Sensitive, Option<SystemTime>);

impl Identity {
    /// A valid access token, from the cache or from Entra ID.
    ///
    /// # Errors
    /// The last request for a token failed. The error contains no secret.
    pub async fn token(&self) -> Called<Sensitive> {
        let fetch = async || {
            let issued = self.ask().await;
            let (token, expiry) = issued.map_err(|error| Unredacted::new(error).cleaned(&self.secrets()))?;
            self.issued.remember(&token);
            Ok((token, expiry))
        };
        self.token.get(&self.clock, fetch).await
    }

    /// Drops the token that a service refused. A newer one stays.
    pub async fn renew(&self, refused: &Sensitive) {
        self.token.invalidate_if(|token| token == refused).await;
    }

    /// Secrets that must not appear in messages: secrets, tokens, assertions, passwords of proxies.
    pub fn secrets(&self) -> Vec<Sensitive> {
        let mut secrets = self.key.transport.secrets();
        match &self.key.proof {
            Proof::Secret(secret) | Proof::Given(secret) => secrets.push(secret.clone()),
            Proof::Certificate(certificate) => secrets.push(certificate.secret.clone()),
            Proof::File { .. } => {}
        }
        secrets.extend(self.issued.all());
        secrets
    }

    fn resource(&self) -> String {
        format!("client {} in tenant {}", self.key.client, self.key.tenant)
    }

    async fn ask(&self) -> Called<Issued> {
        let url = self.key.url();
        let resource = self.resource();
        let legal = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        if !legal(&self.key.tenant) {
            return Err(self.unusable("the ID of the tenant has characters that no ID may have"));
        }
        let mut fields = vec![
            ("client_id", self.key.client.clone()),
            ("grant_type", "client_credentials".to_owned()),
        ];
        match &self.key.audience {
            Audience::Scope(scope) => fields.push(("scope", scope.clone())),
            Audience::Resource(resource) => fields.push(("resource", resource.clone())),
        }
        match &self.key.proof {
            Proof::Secret(secret) => fields.push(("client_secret", secret.expose().to_owned())),
            proof => {
                let assertion = self.assertion(proof, &url).await?;
                self.issued.remember(&Sensitive::new(assertion.as_str()));
                fields.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
                fields.push(("client_assertion", assertion));
            }
        }
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = Request::new(Method::POST, url).content(FORM, form(&fields));
        let mut attempts = Attempts::new(&self.clock, None);
        loop {
            attempts.begin(ACTION, &resource)?;
            let failure: Failure = match self.key.transport.exchange(&request).await {
                Ok(response) if response.status / 100 == 2 => return self.issued(&response),
                Ok(response) => error::of_response(Service::Identity, ACTION, &resource, &response),
                Err(none) => error::of_nothing(Service::Identity, ACTION, &resource, none).into(),
            };
            if !attempts.wait(&failure).await {
                return Err(failure.into());
            }
        }
    }

    /// The text that proves the identity of the client.
    async fn assertion(&self, proof: &Proof, url: &str) -> Called<String> {
        match proof {
            Proof::Secret(secret) | Proof::Given(secret) => Ok(secret.expose().to_owned()),
            Proof::Certificate(certificate) => {
                let now = (self.clock.now)()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs();
                certificate.assertion(url, now).map_err(|why| self.unusable(&why))
            }
            Proof::File { path, root } => {
                let file = Path::new(path);
                let place = match file.strip_prefix("/") {
                    Ok(inside) if !root.as_os_str().is_empty() => root.join(inside),
                    _ => file.to_owned(),
                };
                let unreadable = |why: String| {
                    self.unusable(&format!(
                        "the token {path}, which azure_federated_token_file names, cannot be read: {why}; it is mounted from \
                         the projected volume bound-sa-token"
                    ))
                };
                let token = tokio::fs::read_to_string(place).await;
                let token = token.map_err(|error| unreadable(error.to_string()))?.trim().to_owned();
                if token.is_empty() {
                    return Err(unreadable("it is empty".to_owned()));
                }
                Ok(token)
            }
        }
    }

    /// Error for credentials with which no token can be requested.
    fn unusable(&self, why: &str) -> CallError {
        CallError {
            action: ACTION,
            cause: Cause::Identity,
            class: CallClass::Denied,
            of_identity: true,
            code: "CredentialsUnusable".to_owned(),
            ..CallError::invalid(&self.resource(), why)
        }
    }

    /// The token in the response of the token service.
    fn issued(&self, response: &Response) -> Called<Issued> {
        let garbled = |why: &str| error::garbled(Service::Identity, ACTION, &self.resource(), why);
        let document: Value = serde_json::from_slice(&response.body).map_err(|_| garbled("no JSON"))?;
        let token = document.get("access_token").and_then(Value::as_str).unwrap_or_default();
        match (token, document.get("expires_in").and_then(lifetime)) {
            ("", _) => Err(garbled("no access_token")),
            (_, None) => Err(garbled("no usable expires_in")),
            (token, Some(lifetime)) => Ok((Sensitive::new(token), (self.clock.now)().checked_add(lifetime))),
        }
    }
}

/// Lifetime of a token, from `expires_in`, which is a text in version 1 of the endpoint. At least a second.
fn lifetime(member: &Value) -> Option<Duration> {
    let lifetime = ExpiresIn::deserialize(member).ok()?.lifetime();
    lifetime.filter(|lifetime| *lifetime >= Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lifetime_is_a_number_or_a_text_and_has_an_end() {
        for (member, seconds) in [
            (json!(3599), Some(3599)),
            (json!("3599"), Some(3599)),
            (json!(3599.0), Some(3599)),
            (json!(" 60 "), Some(60)),
            (json!(u64::MAX), Some(86_400)),
            (json!("1e300"), Some(86_400)),
            (json!(0), None),
            (json!(-1), None),
            (json!("soon"), None),
            (json!("NaN"), None),
            (json!(null), None),
        ] {
            assert_eq!(lifetime(&member).map(|time| time.as_secs()), seconds, "{member}");
        }
    }
}
