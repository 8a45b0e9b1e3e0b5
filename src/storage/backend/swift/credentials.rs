//! PURE: credentials of OpenStack, from one of the two Secrets.

use std::collections::BTreeSet;

use serde_json::Value;

use super::clouds::{self, Cloud, DEFAULT_CLOUD, Text};
use crate::api::Sensitive;
use crate::config::snapshot::Snapshot;
use crate::config::yaml;
use crate::storage::inputs::secret::{CredentialsSecret, Secret, no_credentials};
use crate::storage::model::error::StorageError;

/// Key of the platform's Secret.
const CLOUDS_KEY: &str = "clouds.yaml";
/// Prefix of the keys of the administrator's Secret, which are the registry's variables.
const PREFIX: &str = "REGISTRY_STORAGE_SWIFT_";
/// The sets of keys of which one must be complete.
const USER_GROUPS: &str = "REGISTRY_STORAGE_SWIFT_USERNAME and _PASSWORD, or _APPLICATIONCREDENTIALID and \
                           _APPLICATIONCREDENTIALSECRET, or _TOKENID";
const CLOUD_GROUPS: &str = "username and password, or application_credential_id and application_credential_secret, or \
                            token";

/// What logs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Name of the user; may be empty.
    pub username: Sensitive,
    /// ID of the user; may be empty.
    pub user_id: Sensitive,
    /// Password of the user; may be empty.
    pub password: Sensitive,
    /// A token that was issued elsewhere; may be empty.
    pub token: Sensitive,
    /// ID of the application credential; may be empty.
    pub application_id: Sensitive,
    /// Name of the application credential; may be empty.
    pub application_name: Sensitive,
    /// Secret of the application credential; may be empty.
    pub application_secret: Sensitive,
}

impl Credentials {
    /// All members, for fingerprints.
    pub fn texts(&self) -> [&str; 7] {
        [
            &self.username,
            &self.user_id,
            &self.password,
            &self.token,
            &self.application_id,
            &self.application_name,
            &self.application_secret,
        ]
        .map(Sensitive::expose)
    }

    /// The members that must not appear in messages, in each form in which a service may repeat them.
    pub fn secrets(&self) -> Vec<Sensitive> {
        [&self.password, &self.token, &self.application_secret]
            .into_iter()
            .flat_map(|secret| forms(secret.expose()))
            .map(Sensitive::new)
            .collect()
    }

    /// The texts as the registry reads them. The operator logs in with the same ones.
    #[must_use]
    pub fn received(&self) -> Self {
        let received = |text: &Sensitive| Sensitive::new(yaml::received(text.expose()));
        Self {
            username: received(&self.username),
            user_id: received(&self.user_id),
            password: received(&self.password),
            token: received(&self.token),
            application_id: received(&self.application_id),
            application_name: received(&self.application_name),
            application_secret: received(&self.application_secret),
        }
    }

    fn is_complete(&self) -> bool {
        let user = !(self.username.is_empty() && self.user_id.is_empty());
        let application = !self.application_id.is_empty() || (!self.application_name.is_empty() && user);
        (user && !self.password.is_empty())
            || (application && !self.application_secret.is_empty())
            || !self.token.is_empty()
    }
}

/// The text as it is, in JSON with and without escapes beyond ASCII, as Python shows it, and in HTML.
fn forms(text: &str) -> BTreeSet<String> {
    let json = Value::from(text).to_string();
    let json = json.get(1..json.len() - 1).unwrap_or(text);
    let mut units = [0; 2];
    let ascii = json.chars().fold(String::new(), |ascii, c| {
        if c.is_ascii() {
            return format!("{ascii}{c}");
        }
        let units = c.encode_utf16(&mut units).iter();
        units.fold(ascii, |ascii, unit| format!("{ascii}\\u{unit:04x}"))
    });
    let python = text.replace('\\', "\\\\");
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quoted = |double, single| html.replace('"', double).replace('\'', single);
    BTreeSet::from([
        text.to_owned(),
        json.to_owned(),
        ascii,
        python.replace('\'', "\\'"),
        python,
        quoted("&quot;", "&#x27;"),
        quoted("&quot;", "&#39;"),
        quoted("&#34;", "&#39;"),
        html,
    ])
}

