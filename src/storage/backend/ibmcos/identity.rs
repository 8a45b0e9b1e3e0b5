//! Tokens of IAM for an API key, cached and renewed ahead, and the identity of the operator at Cloud Object Storage.
//!
//! Source: IBM Cloud, API reference "IAM Identity Services", "Create an IAM access token for a user or service ID using an
//! IBM Cloud API key".

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::SharedCredentialsProvider;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;

use super::error::{self, Call};
use crate::api::Sensitive;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::net::clock::Clock;
use crate::storage::net::error::Unredacted;
use crate::storage::net::issued::IssuedSecrets;
use crate::storage::net::lifetime::ExpiresIn;
use crate::storage::net::percent::encoded;
use crate::storage::net::recent::Recent;
use crate::storage::net::retry::Policy;
use crate::storage::net::token::TokenCache;
use crate::storage::net::transport::{Request, Transport};
use crate::storage::s3api::{client, retry};

/// Largest number of cached tokens: before and after a change, and a reserve.
const CACHED: usize = 4;
/// Number of tokens to redact: the one in use, and those before.
const SECRETS: usize = 4;
/// Largest number of names that are logged.
const LOGGED: usize = 100;
/// Cloud Object Storage refuses a token that is not valid any more with 403, as it refuses a missing right. A refusal this soon
/// after a renewal for that reason is about a right.
const RENEWED: Duration = Duration::from_mins(10);
/// Timeout of one request for a token.
const TIMEOUT: Duration = Duration::from_secs(30);
const ACTION: &str = "request for a token of IAM";
const GRANT: &str = "urn:ibm:params:oauth:grant-type:apikey";
/// Header that names the service instance.
const INSTANCE: &str = "ibm-service-instance-id";

/// Cached tokens, so that not every request needs a token first.
#[derive(Default)]
pub struct Sessions {
    /// The key is a digest of API key, address, CA certificates and proxies.
    cached: Recent<Fingerprint, Iam, CACHED>,
    /// Service instance that a step created or found by its name, and the start of its pass.
    pub(super) found: Mutex<Option<(String, Timestamp)>>,
    /// Unknown names of serviceEndpoints that the log has.
    logged: Mutex<BTreeSet<String>>,
}

impl Sessions {
    /// The cached tokens of this API key at this IAM, or an empty cache. Makes no call. `path`: digest of CA certificates and
    /// proxies, so that a cached token does not hide an unusable connection.
    pub fn of(&self, key: &Sensitive, url: &str, transport: Transport, path: &Fingerprint, clock: &Clock) -> Arc<Iam> {
        let digest = path.and([key.expose(), url]);
        self.cached.of(digest, || Iam {
            key: key.clone(),
            url: url.to_owned(),
            transport,
            clock: clock.clone(),
            token: TokenCache::at_four_fifths(),
            issued: IssuedSecrets::default(),
            denied: Mutex::default(),
        })
    }

    /// Logs that serviceEndpoints with these names are not used, each name once.
    pub fn log_unknown(&self, names: &[String]) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if logged.len() < LOGGED && logged.insert(name.clone()) {
                tracing::info!(name, "a serviceEndpoint of infrastructures/cluster is not used");
            }
        }
    }
}

/// An API key with its current token.
pub struct Iam {
    key: Sensitive,
    /// Address of IAM.
    url: String,
    transport: Transport,
    clock: Clock,
    token: TokenCache<Sensitive>,
    /// The last tokens, to redact in messages.
    issued: IssuedSecrets<SECRETS>,
    /// When a token was last renewed because of a 403.
    denied: Mutex<Option<SystemTime>>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<ExpiresIn>,
}

impl Iam {
    /// A valid token, from the cache or from IAM.
    ///
    /// # Errors
    /// The last request for a token failed. The error contains no secret.
    pub async fn token(&self) -> Called<Sensitive> {
        let fetch = async || {
            let answer = self.request().await;
            let (token, expiry) = answer.map_err(|error| Unredacted::new(error).cleaned(&self.secrets()))?;
            self.issued.remember(&token);
            Ok((token, expiry))
        };
        self.token.get(&self.clock, fetch).await
    }

    /// Account of the API key, from the token. The signature is not checked: the token came from IAM.
    ///
    /// # Errors
    /// There is no token, or it names no account.
    pub async fn account(&self) -> Called<String> {
        let token = self.token().await?;
        account_of(token.expose())
            .ok_or_else(|| error::garbled(self.call(), "no account ID in the token (claim account.bss)"))
    }

    /// Drops the token, because a service refused it. A token that replaced it meanwhile stays.
    pub async fn renew(&self, refused: &Sensitive) {
        self.token.invalidate_if(|token| token == refused).await;
    }

    /// Whether a 403 may mean that the token is not valid any more. The next answers are `false` for a while.
    fn may_be_expired(&self) -> bool {
        let now = (self.clock.now)();
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        // A time in the future: the clock was set back.
        let recent = denied.is_some_and(|last| now.duration_since(last).is_ok_and(|since| since < RENEWED));
        if !recent {
            *denied = Some(now);
        }
        !recent
    }

    /// Secrets that must not appear in messages: the API key, tokens, passwords of proxies.
    pub fn secrets(&self) -> Vec<Sensitive> {
        let mut secrets = self.transport.secrets();
        secrets.push(self.key.clone());
        secrets.push(Sensitive::new(encoded(self.key.expose())));
        secrets.extend(self.issued.all());
        secrets
    }

