//! What was found out and need not be asked for again. Memory of the process that leads; correctness needs none of it.

use std::fmt;

use aws_lc_rs::digest;

use crate::config::facts::{EnvValue, StorageFacts};

/// What an answer depends on: settings, credentials, roots, way out. Two that are equal ask the same question.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint([u8; digest::SHA256_OUTPUT_LEN]);

impl Fingerprint {
    /// Of these texts, in this order; they may be secret.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for text in texts {
            // The length keeps two texts apart that make one together.
            context.update(&text.len().to_le_bytes());
            context.update(text.as_bytes());
        }
        let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    /// Of a location and of everything that the registry is told about it, secrets and CA included.
    pub fn of_facts(location: &str, facts: &StorageFacts) -> Self {
        let StorageFacts {
            backend,
            env,
            volumes,
            mounts,
            files,
            ca_bundle,
            unfit: _,
            not_usable: _,
        } = facts;
        let mut texts = vec![(*backend).to_owned(), location.to_owned()];
        for variable in env {
            let (kind, value) = match &variable.value {
                EnvValue::Text(text) => ("text", text.clone()),
                EnvValue::Secret(secret) => ("secret", secret.expose().to_owned()),
                EnvValue::Flag(flag) => ("flag", flag.to_string()),
                EnvValue::Number(number) => ("number", number.to_string()),
                EnvValue::Raw(text) => ("raw", text.clone()),
            };
            texts.extend([variable.name.to_owned(), kind.to_owned(), value]);
        }
        texts.extend(volumes.iter().chain(mounts).map(ToString::to_string));
        for (name, content) in files {
            texts.extend([name.clone(), content.expose().to_owned()]);
        }
        texts.extend(ca_bundle.clone());
        Self::of(texts.iter().map(String::as_str))
    }
}

/// It is made of secrets, too.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// What core remembers.
#[derive(Debug, Default)]
pub struct Answers {}
