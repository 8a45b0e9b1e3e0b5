//! Bring-ups of the registry, judged as a whole: how many rollouts, requests, reversals and seconds they cost.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

mod support;

use std::time::{Duration, Instant};

use devcluster::audit;
use devcluster::standin::{Control, StandIn};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use jiff::Timestamp;
use serde_json::{Value, json};
use support::course::{Course, cluster_operator, status};
use support::{Lab, condition, config_ref, is, is_up, lab, operand, simulated};

/// Requests of a bring-up, every verb but `watch` counted.
const REQUESTS: usize = 60;
/// How long after its last input the Deployment goes out.
const AFTER_LAST_INPUT: Duration = Duration::from_millis(300);
/// What a single one may take when the machine has too much to do; what nothing triggers takes far longer.
const OUTLIER: Duration = Duration::from_secs(3);
/// A second rollout would follow within this time: all that brings inputs reacts faster.
const QUIET: Duration = Duration::from_millis(700);

async fn cluster() -> Lab {
    lab(simulated("bringup")).await
}

fn deployment() -> ObjectRef {
    operand(Kind::Deployment, names::REGISTRY)
}

/// How a round begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// The operator makes the Config: emptyDir, Managed.
    Bootstrap,
    /// A user's Config is there before the operator: a claim that the operator makes, two replicas.
    UsersClaim,
    /// The operator makes the Config, Removed; the administrator edits it to Managed, with a claim.
    Edited,
}

/// What a round measured.
#[derive(Debug)]
struct Figures {
    requests: usize,
    after_last_input: Duration,
    available: Duration,
}

// lifecycle 26, 37; decisions 7, 9, 10 and 11
#[tokio::test]
async fn twenty_bring_ups_are_one_rollout_each_without_a_reversal_or_a_conflict() {
    let lab = cluster().await;
    let mut figures = Vec::new();
    for round in 0..20 {
        if round > 0 {
            lab.reset().await;
        }
        let start = match round % 5 {
            1 => Start::UsersClaim,
            3 => Start::Edited,
            _ => Start::Bootstrap,
        };
        figures.push(one_bring_up(&lab, start).await);
    }
    let mut gaps: Vec<_> = figures.iter().map(|f| f.after_last_input).collect();
    let mut seconds: Vec<_> = figures.iter().map(|f| f.available).collect();
    gaps.sort();
    seconds.sort();
    let requests = figures.iter().map(|f| f.requests).max().unwrap();
    let told = format!(
        "at most {requests} requests; Deployment after its last input: p50 {:?}, max {:?}; Available: p50 {:?}, max {:?}",
        gaps[10], gaps[19], seconds[10], seconds[19]
    );
    println!("{told}");
    assert!(gaps[14] <= AFTER_LAST_INPUT && gaps[19] <= OUTLIER, "{told}");
}

