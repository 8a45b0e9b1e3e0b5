//! Storage in a cloud, by the operator's own process, under the rights that `deploy/` gives, on a cluster with simulated
//! nodes: from the edit, or from nothing at all, to bucket, Deployment and conditions. The store is real, and reached by the
//! public names of AWS through the cluster's proxy; what is asked of it is counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that stops is the report of its test"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/go/mod.rs"]
mod go;

mod azure;
mod bootstrap;
mod cloud;
mod credentials;
mod gcs;
mod ibm;
mod many;
mod options;
mod oss;
mod outage;
mod plain;
mod swift;
mod switch;
mod takeover;
mod trust;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::Value;
use support::{TestCluster, is_up, operand};

fn deployment() -> ObjectRef {
    operand(Kind::Deployment, names::REGISTRY)
}

fn private_secret() -> ObjectRef {
    operand(Kind::Secret, names::PRIVATE_SECRET)
}

fn certificates_map() -> ObjectRef {
    operand(Kind::ConfigMap, names::CERTIFICATES_MAP)
}

/// Whether the registry is up, as the newest edit wants it.
fn is_settled(config: &Value) -> bool {
    is_up(config) && observed(config)
}

fn observed(config: &Value) -> bool {
    config["status"]["observedGeneration"] == config["metadata"]["generation"]
}

/// Environment of the registry's container.
async fn environment(cluster: &TestCluster) -> BTreeMap<String, String> {
    let live = cluster.get(&deployment()).await.expect("a Deployment");
    let all = live["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let pair = |variable: &Value| {
        let text = |key: &str| variable[key].as_str().unwrap_or_default().to_owned();
        (text("name"), text("value"))
    };
    all.iter().map(pair).collect()
}

/// What the pods have of the storage: the Secret, the CA map, and in the pods environment, volumes and checksum.
async fn mounted(cluster: &TestCluster) -> Vec<Value> {
    let live = cluster.get(&deployment()).await.expect("a Deployment");
    let secret = cluster.get(&private_secret()).await.unwrap_or_default();
    let map = cluster.get(&certificates_map()).await.unwrap_or_default();
    let template = &live["spec"]["template"];
    let pod = &template["spec"];
    let parts = [
        &secret["data"],
        &map["data"],
        &pod["volumes"],
        &pod["containers"],
        &template["metadata"],
    ];
    parts.map(Clone::clone).into()
}

/// A file of the registry's private Secret.
async fn file(cluster: &TestCluster, name: &str) -> Option<String> {
    let secret = cluster.get(&private_secret()).await?;
    let data = secret["data"][name].as_str()?;
    Some(String::from_utf8(base64::engine::general_purpose::STANDARD.decode(data).unwrap()).unwrap())
}

/// Waits for something that no watch tells.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        let limit = support::TIMEOUT;
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
