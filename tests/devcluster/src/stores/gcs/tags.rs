//! Tags of Resource Manager on buckets, as its regional endpoints have them.
//!
//! Source: https://cloud.google.com/resource-manager/reference/rest/v3/tagBindings,
//! https://cloud.google.com/storage/docs/tags-and-labels

use super::super::Reply;
use super::super::asked::Asked;
use super::super::wire::host_name;
use super::access::{Caller, platform_caller};
use super::reply;
use super::state::{Accepted, State};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

const PARENT: &str = "//storage.googleapis.com/projects/_/buckets/";
const HOST: &str = "-cloudresourcemanager.";
const PAGE: usize = 50;

#[derive(Default)]
pub(super) struct Tags {
    /// Number of a tag value by its namespaced name, `PARENT/KEY/VALUE`.
    pub values: BTreeMap<String, u64>,
    /// Bucket and namespaced name.
    bound: Vec<(String, String)>,
    /// Project and namespaced name: what all buckets of a project inherit.
    pub inherited: Vec<(String, String)>,
    operations: BTreeMap<String, Running>,
    pub next: Operation,
    /// How the next operations on a bucket go on, before `next` counts.
    pub next_of: BTreeMap<String, VecDeque<Operation>>,
}

/// How the operations that bindings start go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Operation {
    /// Done in the answer to the call itself.
    #[default]
    AtOnce,
    /// Done when somebody looks so many times: at the operation, or at the tags of the bucket.
    After(usize),
    /// Never done.
    Never,
    /// Done at the first poll, with an error: the code of `google.rpc.Code` and a message.
    Fails(i64, String),
}

impl Operation {
    /// Whether an operation is done after so many looks.
    fn is_done(&self, polls: usize) -> bool {
        match self {
            Self::AtOnce | Self::Fails(..) => true,
            Self::After(wanted) => polls >= *wanted,
            Self::Never => false,
        }
    }
}

struct Running {
    how: Operation,
    polls: usize,
    bucket: String,
    tag: String,
    done: bool,
}

impl Tags {
    /// How the next operation on a bucket goes on.
    fn next_of(&mut self, bucket: &str) -> Operation {
        let planned = self.next_of.get_mut(bucket).and_then(VecDeque::pop_front);
        planned.unwrap_or_else(|| self.next.clone())
    }

    /// Operations go on also while nobody asks for them.
    fn go_on(&mut self, bucket: &str) {
        let mut ended = Vec::new();
        for running in self
            .operations
            .values_mut()
            .filter(|one| one.bucket == bucket && !one.done)
        {
            running.polls += 1;
            // How one fails is told to who polls it.
            if matches!(running.how, Operation::After(_)) && running.how.is_done(running.polls) {
                running.done = true;
                ended.push(running.tag.clone());
            }
        }
        for tag in ended {
            self.bind(bucket, &tag);
        }
    }

    /// A bucket is gone.
    pub fn forget(&mut self, bucket: &str) {
        self.bound.retain(|(of, _)| of != bucket);
    }

    /// Tags that are bound to a bucket itself.
    pub fn of(&self, bucket: &str) -> Vec<String> {
        let own = self.bound.iter().filter(|(of, _)| of == bucket);
        own.map(|(_, tag)| tag.clone()).collect()
    }

    /// Binds a tag, unless it is bound.
    pub fn bind(&mut self, bucket: &str, tag: &str) {
        let binding = (bucket.to_owned(), tag.to_owned());
        if !self.bound.contains(&binding) {
            self.bound.push(binding);
        }
    }
}

fn argument(message: &str) -> Reply {
    reply::canonical(400, "INVALID_ARGUMENT", message)
}

fn need(state: &State, caller: &Caller, project: &str, permission: &str) -> Result<(), Reply> {
    if state.may(&caller.principal, project, permission) {
        return Ok(());
    }
    let message = format!("Permission '{permission}' denied on resource (or it may not exist).");
    Err(reply::canonical(403, "PERMISSION_DENIED", &message))
}

