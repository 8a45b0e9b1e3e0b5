//! One watch: the initial list, then events, until the process stops leading.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::watch_spec::{Unreadable, WatchSpec};
use crate::api::ObjectRef;
use crate::config::last_logged::LastLogged;

/// Shortest and longest wait after an error.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// After this time without an error, the backoff starts over.
const BACKOFF_RESET: Duration = Duration::from_mins(1);
/// How long the API server may answer a watch with errors before passes go on without its kind, if they can: for a moment after a right
/// was granted, or while it starts, the API server still denies requests.
const UNREADABLE_AFTER: Duration = Duration::from_secs(10);
/// How often a kind that the API server does not serve is tried again.
const ABSENT_KIND_RETRY: Duration = Duration::from_secs(30);

/// After this many seconds the server ends a watch, and the client restarts it. The client treats a watch without events for
/// this long as dead; HTTP/2 pings detect a dead connection much sooner. Shorter than the API server's own timeout. A restart
/// costs half a millisecond of CPU, and there are about forty watches.
const TIMEOUT_SECONDS: u32 = 1200;

/// Why a watch ended.
pub(super) enum Ended {
    /// The server does not support streaming of the initial list.
    NoStreaming,
    /// The server does not serve the kind, or the operator works without it and may not read it.
    Absent,
    /// Any other error, with its words if the log needs them.
    Failed(Option<String>),
}

/// Receives what a watch delivers.
pub(super) trait EventHandler: Send + Sync {
    /// An object of the initial list, or an added or modified one.
    fn applied(&self, spec: &WatchSpec, reference: ObjectRef, object: Value);
    /// An object was deleted. `version` is the resourceVersion of the deletion.
    fn deleted(&self, spec: &WatchSpec, reference: &ObjectRef, version: Option<&str>);
    /// The initial list is complete and consists of the `listed` objects.
    fn list_completed(&self, spec: &WatchSpec, listed: &BTreeSet<ObjectRef>);
    /// The API server does not serve the kind.
    fn kind_absent(&self, spec: &WatchSpec);
    /// The kind cannot be read, and passes go on without it ([`Unreadable::Unknown`]).
    fn kind_unreadable(&self, spec: &WatchSpec, error: &str);
}

/// Watches `spec` and passes everything to `handler`. Never returns; the caller aborts the task.
pub(super) async fn run(client: Client, spec: WatchSpec, handler: impl EventHandler) {
    // A streamed initial list arrives through the watch, so neither side holds the whole list in memory.
    let mut strategy = InitialListStrategy::StreamingList;
    let mut backoff = Backoff::default();
    loop {
        match attempt(&client, &spec, &handler, strategy.clone(), &mut backoff).await {
            Ended::NoStreaming => strategy = InitialListStrategy::ListWatch,
            Ended::Absent => {
                backoff.reset();
                handler.kind_absent(&spec);
                tokio::time::sleep(ABSENT_KIND_RETRY).await;
            }
            Ended::Failed(error) => {
                if let Some(error) = error {
                    if backoff.logged.is_new(&error) {
                        warn!("cannot watch {spec}: {error}");
                    }
                    if spec.unreadable == Unreadable::Unknown && backoff.refused() >= UNREADABLE_AFTER {
                        handler.kind_unreadable(&spec, &error);
                    }
                }
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

/// The wait before the next attempt, which doubles with each consecutive error. A resumed watch may deliver no event for
/// hours, so a time without errors counts as success.
#[derive(Default)]
pub(super) struct Backoff {
    last: Option<(Duration, Instant)>,
    /// The first of the consecutive attempts that the API server answered with an error.
    refused: Option<Instant>,
    pub(super) logged: LastLogged,
}

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let now = Instant::now();
        let consecutive = self
            .last
            .filter(|(_, due)| now.saturating_duration_since(*due) < BACKOFF_RESET);
        let wait = consecutive.map_or(BACKOFF.0, |(wait, _)| (wait * 2).min(BACKOFF.1));
        self.last = Some((wait, now + wait));
        wait
    }

    /// The API server answered with an error; for how long it has.
    fn refused(&mut self) -> Duration {
        self.refused.get_or_insert_with(Instant::now).elapsed()
    }

    /// The API server did not answer, or a watch ended that had begun.
    fn interrupted(&mut self) {
        self.refused = None;
    }

    pub(super) fn reset(&mut self) {
        self.last = None;
        self.refused = None;
    }
}

fn api(client: &Client, spec: &WatchSpec) -> Api<DynamicObject> {
    let resource = spec.kind.resource();
    match spec.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

async fn attempt(
    client: &Client,
    spec: &WatchSpec,
    handler: &impl EventHandler,
    strategy: InitialListStrategy,
    backoff: &mut Backoff,
) -> Ended {
    let streaming = matches!(strategy, InitialListStrategy::StreamingList);
    let config = watcher::Config {
        field_selector: spec.name.as_ref().map(|name| format!("metadata.name={name}")),
        label_selector: spec.labels.map(str::to_owned),
        initial_list_strategy: strategy,
        timeout: Some(TIMEOUT_SECONDS),
        ..watcher::Config::default()
    };
    let mut stream = pin!(watcher(api(client, spec), config));
    let mut listed = BTreeSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                if let Some((reference, object)) = convert(spec, object) {
                    listed.insert(reference.clone());
                    handler.applied(spec, reference, object);
                }
            }
            Ok(Event::InitDone) => {
                handler.list_completed(spec, &std::mem::take(&mut listed));
                backoff.reset();
                if backoff.logged.ended() {
                    info!("{spec} is watched again");
                }
            }
            Ok(Event::Apply(object)) => {
                if let Some((reference, object)) = convert(spec, object) {
                    handler.applied(spec, reference, object);
                }
            }
            Ok(Event::Delete(object)) => {
                let version = object.resource_version();
                let reference = ObjectRef::new(spec.kind, &object.namespace().unwrap_or_default(), &object.name_any());
                handler.deleted(spec, &reference, version.as_deref());
            }
            Err(error) => match classify(&error, streaming, spec.unreadable) {
                // The watcher resumes after the wait.
                None => {
                    debug!(kind = spec.kind.kind(), %error, "watch was interrupted");
                    backoff.interrupted();
                    tokio::time::sleep(backoff.next()).await;
                }
                Some(ended) => {
                    return ended;
                }
            },
        }
    }
    Ended::Failed(None)
}

