//! Tags of a bucket: which are ours, which the platform asks for, and whose the bucket is. PURE.

use crate::api::openshift::KeyValue;
use crate::config::snapshot::Snapshot;

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

/// Whose a bucket is, as its tags say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// `kubernetes.io/cluster/<infra>=owned` and `Name=<infra>-image-registry`, and no other cluster's.
    Ours,
    /// Another cluster's mark is there: its name.
    Other(String),
    /// No mark, or half of one: what is missing.
    Nobody(String),
}

/// Beginning of the key that names a cluster; the platform's installer looks for it when a cluster is destroyed.
const CLUSTER_PREFIX: &str = "kubernetes.io/cluster/";
/// Value of it for what goes with the cluster.
const OWNED: &str = "owned";
/// Key that the console shows as the name.
const NAME: &str = "Name";
/// Beginning of keys that only AWS writes.
const SYSTEM_PREFIX: &str = "aws:";
/// How many tags a bucket may have, those of AWS not counted.
const AT_MOST: usize = 50;

impl Tag {
    fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
        }
    }

    /// Whether it belongs to AWS: nobody else may write, change or drop it.
    fn is_system(&self) -> bool {
        self.key.starts_with(SYSTEM_PREFIX)
    }

    /// Whether it is one of the two that say whose the bucket is.
    fn is_ours(&self) -> bool {
        self.key == NAME || self.is_cluster()
    }

    fn is_cluster(&self) -> bool {
        self.key.starts_with(CLUSTER_PREFIX)
    }
}

impl Owner {
    /// Whose the bucket with these tags is, for a cluster of this name. Another cluster's mark counts whatever its value,
    /// and also beside ours.
    pub fn of(tags: &[Tag], infrastructure_name: &str) -> Self {
        let [cluster, name] = own(infrastructure_name);
        let other = tags.iter().find(|tag| tag.is_cluster() && tag.key != cluster.key);
        if let Some(other) = other {
            return Self::Other(other.key.strip_prefix(CLUSTER_PREFIX).unwrap_or_default().to_owned());
        }
        let missing = [cluster, name].into_iter().find(|own| !tags.contains(own));
        match missing {
            // A cluster without a name owns nothing.
            None if !infrastructure_name.is_empty() => Self::Ours,
            None => Self::Nobody("the cluster has no name".to_owned()),
            Some(missing) => Self::Nobody(format!("tag {}={} is missing", missing.key, missing.value)),
        }
    }
}

/// The two tags that say whose a bucket is: the ownership mark.
fn own(infrastructure_name: &str) -> [Tag; 2] {
    [
        Tag::new(format!("{CLUSTER_PREFIX}{infrastructure_name}"), OWNED),
        Tag::new(NAME, format!("{infrastructure_name}-image-registry")),
    ]
}

/// Tags that a bucket of ours should have, in order, each key once: the mark, then what the platform asks for
/// (`platformStatus.aws.resourceTags`). Also what was skipped, and why.
pub fn wanted(infrastructure_name: &str, platform: &[KeyValue]) -> (Vec<Tag>, Vec<String>) {
    let mut wanted = own(infrastructure_name).to_vec();
    let mut skipped = Vec::new();
    for tag in platform {
        let key = tag.key.as_deref().unwrap_or_default();
        let value = tag.value.as_deref().unwrap_or_default();
        if let Some(why) = unfit(key, value) {
            skipped.push(format!("tag {key:?}: {why}"));
        } else if let Some(same) = wanted.iter_mut().find(|tag| tag.key == key) {
            value.clone_into(&mut same.value);
        } else if wanted.len() == AT_MOST {
            skipped.push(format!("tag {key:?}: a bucket may have {AT_MOST} tags"));
        } else {
            wanted.push(Tag::new(key, value));
        }
    }
    (wanted, skipped)
}

/// Tags that the platform asks for on everything made for the cluster; an administrator may change them at any time.
pub fn of_platform(snapshot: &Snapshot) -> Vec<KeyValue> {
    let platform = snapshot.infrastructure().unwrap_or_default().platform_status;
    let aws = platform.and_then(|platform| platform.aws);
    aws.and_then(|aws| aws.resource_tags).unwrap_or_default()
}

/// Keys and values, for fingerprints.
pub fn texts(asked: &[KeyValue]) -> impl Iterator<Item = &str> {
    let texts = asked.iter().flat_map(|tag| [tag.key.as_deref(), tag.value.as_deref()]);
    texts.map(Option::unwrap_or_default)
}

/// What of [`wanted`] is no claim on the bucket: for storage that this operator did not create.
pub fn without_mark(wanted: &[Tag]) -> Vec<Tag> {
    wanted.iter().filter(|tag| !tag.is_cluster()).cloned().collect()
}

/// Why a tag that the platform asks for cannot be set.
fn unfit(key: &str, value: &str) -> Option<String> {
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
        "Name is the operator's"
    } else if reserved {
        "kubernetes.io and openshift.io are reserved"
    } else if key.to_ascii_lowercase().starts_with(SYSTEM_PREFIX) {
        "aws: is reserved"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// The whole set to write so that a bucket with `existing` tags has the `wanted` ones too. Tags of others stay, those of
/// AWS as they are; none is ever taken away. Tags of the platform for which there is no room are left out
/// ([`left_out`]). `None` where nothing is to be written.
pub fn merge(existing: &[Tag], wanted: &[Tag]) -> Option<Vec<Tag>> {
    let merged = fit(existing, wanted).0;
    (merged != existing).then_some(merged)
}

/// Keys of `wanted` tags for which a bucket with `existing` ones has no room.
pub fn left_out(existing: &[Tag], wanted: &[Tag]) -> Vec<String> {
    fit(existing, wanted).1
}

/// Like [`merge`], for the ownership mark alone. Not for a bucket that carries another cluster's ([`Owner::Other`]).
pub fn mark(existing: &[Tag], infrastructure_name: &str) -> Option<Vec<Tag>> {
    merge(existing, &own(infrastructure_name))
}

/// The merged set, and the keys for which there is no room. Our own two always go in: the store then says what is wrong.
fn fit(existing: &[Tag], wanted: &[Tag]) -> (Vec<Tag>, Vec<String>) {
    let mut merged = existing.to_vec();
    let mut left_out = Vec::new();
    let (own, others): (Vec<&Tag>, Vec<&Tag>) = wanted.iter().partition(|tag| tag.is_ours());
    for tag in own.into_iter().chain(others) {
        if tag.is_system() {
            continue;
        }
        let taken = merged.iter().filter(|tag| !tag.is_system()).count();
        if let Some(same) = merged.iter_mut().find(|other| other.key == tag.key) {
            same.value.clone_from(&tag.value);
        } else if tag.is_ours() || taken < AT_MOST {
            merged.push(tag.clone());
        } else {
            left_out.push(tag.key.clone());
        }
    }
    (merged, left_out)
}

#[cfg(test)]
mod tests;
