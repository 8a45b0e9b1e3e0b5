//! A cloud backend that needs everything a real one needs: a name that is recorded before it is used, a creation that takes
//! several calls and time, a mark of its own, a second identity for the registry, deletion in bounded steps. The core
//! knows nothing of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use super::super::driver::{
    Deleted, Driver, Ensured, Existence, Failure, Mark, Next, OwnershipProof, Probe, Probed, Record, Removable, State,
    Step, Target, Trial, Wait,
};
use super::super::fault::Fault;
use crate::api::{Config, Sensitive, Storage};
use crate::config::facts::{EnvValue, EnvVar, StorageFacts};
use crate::config::notice::Notice;
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::status::conditions::{Status, Verdict};

/// The name that this cloud's driver chooses; on real ones it may be random, therefore it is recorded first.
pub const CHOSEN: &str = "chosen-by-driver";

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bucket {
    pub mark: Option<String>,
    pub images: u32,
    pub hardened: bool,
    pub ready_in: u32,
    /// Keys of probe objects.
    pub probes: Vec<String>,
}

/// The cloud and its driver in one. It lives in the `s3` block of the API.
#[derive(Default)]
pub struct Cloud {
    pub buckets: RefCell<BTreeMap<String, Bucket>>,
    /// Changing calls, in order.
    pub calls: RefCell<Vec<String>>,
    /// So many changing calls succeed, then the process dies.
    pub fuse: Cell<Option<u32>>,
    /// Reads fail.
    pub down: Cell<bool>,
    /// Marks cannot be read.
    pub marks_denied: Cell<bool>,
    /// The second identity cannot be had.
    pub keys_down: Cell<bool>,
    /// Settings of buckets cannot be changed now.
    pub hardening_down: Cell<bool>,
    /// Reading calls so far.
    pub looks: Cell<u32>,
    /// Credentials, as a Secret of the cluster would hold them.
    pub credentials: RefCell<String>,
    /// CA of the endpoint, or why it cannot be had.
    pub ca: RefCell<Option<Result<String, String>>>,
    /// What the registry may not do.
    pub denied: RefCell<Option<Trial>>,
    /// The process dies between PUT and DELETE of a probe.
    pub dies_in_probe: Cell<bool>,
    /// Probes: as whom, and over which proxy.
    pub probed: RefCell<Vec<String>>,
}

const CLUSTER: &str = "blue-x7k2p";

impl Cloud {
    fn change(&self, call: &str) -> Result<(), Failure> {
        if let Some(left) = self.fuse.get() {
            if left == 0 {
                return Err(Fault::transient("killed").into());
            }
            self.fuse.set(Some(left - 1));
        }
        self.calls.borrow_mut().push(call.to_owned());
        Ok(())
    }

    fn look(&self, name: &str) -> Result<Option<Bucket>, Failure> {
        self.looks.set(self.looks.get() + 1);
        if self.down.get() {
            let verdict = Verdict::new("StorageExists", Status::Unknown, "Unknown Error Occurred", "503");
            return Err(Failure {
                fault: Fault::transient("503"),
                verdicts: vec![verdict],
            });
        }
        Ok(self.buckets.borrow().get(name).cloned())
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut Bucket)) {
        change(self.buckets.borrow_mut().get_mut(name).unwrap());
    }

    pub fn bucket(&self, name: &str) -> Option<Bucket> {
        self.buckets.borrow().get(name).cloned()
    }

    pub fn put(&self, name: &str, images: u32, mark: Option<&str>) {
        let bucket = Bucket {
            images,
            mark: mark.map(str::to_owned),
            ..Bucket::default()
        };
        self.buckets.borrow_mut().insert(name.to_owned(), bucket);
    }

    pub fn with_images(&self, name: &str, images: u32) {
        self.with(name, |b| b.images = images);
    }

    /// Mark, where it is due, then hardening, where it is wanted.
    fn complete(&self, step: &Step<'_>, name: &str, found: &Bucket) -> Result<Next<Ensured>, Failure> {
        let mut notices = Vec::new();
        let foreign = found.mark.as_deref().is_some_and(|mark| mark != CLUSTER);
        let adopted = step.intent.is_some() && found.images == 0 && !foreign;
        let ours = found.mark.as_deref() == Some(CLUSTER);
        if foreign && step.state == Some(State::Managed) {
            return Err(Fault::config(format!("bucket {name} carries the mark of another cluster")).into());
        }
        if !ours && (adopted || (step.consent && step.state == Some(State::Managed))) {
            self.change("mark")?;
            self.with(name, |b| b.mark = Some(CLUSTER.to_owned()));
            if !adopted {
                notices.push(Notice {
                    warning: true,
                    reason: "StorageAdopted",
                    note: format!("{name} is owned now"),
                });
            }
        }
        let blank_state = if adopted { State::Managed } else { State::Unmanaged };
        if step.state.unwrap_or(blank_state) == State::Managed && !found.hardened && !self.hardening_down.get() {
            self.change("harden")?;
            self.with(name, |b| b.hardened = true);
        }
        let mut verdicts = vec![Verdict::new(
            "StorageExists",
            Status::True,
            "Bucket Exists",
            format!("bucket {name}"),
        )];
        if step.state.unwrap_or(blank_state) == State::Managed {
            let hardened = if self.bucket(name).is_some_and(|b| b.hardened) {
                Status::True
            } else {
                Status::False
            };
            verdicts.push(Verdict::new("StorageTagged", hardened, "Tagging", ""));
        }
        Ok(Next::Done(Ensured {
            storage: step.storage.clone(),
            applied: None,
            blank_state,
            verdicts,
            notices,
            probe_left: false,
        }))
    }
}

