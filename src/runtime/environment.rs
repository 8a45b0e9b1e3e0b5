//! The environment variables of the operator.

use std::{collections::BTreeMap, env, path::PathBuf};

use serde_json::{Map, Value};

use super::exposure::{self, WrongExposure};
use crate::names::{Exposure, NodeCa, Program};
use crate::sensitive::Sensitive;

/// A missing variable that the pod templates need.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("environment variable {0} must be set and not be empty: it is the image of {1}")]
pub struct MissingVariable(&'static str, &'static str);

/// Why the environment cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EnvironmentError {
    /// A variable is missing.
    #[error(transparent)]
    Missing(#[from] MissingVariable),
    /// `NODE_CA_RUN_AS_USER` is no user id.
    #[error("environment variable NODE_CA_RUN_AS_USER is {0:?}: it must be a user id, 0 or more")]
    NoUserId(String),
    /// `DEFAULT_CONFIG_SPEC` is no map.
    #[error("environment variable DEFAULT_CONFIG_SPEC must be a map of fields of a Config's spec, as YAML or JSON")]
    NoSpec,
    /// `REGISTRY_PROGRAM` names no program.
    #[error("environment variable REGISTRY_PROGRAM is {0:?}: it must be platform or distribution")]
    NoProgram(String),
    /// `NODE_CA` names no container runtime.
    #[error("environment variable NODE_CA is {0:?}: it must be docker, containerd or off")]
    NoNodeCa(String),
    /// One of the variables of the exposure is wrong.
    #[error(transparent)]
    Exposure(#[from] WrongExposure),
}

/// The environment at the start. An empty variable counts as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEnvironment {
    /// `RELEASE_VERSION`: version put on the registry's Deployment and reported by the ClusterOperator; may be empty.
    pub release_version: String,
    /// `OPERATOR_IMAGE_VERSION`: the release whose feature gates apply; may be empty, which matches none.
    pub operator_image_version: String,
    /// `OPERATOR_IMAGE`: image of node-ca.
    pub operator_image: String,
    /// `IMAGE`: image of the registry.
    pub image: String,
    /// `REGISTRY_PROGRAM`: the program in `image`.
    pub program: Program,
    /// `IMAGE_PRUNER`: image of the pruner; may be empty with another program than the platform's, whose images nothing prunes.
    pub image_pruner: String,
    /// `POD_NAME`: the operator's pod, whose owner is the involved object of events.
    pub pod_name: Option<String>,
    /// `NODE_CA`: for which container runtime node-ca writes.
    pub node_ca: NodeCa,
    /// `NODE_CA_RUN_AS_USER`: user id of node-ca; needed where the host's `/etc/docker/certs.d` does not belong to group root.
    pub node_ca_user: Option<u32>,
    /// `DEFAULT_CONFIG_SPEC`: fields of `spec` for the Config that the operator creates if there is none.
    pub default_spec: Map<String, Value>,
    /// `EXPOSE` and `EXPOSE_...`: how clients outside of the cluster reach the registry.
    pub exposure: Exposure,
    /// `AZURE_ENVIRONMENT_FILEPATH`: the file for the endpoints of Azure Stack Hub.
    pub azure_environment_filepath: Option<PathBuf>,
}

/// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or their lower-case forms where the upper-case ones are unset. Used for cloud
/// APIs, never for the cluster's API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyVariables {
    /// Proxy for `http://`; may contain a password.
    pub http: Option<Sensitive>,
    /// Proxy for `https://`; may contain a password.
    pub https: Option<Sensitive>,
    /// Comma-separated hosts, domains and networks that are reached directly.
    pub no_proxy: Option<String>,
}

