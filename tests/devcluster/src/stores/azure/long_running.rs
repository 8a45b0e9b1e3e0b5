//! Long operations of Resource Manager: accepted now, done later.
//!
//! Source: https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations

use super::arm::Call;
use super::state::{State, uuid};
use super::{dns, network, reply};
use crate::stores::Reply;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How a long operation goes on.
#[derive(Clone, Debug)]
pub struct LongRunning {
    /// How often it is found to be in progress; without end if there is no number.
    polls: Option<u32>,
    time: Duration,
    failure: Option<(String, String)>,
    headers: OperationHeaders,
    retry_after: Option<u32>,
    hidden: bool,
}

/// Which headers tell where a long operation is to be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperationHeaders {
    /// Those of the service itself.
    #[default]
    Own,
    /// `Azure-AsyncOperation` and `Location`.
    Both,
    /// `Azure-AsyncOperation` only.
    AsyncOperation,
    /// `Location` only.
    Location,
    /// None: only `properties.provisioningState` of the resource tells.
    None,
}

impl Default for LongRunning {
    fn default() -> Self {
        Self::polls(1)
    }
}

impl LongRunning {
    /// It is found to be in progress that often, then it is done; with 0 the first answer says so already. Each request for
    /// the operation or its resource finds it.
    pub fn polls(count: u32) -> Self {
        Self {
            polls: Some(count),
            time: Duration::ZERO,
            failure: None,
            headers: OperationHeaders::Own,
            retry_after: Some(0),
            hidden: false,
        }
    }

    /// It takes that long, whoever asks.
    pub fn time(time: Duration) -> Self {
        Self { time, ..Self::polls(0) }
    }

    /// It never ends.
    pub fn never() -> Self {
        Self {
            polls: None,
            ..Self::polls(0)
        }
    }

    /// The same, and it fails in the end.
    #[must_use]
    pub fn failing(self, code: &str, message: &str) -> Self {
        Self {
            failure: Some((code.to_owned(), message.to_owned())),
            ..self
        }
    }

    /// The same with these headers.
    #[must_use]
    pub fn headers(self, headers: OperationHeaders) -> Self {
        Self { headers, ..self }
    }

    /// The same with this `Retry-After` (0 by default), or without one.
    #[must_use]
    pub fn retry_after(self, seconds: Option<u32>) -> Self {
        Self {
            retry_after: seconds,
            ..self
        }
    }

    /// The same, and GET does not find a resource before it is made: 404 in place of `Creating`.
    #[must_use]
    pub fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    fn is_instant(&self) -> bool {
        self.polls == Some(0) && self.time.is_zero() && self.failure.is_none()
    }
}

/// What an operation does in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Create,
    Delete,
    /// Nothing stays of the resource.
    Reject,
}

/// An operation under way, or done.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// ID of the resource.
    pub of: String,
    effect: Effect,
    polls: Option<u32>,
    ready: Instant,
    failure: Option<(String, String)>,
    retry_after: Option<u32>,
    done: bool,
}

impl State {
    /// Whether a test says how an operation goes on that is usually done at once.
    pub fn is_long(&self, name: &str) -> bool {
        self.long_running.contains_key(name)
    }

    fn manner(&self, name: &str) -> LongRunning {
        let named = self.long_running.get(name).or_else(|| self.long_running.get(""));
        named.cloned().unwrap_or_default()
    }

    /// Finds what is under way for a resource; whether it still is.
    pub fn is_busy(&mut self, id: &str) -> bool {
        let ids: Vec<String> = self.pending(|operation| operation.of.eq_ignore_ascii_case(id));
        ids.iter().filter(|id| !self.find(id)).count() > 0
    }

    /// Ends what is done by time alone.
    pub fn settle(&mut self) {
        for id in self.pending(|operation| operation.polls == Some(0)) {
            self.find(&id);
        }
    }

    fn pending(&self, which: impl Fn(&Operation) -> bool) -> Vec<String> {
        let all = self.operations.iter();
        all.filter(|(_, operation)| !operation.done && which(operation))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Whether an operation is done, for one more who asks.
    fn find(&mut self, id: &str) -> bool {
        let Some(operation) = self.operations.get_mut(id) else {
            return true;
        };
        if operation.done {
            return true;
        }
        match operation.polls {
            Some(0) if operation.ready <= Instant::now() => {}
            Some(0) | None => return false,
            Some(left) => {
                operation.polls = Some(left - 1);
                return false;
            }
        }
        operation.done = true;
        let operation = operation.clone();
        match operation.effect {
            Effect::Create => self.complete(&operation.of, operation.failure.is_some()),
            Effect::Reject => self.erase(&operation.of),
            Effect::Delete if operation.failure.is_none() => self.erase(&operation.of),
            Effect::Delete => self.complete(&operation.of, false),
        }
        true
    }

    /// A resource is made, or has failed to be.
    fn complete(&mut self, id: &str, failed: bool) {
        let Some(resource) = self.resource_mut(id) else {
            return;
        };
        let kind = resource.kind;
        resource.hidden = false;
        resource.set("provisioningState", json!(if failed { "Failed" } else { "Succeeded" }));
        if failed && kind == "Microsoft.Storage/storageAccounts" {
            self.erase(id);
        } else if !failed {
            dns::completed(self, id);
        }
    }

    /// A resource is gone, with all below it.
    pub fn erase(&mut self, id: &str) {
        let lower = id.to_lowercase();
        network::erasing(self, id);
        dns::erasing(self, id);
        let below = format!("{lower}/");
        self.resources.retain(|id, _| *id != lower && !id.starts_with(&below));
        self.accounts
            .retain(|_, account| account.id != lower && !account.id.starts_with(&below));
    }
}

/// Headers of a service, the status of an answer that accepts, and of one for a resource that is made at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub headers: OperationHeaders,
    pub accepted: u16,
    pub made: u16,
}

