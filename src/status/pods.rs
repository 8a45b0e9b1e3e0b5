//! PURE: why the registry's pods do not run, as far as the pods themselves say.

use serde_json::Value;

use super::deployment::text;
use crate::api::ObjectRef;

/// Why the first of these pods does not run: a clause for the message of a condition. `None` if no pod says why; its events may.
pub fn why_not_running<'a>(pods: impl Iterator<Item = (&'a ObjectRef, &'a Value)>) -> Option<String> {
    let mut causes: Vec<String> = pods
        .filter_map(|(reference, pod)| Some(format!("Pod {} {}", reference.name, cause(pod)?)))
        .collect();
    causes.sort();
    causes.into_iter().next()
}

fn cause(pod: &Value) -> Option<String> {
    let first = |list: &str| pod.pointer(list)?.as_array()?.first();
    if let Some(condition) = first("/status/conditions") {
        return Some(format!("has no node: {}", text(condition, "message")));
    }
    let waiting = first("/status/containerStatuses")?.pointer("/state/waiting")?;
    let node = pod
        .pointer("/spec/nodeName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Some(match (text(waiting, "reason"), text(waiting, "message")) {
        ("ContainerCreating", _) => {
            format!("waits on node {node} for its volumes or its image; the events of the pod say which")
        }
        // Its message counts up.
        ("CrashLoopBackOff", _) => "ends again and again; its log says why".to_owned(),
        (reason, "") => format!("waits on node {node}: {reason}"),
        (reason, message) => format!("waits on node {node}: {reason}: {message}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Kind;
    use crate::config::trim::trim;

    fn why(statuses: &[(&str, Value)]) -> Option<String> {
        let pods: Vec<_> = statuses
            .iter()
            .map(|(name, status)| {
                let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": "worker"}, "status": status});
                (ObjectRef::new(Kind::Pod, "ns", name), trim(Kind::Pod, pod))
            })
            .collect();
        why_not_running(pods.iter().map(|(reference, pod)| (reference, pod)))
    }

    fn waits(reason: &str, message: &str) -> Value {
        let ready = json!({"name": "sidecar", "state": {"running": {}}});
        json!({"phase": "Pending", "containerStatuses": [ready, {"name": "registry",
            "state": {"waiting": {"reason": reason, "message": message}}}]})
    }

    #[test]
    fn the_first_pod_that_says_why_it_does_not_run_is_told() {
        let unscheduled = json!({"phase": "Pending", "conditions": [{"type": "Ready", "status": "False", "message": "x"},
            {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]});
        let runs = json!({"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{"name": "registry", "state": {"running": {"startedAt": "now"}}}]});
        assert_eq!(why(&[]), None);
        assert_eq!(why(&[("a", runs.clone()), ("b", json!({"phase": "Pending"}))]), None);
        for (status, expected) in [
            (unscheduled.clone(), "Pod b has no node: 0/3 nodes are available"),
            (
                waits("ContainerCreating", ""),
                "Pod b waits on node worker for its volumes or its image; the events of the pod say which",
            ),
            (
                waits("ImagePullBackOff", "no such image"),
                "Pod b waits on node worker: ImagePullBackOff: no such image",
            ),
            (
                waits("CreateContainerError", ""),
                "Pod b waits on node worker: CreateContainerError",
            ),
            (
                waits("CrashLoopBackOff", "back-off 10s"),
                "Pod b ends again and again; its log says why",
            ),
        ] {
            let pods = [("c", unscheduled.clone()), ("b", status), ("a", runs.clone())];
            assert_eq!(why(&pods).as_deref(), Some(expected));
        }
    }
}
