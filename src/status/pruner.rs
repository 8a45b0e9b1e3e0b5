//! PURE: status of the ImagePruner, from the pruner's CronJob and its Jobs.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::conditions::{ConditionUpdate, Status, Verdict};
use super::config_status::{difference, differs, next_conditions};
use super::deployment::text;
use super::job::{Outcome, outcome};
use crate::config::snapshot::Unprunable;
use crate::names;

const CRON_JOB: &str = "image-pruner";
/// Label of the pruner's Jobs, and its value.
const CREATED_BY: (&str, &str) = ("created-by", CRON_JOB);

/// Findings of one pass of the pruner's controller.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    /// Whether the CronJob exists after this pass.
    pub cron_job: bool,
    /// Why no image can be pruned, if so.
    pub unprunable: Option<Unprunable>,
    /// `spec.suspend`.
    pub suspended: bool,
    /// All Jobs of the registry's namespace.
    pub jobs: Vec<&'a Value>,
    /// What it means that objects could not be applied.
    pub failing: Verdict,
    /// A setting that works but may not do what the administrator wants; part of the message of `Scheduled`.
    pub notice: Option<&'a str>,
}

/// Conditions of the ImagePruner: `Available`, `Failed`, `Scheduled`, and `Degraded` unless it stays as it is.
pub fn judge(findings: &Findings<'_>) -> Vec<ConditionUpdate> {
    if let Some(why) = findings.unprunable {
        return unsupported(findings, why);
    }
    let name = format!("CronJob {}/{CRON_JOB}", names::NAMESPACE);
    let available = if findings.cron_job {
        ConditionUpdate::new("Available", Status::True, "AsExpected", format!("{name} exists"))
    } else {
        ConditionUpdate::new("Available", Status::False, "Error", format!("{name} does not exist"))
    };
    let failed = match last_finished(&findings.jobs) {
        // Tests of users wait for this reason on a new cluster.
        None | Some((_, Outcome::Running)) => {
            ConditionUpdate::new("Failed", Status::False, "Complete", "No pruner job has finished yet")
        }
        Some((_, Outcome::Complete)) => {
            ConditionUpdate::new("Failed", Status::False, "Complete", "The last pruner job succeeded")
        }
        Some((job, Outcome::Failed(failure))) => {
            let cause = format!("Job {job} failed: {}", text(failure, "message"));
            ConditionUpdate::new("Failed", Status::True, text(failure, "reason"), cause)
        }
    };
    let notice = findings.notice.map(|notice| format!(". {notice}")).unwrap_or_default();
    let scheduled = if findings.suspended {
        let message = format!("{name} is suspended by spec.suspend{notice}");
        ConditionUpdate::new("Scheduled", Status::False, "Suspended", message)
    } else {
        let message = format!("{name} is scheduled{notice}");
        ConditionUpdate::new("Scheduled", Status::True, "Scheduled", message)
    };
    let degraded = degraded(&findings.failing, &failed);
    [available, failed, scheduled].into_iter().chain(degraded).collect()
}

/// Conditions where nothing can be pruned, which is no error. Jobs of earlier times do not matter.
fn unsupported(findings: &Findings<'_>, why: Unprunable) -> Vec<ConditionUpdate> {
    let why = match why {
        Unprunable::NoApi => format!(
            "Images are pruned through the API {}, which this cluster does not serve: there is no CronJob",
            names::IMAGE_GROUP
        ),
        Unprunable::NoImage => {
            "There is no CronJob, because the operator knows no image of the pruner: set IMAGE_PRUNER in the \
                                operator's Deployment"
                .to_owned()
        }
    };
    let failed = ConditionUpdate::new("Failed", Status::False, "Complete", "No pruner job runs");
    let degraded = degraded(&findings.failing, &failed);
    let available = ConditionUpdate::new("Available", Status::True, "AsExpected", why.clone());
    let scheduled = ConditionUpdate::new("Scheduled", Status::False, "Unsupported", why);
    [available, failed, scheduled].into_iter().chain(degraded).collect()
}

fn degraded(failing: &Verdict, failed: &ConditionUpdate) -> Option<ConditionUpdate> {
    let degraded =
        |status, reason: &str, message: String| Some(ConditionUpdate::new("Degraded", status, reason, message));
    match failing {
        Verdict::Report(cause) => {
            let message = format!("The pruner's objects cannot be applied: {cause}");
            degraded(Status::True, "SyncError", message)
        }
        _ if failed.status == Status::True => {
            let remedy = "the condition clears after a later job succeeds or the failed job is deleted";
            degraded(Status::True, "JobFailed", format!("{} ({remedy})", failed.message))
        }
        Verdict::Stays => None,
        Verdict::Fine => degraded(Status::False, "AsExpected", String::new()),
    }
}

/// Value of the metric for the pruner's installation: 0 without a CronJob, 1 suspended, 2 enabled.
pub const fn install_status(findings: &Findings<'_>) -> u8 {
    match (findings.cron_job, findings.suspended) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => 2,
    }
}

/// JSON merge patch for the `/status` subresource of the ImagePruner; `None` if nothing differs. `stored` is the live status.
pub fn status_patch(
    stored: &Value,
    generation: i64,
    condition_updates: &[ConditionUpdate],
    now: Timestamp,
) -> Option<Value> {
    let mut next = stored.clone();
    if !next.is_object() {
        next = json!({});
    }
    next["observedGeneration"] = json!(generation);
    next["conditions"] = next_conditions(stored, condition_updates, &[], now);
    differs(stored, &next).then(|| json!({"status": difference(stored, &next)}))
}

/// Name and outcome of the newest finished pruner Job.
fn last_finished<'a>(jobs: &[&'a Value]) -> Option<(&'a str, Outcome<'a>)> {
    let member = |job: &'a Value, pointer: &str| job.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let runs = jobs.iter().filter(|job| is_pruner(job)).map(|job| (*job, outcome(job)));
    let finished = runs.filter(|(_, outcome)| !matches!(outcome, Outcome::Running));
    let time = |job: &'a Value| member(job, "/metadata/creationTimestamp").parse::<Timestamp>().ok();
    let (job, outcome) = finished.max_by_key(|(job, _)| (time(job), member(job, "/metadata/name")))?;
    Some((member(job, "/metadata/name"), outcome))
}

/// Whether the Job belongs to the pruner's CronJob, by owner reference or by label.
fn is_pruner(job: &Value) -> bool {
    let owners = job.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let owned = owners
        .into_iter()
        .flatten()
        .any(|o| text(o, "kind") == "CronJob" && text(o, "name") == CRON_JOB);
    owned
        || job
            .pointer("/metadata/labels")
            .is_some_and(|labels| text(labels, CREATED_BY.0) == CREATED_BY.1)
}

#[cfg(test)]
mod tests;
