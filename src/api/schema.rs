//! JSON schemas of fields that are strings or JSON in the wire types but have a structure in the CRD, so that a derive cannot
//! generate them.
//!
//! Fields of the wire types refer to these functions in `schema_with`. The core/v1 schemas have no descriptions: see the
//! documentation of the core API.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Pattern of a resource quantity, as in the published CRDs.
const QUANTITY: &str = concat!(
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|",
    r"([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
);

/// A log level; the empty string is valid and selects the default.
pub(super) fn log_level(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["", "Normal", "Debug", "Trace", "TraceAll"], "default": "Normal" })
}

/// A duration. The CRD format accepts more than Go's durations, see [`super::duration`].
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "duration" })
}

/// An integer without a declared format: the API server stores 64 bits.
pub(super) fn integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer" })
}

/// A point in time, RFC 3339.
pub(super) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// An object with arbitrary content. It may be null, and on live clusters often is.
pub(super) fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true })
}

/// core/v1 `ResourceRequirements`.
pub(super) fn resources(_: &mut SchemaGenerator) -> Schema {
    let quantities = json!({
        "type": "object",
        // `crd::clean` adds `anyOf` later: kube's schema rewriter would empty it.
        "additionalProperties": { "pattern": QUANTITY, "x-kubernetes-int-or-string": true },
    });
    json_schema!({
        "type": "object",
        "properties": {
            "claims": {
                "type": "array",
                "items": object(&json!({ "name": string(), "request": string() }), &["name"]),
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "limits": quantities,
            "requests": quantities,
        },
    })
}

/// core/v1 `SecretKeySelector`.
pub(super) fn secret_key_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["key"],
        "properties": {
            "key": { "type": "string", "description": "Key in the Secret." },
            "name": { "type": "string", "default": "", "description": "Name of the Secret." },
            "optional": { "type": "boolean", "description": "Whether Secret or key may be absent." },
        },
        "x-kubernetes-map-type": "atomic",
    })
}

/// A list of core/v1 `Toleration`. The field adds the list type: it differs between Config and ImagePruner.
pub(super) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    let toleration = json!({
        "effect": string(),
        "key": string(),
        "operator": string(),
        "tolerationSeconds": { "type": "integer", "format": "int64" },
        "value": string(),
    });
    json_schema!({ "type": "array", "items": object(&toleration, &[]) })
}

/// A list of core/v1 `TopologySpreadConstraint`.
pub(super) fn topology_spread_constraints(_: &mut SchemaGenerator) -> Schema {
    let constraint = json!({
        "labelSelector": label_selector(),
        "matchLabelKeys": string_list(),
        "maxSkew": int32(),
        "minDomains": int32(),
        "nodeAffinityPolicy": string(),
        "nodeTaintsPolicy": string(),
        "topologyKey": string(),
        "whenUnsatisfiable": string(),
    });
    let mut list = json_schema!({ "type": "array", "x-kubernetes-list-type": "atomic" });
    list.insert(
        "items".to_owned(),
        object(&constraint, &["maxSkew", "topologyKey", "whenUnsatisfiable"]),
    );
    list
}

/// core/v1 `Affinity`.
pub(super) fn affinity(_: &mut SchemaGenerator) -> Schema {
    let node_term = atomic(&json!({
        "matchExpressions": atomic_list(&requirement()),
        "matchFields": atomic_list(&requirement()),
    }));
    let mut node_required = atomic(&json!({ "nodeSelectorTerms": atomic_list(&node_term) }));
    node_required["required"] = json!(["nodeSelectorTerms"]);
    let node_preferred = json!({ "preference": node_term, "weight": int32() });
    let pod_term = json!({
        "labelSelector": label_selector(),
        "matchLabelKeys": string_list(),
        "mismatchLabelKeys": string_list(),
        "namespaceSelector": label_selector(),
        "namespaces": string_list(),
        "topologyKey": string(),
    });
    let pod_term = object(&pod_term, &["topologyKey"]);
    let pod_preferred = json!({ "podAffinityTerm": pod_term, "weight": int32() });
    let pods = object(
        &json!({
            "preferredDuringSchedulingIgnoredDuringExecution":
                atomic_list(&object(&pod_preferred, &["podAffinityTerm", "weight"])),
            "requiredDuringSchedulingIgnoredDuringExecution": atomic_list(&pod_term),
        }),
        &[],
    );
    let nodes = object(
        &json!({
            "preferredDuringSchedulingIgnoredDuringExecution":
                atomic_list(&object(&node_preferred, &["preference", "weight"])),
            "requiredDuringSchedulingIgnoredDuringExecution": node_required,
        }),
        &[],
    );
    json_schema!({
        "type": "object",
        "properties": { "nodeAffinity": nodes, "podAffinity": pods, "podAntiAffinity": pods },
    })
}

fn label_selector() -> Value {
    atomic(&json!({
        "matchExpressions": atomic_list(&requirement()),
        "matchLabels": { "type": "object", "additionalProperties": string() },
    }))
}

fn requirement() -> Value {
    object(
        &json!({ "key": string(), "operator": string(), "values": string_list() }),
        &["key", "operator"],
    )
}

fn object(properties: &Value, required: &[&str]) -> Value {
    let mut object = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn atomic(properties: &Value) -> Value {
    json!({ "type": "object", "properties": properties, "x-kubernetes-map-type": "atomic" })
}

fn atomic_list(items: &Value) -> Value {
    json!({ "type": "array", "items": items, "x-kubernetes-list-type": "atomic" })
}

fn string_list() -> Value {
    atomic_list(&string())
}

fn string() -> Value {
    json!({ "type": "string" })
}

fn int32() -> Value {
    json!({ "type": "integer", "format": "int32" })
}
