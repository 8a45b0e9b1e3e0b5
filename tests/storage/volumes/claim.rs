//! Acceptance of claims: creation, use, switching.

use serde_json::{Value, json};

use super::Volumes;
use crate::harness::ApiServer;
use crate::harness::warnings;
use crate::selection::rejected;
use image_registry_operator::storage::{self, BootstrapClaim};

use image_registry_operator::api::Kind;
use image_registry_operator::config::resolve::Reason;
use image_registry_operator::config::snapshot::Objects;
use image_registry_operator::names;
use image_registry_operator::storage::model::error::ErrorClass;

const OWN: &str = names::DEFAULT_CLAIM;

// storage-volumes 1, 17
#[tokio::test]
async fn an_empty_block_creates_and_owns_the_default_claim() {
    let mut cluster = Volumes::on("BareMetal", json!({"replicas": 2, "storage": {"pvc": {}}}));
    let outcome = cluster.pass().await;
    assert_eq!(cluster.exists(), "True/PVC Created");
    assert!(
        cluster
            .message()
            .ends_with("(100Gi, ReadWriteMany, the cluster's default StorageClass).")
    );
    assert!(outcome.error.is_none() && outcome.wait.is_none());
    let made = cluster.claim(OWN).unwrap();
    assert_eq!(
        made["spec"],
        json!({"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "100Gi"}}})
    );
    assert_eq!(
        made["metadata"]["annotations"],
        json!({"imageregistry.openshift.io": "true"})
    );
    assert_eq!(made["metadata"]["namespace"], names::NAMESPACE);
    assert_eq!(
        cluster.storage_spec(),
        &json!({"pvc": {"claim": OWN}, "managementState": "Managed"})
    );
    assert_eq!(
        cluster.status(),
        &json!({"pvc": {"claim": OWN}, "managementState": "Managed"})
    );
    assert!(!outcome.reconfigured && outcome.events.is_empty());
    let facts = outcome.facts.unwrap();
    assert_eq!(facts.backend, "PVC");
    assert_eq!(
        facts.volumes,
        [json!({"name": "registry-storage", "persistentVolumeClaim": {"claimName": OWN}})]
    );
    assert_eq!(
        facts.mounts,
        [json!({"name": "registry-storage", "mountPath": "/registry"})]
    );
    let env: Vec<_> = facts.env.iter().map(|e| e.name).collect();
    assert_eq!(env, ["REGISTRY_STORAGE", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"]);
    assert_eq!((facts.unfit, facts.not_usable), (None, None));
    cluster.settle().await;
    assert_eq!(cluster.calls(), [format!("create {OWN}")]);
}

// storage-decisions 30, T18a: as soon as the status has said that the claim was created
#[tokio::test]
async fn a_claim_that_was_created_exists_from_the_next_pass_on() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}}));
    let mut reasons = Vec::new();
    for _ in 0..5 {
        cluster.pass().await;
        reasons.push(cluster.exists());
    }
    assert_eq!(reasons[0], "True/PVC Created");
    assert!(
        reasons[1..].iter().all(|reason| reason == "True/PVC Exists"),
        "{reasons:?}"
    );
}

// storage-volumes 2
#[tokio::test]
async fn a_preset_state_stays_when_the_default_claim_is_created() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}, "managementState": "Managed"}));
    cluster.settle().await;
    assert_eq!(cluster.state(), Some("Managed"));
    assert!(cluster.claim(OWN).is_some());
}

// storage-volumes 3, 4
#[tokio::test]
async fn an_annotated_default_claim_is_reused_whatever_the_value() {
    for value in ["true", "false", ""] {
        let mut cluster = Volumes::with_storage(json!({"pvc": {}}));
        cluster.add_claim(OWN, &["ReadWriteMany"], true);
        cluster.set_claim(
            OWN,
            "/metadata/annotations",
            json!({"imageregistry.openshift.io": value}),
        );
        cluster.settle().await;
        assert_eq!(
            (cluster.state(), cluster.calls()),
            (Some("Managed"), vec![]),
            "value {value:?}"
        );
        assert_eq!(cluster.exists(), "True/PVC Exists");
    }
}

