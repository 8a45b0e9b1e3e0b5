use serde_json::{Value, json};

use super::{Removal, removal};
use crate::api::Kind;
use crate::plan::fixture::{Cluster, merge, operand};

fn route(name: &str, annotations: &Value) -> Value {
    operand(
        "route.openshift.io/v1",
        "Route",
        name,
        &json!({"metadata": {"annotations": annotations}}),
    )
}

fn pod(name: &str, rest: &Value) -> Value {
    let mut pod = operand(
        "v1",
        "Pod",
        name,
        &json!({
            "metadata": {"labels": {"docker-registry": "default"}}, "spec": {"nodeName": "rock-1"}, "status": {"phase": "Running"},
        }),
    );
    merge(&mut pod, rest);
    pod
}

/// A cluster with all objects of the plan. The current time is 2031-05-06T07:08:09Z.
fn running() -> Cluster {
    let mut cluster = Cluster::new(
        &json!({"defaultRoute": true}),
        [
            route("former", &json!({"imageregistry.openshift.io": "true"})),
            route("foreign", &json!({})),
            pod("image-registry-x", &json!({})),
            pod(
                "somebody-else",
                &json!({"metadata": {"labels": {"docker-registry": "other"}}}),
            ),
            pod("ended", &json!({"status": {"phase": "Failed"}})),
        ],
    );
    for desired in cluster.plan().present {
        cluster.put(&desired.body);
    }
    cluster
}

fn mark_deleting(cluster: &mut Cluster, references: &[crate::api::ObjectRef], time: &str) {
    for reference in references {
        let mut object = cluster.snapshot.objects.find(reference).unwrap().as_ref().clone();
        object["metadata"]["deletionTimestamp"] = json!(time);
        cluster.put(&object);
    }
}

fn names(removal: &Removal) -> Vec<String> {
    removal
        .delete
        .iter()
        .map(|reference| format!("{} {}", reference.kind.kind(), reference.name))
        .collect()
}

const SECOND_STAGE: [&str; 7] = [
    "NetworkPolicy image-registry-networkpolicy",
    "Service image-registry",
    "Secret image-registry-private-configuration",
    "Secret installation-pull-secrets",
    "ServiceAccount registry",
    "ClusterRoleBinding registry-registry-role",
    "ClusterRole system:registry",
];

// workload 104, workload 106
#[test]
fn routes_and_pods_are_removed_before_the_objects_that_pods_use() {
    let mut cluster = running();
    let first = removal(&cluster.snapshot, None);
    let expected = [
        "Route default-route",
        "Route former",
        "PodDisruptionBudget image-registry",
        "Deployment image-registry",
    ];
    assert_eq!(names(&first), expected, "a foreign Route stays");
    assert!(!first.objects_gone && !first.pods_gone);

    mark_deleting(&mut cluster, &first.delete, "2031-05-06T07:08:09Z");
    let waiting = removal(&cluster.snapshot, None);
    assert!(
        waiting.delete.is_empty(),
        "no object is deleted twice: {:?}",
        waiting.delete
    );
    let text = waiting.waiting.unwrap();
    assert!(
        text.contains("image-registry-x") && text.contains("rock-1") && !text.contains("ended"),
        "{text}"
    );

    for reference in &first.delete {
        cluster.snapshot.objects.remove(reference);
    }
    cluster.remove(Kind::Pod, "openshift-image-registry", "image-registry-x");
    let last = removal(&cluster.snapshot, None);
    assert_eq!(names(&last), SECOND_STAGE);
    assert_eq!((last.pods_gone, last.objects_gone, last.waiting), (true, false, None));
    for reference in &last.delete {
        cluster.snapshot.objects.remove(reference);
    }
    let done = removal(&cluster.snapshot, None);
    assert_eq!(
        done,
        Removal {
            delete: vec![],
            waiting: None,
            objects_gone: true,
            pods_gone: true
        }
    );
}

#[test]
fn objects_wait_ninety_seconds_for_pods_and_storage_waits_longer() {
    // deletionTimestamp is the end of the grace period: the deletion was requested 55 seconds earlier.
    for (deletion, done) in [
        ("2031-05-06T07:08:49Z", false),
        ("2031-05-06T07:07:35Z", false),
        ("2031-05-06T07:07:34Z", true),
    ] {
        let mut cluster = running();
        let first = removal(&cluster.snapshot, None).delete;
        for reference in &first {
            cluster.snapshot.objects.remove(reference);
        }
        let deleting = json!({"metadata": {"deletionTimestamp": deletion, "deletionGracePeriodSeconds": 55}});
        cluster.put(&pod("image-registry-x", &deleting));
        let found = removal(&cluster.snapshot, None);
        assert_eq!(
            names(&found),
            if done { SECOND_STAGE.to_vec() } else { vec![] },
            "{deletion}"
        );
        assert!(!found.pods_gone && found.waiting.is_some(), "{deletion}");
    }
}

