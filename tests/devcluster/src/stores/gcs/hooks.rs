//! What a test does behind the clients' back: projects, permissions, keys, and a look into buckets.

use super::keys::ServiceAccountKey;
use super::multipart::Upload;
use super::objects::{check_kept, record};
use super::state::{Account, Bucket, Project, now};
use super::{Gcs, Operation, buckets};
use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Requests to fake-gcs-server at a time.
const AT_ONCE: usize = 16;

fn names(permissions: &[&str]) -> BTreeSet<String> {
    permissions.iter().map(ToString::to_string).collect()
}

impl Gcs {
    /// Makes a project, unless it is there; its number.
    pub fn project(&self, id: &str) -> u64 {
        let mut state = self.state();
        let number = 100_000_000_000 + state.number();
        let project = state.projects.entry(id.to_owned());
        project.or_insert(Project { number, uniform: false }).number
    }

    /// Whether an organisation policy asks for uniform bucket-level access of new buckets.
    pub fn require_uniform_access(&self, project: &str, required: bool) {
        if let Some(project) = self.state().projects.get_mut(project) {
            project.uniform = required;
        }
    }

    /// Makes a service account of a project, with permissions there, and a key for it. `*` ends a permission that stands for
    /// all that begin so.
    pub fn service_account(&self, project: &str, name: &str, permissions: &[&str]) -> Result<ServiceAccountKey> {
        let email = format!("{name}@{project}.iam.gserviceaccount.com");
        let account = Account { keys: BTreeMap::new() };
        self.state().accounts.insert(email.clone(), account);
        self.allow(&email, project, permissions);
        self.add_key(&email)
    }

    /// Makes one more key of a service account.
    pub fn add_key(&self, email: &str) -> Result<ServiceAccountKey> {
        let id = format!("{:040x}", self.state().number());
        let (_, domain) = email.split_once('@').context("no email")?;
        let project = domain.split('.').next().unwrap_or_default();
        let (key, public) = ServiceAccountKey::generate(email, project, id)?;
        let mut state = self.state();
        let account = state.accounts.get_mut(email).context("no such service account")?;
        account.keys.insert(key.id.clone(), public);
        Ok(key)
    }

    /// Takes a key away. Tokens that were issued for it live on, as Google's do.
    pub fn revoke_key(&self, key: &ServiceAccountKey) {
        if let Some(account) = self.state().accounts.get_mut(&key.email) {
            account.keys.remove(&key.id);
        }
    }

    /// Takes a service account away; its tokens do not count any more.
    pub fn delete_service_account(&self, email: &str) {
        self.state().accounts.remove(email);
    }

    /// Replaces what somebody, a service account's email or [`super::Federation::principal`], may do in a project.
    pub fn allow(&self, principal: &str, project: &str, permissions: &[&str]) {
        let who = (principal.to_owned(), project.to_owned());
        self.state().grants.insert(who, names(permissions));
    }

    /// How many seconds tokens live that are issued from now on; without a number, as long as is asked for.
    pub fn token_lifetime(&self, seconds: Option<i64>) {
        self.state().token_seconds = seconds;
    }

    /// Ends all tokens that were issued.
    pub fn end_tokens(&self) {
        let ended = now() - 1;
        for token in self.state().tokens.values_mut() {
            token.expires = ended;
        }
    }

    /// How many tokens were issued.
    pub fn tokens(&self) -> usize {
        self.state().tokens.len()
    }

    /// Says whether Cloud Storage may use a key of Cloud KMS (`projects/P/locations/L/keyRings/R/cryptoKeys/K`); it may use
    /// none that it was not told of.
    pub fn kms_key(&self, name: &str, usable: bool) {
        self.state().kms.insert(name.to_owned(), usable);
    }

    /// Makes a tag value by its namespaced name (`PARENT/KEY/VALUE`); its name (`tagValues/NUMBER`).
    pub fn tag_value(&self, namespaced: &str) -> String {
        let mut state = self.state();
        let number = 281_000_000_000 + state.number();
        let number = *state.tags.values.entry(namespaced.to_owned()).or_insert(number);
        format!("tagValues/{number}")
    }

    /// All buckets of a project inherit a tag value.
    pub fn inherit_tag(&self, project: &str, namespaced: &str) {
        self.tag_value(namespaced);
        let inherited = (project.to_owned(), namespaced.to_owned());
        self.state().tags.inherited.push(inherited);
    }

    /// Binds a tag value to a bucket.
    pub fn bind_tag(&self, bucket: &str, namespaced: &str) {
        self.tag_value(namespaced);
        self.state().tags.bind(bucket, namespaced);
    }

    /// Tags that are bound to a bucket itself, by namespaced name.
    pub fn tags(&self, bucket: &str) -> Vec<String> {
        self.state().tags.of(bucket)
    }

    /// How operations go on that bindings start from now on.
    pub fn operations(&self, how: Operation) {
        self.state().tags.next = how;
    }

    /// How the next operations on the tags of this bucket go on, in order.
    pub fn operations_of(&self, bucket: &str, how: impl IntoIterator<Item = Operation>) {
        let how = how.into_iter().collect();
        self.state().tags.next_of.insert(bucket.to_owned(), how);
    }
}

impl Gcs {
    /// Names of all buckets of all projects.
    pub fn buckets(&self) -> Vec<String> {
        self.state().buckets.keys().cloned().collect()
    }

