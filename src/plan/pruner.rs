//! The image pruner: a CronJob that removes unused images. The CronJob exists in every management state.

mod quantity;
mod role;

use serde_json::{Value, json};

use super::{Desired, Drift, Origin, Plan, certificates, exclusive, network, rbac};
use crate::api::{ImagePrunerSpec, Kind, duration};
use crate::config::content;
use crate::config::rejection::{Reason, Rejection};
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names::{
    self, PRUNER_CLUSTER_ROLE as CLUSTER_ROLE, PRUNER_CLUSTER_ROLE_BINDING as CLUSTER_ROLE_BINDING,
    PRUNER_CRON_JOB as CRON_JOB, PRUNER_NETWORK_POLICY as NETWORK_POLICY, PRUNER_SERVICE_ACCOUNT as SERVICE_ACCOUNT,
};

/// Value of the label `app` on pods and `created-by` on Jobs, which identifies the pruner's Jobs in the namespace.
const LABEL_VALUE: &str = "image-pruner";

/// All objects of the pruner, in the order in which they are applied.
pub fn pruner(spec: &ImagePrunerSpec, snapshot: &Snapshot) -> Plan {
    let mut plan = Plan::default();
    plan.present.extend([
        role::cluster_role(snapshot),
        rbac::binding(CLUSTER_ROLE_BINDING, CLUSTER_ROLE, SERVICE_ACCOUNT),
        rbac::account(SERVICE_ACCOUNT),
        certificates::service_ca(snapshot),
        network_policy(),
    ]);
    match cron_job(spec, snapshot) {
        Ok(desired) => plan.present.push(desired),
        Err(rejection) => plan.reject(Kind::CronJob, CRON_JOB, rejection),
    }
    plan
}

fn network_policy() -> Desired {
    let registry = json!([{"podSelector": {"matchLabels": {names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE}}}]);
    let body = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": NETWORK_POLICY, "namespace": names::NAMESPACE},
        "spec": {
            "podSelector": {"matchLabels": {"app": LABEL_VALUE}},
            "policyTypes": ["Egress"],
            // As for the registry: the first rule allows everything; the other rules document the peers.
            "egress": [
                {},
                {"to": network::api_server_peers(), "ports": [{"protocol": "TCP", "port": 6443}]},
                {"to": network::dns_peers(), "ports": network::dns_ports()},
                {"to": registry, "ports": [{"protocol": "TCP", "port": names::REGISTRY_PORT}]},
            ],
        },
    });
    Desired::new(Kind::NetworkPolicy, Drift::Whole(&["spec"]), body).without_checksum()
}

fn cron_job(spec: &ImagePrunerSpec, snapshot: &Snapshot) -> Result<Desired, Rejection> {
    let live = snapshot.objects.operand(Kind::CronJob, CRON_JOB);
    let schedule = spec
        .schedule
        .as_deref()
        .filter(|schedule| !schedule.is_empty())
        .unwrap_or("0 0 * * *");
    let body = json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": CRON_JOB, "namespace": names::NAMESPACE},
        "spec": {
            "schedule": schedule,
            "timeZone": null,
            "suspend": spec.suspend.unwrap_or(false),
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": spec.successful_jobs_history_limit.unwrap_or(3),
            "failedJobsHistoryLimit": spec.failed_jobs_history_limit.unwrap_or(3),
            "jobTemplate": {
                "metadata": {"labels": {"created-by": LABEL_VALUE}},
                "spec": {
                    // The script in the container retries.
                    "backoffLimit": 0,
                    "activeDeadlineSeconds": null,
                    "ttlSecondsAfterFinished": null,
                    "template": {
                        "metadata": {
                            "labels": {"app": LABEL_VALUE},
                            "annotations": {names::SCC_ANNOTATION: "restricted-v2"},
                        },
                        "spec": pod(spec, snapshot, live)?,
                    },
                },
            },
        },
    });
    Ok(Desired::new(Kind::CronJob, Drift::Template, body).with_origins(origins()))
}

