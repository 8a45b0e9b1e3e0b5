//! When a failure degrades a condition. Nothing wakes the controllers but their own waits.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::Cluster;
use crate::api::{Kind, ObjectRef};
use crate::config::snapshot::Objects;
use crate::controllers::{API_RETRY, certificates, pruner};
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
/// condition at once, an API server that does not answer after two minutes, and a success ends both. A wall clock that somebody sets
/// changes nothing.
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
            tokio::time::sleep(after / 2).await;
            cluster.set_clock_forward(3_600);
            let took = after / 2 + until("degraded", || degraded(&cluster) == Some(true)).await;
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

/// Runs a controller on plain Kubernetes while the API server does not say whether it serves an API: the condition turns after two
/// minutes, everything else goes on, and the first answer ends it.
async fn degrades_without_an_answer(
    cluster: impl Fn() -> Cluster,
    api: &'static str,
    run: impl AsyncFn(&Cluster),
    degraded: impl Fn(&Cluster) -> Option<bool>,
    goes_on: impl Fn(&Cluster),
) {
    for code in [403, 503] {
        let cluster = cluster();
        cluster.api.fault(Fault::RefuseReads(code, api));
        let observed = async {
            let took = until("degraded", || degraded(&cluster) == Some(true)).await;
            assert!((LIMIT..=LIMIT + 2 * TICK).contains(&took), "{api} {code}: {took:?}");
            goes_on(&cluster);
            cluster.api.fault(Fault::None);
            let took = until("well", || degraded(&cluster) == Some(false)).await;
            assert!(took <= API_RETRY + 2 * TICK, "{api} {code}: {took:?}");
        };
        tokio::select! {
            () = run(&cluster) => unreachable!("controllers do not end"),
            () = observed => {}
        }
    }
}

fn plain(objects: &mut Objects) {
    objects.set_absent_kind(Kind::ClusterVersion);
}

fn config() -> Value {
    json!({"apiVersion": Kind::Config.api_version(), "kind": "Config", "metadata": {"name": "cluster", "uid": "u"},
        "spec": {"managementState": "Managed", "replicas": 1}})
}

// lifecycle 104
#[tokio::test(start_paused = true)]
async fn the_image_pruner_is_degraded_by_a_cron_job_that_cannot_be_written() {
    degrades(
        || Cluster::new(pruned()),
        "/cronjobs",
        async |cluster| pruner::run(cluster.context.clone()).await,
        pruner_degraded,
    )
    .await;
}

/// A managed registry with an image pruner.
fn pruned() -> [Value; 3] {
    let image = json!({"apiVersion": "config.openshift.io/v1", "kind": "Image", "metadata": {"name": "cluster"},
        "status": {"internalRegistryHostname": "registry.test:5000"}});
    let pruner = json!({"apiVersion": Kind::ImagePruner.api_version(), "kind": "ImagePruner",
        "metadata": {"name": "cluster", "uid": "p", "generation": 1}, "spec": {}});
    [config(), image, pruner]
}

fn pruner_degraded(cluster: &Cluster) -> Option<bool> {
    let pruner = cluster.get(&ObjectRef::new(Kind::ImagePruner, "", names::CLUSTER))?;
    let mut conditions = pruner["status"]["conditions"].as_array()?.iter();
    let degraded = conditions.find(|condition| condition["type"] == "Degraded")?;
    Some(degraded["status"] == "True" && degraded["reason"] == "SyncError")
}

// In part: workload 9, lifecycle 104
#[tokio::test(start_paused = true)]
async fn the_image_pruner_is_degraded_while_nobody_knows_whether_there_is_an_image_api() {
    let find = |cluster: &Cluster, kind, name| cluster.get(&ObjectRef::new(kind, names::NAMESPACE, name));
    degrades_without_an_answer(
        || Cluster::with(pruned(), plain),
        "/apis/image.openshift.io",
        async |cluster| pruner::run(cluster.context.clone()).await,
        pruner_degraded,
        |cluster| {
            assert!(!cluster.writes("/serviceaccounts").is_empty());
            let cron_job = find(cluster, Kind::CronJob, names::PRUNER_CRON_JOB);
            assert!(cron_job.is_none(), "it may not be able to run");
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

// In part: workload 9; lifecycle, section 7.4
#[tokio::test(start_paused = true)]
async fn the_ca_maps_are_written_and_degraded_while_nobody_knows_whether_there_is_a_service_ca() {
    let map = ObjectRef::new(Kind::ConfigMap, names::NAMESPACE, names::CERTIFICATES_MAP);
    degrades_without_an_answer(
        || Cluster::with([config()], plain),
        "/apis/operator.openshift.io",
        async |cluster| certificates::run(cluster.context.clone()).await,
        certificates_degraded,
        |cluster| assert!(cluster.get(&map).is_some()),
    )
    .await;
}

// lifecycle, section 7.4: without a service CA the same controller writes the operator's own certificates
#[tokio::test(start_paused = true)]
async fn the_ca_maps_are_degraded_by_a_certificate_that_cannot_be_written() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "10.9.9.9"},
        "metadata": {"name": names::REGISTRY, "namespace": names::NAMESPACE, "uid": "s"}});
    degrades(
        || Cluster::with([config(), service.clone()], plain),
        "/secrets",
        async |cluster| certificates::run(cluster.context.clone()).await,
        certificates_degraded,
    )
    .await;
}
