//! The status of ClusterOperator `image-registry`, which the cluster-version operator reads.

use std::time::Duration;

use serde_json::{Value, json};

use super::secondary::{self, DegradedCondition, Failure};
use super::status_debounce::StatusDebounce;
use super::{Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::names;
use crate::observe::Controller;
use crate::status::cluster_operator::{self, AWAITED, Sources};

/// Runs passes until the process stops leading.
pub(super) async fn run(context: Context) {
    let mut debounce = StatusDebounce::start();
    secondary::run(
        context,
        Controller::ClusterOperator,
        "clusteroperator",
        DegradedCondition::SetByPass,
        async |context| pass(context, &mut debounce).await,
    )
    .await;
}

async fn pass(context: &Context, debounce: &mut StatusDebounce) -> Result<Duration, Failure> {
    let snapshot = context.caches.snapshot();
    if !snapshot.objects.served(Kind::ClusterOperator) {
        return Ok(RESYNC);
    }
    let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER);
    let delay = context.shared.bootstrap_delay();
    // Wait for the first status of the Config, so that the first ClusterOperator status is complete.
    if delay.is_none() && config.is_none_or(|config| config.pointer("/status/conditions").is_none()) {
        return Ok(RESYNC);
    }
    let reference = ObjectRef::new(Kind::ClusterOperator, "", names::CLUSTER_OPERATOR);
    let mut live = snapshot.objects.find(&reference).map(|live| live.as_ref().clone());
    let status = cluster_operator::desired(&Sources {
        config,
        pruner: snapshot.objects.cluster(Kind::ImagePruner, names::CLUSTER),
        deployment: snapshot.objects.operand(Kind::Deployment, names::REGISTRY),
        live: live.as_ref(),
        release_version: &snapshot.environment.release_version,
        bootstrap: delay.as_ref(),
        awaited: AWAITED,
        now: snapshot.now,
    });
    let Some(status) = status else { return Ok(RESYNC) };
    if let Some(left) = live.as_ref().and_then(|live| {
        let first_reports_done = context.first_reports_done(Controller::ClusterOperator);
        debounce.delay(live.get("status").unwrap_or(&Value::Null), &status, first_reports_done)
    }) {
        return Ok(left);
    }
    if live.is_none() {
        // The API server drops the status of a create request, so the status is written separately.
        match context.create(&reference, &cluster_operator::skeleton()).await {
            Ok(created) => live = Some(created),
            Err(error) => return Err(context.after_write_error(&reference, error).await),
        }
    }
    match context
        .writer
        .merge_status(
            &reference,
            live.as_ref().unwrap_or(&Value::Null),
            &json!({"status": status}),
        )
        .await
    {
        Ok(_) => {
            debounce.note_write();
            Ok(RESYNC)
        }
        Err(error) => Err(context.after_write_error(&reference, error).await),
    }
}