// storage-volumes 5, 6
#[tokio::test]
async fn a_foreign_default_claim_is_refused_again_and_again() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}}));
    cluster.add_claim(OWN, &["ReadWriteMany"], false);
    for _ in 0..3 {
        let outcome = cluster.pass().await;
        assert!(outcome.error.unwrap().message.contains("not made by this operator"));
        assert_eq!(cluster.exists(), "False/PVC Already Exists");
        assert_eq!(cluster.storage_spec(), &json!({"pvc": {}}));
        assert!(outcome.facts.is_none());
    }
    assert!(cluster.calls().is_empty());
}

// storage-volumes 7
#[tokio::test]
async fn a_refused_creation_leaves_the_spec_alone_and_is_tried_again() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}}));
    cluster.answers(ApiServer::OverQuota);
    let outcome = cluster.pass().await;
    assert_eq!(outcome.error.as_ref().unwrap().class, ErrorClass::ActionRequired);
    assert_eq!(cluster.exists(), "False/Creation Failed");
    assert!(cluster.message().contains("exceeded quota"));
    assert_eq!(cluster.storage_spec(), &json!({"pvc": {}}));
    cluster.answers(ApiServer::Works);
    cluster.pass().await;
    assert_eq!(
        (cluster.exists().as_str(), cluster.state()),
        ("True/PVC Created", Some("Managed"))
    );
}

// storage-volumes 8, 9, 12, 14
#[tokio::test]
async fn named_claims_that_fit_are_used_and_not_owned() {
    for (modes, replicas, strategy) in [
        (&["ReadWriteMany"][..], 5, "RollingUpdate"),
        (&["ReadWriteOnce"], 1, "Recreate"),
        (&["ReadWriteOnce", "ReadWriteMany"], 3, ""),
        (&["ReadWriteOncePod"], 1, "Recreate"),
        (&["ReadWriteOnce"], 0, "Recreate"),
    ] {
        let storage = json!({"pvc": {"claim": "blue-claim"}});
        let spec = json!({"replicas": replicas, "rolloutStrategy": strategy, "storage": storage});
        let mut cluster = Volumes::on("BareMetal", spec);
        cluster.add_claim("blue-claim", modes, false);
        let outcome = cluster.settle().await;
        assert_eq!((outcome.error, cluster.state()), (None, Some("Unmanaged")), "{modes:?}");
        assert_eq!(cluster.exists(), "True/PVC Exists");
        assert!(cluster.message().contains("blue-claim is Bound") && cluster.message().contains("8Gi"));
        assert!(cluster.message().contains(modes[0]));
        assert_eq!(outcome.facts.unwrap().unfit, None);
    }
}

// storage-volumes 10, 11, 13
#[tokio::test]
async fn named_claims_that_do_not_fit_are_refused_at_first_use_with_the_cause() {
    for (modes, replicas, strategy, cause) in [
        (&["ReadWriteOnce"][..], 1, "", "spec.rolloutStrategy is not set"),
        (
            &["ReadWriteOnce"],
            1,
            "RollingUpdate",
            "spec.rolloutStrategy is RollingUpdate",
        ),
        (&["ReadWriteOnce"], 2, "Recreate", "spec.replicas is 2"),
        (&["ReadWriteOncePod"], 2, "Recreate", "spec.replicas is 2"),
        (
            &["ReadOnlyMany"],
            1,
            "Recreate",
            "neither ReadWriteMany nor ReadWriteOnce",
        ),
        (&[], 1, "Recreate", "neither ReadWriteMany nor ReadWriteOnce"),
    ] {
        let storage = json!({"pvc": {"claim": "blue-claim"}});
        let spec = json!({"replicas": replicas, "rolloutStrategy": strategy, "storage": storage});
        let mut cluster = Volumes::on("BareMetal", spec);
        cluster.add_claim("blue-claim", modes, false);
        let outcome = cluster.pass().await;
        assert_eq!(rejected(&outcome), Some(Reason::PvcIncompatible));
        assert_eq!(cluster.exists(), "False/PVC Issues Found");
        assert!(cluster.message().contains(cause), "{}", cluster.message());
        assert!(outcome.facts.is_none() && outcome.record.is_none() && outcome.status_storage.is_none());
    }
}

