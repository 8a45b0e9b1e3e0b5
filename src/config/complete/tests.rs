use super::*;

fn config(metadata: &Value, spec: &Value) -> Config {
    let mut object = json!({
        "apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config",
        "metadata": {"name": "cluster"}, "spec": {"replicas": 1, "httpSecret": "there"},
    });
    for (part, given) in [("metadata", metadata), ("spec", spec)] {
        for (member, value) in given.as_object().unwrap() {
            object[part][member] = value.clone();
        }
    }
    serde_json::from_value(object).unwrap()
}

const OURS: &str = "imageregistry.operator.openshift.io/finalizer";

// lifecycle 39
#[test]
fn the_finalizer_is_added_where_the_registry_is_managed_and_others_are_kept() {
    for (state, added) in [
        (json!(null), true),
        (json!("Managed"), true),
        (json!("Force"), true),
        (json!("Unmanaged"), false),
        (json!("Removed"), false),
    ] {
        let found = completion(
            &config(&json!({"finalizers": ["other"]}), &json!({"managementState": state})),
            None,
            None,
        );
        let expected = if added {
            json!({"metadata": {"finalizers": ["other", OURS]}})
        } else {
            json!({})
        };
        assert_eq!(found, expected, "{state}");
    }
    let complete = config(&json!({"finalizers": [OURS]}), &json!({}));
    assert_eq!(
        completion(&complete, None, Some("fresh")),
        json!({}),
        "nothing is missing"
    );
}

// lifecycle 37: an empty one is replaced by what is given
// lifecycle 38
#[test]
fn an_upload_secret_is_stored_only_where_the_registry_is_managed_and_none_is_there() {
    let metadata = json!({"finalizers": [OURS]});
    for empty in [json!(""), json!(null)] {
        for state in ["Managed", "Force"] {
            let config = config(&metadata, &json!({"httpSecret": empty, "managementState": state}));
            assert_eq!(
                completion(&config, None, Some("fresh")),
                json!({"spec": {"httpSecret": "fresh"}})
            );
            assert_eq!(completion(&config, None, None), json!({}));
        }
        for state in ["Removed", "Unmanaged"] {
            let config = config(&metadata, &json!({"httpSecret": empty, "managementState": state}));
            assert_eq!(completion(&config, None, Some("fresh")), json!({}), "{state}");
        }
    }
}

// lifecycle 44: observedConfig, in every state
#[test]
fn observed_settings_replace_what_is_stored_as_a_whole() {
    let observed = ServingInfo {
        min_version: Some("VersionTLS12".to_owned()),
        cipher_suites: vec!["S".to_owned()],
    };
    let wanted = json!({"servingInfo": {"minTLSVersion": "VersionTLS12", "cipherSuites": ["S"]}});
    for state in ["Managed", "Unmanaged", "Removed"] {
        let stored = json!({"managementState": state, "observedConfig": {"old": 1, "servingInfo": {"x": 1, "cipherSuites": []}}});
        let patch = completion(&config(&json!({"finalizers": [OURS]}), &stored), Some(&observed), None);
        let info = json!({"x": null, "minTLSVersion": "VersionTLS12", "cipherSuites": ["S"]});
        assert_eq!(
            patch,
            json!({"spec": {"observedConfig": {"old": null, "servingInfo": info}}}),
            "{state}"
        );
    }
    for nothing in [json!(null), json!({})] {
        let stored = config(&json!({"finalizers": [OURS]}), &json!({"observedConfig": nothing}));
        assert_eq!(
            completion(&stored, Some(&observed), None)["spec"]["observedConfig"],
            wanted
        );
    }
    let same = config(&json!({"finalizers": [OURS]}), &json!({"observedConfig": wanted}));
    assert_eq!(completion(&same, Some(&observed), None), json!({}));
}

// api 12: what is not ours is not in the patch
// api 13: `foo` survives
#[test]
fn only_what_is_missing_is_written() {
    let spec = json!({
        "httpSecret": "", "observedConfig": null, "unsupportedConfigOverrides": {"foo": [1]}, "storage": {"emptyDir": {}},
    });
    let patch = completion(&config(&json!({"finalizers": []}), &spec), None, Some("fresh"));
    assert_eq!(
        patch,
        json!({"metadata": {"finalizers": [OURS]}, "spec": {"httpSecret": "fresh"}})
    );
}

#[test]
fn a_config_that_is_being_deleted_is_left_alone() {
    let deleted = json!({"finalizers": ["other"], "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let config = config(&deleted, &json!({"httpSecret": ""}));
    assert_eq!(
        completion(&config, Some(&ServingInfo::default()), Some("fresh")),
        json!({})
    );
}
