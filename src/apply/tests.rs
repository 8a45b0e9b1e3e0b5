use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::json;

use super::*;
use crate::plan::Mark;
use crate::testing::fake_api::{FakeApi, Fault};

type Answer = dyn Fn(&Request<Body>) -> (u16, Value) + Send + Sync;

/// Answers each request with a status and a body.
#[derive(Clone)]
struct Api(Arc<Answer>);

impl Api {
    fn new(answer: impl Fn(&Request<Body>) -> (u16, Value) + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// Gives the same response to every request.
    fn always(status: u16, answer: Value) -> Self {
        Self::new(move |_| (status, answer.clone()))
    }

    /// Fails the test if a request arrives.
    fn unreachable() -> Self {
        Self::new(|request| panic!("sent without leading: {} {}", request.method(), request.uri()))
    }
}

impl tower::Service<Request<Body>> for Api {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (status, answer) = (self.0)(&request);
        let body = Body::from(answer.to_string().into_bytes());
        ready(Ok(Response::builder().status(status).body(body).unwrap()))
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
    Api::always(
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
        mark: None,
        origins: Vec::new(),
        depends_on: Vec::new(),
    }
}

/// The events of an update of an object from one spec (`None`: it does not exist) to another.
async fn events(api: Api, live: Option<Value>, wanted: &Value) -> Vec<EventRequest> {
    let reference = ObjectRef::new(Kind::Service, "n", "s");
    let mut snapshot = Snapshot::empty();
    if let Some(live) = live {
        snapshot.objects.insert(reference.clone(), object(&live));
    }
    let desired = desired(reference, object(wanted));
    let plan = Plan {
        present: vec![desired],
        ..Plan::default()
    };
    let writer = Writer::new(Client::new(api, "n"), Arc::new(|| true), Arc::new(EmptyCache));
    apply(&plan, &snapshot, &NothingRecorded, &writer).await.write_events
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
        let events = events(Api::always(200, object(&to)), Some(from), &to).await;
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
        report.announce_created();
        assert_eq!(
            report.write_events[0].message.contains("01234567"),
            has_checksum,
            "{}",
            kind.kind()
        );
    }
}

/// Applies one object that does not exist, while the API server gives this answer.
async fn refused(code: u16, details: Value) -> Failure {
    let body = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"}, "spec": {}});
    let origin = plan::Origin {
        field: "spec.tolerations",
        source: "spec.tolerations".to_owned(),
        object: "Config cluster".to_owned(),
        same_below: true,
    };
    let desired = Desired {
        origins: vec![origin],
        ..desired(ObjectRef::new(Kind::Service, "n", "s"), body)
    };
    let plan = Plan {
        present: vec![desired],
        ..Plan::default()
    };
    let answer = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "the cause",
        "reason": "R", "code": code, "details": details});
    let client = Client::new(Api::always(code, answer), "n");
    let writer = Writer::new(client, Arc::new(|| true), Arc::new(EmptyCache));
    let mut report = apply(&plan, &Snapshot::empty(), &NothingRecorded, &writer).await;
    assert_eq!(report.write_events.len(), 1);
    assert_eq!(report.failures.len(), 1, "{report:?}");
    report.failures.remove(0)
}

