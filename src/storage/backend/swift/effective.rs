//! PURE: the effective configuration: the spec's fields, completed with those of `clouds.yaml`.

use super::auth_url;
use super::clouds::{Auth, Cloud, Text};
use super::credentials::{Credentials, Given};
use crate::api::registry_storage::SwiftStorage;
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::storage::inputs::{live, name};
use crate::storage::model::container::ContainerName;
use crate::storage::model::error::{ErrorClass, StorageError};

/// Longest name of a container, in bytes: Swift's default.
const LONGEST_CONTAINER: usize = 256;
/// Stands in the location ID for what the spec leaves to the platform's Secret.
const OF_PLATFORM: &str = "-";
/// Stands there for the platform's Keystone.
const PLATFORM: &str = "openstack";

/// A domain or project: by name, by ID, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Name.
    pub name: Option<String>,
    /// ID.
    pub id: Option<String>,
}

impl Named {
    fn of_spec(name: Option<&String>, id: Option<&String>) -> Self {
        let given = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
        Self {
            name: given(name),
            id: given(id),
        }
    }

    fn of_cloud(name: &Text, id: &Text) -> Self {
        Self {
            name: name.0.clone(),
            id: id.0.clone(),
        }
    }

    /// Whether neither is given.
    pub fn is_unknown(&self) -> bool {
        self.name.is_none() && self.id.is_none()
    }

    /// Whether both are the same domain or project: by ID if both have one, else by name.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.id, &other.id) {
            (Some(id), Some(other)) => id == other,
            _ => self.name.is_some() && self.name == other.name,
        }
    }

    /// Name and ID of the first, where it has one, else of the second. Not of both: they may name different ones.
    fn or(self, other: Self) -> Self {
        if self.is_unknown() { other } else { self }
    }

    fn text(&self) -> Option<&str> {
        self.name.as_deref().or(self.id.as_deref())
    }
}

/// Which endpoint of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interface {
    /// For everybody.
    #[default]
    Public,
    /// Inside the cloud.
    Internal,
    /// For administrators.
    Admin,
}

impl Interface {
    /// As the catalogue has it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }

    /// `internal`, `internalURL`.
    fn read(cloud: &Cloud) -> Self {
        let text = cloud.interface.0.as_deref().or(cloud.endpoint_type.0.as_deref());
        match text.map(|text| text.trim_end_matches("URL")) {
            Some("internal") => Self::Internal,
            Some("admin") => Self::Admin,
            _ => Self::Public,
        }
    }
}

/// The effective configuration.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Keystone's URL, normalised.
    pub auth_url: String,
    /// The same with the API version, and with the slash at its end if it was given, for the registry.
    pub registry_url: String,
    /// Version of Keystone's API, for the registry.
    pub auth_version: i64,
    /// Container that the spec names.
    pub container: Option<String>,
    /// Domain of the user.
    pub domain: Named,
    /// Project.
    pub project: Named,
    /// Domain of a project that is given by name; unknown: that of the user.
    pub project_domain: Named,
    /// Region of the endpoint; `None`: any.
    pub region: Option<String>,
    /// Which endpoint the operator uses; the registry uses the public one.
    pub interface: Interface,
    /// Whether certificates are verified. The registry always verifies them.
    pub verify: bool,
    /// The credentials, or why there are none.
    pub credentials: Result<Credentials, StorageError>,
    /// Secret with the credentials, for messages.
    pub source: String,
    /// Whether that is the administrator's Secret.
    pub is_users: bool,
}

