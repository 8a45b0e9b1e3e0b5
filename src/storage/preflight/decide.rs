//! Decides whether the registry's pods may use changed storage: only after a successful preflight.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::record;
use crate::api::{Config, Kind};
use crate::config::content;
use crate::config::event_request::EventRequest;
use crate::config::facts::StorageFacts;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::program::RegistryStorage;
use crate::status::judge::{Deadline, PREFLIGHT_FAILED, Preflight};
use crate::storage::engine::cache::CachedPreflight;
use crate::storage::engine::context::Engine;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::outcome::Waiting;
use crate::storage::model::preflight::{Denial, Preflighted, Probe, Probed};
use crate::storage::model::target::Request;
use crate::storage::traits::{Cluster, Driver};

/// How long a service may refuse a new key before that counts as an error. New keys become valid after seconds to
/// minutes.
const FRESH: SignedDuration = SignedDuration::from_mins(2);

/// Longest time for one preflight. A service that does not respond must not stop the pass.
const LIMIT: Duration = Duration::from_secs(90);

/// Whether the registry may use the storage.
#[derive(Default)]
pub struct Decision {
    /// The registry may use the storage.
    pub passed: bool,
    /// Merge patch of the Config, which the controller stores in any case.
    pub record: Option<Value>,
    /// Events to publish.
    pub events: Vec<EventRequest>,
    /// Why the registry may not use the storage yet.
    pub preflight: Option<Preflight>,
    /// Longest time until the next decision.
    pub again: Option<Duration>,
    /// Set if `record` must be stored before the step is repeated.
    pub wait: Option<Waiting>,
}