// spec/README 12
#[tokio::test]
async fn each_answer_of_the_api_server_has_its_class_and_a_refused_field_is_named() {
    let invalid = ErrorClass::Invalid(crate::config::rejection::Reason::InvalidConfig);
    let cause = |field: &str| json!({"causes": [{"reason": "FieldValueInvalid", "message": "m", "field": field}]});
    let ours = "spec.tolerations[0].operator";
    for (code, details, class, explained) in [
        (422, cause(ours), invalid, true),
        (400, cause(ours), invalid, true),
        (413, json!({}), invalid, false),
        (422, cause("spec.other"), invalid, false),
        (
            422,
            json!({"causes": [{"message": "a policy refuses"}]}),
            invalid,
            false,
        ),
        (400, json!({}), invalid, false), // a webhook
        (403, cause(ours), ErrorClass::ActionRequired, false),
        (405, json!({}), ErrorClass::ActionRequired, false),
        (404, json!({}), ErrorClass::Transient, false),
        (429, json!({}), ErrorClass::Transient, false),
        (500, cause(ours), ErrorClass::Transient, false),
        (503, json!({}), ErrorClass::Transient, false),
        (504, json!({}), ErrorClass::Transient, false),
    ] {
        let failure = refused(code, details).await;
        assert_eq!(
            (failure.class, failure.explained),
            (class, explained),
            "{code}: {failure:?}"
        );
        assert!(failure.message.contains("Service n/s"), "{failure:?}");
        let named = failure
            .message
            .contains("spec.tolerations[0].operator of Config cluster");
        assert_eq!(named, explained, "{failure:?}");
        assert!(failure.message.contains("the cause") || code == 404, "{failure:?}");
        let report = Report {
            failures: vec![failure.clone()],
            ..Report::default()
        };
        let faults = report.faults();
        assert_eq!(faults.edit.is_empty(), class != invalid, "{code}");
        assert_eq!(faults.retry.is_empty(), class == invalid, "{code}");
        assert_eq!(report.failure_message(), failure.message);
    }
}

// kubernetes 8, 14: also if the Secret or Ingress of somebody else comes after the plan. The same type, and another one, for which the
// operator would delete it.
#[tokio::test]
async fn an_object_without_the_mark_of_the_operators_own_is_not_touched() {
    let writer = Writer::new(
        Client::new(Api::unreachable(), "n"),
        Arc::new(|| true),
        Arc::new(EmptyCache),
    );
    let reference = ObjectRef::new(Kind::Service, "n", "s");
    for (mark, kind) in [Mark::Label("own"), Mark::Annotation("own")]
        .into_iter()
        .flat_map(|mark| ["A", "B"].map(|kind| (mark, kind)))
    {
        let own = Desired {
            mark: Some(mark),
            immutable: &["/spec/type"],
            ..desired(reference.clone(), object(&json!({"type": "A", "a": 1})))
        };
        let theirs = object(&json!({"type": kind}));
        let mut report = Report::default();
        let written = write(&own, Some(&theirs), None, &NothingRecorded, &writer, &mut report).await;
        assert!(matches!(written, Err(WriteError::Conflict(_))), "{written:?}");
        assert_eq!(report.writes, 0);
    }
}

// lifecycle 20, the part of this room
#[tokio::test]
async fn a_writer_that_does_not_lead_sends_nothing() {
    let writer = Writer::new(
        Client::new(Api::unreachable(), "n"),
        Arc::new(|| false),
        Arc::new(EmptyCache),
    );
    assert!(!writer.leads());
    let seen = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n", "uid": "u",
        "resourceVersion": "1", "generation": 1, "finalizers": ["f"]}, "spec": {"a": 1}});
    let mut changed = seen.clone();
    changed["spec"]["a"] = json!(2);
    let mut replaced = seen.clone();
    replaced["metadata"]["finalizers"] = json!([]);
    let service = ObjectRef::new(Kind::Service, "n", "s");
    let account = ObjectRef::new(Kind::ServiceAccount, "n", "s");
    let status = json!({"status": {"a": 1}});
    let nothing = |_| ();
    for (verb, result) in [
        ("create", writer.create(&service, &seen).await.map(nothing)),
        ("patch", writer.update(&service, &seen, &changed).await.map(nothing)),
        ("replace", writer.update(&service, &seen, &replaced).await.map(nothing)),
        (
            "merge",
            writer
                .merge(&service, json!({"spec": {}}), Some("1"))
                .await
                .map(nothing),
        ),
        (
            "status",
            writer.merge_status(&service, &seen, &status).await.map(nothing),
        ),
        ("finalizer", writer.remove_finalizer(&service, &seen, "f").await),
        ("delete", writer.delete(&service, Some("u")).await),
        ("delete any", writer.delete(&service, None).await),
        ("read", writer.read(&service).await.map(|_| ())),
        ("token", writer.token(&account, "a").await.map(|_| ())),
        ("group", writer.serves_group("g").await.map(|_| ())),
    ] {
        assert!(matches!(result, Err(WriteError::NotLeading)), "{verb}: {result:?}");
    }
    // Through a plan: each object fails, without an event.
    let plan = Plan {
        present: vec![desired(service.clone(), seen)],
        absent: vec![account],
        ..Plan::default()
    };
    let report = apply(&plan, &Snapshot::empty(), &NothingRecorded, &writer).await;
    assert_eq!(
        (report.failures.len(), report.writes, report.write_events.len()),
        (2, 0, 0)
    );
}

