//! Calls to one Swift account: the token, the endpoint, retries, one new login after 401.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::catalog::Selection;
use super::error::{self, Of};
use super::keystone::{TOKEN_HEADER, header, retry};
use super::session::{Info, Session};
use super::wire::{Answer, Wire};
use crate::storage::model::call::{CallError, Called};
use crate::storage::model::container::Refusal;
use crate::storage::net::error::{Unredacted, shown};
use crate::storage::net::percent::encoded;
use crate::storage::net::retry::Policy;

/// An account, with its connection.
pub struct Client {
    /// The connection.
    pub wire: Wire,
    /// The login.
    pub session: Arc<Session>,
    /// How the endpoint is chosen.
    pub selection: Selection,
    /// Whether this process still leads.
    pub leading: Arc<dyn Fn() -> bool + Send + Sync>,
    unsure: AtomicBool,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it does, for messages: `PUT object`.
    pub action: &'static str,
    /// Container, or container and object, for messages.
    pub resource: String,
    /// Object of the request.
    pub of: Of,
    /// Method.
    pub method: Method,
    /// Path below the account, encoded; empty for the account.
    pub path: String,
    /// Query, without `?`.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Content type and body.
    pub content: Option<(&'static str, Vec<u8>)>,
    /// Statuses of success.
    pub expected: &'static [u16],
    /// Code of the error in place of the status' name: a reason of conditions.
    pub code: Option<&'static str>,
    /// Whether a failure is repeated, if it may pass.
    pub retried: bool,
}

impl Call {
    /// A request about a container.
    pub fn of_container(action: &'static str, method: Method, container: &str) -> Called<Self> {
        Ok(Self {
            action,
            resource: container.to_owned(),
            of: Of::Container,
            method,
            path: segment(container)?,
            query: String::new(),
            headers: HeaderMap::new(),
            content: None,
            expected: &[200, 201, 202, 204],
            code: None,
            retried: true,
        })
    }

    /// A request about an object. The name is one segment of the path, so that no part of it can be a relative path.
    pub fn of_object(action: &'static str, method: Method, container: &str, object: &str) -> Called<Self> {
        Ok(Self {
            resource: format!("{container}/{object}"),
            of: Of::Object,
            path: format!("{}/{}", segment(container)?, segment(object)?),
            ..Self::of_container(action, method, container)?
        })
    }

    /// A request about the account.
    pub fn of_account(action: &'static str, method: Method) -> Self {
        Self {
            action,
            resource: "the account".to_owned(),
            of: Of::Account,
            method,
            path: String::new(),
            query: String::new(),
            headers: HeaderMap::new(),
            content: None,
            expected: &[200, 204],
            code: None,
            retried: true,
        }
    }

    /// With this query.
    #[must_use]
    pub fn query(self, query: impl Into<String>) -> Self {
        Self {
            query: query.into(),
            ..self
        }
    }

    /// With this header. A value that no header can hold is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(self, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            content: Some((kind, body.into())),
            ..self
        }
    }

    /// With this code of its errors.
    #[must_use]
    pub fn code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// Without a second attempt: another server may answer it, and hide the failure.
    #[must_use]
    pub fn once(self) -> Self {
        Self { retried: false, ..self }
    }

    fn changes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }

    /// The error of a response.
    pub fn failed(&self, status: u16, of_swift: bool, body: &[u8]) -> CallError {
        let mut error = error::answered(self.action, &self.resource, self.of, status, of_swift, body);
        if status == 409 && !self.changes() {
            // Ceph RGW makes a user at its first request, and refuses what comes at the same time.
            error.class = UNDECIDED;
        }
        self.coded(error)
    }

    fn coded(&self, error: CallError) -> CallError {
        match self.code {
            Some(code) if !error.is_undecided() => CallError {
                code: code.to_owned(),
                ..error
            },
            _ => error,
        }
    }
}

impl Client {
    /// A client of this login over this connection.
    pub fn new(
        wire: Wire,
        session: Arc<Session>,
        selection: Selection,
        leading: Arc<dyn Fn() -> bool + Send + Sync>,
    ) -> Self {
        Self {
            wire,
            session,
            selection,
            leading,
            unsure: AtomicBool::new(false),
        }
    }

    /// The same account in another region of the catalogue.
    pub fn in_region(&self, region: &str) -> Self {
        let selection = Selection {
            region: Some(region.to_owned()),
            ..self.selection.clone()
        };
        Self::new(self.wire.clone(), self.session.clone(), selection, self.leading.clone())
    }

