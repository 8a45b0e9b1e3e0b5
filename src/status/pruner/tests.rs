use super::*;

fn job(name: &str, created: &str, conditions: &[(&str, &str)]) -> Value {
    let conditions: Vec<_> = conditions
        .iter()
        .map(|(type_, status)| json!({"type": type_, "status": status, "reason": "BackoffLimitExceeded", "message": "m"}))
        .collect();
    json!({
        "metadata": {"name": name, "creationTimestamp": created, "labels": {"created-by": "image-pruner"}},
        "status": {"conditions": conditions},
    })
}

fn findings(jobs: Vec<&Value>) -> Findings<'_> {
    Findings {
        unprunable: None,
        cron_job: true,
        suspended: false,
        jobs,
        failing: Verdict::Fine,
        notice: None,
    }
}

/// `status/reason` of all conditions.
fn shown(findings: &Findings<'_>) -> Vec<String> {
    let all = judge(findings).into_iter();
    all.map(|update| format!("{}/{}", update.status.text(), update.reason))
        .collect()
}

// lifecycle 99
#[test]
fn without_a_job_the_pruner_has_not_failed() {
    let fresh = findings(vec![]);
    assert_eq!(
        shown(&fresh),
        [
            "True/AsExpected",
            "False/Complete",
            "True/Scheduled",
            "False/AsExpected"
        ]
    );
    assert_eq!(judge(&fresh)[1].message, "No pruner job has finished yet");
    let running = job("running", "2026-01-01T00:00:00Z", &[]);
    assert_eq!(shown(&findings(vec![&running]))[1], "False/Complete");
    assert_eq!(install_status(&fresh), 2);
}

// lifecycle 100
#[test]
fn a_suspended_pruner_is_not_scheduled() {
    let suspended = Findings {
        suspended: true,
        ..findings(vec![])
    };
    assert_eq!(shown(&suspended)[2], "False/Suspended");
    assert_eq!(install_status(&suspended), 1);
}

#[test]
fn without_a_cron_job_the_pruner_is_not_available() {
    let absent = Findings {
        cron_job: false,
        ..findings(vec![])
    };
    assert_eq!(shown(&absent)[0], "False/Error");
    assert_eq!(install_status(&absent), 0);
}

// lifecycle 101
// lifecycle 102
#[test]
fn the_newest_finished_job_sets_the_conditions() {
    let old = job("old", "2026-01-01T00:00:00Z", &[("Complete", "True")]);
    let failed = job(
        "failed",
        "2026-01-02T00:00:00Z",
        &[("FailureTarget", "True"), ("Failed", "True")],
    );
    let running = job("running", "2026-01-03T00:00:00Z", &[]);
    let halted = job(
        "halted",
        "2026-01-04T00:00:00Z",
        &[("Suspended", "True"), ("Failed", "False")],
    );
    let finding = findings(vec![&running, &failed, &halted, &old]);
    assert_eq!(shown(&finding)[1], "True/BackoffLimitExceeded");
    assert_eq!(shown(&finding)[3], "True/JobFailed");
    let message = &judge(&finding)[3].message;
    assert!(message.contains("Job failed failed: m"), "{message}");
    let later = job(
        "later",
        "2026-01-05T00:00:00Z",
        &[("SuccessCriteriaMet", "True"), ("Complete", "True")],
    );
    let recovered = findings(vec![&later, &failed, &old]);
    assert_eq!(
        shown(&recovered),
        [
            "True/AsExpected",
            "False/Complete",
            "True/Scheduled",
            "False/AsExpected"
        ]
    );
}

// lifecycle 103
#[test]
fn other_jobs_are_ignored() {
    let mut foreign = job("foreign", "2026-01-02T00:00:00Z", &[("Failed", "True")]);
    foreign["metadata"]["labels"]["created-by"] = json!("somebody");
    assert_eq!(shown(&findings(vec![&foreign]))[3], "False/AsExpected");
    foreign["metadata"]["ownerReferences"] = json!([{"kind": "CronJob", "name": "image-pruner"}]);
    assert_eq!(
        shown(&findings(vec![&foreign]))[3],
        "True/JobFailed",
        "owned by the CronJob"
    );
}