fn name(storage: &Storage) -> Option<&str> {
    storage.s3.as_ref()?.bucket.as_deref().filter(|name| !name.is_empty())
}

impl Driver for Cloud {
    const NAME: &'static str = "S3";
    const CONDITIONS: &'static [&'static str] = &["StorageExists", "StorageTagged"];
    const EXISTS: &'static str = "Bucket Exists";
    const GONE: &'static [&'static str] = &["NoSuchBucket"];
    const REMOTE: bool = true;

    fn locate(storage: &Storage, _snapshot: &Snapshot) -> Option<String> {
        let endpoint = storage.s3.as_ref()?.region_endpoint.clone().unwrap_or_default();
        Some(format!("{endpoint}/{}", name(storage)?))
    }

    fn resolve(&self, _config: &Config, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection> {
        let bucket = EnvVar {
            name: "REGISTRY_STORAGE_S3_BUCKET",
            value: EnvValue::Text(name(storage).unwrap_or(CHOSEN).to_owned()),
        };
        let facts = StorageFacts {
            backend: Self::NAME,
            env: vec![bucket],
            files: [(
                "credentials".to_owned(),
                Sensitive::new(self.credentials.borrow().clone()),
            )]
            .into(),
            ..StorageFacts::default()
        };
        Ok(Target {
            location: Self::locate(storage, snapshot),
            named: name(storage).is_some(),
            facts,
        })
    }

    fn ca_bundle(&self, _storage: &Storage, _snapshot: &Snapshot) -> Result<Option<String>, Fault> {
        let ca = self.ca.borrow().clone();
        ca.transpose().map_err(Fault::config)
    }

    fn unfinished(&self, step: &Step<'_>) -> bool {
        let conditions = step.config.status.as_ref().and_then(|s| s.conditions.clone());
        conditions
            .unwrap_or_default()
            .iter()
            .any(|c| c.type_ == "StorageTagged" && c.status != "True")
    }

    async fn exists(&self, step: &Step<'_>) -> Result<Existence, Failure> {
        let name = name(step.storage).unwrap_or_default();
        let verdict = Verdict::new("StorageExists", Status::True, "Bucket Exists", format!("bucket {name}"));
        Ok(match self.look(name)? {
            Some(found) if found.ready_in == 0 => Existence::Present(vec![verdict], Vec::new()),
            _ => Existence::Absent {
                reason: "NoSuchBucket",
                message: format!("no bucket {name}"),
            },
        })
    }

    async fn ensure(&self, step: &Step<'_>) -> Result<Next<Ensured>, Failure> {
        let mut storage = step.storage.clone();
        let s3 = storage.s3.get_or_insert_default();
        let name = s3.bucket.get_or_insert_with(|| CHOSEN.to_owned()).clone();
        match self.look(&name)? {
            Some(found) if found.ready_in > 0 => {
                self.with(&name, |b| b.ready_in -= 1);
                Ok(Next::Wait(Wait {
                    after: Duration::from_secs(7),
                    message: "creating".into(),
                    verdicts: Vec::new(),
                }))
            }
            Some(found) => self.complete(step, &name, &found),
            None if step.intent.is_some() => {
                self.change("create")?;
                self.buckets.borrow_mut().insert(
                    name,
                    Bucket {
                        ready_in: 2,
                        ..Bucket::default()
                    },
                );
                Ok(Next::Wait(Wait {
                    after: Duration::from_secs(7),
                    message: "creating".into(),
                    verdicts: Vec::new(),
                }))
            }
            None => {
                let intent = Self::locate(&storage, step.snapshot);
                let verdict = Verdict::new(
                    "StorageExists",
                    Status::False,
                    "NoSuchBucket",
                    format!("no bucket {name}"),
                );
                let message = format!("bucket {name} is about to be created");
                let note = Record {
                    storage: Some(storage),
                    intent,
                    probe: false,
                    message,
                    verdicts: vec![verdict],
                    notices: Vec::new(),
                };
                Ok(Next::Record(Box::new(note)))
            }
        }
    }

    async fn facts(&self, _step: &Step<'_>, known: StorageFacts) -> Result<StorageFacts, Failure> {
        if self.keys_down.get() {
            return Err(Fault::transient("no key for the registry").into());
        }
        let key = EnvVar {
            name: "REGISTRY_STORAGE_S3_ACCESSKEY",
            value: EnvValue::Secret(Sensitive::new("second")),
        };
        let mut facts = known;
        facts.env.insert(0, key);
        Ok(facts)
    }

    async fn probe(&self, step: &Step<'_>, probe: &Probe<'_>) -> Probed {
        let name = name(step.storage).unwrap_or_default();
        let identity = match &probe.facts.env[0].value {
            EnvValue::Secret(key) => key.expose().to_owned(),
            other => format!("{other:?}"),
        };
        let proxy = probe.via.https.as_ref().map_or("", |p| p.expose()).to_owned();
        self.probed.borrow_mut().push(format!("{name} as {identity}{proxy}"));
        if self.down.get() {
            return Trial::Undecided("503".to_owned()).into();
        }
        if let Some(denied) = self.denied.borrow().clone() {
            return denied.into();
        }
        if probe.read_only {
            return Trial::Passed.into();
        }
        self.with(name, |b| b.probes.push(probe.key.to_owned()));
        if self.dies_in_probe.get() {
            return Probed {
                left: true,
                ..Trial::Undecided("killed".to_owned()).into()
            };
        }
        self.with(name, |b| b.probes.clear());
        Trial::Passed.into()
    }

    async fn clear_probe(&self, step: &Step<'_>, key: &str) -> Result<(), Failure> {
        let name = name(step.storage).unwrap_or_default();
        if self.down.get() {
            return Err(Fault::transient("503").into());
        }
        if let Some(bucket) = self.buckets.borrow_mut().get_mut(name) {
            bucket.probes.retain(|probe| probe != key);
        }
        Ok(())
    }
}

