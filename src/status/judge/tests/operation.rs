//! An operation of the storage that takes longer than a pass, such as the creation of an account.

use super::*;

const MESSAGE: &str = "the storage account blue is being created";

fn with(deadline: Deadline) -> Findings<'static> {
    Findings {
        operation: Some(Operation {
            message: MESSAGE.to_owned(),
            deadline,
        }),
        failing_since: Some(at(-301)),
        ..findings()
    }
}

#[test]
fn an_operation_within_its_deadline_is_progressing_and_not_degraded() {
    let ready = ready();
    let serving = Findings {
        deployment: Some(&ready),
        ..with(Deadline::Ahead)
    };
    assert_eq!(row(&serving)[..3], ["True/Ready", "True/StorageProvisioning", "False/"]);
    let first = with(Deadline::Ahead);
    assert_eq!(
        row(&first)[..3],
        ["False/DeploymentNotFound", "True/StorageProvisioning", "False/"]
    );
    assert!(judge(&first).condition_updates[PROGRESSING].message.contains(MESSAGE));
}

#[test]
fn an_operation_past_its_deadline_is_degraded_at_once() {
    let ready = ready();
    let serving = Findings {
        deployment: Some(&ready),
        failing_since: None,
        ..with(Deadline::Passed)
    };
    assert_eq!(
        row(&serving)[..3],
        ["True/Ready", "True/StorageProvisioning", "True/SyncError"]
    );
    assert!(judge(&serving).condition_updates[DEGRADED].message.contains(MESSAGE));
}

#[test]
fn an_operation_without_a_deadline_of_its_own_is_degraded_after_five_minutes() {
    let ready = ready();
    for (since, expected) in [(-300, "False/"), (-301, "True/SyncError")] {
        let waiting = Findings {
            deployment: Some(&ready),
            failing_since: Some(at(since)),
            ..with(Deadline::Common)
        };
        assert_eq!(row(&waiting)[DEGRADED], expected, "{since}");
    }
}

#[test]
fn an_error_says_more_than_an_operation() {
    let failing = Findings {
        failing: transient(),
        ..with(Deadline::Ahead)
    };
    assert_eq!(row(&failing)[PROGRESSING], "True/Error");
}