// lifecycle 104
#[test]
fn an_apply_error_takes_precedence_over_a_failed_job() {
    let failed = job("failed", "2026-01-02T00:00:00Z", &[("Failed", "True")]);
    let finding = Findings {
        failing: Verdict::Report("CronJob: forbidden".to_owned()),
        ..findings(vec![&failed])
    };
    assert_eq!(shown(&finding)[3], "True/SyncError");
    assert!(judge(&finding)[3].message.contains("CronJob: forbidden"));
}

// lifecycle 104
#[test]
fn a_failure_that_has_not_lasted_leaves_degraded_as_it_is() {
    let stays = |jobs| Findings {
        failing: Verdict::Stays,
        ..findings(jobs)
    };
    assert_eq!(
        shown(&stays(vec![])),
        ["True/AsExpected", "False/Complete", "True/Scheduled"]
    );
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    for status in ["True", "False"] {
        let stored = json!({"conditions": [{"type": "Degraded", "status": status, "reason": "Kept", "message": "m"}]});
        let patch = status_patch(&stored, 3, &judge(&stays(vec![])), now).unwrap();
        let kept = &patch["status"]["conditions"][0];
        assert_eq!((&kept["status"], &kept["reason"]), (&json!(status), &json!("Kept")));
    }
    let failed = job("failed", "2026-01-02T00:00:00Z", &[("Failed", "True")]);
    assert_eq!(shown(&stays(vec![&failed]))[3], "True/JobFailed");
}

#[test]
fn a_notice_is_part_of_the_message_of_scheduled() {
    for suspended in [false, true] {
        let finding = Findings {
            suspended,
            notice: Some("Images are pruned soon"),
            ..findings(vec![])
        };
        assert!(judge(&finding)[2].message.ends_with(". Images are pruned soon"));
    }
}

#[test]
fn an_unchanged_status_is_not_written_and_foreign_conditions_stay() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let stored = json!({"conditions": [{"type": "Foreign", "status": "True"}], "future": 1});
    let condition_updates = judge(&findings(vec![]));
    let patch = status_patch(&stored, 3, &condition_updates, now).unwrap();
    assert_eq!(patch["status"]["observedGeneration"], json!(3));
    assert_eq!(patch["status"].get("future"), None, "unchanged");
    let conditions = patch["status"]["conditions"].as_array().unwrap();
    let types: Vec<_> = conditions.iter().map(|c| text(c, "type")).collect();
    assert_eq!(types, ["Foreign", "Available", "Failed", "Scheduled", "Degraded"]);
    let later = "2026-01-02T00:00:00Z".parse().unwrap();
    assert_eq!(status_patch(&patch["status"], 3, &condition_updates, later), None);
    assert!(status_patch(&Value::Null, 3, &condition_updates, now).is_some());
}

// In part: kubernetes 21 (the pruner); section 6.
#[test]
fn without_the_image_api_nothing_is_pruned_and_nothing_is_wrong() {
    let failed = job("failed", "2026-01-01T00:00:00Z", &[("Failed", "BackoffLimitExceeded")]);
    let unsupported = Findings {
        unprunable: Some(Unprunable::NoApi),
        cron_job: false,
        ..findings(vec![&failed])
    };
    assert_eq!(
        shown(&unsupported),
        [
            "True/AsExpected",
            "False/Complete",
            "False/Unsupported",
            "False/AsExpected"
        ]
    );
    assert!(judge(&unsupported)[2].message.contains("image.openshift.io"));
    assert_eq!(install_status(&unsupported), 0);
    let without_image = Findings {
        unprunable: Some(Unprunable::NoImage),
        ..unsupported.clone()
    };
    assert_eq!(shown(&without_image), shown(&unsupported));
    assert!(judge(&without_image)[2].message.contains("IMAGE_PRUNER"));
    let failing = Findings {
        failing: Verdict::Report("no".to_owned()),
        ..unsupported
    };
    assert_eq!(shown(&failing)[3], "True/SyncError");
}
