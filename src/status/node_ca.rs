//! PURE: what the DaemonSet `node-ca` says of itself, as conditions of the Config.

use serde_json::Value;

use super::conditions::{Status, Verdict};
use crate::names;

/// Condition of the loop itself; see [`super::conditions::Streak`].
pub const CONTROLLER_DEGRADED: &str = "NodeCADaemonControllerDegraded";

/// Judges the DaemonSet as it was found; an error means that it could not be read.
pub fn judge(daemon_set: Result<Option<&Value>, &str>) -> [Verdict; 2] {
    let available = |status, reason, message: String| Verdict::new("NodeCADaemonAvailable", status, reason, message);
    let progressing =
        |status, reason, message: String| Verdict::new("NodeCADaemonProgressing", status, reason, message);
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
    let first = if number("/status/numberAvailable") > 0 {
        available(Status::True, "AsExpected", format!("{name} serves nodes"))
    } else {
        let message = format!("{name} has no available pod; its pods' events say why");
        available(Status::False, "NoAvailableReplicas", message)
    };
    // Numbers of a spec that its controller has not seen yet say nothing: a fresh DaemonSet would seem done.
    let unseen = number("/status/observedGeneration") < number("/metadata/generation");
    let updating = number("/status/updatedNumberScheduled") < number("/status/desiredNumberScheduled");
    let misplaced = number("/status/numberMisscheduled") > 0;
    let second = if unseen || updating {
        progressing(
            Status::True,
            "Progressing",
            format!("{name} is rolling out, not every node has its newest pod"),
        )
    } else if misplaced {
        progressing(
            Status::True,
            "Progressing",
            format!("{name} runs on nodes that it does not belong to, these pods go"),
        )
    } else {
        progressing(Status::False, "AsExpected", format!("{name} is rolled out"))
    };
    [first, second]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(daemon_set: Result<Option<&Value>, &str>) -> [String; 2] {
        judge(daemon_set).map(|v| format!("{}/{}", v.status.text(), v.reason))
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
    fn every_row_of_the_table() {
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
    fn while_it_comes_up_no_condition_goes_back() {
        let fresh = json!({"metadata": {"generation": 1}});
        let unseen = json!({"metadata": {"generation": 1}, "status": {"desiredNumberScheduled": 0}});
        let counted = daemon_set(0, 0, 3, 0);
        let some = daemon_set(1, 2, 3, 0);
        let all = daemon_set(3, 3, 3, 0);
        let steps = [
            None,
            Some(&fresh),
            Some(&unseen),
            Some(&counted),
            Some(&some),
            Some(&all),
        ];
        let mut seen = [Vec::new(), Vec::new()];
        for step in steps {
            for (history, verdict) in seen.iter_mut().zip(judge(Ok(step))) {
                history.push(verdict.status.text());
                history.dedup();
            }
        }
        assert_eq!(seen, [["False", "True"], ["True", "False"]]);
    }
}
