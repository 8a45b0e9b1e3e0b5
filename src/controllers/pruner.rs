//! The image pruner, in every managementState.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::optional_api::{Asked, OptionalApi};
use super::secondary::{self, DegradedCondition, Failure};
use super::{API_RETRY, Context, RESYNC};
use crate::api::{ImagePruner, Kind, ObjectRef};
use crate::apply::{self, NothingRecorded};
use crate::config::content;
use crate::config::event_request::EventRequest;
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::plan::{self, Plan};
use crate::status::conditions::{ConditionUpdate, LastingFailure, Status};
use crate::status::pruner::{self, Findings};

/// How long the first CronJob waits for the registry's host name.
const SETTLE: Duration = Duration::from_secs(10);

/// Runs passes until the process stops leading.
pub(super) async fn run(context: Context) {
    let mut pruner = Pruner {
        began: Instant::now(),
        failure: LastingFailure::default(),
        image_api: OptionalApi::every(API_RETRY),
    };
    secondary::run(
        context,
        Controller::Pruner,
        "pruner",
        DegradedCondition::SetByPass,
        async |context| pass(context, &mut pruner).await,
    )
    .await;
}

/// State between passes.
struct Pruner {
    began: Instant,
    failure: LastingFailure,
    image_api: OptionalApi,
}

impl Pruner {
    /// Asks the API server for the image API, unless the platform is known to have one.
    async fn ask(&mut self, context: &Context, snapshot: &mut Snapshot) -> Asked {
        if snapshot.is_platform() {
            return Asked::default();
        }
        let group = names::IMAGE_GROUP;
        let question = context.writer.serves_group(group);
        let asked = self.image_api.ask(group, context.jitter(), question).await;
        if let Some(served) = asked.served {
            context.caches.set_image_api(served);
            snapshot.image_api = served;
        }
        asked
    }
}

/// Whether the registry's host name will be known soon. A CronJob created earlier would be updated a moment later.
fn awaits_registry(snapshot: &Snapshot) -> bool {
    let image = snapshot.objects.cluster(Kind::Image, names::CLUSTER);
    let hostname = content::text(image.and_then(|i| i.pointer("/status/internalRegistryHostname")));
    let managed = ManagementState::stored(snapshot).is_none_or(|state| state == ManagementState::Managed);
    let exists = snapshot
        .objects
        .operand(Kind::CronJob, names::PRUNER_CRON_JOB)
        .is_some();
    managed && !exists && hostname.is_none() && snapshot.objects.served(Kind::Image)
}

fn reference() -> ObjectRef {
    ObjectRef::new(Kind::ImagePruner, "", names::CLUSTER)
}

async fn pass(context: &Context, pruner: &mut Pruner) -> Result<Duration, Failure> {
    let mut snapshot = context.caches.snapshot();
    if !snapshot.objects.served(Kind::ImagePruner) {
        return Ok(RESYNC);
    }
    let asked = pruner.ask(context, &mut snapshot).await;
    let again = asked.again;
    let passed = prune(context, pruner, &snapshot, asked).await;
    secondary::again_within(passed, again)
}

async fn prune(
    context: &Context,
    pruner: &mut Pruner,
    snapshot: &Snapshot,
    image_api: Asked,
) -> Result<Duration, Failure> {
    let Some(object) = snapshot.objects.find(&reference()) else {
        return bootstrap(context).await.map(|()| RESYNC);
    };
    let decoded: ImagePruner = match serde_json::from_value(object.as_ref().clone()) {
        Ok(decoded) => decoded,
        Err(error) => return undecodable(context, snapshot, object, &error).await.map(|()| RESYNC),
    };
    let waits = SETTLE.saturating_sub(pruner.began.elapsed());
    let waiting = awaits_registry(snapshot) && !waits.is_zero();
    let unprunable = snapshot.unprunable();
    // Before the first answer nobody knows whether the CronJob can run: it is neither created nor removed.
    let unknown = image_api.fault.is_some() && image_api.served.is_none();
    let mut report = apply::apply(
        &planned(&decoded, snapshot, unprunable.is_none(), waiting || unknown),
        snapshot,
        &NothingRecorded,
        &context.writer,
    )
    .await;
    let mut faults = report.faults();
    faults.retry.extend(image_api.fault);
    context.publish_report(&mut report);
    if waiting && faults.is_empty() {
        return Ok(waits);
    }
    let (failing, within) = pruner.failure.judge(&faults, context.uptime());
    // Nothing prunes where the CronJob cannot run.
    let notice = unprunable.is_none().then(|| plan::short_age(&decoded.spec)).flatten();
    context.publish_events(notice.as_deref().map(short_age_event));
    let objects = context.caches.snapshot().objects;
    let findings = Findings {
        cron_job: objects.operand(Kind::CronJob, names::PRUNER_CRON_JOB).is_some(),
        unprunable,
        suspended: decoded.spec.suspend.unwrap_or(false),
        jobs: objects.of(Kind::Job).map(|(_, job)| job).collect(),
        failing,
        notice: notice.as_deref(),
    };
    context
        .metrics
        .pruner_install_status(pruner::install_status(&findings).into());
    write(context, snapshot, object, &pruner::judge(&findings)).await?;
    if faults.is_empty() {
        return Ok(RESYNC);
    }
    Err(Failure::Failed {
        message: faults.message(),
        within,
    })
}

