//! Moves the blobs of releases up to 4.13, whose names begin with `docker/`, to where later releases look for them: names that
//! begin with a slash. Run by hand; it can be repeated, and goes on where it stopped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::StreamExt as _;
use http::Method;

use super::blobs::{Access, BlobService, Call, KeySource};
use super::cloud;
use super::connect::agent;
use super::container::{BlobContainer, READ_BLOBS, WRITE_BLOBS, unless_missing};
use super::error::{Service, rejected};
use super::identity::{Audience, BLOB_SCOPE, Identities, IdentityKey, Proof};
use crate::api::Sensitive;
use crate::storage::model::call::Called;
use crate::storage::net::http::{Egress, Http, Trust};
use crate::storage::net::network::Network;
use crate::storage::net::transport::Transport;

/// Beginning of the names of the blobs that are moved.
const PREFIX: &str = "docker/";
/// Blobs of one page.
const PAGE: u16 = 1000;
/// Number of blobs that are moved at the same time.
const AT_ONCE: usize = 8;
/// Wait between two looks at a copy.
const LOOK: Duration = Duration::from_millis(100);
/// Number of looks at a copy: ten minutes.
const LOOKS: u32 = 6000;
/// Number of failures that are told.
const TOLD: usize = 20;

/// What to move, from the environment of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    account: String,
    container: String,
    cloud: String,
    endpoints: Option<String>,
    /// CA certificates beside those of the system, PEM.
    bundle: String,
    login: Login,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Login {
    Key(Sensitive),
    Entra {
        client: String,
        tenant: String,
        /// The secret; `None`: the token in `file`.
        secret: Option<Sensitive>,
        file: String,
    },
}

/// The result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Number of blobs that were moved.
    pub moved: usize,
    /// Blobs that were not moved, and why; the first ones.
    pub failures: Vec<String>,
    /// Number of all of them.
    pub failed: usize,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blobs were moved, {} were not", self.moved, self.failed)?;
        for failure in &self.failures {
            write!(f, "\n{failure}")?;
        }
        Ok(())
    }
}

