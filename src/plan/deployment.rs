//! The registry's pods.

mod common;
mod environment;
mod scheduling;
mod stock;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::parts::Parts;
use super::source::Source;
use super::volumes;
use super::{
    Desired, Drift, Inputs, Origin, Plan, annotation, certificates, checksum, config, dependencies, drift, exposure,
};
use crate::api::Kind;
use crate::config::event_request::EventRequest;
use crate::config::resolve::{Resolved, Rollout};
use crate::config::snapshot::Snapshot;
use crate::names::{self, Program};

/// How many pods there are, and how they are replaced.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) replicas: i32,
    strategy: Value,
}

impl Scale {
    /// What the Config wants; where that does not fit the storage, or storage that stays is a volume of which nobody
    /// looked whether it fits, what the running Deployment has. That stays even if it does not fit the claim, so that a takeover from the
    /// Go operator replaces no pod; only an edit by hand is reverted.
    ///
    /// `None` where it does not fit and nothing runs.
    pub(super) fn of(inputs: &Inputs<'_>) -> Option<Self> {
        let Inputs {
            resolved,
            storage,
            snapshot,
            recorded,
        } = inputs;
        let fits = match storage {
            Source::Facts(facts) => facts.unfit.is_none(),
            Source::Live => Parts::of(inputs).is_none_or(|parts| !parts.is_filesystem()),
            Source::Nowhere => false,
        };
        if fits {
            return Some(Self {
                replicas: resolved.replicas,
                strategy: strategy(resolved.rollout, resolved.replicas),
            });
        }
        let live = snapshot.objects.operand(Kind::Deployment, names::REGISTRY)?;
        let generation = live.pointer("/metadata/generation").and_then(Value::as_i64);
        // Somebody edited the Deployment by hand, so its replicas and strategy are nobody's decision. A ReadWriteOnce claim permits one
        // pod at a time.
        if storage.facts().is_some() && recorded.is_some() && *recorded != generation {
            return Some(Self {
                replicas: resolved.replicas.min(1),
                strategy: strategy(Rollout::Recreate, 1),
            });
        }
        let strategy = live.pointer("/spec/strategy").cloned();
        let strategy = strategy.unwrap_or_else(|| strategy_of_default(live_replicas(live)));
        Some(Self {
            replicas: live_replicas(live),
            strategy,
        })
    }
}

fn strategy_of_default(replicas: i32) -> Value {
    strategy(Rollout::RollingUpdate, replicas)
}

/// With a scale-up and a new template at once, the old pods are scaled first; on two workers that repel each other's pods
/// up to replicas - 2 of them find no place, and one must be free to go.
fn strategy(rollout: Rollout, replicas: i32) -> Value {
    let (unavailable, surge) = match replicas {
        2 => (1, json!(1)),
        replicas => ((replicas - 1).max(0), json!("25%")),
    };
    match rollout {
        Rollout::Recreate => json!({"type": "Recreate"}),
        Rollout::RollingUpdate => {
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}})
        }
    }
}

fn live_replicas(live: &Value) -> i32 {
    // Absent counts as one, as the API server reads it.
    live.pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .and_then(|n| i32::try_from(n).ok())
        .unwrap_or(1)
}

/// Plans the Deployment, if there is to be one. It depends on the Secrets that `plan` holds already.
pub(super) fn plan(inputs: &Inputs<'_>, scale: Option<&Scale>, plan: &mut Plan) {
    let resolved = inputs.resolved;
    if !resolved.overrides.ignored.is_empty() {
        plan.events.push(ignored_overrides(&resolved.overrides.ignored));
    }
    let Some(mut parts) = Parts::of(inputs) else { return };
    if asks_for_login(inputs) && super::stock::has_no_users(inputs.snapshot, plan) {
        return; // Pods would wait for their users, and the ones that run must not go before.
    }
    // The digest of the running pods does not depend on what the plan writes.
    let depends_on = match parts.digest {
        Some(_) => Vec::new(),
        None => dependencies::objects(&parts, inputs.snapshot.environment.program),
    };
    let map = certificates_map(inputs);
    let digest = || dependencies::digest(&parts, inputs.snapshot, plan, map.as_ref());
    parts.digest = Some(parts.digest.clone().unwrap_or_else(digest));
    let spread = scheduling::spread(inputs.resolved, inputs.snapshot);
    match deployment(inputs, scale, &parts, spread) {
        Ok(desired) => {
            let desired = unchanged_pods(inputs, scale, &parts, &desired).unwrap_or(desired);
            plan.present.push(Desired { depends_on, ..desired });
        }
        Err(message) => plan.fail(Kind::Deployment, names::REGISTRY, message),
    }
}

