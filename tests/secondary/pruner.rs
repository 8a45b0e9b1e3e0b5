//! The image pruner: what its CronJob runs, and what its Jobs tell.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::{Lab, condition, is, operand};
use crate::{
    STATES, cluster, cluster_operator, create_config, cron_job, enter, eventually, image_pruner, registry, uid,
};

/// The arguments of the command that a CronJob, or a Job of it, runs.
pub fn arguments(pod: &Value) -> Vec<&str> {
    pod["containers"][0]["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a.as_str().unwrap())
        .collect()
}

pub fn pod(cron_job: &Value) -> &Value {
    &cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
}

/// The documentation's arguments with the defaults of bootstrap, in a managementState.
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

pub async fn until_arguments(lab: &Lab, state: &str) -> Value {
    let right = |o: &Value| arguments(pod(o))[2..] == expected(state);
    lab.until(&cron_job(), &format!("with the arguments of {state}"), |o| {
        o.is_some_and(right)
    })
    .await
    .unwrap()
}

// lifecycle 35, 36, 44, 105, 127, api 17, workload 90, 95, 101, 107, deploy 40, 41, 42
// In part: 44 (the pruner); 107 (the pruner).
#[tokio::test]
async fn arguments_follow_the_state_and_edits_by_hand_do_not_last_in_any_of_them() {
    let (lab, _operator) = registry(json!({})).await;
    let made = lab.until_present(&image_pruner()).await;
    let defaults = json!({"suspend": false, "keepTagRevisions": 3, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 3,
        "ignoreInvalidImageReferences": true, "logLevel": "Normal"});
    let mut spec = made["spec"].clone();
    spec.as_object_mut().unwrap().retain(|_, value| value != "");
    assert_eq!(spec, defaults);
    let first = until_arguments(&lab, "Managed").await;
    let policy = operand(Kind::NetworkPolicy, names::PRUNER_NETWORK_POLICY);
    let egress = lab.until_present(&policy).await["spec"].clone();
    assert_eq!(egress["policyTypes"], json!(["Egress"]));
    assert_eq!(egress["egress"][0], json!({}));
    let role = crate::ObjectRef::new(Kind::ClusterRole, "", names::PRUNER_CLUSTER_ROLE);
    let rules = lab.until_present(&role).await["rules"].clone();
    for state in STATES {
        enter(&lab, state).await;
        until_arguments(&lab, state).await;
        // By hand.
        lab.patch(
            &cron_job(),
            json!({"spec": {"schedule": "1 1 * * *", "concurrencyPolicy": "Allow"}}),
        )
        .await;
        lab.patch(&policy, json!({"spec": {"policyTypes": ["Egress", "Ingress"]}}))
            .await;
        lab.patch(&role, json!({"rules": []})).await;
        lab.until(&cron_job(), "put right", |o| {
            o.is_some_and(|o| o["spec"]["schedule"] == "0 0 * * *" && o["spec"]["concurrencyPolicy"] == "Forbid")
        })
        .await;
        lab.until(&policy, "put right", |o| o.is_some_and(|o| o["spec"] == egress))
            .await;
        lab.until(&role, "put right", |o| o.is_some_and(|o| o["rules"] == rules))
            .await;
        lab.delete(&policy).await;
        lab.until(&policy, "made anew", |o| o.is_some_and(|o| o["spec"] == egress))
            .await;
        // By the ImagePruner.
        let edit = json!({"suspend": true, "schedule": "10 10 * * *", "keepYoungerThan": 3_600_000_000_000_i64, "logLevel": "Debug"});
        lab.patch(&image_pruner(), json!({"spec": edit})).await;
        let follows = |o: &Value| {
            let arguments = arguments(pod(o));
            o["spec"]["suspend"] == true
                && o["spec"]["schedule"] == "10 10 * * *"
                && ["--keep-younger-than=1h0m0s", "--loglevel=4"]
                    .iter()
                    .all(|a| arguments.contains(a))
        };
        lab.until(&cron_job(), "following", |o| o.is_some_and(follows)).await;
        // Deleted, it begins anew; its CronJob stays.
        let old = lab.get(&image_pruner()).await.unwrap();
        lab.delete(&image_pruner()).await;
        let anew = |o: &Value| uid(o) != uid(&old) && is(o, "Available", "True", "AsExpected");
        lab.until(&image_pruner(), "made anew", |o| o.is_some_and(anew)).await;
        assert_eq!(uid(&until_arguments(&lab, state).await), uid(&first), "{state}");
    }
}

/// The Jobs that the CronJob's controller made.
async fn runs(lab: &Lab) -> Vec<Value> {
    let mut jobs = lab.list(Kind::Job, names::NAMESPACE).await;
    jobs.retain(|job| job["metadata"]["ownerReferences"][0]["name"] == names::PRUNER_CRON_JOB);
    jobs
}

/// Sets the schedule and waits until the CronJob has it.
async fn schedule(lab: &Lab, schedule: &str, expected: &str) {
    lab.patch(&image_pruner(), json!({"spec": {"schedule": schedule}}))
        .await;
    let has = |o: &Value| o["spec"]["schedule"] == expected;
    lab.until(&cron_job(), &format!("running {expected}"), |o| o.is_some_and(has))
        .await;
}

/// Back to one run a day, and no run left.
async fn stop_running(lab: &Lab) {
    schedule(lab, "", "0 0 * * *").await;
    let idle = |o: &Value| o["status"]["active"].as_array().is_none_or(Vec::is_empty);
    for _ in 0..2 {
        for run in runs(lab).await {
            let reference = operand(Kind::Job, run["metadata"]["name"].as_str().unwrap());
            // Jobs are the one kind whose pods stay behind unless asked for.
            lab.api(&reference)
                .delete(&reference.name, &DeleteParams::background())
                .await
                .unwrap();
        }
        // Its controller can say so only of the newest CronJob: from now on it makes no run of the old schedule.
        lab.until(&cron_job(), "without a run", |o| o.is_some_and(idle)).await;
    }
    assert_eq!(runs(lab).await, Vec::<Value>::new());
}

// issue 4: what runs, and not only what is to run, has the arguments of the documentation
#[tokio::test]
async fn a_run_that_the_cron_job_starts_has_the_documented_arguments_in_every_state() {
    let (lab, _operator) = registry(json!({})).await;
    lab.until_present(&image_pruner()).await;
    for state in STATES {
        enter(&lab, state).await;
        let cron_job = until_arguments(&lab, state).await;
        // No cron expression comes round within a minute; this form, which CronJobs know too, does at once.
        schedule(&lab, "@every 1s", "@every 1s").await;
        let mut run = None;
        eventually("a run", async || {
            run = runs(&lab).await.pop();
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
        stop_running(&lab).await;
    }
}

/// A Job as the CronJob would make it, that no controller touches; and what became of it.
async fn job(lab: &Lab, name: &str, labels: Value) {
    let template =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "localhost/none"}]}});
    lab.create(json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": names::NAMESPACE, "labels": labels},
        "spec": {"managedBy": "example.com/tests", "template": template}}))
        .await;
    lab.patch_status(
        &operand(Kind::Job, name),
        json!({"status": {"startTime": "2025-01-01T00:00:00Z"}}),
    )
    .await;
}

