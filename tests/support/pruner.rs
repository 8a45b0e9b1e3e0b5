//! The CronJob of the image pruner, and the arguments that the documentation promises.

use serde_json::Value;

use super::{TestCluster, cron_job};

/// Arguments of the container in the pod template of a CronJob or a Job.
pub fn arguments(pod: &Value) -> Vec<&str> {
    pod["containers"][0]["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a.as_str().unwrap())
        .collect()
}

/// The pod template of a CronJob.
pub fn pod(cron_job: &Value) -> &Value {
    &cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
}

/// The arguments of the documentation for the default ImagePruner, in a managementState.
pub fn expected(state: &str) -> Vec<&'static str> {
    let mut expected = vec![
        "pruner",
        "oc",
        "adm",
        "prune",
        "images",
        "--confirm=true",
        "--certificate-authority=/var/run/configmaps/serviceca/service-ca.crt",
        "--keep-tag-revisions=3",
        "--keep-younger-than=60m",
        "--ignore-invalid-refs=true",
        "--loglevel=1",
    ];
    expected.extend(match state {
        "Managed" => vec![
            "--prune-registry=true",
            "--registry-url=https://image-registry.openshift-image-registry.svc:5000",
        ],
        _ => vec!["--prune-registry=false"],
    });
    expected
}

/// Waits until the CronJob has the arguments of this managementState.
pub async fn until_arguments(cluster: &TestCluster, state: &str) -> Value {
    let right = |o: &Value| arguments(pod(o))[2..] == expected(state);
    cluster
        .until(&cron_job(), &format!("with the arguments of {state}"), |o| {
            o.is_some_and(right)
        })
        .await
        .unwrap()
}
