//! JSON patches with preconditions: `test` operations on the object's generation or spec, or on the status fields that a
//! patch writes. A concurrent change elsewhere in the object (its status, labels of others, its spec) is no conflict and
//! stays.

use serde_json::{Map, Value, json};

/// A patch from `seen` to `wanted` that fails if the spec has changed. `None` if more differs than spec, labels and
/// annotations: then the caller replaces the object.
pub(super) fn update(seen: &Value, wanted: &Value) -> Option<Vec<Value>> {
    let mut patch = vec![identity(seen)];
    // The API server increments the generation with each change of the spec. Not every API has a generation.
    let generation = seen
        .pointer("/metadata/generation")
        .filter(|g| g.as_i64().is_some_and(|g| g > 0));
    let (path, expected) = match generation {
        Some(generation) => ("/metadata/generation", generation),
        None => ("/spec", seen.get("spec")?),
    };
    patch.push(test(path, expected));
    let (seen, wanted) = (seen.as_object()?, wanted.as_object()?);
    for member in seen
        .keys()
        .chain(wanted.keys().filter(|member| !seen.contains_key(*member)))
    {
        match member.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => patch.extend(metadata(seen.get(member)?, wanted.get(member)?)?),
            _ if seen.get(member) == wanted.get(member) => {}
            "spec" => patch.push(add("/spec", wanted.get(member)?)),
            _ => return None,
        }
    }
    Some(patch)
}

/// Converts a merge patch of the status (`{"status": {...}}`) to a JSON patch that fails if one of its fields differs from
/// `seen`.
pub(super) fn status(seen: &Value, merge: &Value) -> Vec<Value> {
    let mut patch = vec![identity(seen)];
    let stored = seen.get("status").and_then(Value::as_object);
    if stored.is_none() {
        patch.extend(version(seen.get("metadata")));
        patch.push(add("/status", &json!({})));
    }
    let touched = merge.get("status").and_then(Value::as_object);
    for (member, change) in touched.into_iter().flatten() {
        let path = format!("/status/{}", escaped(member));
        let before = stored.and_then(|stored| stored.get(member));
        let after = merged(before, change);
        if before == Some(&after) || before.is_none() && after.is_null() {
            continue;
        }
        patch.extend(before.map(|before| test(&path, before)));
        patch.push(if after.is_null() {
            remove(&path)
        } else {
            add(&path, &after)
        });
    }
    patch
}

/// Removes one finalizer, and nothing else: a list of all that shall stay would bring back what others removed meanwhile.
/// `None` if `seen` does not have it.
pub(super) fn without_finalizer(seen: &Value, finalizer: &str) -> Option<Vec<Value>> {
    let all = seen.pointer("/metadata/finalizers")?.as_array()?;
    let path = format!(
        "/metadata/finalizers/{}",
        all.iter().position(|entry| entry == finalizer)?
    );
    Some(vec![identity(seen), test(&path, &json!(finalizer)), remove(&path)])
}

/// Whether a precondition of the patch does not hold in `live`, which is then the reason of its refusal: a test fails, or the map to
/// which a step adds a key is gone. Each removal follows a test of the same path.
pub(super) fn is_outdated(patch: &[Value], live: &Value) -> bool {
    fn text<'a>(step: &'a Value, member: &str) -> &'a str {
        step.get(member).and_then(Value::as_str).unwrap_or_default()
    }
    patch.iter().enumerate().any(|(index, step)| {
        let path = text(step, "path");
        match text(step, "op") {
            "test" => live.pointer(path) != step.get("value"),
            "add" => {
                let map = path.rsplit_once('/').map_or("", |(map, _)| map);
                let mut before = patch.iter().take(index);
                live.pointer(map).is_none() && !before.any(|step| text(step, "path") == map)
            }
            _ => false,
        }
    })
}

/// Escapes a patch as the API server escapes stored JSON. A `test` operation compares the escaped text, so `<` does not equal
/// `\u003c`. These characters occur only inside JSON strings.
pub(super) fn as_stored(patch: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(patch);
    let replaced = [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ];
    let written = |c: char| {
        replaced
            .iter()
            .find(|(plain, _)| *plain == c)
            .map(|(_, written)| *written)
    };
    let mut stored = String::with_capacity(text.len());
    for c in text.chars() {
        match written(c) {
            Some(written) => stored.push_str(written),
            None => stored.push(c),
        }
    }
    stored.into_bytes()
}

/// The precondition that the object was not deleted and created again.
fn identity(seen: &Value) -> Value {
    test("/metadata/uid", seen.pointer("/metadata/uid").unwrap_or(&Value::Null))
}

/// The precondition that nothing of the object has changed, where JSON patch cannot test less: that a field is absent.
fn version(metadata: Option<&Value>) -> Option<Value> {
    let version = metadata?.get("resourceVersion")?;
    Some(test("/metadata/resourceVersion", version))
}

