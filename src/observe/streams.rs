//! Counts the tags of every ImageStream of the cluster. Counts are kept, objects are not: a cluster may have tens of
//! thousands of them.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use serde::Deserialize;

use crate::api::Kind;

/// Tags of image streams, by where they come from (imported: also in the stream's spec; pushed: not) and where they are
/// (namespaces that begin with `openshift`, and others).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Imported, in namespaces that begin with `openshift`.
    pub imported_openshift: i64,
    /// Imported, in other namespaces.
    pub imported_other: i64,
    /// Pushed, in namespaces that begin with `openshift`.
    pub pushed_openshift: i64,
    /// Pushed, in other namespaces.
    pub pushed_other: i64,
}

/// What one stream has, as small as it can be: there is one for each.
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

/// The running sums.
#[derive(Default)]
struct Ledger {
    /// By a hash of namespace and name; the names themselves would be most of the memory.
    counts: HashMap<u64, Count>,
    total: Tags,
    /// Whether the list is whole; until then the sums are not those of the cluster.
    listed: bool,
    told: Option<Tags>,
}

impl Ledger {
    fn take(&mut self, event: &Event<DynamicObject>) {
        match event {
            Event::Init => {
                let told = self.told;
                *self = Self {
                    told,
                    ..Self::default()
                };
            }
            Event::InitApply(object) | Event::Apply(object) => note(self, object, true),
            Event::Delete(object) => note(self, object, false),
            Event::InitDone => {
                self.listed = true;
                self.counts.shrink_to_fit();
            }
        }
    }

    /// Sums that were not told yet.
    fn news(&mut self) -> Option<Tags> {
        let news = Some(self.total).filter(|total| self.listed && self.told != Some(*total));
        self.told = news.or(self.told);
        news
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

/// Follows all image streams, and tells the sums after the first list and then whenever they change, at most once in
/// `every`. Never returns; on a cluster without the API it asks again now and then.
pub async fn count_tags(client: Client, every: Duration, mut tell: impl FnMut(Tags)) {
    let mut strategy = InitialListStrategy::StreamingList;
    let mut wait = Duration::from_secs(1);
    loop {
        let absent = follow(&client, strategy.clone(), every, &mut tell).await;
        match absent {
            Ended::NoStreaming => strategy = InitialListStrategy::ListWatch,
            Ended::Absent => tokio::time::sleep(Duration::from_mins(1)).await,
            Ended::Failed => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_mins(1));
            }
        }
    }
}

enum Ended {
    NoStreaming,
    Absent,
    Failed,
}

async fn follow(client: &Client, strategy: InitialListStrategy, every: Duration, tell: &mut impl FnMut(Tags)) -> Ended {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &Kind::ImageStream.resource());
    let streaming = matches!(strategy, InitialListStrategy::StreamingList);
    let config = watcher::Config {
        initial_list_strategy: strategy,
        page_size: Some(100),
        ..watcher::Config::default()
    };
    let mut stream = Box::pin(watcher(api, config));
    let mut ledger = Ledger::default();
    let mut tick = tokio::time::interval(every);
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            _ = tick.tick() => {
                ledger.news().into_iter().for_each(&mut *tell);
                continue;
            }
        };
        match event {
            Some(Ok(event)) => {
                ledger.take(&event);
                if matches!(event, Event::InitDone) {
                    ledger.news().into_iter().for_each(&mut *tell);
                }
            }
            Some(Err(watcher::Error::WatchStartFailed(kube::Error::Api(status)))) if status.code == 404 => {
                return Ended::Absent;
            }
            Some(Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))) if status.code == 404 => {
                return Ended::Absent;
            }
            Some(Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))))
                if streaming && (status.code == 400 || status.code == 422) =>
            {
                return Ended::NoStreaming;
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "watch of image streams was interrupted");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            None => return Ended::Failed,
        }
    }
}

fn note(ledger: &mut Ledger, object: &DynamicObject, present: bool) {
    let (Some(namespace), Some(name)) = (&object.metadata.namespace, &object.metadata.name) else {
        return;
    };
    // Lists may be null in the aggregated API's answers; what does not decode has no tags.
    let stream = if present {
        Stream::deserialize(&object.data).unwrap_or_default()
    } else {
        Stream::default()
    };
    ledger.set(namespace, name, count(&stream));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
    fn a_status_tag_that_the_spec_names_is_imported_and_any_other_is_pushed() {
        let mut ledger = Ledger::default();
        note(&mut ledger, &object("openshift-foo", "a", &["x"], &["x", "y"]), true);
        note(&mut ledger, &object("team", "a", &[], &["z", "w"]), true);
        let expected = Tags {
            imported_openshift: 1,
            pushed_openshift: 1,
            imported_other: 0,
            pushed_other: 2,
        };
        assert_eq!(ledger.total, expected);
    }

    #[test]
    fn a_changed_stream_replaces_its_count_and_a_deleted_one_takes_it_away() {
        let mut ledger = Ledger::default();
        note(&mut ledger, &object("team", "a", &["x"], &["x"]), true);
        note(&mut ledger, &object("team", "a", &[], &["x", "y"]), true);
        assert_eq!(
            ledger.total,
            Tags {
                pushed_other: 2,
                ..Tags::default()
            }
        );
        note(&mut ledger, &object("team", "a", &[], &[]), false);
        assert_eq!(ledger.total, Tags::default());
        assert!(ledger.counts.is_empty());
    }

    #[test]
    fn a_list_that_begins_anew_tells_nothing_until_it_is_whole() {
        let mut ledger = Ledger::default();
        let streams = ["a", "b"].map(|name| object("team", name, &[], &["x"]));
        let [first, second] = streams.map(Event::InitApply);
        for event in [&Event::Init, &first, &second] {
            ledger.take(event);
            assert_eq!(ledger.news(), None);
        }
        ledger.take(&Event::InitDone);
        let both = Tags {
            pushed_other: 2,
            ..Tags::default()
        };
        assert_eq!((ledger.news(), ledger.news()), (Some(both), None));
        for event in [&Event::Init, &first] {
            ledger.take(event);
            assert_eq!(ledger.news(), None, "half a list");
        }
        ledger.take(&Event::InitDone);
        assert_eq!(ledger.news().map(|tags| tags.pushed_other), Some(1));
    }

    #[test]
    fn null_lists_are_empty() {
        let mut nulls = object("team", "a", &[], &[]);
        nulls.data = json!({"spec": {"tags": null}, "status": {"tags": null}});
        let mut ledger = Ledger::default();
        note(&mut ledger, &nulls, true);
        assert_eq!(ledger.total, Tags::default());
    }
}
