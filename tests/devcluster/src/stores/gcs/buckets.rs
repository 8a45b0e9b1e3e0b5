//! Buckets: all that Cloud Storage keeps about one, which fake-gcs-server forgets.
//!
//! Source: https://cloud.google.com/storage/docs/json_api/v1/buckets

use super::super::Reply;
use super::super::asked::Asked;
use super::access::{Caller, need, storage_caller};
use super::reply;
use super::state::{Accepted, Bucket, State, timestamp};
use serde_json::{Map, Value, json};

const BUCKET: &str = "Storage bucket";
/// Fields of a bucket that its maker gives; the others are the service's, which ignores them.
const GIVEN: &[&str] = &[
    "autoclass",
    "billing",
    "cors",
    "customPlacementConfig",
    "defaultEventBasedHold",
    "encryption",
    "hierarchicalNamespace",
    "iamConfiguration",
    "ipFilter",
    "labels",
    "lifecycle",
    "location",
    "logging",
    "name",
    "retentionPolicy",
    "rpo",
    "softDeletePolicy",
    "storageClass",
    "versioning",
    "website",
];
/// Locations that are no single region.
const MULTI_REGIONS: [&str; 3] = ["US", "EU", "ASIA"];
const WEEK: &str = "604800";

fn invalid(message: &str) -> Reply {
    reply::storage(400, "invalid", message)
}

fn body(asked: &Asked) -> Result<Map<String, Value>, Reply> {
    let parsed: Result<Value, _> = serde_json::from_slice(&asked.body);
    match parsed {
        Ok(Value::Object(body)) => Ok(body),
        _ => Err(reply::storage(400, "parseError", "Parse Error")),
    }
}

fn accepted(state: &mut State, method: &str, asked: &Asked) {
    state.accepted.push(Accepted {
        method: format!("storage.buckets.{method}"),
        parameters: asked.parameters(),
        body: serde_json::from_slice(&asked.body).ok(),
    });
}

/// The caller, if a bucket is there and the caller has a permission for it.
pub(super) fn permitted(state: &State, asked: &Asked, bucket: &str, permission: &str) -> Result<Caller, Reply> {
    let caller = storage_caller(state, asked)?;
    let found = state.buckets.get(bucket).ok_or_else(reply::no_bucket)?;
    need(state, &caller, &found.project, permission, BUCKET)?;
    Ok(caller)
}

/// More of the same caller.
pub(super) fn also(state: &State, caller: &Caller, bucket: &str, permission: &str) -> Result<(), Reply> {
    let found = state.buckets.get(bucket).ok_or_else(reply::no_bucket)?;
    need(state, caller, &found.project, permission, BUCKET)
}

/// What is asked about all of a bucket must hold for its `ifMetagenerationMatch`.
fn check_conditions(asked: &Asked, bucket: &Bucket) -> Result<(), Reply> {
    let metageneration = bucket.resource.get("metageneration").and_then(Value::as_str);
    match asked.parameter("ifMetagenerationMatch") {
        Some(wanted) if metageneration != Some(&wanted) => Err(reply::condition()),
        _ => Ok(()),
    }
}

