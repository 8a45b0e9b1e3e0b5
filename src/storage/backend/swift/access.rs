//! PURE: what the registry needs to reach a container.

use super::credentials::Credentials;
use super::effective::{Effective, Named};
use super::keystone::Token;
use crate::api::Sensitive;
use crate::program::{RegistryStorage, SwiftStorage};
use crate::storage::model::error::StorageError;

/// What the registry needs with this configuration, as far as known without a call.
///
/// # Errors
/// There are no complete credentials.
pub fn access(effective: &Effective, container: &str) -> Result<RegistryStorage, StorageError> {
    let credentials = effective.credentials.clone()?;
    // The registry takes the user's domain for the project, if it gets no other. An application credential has its project.
    let by_name = effective.project.id.is_none() && effective.project.name.is_some();
    let scoped = by_name && credentials.application_secret.is_empty();
    let project_domain = if scoped && !effective.project_domain.is_same(&effective.domain) {
        effective.project_domain.clone()
    } else {
        Named::default()
    };
    Ok(RegistryStorage::Swift(Box::new(SwiftStorage {
        container: container.to_owned(),
        auth_url: effective.registry_url.clone(),
        auth_version: effective.auth_version,
        username: credentials.username,
        password: credentials.password,
        token: credentials.token,
        application_credential_id: credentials.application_id,
        application_credential_name: credentials.application_name,
        application_credential_secret: credentials.application_secret,
        domain: effective.domain.clone().into(),
        tenant: effective.project.clone().into(),
        tenant_domain: project_domain.into(),
        region: effective.region.clone(),
    })))
}

impl From<Named> for crate::program::NameAndId {
    fn from(named: Named) -> Self {
        Self {
            name: named.name,
            id: named.id,
        }
    }
}

/// Whether the registry cannot use the credentials as they are: it has no setting for the ID of a user, and takes an
/// application credential only by its ID. A login tells what is missing.
pub fn needs_login(credentials: &Credentials) -> bool {
    let by_user_id = credentials.username.is_empty() && !credentials.user_id.is_empty();
    let by_name = credentials.application_id.is_empty() && !credentials.application_secret.is_empty();
    by_name || (by_user_id && !credentials.password.is_empty())
}

/// The access, completed with what a login of the operator tells.
pub fn completed(known: RegistryStorage, token: &Token) -> RegistryStorage {
    let RegistryStorage::Swift(mut swift) = known else {
        return known;
    };
    let text = |text: &Option<String>| Sensitive::new(text.clone().unwrap_or_default());
    if swift.username.is_empty() && !swift.password.is_empty() {
        swift.username = text(&token.body.user);
        if swift.domain.name.is_none() {
            swift.domain.id = token.body.user_domain_id.clone().or(swift.domain.id);
        }
    }
    if swift.application_credential_id.is_empty() && !swift.application_credential_secret.is_empty() {
        swift.application_credential_id = text(&token.body.application_id);
    }
    RegistryStorage::Swift(swift)
}

#[cfg(test)]
mod tests;
