use serde_json::{Value, json};

use super::*;
use crate::{
    runtime::clock::SystemClock,
    testing::fake_api::{FakeApi, Fault},
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

fn published(api: &FakeApi) -> Vec<Value> {
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
async fn the_deployment_is_the_involved_object_and_is_looked_up_once() {
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
    let published = published(&api);
    assert_eq!(published.len(), 2);
    for event in &published {
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
async fn without_a_pod_or_its_owner_the_namespace_is_the_involved_object() {
    for pod in [None, Some("gone")] {
        let api = FakeApi::default();
        let events = events(&api, pod);
        events.publish(Event::normal("A", "b"));
        flush(&events).await;
        let about = &published(&api)[0]["involvedObject"];
        assert_eq!(
            (&about["kind"], &about["namespace"]),
            (&json!("Namespace"), &json!(NAMESPACE))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn equal_events_within_ten_minutes_are_dropped() {
    let api = FakeApi::default();
    let events = events(&api, None);
    for _ in 0..5 {
        events.publish(Event::normal("A", "same"));
    }
    events.publish(Event::normal("A", "other"));
    flush(&events).await;
    assert_eq!(published(&api).len(), 2);
    tokio::time::advance(DEDUPLICATION).await;
    events.publish(Event::normal("A", "same"));
    flush(&events).await;
    assert_eq!(published(&api).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn many_events_are_not_sent_again_while_they_are_remembered() {
    let api = FakeApi::default();
    let events = events(&api, None);
    let mut sent = Vec::new();
    for _ in 0..2 {
        for number in 0..300 {
            events.publish(Event::normal("A", number.to_string()));
            // The queue is shorter.
            if number % 100 == 99 {
                flush(&events).await;
            }
        }
        sent.push(published(&api).len());
    }
    assert_eq!(sent, [300, 300]);
}

#[tokio::test(start_paused = true)]
async fn a_full_memory_forgets_the_oldest_event_only() {
    let events = Events::discard();
    let event = |number: usize| Event::normal("A", number.to_string());
    for number in 0..=REMEMBERED {
        assert!(!events.is_repeated(&event(number)));
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    for number in [1, 2, REMEMBERED] {
        assert!(events.is_repeated(&event(number)), "{number}");
    }
    assert!(!events.is_repeated(&event(0)));
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_sent_at_once_and_further_events_are_rate_limited_until_a_flush() {
    let api = FakeApi::default();
    let events = events(&api, None);
    for number in 0..20 {
        events.publish(Event::normal("A", number.to_string()));
    }
    tokio::time::sleep(BURST.1 / 2).await;
    assert_eq!(published(&api).len(), 8);
    tokio::time::sleep(BURST.1 * 4).await;
    assert_eq!(published(&api).len(), 12);
    flush(&events).await;
    assert_eq!(published(&api).len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_long_note_is_cut_between_characters() {
    let api = FakeApi::default();
    let events = events(&api, None);
    events.publish(Event::normal("A", format!("x{}", "ü".repeat(2000))));
    flush(&events).await;
    assert_eq!(published(&api)[0]["message"].as_str().unwrap().len(), 1023);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_hangs_or_fails_does_not_block_and_failures_are_counted() {
    let api = FakeApi::default();
    api.fault(Fault::Fail);
    let events = events(&api, Some("p"));
    events.publish(Event::normal("A", "fails"));
    flush(&events).await;
    api.fault(Fault::Hang);
    for number in 0..300 {
        events.publish(Event::normal("A", number.to_string()));
    }
    assert!(published(&api).is_empty());
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
