//! JSON patches that say what they count on: an object's own spec, or the members of its status that are written. What
//! others change meanwhile elsewhere in the object (its status, their labels, its spec) is then no conflict, and stays.

use serde_json::{Map, Value, json};

/// Turns `seen` into `wanted`, as long as nobody has changed its spec. `None` where more differs than the spec, labels and
/// annotations: such an object is replaced.
pub(super) fn update(seen: &Value, wanted: &Value) -> Option<Vec<Value>> {
    let mut patch = vec![identity(seen)];
    // What the API server counts changes of the spec by; not every API does.
    let generation = seen
        .pointer("/metadata/generation")
        .filter(|g| g.as_i64().is_some_and(|g| g > 0));
    let (path, counts_on) = match generation {
        Some(generation) => ("/metadata/generation", generation),
        None => ("/spec", seen.get("spec")?),
    };
    patch.push(test(path, counts_on));
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

/// Carries out a merge patch of the status (`{"status": {...}}`), as long as the members that it touches are those of
/// `seen`.
pub(super) fn status(seen: &Value, merge: &Value) -> Vec<Value> {
    let mut patch = vec![identity(seen)];
    let stored = seen.get("status").and_then(Value::as_object);
    if stored.is_none() {
        // There is no telling that a member is absent.
        patch.extend(
            seen.pointer("/metadata/resourceVersion")
                .map(|version| test("/metadata/resourceVersion", version)),
        );
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

/// Whether what the patch counts on is different in `live`: then it was refused for that.
pub(super) fn is_outdated(patch: &[Value], live: &Value) -> bool {
    let tests = patch.iter().filter(|step| step.get("op") == Some(&json!("test")));
    tests.into_iter().any(|step| {
        let path = step.get("path").and_then(Value::as_str).unwrap_or_default();
        live.pointer(path) != step.get("value")
    })
}

/// The text of a patch, written as the API server writes what it stores: it holds texts against each other as they are
/// written, and to it `<` is not `\u003c`. Outside of texts JSON has none of these characters.
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

/// Only this very object.
fn identity(seen: &Value) -> Value {
    test("/metadata/uid", seen.pointer("/metadata/uid").unwrap_or(&Value::Null))
}

/// Labels and annotations, one by one: those of others are not spoken of. `None` where anything else differs but who
/// manages which field, which the API server keeps up itself.
fn metadata(seen: &Value, wanted: &Value) -> Option<Vec<Value>> {
    const MAPS: [&str; 2] = ["labels", "annotations"];
    const KEPT_UP: &str = "managedFields";
    let mut patch = Vec::new();
    let (seen, wanted) = (seen.as_object()?, wanted.as_object()?);
    let members = seen.keys().chain(wanted.keys());
    if members
        .filter(|m| *m != KEPT_UP && !MAPS.contains(&m.as_str()))
        .any(|member| seen.get(member) != wanted.get(member))
    {
        return None;
    }
    for name in MAPS {
        let nothing = Map::new();
        let of = |metadata: &Map<String, Value>| metadata.get(name).and_then(Value::as_object).cloned();
        let (before, after) = (of(seen), of(wanted).unwrap_or_default());
        if before.is_none() && !after.is_empty() {
            patch.push(add(&format!("/metadata/{name}"), &Value::Object(nothing)));
        }
        let before = before.unwrap_or_default();
        for (key, value) in &after {
            if before.get(key) != Some(value) {
                patch.push(add(&format!("/metadata/{name}/{}", escaped(key)), value));
            }
        }
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            patch.push(remove(&format!("/metadata/{name}/{}", escaped(key))));
        }
    }
    Some(patch)
}

/// What a merge patch makes of a value.
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

/// A member's name within a JSON pointer.
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
    fn text_is_written_as_the_server_stores_it() {
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
    fn an_update_counts_on_the_spec_and_names_only_what_it_changes() {
        let (mut read, mut wanted) = (seen(), seen());
        read["metadata"]["managedFields"] = json!([{"manager": "x"}]); // only what is read live has them
        wanted["spec"]["replicas"] = json!(2);
        wanted["metadata"]["annotations"] = json!({"theirs": "2", "x/z": "3"});
        let expected = [
            json!({"op": "test", "path": "/metadata/uid", "value": "u"}),
            json!({"op": "test", "path": "/metadata/generation", "value": 3}),
            json!({"op": "add", "path": "/metadata/annotations/x~1z", "value": "3"}),
            json!({"op": "remove", "path": "/metadata/annotations/x~1y"}),
            json!({"op": "add", "path": "/spec", "value": {"replicas": 2}}),
        ];
        let patch = update(&seen(), &wanted).unwrap();
        assert_eq!(patch, expected);
        assert_eq!(update(&read, &wanted).unwrap(), expected);
        let mut live = seen();
        live["status"]["replicas"] = json!(5);
        live["metadata"]["resourceVersion"] = json!("8");
        assert!(!is_outdated(&patch, &live), "a status is nobody's conflict");
        live["metadata"]["generation"] = json!(4);
        assert!(is_outdated(&patch, &live));
    }

    #[test]
    fn without_generation_the_spec_itself_is_counted_on() {
        let mut seen = seen();
        seen["metadata"].as_object_mut().unwrap().remove("generation");
        let patch = update(&seen, &seen).unwrap();
        assert_eq!(
            patch[1],
            json!({"op": "test", "path": "/spec", "value": {"replicas": 1}})
        );
    }

    #[test]
    fn objects_of_which_more_differs_are_replaced() {
        let mut wanted = seen();
        wanted["metadata"]["finalizers"] = json!(["f"]);
        assert_eq!(update(&seen(), &wanted), None);
        let role = json!({"metadata": {"name": "r", "uid": "u"}, "rules": []});
        assert_eq!(update(&role, &role), None, "no spec to count on");
    }

    #[test]
    fn a_status_counts_on_the_members_that_it_touches() {
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
