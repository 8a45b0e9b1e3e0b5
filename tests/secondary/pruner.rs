//! The image pruner: what its CronJob runs, and what the operator reports about its Jobs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::proxy::ProxiedRequest;
use crate::support::pruner::{arguments, expected, pod, until_arguments};
use crate::support::{
    STATES, TestCluster, ca_map, cluster_operator, condition, config_ref, cron_job, eventually, image_pruner, is,
    is_up, operand, uid,
};
use crate::{empty_cluster, registry};

// lifecycle 35, 36, 44, 105, 127, api 17, workload 90, 95, 101, 107, deploy 40, 41, 42
// In part: 44 (the pruner); 107 (the pruner).
#[tokio::test]
async fn the_arguments_follow_the_state_and_manual_edits_are_reverted_in_every_state() {
    let (cluster, _operator) = registry(json!({})).await;
    let made = cluster.until_present(&image_pruner()).await;
    let defaults = json!({"schedule": "", "suspend": false, "keepTagRevisions": 3, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 3,
        "ignoreInvalidImageReferences": true, "logLevel": "Normal"});
    assert_eq!(made["spec"], defaults);
    let first = until_arguments(&cluster, "Managed").await;
    let policy = operand(Kind::NetworkPolicy, names::PRUNER_NETWORK_POLICY);
    let egress = cluster.until_present(&policy).await["spec"].clone();
    assert_eq!(egress["policyTypes"], json!(["Egress"]));
    assert_eq!(egress["egress"][0], json!({}));
    let role = ObjectRef::new(Kind::ClusterRole, "", names::PRUNER_CLUSTER_ROLE);
    let rules = cluster.until_present(&role).await["rules"].clone();
    for state in STATES {
        cluster.enter_state(state).await;
        until_arguments(&cluster, state).await;
        // Somebody edits the objects of the pruner.
        cluster
            .patch(
                &cron_job(),
                json!({"spec": {"schedule": "1 1 * * *", "concurrencyPolicy": "Allow"}}),
            )
            .await;
        cluster
            .patch(&policy, json!({"spec": {"policyTypes": ["Egress", "Ingress"]}}))
            .await;
        cluster.patch(&role, json!({"rules": []})).await;
        cluster
            .until(&cron_job(), "restored", |o| {
                o.is_some_and(|o| o["spec"]["schedule"] == "0 0 * * *" && o["spec"]["concurrencyPolicy"] == "Forbid")
            })
            .await;
        cluster
            .until(&policy, "restored", |o| o.is_some_and(|o| o["spec"] == egress))
            .await;
        cluster
            .until(&role, "restored", |o| o.is_some_and(|o| o["rules"] == rules))
            .await;
        cluster.delete(&policy).await;
        cluster
            .until(&policy, "created again", |o| o.is_some_and(|o| o["spec"] == egress))
            .await;
        // Somebody edits the ImagePruner.
        let edit = json!({"suspend": true, "schedule": "10 10 * * *", "keepYoungerThan": 3_600_000_000_000_i64, "logLevel": "Debug"});
        cluster.patch(&image_pruner(), json!({"spec": edit})).await;
        let follows = |o: &Value| {
            let arguments = arguments(pod(o));
            o["spec"]["suspend"] == true
                && o["spec"]["schedule"] == "10 10 * * *"
                && ["--keep-younger-than=1h0m0s", "--loglevel=4"]
                    .iter()
                    .all(|a| arguments.contains(a))
        };
        cluster
            .until(&cron_job(), "changed accordingly", |o| o.is_some_and(follows))
            .await;
        // The operator creates a deleted ImagePruner again; the CronJob stays.
        let old = cluster.get(&image_pruner()).await.unwrap();
        cluster.delete(&image_pruner()).await;
        let anew = |o: &Value| uid(o) != uid(&old) && is(o, "Available", "True", "AsExpected");
        cluster
            .until(&image_pruner(), "created again", |o| o.is_some_and(anew))
            .await;
        assert_eq!(uid(&until_arguments(&cluster, state).await), uid(&first), "{state}");
    }
}

/// The Jobs that the CronJob controller created.
async fn runs(cluster: &TestCluster) -> Vec<Value> {
    let mut jobs = cluster.list(Kind::Job, names::NAMESPACE).await;
    jobs.retain(|job| job["metadata"]["ownerReferences"][0]["name"] == names::PRUNER_CRON_JOB);
    jobs
}

