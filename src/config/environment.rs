//! Settings of the process that a reconcile pass uses. The command line reads them at start.

use serde_json::{Map, Value};

use crate::names::{Exposure, NodeCa, Program};

/// Images and version of this release. No image is empty, except that of the pruner: the command line refuses an empty image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Image of the registry (`IMAGE`).
    pub registry_image: String,
    /// The program in that image (`REGISTRY_PROGRAM`).
    pub program: Program,
    /// Image with `oc`, which the pruner runs (`IMAGE_PRUNER`). Empty only with a program that has no pruner.
    pub pruner_image: String,
    /// Image of this operator, which node-ca runs (`OPERATOR_IMAGE`).
    pub operator_image: String,
    /// Version of the release (`RELEASE_VERSION`). If empty, the operator reports no version.
    pub release_version: String,
    /// Version whose feature gates apply (`OPERATOR_IMAGE_VERSION`). If empty, all gates are disabled.
    pub gates_version: String,
    /// For which container runtime node-ca writes (`NODE_CA`).
    pub node_ca: NodeCa,
    /// How clients outside of the cluster reach the registry (`EXPOSE` and `EXPOSE_...`).
    pub exposure: Exposure,
    /// `runAsUser` of node-ca (`NODE_CA_RUN_AS_USER`); `None` selects the default.
    pub node_ca_user: Option<u32>,
    /// Fields of `spec` for the Config that the operator creates (`DEFAULT_CONFIG_SPEC`).
    pub default_spec: Map<String, Value>,
}