/// The bucket that a full resource name means, and its project; only at the endpoint of its region.
fn bucket(state: &State, asked: &Asked, parent: &str) -> Result<(String, String), Reply> {
    let name = parent.strip_prefix(PARENT).ok_or_else(|| argument("Invalid parent."))?;
    let denied = || reply::canonical(403, "PERMISSION_DENIED", "The caller does not have permission");
    let bucket = state.buckets.get(name).ok_or_else(denied)?;
    let location = bucket.resource["location"].as_str().unwrap_or_default().to_lowercase();
    match region(asked) {
        Some(region) if region != location => {
            let message = format!("The bucket is in {location}: use the endpoint {location}{HOST}googleapis.com");
            Err(argument(&message))
        }
        _ => Ok((name.to_owned(), bucket.project.clone())),
    }
}

/// The region in the host: empty for the global endpoint, nothing for an address of this machine.
fn region(asked: &Asked) -> Option<String> {
    let host = host_name(&asked.host);
    match host.split_once(HOST) {
        Some((region, _)) => Some(region.to_owned()),
        None => host.starts_with(&HOST[1..]).then(String::new),
    }
}

fn accepted(state: &mut State, method: &str, asked: &Asked) {
    state.accepted.push(Accepted {
        method: format!("cloudresourcemanager.{method}"),
        parameters: asked.parameters(),
        body: serde_json::from_slice(&asked.body).ok(),
    });
}

/// `POST /v3/tagBindings`.
pub(super) fn create(state: &mut State, asked: &Asked) -> Result<Reply, Reply> {
    let caller = platform_caller(state, asked)?;
    let body: Value = serde_json::from_slice(&asked.body).map_err(|_| argument("Invalid JSON payload received."))?;
    let (bucket, project) = bucket(state, asked, body["parent"].as_str().unwrap_or_default())?;
    let tag = match (body["tagValue"].as_str(), body["tagValueNamespacedName"].as_str()) {
        (None, Some(name)) => Some(name.to_owned()).filter(|name| state.tags.values.contains_key(name)),
        (Some(number), None) => namespaced(state, number),
        _ => return Err(argument("Exactly one of tag_value and tag_value_namespaced_name.")),
    };
    need(state, &caller, &project, "resourcemanager.tagValues.get")?;
    let denied = || {
        reply::canonical(
            403,
            "PERMISSION_DENIED",
            "Permission denied on tag value (or it may not exist).",
        )
    };
    let tag = tag.ok_or_else(denied)?;
    need(state, &caller, &project, "resourcemanager.tagValueBindings.create")?;
    need(state, &caller, &project, "storage.buckets.createTagBinding")?;
    let there = state.tags.of(&bucket);
    if there.contains(&tag) {
        let message = "A binding already exists between the given resource and TagValue.";
        return Err(reply::canonical(409, "ALREADY_EXISTS", message));
    }
    if there.iter().any(|bound| key(bound) == key(&tag)) {
        let message = "A binding of another value of this key exists.";
        return Err(reply::canonical(400, "FAILED_PRECONDITION", message));
    }
    if state
        .tags
        .operations
        .values()
        .any(|one| one.bucket == bucket && !one.done)
    {
        let message = format!("Resource '{PARENT}{bucket}' has another tag binding operation in progress.");
        return Err(reply::canonical(400, "FAILED_PRECONDITION", &message));
    }
    accepted(state, "tagBindings.create", asked);
    let region = region(asked).filter(|region| !region.is_empty());
    let name = format!(
        "operations/rctb.{}.{}",
        region.unwrap_or("local".into()),
        state.number()
    );
    let how = state.tags.next_of(&bucket);
    let done = how == Operation::AtOnce;
    let running = Running {
        how,
        polls: 0,
        bucket,
        tag,
        done,
    };
    let answer = if done {
        finished(state, &name, &running)
    } else {
        json!({ "name": name, "done": false })
    };
    state.tags.operations.insert(name, running);
    Ok(reply::good(&answer))
}

/// `PARENT/KEY` of a namespaced name.
fn key(tag: &str) -> &str {
    tag.rsplit_once('/').map_or(tag, |(key, _)| key)
}

/// The namespaced name of `tagValues/NUMBER`.
fn namespaced(state: &State, value: &str) -> Option<String> {
    let number = value.strip_prefix("tagValues/")?.parse::<u64>().ok()?;
    let mut values = state.tags.values.iter();
    values.find(|(_, of)| **of == number).map(|(name, _)| name.clone())
}

fn binding(state: &State, bucket: &str, tag: &str) -> Value {
    let parent = format!("{PARENT}{bucket}");
    let value = format!("tagValues/{}", state.tags.values.get(tag).copied().unwrap_or_default());
    let encoded = parent.replace('/', "%2F");
    json!({
        "name": format!("tagBindings/{encoded}/{value}"),
        "parent": parent,
        "tagValue": value,
        "tagValueNamespacedName": tag,
    })
}

