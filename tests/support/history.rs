//! Every version of an object that a watch reported, so that a test can check all of them and not only the last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use image_registry_operator::api::ObjectRef;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::TestCluster;

/// How long one watch may lag behind another.
const WATCH_LAG: Duration = Duration::from_secs(20);

/// Records until it is dropped.
pub struct History {
    versions: Arc<Mutex<Vec<(Instant, Value)>>>,
    task: JoinHandle<()>,
}

impl TestCluster {
    /// Records all objects of a kind (and namespace) from now on.
    pub async fn record(&self, reference: &ObjectRef) -> History {
        History::of(self.api(reference)).await
    }
}

impl History {
    /// Records what an API lists from now on; objects that exist already come first.
    pub async fn of(api: Api<DynamicObject>) -> Self {
        let versions = Arc::new(Mutex::new(Vec::new()));
        let sink = versions.clone();
        let (ready, wait) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let config = watcher::Config {
                initial_list_strategy: InitialListStrategy::ListWatch,
                ..Default::default()
            };
            let mut stream = Box::pin(watcher(api, config));
            let mut ready = Some(ready);
            while let Some(event) = stream.next().await {
                match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => {
                        sink.lock()
                            .unwrap()
                            .push((Instant::now(), serde_json::to_value(object).unwrap()));
                    }
                    Ok(Event::InitDone) => {
                        if let Some(ready) = ready.take() {
                            let _ = ready.send(());
                        }
                    }
                    _ => {}
                }
            }
        });
        wait.await.expect("the watch begins");
        Self { versions, task }
    }

    /// All versions so far.
    pub fn versions(&self) -> Vec<(Instant, Value)> {
        self.versions.lock().unwrap().clone()
    }

    /// The first version that is as expected, and when the watch reported it. Waits for it, because another watch may have
    /// been faster.
    pub async fn first(&self, what: &str, expected: impl Fn(&Value) -> bool) -> (Instant, Value) {
        let began = Instant::now();
        loop {
            let found = self.versions().into_iter().find(|(_, object)| expected(object));
            if let Some(found) = found {
                return found;
            }
            assert!(began.elapsed() < WATCH_LAG, "no version {what}: {:?}", self.versions());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Names of the recorded objects.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .versions()
            .iter()
            .map(|(_, o)| o["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// See [`reversals`].
    pub fn reversals(&self) -> Vec<String> {
        reversals(self.versions().iter().map(|(_, object)| object))
    }
}

/// Conditions that returned to a status that they had left, each with its statuses in order.
pub fn reversals<'a>(versions: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let mut courses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for object in versions {
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        for condition in conditions.into_iter().flatten() {
            let type_ = condition["type"].as_str().unwrap().to_owned();
            let course = courses.entry(type_).or_default();
            let status = condition["status"].as_str().unwrap();
            if course.last().is_none_or(|last| last != status) {
                course.push(status.to_owned());
            }
        }
    }
    let turned = |course: &Vec<String>| course.iter().enumerate().any(|(i, s)| course[..i].contains(s));
    let turned = courses.iter().filter(|(_, course)| turned(course));
    turned
        .map(|(type_, course)| format!("{type_}: {}", course.join(" -> ")))
        .collect()
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}
