//! Identities of Google Cloud: access tokens for the credentials of the Secret, cached and renewed ahead.
//!
//! Sources: RFC 7523 (assertions of service accounts), RFC 8693 (token exchange), Google Cloud "Workload Identity
//! Federation" and the IAM Service Account Credentials API.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::credentials::{Credentials, External, Grant, ServiceAccount};
use super::effective::PUBLIC_UNIVERSE;
use super::error::{self, About};
use super::jwt;
use crate::api::Sensitive;
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::net::clock::Clock;
use crate::storage::net::error::Unredacted;
use crate::storage::net::issued::IssuedSecrets;
use crate::storage::net::lifetime::ExpiresIn;
use crate::storage::net::percent::form;
use crate::storage::net::recent::Recent;
use crate::storage::net::retry::Policy;
use crate::storage::net::token::TokenCache;
use crate::storage::net::transport::{Request, Response, Transport};

/// Scope of the operator: it covers storage and tags.
pub const OPERATOR_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Scope of the registry.
pub const REGISTRY_SCOPE: &str = "https://www.googleapis.com/auth/devstorage.full_control";

/// No attempt begins later than this after the first of a call, or of the requests for one token. With the timeout of a request,
/// a call ends within two minutes.
pub const LAST_ATTEMPT: Duration = Duration::from_mins(1);
/// Largest number of cached identities: of operator and registry, before and after a change, and a reserve.
const CACHED: usize = 8;
/// Number of secrets to redact: those of the requests for several tokens, three at most for each. A request hides the token that
/// it carried in any case.
const SECRETS: usize = 24;
/// Media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";

const ASSERTION: &str = "oauth2 token request";
const EXCHANGE: &str = "sts token exchange";
const IMPERSONATION: &str = "iam.serviceAccounts.getAccessToken";

/// Source of the token that is exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The file that the credentials name, below this directory (empty outside tests). It is read for each exchange,
    /// because the kubelet rotates the token.
    File(PathBuf),
    /// This token of the registry's ServiceAccount.
    Given(Sensitive),
}

/// Parameters of an identity. Equal parameters mean the same identity.
pub struct IdentityKey<'a> {
    /// Credentials.
    pub credentials: &'a Credentials,
    /// Domain of the APIs.
    pub universe: &'a str,
    /// Scope of the tokens.
    pub scope: &'static str,
    /// Source of the token that is exchanged.
    pub subject: Subject,
    /// Connection to the token services.
    pub transport: Transport,
    /// Digest of CA certificates and proxies, so that cached tokens do not hide an unusable connection.
    pub path: Fingerprint,
}

/// Digests of credentials, universe, scope and subject token; and of CA certificates and proxies.
type Key = (Fingerprint, Fingerprint);

/// Cached identities, so that not every request needs a token first.
#[derive(Default)]
pub struct Identities {
    cached: Recent<Key, Identity, CACHED>,
}

impl Identities {
    /// The cached identity, or a new one. Makes no call.
    pub fn of(&self, key: IdentityKey<'_>, clock: &Clock) -> Arc<Identity> {
        let subject = match &key.subject {
            Subject::File(root) => format!("file below {}", root.display()),
            Subject::Given(token) => format!("given {}", token.expose()),
        };
        let texts = [key.credentials.text.expose(), key.universe, key.scope, &subject];
        let digest = (Fingerprint::of(texts), key.path);
        self.cached.of(digest, || Identity {
            grant: key.credentials.grant.clone(),
            source: key.credentials.source.clone(),
            universe: key.universe.to_owned(),
            scope: key.scope,
            subject: key.subject,
            transport: key.transport,
            clock: clock.clone(),
            token: TokenCache::default(),
            issued: IssuedSecrets::default(),
        })
    }
}

/// An identity with its current token.
pub struct Identity {
    grant: Grant,
    source: String,
    universe: String,
    scope: &'static str,
    subject: Subject,
    transport: Transport,
    clock: Clock,
    token: TokenCache<Sensitive>,
    /// Secrets of the last requests for tokens, to redact in messages.
    issued: IssuedSecrets<SECRETS>,
}

