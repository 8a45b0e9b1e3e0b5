//! One suite for every object backend: creation, ownership, removal, preflight and loss of a container.
//!
//! A backend implements [`BackendUnderTest`] for its test site, and adds one line:
//! `conformance!(crate::cluster::S3Cluster);`.

use std::ops::DerefMut;
use std::time::Duration;

use image_registry_operator::names;
use serde_json::{Value, json};

use crate::harness::{Killed, StorageHarness, StorageUnderTest};

pub mod creation;
pub mod marks;
pub mod ownership;
pub mod preflight;
pub mod removal;

/// Another cluster, as its marks name it.
pub const OTHER: &str = "green-9";
/// Where the registry keeps blobs.
pub const BLOBS: &str = "docker/registry/v2/blobs/";
/// Longer than any retry of the engine waits.
pub const RESYNC: Duration = Duration::from_mins(11);

/// A request that the operator sent to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It created the container.
    Create,
    /// It deleted objects or the container.
    Delete,
    /// It changed something else of the container, or tried to.
    Change,
    ReadMark,
    Read,
    /// It is about the object of a preflight.
    Probe,
}

/// What fails until [`BackendUnderTest::heal`].
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// Every request: 503.
    Outage,
    /// The check whether the container exists: 403.
    Access,
    /// Reads of the mark: 403.
    MarkReads,
    /// Reads of objects: 403.
    ObjectReads,
}

/// When the process dies. Requests that change something count, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Before the service gets the n-th request.
    Before(usize),
    /// After the service carried out the n-th request, before the answer arrives.
    After(usize),
    /// After the preflight wrote its object.
    AfterProbe,
}

