//! What the process was told when it started, as far as passes look at it.

/// Images and version of this release. None is empty: the command line refuses to start otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Image of the registry (`IMAGE`).
    pub registry_image: String,
    /// Image with `oc`, for the pruner (`IMAGE_PRUNER`).
    pub pruner_image: String,
    /// Image of this operator, for node-ca (`OPERATOR_IMAGE`).
    pub operator_image: String,
    /// Version of the release (`RELEASE_VERSION`); may be empty, then no version is reported.
    pub release_version: String,
    /// Version whose feature gates count (`OPERATOR_IMAGE_VERSION`); may be empty, then all gates are off.
    pub gates_version: String,
    /// User id of node-ca (`NODE_CA_RUN_AS_USER`); `None` is the default.
    pub node_ca_user: Option<u32>,
}