#[test]
fn the_wait_for_a_pod_without_deletion_timestamp_counts_from_the_end_of_the_deployment() {
    let mut cluster = running();
    let first = removal(&cluster.snapshot, None).delete;
    mark_deleting(&mut cluster, &first, "2031-05-06T07:00:00Z");
    let with_deployment = removal(&cluster.snapshot, None);
    assert!(with_deployment.delete.is_empty(), "the Deployment still exists");
    for reference in &first {
        cluster.snapshot.objects.remove(reference);
    }
    for (gone, done) in [
        (None, false),
        (Some("2031-05-06T07:06:40Z"), false),
        (Some("2031-05-06T07:06:39Z"), true),
    ] {
        let found = removal(&cluster.snapshot, gone.map(|gone| gone.parse().unwrap()));
        assert_eq!(
            names(&found),
            if done { SECOND_STAGE.to_vec() } else { vec![] },
            "{gone:?}"
        );
        assert!(
            !found.pods_gone && found.waiting.is_some(),
            "{gone:?}: the removal of the storage waits"
        );
    }
}

// A Deployment without a deletionTimestamp may still create pods.
#[test]
fn the_deployment_is_removed_first_even_without_pods() {
    let mut cluster = running();
    cluster.remove(Kind::Pod, "openshift-image-registry", "image-registry-x");
    let first = removal(&cluster.snapshot, None).delete;
    assert_eq!(first.last().map(|reference| reference.kind), Some(Kind::Deployment));
    mark_deleting(&mut cluster, &first, "2031-05-06T07:08:09Z");
    assert_eq!(names(&removal(&cluster.snapshot, None)), SECOND_STAGE);
}

#[test]
fn an_empty_cluster_has_nothing_to_remove() {
    let cluster = Cluster::new(&json!({}), []);
    assert_eq!(
        removal(&cluster.snapshot, None),
        Removal {
            objects_gone: true,
            pods_gone: true,
            ..Removal::default()
        }
    );
}

// storage-decisions 12
#[test]
fn storage_goes_only_after_every_object_and_every_pod_that_may_run() {
    let in_namespace = |namespace: &str| json!({"metadata": {"namespace": namespace}});
    let deleting = json!({"metadata": {"deletionTimestamp": "2031-05-06T01:00:00Z", "deletionGracePeriodSeconds": 30}});
    let deployment = || operand("apps/v1", "Deployment", "image-registry", &deleting);
    let secret = || operand("v1", "Secret", "image-registry-private-configuration", &json!({}));
    for (what, left, may_go) in [
        ("nothing", vec![], true),
        ("a pod", vec![pod("p", &json!({}))], false),
        (
            "a pod without a node",
            vec![pod("p", &json!({"spec": {"nodeName": null}}))],
            false,
        ),
        (
            "a pod on a node that has not answered for hours",
            vec![pod("p", &deleting)],
            false,
        ),
        (
            "a pod that nobody owns",
            vec![pod("p", &json!({"metadata": {"ownerReferences": []}}))],
            false,
        ),
        (
            "a pod whose phase is unknown",
            vec![pod("p", &json!({"status": {"phase": "Unknown"}}))],
            false,
        ),
        (
            "a pod without a status",
            vec![pod("p", &json!({"status": null}))],
            false,
        ),
        (
            "a pod that succeeded",
            vec![pod("p", &json!({"status": {"phase": "Succeeded"}}))],
            true,
        ),
        (
            "a pod that failed",
            vec![pod("p", &json!({"status": {"phase": "Failed"}}))],
            true,
        ),
        (
            "a pod that failed and one that runs",
            vec![pod("a", &json!({"status": {"phase": "Failed"}})), pod("b", &json!({}))],
            false,
        ),
        (
            "a pod of another program",
            vec![pod("p", &json!({"metadata": {"labels": {"docker-registry": "other"}}}))],
            true,
        ),
        (
            "a pod of another namespace",
            vec![pod("p", &in_namespace("elsewhere"))],
            true,
        ),
        ("a Deployment that is being deleted", vec![deployment()], false),
        ("an object", vec![secret()], false),
    ] {
        let mut cluster = Cluster::new(&json!({}), left);
        for reference in removal(&cluster.snapshot, None).delete {
            if what != "an object" {
                cluster.snapshot.objects.remove(&reference);
            }
        }
        for gone in [None, Some("2031-05-06T01:00:00Z")] {
            let found = removal(&cluster.snapshot, gone.map(|gone| gone.parse().unwrap()));
            assert_eq!(found.storage_may_go(), may_go, "{what}: {found:?}");
        }
    }
    let stages = [
        (vec![], true, true, true),
        (vec![], false, true, false),
        (vec![], true, false, false),
    ];
    let object = crate::plan::operand(Kind::Service, "image-registry");
    for (delete, objects_gone, pods_gone, may_go) in stages.into_iter().chain([(vec![object], true, true, false)]) {
        let stage = Removal {
            delete,
            objects_gone,
            pods_gone,
            waiting: None,
        };
        assert_eq!(stage.storage_may_go(), may_go, "{stage:?}");
    }
}
