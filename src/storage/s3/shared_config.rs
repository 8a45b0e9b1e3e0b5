//! The shared-config text of AWS: sections of settings, and who a profile asks to be. PURE. Source: the AWS SDKs and
//! Tools Reference Guide, "Shared config and credentials files".
//!
//! Only what the text itself holds counts. Whatever would take credentials from elsewhere (a program, the instance's
//! metadata, a sign-on) is refused by name: the registry's pod has none of it.

use std::collections::BTreeMap;

use super::credentials::Profile;
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
    /// By name as written, blanks reduced: `default`, `profile default`. Names of settings are lower-case.
    sections: BTreeMap<String, Settings>,
}

impl SharedConfig {
    /// Reads a text. Lines that are no settings are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut sections: BTreeMap<String, Settings> = BTreeMap::new();
        let mut section: Option<String> = None;
        // A setting without a value may have settings of its own below it, indented.
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

    /// A setting of the default profile; an empty one is none.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        value(self.section(DEFAULT)?, key)
    }

    /// Who the default profile asks to be, or why that cannot be told. The text holds no secret.
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
                "source_profile leads in a circle ({chain}, {name}): let it end in a profile with keys"
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
            (None, role) => otherwise(name, settings, role),
        }
    }
}

/// A static key. `None` where there is none, or but half of one beside something else that counts.
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

/// What a profile without a key asks for.
fn otherwise(name: &str, settings: &Settings, role: Option<&str>) -> Result<Profile, String> {
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
    let seconds = seconds.map_err(|_| {
        format!("duration_seconds of profile [{name}] is no number of seconds: write it with digits alone")
    })?;
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

/// A line without its comment, trimmed. Inside a line a comment follows a blank: keys may hold `#` and `;`.
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
