//! The API server's audit log: requests, their users and their responses.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// A position in the log: requests that ended before it are not "since" it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// One request. A watch is logged as soon as it has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The server's identifier of the request.
    pub id: String,
    /// The user, such as `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or an HTTP method in lower case
    /// for a request that is about no object.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// API group, empty for the core one.
    pub group: String,
    /// Plural name of the kind; empty for a request that is about no object.
    pub resource: String,
    /// Such as `status`; else empty.
    pub subresource: String,
    /// Empty for an object without one.
    pub namespace: String,
    /// Empty for a list, a watch, and most creations.
    pub name: String,
    /// HTTP status.
    pub code: u16,
    /// Whether the user had the right; admission may still refuse the request.
    pub allowed: bool,
    /// User agent of the client.
    pub user_agent: String,
    /// When the request came in, in microseconds since the Unix epoch.
    pub time: i64,
    /// How long it lasted, in microseconds; of a watch that still runs, until it began.
    pub duration: i64,
    mark: Mark,
}

impl Event {
    /// Whether the request can have changed something.
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }

    /// Whether the API server refused it for lack of rights.
    pub fn is_denied(&self) -> bool {
        matches!(self.code, 401 | 403)
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} {} {} {}",
            self.time, self.code, self.user, self.verb, self.uri
        )
    }
}

/// Requests in the order of the log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    events: Vec<Event>,
}

impl Log {
    /// Reads the log; a last line that is still being written is left for the next time.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_since(path, Mark::default())
    }

    /// Reads those lines of a complete log that `wanted` selects. The others are not parsed: a log of a whole test run is long.
    pub fn read_lines(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines: Vec<&str> = text.split_inclusive('\n').filter(|line| wanted(line)).collect();
        Self::parse(lines.concat().as_bytes(), Mark::default())
    }

    /// The events of these lines.
    #[cfg(test)]
    pub(crate) fn of(lines: &str) -> Result<Self> {
        Self::parse(lines.as_bytes(), Mark::default())
    }

    /// Reads what was added to the log since `mark`.
    pub fn read_since(path: &Path, mark: Mark) -> Result<Self> {
        let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Self::parse(&text, mark)
    }

    fn parse(text: &[u8], mut mark: Mark) -> Result<Self> {
        let mut events: Vec<Event> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if line.last() != Some(&b'\n') {
                break;
            }
            let raw: Raw = serde_json::from_slice(line).context("cannot understand the audit log")?;
            let event = raw.into_event(mark)?;
            mark.0 += line.len() as u64;
            // Long requests are logged twice, at start and end; they become one event, at the place of the first.
            if let Some(index) = known.get(&event.id) {
                events[*index] = Event {
                    mark: events[*index].mark,
                    ..event
                };
            } else {
                known.insert(event.id.clone(), events.len());
                events.push(event);
            }
        }
        Ok(Self { events })
    }

    /// The events.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Those that satisfy a condition.
    #[must_use]
    pub fn filter(&self, condition: impl Fn(&Event) -> bool) -> Self {
        Self {
            events: self.events.iter().filter(|event| condition(event)).cloned().collect(),
        }
    }

    /// Those of one user.
    #[must_use]
    pub fn by_user(&self, user: &str) -> Self {
        self.filter(|event| event.user == user)
    }

    /// Those of one service account.
    #[must_use]
    pub fn by_service_account(&self, namespace: &str, name: &str) -> Self {
        self.by_user(&format!("system:serviceaccount:{namespace}:{name}"))
    }

    /// Those logged since a mark.
    #[must_use]
    pub fn since(&self, mark: Mark) -> Self {
        self.filter(|event| event.mark >= mark)
    }

    /// Those that can have changed something.
    #[must_use]
    pub fn writes(&self) -> Self {
        self.filter(Event::is_write)
    }

    /// Those that a budget of requests counts: every verb but `watch`.
    #[must_use]
    pub fn counted(&self) -> Self {
        self.filter(|event| event.verb != "watch")
    }

    /// Those refused for lack of rights.
    #[must_use]
    pub fn denied(&self) -> Self {
        self.filter(Event::is_denied)
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.events.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}