fn pod(spec: &ImagePrunerSpec, snapshot: &Snapshot, live: Option<&Value>) -> Result<Value, Rejection> {
    let live = live.and_then(|job| job.pointer("/spec/jobTemplate/spec/template/spec"));
    let live_pod = |member: &str| live.and_then(|pod| pod.get(member));
    let live_container = |member: &str| live.and_then(|pod| pod.pointer("/containers/0")?.get(member));
    let resources = spec
        .resources
        .clone()
        .unwrap_or_else(|| json!({"requests": {"cpu": "100m", "memory": "256Mi"}}));
    let resources = quantity::as_stored(resources, live_container("resources"));
    let tolerations: Vec<Value> = spec.tolerations.iter().flatten().map(without_empty_strings).collect();
    Ok(json!({
        "restartPolicy": "Never",
        "serviceAccountName": SERVICE_ACCOUNT,
        "priorityClassName": "system-cluster-critical",
        "affinity": exclusive(spec.affinity.clone().unwrap_or_else(|| json!({})), live_pod("affinity")),
        "nodeSelector": exclusive(json!(spec.node_selector.clone().unwrap_or_default()), live_pod("nodeSelector")),
        "tolerations": exclusive(json!(tolerations), live_pod("tolerations")),
        "initContainers": null,
        "containers": [{
            "name": "image-pruner",
            "image": snapshot.environment.pruner_image,
            "command": ["/bin/sh"],
            "args": arguments(spec, snapshot)?,
            "env": null,
            "envFrom": null,
            "resources": exclusive(resources, live_container("resources")),
            "securityContext": exclusive(json!({"readOnlyRootFilesystem": true}), live_container("securityContext")),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [{"name": "serviceca", "mountPath": CA_FOLDER, "readOnly": true}],
        }],
        "volumes": [{"name": "serviceca", "configMap": {"name": names::SERVICE_CA_MAP}}],
    }))
}

/// Mount path of the service CA in the container.
const CA_FOLDER: &str = "/var/run/configmaps/serviceca";

/// Shell script that runs its arguments until they succeed, at most six times, with growing pauses.
const SCRIPT: &str = r#"n=0
until "$@"; do
  rc=$?
  n=$((n + 1))
  [ "$n" -gt 5 ] && exit "$rc"
  echo "pruner: try $n ended with code $rc; next try in $((n * 30))s" >&2
  sleep $((n * 30))
done
"#;

/// Arguments of the shell. Each flag is one element with its value: tools of users search for such elements.
fn arguments(spec: &ImagePrunerSpec, snapshot: &Snapshot) -> Result<Vec<String>, Rejection> {
    let mut arguments: Vec<String> = ["-c", SCRIPT, "pruner", "oc", "adm", "prune", "images", "--confirm=true"]
        .map(str::to_owned)
        .into();
    arguments.extend([
        format!("--certificate-authority={CA_FOLDER}/{}", names::SERVICE_CA_KEY),
        format!("--keep-tag-revisions={}", spec.keep_tag_revisions.unwrap_or(3)),
        format!("--keep-younger-than={}", keep_younger_than(spec)?),
        format!(
            "--ignore-invalid-refs={}",
            spec.ignore_invalid_image_references.unwrap_or(false)
        ),
        format!("--loglevel={}", log_level(spec.log_level.as_deref())),
    ]);
    match registry_host(snapshot) {
        Some(host) => arguments.extend([
            "--prune-registry=true".to_owned(),
            format!("--registry-url=https://{host}"),
        ]),
        None => arguments.push("--prune-registry=false".to_owned()),
    }
    Ok(arguments)
}

/// `--keep-younger-than`: images that are younger are not pruned.
fn keep_younger_than(spec: &ImagePrunerSpec) -> Result<String, Rejection> {
    Ok(age(spec)?.map_or_else(|| "60m".to_owned(), duration::go_text))
}

