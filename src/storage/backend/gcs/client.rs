//! Sends authorized requests to Google's APIs, with retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::DeserializeOwned;

use super::error::{self, About, Failure};
use super::identity::{Identity, LAST_ATTEMPT};
use crate::api::Sensitive;
use crate::storage::model::call::{CallError, Called};
use crate::storage::net::clock::Clock;
use crate::storage::net::error::{Unredacted, shown};
use crate::storage::net::retry::{Policy, RETRIES};
use crate::storage::net::transport::{Request, Response, Transport};

/// Properties of a call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Permission that the call needs.
    pub action: &'static str,
    /// Bucket, or bucket and name of the object.
    pub resource: &'a str,
    /// What the call is about.
    pub about: About,
    /// Whether the call changes something.
    pub changes: bool,
    /// A status that is a success although it is no 2xx.
    pub accepts: Option<u16>,
    /// Largest number of attempts after the first.
    pub retries: u32,
}

impl<'a> Call<'a> {
    /// A call that only reads.
    pub fn read(action: &'static str, resource: &'a str, about: About) -> Self {
        Self {
            action,
            resource,
            about,
            changes: false,
            accepts: None,
            retries: RETRIES,
        }
    }

    /// A call that changes something.
    pub fn change(action: &'static str, resource: &'a str, about: About) -> Self {
        Self {
            changes: true,
            ..Self::read(action, resource, about)
        }
    }
}

/// A client with one identity.
pub struct Client {
    transport: Transport,
    /// `None`: the storage is an emulator.
    identity: Option<Arc<Identity>>,
    quota_project: Option<String>,
    clock: Clock,
    leading: Arc<dyn Fn() -> bool + Send + Sync>,
    unsure: AtomicBool,
}

impl Client {
    /// A client without a connection yet. `quota_project`: project to which requests are billed.
    pub fn new(
        transport: Transport,
        identity: Option<Arc<Identity>>,
        quota_project: Option<String>,
        clock: Clock,
        leading: Arc<dyn Fn() -> bool + Send + Sync>,
    ) -> Self {
        Self {
            transport,
            identity,
            quota_project,
            clock,
            leading,
            unsure: AtomicBool::new(false),
        }
    }

    /// Whether a request that changes something may have succeeded without a response. A retry may have sent it again.
    pub fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Relaxed)
    }

    /// Time and sleep.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Sends the request, with retries, each with a valid token.
    pub async fn send(&self, call: Call<'_>, request: &Request) -> Result<Response, Failure> {
        let policy = Policy {
            first_wait: &error::first_wait,
            leading: call.changes.then_some(&*self.leading),
            clock: &self.clock,
        };
        let last = (self.clock.now)() + LAST_ATTEMPT;
        let (mut retries, mut renewed) = (0, false);
        loop {
            let token = self.token().await?;
            let authorized = self.authorized(request, token.as_ref());
            // After the token, which may have taken long.
            policy.check_leading(call.action, call.resource)?;
            let failure = match self.attempt(call, &authorized).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            if call.changes && failure.error.is_undecided() && error::is_lost(&failure.error) {
                self.unsure.store(true, Ordering::Relaxed);
            }
            if failure.error.code == "401"
                && !renewed
                && let (Some(identity), Some(token)) = (&self.identity, &token)
            {
                renewed = true;
                identity.renew(token).await;
                continue;
            }
            let ended = retries >= call.retries || (self.clock.now)() > last;
            if ended || !policy.wait(&failure.error, retries).await {
                return Err(self.cleaned(failure, token));
            }
            retries += 1;
        }
    }

    /// The same for a response in JSON.
    pub async fn json<T: DeserializeOwned>(&self, call: Call<'_>, request: &Request) -> Called<T> {
        let response = self.send(call, request).await?;
        decoded(call, &response)
    }

    async fn attempt(&self, call: Call<'_>, request: &Request) -> Result<Response, Failure> {
        let Call {
            action,
            resource,
            about,
            ..
        } = call;
        match self.transport.exchange(request).await {
            Ok(response) if response.status / 100 == 2 || call.accepts == Some(response.status) => Ok(response),
            Ok(response) => Err(error::of_response(action, resource, about, &response)),
            Err(none) => Err(error::of_nothing(action, resource, about, none).into()),
        }
    }

    async fn token(&self) -> Called<Option<Sensitive>> {
        match &self.identity {
            Some(identity) => identity.token().await.map(Some),
            None => Ok(None),
        }
    }

    fn authorized(&self, request: &Request, token: Option<&Sensitive>) -> Request {
        let mut request = request.clone();
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        if let Some(project) = &self.quota_project {
            request = request.header("x-goog-user-project", project.as_str());
        }
        request
    }

    fn secrets(&self) -> Vec<Sensitive> {
        let identity = self.identity.as_ref().map(|identity| identity.secrets());
        identity.unwrap_or_else(|| self.transport.secrets())
    }

    /// The failure of a request with this token, without secrets.
    fn cleaned(&self, Failure { error, reason }: Failure, token: Option<Sensitive>) -> Failure {
        let secrets: Vec<_> = self.secrets().into_iter().chain(token).collect();
        Failure {
            error: Box::new(Unredacted::new(*error).cleaned(&secrets)),
            reason: shown(&reason, &secrets),
        }
    }

    /// An error with a text of the service that came with a success, without secrets.
    pub fn without_secrets(&self, error: CallError) -> CallError {
        Unredacted::new(error).cleaned(&self.secrets())
    }
}

/// The response as a value.
///
/// # Errors
/// The response is not one of Google's APIs.
pub fn decoded<T: DeserializeOwned>(call: Call<'_>, response: &Response) -> Called<T> {
    let why = || format!("status {} without the expected JSON", response.status);
    serde_json::from_slice(&response.body)
        .map_err(|_| -> CallError { error::garbled(call.action, call.resource, call.about, &why()) })
}