/// The end of the log as it is now; of a line that is still being written, its beginning.
pub(crate) fn mark(path: &Path) -> Result<Mark> {
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let length = file.metadata()?.len();
    let mut step = 1 << 16;
    loop {
        let begin = length.saturating_sub(step);
        file.seek(SeekFrom::Start(begin))?;
        let mut text = Vec::new();
        file.by_ref().take(length - begin).read_to_end(&mut text)?;
        match text.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => return Ok(Mark(begin + end as u64 + 1)),
            None if begin == 0 => return Ok(Mark::default()),
            None => step *= 2,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "auditID")]
    audit_id: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: RawUser,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<RawObject>,
    response_status: Option<RawStatus>,
    #[serde(default)]
    annotations: RawAnnotations,
    request_received_timestamp: String,
    stage_timestamp: String,
}

#[derive(Deserialize)]
struct RawUser {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawObject {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
struct RawAnnotations {
    /// The authorizer's decision: `allow` or `forbid`.
    #[serde(rename = "authorization.k8s.io/decision", default)]
    decision: String,
}

#[derive(Deserialize)]
struct RawStatus {
    #[serde(default)]
    code: u16,
}

impl Raw {
    fn into_event(self, mark: Mark) -> Result<Event> {
        let object = self.object_ref.unwrap_or_default();
        let time = microseconds(&self.request_received_timestamp)?;
        Ok(Event {
            id: self.audit_id,
            user: self.user.username,
            verb: self.verb,
            uri: self.request_uri,
            group: object.api_group,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: self.response_status.map_or(0, |status| status.code),
            allowed: self.annotations.decision == "allow",
            user_agent: self.user_agent,
            time,
            duration: microseconds(&self.stage_timestamp)? - time,
            mark,
        })
    }
}

fn microseconds(text: &str) -> Result<i64> {
    let time: jiff::Timestamp = text.parse().with_context(|| format!("{text:?} is no time"))?;
    Ok(time.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, stage: &str, verb: &str, user: &str, code: u16) -> String {
        format!(
            r#"{{"auditID":"{id}","stage":"{stage}","requestURI":"/api/v1/pods","verb":"{verb}","user":{{"username":"{user}"}},"responseStatus":{{"code":{code}}},"requestReceivedTimestamp":"2025-01-02T03:04:05.000006Z","stageTimestamp":"2025-01-02T03:04:05.000016Z"}}"#
        ) + "\n"
    }

    #[test]
    fn a_watch_that_began_and_ended_is_one_request_and_no_counted_one() -> Result<()> {
        let text = line("a", "ResponseStarted", "watch", "u", 200) + &line("b", "ResponseComplete", "create", "u", 403);
        let text = text + &line("a", "ResponseComplete", "watch", "u", 200) + "{\"half";
        let log = Log::parse(text.as_bytes(), Mark::default())?;
        assert_eq!(log.len(), 2);
        assert_eq!(log.events()[0].duration, 10);
        assert_eq!(log.counted().len(), 1);
        assert_eq!(log.writes().denied().len(), 1);
        assert!(log.by_user("other").is_empty());
        Ok(())
    }

    #[test]
    fn a_mark_is_never_inside_a_line() -> Result<()> {
        let path = std::env::temp_dir().join(format!("devcluster-audit-{}", std::process::id()));
        let whole = line("a", "ResponseComplete", "get", "u", 200);
        let with_half = whole.clone() + "{\"half";
        for (text, expected) in [
            ("", 0),
            ("{\"half", 0),
            (&whole, whole.len()),
            (&with_half, whole.len()),
        ] {
            std::fs::write(&path, text)?;
            assert_eq!(mark(&path)?, Mark(expected as u64));
        }
        std::fs::remove_file(&path)?;
        Ok(())
    }

    #[test]
    fn only_what_ends_after_a_mark_is_since_it() -> Result<()> {
        let first = line("a", "ResponseComplete", "get", "u", 200);
        let mark = Mark(first.len() as u64);
        let log = Log::parse(
            (first + &line("b", "ResponseComplete", "get", "u", 200)).as_bytes(),
            Mark::default(),
        )?;
        let since = log.since(mark);
        assert_eq!(
            since.events().iter().map(|event| event.id.as_str()).collect::<Vec<_>>(),
            ["b"]
        );
        Ok(())
    }
}
