//! PURE: resources of IBM Cloud, as the APIs describe them, and what the operator requires of a resource key. Every member is
//! optional: the operator names what is missing.
//!
//! Source: IBM Cloud, API references "Resource Controller" and "Resource Manager".

use serde::Deserialize;
use serde_json::Value;

use crate::api::Sensitive;
use crate::storage::s3api::static_keys::StaticKeys;

/// Prefix of the roles of a service.
const ROLE: &str = "crn:v1:bluemix:public:iam::::serviceRole:";
/// Roles that suffice for the registry.
const SUFFICIENT: [&str; 2] = ["Writer", "Manager"];
/// Texts in place of credentials that the caller may not see.
const REDACTED: [&str; 2] = ["REDACTED", "REDACTED_EXPLICIT"];

/// A service instance.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// CRN.
    pub crn: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// `active`, `provisioning`, `removed`...
    pub state: Option<String>,
    /// ID of the resource group.
    pub resource_group_id: Option<String>,
}

/// What the state of a service instance means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// It can be used.
    Active,
    /// It is being created.
    Provisioning,
    /// It cannot be used now, and its buckets may exist or come back.
    Held(Hold),
    /// It does not exist any more, and neither do its buckets.
    Gone,
}

/// Why a service instance cannot be used, although nothing says that its buckets are gone (docs/decisions/0031).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// IBM Cloud disabled it, such as those of an account that is past due.
    Disabled,
    /// It was deleted, and can be restored.
    Reclamation,
    /// It is being created or restored.
    Beginning,
    /// It failed, is being deleted, or has a state that the operator does not know.
    Other,
}

impl Instance {
    /// What its state means; `None` if the response names none. Only `removed` says that the buckets are gone: a registry
    /// whose instance is replaced does not come back to its images.
    pub fn state(&self) -> Option<InstanceState> {
        Some(match self.state.as_deref()? {
            "" => return None,
            "active" => InstanceState::Active,
            "provisioning" | "pre_provisioning" => InstanceState::Provisioning,
            "inactive" => InstanceState::Held(Hold::Disabled),
            "pending_reclamation" => InstanceState::Held(Hold::Reclamation),
            "removed" => InstanceState::Gone,
            _ => InstanceState::Held(Hold::Other),
        })
    }
}

/// A resource group.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Group {
    /// ID.
    pub id: Option<String>,
    /// Name.
    pub name: Option<String>,
}

/// A resource key: credentials of a service instance. It holds secrets, so that it has no Debug output.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct ResourceKey {
    /// CRN.
    pub crn: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// `active`, `removed`...
    pub state: Option<String>,
    /// CRN of the service instance.
    pub source_crn: Option<String>,
    /// The credentials.
    credentials: Option<Value>,
}

/// Code of a resource key whose credentials the API key may not read.
const HIDDEN: &str = "CredentialsRedacted";

/// Why a resource key cannot be used: a code, and the cause with the remedy, as the end of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Code.
    pub code: &'static str,
    /// Cause and remedy.
    pub why: String,
}

impl Unusable {
    /// The API key may not read the credentials, which says nothing about the key.
    pub fn is_hidden(&self) -> bool {
        self.code == HIDDEN
    }
}

fn unusable(code: &'static str, why: impl Into<String>) -> Unusable {
    Unusable { code, why: why.into() }
}

/// A page of a list.
#[derive(Deserialize)]
pub struct Page<T> {
    /// The resources; without this member the response is no list.
    pub resources: Option<Vec<T>>,
    /// Path and query of the next page.
    #[serde(default)]
    pub next_url: Option<String>,
}

