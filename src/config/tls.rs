//! TLS settings: from the cluster's profile to what the registry is told.

use serde_json::{Value, json};

use super::rejection::{Reason, Rejection};
use crate::api::openshift::ApiServerSpec;

/// TLS settings of the registry. Empty members set no variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServingInfo {
    /// `VersionTLS10` to `VersionTLS13`.
    pub min_version: Option<String>,
    /// Suites by IANA's names, in order of preference.
    pub cipher_suites: Vec<String>,
}

const MODERN: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

/// Beyond [`MODERN`], by OpenSSL's names.
const INTERMEDIATE: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// Beyond [`INTERMEDIATE`], by OpenSSL's names.
const OLD: &[&str] = &[
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA256",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

/// OpenSSL's names and IANA's, of every suite that Go's TLS stack (and so the registry) can offer.
const TRANSLATION: &[(&str, &str)] = &[
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ),
    ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ),
    ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    ("ECDHE-ECDSA-AES128-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    ("ECDHE-RSA-AES128-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    ("ECDHE-ECDSA-AES128-SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    ("ECDHE-RSA-AES128-SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    ("ECDHE-ECDSA-AES256-SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    ("ECDHE-RSA-AES256-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    ("AES128-GCM-SHA256", "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    ("AES256-GCM-SHA384", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    ("AES128-SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    ("AES128-SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"),
    ("AES256-SHA", "TLS_RSA_WITH_AES_256_CBC_SHA"),
    ("DES-CBC3-SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    ("ECDHE-RSA-DES-CBC3-SHA", "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
];

/// IANA's names of suites that the registry knows and no profile lists.
const KNOWN_BEYOND: &[&str] = &[
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
];

/// Versions that the registry knows.
pub const VERSIONS: &[&str] = &["VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"];

fn known_suite(name: &str) -> bool {
    MODERN.contains(&name) || KNOWN_BEYOND.contains(&name) || TRANSLATION.iter().any(|(_, iana)| *iana == name)
}

/// What a name of a profile is to the registry. TLS 1.3 has one name for both; other names of IANA are none of a profile's:
/// the Go operator leaves them out, and what differs from it restarts pods at a take-over.
fn iana(name: &str) -> Option<&str> {
    let translated = TRANSLATION
        .iter()
        .find(|(openssl, _)| *openssl == name)
        .map(|(_, iana)| *iana);
    translated.or_else(|| MODERN.contains(&name).then_some(name))
}

impl ServingInfo {
    /// What the cluster's profile asks for. An absent APIServer, profile or type, an unknown type, and `Custom` without a
    /// body are `Intermediate`; names that nobody knows are left out.
    pub fn observed(api_server: Option<&ApiServerSpec>) -> Self {
        let profile = api_server
            .and_then(|s| s.tls_security_profile.clone())
            .unwrap_or_default();
        let (version, suites): (&str, Vec<&str>) = match (profile.type_.as_deref(), &profile.custom) {
            (Some("Modern"), _) => ("VersionTLS13", MODERN.to_vec()),
            (Some("Old"), _) => ("VersionTLS10", [MODERN, INTERMEDIATE, OLD].concat()),
            (Some("Custom"), Some(custom)) => (
                custom.min_tls_version.as_deref().unwrap_or_default(),
                custom.ciphers.iter().flatten().map(String::as_str).collect(),
            ),
            _ => ("VersionTLS12", [MODERN, INTERMEDIATE].concat()),
        };
        Self {
            min_version: Some(version.to_owned()),
            cipher_suites: suites.into_iter().filter_map(iana).map(str::to_owned).collect(),
        }
    }

    /// As stored in `spec.observedConfig`, which it replaces whole.
    pub fn to_observed_config(&self) -> Value {
        json!({"servingInfo": {
            "minTLSVersion": self.min_version.clone().unwrap_or_default(),
            "cipherSuites": self.cipher_suites,
        }})
    }

    /// In which settings this differs from what is stored, in words.
    pub fn news(&self, stored: Option<&Value>) -> Vec<String> {
        let wanted = self.to_observed_config();
        let differs = |member: &str| {
            let pointer = format!("/servingInfo/{member}");
            stored.and_then(|stored| stored.pointer(&pointer)) != wanted.pointer(&pointer)
        };
        let version = self.min_version.as_deref().unwrap_or_default();
        let suites = self.cipher_suites.join(",");
        let all = [("minTLSVersion", version), ("cipherSuites", suites.as_str())];
        all.into_iter()
            .filter(|(member, _)| differs(member))
            .map(|(member, now)| format!("{member} changed to {now}"))
            .collect()
    }

    /// Reads `spec.observedConfig`. Another shape, or a name that nobody knows, is a rejection.
    pub fn stored(observed_config: Option<&Value>) -> Result<Self, Rejection> {
        let wrong = |message: String| Rejection::new(Reason::InvalidTlsConfig, message);
        let object = match observed_config {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(object)) => object,
            Some(_) => return Err(wrong("spec.observedConfig must be an object".to_owned())),
        };
        let info = match object.get("servingInfo") {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(info)) => info,
            Some(_) => return Err(wrong("spec.observedConfig.servingInfo must be an object".to_owned())),
        };
        let min_version = match info.get("minTLSVersion") {
            None | Some(Value::Null) => None,
            Some(Value::String(version)) if version.is_empty() => None,
            Some(Value::String(version)) if VERSIONS.contains(&version.as_str()) => Some(version.clone()),
            Some(other) => {
                let field = "spec.observedConfig.servingInfo.minTLSVersion";
                return Err(wrong(format!(
                    "{field} is {other}: one of {} expected",
                    VERSIONS.join(", ")
                )));
            }
        };
        let mut cipher_suites = Vec::new();
        match info.get("cipherSuites") {
            None | Some(Value::Null) => {}
            Some(Value::Array(suites)) => {
                for suite in suites {
                    match suite.as_str() {
                        Some(name) if known_suite(name) => cipher_suites.push(name.to_owned()),
                        _ => {
                            let field = "spec.observedConfig.servingInfo.cipherSuites";
                            return Err(wrong(format!(
                                "{field} holds {suite}, which is no known TLS cipher suite"
                            )));
                        }
                    }
                }
            }
            Some(_) => {
                return Err(wrong(
                    "spec.observedConfig.servingInfo.cipherSuites must be a list".to_owned(),
                ));
            }
        }
        Ok(Self {
            min_version,
            cipher_suites,
        })
    }
}

#[cfg(test)]
mod tests;
