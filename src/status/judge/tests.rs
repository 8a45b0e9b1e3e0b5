use serde_json::json;

use super::*;
use crate::config::error_class::ErrorClass;
use crate::status::conditions::merge;

const AVAILABLE: usize = 0;
const PROGRESSING: usize = 1;
const DEGRADED: usize = 2;
const REMOVED: usize = 3;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn findings<'a>() -> Findings<'a> {
    Findings {
        state: ManagementState::Managed,
        deployment: None,
        not_running: None,
        routes: Vec::new(),
        failing: None,
        problems: Vec::new(),
        waiting_for: None,
        operation: None,
        preflight: None,
        removal: Removal::NotAsked,
        stored: &[],
        failing_since: None,
        now: at(0),
    }
}

/// A Deployment of generation 3 that its controller has seen; `reason` is that of its condition `Progressing`.
fn deployment(available: i64, replicas: i64, reason: &str) -> Value {
    let status = if reason == "ProgressDeadlineExceeded" {
        "False"
    } else {
        "True"
    };
    json!({
        "metadata": {"name": "image-registry", "generation": 3},
        "status": {
            "observedGeneration": 3, "replicas": replicas, "availableReplicas": available, "readyReplicas": available,
            "conditions": [
                {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
                {"type": "Progressing", "status": status, "reason": reason, "message": "ReplicaSet has timed out"},
            ],
        },
    })
}

fn ready() -> Value {
    deployment(2, 2, "NewReplicaSetAvailable")
}

#[allow(clippy::unnecessary_wraps)] // as the field that it fills
fn permanent(reason: Reason) -> Option<Failing> {
    Some(Failing {
        class: ErrorClass::Invalid(reason),
        message: "spec.x is wrong".to_owned(),
    })
}

#[allow(clippy::unnecessary_wraps)] // as the field that it fills
fn transient() -> Option<Failing> {
    Some(Failing::transient("Secret a/b is missing".to_owned()))
}

fn condition(type_: &str, status: &str, since: i64) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        last_transition_time: Some(at(since).to_string()),
        reason: Some("Old".to_owned()),
        message: None,
    }
}

fn shown(condition_update: &ConditionUpdate) -> String {
    format!("{}/{}", condition_update.status.text(), condition_update.reason)
}

/// `Available Progressing Degraded Removed` as `status/reason` each.
fn row(findings: &Findings<'_>) -> [String; 4] {
    let condition_updates = judge(findings).condition_updates;
    assert_eq!(
        condition_updates.iter().map(|v| v.type_).collect::<Vec<_>>(),
        ["Available", "Progressing", "Degraded", "Removed"]
    );
    [
        shown(&condition_updates[0]),
        shown(&condition_updates[1]),
        shown(&condition_updates[2]),
        shown(&condition_updates[3]),
    ]
}

#[test]
fn unmanaged_tells_fixed_values_whatever_there_is() {
    let gone = deployment(0, 1, "ReplicaSetUpdated");
    for deployment in [None, Some(&gone)] {
        for failing in [None, transient(), permanent(Reason::StorageConflict)] {
            let state = ManagementState::Unmanaged;
            let unmanaged = Findings {
                state,
                deployment,
                failing,
                ..findings()
            };
            assert_eq!(
                row(&unmanaged),
                ["True/Unmanaged", "False/Unmanaged", "False/Unmanaged", "False/"]
            );
            assert_eq!(judge(&unmanaged).recheck_after, None);
        }
    }
}

// lifecycle 73
#[test]
fn minimum_availability_is_available_and_not_progressing_once_rolled_out() {
    let some = deployment(2, 3, "NewReplicaSetAvailable");
    let judged = Findings {
        deployment: Some(&some),
        ..findings()
    };
    assert_eq!(
        row(&judged),
        ["True/MinimumAvailability", "False/Ready", "False/", "False/"]
    );
    assert_eq!(judge(&judged).ready_replicas, 2);
}

#[test]
fn all_pods_available_is_ready() {
    let ready = ready();
    assert_eq!(
        row(&Findings {
            deployment: Some(&ready),
            ..findings()
        }),
        ["True/Ready", "False/Ready", "False/", "False/"]
    );
}

// lifecycle 74
#[test]
fn a_rollout_under_way_is_progressing() {
    let rolling = deployment(1, 2, "ReplicaSetUpdated");
    let judged = Findings {
        deployment: Some(&rolling),
        ..findings()
    };
    assert_eq!(
        row(&judged),
        [
            "True/MinimumAvailability",
            "True/DeploymentNotCompleted",
            "False/",
            "False/"
        ]
    );
}

