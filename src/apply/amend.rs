//! Changes of an object whose status others write all the time.
//!
//! An update with a resourceVersion fails whenever the status moved since the object was seen, and during a rollout that is
//! several times a second. A change of the spec counts in `metadata.generation`, and the status does not: a patch that tests
//! it fails exactly when somebody changed what it is about. Labels and annotations do not count there either; they are
//! changed one by one, so that those of others stay.

use serde_json::{Value, json};

/// The operations of a JSON patch from `live` to `wanted`, after tests that nobody changed the spec since `live` was seen.
/// The status is left out.
pub fn operations(live: &Value, wanted: &Value) -> Vec<Value> {
    let mut operations: Vec<Value> = ["/metadata/uid", "/metadata/generation"]
        .into_iter()
        .filter_map(|path| Some(json!({"op": "test", "path": path, "value": live.pointer(path)?})))
        .collect();
    differences("", live, wanted, &mut operations);
    operations
}

fn differences(path: &str, live: &Value, wanted: &Value, operations: &mut Vec<Value>) {
    let (Value::Object(old), Value::Object(new)) = (live, wanted) else {
        if live != wanted {
            // Lists in the metadata are shared with others.
            if path.starts_with("/metadata/") && live.is_array() {
                operations.push(json!({"op": "test", "path": path, "value": live}));
            }
            operations.push(json!({"op": "replace", "path": path, "value": wanted}));
        }
        return;
    };
    let at = |member: &str| format!("{path}/{}", member.replace('~', "~0").replace('/', "~1"));
    let left_out = |member: &str| path.is_empty() && member == "status";
    for member in old
        .keys()
        .filter(|member| !left_out(member) && !new.contains_key(*member))
    {
        operations.push(json!({"op": "remove", "path": at(member)}));
    }
    for (member, value) in new.iter().filter(|(member, _)| !left_out(member)) {
        match old.get(member) {
            Some(before) => differences(&at(member), before, value, operations),
            None => operations.push(json!({"op": "add", "path": at(member), "value": value})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_tests_the_generation_and_names_only_what_differs() {
        let live = json!({
            "metadata": {"uid": "u", "generation": 7, "resourceVersion": "9", "annotations": {"a/b": "1", "old": "x", "theirs": "t"}},
            "spec": {"replicas": 1, "template": {"containers": [{"name": "c"}]}, "defaulted": 5},
            "status": {"replicas": 1},
        });
        let wanted = json!({
            "metadata": {"uid": "u", "generation": 7, "resourceVersion": "9", "annotations": {"a/b": "2", "theirs": "t"}, "labels": {"l": "1"}},
            "spec": {"replicas": 2, "template": {"containers": [{"name": "d"}]}},
        });
        let expected = json!([
            {"op": "test", "path": "/metadata/uid", "value": "u"},
            {"op": "test", "path": "/metadata/generation", "value": 7},
            {"op": "remove", "path": "/metadata/annotations/old"},
            {"op": "replace", "path": "/metadata/annotations/a~1b", "value": "2"},
            {"op": "add", "path": "/metadata/labels", "value": {"l": "1"}},
            {"op": "remove", "path": "/spec/defaulted"},
            {"op": "replace", "path": "/spec/replicas", "value": 2},
            {"op": "replace", "path": "/spec/template/containers", "value": [{"name": "d"}]},
        ]);
        assert_eq!(Value::from(operations(&live, &wanted)), expected);
    }

    #[test]
    fn a_list_in_the_metadata_is_replaced_only_if_it_is_as_it_was_seen() {
        let owners = |owners: &[&str]| json!({"metadata": {"ownerReferences": owners}});
        let expected = json!([
            {"op": "test", "path": "/metadata/ownerReferences", "value": ["a"]},
            {"op": "replace", "path": "/metadata/ownerReferences", "value": ["a", "b"]},
        ]);
        assert_eq!(Value::from(operations(&owners(&["a"]), &owners(&["a", "b"]))), expected);
    }
}
