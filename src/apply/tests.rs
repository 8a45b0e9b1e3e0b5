use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::json;

use super::*;

/// Answers each request alike.
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

struct Nothing;

impl Sink for Nothing {
    fn newest(&self, _: &ObjectRef) -> Option<Arc<Value>> {
        None
    }
    fn written(&self, _: ObjectRef, _: Value) {}
    fn gone(&self, _: &ObjectRef) {}
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

/// What is told of bringing an object from one spec (none: it is not there) to another.
async fn told(api: Api, live: Option<Value>, wanted: &Value) -> Vec<Notice> {
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
    let writer = Writer::new(Client::new(api, "n"), Arc::new(|| true), Arc::new(Nothing));
    apply(&plan, &snapshot, &NothingRecorded, &writer).await.notices
}

#[tokio::test]
async fn a_failure_is_one_to_create_where_nothing_was_and_one_to_update_otherwise() {
    for (live, reason) in [
        (None, "ServiceCreateFailed"),
        (Some(json!({"a": 1})), "ServiceUpdateFailed"),
    ] {
        let told = told(failing(), live, &json!({"a": 2})).await;
        assert_eq!(told.len(), 1);
        assert!(told[0].warning);
        assert_eq!(told[0].reason, reason);
    }
}

#[tokio::test]
async fn different_changes_are_told_differently_and_the_same_one_alike() {
    let update = async |from: Value, to: Value| {
        let told = told(Api(200, object(&to)), Some(from), &to).await;
        assert_eq!((told[0].warning, told[0].reason), (false, "ServiceUpdated"));
        told[0].note.clone()
    };
    let first = update(json!({"a": 1, "b": "5ecret"}), json!({"a": 2, "b": "5ecret"})).await;
    assert!(first.starts_with("Service n/s: changed spec.a"), "{first}");
    assert_eq!(
        update(json!({"a": 1, "b": "5ecret"}), json!({"a": 2, "b": "5ecret"})).await,
        first
    );
    let further = update(json!({"a": 2, "b": "5ecret"}), json!({"a": 3, "b": "5ecret"})).await;
    assert_ne!(further, first, "the same member, another value");
    let other = update(json!({"a": 2, "b": "x"}), json!({"a": 2, "b": "5ecret"})).await;
    assert!(other.starts_with("Service n/s: changed spec.b"), "{other}");
    assert!([first, further, other].iter().all(|note| !note.contains("5ecret")));
}

// More people read events than Secrets.
#[test]
fn what_is_told_of_a_secret_lets_nobody_check_a_guess_at_its_content() {
    for (kind, told) in [(Kind::Secret, false), (Kind::ConfigMap, true)] {
        let mut report = Report::default();
        let desired = desired(ObjectRef::new(kind, "n", "s"), json!({}));
        note(
            &desired,
            &json!({}),
            Done::Created(Some("sha256:0123456789ab")),
            &mut report,
        );
        assert_eq!(report.notices[0].note.contains("01234567"), told, "{}", kind.kind());
    }
}