impl Removable for Cloud {
    async fn prove(&self, step: &Step<'_>) -> Result<Mark, Failure> {
        let name = name(step.storage).unwrap_or_default();
        let Some(found) = self.look(name)? else {
            return Ok(Mark::Gone);
        };
        if self.marks_denied.get() {
            return Err(Fault::config("s3:GetBucketTagging is denied").into());
        }
        Ok(match found.mark.as_deref() {
            Some(CLUSTER) => Mark::Ours(name.to_owned()),
            Some(other) => Mark::NotOurs(format!("it carries the mark of {other}")),
            None => Mark::Missing("it carries no mark".to_owned()),
        })
    }

    async fn remove(&self, _step: &Step<'_>, proof: &OwnershipProof) -> Result<Deleted, Failure> {
        let name = proof.pin();
        let images = u64::from(self.bucket(name).is_some_and(|b| b.images > 0));
        if self.bucket(name).is_some_and(|b| b.images > 0) {
            self.change("delete image")?;
            self.with(name, |b| b.images -= 1);
        } else {
            self.change("delete bucket")?;
            self.buckets.borrow_mut().remove(name);
        }
        let wait = Wait {
            after: Duration::ZERO,
            message: "emptying".into(),
            verdicts: Vec::new(),
        };
        Ok(Deleted {
            objects: images,
            next: Ok(wait),
        })
    }

    fn removed(&self, location: &str) -> Vec<Verdict> {
        vec![Verdict::new("StorageExists", Status::False, "Bucket Deleted", location)]
    }

    fn forget(storage: &mut Storage) {
        if let Some(s3) = &mut storage.s3 {
            s3.bucket = None;
        }
    }
}
