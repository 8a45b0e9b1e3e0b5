//! The conditions of the operator's Config, printed when one changes.

use anyhow::{Result, bail};
use devcluster::Cluster;
use futures::StreamExt as _;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Status, reason and message by type.
type Known = BTreeMap<String, (String, String, String)>;

/// The Config, of which there is one.
pub(super) fn config_api(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("imageregistry.operator.openshift.io", "v1", "Config");
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}

/// Prints until it is dropped.
pub(super) struct Conditions {
    known: watch::Receiver<Known>,
    task: JoinHandle<()>,
}

impl Conditions {
    /// Begins, with what is so already.
    pub(super) async fn follow(cluster: &Cluster, began: Instant) -> Result<Self> {
        let api = config_api(&cluster.client().await?);
        let (sender, known) = watch::channel(Known::new());
        let task = tokio::spawn(async move {
            let mut events = Box::pin(watcher(api, watcher::Config::default()));
            while let Some(event) = events.next().await {
                if let Ok(Event::Apply(config) | Event::InitApply(config)) = event {
                    let now = conditions(&config.data);
                    sender.send_modify(|before| tell(before, now, began));
                }
            }
        });
        Ok(Self { known, task })
    }

    /// Waits for a condition.
    pub(super) async fn until(&self, type_: &str, status: &str, reason: &str, limit: Duration) -> Result<()> {
        let mut known = self.known.clone();
        let wanted = |known: &Known| known.get(type_).is_some_and(|(s, r, _)| s == status && r == reason);
        let Ok(found) = tokio::time::timeout(limit, known.wait_for(wanted)).await else {
            bail!("{type_} is not {status}/{reason} after {} s", limit.as_secs());
        };
        found?;
        Ok(())
    }
}

impl Drop for Conditions {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn conditions(config: &Value) -> Known {
    let list = config.pointer("/status/conditions").and_then(Value::as_array);
    let text = |condition: &Value, key: &str| {
        let text = condition.get(key).and_then(Value::as_str).unwrap_or_default();
        text.replace('\n', "; ")
    };
    let entry = |condition: &Value| {
        let told = ["status", "reason", "message"].map(|key| text(condition, key));
        (text(condition, "type"), told.into())
    };
    list.into_iter().flatten().map(entry).collect()
}

/// Prints what differs.
fn tell(before: &mut Known, now: Known, began: Instant) {
    for (type_, told) in &now {
        if before.get(type_) != Some(told) {
            let (status, reason, message) = told;
            let condition = format!("{type_}={status}");
            let text = match (reason.as_str(), message.as_str()) {
                (reason, "") => reason.to_owned(),
                ("", message) => message.to_owned(),
                (reason, message) => format!("{reason}: {message}"),
            };
            let line = format!("{}   {condition:19} {text}", since(began));
            // Nobody reads any more when this fails.
            let _ = super::print(line.trim_end());
        }
    }
    *before = now;
}

/// Time since the beginning, as a column.
pub(super) fn since(began: Instant) -> String {
    format!("{:7.1} s", began.elapsed().as_secs_f32())
}

/// Asks every 100 ms until the answer is something.
pub(super) async fn wait<T, F>(what: &str, limit: Duration, mut check: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = check().await? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("not so after {} s: {what}", limit.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
