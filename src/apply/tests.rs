use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::json;

use super::*;

/// Gives the same response to every request.
#[derive(Clone)]
struct Api(u16, Value);

impl tower::Service<Request<Body>> for Api {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let body = Body::from(self.1.to_string().into_bytes());
        ready(Ok(Response::builder().status(self.0).body(body).unwrap()))
    }
}

struct EmptyCache;

impl ObjectCache for EmptyCache {
    fn latest(&self, _: &ObjectRef) -> Option<Arc<Value>> {
        None
    }
    fn store(&self, _: ObjectRef, _: Value) {}
    fn remove(&self, _: &ObjectRef) {}
}

fn failing() -> Api {
    Api(
        500,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": 500}),
    )
}

fn object(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n", "uid": "u"}, "spec": spec})
}

fn desired(reference: ObjectRef, body: Value) -> Desired {
    Desired {
        reference,
        body,
        drift: Drift::Named,
        drop_annotations: Vec::new(),
        checksum: true,
        immutable: &[],
        refused: None,
    }
}

/// The events of an update of an object from one spec (`None`: it does not exist) to another.
async fn events(api: Api, live: Option<Value>, wanted: &Value) -> Vec<EventRequest> {
    let reference = ObjectRef::new(Kind::Service, "n", "s");
    let mut snapshot = Snapshot::empty();
    if let Some(live) = live {
        snapshot.objects.insert(reference.clone(), object(&live).into());
    }
    let desired = desired(reference, object(wanted));
    let plan = Plan {
        present: vec![desired],
        ..Plan::default()
    };
    let writer = Writer::new(Client::new(api, "n"), Arc::new(|| true), Arc::new(EmptyCache));
    apply(&plan, &snapshot, &NothingRecorded, &writer).await.events
}

#[tokio::test]
async fn a_failed_write_of_an_absent_object_is_a_failed_create_and_otherwise_a_failed_update() {
    for (live, reason) in [
        (None, "ServiceCreateFailed"),
        (Some(json!({"a": 1})), "ServiceUpdateFailed"),
    ] {
        let events = events(failing(), live, &json!({"a": 2})).await;
        assert_eq!(events.len(), 1);
        assert!(events[0].warning);
        assert_eq!(events[0].reason, reason);
    }
}

#[tokio::test]
async fn different_changes_lead_to_different_events_and_equal_changes_to_equal_ones() {
    let update = async |from: Value, to: Value| {
        let events = events(Api(200, object(&to)), Some(from), &to).await;
        assert_eq!((events[0].warning, events[0].reason), (false, "ServiceUpdated"));
        events[0].message.clone()
    };
    let first = update(json!({"a": 1, "b": "5ecret"}), json!({"a": 2, "b": "5ecret"})).await;
    assert!(first.starts_with("Service n/s: changed spec.a"), "{first}");
    assert_eq!(
        update(json!({"a": 1, "b": "5ecret"}), json!({"a": 2, "b": "5ecret"})).await,
        first
    );
    let further = update(json!({"a": 2, "b": "5ecret"}), json!({"a": 3, "b": "5ecret"})).await;
    assert_ne!(further, first, "the same field, another value");
    let other = update(json!({"a": 2, "b": "x"}), json!({"a": 2, "b": "5ecret"})).await;
    assert!(other.starts_with("Service n/s: changed spec.b"), "{other}");
    assert!([first, further, other].iter().all(|note| !note.contains("5ecret")));
}

// More users may read events than Secrets.
#[test]
fn an_event_about_a_secret_has_no_checksum() {
    for (kind, has_checksum) in [(Kind::Secret, false), (Kind::ConfigMap, true)] {
        let mut report = Report::default();
        let desired = desired(ObjectRef::new(kind, "n", "s"), json!({}));
        record_write(
            &desired,
            &json!({}),
            Written::Created(Some("sha256:0123456789ab")),
            &mut report,
        );
        assert_eq!(
            report.events[0].message.contains("01234567"),
            has_checksum,
            "{}",
            kind.kind()
        );
    }
}
