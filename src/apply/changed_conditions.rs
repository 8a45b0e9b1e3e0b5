//! The conditions that a write of a status changed, as lines for the log: whoever reads the log learns why a pass fails.
//!
//! The words of a failure are one line. A failure of the storage is in several conditions (`Progressing`, `StorageExists`, later
//! `Degraded`), each with words of its own before the common cause; all but the first refer to the first.

use serde_json::Value;

/// Words that are shorter than this are repeated.
const SHORT: usize = 20;

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Whether somebody may have to act.
    pub(super) bad: bool,
    /// Type, status, reason and words of the condition.
    pub(super) text: String,
}

/// One line for each condition that is new or that differs from before. A new condition without trouble and without words is
/// left out: all of them appear with the first status.
pub(super) fn lines(before: &Value, after: &Value) -> Vec<Line> {
    let stored = conditions(before);
    let mut logged: Vec<&str> = stored.iter().map(|c| text(c, "message")).collect();
    let mut lines = Vec::new();
    for condition in conditions(after) {
        let known = stored.iter().find(|c| text(c, "type") == text(condition, "type"));
        let same = known.is_some_and(|known| {
            ["status", "reason", "message"]
                .iter()
                .all(|member| text(known, member) == text(condition, member))
        });
        let bad = is_bad(condition);
        let message = text(condition, "message");
        if same || (known.is_none() && !bad && message.is_empty()) {
            continue;
        }
        lines.push(Line {
            bad,
            text: format!("{}{}", head(condition), words(message, &logged)),
        });
        logged.push(message);
    }
    lines
}

fn conditions(object: &Value) -> &[Value] {
    let list = object.pointer("/status/conditions").and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn text<'a>(condition: &'a Value, member: &str) -> &'a str {
    condition.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// `Progressing is True (Error)`.
fn head(condition: &Value) -> String {
    let reason = text(condition, "reason");
    let reason = if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    };
    format!("{} is {}{reason}", text(condition, "type"), text(condition, "status"))
}

/// The message, or the part of it that the log does not have yet.
fn words(message: &str, logged: &[&str]) -> String {
    let has = |part: &str| part.len() >= SHORT && logged.iter().any(|logged| logged.contains(part));
    if message.is_empty() {
        return String::new();
    }
    if has(message) {
        return ", as above".to_owned();
    }
    let cause = message
        .match_indices(": ")
        .find(|(at, colon)| has(&message[at + colon.len()..]));
    match cause {
        Some((at, _)) => format!(": {}, as above", &message[..at]),
        None => format!(": {message}"),
    }
}

fn is_bad(condition: &Value) -> bool {
    let (type_, reason) = (text(condition, "type"), text(condition, "reason"));
    match text(condition, "status") {
        "True" => {
            type_.ends_with("Degraded") || type_ == "Failed" || (type_.ends_with("Progressing") && reason == "Error")
        }
        "False" => type_.ends_with("Available") || (type_.starts_with("Storage") && !reason.ends_with("Deleted")),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(conditions: &[(&str, &str, &str, &str)]) -> Value {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(type_, status, reason, message)| json!({"type": type_, "status": status, "reason": reason, "message": message}))
            .collect();
        json!({"status": {"conditions": conditions}})
    }

    // lifecycle 128
    #[test]
    fn each_condition_that_turns_or_whose_words_change_is_one_line() {
        let ready = ("Available", "True", "Ready", "The registry is ready");
        for (what, before, after, expected) in [
            ("nothing", vec![ready], vec![ready], vec![]),
            (
                "a first status",
                vec![],
                vec![ready, ("Degraded", "False", "", "")],
                vec![(false, "Available is True (Ready): The registry is ready")],
            ),
            (
                "a status",
                vec![ready],
                vec![("Available", "False", "NoReplicasAvailable", "no pod")],
                vec![(true, "Available is False (NoReplicasAvailable): no pod")],
            ),
            (
                "words",
                vec![ready],
                vec![("Available", "True", "Ready", "other words")],
                vec![(false, "Available is True (Ready): other words")],
            ),
            (
                "a reason",
                vec![("P", "False", "A", "")],
                vec![("P", "False", "B", "")],
                vec![(false, "P is False (B)")],
            ),
            (
                "a failure",
                vec![],
                vec![("XDegraded", "True", "Error", "no")],
                vec![(true, "XDegraded is True (Error): no")],
            ),
            (
                "a failed job",
                vec![],
                vec![("Failed", "True", "", "no")],
                vec![(true, "Failed is True: no")],
            ),
            (
                "a rollout",
                vec![],
                vec![("Progressing", "True", "DeploymentNotCompleted", "rolls")],
                vec![(false, "Progressing is True (DeploymentNotCompleted): rolls")],
            ),
            (
                "a retry",
                vec![],
                vec![("Progressing", "True", "Error", "again")],
                vec![(true, "Progressing is True (Error): again")],
            ),
            (
                "unknown",
                vec![],
                vec![("StorageExists", "Unknown", "", "")],
                vec![(true, "StorageExists is Unknown")],
            ),
            (
                "deleted storage",
                vec![],
                vec![("StorageExists", "False", "PVC Deleted", "gone")],
                vec![(false, "StorageExists is False (PVC Deleted): gone")],
            ),
            ("a condition that went", vec![ready], vec![], vec![]),
        ] {
            let lines = lines(&status(&before), &status(&after));
            let found: Vec<_> = lines.iter().map(|line| (line.bad, line.text.as_str())).collect();
            assert_eq!(found, expected, "{what}");
        }
    }

    // lifecycle 128: "given a storage fault for 5 minutes, then the log has its words once"
    #[test]
    fn the_words_of_a_cause_in_several_conditions_are_logged_once() {
        let cause = "storage: s3:HeadBucket on blue: ServiceUnavailable: the store does not answer";
        let progressing = format!("Cannot apply the configuration, trying again: {cause}");
        let exists = "s3:HeadBucket on blue: ServiceUnavailable: the store does not answer";
        let degraded = format!("Applying the configuration has failed for more than 5 minutes: {cause}");
        let first = status(&[
            ("Progressing", "True", "Error", &progressing),
            ("StorageExists", "Unknown", "x", exists),
        ]);
        let later = status(&[
            ("Progressing", "True", "Error", &progressing),
            ("Degraded", "True", "SyncError", &degraded),
            ("StorageExists", "Unknown", "x", exists),
        ]);
        let all = [lines(&Value::Null, &first), lines(&first, &later)].concat();
        let log: Vec<_> = all.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(log.join("\n").matches("does not answer").count(), 1, "{log:#?}");
        assert_eq!(log[1], "StorageExists is Unknown (x), as above");
        assert_eq!(
            log[2],
            "Degraded is True (SyncError): Applying the configuration has failed for more than 5 minutes, as above"
        );
        let other = status(&[(
            "Progressing",
            "True",
            "Error",
            "Cannot apply the configuration, trying again: storage: other words",
        )]);
        assert!(lines(&first, &other)[0].text.ends_with(": storage: other words"));
    }
}