type Issued = (Sensitive, Option<SystemTime>);

impl Identity {
    /// A valid access token, from the cache or from the token service.
    ///
    /// # Errors
    /// The last request for a token failed. The error contains no secret.
    pub async fn token(&self) -> Called<Sensitive> {
        let fetch = async || {
            let last = (self.clock.now)() + LAST_ATTEMPT;
            let issued = match &self.grant {
                Grant::ServiceAccount(account) => self.of_account(account, last).await,
                Grant::External(external) => self.of_federation(external, last).await,
            };
            let (token, expiry) = issued.map_err(|error| Unredacted::new(error).cleaned(&self.secrets()))?;
            self.issued.remember(&token);
            Ok((token, expiry))
        };
        self.token.get(&self.clock, fetch).await
    }

    /// Drops this token, because a service refused it. A newer one, which another call got meanwhile, stays.
    pub async fn renew(&self, refused: &Sensitive) {
        self.token.invalidate_if(|token| token == refused).await;
    }

    /// Secrets that must not appear in messages: keys, tokens, assertions, passwords of proxies.
    pub fn secrets(&self) -> Vec<Sensitive> {
        let mut secrets = self.transport.secrets();
        if let Grant::ServiceAccount(account) = &self.grant {
            secrets.push(account.key.clone());
        }
        if let Subject::Given(token) = &self.subject {
            secrets.push(token.clone());
        }
        secrets.extend(self.issued.all());
        secrets
    }

    fn seconds(&self) -> u64 {
        (self.clock.now)()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs()
    }