// lifecycle 75
#[test]
fn a_rollout_that_timed_out_is_degraded_while_a_pod_serves() {
    let stuck = deployment(1, 2, "ProgressDeadlineExceeded");
    let judged = Findings {
        deployment: Some(&stuck),
        ..findings()
    };
    assert_eq!(row(&judged)[PROGRESSING], "True/DeploymentNotCompleted");
    assert_eq!(row(&judged)[DEGRADED], "True/ProgressDeadlineExceeded");
    assert!(
        judge(&judged).condition_updates[DEGRADED]
            .message
            .contains("ReplicaSet has timed out")
    );
}

// lifecycle 76
// lifecycle 77: nothing but the stored condition carries the clock
#[test]
fn unavailable_for_more_than_five_minutes_is_degraded() {
    let none = deployment(0, 1, "ReplicaSetUpdated");
    for (since, expected) in [(-299, "False/"), (-300, "False/"), (-301, "True/Unavailable")] {
        let stored = [condition("Other", "True", -900), condition("Available", "False", since)];
        let judged = Findings {
            deployment: Some(&none),
            stored: &stored,
            ..findings()
        };
        assert_eq!(row(&judged)[AVAILABLE], "False/NoReplicasAvailable");
        assert_eq!(row(&judged)[DEGRADED], expected, "{since}");
    }
}

#[test]
fn the_clock_starts_anew_when_it_was_available_or_nothing_usable_is_stored() {
    let none = deployment(0, 1, "ReplicaSetUpdated");
    let mut timeless = condition("Available", "False", 0);
    timeless.last_transition_time = None;
    let mut garbled = condition("Available", "False", 0);
    garbled.last_transition_time = Some("yesterday".to_owned());
    for stored in [
        vec![],
        vec![condition("Available", "True", -900)],
        vec![timeless],
        vec![garbled],
    ] {
        let judged = Findings {
            deployment: Some(&none),
            stored: &stored,
            ..findings()
        };
        assert_eq!(row(&judged)[DEGRADED], "False/", "{stored:?}");
        assert_eq!(
            judge(&judged).recheck_after,
            Some(Duration::from_secs(301)),
            "{stored:?}"
        );
    }
}

// lifecycle 78: the pass that turns it is asked for at the mark
#[test]
fn the_mark_of_five_minutes_asks_for_a_pass() {
    let stored = [condition("Available", "False", -240)];
    let waiting = Findings {
        stored: &stored,
        ..findings()
    };
    let after = judge(&waiting).recheck_after.unwrap();
    assert_eq!(after, Duration::from_secs(61));
    let later = Findings { now: at(61), ..waiting };
    assert_eq!(row(&later)[DEGRADED], "True/Unavailable");
    assert_eq!(judge(&later).recheck_after, None);
}

// lifecycle 80
#[test]
fn a_deployment_that_is_being_deleted_is_neither_available_nor_done() {
    let mut deleted = ready();
    deleted["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:00Z");
    let judged = Findings {
        deployment: Some(&deleted),
        ..findings()
    };
    assert_eq!(
        row(&judged),
        [
            "False/DeploymentDeleted",
            "True/FinalizingDeployment",
            "False/",
            "False/"
        ]
    );
}

// lifecycle 81
#[test]
fn a_transient_error_without_deployment_is_progressing() {
    let judged = Findings {
        failing: transient(),
        ..findings()
    };
    assert_eq!(
        row(&judged),
        ["False/DeploymentNotFound", "True/Error", "False/", "False/"]
    );
    assert!(
        judge(&judged).condition_updates[PROGRESSING]
            .message
            .contains("Secret a/b is missing")
    );
}

#[test]
fn nothing_yet_waits_for_the_deployment_and_says_for_what() {
    let waiting_for = Some("Secret openshift-image-registry/image-registry-tls".to_owned());
    let judged = Findings {
        waiting_for,
        ..findings()
    };
    assert_eq!(
        row(&judged),
        [
            "False/DeploymentNotFound",
            "True/WaitingForDeployment",
            "False/",
            "False/"
        ]
    );
    assert!(
        judge(&judged).condition_updates[PROGRESSING]
            .message
            .contains("image-registry-tls")
    );
}

fn route(name: &str, ingress: &[(&str, &str)]) -> Value {
    let ingress: Vec<_> = ingress
        .iter()
        .map(|(router, admitted)| {
            json!({"host": format!("{name}.example.com"), "routerName": router, "conditions": [
                {"type": "Other", "status": "False"},
                {"type": "Admitted", "status": admitted, "reason": "HostAlreadyClaimed", "message": "claimed by x"},
            ]})
        })
        .collect();
    json!({"metadata": {"name": name}, "status": {"ingress": ingress}})
}