/// Operations for labels and annotations, one for each changed key, so that those of others stay. A test of the value that was seen goes
/// before each of them, so that a change by somebody else is a conflict. `None` if any other field of the metadata differs, except
/// managedFields, which the API server maintains.
fn metadata(seen: &Value, wanted: &Value) -> Option<Vec<Value>> {
    const MAPS: [&str; 2] = ["labels", "annotations"];
    const MANAGED_FIELDS: &str = "managedFields";
    let mut patch = Vec::new();
    let version = version(Some(seen));
    let (seen, wanted) = (seen.as_object()?, wanted.as_object()?);
    let members = seen.keys().chain(wanted.keys());
    if members
        .filter(|m| *m != MANAGED_FIELDS && !MAPS.contains(&m.as_str()))
        .any(|member| seen.get(member) != wanted.get(member))
    {
        return None;
    }
    for name in MAPS {
        let nothing = Map::new();
        let of = |metadata: &Map<String, Value>| metadata.get(name).and_then(Value::as_object).cloned();
        let (before, after) = (of(seen).unwrap_or_default(), of(wanted).unwrap_or_default());
        if before.is_empty() && !after.is_empty() {
            // This step replaces a map that somebody has created meanwhile, and no test can exclude such a map.
            patch.extend(version.clone());
            patch.push(add(&format!("/metadata/{name}"), &Value::Object(nothing)));
        }
        for (key, value) in &after {
            if before.get(key) != Some(value) {
                let path = format!("/metadata/{name}/{}", escaped(key));
                patch.extend(before.get(key).map(|before| test(&path, before)));
                patch.push(add(&path, value));
            }
        }
        for (key, value) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
            let path = format!("/metadata/{name}/{}", escaped(key));
            patch.extend([test(&path, value), remove(&path)]);
        }
    }
    Some(patch)
}

/// The value after a merge patch.
fn merged(before: Option<&Value>, change: &Value) -> Value {
    let Value::Object(changes) = change else {
        return change.clone();
    };
    let mut members = before.and_then(Value::as_object).cloned().unwrap_or_default();
    for (member, change) in changes {
        if change.is_null() {
            members.remove(member);
        } else {
            let after = merged(members.get(member), change);
            members.insert(member.clone(), after);
        }
    }
    Value::Object(members)
}

fn test(path: &str, value: &Value) -> Value {
    json!({"op": "test", "path": path, "value": value})
}

