//! Whatever order things happen in, they end in the same state.
//!
//! An order dependence can hide in four places: in what a pass stores and a later pass finds (a chosen backend, a condition, a
//! generation); in a loop that is not woken by what it looks at; in a store that keeps the older of two versions, or brings
//! back what is gone; in a write that takes back what somebody else wrote meanwhile. None of them is in the pure rooms, which
//! see one snapshot at a time: objects put into a map in random orders would prove nothing. So the loops themselves run, all
//! of them, through their watches and writes. 500 times against an API server in memory, where each seed is an order of the
//! events, a moment at which the operator starts, and an interleaving of answers and watches; and a few times against the
//! real one, which defaults, validates and counts generations by its own rules.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::cli::Runtime;
use image_registry_operator::runtime::clock::{Clock, SystemClock};
use image_registry_operator::runtime::environment::ProcessEnvironment;
use image_registry_operator::runtime::event::Events;
use image_registry_operator::runtime::leader::{self, Candidate, Timings};
use image_registry_operator::runtime::metrics::Metrics;
use image_registry_operator::runtime::server::Readiness;
use image_registry_operator::runtime::shutdown::Shutdown;
use image_registry_operator::runtime::telemetry::{Format, Telemetry};
use image_registry_operator::{controllers, names};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::memory::{Random, Server, path};
use crate::support::{Lab, config_ref, is_up, operand};
use crate::{
    ca_map, certificates_map, cluster, cluster_operator, cron_job, daemon_set, deployment, image, image_pruner, service,
};

const ORDERS: u64 = 500;
/// The longest that a simulation may take; a fraction of a second is usual.
const LONGEST: Duration = Duration::from_mins(1);
/// The longest time between two events, in milliseconds: about what an answer and a watch take.
const PAUSE: u64 = 120;
/// On the real cluster, the first of which gives the state to compare with.
const REAL_ORDERS: u64 = 6;

/// Something that happens.
#[derive(Clone)]
enum Happens {
    /// An edit, of an object that is there from the start.
    Edit(ObjectRef, Value),
    /// A status that another operator writes.
    Status(ObjectRef, Value),
    /// An object appears.
    Appears(ObjectRef, Value),
    /// An edit by hand of what is the operator's, if it is there already.
    Meddles(ObjectRef, Value),
    /// The operator's object is deleted, if it is there already.
    Vanishes(ObjectRef),
}

fn config_object(kind: Kind) -> ObjectRef {
    ObjectRef::new(kind, "", names::CLUSTER)
}

/// 30 events, no two about the same field: their order is nobody's intention.
fn events() -> Vec<Happens> {
    use Happens::{Appears, Edit, Meddles, Status, Vanishes};
    let spec = |spec: Value| Edit(config_ref(), json!({"spec": spec}));
    let pruner = |spec: Value| Edit(image_pruner(), json!({"spec": spec}));
    let map = |name: &str| ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, name);
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
            ObjectRef::new(Kind::Secret, names::CONFIG_NAMESPACE, names::PULL_SECRET),
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
        Status(
            ObjectRef::new(Kind::ClusterVersion, "", names::CLUSTER_VERSION),
            json!({"desired": {"architecture": "Multi"}}),
        ),
        Meddles(
            daemon_set(),
            json!({"spec": {"template": {"spec": {"tolerations": null}}}}),
        ),
        Meddles(cron_job(), json!({"spec": {"schedule": "1 2 3 4 5"}})),
        Vanishes(service()),
        Vanishes(certificates_map()),
    ]
}

/// What is there before anything happens: a registry that is not wanted, without storage.
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
    let mut config = Lab::managed(json!({}));
    config["spec"]["managementState"] = json!("Removed");
    config["spec"]["httpSecret"] = json!("0123456789abcdef");
    config
}

fn pruner_spec() -> Value {
    json!({"suspend": false, "keepTagRevisions": 3, "ignoreInvalidImageReferences": true})
}

/// What must not depend on the order: all but identities, versions and times. Conditions stand in order of appearance.
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

/// The first differences between two states, in words.
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