/// Keeps what it is sent.
#[derive(Clone, Default)]
struct Recorder(Arc<std::sync::Mutex<Vec<Value>>>);

impl tower::Service<Request<Body>> for Recorder {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, kube::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let log = self.0.clone();
        Box::pin(async move {
            let body = http_body_util::BodyExt::collect(request.into_body())
                .await
                .unwrap()
                .to_bytes();
            log.lock()
                .unwrap()
                .push(serde_json::from_slice(&body).unwrap_or_default());
            let answer = Body::from(object(&json!({})).to_string().into_bytes());
            Ok(Response::builder().status(200).body(answer).unwrap())
        })
    }
}

// lifecycle 72, the part of this room
#[tokio::test]
async fn each_update_carries_its_precondition() {
    let recorder = Recorder::default();
    let writer = Writer::new(
        Client::new(recorder.clone(), "n"),
        Arc::new(|| true),
        Arc::new(EmptyCache),
    );
    let service = ObjectRef::new(Kind::Service, "n", "s");
    let seen = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n", "uid": "u",
        "resourceVersion": "7", "generation": 3, "finalizers": ["f"]}, "spec": {"a": 1}, "status": {"a": 0}});
    let mut changed = seen.clone();
    changed["spec"]["a"] = json!(2);
    let mut replaced = seen.clone();
    replaced["metadata"]["finalizers"] = json!([]);
    writer
        .merge(&service, json!({"spec": {"a": 2}}), Some("7"))
        .await
        .unwrap();
    writer.update(&service, &seen, &changed).await.unwrap();
    writer.update(&service, &seen, &replaced).await.unwrap();
    writer
        .merge_status(&service, &seen, &json!({"status": {"a": 1}}))
        .await
        .unwrap();
    writer.remove_finalizer(&service, &seen, "f").await.unwrap();
    writer.delete(&service, Some("u")).await.unwrap();
    writer.delete_version(&service, "u", "7").await.unwrap();
    let sent = recorder.0.lock().unwrap().clone();
    let tests = |patch: &Value, path: &str, value: Value| {
        let step = json!({"op": "test", "path": path, "value": value});
        assert!(
            patch.as_array().is_some_and(|steps| steps.contains(&step)),
            "{path}: {patch}"
        );
    };
    assert_eq!(sent.len(), 7, "{sent:?}");
    assert_eq!(sent[0], json!({"spec": {"a": 2}, "metadata": {"resourceVersion": "7"}}));
    tests(&sent[1], "/metadata/uid", json!("u"));
    tests(&sent[1], "/metadata/generation", json!(3));
    assert_eq!(sent[2]["metadata"]["resourceVersion"], "7");
    tests(&sent[3], "/metadata/uid", json!("u"));
    tests(&sent[3], "/status/a", json!(0));
    tests(&sent[4], "/metadata/uid", json!("u"));
    tests(&sent[4], "/metadata/finalizers/0", json!("f"));
    assert_eq!(sent[5]["preconditions"], json!({"uid": "u"}));
    assert_eq!(sent[6]["preconditions"], json!({"uid": "u", "resourceVersion": "7"}));
}

