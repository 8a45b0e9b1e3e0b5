//! What must not harm: death at any moment, other processes that want to lead, edits and errors in the middle of a pass.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

#[path = "../support/mod.rs"]
mod support;

mod edit;
mod fault;
mod kill;
mod process;
mod takeover;

use image_registry_operator::api::ObjectRef;
use image_registry_operator::names;
use serde_json::{Value, json};
use support::course::cluster_operator;
use support::{Lab, is, is_up, lab, simulated};

/// The cluster of these tests. The one that waits for a lease to expire has its own, and begins at the first of them.
async fn cluster() -> Lab {
    takeover::begin();
    lab(simulated("robust")).await
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

/// Waits until a Config that asks for no registry is settled.
async fn removed(lab: &Lab) {
    lab.until(&cluster_operator(), "settled", |o| {
        o.is_some_and(|o| is(o, "Available", "True", "Removed") && !support::course::status(o, "Degraded").is_empty())
    })
    .await;
}

/// A user's Config: Managed, a claim that the operator makes, two replicas; and a volume that fits.
async fn claims(lab: &Lab) -> Value {
    lab.volume(
        "volume",
        json!({"accessModes": ["ReadWriteMany"], "storageClassName": ""}),
    )
    .await;
    let mut config = Lab::managed(json!({"pvc": {"claim": ""}}));
    config["spec"]["replicas"] = json!(2);
    config
}

fn claim() -> ObjectRef {
    support::operand(
        image_registry_operator::api::Kind::PersistentVolumeClaim,
        names::DEFAULT_CLAIM,
    )
}
