//! Amazon S3, and stores that speak its protocol.
//!
//! The mark of ownership is two tags on the bucket ([`tags::Owner`]). It is written when the operator creates a bucket, or
//! takes over an empty one that its creation record on the Config names, or by an administrator's consent; it is read in
//! each step before anything is deleted. Stores that know no tags have the creation record and the deterministic name.

mod bucket;
pub mod ca;
pub mod client;
pub mod credentials;
pub mod effective;
mod empty;
mod encrypt;
pub mod endpoint;
pub mod environment;
pub mod error;
mod harden;
pub mod identity;
pub mod name;
mod own;
mod probe;
mod retry;
mod shared_config;
mod sts;
pub mod tags;
mod transport;
mod visit;

use std::path::PathBuf;

use client::{Bucket, Connection};
use credentials::{Credentials, Profile};
use effective::Effective;
use identity::Token;
use visit::{Site, Visit};

use super::cloud::Cloud;
use super::driver::{
    Deleted, Driver, Ensured, Existence, Failure, Fingerprint, Mark, Next, OwnershipProof, Probe, Probed, Removable,
    State, Step, Target, Trial,
};
use super::fault::Fault;
use super::http::{Trust, Via};
use super::{Cluster, STORAGE_EXISTS, preflight, state};
use crate::api::registry_storage::S3Storage;
use crate::api::{Config, Storage};
use crate::config::facts::StorageFacts;
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::status::conditions::{Status, Verdict};

/// Name of the backend.
pub const NAME: &str = "S3";

/// The backend.
pub struct S3<'a, C> {
    /// Connections and identities.
    pub cloud: &'a Cloud,
    /// What it may ask of the cluster.
    pub cluster: &'a C,
}

/// The completed block with the bucket's name in it, also where the operator is the one to give it.
fn effective(storage: &Storage, snapshot: &Snapshot) -> Result<Effective, Rejection> {
    let block = storage.s3.clone().unwrap_or_default();
    let mut effective = Effective::of(&block, snapshot, region(snapshot).as_deref())?;
    if named(&effective.block).is_none() {
        effective.block.bucket = effective.deterministic_bucket(snapshot).ok();
    }
    Ok(effective)
}

/// Region that the credentials name.
fn region(snapshot: &Snapshot) -> Option<String> {
    Credentials::of(snapshot).ok()?.region
}

fn named(block: &S3Storage) -> Option<&str> {
    block.bucket.as_deref().filter(|name| !name.is_empty())
}