// kubernetes 14: nor is an object deleted that replaced the one of the plan.
#[tokio::test]
async fn a_plan_deletes_the_object_that_it_saw() {
    let recorder = Recorder::default();
    let writer = Writer::new(
        Client::new(recorder.clone(), "n"),
        Arc::new(|| true),
        Arc::new(EmptyCache),
    );
    let service = ObjectRef::new(Kind::Service, "n", "s");
    let mut snapshot = Snapshot::empty();
    snapshot.objects.insert(service.clone(), object(&json!({})));
    let plan = Plan {
        absent: vec![service],
        ..Plan::default()
    };
    for seen in [&snapshot, &Snapshot::empty()] {
        apply(&plan, seen, &NothingRecorded, &writer).await;
    }
    let sent = recorder.0.lock().unwrap().clone();
    let preconditions: Vec<_> = sent.iter().map(|options| options["preconditions"].clone()).collect();
    assert_eq!(preconditions, [json!({"uid": "u"}), Value::Null]);
}

// kubernetes 14: what has come in the place of an object is no failure, and is left to the next pass.
#[tokio::test]
async fn a_removal_leaves_what_replaced_the_object_that_it_saw() {
    // A DELETE with a precondition fails, and everything else succeeds.
    let replaced = Api::new(|request| {
        let conflict =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409});
        if request.method() == http::Method::DELETE {
            (409, conflict)
        } else {
            (200, object(&json!({})))
        }
    });
    let writer = Writer::new(Client::new(replaced, "n"), Arc::new(|| true), Arc::new(EmptyCache));
    let service = ObjectRef::new(Kind::Service, "n", "s");
    let mut snapshot = Snapshot::empty();
    snapshot.objects.insert(service.clone(), object(&json!({})));
    let report = delete(&[service], &snapshot, &writer).await;
    assert_eq!(
        (report.writes, report.failures.len(), report.write_events.len()),
        (0, 0, 0)
    );
}

// The events of a bring-up are one, those of later changes are single ones.
#[tokio::test]
async fn a_pass_that_creates_several_objects_leads_to_one_event() {
    let reference = |kind: Kind, name: &str| ObjectRef::new(kind, "n", name);
    let (service, account, policy) = (
        reference(Kind::Service, "s"),
        reference(Kind::ServiceAccount, "a"),
        reference(Kind::NetworkPolicy, "p"),
    );
    let (deployment, daemon_set) = (reference(Kind::Deployment, "d"), reference(Kind::DaemonSet, "n"));
    let all = [&service, &account, &policy, &deployment];
    for (what, absent, present, code, expected) in [
        ("nothing", vec![], vec![], 200, vec![]),
        ("one", vec![&service], vec![], 200, vec!["ServiceCreated"]),
        ("two", vec![&service, &account], vec![], 200, vec!["ObjectsCreated"]),
        (
            "three",
            vec![&service, &account, &policy],
            vec![],
            200,
            vec!["ObjectsCreated"],
        ),
        ("a workload", vec![&deployment], vec![], 200, vec!["DeploymentCreated"]),
        (
            "a workload and one",
            vec![&service, &deployment],
            vec![],
            200,
            vec!["DeploymentCreated", "ServiceCreated"],
        ),
        (
            "a bring-up",
            all.to_vec(),
            vec![],
            200,
            vec!["DeploymentCreated", "ObjectsCreated"],
        ),
        (
            "two workloads",
            vec![&deployment, &daemon_set],
            vec![],
            200,
            vec!["DeploymentCreated", "DaemonSetCreated"],
        ),
        (
            "one and a change",
            vec![&service],
            vec![&account],
            200,
            vec!["ServiceAccountUpdated", "ServiceCreated"],
        ),
        (
            "two and a change",
            vec![&service, &policy],
            vec![&account],
            200,
            vec!["ServiceAccountUpdated", "ObjectsCreated"],
        ),
        (
            "two changes",
            vec![],
            vec![&service, &account],
            200,
            vec!["ServiceUpdated", "ServiceAccountUpdated"],
        ),
        (
            "two that fail",
            vec![&service, &account],
            vec![],
            500,
            vec!["ServiceCreateFailed", "ServiceAccountCreateFailed"],
        ),
    ] {
        let mut snapshot = Snapshot::empty();
        for reference in &present {
            snapshot.objects.insert((*reference).clone(), object(&json!({"a": 1})));
        }
        let desired = absent.iter().chain(&present);
        let plan = Plan {
            present: desired
                .map(|r| self::desired((*r).clone(), object(&json!({"a": 2}))))
                .collect(),
            ..Plan::default()
        };
        let answer = if code == 200 {
            Api::always(200, object(&json!({"a": 2})))
        } else {
            failing()
        };
        let writer = Writer::new(Client::new(answer, "n"), Arc::new(|| true), Arc::new(EmptyCache));
        let report = apply(&plan, &snapshot, &NothingRecorded, &writer).await;
        let mut found: Vec<_> = report.write_events.iter().map(|event| event.reason).collect();
        let mut expected = expected;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{what}");
        let merged = report
            .write_events
            .iter()
            .find(|event| event.reason == "ObjectsCreated");
        for reference in absent.iter().filter(|r| r.kind != Kind::Deployment) {
            let named = |event: &EventRequest| event.message.contains(&reference.to_string());
            assert!(merged.is_none_or(named), "{what}: {reference} is not named: {merged:?}");
        }
    }
}

