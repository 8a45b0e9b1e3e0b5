//! Who asks: credentials for the SDK, from our own provider. No environment, no profile files, no instance metadata.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use tokio::sync::Mutex as AsyncMutex;

use super::credentials::Profile;
use super::error::CallError;
use super::sts::Sts;
use crate::api::Sensitive;
use crate::storage::answers::Fingerprint;
use crate::storage::cloud::Pace;

/// Credentials are fetched anew this long before they expire.
const AHEAD: Duration = Duration::from_mins(5);
/// Where STS fails, credentials are used up to this long before they expire: clocks differ.
const TO_THE_LAST: Duration = Duration::from_secs(30);
/// After a failure the account is not asked for again for this time: nothing depends on it.
const ACCOUNT_AGAIN: Duration = Duration::from_mins(10);
/// Identities that are kept: operator and registry, before and after a change, and some more.
const KEPT: usize = 8;
/// Secrets of two sessions: a call may fail while the next one is fetched.
const SECRETS: usize = 4;

/// Where a web identity token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// The file that the credentials name, read anew for each call: it rotates.
    File(PathBuf),
    /// This one, of the registry's ServiceAccount.
    Given(Sensitive),
}

/// What makes an identity: all of it decides whether two are the same.
pub struct Who<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// The text that it is from, for its fingerprint.
    pub text: &'a Sensitive,
    /// Where web identity tokens come from.
    pub token: &'a Token,
    /// How STS is reached.
    pub sts: Sts,
}

/// The Secret's text, the token and STS; roots and way out to it, so that credentials that came another way do not hide that
/// this one is closed.
type Key = (Fingerprint, Fingerprint);

/// Identities with what they hold, so that STS is not asked at each request.
#[derive(Default)]
pub struct Identities {
    /// The one used last stands first.
    kept: Mutex<Vec<(Key, Arc<Identity>)>>,
}

impl Identities {
    /// The one that is kept, or a new one. Nothing is sent yet.
    pub fn of(&self, who: Who<'_>, pace: &Pace) -> Arc<Identity> {
        let token = match who.token {
            Token::File(path) => format!("file {}", path.display()),
            Token::Given(token) => format!("given {}", token.expose()),
        };
        let texts = [who.text.expose(), &token, &who.sts.endpoint, &who.sts.region];
        let key = (Fingerprint::of(texts), who.sts.path.clone());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = kept.iter().position(|(other, _)| *other == key) {
            kept[..=place].rotate_right(1);
        } else {
            let identity = Identity {
                profile: who.profile.clone(),
                token: who.token.clone(),
                sts: who.sts,
                pace: pace.clone(),
                session: AsyncMutex::default(),
                issued: Mutex::default(),
                account: AsyncMutex::default(),
                dropped: AtomicU64::new(0),
            };
            kept.insert(0, (key, Arc::new(identity)));
            kept.truncate(KEPT);
        }
        kept[0].1.clone()
    }
}

/// Somebody, with the credentials that are at hand.
pub struct Identity {
    profile: Profile,
    token: Token,
    sts: Sts,
    pace: Pace,
    session: AsyncMutex<Option<Session>>,
    /// Secrets of the last sessions, to be kept out of messages also while another one is fetched.
    issued: Mutex<Vec<Sensitive>>,
    account: AsyncMutex<Account>,
    dropped: AtomicU64,
}

/// What STS gave.
#[derive(Clone)]
pub struct Session {
    /// Key, secret, token, and when they expire.
    pub credentials: Credentials,
    /// Account of the role.
    pub account: Option<String>,
}

#[derive(Default)]
enum Account {
    #[default]
    NotAsked,
    Known(String),
    /// Could not be had, at that time.
    Unknown(SystemTime),
}

impl Identity {
    /// Credentials that stay valid for a while.
    pub async fn credentials(&self) -> Result<Credentials, CallError> {
        if let Profile::Static { id, secret, session } = &self.profile {
            return Ok(fixed(id, secret, session.as_ref()));
        }
        // Held over the call: who comes meanwhile waits for its result instead of asking too.
        let mut kept = self.session.lock().await;
        if let Some(session) = kept.as_ref().filter(|s| self.lasts(&s.credentials, AHEAD)) {
            return Ok(session.credentials.clone());
        }
        match self.sts.session(&self.profile, &self.token, &self.pace).await {
            Ok(session) => {
                let credentials = session.credentials.clone();
                *kept = Some(session);
                self.remember(&credentials);
                Ok(credentials)
            }
            Err(error) => {
                let old = kept.as_ref().filter(|s| self.lasts(&s.credentials, TO_THE_LAST));
                old.filter(|_| error.is_undecided())
                    .map(|s| s.credentials.clone())
                    .ok_or_else(|| error.without(&self.secrets()))
            }
        }
    }

    fn remember(&self, credentials: &Credentials) {
        let secrets = [Some(credentials.secret_access_key()), credentials.session_token()];
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.splice(0..0, secrets.into_iter().flatten().map(Sensitive::new));
        issued.truncate(SECRETS);
    }

    fn lasts(&self, credentials: &Credentials, time: Duration) -> bool {
        credentials
            .expiry()
            .is_none_or(|expiry| (self.pace.now)() + time < expiry)
    }

    /// Drops what STS gave, since S3 refuses it. `false`: there is nothing but what the Secret says.
    pub async fn forget(&self) -> bool {
        if matches!(self.profile, Profile::Static { .. }) {
            return false;
        }
        *self.session.lock().await = None;
        self.dropped.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// How often credentials were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Account of the credentials; `None` where STS does not tell. An error means that there are no credentials.
    pub async fn account(&self) -> Result<Option<String>, CallError> {
        let mut kept = self.account.lock().await;
        match &*kept {
            Account::Known(account) => return Ok(Some(account.clone())),
            Account::Unknown(when) if (self.pace.now)() < *when + ACCOUNT_AGAIN => return Ok(None),
            Account::Unknown(_) | Account::NotAsked => {}
        }
        let credentials = self.credentials().await?;
        let mut account = self.session.lock().await.as_ref().and_then(|s| s.account.clone());
        if account.is_none() {
            account = self.ask_account(credentials).await;
        }
        *kept = match &account {
            Some(account) => Account::Known(account.clone()),
            None => Account::Unknown((self.pace.now)()),
        };
        Ok(account)
    }

    async fn ask_account(&self, credentials: Credentials) -> Option<String> {
        match self.sts.account(credentials).await {
            Ok(account) => Some(account),
            Err(error) => {
                let error = error.without(&self.secrets());
                tracing::info!(%error, "the account is not known: calls go out without x-amz-expected-bucket-owner");
                None
            }
        }
    }

    /// What must never be shown.
    pub fn secrets(&self) -> Vec<Sensitive> {
        let mut secrets = Vec::new();
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
        secrets.extend_from_slice(&self.issued.lock().unwrap_or_else(PoisonError::into_inner));
        secrets
    }
}

/// Credentials that are written down.
pub fn fixed(id: &str, secret: &Sensitive, session: Option<&Sensitive>) -> Credentials {
    let session = session.map(|token| token.expose().to_owned());
    Credentials::new(id, secret.expose(), session, None, "secret")
}

/// An [`Identity`] as the SDK takes it.
#[derive(Clone)]
pub struct Provider(pub Arc<Identity>);

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
            // The CallError comes back out of the SDK's own error, whole.
            self.0.credentials().await.map_err(CredentialsError::provider_error)
        })
    }
}
