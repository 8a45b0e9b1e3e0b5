//! Calls to one bucket, with the AWS SDK and the operator's HTTP clients.
//!
//! Each method is one call including its retries, and returns plain data. A call that changes something first checks
//! whether this process still leads. It carries `x-amz-expected-bucket-owner` if `Connection::pin_owner` is set and the
//! account is known.

use std::collections::BTreeSet;
use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{BlockedEncryptionTypes, TransitionDefaultMinimumObjectSize};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures::future::BoxFuture;

use super::address::{Address, bucket_url};
use super::transport::{Leading, RequestOverrides, Transport, Unknown, UserAgent};
use super::{error, retry};
use crate::api::Sensitive;
use crate::storage::model::call::{CallError, Called};
use crate::storage::model::error::StorageError;
use crate::storage::net::clock::Clock;
use crate::storage::net::error::Unredacted;
use crate::storage::net::http::{Egress, Trust};
use crate::storage::net::network::Network;
use crate::storage::net::retry::Policy;

/// The identity that authorizes requests: by a signature, or by a token in a header.
pub trait Identity: Send + Sync {
    /// Credentials for signatures; `None`: requests are not signed, and carry [`Self::headers`] instead.
    fn provider(self: Arc<Self>) -> Option<SharedCredentialsProvider>;
    /// Headers of each request, such as a token. An error means that there are no credentials.
    fn headers(&self) -> BoxFuture<'_, Called<Vec<(&'static str, Sensitive)>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    /// Account of the credentials, cached; `None` if it cannot be determined. An error means that there are no
    /// credentials.
    fn account(&self) -> BoxFuture<'_, Called<Option<String>>>;
    /// Whether other credentials of the same identity may be accepted after this error.
    fn is_stale(&self, error: &CallError) -> bool {
        retry::stale(error)
    }
    /// Drops credentials that the service refused. `false` for static keys, which cannot be renewed.
    fn renew(&self) -> BoxFuture<'_, bool>;
    /// How often credentials were dropped.
    fn renewals(&self) -> u64;
    /// Secrets that must not appear in messages.
    fn secrets(&self) -> Vec<Sensitive>;
}

/// Parameters of a connection to a bucket.
pub struct Connection {
    /// Region for the LocationConstraint of a new bucket; empty: the endpoint decides.
    pub region: String,
    /// Region of signatures.
    pub signing_region: String,
    /// URL of the endpoint, without a trailing slash.
    pub url: String,
    /// Path-style requests. Without it, the bucket is in the host name if the name permits that.
    pub path_style: bool,
    /// Identity that authorizes requests.
    pub identity: Arc<dyn Identity>,
    /// CA certificates.
    pub trust: Trust,
    /// Proxies.
    pub egress: Egress,
    /// Calls that change something carry the account of the credentials in `x-amz-expected-bucket-owner`.
    pub pin_owner: bool,
    /// The service has ListObjectVersions. Otherwise each decided refusal of that call means that the service does not implement
    /// it, except for a missing right.
    pub lists_versions: bool,
}

/// A bucket, with its connection.
pub struct Bucket {
    pub(super) name: String,
    pub(super) region: String,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) identity: Arc<dyn Identity>,
    clock: Clock,
    leading: Arc<dyn Fn() -> bool + Send + Sync>,
    pub(super) pin_owner: bool,
    pub(super) lists_versions: bool,
    /// Passwords of proxies.
    secrets: Vec<Sensitive>,
    /// Elements of the lifecycle configuration that the SDK does not know. A write would drop them.
    pub(super) unknown_lifecycle: Arc<Mutex<BTreeSet<String>>>,
    /// A setting of the lifecycle configuration beside its rules. It is read and written back unchanged.
    pub(super) transition_size: Mutex<Option<TransitionDefaultMinimumObjectSize>>,
    /// Types of encryption that the bucket refuses, a part of its default encryption. They are read and written back
    /// unchanged.
    pub(super) blocked_encryption: Mutex<Option<BlockedEncryptionTypes>>,
    /// See [`Self::is_unsure`].
    unsure: AtomicBool,
}

/// Default encryption of a bucket, as far as the operator sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// `AES256`, `aws:kms`, `aws:kms:dsse`.
    pub algorithm: String,
    /// KMS key.
    pub key: Option<String>,
    /// S3 Bucket Keys.
    pub bucket_key: bool,
}

/// A tag of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

