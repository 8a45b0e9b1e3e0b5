//! PURE: tags of a bucket: the ownership mark, and the tags that the platform requests.

use crate::api::openshift::KeyValue;
use crate::config::snapshot::Snapshot;
use crate::storage::model::container::Owner;
use crate::storage::s3api::client::Tag;

/// Prefix of the key that names a cluster. The installer deletes resources with this tag when it destroys the cluster.
const CLUSTER_PREFIX: &str = "kubernetes.io/cluster/";
/// Value of that tag for resources that are deleted with the cluster.
const OWNED: &str = "owned";
/// Key that the AWS console shows as the name.
const NAME: &str = "Name";
/// Prefix of keys that only AWS writes.
const SYSTEM_PREFIX: &str = "aws:";
/// Largest number of tags of a bucket, without those of AWS.
const AT_MOST: usize = 50;

fn new_tag(key: impl Into<String>, value: impl Into<String>) -> Tag {
    Tag {
        key: key.into(),
        value: value.into(),
    }
}

/// Whether the tag belongs to AWS, so that only AWS may write it.
fn is_system(tag: &Tag) -> bool {
    tag.key.starts_with(SYSTEM_PREFIX)
}

/// Whether the key of the tag is one of the two keys of the ownership mark.
fn is_mark(tag: &Tag) -> bool {
    tag.key == NAME || is_cluster(tag)
}

fn is_cluster(tag: &Tag) -> bool {
    tag.key.starts_with(CLUSTER_PREFIX)
}

/// Owner of the bucket with these tags, from the view of the cluster with this name. A mark of another cluster has
/// precedence, with any value.
pub fn owner(tags: &[Tag], infrastructure_name: &str) -> Owner {
    let [cluster, name] = mark_of(infrastructure_name);
    let other = tags.iter().find(|tag| is_cluster(tag) && tag.key != cluster.key);
    if let Some(other) = other {
        return Owner::Other(other.key.strip_prefix(CLUSTER_PREFIX).unwrap_or_default().to_owned());
    }
    let missing = [cluster, name].into_iter().find(|tag| !tags.contains(tag));
    match missing {
        // A cluster without a name cannot own a bucket.
        None if !infrastructure_name.is_empty() => Owner::Ours,
        None => Owner::Nobody("the cluster has no name".to_owned()),
        Some(missing) => Owner::Nobody(format!("tag {}={} is missing", missing.key, missing.value)),
    }
}

/// The two tags of the ownership mark.
fn mark_of(infrastructure_name: &str) -> [Tag; 2] {
    [
        new_tag(format!("{CLUSTER_PREFIX}{infrastructure_name}"), OWNED),
        new_tag(NAME, format!("{infrastructure_name}-image-registry")),
    ]
}

/// Tags that an owned bucket should have, in order, each key once: the ownership mark, then the tags that the platform
/// requests (`platformStatus.aws.resourceTags`). Also returns a message for each skipped tag.
pub fn wanted(infrastructure_name: &str, platform: &[KeyValue]) -> (Vec<Tag>, Vec<String>) {
    let mut wanted = mark_of(infrastructure_name).to_vec();
    let mut skipped = Vec::new();
    for tag in platform {
        let key = tag.key.as_deref().unwrap_or_default();
        let value = tag.value.as_deref().unwrap_or_default();
        if let Some(why) = invalid(key, value) {
            skipped.push(format!("tag {key:?}: {why}"));
        } else if let Some(same) = wanted.iter_mut().find(|tag| tag.key == key) {
            value.clone_into(&mut same.value);
        } else if wanted.len() == AT_MOST {
            skipped.push(format!("tag {key:?}: a bucket may have {AT_MOST} tags"));
        } else {
            wanted.push(new_tag(key, value));
        }
    }
    (wanted, skipped)
}