impl Relocation {
    /// Reads the variables with `take`. If the endpoints of a cloud come with their path, the file is written first, for other
    /// programs.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn of(take: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let given = |name: &str| {
            let value = take(name).map(|value| value.trim().to_owned());
            value.filter(|value| !value.is_empty())
        };
        let endpoints = endpoints(
            given("AZURE_ENVIRONMENT_FILEPATH"),
            given("AZURE_ENVIRONMENT_FILECONTENTS"),
        )?;
        let key = given("AZURE_ACCOUNTKEY");
        let (secret, file) = (given("AZURE_CLIENT_SECRET"), given("AZURE_FEDERATED_TOKEN_FILE"));
        let (client, tenant) = (given("AZURE_CLIENT_ID"), given("AZURE_TENANT_ID"));
        let (account, container) = (given("AZURE_STORAGE_ACCOUNT_NAME"), given("AZURE_CONTAINER_NAME"));
        let mut missing = Vec::new();
        let mut require = |is_given: bool, name: &'static str| {
            if !is_given {
                missing.push(name);
            }
        };
        require(account.is_some(), "AZURE_STORAGE_ACCOUNT_NAME");
        require(container.is_some(), "AZURE_CONTAINER_NAME");
        if key.is_none() {
            require(
                secret.is_some() || file.is_some(),
                "one of AZURE_ACCOUNTKEY, AZURE_CLIENT_SECRET, AZURE_FEDERATED_TOKEN_FILE",
            );
            require(client.is_some(), "AZURE_CLIENT_ID");
            require(tenant.is_some(), "AZURE_TENANT_ID");
        }
        if !missing.is_empty() {
            return Err(format!("these variables are not set: {}", missing.join(", ")));
        }
        let is_name = |name: &Option<String>| name.as_deref().is_some_and(crate::config::host::is_label);
        if !is_name(&account) || !is_name(&container) {
            return Err("AZURE_STORAGE_ACCOUNT_NAME or AZURE_CONTAINER_NAME is no name that Azure allows".to_owned());
        }
        Ok(Self {
            account: account.unwrap_or_default(),
            container: container.unwrap_or_default(),
            cloud: given("AZURE_ENVIRONMENT").unwrap_or_default(),
            endpoints,
            bundle: String::new(),
            login: match key {
                Some(key) => Login::Key(Sensitive::new(key)),
                None => Login::Entra {
                    client: client.unwrap_or_default(),
                    tenant: tenant.unwrap_or_default(),
                    secret: secret.map(Sensitive::new),
                    file: file.unwrap_or_default(),
                },
            },
        })
    }

    /// The same with these CA certificates beside those of the system; for tests.
    #[must_use]
    pub fn trusting(self, bundle: &str) -> Self {
        Self {
            bundle: bundle.to_owned(),
            ..self
        }
    }

    /// Moves all blobs.
    ///
    /// # Errors
    /// The blobs cannot be listed, or the settings cannot be used.
    pub async fn run(&self, network: &Network) -> Result<Moved, String> {
        let container = self.container(network)?;
        let mut result = Moved::default();
        let mut marker: Option<String> = None;
        loop {
            let page = container.list(PREFIX, PAGE, marker.as_deref()).await;
            let page = page.map_err(|failure| failure.error.to_string())?;
            let container = &container;
            let moves = page
                .names
                .iter()
                .map(|name| async move { (name, relocate(container, name).await) });
            let mut moves = futures::stream::iter(moves).buffer_unordered(AT_ONCE);
            while let Some((name, ended)) = moves.next().await {
                match ended {
                    Ok(()) => result.moved += 1,
                    Err(error) => {
                        result.failed += 1;
                        if result.failures.len() < TOLD {
                            result.failures.push(format!("{name}: {error}"));
                        }
                    }
                }
            }
            tracing::info!(moved = result.moved, failed = result.failed, "moving blobs");
            match page.next {
                Some(next) => marker = Some(next),
                None => return Ok(result),
            }
        }
    }

    fn container(&self, network: &Network) -> Result<BlobContainer, String> {
        let cloud = cloud::find(&self.cloud, self.endpoints.as_deref())?;
        let trust = Trust::with_system(self.bundle.clone());
        let path = Http::path(&trust, &Egress::Process);
        let transport = Transport::new(
            network.http.clone(),
            trust,
            Egress::Process,
            agent(&network.settings.version),
        );
        let access = match &self.login {
            Login::Key(key) => Access::Key(KeySource::Given(key.clone())),
            Login::Entra {
                client,
                tenant,
                secret,
                file,
            } => {
                let proof = match secret {
                    Some(secret) => Proof::Secret(secret.clone()),
                    None => Proof::File {
                        path: file.clone(),
                        root: network.settings.root.clone(),
                    },
                };
                let key = IdentityKey {
                    client: client.clone(),
                    tenant: tenant.clone(),
                    authority: cloud.authority.clone(),
                    proof,
                    audience: Audience::Scope(BLOB_SCOPE.to_owned()),
                    transport: transport.clone(),
                    path,
                };
                Access::Token(Identities::default().of(key, &network.clock))
            }
        };
        Ok(BlobContainer {
            name: self.container.clone(),
            service: BlobService {
                transport,
                access,
                account: self.account.clone(),
                origin: cloud.blob_service(&self.account),
                stack: cloud.stack,
                service: Service::RegistryBlobs,
                clock: network.clock.clone(),
                leading: Arc::new(|| true),
                unsure: AtomicBool::new(false),
            },
        })
    }
}

/// The endpoints of a cloud that is not public. Contents that come with a path are written there.
fn endpoints(path: Option<String>, contents: Option<String>) -> Result<Option<String>, String> {
    match (path, contents) {
        (Some(path), Some(contents)) => {
            let written = std::fs::write(&path, &contents);
            written.map_err(|error| {
                format!("{path}, which AZURE_ENVIRONMENT_FILEPATH names, cannot be written: {error}")
            })?;
            Ok(Some(contents))
        }
        (Some(path), None) => Ok(std::fs::read_to_string(path).ok()),
        (None, contents) => Ok(contents),
    }
}

/// What a blob holds, as far as its properties tell.
#[derive(PartialEq, Eq)]
struct Content {
    length: String,
    md5: String,
}

/// Properties of a blob, and the state of its last copy; `None` if it does not exist.
async fn properties(container: &BlobContainer, blob: &str) -> Called<Option<(Content, String)>> {
    let resource = container.resource(blob);
    let call = Call {
        action: READ_BLOBS,
        resource: &resource,
        changes: false,
    };
    let request = container.service.request(Method::HEAD, &container.blob_path(blob));
    let response = match container.service.send(call, &request).await {
        Ok(response) => response,
        Err(failure) if failure.error.cause == crate::storage::model::call::Cause::Answer(404) => return Ok(None),
        Err(failure) => return Err(failure.into()),
    };
    let header = |name: &str| response.header(name).unwrap_or_default().to_owned();
    let content = Content {
        length: header("content-length"),
        md5: header("content-md5"),
    };
    Ok(Some((content, header("x-ms-copy-status"))))
}

