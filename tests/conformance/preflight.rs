//! Changed storage is tried out before the registry uses it.

use std::time::Duration;

use image_registry_operator::names;
use image_registry_operator::status::judge::Preflight;
use serde_json::{Value, json};

use super::{BackendUnderTest, Death, Failure, brought, dies, owned};

/// Key of the probe object.
pub const PROBE: &str = "docker/registry/v2/_preflight/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

// storage-decisions 18, T15, T16
pub async fn a_preflight_that_fails_keeps_the_registry_as_it_was_and_leaves_no_probe<S: BackendUnderTest>() {
    let (mut site, _) = owned::<S>("untried").await;
    let (running, status) = (site.running.clone(), site.status().clone());
    let next = "untried-next";
    site.create(next).await;
    // The object is written, and cannot be read.
    site.fail(Failure::ObjectReads);
    site.edit(json!({"storage": S::storage(Some(next))}));
    let mut failed = String::new();
    for _ in 0..3 {
        site.later(Duration::from_mins(6));
        let outcome = site.pass().await;
        assert!(outcome.facts.is_none() && !outcome.reconfigured && outcome.events.is_empty());
        assert_eq!((&site.running, site.status()), (&running, &status));
        assert_eq!(site.config["status"]["storageManaged"], true);
        assert_eq!(site.count(next).await, 0, "no probe is left");
        failed = match outcome.preflight {
            Some(Preflight::Failed(message)) => message,
            Some(Preflight::Waiting(_)) => String::new(),
            other => panic!("{other:?}"),
        };
    }
    assert!(failed.contains(&format!("{next}/{}{PROBE}", S::ROOT)), "{failed}");
    site.heal();
    site.events.clear();
    site.later(Duration::from_mins(6));
    assert!(site.pass().await.reconfigured);
    site.converge().await;
    let events: Vec<_> = site.events.iter().map(|event| (event.reason, event.warning)).collect();
    assert_eq!(events, [("StorageReconfigured", false)]);
    assert_eq!(S::container_of(site.status()), Some(next));
    assert_eq!(site.config["status"]["storageManaged"], false);
    assert!(site.running.is_some() && site.running != running);
    assert_eq!(site.count(next).await, 0);
}

// storage-decisions 19
pub async fn a_probe_of_a_process_that_died_is_deleted_by_the_next<S: BackendUnderTest>() {
    let (mut site, name) = brought::<S>("orphan", Value::Null, 0).await;
    assert!(dies(&mut site, Death::AfterProbe).await);
    assert_eq!(site.count(&name).await, 1);
    // The Config names another container meanwhile.
    site.create("orphan-next").await;
    site.edit(json!({"storage": S::storage(Some("orphan-next"))}));
    site.converge().await;
    assert_eq!((site.count(&name).await, site.count("orphan-next").await), (0, 0));
    assert_eq!(S::container_of(site.status()), Some("orphan-next"));
    assert_eq!(site.annotation(names::STORAGE_PROBE_ANNOTATION), None);
}
