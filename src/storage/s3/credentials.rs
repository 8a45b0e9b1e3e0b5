//! The credentials' text, from one of the two Secrets, and what it says. PURE.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::shared_config::SharedConfig;
use crate::api::{Kind, Sensitive};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::fault::Fault;

/// Key of the shared-config text, in both Secrets.
const TEXT_KEY: &str = "credentials";
/// Keys of the administrator's Secret.
const USER_KEYS: [&str; 2] = ["REGISTRY_STORAGE_S3_ACCESSKEY", "REGISTRY_STORAGE_S3_SECRETKEY"];
/// Keys of the platform's Secret.
const MINTED_KEYS: [&str; 2] = ["aws_access_key_id", "aws_secret_access_key"];

/// Credentials of S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The shared-config text that operator and registry read.
    pub text: Sensitive,
    /// Which Secret it is from, for messages: `Secret openshift-image-registry/installer-cloud-credentials`.
    pub source: String,
    /// Who to be.
    pub profile: Profile,
    /// `region` of the text; counts only where nothing else says one.
    pub region: Option<String>,
    /// `use_fips_endpoint`.
    pub fips: bool,
}

/// Who to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A key.
    Static {
        /// `aws_access_key_id`.
        id: String,
        /// `aws_secret_access_key`.
        secret: Sensitive,
        /// `aws_session_token`.
        session: Option<Sensitive>,
    },
    /// AssumeRoleWithWebIdentity.
    WebIdentity {
        /// `role_arn`.
        role: String,
        /// `web_identity_token_file`.
        token_file: String,
        /// `role_session_name`.
        session_name: Option<String>,
    },
    /// AssumeRole, asked for by another profile.
    AssumeRole {
        /// `role_arn`.
        role: String,
        /// `source_profile`.
        by: Box<Profile>,
        /// `external_id`.
        external_id: Option<String>,
        /// `duration_seconds`.
        seconds: Option<i32>,
        /// `role_session_name`.
        session_name: Option<String>,
    },
}

impl Credentials {
    /// Credentials of the cluster: those of the administrator's Secret where there is one, whatever is in it, else those
    /// that the platform minted.
    ///
    /// The fault names the Secret, the key and the remedy.
    pub fn of(snapshot: &Snapshot) -> Result<Self, Fault> {
        if let Some(secret) = Secret::find(snapshot, names::USER_SECRET) {
            return Self::read(secret.user()?, secret.source());
        }
        let Some(secret) = Secret::find(snapshot, names::MINTED_SECRET) else {
            return Err(Fault::config(format!(
                "no credentials for S3: Secret {0}/{1} does not exist, and neither does {0}/{2}: create {1} with {3} and \
                 {4}, or let the platform's credential operator create {2}",
                names::NAMESPACE,
                names::USER_SECRET,
                names::MINTED_SECRET,
                USER_KEYS[0],
                USER_KEYS[1],
            )));
        };
        Self::read(secret.minted()?, secret.source())
    }

    /// Credentials from a shared-config text.
    fn read(text: String, source: String) -> Result<Self, Fault> {
        let config = SharedConfig::parse(&text);
        let profile = config
            .profile()
            .map_err(|cause| Fault::config(format!("{source}: {cause}")))?;
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

    /// SHA-256 of the text in hexadecimal digits: what is known about one text says nothing about another.
    pub fn fingerprint(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.text.expose().as_bytes());
        let mut text = String::with_capacity(64);
        for byte in digest.as_ref() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// The text of a static key, byte for byte what the Go operator writes: another one would replace the pods.
fn static_text(id: &str, secret: &str) -> String {
    format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
}

/// A Secret of our namespace.
struct Secret<'a> {
    name: &'static str,
    object: &'a Value,
}

impl<'a> Secret<'a> {
    fn find(snapshot: &'a Snapshot, name: &'static str) -> Option<Self> {
        let object = snapshot.objects.operand(Kind::Secret, name)?;
        Some(Self { name, object })
    }

    fn source(&self) -> String {
        format!("Secret {}/{}", names::NAMESPACE, self.name)
    }

    /// The text under a key, where it is not empty.
    fn text(&self, key: &str) -> Result<Option<String>, Fault> {
        match text_of(self.object, key) {
            None => Ok(None),
            Some(Ok(text)) => Ok((!text.is_empty()).then_some(text)),
            Some(Err(NotText)) => {
                let message = format!("key {key} of {} holds no text: set it anew", self.source());
                Err(Fault::config(message))
            }
        }
    }

    /// A static key, or the one of the two keys that is missing; `None` where both are.
    fn key_pair(&self, keys: [&'static str; 2]) -> Result<Option<Result<String, &'static str>>, Fault> {
        Ok(match (self.text(keys[0])?, self.text(keys[1])?) {
            (Some(id), Some(secret)) => Some(Ok(static_text(&id, &secret))),
            (Some(_), None) => Some(Err(keys[1])),
            (None, Some(_)) => Some(Err(keys[0])),
            (None, None) => None,
        })
    }

    /// The administrator's: a static key wins, half of one is a mistake.
    fn user(&self) -> Result<String, Fault> {
        let [id, secret] = USER_KEYS;
        match self.key_pair(USER_KEYS)? {
            Some(Ok(text)) => Ok(text),
            Some(Err(missing)) => Err(Fault::config(format!(
                "{} has no value for key {missing}: set both {id} and {secret}, or delete the Secret to use the \
                 platform's credentials",
                self.source()
            ))),
            None => self.text(TEXT_KEY)?.ok_or_else(|| {
                Fault::config(format!(
                    "{} has no value for the keys {id} and {secret}, nor for {TEXT_KEY}: set them, or delete the Secret \
                     to use the platform's credentials",
                    self.source()
                ))
            }),
        }
    }

    /// The platform's: the text wins.
    fn minted(&self) -> Result<String, Fault> {
        if let Some(text) = self.text(TEXT_KEY)? {
            return Ok(text);
        }
        match self.key_pair(MINTED_KEYS)? {
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) | None => Err(Fault::config(format!(
                "no usable AWS credentials in {}: it needs {TEXT_KEY}, or both {} and {}; it is written by the platform's \
                 credential operator",
                self.source(),
                MINTED_KEYS[0],
                MINTED_KEYS[1],
            ))),
        }
    }
}

/// What a Secret holds under a key is no text.
#[derive(Debug)]
pub(super) struct NotText;

/// A key of a Secret. `None` where it is absent.
pub(super) fn text_of(secret: &Value, key: &str) -> Option<Result<String, NotText>> {
    let encoded = secret.get("data")?.get(key)?.as_str()?;
    let bytes = STANDARD.decode(encoded).map_err(|_| NotText);
    Some(bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| NotText)))
}

#[cfg(test)]
mod tests;