/// Sets the schedule and waits until the CronJob has it.
async fn schedule(cluster: &TestCluster, schedule: &str, expected: &str) {
    cluster
        .patch(&image_pruner(), json!({"spec": {"schedule": schedule}}))
        .await;
    let has = |o: &Value| o["spec"]["schedule"] == expected;
    cluster
        .until(&cron_job(), &format!("running {expected}"), |o| o.is_some_and(has))
        .await;
}

/// Restores the daily schedule and deletes all runs.
async fn stop_running(cluster: &TestCluster) {
    schedule(cluster, "", "0 0 * * *").await;
    let idle = |o: &Value| o["status"]["active"].as_array().is_none_or(Vec::is_empty);
    for _ in 0..2 {
        for run in runs(cluster).await {
            let reference = operand(Kind::Job, run["metadata"]["name"].as_str().unwrap());
            // The API orphans the pods of a deleted Job unless the request says otherwise.
            cluster
                .api(&reference)
                .delete(&reference.name, &DeleteParams::background())
                .await
                .unwrap();
        }
        // The CronJob controller writes this status only for the newest CronJob, so it starts no further run of the old schedule.
        cluster
            .until(&cron_job(), "without a run", |o| o.is_some_and(idle))
            .await;
    }
    assert_eq!(runs(cluster).await, Vec::<Value>::new());
}

// issue 4: what runs, and not only what is to run, has the arguments of the documentation
#[tokio::test]
async fn a_run_that_the_cron_job_starts_has_the_documented_arguments_in_every_state() {
    let (cluster, _operator) = registry(json!({})).await;
    cluster.until_present(&image_pruner()).await;
    for state in STATES {
        cluster.enter_state(state).await;
        let cron_job = until_arguments(&cluster, state).await;
        // A cron expression has a resolution of a minute. This form, which CronJobs accept too, starts a run at once.
        schedule(&cluster, "@every 1s", "@every 1s").await;
        let mut run = None;
        eventually("a run", async || {
            run = runs(&cluster).await.pop();
            run.is_some()
        })
        .await;
        let run = run.unwrap();
        assert_eq!(run["metadata"]["ownerReferences"][0]["uid"], uid(&cron_job));
        assert_eq!(run["metadata"]["labels"]["created-by"], "image-pruner", "{state}");
        assert_eq!(
            arguments(&run["spec"]["template"]["spec"])[2..],
            expected(state),
            "{state}"
        );
        stop_running(&cluster).await;
    }
}

/// Creates a suspended Job like one of the CronJob; `ends` then sets its result.
async fn job(cluster: &TestCluster, name: &str, labels: Value) {
    let template =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "localhost/none"}]}});
    cluster
        .create(json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": names::NAMESPACE, "labels": labels},
        "spec": {"managedBy": "example.com/tests", "template": template}}))
        .await;
    cluster
        .patch_status(
            &operand(Kind::Job, name),
            json!({"status": {"startTime": "2025-01-01T00:00:00Z"}}),
        )
        .await;
}

async fn ends(cluster: &TestCluster, name: &str, failed: bool) {
    let time = "2025-01-01T00:01:00Z";
    let condition = |type_: &str, reason: &str, message: &str| {
        json!({"type": type_, "status": "True", "reason": reason, "message": message,
               "lastProbeTime": time, "lastTransitionTime": time})
    };
    let status = if failed {
        let message = "Job has reached the specified backoff limit";
        let of = |type_: &str| condition(type_, "BackoffLimitExceeded", message);
        json!({"failed": 1, "conditions": [of("FailureTarget"), of("Failed")]})
    } else {
        let of = |type_: &str| condition(type_, "CompletionsReached", "Reached expected number of succeeded pods");
        json!({"succeeded": 1, "completionTime": time, "conditions": [of("SuccessCriteriaMet"), of("Complete")]})
    };
    cluster
        .patch_status(&operand(Kind::Job, name), json!({"status": status}))
        .await;
}

async fn until_degraded(cluster: &TestCluster, status: &str, reason: &str) -> Value {
    cluster
        .until(&image_pruner(), reason, |o| {
            o.is_some_and(|o| is(o, "Degraded", status, reason))
        })
        .await
        .unwrap()
}