/// `POST /storage/v1/b?project=`.
pub(super) fn insert(state: &mut State, asked: &Asked) -> Result<Reply, Reply> {
    let caller = storage_caller(state, asked)?;
    let Some(id) = asked.parameter("project") else {
        return Err(reply::storage(400, "required", "Required parameter: project"));
    };
    let project = state.projects.get(&id).cloned();
    let project = project.ok_or_else(|| invalid(&format!("Unknown project id: {id}")))?;
    need(state, &caller, &id, "storage.buckets.create", "project")?;
    if asked.parameter("enableObjectRetention").is_some() {
        need(state, &caller, &id, "storage.buckets.enableObjectRetention", "project")?;
    }
    let mut given = body(asked)?;
    given.retain(|name, _| GIVEN.contains(&name.as_str()));
    let name = given.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    check_name(&name)?;
    check_labels(&given)?;
    let location = given
        .get("location")
        .and_then(Value::as_str)
        .unwrap_or("US")
        .to_uppercase();
    check_key(state, &given, &location)?;
    let uniform = given
        .get("iamConfiguration")
        .and_then(|configuration| configuration.pointer("/uniformBucketLevelAccess/enabled"));
    let uniform = uniform.and_then(Value::as_bool).unwrap_or_default();
    if project.uniform && !uniform {
        let message = "Request violates constraint 'constraints/storage.uniformBucketLevelAccess'";
        return Err(reply::storage(412, "conditionNotMet", message));
    }
    if uniform && asked.parameter("predefinedAcl").is_some() {
        return Err(invalid(
            "Cannot use ACL API to update bucket policy when uniform bucket-level access is enabled.",
        ));
    }
    if let Some(there) = state.buckets.get(&name) {
        let mine = state.may(&caller.principal, &there.project, "storage.buckets.get");
        let message = if mine {
            "Your previous request to create the named bucket succeeded and you already own it."
        } else {
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. \
             Please select a different name and try again."
        };
        return Err(reply::storage(409, "conflict", message));
    }
    accepted(state, "insert", asked);
    let resource = complete(given, &name, &location, project.number);
    let answer = reply::good(&shown(&resource, asked));
    let bucket = Bucket {
        project: id,
        resource,
        ..Bucket::default()
    };
    state.buckets.insert(name, bucket);
    Ok(answer)
}

/// Adds to what was given all that the service adds.
pub(super) fn complete(given: Map<String, Value>, name: &str, location: &str, project: u64) -> Map<String, Value> {
    let now = timestamp(0);
    let kind = match location {
        location if MULTI_REGIONS.contains(&location) => "multi-region",
        location if location.contains('-') => "region",
        _ => "dual-region",
    };
    let mut resource = given;
    let own = json!({
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "selfLink": format!("https://www.googleapis.com/storage/v1/b/{name}"),
        "projectNumber": project.to_string(),
        "metageneration": "1",
        "generation": jiff::Timestamp::now().as_microsecond().to_string(),
        "location": location,
        "locationType": kind,
        "timeCreated": now,
        "updated": now,
        "etag": "CAE=",
    });
    if let Value::Object(own) = own {
        resource.extend(own);
    }
    let class = resource.entry("storageClass").or_insert("STANDARD".into());
    if let Some(text) = class.as_str() {
        *class = text.to_uppercase().into();
    }
    let soft = resource
        .entry("softDeletePolicy")
        .or_insert_with(|| json!({ "retentionDurationSeconds": WEEK }));
    if soft["retentionDurationSeconds"] != "0" {
        soft["effectiveTime"] = now.clone().into();
    }
    if let Some(policy) = resource.get_mut("retentionPolicy").filter(|policy| policy.is_object()) {
        policy["effectiveTime"] = now.into();
    }
    settle_access(&mut resource);
    resource
}

/// The two names of uniform access say the same, and public access has a setting.
fn settle_access(resource: &mut Map<String, Value>) {
    let configuration = resource.entry("iamConfiguration").or_insert_with(|| json!({}));
    if !configuration.is_object() {
        *configuration = json!({});
    }
    if configuration.pointer("/uniformBucketLevelAccess/enabled").is_none() {
        configuration["uniformBucketLevelAccess"] = json!({ "enabled": false });
    }
    let uniform = configuration["uniformBucketLevelAccess"].clone();
    configuration["bucketPolicyOnly"] = uniform;
    if configuration.get("publicAccessPrevention").is_none() {
        configuration["publicAccessPrevention"] = "inherited".into();
    }
}

