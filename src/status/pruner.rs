//! PURE: what the pruner's CronJob and its Jobs say, as the ImagePruner's status.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::conditions::{Status, Verdict};
use super::config_status::{difference, differs, next_conditions};
use super::deployment::text;
use crate::names;

const CRON_JOB: &str = "image-pruner";
/// Label that the CronJob puts on its Jobs, and its value.
const CREATED_BY: (&str, &str) = ("created-by", CRON_JOB);

/// What a pass of the pruner's loop found.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    /// Whether the CronJob exists, after what this pass applied.
    pub cron_job: bool,
    /// `spec.suspend`.
    pub suspended: bool,
    /// All Jobs of the registry's namespace.
    pub jobs: Vec<&'a Value>,
    /// Why not everything could be applied.
    pub failing: Option<&'a str>,
}

/// Judges a pass: `Available`, `Failed`, `Scheduled`, `Degraded`.
pub fn judge(findings: &Findings<'_>) -> [Verdict; 4] {
    let name = format!("CronJob {}/{CRON_JOB}", names::NAMESPACE);
    let available = if findings.cron_job {
        Verdict::new("Available", Status::True, "AsExpected", format!("{name} exists"))
    } else {
        Verdict::new("Available", Status::False, "Error", format!("{name} does not exist"))
    };
    let failed = match last_finished(&findings.jobs) {
        None | Some((_, Outcome::Running)) => {
            Verdict::new("Failed", Status::False, "NoJobs", "No pruner job has finished yet")
        }
        Some((_, Outcome::Complete)) => {
            Verdict::new("Failed", Status::False, "Complete", "The last pruner job has succeeded")
        }
        Some((job, Outcome::Failed(failure))) => {
            let cause = format!("Job {job} failed: {}", text(failure, "message"));
            Verdict::new("Failed", Status::True, text(failure, "reason"), cause)
        }
    };
    let scheduled = if findings.suspended {
        let message = format!("{name} is suspended, as spec.suspend asks for");
        Verdict::new("Scheduled", Status::False, "Suspended", message)
    } else {
        Verdict::new("Scheduled", Status::True, "Scheduled", format!("{name} is scheduled"))
    };
    let degraded = match findings.failing {
        Some(cause) => {
            let message = format!("The pruner's objects cannot be applied: {cause}");
            Verdict::new("Degraded", Status::True, "SyncError", message)
        }
        None if failed.status == Status::True => {
            let remedy = "it clears when a later job succeeds, or when the failed one is deleted";
            Verdict::new(
                "Degraded",
                Status::True,
                "JobFailed",
                format!("{} ({remedy})", failed.message),
            )
        }
        None => Verdict::new("Degraded", Status::False, "AsExpected", ""),
    };
    [available, failed, scheduled, degraded]
}

/// Gauge of the installation: 0 without CronJob, 1 suspended, 2 enabled.
pub const fn install_status(findings: &Findings<'_>) -> u8 {
    match (findings.cron_job, findings.suspended) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => 2,
    }
}

/// The merge patch for the ImagePruner's `/status`; `None` where nothing differs. `stored` is the status as stored.
pub fn status_patch(stored: &Value, generation: i64, verdicts: &[Verdict], now: Timestamp) -> Option<Value> {
    let mut next = stored.clone();
    if !next.is_object() {
        next = json!({});
    }
    next["observedGeneration"] = json!(generation);
    next["conditions"] = next_conditions(stored, verdicts, &[], now);
    differs(stored, &next).then(|| json!({"status": difference(stored, &next)}))
}

/// How a Job ended.
#[derive(Clone, Copy)]
enum Outcome<'a> {
    Running,
    Complete,
    /// The condition that says so.
    Failed(&'a Value),
}

/// Name of the newest pruner job that has finished, and how.
fn last_finished<'a>(jobs: &[&'a Value]) -> Option<(&'a str, Outcome<'a>)> {
    let member = |job: &'a Value, pointer: &str| job.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let runs = jobs.iter().filter(|job| is_pruner(job)).map(|job| (*job, outcome(job)));
    let finished = runs.filter(|(_, outcome)| !matches!(outcome, Outcome::Running));
    let time = |job: &'a Value| member(job, "/metadata/creationTimestamp").parse::<Timestamp>().ok();
    let (job, outcome) = finished.max_by_key(|(job, _)| (time(job), member(job, "/metadata/name")))?;
    Some((member(job, "/metadata/name"), outcome))
}

/// Whether the Job is a run of the pruner; others in the namespace are nobody's business here.
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

fn outcome(job: &Value) -> Outcome<'_> {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    let holds = |type_: &str| {
        conditions
            .into_iter()
            .flatten()
            .find(|c| text(c, "type") == type_ && text(c, "status") == "True")
    };
    match (holds("Failed"), holds("Complete")) {
        (Some(failure), _) => Outcome::Failed(failure),
        (None, Some(_)) => Outcome::Complete,
        (None, None) => Outcome::Running,
    }
}

#[cfg(test)]
mod tests;
