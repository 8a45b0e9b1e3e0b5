//! Tags of a bucket. Source: Resource Manager API v3 (discovery document `cloudresourcemanager:v3`).

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bucket::{Bucket, PAGES};
use super::client::{Call, decoded};
use super::error::{About, Failure};
use super::tags;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::net::percent::form;
use crate::storage::net::transport::Request;

/// Pause before each binding: the service permits 600 in a minute, for all clients of a project.
const PAUSE: Duration = Duration::from_millis(125);

/// Retries of a binding: the next attempt of the setting tries it again anyway.
const RETRIES: u32 = 1;

const CREATE: &str = "resourcemanager.tagValueBindings.create";

/// Tags of a bucket at its location.
pub struct Bindings<'a> {
    /// The bucket.
    pub bucket: &'a Bucket,
    /// Address of Resource Manager at the bucket's location.
    pub url: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Effective {
    effective_tags: Vec<Tag>,
    next_page_token: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Tag {
    namespaced_tag_value: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Operation {
    name: String,
    done: bool,
    error: Option<Value>,
}

/// Tags that are not bound.
#[derive(Default)]
pub struct Unbound {
    /// Those that failed, each with the cause.
    pub failed: Vec<(String, String)>,
    /// The one on which the service still works, and those that wait for it.
    pub pending: Vec<String>,
}

impl Unbound {
    /// Whether all tags are bound.
    pub fn is_empty(&self) -> bool {
        self.failed.is_empty() && self.pending.is_empty()
    }
}

/// State of a binding that was requested.
enum Bound {
    /// The bucket has the tag.
    Done,
    /// The service still works on it.
    Pending,
}

impl Bindings<'_> {
    /// Namespaced names of the tags of the bucket, own and inherited ones, as far as they can be listed.
    pub async fn existing(&self) -> Vec<String> {
        let parent = tags::parent(&self.bucket.name);
        let call = Call {
            retries: RETRIES,
            ..Call::read("storage.buckets.listEffectiveTags", &self.bucket.name, About::Other)
        };
        let mut names: Vec<String> = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES {
            let mut query = vec![("parent", parent.as_str())];
            if !token.is_empty() {
                query.push(("pageToken", &token));
            }
            let request = Request::new(Method::GET, format!("{}/v3/effectiveTags?{}", self.url, form(&query)));
            let page: Effective = match self.bucket.client.json(call, &request).await {
                Ok(page) => page,
                Err(error) => {
                    // Binding a tag that the bucket has already is a success.
                    tracing::info!(%error, "the tags of the bucket cannot be listed: all of them are bound again");
                    return names;
                }
            };
            names.extend(page.effective_tags.into_iter().map(|tag| tag.namespaced_tag_value));
            if page.next_page_token.is_empty() || names.len() >= tags::AT_MOST {
                names.truncate(tags::AT_MOST);
                return names;
            }
            token = page.next_page_token;
        }
        tracing::info!("the list of the bucket's tags has no end: all of them are bound again");
        names
    }

    /// Binds these tags, one after another. Returns those that are not bound. An operation that the service carries out later
    /// is not waited for, and the other tags are left to the next call: the service refuses a second operation on the bucket
    /// meanwhile.
    ///
    /// # Errors
    /// This process does not lead any more.
    pub async fn bind(&self, names: &[String]) -> Called<Unbound> {
        let mut unbound = Unbound::default();
        let (mut throttled, mut retries) = (false, RETRIES);
        for (at, name) in names.iter().enumerate() {
            if throttled {
                let cause = "not tried, because the service is busy".to_owned();
                unbound.failed.push((name.clone(), cause));
                continue;
            }
            (self.bucket.client.clock().sleep)(PAUSE).await;
            match self.bind_one(name, retries).await {
                Ok(Bound::Done) => {}
                Ok(Bound::Pending) => {
                    unbound.pending = names.iter().skip(at).cloned().collect();
                    break;
                }
                Err(error) if error.is_not_leading() => return Err(error),
                Err(error) => {
                    throttled = error.cause == Cause::Answer(429);
                    // The next tag is tried, but without a wait.
                    retries = if error.is_undecided() { 0 } else { retries };
                    let cause = format!("{}: {}", error.code, error.message);
                    unbound.failed.push((name.clone(), cause));
                }
            }
        }
        Ok(unbound)
    }

    async fn bind_one(&self, name: &str, retries: u32) -> Called<Bound> {
        let resource = format!("{} and tag {name}", self.bucket.name);
        let call = Call {
            retries,
            ..Call::change(CREATE, &resource, About::Other)
        };
        let body = json!({"parent": tags::parent(&self.bucket.name), "tagValueNamespacedName": name});
        let url = format!("{}/v3/tagBindings", self.url);
        let request = Request::new(Method::POST, url).content("application/json", body.to_string());
        let response = match self.bucket.client.send(call, &request).await {
            Ok(response) => response,
            Err(failure) if exists_already(&failure) => return Ok(Bound::Done),
            Err(failure) => return Err(failure.into()),
        };
        let operation: Operation = decoded(call, &response)?;
        let operation = if operation.done {
            operation
        } else {
            self.look(call, &operation).await?
        };
        match operation.error {
            Some(error) => rejected(call, &error).map_err(|error| self.bucket.client.without_secrets(error)),
            None if operation.done => Ok(Bound::Done),
            None => Ok(Bound::Pending),
        }
    }

    /// Looks at an operation once.
    async fn look(&self, call: Call<'_>, operation: &Operation) -> Called<Operation> {
        let call = Call {
            retries: 0,
            ..Call::read(CREATE, call.resource, About::Other)
        };
        let name = operation.name.trim_start_matches('/');
        if name.is_empty() || name.contains("..") || name.contains(['?', '#']) {
            return Err(super::error::garbled(
                CREATE,
                call.resource,
                About::Other,
                "an operation without a name",
            ));
        }
        let request = Request::new(Method::GET, format!("{}/v3/{name}", self.url));
        self.bucket.client.json(call, &request).await
    }
}

/// Whether the bucket has the tag already. The service also answers 409 to a call that met another one (`ABORTED`).
fn exists_already(failure: &Failure) -> bool {
    let is_told = matches!(failure.reason.as_str(), "ALREADY_EXISTS" | "alreadyExists");
    is_told && failure.error.cause == Cause::Answer(409)
}

/// The result of an operation that failed. A tag that the bucket has already is a success.
fn rejected(call: Call<'_>, error: &Value) -> Called<Bound> {
    /// Code of gRPC for an object that exists.
    const ALREADY_EXISTS: i64 = 6;
    let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
    if code == ALREADY_EXISTS {
        return Ok(Bound::Done);
    }
    let message = error
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or("the operation failed");
    Err(CallError {
        action: call.action,
        code: code.to_string(),
        ..CallError::invalid(call.resource, &message.chars().take(400).collect::<String>())
    })
}
