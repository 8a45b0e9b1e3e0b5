//! The status of `images.config.openshift.io/cluster`: the host names of the registry.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::secondary::{self, DegradedCondition, Failure};
use super::{Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::config::content;
use crate::config::event_request::EventRequest;
use crate::config::gates::{self, IMAGE_STREAM_IMPORT_MODE};
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::status::image_config::{self, CONTROLLER_DEGRADED, Sources};

/// Runs passes until the process stops leading, in every managementState.
pub(super) async fn run(context: Context) {
    let mut gate = ReportedGate::default();
    let mut bring_up = BringUp::default();
    secondary::run(
        context,
        Controller::ImageConfig,
        "imageconfig",
        DegradedCondition::Lasting(CONTROLLER_DEGRADED),
        async |context| pass(context, &mut gate, &mut bring_up).await,
    )
    .await;
}

/// The last reported state of the feature gate. The log has each change; events have each change between known states.
#[derive(Default)]
struct ReportedGate {
    logged: String,
    known: Option<bool>,
}

impl ReportedGate {
    fn report(&mut self, context: &Context, snapshot: &Snapshot, enabled: Option<bool>) {
        let state = enabled.map_or_else(
            || {
                let release = gates::release(snapshot).unwrap_or_default();
                format!("off, FeatureGate cluster has no entry for release {release:?}")
            },
            |on| (if on { "on" } else { "off" }).to_owned(),
        );
        let message = format!("feature gate {IMAGE_STREAM_IMPORT_MODE} is {state}");
        if self.logged != message {
            tracing::info!("{message}");
            self.logged.clone_from(&message);
        }
        if enabled.is_none() || enabled == self.known {
            return;
        }
        let reason = if self.known.is_none() {
            "FeatureGatesInitialized"
        } else {
            "FeatureGatesModified"
        };
        self.known = enabled;
        context.publish_events([EventRequest {
            warning: false,
            reason,
            message,
        }]);
    }
}

/// Longest time for which host names are kept while Service and Routes are made.
const BRING_UP: Duration = Duration::from_secs(30);

/// A managed registry whose Service is missing, until Service and Routes have the host names that the status has.
#[derive(Default)]
struct BringUp {
    since: Option<Instant>,
}

impl BringUp {
    /// The time for which the host names of the status are still kept. `made`: the Service exists. `lacking`: the status
    /// has host names that Service and Routes do not have.
    fn left(&mut self, managed: bool, made: bool, lacking: bool) -> Option<Duration> {
        if !managed || made && !lacking {
            self.since = None;
        } else if !made {
            self.since.get_or_insert_with(Instant::now);
        }
        let left = BRING_UP.saturating_sub(self.since?.elapsed());
        Some(left).filter(|left| !left.is_zero())
    }
}

/// Whether the registry controller makes the Service if it is missing.
fn is_managed(snapshot: &Snapshot) -> bool {
    let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER);
    let deleting = config.is_some_and(content::is_deleting);
    ManagementState::stored(snapshot) == Some(ManagementState::Managed) && !deleting
}

async fn pass(context: &Context, gate: &mut ReportedGate, bring_up: &mut BringUp) -> Result<Duration, Failure> {
    let snapshot = context.caches.snapshot();
    if !snapshot.objects.served(Kind::Image) {
        return Ok(RESYNC);
    }
    let enabled = gates::enabled(&snapshot, IMAGE_STREAM_IMPORT_MODE);
    gate.report(context, &snapshot, enabled);
    let reference = ObjectRef::new(Kind::Image, "", names::CLUSTER);
    let mut image = snapshot.objects.find(&reference).map(|image| image.as_ref().clone());
    let mut sources = Sources {
        image: image.as_ref(),
        service: snapshot.objects.operand(Kind::Service, names::REGISTRY),
        routes: snapshot.objects.of(Kind::Route).map(|(_, route)| route).collect(),
        import_mode: enabled == Some(true),
        cluster_version: snapshot.objects.cluster(Kind::ClusterVersion, names::CLUSTER_VERSION),
        keep: false,
    };
    let kept = bring_up.left(
        is_managed(&snapshot),
        sources.service.is_some(),
        sources.lack_known_hosts(),
    );
    sources.keep = kept.is_some();
    let (patch, mode) = image_config::status_patch(&sources);
    if image.is_none() {
        match context.create(&reference, &image_config::skeleton()).await {
            Ok(created) => image = Some(created),
            Err(error) => return Err(context.after_write_error(&reference, error).await),
        }
    }
    if let Some(patch) = patch {
        let seen = image.as_ref().unwrap_or(&Value::Null);
        if let Err(error) = context.writer.merge_status(&reference, seen, &patch).await {
            return Err(context.after_write_error(&reference, error).await);
        }
    }
    mode.map(|()| kept.map_or(RESYNC, |kept| kept.min(RESYNC)))
        .map_err(|error| Failure::failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // lifecycle 117
    #[tokio::test(start_paused = true)]
    async fn host_names_are_kept_from_a_missing_service_to_complete_routes_but_not_for_ever() {
        let mut bring_up = BringUp::default();
        assert_eq!(
            bring_up.left(true, true, true),
            None,
            "a Route goes, the Service is there"
        );
        assert_eq!(bring_up.left(true, false, true), Some(BRING_UP));
        tokio::time::advance(Duration::from_secs(10)).await;
        let left = Some(Duration::from_secs(20));
        assert_eq!(
            bring_up.left(true, false, false),
            left,
            "nothing to keep, but it is a bring-up"
        );
        assert_eq!(bring_up.left(true, true, true), left, "the Routes are not there yet");
        assert_eq!(bring_up.left(true, true, false), None, "complete");
        assert_eq!(bring_up.left(true, true, true), None);

        assert_eq!(bring_up.left(true, false, true), Some(BRING_UP));
        assert_eq!(bring_up.left(false, false, true), None, "the registry is removed");
        assert_eq!(bring_up.left(true, false, true), Some(BRING_UP));
        tokio::time::advance(BRING_UP).await;
        assert_eq!(bring_up.left(true, false, true), None, "the Service cannot be made");
        tokio::time::advance(BRING_UP).await;
        assert_eq!(bring_up.left(true, false, true), None);
        assert_eq!(bring_up.left(true, true, false), None);
        assert_eq!(bring_up.left(true, false, true), Some(BRING_UP), "another bring-up");
    }
}
