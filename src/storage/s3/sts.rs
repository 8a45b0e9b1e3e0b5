//! Calls to STS. Source: AWS Security Token Service API Reference, version 2011-06-15.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, IdentityCache, Region, StalledStreamProtectionConfig};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::types::{AssumedRoleUser, Credentials as Issued};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures::future::BoxFuture;

use super::credentials::Profile;
use super::error::{CallError, Cause};
use super::identity::{Session, Token, fixed};
use super::retry;
use super::transport::{Product, Transport};
use crate::storage::answers::Fingerprint;
use crate::storage::cloud::Pace;

const WEB_IDENTITY: &str = "sts:AssumeRoleWithWebIdentity";
const ASSUME_ROLE: &str = "sts:AssumeRole";
const CALLER: &str = "sts:GetCallerIdentity";

/// How STS is reached.
pub struct Sts {
    /// URL.
    pub endpoint: String,
    /// Region, for signatures.
    pub region: String,
    /// Connections.
    pub transport: Transport,
    /// Roots and way out.
    pub path: Fingerprint,
    /// User agent.
    pub product: Product,
    /// Put before paths of token files.
    pub root: PathBuf,
}

impl Sts {
    /// Credentials for a profile, through as many roles as it takes.
    pub fn session<'a>(
        &'a self,
        profile: &'a Profile,
        token: &'a Token,
        pace: &'a Pace,
    ) -> BoxFuture<'a, Result<Session, CallError>> {
        Box::pin(async move {
            match profile {
                Profile::Static { id, secret, session } => Ok(Session {
                    credentials: fixed(id, secret, session.as_ref()),
                    account: None,
                }),
                Profile::WebIdentity { role, session_name, .. } => {
                    let name = session_name.as_deref();
                    again(pace, || self.web_identity(role, name, token, pace)).await
                }
                Profile::AssumeRole {
                    role,
                    by,
                    external_id,
                    seconds,
                    session_name,
                } => {
                    let by = self.session(by, token, pace).await?.credentials;
                    let request = || {
                        self.client(Some(by.clone()))
                            .assume_role()
                            .role_arn(role)
                            .role_session_name(session_name.clone().unwrap_or_else(|| now_as_name(pace)))
                            .set_external_id(external_id.clone())
                            .set_duration_seconds(*seconds)
                    };
                    again(pace, || async {
                        let answer = request()
                            .send()
                            .await
                            .map_err(|error| refused(ASSUME_ROLE, role, &error))?;
                        let arn = answer.assumed_role_user().map(AssumedRoleUser::arn);
                        issued(ASSUME_ROLE, role, answer.credentials(), arn)
                    })
                    .await
                }
            }
        })
    }

    async fn web_identity(
        &self,
        role: &str,
        session_name: Option<&str>,
        token: &Token,
        pace: &Pace,
    ) -> Result<Session, CallError> {
        let token = match token {
            Token::Given(token) => token.expose().to_owned(),
            Token::File(path) => self.read(path, role).await?,
        };
        let request = self
            .client(None)
            .assume_role_with_web_identity()
            .role_arn(role)
            .role_session_name(session_name.map_or_else(|| now_as_name(pace), str::to_owned))
            .web_identity_token(&token);
        let answer = request.send().await.map_err(|error| {
            let error = refused(WEB_IDENTITY, role, &error);
            // The token of a file is nowhere else: nobody further up can keep it out of the message.
            error.without(&[crate::api::Sensitive::new(token.clone())])
        })?;
        let arn = answer.assumed_role_user().map(AssumedRoleUser::arn);
        issued(WEB_IDENTITY, role, answer.credentials(), arn)
    }

    /// The token as it is now.
    async fn read(&self, path: &Path, role: &str) -> Result<String, CallError> {
        let place = match path.strip_prefix("/") {
            Ok(inside) if !self.root.as_os_str().is_empty() => self.root.join(inside),
            _ => path.to_owned(),
        };
        let unreadable = |why: String| CallError {
            action: WEB_IDENTITY,
            resource: role.to_owned(),
            cause: Cause::Identity,
            code: "TokenUnreadable".to_owned(),
            message: format!(
                "the web identity token {} cannot be read: {why}; it is mounted from the projected volume bound-sa-token",
                path.display()
            ),
            region: None,
        };
        let text = tokio::fs::read_to_string(place)
            .await
            .map_err(|error| unreadable(error.to_string()))?;
        match text.trim() {
            "" => Err(unreadable("it is empty".to_owned())),
            token => Ok(token.to_owned()),
        }
    }

    /// Account of the credentials. One attempt: nothing depends on it.
    pub async fn account(&self, credentials: Credentials) -> Result<String, CallError> {
        let client = self.client(Some(credentials));
        let answer = boxed(|| client.get_caller_identity().send()).await;
        let answer = answer.map_err(|error| refused(CALLER, "the caller", &error))?;
        let account = answer
            .account()
            .map(str::to_owned)
            .filter(|account| !account.is_empty());
        account.ok_or_else(|| incomplete(CALLER, "the caller", "Account"))
    }

    fn client(&self, credentials: Option<Credentials>) -> aws_sdk_sts::Client {
        let mut config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .endpoint_url(&self.endpoint)
            .http_client(self.transport.clone())
            .identity_cache(IdentityCache::no_cache())
            .retry_config(retry::once())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .interceptor(self.product.clone());
        if let Some(credentials) = credentials {
            config = config.credentials_provider(credentials);
        }
        aws_sdk_sts::Client::from_conf(config.build())
    }
}

fn boxed<F>(attempt: impl Fn() -> F) -> Pin<Box<F>> {
    Box::pin(attempt())
}

/// Attempts until it is done or no use.
async fn again<T, F>(pace: &Pace, attempt: impl Fn() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut retries = 0;
    loop {
        let error = match boxed(&attempt).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let Some(delay) = retry::delay(&error, retries, retry::chance()) else {
            return Err(error);
        };
        retries += 1;
        (pace.sleep)(delay).await;
    }
}

/// A 4xx of STS is about the identity; what STS could not decide stays undecided.
fn refused<E>(action: &'static str, role: &str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let mut error = CallError::of(action, role, error);
    if let Cause::Answer(status) = error.cause
        && (400..500).contains(&status)
        && !error.is_undecided()
    {
        error.cause = Cause::Identity;
    }
    error
}

fn issued(action: &'static str, role: &str, issued: Option<&Issued>, arn: Option<&str>) -> Result<Session, CallError> {
    let issued = issued.ok_or_else(|| incomplete(action, role, "Credentials"))?;
    let expiry = SystemTime::try_from(*issued.expiration()).ok();
    let credentials = Credentials::new(
        issued.access_key_id(),
        issued.secret_access_key(),
        Some(issued.session_token().to_owned()),
        Some(expiry.ok_or_else(|| incomplete(action, role, "Expiration"))?),
        "sts",
    );
    // arn:aws:sts::123456789012:assumed-role/role/session
    let account = arn.and_then(|arn| arn.split(':').nth(4));
    let account = account.filter(|a| !a.is_empty() && a.bytes().all(|b| b.is_ascii_digit()));
    Ok(Session {
        credentials,
        account: account.map(str::to_owned),
    })
}

fn incomplete(action: &'static str, role: &str, member: &str) -> CallError {
    let message = format!("the answer holds no {member}: is the endpoint one of STS?");
    CallError::garbled(action, role, message)
}

/// Session name where none is given: the time in nanoseconds.
fn now_as_name(pace: &Pace) -> String {
    let time = (pace.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
    time.as_nanos().to_string()
}