fn finished(state: &mut State, name: &str, running: &Running) -> Value {
    state.tags.bind(&running.bucket, &running.tag);
    let mut response = binding(state, &running.bucket, &running.tag);
    response["@type"] = "type.googleapis.com/google.cloud.resourcemanager.v3.TagBinding".into();
    json!({ "name": name, "done": true, "response": response })
}

/// `GET /v3/operations/NAME`.
pub(super) fn poll(state: &mut State, asked: &Asked, name: &str) -> Result<Reply, Reply> {
    platform_caller(state, asked)?;
    let gone = || reply::canonical(404, "NOT_FOUND", "Operation not found.");
    let mut running = state.tags.operations.remove(name).ok_or_else(gone)?;
    running.polls += 1;
    running.done = running.done || running.how.is_done(running.polls);
    let answer = match &running.how {
        Operation::Fails(code, message) => {
            json!({ "name": name, "done": true, "error": { "code": code, "message": message } })
        }
        _ if !running.done => json!({ "name": name, "done": false }),
        Operation::Never => json!({ "name": name, "done": false }),
        Operation::AtOnce | Operation::After(_) => finished(state, name, &running),
    };
    state.tags.operations.insert(name.to_owned(), running);
    accepted(state, "operations.get", asked);
    Ok(reply::good(&answer))
}

/// `GET /v3/effectiveTags?parent=`.
pub(super) fn effective(state: &mut State, asked: &Asked) -> Result<Reply, Reply> {
    let caller = platform_caller(state, asked)?;
    let (bucket, project) = bucket(state, asked, &asked.parameter("parent").unwrap_or_default())?;
    need(state, &caller, &project, "storage.buckets.listEffectiveTags")?;
    state.tags.go_on(&bucket);
    let own = state.tags.of(&bucket);
    let mut all: Vec<(String, bool)> = own.into_iter().map(|tag| (tag, false)).collect();
    for (of, tag) in &state.tags.inherited {
        // What is bound to the bucket itself wins over what it inherits.
        if *of == project && !all.iter().any(|(own, _)| key(own) == key(tag)) {
            all.push((tag.clone(), true));
        }
    }
    let tags: Vec<Value> = all
        .iter()
        .map(|(tag, inherited)| {
            let number = state.tags.values.get(tag).copied().unwrap_or_default();
            json!({
                "tagValue": format!("tagValues/{number}"),
                "namespacedTagValue": tag,
                "tagKey": format!("tagKeys/{number}"),
                "namespacedTagKey": key(tag),
                "tagKeyParentName": format!("projects/{}", key(tag).split('/').next().unwrap_or_default()),
                "inherited": inherited,
            })
        })
        .collect();
    accepted(state, "effectiveTags.list", asked);
    paged(asked, "effectiveTags", &tags)
}

/// `GET /v3/tagBindings?parent=`.
pub(super) fn list(state: &mut State, asked: &Asked) -> Result<Reply, Reply> {
    let caller = platform_caller(state, asked)?;
    let (bucket, project) = bucket(state, asked, &asked.parameter("parent").unwrap_or_default())?;
    need(state, &caller, &project, "storage.buckets.listTagBindings")?;
    let own = state.tags.of(&bucket);
    let bindings: Vec<Value> = own.iter().map(|tag| binding(state, &bucket, tag)).collect();
    accepted(state, "tagBindings.list", asked);
    paged(asked, "tagBindings", &bindings)
}

fn paged(asked: &Asked, name: &str, all: &[Value]) -> Result<Reply, Reply> {
    let number = |parameter: &str, default: usize| match asked.parameter(parameter) {
        None => Ok(default),
        Some(text) if text.is_empty() => Ok(default),
        Some(text) => text.parse::<usize>().map_err(|_| argument("Invalid page.")),
    };
    let size = match number("pageSize", PAGE)? {
        0 => PAGE,
        size => size.min(300),
    };
    let begin = number("pageToken", 0)?;
    let mut answer = json!({ name: all.iter().skip(begin).take(size).collect::<Vec<_>>() });
    if begin + size < all.len() {
        answer["nextPageToken"] = (begin + size).to_string().into();
    }
    Ok(reply::good(&answer))
}