fn rejected(field: &str, cause: &str) -> Rejection {
    Rejection {
        reason: Reason::InvalidConfig,
        message: format!("spec.storage.swift.{field} {cause}"),
    }
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// Checks the fields that need nothing but the spec.
///
/// # Errors
/// A field has a wrong value.
pub fn check(spec: &SwiftStorage) -> Result<(), Rejection> {
    if let Some(container) = given(spec.container.as_ref()) {
        let cause = if container.contains('/') {
            Some("contains a slash, which no container name may contain")
        } else if container.len() > LONGEST_CONTAINER {
            Some("is longer than 256 bytes, the longest name of a container")
        } else if matches!(container, "." | "..") {
            Some("is a relative path, which no URL can contain")
        } else {
            None
        };
        if let Some(cause) = cause {
            return Err(rejected("container", cause));
        }
    }
    let mut version = auth_url::DEFAULT_VERSION;
    if let Some(text) = given(spec.auth_version.as_ref()) {
        version = auth_url::version(text).map_err(|cause| rejected("authVersion", &cause))?;
    }
    if let Some(text) = given(spec.auth_url.as_ref()) {
        auth_url::normalised(text)
            .and_then(|url| auth_url::for_registry(&url, version))
            .map_err(|cause| rejected("authURL", &cause))?;
    }
    Ok(())
}

impl Effective {
    /// The effective configuration of a spec.
    ///
    /// # Errors
    /// A field of the spec is wrong, or the Secret with the rest of the configuration is missing or wrong.
    pub fn of(spec: &SwiftStorage, snapshot: &Snapshot) -> Result<Self, StorageError> {
        check(spec)?;
        let secret = Given::of(snapshot)?;
        let auth = secret.cloud.auth.clone().unwrap_or_default();
        let (auth_url, registry_url, auth_version) = urls(spec, &secret, &auth, snapshot)?;
        let (domain, project, project_domain) = names(spec, &auth);
        let region = given(spec.region_name.as_ref()).map(str::to_owned);
        let verify = secret.cloud.verify.0.as_deref().unwrap_or("true");
        Ok(Self {
            auth_url,
            registry_url,
            auth_version,
            container: given(spec.container.as_ref()).map(str::to_owned),
            domain,
            project,
            project_domain,
            region: region.or_else(|| secret.cloud.region_name.0.clone()),
            interface: Interface::read(&secret.cloud),
            verify: !["false", "no", "off", "0"].contains(&verify.to_ascii_lowercase().as_str()),
            credentials: secret.credentials,
            source: secret.source,
            is_users: secret.is_users,
        })
    }

    /// Domain of a project that is given by name.
    pub fn domain_of_project(&self) -> &Named {
        if self.project_domain.is_unknown() {
            &self.domain
        } else {
            &self.project_domain
        }
    }

    /// Name and location of the container. `spec`: the one of this configuration.
    pub fn container(&self, spec: &SwiftStorage, snapshot: &Snapshot) -> Result<ContainerName, StorageError> {
        let deterministic = deterministic(snapshot)?;
        let name = self.container.clone().unwrap_or_else(|| deterministic.clone());
        Ok(ContainerName {
            location: location(spec, &name, snapshot),
            deterministic: name == deterministic,
            place: self.region.clone().unwrap_or_default(),
            name,
        })
    }

    /// What a login and the choice of the endpoint depend on beside what the registry gets, for fingerprints.
    pub fn texts_of_operator(&self) -> [&str; 4] {
        let user_id = self.credentials.as_ref().map_or("", |c| c.user_id.expose());
        let verify = if self.verify { "" } else { "unverified" };
        [&self.auth_url, self.interface.text(), verify, user_id]
    }
}

/// The name that the operator chooses.
pub fn deterministic(snapshot: &Snapshot) -> Result<String, StorageError> {
    Ok(name::deterministic(&name::infrastructure_name(snapshot)?, &[]))
}

/// Where a container is: Keystone, project, region.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    url: Option<String>,
    project: Option<String>,
    region: Option<String>,
}

impl Place {
    fn of(spec: &SwiftStorage, cloud: &Cloud) -> Self {
        let auth = cloud.auth.clone().unwrap_or_default();
        let url = given(spec.auth_url.as_ref()).or(auth.auth_url.0.as_deref());
        let url = url.and_then(|url| auth_url::normalised(url).ok());
        let (domain, project, project_domain) = names(spec, &auth);
        let domain = if project_domain.is_unknown() {
            domain
        } else {
            project_domain
        };
        Self {
            url: url.map(|url| auth_url::base(&url)),
            project: match &project {
                Named { id: Some(id), .. } => Some(id.clone()),
                Named { name: Some(name), .. } => Some(format!("{name}@{}", domain.text().unwrap_or(OF_PLATFORM))),
                _ => None,
            },
            region: given(spec.region_name.as_ref())
                .map(str::to_owned)
                .or_else(|| cloud.region_name.0.clone()),
        }
    }
}

/// Location ID of a container: `<Keystone's URL without its version>/<project>/<region>/<container>`. The project is its ID, or
/// else `<name>@<domain>`.
///
/// What the spec leaves to the platform's Secret, or sets to the same value, is `openstack` and `-`. So a change of that
/// Secret is a change of credentials: the engine knows the container by its creation record, and does not write to one of
/// the same name elsewhere, which lacks the mark.
pub fn location(spec: &SwiftStorage, container: &str, snapshot: &Snapshot) -> String {
    let cloud = Given::of(snapshot).map(|given| given.cloud).unwrap_or_default();
    let (wanted, platform) = (Place::of(spec, &cloud), Place::of(&SwiftStorage::default(), &cloud));
    let part = |wanted: Option<String>, platform: Option<String>, default: &str| {
        wanted
            .filter(|wanted| Some(wanted) != platform.as_ref())
            .unwrap_or_else(|| default.to_owned())
    };
    let url = part(wanted.url, platform.url, PLATFORM);
    let project = part(wanted.project, platform.project, OF_PLATFORM);
    let region = part(wanted.region, platform.region, OF_PLATFORM);
    format!("{url}/{project}/{region}/{container}")
}

