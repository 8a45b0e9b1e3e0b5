use super::*;
use crate::api::{ConfigStatus, Kind};
use crate::names;
use crate::status::conditions::Status;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn next(condition_updates: &[ConditionUpdate]) -> Next<'_> {
    Next {
        generation: 7,
        ready_replicas: 0,
        generations: &[],
        storage: None,
        storage_managed: None,
        condition_updates,
        drop: &[],
        now: at(0),
    }
}

fn condition_updates() -> Vec<ConditionUpdate> {
    vec![
        ConditionUpdate::new("Available", Status::False, "R", "m"),
        ConditionUpdate::new("Degraded", Status::False, "", ""),
    ]
}

fn deployment() -> ObjectRef {
    ObjectRef::new(Kind::Deployment, names::NAMESPACE, names::REGISTRY)
}

/// Applies a JSON merge patch (RFC 7386), as the API server does.
fn apply(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in members {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            apply(&mut target[name], value);
        }
    }
}

fn written(stored: &Value, next: &Value) -> Value {
    let mut object = json!({"status": stored});
    apply(&mut object, &merge_patch(stored, next));
    object["status"].take()
}

// lifecycle 85
// api 20: the patch
#[test]
fn every_patch_contains_the_required_fields() {
    for stored in [Value::Null, json!({}), json!({"conditions": []})] {
        let status = next_status(&stored, &next(&condition_updates()));
        assert!(differs(&stored, &status));
        let patch = merge_patch(&stored, &status);
        assert_eq!(patch["status"]["storage"], json!({}));
        assert_eq!(patch["status"]["storageManaged"], json!(false));
        assert_eq!(patch["status"]["observedGeneration"], json!(7));
    }
    // Later patches contain them too.
    let stored = json!({"storage": {"s3": {"bucket": "b"}}, "storageManaged": true});
    let status = next_status(&stored, &next(&condition_updates()));
    let patch = merge_patch(&stored, &status);
    assert_eq!(patch["status"]["storage"], json!({}));
    assert_eq!(patch["status"]["storageManaged"], json!(true));
    assert_eq!(written(&stored, &status)["storage"], stored["storage"]);
}

#[test]
fn an_unchanged_status_is_not_written_again() {
    let storage = Storage {
        empty_dir: Some(crate::api::registry_config::EmptyDirStorage {}),
        ..Storage::default()
    };
    let condition_updates = condition_updates();
    let generations = [(deployment(), 4)];
    let input = Next {
        storage: Some(&storage),
        storage_managed: Some(true),
        generations: &generations,
        ready_replicas: 2,
        ..next(&condition_updates)
    };
    let first = written(&Value::Null, &next_status(&Value::Null, &input));
    let second = next_status(&first, &Next { now: at(500), ..input });
    assert!(!differs(&first, &second), "{first} {second}");
    let decoded: ConfigStatus = serde_json::from_value(first).unwrap();
    assert_eq!(decoded.ready_replicas, Some(2));
    assert_eq!(
        decoded.conditions.unwrap()[0].last_transition_time.as_deref(),
        Some("2027-01-15T08:00:00Z")
    );
}

// lifecycle 40: the generation is told although nothing was applied
#[test]
fn a_change_of_any_field_is_written() {
    let condition_updates = condition_updates();
    let base = next(&condition_updates);
    let stored = next_status(&Value::Null, &base);
    let s3 = serde_json::from_value(json!({"s3": {}})).unwrap();
    let other = [ConditionUpdate::new("Degraded", Status::False, "New", "")];
    let generations = [(deployment(), 1)];
    for changed in [
        Next {
            generation: 8,
            ..base.clone()
        },
        Next {
            ready_replicas: 1,
            ..base.clone()
        },
        Next {
            storage: Some(&s3),
            ..base.clone()
        },
        Next {
            storage_managed: Some(true),
            ..base.clone()
        },
        Next {
            condition_updates: &other,
            ..base.clone()
        },
        Next {
            generations: &generations,
            ..base.clone()
        },
        Next {
            drop: &["Available"],
            ..base.clone()
        },
    ] {
        let status = next_status(&stored, &changed);
        assert!(differs(&stored, &status), "{changed:?}");
        let written = written(&stored, &status);
        assert_eq!(written, status, "{changed:?}");
    }
}

