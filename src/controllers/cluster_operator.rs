//! The ClusterOperator: what the platform reads.

use std::time::Duration;

use serde_json::{Value, json};

use super::pace::Pace;
use super::secondary::{self, Failure, Telling};
use super::{Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::names;
use crate::observe::Controller;
use crate::status::cluster_operator::{self, AWAITED, Sources};

/// Runs passes until the process stops leading.
pub async fn run(context: Context) {
    let mut pace = Pace::from_now();
    secondary::run(
        context,
        Controller::ClusterOperator,
        "clusteroperator",
        Telling::Itself,
        async |context| pass(context, &mut pace).await,
    )
    .await;
}

async fn pass(context: &Context, pace: &mut Pace) -> Result<Duration, Failure> {
    let snapshot = context.world.snapshot();
    if !snapshot.objects.served(Kind::ClusterOperator) {
        return Ok(RESYNC);
    }
    let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER);
    let failure = context.board.bootstrap_failure();
    // The Config's first status is a moment away: what is told now would be told anew then.
    if failure.is_none() && config.is_none_or(|config| config.pointer("/status/conditions").is_none()) {
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
        bootstrap_failure: failure.as_deref(),
        awaited: AWAITED,
        now: snapshot.now,
    });
    let Some(status) = status else { return Ok(RESYNC) };
    if let Some(left) = live.as_ref().and_then(|live| {
        let heard = context.has_heard(Controller::ClusterOperator);
        pace.hold(live.get("status").unwrap_or(&Value::Null), &status, heard)
    }) {
        return Ok(left);
    }
    if live.is_none() {
        // A create drops the status: it follows by itself.
        match context.create(&reference, &cluster_operator::skeleton()).await {
            Ok(created) => live = Some(created),
            Err(error) => return Err(context.refused(&reference, error).await),
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
            pace.wrote();
            Ok(RESYNC)
        }
        Err(error) => Err(context.refused(&reference, error).await),
    }
}
