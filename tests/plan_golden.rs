//! Whole plans for whole clusters: `tests/golden/<scenario>/snapshot.yaml` is what a pass looks at, `plan.yaml` beside it
//! what it wants. A difference is the review of a change; `UPDATE_GOLDEN=1 cargo test --test plan_golden` accepts it.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

mod golden_lists;

use std::fs;
use std::path::{Path, PathBuf};

use image_registry_operator::api::{Kind, Sensitive};
use image_registry_operator::config::environment::Environment;
use image_registry_operator::config::facts::{EnvValue, EnvVar, StorageFacts};
use image_registry_operator::config::resolve::{Resolved, resolve};
use image_registry_operator::config::snapshot::{Objects, Snapshot};
use image_registry_operator::names::{Exposure, GatewayRef, NodeCa, Program, Way};
use image_registry_operator::plan::{self, Inputs, Source};
use serde_json::{Value, json};

/// A cluster, and what the storage step said about it.
struct Scenario {
    snapshot: Snapshot,
    resolved: Resolved,
    facts: StorageFacts,
}

impl Scenario {
    fn read(text: &str) -> Self {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("snapshot.yaml is YAML");
        let (about, objects) = documents.split_first().expect("snapshot.yaml starts with the scenario");
        let mut objects = Objects::from_values(objects.iter().cloned()).expect("every object is of a known kind");
        for kind in about["absentKinds"].as_array().into_iter().flatten() {
            let known = Kind::ALL.iter().find(|k| Some(k.kind()) == kind.as_str());
            objects.set_absent_kind(*known.expect("absentKinds names known kinds"));
        }
        let snapshot = Snapshot {
            objects,
            environment: Environment {
                gates_version: String::new(),
                node_ca: NodeCa::default(),
                node_ca_user: None,
                default_spec: serde_json::Map::new(),
                exposure: exposure(&about["environment"]["exposure"]),
                program: about["environment"]["program"]
                    .as_str()
                    .map_or(Program::Platform, |name| Program::named(name).expect("a program")),
                registry_image: text_of(&about["environment"]["registryImage"]),
                pruner_image: text_of(&about["environment"]["prunerImage"]),
                operator_image: text_of(&about["environment"]["operatorImage"]),
                release_version: text_of(&about["environment"]["releaseVersion"]),
            },
            security_api: about["securityApi"].as_bool().expect("securityApi is given"),
            service_ca_api: true,
            image_api: true,
            now: "2031-05-06T07:08:09Z".parse().unwrap(),
        };
        let config = snapshot
            .config()
            .expect("the Config decodes")
            .expect("there is a Config");
        let resolved = resolve(&config, &snapshot).expect("the Config resolves");
        Self {
            snapshot,
            resolved,
            facts: facts(&about["storage"]),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            resolved: &self.resolved,
            storage: Source::Facts(&self.facts),
            snapshot: &self.snapshot,
            recorded: None,
        }
    }

    fn plans(&self) -> Value {
        let redirect = self.resolved.disable_redirect;
        let certificates = plan::certificates(&self.snapshot, self.facts.ca_bundle.as_deref(), redirect, false);
        let registry = plan::registry(&self.inputs());
        json!({
            "registry": registry.to_value(),
            "certificates": certificates.plan.to_value(),
            "certificatesError": certificates.error,
            "certificatesNotices": certificates.events.iter().map(|n| n.message.clone()).collect::<Vec<_>>(),
            "unsettled": plan::unsettled(&self.inputs(), &registry, &certificates),
        })
    }
}