#[test]
fn absent_fields_equal_zero_values_and_defaults_of_the_api_server() {
    for (old, new, expected) in [
        (json!({"readyReplicas": 0, "version": ""}), json!({}), false),
        (json!({"storage": {"s3": {}}}), json!({"storage": {}}), true),
        (
            json!({"storage": {"s3": {}}}),
            json!({"storage": {"emptyDir": {}}}),
            true,
        ),
        (
            json!({"storage": {"managementState": "Managed"}}),
            json!({"storage": {}}),
            true,
        ),
        // api 9: what the API server puts into `azure` unasked
        (
            json!({"storage": {"azure": {"networkAccess": {"type": "External"}}}}),
            json!({"storage": {"azure": {}}}),
            false,
        ),
        (
            json!({"storage": {"azure": {"networkAccess": {"type": "Internal"}}}}),
            json!({"storage": {"azure": {}}}),
            true,
        ),
        (
            json!({"storage": {"s3": {"cloudFront": {"duration": "90s", "baseURL": "u"}}}}),
            json!({"storage": {"s3": {"cloudFront": {"duration": "1m30s", "baseURL": "u"}}}}),
            false,
        ),
        (
            json!({"generations": [{"name": "a", "hash": ""}]}),
            json!({"generations": [{"name": "a", "group": ""}]}),
            false,
        ),
        (
            json!({"generations": [{"name": "a"}]}),
            json!({"generations": [{"name": "b"}]}),
            true,
        ),
        (
            json!({"conditions": [{"type": "A", "reason": ""}]}),
            json!({"conditions": [{"type": "A"}]}),
            false,
        ),
        (
            json!({"conditions": [{"type": "A"}, {"type": "B"}]}),
            json!({"conditions": [{"type": "A"}]}),
            true,
        ),
        (json!({"storageManaged": false}), json!({"storageManaged": true}), true),
        (Value::Null, json!({"storage": {}, "storageManaged": false}), false),
    ] {
        assert_eq!(differs(&old, &new), expected, "{old} {new}");
        assert_eq!(differs(&new, &old), expected, "{new} {old}");
    }
}

// api 23: for the status
#[test]
fn equal_storage_keeps_the_spelling_of_the_go_operator() {
    let stored = json!({
        "storage": {"managementState": "Managed", "s3": {
            "bucket": "b", "virtualHostedStyle": false, "encrypt": true, "trustedCA": {"name": ""},
        }},
        "storageManaged": true,
    });
    let storage = serde_json::from_value(json!({"managementState": "Managed", "s3": {"bucket": "b", "encrypt": true}}));
    let storage: Storage = storage.unwrap();
    let status = next_status(
        &stored,
        &Next {
            storage: Some(&storage),
            ..next(&[])
        },
    );
    assert_eq!(status["storage"], stored["storage"]);
    let other: Storage = serde_json::from_value(json!({"emptyDir": {}})).unwrap();
    let status = next_status(
        &stored,
        &Next {
            storage: Some(&other),
            ..next(&[])
        },
    );
    assert_eq!(
        merge_patch(&stored, &status)["status"]["storage"],
        json!({"managementState": null, "s3": null, "emptyDir": {}})
    );
    assert_eq!(
        written(&stored, &status)["storage"],
        json!({"emptyDir": {}}),
        "replaced completely"
    );
    let empty = Storage::default();
    let status = next_status(
        &stored,
        &Next {
            storage: Some(&empty),
            ..next(&[])
        },
    );
    assert_eq!(written(&stored, &status)["storage"], json!({}), "empty after a removal");
    assert_eq!(written(&stored, &status)["storageManaged"], json!(true), "unchanged");
}

// api 24: for the status
#[test]
fn a_removed_setting_is_null_in_the_patch() {
    let stored = json!({"storage": {"pvc": {"claim": "c"}}, "storageManaged": true});
    let storage: Storage = serde_json::from_value(json!({"pvc": {}})).unwrap();
    let status = next_status(
        &stored,
        &Next {
            storage: Some(&storage),
            ..next(&[])
        },
    );
    assert_eq!(
        merge_patch(&stored, &status)["status"]["storage"],
        json!({"pvc": {"claim": null}})
    );
    assert_eq!(written(&stored, &status)["storage"], json!({"pvc": {}}));
}