impl ResourceKey {
    /// Whether the key was deleted.
    pub fn is_gone(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state == "removed")
    }

    /// The HMAC keys with which the registry reaches the buckets of this instance.
    ///
    /// # Errors
    /// The key belongs to another instance, has no HMAC keys, or a role that may not write.
    pub fn hmac(&self, instance: &str) -> Result<StaticKeys, Unusable> {
        match self.source_crn.as_deref() {
            Some(source) if source == instance => {}
            source => {
                return Err(unusable(
                    "OtherInstance",
                    format!(
                        "it belongs to another service instance ({}): set spec.storage.ibmcos.resourceKeyCRN to a key of \
                         serviceInstanceCRN, or remove it",
                        source.unwrap_or("it names none")
                    ),
                ));
            }
        }
        let credentials = match &self.credentials {
            None | Some(Value::Null) => {
                return Err(unusable(
                    "NoCredentials",
                    "it has no credentials: create a key with HMAC, or remove spec.storage.ibmcos.resourceKeyCRN",
                ));
            }
            Some(credentials) if is_redacted(credentials) => {
                return Err(unusable(
                    HIDDEN,
                    "the API key may not read its credentials: grant the API key the platform role Administrator on the \
                     service instance, or a custom role with the action resource-controller.credential.retrieve_all (a \
                     service role such as Manager does not suffice)",
                ));
            }
            Some(credentials) => credentials,
        };
        let Some(keys) = credentials.get("cos_hmac_keys").filter(|keys| !keys.is_null()) else {
            return Err(unusable(
                "NoHmacKeys",
                "it has no HMAC keys (cos_hmac_keys), which the registry needs: create a key with HMAC, or remove \
                 spec.storage.ibmcos.resourceKeyCRN",
            ));
        };
        check_role(credentials.get("iam_role_crn").and_then(Value::as_str))?;
        let half = |name: &str| keys.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        match (half("access_key_id"), half("secret_access_key")) {
            (Some(id), Some(secret)) => Ok(StaticKeys {
                id: id.to_owned(),
                secret: Sensitive::new(secret),
            }),
            _ => Err(unusable(
                "IncompleteHmacKeys",
                "its HMAC keys lack access_key_id or secret_access_key: create another key with HMAC",
            )),
        }
    }
}

fn check_role(role: Option<&str>) -> Result<(), Unusable> {
    let name = role.and_then(|role| role.strip_prefix(ROLE));
    if name.is_some_and(|name| SUFFICIENT.contains(&name)) {
        return Ok(());
    }
    Err(unusable(
        "RoleTooWeak",
        format!(
            "its role is {}, and the registry needs Writer or Manager: create a key with such a role, or remove \
             spec.storage.ibmcos.resourceKeyCRN",
            role.unwrap_or("not known")
        ),
    ))
}

/// Whether the caller may not see the credentials.
fn is_redacted(credentials: &Value) -> bool {
    let is_text = |text: &str| REDACTED.contains(&text);
    credentials.as_str().is_some_and(is_text)
        || credentials.get("REDACTED").is_some()
        || credentials.get("redacted").is_some()
}

/// Account of a resource, from the scope of its CRN: `crn:v1:bluemix:public:SERVICE:LOCATION:a/ACCOUNT:INSTANCE::`.
pub fn account_of_crn(crn: &str) -> Option<&str> {
    let account = crn.split(':').nth(6)?.strip_prefix("a/")?;
    (!account.is_empty()).then_some(account)
}