impl ProxyVariables {
    /// Reads the current environment of the process.
    pub(crate) fn from_process() -> Self {
        Self::read(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(mut take: impl FnMut(&str) -> Option<String>) -> Self {
        let mut either = |upper: &str, lower: &str| take(upper).or_else(|| take(lower));
        Self {
            http: either("HTTP_PROXY", "http_proxy").map(Sensitive::new),
            https: either("HTTPS_PROXY", "https_proxy").map(Sensitive::new),
            no_proxy: either("NO_PROXY", "no_proxy"),
        }
    }
}

impl ProcessEnvironment {
    /// Reads the process's environment. Values that are not UTF-8 count as absent.
    pub(crate) fn from_process() -> Result<Self, EnvironmentError> {
        let known =
            env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from_variables(known)
    }

    /// Reads the given variables.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, EnvironmentError> {
        let mut set: BTreeMap<String, String> = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let mut take = |name: &str| set.remove(name);
        let program = take("REGISTRY_PROGRAM").map_or(Ok(Program::default()), |name| {
            Program::named(&name).ok_or(EnvironmentError::NoProgram(name))
        })?;
        let image_pruner = take("IMAGE_PRUNER").ok_or(MissingVariable("IMAGE_PRUNER", "the image pruner"));
        Ok(Self {
            program,
            release_version: take("RELEASE_VERSION").unwrap_or_default(),
            operator_image_version: take("OPERATOR_IMAGE_VERSION").unwrap_or_default(),
            operator_image: take("OPERATOR_IMAGE").ok_or(MissingVariable("OPERATOR_IMAGE", "node-ca"))?,
            image: take("IMAGE").ok_or(MissingVariable("IMAGE", "the registry"))?,
            image_pruner: match program {
                Program::Platform => image_pruner?,
                Program::Distribution => image_pruner.unwrap_or_default(),
            },
            pod_name: take("POD_NAME"),
            node_ca: take("NODE_CA").map_or(Ok(NodeCa::default()), |name| {
                NodeCa::named(&name).ok_or(EnvironmentError::NoNodeCa(name))
            })?,
            exposure: exposure::read(&mut take)?,
            node_ca_user: take("NODE_CA_RUN_AS_USER")
                .map(|id| id.parse().map_err(|_| EnvironmentError::NoUserId(id)))
                .transpose()?,
            default_spec: take("DEFAULT_CONFIG_SPEC")
                .map(|text| serde_saphyr::from_str(&text).map_err(|_| EnvironmentError::NoSpec))
                .transpose()?
                .unwrap_or_default(),
            azure_environment_filepath: take("AZURE_ENVIRONMENT_FILEPATH").map(PathBuf::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ProcessEnvironment, EnvironmentError> {
        ProcessEnvironment::from_variables(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    const IMAGES: [(&str, &str); 3] = [("OPERATOR_IMAGE", "op"), ("IMAGE", "reg"), ("IMAGE_PRUNER", "cli")];

    // deploy 31
    #[test]
    fn an_error_names_the_image_variable_that_is_empty_or_missing() {
        for (missing, _) in IMAGES {
            let rest: Vec<_> = IMAGES.into_iter().filter(|(name, _)| *name != missing).collect();
            assert!(read(&rest).unwrap_err().to_string().contains(&format!(" {missing} ")));
            let empty: Vec<_> = rest.into_iter().chain([(missing, "")]).collect();
            assert!(read(&empty).unwrap_err().to_string().contains(&format!(" {missing} ")));
        }
    }

    // kubernetes 22
    #[test]
    fn the_stock_program_needs_no_pruner_and_an_unknown_program_is_refused() {
        let of = |name: &str, images: &[(&str, &str)]| read(&[images, &[("REGISTRY_PROGRAM", name)]].concat());
        assert_eq!(read(&IMAGES).unwrap().program, Program::Platform);
        assert_eq!(of("", &IMAGES).unwrap().program, Program::Platform);
        assert_eq!(of("platform", &IMAGES).unwrap().program, Program::Platform);
        let stock = of("distribution", &IMAGES).unwrap();
        assert_eq!(
            (stock.program, stock.image_pruner.as_str()),
            (Program::Distribution, "cli")
        );
        let without = of("distribution", &IMAGES[..2]).unwrap();
        assert_eq!(without.image_pruner, "");
        assert!(
            of("platform", &IMAGES[..2])
                .unwrap_err()
                .to_string()
                .contains(" IMAGE_PRUNER ")
        );
        assert!(
            of("distribution", &IMAGES[..1])
                .unwrap_err()
                .to_string()
                .contains(" IMAGE ")
        );
        for unknown in ["zot", "Distribution", "distribution "] {
            let refused = of(unknown, &IMAGES).unwrap_err();
            assert_eq!(refused, EnvironmentError::NoProgram(unknown.to_owned()));
            assert!(refused.to_string().contains("REGISTRY_PROGRAM"));
        }
    }

    #[test]
    fn the_spec_of_a_new_config_must_be_a_map() {
        let of = |text| read(&[IMAGES.as_slice(), &[("DEFAULT_CONFIG_SPEC", text)]].concat());
        assert_eq!(of("").unwrap().default_spec, Map::new());
        for text in ["{\"replicas\": 2}", "replicas: 2"] {
            assert_eq!(of(text).unwrap().default_spec["replicas"], 2);
        }
        for text in ["2", "[]", "{", "- replicas: 2"] {
            let refused = of(text).unwrap_err();
            assert_eq!(refused, EnvironmentError::NoSpec, "{text}");
            assert!(refused.to_string().contains(" DEFAULT_CONFIG_SPEC "));
        }
    }

    #[test]
    fn an_unknown_runtime_of_nodes_is_refused_by_the_name_of_the_variable() {
        let of = |name| read(&[IMAGES.as_slice(), &[("NODE_CA", name)]].concat());
        assert_eq!(read(&IMAGES).unwrap().node_ca, NodeCa::Docker);
        for (name, node_ca) in [
            ("", NodeCa::Docker),
            ("docker", NodeCa::Docker),
            ("containerd", NodeCa::Containerd),
            ("off", NodeCa::Off),
        ] {
            assert_eq!(of(name).unwrap().node_ca, node_ca, "{name}");
        }
        for unknown in ["cri-o", "Docker", "false"] {
            let refused = of(unknown).unwrap_err();
            assert_eq!(refused, EnvironmentError::NoNodeCa(unknown.to_owned()));
            assert!(refused.to_string().contains(" NODE_CA is "));
        }
    }

    #[test]
    fn the_user_of_node_ca_must_be_a_number() {
        let of = |id| read(&[IMAGES.as_slice(), &[("NODE_CA_RUN_AS_USER", id)]].concat());
        assert_eq!(of("0").unwrap().node_ca_user, Some(0));
        assert_eq!(of("").unwrap().node_ca_user, None);
        assert!(
            of("root")
                .unwrap_err()
                .to_string()
                .contains("NODE_CA_RUN_AS_USER is \"root\"")
        );
    }

    #[test]
    fn all_other_variables_are_optional_and_proxy_passwords_are_not_printed() {
        let bare = read(&IMAGES).unwrap();
        assert_eq!(
            (
                bare.release_version.as_str(),
                &bare.pod_name,
                &bare.azure_environment_filepath
            ),
            ("", &None, &None)
        );
        let set = |name: &str| (name == "https_proxy").then(|| "http://u:hunter2@proxy".to_owned());
        let proxies = ProxyVariables::read(set);
        assert!(!format!("{proxies:?}").contains("hunter2"));
        assert!(proxies.https.is_some());
    }
}
