//! Acceptance of claims: creation, use, switching.

use serde_json::{Value, json};

use super::super::claim;
use super::{Server, World, rejected, warnings};
use crate::api::Kind;
use crate::config::resolve::Reason;
use crate::config::snapshot::Objects;
use crate::names;
use crate::storage::fault::Class;

const OWN: &str = names::DEFAULT_CLAIM;

// storage-volumes 1, 17
#[tokio::test]
async fn an_empty_block_creates_and_owns_the_default_claim() {
    let mut world = World::new("BareMetal", json!({"replicas": 2, "storage": {"pvc": {}}}));
    let outcome = world.pass().await;
    assert_eq!(world.exists(), "True/PVC Created");
    assert!(
        world
            .message()
            .ends_with("(100Gi, ReadWriteMany, the cluster's default StorageClass).")
    );
    assert!(outcome.fault.is_none() && outcome.wait.is_none());
    let made = world.claim(OWN).unwrap();
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
        world.storage(),
        &json!({"pvc": {"claim": OWN}, "managementState": "Managed"})
    );
    assert_eq!(
        world.status(),
        &json!({"pvc": {"claim": OWN}, "managementState": "Managed"})
    );
    assert!(!outcome.reconfigured && outcome.notices.is_empty());
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
    world.settle().await;
    assert_eq!(world.calls(), [format!("create {OWN}")]);
}

// storage-volumes 2
#[tokio::test]
async fn a_preset_state_stays_when_the_default_claim_is_created() {
    let mut world = World::with_storage(json!({"pvc": {}, "managementState": "Managed"}));
    world.settle().await;
    assert_eq!(world.state(), Some("Managed"));
    assert!(world.claim(OWN).is_some());
}

// storage-volumes 3, 4
#[tokio::test]
async fn an_annotated_default_claim_is_reused_whatever_the_value() {
    for value in ["true", "false", ""] {
        let mut world = World::with_storage(json!({"pvc": {}}));
        world.add_claim(OWN, &["ReadWriteMany"], true);
        world.set_claim(
            OWN,
            "/metadata/annotations",
            json!({"imageregistry.openshift.io": value}),
        );
        world.settle().await;
        assert_eq!(
            (world.state(), world.calls()),
            (Some("Managed"), vec![]),
            "value {value:?}"
        );
        assert_eq!(world.exists(), "True/PVC Exists");
    }
}

// storage-volumes 5, 6
#[tokio::test]
async fn a_foreign_default_claim_is_refused_again_and_again() {
    let mut world = World::with_storage(json!({"pvc": {}}));
    world.add_claim(OWN, &["ReadWriteMany"], false);
    for _ in 0..3 {
        let outcome = world.pass().await;
        assert!(outcome.fault.unwrap().message.contains("not made by this operator"));
        assert_eq!(world.exists(), "False/PVC Already Exists");
        assert_eq!(world.storage(), &json!({"pvc": {}}));
        assert!(outcome.facts.is_none());
    }
    assert!(world.calls().is_empty());
}

// storage-volumes 7
#[tokio::test]
async fn a_refused_creation_leaves_the_spec_alone_and_is_tried_again() {
    let mut world = World::with_storage(json!({"pvc": {}}));
    world.server = Server::OverQuota;
    let outcome = world.pass().await;
    assert_eq!(outcome.fault.as_ref().unwrap().class, Class::Config);
    assert_eq!(world.exists(), "False/Creation Failed");
    assert!(world.message().contains("exceeded quota"));
    assert_eq!(world.storage(), &json!({"pvc": {}}));
    world.server = Server::Works;
    world.pass().await;
    assert_eq!(
        (world.exists().as_str(), world.state()),
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
        let mut world = World::new("BareMetal", spec);
        world.add_claim("blue-claim", modes, false);
        let outcome = world.settle().await;
        assert_eq!((outcome.fault, world.state()), (None, Some("Unmanaged")), "{modes:?}");
        assert_eq!(world.exists(), "True/PVC Exists");
        assert!(world.message().contains("blue-claim is Bound") && world.message().contains("8Gi"));
        assert!(world.message().contains(modes[0]));
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
        let mut world = World::new("BareMetal", spec);
        world.add_claim("blue-claim", modes, false);
        let outcome = world.pass().await;
        assert_eq!(rejected(&outcome), Some(Reason::PvcIncompatible));
        assert_eq!(world.exists(), "False/PVC Issues Found");
        assert!(world.message().contains(cause), "{}", world.message());
        assert!(outcome.facts.is_none() && outcome.record.is_none() && outcome.status_storage.is_none());
    }
}

