//! PURE: what a Job came to. Source: Kubernetes, batch/v1.

use serde_json::Value;

use super::deployment::text;

/// State of a Job.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// It has no final condition.
    Running,
    /// It did what it is for.
    Complete,
    /// With the condition `Failed` of the Job.
    Failed(&'a Value),
}

/// State of this Job.
pub fn outcome(job: &Value) -> Outcome<'_> {
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
