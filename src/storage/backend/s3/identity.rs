//! Identities of S3: the SDK's credentials provider. It uses only the credentials of the Secret, and no environment
//! variables, profile files or instance metadata.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use futures::future::BoxFuture;
use tokio::sync::Mutex as AsyncMutex;

use super::profile::Profile;
use super::session::{Session, Token, fixed};
use super::sts::Sts;
use crate::api::Sensitive;
use crate::storage::model::call::Called;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::net::clock::Clock;
use crate::storage::net::issued::IssuedSecrets;
use crate::storage::net::recent::Recent;
use crate::storage::net::token::TokenCache;
use crate::storage::s3api::client;

/// Wait before the account is requested again after a failure. The account is optional.
const ACCOUNT_RETRY: Duration = Duration::from_mins(10);
/// Largest number of cached identities: of operator and registry, before and after a change, and a reserve.
const CACHED: usize = 8;
/// Number of secrets to redact: those of two sessions, because a call may fail while the next session is fetched.
const SECRETS: usize = 4;

/// Parameters of an identity. Equal parameters mean the same identity.
pub struct IdentityKey<'a> {
    /// Profile of the credentials.
    pub profile: &'a Profile,
    /// Text of the credentials.
    pub text: &'a Sensitive,
    /// Source of web identity tokens.
    pub token: &'a Token,
    /// Connection to STS.
    pub sts: Sts,
}

/// Digests of two parts: credentials text, token and STS; CA certificates and proxies of STS. The second is part of the
/// key so that cached credentials do not hide an unusable connection to STS.
type Key = (Fingerprint, Fingerprint);

/// Cached identities, so that not every request calls STS.
#[derive(Default)]
pub struct Identities {
    cached: Recent<Key, Identity, CACHED>,
}

impl Identities {
    /// The cached identity, or a new one. Makes no call.
    pub fn of(&self, key: IdentityKey<'_>, clock: &Clock) -> Arc<Identity> {
        let token = match key.token {
            Token::File(path) => format!("file {}", path.display()),
            Token::Given(token) => format!("given {}", token.expose()),
        };
        let texts = [key.text.expose(), &token, &key.sts.endpoint, &key.sts.region];
        let digest = (Fingerprint::of(texts), key.sts.path.clone());
        self.cached.of(digest, || Identity {
            profile: key.profile.clone(),
            token: key.token.clone(),
            sts: key.sts,
            clock: clock.clone(),
            session: TokenCache::default(),
            issued: IssuedSecrets::default(),
            account: AsyncMutex::default(),
        })
    }
}

/// An identity with its current credentials.
pub struct Identity {
    profile: Profile,
    token: Token,
    sts: Sts,
    clock: Clock,
    session: TokenCache<Session>,
    /// Secrets of the last sessions, to redact in messages.
    issued: IssuedSecrets<SECRETS>,
    account: AsyncMutex<Account>,
}

#[derive(Default)]
enum Account {
    #[default]
    NotRequested,
    Known(String),
    /// The request failed at this time.
    Unknown(SystemTime),
}

impl Identity {
    /// Valid credentials, from the cache or from STS.
    ///
    /// # Errors
    /// The last call to STS failed. The error contains no secret.
    pub async fn credentials(&self) -> Called<Credentials> {
        if let Profile::Static { id, secret, session } = &self.profile {
            return Ok(fixed(id, secret, session.as_ref()));
        }
        let fetch = async || {
            let session = self.sts.session(&self.profile, &self.token, &self.clock).await;
            let session = session.map_err(|error| error.cleaned(&self.secrets()))?;
            self.remember(&session.credentials);
            let expiry = session.credentials.expiry();
            Ok((session, expiry))
        };
        let session = self.session.get(&self.clock, fetch).await;
        session.map(|session| session.credentials)
    }

    fn remember(&self, credentials: &Credentials) {
        let secrets = [Some(credentials.secret_access_key()), credentials.session_token()];
        for secret in secrets.into_iter().flatten() {
            self.issued.remember(&Sensitive::new(secret));
        }
    }

    /// Account of the credentials; `None` if STS does not report it.
    ///
    /// # Errors
    /// There are no credentials.
    pub async fn account(&self) -> Called<Option<String>> {
        let mut cached = self.account.lock().await;
        match &*cached {
            Account::Known(account) => return Ok(Some(account.clone())),
            Account::Unknown(when) if (self.clock.now)() < *when + ACCOUNT_RETRY => return Ok(None),
            Account::Unknown(_) | Account::NotRequested => {}
        }
        let credentials = self.credentials().await?;
        let mut account = self.session.cached().await.and_then(|session| session.account);
        if account.is_none() {
            account = self.request_account(credentials).await;
        }
        *cached = match &account {
            Some(account) => Account::Known(account.clone()),
            None => Account::Unknown((self.clock.now)()),
        };
        Ok(account)
    }

    async fn request_account(&self, credentials: Credentials) -> Option<String> {
        match self.sts.account(credentials).await {
            Ok(account) => Some(account),
            Err(error) => {
                let error = error.cleaned(&self.secrets());
                tracing::info!(%error, "the account is unknown: requests do not carry x-amz-expected-bucket-owner");
                None
            }
        }
    }

    /// Secrets that must not appear in messages: keys, session tokens, web identity tokens, passwords of proxies.
    pub fn secrets(&self) -> Vec<Sensitive> {
        let mut secrets = self.sts.transport.secrets();
        let mut profile = Some(&self.profile);
        while let Some(link) = profile.take() {
            match link {
                Profile::Static { secret, session, .. } => {
                    secrets.push(secret.clone());
                    secrets.extend(session.clone());
                }
                Profile::WebIdentity { .. } => {}
                Profile::AssumeRole { by, .. } => profile = Some(by),
            }
        }
        if let Token::Given(token) = &self.token {
            secrets.push(token.clone());
        }
        secrets.extend(self.issued.all());
        secrets
    }
}

impl client::Identity for Identity {
    fn provider(self: Arc<Self>) -> Option<SharedCredentialsProvider> {
        Some(SharedCredentialsProvider::new(Provider(self)))
    }

    fn account(&self) -> BoxFuture<'_, Called<Option<String>>> {
        Box::pin(Self::account(self))
    }

    fn renew(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            if matches!(self.profile, Profile::Static { .. }) {
                return false;
            }
            self.session.invalidate().await;
            true
        })
    }

    fn renewals(&self) -> u64 {
        self.session.invalidations()
    }

    fn secrets(&self) -> Vec<Sensitive> {
        Self::secrets(self)
    }
}

/// An [`Identity`] as a credentials provider of the SDK.
struct Provider(Arc<Identity>);

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            // `error::of` extracts this CallError from the SDK's error.
            self.0.credentials().await.map_err(CredentialsError::provider_error)
        })
    }
}
