//! Makes the first user of the stock registry, once.

use serde_json::{Value, json};

use super::controller::{Interrupted, Registry};
use super::pass::PassContext;
use super::report::Outcome;
use crate::api::{Kind, ObjectRef, Sensitive};
use crate::apply::{Failure, WriteError};
use crate::config::error_class::ErrorClass;
use crate::config::resolve::Resolved;
use crate::names::{self, Program};
use crate::plan::htpasswd;
use crate::plan::stock::{self, Account, Missing};
use crate::runtime::random;

/// Bytes of a generated password.
const PASSWORD_BYTES: usize = 24;
/// The registry computes a hash at each request. A long random password needs no slow one.
const COST: u32 = 5;

impl Registry {
    /// Creates the Secret with the users and the one with the login, if they do not exist. What exists is not written, except that
    /// a new login adds a user of its own to the users that the operator made. A failure is reported, and stops nothing: without users
    /// no pod is rendered that would need them.
    ///
    /// Each order of writes is one that a crash in between does not break: a password is stored before its hash where both are new, and a
    /// hash without a password only remains as a line that nobody uses.
    pub(super) async fn ensure_login(
        &mut self,
        context: &mut PassContext,
        resolved: &Resolved,
        outcome: &mut Outcome,
    ) -> Result<(), Interrupted> {
        if context.snapshot.environment.program != Program::Distribution {
            return Ok(());
        }
        let missing = stock::missing(resolved, &context.snapshot.objects);
        if missing != Missing::Nothing && missing != Missing::Foreign && !context.confirmed.get() {
            self.confirm(&context.config).await?;
            context.confirmed.set(true);
        }
        // The failed write changed objects whose watch events start a pass at once: the backoff holds all the same.
        if let Some(failure) = self.login.failure.clone()
            && missing != Missing::Nothing
            && !self.retry_due
        {
            outcome.add_failures(vec![failure]);
            return Ok(());
        }
        let made = match missing {
            Missing::Nothing => Ok(()),
            Missing::Everything => self.new_login(context, None).await,
            Missing::Users(account) => self.users(context, &account).await,
            Missing::Login { users, user } => self.new_login(context, Some((users, user))).await,
            Missing::Foreign => Err(action_required(format!(
                "Secret {}/{} is missing, and {} was not made by this operator: create the Secret with the registry's users, or delete \
                 the other one",
                names::NAMESPACE,
                names::HTPASSWD_SECRET,
                names::LOGIN_SECRET
            ))),
        };
        self.login.failure = made.err();
        outcome.add_failures(self.login.failure.clone().into_iter().collect());
        Ok(())
    }

    /// A new password: for the first user, or for one more.
    async fn new_login(&mut self, context: &mut PassContext, more: Option<(Sensitive, String)>) -> Result<(), Failure> {
        // An account whose Secret could not be created has its line already.
        let has_line = |account: &Account| match &more {
            Some((users, _)) => users
                .expose()
                .lines()
                .any(|line| line.starts_with(&format!("{}:", account.user))),
            None => false,
        };
        let known = self.login.account.take().filter(has_line);
        let account = match (known, &more) {
            (Some(account), _) => account,
            (None, None) => new_account(names::LOGIN_USER)?,
            (None, Some((users, user))) => {
                let account = new_account(user)?;
                self.add_user(context, users, &account).await?;
                account
            }
        };
        let login = stock::login_secret(&account);
        let created = self.create_secret(context, names::LOGIN_SECRET, &login).await;
        if created.is_err() {
            self.login.account = Some(account);
            return created;
        }
        match more {
            Some(_) => Ok(()),
            None => self.users(context, &account).await,
        }
    }

    /// The users, of which there are none.
    async fn users(&self, context: &mut PassContext, account: &Account) -> Result<(), Failure> {
        let text = htpasswd::with_line("", &account.user, &hash(account)?);
        let users = stock::users_secret(&text);
        self.create_secret(context, names::HTPASSWD_SECRET, &users).await
    }

    async fn add_user(&self, context: &mut PassContext, users: &Sensitive, account: &Account) -> Result<(), Failure> {
        let reference = secret(names::HTPASSWD_SECRET);
        let text = htpasswd::with_line(users.expose(), &account.user, &hash(account)?);
        let live = context.snapshot.objects.find(&reference);
        let version = live.and_then(|live| live.pointer("/metadata/resourceVersion")?.as_str().map(str::to_owned));
        let patch = json!({"data": stock::users_secret(&text)["data"]});
        let written = self.context.writer.merge(&reference, patch, version.as_deref()).await;
        let written = written.map_err(|error| failed(&reference, &error))?;
        context.snapshot.objects.insert(reference, written);
        Ok(())
    }

    /// Never overwrites: what another one created in the meantime arrives by the watch, and the pass after takes it into account.
    async fn create_secret(&self, context: &mut PassContext, name: &str, body: &Value) -> Result<(), Failure> {
        let reference = secret(name);
        let created = self.context.create(&reference, body).await;
        let created = created.map_err(|error| failed(&reference, &error))?;
        context.snapshot.objects.insert(reference, created);
        Ok(())
    }
}

/// A user with a random password.
fn new_account(user: &str) -> Result<Account, Failure> {
    let no_randomness = || {
        action_required(
            "cannot make a password for Secret image-registry-login: the system has no randomness".to_owned(),
        )
    };
    let password = random::key_hex::<PASSWORD_BYTES>().ok_or_else(no_randomness)?;
    Ok(Account {
        user: user.to_owned(),
        password: Sensitive::new(password),
    })
}

fn secret(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::Secret, names::NAMESPACE, name)
}

fn hash(account: &Account) -> Result<String, Failure> {
    let hashed = bcrypt::hash(account.password.expose(), COST);
    hashed.map_err(|error| action_required(format!("cannot hash a password for the registry: {error}")))
}

fn failed(reference: &ObjectRef, error: &WriteError) -> Failure {
    Failure {
        class: error.class(),
        explained: false,
        message: format!("{reference} cannot be written: {error}"),
    }
}

fn action_required(message: String) -> Failure {
    Failure {
        class: ErrorClass::ActionRequired,
        explained: false,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_one_that_the_registry_accepts_and_of_that_password() {
        let account = Account {
            user: "registry".to_owned(),
            password: Sensitive::new("0123456789abcdef"),
        };
        let line = htpasswd::with_line("", &account.user, &hash(&account).unwrap());
        assert_eq!(htpasswd::check(&line), Ok(()));
        let (_, hash) = line.trim().split_once(':').unwrap();
        assert!(bcrypt::verify("0123456789abcdef", hash).unwrap());
        assert!(!bcrypt::verify("0123456789abcdee", hash).unwrap());
    }
}
