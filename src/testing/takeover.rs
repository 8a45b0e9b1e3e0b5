//! Clusters that the Go operator left behind, with what its pods have of the storage: `tests/data/takeover/stores/`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::{Kind, Storage};
use crate::config::facts::{EnvValue, StorageFacts};
use crate::config::snapshot::{Objects, Snapshot};
use crate::config::yaml;
use crate::names;

/// One of them.
pub(crate) struct Case {
    pub(crate) name: String,
    /// What the operator sees at its start.
    pub(crate) snapshot: Snapshot,
    /// `spec.storage` of the Config.
    pub(crate) storage: Storage,
    /// What the pods have: environment, volumes, mounts, files.
    pub(crate) pods: Value,
}

/// The cases whose names begin with `prefix`.
pub(crate) fn cases(prefix: &str) -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/takeover/stores");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let named = files.filter_map(|file| {
        let name = file.file_stem()?.to_str()?.to_owned();
        name.starts_with(prefix)
            .then(|| (name, std::fs::read_to_string(&file).unwrap()))
    });
    let mut cases: Vec<Case> = named.map(|(name, text)| Case::read(name, &text)).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!cases.is_empty(), "{prefix}");
    cases
}

impl Case {
    fn read(name: String, text: &str) -> Self {
        let mut case: Value = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        for member in ["case", "builds"] {
            case.as_object_mut().unwrap().remove(member);
        }
        fill(&mut case);
        let infrastructure = json!({"apiVersion": "config.openshift.io/v1", "kind": "Infrastructure",
            "metadata": {"name": "cluster"},
            "status": {"infrastructureName": "blue-x7k2p", "platformStatus": case["platformStatus"]}});
        let config = json!({"apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config",
            "metadata": {"name": "cluster"},
            "spec": {"managementState": "Managed", "replicas": 1, "storage": case["specStorage"]},
            "status": {"storage": case["statusStorage"], "storageManaged": case["storageManaged"]}});
        let container = json!({"name": "registry", "env": case["env"]});
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": names::REGISTRY, "namespace": names::NAMESPACE},
            "spec": {"template": {"spec": {"containers": [container]}}}});
        let objects = case["objects"].as_array().cloned().unwrap_or_default();
        let known = objects.into_iter().map(stored).filter(|object| {
            let text = |member: &str| object[member].as_str().unwrap();
            Kind::find(text("apiVersion"), text("kind")).is_some()
        });
        let objects = known.chain([infrastructure, config, deployment]);
        Self {
            snapshot: Snapshot {
                objects: Objects::from_values(objects).unwrap(),
                ..Snapshot::empty()
            },
            storage: serde_json::from_value(case["specStorage"].clone()).unwrap(),
            pods: pods(&case),
            name,
        }
    }

    /// Asserts that the pods would be the same with these facts.
    pub(crate) fn assert_unchanged(&self, facts: &StorageFacts) {
        let variable = |variable: &crate::config::facts::EnvVar| match &variable.value {
            EnvValue::Text(text) => json!({"name": variable.name, "value": yaml::text(text)}),
            EnvValue::Secret(text) => json!({"name": variable.name, "secret": yaml::text(text.expose())}),
            EnvValue::Flag(flag) => json!({"name": variable.name, "value": flag.to_string()}),
            EnvValue::Number(number) => json!({"name": variable.name, "value": number.to_string()}),
            EnvValue::Raw(text) => json!({"name": variable.name, "value": text}),
        };
        let files: BTreeMap<_, _> = facts.files.iter().map(|(name, text)| (name, text.expose())).collect();
        let env: Vec<Value> = facts.env.iter().map(variable).collect();
        let found = json!({"env": env, "volumes": facts.volumes, "mounts": facts.mounts, "files": files});
        assert_eq!(without_defaults(found), self.pods, "{}", self.name);
    }
}

/// The object as the API server returns it.
fn stored(mut object: Value) -> Value {
    let texts = object.as_object_mut().unwrap().remove("stringData");
    for (key, text) in texts.iter().filter_map(Value::as_object).flatten() {
        object["data"][key] = json!(STANDARD.encode(text.as_str().unwrap()));
    }
    object
}

fn pods(case: &Value) -> Value {
    let mut files = case["privateConfiguration"].as_object().cloned().unwrap_or_default();
    let mut env = case["env"].as_array().cloned().unwrap_or_default();
    for variable in &mut env {
        if let Some(key) = variable.pointer("/valueFrom/secretKeyRef/key").and_then(Value::as_str) {
            let text = files.remove(key).unwrap();
            *variable = json!({"name": variable["name"], "secret": text});
        }
    }
    let pods = json!({"env": env, "volumes": case["volumes"], "mounts": case["volumeMounts"], "files": files});
    without_defaults(pods)
}

/// Without what the API server fills in.
fn without_defaults(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            members.remove("defaultMode");
            for member in members.values_mut() {
                *member = without_defaults(member.take());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_defaults(item.take())),
        _ => {}
    }
    value
}

/// Gives each placeholder (`$NAME`) a value.
fn fill(value: &mut Value) {
    match value {
        Value::String(text) => {
            while let Some(at) = text.find('$') {
                let rest = &text[at + 1..];
                let length = rest
                    .find(|c: char| !c.is_ascii_uppercase() && c != '_')
                    .unwrap_or(rest.len());
                let name = rest[..length].trim_end_matches('_').to_owned();
                let filled = of_placeholder(&name);
                text.replace_range(at..=at + name.len(), &filled);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(fill),
        Value::Object(members) => members.values_mut().for_each(fill),
        _ => {}
    }
}

const CRN: &str = "crn:v1:bluemix:public:cloud-object-storage:global:a/0123456789abcdef0123456789abcdef:11111111-2222-4333-8444-555555555555";

fn of_placeholder(name: &str) -> String {
    match name {
        "REGION" => "us-west-2".to_owned(),
        "STACK_DOMAIN" => "local.azurestack.external".to_owned(),
        "ACCOUNT_KEY" => "YWNjb3VudC1rZXk=".to_owned(),
        "ACCOUNT" => "imageregistryblue".to_owned(),
        "LOCATION" => "us-south".to_owned(),
        // Another spelling than that of the operator.
        "COS_URL" | "IAM_URL" | "RC_URL" | "RM_URL" => format!("https://{}.example.com/", &name[..2].to_lowercase()),
        "ENDPOINT" => "https://s3.example.com".to_owned(),
        "AUTH_URL" => "https://keystone.example.com:5000/v3".to_owned(),
        "CA" | "CA_BUNDLE" | "OTHER_CA" => {
            let signed = rcgen::generate_simple_self_signed(vec!["ca.example.com".to_owned()]);
            signed.unwrap().cert.pem()
        }
        "PRIVATE_KEY" => rcgen::KeyPair::generate().unwrap().serialize_pem(),
        "KEY_ARN" => "arn:aws:kms:us-west-2:123456789012:key/0f9d6a52-1111-4222-8333-944455556666".to_owned(),
        "INSTANCE_CRN" => format!("{CRN}::"),
        "KEY_CRN" => format!("{CRN}:resource-key:99999999-2222-4333-8444-555555555555"),
        "ROLE_ARN" => "arn:aws:iam::123456789012:role/registry".to_owned(),
        name => name.to_ascii_lowercase().replace('_', "-"),
    }
}
