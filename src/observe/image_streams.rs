//! Counts the tags of all ImageStreams of the cluster. Only counts are cached, not the objects: a cluster may have tens of
//! thousands of ImageStreams.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use serde::Deserialize;
use tracing::{debug, info, warn};

use super::watch::{Backoff, Ended, classify};
use super::watch_spec::Unreadable;
use crate::api::Kind;

/// Numbers of image stream tags, by source (imported: also in the stream's spec; pushed: only in its status) and location
/// (namespaces that begin with `openshift`, and others).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags {
    /// Imported, in namespaces that begin with `openshift`.
    pub(crate) imported_openshift: i64,
    /// Imported, in other namespaces.
    pub(crate) imported_other: i64,
    /// Pushed, in namespaces that begin with `openshift`.
    pub(crate) pushed_openshift: i64,
    /// Pushed, in other namespaces.
    pub(crate) pushed_other: i64,
}

/// The tags of one stream. Small, because there is one value for each stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    imported: u16,
    pushed: u16,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Stream {
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    tags: Option<Vec<SpecTag>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SpecTag {
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    tags: Option<Vec<StatusTag>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StatusTag {
    tag: String,
}

/// Counts of all streams, and their sums.
#[derive(Default)]
struct TagCounter {
    /// By a hash of namespace and name; the names themselves would take most of the memory.
    counts: HashMap<u64, Count>,
    total: Tags,
    /// Whether the initial list is complete. Until then the sums are incomplete.
    listed: bool,
    reported: Option<Tags>,
}

impl TagCounter {
    fn handle(&mut self, event: &Event<DynamicObject>) {
        match event {
            Event::Init => {
                let reported = self.reported;
                *self = Self {
                    reported,
                    ..Self::default()
                };
            }
            Event::InitApply(object) | Event::Apply(object) => count_object(self, object, true),
            Event::Delete(object) => count_object(self, object, false),
            Event::InitDone => {
                self.listed = true;
                self.counts.shrink_to_fit();
            }
        }
    }

    /// The sums, if they changed since the last call.
    fn take_changed(&mut self) -> Option<Tags> {
        let changed = Some(self.total).filter(|total| self.listed && self.reported != Some(*total));
        self.reported = changed.or(self.reported);
        changed
    }

    fn set(&mut self, namespace: &str, name: &str, count: Count) {
        let key = key(namespace, name);
        let old = if count == Count::default() {
            self.counts.remove(&key)
        } else {
            self.counts.insert(key, count)
        };
        self.add(namespace, old.unwrap_or_default(), -1);
        self.add(namespace, count, 1);
    }

    fn add(&mut self, namespace: &str, count: Count, sign: i64) {
        let total = &mut self.total;
        let (imported, pushed) = if namespace.starts_with("openshift") {
            (&mut total.imported_openshift, &mut total.pushed_openshift)
        } else {
            (&mut total.imported_other, &mut total.pushed_other)
        };
        *imported += sign * i64::from(count.imported);
        *pushed += sign * i64::from(count.pushed);
    }
}

fn key(namespace: &str, name: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (namespace, name).hash(&mut hasher);
    hasher.finish()
}

fn count(stream: &Stream) -> Count {
    let known: Vec<&str> = stream
        .spec
        .iter()
        .flat_map(|s| s.tags.iter().flatten())
        .map(|tag| tag.name.as_str())
        .collect();
    let mut count = Count::default();
    for tag in stream.status.iter().flat_map(|s| s.tags.iter().flatten()) {
        let counter = if known.contains(&tag.tag.as_str()) {
            &mut count.imported
        } else {
            &mut count.pushed
        };
        *counter = counter.saturating_add(1);
    }
    count
}

/// Watches all image streams and passes the sums to `report`: after the initial list, and then after changes, at most once
/// per `interval`. Never returns. On a cluster without the API it retries every minute.
pub(crate) async fn count_tags(client: Client, interval: Duration, mut report: impl FnMut(Tags)) {
    let mut strategy = InitialListStrategy::StreamingList;
    let mut backoff = Backoff::default();
    loop {
        match watch(&client, strategy.clone(), interval, &mut report, &mut backoff).await {
            Ended::NoStreaming => strategy = InitialListStrategy::ListWatch,
            Ended::Absent => {
                backoff.reset();
                tokio::time::sleep(Duration::from_mins(1)).await;
            }
            Ended::Failed(error) => {
                if let Some(error) = error.filter(|error| backoff.logged.is_new(error)) {
                    warn!("cannot watch ImageStreams, and the metrics of their tags stay as they are: {error}");
                }
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

async fn watch(
    client: &Client,
    strategy: InitialListStrategy,
    interval: Duration,
    report: &mut impl FnMut(Tags),
    backoff: &mut Backoff,
) -> Ended {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &Kind::ImageStream.resource());
    let streaming = matches!(strategy, InitialListStrategy::StreamingList);
    let config = watcher::Config {
        initial_list_strategy: strategy,
        page_size: Some(100),
        ..watcher::Config::default()
    };
    let mut stream = Box::pin(watcher(api, config));
    let mut counter = TagCounter::default();
    let mut tick = tokio::time::interval(interval);
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            _ = tick.tick() => {
                counter.take_changed().into_iter().for_each(&mut *report);
                continue;
            }
        };
        match event {
            Some(Ok(event)) => {
                counter.handle(&event);
                if matches!(event, Event::InitDone) {
                    counter.take_changed().into_iter().for_each(&mut *report);
                    backoff.reset();
                    if backoff.logged.ended() {
                        info!("ImageStreams are watched again");
                    }
                }
            }
            Some(Err(error)) => {
                if let Some(ended) = classify(&error, streaming, Unreadable::Wait) {
                    return ended;
                }
                debug!(%error, "watch of image streams was interrupted");
                tokio::time::sleep(backoff.next()).await;
            }
            None => return Ended::Failed(None),
        }
    }
}

fn count_object(counter: &mut TagCounter, object: &DynamicObject, present: bool) {
    let (Some(namespace), Some(name)) = (&object.metadata.namespace, &object.metadata.name) else {
        return;
    };
    // The aggregated API may return null for a list. An object that cannot be decoded counts as without tags.
    let stream = if present {
        Stream::deserialize(&object.data).unwrap_or_default()
    } else {
        Stream::default()
    };
    counter.set(namespace, name, count(&stream));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::fake_api::{FakeApi, Fault};

    fn object(namespace: &str, name: &str, spec: &[&str], status: &[&str]) -> DynamicObject {
        let spec: Vec<_> = spec.iter().map(|n| json!({"name": n})).collect();
        let status: Vec<_> = status.iter().map(|n| json!({"tag": n, "items": null})).collect();
        serde_json::from_value(json!({
            "apiVersion": "image.openshift.io/v1", "kind": "ImageStream",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"tags": spec}, "status": {"dockerImageRepository": "", "tags": status},
        }))
        .unwrap()
    }

    // lifecycle 124 (the counts)
    #[test]
    fn a_status_tag_that_the_spec_has_is_imported_and_any_other_is_pushed() {
        let mut counter = TagCounter::default();
        count_object(&mut counter, &object("openshift-foo", "a", &["x"], &["x", "y"]), true);
        count_object(&mut counter, &object("team", "a", &[], &["z", "w"]), true);
        let expected = Tags {
            imported_openshift: 1,
            pushed_openshift: 1,
            imported_other: 0,
            pushed_other: 2,
        };
        assert_eq!(counter.total, expected);
    }

    #[test]
    fn a_changed_stream_replaces_its_count_and_a_stream_without_tags_is_forgotten() {
        let mut counter = TagCounter::default();
        count_object(&mut counter, &object("team", "a", &["x"], &["x"]), true);
        count_object(&mut counter, &object("team", "a", &[], &["x", "y"]), true);
        assert_eq!(
            counter.total,
            Tags {
                pushed_other: 2,
                ..Tags::default()
            }
        );
        count_object(&mut counter, &object("team", "a", &[], &[]), false);
        assert_eq!(counter.total, Tags::default());
        assert!(counter.counts.is_empty());
    }

    #[test]
    fn a_restarted_list_reports_nothing_until_it_is_complete() {
        let mut counter = TagCounter::default();
        let streams = ["a", "b"].map(|name| object("team", name, &[], &["x"]));
        let [first, second] = streams.map(Event::InitApply);
        for event in [&Event::Init, &first, &second] {
            counter.handle(event);
            assert_eq!(counter.take_changed(), None);
        }
        counter.handle(&Event::InitDone);
        let both = Tags {
            pushed_other: 2,
            ..Tags::default()
        };
        assert_eq!((counter.take_changed(), counter.take_changed()), (Some(both), None));
        for event in [&Event::Init, &first] {
            counter.handle(event);
            assert_eq!(counter.take_changed(), None, "the list is incomplete");
        }
        counter.handle(&Event::InitDone);
        assert_eq!(counter.take_changed().map(|tags| tags.pushed_other), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_watch_is_retried_more_and_more_slowly() {
        let api = FakeApi::default();
        api.fault(Fault::NoWatch);
        let counting = count_tags(api.client(), Duration::from_mins(1), |_| {});
        assert!(tokio::time::timeout(Duration::from_mins(1), counting).await.is_err());
        let attempts = api.requests().len();
        assert!((2..=12).contains(&attempts), "{attempts}");
    }

    #[test]
    fn null_lists_are_empty() {
        let mut nulls = object("team", "a", &[], &[]);
        nulls.data = json!({"spec": {"tags": null}, "status": {"tags": null}});
        let mut counter = TagCounter::default();
        count_object(&mut counter, &nulls, true);
        assert_eq!(counter.total, Tags::default());
    }
}