async fn one_bring_up(lab: &Lab, start: Start) -> Figures {
    match start {
        Start::Bootstrap => lab.platform("Libvirt").await,
        Start::UsersClaim | Start::Edited => {
            volume(lab).await;
        }
    }
    let claim = json!({"replicas": 2, "managementState": "Managed", "storage": {"pvc": {"claim": ""}}});
    if let Start::UsersClaim = start {
        let mut config = Lab::managed(json!({}));
        config["spec"] = claim.clone();
        lab.create(config).await;
    }
    let course = lab.course().await;
    let (mut began, mut edited, mut first) = (Instant::now(), 0, None);
    let operator = lab.operator().await;
    if let Start::Edited = start {
        // Once all is told: an edit in the middle would be a conflict, and rightly so.
        lab.until(&cluster_operator(), "settled", |o| {
            o.is_some_and(|o| is(o, "Available", "True", "Removed") && !status(o, "Degraded").is_empty())
        })
        .await;
        began = Instant::now();
        edited = Timestamp::now().as_microsecond();
        first = Some(lab.edit(claim).await);
    }
    let config = up(lab).await;
    let available = began.elapsed();
    match start {
        Start::Bootstrap => {
            let storage = json!({"emptyDir": {}, "managementState": "Managed"});
            assert_eq!(config["spec"]["storage"], storage);
            assert_eq!(config["spec"]["managementState"], "Managed");
            assert_eq!(config["spec"]["replicas"], 1);
        }
        Start::UsersClaim | Start::Edited => {
            let storage = json!({"pvc": {"claim": names::DEFAULT_CLAIM}, "managementState": "Managed"});
            assert_eq!(config["spec"]["storage"], storage);
            assert_eq!(config["spec"]["replicas"], 2);
        }
    }
    let secret = config["spec"]["httpSecret"].as_str().unwrap();
    assert!(secret.len() == 128 && secret.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)));
    tokio::time::sleep(QUIET).await;
    course.judge(first.as_ref()).await;
    let requests = course.requests_to_available();
    // The bring-up begins with the edit.
    let requests = requests.filter(|event| event.time >= edited);
    assert!(requests.len() <= REQUESTS, "{} requests:\n{requests}", requests.len());
    let after_last_input = course.deployment_after_last_input();
    operator.kill().await;
    Figures {
        requests: requests.len(),
        after_last_input,
        available,
    }
}

/// A volume that the operator's own claim gets.
async fn volume(lab: &Lab) {
    let spec = json!({"accessModes": ["ReadWriteMany"], "storageClassName": ""});
    lab.volume("volume", spec).await;
}

/// Waits until the registry is up, and the ClusterOperator says so; the Config then.
async fn up(lab: &Lab) -> Value {
    let config = lab.until_config("up", is_up).await;
    lab.until(&cluster_operator(), "available", |o| {
        o.is_some_and(|o| is(o, "Available", "True", "Ready") && is(o, "Progressing", "False", "Ready"))
    })
    .await;
    config
}

// lifecycle 25, 49
#[tokio::test]
async fn the_default_config_follows_the_platform() {
    let lab = cluster().await;
    let operator = lab.operator().await;
    let config = lab
        .until_config("removed", |c| is(c, "Available", "True", "Removed"))
        .await;
    assert_eq!(config["spec"]["managementState"], "Removed");
    assert_eq!(config["spec"]["replicas"], 1);
    assert_eq!(config["spec"]["storage"], json!({}));
    assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
    lab.until(&cluster_operator(), "available", |o| {
        o.is_some_and(|o| is(o, "Available", "True", "Removed"))
    })
    .await;
    operator.kill().await;
}

/// The Config while its Deployment waits, once the message is as expected.
async fn waiting(lab: &Lab, what: &str, expected: impl Fn(&str) -> bool) -> Value {
    lab.until_config(what, |config| {
        let (_, _, message) = condition(config, "Progressing");
        is(config, "Available", "False", "DeploymentNotFound")
            && is(config, "Progressing", "True", "WaitingForDeployment")
            && expected(&message)
    })
    .await
}

