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

use super::profile::Profile;
use super::session::{Session, Token, fixed};
use crate::api::Sensitive;
use crate::storage::model::call::{CallClass, CallError, Cause};
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::net::clock::Clock;
use crate::storage::net::error::Unredacted;
use crate::storage::net::retry::Policy;
use crate::storage::s3api::transport::{Transport, UserAgent};
use crate::storage::s3api::{codes, error, retry};

const WEB_IDENTITY: &str = "sts:AssumeRoleWithWebIdentity";
const ASSUME_ROLE: &str = "sts:AssumeRole";
const CALLER: &str = "sts:GetCallerIdentity";

/// Parameters of calls to STS.
pub struct Sts {
    /// URL of the endpoint.
    pub endpoint: String,
    /// Region of signatures.
    pub region: String,
    /// HTTP transport.
    pub transport: Transport,
    /// Digest of CA certificates and proxies.
    pub path: Fingerprint,
    /// User agent.
    pub product: UserAgent,
    /// Prefix of paths of token files; empty outside tests.
    pub root: PathBuf,
}

impl Sts {
    /// Credentials for a profile. A profile that assumes a role first gets the credentials of its source profile.
    pub fn session<'a>(
        &'a self,
        profile: &'a Profile,
        token: &'a Token,
        clock: &'a Clock,
    ) -> BoxFuture<'a, Result<Session, Unredacted>> {
        Box::pin(async move {
            match profile {
                Profile::Static { id, secret, session } => Ok(Session {
                    credentials: fixed(id, secret, session.as_ref()),
                    account: None,
                }),
                Profile::WebIdentity { role, session_name, .. } => {
                    let name = session_name.as_deref();
                    with_retries(clock, || self.web_identity(role, name, token, clock)).await
                }
                Profile::AssumeRole {
                    role,
                    by,
                    external_id,
                    seconds,
                    session_name,
                } => {
                    let by = self.session(by, token, clock).await?.credentials;
                    let hide = |error: Unredacted| {
                        let secrets = [Some(by.secret_access_key()), by.session_token()];
                        let secrets = secrets.into_iter().flatten().map(Sensitive::new);
                        secrets.fold(error, Unredacted::hiding)
                    };
                    let request = || {
                        self.client(Some(by.clone()))
                            .assume_role()
                            .role_arn(role)
                            .role_session_name(session_name.clone().unwrap_or_else(|| now_as_name(clock)))
                            .set_external_id(external_id.clone())
                            .set_duration_seconds(*seconds)
                    };
                    with_retries(clock, || async {
                        let answer = request()
                            .send()
                            .await
                            .map_err(|error| hide(refused(ASSUME_ROLE, role, &error)))?;
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
        clock: &Clock,
    ) -> Result<Session, Unredacted> {
        let token = match token {
            Token::Given(token) => token.expose().to_owned(),
            Token::File(path) => self.read(path, role).await?,
        };
        let request = self
            .client(None)
            .assume_role_with_web_identity()
            .role_arn(role)
            .role_session_name(session_name.map_or_else(|| now_as_name(clock), str::to_owned))
            .web_identity_token(&token);
        // Callers do not know the token of a file.
        let hide = |error: Unredacted| error.hiding(Sensitive::new(token.clone()));
        let answer = request
            .send()
            .await
            .map_err(|error| hide(refused(WEB_IDENTITY, role, &error)))?;
        let arn = answer.assumed_role_user().map(AssumedRoleUser::arn);
        issued(WEB_IDENTITY, role, answer.credentials(), arn)
    }

    /// Reads the token file.
    async fn read(&self, path: &Path, role: &str) -> Result<String, Unredacted> {
        let place = match path.strip_prefix("/") {
            Ok(inside) if !self.root.as_os_str().is_empty() => self.root.join(inside),
            _ => path.to_owned(),
        };
        let unreadable = |why: String| {
            let message = format!(
                "the web identity token {} cannot be read: {why}; it is mounted from the projected volume bound-sa-token",
                path.display()
            );
            Unredacted::new(error::failed(
                WEB_IDENTITY,
                role,
                Cause::Identity,
                "TokenUnreadable",
                message,
            ))
        };
        let text = tokio::fs::read_to_string(place)
            .await
            .map_err(|error| unreadable(error.to_string()))?;
        match text.trim() {
            "" => Err(unreadable("it is empty".to_owned())),
            token => Ok(token.to_owned()),
        }
    }

    /// Account of the credentials (GetCallerIdentity). One attempt, because the account is optional.
    pub async fn account(&self, credentials: Credentials) -> Result<String, Unredacted> {
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

/// Repeats the attempt while a retry is useful.
async fn with_retries<T, F>(clock: &Clock, attempt: impl Fn() -> F) -> Result<T, Unredacted>
where
    F: Future<Output = Result<T, Unredacted>>,
{
    let policy = Policy {
        first_wait: &retry::first_wait,
        leading: None,
        clock,
    };
    let mut retries = 0;
    loop {
        let error = match boxed(&attempt).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if !policy.wait(error.error(), retries).await {
            return Err(error);
        }
        retries += 1;
    }
}

/// The error of a call to STS. A 4xx response becomes [`Cause::Identity`], unless it is throttling or transient. It is a
/// refusal of the credentials, unless the code names another cause.
fn refused<E>(action: &'static str, role: &str, error: &SdkError<E, HttpResponse>) -> Unredacted
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    error::of(action, role, error).map(|error| match error.cause {
        Cause::Answer(400..500) if !error.is_undecided() => CallError {
            cause: Cause::Identity,
            class: if codes::has_own_cause(&error.code) {
                CallClass::Rejected
            } else {
                CallClass::Denied
            },
            ..error
        },
        _ => error,
    })
}

fn issued(action: &'static str, role: &str, issued: Option<&Issued>, arn: Option<&str>) -> Result<Session, Unredacted> {
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

fn incomplete(action: &'static str, role: &str, member: &str) -> Unredacted {
    let message = format!("the response has no {member}: is the endpoint one of STS?");
    Unredacted::new(error::garbled(action, role, message))
}

/// Default session name: the time in nanoseconds.
fn now_as_name(clock: &Clock) -> String {
    let time = (clock.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
    time.as_nanos().to_string()
}
