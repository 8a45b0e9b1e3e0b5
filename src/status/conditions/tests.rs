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
fn the_time_moves_with_the_status_alone() {
    let same = Verdict::new("Available", Status::True, "MinimumAvailability", "other");
    let other = Verdict::new("Progressing", Status::False, "Ready", "done");
    let merged = merge(&stored(), &[same, other], at(0));
    assert_eq!(merged[0].last_transition_time.as_deref(), Some("2020-01-01T00:00:00Z"));
    assert_eq!(merged[0].reason.as_deref(), Some("MinimumAvailability"));
    assert_eq!(merged[2].last_transition_time.as_deref(), Some("2027-01-15T08:00:00Z"));
}

// api 25
// api 26
#[test]
fn conditions_of_others_survive_as_they_are_and_in_their_order() {
    let verdicts = [
        Verdict::new("New", Status::True, "R", "m"),
        Verdict::new("Degraded", Status::True, "R", "m"),
        Verdict::new("Available", Status::Unknown, "R", "m"),
    ];
    let merged = merge(&stored(), &verdicts, at(0));
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
fn a_time_that_is_missing_or_no_time_is_mended() {
    for time in [None, Some("soon".to_owned())] {
        let mut conditions = stored();
        conditions[3].last_transition_time = time;
        let merged = merge(&conditions, &[Verdict::new("Degraded", Status::False, "", "")], at(1));
        assert_eq!(merged[3].last_transition_time.as_deref(), Some("2027-01-15T08:00:01Z"));
    }
}

// There and back within one pass is no transition
#[test]
fn of_several_verdicts_on_one_type_the_last_counts_as_one_change() {
    let verdicts = [
        Verdict::new("Available", Status::Unknown, "Changed", ""),
        Verdict::new("Available", Status::True, "Ready", ""),
    ];
    let merged = merge(&stored(), &verdicts, at(0));
    assert_eq!(merged[0].last_transition_time.as_deref(), Some("2020-01-01T00:00:00Z"));
    assert_eq!(merged.len(), stored().len());
}

#[test]
fn merging_the_same_again_changes_nothing() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    for round in 0..500 {
        let pool = ["A", "B", "C", "D", "E"];
        let verdicts: Vec<_> = (0..next(6))
            .map(|_| {
                let status = [Status::True, Status::False, Status::Unknown][usize::try_from(next(3)).unwrap()];
                Verdict::new(
                    pool[usize::try_from(next(5)).unwrap()],
                    status,
                    format!("R{}", next(3)),
                    "",
                )
            })
            .collect();
        let mut before = stored();
        before.extend(merge(&[], &verdicts, at(-50)).into_iter().filter(|_| next(2) == 0));
        let once = merge(&before, &verdicts, at(0));
        assert_eq!(merge(&once, &verdicts, at(100)), once, "round {round}");
        assert_eq!(types(&once[..before.len()]), types(&before), "order is kept");
        for condition in &before {
            let told = verdicts.iter().any(|v| v.type_ == condition.type_);
            assert!(told || once.contains(condition), "what nobody judged is not touched");
        }
        for verdict in &verdicts {
            let count = once.iter().filter(|c| c.type_ == verdict.type_).count();
            assert_eq!(count, 1, "every change is applied, once");
        }
    }
}

#[test]
fn conditions_that_the_backend_does_not_own_are_dropped() {
    let all: Vec<_> = STORAGE.iter().map(|t| Verdict::new(t, Status::True, "R", "")).collect();
    let mut conditions = merge(&stored(), &all, at(0));
    conditions.push(Condition {
        type_: "StorageCustom".to_owned(),
        ..Condition::default()
    });
    for (backend, left) in [
        (None, 6),
        (Some("S3"), 5),
        (Some("GCS"), 4),
        (Some("PVC"), 1),
        (Some("EmptyDir"), 1),
    ] {
        let kept = without(&conditions, &stale_storage(backend));
        assert_eq!(types(&kept[..4]), types(&stored()));
        assert_eq!(kept[4].type_, "StorageExists");
        assert_eq!(kept.len(), 4 + left + 1, "{backend:?}");
        assert_eq!(
            kept.last().map(|c| c.type_.as_str()),
            Some("StorageCustom"),
            "not one of ours"
        );
    }
    let kept = without(&stored(), &["Degraded", "Absent"]);
    assert_eq!(types(&kept), ["Available", "example.com/Foreign", "Progressing"]);
}

// lifecycle 88
// lifecycle 123
#[test]
fn a_failure_is_told_when_it_lasted_two_minutes() {
    let mut streak = Streak::default();
    let type_ = "NodeCADaemonControllerDegraded";
    for (now, rest) in [(0, 120), (60, 60), (119, 1)] {
        assert_eq!(
            streak.note(type_, Err("e"), at(now)),
            (None, Some(Duration::from_secs(rest)))
        );
    }
    let told = Verdict::new(type_, Status::True, "Error", "e2");
    assert_eq!(streak.note(type_, Err("e2"), at(120)), (Some(told), None));
    let fine = Verdict::new(type_, Status::False, "AsExpected", "");
    assert_eq!(streak.note(type_, Ok(()), at(130)), (Some(fine), None));
    assert_eq!(
        streak.note(type_, Err("e"), at(131)),
        (None, Some(Duration::from_mins(2))),
        "counts anew"
    );
}