// api 27: `generations`
#[test]
fn generations_are_replaced_by_key_and_empty_keys_are_written() {
    let stored = json!({"generations": [
        {"group": "apps", "resource": "daemonsets", "namespace": names::NAMESPACE, "name": "node-ca", "lastGeneration": 2},
        {"group": "apps", "resource": "deployments", "namespace": names::NAMESPACE, "name": names::REGISTRY,
         "lastGeneration": 3, "hash": "kept", "future": {"a": 1}},
        {"resource": "services", "name": "old"},
    ]});
    let service = ObjectRef {
        kind: Kind::Service,
        namespace: String::new(),
        name: "old".to_owned(),
    };
    let fresh = ObjectRef::new(Kind::Namespace, "", "n");
    let generations = [(deployment(), 9), (service, 1), (fresh, 5)];
    let status = next_status(
        &stored,
        &Next {
            generations: &generations,
            ..next(&[])
        },
    );
    let entries = status["generations"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    assert_eq!(entries[0], stored["generations"][0]);
    assert_eq!(entries[1]["lastGeneration"], json!(9));
    assert_eq!(
        (&entries[1]["hash"], &entries[1]["future"]),
        (&json!("kept"), &json!({"a": 1}))
    );
    assert_eq!(
        (&entries[2]["group"], &entries[2]["namespace"]),
        (&json!(""), &json!(""))
    );
    let complete =
        json!({"group": "", "resource": "namespaces", "namespace": "", "name": "n", "lastGeneration": 5, "hash": ""});
    assert_eq!(entries[3], complete);
    let decoded: ConfigStatus = serde_json::from_value(status).unwrap();
    let decoded = decoded.generations.unwrap();
    assert_eq!(recorded_generation(&decoded, &deployment()), 9);
    assert_eq!(
        recorded_generation(&decoded, &ObjectRef::new(Kind::DaemonSet, names::NAMESPACE, "other")),
        -1
    );
}

// api 26
#[test]
fn unknown_fields_stay() {
    let stored = json!({
        "version": "1", "latestAvailableRevision": 4, "future": {"x": [1]}, "storage": {}, "storageManaged": false,
        "conditions": [
            {"type": "Foreign", "status": "True", "observedGeneration": 3},
            {"type": "Available", "status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z", "future": 1},
            {"status": "odd"},
            {"type": "Odd", "status": 5},
        ],
    });
    let condition_updates = condition_updates();
    let status = next_status(&stored, &next(&condition_updates));
    let written = written(&stored, &status);
    for member in ["version", "latestAvailableRevision", "future"] {
        assert_eq!(written[member], stored[member]);
    }
    let conditions = written["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 5);
    for index in [0, 2, 3] {
        assert_eq!(conditions[index], stored["conditions"][index]);
    }
    assert_eq!(conditions[1]["future"], json!(1));
    assert_eq!(conditions[1]["reason"], json!("R"));
    assert_eq!(conditions[1]["lastTransitionTime"], json!("2020-01-01T00:00:00Z"));
    assert_eq!(conditions[4]["type"], json!("Degraded"));
}

// lifecycle 94: the conditions
#[test]
fn leftover_conditions_are_removed() {
    let stored = json!({"conditions": [
        {"type": "AzurePathFixProgressing", "status": "False"},
        {"type": "StorageTagged", "status": "True"},
        {"type": "AzurePathFixControllerDegraded", "status": "False"},
        {"type": "StorageExists", "status": "True"},
    ]});
    let drop: Vec<_> = conditions::AZURE_PATH_FIX
        .iter()
        .copied()
        .chain(["StorageTagged"])
        .collect();
    let status = next_status(
        &stored,
        &Next {
            drop: &drop,
            ..next(&[])
        },
    );
    assert_eq!(
        status["conditions"],
        json!([{"type": "StorageExists", "status": "True"}])
    );
    let untouched = next_status(&stored, &next(&[]));
    assert_eq!(untouched["conditions"], stored["conditions"]);
}
