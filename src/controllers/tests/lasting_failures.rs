//! When a failure degrades a condition. Nothing wakes the controllers but their own waits.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::Cluster;
use crate::api::{Kind, ObjectRef};
use crate::config::snapshot::Objects;
use crate::controllers::{certificates, pruner};
use crate::names;
use crate::status::conditions::Status;
use crate::testing::fake_api::Fault;

const LIMIT: Duration = Duration::from_mins(2);
/// How often the condition is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Longer than the longest backoff with its jitter.
const PATIENCE: Duration = Duration::from_mins(8);

async fn until(what: &str, is: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "not {what}");
        tokio::time::sleep(TICK).await;
    }
    began.elapsed()
}

/// Runs a controller while the API server refuses writes to a resource, until it accepts them again: refused content degrades the
/// condition at once, an API server that does not answer after two minutes, and a success ends both.
async fn degrades(
    cluster: impl Fn() -> Cluster,
    resource: &'static str,
    run: impl AsyncFn(&Cluster),
    degraded: impl Fn(&Cluster) -> Option<bool>,
) {
    for (code, after) in [(503, LIMIT), (422, Duration::ZERO)] {
        let cluster = cluster();
        cluster.api.fault(Fault::Refuse(code, resource));
        let observed = async {
            let took = until("degraded", || degraded(&cluster) == Some(true)).await;
            assert!(
                (after..=after + 2 * TICK).contains(&took),
                "{resource} {code}: {took:?}"
            );
            cluster.api.fault(Fault::None);
            until("well", || degraded(&cluster) == Some(false)).await;
        };
        tokio::select! {
            () = run(&cluster) => unreachable!("controllers do not end"),
            () = observed => {}
        }
    }
}

fn config() -> Value {
    json!({"apiVersion": Kind::Config.api_version(), "kind": "Config", "metadata": {"name": "cluster", "uid": "u"},
        "spec": {"managementState": "Managed", "replicas": 1}})
}

// lifecycle 104
#[tokio::test(start_paused = true)]
async fn the_image_pruner_is_degraded_by_a_cron_job_that_cannot_be_written() {
    let image = json!({"apiVersion": "config.openshift.io/v1", "kind": "Image", "metadata": {"name": "cluster"},
        "status": {"internalRegistryHostname": "registry.test:5000"}});
    let pruner = json!({"apiVersion": Kind::ImagePruner.api_version(), "kind": "ImagePruner",
        "metadata": {"name": "cluster", "uid": "p", "generation": 1}, "spec": {}});
    let reference = ObjectRef::new(Kind::ImagePruner, "", names::CLUSTER);
    degrades(
        || Cluster::new([config(), image.clone(), pruner.clone()]),
        "/cronjobs",
        async |cluster| pruner::run(cluster.context.clone()).await,
        |cluster| {
            let pruner = cluster.get(&reference)?;
            let mut conditions = pruner["status"]["conditions"].as_array()?.iter();
            let degraded = conditions.find(|condition| condition["type"] == "Degraded")?;
            Some(degraded["status"] == "True" && degraded["reason"] == "SyncError")
        },
    )
    .await;
}

fn certificates_degraded(cluster: &Cluster) -> Option<bool> {
    let set = cluster.context.shared.condition_updates();
    let degraded = set
        .iter()
        .find(|update| update.type_ == "ImageRegistryCertificatesControllerDegraded")?;
    Some(degraded.status == Status::True)
}

// lifecycle, section 7.4
#[tokio::test(start_paused = true)]
async fn the_ca_maps_are_degraded_by_a_map_that_cannot_be_written() {
    degrades(
        || Cluster::new([config()]),
        "/configmaps",
        async |cluster| certificates::run(cluster.context.clone()).await,
        certificates_degraded,
    )
    .await;
}

// lifecycle, section 7.4: without a service CA the same controller writes the operator's own certificates
#[tokio::test(start_paused = true)]
async fn the_ca_maps_are_degraded_by_a_certificate_that_cannot_be_written() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "10.9.9.9"},
        "metadata": {"name": names::REGISTRY, "namespace": names::NAMESPACE, "uid": "s"}});
    let plain = |objects: &mut Objects| objects.set_absent_kind(Kind::ClusterVersion);
    degrades(
        || Cluster::with([config(), service.clone()], plain),
        "/secrets",
        async |cluster| certificates::run(cluster.context.clone()).await,
        certificates_degraded,
    )
    .await;
}
