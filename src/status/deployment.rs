//! What a Deployment says of itself, read tolerantly: absent is zero, anything of another shape is absent.

use serde_json::Value;

/// Reading view of a Deployment as the API server stores it.
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

    /// Whether its controller has looked at the newest spec; what `status` says is of an older one until then.
    pub fn observed(self) -> bool {
        self.number("/status/observedGeneration") >= self.number("/metadata/generation")
    }

    /// Whether the newest spec is rolled out. Only the condition counts, not the numbers: pods that move (a node that
    /// reboots) do not make a rollout.
    pub fn complete(self) -> bool {
        let done = |c: &Value| text(c, "status") == "True" && text(c, "reason") == "NewReplicaSetAvailable";
        self.observed() && self.progressing().is_some_and(done)
    }

    /// What the Deployment's controller said when it gave up waiting for the rollout.
    pub fn timed_out(self) -> Option<&'a str> {
        let condition = self
            .progressing()
            .filter(|c| text(c, "reason") == "ProgressDeadlineExceeded")?;
        Some(text(condition, "message"))
    }

    /// The annotation of that name; empty where there is none.
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

/// Text member of an object; empty where it is absent or no text.
pub fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object.get(member).and_then(Value::as_str).unwrap_or_default()
}