fn exposure(given: &Value) -> Exposure {
    let text = |name: &str| given[name].as_str().map(str::to_owned);
    let annotations = given["annotations"].as_object().into_iter().flatten();
    Exposure {
        given: given["way"].as_str().map(|name| Way::named(name).expect("a way")),
        domain: text("domain"),
        ingress_class: text("ingressClass"),
        gateway: text("gateway").map(|name| GatewayRef {
            namespace: "edge".to_owned(),
            name,
            section: None,
        }),
        annotations: annotations.map(|(key, value)| (key.clone(), text_of(value))).collect(),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn facts(storage: &Value) -> StorageFacts {
    let list = |name: &str| storage[name].as_array().cloned().unwrap_or_default();
    let env = list("env").iter().map(variable).collect();
    let files = storage["files"].as_object().into_iter().flatten();
    StorageFacts {
        backend: leaked(&storage["backend"]),
        env,
        tenant: &[],
        volumes: list("volumes"),
        mounts: list("mounts"),
        files: files
            .map(|(key, content)| (key.clone(), Sensitive::new(text_of(content))))
            .collect(),
        ca_bundle: storage["caBundle"].as_str().map(str::to_owned),
        unfit: storage["unfit"].as_str().map(str::to_owned),
        not_usable: storage["notUsable"].as_str().map(str::to_owned),
    }
}

fn variable(given: &Value) -> EnvVar {
    let value = match given
        .as_object()
        .and_then(|members| members.iter().find(|(member, _)| *member != "name"))
    {
        Some((member, Value::String(text))) => match member.as_str() {
            "text" => EnvValue::Text(text.clone()),
            "secret" => EnvValue::Secret(Sensitive::new(text)),
            "raw" => EnvValue::Raw(text.clone()),
            other => panic!("{other} is no kind of variable"),
        },
        Some((_, Value::Bool(flag))) => EnvValue::Flag(*flag),
        Some((_, number)) => EnvValue::Number(number.as_i64().expect("a whole number")),
        None => panic!("{given} has no value"),
    };
    EnvVar {
        name: leaked(&given["name"]),
        value,
    }
}

/// Facts hold names that live as long as the program.
fn leaked(value: &Value) -> &'static str {
    String::leak(text_of(value))
}

fn scenarios() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut found: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn plans_equal_the_golden_ones() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differing = Vec::new();
    for folder in scenarios() {
        let scenario = Scenario::read(&fs::read_to_string(folder.join("snapshot.yaml")).unwrap());
        let plans = scenario.plans();
        let file = folder.join("plan.yaml");
        let text = serde_saphyr::to_string(&plans).unwrap();
        if update {
            fs::write(&file, &text).unwrap();
        }
        let golden: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap_or_default()).unwrap_or_default();
        if golden != plans {
            differing.push(format!(
                "{}:\n{}",
                file.display(),
                difference("", &golden, &plans).join("\n")
            ));
        }
    }
    assert!(
        differing.is_empty(),
        "UPDATE_GOLDEN=1 rewrites these, then review them:\n{}",
        differing.join("\n\n")
    );
}

/// Where two values differ, one line each.
fn difference(path: &str, golden: &Value, plan: &Value) -> Vec<String> {
    match (golden, plan) {
        (golden, plan) if golden == plan => Vec::new(),
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            keys.into_iter()
                .flat_map(|key| difference(&format!("{path}/{key}"), &golden[key], &plan[key]))
                .collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs
                .flat_map(|(index, (a, b))| difference(&format!("{path}/{index}"), a, b))
                .collect()
        }
        (golden, plan) => vec![format!("{path}: golden {golden}, plan {plan}")],
    }
}

// The same inputs, read anew and in another order, make the same plan.
#[test]
fn a_plan_depends_on_nothing_but_its_inputs() {
    for folder in scenarios() {
        let text = fs::read_to_string(folder.join("snapshot.yaml")).unwrap();
        let mut documents: Vec<&str> = text.split("\n---\n").collect();
        documents[1..].reverse();
        let reversed = documents.join("\n---\n");
        assert_eq!(
            Scenario::read(&text).plans(),
            Scenario::read(&reversed).plans(),
            "{}",
            folder.display()
        );
    }
}

