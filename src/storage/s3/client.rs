//! Calls to one bucket, through the official SDK over our own HTTP client.
//!
//! Each method is one call (with the retries that it deserves); what it answers is plain data. Calls that change something
//! ask first whether this process still leads, and carry `x-amz-expected-bucket-owner` on public AWS endpoints where the
//! account is known.

use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::TransitionDefaultMinimumObjectSize;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::credentials::{Credentials, Profile};
use super::effective::Effective;
use super::endpoint;
use super::error::CallError;
use super::identity::{Identity, Provider, Token, Who};
use super::retry;
use super::sts::Sts;
use super::transport::{Product, Touch, Transport};
use crate::api::Sensitive;
use crate::storage::cloud::{Cloud, Pace};
use crate::storage::fault::Fault;
use crate::storage::http::{Http, Trust, Via};

mod objects;
mod settings;

/// How a bucket is reached.
#[derive(Clone, Debug)]
pub struct Connection<'a> {
    /// Region, endpoint, style.
    pub effective: &'a Effective,
    /// Who asks.
    pub credentials: &'a Credentials,
    /// Where web identity tokens come from.
    pub token: Token,
    /// Roots for S3.
    pub trust: Trust,
    /// Roots for STS.
    pub sts_trust: Trust,
    /// Way out.
    pub via: Via,
    /// The settings are those of Managed storage: changing calls carry the account, where it is known.
    pub pin_owner: bool,
}

/// The bucket of a connection.
pub struct Bucket {
    pub(super) name: String,
    region: String,
    s3: aws_sdk_s3::Client,
    identity: Arc<Identity>,
    pace: Pace,
    leading: Arc<dyn Fn() -> bool + Send + Sync>,
    /// A public AWS endpoint: the account of the credentials is that of the bucket's owner.
    public: bool,
    pin_owner: bool,
    /// Passwords of proxies.
    secrets: Vec<Sensitive>,
    /// A setting of the lifecycle that stands beside the rules: what was read is written back.
    transition_size: Mutex<Option<TransitionDefaultMinimumObjectSize>>,
    /// See [`Self::is_unsure`].
    unsure: AtomicBool,
}

/// Default encryption of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// `AES256`, `aws:kms`, `aws:kms:dsse`.
    pub algorithm: String,
    /// KMS key.
    pub key: Option<String>,
    /// S3 Bucket Keys.
    pub bucket_key: bool,
}

/// A rule of a bucket's lifecycle, as the store gave it; foreign rules are written back as they came.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule(pub aws_sdk_s3::types::LifecycleRule);

/// One version of an object, or one delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Key.
    pub key: String,
    /// Version; `null` where the bucket never had versions, `None` in a plain listing.
    pub version: Option<String>,
    /// Whether it is the newest of its key.
    pub latest: bool,
    /// Whether it is a delete marker.
    pub marker: bool,
}

/// A page of a listing, from the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// What is there, at most as many as were asked for.
    pub entries: Vec<Entry>,
    /// Whether there is more.
    pub more: bool,
}

/// A key that was not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    /// Key.
    pub key: String,
    /// Version.
    pub version: Option<String>,
    /// The store's code.
    pub code: String,
    /// The store's text.
    pub message: String,
}

/// An upload that was not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Key.
    pub key: String,
    /// Id.
    pub id: String,
}

/// Server-side encryption that a PUT asks for, as the registry does with `encrypt` and `keyID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectEncryption {
    /// None is asked for.
    Default,
    /// `AES256`.
    Aes256,
    /// `aws:kms`, with a key.
    Kms(String),
    /// None is asked for, yet a key is named: the registry does so with `keyID` and without `encrypt`.
    KeyOnly(String),
}

impl Cloud {
    /// A connection to the bucket `name`. Nothing is sent yet.
    pub fn s3(&self, connection: &Connection<'_>, name: &str) -> Result<Bucket, Fault> {
        let effective = connection.effective;
        // What is wrong with the bundle or the proxy shows here, not at some request.
        self.http.client(&connection.trust, &connection.via)?;
        let product = Product::new(&self.settings.version);
        let identity = self.identity(connection, &product)?;
        let fips = self.fips(connection);
        let url = match &effective.endpoint {
            Some(custom) => custom.clone(),
            None => endpoint::s3_url(&effective.region, fips)?,
        };
        let s3 = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(endpoint::signing_region(&effective.region).to_owned()))
            .endpoint_url(url)
            // At the public endpoint the SDK puts the bucket into the host where it fits there.
            .force_path_style(effective.endpoint.is_some() && !effective.virtual_hosted)
            .http_client(self.transport(&connection.trust, &connection.via))
            .credentials_provider(Provider(identity.clone()))
            // Kept by the identity; the attempts, too, are ours to count.
            .identity_cache(IdentityCache::no_cache())
            .retry_config(retry::once())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .disable_s3_express_session_auth(true)
            .interceptor(product)
            .build();
        Ok(Bucket {
            name: name.to_owned(),
            region: effective.region.clone(),
            s3: aws_sdk_s3::Client::from_conf(s3),
            identity,
            pace: self.pace.clone(),
            leading: self.settings.leading.clone(),
            public: effective.endpoint.is_none(),
            pin_owner: connection.pin_owner,
            secrets: self.http.secrets(&connection.via),
            transition_size: Mutex::default(),
            unsure: AtomicBool::new(false),
        })
    }

    /// Whether validated endpoints are to be used, of S3 and of STS.
    fn fips(&self, connection: &Connection<'_>) -> bool {
        // Written keys at a custom endpoint need no STS, so nothing is wrong with a region that has none.
        let written = matches!(connection.credentials.profile, Profile::Static { .. });
        let needed = connection.effective.endpoint.is_none() || !written;
        needed && (self.settings.fips || connection.credentials.fips)
    }

    fn transport(&self, trust: &Trust, via: &Via) -> Transport {
        Transport::new(self.http.clone(), trust.clone(), via.clone())
    }

    fn identity(&self, connection: &Connection<'_>, product: &Product) -> Result<Arc<Identity>, Fault> {
        let effective = connection.effective;
        let fips = self.fips(connection);
        let sts = Sts {
            endpoint: endpoint::sts_url(&effective.region, effective.sts_endpoint.as_deref(), fips)?,
            region: endpoint::signing_region(&effective.region).to_owned(),
            transport: self.transport(&connection.sts_trust, &connection.via),
            path: Http::path(&connection.sts_trust, &connection.via),
            product: product.clone(),
            root: self.settings.root.clone(),
        };
        let who = Who {
            profile: &connection.credentials.profile,
            text: &connection.credentials.text,
            token: &connection.token,
            sts,
        };
        Ok(self.identities.of(who, &self.pace))
    }
}

