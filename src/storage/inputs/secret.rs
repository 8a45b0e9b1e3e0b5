//! PURE: selects the Secret with the storage credentials in the registry's namespace, and reads its keys.

use serde_json::Value;

use crate::api::Kind;
pub use crate::config::content::{NotText, secret_text as text_of};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::model::error::StorageError;

/// The Secret with the credentials.
pub enum CredentialsSecret<'a> {
    /// `image-registry-private-configuration-user` of the administrator. If it exists, the other Secret is not used.
    User(Secret<'a>),
    /// `installer-cloud-credentials` of the cloud credential operator.
    Minted(Secret<'a>),
}

impl<'a> CredentialsSecret<'a> {
    /// The Secret to use; `None` if neither exists.
    pub fn find(snapshot: &'a Snapshot) -> Option<Self> {
        let find = |name| {
            let object = snapshot.objects.operand(Kind::Secret, name)?;
            Some(Secret { name, object })
        };
        find(names::USER_SECRET)
            .map(Self::User)
            .or_else(|| find(names::MINTED_SECRET).map(Self::Minted))
    }
}

/// Error where neither Secret exists. `with`: what the administrator's Secret of this cloud must have.
pub fn no_credentials(cloud: &str, with: &str) -> StorageError {
    StorageError::no_access(format!(
        "no credentials for {cloud}: Secret {0}/{1} does not exist, and neither does {0}/{2}: create {2} with {with}, or let the \
         platform's credential operator create {1}",
        names::NAMESPACE,
        names::MINTED_SECRET,
        names::USER_SECRET,
    ))
}

/// A Secret.
pub struct Secret<'a> {
    name: &'static str,
    object: &'a Value,
}

impl Secret<'_> {
    /// `Secret openshift-image-registry/installer-cloud-credentials`, for messages.
    pub fn source(&self) -> String {
        format!("Secret {}/{}", names::NAMESPACE, self.name)
    }

    /// The text of a key; `None` if the key is missing or empty.
    ///
    /// # Errors
    /// The value is not UTF-8 text.
    pub fn text(&self, key: &str) -> Result<Option<String>, StorageError> {
        match text_of(self.object, key) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(NotText)) => {
                let message = format!("key {key} of {} is not UTF-8 text: set it again", self.source());
                Err(StorageError::no_access(message))
            }
        }
    }
}
