//! Logins of this process: one token for each set of credentials, Keystone, CA and proxy.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::catalog::{self, Selection};
use super::error;
use super::keystone::{Login, Token};
use super::wire::Wire;
use crate::api::Sensitive;
use crate::config::last_logged::LastLogged;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::net::recent::Recent;
use crate::storage::net::token::TokenCache;

/// Largest number of cached logins: as operator and as registry, before and after a change.
const SESSIONS: usize = 8;

/// The logins of this process.
#[derive(Default)]
pub struct Sessions {
    /// The key is a digest, so that it holds no password.
    cached: Recent<Fingerprint, Session, SESSIONS>,
    /// Why Swift is not the default storage.
    claim: Mutex<LastLogged>,
}

/// How long a refused login counts: the first one, because new credentials may need some seconds, and all that follow.
const FIRST_REFUSED: Duration = Duration::from_secs(20);
const REFUSED: Duration = Duration::from_mins(5);

/// How the service treats signed URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedUrls {
    /// The registry writes the key to the account, not to the container.
    pub account_key: bool,
    /// It accepts signatures with SHA-1, the only ones of the registry.
    pub sha1: bool,
}

/// What Swift says about itself at `/info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Largest number of objects of one bulk deletion; `None`: it has no bulk deletion.
    pub bulk: Option<usize>,
    /// It accepts signed URLs, for pulls.
    pub signed_urls: Option<SignedUrls>,
    /// Swift said so; `false`: it is assumed.
    pub told: bool,
}

/// Largest number of objects of one bulk deletion that does not say its own.
const USUAL_BULK: usize = 1000;

/// From this version on, the registry writes the key to the container. It compares the texts: 2.27.0 is less.
const FIRST_CONTAINER_KEY: &str = "2.3.0";

impl Info {
    /// Reads the body of `/info`; `None` if it is none.
    pub fn read(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let body = body.as_object()?;
        let bulk = body.get("bulk_delete").map(|bulk| {
            let most = bulk.get("max_deletes_per_request").and_then(Value::as_u64);
            let most = most.and_then(|most| usize::try_from(most).ok());
            most.filter(|most| *most > 0).unwrap_or(USUAL_BULK)
        });
        let of_tempurl = |member: &str| body.get("tempurl")?.get(member)?.as_array();
        let digests = of_tempurl("allowed_digests");
        let version = body.get("swift").and_then(|swift| swift.get("version")?.as_str());
        Some(Self {
            bulk,
            signed_urls: of_tempurl("methods").filter(|m| !m.is_empty()).map(|_| SignedUrls {
                account_key: version.unwrap_or_default() < FIRST_CONTAINER_KEY,
                sha1: digests.is_none_or(|digests| digests.iter().any(|digest| digest == "sha1")),
            }),
            told: true,
        })
    }

    /// What is assumed of a service that does not tell: a bulk deletion is tried.
    pub fn unknown() -> Self {
        Self {
            bulk: Some(USUAL_BULK),
            ..Self::default()
        }
    }
}

/// A login that several calls share.
pub struct Session {
    login: Login,
    token: TokenCache<Arc<Token>>,
    /// The last refusal of a login, and until when it counts.
    refused: Mutex<Option<(CallError, Range<SystemTime>)>>,
    /// Of the Swift at this URL.
    info: Mutex<Option<(String, Info)>>,
}

impl Sessions {
    /// The session of a login over this connection, new or cached.
    pub fn of(&self, login: Login, wire: &Wire) -> Arc<Session> {
        let key = wire.path().and(login.texts());
        self.cached.of(key, || Session {
            login,
            token: TokenCache::default(),
            refused: Mutex::default(),
            info: Mutex::default(),
        })
    }

    /// Logs why the default storage is a claim, once for each cause: any change in the cluster may ask again.
    pub fn log_claim(&self, cause: &str) {
        let mut logged = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_new(cause) {
            tracing::info!("the default storage is a claim: {cause}");
        }
    }
}

impl Session {
    /// The token, from the cache or by a login.
    pub async fn token(&self, wire: &Wire) -> Called<Arc<Token>> {
        self.token.get(&wire.clock, async || self.log_in(wire).await).await
    }

    /// Logs in. A refusal counts for a while: Keystone may lock the account after a few refused logins, and other parts of the cluster
    /// have the same account. Other credentials are another session.
    async fn log_in(&self, wire: &Wire) -> Called<(Arc<Token>, Option<SystemTime>)> {
        let now = (wire.clock.now)();
        let before = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((error, _)) = before.as_ref().filter(|(_, counts)| counts.contains(&now)) {
            return Err(error.clone());
        }
        let logged_in = self.login.run(wire).await.map_err(|error| match error.cause {
            Cause::Identity => CallError {
                message: format!(
                    "{} (the operator logs in again within 10 minutes, and at once with other credentials)",
                    error.message
                ),
                ..error
            },
            _ => error,
        });
        let refused = match &logged_in {
            Ok(_) => None,
            Err(error) if error.cause == Cause::Identity => {
                let wait = if before.is_some() { REFUSED } else { FIRST_REFUSED };
                now.checked_add(wait).map(|until| (error.clone(), now..until))
            }
            // What is no answer leaves the count of refusals as it is.
            Err(_) => before,
        };
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
        logged_in
    }

    /// Drops the token if it is still this one: Swift refuses it.
    pub async fn drop_token(&self, refused: &Arc<Token>) {
        self.token.invalidate_if(|token| Arc::ptr_eq(token, refused)).await;
    }

    /// Base URL of Swift.
    pub fn endpoint(&self, token: &Token, selection: &Selection) -> Called<String> {
        catalog::find(&token.body.endpoints, selection).ok_or_else(|| {
            let message = catalog::not_found(&token.body, selection);
            error::no_login(&self.login.url, "EndpointNotFound", message)
        })
    }

    /// What the Swift at this URL said about itself, if it was asked before.
    pub fn known_info(&self, url: &str) -> Option<Info> {
        let info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        info.as_ref().filter(|(of, _)| of == url).map(|(_, info)| *info)
    }

    /// Keeps what the Swift at this URL says about itself.
    pub fn keep_info(&self, url: &str, info: Info) {
        *self.info.lock().unwrap_or_else(PoisonError::into_inner) = Some((url.to_owned(), info));
    }

    /// Secrets that must not appear in messages.
    pub async fn secrets(&self) -> Vec<Sensitive> {
        let mut secrets = self.login.credentials.secrets();
        secrets.extend(self.token.cached().await.map(|token| token.secret.clone()));
        secrets
    }
}