fn reference(kind: Kind) -> ObjectRef {
    ObjectRef::new(kind, "n", "s")
}

/// An API server with these objects, and the snapshot of a pass that has seen them.
fn stored(kinds: &[Kind]) -> (FakeApi, Snapshot) {
    let (api, mut snapshot) = (FakeApi::default(), Snapshot::empty());
    for kind in kinds {
        let path = path(*kind);
        api.put(&path, object(&json!({"a": 1})));
        snapshot.objects.insert(reference(*kind), api.get(&path).unwrap());
    }
    (api, snapshot)
}

fn path(kind: Kind) -> String {
    let url = <kube::api::DynamicObject as kube::Resource>::url_path(&kind.resource(), Some("n"));
    format!("{url}/s")
}

/// Applies a Secret that must exist (or must not), a Service, and a Deployment with a digest of the Secret. Returns the writes too.
async fn applied(live: &[Kind], absent: bool, fault: Fault) -> (Report, Vec<String>) {
    let (api, snapshot) = stored(live);
    api.fault(fault);
    let wanted = |kind| desired(reference(kind), object(&json!({"a": 2})));
    let mut plan = Plan {
        present: vec![
            wanted(Kind::Service),
            Desired {
                depends_on: vec![ObjectRef::new(Kind::ConfigMap, "n", "other"), reference(Kind::Secret)],
                ..wanted(Kind::Deployment)
            },
        ],
        ..Plan::default()
    };
    if absent {
        plan.absent.push(reference(Kind::Secret));
    } else {
        plan.present.insert(0, wanted(Kind::Secret));
    }
    let writer = Writer::new(api.client(), Arc::new(|| true), Arc::new(EmptyCache));
    let report = apply(&plan, &snapshot, &NothingRecorded, &writer).await;
    let mut requests = api.requests();
    requests.retain(|request| !request.starts_with("GET"));
    (report, requests)
}

fn writes_to(writes: &[String], kind: Kind) -> usize {
    writes.iter().filter(|write| write.contains(kind.plural())).count()
}

// storage-core 34, workload 9
#[tokio::test(start_paused = true)]
async fn a_deployment_waits_for_the_objects_of_its_digest_and_for_no_other() {
    let all = [Kind::Secret, Kind::Service, Kind::Deployment];
    let secret_refused = Fault::Refuse(500, "/secrets");
    for (what, live, absent, fault, failures, deployed) in [
        ("nothing fails", &all[..], false, Fault::None, 0, true),
        ("the Secret fails", &all, false, secret_refused, 2, false),
        (
            "the Secret is refused",
            &all,
            false,
            Fault::Refuse(422, "/secrets"),
            2,
            false,
        ),
        ("a new Secret fails", &all[1..], false, secret_refused, 2, false),
        ("the deletion fails", &all, true, secret_refused, 2, false),
        ("the Secret is deleted", &all, true, Fault::None, 0, true),
        (
            "another object fails",
            &all,
            false,
            Fault::Refuse(500, "/services"),
            1,
            true,
        ),
        // The first pods: old content must not reach them, and content that is missing holds nothing back.
        (
            "the first pods, an old Secret",
            &all[..2],
            false,
            secret_refused,
            2,
            false,
        ),
        ("the first pods, no Secret", &all[1..2], false, secret_refused, 1, true),
    ] {
        let (report, writes) = applied(live, absent, fault).await;
        assert_eq!(report.failures.len(), failures, "{what}: {report:?}");
        assert_eq!(writes_to(&writes, Kind::Deployment) > 0, deployed, "{what}: {writes:?}");
        assert_eq!(writes_to(&writes, Kind::Service), 1, "{what}: {writes:?}");
        if !deployed {
            let [secret, deployment] = &report.failures[..] else {
                unreachable!("two failures");
            };
            assert_eq!(
                (secret.class, secret.explained),
                (deployment.class, deployment.explained)
            );
            assert!(
                deployment.message.starts_with("Deployment n/s") && deployment.message.contains("Secret n/s"),
                "{}",
                deployment.message
            );
        }
        // Pods that start must not find what is to be gone.
        if absent && deployed {
            assert!(
                writes[0].starts_with("DELETE /api/v1/namespaces/n/secrets/s"),
                "{writes:?}"
            );
        }
    }
}

