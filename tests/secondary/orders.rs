//! The final state does not depend on the order of events.
//!
//! A dependence on the order can be in four places: in what one reconcile stores and a later one reads (a chosen backend, a
//! condition, a generation); in a controller that no change of its input wakes; in a cache that keeps the older of two
//! versions, or restores a deleted object; in a write that reverts a concurrent write. None of these is in the pure functions,
//! which see one snapshot at a time. Hence all controllers run here, with their watches and writes: 500 times against an API
//! server in memory, where each seed gives an order of the events, a time at which the operator starts, and an interleaving of
//! responses and watch events; and a few times against a real API server, with its defaulting, validation and generations.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::controllers::{self, Settings};
use image_registry_operator::names;
use image_registry_operator::runtime::clock::{Clock, SystemClock};
use image_registry_operator::runtime::environment::ProcessEnvironment;
use image_registry_operator::runtime::event::Events;
use image_registry_operator::runtime::leader::{self, Candidate, Timings};
use image_registry_operator::runtime::metrics::Metrics;
use image_registry_operator::runtime::server::Readiness;
use image_registry_operator::runtime::shutdown::Shutdown;
use image_registry_operator::runtime::telemetry::{Format, Telemetry};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::empty_cluster;
use crate::memory::{Random, Server, path};
use crate::support::{
    TestCluster, ca_map, certificates_map, cluster_operator, cluster_version, config_ref, cron_job, daemon_set,
    default_route, deployment, disruption_budget, image, image_pruner, is_up, operand, pull_secret, service,
    user_input,
};

const ORDERS: u64 = 500;
/// The longest that a simulation may take; usually it takes a fraction of a second.
const LONGEST: Duration = Duration::from_mins(1);
/// The longest time between two events, in milliseconds: about as long as a response and its watch event take.
const PAUSE: u64 = 120;
/// Orders on the real cluster; the others are compared with the first.
const REAL_ORDERS: u64 = 6;

/// An event.
#[derive(Clone)]
enum Change {
    /// Somebody edits an object that exists from the start.
    Edit(ObjectRef, Value),
    /// Another operator writes a status.
    Status(ObjectRef, Value),
    /// An object appears.
    Appears(ObjectRef, Value),
    /// Somebody edits an object of the operator, if it exists already.
    Meddles(ObjectRef, Value),
    /// Somebody deletes an object of the operator, if it exists already.
    Vanishes(ObjectRef),
}

fn config_object(kind: Kind) -> ObjectRef {
    ObjectRef::new(kind, "", names::CLUSTER)
}