#[tokio::test]
async fn a_block_device_is_refused() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    cluster.add_claim("blue-claim", &["ReadWriteMany"], false);
    cluster.set_claim("blue-claim", "/spec/volumeMode", json!("Block"));
    cluster.pass().await;
    assert_eq!(cluster.exists(), "False/PVC Issues Found");
    assert!(cluster.message().contains("volumeMode Block"));
}

#[tokio::test]
async fn a_name_that_no_claim_can_have_is_refused() {
    for name in ["Blue", "blue_claim", "-blue", "blue-", "a..b", "x".repeat(254).as_str()] {
        let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": name}}));
        let outcome = cluster.pass().await;
        assert_eq!(rejected(&outcome), Some(Reason::InvalidConfig), "{name}");
        assert!(cluster.calls().is_empty());
    }
    for name in ["a", "blue-claim.v2", "0-9"] {
        assert!(image_registry_operator::api::kind::is_subdomain(name), "{name}");
    }
}

// storage-volumes 15
#[tokio::test]
async fn a_named_claim_that_is_absent_is_never_created() {
    for storage in [
        json!({"pvc": {"claim": "blue-claim"}}),
        json!({"pvc": {"claim": "blue-claim"}, "managementState": "Managed"}),
        json!({"pvc": {"claim": OWN}, "managementState": "Unmanaged"}),
        json!({"pvc": {"claim": OWN}}),
    ] {
        let mut cluster = Volumes::with_storage(storage.clone());
        let outcome = cluster.pass().await;
        assert_eq!(
            outcome.error.as_ref().map(|f| f.class),
            Some(ErrorClass::ActionRequired)
        );
        assert_eq!(cluster.exists(), "False/PVC Issues Found");
        assert_eq!((cluster.calls(), cluster.storage_spec()), (vec![], &storage));
    }
}

// storage-volumes 16
#[tokio::test]
async fn an_applied_claim_that_no_longer_fits_is_reported_as_unfit_and_stays() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    cluster.add_claim("blue-claim", &["ReadWriteOnce"], false);
    cluster.settle().await;
    for (edit, cause) in [
        (json!({"replicas": 2}), "spec.replicas is 2"),
        (
            json!({"replicas": 1, "rolloutStrategy": "RollingUpdate"}),
            "spec.rolloutStrategy is RollingUpdate",
        ),
        // A turned managementState takes another way through the code.
        (
            json!({"storage": {"managementState": "Managed"}}),
            "spec.rolloutStrategy is RollingUpdate",
        ),
    ] {
        cluster.edit(edit);
        let outcome = cluster.pass().await;
        assert_eq!(outcome.error, None);
        assert_eq!(cluster.exists(), "True/PVC Exists");
        let unfit = outcome.facts.unwrap().unfit.unwrap();
        assert!(
            unfit.contains(cause) && unfit.contains("Recreate, or use a ReadWriteMany claim"),
            "{unfit}"
        );
    }
}

// storage-volumes 23
#[tokio::test]
async fn an_operator_made_claim_that_was_deleted_is_created_again_with_a_warning() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}}));
    cluster.settle().await;
    cluster.drop_claim(OWN);
    let outcome = cluster.pass().await;
    assert_eq!(cluster.exists(), "False/PVC does not exist");
    assert!(warnings(&outcome.events)[0].contains("PVC image-registry-storage is gone"));
    assert!(outcome.facts.unwrap().not_usable.is_some() && outcome.wait.unwrap().after.is_zero());
    let outcome = cluster.pass().await;
    assert!(warnings(&outcome.events).is_empty());
    assert!(cluster.claim(OWN).is_some());
    assert_eq!(
        (cluster.exists().as_str(), cluster.state()),
        ("True/PVC Created", Some("Managed"))
    );
    assert_eq!(outcome.facts.unwrap().not_usable, None);
    assert!(warnings(&cluster.pass().await.events).is_empty());
}

