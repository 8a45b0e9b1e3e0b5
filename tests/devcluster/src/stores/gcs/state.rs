//! What the stand-in knows: projects, who may do what in them, tokens, and buckets.

use super::super::TokenKey;
use super::keys::PublicKey;
use super::multipart::Upload;
use super::path::hex;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Default)]
pub(super) struct State {
    pub projects: BTreeMap<String, Project>,
    /// Service accounts by email.
    pub accounts: BTreeMap<String, Account>,
    /// Permissions by who and project.
    pub grants: BTreeMap<(String, String), BTreeSet<String>>,
    /// Who may be a service account, by its email.
    pub impersonators: BTreeMap<String, BTreeSet<String>>,
    /// Providers of workload identity pools, by the audience that a token exchange names.
    pub providers: BTreeMap<String, Provider>,
    pub tokens: BTreeMap<String, Token>,
    pub token_seconds: Option<i64>,
    pub buckets: BTreeMap<String, Bucket>,
    /// Names of keys of Cloud KMS, and whether Cloud Storage may use them.
    pub kms: BTreeMap<String, bool>,
    pub tags: super::tags::Tags,
    /// Resumable uploads by upload ID.
    pub sessions: BTreeMap<String, super::uploads::Session>,
    pub accepted: Vec<Accepted>,
    count: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Project {
    pub number: u64,
    /// An organisation policy asks for uniform bucket-level access.
    pub uniform: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Account {
    pub keys: BTreeMap<String, PublicKey>,
}

#[derive(Clone, Debug)]
pub(super) struct Provider {
    /// `PROJECT-NUMBER/locations/global/workloadIdentityPools/POOL`.
    pub pool: String,
    pub key: TokenKey,
    /// What the tokens of the cluster are for.
    pub audience: String,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub principal: String,
    pub scopes: Vec<String>,
    pub expires: i64,
}

/// A request that was accepted, for checks against Google's discovery documents.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its method there, such as `storage.buckets.insert`.
    pub method: String,
    /// Names of the parameters in its query.
    pub parameters: Vec<String>,
    /// Its body, if it has one.
    pub body: Option<Value>,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub project: String,
    /// The resource, as it is answered.
    pub resource: Map<String, Value>,
    /// Live objects by name, as fake-gcs-server described them when they were written.
    pub live: BTreeMap<String, Value>,
    /// Noncurrent versions by name and generation.
    pub noncurrent: BTreeMap<(String, u64), Value>,
    /// What was deleted and could be restored, by name and generation.
    pub soft_deleted: BTreeMap<(String, u64), Value>,
    /// Multipart uploads of the XML API, by upload ID.
    pub uploads: BTreeMap<String, Upload>,
    /// Names of objects that a hold protects.
    pub held: BTreeSet<String>,
}

impl State {
    /// A number that nobody had.
    pub fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Whether somebody has a permission in a project.
    pub fn may(&self, principal: &str, project: &str, permission: &str) -> bool {
        let granted = self.grants.get(&(principal.to_owned(), project.to_owned()));
        granted.is_some_and(|granted| granted.iter().any(|pattern| fits(pattern, permission)))
    }

    /// A token for somebody, and how many seconds it lives.
    pub fn issue(&mut self, principal: &str, scopes: Vec<String>, seconds: i64) -> (String, i64) {
        let seconds = self.token_seconds.unwrap_or(seconds);
        let token = format!("ya29.devcluster-{}-{}", self.number(), random());
        let issued = Token {
            principal: principal.to_owned(),
            scopes,
            expires: now() + seconds,
        };
        self.tokens.insert(token.clone(), issued);
        (token, seconds)
    }
}

/// A permission, or `*` at the end for all below.
fn fits(pattern: &str, permission: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(head) => permission.starts_with(head),
        None => pattern == permission,
    }
}

impl Bucket {
    pub fn is_versioned(&self) -> bool {
        self.flag("/versioning/enabled")
    }

    fn flag(&self, pointer: &str) -> bool {
        self.at(pointer).and_then(Value::as_bool).unwrap_or_default()
    }

    /// A field of the resource that is a number of seconds (int64, so text).
    pub fn seconds(&self, pointer: &str) -> i64 {
        let text = self.at(pointer).and_then(Value::as_str);
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    fn at(&self, pointer: &str) -> Option<&Value> {
        let (first, rest) = pointer.trim_start_matches('/').split_once('/')?;
        self.resource.get(first)?.pointer(&format!("/{rest}"))
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Now, or some seconds later, as RFC 3339.
pub(super) fn timestamp(later: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(later);
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn random() -> String {
    let mut bytes = [0; 16];
    // An error leaves zeros, which are no secret of anybody: the count makes the token unique.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    hex(&bytes)
}
