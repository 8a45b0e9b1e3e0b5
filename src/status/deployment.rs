//! Reads the status of a Deployment. An absent number counts as zero; a field of the wrong type counts as absent.

use serde_json::Value;

/// Read-only view of a live Deployment.
#[derive(Clone, Copy, Debug)]
pub struct Deployment<'a>(pub &'a Value);

impl<'a> Deployment<'a> {
    fn number(self, pointer: &str) -> i64 {
        self.0.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
    }

    /// `status.replicas`.
    pub fn replicas(self) -> i64 {
        self.number("/status/replicas")
    }

    /// `status.updatedReplicas`.
    pub fn updated(self) -> i64 {
        self.number("/status/updatedReplicas")
    }

    /// `status.availableReplicas`.
    pub fn available(self) -> i64 {
        self.number("/status/availableReplicas")
    }

    /// `status.readyReplicas`.
    pub fn ready(self) -> i32 {
        i32::try_from(self.number("/status/readyReplicas")).unwrap_or(i32::MAX)
    }

    /// Whether the Deployment is being deleted.
    pub fn deleting(self) -> bool {
        self.0
            .pointer("/metadata/deletionTimestamp")
            .is_some_and(|t| !t.is_null())
    }

    /// Whether the Deployment controller has observed the latest spec. Until then, `status` describes an older spec.
    pub fn observed(self) -> bool {
        self.number("/status/observedGeneration") >= self.number("/metadata/generation")
    }

    /// Whether the latest spec is rolled out. Only the condition `Progressing` counts, not the numbers of replicas: rescheduled
    /// pods, such as after a reboot of a node, are not a rollout.
    pub fn complete(self) -> bool {
        let done = |c: &Value| text(c, "status") == "True" && text(c, "reason") == "NewReplicaSetAvailable";
        self.observed() && self.progressing().is_some_and(done)
    }

    /// Message of the Deployment controller if the rollout exceeded its progress deadline.
    pub fn timed_out(self) -> Option<&'a str> {
        let condition = self
            .progressing()
            .filter(|c| text(c, "reason") == "ProgressDeadlineExceeded")?;
        Some(text(condition, "message"))
    }

    /// Value of the annotation; empty if absent.
    pub fn annotation(self, name: &str) -> &'a str {
        self.0
            .pointer("/metadata/annotations")
            .map_or("", |annotations| text(annotations, name))
    }

    fn progressing(self) -> Option<&'a Value> {
        let conditions = self.0.pointer("/status/conditions").and_then(Value::as_array)?;
        conditions.iter().find(|c| text(c, "type") == "Progressing")
    }
}

/// String field of an object; empty if the field is absent or not a string.
pub fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object.get(member).and_then(Value::as_str).unwrap_or_default()
}
