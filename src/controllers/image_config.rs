//! The status of `images.config.openshift.io/cluster`: the host names of the registry.

use std::time::Duration;

use serde_json::Value;

use super::secondary::{self, DegradedCondition, Failure};
use super::{Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::config::event_request::EventRequest;
use crate::config::gates::{self, IMAGE_STREAM_IMPORT_MODE};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::status::image_config::{self, CONTROLLER_DEGRADED, Sources};

/// Runs passes until the process stops leading, in every managementState.
pub(super) async fn run(context: Context) {
    let mut gate = ReportedGate::default();
    secondary::run(
        context,
        Controller::ImageConfig,
        "imageconfig",
        DegradedCondition::Lasting(CONTROLLER_DEGRADED),
        async |context| pass(context, &mut gate).await,
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

async fn pass(context: &Context, gate: &mut ReportedGate) -> Result<Duration, Failure> {
    let snapshot = context.caches.snapshot();
    if !snapshot.objects.served(Kind::Image) {
        return Ok(RESYNC);
    }
    let enabled = gates::enabled(&snapshot, IMAGE_STREAM_IMPORT_MODE);
    gate.report(context, &snapshot, enabled);
    let reference = ObjectRef::new(Kind::Image, "", names::CLUSTER);
    let mut image = snapshot.objects.find(&reference).map(|image| image.as_ref().clone());
    let (patch, mode) = image_config::status_patch(&Sources {
        image: image.as_ref(),
        service: snapshot.objects.operand(Kind::Service, names::REGISTRY),
        routes: snapshot.objects.of(Kind::Route).map(|(_, route)| route).collect(),
        import_mode: enabled == Some(true),
        cluster_version: snapshot.objects.cluster(Kind::ClusterVersion, names::CLUSTER_VERSION),
    });
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
    mode.map(|()| RESYNC)
        .map_err(|error| Failure::failed(error.to_string()))
}
