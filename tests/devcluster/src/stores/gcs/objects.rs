//! Objects: fake-gcs-server has them. Before it, permissions, holds and retention; after it, a record of versions and of
//! what was soft-deleted, which it does not keep.
//!
//! Source: https://cloud.google.com/storage/docs/json_api/v1/objects,
//! https://cloud.google.com/storage/docs/access-control/iam-json

use super::super::asked::Asked;
use super::super::serve::Closed;
use super::super::{Reply, lock};
use super::buckets::{also, permitted};
use super::path::encode;
use super::reply;
use super::state::{Accepted, Bucket, State, timestamp};
use super::upstream::{Forwarded, Upstream};
use hyper::Method;
use serde_json::{Value, json};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

/// Objects on a page, unless fewer are asked for.
pub(super) const PAGE: usize = 1000;

/// A call about objects.
pub(super) struct Objects<'a> {
    pub state: &'a Mutex<State>,
    pub upstream: &'a Upstream,
    pub asked: &'a Asked,
}

/// An answer, ours or fake-gcs-server's; or none.
pub(super) type Outcome = Result<Result<Forwarded, Reply>, Closed>;

/// Ends a function with a refusal.
macro_rules! granted {
    ($checked:expr) => {
        match $checked {
            Ok(allowed) => allowed,
            Err(reply) => return Ok(Err(reply)),
        }
    };
}
pub(super) use granted;

/// 403, while the bucket's retention policy or a hold keeps an object from being deleted or replaced.
pub(super) fn check_kept(bucket: &Bucket, name: &str, object: &Value) -> Result<(), Reply> {
    if bucket.held.contains(name) {
        let message = format!(
            "Object '{name}' is under active Temporary hold and cannot be deleted, overwritten or archived until hold is removed."
        );
        return Err(reply::storage(403, "objectUnderActiveHold", &message));
    }
    let seconds = bucket.seconds("/retentionPolicy/retentionPeriod");
    let created = object["timeCreated"]
        .as_str()
        .and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let ends = created.map(|created| created + jiff::SignedDuration::from_secs(seconds));
    match ends {
        Some(ends) if seconds > 0 && ends > jiff::Timestamp::now() => {
            let message = format!(
                "Object '{name}' is subject to bucket's retention policy or object retention and cannot be deleted or overwritten until {ends}"
            );
            Err(reply::storage(403, "retentionPolicyNotMet", &message))
        }
        _ => Ok(()),
    }
}