fn add(path: &str, value: &Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

fn remove(path: &str) -> Value {
    json!({"op": "remove", "path": path})
}

/// A key, escaped for a JSON pointer.
fn escaped(member: &str) -> String {
    member.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d", "uid": "u", "resourceVersion": "7", "generation": 3, "labels": {"a": "b"},
                         "annotations": {"x/y": "1", "theirs": "2"}},
            "spec": {"replicas": 1}, "status": {"replicas": 1}})
    }

    #[test]
    fn text_is_escaped_as_the_server_stores_it() {
        let patch = json!([test("/status/x", &json!("<a> & \u{2028}\u{2029} ü \"q\""))]);
        let written = as_stored(patch.to_string().as_bytes());
        assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), patch);
        let written = String::from_utf8(written).unwrap();
        assert!(
            written.contains(r#""\u003ca\u003e \u0026 \u2028\u2029 ü \"q\"""#),
            "{written}"
        );
    }

    #[test]
    fn an_update_tests_the_generation_and_contains_only_changes() {
        let (mut read, mut wanted) = (seen(), seen());
        read["metadata"]["managedFields"] = json!([{"manager": "x"}]); // only live reads have them
        wanted["spec"]["replicas"] = json!(2);
        wanted["metadata"]["annotations"] = json!({"theirs": "2", "x/z": "3"});
        let expected = [
            json!({"op": "test", "path": "/metadata/uid", "value": "u"}),
            json!({"op": "test", "path": "/metadata/generation", "value": 3}),
            json!({"op": "add", "path": "/metadata/annotations/x~1z", "value": "3"}),
            json!({"op": "test", "path": "/metadata/annotations/x~1y", "value": "1"}),
            json!({"op": "remove", "path": "/metadata/annotations/x~1y"}),
            json!({"op": "add", "path": "/spec", "value": {"replicas": 2}}),
        ];
        let patch = update(&seen(), &wanted).unwrap();
        assert_eq!(patch, expected);
        assert_eq!(update(&read, &wanted).unwrap(), expected);
        let mut live = seen();
        live["status"]["replicas"] = json!(5);
        live["metadata"]["resourceVersion"] = json!("8");
        assert!(!is_outdated(&patch, &live), "a changed status is no conflict");
        live["metadata"]["generation"] = json!(4);
        assert!(is_outdated(&patch, &live));
        live = seen();
        live["metadata"]["annotations"] = json!({"theirs": "3", "x/y": "1"});
        assert!(!is_outdated(&patch, &live), "keys of others are no conflict");
        live["metadata"]["annotations"] = json!({"theirs": "2"});
        assert!(is_outdated(&patch, &live), "the key to remove is gone");
        // Without a key to test, the map that is gone tells.
        wanted["metadata"]["annotations"] = json!({"theirs": "2", "x/y": "1", "x/z": "3"});
        let patch = update(&seen(), &wanted).unwrap();
        assert!(!is_outdated(&patch, &seen()));
        live["metadata"].as_object_mut().unwrap().remove("annotations");
        assert!(is_outdated(&patch, &live));
    }

    #[test]
    fn an_update_that_brings_a_map_tests_the_version_because_a_map_cannot_be_tested_to_be_absent() {
        for none in [Value::Null, json!({})] {
            let (mut seen, mut wanted) = (seen(), seen());
            seen["metadata"]["labels"] = none.clone();
            seen["metadata"]["annotations"] = none;
            wanted["metadata"]["annotations"] = json!({"x": "3"});
            wanted["metadata"]["labels"] = json!({"y": "4"});
            let patch = update(&seen, &wanted).unwrap();
            let expected = [
                json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"}),
                json!({"op": "add", "path": "/metadata/labels", "value": {}}),
                json!({"op": "add", "path": "/metadata/labels/y", "value": "4"}),
                json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"}),
                json!({"op": "add", "path": "/metadata/annotations", "value": {}}),
                json!({"op": "add", "path": "/metadata/annotations/x", "value": "3"}),
            ];
            assert_eq!(patch[2..], expected);
            assert!(!is_outdated(&patch, &seen));
        }
    }

    #[test]
    fn without_a_generation_an_update_tests_the_spec() {
        let mut seen = seen();
        seen["metadata"].as_object_mut().unwrap().remove("generation");
        let patch = update(&seen, &seen).unwrap();
        assert_eq!(
            patch[1],
            json!({"op": "test", "path": "/spec", "value": {"replicas": 1}})
        );
    }

    #[test]
    fn an_object_with_other_differences_is_replaced() {
        let mut wanted = seen();
        wanted["metadata"]["finalizers"] = json!(["f"]);
        assert_eq!(update(&seen(), &wanted), None);
        let role = json!({"metadata": {"name": "r", "uid": "u"}, "rules": []});
        assert_eq!(update(&role, &role), None, "no spec to test");
    }

    // lifecycle 115
    #[test]
    fn only_one_finalizer_is_removed_whatever_others_do_meanwhile() {
        let with =
            |finalizers: Value| json!({"metadata": {"uid": "u", "resourceVersion": "7", "finalizers": finalizers}});
        for (finalizers, path) in [
            (json!(["ours"]), "/metadata/finalizers/0"),
            (json!(["ours", "theirs"]), "/metadata/finalizers/0"),
            (json!(["theirs", "ours"]), "/metadata/finalizers/1"),
            (json!(["a", "b", "ours", "c"]), "/metadata/finalizers/2"),
        ] {
            let patch = without_finalizer(&with(finalizers.clone()), "ours").unwrap();
            let expected = [
                json!({"op": "test", "path": "/metadata/uid", "value": "u"}),
                json!({"op": "test", "path": path, "value": "ours"}),
                json!({"op": "remove", "path": path}),
            ];
            assert_eq!(patch, expected, "{finalizers}");
            assert!(!is_outdated(&patch, &with(finalizers)));
        }
        for absent in [json!([]), json!(["theirs"]), Value::Null] {
            assert_eq!(without_finalizer(&with(absent), "ours"), None);
        }
        // What changes elsewhere is no conflict; a list that has moved is one.
        let patch = without_finalizer(&with(json!(["theirs", "ours"])), "ours").unwrap();
        assert!(!is_outdated(&patch, &with(json!(["theirs", "ours", "added"]))));
        assert!(is_outdated(&patch, &with(json!(["ours"]))), "theirs is gone");
        assert!(is_outdated(&patch, &with(json!([]))));
    }

    #[test]
    fn a_status_patch_tests_the_fields_that_it_writes() {
        let seen = json!({"metadata": {"uid": "u"}, "status": {"kept": 1, "storage": {"a": {}, "b": {}}, "list": [1], "gone": 2}});
        let merge =
            json!({"status": {"storage": {"a": null, "c": {}}, "list": [2], "gone": null, "new": 3, "kept": 1}});
        let expected = [
            json!({"op": "test", "path": "/metadata/uid", "value": "u"}),
            json!({"op": "test", "path": "/status/gone", "value": 2}),
            json!({"op": "remove", "path": "/status/gone"}),
            json!({"op": "test", "path": "/status/list", "value": [1]}),
            json!({"op": "add", "path": "/status/list", "value": [2]}),
            json!({"op": "add", "path": "/status/new", "value": 3}),
            json!({"op": "test", "path": "/status/storage", "value": {"a": {}, "b": {}}}),
            json!({"op": "add", "path": "/status/storage", "value": {"b": {}, "c": {}}}),
        ];
        assert_eq!(status(&seen, &merge), expected);
        let first = status(
            &json!({"metadata": {"uid": "u"}}),
            &json!({"status": {"list": [1], "none": null}}),
        );
        assert_eq!(
            first[1..],
            [add("/status", &json!({})), add("/status/list", &json!([1]))]
        );
    }
}
