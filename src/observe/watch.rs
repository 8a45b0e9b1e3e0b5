//! One watch: list, then follow, for as long as the process leads.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Interest, World};
use crate::api::ObjectRef;

/// Waits between attempts after an error.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// An error that comes later than this after an attempt is not one in a row with those before it.
const CALM: Duration = Duration::from_mins(1);
/// How often a kind that the API server does not serve is asked for again.
const ABSENT_KIND: Duration = Duration::from_secs(30);

/// After this many seconds the server ends a watch, and it is begun anew; one that is silent for as long counts as dead. Dead
/// connections show much sooner. Less than the API server chooses by itself; each restart costs half a millisecond of CPU,
/// and there are forty of them.
const WATCH: u32 = 1200;

/// How the stream ended.
enum Ended {
    /// The server cannot stream the initial list.
    NoStreaming,
    /// The server does not serve the kind.
    Absent,
    /// Anything else.
    Failed,
}

/// Follows `interest` and keeps `world` up to date. Never returns; dropped when the process stops leading.
pub async fn follow(client: Client, interest: Interest, world: World) {
    // Streamed initial lists come through the watch itself; the server holds no list in memory, neither do we.
    let mut strategy = InitialListStrategy::StreamingList;
    let mut pause = Pause::default();
    loop {
        match run(&client, &interest, &world, strategy.clone(), &mut pause).await {
            Ended::NoStreaming => strategy = InitialListStrategy::ListWatch,
            Ended::Absent => {
                world.kind_absent(&interest);
                tokio::time::sleep(ABSENT_KIND).await;
            }
            Ended::Failed => tokio::time::sleep(pause.next()).await,
        }
    }
}

/// The wait before the next attempt: longer for each error in a row. A resumed watch may be silent for hours, so success
/// shows only in that no error comes.
#[derive(Default)]
struct Pause {
    last: Option<(Duration, Instant)>,
}

impl Pause {
    fn next(&mut self) -> Duration {
        let now = Instant::now();
        let in_a_row = self.last.filter(|(_, due)| now.saturating_duration_since(*due) < CALM);
        let wait = in_a_row.map_or(BACKOFF.0, |(wait, _)| (wait * 2).min(BACKOFF.1));
        self.last = Some((wait, now + wait));
        wait
    }

    fn reset(&mut self) {
        self.last = None;
    }
}

async fn run(
    client: &Client,
    interest: &Interest,
    world: &World,
    strategy: InitialListStrategy,
    pause: &mut Pause,
) -> Ended {
    let resource = interest.kind.resource();
    let api: Api<DynamicObject> = match interest.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let streaming = matches!(strategy, InitialListStrategy::StreamingList);
    let config = watcher::Config {
        field_selector: interest.name.as_ref().map(|name| format!("metadata.name={name}")),
        label_selector: interest.labels.map(str::to_owned),
        initial_list_strategy: strategy,
        timeout: Some(WATCH),
        ..watcher::Config::default()
    };
    let mut stream = pin!(watcher(api, config));
    let mut seen = BTreeSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => seen.clear(),
            Ok(Event::InitApply(object)) => {
                if let Some((reference, object)) = convert(interest, object) {
                    seen.insert(reference.clone());
                    world.observe(interest, reference, object);
                }
            }
            Ok(Event::InitDone) => {
                world.initialised(interest, &std::mem::take(&mut seen));
                pause.reset();
            }
            Ok(Event::Apply(object)) => {
                if let Some((reference, object)) = convert(interest, object) {
                    world.observe(interest, reference, object);
                }
            }
            Ok(Event::Delete(object)) => {
                let version = object.resource_version();
                let reference = ObjectRef::new(
                    interest.kind,
                    &object.namespace().unwrap_or_default(),
                    &object.name_any(),
                );
                world.vanish(interest, &reference, version.as_deref());
            }
            Err(error) => match classify(&error, streaming) {
                // The watcher resumes by itself; all that is left to us is to wait.
                None => {
                    debug!(kind = interest.kind.kind(), %error, "watch was interrupted");
                    tokio::time::sleep(pause.next()).await;
                }
                Some(ended) => {
                    if matches!(ended, Ended::Failed) {
                        warn!(kind = interest.kind.kind(), %error, "watch cannot be started");
                    }
                    return ended;
                }
            },
        }
    }
    Ended::Failed
}

fn classify(error: &watcher::Error, streaming: bool) -> Option<Ended> {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::InitialListFailed(kube::Error::Api(status)) => match status.code {
            404 => Some(Ended::Absent),
            400 | 422 if streaming => Some(Ended::NoStreaming),
            410 => None,
            _ => Some(Ended::Failed),
        },
        _ => None,
    }
}

/// One undecodable object must not stop a watch; a DynamicObject always decodes, so all that can be missing is a name.
fn convert(interest: &Interest, object: DynamicObject) -> Option<(ObjectRef, Value)> {
    let name = object.metadata.name.clone()?;
    let reference = ObjectRef::new(
        interest.kind,
        object.metadata.namespace.as_deref().unwrap_or_default(),
        &name,
    );
    let mut value = serde_json::to_value(object).ok()?;
    // Lists leave both out of their items; everything that we keep carries them.
    if let Some(map) = value.as_object_mut() {
        map.insert("apiVersion".to_owned(), Value::from(interest.kind.api_version()));
        map.insert("kind".to_owned(), Value::from(interest.kind.kind()));
    }
    Some((reference, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_while_errors_follow_each_other_and_start_over_after_a_calm_time() {
        let mut pause = Pause::default();
        let mut waits = Vec::new();
        for _ in 0..10 {
            let wait = pause.next();
            tokio::time::sleep(wait).await;
            waits.push(wait);
        }
        assert_eq!(waits[..3], [BACKOFF.0, BACKOFF.0 * 2, BACKOFF.0 * 4]);
        assert_eq!(waits[9], BACKOFF.1);
        tokio::time::advance(CALM).await;
        assert_eq!(pause.next(), BACKOFF.0);
    }
}