#[tokio::test]
async fn a_block_device_is_refused() {
    let mut world = World::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    world.add_claim("blue-claim", &["ReadWriteMany"], false);
    world.set_claim("blue-claim", "/spec/volumeMode", json!("Block"));
    world.pass().await;
    assert_eq!(world.exists(), "False/PVC Issues Found");
    assert!(world.message().contains("volumeMode Block"));
}

#[tokio::test]
async fn a_name_that_no_claim_can_have_is_refused() {
    for name in ["Blue", "blue_claim", "-blue", "blue-", "a..b", "x".repeat(254).as_str()] {
        let mut world = World::with_storage(json!({"pvc": {"claim": name}}));
        let outcome = world.pass().await;
        assert_eq!(rejected(&outcome), Some(Reason::InvalidConfig), "{name}");
        assert!(world.calls().is_empty());
    }
    for name in ["a", "blue-claim.v2", "0-9"] {
        assert!(crate::api::kind::is_subdomain(name), "{name}");
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
        let mut world = World::with_storage(storage.clone());
        let outcome = world.pass().await;
        assert_eq!(outcome.fault.as_ref().map(|f| f.class), Some(Class::Config));
        assert_eq!(world.exists(), "False/PVC Issues Found");
        assert_eq!((world.calls(), world.storage()), (vec![], &storage));
    }
}

// storage-volumes 16
#[tokio::test]
async fn an_applied_claim_that_no_longer_fits_is_reported_as_unfit_and_stays() {
    let mut world = World::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    world.add_claim("blue-claim", &["ReadWriteOnce"], false);
    world.settle().await;
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
        world.edit(edit);
        let outcome = world.pass().await;
        assert_eq!(outcome.fault, None);
        assert_eq!(world.exists(), "True/PVC Exists");
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
    let mut world = World::with_storage(json!({"pvc": {}}));
    world.settle().await;
    world.drop_claim(OWN);
    let outcome = world.pass().await;
    assert_eq!(world.exists(), "False/PVC does not exist");
    assert!(warnings(&outcome)[0].contains("PVC image-registry-storage is gone"));
    assert!(outcome.facts.unwrap().not_usable.is_some() && outcome.wait.unwrap().0.is_zero());
    let outcome = world.pass().await;
    assert!(warnings(&outcome).is_empty());
    assert!(world.claim(OWN).is_some());
    assert_eq!(
        (world.exists().as_str(), world.state()),
        ("True/PVC Created", Some("Managed"))
    );
    assert_eq!(outcome.facts.unwrap().not_usable, None);
    assert!(warnings(&world.pass().await).is_empty());
}

// storage-volumes 24
#[tokio::test]
async fn a_claim_that_is_being_deleted_is_waited_for() {
    let mut world = World::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    world.add_claim("blue-claim", &["ReadWriteMany"], false);
    world.settle().await;
    world.set_claim(
        "blue-claim",
        "/metadata/deletionTimestamp",
        json!("2026-05-04T03:00:00Z"),
    );
    let outcome = world.pass().await;
    assert_eq!(world.exists(), "False/PVC does not exist");
    assert!(world.message().contains("is being deleted") && outcome.wait.is_some() && outcome.fault.is_none());
    assert!(outcome.facts.unwrap().not_usable.unwrap().contains("is being deleted"));

    // At first use there is no running registry to keep: no facts at all.
    let mut fresh = World::with_storage(json!({"pvc": {}}));
    fresh.add_claim(OWN, &["ReadWriteMany"], true);
    fresh.set_claim(OWN, "/metadata/deletionTimestamp", json!("2026-05-04T03:00:00Z"));
    let outcome = fresh.pass().await;
    assert!(outcome.facts.is_none() && outcome.wait.is_some() && fresh.calls().is_empty());
    assert_eq!(fresh.storage(), &json!({"pvc": {}}));
    fresh.drop_claim(OWN);
    fresh.pass().await;
    assert_eq!(fresh.exists(), "True/PVC Created");
}

