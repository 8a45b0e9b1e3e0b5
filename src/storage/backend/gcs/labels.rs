//! PURE: labels of a bucket: the ownership mark, and the labels that the platform requests.

use std::collections::BTreeMap;

use aws_lc_rs::digest;

use crate::api::openshift::GcpPlatform;
use crate::config::snapshot::Snapshot;
use crate::storage::model::container::Owner;

/// Labels of a bucket.
pub type Labels = BTreeMap<String, String>;

/// Prefix of the key that names a cluster. The installer deletes resources with this label when it destroys the cluster.
const CLUSTER_PREFIX: &str = "kubernetes-io-cluster-";
/// Value of that label for resources that are deleted with the cluster.
const OWNED: &str = "owned";
/// Longest key of a label.
const LONGEST: usize = 63;
/// Hexadecimal digits that keep changed names apart.
const DIGITS: usize = 10;

/// The label that marks the storage of this cluster.
pub fn mark(infrastructure_name: &str) -> (String, String) {
    (key(infrastructure_name), OWNED.to_owned())
}

/// Key of the mark. Names with other characters than a label may have, or more of them, are changed and get digits of
/// their digest, so that two clusters never have the same mark.
fn key(infrastructure_name: &str) -> String {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if infrastructure_name.chars().all(legal) && CLUSTER_PREFIX.len() + infrastructure_name.len() <= LONGEST {
        return format!("{CLUSTER_PREFIX}{infrastructure_name}");
    }
    let replaced = infrastructure_name.chars().map(|c| match c.to_ascii_lowercase() {
        c if legal(c) => c,
        _ => '-',
    });
    let kept: String = replaced.take(LONGEST - CLUSTER_PREFIX.len() - DIGITS - 1).collect();
    let digest = digest::digest(&digest::SHA256, infrastructure_name.as_bytes());
    let digits = digest
        .as_ref()
        .iter()
        .take(DIGITS / 2)
        .fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
    format!("{CLUSTER_PREFIX}{kept}-{digits}")
}

/// Owner of the bucket with these labels, from the view of the cluster with this name. A mark of another cluster has
/// precedence, with any value.
pub fn owner(labels: &Labels, infrastructure_name: &str) -> Owner {
    let (own, owned) = mark(infrastructure_name);
    let other = labels
        .keys()
        .find(|key| key.starts_with(CLUSTER_PREFIX) && **key != own);
    if let Some(other) = other {
        return Owner::Other(other.strip_prefix(CLUSTER_PREFIX).unwrap_or_default().to_owned());
    }
    match labels.get(&own) {
        // A cluster without a name cannot own a bucket.
        Some(value) if *value == owned && !infrastructure_name.is_empty() => Owner::Ours,
        _ => Owner::Nobody(format!("label {own}={owned} is missing")),
    }
}

/// Labels of a bucket that the operator creates: the mark, and the labels that the platform requests. The platform may
/// not request a label with the prefix of the mark.
pub fn wanted(infrastructure_name: &str, platform: &Labels) -> Labels {
    let mut wanted = platform.clone();
    wanted.extend([mark(infrastructure_name)]);
    wanted
}

/// Labels that the Infrastructure requests for all resources of the cluster (`platformStatus.gcp.resourceLabels`).
pub fn of_platform(snapshot: &Snapshot) -> Labels {
    let labels = platform(snapshot).resource_labels.unwrap_or_default();
    let labels = labels
        .into_iter()
        .filter_map(|label| Some((label.key?, label.value.unwrap_or_default())));
    labels.filter(|(key, _)| !key.is_empty()).collect()
}

/// Platform settings of Google Cloud; empty on another platform.
pub fn platform(snapshot: &Snapshot) -> GcpPlatform {
    let platform = snapshot.infrastructure().unwrap_or_default().platform_status;
    let platform = platform.filter(|platform| platform.type_.as_deref() == Some("GCP"));
    platform.and_then(|platform| platform.gcp).unwrap_or_default()
}

/// The `wanted` labels that a bucket with the `existing` labels lacks.
pub fn missing(existing: &Labels, wanted: &Labels) -> Labels {
    let lacks = |(key, value): &(&String, &String)| existing.get(*key) != Some(*value);
    wanted
        .iter()
        .filter(lacks)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    // storage-gcs 23, 24
    #[test]
    fn a_bucket_gets_the_mark_and_the_labels_of_the_platform() {
        let mark = ("kubernetes-io-cluster-blue-x7k2p", "owned");
        assert_eq!(wanted("blue-x7k2p", &Labels::new()), labels(&[mark]));
        let platform = labels(&[("k1", "v1"), ("k2", "v2")]);
        let expected = labels(&[("k1", "v1"), ("k2", "v2"), mark]);
        assert_eq!(wanted("blue-x7k2p", &platform), expected);
        // The prefix is reserved: without the mark the bucket would never be deleted.
        assert_eq!(wanted("blue-x7k2p", &labels(&[(mark.0, "shared")])), labels(&[mark]));
    }

    // storage-gcs section 7
    #[test]
    fn the_key_of_the_mark_is_always_a_valid_label_and_differs_between_clusters() {
        let x41 = "x".repeat(41);
        assert_eq!(key(&x41), format!("kubernetes-io-cluster-{x41}"));
        assert_eq!(key("a_b-1"), "kubernetes-io-cluster-a_b-1");
        let names = [
            "Blue",
            "blue",
            "blue.x",
            "blue-x",
            &"x".repeat(42),
            &"x".repeat(43),
            "blüe",
            "",
        ];
        let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
        for key in &keys {
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
            assert!(key.len() <= LONGEST && key.chars().all(legal), "{key}");
            assert_eq!(keys.iter().filter(|other| *other == key).count(), 1, "{key}");
        }
        assert_eq!(key("Blue"), key("Blue"));
    }

    // storage-decisions T2
    #[test]
    fn the_mark_proves_the_owner() {
        let ours = ("kubernetes-io-cluster-blue-1", "owned");
        let green = ("kubernetes-io-cluster-green-9", "shared");
        for (existing, expected) in [
            (vec![ours], Owner::Ours),
            (vec![ours, ("team", "x")], Owner::Ours),
            (vec![green], Owner::Other("green-9".to_owned())),
            (vec![ours, green], Owner::Other("green-9".to_owned())),
            (
                vec![],
                Owner::Nobody("label kubernetes-io-cluster-blue-1=owned is missing".to_owned()),
            ),
            (
                vec![(ours.0, "shared")],
                Owner::Nobody("label kubernetes-io-cluster-blue-1=owned is missing".to_owned()),
            ),
        ] {
            assert_eq!(owner(&labels(&existing), "blue-1"), expected, "{existing:?}");
        }
        let nameless = labels(&[("kubernetes-io-cluster-", "owned")]);
        assert!(matches!(owner(&nameless, ""), Owner::Nobody(_)));
    }

    #[test]
    fn labels_that_exist_are_not_asked_for_again() {
        let wanted = labels(&[("a", "1"), ("b", "2")]);
        assert_eq!(
            missing(&labels(&[("a", "1"), ("b", "3"), ("c", "4")]), &wanted),
            labels(&[("b", "2")])
        );
        assert_eq!(missing(&wanted, &wanted), Labels::new());
    }
}
