//! PURE: the credentials of Azure in one of the two Secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::environment::Environment;
use crate::api::Sensitive;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::inputs::secret::{CredentialsSecret, Secret};
use crate::storage::model::error::StorageError;

/// Key of the administrator's Secret, and name of the registry's variable.
pub const USER_KEY: &str = "REGISTRY_STORAGE_AZURE_ACCOUNTKEY";

/// Credentials of Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A key of the storage account, of the administrator. Nothing else is used then.
    UserKey(Sensitive),
    /// Credentials for Resource Manager, of the platform.
    Platform(Box<Platform>),
}

/// Credentials for Resource Manager. Texts that are not given are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// ID of the subscription.
    pub subscription: String,
    /// ID of the tenant.
    pub tenant: String,
    /// ID of the client (application).
    pub client: String,
    /// Client secret.
    pub secret: Sensitive,
    /// Resource group of the cluster.
    pub resource_group: String,
    /// Region of the cluster; empty: that of the resource group.
    pub region: String,
    /// Path of the file with the token of a workload identity.
    pub token_file: String,
    /// The Secret, for messages.
    pub source: String,
}

/// How the operator gets a token for Resource Manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// With the certificate in the file of a managed control plane.
    CertificateFile(String),
    /// With a client secret.
    Secret,
    /// With the token in a file.
    WorkloadIdentity {
        /// ID of the client.
        client: String,
        /// ID of the tenant.
        tenant: String,
        /// Path of the file.
        file: String,
    },
}

impl Credentials {
    /// Credentials of the cluster: from the administrator's Secret if it exists, otherwise from the platform's Secret.
    ///
    /// # Errors
    /// Neither Secret exists, or the Secret has no usable credentials. The message names Secret, key and remedy.
    pub fn of(snapshot: &Snapshot) -> Result<Self, StorageError> {
        match CredentialsSecret::find(snapshot) {
            Some(CredentialsSecret::User(secret)) => user_key(&secret).map(Self::UserKey),
            Some(CredentialsSecret::Minted(secret)) => Ok(Self::Platform(Box::new(Platform::read(&secret, snapshot)?))),
            None => Err(StorageError::no_access(format!(
                "no credentials for Azure: Secret {0}/{1} does not exist, and neither does {0}/{2}: let the platform's \
                 credential operator create {1}, or create {2} with an account key in {USER_KEY}",
                names::NAMESPACE,
                names::MINTED_SECRET,
                names::USER_SECRET,
            ))),
        }
    }

    /// Whether the registry authenticates with the token of its ServiceAccount, not with an account key.
    pub fn is_keyless(&self) -> bool {
        matches!(self, Self::Platform(platform) if !platform.token_file.is_empty())
    }
}

fn user_key(secret: &Secret<'_>) -> Result<Sensitive, StorageError> {
    let Some(key) = secret.text(USER_KEY)? else {
        return Err(StorageError::no_access(format!(
            "key {USER_KEY} of {0} is missing or empty: set it to a valid key of the storage account, or remove the Secret to \
             use the platform's credentials",
            secret.source()
        )));
    };
    let key = Sensitive::new(key);
    decoded(&key)
        .map_err(|why| StorageError::no_access(format!("key {USER_KEY} of {} {why}", secret.source())))
        .map(|_| key)
}

/// The bytes of an account key.
///
/// # Errors
/// The key is not base64, as the end of a sentence.
pub fn decoded(key: &Sensitive) -> Result<Vec<u8>, String> {
    // Go's decoder ignores line breaks.
    let text: String = key.expose().chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    STANDARD
        .decode(text)
        .map_err(|_| "is not base64: copy the key as Azure shows it".to_owned())
}

impl Platform {
    fn read(secret: &Secret<'_>, snapshot: &Snapshot) -> Result<Self, StorageError> {
        let text = |key: &str| -> Result<String, StorageError> { Ok(secret.text(key)?.unwrap_or_default()) };
        let of_cluster = || {
            let platform = snapshot.infrastructure().unwrap_or_default().platform_status;
            let azure = platform.and_then(|platform| platform.azure);
            azure.and_then(|azure| azure.resource_group_name).unwrap_or_default()
        };
        let resource_group = text("azure_resourcegroup")?;
        Ok(Self {
            subscription: text("azure_subscription_id")?,
            tenant: text("azure_tenant_id")?,
            client: text("azure_client_id")?,
            secret: Sensitive::new(text("azure_client_secret")?),
            resource_group: if resource_group.is_empty() {
                of_cluster()
            } else {
                resource_group
            },
            region: text("azure_region")?,
            token_file: text("azure_federated_token_file")?,
            source: secret.source(),
        })
    }

    /// How the operator logs in. `stack`: the cloud is Azure Stack Hub.
    ///
    /// # Errors
    /// Something is missing: all of it is named.
    pub fn login(&self, environment: &Environment, stack: bool) -> Result<Login, StorageError> {
        if let Some(file) = environment.credentials_file.as_ref().filter(|_| !stack) {
            self.require(&[])?;
            return Ok(Login::CertificateFile(file.clone()));
        }
        if !self.secret.expose().trim().is_empty() {
            self.require(&[("azure_client_id", &self.client), ("azure_tenant_id", &self.tenant)])?;
            return Ok(Login::Secret);
        }
        if stack {
            return Err(StorageError::no_access(format!(
                "Azure Stack Hub needs a client secret, and {} has none: set azure_client_secret",
                self.source
            )));
        }
        let or = |own: &String, other: &Option<String>| {
            if own.is_empty() {
                other.clone().unwrap_or_default()
            } else {
                own.clone()
            }
        };
        let client = or(&self.client, &environment.client_id);
        let tenant = or(&self.tenant, &environment.tenant_id);
        let file = or(&self.token_file, &environment.token_file);
        self.require(&[
            ("azure_client_id", &client),
            ("azure_tenant_id", &tenant),
            ("azure_client_secret or azure_federated_token_file", &file),
        ])?;
        Ok(Login::WorkloadIdentity { client, tenant, file })
    }

    /// Checks that these values are given, and those which every login needs.
    fn require(&self, more: &[(&str, &String)]) -> Result<(), StorageError> {
        let always = [
            ("azure_subscription_id", &self.subscription),
            (
                "azure_resourcegroup (or status.platformStatus.azure.resourceGroupName of infrastructures/cluster)",
                &self.resource_group,
            ),
        ];
        let all = always.into_iter().chain(more.iter().copied());
        let missing: Vec<&str> = all
            .filter(|(_, value)| value.trim().is_empty())
            .map(|(key, _)| key)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(StorageError::no_access(format!(
            "{} lacks {}: let the platform's credential operator write it again, or add it",
            self.source,
            missing.join(", ")
        )))
    }

    /// All values, for fingerprints; with the client secret.
    pub fn texts(&self) -> [&str; 7] {
        [
            &self.subscription,
            &self.tenant,
            &self.client,
            self.secret.expose(),
            &self.resource_group,
            &self.region,
            &self.token_file,
        ]
    }
}

#[cfg(test)]
mod tests;