impl<'a, C: Cluster> S3<'a, C> {
    fn visit(&self, step: &'a Step<'a>) -> Result<Visit<'a, C>, Failure> {
        self.prepare(step).map_err(|fault| {
            let verdict = Verdict::new(STORAGE_EXISTS, Status::Unknown, visit::UNKNOWN, fault.message.clone());
            Failure {
                fault,
                verdicts: vec![verdict],
            }
        })
    }

    fn prepare(&self, step: &'a Step<'a>) -> Result<Visit<'a, C>, Fault> {
        let credentials = Credentials::of(step.snapshot)?;
        let site = site(step)?;
        let trust = ca::trust(&site.effective.block, step.snapshot)?;
        let connection = Connection {
            effective: &site.effective,
            credentials: &credentials,
            token: own_token(&credentials.profile),
            trust: trust.s3,
            sts_trust: trust.sts,
            via: Via::Process,
            // Also while the state is still to be found out: a bucket may be created then.
            pin_owner: step.state != Some(State::Unmanaged),
        };
        let bucket = self.cloud.s3(&connection, &site.name)?;
        Ok(Visit {
            step,
            cloud: self.cloud,
            cluster: self.cluster,
            site,
            bucket,
        })
    }

    /// Whether the platform asks for other tags than when they were last looked at. A process that begins looks where there
    /// are any: they may have changed meanwhile. A store that knows no tags is not asked again.
    fn has_new_tags(&self, step: &Step<'_>) -> bool {
        if harden::are_tags_unknown(step.config) {
            return false;
        }
        let asked = tags::of_platform(step.snapshot);
        let told = self.cloud.tags.differs(&harden::wish(step, &asked));
        told.unwrap_or(!asked.is_empty())
    }

    /// The bucket, as the registry's pods would reach it: it has no setting for STS. With an endpoint of its own it sends
    /// these calls there, too; without one, to the public address. Told where that is not where the operator sends its own.
    async fn as_registry(&self, step: &Step<'_>, probe: &Probe<'_>) -> Result<(Bucket, Option<String>), Fault> {
        let credentials = Credentials::of(step.snapshot)?;
        let Site {
            mut effective, name, ..
        } = site(step)?;
        if effective.rendered_endpoint.is_none() {
            effective.endpoint = None;
        }
        let registrys = effective.endpoint.clone();
        let own = std::mem::replace(&mut effective.sts_endpoint, registrys);
        let elsewhere = (effective.sts_endpoint != own).then(|| match &effective.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => "the public address".to_owned(),
        });
        let trust = Trust {
            bundle: probe.roots.to_owned(),
            system: true,
        };
        let token = if needs_token(&credentials.profile) {
            Token::Given(self.cluster.registry_token(preflight::AUDIENCE).await?)
        } else {
            own_token(&credentials.profile)
        };
        let connection = Connection {
            effective: &effective,
            credentials: &credentials,
            token,
            trust: trust.clone(),
            sts_trust: trust,
            via: Via::Fixed(probe.via.clone()),
            pin_owner: false,
        };
        Ok((self.cloud.s3(&connection, &name)?, elsewhere))
    }
}

fn site(step: &Step<'_>) -> Result<Site, Fault> {
    let effective = effective(step.storage, step.snapshot)?;
    let infrastructure = name::infrastructure_name(step.snapshot)?;
    let deterministic = effective.deterministic_bucket(step.snapshot)?;
    let name = named(&effective.block).unwrap_or(&deterministic).to_owned();
    let location = effective.location().unwrap_or_default();
    let status = step.config.status.as_ref().map(|status| &status.storage);
    let in_use = status.and_then(|storage| locate(storage, step.snapshot)).as_deref() == Some(&location);
    Ok(Site {
        name,
        location,
        deterministic,
        infrastructure,
        probe_key: preflight::key(step.snapshot),
        in_use,
        effective,
    })
}

fn locate(storage: &Storage, snapshot: &Snapshot) -> Option<String> {
    named(storage.s3.as_ref()?)?;
    effective(storage, snapshot).ok()?.location()
}

fn needs_token(profile: &Profile) -> bool {
    match profile {
        Profile::Static { .. } => false,
        Profile::WebIdentity { .. } => true,
        Profile::AssumeRole { by, .. } => needs_token(by),
    }
}

/// The token of the operator itself, where the credentials ask for one.
fn own_token(profile: &Profile) -> Token {
    match profile {
        Profile::Static { .. } => Token::File(PathBuf::new()),
        Profile::WebIdentity { token_file, .. } => Token::File(PathBuf::from(token_file)),
        Profile::AssumeRole { by, .. } => own_token(by),
    }
}