/// Why an error ends an attempt; `None` if the watcher resumes by itself after a wait.
pub(super) fn classify(error: &watcher::Error, streaming: bool, unreadable: Unreadable) -> Option<Ended> {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::InitialListFailed(kube::Error::Api(status)) => match status.code {
            404 => Some(Ended::Absent),
            403 if unreadable == Unreadable::NotServed => Some(Ended::Absent),
            400 | 422 if streaming => Some(Ended::NoStreaming),
            // The version to resume at, or the next page of the list, is too old. The watcher would ask for it forever.
            410 => Some(Ended::Failed(None)),
            _ => Some(Ended::Failed(Some(error.to_string()))),
        },
        _ => None,
    }
}

/// One malformed object must not stop a watch. A DynamicObject always decodes, so only the name can be missing.
fn convert(spec: &WatchSpec, object: DynamicObject) -> Option<(ObjectRef, Value)> {
    let name = object.metadata.name.clone()?;
    let reference = ObjectRef::new(
        spec.kind,
        object.metadata.namespace.as_deref().unwrap_or_default(),
        &name,
    );
    let mut value = serde_json::to_value(object).ok()?;
    // Items of a list have neither field; cached objects need both.
    if let Some(map) = value.as_object_mut() {
        map.insert("apiVersion".to_owned(), Value::from(spec.kind.api_version()));
        map.insert("kind".to_owned(), Value::from(spec.kind.kind()));
    }
    Some((reference, value))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::super::watch_spec::watch_specs;
    use super::*;
    use crate::config::environment::Environment;
    use crate::testing::fake_api::{FakeApi, Fault};

    #[tokio::test(start_paused = true)]
    async fn waits_double_with_consecutive_errors_and_start_over_after_a_time_without_errors() {
        let mut backoff = Backoff::default();
        let mut waits = Vec::new();
        for _ in 0..10 {
            let wait = backoff.next();
            tokio::time::sleep(wait).await;
            waits.push(wait);
        }
        assert_eq!(waits[..3], [BACKOFF.0, BACKOFF.0 * 2, BACKOFF.0 * 4]);
        assert_eq!(waits[9], BACKOFF.1);
        tokio::time::advance(BACKOFF_RESET).await;
        assert_eq!(backoff.next(), BACKOFF.0);
    }

    struct Counted(Arc<AtomicUsize>);

    impl EventHandler for Counted {
        fn applied(&self, _: &WatchSpec, _: ObjectRef, _: Value) {}
        fn deleted(&self, _: &WatchSpec, _: &ObjectRef, _: Option<&str>) {}
        fn list_completed(&self, _: &WatchSpec, _: &BTreeSet<ObjectRef>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn kind_absent(&self, _: &WatchSpec) {}
        fn kind_unreadable(&self, _: &WatchSpec, _: &str) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_whose_version_is_too_old_lists_again() {
        let api = FakeApi::default();
        api.fault(Fault::Gone);
        let lists = Arc::new(AtomicUsize::new(0));
        let spec = watch_specs(&Environment::default()).remove(0);
        let watching = run(api.client(), spec, Counted(lists.clone()));
        assert!(tokio::time::timeout(BACKOFF.1, watching).await.is_err());
        assert!(lists.load(Ordering::Relaxed) >= 2);
    }

    // While the API server restarts, it does not answer at all; the first error that it answers decides nothing.
    #[tokio::test(start_paused = true)]
    async fn only_errors_that_the_api_server_answers_in_a_row_count() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.refused(), Duration::ZERO);
        tokio::time::advance(UNREADABLE_AFTER).await;
        assert_eq!(backoff.refused(), UNREADABLE_AFTER);
        backoff.interrupted();
        assert_eq!(backoff.refused(), Duration::ZERO);
        tokio::time::advance(UNREADABLE_AFTER).await;
        backoff.reset();
        assert_eq!(backoff.refused(), Duration::ZERO);
    }
}
