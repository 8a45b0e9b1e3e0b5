//! A registry that comes up.

use super::*;

/// What a Deployment's controller reports while a registry comes up, step by step.
fn bring_up() -> Vec<Value> {
    let mut fresh = deployment(0, 0, "");
    fresh.as_object_mut().unwrap().remove("status");
    let mut unseen = fresh.clone();
    unseen["status"] = json!({});
    let mut bare = deployment(0, 1, "NewReplicaSetCreated");
    bare["status"].as_object_mut().unwrap().remove("conditions");
    // The controller of an older spec was done; ours is new.
    let mut lagging = deployment(0, 1, "NewReplicaSetAvailable");
    lagging["status"]["observedGeneration"] = json!(2);
    vec![
        fresh,
        unseen,
        lagging,
        bare,
        deployment(0, 1, "NewReplicaSetCreated"),
        deployment(0, 2, "ReplicaSetUpdated"),
        deployment(1, 2, "ReplicaSetUpdated"),
        deployment(2, 2, "ReplicaSetUpdated"),
        deployment(2, 2, "NewReplicaSetAvailable"),
    ]
}

#[test]
fn while_a_registry_comes_up_no_condition_goes_back() {
    let steps = bring_up();
    let mut passes: Vec<(Option<&Value>, Option<Failing>, Option<String>)> = vec![
        (None, transient(), None),
        (None, None, Some("Secret x".to_owned())),
        (None, None, Some("ConfigMap y".to_owned())),
        (None, None, None),
    ];
    passes.extend(steps.iter().map(|d| (Some(d), None, None)));
    let mut stored: Vec<Condition> = Vec::new();
    let mut history: Vec<Vec<String>> = vec![Vec::new(); 4];
    for (number, (deployment, failing, waiting_for)) in passes.into_iter().enumerate() {
        let now = at(i64::try_from(number).unwrap() * 20);
        let ready = deployment.map_or(0, |d| Deployment(d).ready());
        let judged = judge(&Findings {
            deployment,
            failing,
            waiting_for,
            stored: &stored,
            now,
            ..findings()
        });
        assert!(
            judged.condition_updates[AVAILABLE].status == Status::False || ready > 0,
            "available without a ready pod"
        );
        assert_eq!(judged.ready_replicas, ready);
        stored = merge(&stored, &judged.condition_updates, now);
        for (seen, condition_update) in history.iter_mut().zip(&judged.condition_updates) {
            seen.push(condition_update.status.text().to_owned());
        }
    }
    for seen in &mut history {
        seen.dedup();
    }
    assert_eq!(
        history,
        [
            vec!["False", "True"],
            vec!["True", "False"],
            vec!["False"],
            vec!["False"]
        ]
    );
    assert_eq!(
        stored[REMOVED].last_transition_time.as_deref(),
        Some(at(0).to_string().as_str())
    );
}
