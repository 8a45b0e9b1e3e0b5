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

/// A cluster in which everything that a plan wants exists; its clock says 2031-05-06T07:08:09Z.
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

fn ask(cluster: &mut Cluster, references: &[crate::api::ObjectRef], time: &str) {
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

const LAST: [&str; 7] = [
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
fn clients_and_pods_go_before_what_pods_live_on() {
    let mut cluster = running();
    let first = removal(&cluster.snapshot, None);
    let expected = [
        "Route default-route",
        "Route former",
        "PodDisruptionBudget image-registry",
        "Deployment image-registry",
    ];
    assert_eq!(names(&first), expected, "a foreign Route is never touched");
    assert!(!first.objects_gone && !first.pods_gone);

    ask(&mut cluster, &first.delete, "2031-05-06T07:08:09Z");
    let waiting = removal(&cluster.snapshot, None);
    assert!(
        waiting.delete.is_empty(),
        "nothing is asked for twice: {:?}",
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
    assert_eq!(names(&last), LAST);
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
fn objects_wait_ninety_seconds_for_pods_and_storage_goes_on_waiting() {
    // Until 07:08:49 the pod has time: it was asked 55 seconds before that.
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
        let asked = json!({"metadata": {"deletionTimestamp": deletion, "deletionGracePeriodSeconds": 55}});
        cluster.put(&pod("image-registry-x", &asked));
        let found = removal(&cluster.snapshot, None);
        assert_eq!(names(&found), if done { LAST.to_vec() } else { vec![] }, "{deletion}");
        assert!(!found.pods_gone && found.waiting.is_some(), "{deletion}");
    }
}

#[test]
fn a_pod_that_nobody_asked_to_go_is_waited_for_as_long_as_any_other_once_the_deployment_is_gone() {
    let mut cluster = running();
    let first = removal(&cluster.snapshot, None).delete;
    ask(&mut cluster, &first, "2031-05-06T07:00:00Z");
    let there = removal(&cluster.snapshot, None);
    assert!(
        there.delete.is_empty(),
        "the Deployment's pods are asked when it is gone"
    );
    for reference in &first {
        cluster.snapshot.objects.remove(reference);
    }
    for (gone, done) in [
        (None, false),
        (Some("2031-05-06T07:06:40Z"), false),
        (Some("2031-05-06T07:06:39Z"), true),
    ] {
        let found = removal(&cluster.snapshot, gone.map(|gone| gone.parse().unwrap()));
        assert_eq!(names(&found), if done { LAST.to_vec() } else { vec![] }, "{gone:?}");
        assert!(!found.pods_gone && found.waiting.is_some(), "{gone:?}: storage waits");
    }
}

// A Deployment that nobody asked to go may make pods yet.
#[test]
fn without_pods_the_deployment_still_goes_first() {
    let mut cluster = running();
    cluster.remove(Kind::Pod, "openshift-image-registry", "image-registry-x");
    let first = removal(&cluster.snapshot, None).delete;
    assert_eq!(first.last().map(|reference| reference.kind), Some(Kind::Deployment));
    ask(&mut cluster, &first, "2031-05-06T07:08:09Z");
    assert_eq!(names(&removal(&cluster.snapshot, None)), LAST);
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