/// The Deployment with the constraints of an earlier build of the Go operator, if its pods are otherwise those of the live Deployment, which
/// `newest` did not write. So a take-over replaces no pod for the sake of fields that only the next rollout needs.
fn unchanged_pods(inputs: &Inputs<'_>, scale: Option<&Scale>, parts: &Parts, newest: &Desired) -> Option<Desired> {
    let former = scheduling::former_spread(inputs.resolved, inputs.snapshot)?;
    let live = inputs.snapshot.objects.operand(Kind::Deployment, names::REGISTRY)?;
    let hash = |object| annotation(object, names::SPEC_HASH_ANNOTATION);
    if hash(live) == hash(&newest.body) {
        return None; // Somebody took the fields away.
    }
    let desired = deployment(inputs, scale, parts, former).ok()?;
    let (wanted, live) = (desired.body.pointer("/spec/template")?, live.pointer("/spec/template")?);
    (drift::holds(wanted, Some(live)) && !has_more(wanted, live)).then_some(desired)
}

/// Whether the live template has something that only a new one takes away.
fn has_more(wanted: &Value, live: &Value) -> bool {
    let has = |template: &Value, member: &str| {
        template["spec"]
            .get(member)
            .is_some_and(|value| !drift::is_empty(value))
    };
    let optional = ["affinity", "tolerations", "runtimeClassName"];
    let annotations = live.pointer("/metadata/annotations").and_then(Value::as_object);
    optional.iter().any(|member| has(live, member) && !has(wanted, member))
        || annotations
            .into_iter()
            .flatten()
            .any(|(key, _)| annotation(wanted, key).is_none())
}

/// Whether the pods are those of the stock registry, and ask for a login.
fn asks_for_login(inputs: &Inputs<'_>) -> bool {
    inputs.snapshot.environment.program == Program::Distribution
        && exposure::asks_for_login(inputs.resolved, inputs.snapshot)
}

/// ConfigMap `image-registry-certificates` as it will be after the rollout: with the CA of the new storage alone, with or without it
/// under the host names of the registry, and without the mark that closes it. `None` if none of these changes. The digest of the
/// dependencies uses it, so that the pods are replaced once.
///
/// Nothing else of the map is foreseen: pods that started before it is published would not have it, and their digest would say that they
/// have. The CA of the storage is in the map under its own key, whatever the host names have.
fn certificates_map(inputs: &Inputs<'_>) -> Option<Value> {
    let Inputs {
        resolved,
        storage,
        snapshot,
        recorded: _,
    } = *inputs;
    let ca = storage.facts()?.ca_bundle.as_deref();
    let live = snapshot.objects.operand(Kind::ConfigMap, names::CERTIFICATES_MAP)?;
    let planned = |disable_redirect| {
        let wanted = certificates::certificates(snapshot, ca, disable_redirect, false);
        let desired = wanted.plan.desired(Kind::ConfigMap, names::CERTIFICATES_MAP)?;
        Some(drift::after_write(desired, live))
    };
    // The live map is the one that the other setting makes.
    let is_switched = || {
        ca?; // nothing to leave out
        let content = |map: &Value| ["data", "binaryData"].map(|member| map.get(member).cloned());
        planned(!resolved.disable_redirect).filter(|other| content(other) == content(live))
    };
    if certificates::published_storage_ca(snapshot).as_deref() != ca || is_switched().is_some() {
        return planned(resolved.disable_redirect);
    }
    live.get("immutable")?;
    let mut unmarked = live.clone();
    unmarked.as_object_mut()?.remove("immutable");
    Some(unmarked)
}