#[tokio::test]
async fn a_missing_claim_of_a_running_registry_stops_new_pods_only() {
    let mut world = World::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    world.add_claim("blue-claim", &["ReadWriteMany"], false);
    world.settle().await;
    world.drop_claim("blue-claim");
    assert!(world.pass().await.notices.is_empty());
    let outcome = world.pass().await;
    assert_eq!(world.exists(), "False/PVC Issues Found");
    assert!(
        outcome
            .facts
            .unwrap()
            .not_usable
            .unwrap()
            .contains("blue-claim not found")
    );
    assert!(outcome.fault.is_some() && world.calls().is_empty());
}

// storage-volumes 39
#[tokio::test]
async fn an_api_server_that_does_not_answer_decides_nothing() {
    let mut broken = World::with_storage(json!({"pvc": {}}));
    broken.server = Server::Broken;
    let mut blind = World::with_storage(json!({"pvc": {}}));
    blind.snapshot.objects.set_absent_kind(Kind::PersistentVolumeClaim);
    let mut blind_later = World::with_storage(json!({"pvc": {}}));
    blind_later.settle().await;
    blind_later.drop_claim(OWN);
    blind_later
        .snapshot
        .objects
        .set_absent_kind(Kind::PersistentVolumeClaim);
    for (mut world, applied) in [(broken, false), (blind, false), (blind_later, true)] {
        let calls = world.calls().len();
        let outcome = world.pass().await;
        assert_eq!(outcome.fault.as_ref().unwrap().class, Class::Transient);
        assert_eq!(
            world.exists(),
            format!("Unknown/Unknown error occurred checking for volume claim {OWN}")
        );
        // What runs goes on, with nothing about its storage changed.
        assert_eq!(outcome.facts.map(|f| f.not_usable), applied.then_some(None));
        if applied {
            assert_eq!(world.calls().len(), calls, "created a claim without having looked");
        }
    }
}

// storage-decisions 9
#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_adopted_by_its_mark() {
    let mut world = World::with_storage(json!({"pvc": {}}));
    world.server = Server::LosesAnswer;
    assert!(world.pass().await.fault.is_some());
    world.server = Server::Works;
    world.settle().await;
    assert_eq!((world.state(), world.calls().len()), (Some("Managed"), 1));
}

#[tokio::test]
async fn a_claim_that_the_store_does_not_show_yet_is_looked_at_before_it_is_used() {
    let mut world = World::with_storage(json!({"pvc": {}}));
    let config = world.config();
    world.add_claim(OWN, &["ReadWriteMany"], false);
    let mut stale = world.snapshot.clone();
    stale.objects = Objects::default();
    let outcome = world.ensure_of(&config, &stale).await;
    assert!(outcome.wait.is_some() && outcome.record.is_none() && outcome.facts.is_none());
    world.pass().await;
    assert_eq!(world.exists(), "False/PVC Already Exists");
}

// storage-volumes 37
#[tokio::test]
async fn a_switch_of_claims_leaves_the_old_one_and_counts() {
    let mut world = World::with_storage(json!({"pvc": {}}));
    world.settle().await;
    world.add_claim("blue-claim", &["ReadWriteMany"], false);
    world.edit(json!({"storage": {"pvc": {"claim": "blue-claim"}}}));
    let outcome = world.pass().await;
    assert!(outcome.reconfigured && world.claim(OWN).is_some());
    assert!(
        outcome.notices[0]
            .note
            .contains(&format!("from PVC {OWN} to PVC blue-claim"))
    );
    // The kept Managed was about the other claim.
    assert_eq!(
        (world.state(), world.status()["managementState"].as_str()),
        (Some("Unmanaged"), Some("Unmanaged"))
    );
    assert!(!world.pass().await.reconfigured);
    assert_eq!(world.calls(), [format!("create {OWN}")]);
}

