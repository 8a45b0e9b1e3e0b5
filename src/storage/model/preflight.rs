//! Input and result of a preflight.

use crate::config::event_request::EventRequest;
use crate::program::{Proxies, RegistryStorage, S3Wire};

/// End of the key of the multipart upload.
const UPLOAD: &str = "-upload";

/// Keys of the objects that a preflight writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeKeys {
    /// The object that is written in one call.
    pub object: String,
    /// The object of the multipart upload, from which the copy is made.
    pub upload: String,
    /// The copy. Its key is its own: Azure copies no append blob over a block blob.
    pub copy: String,
}

impl ProbeKeys {
    /// The keys that belong to the recorded one.
    pub fn of(object: &str) -> Self {
        Self {
            object: object.to_owned(),
            upload: format!("{object}{UPLOAD}"),
            copy: format!("{object}-copy"),
        }
    }

    /// Whether this is the key of the multipart upload of a preflight.
    pub fn is_upload(key: &str) -> bool {
        key.ends_with(UPLOAD)
    }

    /// All keys.
    pub fn all(&self) -> [&str; 3] {
        [&self.object, &self.upload, &self.copy]
    }

    /// Whether a preflight writes this key.
    pub fn contains(&self, key: &str) -> bool {
        self.all().contains(&key)
    }
}

/// Input of a preflight.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// Access to the storage as the registry would get it.
    pub access: &'a RegistryStorage,
    /// Key of the probe object, `docker/registry/v2/_preflight/<uid of the namespace>`. A backend with a root directory
    /// adds it as a prefix.
    pub key: &'a str,
    /// Proxy of the pods.
    pub proxies: &'a Proxies,
    /// CA certificates (PEM) that the pods trust in addition to the system's.
    pub roots: &'a str,
    /// Only list and read, because the registry refuses pushes.
    pub read_only: bool,
    /// How the registry program calls S3.
    pub s3: S3Wire,
}

/// Result of a preflight, and whether a probe object may remain.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Whether the storage works.
    pub result: Preflighted,
    /// The probe object or an upload may still exist, because its deletion failed or was impossible. The operator tries
    /// again. `false` if Unmanaged storage refuses the deletion permanently; an event reports that.
    pub left: bool,
    /// The storage keeps a version of the probe object that nobody may delete now. Each further preflight adds one.
    pub kept: bool,
    /// Events to publish.
    pub events: Vec<EventRequest>,
}

/// Whether storage works for the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preflighted {
    /// The registry can use the storage.
    Passed,
    /// The registry cannot use the storage.
    Denied(Denial),
    /// Unknown: no response, throttling, 5xx. The text is the cause.
    Undecided(String),
}

/// What the registry could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Permission that the call needs: `s3:PutObject`.
    pub action: String,
    /// Object of the call: `bucket/key`.
    pub resource: String,
    /// The service's error code: `AccessDenied`.
    pub code: String,
    /// The service's message; may be empty, never contains a secret.
    pub message: String,
    /// Authentication or authorization failed. A new key may need minutes to become valid.
    pub auth: bool,
}

impl From<Preflighted> for Probed {
    fn from(result: Preflighted) -> Self {
        Self {
            result,
            left: false,
            kept: false,
            events: Vec::new(),
        }
    }
}
