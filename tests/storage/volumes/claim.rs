//! Acceptance of claims: creation, use, switching.

use serde_json::{Value, json};

use super::Volumes;
use crate::harness::ApiServer;
use crate::harness::warnings;
use crate::selection::rejected;
use image_registry_operator::storage;

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

// storage-volumes 25, 26
#[test]
fn the_bootstrap_claim_names_its_class_or_leaves_it_to_the_default() {
    let claim = |cluster: &Volumes, platform| storage::bootstrap_claim(&cluster.snapshot, Some(platform));
    let mut cluster = Volumes::with_storage(json!({}));
    assert!(
        claim(&cluster, "OpenStack")
            .unwrap_err()
            .message
            .contains("standard-csi")
    );
    cluster.add(class("other", false, "Immediate"));
    assert!(claim(&cluster, "oVirt").unwrap_err().message.contains("ovirt-csi-sc"));
    cluster.add(class("mine", true, "Immediate"));
    let fallback = claim(&cluster, "oVirt").unwrap();
    assert!(fallback["spec"].get("storageClassName").is_none());
    cluster.add(class("ovirt-csi-sc", false, "Immediate"));
    let made = claim(&cluster, "oVirt").unwrap();
    assert_eq!(made["spec"]["storageClassName"], "ovirt-csi-sc");
    assert_eq!(made["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(made["spec"]["resources"]["requests"]["storage"], "100Gi");
    assert_eq!(made["metadata"]["annotations"][names::OWNED_ANNOTATION], "true");
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

#[tokio::test]
async fn the_message_says_why_a_claim_is_pending() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    cluster.add_claim("blue-claim", &["ReadWriteMany"], false);
    cluster.set_claim("blue-claim", "/status", json!({"phase": "Pending"}));
    cluster.settle().await;
    assert!(cluster.message().contains("Pending") && cluster.message().contains("StorageClass slow does not exist"));
    cluster.add(class("slow", false, "WaitForFirstConsumer"));
    cluster.pass().await;
    assert!(
        cluster.message().contains("WaitForFirstConsumer"),
        "{}",
        cluster.message()
    );
    cluster.set_claim("blue-claim", "/spec", json!({"accessModes": ["ReadWriteMany"]}));
    cluster.pass().await;
    assert!(
        cluster.message().contains("no default StorageClass"),
        "{}",
        cluster.message()
    );
}