// storage-volumes 24
#[tokio::test]
async fn a_claim_that_is_being_deleted_is_waited_for() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    cluster.add_claim("blue-claim", &["ReadWriteMany"], false);
    cluster.settle().await;
    cluster.set_claim(
        "blue-claim",
        "/metadata/deletionTimestamp",
        json!("2026-05-04T03:00:00Z"),
    );
    let outcome = cluster.pass().await;
    assert_eq!(cluster.exists(), "False/PVC does not exist");
    assert!(cluster.message().contains("is being deleted") && outcome.wait.is_some() && outcome.error.is_none());
    assert!(outcome.facts.unwrap().not_usable.unwrap().contains("is being deleted"));

    // At first use there is no running registry to keep: no facts at all.
    let mut fresh = Volumes::with_storage(json!({"pvc": {}}));
    fresh.add_claim(OWN, &["ReadWriteMany"], true);
    fresh.set_claim(OWN, "/metadata/deletionTimestamp", json!("2026-05-04T03:00:00Z"));
    let outcome = fresh.pass().await;
    assert!(outcome.facts.is_none() && outcome.wait.is_some() && fresh.calls().is_empty());
    assert_eq!(fresh.storage_spec(), &json!({"pvc": {}}));
    fresh.drop_claim(OWN);
    fresh.pass().await;
    assert_eq!(fresh.exists(), "True/PVC Created");
}

#[tokio::test]
async fn a_missing_claim_of_a_running_registry_stops_new_pods_only() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    cluster.add_claim("blue-claim", &["ReadWriteMany"], false);
    cluster.settle().await;
    cluster.drop_claim("blue-claim");
    assert!(cluster.pass().await.events.is_empty());
    let outcome = cluster.pass().await;
    assert_eq!(cluster.exists(), "False/PVC Issues Found");
    assert!(
        outcome
            .facts
            .unwrap()
            .not_usable
            .unwrap()
            .contains("blue-claim not found")
    );
    assert!(outcome.error.is_some() && cluster.calls().is_empty());
}

// storage-volumes 39
#[tokio::test]
async fn an_api_server_that_does_not_answer_decides_nothing() {
    let broken = Volumes::with_storage(json!({"pvc": {}}));
    broken.answers(ApiServer::Broken);
    let mut blind = Volumes::with_storage(json!({"pvc": {}}));
    blind.snapshot.objects.set_absent_kind(Kind::PersistentVolumeClaim);
    let mut blind_later = Volumes::with_storage(json!({"pvc": {}}));
    blind_later.settle().await;
    blind_later.drop_claim(OWN);
    blind_later
        .snapshot
        .objects
        .set_absent_kind(Kind::PersistentVolumeClaim);
    for (mut cluster, applied) in [(broken, false), (blind, false), (blind_later, true)] {
        let calls = cluster.calls().len();
        let outcome = cluster.pass().await;
        assert_eq!(outcome.error.as_ref().unwrap().class, ErrorClass::Transient);
        assert_eq!(
            cluster.exists(),
            format!("Unknown/Unknown error occurred checking for volume claim {OWN}")
        );
        // What runs goes on, with nothing about its storage changed.
        assert_eq!(outcome.facts.map(|f| f.not_usable), applied.then_some(None));
        if applied {
            assert_eq!(cluster.calls().len(), calls, "created a claim without having looked");
        }
    }
}

// storage-decisions 9
#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_adopted_by_its_mark() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}}));
    cluster.answers(ApiServer::LosesAnswer);
    assert!(cluster.pass().await.error.is_some());
    cluster.answers(ApiServer::Works);
    cluster.settle().await;
    assert_eq!((cluster.state(), cluster.calls().len()), (Some("Managed"), 1));
}

#[tokio::test]
async fn a_claim_that_the_store_does_not_show_yet_is_looked_at_before_it_is_used() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}}));
    let config = cluster.config();
    cluster.add_claim(OWN, &["ReadWriteMany"], false);
    let mut stale = cluster.snapshot.clone();
    stale.objects = Objects::default();
    let shown = std::mem::replace(&mut cluster.snapshot, stale);
    let outcome = cluster.step_of(&config).await;
    cluster.snapshot = shown;
    assert!(outcome.wait.is_some() && outcome.record.is_none() && outcome.facts.is_none());
    cluster.pass().await;
    assert_eq!(cluster.exists(), "False/PVC Already Exists");
}

