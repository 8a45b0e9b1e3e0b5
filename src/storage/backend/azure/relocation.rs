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
use super::container::{BlobContainer, DELETE_BLOBS, Markers, READ_BLOBS, WRITE_BLOBS, unless_missing};
use super::error::{Failure, Service, rejected};
use super::identity::{Audience, BLOB_SCOPE, Identities, IdentityKey, Proof};
use crate::api::Sensitive;
use crate::storage::model::call::{CallError, Called};
use crate::storage::net::http::{Egress, Http, Trust};
use crate::storage::net::network::Network;
use crate::storage::net::transport::{Request, Response, Transport};

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
/// Attempts to move a blob that others change at the same time.
const ROUNDS: usize = 3;
/// Bytes that are compared at a time.
const PIECE: u64 = 4 << 20;
/// Codes of the service for a blob that is not as the request demands: somebody changed it.
const CHANGED: [&str; 5] = [
    "BlobAlreadyExists",
    "ConditionNotMet",
    "PendingCopyOperation",
    "SourceConditionNotMet",
    "TargetConditionNotMet",
];
/// Error for a listing that does not end.
const REPEATED: &str =
    "the listing of the blobs repeats itself: check whether a proxy or another service answers in place of the storage";
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
        let mut markers = Markers::default();
        loop {
            let page = container.list(PREFIX, PAGE, markers.last()).await;
            let page = page.map_err(|failure| failure.error.to_string())?;
            let container = &container;
            let moves = page
                .names
                .iter()
                .map(|name| async move { (name, Move::new(container, name).run().await) });
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
                Some(next) if !markers.add(&next) => return Err(format!("{result}\n{REPEATED}")),
                Some(_) => {}
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

/// What a blob holds, as far as its properties tell. Append blobs, as which the registry writes layers, have no checksum.
#[derive(PartialEq, Eq)]
struct Content {
    length: u64,
    md5: String,
}

/// A blob as HEAD describes it.
struct Found {
    content: Content,
    etag: String,
    /// State of the copy that made the blob (`x-ms-copy-status`); empty if no copy did.
    copy: String,
    /// From where that copy is (`x-ms-copy-source`).
    copied_from: String,
}

impl Found {
    /// Whether a copy made the blob and did not end well: the blob is no content of anybody.
    fn is_failed_copy(&self) -> bool {
        matches!(self.copy.as_str(), "failed" | "aborted")
    }

    /// Whether a copy of this blob is under way.
    fn is_pending_from(&self, url: &str) -> bool {
        self.copy == "pending" && self.copied_from.split('?').next() == Some(url)
    }
}

/// How an attempt to move a blob ended.
enum Attempt {
    /// The source is gone.
    Moved,
    /// Another process changed one of the blobs meanwhile: look again.
    Again,
}

/// A blob that is moved: its old name, and the name under which the registry looks for it.
struct Move<'a> {
    container: &'a BlobContainer,
    source: &'a str,
    target: String,
}

impl<'a> Move<'a> {
    fn new(container: &'a BlobContainer, source: &'a str) -> Self {
        Self {
            container,
            source,
            target: format!("/{source}"),
        }
    }

    /// Moves the blob. The source is deleted only if the target holds the same, and only as it was then. What the target holds is
    /// never replaced, except a copy that failed: the registry may have written it later than the source.
    async fn run(&self) -> Called<()> {
        for _ in 0..ROUNDS {
            match self.attempt().await? {
                Attempt::Moved => return Ok(()),
                Attempt::Again => {}
            }
        }
        Err(self.kept("another process writes the blob all the time"))
    }

    async fn attempt(&self) -> Called<Attempt> {
        let Some(source) = self.properties(self.source).await? else {
            return Ok(Attempt::Moved); // by another process
        };
        let condition = match self.properties(&self.target).await? {
            None => ("if-none-match", "*".to_owned()),
            // No two blobs have one ETag. A proxy that joins slashes leads both names to one blob, whose deletion would lose it.
            Some(target) if target.etag == source.etag => {
                return Err(self
                    .kept("both names lead to the same blob: ask Azure directly, without a proxy that changes paths"));
            }
            Some(target) if target.is_failed_copy() => ("if-match", target.etag),
            Some(target) if target.is_pending_from(&self.url()) => {
                self.copied(target.copy, &source.content).await?;
                return self.delete(&source).await;
            }
            Some(target) => {
                if !self.is_the_same(&source, &target).await? {
                    return Err(self.kept(
                        "the blob with the new name has another content; the registry may have written it later, so that the old \
                         one is out of date: compare both, and delete the one that is not needed",
                    ));
                }
                return self.delete(&source).await;
            }
        };
        match self.copy(&source.etag, condition).await? {
            Some(status) => {
                self.copied(status, &source.content).await?;
                self.delete(&source).await
            }
            None => Ok(Attempt::Again),
        }
    }

    /// Error of a move without which the source and what the target holds stay.
    fn kept(&self, why: &str) -> CallError {
        let resource = self.container.resource(&self.target);
        rejected(WRITE_BLOBS, &resource, format!("{why}: the blob stays where it is"))
    }

