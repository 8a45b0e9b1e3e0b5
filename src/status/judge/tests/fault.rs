//! What could not be applied.

use super::*;

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
        for condition_update in &judge(&bad).condition_updates[..3] {
            assert!(
                condition_update.message.contains("spec.x is wrong"),
                "{condition_update:?}"
            );
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
    for reason in [Reason::RouteConflict, Reason::ExposureRefused, Reason::PvcIncompatible] {
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
    let degraded = &judge(&judged).condition_updates[DEGRADED];
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
        judge(&both).condition_updates[DEGRADED]
            .message
            .contains("Secret a/b is missing"),
        "the cause is told"
    );
}

// lifecycle, section 7.1: a new process does not know since when passes fail
#[test]
fn a_restart_does_not_withdraw_an_error_that_lasts() {
    let ready = ready();
    let stored = |status: &str, reason: &str| {
        let degraded = Condition {
            reason: Some(reason.to_owned()),
            ..condition("Degraded", status, -900)
        };
        vec![degraded]
    };
    for (status, reason, expected, recheck) in [
        ("True", "SyncError", "True/SyncError", None),
        ("True", "Unavailable", "False/", Some(301)),
        ("False", "SyncError", "False/", Some(301)),
        ("False", "", "False/", Some(301)),
    ] {
        let stored = stored(status, reason);
        let restarted = Findings {
            deployment: Some(&ready),
            failing: transient(),
            stored: &stored,
            ..findings()
        };
        let judged = judge(&restarted);
        assert_eq!(row(&restarted)[DEGRADED], expected, "{status}/{reason}");
        assert_eq!(
            judged.recheck_after,
            recheck.map(Duration::from_secs),
            "{status}/{reason}"
        );
        let written = merge(&stored, &judged.condition_updates, at(0));
        let kept = written.iter().find(|c| c.type_ == "Degraded").unwrap();
        let since = kept.last_transition_time.as_deref();
        let same = since == stored[0].last_transition_time.as_deref();
        assert_eq!(same, expected.starts_with(status), "{status}/{reason}: {since:?}");
        let succeeded = Findings {
            failing: None,
            ..restarted
        };
        assert_eq!(row(&succeeded)[DEGRADED], "False/", "a success ends it");
    }
}
