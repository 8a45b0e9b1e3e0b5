//! Kubernetes events about what the operator does. Their involved object is the operator's Deployment.
//!
//! Publishing never blocks and never fails: events go through a bounded queue to one task. An event that cannot be sent is
//! counted and logged. Conditions report everything that a user has to know; events are additional.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Event as CoreEvent, EventSource, ObjectReference, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::{Api, Client, Resource, api::PostParams};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{clock::Clock, metrics::Metrics};
use crate::names;

/// Length of the queue. Further events are dropped.
const QUEUE: usize = 128;
/// Rate limit: so many events are sent at once, each further one after this time. While a registry is being created, many
/// events occur, and reconciliation has priority over them.
const BURST: (u32, Duration) = (8, Duration::from_millis(250));
/// An event that equals an earlier one within this time is dropped.
const DEDUPLICATION: Duration = Duration::from_mins(10);
/// How many events are remembered for deduplication.
const REMEMBERED: usize = 1024;
/// Longest note in bytes, the API's limit.
const NOTE_LENGTH: usize = 1024;

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Information only.
    Normal,
    /// A problem that needs attention.
    Warning,
}

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One event. A note must not contain a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Normal or Warning.
    pub kind: EventKind,
    /// The reason, in CamelCase.
    pub reason: String,
    /// The message, cut at 1024 bytes.
    pub note: String,
    /// The component that reports the event.
    pub component: &'static str,
}

impl Event {
    /// An event of type Normal.
    pub(crate) fn normal(reason: impl Into<String>, note: impl Into<String>) -> Self {
        Self {
            kind: EventKind::Normal,
            reason: reason.into(),
            note: note.into(),
            component: names::EVENT_COMPONENT,
        }
    }

    /// An event of type Warning.
    pub(crate) fn warning(reason: impl Into<String>, note: impl Into<String>) -> Self {
        Self {
            kind: EventKind::Warning,
            reason: reason.into(),
            note: note.into(),
            component: names::EVENT_COMPONENT,
        }
    }

    /// The same event, reported by another component.
    #[must_use]
    pub(crate) fn with_component(self, component: &'static str) -> Self {
        Self { component, ..self }
    }
}

/// Who logs what an event is about.
#[derive(Clone, Copy)]
enum Logged {
    /// This module, at info or warn.
    Now,
    /// The caller did.
    Before,
}

enum Message {
    Event(Event, Option<Box<ObjectReference>>),
    Flush(oneshot::Sender<()>),
}

/// Publishes events; clones share the queue.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Message>,
    skip_rate_limit: watch::Sender<bool>,
    recent: Arc<Mutex<HashMap<u64, Instant>>>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// Starts the task that sends events. `pod_name` is the operator's own pod: the first event looks up the Deployment through
    /// its owners. Without it, the Namespace is the involved object.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(client: Client, pod_name: Option<String>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let (skip_rate_limit, skip) = watch::channel(false);
        let sender = Sender {
            client,
            pod_name,
            clock,
            metrics: metrics.clone(),
            involved_object: None,
            failed: None,
        };
        tokio::spawn(sender.run(messages, skip));
        Self {
            queue,
            skip_rate_limit,
            recent: Arc::default(),
            metrics,
        }
    }

    /// Sends nothing. For tests.
    #[cfg(test)]
    pub(crate) fn discard() -> Self {
        let (queue, _) = mpsc::channel(1);
        Self {
            queue,
            skip_rate_limit: watch::Sender::new(false),
            recent: Arc::default(),
            metrics: Arc::new(Metrics::new("")),
        }
    }

    /// Queues and logs an event about the operator's Deployment. An event that equals one of the last 10 minutes is dropped.
    pub(crate) fn publish(&self, event: Event) {
        self.enqueue(event, None, Logged::Now);
    }

    /// The same for an event about something that the log already has.
    pub(crate) fn publish_logged(&self, event: Event) {
        self.enqueue(event, None, Logged::Before);
    }

    /// Queues and logs an event about another object, which must be in the operator's namespace.
    pub(crate) fn publish_about(&self, object: ObjectReference, event: Event) {
        self.enqueue(event, Some(Box::new(object)), Logged::Now);
    }

    fn enqueue(&self, event: Event, object: Option<Box<ObjectReference>>, logged: Logged) {
        if self.is_repeated(&event) {
            return;
        }
        let (reason, note) = (&event.reason, &event.note);
        match (logged, event.kind) {
            (Logged::Before, _) => tracing::debug!(reason, "event: {note}"),
            (Logged::Now, EventKind::Normal) => tracing::info!(reason, "event: {note}"),
            (Logged::Now, EventKind::Warning) => tracing::warn!(reason, "event: {note}"),
        }
        if self.queue.try_send(Message::Event(event, object)).is_err() {
            self.metrics.event_failed();
        }
    }

    fn is_repeated(&self, event: &Event) -> bool {
        let mut hasher = DefaultHasher::new();
        event.hash(&mut hasher);
        let (key, now) = (hasher.finish(), Instant::now());
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent
            .get(&key)
            .is_some_and(|sent| now.duration_since(*sent) < DEDUPLICATION)
        {
            return true;
        }
        if recent.len() >= REMEMBERED {
            recent.retain(|_, sent| now.duration_since(*sent) < DEDUPLICATION);
        }
        if recent.len() >= REMEMBERED {
            let oldest = recent.iter().min_by_key(|(_, sent)| **sent).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                recent.remove(&oldest);
            }
        }
        recent.insert(key, now);
        false
    }

    /// Waits until all queued events are sent or have failed, but at most `limit`. Disables the rate limit.
    pub(crate) async fn flush(&self, limit: Duration) {
        let (done, flushed) = oneshot::channel();
        self.skip_rate_limit.send_replace(true);
        let flush = async {
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                let _ = flushed.await;
            }
        };
        let _ = tokio::time::timeout(limit, flush).await;
    }
}

