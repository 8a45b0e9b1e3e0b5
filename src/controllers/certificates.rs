//! The ConfigMaps with CA certificates, in every managementState.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::secondary::{self, DegradedCondition, Failure};
use super::shared_conditions::StorageCa;
use super::{Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::apply::{self, NothingRecorded};
use crate::config::content;
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::plan::certificates;
use crate::status::conditions::LastingFailure;

const CONDITION: &str = "ImageRegistryCertificatesControllerDegraded";
/// How long the first write waits for the service CA and the Service, so that each ConfigMap is written once.
const SETTLE: Duration = Duration::from_secs(10);

/// Runs passes until the process stops leading.
pub(super) async fn run(context: Context) {
    let began = Instant::now();
    let mut failure = LastingFailure::default();
    secondary::run(
        context,
        Controller::Certificates,
        "certificates",
        DegradedCondition::SetByPass,
        async |context| pass(context, began, &mut failure).await,
    )
    .await;
}

async fn pass(context: &Context, began: Instant, failure: &mut LastingFailure) -> Result<Duration, Failure> {
    let snapshot = context.caches.snapshot();
    watch_referenced(context, &snapshot);
    if !context.caches.is_synced(Controller::Certificates) {
        return Ok(RESYNC); // the sync of the watch triggers the next pass
    }
    let state = ManagementState::stored(&snapshot);
    let removed = state.is_none_or(|state| state == ManagementState::Removed);
    let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER);
    let no_redirect = config.and_then(|c| c.pointer("/spec/disableRedirect")) == Some(&Value::Bool(true));
    // Until the registry controller has reported the CA bundle of the storage, keep the published one.
    let ca = match context.shared.storage_ca() {
        StorageCa::Known(bundle) => bundle,
        StorageCa::Unknown => certificates::published_storage_ca(&snapshot),
    };
    let ca = ca.filter(|_| !removed);
    let mut wanted = certificates::certificates(&snapshot, ca.as_deref(), no_redirect, removed);
    let expected = state.is_none_or(|state| state == ManagementState::Managed);
    let left = SETTLE.saturating_sub(began.elapsed());
    let waiting = expected && !left.is_zero() && !settled(&snapshot);
    if waiting {
        // Create serviceca now: the service CA operator injects the CA bundle into it.
        let present = &mut wanted.plan.present;
        present.retain(|d| d.reference.name == names::SERVICE_CA_MAP);
    }
    let mut report = apply::apply(&wanted.plan, &snapshot, &NothingRecorded, &context.writer).await;
    let mut faults = report.faults();
    context.publish_report(&mut report);
    if waiting && faults.is_empty() {
        return Ok(left);
    }
    context.publish_events(wanted.events);
    let (message, retried) = (faults.message(), !faults.is_empty());
    let inputs = wanted.error.into_iter();
    let inputs = inputs.chain(context.shared.storage_ca_error().filter(|_| !removed));
    faults.edit.splice(0..0, inputs);
    let (verdict, within) = failure.judge(&faults, snapshot.now);
    context.set_conditions(verdict.condition(CONDITION, "CA maps are up to date"));
    if retried {
        return Err(Failure::Failed { message, within });
    }
    Ok(RESYNC)
}

/// Whether the Service and the injected service CA exist, or the ConfigMap was already written.
fn settled(snapshot: &Snapshot) -> bool {
    let map = snapshot.objects.operand(Kind::ConfigMap, names::CERTIFICATES_MAP);
    let service = snapshot.objects.operand(Kind::Service, names::REGISTRY);
    let ca = snapshot.objects.operand(Kind::ConfigMap, names::SERVICE_CA_MAP);
    let injected = ca.is_some_and(|ca| content::map_text(ca, names::SERVICE_CA_KEY).is_some());
    map.is_some() || (service.is_some() && injected)
}

/// Watches the ConfigMap that `images.config.openshift.io/cluster` references.
fn watch_referenced(context: &Context, snapshot: &Snapshot) {
    let image = snapshot.objects.cluster(Kind::Image, names::CLUSTER);
    let name = content::text(image.and_then(|i| i.pointer("/spec/additionalTrustedCA/name")));
    let wanted = name.map(|n| ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, n));
    context
        .caches
        .watch_referenced(&wanted.into_iter().collect(), &[Controller::Certificates]);
}