impl<C: Cluster> Driver for S3<'_, C> {
    const NAME: &'static str = NAME;
    const CONDITIONS: &'static [&'static str] = &[
        STORAGE_EXISTS,
        harden::PRIVATE,
        harden::TAGGED,
        harden::ENCRYPTED,
        harden::CLEANED,
    ];
    const EXISTS: &'static str = bucket::EXISTS;
    const GONE: &'static [&'static str] = bucket::GONE;
    const REMOTE: bool = true;

    fn locate(storage: &Storage, snapshot: &Snapshot) -> Option<String> {
        locate(storage, snapshot)
    }

    fn same(stored: &Storage, wanted: &Storage, snapshot: &Snapshot) -> bool {
        match (&stored.s3, &wanted.s3) {
            (Some(stored), Some(wanted)) => Effective::same(stored, wanted, snapshot, region(snapshot).as_deref()),
            _ => false,
        }
    }

    fn resolve(&self, _config: &Config, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection> {
        let effective = effective(storage, snapshot)?;
        let facts = environment::facts(&effective, snapshot).unwrap_or_else(|_| StorageFacts {
            backend: NAME,
            ..StorageFacts::default()
        });
        Ok(Target {
            location: effective.location(),
            named: storage.s3.as_ref().and_then(named).is_some(),
            facts,
        })
    }

    fn ca_bundle(&self, storage: &Storage, snapshot: &Snapshot) -> Result<Option<String>, Fault> {
        let block = storage.s3.clone().unwrap_or_default();
        Ok(ca::trust(&block, snapshot)?.publish)
    }

    fn fingerprint(&self, step: &Step<'_>) -> Fingerprint {
        let location = step.target.location.as_deref().unwrap_or_default();
        let via = (self.cloud.settings.proxies)();
        let asked = tags::of_platform(step.snapshot);
        // The CA of the storage is one of the facts.
        let proxy = ca::proxy_bundle(step.snapshot);
        let texts = via.texts().into_iter().chain(proxy).chain(tags::texts(&asked));
        Fingerprint::of_facts(location, &step.target.facts).and(texts)
    }

    fn unfinished(&self, step: &Step<'_>) -> bool {
        let state = step.state.unwrap_or_else(|| state::mirrored(step.config));
        state == State::Managed && (harden::is_unfinished(step.config) || self.has_new_tags(step))
    }

    async fn exists(&self, step: &Step<'_>) -> Result<Existence, Failure> {
        Box::pin(self.visit(step)?.existence()).await
    }

    async fn ensure(&self, step: &Step<'_>) -> Result<Next<Ensured>, Failure> {
        Box::pin(self.visit(step)?.ensure()).await
    }

    async fn facts(&self, step: &Step<'_>, known: StorageFacts) -> Result<StorageFacts, Failure> {
        // What is missing (a Secret, a key, a CA) must not reach the pods as something that is not there.
        environment::facts(
            &effective(step.storage, step.snapshot).map_err(Fault::from)?,
            step.snapshot,
        )?;
        Ok(known)
    }

    async fn probe(&self, step: &Step<'_>, probe: &Probe<'_>) -> Probed {
        let undecided = |fault: Fault| Trial::Undecided(fault.message).into();
        let visit = match self.prepare(step) {
            Ok(visit) => visit,
            Err(fault) => return undecided(fault),
        };
        let (bucket, sts) = match self.as_registry(step, probe).await {
            Ok(reached) => reached,
            Err(fault) => return undecided(fault),
        };
        let trying = probe::Trying {
            bucket: &bucket,
            key: probe.key,
            encryption: visit.registry_encryption(),
            managed: visit.is_managed(),
            sts,
        };
        if probe.read_only {
            Box::pin(trying.read()).await
        } else {
            Box::pin(trying.write()).await
        }
    }

    async fn clear_probe(&self, step: &Step<'_>, key: &str) -> Result<(), Failure> {
        // A Secret that is missing may come back.
        let visit = self.prepare(step).map_err(|fault| Fault::transient(fault.message))?;
        Box::pin(visit.clear(key)).await
    }
}

impl<C: Cluster> Removable for S3<'_, C> {
    async fn prove(&self, step: &Step<'_>) -> Result<Mark, Failure> {
        Box::pin(self.visit(step)?.prove()).await
    }

    async fn remove(&self, step: &Step<'_>, _proof: &OwnershipProof) -> Result<Deleted, Failure> {
        Box::pin(self.visit(step)?.empty()).await
    }

    fn removed(&self, location: &str) -> Vec<Verdict> {
        let name = location.rsplit('/').next().unwrap_or(location);
        let message = format!("Bucket {name} was deleted with its images.");
        vec![Verdict::new(
            STORAGE_EXISTS,
            Status::False,
            "S3 Bucket Deleted",
            message,
        )]
    }

    fn forget(storage: &mut Storage) {
        if let Some(s3) = &mut storage.s3 {
            s3.bucket = None;
        }
    }
}