// storage-volumes 38
#[tokio::test]
async fn nothing_is_created_under_an_explicit_unmanaged() {
    let mut world = World::with_storage(json!({"pvc": {}, "managementState": "Unmanaged"}));
    let outcome = world.pass().await;
    assert_eq!(rejected(&outcome), Some(Reason::InvalidConfig));
    assert!(world.calls().is_empty());
    let mut ovirt = World::new(
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
    let claim = |world: &World, platform| claim::bootstrap_claim(&world.snapshot, Some(platform));
    let mut world = World::with_storage(json!({}));
    assert!(claim(&world, "OpenStack").unwrap_err().message.contains("standard-csi"));
    world.add(class("other", false, "Immediate"));
    assert!(claim(&world, "oVirt").unwrap_err().message.contains("ovirt-csi-sc"));
    world.add(class("mine", true, "Immediate"));
    let fallback = claim(&world, "oVirt").unwrap();
    assert!(fallback["spec"].get("storageClassName").is_none());
    world.add(class("ovirt-csi-sc", false, "Immediate"));
    let made = claim(&world, "oVirt").unwrap();
    assert_eq!(made["spec"]["storageClassName"], "ovirt-csi-sc");
    assert_eq!(made["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(made["spec"]["resources"]["requests"]["storage"], "100Gi");
    assert_eq!(made["metadata"]["annotations"][names::OWNED_ANNOTATION], "true");
}

// storage-volumes 30 (on oVirt: on OpenStack it takes the Swift driver to know that there is no Swift)
#[tokio::test]
async fn the_platforms_default_claim_is_created_when_a_managed_config_names_no_storage() {
    let mut world = World::new("oVirt", json!({"rolloutStrategy": "Recreate"}));
    world.add(class("ovirt-csi-sc", false, "WaitForFirstConsumer"));
    let outcome = world.pass().await;
    assert_eq!(
        world.claim(OWN).unwrap()["spec"]["accessModes"],
        json!(["ReadWriteOnce"])
    );
    assert_eq!(
        world.storage(),
        &json!({"pvc": {"claim": OWN}, "managementState": "Unmanaged"})
    );
    assert!(outcome.facts.is_some());
    world.settle().await;
    // replicas and strategy are the user's.
    let mut scaled = World::new("oVirt", json!({"replicas": 2}));
    scaled.add(class("ovirt-csi-sc", false, "Immediate"));
    for _ in 0..2 {
        assert_eq!(rejected(&scaled.pass().await), Some(Reason::PvcIncompatible));
        assert!(scaled.message().contains("set spec.replicas to 1"));
        assert_eq!(scaled.config["spec"]["replicas"], 2);
    }
    scaled.edit(json!({"replicas": 1, "rolloutStrategy": "Recreate"}));
    assert!(scaled.settle().await.facts.is_some());
    // A name in the spec reads as the user's: it must not get there before the claim.
    let mut refused = World::new("oVirt", json!({"rolloutStrategy": "Recreate"}));
    refused.add(class("ovirt-csi-sc", false, "Immediate"));
    refused.server = Server::OverQuota;
    refused.pass().await;
    assert!(refused.config["spec"].get("storage").is_none());
    refused.server = Server::Works;
    assert!(refused.settle().await.facts.is_some());
}

// storage-volumes 27
#[tokio::test]
async fn a_claim_of_the_default_name_is_used_as_it_is_by_the_platforms_default() {
    let mut world = World::new("oVirt", json!({"rolloutStrategy": "Recreate"}));
    world.add_claim(OWN, &["ReadWriteOnce"], false);
    world.settle().await;
    assert_eq!((world.calls(), world.state()), (vec![], Some("Unmanaged")));
}

#[tokio::test]
async fn the_message_says_why_a_claim_is_pending() {
    let mut world = World::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    world.add_claim("blue-claim", &["ReadWriteMany"], false);
    world.set_claim("blue-claim", "/status", json!({"phase": "Pending"}));
    world.settle().await;
    assert!(world.message().contains("Pending") && world.message().contains("StorageClass slow does not exist"));
    world.add(class("slow", false, "WaitForFirstConsumer"));
    world.pass().await;
    assert!(world.message().contains("WaitForFirstConsumer"), "{}", world.message());
    world.set_claim("blue-claim", "/spec", json!({"accessModes": ["ReadWriteMany"]}));
    world.pass().await;
    assert!(
        world.message().contains("no default StorageClass"),
        "{}",
        world.message()
    );
}
