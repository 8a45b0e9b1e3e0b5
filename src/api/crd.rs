//! The CustomResourceDefinitions of Config and ImagePruner, generated from the wire types.
//!
//! kube's derive and schemars generate the structure; attributes of the fields add the validation rules. This module adds
//! the rest. The result equals the platform's published CRDs except for descriptions (`tests/crds.rs` compares), so a cluster
//! can have either. On OKD/OpenShift the platform's version operator applies the CRDs: this program only prints them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{Config, ImagePruner};

/// A CRD that cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// A CRD cannot be encoded as JSON.
    #[error("cannot represent a CustomResourceDefinition as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A CRD cannot be encoded as YAML.
    #[error("cannot represent a CustomResourceDefinition as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// `configs.imageregistry.operator.openshift.io`.
pub fn config_crd() -> CustomResourceDefinition {
    let mut crd = finish(Config::crd(), "https://github.com/openshift/api/pull/519");
    // The published CRD validates this in spec only: status may mirror a value that an older CRD accepted.
    if let Some(encryption) = member(&mut crd, &["spec", "storage", "oss", "encryption"]) {
        encryption.any_of = Some(vec![
            JSONSchemaProps {
                not: Some(Box::new(JSONSchemaProps {
                    required: Some(vec!["kms".to_owned()]),
                    ..Default::default()
                })),
                ..with_method(JSONSchemaProps {
                    not: Some(Box::new(kms())),
                    ..Default::default()
                })
            },
            JSONSchemaProps {
                required: Some(vec!["kms".to_owned()]),
                ..with_method(kms())
            },
        ]);
    }
    crd
}

/// `imagepruners.imageregistry.operator.openshift.io`.
pub fn image_pruner_crd() -> CustomResourceDefinition {
    finish(ImagePruner::crd(), "https://github.com/openshift/api/pull/555")
}

/// File name in the release payload and YAML of each CRD, in the order in which the payload applies the files.
pub fn files() -> Result<Vec<(&'static str, String)>, PrintError> {
    Ok(vec![
        ("00_configs.crd.yaml", yaml(&config_crd())?),
        ("01_imagepruners.crd.yaml", yaml(&image_pruner_crd())?),
    ])
}

/// All CRDs as one YAML stream, for `kubectl apply -f -`.
pub fn print_all() -> Result<String, PrintError> {
    let documents: Vec<_> = files()?.into_iter().map(|(_, text)| text).collect();
    Ok(documents.join("---\n"))
}

/// A CRD as YAML, with sorted keys, whole numbers without a fraction, and one trailing newline.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, PrintError> {
    let mut value = serde_json::to_value(crd)?;
    whole_numbers(&mut value);
    let text = serde_saphyr::to_string(&value)?;
    Ok(format!("{}\n", text.trim_end()))
}

/// Completes a derived CRD to the form of the platform's published CRD. `approved` is the URL of the API review.
fn finish(mut crd: CustomResourceDefinition, approved: &str) -> CustomResourceDefinition {
    // All four cluster profiles. The published CRDs name only two of them.
    let annotations = [
        ("api-approved.openshift.io", approved),
        ("api.openshift.io/merged-by-featuregates", "true"),
        ("include.release.openshift.io/hypershift", "true"),
        ("include.release.openshift.io/ibm-cloud-managed", "true"),
        ("include.release.openshift.io/self-managed-high-availability", "true"),
        ("include.release.openshift.io/single-node-developer", "true"),
    ];
    crd.metadata.annotations = Some(
        annotations
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    );
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    if let Some(root) = root(&mut crd) {
        clean(root);
        envelope(root);
    }
    crd
}

/// Adds the fields of every Kubernetes object, which the derive omits.
fn envelope(root: &mut JSONSchemaProps) {
    let of_type = |type_: &str, description: Option<&str>| JSONSchemaProps {
        type_: Some(type_.to_owned()),
        description: description.map(ToOwned::to_owned),
        ..Default::default()
    };
    let properties = root.properties.get_or_insert_default();
    properties.insert(
        "apiVersion".to_owned(),
        of_type("string", Some("API group and version of this object.")),
    );
    properties.insert("kind".to_owned(), of_type("string", Some("Kind of this object.")));
    properties.insert("metadata".to_owned(), of_type("object", None));
    root.title = None;
    root.required = Some(vec!["metadata".to_owned(), "spec".to_owned()]);
}

/// Corrects, recursively, differences between the derived schema and the published CRDs.
fn clean(schema: &mut JSONSchemaProps) {
    // An `Option` is a field that may be absent. Only free-form objects may be null.
    if schema.x_kubernetes_preserve_unknown_fields != Some(true) {
        schema.nullable = None;
    }
    // kube's schema rewriter removes the types from an `anyOf`.
    if schema.x_kubernetes_int_or_string == Some(true) {
        let of_type = |name: &str| JSONSchemaProps {
            type_: Some(name.to_owned()),
            ..Default::default()
        };
        schema.any_of = Some(vec![of_type("integer"), of_type("string")]);
    }
    // serde's defaults are for decoding old objects. In the CRD, a required field has no default.
    for name in schema.required.iter().flatten() {
        if let Some(member) = schema
            .properties
            .as_mut()
            .and_then(|properties| properties.get_mut(name))
        {
            member.default = None;
        }
    }
    schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .for_each(clean);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        clean(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        clean(values);
    }
}

fn root(crd: &mut CustomResourceDefinition) -> Option<&mut JSONSchemaProps> {
    crd.spec
        .versions
        .first_mut()?
        .schema
        .as_mut()?
        .open_api_v3_schema
        .as_mut()
}

fn member<'a>(crd: &'a mut CustomResourceDefinition, path: &[&str]) -> Option<&'a mut JSONSchemaProps> {
    path.iter()
        .try_fold(root(crd)?, |schema, name| schema.properties.as_mut()?.get_mut(*name))
}

fn with_method(method: JSONSchemaProps) -> JSONSchemaProps {
    JSONSchemaProps {
        properties: Some([("method".to_owned(), method)].into()),
        ..Default::default()
    }
}

fn kms() -> JSONSchemaProps {
    JSONSchemaProps {
        enum_: Some(vec![JSON(json!("KMS"))]),
        ..Default::default()
    }
}

/// Converts floats without a fraction to integers: `JSONSchemaProps` stores bounds as floats, the published CRDs have `5`,
/// not `5.0`.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().and_then(|float| format!("{float}").parse::<i64>().ok()) {
                *value = json!(whole);
            }
        }
        _ => {}
    }
}