// storage-volumes 37
#[tokio::test]
async fn a_switch_of_claims_leaves_the_old_one_and_counts() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}}));
    cluster.settle().await;
    cluster.add_claim("blue-claim", &["ReadWriteMany"], false);
    cluster.edit(json!({"storage": {"pvc": {"claim": "blue-claim"}}}));
    let outcome = cluster.pass().await;
    assert!(outcome.reconfigured && cluster.claim(OWN).is_some());
    assert!(
        outcome.events[0]
            .message
            .contains(&format!("from PVC {OWN} to PVC blue-claim"))
    );
    // The kept Managed was about the other claim.
    assert_eq!(
        (cluster.state(), cluster.status()["managementState"].as_str()),
        (Some("Unmanaged"), Some("Unmanaged"))
    );
    assert!(!cluster.pass().await.reconfigured);
    assert_eq!(cluster.calls(), [format!("create {OWN}")]);
}

// storage-volumes 38
#[tokio::test]
async fn nothing_is_created_under_an_explicit_unmanaged() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}, "managementState": "Unmanaged"}));
    let outcome = cluster.pass().await;
    assert_eq!(rejected(&outcome), Some(Reason::InvalidConfig));
    assert!(cluster.calls().is_empty());
    let mut ovirt = Volumes::on(
        "oVirt",
        json!({"rolloutStrategy": "Recreate", "storage": {"managementState": "Unmanaged"}}),
    );
    ovirt.pass().await;
    assert_eq!(
        (ovirt.calls(), ovirt.exists().as_str()),
        (vec![], "False/PVC Issues Found")
    );
}

fn class(name: &str, default: bool, binding: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "volumeBindingMode": binding,
        "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default.to_string()}},
    })
}

fn volume(name: &str, class: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"storageClassName": class, "capacity": {"storage": "1Ti"}},
    })
}

// storage-volumes 4, 25, 26
#[test]
fn the_bootstrap_claim_names_its_class_or_leaves_it_to_the_default_or_waits_two_minutes() {
    let (stack, ovirt) = ("standard-csi", "ovirt-csi-sc");
    let plain = |name| class(name, false, "Immediate");
    let default = |name| class(name, true, "WaitForFirstConsumer");
    let beta = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "old", "annotations": {"storageclass.beta.kubernetes.io/is-default-class": "true"}}});
    // The expected claim: `Some(class)`, with "" for the cluster's default class; `None` waits.
    for (what, platform, objects, seconds, expected) in [
        ("its class", "OpenStack", vec![plain(stack)], 0, Some(stack)),
        (
            "its class on oVirt",
            "oVirt",
            vec![plain(ovirt), default("mine")],
            0,
            Some(ovirt),
        ),
        (
            "its class is the default",
            "OpenStack",
            vec![default(stack)],
            0,
            Some(stack),
        ),
        ("the class of the other platform", "oVirt", vec![plain(stack)], 0, None),
        ("nothing", "OpenStack", vec![], 0, None),
        ("nothing after 119 s", "OpenStack", vec![], 119, None),
        ("nothing after 2 minutes", "OpenStack", vec![], 120, Some(stack)),
        ("nothing for an hour", "oVirt", vec![], 3600, Some(ovirt)),
        ("a clock that was set back a minute", "oVirt", vec![], -60, None),
        ("a clock that was set back an hour", "oVirt", vec![], -3600, Some(ovirt)),
        ("a class that is no default", "oVirt", vec![plain("other")], 60, None),
        ("a default class", "oVirt", vec![default("mine")], 0, Some("")),
        ("a default class of old clusters", "OpenStack", vec![beta], 0, Some("")),
        (
            "a volume of its class",
            "OpenStack",
            vec![volume("v", stack)],
            0,
            Some(stack),
        ),
        (
            "a volume, and a default class",
            "oVirt",
            vec![volume("v", ovirt), default("mine")],
            0,
            Some(ovirt),
        ),
        (
            "a volume of another class",
            "oVirt",
            vec![volume("v", "other")],
            0,
            None,
        ),
        ("a volume without a class", "OpenStack", vec![volume("v", "")], 0, None),
    ] {
        let mut cluster = Volumes::with_storage(json!({}));
        for object in objects {
            cluster.add(object);
        }
        let since = cluster.snapshot.now - jiff::SignedDuration::from_secs(seconds);
        match storage::bootstrap_claim(&cluster.snapshot, Some(platform), since) {
            BootstrapClaim::Create(made) => {
                let class = made["spec"]
                    .get("storageClassName")
                    .and_then(Value::as_str)
                    .unwrap_or("");
                assert_eq!(Some(class), expected, "{what}");
                assert_eq!(made["spec"]["accessModes"], json!(["ReadWriteOnce"]));
                assert_eq!(made["spec"]["resources"]["requests"]["storage"], "100Gi");
                assert_eq!(made["metadata"]["annotations"][names::OWNED_ANNOTATION], "true");
            }
            BootstrapClaim::Wait { message, left } => {
                assert_eq!(expected, None, "{what}");
                let own = if platform == "oVirt" { ovirt } else { stack };
                assert!(message.contains(&format!("{own} does not exist")), "{what}: {message}");
                assert_eq!(i64::try_from(left.as_secs()).unwrap(), 120 - seconds.max(0), "{what}");
            }
        }
    }
}

