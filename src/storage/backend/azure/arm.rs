//! Calls to Azure Resource Manager, with retries. Sources: "Resource Manager: REST API", "Asynchronous operations".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::Method;
use serde_json::Value;

use super::attempts::{self, Attempts};
use super::error::{self, Failure, Service, is_retried};
use super::identity::Identity;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::net::clock::Clock;
use crate::storage::net::error::Unredacted;
use crate::storage::net::percent::encoded;
use crate::storage::net::transport::{Request, Response, Transport};

/// Wait between two looks at an operation, if the service names none.
const POLL: Duration = Duration::from_secs(30);
/// Shortest time until the next look at an operation, whatever the service says.
const SHORTEST_POLL: Duration = Duration::from_secs(1);
/// Longest time until the next look at an operation.
const LONGEST_POLL: Duration = Duration::from_mins(2);
/// Longest time without a request that the service may ask for.
const LONGEST_REST: Duration = Duration::from_mins(10);
/// Largest number of pages of a listing.
const PAGES: usize = 100;

/// Operations under way that this process started, by the path of the resource. Without them, the resource itself tells its
/// state.
#[derive(Default)]
pub struct Operations {
    running: Mutex<BTreeMap<String, String>>,
    /// Until when the service wants no request. It counts for the whole subscription.
    resting: Mutex<Option<SystemTime>>,
}

impl Operations {
    fn of(&self, path: &str) -> Option<String> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.get(path).cloned()
    }

    /// The time for which the service still wants no request.
    fn rest(&self, now: SystemTime) -> Option<Duration> {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let left = resting.and_then(|until| until.duration_since(now).ok());
        // A clock that was set back does not count.
        left.filter(|left| !left.is_zero() && *left <= LONGEST_REST)
    }

    fn rest_for(&self, time: Duration, now: SystemTime) {
        let until = now.checked_add(time.min(LONGEST_REST));
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn set(&self, path: &str, url: Option<String>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match url {
            Some(url) => drop(running.insert(path.to_owned(), url)),
            None => drop(running.remove(path)),
        }
    }
}

/// State of an operation that this process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// None is known, or it ended with success: the resource tells its state.
    None,
    /// It is under way: when to look again.
    Running(Duration),
}

/// A call, for its errors.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Permission that the call needs.
    pub action: &'static str,
    /// What the call is about: `storage account NAME`.
    pub resource: &'a str,
}

impl Call<'_> {
    /// An error for a response that is not what the API documents.
    pub fn garbled(&self, why: &str) -> CallError {
        error::garbled(Service::ResourceManager, self.action, self.resource, why)
    }

    /// An error that the operator found.
    pub fn rejected(&self, why: impl Into<String>) -> CallError {
        error::rejected(self.action, self.resource, why.into())
    }
}

/// Resource Manager with one identity, for one subscription.
pub struct Arm {
    /// Connection.
    pub transport: Transport,
    /// Identity.
    pub identity: Arc<Identity>,
    /// Address, without a trailing slash.
    pub origin: String,
    /// ID of the subscription.
    pub subscription: String,
    /// Resource group of the cluster.
    pub group: String,
    /// Region of the cluster; may be empty.
    pub region: String,
    /// Azure Stack Hub, with older versions of the APIs.
    pub stack: bool,
    /// Time and sleep.
    pub clock: Clock,
    /// Whether this process still leads.
    pub leading: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Operations under way.
    pub operations: Arc<Operations>,
}

impl Arm {
    /// Path of the subscription.
    pub fn subscription_path(&self) -> String {
        format!("/subscriptions/{}", encoded(&self.subscription))
    }

    /// Path of a resource group; `None`: that of the cluster.
    pub fn group_path(&self, group: Option<&str>) -> String {
        let group = group.unwrap_or(&self.group);
        format!("{}/resourceGroups/{}", self.subscription_path(), encoded(group))
    }

    /// Sends a request that only reads.
    pub async fn get(&self, call: Call<'_>, path: &str, version: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}?api-version={version}", self.origin);
        let response = self.send(call, false, &Request::new(Method::GET, url)).await?;
        Ok(body(call, &response)?)
    }

