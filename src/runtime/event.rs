//! Kubernetes events about what the operator does, attached to its own Deployment.
//!
//! Publishing never waits and never fails: events go through a bounded queue to one task, and one that cannot be sent is
//! counted and logged. What a user must know is in conditions; events are a courtesy.

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

/// How many events may wait; more are dropped.
const QUEUE: usize = 128;
/// So many events in a row go out at once, each further one after this time: much happens while a registry comes up, and the
/// work goes before the words about it.
const BURST: (u32, Duration) = (8, Duration::from_millis(250));
/// An event like an earlier one within this time is dropped.
const REPEAT: Duration = Duration::from_mins(10);
/// How many earlier events are remembered for that.
const REMEMBERED: usize = 256;
/// Longest note in bytes, the API's limit.
const NOTE_LENGTH: usize = 1024;

/// Whether an event is good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// All is well.
    Normal,
    /// Somebody should look.
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

/// One event. Never put a secret into a note.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Good or bad news.
    pub kind: EventKind,
    /// Why, in CamelCase.
    pub reason: String,
    /// What happened, for a human; cut at 1024 bytes.
    pub note: String,
    /// Which part of the operator tells it.
    pub component: &'static str,
}

impl Event {
    /// Good news.
    pub fn normal(reason: impl Into<String>, note: impl Into<String>) -> Self {
        Self {
            kind: EventKind::Normal,
            reason: reason.into(),
            note: note.into(),
            component: names::EVENT_COMPONENT,
        }
    }

    /// Bad news.
    pub fn warning(reason: impl Into<String>, note: impl Into<String>) -> Self {
        Self {
            kind: EventKind::Warning,
            reason: reason.into(),
            note: note.into(),
            component: names::EVENT_COMPONENT,
        }
    }

    /// The event, told by another part of the operator.
    #[must_use]
    pub fn of(self, component: &'static str) -> Self {
        Self { component, ..self }
    }
}

enum Message {
    Event(Event, Option<Box<ObjectReference>>),
    Flush(oneshot::Sender<()>),
}

/// Publishes events; clones share the queue.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Message>,
    hurry: watch::Sender<bool>,
    recent: Arc<Mutex<HashMap<u64, Instant>>>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// Starts the task that sends. `pod_name` is our own pod, from whose owners the Deployment is found at the first event;
    /// without it, events are attached to the Namespace.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(client: Client, pod_name: Option<String>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let (hurry, hurried) = watch::channel(false);
        let sender = Sender {
            client,
            pod_name,
            clock,
            metrics: metrics.clone(),
            subject: None,
        };
        tokio::spawn(sender.run(messages, hurried));
        Self {
            queue,
            hurry,
            recent: Arc::default(),
            metrics,
        }
    }

    /// Sends nothing; for tests.
    pub fn discard() -> Self {
        let (queue, _) = mpsc::channel(1);
        Self {
            queue,
            hurry: watch::Sender::new(false),
            recent: Arc::default(),
            metrics: Arc::new(Metrics::new("")),
        }
    }

    /// Queues an event about the operator's Deployment. Dropped if an equal one was published within 10 minutes.
    pub fn publish(&self, event: Event) {
        self.enqueue(event, None);
    }

    /// Queues an event about another object, which must be in the operator's namespace.
    pub fn publish_about(&self, object: ObjectReference, event: Event) {
        self.enqueue(event, Some(Box::new(object)));
    }

    fn enqueue(&self, event: Event, object: Option<Box<ObjectReference>>) {
        if self.is_repeated(&event) {
            return;
        }
        tracing::info!(
            kind = event.kind.as_str(),
            reason = event.reason,
            "event: {}",
            event.note
        );
        if self.queue.try_send(Message::Event(event, object)).is_err() {
            self.metrics.event_failed();
        }
    }

    fn is_repeated(&self, event: &Event) -> bool {
        let mut hasher = DefaultHasher::new();
        event.hash(&mut hasher);
        let (key, now) = (hasher.finish(), Instant::now());
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.get(&key).is_some_and(|sent| now.duration_since(*sent) < REPEAT) {
            return true;
        }
        if recent.len() >= REMEMBERED {
            recent.retain(|_, sent| now.duration_since(*sent) < REPEAT);
        }
        if recent.len() >= REMEMBERED {
            recent.clear();
        }
        recent.insert(key, now);
        false
    }

    /// Waits until everything queued so far was sent or given up, but at most `limit`. From then on nothing is paced.
    pub async fn flush(&self, limit: Duration) {
        let (done, flushed) = oneshot::channel();
        self.hurry.send_replace(true);
        let flush = async {
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                let _ = flushed.await;
            }
        };
        let _ = tokio::time::timeout(limit, flush).await;
    }
}

/// When the next event may go out.
#[derive(Default)]
struct Pace {
    /// When all of the burst is available again.
    full: Option<Instant>,
}

impl Pace {
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
    subject: Option<ObjectReference>,
}