fn ignored_overrides(keys: &[String]) -> EventRequest {
    let message = format!(
        "spec.unsupportedConfigOverrides.deployment.annotations sets {}, which the operator keeps for itself: ignored",
        keys.join(", ")
    );
    EventRequest {
        warning: true,
        reason: "OverrideIgnored",
        message,
    }
}

fn deployment(
    inputs: &Inputs<'_>,
    scale: Option<&Scale>,
    parts: &Parts,
    spread: Vec<Value>,
) -> Result<Desired, String> {
    let Inputs {
        resolved,
        storage,
        snapshot,
        recorded: _,
    } = *inputs;
    let facts = storage.facts();
    if let Some(why) = facts.and_then(|facts| facts.not_usable.as_ref()) {
        return Err(why.clone());
    }
    let scale = scale.ok_or_else(|| facts.and_then(|facts| facts.unfit.clone()).unwrap_or_default())?;
    let digest = parts.digest.as_deref().unwrap_or_default();
    if resolved.http_secret.is_empty() {
        return Err("spec.httpSecret of the Config is not stored yet".to_owned());
    }
    let security = pod_security(snapshot)?;
    let labels = json!({names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE});
    let spec = json!({
        "progressDeadlineSeconds": 120,
        "replicas": scale.replicas,
        "selector": {"matchLabels": labels},
        "strategy": scale.strategy,
        "template": {
            "metadata": {"labels": pod_labels(inputs), "annotations": pod_annotations(resolved, digest)},
            "spec": pod(inputs, parts, scale.replicas, &security, spread),
        },
    });
    let annotations = annotations(&spec, inputs);
    let live = snapshot.objects.operand(Kind::Deployment, names::REGISTRY);
    let dropped = live.map_or_else(Vec::new, |live| dropped_annotations(live, &annotations));
    let body = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": names::REGISTRY,
            "namespace": names::NAMESPACE,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    });
    let desired = Desired::new(Kind::Deployment, Drift::Generation, body)
        .with_immutable(&["/spec/selector"])
        .with_origins(origins());
    Ok(Desired {
        drop_annotations: dropped,
        ..desired
    })
}

/// Annotations of the Deployment with this spec.
fn annotations(spec: &Value, inputs: &Inputs<'_>) -> Value {
    let mut annotations = json!({
        names::VERSION_ANNOTATION: inputs.snapshot.environment.release_version,
        names::SPEC_HASH_ANNOTATION: checksum::spec_hash(spec),
    });
    let overrides = &inputs.resolved.overrides.annotations;
    extend(&mut annotations, overrides);
    if !overrides.is_empty() {
        let keys: Vec<&str> = overrides.keys().map(String::as_str).collect();
        annotations[names::OVERRIDES_ANNOTATION] = json!(keys.join(","));
    }
    annotations
}

/// Fields of the Deployment that come from the Config.
fn origins() -> impl Iterator<Item = Origin> {
    const OVERRIDES: &str = "spec.unsupportedConfigOverrides.deployment";
    let copied = [
        ("spec.replicas", "spec.replicas"),
        ("spec.template.spec.tolerations", "spec.tolerations"),
        ("spec.template.spec.nodeSelector", "spec.nodeSelector"),
        ("spec.template.spec.affinity", "spec.affinity"),
        (
            "spec.template.spec.topologySpreadConstraints",
            "spec.topologySpreadConstraints",
        ),
        ("spec.template.spec.containers[0].resources", "spec.resources"),
    ];
    let made = [
        ("spec.strategy", "spec.rolloutStrategy".to_owned()),
        ("spec.template.spec.volumes", "spec.storage".to_owned()),
        (
            "spec.template.spec.containers[0].volumeMounts",
            "spec.storage".to_owned(),
        ),
        (
            "spec.template.spec.runtimeClassName",
            format!("{OVERRIDES}.runtimeClassName"),
        ),
        ("metadata.annotations", format!("{OVERRIDES}.annotations")),
        ("spec.template.annotations", format!("{OVERRIDES}.annotations")),
        ("spec.template.metadata.annotations", format!("{OVERRIDES}.annotations")),
    ];
    let copied = copied.map(|(field, source)| Origin::copied(field, source, config()));
    let made = made.map(|(field, source)| Origin::made(field, source, config()));
    copied.into_iter().chain(made)
}

