//! `images.config.openshift.io/cluster`: where the registry can be reached, for everybody else in the cluster.

use std::time::Duration;

use serde_json::Value;

use super::secondary::{self, Failure, Telling};
use super::{Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::config::gates::{self, IMAGE_STREAM_IMPORT_MODE};
use crate::names;
use crate::observe::Controller;
use crate::status::image_config::{self, CONTROLLER_DEGRADED, Sources};

/// Runs passes until the process stops leading, in every managementState.
pub async fn run(context: Context) {
    let telling = Telling::Lasting(CONTROLLER_DEGRADED);
    let mut gate = String::new();
    secondary::run(
        context,
        Controller::ImageConfig,
        "imageconfig",
        telling,
        async |context| pass(context, &mut gate).await,
    )
    .await;
}

/// `gate` is what was last logged of the gate: it is logged once, and when it changes.
async fn pass(context: &Context, gate: &mut String) -> Result<Duration, Failure> {
    let snapshot = context.world.snapshot();
    if !snapshot.objects.served(Kind::Image) {
        return Ok(RESYNC);
    }
    let enabled = gates::enabled(&snapshot, IMAGE_STREAM_IMPORT_MODE);
    let told = enabled.map_or_else(
        || {
            format!(
                "off, FeatureGate cluster has no entry for release {:?}",
                gates::release(&snapshot).unwrap_or_default()
            )
        },
        |on| (if on { "on" } else { "off" }).to_owned(),
    );
    if *gate != told {
        tracing::info!("feature gate {IMAGE_STREAM_IMPORT_MODE} is {told}");
        *gate = told;
    }
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
        match context.writer.create(&reference, &image_config::skeleton()).await {
            Ok(created) => image = Some(created),
            Err(error) => return Err(context.refused(&reference, error).await),
        }
    }
    if let Some(patch) = patch {
        let seen = image.as_ref().unwrap_or(&Value::Null);
        if let Err(error) = context.writer.merge_status(&reference, seen, &patch).await {
            return Err(context.refused(&reference, error).await);
        }
    }
    mode.map(|()| RESYNC)
        .map_err(|error| Failure::Failed(error.to_string()))
}
