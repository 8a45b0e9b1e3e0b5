//! What the ownership mark of a container decides, for services that have one.

use image_registry_operator::names;
use serde_json::{Value, json};

use super::{BackendUnderTest, Failure, OTHER, brought, owned, remove_and_keep};

// storage-decisions 2, 3
pub async fn another_clusters_container_is_refused_and_never_changed<S: BackendUnderTest>() {
    for state in [Value::Null, json!("Managed"), json!("Unmanaged")] {
        for copied in [false, true] {
            let managed = state == "Managed";
            let cluster = format!("{}-foreign-{copied}", state.as_str().unwrap_or("blank").to_lowercase());
            let (mut site, name) = brought::<S>(&cluster, state.clone(), 2).await;
            site.set_mark(&name, Some(OTHER)).await;
            if copied {
                // The Config of the other cluster, with everything in it.
                let location = site.location(&name);
                site.annotate(names::STORAGE_CREATED_ANNOTATION, &location);
                site.annotate(names::ADOPT_STORAGE_ANNOTATION, &location);
                let storage = site.storage_spec().clone();
                site.config["status"] = json!({"storage": storage, "storageManaged": managed});
            }
            let error = site.settle().await.error.map(|error| error.message);
            let named = format!("the mark of cluster {OTHER}");
            assert_eq!(error.is_some_and(|message| message.contains(&named)), managed);
            remove_and_keep(&mut site, &name, 2).await;
            assert!(!(managed && copied) || site.message("StorageExists").contains(&named));
            assert_eq!(site.changes(), [], "{cluster}");
            assert_eq!(site.mark(&name).await.as_deref(), Some(OTHER));
        }
    }
}

// storage-decisions 3, T6
pub async fn another_clusters_empty_container_is_not_adopted_under_an_intent<S: BackendUnderTest>() {
    for (cluster, state) in [("greens-blank", Value::Null), ("greens-managed", json!("Managed"))] {
        let mut site = S::start(cluster, S::storage_with(None, state)).await;
        let name = site.generated();
        site.create(&name).await;
        site.set_mark(&name, Some(OTHER)).await;
        let location = site.location(&name);
        site.annotate(names::STORAGE_INTENT_ANNOTATION, &location);
        site.settle().await;
        assert_eq!(site.mark(&name).await.as_deref(), Some(OTHER));
        remove_and_keep(&mut site, &name, 0).await;
    }
}

// storage-core 41, 44, storage-decisions 4, T2
pub async fn a_mark_that_is_unreadable_or_missing_keeps_everything_until_the_user_lets_go<S: BackendUnderTest>() {
    for unreadable in [true, false] {
        let (mut site, name) = owned::<S>(&format!("unproven-{unreadable}")).await;
        site.fill(&name, 2).await;
        let why = if unreadable {
            site.fail(Failure::MarkReads);
            S::MARK_RIGHT.to_owned()
        } else {
            site.set_mark(&name, None).await;
            site.no_mark()
        };
        site.forget();
        site.edit(json!({"managementState": "Removed"}));
        for _ in 0..3 {
            let outcome = site.pass().await;
            let message = outcome.error.unwrap().message;
            assert!(!outcome.done && message.contains(&why), "{message}");
            let advice = "spec.storage.managementState to Unmanaged";
            assert!(unreadable || message.contains(advice), "{message}");
        }
        assert_eq!(
            (S::container_of(site.status()), site.changes()),
            (Some(name.as_str()), vec![])
        );
        site.edit(json!({"storage": {"managementState": "Unmanaged"}}));
        site.forget();
        assert!(site.pass().await.done);
        assert_eq!((site.sent(), site.count(&name).await), (vec![], 2));
        assert_eq!((site.status(), site.intent(), site.created()), (&json!({}), None, None));
    }
}
