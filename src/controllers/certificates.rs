//! The CA maps, in every managementState.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::board::StorageCa;
use super::{Backoff, Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::apply::{self, NothingRecorded};
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::plan::certificates::{self, Certificates};
use crate::status::conditions::{Status, Verdict};

const CONDITION: &str = "ImageRegistryCertificatesControllerDegraded";
/// How long the first maps wait for what they are about to hold, so that they are written once.
const SETTLE: Duration = Duration::from_secs(10);

/// Runs passes until the process stops leading.
pub async fn run(context: Context) {
    let mut backoff = Backoff::default();
    let began = Instant::now();
    loop {
        let permit = context.begin().await;
        let started = Instant::now();
        let result = pass(&context, began).await;
        context.reconciled("certificates", result.is_ok(), started.elapsed());
        drop(permit);
        let wait = match result {
            Ok(wait) => {
                backoff.reset();
                wait
            }
            Err(()) => backoff.fail(context.jitter()),
        };
        context.hear(Controller::Certificates);
        context.rest(Controller::Certificates, wait).await;
    }
}

async fn pass(context: &Context, began: Instant) -> Result<Duration, ()> {
    let snapshot = context.world.snapshot();
    follow(context, &snapshot);
    if !context.world.is_synced(Controller::Certificates) {
        return Ok(RESYNC); // a sync triggers the next pass
    }
    let state = ManagementState::stored(&snapshot);
    let removed = state.is_none_or(|state| state == ManagementState::Removed);
    let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER);
    let no_redirect = config.and_then(|c| c.pointer("/spec/disableRedirect")) == Some(&Value::Bool(true));
    // Until the registry's loop has told, and where it does not look, what is published stays.
    let ca = match context.board.storage_ca() {
        StorageCa::Known(bundle) => bundle,
        StorageCa::Unknown => certificates::published_storage_ca(&snapshot),
    };
    let ca = ca.filter(|_| !removed);
    let mut wanted = certificates::certificates(&snapshot, ca.as_deref(), no_redirect, removed);
    let expected = state.is_none_or(|state| state == ManagementState::Managed);
    if expected && began.elapsed() < SETTLE && !settled(&snapshot) {
        // serviceca itself goes out: it is what brings the service CA.
        wanted
            .plan
            .present
            .retain(|d| d.reference.name == names::SERVICE_CA_MAP);
        let Certificates { plan, .. } = wanted;
        let report = apply::apply(&plan, &snapshot, &NothingRecorded, &context.writer).await;
        context.tell(report.notices);
        return if report.failures.is_empty() {
            Ok(SETTLE.saturating_sub(began.elapsed()))
        } else {
            Err(())
        };
    }
    let report = apply::apply(&wanted.plan, &snapshot, &NothingRecorded, &context.writer).await;
    context.tell(report.notices);
    context.tell(wanted.notices);
    let problems: Vec<String> = wanted
        .error
        .into_iter()
        .chain(context.board.storage_ca_fault().filter(|_| !removed))
        .chain(report.failures.iter().cloned())
        .collect();
    let verdict = if problems.is_empty() {
        Verdict::new(CONDITION, Status::False, "AsExpected", "CA maps are up to date")
    } else {
        Verdict::new(CONDITION, Status::True, "Error", problems.join("; "))
    };
    if context.board.post(verdict) {
        context.world.trigger(Controller::Registry);
    }
    if report.failures.is_empty() {
        Ok(RESYNC)
    } else {
        Err(())
    }
}

/// Whether the Service and the injected service CA are there, or will not come.
fn settled(snapshot: &Snapshot) -> bool {
    let map = snapshot.objects.operand(Kind::ConfigMap, names::CERTIFICATES_MAP);
    let service = snapshot.objects.operand(Kind::Service, names::REGISTRY);
    let ca = snapshot.objects.operand(Kind::ConfigMap, names::SERVICE_CA_MAP);
    let injected = ca
        .and_then(|c| c.pointer(&format!("/data/{}", names::SERVICE_CA_KEY)))
        .is_some();
    map.is_some() || (service.is_some() && injected)
}

/// Follows the map that `images.config.openshift.io/cluster` names.
fn follow(context: &Context, snapshot: &Snapshot) {
    let image = snapshot.objects.cluster(Kind::Image, names::CLUSTER);
    let name = image
        .and_then(|i| i.pointer("/spec/additionalTrustedCA/name"))
        .and_then(Value::as_str);
    let wanted = name
        .filter(|n| !n.is_empty())
        .map(|n| ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, n));
    context
        .world
        .follow(&wanted.into_iter().collect(), &[Controller::Certificates]);
}
