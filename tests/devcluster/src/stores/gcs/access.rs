//! Who asks, and whether they may.

use super::super::Reply;
use super::super::asked::Asked;
use super::keys::Jwt;
use super::reply;
use super::state::{State, now};

/// Scope of everything.
pub(super) const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Scope of IAM alone.
const IAM: &str = "https://www.googleapis.com/auth/iam";
/// Begins the scopes of Cloud Storage.
const STORAGE: &str = "https://www.googleapis.com/auth/devstorage.";
/// The longest life of a token that somebody signs.
const LONGEST: i64 = 3600;

/// Somebody with a valid token.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub principal: String,
    scopes: Vec<String>,
}

impl State {
    /// Who asks; `None` for nobody. An error for a token that is none, has ended, or is another's.
    pub fn caller(&self, asked: &Asked) -> Result<Option<Caller>, Invalid> {
        let Some(header) = asked.header("authorization") else {
            return Ok(None);
        };
        let token = header.strip_prefix("Bearer ").ok_or(Invalid)?;
        if let Some(issued) = self.tokens.get(token) {
            let known = self.accounts.contains_key(&issued.principal) || issued.principal.starts_with("principal:");
            if issued.expires <= now() || !known {
                return Err(Invalid);
            }
            return Ok(Some(Caller {
                principal: issued.principal.clone(),
                scopes: issued.scopes.clone(),
            }));
        }
        self.self_signed(token).map(Some)
    }

    /// A JWT that a service account signed itself, with scopes and without an audience.
    fn self_signed(&self, token: &str) -> Result<Caller, Invalid> {
        let jwt = Jwt::parse(token).ok_or(Invalid)?;
        let email = jwt.text("iss");
        let id = jwt.header["kid"].as_str().unwrap_or_default();
        let key = self.accounts.get(email).and_then(|account| account.keys.get(id));
        let key = key.ok_or(Invalid)?;
        let (issued, ends) = (jwt.seconds("iat"), jwt.seconds("exp"));
        let lives = matches!((issued, ends), (Some(issued), Some(ends)) if ends > now() && ends - issued <= LONGEST);
        let whole = jwt.is_by(key) && lives && jwt.text("sub") == email && jwt.claims.get("aud").is_none();
        if !whole {
            return Err(Invalid);
        }
        Ok(Caller {
            principal: email.to_owned(),
            scopes: jwt.text("scope").split_whitespace().map(ToOwned::to_owned).collect(),
        })
    }
}

/// A token that does not count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Invalid;

impl Caller {
    /// Whether the token's scopes include one for Cloud Storage, to write or only to read.
    pub fn may_use_storage(&self, write: bool) -> bool {
        self.scopes.iter().any(|scope| {
            let of_storage = scope.strip_prefix(STORAGE);
            scope == CLOUD_PLATFORM || of_storage.is_some_and(|rest| !write || rest != "read_only")
        })
    }

    /// Whether the token's scopes include the one of all services, or its read-only half where nothing is written.
    pub fn may_use_platform(&self, write: bool) -> bool {
        self.scopes.iter().any(|scope| {
            let rest = scope.strip_prefix(CLOUD_PLATFORM);
            rest.is_some_and(|rest| rest.is_empty() || (!write && rest == ".read-only"))
        })
    }
}

/// A caller of Cloud Storage.
pub(super) fn storage_caller(state: &State, asked: &Asked) -> Result<Caller, Reply> {
    let caller = state.caller(asked).map_err(|Invalid| {
        reply::storage(401, "authError", "Invalid Credentials").header(
            "www-authenticate",
            "Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\"",
        )
    })?;
    let caller = caller.ok_or_else(|| {
        let message = "Anonymous caller does not have access to the Google Cloud Storage bucket.";
        reply::storage(401, "required", message)
    })?;
    if caller.may_use_storage(asked.is_write()) {
        Ok(caller)
    } else {
        let message = "Request had insufficient authentication scopes.";
        Err(reply::storage(403, "insufficientPermissions", message))
    }
}

/// A caller of IAM, for which a scope of its own is enough.
pub(super) fn iam_caller(state: &State, asked: &Asked) -> Result<Caller, Reply> {
    let caller = authenticated(state, asked)?;
    if caller.scopes.iter().any(|scope| scope == IAM) {
        return Ok(caller);
    }
    platform_caller(state, asked)
}

/// A caller of Resource Manager.
pub(super) fn platform_caller(state: &State, asked: &Asked) -> Result<Caller, Reply> {
    let caller = authenticated(state, asked)?;
    if caller.may_use_platform(asked.is_write()) {
        Ok(caller)
    } else {
        let message = "Request had insufficient authentication scopes.";
        Err(reply::canonical(403, "PERMISSION_DENIED", message))
    }
}

fn authenticated(state: &State, asked: &Asked) -> Result<Caller, Reply> {
    let unauthenticated = |message: &str| reply::canonical(401, "UNAUTHENTICATED", message);
    let caller = state
        .caller(asked)
        .map_err(|Invalid| unauthenticated("Request had invalid authentication credentials."))?;
    caller.ok_or_else(|| unauthenticated("Request is missing required authentication credential."))
}

/// 403 of Cloud Storage, unless the caller has the permission in the project of `what`.
pub(super) fn need(state: &State, caller: &Caller, project: &str, permission: &str, what: &str) -> Result<(), Reply> {
    if state.may(&caller.principal, project, permission) {
        return Ok(());
    }
    let message = format!(
        "{} does not have {permission} access to the Google Cloud {what}. Permission '{permission}' denied on resource (or it may not exist).",
        caller.principal
    );
    Err(reply::storage(403, "forbidden", &message))
}