/// Applies a Service whose annotations changed after they were seen. Returns the failures and the annotations after that.
async fn annotated(seen: &Value, live: &Value, wanted: &Value, dropped: &[&str]) -> (Vec<Failure>, Value) {
    let with = |annotations: &Value, spec: Value| {
        let mut service = object(&spec);
        service["metadata"]["generation"] = json!(3);
        if !annotations.is_null() {
            service["metadata"]["annotations"] = annotations.clone();
        }
        service
    };
    let (api, mut snapshot) = (FakeApi::default(), Snapshot::empty());
    let path = path(Kind::Service);
    api.put(&path, with(seen, json!({"a": 1})));
    snapshot
        .objects
        .insert(reference(Kind::Service), api.get(&path).unwrap());
    api.put(&path, with(live, json!({"a": 1})));
    let desired = Desired {
        drop_annotations: dropped.iter().map(ToString::to_string).collect(),
        checksum: false,
        ..desired(reference(Kind::Service), with(wanted, json!({"a": 2})))
    };
    let plan = Plan {
        present: vec![desired],
        ..Plan::default()
    };
    let writer = Writer::new(api.client(), Arc::new(|| true), Arc::new(EmptyCache));
    let report = apply(&plan, &snapshot, &NothingRecorded, &writer).await;
    let service = api.get(&path).unwrap();
    assert_eq!(service["spec"]["a"] == 2, report.failures.is_empty());
    let annotations = service["metadata"].get("annotations").cloned();
    (report.failures, annotations.unwrap_or_default())
}

// workload 3.2 B: annotations of others stay; 3.3: a conflict is tried again in place.
#[tokio::test(start_paused = true)]
async fn an_annotation_that_somebody_changes_meanwhile_is_a_conflict_and_nothing_of_others_is_lost() {
    let none = &Value::Null;
    let (theirs, ours) = (&json!({"theirs": "1"}), &json!({"ours": "2"}));
    let both = &json!({"theirs": "1", "ours": "2"});
    for (what, seen, live, wanted, dropped, expected) in [
        ("ours is gone", both, theirs, none, &["ours"][..], theirs),
        ("the map is gone, for a removal", ours, none, none, &["ours"], none),
        ("the map is gone, for an addition", theirs, none, ours, &[], ours),
        ("the map came", none, theirs, ours, &[], both),
        (
            "ours was changed",
            both,
            &json!({"theirs": "1", "ours": "7"}),
            none,
            &["ours"],
            theirs,
        ),
        (
            "theirs came",
            ours,
            both,
            &json!({"ours": "3"}),
            &[],
            &json!({"theirs": "1", "ours": "3"}),
        ),
        ("nothing came", none, none, ours, &[], ours),
    ] {
        let (failures, annotations) = annotated(seen, live, wanted, dropped).await;
        assert!(failures.is_empty(), "{what}: {failures:?}");
        let same = annotations == *expected || expected.is_null() && annotations == json!({});
        assert!(same, "{what}: {annotations}");
    }
}
