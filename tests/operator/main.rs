//! The operator at work on a cluster with simulated nodes: what only its wiring can break. Each test says in its name what
//! a user may count on; all go through the operator's own process, under the rights that `deploy/` gives.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod bootstrap;
mod certificates;
mod crds;
mod deletion;
mod drift;
mod inputs;
mod remote;
mod rollout;
mod routes;
mod status;
mod transitions;
mod volumes;

use devcluster::standin::Control;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};
use support::operator::Operator;
use support::{Lab, is_up, lab, operand, simulated};

/// The cluster of this program, on platform `None`, empty.
async fn cluster() -> Lab {
    let lab = lab(simulated("operator")).await;
    lab.forget_events().await;
    release(&lab).await;
    lab
}

/// Takes back what a test before this one, had it failed, would have left in the way.
async fn release(lab: &Lab) {
    Control::default().set(&lab.client).await.unwrap();
    for path in [
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/failing",
        "/api/v1/namespaces/openshift-image-registry/resourcequotas/no-claims",
        "/apis/storage.k8s.io/v1/storageclasses/ovirt-csi-sc",
        "/apis/node.k8s.io/v1/runtimeclasses/kata",
    ] {
        let request = http::Request::delete(path).body(Vec::new()).unwrap();
        let _ = lab.client.request::<Value>(request).await;
    }
}

/// A registry on emptyDir with one replica that is up and at rest, with these members of the spec besides.
async fn registry(spec: Value) -> (Lab, Operator) {
    let lab = cluster().await;
    let operator = come_up(&lab, spec).await;
    (lab, operator)
}

/// Creates the Config, starts the operator, waits until all is there.
async fn come_up(lab: &Lab, spec: Value) -> Operator {
    let mut config = Lab::managed(json!({"emptyDir": {}}));
    merge(&mut config["spec"], spec);
    lab.create(config).await;
    let operator = lab.operator().await;
    lab.until_config("up", is_up).await;
    lab.settle().await;
    operator
}

/// As a merge patch, without nulls.
fn merge(target: &mut Value, patch: Value) {
    match (target.as_object_mut(), patch) {
        (Some(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, patch) => *target = patch,
    }
}

fn deployment() -> ObjectRef {
    operand(Kind::Deployment, names::REGISTRY)
}

fn cluster_operator() -> ObjectRef {
    ObjectRef::new(Kind::ClusterOperator, "", names::CLUSTER_OPERATOR)
}

fn ca_map() -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, names::CONFIG_MANAGED_NAMESPACE, names::CA_MAP)
}

fn certificates_map() -> ObjectRef {
    operand(Kind::ConfigMap, names::CERTIFICATES_MAP)
}

/// Every object of a registry without routes.
fn operands() -> Vec<ObjectRef> {
    vec![
        ObjectRef::new(Kind::ClusterRole, "", names::REGISTRY_CLUSTER_ROLE),
        ObjectRef::new(Kind::ClusterRoleBinding, "", names::REGISTRY_CLUSTER_ROLE_BINDING),
        operand(Kind::ServiceAccount, names::REGISTRY_SERVICE_ACCOUNT),
        operand(Kind::Secret, names::PULL_SECRET_COPY),
        operand(Kind::Secret, names::PRIVATE_SECRET),
        operand(Kind::Service, names::REGISTRY),
        deployment(),
        operand(Kind::PodDisruptionBudget, names::REGISTRY),
        operand(Kind::NetworkPolicy, names::REGISTRY_NETWORK_POLICY),
    ]
}

/// Value of a variable of the registry's container.
fn env<'a>(deployment: &'a Value, name: &str) -> Option<&'a str> {
    let all = deployment.pointer("/spec/template/spec/containers/0/env")?.as_array()?;
    all.iter().find(|e| e["name"] == name)?["value"].as_str()
}

/// Which ReplicaSet of the Deployment is the newest: counts rollouts.
fn revision(deployment: &Value) -> i64 {
    let annotation = &deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    annotation.as_str().unwrap_or("0").parse().unwrap()
}

/// The newest Deployment, once its rollout is complete and the operator rests.
async fn rolled_out(lab: &Lab) -> Value {
    lab.settle().await;
    lab.until(&deployment(), "rolled out", |o| o.is_some_and(is_rolled_out))
        .await
        .unwrap()
}

fn is_rolled_out(deployment: &Value) -> bool {
    let status = &deployment["status"];
    let all = deployment["spec"]["replicas"].as_i64();
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && ["updatedReplicas", "availableReplicas", "replicas"]
            .iter()
            .all(|m| status[m].as_i64().or(Some(0)) == all)
}

/// The generation that the last pass looked at is the newest.
fn observed(config: &Value) -> bool {
    config["status"]["observedGeneration"] == config["metadata"]["generation"]
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap()
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}