/// A cluster with a backend, and the service behind it as its administrator sees it.
#[allow(async_fn_in_trait)] // One thread runs all of it.
pub trait BackendUnderTest: DerefMut<Target = StorageHarness<Self::Storage>> + Sized {
    type Storage: StorageUnderTest;
    /// The member of `spec.storage`, and its field with the name of the container.
    const FIELD: (&'static str, &'static str);
    /// So many objects are deleted in one step.
    const PAGE: usize;
    /// So many requests of a creation change something.
    const CHANGES: usize;
    /// Conditions of the settings of a Managed container.
    const SETTINGS: &'static [&'static str];
    /// Reasons of `StorageExists=False`: the container never existed; a removal deleted it.
    const GONE: (&'static str, &'static str);
    /// Reasons of `StorageExists=Unknown`: no decision of the service; no answer of the token service.
    const UNKNOWN: &'static str = "Unknown Error Occurred";
    const NO_LOGIN: &'static str = Self::UNKNOWN;
    /// Where the registry's root directory is, with a slash.
    const ROOT: &'static str = "";
    /// The right to read the mark, as errors name it.
    const MARK_RIGHT: &'static str;
    /// Whether containers carry a mark. Without one the record of the Config and the name that the operator gives prove the
    /// ownership, so that a removal keeps a container with another name.
    const MARKS: bool = true;
    /// Status of `StorageExists` if access is refused.
    const REFUSED: &'static str = "False/";

    /// A cluster of this name with `spec.storage` as given.
    async fn start(cluster: &str, storage: Value) -> Self;
    /// The name that the operator gives.
    fn generated(&self) -> String;
    /// Location ID of a container.
    fn location(&self, container: &str) -> String;
    /// How messages tell that the mark is missing.
    fn no_mark(&self) -> String;
    /// The operator's process ends, and another begins.
    fn restart(&mut self);
    fn fail(&self, failure: Failure);
    fn die(&self, death: Death, killed: &Killed);
    /// Ends failures and planned deaths.
    fn heal(&self);
    /// Requests since [`Self::forget`].
    fn sent(&self) -> Vec<Sent>;
    fn forget(&self);

    /// Containers whose names contain the name of the cluster.
    async fn containers(&self) -> Vec<String>;
    async fn create(&self, container: &str);
    /// Deletes an empty container.
    async fn delete(&self, container: &str);
    /// Turns on what keeps deleted objects, where the service has it.
    async fn keep_versions(&self, _container: &str) {}
    /// The cluster that the mark names.
    async fn mark(&self, container: &str) -> Option<String>;
    async fn set_mark(&self, container: &str, cluster: Option<&str>);
    /// Whether the service has all settings of a Managed container.
    async fn has_settings(&self, container: &str) -> bool;
    async fn put(&self, container: &str, key: &str);
    /// Objects in an existing container, probes too.
    async fn count(&self, container: &str) -> usize;

    /// `spec.storage` with this container, or blank.
    fn storage(container: Option<&str>) -> Value {
        let (member, field) = Self::FIELD;
        match container {
            Some(name) => json!({member: {field: name}}),
            None => json!({member: {}}),
        }
    }

    fn storage_with(container: Option<&str>, state: Value) -> Value {
        let mut storage = Self::storage(container);
        storage["managementState"] = state;
        storage
    }

    /// The container of a `storage`.
    fn container_of(storage: &Value) -> Option<&str> {
        storage[Self::FIELD.0][Self::FIELD.1].as_str()
    }

    /// Requests that changed the container, or tried to.
    fn changes(&self) -> Vec<Sent> {
        let mut sent = self.sent();
        sent.retain(|sent| matches!(sent, Sent::Create | Sent::Delete | Sent::Change));
        sent
    }

    async fn exists(&self, container: &str) -> bool {
        self.containers().await.iter().any(|name| name == container)
    }

    async fn is_ours(&self, container: &str) -> bool {
        if !Self::MARKS {
            let location = self.location(container);
            return self.annotation(names::STORAGE_CREATED_UNMARKED_ANNOTATION) == Some(location.as_str());
        }
        self.mark(container).await.as_deref() == Some(self.infrastructure())
    }

    /// Puts so many objects.
    async fn fill(&self, container: &str, count: usize) {
        for n in 0..count {
            self.put(container, &format!("{BLOBS}{n:06}")).await;
        }
    }

    fn count_events(&self, reason: &str) -> usize {
        self.events.iter().filter(|event| event.reason == reason).count()
    }
}

/// A cluster whose own container is in use, and the name of the container.
pub async fn owned<S: BackendUnderTest>(cluster: &str) -> (S, String) {
    let mut site = S::start(cluster, S::storage(None)).await;
    site.converge().await;
    assert_eq!(site.state(), Some("Managed"));
    site.forget();
    let name = site.generated();
    (site, name)
}

/// A cluster with a user's container, which is not in use yet, and the name of the container.
pub async fn brought<S: BackendUnderTest>(cluster: &str, state: Value, objects: usize) -> (S, String) {
    let name = format!("{cluster}-brought");
    let site = S::start(cluster, S::storage_with(Some(&name), state)).await;
    site.create(&name).await;
    site.fill(&name, objects).await;
    (site, name)
}

/// Removes the registry. Nothing in the container may go.
pub async fn remove_and_keep<S: BackendUnderTest>(site: &mut S, container: &str, objects: usize) {
    site.edit(json!({"managementState": "Removed"}));
    for _ in 0..4 {
        site.pass().await;
        site.later(RESYNC);
    }
    assert_eq!(site.count(container).await, objects, "of {container}");
}

/// Passes in which the process dies: whether it did. Another process is running then.
pub async fn dies<S: BackendUnderTest>(site: &mut S, death: Death) -> bool {
    let killed = Killed::new();
    site.die(death, &killed);
    let mut died = false;
    for _ in 0..40 {
        let outcome = site.pass_until(&killed).await;
        died = outcome.is_none();
        if outcome.is_none_or(|outcome| outcome.wait.is_none()) {
            break;
        }
    }
    site.heal();
    if died {
        site.restart();
    }
    died
}