// storage-volumes 4: volumes are read only where the claim of a new cluster depends on them
#[test]
fn volumes_are_read_only_for_a_claim_without_class() {
    let reads = |platform, objects: Vec<Value>| {
        let mut cluster = Volumes::with_storage(json!({}));
        for object in objects {
            cluster.add(object);
        }
        storage::bootstrap_claim_reads_volumes(&cluster.snapshot, platform)
    };
    assert!(reads(Some("OpenStack"), vec![]));
    assert!(reads(Some("oVirt"), vec![class("mine", true, "Immediate")]));
    assert!(!reads(Some("oVirt"), vec![class("ovirt-csi-sc", false, "Immediate")]));
    for platform in [Some("AWS"), Some("BareMetal"), Some("Libvirt"), Some(""), None] {
        assert!(!reads(platform, vec![]), "{platform:?}");
    }
    let mut present = Volumes::with_storage(json!({}));
    present.add_claim(OWN, &["ReadWriteOnce"], false);
    assert!(!storage::bootstrap_claim_reads_volumes(
        &present.snapshot,
        Some("oVirt")
    ));
}

// storage-volumes 4: the same default, chosen later by a new Config
#[tokio::test]
async fn the_platforms_default_claim_waits_for_its_class_and_then_says_that_it_is_missing() {
    let mut cluster = Volumes::on("oVirt", json!({"rolloutStrategy": "Recreate"}));
    cluster.config["metadata"]["creationTimestamp"] = json!("2026-05-04T03:01:01Z");
    let outcome = cluster.pass().await;
    let wait = outcome.wait.unwrap();
    assert_eq!(wait.after.as_secs(), 60);
    assert!(
        outcome.error.is_none() && wait.message.contains("ovirt-csi-sc"),
        "{}",
        wait.message
    );
    assert_eq!(
        (cluster.calls(), cluster.exists().as_str()),
        (vec![], "False/PVC does not exist")
    );
    cluster.snapshot.now += jiff::SignedDuration::from_secs(60);
    cluster.settle().await;
    assert_eq!(cluster.claim(OWN).unwrap()["spec"]["storageClassName"], "ovirt-csi-sc");
    assert!(
        cluster.message().contains("StorageClass ovirt-csi-sc does not exist"),
        "{}",
        cluster.message()
    );
}