// lifecycle 99, 100, 101, 102, 103, workload 100
#[tokio::test]
async fn the_newest_finished_job_decides_and_foreign_jobs_are_ignored() {
    let cluster = empty_cluster().await;
    cluster.create_config(json!({})).await;
    let _operator = cluster.operator().await;
    cluster.until_config("up", is_up).await;
    let ours = json!({"created-by": "image-pruner"});
    let found = until_degraded(&cluster, "False", "AsExpected").await;
    assert!(is(&found, "Available", "True", "AsExpected") && is(&found, "Scheduled", "True", "Scheduled"));
    assert!(is(&found, "Failed", "False", "Complete"), "no job has run: {found}");

    job(&cluster, "foreign", json!({})).await;
    ends(&cluster, "foreign", true).await;
    job(&cluster, "run-1", ours.clone()).await;
    ends(&cluster, "run-1", true).await;
    let found = until_degraded(&cluster, "True", "JobFailed").await;
    assert!(is(&found, "Failed", "True", "BackoffLimitExceeded"));
    assert!(condition(&found, "Degraded").2.contains("run-1"), "{found}");
    assert!(
        condition(&found, "Degraded")
            .2
            .contains("has reached the specified backoff limit")
    );
    let reports = |o: &Value| is(o, "Degraded", "True", "ImagePrunerJobFailed");
    cluster
        .until(&cluster_operator(), "degraded", |o| o.is_some_and(reports))
        .await;

    job(&cluster, "run-2", ours).await;
    cluster.settle().await;
    until_degraded(&cluster, "True", "JobFailed").await; // run-2 still runs
    ends(&cluster, "run-2", false).await;
    let found = until_degraded(&cluster, "False", "AsExpected").await;
    assert!(is(&found, "Failed", "False", "Complete"));
    cluster
        .until(&cluster_operator(), "not degraded", |o| {
            o.is_some_and(|o| is(o, "Degraded", "False", "AsExpected"))
        })
        .await;

    cluster.patch(&image_pruner(), json!({"spec": {"suspend": true}})).await;
    cluster
        .until(&image_pruner(), "suspended", |o| {
            o.is_some_and(|o| is(o, "Scheduled", "False", "Suspended"))
        })
        .await;
    cluster
        .until(&cron_job(), "suspended", |o| {
            o.is_some_and(|o| o["spec"]["suspend"] == true)
        })
        .await;
    cluster.settle().await;
    // The operator ignores the foreign Job, although it failed most recently.
    assert!(is(
        &cluster.get(&image_pruner()).await.unwrap(),
        "Failed",
        "False",
        "Complete"
    ));
    retries(&cluster).await;
}

/// Runs the command of the CronJob's container, with test doubles for `oc` and `sleep`.
async fn retries(cluster: &TestCluster) {
    let live = cluster.get(&cron_job()).await.unwrap();
    let container = &pod(&live)["containers"][0];
    let arguments = arguments(pod(&live));
    for (failures, code, calls) in [(0, 0, 1), (2, 0, 3), (100, 9, 6)] {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let program = |name: &str, text: String| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let log_path = log.display();
        program(
            "oc",
            format!(
                "#!/bin/sh\necho \"oc $*\" >>{log_path}\n[ $(grep -c '^oc ' {log_path}) -gt {failures} ] || exit 9\n"
            ),
        );
        program("sleep", format!("#!/bin/sh\necho \"sleep $*\" >>{log_path}\n"));
        let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
        let done = Command::new(container["command"][0].as_str().unwrap())
            .args(&arguments)
            .env("PATH", path)
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(code));
        let log = fs::read_to_string(&log).unwrap();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        log.lines().for_each(|line| *counts.entry(line).or_default() += 1);
        let command = arguments[3..].join(" ");
        assert_eq!(counts.remove(command.as_str()), Some(calls), "{log}");
        let pauses: Vec<_> = log.lines().filter(|line| line.starts_with("sleep ")).collect();
        let expected = ["sleep 30", "sleep 60", "sleep 90", "sleep 120", "sleep 150"];
        assert_eq!(pauses, expected[..calls - 1]);
    }
}

