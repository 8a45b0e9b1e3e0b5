//! PURE: conditions of the Config that report the DaemonSet `node-ca`.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::conditions::{ConditionUpdate, Status};
use crate::api::Kind;
use crate::config::snapshot::Objects;
use crate::names;

/// Condition that reports failed passes of the controller; see [`super::conditions::LastingFailure`].
pub const CONTROLLER_DEGRADED: &str = "NodeCADaemonControllerDegraded";

/// Type of the condition that reports whether a rollout of node-ca is under way.
pub const PROGRESSING: &str = "NodeCADaemonProgressing";

/// How long the first container of a pod may run before its node counts as one without a directory for containerd. It looks at
/// the directory and ends at once.
const LOOKS: SignedDuration = SignedDuration::from_secs(10);
/// How many nodes a message names.
const NAMED: usize = 5;

/// Nodes on which node-ca waits for the directory of containerd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Their names, sorted.
    pub nodes: Vec<String>,
    /// When to look again, because a pod may turn out to wait.
    pub again: Option<SignedDuration>,
}

impl Waiting {
    /// The pods of node-ca whose first container does not end.
    pub fn of(objects: &Objects, now: Timestamp) -> Self {
        let mut waiting = Self::default();
        for (_, pod) in objects.of(Kind::Pod) {
            let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
            if text("/metadata/labels/name") != Some(names::NODE_CA) || text("/metadata/deletionTimestamp").is_some() {
                continue;
            }
            let since = text("/status/initContainerStatuses/0/state/running/startedAt");
            let (Some(node), Some(since)) = (text("/spec/nodeName"), since.and_then(|t| t.parse().ok())) else {
                continue;
            };
            let left = LOOKS - now.duration_since(since);
            if left.is_positive() {
                waiting.again = Some(waiting.again.map_or(left, |again| again.min(left)));
            } else {
                waiting.nodes.push(node.to_owned());
            }
        }
        waiting.nodes.sort();
        waiting
    }

    /// What to do about it, for the message of a condition; `None` if there is nothing to do.
    fn remedy(&self) -> Option<String> {
        let named = self.nodes.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>();
        let more = match self.nodes.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!named.is_empty()).then(|| {
            format!(
                "without {} of containerd, or with an empty one, node-ca waits, and the node trusts no CA of it: {}{more}. If \
                 containerd runs there, create {hosts} and set config_path = \"{hosts}\" in its configuration; otherwise set NODE_CA",
                names::CONTAINERD_DIRECTORY,
                named.join(", "),
                hosts = names::CONTAINERD_HOSTS,
            )
        })
    }
}

/// Conditions without node-ca.
pub fn off() -> [ConditionUpdate; 2] {
    let message = || "NODE_CA=off: there is no node-ca, and nodes get no CA from the operator".to_owned();
    [
        ConditionUpdate::new("NodeCADaemonAvailable", Status::True, "AsExpected", message()),
        ConditionUpdate::new(PROGRESSING, Status::False, "AsExpected", message()),
    ]
}

/// Conditions `NodeCADaemonAvailable` and `NodeCADaemonProgressing` from the live DaemonSet. `None` means that the DaemonSet
/// does not exist; an error means that it could not be read. `progressing`: whether `NodeCADaemonProgressing` is True now.
/// `waiting`: the message names these nodes.
///
/// `Progressing` tells of a rollout, not of nodes that join or of pods that restart. A rollout that
/// began ends only when a pod is available, so that the two conditions do not contradict each other on a new cluster.
pub fn judge(daemon_set: Result<Option<&Value>, &str>, progressing: bool, waiting: &Waiting) -> [ConditionUpdate; 2] {
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
    let available = availability(&name, pods, waiting);
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

fn availability(name: &str, pods: i64, waiting: &Waiting) -> ConditionUpdate {
    let (status, reason, message) = if pods > 0 {
        let but = waiting.remedy().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        (Status::True, "AsExpected", format!("{name} has available pods{but}"))
    } else {
        let cause = waiting
            .remedy()
            .unwrap_or_else(|| "check the events of its pods".to_owned());
        let message = format!("{name} has no available pod: {cause}");
        (Status::False, "NoAvailableReplicas", message)
    };
    ConditionUpdate::new("NodeCADaemonAvailable", status, reason, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `status/reason` of both conditions.
    fn shown(daemon_set: Result<Option<&Value>, &str>, progressing: bool) -> [String; 2] {
        judge(daemon_set, progressing, &Waiting::default())
            .map(|update| format!("{}/{}", update.status.text(), update.reason))
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
        assert!(
            judge(Err("timeout"), false, &Waiting::default())[0]
                .message
                .contains("timeout")
        );
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
                let message = &judge(Ok(Some(&daemon_set(numbers))), progressing, &Waiting::default())[1].message;
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
            let both = judge(Ok(step), progressing, &Waiting::default());
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

    // kubernetes, section 3: a node without a directory for containerd
    #[test]
    fn the_message_names_nodes_whose_pods_still_wait_for_the_directory_of_containerd() {
        let now: Timestamp = "2031-05-06T07:08:09Z".parse().unwrap();
        let pod = |node: &str, label: &str, deleted: bool, seconds: i64| {
            let since = now - SignedDuration::from_secs(seconds);
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": node},
                "metadata": {"name": format!("p-{node}"), "namespace": names::NAMESPACE, "labels": {"name": label}},
                "status": {"phase": "Pending", "initContainerStatuses": [{"name": "containerd", "state": {"running": {"startedAt": since.to_string()}}}]}});
            if deleted {
                pod["metadata"]["deletionTimestamp"] = json!(now.to_string());
            }
            pod
        };
        let of = |pods: Vec<Value>| Waiting::of(&Objects::from_values(pods).unwrap(), now);
        let mut pods = vec![pod("z", "node-ca", false, 10), pod("a", "node-ca", false, 999)];
        pods.extend([
            pod("soon", "node-ca", false, 7),
            pod("gone", "node-ca", true, 99),
            pod("other", "x", false, 99),
        ]);
        let mut done = pod("done", "node-ca", false, 99);
        done["status"]["initContainerStatuses"][0]["state"] = json!({"terminated": {"exitCode": 0}});
        pods.push(done);
        let waiting = of(pods);
        assert_eq!(waiting.nodes, ["a", "z"]);
        assert_eq!(waiting.again, Some(SignedDuration::from_secs(3)));
        let message = |waiting: &Waiting, numbers| judge(Ok(Some(&daemon_set(numbers))), false, waiting)[0].clone();
        let some = message(&waiting, [1, 3, 3, 3, 0]);
        assert_eq!((some.status, some.reason.as_str()), (Status::True, "AsExpected"));
        for words in [
            "/etc/containerd",
            ": a, z. ",
            "config_path = \"/etc/containerd/certs.d\"",
        ] {
            assert!(some.message.contains(words), "{}", some.message);
        }
        let none = message(&waiting, [0, 3, 3, 3, 0]);
        assert_eq!(none.reason, "NoAvailableReplicas");
        assert!(none.message.contains(": a, z. "), "{}", none.message);
        let many = of((0..7).map(|n| pod(&format!("n{n}"), "node-ca", false, 60)).collect());
        let text = message(&many, [1, 7, 7, 7, 0]).message;
        assert!(text.contains(": n0, n1, n2, n3, n4 and 2 more. "), "{text}");
        assert!(
            !message(&Waiting::default(), [1, 3, 3, 3, 0])
                .message
                .contains("containerd")
        );
    }
}
