//! PURE: the credentials of Google Cloud, a JSON text in one of the two Secrets.
//!
//! Sources: Google Cloud, "Service account credentials" (key files), and AIP-4117 "External Account Credentials".

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::api::Sensitive;
use crate::config::snapshot::Snapshot;
use crate::storage::inputs::secret::{CredentialsSecret, Secret, no_credentials};
use crate::storage::model::error::StorageError;

/// Key of the administrator's Secret.
const USER_KEY: &str = "REGISTRY_STORAGE_GCS_KEYFILE";
/// Key of the platform's Secret.
const MINTED_KEY: &str = "service_account.json";
/// Default token service of service-account keys.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Default lifetime of the token of an impersonated service account, in seconds.
const LIFETIME: u64 = 3600;

/// Credentials of Google Cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The JSON text, as the Secret holds it. The registry gets the same bytes.
    pub text: Sensitive,
    /// Secret and key of the text, for messages.
    pub source: String,
    /// `project_id`.
    pub project: Option<String>,
    /// `universe_domain`.
    pub universe: Option<String>,
    /// `quota_project_id`: the project to which requests are billed.
    pub quota_project: Option<String>,
    /// How to get a token.
    pub grant: Grant,
}

/// How to get a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// `service_account`: a signed assertion.
    ServiceAccount(ServiceAccount),
    /// `external_account`: workload identity federation.
    External(External),
}

/// Key of a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Email address of the service account.
    pub email: String,
    /// RSA key, PEM. It is parsed when the first token is needed.
    pub key: Sensitive,
    /// ID of the key.
    pub key_id: String,
    /// URL of the token service.
    pub token_uri: String,
}

/// Workload identity federation with a token from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Full name of the provider in the workload identity pool.
    pub audience: String,
    /// Type of the token in the file.
    pub subject_token_type: String,
    /// URL of the Security Token Service; `None`: that of the universe.
    pub token_url: Option<String>,
    /// Path of the file.
    pub file: String,
    /// Member with the token if the file holds JSON; `None`: the file holds the token alone.
    pub field: Option<String>,
    /// Impersonation of a service account: URL of the call, and lifetime of its token in seconds.
    pub impersonation: Option<(String, u64)>,
}

