//! Delays the creation of the Deployment until the objects that its pods mount are up to date, so that the first rollout is
//! the only one. An existing Deployment is never delayed.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::certificates::own_keys;
use super::dependencies::Dependencies;
use super::parts::Parts;
use super::{Certificates, Inputs, Plan, drift};
use crate::api::Kind;
use crate::config::content::{self, is_deleting};
use crate::config::snapshot::{Objects, Snapshot};
use crate::config::tls::ServingInfo;
use crate::names;

/// Longest delay of the Deployment.
const LIMIT: SignedDuration = SignedDuration::from_secs(30);

/// Objects and fields that the Deployment waits for, for a message such as `waiting for {}`; empty if the Deployment may be
/// created.
///
/// An object whose source does not exist, such as the copy of an absent pull secret, is not waited for.
pub fn unsettled(inputs: &Inputs<'_>, plan: &Plan, certificates: &Certificates) -> Vec<String> {
    let objects = &inputs.snapshot.objects;
    [
        serving_certificate(inputs.snapshot),
        certificates_map(inputs.snapshot, certificates),
        trusted_ca(objects),
        pull_secret(objects, plan),
        private_secret(objects, plan),
    ]
    .into_iter()
    .flatten()
    .chain(storage_objects(objects, inputs))
    .chain(config(inputs))
    .collect()
}

/// End of the delay. The delay counts from the creation of the Service, so that a restart of the operator does not prolong
/// it. `None` without a Service.
pub fn wait_ends(snapshot: &Snapshot) -> Option<Timestamp> {
    let service = snapshot.objects.operand(Kind::Service, names::REGISTRY)?;
    let created: Timestamp = service.pointer("/metadata/creationTimestamp")?.as_str()?.parse().ok()?;
    created.checked_add(LIMIT).ok()
}

fn serving_certificate(snapshot: &Snapshot) -> Option<String> {
    let objects = &snapshot.objects;
    let name = names::SERVING_CERT_SECRET;
    let Some(service) = objects.operand(Kind::Service, names::REGISTRY) else {
        return Some(format!("Service {}", names::REGISTRY));
    };
    let Some(secret) = objects.operand(Kind::Secret, name) else {
        return Some(if snapshot.issues_certificates() {
            format!("Secret {name}, which the operator issues")
        } else {
            format!("Secret {name}, which the platform's service CA writes")
        });
    };
    if is_deleting(secret) {
        return Some(format!(
            "Secret {name}, which is being deleted and will be created again"
        ));
    }
    let owners = secret
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let uid = service.pointer("/metadata/uid");
    // The garbage collector deletes the certificate of a deleted Service.
    let stale = !owners.is_empty() && !owners.iter().any(|owner| owner.get("uid") == uid);
    stale.then(|| format!("Secret {name}, which still belongs to an earlier Service"))
}

/// The CA ConfigMap must equal the desired ConfigMap and contain the registry's own host names. A missing Service, which
/// defines the host names, is reported by [`serving_certificate`].
fn certificates_map(snapshot: &Snapshot, certificates: &Certificates) -> Option<String> {
    let objects = &snapshot.objects;
    let name = names::CERTIFICATES_MAP;
    let desired = certificates.plan.desired(Kind::ConfigMap, name);
    let own = own_keys(objects);
    let has_own = |map: &Value| {
        own.iter()
            .all(|key| map.get("data").is_some_and(|data| data.get(key).is_some()))
    };
    if !desired.is_some_and(|desired| has_own(&desired.body)) {
        let (map, key) = (names::SERVICE_CA_MAP, names::SERVICE_CA_KEY);
        return Some(if snapshot.issues_certificates() {
            format!(
                "key ca.crt of Secret {}, the CA of its certificate",
                names::SERVING_CERT_SECRET
            )
        } else {
            format!("ConfigMap {map}, into which the platform's service CA injects {key}")
        });
    }
    let live = objects.operand(Kind::ConfigMap, name);
    let settled = desired
        .zip(live)
        .is_some_and(|(desired, live)| !drift::differs(desired, live, None));
    (!settled).then(|| format!("ConfigMap {name}"))
}

fn trusted_ca(objects: &Objects) -> Option<String> {
    let (name, key) = (names::TRUSTED_CA_MAP, names::CA_BUNDLE_KEY);
    let map = objects.operand(Kind::ConfigMap, name)?;
    let labels = map.pointer("/metadata/labels")?;
    if labels.get(names::INJECT_TRUSTED_CA_LABEL).and_then(Value::as_str) != Some("true") {
        return None;
    }
    let missing = content::map_text(map, key).is_none();
    missing.then(|| format!("ConfigMap {name}, into which the platform's network operator injects {key}"))
}

fn pull_secret(objects: &Objects, plan: &Plan) -> Option<String> {
    let name = names::PULL_SECRET_COPY;
    let live = objects.operand(Kind::Secret, name);
    let settled = match plan.desired(Kind::Secret, name) {
        Some(desired) => live.is_some_and(|live| !drift::differs(desired, live, None)),
        None => live.is_none(),
    };
    (!settled).then(|| {
        format!(
            "Secret {name}, the copy of {}/{}",
            names::CONFIG_NAMESPACE,
            names::PULL_SECRET
        )
    })
}

fn private_secret(objects: &Objects, plan: &Plan) -> Option<String> {
    let name = names::PRIVATE_SECRET;
    let both = plan
        .desired(Kind::Secret, name)
        .zip(objects.operand(Kind::Secret, name));
    let settled = both.is_some_and(|(desired, live)| !drift::differs(desired, live, None));
    (!settled).then(|| format!("Secret {name}"))
}

fn storage_objects(objects: &Objects, inputs: &Inputs<'_>) -> Vec<String> {
    let Parts { env, mut volumes, .. } = Parts::of(inputs).unwrap_or_default();
    volumes.retain(|volume| {
        let optional =
            |kind: &str| volume.get(kind).and_then(|source| source.get("optional")) == Some(&Value::Bool(true));
        !optional("secret") && !optional("configMap")
    });
    let Dependencies { maps, secrets } = Dependencies::of_storage(&env, &volumes);
    let secrets = secrets.into_iter().map(|name| (Kind::Secret, name));
    maps.into_iter()
        .map(|name| (Kind::ConfigMap, name))
        .chain(secrets)
        // `private_secret` reports the private Secret.
        .filter(|(kind, name)| name != names::PRIVATE_SECRET && objects.operand(*kind, name).is_none())
        .map(|(kind, name)| format!("{} {name}, which the storage names", kind.kind()))
        .collect()
}

fn config(inputs: &Inputs<'_>) -> Vec<String> {
    let Inputs {
        resolved,
        storage: _,
        snapshot,
        recorded: _,
    } = *inputs;
    let stored = || {
        let config = snapshot.config().ok().flatten();
        resolved.tls != ServingInfo::default() || config.is_some_and(|config| config.spec.observed_config.is_some())
    };
    let mut missing = Vec::new();
    if resolved.http_secret.is_empty() {
        missing.push("spec.httpSecret of the Config".to_owned());
    }
    let observable = snapshot.objects.served(Kind::ApiServer) && snapshot.objects.unreadable(Kind::ApiServer).is_none();
    if observable && !stored() {
        missing.push("spec.observedConfig of the Config".to_owned());
    }
    missing
}

#[cfg(test)]
mod tests;
