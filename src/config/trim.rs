//! PURE: trims objects before they are cached: fields that no pass reads, or that change all the time, are removed. Of the
//! managed fields of workloads, those of the Go operator remain: a takeover needs them.
//!
//! [`Objects::insert`](super::snapshot::Objects::insert) trims, so a pass that reads a removed field fails its tests, too.

use serde_json::{Map, Value, json};

use crate::api::{Kind, managed_fields};
use crate::names;

/// Removes the fields that are not cached.
pub fn trim(kind: Kind, object: Value) -> Value {
    match kind {
        Kind::Node => node(&object),
        Kind::Pod => pod(&object),
        Kind::StorageClass => pick(
            &object,
            &["/metadata/name", "/metadata/annotations", "/volumeBindingMode"],
        ),
        Kind::PersistentVolume => pick(&object, &["/metadata/name", "/spec/storageClassName"]),
        Kind::Deployment | Kind::DaemonSet => {
            let managed = object.pointer("/metadata/managedFields");
            let managed = managed.and_then(|m| managed_fields::reduced(m, names::FORMER_MANAGER));
            let mut kept = without_managed_fields(object);
            if let (Some(managed), Some(metadata)) = (managed, kept.get_mut("metadata").and_then(Value::as_object_mut))
            {
                metadata.insert("managedFields".to_owned(), managed);
            }
            kept
        }
        _ => without_managed_fields(object),
    }
}

/// Whether two versions of an object differ in more than their `resourceVersion`.
pub fn changed(old: &Value, new: &Value) -> bool {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return old != new;
    };
    if old.len() != new.len() {
        return true;
    }
    old.iter().any(|(key, value)| match new.get(key) {
        Some(other) if key == "metadata" => metadata_changed(value, other),
        Some(other) => value != other,
        None => true,
    })
}

fn metadata_changed(old: &Value, new: &Value) -> bool {
    let strip = |metadata: &Value| {
        let mut metadata = metadata.clone();
        if let Some(object) = metadata.as_object_mut() {
            object.remove("resourceVersion");
        }
        metadata
    };
    strip(old) != strip(new)
}