/// Domain of the user, project, and domain of the project if it has its own.
fn names(spec: &SwiftStorage, auth: &Auth) -> (Named, Named, Named) {
    let domain_of_spec = Named::of_spec(spec.domain.as_ref(), spec.domain_id.as_ref());
    let project_of_spec = Named::of_spec(spec.tenant.as_ref(), spec.tenant_id.as_ref());
    // The spec's domain is that of user and project.
    let project_domain = if domain_of_spec.is_unknown() && project_of_spec.is_unknown() {
        Named::of_cloud(&auth.project_domain_name, &auth.project_domain_id)
    } else {
        Named::default()
    };
    let first = |a: &Text, b: &Text| Text(a.0.clone().or_else(|| b.0.clone()));
    // An application credential and a token have a domain already. The Go operator does not read these members at all, so that a variable
    // more would replace the pods of a cluster that it manages.
    let has_domain = auth.application_credential_id.0.is_some() || auth.token.0.is_some();
    let default_domain = if has_domain && auth.password.0.is_none() {
        Named::default()
    } else {
        Named::of_cloud(
            &auth.default_domain_name,
            &first(&auth.default_domain_id, &auth.default_domain),
        )
    };
    let domain_of_cloud = Named::of_cloud(
        &first(&auth.domain_name, &auth.user_domain_name),
        &first(&auth.domain_id, &auth.user_domain_id),
    )
    .or(default_domain);
    let project = project_of_spec.or(Named::of_cloud(&auth.project_name, &auth.project_id));
    (domain_of_spec.or(domain_of_cloud), project, project_domain)
}

/// Keystone's URL, the URL for the registry, and the API version for the registry.
fn urls(
    spec: &SwiftStorage,
    secret: &Given,
    auth: &Auth,
    snapshot: &Snapshot,
) -> Result<(String, String, i64), StorageError> {
    let source = &secret.source;
    let wrong =
        |key: &str, cause: &str| StorageError::action_required(format!("{source}: {key} in clouds.yaml {cause}"));
    let version = match (given(spec.auth_version.as_ref()), &secret.cloud.identity_api_version.0) {
        (Some(text), _) => auth_url::version(text).map_err(|cause| rejected("authVersion", &cause))?,
        (None, Some(text)) => auth_url::version(text).map_err(|cause| wrong("identity_api_version", &cause))?,
        (None, None) => auth_url::DEFAULT_VERSION,
    };
    let (text, of_spec) = match (given(spec.auth_url.as_ref()), &auth.auth_url.0) {
        (Some(text), _) => (text, true),
        (None, Some(text)) => (text.as_str(), false),
        (None, None) if secret.is_users => {
            return Err(StorageError::action_required(format!(
                "spec.storage.swift.authURL is missing: {source} holds credentials and no URL, so set the URL of Keystone \
                 there, such as https://HOST:5000/v3"
            )));
        }
        (None, None) => return Err(wrong("auth_url", "is missing")),
    };
    let both = auth_url::normalised(text).and_then(|url| {
        let mut registry = auth_url::for_registry(&url, version)?;
        if registry == url && auth_url::ends_with_slash(text) {
            registry.push('/');
        }
        Ok((url, as_running(registry, text, snapshot)))
    });
    let (url, registry) = both.map_err(|cause| {
        if of_spec {
            rejected("authURL", &cause).into()
        } else {
            wrong("auth_url", &cause)
        }
    })?;
    Ok((url, registry, version))
}

/// The URL with the spelling of its host as it was given, which the Go operator keeps: IPv6 addresses, and names in Unicode. Pods that
/// run with this text keep it, because another one would replace them.
fn as_running(url: String, given: &str, snapshot: &Snapshot) -> String {
    let live = live::keystone_url(snapshot);
    live.filter(|live| *live == auth_url::with_host_as_given(&url, given))
        .map_or(url, str::to_owned)
}

/// The error as a rejection, if the spec cannot be right.
pub fn as_rejection(error: &StorageError) -> Option<Rejection> {
    match error.class {
        ErrorClass::Invalid(reason) => Some(Rejection {
            reason,
            message: error.message.clone(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