/// Source: https://cloud.google.com/storage/docs/buckets#naming
fn check_name(name: &str) -> Result<(), Reply> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let long = if name.contains('.') { 222 } else { 63 };
    let whole =
        (3..=long).contains(&name.len()) && name.chars().all(fine) && name.starts_with(end) && name.ends_with(end);
    let google = name.starts_with("goog") || name.contains("google");
    let address = name.parse::<std::net::Ipv4Addr>().is_ok();
    if name.is_empty() {
        return Err(reply::storage(400, "required", "Required"));
    }
    if whole && !google && !address && !name.contains("..") {
        Ok(())
    } else {
        Err(invalid(&format!("Invalid bucket name: '{name}'")))
    }
}

/// Source: https://cloud.google.com/storage/docs/tags-and-labels#bucket-labels
fn check_labels(given: &Map<String, Value>) -> Result<(), Reply> {
    let Some(labels) = given.get("labels").and_then(Value::as_object) else {
        return Ok(());
    };
    let letters = |text: &str| {
        let fine = |c: char| (c.is_alphanumeric() && !c.is_uppercase()) || c == '_' || c == '-';
        text.chars().count() <= 63 && text.chars().all(fine)
    };
    let fine = labels.iter().all(|(name, value)| {
        let begins = name.starts_with(|c: char| c.is_alphabetic());
        let value = value.is_null() || value.as_str().is_some_and(letters);
        begins && letters(name) && value
    });
    if fine && labels.len() <= 64 {
        Ok(())
    } else {
        Err(invalid("Invalid label"))
    }
}

/// Whether Cloud Storage can use the key that is asked for.
fn check_key(state: &State, given: &Map<String, Value>, location: &str) -> Result<(), Reply> {
    let Some(key) = given
        .get("encryption")
        .and_then(|encryption| encryption.get("defaultKmsKeyName"))
    else {
        return Ok(());
    };
    let key = key.as_str().unwrap_or_default();
    let parts: Vec<&str> = key.split('/').collect();
    let ["projects", _, "locations", of, "keyRings", _, "cryptoKeys", _] = parts.as_slice() else {
        return Err(invalid(&format!("Malformed Cloud KMS crypto key: {key}")));
    };
    if of.to_uppercase() != location {
        let message = format!("Cloud KMS crypto key '{key}' is not available in bucket location '{location}'.");
        return Err(invalid(&message));
    }
    if state.kms.get(key) == Some(&true) {
        return Ok(());
    }
    let message = "Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been \
                   authorized to use this key.";
    Err(reply::storage(403, "forbidden", message))
}

/// The resource as it is answered: access control lists only where they are asked for and there are any.
fn shown(resource: &Map<String, Value>, asked: &Asked) -> Value {
    let mut shown = resource.clone();
    let uniform = resource
        .get("iamConfiguration")
        .is_some_and(|of| of["uniformBucketLevelAccess"]["enabled"] == true);
    if asked.parameter("projection").as_deref() == Some("full") && !uniform {
        let owners = format!(
            "project-owners-{}",
            resource["projectNumber"].as_str().unwrap_or_default()
        );
        shown.insert("owner".into(), json!({ "entity": owners }));
        shown.insert("acl".into(), json!([]));
        shown.insert("defaultObjectAcl".into(), json!([]));
    }
    Value::Object(shown)
}

/// `GET /storage/v1/b/BUCKET`.
pub(super) fn get(state: &mut State, asked: &Asked, name: &str) -> Result<Reply, Reply> {
    let caller = permitted(state, asked, name, "storage.buckets.get")?;
    if asked.parameter("projection").as_deref() == Some("full") {
        also(state, &caller, name, "storage.buckets.getIamPolicy")?;
    }
    let bucket = state.buckets.get(name).ok_or_else(reply::no_bucket)?;
    check_conditions(asked, bucket)?;
    let answer = shown(&bucket.resource, asked);
    accepted(state, "get", asked);
    Ok(reply::good(&answer))
}

