//! What the backend gets from the operator's environment.

/// Environment variables of the process, and what they name. Empty values are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `MANAGED_AZURE_HCP_CREDENTIALS_FILE_PATH`: file with the identity of a managed control plane.
    pub credentials_file: Option<String>,
    /// `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
    /// `AZURE_TENANT_ID`.
    pub tenant_id: Option<String>,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub token_file: Option<String>,
    /// Content of the file that `AZURE_ENVIRONMENT_FILEPATH` names, if it existed at the start. The ConfigMap from which the
    /// operator writes this file has precedence.
    pub stack_endpoints: Option<String>,
}

impl Environment {
    /// Reads the variables with `take`.
    pub fn of(take: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| take(name).filter(|value| !value.trim().is_empty());
        Self {
            credentials_file: given("MANAGED_AZURE_HCP_CREDENTIALS_FILE_PATH"),
            client_id: given("AZURE_CLIENT_ID"),
            tenant_id: given("AZURE_TENANT_ID"),
            token_file: given("AZURE_FEDERATED_TOKEN_FILE"),
            stack_endpoints: given("AZURE_ENVIRONMENT_FILEPATH").and_then(|path| std::fs::read_to_string(path).ok()),
        }
    }
}
