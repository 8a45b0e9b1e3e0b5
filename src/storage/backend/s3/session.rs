//! Credentials that STS issued, and sources of web identity tokens.

use std::path::PathBuf;

use aws_credential_types::Credentials;

use super::profile::Profile;
use crate::api::Sensitive;

/// Source of a web identity token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// The file that the credentials name. It is read for each call, because the kubelet rotates the token.
    File(PathBuf),
    /// This token of the registry's ServiceAccount.
    Given(Sensitive),
}

impl Token {
    /// The operator's own token; an empty path if the profile needs no token.
    pub fn of_operator(profile: &Profile) -> Self {
        match profile {
            Profile::Static { .. } => Self::File(PathBuf::new()),
            Profile::WebIdentity { token_file, .. } => Self::File(PathBuf::from(token_file)),
            Profile::AssumeRole { by, .. } => Self::of_operator(by),
        }
    }

    /// Whether the profile needs a token.
    pub fn is_needed(profile: &Profile) -> bool {
        match profile {
            Profile::Static { .. } => false,
            Profile::WebIdentity { .. } => true,
            Profile::AssumeRole { by, .. } => Self::is_needed(by),
        }
    }
}

/// A session that STS issued.
#[derive(Clone, Debug)]
pub struct Session {
    /// Access key, secret key, session token and expiry.
    pub credentials: Credentials,
    /// Account of the role; `None` if STS did not report it.
    pub account: Option<String>,
}

/// Credentials of a static access key.
pub fn fixed(id: &str, secret: &Sensitive, session: Option<&Sensitive>) -> Credentials {
    let session = session.map(|token| token.expose().to_owned());
    Credentials::new(id, secret.expose(), session, None, "secret")
}
