//! PURE: the AccessKey pair of Alibaba Cloud, from the administrator's Secret. No credentials are minted on AlibabaCloud.

use crate::api::{Kind, Sensitive};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::inputs::secret::{CredentialsSecret, Secret};
use crate::storage::model::error::StorageError;
use crate::storage::s3api::static_keys::StaticKeys;

/// Keys of the Secret: those of OSS, and those of S3 for administrators who come from there.
const PAIRS: [[&str; 2]; 2] = [
    [
        "REGISTRY_STORAGE_OSS_ACCESSKEYID",
        "REGISTRY_STORAGE_OSS_ACCESSKEYSECRET",
    ],
    ["REGISTRY_STORAGE_S3_ACCESSKEY", "REGISTRY_STORAGE_S3_SECRETKEY"],
];

/// The AccessKey pair of the administrator's Secret.
///
/// # Errors
/// The Secret does not exist, or has no complete pair. The message names Secret, keys and remedy.
pub fn keys(snapshot: &Snapshot) -> Result<StaticKeys, StorageError> {
    let [id, secret] = PAIRS[0];
    let exists = snapshot.objects.operand(Kind::Secret, names::USER_SECRET).is_some();
    let Some(CredentialsSecret::User(found)) = CredentialsSecret::find(snapshot).filter(|_| exists) else {
        return Err(StorageError::no_access(format!(
            "no credentials for Alibaba Cloud OSS: Secret {}/{} does not exist: create it with {id} and {secret}",
            names::NAMESPACE,
            names::USER_SECRET,
        )));
    };
    for pair in PAIRS {
        if let Some(keys) = pair_of(&found, pair)? {
            return Ok(keys);
        }
    }
    Err(StorageError::no_access(format!(
        "{} has no value for the keys {id} and {secret}: set both",
        found.source()
    )))
}

/// A pair of the Secret; `None` if both halves are missing or empty.
fn pair_of(secret: &Secret<'_>, [id, key]: [&'static str; 2]) -> Result<Option<StaticKeys>, StorageError> {
    let half = |name| -> Result<Option<String>, StorageError> {
        let text = secret.text(name)?.unwrap_or_default();
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    };
    let missing = match (half(id)?, half(key)?) {
        (Some(id), Some(key)) => {
            return Ok(Some(StaticKeys {
                id,
                secret: Sensitive::new(key),
            }));
        }
        (None, None) => return Ok(None),
        (Some(_), None) => key,
        (None, Some(_)) => id,
    };
    Err(StorageError::no_access(format!(
        "{} has no value for key {missing}: set both {id} and {key}",
        secret.source()
    )))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::config::snapshot::Objects;

    fn read(name: &str, data: &[(&str, &str)]) -> Result<(String, String), String> {
        let data: Map<String, Value> = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into()))
            .collect();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": names::NAMESPACE}, "data": data,
        });
        let snapshot = Snapshot {
            objects: Objects::from_values([secret]).unwrap(),
            ..Snapshot::empty()
        };
        let keys = keys(&snapshot).map_err(|error| error.message)?;
        Ok((keys.id, keys.secret.expose().to_owned()))
    }

    // issue 13: credentials of OSS
    #[test]
    fn the_administrators_secret_has_the_pair_under_the_names_of_oss_or_of_s3() {
        let [[oss_id, oss_key], [s3_id, s3_key]] = PAIRS;
        let user = names::USER_SECRET;
        let pair = |id: &str, key: &str| Ok((id.to_owned(), key.to_owned()));
        assert_eq!(read(user, &[(oss_id, "a"), (oss_key, " b\n")]), pair("a", "b"));
        assert_eq!(read(user, &[(s3_id, "c"), (s3_key, "d")]), pair("c", "d"));
        assert_eq!(
            read(user, &[(oss_id, "a"), (oss_key, "b"), (s3_id, "c"), (s3_key, "d")]),
            pair("a", "b")
        );
        for (data, named) in [
            (&[(oss_id, "a")][..], oss_key),
            (&[(oss_key, "b")], oss_id),
            (&[(oss_id, "a"), (s3_id, "c"), (s3_key, "d")], oss_key),
            (&[(s3_id, "c"), (s3_key, "")], s3_key),
            (&[], oss_id),
        ] {
            let message = read(user, data).unwrap_err();
            assert!(message.contains(named) && message.contains(user), "{message}");
        }
        // What the platform mints is no pair of Alibaba Cloud.
        let message = read(names::MINTED_SECRET, &[(oss_id, "a"), (oss_key, "b")]).unwrap_err();
        assert!(
            message.contains(user) && !message.contains(names::MINTED_SECRET),
            "{message}"
        );
    }
}