async fn ends(lab: &Lab, name: &str, failed: bool) {
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
    lab.patch_status(&operand(Kind::Job, name), json!({"status": status}))
        .await;
}

async fn until_degraded(lab: &Lab, status: &str, reason: &str) -> Value {
    lab.until(&image_pruner(), reason, |o| {
        o.is_some_and(|o| is(o, "Degraded", status, reason))
    })
    .await
    .unwrap()
}

// lifecycle 99, 100, 101, 102, 103, workload 100
#[tokio::test]
async fn the_newest_finished_job_decides_and_jobs_of_others_do_not() {
    let lab = cluster().await;
    create_config(&lab, json!({})).await;
    let _operator = lab.operator().await;
    lab.until_config("up", crate::is_up).await;
    let ours = json!({"created-by": "image-pruner"});
    let found = until_degraded(&lab, "False", "AsExpected").await;
    assert!(is(&found, "Available", "True", "AsExpected") && is(&found, "Scheduled", "True", "Scheduled"));
    assert_eq!(condition(&found, "Failed").0, "False");

    job(&lab, "foreign", json!({})).await;
    ends(&lab, "foreign", true).await;
    job(&lab, "run-1", ours.clone()).await;
    ends(&lab, "run-1", true).await;
    let found = until_degraded(&lab, "True", "JobFailed").await;
    assert!(is(&found, "Failed", "True", "BackoffLimitExceeded"));
    assert!(condition(&found, "Degraded").2.contains("run-1"), "{found}");
    assert!(
        condition(&found, "Degraded")
            .2
            .contains("has reached the specified backoff limit")
    );
    let told = |o: &Value| is(o, "Degraded", "True", "ImagePrunerJobFailed");
    lab.until(&cluster_operator(), "degraded", |o| o.is_some_and(told))
        .await;

    job(&lab, "run-2", ours).await;
    lab.settle().await;
    until_degraded(&lab, "True", "JobFailed").await; // run-2 still runs
    ends(&lab, "run-2", false).await;
    let found = until_degraded(&lab, "False", "AsExpected").await;
    assert!(is(&found, "Failed", "False", "Complete"));
    lab.until(&cluster_operator(), "well", |o| {
        o.is_some_and(|o| is(o, "Degraded", "False", "AsExpected"))
    })
    .await;

    lab.patch(&image_pruner(), json!({"spec": {"suspend": true}})).await;
    lab.until(&image_pruner(), "suspended", |o| {
        o.is_some_and(|o| is(o, "Scheduled", "False", "Suspended"))
    })
    .await;
    lab.until(&cron_job(), "suspended", |o| {
        o.is_some_and(|o| o["spec"]["suspend"] == true)
    })
    .await;
    lab.settle().await;
    // The foreign one was never looked at; its failure is newer in nothing but time.
    assert!(is(
        &lab.get(&image_pruner()).await.unwrap(),
        "Failed",
        "False",
        "Complete"
    ));
    retries(&lab).await;
}

/// Runs what the live CronJob's container would run, with `oc` and `sleep` of our own.
async fn retries(lab: &Lab) {
    let live = lab.get(&cron_job()).await.unwrap();
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