/// Limits the rate of events.
#[derive(Default)]
struct RateLimit {
    /// When the whole burst is available again.
    full: Option<Instant>,
}

impl RateLimit {
    async fn next(&mut self) {
        let (burst, each) = BURST;
        let now = Instant::now();
        let full = self.full.map_or(now, |full| full.max(now)) + each;
        self.full = Some(full);
        tokio::time::sleep_until(full.checked_sub(each * burst).unwrap_or(now)).await;
    }
}

struct Sender {
    client: Client,
    pod_name: Option<String>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    involved_object: Option<ObjectReference>,
    /// Why the last event was not sent.
    failed: Option<String>,
}

impl Sender {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>, mut skip: watch::Receiver<bool>) {
        let mut limit = RateLimit::default();
        while let Some(message) = messages.recv().await {
            match message {
                Message::Event(event, object) => {
                    tokio::select! {
                        () = limit.next() => {}
                        _ = skip.wait_for(|skip| *skip) => {}
                    }
                    self.send(event, object).await;
                }
                Message::Flush(done) => {
                    // The caller may have stopped waiting.
                    let _ = done.send(());
                }
            }
        }
    }

    async fn send(&mut self, event: Event, object: Option<Box<ObjectReference>>) {
        let about = match object {
            Some(object) => *object,
            None => self.involved_object().await,
        };
        let reason = event.reason.clone();
        let event = self.core_event(event, about);
        let api: Api<CoreEvent> = Api::namespaced(self.client.clone(), names::NAMESPACE);
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            self.metrics.event_failed();
            let error = error.to_string();
            if self.failed.as_ref() != Some(&error) {
                tracing::warn!("cannot publish event {reason}: {error}");
            }
            self.failed = Some(error);
        } else {
            self.failed = None;
        }
    }

    fn core_event(&self, event: Event, about: ObjectReference) -> CoreEvent {
        let now = self.clock.now();
        let mut note = event.note;
        note.truncate(note.floor_char_boundary(NOTE_LENGTH));
        CoreEvent {
            metadata: ObjectMeta {
                // The usual name of an event: the object, then the time in hexadecimal nanoseconds.
                name: Some(format!(
                    "{}.{:x}",
                    about.name.as_deref().unwrap_or("unknown"),
                    now.as_nanosecond()
                )),
                namespace: Some(names::NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(event.kind.as_str().to_owned()),
            reason: Some(event.reason),
            message: Some(note),
            involved_object: about,
            source: Some(EventSource {
                component: Some(event.component.to_owned()),
                host: None,
            }),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            ..CoreEvent::default()
        }
    }

    /// The operator's Deployment: the pod's ReplicaSet and its owner, with one request each. If one does not exist or access is
    /// forbidden, the lookup is not repeated; after another error the next event repeats it.
    async fn involved_object(&mut self) -> ObjectReference {
        if let Some(object) = &self.involved_object {
            return object.clone();
        }
        let found = match &self.pod_name {
            Some(pod) => self.owner(pod).await,
            None => Ok(None),
        };
        match found {
            Ok(object) => self.involved_object.insert(object.unwrap_or_else(namespace)).clone(),
            Err(error) => {
                tracing::debug!("cannot find the object for events, using the Namespace: {error}");
                namespace()
            }
        }
    }

    async fn owner(&self, pod: &str) -> Result<Option<ObjectReference>, kube::Error> {
        let Some(owner) = self.controller_of::<Pod>(pod).await? else {
            return Ok(None);
        };
        if owner.kind != "ReplicaSet" {
            return Ok(Some(reference(owner)));
        }
        let above = self.controller_of::<ReplicaSet>(&owner.name).await?;
        Ok(Some(reference(above.unwrap_or(owner))))
    }

    async fn controller_of<K>(&self, name: &str) -> Result<Option<OwnerReference>, kube::Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), names::NAMESPACE);
        match api.get_metadata(name).await {
            Ok(object) => {
                let owners = object.metadata.owner_references.unwrap_or_default();
                Ok(owners.into_iter().find(|owner| owner.controller == Some(true)))
            }
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_forbidden() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn reference(owner: OwnerReference) -> ObjectReference {
    ObjectReference {
        api_version: Some(owner.api_version),
        kind: Some(owner.kind),
        name: Some(owner.name),
        namespace: Some(names::NAMESPACE.to_owned()),
        uid: Some(owner.uid),
        ..ObjectReference::default()
    }
}

/// The API requires an event to be in the namespace of its involved object, so the reference names the namespace twice.
fn namespace() -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Namespace".to_owned()),
        name: Some(names::NAMESPACE.to_owned()),
        namespace: Some(names::NAMESPACE.to_owned()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests;