impl Sender {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>, mut hurried: watch::Receiver<bool>) {
        let mut pace = Pace::default();
        while let Some(message) = messages.recv().await {
            match message {
                Message::Event(event, object) => {
                    tokio::select! {
                        () = pace.next() => {}
                        _ = hurried.wait_for(|hurry| *hurry) => {}
                    }
                    self.send(event, object).await;
                }
                Message::Flush(done) => {
                    // Nobody may be waiting any more.
                    let _ = done.send(());
                }
            }
        }
    }

    async fn send(&mut self, event: Event, object: Option<Box<ObjectReference>>) {
        let about = match object {
            Some(object) => *object,
            None => self.subject().await,
        };
        let reason = event.reason.clone();
        let event = self.core_event(event, about);
        let api: Api<CoreEvent> = Api::namespaced(self.client.clone(), names::NAMESPACE);
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            self.metrics.event_failed();
            tracing::warn!("cannot publish event {reason}: {error}");
        }
    }

    fn core_event(&self, event: Event, about: ObjectReference) -> CoreEvent {
        let now = self.clock.now();
        let mut note = event.note;
        note.truncate(note.floor_char_boundary(NOTE_LENGTH));
        CoreEvent {
            metadata: ObjectMeta {
                // As other clients name events: the object, then the time in hexadecimal nanoseconds.
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

    /// The operator's Deployment: pod, then ReplicaSet, then its owner, with one request each. What the cluster does not
    /// have, or does not let us see, is not asked for again; after another failure the next event asks again.
    async fn subject(&mut self) -> ObjectReference {
        if let Some(subject) = &self.subject {
            return subject.clone();
        }
        let found = match &self.pod_name {
            Some(pod) => self.owner(pod).await,
            None => Ok(None),
        };
        match found {
            Ok(subject) => self.subject.insert(subject.unwrap_or_else(namespace)).clone(),
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

/// The API wants an event in the namespace that its object names, so the Namespace names itself.
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
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::runtime::{
        clock::SystemClock,
        fake_api::{FakeApi, Fault},
    };

    const NAMESPACE: &str = "openshift-image-registry";

    fn events(api: &FakeApi, pod: Option<&str>) -> Events {
        Events::start(
            api.client(),
            pod.map(str::to_owned),
            Arc::new(SystemClock),
            Arc::new(Metrics::new("1")),
        )
    }

    fn told(api: &FakeApi) -> Vec<Value> {
        api.list(&format!("/api/v1/namespaces/{NAMESPACE}/events/"))
    }

    fn owned(kind: &str, name: &str) -> Value {
        let version = "apps/v1";
        json!({ "apiVersion": "v1", "kind": "PartialObjectMetadata", "metadata": { "ownerReferences": [
            { "apiVersion": version, "kind": "Other", "name": "no", "uid": "0" },
            { "apiVersion": version, "kind": kind, "name": name, "uid": format!("uid-{name}"), "controller": true },
        ] } })
    }

    async fn flush(events: &Events) {
        events.flush(Duration::from_mins(5)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_attached_to_the_deployment_which_is_looked_up_once() {
        let api = FakeApi::default();
        api.put(
            &format!("/api/v1/namespaces/{NAMESPACE}/pods/op-1-x"),
            owned("ReplicaSet", "op-1"),
        );
        api.put(
            &format!("/apis/apps/v1/namespaces/{NAMESPACE}/replicasets/op-1"),
            owned("Deployment", "op"),
        );
        let events = events(&api, Some("op-1-x"));
        events.publish(Event::normal("DeploymentCreated", "made it"));
        events.publish(Event::warning("DeploymentUpdateFailed", "no"));
        flush(&events).await;
        let told = told(&api);
        assert_eq!(told.len(), 2);
        for event in &told {
            let about = &event["involvedObject"];
            assert_eq!(
                (&about["kind"], &about["name"], &about["uid"]),
                (&json!("Deployment"), &json!("op"), &json!("uid-op"))
            );
            assert_eq!(event["source"]["component"], "image-registry-operator");
        }
        assert_eq!(api.requests().iter().filter(|line| line.starts_with("GET")).count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_pod_or_its_owner_the_namespace_gets_them() {
        for pod in [None, Some("gone")] {
            let api = FakeApi::default();
            let events = events(&api, pod);
            events.publish(Event::normal("A", "b"));
            flush(&events).await;
            let about = &told(&api)[0]["involvedObject"];
            assert_eq!(
                (&about["kind"], &about["namespace"]),
                (&json!("Namespace"), &json!(NAMESPACE))
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_within_ten_minutes_are_dropped() {
        let api = FakeApi::default();
        let events = events(&api, None);
        for _ in 0..5 {
            events.publish(Event::normal("A", "same"));
        }
        events.publish(Event::normal("A", "other"));
        flush(&events).await;
        assert_eq!(told(&api).len(), 2);
        tokio::time::advance(REPEAT).await;
        events.publish(Event::normal("A", "same"));
        flush(&events).await;
        assert_eq!(told(&api).len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_out_at_once_and_what_follows_is_paced_until_somebody_flushes() {
        let api = FakeApi::default();
        let events = events(&api, None);
        for number in 0..20 {
            events.publish(Event::normal("A", number.to_string()));
        }
        tokio::time::sleep(BURST.1 / 2).await;
        assert_eq!(told(&api).len(), 8);
        tokio::time::sleep(BURST.1 * 4).await;
        assert_eq!(told(&api).len(), 12);
        flush(&events).await;
        assert_eq!(told(&api).len(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_note_is_cut_between_characters() {
        let api = FakeApi::default();
        let events = events(&api, None);
        events.publish(Event::normal("A", format!("x{}", "ü".repeat(2000))));
        flush(&events).await;
        assert_eq!(told(&api)[0]["message"].as_str().unwrap().len(), 1023);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_hangs_or_fails_blocks_nobody_and_is_counted() {
        let api = FakeApi::default();
        api.fault(Fault::Fail);
        let events = events(&api, Some("p"));
        events.publish(Event::normal("A", "fails"));
        flush(&events).await;
        api.fault(Fault::Hang);
        for number in 0..300 {
            events.publish(Event::normal("A", number.to_string()));
        }
        assert!(told(&api).is_empty());
        let text = events.metrics.text().unwrap();
        let failed = text
            .lines()
            .find(|line| line.starts_with("image_registry_operator_events_failed_total"))
            .unwrap();
        assert!(
            failed.rsplit(' ').next().unwrap().parse::<u32>().unwrap() > 100,
            "{failed}"
        );
    }
}