    /// Whether a request that changes something may have succeeded without a response.
    pub fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Relaxed)
    }

    /// Sends the request, with retries. A Swift that does not answer in time is not asked again here: the caller tries
    /// again, and each timeout takes a minute.
    pub async fn call(&self, call: &Call) -> Called<Answer> {
        let policy = Policy {
            first_wait: &error::first_wait,
            leading: call.changes().then_some(&*self.leading),
            clock: &self.wire.clock,
        };
        let (mut retries, mut renewed) = (0, false);
        loop {
            let token = self.session.token(&self.wire).await?;
            let url = self.session.endpoint(&token, &self.selection)?;
            let mut headers = call.headers.clone();
            headers.insert(TOKEN_HEADER, header(&token.secret, &call.resource)?);
            policy.check_leading(call.action, &call.resource)?;
            let url = url_of(&url, call);
            let sent = self
                .wire
                .send(call.method.clone(), &url, headers, call.content.clone())
                .await;
            let (failed, asked, late) = match sent {
                Ok(answer) if call.expected.contains(&answer.status) => return Ok(answer),
                Ok(answer) => {
                    let of_swift = error::is_of_swift(&answer.headers);
                    let failed = call.failed(answer.status, of_swift, &answer.body);
                    if answer.status == 401 && !renewed {
                        self.session.drop_token(&token).await;
                        renewed = true;
                        continue;
                    }
                    (failed, error::asked_wait(&answer.headers), false)
                }
                Err(unanswered) => {
                    let failed = error::unanswered(call.action, &call.resource, call.of, unanswered.message);
                    (failed, None, unanswered.late)
                }
            };
            let failed = Unredacted::new(failed);
            if call.changes() && error::is_lost(failed.error()) {
                self.unsure.store(true, Ordering::Relaxed);
            }
            if late || !call.retried || !retry(&policy, failed.error(), asked, retries).await {
                return Err(failed.cleaned(&self.secrets().await));
            }
            retries += 1;
        }
    }

    /// Drops the token with which this answer was given: the answer itself says that it is refused.
    pub async fn log_in_again(&self) -> Called<()> {
        let token = self.session.token(&self.wire).await?;
        self.session.drop_token(&token).await;
        Ok(())
    }

    /// The error without secrets.
    pub async fn cleaned(&self, error: CallError) -> CallError {
        Unredacted::new(error).cleaned(&self.secrets().await)
    }

    /// The refusals with texts of the service that may be shown.
    pub async fn shown(&self, refused: Vec<Refusal>) -> Vec<Refusal> {
        let secrets = self.secrets().await;
        let shown = |refusal: Refusal| Refusal {
            message: shown(&refusal.message, &secrets),
            ..refusal
        };
        refused.into_iter().map(shown).collect()
    }

    async fn secrets(&self) -> Vec<crate::api::Sensitive> {
        [self.wire.secrets(), self.session.secrets().await].concat()
    }

    /// What Swift says about itself; asked once for each login. An error only where the login fails: `/info` may be missing or
    /// closed.
    pub async fn info(&self) -> Called<Info> {
        let token = self.session.token(&self.wire).await?;
        let url = self.session.endpoint(&token, &self.selection)?;
        if let Some(known) = self.session.known_info(&url) {
            return Ok(known);
        }
        let answer = self
            .wire
            .send(Method::GET, &info_url(&url), HeaderMap::new(), None)
            .await;
        let info = match answer {
            Ok(answer) if answer.status == 200 => Info::read(&answer.body),
            // It is asked again.
            Ok(answer) if error::classify(Of::Account, answer.status, true) == UNDECIDED => return Ok(Info::unknown()),
            Err(_) => return Ok(Info::unknown()),
            Ok(_) => None,
        };
        let info = info.unwrap_or_else(Info::unknown);
        self.session.keep_info(&url, info);
        Ok(info)
    }
}

const UNDECIDED: crate::storage::model::call::CallClass = crate::storage::model::call::CallClass::Undecided;

/// URL of a request.
fn url_of(base: &str, call: &Call) -> String {
    let mut url = base.to_owned();
    // The account itself ends with a slash only where its path has no other segment.
    if !call.path.is_empty() {
        url.push('/');
        url.push_str(&call.path);
    }
    if !call.query.is_empty() {
        url.push('?');
        url.push_str(&call.query);
    }
    url
}

