//! A container is created, or is lost and created again.

use image_registry_operator::config::resolve::Reason;
use image_registry_operator::names;
use image_registry_operator::storage::Freeze;
use image_registry_operator::storage::model::error::ErrorClass;
use serde_json::{Value, json};

use super::{BackendUnderTest, Death, Failure, RESYNC, Sent, assert_one_owned, at_each_death, dies, owned};

// storage-core 22, storage-decisions 8, 9
pub async fn a_process_that_dies_at_any_request_leaves_one_owned_container<S: BackendUnderTest>() {
    let deaths = at_each_death(async |death, at| {
        let mut site = S::start(&format!("dies-{at}-created"), S::storage(None)).await;
        let died = dies(&mut site, death).await;
        site.converge().await;
        assert_one_owned(&site, at).await;
        let created = site.sent().into_iter().filter(|sent| *sent == Sent::Create);
        assert_eq!(created.count(), 1, "{at}");
        died
    });
    let deaths = deaths.await;
    assert!(deaths >= 2 * S::CHANGES, "only {deaths}");
}

// storage-decisions 8, T6: a name in the spec does not make up for the record
pub async fn a_process_that_dies_while_it_creates_a_named_container_leaves_it_owned<S: BackendUnderTest>() {
    // Before and after the create call, and the mark.
    for death in [Death::Before(1), Death::After(1), Death::Before(2), Death::After(2)] {
        let name = format!("named-{death:?}").to_lowercase().replace(['(', ')'], "");
        let mut site = S::start(&format!("{name}-created"), S::storage(Some(&name))).await;
        assert!(dies(&mut site, death).await, "{death:?}");
        site.converge().await;
        assert_eq!(
            (site.state(), site.is_ours(&name).await),
            (Some("Managed"), true),
            "{death:?}"
        );
        site.edit(json!({"managementState": "Removed"}));
        site.settle().await;
        assert_eq!(site.exists(&name).await, !S::MARKS, "{death:?}");
    }
}

// storage-core 22, storage-decisions 8
pub async fn a_process_that_dies_before_a_record_is_stored_leaves_one_owned_container<S: BackendUnderTest>() {
    for steps in 0..6 {
        let mut site = S::start(&format!("dies-unstored{steps}-created"), S::storage(None)).await;
        site.steps(steps).await;
        drop(site.step().await); // what it wants stored is lost
        site.restart();
        site.converge().await;
        assert_one_owned(&site, &format!("{steps} steps")).await;
    }
}

// storage-core 16, storage-s3 25
pub async fn a_named_container_that_is_missing_is_created_and_owned<S: BackendUnderTest>() {
    let name = "asked-for-named";
    let mut site = S::start("asked-for", S::storage(Some(name))).await;
    site.converge().await;
    assert_eq!(
        (site.state(), S::container_of(site.status())),
        (Some("Managed"), Some(name))
    );
    assert!(site.is_ours(name).await);
}

// storage-core 18
pub async fn nothing_is_created_under_unmanaged<S: BackendUnderTest>() {
    let storage = S::storage_with(Some("nowhere-named"), json!("Unmanaged"));
    let mut site = S::start("nowhere", storage).await;
    // An intent on the Config does not help either.
    let location = site.location("nowhere-named");
    for intent in ["", &location] {
        site.annotate(names::STORAGE_INTENT_ANNOTATION, intent);
        assert!(site.step().await.record.is_none());
        let error = site.pass().await.error.unwrap();
        assert!(error.message.contains("nowhere-named does not exist"), "{error:?}");
        assert_eq!(site.condition("StorageExists"), format!("False/{}", S::GONE.0));
        assert_eq!(site.changes(), []);
    }
    let mut blank = S::start("nowhere-blank", S::storage_with(None, json!("Unmanaged"))).await;
    let error = blank.pass().await.error.unwrap();
    assert_eq!(error.class, ErrorClass::Invalid(Reason::InvalidConfig));
    assert_eq!(blank.sent(), []);
}