/// The members of the JSON text that matter here.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    project_id: String,
    universe_domain: String,
    quota_project_id: String,
    client_email: String,
    private_key: String,
    private_key_id: String,
    token_uri: String,
    audience: String,
    subject_token_type: String,
    token_url: String,
    credential_source: Source,
    service_account_impersonation_url: String,
    service_account_impersonation: Impersonation,
    // Of federations that the operator does not support; `client_id` is also a member of service-account keys.
    client_id: Value,
    client_secret: Value,
    workforce_pool_user_project: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Source {
    file: String,
    format: Format,
    executable: Option<IgnoredAny>,
    url: Option<IgnoredAny>,
    environment_id: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Format {
    #[serde(rename = "type")]
    kind: String,
    subject_token_field_name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Impersonation {
    token_lifetime_seconds: Option<u64>,
}

impl Credentials {
    /// Credentials of the cluster: from the administrator's Secret if it exists, otherwise from the platform's Secret.
    ///
    /// # Errors
    /// Neither Secret exists, or the Secret has no usable credentials. The message names Secret, key and remedy.
    pub fn of(snapshot: &Snapshot) -> Result<Self, StorageError> {
        match CredentialsSecret::find(snapshot) {
            Some(CredentialsSecret::User(secret)) => Self::read(&secret, USER_KEY),
            Some(CredentialsSecret::Minted(secret)) => Self::read(&secret, MINTED_KEY),
            None => Err(no_credentials("Google Cloud", &format!("key {USER_KEY}"))),
        }
    }

    fn read(secret: &Secret<'_>, key: &'static str) -> Result<Self, StorageError> {
        let source = format!("key {key} of {}", secret.source());
        let Some(text) = secret.text(key)? else {
            return Err(StorageError::no_access(format!(
                "{source} is missing or empty: store the JSON text of a service-account key or of a workload identity \
                 federation there"
            )));
        };
        Self::parse(text, source)
    }

    fn parse(text: String, source: String) -> Result<Self, StorageError> {
        let unusable = |cause: &str| StorageError::no_access(format!("{source} {cause}"));
        let document: Document = serde_json::from_str(&text).map_err(|error| {
            // The parser's text may repeat a value.
            let place = format!("line {}, column {}", error.line(), error.column());
            let what = if error.is_data() {
                "has a member of another type"
            } else {
                "is not JSON"
            };
            unusable(&format!(
                "{what} ({place}): store the JSON text as Google Cloud issued it"
            ))
        })?;
        let grant = match document.kind.as_str() {
            "service_account" => Grant::ServiceAccount(service_account(&document)),
            "external_account" => Grant::External(external(&document).map_err(|cause| unusable(&cause))?),
            "" => {
                return Err(unusable(
                    "has no member type: store the JSON text of a service-account key (type service_account) or of a \
                     workload identity federation (type external_account)",
                ));
            }
            other => {
                let other: String = other.chars().filter(char::is_ascii_graphic).take(40).collect();
                return Err(unusable(&format!(
                    "has type {other}, which is not supported: use service_account or external_account"
                )));
            }
        };
        Ok(Self {
            project: given(document.project_id),
            universe: given(document.universe_domain),
            quota_project: given(document.quota_project_id),
            grant,
            text: Sensitive::new(text),
            source,
        })
    }
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn service_account(document: &Document) -> ServiceAccount {
    ServiceAccount {
        email: document.client_email.clone(),
        key: Sensitive::new(document.private_key.as_str()),
        key_id: document.private_key_id.clone(),
        token_uri: given(document.token_uri.clone()).unwrap_or_else(|| TOKEN_URI.to_owned()),
    }
}

/// A federation with a file. Other sources would make the operator run a program or call any URL for whoever writes the
/// Secret.
fn external(document: &Document) -> Result<External, String> {
    // Without them the Security Token Service would refuse the token, and would not say why.
    for (name, value) in [
        ("client_id", &document.client_id),
        ("client_secret", &document.client_secret),
        ("workforce_pool_user_project", &document.workforce_pool_user_project),
    ] {
        if !value.is_null() && value.as_str() != Some("") {
            return Err(format!(
                "has the member {name}, which is not supported: use a workload identity federation without it (workforce pools and \
                 clients of the Security Token Service are for people and their applications)"
            ));
        }
    }
    let Source {
        file,
        format,
        executable,
        url,
        environment_id,
    } = &document.credential_source;
    let others = [executable, url, environment_id];
    if file.is_empty() || others.iter().any(|other| other.is_some()) {
        return Err(
            "has another source of tokens than credential_source.file, which is the only one that is supported: name the file \
             /var/run/secrets/openshift/serviceaccount/token, which is mounted into the pods of operator and registry, and \
             leave out executable, url and environment_id"
                .to_owned(),
        );
    }
    let field = match format.kind.as_str() {
        "" | "text" => None,
        "json" if !format.subject_token_field_name.is_empty() => Some(format.subject_token_field_name.clone()),
        _ => {
            return Err(
                "has a credential_source.format that is neither text nor json with a subject_token_field_name"
                    .to_owned(),
            );
        }
    };
    if document.audience.is_empty() {
        return Err("has no audience: it is the full name of the provider in the workload identity pool".to_owned());
    }
    let lifetime = document.service_account_impersonation.token_lifetime_seconds;
    Ok(External {
        audience: document.audience.clone(),
        subject_token_type: given(document.subject_token_type.clone())
            .unwrap_or_else(|| "urn:ietf:params:oauth:token-type:jwt".to_owned()),
        token_url: given(document.token_url.clone()),
        file: file.clone(),
        field,
        impersonation: given(document.service_account_impersonation_url.clone())
            .map(|url| (url, lifetime.unwrap_or(LIFETIME))),
    })
}

#[cfg(test)]
mod tests;
