//! What the Go operator keeps of an object store: members of its Config, and what the registry's pods get.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::statuses::condition;

/// A registry of the Go operator on an object store. Read from `tests/data/takeover/stores/`; written from what its releases
/// do, without code of this operator.
#[derive(Clone)]
pub struct Store {
    /// `status.platformStatus` of the Infrastructure.
    pub platform_status: Value,
    /// Objects that the Go operator reads: credentials, certificates.
    pub objects: Vec<Value>,
    pub spec_storage: Value,
    pub status_storage: Value,
    pub storage_managed: bool,
    /// Conditions of the storage.
    pub conditions: Vec<Value>,
    pub env: Vec<Value>,
    pub volumes: Vec<Value>,
    pub volume_mounts: Vec<Value>,
    /// Files of the Secret that the pods mount.
    pub private_configuration: BTreeMap<String, String>,
    pub replicas: i64,
    /// Whether the Go operator leaves settings unapplied, which this operator applies and records.
    pub has_settings: bool,
}

impl Store {
    /// Reads the case of this name, with values for its placeholders.
    pub fn read(name: &str, values: &[(&str, &str)]) -> Self {
        let file = format!("{}/tests/data/takeover/stores/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let mut case: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        // `$PROJECT_ID` before `$PROJECT`.
        let mut values = values.to_vec();
        values.sort_by_key(|(placeholder, _)| std::cmp::Reverse(placeholder.len()));
        for member in ["case", "builds", "cloud", "sources"] {
            case.as_object_mut().unwrap().remove(member);
        }
        substitute(&mut case, &values);
        let list = |member: &str| case[member].as_array().cloned().unwrap_or_default();
        let files = case["privateConfiguration"].as_object().into_iter().flatten();
        let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            platform_status: case["platformStatus"].clone(),
            objects: list("objects"),
            spec_storage: case["specStorage"].clone(),
            status_storage: case["statusStorage"].clone(),
            storage_managed: case["storageManaged"].as_bool().unwrap(),
            conditions: list("conditions")
                .iter()
                .map(|c| {
                    condition(
                        &text_of(&c["type"]),
                        &text_of(&c["status"]),
                        &text_of(&c["reason"]),
                        &text_of(&c["message"]),
                    )
                })
                .collect(),
            env: list("env"),
            volumes: list("volumes"),
            volume_mounts: list("volumeMounts"),
            private_configuration: files.map(|(name, content)| (name.clone(), text_of(content))).collect(),
            replicas: case["replicas"].as_i64().unwrap(),
            has_settings: case["hasSettings"].as_bool().unwrap_or_default(),
        }
    }

    /// Names of the ConfigMaps and Secrets that the pods mount or read for the store's sake.
    pub fn mounts(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let named = |pointer: &'static str| {
            let all = self.env.iter().chain(&self.volumes);
            all.filter_map(move |item| item.pointer(pointer).and_then(Value::as_str))
        };
        let maps = named("/valueFrom/configMapKeyRef/name").chain(named("/configMap/name"));
        let secrets = named("/valueFrom/secretKeyRef/name").chain(named("/secret/secretName"));
        (maps.collect(), secrets.collect())
    }

    /// Fills in what the store adds to the Secret and the Deployment, and the cluster's proxy, behind which clouds are here.
    pub fn fill(&self, object: &mut Value, proxy: &Value) {
        if object["metadata"]["name"] == "image-registry-private-configuration"
            && !self.private_configuration.is_empty()
        {
            object["stringData"] = json!(self.private_configuration);
        }
        if object["kind"] == "Deployment" {
            self.fill_deployment(object, proxy);
        }
    }

    fn fill_deployment(&self, object: &mut Value, proxy: &Value) {
        let pod = &mut object["spec"]["template"]["spec"];
        replace_first(&mut pod["volumes"], 1, &self.volumes);
        let container = &mut pod["containers"][0];
        replace_first(&mut container["volumeMounts"], 1, &self.volume_mounts);
        replace_first(&mut container["env"], 2, &self.env);
        let env = container["env"].as_array_mut().unwrap();
        let after = env
            .iter()
            .position(|v| v["name"] == "REGISTRY_OPENSHIFT_SERVER_ADDR")
            .unwrap()
            + 1;
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]
            .into_iter()
            .zip(["httpProxy", "httpsProxy", "noProxy"]);
        let proxies = proxies.filter_map(|(name, member)| {
            let value = proxy["status"][member].as_str().filter(|value| !value.is_empty())?;
            Some(json!({"name": name, "value": value}))
        });
        env.splice(after..after, proxies.collect::<Vec<_>>());
        if self.replicas == 2 {
            two_replicas(&mut object["spec"]);
        }
    }
}

/// Puts `items` in the place of the first `count` items of a list.
fn replace_first(list: &mut Value, count: usize, items: &[Value]) {
    list.as_array_mut().unwrap().splice(..count, items.iter().cloned());
}

fn two_replicas(spec: &mut Value) {
    spec["replicas"] = json!(2);
    spec["strategy"]["rollingUpdate"] = json!({"maxUnavailable": 1, "maxSurge": 1});
    spec["template"]["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "kubernetes.io/hostname", "namespaces": ["openshift-image-registry"],
        "labelSelector": {"matchLabels": {"docker-registry": "default"}},
    }]}});
}

fn substitute(value: &mut Value, values: &[(&str, &str)]) {
    match value {
        Value::String(text) => {
            for (placeholder, value) in values {
                *text = text.replace(placeholder, value);
            }
            assert!(!text.contains('$'), "{text}: a placeholder without a value");
        }
        Value::Array(items) => items.iter_mut().for_each(|item| substitute(item, values)),
        Value::Object(members) => members.values_mut().for_each(|member| substitute(member, values)),
        _ => {}
    }
}
