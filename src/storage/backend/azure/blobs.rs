//! Authorized requests to the blob service of an account, with retries. Source: Blob Storage REST API.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use http::Method;
use jiff::Timestamp;

use super::arm::Arm;
use super::attempts::Attempts;
use super::credentials;
use super::error::{self, Failure, Service};
use super::identity::Identity;
use super::keys::KeyCache;
use super::shared_key;
use crate::api::Sensitive;
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::net::clock::Clock;
use crate::storage::net::error::{Unredacted, shown};
use crate::storage::net::transport::{Request, Response, Transport};

/// How requests are authorized.
#[derive(Clone)]
pub enum Access {
    /// With a token of this identity.
    Token(Arc<Identity>),
    /// With a key of the account.
    Key(KeySource),
}

/// Where the key of the account comes from.
#[derive(Clone)]
pub enum KeySource {
    /// The administrator gave it, or another call read it.
    Given(Sensitive),
    /// It is read from Resource Manager, and cached.
    Listed {
        /// The cache.
        cache: Arc<KeyCache>,
        /// Resource Manager.
        arm: Arc<Arm>,
    },
}

/// A call, for its errors.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Permission that the call needs.
    pub action: &'static str,
    /// Container, or container and name of the blob.
    pub resource: &'a str,
    /// Whether the call changes something.
    pub changes: bool,
}

/// The blob service of an account.
pub struct BlobService {
    /// Connection.
    pub transport: Transport,
    /// Authorization.
    pub access: Access,
    /// Name of the account.
    pub account: String,
    /// Address, without a trailing slash.
    pub origin: String,
    /// Azure Stack Hub, with an older version of the API.
    pub stack: bool,
    /// Whose errors are told: those of the operator's calls, or of the registry's.
    pub service: Service,
    /// Time and sleep.
    pub clock: Clock,
    /// Whether this process still leads.
    pub leading: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Whether a request that changes something may have succeeded without a response.
    pub unsure: AtomicBool,
}

/// The time as HTTP headers have it.
pub fn http_date(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

impl BlobService {
    /// Version of the API.
    pub fn version(&self) -> &'static str {
        if self.stack { "2018-11-09" } else { "2024-05-04" }
    }

    /// A request for a path with its query.
    pub fn request(&self, method: Method, path: &str) -> Request {
        Request::new(method, format!("{}/{path}", self.origin)).header("x-ms-version", self.version())
    }

    /// The key of the account.
    ///
    /// # Errors
    /// The key cannot be read.
    pub async fn key(&self, source: &KeySource) -> Called<Sensitive> {
        match source {
            KeySource::Given(key) => Ok(key.clone()),
            KeySource::Listed { cache, arm } => Ok(cache.get(arm, &self.account, &self.clock).await?.0),
        }
    }

    /// The request with its authorization, and the token or key in it.
    async fn authorized(&self, request: &Request, call: Call<'_>) -> Called<(Request, Sensitive)> {
        let request = request.clone().header("x-ms-date", http_date((self.clock.now)()));
        match &self.access {
            Access::Token(identity) => {
                let token = identity.token().await?;
                let authorized = request.header("authorization", format!("Bearer {}", token.expose()));
                Ok((authorized, token))
            }
            Access::Key(source) => {
                let key = self.key(source).await?;
                let bytes = credentials::decoded(&key).map_err(|why| CallError {
                    cause: Cause::Unsendable,
                    class: CallClass::Denied,
                    ..error::rejected(
                        call.action,
                        call.resource,
                        format!("the key of the storage account {why}"),
                    )
                })?;
                Ok((shared_key::authorized(request, &self.account, &bytes), key))
            }
        }
    }

    /// Sends the request, with retries, each with a valid authorization.
    pub async fn send(&self, call: Call<'_>, request: &Request) -> Result<Response, Failure> {
        self.send_while(call, request, true).await
    }

    /// The same. `patient`: a service that cannot be reached is asked again. Without, the caller asks another one.
    pub async fn send_while(&self, call: Call<'_>, request: &Request, patient: bool) -> Result<Response, Failure> {
        let mut attempts = Attempts::new(&self.clock, call.changes.then_some(&*self.leading));
        let mut renewed = false;
        loop {
            let (authorized, secret) = self.authorized(request, call).await?;
            // After token or key, which may have taken long.
            attempts.begin(call.action, call.resource)?;
            let failure = match self.transport.exchange(&authorized).await {
                Ok(response) if response.status / 100 == 2 => return Ok(response),
                Ok(response) => error::of_response(self.service, call.action, call.resource, &response),
                Err(none) => error::of_nothing(self.service, call.action, call.resource, none).into(),
            };
            if call.changes && error::is_lost(&failure.error) {
                self.unsure.store(true, Ordering::Relaxed);
            }
            if !renewed && self.renew(&failure, &secret).await {
                renewed = true;
                continue;
            }
            let is_last = !patient && failure.error.cause == Cause::Unreachable;
            if is_last || !attempts.wait(&failure).await {
                return Err(self.cleaned(failure, secret));
            }
        }
    }

    /// Drops a token or key that the service refused. Returns whether another attempt may succeed.
    async fn renew(&self, failure: &Failure, refused: &Sensitive) -> bool {
        match &self.access {
            Access::Token(identity) if failure.error.cause == Cause::Answer(401) => {
                identity.renew(refused).await;
                true
            }
            Access::Key(KeySource::Listed { cache, .. }) if failure.code == "AuthenticationFailed" => {
                cache.drop_key(refused).await;
                true
            }
            _ => false,
        }
    }

    fn cleaned(&self, failure: Failure, used: Sensitive) -> Failure {
        let mut secrets = match &self.access {
            Access::Token(identity) => identity.secrets(),
            Access::Key(_) => self.transport.secrets(),
        };
        secrets.push(used);
        let mut error = *failure.error;
        if failure.code == "KeyBasedAuthenticationNotPermitted" {
            error.message.push_str(
                "; the account does not accept keys: allow them, or give the operator a workload identity \
                 (azure_federated_token_file)",
            );
        }
        Failure {
            error: Box::new(Unredacted::new(error).cleaned(&secrets)),
            code: shown(&failure.code, &secrets),
            ..failure
        }
    }
}
