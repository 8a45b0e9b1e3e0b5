//! PURE: the shared-config text with the credentials, from one of the two Secrets.

use super::profile::Profile;
use super::shared_config::SharedConfig;
use crate::api::Sensitive;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::inputs::secret::{CredentialsSecret, Secret};
use crate::storage::model::error::StorageError;

/// Key of the shared-config text, in both Secrets.
const TEXT_KEY: &str = "credentials";
/// Keys of the administrator's Secret.
const USER_KEYS: [&str; 2] = ["REGISTRY_STORAGE_S3_ACCESSKEY", "REGISTRY_STORAGE_S3_SECRETKEY"];
/// Keys of the platform's Secret.
const MINTED_KEYS: [&str; 2] = ["aws_access_key_id", "aws_secret_access_key"];

/// Credentials of S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Shared-config text that operator and registry read.
    pub text: Sensitive,
    /// Secret with the text, for messages: `Secret openshift-image-registry/installer-cloud-credentials`.
    pub source: String,
    /// Identity of the default profile.
    pub profile: Profile,
    /// `region` of the text. It applies only if neither the spec nor the cluster names a region.
    pub region: Option<String>,
    /// `use_fips_endpoint` of the text.
    pub fips: bool,
}

impl Credentials {
    /// Credentials of the cluster: from the administrator's Secret if it exists, otherwise from the platform's Secret.
    ///
    /// # Errors
    /// Neither Secret exists, or the Secret has no usable credentials. The message names Secret, key and remedy.
    pub fn of(snapshot: &Snapshot) -> Result<Self, StorageError> {
        match CredentialsSecret::find(snapshot) {
            Some(CredentialsSecret::User(secret)) => Self::read(user_text(&secret)?, secret.source()),
            Some(CredentialsSecret::Minted(secret)) => Self::read(minted_text(&secret)?, secret.source()),
            None => Err(StorageError::no_access(format!(
                "no credentials for S3: Secret {0}/{1} does not exist, and neither does {0}/{2}: create {1} with {3} and \
                 {4}, or let the platform's credential operator create {2}",
                names::NAMESPACE,
                names::USER_SECRET,
                names::MINTED_SECRET,
                USER_KEYS[0],
                USER_KEYS[1],
            ))),
        }
    }

    /// Credentials from a shared-config text.
    fn read(text: String, source: String) -> Result<Self, StorageError> {
        let config = SharedConfig::parse(&text);
        let profile = config
            .profile()
            .map_err(|cause| StorageError::no_access(format!("{source}: {cause}")))?;
        Ok(Self {
            profile,
            region: config.setting("region").map(str::to_owned),
            fips: config
                .setting("use_fips_endpoint")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
            text: Sensitive::new(text),
            source,
        })
    }
}

/// The text for a static key, identical to that of the Go operator. Another text would cause a rollout.
fn static_text(id: &str, secret: &str) -> String {
    format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
}

/// The text for a static key, or which of the two keys is missing; `None` if both are missing.
fn key_pair(
    secret: &Secret<'_>,
    keys: [&'static str; 2],
) -> Result<Option<Result<String, &'static str>>, StorageError> {
    Ok(match (secret.text(keys[0])?, secret.text(keys[1])?) {
        (Some(id), Some(secret)) => Some(Ok(static_text(&id, &secret))),
        (Some(_), None) => Some(Err(keys[1])),
        (None, Some(_)) => Some(Err(keys[0])),
        (None, None) => None,
    })
}

/// Text of the administrator's Secret. A static key has precedence; an incomplete one is an error.
fn user_text(secret: &Secret<'_>) -> Result<String, StorageError> {
    let [id, key] = USER_KEYS;
    match key_pair(secret, USER_KEYS)? {
        Some(Ok(text)) => Ok(text),
        Some(Err(missing)) => Err(StorageError::no_access(format!(
            "{} has no value for key {missing}: set both {id} and {key}, or delete the Secret to use the platform's \
             credentials",
            secret.source()
        ))),
        None => secret.text(TEXT_KEY)?.ok_or_else(|| {
            StorageError::no_access(format!(
                "{} has no value for the keys {id} and {key}, nor for {TEXT_KEY}: set them, or delete the Secret to use \
                 the platform's credentials",
                secret.source()
            ))
        }),
    }
}

/// Text of the platform's Secret. The shared-config text has precedence.
fn minted_text(secret: &Secret<'_>) -> Result<String, StorageError> {
    if let Some(text) = secret.text(TEXT_KEY)? {
        return Ok(text);
    }
    match key_pair(secret, MINTED_KEYS)? {
        Some(Ok(text)) => Ok(text),
        Some(Err(_)) | None => Err(StorageError::no_access(format!(
            "no usable AWS credentials in {}: it needs {TEXT_KEY}, or both {} and {}; it is written by the platform's \
             credential operator",
            secret.source(),
            MINTED_KEYS[0],
            MINTED_KEYS[1],
        ))),
    }
}

#[cfg(test)]
mod tests;