// storage-volumes 30 (on oVirt: on OpenStack it takes the Swift driver to know that there is no Swift)
#[tokio::test]
async fn the_platforms_default_claim_is_created_when_a_managed_config_names_no_storage() {
    let mut cluster = Volumes::on("oVirt", json!({"rolloutStrategy": "Recreate"}));
    cluster.add(class("ovirt-csi-sc", false, "WaitForFirstConsumer"));
    let outcome = cluster.pass().await;
    assert_eq!(
        cluster.claim(OWN).unwrap()["spec"]["accessModes"],
        json!(["ReadWriteOnce"])
    );
    assert_eq!(
        cluster.storage_spec(),
        &json!({"pvc": {"claim": OWN}, "managementState": "Unmanaged"})
    );
    assert!(outcome.facts.is_some());
    cluster.settle().await;
    // replicas and strategy are the user's.
    let mut scaled = Volumes::on("oVirt", json!({"replicas": 2}));
    scaled.add(class("ovirt-csi-sc", false, "Immediate"));
    for _ in 0..2 {
        assert_eq!(rejected(&scaled.pass().await), Some(Reason::PvcIncompatible));
        assert!(scaled.message().contains("set spec.replicas to 1"));
        assert_eq!(scaled.config["spec"]["replicas"], 2);
    }
    scaled.edit(json!({"replicas": 1, "rolloutStrategy": "Recreate"}));
    assert!(scaled.settle().await.facts.is_some());
    // A name in the spec reads as the user's: it must not get there before the claim.
    let mut refused = Volumes::on("oVirt", json!({"rolloutStrategy": "Recreate"}));
    refused.add(class("ovirt-csi-sc", false, "Immediate"));
    refused.answers(ApiServer::OverQuota);
    refused.pass().await;
    assert!(refused.config["spec"].get("storage").is_none());
    refused.answers(ApiServer::Works);
    assert!(refused.settle().await.facts.is_some());
}

// storage-volumes 27
#[tokio::test]
async fn a_claim_of_the_default_name_is_used_as_it_is_by_the_platforms_default() {
    let mut cluster = Volumes::on("oVirt", json!({"rolloutStrategy": "Recreate"}));
    cluster.add_claim(OWN, &["ReadWriteOnce"], false);
    cluster.settle().await;
    assert_eq!((cluster.calls(), cluster.state()), (vec![], Some("Unmanaged")));
}

// storage-volumes 3.2; spec/README 14
#[tokio::test]
async fn the_message_says_why_a_claim_is_pending() {
    let first = |name| class(name, false, "WaitForFirstConsumer");
    let immediate = |name| class(name, false, "Immediate");
    let unset = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "slow"}});
    let (scheduled, provisioner) = (
        "it is bound when a registry pod is scheduled",
        "waits for the provisioner",
    );
    for (what, class_name, volume, classes, expected) in [
        (
            "no class",
            Some("slow"),
            None,
            vec![],
            "StorageClass slow does not exist",
        ),
        (
            "another class",
            Some("slow"),
            None,
            vec![first("fast")],
            "StorageClass slow does not exist",
        ),
        ("first consumer", Some("slow"), None, vec![first("slow")], scheduled),
        (
            "first consumer of two",
            Some("slow"),
            None,
            vec![immediate("fast"), first("slow")],
            scheduled,
        ),
        ("immediate", Some("slow"), None, vec![immediate("slow")], provisioner),
        ("no binding mode", Some("slow"), None, vec![unset], provisioner),
        (
            "a volume",
            Some("slow"),
            Some("v7"),
            vec![first("slow")],
            "it waits for volume v7",
        ),
        (
            "the empty class",
            Some(""),
            None,
            vec![first("slow")],
            "an administrator's volume",
        ),
        ("no default", None, None, vec![first("slow")], "no default StorageClass"),
        (
            "a default",
            None,
            None,
            vec![class("d", true, "Immediate")],
            "the default StorageClass to be set",
        ),
    ] {
        let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
        cluster.add_claim("blue-claim", &["ReadWriteMany"], false);
        cluster.set_claim("blue-claim", "/status", json!({"phase": "Pending"}));
        let mut spec = json!({"accessModes": ["ReadWriteMany"]});
        if let Some(name) = class_name {
            spec["storageClassName"] = json!(name);
        }
        if let Some(name) = volume {
            spec["volumeName"] = json!(name);
        }
        cluster.set_claim("blue-claim", "/spec", spec);
        for class in classes {
            cluster.add(class);
        }
        cluster.settle().await;
        let message = cluster.message();
        assert!(
            message.contains("Pending") && message.contains(expected),
            "{what}: {message}"
        );
    }
}