/// Runs `test` with a death at each request, until no request is left to die at. How many deaths there were.
pub async fn at_each_death(test: impl AsyncFn(Death, &str) -> bool) -> usize {
    let mut deaths = 0;
    for n in 1.. {
        let before = test(Death::Before(n), &format!("before{n}")).await;
        let after = test(Death::After(n), &format!("after{n}")).await;
        if !before && !after {
            break;
        }
        deaths += usize::from(before) + usize::from(after);
    }
    deaths
}

/// There is one container, which is the operator's, complete and empty.
pub async fn assert_one_owned<S: BackendUnderTest>(site: &S, at: &str) {
    let name = site.generated();
    assert_eq!(site.containers().await, std::slice::from_ref(&name), "{at}");
    assert_eq!(site.state(), Some("Managed"), "{at}");
    assert_eq!(S::container_of(site.status()), Some(name.as_str()), "{at}");
    assert!(site.is_ours(&name).await, "{at}");
    for condition in S::SETTINGS {
        assert!(site.condition(condition).starts_with("True/"), "{at}: {condition}");
    }
    assert!(site.has_settings(&name).await, "{at}");
    assert_eq!(site.count(&name).await, 0, "{at}: no probe is left");
}

/// Runs the suite against a site: all of it, or `unmarked` what holds for containers without a mark.
macro_rules! conformance {
    ($site:ty) => {
        $crate::conformance::conformance! { unmarked $site }
        $crate::conformance::conformance! { $site:
            marks {
                another_clusters_container_is_refused_and_never_changed
                another_clusters_empty_container_is_not_adopted_under_an_intent
                a_mark_that_is_unreadable_or_missing_keeps_everything_until_the_user_lets_go
            }
        }
    };
    (unmarked $site:ty) => {
        $crate::conformance::conformance! { $site:
            creation {
                a_process_that_dies_at_any_request_leaves_one_owned_container
                a_process_that_dies_while_it_creates_a_named_container_leaves_it_owned
                a_process_that_dies_before_a_record_is_stored_leaves_one_owned_container
                a_named_container_that_is_missing_is_created_and_owned
                nothing_is_created_under_unmanaged
                a_container_to_which_access_is_refused_is_never_created
                an_outage_creates_nothing_and_leaves_the_registry_as_it_is
                a_lost_container_is_reported_before_it_is_created_again
                a_process_that_dies_while_a_lost_container_is_created_again_leaves_it_complete
            }
            ownership {
                a_users_container_is_never_marked_and_never_deleted
                consent_by_location_marks_a_users_container_and_removal_deletes_it
                an_empty_container_of_the_generated_name_is_adopted_after_the_intent_is_stored
                a_container_that_holds_a_foreign_object_is_not_adopted
                an_empty_container_is_not_adopted_without_an_intent_for_its_location
            }
            removal {
                a_removal_proves_ownership_before_each_step_and_leaves_nothing
                a_process_that_dies_at_any_request_of_a_removal_leaves_nothing
                a_removal_stops_at_once_when_it_is_taken_back_or_the_mark_changes
                a_removal_goes_by_the_status_whatever_the_spec_has_become
                a_container_that_is_gone_already_is_a_success
                managed_asked_for_together_with_removed_deletes_nothing
                nothing_is_changed_for_a_config_that_is_not_the_newest
                after_a_removal_nothing_is_inherited
            }
            preflight {
                a_preflight_that_fails_keeps_the_registry_as_it_was_and_leaves_no_probe
                a_probe_of_a_process_that_died_is_deleted_by_the_next
            }
        }
    };
    ($site:ty: $($group:ident { $($test:ident)* })*) => {
        $(mod $group {
            $(#[tokio::test]
            async fn $test() {
                $crate::conformance::$group::$test::<$site>().await;
            })*
        })*
    };
}
pub(crate) use conformance;