/// `/info` is beside the version of Swift's API: `https://HOST/v1/AUTH_x` and `https://HOST/swift/v1`.
fn info_url(base: &str) -> String {
    let authority = base.find("://").map_or(0, |at| at + 3);
    let (origin, path) = base.split_at(base[authority..].find('/').map_or(base.len(), |at| authority + at));
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let is_version = |segment: &&str| {
        segment
            .strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let before = segments.take_while(|segment| !is_version(segment));
    let before = before.fold(origin.to_owned(), |url, segment| format!("{url}/{segment}"));
    if path.split('/').any(|segment| is_version(&segment)) {
        format!("{before}/info")
    } else {
        format!("{origin}/info")
    }
}

/// A name as one segment of a path, encoded.
///
/// # Errors
/// The name is empty or a relative path: the URL would name something else.
pub fn segment(name: &str) -> Called<String> {
    if matches!(name, "" | "." | "..") {
        let message = format!("{name:?} is no name that a URL can contain: delete it with another client");
        return Err(CallError::invalid(name, &message));
    }
    Ok(encoded(name))
}

#[cfg(test)]
mod tests {
    use super::super::session::SignedUrls;
    use super::*;
    use crate::storage::net::percent::decoded_text;

    #[test]
    fn names_are_one_segment_each() {
        for (name, expected) in [
            ("images", Some("images")),
            ("files/docker/x", Some("files%2Fdocker%2Fx")),
            ("a b?c#d%2e", Some("a%20b%3Fc%23d%252e")),
            ("ü", Some("%C3%BC")),
            ("a/../b", Some("a%2F..%2Fb")),
            ("...", Some("...")),
            (".", None),
            ("..", None),
            ("", None),
        ] {
            assert_eq!(segment(name).ok().as_deref(), expected, "{name:?}");
        }
        for name in ["a b/ü%", "plain", "%zz"] {
            assert_eq!(decoded_text(&encoded(name)), name);
        }
        assert_eq!(decoded_text("100%"), "100%");
    }

    #[test]
    fn a_conflict_is_an_answer_only_to_what_changes_something_and_else_repeated() {
        let answered = |method: Method| {
            let call = Call::of_container("a", method, "images").unwrap();
            let error = call.failed(409, true, b"");
            (error.class, error::first_wait(&error).is_some())
        };
        assert_eq!([Method::HEAD, Method::GET].map(answered), [(UNDECIDED, true); 2]);
        let refused = (crate::storage::model::call::CallClass::NotEmpty, false);
        assert_eq!(answered(Method::DELETE), refused);
    }

    // A relative path in a name must not change what a request is about.
    #[test]
    fn no_name_leaves_its_container() {
        for name in ["../x", "a/../../x", "./x", "%2e%2e", "a/.."] {
            let call = Call::of_object("DELETE object", Method::DELETE, "images", name).unwrap();
            let url = url_of("http://h/v1/AUTH_x", &call);
            let parsed = reqwest::Url::parse(&url).unwrap();
            assert!(
                parsed.path().starts_with("/v1/AUTH_x/images/") && parsed.path().split('/').count() == 5,
                "{name}: {parsed}"
            );
        }
    }

    #[test]
    fn info_is_beside_the_version() {
        for (base, expected) in [
            ("http://h:8080/v1/AUTH_x", "http://h:8080/info"),
            ("https://h/swift/v1", "https://h/swift/info"),
            ("https://h/swift/v1/AUTH_x", "https://h/swift/info"),
            ("https://h/object-store", "https://h/info"),
            ("https://h", "https://h/info"),
        ] {
            assert_eq!(info_url(base), expected);
        }
    }

    #[test]
    fn info_says_what_the_registry_does_with_the_service() {
        let told = |bulk, urls: Option<(bool, bool)>| {
            Some(Info {
                bulk,
                signed_urls: urls.map(|(account_key, sha1)| SignedUrls { account_key, sha1 }),
                told: true,
            })
        };
        let (account, container) = (true, false);
        for (body, expected) in [
            (
                r#"{"bulk_delete": {"max_deletes_per_request": 20}, "swift": {"version": "2.38.3"}}"#,
                told(Some(20), None),
            ),
            (
                r#"{"bulk_delete": {}, "tempurl": {"methods": ["GET"]}, "swift": {"version": "2.3.0"}}"#,
                told(Some(1000), Some((container, true))),
            ),
            // The registry compares the texts.
            (
                r#"{"bulk_delete": {"max_deletes_per_request": 0}, "swift": {"version": "2.27.0"}, "tempurl": {"methods": ["GET"]}}"#,
                told(Some(1000), Some((account, true))),
            ),
            (
                r#"{"swift": {"version": "17.2.6-1"}, "tempurl": {"methods": ["GET"]}}"#,
                told(None, Some((account, true))),
            ),
            (
                r#"{"swift": {"version": "20.2.0"}, "tempurl": {"methods": ["GET"]}}"#,
                told(None, Some((container, true))),
            ),
            (
                r#"{"swift": {"version": 3}, "tempurl": {"methods": ["GET"]}}"#,
                told(None, Some((account, true))),
            ),
            (
                r#"{"swift": {"version": "2.38"}, "tempurl": {"methods": []}}"#,
                told(None, None),
            ),
            (
                r#"{"swift": {"version": "2.38"}, "tempurl": {"methods": ["GET"], "allowed_digests": ["sha256"]}}"#,
                told(None, Some((container, false))),
            ),
            (
                r#"{"swift": {"version": "2.38"}, "tempurl": {"methods": ["GET"], "allowed_digests": ["sha256", "sha1"]}}"#,
                told(None, Some((container, true))),
            ),
        ] {
            assert_eq!(Info::read(body.as_bytes()), expected, "{body}");
        }
        for body in ["<html>", "[]", ""] {
            assert_eq!(Info::read(body.as_bytes()), None, "{body}");
        }
    }
}
