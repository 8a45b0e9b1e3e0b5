//! Storage that was changed and is tried out.

use super::*;

fn with(preflight: Preflight) -> Findings<'static> {
    Findings {
        preflight: Some(preflight),
        ..findings()
    }
}

// storage-decisions T17
#[test]
fn storage_that_does_not_work_degrades_at_once_and_the_registry_serves_on() {
    let ready = ready();
    let message = "s3:PutObject denied on blue/docker/registry/v2/_preflight/u: AccessDenied";
    let findings = Findings {
        deployment: Some(&ready),
        ..with(Preflight::Failed(message.to_owned()))
    };
    assert_eq!(
        row(&findings)[..3],
        ["True/Ready", "True/StoragePreflight", "True/StoragePreflightFailed"]
    );
    for condition_update in &judge(&findings).condition_updates[1..3] {
        assert!(condition_update.message.contains(message), "{condition_update:?}");
    }
    let none = with(Preflight::Failed(message.to_owned()));
    assert_eq!(
        row(&none)[..3],
        [
            "False/DeploymentNotFound",
            "True/StoragePreflight",
            "True/StoragePreflightFailed"
        ]
    );
}

// storage-decisions T17
#[test]
fn a_key_that_is_fresh_is_waited_for() {
    let ready = ready();
    let findings = Findings {
        deployment: Some(&ready),
        failing_since: Some(at(-3600)),
        ..with(Preflight::Waiting("s3:PutObject denied on blue".to_owned()))
    };
    assert_eq!(row(&findings)[..3], ["True/Ready", "True/StoragePreflight", "False/"]);
}

// storage-decisions T17: no answer is a matter of time, and is never called a permission
#[test]
fn storage_that_does_not_answer_is_an_error_after_five_minutes() {
    let ready = ready();
    for (seconds, degraded) in [(-300, "False/"), (-301, "True/SyncError")] {
        let findings = Findings {
            deployment: Some(&ready),
            failing_since: Some(at(seconds)),
            ..with(Preflight::Undecided("503 from https://s3.example".to_owned()))
        };
        assert_eq!(row(&findings)[..3], ["True/Ready", "True/StoragePreflight", degraded]);
        let judged = judge(&findings);
        assert_eq!(judged.recheck_after.is_some(), degraded == "False/");
        assert_eq!(
            judged.condition_updates[2].message.contains("503"),
            degraded != "False/"
        );
    }
}

// storage-decisions T17: what else is wrong shows first
#[test]
fn a_failing_pass_shows_before_storage_that_waits() {
    let findings = Findings {
        failing: Some(Failing::transient("Service could not be written".to_owned())),
        ..with(Preflight::Waiting("soon".to_owned()))
    };
    assert_eq!(row(&findings)[PROGRESSING], "True/Error");
}