    /// The token of a service account. Outside the public universe no token service knows keys, and the APIs accept what
    /// the key signs.
    async fn of_account(&self, account: &ServiceAccount, last: SystemTime) -> Called<Issued> {
        let email = &account.email;
        let now = self.seconds();
        let unusable = |why: String| unreadable(ASSERTION, email, &format!("{} cannot be used: {why}", self.source));
        if self.universe != PUBLIC_UNIVERSE {
            let token = jwt::self_signed(account, self.scope, now).map_err(unusable)?;
            let expiry = UNIX_EPOCH + Duration::from_secs(now + jwt::LIFETIME);
            return Ok((Sensitive::new(token), Some(expiry)));
        }
        let assertion = jwt::assertion(account, self.scope, now).map_err(unusable)?;
        self.issued.remember(&Sensitive::new(assertion.as_str()));
        let body = form(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", &assertion),
        ]);
        let request = Request::new(Method::POST, account.token_uri.clone()).content(FORM, body);
        let response = self.ask(ASSERTION, email, &request, last).await?;
        self.issued(ASSERTION, email, &response)
    }

    /// The token of a workload identity federation: an exchange, and impersonation if the credentials name an account.
    async fn of_federation(&self, external: &External, last: SystemTime) -> Called<Issued> {
        let subject = self.subject_token(external).await?;
        self.issued.remember(&Sensitive::new(subject.as_str()));
        let audience = &external.audience;
        let own_url = || format!("https://sts.{}/v1/token", self.universe);
        let scope = if external.impersonation.is_some() {
            OPERATOR_SCOPE
        } else {
            self.scope
        };
        let body = form(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", audience),
            ("scope", scope),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", &subject),
            ("subject_token_type", &external.subject_token_type),
        ]);
        let url = external.token_url.clone().unwrap_or_else(own_url);
        let request = Request::new(Method::POST, url).content(FORM, body);
        let response = self.ask(EXCHANGE, audience, &request, last).await?;
        let (token, expiry) = self.issued(EXCHANGE, audience, &response)?;
        let Some((url, lifetime)) = &external.impersonation else {
            return Ok((token, expiry));
        };
        self.issued.remember(&token);
        let body = json!({"scope": [self.scope], "lifetime": format!("{lifetime}s")});
        let request = Request::new(Method::POST, url.clone())
            .header("authorization", format!("Bearer {}", token.expose()))
            .content("application/json", body.to_string());
        let account = url.rsplit('/').next().unwrap_or(url);
        let account = account.strip_suffix(":generateAccessToken").unwrap_or(account);
        let response = self.ask(IMPERSONATION, account, &request, last).await?;
        impersonated(account, &response)
    }

    /// The token to exchange.
    async fn subject_token(&self, external: &External) -> Called<String> {
        let path = Path::new(&external.file);
        let unreadable = |why: String| {
            let message = format!(
                "the token {} that {} names cannot be read: {why}; it is mounted from the projected volume bound-sa-token",
                path.display(),
                self.source
            );
            unreadable(EXCHANGE, &external.audience, &message)
        };
        let text = match &self.subject {
            Subject::Given(token) => token.expose().to_owned(),
            Subject::File(root) => {
                let place = match path.strip_prefix("/") {
                    Ok(inside) if !root.as_os_str().is_empty() => root.join(inside),
                    _ => path.to_owned(),
                };
                let read = tokio::fs::read_to_string(place).await;
                read.map_err(|error| unreadable(error.to_string()))?
            }
        };
        let token = match &external.field {
            None => text.trim().to_owned(),
            Some(field) => {
                let document: Option<Value> = serde_json::from_str(&text).ok();
                let token = document.as_ref().and_then(|document| document.get(field)?.as_str());
                let token = token.ok_or_else(|| unreadable(format!("it is not JSON with a member {field}")))?;
                token.trim().to_owned()
            }
        };
        if token.is_empty() {
            return Err(unreadable("it is empty".to_owned()));
        }
        Ok(token)
    }

    /// Sends a request for a token, with retries that begin before `last`.
    async fn ask(&self, action: &'static str, resource: &str, request: &Request, last: SystemTime) -> Called<Response> {
        if !request.url.to_ascii_lowercase().starts_with("https://") {
            let why = format!(
                "{} names a token service without https, to which no secret is sent: correct the URL",
                self.source
            );
            return Err(unreadable(action, resource, &why));
        }
        let policy = Policy {
            first_wait: &error::first_wait,
            leading: None,
            clock: &self.clock,
        };
        let mut retries = 0;
        loop {
            let error = match self.transport.exchange(request).await {
                Ok(response) if response.status / 100 == 2 => return Ok(response),
                Ok(response) => error::of_response(action, resource, About::Identity, &response).into(),
                Err(none) => error::of_nothing(action, resource, About::Identity, none),
            };
            if (self.clock.now)() > last || !policy.wait(&error, retries).await {
                return Err(error);
            }
            retries += 1;
        }
    }

    /// The token in the response of a token service.
    fn issued(&self, action: &'static str, resource: &str, response: &Response) -> Called<Issued> {
        #[derive(Deserialize)]
        struct Token {
            access_token: String,
            expires_in: ExpiresIn,
        }
        let garbled = |why: &str| error::garbled(action, resource, About::Identity, why);
        let token: Token =
            serde_json::from_slice(&response.body).map_err(|_| garbled("no access_token and expires_in"))?;
        let lifetime = token.expires_in.lifetime();
        let lifetime = lifetime.ok_or_else(|| garbled("the token has expired already (expires_in)"))?;
        if token.access_token.is_empty() {
            return Err(garbled("the access_token is empty"));
        }
        let expiry = (self.clock.now)() + lifetime;
        Ok((Sensitive::new(token.access_token), Some(expiry)))
    }
}

/// The token in the response of an impersonation.
fn impersonated(account: &str, response: &Response) -> Called<Issued> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Token {
        access_token: String,
        expire_time: String,
    }
    let garbled = || error::garbled(IMPERSONATION, account, About::Identity, "no accessToken and expireTime");
    let token: Token = serde_json::from_slice(&response.body).map_err(|_| garbled())?;
    let expiry: Timestamp = token.expire_time.parse().map_err(|_| garbled())?;
    Ok((Sensitive::new(token.access_token), Some(SystemTime::from(expiry))))
}

/// Error for credentials from which no token can be requested.
fn unreadable(action: &'static str, resource: &str, why: &str) -> CallError {
    CallError {
        action,
        cause: Cause::Identity,
        class: CallClass::Denied,
        of_identity: true,
        code: "CredentialsUnusable".to_owned(),
        ..CallError::invalid(resource, why)
    }
}
