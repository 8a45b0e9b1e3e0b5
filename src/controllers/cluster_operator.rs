//! The ClusterOperator: what the platform reads.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Backoff, Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::apply::WriteError;
use crate::names;
use crate::observe::Controller;
use crate::status::cluster_operator::{self, AWAITED, Sources};

/// Runs passes until the process stops leading.
pub async fn run(context: Context) {
    let mut backoff = Backoff::default();
    loop {
        let permit = context.begin().await;
        let began = Instant::now();
        let result = pass(&context).await;
        context.reconciled("clusteroperator", result.is_ok(), began.elapsed());
        drop(permit);
        let wait = match result {
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
    let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER);
    let failure = context.board.bootstrap_failure();
    // The Config's first status is a moment away: what is told now would be told anew then.
    if failure.is_none() && config.is_none_or(|config| config.pointer("/status/conditions").is_none()) {
        return Ok(());
    }
    let reference = ObjectRef::new(Kind::ClusterOperator, "", names::CLUSTER_OPERATOR);
    let live = snapshot.objects.find(&reference).map(AsRef::as_ref);
    let status = cluster_operator::desired(&Sources {
        config,
        pruner: snapshot.objects.cluster(Kind::ImagePruner, names::CLUSTER),
        deployment: snapshot.objects.operand(Kind::Deployment, names::REGISTRY),
        live,
        release_version: &snapshot.environment.release_version,
        bootstrap_failure: failure.as_deref(),
        awaited: AWAITED,
        now: snapshot.now,
    });
    let Some(status) = status else { return Ok(()) };
    let created;
    let live = match live {
        Some(live) => live,
        None => {
            // A create drops the status: it follows by itself.
            created = context.writer.create(&reference, &cluster_operator::skeleton()).await?;
            &created
        }
    };
    let version = live.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    match context
        .writer
        .merge_status(&reference, json!({"status": status}), version)
        .await
    {
        Err(WriteError::Conflict(cause)) => {
            context.writer.read(&reference).await?;
            Err(WriteError::Conflict(cause))
        }
        other => other.map(drop),
    }
}