/// The age in nanoseconds that the ImagePruner sets; `None` if it sets none.
fn age(spec: &ImagePrunerSpec) -> Result<Option<i64>, Rejection> {
    let Some(text) = duration_text(spec) else {
        return Ok(spec.keep_younger_than);
    };
    let parsed = duration::parse(text).ok_or_else(|| {
        let message = format!(
            "spec.keepYoungerThanDuration of {} is {text:?}, which is not a duration: set a value such as 90m or 1h30m",
            image_pruner()
        );
        Rejection::new(Reason::InvalidDuration, message)
    })?;
    Ok(Some(parsed))
}

fn duration_text(spec: &ImagePrunerSpec) -> Option<&str> {
    let text = spec.keep_younger_than_duration.as_deref();
    text.filter(|text| !text.is_empty())
}

const SECOND: i64 = 1_000_000_000;
/// Below this age, images may be pruned while their push or the rollout that uses them is under way.
const SHORT_AGE: i64 = 60 * SECOND;

/// What an age under a minute means, and how to set the age that was meant; `None` if the age is longer.
///
/// The deprecated `spec.keepYoungerThan` counts nanoseconds: seconds or minutes in it prune images right after their push.
pub fn short_age(spec: &ImagePrunerSpec) -> Option<String> {
    let age = age(spec).ok().flatten().filter(|age| *age < SHORT_AGE)?;
    let meaning = format!(
        "{}: images that no object uses are pruned right after their push",
        duration::go_text(age)
    );
    if duration_text(spec).is_some() {
        return Some(format!(
            "spec.keepYoungerThanDuration of {} is {meaning}. Set a longer one, such as 60m",
            image_pruner()
        ));
    }
    // Ten years at most: longer ones were not meant.
    let seconds = Some(age)
        .filter(|age| (60..=315_360_000).contains(age))
        .map(|age| age * SECOND);
    let remedy = match seconds {
        Some(seconds) => format!(
            "If seconds were meant, set spec.keepYoungerThanDuration to {}",
            duration::go_text(seconds)
        ),
        None => "Set spec.keepYoungerThanDuration, such as 60m".to_owned(),
    };
    Some(format!(
        "spec.keepYoungerThan of {} counts nanoseconds, so {age} is {meaning}. {remedy}",
        image_pruner()
    ))
}

/// The ImagePruner, as messages name it.
fn image_pruner() -> String {
    format!("ImagePruner {}", names::CLUSTER)
}

/// Fields of the CronJob that come from the ImagePruner.
fn origins() -> impl Iterator<Item = Origin> {
    let pod = [
        ("spec.jobTemplate.spec.template.spec.tolerations", "spec.tolerations"),
        ("spec.jobTemplate.spec.template.spec.nodeSelector", "spec.nodeSelector"),
        ("spec.jobTemplate.spec.template.spec.affinity", "spec.affinity"),
        (
            "spec.jobTemplate.spec.template.spec.containers[0].resources",
            "spec.resources",
        ),
    ];
    let same = [
        "spec.schedule",
        "spec.suspend",
        "spec.successfulJobsHistoryLimit",
        "spec.failedJobsHistoryLimit",
    ];
    let all = same.map(|field| (field, field)).into_iter().chain(pod);
    all.map(|(field, source)| Origin::copied(field, source, image_pruner()))
}

/// `--loglevel` of `oc`. The default is 1: from level 2 on, a failing `oc` prints all stack traces, which hide the error in the
/// termination message.
fn log_level(level: Option<&str>) -> u8 {
    match level {
        Some("Debug") => 4,
        Some("Trace") => 6,
        Some("TraceAll") => 8,
        _ => 1,
    }
}

/// Host of the registry whose blobs are pruned; `None` unless the operator manages a registry.
fn registry_host(snapshot: &Snapshot) -> Option<&str> {
    if ManagementState::stored(snapshot) != Some(ManagementState::Managed) {
        return None;
    }
    let image = snapshot.objects.cluster(Kind::Image, names::CLUSTER)?;
    content::text(image.pointer("/status/internalRegistryHostname"))
}

/// The API server does not store empty strings in a toleration.
fn without_empty_strings(toleration: &Value) -> Value {
    let members = toleration.as_object().into_iter().flatten();
    let kept = members.filter(|(_, value)| *value != "");
    kept.map(|(member, value)| (member.clone(), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests;