// decision 9: every other object goes out at once, conditions say what is missing, and the last input brings the rollout
#[tokio::test]
async fn the_first_deployment_waits_for_inputs_that_are_held_back_and_says_for_which() {
    const INPUTS: [(StandIn, &str); 3] = [
        (StandIn::ServingCertificate, names::SERVING_CERT_SECRET),
        (StandIn::ServiceCaBundle, names::SERVICE_CA_MAP),
        (StandIn::TrustedCaBundle, names::TRUSTED_CA_MAP),
    ];
    let lab = cluster().await;
    lab.platform("Libvirt").await;
    let mut held: Vec<_> = INPUTS.to_vec();
    hold(&lab, &held).await;
    let trusted = operand(Kind::ConfigMap, names::TRUSTED_CA_MAP);
    lab.patch(&trusted, json!({"data": null})).await;
    let course = lab.course().await;
    let operator = lab.operator().await;
    while !held.is_empty() {
        let missing: Vec<_> = held.iter().map(|(_, name)| *name).collect();
        waiting(&lab, &format!("waiting for {missing:?}"), |message| {
            INPUTS
                .iter()
                .all(|(_, name)| message.contains(&format!(" {name}")) == missing.contains(name))
        })
        .await;
        assert_eq!(lab.get(&deployment()).await, None);
        if held.len() == INPUTS.len() {
            for (kind, name) in [
                (Kind::Service, names::REGISTRY),
                (Kind::ServiceAccount, names::REGISTRY_SERVICE_ACCOUNT),
                (Kind::Secret, names::PULL_SECRET_COPY),
                (Kind::Secret, names::PRIVATE_SECRET),
                (Kind::PodDisruptionBudget, names::REGISTRY),
                (Kind::NetworkPolicy, names::REGISTRY_NETWORK_POLICY),
            ] {
                assert!(lab.get(&operand(kind, name)).await.is_some(), "{kind:?} {name} waits");
            }
        }
        held.remove(0);
        hold(&lab, &held).await;
    }
    up(&lab).await;
    tokio::time::sleep(QUIET).await;
    course.judge(None).await;
    let gap = course.deployment_after_last_input();
    assert!(gap <= OUTLIER, "{gap:?}");
    operator.kill().await;
}

async fn hold(lab: &Lab, held: &[(StandIn, &str)]) {
    let control = Control::hold(held.iter().map(|(stand_in, _)| *stand_in));
    control.set(&lab.client).await.unwrap();
}

// decision 9: the wait ends 30 s after the Service was made, a restart does not prolong it; a Deployment that exists never
// waits, and an input that comes late is the next rollout
#[tokio::test]
async fn an_input_that_never_comes_holds_the_deployment_for_thirty_seconds_of_the_services_age() {
    let lab = cluster().await;
    lab.platform("Libvirt").await;
    hold(&lab, &[(StandIn::ServingCertificate, "")]).await;
    let course = lab.course().await;
    let operator = lab.operator().await;
    let service = lab.until_present(&operand(Kind::Service, names::REGISTRY)).await;
    let made: Timestamp = text(&service, "/metadata/creationTimestamp").parse().unwrap();
    waiting(&lab, "waiting", |message| message.contains(names::SERVING_CERT_SECRET)).await;
    // While it waits, nothing moves.
    let version = text(&lab.config().await, "/metadata/resourceVersion");
    let age =
        |seconds| Duration::try_from(Timestamp::now().duration_since(made)).unwrap() >= Duration::from_secs(seconds);
    while !age(20) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(text(&lab.config().await, "/metadata/resourceVersion"), version);
    operator.kill().await;
    lab.clear_lease().await;
    let operator = lab.operator().await;
    up(&lab).await;
    let log = course.requests();
    let created = created_deployment(&log);
    let after = Duration::from_micros((created - made.as_microsecond()).try_into().unwrap());
    // The API server cuts creation times down to whole seconds.
    assert!(
        after >= Duration::from_secs(30) && after <= Duration::from_secs(32),
        "{after:?}"
    );
    assert_eq!(course.replica_sets().len(), 1);
    hold(&lab, &[]).await;
    let secret = lab
        .until_present(&operand(Kind::Secret, names::SERVING_CERT_SECRET))
        .await;
    assert!(secret["data"]["tls.crt"].is_string());
    let sets = async {
        while course.replica_sets().len() != 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sets)
        .await
        .expect("the certificate is a rollout");
    operator.kill().await;
}

fn created_deployment(log: &audit::Log) -> i64 {
    let created = log.filter(|event| event.resource == "deployments" && event.verb == "create" && event.code == 201);
    assert_eq!(created.len(), 1, "{created}");
    created.events()[0].time
}

fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

