//! The status of ClusterOperator `image-registry`, which the cluster-version operator reads.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::secondary::{self, DegradedCondition, Failure};
use super::status_debounce::StatusDebounce;
use super::{Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::config::certificate::Certificate;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::runtime::metrics::{ConditionLabels, Metrics};
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

/// Sets the metrics that alerts read: conditions, and the end of the validity of serving certificates.
fn set_health_metrics(metrics: &Metrics, snapshot: &Snapshot) {
    let objects = [("Config", Kind::Config), ("ImagePruner", Kind::ImagePruner)];
    let stored = objects.into_iter().filter_map(|(object, kind)| {
        let conditions = snapshot
            .objects
            .cluster(kind, names::CLUSTER)?
            .pointer("/status/conditions")?;
        Some((object, conditions.as_array()?))
    });
    metrics.conditions(stored.flat_map(|(object, conditions)| {
        conditions.iter().map(move |condition| {
            let text = |member: &str| {
                condition
                    .get(member)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            ConditionLabels {
                object,
                r#type: text("type"),
                status: text("status"),
                reason: text("reason"),
            }
        })
    }));
    let secret = snapshot.objects.operand(Kind::Secret, names::SERVING_CERT_SECRET);
    let certificate = secret
        .and_then(|secret| secret.pointer("/data/tls.crt")?.as_str())
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .and_then(|pem| Certificate::of_pem(&pem));
    metrics.certificate_expiry(
        names::SERVING_CERT_SECRET,
        certificate.map(|certificate| certificate.not_after),
    );
}

async fn pass(context: &Context, debounce: &mut StatusDebounce) -> Result<Duration, Failure> {
    let snapshot = context.caches.snapshot();
    set_health_metrics(&context.metrics, &snapshot);
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
