//! Whether changed storage may go to the registry's pods: only after it was tried out as they would use it.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::answers::{self, Fingerprint};
use super::driver::{Denial, Driver, Probe, Step, Trial};
use super::{Cluster, Core, preflight, probes};
use crate::api::{Config, Kind};
use crate::config::facts::StorageFacts;
use crate::config::notice::Notice;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::status::judge::{PREFLIGHT_FAILED, Preflight};

/// How long a key that was just made may be refused: services take seconds to minutes to know it everywhere.
const FRESH: SignedDuration = SignedDuration::from_mins(2);

/// What came of it.
#[derive(Default)]
pub struct Tried {
    /// The registry may use the storage.
    pub passed: bool,
    /// Merge patch of the Config, to be stored in any case.
    pub record: Option<Value>,
    /// What to tell.
    pub notices: Vec<Notice>,
    /// Why the registry does not get the storage yet.
    pub preflight: Option<Preflight>,
    /// When it is tried again at the latest.
    pub again: Option<Duration>,
    /// The record is stored first, then the step is taken again.
    pub wait: Option<(Duration, String)>,
}

impl Tried {
    fn passed(record: Option<Value>) -> Self {
        Self {
            passed: true,
            record,
            ..Self::default()
        }
    }

    fn not_yet(preflight: Preflight) -> Self {
        Self {
            preflight: Some(preflight),
            ..Self::default()
        }
    }
}

/// Tries the storage out, if the registry would get another one than it has.
pub async fn try_out<D: Driver>(
    driver: &D,
    core: &Core<'_, impl Cluster>,
    step: &Step<'_>,
    facts: &StorageFacts,
) -> Tried {
    let unrecord = || unrecorded(core, step);
    if !(core.pods.differs)(facts) {
        return Tried::passed(unrecord());
    }
    let location = step.target.location.as_deref().unwrap_or_default();
    let roots = roots(step.snapshot, facts);
    let fingerprint = fingerprint(core, location, facts, &roots);
    let now = step.snapshot.now;
    if let Some(known) = core.answers.tried(&fingerprint) {
        if known.trial == Trial::Passed {
            return Tried::passed(unrecord());
        }
        if now < known.due {
            return refused(&known, now);
        }
    }
    let uid = step.snapshot.namespace_uid();
    if let Some(missing) = missing(step.snapshot, uid) {
        return Tried {
            record: unrecord(),
            ..Tried::not_yet(Preflight::Waiting(format!(
                "storage is tried out when {missing} is there"
            )))
        };
    }
    let key = preflight::key(step.snapshot);
    if !core.pods.read_only
        && let Some(record) = probes::recorded::<D>(step, step.storage)
    {
        return Tried {
            record: Some(record),
            preflight: Some(Preflight::Waiting(format!("{location} is about to be tried out"))),
            wait: Some((Duration::ZERO, format!("{location} is about to be tried out"))),
            ..Tried::default()
        };
    }
    if let Err(fault) = core.cluster.confirm().await {
        return Tried::not_yet(Preflight::Undecided(fault.message));
    }
    let probe = Probe {
        facts,
        key: &key,
        via: &core.pods.via,
        roots: &roots,
        read_only: core.pods.read_only,
    };
    let probed = driver.probe(step, &probe).await;
    let since = lasted(core, step.config, &probed.trial, now);
    let known = core.answers.note_trial(fingerprint, probed.trial, now, since);
    let mut tried = refused(&known, now);
    tried.notices = probed.notices;
    if !probed.left {
        tried.record = unrecord();
    }
    tried
}

/// Takes the record of this location away, unless something may be left there from before.
pub fn unrecorded(core: &Core<'_, impl Cluster>, step: &Step<'_>) -> Option<Value> {
    let location = step.target.location.as_deref().unwrap_or_default();
    (!core.answers.is_clearing())
        .then(|| probes::without(step.config, location))
        .flatten()
}

fn refused(known: &answers::Tried, now: Timestamp) -> Tried {
    let preflight = match &known.trial {
        Trial::Passed => return Tried::passed(None),
        Trial::Undecided(cause) => Preflight::Undecided(format!("{cause}; it is not known yet whether it works")),
        Trial::Denied(denial) if denial.auth && now.duration_since(known.since) < FRESH => {
            Preflight::Waiting(format!("{}; keys that are new may take some minutes", text(denial)))
        }
        Trial::Denied(denial) => Preflight::Failed(text(denial)),
    };
    let left = |until: Timestamp| Duration::try_from(until.duration_since(now)).unwrap_or_default();
    // The verdict on a refusal turns with time.
    let turns = match preflight {
        Preflight::Waiting(_) => known.since.checked_add(FRESH).ok().map(left),
        _ => None,
    };
    Tried {
        again: turns.into_iter().chain([left(known.due)]).min(),
        ..Tried::not_yet(preflight)
    }
}

/// Since when it has failed, where an earlier process told of it: what was degraded stays so.
fn lasted(core: &Core<'_, impl Cluster>, config: &Config, trial: &Trial, now: Timestamp) -> Option<Timestamp> {
    let conditions = config.status.as_ref().and_then(|s| s.conditions.as_deref());
    let told = conditions
        .unwrap_or_default()
        .iter()
        .any(|c| c.type_ == "Degraded" && c.reason.as_deref() == Some(PREFLIGHT_FAILED));
    let first = core.answers.tried_nothing() && matches!(trial, Trial::Denied(_));
    (told && first).then(|| now.checked_sub(FRESH).unwrap_or(now))
}

fn text(denial: &Denial) -> String {
    let Denial {
        action,
        resource,
        code,
        message,
        auth,
    } = denial;
    let verb = if *auth { "denied" } else { "failed" };
    let mut text = format!("{action} {verb} on {resource}: {code}");
    if !message.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {message}");
    }
    text
}

fn fingerprint(core: &Core<'_, impl Cluster>, location: &str, facts: &StorageFacts, roots: &str) -> Fingerprint {
    let mode = if core.pods.read_only { "read-only" } else { "" };
    let way = core.pods.via.texts().into_iter();
    Fingerprint::of_facts(location, facts).and(way.chain([mode, roots]))
}

/// What has to be there before anything can be tried out.
fn missing(snapshot: &Snapshot, uid: &str) -> Option<String> {
    let account = names::REGISTRY_SERVICE_ACCOUNT;
    if snapshot.objects.operand(Kind::ServiceAccount, account).is_none() {
        return Some(format!("ServiceAccount {account}"));
    }
    uid.is_empty().then(|| format!("Namespace {}", names::NAMESPACE))
}

/// What the pods trust beside the roots of their image: the platform's bundle, what users trust, and the storage's CA.
fn roots(snapshot: &Snapshot, facts: &StorageFacts) -> String {
    let data = |map: &str| {
        let map = snapshot.objects.operand(Kind::ConfigMap, map);
        map.and_then(|map| map.get("data")?.as_object().cloned())
            .unwrap_or_default()
    };
    let own = data(names::CERTIFICATES_MAP);
    let users = own.iter().filter(|(key, _)| *key != names::STORAGE_CA_KEY);
    let platform = data(names::TRUSTED_CA_MAP);
    let platform = platform.iter().filter(|(key, _)| *key == names::CA_BUNDLE_KEY);
    let mut roots: Vec<&str> = users.chain(platform).filter_map(|(_, pem)| pem.as_str()).collect();
    roots.extend(facts.ca_bundle.as_deref());
    roots.sort_unstable();
    roots.dedup();
    roots.join("\n")
}
