//! Digests of everything that an observation depends on.

use std::fmt;

use aws_lc_rs::digest;

use super::target::Target;
use crate::config::facts::{EnvValue, StorageFacts};
use crate::program::RegistryStorage;

/// SHA-256 of settings, credentials, CA and proxy. With equal fingerprints an observation of the storage has the same
/// result.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint([u8; digest::SHA256_OUTPUT_LEN]);

impl Fingerprint {
    /// Digest of these texts, in this order. Secrets are allowed: the digest does not reveal them.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for text in texts {
            // Without the length, ("ab", "c") and ("a", "bc") would have the same digest.
            context.update(&text.len().to_le_bytes());
            context.update(text.as_bytes());
        }
        let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    /// Digest of this fingerprint and these texts.
    #[must_use]
    pub fn and<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let Self(bytes) = Self::of(texts);
        let mut all = [0; digest::SHA256_OUTPUT_LEN * 2];
        let (first, second) = all.split_at_mut(digest::SHA256_OUTPUT_LEN);
        first.copy_from_slice(&self.0);
        second.copy_from_slice(&bytes);
        Self::digest(&all)
    }

    fn digest(bytes: &[u8]) -> Self {
        let mut digested = [0; digest::SHA256_OUTPUT_LEN];
        digested.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(digested)
    }

    /// Digest of a target: location ID and everything that the registry gets, including secrets and CA.
    pub fn of_target(target: &Target) -> Self {
        let location = target.location.as_deref().unwrap_or_default();
        let access = target.access.as_ref().map(RegistryStorage::texts).unwrap_or_default();
        let texts = access.iter().map(String::as_str);
        Self::of([location].into_iter().chain(texts).chain(target.ca_bundle.as_deref()))
    }

    /// Digest of a location ID and of everything that is rendered into the registry's pods, including secrets and CA.
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
            tenant: _, // names of variables, whose values count in `env`
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

/// Debug output omits the digest, because the digest depends on secrets.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}
