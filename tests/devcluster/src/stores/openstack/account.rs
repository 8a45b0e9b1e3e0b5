//! A project's account of Swift, from outside: what a test looks at and prepares, with the administrator's token, so that
//! the test's user can be gone.

use super::keystone::{Keystone, json_of, text};
use super::project::Project;
use super::swift::Swift;
use crate::stores::form::escape;
use crate::stores::wire::{Answer, Call, Target};
use anyhow::{Context as _, Result};
use hyper::Method;
use std::collections::BTreeMap;

/// Prefix of the headers that hold a container's metadata.
const META: &str = "x-container-meta-";

/// An account of Swift.
#[derive(Clone)]
pub struct Account {
    target: Target,
    path: String,
    token: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Swift {
    /// The account of a project, seen by Keystone's administrator.
    pub async fn account(&self, keystone: &Keystone, project: &Project) -> Result<Account> {
        Ok(self.account_with(project, keystone.admin_token().await?))
    }

    /// The same, seen with somebody's token.
    pub fn account_with(&self, project: &Project, token: &str) -> Account {
        Account::new(self.target(), format!("/v1/AUTH_{}", project.id), token)
    }
}

impl Account {
    /// The account with this path.
    pub(super) fn new(target: &Target, path: String, token: &str) -> Self {
        Self {
            target: target.clone(),
            path,
            token: token.to_owned(),
        }
    }

    /// Path of its URL.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A call below the account: `path` is encoded, such as `/container/object` or `?bulk-delete`. Whatever the answer.
    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let mut all = vec![("x-auth-token", self.token.as_str())];
        all.extend(headers);
        let path = format!("{}{path}", self.path);
        self.target
            .call(Call::new(method, &path).headers(&all).body(body))
            .await
    }

    async fn good(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let answer = self.call(method.clone(), path, headers, body).await?;
        answer.good().with_context(|| format!("{method} {}{path}", self.path))
    }

    /// Names of the containers. The list lags behind: see the module `swift`.
    pub async fn containers(&self) -> Result<Vec<String>> {
        self.names("?format=json").await
    }

    /// Names of a container's objects.
    pub async fn objects(&self, container: &str) -> Result<Vec<String>> {
        self.names(&format!("/{}?format=json", escape(container))).await
    }

    /// At most 10,000 of them.
    async fn names(&self, path: &str) -> Result<Vec<String>> {
        let list = json_of(&self.good(Method::GET, path, &[], b"").await?)?;
        list.as_array()
            .into_iter()
            .flatten()
            .map(|entry| text(entry, "/name"))
            .collect()
    }

    /// Makes a container, or changes the metadata of the one that is there: names without the prefix, in any case.
    pub async fn create(&self, container: &str, metadata: &[(&str, &str)]) -> Result<()> {
        self.with_metadata(Method::PUT, container, metadata).await
    }

    /// Changes metadata of a container; what is not named stays, an empty value removes.
    pub async fn set_metadata(&self, container: &str, metadata: &[(&str, &str)]) -> Result<()> {
        self.with_metadata(Method::POST, container, metadata).await
    }

    async fn with_metadata(&self, method: Method, container: &str, metadata: &[(&str, &str)]) -> Result<()> {
        let headers: Vec<_> = metadata
            .iter()
            .map(|(name, value)| (format!("{META}{}", name.to_lowercase()), *value))
            .collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let path = format!("/{}", escape(container));
        self.good(method, &path, &headers, b"").await.map(drop)
    }

    /// A container's metadata by name: lower case, without the prefix. None if there is no such container.
    pub async fn metadata(&self, container: &str) -> Result<Option<BTreeMap<String, String>>> {
        let answer = self
            .call(Method::HEAD, &format!("/{}", escape(container)), &[], b"")
            .await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let answer = answer.good()?;
        let metadata = answer.headers.iter().filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix(META)?;
            Some((name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        });
        Ok(Some(metadata.collect()))
    }

    /// Stores an object.
    pub async fn put(&self, container: &str, object: &str, body: &[u8]) -> Result<()> {
        let path = format!("/{}/{}", escape(container), escape(object));
        self.good(Method::PUT, &path, &[], body).await.map(drop)
    }

    /// Deletes a container, which must be empty.
    pub async fn delete(&self, container: &str) -> Result<()> {
        self.good(Method::DELETE, &format!("/{}", escape(container)), &[], b"")
            .await
            .map(drop)
    }
}
