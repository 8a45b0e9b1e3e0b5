use super::*;

fn config(metadata: &Value, spec: &Value) -> Config {
    let mut object = json!({
        "apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config",
        "metadata": {"name": "cluster"}, "spec": {"replicas": 1, "httpSecret": "there"},
    });
    for (part, overrides) in [("metadata", metadata), ("spec", spec)] {
        for (member, value) in overrides.as_object().unwrap() {
            object[part][member] = value.clone();
        }
    }
    serde_json::from_value(object).unwrap()
}

const FINALIZER: &str = "imageregistry.operator.openshift.io/finalizer";

// lifecycle 39
#[test]
fn the_finalizer_is_added_to_a_managed_config_and_other_finalizers_stay() {
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
            json!({"metadata": {"finalizers": ["other", FINALIZER]}})
        } else {
            json!({})
        };
        assert_eq!(found, expected, "{state}");
    }
    let complete = config(&json!({"finalizers": [FINALIZER]}), &json!({}));
    assert_eq!(
        completion(&complete, None, Some("fresh")),
        json!({}),
        "nothing is missing"
    );
}

// lifecycle 37: an empty one is replaced by what is given
// lifecycle 38
#[test]
fn an_upload_secret_is_added_only_to_a_managed_config_without_one() {
    let metadata = json!({"finalizers": [FINALIZER]});
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
fn observed_settings_replace_the_whole_stored_object() {
    let observed = ServingInfo {
        min_version: Some("VersionTLS12".to_owned()),
        cipher_suites: vec!["S".to_owned()],
    };
    let wanted = json!({"servingInfo": {"minTLSVersion": "VersionTLS12", "cipherSuites": ["S"]}});
    for state in ["Managed", "Unmanaged", "Removed"] {
        let stored = json!({"managementState": state, "observedConfig": {"old": 1, "servingInfo": {"x": 1, "cipherSuites": []}}});
        let patch = completion(
            &config(&json!({"finalizers": [FINALIZER]}), &stored),
            Some(&observed),
            None,
        );
        let info = json!({"x": null, "minTLSVersion": "VersionTLS12", "cipherSuites": ["S"]});
        assert_eq!(
            patch,
            json!({"spec": {"observedConfig": {"old": null, "servingInfo": info}}}),
            "{state}"
        );
    }
    for empty in [json!(null), json!({})] {
        let stored = config(&json!({"finalizers": [FINALIZER]}), &json!({"observedConfig": empty}));
        assert_eq!(
            completion(&stored, Some(&observed), None)["spec"]["observedConfig"],
            wanted
        );
    }
    let same = config(&json!({"finalizers": [FINALIZER]}), &json!({"observedConfig": wanted}));
    assert_eq!(completion(&same, Some(&observed), None), json!({}));
}

// api 12: what is not ours is not in the patch
// api 13: `foo` survives
#[test]
fn the_patch_contains_only_missing_fields() {
    let spec = json!({
        "httpSecret": "", "observedConfig": null, "unsupportedConfigOverrides": {"foo": [1]}, "storage": {"emptyDir": {}},
    });
    let patch = completion(&config(&json!({"finalizers": []}), &spec), None, Some("fresh"));
    assert_eq!(
        patch,
        json!({"metadata": {"finalizers": [FINALIZER]}, "spec": {"httpSecret": "fresh"}})
    );
}

#[test]
fn a_config_that_is_being_deleted_gets_no_patch() {
    let deleted = json!({"finalizers": ["other"], "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let config = config(&deleted, &json!({"httpSecret": ""}));
    assert_eq!(
        completion(&config, Some(&ServingInfo::default()), Some("fresh")),
        json!({})
    );
}
