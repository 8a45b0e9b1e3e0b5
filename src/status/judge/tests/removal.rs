//! A registry that goes.

use super::*;

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
    let message = &judge(&there).condition_updates[PROGRESSING].message;
    assert!(message.ends_with("is being removed: pods"), "{message}");
    let stopped = Findings {
        removal: Removal::NotAsked,
        failing: transient(),
        ..there.clone()
    };
    let judged = judge(&stopped);
    let progressing = &judged.condition_updates[PROGRESSING];
    assert_eq!(shown(progressing), "True/DeletingDeployment");
    let told = progressing
        .message
        .ends_with("is being removed, trying again: Secret a/b is missing");
    assert!(told, "{progressing:?}");
    let waiting = Findings {
        removal: Removal::Waiting("waiting for Pod x to end".into()),
        ..removed.clone()
    };
    assert_eq!(
        row(&waiting),
        ["True/Removed", "True/Removing", "False/Removed", "True/Removed"]
    );
    assert_eq!(
        judge(&waiting).condition_updates[PROGRESSING].message,
        "The registry is being removed: waiting for Pod x to end"
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
            judge(&failed).condition_updates[index]
                .message
                .contains("bucket b: access denied")
        );
    }
}

// lifecycle 116: what tests/robustness/fault.rs sees, in every state
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

// lifecycle 51: tests of users delete the Secret before the registry
#[test]
fn storage_without_credentials_is_degraded_after_two_minutes_and_does_not_hold_up_the_removal() {
    let left = |seconds: i64| Findings {
        state: ManagementState::Removed,
        removal: Removal::StorageLeft {
            cause: "S3 b: no credentials".into(),
            since: at(-seconds),
        },
        ..findings()
    };
    let fine = ["True/Removed", "False/Removed", "False/Removed", "True/Removed"];
    let degraded = ["True/Removed", "False/Removed", "True/RemoveFailed", "True/Removed"];
    for (seconds, expected, recheck) in [
        (0, fine, Some(120)),
        (1, fine, Some(119)),
        (60, fine, Some(60)),
        (119, fine, Some(1)),
        (120, degraded, None),
        (121, degraded, None),
        (3600, degraded, None),
        // A clock that was set back.
        (-60, fine, Some(120)),
        (-3600, degraded, None),
    ] {
        let judged = judge(&left(seconds));
        assert_eq!(row(&left(seconds)), expected, "{seconds} s");
        assert_eq!(
            judged.recheck_after.map(|after| after.as_secs()),
            recheck,
            "{seconds} s"
        );
        for index in [PROGRESSING, DEGRADED] {
            let condition = &judged.condition_updates[index];
            let told = condition.message.contains("S3 b: no credentials");
            assert_eq!(
                told,
                index == PROGRESSING || recheck.is_none(),
                "{seconds} s: {condition:?}"
            );
        }
    }
    let stored = |status: &str, reason: &str| {
        let condition = json!({"type": "Degraded", "status": status, "reason": reason, "lastTransitionTime": "2020-01-01T00:00:00Z"});
        serde_json::from_value::<Vec<Condition>>(json!([condition])).unwrap()
    };
    for (status, reason, expected) in [
        ("True", "RemoveFailed", degraded),
        ("True", "SyncError", fine),
        ("True", "Unavailable", fine),
        ("False", "RemoveFailed", fine),
        ("False", "", fine),
    ] {
        let stored = stored(status, reason);
        let restarted = Findings {
            stored: &stored,
            ..left(0)
        };
        assert_eq!(row(&restarted), expected, "a restart after {status}/{reason}");
    }
}
