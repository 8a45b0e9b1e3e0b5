use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn stored() -> Vec<Condition> {
    serde_json::from_value(json!([
        {"type": "Available", "status": "True", "reason": "Ready", "lastTransitionTime": "2020-01-01T00:00:00Z"},
        {"type": "example.com/Foreign", "status": "False"},
        {"type": "Progressing", "status": "True", "lastTransitionTime": "2020-01-02T00:00:00Z", "message": "m"},
        {"type": "Degraded", "status": "False"},
    ]))
    .unwrap()
}

fn types(conditions: &[Condition]) -> Vec<&str> {
    conditions.iter().map(|c| c.type_.as_str()).collect()
}

// lifecycle 79
#[test]
fn the_transition_time_changes_only_with_the_status() {
    let same = ConditionUpdate::new("Available", Status::True, "MinimumAvailability", "other");
    let other = ConditionUpdate::new("Progressing", Status::False, "Ready", "done");
    let merged = merge(&stored(), &[same, other], at(0));
    assert_eq!(merged[0].last_transition_time.as_deref(), Some("2020-01-01T00:00:00Z"));
    assert_eq!(merged[0].reason.as_deref(), Some("MinimumAvailability"));
    assert_eq!(merged[2].last_transition_time.as_deref(), Some("2027-01-15T08:00:00Z"));
}

// api 25
// api 26
#[test]
fn conditions_of_other_writers_stay_unchanged_and_in_order() {
    let condition_updates = [
        ConditionUpdate::new("New", Status::True, "R", "m"),
        ConditionUpdate::new("Degraded", Status::True, "R", "m"),
        ConditionUpdate::new("Available", Status::Unknown, "R", "m"),
    ];
    let merged = merge(&stored(), &condition_updates, at(0));
    assert_eq!(
        types(&merged),
        ["Available", "example.com/Foreign", "Progressing", "Degraded", "New"]
    );
    let foreign = serde_json::to_value(&merged[1]).unwrap();
    assert_eq!(foreign, json!({"type": "example.com/Foreign", "status": "False"}));
    assert_eq!(merged[2], stored()[2]);
    assert_eq!(
        [&merged[0].status, &merged[3].status, &merged[4].status],
        ["Unknown", "True", "True"]
    );
}

#[test]
fn a_missing_or_invalid_transition_time_is_replaced() {
    for time in [None, Some("soon".to_owned())] {
        let mut conditions = stored();
        conditions[3].last_transition_time = time;
        let merged = merge(
            &conditions,
            &[ConditionUpdate::new("Degraded", Status::False, "", "")],
            at(1),
        );
        assert_eq!(merged[3].last_transition_time.as_deref(), Some("2027-01-15T08:00:01Z"));
    }
}

// A status that changes and changes back within one pass is not a transition.
#[test]
fn the_last_of_several_updates_of_one_type_counts() {
    let condition_updates = [
        ConditionUpdate::new("Available", Status::Unknown, "Changed", ""),
        ConditionUpdate::new("Available", Status::True, "Ready", ""),
    ];
    let merged = merge(&stored(), &condition_updates, at(0));
    assert_eq!(merged[0].last_transition_time.as_deref(), Some("2020-01-01T00:00:00Z"));
    assert_eq!(merged.len(), stored().len());
}

#[test]
fn merging_is_idempotent() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    for round in 0..500 {
        let pool = ["A", "B", "C", "D", "E"];
        let condition_updates: Vec<_> = (0..next(6))
            .map(|_| {
                let status = [Status::True, Status::False, Status::Unknown][usize::try_from(next(3)).unwrap()];
                ConditionUpdate::new(
                    pool[usize::try_from(next(5)).unwrap()],
                    status,
                    format!("R{}", next(3)),
                    "",
                )
            })
            .collect();
        let mut before = stored();
        before.extend(
            merge(&[], &condition_updates, at(-50))
                .into_iter()
                .filter(|_| next(2) == 0),
        );
        let once = merge(&before, &condition_updates, at(0));
        assert_eq!(merge(&once, &condition_updates, at(100)), once, "round {round}");
        assert_eq!(types(&once[..before.len()]), types(&before), "order is kept");
        for condition in &before {
            let updated = condition_updates.iter().any(|update| update.type_ == condition.type_);
            assert!(updated || once.contains(condition), "a condition without update stays");
        }
        for condition_update in &condition_updates {
            let count = once.iter().filter(|c| c.type_ == condition_update.type_).count();
            assert_eq!(count, 1, "every update is applied once");
        }
    }
}

#[test]
fn conditions_of_dropped_types_are_removed() {
    let kept = without(&stored(), &["Degraded", "Absent"]);
    assert_eq!(types(&kept), ["Available", "example.com/Foreign", "Progressing"]);
}

// lifecycle 88
// lifecycle 123
#[test]
fn a_failure_is_reported_after_two_minutes() {
    let mut failure = LastingFailure::default();
    let type_ = "NodeCADaemonControllerDegraded";
    for (now, rest) in [(0, 120), (60, 60), (119, 1)] {
        assert_eq!(
            failure.record(type_, Err("e"), Duration::from_secs(now)),
            (None, Some(Duration::from_secs(rest)))
        );
    }
    let error = ConditionUpdate::new(type_, Status::True, "Error", "e2");
    assert_eq!(
        failure.record(type_, Err("e2"), Duration::from_mins(2)),
        (Some(error), None)
    );
    let as_expected = ConditionUpdate::new(type_, Status::False, "AsExpected", "");
    assert_eq!(
        failure.record(type_, Ok(()), Duration::from_secs(130)),
        (Some(as_expected), None)
    );
    assert_eq!(
        failure.record(type_, Err("e"), Duration::from_secs(131)),
        (None, Some(Duration::from_mins(2))),
        "a success starts over"
    );
}

// lifecycle 91
// lifecycle 104
#[test]
fn what_waits_for_an_edit_counts_at_once_and_what_may_pass_after_two_minutes() {
    let faults = |edit: &[&str], retry: &[&str]| Faults {
        edit: edit.iter().map(|&text| text.to_owned()).collect(),
        retry: retry.iter().map(|&text| text.to_owned()).collect(),
    };
    let report = |text: &str| Verdict::Report(text.to_owned());
    let mut failure = LastingFailure::default();
    for (now, found, expected, rest) in [
        (0, faults(&[], &[]), Verdict::Fine, None),
        (1, faults(&["refused"], &[]), report("refused"), None),
        (2, faults(&[], &["503"]), Verdict::Stays, Some(120)),
        (100, faults(&["refused"], &["503"]), report("refused"), Some(22)),
        (121, faults(&[], &["timeout"]), Verdict::Stays, Some(1)),
        (122, faults(&[], &["503", "timeout"]), report("503; timeout"), None),
        (123, faults(&["refused"], &["503"]), report("refused; 503"), None),
        (124, faults(&["refused"], &[]), report("refused"), None), // the 503 has passed
        (125, faults(&[], &["503"]), Verdict::Stays, Some(120)),
        (126, faults(&[], &[]), Verdict::Fine, None),
    ] {
        let rest = rest.map(Duration::from_secs);
        assert_eq!(
            failure.judge(&found, Duration::from_secs(now)),
            (expected, rest),
            "{now}"
        );
        assert_eq!(found.is_empty(), found.message().is_empty());
    }
}