/// Whether a resource key belongs to a service instance, by their CRNs.
pub fn is_of_instance(key: &str, instance: &str) -> bool {
    let prefix = instance.strip_suffix("::").unwrap_or(instance);
    key.strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with(":resource-key:"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const INSTANCE: &str = "crn:v1:bluemix:public:cloud-object-storage:global:a/acc1:inst1::";
    const KEY: &str = "crn:v1:bluemix:public:cloud-object-storage:global:a/acc1:inst1:resource-key:key1";

    fn key(credentials: &Value) -> ResourceKey {
        let key = json!({"crn": KEY, "source_crn": INSTANCE, "credentials": credentials, "more": 1});
        serde_json::from_value(key).unwrap()
    }

    fn credentials(role: &str) -> Value {
        let keys = json!({"access_key_id": "id", "secret_access_key": "secret"});
        json!({"cos_hmac_keys": keys, "iam_role_crn": format!("{ROLE}{role}")})
    }

    // storage-ibmcos 19, 20
    // In part: what is required.
    #[test]
    fn a_key_that_the_registry_cannot_use_is_refused_by_its_fault() {
        for role in ["Writer", "Manager"] {
            let keys = key(&credentials(role)).hmac(INSTANCE).unwrap();
            assert_eq!((keys.id.as_str(), keys.secret.expose()), ("id", "secret"));
        }
        let mut half = credentials("Writer");
        half["cos_hmac_keys"]["secret_access_key"] = json!("");
        let mut without_role = credentials("Writer");
        without_role["iam_role_crn"] = Value::Null;
        for (credentials, code) in [
            (Value::Null, "NoCredentials"),
            (json!({"apikey": "x"}), "NoHmacKeys"),
            (json!({"cos_hmac_keys": null}), "NoHmacKeys"),
            (json!("REDACTED"), "CredentialsRedacted"),
            (json!("REDACTED_EXPLICIT"), "CredentialsRedacted"),
            (json!({"REDACTED": "REDACTED"}), "CredentialsRedacted"),
            (json!({"REDACTED": "REDACTED_EXPLICIT"}), "CredentialsRedacted"),
            (credentials("Reader"), "RoleTooWeak"),
            (without_role, "RoleTooWeak"),
            (half, "IncompleteHmacKeys"),
        ] {
            assert_eq!(key(&credentials).hmac(INSTANCE).unwrap_err().code, code);
        }
        let other = INSTANCE.replace("inst1", "inst2");
        assert_eq!(
            key(&credentials("Writer")).hmac(&other).unwrap_err().code,
            "OtherInstance"
        );
        assert_eq!(ResourceKey::default().hmac(INSTANCE).unwrap_err().code, "OtherInstance");
    }

    // storage-ibmcos section 6.A, but only `removed` is gone (decision 0031).
    #[test]
    fn only_a_removed_instance_is_gone() {
        for (state, expected) in [
            ("active", InstanceState::Active),
            ("provisioning", InstanceState::Provisioning),
            ("pre_provisioning", InstanceState::Provisioning),
            ("failed", InstanceState::Held(Hold::Other)),
            ("inactive", InstanceState::Held(Hold::Disabled)),
            ("pending_reclamation", InstanceState::Held(Hold::Reclamation)),
            ("pending_removal", InstanceState::Held(Hold::Other)),
            ("a-state-of-tomorrow", InstanceState::Held(Hold::Other)),
            ("removed", InstanceState::Gone),
        ] {
            let instance = Instance {
                state: Some(state.to_owned()),
                ..Instance::default()
            };
            assert_eq!(instance.state(), Some(expected), "{state:?}");
        }
        for state in [None, Some(String::new())] {
            let instance = Instance {
                state,
                ..Instance::default()
            };
            assert_eq!(instance.state(), None);
        }
    }

    #[test]
    fn a_crn_names_its_account() {
        assert_eq!(
            (account_of_crn(INSTANCE), account_of_crn(KEY)),
            (Some("acc1"), Some("acc1"))
        );
        for crn in [
            "",
            "crn:v1:bluemix:public:cloud-object-storage:global:a/:inst1::",
            "crn:v1:bluemix:public:cloud-object-storage:global:o/acc1:inst1::",
            "crn:v1:bluemix:public:cloud-object-storage:global",
        ] {
            assert_eq!(account_of_crn(crn), None, "{crn}");
        }
    }

    #[test]
    fn a_key_belongs_to_the_instance_that_its_crn_contains() {
        assert!(is_of_instance(KEY, INSTANCE));
        assert!(!is_of_instance(KEY, &INSTANCE.replace("inst1", "inst")));
        assert!(!is_of_instance("", INSTANCE));
    }
}