/// Moves one blob. The source is deleted only when the service says that the copy succeeded, and the copy has the same length
/// and checksum.
async fn relocate(container: &BlobContainer, source: &str) -> Called<()> {
    let target = format!("/{source}");
    let Some((content, _)) = properties(container, source).await? else {
        return Ok(()); // another process moved it
    };
    let present = properties(container, &target).await?;
    let is_there = present.is_some_and(|(found, status)| found == content && matches!(status.as_str(), "" | "success"));
    if !is_there {
        copy(container, source, &target, &content).await?;
    }
    Ok(unless_missing(container.delete_blob(source).await)?)
}

async fn copy(container: &BlobContainer, source: &str, target: &str, content: &Content) -> Called<()> {
    let service = &container.service;
    let resource = container.resource(target);
    let call = Call {
        action: WRITE_BLOBS,
        resource: &resource,
        changes: true,
    };
    let from = format!("{}/{}", service.origin, container.blob_path(source));
    let request = service.request(Method::PUT, &container.blob_path(target));
    let response = service.send(call, &request.header("x-ms-copy-source", from)).await?;
    let mut status = response.header("x-ms-copy-status").unwrap_or_default().to_owned();
    let failed = |why: String| rejected(WRITE_BLOBS, &resource, format!("{why}: the blob stays where it is"));
    for _ in 0..LOOKS {
        if status != "pending" {
            break;
        }
        (service.clock.sleep)(LOOK).await;
        match properties(container, target).await? {
            Some((_, now)) => status = now,
            None => return Err(failed("the copy does not exist any more".to_owned())),
        }
    }
    if status != "success" {
        return Err(failed(format!("the copy ended as {status:?}")));
    }
    match properties(container, target).await? {
        Some((found, _)) if found == *content => Ok(()),
        _ => Err(failed("the copy has another length or checksum".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Relocation, String> {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Relocation::of(|name| {
            pairs
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        })
    }

    const PLACE: [(&str, &str); 2] = [
        ("AZURE_STORAGE_ACCOUNT_NAME", "acct"),
        ("AZURE_CONTAINER_NAME", " images "),
    ];

    // storage-azure 56
    #[test]
    fn what_is_missing_is_named_and_a_key_needs_no_client() {
        let message = read(&[]).unwrap_err();
        for name in [
            "AZURE_STORAGE_ACCOUNT_NAME",
            "AZURE_CONTAINER_NAME",
            "AZURE_ACCOUNTKEY",
            "AZURE_CLIENT_ID",
        ] {
            assert!(message.contains(name), "{message}");
        }
        let message = read(&[&PLACE[..], &[("AZURE_CLIENT_SECRET", "x")]].concat()).unwrap_err();
        assert!(
            message.contains("AZURE_TENANT_ID") && !message.contains("AZURE_ACCOUNTKEY"),
            "{message}"
        );
        let relocation = read(
            &[
                &PLACE[..],
                &[("AZURE_ACCOUNTKEY", "QUJD"), ("AZURE_CLIENT_SECRET", "x")],
            ]
            .concat(),
        )
        .unwrap();
        assert_eq!(relocation.container, "images");
        assert_eq!(relocation.login, Login::Key(Sensitive::new("QUJD")));
        assert!(
            read(&[
                ("AZURE_STORAGE_ACCOUNT_NAME", "a/b"),
                PLACE[1],
                ("AZURE_ACCOUNTKEY", "QUJD")
            ])
            .is_err()
        );
    }

    // storage-azure section 12.3: secret before token
    #[test]
    fn a_secret_comes_before_a_token_and_the_endpoints_are_written_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.json");
        let login = [
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_SECRET", "s"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/f"),
            ("AZURE_ENVIRONMENT_FILEPATH", path.to_str().unwrap()),
            ("AZURE_ENVIRONMENT_FILECONTENTS", "{}"),
        ];
        let relocation = read(&[&PLACE[..], &login].concat()).unwrap();
        assert!(matches!(relocation.login, Login::Entra { secret: Some(_), .. }));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "{}");
        assert_eq!(relocation.endpoints.as_deref(), Some("{}"));
    }
}
