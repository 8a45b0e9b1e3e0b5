//! What a write changed, as paths for the log and for events. Values are never printed: some of them are secrets.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::names;

/// How many paths are printed.
const MAX_PATHS: usize = 10;
/// Fields of the metadata that the API server maintains.
const SERVER_FIELDS: [&str; 5] = [
    "resourceVersion",
    "generation",
    "managedFields",
    "uid",
    "creationTimestamp",
];
/// Annotations that are computed from the rest of the object.
const DERIVED: [&str; 2] = [names::CHECKSUM_ANNOTATION, names::SPEC_HASH_ANNOTATION];

/// Paths at which two versions of an object differ. Fields that the API server maintains do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes(Vec<String>);

impl Changes {
    /// Changes outside the status.
    pub(super) fn of_object(before: &Value, after: &Value) -> Self {
        let mut found = Self::default();
        let (mut before, mut after) = (before.clone(), after.clone());
        for object in [&mut before, &mut after] {
            if let Some(members) = object.as_object_mut() {
                members.retain(|member, _| !matches!(member.as_str(), "apiVersion" | "kind" | "status"));
            }
            if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
                metadata.retain(|member, _| !SERVER_FIELDS.contains(&member.as_str()));
                if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                    annotations.retain(|key, _| !DERIVED.contains(&key.as_str()));
                }
            }
        }
        found.compare("", Some(&before), Some(&after));
        found
    }

    /// Changes of the status without its conditions, which have log lines of their own.
    pub(super) fn of_status(before: &Value, after: &Value) -> Self {
        let mut found = Self::default();
        let status = |object: &Value| {
            let mut status = object.get("status").cloned().unwrap_or_default();
            if let Some(members) = status.as_object_mut() {
                members.remove("conditions");
            }
            status
        };
        found.compare("status", Some(&status(before)), Some(&status(after)));
        found
    }

    /// Whether no path differs.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn compare(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        match (before, after) {
            (before, after) if before == after => {}
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                let new = after.keys().filter(|member| !before.contains_key(*member));
                for member in before.keys().chain(new) {
                    self.compare(&within(path, member), before.get(member), after.get(member));
                }
            }
            (Some(Value::Array(before)), Some(Value::Array(after))) => self.compare_lists(path, before, after),
            _ => self.0.push(path.to_owned()),
        }
    }

    fn compare_lists(&mut self, path: &str, before: &[Value], after: &[Value]) {
        let known = self.0.len();
        if let (Some(before), Some(after)) = (by_key(before), by_key(after)) {
            let new = after.keys().filter(|name| !before.contains_key(*name));
            for name in before.keys().chain(new) {
                let item = format!("{path}[{name}]");
                self.compare(&item, before.get(name).copied(), after.get(name).copied());
            }
        } else if before.len() == after.len() {
            for (number, (before, after)) in before.iter().zip(after).enumerate() {
                self.compare(&format!("{path}[{number}]"), Some(before), Some(after));
            }
        }
        if self.0.len() == known {
            self.0.push(path.to_owned()); // another order or another length
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("only derived fields");
        }
        let printed = self.0.len().min(MAX_PATHS);
        f.write_str(&self.0[..printed].join(", "))?;
        match self.0.len() - printed {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

fn within(path: &str, member: &str) -> String {
    if member.contains(['.', '/']) {
        format!("{path}[{member}]")
    } else if path.is_empty() {
        member.to_owned()
    } else {
        format!("{path}.{member}")
    }
}

/// The items of a list by their `name`, or else by their `type`.
fn by_key(items: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    ["name", "type"].iter().find_map(|key| {
        let all: BTreeMap<_, _> = items
            .iter()
            .filter_map(|item| Some((item.get(key)?.as_str()?, item)))
            .collect();
        (all.len() == items.len()).then_some(all)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(secret: &str, replicas: i64) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d", "uid": "u", "resourceVersion": replicas.to_string(), "generation": replicas,
                         "annotations": {names::CHECKSUM_ANNOTATION: secret, "a.b/c": secret}},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [
                {"name": "first", "env": [{"name": "FLAG", "value": "1"}]},
                {"name": "registry", "env": [{"name": "SECRET", "value": secret}, {"name": "FLAG", "value": "1"}]},
            ]}}},
            "status": {"replicas": replicas}})
    }

    // lifecycle 128: the text about changes
    #[test]
    fn paths_are_printed_and_values_are_not() {
        let text = Changes::of_object(&deployment("5ecret-old", 1), &deployment("5ecret-new", 2)).to_string();
        assert_eq!(
            text,
            "metadata.annotations[a.b/c], spec.replicas, spec.template.spec.containers[registry].env[SECRET].value"
        );
        let secret =
            |value: &str| json!({"kind": "Secret", "data": {"tls.key": value, "user": value}, "type": "Opaque"});
        let text = Changes::of_object(&secret("5ecret-old"), &secret("5ecret-new")).to_string();
        assert_eq!(text, "data[tls.key], data.user");
        let text = Changes::of_object(&json!({}), &secret("5ecret-new")).to_string();
        assert_eq!(text, "data, type");
    }

    #[test]
    fn fields_of_the_api_server_are_no_change() {
        let mut written = deployment("x", 1);
        written["metadata"]["resourceVersion"] = json!("9");
        written["metadata"]["generation"] = json!(9);
        written["metadata"]["managedFields"] = json!([{"manager": "x"}]);
        written["metadata"]["annotations"][names::CHECKSUM_ANNOTATION] = json!("y");
        written["status"] = json!({"replicas": 5});
        assert_eq!(Changes::of_object(&deployment("x", 1), &written), Changes::default());
        assert_eq!(
            Changes::of_status(&deployment("x", 1), &written).to_string(),
            "status.replicas"
        );
        let before = json!({"status": {"conditions": [{"type": "A", "status": "True"}]}});
        let after = json!({"status": {"conditions": [{"type": "A", "status": "False"}]}});
        assert_eq!(Changes::of_status(&before, &after), Changes::default());
    }

    #[test]
    fn items_of_a_list_are_compared_by_key_or_by_index_or_as_a_whole() {
        let of = |before: Value, after: Value| Changes::of_object(&before, &after).to_string();
        let conditions = |first: &str, second: &str| json!({"l": [{"type": first, "status": "True"}, {"type": second, "status": "False"}]});
        assert_eq!(of(conditions("A", "B"), conditions("A", "C")), "l[B], l[C]");
        assert_eq!(
            of(conditions("A", "B"), conditions("B", "A")),
            "l[A].status, l[B].status"
        );
        assert_eq!(of(json!({"l": [1, 2]}), json!({"l": [1, 3]})), "l[1]");
        assert_eq!(of(json!({"l": [1, 2]}), json!({"l": [1]})), "l");
        let (one, other) = (json!({"name": "a"}), json!({"name": "b"}));
        assert_eq!(of(json!({"l": [one, other]}), json!({"l": [other, one]})), "l");
    }

    #[test]
    fn a_long_list_of_paths_is_cut() {
        let many: serde_json::Map<_, _> = (10..40).map(|n| (format!("m{n}"), json!(n))).collect();
        let text = Changes::of_object(&json!({}), &Value::Object(many)).to_string();
        assert!(
            text.starts_with("m10, m11,") && text.ends_with(", m19 and 20 more"),
            "{text}"
        );
    }
}
