//! What a real API server with our CRDs accepts, refuses, defaults and keeps. The cases are in `tests/crds/cases.rs`.

#[path = "../crds/cases.rs"]
mod cases;

use image_registry_operator::api::{Config, ConfigStatus, ImagePruner, Kind};
use kube::api::{Api, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::TypeMeta;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::empty_cluster;
use cases::Outcome::{Reads, Refused, Unreadable};
use cases::{CONFIGS_AND_PRUNERS, Case, PLATFORM};

#[tokio::test]
async fn the_api_server_enforces_the_crds() {
    let cluster = empty_cluster().await;
    let client = cluster.client.clone();
    let mut failures = Vec::new();
    for (index, case) in CONFIGS_AND_PRUNERS.iter().chain(PLATFORM).enumerate() {
        failures.extend(check(&client, &format!("case-{index}"), case).await.err());
    }
    assert!(
        failures.is_empty(),
        "{} cases:\n{}",
        failures.len(),
        failures.join("\n")
    );
    a_status_needs_storage_and_its_mirror(&client).await;
    a_patch_leaves_its_neighbours_alone(&client).await;
    null_clears_what_an_empty_text_cannot(&client).await;
    conditions_of_a_cluster_operator_merge_by_type(&client).await;
}

// api 20
async fn a_status_needs_storage_and_its_mirror(client: &Client) {
    let api = api(client, Kind::Config);
    create(&api, Kind::Config, "first-status", "{replicas: 1}")
        .await
        .unwrap();
    let merge = PatchParams::default();
    let conditions = json!({ "status": { "conditions": [] } });
    let refused = api
        .patch_status("first-status", &merge, &Patch::Merge(&conditions))
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("status.storage: Required value"), "{refused}");
    assert!(refused.contains("status.storageManaged: Required value"), "{refused}");

    let first = json!({ "status": ConfigStatus::default() });
    api.patch_status("first-status", &merge, &Patch::Merge(&first))
        .await
        .unwrap();
    // The group is a key of the list map: it may be empty, but not missing.
    for (generation, accepted) in [
        (
            json!({ "group": "", "resource": "secrets", "namespace": "", "name": "s" }),
            true,
        ),
        (json!({ "resource": "secrets", "namespace": "", "name": "s" }), false),
    ] {
        let patch = json!({ "status": { "generations": [generation] } });
        assert_eq!(
            api.patch_status("first-status", &merge, &Patch::Merge(&patch))
                .await
                .is_ok(),
            accepted
        );
    }
    let revisions = |revision: i32| json!({ "status": { "latestAvailableRevision": revision } });
    api.patch_status("first-status", &merge, &Patch::Merge(&revisions(2)))
        .await
        .unwrap();
    let refused = api
        .patch_status("first-status", &merge, &Patch::Merge(&revisions(1)))
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("must only increase"), "{refused}");
    // The validation rule on oss applies only to the spec.
    let oss = json!({ "status": { "storage": { "oss": { "encryption": { "method": "KMS" } } } } });
    api.patch_status("first-status", &merge, &Patch::Merge(&oss))
        .await
        .unwrap();
    delete(&api, "first-status").await;
}