pub(super) fn generation(object: &Value) -> u64 {
    let text = object["generation"].as_str().unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// What was live becomes noncurrent, or soft-deleted, or nothing.
pub(super) fn retire(bucket: &mut Bucket, name: &str, mut object: Value, archive: bool) {
    let key = (name.to_owned(), generation(&object));
    if archive && bucket.is_versioned() {
        object["timeDeleted"] = timestamp(0).into();
        bucket.noncurrent.insert(key, object);
        return;
    }
    let seconds = bucket.seconds("/softDeletePolicy/retentionDurationSeconds");
    if seconds > 0 {
        object["softDeleteTime"] = timestamp(0).into();
        object["hardDeleteTime"] = timestamp(seconds).into();
        bucket.soft_deleted.insert(key, object);
    }
}

/// Records an object that was written.
pub(super) fn record(state: &mut State, bucket: &str, object: &Value) {
    let Some(bucket) = state.buckets.get_mut(bucket) else {
        return;
    };
    let name = object["name"].as_str().unwrap_or_default().to_owned();
    if let Some(before) = bucket.live.insert(name.clone(), object.clone()) {
        retire(bucket, &name, before, true);
    }
}

/// Which objects of a bucket.
#[derive(Clone, Copy)]
enum Listed {
    Live,
    /// Live and noncurrent ones.
    Versions,
    SoftDeleted,
}

impl Objects<'_> {
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(self.state)
    }

    fn accepted(&self, method: &str, body: Option<Value>) {
        self.state().accepted.push(Accepted {
            method: format!("storage.objects.{method}"),
            parameters: self.asked.parameters(),
            body,
        });
    }

    fn body(&self) -> Option<Value> {
        serde_json::from_slice(&self.asked.body).ok()
    }

    /// `GET /storage/v1/b/BUCKET/o`.
    pub async fn list(&self, bucket: &str) -> Outcome {
        granted!(permitted(&self.state(), self.asked, bucket, "storage.objects.list"));
        self.accepted("list", None);
        // Google's Python client says `True`.
        let is = |name: &str| {
            let value = self.asked.parameter(name).unwrap_or_default();
            value.eq_ignore_ascii_case("true")
        };
        let others = ["delimiter", "startOffset", "endOffset"];
        let plain = others.iter().all(|name| self.asked.parameter(name).is_none());
        match (is("softDeleted"), is("versions")) {
            // fake-gcs-server reads all files for each page, and would not list a bucket of 20,000 in good time.
            (false, false) if plain => return Ok(self.list_recorded(bucket, Listed::Live)),
            (false, false) => {}
            _ if !plain => return Ok(Err(reply::not_played("versions with a delimiter or an offset"))),
            (true, _) => return Ok(self.list_recorded(bucket, Listed::SoftDeleted)),
            (false, true) => return Ok(self.list_recorded(bucket, Listed::Versions)),
        }
        let mut query = vec![("maxResults", self.page().to_string())];
        for name in [
            "prefix",
            "delimiter",
            "startOffset",
            "endOffset",
            "includeTrailingDelimiter",
            "pageToken",
        ] {
            if let Some(value) = self.asked.parameter(name) {
                query.push((name, value));
            }
        }
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let path = format!("/storage/v1/b/{}/o?{}", encode(bucket), query.join("&"));
        let answer = self.upstream.forward(self.asked, &path).await?;
        if answer.status == 404 {
            // It is about to be made there.
            return Ok(Ok(Forwarded::ours(&reply::good(&json!({ "kind": "storage#objects" })))));
        }
        Ok(Ok(answer))
    }

    fn page(&self) -> usize {
        let wanted = self.asked.parameter("maxResults").and_then(|text| text.parse().ok());
        wanted.filter(|wanted| *wanted > 0).unwrap_or(PAGE).min(PAGE)
    }

    /// What was recorded, by name and generation.
    fn list_recorded(&self, bucket: &str, listed: Listed) -> Result<Forwarded, Reply> {
        let state = self.state();
        let bucket = state.buckets.get(bucket).ok_or_else(reply::no_bucket)?;
        let prefix = self.asked.parameter("prefix").unwrap_or_default();
        let begin = match self.asked.parameter("pageToken").filter(|token| !token.is_empty()) {
            Some(token) => {
                let parts = token
                    .rsplit_once('#')
                    .and_then(|(name, number)| Some((name.to_owned(), number.parse().ok()?)));
                parts.ok_or_else(|| reply::storage(400, "invalid", "Invalid Value"))?
            }
            None => (prefix.clone(), 0),
        };
        let range = (Bound::Excluded(begin.clone()), Bound::Unbounded);
        let (older, live) = match listed {
            Listed::Live => (None, Some(&bucket.live)),
            Listed::Versions => (Some(&bucket.noncurrent), Some(&bucket.live)),
            Listed::SoftDeleted => (Some(&bucket.soft_deleted), None),
        };
        let mut found: Vec<((String, u64), &Value)> = Vec::new();
        let size = self.page();
        let fits = |name: &str| name.starts_with(&prefix);
        if let Some(older) = older {
            let from = older.range(range).take_while(|((name, _), _)| fits(name));
            found.extend(from.take(size + 1).map(|(key, object)| (key.clone(), object)));
        }
        if let Some(live) = live {
            let from = live.range(begin.0.clone()..).take_while(|(name, _)| fits(name));
            let keys = from.map(|(name, object)| ((name.clone(), generation(object)), object));
            found.extend(keys.filter(|(key, _)| *key > begin).take(size + 1));
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut answer = json!({ "kind": "storage#objects" });
        if let Some(((name, number), _)) = found.get(size - 1).filter(|_| found.len() > size) {
            answer["nextPageToken"] = format!("{name}#{number}").into();
        }
        let items: Vec<Value> = found.into_iter().take(size).map(|(_, object)| object.clone()).collect();
        answer["items"] = items.into();
        let answer = self.upstream.rename(self.asked, &answer.to_string());
        Ok(Forwarded::ours(&reply::json(&answer)))
    }

    /// `GET /storage/v1/b/BUCKET/o/OBJECT`, and the same below `/download`.
    pub async fn get(&self, bucket: &str, name: &str) -> Outcome {
        {
            let state = self.state();
            granted!(permitted(&state, self.asked, bucket, "storage.objects.get"));
            let wanted = self
                .asked
                .parameter("generation")
                .and_then(|text| text.parse::<u64>().ok());
            let older = wanted.and_then(|number| state.buckets.get(bucket)?.noncurrent.get(&(name.to_owned(), number)));
            if let Some(older) = older {
                if self.asked.parameter("alt").as_deref() == Some("media") {
                    return Ok(Err(reply::not_played("the content of noncurrent versions")));
                }
                return Ok(Ok(Forwarded::ours(&reply::good(older))));
            }
        }
        self.accepted("get", None);
        let answer = self.upstream.forward(self.asked, &self.asked.path_and_query()).await?;
        if answer.status == 404 {
            return Ok(Err(reply::no_object(bucket, name)));
        }
        Ok(Ok(answer))
    }

    /// `DELETE /storage/v1/b/BUCKET/o/OBJECT`.
    pub async fn delete(&self, bucket: &str, name: &str) -> Outcome {
        granted!(permitted(&self.state(), self.asked, bucket, "storage.objects.delete"));
        self.accepted("delete", None);
        let live = {
            let mut state = self.state();
            let bucket = granted!(state.buckets.get_mut(bucket).ok_or_else(reply::no_bucket));
            granted!(self.find(bucket, name))
        };
        let Some((object, archive)) = live else {
            return Ok(Ok(Forwarded::ours(&reply::nothing())));
        };
        let path = format!("/storage/v1/b/{}/o/{}", encode(bucket), encode(name));
        let answer = self
            .upstream
            .send(Method::DELETE, &path, &[], Vec::new().into())
            .await?;
        if let Some(bucket) = self.state().buckets.get_mut(bucket) {
            // Another may have written it meanwhile.
            if bucket.live.get(name).map(generation) == Some(generation(&object)) {
                bucket.live.remove(name);
            }
            if answer.status != 404 {
                retire(bucket, name, object, archive);
            }
        }
        // A client that died while this was carried out left the record of an object that is gone.
        if answer.status == 404 {
            return Ok(Err(reply::no_object(bucket, name)));
        }
        Ok(Ok(Forwarded::ours(&reply::nothing())))
    }

    /// The live object that is to be deleted, and whether it becomes noncurrent; nothing once a noncurrent version is gone.
    fn find(&self, bucket: &mut Bucket, name: &str) -> Result<Option<(Value, bool)>, Reply> {
        let number = |parameter: &str| {
            self.asked
                .parameter(parameter)
                .and_then(|text| text.parse::<u64>().ok())
        };
        let wanted = number("generation");
        let live = bucket.live.get(name).cloned();
        let current = live.as_ref().map(generation);
        let gone = || reply::no_object(bucket.resource["name"].as_str().unwrap_or_default(), name);
        let Some(wanted) = wanted.filter(|wanted| Some(*wanted) != current) else {
            let object = live.ok_or_else(gone)?;
            if number("ifGenerationMatch").is_some_and(|wanted| Some(wanted) != current) {
                return Err(reply::condition());
            }
            check_kept(bucket, name, &object)?;
            return Ok(Some((object, wanted.is_none())));
        };
        let key = (name.to_owned(), wanted);
        let object = bucket.noncurrent.get(&key).cloned().ok_or_else(gone)?;
        check_kept(bucket, name, &object)?;
        bucket.noncurrent.remove(&key);
        retire(bucket, name, object, false);
        Ok(None)
    }

    /// `PATCH` and `PUT /storage/v1/b/BUCKET/o/OBJECT`: of what describes an object.
    pub async fn update(&self, bucket: &str, name: &str) -> Outcome {
        granted!(permitted(&self.state(), self.asked, bucket, "storage.objects.update"));
        let answer = self.upstream.forward(self.asked, &self.asked.path_and_query()).await?;
        if answer.status == 404 {
            return Ok(Err(reply::no_object(bucket, name)));
        }
        if let (200, Some(mut object)) = (answer.status, answer.json()) {
            let mut state = self.state();
            let live = state
                .buckets
                .get_mut(bucket)
                .and_then(|bucket| bucket.live.get_mut(name));
            if let Some(live) = live {
                // Same content: not a new version.
                std::mem::swap(live, &mut object);
            }
        }
        let method = if self.asked.method == Method::PUT {
            "update"
        } else {
            "patch"
        };
        self.accepted(method, self.body());
        Ok(Ok(answer))
    }

    /// `POST .../o/SOURCE/rewriteTo/b/BUCKET/o/OBJECT`, and `copyTo`.
    pub async fn copy(&self, from: (&str, &str), how: &str, to: (&str, &str)) -> Outcome {
        granted!(permitted(&self.state(), self.asked, from.0, "storage.objects.get"));
        granted!(self.may_write(to.0, to.1));
        let answer = self.upstream.forward(self.asked, &self.asked.path_and_query()).await?;
        if answer.status == 404 {
            return Ok(Err(reply::no_object(from.0, from.1)));
        }
        let copy = answer.json();
        let object = copy
            .as_ref()
            .map(|copy| if how == "rewriteTo" { &copy["resource"] } else { copy });
        if let (200, Some(object)) = (answer.status, object) {
            record(&mut self.state(), to.0, object);
        }
        self.accepted(how.trim_end_matches("To"), self.body());
        Ok(Ok(answer))
    }

    /// `POST .../o/OBJECT/compose`.
    pub async fn compose(&self, bucket: &str, name: &str) -> Outcome {
        granted!(permitted(&self.state(), self.asked, bucket, "storage.objects.get"));
        granted!(self.may_write(bucket, name));
        let answer = self.upstream.forward(self.asked, &self.asked.path_and_query()).await?;
        if let (200, Some(object)) = (answer.status, answer.json()) {
            record(&mut self.state(), bucket, &object);
        }
        self.accepted("compose", self.body());
        Ok(Ok(answer))
    }

    /// Whether the caller may write an object; one that is there already is replaced, which is to delete it too.
    pub fn may_write(&self, bucket: &str, name: &str) -> Result<(), Reply> {
        let state = self.state();
        let caller = permitted(&state, self.asked, bucket, "storage.objects.create")?;
        if name.is_empty() {
            return Err(reply::storage(400, "required", "Required"));
        }
        if name.ends_with('/') {
            return Err(reply::not_played("names that end with a slash"));
        }
        let bucket_name = bucket;
        let bucket = state.buckets.get(bucket).ok_or_else(reply::no_bucket)?;
        if let Some(there) = bucket.live.get(name) {
            also(&state, &caller, bucket_name, "storage.objects.delete")?;
            check_kept(bucket, name, there)?;
        }
        Ok(())
    }
}
