//! Logins: Keystone v3 and v2.0. Source: OpenStack Identity API reference.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::auth_url::{self, Api};
use super::catalog::{self, TokenBody};
use super::credentials::Credentials;
use super::effective::{Effective, Named};
use super::error::{self, Of};
use super::wire::{Answer, Wire};
use crate::api::Sensitive;
use crate::storage::model::call::{CallError, Called};
use crate::storage::net::error::Unredacted;
use crate::storage::net::retry::{Policy, RETRIES};

/// Header with the token of a request.
pub const TOKEN_HEADER: &str = "x-auth-token";
/// Header with the token that a request is about.
const SUBJECT_HEADER: &str = "x-subject-token";

/// Which credentials log in, if there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// Token, password, application credential: as the Go operator.
    Operator,
    /// Application credential, password, token: as the registry.
    Registry,
}

/// A login.
#[derive(Clone, Debug)]
pub struct Login {
    /// Keystone's URL, normalised.
    pub url: String,
    /// Credentials.
    pub credentials: Credentials,
    /// Domain of the user.
    pub domain: Named,
    /// Project.
    pub project: Named,
    /// Domain of a project that is given by name.
    pub project_domain: Named,
    /// Which credentials count.
    pub precedence: Precedence,
}

/// A token, and what came with it.
#[derive(Debug)]
pub struct Token {
    /// The token.
    pub secret: Sensitive,
    /// What it is for.
    pub body: TokenBody,
}

/// How a login proves who it is.
enum Method3 {
    /// A token that was issued elsewhere.
    Given(Sensitive),
    /// This identity, and whether a project may be named beside it.
    Identity(Value, bool),
}

/// A login of v3.
enum Request3 {
    /// Ask what this token is for.
    Given(Sensitive),
    /// Issue a token for this body.
    Issue(Value),
}

impl Login {
    /// The login of the operator.
    pub fn of(effective: &Effective, credentials: &Credentials) -> Self {
        Self {
            url: effective.auth_url.clone(),
            credentials: credentials.received(),
            domain: effective.domain.clone(),
            project: effective.project.clone(),
            project_domain: effective.domain_of_project().clone(),
            precedence: Precedence::Operator,
        }
    }

    /// Everything that the token depends on, for fingerprints.
    pub fn texts(&self) -> Vec<&str> {
        let precedence = match self.precedence {
            Precedence::Operator => "operator",
            Precedence::Registry => "registry",
        };
        let mut texts = vec![self.url.as_str(), precedence];
        texts.extend(self.credentials.texts());
        for Named { name, id } in [&self.domain, &self.project, &self.project_domain] {
            texts.extend([name, id].map(|text| text.as_deref().unwrap_or_default()));
        }
        texts
    }

    /// Logs in. Retries what may pass, but not a Keystone that does not answer in time: the caller does.
    pub async fn run(&self, wire: &Wire) -> Called<(Arc<Token>, Option<SystemTime>)> {
        let (api, url) = match auth_url::named_api(&self.url) {
            Some(api) => (api, self.url.clone()),
            None => self.discover(wire).await?,
        };
        let token = match api {
            Api::V3 => self.v3(wire, &url).await?,
            Api::V2 => self.v2(wire, &url).await?,
        };
        let expiry = token
            .body
            .expires
            .as_deref()
            .and_then(|text| text.parse::<Timestamp>().ok());
        Ok((Arc::new(token), expiry.map(SystemTime::from)))
    }

    fn secrets(&self) -> Vec<Sensitive> {
        self.credentials.secrets()
    }

    async fn discover(&self, wire: &Wire) -> Called<(Api, String)> {
        let base = format!("{}/", auth_url::base(&self.url));
        let answer = self
            .call(wire, Method::GET, &base, HeaderMap::new(), None, &[200, 300])
            .await?;
        catalog::choose(&answer.body, &self.url).ok_or_else(|| {
            let message = format!("{base} lists no version v3 or v2.0 that works: is it the URL of Keystone?");
            error::no_login(&self.url, "NoIdentityVersion", message)
        })
    }