/// 30 events. No two change the same field, so the final state must not depend on their order.
fn events() -> Vec<Change> {
    use Change::{Appears, Edit, Meddles, Status, Vanishes};
    let spec = |spec: Value| Edit(config_ref(), json!({"spec": spec}));
    let pruner = |spec: Value| Edit(image_pruner(), json!({"spec": spec}));
    let map = |name: &str| user_input(Kind::ConfigMap, name);
    let gates = json!([{"version": "4.22.0-test", "enabled": [{"name": "ImageStreamImportMode"}], "disabled": []}]);
    vec![
        spec(json!({"managementState": "Managed"})),
        spec(json!({"storage": {"emptyDir": {}}})),
        spec(json!({"replicas": 2})),
        spec(json!({"logLevel": "Debug"})),
        spec(json!({"operatorLogLevel": "Debug"})),
        spec(json!({"defaultRoute": true})),
        spec(json!({"routes": [{"name": "own", "hostname": "own.example.com", "secretName": "own-tls"}]})),
        spec(json!({"disableRedirect": true})),
        spec(json!({"readOnly": true})),
        spec(json!({"unsupportedConfigOverrides": {"deployment": {"annotations": {"example.com/a": "b"}}}})),
        spec(json!({"requests": {"read": {"maxRunning": 5, "maxInQueue": 6, "maxWaitInQueue": "7s"}}})),
        spec(json!({"tolerations": [{"key": "infra", "operator": "Exists"}]})),
        spec(json!({"nodeSelector": {"kubernetes.io/os": "linux"}})),
        spec(json!({"proxy": {"http": "http://proxy.example.com"}})),
        spec(json!({"rolloutStrategy": "Recreate"})),
        pruner(json!({"suspend": true})),
        pruner(json!({"keepTagRevisions": 9})),
        pruner(json!({"logLevel": "Debug"})),
        Edit(
            image(),
            json!({"spec": {"additionalTrustedCA": {"name": "users-trust"}}}),
        ),
        Appears(
            map("users-trust"),
            json!({"data": {"reg.example.com": "PEM", "reg.example.com..5000": "PEM"}}),
        ),
        Appears(
            pull_secret(),
            json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eyJhdXRocyI6e319"}}),
        ),
        Appears(
            operand(Kind::Secret, "own-tls"),
            json!({"data": {"tls.crt": "YQ==", "tls.key": "Yg=="}}),
        ),
        Appears(
            operand(Kind::Job, "of-somebody-else"),
            json!({"spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "localhost/none"}]}}}}),
        ),
        Edit(
            config_object(Kind::ApiServer),
            json!({"spec": {"tlsSecurityProfile": {"type": "Modern", "modern": {}}}}),
        ),
        Status(config_object(Kind::FeatureGate), json!({"featureGates": gates})),
        Status(cluster_version(), json!({"desired": {"architecture": "Multi"}})),
        Meddles(
            daemon_set(),
            json!({"spec": {"template": {"spec": {"tolerations": null}}}}),
        ),
        Meddles(cron_job(), json!({"spec": {"schedule": "1 2 3 4 5"}})),
        Vanishes(service()),
        Vanishes(certificates_map()),
    ]
}

/// The objects before the first event: the registry is Removed and has no storage.
fn start(server: &Server) {
    let put =
        |kind, namespace: &str, name: &str, body: Value| server.merge(&ObjectRef::new(kind, namespace, name), &body);
    let groups = json!({names::SUPPLEMENTAL_GROUPS_ANNOTATION: "1000290000/10000"});
    put(
        Kind::Namespace,
        "",
        names::NAMESPACE,
        json!({"metadata": {"annotations": groups}}),
    );
    put(
        Kind::Infrastructure,
        "",
        names::CLUSTER,
        json!({"spec": {}, "status": {"platform": "None",
        "platformStatus": {"type": "None"}, "controlPlaneTopology": "HighlyAvailable", "infrastructureTopology": "HighlyAvailable"}}),
    );
    for kind in [Kind::Image, Kind::Proxy, Kind::ApiServer] {
        put(kind, "", names::CLUSTER, json!({"spec": {}}));
    }
    put(
        Kind::FeatureGate,
        "",
        names::CLUSTER,
        json!({"spec": {}, "status": {"featureGates": []}}),
    );
    put(
        Kind::ClusterVersion,
        "",
        names::CLUSTER_VERSION,
        json!({"spec": {}, "status": {"desired": {"version": "4.22.0"}}}),
    );
    for node in ["a", "b", "c"] {
        put(
            Kind::Node,
            "",
            node,
            json!({"spec": {}, "metadata": {"labels": {"node-role.kubernetes.io/worker": ""}}}),
        );
    }
    put(
        Kind::ConfigMap,
        names::NAMESPACE,
        names::TRUSTED_CA_MAP,
        json!({"data": {"ca-bundle.crt": "BUNDLE"},
        "metadata": {"labels": {"config.openshift.io/inject-trusted-cabundle": "true"}}}),
    );
    put(
        Kind::Config,
        "",
        names::CLUSTER,
        config()["spec"].clone().pipe(|spec| json!({"spec": spec})),
    );
    put(Kind::ImagePruner, "", names::CLUSTER, json!({"spec": pruner_spec()}));
}

trait Pipe: Sized {
    fn pipe<T>(self, function: impl FnOnce(Self) -> T) -> T {
        function(self)
    }
}

impl Pipe for Value {}

fn config() -> Value {
    let mut config = TestCluster::managed(json!({}));
    config["spec"]["managementState"] = json!("Removed");
    config["spec"]["httpSecret"] = json!("0123456789abcdef");
    config
}

fn pruner_spec() -> Value {
    json!({"suspend": false, "keepTagRevisions": 3, "ignoreInvalidImageReferences": true})
}

/// Removes what may depend on the order: UIDs, versions, times and messages, and the order of conditions.
fn comparable(value: &mut Value) {
    const IDENTITY: [&str; 21] = [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "observedGeneration",
        "lastGeneration",
        "lastTransitionTime",
        "managedFields",
        "clusterIP",
        "clusterIPs",
        "timestamp",
        "lastHeartbeatTime",
        "imageregistry.operator.openshift.io/dependencies-checksum",
        "imageregistry.operator.openshift.io/checksum",
        "deployment.kubernetes.io/revision",
        "deprecated.daemonset.template.generation",
        "kubectl.kubernetes.io/last-applied-configuration",
        "service.alpha.openshift.io/serving-cert-signed-by",
        "service.beta.openshift.io/serving-cert-signed-by",
        "operator.openshift.io/spec-hash",
        "message",
    ];
    match value {
        Value::Object(members) => {
            members.retain(|member, value| !IDENTITY.contains(&member.as_str()) && !value.is_null());
            if let Some(Value::Array(conditions)) = members.get_mut("conditions") {
                conditions.sort_by_key(|c| c["type"].as_str().unwrap_or_default().to_owned());
            }
            if let Some(Value::Array(generations)) = members.get_mut("generations") {
                generations.sort_by_key(|g| g["resource"].as_str().unwrap_or_default().to_owned());
            }
            members.values_mut().for_each(comparable);
        }
        Value::Array(items) => items.iter_mut().for_each(comparable),
        _ => {}
    }
}

/// The first differences between two states, as text.
fn differences(expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> String {
    let keys = expected
        .keys()
        .chain(found.keys().filter(|key| !expected.contains_key(*key)));
    let different = keys.filter(|key| expected.get(*key) != found.get(*key)).take(3);
    let shown = different.map(|key| {
        let of = |state: &BTreeMap<String, Value>| {
            state
                .get(key)
                .map_or("absent".to_owned(), |v| serde_json::to_string_pretty(v).unwrap())
        };
        let (one, other) = (of(expected), of(found));
        let known: Vec<_> = one.lines().collect();
        let news: Vec<_> = other.lines().collect();
        let gone: Vec<_> = known.iter().filter(|line| !news.contains(line)).take(12).collect();
        let new: Vec<_> = news.iter().filter(|line| !known.contains(line)).take(12).collect();
        format!("{key}\n  only before: {gone:#?}\n  only now: {new:#?}")
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// The final state of one order in memory.
fn simulate(seed: u64) -> BTreeMap<String, Value> {
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    executor.block_on(async {
        let mut random = Random(seed);
        let server = Server::start(random.below(u64::MAX));
        start(&server);
        let mut events = events();
        random.shuffle(&mut events);
        let starts = random.below(events.len() as u64);
        let mut course = Vec::new();
        for (number, event) in (0..).zip(events) {
            course.push((number, Duration::from_millis(random.below(PAUSE)), event));
        }
        let before: Vec<_> = course.iter().filter(|(number, ..)| *number < starts).cloned().collect();
        for (_, _, event) in &before {
            happen(&server, event);
        }
        let script = async {
            for (_, pause, event) in course.iter().filter(|(number, ..)| *number >= starts) {
                tokio::time::sleep(*pause).await;
                happen(&server, event);
            }
            tokio::time::sleep(Duration::from_secs(45)).await;
            let writes = server.writes();
            tokio::time::sleep(Duration::from_secs(45)).await;
            assert_eq!(
                server.writes(),
                writes,
                "seed {seed}: the operator does not stop writing"
            );
        };
        tokio::select! {
            ended = operator(&server, Arc::new(SystemClock)) => panic!("seed {seed}: the operator ended: {ended:?}"),
            () = script => {}
            () = too_long() => panic!("seed {seed}: a controller loops without waiting"),
        }
        let found = server.get(&config_ref()).unwrap();
        assert!(is_up(&found), "seed {seed}: {}", found["status"]);
        assert_eq!(
            found["status"]["observedGeneration"], found["metadata"]["generation"],
            "seed {seed}"
        );
        let mut objects = server.objects();
        objects.values_mut().for_each(comparable);
        objects
    })
}

/// Returns when a simulation has taken too long by the wall clock: tokio's paused clock stands still while a controller loops
/// without waiting.
async fn too_long() {
    static ALARMS: OnceLock<mpsc::Sender<oneshot::Sender<()>>> = OnceLock::new();
    let alarms = ALARMS.get_or_init(|| {
        let (alarms, set) = mpsc::channel::<oneshot::Sender<()>>();
        std::thread::spawn(move || {
            while let Ok(alarm) = set.recv() {
                let began = std::time::Instant::now();
                while !alarm.is_closed() && began.elapsed() < LONGEST {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let _ = alarm.send(());
            }
        });
        alarms
    });
    let (alarm, rings) = oneshot::channel();
    alarms.send(alarm).unwrap();
    rings.await.unwrap();
}

fn happen(server: &Server, event: &Change) {
    match event {
        Change::Edit(object, patch) | Change::Appears(object, patch) => server.merge(object, patch),
        Change::Status(object, status) => server.merge(object, &json!({"status": status})),
        Change::Meddles(object, patch) => server.touch(object, patch),
        Change::Vanishes(object) => server.delete(object),
    }
}

/// All controllers, as the operator's process runs them once it leads.
pub(crate) async fn operator(server: &Server, clock: Arc<dyn Clock>) -> Result<(), String> {
    let (client, metrics) = (server.client(), Arc::new(Metrics::new("test")));
    let system: Arc<dyn Clock> = Arc::new(SystemClock);
    let events = Events::start(client.clone(), None, system.clone(), metrics.clone());
    let candidate = Candidate {
        client: client.clone(),
        identity: "simulated".to_owned(),
        timings: Timings::HA,
        clock: system,
        events: events.clone(),
        metrics: metrics.clone(),
    };
    let variables = [
        ("RELEASE_VERSION", "4.22.0-test"),
        ("OPERATOR_IMAGE_VERSION", "4.22.0-test"),
        ("OPERATOR_IMAGE", "localhost/operator:dev"),
        ("IMAGE", "localhost/registry:dev"),
        ("IMAGE_PRUNER", "localhost/cli:dev"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    controllers::run(Settings {
        version: "test",
        client,
        claim: leader::acquire(candidate).await,
        events,
        metrics,
        shutdown: Shutdown::new(),
        readiness: Readiness::default(),
        serving: None,
        clock,
        environment: Arc::new(ProcessEnvironment::from_variables(variables).unwrap()),
        telemetry: Telemetry::init(Format::Text),
    })
    .await
}

#[test]
fn five_hundred_random_orders_of_thirty_events_end_in_the_same_state() {
    assert_eq!(events().len(), 30);
    // A single seed, to debug a failure.
    let only: Option<u64> = std::env::var("ORDER").ok().and_then(|seed| seed.parse().ok());
    // Logging costs more CPU time than the simulation. The first subscriber stays installed.
    if only.is_none() {
        let _ = tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::default());
    }
    let expected = simulate(0);
    assert!(expected.contains_key(&path(&deployment())));
    let began = std::time::Instant::now();
    let seeds: Vec<u64> = only.map_or_else(|| (1..ORDERS).collect(), |seed| vec![seed]);
    for seed in &seeds {
        let found = simulate(*seed);
        assert!(found == expected, "seed {seed}: {}", differences(&expected, &found));
    }
    eprintln!("{} orders in {:?}", seeds.len() + 1, began.elapsed());
}

#[tokio::test]
async fn orders_on_a_real_api_server_end_in_the_same_state() {
    let mut expected = None;
    for seed in 0..REAL_ORDERS {
        let found = real(seed).await;
        let Some(expected) = &expected else {
            expected = Some(found);
            continue;
        };
        assert!(found == *expected, "order {seed}: {}", differences(expected, &found));
    }
}

/// The final state of one order on the real cluster.
async fn real(seed: u64) -> BTreeMap<String, Value> {
    let cluster = empty_cluster().await;
    let appearing = events();
    let appearing: Vec<_> = appearing
        .iter()
        .filter_map(|e| match e {
            Change::Appears(object, _) => Some(object.clone()),
            _ => None,
        })
        .collect();
    for object in &appearing {
        cluster.delete(object).await;
        cluster.until_absent(object).await;
    }
    cluster
        .patch_status(
            &config_object(Kind::FeatureGate),
            json!({"status": {"featureGates": []}}),
        )
        .await;
    cluster
        .patch_status(
            &cluster_version(),
            json!({"status": {"desired": {"architecture": null}}}),
        )
        .await;
    cluster.delete(&image()).await;
    cluster.create(
        json!({"apiVersion": "config.openshift.io/v1", "kind": "Image", "metadata": {"name": "cluster"}, "spec": {}}),
    )
    .await;
    cluster.create(config()).await;
    cluster.create(
        json!({"apiVersion": Kind::ImagePruner.api_version(), "kind": "ImagePruner", "metadata": {"name": "cluster"},
        "spec": pruner_spec()}),
    )
    .await;
    let mut random = Random(seed);
    let mut events = events();
    random.shuffle(&mut events);
    let starts = usize::try_from(random.below(events.len() as u64)).unwrap();
    let mut operator = None;
    for (number, event) in events.iter().enumerate() {
        if number == starts {
            operator = Some(cluster.operator().await);
        }
        really(&cluster, event).await;
    }
    cluster
        .until_config("up", |c| {
            is_up(c) && c["status"]["observedGeneration"] == c["metadata"]["generation"]
        })
        .await;
    cluster.settle().await;
    cluster.settle().await;
    let mut compared = vec![
        config_ref(),
        image_pruner(),
        image(),
        cluster_operator(),
        deployment(),
        service(),
        daemon_set(),
        cron_job(),
        certificates_map(),
        ca_map(),
        operand(Kind::Secret, names::PULL_SECRET_COPY),
        operand(Kind::Secret, names::PRIVATE_SECRET),
        disruption_budget(),
        operand(Kind::Route, "own"),
        default_route(),
    ];
    let mut state = BTreeMap::new();
    for reference in compared.drain(..) {
        let mut object = cluster.get(&reference).await;
        if let Some(object) = &mut object {
            if matches!(
                reference.kind,
                Kind::Deployment | Kind::DaemonSet | Kind::PodDisruptionBudget
            ) {
                object["status"] = Value::Null;
            }
            comparable(object);
        }
        state.insert(path(&reference), object.unwrap_or(Value::Null));
    }
    assert!(operator.unwrap().stop().await.success());
    for object in &appearing {
        cluster.delete(object).await;
    }
    state
}

async fn really(cluster: &TestCluster, event: &Change) {
    match event {
        Change::Edit(object, patch) => drop(cluster.patch(object, patch.clone()).await),
        Change::Status(object, status) => drop(cluster.patch_status(object, json!({"status": status})).await),
        Change::Appears(object, body) => {
            let mut created = body.clone();
            created["apiVersion"] = json!(object.kind.api_version());
            created["kind"] = json!(object.kind.kind());
            created["metadata"] = json!({"name": object.name, "namespace": object.namespace});
            cluster.create(created).await;
        }
        // The object may not exist yet or no longer.
        Change::Meddles(object, patch) => drop(cluster.try_patch(object, patch.clone()).await),
        Change::Vanishes(object) => cluster.delete(object).await,
    }
}
