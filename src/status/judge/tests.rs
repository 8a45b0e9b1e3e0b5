use serde_json::json;

use super::*;
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
        routes: Vec::new(),
        failing: None,
        problems: Vec::new(),
        waiting_for: None,
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

fn permanent(reason: Reason) -> Option<Failing> {
    Some(Failing::Permanent {
        reason,
        message: "spec.x is wrong".to_owned(),
    })
}

fn transient() -> Option<Failing> {
    Some(Failing::Transient {
        message: "Secret a/b is missing".to_owned(),
    })
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

fn shown(verdict: &Verdict) -> String {
    format!("{}/{}", verdict.status.text(), verdict.reason)
}

/// `Available Progressing Degraded Removed` as `status/reason` each.
fn row(findings: &Findings<'_>) -> [String; 4] {
    let verdicts = judge(findings).verdicts;
    assert_eq!(
        verdicts.iter().map(|v| v.type_).collect::<Vec<_>>(),
        ["Available", "Progressing", "Degraded", "Removed"]
    );
    [
        shown(&verdicts[0]),
        shown(&verdicts[1]),
        shown(&verdicts[2]),
        shown(&verdicts[3]),
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
        judge(&judged).verdicts[DEGRADED]
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
        judge(&judged).verdicts[PROGRESSING]
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
        judge(&judged).verdicts[PROGRESSING]
            .message
            .contains("image-registry-tls")
    );
}

// lifecycle 40: the conditions of a rejected Config
#[test]
fn permanent_errors_are_degraded_at_once_and_do_not_progress() {
    for reason in [
        Reason::VerificationFailed,
        Reason::StorageNotConfigured,
        Reason::StorageConflict,
        Reason::InvalidRequestsLimits,
        Reason::InvalidTlsConfig,
        Reason::InvalidOverrides,
        Reason::InvalidDuration,
        Reason::InvalidConfig,
    ] {
        let failing = permanent(reason);
        let bad = Findings {
            failing: failing.clone(),
            ..findings()
        };
        let expected = [
            format!("False/{}", reason.text()),
            "False/Error".into(),
            format!("True/{}", reason.text()),
        ];
        assert_eq!(row(&bad)[..3], expected);
        assert_eq!(judge(&bad).recheck_after, None);
        for verdict in &judge(&bad).verdicts[..3] {
            assert!(verdict.message.contains("spec.x is wrong"), "{verdict:?}");
        }
        let ready = ready();
        let serving = Findings {
            deployment: Some(&ready),
            failing,
            ..findings()
        };
        assert_eq!(row(&serving)[..2], ["True/Ready", "False/Error"]);
        assert_eq!(row(&serving)[DEGRADED], format!("True/{}", reason.text()));
    }
}

// lifecycle 56: first without, then with storage
#[test]
fn storage_not_configured_recovers_with_the_edit() {
    let failing = permanent(Reason::StorageNotConfigured);
    let bad = row(&Findings { failing, ..findings() });
    assert_eq!(
        bad,
        [
            "False/StorageNotConfigured",
            "False/Error",
            "True/StorageNotConfigured",
            "False/"
        ]
    );
    assert_eq!(
        row(&findings()),
        [
            "False/DeploymentNotFound",
            "True/WaitingForDeployment",
            "False/",
            "False/"
        ]
    );
}

// workload 69: the condition that reports a conflicting Route
#[test]
fn with_a_fault_that_did_not_stop_the_pass_progressing_follows_the_deployment() {
    let ready = ready();
    let rolling = deployment(1, 2, "ReplicaSetUpdated");
    for reason in [Reason::RouteConflict, Reason::PvcIncompatible] {
        let text = reason.text();
        let problems = vec![Rejection::new(reason, "spec.x is wrong")];
        // Told as a problem or as the pass's error: the same.
        for (problems, failing) in [(problems, None), (Vec::new(), permanent(reason))] {
            let done = Findings {
                deployment: Some(&ready),
                problems,
                failing,
                ..findings()
            };
            assert_eq!(
                row(&done),
                ["True/Ready", "False/Ready", &format!("True/{text}"), "False/"]
            );
            let going = Findings {
                deployment: Some(&rolling),
                ..done.clone()
            };
            assert_eq!(row(&going)[PROGRESSING], "True/DeploymentNotCompleted");
            let absent = row(&Findings {
                deployment: None,
                ..done
            });
            assert_eq!(absent[PROGRESSING], "True/WaitingForDeployment");
            let unfit = reason == Reason::PvcIncompatible;
            assert_eq!(
                absent[AVAILABLE],
                if unfit {
                    "False/PVCIncompatible"
                } else {
                    "False/DeploymentNotFound"
                }
            );
        }
    }
}

#[test]
fn several_faults_are_all_named_and_the_one_that_stopped_the_pass_comes_first() {
    let problems = vec![Rejection::new(Reason::RouteConflict, "Route x is taken")];
    let judged = Findings {
        failing: permanent(Reason::StorageConflict),
        problems,
        ..findings()
    };
    let degraded = &judge(&judged).verdicts[DEGRADED];
    assert_eq!(degraded.reason, "StorageConflict");
    assert_eq!(degraded.message, "spec.x is wrong; Route x is taken");
}

#[test]
fn transient_errors_of_more_than_five_minutes_are_degraded_although_the_registry_serves() {
    let ready = ready();
    for (since, expected, recheck) in [
        (0, "False/", Some(301)),
        (-299, "False/", Some(2)),
        (-300, "False/", Some(1)),
        (-301, "True/SyncError", None),
    ] {
        let failing_since = Some(at(since));
        let judged = Findings {
            deployment: Some(&ready),
            failing: transient(),
            failing_since,
            ..findings()
        };
        assert_eq!(row(&judged), ["True/Ready", "True/Error", expected, "False/"]);
        assert_eq!(judge(&judged).recheck_after, recheck.map(Duration::from_secs));
        // A time that was left over does not count once a pass succeeded.
        assert_eq!(
            row(&Findings {
                failing: None,
                ..judged
            })[DEGRADED],
            "False/"
        );
    }
    let none = deployment(0, 1, "ReplicaSetUpdated");
    let failing_since = Some(at(-400));
    let lost = Findings {
        deployment: Some(&none),
        failing: transient(),
        failing_since,
        ..findings()
    };
    assert_eq!(
        row(&lost)[DEGRADED],
        "True/SyncError",
        "a pod that goes away does not hide it"
    );
    let stored = [condition("Available", "False", -400)];
    let both = Findings {
        stored: &stored,
        ..lost
    };
    assert_eq!(row(&both)[DEGRADED], "True/Unavailable");
    assert!(
        judge(&both).verdicts[DEGRADED]
            .message
            .contains("Secret a/b is missing"),
        "the cause is told"
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
    let degraded = &judge(&judged).verdicts[DEGRADED];
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

// lifecycle 46
// lifecycle 47
#[test]
fn removal_is_told_step_by_step() {
    let ready = ready();
    let removed = Findings {
        state: ManagementState::Removed,
        removal: Removal::Done,
        ..findings()
    };
    assert_eq!(
        row(&removed),
        ["True/Removed", "False/Removed", "False/Removed", "True/Removed"]
    );
    let there = Findings {
        deployment: Some(&ready),
        removal: Removal::Waiting("pods".into()),
        ..removed.clone()
    };
    assert_eq!(
        row(&there),
        ["True/Ready", "True/DeletingDeployment", "False/Removed", "True/Removed"]
    );
    let waiting = Findings {
        removal: Removal::Waiting("pods of Deployment x".into()),
        ..removed.clone()
    };
    assert_eq!(
        row(&waiting),
        ["True/Removed", "True/Removing", "False/Removed", "True/Removed"]
    );
    assert!(
        judge(&waiting).verdicts[PROGRESSING]
            .message
            .contains("pods of Deployment x")
    );
    assert_eq!(judge(&waiting).recheck_after, None);
    let unreachable = Findings {
        failing: transient(),
        failing_since: Some(at(-301)),
        ..removed
    };
    assert_eq!(
        row(&unreachable),
        ["True/Removed", "True/Removing", "True/SyncError", "True/Removed"]
    );
}

// lifecycle 51
#[test]
fn a_removal_that_failed_is_degraded_and_goes_on() {
    let removal = Removal::Failed("bucket b: access denied".into());
    let failed = Findings {
        state: ManagementState::Removed,
        removal,
        ..findings()
    };
    assert_eq!(
        row(&failed),
        ["True/Removed", "True/Removing", "True/RemoveFailed", "True/Removed"]
    );
    for index in [PROGRESSING, DEGRADED] {
        assert!(
            judge(&failed).verdicts[index]
                .message
                .contains("bucket b: access denied")
        );
    }
}

// lifecycle 116: what is stored while the Config is being deleted
#[test]
fn a_deletion_that_failed_is_told_in_every_state() {
    for state in [ManagementState::Managed, ManagementState::Unmanaged] {
        let removal = Removal::Failed("Service x: conflict".into());
        let judged = row(&Findings {
            state,
            removal,
            ..findings()
        });
        assert_eq!(
            judged,
            ["True/Removed", "True/Removing", "True/RemoveFailed", "False/"],
            "{state:?}"
        );
    }
}

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
            judged.verdicts[AVAILABLE].status == Status::False || ready > 0,
            "available without a ready pod"
        );
        assert_eq!(judged.ready_replicas, ready);
        stored = merge(&stored, &judged.verdicts, now);
        for (seen, verdict) in history.iter_mut().zip(&judged.verdicts) {
            seen.push(verdict.status.text().to_owned());
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
