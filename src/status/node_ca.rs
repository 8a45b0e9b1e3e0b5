//! PURE: conditions of the Config that report the DaemonSet `node-ca`.

use serde_json::Value;

use super::conditions::{ConditionUpdate, Status};
use crate::names;

/// Condition that reports failed passes of the controller; see [`super::conditions::LastingFailure`].
pub const CONTROLLER_DEGRADED: &str = "NodeCADaemonControllerDegraded";

/// Type of the condition that reports whether a rollout of node-ca is under way.
pub const PROGRESSING: &str = "NodeCADaemonProgressing";

/// Conditions `NodeCADaemonAvailable` and `NodeCADaemonProgressing` from the live DaemonSet. `None` means that the DaemonSet
/// does not exist; an error means that it could not be read. `progressing`: whether `NodeCADaemonProgressing` is True now.
///
/// `Progressing` tells of a rollout, not of nodes that join or of pods that restart (lifecycle 7.4, 90). A rollout that
/// began ends only when a pod is available, so that the two conditions do not contradict each other on a new cluster.
pub fn judge(daemon_set: Result<Option<&Value>, &str>, progressing: bool) -> [ConditionUpdate; 2] {
    let available =
        |status, reason, message: String| ConditionUpdate::new("NodeCADaemonAvailable", status, reason, message);
    let rollout = |status, reason, message: String| ConditionUpdate::new(PROGRESSING, status, reason, message);
    let name = format!("DaemonSet {}/{}", names::NAMESPACE, names::NODE_CA);
    let daemon_set = match daemon_set {
        Ok(Some(daemon_set)) => daemon_set,
        Ok(None) => {
            let message = format!("{name} does not exist");
            return [
                available(Status::False, "NotFound", message.clone()),
                rollout(Status::True, "NotFound", message),
            ];
        }
        Err(cause) => {
            let message = format!("{name} cannot be read: {cause}");
            return [
                available(Status::Unknown, "Unknown", message.clone()),
                rollout(Status::Unknown, "Unknown", message),
            ];
        }
    };
    let number = |pointer: &str| daemon_set.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let pods = number("/status/numberAvailable");
    let available = if pods > 0 {
        available(Status::True, "AsExpected", format!("{name} has available pods"))
    } else {
        let message = format!("{name} has no available pod: check the events of its pods");
        available(Status::False, "NoAvailableReplicas", message)
    };
    // Until the DaemonSet controller has observed the latest spec, the numbers describe an older spec: a new DaemonSet would
    // look complete.
    let unobserved = number("/status/observedGeneration") < number("/metadata/generation");
    let outdated = number("/status/updatedNumberScheduled") < number("/status/currentNumberScheduled");
    let misplaced = number("/status/numberMisscheduled") > 0;
    let wanted = number("/status/desiredNumberScheduled");
    let starts = progressing && pods == 0 && wanted > 0;
    let (status, reason, message) = if unobserved || outdated {
        (
            Status::True,
            "Progressing",
            "is rolling out: not every pod has the new template",
        )
    } else if misplaced {
        let message = "has pods on nodes where they must not run: these pods will be deleted";
        (Status::True, "Progressing", message)
    } else if starts {
        (Status::True, "Progressing", "is rolling out: no pod is available yet")
    } else if pods > 0 && pods >= wanted {
        (Status::False, "AsExpected", "is rolled out")
    } else {
        let message = "has no pod with an old template; pods on some nodes are missing or not available";
        (Status::False, "AsExpected", message)
    };
    [available, rollout(status, reason, format!("{name} {message}"))]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `status/reason` of both conditions.
    fn shown(daemon_set: Result<Option<&Value>, &str>, progressing: bool) -> [String; 2] {
        judge(daemon_set, progressing).map(|update| format!("{}/{}", update.status.text(), update.reason))
    }

    /// Numbers of pods: available, current, updated, desired, misscheduled.
    fn daemon_set([available, current, updated, desired, misscheduled]: [i64; 5]) -> Value {
        json!({"metadata": {"generation": 2}, "status": {
            "observedGeneration": 2, "numberAvailable": available, "currentNumberScheduled": current,
            "updatedNumberScheduled": updated, "desiredNumberScheduled": desired, "numberMisscheduled": misscheduled,
        }})
    }

    const UP: &str = "True/AsExpected";
    const DOWN: &str = "False/NoAvailableReplicas";

    // lifecycle 87: the Config
    // lifecycle 90
    #[test]
    fn conditions_follow_the_numbers_of_the_daemon_set() {
        let (rolls, rests) = ("True/Progressing", "False/AsExpected");
        for (numbers, expected, why) in [
            ([3, 3, 3, 3, 0], [UP, rests], "complete"),
            ([3, 3, 3, 4, 0], [UP, rests], "a node joins"),
            ([3, 4, 4, 4, 0], [UP, rests], "its pod starts"),
            ([3, 3, 3, 9, 0], [UP, rests], "autoscaling"),
            ([2, 2, 2, 3, 0], [UP, rests], "a node lost its pod"),
            ([3, 3, 3, 2, 0], [UP, rests], "a node leaves"),
            ([1, 3, 3, 3, 0], [UP, rests], "pods that only restart"),
            ([0, 3, 3, 3, 0], [DOWN, rests], "all pods restart"),
            ([0, 0, 0, 1, 0], [DOWN, rests], "the only pod was deleted"),
            ([3, 3, 2, 3, 0], [UP, rolls], "an old pod is left"),
            ([3, 4, 3, 4, 0], [UP, rolls], "old pods are left after an edit"),
            ([3, 4, 3, 9, 0], [UP, rolls], "a rollout during autoscaling"),
            ([3, 3, 0, 3, 0], [UP, rolls], "a rollout begins"),
            ([0, 3, 1, 3, 0], [DOWN, rolls], "a rollout with no available pod"),
            ([3, 3, 3, 3, 1], [UP, rolls], "a pod where it must not run"),
            ([0, 0, 0, 0, 0], [DOWN, rests], "no nodes"),
        ] {
            assert_eq!(shown(Ok(Some(&daemon_set(numbers))), false), expected, "{why}");
        }
        assert_eq!(shown(Ok(None), false), ["False/NotFound", "True/NotFound"]);
        assert_eq!(shown(Err("timeout"), true), ["Unknown/Unknown", "Unknown/Unknown"]);
        assert!(judge(Err("timeout"), false)[0].message.contains("timeout"));
    }

    // lifecycle 90
    #[test]
    fn a_rollout_that_began_ends_with_the_first_available_pod_and_a_node_that_joins_does_not_prolong_it() {
        for (numbers, expected) in [
            ([0, 3, 3, 3, 0], "True/Progressing"),
            ([0, 0, 0, 3, 0], "True/Progressing"),
            ([1, 3, 3, 3, 0], "False/AsExpected"),
            ([3, 3, 3, 4, 0], "False/AsExpected"),
            ([0, 0, 0, 0, 0], "False/AsExpected"), // no nodes: nothing to wait for
        ] {
            assert_eq!(shown(Ok(Some(&daemon_set(numbers))), true)[1], expected, "{numbers:?}");
        }
    }

    // issue 10, row 20
    #[test]
    fn only_a_daemon_set_whose_pods_are_available_is_rolled_out() {
        for (numbers, rolled_out) in [
            ([3, 3, 3, 3, 0], true),
            ([3, 3, 3, 2, 0], true),
            ([0, 3, 3, 3, 0], false),
            ([1, 3, 3, 3, 0], false),
            ([3, 3, 3, 4, 0], false),
            ([0, 0, 0, 0, 0], false),
            ([3, 3, 2, 3, 0], false),
        ] {
            for progressing in [true, false] {
                let message = &judge(Ok(Some(&daemon_set(numbers))), progressing)[1].message;
                assert_eq!(message.contains("is rolled out"), rolled_out, "{numbers:?}: {message}");
            }
        }
    }

    // issue 10, row 20
    #[test]
    fn while_the_daemon_set_starts_no_condition_returns_to_an_earlier_status() {
        let created = json!({"metadata": {"generation": 1}});
        let unobserved = json!({"metadata": {"generation": 1}, "status": {"desiredNumberScheduled": 0}});
        let numbers = [[0, 0, 0, 3, 0], [0, 3, 3, 3, 0], [1, 2, 2, 3, 0], [3, 3, 3, 3, 0]];
        let later = numbers.map(daemon_set);
        let steps = [None, Some(&created), Some(&unobserved)]
            .into_iter()
            .chain(later.iter().map(Some));
        let mut seen = [Vec::new(), Vec::new()];
        let mut progressing = false;
        for step in steps {
            let both = judge(Ok(step), progressing);
            progressing = both[1].status == Status::True;
            assert!(
                both[0].status == Status::True || progressing,
                "nothing runs, so it starts: {step:?}"
            );
            for (history, condition_update) in seen.iter_mut().zip(both) {
                history.push(condition_update.status.text());
                history.dedup();
            }
        }
        assert_eq!(seen, [["False", "True"], ["True", "False"]]);
    }
}
