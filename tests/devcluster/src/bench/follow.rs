//! Follows one object and knows when which version was told.

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_mins(1);

/// The newest version of an object, and when it was told. Ends when it is dropped.
pub(super) struct Follower {
    newest: watch::Receiver<(Instant, Value)>,
    task: JoinHandle<()>,
}

impl Follower {
    pub(super) fn start(client: &Client, resource: &ApiResource, namespace: Option<&str>, name: &str) -> Self {
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
            None => Api::all_with(client.clone(), resource),
        };
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let (sink, newest) = watch::channel((Instant::now(), Value::Null));
        let task = tokio::spawn(async move {
            let mut stream = std::pin::pin!(watcher(api, config));
            while let Some(event) = stream.next().await {
                match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => {
                        let now = Instant::now();
                        sink.send_replace((now, serde_json::to_value(object).unwrap_or_default()));
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        });
        Self { newest, task }
    }

    /// Waits for a version that is as expected; when it was told, and what it is.
    pub(super) async fn until(&self, what: &str, expected: impl Fn(&Value) -> bool) -> Result<(Instant, Value)> {
        let mut newest = self.newest.clone();
        let found = tokio::time::timeout(PATIENCE, newest.wait_for(|(_, object)| expected(object))).await;
        match found {
            Ok(found) => Ok(found.context("the watch ended")?.clone()),
            Err(_) => bail!("not {what} within {} s: {}", PATIENCE.as_secs(), self.now()),
        }
    }

    /// Waits until nothing was told of the object for this long.
    pub(super) async fn quiet(&self, how_long: Duration) -> Result<()> {
        let mut newest = self.newest.clone();
        let end = Instant::now() + PATIENCE;
        loop {
            newest.mark_unchanged();
            match tokio::time::timeout(how_long, newest.changed()).await {
                Err(_) => return Ok(()),
                Ok(changed) => changed.context("the watch ended")?,
            }
            if Instant::now() > end {
                bail!("the object does not come to rest");
            }
        }
    }

    pub(super) fn now(&self) -> Value {
        self.newest.borrow().1.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}