// lifecycle 104, issue 10, row 12
#[tokio::test]
async fn an_api_server_that_does_not_answer_degrades_nobody_at_once_and_a_bad_schedule_does() {
    const CERTIFICATES: &str = "ImageRegistryCertificatesControllerDegraded";
    let cluster = empty_cluster().await;
    cluster.create_config(json!({})).await;
    let proxy = cluster.proxy().await;
    let operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
    cluster.until_up().await;
    cluster.until_present(&cron_job()).await;
    until_degraded(&cluster, "False", "AsExpected").await;
    cluster.settle().await;

    let unanswered = |request: &ProxiedRequest| {
        request.is_write() && (request.path.contains("/cronjobs") || request.path.contains("/configmaps"))
    };
    proxy.refuse(503, unanswered);
    let (begun, pruners) = (proxy.requests().len(), cluster.record(&image_pruner()).await);
    let configs = cluster.record(&config_ref()).await;
    let at = |schedule: &str| json!({"spec": {"schedule": schedule}});
    cluster.patch(&image_pruner(), at("7 7 * * *")).await;
    cluster.patch(&ca_map(), json!({"data": {"own": "by hand"}})).await;
    let tries = |requests: &[ProxiedRequest], kind: &str| {
        let failed = requests.iter().skip(begun).filter(|request| unanswered(request));
        failed.filter(|request| request.path.contains(kind)).count()
    };
    proxy
        .until("three attempts of both controllers", |requests| {
            tries(requests, "/cronjobs") >= 3 && tries(requests, "/configmaps") >= 3
        })
        .await;
    proxy.pass();
    cluster
        .until(&cron_job(), "with the schedule", |o| {
            o.is_some_and(|o| o["spec"]["schedule"] == "7 7 * * *")
        })
        .await;
    cluster
        .until(&ca_map(), "restored", |o| {
            o.is_some_and(|o| o["data"].get("own").is_none())
        })
        .await;
    cluster.settle().await;
    let stayed = |version: &Value, type_: &str| is(version, type_, "False", "AsExpected");
    assert!(
        pruners
            .versions()
            .iter()
            .all(|(_, version)| stayed(version, "Degraded"))
    );
    assert!(
        configs
            .versions()
            .iter()
            .all(|(_, version)| stayed(version, CERTIFICATES))
    );

    // What the API server refuses for its content counts at once, and names the field.
    cluster.patch(&image_pruner(), at("61 * * * *")).await;
    let found = until_degraded(&cluster, "True", "SyncError").await;
    let message = condition(&found, "Degraded").2;
    assert!(message.contains("spec.schedule of ImagePruner cluster"), "{message}");
    assert!(is(&found, "Available", "True", "AsExpected"), "the CronJob stays");
    cluster
        .patch(
            &image_pruner(),
            json!({"spec": {"schedule": "", "tolerations": [{"operator": "Sometimes"}]}}),
        )
        .await;
    let named = |o: &Value| {
        condition(o, "Degraded")
            .2
            .contains("spec.tolerations[0].operator of ImagePruner cluster")
    };
    cluster
        .until(&image_pruner(), "naming the toleration", |o| o.is_some_and(named))
        .await;
    cluster
        .patch(&image_pruner(), json!({"spec": {"tolerations": null}}))
        .await;
    until_degraded(&cluster, "False", "AsExpected").await;
    operator.kill().await;
}

// issue 10, row 13
#[tokio::test]
async fn an_age_under_a_minute_is_told_in_a_condition_and_an_event() {
    let (cluster, _operator) = registry(json!({})).await;
    cluster.until_present(&cron_job()).await;
    let scheduled = |part: &'static str| {
        move |o: &Value| is(o, "Scheduled", "True", "Scheduled") && condition(o, "Scheduled").2.contains(part)
    };
    let age = |age: Value| json!({"spec": {"keepYoungerThan": age}});
    cluster.patch(&image_pruner(), age(json!(604_800))).await;
    let found = cluster
        .until(&image_pruner(), "telling the age", |o| {
            o.is_some_and(scheduled("604.8µs"))
        })
        .await
        .unwrap();
    let message = condition(&found, "Scheduled").2;
    for part in [
        "nanoseconds",
        "right after their push",
        "spec.keepYoungerThanDuration to 168h0m0s",
    ] {
        assert!(message.contains(part), "{message}");
    }
    cluster
        .until_event("Warning ImagesPrunedEarly", "keepYoungerThanDuration")
        .await;
    cluster
        .patch(
            &image_pruner(),
            json!({"spec": {"keepYoungerThan": null, "keepYoungerThanDuration": "168h"}}),
        )
        .await;
    let quiet = |o: &Value| !condition(o, "Scheduled").2.contains("keepYoungerThan");
    cluster.until(&image_pruner(), "quiet", |o| o.is_some_and(quiet)).await;
    cluster
        .patch(&image_pruner(), json!({"spec": {"keepYoungerThanDuration": null}}))
        .await;
    cluster.settle().await;
}