/// `GET /storage/v1/b?project=`.
pub(super) fn list(state: &mut State, asked: &Asked) -> Result<Reply, Reply> {
    let caller = storage_caller(state, asked)?;
    let Some(project) = asked.parameter("project") else {
        return Err(reply::storage(400, "required", "Required parameter: project"));
    };
    need(state, &caller, &project, "storage.buckets.list", "project")?;
    let prefix = asked.parameter("prefix").unwrap_or_default();
    let buckets = state.buckets.iter();
    let listed = buckets.filter(|(name, bucket)| bucket.project == project && name.starts_with(&prefix));
    let items: Vec<Value> = listed.map(|(_, bucket)| shown(&bucket.resource, asked)).collect();
    accepted(state, "list", asked);
    Ok(reply::good(&json!({ "kind": "storage#buckets", "items": items })))
}

/// `PATCH /storage/v1/b/BUCKET`: as RFC 7396 merges.
pub(super) fn patch(state: &mut State, asked: &Asked, name: &str) -> Result<Reply, Reply> {
    permitted(state, asked, name, "storage.buckets.update")?;
    // Google's client sends nothing at all where nothing changes.
    let mut given = if asked.body.is_empty() {
        Map::new()
    } else {
        body(asked)?
    };
    given.retain(|field, _| GIVEN.contains(&field.as_str()) && field != "name" && field != "location");
    check_labels(&given)?;
    let bucket = state.buckets.get(name).ok_or_else(reply::no_bucket)?;
    check_conditions(asked, bucket)?;
    let location = bucket.resource["location"].as_str().unwrap_or_default().to_owned();
    check_key(state, &given, &location)?;
    let bucket = state.buckets.get_mut(name).ok_or_else(reply::no_bucket)?;
    change(bucket, given);
    let answer = shown(&bucket.resource, asked);
    accepted(state, "patch", asked);
    Ok(reply::good(&answer))
}

/// Merges a change into a bucket, which has a new metageneration then.
pub(super) fn change(bucket: &mut Bucket, given: Map<String, Value>) {
    let mut resource = Value::Object(std::mem::take(&mut bucket.resource));
    merge(&mut resource, Value::Object(given));
    if let Value::Object(resource) = resource {
        bucket.resource = resource;
    }
    settle_access(&mut bucket.resource);
    let metageneration = bucket.resource.get("metageneration").and_then(Value::as_str);
    let next = metageneration
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or_default()
        + 1;
    bucket.resource.insert("metageneration".into(), next.to_string().into());
    bucket.resource.insert("updated".into(), timestamp(0).into());
}

fn merge(into: &mut Value, change: Value) {
    let Value::Object(change) = change else {
        *into = change;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Some(into) = into.as_object_mut() else { return };
    for (name, value) in change {
        if value.is_null() {
            into.remove(&name);
        } else {
            merge(into.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// `DELETE /storage/v1/b/BUCKET`; what is soft-deleted or half uploaded goes with it.
pub(super) fn delete(state: &mut State, asked: &Asked, name: &str) -> Result<Reply, Reply> {
    permitted(state, asked, name, "storage.buckets.delete")?;
    let bucket = state.buckets.get(name).ok_or_else(reply::no_bucket)?;
    check_conditions(asked, bucket)?;
    if !bucket.live.is_empty() || !bucket.noncurrent.is_empty() {
        return Err(reply::storage(
            409,
            "conflict",
            "The bucket you tried to delete is not empty.",
        ));
    }
    accepted(state, "delete", asked);
    state.buckets.remove(name);
    state.tags.forget(name);
    Ok(reply::nothing())
}

/// `GET /storage/v1/b/BUCKET/iam/testPermissions?permissions=`.
pub(super) fn test_permissions(state: &mut State, asked: &Asked, name: &str) -> Result<Reply, Reply> {
    let caller = storage_caller(state, asked)?;
    let bucket = state.buckets.get(name).ok_or_else(reply::no_bucket)?;
    let mut granted = asked.all("permissions");
    granted.retain(|permission| state.may(&caller.principal, &bucket.project, permission));
    accepted(state, "testIamPermissions", asked);
    Ok(reply::good(
        &json!({ "kind": "storage#testIamPermissionsResponse", "permissions": granted }),
    ))
}