// lifecycle 82
#[test]
fn a_route_that_is_not_admitted_is_degraded_once_the_registry_is_rolled_out() {
    let refused = route(
        "public",
        &[("sharded", "False"), ("default", "True"), ("blue", "Unknown")],
    );
    let admitted = route("good", &[("default", "True")]);
    let fresh = json!({"metadata": {"name": "fresh"}});
    let unseen = json!({"metadata": {"name": "unseen"}, "status": {"ingress": [{"host": "h", "routerName": "r"}]}});
    let ready = ready();
    let judged = Findings {
        deployment: Some(&ready),
        routes: vec![&admitted, &refused, &fresh, &unseen],
        ..findings()
    };
    let degraded = &judge(&judged).condition_updates[DEGRADED];
    assert_eq!(shown(degraded), "True/RouteDegraded");
    assert_eq!(
        degraded.message,
        "route public (host public.example.com, router blue) is not admitted: claimed by x, \
         route public (host public.example.com, router sharded) is not admitted: claimed by x"
    );
    let rolling = deployment(1, 2, "ReplicaSetUpdated");
    assert_eq!(
        row(&Findings {
            deployment: Some(&rolling),
            ..judged.clone()
        })[DEGRADED],
        "False/"
    );
    assert_eq!(
        row(&Findings {
            routes: vec![&admitted, &fresh, &unseen],
            ..judged
        })[DEGRADED],
        "False/"
    );
}

// A Gateway that does not know the policy would send logins in clear for as long as nobody says so.
#[test]
fn a_gateway_that_says_nothing_about_tls_to_the_registry_is_degraded_after_a_minute() {
    let accepted = json!([{"type": "Accepted", "status": "True", "lastTransitionTime": at(940).to_string()}]);
    let parent = json!({"controllerName": "harbour.test/c", "parentRef": {"namespace": "edge", "name": "outer"},
        "conditions": accepted});
    let route = json!({"kind": "HTTPRoute", "metadata": {"name": "blue"}, "status": {"parents": [parent]}});
    let policy = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
        "metadata": {"name": "image-registry", "creationTimestamp": at(930).to_string()}});
    let ready = ready();
    let judged = |now: i64| {
        judge(&Findings {
            deployment: Some(&ready),
            routes: vec![&route, &policy],
            now: at(now),
            ..findings()
        })
    };
    let before = judged(990);
    assert_eq!(shown(&before.condition_updates[DEGRADED]), "False/");
    assert_eq!(before.recheck_after, Some(Duration::from_secs(10)));
    let after = judged(1000);
    let degraded = &after.condition_updates[DEGRADED];
    assert_eq!(shown(degraded), "True/RouteDegraded");
    assert!(degraded.message.contains("in clear text"), "{}", degraded.message);
    assert_eq!(after.recheck_after, None);
}

// lifecycle 83
#[test]
fn pods_that_move_are_no_rollout() {
    for (available, replicas, expected) in [(1, 2, "True/MinimumAvailability"), (0, 2, "False/NoReplicasAvailable")] {
        let moving = deployment(available, replicas, "NewReplicaSetAvailable");
        let judged = row(&Findings {
            deployment: Some(&moving),
            ..findings()
        });
        assert_eq!(judged[AVAILABLE], expected);
        assert_eq!(judged[PROGRESSING], "False/Ready");
    }
}

// lifecycle 84
#[test]
fn no_replicas_wanted_is_not_available() {
    let none = deployment(0, 0, "NewReplicaSetAvailable");
    assert_eq!(
        row(&Findings {
            deployment: Some(&none),
            ..findings()
        })[AVAILABLE],
        "False/NoReplicasAvailable"
    );
}

// lifecycle 86
#[test]
fn a_spec_that_its_controller_has_not_seen_is_not_complete() {
    let mut updated = ready();
    updated["metadata"]["generation"] = json!(4);
    let judged = row(&Findings {
        deployment: Some(&updated),
        ..findings()
    });
    assert_eq!(
        judged,
        ["True/Ready", "True/DeploymentNotCompleted", "False/", "False/"]
    );
}

// lifecycle 54
// workload 109
#[test]
fn force_and_no_state_are_managed() {
    for (state, expected) in [
        (None, ManagementState::Managed),
        (Some("Force"), ManagementState::Managed),
        (Some("Managed"), ManagementState::Managed),
        (Some("Unmanaged"), ManagementState::Unmanaged),
        (Some("Removed"), ManagementState::Removed),
    ] {
        let mut config = crate::api::Config::new("cluster", crate::api::ConfigSpec::default());
        config.spec.management_state = state.map(str::to_owned);
        assert_eq!(ManagementState::of(&config), expected);
    }
}

mod bring_up;
mod fault;
mod operation;
mod preflight;
mod removal;
