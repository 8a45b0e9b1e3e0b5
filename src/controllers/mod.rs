//! The controllers. Each runs passes: it takes a snapshot of the caches, calls the pure rooms, applies the plan, writes a
//! status, and waits for the next change. This file only starts them.

mod azure;
mod backoff;
mod bootstrap;
mod certificates;
mod cloud;
mod cluster_operator;
mod context;
mod image_config;
mod issue;
mod move_blobs;
mod node_ca;
mod optional_api;
mod pruner;
mod registry;
mod secondary;
mod settings;
mod shared_conditions;
mod status_debounce;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::task::{JoinSet, LocalSet};
use tracing::info;

use self::backoff::{API_RETRY, Backoff, RESYNC};
use self::cloud::cloud_settings;
use self::context::Context;
pub use self::move_blobs::move_blobs;
pub use self::settings::Settings;
use crate::apply::Writer;
use crate::config::environment::Environment;
use crate::observe::Caches;
use crate::observe::image_streams::{self, Tags};
use crate::runtime::metrics::{ImageStreamTags, Metrics};
use crate::runtime::shutdown::Shutdown;
use crate::storage::StorageClients;
use crate::storage::backend::azure::environment::Environment as AzureEnvironment;
use crate::storage::backend::gcs::endpoint::Endpoints;
use crate::storage::net::http::LONGEST_REQUEST;

/// Shortest time between two updates of the image stream metrics.
const STREAM_TAGS_INTERVAL: Duration = Duration::from_mins(1);
/// How long the initial lists of all watches may take. Without complete caches no pass can run, so give up leadership.
const SYNC_TIMEOUT: Duration = Duration::from_mins(10);

/// Runs every controller until the process shuts down, then waits until the running passes have ended. The caller bounds
/// this wait.
pub async fn run(settings: Settings) -> Result<(), String> {
    let environment = Environment {
        registry_image: settings.environment.image.clone(),
        program: settings.environment.program,
        pruner_image: settings.environment.image_pruner.clone(),
        operator_image: settings.environment.operator_image.clone(),
        release_version: settings.environment.release_version.clone(),
        gates_version: settings.environment.operator_image_version.clone(),
        node_ca: settings.environment.node_ca,
        exposure: settings.environment.exposure.clone(),
        node_ca_user: settings.environment.node_ca_user,
        default_spec: settings.environment.default_spec.clone(),
    };
    let clock = settings.clock.clone();
    let caches = Caches::start(settings.client.clone(), environment, Arc::new(move || clock.now()));
    let claim = settings.claim.clone();
    let leading_long_enough = Arc::new(move || claim.is_current_for(LONGEST_REQUEST));
    let claim = settings.claim.clone();
    let leading = Arc::new(move || claim.is_current());
    let emulator = Endpoints::of_emulator(std::env::var("STORAGE_EMULATOR_HOST").ok().as_deref());
    let metrics = settings.metrics.clone();
    let storage = StorageClients::new(cloud_settings(settings.version, leading_long_enough))
        .with_gcs_endpoints(emulator)
        .with_azure_environment(AzureEnvironment::of(|name| std::env::var(name).ok()))
        .with_azure_key_counter(Arc::new(move |hit| metrics.azure_key_cache(hit)));
    let writer = Writer::new(settings.client.clone(), leading, Arc::new(caches.clone()));
    let context = Context::new(&settings, caches.clone(), writer, storage);
    tokio::select! {
        synced = wait_synced(&caches) => synced?,
        _ = settings.shutdown.begun() => return Ok(()),
    }
    info!("all watches are in sync");
    settings.readiness.set_synced(true);
    // A single thread runs all controllers, so futures need not be `Send`.
    let azure_file = settings.environment.azure_environment_filepath.clone();
    LocalSet::new()
        .run_until(run_controllers(context, settings.client, azure_file, settings.shutdown))
        .await
}

/// Waits for the initial lists of all watches. The error names the watches whose list did not arrive.
async fn wait_synced(caches: &Caches) -> Result<(), String> {
    tokio::time::timeout(SYNC_TIMEOUT, caches.wait_synced()).await.map_err(|_| {
        format!(
            "cannot watch these objects for {} minutes, and no controller can run without them: {}. Restore the RBAC rules \
             that the operator is installed with, or find out why the API server does not serve the objects; the log has \
             each error",
            SYNC_TIMEOUT.as_secs() / 60,
            caches.pending().join(", ")
        )
    })
}

fn set_tag_metrics(metrics: &Metrics, tags: Tags) {
    let Tags {
        imported_openshift,
        imported_other,
        pushed_openshift,
        pushed_other,
    } = tags;
    metrics.image_stream_tags(ImageStreamTags {
        imported_openshift,
        imported_other,
        pushed_openshift,
        pushed_other,
    });
}

async fn run_controllers(
    context: Context,
    client: Client,
    azure_file: Option<PathBuf>,
    shutdown: Shutdown,
) -> Result<(), String> {
    let mut controllers = JoinSet::new();
    controllers.spawn_local(registry::run(context.clone()));
    controllers.spawn_local(certificates::run(context.clone()));
    controllers.spawn_local(cluster_operator::run(context.clone()));
    controllers.spawn_local(image_config::run(context.clone()));
    controllers.spawn_local(node_ca::run(context.clone()));
    controllers.spawn_local(pruner::run(context.clone()));
    controllers.spawn_local(azure::stack(context.clone(), azure_file));
    controllers.spawn_local(azure::path_fix(context.clone()));
    let metrics = context.metrics.clone();
    controllers.spawn_local(async move {
        image_streams::count_tags(client, STREAM_TAGS_INTERVAL, |tags| set_tag_metrics(&metrics, tags)).await;
    });
    tokio::select! {
        ended = controllers.join_next() => return Err(format!("a controller ended unexpectedly: {ended:?}")),
        _ = shutdown.begun() => {}
    }
    context.finish_passes().await;
    Ok(())
}

#[cfg(test)]
mod tests;