/// Tags that the Infrastructure requests for all resources of the cluster. An administrator may change them at any
/// time.
pub fn of_platform(snapshot: &Snapshot) -> Vec<KeyValue> {
    let platform = snapshot.infrastructure().unwrap_or_default().platform_status;
    let aws = platform.and_then(|platform| platform.aws);
    aws.and_then(|aws| aws.resource_tags).unwrap_or_default()
}

/// Keys and values, for fingerprints.
pub fn texts(requested: &[KeyValue]) -> impl Iterator<Item = &str> {
    let texts = requested
        .iter()
        .flat_map(|tag| [tag.key.as_deref(), tag.value.as_deref()]);
    texts.map(Option::unwrap_or_default)
}

/// The [`wanted`] tags without the tag that names the cluster, for storage that the operator does not own.
pub fn without_mark(wanted: &[Tag]) -> Vec<Tag> {
    wanted.iter().filter(|tag| !is_cluster(tag)).cloned().collect()
}

/// Why a tag that the platform requests cannot be set; `None` if it can.
fn invalid(key: &str, value: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " _.:/=+-@".contains(c);
    let reserved = key.split_once('/').is_some_and(|(prefix, _)| {
        let prefix = prefix.to_ascii_lowercase();
        ["kubernetes.io", "openshift.io"]
            .iter()
            .any(|domain| prefix == *domain || prefix.ends_with(&format!(".{domain}")))
    });
    let why = if key.is_empty() {
        "the key is empty"
    } else if key.chars().count() > 128 {
        "the key is longer than 128 characters"
    } else if value.chars().count() > 256 {
        "the value is longer than 256 characters"
    } else if !key.chars().all(allowed) || !value.chars().all(allowed) {
        "only letters, digits, blanks and _.:/=+-@ are allowed"
    } else if key.eq_ignore_ascii_case(NAME) {
        "Name is reserved for the operator"
    } else if reserved {
        "kubernetes.io and openshift.io are reserved"
    } else if key.to_ascii_lowercase().starts_with(SYSTEM_PREFIX) {
        "aws: is reserved"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// The complete set of tags to write, so that a bucket with the `existing` tags also has the `wanted` ones. No existing
/// tag is removed, and tags of AWS stay unchanged. Tags of the platform beyond the limit are omitted ([`left_out`]).
/// `None` if nothing must be written.
pub fn merge(existing: &[Tag], wanted: &[Tag]) -> Option<Vec<Tag>> {
    let merged = fit(existing, wanted).0;
    (merged != existing).then_some(merged)
}

/// Keys of `wanted` tags that exceed the limit for a bucket with the `existing` tags.
pub fn left_out(existing: &[Tag], wanted: &[Tag]) -> Vec<String> {
    fit(existing, wanted).1
}

/// [`merge`] for the ownership mark alone. Not for a bucket with the mark of another cluster ([`Owner::Other`]).
pub fn mark(existing: &[Tag], infrastructure_name: &str) -> Option<Vec<Tag>> {
    merge(existing, &mark_of(infrastructure_name))
}

/// The merged tags, and the keys beyond the limit. The ownership mark is always included; beyond the limit the service
/// reports an error.
fn fit(existing: &[Tag], wanted: &[Tag]) -> (Vec<Tag>, Vec<String>) {
    let mut merged = existing.to_vec();
    let mut left_out = Vec::new();
    let (mark, others): (Vec<&Tag>, Vec<&Tag>) = wanted.iter().partition(|tag| is_mark(tag));
    for tag in mark.into_iter().chain(others) {
        if is_system(tag) {
            continue;
        }
        let count = merged.iter().filter(|tag| !is_system(tag)).count();
        if let Some(same) = merged.iter_mut().find(|other| other.key == tag.key) {
            same.value.clone_from(&tag.value);
        } else if is_mark(tag) || count < AT_MOST {
            merged.push(tag.clone());
        } else {
            left_out.push(tag.key.clone());
        }
    }
    (merged, left_out)
}

#[cfg(test)]
mod tests;
