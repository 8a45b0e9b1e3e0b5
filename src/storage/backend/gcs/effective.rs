//! PURE: the effective configuration of `spec.storage.gcs`, with settings of the cluster filled in.

use aws_lc_rs::digest;

use super::credentials::Credentials;
use super::labels;
use crate::api::registry_storage::GcsStorage;
use crate::config::host;
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::storage::inputs::name;
use crate::storage::model::error::StorageError;
use crate::storage::model::spec;

/// The public universe of Google Cloud.
pub const PUBLIC_UNIVERSE: &str = "googleapis.com";
/// Longest name of a bucket, with dots.
const LONGEST: usize = 222;

/// The effective configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The spec with region and project filled in as far as they are known.
    pub spec: GcsStorage,
    /// Domain of the APIs: that of the credentials, else that of the cluster, else the public one.
    pub universe: String,
    /// Domain that the cluster's Infrastructure names, if it is another one.
    pub other_universe: Option<String>,
}

fn given(member: Option<&String>) -> Option<String> {
    member.filter(|text| !text.is_empty()).cloned()
}

impl Effective {
    /// The effective configuration of a spec in this cluster. Values of the user are never replaced.
    ///
    /// # Errors
    /// A value would change the host or path of a request. The message names field, value and remedy.
    pub fn of(spec: &GcsStorage, snapshot: &Snapshot) -> Result<Self, Rejection> {
        let cluster = labels::platform(snapshot);
        let credentials = Credentials::of(snapshot).ok();
        let region = given(spec.region.as_ref()).or_else(|| given(cluster.region.as_ref()));
        let of_credentials = credentials.as_ref().and_then(|credentials| credentials.project.clone());
        let project = given(spec.project_id.as_ref())
            .or_else(|| given(cluster.project_id.as_ref()))
            .or(of_credentials);
        check_bucket(spec.bucket.as_deref().unwrap_or_default())?;
        check_region(region.as_deref().unwrap_or_default())?;
        let own = credentials.and_then(|credentials| credentials.universe);
        let of_cluster = given(cluster.universe_domain.as_ref());
        let universe = own.or_else(|| of_cluster.clone());
        let universe = universe.unwrap_or_else(|| PUBLIC_UNIVERSE.to_owned());
        check_universe(&universe)?;
        Ok(Self {
            spec: GcsStorage {
                bucket: given(spec.bucket.as_ref()),
                region,
                project_id: project,
                key_id: spec.key_id.clone(),
            },
            other_universe: of_cluster.filter(|other| *other != universe),
            universe,
        })
    }

    /// The same with the bucket's name, even if the operator chooses the name.
    #[must_use]
    pub fn named(mut self, snapshot: &Snapshot) -> Self {
        if self.spec.bucket.is_none() {
            self.spec.bucket = self.generated(snapshot).ok();
        }
        self
    }

    /// Location ID; `None` without a name.
    pub fn location(&self) -> Option<String> {
        let bucket = self.spec.bucket.as_deref()?;
        Some(format!("{}/{bucket}", self.universe))
    }

    /// The name that the operator chooses: 62 characters, of which the last are letters. The Go operator draws the letters;
    /// here they follow from the rest, so that a second attempt finds the same name.
    ///
    /// # Errors
    /// The name of the cluster is not known.
    pub fn generated(&self, snapshot: &Snapshot) -> Result<String, StorageError> {
        let infrastructure = allowed(&name::infrastructure_name(snapshot)?);
        let region = self.spec.region.as_deref().unwrap_or_default();
        Ok(name::random(
            &infrastructure,
            &[region],
            letters(&infrastructure, region),
        ))
    }

    /// Key of the bucket's encryption.
    pub fn key_id(&self) -> Option<&str> {
        self.spec.key_id.as_deref().filter(|key| !key.is_empty())
    }