impl Decision {
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

/// Runs the preflight if the registry's storage would change.
pub async fn decide<D: Driver>(
    driver: &D,
    engine: &Engine<'_, impl Cluster>,
    request: &Request<'_>,
    access: &RegistryStorage,
    facts: &StorageFacts,
) -> Decision {
    let unrecord = || unrecorded(engine, request);
    if !(engine.pods.differs)(facts) {
        return Decision::passed(unrecord());
    }
    let location = request.target.location.as_deref().unwrap_or_default();
    let roots = roots(request.snapshot, facts);
    let fingerprint = fingerprint(engine, location, facts, &roots);
    let now = request.snapshot.now;
    if let Some(last) = engine.cache.preflight(&fingerprint) {
        if last.result == Preflighted::Passed {
            return Decision::passed(unrecord());
        }
        if last.wait(now).is_some() {
            return from_result(&last, now);
        }
    }
    if let Some(missing) = missing(request.snapshot) {
        return Decision {
            record: unrecord(),
            ..Decision::not_yet(Preflight::Waiting(format!(
                "the preflight of the storage waits for {missing}"
            )))
        };
    }
    if !engine.pods.read_only
        && let Some(record) = record::recorded::<D>(request, request.storage)
    {
        let message = format!("the preflight of {location} is about to start");
        return Decision {
            record: Some(record),
            preflight: Some(Preflight::Waiting(message.clone())),
            wait: Some(Waiting {
                after: Duration::ZERO,
                message,
                deadline: Deadline::Common,
            }),
            ..Decision::default()
        };
    }
    run(driver, engine, request, access, roots, fingerprint).await
}

/// Runs the preflight.
async fn run<D: Driver>(
    driver: &D,
    engine: &Engine<'_, impl Cluster>,
    request: &Request<'_>,
    access: &RegistryStorage,
    roots: String,
    fingerprint: Fingerprint,
) -> Decision {
    let now = request.snapshot.now;
    if let Err(error) = engine.cluster.confirm().await {
        return Decision::not_yet(Preflight::Undecided(error.message));
    }
    let probe = Probe {
        access,
        key: &super::key(request.snapshot),
        proxies: &engine.pods.proxies,
        roots: &roots,
        read_only: engine.pods.read_only,
        s3: engine.pods.program.s3_wire(),
    };
    let mut probed = match tokio::time::timeout(LIMIT, driver.preflight(request, &probe)).await {
        Ok(probed) => probed,
        Err(_) => Probed {
            left: true,
            ..Preflighted::Undecided(format!("the preflight got no response within {} s", LIMIT.as_secs())).into()
        },
    };
    let since = failing_since(engine, request.config, &probed.result, now);
    let before = engine.cache.preflight(&fingerprint);
    let last = engine.cache.store_preflight(fingerprint, &probed, now, since);
    let mut decision = from_result(&last, now);
    // An event that an earlier preflight of this storage led to is not published again.
    probed.events.retain(|event| {
        before
            .as_ref()
            .is_none_or(|before| !before.reported.contains(event.reason))
    });
    decision.events = probed.events;
    if !probed.left {
        decision.record = unrecorded(engine, request);
    }
    decision
}

/// Patch that removes the probe record of this location; `None` if a probe object of an earlier process may remain, or
/// if there is no record.
pub fn unrecorded(engine: &Engine<'_, impl Cluster>, request: &Request<'_>) -> Option<Value> {
    let location = request.target.location.as_deref().unwrap_or_default();
    (!engine.cache.has_leftovers())
        .then(|| record::without(request.config, location))
        .flatten()
}

fn from_result(last: &CachedPreflight, now: Timestamp) -> Decision {
    let preflight = match &last.result {
        Preflighted::Passed => return Decision::passed(None),
        Preflighted::Undecided(cause) => Preflight::Undecided(format!(
            "{cause}; whether the registry can use the storage is not known yet"
        )),
        Preflighted::Denied(denial) if denial.auth && now.duration_since(last.since) < FRESH => Preflight::Waiting(
            format!("{}; new keys may need some minutes to become valid", text(denial)),
        ),
        Preflighted::Denied(denial) => Preflight::Failed(text(denial)),
    };
    let remaining = |until: Timestamp| Duration::try_from(until.duration_since(now)).unwrap_or_default();
    // The refusal of a new key becomes an error after FRESH.
    let becomes_error = match preflight {
        Preflight::Waiting(_) => last.since.checked_add(FRESH).ok().map(remaining),
        _ => None,
    };
    Decision {
        again: becomes_error.into_iter().chain(last.wait(now)).min(),
        ..Decision::not_yet(preflight)
    }
}

/// Time of the first failure if an earlier process reported the failure, so that Degraded stays Degraded.
fn failing_since(
    engine: &Engine<'_, impl Cluster>,
    config: &Config,
    result: &Preflighted,
    now: Timestamp,
) -> Option<Timestamp> {
    let conditions = config.status.as_ref().and_then(|s| s.conditions.as_deref());
    let reported = conditions
        .unwrap_or_default()
        .iter()
        .any(|c| c.type_ == "Degraded" && c.reason.as_deref() == Some(PREFLIGHT_FAILED));
    let first = !engine.cache.has_preflight() && matches!(result, Preflighted::Denied(_));
    (reported && first).then(|| now.checked_sub(FRESH).unwrap_or(now))
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

fn fingerprint(engine: &Engine<'_, impl Cluster>, location: &str, facts: &StorageFacts, roots: &str) -> Fingerprint {
    let mode = if engine.pods.read_only { "read-only" } else { "" };
    let proxies = engine.pods.proxies.texts().into_iter();
    Fingerprint::of_facts(location, facts).and(proxies.chain([mode, roots]))
}

/// The first missing object of those that must exist before a preflight.
fn missing(snapshot: &Snapshot) -> Option<String> {
    let account = names::REGISTRY_SERVICE_ACCOUNT;
    if snapshot.objects.operand(Kind::ServiceAccount, account).is_none() {
        return Some(format!("ServiceAccount {account}"));
    }
    snapshot
        .namespace_uid()
        .is_empty()
        .then(|| format!("Namespace {}", names::NAMESPACE))
}

/// CA certificates that the pods trust in addition to those of their image: the platform's bundle, the user's, the
/// storage's.
fn roots(snapshot: &Snapshot, facts: &StorageFacts) -> String {
    let texts = |map: &str| -> Vec<(String, String)> {
        let map = snapshot.objects.operand(Kind::ConfigMap, map);
        let keys = |member| map.and_then(|map| map.get(member)?.as_object());
        let keys = [keys("data"), keys("binaryData")]
            .into_iter()
            .flatten()
            .flat_map(Map::keys);
        let text = |key: &String| Some((key.clone(), content::map_text(map?, key)?.into_owned()));
        keys.filter_map(text).collect()
    };
    let users = texts(names::CERTIFICATES_MAP)
        .into_iter()
        .filter(|(key, _)| key != names::STORAGE_CA_KEY);
    let platform = texts(names::TRUSTED_CA_MAP)
        .into_iter()
        .filter(|(key, _)| key == names::CA_BUNDLE_KEY);
    let mut roots: Vec<String> = users.chain(platform).map(|(_, pem)| pem).collect();
    roots.extend(facts.ca_bundle.clone());
    roots.sort_unstable();
    roots.dedup();
    roots.join("\n")
}
