//! The ConfigMaps with CA certificates, in every managementState; and on clusters without a service CA the operator's own
//! certificates.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::issue::{self, Issuing};
use super::optional_api::{Asked, OptionalApi};
use super::secondary::{self, DegradedCondition, Failure};
use super::shared_conditions::StorageCa;
use super::{API_RETRY, Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::apply::{self, NothingRecorded};
use crate::config::content;
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::plan::{self, certificates::published_storage_ca};
use crate::status::conditions::LastingFailure;

const CONDITION: &str = "ImageRegistryCertificatesControllerDegraded";
/// How long the first write waits for the service CA and the Service, so that each ConfigMap is written once.
const SETTLE: Duration = Duration::from_secs(10);

/// State between passes.
struct Certificates {
    began: Instant,
    failure: LastingFailure,
    issuing: Issuing,
    service_ca: OptionalApi,
}

/// Runs passes until the process stops leading.
pub(super) async fn run(context: Context) {
    let mut certificates = Certificates {
        began: Instant::now(),
        failure: LastingFailure::default(),
        issuing: Issuing::default(),
        service_ca: OptionalApi::every(API_RETRY),
    };
    secondary::run(
        context,
        Controller::Certificates,
        "certificates",
        DegradedCondition::SetByPass,
        async |context| pass(context, &mut certificates).await,
    )
    .await;
}

async fn pass(context: &Context, certificates: &mut Certificates) -> Result<Duration, Failure> {
    let mut snapshot = context.caches.snapshot();
    watch_referenced(context, &snapshot);
    if !context.caches.is_synced(Controller::Certificates) {
        return Ok(RESYNC); // the sync of the watch triggers the next pass
    }
    let Asked { fault, again, .. } = certificates.ask(context, &mut snapshot).await;
    let passed = maps(context, certificates, &snapshot, fault).await;
    secondary::again_within(passed, again)
}

impl Certificates {
    /// Asks the API server whether there is a service CA, unless the platform is known to have one.
    async fn ask(&mut self, context: &Context, snapshot: &mut Snapshot) -> Asked {
        if snapshot.is_platform() {
            return Asked::default();
        }
        let (group, plural) = names::SERVICE_CA_RESOURCE;
        let question = context.writer.serves_resource(group, plural);
        let asked = self.service_ca.ask(group, context.jitter(), question).await;
        if let Some(served) = asked.served {
            context.caches.set_service_ca_api(served);
            snapshot.service_ca_api = served;
        }
        asked
    }
}

/// Issues what has to be issued, and applies the ConfigMaps. `undiscovered`: why it is unknown whether there is a service CA.
async fn maps(
    context: &Context,
    certificates: &mut Certificates,
    snapshot: &Snapshot,
    undiscovered: Option<String>,
) -> Result<Duration, Failure> {
    let state = ManagementState::stored(snapshot);
    let removed = state.is_none_or(|state| state == ManagementState::Removed);
    let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER);
    let no_redirect = config.and_then(|c| c.pointer("/spec/disableRedirect")) == Some(&Value::Bool(true));
    // Until the registry controller has reported the CA bundle of the storage, keep the published one.
    let ca = match context.shared.storage_ca() {
        StorageCa::Known(bundle) => bundle,
        StorageCa::Unknown => published_storage_ca(snapshot),
    };
    let ca = ca.filter(|_| !removed);
    let leaves = removed || config.is_some_and(content::is_deleting);
    let issue::Outcome {
        faults: unissued,
        again,
    } = certificates.issuing.pass(context, snapshot, leaves).await;
    let mut wanted = plan::certificates(snapshot, ca.as_deref(), no_redirect, removed);
    let expected = state.is_none_or(|state| state == ManagementState::Managed);
    let left = SETTLE.saturating_sub(certificates.began.elapsed());
    let waiting = expected && !left.is_zero() && !settled(snapshot);
    if waiting {
        // Create serviceca now: the service CA operator injects the CA bundle into it.
        let present = &mut wanted.plan.present;
        present.retain(|d| d.reference.name == names::SERVICE_CA_MAP);
    }
    let mut report = apply::apply(&wanted.plan, snapshot, &NothingRecorded, &context.writer).await;
    let mut faults = report.faults();
    faults.edit.extend(unissued.edit);
    faults.retry.extend(unissued.retry.into_iter().chain(undiscovered));
    context.publish_report(&mut report);
    if waiting && faults.is_empty() {
        return Ok(left);
    }
    context.publish_events(wanted.events);
    let (message, retried) = (faults.message(), !faults.is_empty());
    let inputs = wanted.error.into_iter();
    let inputs = inputs.chain(context.shared.storage_ca_error().filter(|_| !removed));
    faults.edit.splice(0..0, inputs);
    let (verdict, within) = certificates.failure.judge(&faults, context.uptime());
    context.set_conditions(verdict.condition(CONDITION, "CA maps are up to date"));
    if retried {
        return Err(Failure::Failed { message, within });
    }
    Ok(again.map_or(RESYNC, |again| again.min(RESYNC)))
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
