//! PURE: the Resource Manager tags that the platform requests for a bucket.

use super::labels;
use crate::config::snapshot::Snapshot;

/// Largest number of tags of a resource.
pub const AT_MOST: usize = 50;

/// Namespaced names (`parent/key/value`) of the tag values that the Infrastructure requests
/// (`platformStatus.gcp.resourceTags`), in order, each once.
pub fn of_platform(snapshot: &Snapshot) -> Vec<String> {
    let tags = labels::platform(snapshot).resource_tags.unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for tag in tags {
        let parts = [tag.parent_id, tag.key, tag.value].map(Option::unwrap_or_default);
        let name = parts.join("/");
        if parts.iter().all(|part| !part.is_empty()) && !names.contains(&name) {
            names.push(name);
        }
    }
    names.truncate(AT_MOST);
    names
}

/// The `wanted` tags that are not among the `existing` ones.
pub fn missing(wanted: &[String], existing: &[String]) -> Vec<String> {
    wanted.iter().filter(|name| !existing.contains(name)).cloned().collect()
}

/// Full resource name of a bucket. The project is always `_`.
pub fn parent(bucket: &str) -> String {
    format!("//storage.googleapis.com/projects/_/buckets/{bucket}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::snapshot::Objects;

    fn cluster(platform: &serde_json::Value) -> Snapshot {
        let infrastructure = json!({
            "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
            "status": {"infrastructureName": "blue-1", "platformStatus": platform},
        });
        Snapshot {
            objects: Objects::from_values([infrastructure]).unwrap(),
            ..Snapshot::empty()
        }
    }

    // storage-gcs 25, 26
    #[test]
    fn tags_are_named_by_parent_key_and_value_and_existing_ones_are_left_out() {
        let tag = |parent: &str, key: &str, value: &str| json!({"parentID": parent, "key": key, "value": value});
        let tags =
            json!([tag("123", "team", "blue"), tag("proj-1", "env", "prod"), tag("123", "team", "blue"), {"key": "x"}]);
        let snapshot = cluster(&json!({"type": "GCP", "gcp": {"resourceTags": tags}}));
        let wanted = of_platform(&snapshot);
        assert_eq!(wanted, ["123/team/blue", "proj-1/env/prod"]);
        assert_eq!(
            missing(&wanted, &["123/team/blue".to_owned(), "9/a/b".to_owned()]),
            ["proj-1/env/prod"]
        );
        let elsewhere = cluster(&json!({"type": "AWS", "gcp": {"resourceTags": tags}}));
        assert_eq!(of_platform(&elsewhere), [""; 0]);
        let many: Vec<_> = (0..60).map(|n| tag("1", "k", &n.to_string())).collect();
        assert_eq!(
            of_platform(&cluster(&json!({"type": "GCP", "gcp": {"resourceTags": many}}))).len(),
            AT_MOST
        );
        assert_eq!(of_platform(&cluster(&json!({"type": "GCP"}))), [""; 0]);
    }
}
