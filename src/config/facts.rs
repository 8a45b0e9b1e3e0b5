//! What a storage backend tells the plan: environment, volumes and files of the registry.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::Sensitive;

/// Value of an environment variable that the registry reads as YAML.
#[derive(Clone, Debug, PartialEq)]
pub enum EnvValue {
    /// Text; quoted where YAML 1.1 would read something else.
    Text(String),
    /// Text that must not be seen: goes through the private Secret.
    Secret(Sensitive),
    /// `true` or `false`.
    Flag(bool),
    /// A decimal number.
    Number(i64),
    /// Already encoded, or not read as YAML (`AZURE_*`): left as it is.
    Raw(String),
}

/// One environment variable of the storage.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvVar {
    /// Name.
    pub name: &'static str,
    /// Value.
    pub value: EnvValue,
}

/// What the registry needs to use its storage. Order is the order in the container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorageFacts {
    /// Name as in the API's documentation and in metrics: `EmptyDir`, `PVC`, `S3`...
    pub backend: &'static str,
    /// Environment.
    pub env: Vec<EnvVar>,
    /// Names of variables that tell, beside the content of the private Secret, where the credentials lead to and whose they are.
    pub tenant: &'static [&'static str],
    /// Volumes (core/v1).
    pub volumes: Vec<Value>,
    /// Mounts of the container (core/v1).
    pub mounts: Vec<Value>,
    /// Further files in the private Secret.
    pub files: BTreeMap<String, Sensitive>,
    /// CA bundle of the storage's endpoint, PEM.
    pub ca_bundle: Option<String>,
    /// Set where replicas or rollout strategy of the Config do not fit the storage: the running Deployment keeps what it has.
    pub unfit: Option<String>,
    /// Set while no new pod may be started on the storage (a claim that is being deleted): why.
    pub not_usable: Option<String>,
}
