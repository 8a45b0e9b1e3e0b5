//! Whose a container is, and when the operator adopts one.

use image_registry_operator::names;
use serde_json::{Value, json};

use super::{BackendUnderTest, RESYNC, brought, owned, remove_and_keep};

// storage-core 15, 17, 41, section 6, storage-decisions 1, T1, storage-s3 52
pub async fn a_users_container_is_never_marked_and_never_deleted<S: BackendUnderTest>() {
    for (cluster, given, raised) in [
        ("users-blank", Value::Null, false),
        ("users-managed", json!("Managed"), false),
        ("users-raised", Value::Null, true),
    ] {
        let managed = raised || given == "Managed";
        let (mut site, name) = brought::<S>(cluster, given, 3).await;
        site.converge().await;
        if raised {
            site.edit(json!({"storage": {"managementState": "Managed"}}));
            site.converge().await;
        }
        assert_eq!(site.state(), Some(if managed { "Managed" } else { "Unmanaged" }));
        assert_eq!(site.config["status"]["storageManaged"], managed);
        // A backend without settings changes nothing.
        let applies = managed && !S::SETTINGS.is_empty();
        assert_eq!(site.changes().is_empty(), !applies);
        assert_eq!(site.mark(&name).await, None);
        assert_eq!(site.has_settings(&name).await, managed || S::SETTINGS.is_empty());
        for condition in S::SETTINGS {
            assert_eq!(site.condition(condition).starts_with("True/"), managed, "{condition}");
        }
        let spec = site.storage_spec().clone();
        site.forget();
        remove_and_keep(&mut site, &name, 3).await;
        assert_eq!(site.changes(), []);
        assert_eq!(site.status(), &json!({}));
        if !managed {
            assert_eq!((site.sent(), site.storage_spec()), (vec![], &spec));
        }
        // Consent has to name the location.
        let (location, no_mark) = (site.location(&name), site.no_mark());
        let says_why = |message: &str| message.contains(&no_mark) && message.contains(&location);
        let mut kept = site.events.iter().filter(|event| event.reason == "StorageKept");
        assert_eq!(kept.any(|event| says_why(&event.message)), managed);
        assert_eq!(says_why(&site.message("StorageExists")), managed);
    }
}

// storage-decisions 2, T5
pub async fn consent_by_location_marks_a_users_container_and_removal_deletes_it<S: BackendUnderTest>() {
    for (cluster, meant) in [("consent-given", true), ("consent-elsewhere", false)] {
        let (mut site, name) = brought::<S>(cluster, json!("Managed"), 2).await;
        site.converge().await;
        assert_eq!(site.mark(&name).await, None);
        let location = site.location(if meant { &name } else { "another" });
        // Without a mark nobody can own a container that another created.
        let meant = meant && S::MARKS;
        site.annotate(names::ADOPT_STORAGE_ANNOTATION, &location);
        site.later(RESYNC);
        site.converge().await;
        assert_eq!(site.is_ours(&name).await, meant);
        assert_eq!(site.count_events("StorageAdopted"), usize::from(meant));
        site.annotate("team", "blue");
        site.edit(json!({"managementState": "Removed"}));
        site.settle().await;
        assert_eq!(site.exists(&name).await, !meant);
        if meant {
            // A container that is named later does not inherit the consent.
            let annotations = &site.config["metadata"]["annotations"];
            assert_eq!(annotations, &json!({"team": "blue"}));
            site.create(&name).await;
            let storage = S::storage_with(Some(&name), json!("Managed"));
            site.edit(json!({"managementState": "Managed", "storage": storage}));
            site.converge().await;
            assert_eq!(site.mark(&name).await, None);
        }
    }
}

// storage-decisions T6
pub async fn an_empty_container_of_the_generated_name_is_adopted_after_the_intent_is_stored<S: BackendUnderTest>() {
    let mut site = S::start("empty-generated", S::storage(None)).await;
    let name = site.generated();
    site.create(&name).await;
    // The operator's own probe does not count.
    site.put(&name, super::preflight::PROBE).await;
    let outcome = site.step().await;
    assert!(outcome.record.is_some());
    assert_eq!(site.changes(), [], "the intent comes first");
    site.converge().await;
    assert_eq!(site.state(), Some("Managed"));
    assert!(site.is_ours(&name).await);
}

// storage-decisions 1, 10, T6
pub async fn a_container_that_holds_a_foreign_object_is_not_adopted<S: BackendUnderTest>() {
    for (cluster, intended, marked) in [
        ("full-before", false, false),
        ("full-raced", true, false),
        // As it is left when the Config was deleted under Unmanaged.
        ("full-marked", false, true),
    ] {
        let mut site = S::start(cluster, S::storage(None)).await;
        let name = site.generated();
        if intended {
            site.steps(1).await;
            assert_eq!(site.intent(), Some(site.location(&name).as_str()));
        }
        site.create(&name).await;
        site.put(&name, "image").await;
        let mark = (marked && S::MARKS).then(|| site.infrastructure().to_owned());
        site.set_mark(&name, mark.as_deref()).await;
        site.converge().await;
        assert_eq!(site.state(), Some("Unmanaged"), "{cluster}");
        assert!(site.events.iter().any(|event| event.message.contains("not empty")));
        assert_eq!(S::container_of(site.storage_spec()), Some(name.as_str()));
        assert_eq!((site.mark(&name).await, site.changes()), (mark, vec![]));
        remove_and_keep(&mut site, &name, 1).await;
    }
    // The same under an explicit Managed.
    let (mut site, name) = brought::<S>("full-managed", json!("Managed"), 1).await;
    let location = site.location(&name);
    site.annotate(names::STORAGE_INTENT_ANNOTATION, &location);
    site.converge().await;
    assert_eq!(site.mark(&name).await, None);
    remove_and_keep(&mut site, &name, 1).await;
}

// storage-decisions T6
pub async fn an_empty_container_is_not_adopted_without_an_intent_for_its_location<S: BackendUnderTest>() {
    let (mut site, name) = brought::<S>("empty-users", Value::Null, 0).await;
    site.converge().await;
    assert_eq!((site.state(), site.mark(&name).await), (Some("Unmanaged"), None));
    // The creation record of one container says nothing about another.
    let (mut site, _) = owned::<S>("empty-second").await;
    site.create("empty-second-users").await;
    site.edit(json!({"storage": S::storage(Some("empty-second-users"))}));
    site.converge().await;
    assert_eq!(
        site.created(),
        None,
        "the record of the container before ends with the switch"
    );
    assert_eq!(
        (site.state(), site.mark("empty-second-users").await),
        (Some("Unmanaged"), None)
    );
    assert_eq!(site.changes(), []);
}
