//! TLS settings of the registry, derived from the cluster's TLS security profile (APIServer `cluster`).

use serde_json::{Value, json};

use super::rejection::{Reason, Rejection};
use crate::api::openshift::ApiServerSpec;

/// TLS settings of the registry. An empty field sets no environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServingInfo {
    /// `VersionTLS10` to `VersionTLS13`.
    pub min_version: Option<String>,
    /// IANA names of the cipher suites, in order of preference.
    pub cipher_suites: Vec<String>,
}

/// Cipher suites of profile `Modern`. TLS 1.3 suites have the same name at OpenSSL and at IANA.
const MODERN: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

/// OpenSSL names of the suites that profile `Intermediate` adds to [`MODERN`].
const INTERMEDIATE: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// OpenSSL names of the suites that profile `Old` adds to [`INTERMEDIATE`].
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

/// OpenSSL name and IANA name of every suite that Go's `crypto/tls`, and therefore the registry, can offer.
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

/// IANA names of suites that the registry accepts and that have no OpenSSL name in [`TRANSLATION`].
const IANA_ONLY: &[&str] = &[
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
];

/// TLS versions that the registry accepts.
pub const VERSIONS: &[&str] = &["VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"];

fn known_suite(name: &str) -> bool {
    MODERN.contains(&name) || IANA_ONLY.contains(&name) || TRANSLATION.iter().any(|(_, iana)| *iana == name)
}

/// IANA name of a suite in a TLS security profile; `None` if the profile must not use the name.
///
/// Profiles use OpenSSL names, so an IANA name counts only for TLS 1.3. The Go operator drops other IANA names too; a
/// difference would restart the registry's pods when this operator takes over.
fn iana(name: &str) -> Option<&str> {
    let translated = TRANSLATION
        .iter()
        .find(|(openssl, _)| *openssl == name)
        .map(|(_, iana)| *iana);
    translated.or_else(|| MODERN.contains(&name).then_some(name))
}

impl ServingInfo {
    /// Settings of the cluster's TLS security profile. An absent APIServer, profile or type, an unknown type, and
    /// `Custom` without `custom` select `Intermediate`. Unknown suites are dropped.
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

    /// The value of `spec.observedConfig`: `{servingInfo: {minTLSVersion, cipherSuites}}`.
    pub fn to_observed_config(&self) -> Value {
        json!({"servingInfo": {
            "minTLSVersion": self.min_version.clone().unwrap_or_default(),
            "cipherSuites": self.cipher_suites,
        }})
    }

    /// One message for each setting that differs from the stored `spec.observedConfig`, such as
    /// `minTLSVersion changed to VersionTLS13`.
    pub fn changes(&self, stored: Option<&Value>) -> Vec<String> {
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

    /// Parses `spec.observedConfig`. Rejects fields of the wrong type and unknown versions and suites.
    pub fn stored(observed_config: Option<&Value>) -> Result<Self, Rejection> {
        let reject = |message: String| Rejection::new(Reason::InvalidTlsConfig, message);
        let object = match observed_config {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(object)) => object,
            Some(_) => return Err(reject("spec.observedConfig must be an object".to_owned())),
        };
        let info = match object.get("servingInfo") {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(info)) => info,
            Some(_) => return Err(reject("spec.observedConfig.servingInfo must be an object".to_owned())),
        };
        let min_version = match info.get("minTLSVersion") {
            None | Some(Value::Null) => None,
            Some(Value::String(version)) if version.is_empty() => None,
            Some(Value::String(version)) if VERSIONS.contains(&version.as_str()) => Some(version.clone()),
            Some(other) => {
                let field = "spec.observedConfig.servingInfo.minTLSVersion";
                return Err(reject(format!(
                    "{field} is {other}: set one of {}",
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
                            return Err(reject(format!(
                                "{field} contains {suite}, which is not a known TLS cipher suite"
                            )));
                        }
                    }
                }
            }
            Some(_) => {
                return Err(reject(
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