    /// Whether two specs mean the same in this cluster. Members that the cluster fills in count as present in both. A project
    /// that neither spec nor cluster names is the one of the credentials, of which a bucket that exists does not depend.
    pub fn same(stored: &GcsStorage, wanted: &GcsStorage, snapshot: &Snapshot) -> bool {
        let cluster = labels::platform(snapshot);
        let full = |spec: &GcsStorage, other: &GcsStorage| {
            let region = given(spec.region.as_ref()).or_else(|| given(cluster.region.as_ref()));
            let project = given(spec.project_id.as_ref()).or_else(|| given(cluster.project_id.as_ref()));
            let effective = Self {
                spec: GcsStorage {
                    bucket: given(spec.bucket.as_ref()),
                    region,
                    project_id: project.or_else(|| given(other.project_id.as_ref())),
                    key_id: spec.key_id.clone(),
                },
                universe: String::new(),
                other_universe: None,
            };
            crate::api::Storage {
                gcs: Some(effective.named(snapshot).spec),
                ..crate::api::Storage::default()
            }
        };
        spec::same(&full(stored, wanted), &full(wanted, stored))
    }
}

/// Whether the universe follows from what is there: without credentials it is not known.
pub fn is_universe_known(snapshot: &Snapshot) -> bool {
    let credentials = Credentials::of(snapshot);
    credentials.is_ok_and(|credentials| credentials.universe.is_some() || snapshot.infrastructure().is_some())
}

/// Lower-case letters that follow from these texts.
fn letters(infrastructure: &str, region: &str) -> impl FnMut() -> char {
    let digest = digest::digest(&digest::SHA512, format!("{infrastructure}\n{region}").as_bytes());
    let bytes = digest.as_ref().to_vec();
    let mut bytes = bytes.into_iter().cycle();
    move || char::from(b'a' + bytes.next().unwrap_or_default() % 26)
}

/// The name of the cluster without what Google reserves: bucket names may not contain `google` nor begin with `goog`. The
/// name begins with its first letter or digit.
fn allowed(infrastructure: &str) -> String {
    let name = infrastructure.to_ascii_lowercase().replace("google", "gcp");
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    match name.strip_prefix("goog") {
        Some(rest) => format!("gcp{rest}"),
        None => name.to_owned(),
    }
}

fn invalid(message: String) -> Rejection {
    Rejection::new(Reason::InvalidConfig, message)
}

/// Rejects names that would change the path of a URL. All other rules are left to the service.
fn check_bucket(bucket: &str) -> Result<(), Rejection> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let named = bucket.contains(|c: char| c.is_ascii_alphanumeric());
    if bucket.is_empty() || (bucket.len() <= LONGEST && bucket.chars().all(legal) && named) {
        return Ok(());
    }
    Err(invalid(format!(
        "spec.storage.gcs.bucket is {bucket:?}, which cannot be the name of a bucket: use lower-case letters, digits, -, _ \
         and ."
    )))
}

/// The region is part of a host name.
fn check_region(region: &str) -> Result<(), Rejection> {
    if region.is_empty() || host::is_label(&region.to_ascii_lowercase()) {
        return Ok(());
    }
    Err(invalid(format!(
        "the region of spec.storage.gcs is {region:?}, which is no location of Cloud Storage: use letters, digits and dashes, \
         such as europe-west3 or EU"
    )))
}

fn check_universe(universe: &str) -> Result<(), Rejection> {
    if universe.split('.').all(host::is_label) {
        return Ok(());
    }
    Err(invalid(format!(
        "the universe domain of the credentials or of infrastructures/cluster is {universe:?}, which is no domain: it must be \
         one such as {PUBLIC_UNIVERSE}"
    )))
}

/// Whether this is the resource name of a Cloud KMS key.
pub fn is_key(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let kinds = ["projects", "locations", "keyRings", "cryptoKeys"];
    parts.len() == 2 * kinds.len()
        && parts.iter().step_by(2).zip(kinds).all(|(part, kind)| *part == kind)
        && parts.iter().skip(1).step_by(2).all(|part| !part.trim().is_empty())
}

#[cfg(test)]
mod tests;
