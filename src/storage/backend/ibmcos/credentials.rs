//! PURE: the API key of IBM Cloud, from one of the two Secrets.

use crate::api::Sensitive;
use crate::config::snapshot::Snapshot;
use crate::storage::inputs::secret::{CredentialsSecret, Secret, no_credentials};
use crate::storage::model::error::StorageError;

/// Key of the administrator's Secret.
const USER_KEY: &str = "REGISTRY_STORAGE_IBMCOS_IAMAPIKEY";
/// Key of the platform's Secret.
const MINTED_KEY: &str = "ibmcloud_api_key";

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The key, without blanks around it.
    pub key: Sensitive,
    /// Secret and key, for messages.
    pub source: String,
}

impl ApiKey {
    /// The API key of the cluster: from the administrator's Secret if it exists, otherwise from the platform's Secret.
    ///
    /// # Errors
    /// Neither Secret exists, or the Secret has no usable API key. The message names Secret, key and remedy.
    pub fn of(snapshot: &Snapshot) -> Result<Self, StorageError> {
        match CredentialsSecret::find(snapshot) {
            Some(CredentialsSecret::User(secret)) => Self::read(&secret, USER_KEY),
            Some(CredentialsSecret::Minted(secret)) => Self::read(&secret, MINTED_KEY),
            None => Err(no_credentials("IBM Cloud", &format!("key {USER_KEY}"))),
        }
    }

    fn read(secret: &Secret<'_>, key: &'static str) -> Result<Self, StorageError> {
        let source = format!("key {key} of {}", secret.source());
        let text = secret.text(key)?.unwrap_or_default();
        let text = text.trim();
        if text.is_empty() {
            return Err(StorageError::no_access(format!(
                "{source} is missing or empty: store an API key of IBM Cloud there"
            )));
        }
        let is_wrapped = |c: char| matches!(c, '{' | '}' | '"');
        if text.starts_with(is_wrapped) || text.ends_with(is_wrapped) {
            return Err(StorageError::no_access(format!(
                "{source} begins or ends with a brace or a quote, which no API key of IBM Cloud does: store the key alone, \
                 without the JSON around it"
            )));
        }
        Ok(Self {
            key: Sensitive::new(text),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;
    use crate::config::snapshot::Objects;
    use crate::names;

    fn cluster(secrets: &[(&str, &str, &str)]) -> Snapshot {
        let secrets = secrets.iter().map(|(name, key, value)| {
            json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "namespace": names::NAMESPACE},
                "data": {*key: STANDARD.encode(value)},
            })
        });
        Snapshot {
            objects: Objects::from_values(secrets.collect::<Vec<_>>()).unwrap(),
            ..Snapshot::empty()
        }
    }

    fn key(secrets: &[(&str, &str, &str)]) -> Result<String, String> {
        let key = ApiKey::of(&cluster(secrets));
        key.map(|key| key.key.expose().to_owned())
            .map_err(|error| error.message)
    }

    // storage-ibmcos 29, storage-core 28, 29, 30
    // In part: which key is read.
    #[test]
    fn the_key_of_the_administrator_counts_and_its_absence_is_no_reason_to_use_the_other() {
        let minted = (names::MINTED_SECRET, MINTED_KEY, "of-platform");
        let user = (names::USER_SECRET, USER_KEY, "of-user");
        assert_eq!(key(&[minted]).unwrap(), "of-platform");
        assert_eq!(key(&[minted, user]).unwrap(), "of-user");
        let other = (names::USER_SECRET, "REGISTRY_STORAGE_S3_ACCESSKEY", "x");
        let error = key(&[minted, other]).unwrap_err();
        assert!(
            error.contains(USER_KEY) && error.contains(names::USER_SECRET),
            "{error}"
        );
        let error = key(&[]).unwrap_err();
        assert!(
            error.contains("openshift-image-registry/installer-cloud-credentials"),
            "{error}"
        );
    }

    #[test]
    fn blanks_are_cut_off_and_what_is_no_key_is_refused_without_being_shown() {
        assert_eq!(key(&[(names::USER_SECRET, USER_KEY, " abc\n")]).unwrap(), "abc");
        for value in ["", " \n", "{\"apikey\": \"s3cret\"}", "\"s3cret\"", "s3cret}"] {
            let error = key(&[(names::USER_SECRET, USER_KEY, value)]).unwrap_err();
            assert!(error.contains(USER_KEY) && !error.contains("s3cret"), "{error}");
        }
    }
}
