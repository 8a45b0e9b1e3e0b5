//! The environment variables that the operator reads, each once, at the start.

use std::{collections::BTreeMap, env, path::PathBuf};

use super::secret::Secret;

/// A variable without which the operator would write broken pods.
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
}

/// What the environment said at the start; an empty variable is as an absent one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEnvironment {
    /// `RELEASE_VERSION`: version put on the registry's Deployment and reported by the ClusterOperator; may be empty.
    pub release_version: String,
    /// `OPERATOR_IMAGE_VERSION`: whose feature gates count; may be empty, which matches none.
    pub operator_image_version: String,
    /// `OPERATOR_IMAGE`: image of node-ca.
    pub operator_image: String,
    /// `IMAGE`: image of the registry.
    pub image: String,
    /// `IMAGE_PRUNER`: image of the pruner.
    pub image_pruner: String,
    /// `WATCH_NAMESPACE`: namespace of the PVC storage driver.
    pub watch_namespace: Option<String>,
    /// `POD_NAME`: our own pod, whose owner gets the events.
    pub pod_name: Option<String>,
    /// `NODE_CA_RUN_AS_USER`: user id of node-ca; needed where the host's `/etc/docker/certs.d` does not belong to root's
    /// group.
    pub node_ca_user: Option<u32>,
    /// `AZURE_ENVIRONMENT_FILEPATH`: where the endpoints of an Azure Stack cloud are written.
    pub azure_environment_filepath: Option<PathBuf>,
    /// `MANAGED_AZURE_HCP_CREDENTIALS_FILE_PATH`: managed identity of a hosted control plane on Azure.
    pub azure_hcp_credentials_filepath: Option<PathBuf>,
    /// Proxy for traffic to clouds; the cluster's API is never reached through it.
    pub proxy: ProxyVariables,
}

/// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or their lower-case forms where the upper-case ones are unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyVariables {
    /// Proxy for `http://`; may hold a password.
    pub http: Option<Secret<String>>,
    /// Proxy for `https://`; may hold a password.
    pub https: Option<Secret<String>>,
    /// Comma-separated hosts, domains and networks that are reached directly.
    pub no_proxy: Option<String>,
}

impl ProxyVariables {
    /// Reads the process's environment, as it is now.
    pub fn from_process() -> Self {
        Self::read(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(mut take: impl FnMut(&str) -> Option<String>) -> Self {
        let mut either = |upper: &str, lower: &str| take(upper).or_else(|| take(lower));
        Self {
            http: either("HTTP_PROXY", "http_proxy").map(Secret::new),
            https: either("HTTPS_PROXY", "https_proxy").map(Secret::new),
            no_proxy: either("NO_PROXY", "no_proxy"),
        }
    }
}

impl ProcessEnvironment {
    /// Reads the process's environment. Values that are not UTF-8 count as absent.
    pub fn from_process() -> Result<Self, EnvironmentError> {
        let known =
            env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from_variables(known)
    }

    /// Reads the given variables.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, EnvironmentError> {
        let mut set: BTreeMap<String, String> = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let mut take = |name: &str| set.remove(name);
        Ok(Self {
            release_version: take("RELEASE_VERSION").unwrap_or_default(),
            operator_image_version: take("OPERATOR_IMAGE_VERSION").unwrap_or_default(),
            operator_image: take("OPERATOR_IMAGE").ok_or(MissingVariable("OPERATOR_IMAGE", "node-ca"))?,
            image: take("IMAGE").ok_or(MissingVariable("IMAGE", "the registry"))?,
            image_pruner: take("IMAGE_PRUNER").ok_or(MissingVariable("IMAGE_PRUNER", "the image pruner"))?,
            watch_namespace: take("WATCH_NAMESPACE"),
            pod_name: take("POD_NAME"),
            node_ca_user: take("NODE_CA_RUN_AS_USER")
                .map(|id| id.parse().map_err(|_| EnvironmentError::NoUserId(id)))
                .transpose()?,
            azure_environment_filepath: take("AZURE_ENVIRONMENT_FILEPATH").map(PathBuf::from),
            azure_hcp_credentials_filepath: take("MANAGED_AZURE_HCP_CREDENTIALS_FILE_PATH").map(PathBuf::from),
            proxy: ProxyVariables::read(take),
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
    fn an_empty_or_missing_image_is_refused_by_name() {
        for (missing, _) in IMAGES {
            let rest: Vec<_> = IMAGES.into_iter().filter(|(name, _)| *name != missing).collect();
            assert!(read(&rest).unwrap_err().to_string().contains(&format!(" {missing} ")));
            let empty: Vec<_> = rest.into_iter().chain([(missing, "")]).collect();
            assert!(read(&empty).unwrap_err().to_string().contains(&format!(" {missing} ")));
        }
    }

    #[test]
    fn the_user_of_node_ca_is_a_number_or_refused() {
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
    fn the_rest_may_be_absent_and_proxy_passwords_do_not_print() {
        let bare = read(&IMAGES).unwrap();
        assert_eq!(
            (
                bare.release_version.as_str(),
                &bare.pod_name,
                &bare.azure_environment_filepath
            ),
            ("", &None, &None)
        );
        let proxied: Vec<_> = IMAGES
            .into_iter()
            .chain([("https_proxy", "http://u:hunter2@proxy")])
            .collect();
        let proxied = read(&proxied).unwrap();
        assert!(!format!("{proxied:?}").contains("hunter2"));
        assert!(proxied.proxy.https.is_some());
    }
}