    /// The same; `None` for a resource that does not exist.
    pub async fn find(&self, call: Call<'_>, path: &str, version: &str) -> Called<Option<Value>> {
        match self.get(call, path, version).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.error.is_missing() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// All entries of a listing.
    pub async fn list(&self, call: Call<'_>, path: &str, version: &str) -> Called<Vec<Value>> {
        Ok(self.pages(call, path, version).await?)
    }

    /// The same, with the service's code in the error.
    pub async fn pages(&self, call: Call<'_>, path: &str, version: &str) -> Result<Vec<Value>, Failure> {
        let mut url = format!("{}{path}?api-version={version}", self.origin);
        let mut all = Vec::new();
        for _ in 0..PAGES {
            let response = self.send(call, false, &Request::new(Method::GET, url)).await?;
            let mut page = body(call, &response)?;
            let Some(Value::Array(entries)) = page.get_mut("value").map(Value::take) else {
                return Err(call.garbled("a listing without value").into());
            };
            all.extend(entries);
            match page
                .get("nextLink")
                .and_then(Value::as_str)
                .filter(|link| !link.is_empty())
            {
                // The token must not go to another host.
                Some(link) if self.is_own(link) => url = String::from(link),
                Some(_) => return Err(call.garbled("the next page is at another host").into()),
                None => return Ok(all),
            }
        }
        Err(call.garbled("a listing without an end").into())
    }

    /// A POST that changes nothing.
    pub async fn ask(
        &self,
        call: Call<'_>,
        path: &str,
        query: &str,
        content: Option<&Value>,
    ) -> Result<Value, Failure> {
        let url = format!("{}{path}?{query}", self.origin);
        let request = with_body(Request::new(Method::POST, url), content);
        let response = self.send(call, false, &request).await?;
        Ok(body(call, &response)?)
    }

    /// Sends a request that changes a resource, and remembers the operation that it starts.
    pub async fn change(
        &self,
        call: Call<'_>,
        method: Method,
        path: &str,
        version: &str,
        content: Option<&Value>,
    ) -> Result<(), Failure> {
        self.change_if(call, method, path, version, content, None).await
    }

    /// The same with a header that is a condition.
    pub async fn change_if(
        &self,
        call: Call<'_>,
        method: Method,
        path: &str,
        version: &str,
        content: Option<&Value>,
        condition: Option<(&'static str, &str)>,
    ) -> Result<(), Failure> {
        let url = format!("{}{path}?api-version={version}", self.origin);
        let request = with_body(Request::new(method, url), content);
        let request = match condition {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        let response = self.send(call, true, &request).await?;
        self.operations.set(path, self.operation_url(&response));
        Ok(())
    }

    /// Deletes a resource. One that does not exist is a success.
    pub async fn delete(&self, call: Call<'_>, path: &str, version: &str) -> Called<()> {
        match self.change(call, Method::DELETE, path, version, None).await {
            Err(failure) if failure.error.is_missing() => Ok(()),
            other => Ok(other?),
        }
    }

    /// Whether this process started an operation on a resource, of which it did not see the end. Makes no call.
    pub fn has_operation(&self, path: &str) -> bool {
        self.operations.of(path).is_some()
    }

    /// Looks at the operation on a resource.
    ///
    /// # Errors
    /// The operation failed, or it cannot be looked at.
    pub async fn operation(&self, call: Call<'_>, path: &str) -> Called<Operation> {
        Ok(self.outcome(call, path).await?)
    }

    /// The same, with the service's code in the error of an operation that failed.
    ///
    /// # Errors
    /// As for [`Self::operation`].
    pub async fn outcome(&self, call: Call<'_>, path: &str) -> Result<Operation, Failure> {
        let Some(url) = self.operations.of(path) else {
            return Ok(Operation::None);
        };
        let response = match self.send(call, false, &Request::new(Method::GET, url)).await {
            Ok(response) => response,
            // Status 409 is the end of the operation.
            Err(failure) if failure.error.is_undecided() && failure.error.cause != Cause::Answer(409) => {
                return Err(failure);
            }
            Err(failure) => {
                self.operations.set(path, None);
                // Operations are forgotten after some time, and the resource tells its state. Any other error is that of the
                // operation.
                return if failure.error.is_missing() {
                    Ok(Operation::None)
                } else {
                    Err(failure)
                };
            }
        };
        let document: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let status = document.get("status").and_then(Value::as_str);
        let running = match status {
            Some(status) => !["Succeeded", "Failed", "Canceled"].contains(&status),
            None => response.status == 202,
        };
        if running {
            let after = error::retry_after(&response).unwrap_or(POLL);
            return Ok(Operation::Running(after.clamp(SHORTEST_POLL, LONGEST_POLL)));
        }
        self.operations.set(path, None);
        match status {
            Some(ended @ ("Failed" | "Canceled")) => {
                let text = |member: &str| document.pointer(member).and_then(Value::as_str).unwrap_or_default();
                let (code, message) = (text("/error/code"), text("/error/message"));
                let error = CallError {
                    cause: Cause::Answer(409),
                    class: error::of_operation(code),
                    ..call.rejected(format!("the operation ended as {ended}: {code}: {message}"))
                };
                Err(Failure {
                    code: code.to_owned(),
                    ..Unredacted::new(error).cleaned(&self.identity.secrets()).into()
                })
            }
            _ => Ok(Operation::None),
        }
    }

    /// Whether a URL is of this service, so that it may get the token.
    fn is_own(&self, url: &str) -> bool {
        let rest = url.strip_prefix(self.origin.as_str());
        rest.is_some_and(|rest| rest.starts_with('/') || rest.starts_with(":443/"))
    }

    /// Where the service tells the state of the operation that a request started.
    fn operation_url(&self, response: &Response) -> Option<String> {
        let own = |name: &str| response.header(name).filter(|url| self.is_own(url));
        let location = || own("location").filter(|_| response.status == 202);
        own("azure-asyncoperation").or_else(location).map(str::to_owned)
    }

    async fn send(&self, call: Call<'_>, changes: bool, request: &Request) -> Result<Response, Failure> {
        let Call { action, resource } = call;
        let mut attempts = Attempts::new(&self.clock, changes.then_some(&*self.leading));
        let mut renewed = false;
        loop {
            if let Some(left) = self.operations.rest((self.clock.now)()) {
                return Err(error::throttled(action, resource, left).into());
            }
            let token = self.identity.token().await?;
            // After the token, which may have taken long.
            attempts.begin(action, resource)?;
            let authorized = request
                .clone()
                .header("authorization", format!("Bearer {}", token.expose()));
            let failure = match self.transport.exchange(&authorized).await {
                Ok(response) if response.status / 100 == 2 => return Ok(response),
                Ok(response) => error::of_response(Service::ResourceManager, action, resource, &response),
                Err(none) => error::of_nothing(Service::ResourceManager, action, resource, none).into(),
            };
            if failure.error.cause == Cause::Answer(401) && !renewed {
                renewed = true;
                self.identity.renew(&token).await;
                continue;
            }
            if let Some(asked) = failure
                .retry_after
                .filter(|asked| *asked > attempts::LONGEST && is_retried(&failure.error))
            {
                self.operations.rest_for(asked, (self.clock.now)());
            }
            if !attempts.wait(&failure).await {
                return Err(Failure {
                    error: Box::new(Unredacted::new(*failure.error).cleaned(&self.identity.secrets())),
                    ..failure
                });
            }
        }
    }
}

fn with_body(request: Request, content: Option<&Value>) -> Request {
    match content {
        Some(content) => request.content("application/json", content.to_string()),
        None => request,
    }
}

fn body(call: Call<'_>, response: &Response) -> Called<Value> {
    serde_json::from_slice(&response.body)
        .map_err(|_| call.garbled(&format!("status {} without JSON", response.status)))
}