// storage-s3 27, storage-decisions T6
pub async fn a_container_to_which_access_is_refused_is_never_created<S: BackendUnderTest>() {
    for state in [Value::Null, json!("Managed")] {
        let storage = S::storage_with(Some("closed-named"), state.clone());
        let mut site = S::start("closed", storage).await;
        let location = site.location("closed-named");
        site.annotate(names::STORAGE_INTENT_ANNOTATION, &location);
        site.fail(Failure::Access);
        let outcome = site.pass().await;
        assert!(outcome.error.is_some() && outcome.facts.is_none());
        assert!(site.condition("StorageExists").starts_with(S::REFUSED));
        assert_eq!((site.changes(), site.state()), (vec![], state.as_str()));
    }
}

// storage-core 13, storage-decisions 21
pub async fn an_outage_creates_nothing_and_leaves_the_registry_as_it_is<S: BackendUnderTest>() {
    let (mut site, name) = owned::<S>("outage").await;
    let running = site.running.clone();
    site.fail(Failure::Outage);
    site.edit(json!({"replicas": 3}));
    let outcome = site.pass().await;
    assert!(outcome.error.is_some() && outcome.facts.is_none() && outcome.status_storage.is_none());
    assert!(outcome.freeze == Freeze::Storage);
    let exists = site.condition("StorageExists");
    let unknown = [S::UNKNOWN, S::NO_LOGIN].map(|reason| format!("Unknown/{reason}"));
    assert!(unknown.contains(&exists), "{exists}");
    // With another spec than the applied one, the Deployment waits.
    site.edit(json!({"storage": S::storage(Some("outage-next"))}));
    let outcome = site.pass().await;
    assert!(outcome.facts.is_none() && outcome.freeze == Freeze::Deployment);
    assert_eq!(
        (&site.running, S::container_of(site.status())),
        (&running, Some(name.as_str()))
    );
    assert_eq!(site.changes(), []);
    site.heal();
    site.edit(json!({"storage": S::storage(Some(&name))}));
    site.converge().await;
    assert!(site.condition("StorageExists").starts_with("True/"));
}

// storage-core 14, storage-decisions T18
pub async fn a_lost_container_is_reported_before_it_is_created_again<S: BackendUnderTest>() {
    let (mut site, name) = owned::<S>("found-lost").await;
    site.delete(&name).await;
    site.edit(json!({"replicas": 3}));
    site.single_steps = true;
    let outcome = site.pass().await;
    let mut lost = outcome.events.iter().filter(|event| event.reason == "StorageLost");
    assert!(lost.any(|event| event.warning && event.message.contains("images")));
    assert!(outcome.facts.is_none() && outcome.status_storage.is_none() && outcome.freeze == Freeze::Storage);
    assert!(site.condition("StorageExists").starts_with("False/"));
    assert_eq!(site.changes(), []);
    site.single_steps = false;
    site.converge().await;
    assert_one_owned(&site, "created again").await;
    assert!(site.condition("StorageExists").starts_with("True/"));
    assert_eq!(site.count_events("StorageLost"), 1);
}

// storage-core 14: the conditions of the lost container say nothing about the new one
pub async fn a_process_that_dies_while_a_lost_container_is_created_again_leaves_it_complete<S: BackendUnderTest>() {
    for n in 1..=S::CHANGES {
        let (mut site, name) = owned::<S>(&format!("dies-lost{n}-created")).await;
        site.delete(&name).await;
        site.edit(json!({"replicas": 3}));
        if n % 2 == 0 {
            // An outage replaces what the conditions said.
            site.fail(Failure::Outage);
            site.pass().await;
            assert!(site.condition("StorageExists").starts_with("Unknown/"));
            site.heal();
            site.later(RESYNC);
        }
        dies(&mut site, Death::Before(n)).await;
        site.converge().await;
        assert_one_owned(&site, &format!("request {n}")).await;
        assert!(site.count_events("StorageLost") > 0, "{n}");
    }
}
