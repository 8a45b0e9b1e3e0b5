//! PURE: conditions of the Config that report the DaemonSet `node-ca`.

use serde_json::Value;

use super::conditions::{ConditionUpdate, Status};
use crate::names;

/// Condition that reports failed passes of the controller; see [`super::conditions::LastingFailure`].
pub const CONTROLLER_DEGRADED: &str = "NodeCADaemonControllerDegraded";

/// Conditions `NodeCADaemonAvailable` and `NodeCADaemonProgressing` from the live DaemonSet. `None` means that the DaemonSet
/// does not exist; an error means that it could not be read.
pub fn judge(daemon_set: Result<Option<&Value>, &str>) -> [ConditionUpdate; 2] {
    let available =
        |status, reason, message: String| ConditionUpdate::new("NodeCADaemonAvailable", status, reason, message);
    let progressing =
        |status, reason, message: String| ConditionUpdate::new("NodeCADaemonProgressing", status, reason, message);
    let name = format!("DaemonSet {}/{}", names::NAMESPACE, names::NODE_CA);
    let daemon_set = match daemon_set {
        Ok(Some(daemon_set)) => daemon_set,
        Ok(None) => {
            let message = format!("{name} does not exist");
            return [
                available(Status::False, "NotFound", message.clone()),
                progressing(Status::True, "NotFound", message),
            ];
        }
        Err(cause) => {
            let message = format!("{name} cannot be read: {cause}");
            return [
                available(Status::Unknown, "Unknown", message.clone()),
                progressing(Status::Unknown, "Unknown", message),
            ];
        }
    };
    let number = |pointer: &str| daemon_set.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let available = if number("/status/numberAvailable") > 0 {
        available(Status::True, "AsExpected", format!("{name} has available pods"))
    } else {
        let message = format!("{name} has no available pod: check the events of its pods");
        available(Status::False, "NoAvailableReplicas", message)
    };
    // Until the DaemonSet controller has observed the latest spec, the numbers describe an older spec: a new DaemonSet would
    // look complete.
    let unobserved = number("/status/observedGeneration") < number("/metadata/generation");
    let updating = number("/status/updatedNumberScheduled") < number("/status/desiredNumberScheduled");
    let misplaced = number("/status/numberMisscheduled") > 0;
    let progressing = if unobserved || updating {
        progressing(
            Status::True,
            "Progressing",
            format!("{name} is rolling out: not every node runs an updated pod"),
        )
    } else if misplaced {
        progressing(
            Status::True,
            "Progressing",
            format!("{name} has pods on nodes where they must not run: these pods will be deleted"),
        )
    } else {
        progressing(Status::False, "AsExpected", format!("{name} is rolled out"))
    };
    [available, progressing]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `status/reason` of both conditions.
    fn shown(daemon_set: Result<Option<&Value>, &str>) -> [String; 2] {
        judge(daemon_set).map(|update| format!("{}/{}", update.status.text(), update.reason))
    }

    fn daemon_set(available: i64, updated: i64, desired: i64, misscheduled: i64) -> Value {
        json!({"metadata": {"generation": 2}, "status": {
            "observedGeneration": 2, "numberAvailable": available, "updatedNumberScheduled": updated,
            "desiredNumberScheduled": desired, "numberMisscheduled": misscheduled,
        }})
    }

    // lifecycle 87: the Config
    // lifecycle 90
    #[test]
    fn conditions_follow_the_numbers_of_the_daemon_set() {
        for (numbers, expected) in [
            ((3, 3, 3, 0), ["True/AsExpected", "False/AsExpected"]),
            ((1, 3, 3, 0), ["True/AsExpected", "False/AsExpected"]), // pods that only restart
            ((0, 3, 3, 0), ["False/NoAvailableReplicas", "False/AsExpected"]),
            ((3, 2, 3, 0), ["True/AsExpected", "True/Progressing"]),
            ((3, 3, 3, 1), ["True/AsExpected", "True/Progressing"]),
            ((0, 0, 0, 0), ["False/NoAvailableReplicas", "False/AsExpected"]), // no nodes
        ] {
            let live = daemon_set(numbers.0, numbers.1, numbers.2, numbers.3);
            assert_eq!(shown(Ok(Some(&live))), expected, "{numbers:?}");
        }
        assert_eq!(shown(Ok(None)), ["False/NotFound", "True/NotFound"]);
        assert_eq!(shown(Err("timeout")), ["Unknown/Unknown", "Unknown/Unknown"]);
        assert!(judge(Err("timeout"))[0].message.contains("timeout"));
    }

    #[test]
    fn while_the_daemon_set_starts_no_condition_returns_to_an_earlier_status() {
        let created = json!({"metadata": {"generation": 1}});
        let unobserved = json!({"metadata": {"generation": 1}, "status": {"desiredNumberScheduled": 0}});
        let scheduled = daemon_set(0, 0, 3, 0);
        let partial = daemon_set(1, 2, 3, 0);
        let complete = daemon_set(3, 3, 3, 0);
        let steps = [
            None,
            Some(&created),
            Some(&unobserved),
            Some(&scheduled),
            Some(&partial),
            Some(&complete),
        ];
        let mut seen = [Vec::new(), Vec::new()];
        for step in steps {
            for (history, condition_update) in seen.iter_mut().zip(judge(Ok(step))) {
                history.push(condition_update.status.text());
                history.dedup();
            }
        }
        assert_eq!(seen, [["False", "True"], ["True", "False"]]);
    }
}