fn without_managed_fields(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// Labels, taints and readiness, which a kubelet's heartbeat does not change.
fn node(object: &Value) -> Value {
    let ready = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .and_then(|conditions| {
            conditions
                .iter()
                .find(|c| c.get("type").and_then(Value::as_str) == Some("Ready"))?
                .get("status")
                .cloned()
        });
    let mut kept = pick(
        object,
        &[
            "/metadata/name",
            "/metadata/labels",
            "/spec/taints",
            "/spec/unschedulable",
        ],
    );
    if let (Some(ready), Some(kept)) = (ready, kept.as_object_mut()) {
        kept.insert(
            "status".to_owned(),
            json!({"conditions": [{"type": "Ready", "status": ready}]}),
        );
    }
    kept
}

/// Name, node, phase, when the deletion began, why the pod does not run, and since when its first container that must end still
/// runs. A pod that runs has nothing of the last two, so that its probes and restarts cause no pass.
fn pod(object: &Value) -> Value {
    let metadata = [
        "name",
        "namespace",
        "labels",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    let pointers: Vec<_> = metadata
        .iter()
        .map(|m| format!("/metadata/{m}"))
        .chain(["/spec/nodeName".to_owned(), "/status/phase".to_owned()])
        .collect();
    let mut kept = pick(object, &pointers.iter().map(String::as_str).collect::<Vec<_>>());
    if let Some(status) = kept.get_mut("status").and_then(Value::as_object_mut) {
        let first = |list: &str, is_kept: &dyn Fn(&&Value) -> bool, pointers: &[&str]| {
            let found = object.pointer(list)?.as_array()?.iter().find(is_kept)?;
            Some(json!([pick(found, pointers)]))
        };
        let unscheduled = |c: &&Value| c["type"] == "PodScheduled" && c["status"] == "False";
        let condition = first("/status/conditions", &unscheduled, &["/type", "/status", "/message"]);
        let waiting = |c: &&Value| c.pointer("/state/waiting").is_some();
        let container = first("/status/containerStatuses", &waiting, &["/name", "/state/waiting"]);
        status.extend(condition.map(|c| ("conditions".to_owned(), c)));
        status.extend(container.map(|c| ("containerStatuses".to_owned(), c)));
        let running = |c: &&Value| c.pointer("/state/running").is_some();
        let initial = first("/status/initContainerStatuses", &running, &["/name", "/state/running"]);
        status.extend(initial.map(|c| ("initContainerStatuses".to_owned(), c)));
    }
    kept
}

/// The object with only these members, each given as `/top` or `/top/member`.
fn pick(object: &Value, pointers: &[&str]) -> Value {
    let mut kept = Map::new();
    for pointer in pointers {
        let mut parts = pointer.trim_start_matches('/').split('/');
        let (Some(top), Some(value)) = (parts.next(), object.pointer(pointer)) else {
            continue;
        };
        let Some(member) = parts.next() else {
            kept.insert(top.to_owned(), value.clone());
            continue;
        };
        let part = kept.entry(top.to_owned()).or_insert_with(|| Value::Object(Map::new()));
        if let Some(part) = part.as_object_mut() {
            part.insert(member.to_owned(), value.clone());
        }
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::snapshot::Objects;

    #[test]
    fn a_node_heartbeat_is_no_change_and_a_label_is() {
        let node = |label: &str, beat: &str, version: &str| {
            json!({"metadata": {"name": "n", "resourceVersion": version, "labels": {"zone": label}, "managedFields": [{}]},
                   "spec": {"podCIDR": "x"},
                   "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": beat}]}})
        };
        let kept = |n| trim(Kind::Node, n);
        assert!(!changed(&kept(node("a", "1", "1")), &kept(node("a", "2", "2"))));
        assert!(changed(&kept(node("a", "1", "1")), &kept(node("b", "1", "2"))));
    }

    // A pod that has ended does not delay a removal: plan/removal.rs reads the phase.
    #[test]
    fn the_phase_of_a_pod_is_cached() {
        let pod = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"nodeName": "n", "containers": []},
                         "status": {"phase": "Failed", "podIP": "10.0.0.1"}});
        let expected = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {"phase": "Failed"}});
        assert_eq!(trim(Kind::Pod, pod), expected);
    }

    #[test]
    fn of_the_containers_that_must_end_only_a_running_one_is_cached() {
        let pod = |state: Value| {
            let initial = json!([{"name": "i", "image": "x", "state": state}]);
            trim(
                Kind::Pod,
                json!({"metadata": {"name": "p"}, "status": {"phase": "Pending", "initContainerStatuses": initial}}),
            )
        };
        assert_eq!(
            pod(json!({"terminated": {"exitCode": 0}})),
            json!({"metadata": {"name": "p"}, "status": {"phase": "Pending"}})
        );
        let running = json!({"running": {"startedAt": "2031-05-06T07:08:09Z"}});
        let kept = json!([{"name": "i", "state": running}]);
        assert_eq!(
            pod(running.clone()),
            json!({"metadata": {"name": "p"}, "status": {"phase": "Pending", "initContainerStatuses": kept}})
        );
    }

    // spec/README 14: a pass can only read what the watches keep
    #[test]
    fn an_object_of_a_test_is_trimmed_like_that_of_a_watch() {
        let metadata =
            json!({"name": "n", "uid": "u", "labels": {"l": "1"}, "annotations": {"a": "1"}, "managedFields": [{}]});
        let full = |kind: Kind| {
            json!({"apiVersion": kind.api_version(), "kind": kind.kind(), "metadata": metadata, "volumeBindingMode": "Immediate",
                   "provisioner": "p", "spec": {"nodeName": "n", "storageClassName": "slow", "unknown": 1},
                   "status": {"phase": "Running", "unknown": 1}})
        };
        for kind in Kind::ALL.iter().copied() {
            let objects = Objects::from_values([full(kind)]).unwrap();
            let (reference, kept) = objects.of(kind).next().unwrap();
            assert_eq!(kept, &trim(kind, full(kind)), "{kind:?}");
            assert_eq!(kept.pointer("/metadata/managedFields"), None, "{kind:?}");
            let mut inserted = Objects::default();
            inserted.insert(reference.clone(), full(kind));
            assert_eq!(inserted.find(reference).unwrap().as_ref(), kept, "{kind:?}");
            assert_eq!(trim(kind, kept.clone()), *kept, "{kind:?}: trimmed twice");
        }
    }

    // storage-volumes 3.2 and 4: what the messages about a claim and the claim of a new cluster read
    #[test]
    fn of_classes_and_volumes_only_what_a_claim_needs_is_kept() {
        let class = json!({"metadata": {"name": "c", "uid": "u", "annotations": {"a": "1"}}, "provisioner": "p",
                           "parameters": {"password": "x"}, "volumeBindingMode": "WaitForFirstConsumer"});
        let expected =
            json!({"metadata": {"name": "c", "annotations": {"a": "1"}}, "volumeBindingMode": "WaitForFirstConsumer"});
        assert_eq!(trim(Kind::StorageClass, class), expected);
        let volume = json!({"metadata": {"name": "v", "labels": {}}, "spec": {"storageClassName": "c", "csi": {}}, "status": {}});
        let expected = json!({"metadata": {"name": "v"}, "spec": {"storageClassName": "c"}});
        assert_eq!(trim(Kind::PersistentVolume, volume), expected);
    }

    #[test]
    fn a_new_resource_version_alone_is_no_change() {
        let object = |version: &str, label: &str| json!({"metadata": {"resourceVersion": version, "labels": {"a": label}}, "spec": 1});
        assert!(!changed(&object("1", "x"), &object("2", "x")));
        assert!(changed(&object("1", "x"), &object("1", "y")));
        assert!(changed(
            &object("1", "x"),
            &json!({"metadata": {"labels": {"a": "x"}}, "spec": 2})
        ));
    }

    #[test]
    fn managed_fields_are_not_cached() {
        let kept = trim(
            Kind::Secret,
            json!({"metadata": {"name": "s", "managedFields": [{"manager": "x"}]}}),
        );
        assert_eq!(kept, json!({"metadata": {"name": "s"}}));
        let go = json!([{"manager": names::FORMER_MANAGER, "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {}}}]);
        let kept = trim(
            Kind::Deployment,
            json!({"metadata": {"name": "d", "managedFields": go}}),
        );
        assert_eq!(
            kept["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:labels"],
            json!({"f:a": {}})
        );
        assert_eq!(kept.pointer("/metadata/managedFields/0/fieldsV1/f:spec"), None);
    }
}