// lifecycle 55, 65, 67; workload 2; storage-core 12; decisions 9 (a Deployment that was deleted waits for nothing) and 10
#[tokio::test]
async fn a_settled_cluster_costs_nothing_and_a_deleted_deployment_is_back_at_once() {
    let lab = cluster().await;
    volume(&lab).await;
    lab.create(Lab::managed(json!({"pvc": {"claim": ""}}))).await;
    let course = lab.course().await;
    let operator = lab.operator().await;
    up(&lab).await;
    course.judge(None).await;
    let operator = restart_writes_nothing(&lab, operator).await;
    deleted_deployment_comes_back(&lab).await;

    comes_to_rest(&lab).await;
    let passes = operator.passes("registry").await;
    assert!(passes > 0);
    let mark = lab.cluster.mark().unwrap();
    // Another pass, in which nothing is different.
    let touched = lab
        .patch(&config_ref(), json!({"metadata": {"annotations": {"touched": "yes"}}}))
        .await;
    let began = Instant::now();
    while operator.passes("registry").await == passes {
        assert!(began.elapsed() < Duration::from_secs(10), "no pass follows an edit");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    let log = audit::Log::read_since(lab.cluster.audit_log(), mark).unwrap();
    let ours = log.by_service_account(names::NAMESPACE, "cluster-image-registry-operator");
    let besides = ours.counted().filter(|event| event.resource != "leases");
    assert!(besides.is_empty(), "{besides}");
    let version = |config: &Value| text(config, "/metadata/resourceVersion");
    assert_eq!(version(&lab.config().await), version(&touched));
    operator.kill().await;
}

/// Waits until all is told of what was done: events go out at their own pace.
async fn comes_to_rest(lab: &Lab) {
    loop {
        let mark = lab.cluster.mark().unwrap();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let log = audit::Log::read_since(lab.cluster.audit_log(), mark).unwrap();
        let ours = log.by_service_account(names::NAMESPACE, "cluster-image-registry-operator");
        if ours.counted().filter(|event| event.resource != "leases").is_empty() {
            return;
        }
    }
}

/// A restart on a settled cluster: the lease and the event that tells of it.
async fn restart_writes_nothing(lab: &Lab, operator: support::operator::Operator) -> support::operator::Operator {
    // Events of the bring-up.
    tokio::time::sleep(QUIET).await;
    assert!(operator.stop().await.success());
    let mark = lab.cluster.mark().unwrap();
    let operator = lab.operator().await;
    for controller in ["registry", "certificates", "clusteroperator"] {
        let began = Instant::now();
        while operator.passes(controller).await == 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "no pass of {controller}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    tokio::time::sleep(QUIET).await;
    let log = audit::Log::read_since(lab.cluster.audit_log(), mark).unwrap();
    let writes = log
        .by_service_account(names::NAMESPACE, "cluster-image-registry-operator")
        .writes();
    let writes = writes.filter(|event| event.resource != "leases");
    let events = writes.filter(|event| event.resource == "events");
    assert!(events.len() <= 1 && events.len() == writes.len(), "{writes}");
    operator
}

async fn deleted_deployment_comes_back(lab: &Lab) {
    let course: Course<'_> = lab.course().await;
    let old = lab.get(&deployment()).await.unwrap();
    lab.delete(&deployment()).await;
    lab.until(&deployment(), "made anew", |d| {
        d.is_some_and(|d| d["metadata"]["uid"] != old["metadata"]["uid"])
    })
    .await;
    // A watch may tell of a write before the audit log does.
    up(lab).await;
    let log = course.log();
    let deleted = log.filter(|event| event.resource == "deployments" && event.verb == "delete");
    let deleted = deleted.events()[0].time + deleted.events()[0].duration;
    let created = created_deployment(&course.requests());
    let after = Duration::from_micros((created - deleted).try_into().unwrap());
    assert!(after <= OUTLIER, "{after:?}");
}