/// The pruner's objects that this controller applies now. `prunes`: whether the CronJob can run. `waits`: whether the CronJob waits.
fn planned(pruner: &ImagePruner, snapshot: &Snapshot, prunes: bool, waits: bool) -> Plan {
    let mut plan = plan::pruner(&pruner.spec, snapshot);
    if !prunes {
        plan.failures.clear();
    }
    plan.present.retain(|desired| {
        // The certificates controller applies this ConfigMap in every state. Two writers of one object would conflict.
        let elsewhere = desired.reference.name == names::SERVICE_CA_MAP;
        prunes && !(elsewhere || waits && desired.reference.kind == Kind::CronJob)
    });
    // A cluster that had the image API, or an operator that did not know that it is missing.
    let cron_job = ObjectRef::new(Kind::CronJob, names::NAMESPACE, names::PRUNER_CRON_JOB);
    if !prunes && snapshot.objects.find(&cron_job).is_some() {
        plan.absent.push(cron_job);
    }
    plan
}

fn short_age_event(message: &str) -> EventRequest {
    EventRequest {
        warning: true,
        reason: "ImagesPrunedEarly",
        message: message.to_owned(),
    }
}

/// Creates the default ImagePruner, also after somebody deleted it.
async fn bootstrap(context: &Context) -> Result<(), Failure> {
    let object = json!({
        "apiVersion": Kind::ImagePruner.api_version(),
        "kind": Kind::ImagePruner.kind(),
        "metadata": {"name": names::CLUSTER},
        "spec": {
            // Empty, as in the Go operator's: JSON patches of users replace it.
            "schedule": "",
            "suspend": false,
            "keepTagRevisions": 3,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "ignoreInvalidImageReferences": true,
        },
    });
    match context.create(&reference(), &object).await {
        Ok(_) => {
            context.caches.trigger(Controller::Pruner);
            Ok(())
        }
        Err(error) => Err(context.after_write_error(&reference(), error).await),
    }
}

/// An ImagePruner that cannot be decoded: the CronJob stays unchanged, and the condition names the field.
async fn undecodable(
    context: &Context,
    snapshot: &Snapshot,
    object: &Value,
    error: &serde_json::Error,
) -> Result<(), Failure> {
    let message = format!("{} cannot be decoded: {error}; correct the field", reference());
    // Whether it is suspended is not known.
    let runs = snapshot
        .objects
        .operand(Kind::CronJob, names::PRUNER_CRON_JOB)
        .is_some();
    context.metrics.pruner_install_status(if runs { 2 } else { 0 });
    write(
        context,
        snapshot,
        object,
        &[ConditionUpdate::new("Degraded", Status::True, "SyncError", message)],
    )
    .await
}

async fn write(
    context: &Context,
    snapshot: &Snapshot,
    object: &Value,
    condition_updates: &[ConditionUpdate],
) -> Result<(), Failure> {
    let stored = object.get("status").cloned().unwrap_or_default();
    let generation = object
        .pointer("/metadata/generation")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let Some(patch) = pruner::status_patch(&stored, generation, condition_updates, snapshot.now) else {
        return Ok(());
    };
    match context.writer.merge_status(&reference(), object, &patch).await {
        Ok(_) => Ok(()),
        Err(error) => Err(context.after_write_error(&reference(), error).await),
    }
}