/// Begins an operation on a resource that is stored, and answers as its service does. `existed` before.
pub(super) fn begin(state: &mut State, call: &Call<'_>, effect: Effect, existed: bool, manner: Manner) -> Reply {
    let settings = state.manner(&call.operation);
    begin_as(state, call, effect, existed, manner, &settings)
}

/// Begins the creation of a resource that fails in the end with this code and message; the resource goes then.
pub(super) fn begin_failing(
    state: &mut State,
    call: &Call<'_>,
    manner: Manner,
    (code, message): (&str, &str),
) -> Reply {
    let settings = state.manner(&call.operation).failing(code, message);
    begin_as(state, call, Effect::Reject, false, manner, &settings)
}

fn begin_as(
    state: &mut State,
    call: &Call<'_>,
    effect: Effect,
    existed: bool,
    manner: Manner,
    settings: &LongRunning,
) -> Reply {
    let id = call.id();
    let id_of_operation = uuid();
    let operation = Operation {
        of: id.clone(),
        effect,
        polls: settings.polls,
        ready: Instant::now() + settings.time,
        failure: settings.failure.clone(),
        retry_after: settings.retry_after,
        done: false,
    };
    state.operations.insert(id_of_operation.clone(), operation);
    if settings.is_instant() {
        state.find(&id_of_operation);
        return match (effect, state.resource(&id)) {
            (Effect::Create, Some(resource)) => reply::json(if existed { 200 } else { manner.made }, &resource.value()),
            _ => reply::empty(if existed { 200 } else { 204 }),
        };
    }
    if let Some(resource) = state.resource_mut(&id) {
        let phase = match effect {
            Effect::Create if existed => "Updating",
            Effect::Create | Effect::Reject => "Creating",
            Effect::Delete => "Deleting",
        };
        resource.hidden = settings.hidden && effect == Effect::Create && !existed;
        resource.set("provisioningState", json!(phase));
    }
    let headers = match settings.headers {
        OperationHeaders::Own => manner.headers,
        other => other,
    };
    // Without a place to look, the answer must hold the resource.
    let status = match (effect, headers) {
        (Effect::Create, OperationHeaders::None) if manner.accepted == 202 => 201,
        (Effect::Create, _) if manner.accepted == 201 && existed => 200,
        _ => manner.accepted,
    };
    let body = state.resource(&id).map(super::state::Resource::value);
    let answer = match body.filter(|_| status != 202) {
        Some(body) => reply::json(status, &body),
        None => reply::empty(status),
    };
    located(answer, call, headers, &id_of_operation, settings.retry_after)
}

/// An answer with the headers that say where an operation is to be seen.
fn located(mut answer: Reply, call: &Call<'_>, headers: OperationHeaders, id: &str, retry_after: Option<u32>) -> Reply {
    let place = |what: &str| {
        format!(
            "https://{}/subscriptions/{}/providers/{}/locations/westeurope/{what}/{id}?api-version={}",
            call.asked.host, call.address.subscription, call.address.namespace, call.version
        )
    };
    if matches!(headers, OperationHeaders::Both | OperationHeaders::AsyncOperation) {
        answer = answer.header("azure-asyncoperation", &place("operations"));
    }
    if matches!(headers, OperationHeaders::Both | OperationHeaders::Location) {
        answer = answer.header("location", &place("operationResults"));
    }
    match retry_after {
        Some(seconds) if headers != OperationHeaders::None => answer.header("retry-after", &seconds.to_string()),
        _ => answer,
    }
}

/// `GET /subscriptions/S/providers/N/locations/L/operations/ID`, or `operationResults`.
pub(super) fn poll(state: &mut State, what: &str, id: &str, url: &str) -> Reply {
    let done = state.find(id);
    let Some(operation) = state.operations.get(id).cloned() else {
        return reply::arm(404, "OperationNotFound", "The operation could not be found.");
    };
    let is_status = what.eq_ignore_ascii_case("operations");
    let retry = |answer: Reply| match operation.retry_after {
        Some(seconds) if !done => answer.header("retry-after", &seconds.to_string()),
        _ => answer,
    };
    if is_status {
        let status = match (&operation.failure, done) {
            (_, false) => json!({ "status": "InProgress" }),
            (None, true) => json!({ "status": "Succeeded" }),
            (Some((code, message)), true) => {
                json!({ "status": "Failed", "error": { "code": code, "message": message } })
            }
        };
        return retry(reply::json(200, &status));
    }
    match (&operation.failure, done) {
        (_, false) => retry(reply::empty(202).header("location", url)),
        (Some((code, message)), true) => reply::arm(409, code, message),
        (None, true) => match (operation.effect, state.resource(&operation.of)) {
            (Effect::Create, Some(resource)) => reply::json(200, &resource.value()),
            (Effect::Create, None) => reply::json(200, &Value::Null),
            (Effect::Delete | Effect::Reject, _) => reply::empty(204),
        },
    }
}