type Called<T> = Result<T, CallError>;

/// A call, for permissions and messages.
struct Call {
    /// IAM action.
    action: &'static str,
    /// Key, where it is about one.
    key: Option<String>,
    /// Whether it changes something.
    changes: bool,
    /// Whether a checksum is mandatory.
    md5: bool,
    /// Whether it may carry the owner.
    owned: bool,
    /// Outermost element of the answer, where stores differ.
    root: Option<&'static str>,
}

impl Call {
    /// Reads.
    fn read(action: &'static str) -> Self {
        Self {
            action,
            key: None,
            changes: false,
            md5: false,
            owned: false,
            root: None,
        }
    }

    /// Changes something.
    fn change(action: &'static str) -> Self {
        Self {
            changes: true,
            owned: true,
            ..Self::read(action)
        }
    }

    /// Changes something, with a checksum of the body.
    fn checked(action: &'static str) -> Self {
        Self {
            md5: true,
            ..Self::change(action)
        }
    }

    fn answered_by(self, root: &'static str) -> Self {
        Self {
            root: Some(root),
            ..self
        }
    }

    fn without_owner(self) -> Self {
        Self { owned: false, ..self }
    }

    fn of(self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self
        }
    }
}

/// The SDK's futures take kilobytes: made here, they are no part of those that wait for them.
fn boxed<F>(send: impl Fn(Touch) -> F, touch: Touch) -> Pin<Box<F>> {
    Box::pin(send(touch))
}

impl Bucket {
    /// Account of the credentials (from STS, kept); `None` where it cannot be known, and at custom endpoints.
    pub async fn account(&self) -> Option<String> {
        if !self.public {
            return None;
        }
        self.identity.account().await.ok().flatten()
    }

    /// Whom a call names as the bucket's owner. Without credentials the call itself need not be tried.
    async fn owner(&self, call: &Call) -> Called<Option<String>> {
        if !(call.owned && self.pin_owner && self.public) {
            return Ok(None);
        }
        self.identity.account().await.map_err(|error| self.cleaned(error))
    }

    /// Whether a request that changes something may have been carried out without an answer that tells so; it may have been
    /// sent again since.
    pub fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Relaxed)
    }

    /// Sends until there is an answer that counts.
    async fn call<T, E, F>(&self, call: &Call, send: impl Fn(Touch) -> F) -> Called<T>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let touch = Touch {
            md5: call.md5,
            root: call.root,
            owner: self.owner(call).await?,
        };
        let resource = self.resource(call);
        let (mut retries, mut renewed) = (0, false);
        loop {
            if call.changes && !(self.leading)() {
                return Err(CallError::not_leading(call.action, &resource));
            }
            let error = match boxed(&send, touch.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => CallError::of(call.action, &resource, &error),
            };
            if error.of_identity() {
                // It had its attempts.
                return Err(self.cleaned(error));
            }
            if call.changes && error.is_lost() {
                self.unsure.store(true, Ordering::Relaxed);
            }
            if retry::stale(&error) && !renewed && self.identity.forget().await {
                renewed = true;
                continue;
            }
            let Some(delay) = retry::delay(&error, retries, retry::chance()) else {
                return Err(self.cleaned(error));
            };
            retries += 1;
            tracing::debug!(action = call.action, code = error.code, retries, "another attempt");
            (self.pace.sleep)(delay).await;
        }
    }

    fn resource(&self, call: &Call) -> String {
        match &call.key {
            Some(key) => format!("{}/{key}", self.name),
            None => self.name.clone(),
        }
    }

    fn cleaned(&self, error: CallError) -> CallError {
        error.without(&self.all_secrets())
    }

    fn all_secrets(&self) -> Vec<Sensitive> {
        [self.secrets.clone(), self.identity.secrets()].concat()
    }

    /// Where the SDK's own types refuse what they are given.
    fn unsendable(&self, call: &Call, why: &dyn Error) -> CallError {
        CallError::unsendable(call.action, &self.resource(call), why)
    }
}