/// A lifecycle rule of a bucket as read. Rules of other writers are written back with the same meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule(pub aws_sdk_s3::types::LifecycleRule);

/// One version of an object, or one delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Key.
    pub key: String,
    /// Version ID; `null` for an object written without versioning, `None` in a listing without versions.
    pub version: Option<String>,
    /// Whether this is the newest version of its key.
    pub latest: bool,
    /// Whether this is a delete marker.
    pub marker: bool,
}

impl Entry {
    /// The newest version of an object.
    pub fn object(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            version: None,
            latest: true,
            marker: false,
        }
    }
}

/// The first page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Entries, at most as many as requested.
    pub entries: Vec<Entry>,
    /// Whether the listing was truncated.
    pub more: bool,
}

/// A key that was not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    /// Key.
    pub key: String,
    /// Version ID.
    pub version: Option<String>,
    /// The service's error code.
    pub code: String,
    /// The service's message.
    pub message: String,
}

/// Result of DeleteObjects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Number of entries that the response names as deleted.
    pub deleted: usize,
    /// Keys that were not deleted.
    pub refused: Vec<KeyError>,
    /// Keys and version IDs of new delete markers.
    pub markers: Vec<(String, String)>,
}

/// An unfinished multipart upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Key.
    pub key: String,
    /// Upload ID.
    pub id: String,
}

/// Headers of an upload for server-side encryption, as the registry sends them for `encrypt` and `keyID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectEncryption {
    /// No headers.
    Default,
    /// `AES256`.
    Aes256,
    /// `aws:kms` with this key.
    Kms(String),
    /// This key without an algorithm. The registry sends that for `keyID` without `encrypt`.
    KeyOnly(String),
}

impl Bucket {
    /// Prepares a connection to the bucket `name`, without a call.
    ///
    /// # Errors
    /// The CA bundle or the proxy is invalid, or the endpoint's host does not permit virtual-hosted style.
    pub fn connect(network: &Network, connection: Connection, name: &str) -> Result<Self, StorageError> {
        // Report an invalid CA bundle or proxy here instead of at the first request.
        network.http.client(&connection.trust, &connection.egress)?;
        let secrets = network.http.secrets(&connection.egress);
        let address = bucket_url(&connection.url, connection.path_style, name).map_err(|error| {
            StorageError::action_required(format!(
                "{error}: use path-style requests, or an endpoint with a host name"
            ))
        })?;
        let s3 = aws_sdk_s3::Config::builder();
        // Without a provider of credentials no other scheme applies.
        let s3 = match connection.identity.clone().provider() {
            Some(provider) => s3.credentials_provider(provider),
            None => s3.allow_no_auth(),
        };
        let s3 = s3
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(connection.signing_region))
            .endpoint_resolver(Address::new(address))
            .http_client(Transport::new(
                network.http.clone(),
                connection.trust,
                connection.egress,
            ))
            // Identity caches the credentials, and Bucket::call does the retries.
            .identity_cache(IdentityCache::no_cache())
            .retry_config(retry::once())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .disable_s3_express_session_auth(true)
            .interceptor(UserAgent::new(&network.settings))
            .build();
        Ok(Self {
            name: name.to_owned(),
            region: connection.region,
            s3: aws_sdk_s3::Client::from_conf(s3),
            identity: connection.identity,
            clock: network.clock.clone(),
            leading: network.settings.leading.clone(),
            pin_owner: connection.pin_owner,
            lists_versions: connection.lists_versions,
            secrets,
            unknown_lifecycle: Arc::default(),
            transition_size: Mutex::default(),
            blocked_encryption: Mutex::default(),
            unsure: AtomicBool::new(false),
        })
    }
}

/// Sends a request of the SDK as this [`Call`], with retries. The request is built anew for each attempt.
macro_rules! send {
    ($bucket:expr, $call:expr, $request:expr) => {
        $bucket
            .call($call, |overrides| $request.customize().interceptor(overrides).send())
            .await
    };
}
pub(super) use send;

/// Properties of a call.
pub(super) struct Call {
    /// IAM action.
    pub(super) action: &'static str,
    /// Key of the object, if the call is about one.
    key: Option<String>,
    /// Whether the call changes something.
    changes: bool,
    /// Whether the request needs `Content-MD5`.
    md5: bool,
    /// Whether the request may carry `x-amz-expected-bucket-owner`.
    owned: bool,
    /// Root element of the response, if services use different names.
    root: Option<&'static str>,
    /// See [`RequestOverrides::unknown`].
    unknown: Option<Unknown>,
}