    fn call(&self) -> Call<'_> {
        Call {
            action: ACTION,
            resource: &self.url,
            of_token: true,
        }
    }

    async fn request(&self) -> Called<(Sensitive, Option<SystemTime>)> {
        let body = format!(
            "grant_type={}&apikey={}&response_type=cloud_iam",
            encoded(GRANT),
            encoded(self.key.expose())
        );
        let request = Request::new(Method::POST, format!("{}/identity/token", self.url))
            .header("accept", "application/json")
            .content("application/x-www-form-urlencoded", body);
        let policy = Policy {
            first_wait: &error::first_wait,
            leading: None,
            clock: &self.clock,
        };
        let mut retries = 0;
        loop {
            match self.attempt(&request).await {
                Ok(answered) => return Ok(answered),
                Err(error) if !policy.wait(&error, retries).await => return Err(error),
                Err(_) => retries += 1,
            }
        }
    }

    async fn attempt(&self, request: &Request) -> Called<(Sensitive, Option<SystemTime>)> {
        let Ok(answered) = tokio::time::timeout(TIMEOUT, self.transport.exchange(request)).await else {
            return Err(CallError {
                of_identity: true,
                ..CallError::no_answer(ACTION, &self.url, TIMEOUT)
            });
        };
        let response = match answered {
            Ok(response) if response.status == 200 => response,
            Ok(response) => return Err(error::of_response(self.call(), &response)),
            Err(none) => return Err(error::of_nothing(self.call(), none)),
        };
        let answer: Answer = serde_json::from_slice(&response.body)
            .map_err(|_| error::garbled(self.call(), "the response holds no token: is the address that of IAM?"))?;
        if answer.access_token.is_empty() {
            return Err(error::garbled(self.call(), "the access_token in the response is empty"));
        }
        // Without a lifetime the token is used until a service refuses it.
        let lifetime = answer.expires_in.as_ref().map(|expires_in| {
            let unusable = || error::garbled(self.call(), "expires_in of the token is no number of seconds to come");
            expires_in.lifetime().ok_or_else(unusable)
        });
        let expiry = lifetime.transpose()?.map(|lifetime| (self.clock.now)() + lifetime);
        Ok((Sensitive::new(answer.access_token), expiry))
    }
}

/// Claim `account.bss` of a token.
fn account_of(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        account: Account,
    }
    #[derive(Deserialize)]
    struct Account {
        bss: String,
    }
    let payload = token.split('.').nth(1)?.trim_end_matches('=');
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    (!claims.account.bss.is_empty()).then_some(claims.account.bss)
}

/// The operator at Cloud Object Storage: a token, and the service instance.
pub struct Bearer {
    /// Tokens.
    iam: Arc<Iam>,
    /// CRN of the service instance.
    instance: String,
    /// Token of the last request.
    sent: Mutex<Option<Sensitive>>,
}

impl Bearer {
    /// The operator at this service instance.
    pub fn new(iam: Arc<Iam>, instance: &str) -> Self {
        Self {
            iam,
            instance: instance.to_owned(),
            sent: Mutex::default(),
        }
    }

    fn sent(&self) -> MutexGuard<'_, Option<Sensitive>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl client::Identity for Bearer {
    fn provider(self: Arc<Self>) -> Option<SharedCredentialsProvider> {
        None
    }

    fn headers(&self) -> BoxFuture<'_, Called<Vec<(&'static str, Sensitive)>>> {
        Box::pin(async {
            let token = self.iam.token().await?;
            *self.sent() = Some(token.clone());
            Ok(vec![
                ("authorization", Sensitive::new(format!("Bearer {}", token.expose()))),
                (INSTANCE, Sensitive::new(self.instance.as_str())),
            ])
        })
    }

    fn account(&self) -> BoxFuture<'_, Called<Option<String>>> {
        Box::pin(async { Ok(None) })
    }

    /// IBM Cloud documents no code of its own for a token that is not valid any more: Cloud Object Storage answers 403
    /// `AccessDenied`.
    fn is_stale(&self, error: &CallError) -> bool {
        retry::stale(error) || (error.cause == Cause::Answer(403) && self.iam.may_be_expired())
    }

    fn renew(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            let sent = self.sent().take();
            if let Some(sent) = &sent {
                self.iam.renew(sent).await;
            }
            sent.is_some()
        })
    }

    fn renewals(&self) -> u64 {
        self.iam.token.invalidations()
    }

    fn secrets(&self) -> Vec<Sensitive> {
        self.iam.secrets()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // storage-ibmcos 16
    // In part: what the token says.
    #[test]
    fn the_account_is_read_from_the_token_if_it_has_one() {
        let token = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        let account = account_of(&token(r#"{"iam_id": "x", "account": {"valid": true, "bss": "acc1"}}"#));
        assert_eq!(account.as_deref(), Some("acc1"));
        for claims in [
            r#"{"account": {"bss": ""}}"#,
            r#"{"account": {}}"#,
            "{}",
            "[]",
            "no JSON",
        ] {
            assert_eq!(account_of(&token(claims)), None, "{claims}");
        }
        for token in ["", "opaque", "a.b", "..", "a.%%.c"] {
            assert_eq!(account_of(token), None, "{token}");
        }
    }
}