// storage-volumes 35 (the API's half)
async fn a_patch_leaves_its_neighbours_alone(client: &Client) {
    let api = api(client, Kind::Config);
    let spec = "{replicas: 1, storage: {emptyDir: {}}, observedConfig: null, unsupportedConfigOverrides: {foo: [1]}}";
    create(&api, Kind::Config, "neighbours", spec).await.unwrap();
    let patch = json!({ "spec": { "httpSecret": "s" } });
    api.patch("neighbours", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    let read = api.get("neighbours").await.unwrap();
    let expected = "{replicas: 1, storage: {emptyDir: {}}, observedConfig: null, httpSecret: s, \
                    unsupportedConfigOverrides: {foo: [1]}, logLevel: Normal, operatorLogLevel: Normal}";
    assert_eq!(read.data["spec"], yaml(expected));
    delete(&api, "neighbours").await;
}

// api 24 (the API's half)
async fn null_clears_what_an_empty_text_cannot(client: &Client) {
    let api = api(client, Kind::Config);
    let spec = "{replicas: 1, storage: {managementState: Managed, pvc: {claim: c}}}";
    create(&api, Kind::Config, "cleared", spec).await.unwrap();
    let set = |value: Value| json!({ "spec": { "storage": { "managementState": value } } });
    let merge = PatchParams::default();
    api.patch("cleared", &merge, &Patch::Merge(&set(json!(""))))
        .await
        .unwrap_err();
    let read = api
        .patch("cleared", &merge, &Patch::Merge(&set(Value::Null)))
        .await
        .unwrap();
    assert_eq!(read.data["spec"]["storage"], yaml("{pvc: {claim: c}}"));
    delete(&api, "cleared").await;
}

async fn conditions_of_a_cluster_operator_merge_by_type(client: &Client) {
    let api = api(client, Kind::ClusterOperator);
    create(&api, Kind::ClusterOperator, "merged", "{}").await.unwrap();
    let status = |type_: &str| {
        let condition = json!({ "type": type_, "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z" });
        json!({
            "apiVersion": Kind::ClusterOperator.api_version(),
            "kind": Kind::ClusterOperator.kind(),
            "status": { "conditions": [condition] },
        })
    };
    for (manager, type_) in [("one", "Available"), ("two", "Upgradeable")] {
        let params = PatchParams::apply(manager);
        api.patch_status("merged", &params, &Patch::Apply(&status(type_)))
            .await
            .unwrap();
    }
    let misspelt = json!({ "status": { "version": [] } });
    let read = api
        .patch_status("merged", &PatchParams::default(), &Patch::Merge(&misspelt))
        .await
        .unwrap();
    assert_eq!(read.data["status"]["version"], Value::Null);
    let types: Vec<_> = read.data["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["type"])
        .collect();
    assert_eq!(types, ["Available", "Upgradeable"]);
    let timeless = json!({ "status": { "conditions": [{ "type": "Degraded", "status": "True" }] } });
    api.patch_status("merged", &PatchParams::default(), &Patch::Merge(&timeless))
        .await
        .unwrap_err();
    delete(&api, "merged").await;
}

async fn check(client: &Client, name: &str, (kind, spec, outcome): &Case) -> Result<(), String> {
    let api = api(client, *kind);
    let described = |text: String| format!("{} {spec}: {text}", kind.kind());
    match (create(&api, *kind, name, spec).await, outcome) {
        (Ok(_), Refused(_)) => {
            delete(&api, name).await;
            Err(described("accepted".to_owned()))
        }
        (Ok(stored), Unreadable) => {
            delete(&api, name).await;
            let read = decodes(*kind, &serde_json::to_value(stored).unwrap());
            if read.is_err() {
                Ok(())
            } else {
                Err(described("read".to_owned()))
            }
        }
        (Err(error), Reads(_) | Unreadable) => Err(described(error.to_string())),
        (Err(error), Refused(why)) => {
            let message = error.to_string();
            if message.contains(why) {
                Ok(())
            } else {
                Err(described(format!("refused otherwise: {message}")))
            }
        }
        (Ok(_), Reads(expected)) => {
            let stored = serde_json::to_value(api.get(name).await.unwrap()).unwrap();
            delete(&api, name).await;
            decodes(*kind, &stored).map_err(&described)?;
            for (pointer, value) in *expected {
                let found = stored.pointer(pointer).cloned().unwrap_or_default();
                if found != yaml(value) {
                    return Err(described(format!("{pointer} is {found}")));
                }
            }
            Ok(())
        }
    }
}

/// Asserts that our types read what the API server stored and lose nothing except nulls.
fn decodes(kind: Kind, stored: &Value) -> Result<(), String> {
    let again = match kind {
        Kind::Config => {
            serde_json::from_value::<Config>(stored.clone()).map(|read| serde_json::to_value(read).unwrap())
        }
        Kind::ImagePruner => {
            serde_json::from_value::<ImagePruner>(stored.clone()).map(|read| serde_json::to_value(read).unwrap())
        }
        _ => return Ok(()),
    }
    .map_err(|error| format!("not decoded: {error}"))?;
    let mut expected = stored["spec"].clone();
    expected.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    if again["spec"] == expected {
        Ok(())
    } else {
        Err(format!("decoded as {}", again["spec"]))
    }
}

fn api(client: &Client, kind: Kind) -> Api<DynamicObject> {
    if kind.namespaced() {
        Api::namespaced_with(client.clone(), "default", &kind.resource())
    } else {
        Api::all_with(client.clone(), &kind.resource())
    }
}

async fn create(api: &Api<DynamicObject>, kind: Kind, name: &str, spec: &str) -> kube::Result<DynamicObject> {
    let object = DynamicObject {
        types: Some(TypeMeta {
            api_version: kind.api_version(),
            kind: kind.kind().to_owned(),
        }),
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: json!({ "spec": yaml(spec), "status": null }),
    };
    let created = api.create(&PostParams::default(), &object).await?;
    assert_eq!(created.name_any(), name);
    Ok(created)
}

async fn delete(api: &Api<DynamicObject>, name: &str) {
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}
