//! Azure: the endpoints file of Azure Stack Hub, and the cleanup of the Job that releases up to 4.16 created on Azure.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::secondary::{self, DegradedCondition, Failure};
use super::{Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::apply;
use crate::config::content;
use crate::config::defaults;
use crate::config::event_request::EventRequest;
use crate::names;
use crate::observe::Controller;
use crate::status::conditions::{AZURE_PATH_FIX, ConditionUpdate, Status};
use crate::status::job::{Outcome, outcome};

const STACK_CONDITION: &str = "AzureStackCloudControllerDegraded";

/// Writes the endpoints of ConfigMap `openshift-config/cloud-provider-config` to the file that `AZURE_ENVIRONMENT_FILEPATH`
/// names.
pub(super) async fn stack(context: Context, file: Option<PathBuf>) {
    secondary::run(
        context,
        Controller::AzureStack,
        "azurestack",
        DegradedCondition::SetByPass,
        async |context| {
            let result = stack_pass(context, file.as_deref());
            let (status, reason, message) = match &result {
                Ok(()) => (Status::False, "AsExpected", String::new()),
                Err(failure) => (Status::True, "Error", failure.to_string()),
            };
            context.set_conditions([ConditionUpdate::new(STACK_CONDITION, status, reason, message)]);
            result.map(|()| RESYNC)
        },
    )
    .await;
}

fn stack_pass(context: &Context, file: Option<&Path>) -> Result<(), Failure> {
    let snapshot = context.caches.snapshot();
    let map = snapshot
        .objects
        .get(Kind::ConfigMap, names::CONFIG_NAMESPACE, names::CLOUD_PROVIDER_CONFIG);
    let endpoints = map
        .and_then(|map| content::map_text(map, "endpoints"))
        .unwrap_or_default();
    let platform = snapshot.infrastructure().and_then(|i| defaults::platform(&i));
    let Some(file) = file else {
        if platform.as_deref() != Some("Azure") {
            return Ok(()); // other platforms do not read the file
        }
        return Err(Failure::failed(
            "environment variable AZURE_ENVIRONMENT_FILEPATH of the operator is not set: set it in Deployment \
             cluster-image-registry-operator"
                .to_owned(),
        ));
    };
    let done = if endpoints.is_empty() {
        remove(file)
    } else {
        replace(file, &endpoints)
    };
    done.map_err(|error| Failure::failed(format!("cannot write {}: {error}", file.display())))
}

fn remove(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Replaces the file atomically: a reader sees the old content or the new content.
fn replace(file: &Path, content: &str) -> io::Result<()> {
    if std::fs::read(file).is_ok_and(|present| present == content.as_bytes()) {
        return Ok(());
    }
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    std::fs::write(&temporary, content)?;
    std::fs::rename(&temporary, file)
}

/// Deletes the Job that moved blobs, and its conditions. Releases up to 4.16 created them on Azure.
pub(super) async fn path_fix(context: Context) {
    secondary::run(
        context,
        Controller::AzurePathFix,
        "azurepathfix",
        DegradedCondition::SetByPass,
        path_fix_pass,
    )
    .await;
}

/// The warning about a deleted Job that did not move all blobs.
fn unfinished(job: &Value) -> Option<EventRequest> {
    let how = match outcome(job) {
        Outcome::Complete => return None,
        Outcome::Failed(_) => "failed",
        Outcome::Running => "did not complete",
    };
    Some(EventRequest::warning(
        "AzurePathFixIncomplete",
        format!(
            "Job {} {how}, and was deleted: images may still be under names that begin with docker/, where the registry does not look \
             for them. If images are missing, run the operator's subcommand move-blobs once (docs/storage-azure.md)",
            names::AZURE_PATH_FIX_JOB
        ),
    ))
}

async fn path_fix_pass(context: &Context) -> Result<Duration, Failure> {
    let snapshot = context.caches.snapshot();
    let platform = snapshot.infrastructure().and_then(|i| defaults::platform(&i));
    let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER);
    let cloud = config
        .and_then(|c| c.pointer("/status/storage/azure/cloudName"))
        .and_then(Value::as_str);
    let stack = cloud.is_some_and(|cloud| cloud.eq_ignore_ascii_case("AZURESTACKCLOUD"));
    if platform.as_deref() != Some("Azure") || stack {
        return Ok(RESYNC);
    }
    if context.shared.drop_conditions(AZURE_PATH_FIX) {
        context.caches.trigger(Controller::Registry);
    }
    let job = ObjectRef::new(Kind::Job, names::NAMESPACE, names::AZURE_PATH_FIX_JOB);
    let live = snapshot.objects.find(&job);
    if live.is_some_and(|job| {
        job.pointer("/metadata/deletionTimestamp")
            .unwrap_or(&json!(null))
            .is_null()
    }) {
        let mut report = apply::delete(&[job], &snapshot, &context.writer).await;
        let failures = report.failure_message();
        context.publish_report(&mut report);
        if !failures.is_empty() {
            return Err(Failure::failed(failures));
        }
        context.publish_events(live.and_then(|job| unfinished(job)));
    }
    Ok(RESYNC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::tests::cluster::Cluster;

    // storage-azure 12.1, 54: the Job is deleted in any case, and a user learns that it did not move everything
    #[test]
    fn a_job_that_is_not_complete_is_told_with_the_subcommand_that_replaces_it() {
        let job = |type_: &str, status: &str| json!({"status": {"conditions": [{"type": type_, "status": status}]}});
        assert_eq!(unfinished(&job("Complete", "True")), None);
        for (job, part) in [
            (json!({}), "did not complete"),
            (json!({"status": {"active": 1}}), "did not complete"),
            (job("Complete", "False"), "did not complete"),
            (job("Failed", "True"), "failed"),
        ] {
            let event = unfinished(&job).unwrap();
            assert!(event.warning, "{event:?}");
            assert!(
                event.message.contains(part) && event.message.contains("move-blobs"),
                "{event:?}"
            );
        }
    }

    // workload 103: section 9 says that a cluster without `platformStatus` is not of Azure
    // api 30: where `platformStatus` is absent, `status.platform` counts; this one the operator follows
    #[tokio::test(start_paused = true)]
    async fn leftovers_are_deleted_where_the_infrastructure_names_azure() {
        for (status, cleans) in [
            (json!({"platformStatus": {"type": "Azure"}}), true),
            (json!({"platform": "Azure"}), true),
            (json!({"platformStatus": null, "platform": "Azure"}), true),
            (json!({"platformStatus": {"type": "AWS"}, "platform": "Azure"}), false),
            (json!({"platformStatus": {}, "platform": "Azure"}), false),
            (json!({"platform": "AWS"}), false),
            (json!({"platform": ""}), false),
            (json!({}), false),
            (Value::Null, false),
        ] {
            let infrastructure = json!({"apiVersion": Kind::Infrastructure.api_version(), "kind": "Infrastructure",
                "metadata": {"name": "cluster"}, "status": status});
            let job = json!({"apiVersion": "batch/v1", "kind": "Job",
                "metadata": {"name": names::AZURE_PATH_FIX_JOB, "namespace": names::NAMESPACE, "uid": "j"}});
            let cluster = Cluster::new([infrastructure, job]);
            path_fix_pass(&cluster.context).await.unwrap();
            let job = ObjectRef::new(Kind::Job, names::NAMESPACE, names::AZURE_PATH_FIX_JOB);
            assert_eq!(cluster.get(&job).is_none(), cleans, "{status}");
            let mut dropped = cluster.context.shared.dropped();
            dropped.retain(|type_| AZURE_PATH_FIX.contains(type_));
            assert_eq!(dropped.len(), if cleans { AZURE_PATH_FIX.len() } else { 0 }, "{status}");
        }
    }
}
