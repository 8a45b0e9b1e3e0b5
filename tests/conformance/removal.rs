//! A container is deleted with everything in it, and only where that is wanted and proven.

use serde_json::{Value, json};

use super::{BackendUnderTest, OTHER, Sent, at_each_death, brought, dies, owned, remove_and_keep};

/// Nothing is recorded about removed storage.
fn assert_forgotten<S: BackendUnderTest>(site: &S) {
    assert_eq!((site.status(), site.state()), (&json!({}), None));
    assert_eq!((site.intent(), site.created()), (None, None));
    assert_eq!(S::container_of(site.storage_spec()), None);
}

// storage-core 40, 45, storage-decisions 7, 14, storage-s3 47
pub async fn a_removal_proves_ownership_before_each_step_and_leaves_nothing<S: BackendUnderTest>() {
    let (mut site, name) = owned::<S>("emptied").await;
    site.fill(&name, 2 * S::PAGE + 1).await;
    let mut spec = site.storage_spec().clone();
    site.edit(json!({"managementState": "Removed"}));
    assert!(site.settle().await.done && !site.exists(&name).await);
    // Every other field of the spec stays.
    let (member, field) = S::FIELD;
    spec[member].as_object_mut().unwrap().remove(field);
    spec.as_object_mut().unwrap().remove("managementState");
    assert_eq!(site.storage_spec(), &spec);
    assert_forgotten(&site);
    let conditions = site.config["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 1, "none is about settings: {conditions:?}");
    assert_eq!(site.condition("StorageExists"), format!("False/{}", S::GONE.1));
    let mut proven = false;
    for sent in site.sent() {
        match sent {
            Sent::ReadMark => proven = true,
            Sent::Delete => assert!(std::mem::take(&mut proven), "{:?}", site.sent()),
            _ => {}
        }
    }
    assert_eq!(site.changes(), [Sent::Delete; 4], "three pages, and the container");
    site.forget();
    assert!(site.pass().await.done);
    assert_eq!(site.sent(), [], "nothing is asked about what is gone");
}

// storage-decisions T8
pub async fn a_process_that_dies_at_any_request_of_a_removal_leaves_nothing<S: BackendUnderTest>() {
    let deaths = at_each_death(async |death, at| {
        let (mut site, name) = owned::<S>(&format!("dies-{at}-removed")).await;
        site.keep_versions(&name).await;
        site.fill(&name, 3).await;
        site.edit(json!({"managementState": "Removed"}));
        let died = dies(&mut site, death).await;
        assert!(site.converge().await.done, "{at}");
        assert!(!site.exists(&name).await, "{at}");
        assert_forgotten(&site);
        died
    });
    assert!(deaths.await >= 4);
}

// storage-decisions 11, T8
pub async fn a_removal_stops_at_once_when_it_is_taken_back_or_the_mark_changes<S: BackendUnderTest>() {
    for how in ["managed", "unmanaged", "mark"] {
        if how == "mark" && !S::MARKS {
            continue;
        }
        let (mut site, name) = owned::<S>(&format!("stopped-{how}")).await;
        site.fill(&name, S::PAGE + 2).await;
        site.edit(json!({"managementState": "Removed"}));
        site.pass().await;
        let message = site.message("StorageExists");
        let counted = format!("{} objects are deleted so far", S::PAGE);
        assert!(message.contains(&counted), "{message}");
        site.forget();
        // The controller does not know yet that the Config changed.
        site.cluster.stale.set(true);
        let outcome = site.pass().await;
        assert!(!outcome.done && outcome.error.is_some());
        site.cluster.stale.set(false);
        match how {
            "managed" => site.edit(json!({"managementState": "Managed"})),
            "unmanaged" => site.edit(json!({"storage": {"managementState": "Unmanaged"}})),
            _ => site.set_mark(&name, Some(OTHER)).await,
        }
        assert!(site.pass().await.done || how == "managed");
        let counted = format!("{} objects were deleted", S::PAGE);
        assert!(site.message("StorageExists").contains(&counted), "{how}");
        site.settle().await;
        let events = site.events.iter().filter(|event| event.message.contains(&counted));
        assert_eq!(events.filter(|event| event.warning).count(), 1, "{how}");
        assert_eq!((site.count(&name).await, site.changes()), (2, vec![]), "{how}");
    }
}

// storage-core 42, 43, storage-decisions 13, T9
pub async fn a_removal_goes_by_the_status_whatever_the_spec_has_become<S: BackendUnderTest>() {
    for (cluster, storage, other) in [
        ("spec-blank", json!({S::FIELD.0: null}), None),
        ("spec-volume", json!({"pvc": {"claim": "x"}}), None),
        (
            "spec-other",
            S::storage(Some("spec-other-users")),
            Some("spec-other-users"),
        ),
    ] {
        let (mut site, name) = owned::<S>(cluster).await;
        site.fill(&name, 2).await;
        if let Some(other) = other {
            site.create(other).await;
            let mark = site.infrastructure().to_owned();
            site.set_mark(other, Some(&mark)).await;
        }
        site.edit(json!({"managementState": "Removed", "storage": storage}));
        assert!(site.settle().await.done && !site.exists(&name).await);
        if let Some(other) = other {
            assert_eq!(S::container_of(site.storage_spec()), Some(other));
            assert!(site.exists(other).await);
        }
    }
}

// storage-s3 51
pub async fn a_container_that_is_gone_already_is_a_success<S: BackendUnderTest>() {
    let (mut site, name) = owned::<S>("already-gone").await;
    site.delete(&name).await;
    site.edit(json!({"managementState": "Removed"}));
    assert!(site.pass().await.done);
    assert_forgotten(&site);
    assert_eq!(site.changes(), []);
}

// storage-decisions 5, T3
pub async fn managed_asked_for_together_with_removed_deletes_nothing<S: BackendUnderTest>() {
    // As older releases left the status: without a managementState, and with its deprecated mirror.
    for without_state in [false, true] {
        let (mut site, name) = brought::<S>(&format!("raised-{without_state}"), Value::Null, 1).await;
        let mark = site.infrastructure().to_owned();
        site.set_mark(&name, Some(&mark)).await;
        site.converge().await;
        assert_eq!(site.state(), Some("Unmanaged"));
        site.forget();
        if without_state {
            site.config["status"]["storage"]["managementState"].take();
            site.config["status"]["storageManaged"] = json!(true);
        }
        let storage = json!({S::FIELD.0: null, "pvc": {}, "managementState": "Managed"});
        site.edit(json!({"managementState": "Removed", "storage": storage}));
        assert!(site.settle().await.done);
        assert_eq!((site.changes(), site.count(&name).await), (vec![], 1));
    }
}

// storage-decisions T8
pub async fn nothing_is_changed_for_a_config_that_is_not_the_newest<S: BackendUnderTest>() {
    let (mut site, name) = owned::<S>("stale-removed").await;
    site.fill(&name, 1).await;
    site.edit(json!({"managementState": "Removed"}));
    site.cluster.stale.set(true);
    for _ in 0..3 {
        assert!(!site.pass().await.done);
    }
    assert_eq!((site.changes(), site.count(&name).await), (vec![], 1));
    let mut fresh = S::start("stale-created", S::storage(None)).await;
    fresh.cluster.stale.set(true);
    fresh.pass().await;
    assert_eq!(fresh.changes(), []);
    assert!(fresh.cluster.confirmed.get() > 0);
}

// storage-core 40, storage-decisions 7, T5
pub async fn after_a_removal_nothing_is_inherited<S: BackendUnderTest>() {
    let (mut site, name) = owned::<S>("anew").await;
    site.edit(json!({"managementState": "Removed"}));
    site.settle().await;
    assert_forgotten(&site);
    // A blank spec creates a container, and records that.
    site.edit(json!({"managementState": "Managed"}));
    site.converge().await;
    assert_eq!(
        (site.state(), S::container_of(site.storage_spec())),
        (Some("Managed"), Some(name.as_str()))
    );
    assert!(site.created().is_some() && site.intent().is_none());
    site.edit(json!({"managementState": "Removed"}));
    site.settle().await;
    // A container that exists is the user's.
    site.create("anew-users").await;
    site.put("anew-users", "image").await;
    site.edit(json!({"managementState": "Managed", "storage": S::storage(Some("anew-users"))}));
    site.converge().await;
    assert_eq!(site.state(), Some("Unmanaged"));
    remove_and_keep(&mut site, "anew-users", 1).await;
}