    /// The resource of a bucket.
    pub fn bucket(&self, name: &str) -> Option<Value> {
        let state = self.state();
        state
            .buckets
            .get(name)
            .map(|bucket| Value::Object(bucket.resource.clone()))
    }

    /// Makes a bucket of a project, as a person would; `settings` are fields of its resource.
    pub async fn make_bucket(&self, project: &str, name: &str, settings: &Value) -> Result<()> {
        let number = self.project(project);
        let mut given = settings.as_object().cloned().unwrap_or_default();
        let location = given
            .get("location")
            .and_then(Value::as_str)
            .unwrap_or("US")
            .to_uppercase();
        given.remove("name");
        let bucket = Bucket {
            project: project.to_owned(),
            resource: buckets::complete(given, name, &location, number),
            ..Bucket::default()
        };
        if self.state().buckets.insert(name.to_owned(), bucket).is_some() {
            bail!("bucket {name} was there");
        }
        self.shared.upstream.make_bucket(name).await?;
        Ok(())
    }

    /// Merges a change into the resource of a bucket, as PATCH does: `{"versioning": {"enabled": true}}`,
    /// `{"retentionPolicy": {"retentionPeriod": "3600"}}`.
    pub fn change_bucket(&self, name: &str, change: &Value) -> Result<()> {
        let mut state = self.state();
        let bucket = state.buckets.get_mut(name).context("no such bucket")?;
        buckets::change(bucket, change.as_object().cloned().unwrap_or_default());
        Ok(())
    }

    /// Labels of a bucket.
    pub fn labels(&self, name: &str) -> Map<String, Value> {
        let bucket = self.bucket(name).unwrap_or_default();
        bucket["labels"].as_object().cloned().unwrap_or_default()
    }

    /// Replaces the labels of a bucket.
    pub fn set_labels(&self, name: &str, labels: &Value) -> Result<()> {
        let mut state = self.state();
        let bucket = state.buckets.get_mut(name).context("no such bucket")?;
        bucket.resource.remove("labels");
        buckets::change(bucket, [("labels".to_owned(), labels.clone())].into_iter().collect());
        Ok(())
    }

    /// Writes an object; in a versioned bucket, what was there becomes a noncurrent version.
    pub async fn put(&self, bucket: &str, name: &str, content: &[u8]) -> Result<()> {
        {
            let state = self.state();
            let bucket = state.buckets.get(bucket).context("no such bucket")?;
            if let Some(there) = bucket.live.get(name)
                && check_kept(bucket, name, there).is_err()
            {
                bail!("{name} is kept by a hold or by the bucket's retention policy");
            }
        }
        let kind = "application/octet-stream";
        let answer = self
            .shared
            .upstream
            .store(bucket, name, kind, content.to_vec().into())
            .await?;
        let object = answer.json().filter(|_| answer.status == 200);
        let object = object.with_context(|| format!("fake-gcs-server answered {}", answer.status))?;
        record(&mut self.state(), bucket, &object);
        Ok(())
    }

    /// Writes that many small objects: `PREFIX` and a number.
    pub async fn fill(&self, bucket: &str, prefix: &str, count: usize) -> Result<()> {
        let names = (0..count).map(|number| format!("{prefix}{number:06}"));
        let puts = futures::stream::iter(names.map(|name| async move { self.put(bucket, &name, b"x").await }));
        puts.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    /// Names of the live objects of a bucket.
    pub fn objects(&self, bucket: &str) -> Vec<String> {
        let state = self.state();
        let bucket = state.buckets.get(bucket);
        bucket
            .map(|bucket| bucket.live.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// How many noncurrent versions a bucket has.
    pub fn noncurrent(&self, bucket: &str) -> usize {
        self.state()
            .buckets
            .get(bucket)
            .map_or(0, |bucket| bucket.noncurrent.len())
    }

    /// How many objects of a bucket are soft-deleted.
    pub fn soft_deleted(&self, bucket: &str) -> usize {
        self.state()
            .buckets
            .get(bucket)
            .map_or(0, |bucket| bucket.soft_deleted.len())
    }

    /// Puts a temporary hold on a name, or takes it off.
    pub fn hold(&self, bucket: &str, name: &str, held: bool) {
        if let Some(bucket) = self.state().buckets.get_mut(bucket) {
            if held {
                bucket.held.insert(name.to_owned());
            } else {
                bucket.held.remove(name);
            }
        }
    }

    /// Begins a multipart upload of the XML API that nobody completes; its upload ID.
    pub fn begin_upload(&self, bucket: &str, name: &str) -> Result<String> {
        let mut state = self.state();
        let id = format!("upload-{}", state.number());
        let bucket = state.buckets.get_mut(bucket).context("no such bucket")?;
        bucket.uploads.insert(id.clone(), Upload::new(name));
        Ok(id)
    }

    /// Names of the multipart uploads that are not complete.
    pub fn uploads(&self, bucket: &str) -> Vec<String> {
        let state = self.state();
        let bucket = state.buckets.get(bucket);
        bucket
            .map(|bucket| bucket.uploads.values().map(|upload| upload.key.clone()).collect())
            .unwrap_or_default()
    }

    /// A bucket goes away with all that is in it, as if another had deleted it.
    pub fn drop_bucket(&self, name: &str) {
        let mut state = self.state();
        state.buckets.remove(name);
        state.tags.forget(name);
    }
}
