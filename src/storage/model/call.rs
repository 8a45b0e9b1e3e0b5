//! A failed call to a cloud, and what the failure means. A backend classifies each error once, where it decodes the
//! response; all other code uses the class.

use std::time::Duration;

use super::error::StorageError;

/// Result of a call to a cloud.
pub type Called<T> = Result<T, CallError>;

/// What the failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallClass {
    /// 404: the requested object does not exist. The response to a HEAD has no body, so it may come from a proxy.
    NotFound,
    /// The service's error code says that the container does not exist.
    ContainerGone,
    /// A permission is missing.
    Forbidden,
    /// Authentication failed: keys, tokens, signature.
    Denied,
    /// The name of the container belongs to another account.
    NameTaken,
    /// The container is not empty.
    NotEmpty,
    /// The service does not implement the call.
    Unsupported,
    /// The response decides nothing: no response, throttling, 5xx, a wrong region.
    Undecided,
    /// Any other refusal.
    Rejected,
}

/// How a call failed on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A response with this HTTP status.
    Answer(u16),
    /// No response (DNS, connection, TLS, timeout), or a response of another protocol.
    Unreachable,
    /// No credentials: the token service refused, or a token file cannot be read. If the token service was unreachable
    /// or failed, the cause is [`Cause::Unreachable`] or [`Cause::Answer`].
    Identity,
    /// This process does not lead any more; nothing was sent.
    NotLeading,
    /// The request cannot be built: the container's name, the region or the endpoint is not valid. Nothing was sent.
    Unsendable,
}

/// A call that failed, after its retries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} on {resource}: {code}: {message}")]
pub struct CallError {
    /// Permission that the call needs: `s3:PutBucketTagging`.
    pub action: &'static str,
    /// Container, or container and key; for a token service the role.
    pub resource: String,
    /// How the call failed on the network.
    pub cause: Cause,
    /// What the failure means.
    pub class: CallClass,
    /// The call went to a token service, so the error says nothing about the storage.
    pub of_identity: bool,
    /// The service's error code (`NoSuchBucket`). Without a body, the name of the HTTP status (`NotFound`). Without a
    /// response, `RequestError`.
    pub code: String,
    /// The service's message; never contains a secret.
    pub message: String,
    /// Region of the container according to the service, such as the header `x-amz-bucket-region`.
    pub region: Option<String>,
}

impl CallError {
    /// The requested object does not exist. `false` for errors of a token service.
    pub fn is_missing(&self) -> bool {
        matches!(self.class, CallClass::NotFound | CallClass::ContainerGone) && !self.of_identity
    }

    /// The service says that the container does not exist.
    pub fn is_container_gone(&self) -> bool {
        self.class == CallClass::ContainerGone && !self.of_identity
    }

    /// The service refused: permissions, keys, tokens, signature.
    pub fn is_denied(&self) -> bool {
        matches!(self.class, CallClass::Forbidden | CallClass::Denied)
    }

    /// A permission on the storage is missing.
    pub fn is_forbidden(&self) -> bool {
        self.class == CallClass::Forbidden && !self.of_identity
    }

    /// The service does not implement the call, so a retry is useless.
    pub fn is_unsupported(&self) -> bool {
        self.class == CallClass::Unsupported && !self.of_identity
    }

    /// The response decides nothing; see [`CallClass::Undecided`].
    pub fn is_undecided(&self) -> bool {
        self.class == CallClass::Undecided
    }

    /// Nothing was sent, because this process does not lead any more.
    pub fn is_not_leading(&self) -> bool {
        self.cause == Cause::NotLeading
    }

    /// The error of the step: transient if undecided, without access if refused, otherwise one that an administrator must
    /// resolve.
    pub fn storage_error(&self) -> StorageError {
        self.storage_error_with(self.to_string())
    }

    /// The same with another message.
    pub fn storage_error_with(&self, message: String) -> StorageError {
        if self.is_undecided() {
            StorageError::transient(message)
        } else if self.is_denied() {
            StorageError::no_access(message)
        } else {
            StorageError::action_required(message)
        }
    }

    /// Reason of a condition: the service's error code, or `unknown` without a response.
    pub fn reason(&self, unknown: &str) -> String {
        match self.cause {
            Cause::Answer(_) if !self.code.is_empty() => self.code.clone(),
            Cause::Answer(405) => "MethodNotAllowed".to_owned(),
            Cause::Answer(501) => "NotImplemented".to_owned(),
            _ => unknown.to_owned(),
        }
    }

    /// A call that was not sent because this process does not lead any more.
    pub fn not_leading(action: &'static str, resource: &str) -> Self {
        Self {
            action,
            resource: resource.to_owned(),
            cause: Cause::NotLeading,
            class: CallClass::Undecided,
            of_identity: false,
            code: "NotLeading".to_owned(),
            message: "this process does not lead any more; nothing was sent".to_owned(),
            region: None,
        }
    }

    /// A call without a response within this time.
    pub fn no_answer(action: &'static str, resource: &str, time: Duration) -> Self {
        Self {
            action,
            cause: Cause::Unreachable,
            class: CallClass::Undecided,
            code: "RequestError".to_owned(),
            message: format!("no response within {} s", time.as_secs()),
            ..Self::invalid(resource, "")
        }
    }

    /// A call that this backend does not support; nothing was sent.
    pub fn invalid(resource: &str, message: &str) -> Self {
        Self {
            action: "",
            resource: resource.to_owned(),
            cause: Cause::Unsendable,
            class: CallClass::Rejected,
            of_identity: false,
            code: "InvalidRequest".to_owned(),
            message: message.to_owned(),
            region: None,
        }
    }
}