fn extend(target: &mut Value, overrides: &BTreeMap<String, String>) {
    for (key, value) in overrides {
        target[key] = json!(value);
    }
}

/// Annotations that earlier overrides set, as the live Deployment records them, and that nobody wants any more.
fn dropped_annotations(live: &Value, wanted: &Value) -> Vec<String> {
    let Some(record) = annotation(live, names::OVERRIDES_ANNOTATION) else {
        return Vec::new();
    };
    let recorded = record
        .split(',')
        .filter(|key| !key.is_empty())
        .chain([names::OVERRIDES_ANNOTATION]);
    recorded
        .filter(|key| wanted.get(key).is_none())
        .map(str::to_owned)
        .collect()
}

/// Pods that ask nobody for a login can be told by their labels.
fn pod_labels(inputs: &Inputs<'_>) -> Value {
    let mut labels = json!({names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE});
    if inputs.snapshot.environment.program == Program::Distribution && !asks_for_login(inputs) {
        labels[names::ANONYMOUS_LABEL] = json!("true");
    }
    labels
}

fn pod_annotations(resolved: &Resolved, digest: &str) -> Value {
    let mut annotations = json!({
        names::PARTITIONING_ANNOTATION: "{\"effect\": \"PreferredDuringScheduling\"}",
        names::DEPENDENCIES_ANNOTATION: digest,
        names::SCC_ANNOTATION: "restricted-v2",
    });
    extend(&mut annotations, &resolved.overrides.annotations);
    annotations
}

/// The group of volumes, from the platform's range for the namespace.
fn pod_security(snapshot: &Snapshot) -> Result<Value, String> {
    let mut security = json!({"fsGroupChangePolicy": "OnRootMismatch"});
    let namespace = snapshot.objects.cluster(Kind::Namespace, names::NAMESPACE);
    let range = namespace.and_then(|namespace| annotation(namespace, names::SUPPLEMENTAL_GROUPS_ANNOTATION));
    match range.and_then(first_group) {
        Some(group) => security["fsGroup"] = json!(group),
        // Without security context constraints nobody gives out group ranges.
        None if snapshot.security_api => {
            return Err(format!(
                "Namespace {} has no usable annotation {} (it is {}): the platform sets it, wait or restore it as \
                 <first group>/<number of groups>",
                names::NAMESPACE,
                names::SUPPLEMENTAL_GROUPS_ANNOTATION,
                range.map_or_else(|| "absent".to_owned(), |range| format!("{range:?}"))
            ));
        }
        None if snapshot.environment.program == Program::Distribution => stock::user(&mut security),
        None => {}
    }
    Ok(security)
}

/// `1000430000` of `1000430000/10000`, `1000430000-1000439999` and lists of these.
fn first_group(range: &str) -> Option<i64> {
    let block = range.split(',').next()?;
    let (first, _) = block.split_once(['/', '-'])?;
    first.trim().parse().ok().filter(|group| *group >= 0)
}