impl Call {
    /// A call that only reads.
    pub(super) fn read(action: &'static str) -> Self {
        Self {
            action,
            key: None,
            changes: false,
            md5: false,
            owned: false,
            root: None,
            unknown: None,
        }
    }

    /// A call that changes something.
    pub(super) fn change(action: &'static str) -> Self {
        Self {
            changes: true,
            owned: true,
            ..Self::read(action)
        }
    }

    /// A call that changes something and carries a checksum of the body: the service requires it, or the registry's
    /// client sends it. Buckets with a default retention refuse objects without one.
    pub(super) fn checked(action: &'static str) -> Self {
        Self {
            md5: true,
            ..Self::change(action)
        }
    }

    pub(super) fn answered_by(self, root: &'static str) -> Self {
        Self {
            root: Some(root),
            ..self
        }
    }

    pub(super) fn collecting(self, unknown: Unknown) -> Self {
        Self {
            unknown: Some(unknown),
            ..self
        }
    }

    pub(super) fn without_owner(self) -> Self {
        Self { owned: false, ..self }
    }

    pub(super) fn of(self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self
        }
    }
}

/// Boxes the SDK's future, which takes kilobytes, so that the caller's future stays small.
fn boxed<F>(send: impl Fn(RequestOverrides) -> F, overrides: RequestOverrides) -> Pin<Box<F>> {
    Box::pin(send(overrides))
}

impl Bucket {
    /// Account for `x-amz-expected-bucket-owner`. An error means that there are no credentials for the call either.
    async fn owner(&self, call: &Call) -> Called<Option<String>> {
        if !(call.owned && self.pin_owner) {
            return Ok(None);
        }
        self.identity
            .account()
            .await
            .map_err(|error| self.cleaned(Unredacted::new(error)))
    }

    async fn headers(&self) -> Called<Vec<(&'static str, Sensitive)>> {
        let headers = self.identity.headers().await;
        headers.map_err(|error| self.cleaned(Unredacted::new(error)))
    }

    /// Whether a request that changes something may have succeeded without a response. A retry may have sent it again.
    pub fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Relaxed)
    }

    /// Sends the request, with retries. [`send`] fills in the overrides.
    pub(super) async fn call<T, E, F>(&self, call: &Call, send: impl Fn(RequestOverrides) -> F) -> Called<T>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let resource = self.resource(call);
        let overrides = RequestOverrides {
            md5: call.md5,
            of_bucket: call.key.is_none(),
            root: call.root,
            unknown: call.unknown.clone(),
            owner: self.owner(call).await?,
            headers: Vec::new(),
            leading: call.changes.then(|| Leading(self.leading.clone())),
            action: call.action,
            resource: resource.clone(),
        };
        let policy = Policy {
            first_wait: &retry::first_wait,
            leading: call.changes.then_some(&*self.leading),
            clock: &self.clock,
        };
        let (mut retries, mut renewed) = (0, false);
        loop {
            policy.check_leading(call.action, &resource)?;
            let overrides = RequestOverrides {
                headers: self.headers().await?,
                ..overrides.clone()
            };
            let failed = match boxed(&send, overrides).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error::of(call.action, &resource, &error),
            };
            let error = failed.error();
            if error.of_identity {
                return Err(self.cleaned(failed)); // The identity already retried.
            }
            if call.changes && error::is_lost(error) {
                self.unsure.store(true, Ordering::Relaxed);
            }
            if !renewed && self.identity.is_stale(error) && self.identity.renew().await {
                renewed = true;
                continue;
            }
            if !policy.wait(error, retries).await {
                return Err(self.cleaned(failed));
            }
            retries += 1;
        }
    }

    pub(super) fn resource(&self, call: &Call) -> String {
        match &call.key {
            Some(key) => format!("{}/{key}", self.name),
            None => self.name.clone(),
        }
    }

    fn cleaned(&self, error: Unredacted) -> CallError {
        error.cleaned(&self.all_secrets())
    }

    pub(super) fn all_secrets(&self) -> Vec<Sensitive> {
        [self.secrets.clone(), self.identity.secrets()].concat()
    }

    /// Error for a request that the types of the SDK reject.
    pub(super) fn unsendable(&self, call: &Call, why: &dyn Error) -> CallError {
        self.cleaned(Unredacted::new(error::unsendable(
            call.action,
            &self.resource(call),
            why,
        )))
    }
}
