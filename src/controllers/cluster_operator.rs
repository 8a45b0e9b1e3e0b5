//! The ClusterOperator: what the platform reads.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Backoff, Context, RESYNC};
use crate::api::{ImagePruner, Kind, ObjectRef};
use crate::apply::WriteError;
use crate::names;
use crate::observe::Controller;
use crate::status::cluster_operator;

/// Runs passes until the process stops leading.
pub async fn run(context: Context) {
    let mut backoff = Backoff::default();
    loop {
        let wait = match pass(&context).await {
            Ok(()) => {
                backoff.reset();
                RESYNC
            }
            Err(WriteError::Conflict(_)) => Duration::ZERO,
            Err(error) => {
                tracing::warn!(%error, "cannot report to ClusterOperator {}", names::CLUSTER_OPERATOR);
                backoff.fail(context.jitter())
            }
        };
        context.rest(Controller::ClusterOperator, wait).await;
    }
}

async fn pass(context: &Context) -> Result<(), WriteError> {
    let snapshot = context.world.snapshot();
    if !snapshot.objects.served(Kind::ClusterOperator) {
        return Ok(());
    }
    let reference = ObjectRef::new(Kind::ClusterOperator, "", names::CLUSTER_OPERATOR);
    let config = snapshot.config().ok().flatten();
    let pruner = snapshot.objects.cluster(Kind::ImagePruner, names::CLUSTER);
    let pruner: Option<ImagePruner> = pruner.and_then(|p| serde_json::from_value(p.clone()).ok());
    let live = snapshot.objects.find(&reference).map(AsRef::as_ref);
    let failure = context.board.bootstrap_failure();
    let status = cluster_operator::desired(
        config.as_ref(),
        pruner.as_ref(),
        snapshot.objects.operand(Kind::Deployment, names::REGISTRY),
        live,
        &snapshot.environment.release_version,
        failure.as_deref(),
        snapshot.now,
    );
    let Some(status) = status else { return Ok(()) };
    let created;
    let live = match live {
        Some(live) => live,
        None => {
            // A create drops the status: it follows by itself.
            let bare = json!({"apiVersion": "config.openshift.io/v1", "kind": "ClusterOperator",
                              "metadata": {"name": names::CLUSTER_OPERATOR}, "spec": {}});
            created = context.writer.create(&reference, &bare).await?;
            &created
        }
    };
    let version = live.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    match context.writer.merge_status(&reference, json!({"status": status}), version).await {
        Err(WriteError::Conflict(cause)) => {
            context.writer.read(&reference).await?;
            Err(WriteError::Conflict(cause))
        }
        other => other.map(drop),
    }
}
