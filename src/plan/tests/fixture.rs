//! Clusters for tests. Names differ from real defaults wherever they are not fixed, so that a swapped field fails.

use serde_json::{Value, json};

use crate::api::Kind;
use crate::config::environment::Environment;
use crate::config::facts::{EnvValue, EnvVar, StorageFacts};
use crate::config::resolve::{Resolved, resolve};
use crate::config::snapshot::{Objects, Snapshot};
use crate::names;
use crate::plan::{Desired, Inputs, Plan, Source, registry};

/// Users of the stock registry.
pub(in crate::plan) const USERS: &str = "sam:$2y$05$926C3y10Quzn/LnqQH86VOEVh/18T6RnLaS.khre96jLNL/7e.K5W\n";

pub(in crate::plan) struct Cluster {
    pub(in crate::plan) snapshot: Snapshot,
    pub(in crate::plan) resolved: Resolved,
    pub(in crate::plan) facts: StorageFacts,
    pub(in crate::plan) recorded: Option<i64>,
}

impl Cluster {
    /// A cluster whose Config has these members in `spec` beside the usual ones, and these further objects.
    pub(in crate::plan) fn new(spec: &Value, objects: impl IntoIterator<Item = Value>) -> Self {
        let mut config = json!({
            "apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config", "metadata": {"name": "cluster"},
            "spec": {"managementState": "Managed", "replicas": 1, "httpSecret": "s3cr3t", "storage": {"emptyDir": {}}},
        });
        for (member, value) in spec.as_object().unwrap() {
            config["spec"][member] = value.clone();
        }
        let snapshot = snapshot([config, namespace(), pull_secret()].into_iter().chain(objects));
        let resolved = resolve(&snapshot.config().unwrap().unwrap(), &snapshot).unwrap();
        Self {
            snapshot,
            resolved,
            facts: empty_dir(),
            recorded: None,
        }
    }

    /// Sets the annotation of the Config about logins; `None` removes it.
    pub(in crate::plan) fn allow_anonymous(&mut self, value: Option<&str>) {
        let config = self.snapshot.objects.cluster(Kind::Config, "cluster");
        let mut config = config.unwrap().clone();
        config["metadata"]["annotations"] = match value {
            Some(value) => json!({"imageregistry.operator.openshift.io/allow-anonymous": value}),
            None => json!({}),
        };
        self.put(&config);
    }

    pub(in crate::plan) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            resolved: &self.resolved,
            storage: Source::Facts(&self.facts),
            snapshot: &self.snapshot,
            recorded: self.recorded,
        }
    }

    /// What a pass plans while the storage may not change.
    pub(in crate::plan) fn held(&self, storage: Source<'_>) -> Plan {
        registry(&Inputs {
            storage,
            ..self.inputs()
        })
    }

    pub(in crate::plan) fn plan(&self) -> Plan {
        registry(&self.inputs())
    }

    pub(in crate::plan) fn put(&mut self, object: &Value) {
        let kind = Kind::find(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let reference = crate::api::ObjectRef::new(kind, text("/metadata/namespace"), text("/metadata/name"));
        self.snapshot.objects.insert(reference, object.clone());
    }

    pub(in crate::plan) fn remove(&mut self, kind: Kind, namespace: &str, name: &str) {
        self.snapshot
            .objects
            .remove(&crate::api::ObjectRef::new(kind, namespace, name));
    }

    pub(in crate::plan) fn deployment(&self) -> Desired {
        let plan = self.plan();
        let found = plan.desired(Kind::Deployment, names::REGISTRY).cloned();
        found.unwrap_or_else(|| panic!("no Deployment: {:?}", plan.failures))
    }

    pub(in crate::plan) fn pod(&self) -> Value {
        self.deployment().body["spec"]["template"]["spec"].clone()
    }

    /// Value of a variable of the container; `None` where it is not set.
    pub(in crate::plan) fn env(&self, name: &str) -> Option<String> {
        let pod = self.pod();
        let found = pod["containers"][0]["env"]
            .as_array()
            .unwrap()
            .iter()
            .find(|v| v["name"] == name)
            .cloned();
        found.map(|variable| variable["value"].as_str().unwrap().to_owned())
    }
}

pub(in crate::plan) fn snapshot(objects: impl IntoIterator<Item = Value>) -> Snapshot {
    Snapshot {
        objects: Objects::from_values(objects).unwrap(),
        environment: Environment {
            registry_image: "test/registry".to_owned(),
            pruner_image: "test/pruner".to_owned(),
            operator_image: "test/operator".to_owned(),
            release_version: "7.7.7".to_owned(),
            ..Environment::default()
        },
        security_api: true,
        service_ca_api: true,
        image_api: true,
        now: "2031-05-06T07:08:09Z".parse().unwrap(),
    }
}

pub(in crate::plan) fn empty_dir() -> StorageFacts {
    StorageFacts {
        backend: "EmptyDir",
        env: vec![EnvVar {
            name: "REGISTRY_STORAGE",
            value: EnvValue::Text("filesystem".to_owned()),
        }],
        volumes: vec![json!({"name": "registry-storage", "emptyDir": {}})],
        mounts: vec![json!({"name": "registry-storage", "mountPath": "/registry"})],
        ..StorageFacts::default()
    }
}

pub(in crate::plan) fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "openshift-image-registry", "uid": "namespace-uid",
        "annotations": {"openshift.io/sa.scc.supplemental-groups": "1000430000/10000"},
    }})
}

pub(in crate::plan) fn pull_secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "pull-secret", "namespace": "openshift-config"},
        "data": {".dockerconfigjson": "e30=", "other": "b3RoZXI="},
    })
}

pub(in crate::plan) fn operand(api_version: &str, kind: &str, name: &str, rest: &Value) -> Value {
    let mut object = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": name, "namespace": "openshift-image-registry"},
    });
    merge(&mut object, rest);
    object
}

pub(in crate::plan) fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (member, value) in patch {
                merge(target.entry(member.clone()).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

pub(in crate::plan) fn secret(name: &str, type_: &str, data: &Value) -> Value {
    operand("v1", "Secret", name, &json!({"type": type_, "data": data}))
}

pub(in crate::plan) fn map(name: &str, data: &Value) -> Value {
    operand("v1", "ConfigMap", name, &json!({"data": data}))
}

pub(in crate::plan) fn node(name: &str, labels: &Value, spec: &Value, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })
}

pub(in crate::plan) fn live_service() -> Value {
    operand(
        "v1",
        "Service",
        "image-registry",
        &json!({
            "metadata": {
                "uid": "service-uid", "resourceVersion": "5", "creationTimestamp": "2031-05-06T07:07:57Z",
                "labels": {"docker-registry": "default"},
                "annotations": {
                    "service.alpha.openshift.io/serving-cert-secret-name": "image-registry-tls",
                    "service.beta.openshift.io/serving-cert-signed-by": "signer",
                },
            },
            "spec": {
                "clusterIP": "10.9.9.9", "clusterIPs": ["10.9.9.9"], "internalTrafficPolicy": "Cluster",
                "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "type": "ClusterIP",
                "selector": {"docker-registry": "default"},
                "ports": [{"name": "5000-tcp", "port": 5000, "protocol": "TCP", "targetPort": 5000}],
            },
            "status": {"loadBalancer": {}},
        }),
    )
}
