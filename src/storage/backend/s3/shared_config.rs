//! PURE: parses the shared-config text of AWS and resolves the default profile. Source: AWS SDKs and Tools Reference
//! Guide, "Shared config and credentials files".
//!
//! The text itself must contain the credentials. Settings with another source (a program, instance metadata, SSO) are
//! rejected, because the registry's pod has no such source.

use std::collections::BTreeMap;

use super::profile::Profile;
use crate::api::Sensitive;

const DEFAULT: &str = "default";
const SSO: &[&str] = &[
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "sso_role_name",
    "sso_region",
];

type Settings = BTreeMap<String, String>;

/// A parsed text.
pub(super) struct SharedConfig {
    /// Settings by the name of their section, with single blanks: `default`, `profile default`. Keys are lower-case.
    sections: BTreeMap<String, Settings>,
}

impl SharedConfig {
    /// Parses a text. Lines that are not settings are ignored.
    pub(super) fn parse(text: &str) -> Self {
        let mut sections: BTreeMap<String, Settings> = BTreeMap::new();
        let mut section: Option<String> = None;
        // Indented lines after a setting without a value are nested settings.
        let mut nested = false;
        for line in text.trim_start_matches('\u{feff}').lines() {
            let indented = line.starts_with([' ', '\t']);
            let line = without_comment(line);
            if line.is_empty() {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
                sections.entry(name.clone()).or_default();
                section = Some(name);
                nested = false;
                continue;
            }
            let (Some(section), Some((key, value))) = (&section, line.split_once('=')) else {
                continue;
            };
            if indented && nested {
                continue;
            }
            let value = unquoted(value.trim());
            nested = value.is_empty();
            if let Some(settings) = sections.get_mut(section) {
                settings.insert(key.trim().to_ascii_lowercase(), value.to_owned());
            }
        }
        Self { sections }
    }

    /// A setting of the default profile; `None` if it is missing or empty.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        value(self.section(DEFAULT)?, key)
    }

    /// The identity of the default profile.
    ///
    /// # Errors
    /// Why the identity cannot be determined, and the remedy. The text contains no secret.
    pub(super) fn profile(&self) -> Result<Profile, String> {
        self.resolve(DEFAULT, &mut Vec::new())
    }

    fn section(&self, name: &str) -> Option<&Settings> {
        let of_profile = || self.sections.get(&format!("profile {name}"));
        self.sections.get(name).or_else(of_profile)
    }

    fn resolve(&self, name: &str, seen: &mut Vec<String>) -> Result<Profile, String> {
        if seen.iter().any(|other| other == name) {
            let chain = seen.join(", ");
            return Err(format!(
                "source_profile forms a circle ({chain}, {name}): let it end in a profile with keys"
            ));
        }
        seen.push(name.to_owned());
        let settings = self
            .section(name)
            .ok_or_else(|| format!("there is no profile [{name}]: add it, with the credentials"))?;
        let role = value(settings, "role_arn");
        let (key, by) = match value(settings, "source_profile") {
            Some(source) if source == name => ("source_profile", own_key(name, settings)?),
            Some(source) => ("source_profile", Some(self.resolve(source, seen)?)),
            None => ("", own_key(name, settings)?),
        };
        match (by, role) {
            (Some(by), Some(role)) => assume_role(name, settings, role, by),
            (Some(_), None) if !key.is_empty() => Err(needs_role(name, key)),
            (Some(by), None) => Ok(by),
            (None, role) => without_key(name, settings, role),
        }
    }
}

/// The static key of a profile; `None` if it has none, or an incomplete one beside a role.
fn own_key(name: &str, settings: &Settings) -> Result<Option<Profile>, String> {
    let (id, secret) = ("aws_access_key_id", "aws_secret_access_key");
    match (value(settings, id), value(settings, secret)) {
        (Some(id), Some(secret)) => Ok(Some(Profile::Static {
            id: id.to_owned(),
            secret: Sensitive::new(secret),
            session: value(settings, "aws_session_token").map(Sensitive::new),
        })),
        (None, None) => Ok(None),
        _ if value(settings, "role_arn").is_some() => Ok(None),
        (Some(_), None) => Err(format!("profile [{name}] has {id} and no {secret}: set both")),
        (None, Some(_)) => Err(format!("profile [{name}] has {secret} and no {id}: set both")),
    }
}

/// The identity of a profile without a static key.
fn without_key(name: &str, settings: &Settings, role: Option<&str>) -> Result<Profile, String> {
    let refused = |key: &str| {
        Err(format!(
            "profile [{name}] uses {key}, which is not supported: use aws_access_key_id and aws_secret_access_key, or \
             role_arn and web_identity_token_file"
        ))
    };
    if value(settings, "credential_source").is_some() {
        return refused("credential_source");
    }
    if let Some(token_file) = value(settings, "web_identity_token_file") {
        let role = role.ok_or_else(|| needs_role(name, "web_identity_token_file"))?;
        return Ok(Profile::WebIdentity {
            role: role.to_owned(),
            token_file: token_file.to_owned(),
            session_name: value(settings, "role_session_name").map(str::to_owned),
        });
    }
    let elsewhere = SSO.iter().copied().chain(["credential_process"]);
    if let Some(key) = elsewhere.into_iter().find(|key| value(settings, key).is_some()) {
        return refused(if key.starts_with("sso_") { "SSO" } else { key });
    }
    Err(match role {
        Some(_) => format!(
            "profile [{name}] has role_arn and nothing to assume the role with: add \
                            web_identity_token_file, or source_profile"
        ),
        None => format!(
            "profile [{name}] holds no credentials: add aws_access_key_id and aws_secret_access_key, or \
                         role_arn and web_identity_token_file"
        ),
    })
}

fn assume_role(name: &str, settings: &Settings, role: &str, by: Profile) -> Result<Profile, String> {
    let text = |key| value(settings, key).map(str::to_owned);
    let seconds = value(settings, "duration_seconds").map(str::parse::<i32>).transpose();
    let seconds = seconds
        .map_err(|_| format!("duration_seconds of profile [{name}] is not a number: write it with digits only"))?;
    Ok(Profile::AssumeRole {
        role: role.to_owned(),
        by: Box::new(by),
        external_id: text("external_id"),
        seconds,
        session_name: text("role_session_name"),
    })
}

fn needs_role(name: &str, key: &str) -> String {
    format!("profile [{name}] has {key} and no role_arn: add the role")
}

fn value<'a>(settings: &'a Settings, key: &str) -> Option<&'a str> {
    settings.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// A line without its comment, trimmed. A comment starts only after a blank, because keys may contain `#` and `;`.
fn without_comment(line: &str) -> &str {
    let mut after_blank = true;
    for (at, c) in line.char_indices() {
        if after_blank && matches!(c, '#' | ';') {
            return line[..at].trim();
        }
        after_blank = c.is_whitespace();
    }
    line.trim()
}

fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote).and_then(|v: &str| v.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}
