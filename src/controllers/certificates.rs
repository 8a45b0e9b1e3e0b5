//! The ConfigMaps with CA certificates, in every managementState.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::shared_conditions::StorageCa;
use super::{Backoff, Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::apply::{self, NothingRecorded};
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::plan::certificates::{self, Certificates};
use crate::status::conditions::{ConditionUpdate, Status};

const CONDITION: &str = "ImageRegistryCertificatesControllerDegraded";
/// How long the first write waits for the service CA and the Service, so that each ConfigMap is written once.
const SETTLE: Duration = Duration::from_secs(10);

/// Runs passes until the process stops leading.
pub(super) async fn run(context: Context) {
    let mut backoff = Backoff::default();
    let began = Instant::now();
    loop {
        let permit = context.start_pass().await;
        let started = Instant::now();
        let result = pass(&context, began).await;
        context.count_pass("certificates", result.is_ok(), started.elapsed());
        drop(permit);
        let wait = match result {
            Ok(wait) => {
                backoff.reset();
                wait
            }
            Err(()) => backoff.fail(context.jitter()),
        };
        context.note_first_report(Controller::Certificates);
        context.wait_for_change(Controller::Certificates, wait).await;
    }
}

async fn pass(context: &Context, began: Instant) -> Result<Duration, ()> {
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
    if expected && began.elapsed() < SETTLE && !settled(&snapshot) {
        // Create serviceca now: the service CA operator injects the CA bundle into it.
        wanted
            .plan
            .present
            .retain(|d| d.reference.name == names::SERVICE_CA_MAP);
        let Certificates { plan, .. } = wanted;
        let report = apply::apply(&plan, &snapshot, &NothingRecorded, &context.writer).await;
        context.publish_events(report.events);
        return if report.failures.is_empty() {
            Ok(SETTLE.saturating_sub(began.elapsed()))
        } else {
            Err(())
        };
    }
    let report = apply::apply(&wanted.plan, &snapshot, &NothingRecorded, &context.writer).await;
    context.publish_events(report.events);
    context.publish_events(wanted.events);
    let problems: Vec<String> = wanted
        .error
        .into_iter()
        .chain(context.shared.storage_ca_error().filter(|_| !removed))
        .chain(report.failures.iter().cloned())
        .collect();
    let condition_update = if problems.is_empty() {
        ConditionUpdate::new(CONDITION, Status::False, "AsExpected", "CA maps are up to date")
    } else {
        ConditionUpdate::new(CONDITION, Status::True, "Error", problems.join("; "))
    };
    if context.shared.set_condition(condition_update) {
        context.caches.trigger(Controller::Registry);
    }
    if report.failures.is_empty() {
        Ok(RESYNC)
    } else {
        Err(())
    }
}

/// Whether the Service and the injected service CA exist, or the ConfigMap was already written.
fn settled(snapshot: &Snapshot) -> bool {
    let map = snapshot.objects.operand(Kind::ConfigMap, names::CERTIFICATES_MAP);
    let service = snapshot.objects.operand(Kind::Service, names::REGISTRY);
    let ca = snapshot.objects.operand(Kind::ConfigMap, names::SERVICE_CA_MAP);
    let injected = ca
        .and_then(|c| c.pointer(&format!("/data/{}", names::SERVICE_CA_KEY)))
        .is_some();
    map.is_some() || (service.is_some() && injected)
}

/// Watches the ConfigMap that `images.config.openshift.io/cluster` references.
fn watch_referenced(context: &Context, snapshot: &Snapshot) {
    let image = snapshot.objects.cluster(Kind::Image, names::CLUSTER);
    let name = image
        .and_then(|i| i.pointer("/spec/additionalTrustedCA/name"))
        .and_then(Value::as_str);
    let wanted = name
        .filter(|n| !n.is_empty())
        .map(|n| ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, n));
    context
        .caches
        .watch_referenced(&wanted.into_iter().collect(), &[Controller::Certificates]);
}