// Once everything that a plan wants is written, the same plan wants nothing more.
#[test]
fn a_plan_that_was_written_differs_from_nothing() {
    for folder in scenarios() {
        let mut scenario = Scenario::read(&fs::read_to_string(folder.join("snapshot.yaml")).unwrap());
        // Each round sees what the earlier ones wrote: the CA maps need the Service, and the Deployment the maps.
        for _ in 0..3 {
            for desired in wanted(&scenario)
                .into_iter()
                .filter(|desired| desired.refused.is_none())
            {
                let live = scenario
                    .snapshot
                    .objects
                    .find(&desired.reference)
                    .cloned()
                    .unwrap_or_default();
                let mut object = plan::drift::merged(&desired, &live, Some("sha256:beef"));
                object["metadata"]["generation"] = json!(4);
                scenario.snapshot.objects.insert(desired.reference, object);
            }
        }
        for desired in wanted(&scenario)
            .into_iter()
            .filter(|desired| desired.refused.is_none())
        {
            let live = scenario
                .snapshot
                .objects
                .find(&desired.reference)
                .expect("it was written");
            assert!(
                !plan::drift::differs(&desired, live, Some(4)),
                "{}: {}",
                folder.display(),
                desired.reference
            );
            assert!(
                !plan::drift::immutable_differs(&desired, live),
                "{}: {}",
                folder.display(),
                desired.reference
            );
        }
    }
}

fn wanted(scenario: &Scenario) -> Vec<plan::Desired> {
    let redirect = scenario.resolved.disable_redirect;
    let certificates = plan::certificates(&scenario.snapshot, scenario.facts.ca_bundle.as_deref(), redirect, false);
    plan::registry(&scenario.inputs())
        .present
        .into_iter()
        .chain(certificates.plan.present)
        .collect()
}

/// What the API server adds to a pod template.
const SERVER_DEFAULTS: &[&str] = &[
    "creationTimestamp",
    "defaultMode",
    "dnsPolicy",
    "expirationSeconds",
    "failureThreshold",
    "imagePullPolicy",
    "periodSeconds",
    "restartPolicy",
    "schedulerName",
    "serviceAccount",
    "successThreshold",
    "terminationMessagePath",
];

fn without_defaults(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let own = members
                .iter()
                .filter(|(member, _)| !SERVER_DEFAULTS.contains(&member.as_str()));
            own.map(|(member, value)| (member.clone(), without_defaults(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.iter().map(without_defaults).collect(),
        other => other.clone(),
    }
}

// workload 61, storage-decisions 20
#[test]
fn taking_over_a_cluster_of_the_go_operator_replaces_no_pod_and_writes_only_the_deployment() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/takeover");
    let scenario = Scenario::read(&fs::read_to_string(folder.join("snapshot.yaml")).unwrap());
    let Scenario {
        snapshot,
        resolved,
        facts,
    } = &scenario;
    assert!(
        !plan::storage_differs(resolved, facts, snapshot),
        "nothing is tried out"
    );
    let mut written = Vec::new();
    for desired in wanted(&scenario) {
        let Some(live) = scenario.snapshot.objects.find(&desired.reference) else {
            continue;
        };
        assert!(!plan::drift::immutable_differs(&desired, live), "{}", desired.reference);
        if plan::drift::differs(&desired, live, Some(12)) {
            written.push(desired.reference.to_string());
        }
        if desired.reference.kind == Kind::Deployment {
            let (template, live) = (&desired.body["spec"]["template"], &live["spec"]["template"]);
            let changed = difference("", &without_defaults(live), template);
            assert!(changed.is_empty(), "the template changes:\n{}", changed.join("\n"));
        }
    }
    // serviceca was never annotated in this cluster.
    let map = "ConfigMap openshift-image-registry/serviceca";
    assert_eq!(written, ["Deployment openshift-image-registry/image-registry", map]);
}