    /// The identity of v3: the first method for which the credentials are complete.
    fn method(&self) -> Called<Method3> {
        let given = &self.credentials;
        let token = || (!given.token.is_empty()).then(|| Ok(Method3::Given(given.token.clone())));
        let password = || {
            let user = !(given.username.is_empty() && given.user_id.is_empty());
            (user && !given.password.is_empty()).then(|| self.password())
        };
        let application = || (!given.application_secret.is_empty()).then(|| self.application());
        let chosen = match self.precedence {
            Precedence::Operator => token().or_else(password).or_else(application),
            Precedence::Registry => application().or_else(password).or_else(token),
        };
        chosen.unwrap_or_else(|| {
            let message = "the credentials are incomplete".to_owned();
            Err(error::no_login(&self.url, "IncompleteCredentials", message))
        })
    }

    /// The user of an identity: by ID, or by name in a domain.
    fn user(&self) -> Called<Value> {
        let given = &self.credentials;
        if !given.user_id.is_empty() {
            return Ok(json!({"id": given.user_id.expose()}));
        }
        let Some(domain) = reference(&self.domain) else {
            let message = "the domain of the user is not known: set spec.storage.swift.domain or domainID".to_owned();
            return Err(error::no_login(&self.url, "NoDomain", message));
        };
        Ok(json!({"name": given.username.expose(), "domain": domain}))
    }

    fn password(&self) -> Called<Method3> {
        let mut user = self.user()?;
        user["password"] = json!(self.credentials.password.expose());
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        Ok(Method3::Identity(identity, true))
    }

    /// Keystone rejects any explicit scope beside an application credential.
    fn application(&self) -> Called<Method3> {
        let given = &self.credentials;
        let secret = given.application_secret.expose();
        let application = if given.application_id.is_empty() {
            json!({"name": given.application_name.expose(), "secret": secret, "user": self.user()?})
        } else {
            json!({"id": given.application_id.expose(), "secret": secret})
        };
        let identity = json!({"methods": ["application_credential"], "application_credential": application});
        Ok(Method3::Identity(identity, false))
    }

    /// The project; its ID alone where it is given.
    fn scope(&self) -> Option<Value> {
        match &self.project {
            Named { id: Some(id), .. } => Some(json!({"project": {"id": id}})),
            Named { name: Some(name), .. } => {
                let mut project = json!({"name": name});
                if let Some(domain) = reference(&self.project_domain) {
                    project["domain"] = domain;
                }
                Some(json!({"project": project}))
            }
            _ => None,
        }
    }

    /// What v3 is asked for.
    fn request(&self) -> Called<Request3> {
        Ok(match self.method()? {
            Method3::Given(token) => Request3::Given(token),
            Method3::Identity(identity, scoped) => {
                let mut auth = json!({"identity": identity});
                if let Some(scope) = self.scope().filter(|_| scoped) {
                    auth["scope"] = scope;
                }
                Request3::Issue(json!({"auth": auth}))
            }
        })
    }

    async fn v3(&self, wire: &Wire, url: &str) -> Called<Token> {
        let url = format!("{url}/auth/tokens");
        let (answer, given) = match self.request()? {
            Request3::Given(token) => {
                let mut headers = HeaderMap::new();
                for name in [TOKEN_HEADER, SUBJECT_HEADER] {
                    headers.insert(name, header(&token, &self.url)?);
                }
                let answer = self.call(wire, Method::GET, &url, headers, None, &[200, 203]).await?;
                (answer, Some(token))
            }
            Request3::Issue(body) => {
                let answer = self
                    .call(wire, Method::POST, &url, HeaderMap::new(), Some(&body), &[201, 202])
                    .await?;
                (answer, None)
            }
        };
        let issued = answer.headers.get(SUBJECT_HEADER).and_then(|token| token.to_str().ok());
        let secret = given.or_else(|| issued.map(Sensitive::new));
        match (secret, catalog::read_v3(&answer.body)) {
            (Some(secret), Some(body)) => Ok(Token { secret, body }),
            _ => Err(self.garbled()),
        }
    }