fn pod(inputs: &Inputs<'_>, parts: &Parts, replicas: i32, security: &Value, spread: Vec<Value>) -> Value {
    let Inputs {
        resolved,
        storage: _,
        snapshot,
        recorded: _,
    } = *inputs;
    let (container, own_volumes) = match snapshot.environment.program {
        Program::Platform => (container(inputs, parts), volumes::own().to_vec()),
        Program::Distribution => {
            let asks = asks_for_login(inputs);
            let image = &snapshot.environment.registry_image;
            (stock::container(image, resolved, parts, asks), volumes::stock(asks))
        }
    };
    let mut pod = json!({
        "serviceAccountName": names::REGISTRY_SERVICE_ACCOUNT,
        "priorityClassName": "system-cluster-critical",
        // The pause before the shutdown, and then what runs to its end.
        "terminationGracePeriodSeconds": 55,
        "nodeSelector": scheduling::node_selector(resolved),
        "securityContext": security,
        "containers": [container],
        "volumes": parts.volumes.iter().cloned().chain(own_volumes).collect::<Vec<_>>(),
    });
    if snapshot.environment.program == Program::Distribution {
        // It never calls the API server. The token for clouds has a volume of its own.
        pod["automountServiceAccountToken"] = json!(false);
    }
    if !spread.is_empty() {
        pod["topologySpreadConstraints"] = Value::from(spread);
    }
    if let Some(affinity) = scheduling::affinity(resolved, replicas) {
        pod["affinity"] = affinity;
    }
    if !resolved.tolerations.is_empty() {
        pod["tolerations"] = Value::from(resolved.tolerations.clone());
    }
    if let Some(class) = &resolved.overrides.runtime_class {
        pod["runtimeClassName"] = json!(class);
    }
    pod
}

/// Makes one trust store of the CAs of users and platform, then becomes the registry.
const COMMAND: &str = "mkdir -p /etc/pki/ca-trust/extracted/edk2 /etc/pki/ca-trust/extracted/java \
    /etc/pki/ca-trust/extracted/openssl /etc/pki/ca-trust/extracted/pem \
    && update-ca-trust extract --output /etc/pki/ca-trust/extracted/ \
    && exec /usr/bin/dockerregistry";

fn container(inputs: &Inputs<'_>, parts: &Parts) -> Value {
    let Inputs {
        resolved,
        storage: _,
        snapshot,
        recorded: _,
    } = *inputs;
    json!({
        "name": "registry",
        "image": snapshot.environment.registry_image,
        "command": ["/bin/sh", "-c", COMMAND],
        "ports": [{"containerPort": names::REGISTRY_PORT, "protocol": "TCP"}],
        "env": environment::variables(resolved, parts),
        "livenessProbe": common::probe("/healthz", 5),
        // Later than the first check of the storage.
        "readinessProbe": common::probe("/healthz", 15),
        // Clients go elsewhere once the endpoint is gone everywhere: the registry waits for that before it ends.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "25"]}}},
        "resources": common::resources(resolved),
        "securityContext": {"readOnlyRootFilesystem": true},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": parts.mounts.iter().cloned().chain(common_mounts()).collect::<Vec<_>>(),
    })
}

fn common_mounts() -> [Value; 6] {
    [
        json!({"name": "registry-tls", "mountPath": "/etc/secrets"}),
        json!({"name": "ca-trust-extracted", "mountPath": "/etc/pki/ca-trust/extracted"}),
        json!({"name": "registry-certificates", "mountPath": "/etc/pki/ca-trust/source/anchors"}),
        json!({"name": "trusted-ca", "mountPath": "/usr/share/pki/ca-trust-source"}),
        json!({"name": "installation-pull-secrets", "mountPath": "/var/lib/kubelet/"}),
        json!({
            "name": "bound-sa-token",
            "mountPath": "/var/run/secrets/openshift/serviceaccount",
            "readOnly": true,
        }),
    ]
}

/// The first of two updates: the live Deployment without its affinity.
///
/// Pods that repel each other also repel the ones that shall be added, so the affinity goes first; the event of this update
/// starts the pass that does the rest. `None` where one update does: nothing to remove, or no more pods than before.
pub fn affinity_first(desired: &Value, live: &Value) -> Option<Value> {
    const AFFINITY: &str = "/spec/template/spec/affinity";
    let has = |object: &Value| {
        object
            .pointer(AFFINITY)
            .is_some_and(|affinity| !super::drift::is_empty(affinity))
    };
    if !has(live) || has(desired) || live_replicas(desired) <= live_replicas(live) {
        return None;
    }
    let mut first = live.clone();
    // The API server keeps these; a part of them would be taken for the whole.
    first.get_mut("metadata")?.as_object_mut()?.remove("managedFields");
    first
        .pointer_mut("/spec/template/spec")?
        .as_object_mut()?
        .remove("affinity");
    Some(first)
}

#[cfg(test)]
mod tests;