/// The state that one order ends in.
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
            assert_eq!(server.writes(), writes, "seed {seed}: it does not come to rest");
        };
        tokio::select! {
            ended = operator(&server) => panic!("seed {seed}: the operator ended: {ended:?}"),
            () = script => {}
            () = too_long() => panic!("seed {seed}: a loop runs without a pause, time does not pass any more"),
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

/// Ends when a simulation has taken longer than any should, by the wall's clock: the paused one stands still while a loop
/// never rests.
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

fn happen(server: &Server, event: &Happens) {
    match event {
        Happens::Edit(object, patch) | Happens::Appears(object, patch) => server.merge(object, patch),
        Happens::Status(object, status) => server.merge(object, &json!({"status": status})),
        Happens::Meddles(object, patch) => server.touch(object, patch),
        Happens::Vanishes(object) => server.delete(object),
    }
}

/// Everything that the process runs once it leads.
async fn operator(server: &Server) -> Result<(), String> {
    let (client, metrics) = (server.client(), Arc::new(Metrics::new("test")));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let events = Events::start(client.clone(), None, clock.clone(), metrics.clone());
    let candidate = Candidate {
        client: client.clone(),
        identity: "simulated".to_owned(),
        timings: Timings::HA,
        clock: clock.clone(),
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
    controllers::run(Runtime {
        client,
        claim: leader::acquire(candidate).await,
        events,
        metrics,
        shutdown: Shutdown::new(),
        readiness: Readiness::default(),
        environment: Arc::new(ProcessEnvironment::from_variables(variables).unwrap()),
        telemetry: Telemetry::init(Format::Text),
        clock,
    })
    .await
}

#[test]
fn five_hundred_random_orders_of_thirty_events_end_in_the_same_state() {
    assert_eq!(events().len(), 30);
    // A seed that failed, to look at it alone.
    let only: Option<u64> = std::env::var("ORDER").ok().and_then(|seed| seed.parse().ok());
    // Telling of it all costs more than doing it. What logs first stays.
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

/// The state that one order on the real cluster ends in.
async fn real(seed: u64) -> BTreeMap<String, Value> {
    let lab = cluster().await;
    let appearing = events();
    let appearing: Vec<_> = appearing
        .iter()
        .filter_map(|e| match e {
            Happens::Appears(object, _) => Some(object.clone()),
            _ => None,
        })
        .collect();
    for object in &appearing {
        lab.delete(object).await;
        lab.until_absent(object).await;
    }
    lab.patch_status(
        &config_object(Kind::FeatureGate),
        json!({"status": {"featureGates": []}}),
    )
    .await;
    lab.patch_status(
        &ObjectRef::new(Kind::ClusterVersion, "", names::CLUSTER_VERSION),
        json!({"status": {"desired": {"architecture": null}}}),
    )
    .await;
    lab.delete(&image()).await;
    lab.create(
        json!({"apiVersion": "config.openshift.io/v1", "kind": "Image", "metadata": {"name": "cluster"}, "spec": {}}),
    )
    .await;
    lab.create(config()).await;
    lab.create(
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
            operator = Some(lab.operator().await);
        }
        really(&lab, event).await;
    }
    lab.until_config("up", |c| {
        is_up(c) && c["status"]["observedGeneration"] == c["metadata"]["generation"]
    })
    .await;
    lab.settle().await;
    lab.settle().await;
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
        operand(Kind::PodDisruptionBudget, names::REGISTRY),
        operand(Kind::Route, "own"),
        operand(Kind::Route, names::DEFAULT_ROUTE),
    ];
    let mut state = BTreeMap::new();
    for reference in compared.drain(..) {
        let mut object = lab.get(&reference).await;
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
        lab.delete(object).await;
    }
    state
}

async fn really(lab: &Lab, event: &Happens) {
    match event {
        Happens::Edit(object, patch) => drop(lab.patch(object, patch.clone()).await),
        Happens::Status(object, status) => drop(lab.patch_status(object, json!({"status": status})).await),
        Happens::Appears(object, body) => {
            let mut created = body.clone();
            created["apiVersion"] = json!(object.kind.api_version());
            created["kind"] = json!(object.kind.kind());
            created["metadata"] = json!({"name": object.name, "namespace": object.namespace});
            lab.create(created).await;
        }
        // Not there yet, or gone again: as well.
        Happens::Meddles(object, patch) => drop(lab.try_patch(object, patch.clone()).await),
        Happens::Vanishes(object) => lab.delete(object).await,
    }
}