    async fn v2(&self, wire: &Wire, url: &str) -> Called<Token> {
        let given = &self.credentials;
        let mut auth = if !given.token.is_empty() {
            json!({"token": {"id": given.token.expose()}})
        } else if !given.password.is_empty() {
            json!({"passwordCredentials": {"username": given.username.expose(), "password": given.password.expose()}})
        } else {
            let message = "Keystone v2.0 has no application credentials: use v3, or a password".to_owned();
            return Err(error::no_login(&self.url, "NoApplicationCredentials", message));
        };
        if let Some(id) = &self.project.id {
            auth["tenantId"] = json!(id);
        } else if let Some(name) = &self.project.name {
            auth["tenantName"] = json!(name);
        }
        let url = format!("{url}/tokens");
        let body = json!({"auth": auth});
        let answer = self
            .call(wire, Method::POST, &url, HeaderMap::new(), Some(&body), &[200, 203])
            .await?;
        let body = catalog::read_v2(&answer.body).ok_or_else(|| self.garbled())?;
        Ok(Token {
            secret: Sensitive::new(body.token.clone().unwrap_or_default()),
            body: TokenBody { token: None, ..body },
        })
    }

    fn garbled(&self) -> CallError {
        let message = "the response is not one of Keystone: is the URL that of Keystone?".to_owned();
        error::unanswered(error::LOGIN, &self.url, Of::Identity, message)
    }

    async fn call(
        &self,
        wire: &Wire,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Option<&Value>,
        expected: &[u16],
    ) -> Called<Answer> {
        let policy = Policy {
            first_wait: &error::first_wait,
            leading: None,
            clock: &wire.clock,
        };
        let content = body.map(|body| ("application/json", body.to_string().into_bytes()));
        let mut retries = 0;
        loop {
            let sent = wire.send(method.clone(), url, headers.clone(), content.clone()).await;
            let (failed, asked, late) = match sent {
                Ok(answer) if expected.contains(&answer.status) => return Ok(answer),
                Ok(answer) => {
                    // Keystone answers 404 for a token that it does not know.
                    let unknown = answer.status == 404 && headers.contains_key(SUBJECT_HEADER);
                    let status = if unknown { 401 } else { answer.status };
                    let error = error::answered(error::LOGIN, &self.url, Of::Identity, status, false, &answer.body);
                    (error, error::asked_wait(&answer.headers), false)
                }
                Err(failed) => {
                    let error = error::unanswered(error::LOGIN, &self.url, Of::Identity, failed.message);
                    (error, None, failed.late)
                }
            };
            let failed = Unredacted::new(failed);
            let again = !late && retry(&policy, failed.error(), asked, retries).await;
            if !again {
                return Err(failed.cleaned(&[self.secrets(), wire.secrets()].concat()));
            }
            retries += 1;
        }
    }
}

/// Waits before the next attempt: as long as the service asks, or else as the policy says. `false`: no further attempt.
pub async fn retry(policy: &Policy<'_>, error: &CallError, asked: Option<Duration>, retries: u32) -> bool {
    match asked {
        Some(asked) if (policy.first_wait)(error).is_some() && retries < RETRIES => {
            (policy.clock.sleep)(asked).await;
            true
        }
        _ => policy.wait(error, retries).await,
    }
}

/// A domain as Keystone's requests name it. The name wins, as in the registry.
fn reference(domain: &Named) -> Option<Value> {
    match domain {
        Named { name: Some(name), .. } => Some(json!({"name": name})),
        Named { id: Some(id), .. } => Some(json!({"id": id})),
        _ => None,
    }
}

/// A token as a header.
pub fn header(token: &Sensitive, resource: &str) -> Called<http::HeaderValue> {
    let mut value = http::HeaderValue::from_str(token.expose()).map_err(|_| {
        let message = "the token has characters that no header can hold".to_owned();
        error::no_login(resource, "InvalidToken", message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