/// What a Secret holds.
#[derive(Clone, Debug)]
pub struct Given {
    /// Secret, for messages: `Secret openshift-image-registry/installer-cloud-credentials`.
    pub source: String,
    /// The credentials, or why there is no complete set of them.
    pub credentials: Result<Credentials, StorageError>,
    /// The cloud of `clouds.yaml`; empty for the administrator's Secret, which names no endpoint.
    pub cloud: Cloud,
    /// Whether this is the administrator's Secret.
    pub is_users: bool,
}

impl Given {
    /// Reads the Secret of the administrator if it exists, otherwise that of the platform.
    ///
    /// # Errors
    /// Neither exists, or the one to use cannot be read.
    pub fn of(snapshot: &Snapshot) -> Result<Self, StorageError> {
        match CredentialsSecret::find(snapshot) {
            Some(CredentialsSecret::User(secret)) => of_user(&secret),
            Some(CredentialsSecret::Minted(secret)) => of_platform(&secret, &cloud_name(snapshot)),
            None => Err(no_credentials("Swift", USER_GROUPS)),
        }
    }
}

/// Name of the cloud in `clouds.yaml`.
fn cloud_name(snapshot: &Snapshot) -> String {
    let platform = snapshot.infrastructure().and_then(|i| i.platform_status?.openstack);
    let name = platform.and_then(|openstack| openstack.cloud_name);
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| DEFAULT_CLOUD.to_owned())
}

fn of_user(secret: &Secret<'_>) -> Result<Given, StorageError> {
    let text = |key: &str| {
        let text = secret.text(&format!("{PREFIX}{key}"))?;
        Ok::<_, StorageError>(Sensitive::new(text.unwrap_or_default()))
    };
    let credentials = Credentials {
        username: text("USERNAME")?,
        user_id: Sensitive::default(),
        password: text("PASSWORD")?,
        token: text("TOKENID")?,
        application_id: text("APPLICATIONCREDENTIALID")?,
        application_name: text("APPLICATIONCREDENTIALNAME")?,
        application_secret: text("APPLICATIONCREDENTIALSECRET")?,
    };
    let source = secret.source();
    // Without its ID the registry does not use an application credential.
    let named_only = credentials.application_id.is_empty() && credentials.password.is_empty();
    let complete = credentials.is_complete() && !(named_only && credentials.token.is_empty());
    Ok(Given {
        credentials: complete.then_some(credentials).ok_or_else(|| {
            StorageError::no_access(format!(
                "{source} has no complete set of credentials: set {USER_GROUPS}, or delete the Secret to use the \
                 platform's credentials"
            ))
        }),
        source,
        cloud: Cloud::default(),
        is_users: true,
    })
}

fn of_platform(secret: &Secret<'_>, cloud: &str) -> Result<Given, StorageError> {
    let source = secret.source();
    let wrong = |cause: &str| {
        StorageError::no_access(format!(
            "{source}: key {CLOUDS_KEY} {cause}; it is written by the platform's credential operator"
        ))
    };
    let text = secret.text(CLOUDS_KEY)?.ok_or_else(|| wrong("is missing or empty"))?;
    let cloud_name = cloud;
    let cloud = clouds::read(&text, cloud).map_err(|cause| wrong(&cause))?;
    let auth = cloud.auth.clone().unwrap_or_default();
    let text = |Text(text): Text| Sensitive::new(text.unwrap_or_default());
    let credentials = Credentials {
        username: text(auth.username),
        user_id: text(auth.user_id),
        password: text(auth.password),
        token: text(auth.token),
        application_id: text(auth.application_credential_id),
        application_name: text(auth.application_credential_name),
        application_secret: text(auth.application_credential_secret),
    };
    Ok(Given {
        credentials: credentials.is_complete().then_some(credentials).ok_or_else(|| {
            wrong(&format!(
                "has no complete set of credentials in cloud {cloud_name}: {CLOUD_GROUPS}"
            ))
        }),
        source,
        cloud,
        is_users: false,
    })
}

#[cfg(test)]
mod tests;