    fn url(&self) -> String {
        format!(
            "{}/{}",
            self.container.service.origin,
            self.container.blob_path(self.source)
        )
    }

    async fn send(&self, action: &'static str, blob: &str, request: Request) -> Result<Response, Failure> {
        let resource = self.container.resource(blob);
        let call = Call {
            action,
            resource: &resource,
            changes: action != READ_BLOBS,
        };
        self.container.service.send(call, &request).await
    }

    fn request(&self, method: Method, blob: &str) -> Request {
        self.container.service.request(method, &self.container.blob_path(blob))
    }

    /// Properties of a blob; `None` if the service says that it does not exist.
    async fn properties(&self, blob: &str) -> Called<Option<Found>> {
        let response = match self.send(READ_BLOBS, blob, self.request(Method::HEAD, blob)).await {
            Ok(response) => response,
            Err(failure) if failure.code == "BlobNotFound" => return Ok(None),
            Err(failure) => return Err(failure.into()),
        };
        let header = |name: &str| response.header(name).unwrap_or_default().to_owned();
        let resource = self.container.resource(blob);
        let garbled = |why| self.container.garbled(READ_BLOBS, &resource, why);
        let length = header("content-length").parse();
        let found = Found {
            content: Content {
                length: length.map_err(|_| garbled("no Content-Length"))?,
                md5: header("content-md5"),
            },
            etag: header("etag"),
            copy: header("x-ms-copy-status"),
            copied_from: header("x-ms-copy-source"),
        };
        if found.etag.is_empty() {
            return Err(garbled("no ETag"));
        }
        Ok(Some(found))
    }

    /// Begins the copy of the source as it was found, if the target still fulfils the condition (a header): the state of the
    /// copy. `None` if one of the two blobs was changed.
    async fn copy(&self, etag: &str, (header, value): (&'static str, String)) -> Called<Option<String>> {
        let request = self
            .request(Method::PUT, &self.target)
            .header("x-ms-copy-source", self.url())
            .header("x-ms-source-if-match", etag)
            .header(header, value);
        match self.send(WRITE_BLOBS, &self.target, request).await {
            Ok(response) => Ok(Some(response.header("x-ms-copy-status").unwrap_or_default().to_owned())),
            Err(failure) if CHANGED.contains(&failure.code.as_str()) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Waits until a copy is complete, and compares what it made with the source.
    async fn copied(&self, mut status: String, content: &Content) -> Called<()> {
        for _ in 0..LOOKS {
            if status != "pending" {
                break;
            }
            (self.container.service.clock.sleep)(LOOK).await;
            match self.properties(&self.target).await? {
                Some(target) => status = target.copy,
                None => return Err(self.kept("the copy does not exist any more")),
            }
        }
        if status != "success" {
            return Err(self.kept(&format!("the copy ended as {status:?}")));
        }
        match self.properties(&self.target).await? {
            Some(target) if target.content == *content => Ok(()),
            _ => Err(self.kept("the copy has another length or checksum")),
        }
    }

    /// Whether both blobs hold the same. Without checksums of both they are read.
    async fn is_the_same(&self, source: &Found, target: &Found) -> Called<bool> {
        if source.content.length != target.content.length || target.copy == "pending" {
            return Ok(false);
        }
        if !source.content.md5.is_empty() && !target.content.md5.is_empty() {
            return Ok(source.content.md5 == target.content.md5);
        }
        let mut from = 0;
        while from < source.content.length {
            let to = source.content.length.min(from + PIECE);
            let (old, new) = futures::try_join!(
                self.piece(self.source, &source.etag, from, to),
                self.piece(&self.target, &target.etag, from, to)
            )?;
            if old != new {
                return Ok(false);
            }
            from = to;
        }
        Ok(true)
    }

    /// The bytes of a blob from a place up to another, if the blob is still the same.
    async fn piece(&self, blob: &str, etag: &str, from: u64, to: u64) -> Called<Vec<u8>> {
        let request = self
            .request(Method::GET, blob)
            .header("if-match", etag)
            .header("x-ms-range", format!("bytes={from}-{}", to - 1));
        let bytes = self.send(READ_BLOBS, blob, request).await?.body;
        if u64::try_from(bytes.len()).ok() == Some(to - from) {
            return Ok(bytes);
        }
        let resource = self.container.resource(blob);
        Err(self
            .container
            .garbled(READ_BLOBS, &resource, "a piece of another length"))
    }

    /// Deletes the source, if it is still as it was when it was copied or compared. A blob with snapshots stays.
    async fn delete(&self, source: &Found) -> Called<Attempt> {
        let request = self
            .request(Method::DELETE, self.source)
            .header("if-match", source.etag.as_str());
        let deleted = self.send(DELETE_BLOBS, self.source, request).await.map(drop);
        match unless_missing(deleted) {
            Ok(()) => Ok(Attempt::Moved),
            Err(failure) if CHANGED.contains(&failure.code.as_str()) => Ok(Attempt::Again),
            Err(failure) if failure.code == "SnapshotsPresent" => Err(self.kept(
                "it is copied, and it has snapshots: delete them if they are not needed, and run the command again",
            )),
            Err(failure) => Err(failure.into()),
        }
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
